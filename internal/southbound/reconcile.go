// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"context"
	"fmt"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/tables"
)

// changeSet is what one round sends to a switch, in the order in which it may be sent: additions of rows, meters, then flows
// and groups as one bundle, a barrier, then removals of meters and rows.
type changeSet struct {
	addRows    []compile.Row
	addMeters  []flow.Meter
	putGroups  []flow.Group // added or replaced
	putFlows   []flow.Flow
	delFlows   []flow.Flow
	delGroups  []flow.Group
	delMeters  []flow.Meter
	removeRows []string
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
	db, of, resync, complete := t.db, t.of, t.resync, t.complete
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
		return t.compare(ctx, db, of, resync)
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
func (t *target) compare(ctx context.Context, db *dbSession, of *ofSession, why string) (bool, error) {
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
	var cs changeSet
	for _, r := range want.Rows {
		cs.addRows = append(cs.addRows, r)
	}
	cs.removeRows = db.strays(want.Rows)
	if of == nil {
		return false, t.send(ctx, db, nil, cs)
	}
	have, err := of.dump(ctx)
	if err != nil {
		return false, err
	}
	diff(&cs, want, have)
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
	if t.of == of && t.db == db {
		t.resync = ""
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
	rows, err := db.addRows(ctx, cs.addRows)
	if err != nil {
		return err
	}
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
	if cs.flowMods() > 0 {
		t.sent.Bundles++
	}
	t.hub.mu.Unlock()
	return err
}

func fromDelta(d *compile.Delta) changeSet {
	var cs changeSet
	split(d.Flows, &cs.putFlows, &cs.delFlows)
	split(d.Groups, &cs.putGroups, &cs.delGroups)
	split(d.Meters, &cs.addMeters, &cs.delMeters)
	var gone []compile.Row
	split(d.Rows, &cs.addRows, &gone)
	for _, r := range gone {
		cs.removeRows = append(cs.removeRows, r.Name)
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

// blame finds out whose flows the switch refused, so that their objects are in fault and no port of theirs becomes active.
func (t *target) blame(ctx context.Context, of *ofSession) error {
	h := t.hub
	h.mu.Lock()
	had := len(t.refused)
	h.mu.Unlock()
	if had == 0 && len(of.refused) == 0 {
		return nil
	}
	now := map[string]string{}
	if err := h.Do(ctx, func(e *compile.Engine) {
		for k, r := range of.refused {
			if o, ok := e.Owner(string(t.id), k); ok {
				now[o.Object] = fmt.Sprintf("switch refuses flow %v: %s", r.Flow, r.Reason)
			}
		}
	}); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, set := range []map[string]string{t.refused, now} {
		for object := range set {
			if t.refused[object] != now[object] {
				h.suspects[model.PortID(object)] = struct{}{}
			}
		}
	}
	t.refused = now
	return nil
}
