// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/netvirt"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/openflow"
	"nagare/ovsdb"
)

// follower notes what it is told.
type follower struct {
	mu     sync.Mutex
	places []string
	nodes  map[model.NodeID]int
}

func (f *follower) Confirmed(n model.NodeID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.nodes == nil {
		f.nodes = map[model.NodeID]int{}
	}
	f.nodes[n]++
}

func (f *follower) Served(n model.NodeID, id model.PortID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.places = append(f.places, string(n)+" "+string(id))
}

// take gives what was said of places since the last look, each once.
func (f *follower) take() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	slices.Sort(f.places)
	out := strings.Join(slices.Compact(f.places), ", ")
	f.places = nil
	return out
}

func standard(f Follower) func(*Config) {
	return func(c *Config) { c.Rules, c.Follower = netvirt.Standard(netvirt.Options{}), f }
}

// maps has a node report that it reaches the external network, or no longer.
func (s *site) maps(n *fakeNode, id model.NodeID, bridge string) {
	s.t.Helper()
	tx := ovsdb.NewTxn(database)
	tx.Mutate("Open_vSwitch", ovsdb.ByUUID(n.db.Root()), ovsdb.Put("other_config", "provider_mappings", "ph:"+bridge)...)
	if _, err := n.db.Transact(tx.Ops()...); err != nil {
		s.t.Fatal(err)
	}
	s.until("mapping reported", func() bool {
		rec, _ := tables.Nodes.Get(s.st.Snapshot(), id)
		return rec.Mappings["ph"] == bridge
	})
}

// external is a router with a gateway, and a floating IP for nobody yet.
func external(t testing.TB, tx *store.Txn) {
	network(tx)
	tables.Networks.Put(tx, "ext", model.Network{ID: "ext", NetworkPlane: model.NetworkPlane{Key: 9, Type: model.Flat, PhysicalNetwork: "ph", AdminStateUp: true, External: true}})
	tables.Subnets.Put(tx, "ext4", model.Subnet{ID: "ext4", SubnetPlane: model.SubnetPlane{Network: "ext", CIDR: netip.MustParsePrefix("172.16.1.0/24")}})
	port := func(id model.PortID, device, owner string, net model.NetworkID, n byte) {
		put(t, tx, model.Port{ID: id, DeviceID: device, PortPlane: model.PortPlane{Key: model.Key(100 + int(n)), Network: net, MAC: model.MAC{0xfa, 0x16, 0x3e, 0, 1, n}, AdminStateUp: true,
			DeviceOwner: owner, FixedIPs: []model.FixedIP{{Subnet: "ext4", Addr: netip.AddrFrom4([4]byte{172, 16, 1, n})}}}})
	}
	port("gw", "r", model.OwnerRouterGateway, "ext", 2)
	port("fp", "fip", model.OwnerFloatingIP, "ext", 4)
	port("rif", "r", model.OwnerRouterInterface, "net", 1)
	tables.Routers.Put(tx, "r", model.Router{ID: "r", RouterPlane: model.RouterPlane{Key: 1, AdminStateUp: true, GatewayPort: "gw"}})
	tables.FloatingIPs.Put(tx, "fip", model.FloatingIP{ID: "fip", FloatingIPPlane: model.FloatingIPPlane{Key: 1, Network: "ext", Addr: netip.AddrFrom4([4]byte{172, 16, 1, 4}), FloatPort: "fp"}})
}

func place(t testing.TB, tx *store.Txn) {
	if _, err := alloc.PlaceGateway(tx, "r", nil); err != nil {
		t.Error(err)
	}
}

func associate(tx *store.Txn, port model.PortID) {
	f, _ := tables.FloatingIPs.Get(tx, "fip")
	f.Port, f.Router, f.Fixed = port, "", netip.Addr{}
	if port != "" {
		f.Router, f.Fixed = "r", netip.AddrFrom4([4]byte{10, 0, 0, 3})
	}
	tables.FloatingIPs.Put(tx, "fip", f)
}

// TestPlacedStatus follows a gateway and a floating IP: up when the node that has them confirmed it, and said once for each place.
func TestPlacedStatus(t *testing.T) {
	var f follower
	s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, standard(&f))
	a, b := s.fake("a"), s.fake("b")
	s.synced(2)
	is := func(what string, id model.PortID, status string, node model.NodeID) {
		t.Helper()
		s.until(what, func() bool { v := s.status(id); return v.Status == status && v.Node == node })
	}
	s.commit(func(tx *store.Txn) { external(t, tx) })
	is("without a place", "gw", model.StatusDown, "")
	is("without a port", "fip", model.StatusDown, "")
	if why := s.status("gw").Reason; !strings.Contains(why, "maps") {
		t.Errorf("reason %q", why)
	}
	// Nothing counts before the node has confirmed it.
	s.maps(a, "a", "br-ex")
	s.synced(2)
	a.sw.Stall(func(m openflow.Message) bool { _, ok := m.(*openflow.BarrierRequest); return ok })
	a.plug(t, one)
	s.commit(func(tx *store.Txn) {
		put(t, tx, vm(one, "a", 3))
		place(t, tx)
		associate(tx, one)
	})
	s.until("under way", func() bool { return a.sw.Counts().Stalls > 0 })
	is("not confirmed", "fip", model.StatusDown, "")
	if got := f.take(); got != "" {
		t.Errorf("said of places before anybody confirmed: %q", got)
	}
	a.sw.Stall(nil)
	a.sw.Resume()
	is("confirmed", "gw", model.StatusActive, "a")
	is("confirmed", "fip", model.StatusActive, "a")
	if got := f.take(); got != "a fip, a gw" {
		t.Errorf("said of places: %q", got)
	}
	if f.nodes["a"] == 0 || f.nodes["b"] == 0 {
		t.Errorf("confirmed: %v", f.nodes)
	}
	for _, id := range []model.PortID{"rif", "fp"} {
		if v, ok := tables.Statuses.Get(s.st.Snapshot(), id); ok {
			t.Errorf("%s has a status: %+v", id, v)
		}
	}
	// Nothing is said again by changes that move nothing, sessions that end, or another process.
	s.commit(func(tx *store.Txn) { put(t, tx, vm(two, "b", 4)) })
	a.sw.Drop()
	s.until("back", func() bool { return a.sw.Counts().Sessions == 2 })
	s.synced(2)
	s.stop()
	again := newSiteWith(t, reopen(t, s.st), s.ovsdbPort, s.ofPort, standard(&f))
	for _, n := range []*fakeNode{a, b} {
		if err := n.db.Dial("tcp", again.ovsdb.Addr().String()); err != nil {
			t.Fatal(err)
		}
	}
	s = again
	s.synced(2)
	if err := s.hub.do(t.Context(), func() {}); err != nil { // whatever was confirmed has been judged
		t.Fatal(err)
	}
	if got := f.take(); got != "" {
		t.Errorf("said again after a restart: %q", got)
	}
	// To another node, by way of none.
	s.maps(b, "b", "br-ex")
	s.maps(a, "a", "")
	s.commit(func(tx *store.Txn) { place(t, tx) })
	is("moved", "gw", model.StatusActive, "b")
	is("moved", "fip", model.StatusActive, "b")
	if got := f.take(); got != "b fip, b gw" {
		t.Errorf("said of places: %q", got)
	}
	s.commit(func(tx *store.Txn) { associate(tx, "") })
	is("nobody's", "fip", model.StatusDown, "")
	s.commit(func(tx *store.Txn) { associate(tx, one) })
	is("somebody's", "fip", model.StatusActive, "b")
	if got := f.take(); got != "b fip" {
		t.Errorf("said of places: %q", got)
	}
	s.commit(func(tx *store.Txn) {
		rt, _ := tables.Routers.Get(tx, "r")
		rt.AdminStateUp = false
		tables.Routers.Put(tx, "r", rt)
	})
	is("router down", "gw", model.StatusDown, "")
	s.commit(func(tx *store.Txn) {
		tables.FloatingIPs.Delete(tx, "fip")
		alloc.DropGateway(tx, "r")
		alloc.DeletePort(tx, "gw")
	})
	s.until("gone", func() bool {
		_, fip := tables.Statuses.Get(s.st.Snapshot(), "fip")
		_, gw := tables.Statuses.Get(s.st.Snapshot(), "gw")
		return !fip && !gw
	})
}

// TestRegisters shows what of a packet's registers is told, and which next hop.
func TestRegisters(t *testing.T) {
	v4, v6 := make([]byte, 60), make([]byte, 60)
	v4[12], v6[12], v6[13] = 8, 0x86, 0xdd
	for frame, want := range map[*[]byte]string{&v4: "172.16.1.1", &v6: "fd16::9", {}: "invalid IP"} {
		m := punt(4, 5, *frame)
		for r, v := range map[int]uint64{pipeline.RegOrigin: 3, pipeline.RegRouter: 7, pipeline.RegNextHop: 0xac100101,
			pipeline.RegNextHop6: 0xfd160000, pipeline.RegNextHop6 + 3: 9} {
			m.Match = openflow.AppendUint(m.Match, openflow.Reg(r), v)
		}
		p, ok := readPunt(m)
		if got := fmt.Sprint(p.Origin, p.Router, p.PortKey, p.NextHop, ok); got != "3 7 5 "+want+" true" {
			t.Errorf("read %s, want %s", got, want)
		}
	}
	if _, ok := readPunt(punt(openflow.PortController, 5, v4)); ok {
		t.Error("a packet by no port can be answered")
	}
}

// TestEmit sends frames from a node that has its sessions, and from no other.
func TestEmit(t *testing.T) {
	s := newSite(t, store.New(tables.Schema, nil), 0, 0)
	n := s.fake("a")
	s.synced(1)
	if s.hub.Emit(t.Context(), "b", Frame{9, []byte("x")}) || s.hub.Emit(t.Context(), "a") {
		t.Error("sent by nobody, or nothing")
	}
	if !s.hub.Emit(t.Context(), "a", Frame{9, []byte("hello")}) {
		t.Fatal("not sent")
	}
	out := <-n.outs
	if as, err := openflow.DecodeActions(out.Actions); err != nil || len(as) != 1 || as[0].(openflow.Output).Port != 9 || string(out.Data) != "hello" ||
		out.InPort != openflow.PortController {
		t.Errorf("%+v %v %v", out, as, err)
	}
}
