// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/ovstest"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/openflow"
)

// slots are a node's slots as "number:port", with a "!" for dirty ones.
func (s *site) slots(node model.NodeID) string { return slotsIn(s.st.Snapshot(), node) }

func slotsIn(r store.Reader, node model.NodeID) string {
	var out []string
	for _, x := range tables.Slots.All(r) {
		if x.Node != node {
			continue
		}
		text := fmt.Sprintf("%d:%s", x.Number, x.Port[:1])
		if !x.Used() {
			text += "!"
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

func quick(c *Config) { c.Timings.Flush = 80 * time.Millisecond }

// flushOnce makes the switch deaf when a zone that it has flushed is to be flushed again: however late a test looks, it sees what is
// so between the first flush and the second. Only a session's end ends it.
func (n *fakeNode) flushOnce() {
	n.sw.Stall(func(m openflow.Message) bool {
		f, ok := m.(*openflow.CTFlushZone)
		if !ok {
			return false
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.flushes[f.Zone] > 0
	})
}

// newSession ends that, and the session.
func (n *fakeNode) newSession() {
	n.sw.Stall(nil)
	n.sw.Drop()
}

const (
	one = "11111111-1111"
	two = "22222222-2222"
)

// TestZonesAreFlushed follows a zone through its life: it is flushed twice after its port has left, and nobody else's is.
func TestZonesAreFlushed(t *testing.T) {
	s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, quick)
	n := s.fake("a")
	s.synced(1)
	n.plug(t, one)
	n.plug(t, two)
	s.commit(func(tx *store.Txn) { network(tx); put(t, tx, vm(one, "a", 3)); put(t, tx, vm(two, "a", 4)) })
	s.until("both active", func() bool {
		return s.status(one).Status == model.StatusActive && s.status(two).Status == model.StatusActive
	})
	if got := s.slots("a"); got != "1:1 2:2" {
		t.Fatalf("slots %q", got)
	}
	s.commit(func(tx *store.Txn) { alloc.DeletePort(tx, one) })
	s.until("the number is free", func() bool { return s.slots("a") == "2:2" })
	if got := n.flushed(); got != "24094:2 34096:2 4096:2" {
		t.Errorf("flushed %q, want the freed zones twice and nothing else", got)
	}
	if i := s.info("a"); i.Zones != 0 || i.Sent.ZoneFlushes != 6 {
		s.until("counted", func() bool { i := s.info("a"); return i.Zones == 0 && i.Sent.ZoneFlushes == 6 })
	}

	// Away and back: the node has the port in a new slot, while the old one is cleaned.
	s.fake("b")
	s.commit(func(tx *store.Txn) { // one commit: between two the slot may become clean
		put(t, tx, vm(two, "b", 4))
		put(t, tx, vm(two, "a", 4))
		if got := slotsIn(tx, "a"); got != "2:2! 3:2" {
			t.Errorf("after it came back: slots %q", got)
		}
	})
	s.until("both left places cleaned", func() bool { return s.slots("a") == "3:2" && s.slots("b") == "" })
	if got := n.flushed(); got != "24094:2 24095:2 34096:2 34097:2 4096:2 4097:2" {
		t.Errorf("flushed %q, want nothing of the zone in use", got)
	}

	// Many at once are flushed together.
	var ids []model.PortID
	s.commit(func(tx *store.Txn) {
		for i := range 50 {
			p := vm(model.PortID(fmt.Sprintf("33333333-%04d", i)), "a", byte(10+i))
			ids = append(ids, p.ID)
			put(t, tx, p)
		}
	})
	barriers := n.sw.Counts().Barriers
	s.commit(func(tx *store.Txn) {
		for _, id := range ids {
			alloc.DeletePort(tx, id)
		}
	})
	s.until("all free", func() bool { return s.slots("a") == "3:2" })
	if got := n.sw.Counts().Barriers - barriers; got > 6 {
		t.Errorf("%d barriers for fifty zones", got)
	}
}

// TestZonesWaitForConfirmation shows that a zone is not flushed while the switch has yet to confirm that nothing uses it, and
// that another process begins anew: with the first flush, whatever the one before had done.
func TestZonesWaitForConfirmation(t *testing.T) {
	s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, quick)
	n := s.fake("a")
	s.synced(1)
	n.plug(t, one)
	s.commit(func(tx *store.Txn) { network(tx); put(t, tx, vm(one, "a", 3)) })
	s.until("active", func() bool { return s.status(one).Status == model.StatusActive })
	n.sw.Silence(true)
	s.commit(func(tx *store.Txn) { alloc.DeletePort(tx, one) })
	s.until("seen", func() bool { return s.info("a").Zones == 1 })
	var due time.Time
	k := zoneKeeper{t: s.hub.nodes["a"], zones: map[string]*zone{}}
	if _, err := k.round(t.Context()); err != nil {
		t.Error(err)
	}
	for _, z := range k.zones {
		due = z.due
	}
	if len(k.zones) != 1 || !due.IsZero() {
		t.Errorf("%d zones, clock started %v, while the switch is silent", len(k.zones), due)
	}
	n.flushOnce()
	n.sw.Silence(false)
	n.sw.Drop() // what it swallowed it will never answer
	s.until("flushed once", func() bool { return n.flushed() == "24094:1 34096:1 4096:1" })
	s.stop() // between the first flush and the second
	n.newSession()
	if got := s.slots("a"); got != "1:1!" {
		t.Fatalf("slots after one flush: %q", got)
	}
	again := newSiteWith(t, reopen(t, s.st), s.ovsdbPort, s.ofPort, quick)
	if err := n.db.Dial("tcp", again.ovsdb.Addr().String()); err != nil {
		t.Fatal(err)
	}
	again.until("free", func() bool { return again.slots("a") == "" })
	if got := n.flushed(); got != "24094:3 34096:3 4096:3" {
		t.Errorf("flushed %q, want twice more by the next process", got)
	}
}

// TestZonesOfASession shows that a new session flushes from the beginning.
func TestZonesOfASession(t *testing.T) {
	s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, quick)
	n := s.fake("a")
	s.synced(1)
	n.flushOnce()
	s.commit(func(tx *store.Txn) { network(tx); put(t, tx, vm(one, "a", 3)) })
	s.commit(func(tx *store.Txn) { alloc.DeletePort(tx, one) })
	s.until("flushed once", func() bool { return n.flushed() == "24094:1 34096:1 4096:1" })
	n.newSession()
	s.until("free", func() bool { return s.slots("a") == "" })
	if got := n.flushed(); got != "24094:3 34096:3 4096:3" {
		t.Errorf("flushed %q, want once by the first session and twice by the second", got)
	}
}

// TestForgottenNode shows that what a node that is gone had reserved is given back, and what is bound to it still is not.
func TestForgottenNode(t *testing.T) {
	s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, func(c *Config) { c.Timings.Flush = time.Hour })
	s.fake("a")
	s.synced(1)
	s.commit(func(tx *store.Txn) {
		network(tx)
		put(t, tx, vm(one, "a", 3))
		put(t, tx, vm(two, "a", 4))
		put(t, tx, vm("33333333-3333", "never", 5))
	})
	s.commit(func(tx *store.Txn) { alloc.DeletePort(tx, one) })
	s.until("seen", func() bool { return s.info("a").Zones == 1 })
	s.commit(func(tx *store.Txn) { alloc.DeletePort(tx, "33333333-3333") })
	s.until("nothing kept for a node that nobody knows", func() bool { return s.slots("never") == "" })
	if got := s.slots("a"); got != "1:1! 2:2" {
		t.Errorf("slots before: %q", got)
	}
	s.commit(func(tx *store.Txn) { tables.Nodes.Delete(tx, "a") })
	s.until("given back", func() bool { return s.slots("a") == "2:2" })

	// The same for what a process finds when it starts.
	s.stop()
	st := reopen(t, s.st)
	if _, err := st.Commit(t.Context(), store.Origin{}, func(tx *store.Txn) error {
		tables.Nodes.Delete(tx, "a") // it had called again
		tables.Slots.Put(tx, model.SlotKey("a", 9), model.Slot{Node: "a", Number: 9, Port: one, Freed: time.Now()})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	again := newSiteWith(t, st, 0, 0, quick)
	again.until("given back at start", func() bool { return again.slots("a") == "2:2" })
}

// TestZonesOnRealSwitch fills zones of a real switch and shows that the one whose port goes is emptied, and no other.
func TestZonesOnRealSwitch(t *testing.T) {
	s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, quick)
	sw := s.node("controller", "192.168.0.10")
	s.synced(1)
	plug(sw, one)
	plug(sw, two)
	s.commit(func(tx *store.Txn) {
		network(tx)
		put(t, tx, vm(one, "controller", 3))
		put(t, tx, vm(two, "controller", 4))
	})
	s.until("active", func() bool {
		return s.status(one).Status == model.StatusActive && s.status(two).Status == model.StatusActive
	})
	s.synced(1)
	// Connections as the rules of the standard profile would make them, on a bridge of its own: zones are the datapath's.
	sw.AddBridge("br-fill")
	sw.AddPort("br-fill", "fill", 1)
	sw.Ofctl("add-flow", "br-fill", "table=0,udp,tp_dst=1,actions=ct(commit,zone=4096)")
	sw.Ofctl("add-flow", "br-fill", "table=0,udp,tp_dst=2,actions=ct(commit,zone=4097)")
	src := netip.MustParseAddr("10.0.0.9")
	sw.Ofctl("add-flow", "br-fill", "table=0,udp,tp_dst=3,actions=ct(commit,zone=34096),ct(commit,zone=24094)")
	for zone := 1; zone <= 3; zone++ {
		for i := range 3 {
			sw.Receive("fill", fmt.Sprintf("in_port(1),eth(src=50:54:00:00:00:09,dst=50:54:00:00:00:0a),eth_type(0x0800),"+
				"ipv4(src=%s,dst=10.0.0.10,proto=17,tos=0,ttl=64,frag=no),udp(src=%d,dst=%d)", src, 1000+i, zone))
		}
	}
	entries := func(zone int) int {
		return strings.Count(sw.Appctl("dpctl/dump-conntrack", "dummy@ovs-dummy"), fmt.Sprintf("zone=%d", zone))
	}
	if err := ovstest.Poll(patience, func() error {
		if entries(4096) != 3 || entries(4097) != 3 || entries(34096) != 3 || entries(24094) != 3 {
			return errors.New("not filled yet: " + sw.Appctl("dpctl/dump-conntrack", "dummy@ovs-dummy"))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	s.stop() // a restart flushes nothing that is in use
	again := newSiteWith(t, reopen(t, s.st), s.ovsdbPort, s.ofPort, quick)
	again.synced(1)
	if got := []int{entries(4096), entries(4097), entries(34096), entries(24094)}; !slices.Equal(got, []int{3, 3, 3, 3}) {
		t.Errorf("connections after a restart: %v", got)
	}
	again.commit(func(tx *store.Txn) { alloc.DeletePort(tx, one) })
	again.until("free", func() bool { return again.slots("controller") == "2:2" })
	if got := []int{entries(4096), entries(4097), entries(34096), entries(24094)}; !slices.Equal(got, []int{0, 3, 0, 0}) {
		t.Errorf("connections in the zones: %v, want 0, 3 and 0", got)
	}
}
