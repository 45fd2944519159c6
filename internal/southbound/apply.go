// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"nagare/internal/flow"
	"nagare/openflow"
)

// apply sends meters, then flows and groups as one bundle, or several if they are many, then a barrier, then removals of groups and meters. What the switch
// refuses is kept aside, so that one bad thing never holds up the others.
//
// Groups are not removed in the bundle: Open vSwitch 3.1 aborts when it has to roll back the removal of a group that a flow
// still uses, and any flow may be refused. Once the bundle is in, nothing of ours uses them.
func (o *ofSession) apply(ctx context.Context, cs *changeSet) error {
	o.revive(cs)
	// A hundred times what an idle switch needs: only one that answers everything but this is given up.
	size := cs.flowMods() + len(cs.putGroups) + len(cs.delGroups) + len(cs.addMeters) + len(cs.delMeters)
	ctx, cancel := context.WithTimeout(ctx, 4*o.hub.cfg.Timings.Request+time.Duration(size)*10*time.Millisecond)
	defer cancel()
	if err := o.putMeters(ctx, cs.addMeters); err != nil {
		return err
	}
	if err := o.applyFlows(ctx, cs); err != nil {
		return err
	}
	if err := o.delGroups(ctx, cs.delGroups); err != nil {
		return err
	}
	return o.delMeters(ctx, cs.delMeters)
}

// batchSize bounds the messages of which a switch may refuse every one and still be understood.
const batchSize = 500

// each sends messages as they are, many at once, and calls failed for those that the switch refused.
func (o *ofSession) each(ctx context.Context, ms []openflow.Message, failed func(i int, why *openflow.Error)) error {
	for at := 0; at < len(ms); at += batchSize {
		err := o.c.Apply(ctx, ms[at:min(at+batchSize, len(ms))]...)
		var batch *openflow.BatchError
		switch {
		case err == nil:
		case !errors.As(err, &batch):
			return o.gone(err)
		default:
			for _, f := range batch.Failed {
				if f.Index < 0 {
					return err
				}
				failed(at+f.Index, f.Err)
			}
		}
	}
	return nil
}

// gone says of an error whether it is the session's end.
func (o *ofSession) gone(err error) error {
	if o.c.Err() != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	return err
}

// putMeters adds or changes meters. They cannot ride in a bundle (decision 12).
func (o *ofSession) putMeters(ctx context.Context, meters []flow.Meter) error {
	send := func(meters []flow.Meter, command func(known bool) uint16) (failed []flow.Meter, why []string, err error) {
		ms := make([]openflow.Message, len(meters))
		for i, m := range meters {
			_, known := o.held.meters[m.ID]
			ms[i] = meterMod(command(known), m)
		}
		err = o.each(ctx, ms, func(i int, e *openflow.Error) {
			failed, why = append(failed, meters[i]), append(why, e.Error())
		})
		return failed, why, err
	}
	failed, _, err := send(meters, func(known bool) uint16 {
		if known {
			return openflow.MeterModify
		}
		return openflow.MeterAdd
	})
	if err != nil {
		return err
	}
	// Somebody may have removed or made it behind our back.
	refuses, why, err := send(failed, func(known bool) uint16 {
		if known {
			return openflow.MeterAdd
		}
		return openflow.MeterModify
	})
	if err != nil {
		return err
	}
	bad := map[uint32]bool{}
	for _, m := range refuses {
		bad[m.ID] = true
	}
	for _, m := range meters {
		delete(o.refused.meters, m.ID)
		if !bad[m.ID] { // one that was there stays as it was
			o.held.meters[m.ID] = struct{}{}
		}
	}
	for i, m := range refuses {
		o.refused.meters[m.ID] = refused[flow.Meter]{Value: m, Reason: why[i]}
		o.log.Error("switch refuses a meter; the object that wants it is in fault", "meter", m.String(), "error", why[i])
	}
	return nil
}

func (o *ofSession) delMeters(ctx context.Context, meters []flow.Meter) error {
	ms := make([]openflow.Message, len(meters))
	for i, m := range meters {
		ms[i] = meterMod(openflow.MeterDelete, m)
		delete(o.refused.meters, m.ID)
		delete(o.held.meters, m.ID)
	}
	return o.each(ctx, ms, func(i int, why *openflow.Error) {
		o.log.Error("switch does not remove a meter; the next comparison tries again", "meter", meters[i].ID, "error", why)
	})
}

func (o *ofSession) delGroups(ctx context.Context, groups []flow.Group) error {
	groups = referredFirst(groups)
	slices.Reverse(groups)
	ms := make([]openflow.Message, len(groups))
	for i, g := range groups {
		ms[i] = groupMod(openflow.GroupDelete, g)
		delete(o.refused.groups, g.ID)
		delete(o.held.groups, g.ID)
	}
	return o.each(ctx, ms, func(i int, why *openflow.Error) {
		o.log.Error("switch does not remove a group; the next comparison tries again", "group", groups[i].ID, "error", why)
	})
}

// referredFirst orders groups so that one comes after those that its buckets name, else by id.
func referredFirst(groups []flow.Group) []flow.Group {
	if len(groups) < 2 {
		return groups
	}
	byID := make(map[uint32]flow.Group, len(groups))
	for _, g := range groups {
		byID[g.ID] = g
	}
	sorted := slices.SortedFunc(slices.Values(groups), func(a, b flow.Group) int { return cmp.Compare(a.ID, b.ID) })
	out := make([]flow.Group, 0, len(groups))
	seen := make(map[uint32]bool, len(groups))
	var visit func(g flow.Group)
	visit = func(g flow.Group) {
		if seen[g.ID] {
			return
		}
		seen[g.ID] = true
		groupNeeds(g)(func(n need) {
			if next, ok := byID[n.id]; ok && !n.meter {
				visit(next)
			}
		})
		out = append(out, g)
	}
	for _, g := range sorted {
		visit(g)
	}
	return out
}

func (o *ofSession) barrier(ctx context.Context) error {
	if err := o.c.Barrier(ctx); err != nil {
		if o.c.Err() != nil {
			return fmt.Errorf("%w: %w", errGone, err)
		}
		return fmt.Errorf("barrier: %w", err)
	}
	return nil
}
