// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/netvirt"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/openflow"
)

func commits(m openflow.Message) bool {
	b, ok := m.(*openflow.BundleControl)
	return ok && b.Type == openflow.BundleCommitRequest
}

// many is a book with a flow, and once there is a network with a port's entry, its guard, a group, and n rules.
func many(n int) *compile.Rulebook {
	return book(func(c *compile.Context, choice string) {
		if choice == "0" {
			return
		}
		c.Group(flow.NewGroup(leafGroup, flow.GroupAll, flow.Bucket{Acts: []flow.Act{flow.Output(1)}}))
		c.Flow(uses(2, flow.ToGroup(leafGroup)))
		c.Flow(flow.Flow{Table: 40, Priority: 36000, Match: flow.M(flow.InPort(2)), Actions: flow.Do()})
		for i := range n {
			c.Flow(flow.Flow{Table: 42, Priority: 7, Match: flow.M(flow.Reg(0, uint32(i))), Actions: flow.Do(flow.Goto(50))})
		}
	})
}

// stalls waits until the switch has stalled so often.
func (s *site) stalls(n *fakeNode, times int) {
	s.t.Helper()
	s.until(fmt.Sprintf("stalled %d times", times), func() bool { return n.sw.Counts().Stalls == times })
}

// TestLargeChangeGoesInPieces fills a switch that is deaf while it commits: it gets several bundles, one after the other, who
// enters last, and is confirmed by the last alone. What is not large is one bundle.
func TestLargeChangeGoesInPieces(t *testing.T) {
	s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, rules(many(2*maxBundle)))
	n := s.fake("a")
	s.synced(1)
	small := n.sw.Counts()
	if small.BundlesCommitted != 1 {
		t.Errorf("%d bundles for a flow", small.BundlesCommitted)
	}
	var mu sync.Mutex
	var seen []uint8 // tables in the order of the flow mods
	n.sw.Refuse(func(m openflow.Message) *openflow.Error {
		if f, ok := m.(*openflow.FlowMod); ok {
			mu.Lock()
			seen = append(seen, f.Table)
			mu.Unlock()
		}
		return nil
	})
	n.sw.Stall(commits)
	s.commit(network)
	want := s.st.Snapshot().Revision()
	for i := 1; i <= 3; i++ {
		s.stalls(n, i)
		if info := s.info("a"); info.InSync || info.Confirmed >= want {
			t.Errorf("confirmed %d of %d while bundle %d is under way", info.Confirmed, want, i)
		}
		mu.Lock()
		if i == 3 && slices.Contains(seen, 0) {
			t.Error("the port is let in before all that guards it is there")
		}
		mu.Unlock()
		if i == 3 {
			n.sw.Stall(nil)
		}
		n.sw.Resume()
	}
	s.synced(1)
	if c := n.sw.Counts(); c.BundlesCommitted != small.BundlesCommitted+3 || c.BundlesRefused != 0 || len(n.sw.Flows()) != 2*maxBundle+3 {
		t.Errorf("%+v, %d flows", c, len(n.sw.Flows()))
	}
	mu.Lock()
	defer mu.Unlock()
	if seen[0] != 40 || seen[len(seen)-1] != 0 {
		t.Errorf("from table %d to table %d, want what drops first and who enters last", seen[0], seen[len(seen)-1])
	}
}

// TestCutBetweenPieces ends the session after the first of three bundles: what is there is not sent again.
func TestCutBetweenPieces(t *testing.T) {
	s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, rules(many(2*maxBundle)))
	n := s.fake("a")
	s.synced(1)
	before := n.sw.Counts().FlowMods
	n.sw.Stall(commits)
	s.commit(network)
	for i := 1; i <= 2; i++ {
		s.stalls(n, i)
		if i == 1 {
			n.sw.Resume()
		}
	}
	n.sw.Stall(nil)
	n.sw.Drop()
	n.sw.Resume()
	s.synced(1)
	// The second may have been committed unheard: it had arrived.
	if got := n.sw.Counts().FlowMods - before; got != 2*maxBundle+2 {
		t.Errorf("%d flow mods for %d flows", got, 2*maxBundle+2)
	}
}

// TestClosedBetween holds the order of a series of bundles against what it is for.
func TestClosedBetween(t *testing.T) {
	f := func(table uint8, acts ...flow.Act) *flow.Flow {
		return &flow.Flow{Table: table, Actions: flow.Do(acts...)}
	}
	g := flow.NewGroup(leafGroup, flow.GroupAll)
	in := map[string]change{
		"6 port's drop": {flow: f(0)}, "7 entry": {flow: f(0, flow.Goto(20))}, "4 rule": {flow: f(42, flow.Goto(50))},
		"3 way": {flow: f(110, flow.Output(1))}, "1 guard": {flow: f(40)}, "5 old guard": {gone: f(40)},
		"0 old entry": {gone: f(0, flow.Goto(20))}, "0 zold rule": {gone: f(42, flow.Goto(50))}, "2 group": {group: &g},
	}
	var names []string
	for range 5 { // map order
		b, name := make([]change, 0, len(in)), map[change]string{}
		for k, c := range in {
			b, name[c] = append(b, c), k
		}
		closedBetween(b)
		names = names[:0]
		for _, c := range b {
			names = append(names, name[c])
		}
		if !slices.IsSorted(names) {
			t.Fatalf("order %q", names)
		}
	}
}

// TestNoGuardNoEntry has a switch refuse what drops a port's spoofed frames: the port is in fault and not let in, others are, and
// it is as soon as the switch takes the guard.
func TestNoGuardNoEntry(t *testing.T) {
	s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, func(c *Config) {
		c.Rules = netvirt.Standard(netvirt.Options{})
	})
	n := s.fake("a")
	s.synced(1)
	n.plug(t, one)
	n.plug(t, two)
	s.commit(func(tx *store.Txn) {
		network(tx)
		for i, id := range []model.PortID{one, two} {
			p := vm(id, "a", byte(3+i))
			p.Key = model.Key(11 + i)
			put(t, tx, p)
		}
	})
	s.until("both active", func() bool {
		return s.status(one).Status == model.StatusActive && s.status(two).Status == model.StatusActive
	})
	s.synced(1)
	entries := func(p model.PortID) (enters, guards int) {
		rec, _ := tables.Ports.Get(s.st.Snapshot(), p)
		for _, f := range n.sw.Flows() {
			c, _ := pipeline.UnpackCookie(f.Cookie)
			if c.Kind != pipeline.KindPort || c.Key != uint32(rec.Key) {
				continue
			}
			a, err := flow.WireActions(f.Instructions)
			if err != nil {
				t.Fatal(err)
			}
			switch drop := pipeline.Drops(a); {
			case f.Table == 0 && !drop:
				enters++
			case drop:
				guards++
			}
		}
		return enters, guards
	}
	ways, drops := entries(one)
	if ways == 0 || drops < 2 {
		t.Fatalf("%d entries, %d guards", ways, drops)
	}
	rec, _ := tables.Ports.Get(s.st.Snapshot(), one)
	key := flow.M(flow.Reg(pipeline.RegSrcPort, uint32(rec.Key)))
	n.sw.Refuse(func(m openflow.Message) *openflow.Error {
		if f, ok := m.(*openflow.FlowMod); ok && f.Command == openflow.FlowAdd && f.Table == 40 && bytes.Equal(f.Match, []byte(key)) {
			return &openflow.Error{Type: 5, Code: 1}
		}
		return nil
	})
	// Somebody removes the guard alone; what lets the port in is on the switch still.
	if err := n.sw.Change(&openflow.FlowMod{Command: openflow.FlowDeleteStrict, Table: 40, Priority: pipeline.PrioSpoofed, Match: []byte(key)}); err != nil {
		t.Fatal(err)
	}
	s.hub.Audit("a")
	s.until("shut out", func() bool { e, g := entries(one); return e == 0 && g == drops-1 })
	s.until("in fault", func() bool { return s.status(one).Status == model.StatusError })
	s.synced(1)
	if e, g := entries(two); e != ways || g != drops {
		t.Errorf("the other port: %d entries, %d guards", e, g)
	}
	mods := n.sw.Counts().FlowMods
	s.hub.Audit("a")
	s.until("audited", func() bool { return s.info("a").Sent.Audits >= 2 })
	s.synced(1)
	if got := n.sw.Counts().FlowMods - mods; got != 0 {
		t.Errorf("%d flow mods by an audit of what stands", got)
	}
	// An entry that is new is put aside too.
	s.commit(func(tx *store.Txn) {
		p, _ := tables.Ports.Get(tx, one)
		p.AllowedPairs = append(p.AllowedPairs, model.AddressPair{MAC: model.MAC{2, 0, 0, 0, 0, 9}, Prefix: netip.MustParsePrefix("10.0.0.9/32")})
		if err := alloc.PutPort(tx, p); err != nil {
			t.Error(err)
		}
	})
	s.synced(1)
	if e, _ := entries(one); e != 0 {
		t.Errorf("%d entries after a change", e)
	}
	n.sw.Refuse(nil)
	// It loses its guard for the time being, and has it tried again with the next.
	for _, security := range []bool{false, true} {
		s.commit(func(tx *store.Txn) {
			p, _ := tables.Ports.Get(tx, one)
			p.PortSecurity = security
			put(t, tx, p)
		})
		s.synced(1)
		s.until(fmt.Sprintf("let in with port security %v", security), func() bool {
			e, _ := entries(one)
			return e > 0 && (!security || e > ways) && s.status(one).Status == model.StatusActive
		})
	}
}
