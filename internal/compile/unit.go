// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"slices"
	"strings"
	"unique"

	"nagare/internal/flow"
)

// unit is a Unit's cached result. A query is kept as one with a nil node.
//
// There are millions of units, and nearly all of them emit at most one flow and read at most two things: those sit inside,
// whatever else a unit has is in rare.
type unit struct {
	subject unique.Handle[string]
	node    *node
	flow    [1]entry
	read    [2]*depNode
	rare    *rare
	refs    int32
	rule    RuleID
	dirty   bool
	dropped bool
}

// rare holds what few units have.
type rare struct {
	flows  []entry    // if there are more than one
	reads  []*depNode // if there are more than two
	shared []bool     // parallel to the flows; nil if none is shared
	rows   []Row
	groups []flow.Group
	meters []flow.Meter
	needs  []Unit
	each   []subscription
	fault  string
	value  any // of a query
}

func (r *rare) empty() bool {
	return r.flows == nil && r.reads == nil && r.shared == nil && r.rows == nil && r.groups == nil && r.meters == nil &&
		r.needs == nil && r.each == nil && r.fault == "" && r.value == nil
}

// extra is a copy of what u has besides the common parts.
func (u *unit) extra() rare {
	if u.rare == nil {
		return rare{}
	}
	return *u.rare
}

func (u *unit) setExtra(r rare) {
	u.rare = nil
	if !r.empty() {
		u.rare = &r
	}
}

// flows are what u emits.
func (u *unit) flows() []entry {
	switch {
	case u.rare != nil && u.rare.flows != nil:
		return u.rare.flows
	case u.flow[0] == entry{}:
		return nil
	}
	return u.flow[:]
}

// reads are what u read when it last ran.
func (u *unit) reads() []*depNode {
	switch {
	case u.rare != nil && u.rare.reads != nil:
		return u.rare.reads
	case u.read[0] == nil:
		return nil
	case u.read[1] == nil:
		return u.read[:1]
	}
	return u.read[:]
}

func (u *unit) setReads(ns []*depNode) {
	r := u.extra()
	u.read, r.reads = [2]*depNode{}, nil
	if len(ns) <= len(u.read) {
		copy(u.read[:], ns)
	} else {
		r.reads = slices.Clone(ns)
	}
	u.setExtra(r)
}

// setOutput replaces what u emits and asks for. It does not keep out.flows.
func (u *unit) setOutput(out *output) {
	r := u.extra()
	u.flow, r.flows = [1]entry{}, nil
	if len(out.flows) <= len(u.flow) {
		copy(u.flow[:], out.flows)
	} else {
		r.flows = slices.Clone(out.flows)
	}
	r.shared, r.rows, r.groups, r.meters = out.shared, out.rows, out.groups, out.meters
	r.needs, r.each, r.fault = out.needs, out.each, out.fault
	u.setExtra(r)
}

// object is the id of the object that the unit is for.
func (u *unit) object() string {
	id, _, _ := strings.Cut(u.subject.Value(), "|")
	return id
}

// compareUnits orders by object, then rule, then subject: the order in which units win a match that several claim.
func compareUnits(a, b *unit) int {
	return cmp.Or(strings.Compare(a.object(), b.object()), cmp.Compare(a.rule, b.rule),
		strings.Compare(a.subject.Value(), b.subject.Value()))
}

// The four kinds of emission: what a unit holds under a key, and whether as a declared merge.

func heldFlow(u *unit, k flowKey) (e entry, shared, ok bool) {
	for i, f := range u.flows() {
		if f.key == k {
			return f, u.rare != nil && u.rare.shared != nil && u.rare.shared[i], true
		}
	}
	return e, false, false
}

func heldRow(u *unit, k RowKey) (Row, bool, bool) {
	return find(u.extra().rows, func(r Row) bool { return r.Key() == k })
}

func heldGroup(u *unit, k uint32) (flow.Group, bool, bool) {
	return find(u.extra().groups, func(g flow.Group) bool { return g.ID == k })
}

func heldMeter(u *unit, k uint32) (flow.Meter, bool, bool) {
	return find(u.extra().meters, func(m flow.Meter) bool { return m.ID == k })
}

func find[V any](vs []V, is func(V) bool) (v V, shared, ok bool) {
	if i := slices.IndexFunc(vs, is); i >= 0 {
		return vs[i], false, true
	}
	return v, false, false
}

// entry is a flow as units keep it. Its match and actions are interned, since other nodes hold most of them too; so entries
// are small, and equal flows are equal by ==.
type entry struct {
	key     flowKey
	actions unique.Handle[flow.Actions]
	cookie  uint64
}

type flowKey = unique.Handle[flow.Key]

func newEntry(f flow.Flow) entry {
	return entry{unique.Make(f.Key()), unique.Make(f.Actions), f.Cookie}
}

func (e entry) expand() flow.Flow { return e.key.Value().Flow(e.cookie, e.actions.Value()) }
