// SPDX-License-Identifier: Apache-2.0

package ovsdbtest

import (
	"encoding/json"
	"fmt"
	"slices"

	"nagare/ovsdb"
)

// monitor is one client's monitor: version 1 is RFC 7047 section 4.1.5, 2 and 3 are
// monitor_cond and monitor_cond_since of ovsdb-server(7).
type monitor struct {
	id      json.RawMessage
	version int
	tables  map[string]*watch
}

// watch is what a monitor wants of one table.
type watch struct {
	table                           *table
	columns                         []int
	where                           [][]ovsdb.Condition // any of them; nil = every row
	initial, insert, delete, modify bool
}

type watchRequest struct {
	Columns []string `json:"columns"`
	Where   json.RawMessage
	Select  struct {
		Initial, Insert, Delete, Modify *bool
	} `json:"select"`
}

func newMonitor(db *database, id json.RawMessage, version int, requests map[string]json.RawMessage) (*monitor, error) {
	m := &monitor{id: slices.Clone(id), version: version, tables: make(map[string]*watch)}
	for name, text := range requests {
		tb := db.tables[name]
		if tb == nil {
			return nil, faultf(ovsdb.SyntaxFault, "no table named %s", name)
		}
		var list []watchRequest
		if err := json.Unmarshal(text, &list); err != nil { // a lone object is allowed in RFC 7047's errata
			var one watchRequest
			if err := json.Unmarshal(text, &one); err != nil {
				return nil, faultf(ovsdb.SyntaxFault, "monitor request for %s: %v", name, err)
			}
			list = []watchRequest{one}
		}
		w := &watch{table: tb}
		for _, r := range list {
			if r.Columns == nil {
				r.Columns = tb.names
			}
			for _, column := range r.Columns {
				i, ok := tb.index[column]
				if !ok {
					return nil, faultf(ovsdb.SyntaxFault, "no column named %s in table %s", column, name)
				}
				w.columns = append(w.columns, i)
			}
			on := func(b *bool) bool { return b == nil || *b }
			w.initial = w.initial || on(r.Select.Initial)
			w.insert = w.insert || on(r.Select.Insert)
			w.delete = w.delete || on(r.Select.Delete)
			w.modify = w.modify || on(r.Select.Modify)
			if err := w.addWhere(r.Where); err != nil {
				return nil, err
			}
		}
		slices.Sort(w.columns)
		w.columns = slices.Compact(w.columns)
		m.tables[name] = w
	}
	return m, nil
}

// addWhere reads [<condition>*], where a condition may be a boolean and any one that
// holds admits the row.
func (w *watch) addWhere(text json.RawMessage) error {
	if text == nil {
		return nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(text, &list); err != nil {
		return faultf(ovsdb.SyntaxFault, "where: %v", err)
	}
	w.where = [][]ovsdb.Condition{}
	for _, item := range list {
		switch string(item) {
		case "true":
			w.where = append(w.where, nil)
			continue
		case "false":
			continue
		}
		op, err := ovsdb.ParseOp(fmt.Appendf(nil, `{"where":[%s]}`, item))
		if err != nil {
			return faultf(ovsdb.SyntaxFault, "where: %v", err)
		}
		c := op.Where
		v, f := checkCondition(w.table, c[0].Column, c[0].Value)
		if f != nil {
			return f
		}
		c[0].Value = v
		w.where = append(w.where, c)
	}
	return nil
}

func (w *watch) sees(r *row) *row {
	if r == nil || w.where == nil {
		return r
	}
	for _, c := range w.where {
		if ok, _ := meets(w.table, r, c); ok {
			return r
		}
	}
	return nil
}

// dump gives the initial <table-updates>.
func (m *monitor) dump(db *database) []byte {
	var all []*delta
	for name, w := range m.tables {
		for u, r := range db.tables[name].rows {
			if w.initial {
				all = append(all, &delta{table: w.table, uuid: u, after: r})
			}
		}
	}
	text, _ := m.updates(all, true)
	return text
}

// updates gives <table-updates>; some is false when nothing is to be told.
func (m *monitor) updates(deltas []*delta, initial bool) (text []byte, some bool) {
	byTable := make(map[string][]byte)
	var names []string
	for _, d := range deltas {
		w := m.tables[d.table.name]
		if w == nil {
			continue
		}
		body := m.rowUpdate(w, w.sees(d.before), w.sees(d.after), initial)
		if body == nil {
			continue
		}
		b, ok := byTable[d.table.name]
		if !ok {
			names = append(names, d.table.name)
		} else {
			b = append(b, ',')
		}
		b = append(append(b, '"'), d.uuid.String()...)
		byTable[d.table.name] = append(append(b, `":`...), body...)
	}
	text = append(text, '{')
	for i, name := range names {
		if i > 0 {
			text = append(text, ',')
		}
		text = fmt.Appendf(text, "%q:{", name)
		text = append(append(text, byTable[name]...), '}')
	}
	return append(text, '}'), len(names) > 0
}

// rowUpdate gives a <row-update> or <row-update2>, nil when there is nothing to tell.
func (m *monitor) rowUpdate(w *watch, before, after *row, initial bool) []byte {
	full := func(r *row, sparse bool) []byte {
		return w.row(func(i int) (ovsdb.Value, bool) {
			return r.values[i], !sparse || !ovsdb.Equal(r.values[i], w.table.zero[i])
		})
	}
	changed := func(i int) bool { return !ovsdb.Equal(before.values[i], after.values[i]) }
	switch {
	case before == nil && after == nil:
		return nil
	case before == nil && m.version == 1:
		if !initial && !w.insert {
			return nil
		}
		return fmt.Appendf(nil, `{"new":%s}`, full(after, false))
	case before == nil:
		if !initial && !w.insert {
			return nil
		}
		verb := "insert"
		if initial {
			verb = "initial"
		}
		return fmt.Appendf(nil, `{%q:%s}`, verb, full(after, true))
	case after == nil && !w.delete:
		return nil
	case after == nil && m.version == 1:
		return fmt.Appendf(nil, `{"old":%s}`, full(before, false))
	case after == nil:
		return []byte(`{"delete":null}`)
	case !w.modify || !slices.ContainsFunc(w.columns, changed):
		return nil
	case m.version == 1:
		old := w.row(func(i int) (ovsdb.Value, bool) { return before.values[i], changed(i) })
		return fmt.Appendf(nil, `{"old":%s,"new":%s}`, old, full(after, false))
	}
	return fmt.Appendf(nil, `{"modify":%s}`, w.row(func(i int) (ovsdb.Value, bool) {
		if !changed(i) {
			return nil, false
		}
		if w.table.types[i].Max > 1 {
			return ovsdb.DiffValue(before.values[i], after.values[i]), true
		}
		return after.values[i], true
	}))
}

// row gives the <row> of the watched columns that value yields.
func (w *watch) row(value func(i int) (ovsdb.Value, bool)) []byte {
	b := []byte{'{'}
	for _, i := range w.columns {
		v, ok := value(i)
		if !ok {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, "%q:", w.table.names[i])
		b = appendTyped(b, v, w.table.types[i])
	}
	return append(b, '}')
}

// appendTyped writes an empty map column as a map, which the untyped value is not.
func appendTyped(b []byte, v ovsdb.Value, c *ovsdb.ColumnSchema) []byte {
	if c.Value != nil && ovsdb.IsEmpty(v) {
		return append(b, `["map",[]]`...)
	}
	b, _ = ovsdb.AppendValue(b, v) // checked when it was stored
	return b
}
