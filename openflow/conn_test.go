// SPDX-License-Identifier: Apache-2.0

package openflow_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	of "nagare/openflow"
	"nagare/openflow/oftest"
)

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// pair joins a Conn with a switch in memory over TCP; the handshake is done.
func pair(t testing.TB, sw *oftest.Switch, cfg of.Config) *of.Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			sw.Serve(ctx, nc)
		}
	})
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c := of.NewConn(nc, cfg)
	t.Cleanup(func() {
		c.Close()
		cancel()
		wg.Wait()
	})
	if _, err := c.Handshake(testContext(t)); err != nil {
		t.Fatal(err)
	}
	return c
}

func goTo(table uint8, prio uint16, next uint8) *of.FlowMod {
	return &of.FlowMod{Table: table, Priority: prio, Instructions: of.GotoTable{Table: next}.AppendTo(nil)}
}

func TestDumpInParts(t *testing.T) {
	sw := oftest.New(oftest.Options{DatapathID: 1})
	c := pair(t, sw, of.Config{})
	ctx := testContext(t)
	const n = 5000
	var ms []of.Message
	for i := range n {
		m := goTo(1, 10, 2)
		m.Match = of.AppendUint(nil, of.Reg(0), uint64(i))
		ms = append(ms, m)
	}
	if err := c.SendBundle(ctx, of.BundleAtomic|of.BundleOrdered, ms...); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	err := c.DumpFlows(ctx, of.AllFlows, func(s *of.FlowStats) error {
		seen[string(s.Match)] = true
		return nil
	})
	if err != nil || len(seen) != n {
		t.Fatalf("%d flows, %v", len(seen), err)
	}
	// A dump given up half-way leaves the session usable.
	stop := errors.New("enough")
	got := 0
	err = c.DumpFlows(ctx, of.AllFlows, func(*of.FlowStats) error {
		if got++; got == 10 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) {
		t.Errorf("dump ended with %v", err)
	}
	if err := c.Barrier(ctx); err != nil {
		t.Error(err)
	}
	if n := sw.Counts(); n.FlowMods != 5000 || n.BundlesCommitted != 1 {
		t.Errorf("counts %+v", n)
	}
}

func TestCollectedAnswerIsBounded(t *testing.T) {
	var ports []of.Port
	for i := range 2000 {
		ports = append(ports, of.Port{No: uint32(i + 1), Name: fmt.Sprintf("p%d", i)})
	}
	c := pair(t, oftest.New(oftest.Options{Ports: ports}), of.Config{MaxReply: 100 << 10})
	ctx := testContext(t)
	if _, err := c.PortDesc(ctx); !errors.Is(err, of.ErrTooLarge) {
		t.Errorf("128,000 bytes of ports with a bound of 100 KiB: %v", err)
	}
	if err := c.Barrier(ctx); err != nil {
		t.Errorf("session afterwards: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	sw := oftest.New(oftest.Options{})
	c := pair(t, sw, of.Config{})
	ctx := testContext(t)
	full := &of.Error{Type: of.ErrTypeFlowModFailed, Code: 1}
	sw.Refuse(func(m of.Message) *of.Error {
		if f, ok := m.(*of.FlowMod); ok && f.Priority == 13 {
			return full
		}
		return nil
	})
	err := c.Apply(ctx, goTo(1, 1, 2), goTo(1, 13, 2), goTo(1, 2, 2))
	var be *of.BatchError
	if !errors.As(err, &be) || be.Total != 1 || be.Failed[0].Index != 1 || !errors.Is(err, full) || be.Failed[0].Err.Name() != "OFPFMFC_TABLE_FULL" {
		t.Fatalf("apply: %v", err)
	}
	err = c.SendBundle(ctx, of.BundleAtomic, goTo(2, 1, 3), goTo(2, 2, 3), goTo(2, 13, 3))
	var bu *of.BundleError
	if !errors.As(err, &bu) || bu.Total != 1 || bu.Failed[0].Index != 2 || bu.Step != of.BundleCommitRequest || !errors.Is(err, full) {
		t.Fatalf("bundle: %v", err)
	}
	err = c.SendBundle(ctx, of.BundleAtomic, goTo(2, 1, 3), &of.MeterMod{Command: of.MeterAdd, ID: 1})
	if !errors.As(err, &bu) || bu.Failed[0].Index != 1 || bu.Step != of.BundleCloseRequest || !errors.Is(err, of.ErrBundleUnsupported) {
		t.Fatalf("meter in a bundle: %v", err)
	}
	if n := len(sw.Flows()); n != 2 {
		t.Errorf("%d flows, want the two that were accepted", n)
	}
}

func TestStrayErrorsAndEvents(t *testing.T) {
	type stray struct {
		xid uint32
		err *of.Error
	}
	errs, ins, ports := make(chan stray, 1), make(chan *of.PacketIn, 1), make(chan *of.PortStatus, 1)
	sw := oftest.New(oftest.Options{})
	c := pair(t, sw, of.Config{Handler: of.Handler{
		Error:      func(xid uint32, e *of.Error) { errs <- stray{xid, e} },
		PacketIn:   func(m *of.PacketIn) { ins <- m },
		PortStatus: func(m *of.PortStatus) { ports <- m },
	}})
	ctx := testContext(t)
	xid, err := c.Send(ctx, goTo(1, 1, 2), goTo(5, 1, 4))
	if err != nil {
		t.Fatal(err)
	}
	if e := <-errs; e.xid != xid+1 || e.err.Name() != "OFPBIC_BAD_TABLE_ID" {
		t.Errorf("stray error for xid %d (sent %d): %v", e.xid, xid, e.err)
	}
	if err := c.Apply(ctx, &of.SetPacketInFormat{Format: of.PacketInExtended}); err != nil {
		t.Fatal(err)
	}
	want := &of.PacketIn{TotalLen: 60, Reason: of.ReasonAction, Table: 20, Cookie: 0x4e00, Match: of.AppendUint(nil, of.FieldInPort, 3),
		Data: bytes.Repeat([]byte{0xab}, 60), Userdata: []byte{1, 2, 3}}
	if err := sw.PacketIn(want); err != nil {
		t.Fatal(err)
	}
	if m := <-ins; m.InPort() != 3 || m.Cookie != 0x4e00 || m.Table != 20 || m.TotalLen != 60 || !bytes.Equal(m.Userdata, want.Userdata) || !bytes.Equal(m.Data, want.Data) {
		t.Errorf("packet in %+v", m)
	}
	if err := sw.SetPort(of.Port{No: 4, Name: "tap0"}); err != nil {
		t.Fatal(err)
	}
	if m := <-ports; m.Reason != of.PortReasonAdd || m.Port.Name != "tap0" {
		t.Errorf("port status %+v", m)
	}
}

// TestSlowHandlers: packet-ins and flow updates are dropped and counted, port changes are not.
func TestSlowHandlers(t *testing.T) {
	release, told := make(chan struct{}), make(chan struct{}, 1)
	sw := oftest.New(oftest.Options{})
	c := pair(t, sw, of.Config{EventBytes: 16 << 10, Handler: of.Handler{
		PacketIn:   func(*of.PacketIn) { <-release },
		PortStatus: func(*of.PortStatus) { <-release },
		FlowUpdate: func(us []of.FlowUpdate) {
			if us == nil {
				select {
				case told <- struct{}{}:
				default:
				}
			}
			<-release
		},
	}})
	defer close(release)
	ctx := testContext(t)
	p := &of.PacketIn{Data: make([]byte, 1500)}
	for range 100 {
		if err := sw.PacketIn(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Barrier(ctx); err != nil {
		t.Fatalf("session blocked by packet-ins: %v", err)
	}
	if n := c.Stats().PacketInsDropped; n < 80 || n >= 100 {
		t.Errorf("%d packet-ins dropped", n)
	}
	update := &of.MultipartReply{Type: of.MPExperimenter, Body: (&of.FlowMonitor{}).Request().Body[:8]}
	for range 100 {
		if err := sw.SendRaw(update.AppendMessage(nil, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Barrier(ctx); err != nil {
		t.Fatalf("session ended by flow updates: %v", err)
	}
	if n := c.Stats().FlowUpdatesDropped; n == 0 {
		t.Error("no flow update was dropped")
	}
	release <- struct{}{} // one packet-in goes through; before the next comes the news that updates are missing
	select {
	case <-told:
	case <-ctx.Done():
		t.Error("the handler was not told that flow updates are missing")
	}
	for i := range 200 {
		if sw.SetPort(of.Port{No: uint32(i + 1)}) != nil {
			break
		}
	}
	<-c.Done()
	if !errors.Is(c.Err(), of.ErrOverrun) {
		t.Errorf("ended by %v", c.Err())
	}
}

func TestGarbage(t *testing.T) {
	for name, raw := range map[string][]byte{
		"length below header": {4, 14, 0, 4, 0, 0, 0, 0},
		"wrong version":       {1, 10, 0, 8, 0, 0, 0, 0},
		"cut packet-in":       {4, 10, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0},
		"bad match":           append([]byte{4, 10, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff}, 0, 0, 0, 0),
	} {
		sw := oftest.New(oftest.Options{})
		c := pair(t, sw, of.Config{})
		if err := sw.SendRaw(raw); err != nil {
			t.Fatal(err)
		}
		<-c.Done()
		if err := c.Err(); !errors.Is(err, of.ErrProtocol) {
			t.Errorf("%s: ended by %v", name, err)
		}
		if err := c.Barrier(testContext(t)); !errors.Is(err, of.ErrProtocol) {
			t.Errorf("%s: request afterwards: %v", name, err)
		}
	}
}

// FuzzSession feeds bytes to a session after its hello: it may end, with a
// typed error, but must neither panic nor hang nor leak.
func FuzzSession(f *testing.F) {
	f.Add([]byte{4, 10, 0, 8, 0, 0, 0, 0})
	f.Add((&of.PacketIn{Data: []byte("x")}).AppendMessage(nil, 1))
	f.Add((&of.EchoRequest{Data: []byte("x")}).AppendMessage((&of.BundleControl{}).AppendMessage(nil, 2), 1))
	f.Fuzz(func(t *testing.T, in []byte) {
		l, r := net.Pipe()
		c := of.NewConn(l, of.Config{ProbeInterval: -1, Handler: of.Handler{
			PacketIn: func(*of.PacketIn) {}, PortStatus: func(*of.PortStatus) {}, FlowUpdate: func([]of.FlowUpdate) {},
			Error: func(uint32, *of.Error) {}, Other: func(of.Header, of.Message) {}}})
		go io.Copy(io.Discard, r)
		r.Write((&of.Hello{}).AppendMessage(nil, 0))
		r.Write(in)
		r.Close()
		<-c.Done()
		c.Close()
		var fe *of.FormatError
		var oe *of.Error
		if err := c.Err(); err != io.EOF && !errors.Is(err, of.ErrProtocol) && !errors.As(err, &fe) && !errors.As(err, &oe) && !errors.Is(err, io.ErrClosedPipe) {
			t.Fatalf("ended by %v", err)
		}
	})
}

func TestVersions(t *testing.T) {
	for _, versions := range []uint32{1 << 1, 1<<5 | 1<<6} {
		l, r := net.Pipe()
		sw := oftest.New(oftest.Options{Versions: versions})
		var wg sync.WaitGroup
		var swErr error
		wg.Go(func() { swErr = sw.Serve(context.Background(), r) })
		c := of.NewConn(l, of.Config{})
		_, err := c.Handshake(testContext(t))
		var ve *of.VersionError
		if !errors.As(err, &ve) {
			// The switch may have refused first; that is as clear.
			var e *of.Error
			if !errors.As(err, &e) || e.Type != of.ErrTypeHelloFailed {
				t.Errorf("versions %#x: %v", versions, err)
			}
		}
		c.Close()
		wg.Wait()
		if swErr == nil {
			t.Errorf("versions %#x: switch saw no end", versions)
		}
	}
}

func TestCloseFailsRequests(t *testing.T) {
	sw := oftest.New(oftest.Options{})
	c := pair(t, sw, of.Config{})
	sw.Silence(true)
	errs := make(chan error, 3)
	ctx := testContext(t)
	go func() { errs <- c.Barrier(ctx) }()
	go func() { errs <- c.DumpFlows(ctx, of.AllFlows, func(*of.FlowStats) error { return nil }) }()
	go func() { errs <- c.SendBundle(ctx, of.BundleAtomic, goTo(1, 1, 2)) }()
	if err := sw.Wait(ctx, func(n oftest.Counts) bool { return n.Messages >= 3 }); err != nil {
		t.Fatal(err)
	}
	c.Close()
	for range 3 {
		if err := <-errs; !errors.Is(err, of.ErrClosed) {
			t.Errorf("request ended with %v", err)
		}
	}
}

func TestCancelledRequest(t *testing.T) {
	sw := oftest.New(oftest.Options{})
	c := pair(t, sw, of.Config{})
	sw.Silence(true)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- c.SendBundle(ctx, of.BundleAtomic, goTo(1, 1, 2)) }()
	if err := sw.Wait(testContext(t), func(n oftest.Counts) bool { return n.Messages >= 3 }); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("bundle ended with %v", err)
	}
	sw.Silence(false)
	if err := c.Barrier(testContext(t)); err != nil {
		t.Errorf("session after a cancelled bundle: %v", err)
	}
}

// TestProbe runs in fake time: a silent switch is probed once, then given up.
func TestProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := net.Pipe()
		sw := oftest.New(oftest.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		go sw.Serve(ctx, r)
		c := of.NewConn(l, of.Config{ProbeInterval: 5 * time.Second})
		if _, err := c.Handshake(ctx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(60 * time.Second)
		synctest.Wait()
		if err := c.Err(); err != nil {
			t.Fatalf("idle session ended: %v", err)
		}
		if n := sw.Counts().Echoes; n < 10 || n > 12 {
			t.Errorf("%d probes in 60 s", n)
		}
		sw.Silence(true)
		start := time.Now()
		<-c.Done()
		if d := time.Since(start); !errors.Is(c.Err(), of.ErrProbe) || d < 5*time.Second || d > 15*time.Second {
			t.Errorf("silent switch: %v after %v", c.Err(), d)
		}
		c.Close()
		cancel()
	})
}

// TestBusy runs in fake time: a switch that is at work on what it was asked is not taken for a dead one before a longer
// time, and one that was silent before it was asked is.
func TestBusy(t *testing.T) {
	for name, c := range map[string]struct {
		ask         func(context.Context, *of.Conn) error // nil: nothing
		late        bool                                  // asked when the switch has been probed already
		resume      time.Duration                         // after which the switch answers; 0: never
		least, most time.Duration                         // of silence until the session ends
	}{
		"idle":              {least: 5 * time.Second, most: 10 * time.Second},
		"bundle":            {ask: bundleOf(1), least: 60 * time.Second, most: 70 * time.Second},
		"large bundle":      {ask: bundleOf(5000), least: 70 * time.Second, most: 80 * time.Second},
		"answered in time":  {ask: bundleOf(1), resume: 50 * time.Second},
		"barrier":           {ask: func(ctx context.Context, c *of.Conn) error { return c.Barrier(ctx) }, least: 60 * time.Second, most: 70 * time.Second},
		"asked when silent": {ask: bundleOf(1), late: true, least: 5 * time.Second, most: 10 * time.Second},
		"request given up": {ask: func(ctx context.Context, c *of.Conn) error {
			ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
			defer cancel()
			return c.Barrier(ctx)
		}, least: 20 * time.Second, most: 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, r := net.Pipe()
				sw := oftest.New(oftest.Options{})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go sw.Serve(ctx, r)
				conn := of.NewConn(l, of.Config{ProbeInterval: 5 * time.Second})
				defer conn.Close()
				if _, err := conn.Handshake(ctx); err != nil {
					t.Fatal(err)
				}
				sw.Stall(func(m of.Message) bool {
					b, ok := m.(*of.BundleControl)
					if ok && b.Type == of.BundleCommitRequest {
						return true
					}
					_, barrier := m.(*of.BarrierRequest)
					_, echo := m.(*of.EchoRequest)
					return barrier || echo
				})
				start := time.Now()
				if c.late {
					time.Sleep(6 * time.Second)
				}
				done := make(chan error, 1)
				if c.ask != nil {
					go func() { done <- c.ask(ctx, conn) }()
				}
				if c.resume > 0 {
					time.Sleep(c.resume)
					sw.Stall(nil)
					sw.Resume()
					if err := <-done; err != nil {
						t.Errorf("answer after %v: %v", c.resume, err)
					}
					return
				}
				<-conn.Done()
				if d := time.Since(start); !errors.Is(conn.Err(), of.ErrProbe) || d < c.least || d > c.most {
					t.Errorf("%v after %v, want it between %v and %v", conn.Err(), d, c.least, c.most)
				}
			})
		})
	}
}

// TestSlowTaker: a switch that takes a large bundle bit by bit is alive all the while.
func TestSlowTaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := net.Pipe()
		c := of.NewConn(l, of.Config{ProbeInterval: 5 * time.Second})
		defer c.Close()
		go bundleOf(20000)(t.Context(), c) // some 2 MB
		start := time.Now()
		go func() {
			b := make([]byte, 100<<10)
			for {
				if _, err := io.ReadFull(r, b); err != nil {
					return
				}
				time.Sleep(20 * time.Second)
			}
		}()
		<-c.Done()
		r.Close()
		if took := time.Since(start); took < 350*time.Second || !errors.Is(c.Err(), of.ErrProbe) {
			t.Errorf("%v after %v", c.Err(), took)
		}
	})
}

func bundleOf(n int) func(context.Context, *of.Conn) error {
	return func(ctx context.Context, c *of.Conn) error {
		var ms []of.Message
		for i := range n {
			m := goTo(1, 10, 2)
			m.Match = of.AppendUint(nil, of.Reg(0), uint64(i))
			ms = append(ms, m)
		}
		return c.SendBundle(ctx, of.BundleAtomic|of.BundleOrdered, ms...)
	}
}

// TestEchoAnswered: the switch's probes are answered with their own data, also
// while nobody uses the session.
func TestEchoAnswered(t *testing.T) {
	l, r := net.Pipe()
	c := of.NewConn(l, of.Config{})
	defer c.Close()
	go r.Write((&of.EchoRequest{Data: []byte("ping")}).AppendMessage(nil, 77))
	raw, err := of.ReadMessage(r, 0)
	if err != nil {
		t.Fatal(err)
	}
	h, m, err := of.Decode(raw)
	if e, ok := m.(*of.EchoReply); !ok || err != nil || h.XID != 77 || string(e.Data) != "ping" {
		t.Errorf("answer %+v %+v %v", h, m, err)
	}
	r.Close()
}

// TestDeadPeer: a peer that reads nothing costs two batches, and the write
// time-out ends it.
func TestDeadPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := net.Pipe()
		c := of.NewConn(l, of.Config{ProbeInterval: -1, WriteTimeout: 20 * time.Second})
		big := &of.PacketOut{Data: make([]byte, 30000)}
		sent := 0
		var err error
		for err == nil {
			if _, err = c.Send(t.Context(), big); err == nil {
				sent++
			}
		}
		if sent > 7 {
			t.Errorf("%d messages of 30 kB were queued for a peer that does not read", sent)
		}
		<-c.Done()
		c.Close()
		r.Close()
	})
}

func TestFramer(t *testing.T) {
	var stream []byte
	var want [][]byte
	for i := range 300 {
		m := (&of.EchoRequest{Data: make([]byte, (i*i)%3000)}).AppendMessage(nil, uint32(i))
		want, stream = append(want, m), append(stream, m...)
	}
	big := (&of.EchoRequest{Data: make([]byte, 65000)}).AppendMessage(nil, 1)
	want, stream = append(want, big), append(stream, big...)
	for _, chunk := range []int{1, 7, 1000, 100000} {
		var f of.Framer
		var got [][]byte
		for rest := stream; len(rest) > 0; {
			sp := f.Space()
			if len(sp) == 0 || len(sp) > 64<<10 {
				t.Fatalf("space of %d bytes", len(sp))
			}
			n := copy(sp[:min(len(sp), chunk)], rest)
			rest = rest[n:]
			f.Wrote(n)
			for {
				b, err := f.Next()
				if err != nil {
					t.Fatal(err)
				}
				if b == nil {
					break
				}
				got = append(got, bytes.Clone(b))
			}
		}
		if len(got) != len(want) {
			t.Fatalf("chunks of %d: %d messages, want %d", chunk, len(got), len(want))
		}
		for i := range got {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("chunks of %d: message %d differs", chunk, i)
			}
		}
	}
}

func TestReadMessage(t *testing.T) {
	m := (&of.EchoRequest{Data: make([]byte, 100)}).AppendMessage(nil, 1)
	if b, err := of.ReadMessage(bytes.NewReader(m), 0); err != nil || !bytes.Equal(b, m) {
		t.Errorf("whole message: %v", err)
	}
	if _, err := of.ReadMessage(bytes.NewReader(m[:50]), 0); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut message: %v", err)
	}
	if _, err := of.ReadMessage(bytes.NewReader(m), 50); !errors.Is(err, of.ErrTooLarge) {
		t.Errorf("message above the limit: %v", err)
	}
	if _, err := of.ReadMessage(bytes.NewReader([]byte{4, 0, 0, 7, 0, 0, 0, 0}), 0); !errors.Is(err, of.ErrLength) {
		t.Errorf("length below the header: %v", err)
	}
}
