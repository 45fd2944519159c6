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
	// expected is what a helper has heard that a connection leads to, by zone; the source port is any, and 0 here.
	expected map[uint16]map[tuple]*conn
}

// NewConntrack is a tracker without connections.
func NewConntrack() *Conntrack {
	return &Conntrack{zones: map[uint16]map[tuple]*conn{}, expected: map[uint16]map[tuple]*conn{}}
}

// Flush forgets the connections of a zone.
func (c *Conntrack) Flush(zone uint16) {
	delete(c.zones, zone)
	delete(c.expected, zone)
}

// Connections is the number of connections in a zone.
func (c *Conntrack) Connections(zone uint16) int {
	seen := map[*conn]bool{}
	for _, k := range c.zones[zone] {
		seen[k] = true
	}
	return len(seen)
}

// tuple is one direction of a connection. For ICMP echo srcPort is the type:
// the answer to a request is no request.
type tuple struct {
	proto            uint8
	src, dst         netip.Addr
	srcPort, dstPort uint16
}

func (t tuple) icmp() bool { return t.proto == flow.ProtoICMP || t.proto == flow.ProtoICMPv6 }

func (t tuple) reverse() tuple {
	if t.icmp() {
		other := map[uint16]uint16{8: 0, 0: 8, 128: 129, 129: 128}
		return tuple{t.proto, t.dst, t.src, other[t.srcPort], 0}
	}
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
	alg         uint16 // the helper that follows it, see openflow.CT
	parent      *conn  // that led to it, if a helper has heard so
}

// tracked tells a packet's tuple; ok is false for what cannot be tracked.
// Of ICMP only echo is.
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
		t.srcPort = uint16(p.Uint(openflow.FieldICMPType))
		return t, t.srcPort == 0 || t.srcPort == 8
	case flow.ProtoICMPv6:
		t.srcPort = uint16(p.Uint(openflow.FieldICMPv6Type))
		return t, t.srcPort == 128 || t.srcPort == 129
	}
	return t, true
}

// request reports packets that may begin a connection.
func request(t tuple) bool {
	return t.proto == flow.ProtoICMP && t.srcPort == 8 || t.proto == flow.ProtoICMPv6 && t.srcPort == 128 || !t.icmp()
}

// clearCT makes p untracked.
func clearCT(p *Packet) {
	// The datapath's own note of the connection stays: see Packet.
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
	if w.deed >= 0 {
		w.r.Steps[w.step].Deeds[w.deed].After = q
	}
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
	nat, exec := natOf(a.Actions)
	known := p.conn != nil && p.zone == zone && a.Flags&openflow.CTForce == 0
	if !known && !w.find(p, zone, a, nat) {
		return
	}
	k := p.conn
	if k == nil {
		t, _ := tracked(p)
		if parent := w.s.Track.expects(zone, t); parent != nil {
			p.state |= flow.CTRel
			p.SetUint(openflow.FieldCTMark, uint64(parent.mark))
			copy(p.bytes(openflow.FieldCTLabel), parent.label[:])
		}
		p.SetUint(openflow.FieldCTState, uint64(p.state))
		return
	}
	if nat != nil && k.nat != 0 && p.state&(flow.CTSNAT|flow.CTDNAT) == 0 {
		p.state |= translate(p, k, p.state&flow.CTRpl != 0)
	}
	p.SetUint(openflow.FieldCTState, uint64(p.state))
	p.SetUint(openflow.FieldCTMark, uint64(k.mark))
	copy(p.bytes(openflow.FieldCTLabel), k.label[:])
	if a.Flags&openflow.CTCommit != 0 && len(exec) > 0 {
		w.actions(p, exec)
		k.mark = uint32(p.Uint(openflow.FieldCTMark))
		copy(k.label[:], p.bytes(openflow.FieldCTLabel))
	}
	if t := k.orig; k.alg == algTFTP && p.state&flow.CTRpl == 0 { // the answer comes from another port (RFC 1350 section 4)
		w.s.Track.expect(zone, tuple{proto: t.proto, src: k.reply.src, dst: k.reply.dst, dstPort: t.srcPort}, k)
	}
}

// algTFTP is the helper of TFTP in ct().
const algTFTP = 69

// expect makes packets of a tuple related to a connection.
func (c *Conntrack) expect(zone uint16, t tuple, parent *conn) {
	if c.expected[zone] == nil {
		c.expected[zone] = map[tuple]*conn{}
	}
	t.srcPort = 0
	c.expected[zone][t] = parent
}

// expects is the connection to which a new one of a tuple is related, nil if there is none.
func (c *Conntrack) expects(zone uint16, t tuple) *conn {
	t.srcPort = 0
	return c.expected[zone][t]
}

// find looks p's connection up and makes it if the action commits. It sets
// p.conn, nil if there is none, and p.state; false if p has no place in the
// tracker.
func (w *walk) find(p *Packet, zone uint16, a openflow.CT, nat *openflow.NAT) bool {
	p.conn, p.zone, p.state = nil, zone, flow.CTTrk
	t, ok := tracked(p)
	conns := w.s.Track.zones[zone]
	k := conns[t]
	if !ok || k == nil && !request(t) {
		p.SetUint(openflow.FieldCTState, uint64(flow.CTTrk|flow.CTInv))
		return false
	}
	isReply := k != nil && t == k.reply && t != k.orig
	if isReply && a.Flags&openflow.CTForce != 0 {
		delete(conns, k.orig)
		delete(conns, k.reply)
		k, isReply = nil, false
	}
	switch {
	case k == nil:
		p.state |= flow.CTNew
	case isReply:
		k.replied = true
		p.state |= flow.CTEst | flow.CTRpl
	case k.replied || t.proto == flow.ProtoTCP && !opening(p):
		p.state |= flow.CTEst
	default:
		p.state |= flow.CTNew // until the first reply
	}
	if k == nil && a.Flags&openflow.CTCommit != 0 {
		parent := w.s.Track.expects(zone, t)
		if k = w.s.Track.commit(zone, t, nat, parent); k == nil {
			w.fail("no free address or port to translate to")
			return false
		}
		k.alg = a.ALG
	}
	if k != nil && k.parent != nil {
		p.state |= flow.CTRel
	}
	p.conn = k
	return true
}

// opening reports TCP packets that only ask for a connection.
func opening(p *Packet) bool { return p.Uint(openflow.FieldTCPFlags)&0x12 == 0x02 }

func natOf(as []openflow.Action) (*openflow.NAT, []openflow.Action) {
	if len(as) > 0 {
		if n, ok := as[0].(openflow.NAT); ok {
			return &n, as[1:]
		}
	}
	return nil, as
}

// commit makes a connection of t, translated as nat says, or as its parent if
// it has one; nil if there is no free tuple for its replies.
func (c *Conntrack) commit(zone uint16, t tuple, nat *openflow.NAT, parent *conn) *conn {
	if c.zones[zone] == nil {
		c.zones[zone] = map[tuple]*conn{}
	}
	conns := c.zones[zone]
	k := &conn{orig: t, reply: t.reverse(), parent: parent}
	if nat != nil && parent != nil {
		k.mark, k.label = parent.mark, parent.label
		if parent.nat&openflow.NATSrc != 0 { // to its source, as all that comes back
			k.nat, k.reply.src = openflow.NATDst, parent.orig.src
		} else {
			k.nat, k.reply.dst = openflow.NATSrc, parent.orig.dst
		}
	} else if nat != nil && nat.Flags&(openflow.NATSrc|openflow.NATDst) != 0 && nat.MinAddr.IsValid() {
		if !k.pick(conns, nat) {
			return nil
		}
	} else if other := conns[k.reply]; other != nil && k.reply != k.orig {
		return other // the reverse is a connection already
	}
	conns[k.orig], conns[k.reply] = k, k
	return k
}

// pick chooses the translated address and port: the first address under which
// the replies differ from all others, with the packet's own port if it can be.
// Like the datapath it changes the source port of a packet whose destination is
// translated if nothing else tells the replies apart.
func (k *conn) pick(conns map[tuple]*conn, nat *openflow.NAT) bool {
	k.nat = nat.Flags & (openflow.NATSrc | openflow.NATDst)
	last := nat.MaxAddr
	if !last.IsValid() {
		last = nat.MinAddr
	}
	// try sets one port of the reply to each number of a range in turn, from
	// first on and round.
	try := func(port *uint16, first, lo, hi int) bool {
		for n := range hi - lo + 1 {
			*port = uint16(lo + (first-lo+n)%(hi-lo+1))
			if conns[k.reply] == nil {
				return true
			}
		}
		return false
	}
	for a := nat.MinAddr; a.IsValid() && a.Compare(last) <= 0; a = a.Next() {
		dst := k.nat&openflow.NATDst != 0
		if dst {
			k.reply.src = a
		} else {
			k.reply.dst = a
		}
		if k.orig.icmp() { // no ports to choose from
			if conns[k.reply] == nil {
				return true
			}
			continue
		}
		given, to := int(nat.MinPort), int(max(nat.MinPort, nat.MaxPort))
		if dst {
			if given == 0 {
				given, to = int(k.orig.dstPort), int(k.orig.dstPort)
			}
			if try(&k.reply.srcPort, given, given, to) {
				return true
			}
		}
		if !dst && given != 0 {
			if try(&k.reply.dstPort, given, given, to) {
				return true
			}
			continue
		}
		own := int(k.orig.srcPort)
		lo, hi := portClass(own)
		if try(&k.reply.dstPort, own, lo, hi) {
			return true
		}
	}
	return false
}

// portClass is the ports that may stand for a source port: privileged ones stay so.
func portClass(port int) (lo, hi int) {
	switch {
	case port < 512:
		return 1, 511
	case port < 1024:
		return 600, 1023
	}
	return 1024, 65535
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
