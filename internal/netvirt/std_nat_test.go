// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"net/netip"
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/sim"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/openflow"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func deletePort(tx *store.Txn, id model.PortID) { alloc.DeletePort(tx, id) }

func dropGateway(tx *store.Txn, id model.RouterID) { alloc.DropGateway(tx, id) }

// external runs a test with the external network untagged and tagged on the wire.
func external(t *testing.T, test func(*testing.T, *campus)) {
	for _, typ := range []model.NetworkType{model.Flat, model.VLAN} {
		t.Run(string(typ), func(t *testing.T) { test(t, standing(t, typ, Options{})) })
	}
}

// TestSNAT sends from instances without a floating IP, on the gateway's node and on others, and answers.
func TestSNAT(t *testing.T) {
	external(t, func(t *testing.T, c *campus) {
		gw := c.port("gw1").MAC
		for i, from := range []model.PortID{"gw1-0000000", "near1-00000", "far2-000000"} {
			own := c.port(from).FixedIPs[0].Addr.String()
			sport := uint16(2000 + i)
			for range 3 { // nothing must depend on an answer
				f := c.got("request", string(from), c.sent(from, "8.8.8.8", ports4(sport, 53)...), outside)
				c.is("request", f, gw, neighbour, "172.16.1.11", "8.8.8.8", 63)
			}
			for range 2 {
				f := c.got("reply", outside, c.fromOutside(gw, "8.8.8.8", "172.16.1.11", ports4(53, sport)...), string(from))
				c.is("reply", f, c.door(from), c.port(from).MAC, "8.8.8.8", own, 63)
			}
			c.got("more", string(from), c.sent(from, "8.8.8.8", ports4(sport, 53)...), outside)
		}
		c.got("unasked", outside, c.fromOutside(gw, "8.8.8.8", "172.16.1.11", ports4(53, 22)...), "")
		c.got("unasked, to a fixed address", outside, c.fromOutside(gw, "8.8.8.8", "10.1.0.10", ports4(53, 22)...), "")
		f := c.got("other tenant", "other-00000", c.sent("other-00000", "8.8.8.8", ports4(2001, 53)...), outside)
		c.is("other tenant", f, c.port("gw3").MAC, neighbour, "172.16.1.13", "8.8.8.8", 63)
		c.got("other tenant's reply", outside, c.fromOutside(c.port("gw3").MAC, "8.8.8.8", "172.16.1.13", ports4(53, 2001)...), "other-00000")
		// IPv6 is not translated.
		f = c.got("IPv6", "near1-00000", sent6(c, "near1-00000", "2001:db8::8"), outside)
		c.is("IPv6", f, gw, neighbour, "fd01::10", "2001:db8::8", 63)
		c.got("IPv6 reply", outside, c.fromOutside(gw, "2001:db8::8", "fd01::10", ping6(129)...), "near1-00000")
	})
}

// TestNoSNAT routes without translation.
func TestNoSNAT(t *testing.T) {
	c := standing(t, model.Flat, Options{})
	c.do(func(tx *store.Txn) {
		r, _ := tables.Routers.Get(tx, "r1")
		r.EnableSNAT = false
		tables.Routers.Put(tx, "r1", r)
	})
	gw := c.port("gw1").MAC
	f := c.got("out", "near1-00000", c.sent("near1-00000", "8.8.8.8", ports4(1000, 53)...), outside)
	c.is("out", f, gw, neighbour, "10.1.0.10", "8.8.8.8", 63)
	f = c.got("in", outside, c.fromOutside(gw, "8.8.8.8", "10.1.0.10", ports4(53, 1000)...), "near1-00000")
	c.is("in", f, c.port("if1").MAC, c.port("near1-00000").MAC, "8.8.8.8", "10.1.0.10", 63)
	c.got("ping", outside, c.fromOutside(gw, outsideIP, "172.16.1.11", ping4(false)...), outside)
	c.got("closed", outside, c.fromOutside(gw, "8.8.8.8", "10.1.0.10", ports4(53, 23)...), "")
}

// floated gives floating IPs: near1 and gw1 are served by the gateway's node, far1 and far2 by their own.
func floated(c *campus) {
	c.do(func(tx *store.Txn) {
		c.float(tx, "fnear", "172.16.1.21", "near1-00000", "r1")
		c.float(tx, "ffar", "172.16.1.22", "far1-000000", "r1")
		c.float(tx, "ffar2", "172.16.1.23", "far2-000000", "r1")
		c.float(tx, "fgw", "172.16.1.24", "gw1-0000000", "r1")
		c.float(tx, "fother", "172.16.1.25", "other-00000", "r3")
		for i := range 5 { // the nodes learned each other's by ARP
			id := model.FloatingIPID([]string{"fnear", "ffar", "ffar2", "fgw", "fother"}[i])
			f, _ := tables.FloatingIPs.Get(tx, id)
			p, _ := tables.Ports.Get(tx, f.FloatPort)
			tables.Neighbours.Put(tx, model.NeighbourKey("ext", f.Addr), model.Neighbour{Network: "ext", Addr: f.Addr, MAC: p.MAC})
		}
	})
}

var floats = []struct {
	id   model.FloatingIPID
	addr string
	port model.PortID
	node string
}{{"fnear", "172.16.1.21", "near1-00000", "gw"}, {"ffar", "172.16.1.22", "far1-000000", "far"}, {"ffar2", "172.16.1.23", "far2-000000", "far"},
	{"fgw", "172.16.1.24", "gw1-0000000", "gw"}, {"fother", "172.16.1.25", "other-00000", "gw"}}

// TestFloating reaches instances from outside and the outside from them, by floating IPs at the gateway and on nodes of their own.
func TestFloating(t *testing.T) {
	external(t, func(t *testing.T, c *campus) {
		floated(c)
		for _, v := range floats {
			own, fixed, mac := c.port(v.port), c.port(v.port).FixedIPs[0].Addr.String(), c.port(model.PortID("f-"+v.id)).MAC
			for range 2 {
				f := c.got("in", outside, c.fromOutside(mac, "8.8.8.8", v.addr, ports4(1000, 22)...), string(v.port))
				c.is("in", f, c.door(v.port), own.MAC, "8.8.8.8", fixed, 63)
			}
			f := c.got("answer", string(v.port), c.sent(v.port, "8.8.8.8", ports4(22, 1000)...), outside)
			c.is("answer", f, mac, neighbour, v.addr, "8.8.8.8", 63)
			c.got("closed", outside, c.fromOutside(mac, "8.8.8.8", v.addr, ports4(1000, 23)...), "")
			c.got("another's frame", outside, c.fromOutside(stranger, "8.8.8.8", v.addr, ports4(1001, 22)...), "")
			for range 2 {
				f = c.got("out", string(v.port), c.sent(v.port, "8.8.4.4", ports4(3000, 53)...), outside)
				c.is("out", f, mac, neighbour, v.addr, "8.8.4.4", 63)
			}
			f = c.got("answer", outside, c.fromOutside(mac, "8.8.4.4", v.addr, ports4(53, 3000)...), string(v.port))
			c.is("answer", f, c.door(v.port), own.MAC, "8.8.4.4", fixed, 63)
			// ARP, which only the node that serves it answers.
			arp := sim.New(c.tagged(flow.ARPOp(1), flow.ARPSPA(netip.MustParseAddr(outsideIP)), flow.ARPSHA(neighbour), flow.ARPTPA(netip.MustParseAddr(v.addr)), flow.EthSrc(neighbour), flow.EthDst(broadcast))...)
			f = c.got("ARP", outside, arp, outside)
			if f.Uint(openflow.FieldARPOp) != 2 || f.Uint(openflow.FieldARPSHA) != uint64(mac[5])|0xfa163e000000 {
				t.Fatalf("answer %s", f)
			}
		}
	})
}

func (c *campus) tagged(terms ...flow.Term) []flow.Term {
	if c.vid != 0 {
		return append(terms, flow.VLANVID(c.vid))
	}
	return terms
}

// TestHairpin reaches each floating IP from each instance: itself, its neighbours, the other network's, another tenant's, those
// without one; the answer comes from the floating IP.
func TestHairpin(t *testing.T) {
	external(t, func(t *testing.T, c *campus) {
		floated(c)
		c.do(func(tx *store.Txn) { // one without, which goes by the gateway's address
			f, _ := tables.FloatingIPs.Get(tx, "fnear")
			n, _ := tables.Neighbours.Get(tx, model.NeighbourKey("ext", f.Addr))
			n.Addr = netip.MustParseAddr("172.16.1.11")
			n.MAC = c.port("gw1").MAC
			tables.Neighbours.Put(tx, model.NeighbourKey("ext", n.Addr), n)
		})
		c.hears = true
		seen := map[model.PortID]string{"near2-00000": "172.16.1.11"}
		for _, v := range floats {
			seen[v.port] = v.addr
		}
		port := uint16(5000)
		for from, as := range seen {
			for _, v := range floats {
				port++
				src := as
				for range 2 {
					f := c.got(string(from)+" to "+v.addr, string(from), c.sent(from, v.addr, ports4(port, 22)...), string(v.port))
					c.is("request", f, c.door(v.port), c.port(v.port).MAC, src, c.port(v.port).FixedIPs[0].Addr.String(), 62)
				}
				f := c.got("answer of "+v.addr, string(v.port), c.sent(v.port, src, ports4(22, port)...), string(from))
				c.is("answer", f, c.door(from), c.port(from).MAC, v.addr, c.port(from).FixedIPs[0].Addr.String(), 62)
				c.got("closed", string(from), c.sent(from, v.addr, ports4(port, 23)...), "")
			}
		}
		// A frame for an address of this node that is none of its MAC addresses goes nowhere, and not round and round.
		c.got("no loop", outside, c.fromOutside(neighbour, "8.8.8.8", "172.16.1.11", ports4(1, 22)...), "")
	})
}

// TestAssociation moves a floating IP from one instance to another: neither goes on with the other's sessions.
func TestAssociation(t *testing.T) {
	for _, pair := range [][2]model.PortID{{"near1-00000", "near2-00000"}, {"far1-000000", "far2-000000"}, {"near1-00000", "far1-000000"}, {"far1-000000", "gw1-0000000"}} {
		c := standing(t, model.Flat, Options{})
		c.do(func(tx *store.Txn) { c.float(tx, "f", "172.16.1.21", pair[0], "r1") })
		mac := c.port("f-f").MAC
		old, now := pair[0], pair[1]
		c.got("in", outside, c.fromOutside(mac, "8.8.8.8", "172.16.1.21", ports4(1000, 22)...), string(old))
		c.got("answer", string(old), c.sent(old, "8.8.8.8", ports4(22, 1000)...), outside)
		c.got("out", string(old), c.sent(old, "8.8.4.4", ports4(3000, 53)...), outside)
		c.do(func(tx *store.Txn) { c.float(tx, "f", "172.16.1.21", now, "r1") })
		if f := c.fabric.Send(string(old), c.sent(old, "8.8.8.8", ports4(22, 1000)...)); len(f.Deliveries) > 0 && f.Deliveries[0].Frame.Addr(openflow.FieldIPv4Src) == netip.MustParseAddr("172.16.1.21") {
			t.Fatalf("%s goes on as the floating IP: %s", old, f.Deliveries[0].Frame)
		}
		if f := c.fabric.Send(string(old), c.sent(old, "8.8.4.4", ports4(3000, 53)...)); len(f.Deliveries) > 0 && f.Deliveries[0].Frame.Addr(openflow.FieldIPv4Src) == netip.MustParseAddr("172.16.1.21") {
			t.Fatalf("%s goes on as the floating IP: %s", old, f.Deliveries[0].Frame)
		}
		for what, p := range map[string]sim.Packet{
			"more of the old session": c.fromOutside(mac, "8.8.8.8", "172.16.1.21", ports4(1000, 22)...),
			"answer to the old one":   c.fromOutside(mac, "8.8.4.4", "172.16.1.21", ports4(53, 3000)...)} {
			for _, d := range c.fabric.Send(outside, p).Deliveries {
				if d.To == string(old) {
					t.Fatalf("%s reaches %s, which has the floating IP no more", what, old)
				}
			}
		}
		f := c.got("new one", outside, c.fromOutside(mac, "8.8.8.8", "172.16.1.21", ports4(1002, 22)...), string(now))
		c.is("new one", f, c.door(now), c.port(now).MAC, "8.8.8.8", c.port(now).FixedIPs[0].Addr.String(), 63)
		c.got("answer", string(now), c.sent(now, "8.8.8.8", ports4(22, 1002)...), outside)
		c.do(func(tx *store.Txn) { c.float(tx, "f", "172.16.1.21", "", "") })
		c.got("nobody's", outside, c.fromOutside(mac, "8.8.8.8", "172.16.1.21", ports4(1002, 22)...), "")
	}
}

// TestResolve asks the controller for next hops that nobody knows, and shows it the answers.
func TestResolve(t *testing.T) {
	c := standing(t, model.Flat, Options{})
	floated(c)
	to := "172.16.1.77"
	c.punted("at the gateway's node", "gw1-0000000", c.sent("gw1-0000000", to, ports4(1, 2)...), "gw", pipeline.PuntResolve)
	c.punted("by the gateway's node", "near2-00000", c.sent("near2-00000", to, ports4(1, 2)...), "gw", pipeline.PuntResolve)
	c.punted("floating", "far1-000000", c.sent("far1-000000", to, ports4(1, 2)...), "far", pipeline.PuntResolve)
	for node, mac := range map[string]model.MAC{"gw": c.port("gw1").MAC, "far": c.port("f-ffar").MAC} {
		arp := sim.New(flow.ARPOp(2), flow.ARPSPA(netip.MustParseAddr(to)), flow.ARPSHA(neighbour), flow.ARPTPA(netip.MustParseAddr("172.16.1.11")), flow.EthSrc(neighbour), flow.EthDst(mac))
		c.punted("answer", outside, arp, node, pipeline.PuntNeighbour)
	}
	c.do(func(tx *store.Txn) { c.resolved(tx, to) })
	c.got("resolved", "far1-000000", c.sent("far1-000000", to, ports4(1, 2)...), outside)
	c.do(func(tx *store.Txn) {
		tables.Neighbours.Delete(tx, model.NeighbourKey("ext", netip.MustParseAddr("172.16.1.22")))
	})
	c.punted("floating IP elsewhere", "gw1-0000000", c.sent("gw1-0000000", "172.16.1.22", ports4(1, 22)...), "gw", pipeline.PuntResolve)
}

// TestOwnHop reaches addresses that the node itself has though nobody observed them.
func TestOwnHop(t *testing.T) {
	c := standing(t, model.Flat, Options{})
	c.do(func(tx *store.Txn) { c.float(tx, "f", "172.16.1.21", "near1-00000", "r1") })
	c.got("request", "near2-00000", c.sent("near2-00000", "172.16.1.21", ports4(7, 22)...), "near1-00000")
	c.got("answer", "near1-00000", c.sent("near1-00000", "172.16.1.11", ports4(22, 7)...), "near2-00000")
	c.got("ours, but for no one", "gw1-0000000", c.sent("gw1-0000000", "fd16::11", ping6(129)...), "")
}

// TestStaleTranslation changes addresses under open sessions: none goes on under an address that is no more.
func TestStaleTranslation(t *testing.T) {
	c := standing(t, model.Flat, Options{})
	c.do(func(tx *store.Txn) { c.float(tx, "f", "172.16.1.21", "far1-000000", "r1") })
	gone := map[netip.Addr]bool{}
	not := func(what string, from model.PortID, p sim.Packet) {
		t.Helper()
		for _, d := range c.fabric.Send(string(from), p).Deliveries {
			if gone[d.Frame.Addr(openflow.FieldIPv4Src)] || gone[d.Frame.Addr(openflow.FieldIPv4Dst)] {
				t.Errorf("%s: %s gets %s", what, d.To, d.Frame)
			}
		}
	}
	c.got("by the gateway", "near1-00000", c.sent("near1-00000", "8.8.8.8", ports4(1000, 53)...), outside)
	c.got("by the floating IP", "far1-000000", c.sent("far1-000000", "8.8.8.8", ports4(1000, 53)...), outside)
	c.got("to the floating IP", outside, c.fromOutside(c.port("f-f").MAC, "8.8.8.8", "172.16.1.21", ports4(1000, 22)...), "far1-000000")
	c.do(func(tx *store.Txn) { // the gateway gets another address
		p, _ := tables.Ports.Get(tx, "gw1")
		p.FixedIPs = c.fixed("ext", "172.16.1.12")
		if err := putPlugged(tx, p, 0, false); err != nil {
			t.Fatal(err)
		}
	})
	gone[netip.MustParseAddr("172.16.1.11")] = true
	not("the gateway's old address", "near1-00000", c.sent("near1-00000", "8.8.8.8", ports4(1000, 53)...))
	c.do(func(tx *store.Txn) { // the instance gets another floating IP
		tables.FloatingIPs.Delete(tx, "f")
		c.float(tx, "f2", "172.16.1.22", "far1-000000", "r1")
	})
	gone[netip.MustParseAddr("172.16.1.21")] = true
	not("the old floating IP", "far1-000000", c.sent("far1-000000", "8.8.8.8", ports4(1000, 53)...))
	mac := c.port("f-f2").MAC
	c.got("to the new one", outside, c.fromOutside(mac, "8.8.8.8", "172.16.1.22", ports4(1001, 22)...), "far1-000000")
	c.do(func(tx *store.Txn) { // the instance gets another address, and another instance its old one
		p, _ := tables.Ports.Get(tx, "far1-000000")
		p.FixedIPs = c.fixed("n1", "10.1.0.21 fd01::20")
		if err := putPlugged(tx, p, 0, false); err != nil {
			t.Fatal(err)
		}
		c.float(tx, "f2", "172.16.1.22", "far1-000000", "r1")
		c.vm(tx, "heir-000000", "n1", "far", "10.1.0.20")
	})
	gone[netip.MustParseAddr("10.1.0.20")] = true
	not("the old fixed address", outside, c.fromOutside(mac, "8.8.8.8", "172.16.1.22", ports4(1001, 22)...))
}
