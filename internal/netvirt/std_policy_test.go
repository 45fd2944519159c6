// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"net/netip"
	"slices"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// The reference: what port security and security groups mean, said without flows. It keeps the connections that each port's
// side knows, and judges one packet at a time.

// packet is what the reference sees of a packet. For ICMP sport is the type and dport the code.
type packet struct {
	srcMAC, dstMAC model.MAC
	src, dst       netip.Addr
	proto          uint8
	sport, dport   uint16
	opening        bool // TCP: asks for a connection, SYN alone
}

func (p packet) icmp() bool { return p.proto == model.ProtoICMP || p.proto == model.ProtoICMPv6 }

// endpoints name a connection by the packet that opened it.
type endpoints struct {
	src, dst     netip.Addr
	proto        uint8
	sport, dport uint16
}

func (p packet) endpoints() endpoints {
	e := endpoints{p.src, p.dst, p.proto, p.sport, p.dport}
	if p.icmp() {
		e.dport = 0
	}
	return e
}

func (e endpoints) reverse() endpoints {
	r := endpoints{e.dst, e.src, e.proto, e.dport, e.sport}
	if e.proto == model.ProtoICMP || e.proto == model.ProtoICMPv6 {
		r.sport, r.dport = map[uint16]uint16{8: 0, 0: 8, 128: 129, 129: 128}[e.sport], 0
	}
	return r
}

// connection is one that a port's side accepted.
type connection struct{ replied, revoked bool }

// policy judges packets by the objects of a store and by what it judged before.
type policy struct {
	r     store.Reader
	conns map[model.PortID]map[endpoints]*connection

	replies, cuts int // how often it saw a connection's answer and the end of its permission
}

func (o *policy) port(id model.PortID) model.Port { p, _ := tables.Ports.Get(o.r, id); return p }

// sends reports whether a port may send a packet: from its own addresses, and as its groups say.
func (o *policy) sends(from model.PortID, k packet) bool {
	p := o.port(from)
	if !p.PortSecurity || p.IsDHCP() {
		return true
	}
	return o.owns(&p, k.srcMAC, k.src) && o.passes(&p, model.Egress, k)
}

// receives reports whether a packet that somebody may send is let in to a port.
func (o *policy) receives(to model.PortID, k packet) bool {
	p := o.port(to)
	if !p.PortSecurity || p.IsDHCP() {
		return true
	}
	return o.passes(&p, model.Ingress, k)
}

func (o *policy) owns(p *model.Port, m model.MAC, a netip.Addr) bool {
	if a.IsMulticast() || a.IsUnspecified() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return false
	}
	if m == p.MAC {
		for _, f := range p.FixedIPs {
			if f.Addr == a {
				return true
			}
		}
	}
	known := m == p.MAC
	for _, pair := range p.AllowedPairs {
		owner := pair.MAC
		if owner.IsZero() {
			owner = p.MAC
		}
		if m == owner && pair.Prefix.Contains(a) {
			return true
		}
		known = known || m == owner
	}
	return known && a == linkLocal(m)
}

// passes judges a packet at a filtered port: what it sends (egress) or what is sent to it (ingress).
func (o *policy) passes(p *model.Port, d model.Direction, k packet) bool {
	udp := k.proto == model.ProtoUDP
	server := udp && (k.src.Is4() && k.sport == 67 && k.dport == 68 || k.src.Is6() && k.sport == 547 && k.dport == 546)
	if d == model.Egress && server {
		return false
	}
	renewal := udp && (k.src.Is4() && k.sport == 68 && k.dport == 67 || k.src.Is6() && k.sport == 546 && k.dport == 547)
	accepted := o.allowed(p, d, k) || d == model.Egress && renewal
	if o.tracksNothing(p) {
		return accepted
	}
	known := o.conns[p.ID]
	e := k.endpoints()
	conn := known[e]
	if c := known[e.reverse()]; c != nil && conn == nil {
		c.replied = true
		o.replies++
		return !c.revoked
	}
	echo := !k.icmp() || k.sport == 8 || k.sport == 128
	switch {
	case conn == nil && !echo: // belongs to nothing
		return false
	case accepted && conn == nil:
		if known == nil {
			known = map[endpoints]*connection{}
			o.conns[p.ID] = known
		}
		known[e] = &connection{}
	case accepted:
		conn.revoked = false
	case conn != nil && (conn.replied || k.proto == model.ProtoTCP && !k.opening): // else it is new still, and was let in by nobody
		conn.revoked = true
		o.cuts++
	}
	return accepted
}

func (o *policy) tracksNothing(p *model.Port) bool {
	return len(p.SecurityGroups) > 0 && !slices.ContainsFunc(p.SecurityGroups, func(id model.SecurityGroupID) bool {
		g, ok := tables.SecurityGroups.Get(o.r, id)
		return !ok || g.Stateful
	})
}

// allowed reports whether a rule of the port's groups allows the packet.
func (o *policy) allowed(p *model.Port, d model.Direction, k packet) bool {
	other := k.dst
	if d == model.Ingress {
		other = k.src
	}
	for _, r := range tables.Rules.All(o.r) {
		if slices.Contains(p.SecurityGroups, r.Group) && r.Direction == d && k.src.Is4() == (r.Ethertype == model.EtherIPv4) &&
			protocolAllows(&r, k) && o.remoteAllows(&r, other) {
			return true
		}
	}
	return false
}

func protocolAllows(r *model.SecurityGroupRule, k packet) bool {
	n, any, ok := model.ProtocolNumber(r.Protocol)
	if !ok {
		return false
	}
	if any {
		return r.PortMin == nil && r.PortMax == nil
	}
	if n == model.ProtoICMP && k.src.Is6() {
		n = model.ProtoICMPv6
	}
	if n != k.proto {
		return false
	}
	is := func(v uint16, want *int) bool { return want == nil || int(v) == *want }
	switch n {
	case model.ProtoICMP, model.ProtoICMPv6:
		return is(k.sport, r.PortMin) && is(k.dport, r.PortMax) && (r.PortMin != nil || r.PortMax == nil)
	case model.ProtoTCP, model.ProtoUDP, model.ProtoSCTP:
		if r.PortMin == nil && r.PortMax == nil {
			return true
		}
		return r.PortMin != nil && r.PortMax != nil && *r.PortMin <= int(k.dport) && int(k.dport) <= *r.PortMax
	}
	return r.PortMin == nil && r.PortMax == nil
}

func (o *policy) remoteAllows(r *model.SecurityGroupRule, a netip.Addr) bool {
	switch {
	case r.RemoteGroup != "":
		for _, p := range tables.Ports.All(o.r) {
			if slices.Contains(p.SecurityGroups, r.RemoteGroup) &&
				(slices.ContainsFunc(p.FixedIPs, func(f model.FixedIP) bool { return f.Addr == a }) ||
					slices.ContainsFunc(p.AllowedPairs, func(q model.AddressPair) bool { return q.Prefix.Contains(a) })) {
				return true
			}
		}
		return false
	case r.RemoteAddressGroup != "":
		g, _ := tables.AddressGroups.Get(o.r, r.RemoteAddressGroup)
		return slices.ContainsFunc(g.Addresses, func(p netip.Prefix) bool { return p.Contains(a) })
	case r.RemotePrefix.IsValid():
		return r.RemotePrefix.Contains(a) || r.RemotePrefix.Bits() == 0 && r.RemotePrefix.Addr().Is4() == a.Is4()
	}
	return true
}
