// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"slices"
	"strings"

	"nagare/internal/flow"
)

// unit is a Unit's cached result. A query is kept as one with a nil node.
//
// There are millions of units, and nearly all of them emit at most one flow and read at most two things: those sit inside,
// whatever else a unit has is in rare.
type unit struct {
	subject *word[string]
	node    *node
	flow    [1]entry
	read    [2]*depNode
	rare    *rare
	hash    uint32 // of node, rule and subject
	refs    int32
	rule    RuleID
	dirty   bool
	dropped bool
	yields  bool // its rule does
}

func (u *unit) hashOf() uint32 { return u.hash }

// rare holds what few units have.
type rare struct {
	flows  []entry     // if there are more than one
	reads  []*depNode  // if there are more than two
	claims []claimKind // parallel to the flows; nil if all are exclusive
	rows   []Row
	groups []flow.Group
	meters []flow.Meter
	needs  []Unit
	each   []subscription
	fault  string
	value  any // of a query
}

func (r *rare) empty() bool {
	return r.flows == nil && r.reads == nil && r.claims == nil && r.rows == nil && r.groups == nil && r.meters == nil &&
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

// setOutput replaces what u emits and asks for. It does not keep flows.
func (u *unit) setOutput(flows []entry, out *output) {
	r := u.extra()
	var one [1]entry // flows may be u.flow itself
	r.flows = nil
	if len(flows) <= len(one) {
		copy(one[:], flows)
	} else {
		r.flows = slices.Clone(flows)
	}
	u.flow = one
	r.claims, r.rows, r.groups, r.meters = out.claims, out.rows, out.groups, out.meters
	r.needs, r.each, r.fault = out.needs, out.each, out.fault
	u.setExtra(r)
}

// object is the id of the object that the unit is for.
func (u *unit) object() string {
	id, _, _ := strings.Cut(u.subject.val, "|")
	return id
}

// compareUnits orders by object, then rule, then subject, and those that yield behind the others: the order in which units win a match
// that several claim.
func compareUnits(a, b *unit) int {
	if a.yields != b.yields {
		if a.yields {
			return 1
		}
		return -1
	}
	return cmp.Or(strings.Compare(a.object(), b.object()), cmp.Compare(a.rule, b.rule),
		strings.Compare(a.subject.val, b.subject.val))
}

// The four kinds of emission: what a unit holds under a key, and how it claims it.

func heldFlow(u *unit, k flowKey) (e entry, kind claimKind, ok bool) {
	for i, f := range u.flows() {
		if f.key == k {
			if u.rare != nil && u.rare.claims != nil {
				kind = u.rare.claims[i]
			}
			return f, kind, true
		}
	}
	return e, exclusive, false
}

func heldRow(u *unit, k RowKey) (Row, claimKind, bool) {
	return find(u.extra().rows, func(r Row) bool { return r.Key() == k })
}

func heldGroup(u *unit, k uint32) (flow.Group, claimKind, bool) {
	return find(u.extra().groups, func(g flow.Group) bool { return g.ID == k })
}

func heldMeter(u *unit, k uint32) (flow.Meter, claimKind, bool) {
	return find(u.extra().meters, func(m flow.Meter) bool { return m.ID == k })
}

func find[V any](vs []V, is func(V) bool) (v V, kind claimKind, ok bool) {
	if i := slices.IndexFunc(vs, is); i >= 0 {
		return vs[i], exclusive, true
	}
	return v, exclusive, false
}

// entry is a flow as units keep it: 24 bytes, since most of its match and actions are shared with other nodes' flows. Equal
// flows are equal by ==.
type entry struct {
	key     flowKey
	actions *word[flow.Actions]
	cookie  uint64
}

type flowKey = *word[flow.Key]

func (e entry) is(f flow.Flow) bool {
	return e.cookie == f.Cookie && e.key.val == f.Key() && e.actions.val == f.Actions
}

func (e entry) expand() flow.Flow { return e.key.val.Flow(e.cookie, e.actions.val) }

// words are what the flows and units of all nodes have in common.
type words struct {
	keys     *pool[flow.Key]
	actions  *pool[flow.Actions]
	subjects *pool[string]
}

func newWords() words { return words{newPool[flow.Key](), newPool[flow.Actions](), newPool[string]()} }

func (w *words) entry(f flow.Flow) entry {
	return entry{w.keys.get(f.Key()), w.actions.get(f.Actions), f.Cookie}
}

func (w *words) free(es []entry) {
	for _, e := range es {
		w.keys.put(e.key)
		w.actions.put(e.actions)
	}
}
