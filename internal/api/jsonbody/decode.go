// SPDX-License-Identifier: Apache-2.0

// Package jsonbody reads and writes the JSON bodies of the HTTP interfaces.
//
// Reading is strict where encoding/json is lenient: a key that occurs twice, text after the value, a value nested too deep or a
// body beyond the limit is an error, and a null is kept apart from an absent key (the map holds nil). Numbers stay text
// (json.Number), so that no precision is lost before a validator has seen them. Writing appends to a buffer and allocates
// little beyond it.
//
// Invariant: Decode never panics and uses memory proportional to the limit. Callers: the packages below internal/api, internal/identity.
package jsonbody

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Limits of one body.
const (
	MaxBytes = 4 << 20
	MaxDepth = 32
)

// Errors of Decode; syntax errors are returned as encoding/json gives them, wrapped.
var (
	ErrEmpty    = errors.New("body is empty")
	ErrTooLarge = errors.New("body is too large")
	ErrTooDeep  = errors.New("body is nested too deep")
	ErrTrailing = errors.New("body continues after its JSON value")
)

// DuplicateKeyError names a key that an object holds twice.
type DuplicateKeyError struct{ Key string }

func (e *DuplicateKeyError) Error() string { return fmt.Sprintf("key %q occurs twice", e.Key) }

// Decode reads one JSON value and nothing after it: nil, bool, string, json.Number, []any or map[string]any.
func Decode(r io.Reader) (any, error) { return DecodeWithin(r, MaxBytes, MaxDepth) }

// DecodeWithin is Decode with other limits than the usual ones, for peers whose bodies are larger or deeper: bytes of the body,
// and levels of nesting. Its errors are the same.
func DecodeWithin(r io.Reader, bytes int64, depth int) (any, error) {
	lim := &io.LimitedReader{R: r, N: bytes + 1}
	d := json.NewDecoder(lim)
	d.UseNumber()
	v, err := value(d, depth)
	if err == nil {
		if _, more := d.Token(); more == nil {
			err = ErrTrailing
		} else if more != io.EOF {
			err = more
		}
	}
	switch {
	case lim.N <= 0:
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, bytes)
	case errors.Is(err, io.EOF) && lim.N == bytes+1:
		return nil, ErrEmpty
	case errors.Is(err, ErrTooDeep):
		return nil, fmt.Errorf("%w: more than %d levels", ErrTooDeep, depth)
	case err != nil:
		return nil, fmt.Errorf("body: %w", err)
	}
	return v, nil
}

// value reads a value that may be nested as many levels as said.
func value(d *json.Decoder, levels int) (any, error) {
	tok, err := d.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := tok.(json.Delim)
	if !ok {
		return tok, nil
	}
	if levels <= 0 {
		return nil, ErrTooDeep
	}
	if delim == '[' {
		list := []any{}
		for d.More() {
			v, err := value(d, levels-1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = d.Token()
		return list, err
	}
	obj := map[string]any{}
	for d.More() {
		tok, err := d.Token()
		if err != nil {
			return nil, err
		}
		key := tok.(string) // the decoder admits nothing else here
		if _, dup := obj[key]; dup {
			return nil, &DuplicateKeyError{key}
		}
		if obj[key], err = value(d, levels-1); err != nil {
			return nil, err
		}
	}
	_, err = d.Token()
	return obj, err
}

// Plain replaces the numbers in a decoded value by float64, so that the value stays the same when it is stored as JSON and
// read back. ok is false if a number is out of float64's range.
func Plain(v any) (out any, ok bool) {
	switch v := v.(type) {
	case json.Number:
		f, err := v.Float64()
		return f, err == nil
	case []any:
		l := make([]any, len(v))
		for i, e := range v {
			if l[i], ok = Plain(e); !ok {
				return nil, false
			}
		}
		return l, true
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			if m[k], ok = Plain(e); !ok {
				return nil, false
			}
		}
		return m, true
	}
	return v, true
}
