// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

func withRouters(c *Config) { c.Routers = true }

// routed is a world with an external network, a router of demo's with a gateway and an interface, and a port behind it.
type routed struct {
	*world
	ext, extSub, net, sub, router, port string
}

func newRouted(t testing.TB, change ...func(*Config)) *routed {
	w := &routed{world: newWorld(t, append([]func(*Config){withRouters}, change...)...)}
	w.node("controller", "", map[string]string{"physnet1": "br-ex"})
	w.node("compute", "", nil)
	w.ext = w.network("admin", `"name":"ext-net","router:external":true,"provider:network_type":"flat","provider:physical_network":"physnet1"`)
	w.extSub = w.subnet("admin", w.ext, "172.16.1.0/24", "")
	w.net = w.network("demo", `"name":"net01"`)
	w.sub = w.subnet("demo", w.net, "10.11.12.0/24", "")
	w.router = w.make("demo", "routers", "router", `"name":"router1"`)
	w.attach("demo", w.router, "subnet_id", w.sub)
	w.do("demo", "PUT", "/v2.0/routers/"+w.router, gateway(w.ext), 200)
	w.port = w.world.port("demo", w.net, "")
	return w
}

func gateway(network string) string {
	return `{"router":{"external_gateway_info":{"network_id":"` + network + `"}}}`
}

func (w *world) attach(who, router, what, id string) map[string]any {
	w.t.Helper()
	return w.do(who, "PUT", "/v2.0/routers/"+router+"/add_router_interface", fmt.Sprintf(`{%q:%q}`, what, id), 200)
}

func (w *world) detach(who, router, what, id string) map[string]any {
	w.t.Helper()
	return w.do(who, "PUT", "/v2.0/routers/"+router+"/remove_router_interface", fmt.Sprintf(`{%q:%q}`, what, id), 200)
}

// TestWalkthroughRouting is step 3 of the scenario at the level of the API.
func TestWalkthroughRouting(t *testing.T) {
	w := newWorld(t, withRouters)
	w.node("controller", "", map[string]string{"physnet1": "br-ex"})
	w.node("compute", "", nil)
	net := w.network("demo", `"name":"net01"`)
	sub := w.subnet("demo", net, "10.11.12.0/24", "")
	vm01 := w.port("demo", net, `,"name":"vm01"`)
	w.port("demo", net, `,"name":"vm02"`)
	ext := w.network("admin", `"name":"ext-net","router:external":true,"provider:network_type":"flat","provider:physical_network":"physnet1"`)
	w.subnet("admin", ext, "172.16.1.0/24", "")

	m := w.do("demo", "POST", "/v2.0/routers", `{"router":{"name":"router1"}}`, 201)
	id := dig(m, "router", "id").(string)
	want := map[string]any{"id": id, "name": "router1", "tenant_id": "p-demo", "project_id": "p-demo", "description": "", "tags": []any{}, "created_at": "2026-01-02T03:04:05Z",
		"updated_at": "2026-01-02T03:04:05Z", "revision_number": 1.0, "admin_state_up": true, "status": "ACTIVE", "external_gateway_info": nil, "routes": []any{},
		"availability_zone_hints": []any{}, "availability_zones": []any{}, "flavor_id": nil, "conntrack_helpers": []any{}, "enable_ndp_proxy": false}
	if got := m["router"]; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("router\n got %v\nwant %v", got, want)
	}
	if m := w.do("admin", "GET", "/v2.0/routers/"+id, "", 200); dig(m, "router", "distributed") != true || dig(m, "router", "ha") != false {
		t.Errorf("administrator's view: %v", m)
	}

	m = w.attach("demo", id, "subnet_id", sub)
	iface := m["port_id"].(string)
	if want := map[string]any{"id": id, "tenant_id": "p-demo", "port_id": iface, "network_id": net, "subnet_id": sub, "subnet_ids": []any{sub}}; fmt.Sprint(m) != fmt.Sprint(want) {
		t.Errorf("add_router_interface answers %v, want %v", m, want)
	}
	m = w.do("demo", "GET", "/v2.0/ports/"+iface, "", 200)
	if p := m["port"]; dig(p, "device_owner") != "network:router_interface" || dig(p, "device_id") != id || dig(p, "status") != "ACTIVE" || dig(p, "port_security_enabled") != false ||
		dig(p, "fixed_ips", 0, "ip_address") != "10.11.12.1" || dig(p, "project_id") != "p-demo" {
		t.Errorf("interface %v", p)
	}
	m = w.do("demo", "PUT", "/v2.0/routers/"+id, gateway(ext), 200)
	if g := dig(m, "router", "external_gateway_info"); dig(g, "network_id") != ext || dig(g, "enable_snat") != true || dig(g, "external_fixed_ips", 0, "ip_address") != "172.16.1.3" {
		t.Errorf("gateway %v", g)
	}
	m = w.do("demo", "POST", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"`+ext+`"}}`, 201)
	fip := dig(m, "floatingip", "id").(string)
	want = map[string]any{"id": fip, "tenant_id": "p-demo", "project_id": "p-demo", "description": "", "tags": []any{}, "created_at": "2026-01-02T03:04:05Z", "updated_at": "2026-01-02T03:04:05Z",
		"revision_number": 0.0, "floating_network_id": ext, "floating_ip_address": "172.16.1.4", "port_id": nil, "fixed_ip_address": nil, "router_id": nil, "status": "DOWN",
		"port_details": nil, "dns_name": "", "dns_domain": "", "qos_policy_id": nil, "qos_network_policy_id": nil, "port_forwardings": []any{}}
	if got := m["floatingip"]; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("floating IP\n got %v\nwant %v", got, want)
	}
	// Four ports: the gateway's and the floating IP's are not shown, and cannot be asked for.
	if owners := w.names("demo", "ports", "device_owner"); len(owners) != 4 || slices.Contains(owners, "network:router_gateway") || slices.Contains(owners, "network:floatingip") {
		t.Errorf("ports of demo: %v", owners)
	}
	for _, owner := range []string{"network:router_gateway", "network:floatingip"} {
		hidden := w.names("admin", "ports?device_owner="+owner, "id")
		if len(hidden) != 1 {
			t.Fatalf("%s: %v", owner, hidden)
		}
		w.do("demo", "GET", "/v2.0/ports/"+hidden[0], "", 404)
	}
	if got := w.names("admin", "ports?device_owner=network:floatingip", "status"); got[0] != "N/A" {
		t.Errorf("status of the floating IP's port: %v", got)
	}
	if got := w.names("admin", "ports?device_owner=network:router_gateway", "status"); got[0] != "DOWN" {
		t.Errorf("status of the gateway port before its node has confirmed it: %v", got)
	}
	w.setStatus(model.PortID(w.names("admin", "ports?device_owner=network:router_gateway", "id")[0]), model.StatusActive)
	if got := w.names("admin", "ports?device_owner=network:router_gateway", "status"); got[0] != "ACTIVE" {
		t.Errorf("status of the gateway port: %v", got)
	}
	m = w.do("demo", "PUT", "/v2.0/floatingips/"+fip, `{"floatingip":{"port_id":"`+vm01+`"}}`, 200)
	if f := m["floatingip"]; dig(f, "port_id") != vm01 || dig(f, "fixed_ip_address") != "10.11.12.3" || dig(f, "router_id") != id || dig(f, "status") != "DOWN" ||
		dig(f, "port_details", "name") != "vm01" || dig(f, "port_details", "network_id") != net || dig(f, "revision_number") != 1.0 {
		t.Errorf("associated %v", f)
	}
	w.setStatus(model.PortID(fip), model.StatusActive) // the node that serves it has confirmed its flows
	if got := w.names("demo", "floatingips?status=ACTIVE", "id"); !slices.Equal(got, []string{fip}) {
		t.Errorf("confirmed, and active are %v", got)
	}
	if got := w.names("demo", "floatingips?floating_ip_address=172.16.1.4", "id"); !slices.Equal(got, []string{fip}) {
		t.Errorf("by address: %v", got)
	}
	if got := w.names("other", "floatingips", "id"); len(got) != 0 {
		t.Errorf("others see %v", got)
	}
	// What the node reports counts as soon as there is something, and is void with a new association.
	w.setStatus(model.PortID(fip), model.StatusDown)
	if m := w.do("demo", "GET", "/v2.0/floatingips/"+fip, "", 200); dig(m, "floatingip", "status") != "DOWN" {
		t.Errorf("reported down, and is %v", dig(m, "floatingip", "status"))
	}
	w.setStatus(model.PortID(fip), model.StatusActive)
	m = w.do("demo", "PUT", "/v2.0/floatingips/"+fip, `{"floatingip":{"port_id":null}}`, 200)
	if f := m["floatingip"]; dig(f, "port_id") != nil || dig(f, "fixed_ip_address") != nil || dig(f, "router_id") != nil || dig(f, "status") != "DOWN" || dig(f, "port_details") != nil {
		t.Errorf("disassociated %v", f)
	}
	w.do("demo", "PUT", "/v2.0/floatingips/"+fip, `{"floatingip":{"port_id":"`+vm01+`","fixed_ip_address":"10.11.12.3"}}`, 200)
	if m := w.do("demo", "GET", "/v2.0/floatingips/"+fip, "", 200); dig(m, "floatingip", "status") != "DOWN" {
		t.Error("ACTIVE by what a node said of another association")
	}
	consistent(t, w)

	// Down again, in order.
	w.do("demo", "DELETE", "/v2.0/ports/"+vm01, "", 204)
	if m := w.do("demo", "GET", "/v2.0/floatingips/"+fip, "", 200); dig(m, "floatingip", "port_id") != nil || dig(m, "floatingip", "router_id") != nil {
		t.Errorf("its port was deleted: %v", m)
	}
	w.do("demo", "DELETE", "/v2.0/floatingips/"+fip, "", 204)
	w.do("demo", "PUT", "/v2.0/routers/"+id, `{"router":{"external_gateway_info":{}}}`, 200)
	w.detach("demo", id, "subnet_id", sub)
	w.do("demo", "DELETE", "/v2.0/routers/"+id, "", 204)
	consistent(t, w)
	for _, p := range tables.Ports.All(w.st.Snapshot()) {
		if p.Router != "" || p.DeviceOwner == model.OwnerFloatingIP {
			t.Errorf("left: %+v", p)
		}
	}
	if r := w.st.Snapshot(); tables.Gateways.Len(r)+tables.FloatingIPs.Len(r)+tables.Routers.Len(r) != 0 {
		t.Error("records are left")
	}
}

// TestRouterRefusals asks for what cannot be, one by one; nothing changes.
func TestRouterRefusals(t *testing.T) {
	w := newRouted(t)
	missing := "00000000-0000-4000-8000-000000000000"
	r := "/v2.0/routers/" + w.router
	add, remove := r+"/add_router_interface", r+"/remove_router_interface"
	id := func(what, id string) string { return fmt.Sprintf(`{%q:%q}`, what, id) }
	iface := w.names("demo", "ports?device_owner=network:router_interface", "id")[0]
	gw := w.names("admin", "ports?device_owner=network:router_gateway", "id")[0]

	bare := w.network("demo", `"name":"bare"`)
	noGateway := w.subnet("demo", bare, "10.20.0.0/24", `,"gateway_ip":null`)
	fromOutside := w.subnet("demo", bare, "fd20::/64", `,"ipv6_address_mode":"slaac"`)
	noAddress := w.world.port("demo", w.network("demo", ``), "")
	over := w.network("demo", ``)
	overlaps := w.subnet("demo", over, "10.11.0.0/16", "")
	overPort := w.world.port("demo", over, "")
	overOutside := w.subnet("demo", w.network("demo", ``), "172.16.0.0/16", "")
	shared := w.network("admin", `"shared":true`)
	sharedSub := w.subnet("admin", shared, "10.30.0.0/24", "")
	notPool := w.world.port("admin", shared, `,"project_id":"p-demo","fixed_ips":[{"ip_address":"10.30.0.1"}]`)
	private := w.subnet("other", w.network("other", ``), "10.31.0.0/24", "")
	free := w.network("demo", ``)
	w.subnet("demo", free, "10.40.0.0/24", "")
	used := w.world.port("demo", free, `,"device_id":"vm"`)
	two := w.world.port("demo", free, `,"fixed_ips":[{"ip_address":"10.40.0.50"},{"ip_address":"10.40.0.51"}]`)
	sixNet := w.network("demo", ``)
	six1 := w.subnet("demo", sixNet, "fd41::/64", "")
	w.subnet("demo", sixNet, "fd42::/64", "")
	sixPort := w.world.port("demo", sixNet, `,"fixed_ips":[{"ip_address":"fd42::9"}]`)
	w.attach("demo", w.router, "subnet_id", six1)
	sixIface := w.names("demo", "ports?device_owner=network:router_interface&network_id="+sixNet, "id")[0]

	fip := w.make("demo", "floatingips", "floatingip", `"floating_network_id":"`+w.ext+`","port_id":"`+w.port+`"`)
	floatPort := w.names("admin", "ports?device_owner=network:floatingip", "id")[0]
	w.do("demo", "PUT", r, `{"router":{"routes":[{"destination":"192.168.0.0/24","nexthop":"10.11.12.77"}]}}`, 200)
	w.do("demo", "POST", "/v2.0/routers", `{"router":{"name":"other"}}`, 201)
	others := w.make("other", "routers", "router", `"name":"theirs"`)
	othersPort := w.world.port("other", shared, "")
	addr := "10.11.12.3"
	unrouted := w.world.port("demo", free, "")
	v6Port := w.world.port("demo", sixNet, `,"fixed_ips":[{"ip_address":"fd41::9"}]`)
	twoBehind := w.world.port("demo", w.net, `,"fixed_ips":[{"ip_address":"10.11.12.50"},{"ip_address":"10.11.12.51"}]`)
	another := w.make("demo", "floatingips", "floatingip", `"floating_network_id":"`+w.ext+`"`)
	plain := w.network("admin", `"shared":true,"name":"not external"`)
	emptyExt := w.network("admin", `"router:external":true`)
	sixExt := w.network("admin", `"router:external":true`)
	w.subnet("admin", sixExt, "fd50::/64", "")
	f := func(attrs string) string {
		return `{"floatingip":{"floating_network_id":"` + w.ext + `"` + attrs + `}}`
	}
	info := func(s string) string { return `{"router":{"external_gateway_info":` + s + `}}` }
	routes := func(s string) string { return `{"router":{"routes":` + s + `}}` }
	many := strings.Repeat(`{"destination":"192.168.%d.0/24","nexthop":"10.11.12.9"},`, 31)
	var n []any
	for i := range 31 {
		n = append(n, i)
	}
	many = "[" + strings.TrimSuffix(fmt.Sprintf(many, n...), ",") + "]"

	for _, c := range []struct {
		who, method, path, body string
		status                  int
		kind, message           string
	}{
		// Interfaces.
		{"demo", "PUT", add, `{}`, 400, "BadRequest", "Bad router request: Either subnet_id or port_id must be specified."},
		{"demo", "PUT", add, ``, 400, "HTTPBadRequest", ""},
		{"demo", "PUT", add, `{"subnet_id":7}`, 400, "HTTPBadRequest", ""},
		{"demo", "POST", add, id("subnet_id", w.sub), 405, "HTTPMethodNotAllowed", ""},
		{"demo", "PUT", add, `{"subnet_id":"` + w.sub + `","port_id":"` + used + `"}`, 400, "BadRequest", "Bad router request: Cannot specify both subnet-id and port-id."},
		{"demo", "PUT", add, id("subnet_id", missing), 404, "SubnetNotFound", ""},
		{"demo", "PUT", add, id("subnet_id", private), 404, "SubnetNotFound", ""},
		{"demo", "PUT", add, id("port_id", missing), 404, "PortNotFound", ""},
		{"demo", "PUT", add, id("subnet_id", noGateway), 400, "BadRequest", "Bad router request: Subnet for router interface must have a gateway IP."},
		{"demo", "PUT", add, id("subnet_id", fromOutside), 400, "BadRequest", ""},
		{"demo", "PUT", add, id("subnet_id", w.sub), 400, "BadRequest", "Bad router request: Router already has a port on subnet " + w.sub + "."},
		{"demo", "PUT", add, id("port_id", unrouted+"0"), 400, "HTTPBadRequest", ""},
		{"demo", "PUT", add, id("port_id", twoBehind), 400, "BadRequest", "Bad router request: Router already has a port on subnet " + w.sub + "."},
		{"demo", "PUT", add, id("subnet_id", overlaps), 400, "BadRequest", "Bad router request: Cidr 10.11.0.0/16 of subnet " + overlaps + " overlaps with cidr 10.11.12.0/24 of subnet " + w.sub + "."},
		{"demo", "PUT", add, id("port_id", overPort), 400, "BadRequest", ""},
		{"demo", "PUT", add, id("subnet_id", overOutside), 400, "BadRequest", ""},
		{"demo", "PUT", add, id("subnet_id", sharedSub), 400, "BadRequest", "Bad router request: Cannot add interface to router because subnet " + sharedSub + " is not owned by project making the request."},
		{"demo", "PUT", add, id("port_id", notPool), 400, "BadRequest", ""},
		{"demo", "PUT", add, id("port_id", used), 409, "PortInUse", "Unable to complete operation on port " + used + " for network " + free + ". Port already has an attached device vm."},
		{"demo", "PUT", add, id("port_id", iface), 409, "PortInUse", ""},
		{"demo", "PUT", add, id("port_id", noAddress), 400, "BadRequest", "Bad router request: Router port must have at least one fixed IP."},
		{"demo", "PUT", add, id("port_id", two), 400, "BadRequest", "Bad router request: Cannot have multiple IPv4 subnets on router port."},
		{"demo", "PUT", add, id("port_id", sixPort), 400, "BadRequest", "Bad router request: Cannot have multiple router ports with the same network id if both contain IPv6 subnets. Existing port " +
			sixIface + " has IPv6 subnet(s) and network id " + sixNet + "."},
		{"other", "PUT", add, id("subnet_id", w.sub), 404, "RouterNotFound", "Router " + w.router + " could not be found"},
		{"reader", "PUT", add, id("subnet_id", six1), 403, "PolicyNotAuthorized", ""},
		{"demo", "PUT", "/v2.0/routers/" + others + "/add_router_interface", id("subnet_id", w.sub), 404, "RouterNotFound", ""},
		{"demo", "PUT", remove, `{}`, 400, "BadRequest", ""},
		{"demo", "PUT", remove, id("port_id", w.port), 404, "RouterInterfaceNotFound", "Router " + w.router + " does not have an interface with id " + w.port},
		{"demo", "PUT", remove, id("port_id", missing), 404, "RouterInterfaceNotFound", ""},
		{"demo", "PUT", remove, id("port_id", gw), 404, "RouterInterfaceNotFound", ""},
		{"demo", "PUT", remove, id("subnet_id", missing), 404, "SubnetNotFound", ""},
		{"demo", "PUT", remove, id("subnet_id", overlaps), 404, "RouterInterfaceNotFoundForSubnet", "Router " + w.router + " has no interface on subnet " + overlaps},
		{"demo", "PUT", remove, `{"subnet_id":"` + overlaps + `","port_id":"` + iface + `"}`, 400, "SubnetMismatchForPort", ""},
		{"demo", "PUT", remove, id("subnet_id", w.sub), 409, "RouterInterfaceInUseByFloatingIP",
			"Router interface for subnet " + w.sub + " on router " + w.router + " cannot be deleted, as it is required by one or more floating IPs."},
		{"demo", "PUT", remove, id("port_id", iface), 409, "RouterInterfaceInUseByFloatingIP", ""},
		{"demo", "DELETE", r, ``, 409, "RouterInUse", "Router " + w.router + " still has ports"},
		// What an interface is on, and is.
		{"demo", "DELETE", "/v2.0/ports/" + iface, ``, 409, "ServicePortInUse", "Port " + iface + " cannot be deleted directly via the port API: has device owner network:router_interface."},
		{"admin", "DELETE", "/v2.0/ports/" + gw, ``, 409, "ServicePortInUse", ""},
		{"admin", "DELETE", "/v2.0/ports/" + floatPort, ``, 409, "ServicePortInUse", ""},
		{"demo", "DELETE", "/v2.0/subnets/" + w.sub, ``, 409, "SubnetInUse", ""},
		{"demo", "DELETE", "/v2.0/networks/" + w.net, ``, 409, "NetworkInUse", ""},
		{"admin", "DELETE", "/v2.0/networks/" + w.ext, ``, 409, "NetworkInUse", ""},
		{"admin", "PUT", "/v2.0/networks/" + w.ext, `{"network":{"router:external":false}}`, 409, "ExternalNetworkInUse", ""},
		{"demo", "PUT", "/v2.0/subnets/" + w.sub, `{"subnet":{"gateway_ip":null}}`, 409, "GatewayIpInUse", ""},
		{"demo", "PUT", "/v2.0/ports/" + iface, `{"port":{"device_id":""}}`, 409, "ServicePortInUse", ""},
		{"demo", "PUT", "/v2.0/ports/" + iface, `{"port":{"device_owner":""}}`, 409, "ServicePortInUse", ""},
		{"demo", "PUT", "/v2.0/ports/" + iface, `{"port":{"port_security_enabled":true}}`, 409, "ServicePortInUse", ""},
		{"demo", "PUT", "/v2.0/ports/" + iface, `{"port":{"fixed_ips":[]}}`, 409, "ServicePortInUse", ""},
		{"demo", "PUT", "/v2.0/ports/" + iface, `{"port":{"fixed_ips":[{"ip_address":"10.11.12.77"}]}}`, 409, "RouterInterfaceInUseByRoute", ""},
		{"admin", "PUT", "/v2.0/ports/" + gw, `{"port":{"fixed_ips":[{"ip_address":"172.16.1.99"}]}}`, 409, "ServicePortInUse", ""},
		{"admin", "PUT", "/v2.0/ports/" + floatPort, `{"port":{"fixed_ips":[]}}`, 409, "ServicePortInUse", ""},
		{"admin", "PUT", "/v2.0/ports/" + iface, `{"port":{"binding:host_id":"compute"}}`, 409, "ServicePortInUse", ""},
		{"admin", "POST", "/v2.0/ports", `{"port":{"network_id":"` + free + `","device_owner":"network:router_interface","device_id":"` + w.router + `"}}`, 400, "BadRequest", ""},
		{"admin", "POST", "/v2.0/ports", `{"port":{"network_id":"` + w.ext + `","device_owner":"network:floatingip","device_id":"` + fip + `"}}`, 400, "BadRequest", ""},
		{"admin", "PUT", "/v2.0/ports/" + used, `{"port":{"device_owner":"network:router_interface","device_id":"` + w.router + `"}}`, 400, "BadRequest", ""},
		// Gateways.
		{"demo", "PUT", r, info(`{"network_id":"` + missing + `"}`), 404, "NetworkNotFound", ""},
		{"demo", "PUT", r, info(`{"network_id":"x"}`), 400, "HTTPBadRequest", ""},
		{"demo", "PUT", r, info(`{"enable_snat":false}`), 400, "HTTPBadRequest", ""},
		{"demo", "PUT", r, info(`{"network_id":"` + w.ext + `","foo":1}`), 400, "HTTPBadRequest", ""},
		{"demo", "PUT", r, info(`[]`), 400, "HTTPBadRequest", ""},
		{"demo", "POST", "/v2.0/routers", info(`{"network_id":"` + plain + `"}`), 400, "BadRequest", "Bad router request: Network " + plain + " is not an external network."},
		{"demo", "PUT", r, gateway(plain), 400, "BadRequest", ""},
		{"demo", "PUT", r, gateway(w.net), 400, "BadRequest", ""},
		{"demo", "PUT", r, gateway(emptyExt), 409, "RouterExternalGatewayInUseByFloatingIp",
			"Gateway cannot be updated for router " + w.router + ", since a gateway to external network " + w.ext + " is required by one or more floating IPs."},
		{"demo", "PUT", r, info(`null`), 409, "RouterExternalGatewayInUseByFloatingIp", ""},
		{"demo", "PUT", r, info(`{}`), 409, "RouterExternalGatewayInUseByFloatingIp", ""},
		{"demo", "PUT", r, info(`{"network_id":"` + w.ext + `","enable_snat":true}`), 403, "PolicyNotAuthorized", ""},
		{"demo", "PUT", r, info(`{"network_id":"` + w.ext + `","external_fixed_ips":[{"ip_address":"172.16.1.9"}]}`), 403, "PolicyNotAuthorized", ""},
		{"demo", "POST", "/v2.0/routers", info(`{"network_id":"` + w.ext + `","enable_snat":false}`), 403, "PolicyNotAuthorized", ""},
		{"demo", "POST", "/v2.0/routers", `{"router":{"distributed":false}}`, 403, "PolicyNotAuthorized", ""},
		{"demo", "PUT", r, `{"router":{"ha":true}}`, 403, "PolicyNotAuthorized", ""},
		{"admin", "POST", "/v2.0/routers", `{"router":{"distributed":false}}`, 400, "BadRequest", ""},
		{"admin", "POST", "/v2.0/routers", `{"router":{"ha":true}}`, 400, "BadRequest", ""},
		{"demo", "POST", "/v2.0/routers", `{"router":{"status":"ACTIVE"}}`, 400, "HTTPBadRequest", ""},
		{"demo", "POST", "/v2.0/routers", `{"router":{"flavor_id":"` + missing + `"}}`, 404, "FlavorNotFound", ""},
		{"admin", "PUT", r, info(`{"network_id":"` + w.ext + `","external_fixed_ips":[{"ip_address":"172.16.1.1"}]}`), 400, "BadRequest", "Bad router request: External IP 172.16.1.1 is the same as the gateway IP."},
		{"admin", "PUT", r, info(`{"network_id":"` + w.ext + `","external_fixed_ips":[{"ip_address":"172.17.1.1"}]}`), 400, "InvalidIpForNetwork", ""},
		{"admin", "PUT", r, info(`{"network_id":"` + w.ext + `","external_fixed_ips":[{"ip_address":"172.16.1.2"}]}`), 409, "IpAddressAlreadyAllocated", ""},
		{"admin", "PUT", r, info(`{"network_id":"` + w.ext + `","external_fixed_ips":[{"subnet_id":"` + w.sub + `"}]}`), 400, "InvalidInput", ""},
		// Routes.
		{"demo", "POST", "/v2.0/routers", routes(`[]`), 400, "HTTPBadRequest", "Attribute 'routes' not allowed in POST"},
		{"demo", "PUT", r, routes(`[{"destination":"192.168.0.0/24","nexthop":"10.99.0.1"}]`), 400, "InvalidRoutes",
			"Invalid format for routes: [{'destination': '192.168.0.0/24', 'nexthop': '10.99.0.1'}], the nexthop is not connected with router"},
		{"demo", "PUT", r, routes(`[{"destination":"192.168.0.0/24","nexthop":"10.11.12.1"}]`), 400, "InvalidRoutes",
			"Invalid format for routes: [{'destination': '192.168.0.0/24', 'nexthop': '10.11.12.1'}], the nexthop is used by router"},
		{"demo", "PUT", r, routes(`[{"destination":"192.168.0.0/24","nexthop":"172.16.1.3"}]`), 400, "InvalidRoutes", ""},
		{"demo", "PUT", r, routes(`[{"destination":"192.168.0.0/24","nexthop":"fd41::9"}]`), 400, "InvalidRoutes", ""},
		{"demo", "PUT", r, routes(`[{"destination":"192.168.0.0/24"}]`), 400, "HTTPBadRequest", ""},
		{"demo", "PUT", r, routes(`[{"destination":"192.168.0.1/24","nexthop":"10.11.12.9"}]`), 400, "HTTPBadRequest", ""},
		{"demo", "PUT", r, routes(`[{"destination":"192.168.0.0/24","nexthop":"10.11.12.9"},{"destination":"192.168.0.0/24","nexthop":"10.11.12.9"}]`), 400, "HTTPBadRequest", ""},
		{"demo", "PUT", r, routes(many), 400, "RoutesExhausted", "Unable to complete operation for " + w.router + ". The number of routes exceeds the maximum 30."},
		{"demo", "PUT", r + "/add_extraroutes", routes(`[{"destination":"192.168.9.0/24","nexthop":"10.99.0.1"}]`), 400, "InvalidRoutes", ""},
		{"demo", "PUT", r + "/add_extraroutes", `{"router":{"name":"x","routes":[]}}`, 400, "HTTPBadRequest", ""},
		{"demo", "PUT", r + "/add_extraroutes", `{"routes":[]}`, 400, "HTTPBadRequest", "Unable to find 'router' in request body"},
		{"demo", "PUT", r + "/remove_extraroutes", `{"router":{"routes":7}}`, 400, "HTTPBadRequest", ""},
		{"other", "PUT", r + "/add_extraroutes", routes(`[]`), 404, "RouterNotFound", ""},
		{"reader", "PUT", r + "/add_extraroutes", routes(`[]`), 403, "PolicyNotAuthorized", ""},
		{"demo", "PUT", r + "/other", `{}`, 404, "HTTPNotFound", ""},
		// Floating IPs.
		{"demo", "POST", "/v2.0/floatingips", `{"floatingip":{}}`, 400, "HTTPBadRequest", ""},
		{"demo", "POST", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"` + missing + `"}}`, 404, "NetworkNotFound", ""},
		{"demo", "POST", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"` + w.net + `"}}`, 400, "BadRequest", "Bad floatingip request: Network " + w.net + " is not a valid external network."},
		{"demo", "POST", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"` + emptyExt + `"}}`, 400, "ExternalIpAddressExhausted", "Unable to find any IP address on external network " + emptyExt + "."},
		{"demo", "POST", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"` + sixExt + `"}}`, 400, "ExternalIpAddressExhausted", ""},
		{"demo", "POST", "/v2.0/floatingips", f(`,"floating_ip_address":"172.16.1.50"`), 403, "PolicyNotAuthorized", "(rule:create_floatingip and rule:create_floatingip:floating_ip_address) is disallowed by policy"},
		{"demo", "POST", "/v2.0/floatingips", f(`,"project_id":"p-other"`), 400, "HTTPBadRequest", ""},
		{"demo", "POST", "/v2.0/floatingips", f(`,"subnet_id":"` + w.sub + `"`), 400, "InvalidInput", ""},
		{"demo", "POST", "/v2.0/floatingips", f(`,"subnet_id":"` + missing + `"`), 404, "SubnetNotFound", ""},
		{"admin", "POST", "/v2.0/floatingips", f(`,"floating_ip_address":"172.17.0.1"`), 400, "InvalidIpForNetwork", ""},
		{"admin", "POST", "/v2.0/floatingips", f(`,"floating_ip_address":"172.16.1.3"`), 409, "IpAddressAlreadyAllocated", ""},
		{"admin", "POST", "/v2.0/floatingips", f(`,"floating_ip_address":"172.16.1.1"`), 400, "BadRequest", ""},
		{"demo", "POST", "/v2.0/floatingips", f(`,"fixed_ip_address":"` + addr + `"`), 400, "BadRequest", "Bad floatingip request: fixed_ip_address cannot be specified without a port_id."},
		{"demo", "PUT", "/v2.0/floatingips/" + fip, `{"floatingip":{"fixed_ip_address":"10.11.12.3"}}`, 400, "BadRequest", ""},
		{"demo", "PUT", "/v2.0/floatingips/" + fip, `{"floatingip":{"floating_network_id":"` + w.ext + `"}}`, 400, "HTTPBadRequest", ""},
		{"demo", "POST", "/v2.0/floatingips", f(`,"port_id":"` + missing + `"`), 404, "PortNotFound", ""},
		{"demo", "POST", "/v2.0/floatingips", f(`,"port_id":"` + othersPort + `"`), 404, "PortNotFound", ""},
		{"demo", "POST", "/v2.0/floatingips", f(`,"port_id":"` + w.port + `"`), 409, "FloatingIPPortAlreadyAssociated", ""},
		{"demo", "PUT", "/v2.0/floatingips/" + another, `{"floatingip":{"port_id":"` + w.port + `"}}`, 409, "FloatingIPPortAlreadyAssociated",
			"Cannot associate floating IP 172.16.1.5 (" + another + ") with port " + w.port + " using fixed IP " + addr + ", as that fixed IP already has a floating IP on external network " + w.ext + "."},
		{"demo", "POST", "/v2.0/floatingips", f(`,"port_id":"` + unrouted + `"`), 404, "ExternalGatewayForFloatingIPNotFound", ""},
		{"demo", "POST", "/v2.0/floatingips", f(`,"port_id":"` + noAddress + `"`), 400, "BadRequest", "Bad floatingip request: Cannot add floating IP to port " + noAddress + " that has no fixed IPv4 addresses."},
		{"demo", "POST", "/v2.0/floatingips", f(`,"port_id":"` + v6Port + `"`), 400, "BadRequest", ""},
		{"demo", "POST", "/v2.0/floatingips", f(`,"port_id":"` + v6Port + `","fixed_ip_address":"fd41::9"`), 400, "BadRequest", ""},
		{"demo", "POST", "/v2.0/floatingips", f(`,"port_id":"` + twoBehind + `"`), 400, "BadRequest", ""},
		{"demo", "POST", "/v2.0/floatingips", f(`,"port_id":"` + twoBehind + `","fixed_ip_address":"10.11.12.99"`), 400, "BadRequest", "Bad floatingip request: Port " + twoBehind + " does not have fixed ip 10.11.12.99."},
		{"demo", "POST", "/v2.0/floatingips", f(`,"status":"ACTIVE"`), 400, "HTTPBadRequest", ""},
		{"other", "PUT", "/v2.0/floatingips/" + fip, `{"floatingip":{"port_id":null}}`, 404, "FloatingIPNotFound", "Floating IP " + fip + " could not be found"},
		{"other", "DELETE", "/v2.0/floatingips/" + fip, ``, 404, "FloatingIPNotFound", ""},
		{"reader", "DELETE", "/v2.0/floatingips/" + fip, ``, 403, "PolicyNotAuthorized", ""},
	} {
		w.refuse(c.who, c.method, c.path, c.body, c.status, c.kind, c.message)
	}
	consistent(t, w.world)

	// A route alone holds an interface too.
	w.do("demo", "DELETE", "/v2.0/floatingips/"+fip, "", 204)
	w.refuse("demo", "PUT", remove, id("subnet_id", w.sub), 409, "RouterInterfaceInUseByRoute",
		"Router interface for subnet "+w.sub+" on router "+w.router+" cannot be deleted, as it is required by one or more routes.")
	w.do("demo", "PUT", r, routes(`null`), 200)
	w.detach("demo", w.router, "port_id", iface)

	// Somebody else's port on a network of one's own: seen, and not to be used.
	theirs := w.world.port("admin", w.net, "")
	w.attach("demo", w.router, "subnet_id", w.sub)
	w.refuse("demo", "POST", "/v2.0/floatingips", f(`,"port_id":"`+theirs+`"`), 400, "BadRequest",
		"Bad floatingip request: Cannot process floating IP association with Port "+theirs+", since that port is owned by a different tenant.")
	w.do("admin", "POST", "/v2.0/floatingips", f(`,"port_id":"`+theirs+`"`), 201)
}

func TestRouterQuota(t *testing.T) {
	w := newRouted(t, func(c *Config) { c.Quotas = map[string]int{"router": 1, "floatingip": 1, "port": 4} })
	w.refuse("demo", "POST", "/v2.0/routers", `{"router":{}}`, 409, "OverQuota", "Quota exceeded for resources: ['router'].")
	w.make("demo", "floatingips", "floatingip", `"floating_network_id":"`+w.ext+`"`)
	w.refuse("demo", "POST", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"`+w.ext+`"}}`, 409, "OverQuota", "Quota exceeded for resources: ['floatingip'].")
	m := w.do("demo", "GET", "/v2.0/quotas/p-demo/details", "", 200)
	if dig(m, "quota", "router", "used") != 1.0 || dig(m, "quota", "floatingip", "used") != 1.0 || dig(m, "quota", "port", "used") != 3.0 {
		t.Errorf("details %v", m)
	}
	off := newWorld(t)
	if m := off.do("demo", "GET", "/v2.0/quotas/p-demo", "", 200); dig(m, "quota", "router") != nil {
		t.Errorf("a quota of what is not served: %v", m)
	}
	off.refuse("demo", "GET", "/v2.0/routers", "", 404, "HTTPNotFound", "")
	for _, alias := range []string{"ext-gw-mode", "extraroute", "extraroute-atomic", "fip-port-details", "router"} {
		w.do("demo", "GET", "/v2.0/extensions/"+alias, "", 200)
		off.refuse("demo", "GET", "/v2.0/extensions/"+alias, "", 404, "ExtensionNotFound", "")
	}
}

// TestExtraRoutes adds and removes routes bit by bit.
func TestExtraRoutes(t *testing.T) {
	w := newRouted(t)
	r := "/v2.0/routers/" + w.router
	route := func(n int) string {
		return fmt.Sprintf(`{"destination":"192.168.%d.0/24","nexthop":"10.11.12.9"}`, n)
	}
	send := func(action string, ns ...int) []any {
		t.Helper()
		var all []string
		for _, n := range ns {
			all = append(all, route(n))
		}
		m := w.do("demo", "PUT", r+"/"+action, `{"router":{"routes":[`+strings.Join(all, ",")+`]}}`, 200)
		return dig(m, "router", "routes").([]any)
	}
	if got := send("add_extraroutes", 1, 2); len(got) != 2 {
		t.Errorf("added two: %v", got)
	}
	if got := send("add_extraroutes", 2, 3); len(got) != 3 || dig(got, 2, "destination") != "192.168.3.0/24" {
		t.Errorf("added one that is there and one that is not: %v", got)
	}
	if got := send("remove_extraroutes", 2, 9); len(got) != 2 || dig(got, 0, "destination") != "192.168.1.0/24" {
		t.Errorf("removed one that is there and one that is not: %v", got)
	}
	w.do("demo", "PUT", r, `{"router":{"routes":[{"destination":"0.0.0.0/0","nexthop":"172.16.1.77"},`+route(1)+`]}}`, 200)
	// The gateway may go; the route over it leads nowhere and can be taken away.
	w.do("demo", "PUT", r, `{"router":{"external_gateway_info":null}}`, 200)
	if got := send("remove_extraroutes", 1); len(got) != 1 {
		t.Errorf("left %v", got)
	}
	w.refuse("demo", "PUT", r+"/add_extraroutes", `{"router":{"routes":[`+route(1)+`]}}`, 400, "InvalidRoutes", "")
	w.do("demo", "PUT", r, `{"router":{"routes":[]}}`, 200)
}

// TestInterfaces holds what becomes of ports that are attached and detached.
func TestInterfaces(t *testing.T) {
	first := model.PortID("00000000-0000-4000-8000-000000000001") // before all others wherever ports are in order
	w := newRouted(t, func(c *Config) { c.IDs = &alloc.Recorded{Ports: []alloc.RecordedPort{{Name: "first", ID: first}}} })
	// By port: the port is the router's, with its address, and goes with the interface.
	net := w.network("demo", "")
	sub := w.subnet("demo", net, "10.50.0.0/24", "")
	port := w.world.port("demo", net, `,"fixed_ips":[{"ip_address":"10.50.0.77"}]`)
	if m := w.attach("demo", w.router, "port_id", port); m["port_id"] != port || m["subnet_id"] != sub {
		t.Errorf("attached %v", m)
	}
	m := w.do("demo", "GET", "/v2.0/ports/"+port, "", 200)
	if p := m["port"]; dig(p, "device_id") != w.router || dig(p, "port_security_enabled") != false || dig(p, "status") != "ACTIVE" || len(dig(p, "security_groups").([]any)) != 0 {
		t.Errorf("attached port %v", p)
	}
	m = w.do("demo", "PUT", "/v2.0/ports/"+port, `{"port":{"fixed_ips":[{"subnet_id":"`+sub+`","ip_address":"10.50.0.78"}],"name":"leg"}}`, 200)
	if dig(m, "port", "fixed_ips", 0, "ip_address") != "10.50.0.78" {
		t.Errorf("moved on its subnet: %v", m)
	}
	w.do("demo", "PUT", "/v2.0/ports/"+port, `{"port":{"admin_state_up":false}}`, 200)
	if got := w.names("demo", "ports?id="+port, "status"); got[0] != "DOWN" {
		t.Errorf("switched off, and %v", got)
	}
	w.detach("demo", w.router, "port_id", port)
	w.do("demo", "GET", "/v2.0/ports/"+port, "", 404)

	// IPv6: subnets of a network share an interface, and leave it one by one.
	six := w.network("demo", "")
	slaac := w.subnet("demo", six, "fd01::/64", `,"ipv6_ra_mode":"slaac","ipv6_address_mode":"slaac"`)
	second := w.subnet("demo", six, "fd02::/64", "")
	a, b := w.attach("demo", w.router, "subnet_id", slaac), w.attach("demo", w.router, "subnet_id", second)
	if a["port_id"] != b["port_id"] {
		t.Errorf("two ports for two IPv6 subnets of a network: %v %v", a, b)
	}
	m = w.do("demo", "GET", "/v2.0/ports/"+a["port_id"].(string), "", 200)
	if ips := fmt.Sprint(dig(m, "port", "fixed_ips")); !strings.Contains(ips, "fd01:: ") || !strings.Contains(ips, "fd02::1 ") {
		t.Errorf("addresses %s", ips)
	}
	four := w.subnet("demo", six, "10.51.0.0/24", "")
	if c := w.attach("demo", w.router, "subnet_id", four); c["port_id"] == a["port_id"] {
		t.Error("IPv4 and IPv6 share an interface")
	}
	w.detach("demo", w.router, "subnet_id", slaac)
	m = w.do("demo", "GET", "/v2.0/ports/"+a["port_id"].(string), "", 200)
	if len(dig(m, "port", "fixed_ips").([]any)) != 1 {
		t.Errorf("after one left: %v", m)
	}
	w.detach("demo", w.router, "subnet_id", second)
	w.do("demo", "GET", "/v2.0/ports/"+a["port_id"].(string), "", 404)
	w.do("demo", "DELETE", "/v2.0/subnets/"+slaac, "", 204)
	consistent(t, w.world)

	// A floating IP goes by the router that is its subnet's gateway, and is freed when its port loses the address.
	other := w.make("demo", "routers", "router", `"external_gateway_info":{"network_id":"`+w.ext+`"}`)
	w.attach("demo", other, "port_id", w.world.port("demo", w.net, `,"name":"first"`))
	fip := w.make("demo", "floatingips", "floatingip", `"floating_network_id":"`+w.ext+`","port_id":"`+w.port+`"`)
	if got := w.names("demo", "floatingips", "router_id"); got[0] != w.router {
		t.Errorf("by router %v, want the subnet's gateway %s", got, w.router)
	}
	w.do("demo", "PUT", "/v2.0/ports/"+w.port, `{"port":{"fixed_ips":[{"ip_address":"10.11.12.200"}]}}`, 200)
	m = w.do("demo", "GET", "/v2.0/floatingips/"+fip, "", 200)
	if dig(m, "floatingip", "port_id") != nil || dig(m, "floatingip", "revision_number") != 1.0 {
		t.Errorf("its port has another address: %v", m)
	}
	if got := w.names("demo", "floatingips?port_id=", "id"); !slices.Equal(got, []string{fip}) {
		t.Errorf("those of nobody: %v", got)
	}
	// One that stands for nothing does not hold its network.
	w.do("demo", "PUT", "/v2.0/routers/"+w.router, `{"router":{"external_gateway_info":null}}`, 200)
	w.do("demo", "PUT", "/v2.0/routers/"+other, `{"router":{"external_gateway_info":null}}`, 200)
	w.do("admin", "DELETE", "/v2.0/networks/"+w.ext, "", 204)
	w.do("demo", "GET", "/v2.0/floatingips/"+fip, "", 404)
	consistent(t, w.world)
}

// TestGatewayMode follows enable_snat and the gateway's addresses as an administrator sets them.
func TestGatewayMode(t *testing.T) {
	w := newRouted(t)
	r := "/v2.0/routers/" + w.router
	put := func(who, info string) any {
		t.Helper()
		return dig(w.do(who, "PUT", r, `{"router":{"external_gateway_info":`+info+`}}`, 200), "router", "external_gateway_info")
	}
	if g := put("admin", `{"network_id":"`+w.ext+`","enable_snat":false}`); dig(g, "enable_snat") != false || dig(g, "external_fixed_ips", 0, "ip_address") != "172.16.1.3" {
		t.Errorf("without SNAT: %v", g)
	}
	if g := put("admin", `{"network_id":"`+w.ext+`","external_fixed_ips":[{"ip_address":"172.16.1.3"},{"subnet_id":"`+w.extSub+`"}]}`); dig(g, "enable_snat") != true ||
		dig(g, "external_fixed_ips", 0, "ip_address") != "172.16.1.3" || dig(g, "external_fixed_ips", 1, "ip_address") != "172.16.1.4" {
		t.Errorf("with two addresses: %v", g)
	}
	before := w.names("admin", "ports?device_owner=network:router_gateway", "id")
	put("demo", `{"network_id":"`+w.ext+`"}`)
	if after := w.names("admin", "ports?device_owner=network:router_gateway", "id"); !slices.Equal(before, after) {
		t.Errorf("the same gateway again made another port: %v, %v", before, after)
	}
	// To another external network: other port, other address, the old one free again.
	second := w.network("admin", `"router:external":true`)
	w.subnet("admin", second, "172.20.0.0/24", `,"enable_dhcp":false`)
	if g := put("demo", `{"network_id":"`+second+`"}`); dig(g, "external_fixed_ips", 0, "ip_address") != "172.20.0.2" {
		t.Errorf("moved: %v", g)
	}
	if _, ok := tables.Gateways.Get(w.st.Snapshot(), model.RouterID(w.router)); ok {
		t.Error("placed for a network that no node reaches")
	}
	if got := w.names("admin", "ports?device_owner=network:router_gateway", "status"); !slices.Equal(got, []string{"DOWN"}) {
		t.Errorf("status of a gateway that is nowhere: %v", got)
	}
	m := w.do("admin", "POST", "/v2.0/routers", `{"router":{"external_gateway_info":{"network_id":"`+w.ext+`"}}}`, 201)
	if dig(m, "router", "external_gateway_info", "external_fixed_ips", 0, "ip_address") != "172.16.1.3" {
		t.Errorf("the address that was left: %v", m)
	}
	consistent(t, w.world)
}

// TestPlaceGateways follows gateways as nodes come, go and fail.
func TestPlaceGateways(t *testing.T) {
	w := newRouted(t)
	at := func() model.NodeID {
		g, _ := tables.Gateways.Get(w.st.Snapshot(), model.RouterID(w.router))
		return g.Node
	}
	place := func(down ...model.NodeID) {
		t.Helper()
		set := map[model.NodeID]bool{}
		for _, n := range down {
			set[n] = true
		}
		if err := w.api.PlaceGateways(context.Background(), set); err != nil {
			t.Fatal(err)
		}
	}
	if at() != "controller" {
		t.Fatalf("on %q", at())
	}
	w.node("second", "", map[string]string{"physnet1": "br-ex"})
	before := w.st.Snapshot().Revision()
	place()
	if at() != "controller" || w.st.Snapshot().Revision() != before {
		t.Errorf("a node came, and it is on %q", at())
	}
	place("controller")
	if at() != "second" {
		t.Errorf("its node is down, and it is on %q", at())
	}
	// One that is set up meanwhile keeps away from the node that is down.
	for i := range 8 {
		id := w.make("demo", "routers", "router", `"external_gateway_info":{"network_id":"`+w.ext+`"}`)
		if g, _ := tables.Gateways.Get(w.st.Snapshot(), model.RouterID(id)); g.Node != "second" {
			t.Errorf("router %d on %q", i, g.Node)
		}
	}
	place()
	w.forget("second")
	place()
	if at() != "controller" {
		t.Errorf("its node was forgotten, and it is on %q", at())
	}
	w.forget("controller")
	fip := w.make("demo", "floatingips", "floatingip", `"floating_network_id":"`+w.ext+`","port_id":"`+w.port+`"`)
	if m := w.do("demo", "GET", "/v2.0/floatingips/"+fip, "", 200); dig(m, "floatingip", "status") != "DOWN" {
		t.Error("ACTIVE on a node that is not known")
	}
	place()
	if at() != "" || tables.Gateways.Len(w.st.Snapshot()) != 0 {
		t.Errorf("nobody is left, and it is on %q", at())
	}
	w.node("third", "", map[string]string{"physnet1": "br-ex"})
	place()
	if at() != "third" || tables.Gateways.Len(w.st.Snapshot()) != 9 {
		t.Errorf("somebody came, and it is on %q", at())
	}
	if m := w.do("demo", "GET", "/v2.0/floatingips/"+fip, "", 200); dig(m, "floatingip", "status") != "DOWN" {
		t.Errorf("ACTIVE before its node has confirmed it")
	}
	w.setStatus(model.PortID(fip), model.StatusActive)
	if m := w.do("demo", "GET", "/v2.0/floatingips/"+fip, "", 200); dig(m, "floatingip", "status") != "ACTIVE" {
		t.Errorf("status %v", dig(m, "floatingip", "status"))
	}
	consistent(t, w.world)
}

func (w *world) forget(id model.NodeID) {
	w.t.Helper()
	if _, err := w.st.Commit(context.Background(), store.Origin{}, func(tx *store.Txn) error { tables.Nodes.Delete(tx, id); return nil }); err != nil {
		w.t.Fatal(err)
	}
}

// TestExternalNetworkWithoutProvider: an external network of which nobody said how it travels is flat on the one physical
// network that nodes map, as long as that is free and there is one only.
func TestExternalNetworkWithoutProvider(t *testing.T) {
	w := newWorld(t, withRouters)
	kind := func(name string) string {
		id := w.network("admin", fmt.Sprintf(`"name":%q,"router:external":true`, name))
		n := w.do("admin", "GET", "/v2.0/networks/"+id, "", 200)
		return fmt.Sprint(dig(n, "network", "provider:network_type"), " ", dig(n, "network", "provider:physical_network"))
	}
	if got := kind("none"); got != "vxlan <nil>" {
		t.Errorf("no node maps anything: %s", got)
	}
	w.node("controller", "", map[string]string{"external": "br-ex"})
	w.node("second", "", map[string]string{"external": "br-ex"})
	if got := kind("first"); got != "flat external" {
		t.Errorf("two nodes map one physical network: %s", got)
	}
	if got := kind("second"); got != "vxlan <nil>" {
		t.Errorf("it is taken: %s", got)
	}
	w.node("third", "", map[string]string{"physnet2": "br-two"})
	if got := kind("third"); got != "vxlan <nil>" {
		t.Errorf("which of two is not for us to say: %s", got)
	}
}
