// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/ovstest"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/openflow"
)

// transit is a campus where three routers in a row join n1, n4 and n2: r1 and r2 share t1, r2 and r3 share t2. No port is on t1 and t2.
// r3 has a gateway on gw, and each router has routes to what is beyond the others, as told.
func transit(t testing.TB, o Options, typ model.NetworkType, routes ...string) *campus {
	c := newCampus(t, model.Flat, o)
	c.do(func(tx *store.Txn) {
		c.network(tx, "t1", typ, "10.91.0.0/24 fd91::/64")
		c.network(tx, "t2", model.Geneve, "10.92.0.0/24 fd92::/64")
		c.network(tx, "n4", model.VXLAN, "10.4.0.0/24 fd04::/64")
		if n, _ := tables.Networks.Get(tx, "t1"); typ == model.VLAN {
			n.SegmentationID = 91
			tables.Networks.Put(tx, "t1", n)
		}
		for _, r := range []model.RouterID{"r1", "r2", "r3"} {
			tables.Routers.Put(tx, r, model.Router{ID: r, RouterPlane: model.RouterPlane{Key: c.nextKey(), AdminStateUp: true, EnableSNAT: true}})
		}
		c.join(tx, "if1", "r1", "n1", model.OwnerRouterInterface, "10.1.0.1 fd01::1")
		c.join(tx, "t1-1", "r1", "t1", model.OwnerRouterInterface, "10.91.0.1 fd91::1")
		c.join(tx, "t1-2", "r2", "t1", model.OwnerRouterInterface, "10.91.0.2 fd91::2")
		c.join(tx, "if4", "r2", "n4", model.OwnerRouterInterface, "10.4.0.1 fd04::1")
		c.join(tx, "t2-2", "r2", "t2", model.OwnerRouterInterface, "10.92.0.2 fd92::2")
		c.join(tx, "t2-3", "r3", "t2", model.OwnerRouterInterface, "10.92.0.3 fd92::3")
		c.join(tx, "if2", "r3", "n2", model.OwnerRouterInterface, "10.2.0.1 fd02::1")
		c.join(tx, "gw3", "r3", "ext", model.OwnerRouterGateway, "172.16.1.13")
		c.vm(tx, "near1-00000", "n1", "near", "10.1.0.10 fd01::10")
		c.vm(tx, "far2-000000", "n2", "far", "10.2.0.20 fd02::20")
		c.vm(tx, "gw4-0000000", "n4", "gw", "10.4.0.30 fd04::30")
		c.resolved(tx, outsideIP)
	})
	c.do(func(tx *store.Txn) { c.routed(tx, routes...) })
	return c
}

// routed gives routers their routes, each "router prefix next-hop".
func (c *campus) routed(tx *store.Txn, routes ...string) {
	for _, id := range []model.RouterID{"r1", "r2", "r3"} {
		r, _ := tables.Routers.Get(tx, id)
		r.Routes = nil
		for _, text := range routes {
			if w := strings.Fields(text); w[0] == string(id) {
				r.Routes = append(r.Routes, model.Route{Destination: netip.MustParsePrefix(w[1]), NextHop: netip.MustParseAddr(w[2])})
			}
		}
		tables.Routers.Put(tx, id, r)
	}
}

var thereAndBack = []string{
	"r1 10.0.0.0/8 10.91.0.2", "r2 10.2.0.0/16 10.92.0.3", "r3 10.0.0.0/8 10.92.0.2", "r2 10.1.0.0/16 10.91.0.1",
	"r1 fd02::/64 fd91::2", "r1 fd04::/64 fd91::2", "r2 fd02::/64 fd92::3", "r3 fd01::/64 fd92::2", "r2 fd01::/64 fd91::1",
	"r1 0.0.0.0/0 10.91.0.2", "r2 0.0.0.0/0 10.92.0.3",
}

// TestRoutesByRouters: packets pass through routers whose networks in between have no port anywhere, and come back, by tunnels and by
// networks of the wire in between.
func TestRoutesByRouters(t *testing.T) {
	for _, typ := range []model.NetworkType{model.VXLAN, model.Geneve, model.VLAN} {
		t.Run(string(typ), func(t *testing.T) { byRouters(transit(t, Options{}, typ, thereAndBack...)) })
	}
}

func byRouters(c *campus) {
	for _, w := range []struct {
		from model.PortID
		to   model.PortID
		hops int
	}{{"near1-00000", "far2-000000", 3}, {"far2-000000", "near1-00000", 3}, {"near1-00000", "gw4-0000000", 2}, {"gw4-0000000", "far2-000000", 2}} {
		for i := range 2 {
			src, dst := c.port(w.from), c.port(w.to)
			to := dst.FixedIPs[i].Addr.String()
			what := fmt.Sprintf("%s to %s", w.from, to)
			l4 := [][]flow.Term{ports4(1000, 22), ping6(128)}[i]
			f := c.got(what, string(w.from), c.sent(w.from, to, l4...), string(w.to))
			c.is(what, f, c.doorOf(w.to, i == 0), dst.MAC, src.FixedIPs[i].Addr.String(), to, uint64(64-w.hops))
		}
	}
	// The time to live ends at the second and the third router, on the sender's node.
	for _, ttl := range []uint8{1, 2, 3} {
		p := c.sent("near1-00000", "10.2.0.20", ports4(1, 22)...)
		p.SetUint(openflow.FieldIPTTL, uint64(ttl))
		c.punted(fmt.Sprint("ttl ", ttl), "near1-00000", p, "near", pipeline.PuntTTL)
	}
	// Routers on the way answer, by their routes.
	for to, hops := range map[string]uint64{"10.91.0.2": 2, "10.92.0.2": 2, "10.4.0.1": 2, "10.92.0.3": 3, "10.2.0.1": 3} {
		f := c.got("ping "+to, "near1-00000", c.sent("near1-00000", to, ping4(false)...), "near1-00000")
		c.is("ping "+to, f, c.door("near1-00000"), c.port("near1-00000").MAC, to, "10.1.0.10", 64-hops)
	}
	c.got("ping fd04::1", "near1-00000", c.sent("near1-00000", "fd04::1", ping6(128)...), "near1-00000")
	// Outside is behind the last router; answers find the way back through all.
	f := c.got("outside", "near1-00000", c.sent("near1-00000", "8.8.8.8", ports4(1000, 53)...), outside)
	c.is("outside", f, c.port("gw3").MAC, neighbour, "172.16.1.13", "8.8.8.8", 61)
	f = c.got("answer", outside, c.fromOutside(c.port("gw3").MAC, "8.8.8.8", "172.16.1.13", ports4(53, 1000)...), "near1-00000")
	c.is("answer", f, c.door("near1-00000"), c.port("near1-00000").MAC, "8.8.8.8", "10.1.0.10", 61)
}

// TestRoutesInCircles: what two routers send to each other ends.
func TestRoutesInCircles(t *testing.T) {
	c := transit(t, Options{}, model.VXLAN, "r1 192.168.0.0/16 10.91.0.2", "r2 192.168.0.0/16 10.91.0.1", "r3 192.168.0.0/16 10.92.0.2", "r2 10.1.0.0/16 10.91.0.1")
	c.punted("in circles", "near1-00000", c.sent("near1-00000", "192.168.1.1", ports4(1, 2)...), "near", pipeline.PuntTTL)
	for _, n := range campusNodes {
		if fs := c.f.e.Faults(n); len(fs) > 0 {
			t.Errorf("%s: %v", n, fs)
		}
	}
}

// TestRoutesByRoutersReach: nodes have the routers that routes lead to, and no others.
func TestRoutesByRoutersReach(t *testing.T) {
	c := transit(t, Options{}, model.VXLAN)
	has := func(node string, routers ...string) {
		t.Helper()
		got := []string{}
		for id := range tables.NodeRouters.Members(c.st.Snapshot(), node) {
			got = append(got, id)
		}
		if strings.Join(got, " ") != strings.Join(routers, " ") {
			t.Errorf("%s has the routers %v, want %v", node, got, routers)
		}
	}
	has("near", "r1")
	c.got("no route", "near1-00000", c.sent("near1-00000", "10.2.0.20", ports4(1000, 22)...), "")
	c.do(func(tx *store.Txn) { c.routed(tx, "r1 10.2.0.0/16 10.91.0.2") })
	has("near", "r1", "r2")
	c.do(func(tx *store.Txn) { c.routed(tx, thereAndBack...) })
	has("near", "r1", "r2", "r3")
	c.got("through three", "near1-00000", c.sent("near1-00000", "10.2.0.20", ports4(1000, 22)...), "far2-000000")
	c.do(func(tx *store.Txn) { // the router in between goes down
		r, _ := tables.Routers.Get(tx, "r2")
		r.AdminStateUp = false
		tables.Routers.Put(tx, "r2", r)
	})
	c.got("down", "near1-00000", c.sent("near1-00000", "10.2.0.20", ports4(1000, 22)...), "")
}

// TestRoutesByRoutersOnRealSwitch: what the simulator says of packets that routers pass on to each other is what Open vSwitch does,
// also where they go in circles.
func TestRoutesByRoutersOnRealSwitch(t *testing.T) {
	s := ovstest.Start(t)
	fates := map[string]int{}
	for i, typ := range []model.NetworkType{model.VXLAN, model.VLAN} {
		c := transit(t, Options{}, typ, append(thereAndBack, "r2 192.168.0.0/16 10.91.0.1", "r1 192.168.0.0/16 10.91.0.2")...)
		bridge := fmt.Sprint("via", i)
		push(t, s, bridge, c.f.e, "near")
		sw, numbers := simulated(t, c.f.e, "near"), ofNumbers(s, bridge)
		sw.Track.AssumeNew = true
		for _, to := range []string{"10.2.0.20", "10.4.0.30", "10.91.0.2", "10.92.0.3", "10.2.0.99", "8.8.8.8", "192.168.1.1", "fd02::20", "fd04::1"} {
			for _, ttl := range []uint64{1, 2, 3, 4, 64, 255} {
				for _, l4 := range [][]flow.Term{ports4(1000, 22), ping4(false), ping6(128)} {
					if v4 := netip.MustParseAddr(to).Is4(); l4[0] == flow.ICMP() && !v4 || l4[0] == flow.ICMPv6() && v4 {
						continue
					}
					p := c.sent("near1-00000", to, l4...)
					p.SetUint(openflow.FieldIPTTL, ttl)
					p.SetUint(openflow.FieldInPort, 1)
					text := s.Appctl("ofproto/trace", bridge, p.Traceable())
					res, real := sw.Trace(p), fate(traced(text, p.Length, numbers))
					if got := fate(res.OutPorts(), len(res.Punts) > 0); got != real || len(res.Errors) > 0 && !circling(res) {
						t.Fatalf("%s\nsimulated: %s\n%v\nreal: %s\n%s", p, got, res, real, text)
					}
					word, _, _ := strings.Cut(real, " ")
					fates[word]++
				}
			}
		}
	}
	t.Logf("fates: %v", fates)
	if fates["leaves"] < 20 || fates["punted"] < 20 || fates["dropped"] < 4 {
		t.Error("the test shows little")
	}
}
