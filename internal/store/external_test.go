// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// StartEtcd runs an etcd server with a client listener, as an operator would, and returns its address.
func StartEtcd(t testing.TB, maxOps uint) string {
	t.Helper()
	cfg := embed.NewConfig()
	cfg.Dir = t.TempDir()
	loopback := []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = loopback, loopback
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = loopback, loopback
	cfg.InitialCluster = cfg.Name + "=" + loopback[0].String()
	cfg.TickMs, cfg.ElectionMs, cfg.MaxTxnOps = 10, 100, maxOps
	cfg.LogOutputs, cfg.LogLevel = []string{"/dev/null"}, "fatal"
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	select {
	case <-e.Server.ReadyNotify():
	case <-time.After(20 * time.Second):
		t.Fatal("etcd is not ready after 20 s")
	}
	return e.Clients[0].Addr().String()
}

// TestExternal probes the limits of a server and checks that two stores on it cannot both write.
func TestExternal(t *testing.T) {
	for _, ops := range []uint{128, 1000} {
		o := Options{Endpoints: []string{StartEtcd(t, ops)}}
		w := newTestWorld()
		old, err := Open(t.Context(), w.schema, o)
		if err != nil {
			t.Fatal(err)
		}
		defer old.Close()
		if got := old.log.Limits().Ops; got != int(ops) {
			t.Errorf("probed %d operations, the server takes %d", got, ops)
		}
		many := func(st *Store, n int) error {
			_, err := st.Commit(t.Context(), Origin{}, func(tx *Txn) error {
				for i := range n {
					w.a.Put(tx, fmt.Sprint(i), thing{N: i})
				}
				return nil
			})
			return err
		}
		var large *TooLargeError
		if err := many(old, int(ops)-1); !errors.As(err, &large) {
			t.Errorf("one too many: %v", err)
		}
		if err := many(old, int(ops)-2); err != nil {
			t.Errorf("just enough: %v", err)
		}
		young, err := Open(t.Context(), w.schema, o)
		if err != nil {
			t.Fatal(err)
		}
		defer young.Close()
		if n := w.a.Len(young.Snapshot()); n != int(ops)-2 {
			t.Errorf("the second store has %d records", n)
		}
		if _, err := put(old, w, "old", ""); !errors.Is(err, ErrFenced) {
			t.Errorf("the first store: %v, want ErrFenced", err)
		}
		if _, err := put(young, w, "young", ""); err != nil {
			t.Errorf("the second store: %v", err)
		}
		other := o
		other.Prefix = "/other/"
		third, err := Open(t.Context(), w.schema, other)
		if err != nil {
			t.Fatal(err)
		}
		defer third.Close()
		if _, err := put(third, w, "x", ""); err != nil || w.a.Len(third.Snapshot()) != 1 {
			t.Errorf("another prefix: %v, %d records", err, w.a.Len(third.Snapshot()))
		}
		if _, err := put(young, w, "young2", ""); err != nil {
			t.Errorf("the second store beside another prefix: %v", err)
		}
	}
}

// TestUnreachable opens a store on an address where nobody answers.
func TestUnreachable(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	start := time.Now()
	_, err := Open(ctx, newTestWorld().schema, Options{Endpoints: []string{"127.0.0.1:1"}, Timeout: 300 * time.Millisecond})
	if err == nil || ctx.Err() != nil {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}

// TestLocked opens a data directory twice.
func TestLocked(t *testing.T) {
	dir := t.TempDir()
	w := newTestWorld()
	st, err := Open(t.Context(), w.schema, Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	var locked *LockedError
	if _, err := Open(t.Context(), w.schema, Options{DataDir: dir}); !errors.As(err, &locked) || locked.Dir != dir {
		t.Errorf("second open: %v", err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(t.Context(), w.schema, Options{DataDir: dir})
	if err != nil {
		t.Fatalf("after close: %v", err)
	}
	again.Close()
}

// TestNoSpace fills the server's quota with former versions of records, often: the server makes room by itself, and nothing
// more is lost than the time.
func TestNoSpace(t *testing.T) {
	w := newTestWorld()
	st, err := Open(t.Context(), w.schema, Options{DataDir: t.TempDir(), quota: 4 << 20, LogBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	big := strings.Repeat("abcdefghij", 30<<10)
	refused, done := 0, 0
	deadline := time.Now().Add(4 * time.Minute)
	for done < 60 && time.Now().Before(deadline) {
		_, err := st.Commit(t.Context(), Origin{}, func(tx *Txn) error {
			x, _ := w.a.Get(tx, "x")
			w.a.Put(tx, "x", thing{ID: "x", N: x.N + 1, Kind: big})
			return nil
		})
		switch {
		case err == nil:
			done++
		case errors.Is(err, ErrUnavailable):
			refused++
			time.Sleep(time.Millisecond)
		default:
			t.Fatal(err)
		}
	}
	// What was not acknowledged may have been done all the same (ErrUnavailable); what was, is.
	if x, _ := w.a.Get(st.Snapshot(), "x"); done != 60 || x.N < done || x.N > done+refused {
		t.Errorf("%d commits done and %d refused, the record counts %d", done, refused, x.N)
	}
	if s := st.Stats(); s.Failures == 0 || s.Failures != s.Recoveries || s.Down != nil {
		t.Errorf("the quota was hit %d times and %d times overcome, want equal and some", s.Failures, s.Recoveries)
	}
	t.Logf("%d commits refused while making room", refused)
}
