// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"context"
	"slices"
	"time"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// statusBook holds the ports whose status may have to change. It belongs to the hub's goroutine.
type statusBook struct {
	fresh map[model.PortID]struct{}                  // to be judged at the next step
	open  map[model.NodeID]map[model.PortID]struct{} // wait for their node to confirm

	// writing is set while a transaction of ours is under way. There is one at a time: of two, the older verdict could be
	// written last, and a verdict is compared with the status that was written before it.
	writing bool
}

func newStatusBook() statusBook {
	return statusBook{fresh: map[model.PortID]struct{}{}, open: map[model.NodeID]map[model.PortID]struct{}{}}
}

// note marks the ports that a change concerns.
func (b *statusBook) note(snap *store.Snapshot, ch *store.Changes, native bool) {
	if ch.All {
		for id := range tables.FormerSets.All(snap) { // their time was interrupted
			b.fresh[id] = struct{}{}
		}
		// Once, at start: what a crash left between a change and its status, and what another setting made of DHCP ports.
		for id, p := range tables.Ports.All(snap) {
			if native && unplacedDHCP(&p) {
				b.fresh[id] = struct{}{}
			}
		}
		for id, s := range tables.Statuses.All(snap) {
			if _, ok := tables.Located(snap, id); !ok && s.Status != model.StatusDown {
				b.fresh[id] = struct{}{}
			}
		}
	}
	b.notePlaces(snap, ch)
	for _, r := range ch.Records {
		switch r.Table {
		case tables.Ports.Name():
			if r.PlaneChanged {
				b.fresh[model.PortID(r.Key)] = struct{}{}
			}
		case tables.Plugs.Name():
			for _, v := range []any{r.Before, r.After} {
				if p, ok := v.(model.Plug); ok {
					b.carried(snap, p.Port)
				}
			}
		case tables.Interfaces.Name():
			for _, v := range []any{r.Before, r.After} {
				if i, ok := v.(model.Interface); ok && i.IfaceID != "" {
					b.carried(snap, i.IfaceID)
				}
			}
		}
	}
}

// carried marks a port and those that its trunk carries: they are up and down with its interface.
func (b *statusBook) carried(r store.Reader, id model.PortID) {
	b.fresh[id] = struct{}{}
	for p := range tables.SubPortsByParent.By(r, string(id)) {
		b.fresh[p.ID] = struct{}{}
	}
}

// take empties the fresh ports, and those that waited for the given nodes.
func (b *statusBook) take(nodes []model.NodeID) map[model.PortID]struct{} {
	out := b.fresh
	b.fresh = map[model.PortID]struct{}{}
	for _, n := range nodes {
		for id := range b.open[n] {
			out[id] = struct{}{}
		}
		delete(b.open, n)
	}
	return out
}

func (b *statusBook) wait(n model.NodeID, id model.PortID) {
	if b.open[n] == nil {
		b.open[n] = map[model.PortID]struct{}{}
	}
	b.open[n][id] = struct{}{}
}

// settleStatuses writes the statuses that can be told now: a port is ACTIVE when its node has confirmed a state at or after
// the one in which it was bound and plugged, DOWN when it is not located, and keeps what it has while its node has yet to
// report or to confirm. What is opened while statuses are being written is judged when they have been.
func (h *Hub) settleStatuses(ctx context.Context, confirmed ...model.NodeID) {
	ids := h.status.take(confirmed)
	if h.status.writing {
		h.status.fresh = ids
		return
	}
	snap := h.cfg.Store.Snapshot() // the engine's may lack what we wrote last
	want := map[model.PortID]verdict{}
	for id := range ids {
		have, ok := tables.Statuses.Get(snap, id)
		v, host := h.judge(snap, id, &have)
		if host != "" {
			h.status.wait(host, id)
			if _, places := placeOf(snap, id); ok || !places {
				continue
			}
			v = verdict{status: model.StatusDown, first: true} // what nothing is plugged for would be taken for up
		} else {
			h.forgetFormer(ctx, snap, id)
		}
		if (v.status == "") == !ok && have.Status == v.status && have.Reason == v.reason && have.Node == v.node && slices.Equal(have.Ready, v.ready) {
			continue
		}
		if v.id = id; v.node != "" && h.cfg.Follower != nil { // before it is written: rather twice than never
			h.cfg.Follower.Served(v.node, id)
		}
		want[id] = v
	}
	if len(want) == 0 {
		return
	}
	// Not on this goroutine: a commit may have to wait for a step that only this goroutine takes.
	h.status.writing = true
	h.running.Go(func() {
		_, err := h.cfg.Store.Commit(ctx, store.Origin{User: "nagare", Action: "port status"}, func(tx *store.Txn) error {
			for id, v := range want {
				p, ok := tables.Ports.Get(tx, id)
				if !ok {
					_, ok = tables.FloatingIPs.Get(tx, model.FloatingIPID(id))
				}
				_, told := tables.Statuses.Get(tx, id)
				switch {
				case v.first && told:
				case v.status == "" || !ok:
					tables.Statuses.Delete(tx, id)
				case v.status == model.StatusActive && !judgedStill(tx, &p, v):
					// it was changed or unplugged meanwhile, and that has opened it again
				default:
					tables.Statuses.Put(tx, id, model.PortStatus{Port: id, Status: v.status, Reason: v.reason, Node: v.node, Ready: v.ready, Since: time.Now().UTC()})
				}
			}
			return nil
		})
		if err != nil && ctx.Err() == nil {
			h.log.Error("port status not written; it will be judged again", "ports", len(want), "error", err)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
		_ = h.do(ctx, func() {
			h.status.writing = false
			if err != nil {
				for id := range want {
					h.status.fresh[id] = struct{}{}
				}
			}
			h.settleStatuses(ctx)
		})
	})
}

// judgedStill reports whether the port is as it was when it was judged: a binding that changed since may name a node that has
// confirmed nothing.
func judgedStill(r store.Reader, p *model.Port, v verdict) bool {
	if v.node != "" {
		at, _ := placeOf(r, v.id)
		return at.node == v.node && at.seq == v.seq
	}
	_, located := tables.Located(r, p.ID)
	info, _ := tables.Ports.Info(r, p.ID)
	return (located || v.served || v.left) && info.Seq == v.seq
}

// unplacedDHCP reports whether the port is a DHCP port that is on no node. If we serve those ourselves, there is nothing that
// any node would have to confirm (decision 6).
func unplacedDHCP(p *model.Port) bool { return p.IsDHCP() && p.Host == "" && p.AdminStateUp }

// verdict is a port's status; the zero one means that there is no such port.
type verdict struct {
	status, reason string
	seq            uint64 // of an ACTIVE one: the state in which the port's plane last changed
	served         bool   // by us, without an interface
	id             model.PortID
	first          bool           // counts only while there is no other
	node           model.NodeID   // of an ACTIVE one: where it is placed, if nothing is plugged for it
	ready          []model.NodeID // hosts of inactive bindings that could take the port over
	left           bool           // its active host has it no more, and one of those does
}

// judge tells a port's status, or the node that must report or confirm before it can be told. have is the one that it has.
func (h *Hub) judge(snap *store.Snapshot, id model.PortID, have *model.PortStatus) (v verdict, waitFor model.NodeID) {
	if at, ok := placeOf(snap, id); ok {
		return h.judgePlaced(at)
	}
	p, there := tables.Ports.Get(snap, id)
	if !there || p.IsRouterPort() || p.DeviceOwner == model.OwnerFloatingIP {
		return verdict{}, ""
	}
	if h.cfg.NativeDHCP && unplacedDHCP(&p) {
		info, _ := tables.Ports.Info(snap, id)
		return verdict{status: model.StatusActive, seq: info.Seq, served: true}, ""
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range p.Standby {
		if h.readyLocked(snap, &p, n, slices.Contains(have.Ready, n)) {
			v.ready = append(v.ready, n)
		}
	}
	port, _ := tables.Ports.Info(snap, id)
	if _, located := tables.Located(snap, id); !located {
		if v.status = model.StatusDown; p.AdminStateUp && have.Status == model.StatusActive && len(v.ready) > 0 {
			// The hypervisor took the interface away before it told that the instance runs elsewhere.
			v.status, v.seq, v.left = model.StatusActive, port.Seq, true
		}
		return v, ""
	}
	t := h.nodes[p.Host]
	if t != nil && t.lost {
		v.status, v.reason = model.StatusDown, t.lostReason()
		return v, ""
	}
	if !h.confirmedPortLocked(snap, &p, p.Host) {
		return verdict{}, p.Host
	}
	if why, bad := t.refused[string(id)]; bad {
		v.status, v.reason = model.StatusError, why
		return v, ""
	}
	v.status, v.seq = model.StatusActive, port.Seq
	return v, ""
}

// confirmedPortLocked reports whether a node on which the port is located has confirmed a state at or after the one in which it
// was bound and plugged there. Without an interface it is plugged as far as we remember: its node has yet to report.
func (h *Hub) confirmedPortLocked(snap *store.Snapshot, p *model.Port, n model.NodeID) bool {
	key := model.PlugKey(n, p.Carrier())
	i, ok := tables.InterfacesByIface.First(snap, key)
	port, _ := tables.Ports.Info(snap, p.ID)
	plug, _ := tables.Plugs.Info(snap, key)
	ifc, _ := tables.Interfaces.Info(snap, model.InterfaceKey(n, i.Name))
	t := h.nodes[n]
	return ok && t != nil && t.confirmedLocked().Seq >= max(port.Seq, plug.Seq, ifc.Seq)
}

// readyLocked reports whether the host of an inactive binding could take the port over: it is plugged there and its flows are
// confirmed. While the node has yet to report or to confirm, what was true remains; the node's next word decides.
func (h *Hub) readyLocked(snap *store.Snapshot, p *model.Port, n model.NodeID, was bool) bool {
	if !tables.LocatedOn(snap, p, n) {
		return false
	}
	if !h.confirmedPortLocked(snap, p, n) {
		h.status.wait(n, p.ID)
		return was
	}
	_, bad := h.nodes[n].refused[string(p.ID)]
	return !bad
}

// findLost marks nodes that have been without a session for too long, and has their ports judged: they count as down until the
// node reports again. Their flows stay desired; the node may well be forwarding all the while.
func (h *Hub) findLost(ctx context.Context) {
	snap := h.engine.Snapshot()
	if snap == nil {
		return
	}
	var unrecorded []model.NodeID
	h.mu.Lock()
	for id, t := range h.nodes {
		if t.db != nil || time.Since(t.since) < h.cfg.Timings.Grace {
			continue
		}
		if n, ok := tables.Nodes.Get(snap, id); ok && n.Lost.IsZero() {
			unrecorded = append(unrecorded, id)
		}
		if t.lost {
			continue
		}
		t.lost = true
		t.log.Warn("node lost: its ports count as down", "since", t.since)
		h.status.noteNode(snap, id)
	}
	h.mu.Unlock()
	if len(unrecorded) > 0 {
		h.running.Go(func() { _ = h.recordLost(ctx, unrecorded) }) // not on this goroutine, see settleStatuses; the next look tries again
	}
	h.settleStatuses(ctx)
}
