// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"maps"

	"nagare/internal/flow"
)

// Change is one key's desired value before and after; nil means absent.
type Change[V any] struct{ Before, After *V }

// Delta is what a node's desired state changed by in one round.
type Delta struct {
	Flows  map[flow.Key]Change[flow.Flow]
	Rows   map[RowKey]Change[Row]
	Groups map[uint32]Change[flow.Group]
	Meters map[uint32]Change[flow.Meter]
}

// Empty reports whether nothing changed. A nil Delta is empty.
func (d *Delta) Empty() bool {
	return d == nil || len(d.Flows) == 0 && len(d.Rows) == 0 && len(d.Groups) == 0 && len(d.Meters) == 0
}

// Desired is a node's whole desired state, a copy.
type Desired struct {
	Flows  map[flow.Key]flow.Flow
	Rows   map[RowKey]Row
	Groups map[uint32]flow.Group
	Meters map[uint32]flow.Meter
}

// Desired returns a copy of what the node should hold, or false for a node that the engine does not compile.
func (e *Engine) Desired(name string) (Desired, bool) {
	n := e.nodes[name]
	if n == nil {
		return Desired{}, false
	}
	d := Desired{Flows: make(map[flow.Key]flow.Flow, len(n.flows.one)), Rows: values(&n.rows), Groups: values(&n.groups), Meters: values(&n.meters)}
	for _, f := range n.won {
		d.Flows[f.key.val] = f.expand()
	}
	return d, true
}

// FlowCount is the number of flows that the node should hold.
func (e *Engine) FlowCount(name string) int {
	if n := e.nodes[name]; n != nil {
		return len(n.flows.one)
	}
	return 0
}

// UnitCount is the number of cached units of all nodes.
func (e *Engine) UnitCount() int {
	sum := 0
	for _, n := range e.nodes {
		sum += n.units.n
	}
	return sum
}

// won iterates over the node's desired flows and their owners.
func (n *node) won(yield func(*unit, entry) bool) {
	for u := range n.units.all {
		for _, f := range u.flows() {
			if n.flows.one[f.key] != u {
				continue
			}
			f, _ = n.flows.value(f.key) // as it is with the contributions of others
			if !yield(u, f) {
				return
			}
		}
	}
}

func values[K comparable, V comparable](l *ledger[K, V]) map[K]V {
	m := make(map[K]V, len(l.one))
	for k := range l.one {
		m[k], _ = l.value(k)
	}
	return m
}

// settle ends the round for one node, but for the words that it no longer needs.
func (n *node) settle() *Delta {
	d := &Delta{}
	n.flows.settle(d.flow(n.flows.touched()))
	n.rows.settle(into(&d.Rows))
	n.groups.settle(into(&d.Groups))
	n.meters.settle(into(&d.Meters))
	return d
}

// replaced ends the first round of a node that was compiled anew: the delta is what it lacks of the old one, and has more.
func (n *node) replaced(old *node) *Delta {
	d := &Delta{}
	differ(&old.flows, &n.flows, d.flow(0))
	differ(&old.rows, &n.rows, into(&d.Rows))
	differ(&old.groups, &n.groups, into(&d.Groups))
	differ(&old.meters, &n.meters, into(&d.Meters))
	n.flows.fresh, n.rows.fresh, n.groups.fresh, n.meters.fresh = false, false, false, false
	return d
}

func into[K comparable, V any](m *map[K]Change[V]) func(K, *V, *V) {
	return func(k K, before, after *V) {
		if *m == nil {
			*m = map[K]Change[V]{}
		}
		(*m)[k] = Change[V]{before, after}
	}
}

// flow is into for flows, which it expands. It is told how many there may be.
func (d *Delta) flow(n int) func(k flowKey, before, after *entry) {
	expand := func(e *entry) *flow.Flow {
		if e == nil {
			return nil
		}
		f := e.expand()
		return &f
	}
	return func(k flowKey, before, after *entry) {
		if d.Flows == nil {
			d.Flows = make(map[flow.Key]Change[flow.Flow], n)
		}
		d.Flows[k.val] = Change[flow.Flow]{expand(before), expand(after)}
	}
}

// Merge adds a later delta to an earlier one, keeping the earliest Before and the latest After of each key; a key that came
// back to where it was disappears.
func (d *Delta) Merge(later *Delta) {
	mergeChanges(&d.Flows, later.Flows)
	mergeChanges(&d.Rows, later.Rows)
	mergeChanges(&d.Groups, later.Groups)
	mergeChanges(&d.Meters, later.Meters)
}

func mergeChanges[K comparable, V comparable](into *map[K]Change[V], later map[K]Change[V]) {
	if *into == nil {
		*into = maps.Clone(later)
		return
	}
	for k, l := range later {
		c, ok := (*into)[k]
		if !ok {
			(*into)[k] = l
			continue
		}
		c.After = l.After
		if c.Before == nil && c.After == nil || c.Before != nil && c.After != nil && *c.Before == *c.After {
			delete(*into, k)
		} else {
			(*into)[k] = c
		}
	}
}
