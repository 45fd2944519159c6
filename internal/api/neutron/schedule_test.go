// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"context"
	"slices"
	"testing"
	"time"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// edit changes a node's record.
func (w *world) edit(id string, f func(*model.Node)) {
	w.t.Helper()
	if _, err := w.st.Commit(context.Background(), store.Origin{}, func(tx *store.Txn) error {
		n, _ := tables.Nodes.Get(tx, model.NodeID(id))
		f(&n)
		tables.Nodes.Put(tx, n.ID, n)
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
}

// ids gives the ids of a list below an agent, which is empty if there is no such agent.
func (w *world) ids(path, list string) (out []string) {
	w.t.Helper()
	l, _ := w.send("admin", "GET", path, "").body[list].([]any)
	for _, o := range l {
		out = append(out, dig(o, "id").(string))
	}
	return out
}

// hosts gives the hosts of the agents of a router or a network.
func (w *world) hosts(path string) []string {
	w.t.Helper()
	out := []string{}
	for _, a := range w.do("admin", "GET", "/v2.0/"+path, "", 200)["agents"].([]any) {
		out = append(out, dig(a, "host").(string))
	}
	return out
}

// TestScheduleRouters: an administrator moves gateways between nodes.
func TestScheduleRouters(t *testing.T) {
	w := newWorld(t, withRouters)
	for _, n := range []string{"net1", "net2"} {
		w.node(n, "", map[string]string{"physnet1": "br-ex"})
	}
	w.node("other", "", map[string]string{"physnet2": "br-ex"})
	ext := w.network("admin", `"router:external":true,"provider:network_type":"flat","provider:physical_network":"physnet1"`)
	w.subnet("admin", ext, "172.16.0.0/24", `,"enable_dhcp":false`)
	overlay := w.network("admin", `"router:external":true,"provider:network_type":"vxlan"`)
	gateway := func(n string) string { return `"external_gateway_info":{"network_id":"` + n + `"}` }
	r := w.make("demo", "routers", "router", gateway(ext))
	bare := w.make("demo", "routers", "router", "")
	over := w.make("demo", "routers", "router", gateway(overlay))
	l3 := func(node model.NodeID) string { return agentKinds[1].id(node) }
	at := func(node model.NodeID) string { return "/v2.0/agents/" + l3(node) + "/l3-routers" }
	body := func(id string) string { return `{"router_id":"` + id + `"}` }
	want := func(why, router string, nodes ...string) {
		t.Helper()
		if got := w.hosts("routers/" + router + "/l3-agents"); !slices.Equal(got, nodes) {
			t.Errorf("%s: on %v, want %v", why, got, nodes)
		}
		for _, n := range []model.NodeID{"net1", "net2", "other"} {
			listed := slices.Contains(w.ids(at(n), "routers"), router)
			if listed != slices.Contains(nodes, string(n)) {
				t.Errorf("%s: among the routers of %s: %v", why, n, listed)
			}
		}
	}
	missing := "00000000-0000-4000-8000-000000000000"
	first := w.hosts("routers/" + r + "/l3-agents")[0]
	second := map[string]string{"net1": "net2", "net2": "net1"}[first]
	a, b := model.NodeID(first), model.NodeID(second)
	for _, c := range []struct {
		who, method, path, body string
		status                  int
		kind, message           string
	}{
		{"demo", "POST", at(a), body(r), 403, "PolicyNotAuthorized", "rule:create_l3-router is disallowed by policy"},
		{"service", "POST", at(a), body(r), 403, "PolicyNotAuthorized", ""},
		{"demo", "DELETE", at(a) + "/" + r, "", 403, "PolicyNotAuthorized", "rule:delete_l3-router is disallowed by policy"},
		{"admin", "POST", at(a), `{}`, 400, "HTTPBadRequest", ""},
		{"admin", "POST", at(a), body("x"), 400, "HTTPBadRequest", "Invalid input for router_id. Reason: 'x' is not a valid UUID."},
		{"admin", "POST", at(a), body(missing), 404, "RouterNotFound", ""},
		{"admin", "POST", "/v2.0/agents/" + missing + "/l3-routers", body(r), 404, "AgentNotFound", ""},
		{"admin", "POST", "/v2.0/agents/" + agentKinds[2].id(a) + "/l3-routers", body(r), 404, "InvalidL3Agent", "Agent " + agentKinds[2].id(a) + " is not a L3 Agent or has been disabled"},
		{"admin", "POST", at("other"), body(r), 404, "InvalidL3Agent", "Agent " + l3("other") + " is not a L3 Agent or has been disabled: node other does not map physical network physnet1"},
		{"admin", "POST", at(a), body(over), 409, "RouterDoesntSupportScheduling", ""},
		{"admin", "DELETE", at(b) + "/" + r, "", 409, "RouterNotHostedByL3Agent", "The router " + r + " is not hosted by the L3 Agent " + l3(b) + "."},
		{"admin", "DELETE", at(b) + "/" + missing, "", 404, "RouterNotFound", ""},
		{"admin", "DELETE", "/v2.0/agents/" + agentKinds[2].id(a) + "/l3-routers/" + r, "", 404, "InvalidL3Agent", ""},
		{"admin", "GET", at(a) + "/" + r, "", 404, "HTTPNotFound", ""},
		{"admin", "DELETE", at(a), "", 405, "HTTPMethodNotAllowed", ""},
	} {
		w.refuse(c.who, c.method, c.path, c.body, c.status, c.kind, c.message)
	}
	if got := w.send("admin", "POST", at(b), body(r)); got.code != 201 || got.text != "null" {
		t.Fatalf("added: %d %s", got.code, got.text)
	}
	want("chosen", r, second)
	w.refuse("admin", "POST", at(a), body(r), 409, "RouterHostedByL3Agent", "The router "+r+" has been already hosted by the L3 Agent "+l3(b)+".")
	w.do("admin", "POST", at(b), body(r), 201) // asked again
	// It leaves a node that is down, and returns; a new gateway goes to the node too.
	place := func(down ...model.NodeID) {
		t.Helper()
		d := map[model.NodeID]bool{}
		for _, n := range down {
			d[n] = true
		}
		if err := w.api.PlaceGateways(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	place(b)
	want("its node is down", r, first)
	w.refuse("admin", "POST", at(b), body(bare), 409, "RouterSchedulingFailed", "Failed scheduling router "+bare+" to the L3 Agent "+l3(b)+": node "+second+" is not connected.")
	w.api = New(w.api.cfg) // a restart forgets nothing
	place()
	want("its node is back", r, second)
	w.do("demo", "PUT", "/v2.0/routers/"+r, `{"router":{"external_gateway_info":null}}`, 200)
	want("without a gateway", r, second)
	w.do("demo", "PUT", "/v2.0/routers/"+r, `{"router":{`+gateway(ext)+`}}`, 200)
	want("with one again", r, second)
	// Removed, it goes to another node and stays there.
	w.do("admin", "DELETE", at(b)+"/"+r, "", 204)
	want("removed", r, first)
	place()
	want("and placed again", r, first)
	w.edit(second, func(n *model.Node) { n.Mappings = map[string]string{"physnet2": "br-ex"} })
	w.do("admin", "DELETE", at(a)+"/"+r, "", 204)
	want("removed from the only node", r)
	place()
	want("and not wanted there", r)
	w.refuse("admin", "DELETE", at(a)+"/"+r, "", 409, "RouterNotHostedByL3Agent", "")
	w.do("admin", "POST", at(a), body(r), 201)
	want("given back", r, first)
	w.do("admin", "DELETE", at(a)+"/"+r, "", 204)
	w.edit(second, func(n *model.Node) { n.Mappings = map[string]string{"physnet1": "br-ex"} })
	place()
	want("another node comes", r, second)
	w.edit(second, func(n *model.Node) { n.Mappings = map[string]string{"physnet2": "br-ex"} })
	place()
	want("and goes", r, first)
	w.lose(first)
	w.refuse("admin", "POST", at(a), body(bare), 409, "RouterSchedulingFailed", "")
	w.edit(first, func(n *model.Node) { n.Lost = time.Time{} })
	// A router without a gateway is chosen a node for later.
	w.do("admin", "POST", at(a), body(bare), 201)
	want("chosen for later", bare, first)
	w.do("admin", "DELETE", at(a)+"/"+bare, "", 204)
	want("chosen no more", bare)
}

// TestScheduleNetworks: an administrator moves DHCP ports between nodes.
func TestScheduleNetworks(t *testing.T) {
	w := newWorld(t)
	for _, n := range []string{"net1", "net2"} {
		w.node(n, "", map[string]string{"physnet1": "br-ex"})
	}
	n, empty := w.network("demo", ""), w.network("demo", "")
	sub := w.subnet("demo", n, "10.0.0.0/24", "")
	dhcp := func(node model.NodeID) string { return agentKinds[0].id(node) }
	at := func(node model.NodeID) string { return "/v2.0/agents/" + dhcp(node) + "/dhcp-networks" }
	body := func(id string) string { return `{"network_id":"` + id + `"}` }
	want := func(why, network string, nodes ...string) {
		t.Helper()
		if err := w.api.PlaceDHCPPorts(t.Context()); err != nil { // what was asked for stays
			t.Fatal(err)
		}
		if got := w.hosts("networks/" + network + "/dhcp-agents"); !slices.Equal(got, nodes) {
			t.Errorf("%s: on %v, want %v", why, got, nodes)
		}
		for _, node := range []model.NodeID{"net1", "net2"} {
			listed := slices.Contains(w.ids(at(node), "networks"), network)
			if listed != slices.Contains(nodes, string(node)) {
				t.Errorf("%s: among the networks of %s: %v", why, node, listed)
			}
		}
	}
	missing := "00000000-0000-4000-8000-000000000000"
	want("at first", n, "net1")
	w.refuse("demo", "POST", at("net2"), body(n), 403, "PolicyNotAuthorized", "rule:create_dhcp-network is disallowed by policy")
	w.refuse("demo", "DELETE", at("net1")+"/"+n, "", 403, "PolicyNotAuthorized", "rule:delete_dhcp-network is disallowed by policy")
	w.refuse("admin", "POST", at("net2"), body(missing), 404, "NetworkNotFound", "")
	w.refuse("admin", "POST", "/v2.0/agents/"+missing+"/dhcp-networks", body(n), 404, "AgentNotFound", "")
	other := agentKinds[2].id("net2")
	w.refuse("admin", "POST", "/v2.0/agents/"+other+"/dhcp-networks", body(n), 404, "InvalidDHCPAgent", "Agent "+other+" is not a valid DHCP Agent or has been disabled.")
	w.refuse("admin", "POST", at("net1"), body(n), 409, "NetworkHostedByDHCPAgent", "The network "+n+" has been already hosted by the DHCP Agent "+dhcp("net1")+".")
	w.refuse("admin", "DELETE", at("net2")+"/"+n, "", 409, "NetworkNotHostedByDhcpAgent", "The network "+n+" is not hosted by the DHCP Agent "+dhcp("net2")+".")
	w.refuse("admin", "DELETE", at("net2")+"/"+missing, "", 409, "NetworkNotHostedByDhcpAgent", "")
	port := w.names("admin", "ports?device_owner=network:dhcp&network_id="+n, "id")
	if got := w.send("admin", "POST", at("net2"), body(n)); got.code != 201 || got.text != "null" {
		t.Fatalf("added: %d %s", got.code, got.text)
	}
	want("added to another", n, "net2")
	if now := w.names("admin", "ports?device_owner=network:dhcp&network_id="+n, "id"); !slices.Equal(now, port) {
		t.Errorf("DHCP ports %v, there was %v", now, port)
	}
	w.do("demo", "PUT", "/v2.0/subnets/"+sub, `{"subnet":{"enable_dhcp":false}}`, 200)
	w.do("demo", "PUT", "/v2.0/subnets/"+sub, `{"subnet":{"enable_dhcp":true}}`, 200)
	want("DHCP was off and is on again", n, "net2")
	w.do("admin", "DELETE", at("net2")+"/"+n, "", 204)
	want("removed", n, "net1")
	w.edit("net2", func(n *model.Node) { n.Mappings = nil })
	w.do("admin", "DELETE", at("net1")+"/"+n, "", 204)
	want("removed from the only one", n)
	w.edit("net2", func(n *model.Node) { n.Mappings = map[string]string{"physnet1": "br-ex"} })
	want("another came", n, "net2")
	w.do("admin", "POST", at("net1"), body(empty), 201)
	want("a network without DHCP", empty, "net1")
	w.subnet("demo", empty, "10.1.0.0/24", "")
	want("it has DHCP now", empty, "net1")

	native := newWorld(t, func(c *Config) { c.NativeDHCP, c.DHCPServerHost = true, "server" })
	native.node("compute", "", nil)
	n = native.network("demo", "")
	native.subnet("demo", n, "10.0.0.0/24", "")
	native.refuse("admin", "POST", at("compute"), body(n), 404, "InvalidDHCPAgent", "Agent "+dhcp("compute")+
		" is not a valid DHCP Agent or has been disabled. Every node answers for the networks of its ports; there is nothing to schedule.")
	native.refuse("admin", "DELETE", at("compute")+"/"+n, "", 404, "InvalidDHCPAgent", "")
	for alias, w := range map[string]*world{"dhcp_agent_scheduler": native, "l3_agent_scheduler": w} {
		if slices.Contains(w.names("admin", "extensions", "alias"), alias) {
			t.Errorf("%s is listed where nothing can be scheduled", alias)
		}
	}
}

// TestDeleteAgents: agents of a node that is gone go one by one, with the last the node; one that comes back is seen again.
func TestDeleteAgents(t *testing.T) {
	w := newWorld(t, withRouters)
	w.node("net1", "", map[string]string{"physnet1": "br-ex"})
	w.node("net2", "", nil)
	ids := w.names("admin", "agents?host=net1", "id")
	if len(ids) != 3 {
		t.Fatalf("agents %v", ids)
	}
	for _, id := range ids {
		w.refuse("admin", "DELETE", "/v2.0/agents/"+id, "", 409, "AgentInUse", "")
	}
	w.lose("net1")
	w.refuse("demo", "DELETE", "/v2.0/agents/"+ids[0], "", 404, "AgentNotFound", "")
	w.refuse("service", "DELETE", "/v2.0/agents/"+ids[0], "", 403, "PolicyNotAuthorized", "")
	for i, id := range ids[:2] {
		w.do("admin", "DELETE", "/v2.0/agents/"+id, "", 204)
		w.refuse("admin", "GET", "/v2.0/agents/"+id, "", 404, "AgentNotFound", "")
		w.refuse("admin", "DELETE", "/v2.0/agents/"+id, "", 404, "AgentNotFound", "")
		if left := w.names("admin", "agents?host=net1", "id"); !slices.Equal(left, ids[i+1:]) {
			t.Errorf("left %v", left)
		}
	}
	known := func() bool { _, ok := tables.Nodes.Get(w.st.Snapshot(), "net1"); return ok }
	w.edit("net1", func(n *model.Node) { n.Lost = time.Time{} })
	if got := w.names("admin", "agents?host=net1", "id"); !slices.Equal(got, ids) {
		t.Errorf("back, with %v", got)
	}
	w.edit("net1", func(n *model.Node) { n.Lost = time.Date(2026, 1, 1, 5, 0, 0, 0, time.UTC) })
	for i, id := range ids {
		if !known() {
			t.Errorf("forgotten after %d of %d agents", i, len(ids))
		}
		w.do("admin", "DELETE", "/v2.0/agents/"+id, "", 204)
	}
	if known() || agentNotes.Len(w.st.Snapshot()) != 0 {
		t.Errorf("known %v, %d notes", known(), agentNotes.Len(w.st.Snapshot()))
	}
	if got := w.names("admin", "agents", "host"); !slices.Equal(got, []string{"net2"}) {
		t.Errorf("left %v", got)
	}
}
