// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/netvirt"
	"nagare/internal/ovstest"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/openflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = time.Minute

// site is a hub with its listeners and a store in memory.
type site struct {
	t         testing.TB
	st        *store.Store
	hub       *Hub
	ovsdb, of net.Listener
	stop      func()
	ovsdbPort int
	ofPort    int
	refuse    func(openflow.Message) *openflow.Error // of the next fake
}

func newSite(t testing.TB, st *store.Store, ovsdbPort, ofPort int) *site {
	t.Helper()
	return newSiteWith(t, st, ovsdbPort, ofPort, func(*Config) {})
}

func newSiteWith(t testing.TB, st *store.Store, ovsdbPort, ofPort int, change func(*Config)) *site {
	t.Helper()
	s := &site{t: t, st: st}
	listen := func(port int) net.Listener {
		if port == 0 { // one on which a successor can listen again
			port = ovstest.Ports(t, 1)[0]
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	s.ovsdb, s.of = listen(ovsdbPort), listen(ofPort)
	s.ovsdbPort, s.ofPort = s.ovsdb.Addr().(*net.TCPAddr).Port, s.of.Addr().(*net.TCPAddr).Port
	cfg := Config{Store: st, Rules: netvirt.Classic(), Check: pipeline.Check, ControllerPort: s.ofPort,
		Log:     slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Timings: Timings{LLDP: 200 * time.Millisecond, Audit: time.Hour, Probe: 10 * time.Second}}
	change(&cfg)
	s.hub = New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{}, 3)
	run := func(f func() error) {
		go func() {
			defer func() { done <- struct{}{} }()
			if err := f(); err != nil {
				t.Error(err)
			}
		}()
	}
	run(func() error { return s.hub.Run(ctx) })
	run(func() error { return s.hub.Serve(ctx, s.ovsdb, s.hub.ServeOVSDB) })
	run(func() error { return s.hub.Serve(ctx, s.of, s.hub.ServeOpenFlow) })
	stopped := false
	s.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			for range 3 {
				<-done
			}
		}
	}
	t.Cleanup(s.stop)
	return s
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Log(strings.TrimSpace(string(b)))
	}
	return len(b), nil
}

func (s *site) commit(f func(*store.Txn)) store.Result {
	s.t.Helper()
	r, err := s.st.Commit(s.t.Context(), store.Origin{User: "test"}, func(tx *store.Txn) error { f(tx); return nil })
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// until waits until the condition holds, looking again at each change of the hub.
func (s *site) until(what string, ok func() bool) {
	s.t.Helper()
	if err := ovstest.Poll(patience, func() error {
		if !ok() {
			return fmt.Errorf("not yet: %s", what)
		}
		return nil
	}); err != nil {
		infos, _ := s.hub.Nodes(s.t.Context())
		s.t.Fatalf("%v; nodes: %+v", err, infos)
	}
}

// synced waits until every node holds everything.
func (s *site) synced(nodes int) {
	s.t.Helper()
	s.until("in sync", func() bool {
		infos, err := s.hub.Nodes(s.t.Context())
		if err != nil || len(infos) != nodes {
			return false
		}
		for _, i := range infos {
			if !i.InSync || i.Confirmed < s.st.Snapshot().Revision() {
				return false
			}
		}
		return true
	})
}

// node starts a real Open vSwitch and makes it dial the site.
func (s *site) node(name, localIP string) *ovstest.Switch {
	sw := ovstest.Start(s.t)
	sw.Vsctl("set", "Open_vSwitch", ".", "external_ids:hostname="+name, "external_ids:system-id="+name,
		"external_ids:ovn-bridge-datapath-type=dummy", "other_config:local_ip="+localIP)
	sw.Vsctl("set-manager", fmt.Sprintf("tcp:127.0.0.1:%d", s.ovsdbPort))
	return sw
}

func dumped(t testing.TB, sw *ovstest.Switch) []string {
	t.Helper()
	lines, err := flow.Normalise(sw.Ofctl("dump-flows", "br-int"))
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func (s *site) desired(node string) []string {
	s.t.Helper()
	fs, ok, err := s.hub.Flows(s.t.Context(), model.NodeID(node))
	if err != nil || !ok {
		s.t.Fatalf("flows of %s: %v %v", node, ok, err)
	}
	return flow.Lines(fs)
}

func (s *site) sent() (n uint64) {
	infos, err := s.hub.Nodes(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, i := range infos {
		n += i.Sent.FlowMods
	}
	return n
}

func vm(id model.PortID, host model.NodeID, n byte) model.Port {
	return model.Port{ID: id, PortPlane: model.PortPlane{Network: "net", MAC: model.MAC{0xfa, 0x16, 0x3e, 0, 0, n}, Host: host,
		AdminStateUp: true, PortSecurity: true, DeviceOwner: "compute:nova",
		FixedIPs: []model.FixedIP{{Subnet: "sub", Addr: netip.AddrFrom4([4]byte{10, 0, 0, n})}}}}
}

func plug(sw *ovstest.Switch, id model.PortID) {
	sw.Vsctl("add-port", "br-int", id.TapName(), "--", "set", "Interface", id.TapName(), "type=dummy", "external_ids:iface-id="+string(id))
}

// TestTwoNodes drives real Open vSwitch from first contact to instances, across restarts of either side.
func TestTwoNodes(t *testing.T) {
	s := newSite(t, store.New(tables.Schema, nil), 0, 0)
	a, b := s.node("controller", "192.168.0.10"), s.node("compute", "192.168.0.11")

	if got := strings.TrimSpace(a.Vsctl("get", "Manager", ".", "max_backoff")); got != "1000" {
		t.Errorf("the node would wait %s before it calls again, want 1000 ms", got)
	}

	// First contact: the bridge is made, secure, with the initial flows, and no tunnel.
	s.synced(2)
	for _, sw := range []*ovstest.Switch{a, b} {
		if got := strings.TrimSpace(sw.Vsctl("get-fail-mode", "br-int")); got != "secure" {
			t.Errorf("fail mode %q, want secure", got)
		}
		if got, want := dumped(t, sw), flow.Lines(pipeline.Spine(pipeline.Classic)); !slices.Equal(got, want) {
			t.Errorf("initial flows:\n%s", cmp.Diff(want, got))
		}
		if ports := sw.Vsctl("list-ports", "br-int"); strings.TrimSpace(ports) != "" {
			t.Errorf("ports before any network: %s", ports)
		}
	}

	// Intent and plugs, in both orders.
	plug(b, "11111111-1111")
	s.commit(func(tx *store.Txn) {
		tables.Networks.Put(tx, "net", model.Network{ID: "net", NetworkPlane: model.NetworkPlane{Type: model.VXLAN, SegmentationID: 77, AdminStateUp: true}})
		tables.Subnets.Put(tx, "sub", model.Subnet{ID: "sub", SubnetPlane: model.SubnetPlane{Network: "net", CIDR: netip.MustParsePrefix("10.0.0.0/24")}})
		tables.Ports.Put(tx, "11111111-1111", vm("11111111-1111", "compute", 3))
		tables.Ports.Put(tx, "22222222-2222", vm("22222222-2222", "controller", 4))
	})
	plug(a, "22222222-2222")
	active := func(id model.PortID) func() bool {
		return func() bool { v, _ := tables.Statuses.Get(s.st.Snapshot(), id); return v.Status == model.StatusActive }
	}
	s.until("first port active", active("11111111-1111"))
	s.until("second port active", active("22222222-2222"))
	s.until("tunnels numbered", func() bool {
		i, _ := tables.Interfaces.Get(s.st.Snapshot(), model.InterfaceKey("controller", "vxlan-192.168.0.11"))
		j, _ := tables.Interfaces.Get(s.st.Snapshot(), model.InterfaceKey("compute", "vxlan-192.168.0.10"))
		return i.OFPort > 0 && j.OFPort > 0
	})
	s.synced(2)
	check := func(when string) {
		t.Helper()
		for name, sw := range map[string]*ovstest.Switch{"controller": a, "compute": b} {
			// Port numbers may still be on their way; what counts is where it ends.
			var d string
			if ovstest.Poll(patience, func() error {
				if d = cmp.Diff(s.desired(name), dumped(t, sw)); d != "" {
					return errors.New("flows differ")
				}
				return nil
			}) != nil {
				t.Errorf("%s, %s (-want +got):\n%s", when, name, d)
			}
		}
	}
	check("instances")
	if got := len(s.desired("compute")); got != 12+1+2+1+1+3+2 {
		t.Errorf("compute has %d flows", got)
	}
	// The link is found by LLDP only where packets flow between the switches; the simulated datapaths of two processes do not.

	// Drift: foreign flows go, removed ones come back, at the next audit.
	a.Ofctl("add-flow", "br-int", "table=5,priority=7,actions=drop")
	b.Ofctl("del-flows", "br-int", "table=110")
	for _, n := range []model.NodeID{"controller", "compute"} {
		s.hub.Audit(n)
	}
	s.until("audited", func() bool {
		infos, _ := s.hub.Nodes(t.Context())
		return infos[0].Sent.Audits > 0 && infos[1].Sent.Audits > 0
	})
	check("after drift")

	// ovs-vswitchd is killed and comes back empty: everything is there again.
	b.StopVswitchd()
	s.until("compute gone", func() bool { i, _ := s.hub.Nodes(t.Context()); return !i[0].OpenFlow })
	b.StartVswitchd()
	s.synced(2)
	check("after ovs-vswitchd was restarted")

	// We restart with unchanged intent: not one flow mod. (The store's volatile half vanishes with the process.)
	s.stop()
	again := newSite(t, reopen(t, s.st), s.ovsdbPort, s.ofPort)
	again.synced(2)
	if n := again.sent(); n != 0 {
		t.Errorf("restart with unchanged intent sent %d flow mods", n)
	}
	s = again
	check("after our restart")

	// A port that goes takes its flows along.
	b.Vsctl("del-port", "br-int", model.PortID("11111111-1111").TapName())
	s.until("port down", func() bool {
		v, _ := tables.Statuses.Get(s.st.Snapshot(), "11111111-1111")
		return v.Status == model.StatusDown
	})
	s.synced(2)
	check("after unplug")
	s.commit(func(tx *store.Txn) {
		tables.Ports.Delete(tx, "11111111-1111")
		tables.Ports.Delete(tx, "22222222-2222")
	})
	s.synced(2)
	if got, want := dumped(t, a), flow.Lines(pipeline.Spine(pipeline.Classic)); !slices.Equal(got, want) {
		t.Errorf("after everything was deleted:\n%s", cmp.Diff(want, got))
	}
}

// reopen gives a store what a restart would find: the persistent tables.
func reopen(t testing.TB, old *store.Store) *store.Store {
	st := store.New(tables.Schema, nil)
	_, err := st.Commit(t.Context(), store.Origin{}, func(tx *store.Txn) error {
		r := old.Snapshot()
		for id, v := range tables.Networks.All(r) {
			tables.Networks.Put(tx, id, v)
		}
		for id, v := range tables.Subnets.All(r) {
			tables.Subnets.Put(tx, id, v)
		}
		for id, v := range tables.Ports.All(r) {
			tables.Ports.Put(tx, id, v)
		}
		for key, v := range tables.Slots.All(r) {
			tables.Slots.Put(tx, key, v)
		}
		for key, v := range tables.GroupSets.All(r) {
			tables.GroupSets.Put(tx, key, v)
		}
		for id, v := range tables.FormerSets.All(r) {
			tables.FormerSets.Put(tx, id, v)
		}
		for id, v := range tables.Nodes.All(r) {
			tables.Nodes.Put(tx, id, v)
		}
		for id, v := range tables.Plugs.All(r) {
			tables.Plugs.Put(tx, id, v)
		}
		for id, v := range tables.Statuses.All(r) {
			tables.Statuses.Put(tx, id, v)
		}
		for id, v := range tables.Routers.All(r) {
			tables.Routers.Put(tx, id, v)
		}
		for id, v := range tables.Gateways.All(r) {
			tables.Gateways.Put(tx, id, v)
		}
		for id, v := range tables.FloatingIPs.All(r) {
			tables.FloatingIPs.Put(tx, id, v)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// TestDialled brings a real switch up whose manager listens (ptcp:) instead of calling.
func TestDialled(t *testing.T) {
	s := newSite(t, store.New(tables.Schema, nil), 0, 0)
	port := ovstest.Ports(t, 1)[0]
	sw := ovstest.Start(t)
	sw.Vsctl("set", "Open_vSwitch", ".", "external_ids:hostname=quiet", "external_ids:ovn-bridge-datapath-type=dummy", "other_config:local_ip=192.168.0.12")
	sw.Vsctl("set-manager", fmt.Sprintf("ptcp:%d:127.0.0.1", port))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.hub.Dial(ctx, fmt.Sprintf("127.0.0.1:%d", port)) }()
	s.synced(1)
	if got := len(dumped(t, sw)); got != 12 {
		t.Errorf("%d flows, want the 12 initial ones", got)
	}
	cancel()
	<-done
}
