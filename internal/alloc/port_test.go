// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"testing"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

func slot(r store.Reader, node model.NodeID, port model.PortID) uint32 {
	s, _ := tables.SlotsByPort.First(r, model.PlugKey(node, port))
	return s.Number
}

// TestSlots follows a port from node to node: it has one used slot, what it had is dirty, and no other port gets that number.
func TestSlots(t *testing.T) {
	st := store.New(tables.Schema, nil)
	p := model.Port{ID: "p1", PortPlane: model.PortPlane{Host: "a"}}
	put := func(tx *store.Txn, p model.Port) {
		t.Helper()
		if err := PutPort(tx, p); err != nil {
			t.Fatal(err)
		}
	}
	commit(t, st, func(tx *store.Txn) { put(tx, p) })
	if got := slot(st.Snapshot(), "a", "p1"); got != 1 {
		t.Fatalf("first slot of a: %d, want 1", got)
	}
	p.AdminStateUp = true
	commit(t, st, func(tx *store.Txn) { put(tx, p) })
	if got := slot(st.Snapshot(), "a", "p1"); got != 1 {
		t.Errorf("after a change of something else: slot %d, want 1 still", got)
	}
	p.Host = "b"
	commit(t, st, func(tx *store.Txn) {
		put(tx, p)
		put(tx, model.Port{ID: "p2", PortPlane: model.PortPlane{Host: "a"}})
	})
	r := st.Snapshot()
	if a, b, other := slot(r, "a", "p1"), slot(r, "b", "p1"), slot(r, "a", "p2"); a != 0 || b != 1 || other != 2 {
		t.Errorf("moved from a to b: a has %d, b has %d, another port on a has %d; want 0, 1, 2", a, b, other)
	}
	if s, ok := tables.DirtySlots.First(r, "a"); !ok || s.Port != "p1" || s.Used() || s.Zone() != 4096 {
		t.Errorf("dirty on a: %+v %v", s, ok)
	}
	commit(t, st, func(tx *store.Txn) { DeletePort(tx, "p1") })
	if s, ok := tables.DirtySlots.First(st.Snapshot(), "b"); !ok || s.Number != 1 {
		t.Errorf("deleted: dirty on b %+v %v", s, ok)
	}
}

// TestSlotsWrap: after the last number come those that are free again, and a dirty one is not.
func TestSlotsWrap(t *testing.T) {
	st := store.New(tables.Schema, nil)
	commit(t, st, func(tx *store.Txn) {
		setNextSlot(tx, "a", model.MaxSlot-1)
		for _, id := range []model.PortID{"p1", "p2", "p3", "p4"} {
			if err := PutPort(tx, model.Port{ID: id, PortPlane: model.PortPlane{Host: "a"}}); err != nil {
				t.Fatal(err)
			}
		}
	})
	r := st.Snapshot()
	if a, b, c, d := slot(r, "a", "p1"), slot(r, "a", "p2"), slot(r, "a", "p3"), slot(r, "a", "p4"); a != model.MaxSlot-1 || b != model.MaxSlot || c != 1 || d != 2 {
		t.Errorf("slots %d %d %d %d", a, b, c, d)
	}
	commit(t, st, func(tx *store.Txn) {
		DeletePort(tx, "p2")
		setNextSlot(tx, "a", model.MaxSlot)
		if err := PutPort(tx, model.Port{ID: "p5", PortPlane: model.PortPlane{Host: "a"}}); err != nil {
			t.Fatal(err)
		}
	})
	if got := slot(st.Snapshot(), "a", "p5"); got != 3 {
		t.Errorf("slot %d, want 3: %d is dirty, 1 and 2 are used", got, model.MaxSlot)
	}
}

// TestGroupSets: ports with the same groups, in whatever order, share a set; it goes with its last wearer.
func TestGroupSets(t *testing.T) {
	st := store.New(tables.Schema, nil)
	put := func(id model.PortID, groups ...model.SecurityGroupID) {
		t.Helper()
		commit(t, st, func(tx *store.Txn) {
			if err := PutPort(tx, model.Port{ID: id, PortPlane: model.PortPlane{SecurityGroups: groups}}); err != nil {
				t.Fatal(err)
			}
		})
	}
	set := func(id model.PortID) model.Key {
		p, _ := tables.Ports.Get(st.Snapshot(), id)
		return p.GroupSet
	}
	put("p1", "g1", "g2")
	put("p2", "g2", "g1")
	put("p3", "g1")
	put("p4")
	if set("p1") == 0 || set("p1") != set("p2") || set("p3") == set("p1") || set("p3") == 0 || set("p4") != 0 {
		t.Fatalf("sets %d %d %d %d", set("p1"), set("p2"), set("p3"), set("p4"))
	}
	both := set("p2")
	put("p2", "g1")
	if n := tables.GroupSets.Len(st.Snapshot()); set("p2") != set("p3") || n != 2 {
		t.Errorf("sets %d %d, %d in all, want the same, of 2", set("p2"), set("p3"), n)
	}
	commit(t, st, func(tx *store.Txn) { DeletePort(tx, "p1") })
	if n := tables.GroupSets.Len(st.Snapshot()); n != 2 {
		t.Errorf("%d sets, want 2: nobody wears one of them, but p2 did until lately", n)
	}
	commit(t, st, func(tx *store.Txn) { ForgetFormerSet(tx, "p2", set("p2")) }) // not the one that it left
	if f, ok := tables.FormerSets.Get(st.Snapshot(), "p2"); !ok || f.Set != both || len(f.Groups) != 2 {
		t.Errorf("former set of p2: %+v %v, want %d", f, ok, both)
	}
	commit(t, st, func(tx *store.Txn) { ForgetFormerSet(tx, "p2", both) })
	if n := tables.GroupSets.Len(st.Snapshot()); n != 1 {
		t.Errorf("%d sets once the last trace of one went, want 1", n)
	}
	// Of several changes the last former set counts, and a port that goes leaves none.
	put("p2", "g2")
	put("p2", "g3")
	if f, _ := tables.FormerSets.Get(st.Snapshot(), "p2"); tables.GroupSets.Len(st.Snapshot()) != 3 || len(f.Groups) != 1 || f.Groups[0] != "g2" {
		t.Errorf("%d sets, former %+v; want those of p3 and p2 and the former one of p2", tables.GroupSets.Len(st.Snapshot()), f)
	}
	commit(t, st, func(tx *store.Txn) { DeletePort(tx, "p2"); DeletePort(tx, "p3") })
	if r := st.Snapshot(); tables.GroupSets.Len(r) != 0 || tables.FormerSets.Len(r) != 0 {
		t.Errorf("%d sets and %d former ones after all wearers went", tables.GroupSets.Len(r), tables.FormerSets.Len(r))
	}
}

// TestComplete gives ports of a store from before slots and sets what they lack, once.
func TestComplete(t *testing.T) {
	st := store.New(tables.Schema, nil)
	commit(t, st, func(tx *store.Txn) {
		tables.Ports.Put(tx, "p1", model.Port{ID: "p1", PortPlane: model.PortPlane{Host: "a", SecurityGroups: []model.SecurityGroupID{"g"}}})
	})
	complete := func() store.Revision {
		commit(t, st, func(tx *store.Txn) {
			if err := Complete(tx, Incomplete(tx)); err != nil {
				t.Fatal(err)
			}
		})
		return st.Snapshot().Revision()
	}
	first := complete()
	p, _ := tables.Ports.Get(st.Snapshot(), "p1")
	if slot(st.Snapshot(), "a", "p1") != 1 || p.GroupSet == 0 {
		t.Errorf("after: slot %d, set %d", slot(st.Snapshot(), "a", "p1"), p.GroupSet)
	}
	if again := complete(); again != first {
		t.Errorf("a second time wrote revision %d after %d", again, first)
	}
}

func setNextSlot(tx *store.Txn, node model.NodeID, next model.Key) {
	kind := Kind(slots + string(node))
	c, _ := counters.Get(tx, kind)
	c.Next = next
	counters.Put(tx, kind, c)
}

func commit(t *testing.T, st *store.Store, f func(*store.Txn)) {
	t.Helper()
	in(t, st, func(tx *store.Txn) error { f(tx); return nil })
}
