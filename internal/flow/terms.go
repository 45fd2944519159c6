// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"encoding/binary"
	"net/netip"

	"nagare/openflow"
)

// InPort matches the OpenFlow port on which the packet came in.
func InPort(p uint32) Term { return onInPort.u32(p) }

// EthType matches the Ethernet type.
func EthType(t uint16) Term { return Term{eth: t} }

// IP matches IPv4 packets.
func IP() Term { return Term{eth: EthIPv4} }

// IPv6 matches IPv6 packets.
func IPv6() Term { return Term{eth: EthIPv6} }

// ARP matches ARP packets.
func ARP() Term { return Term{eth: EthARP} }

// TCP matches TCP, over IPv4 unless another term of the match says IPv6.
func TCP() Term { return IPProto(ProtoTCP) }

// TCP6 matches TCP over IPv6.
func TCP6() Term { return Term{}.over(EthIPv6, ProtoTCP) }

// UDP matches UDP, over IPv4 unless another term of the match says IPv6.
func UDP() Term { return IPProto(ProtoUDP) }

// UDP6 matches UDP over IPv6.
func UDP6() Term { return Term{}.over(EthIPv6, ProtoUDP) }

// ICMP matches ICMP over IPv4.
func ICMP() Term { return Term{}.over(EthIPv4, ProtoICMP) }

// ICMPv6 matches ICMPv6.
func ICMPv6() Term { return Term{}.over(EthIPv6, ProtoICMPv6) }

// IPProto matches the IP protocol number, of IPv4 unless another term of the
// match says IPv6.
func IPProto(p uint8) Term {
	t := Term{}.over(EthIPv4, p)
	t.softEth = true
	return t
}

// EthSrc matches the source MAC address.
func EthSrc(m [6]byte) Term { return onEthSrc.mac(m) }

// EthSrcMasked matches the bits of the source MAC address set in mask.
func EthSrcMasked(m, mask [6]byte) Term { return onEthSrc.mac(m).macMask(mask) }

// EthDst matches the destination MAC address.
func EthDst(m [6]byte) Term { return onEthDst.mac(m) }

// EthDstMasked matches the bits of the destination MAC address set in mask.
func EthDstMasked(m, mask [6]byte) Term { return onEthDst.mac(m).macMask(mask) }

// Multicast matches broadcast and multicast frames: the group bit of the
// destination MAC address (IEEE 802-2014 section 8.2.2).
func Multicast() Term { return EthDstMasked([6]byte{1}, [6]byte{1}) }

// VLANVID matches frames with an 802.1Q tag of this VLAN id, 0..4095.
func VLANVID(vid uint16) Term { return onVLANVID.u16(vid&0xfff | 0x1000) }

// NoVLAN matches frames without an 802.1Q tag.
func NoVLAN() Term { return onVLANVID }

// AnyVLAN matches frames with any 802.1Q tag.
func AnyVLAN() Term { return onVLANVID.u16(0x1000).mask16(0x1000) }

// VLANPCP matches the priority of the 802.1Q tag.
func VLANPCP(p uint8) Term { return onVLANPCP.u8(p) }

// TunID matches the logical network id (pipeline registers).
func TunID(id uint64) Term { return onTunID.u64(id) }

// TunIDMasked matches the bits of the logical network id set in mask.
func TunIDMasked(id, mask uint64) Term { return onTunID.u64(id).mask64(mask) }

// TunSrc matches the IPv4 source address of the tunnel header.
func TunSrc(a netip.Addr) Term { return onTunSrc.addr(a.Unmap()) }

// TunDst matches the IPv4 destination address of the tunnel header.
func TunDst(a netip.Addr) Term { return onTunDst.addr(a.Unmap()) }

// Metadata matches the OpenFlow metadata field.
func Metadata(v uint64) Term { return onMetadata.u64(v) }

// MetadataMasked matches the bits of metadata set in mask.
func MetadataMasked(v, mask uint64) Term { return onMetadata.u64(v).mask64(mask) }

// PktMark matches the packet mark.
func PktMark(v uint32) Term { return onPktMark.u32(v) }

// Reg matches register n, 0..15.
func Reg(n int, v uint32) Term { return onReg[n].u32(v) }

// RegMasked matches the bits of register n set in mask.
func RegMasked(n int, v, mask uint32) Term { return onReg[n].u32(v).mask32(mask) }

// XXReg is four terms' worth of registers: reg(4n) holds the highest 32 bits of
// v. Open vSwitch dumps 128-bit registers that way with OpenFlow 1.3.
func XXReg(n int, v [16]byte) []Term {
	out := make([]Term, 4)
	for i := range out {
		out[i] = Reg(4*n+i, binary.BigEndian.Uint32(v[4*i:]))
	}
	return out
}

// IPSrc matches the source address of IPv4 or IPv6, by the prefix's family.
func IPSrc(p netip.Prefix) Term { return byFamily(p, onIPv4Src, onIPv6Src) }

// IPDst matches the destination address of IPv4 or IPv6, by the prefix's family.
func IPDst(p netip.Prefix) Term { return byFamily(p, onIPv4Dst, onIPv6Dst) }

func byFamily(p netip.Prefix, v4, v6 Term) Term {
	if p.Addr().Is4() {
		return v4.prefix(p)
	}
	return v6.prefix(p)
}

// IPDSCP matches the differentiated services code point, 0..63.
func IPDSCP(v uint8) Term { return onIPDSCP.u8(v) }

// IPTTL matches the time to live or hop limit.
func IPTTL(v uint8) Term { return onIPTTL.u8(v) }

// TPSrc matches the source port of the TCP, UDP or SCTP that another term names.
func TPSrc(p uint16) Term { return Term{kind: tpSrc}.u16(p) }

// TPSrcMasked matches the bits of the source port set in mask.
func TPSrcMasked(p, mask uint16) Term { return Term{kind: tpSrc}.u16(p).mask16(mask) }

// TPDst matches the destination port of the TCP, UDP or SCTP that another term names.
func TPDst(p uint16) Term { return Term{kind: tpDst}.u16(p) }

// TPDstMasked matches the bits of the destination port set in mask.
func TPDstMasked(p, mask uint16) Term { return Term{kind: tpDst}.u16(p).mask16(mask) }

// ICMPType matches the type of ICMP, or of ICMPv6 if another term says so.
func ICMPType(v uint8) Term { return Term{kind: icmpType}.u8(v) }

// ICMPCode matches the code of ICMP, or of ICMPv6 if another term says so.
func ICMPCode(v uint8) Term { return Term{kind: icmpCode}.u8(v) }

// ARPOp matches the ARP operation: 1 request, 2 reply.
func ARPOp(op uint16) Term { return onARPOp.u16(op) }

// ARPSPA matches the sender's protocol address.
func ARPSPA(a netip.Addr) Term { return onARPSPA.addr(a.Unmap()) }

// ARPTPA matches the target's protocol address.
func ARPTPA(a netip.Addr) Term { return onARPTPA.addr(a.Unmap()) }

// ARPSPAPrefix matches the sender's protocol address against a prefix.
func ARPSPAPrefix(p netip.Prefix) Term { return onARPSPA.prefix(p) }

// ARPTPAPrefix matches the target's protocol address against a prefix.
func ARPTPAPrefix(p netip.Prefix) Term { return onARPTPA.prefix(p) }

// ARPSHA matches the sender's hardware address.
func ARPSHA(m [6]byte) Term { return onARPSHA.mac(m) }

// ARPTHA matches the target's hardware address.
func ARPTHA(m [6]byte) Term { return onARPTHA.mac(m) }

// NDTarget matches the target of a neighbour solicitation or advertisement. The
// match must name the ICMPv6 type, 135 or 136, and code 0 beside it.
func NDTarget(a netip.Addr) Term { return onNDTarget.addr(a) }

// NDTargetPrefix matches the target against a prefix, under the same conditions.
func NDTargetPrefix(p netip.Prefix) Term { return onNDTarget.prefix(p) }

// NDSLL matches the source link-layer option of a solicitation (type 135).
func NDSLL(m [6]byte) Term { return onNDSLL.mac(m) }

// NDTLL matches the target link-layer option of an advertisement (type 136).
func NDTLL(m [6]byte) Term { return onNDTLL.mac(m) }

// NDOptionsType matches the type of the first neighbour discovery option.
func NDOptionsType(v uint8) Term { return onNDOptionsType.u8(v) }

// NDReserved matches the flags word of a neighbour discovery message.
func NDReserved(v uint32) Term { return onNDReserved.u32(v) }

// Bits of ct_state (ovs-fields(7)).
const (
	CTNew  uint32 = 0x01
	CTEst  uint32 = 0x02
	CTRel  uint32 = 0x04
	CTRpl  uint32 = 0x08
	CTInv  uint32 = 0x10
	CTTrk  uint32 = 0x20
	CTSNAT uint32 = 0x40
	CTDNAT uint32 = 0x80
)

// CTState matches the bits of the connection state set in mask:
// CTState(CTTrk|CTNew, CTTrk|CTNew|CTInv) is +trk+new-inv.
func CTState(v, mask uint32) Term { return onCTState.u32(v).mask32(mask) }

// CTZone matches the conntrack zone in which the packet was tracked.
func CTZone(z uint16) Term { return onCTZone.u16(z) }

// CTMark matches the bits of the connection's mark set in mask.
func CTMark(v, mask uint32) Term { return onCTMark.u32(v).mask32(mask) }

// CTLabel matches the bits of the connection's label set in mask, most
// significant byte first.
func CTLabel(v, mask [16]byte) Term {
	t := onCTLabel
	t.val, t.mask, t.masked = v, mask, true
	return t
}

// CTLabelBit matches one bit of the connection's label.
func CTLabelBit(n int, set bool) Term {
	var v, mask [16]byte
	mask[15-n/8] = 1 << (n % 8)
	if set {
		v = mask
	}
	return CTLabel(v, mask)
}

// ConjID matches packets that satisfied every clause of this conjunction.
func ConjID(id uint32) Term { return onConjID.u32(id) }

// Fragment matches fragments of IP packets, the first and the later ones.
func Fragment() Term { return onIPFrag.u8(1).mask8(1) }

// LaterFragment matches fragments of IP packets but the first.
func LaterFragment() Term { return onIPFrag.u8(3) }

// Whole matches IP packets that are no fragments.
func Whole() Term { return onIPFrag }

// CTProto, CTSrcPort and CTDstPort match the packet that opened the tracked packet's connection: its IP protocol and ports,
// of ICMP the type and the code. A fragment has these even where it does not have the ports themselves.
func CTProto(p uint8) Term { return onCTProto.u8(p) }

func CTSrcPort(p uint16) Term { return onCTTPSrc.u16(p) }

func CTDstPort(p uint16) Term { return onCTTPDst.u16(p) }

// CTSrcPortMasked and CTDstPortMasked match the bits set in mask.
func CTSrcPortMasked(p, mask uint16) Term { return onCTTPSrc.u16(p).mask16(mask) }

func CTDstPortMasked(p, mask uint16) Term { return onCTTPDst.u16(p).mask16(mask) }

// Is matches a whole field given by its wire bytes: what has no named term here.
// The bytes are right-aligned in the field.
func Is(f *openflow.Field, value []byte) Term { return on(f).bytes(value) }

// IsMasked matches the bits of a field set in mask, both as wire bytes.
func IsMasked(f *openflow.Field, value, mask []byte) Term {
	t := on(f).bytes(value)
	t.masked = true
	copy(t.mask[:f.Bytes], mask)
	return t
}

func (t Term) bytes(v []byte) Term {
	copy(t.val[:t.field.Bytes], v)
	return t
}
