// SPDX-License-Identifier: Apache-2.0

package openflow

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nagare/internal/ovstest"
)

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// session starts a switch with a bridge br0, ports p1..p6, and a session whose
// handshake is done.
func session(t testing.TB, cfg Config) (*ovstest.Switch, *Conn) {
	t.Helper()
	s := ovstest.Start(t)
	s.AddBridge("br0", "other_config:datapath-id=00000000000000ab")
	for i := 1; i <= 6; i++ {
		s.AddPort("br0", fmt.Sprintf("p%d", i), i)
	}
	l := s.Controller("br0")
	c := NewConn(s.Accept(l), cfg)
	l.Close()
	t.Cleanup(func() { c.Close() })
	f, err := c.Handshake(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if f.DatapathID != 0xab {
		t.Fatalf("datapath id %#x", f.DatapathID)
	}
	return s, c
}

type flowKey struct {
	table uint8
	prio  uint16
	match string
}

// dump returns the flows in canonical form.
func dump(t testing.TB, c *Conn) map[flowKey]string {
	t.Helper()
	out := map[flowKey]string{}
	err := c.DumpFlows(testContext(t), AllFlows, func(s *FlowStats) error {
		m, err := CanonicalMatch(s.Match)
		if err != nil {
			return err
		}
		in, err := CanonicalInstructions(s.Instructions)
		if err != nil {
			return err
		}
		k := flowKey{s.Table, s.Priority, string(m)}
		if _, dup := out[k]; dup {
			t.Errorf("flow dumped twice: %+v", k)
		}
		out[k] = string(in)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestTemplates sends every template, dumps it and compares canonical bytes;
// then does the same with the text given to ovs-ofctl.
func TestTemplates(t *testing.T) {
	s, c := session(t, Config{})
	ctx := testContext(t)
	if err := c.Apply(ctx,
		&MeterMod{Command: MeterAdd, Flags: MeterKbps | MeterBurst, ID: 5, Bands: []Band{{Type: BandDrop, Rate: 1000, Burst: 100}}},
		&MeterMod{Command: MeterAdd, Flags: MeterPktps, ID: 7, Bands: []Band{{Type: BandDrop, Rate: 10}}},
		&GroupMod{Command: GroupAdd, Type: GroupTypeAll, ID: 0x01000435},
		&GroupMod{Command: GroupAdd, Type: GroupTypeAll, ID: 0x05000435},
	); err != nil {
		t.Fatal(err)
	}
	var ms []Message
	want := map[flowKey]string{}
	text := map[flowKey]string{}
	for _, tp := range templates() {
		f := tp.flow
		ms = append(ms, &f)
		k := flowKey{f.Table, f.Priority, string(f.Match)}
		if _, dup := want[k]; dup {
			t.Errorf("template given twice: %s", tp.text)
		}
		want[k], text[k] = string(f.Instructions), tp.text
	}
	if err := c.Apply(ctx, ms...); err != nil {
		be := err.(*BatchError)
		for _, f := range be.Failed {
			t.Errorf("refused: %v: %s", f.Err, templates()[f.Index].text)
		}
	}
	compare := func(how string, got map[flowKey]string) {
		t.Helper()
		for k, in := range want {
			g, ok := got[k]
			switch {
			case !ok:
				t.Errorf("%s: not dumped, or with another match: %s\n match %x", how, text[k], k.match)
			case g != in:
				t.Errorf("%s: %s\n sent   %x\n dumped %x", how, text[k], in, g)
			}
			delete(got, k)
		}
		for k, in := range got {
			t.Errorf("%s: not sent but dumped: table %d priority %d match %x instructions %x", how, k.table, k.prio, k.match, in)
		}
	}
	compare("sent by us", dump(t, c))

	if err := c.Apply(ctx, &FlowMod{Table: TableAll, Command: FlowDelete}); err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for _, tp := range templates() {
		fmt.Fprintln(&lines, tp.text)
	}
	file := filepath.Join(t.TempDir(), "flows")
	if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Ofctl("add-flows", "br0", file)
	compare("sent by ovs-ofctl", dump(t, c))
}

func TestHandshakeDetails(t *testing.T) {
	_, c := session(t, Config{})
	ctx := testContext(t)
	d, err := c.Desc(ctx)
	if err != nil || d.Manufacturer != "Nicira, Inc." {
		t.Errorf("desc %+v, %v", d, err)
	}
	ports, err := c.PortDesc(ctx)
	if err != nil || len(ports) != 7 {
		t.Errorf("ports %+v, %v", ports, err)
	}
	stats, err := c.PortStats(ctx, PortAny)
	if err != nil || len(stats) != 7 {
		t.Errorf("port stats %+v, %v", stats, err)
	}
	tables, err := c.Tables(ctx)
	if err != nil || len(tables) != 254 {
		t.Errorf("%d tables, %v", len(tables), err)
	}
	if tf, err := c.TableFeatures(ctx); err != nil || len(tf) < 64*254 {
		t.Errorf("table features of %d bytes, %v", len(tf), err)
	}
	gf, err := c.GroupFeatures(ctx)
	if err != nil || gf.Types != 0xf {
		t.Errorf("group features %+v, %v", gf, err)
	}
	mf, err := c.MeterFeatures(ctx)
	if err != nil || mf.MaxMeter == 0 || mf.BandTypes&(1<<BandDrop) == 0 {
		t.Errorf("meter features %+v, %v", mf, err)
	}
	if r, err := c.SetRole(ctx, Role{RolePrimary, 10}); err != nil || r.Role != RolePrimary || r.GenerationID != 10 {
		t.Errorf("role %+v, %v", r, err)
	}
	if _, err := c.SetRole(ctx, Role{RolePrimary, 9}); !isErr(err, ErrRoleStale) {
		t.Errorf("stale role: %v", err)
	}
	m, err := c.Request(ctx, &GetConfigRequest{})
	if _, ok := m.(*GetConfigReply); !ok || err != nil {
		t.Errorf("config %+v, %v", m, err)
	}
	m, err = c.Request(ctx, &GetAsyncRequest{})
	if _, ok := m.(*GetAsyncReply); !ok || err != nil {
		t.Errorf("async %+v, %v", m, err)
	}
	if err := c.Barrier(ctx); err != nil {
		t.Error(err)
	}
}

func isErr(err error, want *Error) bool {
	e, ok := err.(*Error)
	return ok && e.Is(want)
}

func TestGroupsMetersAndBundle(t *testing.T) {
	_, c := session(t, Config{})
	ctx := testContext(t)
	local := func(key uint64) Bucket {
		return Bucket{Actions: acts(LoadUint(Reg(2), key), LoadUint(Reg(6), 0x1000), Load{Reg(7).Range(4, 1), 1}, ResubmitTable(90))}
	}
	flood := &GroupMod{Command: GroupAdd, Type: GroupTypeAll, ID: 0x01000435,
		Buckets: []Bucket{local(1), local(2), {Actions: acts(PushVLAN{0x8100}, SetUint(FieldVLANVID, 0x1064), Output{Port: 4})}}}
	ecmp := &GroupMod{Command: GroupAdd, Type: GroupTypeSelect, ID: 0x03000001,
		Buckets: []Bucket{{Weight: 1, Actions: acts(LoadUint(Reg(4), 1), ResubmitTable(70))}, {Weight: 2, Actions: acts(LoadUint(Reg(4), 2), ResubmitTable(70))}}}
	flow := tf(110, 16383, match(u(Reg(0), 1)), apply(Group{flood.ID}))
	if err := c.SendBundle(ctx, BundleAtomic|BundleOrdered, flood, ecmp, &flow); err != nil {
		t.Fatal(err)
	}
	gs, err := c.DumpGroups(ctx)
	if err != nil || len(gs) != 2 {
		t.Fatalf("groups %+v, %v", gs, err)
	}
	for _, want := range []*GroupMod{flood, ecmp} {
		found := false
		for _, g := range gs {
			if g.ID != want.ID {
				continue
			}
			found = true
			if g.Type != want.Type || len(g.Buckets) != len(want.Buckets) {
				t.Errorf("group %#x dumped as %+v", want.ID, g)
				continue
			}
			for i, b := range g.Buckets {
				can, err := AppendCanonicalActions(nil, b.Actions)
				if err != nil || !bytes.Equal(can, want.Buckets[i].Actions) || b.Weight != want.Buckets[i].Weight {
					t.Errorf("bucket %d of %#x: %x (weight %d), %v", i, g.ID, can, b.Weight, err)
				}
			}
		}
		if !found {
			t.Errorf("group %#x missing", want.ID)
		}
	}
	if st, err := c.GroupStats(ctx, GroupAll); err != nil || len(st) != 2 {
		t.Errorf("group stats %+v, %v", st, err)
	}
	if got := dump(t, c); len(got) != 1 {
		t.Errorf("%d flows", len(got))
	}
	meter := &MeterMod{Command: MeterAdd, Flags: MeterKbps | MeterBurst, ID: 9, Bands: []Band{{Type: BandDrop, Rate: 2000, Burst: 200}}}
	if err := c.Apply(ctx, meter); err != nil {
		t.Fatal(err)
	}
	ms, err := c.DumpMeters(ctx)
	if err != nil || len(ms) != 1 || ms[0].ID != 9 || ms[0].Flags != meter.Flags || len(ms[0].Bands) != 1 || ms[0].Bands[0] != meter.Bands[0] {
		t.Errorf("meters %+v, %v", ms, err)
	}
	if st, err := c.MeterStats(ctx, MeterAll); err != nil || len(st) != 1 || len(st[0].Bands) != 1 {
		t.Errorf("meter stats %+v, %v", st, err)
	}
	agg, err := c.Aggregate(ctx, AllFlows)
	if err != nil || agg.Flows != 1 {
		t.Errorf("aggregate %+v, %v", agg, err)
	}
}

func TestErrorAttribution(t *testing.T) {
	_, c := session(t, Config{})
	ctx := testContext(t)
	good := tf(1, 1, nil, GotoTable{2})
	badAction := tf(1, 2, nil, apply(Raw(unhex(t, "ffff 0010 00002320 0fff 000000000000"))))
	noGroup := tf(1, 3, nil, apply(Group{77}))
	noPrereq := tf(1, 4, match(u(FieldTCPDst, 80)), GotoTable{2})
	meter := &MeterMod{Command: MeterAdd, Flags: MeterKbps, ID: 1, Bands: []Band{{Type: BandDrop, Rate: 1}}}

	err := c.Apply(ctx, &good, &badAction, &noGroup, &noPrereq)
	be, ok := err.(*BatchError)
	if !ok || be.Total != 3 || be.Failed[0].Index != 1 || be.Failed[1].Index != 2 || be.Failed[2].Index != 3 {
		t.Fatalf("apply: %v", err)
	}
	if n := be.Failed[0].Err.Name(); n != "OFPBAC_BAD_VENDOR_TYPE" {
		t.Errorf("name %q", n)
	}
	if n := be.Failed[2].Err.Name(); n != "OFPBMC_BAD_PREREQ" {
		t.Errorf("name %q", n)
	}
	if got := dump(t, c); len(got) != 1 {
		t.Errorf("%d flows after a batch with one good flow", len(got))
	}

	for _, bad := range []struct {
		name string
		msg  Message
		step BundleType
	}{{"bad action", &badAction, BundleCloseRequest}, {"no such group", &noGroup, BundleCommitRequest}, {"meter", meter, BundleCloseRequest}} {
		more := tf(3, 3, nil, GotoTable{4})
		err := c.SendBundle(ctx, BundleAtomic|BundleOrdered, &more, bad.msg, &more)
		be, ok := err.(*BundleError)
		if !ok || be.Total != 1 || be.Failed[0].Index != 1 {
			t.Errorf("%s: %v", bad.name, err)
			continue
		}
		if be.Step != bad.step {
			t.Errorf("%s: refused at step %d: %v", bad.name, be.Step, err)
		}
		if got := dump(t, c); len(got) != 1 {
			t.Errorf("%s: bundle left %d flows", bad.name, len(got))
		}
	}
	huge := &GroupMod{Command: GroupAdd, ID: 1, Buckets: make([]Bucket, 5000)}
	if err := c.SendBundle(ctx, BundleAtomic, huge); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("too large a message: %v", err)
	}
	if err := c.SendBundle(ctx, BundleAtomic|BundleOrdered, &FlowMod{Table: TableAll, Command: FlowDelete}); err != nil {
		t.Error(err)
	}
	if got := dump(t, c); len(got) != 0 {
		t.Errorf("%d flows left", len(got))
	}
}

// TestDeleteRestricted: out_port and out_group are two fields of the message.
func TestDeleteRestricted(t *testing.T) {
	_, c := session(t, Config{})
	ctx := testContext(t)
	g := &GroupMod{Command: GroupAdd, ID: 3}
	a, b := tf(1, 1, nil, apply(Output{Port: 2})), tf(1, 2, nil, apply(Group{3}))
	a.Cookie, b.Cookie = 0x4e01, 0x4e02
	if err := c.Apply(ctx, g, &a, &b, &FlowMod{Table: TableAll, Command: FlowDelete, OutGroup: 3}); err != nil {
		t.Fatal(err)
	}
	got := dump(t, c)
	if _, ok := got[flowKey{1, 1, ""}]; !ok || len(got) != 1 {
		t.Errorf("after delete by group: %v", got)
	}
	if err := c.Apply(ctx, &b, &FlowMod{Table: TableAll, Command: FlowDelete, OutPort: 2}); err != nil {
		t.Fatal(err)
	}
	got = dump(t, c)
	if _, ok := got[flowKey{1, 2, ""}]; !ok || len(got) != 1 {
		t.Errorf("after delete by port: %v", got)
	}
	if err := c.Apply(ctx, &a, &FlowMod{Table: TableAll, Command: FlowDelete, Cookie: 0x4e01, CookieMask: ^uint64(0)}); err != nil {
		t.Fatal(err)
	}
	if got = dump(t, c); len(got) != 1 {
		t.Errorf("after delete by cookie: %v", got)
	}
}

func TestPacketInOutAndAsync(t *testing.T) {
	ins, ports, gone := make(chan *PacketIn, 10), make(chan *PortStatus, 10), make(chan *FlowRemoved, 10)
	s, c := session(t, Config{Handler: Handler{
		PacketIn:    func(m *PacketIn) { ins <- m },
		PortStatus:  func(m *PortStatus) { ports <- m },
		FlowRemoved: func(m *FlowRemoved) { gone <- m },
	}})
	ctx := testContext(t)
	f := tf(0, 10, match(u(FieldInPort, 1)), apply(SetUint(FieldTunID, 0x435), LoadUint(Reg(1), 7), Controller2{Userdata: []byte("dhcp"), ID: 5}))
	f.Cookie, f.Flags = 0x4e03000100000007, FlowSendFlowRem
	if err := c.Apply(ctx, &SetPacketInFormat{PacketInExtended}, &SetControllerID{5}, &f); err != nil {
		t.Fatal(err)
	}
	frame := unhex(t, "fa163e538856 fa163e9ef570 0806 0001080006040001 fa163e9ef570 0a0b0c03 000000000000 0a0b0c04")
	s.Receive("p1", fmt.Sprintf("%x", frame))
	in := recv(t, ins)
	tun, _ := in.Field(FieldTunID)
	reg1, _ := in.Field(Reg(1))
	if !bytes.HasPrefix(in.Data, frame) || string(in.Userdata) != "dhcp" || in.InPort() != 1 || tun != 0x435 || reg1 != 7 || in.Cookie != f.Cookie || in.Reason != ReasonAction || in.Table != 0 {
		t.Errorf("packet in %+v, tun %#x, reg1 %d", in, tun, reg1)
	}
	// The same in the standard form, without user data.
	if err := c.Apply(ctx, &SetPacketInFormat{PacketInStandard}); err != nil {
		t.Fatal(err)
	}
	s.Receive("p1", fmt.Sprintf("%x", frame))
	if in := recv(t, ins); !bytes.HasPrefix(in.Data, frame) || in.InPort() != 1 || in.Cookie != f.Cookie || in.Extended {
		t.Errorf("standard packet in %+v", in)
	}
	// Packet-out into the pipeline comes back as packet-in.
	if _, err := c.Send(ctx, &PacketOut{InPort: 1, Actions: acts(Output{Port: PortTable}), Data: frame}); err != nil {
		t.Fatal(err)
	}
	if in := recv(t, ins); !bytes.HasPrefix(in.Data, frame) || in.InPort() != 1 {
		t.Errorf("packet in after packet out %+v", in)
	}
	s.AddPort("br0", "p9", 9)
	if p := recv(t, ports); p.Port.Name != "p9" || p.Port.No != 9 || p.Reason != PortReasonAdd {
		t.Errorf("port status %+v", p)
	}
	if err := c.Apply(ctx, &FlowMod{Table: TableAll, Command: FlowDelete}); err != nil {
		t.Fatal(err)
	}
	if r := recv(t, gone); r.Cookie != f.Cookie || r.Priority != 10 || r.Packets != 3 || !EqualMatch(r.Match, f.Match) {
		t.Errorf("flow removed %+v", r)
	}
	if err := c.Apply(ctx, &CTFlushZone{7}, &CTFlush{Proto: 6, HasZone: true, Zone: 7, Orig: CTTuple{Src: addr("10.0.0.1"), DstPort: 80}},
		&CTFlush{Reply: CTTuple{Dst: addr("2001:db8::1")}}); err != nil {
		t.Errorf("conntrack flush: %v", err)
	}
}

// TestResume: a paused packet goes on where it stopped once it is sent back.
func TestResume(t *testing.T) {
	ins := make(chan *PacketIn, 10)
	s, c := session(t, Config{Handler: Handler{PacketIn: func(m *PacketIn) { ins <- m }}})
	ctx := testContext(t)
	f := tf(0, 10, nil, apply(LoadUint(Reg(3), 9), Controller2{Userdata: []byte{1}, Pause: true}, Controller2{Userdata: []byte{2}}))
	if err := c.Apply(ctx, &SetPacketInFormat{PacketInExtended}, &f); err != nil {
		t.Fatal(err)
	}
	s.Receive("p1", "fa163e538856fa163e9ef57088b50000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000")
	first := recv(t, ins)
	if string(first.Userdata) != "\x01" || first.Continuation == nil {
		t.Fatalf("first packet in %+v", first)
	}
	if err := c.Apply(ctx, &Resume{first}); err != nil {
		t.Fatal(err)
	}
	second := recv(t, ins)
	if r, _ := second.Field(Reg(3)); string(second.Userdata) != "\x02" || r != 9 || !bytes.Equal(first.Data, second.Data) {
		t.Errorf("second packet in %+v", second)
	}
}

func recv[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(2 * time.Minute):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func TestFlowMonitor(t *testing.T) {
	updates := make(chan []FlowUpdate, 10)
	s, c := session(t, Config{Handler: Handler{FlowUpdate: func(u []FlowUpdate) { updates <- u }}})
	ctx := testContext(t)
	first := tf(3, 3, match(u(Reg(0), 1)), GotoTable{4})
	if err := c.Apply(ctx, &first); err != nil {
		t.Fatal(err)
	}
	mon := &FlowMonitor{ID: 1, Table: TableAll, Flags: MonitorInitial | MonitorAdd | MonitorDelete | MonitorModify | MonitorActions}
	init, err := c.StartMonitor(ctx, mon)
	if err != nil || len(init) != 1 || init[0].Table != 3 || !EqualMatch(init[0].Match, first.Match) || !bytes.Equal(init[0].Instructions, first.Instructions) {
		t.Fatalf("initial flows %+v, %v", init, err)
	}
	s.Ofctl("add-flow", "br0", "table=5,priority=7,cookie=0x99,actions=goto_table:6")
	us := recv(t, updates)
	if len(us) != 1 || us[0].Event != UpdateAdded || us[0].Table != 5 || us[0].Cookie != 0x99 {
		t.Errorf("update %+v", us)
	}
	if err := c.Apply(ctx, &FlowMod{Table: 5, Command: FlowDelete}); err != nil {
		t.Fatal(err)
	}
	if us := recv(t, updates); us[0].Event != UpdateAbbrev {
		t.Errorf("own change %+v", us)
	}
	if err := c.Apply(ctx, &FlowMonitorCancel{1}); err != nil {
		t.Error(err)
	}
}

func TestVersionRefused(t *testing.T) {
	s := ovstest.Start(t)
	s.AddBridge("br0")
	s.Vsctl("set", "bridge", "br0", "protocols=OpenFlow10")
	c := NewConn(s.Accept(s.Controller("br0")), Config{})
	defer c.Close()
	_, err := c.Handshake(testContext(t))
	if _, ok := err.(*VersionError); !ok {
		t.Errorf("handshake with OpenFlow 1.0 only: %v", err)
	}
}
