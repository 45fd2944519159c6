// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"nagare/internal/flow"
	"nagare/openflow"
)

// apply sends meters, then flows and groups as one bundle, then a barrier, then removals of groups and meters. What the switch
// refuses is kept aside, so that one bad thing never holds up the others.
//
// Groups are not removed in the bundle: Open vSwitch 3.1 aborts when it has to roll back the removal of a group that a flow
// still uses, and any flow may be refused. Once the bundle is in, nothing of ours uses them.
func (o *ofSession) apply(ctx context.Context, cs *changeSet) error {
	ctx, cancel := context.WithTimeout(ctx, 4*o.hub.cfg.Timings.Request)
	defer cancel()
	o.revive(cs)
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

// revive adds the flows and groups to cs that could not be had for want of a group or meter which is tried again now.
func (o *ofSession) revive(cs *changeSet) {
	if o.refused.len() == 0 {
		return
	}
	again := map[need]bool{}
	for _, m := range cs.addMeters {
		if _, ok := o.refused.meters[m.ID]; ok {
			again[need{true, m.ID}] = true
		}
	}
	for _, g := range cs.putGroups {
		if _, ok := o.refused.groups[g.ID]; ok {
			again[need{false, g.ID}] = true
		}
	}
	if len(again) == 0 {
		return
	}
	for id, r := range o.refused.groups {
		has := func(g flow.Group) bool { return g.ID == id }
		if again[r.need] && !slices.ContainsFunc(cs.putGroups, has) && !slices.ContainsFunc(cs.delGroups, has) {
			cs.putGroups = append(cs.putGroups, r.Value)
			again[need{false, id}] = true
		}
	}
	told := map[flow.Key]bool{}
	for _, fs := range [][]flow.Flow{cs.putFlows, cs.delFlows} {
		for _, f := range fs {
			told[f.Key()] = true
		}
	}
	for k, r := range o.refused.flows {
		if again[r.need] && !told[k] {
			cs.putFlows = append(cs.putFlows, r.Value)
		}
	}
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

// change is one message of a bundle and what it is about.
type change struct {
	msg   openflow.Message
	flow  *flow.Flow  // put
	group *flow.Group // put
}

// applyFlows sends flows and groups as one atomic bundle, without what the switch refuses. A flow that is there already is
// overwritten, never removed first, so that nothing that goes on being allowed is interrupted.
func (o *ofSession) applyFlows(ctx context.Context, cs *changeSet) error {
	b := make([]change, 0, len(cs.putFlows)+len(cs.delFlows)+len(cs.putGroups))
	groups := referredFirst(cs.putGroups)
	for i := range groups { // before the flows that name them
		delete(o.refused.groups, groups[i].ID)
		b = append(b, change{msg: groupMod(openflow.GroupAddOrModify, groups[i]), group: &groups[i]})
	}
	for _, f := range cs.delFlows {
		delete(o.refused.flows, f.Key())
		b = append(b, change{msg: flowMod(openflow.FlowDeleteStrict, f)})
	}
	for i := range cs.putFlows {
		f := &cs.putFlows[i]
		delete(o.refused.flows, f.Key())
		b = append(b, change{msg: flowMod(openflow.FlowAdd, *f), flow: f})
	}
	b = o.tooLong(b)
	for {
		b = o.broken(b)
		if len(b) == 0 {
			return o.barrier(ctx)
		}
		failed, err := o.push(ctx, b)
		if err == nil {
			break
		}
		if len(failed) == 0 {
			return err
		}
		bad := map[int]string{}
		for _, m := range failed {
			if m.Index < 0 || m.Index >= len(b) {
				return err
			}
			bad[m.Index] = m.Err.Error()
		}
		b = o.without(b, func(i int, _ change) (string, need) { return bad[i], need{} })
	}
	for _, c := range b {
		if c.group != nil {
			o.held.groups[c.group.ID] = struct{}{}
		}
	}
	return o.barrier(ctx)
}

// without puts the changes aside for which why has a reason. What a refused flow was before is removed: it may allow what it
// must not any more, or name a group that goes. A group stays as it was.
func (o *ofSession) without(b []change, why func(i int, c change) (string, need)) []change {
	out := b[:0:0]
	for i, c := range b {
		reason, n := why(i, c)
		switch {
		case reason == "":
			out = append(out, c)
		case c.flow != nil:
			o.refused.flows[c.flow.Key()] = refused[flow.Flow]{*c.flow, reason, n}
			o.log.Error("switch refuses a flow; the object that wants it is in fault", "flow", c.flow.String(), "error", reason)
			out = append(out, change{msg: flowMod(openflow.FlowDeleteStrict, *c.flow)})
		case c.group != nil:
			o.refused.groups[c.group.ID] = refused[flow.Group]{*c.group, reason, n}
			o.log.Error("switch refuses a group; the object that wants it is in fault", "group", need{id: c.group.ID}.String(), "error", reason)
		default:
			o.log.Error("switch does not remove a flow; the next comparison tries again", "error", reason)
		}
	}
	return out
}

// broken puts aside what names a group or meter that the switch has not, because it refused it: it would be refused too, one
// flow for each bundle.
func (o *ofSession) broken(b []change) []change {
	if len(o.refused.groups)+len(o.refused.meters) == 0 {
		return b
	}
	for {
		n := o.refused.len()
		b = o.without(b, func(_ int, c change) (string, need) {
			var each func(func(need))
			switch {
			case c.flow != nil:
				each = flowNeeds(*c.flow)
			case c.group != nil:
				each = groupNeeds(*c.group)
			default:
				return "", need{}
			}
			if x, bad := o.missing(each); bad {
				return "it needs " + x.String() + ", which was refused", x
			}
			return "", need{}
		})
		if o.refused.len() == n { // a group put aside may be named by others
			return b
		}
	}
}

// roomInBundle is what the headers of a message in a bundle take at most, a match aside.
const roomInBundle = 128

// tooLong puts aside what no message can hold (64 KiB in OpenFlow 1.3), which would end the whole bundle.
func (o *ofSession) tooLong(b []change) []change {
	long := func(c change) bool {
		switch {
		case c.flow != nil:
			return len(c.flow.Match)+len(c.flow.Actions)+roomInBundle > openflow.MaxMessage
		case c.group != nil:
			return len(c.group.Buckets)+roomInBundle > openflow.MaxMessage
		}
		return false
	}
	if !slices.ContainsFunc(b, long) {
		return b
	}
	return o.without(b, func(_ int, c change) (string, need) {
		if long(c) {
			return "it is longer than an OpenFlow message may be, 65535 bytes", need{}
		}
		return "", need{}
	})
}

// push sends changes as one atomic bundle and returns which ones were refused. A bundle is also the cheapest way to fill an
// empty switch: plain messages cost it a flush of its flow monitors each.
func (o *ofSession) push(ctx context.Context, b []change) ([]openflow.ModError, error) {
	ms := make([]openflow.Message, len(b))
	for i, c := range b {
		ms[i] = c.msg
	}
	err := o.c.SendBundle(ctx, openflow.BundleAtomic|openflow.BundleOrdered, ms...)
	var bundle *openflow.BundleError
	if errors.As(err, &bundle) {
		return bundle.Failed, err
	}
	return nil, err
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
