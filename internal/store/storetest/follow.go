// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"nagare/internal/store"
)

// testFollow: a follower sees every commit once and in order, those before it began included, over a restart too, and is told when
// the log no longer holds all.
func testFollow(t *testing.T, place func() store.Options) {
	w := newWorld()
	st := open(t, w, place())
	put := func(name string) {
		commit(t, st, func(tx *store.Txn) { w.nets.Put(tx, "n", Net{ID: "n", Name: name}) })
	}
	enough := errors.New("enough")
	var writers sync.WaitGroup
	follow := func(after store.Revision, until int) (seen []store.Revision, lost bool) {
		t.Helper()
		err := st.Follow(t.Context(), after, func(rs []store.LogRecord, gap bool) error {
			for _, r := range rs {
				seen = append(seen, r.Revision)
			}
			lost = lost || gap
			if len(rs) == 0 || int(rs[len(rs)-1].Revision) >= until {
				return enough
			}
			writers.Go(func() { put(fmt.Sprint("by the follower, after ", rs[len(rs)-1].Revision)) })
			return nil
		})
		writers.Wait()
		if !errors.Is(err, enough) {
			t.Fatalf("%v, want what the function returned", err)
		}
		return seen, lost
	}
	for i := range 300 {
		put(fmt.Sprint(i))
	}
	check := func(seen []store.Revision, from int) {
		t.Helper()
		for i, r := range seen {
			if int(r) != from+i {
				t.Fatalf("commit %d came at place %d after %d", r, i, from)
			}
		}
	}
	seen, lost := follow(0, 300)
	check(seen, 1)
	if lost || len(seen) < 300 {
		t.Errorf("%d commits, lost: %v", len(seen), lost)
	}
	next := int(seen[len(seen)-1])
	seen, lost = follow(store.Revision(next), next+3) // of commits that come while it follows
	check(seen, next+1)
	if lost {
		t.Error("some are said to be lost")
	}
	st.Close()
	st = open(t, newWorld(), place())
	seen, lost = follow(250, 300)
	check(seen, 251)
	if lost {
		t.Error("after the restart some are said to be lost")
	}
	st.Close()

	o := place()
	o.LogBytes = 1
	w = newWorld()
	st = open(t, w, o)
	put("the log keeps only this")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := true
	for lost := false; !lost; { // trimming comes with commits, a little later
		put(fmt.Sprint("more ", first))
		first = !first
		err := st.Follow(ctx, 2, func(_ []store.LogRecord, gap bool) error {
			lost = gap
			return enough
		})
		if !errors.Is(err, enough) {
			t.Fatal(err)
		}
	}
	st.Close()
}
