// SPDX-License-Identifier: Apache-2.0

package ovsdbtest

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"nagare/ovsdb"
)

// spec is what the rows of a table look like; shared by all servers of a schema.
type spec struct {
	name    string
	schema  *ovsdb.TableSchema
	names   []string // sorted
	types   []*ovsdb.ColumnSchema
	zero    []ovsdb.Value
	index   map[string]int // column name to position
	refs    []int          // columns that refer to rows
	weak    []weakRef      // columns anywhere that refer weakly to this table's rows
	indexes [][]int
}

type weakRef struct {
	table  string
	column int
}

var specs sync.Map // *ovsdb.Schema to map[string]*spec

func specsOf(schema *ovsdb.Schema) map[string]*spec {
	if have, ok := specs.Load(schema); ok {
		return have.(map[string]*spec)
	}
	out := make(map[string]*spec)
	for name, t := range schema.Tables {
		s := &spec{name: name, schema: t, index: make(map[string]int)}
		s.names = slices.Sorted(maps.Keys(t.Columns))
		for i, column := range s.names {
			c := t.Columns[column]
			s.index[column] = i
			s.types = append(s.types, c)
			s.zero = append(s.zero, ovsdb.Canon(c.Default()))
			if c.Key.RefTable != "" || c.Value != nil && c.Value.RefTable != "" {
				s.refs = append(s.refs, i)
			}
		}
		for _, columns := range t.Indexes {
			var at []int
			for _, column := range columns {
				at = append(at, s.index[column])
			}
			s.indexes = append(s.indexes, at)
		}
		out[name] = s
	}
	for name, s := range out {
		for _, i := range s.refs {
			if c := s.types[i]; c.Key.RefTable != "" && c.Key.RefWeak {
				to := out[c.Key.RefTable]
				to.weak = append(to.weak, weakRef{name, i})
			}
		}
	}
	have, _ := specs.LoadOrStore(schema, out)
	return have.(map[string]*spec)
}

// row is immutable once committed.
type row struct {
	uuid    ovsdb.UUID
	version ovsdb.UUID
	seq     uint64 // order of insertion
	values  []ovsdb.Value
}

func (r *row) clone() *row {
	c := *r
	c.values = slices.Clone(r.values)
	return &c
}

type table struct {
	*spec
	rows map[ovsdb.UUID]*row
	keys []map[string]ovsdb.UUID // by index
}

// database is the committed content. It is not safe for concurrent use.
type database struct {
	tables map[string]*table
	refs   map[ovsdb.UUID]int // strong references to a row
	seq    uint64
	rand   *rand.Rand
}

func newDatabase(schema *ovsdb.Schema, seed uint64) *database {
	d := &database{tables: make(map[string]*table), refs: make(map[ovsdb.UUID]int), rand: rand.New(rand.NewPCG(seed, 0x6f767364))}
	for name, s := range specsOf(schema) {
		t := &table{spec: s, rows: make(map[ovsdb.UUID]*row)}
		for range s.indexes {
			t.keys = append(t.keys, make(map[string]ovsdb.UUID))
		}
		d.tables[name] = t
	}
	return d
}

// uuid makes a version 4 UUID, the same sequence for the same seed.
func (d *database) uuid() (u ovsdb.UUID) {
	for i := 0; i < 16; i += 8 {
		n := d.rand.Uint64()
		for j := range 8 {
			u[i+j] = byte(n >> (8 * j))
		}
	}
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u
}

// delta is one row that a transaction inserted, changed or deleted.
type delta struct {
	table         *table
	uuid          ovsdb.UUID
	before, after *row
}

// txn is a transaction in progress: the database with deltas laid over it.
type txn struct {
	db     *database
	deltas map[ovsdb.UUID]*delta
	order  []*delta
	names  map[string]ovsdb.UUID
	refs   map[ovsdb.UUID]int // change of strong references
	maybe  []rowRef           // rows that may be without references now
}

type rowRef struct {
	table string
	uuid  ovsdb.UUID
}

func (d *database) begin() *txn {
	return &txn{db: d, deltas: make(map[ovsdb.UUID]*delta), names: make(map[string]ovsdb.UUID), refs: make(map[ovsdb.UUID]int)}
}

func (t *txn) get(tb *table, u ovsdb.UUID) *row {
	if d := t.deltas[u]; d != nil && d.table == tb {
		return d.after
	}
	return tb.rows[u]
}

// put lays a row, or with nil its absence, over the database.
func (t *txn) put(tb *table, u ovsdb.UUID, r *row) {
	d := t.deltas[u]
	if d == nil {
		d = &delta{table: tb, uuid: u, before: tb.rows[u]}
		t.deltas[u] = d
		t.order = append(t.order, d)
	}
	d.after = r
}

// each calls f with the rows of a table as the transaction sees them, oldest first.
func (t *txn) each(tb *table, f func(*row) *fault) *fault {
	rows := make([]*row, 0, len(tb.rows))
	for u, r := range tb.rows {
		if t.deltas[u] == nil {
			rows = append(rows, r)
		}
	}
	for _, d := range t.order {
		if d.table == tb && d.after != nil {
			rows = append(rows, d.after)
		}
	}
	slices.SortFunc(rows, func(a, b *row) int {
		if a.seq < b.seq {
			return -1
		}
		return 1
	})
	for _, r := range rows {
		if err := f(r); err != nil {
			return err
		}
	}
	return nil
}

// targets gives the rows that a column's value refers to, sorted, and their table.
func targets(c *ovsdb.ColumnSchema, v ovsdb.Value) (table string, weak bool, set ovsdb.Set) {
	if c.Key.RefTable != "" {
		return c.Key.RefTable, c.Key.RefWeak, ovsdb.AsSet(v)
	}
	var out ovsdb.Set
	for _, p := range ovsdb.AsMap(v) {
		out = append(out, p.Value)
	}
	return c.Value.RefTable, c.Value.RefWeak, ovsdb.AsSet(ovsdb.Canon(out))
}

// count adjusts the strong references for a row that became another.
func (t *txn) count(tb *table, before, after *row) {
	for _, i := range tb.spec.refs {
		var old, now ovsdb.Value
		if before != nil {
			old = before.values[i]
		}
		if after != nil {
			now = after.values[i]
		}
		to, weak, a := targets(tb.types[i], old)
		_, _, b := targets(tb.types[i], now)
		if weak {
			continue
		}
		for len(a) > 0 || len(b) > 0 {
			c := -1
			if len(a) == 0 {
				c = 1
			} else if len(b) > 0 {
				c = ovsdb.Compare(a[0], b[0])
			}
			switch {
			case c < 0:
				u := a[0].(ovsdb.UUID)
				t.refs[u]--
				t.maybe = append(t.maybe, rowRef{to, u})
				a = a[1:]
			case c > 0:
				t.refs[b[0].(ovsdb.UUID)]++
				b = b[1:]
			default:
				a, b = a[1:], b[1:]
			}
		}
	}
}

// commit checks the transaction as a whole and makes it part of the database. It
// gives the rows that differ, in the order they were first touched.
func (t *txn) commit() ([]*delta, *fault) {
	for _, d := range t.order {
		t.count(d.table, d.before, d.after)
		if d.before == nil && d.after != nil {
			t.maybe = append(t.maybe, rowRef{d.table.name, d.uuid})
		}
	}
	t.collect()
	if f := t.checkReferences(); f != nil {
		return nil, f
	}
	if f := t.checkIndexes(); f != nil {
		return nil, f
	}
	return t.apply(), nil
}

// collect deletes rows of non-root tables that nothing refers to strongly.
func (t *txn) collect() {
	for len(t.maybe) > 0 {
		at := t.maybe[len(t.maybe)-1]
		t.maybe = t.maybe[:len(t.maybe)-1]
		tb := t.db.tables[at.table]
		r := t.get(tb, at.uuid)
		if tb.schema.IsRoot || r == nil || t.db.refs[at.uuid]+t.refs[at.uuid] != 0 {
			continue
		}
		t.count(tb, r, nil)
		t.put(tb, at.uuid, nil)
	}
}

func (t *txn) checkReferences() *fault {
	for _, d := range slices.Clone(t.order) {
		if d.after == nil {
			if n := t.db.refs[d.uuid] + t.refs[d.uuid]; n > 0 {
				return faultf(ovsdb.ReferentialIntegrity, "cannot delete %s row %s because of %d remaining reference(s)", d.table.name, d.uuid, n)
			}
			for _, w := range d.table.weak {
				if f := t.dropWeak(w, d.uuid); f != nil {
					return f
				}
			}
			continue
		}
		for _, i := range d.table.spec.refs {
			to, weak, set := targets(d.table.types[i], d.after.values[i])
			for _, a := range set {
				u := a.(ovsdb.UUID)
				if t.get(t.db.tables[to], u) != nil {
					continue
				}
				if !weak {
					return faultf(ovsdb.ReferentialIntegrity, "table %s column %s row %s references nonexistent row %s in table %s",
						d.table.name, d.table.names[i], d.uuid, u, to)
				}
				if f := t.dropElement(d.table, d.after, i, a); f != nil {
					return f
				}
			}
		}
	}
	return nil
}

// dropWeak takes a deleted row out of a column that refers to it weakly.
func (t *txn) dropWeak(w weakRef, u ovsdb.UUID) *fault {
	tb := t.db.tables[w.table]
	return t.each(tb, func(r *row) *fault {
		if !ovsdb.AsSet(r.values[w.column]).Contains(u) {
			return nil
		}
		return t.dropElement(tb, r, w.column, u)
	})
}

func (t *txn) dropElement(tb *table, r *row, column int, a ovsdb.Atom) *fault {
	c := t.get(tb, r.uuid).clone()
	c.values[column] = mutateSet(ovsdb.AsSet(c.values[column]), ovsdb.Set{a}, "delete")
	t.put(tb, r.uuid, c)
	return checkCount(count(c.values[column]), tb.types[column])
}

func indexKey(columns []int, r *row) string {
	var b []byte
	for _, i := range columns {
		b, _ = ovsdb.AppendValue(b, r.values[i])
	}
	return string(b)
}

func (t *txn) checkIndexes() *fault {
	grown := make(map[*table]int)
	for _, d := range t.order {
		if d.after != nil && d.before == nil {
			grown[d.table]++
		} else if d.after == nil && d.before != nil {
			grown[d.table]--
		}
		for n, columns := range d.table.indexes {
			if d.after == nil {
				continue
			}
			key := indexKey(columns, d.after)
			other, taken := d.table.keys[n][key]
			if taken && other != d.uuid {
				if r := t.get(d.table, other); r == nil || indexKey(columns, r) != key {
					taken = false
				}
			} else {
				taken = false
			}
			for _, e := range t.order {
				if !taken && e != d && e.table == d.table && e.after != nil && indexKey(columns, e.after) == key {
					other, taken = e.uuid, true
				}
			}
			if taken {
				var names []string
				for _, i := range columns {
					names = append(names, d.table.names[i])
				}
				return faultf(ovsdb.ConstraintViolation, "Transaction causes multiple rows in %q table to have identical values (%s) for index on column %q: rows %s and %s",
					d.table.name, key, strings.Join(names, ", "), other, d.uuid)
			}
		}
	}
	for tb, n := range grown {
		if len(tb.rows)+n > tb.schema.MaxRows {
			return faultf(ovsdb.ConstraintViolation, "transaction causes %q table to contain %d rows, greater than the schema-defined limit of %d row(s)",
				tb.name, len(tb.rows)+n, tb.schema.MaxRows)
		}
	}
	return nil
}

func (t *txn) apply() []*delta {
	for u, n := range t.refs {
		if n += t.db.refs[u]; n == 0 {
			delete(t.db.refs, u)
		} else {
			t.db.refs[u] = n
		}
	}
	var out []*delta
	for _, d := range t.order {
		if d.before == nil && d.after == nil ||
			d.before != nil && d.after != nil && slices.EqualFunc(d.before.values, d.after.values, ovsdb.Equal) {
			continue
		}
		out = append(out, d)
		if d.before != nil {
			for n, columns := range d.table.indexes {
				key := indexKey(columns, d.before)
				if d.table.keys[n][key] == d.uuid {
					delete(d.table.keys[n], key)
				}
			}
		}
	}
	for _, d := range out {
		if d.after == nil {
			delete(d.table.rows, d.uuid)
			continue
		}
		d.after.version = t.db.uuid()
		d.table.rows[d.uuid] = d.after
		for n, columns := range d.table.indexes {
			d.table.keys[n][indexKey(columns, d.after)] = d.uuid
		}
	}
	return out
}
