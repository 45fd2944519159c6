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

// wiredCampus is a standing campus whose first router has an interface on a physical network, too, with an instance on each node
// that maps it.
func wiredCampus(t *testing.T, typ model.NetworkType) (c *campus, tag uint16) {
	c = standing(t, map[model.NetworkType]model.NetworkType{model.VLAN: model.Flat, model.Flat: model.VLAN}[typ], Options{})
	c.do(func(tx *store.Txn) {
		c.network(tx, "wired", typ, "10.4.0.0/24 fd04::/64")
		if typ == model.VLAN {
			n, _ := tables.Networks.Get(tx, "wired")
			n.SegmentationID, tag = 300, 300
			tables.Networks.Put(tx, "wired", n)
		}
		c.join(tx, "if4", "r1", "wired", model.OwnerRouterInterface, "10.4.0.1 fd04::1")
		c.vm(tx, "far4-000000", "wired", "far", "10.4.0.20 fd04::20")
		c.vm(tx, "gw4-0000000", "wired", "gw", "10.4.0.30 fd04::30")
	})
	c.hears = true
	return c, tag
}

// TestRoutedOnWire: what a router sends into a physical network leaves by the interface's MAC address from the gateway node alone.
// A node without the wire leaves it to that, and what comes by the wire is routed once.
func TestRoutedOnWire(t *testing.T) {
	for _, typ := range []model.NetworkType{model.VLAN, model.Flat} {
		c, tag := wiredCampus(t, typ)
		rif := c.port("if4").MAC
		mine := wireMAC("far", rif)
		if mine == wireMAC("gw", rif) || mine[0]&3 != 2 {
			t.Errorf("MAC address %s", mine)
		}
		for _, w := range []struct {
			what, from, to, receiver string
			source                   model.MAC
		}{
			{"by the wire from a node", "far1-000000", "10.4.0.30", "gw4-0000000", mine},
			{"by the wire from the gateway node", "gw1-0000000", "10.4.0.20", "far4-000000", rif},
			{"from a node without the wire", "near1-00000", "10.4.0.20", "far4-000000", rif},
			{"from a node without the wire to the gateway node", "near2-00000", "10.4.0.30", "gw4-0000000", rif},
			{"on one node", "far1-000000", "10.4.0.20", "far4-000000", mine},
			{"out of it, by a tunnel", "far4-000000", "10.1.0.10", "near1-00000", c.port("if1").MAC},
			{"out of it, on one node", "far4-000000", "10.2.0.20", "far2-000000", c.port("if2").MAC},
			{"IPv6", "far1-000000", "fd04::30", "gw4-0000000", mine},
			{"IPv6, out of it", "gw4-0000000", "fd02::10", "near2-00000", c.port("if2").MAC},
		} {
			l4 := ports4(1000, 22)
			if netip.MustParseAddr(w.to).Is6() {
				l4 = ping6(128)
			}
			p := c.sent(model.PortID(w.from), w.to, l4...)
			f := c.got(w.what, w.from, p, w.receiver)
			if got := model.MAC(f.Bytes(openflow.FieldEthSrc)); got != w.source || f.Uint(openflow.FieldIPTTL) != 63 {
				t.Errorf("%s %s: from %s, time to live %d; want %s and 63", typ, w.what, got, f.Uint(openflow.FieldIPTTL), w.source)
			}
		}
		// Out and back by the gateway node: handed over by the wire, to the interface.
		o := c.fabric.Trace("far4-000000", c.sent("far4-000000", "8.8.8.8", ports4(2000, 53)...))
		var out []sim.Packet
		for _, d := range o.Deliveries {
			if d.To != outside {
				t.Errorf("%s receives what leaves", d.To)
			} else if model.MAC(d.Frame.Bytes(openflow.FieldEthDst)) == neighbour {
				out = append(out, d.Frame)
			} else if at := model.MAC(d.Frame.Bytes(openflow.FieldEthDst)); at != rif {
				t.Errorf("on the wire to %s", at)
			}
		}
		if len(out) != 1 || out[0].Addr(openflow.FieldIPv4Src).String() != "172.16.1.11" {
			t.Fatalf("%s: out %v\n%s", typ, out, strings.Join(o.Trace, "\n"))
		}
		back := c.fromOutside(c.port("gw1").MAC, "8.8.8.8", "172.16.1.11", ports4(53, uint16(out[0].Uint(openflow.FieldUDPSrc)))...)
		f := c.got("back", outside, back, "far4-000000")
		if model.MAC(f.Bytes(openflow.FieldEthSrc)) != rif {
			t.Errorf("the answer is from %s", f)
		}
		// A host on the wire that is no port gets no answer.
		who := sim.New(flow.EthSrc(neighbour), flow.EthDst(model.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}), flow.ARPOp(1), flow.ARPSPA(netip.MustParseAddr("10.4.0.99")),
			flow.ARPSHA(neighbour), flow.ARPTPA(netip.MustParseAddr("10.4.0.1")))
		if tag != 0 {
			who.SetUint(openflow.FieldVLANVID, uint64(tag)|0x1000)
		}
		if r := c.fabric.Trace(outside, who).Receivers(); slices.Contains(r, outside) {
			t.Errorf("%s: answers on the wire: %v", typ, r)
		}
		// The gateway elsewhere: the MAC address goes with it.
		c.do(func(tx *store.Txn) { c.place(tx, "r1", "gw") })
		for from, want := range map[string]model.MAC{"far1-000000": rif, "near1-00000": rif, "gw1-0000000": wireMAC("gw", rif)} {
			to, receiver := "10.4.0.30", "gw4-0000000"
			if from == "gw1-0000000" {
				to, receiver = "10.4.0.20", "far4-000000"
			}
			f := c.got("after it moved", from, c.sent(model.PortID(from), to, ports4(1000, 22)...), receiver)
			if got := model.MAC(f.Bytes(openflow.FieldEthSrc)); got != want {
				t.Errorf("%s: after the gateway moved, from %s by %s, want %s", typ, from, got, want)
			}
		}
	}
}

// TestFloatingOnWire: a floating IP of an instance on a physical network, on a node that serves it itself.
func TestFloatingOnWire(t *testing.T) {
	c, _ := wiredCampus(t, model.VLAN)
	c.do(func(tx *store.Txn) { c.float(tx, "f", "172.16.1.21", "far4-000000", "r1") })
	in := c.got("in", outside, c.fromOutside(c.port("f-f").MAC, "8.8.8.8", "172.16.1.21", ports4(1000, 22)...), "far4-000000")
	c.is("in", in, wireMAC("far", c.port("if4").MAC), c.port("far4-000000").MAC, "8.8.8.8", "10.4.0.20", 63)
	out := c.got("out", "far4-000000", c.sent("far4-000000", "8.8.8.8", ports4(22, 1000)...), outside)
	c.is("out", out, c.port("f-f").MAC, neighbour, "172.16.1.21", "8.8.8.8", 63)
}

// TestUnmappedWire: without a gateway nobody takes what a node without the wire cannot send, and the interface says so.
func TestUnmappedWire(t *testing.T) {
	c := newCampus(t, model.Flat, Options{})
	c.do(func(tx *store.Txn) {
		c.network(tx, "wired", model.Flat, "10.4.0.0/24")
		n, _ := tables.Networks.Get(tx, "wired")
		n.PhysicalNetwork = "other"
		tables.Networks.Put(tx, "wired", n)
		tables.Routers.Put(tx, "r1", model.Router{ID: "r1", RouterPlane: model.RouterPlane{Key: c.nextKey(), AdminStateUp: true}})
		c.join(tx, "if1", "r1", "n1", model.OwnerRouterInterface, "10.1.0.1")
		c.join(tx, "if4", "r1", "wired", model.OwnerRouterInterface, "10.4.0.1")
		c.vm(tx, "near1-00000", "n1", "near", "10.1.0.10")
		c.vm(tx, "near4-00000", "wired", "near", "10.4.0.10")
		c.vm(tx, "far4-000000", "wired", "far", "10.4.0.20")
	})
	if l := strings.Join(faultLines(c.f.e, "near"), "\n"); !strings.Contains(l, "l3/interface): physical network \"other\" has no bridge on this node") {
		t.Errorf("no fault: %s", l)
	}
	c.got("on the node", "near1-00000", c.sent("near1-00000", "10.4.0.10", ping4(false)...), "near4-00000")
	c.got("to another", "near1-00000", c.sent("near1-00000", "10.4.0.20", ping4(false)...), "")
	for _, f := range c.f.flows("near") { // no wire, no way
		if pipeline.TableID(f.Table) == pipeline.L2Forward && strings.Contains(f.String(), "push_vlan") {
			t.Errorf("%s", f)
		}
	}
}
