// SPDX-License-Identifier: Apache-2.0

package openflow

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func sampleMessages() []Message {
	m := match(u(FieldInPort, 2), src(macA))
	in := inst(apply(SetUint(FieldTunID, 7), Output{Port: 1}), GotoTable{20})
	port := Port{No: 3, MAC: [6]byte{2, 0, 0, 0, 0, 3}, Name: "tap7adff632-cc", State: PortStateLive, Features: [6]uint32{1, 2, 3, 4, 5, 6}}
	return []Message{
		&Hello{Header: 4, Versions: 1<<4 | 1<<1},
		&Error{Type: ErrTypeBadAction, Code: 4, Data: []byte{1, 2}},
		&Error{Type: ErrTypeExperimenter, Code: 2313, Experimenter: ExperimenterONF, Data: []byte{}},
		&EchoRequest{Data: []byte("x")}, &EchoReply{Data: []byte{}},
		&FeaturesRequest{}, &FeaturesReply{DatapathID: 1, Buffers: 2, Tables: 254, Capabilities: 0x4f},
		&GetConfigRequest{}, &GetConfigReply{1, 128}, &SetConfig{0, 0xffff},
		&PacketIn{TotalLen: 60, Reason: ReasonAction, Table: 20, Cookie: 9, Match: m, Data: []byte("frame")},
		&PacketIn{TotalLen: 60, Reason: ReasonAction, Table: 20, Cookie: 9, Match: m, Data: []byte("frame"), Userdata: []byte("abc"), Continuation: []byte("later"), Extended: true},
		&Resume{&PacketIn{TotalLen: 5, Reason: ReasonAction, Match: m, Data: []byte("frame"), Continuation: []byte("later"), Extended: true}},
		&PacketOut{InPort: PortController, Actions: acts(Output{Port: 3}), Data: []byte("frame")},
		&FlowRemoved{Cookie: 1, Priority: 2, Reason: 2, Table: 3, DurationSec: 4, DurationNs: 5, IdleTimeout: 6, HardTimeout: 7, Packets: 8, Bytes: 9, Match: m},
		&PortStatus{Reason: PortReasonMod, Port: port},
		&FlowMod{Cookie: 1, CookieMask: 2, Table: 3, Command: FlowDelete, IdleTimeout: 4, HardTimeout: 5, Priority: 6, OutPort: 7, OutGroup: 8, Flags: FlowSendFlowRem, Match: m, Instructions: in},
		&GroupMod{Command: GroupModify, Type: GroupTypeSelect, ID: 5, Buckets: []Bucket{{Weight: 1, Actions: acts(Output{Port: 1})}, {WatchPort: 2, WatchGroup: 3, Actions: []byte{}}}},
		&MeterMod{Command: MeterAdd, Flags: MeterKbps, ID: 3, Bands: []Band{{Type: BandDrop, Rate: 10, Burst: 5}, {Type: BandDSCPRemark, Rate: 1, Precedence: 2}}},
		&MultipartRequest{Type: MPDesc, Body: []byte{}}, &MultipartReply{Type: MPFlow, More: true, Body: []byte{1, 2}},
		FlowRequest(MPFlow, FlowFilter{Table: 3, OutPort: 4, Cookie: 5, CookieMask: 6, Match: m}),
		&BarrierRequest{}, &BarrierReply{},
		&RoleRequest{Role{RolePrimary, 1 << 40}}, &RoleReply{Role{RoleSecondary, 2}},
		&SetAsync{AsyncConfig{PacketIn: [2]uint32{1, 2}, PortStatus: [2]uint32{3, 4}, FlowRemoved: [2]uint32{5, 6}}},
		&GetAsyncRequest{}, &GetAsyncReply{},
		&SetPacketInFormat{PacketInExtended}, &SetControllerID{7}, &CTFlushZone{4097},
		&CTFlush{Proto: 6, Orig: CTTuple{Src: addr("10.0.0.1"), DstPort: 80}, Reply: CTTuple{Dst: addr("2001:db8::1"), SrcPort: 9}, Zone: 3, HasZone: true},
		&BundleControl{ID: 1, Type: BundleCommitRequest, Flags: BundleAtomic},
		&BundleAdd{ID: 1, Flags: BundleAtomic, Inner: &FlowMod{Table: 1, Match: m, Instructions: in}},
		&FlowMonitorCancel{3}, &FlowMonitorState{Paused: true}, &FlowMonitorState{},
		&Experimenter{Experimenter: 0xabcd, Type: 5, Body: []byte{1}},
		&RawMessage{Type: 16, Body: []byte{1, 2, 3}},
	}
}

func TestMessagesRoundTrip(t *testing.T) {
	for _, m := range sampleMessages() {
		wire := m.AppendMessage([]byte("before"), 77)[6:]
		h, back, err := Decode(wire)
		if err != nil {
			t.Errorf("%T: %v", m, err)
			continue
		}
		if h.XID != 77 || int(h.Length) != len(wire) {
			t.Errorf("%T: header %+v for %d bytes", m, h, len(wire))
		}
		if !reflect.DeepEqual(normal(back), normal(m)) {
			t.Errorf("%T:\n sent %+v\n back %+v", m, m, back)
		}
		for cut := headerLen; cut < len(wire); cut++ { // no prefix may panic or be over-read
			short := append([]byte(nil), wire[:cut]...)
			be.PutUint16(short[2:], uint16(cut))
			if _, _, err := Decode(short); err != nil {
				var fe *FormatError
				if !errors.As(err, &fe) {
					t.Errorf("%T cut to %d: untyped error %v", m, cut, err)
				}
			}
		}
	}
}

// normal makes empty and absent slices equal for the comparison.
func normal(m Message) Message {
	v := reflect.ValueOf(m).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		if f.Kind() == reflect.Slice && f.Len() == 0 {
			f.SetZero()
		}
		if f.Kind() == reflect.Slice && f.Type().Elem() == reflect.TypeFor[Bucket]() {
			for j := range f.Len() {
				if a := f.Index(j).FieldByName("Actions"); a.Len() == 0 {
					a.SetZero()
				}
			}
		}
	}
	return m
}

// TestFlowModBytes pins the layout of the message that matters most, with
// out_port and out_group as two fields (OpenFlow 1.3.5 section 7.3.4.1).
func TestFlowModBytes(t *testing.T) {
	f := FlowMod{Cookie: 0x4e01, Table: 110, Command: FlowDelete, Priority: 0x8000, OutPort: 2, OutGroup: 3, Flags: FlowSendFlowRem,
		Match: u(FieldInPort, 2), Instructions: inst(GotoTable{20})}
	want := unhex(t, "04 0e 0048 00000009 0000000000004e01 0000000000000000 6e 03 0000 0000 8000 ffffffff 00000002 00000003 0001 0000"+
		"0001 000c 80000004 00000002 00000000 0001 0008 14000000")
	if got := AppendFlowMod(nil, 9, &f); !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

func TestMultipartBodies(t *testing.T) {
	m, in := match(u(FieldInPort, 2)), inst(GotoTable{3})
	flows := []FlowStats{{Table: 1, Priority: 2, Cookie: 3, Packets: 4, Bytes: 5, Flags: 1, IdleTimeout: 6, HardTimeout: 7, DurationSec: 8, DurationNs: 9, Match: m, Instructions: in}, {Table: 2}}
	var body []byte
	for i := range flows {
		body = flows[i].Append(body)
	}
	var n int
	err := ReadFlowStats(body, func(s *FlowStats) error {
		w := flows[n]
		n++
		if s.Table != w.Table || s.Cookie != w.Cookie || s.Bytes != w.Bytes || s.HardTimeout != w.HardTimeout || s.DurationNs != w.DurationNs || !bytes.Equal(s.Match, w.Match) || !bytes.Equal(s.Instructions, w.Instructions) {
			t.Errorf("flow %+v, want %+v", s, w)
		}
		return nil
	})
	if err != nil || n != 2 {
		t.Errorf("%d flows, %v", n, err)
	}
	g := GroupStats{ID: 1, RefCount: 2, Packets: 3, Bytes: 4, DurationSec: 5, DurationNs: 6, Buckets: []BucketStats{{1, 2}}}
	if got, err := DecodeGroupStats(g.Append(nil)); err != nil || !reflect.DeepEqual(got, []GroupStats{g}) {
		t.Errorf("group stats %+v, %v", got, err)
	}
	ms := MeterStatistics{ID: 1, Flows: 2, PacketsIn: 3, BytesIn: 4, DurationSec: 5, DurationNs: 6, Bands: []BucketStats{{1, 2}}}
	if got, err := DecodeMeterStatistics(ms.Append(nil)); err != nil || !reflect.DeepEqual(got, []MeterStatistics{ms}) {
		t.Errorf("meter stats %+v, %v", got, err)
	}
	mc := MeterConfig{Flags: MeterKbps, ID: 1, Bands: []Band{{Type: BandDrop, Rate: 3}}}
	if got, err := DecodeMeterConfigs(mc.Append(nil)); err != nil || !reflect.DeepEqual(got, []MeterConfig{mc}) {
		t.Errorf("meter config %+v, %v", got, err)
	}
	ps := PortStats{Port: 1, RxPackets: 2, Collisions: 3, DurationNs: 4}
	if got, err := DecodePortStats(ps.Append(nil)); err != nil || !reflect.DeepEqual(got, []PortStats{ps}) {
		t.Errorf("port stats %+v, %v", got, err)
	}
	d := Desc{"a", "b", "c", strings.Repeat("s", 31), "e"}
	if got, err := DecodeDesc(d.Append(nil)); err != nil || got != d {
		t.Errorf("desc %+v, %v", got, err)
	}
	gf := GroupFeatures{Types: 1, MaxGroups: [4]uint32{1, 2, 3, 4}, Actions: [4]uint32{5, 6, 7, 8}}
	if got, err := DecodeGroupFeatures(gf.Append(nil)); err != nil || got != gf {
		t.Errorf("group features %+v, %v", got, err)
	}
}

func TestErrorNames(t *testing.T) {
	for want, e := range map[string]*Error{
		"OFPGMFC_GROUP_EXISTS":   ErrGroupExists,
		"OFPMMFC_UNKNOWN_METER":  ErrUnknownMeter,
		"OFPRRFC_STALE":          ErrRoleStale,
		"OFPBFC_MSG_FAILED":      ErrBundleMsgFailed,
		"NXBAC_BAD_CONJUNCTION":  {Type: ErrTypeExperimenter, Code: 15, Experimenter: ExperimenterNicira},
		"OFPBFC_MSG_UNSUP":       ErrBundleUnsupported,
		"OFPBMC_BAD_PREREQ":      {Type: ErrTypeBadMatch, Code: 9},
		"OFPBAC_BAD_VENDOR_TYPE": {Type: ErrTypeBadAction, Code: 3},
	} {
		if e.Name() != want || !strings.Contains(e.Error(), want) {
			t.Errorf("%s: name %q, text %q", want, e.Name(), e)
		}
	}
	if e := (&Error{Type: 99, Code: 1}); e.Name() != "" || !strings.Contains(e.Error(), "unknown") {
		t.Errorf("unknown error: %v", e)
	}
}

func FuzzMessage(f *testing.F) {
	for _, m := range sampleMessages() {
		f.Add(m.AppendMessage(nil, 1))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		b := bytes.Clone(in)
		if len(b) >= headerLen && len(b) <= MaxMessage {
			be.PutUint16(b[2:], uint16(len(b))) // let the fuzzer work on what lies behind
		}
		h, m, err := Decode(b)
		if err != nil {
			var fe *FormatError
			if !errors.As(err, &fe) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		switch m := m.(type) {
		case *MultipartReply:
			fuzzBodies(m)
		case *MultipartRequest:
			DecodeFlowFilter(m.Body)
		}
		// Paddings, unknown elements and numbers of buffers are not kept; what
		// is kept must survive.
		once := m.AppendMessage(nil, h.XID)
		if len(once) > MaxMessage {
			return
		}
		_, m2, err := Decode(once)
		if err != nil {
			t.Fatalf("%x: decoded to %+v, which encodes to the malformed %x: %v", b, m, once, err)
		}
		if twice := m2.AppendMessage(nil, h.XID); !bytes.Equal(once, twice) {
			t.Fatalf("%x: unstable: %x then %x", b, once, twice)
		}
	})
}

func fuzzBodies(m *MultipartReply) {
	ReadFlowStats(m.Body, func(*FlowStats) error { return nil })
	DecodeGroupDescs(m.Body)
	DecodeGroupStats(m.Body)
	DecodeMeterConfigs(m.Body)
	DecodeMeterStatistics(m.Body)
	DecodeMeterFeatures(m.Body)
	DecodePorts(m.Body)
	DecodePortStats(m.Body)
	DecodeTableStats(m.Body)
	DecodeGroupFeatures(m.Body)
	DecodeFlowUpdates(m.Body)
	DecodeAggregate(m.Body)
	DecodeDesc(m.Body)
}
