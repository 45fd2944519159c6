// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"testing"
)

// What is committed on a fork goes on from the snapshot, as on the store itself, and neither sees the other's changes.
func TestFork(t *testing.T) {
	w := newTestWorld()
	put := func(st *Store, id, kind string) Result {
		t.Helper()
		res, err := st.Commit(context.Background(), Origin{Request: id}, func(tx *Txn) error {
			w.a.Put(tx, id, thing{ID: id, Kind: kind})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	st := New(w.schema, nil)
	put(st, "x", "red")
	at := put(st, "y", "red").Snapshot
	put(st, "z", "red")

	f := st.Fork(at)
	if f.Snapshot() != at {
		t.Error("a fork begins with another state than the snapshot")
	}
	if res := put(f, "w", "red"); res.Revision != at.Revision()+1 || w.derived.Count(res.Snapshot, "red", "w") != 1 || w.derived.Count(res.Snapshot, "red", "x") != 1 {
		t.Errorf("the fork's commit is %d after %d, or its derived table lacks something", res.Revision, at.Revision())
	}
	for _, c := range []struct {
		of   *Store
		id   string
		want bool
	}{{st, "w", false}, {st, "z", true}, {f, "w", true}, {f, "z", false}, {f, "y", true}} {
		if _, ok := w.a.Get(c.of.Snapshot(), c.id); ok != c.want {
			t.Errorf("%s: there %v, want %v (fork: %v)", c.id, ok, c.want, c.of == f)
		}
	}
	if rs, err := f.LogTail(context.Background(), 0, 9); err != nil || len(rs) != 1 || rs[0].Request != "w" || len(rs[0].Keys) != 1 {
		t.Errorf("the fork's log is %+v, %v", rs, err)
	}
}
