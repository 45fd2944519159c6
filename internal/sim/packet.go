// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"nagare/internal/flow"
	"nagare/openflow"
)

// Packet is a packet's headers together with the registers and other metadata
// that a switch keeps while it forwards it. It is a value: copies share nothing.
type Packet struct {
	b [packetSize]byte

	// Length is that of the Ethernet frame in octets, without VLAN tags and check sequence; 0: as short as its headers.
	Length int

	// The connection that the datapath last found for the packet. It outlives
	// the ct fields, which a flow sees only behind ct(table=...).
	conn  *conn
	zone  uint16
	state uint32
}

const packetSize = 640

// place is where a field's bytes are in a Packet. Fields that share storage in
// a switch share it here: registers of all widths, ports of all protocols.
var place = layout()

func layout() map[*openflow.Field]int {
	m := map[*openflow.Field]int{}
	next := 0
	take := func(n int) int { next += n; return next - n }
	regs := take(64)
	for i := range 16 {
		m[openflow.Reg(i)] = regs + 4*i
	}
	for i := range 8 {
		m[openflow.XReg(i)] = regs + 8*i
	}
	for i := range 4 {
		m[openflow.XXReg(i)] = regs + 16*i
	}
	src, dst := take(2), take(2)
	m[openflow.FieldTCPSrc], m[openflow.FieldUDPSrc], m[openflow.FieldSCTPSrc] = src, src, src
	m[openflow.FieldTCPDst], m[openflow.FieldUDPDst], m[openflow.FieldSCTPDst] = dst, dst, dst
	for _, f := range openflow.Fields() {
		if _, ok := m[f]; !ok && f.Bytes > 0 && !virtual(f) && !unmodelled(f) {
			m[f] = take(f.Bytes)
		}
	}
	innerTag = take(3)
	if next > packetSize {
		panic(fmt.Sprintf("sim: packet needs %d bytes", next))
	}
	return m
}

// innerTag is where the second VLAN tag is: vid with the presence bit, priority.
// No match sees it.
var innerTag int

// virtual are the fields that are parts of others.
func virtual(f *openflow.Field) bool {
	return f == openflow.FieldInPort16 || f == openflow.FieldVLANTCI || f == openflow.FieldIPTOS
}

// unmodelled are registers that the switches in use do not have.
func unmodelled(f *openflow.Field) bool {
	for i := 16; i < 32; i++ {
		if f == openflow.Reg(i) {
			return true
		}
	}
	for i := 8; i < 16; i++ {
		if f == openflow.XReg(i) {
			return true
		}
	}
	return false
}

// New is the packet that has the values of the terms, zero elsewhere. Masked
// terms set the bits of their mask.
func New(terms ...flow.Term) Packet { return Of(flow.M(terms...)) }

// Parse is the packet of a match in ovs-ofctl's syntax, as ofproto/trace takes it.
func Parse(text string) (Packet, error) {
	m, err := flow.ParseMatch(text)
	return Of(m), err
}

// Of is the packet that has the values of m, zero elsewhere.
func Of(m flow.Match) (p Packet) {
	for t := range m.Fields() {
		if ofs, ok := place[t.Field]; ok {
			copy(p.b[ofs:], t.Value)
		}
	}
	if p.Uint(openflow.FieldIPTTL) == 0 && p.isIP() {
		p.SetUint(openflow.FieldIPTTL, 64)
	}
	return p
}

// bytes is the storage of f inside p; nil for fields that are not modelled.
func (p *Packet) bytes(f *openflow.Field) []byte {
	ofs, ok := place[f]
	if !ok {
		return nil
	}
	return p.b[ofs : ofs+f.Bytes]
}

// get is the value of any modelled field, virtual ones included.
func (p *Packet) get(f *openflow.Field) []byte {
	switch f {
	case openflow.FieldInPort16:
		v := p.InPort()
		if v > 0xffff && v < openflow.PortMax {
			v = 0xffff
		}
		return binary.BigEndian.AppendUint16(nil, uint16(v))
	case openflow.FieldVLANTCI:
		return binary.BigEndian.AppendUint16(nil, uint16(p.Uint(openflow.FieldVLANVID)|p.Uint(openflow.FieldVLANPCP)<<13))
	case openflow.FieldIPTOS:
		return []byte{byte(p.Uint(openflow.FieldIPDSCP)<<2 | p.Uint(openflow.FieldIPECN))}
	}
	return p.bytes(f)
}

// put sets any modelled field from its bytes; false if it is not modelled.
func (p *Packet) put(f *openflow.Field, v []byte) bool {
	switch f {
	case openflow.FieldInPort16:
		n := uint32(binary.BigEndian.Uint16(v))
		if n >= 0xff00 {
			n |= 0xffff0000
		}
		p.SetUint(openflow.FieldInPort, uint64(n))
		return true
	case openflow.FieldVLANTCI:
		tci := uint64(binary.BigEndian.Uint16(v))
		p.SetUint(openflow.FieldVLANVID, tci&0x1fff)
		p.SetUint(openflow.FieldVLANPCP, tci>>13)
		return true
	case openflow.FieldIPTOS:
		p.SetUint(openflow.FieldIPDSCP, uint64(v[0]>>2))
		p.SetUint(openflow.FieldIPECN, uint64(v[0]&3))
		return true
	}
	b := p.bytes(f)
	copy(b, v)
	return b != nil
}

// octets is the length of the frame with its tags.
func (p *Packet) octets() int {
	n := p.Length
	if p.bytes(openflow.FieldVLANVID)[0]&0x10 != 0 {
		n += 4
	}
	if p.inner()[0]&0x10 != 0 {
		n += 4
	}
	return n
}

func (p *Packet) inner() []byte { return p.b[innerTag : innerTag+3] }

// pushTag puts a tag of zeros before the others; false if there are two already.
func (p *Packet) pushTag() bool {
	in, vid, pcp := p.inner(), p.bytes(openflow.FieldVLANVID), p.bytes(openflow.FieldVLANPCP)
	if in[0]&0x10 != 0 {
		return false
	}
	if vid[0]&0x10 != 0 {
		copy(in, vid)
		in[2] = pcp[0]
	}
	vid[0], vid[1], pcp[0] = 0x10, 0, 0
	return true
}

// popTag takes the outer tag off, if there is one.
func (p *Packet) popTag() {
	in := p.inner()
	copy(p.bytes(openflow.FieldVLANVID), in[:2])
	copy(p.bytes(openflow.FieldVLANPCP), in[2:])
	clear(in)
}

// Uint is the value of a field of up to 64 bits.
func (p *Packet) Uint(f *openflow.Field) (v uint64) {
	for _, c := range p.bytes(f) {
		v = v<<8 | uint64(c)
	}
	return v
}

// SetUint sets a field to a number.
func (p *Packet) SetUint(f *openflow.Field, v uint64) {
	b := p.bytes(f)
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = byte(v)
		v >>= 8
	}
}

// Addr is the value of an address field.
func (p *Packet) Addr(f *openflow.Field) netip.Addr {
	a, _ := netip.AddrFromSlice(p.bytes(f))
	return a
}

// Bytes is a copy of a field's value.
func (p *Packet) Bytes(f *openflow.Field) []byte { return append([]byte(nil), p.bytes(f)...) }

// SetBytes sets a field of an address or a number to its bytes.
func (p *Packet) SetBytes(f *openflow.Field, v []byte) { p.put(f, v) }

// InPort is the port by which the packet came in.
func (p *Packet) InPort() uint32 { return uint32(p.Uint(openflow.FieldInPort)) }

func (p *Packet) isIP() bool {
	t := p.Uint(openflow.FieldEthType)
	return t == flow.EthIPv4 || t == flow.EthIPv6
}

// headers are the fields that travel on a wire.
var headers = []*openflow.Field{
	openflow.FieldEthDst, openflow.FieldEthSrc, openflow.FieldEthType, openflow.FieldVLANVID, openflow.FieldVLANPCP,
	openflow.FieldMPLSLabel, openflow.FieldMPLSTC, openflow.FieldMPLSBOS, openflow.FieldMPLSTTL,
	openflow.FieldIPProto, openflow.FieldIPv4Src, openflow.FieldIPv4Dst, openflow.FieldIPv6Src, openflow.FieldIPv6Dst, openflow.FieldIPv6Label,
	openflow.FieldIPTTL, openflow.FieldIPDSCP, openflow.FieldIPECN, openflow.FieldIPFrag,
	openflow.FieldARPOp, openflow.FieldARPSPA, openflow.FieldARPTPA, openflow.FieldARPSHA, openflow.FieldARPTHA,
	openflow.FieldTCPSrc, openflow.FieldTCPDst, openflow.FieldTCPFlags, openflow.FieldICMPType, openflow.FieldICMPCode,
	openflow.FieldICMPv6Type, openflow.FieldICMPv6Code, openflow.FieldNDTarget, openflow.FieldNDSLL, openflow.FieldNDTLL,
	openflow.FieldNDReserved, openflow.FieldNDOptionsType,
}

// Frame is the packet as it travels on a wire: headers only, no metadata.
func (p Packet) Frame() (out Packet) {
	for _, f := range headers {
		copy(out.bytes(f), p.bytes(f))
	}
	copy(out.inner(), p.inner())
	out.Length = p.Length
	return out
}

// String is the packet as a match: what is not zero, as ovs-ofctl would print it.
func (p Packet) String() string {
	var b []byte
	seen := map[int]bool{}
	for _, f := range openflow.Fields() {
		ofs, ok := place[f]
		if !ok || seen[ofs] || !p.has(f) {
			continue
		}
		v := p.bytes(f)
		zero := true
		for _, c := range v {
			zero = zero && c == 0
		}
		if zero && f != openflow.FieldTCPSrc && f != openflow.FieldTCPDst {
			continue
		}
		seen[ofs] = true
		b = openflow.AppendField(b, f, v, nil)
	}
	m, err := flow.Wire(b)
	if err != nil {
		return fmt.Sprintf("packet %v", err)
	}
	return m.String()
}

// Traceable is String with the names of ports and types that ofproto/trace knows: those of the packet's own protocol.
func (p Packet) Traceable() string {
	s := "," + p.String()
	proto := map[uint64]string{flow.ProtoTCP: "tcp", flow.ProtoUDP: "udp", flow.ProtoSCTP: "sctp"}[p.Uint(openflow.FieldIPProto)]
	for _, d := range []string{"src", "dst"} {
		s = strings.Replace(s, ",tp_"+d+"=", ","+proto+"_"+d+"=", 1)
	}
	if p.Uint(openflow.FieldIPProto) == flow.ProtoICMPv6 {
		s = strings.Replace(s, ",icmp_type=", ",icmpv6_type=", 1)
		s = strings.Replace(s, ",icmp_code=", ",icmpv6_code=", 1)
	}
	return s[1:]
}

// has reports whether f means anything in p, by its protocol.
func (p *Packet) has(f *openflow.Field) bool {
	eth, proto := p.Uint(openflow.FieldEthType), p.Uint(openflow.FieldIPProto)
	switch f.Prereq {
	case openflow.PreARP:
		return eth == flow.EthARP || eth == 0x8035
	case openflow.PreIPv4:
		return eth == flow.EthIPv4
	case openflow.PreIPv6:
		return eth == flow.EthIPv6
	case openflow.PreIP:
		return p.isIP()
	case openflow.PreTCP:
		return p.isIP() && proto == flow.ProtoTCP
	case openflow.PreUDP:
		return p.isIP() && proto == flow.ProtoUDP
	case openflow.PreSCTP:
		return p.isIP() && proto == flow.ProtoSCTP
	case openflow.PreICMPv4:
		return eth == flow.EthIPv4 && proto == flow.ProtoICMP
	case openflow.PreICMPv6, openflow.PreND, openflow.PreNDSolicit, openflow.PreNDAdvert:
		return eth == flow.EthIPv6 && proto == flow.ProtoICMPv6
	case openflow.PreMPLS:
		return eth == 0x8847 || eth == 0x8848
	case openflow.PreVLAN:
		return p.Uint(openflow.FieldVLANVID)&0x1000 != 0
	case openflow.PreNSH:
		return false
	}
	return f != openflow.FieldIPFrag
}
