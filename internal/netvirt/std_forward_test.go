// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"net/netip"
	"slices"
	"testing"

	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/sim"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/openflow"
)

// forwards is a port forwarding of tests.
type forwards struct {
	id       model.PortForwardingID
	proto    string
	external model.PortRange
	port     model.PortID
	internal model.PortRange
}

func ports(from, to uint16) model.PortRange { return model.PortRange{From: from, To: to} }

// forward writes port forwardings of a floating IP, which it makes.
func (c *campus) forward(tx *store.Txn, id model.FloatingIPID, addr string, router model.RouterID, all ...forwards) {
	c.float(tx, id, addr, "", router)
	for _, f := range all {
		p, _ := tables.Ports.Get(tx, f.port)
		tables.PortForwardings.Put(tx, f.id, model.PortForwarding{ID: f.id, ForwardingPlane: model.ForwardingPlane{Key: c.nextKey(), Floating: id, Protocol: f.proto,
			External: f.external, Internal: f.internal, Port: f.port, Fixed: p.FixedIPs[0].Addr}})
	}
}

func l4(proto uint8, src, dst uint16) []flow.Term {
	return []flow.Term{flow.IPProto(proto), flow.TPSrc(src), flow.TPDst(dst)}
}

const forwarded = "172.16.1.31"

// forwarding is a campus whose router r1 forwards ports of 172.16.1.31 to instances on all nodes.
func forwarding(t testing.TB, typ model.NetworkType) *campus {
	c := standing(t, typ, Options{})
	c.do(func(tx *store.Txn) {
		c.forward(tx, "ff", forwarded, "r1",
			forwards{"near", "udp", ports(2201, 2201), "near1-00000", ports(22, 22)},
			forwards{"far", "udp", ports(2202, 2202), "far2-000000", ports(22, 22)},
			forwards{"gw", "udp", ports(22, 22), "gw1-0000000", ports(22, 22)},
			forwards{"tcp", "tcp", ports(2201, 2201), "near2-00000", ports(22, 22)},
			forwards{"same", "udp", ports(3000, 3010), "far1-000000", ports(3000, 3010)},
			forwards{"many", "udp", ports(4000, 4010), "far1-000000", ports(22, 22)},
			forwards{"moved", "udp", ports(5000, 5004), "far1-000000", ports(20, 24)})
		for i, port := range []int{20, 3005} { // beside 22
			p := model.RulePlane{Direction: model.Ingress, Ethertype: model.EtherIPv4, Protocol: "udp", PortMin: ptr(port), PortMax: ptr(port), Key: model.Key(30 + i), Group: "g"}
			id := model.SecurityGroupRuleID([]string{"r20", "r3005"}[i])
			tables.Rules.Put(tx, id, model.SecurityGroupRule{ID: id, RulePlane: p})
		}
		p := model.RulePlane{Direction: model.Ingress, Ethertype: model.EtherIPv4, Protocol: "tcp", PortMin: ptr(22), PortMax: ptr(22), Key: 32, Group: "g"}
		tables.Rules.Put(tx, "tcp22", model.SecurityGroupRule{ID: "tcp22", RulePlane: p})
	})
	return c
}

var forwardedTo = []struct {
	proto          uint8
	external, port uint16
	to             model.PortID
}{{flow.ProtoUDP, 2201, 22, "near1-00000"}, {flow.ProtoUDP, 2202, 22, "far2-000000"}, {flow.ProtoUDP, 22, 22, "gw1-0000000"}, {flow.ProtoTCP, 2201, 22, "near2-00000"},
	{flow.ProtoUDP, 3005, 3005, "far1-000000"}, {flow.ProtoUDP, 4007, 22, "far1-000000"}, {flow.ProtoUDP, 5000, 20, "far1-000000"}, {flow.ProtoUDP, 5002, 22, "far1-000000"}}

func (c *campus) dstPort(what string, f sim.Packet, src, dst uint16) {
	c.t.Helper()
	s, d := openflow.FieldUDPSrc, openflow.FieldUDPDst
	if f.Uint(openflow.FieldIPProto) == flow.ProtoTCP {
		s, d = openflow.FieldTCPSrc, openflow.FieldTCPDst
	}
	if f.Uint(s) != uint64(src) || f.Uint(d) != uint64(dst) {
		c.t.Fatalf("%s: %s is not from port %d to port %d", what, f, src, dst)
	}
}

// TestForwarding reaches instances on all nodes by ports of one address, from outside, and hears their answers from there.
func TestForwarding(t *testing.T) {
	external(t, func(t *testing.T, c *campus) {
		c = forwarding(t, map[bool]model.NetworkType{true: model.VLAN, false: model.Flat}[c.vid != 0])
		mac := c.port("f-ff").MAC
		for i, v := range forwardedTo {
			own, fixed, sport := c.port(v.to), c.port(v.to).FixedIPs[0].Addr.String(), uint16(1000+i)
			for range 2 { // nothing must depend on an answer
				f := c.got("in", outside, c.fromOutside(mac, "8.8.8.8", forwarded, l4(v.proto, sport, v.external)...), string(v.to))
				c.is("in", f, c.door(v.to), own.MAC, "8.8.8.8", fixed, 63)
				c.dstPort("in", f, sport, v.port)
			}
			for range 2 {
				f := c.got("answer", string(v.to), c.sent(v.to, "8.8.8.8", l4(v.proto, v.port, sport)...), outside)
				c.is("answer", f, mac, neighbour, forwarded, "8.8.8.8", 63)
				c.dstPort("answer", f, v.external, sport)
			}
			c.got("more", outside, c.fromOutside(mac, "8.8.8.8", forwarded, l4(v.proto, sport, v.external)...), string(v.to))
			// On its own it is the gateway's.
			f := c.got("out", string(v.to), c.sent(v.to, "8.8.4.4", ports4(3000, 53)...), outside)
			c.is("out", f, c.port("gw1").MAC, neighbour, "172.16.1.11", "8.8.4.4", 63)
		}
		c.got("refused by its groups", outside, c.fromOutside(mac, "8.8.8.8", forwarded, ports4(1, 5001)...), "")
		for what, p := range map[string][]flow.Term{"no such port": ports4(1, 2203), "no such port of TCP": l4(flow.ProtoTCP, 1, 22), "before the range": ports4(1, 3999),
			"after the range": ports4(1, 4011), "after the other range": ports4(1, 5005)} {
			c.got(what, outside, c.fromOutside(mac, "8.8.8.8", forwarded, p...), "")
		}
		c.got("another's frame", outside, c.fromOutside(stranger, "8.8.8.8", forwarded, ports4(1, 2201)...), "")
		c.got("ping", outside, c.fromOutside(mac, outsideIP, forwarded, ping4(false)...), outside)
		arp := sim.New(c.tagged(flow.ARPOp(1), flow.ARPSPA(netip.MustParseAddr(outsideIP)), flow.ARPSHA(neighbour), flow.ARPTPA(netip.MustParseAddr(forwarded)), flow.EthSrc(neighbour), flow.EthDst(broadcast))...)
		if f := c.got("ARP", outside, arp, outside); f.Uint(openflow.FieldARPOp) != 2 || f.Uint(openflow.FieldARPSHA) != uint64(mac[5])|0xfa163e000000 {
			t.Fatalf("answer %s", f)
		}
	})
}

// TestForwardingHairpin reaches forwarded ports from instances: their neighbours, those of the other network, another tenant's,
// the instance itself; by a router that translates and by one that does not.
func TestForwardingHairpin(t *testing.T) {
	for _, snat := range []bool{true, false} {
		c := forwarding(t, model.Flat)
		c.do(func(tx *store.Txn) {
			r, _ := tables.Routers.Get(tx, "r1")
			r.EnableSNAT = snat
			tables.Routers.Put(tx, "r1", r)
		})
		port := uint16(6000)
		for _, from := range []model.PortID{"near1-00000", "near2-00000", "far1-000000", "far2-000000", "gw1-0000000", "other-00000"} {
			as := "172.16.1.11"
			if from == "other-00000" {
				as = "172.16.1.13"
			}
			for _, v := range forwardedTo {
				port++
				for range 2 {
					f := c.got(string(from)+" in", string(from), c.sent(from, forwarded, l4(v.proto, port, v.external)...), string(v.to))
					c.is("in", f, c.door(v.to), c.port(v.to).MAC, as, c.port(v.to).FixedIPs[0].Addr.String(), 62)
					c.dstPort("in", f, port, v.port)
				}
				f := c.got("answer", string(v.to), c.sent(v.to, as, l4(v.proto, v.port, port)...), string(from))
				c.is("answer", f, c.door(from), c.port(from).MAC, forwarded, c.port(from).FixedIPs[0].Addr.String(), 62)
				c.dstPort("answer", f, v.external, port)
			}
			if from != "other-00000" { // by a router of the same node nobody hears of pings, as with a gateway's address
				c.got("ping", string(from), c.sent(from, forwarded, ping4(false)...), string(from))
			}
			c.got("no such port", string(from), c.sent(from, forwarded, ports4(port, 2203)...), "")
		}
	}
}

// TestForwardingUntranslated forwards ports of a router that does not translate: the rest goes in and out as before.
func TestForwardingUntranslated(t *testing.T) {
	c := forwarding(t, model.Flat)
	c.do(func(tx *store.Txn) {
		r, _ := tables.Routers.Get(tx, "r1")
		r.EnableSNAT = false
		tables.Routers.Put(tx, "r1", r)
	})
	gw, mac := c.port("gw1").MAC, c.port("f-ff").MAC
	for _, v := range forwardedTo {
		f := c.got("in", outside, c.fromOutside(mac, "8.8.8.8", forwarded, l4(v.proto, 1000, v.external)...), string(v.to))
		c.is("in", f, c.door(v.to), c.port(v.to).MAC, "8.8.8.8", c.port(v.to).FixedIPs[0].Addr.String(), 63)
		f = c.got("answer", string(v.to), c.sent(v.to, "8.8.8.8", l4(v.proto, v.port, 1000)...), outside)
		c.is("answer", f, mac, neighbour, forwarded, "8.8.8.8", 63)
	}
	for range 2 {
		f := c.got("out", "near1-00000", c.sent("near1-00000", "8.8.8.8", ports4(1001, 53)...), outside)
		c.is("out", f, gw, neighbour, "10.1.0.10", "8.8.8.8", 63)
	}
	f := c.got("in, untranslated", outside, c.fromOutside(gw, "8.8.8.8", "10.1.0.10", ports4(53, 1001)...), "near1-00000")
	c.is("in, untranslated", f, c.port("if1").MAC, c.port("near1-00000").MAC, "8.8.8.8", "10.1.0.10", 63)
	f = c.got("opened from outside", outside, c.fromOutside(gw, "8.8.4.4", "10.1.0.10", l4(flow.ProtoTCP, 1001, 22)...), "near1-00000")
	c.is("opened from outside", f, c.port("if1").MAC, c.port("near1-00000").MAC, "8.8.4.4", "10.1.0.10", 63)
	answer := c.sent("near1-00000", "8.8.4.4", append(l4(flow.ProtoTCP, 22, 1001), flow.Is(openflow.FieldTCPFlags, []byte{0, 0x12}))...)
	f = c.got("its answer", "near1-00000", answer, outside)
	c.is("its answer", f, gw, neighbour, "10.1.0.10", "8.8.4.4", 63)
}

// TestForwardingEnds takes forwardings away, or changes what they are for, under open connections: none goes on, in either
// direction, and other forwardings' do.
func TestForwardingEnds(t *testing.T) {
	for what, change := range map[string]func(c *campus, tx *store.Txn, f *model.PortForwarding){
		"removed":  nil,
		"external": func(c *campus, _ *store.Txn, f *model.PortForwarding) { f.External = ports(2210, 2210) },
		"internal": func(c *campus, _ *store.Txn, f *model.PortForwarding) { f.Internal = ports(20, 20) },
		"to another instance": func(c *campus, tx *store.Txn, f *model.PortForwarding) {
			p, _ := tables.Ports.Get(tx, "far1-000000")
			f.Port, f.Fixed = p.ID, p.FixedIPs[0].Addr
		},
	} {
		c := forwarding(t, model.Flat)
		mac := c.port("f-ff").MAC
		c.got("in", outside, c.fromOutside(mac, "8.8.8.8", forwarded, ports4(1000, 2201)...), "near1-00000")
		c.got("answer", "near1-00000", c.sent("near1-00000", "8.8.8.8", ports4(22, 1000)...), outside)
		c.got("another's", outside, c.fromOutside(mac, "8.8.8.8", forwarded, ports4(1000, 2202)...), "far2-000000")
		c.do(func(tx *store.Txn) {
			f, _ := tables.PortForwardings.Get(tx, "near")
			if change == nil {
				tables.PortForwardings.Delete(tx, "near")
				return
			}
			change(c, tx, &f)
			f.Key = c.nextKey()
			tables.PortForwardings.Put(tx, f.ID, f)
		})
		if o := c.fabric.Send(outside, c.fromOutside(mac, "8.8.8.8", forwarded, ports4(1000, 2201)...)); slices.Contains(o.Receivers(), "near1-00000") {
			t.Errorf("%s: the old connection goes on inwards", what)
		}
		for _, d := range c.fabric.Send("near1-00000", c.sent("near1-00000", "8.8.8.8", ports4(22, 1000)...)).Deliveries {
			t.Errorf("%s: the old connection goes on outwards: %s", what, d.Frame)
		}
		c.got("another's goes on", outside, c.fromOutside(mac, "8.8.8.8", forwarded, ports4(1000, 2202)...), "far2-000000")
		c.got("and its answers", "far2-000000", c.sent("far2-000000", "8.8.8.8", ports4(22, 1000)...), outside)
	}
}

// TestForwardingCosts counts flows: a forwarding of one port costs four on the gateway node alone, however many there are; ranges
// cost by their blocks, and those that move ports by their ports.
func TestForwardingCosts(t *testing.T) {
	c := standing(t, model.Flat, Options{})
	count := func() (n [3]int) {
		for i, node := range campusNodes {
			n[i] = len(c.f.flows(node))
		}
		return n
	}
	c.do(func(tx *store.Txn) { c.forward(tx, "ff", forwarded, "r1") })
	was := count()
	for i, v := range []struct {
		f    forwards
		cost int
	}{
		{forwards{"a", "udp", ports(2201, 2201), "near1-00000", ports(22, 22)}, 3},
		{forwards{"b", "tcp", ports(2201, 2201), "near1-00000", ports(22, 22)}, 3},
		{forwards{"c", "udp", ports(4096, 8191), "far1-000000", ports(22, 22)}, 3},
		{forwards{"d", "udp", ports(3000, 3010), "far1-000000", ports(3000, 3010)}, 2 + len(PortMasks(3000, 3010))},
		{forwards{"e", "udp", ports(5000, 5009), "far1-000000", ports(20, 29)}, 2 + 10},
	} {
		c.do(func(tx *store.Txn) { c.forward(tx, "ff", forwarded, "r1", v.f) })
		now := count()
		if now[0]-was[0] != v.cost || now[1] != was[1] || now[2] != was[2] {
			t.Errorf("forwarding %d costs %d flows on the gateway node, want %d, and %d and %d on others", i, now[0]-was[0], v.cost, now[1]-was[1], now[2]-was[2])
		}
		was = now
	}
	signed := 0
	for _, f := range c.f.flows("gw") {
		if k, _ := pipeline.UnpackCookie(f.Cookie); k.Kind == pipeline.KindForwarding {
			signed++
		}
	}
	if want := 3 + 3 + 3 + 2 + len(PortMasks(3000, 3010)) + 12; signed != want {
		t.Errorf("%d flows are signed as a forwarding's, want %d", signed, want)
	}
}
