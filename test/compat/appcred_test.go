// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestApplicationCredential: the stock client makes one, works with it within its roles, and no more once it is deleted.
func TestApplicationCredential(t *testing.T) {
	needClient(t)
	c := start(t, nil)
	demo := &client{t, c, "demo", "demo"}
	made := demo.show("application", "credential", "create", "ci", "--role", "member")
	with := func(args ...string) (string, error) {
		cmd := exec.Command("openstack", args...)
		cmd.Env = append(os.Environ(), "OS_AUTH_TYPE=v3applicationcredential", "OS_AUTH_URL="+c.identityURL, "OS_IDENTITY_API_VERSION=3", "OS_REGION_NAME=RegionOne",
			"OS_APPLICATION_CREDENTIAL_ID="+made["id"].(string), "OS_APPLICATION_CREDENTIAL_SECRET="+made["secret"].(string), "PYTHONWARNINGS=ignore")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := with("network", "create", "by-ci", "-f", "value", "-c", "name"); err != nil || strings.TrimSpace(out) != "by-ci" {
		t.Fatalf("network create: %v: %s", err, out)
	}
	if out, err := with("application", "credential", "create", "another"); err == nil {
		t.Errorf("a restricted credential makes another: %s", out)
	}
	if l := demo.list("application", "credential", "list"); len(l) != 1 || l[0]["Name"] != "ci" {
		t.Errorf("credentials %v", l)
	}
	demo.quiet("application", "credential", "delete", "ci")
	if out, err := with("network", "list"); err == nil {
		t.Errorf("a deleted credential works still: %s", out)
	}
}
