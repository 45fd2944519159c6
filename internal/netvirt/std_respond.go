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
	Addrs string // fixed addresses, each as a byte of length and its bytes
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

// networkMember emits the way to a port of another node, and the answers for a port of any.
func (l *layer2) networkMember(c *compile.Context) {
	h := compile.Ask(c, l.halves, c.Subject)
	if h.Host == "" {
		return
	}
	if string(h.Host) != c.Node {
		if out, acts := l.into(c, &h); out != 0 {
			c.Flow(owned(pipeline.KindPort, h.Key, l2Unicast, entry(pipeline.L2Forward, pipeline.PrioUnicast,
				flow.M(flow.TunID(h.Tag), flow.EthDst(h.MAC)), flow.Do(acts...))))
		}
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

// answerARP turns a local port's request for an address into the answer (RFC 826) and sends it back.
func answerARP(net uint64, a netip.Addr, mac model.MAC, key model.Key, n uint8) flow.Flow {
	return owned(pipeline.KindPort, key, n, entry(pipeline.Responder, pipeline.PrioResponder,
		flow.M(flow.ARPOp(1), flow.ARPTPA(a), flow.TunID(net), flow.Reg(pipeline.RegOrigin, pipeline.FromPort)),
		flow.Do(flow.EthBack(), flow.SetEthSrc(mac), flow.SetARPOp(2), flow.ARPBack(),
			flow.SetARPSHA(mac), flow.SetARPSPA(a), to(pipeline.ReturnToSender))))
}

var unspecified6 = netip.PrefixFrom(netip.IPv6Unspecified(), 128)

// solicitation matches neighbour solicitations of local ports (RFC 4861 section 4.3).
func solicitation() []flow.Term {
	return []flow.Term{flow.ICMPv6(), flow.ICMPType(135), flow.ICMPCode(0), flow.Reg(pipeline.RegOrigin, pipeline.FromPort)}
}

// ndFlags are the solicited and override bits of an advertisement (RFC 4861 section 4.4).
const ndFlags = 0x60000000

// answerND does the same for a neighbour solicitation (RFC 4861 section 7.2.4). It takes two flows: the option with the link
// address can be written only once the message is an advertisement.
func answerND(net uint64, a netip.Addr, mac model.MAC, key model.Key) []flow.Flow {
	first := flow.M(append(solicitation(), flow.NDTarget(a), flow.TunID(net))...)
	second := flow.M(flow.ICMPv6(), flow.ICMPType(136), flow.ICMPCode(0), flow.NDTarget(a), flow.TunID(net))
	return []flow.Flow{
		owned(pipeline.KindPort, key, l2ND, entry(pipeline.Responder, pipeline.PrioResponder, first,
			flow.Do(flow.EthBack(), flow.SetEthSrc(mac),
				flow.IPv6Back(), flow.SetIPSrc(a), flow.SetICMPv6Type(136),
				flow.SetNDOptionsType(2), flow.SetNDReserved(ndFlags), flow.Resubmit(pipeline.ResponderND)))),
		owned(pipeline.KindPort, key, l2ND, entry(pipeline.ResponderND, pipeline.PrioResponder, second,
			flow.Do(flow.SetNDTLL(mac), to(pipeline.ReturnToSender)))),
	}
}
