// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/netvirt"
	"nagare/internal/pipeline"
	"nagare/internal/punt"
	"nagare/internal/store"
	"nagare/internal/tables"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	here, there = model.NodeID("here"), model.NodeID("there")
	uplink      = 9
)

var (
	hopOne  = netip.MustParseAddr("172.16.1.1")
	other   = netip.MustParseAddr("172.16.1.77")
	routerM = model.MustMAC("fa:16:3e:00:00:02")
	floatM  = model.MustMAC("fa:16:3e:00:00:04")
	mac1    = model.MustMAC("00:50:56:00:00:01")
	mac2    = model.MustMAC("00:50:56:00:00:02")
)

// rig is an Edge whose clock stands still unless the test moves it, over a store with a router whose gateway is here, and a
// floating IP.
type rig struct {
	t    *testing.T
	st   *store.Store
	e    *Edge
	now  time.Time
	sent []string // since the last look: node, kind of frame and address
	dead map[model.NodeID]bool
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, st: store.New(tables.Schema, nil), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), dead: map[model.NodeID]bool{}}
	r.commit(func(tx *store.Txn) {
		for i, n := range []model.NodeID{here, there} {
			node := model.Node{ID: n, NodePlane: model.NodePlane{Key: model.Key(i + 1)}}
			if n == here {
				node.Mappings = map[string]string{"ph": "br-ex"}
			}
			tables.Nodes.Put(tx, n, node)
			tables.Interfaces.Put(tx, model.InterfaceKey(n, "patch-ph"), model.Interface{Node: n, Name: "patch-ph", OFPort: uplink})
		}
		tables.Networks.Put(tx, "ext", model.Network{ID: "ext", NetworkPlane: model.NetworkPlane{Key: 1, Type: model.Flat, PhysicalNetwork: "ph", AdminStateUp: true, External: true}})
		tables.Subnets.Put(tx, "sub", model.Subnet{ID: "sub", SubnetPlane: model.SubnetPlane{Network: "ext", CIDR: netip.MustParsePrefix("172.16.1.0/24"), Gateway: hopOne}})
		r.port(tx, "gw", "r", model.OwnerRouterGateway, routerM, "172.16.1.2")
		r.port(tx, "fp", "fip", model.OwnerFloatingIP, floatM, "172.16.1.4")
		tables.Routers.Put(tx, "r", model.Router{ID: "r", RouterPlane: model.RouterPlane{Key: 1, AdminStateUp: true, GatewayPort: "gw"}})
		tables.FloatingIPs.Put(tx, "fip", model.FloatingIP{ID: "fip", FloatingIPPlane: model.FloatingIPPlane{Network: "ext",
			Addr: netip.MustParseAddr("172.16.1.4"), FloatPort: "fp", Port: "vm", Router: "r"}})
		if _, err := alloc.PlaceGateway(tx, "r", nil); err != nil {
			t.Fatal(err)
		}
	})
	r.restart()
	return r
}

func (r *rig) port(tx *store.Txn, id model.PortID, device, owner string, mac model.MAC, ip string) {
	if err := alloc.PutPort(tx, model.Port{ID: id, DeviceID: device, PortPlane: model.PortPlane{Network: "ext", MAC: mac, AdminStateUp: true, DeviceOwner: owner,
		FixedIPs: []model.FixedIP{{Subnet: "sub", Addr: netip.MustParseAddr(ip)}}}}); err != nil {
		r.t.Fatal(err)
	}
}

// restart begins with an empty agenda.
func (r *rig) restart() {
	r.e = New(Config{Store: r.st, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return r.now },
		Emit: func(_ context.Context, n model.NodeID, frames []punt.Frame) bool {
			for _, f := range frames {
				if f.Port != uplink {
					r.t.Errorf("a frame leaves by port %d", f.Port)
				}
				from, to := netip.AddrFrom4([4]byte(f.Data[28:32])), netip.AddrFrom4([4]byte(f.Data[38:42]))
				what := "ask " + to.String()
				if from == to {
					what = fmt.Sprintf("say %s/%d", to, f.Data[21])
				}
				r.sent = append(r.sent, string(n)+" "+what)
			}
			return !r.dead[n]
		}})
}

func (r *rig) commit(f func(*store.Txn)) {
	r.t.Helper()
	if _, err := r.st.Commit(r.t.Context(), store.Origin{}, func(tx *store.Txn) error { f(tx); return nil }); err != nil {
		r.t.Fatal(err)
	}
}

// after moves the clock and gives what is sent on the way, each with the seconds since the beginning.
func (r *rig) after(d time.Duration) string {
	r.t.Helper()
	begin, end := r.now, r.now.Add(d)
	var out []string
	for steps := 0; ; steps++ {
		next := r.e.step(r.t.Context())
		for _, s := range r.sent {
			out = append(out, fmt.Sprintf("%v:%s", r.now.Sub(begin).Seconds(), s))
		}
		r.sent = nil
		if next.IsZero() || next.After(end) {
			break
		}
		if steps > 10000 || !next.After(r.now) && steps > 100 {
			r.t.Fatalf("it steps all the time, now to %v", next)
		}
		r.now = next
	}
	r.now = end
	return strings.Join(out, ", ")
}

func (r *rig) want(what, got, want string) {
	r.t.Helper()
	if got != want {
		r.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// packet is one of the external network that a node sends up.
func (r *rig) packet(kind byte) *punt.Packet {
	n, _ := tables.Networks.Get(r.st.Snapshot(), "ext")
	tag, _ := netvirt.LogicalNetwork(&n)
	return &punt.Packet{Node: here, Kind: kind, InPort: uplink, Origin: pipeline.FromProvider, TunID: tag}
}

func (r *rig) lacks(a netip.Addr) {
	p := r.packet(pipeline.PuntResolve)
	p.NextHop = a
	r.e.Punted(r.st.Snapshot(), p)
}

func (r *rig) hears(a netip.Addr, mac model.MAC) {
	p := r.packet(pipeline.PuntNeighbour)
	p.Data = append(append(append([]byte{}, routerM[:]...), mac[:]...), 8, 6, 0, 1, 8, 0, 6, 4, 0, 2)
	p.Data = append(append(append(p.Data, mac[:]...), a.AsSlice()...), append(routerM[:], 172, 16, 1, 2)...)
	r.e.Punted(r.st.Snapshot(), p)
}

func (r *rig) known() string {
	var out []string
	for _, n := range tables.Neighbours.All(r.st.Snapshot()) {
		out = append(out, n.Addr.String()+"="+n.MAC.String())
	}
	return strings.Join(out, " ")
}

// TestGatewaySilent asks again soon while nobody has answered, and no more once somebody has.
func TestGatewaySilent(t *testing.T) {
	r := newRig(t)
	r.e.Confirmed(here)
	const first = "0:here ask 172.16.1.1, 1:here ask 172.16.1.1, 3:here ask 172.16.1.1"
	r.want("unheard", r.after(31*time.Second), first+", 30:here ask 172.16.1.1")
	r.restart()
	r.e.Confirmed(here)
	r.want("at once", r.after(1500*time.Millisecond), "0:here ask 172.16.1.1, 1:here ask 172.16.1.1")
	r.hears(hopOne, mac1)
	r.want("heard", r.after(10*time.Second), "")
	r.want("known", r.known(), "172.16.1.1="+mac1.String())
}

// TestGateway asks for a subnet's gateway at once, every thirty seconds, and no longer than needed; what is heard is kept.
func TestGateway(t *testing.T) {
	r := newRig(t)
	r.want("before the node confirmed anything", r.after(time.Minute), "")
	r.e.Confirmed(here)
	r.e.Confirmed(there)
	r.want("at once", r.after(0), "0:here ask 172.16.1.1")
	r.hears(hopOne, mac1)
	r.e.Confirmed(here)
	r.want("and again", r.after(61*time.Second), "30:here ask 172.16.1.1, 60:here ask 172.16.1.1")
	r.want("known", r.known(), "172.16.1.1="+mac1.String())
	// The same answer changes nothing; another does.
	rev := r.st.Snapshot().Revision()
	r.hears(hopOne, mac1)
	r.after(time.Second)
	if r.st.Snapshot().Revision() != rev {
		t.Error("an answer that says nothing new was written")
	}
	r.hears(hopOne, mac2)
	r.after(time.Second)
	r.want("another", r.known(), "172.16.1.1="+mac2.String())
	r.after(10 * time.Second)
	r.hears(hopOne, mac1)
	r.after(time.Second)
	r.want("unasked", r.known(), "172.16.1.1="+mac2.String())
	// A node without a session asks when it is back, not at the next turn only.
	r.dead[here] = true
	r.after(30 * time.Second)
	delete(r.dead, here)
	r.e.Confirmed(here)
	r.want("when it is back", r.after(0), "0:here ask 172.16.1.1")
	// Without need it ends.
	r.commit(func(tx *store.Txn) { alloc.DropGateway(tx, "r") })
	r.want("without a place", r.after(5*time.Minute), "")
	if len(r.e.known)+len(r.e.agenda.queue)+len(r.e.asked)+len(r.e.hops) != 0 {
		t.Errorf("left: %v %d tasks %v %v", r.e.known, len(r.e.agenda.queue), r.e.asked, r.e.hops)
	}
}

// TestNextHop resolves what packets lack, however many lack it, lets go of what does not answer, and notices when a host is gone.
func TestNextHop(t *testing.T) {
	r := newRig(t)
	for range 5000 {
		r.lacks(other)
	}
	r.want("nobody answers", r.after(20*time.Second), "0:here ask 172.16.1.77, 1:here ask 172.16.1.77, 3:here ask 172.16.1.77")
	if len(r.e.agenda.queue)+len(r.e.asked)+len(r.e.hops) != 0 {
		t.Errorf("left: %d tasks %v %v", len(r.e.agenda.queue), r.e.asked, r.e.hops)
	}
	r.lacks(other)
	r.want("once more", r.after(0), "0:here ask 172.16.1.77")
	r.lacks(other)
	r.want("while it is asked for", r.after(500*time.Millisecond), "")
	r.hears(other, mac1)
	r.want("answered", r.after(10*time.Second), "")
	r.want("known", r.known(), "172.16.1.77="+mac1.String())
	r.lacks(other) // its flow is on the way
	r.want("known already", r.after(time.Second), "")
	waited := 0
	for ; waited < 100 && r.after(time.Second) == ""; waited++ {
	}
	if waited < 30 || waited > 60 {
		t.Errorf("refreshed after %d s", waited)
	}
	r.hears(other, mac2)
	r.after(time.Second)
	r.want("it changed", r.known(), "172.16.1.77="+mac2.String())
	if got := r.after(10 * time.Minute); strings.Count(got, "ask") != refreshMost-1 && strings.Count(got, "ask") != refreshMost {
		t.Errorf("silent: %q", got)
	}
	r.want("silent", r.known(), "")

	// After a restart what is known is refreshed by whoever speaks there.
	r.commit(func(tx *store.Txn) {
		tables.Neighbours.Put(tx, model.NeighbourKey("ext", other), model.Neighbour{Network: "ext", Addr: other, MAC: mac1})
	})
	r.restart()
	r.e.Confirmed(here)
	if got := r.after(65 * time.Second); !strings.Contains(got, "60:here ask 172.16.1.77") {
		t.Errorf("after a restart: %q", got)
	}
}

// TestBounds: whatever is sent up, what is held has an end.
func TestBounds(t *testing.T) {
	r := newRig(t)
	r.commit(func(tx *store.Txn) {
		tables.Subnets.Put(tx, "sub", model.Subnet{ID: "sub", SubnetPlane: model.SubnetPlane{Network: "ext", CIDR: netip.MustParsePrefix("172.16.0.0/12"), Gateway: hopOne}})
	})
	a := netip.MustParseAddr("172.17.0.1")
	for range 10 {
		for range 2 * maxQueue {
			r.lacks(a)
			a = a.Next()
		}
		if len(r.e.wanted) > maxQueue {
			t.Fatalf("%d wait to be looked at", len(r.e.wanted))
		}
		r.after(0)
	}
	if n := r.e.hops["ext"]; n != maxHops || len(r.e.asked) > maxHops {
		t.Errorf("%d next hops, %d asked for, want %d", n, len(r.e.asked), maxHops)
	}
	for hop := range r.e.asked {
		r.hears(hop.Addr, mac1)
	}
	r.after(time.Minute)
	if n := tables.Neighbours.Len(r.st.Snapshot()); n != maxHops {
		t.Errorf("%d are known", n)
	}
	r.after(10 * time.Minute) // all silent
	if n := tables.Neighbours.Len(r.st.Snapshot()); n != 0 || len(r.e.hops)+len(r.e.asked)+len(r.e.agenda.queue) != 0 {
		t.Errorf("left: %d known, %v, %d asked for, %d tasks", n, r.e.hops, len(r.e.asked), len(r.e.agenda.queue))
	}
}

// TestAnnounce says three times what is served, and stops where it is not any more.
func TestAnnounce(t *testing.T) {
	r := newRig(t)
	both := func(at int, a string) string {
		return fmt.Sprintf("%d:here say %s/1, %d:here say %s/2", at, a, at, a)
	}
	r.e.Served(here, "fip")
	r.want("floating IP", r.after(time.Minute), both(0, "172.16.1.4")+", "+both(1, "172.16.1.4")+", "+both(3, "172.16.1.4"))
	r.e.Served(here, "gw")
	r.want("gateway", r.after(0), both(0, "172.16.1.2"))
	r.commit(func(tx *store.Txn) { alloc.DropGateway(tx, "r") })
	r.want("it left", r.after(time.Minute), "")
	r.e.Served(there, "gw")
	r.want("never there", r.after(time.Minute), "")
}

// TestWriteFails tries again what could not be written.
func TestWriteFails(t *testing.T) {
	r := newRig(t)
	r.lacks(other)
	r.after(0)
	r.hears(other, mac1)
	ctx, cancel := context.WithCancelCause(t.Context())
	fails := store.New(tables.Schema, nil)
	st := r.e.cfg.Store
	r.e.step(ctx)
	r.now = r.now.Add(gather)
	r.e.cfg.Store = fails
	if err := fails.Close(); err != nil {
		t.Fatal(err)
	}
	next := r.e.step(ctx)
	cancel(errors.New("done"))
	if len(r.e.heard) != 1 || !next.Equal(r.now.Add(900*time.Millisecond)) && !next.Equal(r.now.Add(againAfter)) {
		t.Fatalf("%d to be written, next at %v", len(r.e.heard), next.Sub(r.now))
	}
	r.e.cfg.Store = st
	r.after(2 * time.Second)
	r.want("known", r.known(), "172.16.1.77="+mac1.String())
}

// TestRun drives the agenda by a clock that runs, in fake time.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.e.cfg.Now = time.Now
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.e.Run(ctx) }()
		time.Sleep(time.Hour)
		r.e.Served(here, "fip")
		r.e.Confirmed(here)
		time.Sleep(29 * time.Second)
		synctest.Wait()
		if got := strings.Join(r.sent, " "); strings.Count(got, "say") != 6 || strings.Count(got, "ask") != 3 {
			t.Errorf("sent %q", got)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := strings.Join(r.sent, " "); strings.Count(got, "ask") != 4 {
			t.Errorf("sent %q", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
