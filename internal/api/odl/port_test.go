// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

const macA, macB = "fa:16:3e:00:00:0a", "fa:16:3e:00:00:0b"

// cloud is a network with a subnet and a group that lets everything in, and the nodes.
func cloud(t testing.TB, change ...func(*Config)) *world {
	w := newWorld(t, change...)
	w.nodes()
	w.do("POST", "/networks", netBody(netA, "1077", ""), 201)
	w.do("POST", "/subnets", subBody(subA, netA, "10.0.0.0/24", ""), 201)
	w.do("POST", "/security-groups", groupBody(groupA, rule(ruleN(1), groupA, "")), 201)
	return w
}

func (w *world) port(id string) model.Port {
	p, _ := tables.Ports.Get(w.st.Snapshot(), model.PortID(id))
	return p
}

// TestPort: checks P1, P2, P4 to P9, P11.
func TestPort(t *testing.T) {
	w := cloud(t)
	before := len(flows(t, w.st, "standard", "compute"))
	w.do("POST", "/ports", portBody(portA, macA, "10.0.0.5", `,"device_owner":"compute:nova","device_id":"vm","binding:host_id":"","binding:vif_type":"unbound","binding:vif_details":{},
"security_groups":[{"id":"`+groupA+`"}],"allowed_address_pairs":[{"ip_address":"10.0.0.9","mac_address":"`+macB+`"},{"ip_address":"10.8.0.0/16"}],
"extra_dhcp_opts":[{"opt_name":"mtu","opt_value":"1400"}],"resource_request":null,"dns_name":"vm"`), 201)
	p := w.show("ports", portA)
	for name, want := range map[string]any{"network_id": netA, "mac_address": macA, "binding:profile": "{}", "status": "DOWN", "binding:vif_type": "unbound", "binding:host_id": "",
		"fixed_ips": []any{map[string]any{"subnet_id": subA, "ip_address": "10.0.0.5"}}, "security_groups": []any{map[string]any{"id": groupA}}, "port_security_enabled": true,
		"allowed_address_pairs": []any{map[string]any{"ip_address": "10.0.0.9", "mac_address": macB}, map[string]any{"ip_address": "10.8.0.0/16", "mac_address": macA}},
		"extra_dhcp_opts":       []any{map[string]any{"opt_name": "mtu", "opt_value": "1400", "ip_version": 4.0}}, "device_owner": "compute:nova", "dns_name": "vm"} {
		if !reflect.DeepEqual(p[name], want) {
			t.Errorf("P1: %s is %v, want %v", name, p[name], want)
		}
	}
	if got := len(flows(t, w.st, "standard", "compute")); got != before {
		t.Errorf("P1: an unbound port made %d flows", got-before)
	}
	key := w.port(portA).Key
	// A PUT has neither id nor network nor tenant.
	put := func(vif, more string) string {
		return `{"port":{"mac_address":"` + macA + `","fixed_ips":[{"subnet_id":"` + subA + `","ip_address":"10.0.0.5"}],"admin_state_up":true,"device_owner":"compute:nova","device_id":"vm",
"binding:host_id":"compute","binding:vif_type":"` + vif + `","binding:profile":"{\"foo\": \"bar\"}","port_security_enabled":true,"security_groups":[{"id":"` + groupA + `"}],"revision_number":4` + more + `}}`
	}
	w.do("PUT", "/ports/"+portA, put("unbound", ""), 200)
	w.do("PUT", "/ports/"+portA, put("ovs", `,"binding:vif_details":{"uuid":"x","host_addresses":["a"],"port_filter":true,"n":1,"bound_drivers":{"0":"opendaylight_v2"}}`), 200) // P6
	p = w.show("ports", portA)
	if p["binding:profile"] != `{"foo": "bar"}` || p["binding:vif_type"] != "ovs" || p["network_id"] != netA || p["tenant_id"] != tenant || w.port(portA).Key != key || len(p["allowed_address_pairs"].([]any)) != 0 {
		t.Errorf("P2: %v", p)
	}
	if d, _ := p["binding:vif_details"].(map[string]any); fmt.Sprint(d["bound_drivers"]) != "map[0:opendaylight_v2]" || d["port_filter"] != true {
		t.Errorf("P6: %v", d)
	}
	if got := w.port(portA).Profile; !reflect.DeepEqual(got, map[string]any{"foo": "bar"}) {
		t.Errorf("P2: the model's profile is %v", got)
	}
	w.plug("compute", portA)
	w.wantFlows("P2", true, "compute", "table=0", macA)
	w.wantFlows("P2", false, "compute", "table=20", "actions=controller", fmt.Sprintf("reg1=%#x", uint32(key))) // no DHCP port: not punted
}

func TestPortUpdate(t *testing.T) {
	w := cloud(t)
	w.do("POST", "/ports", portBody(portA, strings.ToUpper(macA), "10.0.0.5", replaced(bound, `{"id":"`+groupA+`"}`,
		`{"id":"`+groupA+`","name":"g","security_group_rules":[`+rule(ruleN(1), groupA, "")+`]}`)), 201)
	w.plug("compute", portA)
	p := w.show("ports", portA)
	if p["mac_address"] != macA || fmt.Sprint(p["security_groups"]) != "[map[id:"+groupA+"]]" {
		t.Errorf("P5: %v", p)
	}
	w.wantFlows("P5", true, "compute", macA)
	w.do("PUT", "/ports/"+portA, `{"port":{"name":"v1","binding:host_id":"compute","device_owner":"compute:nova","security_groups":[{"id":"`+groupA+`"}]}}`, 200)
	if p := w.show("ports", portA); p["mac_address"] != macA || len(p["fixed_ips"].([]any)) != 1 || p["name"] != "v1" {
		t.Errorf("P4: %v", p)
	}
	w.do("PUT", "/ports/"+portA, `{"port":{"binding:host_id":"compute","binding:profile":{"a":[1,{"b":null}]}}}`, 200)
	if p := w.show("ports", portA); fmt.Sprint(p["binding:profile"]) != "map[a:[1 map[b:<nil>]]]" {
		t.Errorf("P7: %v", p["binding:profile"])
	}
	w.do("PUT", "/ports/"+portA, `{"port":{"binding:host_id":"compute","device_owner":"compute:nova","fixed_ips":[]}}`, 200)
	if p := w.show("ports", portA); len(p["fixed_ips"].([]any)) != 0 {
		t.Errorf("an empty list does not clear: %v", p)
	}
	// Without security: every source is let in.
	w.do("PUT", "/ports/"+portA, `{"port":{"binding:host_id":"compute","device_owner":"compute:nova","port_security_enabled":false,"security_groups":[],"allowed_address_pairs":[]}}`, 200)
	w.wantFlows("P9", false, "compute", "table=0", "dl_src="+macA)
	w.do("POST", "/ports", replaced(portBody(portB, macB, "10.0.0.6", ""), `"project_id":"`+tenant+`"`, `"project_id":""`), 201)
	if p := w.show("ports", portB); p["project_id"] != tenant || p["tenant_id"] != tenant {
		t.Errorf("P8: %v", p)
	}
	// The network's own services are trusted, and it is shown what was asked.
	w.do("POST", "/ports", portBody(fipPort, "fa:16:3e:00:00:0f", "10.0.0.15", `,"device_owner":"network:dhcp","device_id":"OpenDaylight-`+subA+`"`), 201)
	if p := w.show("ports", fipPort); w.port(fipPort).PortSecurity || p["port_security_enabled"] != true {
		t.Errorf("a port for DHCP is filtered: %v, shown as %v", w.port(fipPort).PortSecurity, p["port_security_enabled"])
	}
	w.do("DELETE", "/ports/"+portA, "", 204)
	w.wantFlows("P11", false, "compute", macA)
	w.do("DELETE", "/ports/"+portA, "", 404)
	for _, bad := range []string{`"mac_address":"x"`, `"mac_address":"01:00:5e:00:00:01"`, `"fixed_ips":[{"ip_address":"10.0.0.1"}]`, `"fixed_ips":{}`, `"security_groups":["x"]`, `"security_groups":[{}]`,
		`"binding:host_id":"a|b"`, `"binding:profile":7`, `"extra_dhcp_opts":[{"opt_name":"a","opt_value":"\u0001"}]`, `"allowed_address_pairs":[{"mac_address":"` + macA + `"}]`,
		`"binding:profile":{"a":1e999}`, `"admin_state_up":"x"`, `"device_id":1`, `"fixed_ips":[{"subnet_id":"` + subA + `","ip_address":"10.0.0.300"}]`, `"network_id":"x"`} {
		w.do("PUT", "/ports/"+portB, `{"port":{`+bad+`}}`, 400)
	}
	w.do("POST", "/ports", `{"port":{"id":"`+gwPort+`","mac_address":"`+macA+`"}}`, 400)
	// A port without an address of its own gets one, and keeps it when it is sent again.
	w.do("POST", "/ports", `{"port":{"id":"`+gwPort+`","network_id":"`+netA+`"}}`, 201)
	mac := w.port(gwPort).MAC
	w.do("POST", "/ports", `{"port":{"id":"`+gwPort+`","network_id":"`+netA+`","name":"again"}}`, 201)
	if mac.IsZero() || w.port(gwPort).MAC != mac {
		t.Errorf("its MAC address was %s and is %s", mac, w.port(gwPort).MAC)
	}
}

// TestChildrenFirst: checks S2, P10, Y5: what comes before its parents is taken, and works when they are there.
func TestChildrenFirst(t *testing.T) {
	w := newWorld(t)
	w.nodes()
	w.do("POST", "/ports", portBody(portA, macA, "10.0.0.5", bound), 201)
	w.do("POST", "/subnets", subBody(subA, netA, "10.0.0.0/24", ""), 201)
	w.do("POST", "/security-group-rules", ruleBody(ruleN(1), groupA, `,"x":1`), 201)
	w.plug("compute", portA)
	w.wantFlows("P10", false, "compute", macA)
	w.do("POST", "/networks", netBody(netA, "1077", ""), 201)
	w.wantFlows("S2", true, "compute", "table=0", macA)
	w.wantFlows("P10", false, "compute", "conj_id") // the group is not known: nothing is allowed
	w.do("POST", "/security-groups", groupBody(groupA, ""), 201)
	w.wantFlows("P10", true, "compute", "conj_id")
	// G6: the same when the group goes first.
	w.do("DELETE", "/security-groups/"+groupA, "", 204)
	w.wantFlows("G6", false, "compute", "conj_id")
	w.do("DELETE", "/security-group-rules/"+ruleN(1), "", 204)
	for _, path := range []string{"/networks/" + netA, "/subnets/" + subA, "/ports/" + portA} {
		w.do("DELETE", path, "", 204)
	}
	w.wantFlows("P11", false, "compute", macA)
}

// TestDoubles: check P12, and the same of MAC addresses and segments: the other Neutron decides, and the log says so.
func TestDoubles(t *testing.T) {
	var log bytes.Buffer
	w := cloud(t, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	w.do("POST", "/ports", portBody(portA, macA, "10.0.0.5", bound), 201)
	if log.Len() != 0 {
		t.Errorf("noted without a reason: %s", &log)
	}
	w.do("POST", "/ports", portBody(portB, macB, "10.0.0.5", bound), 201)
	w.do("POST", "/ports", portBody(gwPort, macA, "10.0.0.7", bound), 201)
	w.do("POST", "/networks", netBody(netB, "1077", ""), 201)
	for _, want := range []string{"address=10.0.0.5", "mac=" + macA, "two networks have one segment"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("P12: the log does not say %q: %s", want, &log)
		}
	}
	for _, id := range []model.PortID{portA, portB, gwPort} {
		w.plug("compute", id)
	}
	w.wantFlows("P12", true, "compute", macA)
}

// TestStatus: who tells a port's status, and that a change of its node takes it back.
func TestStatus(t *testing.T) {
	w := cloud(t)
	w.do("POST", "/ports", portBody(portA, macA, "10.0.0.5", bound+`,"status":"ACTIVE"`), 201)
	status := func() any { return w.show("ports", portA)["status"] }
	if status() != "DOWN" {
		t.Errorf("the client's word is believed: %v", status())
	}
	w.commit(func(tx *store.Txn) {
		tables.Statuses.Put(tx, portA, model.PortStatus{Port: portA, Status: model.StatusActive})
	})
	w.do("PUT", "/ports/"+portA, `{"port":{"binding:host_id":"compute","device_owner":"compute:nova"}}`, 200)
	if status() != "ACTIVE" {
		t.Errorf("after an update: %v", status())
	}
	w.do("PUT", "/ports/"+portA, `{"port":{"binding:host_id":"controller","device_owner":"compute:nova"}}`, 200)
	if status() != "DOWN" {
		t.Errorf("after it moved: %v", status())
	}
	for owner, want := range map[string]string{"network:router_interface": "ACTIVE", "network:router_gateway": "DOWN", "network:floatingip": "ACTIVE", "network:dhcp": "ACTIVE", "": "DOWN"} {
		p := model.Port{PortPlane: model.PortPlane{DeviceOwner: owner, AdminStateUp: true}}
		if got := tables.ForeignStatus(w.st.Snapshot(), &p, true); got != want {
			t.Errorf("%q: %s, want %s", owner, got, want)
		}
	}
	p := model.Port{PortPlane: model.PortPlane{DeviceOwner: "network:dhcp", AdminStateUp: true}}
	if got := tables.ForeignStatus(w.st.Snapshot(), &p, false); got != "DOWN" {
		t.Errorf("a DHCP port that nobody serves is %s", got)
	}
}

// TestRelease: should our own API own the intent again, it finds the addresses that ports have left.
func TestRelease(t *testing.T) {
	w := cloud(t)
	take := func() (a netip.Addr) {
		w.commit(func(tx *store.Txn) {
			s, _ := tables.Subnets.Get(tx, subA)
			a, _ = alloc.Address(tx, s, netip.Addr{})
		})
		return a
	}
	first := take()
	w.do("POST", "/ports", portBody(portA, macA, first.String(), ""), 201)
	second := take()
	w.do("POST", "/ports", portBody(portB, macB, second.String(), ""), 201)
	w.do("PUT", "/ports/"+portA, `{"port":{"fixed_ips":[]}}`, 200)
	if got := take(); got != first {
		t.Errorf("after an update: %s, want %s", got, first)
	}
	w.do("DELETE", "/ports/"+portB, "", 204)
	if got := take(); got != second && got != first {
		t.Errorf("after a removal: %s, want %s", got, second)
	}
}

// TestLateCreate: the create of a port, which has no revision, arrives after changes that have one. It changes nothing, and neither
// does it where the change was in the same second. One that is newer, or of an object that has no revision, counts.
func TestLateCreate(t *testing.T) {
	w := cloud(t)
	body := func(host, stamps string) string {
		return portBody(portA, "fa:16:3e:00:00:01", "10.0.0.5", `,"binding:host_id":"`+host+`"`+stamps)
	}
	const early, later = `,"created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:00:00Z"`, `,"created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:00:09Z"`
	host := func(why, want string) {
		t.Helper()
		if p := w.show("ports", portA); p["binding:host_id"] != want {
			t.Errorf("%s: the port is on %v, want %s", why, p["binding:host_id"], want)
		}
	}
	w.do("POST", "/ports", body("", early), 201)
	w.do("POST", "/ports", body("controller", early), 201)
	host("no revision is known", "controller")
	for _, stamps := range []string{early, later} {
		w.do("POST", "/ports", body("compute", stamps+`,"revision_number":1`), 201)
		seq := w.st.Snapshot().Revision()
		w.do("POST", "/ports", body("", early), 201)
		if host("the create is late", "compute"); w.st.Snapshot().Revision() != seq {
			t.Error("a late create is a commit")
		}
	}
	w.do("POST", "/ports", body("controller", strings.ReplaceAll(later, "00:00:09", "00:00:10")), 201)
	host("it is newer", "controller")
}
