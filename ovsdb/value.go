// SPDX-License-Identifier: Apache-2.0

package ovsdb

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Value is what a column holds (RFC 7047 section 5.1): an Atom, a Set or a Map.
// An atom and the set of only that atom are the same value; nil and the empty set
// and the empty map are the same value too.
type Value interface{ value() }

// Atom is one of Int, Real, Bool, String, UUID and Named.
type Atom interface {
	Value
	rank() int
}

type (
	// Int is a 64-bit integer.
	Int int64
	// Real is a finite floating point number. A real that is whole arrives as an
	// Int, because its text does not tell; Row.Real accepts both.
	Real float64
	// Bool is a boolean.
	Bool bool
	// String is UTF-8 text without NUL.
	String string
	// UUID names a row.
	UUID [16]byte
	// Named stands for the row that an insert of the same transaction makes
	// (RFC 7047 section 5.1, named-uuid).
	Named string
	// Set is a set of atoms, in any order when written; sorted when read.
	Set []Atom
	// Map maps atoms to atoms, in any order when written; sorted by key when read.
	Map []Pair
	// Pair is one element of a Map.
	Pair struct{ Key, Value Atom }
)

func (Int) value()    {}
func (Real) value()   {}
func (Bool) value()   {}
func (String) value() {}
func (UUID) value()   {}
func (Named) value()  {}
func (Set) value()    {}
func (Map) value()    {}

func (Int) rank() int    { return 0 }
func (Real) rank() int   { return 0 }
func (Bool) rank() int   { return 1 }
func (String) rank() int { return 2 }
func (UUID) rank() int   { return 3 }
func (Named) rank() int  { return 4 }

// ParseUUID reads the 36-character form, in either case.
func ParseUUID(s string) (UUID, error) {
	u, ok := parseUUID([]byte(s))
	if !ok {
		return UUID{}, fmt.Errorf("uuid %.40q malformed", s)
	}
	return u, nil
}

func parseUUID(s []byte) (u UUID, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return u, false
	}
	for i, at := range [16]int{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34} {
		if _, err := hex.Decode(u[i:i+1], s[at:at+2]); err != nil {
			return UUID{}, false
		}
	}
	return u, true
}

func (u UUID) appendTo(b []byte) []byte {
	for i, c := range u {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, []byte{c})
	}
	return b
}

// String gives the 36-character form.
func (u UUID) String() string { return string(u.appendTo(make([]byte, 0, 36))) }

// MarshalText and UnmarshalText make a UUID usable as a JSON string or map key.
func (u UUID) MarshalText() ([]byte, error) { return u.appendTo(nil), nil }

// UnmarshalText is the inverse of MarshalText.
func (u *UUID) UnmarshalText(b []byte) error {
	v, ok := parseUUID(b)
	if !ok {
		return fmt.Errorf("uuid %.40q malformed", b)
	}
	*u = v
	return nil
}

// IsZero tells whether u is all zeros, which names no row.
func (u UUID) IsZero() bool { return u == UUID{} }

// Compare orders atoms: numbers, booleans, strings, UUIDs, names; then by value.
func Compare(a, b Atom) int {
	switch a := a.(type) {
	case Int:
		switch b := b.(type) {
		case Int:
			return cmp.Compare(a, b)
		case Real:
			return cmp.Compare(Real(a), b)
		}
	case Real:
		switch b := b.(type) {
		case Int:
			return cmp.Compare(a, Real(b))
		case Real:
			return cmp.Compare(a, b)
		}
	case Bool:
		if b, ok := b.(Bool); ok {
			switch {
			case a == b:
				return 0
			case bool(b):
				return -1
			}
			return 1
		}
	case String:
		if b, ok := b.(String); ok {
			return strings.Compare(string(a), string(b))
		}
	case UUID:
		if b, ok := b.(UUID); ok {
			return slices.Compare(a[:], b[:])
		}
	case Named:
		if b, ok := b.(Named); ok {
			return strings.Compare(string(a), string(b))
		}
	}
	return cmp.Compare(rank(a), rank(b))
}

func rank(a Atom) int {
	if a == nil {
		return -1
	}
	return a.rank()
}

// Strings is the set of the given strings.
func Strings(items ...string) Set {
	s := make(Set, len(items))
	for i, item := range items {
		s[i] = String(item)
	}
	return s
}

// UUIDs is the set of the given rows.
func UUIDs(items ...UUID) Set {
	s := make(Set, len(items))
	for i, item := range items {
		s[i] = item
	}
	return s
}

// StringMap is a map of strings, as external_ids and options are.
func StringMap(m map[string]string) Map {
	out := make(Map, 0, len(m))
	for k, v := range m {
		out = append(out, Pair{String(k), String(v)})
	}
	sortMap(out)
	return out
}

// Get looks a string key up in a map of strings.
func (m Map) Get(key string) (string, bool) {
	for _, p := range m {
		if k, ok := p.Key.(String); ok && string(k) == key {
			v, ok := p.Value.(String)
			return string(v), ok
		}
	}
	return "", false
}

// Lookup finds the value of key; nil if there is none.
func (m Map) Lookup(key Atom) Atom {
	for _, p := range m {
		if Compare(p.Key, key) == 0 {
			return p.Value
		}
	}
	return nil
}

// Strings copies the string pairs of m into a Go map, never nil.
func (m Map) Strings() map[string]string {
	out := make(map[string]string, len(m))
	for _, p := range m {
		k, kok := p.Key.(String)
		v, vok := p.Value.(String)
		if kok && vok {
			out[string(k)] = string(v)
		}
	}
	return out
}

// Contains tells whether a is an element of s.
func (s Set) Contains(a Atom) bool {
	return slices.ContainsFunc(s, func(b Atom) bool { return Compare(a, b) == 0 })
}

// UUIDs lists the rows in s.
func (s Set) UUIDs() []UUID {
	out := make([]UUID, 0, len(s))
	for _, a := range s {
		if u, ok := a.(UUID); ok {
			out = append(out, u)
		}
	}
	return out
}

// Strings lists the strings in s.
func (s Set) Strings() []string {
	out := make([]string, 0, len(s))
	for _, a := range s {
		if t, ok := a.(String); ok {
			out = append(out, string(t))
		}
	}
	return out
}

// Canon brings v into the form that reading yields: sets and maps sorted and free
// of duplicates (the last pair of a map wins), a set of one as its atom, every
// empty value as the empty Set. The elements of v may be reordered in place.
func Canon(v Value) Value {
	switch v := v.(type) {
	case nil:
		return Set(nil)
	case Set:
		if !slices.IsSortedFunc(v, Compare) {
			slices.SortFunc(v, Compare)
		}
		v = slices.CompactFunc(v, func(a, b Atom) bool { return Compare(a, b) == 0 })
		switch len(v) {
		case 0:
			return Set(nil)
		case 1:
			return v[0]
		}
		return v
	case Map:
		if len(v) == 0 {
			return Set(nil)
		}
		sortMap(v)
		out := v[:0]
		for i, p := range v {
			if i+1 < len(v) && Compare(p.Key, v[i+1].Key) == 0 {
				continue
			}
			out = append(out, p)
		}
		return out
	}
	return v
}

func sortMap(m Map) {
	byKey := func(a, b Pair) int { return Compare(a.Key, b.Key) }
	if !slices.IsSortedFunc(m, byKey) {
		slices.SortStableFunc(m, byKey)
	}
}

// AsSet gives v as a set: an atom as the set of it, an empty map as the empty set.
// A map with pairs is no set, and gives nil.
func AsSet(v Value) Set {
	switch v := v.(type) {
	case Set:
		return v
	case Atom:
		return Set{v}
	}
	return nil
}

// AsMap gives v as a map; anything but a map gives nil.
func AsMap(v Value) Map {
	m, _ := v.(Map)
	return m
}

// IsEmpty tells whether v is nil, the empty set or the empty map.
func IsEmpty(v Value) bool {
	switch v := v.(type) {
	case nil:
		return true
	case Set:
		return len(v) == 0
	case Map:
		return len(v) == 0
	}
	return false
}

// Equal tells whether two values in canonical form are the same.
func Equal(a, b Value) bool {
	if IsEmpty(a) || IsEmpty(b) {
		return IsEmpty(a) && IsEmpty(b)
	}
	switch a := a.(type) {
	case Map:
		b, ok := b.(Map)
		return ok && slices.EqualFunc(a, b, func(p, q Pair) bool {
			return Compare(p.Key, q.Key) == 0 && Compare(p.Value, q.Value) == 0
		})
	case Set:
		return slices.EqualFunc(a, AsSet(b), func(x, y Atom) bool { return Compare(x, y) == 0 })
	case Atom:
		if b, ok := b.(Atom); ok {
			return Compare(a, b) == 0
		}
		s, ok := b.(Set)
		return ok && len(s) == 1 && Compare(a, s[0]) == 0
	}
	return false
}
