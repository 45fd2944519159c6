// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"testing"
	"time"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// TestOnNodes: what follows nodes is done at the start, when nodes change, when it is due, and again after it failed; not for
// other changes.
func TestOnNodes(t *testing.T) {
	st, err := store.Open(t.Context(), tables.Schema, store.Options{Log: store.NewMemory(store.Limits{}).Log()})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	ctx, cancel := context.WithCancel(t.Context())
	look, placed, works, due := make(chan time.Time), make(chan struct{}, 100), make(chan bool, 100), make(chan bool, 1)
	done := make(chan error, 1)
	go func() {
		done <- onNodes(ctx, st, look, func() bool { return <-due }, func() bool { placed <- struct{}{}; return <-works })
	}()
	at := func(why string, want int) {
		t.Helper()
		for range want {
			select {
			case <-placed:
			case <-time.After(20 * time.Second):
				t.Fatalf("%s: nothing is done", why)
			}
		}
		if len(placed) > 0 {
			t.Errorf("%s: it is done once too often", why)
		}
	}
	tick := func(isDue bool) { due <- isDue; look <- time.Time{} }
	idle := func() { tick(false) }
	put := func(f func(tx *store.Txn)) {
		t.Helper()
		if _, err := st.Commit(t.Context(), store.Origin{}, func(tx *store.Txn) error { f(tx); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	works <- true
	at("at the start", 1)
	idle()
	idle() // when it is taken, the one before was dealt with
	at("nothing is due", 0)
	works <- false
	tick(true)
	at("it is due", 1)
	works <- false
	idle()
	at("it failed", 1)
	works <- true
	idle()
	at("it failed again", 1)
	idle()
	idle()
	at("it worked at last", 0)
	put(func(tx *store.Txn) { tables.Networks.Put(tx, "n", model.Network{ID: "n"}) })
	idle()
	idle()
	at("a network came", 0)
	works <- true
	put(func(tx *store.Txn) { tables.Nodes.Put(tx, "node", model.Node{ID: "node"}) })
	at("a node came", 1)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
