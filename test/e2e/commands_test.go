// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"slices"
	"strings"

	"nagare/internal/flow"
)

// commands asks the server by the program's own commands, as an operator does. The site is at the end of the walk-through. want
// are the flows of the nodes; each of parts occurs in a flow of compute's, the first of which is explained.
func commands(s *site, want map[string][]string, parts ...string) {
	variables := s.must(s.lab("openrc", "admin")...)
	env := []string{"NAGARE_SERVER=http://" + s.hostIP + ":8181"}
	for line := range strings.Lines(variables) {
		env = append(env, strings.TrimPrefix(strings.TrimSpace(line), "export "))
	}
	ask := func(args ...string) string {
		s.t.Helper()
		out, err := tryIn(s.t.Context(), env, append([]string{program}, args...)...)
		if err != nil {
			s.t.Errorf("%v\n%s", err, out)
		}
		return out
	}
	contains := func(out string, words ...string) {
		s.t.Helper()
		for _, w := range words {
			if !strings.Contains(out, w) {
				s.t.Errorf("%q is missing in:\n%s", w, out)
			}
		}
	}
	ask("wait")
	ask("status")
	contains(ask("nodes"), controller, compute, "192.168.0.10", "192.168.0.11")
	contains(ask("topology"), "vm01", "net01")
	if strings.Contains(s.ovs(compute, "ovs-vsctl", "list-ports", "br-int"), "vxlan-") {
		contains(ask("topology"), "vxlan-192.168.0.11", "vxlan-192.168.0.10", "<->")
	}
	for _, node := range []string{controller, compute} {
		have, err := flow.Normalise(ask("flows", node))
		if err == nil {
			err = equalLines(want[node], have)
		}
		if err != nil {
			s.t.Errorf("flows %s: %v", node, err)
		}
	}
	// A line of the switch's own dump is explained as it stands, counters and all.
	dump := s.ovs(compute, append([]string{"ovs-ofctl", "--no-names"}, dumpArgs()[1:]...)...)
	for _, part := range parts {
		i := strings.Index(dump, part)
		if i < 0 {
			s.t.Errorf("no flow with %s", part)
			continue
		}
		line := strings.TrimSpace(dump[strings.LastIndexByte(dump[:i], '\n')+1 : i+strings.IndexByte(dump[i:], '\n')])
		var x struct {
			Flow    string
			Reasons []struct{ Rule, Source, Kind string }
		}
		out := ask("explain", "--node", compute, "-o", "json", line)
		if err := json.Unmarshal([]byte(out), &x); err != nil || len(x.Reasons) == 0 || x.Reasons[0].Rule == "" || x.Reasons[0].Source == "" {
			s.t.Errorf("explanation of %s: %v\n%s", line, err, out)
		}
	}
	vm01 := s.instance("vm01")
	contains(ask("explain", "vm01"), vm01.PortID, vm01.MAC, compute, "ACTIVE")
	if out, err := tryIn(s.t.Context(), env, program, "explain", "--node", compute, "table=0,priority=1,in_port=77"); err == nil {
		s.t.Errorf("a flow that is not there was explained:\n%s", out)
	}
	if out, err := tryIn(s.t.Context(), slices.DeleteFunc(slices.Clone(env), func(v string) bool { return strings.HasPrefix(v, "OS_") }), program, "nodes"); err == nil {
		s.t.Errorf("the nodes were told without a password:\n%s", out)
	}
}
