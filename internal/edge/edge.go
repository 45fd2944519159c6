// SPDX-License-Identifier: Apache-2.0

// Package edge speaks on external networks for the nodes that serve addresses there: it asks for the link addresses of next hops,
// keeps what it hears in tables.Neighbours, on which flows depend, and announces floating IPs and gateways where they come to be.
//
// It is an agenda and what is needed to see what is due: the frames are internal/punt's, the sessions internal/southbound's.
// Invariants: nothing is announced before the node has confirmed that it serves it; nothing is learned that was not asked for a
// moment ago, or that differs in nothing from what is known; what is held in memory is bounded, whatever is sent up. The agenda
// is not persisted: after a restart what is needed is asked for again, and an announcement whose status was not yet written is
// repeated. Packets to a next hop are dropped by the switch, not queued, until its link address is there.
//
// Callers: internal/app gives it what nodes confirm and what they send up, and runs it.
package edge

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/punt"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Config is what an Edge needs.
type Config struct {
	Store *store.Store
	// Emit sends frames from a node and reports whether it has a session.
	Emit func(ctx context.Context, node model.NodeID, frames []punt.Frame) bool
	Log  *slog.Logger
	Now  func() time.Time // nil: time.Now
}

// Times and bounds.
const (
	gatewayEvery = 30 * time.Second       // between questions for a subnet's gateway
	refreshEvery = time.Minute            // between questions for other next hops that are known
	refreshMost  = 3                      // of these without an answer, before a next hop is forgotten
	believe      = 5 * time.Second        // after a question
	gather       = 100 * time.Millisecond // for what is heard, before it is written
	maxHops      = 4096                   // next hops of an external network that are known or asked for, gateways aside
	maxQueue     = 1024                   // packets sent up that wait to be looked at
	againAfter   = time.Second            // a write that failed is tried again
)

// When announcements and first questions are sent, after the first.
var repeats = []time.Duration{time.Second, 2 * time.Second}

// Edge is the agenda. Its methods may be called from several goroutines, and do not block.
type Edge struct {
	cfg  Config
	kick chan struct{} // capacity 1

	mu        sync.Mutex
	confirmed map[model.NodeID]struct{} // since the last step
	served    []served
	wanted    []want
	asked     map[punt.Hop]time.Time // until when an answer is believed
	heard     map[punt.Hop]model.MAC // to be written

	// Of the goroutine that steps.
	agenda agenda
	known  map[model.NodeID]map[punt.Hop]bool // gateways that nodes ask for; whether the last question could be sent
	gone   []model.Neighbour
	hops   map[model.NetworkID]int // other next hops on the agenda
	write  time.Time               // when what was heard is written; zero: nothing was
}

type served struct {
	node model.NodeID
	id   model.PortID
}

type want struct {
	node model.NodeID
	hop  punt.Hop
}

// New makes an Edge that does nothing until Run.
func New(cfg Config) *Edge {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Edge{cfg: cfg, kick: make(chan struct{}, 1), confirmed: map[model.NodeID]struct{}{}, asked: map[punt.Hop]time.Time{},
		heard: map[punt.Hop]model.MAC{}, agenda: newAgenda(), known: map[model.NodeID]map[punt.Hop]bool{}, hops: map[model.NetworkID]int{}}
}

func (e *Edge) wake() {
	select {
	case e.kick <- struct{}{}:
	default:
	}
}

// Confirmed says that a node holds all that it was offered: what it needs to know may have changed.
func (e *Edge) Confirmed(node model.NodeID) {
	e.mu.Lock()
	e.confirmed[node] = struct{}{}
	e.mu.Unlock()
	e.wake()
}

// Served says that a node has begun to serve a floating IP or a gateway, by its port, and has confirmed it.
func (e *Edge) Served(node model.NodeID, id model.PortID) {
	e.mu.Lock()
	e.served = append(e.served, served{node, id})
	e.mu.Unlock()
	e.wake()
}

// Punted takes a packet that a node sent up, if it is of a kind that tells something about next hops.
func (e *Edge) Punted(r store.Reader, p *punt.Packet) {
	switch p.Kind {
	case pipeline.PuntResolve:
		hop, ok := punt.Wanted(r, p)
		if !ok {
			return
		}
		e.mu.Lock()
		_, pending := e.asked[hop]
		if !pending && len(e.wanted) < maxQueue {
			e.wanted = append(e.wanted, want{p.Node, hop})
		}
		e.mu.Unlock()
		if !pending {
			e.wake()
		}
	case pipeline.PuntNeighbour:
		hop, mac, ok := punt.Learned(r, p)
		if !ok {
			return
		}
		e.mu.Lock()
		until, asked := e.asked[hop]
		if asked = asked && e.cfg.Now().Before(until); asked {
			e.heard[hop] = mac
		}
		e.mu.Unlock()
		if asked {
			e.wake()
		}
	}
}

// Run does what is due until ctx ends.
func (e *Edge) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.kick:
		case <-timer.C:
		}
		if next := e.step(ctx); !next.IsZero() {
			timer.Reset(max(0, next.Sub(e.cfg.Now())))
		}
	}
}

// step does what is due now and says when to step again; zero: when something happens.
func (e *Edge) step(ctx context.Context) (next time.Time) {
	now, snap := e.cfg.Now(), e.cfg.Store.Snapshot()
	e.mu.Lock()
	confirmed, begun, wanted := e.confirmed, e.served, e.wanted
	e.confirmed, e.served, e.wanted = map[model.NodeID]struct{}{}, nil, nil
	e.mu.Unlock()
	for node := range confirmed {
		e.follow(snap, node, now)
	}
	for _, s := range begun {
		e.agenda.put(&task{what: announce, node: s.node, id: s.id, at: now})
	}
	for _, w := range wanted {
		if _, known := tables.Neighbours.Get(snap, w.hop.Key()); !known && e.room(w.hop) {
			e.agenda.put(&task{what: resolve, node: w.node, hop: w.hop, at: now})
		}
	}
	for t := e.agenda.due(now); t != nil; t = e.agenda.due(now) {
		e.do(ctx, snap, t, now)
	}
	e.keep(ctx, now)
	if next = e.agenda.next(); next.IsZero() || !e.write.IsZero() && e.write.Before(next) {
		next = e.write
	}
	return next
}

// follow asks for the gateways that a node needs and has not asked for yet, and takes care of what is known on networks that it
// newly speaks on.
func (e *Edge) follow(r store.Reader, node model.NodeID, now time.Time) {
	had := e.known[node]
	for _, hop := range punt.Gateways(r, node) {
		sent, old := had[hop]
		if sent {
			continue
		}
		if had == nil {
			had = map[punt.Hop]bool{}
			e.known[node] = had
		}
		had[hop] = true
		e.agenda.put(&task{what: gateway, node: node, hop: hop, at: now})
		if old {
			continue
		}
		for key := range tables.NetworkNeighbours.Members(r, string(hop.Network)) {
			n, _ := tables.Neighbours.Get(r, key)
			if other := (punt.Hop{Network: n.Network, Addr: n.Addr}); other != hop && e.room(other) {
				e.agenda.put(&task{what: refresh, node: node, hop: other, at: now.Add(refreshEvery)})
			}
		}
	}
}

// room reports whether a next hop that is no gateway may be taken on, and counts it.
func (e *Edge) room(hop punt.Hop) bool {
	if e.agenda.names[name{what: resolve, hop: hop}] != nil || e.hops[hop.Network] >= maxHops {
		return false
	}
	e.hops[hop.Network]++
	return true
}

func (e *Edge) leave(hop punt.Hop) {
	if e.hops[hop.Network]--; e.hops[hop.Network] <= 0 {
		delete(e.hops, hop.Network)
	}
}

// do does a task and puts its next turn on the agenda, if it has one.
func (e *Edge) do(ctx context.Context, r store.Reader, t *task, now time.Time) {
	switch t.what {
	case announce:
		if frames := punt.Announce(r, t.node, t.id); len(frames) > 0 {
			e.cfg.Emit(ctx, t.node, frames)
		}
		e.repeat(t, now)
	case expire:
		e.mu.Lock()
		delete(e.asked, t.hop)
		e.mu.Unlock()
	case gateway:
		sent := e.ask(ctx, r, t, now)
		if !sent && !needed(r, t) {
			if delete(e.known[t.node], t.hop); len(e.known[t.node]) == 0 {
				delete(e.known, t.node)
			}
			if !isGateway(r, t.hop) && e.room(t.hop) { // so that it is forgotten in time
				e.agenda.put(&task{what: refresh, node: t.node, hop: t.hop, at: now.Add(refreshEvery)})
			}
			return
		}
		e.known[t.node][t.hop] = sent
		t.at = now.Add(gatewayEvery)
		if _, known := tables.Neighbours.Get(r, t.hop.Key()); !known && t.turn == 0 { // one frame may be lost, and packets wait
			e.repeat(&task{what: hasten, node: t.node, hop: t.hop}, now)
		}
		t.turn = 1
		e.agenda.put(t)
	case hasten:
		if _, known := tables.Neighbours.Get(r, t.hop.Key()); !known && e.ask(ctx, r, t, now) {
			e.repeat(t, now)
		}
	case resolve:
		_, known := tables.Neighbours.Get(r, t.hop.Key())
		if known {
			t.what, t.turn, t.at = refresh, 0, now.Add(refreshEvery)
			e.agenda.put(t)
			return
		}
		if t.turn > len(repeats) { // it is left alone for a while; the next packet asks anew
			e.leave(t.hop)
			return
		}
		e.ask(ctx, r, t, now)
		if t.turn == len(repeats) {
			t.turn, t.at = t.turn+1, now.Add(believe)
			e.agenda.put(t)
			return
		}
		e.repeat(t, now)
	case refresh:
		n, known := tables.Neighbours.Get(r, t.hop.Key())
		switch {
		case !known || isGateway(r, t.hop):
			e.leave(t.hop)
			return
		case t.turn >= refreshMost:
			e.leave(t.hop)
			e.gone = append(e.gone, n)
			return
		}
		e.ask(ctx, r, t, now) // a node that speaks there no more makes it forgotten, and found again by who needs it
		t.turn, t.at = t.turn+1, now.Add(refreshEvery)
		e.agenda.put(t)
	}
}

// repeat puts a task's next turn on the agenda.
func (e *Edge) repeat(t *task, now time.Time) {
	if t.turn < len(repeats) {
		t.at = now.Add(repeats[t.turn])
		t.turn++
		e.agenda.put(t)
	}
}

// ask sends a question and believes its answer for a while.
func (e *Edge) ask(ctx context.Context, r store.Reader, t *task, now time.Time) bool {
	f, ok := punt.Ask(r, t.node, t.hop)
	if !ok {
		return false
	}
	e.mu.Lock()
	e.asked[t.hop] = now.Add(believe)
	e.mu.Unlock()
	e.agenda.put(&task{what: expire, hop: t.hop, at: now.Add(believe)})
	return e.cfg.Emit(ctx, t.node, []punt.Frame{f})
}

func isGateway(r store.Reader, hop punt.Hop) bool {
	for s := range tables.SubnetsByNetwork.By(r, string(hop.Network)) {
		if s.Gateway == hop.Addr {
			return true
		}
	}
	return false
}

// needed reports whether a node still needs a gateway.
func needed(r store.Reader, t *task) bool {
	return isGateway(r, t.hop) && tables.NodeExternals.Has(r, string(t.node), string(t.hop.Network))
}
