// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"bytes"
	"context"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

	"nagare/internal/api/jsonbody"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/internal/yang"
)

// What operators wrote into the configuration of switches: flows, groups and meters. They stand in the same lists as what switches hold,
// one record of the store for each entry.

// faultPath is where entries are told of that are not carried out.
const faultPath = inventoryPath + "/nagare-inventory:fault"

// Desired tells what is wanted of nodes, which the store does not.
type Desired interface {
	// Owner says which object wants a flow at a place of a node; ok is false if none does.
	Owner(ctx context.Context, node model.NodeID, place flow.Key) (kind, object string, ok bool, err error)
	// Faults gives what is wrong with operators' entries on a node.
	Faults(ctx context.Context, node model.NodeID) (map[model.OperatorEntryID]string, error)
}

// addOperators adds operators' entries to the inventory, beside what other sources know of the same lists.
func (t *tree) addOperators() {
	t.beside(inventoryPath, t.around(inventoryPath, func([]string) (string, int) { return dpidPrefix, 0 },
		func(r store.Reader, keys []string) bool {
			_, ok := tables.OperatorEntriesBySwitch.First(r, keys[0])
			return ok
		}))
	t.beside(tablePath, t.around(tablePath, func(above []string) (string, int) {
		begin := above[0] + "/table="
		return begin, len(begin)
	}, func(r store.Reader, keys []string) bool {
		dp, ok := datapathOf(keys[0])
		if ok {
			_, ok = tables.OperatorFlowsByTable.First(r, tables.OperatorTable(dp, tableOf(keys[1])))
		}
		return ok
	}))
	t.operatorList(flowPath, "flow")
	t.operatorList(groupPath, "group")
	t.operatorList(meterPath, "meter")
	t.add(faultPath, source{has: nonconfig, all: t.faults, one: func(v *view, keys []string) *yang.Data {
		for d := range t.faults(v, keys[:1]) {
			if id, _ := d.Get("entry"); id == keys[1] {
				return d
			}
		}
		return nil
	}})
}

// around is the source of a list around entries, whose key is what stands in their ids from an offset on up to a slash. Each is found by
// one look behind the one before.
func (t *tree) around(path string, prefix func(above []string) (prefix string, key int), has func(r store.Reader, keys []string) bool) source {
	return source{has: config,
		all: func(v *view, above []string) iter.Seq[*yang.Data] {
			return func(yield func(*yang.Data) bool) {
				begin, at := prefix(above)
				for from := begin; ; {
					id, ok := firstFrom(v.r, model.OperatorEntryID(from))
					if !ok || !strings.HasPrefix(string(id), begin) {
						return
					}
					key, _, _ := strings.Cut(string(id)[at:], "/")
					if !yield(t.entry(path).Leaf("id", key)) {
						return
					}
					from = string(id)[:at] + key + "0" // "0" follows "/"
				}
			}
		},
		one: func(v *view, keys []string) *yang.Data {
			if !has(v.r, keys) {
				return nil
			}
			return t.entry(path).Leaf("id", keys[len(keys)-1])
		}}
}

func firstFrom(r store.Reader, from model.OperatorEntryID) (model.OperatorEntryID, bool) {
	for id := range tables.OperatorEntries.From(r, from) {
		return id, true
	}
	return "", false
}

// datapathOf reads the id of a switch.
func datapathOf(id string) (uint64, bool) {
	text, ok := strings.CutPrefix(id, dpidPrefix)
	dp, err := strconv.ParseUint(text, 10, 64)
	return dp, ok && err == nil && id == model.SwitchID(dp)
}

// tableOf and numberOf read keys that the schema has checked.
func tableOf(key string) uint8 {
	n, _ := strconv.ParseUint(key, 10, 8)
	return uint8(n)
}

func numberOf(key string) uint32 {
	n, _ := strconv.ParseUint(key, 10, 32)
	return uint32(n)
}

// operatorID is the id of the entry that keys lead to; ok is false if there can be none, there being no such switch.
func operatorID(kind string, keys []string) (id model.OperatorEntryID, datapath uint64, ok bool) {
	datapath, ok = datapathOf(keys[0])
	switch kind {
	case model.OperatorFlow:
		id = model.OperatorFlowID(datapath, tableOf(keys[1]), keys[2])
	case model.OperatorGroup:
		id = model.OperatorGroupID(datapath, numberOf(keys[1]))
	default:
		id = model.OperatorMeterID(datapath, numberOf(keys[1]))
	}
	return id, datapath, ok
}

// operatorList adds the entries of a kind as configuration, which can be written.
func (t *tree) operatorList(path, kind string) {
	feedFrom(t, tables.OperatorEntries, path, func(_ store.Reader, e model.OperatorEntry) [][]string {
		keys := []string{model.SwitchID(e.Datapath), e.Name}
		switch {
		case e.Kind != kind:
			return nil
		case kind == model.OperatorFlow:
			keys = []string{keys[0], num(e.Table), e.Name}
		}
		return [][]string{keys}
	})
	t.beside(path, source{has: config, edit: t.editOperator(path, kind),
		all: func(v *view, above []string) iter.Seq[*yang.Data] {
			return func(yield func(*yang.Data) bool) {
				prefix := above[0] + "/" + kind + "="
				if kind == model.OperatorFlow {
					prefix = above[0] + "/table=" + above[1] + "/flow="
				}
				for id, e := range tables.OperatorEntries.From(v.r, model.OperatorEntryID(prefix)) {
					if !strings.HasPrefix(string(id), prefix) || !yield(t.operatorEntry(path, &e)) {
						return
					}
				}
			}
		},
		one: func(v *view, keys []string) *yang.Data {
			id, _, ok := operatorID(kind, keys)
			if !ok {
				return nil
			}
			e, ok := tables.OperatorEntries.Get(v.r, id)
			if !ok {
				return nil
			}
			return t.operatorEntry(path, &e)
		}})
}

// operatorEntry is an entry as it was written.
func (t *tree) operatorEntry(path string, e *model.OperatorEntry) *yang.Data {
	d := t.entry(path)
	v, err := jsonbody.Decode(bytes.NewReader([]byte(e.Config)))
	if err == nil {
		err = t.schema.ReadJSON(d, v, yang.RFC7951)
	}
	if err != nil { // what was written was valid once; the modules have changed since
		d = t.entry(path)
		d.Add(d.Node.Keys[0], e.Name)
	}
	return d
}

// faults gives what is wrong with entries on a switch.
func (t *tree) faults(v *view, above []string) iter.Seq[*yang.Data] {
	return func(yield func(*yang.Data) bool) {
		n, ok := tables.NodesBySwitch.First(v.r, above[0])
		if !ok || v.Desired == nil {
			return
		}
		faults, err := v.Desired.Faults(v.ctx, n.ID)
		if err != nil {
			v.err = err
			return
		}
		for _, id := range slices.Sorted(maps.Keys(faults)) {
			if !yield(t.entry(faultPath).Leaf("entry", string(id)).Leaf("reason", faults[id])) {
				return
			}
		}
	}
}

// beside adds a source of configuration for a list that another source may have operational data of. Where an entry has both, and both are
// asked for, it is the configuration with the other's operational leaves.
func (t *tree) beside(path string, s source) {
	before := t.sources[t.node(path)]
	if before == nil {
		t.add(path, s)
		return
	}
	// Without a request there is nobody for whom to ask a switch: events are told of what the store has.
	theirs := source{
		one: func(v *view, keys []string) *yang.Data {
			if v.ctx == nil {
				return nil
			}
			return before.one(v, keys)
		},
		all: func(v *view, above []string) iter.Seq[*yang.Data] {
			if v.ctx == nil {
				return func(func(*yang.Data) bool) {}
			}
			return before.all(v, above)
		}}
	t.add(path, source{has: all, edit: s.edit, laid: true,
		one: func(v *view, keys []string) *yang.Data {
			switch v.want {
			case config:
				return s.one(v, keys)
			case nonconfig:
				return theirs.one(v, keys)
			}
			return overlay(s.one(v, keys), theirs.one(v, keys))
		},
		all: func(v *view, above []string) iter.Seq[*yang.Data] {
			switch v.want {
			case config:
				return s.all(v, above)
			case nonconfig:
				return theirs.all(v, above)
			}
			return func(yield func(*yang.Data) bool) {
				both := map[string]bool{} // no more than operators have written
				for d := range theirs.all(v, above) {
					own, _ := d.Key()
					if mine := s.one(v, append(slices.Clip(above), own...)); mine != nil {
						both[strings.Join(own, "\x00")] = true
						d = overlay(mine, d)
					}
					if !yield(d) {
						return
					}
				}
				for d := range s.all(v, above) {
					if own, _ := d.Key(); !both[strings.Join(own, "\x00")] && !yield(d) {
						return
					}
				}
			}
		}})
}

// overlay adds to an entry of configuration what another entry has besides.
func overlay(mine, theirs *yang.Data) *yang.Data {
	if mine == nil || theirs == nil {
		if mine == nil {
			return theirs
		}
		return mine
	}
	for _, c := range theirs.Children {
		if mine.Child(c.Node) == nil {
			c.Parent = mine
			mine.Children = append(mine.Children, c)
		}
	}
	return mine
}
