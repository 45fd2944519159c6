// SPDX-License-Identifier: Apache-2.0

package jsonbody

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestDecode(t *testing.T) {
	v, err := Decode(strings.NewReader(`{"a":null,"b":[1,"x",true],"c":{}}`))
	want := map[string]any{"a": nil, "b": []any{json.Number("1"), "x", true}, "c": map[string]any{}}
	if err != nil || !reflect.DeepEqual(v, want) {
		t.Fatalf("got %#v, %v", v, err)
	}
	var dup *DuplicateKeyError
	if _, err = Decode(strings.NewReader(`{"a":1,"b":{"x":1,"x":2}}`)); !errors.As(err, &dup) || dup.Key != "x" {
		t.Errorf("duplicate key: %v", err)
	}
	for in, want := range map[string]error{
		"":                        ErrEmpty,
		`{} {}`:                   ErrTrailing,
		strings.Repeat("[", 1000): ErrTooDeep,
		`"` + strings.Repeat("x", MaxBytes) + `"`: ErrTooLarge,
	} {
		if _, err := Decode(strings.NewReader(in)); !errors.Is(err, want) {
			t.Errorf("%.20q: got %v, want %v", in, err, want)
		}
	}
	for _, in := range []string{"{", `{"a"`, `{"a":}`, "nul", `[1,]`, `{"a":1,}`, "{} x", "\xff", `{1:2}`} {
		if v, err := Decode(strings.NewReader(in)); err == nil {
			t.Errorf("%q: decoded as %#v", in, v)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"port":{"name":"x","fixed_ips":[{"a":null}]}}`))
	f.Add([]byte(`[1e999,"\u0000",{}]`))
	f.Fuzz(func(t *testing.T, in []byte) {
		v, err := Decode(bytes.NewReader(in))
		if err != nil {
			return
		}
		out := Append(nil, v)
		again, err := Decode(bytes.NewReader(out))
		if err != nil || !reflect.DeepEqual(v, again) {
			t.Fatalf("%q became %q: %v", in, out, err)
		}
	})
}
