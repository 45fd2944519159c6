// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/tables"
)

// A floating IP whose ports are forwarded is on its router's gateway node, wherever the instances are, since one address can
// be on one node only. Its connections are in the zone of the router, among those of the gateway's address, and ct_mark tells of
// which forwarding they are. It answers pings itself, as no instance is asked.

// forwarder emits what a floating IP has for all its forwardings, beside presence and inbound.
func (l *layer3) forwarder(c *compile.Context, s *speaker, e *edge) {
	c.Each(tables.FloatingForwardings, c.Subject, l.forwarding)
	s.sized(c, l, e.MTU, compile.Ask(c, l.spans, string(e.ID)).Inner) // for whom a packet is, is not known yet
	s.echoes(c)
	s.pings(c)
	if !e.SNAT && e.Addr4.IsValid() {
		// The instance would answer one of its own router's directly: as the gateway's, it answers by way of here.
		g := &speaker{e.Key, e.Tag, e.Addr4, e.MAC, s.zone, s.sign, e.limits(c), s.helpers}
		g.begins(c, pipeline.OutboundNew, pipeline.PrioFloating, g.commit, 0, flow.Track{NAT: flow.SNAT(g.addr), Next: uint8(pipeline.Hairpin)},
			append(g.fresh(), flow.IPDst(host(s.addr)))...)
	}
}

// untranslated emits the way of what leaves a router that does not translate: it passes the tracker, since it may be an answer of
// a forwarding, and goes on as it is.
func (s *speaker) untranslated(c *compile.Context) {
	pass := flow.Do(to(pipeline.Hairpin))
	s.emit(c, l3New, pipeline.OutboundNew, pipeline.PrioNAT, pass, s.fresh()...)
	// Answers to what came in without the tracker are invalid to it.
	s.emit(c, l3Ping, pipeline.OutboundNew, pipeline.PrioNAT, pass, flow.IP(), flow.Reg(pipeline.RegRouter, uint32(s.router)), flow.CTZone(s.zone),
		flow.CTState(flow.CTTrk|flow.CTInv, flow.CTTrk|flow.CTInv))
}

// forwardingHere emits a port forwarding. Ports that packets keep, and those that share one of the instance, are matched by blocks;
// those that are each another one of the instance's cost a flow each.
func (l *layer3) forwardingHere(c *compile.Context) {
	p, ok := tables.PortForwardings.Get(c, model.PortForwardingID(c.Subject))
	if !ok || !p.Fixed.Is4() {
		return
	}
	f := compile.Ask(c, l.floats, string(p.Floating))
	e := compile.Ask(c, l.edges, string(f.Router))
	proto, _, ok := model.ProtocolNumber(p.Protocol)
	if !ok || f.Port != "" || string(f.Node) != c.Node || !e.Up || e.Tag == 0 || e.Net != f.Network {
		return
	}
	zone, ok := natZone(c, "", f.Router)
	if !ok {
		return
	}
	s := &speaker{e.Key, e.Tag, f.Addr, f.MAC, zone,
		func(n uint8, v flow.Flow) flow.Flow { return owned(pipeline.KindForwarding, p.Key, n, v) }, f.limits(c, e.MTU), helpersOf(c, f.Router)}
	mark := model.ForwardingMark(p.Key)
	// A session cannot begin with fragments on a datapath in user space: behind the tracker its later ones show no port, neither their
	// own nor that of the connection, and all would have to come to the translation that the first one's port says.
	begin := func(n uint8, prio uint16, m PortMask, port, alg uint16) {
		s.emit(c, n, pipeline.InboundNew, prio, s.accept(mark, flow.Track{NAT: flow.DNAT(p.Fixed, port), Next: uint8(pipeline.InboundDone), ALG: alg}),
			append(s.fresh(), flow.IPDst(host(f.Addr)), flow.IPProto(proto), flow.TPDstMasked(m.Value, m.Mask))...)
	}
	enter := func(m PortMask, port uint16) { begin(l3New, pipeline.PrioFloating, m, port, 0) }
	follows := false
	for _, h := range s.helpers {
		if h.proto == proto && p.External.Overlaps(model.PortRange{From: h.port, To: h.port}) {
			follows = true
			begin(l3Helped, pipeline.PrioHelped, PortMask{h.port, 0xffff}, p.Leads(h.port), h.alg)
		}
	}
	if follows { // and what these lead to, either way
		s.relatedIn(c, mark)
		how := asParent(pipeline.Hairpin)
		s.emit(c, l3Related, pipeline.OutboundNew, pipeline.PrioRelated, metered(s.limit.out, []flow.Act{flow.SetEthSrc(f.MAC), s.begin(mark, how)}), s.related(mark)...)
	}
	switch {
	case p.Kept():
		for _, m := range PortMasks(p.External.From, p.External.To) {
			enter(m, 0)
		}
	case p.Internal.Size() == 1:
		for _, m := range PortMasks(p.External.From, p.External.To) {
			enter(m, p.Internal.From)
		}
	default:
		for i := range min(p.External.Size(), p.Internal.Size()) {
			enter(PortMask{p.External.From + uint16(i), 0xffff}, p.Internal.From+uint16(i))
		}
	}
	s.emit(c, l3Done, pipeline.InboundNew, pipeline.PrioNATDone, flow.Do(to(pipeline.EgressACL)), append(s.known(mark, 0, 0), flow.IPDst(host(p.Fixed)))...)
	s.emit(c, l3Done, pipeline.OutboundNew, pipeline.PrioNATDone, metered(s.limit.out, []flow.Act{flow.SetEthSrc(f.MAC), to(pipeline.Hairpin)}),
		append(s.known(mark, 0, 0), flow.IPSrc(host(f.Addr)))...)
}
