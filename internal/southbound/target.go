// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"nagare/internal/compile"
	"nagare/internal/model"
)

// target is one node: what it should hold, what it has confirmed, and its two sessions. Fields below mu of the Hub are
// guarded by it; the rest belongs to the loop.
type target struct {
	hub    *Hub
	id     model.NodeID
	log    *slog.Logger
	cancel context.CancelFunc
	wake   chan struct{} // capacity 1

	// Of the loop alone.
	compared time.Time     // when the whole state was compared last
	took     time.Duration // so long

	// Guarded by hub.mu.
	pending  *compile.Delta // offered and not yet sent
	goal     progress       // of the newest offer
	done     progress       // confirmed by the barrier
	inSync   bool           // the switch holds everything offered up to done
	db       *dbSession     // nil while absent
	of       *ofSession     // nil while absent
	resync   string         // why the whole state must be compared; "" if it need not
	asked    uint64         // how often resync was asked for: a comparison under way answers only what was asked before it
	complete progress       // state in which the node's report of interfaces was complete; Seq 0: not since the session began
	problem  string         // last error, for people
	sent     counters
	refused  map[string]string // objects whose flows the switch refused -> why
	since    time.Time         // of the present state of sessions
	lost     bool              // without an OVSDB session for longer than the grace time

	punts puntCounters

	waiting    map[compile.RowKey]compile.Row // for a bridge that is not there; the loop's
	rowProblem string                         // the same for people; guarded by hub.mu

	zoneWake     chan struct{} // capacity 1
	zonesWaiting int           // zones to be flushed; guarded by hub.mu, as is what follows
	zoneProblem  string        // why they are not
}

// counters count what was sent to a node since start.
type counters struct {
	FlowMods, GroupMods, MeterMods, RowChanges uint64
	Bundles, Audits, Drift                     uint64
	ZoneFlushes                                uint64
}

func newTarget(h *Hub, id model.NodeID) *target {
	return &target{hub: h, id: id, log: h.log.With("node", string(id)), wake: make(chan struct{}, 1), zoneWake: make(chan struct{}, 1), resync: "start", since: time.Now()}
}

// An audit reads a node's whole table, which costs by its size and not by what changed. It takes at most one part in auditShare
// of the time, but is done every auditMost whatever it takes.
const (
	auditShare = 50
	auditMost  = 10 * time.Minute
)

// auditDue reports whether a table may be read again, so long after it was read last, which took so long.
func auditDue(since, took time.Duration) bool { return since >= min(auditShare*took, auditMost) }

// offer adds a delta. hub.mu is held.
func (t *target) offer(d *compile.Delta, at progress) {
	if t.pending == nil {
		t.pending = &compile.Delta{}
	}
	t.pending.Merge(d)
	t.goal = at
	t.inSync = false
	t.poke()
}

func (t *target) poke() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// ask has the node compared as a whole. hub.mu is held.
func (t *target) ask(why string) {
	t.asked++
	if t.resync == "" {
		t.resync = why
	}
}

// live reports whether both sessions are up. hub.mu is held.
func (t *target) live() bool { return t.db != nil && t.of != nil && t.of.node == t.id }

// confirmedLocked is how far the node has come: everything compiled if it holds all it was offered. hub.mu is held.
func (t *target) confirmedLocked() progress {
	if t.inSync && t.live() {
		return t.hub.processed
	}
	return t.done
}

// run is the node's loop.
func (t *target) run(ctx context.Context) {
	audit := time.NewTicker(t.hub.cfg.Timings.Audit)
	defer audit.Stop()
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	backoff := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			t.hub.mu.Lock()
			db, of := t.db, t.of
			t.hub.mu.Unlock()
			if db != nil {
				db.close(errStopping)
			}
			if of != nil {
				of.close(errStopping)
			}
			return
		case <-t.wake:
		case <-retry.C:
		case <-audit.C:
			if !auditDue(time.Since(t.compared), t.took) {
				continue // foreign changes to flows are told of besides
			}
			t.hub.mu.Lock()
			if t.inSync && t.live() && t.resync == "" {
				t.ask("audit")
			}
			t.hub.mu.Unlock()
		}
		if err := t.reconcile(ctx); err != nil && ctx.Err() == nil {
			backoff = min(max(2*backoff, 100*time.Millisecond), 15*time.Second)
			retry.Reset(backoff)
			t.hub.mu.Lock()
			t.problem = err.Error()
			t.hub.mu.Unlock()
			if !errors.Is(err, errGone) {
				t.log.Warn("reconcile", "error", err, "retry", backoff)
			}
			continue
		}
		backoff = 0
	}
}

var (
	errStopping = errors.New("stopping")
	errGone     = errors.New("session gone")
)
