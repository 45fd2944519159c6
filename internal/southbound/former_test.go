// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"fmt"
	"testing"
	"time"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// formerOf is the key of the set of groups that a port wore before.
func (s *site) formerOf(id model.PortID) model.Key {
	f, _ := tables.FormerSets.Get(s.st.Snapshot(), id)
	return f.Set
}

// TestFormerSetsAreForgotten keeps the set of groups that a port left until its node has confirmed the change, and some time
// more; also over a restart, and when there is no node to confirm.
func TestFormerSetsAreForgotten(t *testing.T) {
	s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, quick)
	n := s.fake("a")
	s.synced(1)
	n.plug(t, one)
	wear := func(id model.PortID, g model.SecurityGroupID) {
		s.commit(func(tx *store.Txn) {
			p, _ := tables.Ports.Get(tx, id)
			p.SecurityGroups = []model.SecurityGroupID{g}
			put(t, tx, p)
		})
	}
	s.commit(func(tx *store.Txn) {
		network(tx)
		for i, g := range []model.SecurityGroupID{"g1", "g2", "g3"} { // each with another flow, so that a change has to be confirmed
			tables.SecurityGroups.Put(tx, g, model.SecurityGroup{ID: g, SecurityGroupPlane: model.SecurityGroupPlane{Stateful: true}})
			id := model.SecurityGroupRuleID(g) + "-rule"
			tables.Rules.Put(tx, id, model.SecurityGroupRule{ID: id, RulePlane: model.RulePlane{Key: model.Key(i + 1), Group: g,
				Direction: model.Egress, Ethertype: model.EtherIPv4, Protocol: fmt.Sprint(200 + i)}})
		}
		put(t, tx, vm(one, "a", 3))
		put(t, tx, vm(two, "", 4))
	})
	wear(one, "g1")
	wear(two, "g1")
	s.until("active", func() bool { return s.status(one).Status == model.StatusActive })

	wear(two, "g2") // nowhere, so nobody has to confirm
	s.until("forgotten without a node", func() bool { return s.formerOf(two) == 0 })

	n.sw.Silence(true)
	wear(one, "g2")
	was := s.formerOf(one)
	if was == 0 {
		t.Fatal("the former set was not kept")
	}
	waited := make(chan struct{})
	time.AfterFunc(3*s.hub.cfg.Timings.Flush, func() { close(waited) })
	<-waited
	if s.formerOf(one) != was {
		t.Error("forgotten before the node confirmed the change")
	}
	n.sw.Silence(false)
	n.sw.Drop()
	s.until("forgotten", func() bool { return s.formerOf(one) == 0 })

	s.stop()
	s.commit(func(tx *store.Txn) {
		p, _ := tables.Ports.Get(tx, one)
		p.SecurityGroups = []model.SecurityGroupID{"g3"}
		put(t, tx, p)
	})
	again := newSiteWith(t, reopen(t, s.st), s.ovsdbPort, s.ofPort, quick)
	if again.formerOf(one) == 0 {
		t.Fatal("a restart lost the former set")
	}
	if err := n.db.Dial("tcp", again.ovsdb.Addr().String()); err != nil {
		t.Fatal(err)
	}
	again.until("forgotten after a restart", func() bool { return again.formerOf(one) == 0 })
	if n := tables.GroupSets.Len(again.st.Snapshot()); n != 2 {
		t.Errorf("%d sets of groups, want 2", n)
	}
}
