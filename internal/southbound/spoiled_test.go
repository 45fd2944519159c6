// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"testing"

	"nagare/internal/compile"
	"nagare/ovsdb"
)

// TestRowsSpoiledAsMade: a row of ours that somebody changed before the news of its making came is looked at again.
func TestRowsSpoiledAsMade(t *testing.T) {
	w := compile.Row{Bridge: "br-int", Name: "nagare-x", Type: "patch", Options: compile.Pairs("peer", "y")}
	appeared := func(name, peer string) ovsdb.Batch {
		return ovsdb.Batch{Changes: []ovsdb.Change{{Table: "Interface", After: ovsdb.NewRow(ovsdb.Fields{"name": ovsdb.String(name), "type": ovsdb.String("patch"),
			"mac": ovsdb.String(""), "options": ovsdb.StringMap(map[string]string{"peer": peer})})}}}
	}
	d := &dbSession{}
	for _, c := range []struct {
		what string
		make bool
		b    ovsdb.Batch
		want bool
	}{
		{"as it was made", true, appeared(w.Name, "y"), false},
		{"spoiled", true, appeared(w.Name, "nowhere"), true},
		{"seen before", false, appeared(w.Name, "nowhere"), false},
		{"somebody else's", true, appeared("tap1", "nowhere"), false},
	} {
		if c.make {
			d.making(w)
		}
		if got := d.rowsNews(c.b) != ""; got != c.want {
			t.Errorf("%s: news %v, want %v", c.what, got, c.want)
		}
	}
	d.unmade([]compile.Row{w})
	if d.rowsNews(appeared(w.Name, "nowhere")) != "" {
		t.Error("a row that was not made is ours")
	}
}
