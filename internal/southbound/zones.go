// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"context"
	"errors"
	"fmt"
	"time"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/openflow"
)

// Connection tracking zones come and go with slots, a port's and a router's (decisions 13 and 14), three with each, one for security
// groups, one for address translation and one for local IPs: used, then dirty when the port left, then free. A
// dirty zone is flushed twice, each time some time after the switch has confirmed that no flow names it any more: a barrier is
// not the datapath, which goes on with cached flows for up to a second and may enter connections meanwhile. Only then is the
// slot's record deleted, and with it the number free for another port.
//
// All progress is in memory and begins anew with a session or a process: to flush once more than needed harms nobody, since
// nothing uses a dirty zone. Zones in use are never flushed.

// zone is how far a dirty slot's zone has come on the present session.
type zone struct {
	seq    uint64    // of the state in which it became dirty
	due    time.Time // of the next flush; zero while the node has yet to confirm
	passes int       // flushes done
}

const (
	flushPasses = 2  // how often a zone is flushed
	flushRetry  = 10 // how many times Timings.Flush to wait after a switch refused
)

// zoneKeeper flushes the dirty zones of one node. It belongs to its goroutine.
type zoneKeeper struct {
	t     *target
	of    *ofSession // the session that zones speak of
	zones map[string]*zone
}

// pace is the least time between two looks at a node's dirty slots, so that many that come together are flushed together.
func (k *zoneKeeper) pace() time.Duration {
	return min(k.t.hub.cfg.Timings.Flush/8, 200*time.Millisecond)
}

// keepZones runs until ctx ends.
func (t *target) keepZones(ctx context.Context) {
	k := zoneKeeper{t: t, zones: map[string]*zone{}}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var at time.Time  // when the timer fires; zero: it does not
	var not time.Time // no look before then
	sooner := func(when time.Time) {
		if when.Before(not) {
			when = not
		}
		if at.IsZero() || when.Before(at) {
			at = when
			timer.Reset(time.Until(at))
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.zoneWake:
			sooner(time.Now())
			continue
		case <-timer.C:
		}
		at, not = time.Time{}, time.Now().Add(k.pace())
		next, err := k.round(ctx)
		t.zoneNote(len(k.zones), err)
		switch {
		case err == nil && !next.IsZero():
			sooner(next)
		case err != nil && !errors.Is(err, errGone) && ctx.Err() == nil: // of a session that has gone the next one takes over
			t.log.Warn("zones of ports that are gone are not flushed yet", "error", err)
			not = time.Now().Add(flushRetry * t.hub.cfg.Timings.Flush)
			sooner(not)
		}
	}
}

// wakeZones makes the keeper look at the node's dirty slots.
func (t *target) wakeZones() {
	select {
	case t.zoneWake <- struct{}{}:
	default:
	}
}

func (t *target) zoneNote(waiting int, err error) {
	t.hub.mu.Lock()
	defer t.hub.mu.Unlock()
	t.zonesWaiting, t.zoneProblem = waiting, ""
	if err != nil && !errors.Is(err, errGone) {
		t.zoneProblem = err.Error()
	}
}

// round takes each dirty zone a step further if it can, and says when to look again; zero: when something happens.
func (k *zoneKeeper) round(ctx context.Context) (next time.Time, err error) {
	h := k.t.hub
	h.mu.Lock()
	of, live, at := k.t.of, k.t.live(), k.t.confirmedLocked()
	h.mu.Unlock()
	if !live {
		of = nil
	}
	if of != k.of { // what was flushed before may have been filled again by a switch that was out of our hands
		k.of = of
		clear(k.zones)
	}
	now := time.Now()
	k.look(now, at.Seq, of != nil)
	var flush []string
	for key, z := range k.zones {
		if z.passes < flushPasses && !z.due.IsZero() && !z.due.After(now) {
			flush = append(flush, key)
		}
	}
	if err := k.flush(ctx, flush); err != nil {
		return next, err
	}
	if err := k.free(ctx); err != nil {
		return next, err
	}
	for _, z := range k.zones {
		if !z.due.IsZero() && (next.IsZero() || z.due.Before(next)) {
			next = z.due
		}
	}
	return next, nil
}

// look compares what is known with the node's dirty slots, and starts the clock of those that the switch has let go.
func (k *zoneKeeper) look(now time.Time, confirmed uint64, live bool) {
	snap := k.t.hub.cfg.Store.Snapshot()
	there := 0
	for s := range tables.DirtySlots.By(snap, string(k.t.id)) {
		key := model.SlotKey(s.Node, s.Number)
		info, _ := tables.Slots.Info(snap, key)
		z := k.zones[key]
		if z == nil || z.seq != info.Seq {
			z = &zone{seq: info.Seq}
			k.zones[key] = z
		}
		if live && z.due.IsZero() && confirmed >= z.seq {
			z.due = now.Add(k.t.hub.cfg.Timings.Flush)
		}
		there++
	}
	if there == len(k.zones) {
		return
	}
	for key := range k.zones {
		if s, ok := tables.Slots.Get(snap, key); !ok || s.Used() {
			delete(k.zones, key)
		}
	}
}

// flush empties zones, with one barrier for all.
func (k *zoneKeeper) flush(ctx context.Context, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	snap := k.t.hub.cfg.Store.Snapshot()
	ms := make([]openflow.Message, 0, 2*len(keys))
	for _, key := range keys {
		if s, ok := tables.Slots.Get(snap, key); ok && !s.Used() {
			for _, zone := range s.Zones() {
				ms = append(ms, &openflow.CTFlushZone{Zone: zone})
			}
		}
	}
	ask, cancel := context.WithTimeout(ctx, k.t.hub.cfg.Timings.Request)
	defer cancel()
	if err := k.of.c.Apply(ask, ms...); err != nil {
		if k.of.c.Err() != nil {
			return fmt.Errorf("%w: %w", errGone, err)
		}
		return fmt.Errorf("flush of %d connection tracking zones: %w; they stay reserved", len(ms), err)
	}
	now := time.Now()
	for _, key := range keys {
		z := k.zones[key]
		z.passes++
		z.due = now.Add(k.t.hub.cfg.Timings.Flush)
	}
	k.t.hub.mu.Lock()
	k.t.sent.ZoneFlushes += uint64(len(ms))
	k.t.hub.mu.Unlock()
	return nil
}

// free deletes the records of zones that are clean, so that their numbers may be given out again.
func (k *zoneKeeper) free(ctx context.Context) error {
	clean := map[string]uint64{}
	for key, z := range k.zones {
		if z.passes >= flushPasses {
			clean[key] = z.seq
		}
	}
	if len(clean) == 0 {
		return nil
	}
	_, err := k.t.hub.cfg.Store.Commit(ctx, origin(k.t.id, "zones flushed"), func(tx *store.Txn) error {
		for key, seq := range clean {
			s, ok := tables.Slots.Get(tx, key)
			if info, _ := tables.Slots.Info(tx, key); ok && !s.Used() && info.Seq == seq {
				alloc.FreeSlot(tx, key)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%d flushed connection tracking zones not given back: %w", len(clean), err)
	}
	for key := range clean {
		delete(k.zones, key)
	}
	return nil
}

// noteSlots wakes the keepers of nodes that a slot became dirty on, and gives back at once what was dirty on nodes that are not
// known any more: there is nobody to flush them.
func (h *Hub) noteSlots(ctx context.Context, snap *store.Snapshot, ch *store.Changes) {
	dirty := map[model.NodeID]struct{}{}
	if ch.All { // once, at start
		for _, s := range tables.Slots.All(snap) {
			if !s.Used() {
				dirty[s.Node] = struct{}{}
			}
		}
	}
	for _, r := range ch.Records {
		switch v := r.After.(type) {
		case model.Slot:
			if r.Table == tables.Slots.Name() && !v.Used() {
				dirty[v.Node] = struct{}{}
			}
		case nil:
			if r.Table == tables.Nodes.Name() {
				dirty[model.NodeID(r.Key)] = struct{}{}
			}
		}
	}
	var gone []model.NodeID
	h.mu.Lock()
	for id := range dirty {
		if _, known := tables.Nodes.Get(snap, id); !known {
			gone = append(gone, id)
		} else if t := h.nodes[id]; t != nil {
			t.wakeZones()
		}
	}
	h.mu.Unlock()
	if len(gone) > 0 {
		h.running.Go(func() { h.dropSlots(ctx, gone) }) // not here: a commit may wait for this goroutine
	}
}

// dropSlots deletes the dirty slots of nodes that are not known.
func (h *Hub) dropSlots(ctx context.Context, nodes []model.NodeID) {
	left := false // nodes forgotten whose ports are all bound still have nothing to delete
	snap := h.cfg.Store.Snapshot()
	for _, id := range nodes {
		if _, ok := tables.DirtySlots.First(snap, string(id)); ok {
			left = true
		}
	}
	for pause := time.Second; left && ctx.Err() == nil; pause = min(2*pause, time.Minute) {
		_, err := h.cfg.Store.Commit(ctx, store.Origin{User: "nagare", Action: "slots of forgotten nodes"}, func(tx *store.Txn) error {
			for _, id := range nodes {
				if _, known := tables.Nodes.Get(tx, id); known {
					continue // it came back, and has them flushed itself
				}
				var keys []string
				for s := range tables.DirtySlots.By(tx, string(id)) {
					keys = append(keys, model.SlotKey(s.Node, s.Number))
				}
				for _, key := range keys {
					alloc.FreeSlot(tx, key)
				}
			}
			return nil
		})
		if err == nil || ctx.Err() != nil {
			return
		}
		h.log.Error("slots of forgotten nodes not given back; tried again", "nodes", nodes, "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}
