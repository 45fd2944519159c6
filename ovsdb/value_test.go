// SPDX-License-Identifier: Apache-2.0

package ovsdb

import (
	"errors"
	"math"
	"strings"
	"testing"
)

var u1 = UUID{0x43, 0xcb, 0xe7, 0x9e, 0x8e, 0x51, 0x4a, 0x5a, 0x86, 0x38, 0x03, 0xdf, 0x22, 0x4a, 0xd7, 0x77}

const u1Text = "43cbe79e-8e51-4a5a-8638-03df224ad777"

func TestValuesOnTheWire(t *testing.T) {
	for _, c := range []struct {
		text string
		want Value
		out  string // "" = same as text
	}{
		{`5`, Int(5), ""},
		{`-9223372036854775808`, Int(math.MinInt64), ""},
		{`0.5`, Real(0.5), ""},
		{`true`, Bool(true), ""},
		{`"br-int"`, String("br-int"), ""},
		{`["uuid","` + u1Text + `"]`, u1, ""},
		{`["uuid","` + strings.ToUpper(u1Text) + `"]`, u1, `["uuid","` + u1Text + `"]`},
		{`["named-uuid","row1"]`, Named("row1"), ""},
		{`["set",[]]`, Set(nil), ""},
		{`["map",[]]`, Set(nil), `["set",[]]`},
		{`["set",["one"]]`, String("one"), `"one"`},
		{`["set",[3,1,2]]`, Set{Int(1), Int(2), Int(3)}, `["set",[1,2,3]]`},
		{`["set",[["uuid","` + u1Text + `"],["named-uuid","x"]]]`, Set{u1, Named("x")}, ""},
		{`["map",[["b","2"],["a","1"]]]`, Map{{String("a"), String("1")}, {String("b"), String("2")}}, `["map",[["a","1"],["b","2"]]]`},
		{`["map",[[0,["uuid","` + u1Text + `"]]]]`, Map{{Int(0), u1}}, ""},
	} {
		got, err := ParseValue([]byte(c.text))
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if !Equal(got, c.want) {
			t.Errorf("%s: read %#v", c.text, got)
		}
		out, err := AppendValue(nil, got)
		want := c.out
		if want == "" {
			want = c.text
		}
		if err != nil || string(out) != want {
			t.Errorf("%s: written %s, %v", c.text, out, err)
		}
	}
}

func TestBadValues(t *testing.T) {
	for _, text := range []string{
		`null`, `{}`, `[]`, `["set"]`, `["set",[],1]`, `["set",{}]`, `["set",[["set",[]]]]`, `["set",[1,1]]`, `["set",[null]]`,
		`["map",[["a"]]]`, `["map",[["a","b","c"]]]`, `["map",[["a","1"],["a","2"]]]`, `["map",["a"]]`, `["bag",[]]`,
		`["uuid","x"]`, `["uuid","43cbe79e-8e51-4a5a-8638-03df224ad77g"]`, `["uuid",5]`, `["uuid"]`, `[5,5]`, `1 2`,
	} {
		v, err := ParseValue([]byte(text))
		var syntax *SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("%s: read %#v, %v", text, v, err)
		}
	}
	for _, v := range []Value{String("a\xff"), String("a\x00b"), Real(math.NaN()), Real(math.Inf(1)), Set{nil}, Map{{String("a"), nil}}, Named("\xff")} {
		if out, err := AppendValue(nil, v); err == nil {
			t.Errorf("%#v written as %s", v, out)
		}
	}
}

func TestEqualIgnoresForm(t *testing.T) {
	for _, c := range []struct {
		a, b Value
		want bool
	}{
		{nil, Set{}, true}, {Map{}, Set{}, true}, {Int(1), Set{Int(1)}, true}, {Set{Int(1)}, Int(1), true},
		{Int(1), Real(1), true}, {Int(0), Bool(false), false}, {Int(0), nil, false}, {String(""), nil, false},
		{Set{Int(1), Int(2)}, Set{Int(1)}, false}, {Map{{Int(1), Int(2)}}, Map{{Int(1), Int(3)}}, false},
		{Map{{Int(1), Int(2)}}, Set{Int(1)}, false},
	} {
		if got := Equal(c.a, c.b); got != c.want {
			t.Errorf("Equal(%#v, %#v) = %v", c.a, c.b, got)
		}
	}
}

func TestRowAccess(t *testing.T) {
	r, err := ParseRow([]byte(`{"name":"tap1","ofport":["set",[]],"mtu":1500,"external_ids":["map",[["iface-id","x"]]],
		"ports":["uuid","` + u1Text + `"],"up":true,"trunks":["set",[5,3]],"load":2}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := r.String("name"); got != "tap1" {
		t.Errorf("name %q", got)
	}
	if n, ok := r.Int("ofport"); ok {
		t.Errorf("ofport %d", n)
	}
	if n, ok := r.Int("mtu"); !ok || n != 1500 {
		t.Errorf("mtu %d %v", n, ok)
	}
	if _, ok := r.Int("no such column"); ok || r.Has("ofport") || !r.Has("mtu") {
		t.Error("absent column has a value, or a present one none")
	}
	if v, ok := r.Map("external_ids").Get("iface-id"); !ok || v != "x" {
		t.Errorf("iface-id %q %v", v, ok)
	}
	if got := r.UUIDs("ports"); len(got) != 1 || got[0] != u1 {
		t.Errorf("ports %v", got)
	}
	if up, ok := r.Bool("up"); !up || !ok {
		t.Error("up")
	}
	if got := r.Set("trunks"); len(got) != 2 || got[0] != Int(3) {
		t.Errorf("trunks %v", got)
	}
	if f, ok := r.Real("load"); !ok || f != 2 {
		t.Errorf("load %v", f)
	}
	var none *Row
	if none.String("name") != "" || none.Has("name") || none.Columns() != nil {
		t.Error("nil row has something")
	}
	o := NewRow(Fields{"name": String("tap1"), "mtu": Int(1500), "external_ids": StringMap(map[string]string{"iface-id": "x"}),
		"ports": Set{u1}, "up": Bool(true), "trunks": Set{Int(5), Int(3)}, "load": Real(2), "new": Set{}})
	if !r.Equal(o) || !o.Equal(r) || len(r.Changed(o)) != 0 {
		t.Errorf("equal rows differ in %v", r.Changed(o))
	}
	o = NewRow(Fields{"name": String("tap2"), "extra": Int(1)})
	if got := strings.Join(NewRow(Fields{"name": String("tap1"), "mtu": Int(1)}).Changed(o), " "); got != "mtu name extra" {
		t.Errorf("changed: %s", got)
	}
}

// FuzzParseRow: whatever is accepted survives writing and reading again.
func FuzzParseRow(f *testing.F) {
	f.Add([]byte(`{"name":"a","set":["set",[1,2]],"map":["map",[["k","v"]]],"u":["uuid","` + u1Text + `"],"n":["named-uuid","x"],"r":1.5,"b":false}`))
	f.Add([]byte(`{"s":["set",["\u00e9","\n"]]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := ParseRow(text)
		if err != nil {
			return
		}
		out, err := appendFields(nil, r.Fields())
		if err != nil {
			t.Fatalf("%s read but not written: %v", text, err)
		}
		again, err := ParseRow(out)
		if err != nil || !again.Equal(r) {
			t.Fatalf("%s became %s, %v", text, out, err)
		}
	})
}
