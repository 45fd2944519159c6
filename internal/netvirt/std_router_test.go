// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/sim"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/openflow"
)

// TestRouted sends packets between two networks of a router in both directions, on one node and between nodes, IPv4 and IPv6.
func TestRouted(t *testing.T) {
	c := standing(t, model.Flat, Options{})
	for _, pair := range [][2]model.PortID{{"near1-00000", "near2-00000"}, {"near1-00000", "far2-000000"}, {"far2-000000", "near1-00000"},
		{"gw1-0000000", "far2-000000"}, {"near2-00000", "gw1-0000000"}} {
		a, b := c.port(pair[0]), c.port(pair[1])
		for i := range 2 {
			src, dst := a.FixedIPs[i].Addr.String(), b.FixedIPs[i].Addr.String()
			there, back := ping4(false), ping4(true)
			if i == 1 {
				there, back = ping6(128), ping6(129)
			}
			f := c.got("request", string(a.ID), c.sent(a.ID, dst, there...), string(b.ID))
			in := c.port("if2").MAC
			if b.Network == "n1" {
				in = c.port(model.PortID([]string{"if1", "if16"}[i])).MAC
			}
			c.is("request", f, in, b.MAC, src, dst, 63)
			c.got("reply", string(b.ID), c.sent(b.ID, src, back...), string(a.ID))
		}
		// The groups of the receiver still count: only port 22 is open.
		c.got("closed", string(a.ID), c.sent(a.ID, b.FixedIPs[0].Addr.String(), ports4(1000, 23)...), "")
		c.got("open", string(a.ID), c.sent(a.ID, b.FixedIPs[0].Addr.String(), ports4(1000, 22)...), string(b.ID))
	}
	if o := c.fabric.Trace("near1-00000", c.sent("near1-00000", "10.2.0.99", ping4(false)...)); len(o.Deliveries) > 0 || !strings.Contains(strings.Join(o.Trace, "\n"), " 70: priority 4 ") {
		t.Errorf("nobody's address is not dropped as such:\n%s", strings.Join(o.Trace, "\n"))
	}
	linkLocalSource := sent6(c, "near1-00000", "fd02::10")
	linkLocalSource.SetBytes(openflow.FieldIPv6Src, linkLocal(c.port("near1-00000").MAC).AsSlice())
	c.got("link-local source", "near1-00000", linkLocalSource, "")
	c.got("link-local", "near1-00000", c.sent("near1-00000", "169.254.1.1", ping4(false)...), "")
	c.got("link-local", "near1-00000", sent6(c, "near1-00000", "fe80::1"), "")
}

func sent6(c *campus, from model.PortID, to string) sim.Packet {
	return c.sent(from, to, ping6(128)...)
}

// TestRouterAnswers pings and resolves addresses of routers.
func TestRouterAnswers(t *testing.T) {
	c := standing(t, model.VLAN, Options{})
	for _, from := range []model.PortID{"near1-00000", "far1-000000", "gw1-0000000"} {
		for _, to := range []string{"10.1.0.1", "10.2.0.1", "172.16.1.11"} {
			f := c.got("ping of "+to, string(from), c.sent(from, to, ping4(false)...), string(from))
			c.is("ping of "+to, f, c.door(from), c.port(from).MAC, to, c.port(from).FixedIPs[0].Addr.String(), 64)
			if f.Uint(openflow.FieldICMPType) != 0 {
				t.Fatalf("no reply: %s", f)
			}
		}
		for _, to := range []string{"fd01::1", "fd02::1", "fd16::11", linkLocal(c.port("if16").MAC).String()} {
			f := c.got("ping of "+to, string(from), sent6(c, from, to), string(from))
			c.is("ping of "+to, f, c.port("if16").MAC, c.port(from).MAC, to, c.port(from).FixedIPs[1].Addr.String(), 64)
		}
	}
	gw := c.port("gw1").MAC
	f := c.got("ping from outside", outside, c.fromOutside(gw, outsideIP, "172.16.1.11", ping4(false)...), outside)
	c.is("ping from outside", f, gw, neighbour, "172.16.1.11", outsideIP, 64)
	vm := c.port("near1-00000")
	for _, a := range []netip.Addr{netip.MustParseAddr("fd01::1"), linkLocal(c.port("if16").MAC)} {
		nd := sim.New(flow.ICMPv6(), flow.ICMPType(solicit), flow.ICMPCode(0), flow.NDTarget(a), flow.NDSLL(vm.MAC), flow.EthSrc(vm.MAC), flow.EthDst(model.MAC{0x33, 0x33, 0xff, 0, 0, 1}), flow.IPSrc(host(vm.FixedIPs[1].Addr)))
		f := c.got("solicitation", string(vm.ID), nd, string(vm.ID))
		if f.Uint(openflow.FieldNDReserved) != 0xe0000000 || model.MAC(f.Bytes(openflow.FieldNDTLL)) != c.port("if16").MAC {
			t.Fatalf("advertisement %s", f)
		}
	}
	arp := sim.New(flow.ARPOp(1), flow.ARPSPA(vm.FixedIPs[0].Addr), flow.ARPSHA(vm.MAC), flow.ARPTPA(netip.MustParseAddr("10.1.0.1")), flow.EthSrc(vm.MAC), flow.EthDst(broadcast))
	if f := c.got("ARP", string(vm.ID), arp, string(vm.ID)); model.MAC(f.Bytes(openflow.FieldARPSHA)) != c.port("if1").MAC {
		t.Fatalf("answer %s", f)
	}
	f = c.got("ping from outside", outside, c.fromOutside(gw, "fd16::1", "fd16::11", ping6(128)...), outside)
	c.is("ping from outside", f, gw, neighbour, "fd16::11", "fd16::1", 64)
	c.got("another router's address", "other-00000", c.sent("other-00000", "10.2.0.1", ping4(false)...), outside) // by its default route
}

// TestTimeToLive wants packets that a router must not forward at the controller of the first node, by a meter of the port's own.
func TestTimeToLive(t *testing.T) {
	c := standing(t, model.Flat, Options{})
	for ttl, punt := range map[uint64]bool{0: false, 1: true} {
		for _, to := range []string{"10.2.0.20", outsideIP, "fd02::20"} {
			p := c.sent("near1-00000", to, ports4(1000, 33434)...)
			if to == "fd02::20" {
				p = sent6(c, "near1-00000", to)
			}
			p.SetUint(openflow.FieldIPTTL, ttl)
			if punt {
				c.punted("ttl", "near1-00000", p, "near", pipeline.PuntTTL)
			} else {
				c.got("ttl 0", "near1-00000", p, "")
			}
		}
	}
	p := c.sent("near1-00000", outsideIP, ports4(1000, 33434)...)
	p.SetUint(openflow.FieldIPTTL, 2) // the router is one hop, though two nodes have a part in it
	f := c.got("ttl 2", "near1-00000", p, outside)
	if f.Uint(openflow.FieldIPTTL) != 1 {
		t.Fatalf("the router is not one hop: %s", f)
	}
	d, _ := c.f.e.Desired("near")
	s, _ := tables.SlotsByPort.First(c.st.Snapshot(), model.PlugKey("near", "near1-00000"))
	if m, ok := d.Meters[s.Meter(model.PuntOther)]; !ok || m.Rate != DefaultPuntRate {
		t.Errorf("the port's meter is %v", m)
	}
	if _, ok := d.Meters[model.EdgeMeter]; !ok {
		t.Error("no meter for the edge")
	}
}

// TestExtraRoutes follows routes by an instance, by the external network, and none.
func TestExtraRoutes(t *testing.T) {
	c := standing(t, model.Flat, Options{})
	routes := func(rs ...string) {
		c.do(func(tx *store.Txn) {
			r, _ := tables.Routers.Get(tx, "r1")
			r.Routes = nil
			for i := 0; i < len(rs); i += 2 {
				r.Routes = append(r.Routes, model.Route{Destination: prefix(rs[i]), NextHop: prefix(rs[i+1] + "/32").Addr()})
			}
			tables.Routers.Put(tx, "r1", r)
		})
	}
	c.do(func(tx *store.Txn) { // the instance that forwards may send what is not its own
		for _, id := range []model.PortID{"far2-000000", "gw1-0000000"} {
			p, _ := tables.Ports.Get(tx, id)
			p.PortSecurity, p.SecurityGroups = false, nil
			if err := putPlugged(tx, p, 0, false); err != nil {
				t.Fatal(err)
			}
		}
		c.resolved(tx, "172.16.1.200")
	})
	routes("192.168.7.0/24", "10.2.0.20", "192.168.0.0/16", "172.16.1.200", "0.0.0.0/0", "10.2.0.20")
	f := c.got("inner", "near1-00000", c.sent("near1-00000", "192.168.7.7", ports4(1, 2)...), "far2-000000")
	c.is("inner", f, c.port("if2").MAC, c.port("far2-000000").MAC, "10.1.0.10", "192.168.7.7", 63)
	c.got("outer", "near1-00000", c.sent("near1-00000", "192.168.8.8", ports4(1, 2)...), outside)
	c.got("default", "near1-00000", c.sent("near1-00000", "8.8.8.8", ports4(1, 2)...), "far2-000000")
	c.got("on link", "near1-00000", c.sent("near1-00000", outsideIP, ports4(1, 2)...), outside)
	c.got("default", "gw1-0000000", c.sent("gw1-0000000", "8.8.8.8", ports4(1, 2)...), "far2-000000")
	for _, n := range campusNodes {
		if fs := c.f.e.Faults(n); len(fs) > 0 {
			t.Errorf("%s: %+v", n, fs)
		}
	}
	routes("192.168.7.0/24", "10.2.0.20", "192.168.7.0/24", "10.1.0.30")
	c.got("the lower of two", "near1-00000", c.sent("near1-00000", "192.168.7.7", ports4(1, 2)...), "gw1-0000000")
	if l := faultLines(c.f.e, "near"); len(l) > 0 {
		t.Errorf("two next hops to one prefix are a fault: %v", l)
	}
	routes("192.168.7.0/24", "10.2.0.1", "192.168.9.0/24", "10.9.9.9")
	c.got("a router's own address", "near1-00000", c.sent("near1-00000", "192.168.7.7", ports4(1, 2)...), outside) // by the default route
	if len(c.f.e.Faults("near")) == 0 {
		t.Error("routes that cannot be carried are no fault")
	}
	routes()
	c.got("gone", "near1-00000", c.sent("near1-00000", "192.168.7.7", ports4(1, 2)...), outside)
}

// TestNoFlowsElsewhere wants a router to cost nothing where it has no business, and all to be gone with it.
func TestNoFlowsElsewhere(t *testing.T) {
	c := newCampus(t, model.Flat, Options{})
	c.do(func(tx *store.Txn) {
		c.vm(tx, "near1-00000", "n1", "near", "10.1.0.10")
		c.vm(tx, "far3-000000", "n3", "far", "10.1.0.10")
	})
	before := map[string][]string{}
	for _, n := range campusNodes {
		before[n] = flowLines(c.f.e, n)
	}
	c.do(func(tx *store.Txn) {
		tables.Routers.Put(tx, "r1", model.Router{ID: "r1", RouterPlane: model.RouterPlane{Key: c.nextKey(), AdminStateUp: true, EnableSNAT: true}})
		c.join(tx, "if1", "r1", "n1", model.OwnerRouterInterface, "10.1.0.1")
		c.join(tx, "if2", "r1", "n2", model.OwnerRouterInterface, "10.2.0.1 fd02::1")
		c.join(tx, "gw1", "r1", "ext", model.OwnerRouterGateway, "172.16.1.11")
		c.resolved(tx, outsideIP)
		c.float(tx, "f1", "172.16.1.21", "near1-00000", "r1")
	})
	if got := flowLines(c.f.e, "far"); !slices.Equal(got, before["far"]) {
		t.Errorf("a node without business with the router has flows for it: %d, before %d", len(got), len(before["far"]))
	}
	for _, n := range []string{"gw", "near"} {
		t.Logf("%s: %d flows, %d before", n, len(flowLines(c.f.e, n)), len(before[n]))
	}
	down := func(up bool) {
		c.do(func(tx *store.Txn) {
			r, _ := tables.Routers.Get(tx, "r1")
			r.AdminStateUp = up
			tables.Routers.Put(tx, "r1", r)
		})
	}
	down(false)
	for _, f := range c.f.flows("near") {
		if k, _ := pipeline.UnpackCookie(f.Cookie); k.Kind == pipeline.KindRouter || k.Kind == pipeline.KindRouterInterface || (f.Table == uint8(pipeline.RouteLookup) || f.Table == uint8(pipeline.L3Forward)) && f.Priority > 0 {
			t.Errorf("the router is down, but %s", f)
		}
	}
	down(true)
	c.do(func(tx *store.Txn) {
		tables.FloatingIPs.Delete(tx, "f1")
		for _, p := range []model.PortID{"if1", "if2", "gw1", "f-f1"} {
			deletePort(tx, p)
		}
		tables.Routers.Delete(tx, "r1")
		dropGateway(tx, "r1")
		tables.Neighbours.Delete(tx, model.NeighbourKey("ext", prefix(outsideIP+"/32").Addr()))
	})
	for _, n := range campusNodes {
		if got := flowLines(c.f.e, n); !slices.Equal(got, before[n]) {
			t.Errorf("%s: %d flows are left, want the %d from before the router", n, len(got), len(before[n]))
		}
	}
}

// TestHandedOverOnce wants no node to pass on what another handed it, and nothing but packets to be handed over.
func TestHandedOverOnce(t *testing.T) {
	c := standing(t, model.Flat, Options{})
	var o sim.Outcome
	p := c.sent("near1-00000", "8.8.8.8", ports4(1, 2)...)
	p.SetUint(openflow.FieldTunID, uint64(vniOf(c, "n1")))
	c.fabric.Inject(&o, c.switches["near"], c.numbers["near|"+tunnelName(model.VXLAN, tunnelAddr(1).String())], p, true)
	if len(o.Deliveries)+len(o.Arrivals)+len(o.Errors) > 0 || strings.Contains(strings.Join(o.Trace, "\n"), "switch gw") {
		t.Errorf("handed back:\n%s", strings.Join(o.Trace, "\n"))
	}
	v6 := c.sent("near1-00000", "2001:db8::8", ping6(128)...)
	v6.SetBytes(openflow.FieldEthDst, macBytes(c.port("if1").MAC)) // the interface that speaks IPv4 only
	if o := c.fabric.Trace("near1-00000", v6); len(o.Deliveries) > 0 || strings.Contains(strings.Join(o.Trace, "\n"), "switch gw") {
		t.Errorf("what no router takes is handed over:\n%s", strings.Join(o.Trace, "\n"))
	}
}

func vniOf(c *campus, id model.NetworkID) uint32 {
	n, _ := tables.Networks.Get(c.st.Snapshot(), id)
	return n.SegmentationID
}

func macBytes(m model.MAC) []byte { return m[:] }

// TestRoutersMAC wants no instance to get what is for a router, whatever its allowed address pairs say.
func TestRoutersMAC(t *testing.T) {
	c := standing(t, model.Flat, Options{})
	before := c.sent("near1-00000", "8.8.8.8", ports4(1, 2)...)
	c.do(func(tx *store.Txn) {
		p, _ := tables.Ports.Get(tx, "far1-000000")
		p.AllowedPairs = []model.AddressPair{{MAC: c.port("if1").MAC, Prefix: netip.MustParsePrefix("10.1.0.0/24")}}
		if err := putPlugged(tx, p, 0, false); err != nil {
			t.Fatal(err)
		}
	})
	c.got("to the router", "near1-00000", before, outside)
	before.SetUint(openflow.FieldIPTTL, 64)
	other := sim.New(flow.EthSrc(c.port("near1-00000").MAC), flow.EthDst(c.port("if1").MAC), flow.ARPOp(2), flow.ARPSPA(netip.MustParseAddr("10.1.0.10")),
		flow.ARPSHA(c.port("near1-00000").MAC), flow.ARPTPA(netip.MustParseAddr("10.1.0.1")))
	c.got("ARP to the router", "near1-00000", other, "")
}
