// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// world drives a store through random histories and follows it with one incremental engine.
type world struct {
	st     *store.Store
	w      *store.Watch
	e      *compile.Engine
	mirror map[string]map[flow.Key]flow.Flow // what switches would hold if they applied every delta
	rows   map[string]map[compile.RowKey]compile.Row
}

var (
	worldNodes  = []string{"a", "b", "c"}
	worldNets   = []model.NetworkID{"n1", "n2", "n3"}
	worldPorts  = []model.PortID{"port-000001", "port-000002", "port-000003", "port-000004", "port-000005", "port-000006"}
	worldGroups = []model.SecurityGroupID{"g1", "g2"}
)

func newWorld() *world {
	st := store.New(tables.Schema, nil)
	w := &world{st: st, w: st.Watch(), e: compile.New(Classic(), pipeline.Check),
		mirror: map[string]map[flow.Key]flow.Flow{}, rows: map[string]map[compile.RowKey]compile.Row{}}
	for _, n := range worldNodes {
		w.e.AddNode(n)
		w.mirror[n] = map[flow.Key]flow.Flow{}
		w.rows[n] = map[compile.RowKey]compile.Row{}
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
	}
}

// check compares the incremental state with one compiled from scratch: flows, rows, faults and number of units.
func (w *world) check(t *rapid.T) {
	fresh := compileAll(w.st, worldNodes...)
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
	switch op := rapid.IntRange(0, 12).Draw(t, "op"); op {
	case 0: // node appears, gets or loses its tunnel address
		n := model.Node{ID: node}
		if rapid.IntRange(0, 3).Draw(t, "addressed") > 0 {
			n.LocalIP = netip.AddrFrom4([4]byte{192, 168, 0, byte(10 + slices.Index(worldNodes, string(node)))})
		}
		tables.Nodes.Put(tx, node, n)
	case 1:
		types := []model.NetworkType{model.VXLAN, model.VXLAN, model.VXLAN, model.Flat}
		tables.Networks.Put(tx, net, model.Network{ID: net, NetworkPlane: model.NetworkPlane{
			Type: rapid.SampledFrom(types).Draw(t, "type"), SegmentationID: rapid.Uint32Range(100, 102).Draw(t, "vni"), AdminStateUp: true}})
	case 2:
		tables.Networks.Delete(tx, net)
	case 3, 4, 5:
		p := model.Port{ID: port, PortPlane: model.PortPlane{Network: net, Host: node, AdminStateUp: rapid.IntRange(0, 4).Draw(t, "up") > 0,
			MAC: model.MAC{0xfa, 0x16, 0x3e, 0, 0, byte(rapid.IntRange(1, 4).Draw(t, "mac"))}, PortSecurity: true,
			DeviceOwner:    rapid.SampledFrom([]string{"compute:nova", "compute:nova", "", model.OwnerDHCP}).Draw(t, "owner"),
			SecurityGroups: []model.SecurityGroupID{group},
			FixedIPs:       []model.FixedIP{{Subnet: model.SubnetID("s" + string(net)), Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 2)})}}}}
		if p.IsDHCP() {
			p.PortSecurity, p.SecurityGroups = false, nil
		}
		tables.Ports.Put(tx, port, p)
	case 6:
		tables.Ports.Delete(tx, port)
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
	case 12:
		tables.Rules.Delete(tx, model.SecurityGroupRuleID(fmt.Sprintf("r%d", rapid.IntRange(1, 4).Draw(t, "rule"))))
	}
}

// TestIncrementalEqualsScratch is the engine's main property, over some two thousand random histories (twenty times what rapid
// checks, 100 unless its flag says otherwise); at the end of each everything is deleted and every bridge must be back at its
// initial flows.
func TestIncrementalEqualsScratch(t *testing.T) {
	for range 20 {
		rapid.Check(t, history)
	}
}

func history(t *rapid.T) {
	w := newWorld()
	w.follow(t)
	for range rapid.IntRange(1, 25).Draw(t, "commits") {
		mustCommitRapid(t, w.st, func(tx *store.Txn) {
			for range rapid.IntRange(1, 4).Draw(t, "operations") {
				step(t, tx)
			}
		})
		if rapid.IntRange(0, 3).Draw(t, "lag") > 0 { // else several commits arrive as one step
			w.follow(t)
			w.check(t)
		}
	}
	mustCommitRapid(t, w.st, func(tx *store.Txn) {
		for _, p := range worldPorts {
			tables.Ports.Delete(tx, p)
		}
		for _, n := range worldNets {
			tables.Networks.Delete(tx, n)
		}
	})
	w.follow(t)
	w.check(t)
	for _, n := range worldNodes {
		if got, want := len(w.mirror[n]), len(pipeline.Spine(pipeline.Classic)); got != want {
			t.Fatalf("%s: %d flows after deleting everything, want the %d initial ones:\n%v", n, got, want, flowLines(w.e, n))
		}
	}
}

func mustCommitRapid(t *rapid.T, st *store.Store, f func(*store.Txn)) {
	t.Helper()
	if _, err := st.Commit(t.Context(), store.Origin{}, func(tx *store.Txn) error { f(tx); return nil }); err != nil {
		t.Fatal(err)
	}
}
