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
	return Desired{Flows: n.flows.values(), Rows: n.rows.values(), Groups: n.groups.values(), Meters: n.meters.values()}, true
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
		sum += len(n.units)
	}
	return sum
}

func (l *ledger[K, V]) values() map[K]V {
	m := make(map[K]V, len(l.one))
	for k, c := range l.one {
		m[k] = c.val
	}
	return m
}

// settle ends the round for one node.
func (n *node) settle() *Delta {
	d := &Delta{}
	n.flows.settle(into(&d.Flows))
	n.rows.settle(into(&d.Rows))
	n.groups.settle(into(&d.Groups))
	n.meters.settle(into(&d.Meters))
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

// diffNodes is the delta between two independently compiled states of a node.
func diffNodes(was, now *node) *Delta {
	d := &Delta{}
	diffLedgers(&was.flows, &now.flows, into(&d.Flows))
	diffLedgers(&was.rows, &now.rows, into(&d.Rows))
	diffLedgers(&was.groups, &now.groups, into(&d.Groups))
	diffLedgers(&was.meters, &now.meters, into(&d.Meters))
	return d
}

func diffLedgers[K comparable, V comparable](was, now *ledger[K, V], changed func(K, *V, *V)) {
	for k, o := range was.one {
		if n, ok := now.one[k]; !ok {
			changed(k, &o.val, nil)
		} else if n.val != o.val {
			changed(k, &o.val, &n.val)
		}
	}
	for k, n := range now.one {
		if _, ok := was.one[k]; !ok {
			changed(k, nil, &n.val)
		}
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
