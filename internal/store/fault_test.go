// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// faultLog is a log whose appends, takeovers and readings can be held up and fail.
type faultLog struct {
	Log
	mu     sync.Mutex
	append func(b *Batch, do func() error) error
	fence  func() error
	unread error // of Entries
}

// entries has the entries be unreadable, or readable again.
func (l *faultLog) entries(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unread = err
}

func (l *faultLog) Entries(ctx context.Context, from Revision, limit int) ([]Entry, error) {
	l.mu.Lock()
	err := l.unread
	l.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return l.Log.Entries(ctx, from, limit)
}

func (l *faultLog) set(a func(*Batch, func() error) error, f func() error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.append, l.fence = a, f
}

func (l *faultLog) Append(ctx context.Context, b *Batch) error {
	l.mu.Lock()
	f := l.append
	l.mu.Unlock()
	do := func() error { return l.Log.Append(ctx, b) }
	if f == nil {
		return do()
	}
	return f(b, do)
}

func (l *faultLog) Fence(ctx context.Context) (Head, uint64, error) {
	l.mu.Lock()
	f := l.fence
	l.mu.Unlock()
	if f != nil {
		if err := f(); err != nil {
			return Head{}, 0, err
		}
	}
	return l.Log.Fence(ctx)
}

var errTimeout = errors.New("no answer")

// eachLog runs a test over memory and over embedded etcd.
func eachLog(t *testing.T, f func(t *testing.T, w *testWorld, l *faultLog, st *Store)) {
	for _, name := range []string{"memory", "embedded"} {
		t.Run(name, func(t *testing.T) {
			l := &faultLog{Log: NewMemory(Limits{}).Log()}
			if name == "embedded" {
				o := Options{DataDir: t.TempDir()}.withDefaults()
				var err error
				if l.Log, err = openEmbedded(t.Context(), &o); err != nil {
					t.Fatal(err)
				}
			}
			w := newTestWorld()
			st, err := Open(t.Context(), w.schema, Options{Log: l})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := st.Close(); err != nil {
					t.Error(err)
				}
			})
			f(t, w, l, st)
		})
	}
}

func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// put commits one record, trying once.
func put(st *Store, w *testWorld, id, idempotency string) (Result, error) {
	return st.Commit(context.Background(), Origin{User: "u", Idempotency: idempotency}, func(tx *Txn) error {
		w.a.Put(tx, id, thing{ID: id, Kind: "k"})
		return nil
	})
}

// TestUnconfirmed lets an append fail before or after it was applied, with transactions of all sorts built upon it. All
// waiters learn that the outcome is unknown; then the store goes on from what the log holds, and a retry does no harm.
func TestUnconfirmed(t *testing.T) {
	for _, applied := range []bool{false, true} {
		t.Run(fmt.Sprintf("applied %v", applied), func(t *testing.T) {
			eachLog(t, func(t *testing.T, w *testWorld, l *faultLog, st *Store) {
				if _, err := put(st, w, "first", ""); err != nil {
					t.Fatal(err)
				}
				watch := st.Watch()
				defer watch.Close()
				watch.Take()
				term := st.Term()
				inFlight, release := make(chan struct{}), make(chan struct{})
				l.set(func(_ *Batch, do func() error) error {
					l.set(nil, nil)
					close(inFlight)
					<-release
					if applied {
						if err := do(); err != nil {
							t.Error(err)
						}
					}
					return errTimeout
				}, nil)
				var wg sync.WaitGroup
				expect := func(name string, f func() error) {
					wg.Go(func() {
						if err := f(); !errors.Is(err, ErrUnavailable) {
							t.Errorf("%s: %v, want ErrUnavailable", name, err)
						}
					})
					until(t, name+" waits", func() bool {
						st.mu.Lock()
						defer st.mu.Unlock()
						return len(st.writer) == 0
					})
				}
				commit := func(f func(*Txn) error) error {
					_, err := st.Commit(context.Background(), Origin{}, f)
					return err
				}
				expect("in flight", func() error { _, err := put(st, w, "flying", "key"); return err })
				<-inFlight
				expect("gathered", func() error { _, err := put(st, w, "gathered", "key2"); return err })
				until(t, "gathered", func() bool { st.mu.Lock(); defer st.mu.Unlock(); return st.next != nil })
				expect("volatile", func() error {
					return commit(func(tx *Txn) error { w.v.Put(tx, "v", thing{}); return nil })
				})
				expect("no change", func() error {
					return commit(func(tx *Txn) error { w.a.Put(tx, "flying", thing{ID: "flying", Kind: "k"}); return nil })
				})
				expect("refusal for what is not durable yet", func() error {
					return commit(func(tx *Txn) error {
						if _, ok := w.a.Get(tx, "flying"); ok {
							return errors.New("name in use")
						}
						return nil
					})
				})
				expect("retry of what is not durable yet", func() error { _, err := put(st, w, "other", "key"); return err })
				until(t, "all wait", func() bool { return st.Stats().Waiting == 6 })
				if _, ok := w.a.Get(st.Snapshot(), "flying"); ok {
					t.Error("a reader sees what is not durable")
				}
				close(release)
				wg.Wait()
				until(t, "recovered", func() bool { return st.Stats().Recoveries == 1 })

				r := st.Snapshot()
				if _, ok := w.a.Get(r, "flying"); ok != applied {
					t.Errorf("flying is there: %v, want %v", ok, applied)
				}
				for _, id := range []string{"gathered", "other"} {
					if _, ok := w.a.Get(r, id); ok {
						t.Errorf("%s is there", id)
					}
				}
				if _, ok := w.v.Get(r, "v"); ok {
					t.Error("the volatile record built on it is there")
				}
				rev := Revision(1)
				if applied {
					rev = 2
				}
				if _, ch, ok := watch.Take(); ok != applied || ok && (len(ch.Records) != 1 || ch.Records[0].Key != "flying") || r.Revision() != rev {
					t.Errorf("watch woke: %v; revision %d", ok, r.Revision())
				}
				if st.Term() <= term {
					t.Errorf("term %d, was %d", st.Term(), term)
				}
				again, err := put(st, w, "flying", "key")
				if err != nil || again.Repeated != applied || again.Revision != 2 {
					t.Errorf("retry: %+v, %v", again, err)
				}
				if again, err := put(st, w, "gathered", "key2"); err != nil || again.Repeated || again.Revision != 3 {
					t.Errorf("retry of the gathered one: %+v, %v", again, err)
				}
				if s := st.Stats(); s.Failures != 1 || s.Landed != uint64(rev-1) || s.Commits != 3 || s.Down != nil {
					t.Errorf("stats %+v", s)
				}
			})
		})
	}
}

// TestLate sends an append of an earlier term after the store has given it up: it must not land.
func TestLate(t *testing.T) {
	w := newTestWorld()
	o := Options{DataDir: t.TempDir()}.withDefaults()
	inner, err := openEmbedded(t.Context(), &o)
	if err != nil {
		t.Fatal(err)
	}
	l := &faultLog{Log: inner}
	st, err := Open(t.Context(), w.schema, Options{Log: l})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	var late Batch
	var before etcdLog
	l.set(func(b *Batch, _ func() error) error {
		l.set(nil, nil)
		late, before = *b, *inner
		return errTimeout
	}, nil)
	if _, err := put(st, w, "late", ""); !errors.Is(err, ErrUnavailable) {
		t.Fatal(err)
	}
	until(t, "recovered", func() bool { return st.Stats().Recoveries == 1 })
	if err := before.Append(t.Context(), &late); err == nil {
		t.Fatal("an append of an earlier term landed")
	}
	if r, err := put(st, w, "next", ""); err != nil || r.Revision != 1 {
		t.Errorf("next: %+v, %v", r, err)
	}
}

// TestDown keeps the log away: commits are refused at once with the reason, until it is back; closing does not wait for it.
func TestDown(t *testing.T) {
	eachLog(t, func(t *testing.T, w *testWorld, l *faultLog, st *Store) {
		away := func() {
			l.set(func(*Batch, func() error) error { return errTimeout }, func() error { return errors.New("cable cut") })
		}
		away()
		if _, err := put(st, w, "x", ""); !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
		until(t, "down", func() bool { return st.Stats().Down != nil })
		_, err := put(st, w, "x", "")
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "cable cut") {
			t.Errorf("while down: %v", err)
		}
		if w.a.Len(st.Snapshot()) != 0 {
			t.Error("the record is there")
		}
		l.set(nil, nil)
		until(t, "up again", func() bool { return st.Stats().Down == nil })
		if r, err := put(st, w, "x", ""); err != nil || r.Revision != 1 {
			t.Errorf("up again: %+v, %v", r, err)
		}
		away()
		put(st, w, "y", "")
		until(t, "down", func() bool { return st.Stats().Down != nil })
	})
}

// TestFenced opens a second store on the log of a first: the first can write no more.
func TestFenced(t *testing.T) {
	w := newTestWorld()
	m := NewMemory(Limits{})
	for _, wrap := range []func(Log) Log{func(l Log) Log { return l }, func(l Log) Log { return &faultLog{Log: l} }} {
		old, err := Open(t.Context(), w.schema, Options{Log: wrap(m.Log())})
		if err != nil {
			t.Fatal(err)
		}
		defer old.Close()
		before, err := put(old, w, "x", "")
		if err != nil {
			t.Fatal(err)
		}
		young, err := Open(t.Context(), w.schema, Options{Log: wrap(m.Log())})
		if err != nil {
			t.Fatal(err)
		}
		defer young.Close()
		for range 2 {
			if _, err := put(old, w, "y", ""); !errors.Is(err, ErrFenced) {
				t.Errorf("the old store: %v, want ErrFenced", err)
			}
			until(t, "fenced", func() bool { return old.Stats().Down != nil })
		}
		if r, err := put(young, w, "z", ""); err != nil || r.Revision != before.Revision+1 || young.Term() <= old.Term() {
			t.Errorf("the young store: %+v, %v", r, err)
		}
		old.Commit(t.Context(), Origin{}, func(tx *Txn) error { t.Error("ran"); return nil })
		if _, err := young.Commit(t.Context(), Origin{}, func(tx *Txn) error { w.a.Delete(tx, "x"); w.a.Delete(tx, "z"); return nil }); err != nil {
			t.Error(err)
		}
	}
}

// TestChangedBehind changes the log behind the store's back, as a restored backup would: it is read anew, whole.
func TestChangedBehind(t *testing.T) {
	w := newTestWorld()
	m := NewMemory(Limits{})
	st, err := Open(t.Context(), w.schema, Options{Log: &faultLog{Log: m.Log()}})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	for _, id := range []string{"x", "y"} {
		if _, err := put(st, w, id, ""); err != nil {
			t.Fatal(err)
		}
	}
	st.Commit(t.Context(), Origin{}, func(tx *Txn) error { w.v.Put(tx, "v", thing{ID: "v"}); return nil })
	m.mu.Lock()
	delete(m.tables["a"], "x")
	m.head = Head{77, m.head.Offset}
	m.mu.Unlock()
	watch := st.Watch()
	defer watch.Close()
	watch.Take()
	if _, err := put(st, w, "z", ""); !errors.Is(err, ErrUnavailable) {
		t.Fatal(err)
	}
	until(t, "recovered", func() bool { return st.Stats().Recoveries == 1 })
	r, ch, ok := watch.Take()
	if !ok || !ch.All || r.Revision() != 77 {
		t.Fatalf("watch: %v %+v at %d", ok, ch, r.Revision())
	}
	if w.a.Len(r) != 1 || w.derived.Has(r, "k", "x") || !w.derived.Has(r, "k", "y") {
		t.Errorf("%d records, want y alone", w.a.Len(r))
	}
	if _, ok := w.v.Get(r, "v"); !ok {
		t.Error("the volatile record is gone")
	}
	if res, err := put(st, w, "z", ""); err != nil || res.Revision != 78 {
		t.Errorf("next: %+v, %v", res, err)
	}
}

// TestCorrupt refuses to open over a record that cannot be read, naming it.
func TestCorrupt(t *testing.T) {
	for text, want := range map[string]string{
		`{"v":1,"created":1,"modified":1,"plane":{"revision":1,"time":"2026-01-01T00:00:00Z"},"value":{"id":"x"}}`:     "",
		`{"v":1, "created":1,"modified":1,"plane":{"revision":1,"time":"2026-01-01T00:00:00Z"},"value":{"id":"x"}}`:    "",
		`{"v":1,"created":1,"modified":1,"plane":{"user":"}\"}","time":"2026-01-01T00:00:00Z"},"value":{"id":"x"}}`:    "",
		`{"v":2,"created":1,"modified":1,"plane":{"revision":1,"time":"2026-01-01T00:00:00Z"},"value":{"id":"x"}}`:     "version 2",
		`{"v":1,"created":1,"modified":1,"plane":{"revision":1,"time":"2026-01-01T00:00:00Z"}}`:                        "missing",
		`{"v":1,"created":1,"modified":1,"plane":{"revision":1,"time":"2026-01-01T00:00:00Z"},"value":{"id":"x"}`:      "unexpected EOF",
		`{"v":1,"created":1,"modified":1,"plane":{"revision":1,"time":"2026-01-01T00:00:00Z"},"value":{"id":"x"}}{}`:   "after",
		`{"v":1,"created":1,"modified":1,"plane":{"revision":"one"},"value":{"id":"x"}}`:                               "cannot unmarshal",
		`{"v":1,"created":1,"modified":1,"plane":{"revision":1,"time":"2026-01-01T00:00:00Z"},"value":{"id":7}}`:       "cannot unmarshal",
		`{"v":1,"created":1,"modified":1,"plane":{"revision":1,"time":"2026-01-01T00:00:00Z"},"value":{"id":"x"} {} }`: "after",
		``: "unexpected end",
	} {
		m := NewMemory(Limits{})
		m.tables["a"] = map[string][]byte{"x": []byte(text)}
		w := newTestWorld()
		st, err := Open(t.Context(), w.schema, Options{Log: m.Log()})
		if want == "" && err == nil {
			if x, ok := w.a.Get(st.Snapshot(), "x"); !ok || x.ID != "x" {
				t.Errorf("%s: read as %+v", text, x)
			}
			st.Close()
			continue
		}
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) || corrupt.Key != "x" || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
