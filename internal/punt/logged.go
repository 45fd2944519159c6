// SPDX-License-Identifier: Apache-2.0

package punt

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Record is what security logs tell of a packet: what became of it, of which port, and its headers. It holds ids, addresses and
// numbers alone, so nothing that an instance can write appears in it as text.
type Record struct {
	Node      model.NodeID              `json:"node"`
	Action    model.LogEvent            `json:"action"`    // LogAccept or LogDrop
	Direction model.Direction           `json:"direction"` // as the instance sees it
	Project   model.ProjectID           `json:"project_id"`
	Logs      []model.LogID             `json:"log_resource_ids"`
	Port      model.PortID              `json:"port_id"`
	Rule      model.SecurityGroupRuleID `json:"security_group_rule_id,omitempty"` // that accepted the connection, if it was a rule
	Group     model.SecurityGroupID     `json:"security_group_id,omitempty"`      // of the rule

	SrcMAC    model.MAC  `json:"eth_src"`
	DstMAC    model.MAC  `json:"eth_dst"`
	EtherType uint16     `json:"eth_type"`
	Src       netip.Addr `json:"src,omitzero"` // of IP and of ARP
	Dst       netip.Addr `json:"dst,omitzero"`
	Protocol  *uint8     `json:"protocol,omitempty"` // the IP protocol's number
	SrcPort   *uint16    `json:"src_port,omitempty"` // of TCP, UDP and SCTP
	DstPort   *uint16    `json:"dst_port,omitempty"`
	ICMPType  *uint8     `json:"icmp_type,omitempty"`
	ICMPCode  *uint8     `json:"icmp_code,omitempty"`
	TCPFlags  *uint8     `json:"tcp_flags,omitempty"`
	Length    int        `json:"length,omitempty"` // of the IP packet, as its header says
}

// Logged makes the record of a packet that a flow copied for security logs; ok is false if no log wants it, any more, or the node
// may not speak for the port.
func Logged(r store.Reader, p Packet) (rec Record, ok bool) {
	key := p.Port
	rec = Record{Node: p.Node, Action: model.LogDrop, Direction: model.Egress}
	switch p.Kind {
	case pipeline.PuntSentAccepted, pipeline.PuntReceivedAccepted:
		rec.Action = model.LogAccept
	case pipeline.PuntSentDropped, pipeline.PuntReceivedDropped:
	default:
		return rec, false
	}
	if p.Kind == pipeline.PuntReceivedAccepted || p.Kind == pipeline.PuntReceivedDropped {
		rec.Direction, key = model.Ingress, p.DstPort
	}
	port, ok := alloc.PortsByKey.First(r, alloc.KeyText(key))
	if !ok || key == 0 || !port.LivesOn(p.Node) || len(p.Data) < etherHeader {
		return rec, false
	}
	rec.Port, rec.Project = port.ID, port.Project
	if rec.Action == model.LogAccept && p.Rule != 0 {
		// What the node says of a rule counts if it is one that filters the port.
		if u, ok := alloc.RulesByKey.First(r, alloc.KeyText(p.Rule)); ok && u.Direction == rec.Direction && slices.Contains(port.SecurityGroups, u.Group) {
			rec.Rule, rec.Group = u.ID, u.Group
		}
	}
	for _, l := range tables.LogsOf(r, &port) {
		if rec.Action == model.LogAccept && l.Event.Accepts() && (l.Group == "" || l.Group == rec.Group) || rec.Action == model.LogDrop && l.Event.Drops() {
			rec.Logs = append(rec.Logs, l.ID)
		}
	}
	if len(rec.Logs) == 0 {
		return rec, false
	}
	rec.headers(p.Data)
	return rec, true
}

// headers reads what it can of a frame that may be cut off anywhere.
func (rec *Record) headers(b []byte) {
	rec.DstMAC, rec.SrcMAC, rec.EtherType = model.MAC(b[:6]), model.MAC(b[6:12]), binary.BigEndian.Uint16(b[12:])
	b = b[etherHeader:]
	switch rec.EtherType {
	case etherARP:
		if len(b) >= 28 && b[5] == 4 {
			rec.Src, rec.Dst = netip.AddrFrom4([4]byte(b[14:18])), netip.AddrFrom4([4]byte(b[24:28]))
		}
	case etherIPv4:
		if len(b) < 20 {
			return
		}
		rec.Src, rec.Dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		rec.Length = int(binary.BigEndian.Uint16(b[2:]))
		first, header := binary.BigEndian.Uint16(b[6:])&0x1fff == 0, int(b[0]&15)*4
		rec.transport(b[9], b[min(max(header, 20), len(b)):], first)
	case etherIPv6:
		if len(b) < 40 {
			return
		}
		rec.Src, rec.Dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		rec.Length = 40 + int(binary.BigEndian.Uint16(b[4:]))
		proto, first := b[6], true
		for b = b[40:]; extension(proto) && len(b) >= 8; {
			size := 8 + 8*int(b[1]) // RFC 6564
			if proto == protoFragment {
				size, first = 8, first && binary.BigEndian.Uint16(b[2:])>>3 == 0
			}
			proto, b = b[0], b[min(size, len(b)):]
		}
		rec.transport(proto, b, first)
	}
}

// extension reports whether an IPv6 next header is followed by another: hop-by-hop options, routing, fragment, destination options.
func extension(proto byte) bool {
	return proto == 0 || proto == 43 || proto == protoFragment || proto == 60
}

// transport reads what is behind the IP header; of a later fragment there is nothing.
func (rec *Record) transport(proto byte, b []byte, first bool) {
	rec.Protocol = &proto
	if !first {
		return
	}
	switch proto {
	case protoTCP, protoUDP, protoSCTP:
		if len(b) >= 4 {
			src, dst := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
			rec.SrcPort, rec.DstPort = &src, &dst
		}
		if proto == protoTCP && len(b) >= 14 {
			flags := b[13]
			rec.TCPFlags = &flags
		}
	case protoICMP, protoICMPv6:
		if len(b) >= 2 {
			typ, code := b[0], b[1]
			rec.ICMPType, rec.ICMPCode = &typ, &code
		}
	}
}

const protoSCTP = 132
