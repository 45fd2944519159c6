// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"net/netip"
	"strings"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Routes from router to router. A packet whose next hop is another router's interface goes on by that router's routes on the same
// node, as if it had come in by the network that the routers share; nothing is sent on that network. So each node has the routers
// that the routes of its own lead to (tables.NodeRouters). Each takes one from the time to live, which ends what goes in circles.
// What another router leaves to its gateway node is handed over by the network that the routers share.

// beyondOf are the routers that a router's routes lead to, without itself.
func beyondOf(r store.Reader, router string) string {
	var b strings.Builder
	for _, id := range tables.RoutersFrom(r, model.RouterID(router))[1:] {
		b.WriteString(string(id))
		b.WriteByte(' ')
	}
	return b.String()
}

// fedOf reports whether routes of other routers lead to a router's interface.
func fedOf(r store.Reader, port string) bool {
	p, ok := tables.Ports.Get(r, model.PortID(port))
	return ok && len(tables.RoutersBy(r, &p)) > 0
}

// nextRouter finds the interface of another router that a next hop on a network of the router is, "" if it is none, and why the
// router cannot send there.
func nextRouter(c *compile.Context, e *edge, n model.NetworkID, next netip.Addr) (via model.PortID, why string) {
	for p := range tables.PortsByAddress.By(c, tables.AddressKey(n, next)) {
		switch {
		case p.Router == e.ID && p.IsRouterInterface():
			why = "the router's own"
		case p.IsRouterInterface():
			return p.ID, ""
		case p.Router != "":
			why = "another router's gateway: routes lead to routers' interfaces only"
		}
	}
	return "", why
}

// passedOn emits how packets go on from other routers to that of an interface.
func (l *layer3) passedOn(c *compile.Context) {
	f, e, ok := l.faceHere(c)
	if !ok {
		return
	}
	c.Need(l.echoes, string(f.Router))
	for _, p := range f.prefixes() {
		// Neither does the packet leave by a floating IP of the router before, nor was its size looked at for this one.
		c.Flow(ofInterface(&f, l3PassOn, pipeline.Flow(pipeline.L3Forward, pipeline.PrioOwnHop, hopMatch(f.Tag, p.Addr()), flow.Do(
			flow.SetEthDst(f.MAC), flow.LoadReg(pipeline.RegRouter, uint32(e.Key)),
			flow.Load(flow.RegBits(pipeline.RegFlags, 2, 2), 0), flow.Load(flow.RegBits(pipeline.RegFlags, 6, 1), 1),
			flow.Resubmit(pipeline.RouteLookup)))))
	}
	if !e.hasGateway() || string(e.Node) == c.Node {
		return
	}
	if f.Type.Tunnelled() {
		l.join(c, f.Type, string(e.Node))
		c.Need(l.handOver, c.Subject)
	}
	if f.physical() { // among the cloud's own networks packets pass all the same
		if why := compile.Ask(c, l.patches, patchKey(c.Node, f.Patch)).unmapped(f.Patch); why != "" {
			c.Fault(why)
		}
	}
}

// passedEchoes emits the answers of a router's addresses to pings that came by another router: their sender is not on the network
// that the routers share, so that an answer goes by the router's own routes and not back as the ping came.
func (l *layer3) passedEchoes(c *compile.Context) {
	e := compile.Ask(c, l.edges, c.Subject)
	if !e.Up {
		return
	}
	var own []netip.Addr
	for p := range tables.RouterPorts.By(c, c.Subject) {
		if f := compile.Ask(c, l.faces, string(p.ID)); f.carried() {
			for _, p := range f.prefixes() {
				own = append(own, p.Addr())
			}
		}
	}
	if e.hasGateway() && string(e.Node) == c.Node {
		own = append(own, e.Addr4, e.Addr6)
	}
	for _, a := range own {
		if !a.IsValid() {
			continue
		}
		match := []flow.Term{flow.Reg(pipeline.RegRouter, uint32(e.Key)), flagged(pipeline.FlagPassedOn)}
		acts := []flow.Act{flow.SetIPTTL(64), flow.NoInPort(), flow.Load(flow.RegBits(pipeline.RegFlags, 6, 1), 0)}
		if a.Is4() {
			match = append(match, flow.ICMP(), flow.ICMPType(8), flow.ICMPCode(0))
			acts = append(acts, flow.IPv4Back(), flow.SetIPSrc(a), flow.SetICMPType(0))
		} else {
			match = append(match, flow.ICMPv6(), flow.ICMPType(128), flow.ICMPCode(0))
			acts = append(acts, flow.IPv6Back(), flow.SetIPSrc(a), flow.SetICMPv6Type(129))
		}
		c.Flow(ofRouter(&e, l3EchoPassed, pipeline.Flow(pipeline.RouteLookup, pipeline.PrioEchoPassed, flow.M(append(match, flow.IPDst(host(a)))...),
			flow.Do(append(acts, flow.Resubmit(pipeline.RouteLookup))...))))
	}
}
