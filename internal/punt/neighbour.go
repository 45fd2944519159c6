// SPDX-License-Identifier: Apache-2.0

package punt

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Hop is a next hop on an external network.
type Hop struct {
	Network model.NetworkID
	Addr    netip.Addr
}

// Key is the key of its record.
func (h Hop) Key() string { return model.NeighbourKey(h.Network, h.Addr) }

// Gateways are the next hops that a node needs as long as it speaks on external networks: the gateways of their subnets.
func Gateways(r store.Reader, node model.NodeID) (hops []Hop) {
	for id := range tables.NodeExternals.Members(r, string(node)) {
		for s := range tables.SubnetsByNetwork.By(r, id) {
			h := Hop{model.NetworkID(id), s.Gateway}
			if !s.Gateway.IsValid() || ours(r, h.Network, s.Gateway) {
				continue
			}
			if _, ok := speakerOf(r, node, h.Network, s.Gateway.Is4()); ok {
				hops = append(hops, h)
			}
		}
	}
	return hops
}

// Wanted is the next hop that a packet of kind PuntResolve lacks. The node is believed if it speaks on the network, and the
// address if it is on a subnet there. It may be one of ours that another node serves, which answers like anybody else; the node's
// own are known to its flows and never lacked.
func Wanted(r store.Reader, p *Packet) (h Hop, ok bool) {
	l, ok := linkByTag(r, p.Node, p.TunID)
	if !ok || p.Kind != pipeline.PuntResolve {
		return h, false
	}
	h = Hop{l.net, p.NextHop}
	return h, neighbourly(r, h)
}

// neighbourly reports whether there may be a host at an address: it is on a subnet, and not the subnet's own.
func neighbourly(r store.Reader, h Hop) bool {
	if !h.Addr.IsValid() || h.Addr.IsMulticast() || h.Addr.IsUnspecified() {
		return false
	}
	for s := range tables.SubnetsByNetwork.By(r, string(h.Network)) {
		if s.CIDR.Contains(h.Addr) {
			first := s.CIDR.Masked().Addr()
			return s.CIDR.Bits() >= h.Addr.BitLen()-1 || h.Addr != first && (!h.Addr.Is4() || h.Addr != last(s.CIDR))
		}
	}
	return false
}

// last is the broadcast address of an IPv4 subnet.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	v := binary.BigEndian.Uint32(b[:]) | uint32(uint64(1)<<(32-p.Bits())-1)
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, v)))
}

// Ask makes the question for a next hop's link address (RFC 826; RFC 4861 section 7.2.2), from an address by which the node
// speaks on the network. ok is false if it has none.
func Ask(r store.Reader, node model.NodeID, h Hop) (f Frame, ok bool) {
	l, ok := linkOf(r, node, h.Network)
	if !ok {
		return f, false
	}
	s, ok := speakerOf(r, node, h.Network, h.Addr.Is4())
	if !ok {
		return f, false
	}
	if h.Addr.Is4() {
		b := l.header(broadcast, s.mac, etherARP)
		return l.frame(appendARP(b, 1, s, model.MAC{}, h.Addr)), true
	}
	to := h.Addr.As16()
	group := netip.AddrFrom16([16]byte{0xff, 2, 11: 1, 12: 0xff, 13: to[13], 14: to[14], 15: to[15]})
	b := l.header(model.MAC{0x33, 0x33, 0xff, to[13], to[14], to[15]}, s.mac, etherIPv6)
	body := append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, to[:]...)
	return l.frame(appendND(b, s.addr, group, append(append(body, 1, 1), s.mac[:]...))), true
}

var broadcast = model.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// appendARP appends the body of ARP over Ethernet for IPv4.
func appendARP(b []byte, op byte, from speaker, to model.MAC, target netip.Addr) []byte {
	b = append(b, 0, 1, 8, 0, 6, 4, 0, op)
	b = append(append(b, from.mac[:]...), from.addr.AsSlice()...)
	return append(append(b, to[:]...), target.AsSlice()...)
}

// appendND appends IPv6 with a message of neighbour discovery, whose checksum it fills in.
func appendND(b []byte, from, to netip.Addr, msg []byte) []byte {
	binary.BigEndian.PutUint16(msg[2:], icmp6Sum(from, to, msg))
	b = append(b, 0x60, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(msg)))
	b = append(b, protoICMPv6, 255)
	return append(append(append(b, from.AsSlice()...), to.AsSlice()...), msg...)
}

// Learned is what a packet of kind PuntNeighbour says of a next hop. It is believed only if its node speaks on the network that
// it came in from by the wire; whether anybody asked is the caller's to know.
func Learned(r store.Reader, p *Packet) (h Hop, mac model.MAC, ok bool) {
	l, ok := linkByTag(r, p.Node, p.TunID)
	if !ok || p.Kind != pipeline.PuntNeighbour || p.Origin != pipeline.FromProvider || p.InPort != l.port || len(p.Data) < etherHeader {
		return h, mac, false
	}
	h.Network = l.net
	body := p.Data[etherHeader:]
	switch binary.BigEndian.Uint16(p.Data[12:]) {
	case etherARP:
		if len(body) < 28 || !bytes.Equal(body[:8], []byte{0, 1, 8, 0, 6, 4, 0, 2}) {
			return h, mac, false
		}
		h.Addr, mac = netip.AddrFrom4([4]byte(body[14:18])), model.MAC(body[8:14])
	case etherIPv6:
		if h.Addr, mac, ok = readAdvert(body); !ok {
			return h, mac, false
		}
	default:
		return h, mac, false
	}
	if mac.IsZero() || mac.IsMulticast() || !neighbourly(r, h) {
		return h, mac, false
	}
	if own, known := tables.PortsByAddress.First(r, tables.AddressKey(h.Network, h.Addr)); known && own.MAC != mac {
		return h, mac, false // a port of ours, or an instance on the external network: the store says which address it has
	}
	return h, mac, true
}

// readAdvert reads a neighbour advertisement with the target's link address (RFC 4861 sections 4.4 and 7.1.2).
func readAdvert(b []byte) (target netip.Addr, mac model.MAC, ok bool) {
	const fixed = 40
	if len(b) < fixed+24 || b[0]>>4 != 6 || b[6] != protoICMPv6 || b[7] != 255 {
		return target, mac, false
	}
	n := int(binary.BigEndian.Uint16(b[4:]))
	if n < 24 || fixed+n > len(b) {
		return target, mac, false
	}
	msg := b[fixed : fixed+n]
	if msg[0] != 136 || msg[1] != 0 || icmp6Sum(netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40])), msg) != 0 {
		return target, mac, false
	}
	target = netip.AddrFrom16([16]byte(msg[8:24]))
	for o := msg[24:]; len(o) >= 8; {
		size := 8 * int(o[1])
		if size == 0 || size > len(o) {
			return target, mac, false
		}
		if o[0] == 2 && size == 8 {
			return target, model.MAC(o[2:8]), true
		}
		o = o[size:]
	}
	return target, mac, false
}
