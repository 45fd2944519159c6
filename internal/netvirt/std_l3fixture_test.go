// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
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

// campus is a cloud with routers whose nodes carry out what is wanted of them, with its fabric. Keys are given out in the order
// of creation; OpenFlow port numbers too, on each node.
//
// Its nodes: gw maps the physical network; far maps it too unless the test says otherwise; near does not. All speak with each
// other by tunnels. outside is a host on the wire, whose MAC address is neighbour.
type campus struct {
	t        testing.TB
	st       *store.Store
	f        *follower
	fabric   *sim.Fabric
	switches map[string]*sim.Switch
	numbers  map[string]uint32 // node|interface -> number
	next     map[string]uint32
	key      model.Key
	wired    map[string]bool
	hears    bool   // outside gets frames that nodes send each other
	vid      uint16 // of the external network on the wire, 0 for none
}

var (
	campusNodes = []string{"gw", "far", "near"}
	neighbour   = model.MustMAC("00:50:56:00:00:01")
	outsideIP   = "172.16.1.1" // the external subnet's gateway
)

func newCampus(t testing.TB, external model.NetworkType, o Options) *campus {
	t.Helper()
	c := &campus{t: t, st: store.New(tables.Schema, nil), fabric: sim.NewFabric(), switches: map[string]*sim.Switch{},
		numbers: map[string]uint32{}, next: map[string]uint32{}, wired: map[string]bool{}}
	for _, n := range campusNodes {
		c.switches[n] = c.fabric.Switch(n)
	}
	c.fabric.Host(outside, "ph")
	if external == model.VLAN {
		c.vid = 42
	}
	c.f = followStandard(t, c.st, o, campusNodes...)
	c.do(func(tx *store.Txn) {
		for i, n := range campusNodes {
			node := model.Node{ID: model.NodeID(n), NodePlane: model.NodePlane{Key: model.Key(i + 1), LocalIP: tunnelAddr(i)}}
			if n != "near" {
				node.Mappings = map[string]string{"ph": "br-ex"}
			}
			tables.Nodes.Put(tx, node.ID, node)
		}
		putGroup(tx, "g", true)
		for i, r := range []model.RulePlane{
			{Direction: model.Egress, Ethertype: model.EtherIPv4}, {Direction: model.Egress, Ethertype: model.EtherIPv6},
			{Direction: model.Ingress, Ethertype: model.EtherIPv4, Protocol: "icmp"}, {Direction: model.Ingress, Ethertype: model.EtherIPv6, Protocol: "icmp"},
			{Direction: model.Ingress, Ethertype: model.EtherIPv4, Protocol: "udp", PortMin: ptr(22), PortMax: ptr(22)},
		} {
			r.Key, r.Group = model.Key(i+1), "g"
			id := model.SecurityGroupRuleID(fmt.Sprintf("rule%d", i))
			tables.Rules.Put(tx, id, model.SecurityGroupRule{ID: id, RulePlane: r})
		}
		c.network(tx, "ext", external, "172.16.1.0/24 fd16::/64")
		c.network(tx, "n1", model.VXLAN, "10.1.0.0/24 fd01::/64")
		c.network(tx, "n2", model.Geneve, "10.2.0.0/24 fd02::/64")
		c.network(tx, "n3", model.VXLAN, "10.1.0.0/24") // another tenant's, with the same addresses as n1
	})
	return c
}

func ptr(v int) *int { return &v }

func (c *campus) nextKey() model.Key { c.key++; return c.key }

// network writes a network and its subnets; the first address of each is the gateway.
func (c *campus) network(tx *store.Txn, id model.NetworkID, typ model.NetworkType, cidrs string) {
	k := c.nextKey()
	n := model.Network{ID: id, NetworkPlane: model.NetworkPlane{Key: k, Type: typ, SegmentationID: uint32(40 + k), PhysicalNetwork: "ph", AdminStateUp: true, External: id == "ext"}}
	if typ == model.VLAN {
		n.SegmentationID = uint32(c.vid)
	}
	tables.Networks.Put(tx, id, n)
	for _, w := range strings.Fields(cidrs) {
		p := netip.MustParsePrefix(w)
		s := model.Subnet{ID: subnetOf(id, p.Addr().Is4()), SubnetPlane: model.SubnetPlane{Key: c.nextKey(), Network: id, CIDR: p, Gateway: p.Addr().Next()}}
		tables.Subnets.Put(tx, s.ID, s)
	}
}

func subnetOf(n model.NetworkID, v4 bool) model.SubnetID {
	if v4 {
		return model.SubnetID(n + "-4")
	}
	return model.SubnetID(n + "-6")
}

func (c *campus) fixed(n model.NetworkID, ips string) (out []model.FixedIP) {
	for _, w := range strings.Fields(ips) {
		a := netip.MustParseAddr(w)
		out = append(out, model.FixedIP{Subnet: subnetOf(n, a.Is4()), Addr: a})
	}
	return out
}

// vm plugs an instance. Its MAC address ends with the port's key.
func (c *campus) vm(tx *store.Txn, id model.PortID, net model.NetworkID, node, ips string) {
	k := c.nextKey()
	p := model.Port{ID: id, PortPlane: model.PortPlane{Key: k, Network: net, Host: model.NodeID(node), MAC: macOf(k), AdminStateUp: true,
		DeviceOwner: "compute:nova", PortSecurity: true, SecurityGroups: []model.SecurityGroupID{"g"}, FixedIPs: c.fixed(net, ips)}}
	c.next[node]++
	if err := putPlugged(tx, p, c.next[node], true); err != nil {
		c.t.Fatal(err)
	}
	c.fabric.Attach(string(id), c.switches[node], c.next[node])
}

func macOf(k model.Key) model.MAC { return model.MAC{0xfa, 0x16, 0x3e, 0, 0, byte(k)} }

// join gives a router an interface, or its gateway on the external network.
func (c *campus) join(tx *store.Txn, id model.PortID, router model.RouterID, net model.NetworkID, owner, ips string) {
	k := c.nextKey()
	p := model.Port{ID: id, DeviceID: string(router), PortPlane: model.PortPlane{Key: k, Network: net, MAC: macOf(k), AdminStateUp: true,
		DeviceOwner: owner, FixedIPs: c.fixed(net, ips)}}
	if err := alloc.PutPort(tx, p); err != nil {
		c.t.Fatal(err)
	}
	if owner == model.OwnerRouterGateway {
		r, _ := tables.Routers.Get(tx, router)
		r.GatewayPort = id
		tables.Routers.Put(tx, router, r)
		c.place(tx, router, "far")
	}
}

// place puts a router's gateway on a node that maps the external network and is not down.
func (c *campus) place(tx *store.Txn, router model.RouterID, down ...model.NodeID) {
	d := alloc.Down{}
	for _, n := range down {
		d[n] = true
	}
	if _, err := alloc.PlaceGateway(tx, router, d); err != nil {
		c.t.Fatal(err)
	}
}

// float writes a floating IP, for a port's first address or for nobody.
func (c *campus) float(tx *store.Txn, id model.FloatingIPID, addr string, port model.PortID, router model.RouterID) {
	old, had := tables.FloatingIPs.Get(tx, id)
	if !had {
		k := c.nextKey()
		old = model.FloatingIP{ID: id, FloatingIPPlane: model.FloatingIPPlane{Key: c.nextKey(), Network: "ext", Addr: netip.MustParseAddr(addr), FloatPort: model.PortID("f-" + id)}}
		p := model.Port{ID: old.FloatPort, PortPlane: model.PortPlane{Key: k, Network: "ext", MAC: macOf(k), AdminStateUp: true,
			DeviceOwner: model.OwnerFloatingIP, FixedIPs: c.fixed("ext", addr)}}
		if err := alloc.PutPort(tx, p); err != nil {
			c.t.Fatal(err)
		}
	}
	old.Port, old.Router, old.Fixed = port, router, netip.Addr{}
	if p, ok := tables.Ports.Get(tx, port); ok {
		old.Fixed = p.FixedIPs[0].Addr
	}
	tables.FloatingIPs.Put(tx, id, old)
}

// takes says how large packets networks take.
func (c *campus) takes(tx *store.Txn, mtu map[model.NetworkID]int) {
	for id, m := range mtu {
		n, _ := tables.Networks.Get(tx, id)
		n.MTU = m
		tables.Networks.Put(tx, id, n)
	}
}

// resolved tells the MAC address of the host outside.
func (c *campus) resolved(tx *store.Txn, addr string) {
	a := netip.MustParseAddr(addr)
	tables.Neighbours.Put(tx, model.NeighbourKey("ext", a), model.Neighbour{Network: "ext", Addr: a, MAC: neighbour})
}

// do commits a change and lets the nodes carry out what it leads to.
func (c *campus) do(change func(tx *store.Txn)) {
	c.t.Helper()
	c.f.commit(func(tx *store.Txn) error { change(tx); return nil })
	c.f.commit(func(tx *store.Txn) error { // ports that are wanted get their numbers, those that are not go
		for _, n := range campusNodes {
			wanted := map[string]bool{}
			for _, l := range rowLines(c.f.e, n) {
				w := strings.Fields(l)
				if w[0] != Bridge {
					continue
				}
				key := n + "|" + w[1]
				wanted[w[1]] = true
				if c.numbers[key] == 0 {
					c.next[n]++
					c.numbers[key] = c.next[n]
				}
				report(tx, model.Interface{Node: model.NodeID(n), Name: w[1], Type: w[2], OFPort: c.numbers[key]})
			}
			for _, i := range slices.Collect(tables.InterfacesByNode.By(tx, n)) {
				if i.Type != "" && !wanted[i.Name] {
					gone(tx, i)
				}
			}
		}
		return nil
	})
	for i, n := range campusNodes {
		s := c.switches[n]
		s.Clear()
		if err := s.Put(c.f.flows(n)...); err != nil {
			c.t.Fatal(err)
		}
		d, _ := c.f.e.Desired(n)
		for _, g := range d.Groups {
			s.PutGroup(g)
		}
		if of := c.numbers[n+"|"+patchName("ph")]; of != 0 && !c.wired[n] {
			c.wired[n] = true
			c.fabric.Wire("ph", s, of)
		}
		for j, m := range campusNodes {
			for _, kind := range []model.NetworkType{model.VXLAN, model.Geneve} {
				out, back := c.numbers[n+"|"+tunnelName(kind, tunnelAddr(j).String())], c.numbers[m+"|"+tunnelName(kind, tunnelAddr(i).String())]
				if out != 0 && back != 0 {
					c.fabric.Tunnel(s, out, c.switches[m], back)
				}
			}
		}
		c.f.accounted(n)
		for _, f := range c.f.e.Faults(n) {
			if strings.Contains(f.Reason, "breaks the pipeline") || strings.Contains(f.Reason, "panicked") || strings.Contains(f.Reason, "another owner") {
				c.t.Fatalf("%s: %+v", n, f)
			}
		}
	}
}

func (c *campus) port(id model.PortID) model.Port {
	c.t.Helper()
	p, ok := tables.Ports.Get(c.st.Snapshot(), id)
	if !ok {
		c.t.Fatalf("no port %s", id)
	}
	return p
}

// door is the MAC address of the router's interface for IPv4 on a port's network.
func (c *campus) door(id model.PortID) model.MAC { return c.doorOf(id, true) }

func (c *campus) doorOf(id model.PortID, v4 bool) model.MAC {
	for p := range tables.RouterPortsByNetwork.By(c.st.Snapshot(), string(c.port(id).Network)) {
		if p.IsRouterInterface() && slices.ContainsFunc(p.FixedIPs, func(f model.FixedIP) bool { return f.Addr.Is4() == v4 }) {
			return p.MAC
		}
	}
	c.t.Fatalf("no router on the network of %s", id)
	return model.MAC{}
}

// sent is a packet of an instance to an address, by way of its router.
func (c *campus) sent(from model.PortID, to string, l4 ...flow.Term) sim.Packet {
	p, dst := c.port(from), netip.MustParseAddr(to)
	for _, f := range p.FixedIPs {
		if f.Addr.Is4() == dst.Is4() {
			return sim.New(append(l4, flow.EthSrc(p.MAC), flow.EthDst(c.doorOf(from, dst.Is4())), family(host(dst)), flow.IPSrc(host(f.Addr)), flow.IPDst(host(dst)), flow.IPTTL(64))...)
		}
	}
	c.t.Fatalf("%s has no address of the family of %s", from, to)
	return sim.Packet{}
}

func ports4(src, dst uint16) []flow.Term {
	return []flow.Term{flow.IPProto(flow.ProtoUDP), flow.TPSrc(src), flow.TPDst(dst)}
}

func ping4(reply bool) []flow.Term {
	t := uint8(8)
	if reply {
		t = 0
	}
	return []flow.Term{flow.ICMP(), flow.ICMPType(t), flow.ICMPCode(0)}
}

func ping6(t uint8) []flow.Term {
	return []flow.Term{flow.ICMPv6(), flow.ICMPType(t), flow.ICMPCode(0)}
}

// fromOutside is a packet of the host outside to an address of the cloud, in a frame to a MAC address.
func (c *campus) fromOutside(to model.MAC, src, dst string, l4 ...flow.Term) sim.Packet {
	a, b := netip.MustParseAddr(src), netip.MustParseAddr(dst)
	terms := append(l4, flow.EthSrc(neighbour), flow.EthDst(to), family(host(b)), flow.IPSrc(host(a)), flow.IPDst(host(b)), flow.IPTTL(64))
	if c.vid != 0 {
		terms = append(terms, flow.VLANVID(c.vid))
	}
	return sim.New(terms...)
}

// got sends a packet and wants one endpoint alone to receive it; "" for nobody. It returns the frame.
func (c *campus) got(what, from string, p sim.Packet, to string) sim.Packet {
	c.t.Helper()
	o := c.fabric.Trace(from, p)
	want := []string{}
	if to != "" {
		want = []string{to}
	}
	o.Deliveries = slices.DeleteFunc(o.Deliveries, func(d sim.Delivery) bool { // the wire is a hub
		return d.To == outside && to != outside && c.hears && model.MAC(d.Frame.Bytes(openflow.FieldEthDst)) != neighbour
	})
	if r := o.Receivers(); !slices.Equal(r, want) || len(o.Errors)+len(o.Lost)+len(o.Arrivals) > 0 {
		c.t.Fatalf("%s: %s from %s is received by %v, want %v; errors %v, lost %v, punts %d\n%s", what, p, from, r, want, o.Errors, o.Lost, len(o.Arrivals), strings.Join(o.Trace, "\n"))
	}
	if to == "" {
		return sim.Packet{}
	}
	f := o.Deliveries[0].Frame
	if vlan := f.Uint(openflow.FieldVLANVID); to == outside && vlan&0xfff != uint64(c.vid) {
		c.t.Fatalf("%s: frame on the wire has tag %#x: %s", what, vlan, f)
	}
	return f
}

// is compares what counts of a received frame.
func (c *campus) is(what string, f sim.Packet, src, dst model.MAC, from, to string, ttl uint64) {
	c.t.Helper()
	s, d := openflow.FieldIPv4Src, openflow.FieldIPv4Dst
	if netip.MustParseAddr(to).Is6() {
		s, d = openflow.FieldIPv6Src, openflow.FieldIPv6Dst
	}
	got := fmt.Sprintf("%012x %012x %s %s %d", f.Uint(openflow.FieldEthSrc), f.Uint(openflow.FieldEthDst), f.Addr(s), f.Addr(d), f.Uint(openflow.FieldIPTTL))
	want := fmt.Sprintf("%x %x %s %s %d", src[:], dst[:], from, to, ttl)
	if got != want {
		c.t.Fatalf("%s: frame %s\nhas  %s\nwant %s", what, f, got, want)
	}
}

// punted sends a packet and wants it to come to the controller of one node, as a kind.
func (c *campus) punted(what, from string, p sim.Packet, node string, kind byte) {
	c.t.Helper()
	o := c.fabric.Trace(from, p)
	if len(o.Arrivals) != 1 || len(o.Deliveries)+len(o.Errors)+len(o.Lost) > 0 {
		c.t.Fatalf("%s: %d punts, received by %v, errors %v\n%s", what, len(o.Arrivals), o.Receivers(), o.Errors, strings.Join(o.Trace, "\n"))
	}
	if k, ok := pipeline.ParseUserdata(o.Arrivals[0].Userdata); !ok || k != kind || o.Arrivals[0].Switch != node {
		c.t.Fatalf("%s: punt of kind %d from %s, want %d from %s", what, k, o.Arrivals[0].Switch, kind, node)
	}
}

// standing is a campus with a router between n1 and n2, its gateway on gw, an instance of each network on each node, and another
// tenant's router with an instance that has the address of the first one's.
func standing(t testing.TB, external model.NetworkType, o Options) *campus {
	c := newCampus(t, external, o)
	c.do(func(tx *store.Txn) {
		for _, r := range []model.RouterID{"r1", "r3"} {
			tables.Routers.Put(tx, r, model.Router{ID: r, RouterPlane: model.RouterPlane{Key: c.nextKey(), AdminStateUp: true, EnableSNAT: true}})
		}
		c.join(tx, "if1", "r1", "n1", model.OwnerRouterInterface, "10.1.0.1")
		c.join(tx, "if16", "r1", "n1", model.OwnerRouterInterface, "fd01::1")
		c.join(tx, "if2", "r1", "n2", model.OwnerRouterInterface, "10.2.0.1 fd02::1")
		c.join(tx, "if3", "r3", "n3", model.OwnerRouterInterface, "10.1.0.1")
		c.join(tx, "gw1", "r1", "ext", model.OwnerRouterGateway, "172.16.1.11 fd16::11")
		c.join(tx, "gw3", "r3", "ext", model.OwnerRouterGateway, "172.16.1.13")
		c.vm(tx, "near1-00000", "n1", "near", "10.1.0.10 fd01::10")
		c.vm(tx, "near2-00000", "n2", "near", "10.2.0.10 fd02::10")
		c.vm(tx, "far1-000000", "n1", "far", "10.1.0.20 fd01::20")
		c.vm(tx, "far2-000000", "n2", "far", "10.2.0.20 fd02::20")
		c.vm(tx, "gw1-0000000", "n1", "gw", "10.1.0.30 fd01::30")
		c.vm(tx, "other-00000", "n3", "near", "10.1.0.10")
		c.resolved(tx, outsideIP)
		c.resolved(tx, "fd16::1")
	})
	return c
}

// portsOf are all ports, in order.
func portsOf(r store.Reader) []model.Port {
	var out []model.Port
	for _, p := range tables.Ports.All(r) {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b model.Port) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return out
}

func interfacesOf(r store.Reader, node string) iter.Seq[model.Interface] {
	return tables.InterfacesByNode.By(r, node)
}
