// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/url"
	"strings"
	"testing"
)

// TestWalkthroughStandard leads through the scenario in standard, and judges its end without the program's own judgement: what the
// switches hold is what the server wants, and each flow leads to who caused it.
func TestWalkthroughStandard(t *testing.T) {
	t.Parallel()
	s := nameSite(t)
	s.walk("--ids", "recorded", "--until", "2")
	s.must(s.lab("status")...)
	for _, node := range []string{controller, compute} {
		if n := strings.Count(s.ovs(node, "ovs-vsctl", "list-ports", "br-int"), "vxlan-"); n != 0 {
			t.Errorf("%s has %d tunnel ports, and no node shares a network with it", node, n)
		}
	}
	before := s.both()
	s.part("Authors", authors)
	s.part("Commands", func(s *site) { commands(s, before, "table=0,", "priority=36001,", "conj_id=", "priority=16383,") })
	s.part("BadInput", badInput)
	for node, want := range before {
		if err := equalLines(want, s.mustFlows(node)); err != nil {
			t.Errorf("after bad input, %s: %v", node, err)
		}
	}
	s.part("Routers", (*site).walkOn)
	s.part("AuthorsWithRouters", authors)
	if !t.Failed() {
		s.part("Down", down)
	}
}

// authors holds that every flow in the switches has a rule, a line of source and, unless it is the bridge's own, a request and a
// user.
func authors(s *site) {
	admin := s.user("admin")
	for _, node := range []string{controller, compute} {
		fs := s.mustFlows(node)
		for _, f := range fs {
			var x struct {
				Reasons []struct {
					Rule, Source, Kind, Object string
					Commit                     *struct{ User string }
					Because                    []struct{ Commit *struct{ User string } }
				}
			}
			path := admin.admin("/nodes/" + node + "/explain?" + url.Values{"flow": {f}}.Encode())
			if err := admin.ask(200, "GET", path, nil, &x); err != nil {
				s.t.Errorf("%s: %v", node, err)
				continue
			}
			if len(x.Reasons) == 0 {
				s.t.Errorf("%s: no reason is told for %s", node, f)
			}
			for _, r := range x.Reasons {
				known := r.Commit != nil && r.Commit.User != ""
				for _, b := range r.Because {
					known = known || b.Commit != nil && b.Commit.User != ""
				}
				if r.Rule == "" || r.Source == "" || r.Kind != "node" && (r.Object == "" || !known) {
					s.t.Errorf("%s: the reason of %s is %+v", node, f, r)
				}
			}
		}
		s.t.Logf("%s: %d flows", node, len(fs))
	}
	if n := len(s.mustFlows(compute)); n < 50 {
		s.t.Errorf("compute has only %d flows", n)
	}
}
