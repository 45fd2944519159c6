// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"encoding/binary"
	"net/netip"

	"nagare/openflow"
)

// Ethernet types and IP protocols that terms name.
const (
	EthIPv4 = 0x0800
	EthARP  = 0x0806
	EthIPv6 = 0x86dd
	EthLLDP = 0x88cc

	ProtoICMP   = 1
	ProtoTCP    = 6
	ProtoUDP    = 17
	ProtoICMPv6 = 58
	ProtoSCTP   = 132
)

// Term is one condition of a match, together with what OpenFlow demands beside
// it (its prerequisites). A term without a field is prerequisites only.
type Term struct {
	field *openflow.Field
	rank  int // place of the field in a canonical match
	kind  termKind

	eth      uint16 // ethernet type that the term needs, 0 = any
	proto    uint8  // IP protocol that the term needs
	hasProto bool
	softEth  bool // eth is only what to take if no other term says

	masked    bool
	val, mask [16]byte // field.Bytes long, left-aligned
}

// termKind tells the terms whose field depends on the protocol of the match.
type termKind uint8

const (
	plain termKind = iota
	tpSrc
	tpDst
	icmpType
	icmpCode
)

// rank is the place of each field in a canonical match.
var rank = func() map[*openflow.Field]int {
	m := make(map[*openflow.Field]int)
	for i, f := range openflow.Fields() {
		m[f] = i
	}
	return m
}()

// on is a term on a field, its value still zero. Package variables hold the
// common ones so that building a flow looks nothing up.
func on(f *openflow.Field) Term { return Term{field: f, rank: rank[f]} }

func (t Term) needs(eth uint16) Term { t.eth = eth; return t }

func (t Term) over(eth uint16, proto uint8) Term {
	t.eth, t.proto, t.hasProto = eth, proto, true
	return t
}

func (t Term) u8(v uint8) Term   { t.val[0] = v; return t }
func (t Term) u16(v uint16) Term { binary.BigEndian.PutUint16(t.val[:], v); return t }
func (t Term) u32(v uint32) Term { binary.BigEndian.PutUint32(t.val[:], v); return t }
func (t Term) u64(v uint64) Term { binary.BigEndian.PutUint64(t.val[:], v); return t }
func (t Term) mac(m [6]byte) Term {
	copy(t.val[:], m[:])
	return t
}

func (t Term) mask8(m uint8) Term {
	t.masked, t.mask[0] = true, m
	return t
}

func (t Term) mask16(m uint16) Term {
	t.masked = true
	binary.BigEndian.PutUint16(t.mask[:], m)
	return t
}

func (t Term) mask32(m uint32) Term {
	t.masked = true
	binary.BigEndian.PutUint32(t.mask[:], m)
	return t
}

func (t Term) mask64(m uint64) Term {
	t.masked = true
	binary.BigEndian.PutUint64(t.mask[:], m)
	return t
}

func (t Term) macMask(m [6]byte) Term {
	t.masked = true
	copy(t.mask[:], m[:])
	return t
}

func (t Term) addr(a netip.Addr) Term {
	copy(t.val[:], a.AsSlice())
	return t
}

func (t Term) prefix(p netip.Prefix) Term {
	t = t.addr(p.Addr())
	t.masked = true
	for i := range p.Bits() {
		t.mask[i/8] |= 0x80 >> (i % 8)
	}
	return t
}

var (
	onInPort   = on(openflow.FieldInPort)
	onEthType  = on(openflow.FieldEthType)
	onIPProto  = on(openflow.FieldIPProto)
	onEthSrc   = on(openflow.FieldEthSrc)
	onEthDst   = on(openflow.FieldEthDst)
	onVLANVID  = on(openflow.FieldVLANVID)
	onVLANPCP  = on(openflow.FieldVLANPCP)
	onTunID    = on(openflow.FieldTunID)
	onTunSrc   = on(openflow.FieldTunSrc)
	onTunDst   = on(openflow.FieldTunDst)
	onMetadata = on(openflow.FieldMetadata)
	onPktMark  = on(openflow.FieldPktMark)
	onConjID   = on(openflow.FieldConjID)

	onIPv4Src = on(openflow.FieldIPv4Src).needs(EthIPv4)
	onIPv4Dst = on(openflow.FieldIPv4Dst).needs(EthIPv4)
	onIPv6Src = on(openflow.FieldIPv6Src).needs(EthIPv6)
	onIPv6Dst = on(openflow.FieldIPv6Dst).needs(EthIPv6)
	onIPDSCP  = on(openflow.FieldIPDSCP)
	onIPTTL   = on(openflow.FieldIPTTL)

	onARPOp  = on(openflow.FieldARPOp).needs(EthARP)
	onARPSPA = on(openflow.FieldARPSPA).needs(EthARP)
	onARPTPA = on(openflow.FieldARPTPA).needs(EthARP)
	onARPSHA = on(openflow.FieldARPSHA).needs(EthARP)
	onARPTHA = on(openflow.FieldARPTHA).needs(EthARP)

	onNDTarget      = on(openflow.FieldNDTarget).over(EthIPv6, ProtoICMPv6)
	onNDSLL         = on(openflow.FieldNDSLL).over(EthIPv6, ProtoICMPv6)
	onNDTLL         = on(openflow.FieldNDTLL).over(EthIPv6, ProtoICMPv6)
	onNDReserved    = on(openflow.FieldNDReserved).over(EthIPv6, ProtoICMPv6)
	onNDOptionsType = on(openflow.FieldNDOptionsType).over(EthIPv6, ProtoICMPv6)

	onCTState = on(openflow.FieldCTState)
	onCTZone  = on(openflow.FieldCTZone)
	onCTMark  = on(openflow.FieldCTMark)
	onCTLabel = on(openflow.FieldCTLabel)
	onCTProto = on(openflow.FieldCTNwProto)
	onCTTPSrc = on(openflow.FieldCTTpSrc)
	onCTTPDst = on(openflow.FieldCTTpDst)
	onIPFrag  = on(openflow.FieldIPFrag)

	onReg = func() (t [16]Term) {
		for i := range t {
			t[i] = on(openflow.Reg(i))
		}
		return
	}()
)
