// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"nagare/internal/flow"
	"nagare/internal/pipeline"
	"nagare/openflow"
)

// maxBundle is how many changes go to a switch as one atomic bundle. It commits a bundle without looking at anything else, its
// connections and its ports included, so that what is larger goes in pieces. No ordinary change is: it is the filling of a node.
const maxBundle = 4000

// change is one message of a bundle and what it is about.
type change struct {
	msg   openflow.Message
	flow  *flow.Flow  // put
	group *flow.Group // put
	gone  *flow.Flow  // removed
}

// applyFlows sends flows and groups as one atomic bundle, or as several one after the other, without what the switch refuses,
// and a barrier. A flow that is there already is overwritten, never removed first, so that nothing that goes on being allowed is
// interrupted.
func (o *ofSession) applyFlows(ctx context.Context, cs *changeSet) error {
	b := make([]change, 0, len(cs.putFlows)+len(cs.delFlows)+len(cs.putGroups))
	groups := referredFirst(cs.putGroups)
	for i := range groups { // before the flows that name them
		delete(o.refused.groups, groups[i].ID)
		b = append(b, change{msg: groupMod(openflow.GroupAddOrModify, groups[i]), group: &groups[i]})
	}
	for i := range cs.delFlows {
		f := &cs.delFlows[i]
		delete(o.refused.flows, f.Key())
		b = append(b, change{msg: flowMod(openflow.FlowDeleteStrict, *f), gone: f})
	}
	for i := range cs.putFlows {
		f := &cs.putFlows[i]
		delete(o.refused.flows, f.Key())
		b = append(b, change{msg: flowMod(openflow.FlowAdd, *f), flow: f})
	}
	if len(b) > maxBundle {
		closedBetween(b)
	}
	for part := range slices.Chunk(b, maxBundle) {
		if err := o.applyPart(ctx, part); err != nil {
			return err
		}
	}
	return o.barrier(ctx)
}

// closedBetween orders changes so that a switch which has some of them, from the first on, passes nothing that it would pass
// neither without any nor with all: who loses admission loses it first, who gains it does so last, and what drops is there
// before, and goes after, what allows. A table comes after those that it leads to.
func closedBetween(b []change) {
	slices.SortStableFunc(b, func(x, y change) int {
		return cmp.Or(cmp.Compare(x.stage(), y.stage()), cmp.Compare(y.table(), x.table()))
	})
}

// stage is the place of a change in a series of bundles.
func (c change) stage() int {
	switch f := c.flow; {
	case c.group != nil:
		return 3
	case f == nil && drops(c.gone):
		return 5
	case f == nil && c.gone.Table == entryTable:
		return 0
	case f == nil:
		return 1
	case f.Table == entryTable && drops(f):
		return 6
	case f.Table == entryTable:
		return 7
	case drops(f):
		return 2
	}
	return 4
}

func (c change) table() uint8 {
	switch {
	case c.flow != nil:
		return c.flow.Table
	case c.gone != nil:
		return c.gone.Table
	}
	return 0
}

// entryTable is where frames come in, and so where a port is let in or not.
const entryTable = uint8(pipeline.Classifier)

// drops reports whether a flow passes nothing on.
func drops(f *flow.Flow) bool { return pipeline.Drops(f.Actions) }

// applyPart sends one bundle, again and again until the switch refuses nothing in it.
func (o *ofSession) applyPart(ctx context.Context, b []change) error {
	b = o.tooLong(b)
	for {
		b = o.withhold(o.broken(b))
		if len(b) == 0 {
			return nil
		}
		failed, err := o.push(ctx, b)
		if err == nil {
			break
		}
		if len(failed) == 0 {
			return o.gone(err)
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
	if o.refused.len()+len(o.shut) > 0 {
		o.noteShut()
	}
	for _, c := range b {
		if c.group != nil {
			o.held.groups[c.group.ID] = struct{}{}
		}
	}
	return nil
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
