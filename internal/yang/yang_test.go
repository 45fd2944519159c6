// SPDX-License-Identifier: Apache-2.0

package yang

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"nagare/internal/api/jsonbody"
)

func house(t testing.TB) *Schema {
	t.Helper()
	s, err := Load(os.DirFS("testdata"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// readJSON makes an instance of a root from text.
func readJSON(t testing.TB, s *Schema, root, text string, form Form) (*Data, error) {
	t.Helper()
	n, ok := s.Root(root)
	if !ok {
		t.Fatalf("no %s", root)
	}
	v, err := jsonbody.Decode(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	d := &Data{Node: n}
	return d, s.ReadJSON(d, v, form)
}

func TestSchema(t *testing.T) {
	s := house(t)
	h, ok := s.Root("house:house")
	if !ok || len(s.Roots) != 2 || len(s.RPCs) != 2 {
		t.Fatalf("roots %v, rpcs %v", s.Roots, s.RPCs)
	}
	if m, _ := s.Module("house"); m.Revision != "2026-01-02" || m.Namespace != "urn:test:house" || m.Prefix != "h" || !m.Implement || strings.Join(m.Imports, " ") != "base" {
		t.Errorf("module %+v", m)
	}
	if _, ok := s.Root("house"); ok {
		t.Error("a name at the top without its module is found")
	}
	room, _ := h.Child("room")
	var names []string
	for _, c := range room.Children {
		names = append(names, c.Name)
	}
	if got := strings.Join(names, " "); got != "floor name door next phone size warm window" {
		t.Errorf("children of room: %s", got)
	}
	warm, _ := room.Child("warm")
	floor, _ := room.Child("floor")
	if warm.Config || !floor.Config || !floor.IsKey() || warm.IsKey() || !floor.Mandatory {
		t.Error("config or keys are wrong")
	}
	street, _ := s.Root("base:street")
	lamps, ok := street.Child("house:lamps")
	if !ok || lamps.Module.Name != "house" || lamps.Path() != "/base:street/house:lamps" {
		t.Errorf("augmented leaf: %+v", lamps)
	}
	if _, ok := street.Child("lamps"); !ok {
		t.Error("the only lamps there are is not found without a module")
	}
	if _, ok := street.child("lamps", false); ok {
		t.Error("RFC 7951 wants the module's name of what another module adds")
	}
	if r, ok := s.RPC("house:paint"); !ok || len(r.Input.Children) != 1 || len(r.Output.Children) != 1 {
		t.Errorf("rpc: %+v", r)
	}
}

// TestValues: what each type takes, as text and as JSON, and in which form it comes back.
func TestValues(t *testing.T) {
	s := house(t)
	h, _ := s.Root("house:house")
	for _, c := range []struct{ leaf, in, out string }{
		{"name", `"abc"`, `"abc"`}, {"name", `""`, ""}, {"name", `"123456789"`, ""}, {"name", `5`, ""}, {"name", `"日本語日本語日本"`, `"日本語日本語日本"`},
		{"medium", `"glass"`, `"house:glass"`}, {"medium", `"house:thin-glass"`, `"house:thin-glass"`}, {"medium", `"base:medium"`, ""}, {"medium", `"h:glass"`, ""}, {"medium", `"iron"`, ""},
		{"floors", `3`, `3`}, {"floors", `-2`, `-2`}, {"floors", `0`, ""}, {"floors", `10`, ""}, {"floors", `"3"`, ""}, {"floors", `1.5`, ""}, {"floors", `1e0`, ""},
		{"big", `"18446744073709551615"`, `"18446744073709551615"`}, {"big", `"18446744073709551616"`, ""}, {"big", `5`, ""}, {"big", `"0x1F"`, `"31"`}, {"big", `"017"`, `"15"`}, {"big", `"-1"`, ""}, {"big", `"+5"`, `"5"`}, {"big", `"1_0"`, ""},
		{"share", `"1.50"`, `"1.5"`}, {"share", `"100"`, `"100.0"`}, {"share", `"100.01"`, ""}, {"share", `"1.505"`, ""}, {"share", `".5"`, ""}, {"share", `"1."`, ""},
		{"sold", `[null]`, `[null]`}, {"sold", `null`, ""}, {"sold", `true`, ""},
		{"raw", `"AAEC"`, `"AAEC"`}, {"raw", `"AAECAwQF"`, ""}, {"raw", `"#"`, ""},
		{"state", `"old"`, `"old"`}, {"state", `"older"`, ""}, {"flags", `"dry warm"`, `"warm dry"`}, {"flags", `"dry dry"`, ""}, {"flags", `""`, `""`},
		{"any", `7`, `7`}, {"any", `"7"`, ""}, {"any", `"fa:16:3e:00:00:01"`, `"fa:16:3e:00:00:01"`}, {"any", `"glass"`, `"house:glass"`}, {"any", `"xxx"`, `"xxx"`}, {"any", `"y"`, ""},
		{"where", `"/house:house/name"`, `"/house:house/name"`}, {"where", `"house"`, ""}, {"where", `"/house/name"`, ""}, {"where", `"/nosuch:house"`, ""}, {"where", `"/house:house/room[name='a"`, ""}, {"where", `"/house:house/"`, ""},
		{"where", `"/house:house/house:room[house:floor='1'][ house:name = 'a/b[c'] /house:door"`, `"/house:house/room[floor='1'][name='a/b[c']/door"`}, {"where", `"/base:street/house:lamps"`, `"/base:street/house:lamps"`},
	} {
		v, err := jsonbody.Decode(strings.NewReader(`{"x":` + c.in + `}`))
		if err != nil {
			t.Fatal(err)
		}
		n, _ := h.Child(c.leaf)
		got, err := n.Type.FromJSON(v.(map[string]any)["x"], s.namesFor(n), false)
		if c.out == "" {
			if err == nil {
				t.Errorf("%s takes %s as %q", c.leaf, c.in, got)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s %s: %v", c.leaf, c.in, err)
			continue
		}
		if back := string(n.Type.AppendJSON(nil, got)); back != c.out {
			t.Errorf("%s: %s came back as %s, want %s", c.leaf, c.in, back, c.out)
		}
		if again, err := n.Type.Parse(got, s.ModuleNames); err != nil || again != got {
			t.Errorf("%s: the canonical %q is read as %q, %v", c.leaf, got, again, err)
		}
	}
	// The older dialect has numbers in strings, and the other way round.
	floors, _ := h.Child("floors")
	big, _ := h.Child("big")
	if v, err := floors.Type.FromJSON("3", s.namesFor(floors), true); err != nil || v != "3" {
		t.Errorf("lax: %q %v", v, err)
	}
	if v, err := big.Type.FromJSON(jsonNumber("5"), s.namesFor(big), true); err != nil || v != "5" {
		t.Errorf("lax: %q %v", v, err)
	}
}

const fine = `{"name":"a","where":"/base:street/neighbour[who='x']/house:lamps","medium":"thin-glass","cable":"c","meter":"m","any":"glass","sold":[null],"big":"5",
	"room":[{"floor":1,"name":"b","phone":"1","size":5,"window":[2,1],"door":{"colour":"red"}},{"floor":1,"name":"a","next":"b","door":{"colour":"red"}},{"floor":-1,"name":"c","door":{"lock":"l"}}]}`

// TestValidate: one change each makes fine data wrong.
func TestValidate(t *testing.T) {
	s := house(t)
	check := func(text string) error {
		d, err := readJSON(t, s, "house:house", text, RFC7951)
		if err == nil {
			err = s.Validate(d, true, func(*Data) (bool, error) { return false, nil })
		}
		return err
	}
	if err := check(fine); err != nil {
		t.Fatalf("fine data: %v", err)
	}
	for _, c := range []struct{ old, new, tag, words string }{
		{`"name":"a",`, `"nome":"a",`, TagUnknown, "no such node"},
		{`"name":"a",`, `"name":"a","house:name":"a",`, TagMalformed, "twice"},
		{`"meter":"m",`, ``, TagMissing, "heating"},
		{`"meter":"m",`, `"pipe":"m",`, TagMissing, "meter"},
		{`"meter":"m",`, `"meter":"m","oven":"o",`, TagConflict, "exclude"},
		{`"meter":"m",`, `"log":1,"pellet":2,`, TagConflict, "fuel"},
		{`"meter":"m",`, `"meter":"m","alarm":{},`, TagMissing, "code"},
		{`"thin-glass"`, `"copper"`, TagUnknown, "only when"},
		{`"floor":1,"name":"b",`, `"name":"b",`, TagMissing, "key floor"},
		{`"floor":1,"name":"b"`, `"floor":1,"name":"B"`, TagInvalid, "pattern"},
		{`"floor":1,"name":"a"`, `"floor":1,"name":"b"`, TagConflict, "twice"},
		{`"size":5`, `"size":3`, TagFailed, "larger than 3"},
		{`"next":"b"`, `"next":"x"`, TagMissing, "names no"},
		{`"next":"b"`, `"next":"c"`, TagFailed, "must hold"},
		{`"name":"a","next"`, `"name":"a","phone":"1","next"`, TagFailed, "phone"},
		{`"name":"a","next":"b"`, `"name":"a","next":"b","size":5`, TagFailed, "door/colour and size"},
		{`"door":{"colour":"red"}`, `"door":{"lock":"x"}`, TagMissing, "colour"},
		{`"window":[2,1]`, `"window":[2,1,3]`, TagInvalid, "may be 2"},
		{`"window":[2,1]`, `"window":[2,2]`, TagConflict, "twice"},
		{`"window":[2,1]`, `"window":2`, TagMalformed, "want a list"},
		{`"window":[2,1]`, `"warm":true`, TagInvalid, "operational"},
		{`"door":{"lock":"l"}`, `"door":{"lock":"l","colour":"red"}`, TagUnknown, "only when"},
		{`{"floor":-1`, `{"floor":2,"name":"x"},{"floor":3,"name":"x"},{"floor":-1`, TagInvalid, "may be 4"},
	} {
		text := strings.Replace(fine, c.old, c.new, 1)
		if text == fine {
			t.Fatalf("%s is not in the text", c.old)
		}
		err := check(text)
		var f *Fault
		if !errors.As(err, &f) || f.Tag != c.tag || !strings.Contains(f.Error(), c.words) {
			t.Errorf("%s: %v, want %s and %q", c.new, err, c.tag, c.words)
		}
	}
}

// TestRefer: a leafref that leads out of the data at hand is asked for, and one within is not.
func TestRefer(t *testing.T) {
	s := house(t)
	h, _ := s.Root("house:house")
	room, _ := h.Child("room")
	d := &Data{Node: room}
	d.Leaf("floor", "1").Leaf("name", "x").Leaf("next", "b").Put("door").Leaf("colour", "red")
	next, _ := room.Child("next")
	next.Musts = nil // it would need the rest, too
	for _, there := range []bool{true, false} {
		asked := ""
		err := s.Validate(d, true, func(leaf *Data) (bool, error) { asked = leaf.Value; return there, nil })
		if asked != "b" || (err == nil) != there {
			t.Errorf("asked for %q, answer %v: %v", asked, there, err)
		}
	}
}

// TestForms: JSON and XML give the same data, and what is written is read again.
func TestForms(t *testing.T) {
	s := house(t)
	d, err := readJSON(t, s, "house:house", fine, RFC7951)
	if err != nil {
		t.Fatal(err)
	}
	text := string(d.AppendJSON(nil))
	want := `{"any":"house:glass","big":"5","cable":"c","meter":"m","medium":"house:thin-glass","name":"a","room":[` +
		`{"floor":1,"name":"b","door":{"colour":"red"},"phone":"1","size":5,"window":[2,1]},{"floor":1,"name":"a","door":{"colour":"red"},"next":"b"},{"floor":-1,"name":"c","door":{"lock":"l"}}],"sold":[null],"where":"/base:street/neighbour[who='x']/house:lamps"}`
	if text != want {
		t.Errorf("JSON\n%s, want\n%s", text, want)
	}
	doc := string(d.AppendXML(nil, nil))
	back := &Data{Node: d.Node}
	if name, err := s.XMLName(strings.NewReader(doc)); err != nil || name != "house:house" {
		t.Errorf("%q %v", name, err)
	}
	if err := s.ReadXML(back, strings.NewReader(doc)); err != nil {
		t.Fatalf("%v\n%s", err, doc)
	}
	if again := string(back.AppendJSON(nil)); again != text {
		t.Errorf("through XML\n%s, want\n%s\n%s", again, text, doc)
	}
	if !strings.HasPrefix(doc, `<house xmlns="urn:test:house"><any xmlns:x="urn:test:house">x:glass</any>`) {
		t.Errorf("XML: %s", doc)
	}
	st, _ := s.Root("base:street")
	street := &Data{Node: st}
	street.Leaf("house:lamps", "3").Leaf("name", "x<&y")
	if got := string(street.AppendJSON(nil)); got != `{"house:lamps":3,"name":"x<&y"}` {
		t.Error(got)
	}
	if got := string(street.AppendXML(nil, nil)); got != `<street xmlns="urn:test:base"><lamps xmlns="urn:test:house">3</lamps><name>x&lt;&amp;y</name></street>` {
		t.Error(got)
	}
}

func TestXMLRefused(t *testing.T) {
	s := house(t)
	h, _ := s.Root("house:house")
	const open = `<house xmlns="urn:test:house">`
	for doc, words := range map[string]string{
		``: "empty", `text`: "text", open: "unexpected EOF", open + `<name>a</nome></house>`: "line 1",
		open + `<name>a</name></house><x/>`:                                      "goes on",
		open + `<name>a</name><name>b</name></house>`:                            "twice",
		open + `<name xmlns="urn:test:base">a</name></house>`:                    "no such node",
		open + `tea</house>`:                                                     "text",
		`<!DOCTYPE house [<!ENTITY e "x">]>` + open + `<name>&e;</name></house>`: "document types",
		open + `<name>&e;</name></house>`:                                        "line 1",
		`<?php x?>` + open + `</house>`:                                          "processing",
		open + `<medium xmlns:p="urn:none">p:glass</medium></house>`:             "no module",
		open + `<medium>q:glass</medium></house>`:                                "no module",
		open + strings.Repeat(`<room><door>`, 40) + `</house>`:                   "no such node",
		open + `<floors>many</floors></house>`:                                   "many",
	} {
		err := s.ReadXML(&Data{Node: h}, strings.NewReader(doc))
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, want %q", doc, err, words)
		}
	}
	ok := `<?xml version="1.0" encoding="UTF-8"?><!-- c --> <h:house xmlns:h="urn:test:house"> <h:medium>h:glass</h:medium><name>x</name></h:house> `
	d := &Data{Node: h}
	if err := s.ReadXML(d, strings.NewReader(ok)); err != nil || string(d.AppendJSON(nil)) != `{"medium":"house:glass","name":"x"}` {
		t.Errorf("%v: %s", err, d.AppendJSON(nil))
	}
}

// TestLoadRefuses: what is not understood is an error when the module is loaded, never a constraint that nobody holds.
func TestLoadRefuses(t *testing.T) {
	for body, words := range map[string]string{
		`anyxml a;`: "not understood", `anydata a;`: "not understood",
		`container a { action b; }`:                                                 "not understood",
		`feature f;`:                                                                "features",
		`list a { leaf b { type string; } }`:                                        "no key",
		`list a { key c; leaf b { type string; } }`:                                 "none of its leaves",
		`list a { key b; unique c; leaf b { type string; } }`:                       "unique names c",
		`leaf a { type leafref { path "../nowhere"; } }`:                            "nowhere",
		`leaf a { type leafref { path "/t:b"; } } container b;`:                     "no leaf",
		`leaf a { type int8 { range "1..5"; } default 7; }`:                         "default",
		`container a { leaf b { type string; must "count(../*) > 1"; } }`:           "not understood",
		`container a { leaf b { type string; must "../c = 1"; } }`:                  "nowhere",
		`container a { leaf b { type string; must "sum(../b) = 1"; } }`:             "function sum",
		`container a { leaf b { type string; must "x:c = 1"; } }`:                   "prefix",
		`container a { leaf b { type string; must "../b["; } }`:                     "too early",
		`container a { leaf b { type string; must "../b[1]"; } }`:                   "position",
		`container a { leaf b { type string; must "child::c"; } }`:                  "axes",
		`container a { leaf b { type string; when "//b"; } }`:                       "not understood",
		`container a { choice c { case d { when "1"; leaf e { type string; } } } }`: "when on a case",
		`container a { choice c { default d; leaf d { type string; } } }`:           "default case",
		`leaf a { type string { pattern "\\p{IsGreek}"; } }`:                        "pattern",
		`leaf a { type nonsense; }`:                                                 "nonsense",
	} {
		text := "module t { yang-version 1.1; namespace 'urn:t'; prefix t; " + body + " }"
		_, err := Load(fstest.MapFS{"t.yang": {Data: []byte(text)}})
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, want %q", body, err, words)
		}
	}
	if _, err := Load(fstest.MapFS{"a.yang": {Data: []byte(`module a { namespace 'urn:t'; prefix t; }`)}, "b.yang": {Data: []byte(`module b { namespace 'urn:t'; prefix t; }`)}}); err == nil {
		t.Error("two modules of one namespace are loaded")
	}
	var none fs.FS = fstest.MapFS{}
	if s, err := Load(none); err != nil || len(s.Roots) != 0 {
		t.Errorf("nothing: %v", err)
	}
}
