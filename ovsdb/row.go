// SPDX-License-Identifier: Apache-2.0

package ovsdb

import (
	"slices"

	"nagare/ovsdb/internal/jsonscan"
)

// Fields are columns to write, by name.
type Fields map[string]Value

// Row is columns that were read: immutable, columns sorted by name, values
// canonical. A column that the server lacks, or that was not asked for, reads as
// empty. The nil Row has no columns.
type Row struct {
	columns *columns
	values  []Value // parallel to columns.names; nil = absent
}

// columns is what a table's rows have, shared by them. multi and zero are set for
// mirrored tables only.
type columns struct {
	table string
	names []string // sorted
	multi []bool   // by index: may hold more than one element, so update2 sends differences
	zero  []Value  // by index: the default, which update2 leaves out of new rows
}

func (c *columns) index(name []byte) int {
	i, ok := slices.BinarySearchFunc(c.names, name, func(have string, want []byte) int {
		switch {
		case have == string(want):
			return 0
		case have < string(want):
			return -1
		}
		return 1
	})
	if !ok {
		return -1
	}
	return i
}

// NewRow makes a Row of the given columns.
func NewRow(f Fields) *Row {
	r := &Row{columns: &columns{names: make([]string, 0, len(f))}}
	for name := range f {
		r.columns.names = append(r.columns.names, name)
	}
	slices.Sort(r.columns.names)
	for _, name := range r.columns.names {
		r.values = append(r.values, Canon(cloneValue(f[name])))
	}
	return r
}

func cloneValue(v Value) Value {
	switch v := v.(type) {
	case Set:
		return slices.Clone(v)
	case Map:
		return slices.Clone(v)
	}
	return v
}

// Value gives a column as it is; nil if the row does not have it.
func (r *Row) Value(column string) Value {
	if r == nil {
		return nil
	}
	if i, ok := slices.BinarySearch(r.columns.names, column); ok && i < len(r.values) {
		return r.values[i]
	}
	return nil
}

// Has tells whether the row has the column and it is not empty.
func (r *Row) Has(column string) bool { return !IsEmpty(r.Value(column)) }

// String gives a column of one string; "" when absent, empty or of another type.
func (r *Row) String(column string) string {
	s, _ := r.Value(column).(String)
	return string(s)
}

// Int gives a column of one integer, and whether there is one.
func (r *Row) Int(column string) (int64, bool) {
	n, ok := r.Value(column).(Int)
	return int64(n), ok
}

// Real gives a column of one number, and whether there is one.
func (r *Row) Real(column string) (float64, bool) {
	switch n := r.Value(column).(type) {
	case Real:
		return float64(n), true
	case Int:
		return float64(n), true
	}
	return 0, false
}

// Bool gives a column of one boolean, and whether there is one.
func (r *Row) Bool(column string) (value, ok bool) {
	b, ok := r.Value(column).(Bool)
	return bool(b), ok
}

// UUID gives a column that refers to one row, and whether it does.
func (r *Row) UUID(column string) (UUID, bool) {
	u, ok := r.Value(column).(UUID)
	return u, ok
}

// Set gives a column as a set: no elements when absent. Do not change it.
func (r *Row) Set(column string) Set { return AsSet(r.Value(column)) }

// UUIDs gives the rows that a column refers to.
func (r *Row) UUIDs(column string) []UUID { return r.Set(column).UUIDs() }

// Map gives a column as a map: no pairs when absent. Do not change it.
func (r *Row) Map(column string) Map { return AsMap(r.Value(column)) }

// Columns lists the columns that the row has.
func (r *Row) Columns() []string {
	if r == nil {
		return nil
	}
	var out []string
	for i, v := range r.values {
		if v != nil {
			out = append(out, r.columns.names[i])
		}
	}
	return out
}

// Fields copies the row into a writable form.
func (r *Row) Fields() Fields {
	f := make(Fields)
	for _, name := range r.Columns() {
		f[name] = cloneValue(r.Value(name))
	}
	return f
}

// Equal tells whether both rows hold the same; an absent column equals an empty one.
func (r *Row) Equal(o *Row) bool {
	if r == nil || o == nil {
		return r == o
	}
	if r.columns == o.columns {
		return slices.EqualFunc(r.values, o.values, Equal)
	}
	for _, name := range r.Columns() {
		if !Equal(r.Value(name), o.Value(name)) {
			return false
		}
	}
	for _, name := range o.Columns() {
		if r.Value(name) == nil && !IsEmpty(o.Value(name)) {
			return false
		}
	}
	return true
}

// Changed lists the columns in which two rows differ; either may be nil.
func (r *Row) Changed(o *Row) []string {
	var out []string
	for _, name := range r.Columns() {
		if !Equal(r.Value(name), o.Value(name)) {
			out = append(out, name)
		}
	}
	for _, name := range o.Columns() {
		if r.Value(name) == nil && !IsEmpty(o.Value(name)) {
			out = append(out, name)
		}
	}
	return out
}

// scanRow reads a <row> object with whatever columns it has.
func scanRow(s *jsonscan.Scanner) (*Row, error) {
	f, err := scanFields(s)
	if err != nil {
		return nil, err
	}
	return NewRow(f), nil
}

func scanFields(s *jsonscan.Scanner) (Fields, error) {
	f := make(Fields)
	err := s.Object(func(key []byte) error {
		name := string(key)
		v, err := scanValue(s)
		f[name] = v
		return err
	})
	return f, err
}

// ParseRow reads one <row>, within the package's limits.
func ParseRow(text []byte) (*Row, error) {
	s := jsonscan.New(text, maxDepth)
	r, err := scanRow(s)
	if err == nil {
		err = s.End()
	}
	return r, err
}

func appendFields(b []byte, f Fields) ([]byte, error) {
	names := make([]string, 0, len(f))
	for name := range f {
		names = append(names, name)
	}
	slices.Sort(names)
	b = append(b, '{')
	var err error
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(jsonscan.AppendString(b, name), ':')
		if b, err = AppendValue(b, f[name]); err != nil {
			return b, &EncodeError{Column: name, Err: err}
		}
	}
	return append(b, '}'), nil
}
