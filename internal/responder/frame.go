// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806

	protoICMP = 1
	protoUDP  = 17

	etherHeader = 14
	ipv4Header  = 20
	udpHeader   = 8
	icmpHeader  = 8
	arpBody     = 28
	minFrame    = 60 // Ethernet's minimum without the check sequence

	portDHCPServer = 67
	portDHCPClient = 68
)

// Frame answers one Ethernet frame (without the check sequence), or returns nil
// when the frame is not for the server or not understood. The answer is a new
// slice; in is not kept.
//
// Frames with a VLAN tag, IP options beyond their header, fragments and packets
// with a wrong header checksum get no answer. UDP checksums are not looked at:
// a veth sender may leave them to hardware that is not there.
func (n *Network) Frame(in []byte) []byte {
	if len(in) < etherHeader {
		return nil
	}
	dst, src := MAC(in[0:6]), MAC(in[6:12])
	if dst != n.MAC && dst != Broadcast || src == n.MAC || src[0]&1 != 0 {
		return nil
	}
	body := in[etherHeader:]
	switch binary.BigEndian.Uint16(in[12:14]) {
	case etherARP:
		return n.arp(src, body)
	case etherIPv4:
		return n.ipv4(dst, src, body)
	}
	return nil
}

// arp answers a request for one of the server's addresses (RFC 826).
func (n *Network) arp(src MAC, p []byte) []byte {
	if len(p) < arpBody || !bytes.Equal(p[0:8], []byte{0, 1, 8, 0, 6, 4, 0, 1}) {
		return nil
	}
	sender, target := netip.AddrFrom4([4]byte(p[14:18])), netip.AddrFrom4([4]byte(p[24:28]))
	if MAC(p[8:14]) != src || !n.serves(target) || n.serves(sender) {
		return nil
	}
	out := make([]byte, 0, minFrame)
	out = n.ether(out, src, etherARP)
	out = append(out, 0, 1, 8, 0, 6, 4, 0, 2)
	out = append(out, n.MAC[:]...)
	out = append(out, target.AsSlice()...)
	out = append(out, src[:]...)
	out = append(out, sender.AsSlice()...)
	return out[:minFrame]
}

func (n *Network) ipv4(dst, src MAC, p []byte) []byte {
	if len(p) < ipv4Header || p[0]>>4 != 4 {
		return nil
	}
	header, total := int(p[0]&15)*4, int(binary.BigEndian.Uint16(p[2:4]))
	fragment := binary.BigEndian.Uint16(p[6:8])&0x3fff != 0 // more fragments, or an offset
	if header < ipv4Header || header > total || total > len(p) || fragment || checksum(0, p[:header]) != 0 {
		return nil
	}
	from, to := netip.AddrFrom4([4]byte(p[12:16])), netip.AddrFrom4([4]byte(p[16:20]))
	payload := p[header:total]
	switch p[9] {
	case protoICMP:
		if dst == n.MAC && n.serves(to) {
			return n.echo(src, from, to, payload)
		}
	case protoUDP:
		if to == netip.AddrFrom4([4]byte{255, 255, 255, 255}) || n.serves(to) {
			return n.dhcp(src, payload)
		}
	}
	return nil
}

// echo answers ICMP echo (RFC 792) sent to one of the server's addresses.
func (n *Network) echo(src MAC, from, to netip.Addr, p []byte) []byte {
	if len(p) < icmpHeader || p[0] != 8 || p[1] != 0 || checksum(0, p) != 0 {
		return nil
	}
	if from.IsUnspecified() || from.IsMulticast() || from == netip.AddrFrom4([4]byte{255, 255, 255, 255}) || n.serves(from) {
		return nil
	}
	reply := bytes.Clone(p)
	reply[0], reply[2], reply[3] = 0, 0, 0
	binary.BigEndian.PutUint16(reply[2:4], checksum(0, reply))
	return n.packet(src, to, from, protoICMP, reply)
}

// dhcp unwraps UDP 68 -> 67, asks DHCPv4 and wraps what it says.
func (n *Network) dhcp(src MAC, p []byte) []byte {
	if len(p) < udpHeader || binary.BigEndian.Uint16(p[0:2]) != portDHCPClient || binary.BigEndian.Uint16(p[2:4]) != portDHCPServer {
		return nil
	}
	length := int(binary.BigEndian.Uint16(p[4:6]))
	if length < udpHeader || length > len(p) {
		return nil
	}
	req, err := dhcpv4.FromBytes(p[udpHeader:length])
	// The hardware address of the message must be the sender's own: no one asks,
	// renews or is refused on behalf of a neighbour.
	if err != nil || len(req.ClientHWAddr) != 6 || MAC(req.ClientHWAddr) != src {
		return nil
	}
	reply := n.DHCPv4(req)
	if reply == nil {
		return nil
	}
	server, _ := optionAddr(reply, dhcpv4.OptionServerIdentifier)
	toMAC, toIP := destination(reply, src)
	message := reply.ToBytes()
	udp := make([]byte, 0, udpHeader+len(message))
	udp = binary.BigEndian.AppendUint16(udp, portDHCPServer)
	udp = binary.BigEndian.AppendUint16(udp, portDHCPClient)
	udp = binary.BigEndian.AppendUint16(udp, uint16(udpHeader+len(message)))
	udp = append(udp, 0, 0)
	udp = append(udp, message...)
	binary.BigEndian.PutUint16(udp[6:8], udpChecksum(server, toIP, udp))
	return n.packet(toMAC, server, toIP, protoUDP, udp)
}

// destination follows RFC 2131 section 4.1 without relays: to the address that
// the client has (ciaddr), else broadcast if asked for, else to the address that
// it is given, at its hardware address.
func destination(reply *dhcpv4.DHCPv4, client MAC) (MAC, netip.Addr) {
	limited := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	if ciaddr := addrOf(reply.ClientIPAddr); !ciaddr.IsUnspecified() {
		return client, ciaddr
	}
	yiaddr := addrOf(reply.YourIPAddr)
	if reply.IsBroadcast() || yiaddr.IsUnspecified() {
		return Broadcast, limited
	}
	return client, yiaddr
}

func (n *Network) ether(b []byte, dst MAC, kind uint16) []byte {
	b = append(b, dst[:]...)
	b = append(b, n.MAC[:]...)
	return binary.BigEndian.AppendUint16(b, kind)
}

// packet wraps payload in IPv4 and Ethernet. "Do not fragment" with
// identification 0 is allowed for packets that are never fragmented (RFC 6864).
func (n *Network) packet(dst MAC, from, to netip.Addr, proto byte, payload []byte) []byte {
	out := make([]byte, 0, max(minFrame, etherHeader+ipv4Header+len(payload)))
	out = n.ether(out, dst, etherIPv4)
	out = append(out, 0x45, 0)
	out = binary.BigEndian.AppendUint16(out, uint16(ipv4Header+len(payload)))
	out = append(out, 0, 0, 0x40, 0, 64, proto, 0, 0)
	out = append(out, from.AsSlice()...)
	out = append(out, to.AsSlice()...)
	header := out[etherHeader:]
	binary.BigEndian.PutUint16(header[10:12], checksum(0, header))
	out = append(out, payload...)
	if len(out) < minFrame {
		out = out[:minFrame]
	}
	return out
}

// checksum is the Internet checksum (RFC 1071) over sum and b.
func checksum(sum uint32, b []byte) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// udpChecksum covers the pseudo header; 0 is sent as all ones (RFC 768).
func udpChecksum(from, to netip.Addr, udp []byte) uint16 {
	f, t := from.As4(), to.As4()
	sum := uint32(protoUDP) + uint32(len(udp))
	for _, a := range [][4]byte{f, t} {
		sum += uint32(a[0])<<8 | uint32(a[1])
		sum += uint32(a[2])<<8 | uint32(a[3])
	}
	if c := checksum(sum, udp); c != 0 {
		return c
	}
	return 0xffff
}
