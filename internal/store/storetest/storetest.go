// SPDX-License-Identifier: Apache-2.0

// Package storetest is the conformance suite of internal/store: what every store promises, whatever log is behind it. The
// tests of internal/store run it over each log.
//
// The suite brings a small schema of its own: networks, ports with an index and a derived join over both, and a volatile
// table. It uses only what the package exports.
package storetest

import (
	"context"
	"testing"

	"nagare/internal/store"
)

// Backend names a kind of log.
type Backend struct {
	Name string
	// Place makes an empty log and returns how to open it, again and again; one store at a time.
	Place func(t testing.TB) func() store.Options
}

// Net is a network; Kind is its data-plane part.
type Net struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Kind string `json:"kind"`
}

// Port is a port; Net and Host are its data-plane part.
type Port struct {
	ID   string   `json:"id"`
	Net  string   `json:"net"`
	Host string   `json:"host"`
	Name string   `json:"name"`
	Tags []string `json:"tags,omitempty"`
}

// Link is volatile.
type Link struct {
	Port string `json:"port"`
	Up   bool   `json:"up"`
}

type world struct {
	schema *store.Schema
	nets   *store.Table[string, Net]
	ports  *store.Table[string, Port]
	links  *store.Table[string, Link]
	byNet  *store.Index[string, Port]
	byName *store.Index[string, Net]
	hosts  *store.Derived // network of kind "tunnel" -> hosts of its ports
}

func newWorld() *world {
	w := &world{schema: store.NewSchema()}
	w.nets = store.Declare[string, Net](w.schema, "nets", store.Intent).Plane(func(n Net) any { return n.Kind })
	w.ports = store.Declare[string, Port](w.schema, "ports", store.Intent).Plane(func(p Port) any { return [2]string{p.Net, p.Host} })
	w.links = store.Declare[string, Link](w.schema, "links", store.Volatile)
	w.byNet = store.DeclareIndex(w.schema, w.ports, "net", func(p Port) []string { return []string{p.Net} })
	w.byName = store.DeclareIndex(w.schema, w.nets, "name", func(n Net) []string { return []string{n.Name} })
	w.hosts = store.DeclareDerived(w.schema, "hosts", func(r store.Reader, id string) []store.Member {
		p, ok := w.ports.Get(r, id)
		if !ok || p.Host == "" {
			return nil
		}
		if n, ok := w.nets.Get(r, p.Net); !ok || n.Kind != "tunnel" {
			return nil
		}
		return []store.Member{{Group: p.Net, Name: p.Host}}
	})
	store.From(w.hosts, w.ports, func(_ store.Reader, p Port) []string { return []string{p.ID} })
	store.From(w.hosts, w.nets, func(r store.Reader, n Net) []string {
		var out []string
		for p := range w.byNet.By(r, n.ID) {
			out = append(out, p.ID)
		}
		return out
	})
	return w
}

func open(t testing.TB, w *world, o store.Options) *store.Store {
	t.Helper()
	st, err := store.Open(t.Context(), w.schema, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

func commit(t testing.TB, st *store.Store, f func(*store.Txn)) store.Result {
	t.Helper()
	r, err := st.Commit(context.Background(), store.Origin{Request: "req-1", User: "tester", Action: "test"}, func(tx *store.Txn) error { f(tx); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Run runs the suite.
func Run(t *testing.T, b Backend) {
	for name, f := range map[string]func(*testing.T, func() store.Options){
		"Atomic":        testAtomic,
		"Isolated":      testIsolated,
		"Ordered":       testOrdered,
		"NoChange":      testNoChange,
		"Watch":         testWatch,
		"Rename":        testRename,
		"Tracked":       testTracked,
		"Histories":     testHistories,
		"Reopen":        testReopen,
		"UnknownFields": testUnknownFields,
		"TooLarge":      testTooLarge,
		"Idempotent":    testIdempotent,
		"Log":           testLog,
		"Follow":        testFollow,
		"Trim":          testTrim,
		"Volatile":      testVolatile,
		"OddNames":      testOddNames,
		"Panic":         testPanic,
		"Closed":        testClosed,
		"Context":       testContext,
	} {
		t.Run(name, func(t *testing.T) { f(t, b.Place(t)) })
	}
}
