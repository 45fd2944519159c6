// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Config is what a Hub needs.
type Config struct {
	Store   *store.Store
	Rules   *compile.Rulebook
	Check   func(flow.Flow) error // of the declared pipeline; nil: none
	Log     *slog.Logger
	Timings Timings
	Enrol   Enrolment
	// ControllerPort is the TCP port that nodes are told to reach OpenFlow at; the address is the one they reached OVSDB at.
	ControllerPort int
	// Answer answers packets that flows sent up with a userdata of ours; nil: they are ignored.
	Answer Answer
	// Follower is told of what nodes serve; nil: nobody is.
	Follower Follower
	// FabricLLDP sends and believes LLDP on tunnels and on patches to provider bridges alone, where no instance sees it; else
	// every port has it.
	FabricLLDP bool
	// NativeDHCP says that we serve the DHCP ports that are on no node, so that they are ACTIVE as soon as they are committed.
	NativeDHCP bool
}

// Enrolment says what happens to a node that was never seen before.
type Enrolment string

const (
	EnrolAuto    Enrolment = "auto"    // pinned and served
	EnrolApprove Enrolment = "approve" // pinned, served after an operator approved it
)

// Timings are the clocks of sessions. Zero values mean the defaults.
type Timings struct {
	LLDP     time.Duration // between LLDP frames on a port; default 5 s
	Audit    time.Duration // between comparisons by dump; default 30 s
	Request  time.Duration // a switch's answer to one request; default 15 s
	Probe    time.Duration // silence after which a session is probed; default 5 s, and as long again until it is given up
	Takeover time.Duration // how long an old session may take to prove that it is alive when a second one claims its node
	Grace    time.Duration // how long a node may be without an OVSDB session before its ports count as down; default 5 min
	// Flush is how long a switch's datapath may still use what the switch itself has dropped, and so the pause before each of the
	// two flushes of a connection tracking zone that was given up; default 1.5 s.
	Flush time.Duration
}

func (t Timings) orDefaults() Timings {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&t.LLDP, 5*time.Second)
	def(&t.Audit, 30*time.Second)
	def(&t.Request, 15*time.Second)
	def(&t.Probe, 5*time.Second)
	def(&t.Takeover, 2*time.Second)
	def(&t.Grace, 5*time.Minute)
	def(&t.Flush, 1500*time.Millisecond)
	return t
}

// Hub owns the engine, the nodes' loops and the sessions.
type Hub struct {
	cfg    Config
	log    *slog.Logger
	engine *compile.Engine // owned by Run's goroutine

	ask  chan func(*compile.Engine)
	news chan struct{} // capacity 1: nodes confirmed something, see told

	mu        sync.Mutex
	nodes     map[model.NodeID]*target
	processed progress                  // what the engine has compiled
	moved     chan struct{}             // closed and renewed when processed or a node's confirmation moves
	told      map[model.NodeID]struct{} // nodes that confirmed since the hub last looked
	suspects  map[model.PortID]struct{} // objects that a switch has begun or ceased to refuse
	links     linkTable
	secret    []byte // keys LLDP frames
	part      uint32 // partFlows
	running   sync.WaitGroup
	status    statusBook
	former    formerSets
	stopped   chan struct{}
}

// progress is a place in the store's history.
type progress struct {
	Seq      uint64
	Revision store.Revision
}

// New returns a Hub that does nothing until Run.
func New(cfg Config) *Hub {
	cfg.Timings = cfg.Timings.orDefaults()
	if cfg.Enrol == "" {
		cfg.Enrol = EnrolAuto
	}
	return &Hub{
		cfg: cfg, log: cfg.Log, engine: compile.New(cfg.Rules, cfg.Check),
		ask: make(chan func(*compile.Engine)), news: make(chan struct{}, 1), told: map[model.NodeID]struct{}{},
		suspects: map[model.PortID]struct{}{},
		nodes:    map[model.NodeID]*target{}, moved: make(chan struct{}),
		links: newLinkTable(), secret: newSecret(), part: partFlows, status: newStatusBook(), stopped: make(chan struct{}),
	}
}

// Run follows the store until ctx ends. It owns the engine.
func (h *Hub) Run(ctx context.Context) error {
	defer h.running.Wait()
	defer close(h.stopped)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := h.cfg.Store.Watch()
	defer w.Close()
	lost := time.NewTicker(h.cfg.Timings.Grace / 4)
	defer lost.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-lost.C:
			h.findLost(ctx)
		case <-w.C():
			snap, ch, ok := w.Take()
			if !ok {
				continue
			}
			h.step(ctx, snap, ch)
		case f := <-h.ask:
			f(h.engine)
		case <-h.news:
			h.confirmed(ctx)
		}
	}
}

// step compiles one state and hands the deltas to the nodes' loops.
func (h *Hub) step(ctx context.Context, snap *store.Snapshot, ch *store.Changes) {
	for id := range h.changedNodes(snap, ch) {
		if _, ok := tables.Nodes.Get(snap, id); ok {
			h.engine.AddNode(string(id))
			h.startNode(ctx, id)
		} else {
			h.engine.RemoveNode(string(id))
			h.stopNode(id)
		}
	}
	deltas := h.engine.Update(snap, ch)
	at := progress{snap.Seq(), snap.Revision()}
	h.mu.Lock()
	for name, d := range deltas {
		if t := h.nodes[model.NodeID(name)]; t != nil {
			t.offer(d, at)
		}
	}
	h.processed = at
	h.announce()
	h.mu.Unlock()
	h.noteSlots(ctx, snap, ch)
	h.status.note(snap, ch, h.cfg.NativeDHCP)
	h.settleStatuses(ctx)
}

// changedNodes are the nodes whose record appeared, changed or went.
func (h *Hub) changedNodes(snap *store.Snapshot, ch *store.Changes) map[model.NodeID]struct{} {
	out := map[model.NodeID]struct{}{}
	if ch.All {
		for id := range tables.Nodes.All(snap) {
			out[id] = struct{}{}
		}
		h.mu.Lock()
		for id := range h.nodes {
			out[id] = struct{}{}
		}
		h.mu.Unlock()
	}
	for _, r := range ch.Records {
		if r.Table == tables.Nodes.Name() {
			out[model.NodeID(r.Key)] = struct{}{}
		}
	}
	return out
}

func (h *Hub) startNode(ctx context.Context, id model.NodeID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.nodes[id] != nil {
		return
	}
	t := newTarget(h, id)
	h.nodes[id] = t
	ctx, t.cancel = context.WithCancel(ctx)
	h.running.Go(func() { t.run(ctx) })
	h.running.Go(func() { t.keepZones(ctx) })
}

func (h *Hub) stopNode(id model.NodeID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.nodes[id]; t != nil {
		t.cancel()
		delete(h.nodes, id)
	}
}

// announce wakes whoever waits for progress. h.mu is held.
func (h *Hub) announce() {
	close(h.moved)
	h.moved = make(chan struct{})
}

// confirmed judges the ports of nodes that confirmed what they were offered.
func (h *Hub) confirmed(ctx context.Context) {
	h.mu.Lock()
	nodes := slices.Collect(maps.Keys(h.told))
	clear(h.told)
	suspects := h.suspects
	h.suspects = map[model.PortID]struct{}{}
	h.mu.Unlock()
	if h.cfg.Follower != nil {
		for _, id := range nodes {
			h.cfg.Follower.Confirmed(id)
		}
	}
	if snap := h.engine.Snapshot(); snap != nil {
		for id := range suspects {
			h.status.fresh[id] = struct{}{}
			h.status.gatewayOf(snap, model.RouterID(id))
		}
		h.settleStatuses(ctx, nodes...)
	}
}

// tell notes that a node confirmed something. h.mu is held.
func (h *Hub) tell(id model.NodeID) {
	h.announce()
	h.told[id] = struct{}{}
	select {
	case h.news <- struct{}{}:
	default:
	}
}

// Do runs f on the engine's goroutine, where it may read the engine. It fails once the Hub has stopped.
func (h *Hub) Do(ctx context.Context, f func(*compile.Engine)) error {
	done := make(chan struct{})
	select {
	case h.ask <- func(e *compile.Engine) { defer close(done); f(e) }:
	case <-h.stopped:
		return context.Canceled
	case <-ctx.Done():
		return ctx.Err()
	}
	<-done
	return nil
}

// do runs f on the hub's goroutine.
func (h *Hub) do(ctx context.Context, f func()) error {
	return h.Do(ctx, func(*compile.Engine) { f() })
}

// Absent are the nodes that have had neither session for as long as d, or since this process began.
func (h *Hub) Absent(d time.Duration) map[model.NodeID]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := map[model.NodeID]bool{}
	for id, t := range h.nodes {
		if t.db == nil && t.of == nil && time.Since(t.since) >= d {
			out[id] = true
		}
	}
	return out
}

// Wait blocks until the engine and every live node (one with both sessions) have confirmed the revision.
func (h *Hub) Wait(ctx context.Context, rev store.Revision) error {
	for {
		h.mu.Lock()
		moved := h.moved
		ok := h.processed.Revision >= rev
		for _, t := range h.nodes {
			if t.live() && t.confirmedLocked().Revision < rev {
				ok = false
			}
		}
		h.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		case <-h.stopped:
			return context.Canceled
		}
	}
}
