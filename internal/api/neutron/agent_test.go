// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// lose marks a node as lost.
func (w *world) lose(id string) {
	w.t.Helper()
	if _, err := w.st.Commit(context.Background(), store.Origin{}, func(tx *store.Txn) error {
		n, _ := tables.Nodes.Get(tx, model.NodeID(id))
		n.Lost = time.Date(2026, 1, 1, 0, 0, 7, 0, time.UTC)
		tables.Nodes.Put(tx, n.ID, n)
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
}

// TestAgents: nodes as the agents whose work they do, to administrators and services alone.
func TestAgents(t *testing.T) {
	w := newWorld(t, withRouters)
	w.node("controller", "netdev", map[string]string{"physnet1": "br-ex"})
	w.node("compute", "", nil)
	kinds := func(query string) []string {
		got := w.names("admin", "agents"+query, "agent_type")
		slices.Sort(got)
		return got
	}
	for query, want := range map[string][]string{
		"":                                {"DHCP agent", "L3 agent", "Open vSwitch agent", "Open vSwitch agent"},
		"?host=compute":                   {"Open vSwitch agent"},
		"?host=nowhere":                   {},
		"?agent_type=L3+agent&alive=true": {"L3 agent"},
		"?binary=neutron-openvswitch-agent&host=controller&host=compute": {"Open vSwitch agent", "Open vSwitch agent"},
		"?availability_zone=nova": {"DHCP agent", "L3 agent"},
		"?alive=false":            {},
	} {
		if got := kinds(query); !slices.Equal(got, want) {
			t.Errorf("agents%s: %v, want %v", query, got, want)
		}
	}
	// Pages hold every agent once.
	var paged []string
	for marker := ""; len(paged) < 9; {
		page := w.names("service", "agents?limit=1&marker="+marker, "id")
		if len(page) == 0 {
			break
		}
		marker = page[0]
		paged = append(paged, marker)
	}
	if all := w.names("admin", "agents", "id"); !slices.Equal(paged, all) || len(all) != 4 {
		t.Errorf("page by page %v, whole %v", paged, all)
	}
	id := w.names("admin", "agents?host=controller&agent_type=Open+vSwitch+agent", "id")[0]
	at := "/v2.0/agents/" + id
	a := w.do("admin", "GET", at, "", 200)["agent"]
	for k, want := range map[string]any{"host": "controller", "alive": true, "admin_state_up": true, "heartbeat_timestamp": "2026-01-02 03:04:05", "availability_zone": nil, "description": nil,
		"binary": "neutron-openvswitch-agent", "configurations": map[string]any{"bridge_mappings": map[string]any{"physnet1": "br-ex"}, "tunneling_ip": "192.168.0.10", "datapath_type": "netdev",
			"integration_bridge": "br-int", "tunnel_types": []any{"vxlan"}, "ovs_version": ""}} {
		if got := dig(a, k); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s is %v, want %v", k, got, want)
		}
	}
	if got := w.names("demo", "agents", "id"); len(got) != 0 {
		t.Errorf("a member sees %v", got)
	}
	w.refuse("demo", "GET", at, "", 404, "AgentNotFound", "Agent "+id+" could not be found")
	w.refuse("demo", "PUT", at, `{"agent":{"description":"x"}}`, 404, "AgentNotFound", "")
	w.refuse("service", "PUT", at, `{"agent":{"description":"x"}}`, 403, "PolicyNotAuthorized", "")
	w.refuse("admin", "PUT", at, `{"agent":{"admin_state_up":false}}`, 400, "HTTPBadRequest", "")
	w.refuse("admin", "PUT", at, `{"agent":{"host":"x"}}`, 400, "HTTPBadRequest", "Cannot update read-only attribute host")
	w.refuse("admin", "POST", "/v2.0/agents", `{"agent":{}}`, 405, "HTTPMethodNotAllowed", "")
	w.refuse("admin", "DELETE", at, "", 409, "AgentInUse", "Agent "+id+" cannot be deleted: node controller is connected. Stop its Open vSwitch or take its manager away (ovs-vsctl del-manager) first.")
	// An agent that this configuration does not have is not there under its id either.
	w.refuse("admin", "GET", "/v2.0/agents/"+agentKinds[1].id("compute"), "", 404, "AgentNotFound", "")
	if m := w.do("admin", "PUT", at, `{"agent":{"description":"rack 4","admin_state_up":true}}`, 200); dig(m, "agent", "description") != "rack 4" {
		t.Errorf("described %v", m)
	}
	w.lose("controller")
	if a := w.do("admin", "GET", at, "", 200)["agent"]; dig(a, "alive") != false || dig(a, "heartbeat_timestamp") != "2026-01-01 00:00:07" || dig(a, "description") != "rack 4" {
		t.Errorf("lost: %v", a)
	}
	off := newWorld(t)
	off.node("controller", "", map[string]string{"physnet1": "br-ex"})
	if got := off.names("admin", "agents?agent_type=L3+agent", "id"); len(got) != 0 {
		t.Errorf("without routers: %v", got)
	}
}

// TestSchedulers: which node serves a network and a router, from both ends.
func TestSchedulers(t *testing.T) {
	w := newWorld(t, withRouters)
	w.node("controller", "", map[string]string{"physnet1": "br-ex"})
	w.node("compute", "", nil)
	n, ext := w.network("demo", ""), w.network("admin", `"router:external":true`)
	w.subnet("demo", n, "10.0.0.0/24", "")
	w.subnet("admin", ext, "172.16.0.0/24", `,"enable_dhcp":false`)
	r := w.make("demo", "routers", "router", `"external_gateway_info":{"network_id":"`+ext+`"}`)
	bare := w.make("demo", "routers", "router", "")
	ids := func(path, list string) (out []string) {
		for _, o := range w.do("admin", "GET", path, "", 200)[list].([]any) {
			out = append(out, dig(o, "id").(string))
		}
		return out
	}
	dhcp, l3 := agentKinds[0].id("controller"), agentKinds[1].id("controller")
	for _, c := range []struct {
		path, list string
		want       []string
	}{
		{"/v2.0/networks/" + n + "/dhcp-agents", "agents", []string{dhcp}},
		{"/v2.0/networks/" + ext + "/dhcp-agents", "agents", nil},
		{"/v2.0/agents/" + dhcp + "/dhcp-networks", "networks", []string{n}},
		{"/v2.0/agents/" + l3 + "/dhcp-networks", "networks", nil},
		{"/v2.0/routers/" + r + "/l3-agents", "agents", []string{l3}},
		{"/v2.0/routers/" + bare + "/l3-agents", "agents", nil},
		{"/v2.0/agents/" + l3 + "/l3-routers", "routers", []string{r}},
	} {
		if got := ids(c.path, c.list); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.path, got, c.want)
		}
	}
	w.refuse("demo", "GET", "/v2.0/networks/"+n+"/dhcp-agents", "", 403, "PolicyNotAuthorized", "")
	w.refuse("demo", "GET", "/v2.0/routers/"+r+"/l3-agents", "", 403, "PolicyNotAuthorized", "")
	w.refuse("other", "GET", "/v2.0/routers/"+r+"/l3-agents", "", 404, "RouterNotFound", "")
	w.refuse("demo", "GET", "/v2.0/agents/"+l3+"/l3-routers", "", 404, "AgentNotFound", "")
	w.refuse("admin", "POST", "/v2.0/networks/"+n+"/dhcp-agents", `{"agent_id":"x"}`, 405, "HTTPMethodNotAllowed", "")
	w.refuse("admin", "GET", "/v2.0/networks/"+n+"/dhcp-agents/"+dhcp, "", 404, "HTTPNotFound", "")

	// Zones: known where a node makes them, available while one of those is alive.
	zones := func(query string) []string { return w.names("demo", "availability_zones"+query, "resource") }
	if got := zones(""); !slices.Equal(got, []string{"network", "router"}) || !slices.Equal(zones("?resource=router&name=nova"), []string{"router"}) || len(zones("?state=unavailable")) != 0 {
		t.Errorf("zones %v", got)
	}
	w.refuse("demo", "GET", "/v2.0/availability_zones?foo=1", "", 400, "HTTPBadRequest", "['foo'] is invalid attribute for filtering")
	if m := w.do("demo", "GET", "/v2.0/networks/"+n, "", 200); fmt.Sprint(dig(m, "network", "availability_zones")) != "[nova]" {
		t.Errorf("network %v", m)
	}
	if m := w.do("demo", "POST", "/v2.0/routers", `{"router":{"availability_zone_hints":["nova"]}}`, 201); fmt.Sprint(dig(m, "router", "availability_zone_hints")) != "[nova]" {
		t.Errorf("router %v", m)
	}
	if m := w.do("demo", "POST", "/v2.0/networks", `{"network":{"availability_zone_hints":["nova"]}}`, 201); fmt.Sprint(dig(m, "network", "availability_zone_hints")) != "[nova]" {
		t.Errorf("network %v", m)
	}
	w.refuse("demo", "POST", "/v2.0/networks", `{"network":{"availability_zone_hints":["mars"]}}`, 404, "AvailabilityZoneNotFound", "AvailabilityZone mars could not be found.")
	w.refuse("demo", "POST", "/v2.0/routers", `{"router":{"availability_zone_hints":["mars"]}}`, 404, "AvailabilityZoneNotFound", "")
	w.lose("controller")
	if got := w.names("demo", "availability_zones", "state"); !slices.Equal(got, []string{"unavailable", "unavailable"}) {
		t.Errorf("of a lost node: %v", got)
	}
}

// TestAvailability counts what pools have and ports take, by network, subnet and family.
func TestAvailability(t *testing.T) {
	w := newWorld(t)
	n := w.network("demo", `"name":"n"`)
	four := w.subnet("demo", n, "10.0.0.0/24", `,"enable_dhcp":false,"name":"four"`)
	w.subnet("demo", n, "fd00::/64", `,"enable_dhcp":false`)
	empty := w.network("demo", "")
	at := "/v2.0/network-ip-availabilities/" + n
	var last string
	for range 3 {
		last = w.port("demo", n, "")
	}
	want := func(path, total, used string) {
		t.Helper()
		a := w.send("admin", "GET", path, "")
		if head := `"total_ips":` + total + `,"used_ips":` + used + `,"subnet_ip_availability":[`; a.code != 200 || !strings.Contains(a.text, head) {
			t.Errorf("%s: %d %s, want %s", path, a.code, a.text, head)
		}
	}
	want(at, "18446744073709551867", "6") // 2^64 - 2 and 253
	want("/v2.0/network-ip-availabilities?ip_version=4", "253", "3")
	want("/v2.0/network-ip-availabilities?ip_version=6&network_name=n", "18446744073709551614", "3")
	if m := w.do("admin", "GET", "/v2.0/network-ip-availabilities?ip_version=4", "", 200); len(m["network_ip_availabilities"].([]any)) != 1 ||
		fmt.Sprint(dig(m, "network_ip_availabilities", 0, "subnet_ip_availability", 0)) != "map[cidr:10.0.0.0/24 ip_version:4 subnet_id:"+four+" subnet_name:four total_ips:253 used_ips:3]" {
		t.Errorf("of IPv4: %v", m)
	}
	w.do("demo", "DELETE", "/v2.0/ports/"+last, "", 204)
	w.do("demo", "POST", "/v2.0/ports", `{"port":{"network_id":"`+n+`","fixed_ips":[{"subnet_id":"`+four+`"},{"subnet_id":"`+four+`"}]}}`, 201)
	want(at+"?ip_version=4", "253", "4")
	want("/v2.0/network-ip-availabilities/"+empty, "0", "0")
	w.do("demo", "PUT", "/v2.0/subnets/"+four, `{"subnet":{"allocation_pools":[{"start":"10.0.0.10","end":"10.0.0.19"}]}}`, 200)
	want(at+"?ip_version=4", "10", "4")
	if got := w.names("demo", "network-ip-availabilities?project_id=p-demo", "network_id"); len(got) != 0 {
		t.Errorf("a member counts %v", got)
	}
	w.refuse("demo", "GET", at, "", 404, "NetworkNotFound", "")
	w.refuse("admin", "GET", "/v2.0/network-ip-availabilities?total_ips=1", "", 400, "HTTPBadRequest", "")
	w.refuse("admin", "DELETE", at, "", 405, "HTTPMethodNotAllowed", "")
	w.refuse("admin", "PUT", at, `{}`, 405, "HTTPMethodNotAllowed", "")
}
