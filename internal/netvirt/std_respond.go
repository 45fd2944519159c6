// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"net/netip"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// half is what all nodes need to know of a located port, compiled once. It is comparable, so its addresses are one string.
type half struct {
	Host  model.NodeID // "": nothing to know
	VTEP  netip.Addr
	Type  model.NetworkType
	Tag   uint64
	Wire  uint64
	MAC   model.MAC
	Key   model.Key
	Net   model.NetworkID // of one with several segments
	Site  site            // its host's, there
	Addrs string          // fixed addresses, each as a byte of length and its bytes
}

func halfOf(r store.Reader, port string) (h half) {
	p, ok := tables.Ports.Get(r, model.PortID(port))
	if !ok {
		return h
	}
	n, ok := tables.Networks.Get(r, p.Network)
	if !ok || !n.AdminStateUp {
		return h
	}
	tag, ok := logicalNetwork(&n)
	if !ok {
		return h
	}
	host, _ := tables.Nodes.Get(r, p.Host)
	h = half{Host: p.Host, VTEP: host.LocalIP, Type: n.Type, Tag: tag, Wire: uint64(n.SegmentationID), MAC: p.MAC, Key: p.Key}
	if len(n.Segments) > 0 {
		h.Net, h.Site = n.ID, siteOn(&n, host.Mappings)
		if through, ok := n.Tunnel(); ok {
			h.Type, h.Wire = through.Type, uint64(through.SegmentationID)
		}
	}
	for _, f := range p.FixedIPs {
		a := f.Addr.AsSlice()
		h.Addrs += string(byte(len(a))) + string(a)
	}
	return h
}

// addrs iterates over the fixed addresses.
func (h *half) addrs(yield func(netip.Addr) bool) {
	for s := h.Addrs; s != ""; s = s[1+s[0]:] {
		if a, ok := netip.AddrFromSlice([]byte(s[1 : 1+s[0]])); !ok || !yield(a) {
			return
		}
	}
}

// wayTo emits the way to a port of another node.
func (l *layer2) wayTo(c *compile.Context) {
	h := compile.Ask(c, l.halves, c.Subject)
	if h.Host == "" || string(h.Host) == c.Node {
		return
	}
	emit := func(n uint8, more ...flow.Term) {
		if out, acts := l.into(c, &h); out != 0 {
			c.Flow(owned(pipeline.KindPort, h.Key, n, entry(pipeline.L2Forward, pipeline.PrioUnicast,
				flow.M(append(more, flow.TunID(h.Tag), flow.EthDst(h.MAC))...), flow.Do(acts...))))
		}
	}
	if h.Net == "" {
		emit(l2Unicast)
		return
	}
	n, ok := networkOf(c, h.Net)
	switch {
	case !ok || n.Site.joins(h.Site): // by the wire
	case n.mixed(): // a frame from the wire comes to each node there: none may carry it on
		emit(l2Unicast, fromLocal)
		emit(l2UnicastRouted, flagged(pipeline.FlagRouted))
	default:
		emit(l2Unicast)
	}
}

// networkMember emits the answers for a port of a network, wherever it is.
func (l *layer2) networkMember(c *compile.Context) {
	h := compile.Ask(c, l.halves, c.Subject)
	if h.Host == "" {
		return
	}
	for a := range h.addrs {
		if a.Is4() {
			c.Flow(answerARP(h.Tag, a, h.MAC, h.Key, l2ARP))
			continue
		}
		for _, f := range answerND(h.Tag, a, h.MAC, h.Key) {
			c.Flow(f)
		}
	}
}

// dhcpServer answers for the addresses of a DHCP port that is on no node.
func (l *layer2) dhcpServer(c *compile.Context) {
	p, ok := tables.Ports.Get(c, model.PortID(c.Subject))
	if !ok || p.Host != "" || !p.AdminStateUp {
		return
	}
	n, ok := networkOf(c, p.Network)
	if !ok {
		return
	}
	for _, f := range p.FixedIPs {
		if f.Addr.Is4() {
			c.Flow(answerARP(n.Tag, f.Addr, p.MAC, p.Key, l2Server))
		}
	}
}

// answerARP answers a local port's request for the address of a port.
func answerARP(net uint64, a netip.Addr, mac model.MAC, key model.Key, n uint8) flow.Flow {
	return owned(pipeline.KindPort, key, n, arpAnswer(net, a, mac, fromLocal))
}

// fromLocal matches what local ports sent.
var fromLocal = flow.Reg(pipeline.RegOrigin, pipeline.FromPort)

// arpAnswer turns a request for an address, of the origin if one is given, into the answer (RFC 826) and sends it back.
func arpAnswer(net uint64, a netip.Addr, mac model.MAC, origin ...flow.Term) flow.Flow {
	return entry(pipeline.Responder, pipeline.PrioResponder,
		flow.M(append(origin, flow.ARPOp(1), flow.ARPTPA(a), flow.TunID(net))...),
		flow.Do(flow.EthBack(), flow.SetEthSrc(mac), flow.SetARPOp(2), flow.ARPBack(),
			flow.SetARPSHA(mac), flow.SetARPSPA(a), to(pipeline.ReturnToSender)))
}

var unspecified6 = netip.PrefixFrom(netip.IPv6Unspecified(), 128)

// solicitation matches neighbour solicitations (RFC 4861 section 4.3), of the origin if one is given.
func solicitation(origin ...flow.Term) []flow.Term {
	return append([]flow.Term{flow.ICMPv6(), flow.ICMPType(135), flow.ICMPCode(0)}, origin...)
}

// ndFlags are the solicited and override bits of an advertisement, ndRouter the one that a router sets (RFC 4861 section 4.4).
const (
	ndFlags  = 0x60000000
	ndRouter = 0x80000000
)

// answerND answers a local port's solicitation for the address of a port.
func answerND(net uint64, a netip.Addr, mac model.MAC, key model.Key) []flow.Flow {
	first, second := ndAnswer(net, a, mac, ndFlags, fromLocal)
	return []flow.Flow{owned(pipeline.KindPort, key, l2ND, first), owned(pipeline.KindPort, key, l2ND, second)}
}

// ndAnswer does for a neighbour solicitation what arpAnswer does for a request (RFC 4861 section 7.2.4). It takes two flows: the
// option with the link address can be written only once the message is an advertisement.
func ndAnswer(net uint64, a netip.Addr, mac model.MAC, flags uint32, origin ...flow.Term) (first, second flow.Flow) {
	ask := flow.M(append(solicitation(origin...), flow.NDTarget(a), flow.TunID(net))...)
	told := flow.M(flow.ICMPv6(), flow.ICMPType(136), flow.ICMPCode(0), flow.NDTarget(a), flow.TunID(net))
	return entry(pipeline.Responder, pipeline.PrioResponder, ask,
			flow.Do(flow.EthBack(), flow.SetEthSrc(mac),
				flow.IPv6Back(), flow.SetIPSrc(a), flow.SetICMPv6Type(136),
				flow.SetNDOptionsType(2), flow.SetNDReserved(flags), flow.Resubmit(pipeline.ResponderND))),
		entry(pipeline.ResponderND, pipeline.PrioResponder, told, flow.Do(flow.SetNDTLL(mac), to(pipeline.ReturnToSender)))
}
