// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"context"
	"fmt"
	"maps"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/openflow"
)

// refusals is what a switch would not take in the present session. It counts as there, so that it is not sent with every
// comparison; it is tried again when it changes, and by the next session.
type refusals struct {
	flows  map[flow.Key]refused[flow.Flow]
	groups map[uint32]refused[flow.Group]
	meters map[uint32]refused[flow.Meter]
}

type refused[V any] struct {
	Value  V
	Reason string
	need   need // what it needs that was refused; zero: it was refused itself
}

// need is a group or meter that a flow or group names, or the guard of a port that its entries must not be without.
type need struct {
	meter, port bool // neither: a group
	id          uint32
}

func (n need) String() string {
	if n.port {
		return fmt.Sprintf("the guard of port %d", n.id)
	}
	if n.meter {
		return fmt.Sprintf("meter %d", n.id)
	}
	return fmt.Sprintf("group %#x", n.id)
}

// holdings are the groups and meters that a switch has.
type holdings struct{ groups, meters map[uint32]struct{} }

func newRefusals() refusals {
	return refusals{map[flow.Key]refused[flow.Flow]{}, map[uint32]refused[flow.Group]{}, map[uint32]refused[flow.Meter]{}}
}

func (r *refusals) len() int { return len(r.flows) + len(r.groups) + len(r.meters) }

// fill adds what was refused to what a switch dumped.
func (r *refusals) fill(d compile.Desired) {
	for k, f := range r.flows { // a flow that the switch refused is not there in an older form either
		if _, ok := d.Flows[k]; !ok {
			d.Flows[k] = f.Value
		}
	}
	for id, g := range r.groups {
		d.Groups[id] = g.Value
	}
	for id, m := range r.meters {
		d.Meters[id] = m.Value
	}
}

// missing finds a group or meter among those that were refused and that the switch has not in an older form either, which the
// caller's each yields.
func (o *ofSession) missing(each func(yield func(need))) (n need, ok bool) {
	if len(o.refused.groups)+len(o.refused.meters) == 0 {
		return n, false
	}
	each(func(x need) {
		_, held := o.held.groups[x.id]
		_, bad := o.refused.groups[x.id]
		if x.meter {
			_, held = o.held.meters[x.id]
			_, bad = o.refused.meters[x.id]
		}
		if bad && !held {
			n, ok = x, true
		}
	})
	return n, ok
}

// flowNeeds are the groups and meters that a flow names.
func flowNeeds(f flow.Flow) func(yield func(need)) {
	return func(yield func(need)) {
		is, _ := openflow.DecodeInstructions([]byte(f.Actions))
		for _, i := range is {
			switch i := i.(type) {
			case openflow.Meter:
				yield(need{meter: true, id: i.ID})
			case openflow.ApplyActions:
				actionNeeds(i.Actions, yield)
			case openflow.WriteActions:
				actionNeeds(i.Actions, yield)
			}
		}
	}
}

// groupNeeds are those that a group's buckets name.
func groupNeeds(g flow.Group) func(yield func(need)) {
	return func(yield func(need)) {
		for _, b := range g.Decoded() {
			as, _ := openflow.DecodeActions(b.Actions)
			actionNeeds(as, yield)
		}
	}
}

func actionNeeds(as []openflow.Action, yield func(need)) {
	for _, a := range as {
		switch a := a.(type) {
		case openflow.Group:
			yield(need{id: a.ID})
		case openflow.Controller2:
			if a.MeterID != 0 {
				yield(need{meter: true, id: a.MeterID})
			}
		case openflow.CT:
			actionNeeds(a.Actions, yield)
		case openflow.Clone:
			actionNeeds(a.Actions, yield)
		}
	}
}

// blame finds out whose flows, groups and meters the switch refused, so that their objects are in fault and no port of theirs
// becomes active.
func (t *target) blame(ctx context.Context, of *ofSession) error {
	h := t.hub
	h.mu.Lock()
	had := len(t.refused)
	h.mu.Unlock()
	if had == 0 && of.refused.len() == 0 {
		return nil
	}
	now := map[string]string{}
	if err := h.Do(ctx, func(e *compile.Engine) {
		name := string(t.id)
		blame := func(owners []compile.Owner, what fmt.Stringer, why string) {
			for _, o := range owners {
				if _, ok := now[o.Object]; !ok {
					now[o.Object] = fmt.Sprintf("switch refuses %v: %s", what, why)
				}
			}
		}
		for id, r := range of.refused.meters {
			blame(e.MeterOwners(name, id), r.Value, r.Reason)
		}
		for id, r := range of.refused.groups {
			blame(e.GroupOwners(name, id), need{id: id}, r.Reason)
		}
		for k, r := range of.refused.flows {
			if r.need.port {
				continue // the guard is to blame
			}
			blame(e.FlowOwners(name, k), flowText{r.Value}, r.Reason)
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

type flowText struct{ flow.Flow }

func (f flowText) String() string { return "flow " + f.Flow.String() }

// Refused gives why a node's switch refuses what objects want, by their ids.
func (h *Hub) Refused(id model.NodeID) map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.nodes[id]; t != nil {
		return maps.Clone(t.refused)
	}
	return nil
}
