// SPDX-License-Identifier: Apache-2.0

package flowtree

import (
	"strconv"
	"strings"

	"nagare/internal/flow"
	"nagare/internal/yang"
	"nagare/openflow"
)

// putMatch says m below d, the container match of a flow.
func putMatch(d *yang.Data, node string, m flow.Match) {
	var seen scene
	for t := range m.Fields() {
		seen.note(t)
	}
	var tag []byte // the conditions on the tag, which are written in one way together
	var other []openflow.TLV
	plain := true
	for t := range m.Fields() {
		c := conditionOf[t.Field]
		switch {
		case t.Field == openflow.FieldInPort && t.Mask == nil:
			d.Leaf("in-port", connector(node, uint32(t.Uint())))
		case t.Field == openflow.FieldVLANVID:
			tag, plain = append(tag, t.Raw...), plain && plainVLAN(t)
		case t.Field == openflow.FieldVLANPCP:
			tag, plain = append(tag, t.Raw...), plain && seen.tags > 0
		case c != nil && c.says(t) && seen.has(t.Field.Prereq):
			c.put(d, t)
		default:
			other = append(other, t)
		}
	}
	switch {
	case plain:
		for t := range flow.Match(tag).Fields() {
			if t.Field == openflow.FieldVLANVID {
				putVLAN(d, t)
			} else {
				conditionOf[t.Field].put(d, t)
			}
		}
	default:
		putWords(d, flow.Match(tag))
	}
	for _, t := range other {
		putWords(d, flow.Match(t.Raw))
	}
}

// putWords writes conditions in the words of ovs-ofctl, an entry of the list for each.
func putWords(d *yang.Data, m flow.Match) {
	for item := range strings.SplitSeq(m.String(), ",") {
		name, value, ok := strings.Cut(item, "=")
		if !ok {
			name, value, _ = strings.Cut(item, ":")
		}
		if value == "" { // a word for a protocol; the Ethernet type without mask has a leaf, so this is none of ours
			continue
		}
		d.Put("nagare-inventory:field").Leaf("name", name).Leaf("value", value)
	}
}

func (c *condition) put(d *yang.Data, t openflow.TLV) {
	put(d, c.path, c.text(t.Value, t.Mask))
	if c.mask != "" && t.Mask != nil {
		put(d, c.mask, c.text(t.Mask, nil))
	}
}

// The tag that is there, in the VLAN field (OpenFlow 1.3.5 section 7.2.3.7).
const vlanPresent = 0x1000

// plainVLAN reports whether a condition on the VLAN is one of those that the module has: a tag with an id, any tag, none.
func plainVLAN(t openflow.TLV) bool {
	if t.Mask != nil {
		return t.Uint() == vlanPresent && t.MaskUint() == vlanPresent
	}
	return t.Uint() == 0 || t.Uint() > vlanPresent
}

func putVLAN(d *yang.Data, t openflow.TLV) {
	id := within(within(d, "vlan-match"), "vlan-id")
	id.Leaf("vlan-id-present", strconv.FormatBool(t.Uint() != 0)).Leaf("vlan-id", strconv.FormatUint(t.Uint()&0xfff, 10))
}

// scene is what a match says of the protocols of packets, on which other fields depend.
type scene struct {
	eth, proto, type6, code6 int // each plus one; 0 if the match does not say
	tags                     int // that are there for certain
	tracked                  bool
}

func (s *scene) note(t openflow.TLV) {
	exact := int(t.Uint()) + 1
	switch {
	case t.Field == openflow.FieldVLANVID:
		if s.tags = 0; t.Uint()&t.MaskUint()&vlanPresent != 0 {
			s.tags = 1
		}
	case t.Field == openflow.FieldCTState:
		s.tracked = t.Uint()&t.MaskUint()&uint64(flow.CTTrk) != 0
	case t.Mask != nil:
	case t.Field == openflow.FieldEthType:
		s.eth = exact
	case t.Field == openflow.FieldIPProto:
		s.proto = exact
	case t.Field == openflow.FieldICMPv6Type:
		s.type6 = exact
	case t.Field == openflow.FieldICMPv6Code:
		s.code6 = exact
	}
}

// has reports whether a field with the prerequisite p may stand in the match.
func (s *scene) has(p openflow.Prereq) bool {
	eth, proto := s.eth-1, s.proto-1
	ip := eth == flow.EthIPv4 || eth == flow.EthIPv6
	switch p {
	case openflow.PreNone:
		return true
	case openflow.PreVLAN:
		return s.tags > 0
	case openflow.PreMPLS:
		return eth == 0x8847 || eth == 0x8848
	case openflow.PreARP:
		return eth == flow.EthARP || eth == 0x8035
	case openflow.PreIPv4:
		return eth == flow.EthIPv4
	case openflow.PreIPv6:
		return eth == flow.EthIPv6
	case openflow.PreIP:
		return ip
	case openflow.PreTCP:
		return ip && proto == flow.ProtoTCP
	case openflow.PreUDP:
		return ip && proto == flow.ProtoUDP
	case openflow.PreSCTP:
		return ip && proto == flow.ProtoSCTP
	case openflow.PreICMPv4:
		return eth == flow.EthIPv4 && proto == flow.ProtoICMP
	case openflow.PreICMPv6:
		return eth == flow.EthIPv6 && proto == flow.ProtoICMPv6
	case openflow.PreND, openflow.PreNDSolicit, openflow.PreNDAdvert:
		solicit, advert := s.type6-1 == 135, s.type6-1 == 136
		return eth == flow.EthIPv6 && proto == flow.ProtoICMPv6 && s.code6 <= 1 && // code 0, or any: Open vSwitch asks no more
			(solicit && p != openflow.PreNDAdvert || advert && p != openflow.PreNDSolicit)
	case openflow.PreNSH:
		return eth == 0x894f
	case openflow.PreCT:
		return s.tracked && ip
	}
	return false
}

// needs is a prerequisite in words.
var needs = map[openflow.Prereq]string{
	openflow.PreVLAN:      "vlan-match/vlan-id with vlan-id-present",
	openflow.PreMPLS:      "ethernet-match/ethernet-type 34887 or 34888",
	openflow.PreARP:       "ethernet-match/ethernet-type 2054",
	openflow.PreIPv4:      "ethernet-match/ethernet-type 2048",
	openflow.PreIPv6:      "ethernet-match/ethernet-type 34525",
	openflow.PreIP:        "ethernet-match/ethernet-type 2048 or 34525",
	openflow.PreTCP:       "ip-match/ip-protocol 6 and an ethernet-type of IP",
	openflow.PreUDP:       "ip-match/ip-protocol 17 and an ethernet-type of IP",
	openflow.PreSCTP:      "ip-match/ip-protocol 132 and an ethernet-type of IP",
	openflow.PreICMPv4:    "ip-match/ip-protocol 1 and ethernet-type 2048",
	openflow.PreICMPv6:    "ip-match/ip-protocol 58 and ethernet-type 34525",
	openflow.PreND:        "icmpv6-match/icmpv6-type 135 or 136",
	openflow.PreNDSolicit: "icmpv6-match/icmpv6-type 135",
	openflow.PreNDAdvert:  "icmpv6-match/icmpv6-type 136",
	openflow.PreNSH:       "ethernet-match/ethernet-type 35151",
	openflow.PreCT:        "the field ct_state with +trk and an ethernet-type of IP",
}
