// SPDX-License-Identifier: Apache-2.0

package punt

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/netvirt"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
)

const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58

	protoFragment = 44 // RFC 8200 section 4.5

	maxError4 = 576  // of an ICMP error with what it is about, RFC 1812 section 4.3.2.3
	maxError6 = 1280 // RFC 4443 section 2.4 (c)
)

// problem is what a router has with a packet, as ICMP says it.
type problem struct {
	type4, code4, type6 byte
	rest                uint32 // after the checksum
}

// expired is a time to live that has ended (RFC 792, RFC 4443 section 3.3).
var expired = problem{type4: 11, type6: 3}

// tooLarge is a packet that is larger than the network ahead takes (RFC 1191 section 4, RFC 4443 section 3.2). The node says how
// much that is; ok is false if it cannot be.
func tooLarge(p *Packet) (why problem, ok bool) {
	least := 68
	if len(p.Data) >= etherHeader && binary.BigEndian.Uint16(p.Data[12:]) == etherIPv6 {
		least = 1280
	}
	return problem{3, 4, 2, uint32(p.MTU)}, p.MTU >= least && p.MTU < len(p.Data)-etherHeader && p.MTU < 1<<16
}

// trouble tells the sender of a packet that a router does not forward why, from the router's address on the network that the
// packet came from. A packet is believed to come from a port that is bound to its node, or, from the wire, to an address that the
// node has there.
func trouble(r store.Reader, p *Packet, why problem) []byte {
	if len(p.Data) < etherHeader || p.Data[6]&1 != 0 {
		return nil
	}
	switch p.Origin {
	case pipeline.FromPort:
		return fromPort(r, p, why)
	case pipeline.FromProvider:
		return fromWire(r, p, why)
	}
	return nil
}

func fromPort(r store.Reader, p *Packet, why problem) []byte {
	port, ok := alloc.PortsByKey.First(r, alloc.KeyText(p.Port))
	if !ok || !port.LivesOn(p.Node) || !port.AdminStateUp {
		return nil
	}
	dst, src := model.MAC(p.Data[:6]), model.MAC(p.Data[6:12])
	if by, ok := tables.PortsByMAC.First(r, tables.PairMAC(port.Network, src)); !onNetwork(r, port.Network, p.TunID) || ok && by.IsRouterInterface() {
		return passedOn(r, p, &port, why)
	}
	for rif := range tables.RouterPortsByNetwork.By(r, string(port.Network)) {
		rt, _ := tables.Routers.Get(r, rif.Router)
		if rif.MAC != dst || !rif.IsRouterInterface() || !rif.AdminStateUp || !rt.AdminStateUp {
			continue
		}
		return report(p.Data, why, func(src netip.Addr) netip.Addr { return facing(r, &rif, src) }, nil, 0)
	}
	return nil
}

func onNetwork(r store.Reader, id model.NetworkID, tag uint64) bool {
	n, _ := tables.Networks.Get(r, id)
	t, ok := netvirt.LogicalNetwork(&n)
	return ok && t == tag
}

// passedOn tells a port of a packet that the router of its network passed on to another, which has the problem: from the other's
// address, by a frame of the router that is next to the port.
func passedOn(r store.Reader, p *Packet, port *model.Port, why problem) []byte {
	var near []model.Port
	var starts []model.RouterID
	for rif := range tables.RouterPortsByNetwork.By(r, string(port.Network)) {
		if rif.IsRouterInterface() && rif.AdminStateUp {
			near, starts = append(near, rif), append(starts, rif.Router)
		}
	}
	dst, src := model.MAC(p.Data[:6]), model.MAC(p.Data[6:12])
	for _, id := range tables.RoutersFrom(r, starts...) {
		for rif := range tables.RouterPorts.By(r, string(id)) {
			rt, _ := tables.Routers.Get(r, id)
			if rif.MAC != dst || !rif.IsRouterInterface() || !rif.AdminStateUp || !rt.AdminStateUp || !onNetwork(r, rif.Network, p.TunID) {
				continue
			}
			by := near[0]
			if q, ok := tables.PortsByMAC.First(r, tables.PairMAC(rif.Network, src)); ok { // the router before, mostly the one next to the port
				if i := slices.IndexFunc(near, func(n model.Port) bool { return n.Router == q.Router }); i >= 0 {
					by = near[i]
				}
			}
			frame := slices.Concat(by.MAC[:], port.MAC[:], p.Data[12:])
			return report(frame, why, func(src netip.Addr) netip.Addr { return facing(r, &rif, src) }, nil, 0)
		}
	}
	return nil
}

// facing is a port's address on the subnet of another, or else any of its family.
func facing(r store.Reader, p *model.Port, other netip.Addr) (a netip.Addr) {
	for _, f := range p.FixedIPs {
		if f.Addr.Is4() != other.Is4() {
			continue
		}
		if s, ok := tables.Subnets.Get(r, f.Subnet); ok && s.CIDR.Contains(other) {
			return f.Addr
		}
		if !a.IsValid() {
			a = f.Addr
		}
	}
	return a
}

func fromWire(r store.Reader, p *Packet, why problem) []byte {
	l, ok := linkByTag(r, p.Node, p.TunID)
	if !ok || p.InPort != l.port {
		return nil
	}
	own, ok := tables.PortsByMAC.First(r, string(l.net)+"|"+model.MAC(p.Data[:6]).String())
	if !ok {
		return nil
	}
	var outer [2]netip.Addr // what the packet was addressed to by its sender, and in p
	router := own.Router
	switch own.DeviceOwner {
	case model.OwnerFloatingIP:
		f, ok := tables.FloatingIPs.Get(r, model.FloatingIPID(own.DeviceID))
		if at, served := tables.Serving(r, &f); !ok || !served || at != p.Node {
			return nil
		}
		if router, outer = f.Router, [2]netip.Addr{f.Addr, f.Fixed}; p.Kind == pipeline.PuntTooLarge { // before translation
			outer[1] = f.Addr
		}
	case model.OwnerRouterGateway:
		g, _ := tables.Gateways.Get(r, router)
		rt, _ := tables.Routers.Get(r, router)
		if g.Node != p.Node {
			return nil
		}
		if rt.EnableSNAT && binary.BigEndian.Uint16(p.Data[12:]) == etherIPv4 {
			if p.Kind != pipeline.PuntTooLarge { // whose answer it was that had come so far, translation has made unknowable
				return nil
			}
			for _, f := range own.FixedIPs {
				if f.Addr.Is4() {
					outer = [2]netip.Addr{f.Addr, f.Addr}
				}
			}
		}
	default:
		return nil
	}
	gw, ok := gatewayPort(r, router)
	if !ok {
		return nil
	}
	return report(p.Data, why, func(src netip.Addr) netip.Addr { return facing(r, &gw, src) }, func(inner []byte) bool {
		return !outer[0].IsValid() || untranslate(inner, outer[1], outer[0])
	}, l.vid)
}

// report makes the error about a frame, from the address that from gives for its sender. restore gives what is quoted of the
// packet the form that its sender knows; it may refuse.
func report(frame []byte, why problem, from func(src netip.Addr) netip.Addr, restore func([]byte) bool, vid uint16) []byte {
	l := link{vid: vid}
	head := l.header(model.MAC(frame[6:12]), model.MAC(frame[:6]), binary.BigEndian.Uint16(frame[12:]))
	body := frame[etherHeader:]
	var src netip.Addr
	var most int
	switch binary.BigEndian.Uint16(frame[12:]) {
	case etherIPv4:
		n, ok := reportable4(body, frame[0])
		if !ok {
			return nil
		}
		body, src, most = body[:n], netip.AddrFrom4([4]byte(body[12:16])), maxError4-28
	case etherIPv6:
		n, ok := reportable6(body, frame[0])
		if !ok {
			return nil
		}
		body, src, most = body[:n], netip.AddrFrom16([16]byte(body[8:24])), maxError6-48
	default:
		return nil
	}
	us := from(src)
	if !us.IsValid() || us == src {
		return nil
	}
	quote := append([]byte(nil), body[:min(len(body), most)]...)
	if restore != nil && !restore(quote) {
		return nil
	}
	msg := append(make([]byte, 8, 8+len(quote)), quote...)
	binary.BigEndian.PutUint32(msg[4:], why.rest)
	if src.Is4() {
		msg[0], msg[1] = why.type4, why.code4
		binary.BigEndian.PutUint16(msg[2:], sum16(0, msg))
		return l.frame(appendIPv4(head, us, src, msg)).Data
	}
	msg[0] = why.type6
	binary.BigEndian.PutUint16(msg[2:], icmp6Sum(us, src, msg))
	head = append(head, 0x60, 0, 0, 0)
	head = binary.BigEndian.AppendUint16(head, uint16(len(msg)))
	head = append(head, protoICMPv6, 64)
	return l.frame(append(append(append(head, us.AsSlice()...), src.AsSlice()...), msg...)).Data
}

// appendIPv4 appends a header for ICMP, with the precedence of routing (RFC 1812 section 4.3.2.5), and the message.
func appendIPv4(b []byte, from, to netip.Addr, msg []byte) []byte {
	at := len(b)
	b = append(b, 0x45, 0xc0)
	b = binary.BigEndian.AppendUint16(b, uint16(20+len(msg)))
	b = append(b, 0, 0, 0, 0, 64, protoICMP, 0, 0)
	b = append(append(b, from.AsSlice()...), to.AsSlice()...)
	binary.BigEndian.PutUint16(b[at+10:], sum16(0, b[at:]))
	return append(b, msg...)
}

// reportable4 gives the length of an IPv4 packet of which its sender may be told an error (RFC 1122 section 3.2.2): no error
// itself, no later fragment, to one host and from one.
func reportable4(b []byte, dst byte) (n int, ok bool) {
	if len(b) < 20 || b[0]>>4 != 4 || dst&1 != 0 {
		return 0, false
	}
	header, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if header < 20 || header > total || total > len(b) || sum16(0, b[:header]) != 0 || binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
		return 0, false
	}
	src, to := netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	if b[12] == 0 || b[12] >= 224 || src.IsLoopback() || to.IsMulticast() || b[16] == 255 {
		return 0, false
	}
	if b[9] == protoICMP {
		if total == header {
			return 0, false
		}
		switch b[header] {
		case 0, 8, 13, 14: // questions and their answers
		default:
			return 0, false
		}
	}
	return total, true
}

// reportable6 is the same for IPv6 (RFC 4443 section 2.4 (e)). Behind extension headers other than a first fragment's nobody
// looks, so that what might be an error is not reported.
func reportable6(b []byte, dst byte) (n int, ok bool) {
	if len(b) < 40 || b[0]>>4 != 6 || dst&1 != 0 {
		return 0, false
	}
	n = 40 + int(binary.BigEndian.Uint16(b[4:]))
	src, to := netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	if n > len(b) || src.IsUnspecified() || src.IsMulticast() || src.IsLoopback() || src.Is4In6() || to.IsMulticast() {
		return 0, false
	}
	proto, at := b[6], 40
	if proto == protoFragment && n >= 48 && binary.BigEndian.Uint16(b[42:])>>3 == 0 {
		proto, at = b[40], 48
	}
	switch proto {
	case protoTCP, protoUDP:
		return n, true
	case protoICMPv6: // 137 is the redirect
		return n, n > at && b[at] >= 128 && b[at] != 137
	}
	return 0, false
}

// untranslate gives a quoted IPv4 packet back the destination that it had, in its checksums too. It refuses a packet to another.
func untranslate(b []byte, from, to netip.Addr) bool {
	if netip.AddrFrom4([4]byte(b[16:20])) != from || !to.Is4() {
		return false
	}
	if from == to {
		return true
	}
	was, is := from.As4(), to.As4()
	fix := func(at int) {
		if len(b) >= at+2 {
			binary.BigEndian.PutUint16(b[at:], adjust(binary.BigEndian.Uint16(b[at:]), was, is))
		}
	}
	copy(b[16:20], is[:])
	fix(10)
	header := int(b[0]&15) * 4
	switch b[9] {
	case protoTCP:
		fix(header + 16)
	case protoUDP:
		if at := header + 6; len(b) >= at+2 && binary.BigEndian.Uint16(b[at:]) != 0 {
			fix(at)
		}
	}
	return true
}

// adjust is RFC 1624, equation 3.
func adjust(check uint16, was, is [4]byte) uint16 {
	s := uint32(^check)
	for i := 0; i < 4; i += 2 {
		s += uint32(^binary.BigEndian.Uint16(was[i:])) + uint32(binary.BigEndian.Uint16(is[i:]))
	}
	return ^fold(s)
}

func fold(s uint32) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// sum16 is the Internet checksum (RFC 1071) over sum and b.
func sum16(sum uint32, b []byte) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return ^fold(sum)
}

// icmp6Sum covers the pseudo header (RFC 8200 section 8.1).
func icmp6Sum(from, to netip.Addr, msg []byte) uint16 {
	f, t := from.As16(), to.As16()
	s := uint32(len(msg)) + protoICMPv6
	for i := 0; i < 16; i += 2 {
		s += uint32(binary.BigEndian.Uint16(f[i:])) + uint32(binary.BigEndian.Uint16(t[i:]))
	}
	return sum16(s, msg)
}
