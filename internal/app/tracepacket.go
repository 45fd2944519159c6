// SPDX-License-Identifier: Apache-2.0

package app

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"nagare/internal/api/admin"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/sim"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/openflow"
)

// What a packet has that nobody said.
const (
	clientPort   = 40000
	tcpSYN       = 0x02
	tcpSYNACK    = 0x12
	tcpACK       = 0x10
	echoRequest  = 8
	echoRequest6 = 128
)

// nobodysMAC stands for the address that ARP or neighbour discovery would not find.
var nobodysMAC = model.MAC{0x02, 0, 0, 0, 0, 0x01}

func macOf(p *sim.Packet, f *openflow.Field) (m model.MAC) {
	copy(m[:], p.Bytes(f))
	return m
}

// sent is the packet of a query, as its sender sends it.
type sent struct {
	packet sim.Packet
	target model.PortID // that is to get it; "": nobody's that is known
	dst    netip.Addr
	notes  []string
	nobody [2]string // why its MAC address is nobodysMAC, and the remedy
}

func (s *sent) note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

// packetOf makes the packet that a query describes.
func packetOf(r store.Reader, q *admin.TraceQuery, from *model.Port) (s sent, err error) {
	text, said := q.Flow, flow.Match("")
	if len(q.Words) > 0 {
		if text != "" {
			return s, fmt.Errorf("packet %q and --flow: give one of them: %w", strings.Join(q.Words, " "), admin.ErrBadInput)
		}
		if from.ID == "" {
			return s, fmt.Errorf("packet %q: the port it comes in by is no instance's, so there is nothing to fill in from: use --flow: %w", strings.Join(q.Words, " "), admin.ErrBadInput)
		}
		if text, err = s.words(r, q.Words, from); err != nil {
			return s, fmt.Errorf("packet %q: %w", strings.Join(q.Words, " "), err)
		}
	}
	if text == "" {
		return s, fmt.Errorf("which packet? Say icmp to PORT, tcp/22 to ADDRESS, or --flow: %w", admin.ErrBadInput)
	}
	if said, err = flow.ParseMatch(text); err != nil {
		return s, fmt.Errorf("flow: %w: %w", err, admin.ErrBadInput)
	}
	s.packet = sim.Of(said)
	s.complete(r, said, from)
	return s, nil
}

// words turns "tcp/22 to vm02" into the flow that says so.
func (s *sent) words(r store.Reader, words []string, from *model.Port) (string, error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf(format+": %w", append(args, admin.ErrBadInput)...)
	}
	if len(words) != 3 || words[1] != "to" {
		return "", bad("say PROTOCOL to TARGET, as in: icmp to vm02, or tcp/22 to 10.11.12.4")
	}
	proto, port, ported := strings.Cut(words[0], "/")
	dst, err := s.aim(r, words[2], from)
	if err != nil {
		return "", err
	}
	name, six := proto, ""
	if dst.Is6() {
		six = "6"
	}
	number, numErr := strconv.ParseUint(port, 10, 16)
	var out string
	switch name {
	case "icmp", "icmp6", "ping":
		if ported {
			return "", bad("%s has no port; other types than echo: --flow 'icmp,icmp_type=...'", proto)
		}
		if name == "icmp6" && six == "" {
			return "", bad("icmp6 to %s: the address is of IPv4", dst)
		}
		out = fmt.Sprintf("icmp%s,icmp_type=%d,icmp_code=0", six, map[string]int{"": echoRequest, "6": echoRequest6}[six])
	case "tcp", "udp", "sctp":
		if numErr != nil || number == 0 {
			return "", bad("%s: say to which port, as in %s/22", words[0], proto)
		}
		out = fmt.Sprintf("%s%s,tp_src=%d,tp_dst=%d", name, six, clientPort, number)
	case "ip":
		n, err := strconv.ParseUint(port, 10, 8)
		if err != nil {
			return "", bad("%s: say which protocol, as in ip/112", words[0])
		}
		out = fmt.Sprintf("ip%s,nw_proto=%d", strings.Replace(six, "6", "v6", 1), n)
	case "arp":
		return "", bad("the trace knows the addresses that ARP would find, and sends no ARP: trace the packet itself, or one frame with --flow 'arp,arp_op=1,...'")
	default:
		return "", bad("protocol %q: use icmp, tcp/PORT, udp/PORT, sctp/PORT or ip/NUMBER, or --flow", proto)
	}
	if dst.Is4() {
		return out + ",nw_dst=" + dst.String(), nil
	}
	return out + ",ipv6_dst=" + dst.String(), nil
}

// aim finds the address of a target: an address, or a port by id or name.
func (s *sent) aim(r store.Reader, target string, from *model.Port) (netip.Addr, error) {
	if a, err := netip.ParseAddr(target); err == nil {
		return a.Unmap().WithZone(""), nil
	}
	p, err := portOf(r, target)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, own := range from.FixedIPs { // of the family that both have
		for _, f := range p.FixedIPs {
			if f.Addr.Is4() == own.Addr.Is4() {
				s.target = p.ID
				return f.Addr, nil
			}
		}
	}
	return netip.Addr{}, fmt.Errorf("port %s and port %s have no addresses of one IP version: %w", called(from), called(&p), admin.ErrBadInput)
}

// complete fills in what was not said.
func (s *sent) complete(r store.Reader, said flow.Match, from *model.Port) {
	p := &s.packet
	missing := func(f *openflow.Field) bool { _, ok := said.Find(f); return !ok }
	six := p.Uint(openflow.FieldEthType) == flow.EthIPv6
	src, dst := openflow.FieldIPv4Src, openflow.FieldIPv4Dst
	if six {
		src, dst = openflow.FieldIPv6Src, openflow.FieldIPv6Dst
	}
	ip := six || p.Uint(openflow.FieldEthType) == flow.EthIPv4
	if missing(openflow.FieldEthSrc) && from.ID != "" {
		p.SetBytes(openflow.FieldEthSrc, from.MAC[:])
	}
	if missing(openflow.FieldVLANVID) && from.IsSubPort() {
		p.SetBytes(openflow.FieldVLANVID, []byte{byte(0x10 | from.VLAN>>8), byte(from.VLAN)})
	}
	if ip && missing(src) && from.ID != "" {
		if own, ok := ownAddress(r, from, p.Addr(dst)); ok {
			p.SetBytes(src, own.AsSlice())
		} else {
			s.note("port %s has no IPv%d address; the packet has none either", called(from), map[bool]int{false: 4, true: 6}[six])
		}
	}
	if p.Uint(openflow.FieldIPProto) == flow.ProtoTCP && ip && missing(openflow.FieldTCPFlags) {
		p.SetUint(openflow.FieldTCPFlags, tcpSYN)
	}
	if t := openflow.FieldICMPType; ip && p.Uint(openflow.FieldIPProto) == flow.ProtoICMP && missing(t) {
		p.SetUint(t, echoRequest)
	}
	if t := openflow.FieldICMPv6Type; six && p.Uint(openflow.FieldIPProto) == flow.ProtoICMPv6 && missing(t) {
		p.SetUint(t, echoRequest6)
	}
	if !ip || missing(dst) {
		return
	}
	s.dst = p.Addr(dst)
	if from.ID == "" {
		return
	}
	owner, mac := s.nextHop(r, from, s.dst)
	if missing(openflow.FieldEthDst) {
		p.SetBytes(openflow.FieldEthDst, mac[:])
	} else {
		s.nobody = [2]string{}
	}
	if s.nobody[0] != "" {
		s.notes = append(s.notes, s.nobody[0])
	}
	if s.target == "" {
		s.target = owner
	}
	if missing(openflow.FieldEthDst) {
		s.note("ARP and neighbour discovery are not part of the trace: the sender is taken to know the MAC address %s", macOf(p, openflow.FieldEthDst))
	}
}

// ownAddress is the address of a port from which it sends to another: of the same subnet, else of the same IP version.
func ownAddress(r store.Reader, p *model.Port, to netip.Addr) (best netip.Addr, ok bool) {
	for _, f := range p.FixedIPs {
		sub, known := tables.Subnets.Get(r, f.Subnet)
		switch {
		case f.Addr.Is4() != to.Is4():
		case known && sub.CIDR.Contains(to):
			return f.Addr, true
		case !ok:
			best, ok = f.Addr, true
		}
	}
	return best, ok
}

// nextHop finds who is to get a port's packet to an address, if that is known, and the MAC address to which the port sends it.
func (s *sent) nextHop(r store.Reader, from *model.Port, dst netip.Addr) (target model.PortID, mac model.MAC) {
	if dst.IsMulticast() {
		return "", multicastMAC(dst)
	}
	if dst == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return "", model.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	}
	hop, onLink := hopOf(r, from, dst)
	switch {
	case onLink:
		hop = dst
	case !hop.IsValid():
		s.nobody = [2]string{fmt.Sprintf("no subnet of port %s has a gateway or a host route for %s: the sender has no way there", called(from), dst),
			"openstack subnet set --gateway ADDRESS SUBNET, and a router with that address"}
		return s.far(r, from, dst), nobodysMAC
	}
	p, ok := tables.PortsByAddress.First(r, tables.AddressKey(from.Network, hop))
	switch {
	case !ok && onLink:
		s.nobody = [2]string{fmt.Sprintf("no port of network %s has %s, so nobody of ours answers for it", networkName(r, from.Network), hop),
			"if an instance has it by an allowed address pair, or a machine on the wire: say its MAC address, --flow 'dl_dst=...'"}
		return "", nobodysMAC
	case !ok:
		s.nobody = [2]string{fmt.Sprintf("no port of network %s has the gateway %s: the network has no router there", networkName(r, from.Network), hop), "openstack router add subnet ROUTER SUBNET"}
		return s.far(r, from, dst), nobodysMAC
	case onLink:
		if behind, floating := s.floating(r, tables.AddressKey(from.Network, dst), dst); floating {
			return behind, p.MAC
		}
		return p.ID, p.MAC
	}
	s.note("%s is beyond the gateway %s, whose MAC address is %s", dst, hop, p.MAC)
	return s.far(r, from, dst), p.MAC
}

// far finds the port behind an address on other networks: of a network that a router joins with the sender's, or of a floating
// IP that such a router's external network has.
func (s *sent) far(r store.Reader, from *model.Port, dst netip.Addr) model.PortID {
	for own := range tables.RouterPortsByNetwork.By(r, string(from.Network)) {
		for rp := range tables.RouterPorts.By(r, string(own.Router)) {
			key := tables.AddressKey(rp.Network, dst)
			if behind, ok := s.floating(r, key, dst); ok {
				return behind
			}
			if p, ok := tables.PortsByAddress.First(r, key); ok {
				return p.ID
			}
		}
	}
	return ""
}

// floating finds the port behind a floating IP, by the port of the packet if it forwards ports; ok is false if the address is none.
func (s *sent) floating(r store.Reader, key string, dst netip.Addr) (behind model.PortID, ok bool) {
	fip, ok := tables.FloatingIPsByAddress.First(r, key)
	if !ok || fip.Port != "" {
		if ok {
			s.note("%s is a floating IP of port %s (%s)", dst, fip.Port, fip.Fixed)
		}
		return fip.Port, ok
	}
	proto, port := uint8(s.packet.Uint(openflow.FieldIPProto)), uint16(s.packet.Uint(openflow.FieldTCPDst)) // or that of UDP
	for f := range tables.PortForwardingsByFloating.By(r, string(fip.ID)) {
		n, _, known := model.ProtocolNumber(f.Protocol)
		if !known || n != proto || !f.External.Overlaps(model.PortRange{From: port, To: port}) {
			continue
		}
		to := f.Leads(port)
		if to == 0 {
			to = port
		}
		s.note("%s port %d of %s is forwarded to port %d of port %s (%s)", f.Protocol, port, dst, to, f.Port, f.Fixed)
		return f.Port, true
	}
	s.note("%s is a floating IP of no port, and forwards nothing that such a packet is for", dst)
	return "", true
}

// hopOf is the router to which a port sends what is for an address; onLink if it needs none. A host route wins over the gateway,
// the longest of them.
func hopOf(r store.Reader, from *model.Port, dst netip.Addr) (hop netip.Addr, onLink bool) {
	bits := -1
	for _, f := range from.FixedIPs {
		sub, ok := tables.Subnets.Get(r, f.Subnet)
		if !ok || f.Addr.Is4() != dst.Is4() {
			continue
		}
		if sub.CIDR.Contains(dst) {
			return dst, true
		}
		for _, route := range sub.HostRoutes {
			if n := route.Destination.Bits(); route.Destination.Contains(dst) && n > bits {
				hop, bits = route.NextHop, n
			}
		}
		if bits < 0 && sub.Gateway.IsValid() {
			hop, bits = sub.Gateway, 0
		}
	}
	return hop, false
}

// multicastMAC is the MAC address of a multicast address (RFC 1112 section 6.4, RFC 2464 section 7).
func multicastMAC(a netip.Addr) model.MAC {
	if b := a.AsSlice(); len(b) == 4 {
		return model.MAC{0x01, 0x00, 0x5e, b[1] & 0x7f, b[2], b[3]}
	} else {
		return model.MAC{0x33, 0x33, b[12], b[13], b[14], b[15]}
	}
}

// following is the packet's successor in a connection that is established.
func following(p sim.Packet) sim.Packet {
	if p.Uint(openflow.FieldIPProto) == flow.ProtoTCP {
		p.SetUint(openflow.FieldTCPFlags, tcpACK)
	}
	return p
}

// answerTo is what the receiver of a frame answers first. ok is false for packets that have no answer.
func answerTo(frame sim.Packet) (p sim.Packet, ok bool) {
	p = frame
	swap := func(a, b *openflow.Field) {
		x := p.Bytes(a)
		p.SetBytes(a, p.Bytes(b))
		p.SetBytes(b, x)
	}
	swap(openflow.FieldEthSrc, openflow.FieldEthDst)
	switch p.Uint(openflow.FieldEthType) {
	case flow.EthIPv4:
		swap(openflow.FieldIPv4Src, openflow.FieldIPv4Dst)
	case flow.EthIPv6:
		swap(openflow.FieldIPv6Src, openflow.FieldIPv6Dst)
	default:
		return p, false
	}
	p.SetUint(openflow.FieldIPTTL, 64)
	switch p.Uint(openflow.FieldIPProto) {
	case flow.ProtoTCP:
		swap(openflow.FieldTCPSrc, openflow.FieldTCPDst)
		p.SetUint(openflow.FieldTCPFlags, tcpSYNACK)
	case flow.ProtoUDP, flow.ProtoSCTP:
		swap(openflow.FieldTCPSrc, openflow.FieldTCPDst)
	case flow.ProtoICMP:
		p.SetUint(openflow.FieldICMPType, 0)
		return p, frame.Uint(openflow.FieldICMPType) == echoRequest
	case flow.ProtoICMPv6:
		p.SetUint(openflow.FieldICMPv6Type, echoRequest6+1)
		return p, frame.Uint(openflow.FieldICMPv6Type) == echoRequest6
	}
	return p, !macOf(&frame, openflow.FieldEthDst).IsMulticast()
}

func networkName(r store.Reader, id model.NetworkID) string {
	if n, ok := tables.Networks.Get(r, id); ok && n.Name != "" {
		return n.Name
	}
	return string(id)
}

// addresses are what a port may send from, for people.
func addresses(p *model.Port) string {
	var out []string
	for _, f := range p.FixedIPs {
		out = append(out, f.Addr.String())
	}
	for _, a := range p.AllowedPairs {
		text := a.Prefix.String()
		if !a.MAC.IsZero() {
			text += " with " + a.MAC.String()
		}
		out = append(out, text)
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(slices.Compact(out), ", ")
}
