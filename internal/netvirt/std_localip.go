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

// A local IP belongs, on each node, to a port of that node that serves it; where none does, to the port that has the address, its
// holder, as any address. Only nodes with a server have flows of it, and only what their own ports send is meant: what comes by a tunnel,
// from the wire or from a router goes to the holder.
//
// Where. Table 50 is behind the sender's security groups and before routing and the receiver's: the sender's rules judge
// the local IP, the receiver's the packet as the server gets it, and each sees one and the same address both ways, so that the zones of
// both ports track what their own guests see. Translation by ct() is between the two, in a third zone, the server's own for this: one
// for all local IPs that it serves, since answers tell no more than that they are the server's, and none of floating IPs', whose answers
// would be translated here and not at the edge. A new packet passes the zone twice (50 looks, 52 commits), all others once.
//
// ct() and not flows that rewrite either way: whether a packet of the server is an answer under the local IP or one under its own
// address is known to nothing but connections (a server talks by both, to one client too), errors of ICMP quote the address inside, and
// fragments show no ports. Learned flows would know it as well, but none of our flows may be a switch's invention.
//
// ARP and neighbour discovery. Everywhere the answer is the holder's MAC address, whether the holder is somewhere (then it is answered
// for anyway) or not; table 50 rewrites the destination. So no guest's cache is ever stale: an association that comes or goes, and a
// guest that moves to another node, take effect with the next packet, and gratuitous ARP of the holder tells nothing new.
//
// Answers to the holder itself: as a client it may be on a node with a server of its address, and who answers it must
// reach it. What the sender's zone knows as an answer is left alone. (A sender without port security has no zone: its answers to
// a holder on its own node go to the server.) The server's own packets to the address go to the holder.
//
// Passthrough: the guest has the address beside its own. It gets packets as they are; it may answer as the local IP, but no packet under
// that address leaves the node, where it is the holder's. It may not claim the address by ARP; its own probes for it are not
// answered, or it would find it taken.

// Which of its table's flows a flow of a local IP is, for its cookie.
const (
	lipARP      uint8 = 1 // tables 20 and 22
	lipProbe    uint8 = 2
	lipSource   uint8 = 1 // table 40
	lipIn       uint8 = 1 // table 50
	lipOwn      uint8 = 2
	lipReply    uint8 = 20 // among a port's
	lipNew      uint8 = 1  // table 52
	lipKnown    uint8 = 2
	lipStays    uint8 = 1 // tables 60 and 110
	serviceMark       = "network:"
)

// declareLocalIPs declares the rule of local IPs and returns what the root asks for.
func declareLocalIPs(b *compile.Rulebook) func(*compile.Context) {
	rule := b.Add(compile.Rule{Name: "local-ip/served", Kind: "local-ip", Run: servedHere,
		Doc: "a local IP that a port of this node serves: what ports of this node send to it goes there"})
	return func(c *compile.Context) { c.Each(tables.NodeLocalIPs, c.Node, rule) }
}

// server is a port of the context's node that serves a local IP.
type server struct {
	local
	Fixed netip.Addr // that translated packets are sent to
}

// serverOf is the port that serves a local IP on the context's node: of several, which is no mistake, the oldest.
func serverOf(c *compile.Context, ip *model.LocalIP) (best server, ok bool) {
	for id := range tables.LocalIPServers.Members(c, tables.LocalIPOn(ip.ID, model.NodeID(c.Node))) {
		a, there := tables.LocalIPAssociations.Get(c, model.LocalIPAssociationID(ip.ID, model.PortID(id)))
		p, up := localOf(c, model.PortID(id))
		if there && up && tables.Serves(&ip.LocalIPPlane, &a.LocalIPAssociationPlane, &p.PortPlane) && (!ok || p.Key < best.Key) {
			best, ok = server{p, a.Fixed}, true
		}
	}
	return best, ok
}

// holderOf is the port whose address a local IP is, as long as it has it: else it may be anybody's.
func holderOf(r store.Reader, ip *model.LocalIP) (model.Port, bool) {
	p, ok := tables.Ports.Get(r, ip.Port)
	return p, ok && p.Network == ip.Network && tables.HasAddress(&p.PortPlane, ip.Addr)
}

func servedHere(c *compile.Context) {
	ip, ok := tables.LocalIPs.Get(c, model.LocalIPID(c.Subject))
	if !ok {
		return
	}
	holder, held := holderOf(c, &ip)
	s, served := serverOf(c, &ip)
	if !held || !served {
		return
	}
	for other := range tables.LocalIPsByAddress.By(c, tables.AddressKey(ip.Network, ip.Addr)) {
		if other.Key < ip.Key { // one address may be several local IPs: the oldest that is served here counts
			if _, first := serverOf(c, &other); first {
				return
			}
		}
	}
	l := localIP{c: c, ip: &ip, server: &s, to: []flow.Term{family(host(ip.Addr)), flow.TunID(s.Net), flow.IPDst(host(ip.Addr))}}
	l.answers(&holder)
	l.emit(lipOwn, pipeline.LoadBalancer, pipeline.PrioLocalOwn, flow.Do(to(pipeline.Routing)), l.with(l.to, l.sent())...)
	if ip.Mode == model.LocalIPPassthrough {
		l.passThrough()
	} else {
		l.translate()
	}
}

// localIP is one with its server on the context's node.
type localIP struct {
	c      *compile.Context
	ip     *model.LocalIP
	server *server
	to     []flow.Term // what packets to it have
}

func (l *localIP) emit(n uint8, t pipeline.TableID, prio uint16, a flow.Actions, terms ...flow.Term) {
	l.c.Flow(owned(pipeline.KindLocalIP, l.ip.Key, n, pipeline.Flow(t, prio, flow.M(terms...), a)))
}

// sent matches what the server sends.
func (l *localIP) sent() flow.Term { return flow.Reg(pipeline.RegSrcPort, uint32(l.server.Key)) }

func (l *localIP) with(terms []flow.Term, more ...flow.Term) []flow.Term {
	return append(slices.Clone(terms), more...)
}

// answers emits who has the address, if nobody else says so: ports that are nowhere are not answered for, except those of services.
func (l *localIP) answers(holder *model.Port) {
	_, located := tables.Located(l.c, holder.ID)
	if located || strings.HasPrefix(holder.DeviceOwner, serviceMark) && holder.DeviceOwner != model.OwnerLocalIP {
		return
	}
	sign := func(f flow.Flow) { l.c.Flow(owned(pipeline.KindLocalIP, l.ip.Key, lipARP, f)) }
	if l.ip.Addr.Is4() {
		sign(arpAnswer(l.server.Net, l.ip.Addr, holder.MAC, fromLocal))
		return
	}
	first, second := ndAnswer(l.server.Net, l.ip.Addr, holder.MAC, ndFlags, fromLocal)
	sign(first)
	sign(second)
}

// in emits how packets to the local IP come to the server; then says what becomes of them beside that.
func (l *localIP) in(then flow.Act) {
	l.emit(lipIn, pipeline.LoadBalancer, pipeline.PrioLocalIP, flow.Do(flow.SetEthDst(l.server.MAC), then),
		l.with(l.to, fromLocal, flow.CTState(0, flow.CTRpl))...)
}

func (l *localIP) translate() {
	zone := l.server.Slot.LocalZone()
	if zone == 0 {
		l.c.Fault("its port has a place on the node that is beyond those with a zone for it: unplug the port and plug it again")
		return
	}
	fixed := host(l.server.Fixed)
	l.in(flow.CT(flow.Track{Zone: zone, NAT: flow.UnNAT(), Next: uint8(pipeline.LocalNew)}))
	const t, prio = pipeline.LocalNew, pipeline.PrioLocalIP
	// Until an answer comes a connection is new, and its packets are translated already.
	l.emit(lipNew, t, prio, flow.Do(flow.CT(flow.Track{Commit: true, Zone: zone, NAT: flow.DNAT(l.server.Fixed, 0), Next: uint8(pipeline.Routing)})),
		l.with(l.to, flow.CTZone(zone), flow.CTState(flow.CTTrk|flow.CTNew, flow.CTTrk|flow.CTNew|flow.CTInv))...)
	known := owned(pipeline.KindPort, l.server.Key, lipKnown, pipeline.Flow(t, prio, flow.M(family(fixed), flow.TunID(l.server.Net), flow.IPDst(fixed), flow.CTZone(zone),
		flow.CTState(flow.CTTrk, flow.CTTrk|flow.CTInv)), flow.Do(to(pipeline.Routing))))
	reply := owned(pipeline.KindPort, l.server.Key, lipReply, pipeline.Flow(pipeline.LoadBalancer, pipeline.PrioLocalReply, flow.M(family(fixed), flow.TunID(l.server.Net), l.sent(), flow.IPSrc(fixed)),
		flow.Do(flow.CT(flow.Track{Zone: zone, NAT: flow.UnNAT(), Next: uint8(pipeline.Routing)}))))
	for _, f := range []flow.Flow{known, reply} {
		l.c.Shared(f) // with others that it serves by this address
	}
}

func (l *localIP) passThrough() {
	l.in(to(pipeline.Routing))
	if l.ip.Addr.Is4() {
		l.emit(lipProbe, pipeline.Responder, pipeline.PrioResponderExempt, flow.Do(to(pipeline.Responder.Next())), flow.ARP(), l.sent(), flow.ARPTPA(l.ip.Addr))
	}
	s := l.server
	if !s.IsFiltered() || slices.ContainsFunc(ownAddresses(&s.PortPlane), func(o ownAddress) bool { return o.MAC == s.MAC && o.Prefix.Contains(l.ip.Addr) }) {
		return // it may send as the address to anybody
	}
	as := []flow.Term{family(host(l.ip.Addr)), l.sent(), flow.IPSrc(host(l.ip.Addr))}
	known := sending.track(pipeline.EgressState)
	if stateless(l.c, &s.PortPlane) {
		known = to(pipeline.EgressRules)
	}
	l.emit(lipSource, pipeline.EgressACL, pipeline.PrioAddress, flow.Do(known), l.with(as, flow.EthSrc(s.MAC))...)
	l.emit(lipStays, pipeline.Routing, pipeline.PrioUnrouted, flow.Do(to(pipeline.L3Forward)), as...) // no router, and no translation at its gateway
	l.emit(lipStays, pipeline.L2Forward, pipeline.PrioStays, flow.Do(), l.with(as, flow.Reg(pipeline.RegDstPort, 0))...)
}
