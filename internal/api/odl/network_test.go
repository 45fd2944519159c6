// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"fmt"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

const canary = "bd8db3a8-2b30-4083-a8b3-b3fd46401142"

const canaryBody = `{"network":{"id":"` + canary + `","tenant_id":"` + canary + `","project_id":"` + canary + `","name":"Sync Canary Network","admin_state_up":false}}`

// TestCanary: checks N1 to N3.
func TestCanary(t *testing.T) {
	w := newWorld(t)
	if got := w.do("GET", "/networks", "", 200).text; got != `{"networks":[]}` {
		t.Errorf("N1: %s", got)
	}
	w.do("GET", "/networks/"+canary, "", 404)
	w.nodes()
	before := flows(t, w.st, "standard", "compute")
	w.do("POST", "/networks", canaryBody, 201)
	if n := w.show("networks", canary); n["name"] != "Sync Canary Network" || n["admin_state_up"] != false || n["provider:network_type"] != nil || n["tenant_id"] != canary {
		t.Errorf("N3: %v", n)
	}
	// Not even a port that is plugged makes it more than a record.
	w.do("POST", "/ports", replaced(portBody(portA, "fa:16:3e:00:00:01", "10.0.0.5", bound), netA, canary), 201)
	w.plug("compute", portA)
	if after := flows(t, w.st, "standard", "compute"); !slices.Equal(before, after) {
		t.Errorf("N3: the canary changed %d flows into %d", len(before), len(after))
	}
}

// TestNetwork: checks N4 to N12, N17, N18, N22.
func TestNetwork(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/networks", netBody(netA, "1077", ""), 201)
	n := w.show("networks", netA)
	for name, want := range map[string]any{"id": netA, "name": "net01", "mtu": 1450.0, "provider:segmentation_id": 1077.0, "provider:network_type": "vxlan", "shared": false,
		"standard_attr_id": 14.0, "created_at": "2026-01-01T00:00:00Z", "router:external": false, "tenant_id": tenant, "project_id": tenant, "revision_number": 0.0, "status": "ACTIVE"} {
		if n[name] != want {
			t.Errorf("N4: %s is %v, want %v", name, n[name], want)
		}
	}
	if _, null := n["provider:physical_network"]; null {
		t.Error("N4: a null attribute is shown")
	}
	key := w.network(netA).Key
	seq := w.st.Snapshot().Revision()
	w.do("POST", "/networks", netBody(netA, "1077", ""), 201)
	if w.st.Snapshot().Revision() != seq {
		t.Error("N5: a repeated POST changed the store")
	}
	// A PUT has all but id, tenant and project.
	put := func(more string) string {
		return strings.NewReplacer(`"id":"`+netA+`",`, "", `"tenant_id":"`+tenant+`","project_id":"`+tenant+`",`, "").Replace(netBody("", "1077", more))
	}
	put4 := put(`,"revision_number":4`)
	w.do("PUT", "/networks/"+netA, put4, 200)
	if out := w.do("PUT", "/networks/"+netA, replaced(put4, `"revision_number":4`, `"revision_number":3`, "net01", "late"), 200); out.text != "" {
		t.Errorf("N6: a late PUT is answered by %q", out.text)
	}
	if n := w.show("networks", netA); n["name"] != "net01" || n["revision_number"] != 4.0 {
		t.Errorf("N6: %v", n)
	}
	w.do("PUT", "/networks/"+netA, replaced(put4, "net01", "again"), 200)
	if n := w.show("networks", netA); n["name"] != "again" || n["tenant_id"] != tenant || n["id"] != netA {
		t.Errorf("N7, N9: %v", n)
	}
	if w.ask("neutron", "POST", "/networks", netBody(netA, "1077", `,"revision_number":3`)).code != 409 {
		t.Error("N5: an older POST is taken")
	}
	w.do("PUT", "/networks/"+netA, replaced(put4, `"mtu"`, `"qos_policy_id":"`+unknown+`","mtu"`), 200)
	if n := w.show("networks", netA); n["qos_policy_id"] != unknown {
		t.Errorf("N8: %v", n["qos_policy_id"])
	}
	w.do("PUT", "/networks/"+netA, put4, 200)
	if n := w.show("networks", netA); n["qos_policy_id"] != nil {
		t.Errorf("N8: still %v", n["qos_policy_id"])
	}
	w.do("PUT", "/networks/"+strings.ToUpper(strings.ReplaceAll(netA, "-", "")), put4, 200) // N22
	w.do("PUT", "/networks/"+unknown, put4, 404)                                            // N10
	w.do("GET", "/networks/"+unknown, "", 404)
	w.do("DELETE", "/networks/"+unknown, "", 404) // N11
	w.do("POST", "/networks", replaced(netBody(netA, `"1077"`, `,"revision_number":"5"`), netA, strings.ReplaceAll(netA, "-", "")), 201)
	if n := w.show("networks", netA); n["provider:segmentation_id"] != 1077.0 || n["revision_number"] != 5.0 || w.network(netA).Key != key {
		t.Errorf("N17, N22: %v", n)
	}
	w.do("POST", "/networks", netBody(netB, "7", `,"odd":{"a":[{"b":null}],"c":1e3},"another":12345678901234567890`), 201)
	if n := w.do("GET", "/networks/"+netB, "", 200).text; !strings.Contains(n, `"odd":{"a":[{"b":null}],"c":1e3}`) || !strings.Contains(n, "12345678901234567890") {
		t.Errorf("N18: %s", n)
	}
	if out := w.do("DELETE", "/networks/"+netA, "", 204); out.text != "" {
		t.Errorf("N12: %q", out.text)
	}
	w.do("GET", "/networks/"+netA, "", 404)
	if _, left := tables.Foreign.Get(w.st.Snapshot(), model.ForeignKey("network", netA)); left {
		t.Error("N12: what the model does not hold is left behind")
	}
}

func (w *world) network(id string) model.Network {
	n, _ := tables.Networks.Get(w.st.Snapshot(), model.NetworkID(id))
	return n
}

// TestWrappers: checks N13 to N16.
func TestWrappers(t *testing.T) {
	w := newWorld(t)
	one := strings.TrimSuffix(strings.TrimPrefix(netBody(netA, "1", ""), `{"network":`), "}")
	two := replaced(one, netA, netB)
	w.do("POST", "/networks", `{"network":[`+one+`]}`, 201)
	w.do("POST", "/networks", `{"networks":[]}`, 201)
	if got := w.ids("networks", ""); !slices.Equal(got, []string{netA}) {
		t.Errorf("N13, N14: %v", got)
	}
	w.do("DELETE", "/networks/"+netA, "", 204)
	w.do("POST", "/networks", `{"networks":[`+one+`,`+replaced(two, `"mtu":1450`, `"mtu":"x"`)+`]}`, 400)
	if got := w.ids("networks", ""); len(got) != 0 {
		t.Errorf("N15: %v", got)
	}
	w.do("POST", "/networks", `{"networks":[`+one+`,`+two+`]}`, 201)
	if got := w.ids("networks", ""); !slices.Equal(got, []string{netA, netB}) {
		t.Errorf("N15: %v", got)
	}
	w.do("PUT", "/networks/"+netA, `{"networks":[`+one+`]}`, 400)
	w.do("PUT", "/networks/"+netA, `{"network":[`+one+`]}`, 400)
	multi := `{"network":{"id":"` + extNet + `","segments":[{"provider:network_type":"vlan","provider:physical_network":"p","provider:segmentation_id":150},
{"provider:network_type":"vxlan","provider:physical_network":null,"provider:segmentation_id":1500}]}}`
	w.do("POST", "/networks", multi, 201)
	n := w.show("networks", extNet)
	if l, _ := n["segments"].([]any); len(l) != 2 || n["provider:network_type"] != nil || n["provider:segmentation_id"] != nil {
		t.Errorf("N16: %v", n)
	}
	vxlan, vlan := model.Wire{Type: model.VXLAN, SegmentationID: 1500}, model.Wire{Type: model.VLAN, PhysicalNetwork: "p", SegmentationID: 150}
	wires := func() []model.Wire { m := w.network(extNet); return m.Wires() }
	if got := wires(); !slices.Equal(got, []model.Wire{vxlan, vlan}) {
		t.Errorf("N16: carried as %v", got)
	}
	named := func() (out []model.Wire) {
		for s := range tables.SegmentsByNetwork.By(w.st.Snapshot(), extNet) {
			out = append(out, s.Wire)
			if s.Index != slices.Index(wires(), s.Wire) || s.ID == "" {
				t.Errorf("N16: segment %+v", s)
			}
		}
		slices.SortFunc(out, func(a, b model.Wire) int { return strings.Compare(string(b.Type), string(a.Type)) })
		return out
	}
	if got := named(); !slices.Equal(got, []model.Wire{vxlan, vlan}) {
		t.Errorf("N16: named %v", got)
	}
	// One that lacks its number is not carried; one that is there twice is once.
	w.do("PUT", "/networks/"+extNet, replaced(replaced(multi, `:1500}`, `:1500},{"provider:network_type":"vxlan","provider:segmentation_id":1500},{"provider:network_type":"vlan","provider:physical_network":"q"}`),
		`"provider:physical_network":"p","provider:segmentation_id":150}`, `"provider:physical_network":"p","provider:segmentation_id":151}`), 200)
	vlan.SegmentationID = 151
	if got := named(); !slices.Equal(got, []model.Wire{vxlan, vlan}) || !slices.Equal(wires(), got) {
		t.Errorf("N16, changed: named %v, carried as %v", got, wires())
	}
	w.do("DELETE", "/networks/"+extNet, "", 204)
	if got := named(); len(got) != 0 {
		t.Errorf("N16, deleted: %v", got)
	}
}

// ids are those of a list, in its order.
func (w *world) ids(coll, query string) []string {
	w.Helper()
	out := []string{}
	for k, v := range w.do("GET", "/"+coll+query, "", 200).body {
		if strings.HasSuffix(k, "_links") {
			continue
		}
		for _, o := range v.([]any) {
			out = append(out, o.(map[string]any)["id"].(string))
		}
	}
	return out
}

// TestMalformed: checks N19 to N21, and what else is no body, at every collection.
func TestMalformed(t *testing.T) {
	w := newWorld(t)
	for path := range collections {
		if path == "tap/flows" {
			continue
		}
		for _, body := range []string{``, `{}`, `[]`, `null`, `1`, `"x"`, `{"foo":{}}`, `{"network"`, `{"network":{"id":"` + netA + `"`, `{"a":1}{"b":2}`, `{"a":1,"a":2}`, "{\"a\":\"\xff\"}"} {
			w.do("POST", "/"+path, body, 400)
		}
	}
	deep := strings.Repeat(`{"a":`, 10000) + "1" + strings.Repeat("}", 10000)
	w.do("POST", "/networks", deep, 400)
	w.do("POST", "/networks", `{"network":{"id":"`+netA+`","a":`+strings.Repeat("[", 60)+strings.Repeat("]", 60)+`}}`, 201)
	w.do("POST", "/networks", `{"network":{"id":"`+netA+`","name":"`+strings.Repeat("x", 11<<20)+`"}}`, 413)
	w.do("POST", "/networks", `{"network":{"id":"`+netA+`","a":"`+strings.Repeat("x", 9<<20)+`"}}`, 201)
	r := httptest.NewRequest("POST", Base+"/networks", strings.NewReader(strings.Repeat(" ", 11<<20)))
	r.ContentLength = -1 // as with chunks
	r.SetBasicAuth("neutron", "neutron")
	rec := httptest.NewRecorder()
	if w.h.ServeHTTP(rec, r); rec.Code != 413 {
		t.Errorf("N21: %d for a large body of unknown length", rec.Code)
	}
	for _, bad := range []string{`"mtu":"x"`, `"mtu":-1`, `"mtu":[]`, `"admin_state_up":"maybe"`, `"admin_state_up":1`, `"provider:segmentation_id":16777216`, `"id":"x"`, `"id":7`,
		`"provider:network_type":"vlan","provider:segmentation_id":4095`, `"provider:network_type":"carrier-pigeon"`, `"name":{}`, `"name":"a\u0000b"`, `"tags":"x"`, `"tags":[1]`,
		`"segments":{}`, `"segments":[1]`, `"segments":[{"provider:segmentation_id":"x"}]`, `"revision_number":"x"`, `"revision_number":-1`, `"shared":"no"`, `"provider:physical_network":"a|b"`,
		`"tenant_id":1`} {
		id := `"id":"` + netB + `",`
		if strings.Contains(bad, `"id":`) && !strings.Contains(bad, "_id") {
			id = ""
		}
		if !strings.Contains(bad, "network_type") {
			bad += `,"provider:network_type":"vxlan"`
		}
		w.do("POST", "/networks", `{"network":{`+id+bad+`}}`, 400)
	}
	w.do("POST", "/networks", `{"network":{"name":"no id"}}`, 400)
	w.do("GET", "/networks/"+netB, "", 404)
}

// TestHeaders: methods, media types and paths that are not offered.
func TestHeaders(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		method, path string
		want         int
	}{{"PATCH", "/networks", 405}, {"PUT", "/networks", 405}, {"POST", "/networks/" + netA, 405}, {"DELETE", "/networks", 405}, {"GET", "/nothing", 404}, {"GET", "", 404},
		{"GET", "/networks/" + netA + "/x", 404}, {"GET", "//networks", 404}, {"PUT", "/l2gateway-connections/" + netA, 405}, {"GET", "/networks/x", 404}, {"GET", "/networks/", 200},
		{"POST", "/routers/" + routerA + "/add_router_interface", 405}, {"PUT", "/routers/" + routerA + "/explode", 404}, {"GET", "/tap/flows", 404}, {"HEAD", "/networks", 200}} {
		if out := w.ask("neutron", c.method, c.path, "{}"); out.code != c.want {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, out.code, c.want)
		}
	}
	for head, want := range map[string]int{"application/json; charset=utf-8": 201, "application/xml": 415, "": 201, "nonsense/": 415} {
		r := httptest.NewRequest("POST", Base+"/networks", strings.NewReader(canaryBody))
		r.SetBasicAuth("neutron", "neutron")
		r.Header.Set("Content-Type", head)
		rec := httptest.NewRecorder()
		if w.h.ServeHTTP(rec, r); rec.Code != want {
			t.Errorf("Content-Type %q: %d, want %d", head, rec.Code, want)
		}
	}
	r := httptest.NewRequest("POST", Base+"/networks", strings.NewReader(canaryBody))
	r.SetBasicAuth("neutron", "neutron")
	r.Header.Set("Content-Encoding", "gzip")
	rec := httptest.NewRecorder()
	if w.h.ServeHTTP(rec, r); rec.Code != 415 {
		t.Errorf("Content-Encoding gzip: %d", rec.Code)
	}
}

// TestParallel: check N23.
func TestParallel(t *testing.T) {
	w := newWorld(t)
	codes := make([]int, 50)
	var wg sync.WaitGroup
	for i := range codes {
		wg.Go(func() {
			r := httptest.NewRequest("POST", Base+"/networks", strings.NewReader(netBody(netA, "9", "")))
			r.SetBasicAuth("neutron", "neutron")
			rec := httptest.NewRecorder()
			w.h.ServeHTTP(rec, r)
			codes[i] = rec.Code
		})
	}
	wg.Wait()
	for _, c := range codes {
		if c != 201 {
			t.Fatalf("N23: %v", codes)
		}
	}
	if n := tables.Networks.Len(w.st.Snapshot()); n != 1 || w.network(netA).Key != 1 {
		t.Errorf("N23: %d networks, key %d", n, w.network(netA).Key)
	}
}

// TestSegmentless: what a network lacks to be carried leaves it without a data plane, and is shown as it came.
func TestSegmentless(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/networks", netBody(netA, "null", ""), 201)
	if n := w.network(netA); n.Type != "" {
		t.Errorf("carried as %s", n.Type)
	}
	if n := w.show("networks", netA); n["provider:network_type"] != "vxlan" {
		t.Errorf("shown as %v", n["provider:network_type"])
	}
	w.do("PUT", "/networks/"+netA, netBody(netA, "12", ""), 200)
	if n := w.network(netA); n.Type != model.VXLAN || n.SegmentationID != 12 {
		t.Errorf("carried as %s %d", n.Type, n.SegmentationID)
	}
}

// TestSubnet: checks S1, S3 to S6.
func TestSubnet(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/networks", netBody(netA, "5", ""), 201)
	full := `,"gateway_ip":"10.0.0.1","allocation_pools":[{"start":"10.0.0.2","end":"10.0.0.99"}],"host_routes":[{"destination":"10.9.0.0/16","nexthop":"10.0.0.9"}],
"dns_nameservers":["9.9.9.9","8.8.8.8"],"ipv6_ra_mode":null,"service_types":["compute:nova"],"segment_id":"` + unknown + `"`
	w.do("POST", "/subnets", subBody(subA, netA, "10.0.0.0/24", full), 201)
	s := w.show("subnets", subA)
	for name, want := range map[string]any{"network_id": netA, "cidr": "10.0.0.0/24", "gateway_ip": "10.0.0.1", "ip_version": 4.0, "enable_dhcp": true, "segment_id": unknown,
		"allocation_pools": []any{map[string]any{"start": "10.0.0.2", "end": "10.0.0.99"}}, "dns_nameservers": []any{"9.9.9.9", "8.8.8.8"},
		"host_routes": []any{map[string]any{"destination": "10.9.0.0/16", "nexthop": "10.0.0.9"}}, "service_types": []any{"compute:nova"}} {
		if !reflect.DeepEqual(s[name], want) {
			t.Errorf("S1: %s is %v, want %v", name, s[name], want)
		}
	}
	w.do("PUT", "/subnets/"+subA, `{"subnet":{"name":"new","gateway_ip":"10.0.0.1","host_routes":[],"dns_nameservers":["8.8.8.8"],"enable_dhcp":false,"cidr":"10.7.0.0/24","ip_version":6}}`, 200)
	s = w.show("subnets", subA)
	if s["cidr"] != "10.0.0.0/24" || s["network_id"] != netA || s["ip_version"] != 4.0 || s["tenant_id"] != tenant || s["enable_dhcp"] != false || fmt.Sprint(s["host_routes"]) != "[]" {
		t.Errorf("S3, S4: %v", s)
	}
	w.do("PUT", "/subnets/"+subA, `{"subnet":{"gateway_ip":"fd00::1"}}`, 400)
	for _, c := range [][2]string{{"10.0.0.0/24", `"ip_version":5`}, {"10.0.0.0/33", `"ip_version":4`}, {"x", `"ip_version":4`}, {"fd00::/64", `"ip_version":4`}, {"", `"ip_version":4`},
		{"10.0.0.0/24", `"ip_version":4,"gateway_ip":"x"`}, {"10.0.0.0/24", `"ip_version":4,"dns_nameservers":["x"]`}, {"10.0.0.0/24", `"ip_version":4,"gateway_ip":"fd00::1"`},
		{"10.0.0.0/24", `"ip_version":4,"allocation_pools":[{"start":"10.0.0.9","end":"10.0.0.2"}]`}, {"10.0.0.0/24", `"ip_version":4,"host_routes":[{"destination":"10.0.0.0/8"}]`},
		{"fd00::/64", `"ip_version":6,"ipv6_ra_mode":"loud"`}, {"10.0.0.0/24", `"ip_version":4,"allocation_pools":[7]`}} {
		w.do("POST", "/subnets", `{"subnet":{"id":"`+subB+`","network_id":"`+netA+`","cidr":"`+c[0]+`",`+c[1]+`}}`, 400) // S5
	}
	w.do("POST", "/subnets", `{"subnet":{"id":"`+subB+`","cidr":"10.0.0.0/24"}}`, 400)
	w.do("POST", "/subnets", subBody(subB, netA, "10.1.0.0/24", `,"gateway_ip":"192.0.2.1"`), 201) // S5b
	w.do("POST", "/subnets", subBody(subExt, netA, "2001:db8:1::/64", `,"gateway_ip":"2001:db8:1::","ipv6_ra_mode":"slaac","ipv6_address_mode":"slaac"`), 201)
	if s := w.show("subnets", subExt); s["gateway_ip"] != "2001:db8:1::" || s["ipv6_ra_mode"] != "slaac" {
		t.Errorf("S6: %v", s)
	}
	// What is not said has OpenDaylight's defaults; null is none.
	w.do("POST", "/subnets", `{"subnet":{"id":"`+netB+`","network_id":"`+netA+`","cidr":"10.2.0.0/29"}}`, 201)
	if s := w.show("subnets", netB); s["gateway_ip"] != "10.2.0.1" || fmt.Sprint(s["allocation_pools"]) != "[map[end:10.2.0.6 start:10.2.0.2]]" {
		t.Errorf("defaults: %v", s)
	}
	w.do("POST", "/subnets", `{"subnet":{"id":"`+netB+`","network_id":"`+netA+`","cidr":"10.2.0.0/29","gateway_ip":null}}`, 201)
	if s := w.show("subnets", netB); s["gateway_ip"] != nil {
		t.Errorf("no gateway: %v", s)
	}
	w.do("DELETE", "/subnets/"+subA, "", 204)
	w.do("GET", "/subnets/"+subA, "", 404)
}

// TestOwnObjects: what our own Neutron API made is served too.
func TestOwnObjects(t *testing.T) {
	w := newWorld(t)
	w.commit(func(tx *store.Txn) {
		tables.Networks.Put(tx, netA, model.Network{ID: netA, Std: model.Std{Name: "own", Project: "p", RevisionNo: 3}, NetworkPlane: model.NetworkPlane{Key: 1, Type: model.VXLAN, SegmentationID: 4}})
	})
	if n := w.show("networks", netA); n["name"] != "own" || n["provider:segmentation_id"] != 4.0 || n["revision_number"] != 3.0 {
		t.Errorf("%v", n)
	}
}
