// SPDX-License-Identifier: Apache-2.0

package ovsdb_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"nagare/ovsdb"
	"nagare/ovsdb/ovsdbtest"
)

// fakeClock runs timers when Advance passes them.
type fakeClock struct {
	mu     sync.Mutex
	now    time.Time
	timers map[*fakeTimer]struct{}
}

type fakeTimer struct {
	at time.Time
	f  func()
}

func newClock() *fakeClock {
	return &fakeClock{now: time.Unix(1e9, 0), timers: make(map[*fakeTimer]struct{})}
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) AfterFunc(d time.Duration, f func()) func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &fakeTimer{c.now.Add(d), f}
	c.timers[t] = struct{}{}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.timers, t)
	}
}

// Advance moves the time and runs what is due, and what that makes due, to the end.
func (c *fakeClock) Advance(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	for {
		var due *fakeTimer
		for t := range c.timers {
			if !t.at.After(c.now) {
				due = t
			}
		}
		if due == nil {
			c.mu.Unlock()
			return
		}
		delete(c.timers, due)
		c.mu.Unlock()
		due.f()
		c.mu.Lock()
	}
}

type wire struct {
	t  *testing.T
	nc net.Conn
	in *json.Decoder
}

type message struct {
	ID     any
	Method string
	Params json.RawMessage
	Result json.RawMessage
}

// pipe makes a session and the other end of its connection.
func pipe(t *testing.T, o ovsdb.Options) (*ovsdb.Session, *wire) {
	ours, theirs := net.Pipe()
	if err := theirs.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	s := ovsdb.NewSession(ours, o)
	t.Cleanup(func() { theirs.Close(); s.Close() })
	return s, &wire{t, theirs, json.NewDecoder(bufio.NewReader(theirs))}
}

func (w *wire) next() (m message) {
	w.t.Helper()
	if err := w.in.Decode(&m); err != nil {
		w.t.Fatalf("session sent nothing: %v", err)
	}
	return m
}

func (w *wire) send(format string, args ...any) {
	w.t.Helper()
	if _, err := fmt.Fprintf(w.nc, format, args...); err != nil {
		w.t.Fatal(err)
	}
}

func ended(t *testing.T, s *ovsdb.Session) error {
	t.Helper()
	select {
	case <-s.Done():
		return s.Err()
	case <-time.After(2 * time.Minute):
		t.Fatal("session lives on")
		return nil
	}
}

func alive(t *testing.T, s *ovsdb.Session) {
	t.Helper()
	if err := s.Err(); err != nil {
		t.Fatalf("session ended: %v", err)
	}
}

func TestProbeFindsSilentPeer(t *testing.T) {
	clock := newClock()
	s, w := pipe(t, ovsdb.Options{Clock: clock})
	for range 3 { // an answer is enough, however late within the limit
		clock.Advance(5 * time.Second)
		m := w.next()
		if m.Method != "echo" {
			t.Fatalf("session sent %+v", m)
		}
		clock.Advance(9 * time.Second)
		alive(t, s)
		w.send(`{"id":%v,"result":[],"error":null}`, m.ID)
		w.echo() // the session has read the answer when it answers this
	}
	clock.Advance(5 * time.Second)
	w.next()
	clock.Advance(40 * time.Second) // answers took 9 s, so this one may take eight times the average
	alive(t, s)
	clock.Advance(20 * time.Second) // but never more than BusyTimeout
	if err := ended(t, s); !errors.Is(err, ovsdb.ErrInactive) {
		t.Errorf("session ended: %v", err)
	}
}

// echo makes sure that everything sent before was read.
func (w *wire) echo() {
	w.t.Helper()
	w.send(`{"id":"sync","method":"echo","params":[]}`)
	if m := w.next(); m.ID != "sync" {
		w.t.Fatalf("echo answered by %+v", m)
	}
}

func TestProbeWithinFifteenSeconds(t *testing.T) {
	clock := newClock()
	s, w := pipe(t, ovsdb.Options{Clock: clock})
	clock.Advance(5 * time.Second)
	w.next()
	clock.Advance(10*time.Second - time.Millisecond)
	alive(t, s)
	clock.Advance(time.Millisecond)
	if err := ended(t, s); !errors.Is(err, ovsdb.ErrInactive) || !strings.Contains(err.Error(), "15s") {
		t.Errorf("session ended: %v", err)
	}
}

func TestPeerThatSendsIsNotProbed(t *testing.T) {
	clock := newClock()
	s, w := pipe(t, ovsdb.Options{Clock: clock})
	for range 10 {
		clock.Advance(4 * time.Second)
		w.echo() // the next message is its answer, not a probe
	}
	alive(t, s)
	// Part of a message is a sign of life too.
	clock.Advance(5 * time.Second)
	w.next()
	w.send(`{"id":"x","method":"echo",`)
	w.send(`"params":`) // net.Pipe: the first part has been read once this one is
	w.send(`[`)
	clock.Advance(10 * time.Second)
	alive(t, s)
	if m := w.next(); m.Method != "echo" { // silent since then: probed again
		t.Fatalf("session sent %+v", m)
	}
}

func TestBusyPeerGetsLonger(t *testing.T) {
	clock := newClock()
	s, w := pipe(t, ovsdb.Options{Clock: clock})
	result := make(chan error, 1)
	go func() {
		_, err := s.ListDbs(context.Background())
		result <- err
	}()
	w.next()
	clock.Advance(5 * time.Second)
	if m := w.next(); m.Method != "echo" {
		t.Fatalf("session sent %+v", m)
	}
	clock.Advance(59 * time.Second)
	alive(t, s)
	clock.Advance(time.Second)
	if err := ended(t, s); !errors.Is(err, ovsdb.ErrInactive) {
		t.Errorf("session ended: %v", err)
	}
	if err := <-result; !errors.Is(err, ovsdb.ErrInactive) {
		t.Errorf("call gave %v", err)
	}
}

// TestEchoWhileWorkersAreBusy: requests in flight, a consumer that never takes its
// batches and a full request window do not delay an answer to echo.
func TestEchoWhileWorkersAreBusy(t *testing.T) {
	s, w := pipe(t, ovsdb.Options{MaxCalls: 2})
	ctx, cancel := context.WithCancel(context.Background())
	var calls sync.WaitGroup
	for range 5 {
		calls.Add(1)
		go func() {
			defer calls.Done()
			if _, err := s.ListDbs(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("call gave %v", err)
			}
		}()
	}
	w.next()
	w.next()
	for range 3 {
		w.echo()
	}
	cancel()
	calls.Wait()
	alive(t, s)
}

func TestContextEndsWaitForSlot(t *testing.T) {
	s, w := pipe(t, ovsdb.Options{MaxCalls: 1})
	first, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() {
		_, err := s.Transact(first, "db", ovsdb.Op{Op: "comment"})
		done <- err
	}()
	id := w.next().ID
	ctx, stop := context.WithTimeout(context.Background(), time.Millisecond)
	defer stop()
	if err := s.Echo(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("call beyond the window gave %v", err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled transaction gave %v", err)
	}
	m := w.next()
	if m.Method != "cancel" || m.ID != nil || string(m.Params) != fmt.Sprintf("[%v]", id) {
		t.Errorf("session sent %+v", m)
	}
	w.send(`{"id":%v,"result":null,"error":"canceled"}`, id)
	w.echo()
	alive(t, s)
}

func TestCallsEndWithSession(t *testing.T) {
	s, w := pipe(t, ovsdb.Options{})
	done := make(chan error, 1)
	go func() { done <- s.Echo(context.Background()) }()
	w.next()
	w.nc.Close()
	if err := <-done; !errors.Is(err, io.EOF) {
		t.Errorf("call gave %v", err)
	}
	if err := s.Echo(context.Background()); !errors.Is(err, io.EOF) {
		t.Errorf("later call gave %v", err)
	}
	m := ovsdb.NewMirror("db", ovsdb.Tables{"T": nil})
	if err := s.Monitor(context.Background(), m); !errors.Is(err, io.EOF) {
		t.Errorf("monitor gave %v", err)
	}
	s.Close()
	if err := s.Err(); !errors.Is(err, io.EOF) {
		t.Errorf("Close changed the reason to %v", err)
	}
}

// TestGiantIsCutOffEarly: before anything large was asked for, a peer is read for
// less than 1 MiB of one message, and its string for less than the string limit.
func TestGiantIsCutOffEarly(t *testing.T) {
	for name, c := range map[string]struct {
		head, unit string
		limit      int
	}{
		"string":  {`{"id":0,"method":"echo","params":["`, "x", 512 << 10},
		"array":   {`{"id":0,"method":"echo","params":[0`, ",1", 1 << 20},
		"members": {`{"id":0,"method":"echo","params":[0]`, `,"a":1`, 1 << 20},
		"space":   {`{"id":0,"method":"echo","params":[0]`, ` `, 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			s, w := pipe(t, ovsdb.Options{})
			sent, err := io.WriteString(w.nc, c.head)
			chunk := strings.Repeat(c.unit, 16<<10/len(c.unit))
			for err == nil {
				var n int
				n, err = io.WriteString(w.nc, chunk)
				sent += n
			}
			if err := ended(t, s); !errors.Is(err, ovsdb.ErrTooLong) {
				t.Errorf("session ended: %v", err)
			}
			if sent > c.limit {
				t.Errorf("%d bytes were read", sent)
			}
		})
	}
}

// TestPeerThatDoesNotRead: answers to its echoes pile up to the limit and no more.
func TestPeerThatDoesNotRead(t *testing.T) {
	s, w := pipe(t, ovsdb.Options{MaxQueue: 64 << 10})
	text := strings.Repeat("x", 1000)
	n := 0
	for ; n < 1000; n++ {
		if _, err := fmt.Fprintf(w.nc, `{"id":0,"method":"echo","params":[%q]}`, text); err != nil {
			break
		}
	}
	if err := ended(t, s); !errors.Is(err, ovsdb.ErrBacklog) {
		t.Errorf("session ended: %v", err)
	}
	if n > 200 {
		t.Errorf("%d echoes of 1 kB queued", n)
	}
}

// TestBadPeerHarmsOnlyItself: of two connections to one listener the garbage ends
// its own only.
func TestBadPeerHarmsOnlyItself(t *testing.T) {
	good, w := pipe(t, ovsdb.Options{})
	for _, garbage := range []string{"\x16\x03\x01\x02\x00", "{}", `{"method":"echo"}`, strings.Repeat("[", 100), "\x00", `{"id":1,"result":1,"error":2}`} {
		bad, v := pipe(t, ovsdb.Options{})
		_, _ = io.WriteString(v.nc, garbage) // the session may be gone in the middle
		if err := ended(t, bad); err == nil {
			t.Errorf("%q: no reason", garbage)
		}
	}
	w.echo()
	alive(t, good)
}

// TestHalfOpenOverAndOver: a peer that stops without a word, many times; descriptors
// and goroutines must not pile up (the goroutines are checked by TestMain too).
func TestHalfOpenOverAndOver(t *testing.T) {
	clock := newClock()
	before := runtime.NumGoroutine()
	const repeats = 10_000
	for range repeats {
		ours, theirs := net.Pipe()
		s := ovsdb.NewSession(ours, ovsdb.Options{Clock: clock})
		clock.Advance(5 * time.Second)  // the echo goes nowhere
		clock.Advance(10 * time.Second) // and that was that
		if err := ended(t, s); !errors.Is(err, ovsdb.ErrInactive) {
			t.Fatal(err)
		}
		s.Close()
		theirs.Close()
	}
	if n := runtime.NumGoroutine(); n > before+10 {
		t.Errorf("%d goroutines, %d before", n, before)
	}
	if n := len(clock.timers); n != 0 {
		t.Errorf("%d timers left", n)
	}
}

// TestHalfOpenTCP: the same in real time over TCP.
func TestHalfOpenTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 20 {
		peer, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		nc, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		s := ovsdb.NewSession(nc, ovsdb.Options{ProbeInterval: 5 * time.Millisecond, ProbeTimeout: 10 * time.Millisecond})
		if err := ended(t, s); !errors.Is(err, ovsdb.ErrInactive) {
			t.Fatal(err)
		}
		s.Close()
		peer.Close()
	}
}

func TestMonitorGivenUp(t *testing.T) {
	s, w := pipe(t, ovsdb.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	m := ovsdb.NewMirror("db", ovsdb.Tables{"T": nil})
	done := make(chan error, 1)
	go func() { done <- s.Monitor(ctx, m) }()
	w.send(`{"id":%v,"error":null,"result":{"name":"db","tables":{"T":{"columns":{"s":{"type":"string"}}}}}}`, w.next().ID)
	id := w.next().ID
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if c := w.next(); c.Method != "monitor_cancel" {
		t.Fatalf("session sent %+v", c)
	}
	w.send(`{"id":%v,"error":null,"result":[false,"x",{"T":{"%s":{"initial":{}}}}]}`, id, ovsdb.UUID{1})
	w.send(`{"id":null,"method":"update3","params":["nagare-1","x",{"T":{"%s":{"delete":null}}}]}`, ovsdb.UUID{1})
	w.echo()
	alive(t, s)
	if b, ok := m.Take(); ok || m.Len("T") != 0 || m.Synced() {
		t.Errorf("mirror has %v", b)
	}
}

// TestOldSessionCannotSpoil: after a second session took the mirror over, what the
// first still delivers is dropped.
func TestOldSessionCannotSpoil(t *testing.T) {
	srv := ovsdbtest.New(ovsdbtest.Options{NoVswitchd: true})
	defer srv.Close()
	open := func() *ovsdb.Session {
		ours, theirs := net.Pipe()
		srv.Serve(theirs)
		return session(t, ours)
	}
	first, second := open(), open()
	m := ovsdb.NewMirror(db, ovsdb.Tables{"Bridge": {"name"}, "Open_vSwitch": {"bridges"}})
	for _, s := range []*ovsdb.Session{first, second} {
		if err := s.Monitor(deadline(t), m); err != nil {
			t.Fatal(err)
		}
	}
	addBridge(t, first, srv.Root(), "br0") // both are told
	for _, s := range []*ovsdb.Session{first, second} {
		if err := s.Echo(deadline(t)); err != nil {
			t.Fatal(err)
		}
	}
	alive(t, first)
	if m.Len("Bridge") != 1 {
		t.Errorf("%d bridges", m.Len("Bridge"))
	}
	b, _ := m.Take()
	if len(b.Changes) != 2 { // the bridge, and the root that was there before
		t.Errorf("batch %s", render(b))
	}
}

func TestRebase(t *testing.T) {
	m := ovsdb.NewMirror(db, ovsdb.Tables{"T": nil})
	row := func(v int) *ovsdb.Row { return ovsdb.NewRow(ovsdb.Fields{"n": ovsdb.Int(v)}) }
	a, b, c := ovsdb.UUID{15: 1}, ovsdb.UUID{15: 2}, ovsdb.UUID{15: 3}
	m.Rebase(map[string]map[ovsdb.UUID]*ovsdb.Row{"T": {a: row(1), b: row(2)}})
	if got, ok := m.Take(); !ok || render(got) != "initial; T/01+ n=1; T/02+ n=2" {
		t.Errorf("first: %s", render(got))
	}
	m.Rebase(map[string]map[ovsdb.UUID]*ovsdb.Row{"T": {b: row(2), c: row(3)}, "U": {a: row(9)}})
	if got, ok := m.Take(); !ok || render(got) != "initial; T/01-; T/03+ n=3; U/01+ n=9" {
		t.Errorf("second: %s", render(got))
	}
	m.Rebase(nil)
	m.Rebase(map[string]map[ovsdb.UUID]*ovsdb.Row{"T": {b: row(2), c: row(4)}})
	if got, ok := m.Take(); !ok || render(got) != "initial; T/03 n:3>4; U/01-" {
		t.Errorf("merged: %s", render(got))
	}
}

// TestHugeSchemaIsRefused: schemas are kept, so a peer's may not be large.
func TestHugeSchemaIsRefused(t *testing.T) {
	column := func(i int) string { return fmt.Sprintf(`"c%d":{"type":"string"}`, i) }
	var many []string
	for i := range 3000 {
		many = append(many, column(i))
	}
	for name, columns := range map[string]string{"columns": strings.Join(many, ","), "text": `"c":{"type":"string","x":"` + strings.Repeat("x", 200<<10) + `"}`} {
		if _, err := ovsdb.ParseSchema([]byte(`{"name":"db","tables":{"T":{"columns":{` + columns + `}}}}`)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := ovsdb.ParseSchema([]byte(`{"name":"db","tables":{"T":{"columns":{` + column(1) + `}}}}`)); err != nil {
		t.Error(err)
	}
}

func TestDialMethods(t *testing.T) {
	for _, method := range []string{"", "tcp", "tcp:", "udp:1.2.3.4:1", "ssl:127.0.0.1:1", "unix:"} {
		if nc, err := ovsdb.Dial(deadline(t), method, nil); err == nil {
			nc.Close()
			t.Errorf("%q dialled", method)
		}
	}
}
