// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"fmt"
	"strings"
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

const extBody = `{"network":{"id":"` + extNet + `","name":"ext","tenant_id":"` + tenant + `","router:external":true,"provider:network_type":"flat","provider:physical_network":"physnet1","mtu":1500}}`

// portOn is a port of one of the network's own services.
func portOn(id, net, sub, mac, ip, owner, device string) string {
	return fmt.Sprintf(`{"port":{"id":%q,"network_id":%q,"tenant_id":%q,"project_id":"","mac_address":%q,"device_owner":%q,"device_id":%q,"admin_state_up":true,"port_security_enabled":false,
"fixed_ips":[{"subnet_id":%q,"ip_address":%q}],"binding:profile":"{}","binding:vif_type":"unbound"}}`, id, net, tenant, mac, owner, device, sub, ip)
}

func routerBody(gw, more string) string {
	info := "null"
	if gw != "" {
		info, gw = `{"network_id":"`+extNet+`","enable_snat":true,"external_fixed_ips":[{"subnet_id":"`+subExt+`","ip_address":"172.16.1.3"}]}`, `"`+gw+`"`
	} else {
		gw = "null"
	}
	return `{"router":{"id":"` + routerA + `","name":"r","tenant_id":"` + tenant + `","admin_state_up":true,"status":"ACTIVE","distributed":false,"ha":false,"ha_vr_id":0,"gw_port_id":` + gw +
		`,"external_gateway_info":` + info + more + `}}`
}

func floatBody(port, fixed, router, status string) string {
	quote := func(s string) string {
		if s == "" {
			return "null"
		}
		return `"` + s + `"`
	}
	return `{"floatingip":{"id":"` + floatA + `","tenant_id":"` + tenant + `","floating_network_id":"` + extNet + `","floating_ip_address":"172.16.1.4","port_id":` + quote(port) +
		`,"fixed_ip_address":` + quote(fixed) + `,"router_id":` + quote(router) + `,"status":"` + status + `"}}`
}

// routed is a cloud with an instance on compute, an external network, and a router's interface.
func routed(t testing.TB) *world {
	w := cloud(t)
	w.do("POST", "/ports", portBody(portA, macA, "10.0.0.5", bound), 201)
	w.plug("compute", portA)
	w.do("POST", "/networks", extBody, 201)
	w.do("POST", "/subnets", subBody(subExt, extNet, "172.16.1.0/24", `,"gateway_ip":"172.16.1.1"`), 201)
	return w
}

func (w *world) router() model.Router {
	r, _ := tables.Routers.Get(w.st.Snapshot(), routerA)
	return r
}

// TestRouter: checks R1 to R5.
func TestRouter(t *testing.T) {
	w := routed(t)
	w.do("POST", "/routers", routerBody(gwPort, ""), 201)
	if r := w.show("routers", routerA); r["gw_port_id"] != gwPort || r["status"] != "ACTIVE" || r["distributed"] != false || fmt.Sprint(r["external_gateway_info"]) == "<nil>" {
		t.Errorf("R1: %v", r)
	}
	placed := func() bool { _, ok := tables.Gateways.Get(w.st.Snapshot(), routerA); return ok }
	if placed() {
		t.Error("R1: a gateway without a port has a place")
	}
	w.do("POST", "/ports", portOn(gwPort, extNet, subExt, "fa:16:3e:00:01:01", "172.16.1.3", "network:router_gateway", routerA), 201)
	if !placed() {
		t.Error("R1: the gateway has no place though its port is there")
	}
	// Until the port was there the client's word was shown; from now on it is what the port has.
	w.do("PUT", "/ports/"+gwPort, portOn(gwPort, extNet, subExt, "fa:16:3e:00:01:01", "172.16.1.9", "network:router_gateway", routerA), 200)
	if info := fmt.Sprint(w.show("routers", routerA)["external_gateway_info"]); !strings.Contains(info, "172.16.1.9") || strings.Contains(info, "172.16.1.3") {
		t.Errorf("R1: %s", info)
	}
	w.do("PUT", "/ports/"+gwPort, portOn(gwPort, extNet, subExt, "fa:16:3e:00:01:01", "172.16.1.3", "network:router_gateway", routerA), 200)
	// R2: a port is all that it needs.
	w.wantFlows("R2", false, "compute", "table=60", "10.0.0.")
	w.do("POST", "/ports", portOn(ifPort, netA, subA, "fa:16:3e:00:01:02", "10.0.0.1", "network:router_interface", routerA), 201)
	if w.port(ifPort).Router != routerA || w.port(ifPort).PortSecurity {
		t.Errorf("R2: %+v", w.port(ifPort))
	}
	w.wantFlows("R2", true, "compute", "dl_dst=fa:16:3e:00:01:02")
	w.wantFlows("R1", true, "controller", "172.16.1.3") // translated there
	echo := `{"subnet_id":"` + subA + `","port_id":"` + ifPort + `","id":"` + routerA + `","tenant_id":"` + tenant + `"}`
	rev := w.st.Snapshot().Revision()
	if out := w.do("PUT", "/routers/"+routerA+"/add_router_interface", echo, 200); out.body["port_id"] != ifPort || w.st.Snapshot().Revision() != rev {
		t.Errorf("R3: %s", out.text)
	}
	w.do("PUT", "/routers/"+routerA+"/remove_router_interface", echo, 200)
	w.do("PUT", "/routers/"+routerA+"/remove_router_interface", "x", 400)
	// R5: routes come and go.
	put := func(gw, more string) string { return replaced(routerBody(gw, more), `"id":"`+routerA+`",`, "") }
	w.do("PUT", "/routers/"+routerA, put(gwPort, `,"routes":[{"destination":"192.168.9.0/24","nexthop":"10.0.0.5"}]`), 200)
	if r := w.router(); len(r.Routes) != 1 || r.Project != tenant {
		t.Errorf("R5: %+v", r)
	}
	w.wantFlows("R5", true, "compute", "192.168.9.0/24")
	w.do("PUT", "/routers/"+routerA, put(gwPort, `,"routes":[]`), 200)
	w.wantFlows("R5", false, "compute", "192.168.9.0/24")
	// R4: the port goes first.
	w.do("DELETE", "/ports/"+gwPort, "", 204)
	if placed() {
		t.Error("R4: the gateway has its place without its port")
	}
	w.wantFlows("R4", false, "controller", "172.16.1.3")
	w.do("PUT", "/routers/"+routerA, put("", ""), 200)
	if r := w.show("routers", routerA); r["gw_port_id"] != nil || r["external_gateway_info"] != nil {
		t.Errorf("R4: %v", r)
	}
	for _, bad := range []string{`"routes":[{"destination":"x","nexthop":"10.0.0.1"}]`, `"external_gateway_info":[]`, `"external_gateway_info":{"enable_snat":"x"}`, `"gw_port_id":"x"`} {
		w.do("PUT", "/routers/"+routerA, `{"router":{`+bad+`}}`, 400)
	}
	w.do("DELETE", "/routers/"+routerA, "", 204)
	w.do("DELETE", "/ports/"+ifPort, "", 204)
	w.wantFlows("R4", false, "compute", "dl_dst=fa:16:3e:00:01:02")
}

// TestGatewayLate: a gateway is placed when its external network comes last, and when its physical network changes.
func TestGatewayLate(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Down = func() alloc.Down { return alloc.Down{"compute": true} } })
	w.nodes()
	w.do("POST", "/ports", portOn(gwPort, extNet, subExt, "fa:16:3e:00:01:01", "172.16.1.3", "network:router_gateway", routerA), 201)
	w.do("POST", "/routers", routerBody(gwPort, ""), 201)
	w.do("POST", "/networks", extBody, 201)
	if g, _ := tables.Gateways.Get(w.st.Snapshot(), routerA); g.Node != "controller" {
		t.Errorf("placed on %q", g.Node)
	}
	w.do("PUT", "/networks/"+extNet, replaced(extBody, "physnet1", "elsewhere"), 200)
	if g, ok := tables.Gateways.Get(w.st.Snapshot(), routerA); ok {
		t.Errorf("on a wire that nobody has it is placed on %q", g.Node)
	}
	w.do("PUT", "/networks/"+extNet, extBody, 200)
	w.do("DELETE", "/networks/"+extNet, "", 204)
	if g, ok := tables.Gateways.Get(w.st.Snapshot(), routerA); ok {
		t.Errorf("without its network it is placed on %q", g.Node)
	}
}

// TestFloatingIP: checks F1 to F4.
func TestFloatingIP(t *testing.T) {
	w := routed(t)
	w.do("POST", "/ports", portOn(gwPort, extNet, subExt, "fa:16:3e:00:01:01", "172.16.1.3", "network:router_gateway", routerA), 201)
	w.do("POST", "/routers", routerBody(gwPort, ""), 201)
	w.do("POST", "/ports", portOn(ifPort, netA, subA, "fa:16:3e:00:01:02", "10.0.0.1", "network:router_interface", routerA), 201)
	pending := portOn(fipPort, extNet, subExt, "fa:16:3e:00:01:04", "172.16.1.4", "network:floatingip", "PENDING")
	w.do("POST", "/ports", pending, 201)
	w.do("PUT", "/ports/"+fipPort, replaced(pending, "PENDING", floatA), 200)
	w.do("POST", "/floatingips", floatBody("", "", "", "DOWN"), 201)
	fip := func() model.FloatingIP { f, _ := tables.FloatingIPs.Get(w.st.Snapshot(), floatA); return f }
	if f := w.show("floatingips", floatA); f["status"] != "DOWN" || f["port_id"] != nil || fip().FloatPort != fipPort {
		t.Errorf("F1: %v", f)
	}
	w.wantFlows("F1", false, "controller", "172.16.1.4", "10.0.0.5")
	w.do("PUT", "/floatingips/"+floatA, floatBody(portA, "10.0.0.5", routerA, "ACTIVE"), 200)
	w.wantFlows("F2", true, "controller", "nw_dst=172.16.1.4", "nat(dst=10.0.0.5)")
	w.wantFlows("F2", true, "controller", "nw_src=10.0.0.5", "nat(src=172.16.1.4)")
	observe := func() {
		w.commit(func(tx *store.Txn) {
			tables.Statuses.Put(tx, floatA, model.PortStatus{Port: floatA, Status: model.StatusActive, Node: "controller"})
		})
	}
	if observe(); w.show("floatingips", floatA)["status"] != "ACTIVE" {
		t.Error("F2: what its node has reported is not told")
	}
	// F3: the association is gone from the body.
	w.do("PUT", "/floatingips/"+floatA, `{"floatingip":{"id":"`+floatA+`","tenant_id":"`+tenant+`","floating_network_id":"`+extNet+`","floating_ip_address":"172.16.1.4","status":"DOWN"}}`, 200)
	if f := fip(); f.Port != "" || f.Fixed.IsValid() || f.Router != "" {
		t.Errorf("F3: %+v", f)
	}
	w.wantFlows("F3", false, "controller", "172.16.1.4", "10.0.0.5")
	w.do("PUT", "/floatingips/"+floatA, floatBody(portA, "10.0.0.5", routerA, "ACTIVE"), 200)
	if s := w.show("floatingips", floatA)["status"]; s != "DOWN" {
		t.Errorf("F2: no node has confirmed the new association, and it is %v", s)
	}
	w.do("DELETE", "/ports/"+fipPort, "", 204)
	if fip().FloatPort != "" {
		t.Errorf("F4: the floating IP has a port that is gone: %s", fip().FloatPort)
	}
	w.do("DELETE", "/floatingips/"+floatA, "", 204)
	w.wantFlows("F4", false, "controller", "172.16.1.4")
	// The other way round: the floating IP first, then the port, first without its device.
	w.do("POST", "/floatingips", floatBody(portA, "10.0.0.5", routerA, "DOWN"), 201)
	w.do("POST", "/ports", pending, 201)
	w.do("PUT", "/ports/"+fipPort, replaced(pending, "PENDING", floatA), 200)
	if fip().FloatPort != fipPort {
		t.Error("the port that came later is not found")
	}
	w.wantFlows("F2", true, "controller", "172.16.1.4", "10.0.0.5")
	w.do("POST", "/floatingips", `{"floatingip":{"id":"`+unknown+`"}}`, 400)
}
