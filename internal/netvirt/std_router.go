// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"net/netip"
	"slices"
	"strings"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// layer3 is what the rules of routing and translation share.
type layer3 struct {
	*layer2
	edges  *compile.Query[edge]   // router -> what all its nodes need to know of it
	faces  *compile.Query[face]   // port of a router -> the interface that it is
	floats *compile.Query[float]  // floating IP -> what its node needs to know
	spans  *compile.Query[span]   // router -> how large packets its networks take
	beyond *compile.Query[string] // router -> routers that its routes lead to, each followed by a space
	fed    *compile.Query[bool]   // port of a router -> whether routes of other routers lead to it

	static, router, face, door, answers, handOver, reach, towards, neighbour, port                             compile.RuleID
	inner, exits, leave, gateway, floating, forwarding, external, nextHop, sizes, onWire, via, echoes, proxied compile.RuleID
}

// Which of its table's flows a flow of layer 3 is, for its cookie.
const (
	// Table 20.
	l3Answer  uint8 = 16
	l3Learn   uint8 = 17
	l3Proxied uint8 = 18

	// Tables 30 and 31.
	l3Inbound uint8 = 1
	l3New     uint8 = 1
	l3Done    uint8 = 2
	l3Ping    uint8 = 3
	l3Whole   uint8 = 4
	l3Helped  uint8 = 5 // in table 100 too
	l3Related uint8 = 6

	// Table 60.
	l3Door     uint8 = 1
	l3Floating uint8 = 2
	l3Again    uint8 = 3
	l3Closed   uint8 = 4

	// Table 61.
	l3Echo       uint8 = 1
	l3TTL        uint8 = 2
	l3Unroutable uint8 = 3
	l3Connected  uint8 = 4
	l3Route      uint8 = 5
	l3HandOver   uint8 = 6
	l3Exit       uint8 = 7
	l3EchoAway   uint8 = 8
	l3Size       uint8 = 9
	l3EchoPassed uint8 = 10

	// Table 62.
	l3TooLarge uint8 = 1
	l3Fits     uint8 = 2

	// Table 70.
	l3Neighbour  uint8 = 1
	l3Own        uint8 = 2
	l3Resolve    uint8 = 3
	l3Unresolved uint8 = 4
	l3PassOn     uint8 = 5

	// Tables 100, 101, 105 and 115.
	l3Outbound uint8 = 1
	l3Hairpin  uint8 = 1
	l3Tagged   uint8 = 1

	// Table 110.
	l3ToGateway uint8 = 16
	l3Wire      uint8 = 17
)

// declareStandardL3 declares the rules of routing and translation, on top of layer 2, and returns what the root asks for.
func declareStandardL3(b *compile.Rulebook, l2 *layer2) func(*compile.Context) {
	l := &layer3{layer2: l2}
	l.edges = compile.DeclareQuery(b, "l3/edge", edgeOf)
	l.faces = compile.DeclareQuery(b, "l3/face", faceOf)
	l.floats = compile.DeclareQuery(b, "l3/float", floatOf)
	l.spans = compile.DeclareQuery(b, "l3/span", spanOf)
	l.beyond = compile.DeclareQuery(b, "l3/beyond", beyondOf)
	l.fed = compile.DeclareQuery(b, "l3/fed", fedOf)
	add := func(name, kind, doc string, run func(*compile.Context)) compile.RuleID {
		return b.Add(compile.Rule{Name: name, Kind: kind, Doc: doc, Run: run})
	}
	l.static = add("l3/static", "node", "what all routers of a node share: times to live that end, addresses that nobody routes", l.routing)
	l.sizes = add("l3/sizes", "node", "packets that are too large for the network ahead", l.packetSizes)
	l.router = add("l3/router", "router", "a router that ports of this node reach, or whose gateway this node is", l.routerHere)
	l.face = add("l3/interface", "port", "a router's interface: its network is reached through the router, its addresses answer", l.interfacePort)
	l.door = add("l3/door", "port", "packets to a router interface's MAC address go to the router", l.doorOf)
	l.answers = add("l3/answers", "port", "answers ARP and neighbour discovery for a router's interface", l.answersOf)
	l.handOver = add("l3/hand-over", "port", "what this node does not route goes to the router's gateway node as it is", l.handOverOf)
	l.reach = add("l3/reach", "network", "a network that is reached through a router: the way to its ports", l.reached)
	l.towards = add("l3/towards", "network", "a tunnel to a node with ports of a network that is reached through a router", l.tunnelTowards)
	l.neighbour = add("l3/neighbour", "port", "the MAC address behind an address of a routed network", l.neighbourOf)
	l.port = add("l3/port", "port", "what a port on a routed network makes routers ask the controller, so much a second", l.puntsOf)
	l.inner = add("l3/routes", "router", "extra routes whose next hop is on a network of the router", l.innerRoutes)
	l.via = add("l3/via", "port", "an interface that routes of other routers lead to: packets go on by its router's routes", l.passedOn)
	l.echoes = add("l3/echo-passed", "router", "a router that packets come to by other routers answers pings", l.passedEchoes)
	l.exits = add("l3/exits", "router", "routes to the external network: by the wire here, else by the gateway node", l.exitRoutes)
	l.leave = add("l3/leave", "router", "routes to the external network for the floating IPs that this node serves", l.leaveHere)
	l.gateway = add("l3/gateway", "router", "the router's address on its external network, and what leaves behind it", l.gatewayHere)
	l.proxied = add("l3/ndp-proxy", "router", "addresses of instances that the router speaks for on its external network", l.proxies)
	l.floating = add("l3/floating-ip", "floating-ip", "a floating IP that this node serves", l.floatingIP)
	l.forwarding = add("l3/forwarding", "port-forwarding", "ports of a floating IP that stand for ports of an instance", l.forwardingHere)
	l.external = add("l3/external", "network", "an external network on which this node speaks", l.externalNetwork)
	l.onWire = add("l3/on-wire", "network", "what is routed into a physical network leaves by its wire", l.outOnWire)
	l.nextHop = add("l3/next-hop", "network", "the MAC address of a host on an external network", l.nextHopOf)
	network := add("l3/network", "network", "a network with ports here: the doors to its routers", l.networkHere)
	return func(c *compile.Context) {
		c.Each(tables.NodeRouters, c.Node, l.router)
		c.Each(tables.NodeNetworks, c.Node, network)
		c.Each(tables.NodeReach, c.Node, l.reach)
		c.Each(tables.LocalPorts, c.Node, l.port)
		c.Each(tables.NodeExternals, c.Node, l.external)
		c.Each(tables.NodeFloating, c.Node, l.floating)
	}
}

// edge is a router with its gateway. It is comparable, so its lists are strings.
type edge struct {
	ID   model.RouterID
	Key  model.Key
	Up   bool // else nothing of the router is carried
	SNAT bool

	// The gateway; Tag is 0 without one.
	Port         model.Key
	MAC          model.MAC
	Net          model.NetworkID
	Tag          uint64
	MTU          int // of its network; 0: not known
	Addr4, Next4 netip.Addr
	Addr6, Next6 netip.Addr
	Prefixes     string            // of all its external network's subnets, in order, each followed by a space
	Node         model.NodeID      // that carries it; "" while none does
	Qos          model.QosPolicyID // that holds for its address; "": none
}

// hasGateway reports whether some node carries the router's gateway.
func (e *edge) hasGateway() bool { return e.Up && e.Tag != 0 && e.Node != "" }

func edgeOf(r store.Reader, router string) (e edge) {
	rt, ok := tables.Routers.Get(r, model.RouterID(router))
	if !ok || !rt.AdminStateUp {
		return e
	}
	e = edge{ID: rt.ID, Key: rt.Key, Up: true, SNAT: rt.EnableSNAT}
	p, ok := tables.Ports.Get(r, rt.GatewayPort)
	if !ok || !p.AdminStateUp {
		return e
	}
	n, ok := tables.Networks.Get(r, p.Network)
	if !ok || !n.AdminStateUp {
		return e
	}
	if e.Tag, ok = logicalNetwork(&n); !ok {
		return e
	}
	e.Port, e.MAC, e.Net, e.MTU = p.Key, p.MAC, n.ID, n.MTU
	e.Qos = tables.ExternalQos(rt.GatewayQos, &n)
	for _, f := range p.FixedIPs {
		s, _ := tables.Subnets.Get(r, f.Subnet)
		switch {
		case f.Addr.Is4() && !e.Addr4.IsValid():
			e.Addr4, e.Next4 = f.Addr, s.Gateway
		case f.Addr.Is6() && !e.Addr6.IsValid():
			e.Addr6, e.Next6 = f.Addr, s.Gateway
		}
	}
	var prefixes []string
	for s := range tables.SubnetsByNetwork.By(r, string(n.ID)) {
		prefixes = append(prefixes, s.CIDR.Masked().String()+" ")
	}
	slices.Sort(prefixes)
	e.Prefixes = strings.Join(slices.Compact(prefixes), "")
	g, _ := tables.Gateways.Get(r, rt.ID)
	e.Node = g.Node
	return e
}

// face is a router's interface on a network.
type face struct {
	Router model.RouterID // "": no interface that can be carried
	Net    model.NetworkID
	Type   model.NetworkType
	Tag    uint64
	Wire   uint64
	Patch  string // physical network; "": none
	MTU    int    // 0: not known
	MAC    model.MAC
	Key    model.Key
	Addrs  string // each with its subnet's length, each followed by a space
}

func faceOf(r store.Reader, port string) (f face) {
	p, ok := tables.Ports.Get(r, model.PortID(port))
	if !ok || p.Router == "" || !p.IsRouterInterface() || !p.AdminStateUp {
		return f
	}
	n, ok := tables.Networks.Get(r, p.Network)
	if !ok || !n.AdminStateUp {
		return f
	}
	tag, ok := logicalNetwork(&n)
	if !ok {
		return f
	}
	f = face{Router: p.Router, Net: n.ID, Type: n.Type, Tag: tag, Wire: uint64(n.SegmentationID), Patch: n.PhysicalNetwork, MTU: n.MTU, MAC: p.MAC, Key: p.Key}
	for _, a := range p.FixedIPs {
		if s, ok := tables.Subnets.Get(r, a.Subnet); ok && s.CIDR.Addr().Is4() == a.Addr.Is4() {
			f.Addrs += netip.PrefixFrom(a.Addr, s.CIDR.Bits()).String() + " "
		}
	}
	return f
}

// carried reports whether there is an interface.
func (f *face) carried() bool { return f.Router != "" }

// prefixes are the interface's addresses, each with its subnet's length.
func (f *face) prefixes() []netip.Prefix { return prefixesOf(f.Addrs) }

func prefixesOf(s string) (out []netip.Prefix) {
	for _, w := range strings.Fields(s) {
		if p, err := netip.ParsePrefix(w); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// speaks reports which versions of IP the interface has addresses of.
func (f *face) speaks() (v4, v6 bool) {
	for _, p := range f.prefixes() {
		v4, v6 = v4 || p.Addr().Is4(), v6 || p.Addr().Is6()
	}
	return v4, v6
}

// routerHere asks for what a router needs on a node.
func (l *layer3) routerHere(c *compile.Context) {
	e := compile.Ask(c, l.edges, c.Subject)
	if !e.Up {
		return
	}
	c.Need(l.static, c.Node)
	for p := range tables.RouterPorts.By(c, c.Subject) {
		if p.IsRouterInterface() {
			c.Need(l.face, string(p.ID))
		}
	}
	c.Need(l.inner, c.Subject)
	if !e.hasGateway() {
		return
	}
	c.Need(l.exits, c.Subject)
	if string(e.Node) == c.Node {
		c.Need(l.gateway, c.Subject)
		c.Need(l.proxied, c.Subject)
	}
}

// networkHere asks for the doors of the routers on a network with ports here.
func (l *layer3) networkHere(c *compile.Context) {
	for p := range tables.RouterPortsByNetwork.By(c, c.Subject) {
		if p.IsRouterInterface() {
			c.Need(l.door, string(p.ID))
			c.Need(l.answers, string(p.ID))
			c.Need(l.handOver, string(p.ID))
		}
	}
}

// faceHere reads an interface that is carried, and its router.
func (l *layer3) faceHere(c *compile.Context) (f face, e edge, ok bool) {
	if f = compile.Ask(c, l.faces, c.Subject); !f.carried() {
		return f, e, false
	}
	e = compile.Ask(c, l.edges, string(f.Router))
	return f, e, e.Up
}

// ofInterface and ofRouter sign flows.
func ofInterface(f *face, n uint8, v flow.Flow) flow.Flow {
	return owned(pipeline.KindRouterInterface, f.Key, n, v)
}

func ofRouter(e *edge, n uint8, v flow.Flow) flow.Flow {
	return owned(pipeline.KindRouter, e.Key, n, v)
}

// routed marks a packet as one that a router forwards.
func routed() flow.Act { return flow.Load(flow.RegBits(pipeline.RegFlags, 0, 1), 1) }

// enterRouter hands a packet to a router.
func enterRouter(key model.Key) flow.Actions {
	return flow.Do(flow.LoadReg(pipeline.RegRouter, uint32(key)), routed(), to(pipeline.RouteLookup))
}

// doorOf emits how packets come to the router of an interface, on a node where frames of its network may come in.
func (l *layer3) doorOf(c *compile.Context) {
	f, e, ok := l.faceHere(c)
	if !ok {
		return
	}
	v4, v6 := f.speaks()
	emit := func(ip flow.Term) {
		for _, from := range f.origins(&e, c.Node) {
			c.Flow(ofInterface(&f, l3Door, pipeline.Flow(pipeline.Routing, pipeline.PrioRouter,
				flow.M(append(from, ip, flow.TunID(f.Tag), flow.EthDst(f.MAC))...), enterRouter(e.Key))))
		}
	}
	if v4 {
		emit(flow.IP())
	}
	if v6 {
		emit(flow.IPv6())
	}
}

// answersOf emits the answers for an interface's addresses to ports of its network.
func (l *layer3) answersOf(c *compile.Context) {
	f, _, ok := l.faceHere(c)
	if !ok {
		return
	}
	origin := flow.Reg(pipeline.RegOrigin, pipeline.FromPort)
	sign := func(n uint8, v flow.Flow) flow.Flow { return ofInterface(&f, n, v) }
	for _, p := range f.prefixes() {
		for _, v := range answerRouter(sign, f.Tag, p.Addr(), f.MAC, origin) {
			c.Flow(v)
		}
	}
	if _, v6 := f.speaks(); v6 { // what a default route from a router advertisement leads to
		for _, v := range answerRouter(sign, f.Tag, linkLocal(f.MAC), f.MAC, origin) {
			c.Flow(v)
		}
	}
}

// answerRouter makes the answers for an address of a router, by ARP or neighbour discovery.
func answerRouter(sign func(uint8, flow.Flow) flow.Flow, net uint64, a netip.Addr, mac model.MAC, origin ...flow.Term) []flow.Flow {
	if a.Is4() {
		return []flow.Flow{sign(l3Answer, arpAnswer(net, a, mac, origin...))}
	}
	first, second := ndAnswer(net, a, mac, ndFlags|ndRouter, origin...)
	return []flow.Flow{sign(l3Answer, first), sign(l3Answer, second)}
}

// handOverOf emits the way to the gateway node for packets that this node's routes leave to it, from ports of the network here.
func (l *layer3) handOverOf(c *compile.Context) {
	f, e, ok := l.faceHere(c)
	if !ok || !e.hasGateway() || string(e.Node) == c.Node {
		return
	}
	h := half{Host: e.Node, VTEP: compile.Ask(c, l.vteps, string(e.Node)).IP, Type: f.Type, Wire: f.Wire}
	if out, acts := l.into(c, &h); out != 0 {
		c.Flow(ofInterface(&f, l3ToGateway, entry(pipeline.L2Forward, pipeline.PrioUnicast,
			flow.M(flow.TunID(f.Tag), flow.EthDst(f.MAC), flagged(pipeline.FlagRouted)), flow.Do(acts...))))
	}
}

// reached emits nothing itself: it asks for the way to the ports of a network that is reached through a router. Its floods
// and its questions stay where it has ports.
func (l *layer3) reached(c *compile.Context) {
	n, ok := networkOf(c, model.NetworkID(c.Subject))
	if !ok {
		return
	}
	up := false
	for p := range tables.RouterPortsByNetwork.By(c, c.Subject) {
		up = up || p.IsRouterInterface() && compile.Ask(c, l.edges, string(p.Router)).Up
	}
	if !up {
		return
	}
	c.Each(tables.NetworkMembers, c.Subject, l.neighbour)
	if n.physical() {
		c.Need(l.onWire, c.Subject)
		return
	}
	c.Each(tables.NetworkMembers, c.Subject, l.way)
	if n.Type.Tunnelled() {
		c.Each(tables.NetworkPeers, c.Subject, l.towards)
	}
}

// tunnelTowards asks for the tunnel to a node that has ports of a network. Its subject is a NetNode.
func (l *layer3) tunnelTowards(c *compile.Context) {
	net, node, _ := strings.Cut(c.Subject, "|")
	if n, ok := networkOf(c, model.NetworkID(net)); ok && node != c.Node {
		l.join(c, n.Type, node)
	}
}

// neighbourOf emits the MAC address for each address of a port on a routed network.
func (l *layer3) neighbourOf(c *compile.Context) {
	h := compile.Ask(c, l.halves, c.Subject)
	if h.Host == "" {
		return
	}
	for a := range h.addrs {
		c.Flow(owned(pipeline.KindPort, h.Key, l3Neighbour, hop(pipeline.PrioNextHop, h.Tag, a, h.MAC)))
	}
}

// hop says which MAC address a next hop has.
func hop(priority uint16, net uint64, a netip.Addr, mac model.MAC) flow.Flow {
	return pipeline.Flow(pipeline.L3Forward, priority, hopMatch(net, a), flow.Do(flow.SetEthDst(mac), to(pipeline.L3Forward.Next())))
}

// noHop drops what is routed to an address of this node that takes nothing.
func noHop(net uint64, a netip.Addr) flow.Flow {
	return pipeline.Flow(pipeline.L3Forward, pipeline.PrioOwnHop, hopMatch(net, a), flow.Do())
}

func hopMatch(net uint64, a netip.Addr) flow.Match {
	match := []flow.Term{flagged(pipeline.FlagRouted), flow.TunID(net)}
	if a.Is4() {
		return flow.M(append(match, flow.IP(), flow.Reg(pipeline.RegNextHop, number4(a)))...)
	}
	return flow.M(append(append(match, flow.IPv6()), flow.XXReg(pipeline.RegNextHop6/4, a.As16())...)...)
}
