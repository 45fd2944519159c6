// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"nagare/internal/store"
)

// testWatch: a watch, however slow, sees every change exactly once: its steps applied to an empty copy give the store.
func testWatch(t *testing.T, place func() store.Options) {
	w := newWorld()
	st := open(t, w, place())
	watch := st.Watch()
	defer watch.Close()
	snap, ch, err := watch.Next(t.Context())
	if err != nil || !ch.All || snap != st.Snapshot() {
		t.Fatalf("first step: all %v, %v", ch.All, err)
	}
	const writers, each = 8, 30
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for j := range each {
				commit(t, st, func(tx *store.Txn) {
					id := fmt.Sprintf("%d-%d", i, j%7)
					if j%5 == 4 {
						w.ports.Delete(tx, id)
						return
					}
					w.ports.Put(tx, id, Port{ID: id, Name: fmt.Sprint(j)})
					w.links.Put(tx, id, Link{Port: fmt.Sprint(j)})
				})
			}
			if i == 0 {
				commit(t, st, func(tx *store.Txn) { w.nets.Put(tx, "last", Net{ID: "last"}) })
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	copied := map[string]any{}
	var rev store.Revision
	var seq uint64
	apply := func(snap *store.Snapshot, ch *store.Changes) {
		if snap.Revision() < rev || snap.Seq() <= seq {
			t.Errorf("step from revision %d seq %d to %d %d", rev, seq, snap.Revision(), snap.Seq())
		}
		rev, seq = snap.Revision(), snap.Seq()
		for _, r := range ch.Records {
			key := r.Table + "/" + r.Key
			if !reflect.DeepEqual(copied[key], r.Before) {
				t.Errorf("%s: before %v, the copy has %v", key, r.Before, copied[key])
			}
			if copied[key] = r.After; r.After == nil {
				delete(copied, key)
			}
		}
		here := map[string]any{}
		for k, v := range w.ports.All(snap) {
			here["ports/"+k] = v
		}
		for k, v := range w.links.All(snap) {
			here["links/"+k] = v
		}
		for k, v := range w.nets.All(snap) {
			here["nets/"+k] = v
		}
		if !reflect.DeepEqual(here, copied) {
			t.Errorf("at seq %d: the copy differs from the snapshot", seq)
		}
	}
	for {
		select {
		case <-watch.C():
			if snap, ch, ok := watch.Take(); ok {
				apply(snap, ch)
			}
			continue
		case <-done:
		}
		break
	}
	if snap, ch, ok := watch.Take(); ok {
		apply(snap, ch)
	}
	if seq != st.Snapshot().Seq() {
		t.Errorf("the watch ended at %d, the store at %d", seq, st.Snapshot().Seq())
	}
}

// testRename: a change outside the data plane touches no dependents, and keeps the last data-plane commit.
func testRename(t *testing.T, place func() store.Options) {
	w := newWorld()
	st := open(t, w, place())
	commit(t, st, func(tx *store.Txn) {
		w.nets.Put(tx, "n", Net{ID: "n", Name: "old", Kind: "tunnel"})
		w.ports.Put(tx, "p", Port{ID: "p", Net: "n", Host: "h"})
	})
	tr := st.Snapshot().Track()
	w.nets.Get(tr, "n")
	w.ports.Get(tr, "p")
	for range w.byNet.By(tr, "n") {
	}
	for range w.hosts.Members(tr, "n") {
	}
	watch := st.Watch()
	defer watch.Close()
	watch.Take()
	commit(t, st, func(tx *store.Txn) {
		w.nets.Put(tx, "n", Net{ID: "n", Name: "new", Kind: "tunnel"})
		w.ports.Put(tx, "p", Port{ID: "p", Net: "n", Host: "h", Tags: []string{"t"}})
	})
	_, ch, ok := watch.Take()
	if !ok || len(ch.Records) != 2 || ch.Records[0].PlaneChanged || len(ch.Members) != 0 {
		t.Fatalf("changes %+v", ch)
	}
	tr.Reads(func(d store.Dep) {
		if _, hit := ch.Deps[d]; hit {
			t.Errorf("a new name touched %v", d)
		}
	})
	info, _ := w.nets.Info(st.Snapshot(), "n")
	if info.Created != 1 || info.Modified != 2 || info.Plane.Revision != 1 {
		t.Errorf("info %+v, want created 1, modified 2, plane 1", info)
	}
}

// testTracked: whenever the answer of a query changes, the commit touched one of its reads.
func testTracked(t *testing.T, place func() store.Options) {
	w := newWorld()
	st := open(t, w, place())
	queries := map[string]func(store.Reader) string{}
	for _, id := range []string{"1", "2", "3"} {
		queries["net kind "+id] = func(r store.Reader) string { n, ok := w.nets.Get(r, id); return fmt.Sprint(n.Kind, ok) }
		queries["port host "+id] = func(r store.Reader) string { p, ok := w.ports.Get(r, id); return fmt.Sprint(p.Host, p.Net, ok) }
		queries["ports of "+id] = func(r store.Reader) (s string) {
			for p := range w.byNet.By(r, id) {
				s += p.ID + p.Host + " "
			}
			return s
		}
		queries["hosts of "+id] = func(r store.Reader) string { return strings.Join(slices.Collect(w.hosts.Members(r, id)), " ") }
		queries["host h1 on "+id] = func(r store.Reader) string { return fmt.Sprint(w.hosts.Has(r, id, "h1")) }
		queries["link "+id] = func(r store.Reader) string { l, ok := w.links.Get(r, id); return fmt.Sprint(l, ok) }
		queries["by name "+id] = func(r store.Reader) string {
			n, ok := w.byName.First(r, "name"+id)
			return fmt.Sprint(n.ID, n.Kind, ok)
		}
	}
	queries["all nets"] = func(r store.Reader) (s string) {
		for k, n := range w.nets.All(r) {
			s += k + n.Kind
		}
		return s
	}
	queries["ports from 2"] = func(r store.Reader) (s string) {
		for k := range w.ports.From(r, "2") {
			s += k
		}
		return s
	}
	queries["number of ports"] = func(r store.Reader) string { return fmt.Sprint(w.ports.Len(r)) }
	watch := st.Watch()
	defer watch.Close()
	rapid.Check(t, func(rt *rapid.T) {
		wipe(t, st, w)
		watch.Take()
		for range rapid.IntRange(1, 10).Draw(rt, "commits") {
			snap := st.Snapshot()
			answers, reads := map[string]string{}, map[string]map[store.Dep]struct{}{}
			tr := snap.Track()
			for q, f := range queries {
				tr.Reset()
				answers[q] = f(tr)
				reads[q] = map[store.Dep]struct{}{}
				tr.Reads(func(d store.Dep) { reads[q][d] = struct{}{} })
			}
			commit(t, st, func(tx *store.Txn) { randomWrites(rt, w, tx) })
			_, ch, ok := watch.Take()
			for q, f := range queries {
				touched := false
				if ok {
					for d := range reads[q] {
						if _, hit := ch.Deps[d]; hit {
							touched = true
						}
					}
				}
				if now := f(st.Snapshot()); now != answers[q] && !touched {
					rt.Fatalf("%s: %q became %q, untouched", q, answers[q], now)
				}
			}
		}
	})
}

func wipe(t testing.TB, st *store.Store, w *world) {
	commit(t, st, func(tx *store.Txn) {
		for k := range w.nets.All(tx) {
			w.nets.Delete(tx, k)
		}
		for k := range w.ports.All(tx) {
			w.ports.Delete(tx, k)
		}
		for k := range w.links.All(tx) {
			w.links.Delete(tx, k)
		}
	})
}

func randomWrites(rt *rapid.T, w *world, tx *store.Txn) {
	id := rapid.SampledFrom([]string{"1", "2", "3", "4"})
	for range rapid.IntRange(1, 5).Draw(rt, "writes") {
		k := id.Draw(rt, "id")
		switch rapid.SampledFrom([]string{"net", "port", "port", "port", "link", "drop net", "drop port", "drop link"}).Draw(rt, "write") {
		case "net":
			w.nets.Put(tx, k, Net{ID: k, Name: "name" + id.Draw(rt, "name"), Kind: rapid.SampledFrom([]string{"tunnel", "flat"}).Draw(rt, "kind")})
		case "port":
			w.ports.Put(tx, k, Port{ID: k, Net: id.Draw(rt, "net"), Host: rapid.SampledFrom([]string{"", "h1", "h2"}).Draw(rt, "host")})
		case "link":
			w.links.Put(tx, k, Link{Port: id.Draw(rt, "port"), Up: rapid.Bool().Draw(rt, "up")})
		case "drop net":
			w.nets.Delete(tx, k)
		case "drop port":
			w.ports.Delete(tx, k)
		case "drop link":
			w.links.Delete(tx, k)
		}
	}
}

// dump gives everything that a state shows, computed from the tables alone where it can be.
func dump(w *world, r store.Reader) (tables, joins, fromScratch map[string]string) {
	tables, joins, fromScratch = map[string]string{}, map[string]string{}, map[string]string{}
	counts := map[[2]string]int{}
	for k, n := range w.nets.All(r) {
		info, _ := w.nets.Info(r, k)
		info.Seq = 0
		tables["nets/"+k] = fmt.Sprintf("%+v %+v", n, info)
	}
	for k, p := range w.ports.All(r) {
		info, _ := w.ports.Info(r, k)
		info.Seq = 0
		tables["ports/"+k] = fmt.Sprintf("%+v %+v", p, info)
		fromScratch["byNet "+p.Net] += k + " "
		if n, ok := w.nets.Get(r, p.Net); ok && n.Kind == "tunnel" && p.Host != "" {
			counts[[2]string{p.Net, p.Host}]++
		}
	}
	for c, n := range counts {
		fromScratch["hosts "+c[0]+" "+c[1]] = fmt.Sprint(n)
	}
	for _, net := range []string{"", "1", "2", "3", "4"} {
		s := ""
		for p := range w.byNet.By(r, net) {
			s += p.ID + " "
		}
		if s != "" {
			joins["byNet "+net] = s
		}
		for h := range w.hosts.Members(r, net) {
			joins["hosts "+net+" "+h] = fmt.Sprint(w.hosts.Count(r, net, h))
		}
	}
	return tables, joins, fromScratch
}

// testHistories: over random histories, aborted transactions included, indices and derived tables equal those computed from
// scratch, inside transactions and after, and a store opened again shows the same.
func testHistories(t *testing.T, place func() store.Options) {
	w := newWorld()
	st := open(t, w, place())
	rapid.Check(t, func(rt *rapid.T) {
		wipe(t, st, w)
		for range rapid.IntRange(1, 15).Draw(rt, "commits") {
			abort := rapid.IntRange(0, 5).Draw(rt, "abort") == 0
			_, err := st.Commit(context.Background(), store.Origin{}, func(tx *store.Txn) error {
				randomWrites(rt, w, tx)
				// Indices are true inside the transaction; derived tables are brought up to date at its end.
				_, joins, scratch := dump(w, tx)
				only := func(m map[string]string) map[string]string {
					m = maps.Clone(m)
					maps.DeleteFunc(m, func(k, _ string) bool { return strings.HasPrefix(k, "hosts") })
					return m
				}
				if !maps.Equal(only(joins), only(scratch)) {
					rt.Fatalf("inside: %v, from scratch %v", joins, scratch)
				}
				if abort {
					return errAbort
				}
				return nil
			})
			if (err == errAbort) != abort || err != nil && !abort {
				rt.Fatal(err)
			}
			if _, joins, scratch := dump(w, st.Snapshot()); !maps.Equal(joins, scratch) {
				rt.Fatalf("%v, from scratch %v", joins, scratch)
			}
		}
	})
	before, joins, _ := dump(w, st.Snapshot())
	rev := st.Snapshot().Revision()
	st.Close()
	st = open(t, w, place())
	after, joinsAfter, _ := dump(w, st.Snapshot())
	if !maps.Equal(before, after) || !maps.Equal(joins, joinsAfter) || st.Snapshot().Revision() != rev {
		t.Errorf("opened again: revision %d %v %v, was %d %v %v", st.Snapshot().Revision(), after, joinsAfter, rev, before, joins)
	}
}
