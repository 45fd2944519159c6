// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"net/netip"
	"slices"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/tables"
)

// ownAddress is an address, or a block of them, that a port may use, with the MAC address it may use it with.
type ownAddress struct {
	MAC    model.MAC
	Prefix netip.Prefix
}

// ownAddresses are what a port may send from: its fixed addresses, its allowed address pairs, and the link-local address that
// follows from each of its MAC addresses (RFC 4291 section 2.5.1, appendix A). Others of its link-local addresses, such as
// those of RFC 7217, need an allowed pair.
func ownAddresses(p *model.PortPlane) (own []ownAddress) {
	add := func(m model.MAC, prefix netip.Prefix) {
		if a := (ownAddress{m, prefix}); !slices.Contains(own, a) {
			own = append(own, a)
		}
	}
	for _, f := range p.FixedIPs {
		add(p.MAC, netip.PrefixFrom(f.Addr, f.Addr.BitLen()))
	}
	for _, a := range p.AllowedPairs {
		switch {
		case a.MAC.IsMulticast(): // nobody's, whatever the pair says
		case a.MAC.IsZero():
			add(p.MAC, a.Prefix.Masked())
		default:
			add(a.MAC, a.Prefix.Masked())
		}
	}
	for _, m := range ownMACs(p) {
		add(m, host6(linkLocal(m)))
	}
	return own
}

// ownMACs are the MAC addresses that a port may send from.
func ownMACs(p *model.PortPlane) []model.MAC {
	macs := []model.MAC{p.MAC}
	for _, a := range p.AllowedPairs {
		if !a.MAC.IsZero() && !a.MAC.IsMulticast() && !slices.Contains(macs, a.MAC) {
			macs = append(macs, a.MAC)
		}
	}
	return macs
}

// linkLocal is the IPv6 link-local address with the modified EUI-64 identifier of a MAC address.
func linkLocal(m model.MAC) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]})
}

// portGuard emits what a filtered port may send: ARP and neighbour discovery for its own addresses, and packets from them, which
// then face its groups. It matches the port's key and not its OpenFlow number, so a number that changes leaves these flows
// alone; table 0 has seen to it that the source MAC address is one of the port's. It asks for told if a security log wants to know.
func portGuard(told compile.RuleID) func(*compile.Context) {
	return func(c *compile.Context) {
		l, ok := localOf(c, model.PortID(c.Subject))
		if !ok || !l.IsFiltered() {
			return
		}
		const t, sources = pipeline.EgressACL, pipeline.EgressSource
		pass, checkSource := flow.Do(to(t.Next())), flow.Do(to(sources))
		key := flow.Reg(pipeline.RegSrcPort, uint32(l.Key))
		emit := func(n uint8, t pipeline.TableID, prio uint16, a flow.Actions, terms ...flow.Term) {
			c.Flow(owned(pipeline.KindPort, l.Key, n, pipeline.Flow(t, prio, flow.M(append(terms, key)...), a)))
		}
		known := sending.track(pipeline.EgressState)
		if stateless(c, &l.PortPlane) {
			known = to(pipeline.EgressRules)
		}
		var solicited []netip.Prefix
		for _, own := range ownAddresses(&l.PortPlane) {
			mac := flow.EthSrc(own.MAC)
			emit(5, t, pipeline.PrioAddress, flow.Do(known), mac, flow.IPSrc(own.Prefix), family(own.Prefix))
			if own.Prefix.Addr().Is4() {
				emit(1, t, pipeline.PrioNeighbour, pass, flow.ARP(), mac, flow.ARPSHA(own.MAC), flow.ARPSPAPrefix(own.Prefix))
				// The probe of RFC 5227 asks for the port's own addresses only: asking for others' would deny them these.
				emit(2, t, pipeline.PrioNeighbour, pass, flow.ARP(), mac, flow.ARPSHA(own.MAC), flow.ARPOp(1),
					flow.ARPSPA(netip.IPv4Unspecified()), flow.ARPTPAPrefix(own.Prefix))
				continue
			}
			for _, tll := range []model.MAC{own.MAC, {}} { // its own option, or none
				emit(4, t, pipeline.PrioNeighbour, checkSource, mac, flow.ICMPv6(), flow.ICMPType(advert), flow.ICMPCode(0),
					flow.NDTargetPrefix(own.Prefix), flow.NDTLL(tll))
			}
			if slices.Contains(solicited, own.Prefix) {
				continue
			}
			solicited = append(solicited, own.Prefix)
			emit(2, sources, pipeline.PrioNeighbour, pass, flow.IPv6(), flow.IPSrc(own.Prefix))
			emit(3, sources, pipeline.PrioNeighbour, pass, flow.ICMPv6(), flow.ICMPType(solicit), flow.ICMPCode(0), // RFC 4862 section 5.4.2
				flow.IPSrc(host6(netip.IPv6Unspecified())), flow.NDTargetPrefix(own.Prefix))
		}
		for _, m := range ownMACs(&l.PortPlane) {
			for _, sll := range []model.MAC{m, {}} {
				emit(3, t, pipeline.PrioNeighbour, checkSource, flow.EthSrc(m), flow.ICMPv6(), flow.ICMPType(solicit), flow.ICMPCode(0), flow.NDSLL(sll))
			}
		}
		emit(6, t, pipeline.PrioSpoofed, flow.Do(to(sending.drop)))
		if len(tables.LogsOf(c, &l.Port)) > 0 {
			c.Need(told, c.Subject)
		}
	}
}

// family matches the packets of a prefix's family, which a prefix of length 0 would not.
func family(p netip.Prefix) flow.Term {
	if p.Addr().Is4() {
		return flow.IP()
	}
	return flow.IPv6()
}
