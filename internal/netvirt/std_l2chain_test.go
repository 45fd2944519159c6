// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"fmt"
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/sim"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// TestFloodChain has more ports of a network on a node than one group holds: no group exceeds a message, every port gets its
// copy, and a port more changes one group.
func TestFloodChain(t *testing.T) {
	const ports = 1200
	st := store.New(tables.Schema, nil)
	put := func(tx *store.Txn, i int) {
		id := model.PortID(fmt.Sprintf("port-%06d", i))
		if err := alloc.PutPort(tx, model.Port{ID: id, PortPlane: model.PortPlane{Key: model.Key(i), Network: "n", Host: "a", AdminStateUp: true,
			MAC: model.MAC{0xfa, 0x16, 0, 0, byte(i >> 8), byte(i)}}}); err != nil {
			t.Fatal(err)
		}
		report(tx, model.Interface{Node: "a", Name: string(id), OFPort: uint32(i), IfaceID: id})
	}
	mustCommit(t, st, func(tx *store.Txn) {
		tables.Nodes.Put(tx, "a", model.Node{ID: "a", NodePlane: model.NodePlane{Key: 1, LocalIP: tunnelAddr(0)}})
		tables.Networks.Put(tx, "n", model.Network{ID: "n", NetworkPlane: model.NetworkPlane{Key: 9, Type: model.VXLAN, SegmentationID: 5, AdminStateUp: true}})
		for i := 1; i <= ports; i++ {
			put(tx, i)
		}
	})
	w := st.Watch()
	defer w.Close()
	e := compileBook(st, layer2Alone(Options{}), pipeline.Standard, "a")
	w.Take()
	d, _ := e.Desired("a")
	for _, g := range d.Groups {
		if size := 16 + len(g.Buckets); size > 0xffff {
			t.Errorf("group %#x takes %d bytes, more than a message", g.ID, size)
		}
	}
	sw := simulated(t, e, "a")
	// The simulator bounds its lookups as the switch does, at some 4,000; a part of the chain is within that.
	got := map[uint32]int{}
	for id, g := range d.Groups {
		if kind := uint8(id >> 24); kind >= groupLocalPart && kind < groupRemotePart {
			sw.PutGroup(flow.NewGroup(localID(9), flow.GroupAll, flow.Bucket{Acts: []flow.Act{flow.ToGroup(g.ID)}}))
			res := sw.Run(sim.New(flow.InPort(1), flow.EthSrc(model.MAC{0xfa, 0x16, 0, 0, 0, 1}), flow.EthDst(broadcast)))
			if len(res.Errors) > 0 {
				t.Fatal(res.Errors)
			}
			for _, p := range res.OutPorts() {
				got[p]++
			}
		}
	}
	for i := uint32(2); i <= ports; i++ {
		if got[i] != 1 {
			t.Fatalf("port %d got %d copies", i, got[i])
		}
	}
	mustCommit(t, st, func(tx *store.Txn) { put(tx, ports+1) })
	snap, ch, _ := w.Take()
	delta := e.Update(snap, ch)["a"]
	if len(delta.Groups) != 1 {
		t.Errorf("a port more changed %d groups, want 1", len(delta.Groups))
	}
}
