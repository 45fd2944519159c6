// SPDX-License-Identifier: Apache-2.0

package oftest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	of "nagare/openflow"
)

// Options describe a switch; the zero value is a switch without ports.
type Options struct {
	DatapathID uint64
	Ports      []of.Port
	Desc       of.Desc // zero: as Open vSwitch
	Tables     int     // 0: 254
	// Versions is the bitmap of the hello; 0: OpenFlow 1.3 only.
	Versions uint32
	// OnPacketOut is called for each packet-out, on the session's goroutine.
	OnPacketOut func(*of.PacketOut)
	// OnFlush is called for each conntrack zone that is flushed, on the session's goroutine.
	OnFlush func(zone uint16)
}

// Counts is what a switch has seen since it was made.
type Counts struct {
	Sessions, Messages                      int
	FlowMods, GroupMods, MeterMods          int // accepted or not, in bundles too
	FlowAdds, FlowModifies, FlowDeletes     int
	BundlesCommitted, BundlesRefused        int
	PacketOuts, Barriers, Echoes, CTFlushes int
	ErrorsSent                              int
	Stalls                                  int // see Stall
	// GroupsDeletedInUse counts groups deleted inside a bundle while flows used
	// them. Open vSwitch 3.1 aborts if such a bundle is then rolled back.
	GroupsDeletedInUse int
}

// Switch is one switch. All methods may be called from several goroutines.
type Switch struct {
	opt Options

	mu       sync.Mutex
	t        *tables
	ports    []of.Port
	counts   Counts
	refuse   func(of.Message) *of.Error
	silent   bool
	stallAt  func(of.Message) bool
	stalled  bool
	gen      uint64
	genKnown bool
	sessions map[*session]bool
	changed  chan struct{} // closed and replaced at every change of sessions or tables
}

// New makes a switch with empty tables.
func New(opt Options) *Switch {
	if opt.Tables == 0 {
		opt.Tables = 254
	}
	if opt.Desc == (of.Desc{}) {
		opt.Desc = of.Desc{Manufacturer: "Nicira, Inc.", Hardware: "Open vSwitch", Software: "oftest", Serial: "None", Datapath: fmt.Sprintf("sw%x", opt.DatapathID)}
	}
	if opt.Versions == 0 {
		opt.Versions = 1 << of.Version
	}
	return &Switch{opt: opt, t: newTables(), ports: slices.Clone(opt.Ports), sessions: map[*session]bool{}, changed: make(chan struct{})}
}

// Run keeps a session with the controller at addr (TCP) until ctx ends,
// redialling after the given pause.
func (s *Switch) Run(ctx context.Context, addr string, pause time.Duration) error {
	var d net.Dialer
	for {
		nc, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			s.Serve(ctx, nc)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// Serve runs one session on nc until it or ctx ends, and closes nc.
func (s *Switch) Serve(ctx context.Context, nc net.Conn) error {
	defer nc.Close()
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer stop()
	ss := &session{s: s, nc: nc, role: of.RoleEqual, bundles: map[uint32]*bundle{}, parts: map[uint32][]byte{}}
	s.mu.Lock()
	s.counts.Sessions++
	s.sessions[ss] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.sessions, ss)
		s.signalLocked()
		s.mu.Unlock()
	}()
	err := ss.run(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (s *Switch) signalLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Wait blocks until cond holds; it is called with the counts each time the
// switch has handled messages or a session came or went.
func (s *Switch) Wait(ctx context.Context, cond func(Counts) bool) error {
	for {
		s.mu.Lock()
		ok, ch := cond(s.counts), s.changed
		s.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// WaitConnected blocks until a session has passed its hello.
func (s *Switch) WaitConnected(ctx context.Context) error {
	for {
		s.mu.Lock()
		ok, ch := false, s.changed
		for ss := range s.sessions {
			ok = ok || ss.greeted
		}
		s.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Counts returns what the switch has seen.
func (s *Switch) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// Refuse makes the switch answer state-changing messages (flow, group and meter
// mods, packet-outs, alone or in a bundle) with the error f returns, if any.
// In a bundle such an error comes at the commit. A nil f ends it.
func (s *Switch) Refuse(f func(of.Message) *of.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = f
}

// Silence makes the switch read but answer nothing, not even an echo.
func (s *Switch) Silence(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent = on
}

// Stall makes the switch as deaf as one whose only thread is at work: when a
// message arrives for which at is true, it is not handled, nor is anything read
// after it, before Resume. A nil at ends it for what comes later.
func (s *Switch) Stall(at func(of.Message) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stallAt = at
}

// Resume ends a stall, and handles what came meanwhile.
func (s *Switch) Resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stalled = false
	s.signalLocked()
}

// errDropped ends a session that was dropped while the switch was stalled.
var errDropped = errors.New("oftest: session dropped")

// work is what a stalled switch is at; it returns when that is done, or its session dropped.
func (s *Switch) work(ctx context.Context, ss *session, raw []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stallAt == nil {
		return nil
	}
	if _, m, err := of.Decode(bytes.Clone(raw)); err != nil || !s.stallAt(m) {
		return nil
	}
	s.stalled = true
	s.counts.Stalls++
	s.signalLocked()
	for s.stalled {
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if ss.dropped {
			s.stalled = false
			return errDropped
		}
	}
	return nil
}

// Drop closes all sessions. What a stalled switch has not handled by then it never will.
func (s *Switch) Drop() {
	for _, ss := range s.list() {
		ss.nc.Close()
		s.mu.Lock()
		ss.dropped = true
		s.signalLocked()
		s.mu.Unlock()
	}
}

// SendRaw writes bytes, such as garbage, to all sessions.
func (s *Switch) SendRaw(b []byte) error {
	var errs []error
	for _, ss := range s.list() {
		errs = append(errs, ss.write(b))
	}
	return errors.Join(errs...)
}

// PacketIn sends a packet-in to all sessions that are not secondary.
func (s *Switch) PacketIn(m *of.PacketIn) error {
	var errs []error
	for _, ss := range s.list() {
		s.mu.Lock()
		ext, role := ss.extended, ss.role
		s.mu.Unlock()
		if role == of.RoleSecondary {
			continue
		}
		p := *m
		p.Extended = ext
		errs = append(errs, ss.write(p.AppendMessage(nil, 0)))
	}
	return errors.Join(errs...)
}

// SetPort adds or changes a port and tells the sessions.
func (s *Switch) SetPort(p of.Port) error {
	s.mu.Lock()
	reason := of.PortReasonAdd
	i := slices.IndexFunc(s.ports, func(x of.Port) bool { return x.No == p.No })
	if i >= 0 {
		reason = of.PortReasonMod
		s.ports[i] = p
	} else {
		s.ports = append(s.ports, p)
	}
	s.mu.Unlock()
	return s.SendRaw((&of.PortStatus{Reason: reason, Port: p}).AppendMessage(nil, 0))
}

// DelPort removes a port and tells the sessions.
func (s *Switch) DelPort(no uint32) error {
	s.mu.Lock()
	i := slices.IndexFunc(s.ports, func(x of.Port) bool { return x.No == no })
	if i < 0 {
		s.mu.Unlock()
		return fmt.Errorf("port %d: not there", no)
	}
	p := s.ports[i]
	s.ports = slices.Delete(s.ports, i, i+1)
	s.mu.Unlock()
	return s.SendRaw((&of.PortStatus{Reason: of.PortReasonDel, Port: p}).AppendMessage(nil, 0))
}

// Flows returns the flows, sorted by table, falling priority and match.
func (s *Switch) Flows() []of.FlowStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []of.FlowStats
	for _, k := range s.t.sorted(func(flowKey, flow) bool { return true }) {
		out = append(out, stats(k, s.t.flows[k]))
	}
	return out
}

// Groups returns the groups by rising id.
func (s *Switch) Groups() []of.GroupDesc {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.t.sortedGroups()
}

// Meters returns the meters by rising id.
func (s *Switch) Meters() []of.MeterConfig {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.t.sortedMeters()
}

// Change changes the tables behind the controller's back: drift. Nothing is
// sent to any session.
func (s *Switch) Change(ms ...of.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := &tx{t: s.t}
	for i, m := range ms {
		if e := x.apply(m, s.opt.Tables); e != nil {
			x.rollback()
			return fmt.Errorf("message %d: %w", i, e)
		}
	}
	return nil
}

// Wipe empties all tables, as a restart of the switch does, and drops the
// sessions.
func (s *Switch) Wipe() {
	s.mu.Lock()
	s.t = newTables()
	s.genKnown = false
	s.mu.Unlock()
	s.Drop()
}

func (s *Switch) list() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*session, 0, len(s.sessions))
	for ss := range s.sessions {
		out = append(out, ss)
	}
	return out
}

func stats(k flowKey, f flow) of.FlowStats {
	return of.FlowStats{Table: k.table, Priority: k.prio, IdleTimeout: f.idle, HardTimeout: f.hard, Flags: f.flags,
		Cookie: f.cookie, Match: []byte(k.match), Instructions: []byte(f.instructions)}
}
