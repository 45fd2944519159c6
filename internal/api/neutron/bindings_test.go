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

// ready records that hosts of a port's inactive bindings have confirmed it.
func (w *world) ready(id string, hosts ...model.NodeID) {
	w.t.Helper()
	if _, err := w.st.Commit(context.Background(), store.Origin{}, func(tx *store.Txn) error {
		s, _ := tables.Statuses.Get(tx, model.PortID(id))
		s.Ready = hosts
		tables.Statuses.Put(tx, model.PortID(id), s)
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
}

// listed are a port's bindings as host, status and vif_type.
func (w *world) listed(port, query string) string {
	w.t.Helper()
	out := ""
	for _, b := range w.do("service", "GET", "/v2.0/ports/"+port+"/bindings"+query, "", 200)["bindings"].([]any) {
		out += fmt.Sprint(dig(b, "host"), " ", dig(b, "status"), " ", dig(b, "vif_type"), " ", dig(b, "profile"), "; ")
	}
	return out
}

// TestBindings leads a port's bindings through a migration.
func TestBindings(t *testing.T) {
	w := newWorld(t)
	for _, n := range []string{"a", "b"} {
		w.node(n, "netdev", nil)
	}
	net := w.network("demo", "")
	port := w.port("admin", net, `,"tenant_id":"p-demo","device_owner":"compute:nova","device_id":"vm","binding:host_id":"a","binding:profile":{"x":"1"}`)
	at := "/v2.0/ports/" + port + "/bindings"
	w.confirm(model.StatusActive, port)

	made := w.do("service", "POST", at, `{"binding":{"host":"b","vnic_type":"normal","profile":{"y":"2"}}}`, 201)["binding"].(map[string]any)
	want := `map[host:b profile:map[y:2] status:INACTIVE vif_details:map[bridge_name:br-int connectivity:l2 datapath_type:netdev ovs_hybrid_plug:false port_filter:true] vif_type:ovs vnic_type:normal]`
	if fmt.Sprint(made) != want {
		t.Errorf("made\n%v, want\n%s", made, want)
	}
	if got := w.listed(port, ""); got != "a ACTIVE ovs map[x:1]; b INACTIVE ovs map[y:2]; " {
		t.Errorf("listed %q", got)
	}
	if got := w.listed(port, "?status=INACTIVE"); got != "b INACTIVE ovs map[y:2]; " {
		t.Errorf("listed inactive ones %q", got)
	}
	if got := w.do("service", "GET", at+"/b?fields=host", "", 200); fmt.Sprint(got) != "map[binding:map[host:b]]" {
		t.Errorf("one field: %v", got)
	}
	p := w.do("service", "GET", "/v2.0/ports/"+port, "", 200)["port"].(map[string]any)
	if p["binding:host_id"] != "a" || p["status"] != "ACTIVE" || p["revision_number"] != 1 && fmt.Sprint(p["revision_number"]) != "1" {
		t.Errorf("the port shows %v", p)
	}
	if s, ok := tables.SlotsByPort.First(w.st.Snapshot(), model.PlugKey("b", model.PortID(port))); !ok || !s.Used() {
		t.Error("it has no slot on the second host")
	}

	// A change of a binding; a profile that is not named is taken away.
	w.do("service", "PUT", at+"/b", `{"binding":{"profile":{"z":"3"}}}`, 200)
	w.do("service", "PUT", at+"/b", `{"binding":{"vnic_type":"normal"}}`, 200)
	if got := w.listed(port, ""); got != "a ACTIVE ovs map[x:1]; b INACTIVE ovs map[]; " {
		t.Errorf("listed %q", got)
	}

	// Activation, by a request without a body, as Nova sends it.
	w.ready(port, "b")
	active := w.do("service", "PUT", at+"/b/activate", "", 200)
	if active["host"] != "b" || active["status"] != "ACTIVE" || active["vif_type"] != "ovs" {
		t.Errorf("activated: %v", active)
	}
	p = w.do("service", "GET", "/v2.0/ports/"+port, "", 200)["port"].(map[string]any)
	if p["binding:host_id"] != "b" || p["status"] != "ACTIVE" || fmt.Sprint(p["binding:profile"]) != "map[]" {
		t.Errorf("the port shows %v", p)
	}
	if got := w.listed(port, ""); got != "a INACTIVE unbound map[x:1]; b ACTIVE ovs map[]; " {
		t.Errorf("listed %q", got)
	}
	w.refuse("service", "PUT", at+"/b/activate", "", 409, "PortBindingAlreadyActive", "Binding for port "+port+" on host b is already active.")
	if s, _ := tables.Statuses.Get(w.st.Snapshot(), model.PortID(port)); fmt.Sprint(s.Ready) != "[a]" {
		t.Errorf("ready are %v, want the host that it left", s.Ready)
	}
	// And back, to a host that has not confirmed it: the port is down until it does.
	w.ready(port)
	w.do("service", "PUT", at+"/a/activate", "{}", 200)
	if got := dig(w.do("demo", "GET", "/v2.0/ports/"+port, "", 200), "port", "status"); got != "DOWN" {
		t.Errorf("%v on a host that has not confirmed it", got)
	}
	w.do("service", "DELETE", at+"/b", "", 204)
	w.do("service", "GET", at+"/b", "", 404)
	if _, ok := tables.SlotsByPort.First(w.st.Snapshot(), model.PlugKey("b", model.PortID(port))); ok {
		t.Error("it has a slot on the host whose binding was deleted")
	}

	// The host of an inactive binding becomes the port's by binding:host_id.
	w.do("service", "POST", at, `{"binding":{"host":"b"}}`, 201)
	w.do("service", "PUT", "/v2.0/ports/"+port, `{"port":{"binding:host_id":"b"}}`, 200)
	if got := w.listed(port, ""); got != "b ACTIVE ovs map[x:1]; " {
		t.Errorf("listed %q", got)
	}
	w.do("service", "DELETE", at+"/b", "", 204) // the active one
	if got := w.listed(port, ""); got != " ACTIVE unbound map[]; " {
		t.Errorf("an unbound port's: %q", got)
	}
	// Everything goes with the port.
	w.do("service", "POST", at, `{"binding":{"host":"a"}}`, 201)
	w.do("service", "PUT", at+"/a/activate", "", 200)
	w.do("service", "POST", at, `{"binding":{"host":"b"}}`, 201)
	w.do("demo", "DELETE", "/v2.0/ports/"+port, "", 204)
	w.do("service", "GET", at, "", 404)
	for _, s := range tables.Slots.All(w.st.Snapshot()) {
		if s.Used() && s.Port == model.PortID(port) {
			t.Errorf("slot %+v of a port that is gone", s)
		}
	}
}

// TestBindingFaults: what is refused, in Neutron's words.
func TestBindingFaults(t *testing.T) {
	w := newWorld(t)
	for _, n := range []string{"a", "b"} {
		w.node(n, "netdev", nil)
	}
	net := w.network("demo", "")
	port := w.port("admin", net, `,"tenant_id":"p-demo","device_owner":"compute:nova","binding:host_id":"a"`)
	plain := w.port("demo", net, "")
	at := "/v2.0/ports/" + port + "/bindings"
	w.do("admin", "POST", at, `{"binding":{"host":"b"}}`, 201)
	notOf := "Bad port request: Invalid port " + plain + ". Operation only valid on compute and shared filesystem ports."
	for _, c := range []struct {
		who, method, path, body string
		code                    int
		kind, message           string
	}{
		{"service", "POST", at, `{"binding":{"host":"b"}}`, 409, "PortBindingAlreadyExists", "Binding for port " + port + " on host b already exists."},
		{"service", "POST", at, `{"binding":{"host":"a"}}`, 409, "PortBindingAlreadyExists", ""},
		{"service", "POST", at, `{"binding":{"host":"nowhere"}}`, 400, "PortBindingError", "Binding for port " + port + " on host nowhere could not be created or updated: no node has reported under this name; GET /v2.0/agents lists those that have."},
		{"service", "PUT", at + "/b", `{"binding":{"vnic_type":"direct"}}`, 400, "PortBindingError",
			"Binding for port " + port + " on host b could not be created or updated: nodes plug ports with binding:vnic_type normal only, and this one's is direct."},
		{"service", "PUT", at + "/b", `{"binding":{"host":"a"}}`, 409, "PortBindingAlreadyExists", ""},
		{"service", "POST", at, `{"binding":{}}`, 400, "HTTPBadRequest", "Failed to parse request. Required attribute 'host' not specified"},
		{"service", "POST", at, `{"binding":{"host":""}}`, 400, "HTTPBadRequest", ""},
		{"service", "POST", at, `{"binding":{"host":"c","vnic_type":"wire"}}`, 400, "HTTPBadRequest", ""},
		{"service", "POST", at, `{"binding":{"host":"c","status":"ACTIVE"}}`, 400, "HTTPBadRequest", ""},
		{"service", "POST", at, `{"binding":{"host":"c","port_id":"` + plain + `"}}`, 400, "HTTPBadRequest", ""},
		{"service", "PUT", at + "/c", `{"binding":{"profile":{}}}`, 404, "PortBindingNotFound", "Binding for port " + port + " for host c could not be found."},
		{"service", "GET", at + "/c", "", 404, "PortBindingNotFound", ""},
		{"service", "DELETE", at + "/c", "", 404, "PortBindingNotFound", ""},
		{"service", "PUT", at + "/c/activate", "", 404, "PortBindingNotFound", ""},
		{"service", "PUT", at + "/a/activate", "", 409, "PortBindingAlreadyActive", ""},
		{"service", "POST", at + "/b/activate", "", 405, "HTTPMethodNotAllowed", ""},
		{"service", "PUT", at + "/b/deactivate", "", 404, "HTTPNotFound", ""},
		{"service", "GET", "/v2.0/ports/none/bindings", "", 404, "PortNotFound", "Port none could not be found."},
		{"service", "GET", "/v2.0/ports/" + plain + "/bindings", "", 400, "BadRequest", notOf},
		{"service", "POST", "/v2.0/ports/" + plain + "/bindings", `{"binding":{"host":"b"}}`, 400, "BadRequest", notOf},
		{"service", "PUT", "/v2.0/ports/" + plain + "/bindings/b/activate", "", 400, "BadRequest", notOf},
		// Tenants have no part in it.
		{"demo", "POST", at, `{"binding":{"host":"c"}}`, 403, "PolicyNotAuthorized", ""},
		{"demo", "GET", at + "/b", "", 404, "PortBindingNotFound", ""},
		{"demo", "PUT", at + "/b", `{"binding":{"profile":{}}}`, 404, "PortBindingNotFound", ""},
		{"demo", "DELETE", at + "/b", "", 404, "PortBindingNotFound", ""},
		{"demo", "PUT", at + "/b/activate", "", 404, "PortBindingNotFound", ""},
		{"other", "GET", at, "", 404, "PortNotFound", ""},
		{"other", "POST", at, `{"binding":{"host":"c"}}`, 404, "PortNotFound", ""},
	} {
		w.refuse(c.who, c.method, c.path, c.body, c.code, c.kind, c.message)
	}
	if l := w.do("demo", "GET", at, "", 200)["bindings"].([]any); len(l) != 0 {
		t.Errorf("a tenant is shown bindings: %v", l)
	}
}
