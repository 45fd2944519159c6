// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"testing"
)

// TestFollow: a follower is handed every commit once and in order, from where it asks, and told where the log has a gap: at the
// start, and where it was slower than the log is kept.
func TestFollow(t *testing.T) {
	eachLog(t, func(t *testing.T, w *testWorld, l *faultLog, st *Store) {
		add := func(n int) {
			t.Helper()
			for range n {
				if _, err := st.Commit(t.Context(), Origin{}, func(tx *Txn) error {
					x, _ := w.a.Get(tx, "x")
					x.N++
					w.a.Put(tx, "x", x)
					return nil
				}); err != nil {
					t.Fatal(err)
				}
			}
		}
		trim := func() {
			t.Helper()
			if err := l.Trim(t.Context(), st.Snapshot().Revision()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := st.Commit(t.Context(), Origin{}, func(tx *Txn) error { w.v.Put(tx, "v", thing{ID: "v"}); return nil }); err != nil {
			t.Fatal(err)
		}
		// Until the head is reached, f is called without anybody committing; what it commits itself comes next.
		type step struct {
			first, last Revision
			lost        bool
		}
		follow := func(after Revision, want int, f func(s step)) (got []step) {
			t.Helper()
			enough := errors.New("enough")
			err := st.Follow(t.Context(), after, func(rs []LogRecord, lost bool) error {
				s := step{lost: lost}
				if len(rs) > 0 {
					s.first, s.last = rs[0].Revision, rs[len(rs)-1].Revision
					for i, r := range rs {
						if r.Revision != s.first+Revision(i) || len(r.Keys) != 1 {
							t.Errorf("record %d of a page is of revision %d with %d keys, want one after another", i, r.Revision, len(r.Keys))
						}
					}
				}
				got = append(got, s)
				if len(got) == want {
					return enough
				}
				f(s)
				return nil
			})
			if !errors.Is(err, enough) {
				t.Fatalf("%v, want what the follower said", err)
			}
			return got
		}
		expect := func(got []step, want ...step) {
			t.Helper()
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("step %d: %+v, want %+v", i, got[i], want[i])
				}
			}
		}
		add(followPage + 2)
		head := st.Snapshot().Revision()
		got := follow(0, 3, func(s step) {
			if s.last == head {
				add(1)
			}
		})
		expect(got, step{1, followPage, false}, step{followPage + 1, head, false}, step{head + 1, head + 1, false})

		// It asks for more than is kept.
		trim()
		head = st.Snapshot().Revision()
		expect(follow(3, 1, nil), step{head, head, true})

		// While it deals with one commit, many come and the log is cut.
		slow := false
		got = follow(head-1, 3, func(step) {
			add(3)
			if !slow {
				trim()
			}
			slow = true
		})
		expect(got, step{head, head, false}, step{head + 3, head + 3, true}, step{head + 4, head + 6, false})
	})
}

// TestFollowEnds: by its context, and by a log that cannot be read.
func TestFollowEnds(t *testing.T) {
	eachLog(t, func(t *testing.T, w *testWorld, l *faultLog, st *Store) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := st.Follow(ctx, 0, nil); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		l.entries(errTimeout)
		if _, err := st.Commit(t.Context(), Origin{}, func(tx *Txn) error { w.a.Put(tx, "x", thing{}); return nil }); err != nil {
			t.Fatal(err)
		}
		if err := st.Follow(t.Context(), 0, nil); !errors.Is(err, errTimeout) {
			t.Error(err)
		}
		l.entries(nil)
	})
}
