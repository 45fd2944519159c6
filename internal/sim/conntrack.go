// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"net/netip"

	"nagare/internal/flow"
	"nagare/openflow"
)

// Conntrack is the connection tracker of a node: connections by zone. It has no
// clock, so connections live until they are flushed.
type Conntrack struct {
	// AssumeNew makes every tracked packet +trk+new, translates it to the first
	// address and port given, and commits nothing, as ofproto/trace does when it
	// is not told otherwise.
	AssumeNew bool

	zones map[uint16]map[tuple]*conn
}

// NewConntrack is a tracker without connections.
func NewConntrack() *Conntrack { return &Conntrack{zones: map[uint16]map[tuple]*conn{}} }

// Flush forgets the connections of a zone.
func (c *Conntrack) Flush(zone uint16) { delete(c.zones, zone) }

// Connections is the number of connections in a zone.
func (c *Conntrack) Connections(zone uint16) int {
	seen := map[*conn]bool{}
	for _, k := range c.zones[zone] {
		seen[k] = true
	}
	return len(seen)
}

// tuple is one direction of a connection. For ICMP echo the ports are the type
// of the request and the identifier, which packets here do not carry: 0.
type tuple struct {
	proto            uint8
	src, dst         netip.Addr
	srcPort, dstPort uint16
}

func (t tuple) reverse() tuple {
	return tuple{t.proto, t.dst, t.src, t.dstPort, t.srcPort}
}

// conn is a committed connection. reply is the packets of the other side before
// translation is undone, so without translation it is orig reversed.
type conn struct {
	orig, reply tuple
	replied     bool
	mark        uint32
	label       [16]byte
	nat         uint16 // NATSrc, NATDst or 0
}

// tracked tells a packet's tuple; ok is false for what cannot be tracked.
// An ICMP error or an echo reply counts as the reverse of its request.
func tracked(p *Packet) (t tuple, ok bool) {
	src, dst := openflow.FieldIPv4Src, openflow.FieldIPv4Dst
	switch p.Uint(openflow.FieldEthType) {
	case flow.EthIPv4:
	case flow.EthIPv6:
		src, dst = openflow.FieldIPv6Src, openflow.FieldIPv6Dst
	default:
		return t, false
	}
	t = tuple{proto: uint8(p.Uint(openflow.FieldIPProto)), src: p.Addr(src), dst: p.Addr(dst)}
	switch t.proto {
	case flow.ProtoTCP, flow.ProtoUDP, flow.ProtoSCTP:
		t.srcPort, t.dstPort = uint16(p.Uint(openflow.FieldTCPSrc)), uint16(p.Uint(openflow.FieldTCPDst))
	case flow.ProtoICMP:
		return t, p.Uint(openflow.FieldICMPType) == 0 || p.Uint(openflow.FieldICMPType) == 8
	case flow.ProtoICMPv6:
		typ := p.Uint(openflow.FieldICMPv6Type)
		return t, typ == 128 || typ == 129
	}
	return t, true
}

// request reports packets that may begin a connection.
func request(p *Packet, t tuple) bool {
	switch t.proto {
	case flow.ProtoICMP:
		return p.Uint(openflow.FieldICMPType) == 8
	case flow.ProtoICMPv6:
		return p.Uint(openflow.FieldICMPv6Type) == 128
	}
	return true
}

// clearCT makes p untracked.
func clearCT(p *Packet) {
	for _, f := range []*openflow.Field{openflow.FieldCTState, openflow.FieldCTZone, openflow.FieldCTMark, openflow.FieldCTLabel} {
		b := p.bytes(f)
		clear(b)
	}
}

// ct runs a ct action: the packet is tracked, a copy goes on in the table, and p
// goes on untracked (ovs-actions(7)).
func (w *walk) ct(p *Packet, a openflow.CT) {
	zone := a.Zone
	if a.ZoneFrom.Field != nil {
		zone = uint16(lowUint(bits(p.get(a.ZoneFrom.Field), a.ZoneFrom.Ofs, a.ZoneFrom.Bits)))
	}
	q := *p
	if w.s.Track.AssumeNew {
		clearCT(&q)
		q.SetUint(openflow.FieldCTState, uint64(flow.CTTrk|flow.CTNew))
		q.SetUint(openflow.FieldCTZone, uint64(zone))
		assumeNAT(&q, a)
	} else {
		w.track(&q, zone, a)
	}
	clearCT(p)
	if a.Table != openflow.CTNoTable {
		w.nested(func() { w.table(&q, int(a.Table)) })
	}
}

func assumeNAT(p *Packet, a openflow.CT) {
	nat, _ := natOf(a.Actions)
	t, ok := tracked(p)
	if nat == nil || !ok {
		return
	}
	k := conn{orig: t, reply: t.reverse(), nat: nat.Flags}
	if nat.Flags&openflow.NATSrc != 0 && nat.MinAddr.IsValid() {
		k.reply.dst = nat.MinAddr
		if nat.MinPort != 0 {
			k.reply.dstPort = nat.MinPort
		}
	} else if nat.Flags&openflow.NATDst != 0 && nat.MinAddr.IsValid() {
		k.reply.src = nat.MinAddr
		if nat.MinPort != 0 {
			k.reply.srcPort = nat.MinPort
		}
	}
	translate(p, &k, false)
}

// track sets the ct fields of p, translates it, and commits its connection.
func (w *walk) track(p *Packet, zone uint16, a openflow.CT) {
	clearCT(p)
	p.SetUint(openflow.FieldCTZone, uint64(zone))
	t, ok := tracked(p)
	if !ok {
		p.SetUint(openflow.FieldCTState, uint64(flow.CTTrk|flow.CTInv))
		return
	}
	conns := w.s.Track.zones[zone]
	k := conns[t]
	isReply := k != nil && t == k.reply && t != k.orig
	if k != nil && isReply && a.Flags&openflow.CTForce != 0 {
		delete(conns, k.orig)
		delete(conns, k.reply)
		k, isReply = nil, false
	}
	state := flow.CTTrk
	switch {
	case k == nil && !request(p, t):
		p.SetUint(openflow.FieldCTState, uint64(flow.CTTrk|flow.CTInv))
		return
	case k == nil:
		state |= flow.CTNew
	case isReply:
		k.replied = true
		state |= flow.CTEst | flow.CTRpl
	case k.replied || t.proto != flow.ProtoICMP && t.proto != flow.ProtoICMPv6 && !opening(p, t):
		state |= flow.CTEst
	default:
		state |= flow.CTNew
	}
	nat, rest := natOf(a.Actions)
	if k == nil && a.Flags&openflow.CTCommit != 0 {
		k = w.s.Track.commit(zone, t, nat)
		if k == nil {
			w.fail("no free address or port to translate to")
			return
		}
	}
	if k == nil {
		p.SetUint(openflow.FieldCTState, uint64(state))
		return
	}
	if nat != nil && k.nat != 0 {
		state |= translate(p, k, isReply)
	}
	p.SetUint(openflow.FieldCTState, uint64(state))
	p.SetUint(openflow.FieldCTMark, uint64(k.mark))
	copy(p.bytes(openflow.FieldCTLabel), k.label[:])
	if a.Flags&openflow.CTCommit != 0 && len(rest) > 0 {
		w.actions(p, rest)
		k.mark = uint32(p.Uint(openflow.FieldCTMark))
		copy(k.label[:], p.bytes(openflow.FieldCTLabel))
	}
}

// opening reports TCP packets that only ask for a connection.
func opening(p *Packet, t tuple) bool {
	return t.proto == flow.ProtoTCP && p.Uint(openflow.FieldTCPFlags)&0x12 == 0x02
}

func natOf(as []openflow.Action) (*openflow.NAT, []openflow.Action) {
	if len(as) > 0 {
		if n, ok := as[0].(openflow.NAT); ok {
			return &n, as[1:]
		}
	}
	return nil, as
}

// commit makes a connection of t, translated as nat says; nil if there is no
// free tuple for its replies.
func (c *Conntrack) commit(zone uint16, t tuple, nat *openflow.NAT) *conn {
	if c.zones[zone] == nil {
		c.zones[zone] = map[tuple]*conn{}
	}
	conns := c.zones[zone]
	k := &conn{orig: t, reply: t.reverse()}
	if nat != nil && nat.Flags&(openflow.NATSrc|openflow.NATDst) != 0 && nat.MinAddr.IsValid() {
		if !k.pick(conns, nat) {
			return nil
		}
	} else if other := conns[k.reply]; other != nil && k.reply != k.orig {
		return other // the reverse is a connection already
	}
	conns[k.orig], conns[k.reply] = k, k
	return k
}

// pick chooses the translated address and port: the given address with the
// packet's own port if that is free, else the next free port of the range.
func (k *conn) pick(conns map[tuple]*conn, nat *openflow.NAT) bool {
	k.nat = nat.Flags & (openflow.NATSrc | openflow.NATDst)
	last := nat.MaxAddr
	if !last.IsValid() {
		last = nat.MinAddr
	}
	for a := nat.MinAddr; a.IsValid() && a.Compare(last) <= 0; a = a.Next() {
		if k.nat&openflow.NATDst != 0 {
			k.reply.src = a
			if nat.MinPort != 0 {
				k.reply.srcPort = nat.MinPort
			}
			if conns[k.reply] == nil {
				return true
			}
			continue
		}
		k.reply.dst = a
		lo, hi, own := nat.MinPort, nat.MaxPort, k.orig.srcPort
		switch {
		case lo == 0:
			lo, hi = 1024, 65535
		case hi == 0:
			hi = lo
		}
		if nat.MinPort == 0 || own >= lo && own <= hi {
			k.reply.dstPort = own
			if conns[k.reply] == nil {
				return true
			}
		}
		if k.orig.srcPort == 0 && k.orig.dstPort == 0 {
			continue // no ports to choose from
		}
		for port := int(lo); port <= int(hi); port++ {
			k.reply.dstPort = uint16(port)
			if conns[k.reply] == nil {
				return true
			}
		}
	}
	return false
}

// translate rewrites p as its connection says and returns the state bits for it.
func translate(p *Packet, k *conn, isReply bool) uint32 {
	to := k.reply.reverse()
	if isReply {
		to = k.orig.reverse()
	}
	src, dst := openflow.FieldIPv4Src, openflow.FieldIPv4Dst
	if to.src.Is6() {
		src, dst = openflow.FieldIPv6Src, openflow.FieldIPv6Dst
	}
	p.put(src, to.src.AsSlice())
	p.put(dst, to.dst.AsSlice())
	switch to.proto {
	case flow.ProtoTCP, flow.ProtoUDP, flow.ProtoSCTP:
		p.SetUint(openflow.FieldTCPSrc, uint64(to.srcPort))
		p.SetUint(openflow.FieldTCPDst, uint64(to.dstPort))
	}
	if (k.nat&openflow.NATSrc != 0) != isReply {
		return flow.CTSNAT
	}
	return flow.CTDNAT
}
