// SPDX-License-Identifier: Apache-2.0

package openflow

import "strconv"

// The registry. The order of the declarations is the canonical order of a
// match: what others depend on (eth_type, ip_proto, icmpv6_type, ct_state)
// stands before them, so a canonical match is also a legal one on the wire.
// Sources: ovs-fields(7) of Open vSwitch 3.1, OpenFlow 1.3.5 table 12.
var (
	FieldPacketType     = def(Field{Name: "packet_type", OXM: "OXM_OF_PACKET_TYPE", oxm: basic(44), nxm: noID, Bits: 32, Bytes: 4})
	FieldDPHash         = def(Field{Name: "dp_hash", OXM: "NXOXM_ET_DP_HASH", NXM: "NXM_NX_DP_HASH", oxm: ID{ClassExperimenter, 0, ExperimenterNicira}, nxm: nx(35), Bits: 32, Bytes: 4, Mask: true})
	FieldRecircID       = def(Field{Name: "recirc_id", NXM: "NXM_NX_RECIRC_ID", oxm: noID, nxm: nx(36), Bits: 32, Bytes: 4})
	FieldConjID         = def(Field{Name: "conj_id", NXM: "NXM_NX_CONJ_ID", oxm: noID, nxm: nx(37), Bits: 32, Bytes: 4})
	FieldInPort         = def(Field{Name: "in_port", Alias: []string{"in_port_oxm"}, OXM: "OXM_OF_IN_PORT", oxm: basic(0), nxm: noID, Bits: 32, Bytes: 4, Write: true})
	FieldInPort16       = def(Field{Name: "in_port_nxm", NXM: "NXM_OF_IN_PORT", oxm: noID, nxm: nxof(0), Bits: 16, Bytes: 2, Write: true})
	FieldActsetOutput   = def(Field{Name: "actset_output", OXM: "ONFOXM_ET_ACTSET_OUTPUT", oxm: onf(43), nxm: noID, Bits: 32, Bytes: 4})
	FieldEthDst         = def(Field{Name: "eth_dst", Alias: []string{"dl_dst"}, OXM: "OXM_OF_ETH_DST", NXM: "NXM_OF_ETH_DST", oxm: basic(3), nxm: nxof(1), Bits: 48, Bytes: 6, Mask: true, Write: true})
	FieldEthSrc         = def(Field{Name: "eth_src", Alias: []string{"dl_src"}, OXM: "OXM_OF_ETH_SRC", NXM: "NXM_OF_ETH_SRC", oxm: basic(4), nxm: nxof(2), Bits: 48, Bytes: 6, Mask: true, Write: true})
	FieldEthType        = def(Field{Name: "eth_type", Alias: []string{"dl_type"}, OXM: "OXM_OF_ETH_TYPE", NXM: "NXM_OF_ETH_TYPE", oxm: basic(5), nxm: nxof(3), Bits: 16, Bytes: 2})
	FieldVLANVID        = def(Field{Name: "vlan_vid", OXM: "OXM_OF_VLAN_VID", oxm: basic(6), nxm: noID, Bits: 13, Bytes: 2, Mask: true, Write: true})
	FieldVLANPCP        = def(Field{Name: "vlan_pcp", OXM: "OXM_OF_VLAN_PCP", oxm: basic(7), nxm: noID, Bits: 3, Bytes: 1, Write: true, Prereq: PreVLAN})
	FieldVLANTCI        = def(Field{Name: "vlan_tci", NXM: "NXM_OF_VLAN_TCI", oxm: noID, nxm: nxof(4), Bits: 16, Bytes: 2, Mask: true, Write: true})
	FieldMPLSLabel      = def(Field{Name: "mpls_label", OXM: "OXM_OF_MPLS_LABEL", oxm: basic(34), nxm: noID, Bits: 20, Bytes: 4, Write: true, Prereq: PreMPLS})
	FieldMPLSTC         = def(Field{Name: "mpls_tc", OXM: "OXM_OF_MPLS_TC", oxm: basic(35), nxm: noID, Bits: 3, Bytes: 1, Write: true, Prereq: PreMPLS})
	FieldMPLSBOS        = def(Field{Name: "mpls_bos", OXM: "OXM_OF_MPLS_BOS", oxm: basic(36), nxm: noID, Bits: 1, Bytes: 1, Prereq: PreMPLS})
	FieldMPLSTTL        = def(Field{Name: "mpls_ttl", NXM: "NXM_NX_MPLS_TTL", oxm: noID, nxm: nx(30), Bits: 8, Bytes: 1, Write: true, Prereq: PreMPLS})
	FieldIPProto        = def(Field{Name: "ip_proto", Alias: []string{"nw_proto"}, OXM: "OXM_OF_IP_PROTO", NXM: "NXM_OF_IP_PROTO", oxm: basic(10), nxm: nxof(6), Bits: 8, Bytes: 1, Prereq: PreIP})
	FieldIPv4Src        = def(Field{Name: "ip_src", Alias: []string{"nw_src", "ipv4_src"}, OXM: "OXM_OF_IPV4_SRC", NXM: "NXM_OF_IP_SRC", oxm: basic(11), nxm: nxof(7), Bits: 32, Bytes: 4, Mask: true, Write: true, Prereq: PreIPv4})
	FieldIPv4Dst        = def(Field{Name: "ip_dst", Alias: []string{"nw_dst", "ipv4_dst"}, OXM: "OXM_OF_IPV4_DST", NXM: "NXM_OF_IP_DST", oxm: basic(12), nxm: nxof(8), Bits: 32, Bytes: 4, Mask: true, Write: true, Prereq: PreIPv4})
	FieldIPv6Src        = def(Field{Name: "ipv6_src", OXM: "OXM_OF_IPV6_SRC", NXM: "NXM_NX_IPV6_SRC", oxm: basic(26), nxm: nx(19), Bits: 128, Bytes: 16, Mask: true, Write: true, Prereq: PreIPv6})
	FieldIPv6Dst        = def(Field{Name: "ipv6_dst", OXM: "OXM_OF_IPV6_DST", NXM: "NXM_NX_IPV6_DST", oxm: basic(27), nxm: nx(20), Bits: 128, Bytes: 16, Mask: true, Write: true, Prereq: PreIPv6})
	FieldIPv6Label      = def(Field{Name: "ipv6_label", Alias: []string{"ipv6_flabel"}, OXM: "OXM_OF_IPV6_FLABEL", NXM: "NXM_NX_IPV6_LABEL", oxm: basic(28), nxm: nx(27), Bits: 20, Bytes: 4, Mask: true, Write: true, Prereq: PreIPv6})
	FieldIPTTL          = def(Field{Name: "nw_ttl", Alias: []string{"ip_ttl"}, NXM: "NXM_NX_IP_TTL", oxm: noID, nxm: nx(29), Bits: 8, Bytes: 1, Write: true, Prereq: PreIP})
	FieldIPFrag         = def(Field{Name: "ip_frag", Alias: []string{"nw_frag"}, NXM: "NXM_NX_IP_FRAG", oxm: noID, nxm: nx(26), Bits: 2, Bytes: 1, Mask: true, Prereq: PreIP})
	FieldIPTOS          = def(Field{Name: "nw_tos", NXM: "NXM_OF_IP_TOS", oxm: noID, nxm: nxof(5), Bits: 8, Bytes: 1, Write: true, Prereq: PreIP})
	FieldIPDSCP         = def(Field{Name: "ip_dscp", OXM: "OXM_OF_IP_DSCP", oxm: basic(8), nxm: noID, Bits: 6, Bytes: 1, Write: true, Prereq: PreIP})
	FieldIPECN          = def(Field{Name: "nw_ecn", Alias: []string{"ip_ecn"}, OXM: "OXM_OF_IP_ECN", NXM: "NXM_NX_IP_ECN", oxm: basic(9), nxm: nx(28), Bits: 2, Bytes: 1, Write: true, Prereq: PreIP})
	FieldARPOp          = def(Field{Name: "arp_op", OXM: "OXM_OF_ARP_OP", NXM: "NXM_OF_ARP_OP", oxm: basic(21), nxm: nxof(15), Bits: 16, Bytes: 2, Write: true, Prereq: PreARP})
	FieldARPSPA         = def(Field{Name: "arp_spa", OXM: "OXM_OF_ARP_SPA", NXM: "NXM_OF_ARP_SPA", oxm: basic(22), nxm: nxof(16), Bits: 32, Bytes: 4, Mask: true, Write: true, Prereq: PreARP})
	FieldARPTPA         = def(Field{Name: "arp_tpa", OXM: "OXM_OF_ARP_TPA", NXM: "NXM_OF_ARP_TPA", oxm: basic(23), nxm: nxof(17), Bits: 32, Bytes: 4, Mask: true, Write: true, Prereq: PreARP})
	FieldARPSHA         = def(Field{Name: "arp_sha", OXM: "OXM_OF_ARP_SHA", NXM: "NXM_NX_ARP_SHA", oxm: basic(24), nxm: nx(17), Bits: 48, Bytes: 6, Mask: true, Write: true, Prereq: PreARP})
	FieldARPTHA         = def(Field{Name: "arp_tha", OXM: "OXM_OF_ARP_THA", NXM: "NXM_NX_ARP_THA", oxm: basic(25), nxm: nx(18), Bits: 48, Bytes: 6, Mask: true, Write: true, Prereq: PreARP})
	FieldTCPSrc         = def(Field{Name: "tcp_src", Alias: []string{"tp_src"}, OXM: "OXM_OF_TCP_SRC", NXM: "NXM_OF_TCP_SRC", oxm: basic(13), nxm: nxof(9), Bits: 16, Bytes: 2, Mask: true, Write: true, Prereq: PreTCP})
	FieldTCPDst         = def(Field{Name: "tcp_dst", Alias: []string{"tp_dst"}, OXM: "OXM_OF_TCP_DST", NXM: "NXM_OF_TCP_DST", oxm: basic(14), nxm: nxof(10), Bits: 16, Bytes: 2, Mask: true, Write: true, Prereq: PreTCP})
	FieldTCPFlags       = def(Field{Name: "tcp_flags", OXM: "ONFOXM_ET_TCP_FLAGS", NXM: "NXM_NX_TCP_FLAGS", oxm: onf(42), nxm: nx(34), Bits: 12, Bytes: 2, Mask: true, Prereq: PreTCP})
	FieldUDPSrc         = def(Field{Name: "udp_src", OXM: "OXM_OF_UDP_SRC", NXM: "NXM_OF_UDP_SRC", oxm: basic(15), nxm: nxof(11), Bits: 16, Bytes: 2, Mask: true, Write: true, Prereq: PreUDP})
	FieldUDPDst         = def(Field{Name: "udp_dst", OXM: "OXM_OF_UDP_DST", NXM: "NXM_OF_UDP_DST", oxm: basic(16), nxm: nxof(12), Bits: 16, Bytes: 2, Mask: true, Write: true, Prereq: PreUDP})
	FieldSCTPSrc        = def(Field{Name: "sctp_src", OXM: "OXM_OF_SCTP_SRC", oxm: basic(17), nxm: noID, Bits: 16, Bytes: 2, Mask: true, Write: true, Prereq: PreSCTP})
	FieldSCTPDst        = def(Field{Name: "sctp_dst", OXM: "OXM_OF_SCTP_DST", oxm: basic(18), nxm: noID, Bits: 16, Bytes: 2, Mask: true, Write: true, Prereq: PreSCTP})
	FieldICMPType       = def(Field{Name: "icmp_type", OXM: "OXM_OF_ICMPV4_TYPE", NXM: "NXM_OF_ICMP_TYPE", oxm: basic(19), nxm: nxof(13), Bits: 8, Bytes: 1, Write: true, Prereq: PreICMPv4})
	FieldICMPCode       = def(Field{Name: "icmp_code", OXM: "OXM_OF_ICMPV4_CODE", NXM: "NXM_OF_ICMP_CODE", oxm: basic(20), nxm: nxof(14), Bits: 8, Bytes: 1, Write: true, Prereq: PreICMPv4})
	FieldICMPv6Type     = def(Field{Name: "icmpv6_type", OXM: "OXM_OF_ICMPV6_TYPE", NXM: "NXM_NX_ICMPV6_TYPE", oxm: basic(29), nxm: nx(21), Bits: 8, Bytes: 1, Write: true, Prereq: PreICMPv6})
	FieldICMPv6Code     = def(Field{Name: "icmpv6_code", OXM: "OXM_OF_ICMPV6_CODE", NXM: "NXM_NX_ICMPV6_CODE", oxm: basic(30), nxm: nx(22), Bits: 8, Bytes: 1, Write: true, Prereq: PreICMPv6})
	FieldNDTarget       = def(Field{Name: "nd_target", OXM: "OXM_OF_IPV6_ND_TARGET", NXM: "NXM_NX_ND_TARGET", oxm: basic(31), nxm: nx(23), Bits: 128, Bytes: 16, Mask: true, Write: true, Prereq: PreND})
	FieldNDSLL          = def(Field{Name: "nd_sll", OXM: "OXM_OF_IPV6_ND_SLL", NXM: "NXM_NX_ND_SLL", oxm: basic(32), nxm: nx(24), Bits: 48, Bytes: 6, Mask: true, Write: true, Prereq: PreNDSolicit})
	FieldNDTLL          = def(Field{Name: "nd_tll", OXM: "OXM_OF_IPV6_ND_TLL", NXM: "NXM_NX_ND_TLL", oxm: basic(33), nxm: nx(25), Bits: 48, Bytes: 6, Mask: true, Write: true, Prereq: PreNDAdvert})
	FieldNDReserved     = def(Field{Name: "nd_reserved", OXM: "ERICOXM_OF_ICMPV6_ND_RESERVED", oxm: eric(1), nxm: noID, Bits: 32, Bytes: 4, Write: true, Prereq: PreND})
	FieldNDOptionsType  = def(Field{Name: "nd_options_type", OXM: "ERICOXM_OF_ICMPV6_ND_OPTIONS_TYPE", oxm: eric(2), nxm: noID, Bits: 8, Bytes: 1, Write: true, Prereq: PreND})
	FieldTunID          = def(Field{Name: "tun_id", Alias: []string{"tunnel_id"}, OXM: "OXM_OF_TUNNEL_ID", NXM: "NXM_NX_TUN_ID", oxm: basic(38), nxm: nx(16), Bits: 64, Bytes: 8, Mask: true, Write: true})
	FieldTunFlags       = def(Field{Name: "tun_flags", NXM: "NXM_NX_TUN_FLAGS", oxm: noID, nxm: nx(104), Bits: 1, Bytes: 2, Mask: true, Write: true})
	FieldTunSrc         = def(Field{Name: "tun_src", NXM: "NXM_NX_TUN_IPV4_SRC", oxm: noID, nxm: nx(31), Bits: 32, Bytes: 4, Mask: true, Write: true})
	FieldTunDst         = def(Field{Name: "tun_dst", NXM: "NXM_NX_TUN_IPV4_DST", oxm: noID, nxm: nx(32), Bits: 32, Bytes: 4, Mask: true, Write: true})
	FieldTunIPv6Src     = def(Field{Name: "tun_ipv6_src", NXM: "NXM_NX_TUN_IPV6_SRC", oxm: noID, nxm: nx(109), Bits: 128, Bytes: 16, Mask: true, Write: true})
	FieldTunIPv6Dst     = def(Field{Name: "tun_ipv6_dst", NXM: "NXM_NX_TUN_IPV6_DST", oxm: noID, nxm: nx(110), Bits: 128, Bytes: 16, Mask: true, Write: true})
	FieldTunGBPID       = def(Field{Name: "tun_gbp_id", NXM: "NXM_NX_TUN_GBP_ID", oxm: noID, nxm: nx(38), Bits: 16, Bytes: 2, Mask: true, Write: true})
	FieldTunGBPFlags    = def(Field{Name: "tun_gbp_flags", NXM: "NXM_NX_TUN_GBP_FLAGS", oxm: noID, nxm: nx(39), Bits: 8, Bytes: 1, Mask: true, Write: true})
	FieldTunERSPANIdx   = def(Field{Name: "tun_erspan_idx", OXM: "NXOXM_ET_ERSPAN_IDX", oxm: nxet(11), nxm: noID, Bits: 20, Bytes: 4, Mask: true, Write: true})
	FieldTunERSPANVer   = def(Field{Name: "tun_erspan_ver", OXM: "NXOXM_ET_ERSPAN_VER", oxm: nxet(12), nxm: noID, Bits: 4, Bytes: 1, Mask: true, Write: true})
	FieldTunERSPANDir   = def(Field{Name: "tun_erspan_dir", OXM: "NXOXM_ET_ERSPAN_DIR", oxm: nxet(13), nxm: noID, Bits: 1, Bytes: 1, Mask: true, Write: true})
	FieldTunERSPANHWID  = def(Field{Name: "tun_erspan_hwid", OXM: "NXOXM_ET_ERSPAN_HWID", oxm: nxet(14), nxm: noID, Bits: 6, Bytes: 1, Mask: true, Write: true})
	FieldTunGTPUFlags   = def(Field{Name: "tun_gtpu_flags", OXM: "NXOXM_ET_GTPU_FLAGS", oxm: nxet(15), nxm: noID, Bits: 8, Bytes: 1, Mask: true})
	FieldTunGTPUMsgType = def(Field{Name: "tun_gtpu_msgtype", OXM: "NXOXM_ET_GTPU_MSGTYPE", oxm: nxet(16), nxm: noID, Bits: 8, Bytes: 1, Mask: true})
	FieldNSHFlags       = def(Field{Name: "nsh_flags", OXM: "NXOXM_NSH_FLAGS", oxm: nsh(1), nxm: noID, Bits: 8, Bytes: 1, Mask: true, Write: true, Prereq: PreNSH})
	FieldNSHTTL         = def(Field{Name: "nsh_ttl", OXM: "NXOXM_NSH_TTL", oxm: nsh(10), nxm: noID, Bits: 8, Bytes: 1, Write: true, Prereq: PreNSH})
	FieldNSHMDType      = def(Field{Name: "nsh_mdtype", OXM: "NXOXM_NSH_MDTYPE", oxm: nsh(2), nxm: noID, Bits: 8, Bytes: 1, Prereq: PreNSH})
	FieldNSHNP          = def(Field{Name: "nsh_np", OXM: "NXOXM_NSH_NP", oxm: nsh(3), nxm: noID, Bits: 8, Bytes: 1, Prereq: PreNSH})
	FieldNSHSPI         = def(Field{Name: "nsh_spi", Alias: []string{"nsp"}, OXM: "NXOXM_NSH_SPI", oxm: nsh(4), nxm: noID, Bits: 24, Bytes: 4, Write: true, Prereq: PreNSH})
	FieldNSHSI          = def(Field{Name: "nsh_si", Alias: []string{"nsi"}, OXM: "NXOXM_NSH_SI", oxm: nsh(5), nxm: noID, Bits: 8, Bytes: 1, Write: true, Prereq: PreNSH})
	FieldNSHC1          = def(Field{Name: "nsh_c1", Alias: []string{"nshc1"}, OXM: "NXOXM_NSH_C1", oxm: nsh(6), nxm: noID, Bits: 32, Bytes: 4, Mask: true, Write: true, Prereq: PreNSH})
	FieldNSHC2          = def(Field{Name: "nsh_c2", Alias: []string{"nshc2"}, OXM: "NXOXM_NSH_C2", oxm: nsh(7), nxm: noID, Bits: 32, Bytes: 4, Mask: true, Write: true, Prereq: PreNSH})
	FieldNSHC3          = def(Field{Name: "nsh_c3", Alias: []string{"nshc3"}, OXM: "NXOXM_NSH_C3", oxm: nsh(8), nxm: noID, Bits: 32, Bytes: 4, Mask: true, Write: true, Prereq: PreNSH})
	FieldNSHC4          = def(Field{Name: "nsh_c4", Alias: []string{"nshc4"}, OXM: "NXOXM_NSH_C4", oxm: nsh(9), nxm: noID, Bits: 32, Bytes: 4, Mask: true, Write: true, Prereq: PreNSH})
	FieldPktMark        = def(Field{Name: "pkt_mark", NXM: "NXM_NX_PKT_MARK", oxm: noID, nxm: nx(33), Bits: 32, Bytes: 4, Mask: true, Write: true})
	FieldCTState        = def(Field{Name: "ct_state", NXM: "NXM_NX_CT_STATE", oxm: noID, nxm: nx(105), Bits: 8, Bytes: 4, Mask: true})
	FieldCTZone         = def(Field{Name: "ct_zone", NXM: "NXM_NX_CT_ZONE", oxm: noID, nxm: nx(106), Bits: 16, Bytes: 2})
	FieldCTMark         = def(Field{Name: "ct_mark", NXM: "NXM_NX_CT_MARK", oxm: noID, nxm: nx(107), Bits: 32, Bytes: 4, Mask: true, Write: true})
	FieldCTLabel        = def(Field{Name: "ct_label", NXM: "NXM_NX_CT_LABEL", oxm: noID, nxm: nx(108), Bits: 128, Bytes: 16, Mask: true, Write: true})
	FieldCTNwSrc        = def(Field{Name: "ct_nw_src", NXM: "NXM_NX_CT_NW_SRC", oxm: noID, nxm: nx(120), Bits: 32, Bytes: 4, Mask: true, Prereq: PreCT})
	FieldCTNwDst        = def(Field{Name: "ct_nw_dst", NXM: "NXM_NX_CT_NW_DST", oxm: noID, nxm: nx(121), Bits: 32, Bytes: 4, Mask: true, Prereq: PreCT})
	FieldCTIPv6Src      = def(Field{Name: "ct_ipv6_src", NXM: "NXM_NX_CT_IPV6_SRC", oxm: noID, nxm: nx(122), Bits: 128, Bytes: 16, Mask: true, Prereq: PreCT})
	FieldCTIPv6Dst      = def(Field{Name: "ct_ipv6_dst", NXM: "NXM_NX_CT_IPV6_DST", oxm: noID, nxm: nx(123), Bits: 128, Bytes: 16, Mask: true, Prereq: PreCT})
	FieldCTNwProto      = def(Field{Name: "ct_nw_proto", NXM: "NXM_NX_CT_NW_PROTO", oxm: noID, nxm: nx(119), Bits: 8, Bytes: 1, Prereq: PreCT})
	FieldCTTpSrc        = def(Field{Name: "ct_tp_src", NXM: "NXM_NX_CT_TP_SRC", oxm: noID, nxm: nx(124), Bits: 16, Bytes: 2, Mask: true, Prereq: PreCT})
	FieldCTTpDst        = def(Field{Name: "ct_tp_dst", NXM: "NXM_NX_CT_TP_DST", oxm: noID, nxm: nx(125), Bits: 16, Bytes: 2, Mask: true, Prereq: PreCT})
	FieldMetadata       = def(Field{Name: "metadata", OXM: "OXM_OF_METADATA", oxm: basic(2), nxm: noID, Bits: 64, Bytes: 8, Mask: true, Write: true})
)

// Families of fields, numbered from 0.
var (
	regs   = defRegs()
	xregs  = defSeries(16, "xreg", "OXM_OF_PKT_REG", "", 64, func(i int) (ID, ID) { return ID{Class: ClassPacketReg, Num: uint8(i)}, noID })
	xxregs = defSeries(4, "xxreg", "", "NXM_NX_XXREG", 128, func(i int) (ID, ID) { return noID, nx(uint8(111 + i)) })

	// Variable length, 1 to 124 bytes; what it means depends on the switch's TLV table.
	tunMetadata = defSeries(64, "tun_metadata", "", "NXM_NX_TUN_METADATA", 0, func(i int) (ID, ID) { return noID, nx(uint8(40 + i)) })
)

// Reg is the 32-bit register i, 0..31 (16 and up since Open vSwitch 3.7); nil outside.
func Reg(i int) *Field { return at(regs, i) }

// XReg is the 64-bit register i, 0..15: reg(2i) is its high half.
func XReg(i int) *Field { return at(xregs, i) }

// XXReg is the 128-bit register i, 0..3: reg(4i) holds its highest 32 bits.
func XXReg(i int) *Field { return at(xxregs, i) }

// TunMetadata is tunnel option field i, 0..63.
func TunMetadata(i int) *Field { return at(tunMetadata, i) }

func at(s []*Field, i int) *Field {
	if i < 0 || i >= len(s) {
		return nil
	}
	return s[i]
}

func defRegs() []*Field {
	lo := defSeries(16, "reg", "", "NXM_NX_REG", 32, func(i int) (ID, ID) { return noID, nx(uint8(i)) })
	var hi []*Field
	for i := 16; i < 32; i++ {
		n := strconv.Itoa(i)
		hi = append(hi, def(Field{Name: "reg" + n, OXM: "NXOXM_ET_REG" + n, oxm: nxet(uint8(i + 1)), nxm: noID, Bits: 32, Bytes: 4, Mask: true, Write: true}))
	}
	return append(lo, hi...)
}

func defSeries(n int, name, oxm, nxm string, bits int, id func(int) (ID, ID)) []*Field {
	var out []*Field
	for i := range n {
		num := strconv.Itoa(i)
		f := Field{Name: name + num, Bits: bits, Bytes: bits / 8, Mask: true, Write: true}
		if bits == 0 {
			f.Bits = 124 * 8
		}
		f.oxm, f.nxm = id(i)
		if oxm != "" {
			f.OXM = oxm + num
		}
		if nxm != "" {
			f.NXM = nxm + num
		}
		out = append(out, def(f))
	}
	return out
}

// OpenFlow 1.5 numbers that newer switches also accept for fields whose 1.3
// number is an experimenter one.
func init() {
	addID(FieldActsetOutput, basic(43))
	addID(FieldTCPFlags, basic(42))
}

func basic(n uint8) ID { return ID{Class: ClassBasic, Num: n} }
func nx(n uint8) ID    { return ID{Class: ClassNXM1, Num: n} }
func nxof(n uint8) ID  { return ID{Class: ClassNXM0, Num: n} }
func eric(n uint8) ID  { return ID{Class: ClassEricsson, Num: n} }
func onf(n uint8) ID   { return ID{ClassExperimenter, n, ExperimenterONF} }
func nxet(n uint8) ID  { return ID{ClassExperimenter, n, ExperimenterNicira} }
func nsh(n uint8) ID   { return ID{ClassExperimenter, n, ExperimenterNSH} }
