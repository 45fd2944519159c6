// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// shownRules are the rules of a group as text, sorted.
func shownRules(w *world, who, group string) string {
	var out []string
	for _, r := range w.do(who, "GET", "/v2.0/security-group-rules?security_group_id="+group, "", 200)["security_group_rules"].([]any) {
		remote := "any"
		switch dig(r, "remote_group_id") {
		case nil:
		case group:
			remote = "own"
		default:
			remote = "other"
		}
		out = append(out, fmt.Sprint(dig(r, "direction"), " ", dig(r, "ethertype"), " ", dig(r, "protocol"), " ", remote, " ", dig(r, "belongs_to_default_sg")))
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

func (w *world) template(who string) (ids []string) {
	return w.names(who, "default-security-group-rules", "id")
}

func TestDefaultRules(t *testing.T) {
	w := newWorld(t)
	const at = "/v2.0/default-security-group-rules"
	own := w.make("demo", "security-groups", "security_group", `"name":"first"`)
	const egress = "egress IPv4 <nil> any false; egress IPv6 <nil> any false"
	if got := shownRules(w, "demo", own); got != egress {
		t.Errorf("a new group has %s", got)
	}
	def := w.names("demo", "security-groups?name=default", "id")[0]
	if got := shownRules(w, "demo", def); got != "egress IPv4 <nil> any true; egress IPv6 <nil> any true; ingress IPv4 <nil> own true; ingress IPv6 <nil> own true" {
		t.Errorf("a default group has %s", got)
	}
	ids := w.template("demo")
	if len(ids) != 4 || !slices.IsSorted(ids) {
		t.Fatalf("rules at first: %v", ids)
	}
	one := w.do("reader", "GET", at+"/"+ids[2], "", 200)["default_security_group_rule"]
	if fmt.Sprint(one) != "map[description:Built-in rule for ingress traffic direction:ingress ethertype:IPv4 id:"+ids[2]+
		" port_range_max:<nil> port_range_min:<nil> protocol:<nil> remote_address_group_id:<nil> remote_group_id:PARENT remote_ip_prefix:<nil> used_in_default_sg:true used_in_non_default_sg:false]" {
		t.Errorf("a built-in rule is %v", one)
	}
	body := func(s string) string { return `{"default_security_group_rule":{` + s + `}}` }
	const both = `"used_in_default_sg":true,"used_in_non_default_sg":true`
	for _, c := range []struct {
		who, body  string
		code       int
		kind, text string
	}{
		{"demo", `"direction":"ingress",` + both, 403, "PolicyNotAuthorized", ""},
		{"admin", `"direction":"ingress"`, 400, "HTTPBadRequest", "Failed to parse request. Required attribute 'used_in_default_sg' not specified"},
		{"admin", `"direction":"up",` + both, 400, "HTTPBadRequest", ""},
		{"admin", `"direction":"ingress","remote_group_id":"parent",` + both, 400, "HTTPBadRequest", "Invalid input for remote_group_id. Reason: 'parent' is not a valid UUID."},
		{"admin", `"direction":"ingress","port_range_min":1,"port_range_max":2,` + both, 400, "SecurityGroupProtocolRequiredWithPorts", ""},
		{"admin", `"direction":"ingress","remote_group_id":"PARENT","remote_ip_prefix":"10.0.0.0/8",` + both, 400, "SecurityGroupMultipleRemoteEntites", ""},
		{"admin", `"direction":"egress","used_in_default_sg":false,"used_in_non_default_sg":true`, 409, "DefaultSecurityGroupRuleExists", "Default Security group rule already exists. Rule id is " + ids[0] + "."},
		{"admin", `"direction":"ingress","ethertype":"IPv6","remote_group_id":"PARENT","used_in_default_sg":true,"used_in_non_default_sg":false`, 409, "DefaultSecurityGroupRuleExists", "Default Security group rule already exists. Rule id is " + ids[3] + "."},
	} {
		w.refuse(c.who, "POST", at, body(c.body), c.code, c.kind, c.text)
	}
	w.refuse("admin", "GET", at+"/x", "", 404, "DefaultSecurityGroupRuleNotFound", "Default Security Group rule x does not exist")
	w.refuse("admin", "PUT", at+"/"+ids[0], body(`"description":"x"`), 405, "HTTPMethodNotAllowed", "")
	w.refuse("demo", "DELETE", at+"/"+ids[0], "", 403, "PolicyNotAuthorized", "")
	w.refuse("admin", "POST", at, `{"default_security_group_rules":[{"direction":"ingress","protocol":"tcp",`+both+`},{"direction":"ingress","protocol":"6",`+both+`}]}`,
		409, "DefaultSecurityGroupRuleExists", "")

	// An own rule, an own rule about a group that goes, and one of the built-in ones deleted.
	ping := w.make("admin", "default-security-group-rules", "default_security_group_rule", `"direction":"ingress","protocol":"icmp","description":"ping",`+both)
	w.refuse("admin", "POST", at, body(`"direction":"ingress","protocol":"1",`+both), 409, "DefaultSecurityGroupRuleExists", "Default Security group rule already exists. Rule id is "+ping+".")
	w.make("admin", "default-security-group-rules", "default_security_group_rule", `"direction":"ingress","remote_group_id":"`+own+`","used_in_default_sg":false,"used_in_non_default_sg":true`)
	second := w.make("demo", "security-groups", "security_group", `"name":"second"`)
	if got := shownRules(w, "demo", second); got != egress+"; ingress IPv4 <nil> other false; ingress IPv4 icmp any false" {
		t.Errorf("a new group has %s", got)
	}
	if got := shownRules(w, "demo", own); got != egress {
		t.Errorf("an older group has now %s", got)
	}
	w.do("demo", "DELETE", "/v2.0/security-groups/"+own, "", 204)
	w.do("admin", "DELETE", at+"/"+ids[0], "", 204)
	w.refuse("admin", "DELETE", at+"/"+ids[0], "", 404, "DefaultSecurityGroupRuleNotFound", "")
	w.refuse("admin", "GET", at+"/"+ids[0], "", 404, "DefaultSecurityGroupRuleNotFound", "")
	if got := w.template("demo"); len(got) != 5 || slices.Contains(got, ids[0]) || !slices.IsSorted(got) {
		t.Errorf("rules left: %v", got)
	}
	third := w.make("demo", "security-groups", "security_group", `"name":"third"`)
	if got := shownRules(w, "demo", third); got != "egress IPv6 <nil> any false; ingress IPv4 icmp any false" {
		t.Errorf("a new group has %s", got)
	}
	fresh := w.names("other", "security-groups?name=default", "id")[0]
	if got := shownRules(w, "other", fresh); got != "egress IPv6 <nil> any true; ingress IPv4 <nil> own true; ingress IPv4 icmp any true; ingress IPv6 <nil> own true" {
		t.Errorf("a new default group has %s", got)
	}
	if got := w.names("demo", "security-group-rules?belongs_to_default_sg=true", "security_group_id"); len(got) != 4 || got[0] != def {
		t.Errorf("rules of the default group: of groups %v", got)
	}
	// The deleted one may be made again, with another id.
	w.make("admin", "default-security-group-rules", "default_security_group_rule", `"direction":"egress",`+both)
	for page, want := range map[string]int{"?limit=2": 2, "?used_in_non_default_sg=false": 2, "?direction=egress": 2, "?remote_group_id=PARENT": 2} {
		if got := w.names("demo", "default-security-group-rules"+page, "id"); len(got) != want {
			t.Errorf("%s: %v, want %d", page, got, want)
		}
	}
	var paged []string
	for marker := ""; ; marker = paged[len(paged)-1] {
		page := w.names("demo", "default-security-group-rules?limit=1&marker="+marker, "id")
		if len(page) == 0 {
			break
		}
		paged = append(paged, page...)
	}
	if all := w.template("demo"); len(all) != 6 || !slices.Equal(paged, all) {
		t.Errorf("page by page %v, at once %v", paged, all)
	}
	consistent(t, w)
}

func TestDefaultStatefulness(t *testing.T) {
	w := newWorld(t)
	const at = "/v2.0/security-groups-default-statefulness"
	body := func(s string) string { return `{"security_groups_default_statefulness":{` + s + `}}` }
	stateful := func(more string) any {
		t.Helper()
		id := w.make("demo", "security-groups", "security_group", `"name":"g"`+more)
		defer w.do("demo", "DELETE", "/v2.0/security-groups/"+id, "", 204)
		return dig(w.do("demo", "GET", "/v2.0/security-groups/"+id, "", 200), "security_group", "stateful")
	}
	if stateful("") != true {
		t.Error("a group is stateless at first")
	}
	w.refuse("demo", "POST", at, body(`"stateful":false`), 403, "PolicyNotAuthorized", "")
	w.refuse("demo", "POST", at, body(`"stateful":false,"project_id":null`), 400, "HTTPBadRequest", "")
	all := dig(w.do("admin", "POST", at, body(`"stateful":false,"project_id":null`), 201), "security_groups_default_statefulness")
	if dig(all, "project_id") != nil || dig(all, "stateful") != false {
		t.Errorf("made %v", all)
	}
	w.refuse("admin", "POST", at, body(`"project_id":null`), 409, "SecurityGroupDefaultStatefulnessAlreadyExists", "A security group default statefulness setting already exists for project 'system-wide'.")
	if stateful("") != false || stateful(`,"stateful":true`) != true {
		t.Error("the setting of all projects does not hold")
	}
	id := dig(w.do("admin", "POST", at, body(`"project_id":"p-demo"`), 201), "security_groups_default_statefulness", "id").(string)
	w.refuse("admin", "POST", at, body(`"project_id":"p-demo"`), 409, "SecurityGroupDefaultStatefulnessAlreadyExists", "A security group default statefulness setting already exists for project 'p-demo'.")
	if stateful("") != true {
		t.Error("the project's setting does not hold")
	}
	if got := w.names("demo", "security-groups-default-statefulness", "id"); !slices.Equal(got, []string{id}) {
		t.Errorf("a project sees %v", got)
	}
	w.do("admin", "PUT", at+"/"+id, body(`"stateful":false`), 200)
	w.do("admin", "DELETE", at+"/"+dig(all, "id").(string), "", 204)
	if stateful("") != false {
		t.Error("the changed setting does not hold")
	}
	w.refuse("demo", "DELETE", at+"/"+id, "", 403, "PolicyNotAuthorized", "")
	w.do("admin", "DELETE", at+"/"+id, "", 204)
	w.refuse("admin", "GET", at+"/"+id, "", 404, "SecurityGroupDefaultStatefulnessNotFound", "Security group default statefulness "+id+" could not be found.")
	if stateful("") != true {
		t.Error("a group is stateless without a setting")
	}
}

// groupCells are, for the matrix, what new groups begin with.
func groupCells(w *world, add func(name, label, path, id, create, change string, actions ...string)) {
	const both = `"used_in_default_sg":false,"used_in_non_default_sg":true`
	add("default_security_group_rule", "any", "default-security-group-rules", w.make("admin", "default-security-group-rules", "default_security_group_rule",
		`"direction":"ingress","protocol":"tcp",`+both), `"direction":"ingress","protocol":"udp",`+both, "")
	const name = "security_groups_default_statefulness"
	path := strings.ReplaceAll(name, "_", "-")
	for _, c := range [][3]string{{"own", "p-demo", ""}, {"foreign", "p-admin", ""}, {"others", "p-other", ""}} {
		add(name, c[0], path, w.make("admin", path, name, `"stateful":true,"project_id":"`+c[1]+`"`), c[2], `"stateful":true`)
	}
	add(name, "of all", path, w.make("admin", path, name, `"stateful":true,"project_id":null`), "", `"stateful":true`)
}
