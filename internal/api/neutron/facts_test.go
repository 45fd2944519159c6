// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/model"
)

// deployment is a world with the facts of a small one: two VLANs for tenants, then two VNIs.
func deployment(t *testing.T) *world {
	return newWorld(t, func(c *Config) {
		c.Facts = Facts{VLANNetworks: []string{"physnet1", "physnet2", "physnet3"}, FlatNetworks: []string{"physnet1", "phys-flat"},
			TenantTypes: []model.NetworkType{model.VLAN, model.VXLAN}, PathMTU: 1480, PhysicalMTUs: map[string]int{"physnet2": 1400, "phys-flat": 1300},
			Zone: "north", MaxRoutes: 2, MaxHostRoutes: 1, MaxDNSServers: 1}
		c.Alloc = &alloc.Allocator{Ranges: alloc.Ranges{VXLAN: []alloc.Range{{First: 7, Last: 7}, {First: 9, Last: 9}}, GRE: []alloc.Range{{First: 5, Last: 5}},
			VLAN: map[string][]alloc.Range{"physnet1": {{First: 100, Last: 100}}, "physnet2": {{First: 200, Last: 200}}}}}
		c.Quotas = map[string]int{}
		c.Routers = true
	})
}

// travels tells how a network does.
func (w *world) travels(who, attrs string) string {
	w.t.Helper()
	n := w.do(who, "POST", "/v2.0/networks", `{"network":{`+attrs+`}}`, 201)["network"].(map[string]any)
	n = w.do("admin", "GET", "/v2.0/networks/"+n["id"].(string), "", 200)["network"].(map[string]any)
	return fmt.Sprintf("%v %v %v %v", n["provider:network_type"], n["provider:physical_network"], n["provider:segmentation_id"], n["mtu"])
}

func TestTenantNetworkTypes(t *testing.T) {
	w := deployment(t)
	var ids []string
	for _, want := range []string{"vlan physnet1 100 1500", "vlan physnet2 200 1400", "vxlan <nil> 7 1430", "vxlan <nil> 9 1430"} {
		if got := w.travels("demo", ""); got != want {
			t.Errorf("a tenant's network is %s, want %s", got, want)
		}
	}
	const none = "Unable to create the network. No tenant network is available for allocation."
	w.refuse("demo", "POST", "/v2.0/networks", `{"network":{}}`, http.StatusServiceUnavailable, "NoNetworkAvailable", none)
	w.refuse("admin", "POST", "/v2.0/networks", `{"network":{"router:external":true}}`, http.StatusServiceUnavailable, "NoNetworkAvailable", none)
	w.refuse("admin", "POST", "/v2.0/networks", `{"network":{"provider:network_type":"vlan"}}`, http.StatusServiceUnavailable, "NoNetworkAvailable", none)
	w.refuse("admin", "POST", "/v2.0/networks", `{"network":{"provider:network_type":"vxlan"}}`, http.StatusServiceUnavailable, "NoNetworkAvailable", none)
	w.refuse("admin", "POST", "/v2.0/networks", `{"network":{"provider:network_type":"vlan","provider:physical_network":"physnet1"}}`, http.StatusServiceUnavailable, "NoNetworkAvailable", none)
	for _, n := range w.do("admin", "GET", "/v2.0/networks?provider:network_type=vlan&provider:physical_network=physnet1", "", 200)["networks"].([]any) {
		ids = append(ids, n.(map[string]any)["id"].(string))
	}
	if len(ids) != 1 {
		t.Fatalf("%d networks on physnet1, want 1", len(ids))
	}
	w.do("demo", "DELETE", "/v2.0/networks/"+ids[0], "", 204)
	if got := w.travels("demo", ""); got != "vlan physnet1 100 1500" {
		t.Errorf("after a deletion a tenant's network is %s", got)
	}
}

func TestProviderNetworks(t *testing.T) {
	w := deployment(t)
	vlan := func(physnet, id string) string {
		s := `"provider:network_type":"vlan"`
		if physnet != "" {
			s += `,"provider:physical_network":"` + physnet + `"`
		}
		if id != "" {
			s += `,"provider:segmentation_id":` + id
		}
		return s
	}
	flat := func(physnet string) string {
		return `"provider:network_type":"flat","provider:physical_network":"` + physnet + `"`
	}
	for _, c := range []struct{ attrs, want string }{
		{vlan("", ""), "vlan physnet1 100 1500"},
		{vlan("", ""), "vlan physnet2 200 1400"},
		{vlan("physnet1", "4094"), "vlan physnet1 4094 1500"}, // outside of the range
		{vlan("physnet3", "5"), "vlan physnet3 5 1500"},       // one without ranges
		{flat("phys-flat"), "flat phys-flat <nil> 1300"},
		{`"provider:network_type":"gre"`, "gre <nil> 5 1438"},
		{`"provider:network_type":"vxlan","provider:segmentation_id":5000`, "vxlan <nil> 5000 1430"},
		{`"provider:network_type":"geneve"`, "geneve <nil> 1 1422"},
		{`"provider:network_type":"local"`, "local <nil> <nil> 1500"},
	} {
		if got := w.travels("admin", c.attrs); got != c.want {
			t.Errorf("{%s}: %s, want %s", c.attrs, got, c.want)
		}
	}
	for _, c := range []struct{ attrs, message string }{
		{vlan("physnet9", "5"), "physical_network 'physnet9' unknown for VLAN provider network"},
		{vlan("", "5"), "segmentation_id requires physical_network for VLAN provider network"},
		{vlan("physnet3", ""), "segmentation_id required for VLAN provider network: physical network physnet3 has no range"},
		{vlan("physnet1", "4095"), "segmentation_id out of range (1 through 4094)"},
		{flat("physnet3"), "physical_network 'physnet3' unknown for flat provider network"},
		{`"provider:physical_network":"physnet1"`, "network_type required"},
		{`"mtu":1431,"provider:network_type":"vxlan","provider:segmentation_id":77`, "Requested MTU is too big, maximum is 1430"},
		{vlan("physnet2", "201") + `,"mtu":1401`, "Requested MTU is too big, maximum is 1400"},
	} {
		w.refuse("admin", "POST", "/v2.0/networks", `{"network":{`+c.attrs+`}}`, 400, "InvalidInput", "Invalid input for operation: "+c.message+".")
	}
	off := newWorld(t, func(c *Config) { c.Facts.FlatNetworks = []string{} })
	off.refuse("admin", "POST", "/v2.0/networks", `{"network":{`+flat("a")+`}}`, 400, "InvalidInput", "Invalid input for operation: Flat provider networks are disabled.")
	if got := off.travels("admin", vlan("a", "5")); got != "vlan a 5 1500" {
		t.Errorf("without flat networks a VLAN is %s", got)
	}
}

// TestNothingConfigured: any physical network goes, and its VLANs must be named.
func TestNothingConfigured(t *testing.T) {
	w := newWorld(t)
	if got := w.travels("demo", ""); got != "vxlan <nil> 1 1450" {
		t.Errorf("a tenant's network is %s", got)
	}
	if got := w.travels("admin", `"provider:network_type":"vlan","provider:physical_network":"any","provider:segmentation_id":9`); got != "vlan any 9 1500" {
		t.Error(got)
	}
	if got := w.travels("admin", `"provider:network_type":"flat","provider:physical_network":"any"`); got != "flat any <nil> 1500" {
		t.Error(got)
	}
	for _, seg := range []string{"", `,"provider:segmentation_id":5`} {
		w.refuse("admin", "POST", "/v2.0/networks", `{"network":{"provider:network_type":"vlan"`+seg+`}}`, 400, "InvalidInput",
			"Invalid input for operation: physical_network required for vlan provider network.")
	}
}

// TestExternalOnAllowedNetwork: the guess of where an external network goes keeps to the flat networks that there may be.
func TestExternalOnAllowedNetwork(t *testing.T) {
	for physnet, want := range map[string]string{"physnet1": "flat physnet1 <nil> 1500", "physnet2": "vlan physnet1 100 1500"} {
		w := deployment(t)
		w.node("controller", "", map[string]string{physnet: "br-ex"})
		if got := w.travels("admin", `"router:external":true`); got != want {
			t.Errorf("nodes map %s: an external network is %s, want %s", physnet, got, want)
		}
	}
}

func TestLimitsOfLists(t *testing.T) {
	w := deployment(t)
	net := w.network("demo", "")
	id := w.do("demo", "POST", "/v2.0/subnets", `{"subnet":{"network_id":"`+net+`","ip_version":4,"cidr":"10.0.0.0/24","dns_nameservers":["1.1.1.1"],
		"host_routes":[{"destination":"10.9.0.0/16","nexthop":"10.0.0.9"}]}}`, 201)["subnet"].(map[string]any)["id"].(string)
	w.refuse("demo", "PUT", "/v2.0/subnets/"+id, `{"subnet":{"dns_nameservers":["1.1.1.1","2.2.2.2"]}}`, 400, "DNSNameServersExhausted",
		"Unable to complete operation for "+id+". The number of DNS nameservers exceeds the limit 1.")
	w.refuse("demo", "PUT", "/v2.0/subnets/"+id, `{"subnet":{"host_routes":[{"destination":"10.8.0.0/16","nexthop":"10.0.0.9"},{"destination":"10.9.0.0/16","nexthop":"10.0.0.9"}]}}`,
		400, "HostRoutesExhausted", "Unable to complete operation for "+id+". The number of host routes exceeds the limit 1.")
	r := w.do("demo", "POST", "/v2.0/routers", `{"router":{}}`, 201)["router"].(map[string]any)["id"].(string)
	w.do("demo", "PUT", "/v2.0/routers/"+r+"/add_router_interface", `{"subnet_id":"`+id+`"}`, 200)
	var routes []string
	for i := range 3 {
		routes = append(routes, fmt.Sprintf(`{"destination":"10.%d.0.0/16","nexthop":"10.0.0.9"}`, i+1))
	}
	w.do("demo", "PUT", "/v2.0/routers/"+r, `{"router":{"routes":[`+strings.Join(routes[:2], ",")+`]}}`, 200)
	w.refuse("demo", "PUT", "/v2.0/routers/"+r, `{"router":{"routes":[`+strings.Join(routes, ",")+`]}}`, 400, "RoutesExhausted",
		"Unable to complete operation for "+r+". The number of routes exceeds the maximum 2.")
}

func TestZoneHasTheConfiguredName(t *testing.T) {
	w := deployment(t)
	w.node("controller", "", map[string]string{"physnet1": "br-ex"})
	for _, z := range w.do("demo", "GET", "/v2.0/availability_zones", "", 200)["availability_zones"].([]any) {
		if name := z.(map[string]any)["name"]; name != "north" {
			t.Errorf("zone %v", name)
		}
	}
	w.do("demo", "POST", "/v2.0/routers", `{"router":{"availability_zone_hints":["north"]}}`, 201)
	w.refuse("demo", "POST", "/v2.0/routers", `{"router":{"availability_zone_hints":["nova"]}}`, 404, "AvailabilityZoneNotFound", "")
}

// TestRecordedIDTaken: whoever asks for a network whose recorded VNI somebody else has gets one with another.
func TestRecordedIDTaken(t *testing.T) {
	ids, err := alloc.ParseRecorded([]byte(`networks: [{name: net01, id: ` + recordedNet + `, segmentation_id: 1077}]`))
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *Config) { c.IDs = ids })
	if got := w.travels("admin", `"provider:network_type":"vxlan","provider:segmentation_id":1077`); got != "vxlan <nil> 1077 1450" {
		t.Fatal(got)
	}
	if got := w.travels("demo", `"name":"net01"`); got != "vxlan <nil> 1 1450" {
		t.Errorf("net01 is %s", got)
	}
}
