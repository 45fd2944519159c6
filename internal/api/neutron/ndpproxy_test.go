// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"testing"
)

// proxied is a world with an external network whose IPv6 addresses are of the same scope as a tenant's.
type proxied struct {
	*world
	scope, pool, ext, net, sub, port, addr string
}

func newProxied(t testing.TB, change ...func(*Config)) *proxied {
	w := &proxied{world: newWorld(t, append(change, withRouters)...)}
	w.scope = w.make("admin", "address-scopes", "address_scope", `"ip_version":6,"name":"s","shared":true`)
	w.pool = w.world.pool("admin", `"prefixes":["2001:db8::/32"],"default_prefixlen":64,"shared":true,"address_scope_id":"`+w.scope+`"`)
	w.ext = w.network("admin", `"router:external":true`)
	w.subnet("admin", w.ext, "172.16.0.0/24", `,"enable_dhcp":false`)
	w.pooled("admin", w.ext)
	w.net = w.network("demo", "")
	w.sub = w.pooled("demo", w.net)
	p := w.do("demo", "POST", "/v2.0/ports", `{"port":{"network_id":"`+w.net+`"}}`, 201)
	w.port, w.addr = dig(p, "port", "id").(string), dig(p, "port", "fixed_ips", 0, "ip_address").(string)
	return w
}

// pooled makes a subnet of the scope.
func (w *proxied) pooled(who, net string) string {
	return w.make(who, "subnets", "subnet", `"network_id":"`+net+`","ip_version":6,"subnetpool_id":"`+w.pool+`"`)
}

func (w *proxied) enabled(router string) any {
	return dig(w.do("demo", "GET", "/v2.0/routers/"+router, "", 200), "router", "enable_ndp_proxy")
}

func TestNDPProxies(t *testing.T) {
	w := newProxied(t)
	const at = "/v2.0/ndp_proxies"
	router := func(s string) string { return `{"router":{` + s + `}}` }
	// Which routers may be proxies.
	w.refuse("demo", "POST", "/v2.0/routers", router(`"enable_ndp_proxy":2`), 400, "InvalidInput", "Invalid input for operation: '2' cannot be converted to boolean.")
	if a := w.send("demo", "POST", "/v2.0/routers", router(`"enable_ndp_proxy":true`)); a.code != 409 {
		t.Errorf("a proxy without a gateway: %s", a.text)
	}
	bare := w.network("admin", `"router:external":true`)
	w.subnet("admin", bare, "2001:db9::/64", "")
	if a := w.send("demo", "POST", "/v2.0/routers", router(`"enable_ndp_proxy":true,"external_gateway_info":{"network_id":"`+bare+`"}`)); a.code != 409 || dig(a.body, "NeutronError", "type") != "RouterGatewayNotValid" {
		t.Errorf("a proxy on a network without scope: %s", a.text)
	}
	r := w.make("demo", "routers", "router", `"external_gateway_info":{"network_id":"`+w.ext+`"}`)
	if w.enabled(r) != false {
		t.Error("a router is a proxy that nobody asked to be")
	}
	ask := func(s string) string { return `{"ndp_proxy":{` + s + `}}` }
	mine := `"router_id":"` + r + `","port_id":"` + w.port + `"`
	const none = "00000000-0000-4000-8000-000000000000"
	w.refuse("demo", "POST", at, ask(`"router_id":"`+r+`"`), 400, "HTTPBadRequest", "Failed to parse request. Required attribute 'port_id' not specified")
	w.refuse("demo", "POST", at, ask(`"router_id":"`+r+`","port_id":"`+none+`"`), 404, "PortNotFound", "Port "+none+" could not be found.")
	w.refuse("demo", "POST", at, ask(mine), 409, "PortUnreachableRouter", "The port "+w.port+" cannot reach the router "+r+" by IPv6 subnet.")
	w.attach("demo", r, "subnet_id", w.sub)
	w.refuse("demo", "POST", at, ask(mine), 409, "RouterNDPProxyNotEnable", "The enable_ndp_proxy parameter of router "+r+" must be set as True while create ndp proxy entry on it.")
	w.do("demo", "PUT", "/v2.0/routers/"+r, router(`"enable_ndp_proxy":true`), 200)
	w.do("demo", "PUT", "/v2.0/routers/"+r, router(`"name":"r"`), 200)
	if w.enabled(r) != true {
		t.Error("the router is no proxy")
	}
	w.refuse("other", "POST", at, ask(mine), 404, "PortNotFound", "Port "+w.port+" could not be found.")
	w.refuse("reader", "POST", at, ask(mine), 403, "PolicyNotAuthorized", "")
	w.refuse("demo", "POST", at, ask(mine+`,"ip_address":"2001:db8::77:1"`), 400, "InvalidAddress", "The address 2001:db8::77:1 is invalid, reason: This address not belong to the port "+w.port+".")
	w.refuse("demo", "POST", at, ask(mine+`,"ip_address":"x"`), 400, "HTTPBadRequest", "Invalid input for ip_address. Reason: 'x' is not a valid IP address.")
	v4 := w.subnet("demo", w.net, "10.0.0.0/24", "")
	only4 := w.port4(v4)
	w.refuse("demo", "POST", at, ask(`"router_id":"`+r+`","port_id":"`+only4+`"`), 400, "BadRequest", "Bad ndp_proxy request: Requested port "+only4+" must allocate one IPv6 address at least.")

	made := w.do("demo", "POST", at, ask(mine+`,"name":"p","description":"d"`), 201)["ndp_proxy"]
	id := dig(made, "id").(string)
	if fmt.Sprint(made) != "map[created_at:2026-01-02T03:04:05Z description:d id:"+id+" ip_address:"+w.addr+" name:p port_id:"+w.port+
		" project_id:p-demo revision_number:0 router_id:"+r+" tenant_id:p-demo updated_at:2026-01-02T03:04:05Z]" {
		t.Errorf("made %v", made)
	}
	if a := w.send("demo", "POST", at, ask(mine)); a.code != 409 || dig(a.body, "NeutronError", "type") != "NeutronDbObjectDuplicateEntry" {
		t.Errorf("twice: %s", a.text)
	}
	w.refuse("demo", "PUT", at+"/"+id, ask(`"ip_address":"`+w.addr+`"`), 400, "HTTPBadRequest", "Cannot update read-only attribute ip_address")
	if got := dig(w.do("demo", "PUT", at+"/"+id, ask(`"name":"q"`), 200), "ndp_proxy", "name"); got != "q" {
		t.Errorf("renamed to %v", got)
	}
	w.refuse("other", "GET", at+"/"+id, "", 404, "NDPProxyNotFound", "NDP proxy "+id+" could not be found.")
	for _, q := range []string{"", "?router_id=" + r, "?port_id=" + w.port, "?ip_address=" + w.addr, "?name=q"} {
		if got := w.names("demo", "ndp_proxies"+q, "id"); len(got) != 1 || got[0] != id {
			t.Errorf("list %s: %v", q, got)
		}
	}
	// What it needs stays.
	inUse := "There are one or more ndp proxies still in use on the "
	w.refuse("demo", "PUT", "/v2.0/routers/"+r, router(`"external_gateway_info":null`), 409, "RouterGatewayInUseByNDPProxy", "Unable to unset external gateway of router "+r+", "+inUse+"router.")
	w.refuse("demo", "PUT", "/v2.0/routers/"+r, router(`"external_gateway_info":{"network_id":"`+bare+`"}`), 409, "RouterGatewayInUseByNDPProxy", "")
	w.refuse("demo", "PUT", "/v2.0/routers/"+r+"/remove_router_interface", `{"subnet_id":"`+w.sub+`"}`, 409, "RouterInterfaceInUseByNDPProxy",
		"Unable to remove subnet "+w.sub+" from router "+r+", "+inUse+"subnet.")
	w.refuse("admin", "PUT", "/v2.0/routers/"+r, router(`"external_gateway_info":{"network_id":"`+w.ext+`","external_fixed_ips":[{"ip_address":"172.16.0.77"}]}`), 409, "RouterIPv6GatewayInUse",
		"Can't remove the IPv6 subnet from external gateway of router "+r+", the IPv6 subnet in use by the router's ndp proxy.")
	w.do("demo", "DELETE", "/v2.0/ports/"+w.port, "", 204)
	w.refuse("demo", "DELETE", at+"/"+id, "", 404, "NDPProxyNotFound", "")
	w.refuse("demo", "PUT", "/v2.0/routers/"+r, router(`"external_gateway_info":null,"enable_ndp_proxy":true`), 409, "RouterGatewayNotValid",
		"Can not enable ndp proxy no router "+r+", The router's external gateway will be unset.")
	w.do("demo", "PUT", "/v2.0/routers/"+r, router(`"external_gateway_info":null`), 200)
	if w.enabled(r) != false {
		t.Error("a router without gateway is a proxy")
	}
	w.refuse("demo", "PUT", "/v2.0/routers/"+r, router(`"enable_ndp_proxy":true`), 409, "RouterGatewayNotValid",
		"Can not enable ndp proxy no router "+r+", The router has no external gateway or the external gateway port has no IPv6 address or IPv6 address scope.")
	consistent(t, w.world)
}

func (w *proxied) port4(sub string) string {
	return w.world.port("demo", w.net, `,"fixed_ips":[{"subnet_id":"`+sub+`"}]`)
}

// TestNDPProxyScopes refuses a proxy between address scopes.
func TestNDPProxyScopes(t *testing.T) {
	w := newProxied(t)
	r := w.make("demo", "routers", "router", `"enable_ndp_proxy":true,"external_gateway_info":{"network_id":"`+w.ext+`"}`)
	n := w.network("demo", "")
	w.attach("demo", r, "subnet_id", w.subnet("demo", n, "fd00:1::/64", ""))
	w.refuse("demo", "POST", "/v2.0/ndp_proxies", `{"ndp_proxy":{"router_id":"`+r+`","port_id":"`+w.world.port("demo", n, "")+`"}}`, 409, "AddressScopeConflict",
		"The IPv6 address scope "+w.scope+" of external network conflict with internal network's IPv6 address scope None.")
}

// proxyCells are, for the matrix, NDP proxies of a project and of an administrator.
func proxyCells(w *world, add func(name, label, path, id, create, change string, actions ...string)) {
	scope := w.make("demo", "address-scopes", "address_scope", `"ip_version":6,"name":"s"`) // shared with nobody: policies of sharing are counted
	pool := w.pool("demo", `"prefixes":["2001:db8::/32"],"default_prefixlen":64,"address_scope_id":"`+scope+`"`)
	w.do("admin", "PUT", "/v2.0/quotas/p-admin", `{"quota":{"rbac_policy":20}}`, 200) // an external network is one of them
	pooled := func(who, net string) string {
		return w.make(who, "subnets", "subnet", `"network_id":"`+net+`","ip_version":6,"subnetpool_id":"`+pool+`"`)
	}
	ext := w.network("admin", `"router:external":true`)
	pooled("admin", ext)
	for i, who := range []string{"demo", "admin"} {
		net := w.network(who, "")
		sub := pooled(who, net)
		r := w.make(who, "routers", "router", `"enable_ndp_proxy":true,"external_gateway_info":{"network_id":"`+ext+`"}`)
		w.attach(who, r, "subnet_id", sub)
		of := func() string { return `"router_id":"` + r + `","port_id":"` + w.port(who, net, "") + `"` }
		add("ndp_proxy", []string{"own", "foreign"}[i], "ndp_proxies", w.make(who, "ndp_proxies", "ndp_proxy", of()), of(), `"name":"x"`)
	}
}
