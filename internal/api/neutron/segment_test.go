// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// wired tells how a network travels, as an administrator sees it.
func (w *world) wired(net string) string {
	w.t.Helper()
	n := w.do("admin", "GET", "/v2.0/networks/"+net, "", 200)["network"].(map[string]any)
	out := fmt.Sprint(n["provider:network_type"], " ", n["provider:physical_network"], " ", n["provider:segmentation_id"], " l2=", n["l2_adjacency"])
	if l, ok := n["segments"].([]any); ok {
		for _, s := range l {
			out += fmt.Sprintf("; %v %v %v", dig(s, "provider:network_type"), dig(s, "provider:physical_network"), dig(s, "provider:segmentation_id"))
		}
	}
	return out
}

func vlanSegment(physnet string, id int) string {
	return fmt.Sprintf(`{"provider:network_type":"vlan","provider:physical_network":%q,"provider:segmentation_id":%d}`, physnet, id)
}

func TestMultiProvider(t *testing.T) {
	w := newWorld(t)
	n := w.network("admin", `"segments":[`+vlanSegment("physnet1", 100)+`,`+vlanSegment("physnet2", 100)+`,{"provider:network_type":"vxlan"}]`)
	if got, want := w.wired(n), "<nil> <nil> <nil> l2=true; vlan physnet1 100; vlan physnet2 100; vxlan <nil> 1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	shown := w.do("admin", "GET", "/v2.0/networks/"+n, "", 200)["network"].(map[string]any)
	if _, there := shown["provider:network_type"]; there {
		t.Error("a network with several segments shows that of one")
	}
	if shown["mtu"] != 1450.0 {
		t.Errorf("mtu %v is not the least of the segments'", shown["mtu"])
	}
	if got := w.names("admin", "segments?network_id="+n, "network_type"); strings.Join(slices.Sorted(slices.Values(got)), " ") != "vlan vlan vxlan" {
		t.Errorf("segments %v", got)
	}
	const path = "/v2.0/networks"
	body := func(more string) string { return `{"network":{` + more + `}}` }
	for _, c := range []struct {
		who, more     string
		status        int
		kind, message string
	}{
		{"admin", `"segments":[` + vlanSegment("physnet1", 100) + `]`, 409, "VlanIdInUse", "Unable to create the network. The VLAN 100 on physical network physnet1 is in use."},
		{"admin", `"segments":[{"provider:network_type":"vxlan","provider:segmentation_id":1}]`, 409, "TunnelIdInUse", ""},
		{"admin", vlanSegment("physnet2", 100)[1 : len(vlanSegment("physnet2", 100))-1], 409, "VlanIdInUse", ""},
		{"admin", `"segments":[` + vlanSegment("a", 5) + `,` + vlanSegment("a", 5) + `]`, 400, "SegmentsContainDuplicateEntry", "Duplicate segment entry in request."},
		{"admin", `"provider:network_type":"vxlan","segments":[` + vlanSegment("a", 5) + `]`, 400, "SegmentsSetInConjunctionWithProviders", "Segments and provider values cannot both be set."},
		{"admin", `"segments":[{"provider:physical_network":"a"}]`, 400, "InvalidInput", "Invalid input for operation: network_type required."},
		{"admin", `"segments":[{"color":"red"}]`, 400, "HTTPBadRequest", ""},
		{"demo", `"segments":[` + vlanSegment("a", 5) + `]`, 403, "PolicyNotAuthorized", ""},
	} {
		w.refuse(c.who, "POST", path, body(c.more), c.status, c.kind, c.message)
	}
	w.do("demo", "POST", path, body(`"segments":null`), 201)
	w.refuse("admin", "PUT", path+"/"+n, body(`"segments":[`+vlanSegment("physnet1", 7)+`]`), 400, "InvalidInput",
		"Invalid input for operation: Plugin does not support updating the following provider network attributes: segments.")
	w.do("admin", "DELETE", path+"/"+n, "", 204)
	if left := w.names("admin", "segments?network_id="+n, "id"); len(left) > 0 {
		t.Errorf("segments of a deleted network: %v", left)
	}
	w.network("admin", `"segments":[`+vlanSegment("physnet1", 100)+`]`)
}

func TestSegments(t *testing.T) {
	w := newWorld(t)
	n := w.network("admin", `"provider:network_type":"vlan","provider:physical_network":"physnet1","provider:segmentation_id":100`)
	first := w.names("admin", "segments?network_id="+n, "id")
	if len(first) != 1 {
		t.Fatalf("%d segments of a network with one", len(first))
	}
	const path = "/v2.0/segments"
	add := func(more string) string { return `{"segment":{"network_id":"` + n + `"` + more + `}}` }
	m := w.do("admin", "POST", path, add(`,"network_type":"vlan","physical_network":"physnet2","segmentation_id":"200","name":"second"`), 201)["segment"].(map[string]any)
	second := m["id"].(string)
	want := map[string]any{"id": second, "network_id": n, "network_type": "vlan", "physical_network": "physnet2", "segmentation_id": 200.0, "name": "second", "description": nil,
		"created_at": "2026-01-02T03:04:05Z", "updated_at": "2026-01-02T03:04:05Z", "revision_number": 0.0}
	if fmt.Sprint(m) != fmt.Sprint(want) {
		t.Errorf("segment\n%v, want\n%v", m, want)
	}
	if got, want := w.wired(n), "<nil> <nil> <nil> l2=true; vlan physnet1 100; vlan physnet2 200"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := dig(w.do("admin", "PUT", path+"/"+second, `{"segment":{"name":"x","description":"d"}}`, 200), "segment", "name"); got != "x" {
		t.Errorf("name %v", got)
	}
	w.refuse("admin", "PUT", path+"/"+second, `{"segment":{"segmentation_id":7}}`, 400, "HTTPBadRequest", "Cannot update read-only attribute segmentation_id")
	w.refuse("admin", "POST", path, add(`,"network_type":"vlan","physical_network":"physnet2","segmentation_id":200`), 409, "VlanIdInUse", "")
	w.refuse("admin", "POST", path, add(`,"network_type":"flat"`), 400, "InvalidInput", "")
	w.refuse("admin", "POST", path, `{"segment":{"network_id":"`+second+`","network_type":"vxlan"}}`, 404, "NetworkNotFound", "")
	w.refuse("demo", "POST", path, add(`,"network_type":"vxlan"`), 403, "PolicyNotAuthorized", "rule:create_segment is disallowed by policy")
	w.refuse("demo", "GET", path+"/"+second, "", 404, "SegmentNotFound", "Segment "+second+" could not be found.")

	s := w.subnet("admin", n, "10.0.2.0/24", `,"segment_id":"`+second+`"`)
	w.refuse("admin", "DELETE", path+"/"+second, "", 409, "SegmentInUse", "Segment '"+second+"' cannot be deleted: The segment is still associated with subnet(s) "+s+".")
	w.do("admin", "DELETE", "/v2.0/subnets/"+s, "", 204)
	w.node("here", "", map[string]string{"physnet2": "br-2"})
	p := w.port("admin", n, `,"binding:host_id":"here"`)
	w.refuse("admin", "DELETE", path+"/"+second, "", 409, "SegmentInUse", "Segment '"+second+"' cannot be deleted: The segment is still bound with port(s) "+p+".")
	w.do("admin", "DELETE", "/v2.0/ports/"+p, "", 204)
	w.do("admin", "DELETE", path+"/"+first[0], "", 204)
	if got, want := w.wired(n), "vlan physnet2 200 l2=true"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	w.do("admin", "DELETE", path+"/"+second, "", 204)
	if got, want := w.wired(n), "<nil> <nil> <nil> l2=true"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	w.network("admin", `"provider:network_type":"vlan","provider:physical_network":"physnet1","provider:segmentation_id":100`)
}

// TestSegmentGivesItsIDBack: what a segment had is free again when it goes.
func TestSegmentGivesItsIDBack(t *testing.T) {
	w := deployment(t) // has one id for networks of GRE
	n := w.network("admin", "")
	body := `{"segment":{"network_id":"` + n + `","network_type":"gre"}}`
	for range 2 {
		s := w.do("admin", "POST", "/v2.0/segments", body, 201)["segment"].(map[string]any)
		if s["segmentation_id"] != 5.0 {
			t.Fatalf("segment %v", s)
		}
		w.refuse("admin", "POST", "/v2.0/segments", body, 503, "NoNetworkAvailable", "")
		w.do("admin", "DELETE", "/v2.0/segments/"+s["id"].(string), "", 204)
	}
}

// TestOldSegments: networks of a version that named no segments get names when somebody asks.
func TestOldSegments(t *testing.T) {
	w := newWorld(t)
	_, err := w.st.Commit(context.Background(), store.Origin{}, func(tx *store.Txn) error {
		for i := range maxBulk + 5 {
			id := model.NetworkID(fmt.Sprintf("00000000-0000-4000-8000-%012d", i))
			tables.Networks.Put(tx, id, model.Network{ID: id, NetworkPlane: model.NetworkPlane{Type: model.VXLAN, SegmentationID: uint32(i + 1)}})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		w.names("admin", "segments?limit=1", "id")
	}
	before := w.st.Snapshot().Revision()
	w.names("admin", "segments?limit=1", "id")
	if n := tables.Segments.Len(w.st.Snapshot()); n != maxBulk+5 {
		t.Errorf("%d segments of %d networks", n, maxBulk+5)
	}
	if w.st.Snapshot().Revision() != before {
		t.Error("a list without news writes")
	}
}

// routedNetwork is a network with a VLAN on each of two physical networks and a subnet on each.
func routedNetwork(w *world) (net string, segs, subs [2]string) {
	net = w.network("admin", `"shared":true,"segments":[`+vlanSegment("physnet1", 101)+`,`+vlanSegment("physnet2", 102)+`]`)
	for i := range segs {
		segs[i] = w.names("admin", fmt.Sprintf("segments?network_id=%s&physical_network=physnet%d", net, i+1), "id")[0]
		subs[i] = w.subnet("admin", net, fmt.Sprintf("10.0.%d.0/24", i+1), `,"segment_id":"`+segs[i]+`"`)
	}
	w.node("one", "", map[string]string{"physnet1": "br-1"})
	w.node("two", "", map[string]string{"physnet2": "br-2"})
	w.node("both", "", map[string]string{"physnet1": "br-1", "physnet2": "br-2"})
	w.node("none", "", nil)
	return net, segs, subs
}

func TestRoutedNetwork(t *testing.T) {
	w := newWorld(t)
	net, segs, subs := routedNetwork(w)
	if got := w.wired(net); !strings.Contains(got, "l2=false") {
		t.Errorf("a routed network: %s", got)
	}
	show := func(p string) string {
		m := w.do("admin", "GET", "/v2.0/ports/"+p, "", 200)["port"].(map[string]any)
		out := fmt.Sprint(m["ip_allocation"], " ", m["binding:vif_type"])
		for _, f := range m["fixed_ips"].([]any) {
			out += " " + dig(f, "ip_address").(string)
		}
		return out
	}
	check := func(what, p, want string) {
		t.Helper()
		if got := show(p); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	bind := func(host string) string { return `{"port":{"binding:host_id":"` + host + `"}}` }

	// Nova's way: made without a host, bound when one is chosen, unbound, bound again.
	p := w.port("demo", net, "")
	check("no host yet", p, "deferred unbound")
	w.do("admin", "PUT", "/v2.0/ports/"+p, bind("two"), 200)
	check("bound", p, "immediate ovs 10.0.2.3")
	w.do("admin", "PUT", "/v2.0/ports/"+p, bind(""), 200)
	check("unbound", p, "immediate unbound 10.0.2.3")
	w.refuse("admin", "PUT", "/v2.0/ports/"+p, bind("one"), 409, "HostNotCompatibleWithFixedIps",
		"Host one is not connected to a segment where the existing fixed_ips on port "+p+" will function given the routed network topology.")
	w.do("admin", "PUT", "/v2.0/ports/"+p, `{"port":{"binding:host_id":"one","fixed_ips":[{"subnet_id":"`+subs[0]+`"}]}}`, 200)
	check("moved with its addresses", p, "immediate ovs 10.0.1.3")

	q := w.port("demo", net, "")
	for host, refused := range map[string][2]string{
		"none": {"HostNotConnectedToAnySegment", "Host none is not connected to any segments on routed provider network '" + net + "'.  It should be connected to one."},
		"both": {"HostConnectedToMultipleSegments", "Host both is connected to multiple segments on routed provider network '" + net + "'.  It should be connected to one."},
	} {
		w.refuse("admin", "PUT", "/v2.0/ports/"+q, bind(host), 409, refused[0], refused[1])
		w.refuse("admin", "POST", "/v2.0/ports", `{"port":{"network_id":"`+net+`","binding:host_id":"`+host+`"}}`, 409, refused[0], refused[1])
	}
	check("refused hosts", q, "deferred unbound")
	check("made with a host", w.port("admin", net, `,"binding:host_id":"one"`), "immediate ovs 10.0.1.4")
	check("without addresses", w.port("admin", net, `,"fixed_ips":[],"binding:host_id":"one"`), "none ovs")
	check("without addresses, nowhere to plug", w.port("admin", net, `,"fixed_ips":[],"binding:host_id":"none"`), "none binding_failed")
	r := w.port("admin", net, `,"fixed_ips":[{"subnet_id":"`+subs[1]+`"}]`)
	check("with a subnet", r, "immediate unbound 10.0.2.3")
	w.refuse("admin", "PUT", "/v2.0/ports/"+r, bind("one"), 409, "HostNotCompatibleWithFixedIps", "")
	w.refuse("admin", "POST", "/v2.0/ports", `{"port":{"network_id":"`+net+`","fixed_ips":[{"subnet_id":"`+subs[0]+`"},{"subnet_id":"`+subs[1]+`"}]}}`, 400,
		"FixedIpsSubnetsNotOnSameSegment", "Cannot allocate addresses from different segments.")
	w.refuse("admin", "POST", "/v2.0/ports", `{"port":{"network_id":"`+net+`","binding:host_id":"one","fixed_ips":[{"subnet_id":"`+subs[1]+`"}]}}`, 400, "InvalidInput",
		"Invalid input for operation: Failed to create port on network "+net+", because fixed_ips included invalid subnet "+subs[1]+".")

	const path = "/v2.0/subnets"
	sub := func(more string) string { return `{"subnet":{"network_id":"` + net + `","ip_version":4` + more + `}}` }
	all := "All of the subnets on network '" + net + "' must either all be associated with segments or all not associated with any segment."
	w.refuse("admin", "POST", path, sub(`,"cidr":"10.9.0.0/24"`), 400, "SubnetsNotAllAssociatedWithSegments", all)
	other := w.network("admin", `"provider:network_type":"vxlan"`)
	foreign := w.names("admin", "segments?network_id="+other, "id")[0]
	w.refuse("admin", "POST", path, sub(`,"cidr":"10.9.0.0/24","segment_id":"`+foreign+`"`), 400, "NetworkIdsDontMatch",
		"The subnet's network id, '"+net+"', doesn't match the network_id of segment '"+foreign+"'")
	w.refuse("admin", "POST", path, sub(`,"cidr":"10.9.0.0/24","segment_id":"`+net+`"`), 404, "SegmentNotFound", "Segment "+net+" could not be found.")
	w.refuse("admin", "PUT", path+"/"+subs[0], `{"subnet":{"segment_id":"`+segs[1]+`"}}`, 400, "SubnetSegmentAssociationChangeNotAllowed", "")
	w.do("admin", "PUT", path+"/"+subs[0], `{"subnet":{"segment_id":"`+segs[0]+`"}}`, 200)

	// A network of one segment becomes a routed one.
	old := w.subnet("admin", other, "10.8.0.0/24", "")
	w.do("admin", "PUT", path+"/"+old, `{"subnet":{"segment_id":"`+foreign+`"}}`, 200)
	w.refuse("admin", "PUT", path+"/"+old, `{"subnet":{"segment_id":null}}`, 400, "SubnetSegmentAssociationChangeNotAllowed", "")
	two := w.network("admin", `"segments":[`+vlanSegment("physnet1", 201)+`,`+vlanSegment("physnet2", 202)+`]`)
	flat := w.subnet("admin", two, "10.7.0.0/24", "")
	w.refuse("admin", "PUT", path+"/"+flat, `{"subnet":{"segment_id":"`+w.names("admin", "segments?network_id="+two, "id")[0]+`"}}`, 400,
		"NoUpdateSubnetWhenMultipleSegmentsOnNetwork", "")
}

// TestPeerRoutes: hosts of a subnet know the way to those of the network's other segments.
func TestPeerRoutes(t *testing.T) {
	w := newWorld(t)
	net, segs, subs := routedNetwork(w)
	routes := func(id string) (out []string) {
		for _, r := range w.do("admin", "GET", "/v2.0/subnets/"+id, "", 200)["subnet"].(map[string]any)["host_routes"].([]any) {
			out = append(out, fmt.Sprint(dig(r, "destination"), ">", dig(r, "nexthop")))
		}
		return out
	}
	check := func(what, id string, want ...string) {
		t.Helper()
		if got := routes(id); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	check("first", subs[0], "10.0.2.0/24>10.0.1.1")
	check("second", subs[1], "10.0.1.0/24>10.0.2.1")
	w.do("admin", "PUT", "/v2.0/subnets/"+subs[0], `{"subnet":{"host_routes":[{"destination":"10.77.0.0/16","nexthop":"10.0.1.9"}]}}`, 200)
	check("with one of its own", subs[0], "10.77.0.0/16>10.0.1.9", "10.0.2.0/24>10.0.1.1")
	w.do("admin", "PUT", "/v2.0/subnets/"+subs[0], `{"subnet":{"gateway_ip":"10.0.1.254","allocation_pools":[{"start":"10.0.1.2","end":"10.0.1.99"}]}}`, 200)
	check("with another gateway", subs[0], "10.77.0.0/16>10.0.1.9", "10.0.2.0/24>10.0.1.254")
	same := w.subnet("admin", net, "10.0.3.0/24", `,"segment_id":"`+segs[0]+`"`)
	check("another of the same segment", same, "10.0.2.0/24>10.0.3.1")
	check("seen from the second", subs[1], "10.0.1.0/24>10.0.2.1", "10.0.3.0/24>10.0.2.1")
	w.subnet("admin", net, "fd00::/64", `,"segment_id":"`+segs[0]+`"`)
	w.do("admin", "DELETE", "/v2.0/subnets/"+same, "", 204)
	check("after it went", subs[1], "10.0.1.0/24>10.0.2.1")
}

// segmentCells are segments and ranges in the policy matrix: they are of the cloud.
func segmentCells(w *world, add func(name, label, path, id, create, change string, actions ...string)) {
	for i, who := range []string{"demo", "admin"} {
		n := w.network(who, "")
		add("segment", []string{"own", "foreign"}[i], "segments", w.names("admin", "segments?network_id="+n, "id")[0], `"network_id":"`+n+`","network_type":"vxlan"`, `"name":"x"`)
		at := 5000 + 10*i
		r := w.make("admin", "network_segment_ranges", "network_segment_range",
			fmt.Sprintf(`"shared":false,"project_id":%q,"network_type":"gre","minimum":%d,"maximum":%d`, people[who].ProjectID, at, at+1))
		add("network_segment_range", []string{"own", "foreign"}[i], "network_segment_ranges", r, fmt.Sprintf(`"network_type":"gre","minimum":%d,"maximum":%d`, at+2, at+3), `"name":"x"`)
	}
	n := w.network("demo", "")
	add("network", "own, its segments", "networks", n, `"segments":[{"provider:network_type":"vxlan"}]`, `"segments":[]`)
	add("subnet", "own, its segment", "subnets", w.subnet("demo", n, "10.99.0.0/24", ""), `"network_id":"`+n+`","ip_version":4,"cidr":"10.98.0.0/24","segment_id":"`+
		w.names("admin", "segments?network_id="+n, "id")[0]+`"`, `"segment_id":null`)
}

// TestRenumber: a VLAN network gets another id under its ports; nothing else of how a network travels changes.
func TestRenumber(t *testing.T) {
	w := newWorld(t)
	w.node("n1", "", map[string]string{"physnet1": "br-ex"})
	vlan := func(id int) string {
		return fmt.Sprintf(`"provider:network_type":"vlan","provider:physical_network":"physnet1","provider:segmentation_id":%d`, id)
	}
	n, other := w.network("admin", vlan(7)), w.network("admin", vlan(8))
	w.port("admin", n, `,"binding:host_id":"n1"`)
	vxlan := w.network("admin", `"provider:network_type":"vxlan"`)
	several := w.network("admin", `"segments":[{"provider:network_type":"vxlan"},{`+vlan(9)+`}]`)
	at := func(id string) string { return "/v2.0/networks/" + id }
	to := func(id string) string { return `{"network":{"provider:segmentation_id":` + id + `}}` }
	w.do("demo", "GET", at(n), "", 404)
	for _, c := range []struct{ network, id, message string }{
		{several, "77", "Provider network attributes can be updated only in provider networks with a single segment."},
		{vxlan, "77", "Only VLAN type networks can be updated."},
		{n, "null", "Only segmentation_id field can be updated in VLAN type networks."},
		{n, "4095", "segmentation_id out of range (1 through 4094)."},
	} {
		w.refuse("admin", "PUT", at(c.network), to(c.id), 400, "InvalidInput", "Invalid input for operation: "+c.message)
	}
	w.refuse("admin", "PUT", at(n), to("8"), 409, "VlanIdInUse", "Unable to create the network. The VLAN 8 on physical network physnet1 is in use.")
	w.refuse("admin", "PUT", at(n), `{"network":{"provider:physical_network":"physnet2"}}`, 400, "InvalidInput", "")
	if m := w.do("admin", "PUT", at(n), `{"network":{`+vlan(99)+`}}`, 200); dig(m, "network", "provider:segmentation_id") != 99.0 {
		t.Errorf("renumbered %v", m)
	}
	if got := w.names("admin", "segments?network_id="+n, "segmentation_id"); fmt.Sprint(got) != "[99]" {
		t.Errorf("segments %v", got)
	}
	w.do("admin", "PUT", at(other), to("7"), 200) // which is free now
	w.do("admin", "PUT", at(n), to("8"), 200)
	w.refuse("admin", "PUT", at(other), to("8"), 409, "VlanIdInUse", "")
	w.do("admin", "DELETE", at(other), "", 204)
	w.network("admin", vlan(7))
}
