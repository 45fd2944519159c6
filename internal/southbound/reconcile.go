// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"context"
	"fmt"
	"time"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/tables"
)

// changeSet is what one round sends to a switch, in the order in which it may be sent: additions of rows, meters, then flows
// and groups as one bundle, a barrier, then removals of groups, meters and rows.
type changeSet struct {
	whole      bool // addRows is everything that the node should have
	addRows    []compile.Row
	addMeters  []flow.Meter
	putGroups  []flow.Group // added or replaced
	putFlows   []flow.Flow
	delFlows   []flow.Flow
	delGroups  []flow.Group
	delMeters  []flow.Meter
	removeRows []compile.RowKey
}

func (c *changeSet) flowMods() int { return len(c.putFlows) + len(c.delFlows) }

// reconcile brings the node to what it should hold, as far as its sessions allow. It is called by the node's loop alone.
func (t *target) reconcile(ctx context.Context) error {
	for {
		again, err := t.round(ctx)
		if err != nil || !again {
			return err
		}
	}
}

// round does one step: bring the bridge up, compare everything, or send what was offered. It reports whether more waits.
func (t *target) round(ctx context.Context) (again bool, err error) {
	h := t.hub
	h.mu.Lock()
	db, of, resync, asked, complete := t.db, t.of, t.resync, t.asked, t.complete
	h.mu.Unlock()
	if db == nil {
		return false, nil
	}
	n, ok := tables.Nodes.Get(h.cfg.Store.Snapshot(), t.id)
	if !ok || complete.Seq == 0 {
		return false, nil
	}
	if !n.Approved {
		return false, fmt.Errorf("node %s waits for approval; run `nagare node approve %s`", t.id, t.id)
	}
	made, err := db.bringUp(ctx, n)
	if err != nil {
		return false, err
	}
	if made && resync == "" {
		h.mu.Lock()
		t.resync, t.inSync = "the bridge had to be mended", false
		resync = t.resync
		h.mu.Unlock()
	}
	if of == nil || resync != "" {
		return t.compare(ctx, db, of, resync, asked)
	}
	h.mu.Lock()
	d, at := t.pending, t.goal
	t.pending = nil
	h.mu.Unlock()
	if d == nil {
		return false, nil
	}
	if err := t.send(ctx, db, of, fromDelta(d)); err != nil {
		h.mu.Lock()
		t.resync = "a change could not be sent: " + err.Error()
		h.mu.Unlock()
		return false, err
	}
	return t.settle(at), nil
}

// compare reads everything that the node has and sends the difference. Without an OpenFlow session it does so for OVSDB rows
// only: tunnels and taps need not wait for the switch to call.
func (t *target) compare(ctx context.Context, db *dbSession, of *ofSession, why string, asked uint64) (bool, error) {
	h := t.hub
	var want compile.Desired
	var at progress
	known := false
	if err := h.Do(ctx, func(e *compile.Engine) {
		if want, known = e.Desired(string(t.id)); !known {
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		at = h.processed
		if of != nil {
			t.pending, t.goal = nil, at // the desired state holds it
		}
	}); err != nil || !known {
		return false, err
	}
	cs := changeSet{whole: true}
	for _, r := range want.Rows {
		cs.addRows = append(cs.addRows, r)
	}
	cs.removeRows = db.strays(want.Rows)
	if of == nil {
		return false, t.send(ctx, db, nil, cs)
	}
	began := time.Now()
	have, err := of.dump(ctx)
	if err != nil {
		return false, err
	}
	diff(&cs, want, have)
	t.compared, t.took = time.Now(), time.Since(began)
	if n := cs.flowMods(); why == "audit" {
		h.mu.Lock()
		t.sent.Audits++
		t.sent.Drift += uint64(n)
		h.mu.Unlock()
		if n > 0 {
			t.log.Warn("drift healed", "flows", n)
		}
	} else {
		t.log.Info("compared", "because", why, "flows", len(have.Flows), "put", len(cs.putFlows), "delete", len(cs.delFlows))
	}
	if err := t.send(ctx, db, of, cs); err != nil {
		return false, err
	}
	of.watchFlows(ctx)
	h.mu.Lock()
	switch {
	case t.of != of || t.db != db:
	case t.asked == asked:
		t.resync = ""
	default:
		t.resync = "asked for during the comparison"
	}
	h.mu.Unlock()
	return t.settle(at), nil
}

// settle records that the switch holds everything up to at, and reports whether more was offered meanwhile.
func (t *target) settle(at progress) bool {
	h := t.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	t.done, t.problem = at, ""
	t.inSync = t.pending == nil && t.resync == "" && t.live()
	h.tell(t.id)
	t.wakeZones()
	return t.pending != nil || t.resync != ""
}

// send carries out a changeSet in its phases.
func (t *target) send(ctx context.Context, db *dbSession, of *ofSession, cs changeSet) error {
	rows, wait, err := db.addRows(ctx, cs.addRows)
	if err != nil {
		return err
	}
	t.noteWaiting(&cs, wait)
	if of != nil {
		if err := of.apply(ctx, &cs); err != nil {
			return err
		}
		if err := t.blame(ctx, of); err != nil {
			return err
		}
	}
	removed, err := db.removeRows(ctx, cs.removeRows)
	t.hub.mu.Lock()
	t.sent.RowChanges += uint64(rows + removed)
	t.sent.FlowMods += uint64(cs.flowMods())
	t.sent.GroupMods += uint64(len(cs.putGroups) + len(cs.delGroups))
	t.sent.MeterMods += uint64(len(cs.addMeters) + len(cs.delMeters))
	if cs.flowMods()+len(cs.putGroups) > 0 {
		t.sent.Bundles++
	}
	t.hub.mu.Unlock()
	return err
}

// noteWaiting keeps which rows wait for their bridge. They hold up nothing else.
func (t *target) noteWaiting(cs *changeSet, wait []compile.Row) {
	if len(t.waiting) == 0 && len(wait) == 0 {
		return
	}
	if cs.whole || t.waiting == nil {
		t.waiting = map[compile.RowKey]compile.Row{}
	}
	for _, r := range cs.addRows {
		delete(t.waiting, r.Key())
	}
	for _, k := range cs.removeRows {
		delete(t.waiting, k)
	}
	for _, r := range wait {
		t.waiting[r.Key()] = r
	}
	n, _ := tables.Nodes.Get(t.hub.cfg.Store.Snapshot(), t.id)
	why := waitingRows(n, t.waiting)
	t.hub.mu.Lock()
	told := t.rowProblem
	t.rowProblem = why
	t.hub.mu.Unlock()
	if why != "" && why != told {
		t.log.Warn("ports wait for their bridge", "why", why)
	}
}

func fromDelta(d *compile.Delta) changeSet {
	var cs changeSet
	split(d.Flows, &cs.putFlows, &cs.delFlows)
	split(d.Groups, &cs.putGroups, &cs.delGroups)
	split(d.Meters, &cs.addMeters, &cs.delMeters)
	var gone []compile.Row
	split(d.Rows, &cs.addRows, &gone)
	for _, r := range gone {
		cs.removeRows = append(cs.removeRows, r.Key())
	}
	return cs
}

func split[K comparable, V any](changes map[K]compile.Change[V], put, del *[]V) {
	for _, c := range changes {
		if c.After != nil {
			*put = append(*put, *c.After)
		} else {
			*del = append(*del, *c.Before)
		}
	}
}

// diff adds to cs what leads from have to want.
func diff(cs *changeSet, want, have compile.Desired) {
	differ(want.Flows, have.Flows, &cs.putFlows, &cs.delFlows)
	differ(want.Groups, have.Groups, &cs.putGroups, &cs.delGroups)
	differ(want.Meters, have.Meters, &cs.addMeters, &cs.delMeters)
}

func differ[K comparable, V comparable](want, have map[K]V, put, del *[]V) {
	for k, w := range want {
		if h, ok := have[k]; !ok || h != w {
			*put = append(*put, w)
		}
	}
	for k, h := range have {
		if _, ok := want[k]; !ok {
			*del = append(*del, h)
		}
	}
}
