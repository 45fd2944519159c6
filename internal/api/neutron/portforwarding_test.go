// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"strings"
	"testing"

	"nagare/internal/model"
	"nagare/internal/tables"
)

// forwardings is a world with a floating IP of demo's, and its path.
func forwardings(t *testing.T) (w *routed, fip, path string) {
	w = newRouted(t)
	fip = w.make("demo", "floatingips", "floatingip", `"floating_network_id":"`+w.ext+`"`)
	return w, fip, "/v2.0/floatingips/" + fip + "/port_forwardings"
}

// forward is the body of a forwarding to the address of the world's port.
func (w *routed) forward(more string) string {
	return `{"port_forwarding":{"internal_port_id":"` + w.port + `","internal_ip_address":"` + w.addr(w.port) + `",` + more + `}}`
}

func (w *world) addr(port string) string {
	p, _ := tables.Ports.Get(w.st.Snapshot(), model.PortID(port))
	return p.FixedIPs[0].Addr.String()
}

func TestPortForwarding(t *testing.T) {
	w, fip, path := forwardings(t)
	m := w.do("demo", "POST", path, w.forward(`"protocol":"TCP","external_port":2222,"internal_port":22,"description":"ssh"`), 201)
	id := dig(m, "port_forwarding", "id").(string)
	want := map[string]any{"id": id, "protocol": "tcp", "internal_port_id": w.port, "internal_ip_address": w.addr(w.port), "internal_port": 22.0, "internal_port_range": "22:22",
		"external_port": 2222.0, "external_port_range": "2222:2222", "description": "ssh"}
	if got := m["port_forwarding"]; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("forwarding\n got %v\nwant %v", got, want)
	}
	float := func() any { return w.do("demo", "GET", "/v2.0/floatingips/"+fip, "", 200)["floatingip"] }
	if f := float(); dig(f, "router_id") != w.router || dig(f, "port_id") != nil || dig(f, "status") != "DOWN" || dig(f, "revision_number") != 1.0 ||
		fmt.Sprint(dig(f, "port_forwardings")) != fmt.Sprint([]any{map[string]any{"id": id, "protocol": "tcp", "internal_port_id": w.port, "internal_ip_address": w.addr(w.port),
			"internal_port": 22.0, "external_port": 2222.0}}) {
		t.Errorf("floating IP %v", f)
	}
	w.setStatus(model.PortID(fip), model.StatusActive)
	if f := float(); dig(f, "status") != "ACTIVE" {
		t.Errorf("confirmed, and %v", f)
	}
	// Ranges: as many on both sides, or many to one.
	m = w.do("demo", "POST", path, w.forward(`"protocol":"udp","external_port_range":"5000:5009","internal_port_range":"6000:6009"`), 201)
	if f := m["port_forwarding"]; dig(f, "external_port") != nil || dig(f, "internal_port") != nil || dig(f, "external_port_range") != "5000:5009" || dig(f, "internal_port_range") != "6000:6009" {
		t.Errorf("range %v", f)
	}
	many := dig(w.do("demo", "POST", path, w.forward(`"protocol":"udp","external_port_range":"7000:7009","internal_port":53`), 201), "port_forwarding", "id").(string)
	if got := w.names("demo", path[len("/v2.0/"):]+"?protocol=udp&external_port_range=7000:7009", "id"); len(got) != 1 || got[0] != many {
		t.Errorf("by range: %v", got)
	}
	before, _ := tables.PortForwardings.Get(w.st.Snapshot(), model.PortForwardingID(id))
	m = w.do("demo", "PUT", path+"/"+id, `{"port_forwarding":{"description":"shell"}}`, 200)
	if f, _ := tables.PortForwardings.Get(w.st.Snapshot(), before.ID); dig(m, "port_forwarding", "description") != "shell" || f.Key != before.Key {
		t.Errorf("described %v, key %d was %d", m, f.Key, before.Key)
	}
	m = w.do("demo", "PUT", path+"/"+id, `{"port_forwarding":{"external_port":2223}}`, 200)
	if f, _ := tables.PortForwardings.Get(w.st.Snapshot(), before.ID); dig(m, "port_forwarding", "external_port_range") != "2223:2223" || f.Key == before.Key {
		t.Errorf("changed %v, key %d was %d", m, f.Key, before.Key)
	}
	w.do("demo", "PUT", path+"/"+id, `{"port_forwarding":{"external_port":2222}}`, 200)

	other := w.world.port("demo", w.net, "")
	island := w.network("demo", `"name":"island"`)
	w.subnet("demo", island, "10.9.0.0/24", "")
	far := w.world.port("demo", island, "")
	second := w.make("demo", "floatingips", "floatingip", `"floating_network_id":"`+w.ext+`"`)
	bound := w.world.port("demo", w.net, "")
	w.make("demo", "floatingips", "floatingip", `"floating_network_id":"`+w.ext+`","port_id":"`+bound+`"`)
	to := func(port, more string) string {
		return `{"port_forwarding":{"internal_port_id":"` + port + `","internal_ip_address":"` + w.addr(port) + `",` + more + `}}`
	}
	for _, c := range []struct {
		who, method, path, body string
		code                    int
		kind, words             string
	}{
		{"demo", "POST", path, to(other, `"protocol":"tcp","external_port":2222,"internal_port":22`), 400, "BadRequest",
			"Bad port_forwarding request: There is a port collision with the external_port_range. The following ranges collide: 2222:2222 and 2222:2222."},
		{"demo", "POST", path, to(other, `"protocol":"udp","external_port_range":"4990:5000","internal_port":22`), 400, "BadRequest", "external_port_range. The following ranges collide: 5000:5009 and 4990:5000"},
		{"demo", "POST", "/v2.0/floatingips/" + second + "/port_forwardings", w.forward(`"protocol":"tcp","external_port":1,"internal_port":22`), 400, "BadRequest", "internal_port_range"},
		{"demo", "POST", path, w.forward(`"protocol":"udp","external_port_range":"1:3","internal_port_range":"1:2"`), 400, "BadRequest", "must be N-N or 1-N"},
		{"demo", "POST", path, w.forward(`"protocol":"udp","external_port":1,"internal_port_range":"1:2"`), 400, "BadRequest", "must be N-N or 1-N"},
		{"demo", "POST", path, w.forward(`"protocol":"udp","external_port":1`), 400, "BadRequest", "internal_port"},
		{"demo", "POST", path, w.forward(`"protocol":"udp","external_port":1,"external_port_range":"1:2","internal_port":1`), 400, "BadRequest", "do not agree"},
		{"demo", "POST", path, w.forward(`"protocol":"sctp","external_port":1,"internal_port":1`), 400, "HTTPBadRequest", "protocol"},
		{"demo", "POST", path, w.forward(`"protocol":"tcp","external_port":0,"internal_port":1`), 400, "HTTPBadRequest", "too small"},
		{"demo", "POST", path, w.forward(`"protocol":"tcp","external_port":65536,"internal_port":1`), 400, "HTTPBadRequest", "too large"},
		{"demo", "POST", path, w.forward(`"protocol":"tcp","external_port_range":"9:8","internal_port":1`), 400, "HTTPBadRequest", "First port in a port range must be lower than the second port"},
		{"demo", "POST", path, `{"port_forwarding":{"internal_port_id":"` + w.port + `","protocol":"tcp","external_port":1,"internal_port":1}}`, 400, "HTTPBadRequest", "internal_ip_address"},
		{"demo", "POST", path, strings.Replace(w.forward(`"protocol":"tcp","external_port":1,"internal_port":1`), w.addr(w.port), "10.11.12.99", 1), 400, "BadRequest", "is not suitable for internal neutron port"},
		{"demo", "POST", path, to(far, `"protocol":"tcp","external_port":1,"internal_port":1`), 400, "BadRequest", "is not reachable from subnet"},
		{"demo", "POST", path, to(bound, `"protocol":"tcp","external_port":1,"internal_port":1`), 409, "PortHasBindingFloatingIP", "already has a binding floating IP"},
		{"demo", "POST", path, strings.ReplaceAll(w.forward(`"protocol":"tcp","external_port":1,"internal_port":1`), w.port, w.net), 404, "PortNotFound", ""},
		{"other", "POST", path, w.forward(`"protocol":"tcp","external_port":1,"internal_port":1`), 404, "FloatingIPNotFound", ""},
		{"reader", "POST", path, w.forward(`"protocol":"tcp","external_port":1,"internal_port":1`), 403, "PolicyNotAuthorized", "create_floatingip_port_forwarding"},
		{"demo", "GET", "/v2.0/floatingips/" + second + "/port_forwardings/" + id, "", 404, "PortForwardingNotFound", ""},
		{"demo", "PUT", path + "/" + many, `{"port_forwarding":{"internal_port_range":"53:54"}}`, 400, "BadRequest", "N-N or 1-N"},
		{"demo", "PUT", path + "/" + many, `{"port_forwarding":{"external_port_range":"5009:5010"}}`, 400, "BadRequest", "collide"},
		{"demo", "PUT", path + "/" + many, `{"port_forwarding":{"internal_ip_address":"10.11.12.99"}}`, 400, "BadRequest", "not suitable"},
		{"demo", "PUT", path + "/" + many, `{"port_forwarding":{"internal_port_id":"` + bound + `"}}`, 409, "PortHasBindingFloatingIP", ""},
		{"demo", "PUT", "/v2.0/floatingips/" + fip, `{"floatingip":{"port_id":"` + other + `"}}`, 409, "FipInUseByPortForwarding", "Floating IP " + fip + " in use by Port Forwarding resources."},
		{"demo", "PUT", "/v2.0/floatingips/" + second, `{"floatingip":{"port_id":"` + w.port + `"}}`, 400, "PortHasPortForwarding", ""},
		{"demo", "DELETE", "/v2.0/floatingips/" + fip, "", 409, "FipInUseByPortForwarding", ""},
		{"demo", "PUT", "/v2.0/routers/" + w.router, `{"router":{"external_gateway_info":{}}}`, 409, "RouterExternalGatewayInUseByFloatingIp", ""},
		{"demo", "PUT", "/v2.0/routers/" + w.router + "/remove_router_interface", `{"subnet_id":"` + w.sub + `"}`, 409, "RouterInterfaceInUseByFloatingIP", ""},
		{"admin", "DELETE", "/v2.0/networks/" + w.ext, "", 409, "FipInUseByPortForwarding", ""},
	} {
		w.refused(c.who, c.method, c.path, c.body, c.code, c.kind, c.words)
	}
	w.do("demo", "PUT", "/v2.0/floatingips/"+fip, `{"floatingip":{"port_id":null}}`, 200) // of no port, as it is
	if f := float(); dig(f, "router_id") != w.router || len(dig(f, "port_forwardings").([]any)) != 3 {
		t.Errorf("floating IP %v", f)
	}
	// An associated one forwards nothing.
	w.do("demo", "PUT", "/v2.0/floatingips/"+second, `{"floatingip":{"port_id":"`+other+`"}}`, 200)
	w.refused("demo", "POST", "/v2.0/floatingips/"+second+"/port_forwardings", w.forward(`"protocol":"tcp","external_port":1,"internal_port":1`), 409, "FloatingIPPortAlreadyAssociated", "")

	for _, f := range w.names("demo", path[len("/v2.0/"):], "id") {
		w.do("demo", "DELETE", path+"/"+f, "", 204)
	}
	if f := float(); dig(f, "router_id") != nil || dig(f, "status") != "DOWN" || len(dig(f, "port_forwardings").([]any)) != 0 {
		t.Errorf("without forwardings it is %v", f)
	}
	w.do("demo", "DELETE", "/v2.0/floatingips/"+fip, "", 204)
}

// refused wants an error, and words in it.
func (w *world) refused(who, method, path, body string, code int, kind, words string) {
	w.t.Helper()
	m := w.do(who, method, path, body, code)
	if got, text := dig(m, "NeutronError", "type"), fmt.Sprint(dig(m, "NeutronError", "message")); got != kind || !strings.Contains(text, words) {
		w.t.Errorf("%s %s %s is refused as %v: %s; want %s: %s", method, path, body, got, text, kind, words)
	}
}

// TestPortForwardingsEnd: what is forwarded to an address goes with the port, and with the address, and the floating IP leaves the
// router with the last.
func TestPortForwardingsEnd(t *testing.T) {
	w, fip, path := forwardings(t)
	router := func() any {
		return dig(w.do("demo", "GET", "/v2.0/floatingips/"+fip, "", 200), "floatingip", "router_id")
	}
	second := w.world.port("demo", w.net, "")
	w.do("demo", "POST", path, w.forward(`"protocol":"tcp","external_port":1,"internal_port":1`), 201)
	w.do("demo", "POST", path, strings.ReplaceAll(strings.ReplaceAll(w.forward(`"protocol":"tcp","external_port":2,"internal_port":2`), w.addr(w.port), w.addr(second)), w.port, second), 201)
	w.do("demo", "PUT", "/v2.0/ports/"+w.port, `{"port":{"fixed_ips":[{"ip_address":"10.11.12.200"}]}}`, 200)
	if got := w.names("demo", path[len("/v2.0/"):], "internal_port_id"); len(got) != 1 || got[0] != second || router() != w.router {
		t.Errorf("after the address went: %v, router %v", got, router())
	}
	w.do("demo", "DELETE", "/v2.0/ports/"+second, "", 204)
	if got := w.names("demo", path[len("/v2.0/"):], "id"); len(got) != 0 || router() != nil {
		t.Errorf("after the port went: %v, router %v", got, router())
	}
}

// TestPortForwardingsAreBounded: ranges that move ports cost the data plane each of them.
func TestPortForwardingsAreBounded(t *testing.T) {
	w, _, path := forwardings(t)
	w.do("demo", "POST", path, w.forward(`"protocol":"tcp","external_port_range":"1:60000","internal_port_range":"1:60000"`), 201)
	w.do("demo", "POST", path, w.forward(`"protocol":"udp","external_port_range":"1:60000","internal_port":60001`), 201)
	w.refused("demo", "POST", path, w.forward(`"protocol":"udp","external_port_range":"60001:64096","internal_port_range":"1:4096"`), 409, "OverQuota", "4096")
}

// TestPortForwardingGuards: what each check alone refuses, and what it must let pass.
func TestPortForwardingGuards(t *testing.T) {
	w, fip, path := forwardings(t)
	other := w.world.port("demo", w.net, "")
	body := func(port, addr, more string) string {
		return `{"port_forwarding":{"internal_port_id":"` + port + `","internal_ip_address":"` + addr + `",` + more + `}}`
	}
	make := func(body string) string {
		t.Helper()
		return dig(w.do("demo", "POST", path, body, 201), "port_forwarding", "id").(string)
	}
	first := make(w.forward(`"protocol":"tcp","external_port":2222,"internal_port":22`))
	make(w.forward(`"protocol":"udp","external_port":2222,"internal_port":22`)) // the same ports of another protocol
	second := make(w.forward(`"protocol":"tcp","external_port":2223,"internal_port":23`))
	// Twins are told as such, before they collide.
	w.refused("demo", "PUT", path+"/"+second, `{"port_forwarding":{"external_port":2222}}`, 400, "BadRequest", "Another port forwarding entry with the same attributes already exists, conflicting values are {'floating_ip_address': ")
	w.refused("demo", "PUT", path+"/"+second, `{"port_forwarding":{"internal_port":22}}`, 400, "BadRequest", "already exists, conflicting values are {'internal_port_id': '"+w.port+"'")
	w.do("demo", "PUT", path+"/"+second, `{"port_forwarding":{"external_port_range":"2223:2224"}}`, 200) // may overlap itself
	w.do("demo", "PUT", path+"/"+second, `{"port_forwarding":{"external_port":2223,"internal_port":24}}`, 200)
	make(w.forward(`"protocol":"udp","external_port":2225,"internal_port":25`))
	w.do("demo", "PUT", path+"/"+second, `{"port_forwarding":{"external_port":2225,"internal_port":25}}`, 200) // as another protocol's
	// Another port is reached by its first address, if none is named.
	m := w.do("demo", "PUT", path+"/"+second, `{"port_forwarding":{"internal_port_id":"`+other+`"}}`, 200)
	if got := dig(m, "port_forwarding", "internal_ip_address"); got != w.addr(other) {
		t.Errorf("forwarded to %v of %s, which has %s", got, other, w.addr(other))
	}
	// The same ports of another address of a port are others.
	two := dig(w.do("demo", "POST", "/v2.0/ports", `{"port":{"network_id":"`+w.net+`","fixed_ips":[{"ip_address":"10.11.12.150"},{"ip_address":"10.11.12.151"}]}}`, 201), "port", "id").(string)
	kept := make(body(two, "10.11.12.150", `"protocol":"tcp","external_port":3000,"internal_port":22`))
	lost := make(body(two, "10.11.12.151", `"protocol":"tcp","external_port":3001,"internal_port":22`))
	w.refused("demo", "POST", path, body(two, "10.11.12.151", `"protocol":"tcp","external_port":3002,"internal_port":22`), 400, "BadRequest", "internal_port_range")
	// With an address of a port goes what is forwarded to it, and nothing else.
	w.do("demo", "PUT", "/v2.0/ports/"+two, `{"port":{"fixed_ips":[{"ip_address":"10.11.12.150"}]}}`, 200)
	w.do("demo", "GET", path+"/"+kept, "", 200)
	w.do("demo", "GET", path+"/"+lost, "", 404)

	island := w.network("demo", `"name":"island"`)
	w.subnet("demo", island, "10.9.0.0/24", "")
	far := w.world.port("demo", island, "")
	w.refused("demo", "PUT", path+"/"+second, `{"port_forwarding":{"internal_port_id":"`+far+`"}}`, 400, "BadRequest", "is not reachable from subnet")
	w.refused("demo", "PUT", path+"/"+first, `{"port_forwarding":{"internal_ip_address":"`+w.addr(far)+`"}}`, 400, "BadRequest", "is not suitable")
	// Nor is a port with the very same address on a network that the router is not on.
	equal := w.network("demo", `"name":"equal"`)
	w.subnet("demo", equal, "10.11.12.0/24", "")
	double := dig(w.do("demo", "POST", "/v2.0/ports", `{"port":{"network_id":"`+equal+`","fixed_ips":[{"ip_address":"`+w.addr(w.port)+`"}]}}`, 201), "port", "id").(string)
	w.refused("demo", "PUT", path+"/"+first, `{"port_forwarding":{"internal_port_id":"`+double+`"}}`, 400, "BadRequest", "is not reachable from subnet")
	// One router leads to all that a floating IP forwards.
	net2 := w.network("demo", `"name":"net2"`)
	sub2 := w.subnet("demo", net2, "10.8.0.0/24", "")
	r2 := w.make("demo", "routers", "router", `"external_gateway_info":{"network_id":"`+w.ext+`"}`)
	w.attach("demo", r2, "subnet_id", sub2)
	beyond := w.world.port("demo", net2, "")
	w.refused("demo", "POST", path, body(beyond, w.addr(beyond), `"protocol":"tcp","external_port":4000,"internal_port":22`), 400, "BadRequest", "The Floating IP "+fip+" had been set on router "+w.router)
	six := w.network("demo", `"name":"six"`)
	w.subnet("demo", six, "fd00::/64", "")
	only6 := w.world.port("demo", six, "")
	w.refused("demo", "POST", path, body(only6, "10.0.0.1", `"protocol":"tcp","external_port":4000,"internal_port":22`), 400, "BadRequest", "must allocate an IPv4 address at least")
	for text, words := range map[string]string{"1:2:3": "two integers separated by a colon", ":5": "two integers separated by a colon", "0:5": "the port must be in the range [1, 65535]", "1:65536": "Invalid port: 65536"} {
		w.refused("demo", "POST", path, w.forward(`"protocol":"tcp","external_port_range":"`+text+`","internal_port":9`), 400, "HTTPBadRequest", words)
	}
}
