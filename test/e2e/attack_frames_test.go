// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// bg outlives the tests: what cleans up after them must not end with them.
var bg = context.Background()

// Ethernet types and protocol numbers that the attacks use.
const (
	etherIP4  = 0x0800
	etherARP  = 0x0806
	etherRARP = 0x8035
	etherVLAN = 0x8100
	etherQinQ = 0x88a8
	etherIP6  = 0x86dd
	etherLLDP = 0x88cc

	protoHopByHop = 0
	protoICMP     = 1
	protoTCP      = 6
	protoUDP      = 17
	protoRouting  = 43
	protoFragment = 44
	protoICMP6    = 58
	protoDstOpts  = 60
)

func be16(v int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(v)) }
func be32(v int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(v)) }

// tagged is a frame with VLAN tags, the outermost first, each as type and number (IEEE 802.1Q).
func tagged(dst, src net.HardwareAddr, tags [][2]int, kind uint16, payload []byte) []byte {
	var b []byte
	for i, t := range tags {
		if i > 0 {
			b = append(b, be16(t[0])...)
		}
		b = append(b, be16(t[1])...)
	}
	return frame(dst, src, uint16(tags[0][0]), slices.Concat(b, be16(int(kind)), payload))
}

// ip4 is an IPv4 packet (RFC 791).
type ip4 struct {
	src, dst netip.Addr
	proto    byte
	id       int
	frag     int    // flags and offset in units of 8 octets, as on the wire
	options  []byte // a multiple of 4 octets
	length   int    // what the header says; 0: the truth
	words    int    // header length that the header says, in words; 0: the truth
	payload  []byte
}

const moreFragments = 0x2000

func (p ip4) bytes() []byte {
	words := 5 + len(p.options)/4
	b := make([]byte, 4*words)
	total := len(b) + len(p.payload)
	if p.length != 0 {
		total = p.length
	}
	copy(b[20:], p.options)
	if p.words != 0 {
		words = p.words
	}
	b[0] = 0x40 | byte(words)
	binary.BigEndian.PutUint16(b[2:], uint16(total))
	binary.BigEndian.PutUint16(b[4:], uint16(p.id))
	binary.BigEndian.PutUint16(b[6:], uint16(p.frag))
	b[8], b[9] = 64, p.proto
	src, dst := p.src.As4(), p.dst.As4()
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	binary.BigEndian.PutUint16(b[10:], checksum(b))
	return append(b, p.payload...)
}

// ip6 is an IPv6 packet (RFC 8200); next is the type of what payload begins with.
func ip6(src, dst netip.Addr, next byte, payload []byte) []byte {
	b := append([]byte{0x60, 0, 0, 0}, be16(len(payload))...)
	b = append(b, next, 255)
	return slices.Concat(b, src.AsSlice(), dst.AsSlice(), payload)
}

// ext6 is an extension header of whole 8 octets filled with padding options, before rest.
func ext6(next byte, rest []byte) []byte {
	return append([]byte{next, 0, 1, 4, 0, 0, 0, 0}, rest...)
}

// frag6 is a fragment header; offset in octets.
func frag6(next byte, offset int, more bool, id int, rest []byte) []byte {
	v := offset
	if more {
		v |= 1
	}
	return slices.Concat([]byte{next, 0}, be16(v), be32(id), rest)
}

// sum4 is the checksum over the pseudo-header and the segment.
func sum4(src, dst netip.Addr, proto byte, segment []byte) uint16 {
	pseudo := slices.Concat(src.AsSlice(), dst.AsSlice())
	if src.Is4() {
		pseudo = slices.Concat(pseudo, []byte{0, proto}, be16(len(segment)))
	} else {
		pseudo = slices.Concat(pseudo, be32(len(segment)), []byte{0, 0, 0, proto})
	}
	pseudo = append(pseudo, segment...)
	if len(pseudo)%2 != 0 {
		pseudo = append(pseudo, 0)
	}
	return checksum(pseudo)
}

// udp is a datagram (RFC 768) with its checksum.
func udp(src, dst netip.Addr, from, to int, data []byte) []byte {
	b := slices.Concat(be16(from), be16(to), be16(8+len(data)), []byte{0, 0}, data)
	binary.BigEndian.PutUint16(b[6:], sum4(src, dst, protoUDP, b))
	return b
}

// Flags of TCP.
const (
	tcpFIN = 0x01
	tcpSYN = 0x02
	tcpRST = 0x04
	tcpPSH = 0x08
	tcpACK = 0x10
)

// tcp is a segment (RFC 9293) without options.
func tcp(src, dst netip.Addr, from, to int, seq, ack uint32, flags byte, data []byte) []byte {
	b := slices.Concat(be16(from), be16(to), be32(int(seq)), be32(int(ack)), []byte{0x50, flags, 0x40, 0, 0, 0, 0, 0}, data)
	binary.BigEndian.PutUint16(b[16:], sum4(src, dst, protoTCP, b))
	return b
}

// udp4 is a whole IPv4 packet with a datagram.
func udp4(src, dst netip.Addr, from, to int, data []byte) []byte {
	return ip4{src: src, dst: dst, proto: protoUDP, payload: udp(src, dst, from, to, data)}.bytes()
}

// udp6 is a whole IPv6 packet with a datagram.
func udp6(src, dst netip.Addr, from, to int, data []byte) []byte {
	return ip6(src, dst, protoUDP, udp(src, dst, from, to, data))
}

// icmp6 is an ICMPv6 message (RFC 4443) for the addresses, with its checksum.
func icmp6(src, dst netip.Addr, kind, code byte, body ...[]byte) []byte {
	b := slices.Concat([]byte{kind, code, 0, 0}, slices.Concat(body...))
	binary.BigEndian.PutUint16(b[2:], sum4(src, dst, protoICMP6, b))
	return b
}

// llOption is a source (1) or target (2) link-layer address option (RFC 4861, 4.6.1).
func llOption(kind byte, m net.HardwareAddr) []byte { return append([]byte{kind, 1}, m...) }

// tokenOption carries a token in an option of neighbour discovery that nobody knows, which receivers ignore.
func tokenOption(token []byte) []byte {
	b := append([]byte{253, 2}, token...)
	return append(b, make([]byte, 16-len(b))...)
}

// arp is an ARP packet (RFC 826) for Ethernet and IPv4; the token goes to where the frame is padded.
func arp(op int, sha net.HardwareAddr, spa netip.Addr, tha net.HardwareAddr, tpa netip.Addr, token []byte) []byte {
	return slices.Concat([]byte{0, 1, 8, 0, 6, 4}, be16(op), sha, spa.AsSlice(), tha, tpa.AsSlice(), token)
}

// dhcp is a DHCPv4 message (RFC 2131) of the given type.
func dhcp(op, kind byte, xid uint32, chaddr net.HardwareAddr, giaddr netip.Addr, options ...[]byte) []byte {
	b := make([]byte, 236)
	b[0], b[1], b[2] = op, 1, 6
	binary.BigEndian.PutUint32(b[4:], xid)
	if giaddr.IsValid() {
		copy(b[24:], giaddr.AsSlice())
	}
	copy(b[28:], chaddr)
	b = append(b, 99, 130, 83, 99, 53, 1, kind)
	b = append(b, slices.Concat(options...)...)
	return append(b, 255)
}

// Types of DHCPv4 messages.
const (
	dhcpDiscover = 1
	dhcpOffer    = 2
	dhcpRequest  = 3
	dhcpAck      = 5
)

// multicast6 is the Ethernet address of an IPv6 group (RFC 2464, 7).
func multicast6(a netip.Addr) net.HardwareAddr {
	b := a.As16()
	return net.HardwareAddr{0x33, 0x33, b[12], b[13], b[14], b[15]}
}

var (
	allNodes   = netip.MustParseAddr("ff02::1")
	allRouters = netip.MustParseAddr("ff02::2")
	anyIP4     = netip.IPv4Unspecified()
	anyIP6     = netip.IPv6Unspecified()
	noMAC      = net.HardwareAddr{0, 0, 0, 0, 0, 0}
)

// hwaddr reads a MAC written in the source.
func hwaddr(text string) net.HardwareAddr {
	m, err := net.ParseMAC(text)
	if err != nil {
		panic(fmt.Sprintf("%q: %v", text, err))
	}
	return m
}
