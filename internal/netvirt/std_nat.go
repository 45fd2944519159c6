// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"net/netip"
	"slices"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Addresses are translated in a zone of the conntrack of their own, that of the port whose node serves it, or else that of the
// router on its gateway node; zones of security groups see fixed addresses only. There, ct_mark holds the port that a
// floating IP stands for, so that connections of an association that is no more pass no further: neither does the old
// instance go on under the address, nor does the new one get the old one's packets. Of a floating IP whose ports are forwarded
// it holds the forwarding: see std_forward.go.

// float is a floating IP with what its node needs of it.
type float struct {
	Key     model.Key
	Router  model.RouterID
	Addr    netip.Addr
	MAC     model.MAC // its own on the wire, so that only the node that serves it sends by it
	Fixed   netip.Addr
	Port    model.PortID // "": its ports are forwarded
	PortKey model.Key
	PortNet model.NetworkID
	Network model.NetworkID
	MTU     int               // of the port's network; 0: not known
	Node    model.NodeID      // that serves it; "": none
	Qos     model.QosPolicyID // that holds for it; "": none
	Meter   model.Key
}

func floatOf(r store.Reader, id string) (v float) {
	f, ok := tables.FloatingIPs.Get(r, model.FloatingIPID(id))
	if !ok || !f.Addr.Is4() || f.Port != "" && !f.Fixed.Is4() {
		return v
	}
	own, ok := tables.Ports.Get(r, f.FloatPort)
	if !ok {
		return v
	}
	node, _ := tables.Serving(r, &f)
	ext, _ := tables.Networks.Get(r, f.Network)
	qos := tables.ExternalQos(f.QosPolicy, &ext)
	if f.Port == "" {
		return float{Key: f.Key, Router: f.Router, Addr: f.Addr, MAC: own.MAC, Network: f.Network, Node: node, Qos: qos, Meter: f.Meter}
	}
	p, ok := tables.Ports.Get(r, f.Port)
	if !ok {
		return v
	}
	n, _ := tables.Networks.Get(r, p.Network)
	return float{Key: f.Key, Router: f.Router, Addr: f.Addr, MAC: own.MAC, Fixed: f.Fixed,
		Port: p.ID, PortKey: p.Key, PortNet: p.Network, Network: f.Network, MTU: n.MTU, Node: node, Qos: qos, Meter: f.Meter}
}

// natZone is where a node translates for a port that it hosts, or else for a router whose gateway it is.
func natZone(c *compile.Context, port model.PortID, router model.RouterID) (uint16, bool) {
	if port != "" {
		if s, ok := tables.SlotsByPort.First(c, model.PlugKey(model.NodeID(c.Node), port)); ok {
			return s.NATZone(), true
		}
	}
	s, ok := tables.SlotsByRouter.First(c, tables.RouterSlotKey(model.NodeID(c.Node), router))
	return s.NATZone(), ok
}

// speaker is an address that this node has on an external network: a floating IP, or a router's gateway.
type speaker struct {
	router model.Key
	net    uint64
	addr   netip.Addr
	mac    model.MAC
	zone   uint16
	sign   func(n uint8, f flow.Flow) flow.Flow
	limit  limits

	helpers []helper // of the router
}

func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func (s *speaker) emit(c *compile.Context, n uint8, t pipeline.TableID, prio uint16, a flow.Actions, terms ...flow.Term) {
	c.Flow(s.sign(n, pipeline.Flow(t, prio, flow.M(terms...), a)))
}

// known are the terms of a packet that was tracked in the speaker's zone: marked, and in a state.
func (s *speaker) known(mark model.Key, state, mask uint32) []flow.Term {
	return []flow.Term{flow.IP(), flow.Reg(pipeline.RegRouter, uint32(s.router)), flow.CTZone(s.zone),
		flow.CTMark(uint32(mark), 0xffffffff), flow.CTState(flow.CTTrk|state, flow.CTTrk|flow.CTInv|mask)}
}

// fresh are the terms of a packet that may begin a connection in the speaker's zone. One whose connection has no answer yet is
// new too, but translated.
func (s *speaker) fresh() []flow.Term {
	return []flow.Term{flow.IP(), flow.Reg(pipeline.RegRouter, uint32(s.router)), flow.CTZone(s.zone),
		flow.CTState(flow.CTTrk|flow.CTNew, flow.CTTrk|flow.CTNew|flow.CTSNAT|flow.CTDNAT)}
}

// accept translates and marks a new connection from outside; how says the translation and the table after it.
func (s *speaker) accept(mark model.Key, how flow.Track) flow.Actions {
	return flow.Do(s.begin(mark, how))
}

// commit does the same for one to outside, by the address.
func (s *speaker) commit(mark model.Key, how flow.Track) flow.Actions {
	return metered(s.limit.out, []flow.Act{s.begin(mark, how)})
}

func (s *speaker) begin(mark model.Key, how flow.Track) flow.Act {
	how.Commit, how.Zone, how.Exec = true, s.zone, []flow.Act{flow.SetCTMarkBits(0, 32, uint64(mark))}
	return flow.CT(how)
}

// leave are the actions of what leaves by the address and was translated to it.
func (s *speaker) leave() flow.Actions {
	return metered(s.limit.out, []flow.Act{to(pipeline.Hairpin)})
}

// presence emits what an address on an external network has whatever it is for: answers, its learning of others' MAC addresses,
// and the way to itself.
func (s *speaker) presence(c *compile.Context) {
	for _, f := range answerRouter(s.sign, s.net, s.addr, s.mac) {
		c.Flow(f)
	}
	const t = pipeline.Responder
	learn := flow.Do(flow.Punt(pipeline.Userdata(pipeline.PuntNeighbour), model.EdgeMeter), to(t.Next()))
	match := []flow.Term{flow.TunID(s.net), flow.EthDst(s.mac), flow.Reg(pipeline.RegOrigin, pipeline.FromProvider)}
	if s.addr.Is4() {
		s.emit(c, l3Learn, t, pipeline.PrioGatewayLearn, learn, append(match, flow.ARPOp(2))...)
	} else {
		s.emit(c, l3Learn, t, pipeline.PrioGatewayLearn, learn, append(match, flow.ICMPv6(), flow.ICMPType(advert), flow.ICMPCode(0))...)
	}
}

// inbound emits how packets to the address enter the tracker, and the loop for those that were sent to it on this very node.
func (s *speaker) inbound(c *compile.Context) {
	net, own := flow.TunID(s.net), host(s.addr)
	s.tracks(c, l3Inbound, pipeline.InboundNAT, pipeline.PrioFloating, func(alg uint16, before ...flow.Act) flow.Actions {
		return metered(s.limit.in, append(before, flow.LoadReg(pipeline.RegRouter, uint32(s.router)), routed(),
			flow.CT(flow.Track{Zone: s.zone, Next: uint8(pipeline.InboundNew), NAT: flow.UnNAT(), ALG: alg})))
	}, flow.IP(), net, flow.EthDst(s.mac), flow.IPDst(own))
	c.Flow(s.sign(l3Own, hop(pipeline.PrioOwnHop, s.net, s.addr, s.mac)))
	// As if it came from the wire: nothing that is known of its sender may be left.
	again := []flow.Act{flow.CTClear(), flow.NoInPort(), flow.LoadReg(pipeline.RegOrigin, pipeline.FromProvider)}
	for _, r := range []int{pipeline.RegSrcPort, pipeline.RegRouter, pipeline.RegNextHop, pipeline.RegFlags} {
		again = append(again, flow.LoadReg(r, 0))
	}
	s.emit(c, l3Hairpin, pipeline.Hairpin, pipeline.PrioFloating, flow.Do(flow.Clone(append(again, flow.Resubmit(pipeline.InboundNAT))...)),
		flow.IP(), net, flow.IPDst(own))
}

// outbound emits how packets that leave by the external network enter the tracker.
func (s *speaker) outbound(c *compile.Context, prio uint16, more ...flow.Term) {
	match := append([]flow.Term{flow.IP(), flow.TunID(s.net), flow.Reg(pipeline.RegRouter, uint32(s.router))}, more...)
	s.tracks(c, l3Outbound, pipeline.OutboundNAT, prio, func(alg uint16, before ...flow.Act) flow.Actions {
		return flow.Do(append(before, flow.SetEthSrc(s.mac), flow.CT(flow.Track{Zone: s.zone, Next: uint8(pipeline.OutboundNew), NAT: flow.UnNAT(), ALG: alg}))...)
	}, match...)
}

// floatingIP emits a floating IP on the node that serves it.
func (l *layer3) floatingIP(c *compile.Context) {
	f := compile.Ask(c, l.floats, c.Subject)
	e := compile.Ask(c, l.edges, string(f.Router))
	if string(f.Node) != c.Node || !e.Up || e.Tag == 0 || e.Net != f.Network {
		return
	}
	zone, ok := natZone(c, f.Port, f.Router)
	if !ok {
		return
	}
	s := &speaker{e.Key, e.Tag, f.Addr, f.MAC, zone,
		func(n uint8, v flow.Flow) flow.Flow { return owned(pipeline.KindFloatingIP, f.Key, n, v) }, f.limits(c, e.MTU), helpersOf(c, f.Router)}
	s.limit.emit(c)
	s.presence(c)
	s.inbound(c)
	if f.Port == "" {
		l.forwarder(c, s, &e)
		return
	}
	s.sized(c, l, e.MTU, f.MTU)
	s.outbound(c, pipeline.PrioFloating, flow.IPSrc(host(f.Fixed)))
	s.begins(c, pipeline.InboundNew, pipeline.PrioFloating, s.accept, f.PortKey, flow.Track{NAT: flow.DNAT(f.Fixed, 0), Next: uint8(pipeline.InboundDone)},
		append(s.fresh(), flow.IPDst(host(f.Addr)))...)
	s.begins(c, pipeline.OutboundNew, pipeline.PrioFloating, s.commit, f.PortKey, flow.Track{NAT: flow.SNAT(f.Addr), Next: uint8(pipeline.Hairpin)},
		append(s.fresh(), flow.IPSrc(host(f.Fixed)))...)
	// Until an answer comes a connection is new, and its packets are translated already.
	s.emit(c, l3Done, pipeline.InboundNew, pipeline.PrioNATDone, flow.Do(to(pipeline.EgressACL)),
		append(s.known(f.PortKey, 0, 0), flow.IPDst(host(f.Fixed)))...)
	s.emit(c, l3Done, pipeline.OutboundNew, pipeline.PrioNATDone, s.leave(),
		append(s.known(f.PortKey, 0, 0), flow.IPSrc(host(f.Addr)))...)
	if string(e.Node) == c.Node {
		return
	}
	// The gateway is elsewhere: what comes from the address leaves here all the same.
	c.Need(l.leave, string(f.Router))
	for p := range tables.RouterPortsByNetwork.By(c, string(f.PortNet)) {
		if by := compile.Ask(c, l.faces, string(p.ID)); by.Router == f.Router && by.carried() {
			s.emit(c, l3Floating, pipeline.Routing, pipeline.PrioFromFloating,
				flow.Do(flow.LoadReg(pipeline.RegRouter, uint32(e.Key)), routed(), flow.Load(flow.RegBits(pipeline.RegFlags, 2, 1), 1), to(pipeline.RouteLookup)),
				append(by.fromHere(), flow.IP(), flow.TunID(by.Tag), flow.EthDst(by.MAC), flow.IPSrc(host(f.Fixed)))...)
		}
	}
}

// gatewayHere emits a router's gateway on its node.
func (l *layer3) gatewayHere(c *compile.Context) {
	e := compile.Ask(c, l.edges, c.Subject)
	if !e.hasGateway() || string(e.Node) != c.Node {
		return
	}
	var nets []model.NetworkID
	for p := range tables.RouterPorts.By(c, c.Subject) {
		if f := compile.Ask(c, l.faces, string(p.ID)); f.carried() { // frames of its networks come from all nodes
			c.Need(l.door, string(p.ID))
			if f.physical() {
				c.Need(l.uplink, string(f.Net))
				c.Need(l.onWire, string(f.Net))
			}
			if f.Type.Tunnelled() && !slices.Contains(nets, f.Net) {
				nets = append(nets, f.Net)
				c.Each(tables.NetworkPeers, string(f.Net), l.peer)
				if compile.Ask(c, l.fed, string(p.ID)) { // of nodes without ports there, too, for which other routers pass packets on
					c.Each(tables.NetworkReachers, string(f.Net), l.peer)
				}
			}
		}
	}
	sign := func(n uint8, v flow.Flow) flow.Flow { return ofRouter(&e, n, v) }
	for _, a := range []netip.Addr{e.Addr4, e.Addr6} {
		if !a.IsValid() {
			continue
		}
		s := &speaker{e.Key, e.Tag, a, e.MAC, 0, sign, limits{}, nil}
		s.presence(c)
		s.echoes(c)
		if a.Is6() {
			c.Flow(sign(l3Door, pipeline.Flow(pipeline.Routing, pipeline.PrioRouter, flow.M(flow.IPv6(), flow.TunID(e.Tag), flow.EthDst(e.MAC)), enterRouter(e.Key))))
			c.Flow(sign(l3Own, noHop(s.net, s.addr)))
			continue
		}
		if !e.SNAT {
			c.Flow(sign(l3Door, pipeline.Flow(pipeline.Routing, pipeline.PrioRouter, flow.M(flow.IP(), flow.TunID(e.Tag), flow.EthDst(e.MAC)), enterRouter(e.Key))))
			if _, forwards := tables.ForwardersByRouter.First(c, c.Subject); !forwards {
				c.Flow(sign(l3Own, noHop(s.net, s.addr)))
				continue
			}
		}
		var ok bool
		if s.zone, ok = natZone(c, "", model.RouterID(c.Subject)); !ok {
			continue
		}
		s.limit, s.helpers = e.limits(c), helpersOf(c, e.ID)
		s.limit.emit(c)
		s.inbound(c)
		s.sized(c, l, e.MTU, compile.Ask(c, l.spans, c.Subject).Inner) // of whom it is the answer is not known yet
		s.outbound(c, pipeline.PrioNAT)
		if e.SNAT {
			s.begins(c, pipeline.OutboundNew, pipeline.PrioNAT, s.commit, 0, flow.Track{NAT: flow.SNAT(a), Next: uint8(pipeline.Hairpin)}, s.fresh()...)
		} else {
			s.untranslated(c)
		}
		s.emit(c, l3Done, pipeline.OutboundNew, pipeline.PrioNATDone, s.leave(),
			append(s.known(0, 0, 0), flow.IPSrc(host(a)))...)
		s.emit(c, l3Done, pipeline.InboundNew, pipeline.PrioNATKnown, flow.Do(to(pipeline.EgressACL)),
			s.known(0, flow.CTRpl, flow.CTRpl)...)
		if len(s.helpers) > 0 {
			s.relatedIn(c, 0)
			s.emit(c, l3Related, pipeline.InboundNew, pipeline.PrioNATKnown, flow.Do(to(pipeline.EgressACL)),
				s.known(0, flow.CTRel|flow.CTDNAT, flow.CTRel|flow.CTDNAT|flow.CTRpl)...)
		}
		s.pings(c)
	}
}

// echoes emits the answers to pings of the address that come to the routes.
func (s *speaker) echoes(c *compile.Context) {
	router := flow.Reg(pipeline.RegRouter, uint32(s.router))
	for _, origin := range []uint32{pipeline.FromPort, pipeline.FromProvider} {
		c.Flow(s.sign(l3Echo, echo(s.addr, pipeline.ReturnToSender, router, flow.Reg(pipeline.RegOrigin, origin))))
	}
	// The answer to a ping that another node handed over goes as any frame, by the tunnel that it came from.
	c.Flow(s.sign(l3EchoAway, echo(s.addr, pipeline.L2Rewrite, router, flow.Reg(pipeline.RegOrigin, pipeline.FromTunnel))))
}

// pings emits the way of pings from outside to the routes.
func (s *speaker) pings(c *compile.Context) {
	s.emit(c, l3Ping, pipeline.InboundNew, pipeline.PrioFloating, flow.Do(to(pipeline.EgressACL)),
		append(s.fresh(), flow.ICMP(), flow.ICMPType(8), flow.IPDst(host(s.addr)))...)
}
