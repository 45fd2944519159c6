// SPDX-License-Identifier: Apache-2.0

package model

import "strconv"

// IP protocol numbers that rules treat apart.
const (
	ProtoICMP   = 1
	ProtoTCP    = 6
	ProtoUDP    = 17
	ProtoICMPv6 = 58
	ProtoSCTP   = 132
)

// protocols are the names that Neutron's security groups accept, with their numbers (IANA "Protocol Numbers").
var protocols = map[string]uint8{
	"ah": 51, "dccp": 33, "egp": 8, "esp": 50, "gre": 47, "icmp": 1, "icmpv6": 58, "igmp": 2, "ipip": 4,
	"ipv6-encap": 41, "ipv6-frag": 44, "ipv6-icmp": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "ipv6-route": 43,
	"ospf": 89, "pgm": 113, "rsvp": 46, "sctp": 132, "tcp": 6, "udp": 17, "udplite": 136, "vrrp": 112,
}

// ProtocolNumber gives the number of a rule's protocol, which is a name or a number in text; any is true for "", "any", "0" and
// its names "ip" and "hopopt", which stand for every protocol. ok is false for anything else.
func ProtocolNumber(s string) (n uint8, any, ok bool) {
	switch s {
	case "", "any", "0", "ip", "hopopt":
		return 0, true, true
	}
	if n, ok := protocols[s]; ok {
		return n, false, true
	}
	v, err := strconv.ParseUint(s, 10, 8)
	return uint8(v), false, err == nil
}
