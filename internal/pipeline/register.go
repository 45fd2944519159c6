// SPDX-License-Identifier: Apache-2.0

package pipeline

// Origins of a frame, in reg0.
const (
	FromPort       uint32 = 1
	FromTunnel     uint32 = 2
	FromProvider   uint32 = 3
	FromController uint32 = 4
)

// Registers of the standard profile, by what they hold. Classic uses RegOrigin
// only.
const (
	RegOrigin   = 0
	RegSrcPort  = 1
	RegDstPort  = 2
	RegRouter   = 3
	RegNextHop  = 4
	RegSrcZone  = 5
	RegDstZone  = 6
	RegFlags    = 7
	RegNextHop6 = 8 // to 11, as xxreg2
	RegSrcSet   = 12
	RegDstSet   = 13
	RegRule     = 14
	RegMTU      = 15
)

// Bits of RegFlags.
const (
	FlagRouted       uint32 = 1 << 0
	FlagSrcFiltered  uint32 = 1 << 1
	FlagFloating     uint32 = 1 << 2
	FlagSized        uint32 = 1 << 3
	FlagDstFiltered  uint32 = 1 << 4
	FlagDstStateless uint32 = 1 << 5
	FlagPassedOn     uint32 = 1 << 6
	FlagTracing      uint32 = 1 << 8
	FlagTooLarge     uint32 = 1 << 31
)

// LabelTold is the bit of ct_label that says that a security log has told of the connection.
const LabelTold = 32

// Bits of ct_mark.
const CTMarkRevoked uint32 = 1 << 0

// FieldUse is what a field carries between tables.
type FieldUse struct {
	Field    string
	Profiles Profile
	Use      string
}

// FieldUses lists the fields that carry state between tables.
var FieldUses = []FieldUse{
	{"tun_id", both, "logical network, in all tables. VXLAN: the segmentation id itself. Other types: tag << 40, or-ed with: 1 = VLAN, 2 = flat and 5 = local: the network's key; 3 = GRE key; 4 = Geneve VNI. Rewritten to the wire value just before a tunnel"},
	{"reg0", both, "origin: 1 local port, 2 tunnel, 3 provider or external network, 4 injected by the controller"},
	{"reg1", Standard, "key of the source port"},
	{"reg2", Standard, "key of the destination port"},
	{"reg3", Standard, "key of the router"},
	{"reg4", Standard, "IPv4 next hop"},
	{"reg5", Standard, "conntrack zone of the source port"},
	{"reg6", Standard, "conntrack zone of the destination port"},
	{"reg7", Standard, "flags: bit 0 routed, bit 1 source filtered, bit 2 source has a floating IP on this node, bit 3 its size was looked at, bit 4 destination filtered, bit 5 destination stateless, bit 6 another router passed it on, bit 8 tracing, bit 31 larger than the MTU"},
	{"reg8..reg11 (xxreg2)", Standard, "IPv6 next hop"},
	{"reg12", Standard, "key of the source port's set of security groups"},
	{"reg13", Standard, "key of the destination port's set of security groups"},
	{"reg14", Standard, "key of the security group rule that accepted the packet"},
	{"reg15", Standard, "MTU of the network ahead, while a packet's size is looked at; else scratch"},
	{"metadata", Standard, "0; reserved for service chaining"},
	{"ct_mark", Standard, "in zones of security groups, bit 0: the connection is revoked; in zones of translation: key of the port that a floating IP stands for, 0 behind a gateway's address"},
	{"ct_label", Standard, "bits 0..31: key of the accepting rule; bit 32: a security log has told of the connection"},
}

// Tag makes the tun_id of a network that is not VXLAN: kind 1 to 5 as listed in
// FieldUses, id below 2^40.
func Tag(kind uint8, id uint64) uint64 { return uint64(kind)<<40 | id&(1<<40-1) }

// Kinds of Tag.
const (
	TagVLAN   uint8 = 1
	TagFlat   uint8 = 2
	TagGRE    uint8 = 3
	TagGeneve uint8 = 4
	TagLocal  uint8 = 5
)
