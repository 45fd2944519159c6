// SPDX-License-Identifier: Apache-2.0

package oftest

import (
	"slices"
	"strings"

	of "nagare/openflow"
)

type flowKey struct {
	table uint8
	prio  uint16
	match string // canonical
}

type flow struct {
	cookie       uint64
	idle, hard   uint16
	flags        uint16
	instructions string // canonical
}

// tables is what the switch holds. Changes go through a tx.
type tables struct {
	flows  map[flowKey]flow
	groups map[uint32]of.GroupDesc
	meters map[uint32]of.MeterConfig
}

func newTables() *tables {
	return &tables{map[flowKey]flow{}, map[uint32]of.GroupDesc{}, map[uint32]of.MeterConfig{}}
}

// tx changes the tables and remembers how to undo it; removed flows that want
// to be told about are gathered for after the commit.
type tx struct {
	t       *tables
	undo    []func()
	removed []*of.FlowRemoved
	inUse   int // groups deleted while flows used them
}

func (x *tx) rollback() {
	for _, f := range slices.Backward(x.undo) {
		f()
	}
	x.undo, x.removed = nil, nil
}

func set[K comparable, V any](x *tx, m map[K]V, k K, v V) {
	old, had := m[k]
	m[k] = v
	x.undo = append(x.undo, func() {
		if had {
			m[k] = old
		} else {
			delete(m, k)
		}
	})
}

func unset[K comparable, V any](x *tx, m map[K]V, k K) {
	old, had := m[k]
	if !had {
		return
	}
	delete(m, k)
	x.undo = append(x.undo, func() { m[k] = old })
}

// Reasons of a FlowRemoved.
const (
	removedDelete      = 2
	removedGroupDelete = 3
)

func (x *tx) drop(k flowKey, reason uint8) {
	f := x.t.flows[k]
	if f.flags&of.FlowSendFlowRem != 0 {
		x.removed = append(x.removed, &of.FlowRemoved{Cookie: f.cookie, Priority: k.prio, Reason: reason, Table: k.table,
			IdleTimeout: f.idle, HardTimeout: f.hard, Match: []byte(k.match)})
	}
	unset(x, x.t.flows, k)
}

// flowMod does what OpenFlow 1.3.5 section 6.4 says.
func (x *tx) flowMod(m *of.FlowMod, tableCount int) *of.Error {
	match, err := of.CanonicalMatch(m.Match)
	if err != nil {
		return matchError(err)
	}
	if m.Table != of.TableAll && int(m.Table) >= tableCount {
		return fail(of.ErrTypeBadRequest, badTableID)
	}
	changes := m.Command == of.FlowAdd || m.Command == of.FlowModify || m.Command == of.FlowModifyStrict
	kind, bad := checkMatch(m.Match)
	if bad != nil {
		return bad
	}
	var inst []byte
	if changes {
		if inst, err = of.CanonicalInstructions(m.Instructions); err != nil {
			return fail(of.ErrTypeBadInstruction, badInstLen)
		}
		if e := checkInstructions(inst, m.Table, kind); e != nil {
			return e
		}
	}
	key := flowKey{m.Table, m.Priority, string(match)}
	switch m.Command {
	case of.FlowAdd:
		if m.Table == of.TableAll {
			return fail(of.ErrTypeFlowModFailed, badTable)
		}
		if e := x.checkReferences(inst); e != nil {
			return e
		}
		_, replaces := x.t.flows[key]
		if !replaces && m.Flags&of.FlowCheckOverlap != 0 && x.t.overlaps(key) {
			return fail(of.ErrTypeFlowModFailed, overlap)
		}
		set(x, x.t.flows, key, flow{m.Cookie, m.IdleTimeout, m.HardTimeout, m.Flags, string(inst)})
	case of.FlowModify, of.FlowModifyStrict:
		hit := x.t.selected(m, string(match), m.Command == of.FlowModifyStrict)
		if len(hit) > 0 {
			if e := x.checkReferences(inst); e != nil {
				return e
			}
		}
		for _, k := range hit {
			f := x.t.flows[k]
			f.instructions = string(inst)
			set(x, x.t.flows, k, f)
		}
	case of.FlowDelete, of.FlowDeleteStrict:
		for _, k := range x.t.selected(m, string(match), m.Command == of.FlowDeleteStrict) {
			x.drop(k, removedDelete)
		}
	default:
		return fail(of.ErrTypeFlowModFailed, badFlowCommand)
	}
	return nil
}

// selected lists the flows a modify or delete applies to.
func (t *tables) selected(m *of.FlowMod, match string, strict bool) []flowKey {
	if strict && m.Table != of.TableAll {
		k := flowKey{m.Table, m.Priority, match}
		if f, ok := t.flows[k]; ok && filtered(m, f) {
			return []flowKey{k}
		}
		return nil
	}
	var out []flowKey
	want := parse(match)
	for k, f := range t.flows {
		switch {
		case m.Table != of.TableAll && k.table != m.Table:
		case strict && (k.prio != m.Priority || k.match != match):
		case !strict && !want.covers(k.match):
		case !filtered(m, f):
		default:
			out = append(out, k)
		}
	}
	return out
}

func filtered(m *of.FlowMod, f flow) bool {
	if m.CookieMask != 0 && (f.cookie^m.Cookie)&m.CookieMask != 0 {
		return false
	}
	if m.Command == of.FlowModify || m.Command == of.FlowModifyStrict {
		return true
	}
	return hasOutput(f.instructions, m.OutPort, m.OutGroup)
}

// hasOutput reports whether the flow outputs to a port and a group; 0 is any.
func hasOutput(instructions string, port, group uint32) bool {
	if port == 0 && group == 0 {
		return true
	}
	okPort, okGroup := port == 0, group == 0
	eachAction([]byte(instructions), func(a of.Action) {
		switch a := a.(type) {
		case of.Output:
			okPort = okPort || a.Port == port
		case of.Group:
			okGroup = okGroup || a.ID == group
		}
	})
	return okPort && okGroup
}

func eachAction(instructions []byte, fn func(of.Action)) {
	is, err := of.DecodeInstructions(instructions)
	if err != nil {
		return
	}
	for _, i := range is {
		switch i := i.(type) {
		case of.ApplyActions:
			walk(i.Actions, fn)
		case of.WriteActions:
			walk(i.Actions, fn)
		}
	}
}

func walk(as []of.Action, fn func(of.Action)) {
	for _, a := range as {
		fn(a)
		switch a := a.(type) {
		case of.CT:
			walk(a.Actions, fn)
		case of.Clone:
			walk(a.Actions, fn)
		}
	}
}

func (x *tx) groupMod(m *of.GroupMod) *of.Error {
	t := x.t
	_, exists := t.groups[m.ID]
	if m.Command != of.GroupDelete {
		if m.ID > of.GroupMax {
			return fail(of.ErrTypeGroupModFailed, invalidGroup)
		}
		if m.Type > of.GroupTypeFF {
			return fail(of.ErrTypeGroupModFailed, badGroupType)
		}
		for _, b := range m.Buckets {
			as, err := of.DecodeActions(b.Actions)
			if err != nil {
				return fail(of.ErrTypeBadAction, badActionLen)
			}
			var e *of.Error
			walk(as, func(a of.Action) {
				if g, ok := a.(of.Group); ok && g.ID == m.ID {
					e = fail(of.ErrTypeGroupModFailed, groupLoop)
				} else if bad := checkAction(a, nil); bad != nil {
					e = bad
				}
			})
			if e != nil {
				return e
			}
		}
	}
	desc := of.GroupDesc{Type: m.Type, ID: m.ID, Buckets: cloneBuckets(m.Buckets)}
	switch m.Command {
	case of.GroupAdd:
		if exists {
			return fail(of.ErrTypeGroupModFailed, groupExists)
		}
		set(x, t.groups, m.ID, desc)
	case of.GroupAddOrModify:
		set(x, t.groups, m.ID, desc)
	case of.GroupModify:
		if !exists {
			return fail(of.ErrTypeGroupModFailed, unknownGroup)
		}
		set(x, t.groups, m.ID, desc)
	case of.GroupDelete:
		if len(m.Buckets) > 0 {
			return fail(of.ErrTypeGroupModFailed, invalidGroup)
		}
		var gone []uint32
		if m.ID == of.GroupAll {
			for id := range t.groups {
				gone = append(gone, id)
			}
		} else if exists {
			gone = []uint32{m.ID}
		}
		for _, id := range gone {
			unset(x, t.groups, id)
			if x.dropUsers(removedGroupDelete, func(in string) bool { return hasOutput(in, 0, id) }) > 0 {
				x.inUse++
			}
		}
	default:
		return fail(of.ErrTypeGroupModFailed, badGroupCommand)
	}
	return nil
}

// dropUsers deletes the flows that use what is being deleted and counts them.
func (x *tx) dropUsers(reason uint8, uses func(instructions string) bool) int {
	var gone []flowKey
	for k, f := range x.t.flows {
		if uses(f.instructions) {
			gone = append(gone, k)
		}
	}
	for _, k := range gone {
		x.drop(k, reason)
	}
	return len(gone)
}

func cloneBuckets(in []of.Bucket) []of.Bucket {
	out := slices.Clone(in)
	for i := range out {
		if can, err := of.AppendCanonicalActions(nil, out[i].Actions); err == nil {
			out[i].Actions = can
		}
	}
	return out
}

func (x *tx) meterMod(m *of.MeterMod) *of.Error {
	t := x.t
	_, exists := t.meters[m.ID]
	if m.Command != of.MeterDelete {
		if m.ID == 0 || m.ID > of.MeterMax && m.ID != of.MeterController && m.ID != of.MeterSlowpath {
			return fail(of.ErrTypeMeterModFailed, invalidMeter)
		}
		for _, b := range m.Bands {
			if b.Type != of.BandDrop {
				return fail(of.ErrTypeMeterModFailed, badBand)
			}
		}
	}
	cfg := of.MeterConfig{Flags: m.Flags, ID: m.ID, Bands: slices.Clone(m.Bands)}
	switch m.Command {
	case of.MeterAdd:
		if exists {
			return fail(of.ErrTypeMeterModFailed, meterExists)
		}
		set(x, t.meters, m.ID, cfg)
	case of.MeterModify:
		if !exists {
			return fail(of.ErrTypeMeterModFailed, unknownMeter)
		}
		set(x, t.meters, m.ID, cfg)
	case of.MeterDelete:
		var gone []uint32
		if m.ID == of.MeterAll {
			for id := range t.meters {
				gone = append(gone, id)
			}
		} else if exists {
			gone = []uint32{m.ID}
		}
		for _, id := range gone {
			unset(x, t.meters, id)
			x.dropUsers(removedDelete, func(in string) bool { return usesMeter(in, id) })
		}
	default:
		return fail(of.ErrTypeMeterModFailed, badMeterCommand)
	}
	return nil
}

func usesMeter(instructions string, id uint32) bool {
	is, _ := of.DecodeInstructions([]byte(instructions))
	for _, i := range is {
		if m, ok := i.(of.Meter); ok && m.ID == id {
			return true
		}
	}
	found := false
	eachAction([]byte(instructions), func(a of.Action) {
		if c, ok := a.(of.Controller2); ok && c.MeterID == id {
			found = true
		}
	})
	return found
}

// sorted lists the flows by table, falling priority, then match.
func (t *tables) sorted(sel func(flowKey, flow) bool) []flowKey {
	var ks []flowKey
	for k, f := range t.flows {
		if sel(k, f) {
			ks = append(ks, k)
		}
	}
	slices.SortFunc(ks, func(a, b flowKey) int {
		if a.table != b.table {
			return int(a.table) - int(b.table)
		}
		if a.prio != b.prio {
			return int(b.prio) - int(a.prio)
		}
		return strings.Compare(a.match, b.match)
	})
	return ks
}
