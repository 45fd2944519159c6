// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"slices"
	"testing"
)

// TestNest serves the rules of security groups below their groups, which the API does not, and holds what every nested
// collection must: the path decides the parent, and the parent decides who may.
func TestNest(t *testing.T) {
	w := newWorld(t)
	w.do("demo", "GET", "/v2.0/networks", "", 200) // completes the declarations
	rs := *groups
	rs.below = map[string]func(*request, string, []string) error{"rules": nest(groups, rules, "security_group_id")}
	w.api.collections["security-groups"] = collection{"security_group", "security_groups", "security-groups", &rs}
	a := w.make("demo", "security-groups", "security_group", `"name":"a"`)
	b := w.make("demo", "security-groups", "security_group", `"name":"b"`)
	below := func(g string) string { return "/v2.0/security-groups/" + g + "/rules" }
	ids := func(g, query string) (out []string) {
		for _, r := range w.do("demo", "GET", below(g)+query, "", 200)["security_group_rules"].([]any) {
			out = append(out, dig(r, "id").(string))
		}
		return out
	}
	body := `{"security_group_rule":{"direction":"ingress"}}`
	rule := dig(w.do("demo", "POST", below(a), body, 201), "security_group_rule", "id").(string)
	if got := ids(a, ""); len(got) != 3 || !slices.Contains(got, rule) || slices.Contains(ids(b, ""), rule) || len(ids(a, "?direction=ingress")) != 1 {
		t.Errorf("rules of a %v, of b %v", got, ids(b, ""))
	}
	if m := w.do("demo", "GET", below(a)+"?limit=1", "", 200); dig(m, "security_group_rules_links", 0, "rel") != "next" ||
		dig(m, "security_group_rules_links", 0, "href") != "http://example.com"+below(a)+"?limit=1&marker="+ids(a, "")[0] {
		t.Errorf("links %v", m["security_group_rules_links"])
	}
	w.do("demo", "GET", below(a)+"/"+rule, "", 200)
	// An administrator's child belongs to the parent's project.
	m := w.do("admin", "POST", below(a), `{"security_group_rule":{"direction":"ingress","ethertype":"IPv6"}}`, 201)
	if dig(m, "security_group_rule", "project_id") != "p-demo" {
		t.Errorf("an administrator's rule: %v", m)
	}
	for _, c := range []struct {
		who, method, path, body string
		status                  int
		kind                    string
	}{
		{"demo", "POST", below(a), `{"security_group_rule":{"direction":"egress","security_group_id":"` + b + `"}}`, 400, "HTTPBadRequest"},
		{"demo", "GET", below(b) + "/" + rule, "", 404, "SecurityGroupRuleNotFound"},
		{"demo", "PUT", below(b) + "/" + rule, `{"security_group_rule":{"description":"x"}}`, 404, "SecurityGroupRuleNotFound"},
		{"admin", "DELETE", below(b) + "/" + rule, "", 404, "SecurityGroupRuleNotFound"},
		{"other", "GET", below(a), "", 404, "SecurityGroupNotFound"},
		{"other", "GET", below(a) + "/" + rule, "", 404, "SecurityGroupNotFound"},
		{"other", "POST", below(a), body, 404, "SecurityGroupNotFound"},
		{"reader", "POST", below(b), body, 403, "PolicyNotAuthorized"},
		{"demo", "GET", below(a) + "/" + rule + "/x", "", 404, "HTTPNotFound"},
	} {
		w.refuse(c.who, c.method, c.path, c.body, c.status, c.kind, "")
	}
	w.do("demo", "PUT", below(a)+"/"+rule, `{"security_group_rule":{"description":"x"}}`, 200)
	w.do("demo", "DELETE", below(a)+"/"+rule, "", 204)
}
