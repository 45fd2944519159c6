// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"nagare/internal/alloc"
	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/repro"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// world drives a store through random histories and follows it with one incremental engine.
type world struct {
	st     *store.Store
	w      *store.Watch
	e      *compile.Engine
	book   func() *compile.Rulebook
	of     pipeline.Profile
	mirror map[string]map[flow.Key]flow.Flow // what switches would hold if they applied every delta
	rows   map[string]map[compile.RowKey]compile.Row
	groups map[string]map[uint32]flow.Group
}

var (
	worldNodes  = []string{"a", "b", "c"}
	worldNets   = []model.NetworkID{"n1", "n2", "n3"}
	worldPorts  = []model.PortID{"port-000001", "port-000002", "port-000003", "port-000004", "port-000005", "port-000006"}
	worldGroups = []model.SecurityGroupID{"g1", "g2"}
)

func newWorld() *world { return newWorldOf(Classic, pipeline.Classic) }

func newWorldOf(book func() *compile.Rulebook, of pipeline.Profile) *world {
	st := store.New(tables.Schema, nil)
	w := &world{st: st, w: st.Watch(), e: compile.New(book(), of.Check), book: book, of: of,
		mirror: map[string]map[flow.Key]flow.Flow{}, rows: map[string]map[compile.RowKey]compile.Row{}, groups: map[string]map[uint32]flow.Group{}}
	for _, n := range worldNodes {
		w.e.AddNode(n)
		w.mirror[n] = map[flow.Key]flow.Flow{}
		w.rows[n] = map[compile.RowKey]compile.Row{}
		w.groups[n] = map[uint32]flow.Group{}
	}
	return w
}

// follow lets the incremental engine catch up and applies its deltas to the mirrors, checking each Before on the way.
func (w *world) follow(t *rapid.T) {
	snap, ch, ok := w.w.Take()
	if !ok {
		return
	}
	for n, d := range w.e.Update(snap, ch) {
		for k, c := range d.Flows {
			have, ok := w.mirror[n][k]
			if ok != (c.Before != nil) || ok && have != *c.Before {
				t.Fatalf("%s: delta says %v was there before, mirror has %v %v", n, c.Before, have, ok)
			}
			if c.After == nil {
				delete(w.mirror[n], k)
			} else {
				w.mirror[n][k] = *c.After
			}
		}
		for k, c := range d.Rows {
			if c.After == nil {
				delete(w.rows[n], k)
			} else {
				w.rows[n][k] = *c.After
			}
		}
		for k, c := range d.Groups {
			if c.After == nil {
				delete(w.groups[n], k)
			} else {
				w.groups[n][k] = *c.After
			}
		}
	}
}

// check compares the incremental state with one compiled from scratch: flows, rows, groups, faults and number of units.
func (w *world) check(t *rapid.T) {
	fresh := compileBook(w.st, w.book(), w.of, worldNodes...)
	for _, n := range worldNodes {
		want, _ := fresh.Desired(n)
		got, _ := w.e.Desired(n)
		if !maps.Equal(want.Flows, got.Flows) {
			t.Fatalf("%s: incremental differs from scratch:\n%s", n, cmp.Diff(flowLines(fresh, n), flowLines(w.e, n)))
		}
		if !maps.Equal(want.Flows, w.mirror[n]) {
			t.Fatalf("%s: deltas do not add up to the desired state", n)
		}
		if !maps.Equal(want.Rows, got.Rows) || !maps.Equal(want.Rows, w.rows[n]) {
			t.Fatalf("%s: rows differ: want %v got %v mirror %v", n, want.Rows, got.Rows, w.rows[n])
		}
		if !maps.Equal(want.Groups, got.Groups) || !maps.Equal(want.Groups, w.groups[n]) {
			t.Fatalf("%s: groups differ: want %v got %v mirror %v", n, want.Groups, got.Groups, w.groups[n])
		}
		for _, f := range w.e.Faults(n) {
			if strings.Contains(f.Reason, "panicked") || strings.Contains(f.Reason, "breaks the pipeline") {
				t.Fatalf("%s: %v", n, f)
			}
		}
		if d := cmp.Diff(fresh.Faults(n), w.e.Faults(n)); d != "" {
			t.Fatalf("%s: faults differ: %s", n, d)
		}
	}
	if a, b := fresh.UnitCount(), w.e.UnitCount(); a != b {
		t.Fatalf("%d units from scratch, %d incrementally: units leaked", a, b)
	}
}

// step is one random operation inside a transaction.
func step(t *rapid.T, tx *store.Txn) {
	node := model.NodeID(rapid.SampledFrom(worldNodes).Draw(t, "node"))
	net := rapid.SampledFrom(worldNets).Draw(t, "net")
	port := rapid.SampledFrom(worldPorts).Draw(t, "port")
	group := rapid.SampledFrom(worldGroups).Draw(t, "group")
	i := slices.Index(worldPorts, port)
	switch op := rapid.IntRange(0, 14).Draw(t, "op"); op {
	case 0: // node appears, gets or loses its tunnel address
		n := model.Node{ID: node, NodePlane: model.NodePlane{Key: model.Key(1 + slices.Index(worldNodes, string(node)))}}
		if rapid.IntRange(0, 3).Draw(t, "addressed") > 0 {
			n.LocalIP = netip.AddrFrom4([4]byte{192, 168, 0, byte(10 + slices.Index(worldNodes, string(node)))})
		}
		if rapid.Bool().Draw(t, "mapped") {
			n.Mappings = map[string]string{"ph": rapid.SampledFrom([]string{"br-ex", "br-ex2", Bridge}).Draw(t, "bridge")}
		}
		tables.Nodes.Put(tx, node, n)
	case 1:
		types := []model.NetworkType{model.VXLAN, model.VXLAN, model.VXLAN, model.Flat, model.VLAN, model.Geneve, model.GRE, model.Local}
		tables.Networks.Put(tx, net, model.Network{ID: net, NetworkPlane: model.NetworkPlane{
			Key: model.Key(1 + slices.Index(worldNets, net)), PhysicalNetwork: "ph",
			Type: rapid.SampledFrom(types).Draw(t, "type"), SegmentationID: rapid.Uint32Range(100, 102).Draw(t, "vni"), AdminStateUp: true}})
	case 2:
		tables.Networks.Delete(tx, net)
	case 3, 4, 5:
		p := model.Port{ID: port, PortPlane: model.PortPlane{Key: model.Key(i + 1), Network: net, Host: node, AdminStateUp: rapid.IntRange(0, 4).Draw(t, "up") > 0,
			MAC: model.MAC{0xfa, 0x16, 0x3e, 0, 0, byte(rapid.IntRange(1, 4).Draw(t, "mac"))}, PortSecurity: true,
			DeviceOwner:    rapid.SampledFrom([]string{"compute:nova", "compute:nova", "", model.OwnerDHCP}).Draw(t, "owner"),
			SecurityGroups: []model.SecurityGroupID{group},
			FixedIPs:       []model.FixedIP{{Subnet: model.SubnetID("s" + string(net)), Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 2)})}}}}
		if p.IsDHCP() {
			p.PortSecurity, p.SecurityGroups = false, nil
		}
		switch rapid.IntRange(0, 4).Draw(t, "extra") {
		case 0:
			p.PortSecurity, p.SecurityGroups = false, nil
		case 1:
			p.AllowedPairs = []model.AddressPair{{Prefix: netip.MustParsePrefix("10.0.0.77/32"),
				MAC: model.MAC{0xfa, 0x16, 0x3e, 0, 0, byte(rapid.IntRange(3, 6).Draw(t, "pair"))}}}
		case 2:
			p.FixedIPs = append(p.FixedIPs, model.FixedIP{Subnet: "s6", Addr: netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(i + 2)})})
		case 3:
			p.SecurityGroups = slices.Clone(worldGroups)
		}
		if p.IsDHCP() && rapid.Bool().Draw(t, "native") {
			p.Host = ""
		}
		if p.IsCompute() && rapid.Bool().Draw(t, "binding") {
			p.Bindings = []model.Binding{{Host: model.NodeID(rapid.SampledFrom(worldNodes).Draw(t, "to"))}}
		}
		if err := alloc.PutPort(tx, p); err != nil {
			t.Fatal(err)
		}
	case 6:
		alloc.DeletePort(tx, port)
	case 7, 8: // plug, or change the number
		of := rapid.Uint32Range(0, 5).Draw(t, "ofport")
		tables.Interfaces.Put(tx, model.InterfaceKey(node, port.TapName()), model.Interface{Node: node, Name: port.TapName(), OFPort: of, IfaceID: port})
		if of > 0 {
			tables.Plugs.Put(tx, model.PlugKey(node, port), model.Plug{Node: node, Port: port})
		}
	case 9:
		tables.Interfaces.Delete(tx, model.InterfaceKey(node, port.TapName()))
		tables.Plugs.Delete(tx, model.PlugKey(node, port))
	case 10: // a tunnel port gets its number
		peer := byte(10 + rapid.IntRange(0, len(worldNodes)-1).Draw(t, "peer"))
		name := TunnelName(netip.AddrFrom4([4]byte{192, 168, 0, peer}))
		switch rapid.IntRange(0, 5).Draw(t, "kind") {
		case 0:
			name = "geneve-" + netip.AddrFrom4([4]byte{192, 168, 0, peer}).String()
		case 1:
			name = "vxlan-flow"
		case 2:
			name = patchName("ph")
		}
		tables.Interfaces.Put(tx, model.InterfaceKey(node, name), model.Interface{Node: node, Name: name, OFPort: rapid.Uint32Range(0, 9).Draw(t, "tunnel")})
	case 11:
		id := model.SecurityGroupRuleID(fmt.Sprintf("r%d", rapid.IntRange(1, 4).Draw(t, "rule")))
		r := model.SecurityGroupRule{ID: id, RulePlane: model.RulePlane{Group: group, Ethertype: model.EtherIPv4,
			Direction: rapid.SampledFrom([]model.Direction{model.Ingress, model.Egress}).Draw(t, "dir"),
			Protocol:  rapid.SampledFrom([]string{"", "tcp", "icmp", "89"}).Draw(t, "proto")}}
		if r.Protocol == "tcp" {
			lo := rapid.IntRange(1, 70).Draw(t, "lo")
			hi := rapid.IntRange(lo, 80).Draw(t, "hi")
			r.PortMin, r.PortMax = &lo, &hi
			if rapid.Bool().Draw(t, "remote") {
				r.RemoteGroup = rapid.SampledFrom(worldGroups).Draw(t, "remote group")
			}
		}
		tables.Rules.Put(tx, id, r)
	case 13: // an inactive binding is activated
		p, ok := tables.Ports.Get(tx, port)
		if !ok || len(p.Bindings) == 0 {
			return
		}
		left := p.Host
		p.Host = p.Bindings[0].Host
		if p.Bindings = nil; left != "" {
			p.Bindings = []model.Binding{{Host: left, Former: true}}
		}
		if err := alloc.PutPort(tx, p); err != nil {
			t.Fatal(err)
		}
	case 14: // a security log comes, changes or goes
		id := model.LogID(rapid.SampledFrom([]string{"l1", "l2"}).Draw(t, "log"))
		l := model.LogPlane{Event: rapid.SampledFrom([]model.LogEvent{model.LogAll, model.LogAccept, model.LogDrop}).Draw(t, "event"), Enabled: true}
		switch rapid.IntRange(0, 4).Draw(t, "scope") {
		case 0:
			tables.Logs.Delete(tx, id)
			return
		case 1:
			l.Group = group
		case 2:
			l.Port = port
		case 3:
			l.Enabled = false
		}
		tables.Logs.Put(tx, id, model.Log{ID: id, LogPlane: l})
	case 12:
		tables.Rules.Delete(tx, model.SecurityGroupRuleID(fmt.Sprintf("r%d", rapid.IntRange(1, 4).Draw(t, "rule"))))
	}
}

// TestIncrementalEqualsScratch is the engine's main property, over some hundreds of random histories of classic (a few times what
// rapid checks, 100 unless its flag says otherwise; two thousand in a soak) and of standard; at the end of each everything is deleted and every bridge must be back at its
// initial flows.
func TestIncrementalEqualsScratch(t *testing.T) {
	for _, b := range []struct {
		name   string
		of     pipeline.Profile
		book   func() *compile.Rulebook
		rounds int
	}{
		{"classic", pipeline.Classic, Classic, repro.Rounds(4, 20)},
		{"standard", pipeline.Standard, func() *compile.Rulebook { return Standard(Options{}) }, repro.Rounds(2, 3)},
		{"standard with other options", pipeline.Standard, func() *compile.Rulebook { return Standard(Options{NativeDHCP: true, FlowTunnels: true}) }, repro.Rounds(1, 2)},
	} {
		t.Run(b.name, func(t *testing.T) {
			repro.Again(b.rounds, func() { rapid.Check(t, func(t *rapid.T) { history(t, b.book, b.of) }) })
		})
	}
}

func history(t *rapid.T, book func() *compile.Rulebook, of pipeline.Profile) {
	w := newWorldOf(book, of)
	w.follow(t)
	initial := map[string]map[flow.Key]flow.Flow{}
	for _, n := range worldNodes {
		d, _ := compileBook(w.st, book(), of, n).Desired(n)
		initial[n] = d.Flows
	}
	for range rapid.IntRange(1, 25).Draw(t, "commits") {
		mustCommitRapid(t, w.st, func(tx *store.Txn) {
			for range rapid.IntRange(1, 4).Draw(t, "operations") {
				step(t, tx)
			}
		})
		if rapid.IntRange(0, 3).Draw(t, "lag") > 0 { // else several commits arrive as one step
			w.follow(t)
			w.check(t)
			if of == pipeline.Standard {
				w.signed(t)
			}
		}
	}
	mustCommitRapid(t, w.st, func(tx *store.Txn) {
		for _, p := range worldPorts {
			alloc.DeletePort(tx, p)
		}
		for _, n := range worldNets {
			tables.Networks.Delete(tx, n)
		}
	})
	w.follow(t)
	w.check(t)
	for _, n := range worldNodes {
		if got := w.mirror[n]; !maps.Equal(got, initial[n]) || len(w.groups[n]) > 0 {
			t.Fatalf("%s: %d flows and %d groups after deleting everything, want the %d initial ones:\n%v", n, len(got), len(w.groups[n]), len(initial[n]), flowLines(w.e, n))
		}
	}
}

var tunIDOf = regexp.MustCompile(`tun_id=(0x[0-9a-f]+)`)

// signed checks that each flow has an owner and a cookie that tells whose it is, and that none names a network that has no
// port on the node and is not reached from it through a router.
func (w *world) signed(t *rapid.T) {
	r := w.st.Snapshot()
	for _, n := range worldNodes {
		owners, here := w.e.Owners(n), map[string]bool{}
		ids := slices.Collect(tables.NodeNetworks.Members(r, n))
		for _, routed := range []*store.Derived{tables.NodeReach, tables.NodeExternals} {
			ids = append(ids, slices.Collect(routed.Members(r, n))...)
		}
		for _, id := range ids {
			if net, ok := tables.Networks.Get(r, model.NetworkID(id)); ok {
				tag, _ := logicalNetwork(&net)
				here[fmt.Sprintf("%#x", tag)] = true
				here[fmt.Sprintf("%#x", net.SegmentationID)] = true // in entry flows
			}
		}
		for k, f := range w.mirror[n] {
			if owners[k].Rule == "" {
				t.Fatalf("%s: nobody owns %v", n, f)
			}
			c, ok := pipeline.UnpackCookie(f.Cookie)
			if !ok || strings.HasPrefix(c.Kind.String(), "kind ") ||
				f.Priority > 0 && c.Template != pipeline.TemplateMerged && c.Template>>8 != uint16(f.Table) {
				t.Fatalf("%s: cookie %#x of %v (%v) tells nothing", n, f.Cookie, f, owners[k])
			}
			if m := tunIDOf.FindStringSubmatch(f.Match.String()); m != nil && !here[m[1]] {
				t.Fatalf("%s: no port of the network is here, but %v (%v)", n, f, owners[k])
			}
		}
	}
}

func mustCommitRapid(t *rapid.T, st *store.Store, f func(*store.Txn)) {
	t.Helper()
	if _, err := st.Commit(t.Context(), store.Origin{}, func(tx *store.Txn) error { f(tx); return nil }); err != nil {
		t.Fatal(err)
	}
}
