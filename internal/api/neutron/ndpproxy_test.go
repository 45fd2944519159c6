// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"strings"
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
	w.refused("demo", "POST", "/v2.0/routers", router(`"enable_ndp_proxy":true`), 409, "RouterGatewayNotValid", "The request body not contain external gateway information")
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

// TestNDPProxyGuards: what each check alone refuses, and what it must let pass.
func TestNDPProxyGuards(t *testing.T) {
	w := newProxied(t)
	const at = "/v2.0/ndp_proxies"
	router := func(s string) string { return `{"router":{` + s + `}}` }
	bare := w.network("admin", `"router:external":true`)
	w.subnet("admin", bare, "2001:db9::/64", "")
	w.refused("demo", "POST", "/v2.0/routers", router(`"enable_ndp_proxy":true,"external_gateway_info":{"network_id":"`+bare+`"}`), 409, "RouterGatewayNotValid", "the network has no IPv6 subnets or has no IPv6 address scope")
	const lacking = "The router has no external gateway or the external gateway port has no IPv6 address or IPv6 address scope"
	r := w.make("demo", "routers", "router", `"external_gateway_info":{"network_id":"`+bare+`"}`)
	w.refused("demo", "PUT", "/v2.0/routers/"+r, router(`"enable_ndp_proxy":true`), 409, "RouterGatewayNotValid", lacking) // of no scope
	only4 := w.make("admin", "routers", "router", `"external_gateway_info":{"network_id":"`+w.ext+`","external_fixed_ips":[{"ip_address":"172.16.0.60"}]}`)
	w.refused("admin", "PUT", "/v2.0/routers/"+only4, router(`"enable_ndp_proxy":true`), 409, "RouterGatewayNotValid", lacking) // of no address
	// Without the proxy the gateway's IPv6 addresses may go; with it one must stay, named by address or by subnet.
	full := w.make("admin", "routers", "router", `"external_gateway_info":{"network_id":"`+w.ext+`"}`)
	gateway := func(ip string) string {
		return router(`"external_gateway_info":{"network_id":"` + w.ext + `","external_fixed_ips":[` + ip + `]}`)
	}
	v4 := `{"ip_address":"172.16.0.61"}`
	w.do("admin", "PUT", "/v2.0/routers/"+full, gateway(v4), 200)
	var sub6, addr6 string
	other := w.make("admin", "routers", "router", `"enable_ndp_proxy":true,"external_gateway_info":{"network_id":"`+w.ext+`"}`)
	for _, ip := range dig(w.do("admin", "GET", "/v2.0/routers/"+other, "", 200), "router", "external_gateway_info", "external_fixed_ips").([]any) {
		if a := dig(ip, "ip_address").(string); strings.Contains(a, ":") {
			sub6, addr6 = dig(ip, "subnet_id").(string), a
		}
	}
	w.do("admin", "PUT", "/v2.0/routers/"+other, gateway(`{"subnet_id":"`+sub6+`"}`), 200)
	w.do("admin", "PUT", "/v2.0/routers/"+other, gateway(`{"ip_address":"`+addr6+`"}`), 200)
	w.refused("admin", "PUT", "/v2.0/routers/"+other, gateway(v4), 409, "RouterIPv6GatewayInUse", "")
	// A port of another network that the router joins by none of the port's subnets.
	joined := w.make("demo", "routers", "router", `"enable_ndp_proxy":true,"external_gateway_info":{"network_id":"`+w.ext+`"}`)
	far := w.network("demo", "")
	w.pooled("demo", far)
	away := w.world.port("demo", far, "")
	w.attach("demo", joined, "subnet_id", w.sub)
	ask := func(port, more string) string {
		return `{"ndp_proxy":{"router_id":"` + joined + `","port_id":"` + port + `"` + more + `}}`
	}
	w.refused("demo", "POST", at, ask(away, ""), 409, "PortUnreachableRouter", "")
	// Of the port's addresses one is on a subnet that the router does not reach.
	extra := w.pooled("demo", w.net)
	both := dig(w.do("demo", "POST", "/v2.0/ports", `{"port":{"network_id":"`+w.net+`","fixed_ips":[{"subnet_id":"`+extra+`"},{"subnet_id":"`+w.sub+`"}]}}`, 201), "port")
	at6 := map[string]string{}
	for _, ip := range dig(both, "fixed_ips").([]any) {
		at6[dig(ip, "subnet_id").(string)] = dig(ip, "ip_address").(string)
	}
	port := dig(both, "id").(string)
	w.refused("demo", "POST", at, ask(port, `,"ip_address":"`+at6[extra]+`"`), 400, "InvalidAddress", "This address cannot reach the router "+joined)
	if got := dig(w.do("demo", "POST", at, ask(port, ""), 201), "ndp_proxy", "ip_address"); got != at6[w.sub] {
		t.Errorf("the router speaks for %v, not for %s", got, at6[w.sub])
	}
	alone := w.world.port("demo", w.net, `,"fixed_ips":[{"subnet_id":"`+extra+`"}]`)
	w.refused("demo", "POST", at, ask(alone, ""), 409, "PortUnreachableRouter", "")
	// Another subnet of the router may go while the proxy's stays.
	w.attach("demo", joined, "subnet_id", extra)
	w.do("demo", "PUT", "/v2.0/routers/"+joined+"/remove_router_interface", `{"subnet_id":"`+extra+`"}`, 200)
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
