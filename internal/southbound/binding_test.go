// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"fmt"
	"testing"

	"nagare/internal/model"
	"nagare/internal/netvirt"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/openflow"
	"nagare/ovsdb"
)

// unplug takes a port's interface off the fake node's br-int.
func (n *fakeNode) unplug(t testing.TB, id model.PortID) {
	t.Helper()
	br, _ := n.db.Find("Bridge", "name", ovsdb.String(netvirt.Bridge))
	p, _ := n.db.Find("Port", "name", ovsdb.String(id.TapName()))
	tx := ovsdb.NewTxn(database)
	tx.Mutate("Bridge", ovsdb.ByUUID(br), ovsdb.Remove("ports", p))
	if _, err := n.db.Transact(tx.Ops()...); err != nil {
		t.Fatal(err)
	}
}

// TestBindingStatus follows the status of a port from one host to another: the second is ready when it has confirmed, and the port
// is ACTIVE all the while, in whichever order the interface goes and the binding is activated.
func TestBindingStatus(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprint("interface goes before the activation: ", late), func(t *testing.T) {
			s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, standard(nil))
			a, b := s.fake("a"), s.fake("b")
			s.synced(2)
			var seen []string
			is := func(what, status string, ready ...model.NodeID) {
				t.Helper()
				s.until(what, func() bool {
					v := s.status(one)
					if n := len(seen); v.Status != "" && (n == 0 || seen[n-1] != v.Status) {
						seen = append(seen, v.Status)
					}
					return v.Status == status && fmt.Sprint(v.Ready) == fmt.Sprint(ready)
				})
			}
			p := vm(one, "a", 3)
			a.plug(t, one)
			s.commit(func(tx *store.Txn) { network(tx); put(t, tx, p) })
			is("up", model.StatusActive)
			seen = nil
			p.Bindings = []model.Binding{{Host: "b"}}
			s.commit(func(tx *store.Txn) { put(t, tx, p) })
			is("bound twice", model.StatusActive)
			b.sw.Stall(func(m openflow.Message) bool { _, ok := m.(*openflow.BarrierRequest); return ok })
			b.plug(t, one)
			s.until("under way", func() bool { return b.sw.Counts().Stalls > 0 })
			is("plugged, and not confirmed", model.StatusActive)
			b.sw.Stall(nil)
			b.sw.Resume()
			is("confirmed", model.StatusActive, "b")

			leave := func() {
				a.unplug(t, one)
				s.until("unplugged", func() bool { _, there := tables.Plugs.Get(s.st.Snapshot(), model.PlugKey("a", one)); return !there })
				s.synced(2)
			}
			if late {
				leave()
				is("left without being told", model.StatusActive, "b")
			}
			p.Host, p.Bindings = "b", []model.Binding{{Host: "a", Former: true}}
			s.commit(func(tx *store.Txn) { put(t, tx, p) })
			if !late {
				is("activated", model.StatusActive, "a")
				leave()
			}
			is("left", model.StatusActive)
			p.Bindings = nil
			s.commit(func(tx *store.Txn) { put(t, tx, p) })
			s.synced(2)
			is("at its end", model.StatusActive)
			if fmt.Sprint(seen) != "[ACTIVE]" {
				t.Errorf("the port was %v on its way", seen)
			}
			b.unplug(t, one)
			is("gone", model.StatusDown)
		})
	}
}

// TestBindingCancelled: an instance that is nowhere is down, also when it was about to go somewhere.
func TestBindingCancelled(t *testing.T) {
	s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, standard(nil))
	a, b := s.fake("a"), s.fake("b")
	s.synced(2)
	p := vm(one, "a", 3)
	p.Bindings = []model.Binding{{Host: "b"}}
	a.plug(t, one)
	b.plug(t, one)
	s.commit(func(tx *store.Txn) { network(tx); put(t, tx, p) })
	s.until("ready", func() bool { v := s.status(one); return v.Status == model.StatusActive && len(v.Ready) == 1 })
	b.unplug(t, one)
	s.until("no longer ready", func() bool { v := s.status(one); return v.Status == model.StatusActive && len(v.Ready) == 0 })
	a.unplug(t, one)
	s.until("nowhere", func() bool { return s.status(one).Status == model.StatusDown })
}
