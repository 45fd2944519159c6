// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/tables"
)

// edgeRate is how many packets per second that no local port sent may go from a node's routers to the controller.
const edgeRate = 100

// unroutable are sources and destinations that no router forwards: RFC 3927 section 7, RFC 4291 section 2.5.6, and what is no
// unicast address.
var unroutable = struct{ src, dst []netip.Prefix }{
	src: []netip.Prefix{netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("fe80::/10")},
	dst: []netip.Prefix{netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("224.0.0.0/3"),
		netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8")},
}

// routing emits what all routers of a node share.
func (l *layer3) routing(c *compile.Context) {
	c.Meter(flow.Meter{ID: model.EdgeMeter, Packets: true, Rate: edgeRate, Burst: edgeRate})
	emit := func(n uint8, t pipeline.TableID, prio uint16, a flow.Actions, terms ...flow.Term) {
		c.Flow(owned(pipeline.KindBridge, 0, n, pipeline.Flow(t, prio, flow.M(terms...), a)))
	}
	lookup, forward := pipeline.RouteLookup, pipeline.L3Forward
	for _, ip := range []flow.Term{flow.IP(), flow.IPv6()} {
		// dec_ttl would hand these to the controller past all meters.
		emit(l3TTL, lookup, pipeline.PrioTTL, flow.Do(), ip, flow.IPTTL(0))
		emit(l3TTL, lookup, pipeline.PrioTTLEdge, flow.Do(flow.Punt(pipeline.Userdata(pipeline.PuntTTL), model.EdgeMeter)), ip, flow.IPTTL(1))
		emit(l3Unresolved, forward, pipeline.PrioUnresolved, flow.Do(), ip, flagged(pipeline.FlagRouted))
	}
	for _, p := range unroutable.src {
		emit(l3Unroutable, lookup, pipeline.PrioUnroutable, flow.Do(), family(p), flow.IPSrc(p))
	}
	for _, p := range unroutable.dst {
		emit(l3Unroutable, lookup, pipeline.PrioUnroutable, flow.Do(), family(p), flow.IPDst(p))
	}
	// What inbound translation sent to a router.
	emit(l3Again, pipeline.Routing, pipeline.PrioRouteAgain, flow.Do(to(lookup)), flow.IP(), flagged(pipeline.FlagRouted))
}

// interfacePort emits the routes to an interface's subnets and the answers to pings of its addresses.
func (l *layer3) interfacePort(c *compile.Context) {
	f, e, ok := l.faceHere(c)
	if !ok {
		return
	}
	router, local := flow.Reg(pipeline.RegRouter, uint32(e.Key)), flow.Reg(pipeline.RegOrigin, pipeline.FromPort)
	if _, v6 := f.speaks(); v6 { // another interface may have the same MAC address on its network
		c.Flow(ofInterface(&f, l3Echo, echo(linkLocal(f.MAC), pipeline.ReturnToSender, router, local, flow.TunID(f.Tag))))
	}
	for _, p := range f.prefixes() {
		c.Flow(ofInterface(&f, l3Echo, echo(p.Addr(), pipeline.ReturnToSender, router, local)))
		l.routeInto(c, &e, &way{prefix: p.Masked(), connected: true, by: f, mtu: f.MTU}, func(v flow.Flow) flow.Flow { return ofInterface(&f, l3Connected, v) })
	}
}

// routeInto emits a way into a network of a router. A node that has no bridge to the physical network leaves it to the gateway node,
// for its own ports.
func (l *layer3) routeInto(c *compile.Context, e *edge, w *way, sign func(flow.Flow) flow.Flow) {
	router := flow.Reg(pipeline.RegRouter, uint32(e.Key))
	if w.by.physical() && w.via == "" { // from router to router nothing is sent
		why := compile.Ask(c, l.patches, patchKey(c.Node, w.by.Patch)).unmapped(w.by.Patch)
		if why != "" && e.hasGateway() && string(e.Node) != c.Node {
			l.leaveTo(c, e, w, sign)
			return
		}
		if why != "" { // instances of this node reach each other at least
			c.Fault(why)
		}
	}
	c.Flow(sign(route(w.prefix, w.connected, w.next, w.by.source(e, c.Node), w.by.Tag, router)))
	l.sized(c, e, w, anyFlags, router)
}

// leaveTo emits that packets of this node's ports go to the gateway node as they are.
func (l *layer3) leaveTo(c *compile.Context, e *edge, w *way, sign func(flow.Flow) flow.Flow) {
	router, origin := flow.Reg(pipeline.RegRouter, uint32(e.Key)), flow.Reg(pipeline.RegOrigin, pipeline.FromPort)
	c.Flow(sign(pipeline.Flow(pipeline.RouteLookup, pipeline.PrefixPriority(w.prefix.Bits(), w.connected),
		within(w.prefix, router, origin, flow.RegMasked(pipeline.RegFlags, 0, pipeline.FlagFloating)), flow.Do(to(pipeline.L2Forward)))))
	l.sized(c, e, w, flags{0, pipeline.FlagFloating}, router, origin)
}

// number4 is an IPv4 address as registers hold it.
func number4(a netip.Addr) uint32 { b := a.As4(); return binary.BigEndian.Uint32(b[:]) }

// within matches packets to a prefix, of its family if it is all addresses.
func within(p netip.Prefix, more ...flow.Term) flow.Match {
	terms := append(slices.Clone(more), family(p))
	if p.Bits() > 0 {
		terms = append(terms, flow.IPDst(p))
	}
	return flow.M(terms...)
}

// route sends packets to a prefix on into a network: to a next hop, or to their destination if that is zero.
func route(p netip.Prefix, connected bool, next netip.Addr, mac model.MAC, net uint64, more ...flow.Term) flow.Flow {
	var acts []flow.Act
	switch {
	case next.Is4():
		acts = []flow.Act{flow.LoadReg(pipeline.RegNextHop, number4(next))}
	case next.Is6():
		b := next.As16()
		for i := range 4 {
			acts = append(acts, flow.LoadReg(pipeline.RegNextHop6+i, binary.BigEndian.Uint32(b[4*i:])))
		}
	case p.Addr().Is4():
		acts = []flow.Act{flow.IPv4DstTo(pipeline.RegNextHop)}
	default:
		acts = []flow.Act{flow.IPv6DstTo(pipeline.RegNextHop6 / 4)}
	}
	acts = append(acts, flow.SetEthSrc(mac), flow.SetTunID(net), flow.DecTTL(), to(pipeline.L3Forward))
	return pipeline.Flow(pipeline.RouteLookup, pipeline.PrefixPriority(p.Bits(), connected), within(p, more...), flow.Do(acts...))
}

// echo turns an echo request for an address of a router into the reply (RFC 792, RFC 4443 section 4.2), which goes on in a
// table. The MAC addresses change places by way of the register of IPv6 next hops.
func echo(a netip.Addr, then pipeline.TableID, more ...flow.Term) flow.Flow {
	acts := []flow.Act{flow.EthSwap(pipeline.RegNextHop6 / 4)}
	match := slices.Clone(more)
	own := netip.PrefixFrom(a, a.BitLen())
	if a.Is4() {
		match = append(match, flow.ICMP(), flow.ICMPType(8), flow.ICMPCode(0), flow.IPDst(own))
		acts = append(acts, flow.IPv4Back(), flow.SetIPSrc(a), flow.SetICMPType(0))
	} else {
		match = append(match, flow.ICMPv6(), flow.ICMPType(128), flow.ICMPCode(0), flow.IPDst(own))
		acts = append(acts, flow.IPv6Back(), flow.SetIPSrc(a), flow.SetICMPv6Type(129))
	}
	acts = append(acts, flow.SetIPTTL(64))
	if then != pipeline.ReturnToSender {
		acts = append(acts, flow.NoInPort())
	}
	return pipeline.Flow(pipeline.RouteLookup, pipeline.PrioRouterEcho, flow.M(match...), flow.Do(append(acts, to(then))...))
}

// way is where a router sends packets to a prefix.
type way struct {
	prefix    netip.Prefix
	connected bool
	next      netip.Addr   // zero: the destination itself
	by        face         // of an inner way
	via       model.PortID // interface of another router that the next hop is; "": none
	mtu       int          // of the network ahead; 0: not known
}

// waysOf are a router's extra routes by where their next hops are, on a network of the router (inner) or on its external one
// (outer), with the default routes and the external network's own prefixes among the latter; and what is wrong with others.
func (l *layer3) waysOf(c *compile.Context, e *edge) (inner, outer []way, faults []string) {
	rt, ok := tables.Routers.Get(c, model.RouterID(c.Subject))
	if !ok {
		return
	}
	var faces []face
	for p := range tables.RouterPorts.By(c, c.Subject) {
		if f := compile.Ask(c, l.faces, string(p.ID)); f.carried() {
			faces = append(faces, f)
		}
	}
	onLink := prefixesOf(e.Prefixes)
	taken := map[netip.Prefix]bool{}
	routes := slices.Clone(rt.Routes)
	slices.SortFunc(routes, func(a, b model.Route) int { return a.NextHop.Compare(b.NextHop) })
	for _, r := range routes {
		to, next := r.Destination.Masked(), r.NextHop
		if !to.IsValid() || to.Addr().Is4() != next.Is4() {
			continue
		}
		w := way{prefix: to, next: next, mtu: e.MTU}
		for _, f := range faces {
			if slices.ContainsFunc(f.prefixes(), func(p netip.Prefix) bool { return p.Contains(next) }) {
				w.by, w.mtu = f, f.MTU
				break
			}
		}
		out := w.by.Router == "" && e.Tag != 0 && slices.ContainsFunc(onLink, func(p netip.Prefix) bool { return p.Contains(next) })
		switch {
		case taken[to]: // the lowest next hop takes all
			continue
		case !out && w.by.Router == "":
			faults = append(faults, fmt.Sprintf("next hop %s to %s is on no network that the router is joined to", next, to))
			continue
		}
		if !out {
			why := ""
			if w.via, why = nextRouter(c, e, w.by.Net, next); why != "" {
				faults = append(faults, fmt.Sprintf("next hop %s to %s is %s", next, to, why))
				continue
			}
		}
		if taken[to] = true; out {
			outer = append(outer, w)
		} else {
			inner = append(inner, w)
		}
	}
	if e.Tag == 0 {
		return inner, nil, faults
	}
	for _, p := range onLink {
		if p.Addr().Is4() && e.Addr4.IsValid() || p.Addr().Is6() && e.Addr6.IsValid() {
			outer = append(outer, way{prefix: p, connected: true, mtu: e.MTU})
		}
	}
	for _, d := range []struct{ own, next netip.Addr }{{e.Addr4, e.Next4}, {e.Addr6, e.Next6}} {
		if d.own.IsValid() && d.next.IsValid() {
			if all := netip.PrefixFrom(d.next, 0).Masked(); !taken[all] {
				outer = append(outer, way{prefix: all, next: d.next, mtu: e.MTU})
			}
		}
	}
	return inner, outer, faults
}

// innerRoutes emits extra routes into the router's own networks.
func (l *layer3) innerRoutes(c *compile.Context) {
	e := compile.Ask(c, l.edges, c.Subject)
	if !e.Up {
		return
	}
	inner, _, faults := l.waysOf(c, &e)
	for _, w := range inner {
		if w.via != "" {
			c.Need(l.via, string(w.via))
		}
		l.routeInto(c, &e, &w, func(v flow.Flow) flow.Flow { return ofRouter(&e, l3Route, v) })
	}
	for _, why := range faults {
		c.Fault(why)
	}
}

// exitRoutes emits the routes to the external network. The gateway node takes them; others hand packets of their own ports
// over, as they are and once: what came by a tunnel is never handed on, so that two nodes that each take the other for the
// gateway node do not play ball.
func (l *layer3) exitRoutes(c *compile.Context) {
	e := compile.Ask(c, l.edges, c.Subject)
	if !e.hasGateway() {
		return
	}
	router := flow.Reg(pipeline.RegRouter, uint32(e.Key))
	_, outer, _ := l.waysOf(c, &e)
	for _, w := range outer {
		if string(e.Node) == c.Node {
			c.Flow(ofRouter(&e, l3Exit, route(w.prefix, w.connected, w.next, e.MAC, e.Tag, router)))
			l.sized(c, &e, &w, anyFlags, router)
			continue
		}
		l.leaveTo(c, &e, &w, func(v flow.Flow) flow.Flow { return ofRouter(&e, l3HandOver, v) })
	}
}

// leaveHere emits the same routes on a node without the gateway, for packets from addresses whose floating IPs it serves. The
// source MAC address is that of the floating IP, which translation writes.
func (l *layer3) leaveHere(c *compile.Context) {
	e := compile.Ask(c, l.edges, c.Subject)
	if !e.Up || e.Tag == 0 || string(e.Node) == c.Node {
		return
	}
	_, outer, _ := l.waysOf(c, &e)
	for _, w := range outer {
		if w.prefix.Addr().Is4() {
			router := flow.Reg(pipeline.RegRouter, uint32(e.Key))
			c.Flow(ofRouter(&e, l3Exit, route(w.prefix, w.connected, w.next, e.MAC, e.Tag, router, flagged(pipeline.FlagFloating))))
			l.sized(c, &e, &w, flags{pipeline.FlagFloating, pipeline.FlagFloating}, router)
		}
	}
}

// puntsOf emits what a local port on a routed network makes routers ask the controller: through a meter of the port's own, so
// that who floods starves itself alone.
func (l *layer3) puntsOf(c *compile.Context) {
	p, ok := localOf(c, model.PortID(c.Subject))
	if !ok {
		return
	}
	var v4, v6, large bool
	var outside []uint64
	most, further := 0, []string{}
	for rp := range tables.RouterPortsByNetwork.By(c, string(p.Network)) {
		f := compile.Ask(c, l.faces, string(rp.ID))
		if !f.carried() {
			continue
		}
		e := compile.Ask(c, l.edges, string(f.Router))
		if !e.Up {
			continue
		}
		f4, f6 := f.speaks()
		v4, v6 = v4 || f4, v6 || f6
		large, most = large || compile.Ask(c, l.spans, string(f.Router)).Least < f.MTU, max(most, f.MTU)
		further = append(further, strings.Fields(compile.Ask(c, l.beyond, string(f.Router)))...)
		if e.Tag != 0 && !slices.Contains(outside, e.Tag) && (string(e.Node) == c.Node || l.servedHere(c, p.ID, f.Router)) {
			outside = append(outside, e.Tag)
		}
	}
	if !v4 && !v6 {
		return
	}
	for _, router := range further {
		e := compile.Ask(c, l.edges, router)
		large = large || compile.Ask(c, l.spans, router).Least < most
		if e.Tag != 0 && !slices.Contains(outside, e.Tag) && string(e.Node) == c.Node {
			outside = append(outside, e.Tag)
		}
	}
	meter := p.Slot.Meter(model.PuntOther)
	c.Meter(flow.Meter{ID: meter, Packets: true, Rate: l.PuntRate, Burst: l.PuntRate})
	key := flow.Reg(pipeline.RegSrcPort, uint32(p.Key))
	for _, ip := range []struct {
		on   bool
		term flow.Term
	}{{v4, flow.IP()}, {v6, flow.IPv6()}} {
		if !ip.on {
			continue
		}
		c.Flow(owned(pipeline.KindPort, p.Key, l3TTL, pipeline.Flow(pipeline.RouteLookup, pipeline.PrioTTL,
			flow.M(ip.term, flow.IPTTL(1), key), flow.Do(flow.Punt(pipeline.Userdata(pipeline.PuntTTL), meter)))))
		if large {
			c.Flow(owned(pipeline.KindPort, p.Key, l3TooLarge, tooLarge(pipeline.PrioTooLarge, meter, ip.term, key)))
		}
		for _, net := range outside {
			c.Flow(owned(pipeline.KindPort, p.Key, l3Resolve, resolve(pipeline.PrioResolvePort, net, meter, ip.term, key)))
		}
	}
}

// servedHere reports whether a floating IP of a local port, of a router, leaves from this node.
func (l *layer3) servedHere(c *compile.Context, port model.PortID, router model.RouterID) bool {
	for f := range tables.FloatingIPsByPort.By(c, string(port)) {
		if f.Router == router && string(compile.Ask(c, l.floats, string(f.ID)).Node) == c.Node {
			return true
		}
	}
	return false
}

// resolve hands routed packets whose next hop has no known MAC address to the controller.
func resolve(priority uint16, net uint64, meter uint32, more ...flow.Term) flow.Flow {
	return pipeline.Flow(pipeline.L3Forward, priority, flow.M(append(more, flow.TunID(net), flagged(pipeline.FlagRouted))...),
		flow.Do(flow.Punt(pipeline.Userdata(pipeline.PuntResolve), meter)))
}
