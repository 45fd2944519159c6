// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"nagare/internal/store"
)

// testReopen: records, infos, joins and the revision are there again, and revisions go on from there.
func testReopen(t *testing.T, place func() store.Options) {
	w := newWorld()
	o := place()
	at := time.Date(2026, 7, 1, 12, 0, 0, 0, time.FixedZone("x", 3600))
	o.Now = func() time.Time { return at }
	st := open(t, w, o)
	term := st.Term()
	commit(t, st, func(tx *store.Txn) {
		w.nets.Put(tx, "1", Net{ID: "1", Kind: "tunnel"})
		for i := range 300 {
			id := fmt.Sprint("p", i)
			w.ports.Put(tx, id, Port{ID: id, Net: "1", Host: fmt.Sprint("h", i%3), Tags: []string{"a<b"}})
		}
	})
	commit(t, st, func(tx *store.Txn) { w.ports.Delete(tx, "p7") })
	tables, joins, _ := dump(w, st.Snapshot())
	st.Close()

	st = open(t, w, place())
	if st.Term() <= term {
		t.Errorf("term %d after %d", st.Term(), term)
	}
	tablesNow, joinsNow, scratch := dump(w, st.Snapshot())
	if !maps.Equal(tables, tablesNow) {
		t.Error("records or infos differ")
	}
	if !maps.Equal(joins, joinsNow) || !maps.Equal(joins, scratch) {
		t.Errorf("joins %v, were %v", joinsNow, joins)
	}
	info, ok := w.ports.Info(st.Snapshot(), "p8")
	if !ok || info.Created != 1 || info.Plane.User != "tester" || info.Plane.Request != "req-1" || !info.Plane.Time.Equal(at) {
		t.Errorf("info of p8: %+v", info)
	}
	if r := commit(t, st, func(tx *store.Txn) { w.ports.Delete(tx, "p8") }); r.Revision != 3 {
		t.Errorf("next revision %d, want 3", r.Revision)
	}
}

// futurePort is the port of a program newer than this one.
type futurePort struct {
	ID      string `json:"id"`
	Net     string `json:"net"`
	Mirror  string `json:"mirror"`
	Shaping struct {
		Rate int `json:"rate"`
	} `json:"shaping"`
}

// testUnknownFields: what a newer program stored survives a change by an older one.
func testUnknownFields(t *testing.T, place func() store.Options) {
	newer := store.NewSchema()
	future := store.Declare[string, futurePort](newer, "ports", store.Intent)
	st, err := store.Open(t.Context(), newer, place())
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	want := futurePort{ID: "p", Net: "1", Mirror: "m"}
	want.Shaping.Rate = 7
	commit(t, st, func(tx *store.Txn) { future.Put(tx, "p", want) })
	st.Close()

	w := newWorld()
	st = open(t, w, place())
	for i := range 2 { // the second change goes through a record that was read, the third through one just written
		commit(t, st, func(tx *store.Txn) {
			p, _ := w.ports.Get(tx, "p")
			p.Net, p.Host = fmt.Sprint(i+2), "h"
			w.ports.Put(tx, "p", p)
		})
	}
	st.Close()

	st, err = store.Open(t.Context(), newer, place())
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	want.Net = "3"
	if got, _ := future.Get(st.Snapshot(), "p"); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	st.Close()
}

// testLog: the log tells what each commit changed, and a record's history follows it back to its creation.
func testLog(t *testing.T, place func() store.Options) {
	w := newWorld()
	st := open(t, w, place())
	for i := range 4 {
		commit(t, st, func(tx *store.Txn) { w.nets.Put(tx, fmt.Sprint("other", i), Net{}) })
		commit(t, st, func(tx *store.Txn) { w.nets.Put(tx, "n", Net{ID: "n", Name: fmt.Sprint("name", i)}) })
	}
	commit(t, st, func(tx *store.Txn) { w.links.Put(tx, "l", Link{}) }) // leaves no entry
	rs, err := st.LogTail(t.Context(), 3, 2)
	if err != nil || len(rs) != 2 || rs[0].Revision != 3 || rs[1].Revision != 4 || rs[0].User != "tester" || rs[0].Action != "test" {
		t.Fatalf("tail: %+v, %v", rs, err)
	}
	c := rs[1].Keys[0]
	if c.Table != "nets" || c.Key != "n" || c.Previous != 2 || !strings.Contains(string(c.Before), "name0") || !strings.Contains(string(c.After), "name1") {
		t.Errorf("change %+v", c)
	}
	revisions := func(key string, limit int) (out []store.Revision) {
		rs, err := st.History(t.Context(), "nets", key, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rs {
			if len(r.Keys) != 1 || r.Keys[0].Key != key {
				t.Errorf("history of %s holds %+v", key, r.Keys)
			}
			out = append(out, r.Revision)
		}
		return out
	}
	expect := func(key string, limit int, want ...store.Revision) {
		t.Helper()
		if got := revisions(key, limit); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("history of %s: %v, want %v", key, got, want)
		}
	}
	expect("n", 10, 8, 6, 4, 2)
	expect("n", 2, 8, 6)
	expect("nobody", 10)
	commit(t, st, func(tx *store.Txn) { w.nets.Delete(tx, "n") })
	for i := range 300 { // more than a page of the backward search
		commit(t, st, func(tx *store.Txn) { w.ports.Put(tx, "p", Port{Name: fmt.Sprint(i)}) })
	}
	expect("n", 10, 9, 8, 6, 4, 2)
	if _, err := st.History(t.Context(), "links", "l", 1); err == nil {
		t.Error("a volatile table has a history")
	}
	if _, err := st.History(t.Context(), "nonsense", "l", 1); err == nil {
		t.Error("an unknown table has a history")
	}
}

// testTrim: the log keeps to its bounds of bytes and of age, whatever is written; the records are not touched.
func testTrim(t *testing.T, place func() store.Options) {
	w := newWorld()
	o := place()
	now := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	o.Now = func() time.Time { return now }
	o.LogBytes, o.LogAge = 20000, time.Hour
	st := open(t, w, o)
	write := func(n int) {
		for i := range n {
			commit(t, st, func(tx *store.Txn) { w.ports.Put(tx, "p", Port{Name: fmt.Sprint(now.Unix(), i)}) })
		}
	}
	entries := func() []store.LogRecord {
		rs, err := st.LogTail(t.Context(), 0, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		return rs
	}
	write(400)
	rs := entries()
	size := int(st.Stats().LogOffset) / 400 * len(rs)
	if size > 20000*5/4 || size < 20000/2 {
		t.Errorf("%d entries of about %d bytes are kept, bound 20000", len(rs), size)
	}
	if last := rs[len(rs)-1].Revision; last != 400 || rs[0].Revision != 401-store.Revision(len(rs)) {
		t.Errorf("entries %d to %d are kept, want those up to 400", rs[0].Revision, last)
	}
	now = now.Add(2 * time.Hour)
	write(2)
	if rs := entries(); len(rs) > 2 {
		t.Errorf("%d entries are kept after two hours, want the 2 new ones", len(rs))
	}
	if hist, err := st.History(t.Context(), "ports", "p", 100); err != nil || len(hist) > 2 {
		t.Errorf("history: %d entries, %v", len(hist), err)
	}
	st.Close()
	st = open(t, w, place())
	if p, _ := w.ports.Get(st.Snapshot(), "p"); p.Name != fmt.Sprint(now.Unix(), 1) || st.Snapshot().Revision() != 402 {
		t.Errorf("after a restart: %+v at %d", p, st.Snapshot().Revision())
	}
}
