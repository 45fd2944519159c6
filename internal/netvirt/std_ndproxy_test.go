// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/ovstest"
	"nagare/internal/sim"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/openflow"
)

// proxying makes r1 a proxy, for two instances on other nodes than its gateway's.
func proxying(c *campus) {
	c.do(func(tx *store.Txn) {
		r, _ := tables.Routers.Get(tx, "r1")
		r.NDPProxying = true
		tables.Routers.Put(tx, "r1", r)
		for id, p := range map[model.NDPProxyID]model.NDPProxyPlane{"p1": {Router: "r1", Port: "near1-00000", Addr: netip.MustParseAddr("fd01::10")},
			"p2": {Router: "r1", Port: "far2-000000", Addr: netip.MustParseAddr("fd02::20")}} {
			tables.NDPProxies.Put(tx, id, model.NDPProxy{ID: id, NDPProxyPlane: p})
		}
	})
}

// solicited is how the host outside asks who has an address.
func (c *campus) solicited(addr string) sim.Packet {
	a := netip.MustParseAddr(addr)
	b := a.As16()
	return sim.New(c.tagged(flow.ICMPv6(), flow.ICMPType(solicit), flow.ICMPCode(0), flow.NDTarget(a), flow.NDSLL(neighbour), flow.EthSrc(neighbour),
		flow.EthDst(model.MAC{0x33, 0x33, 0xff, b[13], b[14], b[15]}), flow.IPSrc(prefix("fd16::1/128")))...)
}

// TestNDPProxy has a router's gateway node speak for two instances and for no other, and lets nothing in but to them.
func TestNDPProxy(t *testing.T) {
	external(t, func(t *testing.T, c *campus) {
		gw := c.port("gw1").MAC
		in := func(dst string) sim.Packet { return c.fromOutside(gw, "fd16::1", dst, ping6(128)...) }
		c.got("nobody speaks for it", outside, c.solicited("fd01::10"), "")
		c.got("routed all the same", outside, in("fd01::20"), "far1-000000")
		proxying(c)
		for _, v := range []struct {
			port model.PortID
			addr string
		}{{"near1-00000", "fd01::10"}, {"far2-000000", "fd02::20"}} {
			f := c.got("solicitation", outside, c.solicited(v.addr), outside)
			if f.Uint(openflow.FieldICMPv6Type) != advert || model.MAC(f.Bytes(openflow.FieldEthSrc)) != gw || f.Addr(openflow.FieldIPv6Src).String() != v.addr {
				t.Fatalf("answer %s", f)
			}
			c.got("in", outside, in(v.addr), string(v.port))
			f = c.got("out", string(v.port), c.sent(v.port, "fd16::1", ping6(129)...), outside)
			c.is("out", f, gw, neighbour, v.addr, "fd16::1", 63)
		}
		// The gateway's own address answers as before; no other does, and nothing else comes in.
		c.got("the gateway's", outside, c.solicited("fd16::11"), outside)
		c.got("another instance's", outside, c.solicited("fd01::20"), "")
		c.got("to another instance", outside, in("fd01::20"), "")
		c.got("between networks", "near1-00000", c.sent("near1-00000", "fd02::10", ping6(128)...), "near2-00000")
		// An address that the instance no longer has is nobody's, and so is that of a proxy that is gone.
		c.do(func(tx *store.Txn) {
			p, _ := tables.Ports.Get(tx, "near1-00000")
			p.FixedIPs = slices.DeleteFunc(slices.Clone(p.FixedIPs), func(f model.FixedIP) bool { return f.Addr.Is6() })
			if err := alloc.PutPort(tx, p); err != nil {
				t.Fatal(err)
			}
			tables.NDPProxies.Delete(tx, "p2")
		})
		c.got("former address", outside, c.solicited("fd01::10"), "")
		c.got("former proxy", outside, c.solicited("fd02::20"), "")
		c.got("to it", outside, in("fd02::20"), "")
		c.do(func(tx *store.Txn) {
			r, _ := tables.Routers.Get(tx, "r1")
			r.NDPProxying = false
			tables.Routers.Put(tx, "r1", r)
		})
		c.got("no proxy any more", outside, in("fd02::20"), "far2-000000")
	})
}

// TestNDPProxyOnRealSwitch has Open vSwitch judge the same packets as the simulation.
func TestNDPProxyOnRealSwitch(t *testing.T) {
	s := ovstest.Start(t)
	for _, typ := range []model.NetworkType{model.Flat, model.VLAN} {
		c := standing(t, typ, Options{})
		proxying(c)
		gw := c.port("gw1").MAC
		bridge := fmt.Sprintf("p%s", typ)
		push(t, s, bridge, c.f.e, "gw")
		sw, numbers := simulated(t, c.f.e, "gw"), ofNumbers(s, bridge)
		wire := c.numbers["gw|"+patchName("ph")]
		sent := 0
		for i, p := range []sim.Packet{c.solicited("fd01::10"), c.solicited("fd02::20"), c.solicited("fd01::20"), c.fromOutside(gw, "fd16::1", "fd01::10", ping6(128)...),
			c.fromOutside(gw, "fd16::1", "fd02::20", ping6(128)...), c.fromOutside(gw, "fd16::1", "fd01::20", ping6(128)...)} {
			p.SetUint(openflow.FieldInPort, uint64(wire))
			text := s.Appctl("ofproto/trace", bridge, p.Traceable())
			want, _ := traced(text, p.Length, numbers)
			res := sw.Trace(p)
			if got := res.OutPorts(); !slices.Equal(got, want) || len(res.Errors) > 0 {
				t.Fatalf("packet %s\nsimulated %v:\n%s\nreal %v:\n%s", p, got, res, want, text)
			}
			if closed := i == 2 || i == 5; closed == (len(want) > 0) {
				t.Errorf("packet %s goes to %v", p, want)
			}
			sent += len(want)
		}
		if sent < 4 {
			t.Errorf("%d packets went anywhere", sent)
		}
	}
}
