// SPDX-License-Identifier: Apache-2.0

package netvirt_test

import (
	"testing"

	"nagare/internal/store"
	"nagare/test/bench/cloud"
)

// TestCostIsFlat holds the counts that a slow machine cannot blur: what a change makes the engine do depends on the change,
// not on the size of the cloud.
func TestCostIsFlat(t *testing.T) {
	small := cloud.Shape{Nodes: 20, Networks: 10, Ports: 10}.Follow()
	large := cloud.Shape{Nodes: 20, Networks: 200, Ports: 10}.Follow()
	nodes := small.Nodes
	for _, c := range []struct {
		what         string
		do           func(tx *store.Txn, s cloud.Shape)
		units, flows int
	}{
		// Its remote half on every node, itself, its permits, its network's flood and its DHCP answers there.
		// Flows: one on every other node; at home 3 of layer 2, 4 of the permits, and the flood's two lists.
		{"port create", func(tx *store.Txn, s cloud.Shape) { s.CreatePort(tx) }, nodes + 3, nodes - 1 + 3 + 4 + 2},
		// Its units go without running; the flood runs.
		{"port delete", func(tx *store.Txn, s cloud.Shape) { s.DropPort(tx) }, 1, nodes - 1 + 3 + 4 + 2},
		{"rename", func(tx *store.Txn, s cloud.Shape) { s.Rename(tx, 1) }, 0, 0},
		{"rule", func(tx *store.Txn, s cloud.Shape) { s.OpenPort(tx, 22) }, 45, 45},
		{"rule again", func(tx *store.Txn, s cloud.Shape) { s.OpenPort(tx, 22) }, 0, 0},
	} {
		at100 := small.Change(func(tx *store.Txn) { c.do(tx, small.Shape) })
		at2000 := large.Change(func(tx *store.Txn) { c.do(tx, large.Shape) })
		if at100.Units != at2000.Units || at100.Flows != at2000.Flows {
			t.Errorf("%s: %d units and %d flows at 100 ports, %d and %d at 2,000", c.what, at100.Units, at100.Flows, at2000.Units, at2000.Flows)
		}
		if at100.Units != c.units || at100.Flows != c.flows {
			t.Errorf("%s: %d units ran and %d flows changed, want %d and %d", c.what, at100.Units, at100.Flows, c.units, c.flows)
		}
	}
}
