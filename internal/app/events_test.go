// SPDX-License-Identifier: Apache-2.0

package app

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/api/admin"
	"nagare/internal/identity"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// TestEvents: of each commit is told what became of which object and who asked, and nothing of secrets and of what allocators keep.
func TestEvents(t *testing.T) {
	st := store.New(tables.Schema, nil)
	if err := identity.Bootstrap(t.Context(), st, "secret"); err != nil {
		t.Fatal(err)
	}
	commit := func(f func(tx *store.Txn) error) {
		t.Helper()
		if _, err := st.Commit(t.Context(), store.Origin{Request: "req-1", User: "demo", Project: "p", Action: "test"}, f); err != nil {
			t.Fatal(err)
		}
	}
	p := model.Port{ID: "port"}
	p.Network, p.Host, p.Key, p.DeviceOwner = "net", "compute", 5, "compute:nova"
	commit(func(tx *store.Txn) error {
		tables.Networks.Put(tx, "net", model.Network{ID: "net"})
		return alloc.PutPort(tx, p) // which takes a slot, too
	})
	p.Name = "renamed"
	commit(func(tx *store.Txn) error { return alloc.PutPort(tx, p) })
	commit(func(tx *store.Txn) error {
		alloc.DeletePort(tx, "port")
		return nil
	})
	enough := errors.New("enough")
	var got []string
	err := (backend{&Server{store: st}}).Events(t.Context(), 0, func(es []admin.Event, lost bool) error {
		for _, e := range es {
			if e.Request != "req-1" || e.User != "demo" || e.Project != "p" || e.Action != "test" || e.Revision == 0 || lost {
				t.Errorf("event %+v, lost %v", e, lost)
			}
			for _, c := range e.Changes {
				got = append(got, fmt.Sprint(c.Change, " ", c.Kind, " ", c.ID))
			}
		}
		return enough
	})
	want := []string{"created networks net", "created ports port", "updated ports port", "deleted ports port"}
	if !errors.Is(err, enough) || !slices.Equal(got, want) {
		t.Errorf("%v; %q, want %q", err, got, want)
	}
}
