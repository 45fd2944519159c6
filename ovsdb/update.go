// SPDX-License-Identifier: Apache-2.0

package ovsdb

import (
	"fmt"
	"strings"
	"sync"

	"nagare/ovsdb/internal/jsonscan"
)

// scanUpdates reads <table-updates> (version 1, RFC 7047 section 4.1.6) or
// <table-updates2> (versions 2 and 3, ovsdb-server(7)) against the given content,
// which it does not touch. A change of a row that is not there, or of a table not
// asked for, means that the peer and we disagree: an error, and so a fresh dump.
func (m *Mirror) scanUpdates(p *jsonscan.Scanner, tables map[string]*mirrorTable, version int) ([]Change, error) {
	var changes []Change
	err := p.Object(func(key []byte) error {
		t := tables[string(key)]
		if t == nil {
			return violation("update of table %.40q that is not monitored", key)
		}
		name := t.columns.table
		return p.Object(func(key []byte) error {
			u, ok := parseUUID(key)
			if !ok {
				return p.Errorf("row uuid %.40q malformed", key)
			}
			c := Change{Table: name, UUID: u, Before: t.rows[u]}
			var err error
			if version == 1 {
				c.After, err = t.scanUpdate1(p, c.Before)
			} else {
				c.After, err = t.scanUpdate2(p, c.Before)
			}
			if err != nil {
				return err
			}
			if c.Before != nil || c.After != nil {
				changes = append(changes, c)
			}
			return nil
		})
	})
	return changes, err
}

// scanUpdate1 reads {"old": row, "new": row}: old alone is a deletion, new alone an
// insertion, and new is complete while old has only what changed.
func (t *mirrorTable) scanUpdate1(p *jsonscan.Scanner, before *Row) (after *Row, err error) {
	var hasOld bool
	err = p.Object(func(key []byte) error {
		switch string(key) {
		case "old":
			hasOld = true
			return p.Skip()
		case "new":
			after = t.newRow(t.base(before))
			return t.scanColumns(p, after.values, nil)
		}
		return p.Errorf("row update with member %.20q", key)
	})
	if err == nil && hasOld && before == nil {
		err = violation("update of an unknown row in %s", t.columns.table)
	}
	return after, err
}

// scanUpdate2 reads {"initial"|"insert"|"modify": row} or {"delete": null}.
func (t *mirrorTable) scanUpdate2(p *jsonscan.Scanner, before *Row) (after *Row, err error) {
	n := 0
	err = p.Object(func(key []byte) error {
		n++
		switch string(key) {
		case "initial", "insert":
			after = t.newRow(t.columns.zero)
			return t.scanColumns(p, after.values, nil)
		case "modify":
			if before == nil {
				return violation("modification of an unknown row in %s", t.columns.table)
			}
			after = t.newRow(t.base(before))
			return t.scanColumns(p, after.values, t.columns.multi)
		case "delete":
			if before == nil {
				return violation("deletion of an unknown row in %s", t.columns.table)
			}
			return p.Skip()
		}
		return p.Errorf("row update with member %.20q", key)
	})
	if err == nil && n != 1 {
		err = p.Errorf("row update with %d members", n)
	}
	return after, err
}

func (t *mirrorTable) newRow(values []Value) *Row {
	r := &Row{columns: t.columns, values: make([]Value, len(t.columns.names))}
	copy(r.values, values)
	return r
}

// base gives a row's values in the order of the table's present columns.
func (t *mirrorTable) base(r *Row) []Value {
	if r == nil {
		return t.columns.zero
	}
	if r.columns == t.columns {
		return r.values
	}
	values := make([]Value, len(t.columns.names))
	for i, name := range t.columns.names {
		values[i] = r.Value(name)
	}
	return values
}

// scanColumns reads a <row> into values. With multi, columns that may hold more
// than one element carry a difference, the others the new value. Columns that were
// not asked for are checked and dropped.
func (t *mirrorTable) scanColumns(p *jsonscan.Scanner, values []Value, multi []bool) error {
	return p.Object(func(key []byte) error {
		i := t.columns.index(key)
		if i < 0 {
			return p.Skip()
		}
		v, err := scanValue(p)
		if err == nil && multi != nil && multi[i] {
			v = ApplyDiff(values[i], v)
		}
		values[i] = v
		return err
	})
}

// ApplyDiff changes a set or map column by a difference of update2 (ovsdb-server(7)
// section 4.1.14): elements in exactly one of the two sets stay; a pair of the
// difference is added, replaces the value of its key, or, being there already, is
// removed. Both values must be canonical, as is the result.
func ApplyDiff(v, diff Value) Value {
	if d, ok := diff.(Map); ok {
		return diffMap(AsMap(v), d)
	}
	a, b := AsSet(v), AsSet(diff)
	out := make(Set, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch c := Compare(a[0], b[0]); {
		case c < 0:
			out, a = append(out, a[0]), a[1:]
		case c > 0:
			out, b = append(out, b[0]), b[1:]
		default:
			a, b = a[1:], b[1:]
		}
	}
	out = append(append(out, a...), b...)
	if IsEmpty(diff) {
		return v
	}
	return Canon(out)
}

func diffMap(a, b Map) Value {
	out := make(Map, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch c := Compare(a[0].Key, b[0].Key); {
		case c < 0:
			out, a = append(out, a[0]), a[1:]
		case c > 0:
			out, b = append(out, b[0]), b[1:]
		default:
			if Compare(a[0].Value, b[0].Value) != 0 {
				out = append(out, b[0])
			}
			a, b = a[1:], b[1:]
		}
	}
	return Canon(append(append(out, a...), b...))
}

// DiffValue is the inverse of ApplyDiff: the difference that turns a into b.
func DiffValue(a, b Value) Value {
	_, am := a.(Map)
	_, bm := b.(Map)
	if !am && !bm {
		return ApplyDiff(a, b)
	}
	var out Map
	from, to := AsMap(a), AsMap(b)
	for _, p := range from {
		if to.Lookup(p.Key) == nil {
			out = append(out, p)
		}
	}
	for _, p := range to {
		if v := from.Lookup(p.Key); v == nil || Compare(v, p.Value) != 0 {
			out = append(out, p)
		}
	}
	return Canon(out)
}

// Column lists are the same for every node of one version: they are kept once.
var layouts = struct {
	sync.Mutex
	m map[string]*columns
}{m: make(map[string]*columns)}

const maxLayouts = 256

func sharedColumns(c *columns) *columns {
	var key strings.Builder
	fmt.Fprint(&key, c.table)
	for i, name := range c.names {
		fmt.Fprintf(&key, "\x00%s\x00%t\x00%T%v", name, c.multi[i], c.zero[i], c.zero[i])
	}
	layouts.Lock()
	defer layouts.Unlock()
	if have := layouts.m[key.String()]; have != nil {
		return have
	}
	if len(layouts.m) < maxLayouts {
		layouts.m[key.String()] = c
	}
	return c
}
