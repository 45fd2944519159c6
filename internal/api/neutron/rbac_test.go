// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"slices"
	"testing"

	"nagare/internal/tables"
)

// grant shares an object and gives the policy's id.
func (w *world) grant(who, kind, id, action, target string) string {
	w.t.Helper()
	return w.make(who, "rbac-policies", "rbac_policy", fmt.Sprintf(`"object_type":%q,"object_id":%q,"action":%q,"target_tenant":%q`, kind, id, action, target))
}

// TestSharing goes through the life of a policy for every kind of object: unseen, granted, used, refused to be taken back,
// taken back; and the same for everybody.
func TestSharing(t *testing.T) {
	w := newWorld(t)
	here := w.network("other", "")
	for _, k := range []struct {
		kind, path, body string
		use              func(id string) (path string) // by other; what is to be deleted for the use to end
	}{
		{"network", "networks", `"name":"a"`, func(id string) string { return "ports/" + w.port("other", id, "") }},
		{"security_group", "security-groups", `"name":"a"`, func(id string) string {
			return "ports/" + w.port("other", here, `,"security_groups":["`+id+`"]`)
		}},
		{"address_group", "address-groups", `"name":"a","addresses":["10.0.0.1"]`, func(id string) string {
			sg := w.names("other", "security-groups", "id")[0]
			return "security-group-rules/" + w.make("other", "security-group-rules", "security_group_rule", `"security_group_id":"`+sg+`","direction":"ingress","remote_address_group_id":"`+id+`"`)
		}},
		{"subnetpool", "subnetpools", `"name":"a","prefixes":["10.7.0.0/16"]`, func(id string) string {
			return "subnets/" + w.make("other", "subnets", "subnet", `"network_id":"`+here+`","ip_version":4,"subnetpool_id":"`+id+`","prefixlen":24`)
		}},
		{"address_scope", "address-scopes", `"name":"a","ip_version":4`, func(id string) string {
			return "subnetpools/" + w.pool("other", `"prefixes":["10.8.0.0/16"],"address_scope_id":"`+id+`"`)
		}},
	} {
		id := w.make("demo", k.path, k.kind, k.body)
		at := "/v2.0/" + k.path + "/" + id
		lists := func(who string) bool { return slices.Contains(w.names(who, k.path, "id"), id) }
		shared := func(who string) any { return dig(w.do(who, "GET", at, "", 200), k.kind, "shared") }
		if lists("other") || w.send("other", "GET", at, "").code != 404 || shared("demo") != false {
			t.Errorf("%s: seen without a policy", k.kind)
		}
		p := w.grant("demo", k.kind, id, "access_as_shared", "p-other")
		if !lists("other") || shared("other") != true || shared("demo") != false || lists("service") != true {
			t.Errorf("%s: granted, but shared is %v for its target and %v for its owner", k.kind, shared("other"), shared("demo"))
		}
		if got := w.names("other", k.path+"?shared=true", "id"); !slices.Contains(got, id) {
			t.Errorf("%s: shared=true lists %v", k.kind, got)
		}
		w.refuse("other", "PUT", at, `{"`+k.kind+`":{"name":"x"}}`, 403, "PolicyNotAuthorized", "")
		w.refuse("other", "DELETE", at, "", 403, "PolicyNotAuthorized", "")
		w.refuse("demo", "POST", "/v2.0/rbac-policies", `{"rbac_policy":{"object_type":"`+k.kind+`","object_id":"`+id+`","action":"access_as_shared","target_tenant":"p-other"}}`, 409, "DuplicateRbacPolicy", "")
		used := k.use(id)
		policy := "/v2.0/rbac-policies/" + p
		w.refuse("demo", "DELETE", policy, "", 409, "RbacPolicyInUse", "")
		w.refuse("demo", "PUT", policy, `{"rbac_policy":{"target_tenant":"p-third"}}`, 409, "RbacPolicyInUse", "")
		// What is in use can be shared with more.
		w.do("admin", "PUT", policy, `{"rbac_policy":{"target_tenant":"*"}}`, 200)
		w.refuse("admin", "PUT", policy, `{"rbac_policy":{"target_tenant":"p-third"}}`, 409, "RbacPolicyInUse", "")
		w.do("admin", "PUT", policy, `{"rbac_policy":{"target_tenant":"p-other"}}`, 200)
		// A policy for everybody covers the use, and then the use holds it in turn.
		all := w.grant("admin", k.kind, id, "access_as_shared", "*")
		if shared("demo") != true || !lists("demo") {
			t.Errorf("%s: shared with everybody, but not shown so", k.kind)
		}
		w.do("demo", "DELETE", policy, "", 204)
		w.refuse("admin", "DELETE", "/v2.0/rbac-policies/"+all, "", 409, "RbacPolicyInUse", "")
		w.refuse("admin", "PUT", "/v2.0/rbac-policies/"+all, `{"rbac_policy":{"target_tenant":"p-third"}}`, 409, "RbacPolicyInUse", "")
		w.do("admin", "PUT", "/v2.0/rbac-policies/"+all, `{"rbac_policy":{"target_tenant":"p-other"}}`, 200)
		w.do("other", "DELETE", "/v2.0/"+used, "", 204)
		w.do("admin", "DELETE", "/v2.0/rbac-policies/"+all, "", 204)
		if lists("other") {
			t.Errorf("%s: still seen after its last policy", k.kind)
		}
		// Policies go with their object.
		w.grant("demo", k.kind, id, "access_as_shared", "p-other")
		w.do("demo", "DELETE", at, "", 204)
		if n := tables.RBACPolicies.Len(w.st.Snapshot()); n != 0 {
			t.Errorf("%s: %d policies left", k.kind, n)
		}
	}
}

// TestSharedGroup: who may wear a group may not say what it allows.
func TestSharedGroup(t *testing.T) {
	w := newWorld(t)
	g := w.make("demo", "security-groups", "security_group", `"name":"g"`)
	body := `{"security_group_rule":{"security_group_id":"` + g + `","direction":"ingress"}}`
	w.refuse("other", "POST", "/v2.0/security-group-rules", body, 404, "SecurityGroupNotFound", "")
	w.grant("demo", "security_group", g, "access_as_shared", "p-other")
	w.refuse("other", "POST", "/v2.0/security-group-rules", body, 403, "PolicyNotAuthorized", "rule:create_security_group_rule is disallowed by policy")
	w.do("demo", "POST", "/v2.0/security-group-rules", body, 201)
	if m := w.do("other", "GET", "/v2.0/security-groups/"+g, "", 200); len(dig(m, "security_group", "security_group_rules").([]any)) != 3 {
		t.Errorf("the group as its target sees it: %v", m)
	}
	// Its rules are seen with it, one by one and in lists, and remain its owner's to change.
	mine := w.names("demo", "security-group-rules?fields=id&security_group_id="+g, "id")
	for _, query := range []string{"", "&limit=3"} {
		if got := w.names("other", "security-group-rules?fields=id&security_group_id="+g+query, "id"); len(mine) != 3 || !slices.Equal(got, mine) {
			t.Errorf("the rules of a shared group are %v, the other project sees %v", mine, got)
		}
	}
	all := w.names("other", "security-group-rules?fields=id", "id")
	for _, id := range mine {
		w.do("other", "GET", "/v2.0/security-group-rules/"+id, "", 200)
		w.refuse("other", "DELETE", "/v2.0/security-group-rules/"+id, "", 403, "PolicyNotAuthorized", "")
		if !slices.Contains(all, id) {
			t.Errorf("rule %s is not in the list", id)
		}
	}
	for _, id := range w.names("demo", "security-group-rules?fields=id", "id") {
		if !slices.Contains(mine, id) {
			w.refuse("other", "GET", "/v2.0/security-group-rules/"+id, "", 404, "SecurityGroupRuleNotFound", "")
		}
	}
}

func TestPolicyRefusals(t *testing.T) {
	w := newWorld(t)
	n := w.network("demo", "")
	foreign, open := w.network("admin", ""), w.network("admin", `"shared":true`)
	missing := "00000000-0000-4000-8000-000000000000"
	p := w.grant("demo", "network", n, "access_as_shared", "p-other")
	one := "/v2.0/rbac-policies/" + p
	body := func(kind, id, action, target string) string {
		return fmt.Sprintf(`{"rbac_policy":{"object_type":%q,"object_id":%q,"action":%q,"target_tenant":%q}}`, kind, id, action, target)
	}
	for _, c := range []struct {
		who, method, path, body string
		status                  int
		kind, message           string
	}{
		{"demo", "POST", "", body("network", n, "access_as_shared", "*"), 403, "PolicyNotAuthorized", "(rule:create_rbac_policy and rule:create_rbac_policy:target_tenant) is disallowed by policy"},
		{"demo", "PUT", one, `{"rbac_policy":{"target_tenant":"*"}}`, 403, "PolicyNotAuthorized", ""},
		{"demo", "POST", "", body("network", n, "access_as_external", "p-other"), 403, "PolicyNotAuthorized", ""},
		{"reader", "POST", "", body("network", n, "access_as_shared", "p-x"), 403, "PolicyNotAuthorized", ""},
		{"demo", "POST", "", body("network", foreign, "access_as_shared", "p-other"), 404, "NetworkNotFound", ""},
		{"demo", "POST", "", body("network", missing, "access_as_shared", "p-other"), 404, "NetworkNotFound", ""},
		{"demo", "POST", "", body("network", open, "access_as_shared", "p-other"), 400, "InvalidInput", ""},
		{"demo", "POST", "", body("port", n, "access_as_shared", "p-other"), 400, "InvalidInput", "Invalid input for operation: 'port' is not a valid RBAC object type."},
		{"demo", "POST", "", body("network", n, "access_as_owner", "p-other"), 400, "InvalidInput",
			"Invalid input for operation: Invalid action 'access_as_owner' for object type 'network'. Valid actions: ['access_as_shared', 'access_as_external']."},
		{"demo", "POST", "", body("security_group", n, "access_as_external", "p-other"), 400, "InvalidInput", ""},
		{"demo", "POST", "", body("network", n, "access_as_shared", ""), 400, "HTTPBadRequest", ""},
		{"demo", "POST", "", `{"rbac_policy":{"object_type":"network","object_id":"` + n + `","action":"access_as_shared"}}`, 400, "HTTPBadRequest", ""},
		{"demo", "PUT", one, `{"rbac_policy":{"object_id":"` + n + `"}}`, 400, "HTTPBadRequest", "Cannot update read-only attribute object_id"},
		{"demo", "GET", "/v2.0/rbac-policies/" + missing, "", 404, "RbacPolicyNotFound", ""},
		{"other", "GET", one, "", 404, "RbacPolicyNotFound", ""},
		{"other", "DELETE", one, "", 404, "RbacPolicyNotFound", ""},
		{"reader", "DELETE", one, "", 403, "PolicyNotAuthorized", ""},
		{"demo", "PUT", one + "/tags", `{"tags":["x"]}`, 404, "HTTPNotFound", ""},
	} {
		path := c.path
		if path == "" {
			path = "/v2.0/rbac-policies"
		}
		w.refuse(c.who, c.method, path, c.body, c.status, c.kind, c.message)
	}
	if m := w.send("demo", "GET", one, ""); m.text != `{"rbac_policy":{"id":"`+p+`","tenant_id":"p-demo","project_id":"p-demo","object_type":"network","object_id":"`+n+
		`","action":"access_as_shared","target_tenant":"p-other"}}` {
		t.Errorf("policy %s", m.text)
	}
	if got := w.names("demo", "rbac-policies?object_type=network&target_tenant=p-other&action=access_as_shared&object_id="+n, "id"); !slices.Equal(got, []string{p}) {
		t.Errorf("filtered: %v", got)
	}
	// The target may change to nobody's use, and the old one loses sight.
	w.do("demo", "PUT", one, `{"rbac_policy":{"target_tenant":"p-third"}}`, 200)
	w.refuse("other", "GET", "/v2.0/networks/"+n, "", 404, "NetworkNotFound", "")
	w.do("admin", "PUT", "/v2.0/quotas/p-demo", `{"quota":{"rbac_policy":1}}`, 200)
	w.refuse("demo", "POST", "/v2.0/rbac-policies", body("network", n, "access_as_shared", "p-x"), 409, "OverQuota", "Quota exceeded for resources: ['rbac_policy'].")
}

// TestSharedNetwork: what the attribute says is what the policies say, both ways, and subnets come with their network.
func TestSharedNetwork(t *testing.T) {
	w := newWorld(t)
	n := w.network("admin", `"name":"n","shared":true`)
	at := "/v2.0/networks/" + n
	policies := func() []string { return w.names("admin", "rbac-policies", "target_tenant") }
	if !slices.Equal(policies(), []string{"*"}) {
		t.Errorf("policies of a shared network: %v", policies())
	}
	s := w.subnet("admin", n, "10.0.0.0/24", "")
	w.do("demo", "GET", "/v2.0/subnets/"+s, "", 200)
	p := w.port("demo", n, "")
	w.refuse("admin", "PUT", at, `{"network":{"shared":false}}`, 409, "InvalidSharedSetting", "")
	w.grant("admin", "network", n, "access_as_shared", "p-demo")
	w.do("admin", "PUT", at, `{"network":{"shared":false}}`, 200)
	if got := w.names("demo", "subnets", "id"); !slices.Equal(got, []string{s}) || !slices.Equal(policies(), []string{"p-demo"}) {
		t.Errorf("subnets of demo %v, policies %v", got, policies())
	}
	w.refuse("other", "GET", "/v2.0/subnets/"+s, "", 404, "SubnetNotFound", "")
	w.refuse("demo", "PUT", at, `{"network":{"shared":true}}`, 403, "PolicyNotAuthorized", "")
	if m := w.do("demo", "GET", at, "", 200); fmt.Sprint(dig(m, "network", "subnets")) != "["+s+"]" || dig(m, "network", "shared") != true {
		t.Errorf("network of a grant: %v", m)
	}
	if m := w.do("admin", "GET", at, "", 200); dig(m, "network", "shared") != false {
		t.Errorf("network as its owner sees it: %v", m)
	}
	rev := dig(w.do("admin", "GET", at, "", 200), "network", "revision_number").(float64)
	w.grant("admin", "network", n, "access_as_shared", "p-other")
	if now := dig(w.do("admin", "GET", at, "", 200), "network", "revision_number").(float64); now <= rev {
		t.Errorf("revision %v, then %v after a policy", rev, now)
	}
	w.do("demo", "DELETE", "/v2.0/ports/"+p, "", 204)
	w.do("admin", "DELETE", at, "", 204)
	if got := policies(); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

// TestExternalPolicies: a network is external while a policy says so, for those that it names, and gateways hold it.
func TestExternalPolicies(t *testing.T) {
	w := newWorld(t, withRouters)
	w.node("controller", "", map[string]string{"physnet1": "br-ex"})
	n := w.network("admin", `"router:external":true`)
	at := "/v2.0/networks/" + n
	w.subnet("admin", n, "172.16.0.0/24", "")
	external := func() any { return dig(w.do("admin", "GET", at, "", 200), "network", "router:external") }
	all := w.names("admin", "rbac-policies?action=access_as_external", "id")
	if len(all) != 1 || external() != true {
		t.Fatalf("policies %v", all)
	}
	wild := "/v2.0/rbac-policies/" + all[0]
	mine := w.grant("admin", "network", n, "access_as_external", "p-demo")
	router := w.make("demo", "routers", "router", `"external_gateway_info":{"network_id":"`+n+`"}`)
	w.do("admin", "DELETE", wild, "", 204)
	if w.send("other", "GET", at, "").code != 404 || w.send("demo", "GET", at, "").code != 200 || external() != true {
		t.Errorf("external for demo alone: other %d, demo %d", w.send("other", "GET", at, "").code, w.send("demo", "GET", at, "").code)
	}
	w.refuse("other", "POST", "/v2.0/routers", `{"router":{"external_gateway_info":{"network_id":"`+n+`"}}}`, 404, "NetworkNotFound", "")
	w.refuse("admin", "DELETE", "/v2.0/rbac-policies/"+mine, "", 409, "RbacPolicyInUse", "")
	w.do("demo", "PUT", "/v2.0/routers/"+router, `{"router":{"external_gateway_info":null}}`, 200)
	f := w.make("demo", "floatingips", "floatingip", `"floating_network_id":"`+n+`"`)
	w.refuse("admin", "DELETE", "/v2.0/rbac-policies/"+mine, "", 409, "RbacPolicyInUse", "")
	w.do("demo", "DELETE", "/v2.0/floatingips/"+f, "", 204)
	// The administrator's own gateway needs no policy, but an external network.
	router = w.make("admin", "routers", "router", `"external_gateway_info":{"network_id":"`+n+`"}`)
	w.refuse("admin", "DELETE", "/v2.0/rbac-policies/"+mine, "", 409, "ExternalNetworkInUse", "")
	w.do("admin", "DELETE", "/v2.0/routers/"+router, "", 204)
	w.do("admin", "DELETE", "/v2.0/rbac-policies/"+mine, "", 204)
	if external() != false {
		t.Error("external without a policy")
	}
	w.grant("admin", "network", n, "access_as_external", "p-demo")
	if external() != true {
		t.Error("not external with a policy")
	}
	w.do("admin", "PUT", at, `{"network":{"router:external":false}}`, 200)
	if got := w.names("admin", "rbac-policies", "id"); len(got) != 0 || external() != false {
		t.Errorf("policies of an internal network %v", got)
	}
	// The default external network is everybody's.
	d := w.network("admin", `"router:external":true,"is_default":true`)
	w.refuse("admin", "DELETE", "/v2.0/rbac-policies/"+w.names("admin", "rbac-policies?object_id="+d, "id")[0], "", 409, "RbacPolicyInUse", "")
}
