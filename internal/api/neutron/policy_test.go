// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite golden files; read the difference before keeping it")

// matrixObject is what the matrix asks about; without an id it is to be created, and change is the body.
type matrixObject struct{ label, collection, name, id, change string }

// untagged are the resources without tags.
var untagged = []string{"security_group_rule", "address_group", "rbac_policy", "address_scope", "agent", "network_ip_availability"}

// TestPolicyMatrix asks every route as everybody for objects of every kind of owner, and compares the answers with a table
// that people have read. Each question is asked of a fresh world.
func TestPolicyMatrix(t *testing.T) {
	whos := []string{"admin", "service", "demo", "reader", "other"}
	type object = matrixObject
	build := func(w *world) []object {
		own := w.network("demo", `"name":"own"`)
		shared := w.network("admin", `"name":"shared","shared":true`)
		ext := w.network("admin", `"name":"ext","router:external":true`)
		private := w.network("admin", `"name":"private"`)
		var out []object
		for _, n := range []struct{ label, id string }{{"demo's", own}, {"admin's shared", shared}, {"admin's external", ext}, {"admin's", private}} {
			out = append(out, object{n.label + " network", "networks", "network", n.id, `"description":"x"`})
		}
		for i, n := range []struct{ label, id string }{{"demo's", own}, {"admin's shared", shared}, {"admin's external", ext}, {"admin's", private}} {
			id := w.subnet("admin", n.id, fmt.Sprintf("10.%d.0.0/24", i), `,"enable_dhcp":false`)
			out = append(out, object{"subnet of " + n.label + " network", "subnets", "subnet", id, `"description":"x"`})
		}
		out = append(out,
			object{"demo's port on demo's network", "ports", "port", w.port("demo", own, ""), `"description":"x"`},
			object{"demo's port on a shared network", "ports", "port", w.port("demo", shared, ""), `"description":"x"`},
			object{"admin's port on demo's network", "ports", "port", w.port("admin", own, ""), `"description":"x"`},
			object{"admin's port on a shared network", "ports", "port", w.port("admin", shared, ""), `"description":"x"`},
			object{"admin's port on the external network", "ports", "port", w.port("admin", ext, ""), `"description":"x"`},
			object{"demo's group", "security-groups", "security_group", w.make("demo", "security-groups", "security_group", `"name":"g"`), `"description":"x"`},
			object{"admin's group", "security-groups", "security_group", w.make("admin", "security-groups", "security_group", `"name":"g"`), `"description":"x"`})
		dg := w.names("demo", "security-groups?name=g", "id")[0]
		ag := w.names("admin", "security-groups?name=g&project_id=p-admin", "id")[0]
		out = append(out,
			object{"demo's rule", "security-group-rules", "security_group_rule", w.make("demo", "security-group-rules", "security_group_rule", `"security_group_id":"`+dg+`","direction":"ingress"`), `"description":"x"`},
			object{"admin's rule", "security-group-rules", "security_group_rule", w.make("admin", "security-group-rules", "security_group_rule", `"security_group_id":"`+ag+`","direction":"ingress"`), `"description":"x"`})
		addresses := w.make("demo", "address-groups", "address_group", `"name":"g"`)
		out = append(out,
			object{"demo's address group", "address-groups", "address_group", addresses, `"description":"x"`},
			object{"admin's address group", "address-groups", "address_group", w.make("admin", "address-groups", "address_group", `"name":"g"`), `"description":"x"`})
		pub := w.network("admin", `"name":"pub","router:external":true`)
		w.subnet("admin", pub, "172.16.0.0/24", `,"enable_dhcp":false`)
		dr := w.make("demo", "routers", "router", `"external_gateway_info":{"network_id":"`+pub+`"}`)
		inside := w.network("demo", `"name":"inside"`)
		sub := w.subnet("demo", inside, "10.9.0.0/24", `,"enable_dhcp":false`)
		leg := w.attach("demo", dr, "subnet_id", sub)["port_id"].(string)
		df := w.make("demo", "floatingips", "floatingip", `"floating_network_id":"`+pub+`","port_id":"`+w.port("demo", inside, "")+`"`)
		out = append(out,
			object{"demo's router", "routers", "router", dr, `"description":"x"`},
			object{"demo's router, its gateway", "routers", "router", dr, `"external_gateway_info":{"network_id":"` + pub + `"}`},
			object{"demo's router, its mode", "routers", "router", dr, `"external_gateway_info":{"network_id":"` + pub + `","enable_snat":false}`},
			object{"admin's router", "routers", "router", w.make("admin", "routers", "router", ``), `"description":"x"`},
			object{"demo's router interface", "ports", "port", leg, `"description":"x"`},
			object{"gateway port of demo's router", "ports", "port", w.names("admin", "ports?device_owner=network:router_gateway", "id")[0], `"description":"x"`},
			object{"demo's floating IP", "floatingips", "floatingip", df, `"description":"x"`},
			object{"port of demo's floating IP", "ports", "port", w.names("admin", "ports?device_owner=network:floatingip", "id")[0], `"description":"x"`},
			object{"admin's floating IP", "floatingips", "floatingip", w.make("admin", "floatingips", "floatingip", `"floating_network_id":"`+pub+`"`), `"description":"x"`},
			object{"create router", "routers", "router", "", `"name":"x"`},
			object{"create router with gateway", "routers", "router", "", `"external_gateway_info":{"network_id":"` + pub + `"}`},
			object{"create router without SNAT", "routers", "router", "", `"external_gateway_info":{"network_id":"` + pub + `","enable_snat":false}`},
			object{"create centralized router", "routers", "router", "", `"distributed":false`},
			object{"create router for demo", "routers", "router", "", `"project_id":"p-demo"`},
			object{"create floating IP", "floatingips", "floatingip", "", `"floating_network_id":"` + pub + `"`},
			object{"create floating IP with address", "floatingips", "floatingip", "", `"floating_network_id":"` + pub + `","floating_ip_address":"172.16.0.99"`},
			object{"create floating IP on demo's network", "floatingips", "floatingip", "", `"floating_network_id":"` + inside + `"`},
			object{"create floating IP for demo", "floatingips", "floatingip", "", `"floating_network_id":"` + pub + `","project_id":"p-demo"`})
		lent := w.network("demo", `"name":"lent"`)
		policy := func(kind, id, action, target string) string {
			return fmt.Sprintf(`"object_type":%q,"object_id":%q,"action":%q,"target_tenant":%q`, kind, id, action, target)
		}
		mine := w.make("demo", "rbac-policies", "rbac_policy", policy("network", lent, "access_as_shared", "p-other"))
		scope := w.make("demo", "address-scopes", "address_scope", `"ip_version":4`)
		pool := w.pool("demo", `"prefixes":["10.64.0.0/10"],"default_prefixlen":24`)
		open := w.pool("admin", `"prefixes":["10.128.0.0/10"],"default_prefixlen":24,"shared":true`)
		w.node("controller", "", nil)
		out = append(out,
			object{"network that demo lends to other", "networks", "network", lent, `"description":"x"`},
			object{"create port on network that demo lends to other", "ports", "port", "", `"network_id":"` + lent + `"`},
			object{"demo's policy", "rbac-policies", "rbac_policy", mine, `"target_tenant":"p-x"`},
			object{"demo's policy, for everybody", "rbac-policies", "rbac_policy", mine, `"target_tenant":"*"`},
			object{"create policy on demo's network", "rbac-policies", "rbac_policy", "", policy("network", lent, "access_as_shared", "p-x")},
			object{"create policy on demo's network for everybody", "rbac-policies", "rbac_policy", "", policy("network", lent, "access_as_shared", "*")},
			object{"create policy that makes demo's network external", "rbac-policies", "rbac_policy", "", policy("network", lent, "access_as_external", "p-x")},
			object{"demo's address scope", "address-scopes", "address_scope", scope, `"name":"x"`},
			object{"demo's address scope, its sharing", "address-scopes", "address_scope", scope, `"shared":true`},
			object{"create shared address scope", "address-scopes", "address_scope", "", `"ip_version":4,"shared":true`},
			object{"demo's subnet pool", "subnetpools", "subnetpool", pool, `"description":"x"`},
			object{"demo's subnet pool as default", "subnetpools", "subnetpool", pool, `"is_default":true`},
			object{"admin's shared subnet pool", "subnetpools", "subnetpool", open, `"description":"x"`},
			object{"create default subnet pool", "subnetpools", "subnetpool", "", `"name":"x","prefixes":["10.192.0.0/10"],"is_default":true`},
			object{"create subnet from demo's pool", "subnets", "subnet", "", `"network_id":"` + lent + `","ip_version":4,"subnetpool_id":"` + pool + `"`},
			object{"agent", "agents", "agent", w.names("admin", "agents", "id")[0], `"description":"x"`},
			object{"IP availability of demo's network", "network-ip-availabilities", "network_ip_availability", lent, `"x":1`})
		out = append(out, append(append(storedObjects(w), flavorObjects(w)...), logObjects(w)...)...)
		// What a create hangs on.
		for _, n := range []struct{ label, id string }{{"demo's", own}, {"admin's shared", shared}, {"admin's external", ext}, {"admin's", private}} {
			out = append(out,
				object{"create subnet on " + n.label + " network", "subnets", "subnet", "", `"network_id":"` + n.id + `","cidr":"10.77.0.0/24","ip_version":4`},
				object{"create port on " + n.label + " network", "ports", "port", "", `"network_id":"` + n.id + `"`},
				object{"create port with address on " + n.label + " network", "ports", "port", "", `"network_id":"` + n.id + `","fixed_ips":[{"ip_address":"10.` + fmt.Sprint(slices.Index([]string{own, shared, ext, private}, n.id)) + `.0.99"}]`})
		}
		out = append(out,
			object{"create network", "networks", "network", "", `"name":"x"`},
			object{"create network for demo", "networks", "network", "", `"project_id":"p-demo"`},
			object{"create address group", "address-groups", "address_group", "", `"name":"x"`},
			object{"create rule with demo's address group", "security-group-rules", "security_group_rule", "", `"security_group_id":"` + dg + `","direction":"ingress","remote_address_group_id":"` + addresses + `"`},
			object{"create group", "security-groups", "security_group", "", `"name":"x"`},
			object{"create rule in demo's group", "security-group-rules", "security_group_rule", "", `"security_group_id":"` + dg + `","direction":"ingress","protocol":"tcp"`},
			object{"create rule in admin's group", "security-group-rules", "security_group_rule", "", `"security_group_id":"` + ag + `","direction":"ingress","protocol":"tcp"`},
			object{"create port with admin's group", "ports", "port", "", `"network_id":"` + own + `","security_groups":["` + ag + `"]`})
		return out
	}
	ask := func(w *world, who, method, path, body string) string {
		before := w.st.Snapshot().Revision()
		a := w.send(who, method, path, body)
		changed := w.st.Snapshot().Revision() != before
		if a.code >= 400 && changed {
			t.Errorf("%s %s as %s: %d, but the store changed", method, path, who, a.code)
		}
		kind, _ := dig(a.body, "NeutronError", "type").(string)
		return strings.TrimSpace(fmt.Sprintf("%d %s", a.code, kind))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Who may do what. Regenerate with: go test ./internal/api/neutron -run PolicyMatrix -update\n")
	// A world serves until an answer changed what later questions depend on.
	worlds := map[string]*world{}
	objects := map[string][]object{}
	fresh := func(who string) {
		worlds[who] = newWorld(t, withStored)
		objects[who] = build(worlds[who])
	}
	for _, who := range whos {
		fresh(who)
	}
	for i := range objects["admin"] {
		fmt.Fprintf(&b, "\n%s\n", objects["admin"][i].label)
		for _, m := range []string{"POST", "GET", "PUT", "PUT tags", "DELETE"} {
			var row []string
			for _, who := range whos {
				w, o := worlds[who], objects[who][i]
				if (m == "POST") != (o.id == "") || m == "PUT tags" && slices.Contains(untagged, o.name) {
					continue
				}
				path, body := "/v2.0/"+o.collection, fmt.Sprintf(`{%q:{%s}}`, o.name, o.change)
				if o.id != "" {
					path += "/" + o.id
				}
				method := m
				if m == "PUT tags" {
					method, path, body = "PUT", path+"/tags", `{"tags":["x"]}`
				}
				said := ask(w, who, method, path, body)
				row = append(row, who+" "+said)
				if (m == "POST" || m == "DELETE") && said < "400" {
					fresh(who)
				}
			}
			if len(row) > 0 {
				fmt.Fprintf(&b, "  %-8s %s\n", m, strings.Join(row, " | "))
			}
		}
	}
	golden := filepath.Join("testdata", "policy.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != string(want) {
		gl, wl := strings.Split(got, "\n"), strings.Split(string(want), "\n")
		for i := range max(len(gl), len(wl)) {
			if i >= len(gl) || i >= len(wl) || gl[i] != wl[i] {
				t.Fatalf("line %d differs; got %q, want %q", i+1, gl[min(i, len(gl)-1)], wl[min(i, len(wl)-1)])
			}
		}
	}
}

// TestSmuggling gives a member every attribute that is not his to set, in every disguise.
func TestSmuggling(t *testing.T) {
	w := newWorld(t)
	own := w.network("demo", `"name":"own"`)
	w.subnet("demo", own, "10.0.0.0/24", "")
	shared := w.network("admin", `"name":"shared","shared":true`)
	w.subnet("admin", shared, "10.1.0.0/24", "")
	ext := w.network("admin", `"name":"ext","router:external":true,"shared":false`)
	port := w.port("demo", own, "")
	onShared := w.port("demo", shared, "")
	for _, c := range []struct{ method, path, body, message string }{
		{"POST", "networks", `{"network":{"shared":true}}`, "(rule:create_network and rule:create_network:shared) is disallowed by policy"},
		{"POST", "networks", `{"network":{"shared":"1"}}`, ""},
		{"POST", "networks", `{"network":{"router:external":true}}`, ""},
		{"POST", "networks", `{"network":{"is_default":true}}`, ""},
		{"POST", "networks", `{"network":{"provider:network_type":"vxlan"}}`, ""},
		{"POST", "networks", `{"network":{"provider:segmentation_id":5}}`, ""},
		{"POST", "networks", `{"network":{"provider:physical_network":"physnet1","shared":true}}`,
			"(rule:create_network and rule:create_network:shared and rule:create_network:provider:physical_network) is disallowed by policy"},
		{"PUT", "networks/" + own, `{"network":{"shared":true}}`, "(rule:update_network and rule:update_network:shared) is disallowed by policy"},
		{"PUT", "networks/" + own, `{"network":{"shared":false}}`, ""}, // the default too
		{"PUT", "networks/" + own, `{"network":{"provider:segmentation_id":null}}`, ""},
		{"PUT", "networks/" + shared, `{"network":{"name":"mine"}}`, "rule:update_network is disallowed by policy"},
		{"PUT", "networks/" + ext, `{"network":{"name":"mine"}}`, ""},
		{"DELETE", "networks/" + shared, ``, "rule:delete_network is disallowed by policy"},
		{"POST", "subnets", `{"subnet":{"network_id":"` + shared + `","cidr":"10.9.0.0/24","ip_version":4}}`, "rule:create_subnet is disallowed by policy"},
		{"POST", "ports", `{"port":{"network_id":"` + own + `","binding:host_id":"compute"}}`, "(rule:create_port and rule:create_port:binding:host_id) is disallowed by policy"},
		{"POST", "ports", `{"port":{"network_id":"` + own + `","binding:profile":{"a":1}}}`, ""},
		{"POST", "ports", `{"port":{"network_id":"` + own + `","device_owner":"network:dhcp"}}`, ""},
		{"POST", "ports", `{"port":{"network_id":"` + own + `","device_owner":"network:router_interface"}}`, ""},
		{"PUT", "ports/" + port, `{"port":{"device_owner":"network:dhcp"}}`, ""},
		{"PUT", "ports/" + port, `{"port":{"binding:host_id":""}}`, ""},
		{"PUT", "ports/" + port, `{"port":{"binding:profile":null}}`, ""},
		{"POST", "ports", `{"port":{"network_id":"` + shared + `","mac_address":"fa:16:3e:00:00:01"}}`, ""},
		{"POST", "ports", `{"port":{"network_id":"` + shared + `","fixed_ips":[{"ip_address":"10.1.0.9"}]}}`, ""},
		{"POST", "ports", `{"port":{"network_id":"` + shared + `","port_security_enabled":false}}`, ""},
		{"POST", "ports", `{"port":{"network_id":"` + shared + `","allowed_address_pairs":[{"ip_address":"0.0.0.0/0"}]}}`, ""},
		{"PUT", "ports/" + onShared, `{"port":{"mac_address":"fa:16:3e:00:00:01"}}`, ""},
		{"PUT", "ports/" + onShared, `{"port":{"port_security_enabled":false,"security_groups":[]}}`, ""},
		{"PUT", "ports/" + onShared, `{"port":{"fixed_ips":[{"ip_address":"10.1.0.9"}]}}`, ""},
	} {
		w.refuse("demo", c.method, "/v2.0/"+c.path, c.body, 403, "PolicyNotAuthorized", c.message)
	}
	w.refuse("demo", "POST", "/v2.0/ports", `{"port":{"network_id":"`+ext+`"}}`, 403, "HTTPForbidden", "Tenant p-demo not allowed to create port on this network")
	// Values that ask for nothing pass, and choosing the subnet of a shared network is allowed.
	w.do("demo", "POST", "/v2.0/networks", `{"network":{"shared":false,"router:external":false}}`, 201)
	w.do("demo", "POST", "/v2.0/ports", `{"port":{"network_id":"`+own+`","binding:host_id":"","binding:profile":{},"binding:vnic_type":"normal","mac_address":"fa:16:3e:00:00:01"}}`, 201)
	sub := w.names("demo", "subnets?network_id="+shared, "id")[0]
	w.do("demo", "POST", "/v2.0/ports", `{"port":{"network_id":"`+shared+`","fixed_ips":[{"subnet_id":"`+sub+`"}]}}`, 201)

	// Somebody else's objects do not exist, whatever is asked of them.
	for _, c := range []struct{ path, name, kind string }{
		{"networks/" + own, "network", "NetworkNotFound"}, {"ports/" + port, "port", "PortNotFound"},
	} {
		for _, m := range []string{"GET", "PUT", "DELETE"} {
			w.refuse("other", m, "/v2.0/"+c.path, `{"`+c.name+`":{"name":"x"}}`, 404, c.kind, "")
		}
	}
	w.refuse("other", "POST", "/v2.0/ports", `{"port":{"network_id":"`+own+`"}}`, 404, "NetworkNotFound", "")
	w.refuse("other", "POST", "/v2.0/subnets", `{"subnet":{"network_id":"`+own+`","cidr":"10.9.0.0/24","ip_version":4}}`, 404, "NetworkNotFound", "")
	// A member sees what he may and no more.
	m := w.do("demo", "GET", "/v2.0/ports/"+port, "", 200)
	for _, hidden := range []string{"binding:host_id", "binding:profile", "binding:vif_type", "binding:vif_details", "resource_request"} {
		if _, shown := dig(m, "port").(map[string]any)[hidden]; shown {
			t.Errorf("a member sees %s", hidden)
		}
	}
}
