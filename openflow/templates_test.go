// SPDX-License-Identifier: Apache-2.0

package openflow

import (
	"net/netip"
	"testing"
)

// flowTemplate is one shape of flow of the pipeline: the text ovs-ofctl takes
// and prints, and the same built with this package.
type flowTemplate struct {
	text string
	flow FlowMod
}

func match(parts ...[]byte) []byte {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	c, err := CanonicalMatch(all)
	if err != nil {
		panic(err)
	}
	return c
}

func u(f *Field, v uint64) []byte         { return AppendUint(nil, f, v) }
func um(f *Field, v, mask uint64) []byte  { return AppendUintMask(nil, f, v, mask) }
func ip(f *Field, s string) []byte        { return AppendAddr(nil, f, netip.MustParseAddr(s)) }
func pfx(f *Field, s string) []byte       { return AppendPrefix(nil, f, netip.MustParsePrefix(s)) }
func addr(s string) netip.Addr            { return netip.MustParseAddr(s) }
func setIP(f *Field, s string) SetField   { return SetField{f, netip.MustParseAddr(s).AsSlice()} }
func setMAC(f *Field, m ...byte) SetField { return SetField{f, m} }
func ethType(v uint64) []byte             { return u(FieldEthType, v) }
func l4(typ, proto uint64) []byte         { return append(ethType(typ), u(FieldIPProto, proto)...) }
func inst(is ...Instruction) []byte       { return AppendInstructions(nil, is...) }
func apply(as ...Action) Instruction      { return ApplyActions{as} }
func acts(as ...Action) []byte            { return AppendActions(nil, as...) }
func tf(table uint8, prio uint16, match []byte, insts ...Instruction) FlowMod {
	return FlowMod{Table: table, Priority: prio, Match: match, Instructions: inst(insts...)}
}

var (
	macA  = []byte{0xfa, 0x16, 0x3e, 0x9e, 0xf5, 0x70}
	macB  = []byte{0xfa, 0x16, 0x3e, 0x53, 0x88, 0x56}
	mcast = AppendField(nil, FieldEthDst, []byte{1, 0, 0, 0, 0, 0}, []byte{1, 0, 0, 0, 0, 0})
)

func src(m []byte) []byte { return AppendField(nil, FieldEthSrc, m, nil) }
func dst(m []byte) []byte { return AppendField(nil, FieldEthDst, m, nil) }

const (
	ipv4 = 0x0800
	ipv6 = 0x86dd
	arp  = 0x0806
)

// ct_state bits as Open vSwitch numbers them.
const (
	csNew, csEst, csRel, csRpl, csInv, csTrk = 1, 2, 4, 8, 16, 32
)

func templates() []flowTemplate {
	swap := []Action{Move{FieldEthSrc.All(), FieldEthDst.All()}, setMAC(FieldEthSrc, macA...)}
	return []flowTemplate{
		// L2
		{"table=0,priority=32768,dl_type=0x88cc,actions=CONTROLLER:65535",
			tf(0, 32768, match(ethType(0x88cc)), apply(Output{PortController, 0xffff}))},
		{"table=0,priority=0,actions=goto_table:20", tf(0, 0, nil, GotoTable{20})},
		{"table=110,priority=0,actions=drop", tf(110, 0, nil)},
		{"table=0,priority=32768,in_port=2,dl_src=fa:16:3e:9e:f5:70,actions=set_field:0x435->tun_id,load:0x1->NXM_NX_REG0[],load:0x7->NXM_NX_REG1[],load:0x1000->NXM_NX_REG5[],goto_table:20",
			tf(0, 32768, match(u(FieldInPort, 2), src(macA)), apply(SetUint(FieldTunID, 0x435), LoadUint(Reg(0), 1), LoadUint(Reg(1), 7), LoadUint(Reg(5), 0x1000)), GotoTable{20})},
		{"table=0,priority=8192,in_port=2,actions=drop", tf(0, 8192, match(u(FieldInPort, 2)))},
		{"table=0,priority=32768,tun_id=0x435,in_port=1,actions=load:0x2->NXM_NX_REG0[],goto_table:20",
			tf(0, 32768, match(u(FieldTunID, 0x435), u(FieldInPort, 1)), apply(LoadUint(Reg(0), 2)), GotoTable{20})},
		{"table=0,priority=32767,tun_id=0x435,tun_src=192.168.0.11,in_port=1,actions=goto_table:20",
			tf(0, 32767, match(u(FieldTunID, 0x435), ip(FieldTunSrc, "192.168.0.11"), u(FieldInPort, 1)), GotoTable{20})},
		{"table=80,priority=32768,tun_id=0x435,dl_dst=fa:16:3e:9e:f5:70,actions=load:0x7->NXM_NX_REG2[],load:0x1000->NXM_NX_REG6[],load:0x1->NXM_NX_REG7[4],goto_table:90",
			tf(80, 32768, match(u(FieldTunID, 0x435), dst(macA)), apply(LoadUint(Reg(2), 7), LoadUint(Reg(6), 0x1000), Load{Reg(7).Range(4, 1), 1}), GotoTable{90})},
		{"table=110,priority=40000,reg2=0x7,actions=output:2", tf(110, 40000, match(u(Reg(2), 7)), apply(Output{Port: 2}))},
		{"table=110,priority=32768,tun_id=0x435,dl_dst=fa:16:3e:53:88:56,actions=output:1",
			tf(110, 32768, match(u(FieldTunID, 0x435), dst(macB)), apply(Output{Port: 1}))},
		{"table=110,priority=32767,tun_id=0x435,dl_dst=fa:16:3e:53:88:56,actions=set_field:192.168.0.11->tun_dst,output:1",
			tf(110, 32767, match(u(FieldTunID, 0x435), dst(macB)), apply(setIP(FieldTunDst, "192.168.0.11"), Output{Port: 1}))},
		{"table=110,priority=16384,reg0=0x2,tun_id=0x435,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,actions=output:2,output:3",
			tf(110, 16384, match(u(Reg(0), 2), u(FieldTunID, 0x435), mcast), apply(Output{Port: 2}, Output{Port: 3}))},
		{"table=110,priority=16383,reg0=0x1,tun_id=0x435,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,actions=group:16778293",
			tf(110, 16383, match(u(Reg(0), 1), u(FieldTunID, 0x435), mcast), apply(Group{0x01000435}))},
		{"table=110,priority=8192,tun_id=0x435,actions=drop", tf(110, 8192, match(u(FieldTunID, 0x435)))},
		{"table=110,priority=8191,tun_id=0x10000000435,actions=set_field:0x435->tun_id,output:1",
			tf(110, 8191, match(u(FieldTunID, 0x10000000435)), apply(SetUint(FieldTunID, 0x435), Output{Port: 1}))},
		// VLAN, flat, trunk
		{"table=0,priority=32768,in_port=4,dl_vlan=100,actions=pop_vlan,set_field:0x10000000064->tun_id,load:0x3->NXM_NX_REG0[],goto_table:20",
			tf(0, 32768, match(u(FieldInPort, 4), u(FieldVLANVID, 0x1064)), apply(PopVLAN{}, SetUint(FieldTunID, 0x10000000064), LoadUint(Reg(0), 3)), GotoTable{20})},
		{"table=0,priority=32768,in_port=5,vlan_tci=0x0000,actions=load:0x3->NXM_NX_REG0[],goto_table:20",
			tf(0, 32768, match(u(FieldInPort, 5), u(FieldVLANVID, 0)), apply(LoadUint(Reg(0), 3)), GotoTable{20})},
		{"table=0,priority=32769,in_port=2,dl_vlan=5,dl_src=fa:16:3e:9e:f5:70,actions=pop_vlan,load:0x9->NXM_NX_REG1[],goto_table:20",
			tf(0, 32769, match(u(FieldInPort, 2), u(FieldVLANVID, 0x1005), src(macA)), apply(PopVLAN{}, LoadUint(Reg(1), 9)), GotoTable{20})},
		{"table=110,priority=40000,reg2=0x9,actions=push_vlan:0x8100,set_field:4101->vlan_vid,load:0xffff->NXM_OF_IN_PORT[],output:2",
			tf(110, 40000, match(u(Reg(2), 9)), apply(PushVLAN{0x8100}, SetUint(FieldVLANVID, 0x1005), LoadUint(FieldInPort16, 0xffff), Output{Port: 2}))},
		{"table=110,priority=8192,reg0=0x1,tun_id=0x10000000064,actions=push_vlan:0x8100,set_field:4196->vlan_vid,output:4",
			tf(110, 8192, match(u(Reg(0), 1), u(FieldTunID, 0x10000000064)), apply(PushVLAN{0x8100}, SetUint(FieldVLANVID, 0x1064), Output{Port: 4}))},
		// multicast
		{"table=20,priority=2000,ip,reg0=0x1,nw_proto=2,actions=CONTROLLER:65535,goto_table:30",
			tf(20, 2000, match(l4(ipv4, 2), u(Reg(0), 1)), apply(Output{PortController, 0xffff}), GotoTable{30})},
		{"table=110,priority=16400,ip,tun_id=0x435,dl_dst=01:00:5e:01:02:03,nw_dst=239.1.2.3,actions=group:83887157",
			tf(110, 16400, match(ethType(ipv4), u(FieldTunID, 0x435), dst([]byte{1, 0, 0x5e, 1, 2, 3}), ip(FieldIPv4Dst, "239.1.2.3")), apply(Group{0x05000435}))},
		// port security
		{"table=40,priority=61013,reg1=0x7,actions=goto_table:50", tf(40, 61013, match(u(Reg(1), 7)), GotoTable{50})},
		{"table=40,priority=61012,udp,reg1=0x7,tp_src=68,tp_dst=67,actions=goto_table:50",
			tf(40, 61012, match(l4(ipv4, 17), u(Reg(1), 7), u(FieldUDPSrc, 68), u(FieldUDPDst, 67)), GotoTable{50})},
		{"table=40,priority=61012,udp6,reg1=0x7,tp_src=546,tp_dst=547,actions=goto_table:50",
			tf(40, 61012, match(l4(ipv6, 17), u(Reg(1), 7), u(FieldUDPSrc, 546), u(FieldUDPDst, 547)), GotoTable{50})},
		{"table=40,priority=61011,icmp6,in_port=2,icmp_type=134,actions=drop",
			tf(40, 61011, match(l4(ipv6, 58), u(FieldInPort, 2), u(FieldICMPv6Type, 134)))},
		{"table=40,priority=61010,arp,in_port=2,dl_src=fa:16:3e:9e:f5:70,arp_spa=10.11.12.3,arp_sha=fa:16:3e:9e:f5:70,actions=goto_table:50",
			tf(40, 61010, match(ethType(arp), u(FieldInPort, 2), src(macA), ip(FieldARPSPA, "10.11.12.3"), AppendField(nil, FieldARPSHA, macA, nil)), GotoTable{50})},
		{"table=40,priority=61010,icmp6,in_port=2,dl_src=fa:16:3e:9e:f5:70,icmp_type=136,icmp_code=0,nd_target=fe80::1,actions=goto_table:50",
			tf(40, 61010, match(l4(ipv6, 58), u(FieldInPort, 2), src(macA), u(FieldICMPv6Type, 136), u(FieldICMPv6Code, 0), ip(FieldNDTarget, "fe80::1")), GotoTable{50})},
		{"table=40,priority=36001,ip,in_port=2,dl_src=fa:16:3e:9e:f5:70,nw_src=10.11.12.3,actions=ct(table=41,zone=NXM_NX_REG5[0..15])",
			tf(40, 36001, match(ethType(ipv4), u(FieldInPort, 2), src(macA), ip(FieldIPv4Src, "10.11.12.3")), apply(CT{ZoneFrom: Reg(5).Range(0, 16), Table: 41}))},
		{"table=40,priority=36001,ipv6,in_port=2,dl_src=fa:16:3e:9e:f5:70,ipv6_src=2001:db8::3,actions=set_field:10->ip_dscp,ct(table=41,zone=NXM_NX_REG5[0..15])",
			tf(40, 36001, match(ethType(ipv6), u(FieldInPort, 2), src(macA), ip(FieldIPv6Src, "2001:db8::3")), apply(SetUint(FieldIPDSCP, 10), CT{ZoneFrom: Reg(5).Range(0, 16), Table: 41}))},
		{"table=90,priority=36001,ip,reg7=0x10/0x10,actions=ct(table=91,zone=NXM_NX_REG6[0..15])",
			tf(90, 36001, match(ethType(ipv4), um(Reg(7), 0x10, 0x10)), apply(CT{ZoneFrom: Reg(6).Range(0, 16), Table: 91}))},
		{"table=90,priority=61006,udp,dl_src=fa:16:3e:53:88:56,tp_src=67,tp_dst=68,actions=goto_table:100",
			tf(90, 61006, match(l4(ipv4, 17), src(macB), u(FieldUDPSrc, 67), u(FieldUDPDst, 68)), GotoTable{100})},
		// security groups
		{"table=41,priority=100,ct_state=+inv+trk,actions=drop",
			tf(41, 100, match(um(FieldCTState, csInv|csTrk, csInv|csTrk)))},
		{"table=41,priority=90,ct_state=-new+rpl+trk,ct_mark=0/0x1,actions=goto_table:50",
			tf(41, 90, match(um(FieldCTState, csRpl|csTrk, csNew|csRpl|csTrk), um(FieldCTMark, 0, 1)), GotoTable{50})},
		{"table=41,priority=90,ct_state=-new+rel-rpl+trk,ct_mark=0/0x1,actions=goto_table:50",
			tf(41, 90, match(um(FieldCTState, csRel|csTrk, csNew|csRel|csRpl|csTrk), um(FieldCTMark, 0, 1)), GotoTable{50})},
		{"table=42,priority=61007,reg1=0x7,actions=conjunction(1,1/3),conjunction(2,1/2)",
			tf(42, 61007, match(u(Reg(1), 7)), apply(Conjunction{1, 1, 3}, Conjunction{2, 1, 2}))},
		{"table=42,priority=61007,tcp,tp_dst=0x50/0xfff0,actions=conjunction(1,2/3)",
			tf(42, 61007, match(l4(ipv4, 6), um(FieldTCPDst, 0x50, 0xfff0)), apply(Conjunction{1, 2, 3}))},
		{"table=42,priority=61007,icmp,icmp_type=8,icmp_code=0,actions=conjunction(2,2/2)",
			tf(42, 61007, match(l4(ipv4, 1), u(FieldICMPType, 8), u(FieldICMPCode, 0)), apply(Conjunction{2, 2, 2}))},
		{"table=42,priority=61007,ip,nw_dst=10.11.12.0/24,actions=conjunction(1,3/3)",
			tf(42, 61007, match(ethType(ipv4), pfx(FieldIPv4Dst, "10.11.12.0/24")), apply(Conjunction{1, 3, 3}))},
		{"table=42,priority=61007,ipv6,ipv6_dst=2001:db8::/64,actions=conjunction(3,3/3)",
			tf(42, 61007, match(ethType(ipv6), pfx(FieldIPv6Dst, "2001:db8::/64")), apply(Conjunction{3, 3, 3}))},
		{"table=42,priority=61007,conj_id=1,ip,actions=load:0x1->NXM_NX_REG14[],goto_table:43",
			tf(42, 61007, match(u(FieldConjID, 1), ethType(ipv4)), apply(LoadUint(Reg(14), 1)), GotoTable{43})},
		{"table=42,priority=10,ct_state=+est+trk,ip,actions=ct(commit,zone=NXM_NX_REG5[0..15],exec(load:0x1->NXM_NX_CT_MARK[0]))",
			tf(42, 10, match(um(FieldCTState, csEst|csTrk, csEst|csTrk), ethType(ipv4)), apply(CT{Flags: CTCommit, ZoneFrom: Reg(5).Range(0, 16), Table: CTNoTable, Actions: []Action{Load{FieldCTMark.Range(0, 1), 1}}}))},
		{"table=43,priority=100,ct_state=+new+trk,ip,actions=ct(commit,zone=NXM_NX_REG5[0..15],exec(load:0->NXM_NX_CT_MARK[0],move:NXM_NX_REG14[]->NXM_NX_CT_LABEL[0..31])),goto_table:50",
			tf(43, 100, match(um(FieldCTState, csNew|csTrk, csNew|csTrk), ethType(ipv4)), apply(CT{Flags: CTCommit, ZoneFrom: Reg(5).Range(0, 16), Table: CTNoTable, Actions: []Action{Load{FieldCTMark.Range(0, 1), 0}, Move{Reg(14).All(), FieldCTLabel.Range(0, 32)}}}), GotoTable{50})},
		// responders
		{"table=20,priority=1024,arp,reg0=0x1,tun_id=0x435,arp_tpa=10.11.12.3,arp_op=1,actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],set_field:fa:16:3e:9e:f5:70->eth_src,set_field:2->arp_op,move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],set_field:fa:16:3e:9e:f5:70->arp_sha,set_field:10.11.12.3->arp_spa,goto_table:115",
			tf(20, 1024, match(ethType(arp), u(Reg(0), 1), u(FieldTunID, 0x435), ip(FieldARPTPA, "10.11.12.3"), u(FieldARPOp, 1)),
				apply(append(swap, SetUint(FieldARPOp, 2), Move{FieldARPSHA.All(), FieldARPTHA.All()}, Move{FieldARPSPA.All(), FieldARPTPA.All()}, setMAC(FieldARPSHA, macA...), setIP(FieldARPSPA, "10.11.12.3"))...), GotoTable{115})},
		{"table=115,priority=0,actions=IN_PORT", tf(115, 0, nil, apply(Output{Port: PortInPort}))},
		{"table=20,priority=1024,icmp6,reg0=0x1,tun_id=0x435,icmp_type=135,icmp_code=0,nd_target=fe80::1,actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],set_field:fa:16:3e:9e:f5:70->eth_src,move:NXM_NX_IPV6_SRC[]->NXM_NX_IPV6_DST[],set_field:fe80::1->ipv6_src,set_field:136->icmpv6_type,set_field:2->nd_options_type,set_field:1610612736->nd_reserved,resubmit(,22)",
			tf(20, 1024, match(l4(ipv6, 58), u(Reg(0), 1), u(FieldTunID, 0x435), u(FieldICMPv6Type, 135), u(FieldICMPv6Code, 0), ip(FieldNDTarget, "fe80::1")),
				apply(append(swap, Move{FieldIPv6Src.All(), FieldIPv6Dst.All()}, setIP(FieldIPv6Src, "fe80::1"), SetUint(FieldICMPv6Type, 136), SetUint(FieldNDOptionsType, 2), SetUint(FieldNDReserved, 0x60000000), ResubmitTable(22))...))},
		{"table=22,priority=1024,icmp6,tun_id=0x435,icmp_type=136,icmp_code=0,nd_target=fe80::1,actions=set_field:fa:16:3e:9e:f5:70->nd_tll,goto_table:115",
			tf(22, 1024, match(l4(ipv6, 58), u(FieldTunID, 0x435), u(FieldICMPv6Type, 136), u(FieldICMPv6Code, 0), ip(FieldNDTarget, "fe80::1")), apply(setMAC(FieldNDTLL, macA...)), GotoTable{115})},
		{"table=20,priority=61013,udp,reg0=0x1,tp_src=68,tp_dst=67,actions=controller(userdata=01.02,meter_id=5)",
			tf(20, 61013, match(l4(ipv4, 17), u(Reg(0), 1), u(FieldUDPSrc, 68), u(FieldUDPDst, 67)), apply(Controller2{Userdata: []byte{1, 2}, MeterID: 5}))},
		{"table=30,priority=2000,tcp,reg0=0x1,reg1=0x7,in_port=2,dl_src=fa:16:3e:9e:f5:70,nw_src=10.11.12.3,nw_dst=169.254.169.254,tp_dst=80,actions=set_field:169.254.0.2->ip_dst,set_field:fa:16:3e:53:88:56->eth_dst,ct(commit,table=33,zone=9,nat(src=100.64.0.7))",
			tf(30, 2000, match(l4(ipv4, 6), u(Reg(0), 1), u(Reg(1), 7), u(FieldInPort, 2), src(macA), ip(FieldIPv4Src, "10.11.12.3"), ip(FieldIPv4Dst, "169.254.169.254"), u(FieldTCPDst, 80)),
				apply(setIP(FieldIPv4Dst, "169.254.0.2"), setMAC(FieldEthDst, macB...), CT{Flags: CTCommit, Zone: 9, Table: 33, Actions: []Action{NAT{Flags: NATSrc, MinAddr: addr("100.64.0.7")}}}))},
		{"table=0,priority=32770,ip,in_port=6,nw_dst=100.64.0.0/10,actions=ct(table=34,zone=9,nat)",
			tf(0, 32770, match(ethType(ipv4), u(FieldInPort, 6), pfx(FieldIPv4Dst, "100.64.0.0/10")), apply(CT{Zone: 9, Table: 34, Actions: []Action{NAT{}}}))},
		{"table=20,priority=1100,arp,reg0=0x3,arp_spa=203.0.113.1,arp_op=2,actions=CONTROLLER:65535,goto_table:30",
			tf(20, 1100, match(ethType(arp), u(Reg(0), 3), ip(FieldARPSPA, "203.0.113.1"), u(FieldARPOp, 2)), apply(Output{PortController, 0xffff}), GotoTable{30})},
		// routing and NAT
		{"table=60,priority=1024,ip,tun_id=0x435,dl_dst=fa:16:3e:9e:f5:70,actions=load:0x5->NXM_NX_REG3[],load:0x1->NXM_NX_REG7[0],goto_table:61",
			tf(60, 1024, match(ethType(ipv4), u(FieldTunID, 0x435), dst(macA)), apply(LoadUint(Reg(3), 5), Load{Reg(7).Range(0, 1), 1}), GotoTable{61})},
		{"table=61,priority=4000,icmp,reg3=0x5,nw_dst=10.11.12.1,icmp_type=8,actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],set_field:fa:16:3e:9e:f5:70->eth_src,move:NXM_OF_IP_SRC[]->NXM_OF_IP_DST[],set_field:10.11.12.1->ip_src,set_field:0->icmp_type,mod_nw_ttl:64,IN_PORT",
			tf(61, 4000, match(l4(ipv4, 1), u(Reg(3), 5), ip(FieldIPv4Dst, "10.11.12.1"), u(FieldICMPType, 8)),
				apply(append(swap, Move{FieldIPv4Src.All(), FieldIPv4Dst.All()}, setIP(FieldIPv4Src, "10.11.12.1"), SetUint(FieldICMPType, 0), SetTTL{64}, Output{Port: PortInPort})...))},
		{"table=61,priority=3900,ip,nw_ttl=1,actions=controller(reason=invalid_ttl,max_len=128,userdata=03)",
			tf(61, 3900, match(ethType(ipv4), u(FieldIPTTL, 1)), apply(Controller2{Reason: ReasonInvalidTTL, MaxLen: 128, Userdata: []byte{3}}))},
		{"table=61,priority=2097,ip,reg3=0x5,nw_dst=10.11.13.0/24,actions=move:NXM_OF_IP_DST[]->NXM_NX_REG4[],set_field:fa:16:3e:53:88:56->eth_src,set_field:0x436->tun_id,dec_ttl,goto_table:70",
			tf(61, 2097, match(ethType(ipv4), u(Reg(3), 5), pfx(FieldIPv4Dst, "10.11.13.0/24")), apply(Move{FieldIPv4Dst.All(), Reg(4).All()}, setMAC(FieldEthSrc, macB...), SetUint(FieldTunID, 0x436), DecTTL{}), GotoTable{70})},
		{"table=61,priority=2177,ipv6,reg3=0x5,ipv6_dst=2001:db8:1::/64,actions=move:NXM_NX_IPV6_DST[]->NXM_NX_XXREG2[],dec_ttl,goto_table:70",
			tf(61, 2177, match(ethType(ipv6), u(Reg(3), 5), pfx(FieldIPv6Dst, "2001:db8:1::/64")), apply(Move{FieldIPv6Dst.All(), XXReg(2).All()}, DecTTL{}), GotoTable{70})},
		{"table=61,priority=2049,ip,reg3=0x5,actions=check_pkt_larger(1500)->NXM_NX_REG7[31],resubmit(,62)",
			tf(61, 2049, match(ethType(ipv4), u(Reg(3), 5)), apply(CheckPktLarger{1500, Reg(7).Range(31, 1)}, ResubmitTable(62)))},
		{"table=70,priority=1024,reg4=0xa0b0c0d,reg7=0x1/0x1,tun_id=0x436,actions=set_field:fa:16:3e:9e:f5:70->eth_dst,goto_table:80",
			tf(70, 1024, match(u(Reg(4), 0x0a0b0c0d), um(Reg(7), 1, 1), u(FieldTunID, 0x436)), apply(setMAC(FieldEthDst, macA...)), GotoTable{80})},
		{"table=70,priority=1024,xxreg2=0x20010db8000000000000000000000003,reg7=0x1/0x1,tun_id=0x436,actions=set_field:fa:16:3e:9e:f5:70->eth_dst,goto_table:80",
			tf(70, 1024, match(ip(XXReg(2), "2001:db8::3"), um(Reg(7), 1, 1), u(FieldTunID, 0x436)), apply(setMAC(FieldEthDst, macA...)), GotoTable{80})},
		{"table=30,priority=1024,ip,tun_id=0x500,nw_dst=203.0.113.7,actions=load:0x5->NXM_NX_REG3[],load:0x1->NXM_NX_REG7[0],ct(table=31,zone=10,nat)",
			tf(30, 1024, match(ethType(ipv4), u(FieldTunID, 0x500), ip(FieldIPv4Dst, "203.0.113.7")), apply(LoadUint(Reg(3), 5), Load{Reg(7).Range(0, 1), 1}, CT{Zone: 10, Table: 31, Actions: []Action{NAT{}}}))},
		{"table=31,priority=1024,ct_state=+new+trk,ip,reg3=0x5,nw_dst=203.0.113.7,actions=ct(commit,table=32,zone=10,nat(dst=10.11.12.3))",
			tf(31, 1024, match(um(FieldCTState, csNew|csTrk, csNew|csTrk), ethType(ipv4), u(Reg(3), 5), ip(FieldIPv4Dst, "203.0.113.7")), apply(CT{Flags: CTCommit, Zone: 10, Table: 32, Actions: []Action{NAT{Flags: NATDst, MinAddr: addr("10.11.12.3")}}}))},
		{"table=31,priority=1025,ct_state=+new+trk,tcp,nw_dst=203.0.113.7,tp_dst=8080,actions=ct(commit,table=32,zone=10,nat(dst=10.11.12.3:80))",
			tf(31, 1025, match(um(FieldCTState, csNew|csTrk, csNew|csTrk), l4(ipv4, 6), ip(FieldIPv4Dst, "203.0.113.7"), u(FieldTCPDst, 8080)), apply(CT{Flags: CTCommit, Zone: 10, Table: 32, Actions: []Action{NAT{Flags: NATDst, MinAddr: addr("10.11.12.3"), MinPort: 80}}}))},
		{"table=31,priority=256,ct_state=-new-inv+trk,actions=goto_table:40",
			tf(31, 256, match(um(FieldCTState, csTrk, csNew|csInv|csTrk)), GotoTable{40})},
		{"table=101,priority=512,ct_state=+new+trk,ip,reg3=0x5,actions=ct(commit,table=105,zone=10,nat(src=203.0.113.5-203.0.113.6:1024-65535,random))",
			tf(101, 512, match(um(FieldCTState, csNew|csTrk, csNew|csTrk), ethType(ipv4), u(Reg(3), 5)), apply(CT{Flags: CTCommit, Zone: 10, Table: 105, Actions: []Action{NAT{Flags: NATSrc | NATRandom, MinAddr: addr("203.0.113.5"), MaxAddr: addr("203.0.113.6"), MinPort: 1024, MaxPort: 65535}}}))},
		{"table=101,priority=511,ct_state=+new+trk,ipv6,actions=ct(commit,table=105,zone=10,nat(src=2001:db8::1-2001:db8::2))",
			tf(101, 511, match(um(FieldCTState, csNew|csTrk, csNew|csTrk), ethType(ipv6)), apply(CT{Flags: CTCommit, Zone: 10, Table: 105, Actions: []Action{NAT{Flags: NATSrc, MinAddr: addr("2001:db8::1"), MaxAddr: addr("2001:db8::2")}}}))},
		{"table=105,priority=1024,ip,tun_id=0x500,nw_dst=203.0.113.7,actions=clone(ct_clear,load:0xffff->NXM_OF_IN_PORT[],load:0x3->NXM_NX_REG0[],load:0->NXM_NX_REG3[],load:0->NXM_NX_REG4[],load:0->NXM_NX_REG7[],resubmit(,30))",
			tf(105, 1024, match(ethType(ipv4), u(FieldTunID, 0x500), ip(FieldIPv4Dst, "203.0.113.7")), apply(Clone{[]Action{CTClear{}, LoadUint(FieldInPort16, 0xffff), LoadUint(Reg(0), 3), LoadUint(Reg(3), 0), LoadUint(Reg(4), 0), LoadUint(Reg(7), 0), ResubmitTable(30)}}))},
		// QoS and the rest
		{"table=110,priority=40000,reg2=0xa,actions=meter:7,output:2", tf(110, 40000, match(u(Reg(2), 10)), Meter{7}, apply(Output{Port: 2}))},
		{"table=110,priority=40000,reg2=0xb,actions=set_queue:3,output:2", tf(110, 40000, match(u(Reg(2), 11)), apply(SetQueue{3}, Output{Port: 2}))},
		{"table=0,priority=100,in_port=2,actions=sample(probability=12345,collector_set_id=1,obs_domain_id=2,obs_point_id=3),output:1",
			tf(0, 100, match(u(FieldInPort, 2)), apply(Sample{Form: 1, Probability: 12345, CollectorSet: 1, ObsDomain: 2, ObsPoint: 3}, Output{Port: 1}))},
		{"table=80,priority=100,tun_id=0x435,actions=learn(table=81,hard_timeout=300,priority=100,NXM_NX_TUN_ID[],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:NXM_OF_IN_PORT[]->NXM_NX_REG2[0..15],output:NXM_OF_IN_PORT[]),output:1",
			tf(80, 100, match(u(FieldTunID, 0x435)), apply(Learn{Table: 81, HardTimeout: 300, Priority: 100, Specs: []LearnSpec{
				{To: LearnMatch, Bits: 64, Src: FieldTunID.All(), Dst: FieldTunID.All()},
				{To: LearnMatch, Bits: 48, Src: FieldEthSrc.All(), Dst: FieldEthDst.All()},
				{To: LearnLoad, Bits: 16, Src: FieldInPort16.All(), Dst: Reg(2).Range(0, 16)},
				{To: LearnOutput, Bits: 16, Src: FieldInPort16.All()}}}, Output{Port: 1}))},
		{"table=80,priority=99,ip,actions=learn(table=81,limit=4,result_dst=NXM_NX_REG0[8],eth_type=0x800,NXM_OF_IP_DST[]=NXM_OF_IP_SRC[],load:0x7->NXM_NX_REG1[]),output:1",
			tf(80, 99, match(ethType(ipv4)), apply(Learn{Table: 81, Priority: 0x8000, Limit: 4, Flags: LearnWriteResult, Result: Reg(0).Range(8, 1), Specs: []LearnSpec{
				{To: LearnMatch, Bits: 16, Immediate: []byte{8, 0}, Dst: FieldEthType.All()},
				{To: LearnMatch, Bits: 32, Src: FieldIPv4Src.All(), Dst: FieldIPv4Dst.All()},
				{To: LearnLoad, Bits: 32, Immediate: []byte{0, 0, 0, 7}, Dst: Reg(1).All()}}}, Output{Port: 1}))},
		{"table=1,priority=5,actions=note:00.01.02.03.04.05,push:NXM_NX_REG1[],pop:NXM_NX_REG2[],exit",
			tf(1, 5, nil, apply(Note{[]byte{0, 1, 2, 3, 4, 5}}, Push{Reg(1).All()}, Pop{Reg(2).All()}, Exit{}))},
		{"table=1,priority=6,tcp,tcp_flags=+syn-ack,actions=output:NXM_NX_REG1[]",
			tf(1, 6, match(l4(ipv4, 6), um(FieldTCPFlags, 2, 0x12)), apply(OutputReg{Reg(1).All(), 0xffff}))},
		{"table=1,priority=7,metadata=0x1/0xff,actions=write_metadata:0x2/0xff,goto_table:2",
			tf(1, 7, match(um(FieldMetadata, 1, 0xff)), WriteMetadata{2, 0xff}, GotoTable{2})},
		{"table=1,priority=8,ip,nw_frag=yes,actions=clear_actions,write_actions(output:1),goto_table:2",
			tf(1, 8, match(ethType(ipv4), um(FieldIPFrag, 1, 1)), ClearActions{}, WriteActions{[]Action{Output{Port: 1}}}, GotoTable{2})},
		{"table=1,priority=9,ct_label=0x1/0xffffffff,ct_zone=7,pkt_mark=0x1,actions=resubmit(3,4),ct_clear",
			tf(1, 9, match(um(FieldCTLabel, 1, 0xffffffff), u(FieldCTZone, 7), u(FieldPktMark, 1)), apply(Resubmit{InPort: 3, Table: 4}, CTClear{}))},
		{"table=1,priority=10,mpls,mpls_label=5,actions=pop_mpls:0x0800,output:1",
			tf(1, 10, match(ethType(0x8847), u(FieldMPLSLabel, 5)), apply(PopMPLS{ipv4}, Output{Port: 1}))},
		{"table=1,priority=11,tcp,actions=ct(commit,force,zone=3,alg=ftp)",
			tf(1, 11, match(l4(ipv4, 6)), apply(CT{Flags: CTCommit | CTForce, Zone: 3, Table: CTNoTable, ALG: 21}))},
		{"table=1,priority=12,in_port=LOCAL,dl_vlan=5,dl_vlan_pcp=3,actions=NORMAL",
			tf(1, 12, match(u(FieldInPort, uint64(PortLocal)), u(FieldVLANVID, 0x1005), u(FieldVLANPCP, 3)), apply(Output{Port: PortNormal}))},
		{"table=1,priority=13,ct_state=+est+trk,ct_nw_src=10.0.0.1,ct_nw_proto=6,ct_tp_dst=80,tcp,actions=controller(pause,id=3)",
			tf(1, 13, match(um(FieldCTState, csEst|csTrk, csEst|csTrk), ip(FieldCTNwSrc, "10.0.0.1"), u(FieldCTNwProto, 6), u(FieldCTTpDst, 80), l4(ipv4, 6)), apply(Controller2{Pause: true, ID: 3}))},
	}
}

// TestTemplatesAreCanonical: what is built here is already in the form the
// switch dumps, so that nothing has to be rewritten before a comparison.
func TestTemplatesAreCanonical(t *testing.T) {
	for _, c := range templates() {
		if got, err := CanonicalInstructions(c.flow.Instructions); err != nil || string(got) != string(c.flow.Instructions) {
			t.Errorf("%s:\n built     %x\n canonical %x (%v)", c.text, c.flow.Instructions, got, err)
		}
	}
}
