// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"context"
	"fmt"
	"testing"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

func subPortText(port string, tag int) string {
	return fmt.Sprintf(`{"port_id":%q,"segmentation_type":"vlan","segmentation_id":%d}`, port, tag)
}

// confirm records that a port's node has confirmed it.
func (w *world) confirm(status string, ids ...string) {
	w.t.Helper()
	if _, err := w.st.Commit(context.Background(), store.Origin{}, func(tx *store.Txn) error {
		for _, id := range ids {
			tables.Statuses.Put(tx, model.PortID(id), model.PortStatus{Port: model.PortID(id), Status: status})
		}
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
}

func TestTrunks(t *testing.T) {
	w := newWorld(t)
	w.node("a", "netdev", nil)
	w.node("b", "netdev", nil)
	n, m := w.network("demo", ""), w.network("demo", "")
	parent, one, two := w.port("demo", n, ""), w.port("demo", m, ""), w.port("demo", n, "")
	trunk := w.make("demo", "trunks", "trunk", `"name":"t","port_id":"`+parent+`","sub_ports":[`+subPortText(two, 20)+`]`)
	at := "/v2.0/trunks/" + trunk
	answer := w.do("demo", "PUT", at+"/add_subports", `{"sub_ports":[`+subPortText(one, 10)+`]}`, 200)
	want := `[map[port_id:` + one + ` segmentation_id:10 segmentation_type:vlan] map[port_id:` + two + ` segmentation_id:20 segmentation_type:vlan]]`
	for what, got := range map[string]any{"answer": answer["sub_ports"], "get_subports": w.do("demo", "GET", at+"/get_subports", "", 200)["sub_ports"],
		"trunk": dig(w.do("demo", "GET", at, "", 200), "trunk", "sub_ports")} {
		if fmt.Sprint(got) != want {
			t.Errorf("%s: %v, want %s", what, got, want)
		}
	}
	if answer["id"] != trunk || answer["status"] != "DOWN" || answer["admin_state_up"] != true || answer["port_id"] != parent {
		t.Errorf("trunk %v", answer)
	}
	details := dig(w.do("demo", "GET", "/v2.0/ports/"+parent, "", 200), "port", "trunk_details")
	if dig(details, "trunk_id") != trunk || dig(details, "sub_ports", 0, "mac_address") != dig(w.do("demo", "GET", "/v2.0/ports/"+one, "", 200), "port", "mac_address") {
		t.Errorf("details %v", details)
	}
	sub := func(id string) map[string]any {
		return w.do("admin", "GET", "/v2.0/ports/"+id, "", 200)["port"].(map[string]any)
	}
	if p := sub(one); p["device_owner"] != "trunk:subport" || p["binding:host_id"] != "" {
		t.Errorf("sub-port %v", p)
	}
	if _, has := sub(one)["trunk_details"]; has {
		t.Error("a sub-port has the details of a trunk")
	}

	// Sub-ports follow the parent, whatever is said of them, and the trunk's status follows from the ports'.
	status := func() any { return dig(w.do("demo", "GET", at, "", 200), "trunk", "status") }
	w.do("admin", "PUT", "/v2.0/ports/"+parent, `{"port":{"binding:host_id":"a"}}`, 200)
	if p := sub(one); p["binding:host_id"] != "a" || p["binding:vif_type"] != "ovs" {
		t.Errorf("sub-port of a bound parent %v", p)
	}
	w.do("admin", "PUT", "/v2.0/ports/"+one, `{"port":{"binding:host_id":"b"}}`, 200)
	if p := sub(one); p["binding:host_id"] != "a" {
		t.Errorf("sub-port on %v, away from its parent", p["binding:host_id"])
	}
	for _, c := range []struct {
		confirm      func()
		want, reason string
	}{
		{func() { w.confirm(model.StatusDown, parent, one, two) }, "DOWN", "nothing is up"},
		{func() { w.confirm(model.StatusActive, parent, one) }, "BUILD", "a sub-port is not up"},
		{func() { w.confirm(model.StatusActive, two) }, "ACTIVE", "all are up"},
		{func() { w.confirm(model.StatusError, two) }, "DEGRADED", "a sub-port is broken"},
		{func() { w.confirm(model.StatusActive, two) }, "ACTIVE", "all are up again"},
	} {
		if c.confirm(); status() != c.want {
			t.Errorf("%s: trunk %v, want %s", c.reason, status(), c.want)
		}
	}
	w.do("admin", "PUT", "/v2.0/ports/"+parent, `{"port":{"binding:host_id":"b"}}`, 200)
	if p := sub(one); p["binding:host_id"] != "b" || p["status"] != "DOWN" || status() != "DOWN" {
		t.Errorf("after a move: sub-port %v, trunk %v", p, status())
	}

	// In use.
	w.refuse("demo", "DELETE", "/v2.0/ports/"+parent, "", 409, "PortInUseAsTrunkParent", fmt.Sprintf("Port %s is currently a parent port for trunk %s.", parent, trunk))
	w.refuse("demo", "DELETE", "/v2.0/ports/"+one, "", 409, "PortInUseAsSubPort", fmt.Sprintf("Port %s is currently a subport for trunk %s.", one, trunk))
	w.refuse("demo", "DELETE", at, "", 409, "TrunkInUse", "Trunk "+trunk+" is currently in use.")
	w.do("demo", "PUT", at, `{"trunk":{"admin_state_up":false,"name":"u"}}`, 200)
	off := "Trunk " + trunk + " is currently disabled."
	w.refuse("demo", "DELETE", at, "", 409, "TrunkDisabled", off)
	w.refuse("demo", "PUT", at+"/remove_subports", `{"sub_ports":[{"port_id":"`+one+`"}]}`, 409, "TrunkDisabled", off)
	w.do("demo", "PUT", at, `{"trunk":{"admin_state_up":true}}`, 200)
	w.do("demo", "PUT", at+"/remove_subports", `{"sub_ports":[{"port_id":"`+one+`"}]}`, 200)
	if p := sub(one); p["device_owner"] != "" || p["binding:host_id"] != "" || p["status"] != "DOWN" {
		t.Errorf("removed sub-port %v", p)
	}
	w.do("demo", "DELETE", "/v2.0/ports/"+one, "", 204)
	w.do("admin", "PUT", "/v2.0/ports/"+parent, `{"port":{"binding:host_id":""}}`, 200)
	w.do("demo", "DELETE", at, "", 204)
	if p := sub(two); p["device_owner"] != "" {
		t.Errorf("sub-port of a trunk that went %v", p)
	}
	w.do("demo", "DELETE", "/v2.0/ports/"+parent, "", 204)
}

func TestTrunkRefusals(t *testing.T) {
	w := newWorld(t)
	n := w.network("demo", "")
	large, small := w.network("demo", `"mtu":1400`), w.network("demo", `"mtu":1300`)
	vlan := w.network("admin", `"shared":true,"provider:network_type":"vlan","provider:physical_network":"p","provider:segmentation_id":77,"mtu":1400`)
	parent, sub, taken := w.port("demo", n, ""), w.port("demo", n, ""), w.port("demo", n, "")
	trunk := w.make("demo", "trunks", "trunk", `"port_id":"`+parent+`","sub_ports":[`+subPortText(taken, 5)+`]`)
	low := w.make("demo", "trunks", "trunk", `"port_id":"`+w.port("demo", small, "")+`"`)
	used := w.port("demo", n, `,"device_id":"vm"`)
	foreign := w.port("other", w.network("other", ""), "")
	missing := "00000000-0000-4000-8000-000000000000"
	create := func(port, subs string) string {
		return `{"trunk":{"port_id":"` + port + `","sub_ports":[` + subs + `]}}`
	}
	add := func(subs string) string { return `{"sub_ports":[` + subs + `]}` }
	at := "/v2.0/trunks/" + trunk
	for _, c := range []struct {
		who, method, path, body string
		status                  int
		kind                    string
	}{
		{"demo", "POST", "/v2.0/trunks", create(missing, ""), 404, "PortNotFound"},
		{"demo", "POST", "/v2.0/trunks", create(foreign, ""), 404, "PortNotFound"},
		{"demo", "POST", "/v2.0/trunks", `{"trunk":{}}`, 400, "HTTPBadRequest"},
		{"demo", "POST", "/v2.0/trunks", create(parent, ""), 409, "ParentPortInUse"},
		{"demo", "POST", "/v2.0/trunks", create(taken, ""), 409, "TrunkPortInUse"},
		{"demo", "POST", "/v2.0/trunks", create(sub, subPortText(sub, 9)), 409, "ParentPortInUse"},
		{"demo", "POST", "/v2.0/trunks", create(sub, subPortText(taken, 9)), 409, "TrunkPortInUse"},
		{"demo", "POST", "/v2.0/trunks", create(sub, subPortText(parent, 9)), 409, "ParentPortInUse"},
		{"demo", "POST", "/v2.0/trunks", create(sub, subPortText(used, 9)), 409, "PortInUse"},
		{"reader", "POST", "/v2.0/trunks", create(sub, ""), 403, "PolicyNotAuthorized"},
		{"demo", "PUT", at, `{"trunk":{"port_id":"` + sub + `"}}`, 400, "HTTPBadRequest"},
		{"demo", "PUT", at + "/add_subports", add(subPortText(sub, 5)), 409, "DuplicateSubPort"},
		{"demo", "PUT", at + "/add_subports", add(subPortText(sub, 0)), 400, "InvalidInput"},
		{"demo", "PUT", at + "/add_subports", add(subPortText(sub, 4095)), 400, "InvalidInput"},
		{"demo", "PUT", at + "/add_subports", add(`{"port_id":"` + sub + `"}`), 400, "InvalidInput"},
		{"demo", "PUT", at + "/add_subports", add(`{"port_id":"` + sub + `","segmentation_type":"vxlan","segmentation_id":5}`), 400, "InvalidInput"},
		{"demo", "PUT", at + "/add_subports", add(`{"port_id":"` + sub + `","segmentation_type":"vlan","segmentation_id":"x"}`), 400, "InvalidInput"},
		{"demo", "PUT", at + "/add_subports", add(`{"port_id":"` + sub + `","segmentation_type":"inherit"}`), 400, "InvalidInput"},
		{"demo", "PUT", at + "/add_subports", add(`{"segmentation_type":"vlan","segmentation_id":5}`), 400, "HTTPBadRequest"},
		{"demo", "PUT", at + "/add_subports", add(subPortText(sub, 6) + "," + subPortText(sub, 7)), 400, "HTTPBadRequest"},
		{"demo", "PUT", at + "/add_subports", add(subPortText(sub, 6) + "," + subPortText(used, 6)), 400, "HTTPBadRequest"},
		{"demo", "PUT", at + "/add_subports", `{"sub_ports":7}`, 400, "HTTPBadRequest"},
		{"demo", "PUT", at + "/add_subports", `{}`, 400, "HTTPBadRequest"},
		{"demo", "PUT", "/v2.0/trunks/" + low + "/add_subports", add(subPortText(w.port("demo", large, ""), 6)), 409, "SubPortMtuGreaterThanTrunkPortMtu"},
		{"demo", "PUT", at + "/remove_subports", add(`{"port_id":"` + sub + `"}`), 404, "SubPortNotFound"},
		{"other", "GET", at, "", 404, "TrunkNotFound"},
		{"other", "GET", at + "/get_subports", "", 404, "TrunkNotFound"},
		{"other", "PUT", at + "/add_subports", add(subPortText(foreign, 8)), 404, "TrunkNotFound"},
		{"reader", "PUT", at + "/add_subports", add(subPortText(sub, 8)), 403, "PolicyNotAuthorized"},
		{"demo", "POST", at + "/get_subports", "", 405, "HTTPMethodNotAllowed"},
	} {
		w.refuse(c.who, c.method, c.path, c.body, c.status, c.kind, "")
	}
	// A network's owner sees ports of others on it, but takes none of them.
	w.do("admin", "PUT", "/v2.0/networks/"+n, `{"network":{"shared":true}}`, 200)
	guest := w.port("other", n, "")
	w.refuse("demo", "POST", "/v2.0/trunks", create(guest, ""), 403, "PolicyNotAuthorized", "")
	w.refuse("demo", "PUT", at+"/add_subports", add(subPortText(guest, 8)), 403, "PolicyNotAuthorized", "")
	m := w.do("demo", "PUT", at+"/add_subports", add(`{"port_id":"`+w.port("demo", vlan, "")+`","segmentation_type":"inherit"}`), 200)
	if dig(m, "sub_ports", 1, "segmentation_id") != 77.0 {
		t.Errorf("inherited %v", m["sub_ports"])
	}
}
