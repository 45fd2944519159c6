// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"encoding/hex"
	"slices"
	"strconv"

	"nagare/openflow"
)

// String is the match as ovs-ofctl --no-names prints it, without a trailing
// comma; empty for a match of everything.
func (m Match) String() string { return string(m.appendText(nil)) }

// Places of the two forms in which a dump shows the Ethernet type and the IP
// protocol: one word such as "udp6", or fields of their own.
var (
	placeOf     = map[*openflow.Field]int{}
	wordPlace   int
	typePlace   int
	protoPlace  int
	unknownLast int
)

// The order in which ovs-ofctl prints a match (Open vSwitch 3.1).
func init() {
	n := 0
	put := func(fs ...*openflow.Field) {
		for _, f := range fs {
			n++
			placeOf[f] = n
		}
	}
	mark := func() int { n++; return n }
	put(openflow.FieldPktMark, openflow.FieldRecircID, openflow.FieldDPHash, openflow.FieldConjID, openflow.FieldActsetOutput,
		openflow.FieldCTState, openflow.FieldCTZone, openflow.FieldCTMark, openflow.FieldCTLabel,
		openflow.FieldCTNwSrc, openflow.FieldCTIPv6Src, openflow.FieldCTNwDst, openflow.FieldCTIPv6Dst,
		openflow.FieldCTNwProto, openflow.FieldCTTpSrc, openflow.FieldCTTpDst, openflow.FieldPacketType)
	wordPlace = mark()
	for i := range 32 {
		put(openflow.Reg(i))
	}
	put(openflow.FieldTunID, openflow.FieldTunSrc, openflow.FieldTunDst, openflow.FieldTunIPv6Src, openflow.FieldTunIPv6Dst,
		openflow.FieldTunGBPID, openflow.FieldTunGBPFlags, openflow.FieldTunFlags, openflow.FieldMetadata, openflow.FieldInPort,
		openflow.FieldVLANVID, openflow.FieldVLANPCP, openflow.FieldEthSrc, openflow.FieldEthDst)
	typePlace = mark()
	put(openflow.FieldIPv6Src, openflow.FieldIPv6Dst, openflow.FieldIPv6Label, openflow.FieldARPSPA, openflow.FieldARPTPA,
		openflow.FieldIPv4Src, openflow.FieldIPv4Dst)
	protoPlace = mark()
	put(openflow.FieldARPOp, openflow.FieldARPSHA, openflow.FieldARPTHA,
		openflow.FieldIPDSCP, openflow.FieldIPECN, openflow.FieldIPTTL,
		openflow.FieldMPLSLabel, openflow.FieldMPLSTC, openflow.FieldMPLSTTL, openflow.FieldMPLSBOS, openflow.FieldIPFrag,
		openflow.FieldICMPType, openflow.FieldICMPCode, openflow.FieldICMPv6Type, openflow.FieldICMPv6Code,
		openflow.FieldNDTarget, openflow.FieldNDSLL, openflow.FieldNDTLL, openflow.FieldNDReserved, openflow.FieldNDOptionsType,
		openflow.FieldTCPSrc, openflow.FieldTCPDst, openflow.FieldUDPSrc, openflow.FieldUDPDst,
		openflow.FieldSCTPSrc, openflow.FieldSCTPDst, openflow.FieldTCPFlags)
	unknownLast = mark()
}

// matchName is a field's name in a match, where it differs from the one in actions.
var matchName = map[*openflow.Field]string{
	openflow.FieldEthType:    "dl_type",
	openflow.FieldIPProto:    "nw_proto",
	openflow.FieldEthSrc:     "dl_src",
	openflow.FieldEthDst:     "dl_dst",
	openflow.FieldIPv4Src:    "nw_src",
	openflow.FieldIPv4Dst:    "nw_dst",
	openflow.FieldIPDSCP:     "nw_tos",
	openflow.FieldIPFrag:     "nw_frag",
	openflow.FieldTCPSrc:     "tp_src",
	openflow.FieldTCPDst:     "tp_dst",
	openflow.FieldUDPSrc:     "tp_src",
	openflow.FieldUDPDst:     "tp_dst",
	openflow.FieldSCTPSrc:    "tp_src",
	openflow.FieldSCTPDst:    "tp_dst",
	openflow.FieldICMPv6Type: "icmp_type",
	openflow.FieldICMPv6Code: "icmp_code",
}

type placed struct {
	place int
	tlv   openflow.TLV
}

func (m Match) appendText(b []byte) []byte {
	var buf [24]placed
	ts := buf[:0]
	var eth, proto, vid, pcp *openflow.TLV
	for t := range m.Fields() {
		place := unknownLast
		switch {
		case t.Field == openflow.FieldEthType && t.Mask == nil:
			eth, place = &t, typePlace
		case t.Field == openflow.FieldIPProto && t.Mask == nil:
			proto, place = &t, protoPlace
		case t.Field == openflow.FieldVLANVID:
			vid, place = &t, placeOf[t.Field]
		case t.Field == openflow.FieldVLANPCP:
			pcp, place = &t, placeOf[openflow.FieldVLANVID]
		default:
			if p, ok := placeOf[t.Field]; ok {
				place = p
			}
		}
		ts = append(ts, placed{place, t})
	}
	if eth != nil {
		if word, whole := protocolWord(eth, proto); word != "" {
			ts = slices.DeleteFunc(ts, func(p placed) bool {
				return p.tlv.Field == openflow.FieldEthType || whole && p.tlv.Field == openflow.FieldIPProto
			})
			ts = append(ts, placed{wordPlace, openflow.TLV{Field: openflow.FieldEthType, Value: []byte(word)}})
		}
	}
	slices.SortStableFunc(ts, func(a, b placed) int { return a.place - b.place })
	vlan := false
	for i, p := range ts {
		if p.tlv.Field == openflow.FieldVLANVID || p.tlv.Field == openflow.FieldVLANPCP {
			if !vlan {
				b = appendSep(b, i)
				b = appendVLAN(b, vid, pcp)
			}
			vlan = true
			continue
		}
		b = appendSep(b, i)
		if p.place == wordPlace {
			b = append(b, p.tlv.Value...)
			continue
		}
		b = appendCondition(b, p.tlv)
	}
	return b
}

func appendSep(b []byte, i int) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	return b
}

// protocolWord is the keyword for an Ethernet type and IP protocol, and whether
// it also stands for the protocol.
func protocolWord(eth, proto *openflow.TLV) (word string, whole bool) {
	p := -1
	if proto != nil {
		p = int(proto.Uint())
	}
	for _, w := range protocolWords {
		if uint64(w.eth) == eth.Uint() && (w.proto == -1 || w.proto == p) {
			return w.word, w.proto != -1
		}
	}
	return "", false
}

// protocolWords are the keywords of ovs-ofctl; -1 is any protocol, listed last.
var protocolWords = []struct {
	word  string
	eth   uint16
	proto int
}{
	{"tcp", EthIPv4, ProtoTCP}, {"udp", EthIPv4, ProtoUDP}, {"icmp", EthIPv4, ProtoICMP}, {"sctp", EthIPv4, ProtoSCTP}, {"ip", EthIPv4, -1},
	{"tcp6", EthIPv6, ProtoTCP}, {"udp6", EthIPv6, ProtoUDP}, {"icmp6", EthIPv6, ProtoICMPv6}, {"sctp6", EthIPv6, ProtoSCTP}, {"ipv6", EthIPv6, -1},
	{"arp", EthARP, -1}, {"rarp", 0x8035, -1}, {"mpls", 0x8847, -1}, {"mplsm", 0x8848, -1},
}

// appendVLAN prints the tag conditions: dl_vlan and dl_vlan_pcp where the tag
// must be there and each part is exact or free, vlan_tci otherwise.
func appendVLAN(b []byte, vid, pcp *openflow.TLV) []byte {
	var v, m uint64
	if vid != nil {
		v, m = vid.Uint(), vid.MaskUint()&0x1fff
	}
	if pcp != nil {
		v, m = v|pcp.Uint()<<13, m|0xe000
	}
	vm, pm := m&0xfff, m&0xe000
	if m&0x1000 != 0 && v&0x1000 != 0 && (vm == 0 || vm == 0xfff) && (vm != 0 || pm != 0) {
		if vm != 0 {
			b = append(b, "dl_vlan="...)
			b = strconv.AppendUint(b, v&0xfff, 10)
			if pm != 0 {
				b = append(b, ',')
			}
		}
		if pm != 0 {
			b = append(b, "dl_vlan_pcp="...)
			b = strconv.AppendUint(b, v>>13, 10)
		}
		return b
	}
	b = append(b, "vlan_tci="...)
	b = appendHexPad(b, v, 4)
	if m != 0xffff {
		b = append(b, '/')
		b = appendHexPad(b, m, 4)
	}
	return b
}

// appendCondition prints name=value[/mask].
func appendCondition(b []byte, t openflow.TLV) []byte {
	f := t.Field
	if f == nil {
		b = append(b, "oxm:"...)
		return hex.AppendEncode(b, t.Raw)
	}
	name := f.Name
	if n, ok := matchName[f]; ok {
		name = n
	}
	b = append(b, name...)
	b = append(b, '=')
	switch f {
	case openflow.FieldInPort, openflow.FieldActsetOutput:
		return appendPort(b, uint32(t.Uint()))
	case openflow.FieldEthType:
		return appendHexPad(b, t.Uint(), 4)
	case openflow.FieldIPDSCP:
		return strconv.AppendUint(b, t.Uint()<<2, 10)
	case openflow.FieldIPFrag:
		return append(b, fragName(t.Uint(), t.MaskUint()&3)...)
	case openflow.FieldIPv6Label:
		b = appendHexPad(b, t.Uint(), 5)
		if t.Mask != nil {
			b = append(b, '/')
			b = appendHexPad(b, t.MaskUint(), 5)
		}
		return b
	case openflow.FieldCTState:
		return appendFlags(b, ctStateNames, t.Uint(), t.MaskUint()&0xff, 0xff)
	case openflow.FieldTCPFlags:
		return appendFlags(b, tcpFlagNames, t.Uint(), t.MaskUint()&0xfff, 0xfff)
	case openflow.FieldTunFlags:
		return appendFlags(b, tunFlagNames, t.Uint(), t.MaskUint()&1, 1<<16)
	case openflow.FieldCTLabel:
		return appendWide(b, t.Value, t.Mask)
	}
	switch {
	case f.Bytes == 0 || f.Bytes > 8 && !isIPv6(f):
		b = append(b, "0x"...)
		b = hex.AppendEncode(b, t.Value)
		if t.Mask != nil {
			b = append(b, "/0x"...)
			b = hex.AppendEncode(b, t.Mask)
		}
		return b
	case isMAC(f):
		b = appendMAC(b, t.Value)
		if t.Mask != nil {
			b = append(b, '/')
			b = appendMAC(b, t.Mask)
		}
		return b
	case isIPv4(f), isIPv6(f):
		return appendAddrMask(b, t.Value, t.Mask)
	case t.Mask == nil && !isHex(f):
		return strconv.AppendUint(b, t.Uint(), 10)
	case f.Bytes <= 2:
		b = append(b, "0x"...)
		b = strconv.AppendUint(b, t.Uint(), 16)
		if t.Mask != nil {
			b = append(b, "/0x"...)
			b = strconv.AppendUint(b, t.MaskUint(), 16)
		}
		return b
	}
	b = appendHex(b, t.Uint())
	if t.Mask != nil {
		b = append(b, '/')
		b = appendHex(b, t.MaskUint())
	}
	return b
}
