// SPDX-License-Identifier: Apache-2.0

package openflow

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// prereqTLVs is a match under which the field is legal.
func prereqTLVs(f *Field) []byte {
	switch f {
	case FieldCTIPv6Src, FieldCTIPv6Dst:
		return append(um(FieldCTState, csEst|csTrk, csEst|csTrk), l4(ipv6, 6)...)
	case FieldCTTpSrc, FieldCTTpDst: // without the protocol the switch takes them but does not dump them
		return append(append(um(FieldCTState, csEst|csTrk, csEst|csTrk), l4(ipv4, 6)...), u(FieldCTNwProto, 6)...)
	}
	switch f.Prereq {
	case PreVLAN:
		return um(FieldVLANVID, 0x1000, 0x1000)
	case PreMPLS:
		return ethType(0x8847)
	case PreARP:
		return ethType(arp)
	case PreIPv4, PreIP:
		return ethType(ipv4)
	case PreIPv6:
		return ethType(ipv6)
	case PreTCP:
		return l4(ipv4, 6)
	case PreUDP:
		return l4(ipv4, 17)
	case PreSCTP:
		return l4(ipv4, 132)
	case PreICMPv4:
		return l4(ipv4, 1)
	case PreICMPv6:
		return l4(ipv6, 58)
	case PreND, PreNDSolicit:
		return append(append(l4(ipv6, 58), u(FieldICMPv6Type, 135)...), u(FieldICMPv6Code, 0)...)
	case PreNDAdvert:
		return append(append(l4(ipv6, 58), u(FieldICMPv6Type, 136)...), u(FieldICMPv6Code, 0)...)
	case PreNSH:
		return ethType(0x894f)
	case PreCT:
		return append(um(FieldCTState, csEst|csTrk, csEst|csTrk), l4(ipv4, 6)...)
	}
	return nil
}

// notIn31 tells why a field of the registry cannot be matched on Open vSwitch
// 3.1 with OpenFlow 1.3 in this set-up; the refusal itself is checked.
func notIn31(f *Field) string {
	switch {
	case f == FieldDPHash || f == FieldRecircID:
		return "internal to the switch"
	case strings.HasPrefix(f.Name, "tun_metadata"):
		return "needs a TLV table"
	case f.oxm.Exp == ExperimenterNicira && f.oxm.Num > 16, f.oxm.Class == ClassPacketReg && f.oxm.Num > 7:
		return "since 3.7"
	}
	return ""
}

// wrongMaskIn31 are 8-bit tunnel fields of which Open vSwitch 3.1 matches only
// the bits that are one in the value; it dumps the value as the mask.
var wrongMaskIn31 = []*Field{FieldTunERSPANVer, FieldTunERSPANDir, FieldTunERSPANHWID, FieldTunGTPUFlags, FieldTunGTPUMsgType}

// TestEveryField sends, for each field, an exact match, masked ones, and the
// same by the field's other number; the switch must take them and dump what
// CanonicalMatch makes of what was sent.
func TestEveryField(t *testing.T) {
	_, c := session(t, Config{})
	ctx := testContext(t)
	r := rand.New(rand.NewPCG(3, 4))
	prio := uint16(0)
	try := func(f *Field, how string, id ID, value, mask []byte) {
		t.Helper()
		m := prereqTLVs(f)
		m = appendTLVHeader(m, id, len(value), mask != nil)
		m = append(append(m, value...), mask...)
		prio++
		why := notIn31(f)
		err := c.Apply(ctx, &FlowMod{Table: 9, Priority: prio, Match: m})
		if why != "" {
			if err == nil {
				t.Errorf("%s %s: accepted, although %s", f, how, why)
			}
			return
		}
		if err != nil {
			t.Errorf("%s %s: %v: %x", f, how, err, m)
			return
		}
		want, err := CanonicalMatch(m)
		if err != nil {
			t.Errorf("%s %s: %v", f, how, err)
			return
		}
		found := false
		err = c.DumpFlows(ctx, FlowFilter{Table: 9}, func(s *FlowStats) error {
			if s.Priority != prio {
				return nil
			}
			found = true
			got, err := CanonicalMatch(s.Match)
			if err != nil || !bytes.Equal(got, want) && !slices.Contains(wrongMaskIn31, f) {
				t.Errorf("%s %s:\n sent   %x\n canon  %x\n dumped %x\n canon  %x %v", f, how, m, want, s.Match, got, err)
			}
			return nil
		})
		if err != nil || !found {
			t.Errorf("%s %s: not dumped, %v", f, how, err)
		}
		if err := c.Apply(ctx, &FlowMod{Table: 9, Command: FlowDelete}); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range Fields() {
		n := uintLen(f)
		value := make([]byte, n)
		for i := range value {
			value[i] = byte(r.Uint32()) & sigMask(f, i, n)
		}
		value[n-1] |= 1 & sigMask(f, n-1, n)
		switch f { // values the switch restricts
		case FieldInPort, FieldActsetOutput, FieldInPort16:
			clear(value)
			value[n-1] = 3
		case FieldIPTOS:
			value[0] &= 0xfc
		case FieldVLANTCI, FieldVLANVID:
			value[0] |= 0x10
		case FieldARPOp:
			value[0] = 0
		case FieldCTState:
			copy(value, []byte{0, 0, 0, csTrk | csEst})
		case FieldPacketType:
			clear(value)
		case FieldIPFrag:
			value[0] = 1
		case FieldCTNwProto:
			value[0] = 6
		case FieldEthType:
			value = []byte{0x88, 0xb5}
		case FieldNSHMDType:
			value[0] = 1
		}
		ids := []ID{f.Wire()}
		if f.Header() != f.Wire() {
			ids = append(ids, f.Header())
		}
		for _, id := range ids {
			try(f, "exact", id, value, nil)
			if !f.Mask {
				continue
			}
			full := bytes.Repeat([]byte{0xff}, n)
			try(f, "full mask", id, value, full)
			for range 3 {
				mask, v := make([]byte, n), make([]byte, n)
				for i := range mask {
					mask[i] = byte(r.Uint32()) & sigMask(f, i, n)
					v[i] = value[i] & mask[i]
				}
				switch f {
				case FieldCTState:
					mask[0], mask[1], mask[2], mask[3] = 0, 0, 0, mask[3]|csTrk
					copy(v, []byte{0, 0, 0, value[3] & mask[3]})
				case FieldVLANVID:
					mask[0] |= 0x10
					v[0] = value[0] & mask[0]
				case FieldVLANTCI: // partly matched pcp bits have no form in OpenFlow 1.3
					mask[0] = mask[0]&0x1f | 0x10
					v[0], v[1] = value[0]&mask[0], value[1]&mask[1]
				}
				try(f, "random mask", id, v, mask)
			}
		}
	}
}

// foreign are flows of other controllers: actions and matches this package has
// no struct for, or that have undone other decoders.
var foreign = []string{
	"actions=ct_clear,exit", "actions=set_queue:1,pop_queue,output:1", "tcp,actions=fin_timeout(idle_timeout=5),output:1",
	"actions=multipath(eth_src,50,modulo_n,1,0,NXM_NX_REG0[0..7]),output:1", "actions=bundle(symmetric_l4,60,hrw,ofport,members:1,2)",
	"actions=bundle_load(eth_src,0,active_backup,ofport,NXM_NX_REG0[0..15],members:1,2)", "actions=output(port=1,max_len=100)",
	"ip,actions=set_field:2->ip_ecn,output:1", "actions=enqueue:1:2", "mpls,actions=dec_mpls_ttl,output:1", "mpls,actions=set_mpls_ttl(3),output:1",
	"ip,actions=dec_ttl(1,2),output:1", "tun_gbp_id=5,tun_gbp_flags=0x8,actions=drop", "tun_flags=+oam,actions=drop", "ip,ip_frag=later,actions=drop",
	"tun_erspan_ver=2,tun_erspan_idx=5,actions=drop", "actions=set_tunnel:5,output:1", "actions=set_tunnel64:0x100000000,output:1",
	"actions=controller(reason=no_match,max_len=0,id=9)", "actions=controller(max_len=12,userdata=00.00)", "actions=sample(probability=1,collector_set_id=2,obs_domain_id=3,obs_point_id=4,sampling_port=2,egress)",
	"actions=set_field:0x12/0xff->reg1,output:1", "actions=load:5->NXM_NX_XXREG0[64..95],output:1", "actions=move:NXM_NX_XXREG0[0..31]->NXM_NX_REG9[],output:1",
	"actions=set_field:0x123456789abcdef->xreg1,output:1", "actions=set_field:0x10->metadata,output:1", "actions=encap(nsh(md_type=1)),output:1", "packet_type=(1,0x800),actions=decap(),output:1",
	"dl_type=0x894f,nsh_spi=5,nsh_si=1,actions=dec_nsh_ttl,output:1", "ip,ct_state=+est+trk,actions=resubmit:3,resubmit(,5,ct)", "actions=delete_field:tun_metadata0,output:1",
	"actions=note:01.02.03.04.05.06.07.08.09.0a.0b.0c.0d.0e,output:1", "actions=write_actions(dec_ttl,set_field:5->tun_id,group:7,output:1)", "ip,actions=ct(commit,zone=NXM_NX_REG1[0..15],exec(set_field:0x1->ct_mark,set_field:5->ct_label),nat)",
	"ipv6,actions=ct(commit,nat(src=[fe80::1]-[fe80::5]:10-20,persistent,hash))", "ip,actions=clone(set_field:1.2.3.4->ip_src,ct(commit,table=5,nat(dst=1.2.3.4)),clone(output:2)),output:1",
	"actions=learn(table=3,fin_idle_timeout=1,delete_learned,send_flow_rem,NXM_OF_VLAN_TCI[0..11],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:0->NXM_OF_VLAN_TCI[],output:NXM_OF_IN_PORT[]),output:1",
	"actions=learn(table=4,reg3[4..11]=0x2a,load:0x123456789ab->NXM_OF_ETH_SRC[],output:reg2),output:1", "in_port=CONTROLLER,actions=ALL,FLOOD,LOCAL,NORMAL,IN_PORT", "actions=check_pkt_larger(100)->OXM_OF_PKT_REG0[3],output:1",
	"dl_vlan=5,actions=mod_vlan_vid:6,mod_vlan_pcp:1,strip_vlan,output:1", "actions=push_mpls:0x8847,set_field:5->mpls_label,output:1", "ip,actions=mod_nw_src:1.2.3.4,mod_nw_tos:4,mod_dl_dst:01:02:03:04:05:06,output:1",
}

// TestForeignFlows reads back what ovs-ofctl wrote: every flow decodes, encodes
// again to the same bytes, has a canonical form, and that form, sent by us, is
// accepted and dumped the same.
func TestForeignFlows(t *testing.T) {
	s, c := session(t, Config{})
	ctx := testContext(t)
	if err := c.Apply(ctx, &GroupMod{Command: GroupAdd, ID: 7}); err != nil {
		t.Fatal(err)
	}
	s.Ofctl("add-tlv-map", "br0", "{class=0xffff,type=0,len=4}->tun_metadata0")
	loaded := 0
	for _, text := range foreign {
		if _, err := s.TryOfctl("add-flow", "br0", "table=1,"+text); err != nil {
			t.Errorf("ovs-ofctl refuses %s: %v", text, err)
			continue
		}
		loaded++
		var sent FlowMod
		err := c.DumpFlows(ctx, AllFlows, func(fs *FlowStats) error {
			is, err := DecodeInstructions(fs.Instructions)
			if err != nil {
				return err
			}
			if got := AppendInstructions(nil, is...); !bytes.Equal(got, fs.Instructions) {
				t.Errorf("%s: %x encoded again as %x", text, fs.Instructions, got)
			}
			m, err := CanonicalMatch(fs.Match)
			if err != nil {
				return err
			}
			in, err := CanonicalInstructions(fs.Instructions)
			sent = FlowMod{Table: fs.Table, Priority: fs.Priority, Match: m, Instructions: in}
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if err := c.Apply(ctx, &FlowMod{Table: TableAll, Command: FlowDelete}, &sent); err != nil {
			t.Errorf("%s: canonical form refused: %v\n match %x\n instructions %x", text, err, sent.Match, sent.Instructions)
			continue
		}
		for k, in := range dump(t, c) {
			if k.match != string(sent.Match) || in != string(sent.Instructions) {
				t.Errorf("%s:\n sent   %x %x\n dumped %x %x", text, sent.Match, sent.Instructions, k.match, in)
			}
		}
		if err := c.Apply(ctx, &FlowMod{Table: TableAll, Command: FlowDelete}); err != nil {
			t.Fatal(err)
		}
	}
	if loaded != len(foreign) {
		t.Errorf("%d of %d flows loaded", loaded, len(foreign))
	}
}
