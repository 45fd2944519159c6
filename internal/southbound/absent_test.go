// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"maps"
	"testing"
	"time"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// TestAbsent tells nodes that have had no session for long enough from those that have one, and from those of which it is too
// early to say anything.
func TestAbsent(t *testing.T) {
	s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, quick)
	s.fake("a")
	s.synced(1)
	s.commit(func(tx *store.Txn) { tables.Nodes.Put(tx, "b", model.Node{ID: "b"}) }) // known from before, and silent
	s.until("b is absent and a is not", func() bool { return maps.Equal(s.hub.Absent(0), map[model.NodeID]bool{"b": true}) })
	if got := s.hub.Absent(time.Hour); len(got) != 0 {
		t.Errorf("absent for an hour: %v", got)
	}
	s.commit(func(tx *store.Txn) { tables.Nodes.Delete(tx, "b") })
	s.until("a forgotten node is nobody", func() bool { return len(s.hub.Absent(0)) == 0 })
}
