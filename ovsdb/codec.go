// SPDX-License-Identifier: Apache-2.0

package ovsdb

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"nagare/ovsdb/internal/jsonscan"
)

// SyntaxError is JSON text that is malformed, over a limit or not of the shape that
// RFC 7047 asks for. Offset counts bytes from the start of the message.
type SyntaxError = jsonscan.Error

// ErrTooLong is a message or string of the peer that is over the limit.
var ErrTooLong = jsonscan.ErrTooLong

const maxDepth = 32 // a schema needs 10 levels, an update 8

// AppendValue appends the <value> of RFC 7047 section 5.1. An error tells of text
// that JSON cannot carry, an infinite real, or a nil atom.
func AppendValue(b []byte, v Value) ([]byte, error) {
	var err error
	switch v := v.(type) {
	case nil:
		return append(b, `["set",[]]`...), nil
	case Set:
		b = append(b, `["set",[`...)
		for i, a := range v {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendAtom(b, a); err != nil {
				return b, err
			}
		}
		return append(b, "]]"...), nil
	case Map:
		b = append(b, `["map",[`...)
		for i, p := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, '[')
			if b, err = appendAtom(b, p.Key); err != nil {
				return b, err
			}
			b = append(b, ',')
			if b, err = appendAtom(b, p.Value); err != nil {
				return b, err
			}
			b = append(b, ']')
		}
		return append(b, "]]"...), nil
	case Atom:
		return appendAtom(b, v)
	}
	return b, fmt.Errorf("value of type %T unknown", v)
}

func appendAtom(b []byte, a Atom) ([]byte, error) {
	switch a := a.(type) {
	case Int:
		return strconv.AppendInt(b, int64(a), 10), nil
	case Real:
		if math.IsNaN(float64(a)) || math.IsInf(float64(a), 0) {
			return b, fmt.Errorf("real %v has no JSON form", float64(a))
		}
		n := len(b)
		b = strconv.AppendFloat(b, float64(a), 'g', -1, 64)
		if !strings.ContainsAny(string(b[n:]), ".e") {
			b = append(b, ".0"...)
		}
		return b, nil
	case Bool:
		return strconv.AppendBool(b, bool(a)), nil
	case String:
		return appendText(b, string(a))
	case UUID:
		b = append(b, `["uuid","`...)
		b = a.appendTo(b)
		return append(b, `"]`...), nil
	case Named:
		b = append(b, `["named-uuid",`...)
		b, err := appendText(b, string(a))
		return append(b, ']'), err
	}
	return b, fmt.Errorf("atom missing")
}

func appendText(b []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		return b, fmt.Errorf("text %.40q is not UTF-8 without NUL", s)
	}
	return jsonscan.AppendString(b, s), nil
}

// ParseValue reads one <value>, canonical, within the package's limits.
func ParseValue(text []byte) (Value, error) {
	s := jsonscan.New(text, maxDepth)
	v, err := scanValue(s)
	if err == nil {
		err = s.End()
	}
	return v, err
}

// scanValue reads a <value>: an atom, ["set",[...]] or ["map",[...]].
func scanValue(s *jsonscan.Scanner) (Value, error) {
	if s.Kind() != jsonscan.Array {
		return scanPlain(s)
	}
	var v Value
	err := scanTagged(s, func(tag string) (err error) {
		switch tag {
		case "set":
			var set Set
			err = s.Array(func(int) error {
				a, err := scanAtom(s)
				set = append(set, a)
				return err
			})
			if err == nil {
				n := len(set)
				if v = Canon(set); len(AsSet(v)) != n {
					err = s.Errorf("set with a repeated element")
				}
			}
		case "map":
			var m Map
			err = s.Array(func(int) error {
				p, err := scanPair(s)
				m = append(m, p)
				return err
			})
			if err == nil {
				n := len(m)
				if v = Canon(m); len(AsMap(v)) != n {
					err = s.Errorf("map with a repeated key")
				}
			}
		default:
			v, err = scanRef(s, tag)
		}
		return err
	})
	return v, err
}

// scanTagged reads ["tag", X] where body reads X.
func scanTagged(s *jsonscan.Scanner, body func(tag string) error) error {
	var tag string
	n := 0
	err := s.Array(func(i int) error {
		n++
		switch i {
		case 0:
			b, err := s.Bytes()
			tag = internTag(b)
			return err
		case 1:
			return body(tag)
		}
		return s.Errorf("third element after %.20q", tag)
	})
	if err == nil && n != 2 {
		err = s.Errorf("tagged value of %d elements", n)
	}
	return err
}

func internTag(b []byte) string {
	for _, tag := range [...]string{"set", "map", "uuid", "named-uuid"} {
		if string(b) == tag {
			return tag
		}
	}
	return string(b)
}

func scanPair(s *jsonscan.Scanner) (p Pair, err error) {
	n := 0
	err = s.Array(func(i int) (err error) {
		n++
		switch i {
		case 0:
			if s.Kind() == jsonscan.String {
				var b []byte
				b, err = s.Bytes()
				p.Key = internKey(b)
				return err
			}
			p.Key, err = scanAtom(s)
		case 1:
			p.Value, err = scanAtom(s)
		default:
			err = s.Errorf("pair with a third element")
		}
		return err
	})
	if err == nil && n != 2 {
		err = s.Errorf("pair of %d elements", n)
	}
	return p, err
}

func scanAtom(s *jsonscan.Scanner) (Atom, error) {
	if s.Kind() != jsonscan.Array {
		return scanPlain(s)
	}
	var a Atom
	err := scanTagged(s, func(tag string) (err error) {
		a, err = scanRef(s, tag)
		return err
	})
	return a, err
}

func scanRef(s *jsonscan.Scanner, tag string) (Atom, error) {
	switch tag {
	case "uuid":
		b, err := s.Bytes()
		if err != nil {
			return nil, err
		}
		u, ok := parseUUID(b)
		if !ok {
			return nil, s.Errorf("uuid %.40q malformed", b)
		}
		return u, nil
	case "named-uuid":
		text, err := s.Text()
		return Named(text), err
	}
	return nil, s.Errorf("tag %.20q unknown", tag)
}

func scanPlain(s *jsonscan.Scanner) (Atom, error) {
	switch s.Kind() {
	case jsonscan.String:
		text, err := s.Text()
		return String(text), err
	case jsonscan.Number:
		i, f, isInt, err := s.Number()
		if isInt {
			return Int(i), err
		}
		return Real(f), err
	case jsonscan.Bool:
		v, err := s.Bool()
		return Bool(v), err
	}
	return nil, s.Errorf("%s where a value is wanted", s.Kind())
}

// Map keys such as "iface-id" recur in every row of every node. They are kept once,
// boxed; the table is bounded, so a peer that sends many keys only fills it.
var keys = struct {
	sync.RWMutex
	m map[string]Atom
}{m: make(map[string]Atom)}

const (
	maxKeys   = 4096
	maxKeyLen = 64
)

func internKey(b []byte) Atom {
	if len(b) > maxKeyLen {
		return String(b)
	}
	keys.RLock()
	a, ok := keys.m[string(b)]
	full := len(keys.m) >= maxKeys
	keys.RUnlock()
	if ok || full {
		if !ok {
			a = String(b)
		}
		return a
	}
	a = String(b)
	keys.Lock()
	keys.m[string(b)] = a
	keys.Unlock()
	return a
}
