// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"fmt"
	"slices"
	"strings"

	"nagare/internal/flow"
	"nagare/internal/model"
)

// clausePorts are the matches, one of which a packet must meet, for a rule's ethertype, protocol and ports. The error says what
// the switch cannot tell apart, or what contradicts itself: such a rule must match nothing rather than too much.
func clausePorts(r *model.RulePlane, v4 bool) ([][]flow.Term, error) {
	ip := flow.IPv6()
	if v4 {
		ip = flow.IP()
	}
	proto, any, ok := model.ProtocolNumber(r.Protocol)
	ranged := r.PortMin != nil || r.PortMax != nil
	switch {
	case !ok:
		return nil, fmt.Errorf("protocol %q is unknown: use a name that Neutron knows or a number below 256", r.Protocol)
	case any && ranged:
		return nil, fmt.Errorf("ports without a protocol: name tcp, udp or sctp")
	case any:
		return [][]flow.Term{{ip}}, nil
	case v4 && (proto == model.ProtoICMPv6 || strings.HasPrefix(r.Protocol, "ipv6-")):
		return nil, fmt.Errorf("protocol %s with ethertype %s: create it with ethertype %s", r.Protocol, model.EtherIPv4, model.EtherIPv6)
	}
	if !v4 && proto == model.ProtoICMP {
		proto = model.ProtoICMPv6
	}
	base := []flow.Term{ip, flow.IPProto(proto)}
	// The same for a packet's first fragment, which shows no ports: the tracker knows those of its connection's first packet,
	// and only packets in that direction come here.
	opener := []flow.Term{ip, flow.Fragment(), flow.CTState(flow.CTTrk, flow.CTTrk|flow.CTInv), flow.CTProto(proto)}
	with := func(base []flow.Term, more ...flow.Term) []flow.Term {
		return append(base[:len(base):len(base)], more...)
	}
	whole := [][]flow.Term{base}
	switch proto {
	case model.ProtoTCP, model.ProtoUDP, model.ProtoSCTP:
		lo, hi, err := bounds(r, 65535)
		if err != nil || !ranged || lo == 0 && hi == 65535 {
			return whole, err
		}
		var out [][]flow.Term
		for _, m := range PortMasks(uint16(lo), uint16(hi)) {
			out = append(out, with(unlessFragment(base, m.Value), flow.TPDstMasked(m.Value, m.Mask)), with(opener, flow.CTDstPortMasked(m.Value, m.Mask)))
		}
		return out, nil
	case model.ProtoICMP, model.ProtoICMPv6:
		if !ranged {
			return whole, nil
		}
		if r.PortMin == nil {
			return nil, fmt.Errorf("ICMP code without a type: give port_range_min, the type, too")
		}
		typ, code := *r.PortMin, 0
		if r.PortMax != nil {
			code = *r.PortMax
		}
		if typ < 0 || typ > 255 || code < 0 || code > 255 {
			return nil, fmt.Errorf("ICMP type %d, code %d: want 0 to 255", typ, code)
		}
		base, opener = with(unlessFragment(base, uint16(typ)), flow.ICMPType(uint8(typ))), with(opener, flow.CTSrcPort(uint16(typ)))
		if r.PortMax != nil {
			base, opener = with(base, flow.ICMPCode(uint8(code))), with(opener, flow.CTDstPort(uint16(code)))
		}
		return [][]flow.Term{base, opener}, nil
	}
	if ranged {
		return nil, fmt.Errorf("ports of protocol %s cannot be matched by Open vSwitch: leave the ports out, or use tcp, udp or sctp", r.Protocol)
	}
	return whole, nil
}

// unlessFragment leaves fragments out of a match on ports or types that hold 0, which is what the switch shows for a fragment's.
func unlessFragment(base []flow.Term, lowest uint16) []flow.Term {
	if lowest > 0 {
		return base
	}
	return append(slices.Clone(base), flow.Whole())
}

// bounds reads a range of ports; the zero range if the rule has none.
func bounds(r *model.RulePlane, most int) (lo, hi int, err error) {
	switch {
	case r.PortMin == nil && r.PortMax == nil:
		return 0, 0, nil
	case r.PortMin == nil || r.PortMax == nil:
		return 0, 0, fmt.Errorf("range of ports with one end: give port_range_min and port_range_max")
	case *r.PortMin < 0 || *r.PortMin > *r.PortMax || *r.PortMax > most:
		return 0, 0, fmt.Errorf("ports %d to %d: want a range within 0 to %d", *r.PortMin, *r.PortMax, most)
	}
	return *r.PortMin, *r.PortMax, nil
}
