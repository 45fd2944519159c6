// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/identity"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

const recordedNet = "6a1b5d1e-45f2-4a52-8bd4-a3f5b0e6f1aa"

// TestWalkthrough is step 1 and 2 of the scenario at the level of the API, with the recorded ids: bodies compared whole.
func TestWalkthrough(t *testing.T) {
	ids, err := alloc.ParseRecorded([]byte(`
networks: [{name: net01, id: ` + recordedNet + `, segmentation_id: 1077}]
subnets: [{name: net01-subnet, id: 11111111-0000-4000-8000-000000000001}]
ports:
- {device_owner: "network:dhcp", network: net01, id: 178a8b99-7000-4000-8000-000000000000, mac: "fa:16:3e:ef:85:07"}
- {name: vm01, id: 7adff632-cc00-4000-8000-000000000000, mac: "fa:16:3e:9e:f5:70"}
`))
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *Config) { c.IDs = ids })
	w.node("controller", "netdev", map[string]string{"physnet1": "br-ex"})
	w.node("compute", "", nil)
	group := w.names("demo", "security-groups", "id")[0]
	same := func(a answer, want string) {
		t.Helper()
		if want = strings.Join(strings.Fields(want), ""); strings.ReplaceAll(a.text, " ", "") != want {
			t.Errorf("got  %s\nwant %s", a.text, want)
		}
	}
	same(w.send("demo", "POST", "/v2.0/networks", `{"network":{"name":"net01","admin_state_up":true}}`), `{"network":{
		"id":"`+recordedNet+`","name":"net01","tenant_id":"p-demo","project_id":"p-demo","description":"","tags":[],
		"created_at":"2026-01-02T03:04:05Z","updated_at":"2026-01-02T03:04:05Z","revision_number":1,
		"admin_state_up":true,"status":"ACTIVE","subnets":[],"shared":false,"mtu":1450,"port_security_enabled":true,"router:external":false,
		"dns_domain":"",
		"l2_adjacency":true,"qos_policy_id":null,"ipv4_address_scope":null,"ipv6_address_scope":null,"availability_zone_hints":[],"availability_zones":[]}}`)
	if m := w.do("admin", "GET", "/v2.0/networks/"+recordedNet, "", 200); dig(m, "network", "provider:segmentation_id") != 1077.0 ||
		dig(m, "network", "provider:network_type") != "vxlan" || dig(m, "network", "provider:physical_network") != nil {
		t.Errorf("administrator's view: %v", m)
	}
	same(w.send("demo", "POST", "/v2.0/subnets", `{"subnet":{"name":"net01-subnet","network_id":"`+recordedNet+`","cidr":"10.11.12.0/24","ip_version":4}}`), `{"subnet":{
		"id":"11111111-0000-4000-8000-000000000001","name":"net01-subnet","tenant_id":"p-demo","project_id":"p-demo","description":"","tags":[],
		"created_at":"2026-01-02T03:04:05Z","updated_at":"2026-01-02T03:04:05Z","revision_number":0,
		"network_id":"`+recordedNet+`","ip_version":4,"enable_dhcp":true,"ipv6_ra_mode":null,"ipv6_address_mode":null,
		"gateway_ip":"10.11.12.1","cidr":"10.11.12.0/24","allocation_pools":[{"end":"10.11.12.254","start":"10.11.12.2"}],"host_routes":[],
		"dns_nameservers":[],"service_types":[],"router:external":false,"dns_publish_fixed_ip":false,"subnetpool_id":null}}`)
	same(w.send("admin", "GET", "/v2.0/ports/178a8b99-7000-4000-8000-000000000000", ""), `{"port":{
		"id":"178a8b99-7000-4000-8000-000000000000","name":"","tenant_id":"p-demo","project_id":"p-demo","description":"","tags":[],
		"created_at":"2026-01-02T03:04:05Z","updated_at":"2026-01-02T03:04:05Z","revision_number":1,
		"network_id":"`+recordedNet+`","mac_address":"fa:16:3e:ef:85:07","admin_state_up":true,"status":"DOWN",
		"device_id":"dhcpd3377d3c-a0d1-5d71-9947-f17125c357bb-`+recordedNet+`","device_owner":"network:dhcp",
		"fixed_ips":[{"ip_address":"10.11.12.2","subnet_id":"11111111-0000-4000-8000-000000000001"}],
		"port_security_enabled":false,"security_groups":[],"allowed_address_pairs":[],"extra_dhcp_opts":[],
		"qos_policy_id":null,"qos_network_policy_id":null,"propagate_uplink_status":false,"device_profile":null,"numa_affinity_policy":null,"data_plane_status":null,
		"dns_name":"","dns_domain":"","dns_assignment":[{"fqdn":"host-10-11-12-2.openstacklocal.","hostname":"host-10-11-12-2","ip_address":"10.11.12.2"}],
		"ip_allocation":"immediate","resource_request":null,"binding:vnic_type":"normal","binding:host_id":"controller","binding:profile":{},
		"binding:vif_type":"ovs","binding:vif_details":{"bridge_name":"br-int","connectivity":"l2","datapath_type":"netdev","ovs_hybrid_plug":false,"port_filter":true},"trusted":null}}`)

	// Nova: create as the user, bind as the service.
	vm := "7adff632-cc00-4000-8000-000000000000"
	same(w.send("demo", "POST", "/v2.0/ports", `{"port":{"name":"vm01","network_id":"`+recordedNet+`","device_id":"vm-id","tenant_id":"p-demo"}}`), `{"port":{
		"id":"`+vm+`","name":"vm01","tenant_id":"p-demo","project_id":"p-demo","description":"","tags":[],
		"created_at":"2026-01-02T03:04:05Z","updated_at":"2026-01-02T03:04:05Z","revision_number":1,
		"network_id":"`+recordedNet+`","mac_address":"fa:16:3e:9e:f5:70","admin_state_up":true,"status":"DOWN",
		"device_id":"vm-id","device_owner":"","fixed_ips":[{"ip_address":"10.11.12.3","subnet_id":"11111111-0000-4000-8000-000000000001"}],
		"port_security_enabled":true,"security_groups":["`+group+`"],"allowed_address_pairs":[],"extra_dhcp_opts":[],
		"qos_policy_id":null,"qos_network_policy_id":null,"propagate_uplink_status":false,"device_profile":null,"numa_affinity_policy":null,"data_plane_status":null,
		"dns_name":"","dns_domain":"","dns_assignment":[{"fqdn":"host-10-11-12-3.openstacklocal.","hostname":"host-10-11-12-3","ip_address":"10.11.12.3"}],
		"ip_allocation":"immediate","binding:vnic_type":"normal"}}`)
	bind := `{"port":{"device_id":"vm-id","device_owner":"compute:nova","binding:host_id":"compute","binding:profile":{}}}`
	m := w.do("service", "PUT", "/v2.0/ports/"+vm, bind, 200)
	if dig(m, "port", "binding:vif_type") != "ovs" || dig(m, "port", "binding:vif_details", "datapath_type") != "system" || dig(m, "port", "status") != "DOWN" {
		t.Errorf("bound port %v", m)
	}
	w.setStatus(model.PortID(vm), model.StatusActive)
	if m = w.do("demo", "GET", "/v2.0/ports/"+vm, "", 200); dig(m, "port", "status") != "ACTIVE" {
		t.Errorf("status %v", dig(m, "port", "status"))
	}
	w.do("service", "PUT", "/v2.0/ports/"+vm, bind, 200)
	if m = w.do("demo", "GET", "/v2.0/ports/"+vm, "", 200); dig(m, "port", "status") != "ACTIVE" {
		t.Error("binding it where it is already took it down")
	}
	if m = w.do("service", "PUT", "/v2.0/ports/"+vm, `{"port":{"binding:host_id":"controller"}}`, 200); dig(m, "port", "status") != "DOWN" {
		t.Error("ACTIVE on a node that has not confirmed it")
	}
	m = w.do("service", "PUT", "/v2.0/ports/"+vm, `{"port":{"device_id":"","device_owner":"","binding:host_id":null,"binding:profile":{}}}`, 200)
	if dig(m, "port", "binding:vif_type") != "unbound" || dig(m, "port", "status") != "DOWN" || dig(m, "port", "binding:host_id") != "" {
		t.Errorf("unbound port %v", m)
	}
	m = w.do("admin", "PUT", "/v2.0/ports/"+vm, `{"port":{"binding:host_id":"nowhere"}}`, 200)
	if dig(m, "port", "binding:vif_type") != "binding_failed" || fmt.Sprint(dig(m, "port", "binding:vif_details")) != "map[]" {
		t.Errorf("port on an unknown host %v", m)
	}

	// Everything goes with the network.
	w.do("demo", "DELETE", "/v2.0/ports/"+vm, "", 204)
	w.do("demo", "DELETE", "/v2.0/networks/"+recordedNet, "", 204)
	if n := tables.Ports.Len(w.st.Snapshot()) + tables.Subnets.Len(w.st.Snapshot()) + tables.Statuses.Len(w.st.Snapshot()); n != 0 {
		t.Errorf("%d records are left", n)
	}
}

func (w *world) setStatus(id model.PortID, s string) {
	w.t.Helper()
	if _, err := w.st.Commit(context.Background(), store.Origin{}, func(tx *store.Txn) error {
		tables.Statuses.Put(tx, id, model.PortStatus{Port: id, Status: s})
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
}

// TestDHCPPort follows a network's DHCP port through the life of its subnets and nodes.
func TestDHCPPort(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	net := w.network("demo", `"name":"n"`)
	dhcp := func() *model.Port {
		t.Helper()
		var out *model.Port
		for p := range tables.DHCPPortsByNetwork.By(w.st.Snapshot(), net) {
			if out != nil {
				t.Fatal("two DHCP ports")
			}
			out = &p
		}
		return out
	}
	addrs := func() (out []string) {
		for _, f := range dhcp().FixedIPs {
			out = append(out, f.Addr.String())
		}
		return out
	}
	s0 := w.subnet("demo", net, "10.0.0.0/24", `,"enable_dhcp":false`)
	if dhcp() != nil {
		t.Fatal("a DHCP port without a subnet that wants one")
	}
	s1 := w.subnet("demo", net, "10.1.0.0/24", "")
	p := dhcp()
	if p == nil || p.Host != "" || p.DeviceID != "reserved_dhcp_port" || p.PortSecurity || p.Key == 0 || p.Project != "p-demo" || !slices.Equal(addrs(), []string{"10.1.0.2"}) {
		t.Fatalf("port %+v", p)
	}
	if err := w.api.PlaceDHCPPorts(ctx); err != nil || dhcp().Host != "" {
		t.Fatalf("placed on no node: %v", err)
	}
	w.node("compute", "", nil)
	w.node("controller", "", map[string]string{"physnet1": "br-ex"})
	if err := w.api.PlaceDHCPPorts(ctx); err != nil || dhcp().Host != "controller" || dhcp().DeviceID != "dhcpd3377d3c-a0d1-5d71-9947-f17125c357bb-"+net {
		t.Fatalf("port %+v, %v", dhcp(), err)
	}
	w.node("a-better-one", "", map[string]string{"physnet1": "br-ex"})
	before := w.st.Snapshot().Revision()
	if err := w.api.PlaceDHCPPorts(ctx); err != nil || dhcp().Host != "controller" || w.st.Snapshot().Revision() != before {
		t.Errorf("a placed port moved: %+v, %v", dhcp(), err)
	}
	if _, err := w.st.Commit(ctx, store.Origin{}, func(tx *store.Txn) error { tables.Nodes.Delete(tx, "controller"); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := w.api.PlaceDHCPPorts(ctx); err != nil || dhcp().Host != "a-better-one" {
		t.Errorf("the port did not leave a node that is gone: %+v, %v", dhcp(), err)
	}
	id := string(p.ID)
	w.do("demo", "PUT", "/v2.0/subnets/"+s0, `{"subnet":{"enable_dhcp":true}}`, 200)
	if string(dhcp().ID) != id || !slices.Equal(addrs(), []string{"10.0.0.2", "10.1.0.2"}) {
		t.Errorf("addresses %v", addrs())
	}
	w.refuse("demo", "DELETE", "/v2.0/ports/"+id, "", 409, "ServicePortInUse", "")
	w.refuse("admin", "PUT", "/v2.0/ports/"+id, `{"port":{"device_owner":""}}`, 409, "ServicePortInUse", "")
	w.refuse("demo", "PUT", "/v2.0/ports/"+id, `{"port":{"mac_address":"fa:16:3e:00:00:99"}}`, 409, "ServicePortInUse", "")
	w.do("demo", "PUT", "/v2.0/ports/"+id, `{"port":{"name":"my dhcp"}}`, 200)
	w.do("demo", "DELETE", "/v2.0/subnets/"+s1, "", 204)
	if !slices.Equal(addrs(), []string{"10.0.0.2"}) {
		t.Errorf("addresses %v", addrs())
	}
	w.do("demo", "PUT", "/v2.0/subnets/"+s0, `{"subnet":{"enable_dhcp":false}}`, 200)
	if dhcp() != nil {
		t.Errorf("port %+v without a subnet that wants it", dhcp())
	}
	// Its address is free again.
	if m := w.do("demo", "POST", "/v2.0/ports", `{"port":{"network_id":"`+net+`"}}`, 201); dig(m, "port", "fixed_ips", 0, "ip_address") != "10.0.0.2" {
		t.Errorf("port %v", m)
	}
	// A subnet with no room for a server.
	w.subnet("demo", net, "10.2.0.0/24", `,"allocation_pools":[]`)
	if dhcp() != nil {
		t.Errorf("port %+v without an address", dhcp())
	}
}

func TestPortAddresses(t *testing.T) {
	w := newWorld(t)
	net := w.network("demo", "")
	w.subnet("demo", net, "10.0.0.0/29", `,"enable_dhcp":false`) // .2 to .6
	s6 := w.subnet("demo", net, "fd00::/64", `,"ipv6_ra_mode":"slaac","ipv6_address_mode":"slaac"`)
	if m := w.do("demo", "GET", "/v2.0/subnets/"+s6, "", 200); dig(m, "subnet", "gateway_ip") != "fd00::" {
		t.Errorf("gateway of a SLAAC subnet: %v", dig(m, "subnet", "gateway_ip"))
	}
	ips := func(m map[string]any) (out []string) {
		for _, f := range dig(m, "port", "fixed_ips").([]any) {
			out = append(out, dig(f, "ip_address").(string))
		}
		return out
	}
	check := func(m map[string]any, want ...string) {
		t.Helper()
		if got := ips(m); !slices.Equal(got, want) {
			t.Errorf("addresses %v, want %v", got, want)
		}
	}
	create := func(attrs string, status int) map[string]any {
		t.Helper()
		return w.do("demo", "POST", "/v2.0/ports", `{"port":{"network_id":"`+net+`"`+attrs+`}}`, status)
	}
	a := create(`,"mac_address":"fa:16:3e:00:00:01"`, 201)
	check(a, "10.0.0.2", "fd00::f816:3eff:fe00:1")
	id := dig(a, "port", "id").(string)
	check(create(`,"mac_address":"fa:16:3e:00:00:02","fixed_ips":[{"ip_address":"10.0.0.4"}]`, 201), "10.0.0.4", "fd00::f816:3eff:fe00:2")
	check(create(`,"mac_address":"fa:16:3e:00:00:0b","fixed_ips":[]`, 201), "fd00::f816:3eff:fe00:b") // that one its host forms anyway
	update := func(fixed string) map[string]any {
		t.Helper()
		return w.do("demo", "PUT", "/v2.0/ports/"+id, `{"port":{"fixed_ips":`+fixed+`}}`, 200)
	}
	check(update(`[{"ip_address":"10.0.0.2"},{"ip_address":"10.0.0.3"}]`), "10.0.0.2", "10.0.0.3", "fd00::f816:3eff:fe00:1")
	check(update(`[{"ip_address":"10.0.0.3"}]`), "10.0.0.3", "fd00::f816:3eff:fe00:1")
	w.refuse("demo", "PUT", "/v2.0/ports/"+id, `{"port":{"fixed_ips":[{"ip_address":"10.0.0.4"}]}}`, 409, "IpAddressAlreadyAllocated", "")
	for _, want := range []string{"10.0.0.2", "10.0.0.5", "10.0.0.6"} { // .2 came back first
		if got := ips(create("", 201)); got[0] != want {
			t.Errorf("got %v, want %s", got, want)
		}
	}
	w.refuse("demo", "POST", "/v2.0/ports", `{"port":{"network_id":"`+net+`"}}`, 409, "IpAddressGenerationFailure", "No more IP addresses available on network "+net+".")
	check(update(`[]`), "fd00::f816:3eff:fe00:1")
	check(create(`,"fixed_ips":[{"ip_address":"10.0.0.1"}],"mac_address":"fa:16:3e:00:00:0a"`, 201), "10.0.0.1", "fd00::f816:3eff:fe00:a") // the gateway's, if asked for
	// A subnet on which only automatic addresses are may go; the ports lose them.
	w.do("demo", "DELETE", "/v2.0/subnets/"+s6, "", 204)
	for p := range tables.PortsByNetwork.By(w.st.Snapshot(), net) {
		for _, f := range p.FixedIPs {
			if f.Addr.Is6() {
				t.Errorf("port %s kept %s", p.ID, f.Addr)
			}
		}
	}
	// A new automatic subnet reaches the ports that are there.
	w.subnet("demo", net, "fd01::/64", `,"ipv6_ra_mode":"slaac","ipv6_address_mode":"slaac"`)
	check(w.do("demo", "GET", "/v2.0/ports/"+id, "", 200), "fd01::f816:3eff:fe00:1")

	// Service types: a subnet for routers is not for instances.
	n2 := w.network("demo", "")
	w.subnet("demo", n2, "10.7.0.0/24", `,"enable_dhcp":false,"service_types":["compute:nova"]`)
	w.subnet("demo", n2, "10.8.0.0/24", `,"enable_dhcp":false`)
	for owner, want := range map[string]string{"compute:nova": "10.7.0.2", "other": "10.8.0.2"} {
		if m := w.do("demo", "POST", "/v2.0/ports", `{"port":{"network_id":"`+n2+`","device_owner":"`+owner+`"}}`, 201); ips(m)[0] != want {
			t.Errorf("%s: %v", owner, ips(m))
		}
	}
}

func TestBulkIsAllOrNothing(t *testing.T) {
	w := newWorld(t)
	net := w.network("demo", "")
	w.subnet("demo", net, "10.0.0.0/24", "")
	m := w.do("demo", "POST", "/v2.0/ports", fmt.Sprintf(`{"ports":[{"network_id":%q,"name":"a"},{"network_id":%q,"name":"b"}]}`, net, net), 201)
	if dig(m, "ports", 0, "name") != "a" || dig(m, "ports", 1, "fixed_ips", 0, "ip_address") != "10.0.0.4" {
		t.Errorf("ports %v", m)
	}
	w.refuse("demo", "POST", "/v2.0/ports", fmt.Sprintf(`{"ports":[{"network_id":%q},{"network_id":%q,"fixed_ips":[{"ip_address":"10.0.0.3"}]}]}`, net, net), 409, "IpAddressAlreadyAllocated", "")
	w.refuse("demo", "POST", "/v2.0/networks", `{"networks":[`+strings.Repeat(`{},`, 1000)+`{}]}`, 400, "HTTPBadRequest", "")
}

func TestQuotas(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Quotas = map[string]int{"network": 10, "port": 20} })
	if m := w.do("demo", "GET", "/v2.0/quotas/p-demo", "", 200); dig(m, "quota", "network") != 10.0 || dig(m, "quota", "subnet") != -1.0 {
		t.Errorf("quota %v", m)
	}
	// Exact under parallel creates.
	var wg sync.WaitGroup
	codes := make([]int, 100)
	for i := range codes {
		wg.Go(func() {
			r := httptest.NewRequest("POST", "/v2.0/networks", strings.NewReader(`{"network":{}}`))
			r.Header.Set("X-Auth-Token", "demo")
			rec := httptest.NewRecorder()
			w.api.ServeHTTP(rec, r)
			codes[i] = rec.Code
		})
	}
	wg.Wait()
	count := map[int]int{}
	for _, c := range codes {
		count[c]++
	}
	if count[201] != 10 || count[409] != 90 {
		t.Errorf("answers %v, want 10 x 201 and 90 x 409", count)
	}
	w.refuse("demo", "POST", "/v2.0/networks", `{"network":{}}`, 409, "OverQuota", "Quota exceeded for resources: ['network'].")
	w.network("other", "")
	w.do("admin", "PUT", "/v2.0/quotas/p-demo", `{"quota":{"network":12,"port":"3"}}`, 200)
	w.refuse("demo", "POST", "/v2.0/networks", `{"networks":[{},{},{}]}`, 409, "OverQuota", "")
	w.do("demo", "POST", "/v2.0/networks", `{"networks":[{},{}]}`, 201)
	m := w.do("demo", "GET", "/v2.0/quotas/p-demo/details", "", 200)
	if fmt.Sprint(dig(m, "quota", "network")) != "map[limit:12 reserved:0 used:12]" || dig(m, "quota", "port", "limit") != 3.0 {
		t.Errorf("details %v", m)
	}
	if m = w.do("demo", "GET", "/v2.0/quotas/p-demo/default", "", 200); dig(m, "quota", "network") != 10.0 {
		t.Errorf("default %v", m)
	}
	if m = w.do("admin", "GET", "/v2.0/quotas", "", 200); dig(m, "quotas", 0, "project_id") != "p-demo" {
		t.Errorf("quotas %v", m)
	}
	w.refuse("admin", "PUT", "/v2.0/quotas/p-demo", `{"quota":{"network":1,"check_limit":true}}`, 400, "HTTPBadRequest", "")
	w.do("admin", "DELETE", "/v2.0/quotas/p-demo", "", 204)
	if m = w.do("demo", "GET", "/v2.0/quotas/p-demo", "", 200); dig(m, "quota", "network") != 10.0 {
		t.Errorf("quota %v", m)
	}
}

func TestRevisions(t *testing.T) {
	w := newWorld(t)
	net := w.network("demo", "")
	rev := func(path, name string) float64 {
		t.Helper()
		return dig(w.do("demo", "GET", "/v2.0/"+path, "", 200), name, "revision_number").(float64)
	}
	if r := rev("networks/"+net, "network"); r != 1 {
		t.Errorf("first revision %v", r)
	}
	sub := w.subnet("demo", net, "10.0.0.0/24", "")
	if a, b := rev("networks/"+net, "network"), rev("subnets/"+sub, "subnet"); a != 2 || b != 0 {
		t.Errorf("network %v after its subnet %v", a, b)
	}
	w.do("demo", "PUT", "/v2.0/subnets/"+sub, `{"subnet":{"dns_nameservers":["1.1.1.1"]}}`, 200)
	if a, b := rev("networks/"+net, "network"), rev("subnets/"+sub, "subnet"); a != 3 || b != 1 {
		t.Errorf("network %v, subnet %v after a change of the subnet", a, b)
	}
	body := `{"network":{"name":"x"}}`
	if a := w.send("demo", "PUT", "/v2.0/networks/"+net, body, "If-Match", "revision_number=1"); a.code != 412 || dig(a.body, "NeutronError", "type") != "RevisionNumberConstraintFailed" {
		t.Errorf("stale update: %d %s", a.code, a.text)
	}
	if a := w.send("demo", "PUT", "/v2.0/networks/"+net, body, "If-Match", "revision_number=3"); a.code != 200 || dig(a.body, "network", "revision_number") != 4.0 {
		t.Errorf("update: %d %s", a.code, a.text)
	}
	if a := w.send("demo", "PUT", "/v2.0/networks/"+net, body, "If-Match", "etag"); a.code != 200 {
		t.Errorf("other If-Match: %d %s", a.code, a.text)
	}
	if a := w.send("demo", "DELETE", "/v2.0/networks/"+net, "", "If-Match", "revision_number=9"); a.code != 412 {
		t.Errorf("stale delete: %d %s", a.code, a.text)
	}
	// An interface is a change of its router, an address one of its port.
	r := newWorld(t, func(c *Config) { c.Routers = true })
	on := r.network("demo", "")
	first, second := r.subnet("demo", on, "10.0.0.0/24", ""), r.subnet("demo", on, "10.0.1.0/24", "")
	router := r.make("demo", "routers", "router", "")
	r.do("demo", "PUT", "/v2.0/routers/"+router+"/add_router_interface", `{"subnet_id":"`+first+`"}`, 200)
	if m := r.do("demo", "GET", "/v2.0/routers/"+router, "", 200); dig(m, "router", "revision_number") != 2.0 {
		t.Errorf("router after an interface: %v", m)
	}
	m := r.do("demo", "PUT", "/v2.0/ports/"+r.port("demo", on, ""), `{"port":{"fixed_ips":[{"subnet_id":"`+second+`"}]}}`, 200)
	if dig(m, "port", "revision_number") != 2.0 {
		t.Errorf("port after another address: %v", m)
	}
	sg := w.make("demo", "security-groups", "security_group", `"name":"g"`)
	rule := w.make("demo", "security-group-rules", "security_group_rule", `"security_group_id":"`+sg+`","direction":"ingress"`)
	if r := rev("security-groups/"+sg, "security_group"); r != 2 {
		t.Errorf("group's revision after a rule: %v", r)
	}
	w.do("demo", "PUT", "/v2.0/security-group-rules/"+rule, `{"security_group_rule":{"description":"why"}}`, 200)
	w.do("demo", "DELETE", "/v2.0/security-group-rules/"+rule, "", 204)
	if r := rev("security-groups/"+sg, "security_group"); r != 3 {
		t.Errorf("group's revision after a rule went: %v", r)
	}
}

func TestSecurityGroups(t *testing.T) {
	w := newWorld(t)
	// The default group appears with the first look, once, with four rules.
	m := w.do("demo", "GET", "/v2.0/security-groups", "", 200)
	if l := m["security_groups"].([]any); len(l) != 1 || dig(l[0], "name") != "default" || len(dig(l[0], "security_group_rules").([]any)) != 4 {
		t.Fatalf("groups %v", m)
	}
	def := dig(m, "security_groups", 0, "id").(string)
	before := w.st.Snapshot().Revision()
	w.do("demo", "GET", "/v2.0/security-groups", "", 200)
	if w.st.Snapshot().Revision() != before {
		t.Error("a second look wrote")
	}
	kinds := map[string]int{}
	for _, r := range dig(m, "security_groups", 0, "security_group_rules").([]any) {
		kinds[fmt.Sprint(dig(r, "direction"), dig(r, "ethertype"), dig(r, "remote_group_id") == def)]++
		if dig(r, "protocol") != nil || dig(r, "project_id") != "p-demo" {
			t.Errorf("rule %v", r)
		}
	}
	if len(kinds) != 4 || kinds["ingressIPv4true"] != 1 || kinds["egressIPv6false"] != 1 {
		t.Errorf("rules %v", kinds)
	}
	w.refuse("demo", "DELETE", "/v2.0/security-groups/"+def, "", 409, "SecurityGroupCannotRemoveDefault", "")
	w.refuse("demo", "PUT", "/v2.0/security-groups/"+def, `{"security_group":{"name":"mine"}}`, 409, "SecurityGroupCannotUpdateDefault", "")
	w.do("demo", "PUT", "/v2.0/security-groups/"+def, `{"security_group":{"description":"ok"}}`, 200)

	a := w.make("demo", "security-groups", "security_group", `"name":"a"`)
	b := w.make("demo", "security-groups", "security_group", `"name":"b"`)
	w.refuse("demo", "PUT", "/v2.0/security-groups/"+a, `{"security_group":{"name":"default"}}`, 409, "SecurityGroupDefaultAlreadyExists", "")
	rule := func(attrs string) map[string]any {
		t.Helper()
		return dig(w.do("demo", "POST", "/v2.0/security-group-rules", `{"security_group_rule":{"security_group_id":"`+a+`","direction":"ingress",`+attrs+`}}`, 201), "security_group_rule").(map[string]any)
	}
	for attrs, want := range map[string]string{
		`"protocol":"TCP","port_range_min":"22","port_range_max":22`:       "tcp 22 22 <nil> IPv4",
		`"protocol":6,"port_range_min":23,"port_range_max":23`:             "6 23 23 <nil> IPv4",
		`"protocol":"icmp","ethertype":"ipv6"`:                             "ipv6-icmp <nil> <nil> <nil> IPv6",
		`"protocol":"icmp","port_range_min":8,"port_range_max":0`:          "icmp 8 0 <nil> IPv4",
		`"protocol":"icmp","port_range_min":0`:                             "icmp 0 <nil> <nil> IPv4",
		`"protocol":"vrrp","remote_ip_prefix":"10.1.2.3/8"`:                "vrrp <nil> <nil> 10.0.0.0/8 IPv4",
		`"protocol":"any","remote_ip_prefix":"192.0.2.1"`:                  "<nil> <nil> <nil> 192.0.2.1/32 IPv4",
		`"ethertype":"IPv6","remote_ip_prefix":"fd00::1/64","protocol":17`: "17 <nil> <nil> fd00::/64 IPv6",
	} {
		r := rule(attrs)
		if got := fmt.Sprint(r["protocol"], " ", r["port_range_min"], " ", r["port_range_max"], " ", r["normalized_cidr"], " ", r["ethertype"]); got != want {
			t.Errorf("%s: got %s, want %s", attrs, got, want)
		}
	}
	w.refuse("demo", "POST", "/v2.0/security-group-rules", `{"security_group_rule":{"security_group_id":"`+a+`","direction":"ingress","protocol":"tcp","port_range_min":23,"port_range_max":23}}`, 409, "SecurityGroupRuleExists", "")
	rule(`"remote_group_id":"` + b + `"`)

	net := w.network("demo", "")
	p := w.port("demo", net, `,"security_groups":["`+a+`","`+b+`","`+a+`"]`)
	m = w.do("demo", "GET", "/v2.0/ports/"+p, "", 200)
	if got := fmt.Sprint(dig(m, "port", "security_groups")); got != "["+a+" "+b+"]" {
		t.Errorf("groups of the port: %s", got)
	}
	w.refuse("demo", "DELETE", "/v2.0/security-groups/"+b, "", 409, "SecurityGroupInUse", "")
	w.do("demo", "PUT", "/v2.0/ports/"+p, `{"port":{"security_groups":["`+a+`"]}}`, 200)
	w.do("demo", "DELETE", "/v2.0/security-groups/"+b, "", 204) // and with it the rule that names it
	if got := w.names("demo", "security-group-rules?remote_group_id="+b, "id"); len(got) != 0 {
		t.Errorf("rules of a group that is gone: %v", got)
	}
	w.do("demo", "PUT", "/v2.0/ports/"+p, `{"port":{"security_groups":[],"port_security_enabled":false}}`, 200)
	w.do("demo", "DELETE", "/v2.0/security-groups/"+a, "", 204)
	if n := tables.Rules.Len(w.st.Snapshot()); n != 4 {
		t.Errorf("%d rules are left, want the default group's", n)
	}
}

func TestDHCPOptsAndPairs(t *testing.T) {
	w := newWorld(t)
	net := w.network("demo", "")
	p := w.port("demo", net, `,"extra_dhcp_opts":[{"opt_name":"mtu","opt_value":"1400"},{"opt_name":"tftp-server","opt_value":"x","ip_version":"6"}],
		"allowed_address_pairs":[{"ip_address":"10.0.0.0/24"},{"ip_address":"10.1.0.1","mac_address":"fa:16:3e:11:22:33"}],"mac_address":"fa:16:3e:00:00:01"`)
	m := w.do("demo", "PUT", "/v2.0/ports/"+p, `{"port":{"extra_dhcp_opts":[{"opt_name":"mtu","opt_value":null},{"opt_name":"domain","opt_value":"d"}]}}`, 200)
	if got := fmt.Sprint(dig(m, "port", "extra_dhcp_opts")); got != "[map[ip_version:6 opt_name:tftp-server opt_value:x] map[ip_version:4 opt_name:domain opt_value:d]]" {
		t.Errorf("options %s", got)
	}
	if got := fmt.Sprint(dig(m, "port", "allowed_address_pairs")); got != "[map[ip_address:10.0.0.0/24 mac_address:fa:16:3e:00:00:01] map[ip_address:10.1.0.1 mac_address:fa:16:3e:11:22:33]]" {
		t.Errorf("pairs %s", got)
	}
	w.do("demo", "PUT", "/v2.0/ports/"+p, `{"port":{"mac_address":"fa:16:3e:00:00:02"}}`, 200)
}

// TestProvenance: the commit of a request names who asked for what.
func TestProvenance(t *testing.T) {
	w := newWorld(t)
	a := w.send("demo", "POST", "/v2.0/networks", `{"network":{}}`)
	info, _ := tables.Networks.Info(w.st.Snapshot(), model.NetworkID(dig(a.body, "network", "id").(string)))
	want := store.Origin{Request: a.head.Get("X-Openstack-Request-Id"), User: "u-demo", Project: "p-demo", Action: "POST /v2.0/networks"}
	if info.Plane.Origin != want {
		t.Errorf("origin %+v, want %+v", info.Plane.Origin, want)
	}
}

type down struct{}

func (down) Validate(context.Context, string) (identity.Principal, error) {
	return identity.Principal{}, errors.New("no connection")
}

// TestUnavailable: what the service cannot do at present is a 503, in Neutron's shape.
func TestUnavailable(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Auth = down{} })
	if a := w.send("demo", "GET", "/v2.0/networks", ""); a.code != 503 || dig(a.body, "NeutronError", "type") != "ServiceUnavailable" {
		t.Errorf("%d %s", a.code, a.text)
	}
	w = newWorld(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r := httptest.NewRequest("POST", "/v2.0/networks", strings.NewReader(`{"network":{}}`)).WithContext(ctx)
	r.Header.Set("X-Auth-Token", "demo")
	rec := httptest.NewRecorder()
	w.api.ServeHTTP(rec, r)
	if rec.Code != 503 || tables.Networks.Len(w.st.Snapshot()) != 0 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	// Without its log the store takes no writes, but what was read stays readable.
	if err := w.st.Close(); err != nil {
		t.Fatal(err)
	}
	if a := w.send("demo", "POST", "/v2.0/networks", `{"network":{}}`); a.code != 503 || dig(a.body, "NeutronError", "type") != "ServiceUnavailable" {
		t.Errorf("%d %s", a.code, a.text)
	}
	w.do("demo", "GET", "/v2.0/networks", "", 200)
}

// TestTrustedOwner: a port of the network's own services has no port security and no groups, whatever its network or the body
// says; an outside DHCP agent's port could not answer otherwise.
func TestTrustedOwner(t *testing.T) {
	w := newWorld(t)
	n := w.network("admin", `"name":"n"`)
	for _, more := range []string{``, `,"port_security_enabled":true`} {
		p := w.do("admin", "POST", "/v2.0/ports", `{"port":{"network_id":"`+n+`","device_owner":"network:dhcp","device_id":"dhcp-agent"`+more+`}}`, 201)
		if on, groups := dig(p, "port", "port_security_enabled"), dig(p, "port", "security_groups"); on != false || len(groups.([]any)) != 0 {
			t.Errorf("body with %q: port security %v, groups %v", more, on, groups)
		}
	}
}
