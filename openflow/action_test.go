// SPDX-License-Identifier: Apache-2.0

package openflow

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"testing"
)

// actionCases are actions with the bytes ovs-ofctl 3.1 sends for the text.
var actionCases = []struct {
	text string
	act  Action
	want string
}{
	{"output:2", Output{Port: 2}, "0000 0010 00000002 0000 000000000000"},
	{"CONTROLLER:65535", Output{Port: PortController, MaxLen: MaxLenNoBuffer}, "0000 0010 fffffffd ffff 000000000000"},
	{"group:16777217", Group{0x01000001}, "0016 0008 01000001"},
	{"set_queue:3", SetQueue{3}, "0015 0008 00000003"},
	{"push_vlan:0x8100", PushVLAN{0x8100}, "0011 0008 8100 0000"},
	{"pop_vlan", PopVLAN{}, "0012 0008 00000000"},
	{"dec_ttl", DecTTL{}, "0018 0008 00000000"},
	{"mod_nw_ttl:64", SetTTL{64}, "0017 0008 40 000000"},
	{"set_field:0x435->tun_id", SetUint(FieldTunID, 0x435), "0019 0010 8000 4c 08 0000000000000435"},
	{"set_field:2->arp_op", SetUint(FieldARPOp, 2), "0019 0010 8000 2a 02 0002 000000000000"},
	{"load:0x1->NXM_NX_REG0[]", LoadUint(Reg(0), 1), "ffff 0018 00002320 0007 001f 00010004 0000000000000001"},
	{"load:0x1->NXM_NX_REG7[4]", Load{Reg(7).Range(4, 1), 1}, "ffff 0018 00002320 0007 0100 00010e04 0000000000000001"},
	{"move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]", Move{FieldEthSrc.All(), FieldEthDst.All()}, "ffff 0018 00002320 0006 0030 0000 0000 00000406 00000206"},
	{"move:NXM_NX_REG14[]->NXM_NX_CT_LABEL[0..31]", Move{Reg(14).All(), FieldCTLabel.Range(0, 32)}, "ffff 0018 00002320 0006 0020 0000 0000 00011c04 0001d810"},
	{"resubmit(,90)", ResubmitTable(90), "ffff 0010 00002320 000e fff8 5a 000000"},
	{"resubmit(1,2,ct)", Resubmit{1, 2, true}, "ffff 0010 00002320 002c 0001 02 000000"},
	{"ct(table=41,zone=NXM_NX_REG5[0..15])", CT{ZoneFrom: Reg(5).Range(0, 16), Table: 41}, "ffff 0018 00002320 0023 0000 00010a04 000f 29 000000 0000"},
	{"ct(commit,zone=9,nat(src=10.0.0.1:1024-2048))", CT{Flags: CTCommit, Zone: 9, Table: CTNoTable, Actions: []Action{
		NAT{Flags: NATSrc, MinAddr: netip.MustParseAddr("10.0.0.1"), MinPort: 1024, MaxPort: 2048}}},
		"ffff 0030 00002320 0023 0001 00000000 0009 ff 000000 0000 ffff 0018 00002320 0024 0000 0001 0031 0a000001 0400 0800"},
	{"ct_clear", CTClear{}, "ffff 0010 00002320 002b 000000000000"},
	{"exit", Exit{}, "ffff 0010 00002320 0011 000000000000"},
	{"conjunction(7,2/3)", Conjunction{7, 2, 3}, "ffff 0010 00002320 0022 01 03 00000007"},
	{"controller(userdata=01.02.03,meter_id=5)", Controller2{Userdata: []byte{1, 2, 3}, MeterID: 5},
		"ffff 0020 00002320 0025 000000000000 0003 0007 010203 00 0005 0008 00000005"},
	{"clone(ct_clear,resubmit(,30))", Clone{[]Action{CTClear{}, ResubmitTable(30)}},
		"ffff 0030 00002320 002a 000000000000 ffff 0010 00002320 002b 000000000000 ffff 0010 00002320 000e fff8 1e 000000"},
	{"check_pkt_larger(1500)->NXM_NX_REG7[31]", CheckPktLarger{1500, Reg(7).Range(31, 1)}, "ffff 0018 00002320 0031 05dc 001f 00010e04 000000000000"},
	{"note:01.02", Note{[]byte{1, 2, 0, 0, 0, 0}}, "ffff 0010 00002320 0008 010200000000"},
	{"push:NXM_NX_REG1[]", Push{Reg(1).All()}, "ffff 0018 00002320 001b 0000 00010204 0020 000000000000"},
	{"pop:NXM_NX_REG2[0..15]", Pop{Reg(2).Range(0, 16)}, "ffff 0018 00002320 001c 0000 00010404 0010 000000000000"},
	{"output:NXM_NX_REG1[]", OutputReg{Reg(1).All(), 0xffff}, "ffff 0018 00002320 000f 001f 00010204 ffff 000000000000"},
	{"learn(table=1,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[])",
		Learn{Table: 1, Priority: 0x8000, Specs: []LearnSpec{
			{To: LearnMatch, Bits: 48, Src: FieldEthSrc.All(), Dst: FieldEthDst.All()},
			{To: LearnOutput, Bits: 16, Src: FieldInPort16.All()}}},
		"ffff 0038 00002320 0010 0000 0000 8000 0000000000000000 0000 01 00 0000 0000" +
			"0030 00000406 0000 00000206 0000 1010 00000002 0000 0000"},
	{"sample(probability=1,collector_set_id=2,obs_domain_id=3,obs_point_id=4)", Sample{Form: 1, Probability: 1, CollectorSet: 2, ObsDomain: 3, ObsPoint: 4},
		"ffff 0018 00002320 001d 0001 00000002 00000003 00000004"},
}

func TestActions(t *testing.T) {
	for _, c := range actionCases {
		want := unhex(t, c.want)
		if got := c.act.AppendTo([]byte{0xee})[1:]; !bytes.Equal(got, want) {
			t.Errorf("%s: encoded\n %x, want\n %x", c.text, got, want)
			continue
		}
		as, err := DecodeActions(want)
		if err != nil || len(as) != 1 {
			t.Errorf("%s: decoded to %v, %v", c.text, as, err)
			continue
		}
		if _, isRaw := as[0].(Raw); isRaw {
			t.Errorf("%s: decoded to Raw", c.text)
		}
		if got := reflect.TypeOf(as[0]); got != reflect.TypeOf(c.act) {
			t.Errorf("%s: decoded to %v", c.text, got)
		}
		can, err := AppendCanonicalActions(nil, want)
		if err != nil || !bytes.Equal(can, want) {
			t.Errorf("%s: canonical form %x, %v", c.text, can, err)
		}
	}
}

func TestLoadExperimenterField(t *testing.T) {
	got := LoadUint(FieldTunERSPANVer, 2).AppendTo(nil)
	want := unhex(t, "ffff 0018 00002320 0021 ffff 19 06 00002320 02 0f 00000000")
	if !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

func TestCanonicalInstructions(t *testing.T) {
	cases := []struct{ name, in, want string }{
		{"order", "0001 0008 14000000 0004 0010 00000000 0018 0008 00000000", "0004 0010 00000000 0018 0008 00000000 0001 0008 14000000"},
		{"empty apply", "0004 0008 00000000 0001 0008 14000000", "0001 0008 14000000"},
		{"set_field by nxm number", "0004 0018 00000000 0019 0010 0001 20 08 0000000000000435", "0004 0018 00000000 0019 0010 8000 4c 08 0000000000000435"},
		{"load by oxm number", "0004 0020 00000000 ffff 0018 00002320 0007 002f 80000806 0000000000000001", "0004 0020 00000000 ffff 0018 00002320 0007 002f 00000406 0000000000000001"},
		{"inside ct", "0004 0038 00000000 ffff 0030 00002320 0023 0001 00000000 0009 ff 000000 0000 ffff 0018 00002320 0007 000f 80000a02 0000000000000001",
			"0004 0038 00000000 ffff 0030 00002320 0023 0001 00000000 0009 ff 000000 0000 ffff 0018 00002320 0007 000f 00000602 0000000000000001"},
		{"default controller property", "0004 0028 00000000 ffff 0020 00002320 0025 000000000000 0000 0008 ffff0000 0005 0008 00000005",
			"0004 0020 00000000 ffff 0018 00002320 0025 000000000000 0005 0008 00000005"},
		{"foreign action kept", "0004 0018 00000000 ffff 0010 0000abcd 0001 000000000000", "0004 0018 00000000 ffff 0010 0000abcd 0001 000000000000"},
	}
	for _, c := range cases {
		got, err := CanonicalInstructions(unhex(t, c.in))
		if want := unhex(t, c.want); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: got\n %x (%v), want\n %x", c.name, got, err, want)
		}
	}
	if _, err := CanonicalInstructions(unhex(t, "0001 0008 14000000 0001 0008 15000000")); !errors.Is(err, ErrDuplicate) {
		t.Errorf("two gotos: %v", err)
	}
	for _, bad := range []string{"0001", "0001 0007 00000000", "0001 0010 00000000", "0004 0010 00000000 0000 0020 00000000"} {
		var fe *FormatError
		if _, err := DecodeInstructions(unhex(t, bad)); !errors.As(err, &fe) {
			t.Errorf("%s: error %v", bad, err)
		}
	}
}

func TestNestingIsBounded(t *testing.T) {
	a := Action(Exit{})
	for range 40 {
		a = Clone{[]Action{a}}
	}
	wire := a.AppendTo(nil)
	as, err := DecodeActions(wire)
	if err != nil || !bytes.Equal(AppendActions(nil, as...), wire) {
		t.Fatalf("deep nesting does not survive: %v", err)
	}
}

func FuzzInstructions(f *testing.F) {
	for _, c := range actionCases {
		f.Add(ApplyActions{[]Action{c.act}}.AppendTo(nil))
	}
	f.Add(AppendInstructions(nil, Meter{1}, WriteMetadata{1, 0xff}, ClearActions{}, GotoTable{3}))
	f.Fuzz(func(t *testing.T, in []byte) {
		is, err := DecodeInstructions(in)
		if err != nil {
			var fe *FormatError
			if !errors.As(err, &fe) {
				t.Fatalf("untyped error %v", err)
			}
		} else if again := AppendInstructions(nil, is...); !bytes.Equal(again, in) {
			t.Fatalf("%x decoded to %#v, encoded to %x", in, is, again)
		}
		c, err := CanonicalInstructions(in)
		if err != nil {
			return
		}
		again, err := CanonicalInstructions(c)
		if err != nil || !bytes.Equal(c, again) {
			t.Fatalf("%x: canonical %x is not a fixed point: %x, %v", in, c, again, err)
		}
	})
}
