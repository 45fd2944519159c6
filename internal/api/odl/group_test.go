// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"slices"
	"strings"
	"testing"

	"nagare/internal/model"
	"nagare/internal/tables"
)

// TestGroup: checks G1, G5, G6, and what an update's list of rules does.
func TestGroup(t *testing.T) {
	w := newWorld(t)
	r1, r2 := rule(ruleN(1), groupA, ""), rule(ruleN(2), groupA, `,"revision_number":2`)
	w.do("POST", "/security-groups", groupBody(groupA, r1+","+r2), 201)
	w.do("POST", "/security-group-rules", `{"security_group_rule":`+r1+`}`, 201)
	w.do("POST", "/security-group-rules", `{"security_group_rule":`+r2+`}`, 201)
	if got := w.ids("security-group-rules", ""); !slices.Equal(got, []string{ruleN(1), ruleN(2)}) {
		t.Errorf("G1: %v", got)
	}
	g := w.show("security-groups", groupA)
	if l, _ := g["security_group_rules"].([]any); len(l) != 2 || g["stateful"] != true {
		t.Errorf("G1: %v", g)
	}
	w.do("DELETE", "/security-group-rules/"+ruleN(1), "", 204)
	w.do("PUT", "/security-groups/"+groupA, replaced(groupBody(groupA, r1+","+r2), `"name":"g"`, `"name":"renamed"`), 200)
	if got := w.ids("security-group-rules", ""); !slices.Equal(got, []string{ruleN(2)}) {
		t.Errorf("an update brings a rule back: %v", got)
	}
	w.do("POST", "/security-groups", replaced(groupBody(groupA, r1+","+r2), `"name":"g"`, `"name":"renamed"`), 201)
	if got := w.ids("security-group-rules", ""); !slices.Equal(got, []string{ruleN(2)}) {
		t.Errorf("a repeated create brings a rule back: %v", got)
	}
	if g := w.show("security-groups", groupA); g["name"] != "renamed" {
		t.Errorf("%v", g)
	}
	w.do("PUT", "/security-groups/"+groupA, groupBody(groupA, replaced(r1, "ingress", "up")), 400)
	w.do("POST", "/security-groups", groupBody(groupB, replaced(r1, "ingress", "up")), 400)
	w.do("POST", "/security-group-rules", ruleBody(ruleN(9), groupB, ""), 201) // G5
	w.do("DELETE", "/security-groups/"+groupA, "", 204)                        // G6
	w.do("GET", "/security-group-rules/"+ruleN(2), "", 200)
	w.do("DELETE", "/security-group-rules/"+ruleN(2), "", 204)
}

// TestRules: checks G2 to G4.
func TestRules(t *testing.T) {
	w := newWorld(t)
	n := 0
	post := func(want int, pairs ...string) (string, model.SecurityGroupRule) {
		t.Helper()
		n++
		id := ruleN(n)
		w.do("POST", "/security-group-rules", replaced(ruleBody(id, groupA, ""), pairs...), want)
		r, _ := tables.Rules.Get(w.st.Snapshot(), model.SecurityGroupRuleID(id))
		return id, r
	}
	const null, v6 = `"protocol":null`, `"ethertype":"IPv6"`
	for _, c := range []struct {
		sent, shown string
		number      uint8
		any         bool
	}{{`null`, "", 0, true}, {`"tcp"`, "tcp", 6, false}, {`132`, "132", 132, false}, {`"112"`, "112", 112, false}, {`"UDP"`, "udp", 17, false}, {`0`, "0", 0, true}} {
		id, r := post(201, null, `"protocol":`+c.sent)
		got, any, ok := model.ProtocolNumber(r.Protocol)
		shown, _ := w.show("security-group-rules", id)["protocol"].(string)
		if got != c.number || any != c.any || !ok || shown != c.shown {
			t.Errorf("G2: protocol %s is %d, any %v, shown as %q", c.sent, got, any, shown)
		}
	}
	for _, name := range []string{"icmpv6", "ipv6-icmp", "icmp", "58"} {
		if _, r := post(201, null, `"protocol":"`+name+`"`, `"ethertype":"IPv4"`, v6); func() bool { p, _, _ := model.ProtocolNumber(r.Protocol); return p != 58 }() {
			t.Errorf("G2: %s of IPv6 is %s", name, r.Protocol)
		}
	}
	for _, bad := range [][]string{{null, `"protocol":"nosuch"`}, {null, `"protocol":256`}, {null, `"protocol":-1`}, {null, `"protocol":true`}, {null, `"protocol":"tcp"`, `"port_range_min":null`, `"port_range_min":9`},
		{null, `"protocol":"tcp"`, `"port_range_min":null`, `"port_range_min":9`, `"port_range_max":null`, `"port_range_max":8`}, {`IPv4`, `IPv5`}, {`ingress`, `up`}, {`"ingress"`, `null`},
		{`"security_group_id":"` + groupA + `"`, `"security_group_id":null`}, {`"remote_ip_prefix":null`, `"remote_ip_prefix":"x"`}, {`"remote_ip_prefix":null`, `"remote_ip_prefix":"fd00::/64"`},
		{`"port_range_min":null`, `"port_range_min":9`, `"port_range_max":null`, `"port_range_max":9`}, {null, `"protocol":"icmp"`, `"port_range_max":null`, `"port_range_max":9`},
		{null, `"protocol":"icmp"`, `"port_range_min":null`, `"port_range_min":256`}, {null, `"protocol":"ah"`, `"port_range_min":null`, `"port_range_min":1`, `"port_range_max":null`, `"port_range_max":2`},
		{null, `"protocol":"icmpv6"`}, {null, `"protocol":"tcp"`, `"port_range_min":null`, `"port_range_min":"x"`}} {
		post(400, bad...) // G3
	}
	id, r := post(201, null, `"protocol":"icmp"`, `"port_range_min":null`, `"port_range_min":8`, `"port_range_max":null`, `"port_range_max":"0"`)
	if *r.PortMin != 8 || *r.PortMax != 0 || w.show("security-group-rules", id)["port_range_max"] != 0.0 {
		t.Errorf("G4: %+v", r)
	}
	id, r = post(201, null, `"protocol":"tcp"`, `"port_range_min":null`, `"port_range_min":1`, `"port_range_max":null`, `"port_range_max":65535`, `"remote_ip_prefix":null`, `"remote_ip_prefix":"10.0.0.1/8"`)
	shown := w.show("security-group-rules", id)
	if r.PortMin != nil || shown["port_range_min"] != 1.0 || shown["port_range_max"] != 65535.0 || shown["remote_ip_prefix"] != "10.0.0.1/8" {
		t.Errorf("every port: %+v shown as %v", r, shown)
	}
	if shown["normalized_cidr"] != nil || strings.Contains(w.do("GET", "/security-group-rules/"+id, "", 200).text, "null") {
		t.Errorf("null is shown: %v", shown)
	}
}
