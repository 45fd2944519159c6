// SPDX-License-Identifier: Apache-2.0

// Package jsonscan reads and writes JSON text (RFC 8259) for package ovsdb under
// limits that a hostile peer cannot lift: nesting depth is bounded, duplicate
// object members, invalid UTF-8, lone surrogates, NUL characters and trailing
// text are errors, and every error is an *Error that tells the byte offset.
//
// A Scanner walks one complete message in memory without building a tree; the
// caller decides at each value what it wants and skips the rest, which is checked
// all the same. A Framer finds the end of each message in a byte stream, because
// OVSDB's JSON-RPC (RFC 7047 section 4) has no framing of its own.
//
// Used by ovsdb, its rpc connection and its in-memory server only.
package jsonscan

import (
	"bytes"
	"fmt"
	"hash/maphash"
)

// Error is malformed or over-limit JSON text at a byte offset of the message.
type Error struct {
	Offset int
	Reason string
}

func (e *Error) Error() string { return fmt.Sprintf("json at byte %d: %s", e.Offset, e.Reason) }

// Kind is the kind of the next value.
type Kind byte

// The kinds of JSON values; Invalid covers end of text and stray characters.
const (
	Invalid Kind = iota
	Null
	Bool
	Number
	String
	Array
	Object
)

// Scanner reads one message. The zero Scanner reads the empty text.
type Scanner struct {
	b       []byte
	pos     int
	depth   int
	scratch []byte
}

// New returns a Scanner over b that permits depth levels of nesting.
func New(b []byte, depth int) *Scanner { return &Scanner{b: b, depth: depth} }

// Errorf returns an *Error at the current offset.
func (s *Scanner) Errorf(format string, args ...any) error {
	return &Error{Offset: s.pos, Reason: fmt.Sprintf(format, args...)}
}

func (s *Scanner) space() {
	for s.pos < len(s.b) {
		switch s.b[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// Kind tells the kind of the next value without consuming it.
func (s *Scanner) Kind() Kind {
	s.space()
	if s.pos >= len(s.b) {
		return Invalid
	}
	switch c := s.b[s.pos]; {
	case c == '{':
		return Object
	case c == '[':
		return Array
	case c == '"':
		return String
	case c == '-' || c >= '0' && c <= '9':
		return Number
	case c == 't' || c == 'f':
		return Bool
	case c == 'n':
		return Null
	}
	return Invalid
}

func (k Kind) String() string {
	return [...]string{"invalid text", "null", "boolean", "number", "string", "array", "object"}[k]
}

func (s *Scanner) open(c byte, want Kind) error {
	if k := s.Kind(); k != want {
		return s.Errorf("%s where %s is wanted", k, want)
	}
	if s.depth == 0 {
		return s.Errorf("nesting too deep")
	}
	s.depth--
	s.pos++
	return nil
}

// Array calls elem at each element; elem must consume exactly one value.
func (s *Scanner) Array(elem func(i int) error) error {
	if err := s.open('[', Array); err != nil {
		return err
	}
	defer func() { s.depth++ }()
	s.space()
	if s.pos < len(s.b) && s.b[s.pos] == ']' {
		s.pos++
		return nil
	}
	for i := 0; ; i++ {
		if err := elem(i); err != nil {
			return err
		}
		if done, err := s.next(']'); done || err != nil {
			return err
		}
	}
}

// Object calls member at each member's value; member must consume exactly one
// value. key is valid until member reads on. A repeated key is an error.
func (s *Scanner) Object(member func(key []byte) error) error {
	if err := s.open('{', Object); err != nil {
		return err
	}
	defer func() { s.depth++ }()
	s.space()
	if s.pos < len(s.b) && s.b[s.pos] == '}' {
		s.pos++
		return nil
	}
	var keys keySet
	for {
		key, err := s.Bytes()
		if err != nil {
			return err
		}
		if len(s.scratch) > 0 && &key[:1][0] == &s.scratch[0] {
			key = bytes.Clone(key) // an escaped key lives in scratch: keep it apart
		}
		if !keys.add(key) {
			return s.Errorf("duplicate member %.40q", key)
		}
		s.space()
		if s.pos >= len(s.b) || s.b[s.pos] != ':' {
			return s.Errorf("colon missing after member %.40q", key)
		}
		s.pos++
		if err := member(key); err != nil {
			return err
		}
		if done, err := s.next('}'); done || err != nil {
			return err
		}
	}
}

func (s *Scanner) next(end byte) (bool, error) {
	s.space()
	if s.pos >= len(s.b) {
		return false, s.Errorf("text ends inside a value")
	}
	switch s.b[s.pos] {
	case end:
		s.pos++
		return true, nil
	case ',':
		s.pos++
		return false, nil
	}
	return false, s.Errorf("comma or %q missing", end)
}

// keySet finds duplicate keys: a short list compared in full, then 64-bit hashes
// with a random seed (a false hit among 100,000 keys has odds below 1e-9).
type keySet struct {
	small  [12][]byte
	n      int
	hashes map[uint64]struct{}
}

var seed = maphash.MakeSeed()

func (k *keySet) add(key []byte) bool {
	if k.hashes == nil {
		for _, have := range k.small[:k.n] {
			if bytes.Equal(have, key) {
				return false
			}
		}
		if k.n < len(k.small) {
			k.small[k.n] = key
			k.n++
			return true
		}
		k.hashes = make(map[uint64]struct{}, 4*len(k.small))
		for _, have := range k.small {
			k.hashes[maphash.Bytes(seed, have)] = struct{}{}
		}
	}
	h := maphash.Bytes(seed, key)
	if _, dup := k.hashes[h]; dup {
		return false
	}
	k.hashes[h] = struct{}{}
	return true
}

// Bool reads true or false.
func (s *Scanner) Bool() (bool, error) {
	s.space()
	switch {
	case bytes.HasPrefix(s.b[s.pos:], []byte("true")):
		s.pos += 4
		return true, nil
	case bytes.HasPrefix(s.b[s.pos:], []byte("false")):
		s.pos += 5
		return false, nil
	}
	return false, s.Errorf("%s where boolean is wanted", s.Kind())
}

// Null reads null.
func (s *Scanner) Null() error {
	s.space()
	if !bytes.HasPrefix(s.b[s.pos:], []byte("null")) {
		return s.Errorf("%s where null is wanted", s.Kind())
	}
	s.pos += 4
	return nil
}

// Skip checks and drops one value of any kind.
func (s *Scanner) Skip() error {
	switch k := s.Kind(); k {
	case Null:
		return s.Null()
	case Bool:
		_, err := s.Bool()
		return err
	case Number:
		_, _, _, err := s.Number()
		return err
	case String:
		_, err := s.Bytes()
		return err
	case Array:
		return s.Array(func(int) error { return s.Skip() })
	case Object:
		return s.Object(func([]byte) error { return s.Skip() })
	default:
		return s.Errorf("value missing or malformed")
	}
}

// Raw checks one value and returns its text, a part of the message.
func (s *Scanner) Raw() ([]byte, error) {
	s.space()
	start := s.pos
	if err := s.Skip(); err != nil {
		return nil, err
	}
	return s.b[start:s.pos:s.pos], nil
}

// Span finds the end of one value by its brackets and quotes alone, and returns
// its text unchecked: for a value that a second Scanner is going to check anyway.
func (s *Scanner) Span() ([]byte, error) {
	switch s.Kind() {
	case Object, Array:
	default:
		return s.Raw()
	}
	start, depth := s.pos, 0
	for i := start; i < len(s.b); i++ {
		switch s.b[i] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				s.pos = i + 1
				return s.b[start:s.pos:s.pos], nil
			}
		case '"':
			for i++; i < len(s.b) && s.b[i] != '"'; i++ {
				if s.b[i] == '\\' {
					i++
				}
			}
		}
	}
	return nil, s.Errorf("text ends inside a value")
}

// End requires that nothing but white space is left.
func (s *Scanner) End() error {
	if s.space(); s.pos < len(s.b) {
		return s.Errorf("text after the value")
	}
	return nil
}
