// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"nagare/internal/store"
)

var errAbort = errors.New("abort")

// testAtomic: an error leaves tables, indices, derived tables, revision and watches as they were.
func testAtomic(t *testing.T, place func() store.Options) {
	w := newWorld()
	st := open(t, w, place())
	commit(t, st, func(tx *store.Txn) {
		w.nets.Put(tx, "n1", Net{ID: "n1", Name: "red", Kind: "tunnel"})
		w.ports.Put(tx, "p1", Port{ID: "p1", Net: "n1", Host: "h1"})
	})
	watch := st.Watch()
	defer watch.Close()
	watch.Take()
	before := st.Snapshot()
	_, err := st.Commit(t.Context(), store.Origin{}, func(tx *store.Txn) error {
		w.nets.Put(tx, "n2", Net{ID: "n2"})
		w.ports.Put(tx, "p1", Port{ID: "p1", Net: "n2", Host: "h2"})
		w.ports.Delete(tx, "p1")
		w.links.Put(tx, "l", Link{})
		return errAbort
	})
	if err != errAbort {
		t.Fatalf("error %v, want the function's own", err)
	}
	if st.Snapshot() != before {
		t.Error("an aborted transaction published a state")
	}
	if _, _, ok := watch.Take(); ok {
		t.Error("an aborted transaction woke a watch")
	}
	r := st.Snapshot()
	if got := slices.Collect(w.hosts.Members(r, "n1")); !slices.Equal(got, []string{"h1"}) {
		t.Errorf("hosts of n1: %v, want [h1]", got)
	}
	if w.ports.Len(r) != 1 || w.links.Len(r) != 0 || r.Revision() != 1 {
		t.Errorf("%d ports, %d links, revision %d; want 1, 0, 1", w.ports.Len(r), w.links.Len(r), r.Revision())
	}
}

// testIsolated: a snapshot never changes, and every snapshot holds whole transactions.
func testIsolated(t *testing.T, place func() store.Options) {
	w := newWorld()
	st := open(t, w, place())
	move := func(i int) {
		commit(t, st, func(tx *store.Txn) {
			w.ports.Put(tx, "a", Port{ID: "a", Name: fmt.Sprint(i)})
			w.ports.Put(tx, "b", Port{ID: "b", Name: fmt.Sprint(i)})
		})
	}
	move(0)
	old := st.Snapshot()
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			r := st.Snapshot()
			a, _ := w.ports.Get(r, "a")
			b, _ := w.ports.Get(r, "b")
			if a.Name != b.Name {
				t.Errorf("half a transaction: a %s, b %s", a.Name, b.Name)
				return
			}
			runtime.Gosched()
		}
	})
	for i := range 100 {
		move(i + 1)
	}
	close(done)
	wg.Wait()
	if a, _ := w.ports.Get(old, "a"); a.Name != "0" {
		t.Errorf("an old snapshot shows %s, want 0", a.Name)
	}
}

// testOrdered: concurrent transactions happen one after another; revisions have no gaps; answers show own writes.
func testOrdered(t *testing.T, place func() store.Options) {
	w := newWorld()
	st := open(t, w, place())
	const writers, each = 16, 20
	var mu sync.Mutex
	seen := map[store.Revision]bool{}
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for range each {
				var wrote string
				r, err := st.Commit(context.Background(), store.Origin{User: fmt.Sprint(i)}, func(tx *store.Txn) error {
					p, _ := w.ports.Get(tx, "counter")
					p.Name += "x"
					wrote = p.Name
					w.ports.Put(tx, "counter", p)
					return nil
				})
				if err != nil {
					t.Error(err)
					return
				}
				if p, _ := w.ports.Get(r.Snapshot, "counter"); p.Name != wrote || r.Snapshot.Revision() != r.Revision {
					t.Errorf("the state after the commit shows %d, wrote %d", len(p.Name), len(wrote))
				}
				if p, _ := w.ports.Get(st.Snapshot(), "counter"); len(p.Name) < len(wrote) {
					t.Errorf("the store shows %d after an answer for %d", len(p.Name), len(wrote))
				}
				mu.Lock()
				if seen[r.Revision] || int(r.Revision) != len(wrote) {
					t.Errorf("revision %d given twice or out of order (counter %d)", r.Revision, len(wrote))
				}
				seen[r.Revision] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if p, _ := w.ports.Get(st.Snapshot(), "counter"); len(p.Name) != writers*each || st.Snapshot().Revision() != writers*each {
		t.Errorf("counter %d, revision %d; want %d", len(p.Name), st.Snapshot().Revision(), writers*each)
	}
}

// testNoChange: a transaction that writes what is there already is none.
func testNoChange(t *testing.T, place func() store.Options) {
	w := newWorld()
	st := open(t, w, place())
	p := Port{ID: "p", Tags: []string{"a"}}
	commit(t, st, func(tx *store.Txn) { w.ports.Put(tx, "p", p) })
	before := st.Snapshot()
	r := commit(t, st, func(tx *store.Txn) {
		w.ports.Put(tx, "p", Port{ID: "p"})
		w.ports.Put(tx, "p", Port{ID: "p", Tags: []string{"a"}})
		w.ports.Put(tx, "q", p)
		w.ports.Delete(tx, "q")
	})
	if st.Snapshot() != before || r.Revision != 1 || r.Snapshot != before {
		t.Errorf("a transaction without effect made revision %d, seq %d", st.Snapshot().Revision(), st.Snapshot().Seq())
	}
}

// testTooLarge: a commit beyond the log's limits is refused whole, others go on.
func testTooLarge(t *testing.T, place func() store.Options) {
	w := newWorld()
	o := place()
	o.MaxOps, o.MaxBytes = 10, 10000
	st := open(t, w, o)
	put := func(n int, name string) error {
		_, err := st.Commit(context.Background(), store.Origin{}, func(tx *store.Txn) error {
			for i := range n {
				w.ports.Put(tx, fmt.Sprint(i), Port{Name: name})
			}
			return nil
		})
		return err
	}
	var large *store.TooLargeError
	if err := put(9, "a"); !errors.As(err, &large) || large.Ops != 11 || large.MaxOps != 10 {
		t.Errorf("9 records and 2 of the log's own in 10: %v", err)
	}
	if err := put(1, strings.Repeat("x", 8000)); !errors.As(err, &large) || large.Bytes <= large.MaxBytes {
		t.Errorf("16,000 bytes in 10,000: %v", err)
	}
	if n := w.ports.Len(st.Snapshot()); n != 0 {
		t.Errorf("%d records after refusals, want none", n)
	}
	if err := put(8, "a"); err != nil {
		t.Errorf("8 records: %v", err)
	}
	// Many that fit alone but not together.
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			if _, err := st.Commit(context.Background(), store.Origin{}, func(tx *store.Txn) error {
				for j := range 5 {
					w.ports.Put(tx, fmt.Sprintf("%d-%d", i, j), Port{Name: strings.Repeat("y", 300)})
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := w.ports.Len(st.Snapshot()); n != 8+32*5 {
		t.Errorf("%d records, want %d", n, 8+32*5)
	}
	if s := st.Stats(); s.TooLarge != 2 || s.Commits != 33 {
		t.Errorf("stats count %d refusals and %d commits, want 2 and 33", s.TooLarge, s.Commits)
	}
}

// testIdempotent: a retry with the same key gets the first answer, after a restart too; another user's key is another key.
func testIdempotent(t *testing.T, place func() store.Options) {
	w := newWorld()
	st := open(t, w, place())
	runs := 0
	create := func(user, key string) store.Result {
		r, err := st.Commit(context.Background(), store.Origin{User: user, Idempotency: key}, func(tx *store.Txn) error {
			runs++
			id := fmt.Sprint("p", runs)
			w.ports.Put(tx, id, Port{ID: id})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first := create("alice", "k")
	if again := create("alice", "k"); !again.Repeated || again.Revision != first.Revision || runs != 1 {
		t.Errorf("retry: %+v after %d runs, want the answer %d of one run", again, runs, first.Revision)
	}
	if other := create("bob", "k"); other.Repeated || runs != 2 {
		t.Errorf("bob got alice's answer: %+v", other)
	}
	st.Close()
	st = open(t, w, place())
	if again := create("alice", "k"); !again.Repeated || again.Revision != first.Revision || runs != 2 {
		t.Errorf("retry after a restart: %+v after %d runs", again, runs)
	}
	if r := create("alice", ""); r.Repeated {
		t.Error("a commit without a key was taken for a retry")
	}
}

// testVolatile: volatile changes are seen in order with the others, have no revision, and end with the process.
func testVolatile(t *testing.T, place func() store.Options) {
	w := newWorld()
	st := open(t, w, place())
	r1 := commit(t, st, func(tx *store.Txn) { w.links.Put(tx, "l", Link{Up: true}) })
	if r1.Revision != 0 || r1.Seq != 1 || st.Snapshot().Seq() != 1 {
		t.Errorf("volatile commit: revision %d, seq %d; want 0, 1", r1.Revision, r1.Seq)
	}
	// Each volatile commit copies what the durable one before it wrote; no state may show the copy without the original.
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			r := st.Snapshot()
			l, _ := w.links.Get(r, "copy")
			p, _ := w.ports.Get(r, "p")
			if len(l.Port) > len(p.Name) {
				t.Errorf("a volatile commit overtook the durable one that it had read: %d > %d", len(l.Port), len(p.Name))
				return
			}
			runtime.Gosched()
		}
	})
	var writers sync.WaitGroup
	for range 2 {
		writers.Go(func() {
			for range 50 {
				commit(t, st, func(tx *store.Txn) {
					p, _ := w.ports.Get(tx, "p")
					p.Name += "x"
					w.ports.Put(tx, "p", p)
				})
			}
		})
		writers.Go(func() {
			for range 100 {
				commit(t, st, func(tx *store.Txn) {
					p, _ := w.ports.Get(tx, "p")
					w.links.Put(tx, "copy", Link{Port: p.Name})
				})
			}
		})
	}
	writers.Wait()
	close(stop)
	wg.Wait()
	if rev := st.Snapshot().Revision(); rev != 100 {
		t.Errorf("revision %d after 100 durable commits", rev)
	}
	st.Close()
	st = open(t, w, place())
	if n := w.links.Len(st.Snapshot()); n != 0 {
		t.Errorf("%d volatile records after a restart", n)
	}
}

// testOddNames: keys, index keys and values may hold anything.
func testOddNames(t *testing.T, place func() store.Options) {
	w := newWorld()
	st := open(t, w, place())
	names := []string{"", "a", "a\x00b", "a\x01b", "a\x00", "a|b", "名前", "\"}{", "a/b"}
	commit(t, st, func(tx *store.Txn) {
		for i, n := range names {
			id := fmt.Sprintf("%d/%s", i, n)
			w.nets.Put(tx, id, Net{ID: id, Name: n, Kind: "tunnel"})
			w.ports.Put(tx, n, Port{ID: n, Net: id, Host: n + "h"})
		}
	})
	check := func(r store.Reader) {
		t.Helper()
		for i, n := range names {
			id := fmt.Sprintf("%d/%s", i, n)
			var got []string
			for v := range w.byName.By(r, n) {
				got = append(got, v.ID)
			}
			if !slices.Equal(got, []string{id}) {
				t.Errorf("networks named %q: %q, want [%q]", n, got, id)
			}
			if p, ok := w.ports.Get(r, n); !ok || p.ID != n {
				t.Errorf("port %q: %+v, %v", n, p, ok)
			}
			if got := slices.Collect(w.hosts.Members(r, id)); !slices.Equal(got, []string{n + "h"}) {
				t.Errorf("hosts of %q: %q", id, got)
			}
			if !w.hosts.Has(r, id, n+"h") || w.hosts.Count(r, id, n+"h") != 1 {
				t.Errorf("%q does not have %q", id, n+"h")
			}
		}
	}
	check(st.Snapshot())
	st.Close()
	st = open(t, w, place())
	check(st.Snapshot())
}

// testPanic: a panic in a transaction reaches its caller and harms nobody else.
func testPanic(t *testing.T, place func() store.Options) {
	w := newWorld()
	st := open(t, w, place())
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		st.Commit(t.Context(), store.Origin{}, func(tx *store.Txn) error {
			w.ports.Put(tx, "p", Port{ID: "p"})
			panic("bug")
		})
	}()
	commit(t, st, func(tx *store.Txn) { w.ports.Put(tx, "q", Port{ID: "q"}) })
	if n := w.ports.Len(st.Snapshot()); n != 1 {
		t.Errorf("%d ports, want 1", n)
	}
}

// testClosed: a closed store refuses commits and keeps its snapshots.
func testClosed(t *testing.T, place func() store.Options) {
	w := newWorld()
	st := open(t, w, place())
	commit(t, st, func(tx *store.Txn) { w.ports.Put(tx, "p", Port{ID: "p"}) })
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := st.Commit(t.Context(), store.Origin{}, func(tx *store.Txn) error { t.Error("ran"); return nil })
	if !errors.Is(err, store.ErrClosed) || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("commit after close: %v", err)
	}
	if w.ports.Len(st.Snapshot()) != 1 {
		t.Error("the snapshot is gone")
	}
	if err := st.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

// testContext: a context that has ended starts nothing; one that ends in the queue leaves the queue.
func testContext(t *testing.T, place func() store.Options) {
	w := newWorld()
	o := place()
	o.MaxQueue = 2
	st := open(t, w, o)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := st.Commit(ended, store.Origin{}, func(*store.Txn) error { t.Error("ran"); return nil }); err != context.Canceled {
		t.Errorf("ended context: %v", err)
	}
	running, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		commit(t, st, func(tx *store.Txn) { close(running); <-release; w.ports.Put(tx, "p", Port{}) })
	})
	<-running
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := st.Commit(short, store.Origin{}, func(*store.Txn) error { t.Error("ran"); return nil }); err != context.DeadlineExceeded {
		t.Errorf("context that ended in the queue: %v", err)
	}
	waits, giveUp := context.WithCancel(t.Context())
	wg.Go(func() {
		if _, err := st.Commit(waits, store.Origin{}, func(*store.Txn) error { return nil }); err != context.Canceled {
			t.Errorf("context that ended in the queue: %v", err)
		}
	})
	for st.Stats().Waiting < 2 {
		if t.Context().Err() != nil {
			t.Fatal("nobody waits")
		}
	}
	if _, err := st.Commit(t.Context(), store.Origin{}, func(*store.Txn) error { t.Error("ran"); return nil }); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("full queue: %v", err)
	}
	giveUp()
	for st.Stats().Waiting > 1 {
		if t.Context().Err() != nil {
			t.Fatal("the waiter is still there")
		}
	}
	close(release)
	wg.Wait()
}
