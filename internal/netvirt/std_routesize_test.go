// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"net/netip"
	"testing"

	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/sim"
	"nagare/internal/store"
	"nagare/openflow"
)

// long makes a packet of a size, without Ethernet's header.
func long(p sim.Packet, octets int) sim.Packet {
	p.Length = octets + etherHeader
	return p
}

// looks are a node's flows about sizes.
func (c *campus) looks(node string) (n int) {
	for _, f := range c.f.flows(node) {
		switch k, _ := pipeline.UnpackCookie(f.Cookie); {
		case pipeline.TableID(f.Table) == pipeline.PacketSize && f.Priority > 0,
			k.Template == pipeline.Template(pipeline.RouteLookup, l3Size), k.Template == pipeline.Template(pipeline.InboundNAT, l3Whole):
			n++
		}
	}
	return n
}

// TestTooLargeFromOutside: packets that are larger than the instance's network takes come to the controller as they were sent, and
// those that are not pass, by a floating IP, as answers to what left by the gateway, and routed.
func TestTooLargeFromOutside(t *testing.T) {
	for _, typ := range []model.NetworkType{model.Flat, model.VLAN} {
		c := standing(t, typ, Options{})
		c.do(func(tx *store.Txn) {
			c.takes(tx, map[model.NetworkID]int{"ext": 1500, "n1": 1450, "n2": 1450, "n3": 1500})
			c.float(tx, "f", "172.16.1.21", "gw1-0000000", "r1")
		})
		if n := c.looks("near"); n != 0 {
			t.Errorf("%d flows about sizes on a node that no larger packets reach", n)
		}
		if n := c.looks("gw"); n != 8 { // floating IP, gateway, IPv6 into each of two networks, and four for all
			t.Errorf("%d flows about sizes on the gateway node, want 8", n)
		}
		fm, gm := c.port("f-f").MAC, c.port("gw1").MAC
		in := c.fromOutside(fm, "8.8.8.8", "172.16.1.21", ports4(1000, 22)...)
		c.got("floating IP, fits", outside, long(in, 1450), "gw1-0000000")
		c.punted("floating IP, too large", outside, long(in, 1451), "gw", pipeline.PuntTooLarge)
		o := c.fabric.Trace(outside, long(in, 1451)).Arrivals[0].Packet
		if to := o.Addr(openflow.FieldIPv4Dst).String(); to != "172.16.1.21" || o.Uint(openflow.FieldIPTTL) != 64 || o.Uint(openflow.Reg(pipeline.RegMTU)) != 1450 ||
			model.MAC(o.Bytes(openflow.FieldEthSrc)) != neighbour {
			t.Errorf("the controller gets %s", o)
		}
		sent := c.got("out", "near1-00000", long(c.sent("near1-00000", "8.8.8.8", ports4(2000, 53)...), 1450), outside)
		back := c.fromOutside(gm, "8.8.8.8", "172.16.1.11", ports4(53, uint16(sent.Uint(openflow.FieldUDPSrc)))...)
		c.got("answer, fits", outside, long(back, 1450), "near1-00000")
		c.punted("answer, too large", outside, long(back, 1500), "gw", pipeline.PuntTooLarge)
		// An answer to nobody is dropped if it fits; what is said of one that does not fit is of the gateway.
		six := c.fromOutside(gm, "2001:db8::1", "fd01::10", ping6(128)...)
		c.got("IPv6, fits", outside, long(six, 1450), "near1-00000")
		c.punted("IPv6, too large", outside, long(six, 1451), "gw", pipeline.PuntTooLarge)
		three := c.fromOutside(c.port("gw3").MAC, "8.8.8.8", "172.16.1.13", ping4(false)...)
		c.got("a router whose networks take as much", outside, long(three, 1500), outside)
		// As large everywhere: nothing is looked at.
		c.do(func(tx *store.Txn) { c.takes(tx, map[model.NetworkID]int{"n1": 1500, "n2": 1500}) })
		for _, n := range campusNodes {
			if l := c.looks(n); l != 0 {
				t.Errorf("%s has %d flows about sizes, and all networks take as much", n, l)
			}
		}
		c.got("floating IP", outside, long(in, 1500), "gw1-0000000")
	}
}

// TestTooLargeFromInside: a sender's node says so itself, whoever routes the packet in the end.
func TestTooLargeFromInside(t *testing.T) {
	c := standing(t, model.Flat, Options{})
	c.do(func(tx *store.Txn) {
		c.takes(tx, map[model.NetworkID]int{"ext": 1500, "n1": 9000, "n2": 1400, "n3": 1500})
		c.float(tx, "f", "172.16.1.21", "far1-000000", "r1")
	})
	for _, w := range []struct {
		what, from, to string
		mtu            int
		receiver       string
	}{
		{"between networks", "near1-00000", "10.2.0.20", 1400, "far2-000000"},
		{"on one node", "near1-00000", "10.2.0.10", 1400, "near2-00000"},
		{"IPv6", "near1-00000", "fd02::20", 1400, "far2-000000"},
		{"handed over", "near1-00000", "8.8.8.8", 1500, outside},
		{"on the gateway node", "gw1-0000000", "8.8.8.8", 1500, outside},
		{"by a floating IP of the node", "far1-000000", "8.8.8.8", 1500, outside},
		{"IPv6, handed over", "far1-000000", "2001:db8::1", 1500, outside},
	} {
		l4 := ports4(1000, 22)
		if netip.MustParseAddr(w.to).Is6() {
			l4 = ping6(128)
		}
		p := c.sent(model.PortID(w.from), w.to, l4...)
		c.got(w.what+", fits", w.from, long(p, w.mtu), w.receiver)
		node := map[byte]string{'n': "near", 'f': "far", 'g': "gw"}[w.from[0]]
		c.punted(w.what+", too large", w.from, long(p, w.mtu+1), node, pipeline.PuntTooLarge)
		at := c.fabric.Trace(w.from, long(p, w.mtu+1)).Arrivals[0].Packet
		if mac := at.Bytes(openflow.FieldEthSrc); model.MAC(mac) != c.port(model.PortID(w.from)).MAC || at.Uint(openflow.FieldIPTTL) != 64 ||
			at.Uint(openflow.Reg(pipeline.RegMTU)) != uint64(w.mtu) || at.Uint(openflow.Reg(pipeline.RegSrcPort)) != uint64(c.port(model.PortID(w.from)).Key) {
			t.Errorf("%s: the controller gets %s", w.what, at)
		}
	}
	c.got("into the network of larger ones", "near2-00000", long(c.sent("near2-00000", "10.1.0.20", ports4(1, 22)...), 1400), "far1-000000")
}
