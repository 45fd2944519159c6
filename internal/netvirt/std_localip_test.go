// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/sim"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/openflow"
)

// localIPLines are the flows that local IPs make on a node, each after its cookie's table of contents.
func localIPLines(e *compile.Engine, node string) []string {
	var lines []string
	for _, f := range flowsOf(e, node) {
		c, _ := pipeline.UnpackCookie(f.Cookie)
		if t := pipeline.TableID(f.Table); f.Priority > 0 && (c.Kind == pipeline.KindLocalIP || t == pipeline.LoadBalancer || t == pipeline.LocalNew) {
			lines = append(lines, fmt.Sprintf("%s %#x: %s", c.Kind, c.Key, f))
		}
	}
	return lines
}

// TestLocalIPGolden compiles each testdata/standard-localip/*.txtar as TestStandardGolden does, by the whole profile.
func TestLocalIPGolden(t *testing.T) {
	goldens(t, "testdata/standard-localip/*.txtar", Standard, localIPLines)
}

const (
	lip4, lip6     = "10.1.0.100", "fd01::100"
	client, served = model.PortID("near1-00000"), model.PortID("near3-00000")
)

// localIP writes a local IP of an address that the holder has, and has ports serve it by their first address of the family.
func (c *campus) localIP(tx *store.Txn, id model.LocalIPID, holder model.PortID, addr, mode string, servers ...model.PortID) {
	p, _ := tables.Ports.Get(tx, holder)
	old, had := tables.LocalIPs.Get(tx, id)
	if !had {
		old.Key = c.nextKey()
	}
	a := netip.MustParseAddr(addr)
	tables.LocalIPs.Put(tx, id, model.LocalIP{ID: id, LocalIPPlane: model.LocalIPPlane{Key: old.Key, Port: holder, Network: p.Network, Addr: a, Mode: mode}})
	for as := range tables.LocalIPAssociationsByLocalIP.By(tx, string(id)) {
		tables.LocalIPAssociations.Delete(tx, as.ID())
	}
	for _, s := range servers {
		p, _ := tables.Ports.Get(tx, s)
		at := slices.IndexFunc(p.FixedIPs, func(f model.FixedIP) bool { return f.Addr.Is4() == a.Is4() })
		as := model.LocalIPAssociation{LocalIPAssociationPlane: model.LocalIPAssociationPlane{LocalIP: id, Port: s, Fixed: p.FixedIPs[at].Addr}}
		tables.LocalIPAssociations.Put(tx, as.ID(), as)
	}
}

// held makes a port that has addresses and is nowhere.
func (c *campus) held(tx *store.Txn, id model.PortID, net model.NetworkID, ips string) {
	k := c.nextKey()
	if err := alloc.PutPort(tx, model.Port{ID: id, PortPlane: model.PortPlane{Key: k, Network: net, MAC: macOf(k), AdminStateUp: true, DeviceOwner: model.OwnerLocalIP, FixedIPs: c.fixed(net, ips)}}); err != nil {
		c.t.Fatal(err)
	}
}

// locals is a campus in which an instance on near serves two addresses that nobody has, one of each family, and is reached by those of
// n1: on near there are two more of these than on other nodes.
func locals(t testing.TB, mode string) *campus {
	c := standing(t, model.Flat, Options{})
	c.do(func(tx *store.Txn) {
		c.vm(tx, served, "n1", "near", "10.1.0.40 fd01::40")
		c.vm(tx, "near4-00000", "n1", "near", "10.1.0.50 fd01::50")
		in := model.RulePlane{Key: 80, Group: "g", Direction: model.Ingress, Ethertype: model.EtherIPv6, Protocol: "udp", PortMin: ptr(22), PortMax: ptr(22)}
		tables.Rules.Put(tx, "udp6", model.SecurityGroupRule{ID: "udp6", RulePlane: in})
		c.held(tx, "holder", "n1", lip4+" "+lip6)
		c.localIP(tx, "l4", "holder", lip4, mode, served)
		c.localIP(tx, "l6", "holder", lip6, mode, served)
	})
	return c
}

// linked is a packet of an instance to an address of its own network, in a frame to a port's MAC address.
func (c *campus) linked(from model.PortID, as string, to model.PortID, addr string, l4 ...flow.Term) sim.Packet {
	src, dst := netip.MustParseAddr(as), netip.MustParseAddr(addr)
	return sim.New(append(l4, flow.EthSrc(c.port(from).MAC), flow.EthDst(c.port(to).MAC), family(host(dst)), flow.IPSrc(host(src)), flow.IPDst(host(dst)), flow.IPTTL(64))...)
}

// address is an instance's first address of another's family.
func (c *campus) address(id model.PortID, like string) string {
	is4 := netip.MustParseAddr(like).Is4()
	f := c.port(id).FixedIPs
	return f[slices.IndexFunc(f, func(f model.FixedIP) bool { return f.Addr.Is4() == is4 })].Addr.String()
}

// reaches has a client speak with the server by the local IP: what arrives has the server's address, the answers the local IP's.
func (c *campus) reaches(from, server, holder model.PortID, addr string, sport uint16) {
	c.t.Helper()
	own, fixed := c.address(from, addr), c.address(server, addr)
	for range 2 { // nothing must depend on an answer
		f := c.got("request", string(from), c.linked(from, own, holder, addr, ports4(sport, 22)...), string(server))
		c.is("request", f, c.port(from).MAC, c.port(server).MAC, own, fixed, 64)
	}
	for range 2 {
		f := c.got("answer", string(server), c.linked(server, fixed, from, own, ports4(22, sport)...), string(from))
		c.is("answer", f, c.port(server).MAC, c.port(from).MAC, addr, own, 64)
		c.got("request", string(from), c.linked(from, own, holder, addr, ports4(sport, 22)...), string(server))
	}
}

// asks has an instance ask who has an IPv4 address and returns what the answer says; zero: nobody answers.
func (c *campus) asks(from model.PortID, addr string) (m model.MAC) {
	c.t.Helper()
	p := c.port(from)
	ask := sim.New(flow.ARPOp(1), flow.ARPSPA(p.FixedIPs[0].Addr), flow.ARPSHA(p.MAC), flow.ARPTPA(netip.MustParseAddr(addr)), flow.EthSrc(p.MAC), flow.EthDst(broadcast))
	for _, d := range c.fabric.Trace(string(from), ask).Deliveries {
		if d.To == string(from) {
			return model.MAC(d.Frame.Bytes(openflow.FieldARPSHA))
		}
	}
	return m
}

// TestLocalIPTranslated: on the server's node its neighbours reach it by the address; elsewhere nobody is there.
func TestLocalIPTranslated(t *testing.T) {
	c := locals(t, model.LocalIPTranslate)
	for i, addr := range []string{lip4, lip6} {
		c.reaches(client, served, "holder", addr, uint16(1000+i))
		own, fixed := c.address(client, addr), c.address(served, addr)
		// By its own address it is reached as ever, by the same client.
		f := c.got("direct", string(client), c.linked(client, own, served, fixed, ports4(2000, 22)...), string(served))
		c.is("direct", f, c.port(client).MAC, c.port(served).MAC, own, fixed, 64)
		f = c.got("direct answer", string(served), c.linked(served, fixed, client, own, ports4(22, 2000)...), string(client))
		c.is("direct answer", f, c.port(served).MAC, c.port(client).MAC, fixed, own, 64)
		c.got("refused by the server's groups", string(client), c.linked(client, own, "holder", addr, ports4(1000, 23)...), "")
		c.got("as somebody else", string(client), c.linked(client, c.address("near4-00000", addr), "holder", addr, ports4(1000, 22)...), "")
		c.got("from another node", "far1-000000", c.linked("far1-000000", c.address("far1-000000", addr), "holder", addr, ports4(1000, 22)...), "")
		c.got("the server itself", string(served), c.linked(served, fixed, "holder", addr, ports4(1000, 22)...), "")
		c.got("the server under the address", string(served), c.linked(served, addr, client, own, ports4(1000, 22)...), "")
		c.got("by a router", "near2-00000", c.sent("near2-00000", addr, ports4(1000, 22)...), "")
	}
	c.got("another tenant", "other-00000", c.linked("other-00000", "10.1.0.10", "holder", lip4, ports4(1000, 22)...), "")
	for _, ask := range []struct {
		from   model.PortID
		answer model.MAC
	}{{client, c.port("holder").MAC}, {served, c.port("holder").MAC}, {"far1-000000", model.MAC{}}, {"other-00000", model.MAC{}}} {
		if got := c.asks(ask.from, lip4); got != ask.answer {
			t.Errorf("%s hears that %s has %s, want %s", ask.from, got, lip4, ask.answer)
		}
	}
}

// TestLocalIPHolder: where nobody serves the address it is the instance's that has it; as a client that instance gets its answers
// wherever it is.
func TestLocalIPHolder(t *testing.T) {
	for _, node := range []string{"far", "near"} {
		t.Run(node, func(t *testing.T) {
			c := locals(t, model.LocalIPTranslate)
			const holder = model.PortID("holding-000")
			c.do(func(tx *store.Txn) {
				c.vm(tx, holder, "n1", node, "10.1.0.60")
				c.localIP(tx, "l4", holder, "10.1.0.60", model.LocalIPTranslate, served)
			})
			c.reaches(client, served, holder, "10.1.0.60", 1000)
			c.got("from another node", "gw1-0000000", c.linked("gw1-0000000", "10.1.0.30", holder, "10.1.0.60", ports4(1000, 22)...), string(holder))
			c.got("from the server", string(served), c.linked(served, "10.1.0.40", holder, "10.1.0.60", ports4(1000, 22)...), string(holder))
			c.got("by a router", "near2-00000", c.sent("near2-00000", "10.1.0.60", ports4(1000, 22)...), string(holder))
			c.got("as a client", string(holder), c.linked(holder, "10.1.0.60", client, "10.1.0.10", ports4(3000, 22)...), string(client))
			c.got("its answer", string(client), c.linked(client, "10.1.0.10", holder, "10.1.0.60", ports4(22, 3000)...), string(holder))
			if got := c.asks(client, "10.1.0.60"); got != c.port(holder).MAC {
				t.Errorf("%s has the address, say the answers, and not its holder", got)
			}
		})
	}
}

// TestLocalIPEnds: what is cut when the server goes, is another, moves or loses its address.
func TestLocalIPEnds(t *testing.T) {
	flows := func(c *campus) (n []int) {
		for _, node := range campusNodes {
			n = append(n, len(c.f.flows(node)))
		}
		return n
	}
	c := locals(t, model.LocalIPTranslate)
	c.do(func(tx *store.Txn) { c.localIP(tx, "l4", "holder", lip4, model.LocalIPTranslate) })
	before := flows(c)
	again := func() {
		c.do(func(tx *store.Txn) { c.localIP(tx, "l4", "holder", lip4, model.LocalIPTranslate, served) })
	}
	again()
	if now := flows(c); now[0] != before[0] || now[1] != before[1] || now[2] != before[2]+6 {
		t.Errorf("an association costs flows from %v to %v, want 6 on near alone", before, now)
	}
	request := func(sport uint16) sim.Packet {
		return c.linked(client, "10.1.0.10", "holder", lip4, ports4(sport, 22)...)
	}
	for i, end := range []struct {
		what string
		do   func(*store.Txn)
	}{
		{"disassociated", func(tx *store.Txn) { c.localIP(tx, "l4", "holder", lip4, model.LocalIPTranslate) }},
		{"deleted", func(tx *store.Txn) {
			tables.LocalIPs.Delete(tx, "l4")
		}},
		{"its address is not the holder's any more", func(tx *store.Txn) { c.readdress(tx, "holder", lip6) }},
		{"the server has another address", func(tx *store.Txn) { c.readdress(tx, served, "10.1.0.41 fd01::40") }},
		{"the server is down", func(tx *store.Txn) {
			p, _ := tables.Ports.Get(tx, served)
			p.AdminStateUp = false
			tables.Ports.Put(tx, served, p)
		}},
		{"the server is elsewhere", func(tx *store.Txn) {
			p, _ := tables.Ports.Get(tx, served)
			p.Host = "far"
			if err := alloc.PutPort(tx, p); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		c = locals(t, model.LocalIPTranslate)
		sport := uint16(4000 + i)
		c.reaches(client, served, "holder", lip4, sport)
		c.do(end.do)
		c.got(end.what, string(client), request(sport), "")
		for _, f := range c.f.flows("near") {
			if strings.Contains(f.Match.String(), lip4) {
				t.Errorf("%s, and near holds %s", end.what, f)
			}
		}
	}
}

// readdress gives a port other addresses.
func (c *campus) readdress(tx *store.Txn, id model.PortID, ips string) {
	p, _ := tables.Ports.Get(tx, id)
	p.FixedIPs = c.fixed(p.Network, ips)
	tables.Ports.Put(tx, id, p)
}

// TestLocalIPSeveral: several servers of one address, several addresses of one server, two local IPs of one address.
func TestLocalIPSeveral(t *testing.T) {
	c := locals(t, model.LocalIPTranslate)
	c.do(func(tx *store.Txn) {
		c.held(tx, "second", "n1", "10.1.0.101")
		c.localIP(tx, "l4", "holder", lip4, model.LocalIPTranslate, served, "near4-00000", "gw1-0000000")
		c.localIP(tx, "twin", "holder", lip4, model.LocalIPPassthrough, "near4-00000")
		c.localIP(tx, "l42", "second", "10.1.0.101", model.LocalIPTranslate, served)
	})
	c.reaches(client, served, "holder", lip4, 1000)         // the older of two
	c.reaches("near4-00000", served, "holder", lip4, 1001)  // from the other too
	c.reaches(client, served, "second", "10.1.0.101", 1002) // both addresses of one server
	c.got("each node its own", "gw1-0000000", c.linked("gw1-0000000", "10.1.0.30", "holder", lip4, ports4(1, 22)...), "")
	c.do(func(tx *store.Txn) { c.vm(tx, "gw2-0000000", "n1", "gw", "10.1.0.31") })
	c.reaches("gw2-0000000", "gw1-0000000", "holder", lip4, 1003)
	// A client of the second that serves the first: both at once.
	c.do(func(tx *store.Txn) {
		c.localIP(tx, "l42", "second", "10.1.0.101", model.LocalIPTranslate, "near4-00000")
	})
	c.reaches(served, "near4-00000", "second", "10.1.0.101", 1004)
	c.reaches("near4-00000", served, "holder", lip4, 1005)
	// The older goes: the twin's turn.
	c.do(func(tx *store.Txn) { c.localIP(tx, "l4", "holder", lip4, model.LocalIPTranslate) })
	f := c.got("the twin", string(client), c.linked(client, "10.1.0.10", "holder", lip4, ports4(1006, 22)...), "near4-00000")
	c.is("the twin", f, c.port(client).MAC, c.port("near4-00000").MAC, "10.1.0.10", lip4, 64)
}

// TestLocalIPPassthrough: the guest gets packets to the address as they are and answers as the address, on its node alone.
func TestLocalIPPassthrough(t *testing.T) {
	for _, groups := range []string{"stateful", "stateless", "none"} {
		t.Run(groups, func(t *testing.T) {
			c := locals(t, model.LocalIPPassthrough)
			c.do(func(tx *store.Txn) {
				p, _ := tables.Ports.Get(tx, served)
				switch groups {
				case "stateless":
					putGroup(tx, "free", false)
					r := model.RulePlane{Key: 90, Group: "free", Direction: model.Egress, Ethertype: model.EtherIPv4}
					in := model.RulePlane{Key: 91, Group: "free", Direction: model.Ingress, Ethertype: model.EtherIPv4}
					r6, in6 := r, in
					r6.Key, in6.Key, r6.Ethertype, in6.Ethertype = 92, 93, model.EtherIPv6, model.EtherIPv6
					for i, r := range []model.RulePlane{r, in, r6, in6} {
						id := model.SecurityGroupRuleID(fmt.Sprintf("free%d", i))
						tables.Rules.Put(tx, id, model.SecurityGroupRule{ID: id, RulePlane: r})
					}
					p.SecurityGroups = []model.SecurityGroupID{"free"}
				case "none":
					p.PortSecurity, p.SecurityGroups = false, nil
				}
				if err := alloc.PutPort(tx, p); err != nil {
					t.Fatal(err)
				}
			})
			for i, addr := range []string{lip4, lip6} {
				own := c.address(client, addr)
				sport := uint16(1000 + i)
				for range 2 {
					f := c.got("request", string(client), c.linked(client, own, "holder", addr, ports4(sport, 22)...), string(served))
					c.is("request", f, c.port(client).MAC, c.port(served).MAC, own, addr, 64)
					f = c.got("answer", string(served), c.linked(served, addr, client, own, ports4(22, sport)...), string(client))
					c.is("answer", f, c.port(served).MAC, c.port(client).MAC, addr, own, 64)
				}
				away := c.linked(served, addr, "far1-000000", c.address("far1-000000", addr), ports4(1000, 22)...) // which its groups allow
				cast := c.linked(served, addr, client, own, ports4(22, sport)...)
				cast.SetUint(openflow.FieldEthDst, 0x01005e000001)
				if groups != "none" { // without port security an instance sends what it likes
					c.got("to another node as the address", string(served), away, "")
					if r := c.fabric.Trace(string(served), cast).Receivers(); slices.Contains(r, "far1-000000") {
						t.Errorf("a multicast as the address reaches %v", r)
					}
					c.got("to the outside as the address", string(served), c.outward(served, addr), "")
				}
				c.got("from another node", "far1-000000", c.linked("far1-000000", c.address("far1-000000", addr), "holder", addr, ports4(1000, 22)...), "")
			}
			p := c.port(served)
			claim := sim.New(flow.ARPOp(1), flow.ARPSPA(netip.MustParseAddr(lip4)), flow.ARPSHA(p.MAC), flow.ARPTPA(netip.MustParseAddr(lip4)), flow.EthSrc(p.MAC), flow.EthDst(broadcast))
			if groups != "none" {
				c.got("a claim", string(served), claim, "")
			} else if r := c.fabric.Trace(string(served), claim).Receivers(); slices.Contains(r, string(served)) {
				t.Errorf("the guest's probe is answered: %v", r)
			}
			if got := c.asks(client, lip4); got != c.port("holder").MAC {
				t.Errorf("%s has the address, say the answers", got)
			}
			if got := c.asks(served, lip4); got != (model.MAC{}) {
				t.Errorf("the guest hears that %s has its address", got)
			}
		})
	}
	// On the node of the gateway, where the router would translate it, neither.
	c := locals(t, model.LocalIPPassthrough)
	c.do(func(tx *store.Txn) { c.localIP(tx, "l4", "holder", lip4, model.LocalIPPassthrough, "gw1-0000000") })
	c.got("as itself", "gw1-0000000", c.sent("gw1-0000000", "8.8.8.8", ports4(1000, 53)...), outside)
	c.got("as the address", "gw1-0000000", c.outward("gw1-0000000", lip4), "")
	// A pair says that it may send as the address to anybody.
	c = locals(t, model.LocalIPPassthrough)
	c.do(func(tx *store.Txn) {
		p, _ := tables.Ports.Get(tx, served)
		p.AllowedPairs = []model.AddressPair{{Prefix: netip.MustParsePrefix(lip4 + "/32")}}
		tables.Ports.Put(tx, served, p)
	})
	c.got("by a pair", string(served), c.linked(served, lip4, "far1-000000", "10.1.0.20", ports4(1000, 22)...), "far1-000000")
}

// outward is a packet of an instance under an address to the host outside.
func (c *campus) outward(from model.PortID, as string) sim.Packet {
	to := "8.8.8.8"
	if !netip.MustParseAddr(as).Is4() {
		to = "2001:db8::8"
	}
	p := c.sent(from, to, ports4(1000, 53)...)
	q := c.linked(from, as, from, to, ports4(1000, 53)...)
	q.SetUint(openflow.FieldEthDst, p.Uint(openflow.FieldEthDst))
	return q
}

// TestZonesOfSlots: no two places of a node have a zone in common, nor one of those kept for the node's services.
func TestZonesOfSlots(t *testing.T) {
	seen := map[uint16]uint32{}
	for n := uint32(1); n <= model.MaxSlot; n++ {
		zones := model.Slot{Number: n}.Zones()
		if len(zones) != 3 {
			t.Fatalf("slot %d has zones %v", n, zones)
		}
		for _, z := range zones {
			if other, taken := seen[z]; taken || z < 4096 || z > 64095 {
				t.Fatalf("zone %d of slot %d is slot %d's, or out of range", z, n, other)
			}
			seen[z] = n
		}
	}
	if z := (model.Slot{Number: model.MaxSlot + 1}).LocalZone(); z != 0 {
		t.Errorf("a place beyond those that are given out has zone %d", z)
	}
}
