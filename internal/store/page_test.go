// SPDX-License-Identifier: Apache-2.0

package store

import (
	"iter"
	"slices"
	"strings"
	"testing"
)

// TestPages: tables and indices are read from a key on, both ways, in a snapshot, in a transaction with its own writes, and tracked.
func TestPages(t *testing.T) {
	type fruit struct{ Name, Colour string }
	schema := NewSchema()
	fruits := Declare[string, fruit](schema, "fruits", Intent)
	byColour := DeclareIndex(schema, fruits, "colour", func(f fruit) []string { return []string{f.Colour} })
	put := func(tx *Txn, names ...string) {
		for _, n := range names {
			name, colour, _ := strings.Cut(n, "/")
			fruits.Put(tx, name, fruit{name, colour})
		}
	}
	st := New(schema, nil)
	if _, err := st.Commit(t.Context(), Origin{}, func(tx *Txn) error {
		put(tx, "a/red", "b/green", "c/red", "d/red", "e/green", "f/re", "g/redd")
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	names := func(seq iter.Seq[fruit]) (out string) {
		for f := range seq {
			out += f.Name
		}
		return out
	}
	values := func(seq iter.Seq2[string, fruit]) (out string) {
		for k := range seq {
			out += k
		}
		return out
	}
	check := func(r Reader, wants ...string) {
		t.Helper()
		for i, got := range []string{names(byColour.From(r, "red", "")), names(byColour.From(r, "red", "c")), names(byColour.From(r, "red", "e")), names(byColour.Before(r, "red", "")),
			names(byColour.Before(r, "red", "d")), names(byColour.Before(r, "red", "a")), names(byColour.Before(r, "none", "")), values(fruits.From(r, "e")), values(fruits.Before(r, "")), values(fruits.Before(r, "c"))} {
			if got != wants[i] {
				t.Errorf("%d: %q, want %q", i, got, wants[i])
			}
		}
	}
	check(st.Snapshot(), "acd", "cd", "", "dca", "ca", "", "", "efg", "gfedcba", "ba")
	if _, err := st.Commit(t.Context(), Origin{}, func(tx *Txn) error {
		check(tx, "acd", "cd", "", "dca", "ca", "", "", "efg", "gfedcba", "ba")
		put(tx, "h/red", "c/green")
		check(tx, "adh", "dh", "h", "hda", "a", "", "", "efgh", "hgfedcba", "ba")
		for f := range byColour.Before(tx, "red", "") { // writes while it iterates
			fruits.Delete(tx, f.Name)
		}
		check(tx, "", "", "", "", "", "", "", "efg", "gfecb", "b")
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	tr := st.Snapshot().Track()
	for range byColour.Before(tr, "green", "") {
		break
	}
	var deps []Dep
	tr.Reads(func(d Dep) { deps = append(deps, d) })
	if want := []Dep{{byColour.k.id, "green"}}; !slices.Equal(deps, want) {
		t.Errorf("read %v, want %v", deps, want)
	}
}
