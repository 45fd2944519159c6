// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/json"
	"fmt"
	"iter"
	"reflect"
)

// Class says who writes a table and whether it outlives the process.
type Class uint8

const (
	Intent    Class = iota // written by northbound transactions
	Allocated              // written by allocators, inside the transaction that needs the number
	Observed               // written by southbound sessions, persisted
	Volatile               // written by southbound sessions, forgotten at exit
)

func (c Class) String() string {
	return [...]string{"intent", "allocated", "observed", "volatile"}[c]
}

// Persistent reports whether records of the class are made durable.
func (c Class) Persistent() bool { return c != Volatile }

// Schema is the set of declared tables. Declare everything before New; a Schema in use does not change.
type Schema struct {
	kinds   []*kind // tables, indices, derived tables; a kind's place is its id
	tables  []*kind
	derived []*kind
	byName  map[string]*kind
}

// kind is the untyped core of a table, an index or a derived table.
type kind struct {
	id      uint16
	name    string
	class   Class
	table   *kind   // of an index: its table
	indices []*kind // of a table

	plane  func(any) any // of a table: the part that dependents read; nil = whole value
	encode func(any) ([]byte, error)
	decode func([]byte) (v any, extra string, err error)
	keys   func(any) []string // of an index

	sources []source // of a derived table
	emit    func(Reader, string) []Member
	feeds   []feed // of a table: derived tables to maintain
}

// keysOf gives the index keys of a record, none for nil.
func (k *kind) keysOf(rec *record) []string {
	if rec == nil {
		return nil
	}
	return k.keys(rec.val)
}

type source struct {
	table    *kind
	subjects func(Reader, any) []string
}

type feed struct {
	derived  *kind
	subjects func(Reader, any) []string
}

// NewSchema returns an empty schema.
func NewSchema() *Schema { return &Schema{byName: map[string]*kind{}} }

func (s *Schema) add(k *kind) *kind {
	if _, dup := s.byName[k.name]; dup {
		panic(fmt.Sprintf("store: %s declared twice", k.name))
	}
	k.id = uint16(len(s.kinds))
	s.kinds = append(s.kinds, k)
	s.byName[k.name] = k
	return k
}

// Table is a typed table. K is a string type, the primary key.
type Table[K ~string, T any] struct{ k *kind }

// Declare adds a table. Its name is also its place in the durable log, so it never changes.
func Declare[K ~string, T any](s *Schema, name string, class Class) *Table[K, T] {
	k := s.add(&kind{name: name, class: class})
	s.tables = append(s.tables, k)
	k.encode = func(v any) ([]byte, error) { return json.Marshal(v) }
	k.decode = decodeValue[T]
	return &Table[K, T]{k}
}

// Plane declares the part of a record that its dependents read. A change that leaves it deeply equal touches nothing.
// It returns the table, for chaining.
func (t *Table[K, T]) Plane(f func(T) any) *Table[K, T] {
	t.k.plane = func(v any) any { return f(v.(T)) }
	return t
}

// Name is the table's declared name.
func (t *Table[K, T]) Name() string { return t.k.name }

// Index is a secondary, non-unique index of a table.
type Index[K ~string, T any] struct{ k *kind }

// DeclareIndex adds an index. keys gives the index keys of a record, distinct; none leaves it out.
func DeclareIndex[K ~string, T any](s *Schema, t *Table[K, T], name string, keys func(T) []string) *Index[K, T] {
	k := s.add(&kind{name: t.k.name + "." + name, class: t.k.class, table: t.k})
	k.keys = func(v any) []string { return keys(v.(T)) }
	t.k.indices = append(t.k.indices, k)
	return &Index[K, T]{k}
}

// Member is one entry of a derived table: Name belongs to Group.
type Member struct{ Group, Name string }

// Derived is a table computed from others at commit: groups of member names, each member counted by how many subjects emit
// it. A subject is whatever the sources name, e.g. a port id; when a source record of the subject changes, emit runs on the
// state before and on the state after, and the difference adjusts the counts. So a derived table may join several tables
// and costs the size of the change. emit must be pure, read only through its Reader, and not read derived tables.
type Derived struct {
	k *kind
	s *Schema
}

// DeclareDerived adds a derived table.
func DeclareDerived(s *Schema, name string, emit func(r Reader, subject string) []Member) *Derived {
	k := s.add(&kind{name: name, class: Volatile, emit: emit})
	s.derived = append(s.derived, k)
	return &Derived{k, s}
}

// From makes records of t sources of d: subjects names the subjects whose emission depends on the record (evaluated on the
// state before and on the state after a change).
func From[K ~string, T any](d *Derived, t *Table[K, T], subjects func(r Reader, v T) []string) *Derived {
	f := func(r Reader, v any) []string { return subjects(r, v.(T)) }
	d.k.sources = append(d.k.sources, source{t.k, f})
	t.k.feeds = append(t.k.feeds, feed{d.k, f})
	return d
}

// Get returns the record with the key.
func (t *Table[K, T]) Get(r Reader, key K) (T, bool) {
	rec := r.get(t.k, "", string(key))
	if rec == nil {
		var zero T
		return zero, false
	}
	return rec.val.(T), true
}

// Info returns what the store knows about the record besides its value. It is not a tracked read.
func (t *Table[K, T]) Info(r Reader, key K) (Info, bool) {
	rec := r.untracked().get(t.k, "", string(key))
	if rec == nil {
		return Info{}, false
	}
	return rec.info(), true
}

// All iterates over the whole table in key order. A rule that calls it depends on every record: use an Index or a Derived.
func (t *Table[K, T]) All(r Reader) iter.Seq2[K, T] {
	return func(yield func(K, T) bool) {
		r.scan(t.k, "", "", func(key string, rec *record) bool { return yield(K(key), rec.val.(T)) })
	}
}

// From iterates in key order from the first key >= start; for paging.
func (t *Table[K, T]) From(r Reader, start K) iter.Seq2[K, T] {
	return func(yield func(K, T) bool) {
		r.scan(t.k, "", string(start), func(key string, rec *record) bool { return yield(K(key), rec.val.(T)) })
	}
}

// Before iterates backwards, from the last key < end; an empty end is beyond all.
func (t *Table[K, T]) Before(r Reader, end K) iter.Seq2[K, T] {
	return func(yield func(K, T) bool) {
		r.back(t.k, "", string(end), func(key string, rec *record) bool { return yield(K(key), rec.val.(T)) })
	}
}

// Len counts the table's records.
func (t *Table[K, T]) Len(r Reader) int { return r.length(t.k) }

// Put writes a record, new or not.
func (t *Table[K, T]) Put(tx *Txn, key K, v T) { tx.put(t.k, string(key), v) }

// Delete removes a record and reports whether it was there.
func (t *Table[K, T]) Delete(tx *Txn, key K) bool { return tx.delete(t.k, string(key)) }

// By iterates over the records with the index key, in order of their primary keys.
func (x *Index[K, T]) By(r Reader, key string) iter.Seq[T] {
	return func(yield func(T) bool) {
		r.scan(x.k, key, "", func(_ string, rec *record) bool { return yield(rec.val.(T)) })
	}
}

// From is By from the first record whose primary key is at or after start; for paging.
func (x *Index[K, T]) From(r Reader, key, start string) iter.Seq[T] {
	return func(yield func(T) bool) {
		r.scan(x.k, key, start, func(_ string, rec *record) bool { return yield(rec.val.(T)) })
	}
}

// Before is By backwards, from the last record whose primary key is below end; an empty end is beyond all.
func (x *Index[K, T]) Before(r Reader, key, end string) iter.Seq[T] {
	return func(yield func(T) bool) {
		r.back(x.k, key, end, func(_ string, rec *record) bool { return yield(rec.val.(T)) })
	}
}

// First returns the record with the index key and the lowest primary key.
func (x *Index[K, T]) First(r Reader, key string) (v T, ok bool) {
	for v = range x.By(r, key) {
		return v, true
	}
	return v, false
}

// Members iterates over the names in a group, in order.
func (d *Derived) Members(r Reader, group string) iter.Seq[string] {
	return func(yield func(string) bool) {
		r.scan(d.k, group, "", func(name string, _ *record) bool { return yield(name) })
	}
}

// Has reports whether the group has the member.
func (d *Derived) Has(r Reader, group, name string) bool {
	return r.get(d.k, group, name) != nil
}

// Count returns how many subjects emit the member.
func (d *Derived) Count(r Reader, group, name string) int {
	rec := r.get(d.k, group, name)
	if rec == nil {
		return 0
	}
	return rec.val.(int)
}

// GroupDep is the Dep touched when a member joins or leaves the group.
func (d *Derived) GroupDep(group string) Dep { return Dep{d.k.id, group} }

// Name is the derived table's declared name.
func (d *Derived) Name() string { return d.k.name }

func planeEqual(k *kind, a, b any) bool {
	if k.plane != nil {
		a, b = k.plane(a), k.plane(b)
	}
	return reflect.DeepEqual(a, b)
}
