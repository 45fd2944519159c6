// SPDX-License-Identifier: Apache-2.0

package oftest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"nagare/internal/ovstest"
	of "nagare/openflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// connect joins a controller's Conn and a switch over a pipe.
func connect(t testing.TB, sw *Switch, cfg of.Config) *of.Conn {
	t.Helper()
	l, r := net.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() { sw.Serve(context.Background(), r) })
	c := of.NewConn(l, cfg)
	t.Cleanup(func() {
		c.Close()
		wg.Wait()
	})
	if _, err := c.Handshake(testContext(t)); err != nil {
		t.Fatal(err)
	}
	return c
}

// gen makes random changes that touch each other: few tables, priorities,
// matches, groups and meters, so that adds replace, deletes hit and references
// break.
type gen struct{ r *rand.Rand }

func (g gen) match() []byte {
	var m []byte
	if g.r.IntN(2) == 0 {
		m = of.AppendUint(m, of.FieldInPort, uint64(1+g.r.IntN(3)))
	}
	switch g.r.IntN(5) {
	case 0:
		m = of.AppendUint(m, of.FieldEthType, 0x0806)
	case 1:
		m = of.AppendUint(m, of.FieldEthType, 0x0800)
		bits := []int{8, 16, 24, 32}[g.r.IntN(4)]
		m = of.AppendPrefix(m, of.FieldIPv4Dst, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(g.r.IntN(2)), 0, 1}), bits))
	case 2:
		m = of.AppendUintMask(m, of.Reg(0), uint64(g.r.IntN(4)), uint64(g.r.IntN(4)))
	case 3:
		m = of.AppendUint(m, of.FieldTunID, uint64(g.r.IntN(2)))
	}
	if g.r.IntN(12) == 0 {
		m = of.AppendUint(m, of.FieldTCPDst, 80) // prerequisite missing
	}
	// The switch refuses value bits outside the mask; the canonical form has none.
	c, err := of.CanonicalMatch(m)
	if err != nil {
		panic(err)
	}
	return c
}

func (g gen) instructions(table uint8) []byte {
	switch g.r.IntN(7) {
	case 0:
		return nil
	case 1:
		return of.GotoTable{Table: table + uint8(g.r.IntN(3))}.AppendTo(nil)
	case 2:
		return of.ApplyActions{Actions: []of.Action{of.Group{ID: uint32(1 + g.r.IntN(3))}}}.AppendTo(nil)
	case 3:
		return of.AppendInstructions(nil, of.Meter{ID: uint32(1 + g.r.IntN(3))}, of.ApplyActions{Actions: []of.Action{of.Output{Port: 1}}})
	case 4:
		return of.ApplyActions{Actions: []of.Action{of.LoadUint(of.Reg(1), 1), of.Output{Port: uint32(1 + g.r.IntN(3))}}}.AppendTo(nil)
	case 5:
		return of.ApplyActions{Actions: []of.Action{of.CT{Flags: of.CTCommit, Zone: 1, Table: of.CTNoTable}}}.AppendTo(nil)
	}
	return of.ApplyActions{Actions: []of.Action{of.Output{Port: 2}}}.AppendTo(nil)
}

func (g gen) bucket() of.Bucket {
	return of.Bucket{Actions: of.AppendActions(nil, of.Output{Port: uint32(1 + g.r.IntN(3))})}
}

func (g gen) flow() *of.FlowMod {
	m := &of.FlowMod{Table: uint8(1 + g.r.IntN(2)), Priority: uint16(g.r.IntN(3)), Cookie: uint64(g.r.IntN(3)), Match: g.match()}
	switch k := g.r.IntN(10); {
	case k < 6:
		m.Command = of.FlowAdd
		if g.r.IntN(6) == 0 {
			m.Flags = of.FlowCheckOverlap
		}
		m.Instructions = g.instructions(m.Table)
	case k == 6:
		m.Command = of.FlowModify
		m.Instructions = g.instructions(m.Table)
	case k == 7:
		m.Command = of.FlowModifyStrict
		m.Instructions = g.instructions(m.Table)
	case k == 8:
		m.Command = of.FlowDeleteStrict
	default:
		m.Command = of.FlowDelete
		switch g.r.IntN(5) {
		case 0:
			m.OutPort = uint32(1 + g.r.IntN(3))
		case 1:
			m.OutGroup = uint32(1 + g.r.IntN(3))
		case 2:
			m.CookieMask = 3
		case 3:
			m.Table = of.TableAll
			m.CookieMask = ^uint64(0)
		}
	}
	return m
}

func (g gen) message() of.Message {
	switch k := g.r.IntN(20); {
	case k == 0:
		return &of.MeterMod{Command: uint16(g.r.IntN(3)), Flags: of.MeterKbps, ID: uint32(1 + g.r.IntN(3)), Bands: []of.Band{{Type: of.BandDrop, Rate: uint32(1 + g.r.IntN(5))}}}
	case k < 4:
		return g.group()
	}
	return g.flow()
}

func (g gen) group() *of.GroupMod {
	m := &of.GroupMod{Command: uint16(g.r.IntN(3)), ID: uint32(1 + g.r.IntN(3))}
	if m.Command != of.GroupDelete || g.r.IntN(10) == 0 {
		m.Buckets = []of.Bucket{g.bucket(), g.bucket()}
	}
	return m
}

// TestLikeRealSwitch sends the same random history to a real switch and to the
// one in memory, alone and in bundles: each message must be accepted or refused
// with the same error, and in the end both must hold the same.
func TestLikeRealSwitch(t *testing.T) {
	s := ovstest.Start(t)
	s.AddBridge("br0")
	for i := 1; i <= 3; i++ {
		s.AddPort("br0", fmt.Sprintf("p%d", i), i)
	}
	l := s.Controller("br0")
	realConn := of.NewConn(s.Accept(l), of.Config{})
	t.Cleanup(func() { realConn.Close() })
	ctx := testContext(t)
	if _, err := realConn.Handshake(ctx); err != nil {
		t.Fatal(err)
	}
	fakeConn := connect(t, New(Options{}), of.Config{})
	g := gen{rand.New(rand.NewPCG(1, 2))}
	for step := range 3000 {
		var real, fake error
		var what any
		if step%10 == 9 {
			var ms []of.Message
			for range 1 + g.r.IntN(4) {
				if g.r.IntN(5) > 0 {
					ms = append(ms, g.flow())
					continue
				}
				m := g.group()
				if m.Command == of.GroupDelete { // see TestRollbackOfGroupDelete
					ms = append(ms, &of.FlowMod{Table: of.TableAll, Command: of.FlowDelete, OutGroup: m.ID})
				}
				ms = append(ms, m)
			}
			real = realConn.SendBundle(ctx, of.BundleAtomic|of.BundleOrdered, ms...)
			fake = fakeConn.SendBundle(ctx, of.BundleAtomic|of.BundleOrdered, ms...)
			what = ms
			if sameBundleError(real, fake) {
				continue
			}
		} else {
			m := g.message()
			real, fake, what = realConn.Apply(ctx, m), fakeConn.Apply(ctx, m), m
		}
		if text(real) != text(fake) {
			t.Fatalf("step %d: %+v\n real %v\n fake %v", step, what, real, fake)
		}
		if step%100 == 99 {
			compare(t, step, realConn, fakeConn)
		}
	}
	compare(t, 3000, realConn, fakeConn)
}

// TestRollbackOfGroupDelete: Open vSwitch 3.1 aborts (assertion in
// ofproto_rule_insert__) when it rolls back a bundle that deleted a group which
// flows still used. Deleting those flows first, in the same bundle, is safe;
// this shows it, and that the switch in memory counts the dangerous order.
func TestRollbackOfGroupDelete(t *testing.T) {
	s := ovstest.Start(t)
	s.AddBridge("br0")
	l := s.Controller("br0")
	real := of.NewConn(s.Accept(l), of.Config{})
	defer real.Close()
	ctx := testContext(t)
	if _, err := real.Handshake(ctx); err != nil {
		t.Fatal(err)
	}
	sw := New(Options{})
	fake := connect(t, sw, of.Config{})
	user := &of.FlowMod{Table: 1, Instructions: of.ApplyActions{Actions: []of.Action{of.Group{ID: 1}}}.AppendTo(nil)}
	noMeter := &of.FlowMod{Table: 3, Instructions: of.Meter{ID: 9}.AppendTo(nil)}
	gone := &of.GroupMod{Command: of.GroupDelete, ID: 1}
	for _, c := range []*of.Conn{real, fake} {
		if err := c.Apply(ctx, &of.GroupMod{Command: of.GroupAdd, ID: 1}, user); err != nil {
			t.Fatal(err)
		}
		before := contents(t, c)
		err := c.SendBundle(ctx, of.BundleAtomic|of.BundleOrdered, &of.FlowMod{Table: of.TableAll, Command: of.FlowDelete, OutGroup: 1}, gone, noMeter)
		var be *of.BundleError
		if !errors.As(err, &be) || be.Failed[0].Index != 2 {
			t.Fatalf("bundle: %v", err)
		}
		if after := contents(t, c); !slices.Equal(before, after) {
			t.Errorf("rolled back to %v, was %v", after, before)
		}
	}
	if n := sw.Counts().GroupsDeletedInUse; n != 0 {
		t.Errorf("safe order counted as dangerous: %d", n)
	}
	if err := fake.SendBundle(ctx, of.BundleAtomic|of.BundleOrdered, gone, noMeter); err == nil {
		t.Error("flow with an unknown meter accepted")
	}
	if n := sw.Counts().GroupsDeletedInUse; n != 1 {
		t.Errorf("dangerous order counted %d times", n)
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// sameBundleError: the real switch checks parts of a message when it enters the
// bundle, the other all of them at the commit, so only the first fault counts.
func sameBundleError(a, b error) bool {
	var x, y *of.BundleError
	if !errors.As(a, &x) || !errors.As(b, &y) {
		return a == nil && b == nil
	}
	return true
}

func compare(t *testing.T, step int, a, b *of.Conn) {
	t.Helper()
	x, y := contents(t, a), contents(t, b)
	for _, l := range x {
		if !slices.Contains(y, l) {
			t.Errorf("step %d: only real: %s", step, l)
		}
	}
	for _, l := range y {
		if !slices.Contains(x, l) {
			t.Errorf("step %d: only in memory: %s", step, l)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

// contents lists everything a switch holds in canonical form.
func contents(t *testing.T, c *of.Conn) []string {
	t.Helper()
	ctx := testContext(t)
	var out []string
	err := c.DumpFlows(ctx, of.AllFlows, func(f *of.FlowStats) error {
		m, err := of.CanonicalMatch(f.Match)
		if err != nil {
			return err
		}
		in, err := of.CanonicalInstructions(f.Instructions)
		out = append(out, fmt.Sprintf("flow %d/%d cookie %x flags %x match %x: %x", f.Table, f.Priority, f.Cookie, f.Flags, m, in))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	gs, err := c.DumpGroups(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range gs {
		out = append(out, fmt.Sprintf("group %+v", g))
	}
	ms, err := c.DumpMeters(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range ms {
		m.Flags |= of.MeterStats // the real switch counts whether asked or not
		out = append(out, fmt.Sprintf("meter %+v", m))
	}
	slices.Sort(out)
	return out
}

func TestMisbehaviour(t *testing.T) {
	sw := New(Options{DatapathID: 7})
	c := connect(t, sw, of.Config{ProbeInterval: -1})
	ctx := testContext(t)
	add := &of.FlowMod{Table: 1, Priority: 1, Flags: of.FlowSendFlowRem, Instructions: of.GotoTable{Table: 2}.AppendTo(nil)}
	if err := c.Apply(ctx, add); err != nil {
		t.Fatal(err)
	}
	if err := sw.Change(&of.FlowMod{Table: 1, Command: of.FlowDelete}, add); err != nil {
		t.Errorf("drift: %v", err)
	}
	if err := sw.Change(add, &of.GroupMod{Command: of.GroupModify, ID: 9}); err == nil || len(sw.Flows()) != 1 {
		t.Errorf("impossible drift: %v, %d flows", err, len(sw.Flows()))
	}
	sw.Silence(true)
	short, cancel := context.WithCancel(ctx)
	failed := make(chan error)
	go func() { failed <- c.Barrier(short) }()
	before := sw.Counts().Messages
	if err := sw.Wait(ctx, func(n Counts) bool { return n.Messages > before-1 }); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("barrier of a silent switch: %v", err)
	}
	sw.Silence(false)
	sw.Wipe()
	<-c.Done()
	if n := len(sw.Flows()); n != 0 {
		t.Errorf("%d flows after a restart", n)
	}
}

// TestQueries asks everything a controller may ask.
func TestQueries(t *testing.T) {
	outs := make(chan *of.PacketOut, 1)
	sw := New(Options{DatapathID: 7, Tables: 20, Ports: []of.Port{{No: 1, Name: "a"}, {No: 2, Name: "b"}}, OnPacketOut: func(m *of.PacketOut) { outs <- m }})
	gone := make(chan *of.FlowRemoved, 3)
	c := connect(t, sw, of.Config{Handler: of.Handler{FlowRemoved: func(m *of.FlowRemoved) { gone <- m }}})
	ctx := testContext(t)
	meter := &of.MeterMod{Command: of.MeterAdd, Flags: of.MeterKbps, ID: 4, Bands: []of.Band{{Type: of.BandDrop, Rate: 1}}}
	group := &of.GroupMod{Command: of.GroupAdd, ID: 5, Buckets: []of.Bucket{{Actions: of.Output{Port: 1}.AppendTo(nil)}}}
	f := &of.FlowMod{Table: 3, Flags: of.FlowSendFlowRem, Cookie: 8, Instructions: of.AppendInstructions(nil, of.Meter{ID: 4}, of.ApplyActions{Actions: []of.Action{of.Group{ID: 5}}})}
	if err := c.Apply(ctx, meter, group, f, &of.SetAsync{}, &of.CTFlushZone{Zone: 1}, &of.SetConfig{}); err != nil {
		t.Fatal(err)
	}
	if d, err := c.Desc(ctx); err != nil || d.Software != "oftest" {
		t.Errorf("desc %+v, %v", d, err)
	}
	if p, err := c.PortDesc(ctx); err != nil || len(p) != 2 || p[1].Name != "b" {
		t.Errorf("ports %+v, %v", p, err)
	}
	if p, err := c.PortStats(ctx, 2); err != nil || len(p) != 1 || p[0].Port != 2 {
		t.Errorf("port stats %+v, %v", p, err)
	}
	if ts, err := c.Tables(ctx); err != nil || len(ts) != 20 || ts[3].Active != 1 {
		t.Errorf("tables %+v, %v", ts, err)
	}
	if a, err := c.Aggregate(ctx, of.FlowFilter{Table: 3, Cookie: 8, CookieMask: 8, OutGroup: 5}); err != nil || a.Flows != 1 {
		t.Errorf("aggregate %+v, %v", a, err)
	}
	if g, err := c.GroupStats(ctx, 5); err != nil || len(g) != 1 || len(g[0].Buckets) != 1 {
		t.Errorf("group stats %+v, %v", g, err)
	}
	if g, err := c.GroupFeatures(ctx); err != nil || g.Types == 0 {
		t.Errorf("group features %+v, %v", g, err)
	}
	if m, err := c.MeterStats(ctx, of.MeterAll); err != nil || len(m) != 1 || m[0].ID != 4 {
		t.Errorf("meter stats %+v, %v", m, err)
	}
	if m, err := c.MeterFeatures(ctx); err != nil || m.MaxBands != 8 {
		t.Errorf("meter features %+v, %v", m, err)
	}
	if _, err := c.TableFeatures(ctx); !errors.Is(err, fail(of.ErrTypeBadRequest, badMultipart)) {
		t.Errorf("unsupported request: %v", err)
	}
	for _, q := range []of.Message{&of.GetConfigRequest{}, &of.GetAsyncRequest{}} {
		if _, err := c.Request(ctx, q); err != nil {
			t.Errorf("%T: %v", q, err)
		}
	}
	if err := c.Apply(ctx, &of.PacketOut{InPort: of.PortController, Data: []byte("x")}); err != nil {
		t.Error(err)
	}
	if m := <-outs; string(m.Data) != "x" {
		t.Errorf("packet out %+v", m)
	}
	// The deletion of a meter takes its flows along, and the controller hears of it.
	if err := c.Apply(ctx, &of.MeterMod{Command: of.MeterDelete, ID: 4}); err != nil {
		t.Error(err)
	}
	if m := <-gone; m.Cookie != 8 || m.Reason != removedDelete {
		t.Errorf("flow removed %+v", m)
	}
	if len(sw.Flows())+len(sw.Meters()) != 0 || len(sw.Groups()) != 1 {
		t.Errorf("left: %d flows, %d meters, %d groups", len(sw.Flows()), len(sw.Meters()), len(sw.Groups()))
	}
	if err := sw.DelPort(1); err != nil {
		t.Error(err)
	}
	if err := sw.DelPort(1); err == nil {
		t.Error("port deleted twice")
	}
}

// TestRun: a switch comes back after its session was cut, with its tables.
func TestRun(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sw := New(Options{DatapathID: 3})
	ctx, cancel := context.WithCancel(testContext(t))
	var wg sync.WaitGroup
	wg.Go(func() { sw.Run(ctx, l.Addr().String(), time.Millisecond) })
	defer func() {
		cancel()
		wg.Wait()
	}()
	for i := range 3 {
		nc, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c := of.NewConn(nc, of.Config{})
		f, err := c.Handshake(ctx)
		if err != nil || f.DatapathID != 3 {
			t.Fatalf("handshake %d: %+v, %v", i, f, err)
		}
		if n := len(sw.Flows()); n != i {
			t.Errorf("%d flows at session %d", n, i)
		}
		if err := c.Apply(ctx, &of.FlowMod{Table: uint8(i), Instructions: of.GotoTable{Table: 9}.AppendTo(nil)}); err != nil {
			t.Error(err)
		}
		if err := sw.WaitConnected(ctx); err != nil {
			t.Error(err)
		}
		sw.Drop()
		<-c.Done()
		c.Close()
	}
	if n := sw.Counts(); n.FlowMods != 3 || n.Sessions < 3 {
		t.Errorf("counts %+v", n)
	}
}

// TestRoles: the newer primary demotes the older, whose changes are refused.
func TestRoles(t *testing.T) {
	sw := New(Options{})
	a, b := connect(t, sw, of.Config{}), connect(t, sw, of.Config{})
	ctx := testContext(t)
	if r, err := a.SetRole(ctx, of.Role{Role: of.RolePrimary, GenerationID: 1}); err != nil || r.Role != of.RolePrimary {
		t.Fatal(r, err)
	}
	if _, err := b.SetRole(ctx, of.Role{Role: of.RolePrimary, GenerationID: 2}); err != nil {
		t.Fatal(err)
	}
	err := a.Apply(ctx, &of.FlowMod{Table: 1})
	if !errors.Is(err, &of.Error{Type: of.ErrTypeBadRequest, Code: 10}) {
		t.Errorf("change by a former primary: %v", err)
	}
	if _, err := a.SetRole(ctx, of.Role{Role: of.RolePrimary, GenerationID: 1}); !errors.Is(err, of.ErrRoleStale) {
		t.Errorf("old generation: %v", err)
	}
	if err := b.Apply(ctx, &of.FlowMod{Table: 1}); err != nil {
		t.Error(err)
	}
}

// TestFleet: a thousand switches in one process, each given a bundle.
func TestFleet(t *testing.T) {
	const n = 1000
	ctx := testContext(t)
	var wg sync.WaitGroup
	errs := make(chan error, n)
	run, cancel := context.WithCancel(ctx)
	for i := range n {
		l, r := net.Pipe()
		sw := New(Options{DatapathID: uint64(i)})
		wg.Go(func() { sw.Serve(run, r) })
		wg.Go(func() {
			c := of.NewConn(l, of.Config{})
			defer c.Close()
			_, err := c.Handshake(ctx)
			if err == nil {
				err = c.SendBundle(ctx, of.BundleAtomic, &of.FlowMod{Table: 1}, &of.FlowMod{Table: 2})
			}
			if err == nil && len(sw.Flows()) != 2 {
				err = fmt.Errorf("switch %d: %d flows", i, len(sw.Flows()))
			}
			errs <- err
		})
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	cancel()
	wg.Wait()
}
