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
	small := newFollower(cloud.Shape{Nodes: 20, Networks: 10, Ports: 10})
	large := newFollower(cloud.Shape{Nodes: 20, Networks: 200, Ports: 10})
	nodes := small.shape.Nodes
	for _, c := range []struct {
		what         string
		do           func(tx *store.Txn, s cloud.Shape)
		units, flows int
	}{
		// Its remote half on every node, itself, its permits, its network's flood and its DHCP answers there.
		// Flows: one on every other node; at home 3 of layer 2, 4 of the permits, and the flood's two lists.
		{"port create", createPort, nodes + 3, nodes - 1 + 3 + 4 + 2},
		// Its units go without running; the flood runs.
		{"port delete", deletePort, 1, nodes - 1 + 3 + 4 + 2},
		{"rename", func(tx *store.Txn, _ cloud.Shape) { rename(tx, 1) }, 0, 0},
		{"rule", func(tx *store.Txn, s cloud.Shape) { s.PutRule(tx, 0, 9, sshRule(22)) }, 45, 45},
		{"rule again", func(tx *store.Txn, s cloud.Shape) { s.PutRule(tx, 0, 9, sshRule(22)) }, 0, 0},
	} {
		at100 := small.change(func(tx *store.Txn) { c.do(tx, small.shape) })
		at2000 := large.change(func(tx *store.Txn) { c.do(tx, large.shape) })
		if at100.units != at2000.units || at100.flows != at2000.flows {
			t.Errorf("%s: %d units and %d flows at 100 ports, %d and %d at 2,000", c.what, at100.units, at100.flows, at2000.units, at2000.flows)
		}
		if at100.units != c.units || at100.flows != c.flows {
			t.Errorf("%s: %d units ran and %d flows changed, want %d and %d", c.what, at100.units, at100.flows, c.units, c.flows)
		}
	}
}
