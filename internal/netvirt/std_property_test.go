// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"nagare/internal/alloc"
	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/sim"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/openflow"
)

// streets is a small cloud in the simulator: nodes joined by tunnels, whose switches hold what the engine wants, delta by delta.
type streets struct {
	*follower
	fabric   *sim.Fabric
	switches map[string]*sim.Switch
}

// newStreets is a cloud of nodes without ports; every node has a tunnel to each other.
func newStreets(t testing.TB, nodes ...string) *streets {
	t.Helper()
	st := store.New(tables.Schema, nil)
	s := &streets{fabric: sim.NewFabric(), switches: map[string]*sim.Switch{}}
	if _, err := st.Commit(t.Context(), store.Origin{}, func(tx *store.Txn) error {
		for i, n := range nodes {
			tables.Nodes.Put(tx, model.NodeID(n), model.Node{ID: model.NodeID(n), NodePlane: model.NodePlane{Key: model.Key(i + 1), LocalIP: tunnelAddr(i)}})
			for j := range nodes {
				if j != i {
					name := tunnelName(model.VXLAN, tunnelAddr(j).String())
					tables.Interfaces.Put(tx, model.InterfaceKey(model.NodeID(n), name),
						model.Interface{Node: model.NodeID(n), Name: name, Type: "vxlan", OFPort: uint32(100 + j)})
				}
			}
		}
		for i := range 2 {
			id := model.NetworkID(fmt.Sprintf("n%d", i+1))
			tables.Networks.Put(tx, id, model.Network{ID: id, NetworkPlane: model.NetworkPlane{Key: model.Key(i + 1),
				Type: model.VXLAN, SegmentationID: uint32(100 + i), AdminStateUp: true}})
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		s.switches[n] = s.fabric.Switch(n)
	}
	for i, a := range nodes {
		for j, b := range nodes {
			if i < j {
				s.fabric.Tunnel(s.switches[a], uint32(100+j), s.switches[b], uint32(100+i))
			}
		}
	}
	s.follower = followStandard(t, st, Options{}, nodes...)
	for _, n := range nodes {
		d, _ := s.e.Desired(n)
		for _, f := range d.Flows {
			s.must(s.switches[n].Put(f))
		}
		for _, g := range d.Groups {
			s.switches[n].PutGroup(g)
		}
	}
	return s
}

func (s *streets) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// change commits and lets the switches follow. It returns what the nodes were sent.
func (s *streets) change(do func(tx *store.Txn) error) map[string]*compile.Delta {
	s.t.Helper()
	deltas, _ := s.commit(do)
	for n, d := range deltas {
		sw := s.switches[n]
		for k, c := range d.Flows {
			if c.After == nil {
				sw.Delete(k)
			} else {
				s.must(sw.Put(*c.After))
			}
		}
		for id, c := range d.Groups {
			if c.After == nil {
				sw.DeleteGroup(id)
			} else {
				sw.PutGroup(*c.After)
			}
		}
	}
	return deltas
}

// street is what lives in the streets of the property: ports by number.
const streetPorts = 6

func streetPort(i int) model.PortID { return model.PortID(fmt.Sprintf("port-%06d", i)) }
func streetMAC(i int) model.MAC     { return model.MAC{2, 0, 0, 0, 0, byte(i + 1)} }
func streetNode(i int) model.NodeID { return model.NodeID([]string{"a", "b"}[i%2]) }
func streetNetwork(i int) model.NetworkID {
	return model.NetworkID([]string{"n1", "n1", "n1", "n1", "n2", "n2"}[i])
}

var streetOrder = []model.PortID{streetPort(0), streetPort(1), streetPort(2), streetPort(3), streetPort(4), streetPort(5)}

var streetGroups = []model.SecurityGroupID{"g1", "g2", "g3", "s1", "s2"} // s: stateless

func streetDraw(t *rapid.T, i int) model.Port {
	p := model.Port{ID: streetPort(i), PortPlane: model.PortPlane{Key: model.Key(0x11 + i), Network: streetNetwork(i), MAC: streetMAC(i),
		AdminStateUp: true, DeviceOwner: "compute:nova", Host: streetNode(i), PortSecurity: !seldom(t, "insecure"),
		FixedIPs: []model.FixedIP{{Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})}, {Addr: netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 15: byte(i + 1)})}}}}
	if i >= 4 { // n2 has the addresses of n1
		p.FixedIPs = []model.FixedIP{{Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i - 3)})}, {Addr: netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 15: byte(i - 3)})}}
	}
	from, to := 0, 3
	if uniform(t, 4, "stateless") == 0 {
		from, to = 3, 5
	}
	for _, g := range streetGroups[from:to] {
		if rapid.Bool().Draw(t, "wears") {
			p.SecurityGroups = append(p.SecurityGroups, g)
		}
	}
	if len(p.SecurityGroups) == 0 && !seldom(t, "none") {
		p.SecurityGroups = streetGroups[from : from+1]
	}
	if seldom(t, "pair") {
		pair := model.AddressPair{Prefix: netip.MustParsePrefix(one(t, []string{"10.0.9.0/24", "0.0.0.0/0", "::/0", "10.0.0.2/32"}, "prefix"))}
		if rapid.Bool().Draw(t, "other mac") {
			pair.MAC = model.MAC{2, 0, 0, 0, 9, byte(i)}
		}
		p.AllowedPairs = append(p.AllowedPairs, pair)
	}
	return p
}

func streetRule(t *rapid.T, n int) model.SecurityGroupRule {
	r := model.SecurityGroupRule{ID: model.SecurityGroupRuleID(fmt.Sprintf("r%02d", n)), RulePlane: model.RulePlane{Key: model.Key(n + 1),
		Group: one(t, streetGroups, "group"), Direction: one(t, []model.Direction{model.Egress, model.Ingress}, "direction"),
		Ethertype: one(t, []string{model.EtherIPv4, model.EtherIPv4, model.EtherIPv6}, "ethertype"),
		Protocol:  one(t, []string{"", "", "tcp", "udp", "udp", "icmp", "sctp", "132", "vrrp", "ipv6-icmp", "nonsense", "dccp"}, "protocol")}}
	number := func(of ...int) *int { v := one(t, of, "number"); return &v }
	if r.Protocol != "" && rapid.Bool().Draw(t, "ports") {
		r.PortMin = number(0, 8, 53, 60, 128)
		if rapid.Bool().Draw(t, "end") {
			if r.PortMax = number(0, 53, 70, 65535); r.Protocol == "icmp" || r.Protocol == "ipv6-icmp" {
				*r.PortMax = 0
			}
		}
	}
	switch uniform(t, 6, "remote") {
	case 0:
		r.RemotePrefix = netip.MustParsePrefix(one(t, []string{"10.0.0.2/32", "10.0.0.0/30", "0.0.0.0/0", "2001::/64", "2001::3/128", "::/0"}, "prefix"))
	case 1, 2:
		r.RemoteGroup = one(t, streetGroups, "remote group")
	case 3:
		r.RemoteAddressGroup = "addresses"
	}
	return r
}

// intent is one random change of what tenants want.
func streetChange(t *rapid.T, tx *store.Txn) error {
	switch uniform(t, 8, "change") {
	case 0, 1:
		r := streetRule(t, uniform(t, 12, "rule"))
		tables.Rules.Put(tx, r.ID, r)
	case 2, 3, 4:
		tables.Rules.Delete(tx, model.SecurityGroupRuleID(fmt.Sprintf("r%02d", uniform(t, 12, "rule"))))
	case 5:
		g := model.AddressGroup{ID: "addresses"}
		for _, p := range []string{"10.0.0.0/31", "0.0.0.0/0", "2001::/127", "10.0.0.4/32"} {
			if rapid.Bool().Draw(t, p) {
				g.Addresses = append(g.Addresses, netip.MustParsePrefix(p))
			}
		}
		tables.AddressGroups.Put(tx, g.ID, g)
	default:
		return alloc.PutPort(tx, streetDraw(t, uniform(t, streetPorts, "port")))
	}
	return nil
}

// streetPacket draws a packet from one port to another, or to all.
func streetPacket(t *rapid.T, o *policy, from, to model.Port, earlier []packet) packet {
	if len(earlier) > 0 && uniform(t, 3, "earlier") > 0 { // again, or the answer
		k := earlier[max(0, len(earlier)-1-uniform(t, 4, "which"))]
		k.opening = rapid.Bool().Draw(t, "syn")
		if k.srcMAC == to.MAC && k.dstMAC == from.MAC {
			k.srcMAC, k.dstMAC = from.MAC, to.MAC
			e := k.endpoints().reverse()
			k.src, k.dst, k.sport = e.src, e.dst, e.sport
			if !k.icmp() {
				k.dport = e.dport
			}
		}
		if k.srcMAC == from.MAC && k.dstMAC == to.MAC {
			return k
		}
	}
	k := packet{srcMAC: from.MAC, dstMAC: to.MAC, opening: rapid.Bool().Draw(t, "syn")}
	v := uniform(t, 3, "family") / 2 // 0: IPv4
	k.src, k.dst = from.FixedIPs[v].Addr, to.FixedIPs[v].Addr
	k.proto = one(t, []uint8{model.ProtoTCP, model.ProtoUDP, model.ProtoUDP, model.ProtoICMP, model.ProtoSCTP, 112}, "proto")
	switch k.proto {
	case model.ProtoICMP:
		k.sport = one(t, []uint16{8, 8, 0, 13}, "type")
		if v == 1 {
			k.proto, k.sport = model.ProtoICMPv6, one(t, []uint16{128, 128, 129}, "type")
		}
	case 112:
	default:
		k.sport = one(t, []uint16{53, 1000, 67, 68, 547}, "source port")
		k.dport = one(t, []uint16{53, 60, 80, 68, 67, 546}, "port")
	}
	switch {
	case seldom(t, "spoofed"):
		k.src = one(t, []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.9.9"), netip.MustParseAddr("224.0.0.5"),
			netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("255.255.255.255")}, "source")
		if v == 1 {
			k.src = one(t, []netip.Addr{netip.MustParseAddr("2001::2"), netip.MustParseAddr("ff02::1"), netip.MustParseAddr("::"), linkLocal(from.MAC)}, "source")
		}
	case seldom(t, "other mac"):
		k.srcMAC = one(t, []model.MAC{streetMAC(1), {2, 0, 0, 0, 9, from.MAC[5] - 1}}, "mac")
	case seldom(t, "broadcast"):
		k.dstMAC, k.dst = model.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, netip.AddrFrom4([4]byte{255, 255, 255, 255})
		if v == 1 {
			k.dstMAC, k.dst = model.MAC{0x33, 0x33, 0, 0, 0, 1}, netip.MustParseAddr("ff02::1")
		}
	}
	return k
}

func (k packet) frame() sim.Packet {
	terms := []flow.Term{flow.EthSrc(k.srcMAC), flow.EthDst(k.dstMAC),
		flow.IPSrc(netip.PrefixFrom(k.src, k.src.BitLen())), flow.IPDst(netip.PrefixFrom(k.dst, k.dst.BitLen())), flow.IPProto(k.proto)}
	switch k.proto {
	case model.ProtoTCP, model.ProtoUDP, model.ProtoSCTP:
		terms = append(terms, flow.TPSrc(k.sport), flow.TPDst(k.dport))
	case model.ProtoICMP, model.ProtoICMPv6:
		terms = append(terms, flow.ICMPType(uint8(k.sport)), flow.ICMPCode(uint8(k.dport)))
	}
	p := sim.New(terms...)
	if k.proto == model.ProtoTCP {
		p.SetUint(openflow.FieldTCPFlags, map[bool]uint64{true: 2, false: 0x10}[k.opening])
	}
	return p
}

// judge is who must receive a packet, by the reference.
func (o *policy) receivers(from model.PortID, k packet) (out []string) {
	src := o.port(from)
	known := !src.PortSecurity || src.MAC == k.srcMAC ||
		slices.ContainsFunc(src.AllowedPairs, func(a model.AddressPair) bool { return a.MAC == k.srcMAC })
	if !known || !o.sends(from, k) {
		return nil
	}
	for i := range streetPorts {
		to := o.port(streetPort(i))
		if to.ID != from && to.Network == src.Network && (to.MAC == k.dstMAC || k.dstMAC.IsMulticast()) && o.receives(to.ID, k) {
			out = append(out, string(to.ID))
		}
	}
	return out
}

// TestPolicyProperty sends packets through random clouds, rules and changes, and compares who receives them, exactly, with
// what the reference says.
func TestPolicyProperty(t *testing.T) {
	var sent, delivered, replies, cut int
	rapid.Check(t, func(rt *rapid.T) {
		s := newStreets(t, "a", "b")
		defer s.w.Close()
		s.change(func(tx *store.Txn) error {
			for _, g := range streetGroups {
				putGroup(tx, g, g[0] != 's')
			}
			for n := range 12 {
				r := streetRule(rt, n)
				if n < 10 && !seldom(rt, "no default") { // what Neutron's default group has, more or less
					r.Group, r.Protocol, r.PortMin, r.PortMax = streetGroups[n/2], "", nil, nil
					r.RemotePrefix, r.RemoteGroup, r.RemoteAddressGroup = netip.Prefix{}, "", ""
					if r.Direction, r.Ethertype = model.Egress, model.EtherIPv4; n%2 == 1 {
						r.Direction, r.RemoteGroup = model.Ingress, one(rt, streetGroups, "remote group")
					}
				}
				tables.Rules.Put(tx, r.ID, r)
			}
			for i := range streetPorts {
				s.must(putPlugged(tx, streetDraw(rt, i), uint32(i+1), true))
			}
			return nil
		})
		for i := range streetPorts {
			s.fabric.Attach(string(streetPort(i)), s.switches[string(streetNode(i))], uint32(i+1))
		}
		o := &policy{conns: map[model.PortID]map[endpoints]*connection{}}
		var earlier []packet
		for range 40 {
			if uniform(rt, 3, "change at all") == 0 {
				s.change(func(tx *store.Txn) error { return streetChange(rt, tx) })
			}
			o.r = s.st.Snapshot()
			from := o.port(streetPort(uniform(rt, streetPorts, "from")))
			to := o.port(streetPort(uniform(rt, streetPorts, "to")))
			if from.Network != to.Network && !seldom(rt, "other network") {
				to = o.port(streetPort((slices.Index(streetOrder, from.ID) + 1) % streetPorts))
			}
			if from.ID == to.ID {
				continue
			}
			k := streetPacket(rt, o, from, to, earlier)
			want := o.receivers(from.ID, k)
			out := s.fabric.Send(string(from.ID), k.frame())
			if sent++; len(want) > 0 {
				delivered++
				earlier = append(earlier, k)
			}
			if got := out.Receivers(); !slices.Equal(got, want) || len(out.Errors) > 0 {
				out := s.fabric.Trace(string(from.ID), k.frame())
				for _, r := range tables.Rules.All(o.r) {
					rt.Logf("rule %s", ruleText(&r))
				}
				for _, l := range out.Trace {
					rt.Log(l)
				}
				rt.Fatalf("from %s (groups %v) to %s (groups %v): %+v\nreceived by %v, must be by %v; errors %v",
					from.ID, from.SecurityGroups, to.ID, to.SecurityGroups, k, got, want, out.Errors)
			}
		}
		replies, cut = replies+o.replies, cut+o.cuts
		for _, n := range s.nodes {
			s.accounted(n)
			for _, f := range s.e.Faults(n) {
				if f.Rule != "acl/rule" {
					rt.Fatalf("%s: %+v", n, f)
				}
			}
		}
	})
	t.Logf("%d packets, %d delivered; connections seen replied %d times, revoked %d times", sent, delivered, replies, cut)
	if delivered < sent/20 || replies == 0 || cut == 0 {
		t.Error("the histories show little")
	}
}

func ruleText(r *model.SecurityGroupRule) string {
	n := func(p *int) string {
		if p == nil {
			return "-"
		}
		return fmt.Sprint(*p)
	}
	return fmt.Sprintf("%s key %d of %s: %s %s %q %s:%s prefix %v group %s addresses %s", r.ID, r.Key, r.Group, r.Direction, r.Ethertype, r.Protocol,
		n(r.PortMin), n(r.PortMax), r.RemotePrefix, r.RemoteGroup, r.RemoteAddressGroup)
}
