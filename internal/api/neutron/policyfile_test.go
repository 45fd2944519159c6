// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"nagare/internal/identity"
	"nagare/internal/model"
	"nagare/internal/policy"
	"nagare/internal/repro"
)

// TestPolicyNames: rules have Neutron's names, each once, and docs/policy.md is what the declarations generate.
func TestPolicyNames(t *testing.T) {
	seen := map[string]string{}
	for _, d := range Rules() {
		if _, dup := seen[d.Name]; dup {
			t.Errorf("%s: twice", d.Name)
		}
		seen[d.Name] = d.Check
	}
	for name, check := range map[string]string{
		"create_network": "rule:regular_user and (rule:admin_or_owner)", "create_network:shared": "rule:admin_only", "update_network:router:external": "rule:admin_only",
		"get_network:provider:segmentation_id": "rule:admin_only or rule:context_is_advsvc or rule:context_with_global_access",
		"get_port:binding:host_id":             "rule:admin_only or rule:context_is_advsvc or rule:context_with_global_access",
		"create_port:device_owner":             "not rule:network_device or rule:admin_only or rule:context_is_advsvc",
		"create_port:fixed_ips:ip_address":     "rule:admin_or_network_owner or rule:context_is_advsvc", "create_port:fixed_ips": "@", "update_port:fixed_ips:subnet_id": "@",
		"delete_port":                                     "rule:regular_user and (rule:admin_owner_or_network_owner or rule:context_is_advsvc)",
		"update_router:distributed":                       "rule:admin_only",
		"add_router_interface":                            "rule:regular_user and (rule:admin_or_owner)",
		"remove_router_interface":                         "rule:regular_user and (rule:admin_or_owner)",
		"add_extraroutes":                                 "rule:regular_user and (rule:admin_or_owner)",
		"create_router:external_gateway_info:enable_snat": "rule:admin_only", "create_router:external_gateway_info:network_id": "@",
		"create_floatingip:floating_ip_address":     "rule:admin_only",
		"create_policy_bandwidth_limit_rule":        "rule:regular_user and (rule:admin_only)",
		"update_alias_dscp_marking_rule":            "rule:regular_user and (rule:admin_only)",
		"update_rbac_policy:target_tenant":          "not field:rbac_policy:target_tenant=* or rule:admin_only",
		"get_availability_zone":                     "@",
		"get_rule_type":                             "@",
		"get_l3-agents":                             "rule:admin_only or rule:context_is_advsvc or rule:context_with_global_access",
		"get_dhcp-networks":                         "@",
		"get_subports":                              "@",
		"add_subports":                              "rule:regular_user and (rule:admin_or_owner)",
		"add_addresses":                             "rule:regular_user and (rule:admin_or_owner)",
		"add_prefixes":                              "rule:regular_user and (rule:admin_or_owner)",
		"update_network:tags":                       "rule:regular_user and (rule:admin_or_owner)",
		"create_subnet":                             "rule:regular_user and (rule:admin_or_network_owner)",
		"get_network_ip_availability":               "@",
		"update_quota":                              "rule:admin_only",
		"create_security_group_rule":                "rule:regular_user and (rule:admin_or_owner)",
		"update_subnetpool:is_default":              "rule:admin_only",
		"create_network:mtu":                        "@", // may be ruled too
		"create_alias_bandwidth_limit_rule":         "",  // there is no such path
		"delete_agent":                              "rule:regular_user and (rule:admin_only)",
		"create_agent":                              "",
		"create_port:binding:vif_type":              "",
		"get_policy_bandwidth_limit_rule:tenant_id": "",
	} {
		if seen[name] != check {
			t.Errorf("%s: %q, want %q", name, seen[name], check)
		}
	}
	got, err := os.ReadFile("../../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != PolicyMarkdown() {
		t.Error("docs/policy.md is stale: run go generate ./internal/api/neutron")
	}
}

// TestBuiltinChecks: the check strings that the document tells say what the built-in rules do, for random callers and objects.
func TestBuiltinChecks(t *testing.T) {
	set, err := policy.Load(nil, Rules())
	if err != nil {
		t.Fatal(err)
	}
	rnd := repro.Rand(7, 7)
	projects := []model.ProjectID{"", "a", "b"}
	for range 2000 {
		who := identity.Principal{UserID: "u", ProjectID: projects[rnd.IntN(3)], System: rnd.IntN(4) == 0}
		for _, r := range []string{"admin", "manager", "member", "reader", "service", "x"} {
			if rnd.IntN(3) == 0 {
				who.Roles = append(who.Roles, r)
			}
		}
		if len(who.Roles) == 0 {
			continue // is refused before
		}
		v := &view{who: who}
		v.rights(nil)
		creds := &policy.Creds{ProjectID: string(who.ProjectID), Roles: who.Roles, System: who.System, Admin: v.admin, Writer: v.writes}
		tg := target{projects[rnd.IntN(3)], projects[rnd.IntN(3)]}
		in := &values{m: map[string]any{"device_owner": []any{"network:dhcp", "compute:nova", ""}[rnd.IntN(3)]}}
		of := &asked[model.Port]{v, ports, tg, nil, in}
		for name, want := range map[string]bool{
			"create_network":                  v.writes && v.may(owner, tg),
			"create_port":                     v.writes && v.may(ownerOrService, tg),
			"delete_port":                     v.writes && v.may(eitherOwnerOrService, tg),
			"create_subnet":                   v.writes && v.may(networkOwner, tg),
			"update_subnet":                   v.writes && v.may(eitherOwner, tg),
			"update_port:mac_address":         v.may(networkOwnerOrService, tg),
			"create_network:shared":           v.may(adminOnly, tg),
			"update_port:binding:host_id":     v.may(adminOrService, tg),
			"create_port:device_owner":        !isNetworkDevice(in.m["device_owner"]) || v.may(adminOrService, tg),
			"get_port:binding:host_id":        v.seesRule(adminOrService),
			"get_router:ha":                   v.seesRule(adminOnly),
			"get_port":                        true,
			"context_with_global_access":      v.global,
			"update_port:fixed_ips:subnet_id": true,
		} {
			if got := set.Check(name, of, creds); got != want {
				t.Fatalf("%s: %v, want %v: %+v of %+v %v", name, got, want, who, tg, in.m)
			}
		}
	}
}

func (w *world) rulesOf(file string) {
	w.t.Helper()
	if err := w.api.SetPolicy(policy.File{Data: []byte(file)}); err != nil {
		w.t.Fatal(err)
	}
}

func TestPolicyFile(t *testing.T) {
	people["netops"] = identity.Principal{UserID: "u-netops", ProjectID: "p-demo", Roles: []string{"netops"}}
	people["boss"] = identity.Principal{UserID: "u-boss", ProjectID: "p-boss", Roles: []string{"boss"}}
	t.Cleanup(func() { delete(people, "netops"); delete(people, "boss") })
	w := newWorld(t, withRouters)
	w.node("controller", "", nil)
	own := w.network("demo", `"name":"own"`)
	w.subnet("demo", own, "10.0.0.0/24", "")
	shared := w.network("admin", `"name":"shared","shared":true`)
	w.subnet("admin", shared, "10.1.0.0/24", "")
	port := w.port("demo", own, "")
	router := w.make("demo", "routers", "router", "")
	w.rulesOf(`
"netadmin": "rule:admin_only or role:netops"
"create_network:provider:network_type": "rule:netadmin"
"create_network:mtu": "rule:netadmin"
"create_network": "rule:regular_user and rule:admin_or_owner or role:reader and rule:owner"
"delete_network": "rule:admin_only"
"update_port:fixed_ips:subnet_id": "!"
"get_port:binding:host_id": "rule:admin_or_network_owner"
"get_port:device_id": "rule:admin_only"
"get_network": "not field:networks:shared=True or role:admin or role:netops"
"add_router_interface": "role:netops"
"update_network:tags": "role:netops"
"get_network:tags": "role:netops"
"get_subports": "!"
"get_l3-agents": "role:netops"
"get_availability_zone": "!"
"update_quota": "role:netops and project_id:%(project_id)s"
"create_port:device_owner": "rule:admin_only or field:port:device_owner=~^compute:"
"create_port:allowed_address_pairs:ip_address": "rule:admin_only"
"update_network:description": "user_id:u-netops"
`)
	net := func(attrs string) string { return `{"network":{` + attrs + `}}` }
	for _, c := range []struct {
		who, method, path, body string
		code                    int
		message                 string
	}{
		{"netops", "POST", "networks", net(`"provider:network_type":"vxlan"`), 201, ""},
		{"demo", "POST", "networks", net(`"provider:network_type":"vxlan"`), 403, "(rule:create_network and rule:create_network:provider:network_type) is disallowed by policy"},
		{"netops", "POST", "networks", net(`"provider:segmentation_id":7`), 403, ""}, // what the file does not name is as before
		{"demo", "POST", "networks", net(`"mtu":1300`), 403, "(rule:create_network and rule:create_network:mtu) is disallowed by policy"},
		{"admin", "POST", "networks", net(`"mtu":1300`), 201, ""},
		{"reader", "POST", "networks", net(``), 201, ""}, // the file alone decides
		{"reader", "POST", "routers", `{"router":{}}`, 403, "rule:create_router is disallowed by policy"},
		{"demo", "DELETE", "networks/" + own, "", 403, "rule:delete_network is disallowed by policy"},
		{"demo", "PUT", "networks/" + own, net(`"description":"x"`), 403, "(rule:update_network and rule:update_network:description) is disallowed by policy"},
		{"netops", "PUT", "networks/" + own, net(`"description":"x"`), 200, ""},
		{"demo", "PUT", "ports/" + port, `{"port":{"fixed_ips":[{"subnet_id":"SUB"}]}}`, 403, "(rule:update_port and rule:update_port:fixed_ips:subnet_id) is disallowed by policy"},
		{"demo", "PUT", "ports/" + port, `{"port":{"fixed_ips":[]}}`, 200, ""},
		{"demo", "POST", "ports", `{"port":{"network_id":"` + own + `","device_owner":"compute:nova"}}`, 201, ""},
		{"demo", "POST", "ports", `{"port":{"network_id":"` + own + `","device_owner":"x"}}`, 403, ""},
		{"demo", "POST", "ports", `{"port":{"network_id":"` + own + `","allowed_address_pairs":[{"ip_address":"10.0.0.77"}]}}`, 403,
			"(rule:create_port and rule:create_port:allowed_address_pairs and rule:create_port:allowed_address_pairs:ip_address) is disallowed by policy"},
		{"demo", "GET", "networks/" + shared, "", 404, ""},
		{"netops", "GET", "networks/" + shared, "", 200, ""},
		{"demo", "PUT", "routers/" + router + "/add_router_interface", `{"subnet_id":"SUB"}`, 403, "rule:add_router_interface is disallowed by policy"},
		{"netops", "PUT", "routers/" + router + "/add_router_interface", `{"subnet_id":"SUB"}`, 200, ""},
		{"netops", "PUT", "routers/" + router + "/remove_router_interface", `{"subnet_id":"SUB"}`, 200, ""},
		{"demo", "PUT", "networks/" + own + "/tags", `{"tags":["a"]}`, 403, "rule:update_network:tags is disallowed by policy"},
		{"demo", "GET", "networks/" + own + "/tags", ``, 403, "rule:get_network:tags is disallowed by policy"},
		{"demo", "POST", "networks/" + own + "/tags", `{"tags":["a"]}`, 201, ""},
		{"netops", "PUT", "networks/" + own + "/tags", `{"tags":["a"]}`, 200, ""},
		{"demo", "GET", "routers/" + router + "/l3-agents", "", 403, ""},
		{"netops", "GET", "routers/" + router + "/l3-agents", "", 200, ""},
		{"admin", "GET", "availability_zones", "", 403, "rule:get_availability_zone is disallowed by policy"},
		{"admin", "PUT", "quotas/p-demo", `{"quota":{"port":7}}`, 403, "rule:update_quota is disallowed by policy"},
		{"netops", "PUT", "quotas/p-demo", `{"quota":{"port":7}}`, 200, ""},
		{"netops", "PUT", "quotas/p-other", `{"quota":{"port":7}}`, 403, ""},
		// Who does not see an attribute whatever the object, neither filters nor sorts by it.
		{"demo", "GET", "ports?binding:host_id=x", "", 400, ""},
		{"demo", "GET", "ports?device_id=x", "", 400, ""},
		{"demo", "GET", "ports?sort_key=device_id&sort_dir=asc", "", 400, ""},
		{"admin", "GET", "ports?device_id=x", "", 200, ""},
	} {
		sub := w.names("admin", "subnets?network_id="+own, "id")[0]
		before := w.st.Snapshot().Revision()
		a := w.send(c.who, c.method, "/v2.0/"+c.path, strings.ReplaceAll(c.body, "SUB", sub))
		if m, _ := dig(a.body, "NeutronError", "message").(string); a.code != c.code || c.message != "" && m != c.message {
			t.Errorf("%s %s %s %s: got %d %s, want %d %s", c.who, c.method, c.path, c.body, a.code, a.text, c.code, c.message)
		}
		if a.code >= 400 && w.st.Snapshot().Revision() != before {
			t.Errorf("%s %s %s: %d, but the store changed", c.who, c.method, c.path, a.code)
		}
	}
	// Attributes are hidden object by object.
	onShared := w.port("admin", shared, `,"project_id":"p-demo"`)
	for id, want := range map[string]bool{port: true, onShared: false} {
		p := dig(w.do("demo", "GET", "/v2.0/ports/"+id, "", 200), "port").(map[string]any)
		if _, shown := p["binding:host_id"]; shown != want {
			t.Errorf("port %s: host shown %v", id, shown)
		}
		if _, shown := p["device_id"]; shown {
			t.Errorf("port %s: device shown", id)
		}
	}
	if got := w.names("demo", "networks", "name"); slices.Contains(got, "shared") {
		t.Errorf("a hidden network is listed: %v", got)
	}

	// Who is administrator, and who reads all, are rules too, on which others stand.
	w.rulesOf(`{"context_is_admin": "role:boss", "context_with_global_access": "role:netops", "regular_user": "role:member or rule:context_is_admin"}`)
	w.do("boss", "PUT", "/v2.0/networks/"+own, net(`"shared":true`), 200)
	w.do("boss", "DELETE", "/v2.0/ports/"+onShared, "", 204)
	w.do("netops", "GET", "/v2.0/networks/"+shared, "", 200)
	w.make("boss", "routers", "router", "")
	if got := w.names("netops", "routers", "project_id"); !slices.Contains(got, "p-boss") {
		t.Errorf("who reads all sees routers of %v", got)
	}
	w.refuse("netops", "POST", "/v2.0/routers", `{"router":{}}`, 403, "PolicyNotAuthorized", "")
	w.refuse("admin", "PUT", "/v2.0/networks/"+own, net(`"name":"x"`), 403, "PolicyNotAuthorized", "") // shared with him, not his
	w.refuse("admin", "GET", "/v2.0/quotas", "", 403, "PolicyNotAuthorized", "")

	// A file with a fault changes nothing; an empty one takes all back.
	if err := w.api.SetPolicy(policy.File{Data: []byte("\"create_netwrk\": \"!\"\n")}); err == nil || !strings.HasPrefix(err.Error(), `line 1: rule "create_netwrk"`) {
		t.Errorf("a fault: %v", err)
	}
	w.refuse("admin", "GET", "/v2.0/quotas", "", 403, "PolicyNotAuthorized", "")
	w.rulesOf("# nothing\n")
	w.do("admin", "GET", "/v2.0/quotas", "", 200)
	if w.api.policy.Load() != nil {
		t.Error("a policy without rules costs something still")
	}
}

// TestPolicyFileNeverWidensSight: whatever a file says of get_ rules, nobody sees what the built-in rules hide.
func TestPolicyFileNeverWidensSight(t *testing.T) {
	w := newWorld(t)
	private := w.network("admin", "")
	var b strings.Builder
	for _, d := range Rules()[len(basicRules):] {
		fmt.Fprintf(&b, "%q: \"@\"\n", d.Name)
	}
	w.rulesOf(b.String())
	w.refuse("demo", "GET", "/v2.0/networks/"+private, "", 404, "NetworkNotFound", "")
	w.refuse("demo", "PUT", "/v2.0/networks/"+private, `{"network":{"name":"x"}}`, 404, "NetworkNotFound", "")
	w.refuse("demo", "DELETE", "/v2.0/networks/"+private, ``, 404, "NetworkNotFound", "")
	if got := w.names("demo", "networks", "id"); len(got) > 0 {
		t.Errorf("listed: %v", got)
	}
	own := w.network("demo", `"shared":true`)
	w.do("reader", "PUT", "/v2.0/networks/"+own, `{"network":{"name":"x"}}`, 200)
}
