// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"nagare/internal/api/neutron"
	"nagare/internal/identity"
)

// scripts are what users and administrators type, one file for each kind of object.
//
//go:embed testdata/openstack/*.txt
var scripts embed.FS

// commandGroups are the client's groups of commands that speak to the network service.
var commandGroups = []string{"openstack.network.v2", "openstack.neutronclient.v2", "openstack.common"}

// excused are commands that no script runs, by their first words, with the reason.
var excused = map[string]string{
	"bgp":                   "a service of its own (neutron-dynamic-routing), not served",
	"bgpvpn":                "a service of its own (networking-bgpvpn), not served",
	"firewall":              "a service of its own (neutron-fwaas), not served",
	"sfc":                   "a service of its own (networking-sfc), not served",
	"vpn":                   "a service of its own (neutron-vpnaas), not served",
	"project purge":         "deletes servers, images and volumes, nothing of the network service",
	"configuration":         "speaks to no server",
	"limits show":           "speaks to Nova and Cinder alone",
	"floating ip pool list": "of Nova's own network service, which is no more; refused by the client where there is Neutron",
	"network agent delete":  "agents of a connected node are refused, and the one here is connected",
}

// excusedOptions are options that no script gives, as "command --option", or "--option" of every command that is in
// nobody's way, with the reason.
var excusedOptions = map[string]string{
	"--dns-publish-fixed-ip":    "names in an outside DNS service are not published",
	"--no-dns-publish-fixed-ip": "names in an outside DNS service are not published",
	"--transparent-vlan":        "vlan-transparent is not served",
	"--no-transparent-vlan":     "vlan-transparent is not served",
	"--centralized":             "routers are distributed; refused",
	"--distributed":             "dvr is not served: no router is of another kind",
	"--ha":                      "l3-ha is not served: every gateway moves to another node by itself; refused",
	"--no-ha":                   "the same",
	"--driver":                  "there is one service provider; another is refused",

	"address scope set --no-share":                   "refused by the API: what is shared stays so",
	"network agent set --disable":                    "refused: agents are the connected nodes",
	"network flavor profile create --project":        "given with --driver, and service profiles have no project",
	"network flavor profile create --project-domain": "the same",
	"network flavor profile set --project-domain":    "the same",
	"network flavor profile create --extra-property": "an attribute by another way, shown with other commands",
	"network flavor create --extra-property":         "the same",
	"network qos rule create --extra-property":       "the same",
	"network qos rule set --extra-property":          "the same",
	"network rbac create --extra-property":           "the same",
	"network rbac set --extra-property":              "the same",
	"floating ip unset --extra-property":             "the same",
	"port unset --extra-property":                    "the same",
	"router unset --extra-property":                  "the same",
	"subnet unset --extra-property":                  "the same",
	"port create --dns-domain":                       "dns-domain-ports is not served; refused by the client",
	"port set --dns-domain":                          "dns-domain-ports is not served; refused by the client",
	"port list --security-group":                     "this version of the client refuses its own option",
	"subnet list --service-type":                     "this version of the client refuses its own option",
	"subnet create --use-prefix-delegation":          "prefix delegation is not served",
	"network l3 conntrack helper list --helper":      "this version of the client refuses its own option",
	"network l3 conntrack helper list --port":        "the same",
	"network l3 conntrack helper list --protocol":    "the same",
	"quota set --fixed-ips":                          "of Nova's own network service, which is no more",
	"quota set --volume-type":                        "of Cinder alone",
}

// TestOpenStackCommands runs every command that the stock client has for the network service, with its options, on fresh servers.
func TestOpenStackCommands(t *testing.T) {
	needClient(t)
	var mu sync.Mutex
	var said [][]string
	files, err := scripts.ReadDir("testdata/openstack")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	t.Run("of", func(t *testing.T) {
		for _, f := range files {
			name := strings.TrimSuffix(f.Name(), ".txt")
			t.Run(name, func(t *testing.T) {
				ran++ // before the test is parallel
				t.Parallel()
				text, err := scripts.ReadFile(path.Join("testdata/openstack", f.Name()))
				if err != nil {
					t.Fatal(err)
				}
				steps, err := parseScript(string(text))
				if err != nil {
					t.Fatal(err)
				}
				others := newOtherServices()
				c := startWith(t, neutron.Config{Routers: true, StoredOnly: true}, identity.Config{}, others.front(t))
				s := script{client: &client{t: t, c: c}, name: f.Name(), vars: map[string]map[string]any{}, said: func(args []string) {
					mu.Lock()
					defer mu.Unlock()
					said = append(said, args)
				}}
				s.run(steps)
			})
		}
	})
	if t.Failed() || ran < len(files) { // some scripts alone were asked for
		return
	}
	a, err := ask(shellRequest{Env: (&client{t, start(t, nil), "admin", "admin"}).env(), Groups: commandGroups})
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Commands) < 200 {
		t.Fatalf("the client has but %d commands: %v", len(a.Commands), a)
	}
	run, options := coverage(a.Commands, said)
	for _, name := range run.missing {
		t.Errorf("no script in testdata/openstack runs `openstack %s`", name)
	}
	for _, name := range options.missing {
		t.Errorf("no script in testdata/openstack gives `openstack %s`", name)
	}
	t.Logf("%d commands and %d of their options in %d runs; %d commands and %d options excused", run.had, options.had, len(said), run.excused, options.excused)
}

// tally counts what was run of what there is.
type tally struct {
	had, excused int
	missing      []string
}

func coverage(commands map[string][]string, said [][]string) (run, options tally) {
	given := map[string]map[string]bool{}
	for _, args := range said {
		for n := len(args); n > 0; n-- {
			name := strings.Join(args[:n], " ")
			if _, ok := commands[name]; !ok {
				continue
			}
			if given[name] == nil {
				given[name] = map[string]bool{}
			}
			for _, a := range args[n:] {
				option, _, _ := strings.Cut(a, "=")
				given[name][option] = true
			}
			break
		}
	}
	for name, opts := range commands {
		switch {
		case given[name] != nil && isExcused(name):
			run.missing = append(run.missing, name+", says excused, but one does: strike it there")
			continue
		case given[name] != nil:
			run.had++
		case isExcused(name):
			run.excused++
			continue
		default:
			run.missing = append(run.missing, name)
			continue
		}
		for _, o := range opts {
			_, everywhere := excusedOptions[o]
			_, here := excusedOptions[name+" "+o]
			switch {
			case given[name][o] && here:
				options.missing = append(options.missing, fmt.Sprintf("%s %s, says excusedOptions, but one does: strike it there", name, o))
			case given[name][o]:
				options.had++
			case everywhere || here:
				options.excused++
			default:
				options.missing = append(options.missing, fmt.Sprintf("%s %s", name, o))
			}
		}
	}
	slices.Sort(run.missing)
	slices.Sort(options.missing)
	return run, options
}

func isExcused(name string) bool {
	for prefix := range excused {
		if name == prefix || strings.HasPrefix(name, prefix+" ") {
			return true
		}
	}
	return false
}

func TestCoverage(t *testing.T) {
	run, options := coverage(map[string][]string{"a b": {"--x", "--y"}, "a b c": {"--z"}, "vpn list": nil},
		[][]string{{"a", "b", "v", "--x"}, {"a", "b", "c", "--z=1"}})
	if run.had != 2 || run.excused != 1 || len(run.missing) > 0 || options.had != 2 || !slices.Equal(options.missing, []string{"a b --y"}) {
		t.Errorf("run %+v, options %+v", run, options)
	}
	if run, _ = coverage(map[string][]string{"vpn list": nil}, [][]string{{"vpn", "list"}}); len(run.missing) != 1 {
		t.Errorf("an excused command that is run: %+v", run)
	}
	if run, _ = coverage(map[string][]string{"a b": nil}, nil); !slices.Equal(run.missing, []string{"a b"}) {
		t.Errorf("run %+v", run)
	}
}
