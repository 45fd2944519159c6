// SPDX-License-Identifier: Apache-2.0

package ovsdb

import (
	"math/rand/v2"
	"testing"

	"nagare/ovsdb/internal/jsonscan"
)

func TestDiffRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	set := func() Value {
		var s Set
		for range r.IntN(6) {
			s = append(s, Int(r.IntN(8)))
		}
		return Canon(s)
	}
	pairs := func() Value {
		var m Map
		for range r.IntN(6) {
			m = append(m, Pair{String(rune('a' + r.IntN(5))), Int(r.IntN(3))})
		}
		return Canon(m)
	}
	for range 2000 {
		for _, make := range []func() Value{set, pairs} {
			a, b := make(), make()
			d := DiffValue(a, b)
			if got := ApplyDiff(a, d); !Equal(got, b) {
				t.Fatalf("%v and difference %v give %v, want %v", a, d, got, b)
			}
			if IsEmpty(d) != Equal(a, b) {
				t.Fatalf("difference of %v and %v is %v", a, b, d)
			}
		}
	}
}

func testTables(t testing.TB) (*Mirror, map[string]*mirrorTable) {
	schema, err := ParseSchema([]byte(`{"name":"db","tables":{"T":{"columns":{"s":{"type":"string"},"o":{"type":{"key":"integer","min":0}},
		"set":{"type":{"key":"integer","min":0,"max":"unlimited"}},"map":{"type":{"key":"string","value":"string","min":0,"max":"unlimited"}}}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	m := NewMirror("db", Tables{"T": nil})
	tables := make(map[string]*mirrorTable)
	for name, c := range m.layout(schema) {
		tables[name] = &mirrorTable{columns: c, rows: make(map[UUID]*Row)}
	}
	for _, u := range []UUID{u1, {1}} {
		tables["T"].rows[u] = tables["T"].newRow([]Value{Map{{String("k"), String("v")}}, Int(1), String("x"), Set{Int(1), Int(2)}})
	}
	return m, tables
}

// FuzzUpdate: no panic; accepted changes refer to rows that are or come; the content
// is untouched until they are applied.
func FuzzUpdate(f *testing.F) {
	row := `{"T":{"` + u1Text + `":`
	f.Add([]byte(row+`{"modify":{"set":["set",[2,3]],"map":["map",[["k","w"],["l","m"]]],"o":["set",[]],"s":"y"}}}}`), 2)
	f.Add([]byte(row+`{"delete":null}}}`), 3)
	f.Add([]byte(row+`{"old":{"s":"x"},"new":{"s":"y","set":["set",[]]}}}}`), 1)
	f.Add([]byte(`{"T":{"00000000-0000-0000-0000-000000000009":{"insert":{"s":"new","unknown":["map",[]]}}}}`), 2)
	f.Fuzz(func(t *testing.T, text []byte, version int) {
		m, tables := testTables(t)
		version = 1 + int(uint(version)%3)
		before := tables["T"].rows[u1]
		changes, err := m.scanUpdates(jsonscan.New(text, maxDepth), tables, version)
		if tables["T"].rows[u1] != before || before.String("s") != "x" || len(tables["T"].rows) != 2 {
			t.Fatal("content changed")
		}
		if err != nil {
			return
		}
		for _, c := range changes {
			if c.Before == nil && c.After == nil || c.Table != "T" {
				t.Fatalf("change %+v", c)
			}
			if c.After == nil {
				continue
			}
			for _, v := range c.After.values {
				out, err := AppendValue(nil, v)
				if err != nil {
					t.Fatal(err)
				}
				if again, err := ParseValue(out); err != nil || !Equal(again, v) {
					t.Fatalf("value %s is not canonical", out)
				}
			}
		}
	})
}

func FuzzSchema(f *testing.F) {
	f.Add([]byte(`{"name":"db","version":"1.0.0","tables":{"T":{"columns":{"s":{"type":{"key":{"type":"string","enum":["set",["a","b"]]},"min":0,"max":"unlimited"},"ephemeral":true,"mutable":false},
		"r":{"type":{"key":{"type":"uuid","refTable":"T","refType":"weak"}}},"i":{"type":{"key":{"type":"integer","minInteger":1,"maxInteger":5},"value":"real"}}},"indexes":[["s","i"]],"isRoot":true,"maxRows":3}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := scanSchema(jsonscan.New(text, maxDepth))
		if err != nil {
			return
		}
		for _, table := range s.Tables {
			for _, c := range table.Columns {
				c.Default()
			}
		}
		out := s.AppendJSON(nil)
		again, err := scanSchema(jsonscan.New(out, maxDepth))
		if err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if string(again.AppendJSON(nil)) != string(out) {
			t.Fatalf("%s and %s", out, again.AppendJSON(nil))
		}
	})
}
