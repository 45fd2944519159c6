// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/netvirt"
	"nagare/internal/ovstest"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/openflow"
	"nagare/openflow/oftest"
	"nagare/ovsdb"
	"nagare/ovsdb/ovsdbtest"
)

// fakeNode is an OVSDB server and an OpenFlow switch in memory that behave like one node.
type fakeNode struct {
	db   *ovsdbtest.Server
	sw   *oftest.Switch
	outs chan *openflow.PacketOut // packet-outs; the newest are lost if nobody takes them

	mu      sync.Mutex
	flushes map[uint16]int // zones -> how often they were flushed
}

// flushed is how often each zone was flushed, as "zone:times ...".
func (n *fakeNode) flushed() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []string
	for z, times := range n.flushes {
		out = append(out, fmt.Sprintf("%d:%d", z, times))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// fake starts a node that dials the site with both protocols, as soon as the site has told it its datapath id.
func (s *site) fake(name string) *fakeNode {
	s.t.Helper()
	outs := make(chan *openflow.PacketOut, 100)
	n := s.fakeWith(name, func(m *openflow.PacketOut) {
		select {
		case outs <- m:
		default:
		}
	})
	n.outs = outs
	return n
}

// fakeRefusing is fake with a switch that refuses from the beginning.
func (s *site) fakeRefusing(name string, refuse func(openflow.Message) *openflow.Error) *fakeNode {
	s.t.Helper()
	s.refuse = refuse
	defer func() { s.refuse = nil }()
	return s.fake(name)
}

func (s *site) fakeWith(name string, out func(*openflow.PacketOut)) *fakeNode {
	s.t.Helper()
	n := &fakeNode{flushes: map[uint16]int{}, db: ovsdbtest.New(ovsdbtest.Options{Root: ovsdb.Fields{
		"external_ids": ovsdb.StringMap(map[string]string{"hostname": name}),
		"other_config": ovsdb.StringMap(map[string]string{"local_ip": "192.168.0." + map[string]string{"a": "10", "b": "11"}[name]}),
	}})}
	s.t.Cleanup(n.db.Close)
	if err := n.db.Dial("tcp", s.ovsdb.Addr().String()); err != nil {
		s.t.Fatal(err)
	}
	s.until(name+" recorded", func() bool { _, ok := tables.Nodes.Get(s.st.Snapshot(), model.NodeID(name)); return ok })
	rec, _ := tables.Nodes.Get(s.st.Snapshot(), model.NodeID(name))
	n.sw = oftest.New(oftest.Options{DatapathID: rec.DatapathID(), OnPacketOut: out, OnFlush: func(zone uint16) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.flushes[zone]++
	}})
	n.sw.Refuse(s.refuse)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = n.sw.Run(ctx, s.of.Addr().String(), 20*time.Millisecond)
	}()
	s.t.Cleanup(func() { cancel(); <-done })
	return n
}

// plug adds an interface to the fake node's br-int.
func (n *fakeNode) plug(t testing.TB, id model.PortID) {
	t.Helper()
	br, _ := n.db.Find("Bridge", "name", ovsdb.String(netvirt.Bridge))
	tx := ovsdb.NewTxn(database)
	i := tx.Insert("Interface", ovsdb.Fields{"name": ovsdb.String(id.TapName()), "external_ids": ovsdb.StringMap(map[string]string{"iface-id": string(id)})})
	p := tx.Insert("Port", ovsdb.Fields{"name": ovsdb.String(id.TapName()), "interfaces": i})
	tx.Mutate("Bridge", ovsdb.ByUUID(br), ovsdb.Add("ports", p))
	if _, err := n.db.Transact(tx.Ops()...); err != nil {
		t.Fatal(err)
	}
}

// put writes a port as its writers do, with what is allocated to it.
func put(t testing.TB, tx *store.Txn, p model.Port) {
	t.Helper()
	if err := alloc.PutPort(tx, p); err != nil {
		t.Error(err)
	}
}

func network(tx *store.Txn) {
	tables.Networks.Put(tx, "net", model.Network{ID: "net", NetworkPlane: model.NetworkPlane{Type: model.VXLAN, SegmentationID: 77, AdminStateUp: true}})
}

func (s *site) status(id model.PortID) model.PortStatus {
	v, _ := tables.Statuses.Get(s.st.Snapshot(), id)
	return v
}

// closedBy reads until the site hangs up, and fails if it does not.
func closedBy(t testing.TB, nc net.Conn) {
	t.Helper()
	nc.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, nc); err != nil && errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		t.Errorf("%s was not hung up on", nc.LocalAddr())
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// TestGarbage shows that a peer that speaks nonsense on either port loses its own connection and disturbs nobody.
func TestGarbage(t *testing.T) {
	s := newSite(t, store.New(tables.Schema, nil), 0, 0)
	s.fake("a")
	s.synced(1)
	before := s.st.Snapshot().Revision()
	long := `{"method":"echo","params":["` + strings.Repeat("x", 1<<20) + `"],"id":1}`
	deep := strings.Repeat(`[`, 100_000)
	for _, c := range []struct {
		name string
		to   net.Listener
		text []byte
	}{
		{"ovsdb: binary", s.ovsdb, bytes.Repeat([]byte{0xff, 0x00, 0x13}, 1000)},
		{"ovsdb: http", s.ovsdb, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")},
		{"ovsdb: oversized", s.ovsdb, []byte(long)},
		{"ovsdb: deep", s.ovsdb, []byte(deep)},
		{"openflow: http", s.of, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")},
		{"openflow: wrong version only", s.of, []byte{1, 0, 0, 8, 0, 0, 0, 1}},
		{"openflow: length below header", s.of, []byte{4, 0, 0, 4, 0, 0, 0, 1}},
		{"openflow: hello, then an unasked reply cut short", s.of, []byte{4, 0, 0, 8, 0, 0, 0, 1, 4, 6, 0, 12, 0, 0, 0, 9, 1, 2, 3, 4}},
	} {
		t.Run(c.name, func(t *testing.T) {
			nc, err := net.Dial("tcp", c.to.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			go nc.Write(c.text) // it may be hung up on halfway
			closedBy(t, nc)
		})
	}
	infos, err := s.hub.Nodes(t.Context())
	if err != nil || !infos[0].InSync {
		t.Errorf("the good node suffered: %+v %v", infos, err)
	}
	if after := s.st.Snapshot().Revision(); after != before {
		t.Errorf("garbage moved the store from revision %d to %d", before, after)
	}
}

// TestSecondClaimant shows that a node's name and datapath id stay with the switch that had them first.
func TestSecondClaimant(t *testing.T) {
	s := newSite(t, store.New(tables.Schema, nil), 0, 0)
	n := s.fake("a")
	s.synced(1)
	pinned, _ := tables.Nodes.Get(s.st.Snapshot(), "a")
	sessions := n.sw.Counts().Sessions

	claim := func(what string) {
		t.Helper()
		other := ovsdbtest.New(ovsdbtest.Options{Root: ovsdb.Fields{"external_ids": ovsdb.StringMap(map[string]string{"hostname": "a"})}})
		defer other.Close()
		if err := other.Dial("tcp", s.ovsdb.Addr().String()); err != nil {
			t.Fatal(err)
		}
		if err := ovstest.Poll(patience, func() error {
			if other.Conns() != 0 {
				return errors.New("still connected")
			}
			return nil
		}); err != nil {
			t.Errorf("%s: a second switch with a known name: %v", what, err)
		}
		if br, _ := other.Find("Bridge", "name", ovsdb.String(netvirt.Bridge)); !br.IsZero() {
			t.Errorf("%s: the claimant was given a bridge", what)
		}
	}
	claim("while the first is connected")

	// The same datapath id on a second OpenFlow connection, and one that nobody has.
	for name, dpid := range map[string]uint64{"known": pinned.DatapathID(), "unknown": 0xdead} {
		other := oftest.New(oftest.Options{DatapathID: dpid})
		nc, err := net.Dial("tcp", s.of.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if err := other.Serve(ctx, nc); ctx.Err() != nil {
			t.Errorf("%s datapath id was not refused: %v", name, err)
		}
		cancel()
		if c := other.Counts(); c.FlowMods != 0 {
			t.Errorf("%s datapath id: the claimant was sent %d flow mods", name, c.FlowMods)
		}
	}
	if now, _ := tables.Nodes.Get(s.st.Snapshot(), "a"); now.OVSUUID != pinned.OVSUUID || now.Source != pinned.Source {
		t.Errorf("the pin moved from %+v to %+v", pinned, now)
	}
	if c := n.sw.Counts(); c.Sessions != sessions {
		t.Error("the first switch lost its session")
	}
	s.synced(1)
	n.db.Disconnect()
	s.until("gone", func() bool { i, _ := s.hub.Nodes(t.Context()); return !i[0].OVSDB })
	claim("after the first has gone")
}

// TestHalfOpen shows that a session whose peer fell silent gives way to the node's next one.
func TestHalfOpen(t *testing.T) {
	s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, func(c *Config) { c.Timings.Takeover = 100 * time.Millisecond })
	n := s.fake("a")
	s.synced(1)
	n.sw.Silence(true)
	rec, _ := tables.Nodes.Get(s.st.Snapshot(), "a")
	next := oftest.New(oftest.Options{DatapathID: rec.DatapathID()})
	nc, err := net.Dial("tcp", s.of.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { defer close(done); _ = next.Serve(ctx, nc) }()
	s.until("the new session served", func() bool { return len(next.Flows()) == 12 })
	cancel()
	<-done
}

// TestRefusedFlow shows that a flow which a switch will not take puts its own port in fault and holds up nobody else.
func TestRefusedFlow(t *testing.T) {
	s := newSite(t, store.New(tables.Schema, nil), 0, 0)
	n := s.fake("a")
	s.synced(1)
	bad := vm("11111111-1111", "a", 3)
	n.sw.Refuse(func(m openflow.Message) *openflow.Error {
		if f, ok := m.(*openflow.FlowMod); ok && bytes.Contains(f.Match, bad.MAC[:]) {
			return &openflow.Error{Type: 5, Code: 1} // OFPET_FLOW_MOD_FAILED, OFPFMFC_TABLE_FULL
		}
		return nil
	})
	n.plug(t, "11111111-1111")
	n.plug(t, "22222222-2222")
	s.commit(func(tx *store.Txn) {
		network(tx)
		tables.Ports.Put(tx, bad.ID, bad)
		tables.Ports.Put(tx, "22222222-2222", vm("22222222-2222", "a", 4))
	})
	s.until("the good port active", func() bool { return s.status("22222222-2222").Status == model.StatusActive })
	s.until("the bad port in fault", func() bool {
		v := s.status(bad.ID)
		return v.Status == model.StatusError && strings.Contains(v.Reason, "refuses")
	})
	// Once the switch has room again, the next whole comparison mends it.
	n.sw.Refuse(nil)
	n.sw.Drop()
	s.until("the port heals", func() bool { return s.status(bad.ID).Status == model.StatusActive })
}

// TestWrongHost shows that a node cannot take a port by claiming its iface-id (SA-33).
func TestWrongHost(t *testing.T) {
	s := newSite(t, store.New(tables.Schema, nil), 0, 0)
	a, b := s.fake("a"), s.fake("b")
	s.synced(2)
	s.commit(func(tx *store.Txn) { network(tx); tables.Ports.Put(tx, "11111111-1111", vm("11111111-1111", "a", 3)) })
	b.plug(t, "11111111-1111")
	s.until("the claim was seen", func() bool {
		_, ok := tables.Plugs.Get(s.st.Snapshot(), model.PlugKey("b", "11111111-1111"))
		return ok
	})
	s.synced(2)
	if f := len(b.sw.Flows()); f != 12 {
		t.Errorf("the claimant holds %d flows, want the 12 initial ones", f)
	}
	if got := s.status("11111111-1111").Status; got == model.StatusActive {
		t.Error("the port became active on the wrong node")
	}
	a.plug(t, "11111111-1111")
	s.until("active on its own host", func() bool { return s.status("11111111-1111").Status == model.StatusActive })
}

// TestPruneNeedsReport shows that a switch which calls before its node has reported its interfaces loses nothing.
func TestPruneNeedsReport(t *testing.T) {
	s := newSite(t, store.New(tables.Schema, nil), 0, 0)
	n := s.fake("a")
	s.synced(1)
	n.plug(t, "11111111-1111")
	s.commit(func(tx *store.Txn) { network(tx); tables.Ports.Put(tx, "11111111-1111", vm("11111111-1111", "a", 3)) })
	s.until("active", func() bool { return s.status("11111111-1111").Status == model.StatusActive })
	s.synced(1)
	flows, mods := len(n.sw.Flows()), n.sw.Counts().FlowMods
	s.stop()
	again := newSite(t, reopen(t, s.st), s.ovsdbPort, s.ofPort)
	again.until("the switch is back", func() bool { i, _ := again.hub.Nodes(t.Context()); return len(i) == 1 && i[0].OpenFlow })
	if got := len(n.sw.Flows()); got != flows {
		t.Errorf("%d flows after the switch called first, want %d", got, flows)
	}
	if got := again.status("11111111-1111").Status; got != model.StatusActive {
		t.Errorf("status %q while the node has yet to report, want it to stay ACTIVE", got)
	}
	// A session that was admitted and has yet to report: whatever wakes the node's loop then, it must leave the switch alone.
	ours, theirs := net.Pipe()
	n.db.Serve(theirs)
	early := &dbSession{hub: again.hub, s: ovsdb.NewSession(ours, ovsdb.Options{}), m: ovsdb.NewMirror(database, mirrored),
		local: "127.0.0.1", node: "a", log: again.hub.log}
	if err := early.s.Monitor(t.Context(), early.m); err != nil {
		t.Fatal(err)
	}
	again.hub.mu.Lock()
	target := again.hub.nodes["a"]
	target.db = early
	again.hub.mu.Unlock()
	if _, err := target.round(t.Context()); err != nil {
		t.Error(err)
	}
	again.hub.mu.Lock()
	target.db = nil
	again.hub.mu.Unlock()
	early.s.Close()
	if got := n.sw.Counts().FlowMods; got != mods {
		t.Errorf("%d flow mods were sent before the node had reported its interfaces", got-mods)
	}

	if err := n.db.Dial("tcp", again.ovsdb.Addr().String()); err != nil {
		t.Fatal(err)
	}
	again.synced(1)
	if got := n.sw.Counts().FlowMods; got != mods {
		t.Errorf("%d flow mods were sent across the restart, want none", got-mods)
	}
}

// TestForeignHand shows that flows and rows which somebody else changed are put right at once, not at the next audit.
func TestForeignHand(t *testing.T) {
	s := newSite(t, store.New(tables.Schema, nil), 0, 0) // its periodic audit is an hour away
	sw := s.node("controller", "192.168.0.10")
	s.fake("b")
	s.synced(2)
	plug(sw, "22222222-2222")
	s.commit(func(tx *store.Txn) {
		network(tx)
		tables.Ports.Put(tx, "22222222-2222", vm("22222222-2222", "controller", 4))
	})
	s.until("active", func() bool { return s.status("22222222-2222").Status == model.StatusActive })
	s.until("tunnel", func() bool {
		i, _ := tables.Interfaces.Get(s.st.Snapshot(), model.InterfaceKey("controller", "vxlan-192.168.0.11"))
		return i.OFPort > 0
	})
	s.synced(2)
	same := func() bool { return slices.Equal(s.desired("controller"), dumped(t, sw)) }
	for name, harm := range map[string]func(){
		"flow added":       func() { sw.Ofctl("add-flow", "br-int", "table=7,priority=7,actions=drop") },
		"flows deleted":    func() { sw.Ofctl("del-flows", "br-int", "table=110") },
		"flow changed":     func() { sw.Ofctl("mod-flows", "br-int", "table=40,actions=drop") },
		"tunnel deleted":   func() { sw.Vsctl("del-port", "br-int", "vxlan-192.168.0.11") },
		"tunnel changed":   func() { sw.Vsctl("set", "Interface", "vxlan-192.168.0.11", "options:remote_ip=10.9.9.9") },
		"controller taken": func() { sw.Vsctl("del-controller", "br-int") },
		"fail mode":        func() { sw.Vsctl("set-fail-mode", "br-int", "standalone") },
	} {
		s.until("as it should be before "+name, same) // a tunnel made anew may yet get its number
		harm()
		s.until(name+" healed", func() bool {
			return same() && strings.Contains(sw.Vsctl("get", "Interface", "vxlan-192.168.0.11", "options"), "192.168.0.11") &&
				strings.TrimSpace(sw.Vsctl("get-fail-mode", "br-int")) == "secure" && strings.Contains(sw.Vsctl("get-controller", "br-int"), "tcp:")
		})
		s.synced(2)
	}
	// The bridge itself: made again, and the instance's tap, plugged again, is served again.
	sw.Vsctl("del-br", "br-int")
	s.until("bridge made again", func() bool { return strings.Contains(sw.Vsctl("list-br"), "br-int") })
	s.until("down while unplugged", func() bool { return s.status("22222222-2222").Status == model.StatusDown })
	plug(sw, "22222222-2222")
	s.until("active again", func() bool { return s.status("22222222-2222").Status == model.StatusActive })
	s.until("flows as they were after the bridge was deleted", same)
}

// TestLostNode shows that the ports of a node which stays away go down after the grace time, not before, keep their flows, and
// come back with it.
func TestLostNode(t *testing.T) {
	const grace = 400 * time.Millisecond
	s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, func(c *Config) { c.Timings.Grace = grace })
	n := s.fake("a")
	s.synced(1)
	n.plug(t, "11111111-1111")
	s.commit(func(tx *store.Txn) { network(tx); tables.Ports.Put(tx, "11111111-1111", vm("11111111-1111", "a", 3)) })
	s.until("active", func() bool { return s.status("11111111-1111").Status == model.StatusActive })
	s.synced(1)
	flows := len(n.sw.Flows())
	left := time.Now()
	n.db.Disconnect()
	s.until("down after the grace time", func() bool { return s.status("11111111-1111").Status == model.StatusDown })
	if after := time.Since(left); after < grace {
		t.Errorf("down %v after the session ended, want ACTIVE within the grace time, %v", after, grace)
	}
	if i, _ := s.hub.Nodes(t.Context()); i[0].OVSDB {
		t.Error("down, but there is a session")
	}
	if got := len(n.sw.Flows()); got != flows {
		t.Errorf("%d flows on the lost node, want %d", got, flows)
	}
	mods := n.sw.Counts().FlowMods
	if err := n.db.Dial("tcp", s.ovsdb.Addr().String()); err != nil {
		t.Fatal(err)
	}
	s.until("active again", func() bool { return s.status("11111111-1111").Status == model.StatusActive })
	if got := n.sw.Counts().FlowMods; got != mods {
		t.Errorf("%d flow mods were sent when the node came back, want none", got-mods)
	}
}

// TestActiveNeedsConfirmation shows that a plugged port whose flows were compiled and sent is not ACTIVE before its node's
// barrier has answered.
func TestActiveNeedsConfirmation(t *testing.T) {
	const id = "11111111-1111"
	s := newSite(t, store.New(tables.Schema, nil), 0, 0)
	n := s.fake("a")
	s.synced(1)
	n.sw.Silence(true)
	s.commit(func(tx *store.Txn) { network(tx); tables.Ports.Put(tx, id, vm(id, "a", 3)) })
	n.plug(t, id)
	s.until("plugged", func() bool {
		_, ok := tables.InterfacesByIface.First(s.st.Snapshot(), model.PlugKey("a", id))
		return ok
	})
	if err := s.hub.WaitCompiled(t.Context(), s.st.Snapshot().Seq()); err != nil {
		t.Fatal(err)
	}
	waits := false
	if err := s.hub.do(t.Context(), func() { _, waits = s.hub.status.open["a"][id] }); err != nil {
		t.Fatal(err)
	}
	if got := s.status(id).Status; !waits || got == model.StatusActive {
		t.Errorf("status %q, waits for its node: %v, while the switch has confirmed nothing", got, waits)
	}
	n.sw.Silence(false)
	n.sw.Drop() // what it swallowed it will never answer
	s.until("active once confirmed", func() bool { return s.status(id).Status == model.StatusActive })
}

// TestJudgedStill shows that a verdict about one binding is not written for the next one.
func TestJudgedStill(t *testing.T) {
	const id = "11111111-1111"
	s := newSite(t, store.New(tables.Schema, nil), 0, 0)
	a, b := s.fake("a"), s.fake("b")
	s.synced(2)
	s.commit(func(tx *store.Txn) { network(tx); tables.Ports.Put(tx, id, vm(id, "a", 3)) })
	a.plug(t, id)
	b.plug(t, id) // as during a live migration
	s.until("active on a", func() bool { return s.status(id).Status == model.StatusActive })
	var v verdict
	if err := s.hub.do(t.Context(), func() { v, _ = s.hub.judge(s.hub.engine.Snapshot(), id, &model.PortStatus{}) }); err != nil {
		t.Fatal(err)
	}
	check := func(want bool) {
		t.Helper()
		s.commit(func(tx *store.Txn) {
			p, _ := tables.Ports.Get(tx, id)
			if got := judgedStill(tx, &p, v); got != want {
				t.Errorf("judged %+v, port at %s: still so %v, want %v", v, p.Host, got, want)
			}
		})
	}
	check(true)
	s.commit(func(tx *store.Txn) { tables.Ports.Put(tx, id, vm(id, "b", 3)) })
	check(false)
	s.until("active on b", func() bool { return s.status(id).Status == model.StatusActive })
}
