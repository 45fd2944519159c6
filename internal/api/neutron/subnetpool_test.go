// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"slices"
	"testing"

	"nagare/internal/tables"
)

func (w *world) pool(who, more string) string {
	return w.make(who, "subnetpools", "subnetpool", `"name":"p",`+more)
}

func TestSubnetPools(t *testing.T) {
	w := newWorld(t)
	a := w.send("demo", "POST", "/v2.0/subnetpools", `{"subnetpool":{"name":"p","prefixes":["10.1.0.0/17","10.1.128.0/17"],"min_prefixlen":"20"}}`)
	id, _ := dig(a.body, "subnetpool", "id").(string)
	if a.text != `{"subnetpool":{"id":"`+id+`","name":"p","tenant_id":"p-demo","project_id":"p-demo","description":"","tags":[],"created_at":"2026-01-02T03:04:05Z",`+
		`"updated_at":"2026-01-02T03:04:05Z","revision_number":0,"prefixes":["10.1.0.0/16"],"default_quota":null,"ip_version":4,"default_prefixlen":"20","min_prefixlen":"20",`+
		`"max_prefixlen":"32","is_default":false,"address_scope_id":null,"shared":false}}` {
		t.Errorf("pool %s", a.text)
	}
	at := "/v2.0/subnetpools/" + id
	n := w.network("demo", "")
	sub := func(more string) map[string]any {
		t.Helper()
		return w.do("demo", "POST", "/v2.0/subnets", fmt.Sprintf(`{"subnet":{"network_id":%q,"ip_version":4,"subnetpool_id":%q%s}}`, n, id, more), 201)["subnet"].(map[string]any)
	}
	first := sub("")
	if first["cidr"] != "10.1.0.0/20" || first["gateway_ip"] != "10.1.0.1" || first["subnetpool_id"] != id {
		t.Errorf("first subnet %v", first)
	}
	if s := sub(`,"prefixlen":24`); s["cidr"] != "10.1.16.0/24" {
		t.Errorf("a /24: %v", s["cidr"])
	}
	if s := sub(`,"cidr":"10.1.32.0/24","gateway_ip":null`); s["cidr"] != "10.1.32.0/24" || s["gateway_ip"] != nil {
		t.Errorf("the named one: %v", s)
	}
	if s := sub(`,"prefixlen":"24"`); s["cidr"] != "10.1.17.0/24" {
		t.Errorf("the smallest hole first: %v", s["cidr"])
	}
	on := func(net, attrs string) string {
		return `{"subnet":{"network_id":"` + net + `","ip_version":4,` + attrs + `}}`
	}
	other := w.network("demo", "")
	foreign := w.make("admin", "subnetpools", "subnetpool", `"name":"f","prefixes":["10.9.0.0/16"]`)
	v6 := w.pool("demo", `"prefixes":["fd00::/48"]`)
	missing := "00000000-0000-4000-8000-000000000000"
	p := func(attrs string) string { return `{"subnetpool":{"name":"x",` + attrs + `}}` }
	for _, c := range []struct {
		who, method, path, body string
		status                  int
		kind, message           string
	}{
		{"demo", "POST", "/v2.0/subnets", on(n, `"cidr":"10.77.0.0/24"`), 400, "NetworkSubnetPoolAffinityError", ""},
		{"demo", "POST", "/v2.0/subnets", on(other, `"subnetpool_id":"`+id+`","cidr":"10.1.32.128/25"`), 409, "SubnetAllocationError",
			"Failed to allocate subnet: Cannot allocate requested subnet from the available set of prefixes."},
		{"demo", "POST", "/v2.0/subnets", on(other, `"subnetpool_id":"`+id+`","cidr":"10.2.0.0/24"`), 409, "SubnetAllocationError", ""},
		{"demo", "POST", "/v2.0/subnets", on(other, `"subnetpool_id":"`+id+`","prefixlen":19`), 400, "MinPrefixSubnetAllocationError",
			"Unable to allocate subnet with prefix length 19, minimum allowed prefix is 20."},
		{"demo", "POST", "/v2.0/subnets", on(other, `"subnetpool_id":"`+id+`","prefixlen":33`), 400, "MaxPrefixSubnetAllocationError", ""},
		{"demo", "POST", "/v2.0/subnets", on(other, `"subnetpool_id":"`+id+`","cidr":"10.1.64.0/24","prefixlen":24`), 400, "BadRequest", ""},
		{"demo", "POST", "/v2.0/subnets", on(other, `"subnetpool_id":"`+id+`","use_default_subnetpool":true`), 400, "BadRequest", ""},
		{"demo", "POST", "/v2.0/subnets", on(other, `"use_default_subnetpool":true`), 400, "BadRequest", "Bad subnets request: No default subnetpool found for IPv4."},
		{"demo", "POST", "/v2.0/subnets", on(other, `"subnetpool_id":"`+id+`","allocation_pools":[{"start":"10.1.0.2","end":"10.1.0.9"}]`), 400, "BadRequest", ""},
		{"demo", "POST", "/v2.0/subnets", on(other, `"subnetpool_id":"`+v6+`"`), 400, "BadRequest", "Bad subnets request: Cannot allocate IPv4 subnet from IPv6 subnet pool."},
		{"demo", "POST", "/v2.0/subnets", on(other, `"subnetpool_id":"`+foreign+`"`), 404, "SubnetPoolNotFound", ""},
		{"demo", "POST", "/v2.0/subnets", on(other, `"subnetpool_id":"`+missing+`"`), 404, "SubnetPoolNotFound", "Subnet pool " + missing + " could not be found."},
		{"demo", "DELETE", at, "", 400, "SubnetPoolDeleteError", "Unable to delete subnet pool: Subnet pool has existing allocations."},
		{"demo", "PUT", at, p(`"prefixes":["10.1.0.0/17"]`), 400, "IllegalSubnetPoolPrefixUpdate",
			"Illegal update to prefixes: Existing prefixes must be a subset of the new prefixes."},
		{"demo", "PUT", at, p(`"prefixes":["fd00::/48"]`), 400, "PrefixVersionMismatch", ""},
		{"demo", "PUT", at, p(`"min_prefixlen":33`), 400, "IllegalSubnetPoolPrefixBounds", "Illegal prefix bounds: min_prefixlen=33, max_prefixlen=32."},
		{"demo", "PUT", at, p(`"default_prefixlen":19`), 400, "IllegalSubnetPoolPrefixBounds", "Illegal prefix bounds: default_prefixlen=19, min_prefixlen=20."},
		{"demo", "PUT", at, p(`"is_default":true`), 403, "PolicyNotAuthorized", ""},
		{"admin", "PUT", at, p(`"shared":true`), 400, "HTTPBadRequest", "Cannot update read-only attribute shared"},
		{"demo", "POST", "/v2.0/subnetpools", p(`"prefixes":["10.0.0.0/8"],"max_prefixlen":33`), 400, "IllegalSubnetPoolPrefixBounds", "Illegal prefix bounds: max_prefixlen=33, ip_version_max=32."},
		{"demo", "POST", "/v2.0/subnetpools", p(`"prefixes":[]`), 400, "EmptySubnetPoolPrefixList", ""},
		{"demo", "POST", "/v2.0/subnetpools", p(`"prefixes":["10.0.0.0/8","fd00::/48"]`), 400, "PrefixVersionMismatch", "Cannot mix IPv4 and IPv6 prefixes in a subnet pool."},
		{"demo", "POST", "/v2.0/subnetpools", p(`"prefixes":["10.0.0.1/8"]`), 400, "HTTPBadRequest", ""},
		{"demo", "POST", "/v2.0/subnetpools", `{"subnetpool":{"prefixes":["10.0.0.0/8"]}}`, 400, "HTTPBadRequest", ""},
		{"demo", "POST", "/v2.0/subnetpools", p(`"prefixes":["10.0.0.0/8"],"shared":true`), 403, "PolicyNotAuthorized", ""},
		{"demo", "POST", "/v2.0/subnetpools", p(`"prefixes":["10.0.0.0/8"],"is_default":true`), 403, "PolicyNotAuthorized", ""},
		{"other", "GET", at, "", 404, "SubnetPoolNotFound", ""},
		{"demo", "PUT", at + "/remove_prefixes", `{"prefixes":["10.1.0.0/24"]}`, 400, "IllegalSubnetPoolPrefixUpdate", ""},
		{"demo", "PUT", at + "/remove_prefixes", `{"prefixes":["10.0.0.0/8"]}`, 400, "EmptySubnetPoolPrefixList", ""},
		{"demo", "PUT", at + "/add_prefixes", `{"prefixes":["fd00::/64"]}`, 400, "PrefixVersionMismatch", ""},
		{"demo", "PUT", at + "/add_prefixes", `{"prefixes":"10.5.0.0/16"}`, 400, "HTTPBadRequest", ""},
		{"other", "PUT", at + "/add_prefixes", `{"prefixes":["10.5.0.0/16"]}`, 404, "SubnetPoolNotFound", ""},
	} {
		w.refuse(c.who, c.method, c.path, c.body, c.status, c.kind, c.message)
	}
	// Given back, it is handed out again.
	w.do("demo", "DELETE", "/v2.0/subnets/"+first["id"].(string), "", 204)
	if s := sub(""); s["cidr"] != "10.1.0.0/20" {
		t.Errorf("after the first was given back: %v", s["cidr"])
	}
	if m := w.do("demo", "PUT", at+"/add_prefixes", `{"prefixes":["10.3.0.0/16","10.1.0.0/24"]}`, 200); fmt.Sprint(m["prefixes"]) != "[10.1.0.0/16 10.3.0.0/16]" {
		t.Errorf("added: %v", m)
	}
	if m := w.do("demo", "PUT", at+"/remove_prefixes", `{"prefixes":["10.1.128.0/17"]}`, 200); fmt.Sprint(m["prefixes"]) != "[10.1.0.0/17 10.3.0.0/16]" {
		t.Errorf("removed: %v", m)
	}
	w.refuse("demo", "POST", "/v2.0/subnets", on(other, `"subnetpool_id":"`+id+`","cidr":"10.1.128.0/24"`), 409, "SubnetAllocationError", "")
	if s := sub(`,"prefixlen":21`); s["cidr"] == "" {
		t.Error("nothing left")
	}
	// The network takes all of its prefixes along.
	w.do("demo", "DELETE", "/v2.0/networks/"+n, "", 204)
	w.do("demo", "PUT", at, p(`"default_prefixlen":"24","default_quota":300`), 200)
	w.do("demo", "POST", "/v2.0/subnets", on(other, `"subnetpool_id":"`+id+`"`), 201)
	w.refuse("demo", "POST", "/v2.0/subnets", on(other, `"subnetpool_id":"`+id+`"`), 409, "SubnetPoolQuotaExceeded", "Per-tenant subnet pool prefix quota exceeded.")
	w.do("demo", "PUT", at, p(`"default_quota":null`), 200)
	w.do("demo", "POST", "/v2.0/subnets", on(other, `"subnetpool_id":"`+id+`"`), 201)
	w.do("demo", "DELETE", "/v2.0/networks/"+other, "", 204)
	w.do("demo", "DELETE", at, "", 204)
}

// TestDefaultPool: one default of a family, for everybody who sees it.
func TestDefaultPool(t *testing.T) {
	w := newWorld(t)
	id := w.pool("admin", `"prefixes":["fd00::/48"],"is_default":true`)
	w.refuse("admin", "POST", "/v2.0/subnetpools", `{"subnetpool":{"name":"x","prefixes":["fd01::/48"],"is_default":true}}`, 400, "InvalidInput", "")
	w.pool("admin", `"prefixes":["10.0.0.0/16"],"is_default":true,"default_prefixlen":26,"shared":true`)
	n := w.network("demo", "")
	ask := func(v int) string {
		return fmt.Sprintf(`{"subnet":{"network_id":%q,"ip_version":%d,"use_default_subnetpool":true}}`, n, v)
	}
	if m := w.do("demo", "POST", "/v2.0/subnets", ask(4), 201); dig(m, "subnet", "cidr") != "10.0.0.0/26" || dig(m, "subnet", "use_default_subnetpool") != nil {
		t.Errorf("subnet %v", m)
	}
	w.refuse("demo", "POST", "/v2.0/subnets", ask(6), 400, "BadRequest", "Bad subnets request: No default subnetpool found for IPv6.")
	w.grant("admin", "subnetpool", id, "access_as_shared", "p-demo")
	if m := w.do("demo", "POST", "/v2.0/subnets", ask(6), 201); dig(m, "subnet", "cidr") != "fd00::/64" {
		t.Errorf("subnet %v", m)
	}
	policy := w.names("admin", "rbac-policies?target_tenant=p-demo", "id")[0]
	w.refuse("admin", "DELETE", "/v2.0/rbac-policies/"+policy, "", 409, "RbacPolicyInUse", "")
}

func TestAddressScopes(t *testing.T) {
	w := newWorld(t)
	a := w.send("demo", "POST", "/v2.0/address-scopes", `{"address_scope":{"name":"s","ip_version":4}}`)
	id, _ := dig(a.body, "address_scope", "id").(string)
	if a.text != `{"address_scope":{"id":"`+id+`","name":"s","tenant_id":"p-demo","project_id":"p-demo","ip_version":4,"shared":false}}` {
		t.Errorf("scope %s", a.text)
	}
	at := "/v2.0/address-scopes/" + id
	p := w.pool("demo", `"prefixes":["10.0.0.0/16"],"default_prefixlen":24,"address_scope_id":"`+id+`"`)
	n := w.network("demo", "")
	w.make("demo", "subnets", "subnet", `"network_id":"`+n+`","ip_version":4,"subnetpool_id":"`+p+`"`)
	if m := w.do("demo", "GET", "/v2.0/networks/"+n, "", 200); dig(m, "network", "ipv4_address_scope") != id || dig(m, "network", "ipv6_address_scope") != nil {
		t.Errorf("network %v", m)
	}
	if got := w.names("demo", "networks?ipv4_address_scope="+id, "id"); !slices.Equal(got, []string{n}) {
		t.Errorf("networks of the scope: %v", got)
	}
	if got := w.names("demo", "subnetpools?address_scope_id="+id, "id"); !slices.Equal(got, []string{p}) {
		t.Errorf("pools of the scope: %v", got)
	}
	foreign := w.make("other", "address-scopes", "address_scope", `"name":"f","ip_version":4`)
	shared := w.make("admin", "address-scopes", "address_scope", `"name":"f","ip_version":6,"shared":true`)
	body := func(attrs string) string { return `{"subnetpool":{"name":"x",` + attrs + `}}` }
	for _, c := range []struct {
		who, method, path, body string
		status                  int
		kind                    string
	}{
		{"demo", "POST", "/v2.0/address-scopes", `{"address_scope":{"name":"s","ip_version":5}}`, 400, "HTTPBadRequest"},
		{"demo", "POST", "/v2.0/address-scopes", `{"address_scope":{"name":"s"}}`, 400, "HTTPBadRequest"},
		{"demo", "POST", "/v2.0/address-scopes", `{"address_scope":{"name":"s","ip_version":4,"shared":true}}`, 403, "PolicyNotAuthorized"},
		{"demo", "PUT", at, `{"address_scope":{"ip_version":6}}`, 400, "HTTPBadRequest"},
		{"demo", "PUT", at, `{"address_scope":{"shared":true}}`, 403, "PolicyNotAuthorized"},
		{"admin", "PUT", "/v2.0/address-scopes/" + shared, `{"address_scope":{"shared":false}}`, 400, "AddressScopeUpdateError"},
		{"demo", "DELETE", at, "", 409, "AddressScopeInUse"},
		{"other", "GET", at, "", 404, "AddressScopeNotFound"},
		{"demo", "PUT", "/v2.0/address-scopes/" + shared, `{"address_scope":{"name":"x"}}`, 403, "PolicyNotAuthorized"},
		{"demo", "POST", "/v2.0/subnetpools", body(`"prefixes":["10.0.128.0/17"],"address_scope_id":"` + id + `"`), 409, "AddressScopePrefixConflict"},
		{"demo", "POST", "/v2.0/subnetpools", body(`"prefixes":["fd00::/48"],"address_scope_id":"` + id + `"`), 400, "IllegalSubnetPoolIpVersionAssociationToAddressScope"},
		{"demo", "POST", "/v2.0/subnetpools", body(`"prefixes":["10.1.0.0/16"],"address_scope_id":"` + foreign + `"`), 404, "AddressScopeNotFound"},
	} {
		w.refuse(c.who, c.method, c.path, c.body, c.status, c.kind, "")
	}
	// A pool in somebody else's scope stays as it is.
	p6 := w.pool("demo", `"prefixes":["fd00::/48"],"address_scope_id":"`+shared+`"`)
	w.refuse("demo", "PUT", "/v2.0/subnetpools/"+p6, body(`"prefixes":["fd00::/47"]`), 400, "IllegalSubnetPoolUpdate", "")
	w.do("demo", "PUT", at, `{"address_scope":{"name":"t"}}`, 200)
	w.do("demo", "DELETE", "/v2.0/networks/"+n, "", 204)
	w.do("demo", "PUT", "/v2.0/subnetpools/"+p, body(`"address_scope_id":null`), 200)
	w.do("demo", "DELETE", at, "", 204)
	if n := tables.AddressScopes.Len(w.st.Snapshot()); n != 2 {
		t.Errorf("%d scopes", n)
	}
}
