// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"cmp"
	"context"
	"slices"
	"time"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/store"
)

// NodeInfo is a node's state of service.
type NodeInfo struct {
	ID        model.NodeID
	OVSDB     bool // session up
	OpenFlow  bool
	Confirmed store.Revision // newest revision that its barrier confirmed
	InSync    bool           // holds everything that was compiled for it
	Waiting   string         // why it must still be compared as a whole, "" if not
	Problem   string         // last error since it was in sync
	Since     time.Time      // of the present state of its sessions
	Flows     int            // desired
	Sent      Counters
	Punts     PuntCounts
	Zones     int // connection tracking zones of ports that are gone, which wait to be flushed
	Faults    []compile.Fault
}

// PuntCounts count the packets that a node's ports sent up to be answered, since the process started or the node became known.
type PuntCounts struct {
	Answered   uint64
	Unanswered uint64 // there is no answer: malformed, of no port of the node, of a network without the service
	Dropped    uint64 // found no room in the session's queues
	Failed     uint64 // the answer panicked
	// Unlogged are copies for security logs, in none of the other counts, that a meter kept back, as of the last comparison, or
	// that found no room.
	Unlogged uint64
}

// Counters count what was sent to a node since the process started.
type Counters = counters

// Nodes describes every known node, in order of name.
func (h *Hub) Nodes(ctx context.Context) ([]NodeInfo, error) {
	var out []NodeInfo
	h.mu.Lock()
	for id, t := range h.nodes {
		var refused []compile.Fault
		for object, why := range t.refused {
			refused = append(refused, compile.Fault{Node: string(id), Object: object, Rule: "switch", Reason: why})
		}
		punts := PuntCounts{Answered: t.punts.answered.Load(), Unanswered: t.punts.unanswered.Load(), Dropped: t.punts.dropped.Load(),
			Failed: t.punts.failed.Load(), Unlogged: t.punts.unlogged.Load()}
		if t.of != nil {
			punts.Dropped += t.of.c.Stats().PacketInsDropped
		}
		out = append(out, NodeInfo{ID: id, OVSDB: t.db != nil, OpenFlow: t.of != nil, Confirmed: t.confirmedLocked().Revision,
			InSync: t.inSync && t.live(), Waiting: t.resync, Problem: cmp.Or(t.problem, t.rowProblem, t.zoneProblem), Since: t.since,
			Sent: t.sent, Punts: punts, Zones: t.zonesWaiting, Faults: refused})
	}
	h.mu.Unlock()
	slices.SortFunc(out, func(a, b NodeInfo) int { return cmp.Compare(a.ID, b.ID) })
	err := h.Do(ctx, func(e *compile.Engine) {
		for i := range out {
			out[i].Flows = e.FlowCount(string(out[i].ID))
			out[i].Faults = append(e.Faults(string(out[i].ID)), out[i].Faults...)
		}
	})
	return out, err
}

// Processed is the newest revision that was compiled.
func (h *Hub) Processed() store.Revision {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.processed.Revision
}

// Links are the directions of links that LLDP crossed within three periods.
func (h *Hub) Links() []Link {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.links.list(time.Now().Add(-3*h.cfg.Timings.LLDP - time.Second))
}

// Flows are the flows that a node should hold, in golden order.
func (h *Hub) Flows(ctx context.Context, id model.NodeID) ([]flow.Flow, bool, error) {
	var d compile.Desired
	ok := false
	if err := h.Do(ctx, func(e *compile.Engine) { d, ok = e.Desired(string(id)) }); err != nil {
		return nil, false, err
	}
	out := make([]flow.Flow, 0, len(d.Flows))
	for _, f := range d.Flows {
		out = append(out, f)
	}
	slices.SortFunc(out, flow.Compare)
	return out, ok, nil
}

// Explain gives the reasons of a desired flow.
func (h *Hub) Explain(ctx context.Context, id model.NodeID, key flow.Key) (why []compile.Reason, err error) {
	err = h.Do(ctx, func(e *compile.Engine) { why = e.Explain(string(id), key) })
	return why, err
}

// EngineStats are the engine's counters and the number of its units.
func (h *Hub) EngineStats(ctx context.Context) (s compile.Stats, units int, err error) {
	err = h.Do(ctx, func(e *compile.Engine) { s, units = e.Stats(), e.UnitCount() })
	return s, units, err
}

// Owners returns the owner of each desired flow of a node.
func (h *Hub) Owners(ctx context.Context, id model.NodeID) (out map[flow.Key]compile.Owner, err error) {
	err = h.Do(ctx, func(e *compile.Engine) { out = e.Owners(string(id)) })
	return out, err
}

// OwnedBy returns the desired flows of a node that an object owns.
func (h *Hub) OwnedBy(ctx context.Context, id model.NodeID, object string) (out []flow.Flow, err error) {
	err = h.Do(ctx, func(e *compile.Engine) { out = e.OwnedBy(string(id), object) })
	return out, err
}

// WaitCompiled blocks until the engine has compiled the state with the number (store.Snapshot.Seq).
func (h *Hub) WaitCompiled(ctx context.Context, seq uint64) error { return h.awaitProcessed(ctx, seq) }

// Poke makes a node's loop look again.
func (h *Hub) Poke(id model.NodeID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.nodes[id]; t != nil {
		t.poke()
	}
}

// Audit makes a node's loop compare its switch with the desired state now.
func (h *Hub) Audit(id model.NodeID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.nodes[id]; t != nil && t.resync == "" {
		t.ask("audit")
		t.poke()
	}
}
