// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"nagare/internal/api/neutron"
	"nagare/internal/identity"
)

// notPassed are the acceptance tests of gophercloud that fail, with the reason. A test that leaves this list by passing must be
// struck from it.
var notPassed = map[string]string{
	"TestLayer3ExternalRouterCreateDelete": "asks for one more gateway address of the server's choice, and then wants to read none in its place",
}

const acceptanceBase = "github.com/gophercloud/gophercloud/v2/internal/acceptance/openstack/networking/v2"

// acceptanceSuites are gophercloud's suites for what is served, below its extensions.
var acceptanceSuites = []string{"agents", "layer3", "networkipavailabilities", "qos/policies", "qos/rules", "qos/ruletypes", "quotas", "rbacpolicies", "subnetpools",
	"trunk_details", "trunks"}

// otherSuites are the rest. `make compat` runs those that have packages of what is served in part, and names the others.
var otherSuites = map[string]string{
	"segments": "", "dns": "", "mtu": "", "portsbinding": "", "vlantransparent": "",
	"bgp/peers": "a service of its own, not served", "bgp/speakers": "a service of its own, not served", "bgpvpns": "a service of its own, not served",
	"fwaas_v2": "a service of its own, not served", "taas": "a service of its own, not served", "vpnaas": "a service of its own, not served",
}

// TestGophercloudAcceptance runs the acceptance tests that gophercloud carries for networks, subnets, pools, ports, security groups,
// routers, floating IPs, sharing, quotas and what belongs to them.
func TestGophercloudAcceptance(t *testing.T) {
	results, said, errs := acceptance(t, start(t, nil), acceptanceSuites)
	var passed []string
	for name, r := range results {
		_, excused := notPassed[name]
		switch {
		case r == "pass" && excused:
			t.Errorf("%s passes: strike it from notPassed", name)
		case r == "fail" && !excused:
			t.Errorf("%s fails:\n%s", name, said[name])
		case r == "pass":
			passed = append(passed, name)
		}
	}
	slices.Sort(passed)
	t.Logf("%d passed: %s", len(passed), strings.Join(passed, " "))
	if len(passed) < 48 {
		t.Errorf("only %d tests passed; the run itself seems to have failed: %s", len(passed), errs)
	}
}

// TestCompat is `make compat`: all of gophercloud's suites for the network service, and a list of what passed, failed, was skipped
// or not run, with the reasons. What fails and is not known to makes it fail.
func TestCompat(t *testing.T) {
	if os.Getenv("NAGARE_COMPAT") != "1" {
		t.Skip("NAGARE_COMPAT is not 1: make compat runs this, make test runs TestGophercloudAcceptance")
	}
	suites := slices.Clone(acceptanceSuites)
	var lines []string
	for name, why := range otherSuites {
		if why == "" {
			suites = append(suites, name)
		} else {
			lines = append(lines, fmt.Sprintf("not run  extensions/%s: %s", name, why))
		}
	}
	c := startWith(t, neutron.Config{Routers: true, StoredOnly: true}, identity.Config{}, func(h http.Handler) http.Handler { return h })
	results, said, errs := acceptance(t, c, suites)
	count := map[string]int{}
	for name, r := range results {
		count[r]++
		why := notPassed[name]
		switch {
		case r == "pass":
			lines = append(lines, "passed   "+name)
		case r == "skip":
			lines = append(lines, fmt.Sprintf("skipped  %s: %s", name, reason(said[name])))
		case why != "":
			lines = append(lines, fmt.Sprintf("failed   %s: %s", name, why))
		default:
			lines = append(lines, fmt.Sprintf("failed   %s: %s", name, reason(said[name])))
			t.Errorf("%s fails:\n%s", name, said[name])
		}
	}
	slices.Sort(lines)
	fmt.Printf("%s\n%d passed, %d failed, %d skipped\n", strings.Join(lines, "\n"), count["pass"], count["fail"], count["skip"])
	if count["pass"] < 48 {
		t.Errorf("the run itself seems to have failed: %s", errs)
	}
}

// reason is the last line that a test said, without the place in the source.
func reason(said string) string {
	why := ""
	for l := range strings.Lines(said) {
		if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "---") && !strings.HasPrefix(l, "===") {
			why = l
		}
	}
	return why
}

// acceptance runs suites against a cloud and gives each test's end, what it said, and what the run said.
func acceptance(t *testing.T, c *cloud, suites []string) (results, said map[string]string, errors string) {
	t.Helper()
	external := externalNetwork(t, c)
	args := []string{"test", "-json", "-count=1", "-p", "1", "-tags", "acceptance", acceptanceBase, acceptanceBase + "/extensions"}
	for _, suite := range suites {
		args = append(args, acceptanceBase+"/extensions/"+suite)
	}
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "OS_AUTH_URL="+c.identityURL, "OS_USERNAME=admin", "OS_PASSWORD="+password, "OS_PROJECT_NAME=admin",
		"OS_DOMAIN_NAME=Default", "OS_REGION_NAME=RegionOne",
		// Tests of other services want these to be set; those run here do not use them.
		"OS_IMAGE_ID=a", "OS_FLAVOR_ID=b", "OS_FLAVOR_ID_RESIZE=c", "OS_BRANCH=master", "OS_EXTGW_ID="+external, "OS_POOL_NAME=e", "OS_NETWORK_ID=f", "OS_SUBNET_ID=g")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, _ := cmd.Output() // fails as long as a test is not yet passed
	results, said = map[string]string{}, map[string]string{}
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		var e struct{ Action, Test, Output string }
		if json.Unmarshal(s.Bytes(), &e) != nil || e.Test == "" || strings.Contains(e.Test, "/") {
			continue
		}
		switch e.Action {
		case "pass", "fail", "skip":
			results[e.Test] = e.Action
		case "output":
			said[e.Test] += e.Output
		}
	}
	return results, said, errs.String()
}
