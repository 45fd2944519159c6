// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"maps"
	"slices"

	"nagare/internal/flow"
	"nagare/internal/pipeline"
	"nagare/openflow"
)

// revive adds the flows and groups to cs that could not be had for want of a group, a meter or a guard which is tried again now
// or not wanted any more.
func (o *ofSession) revive(cs *changeSet) {
	if o.refused.len() == 0 {
		return
	}
	again := map[need]bool{}
	for _, m := range cs.addMeters {
		if _, ok := o.refused.meters[m.ID]; ok {
			again[need{meter: true, id: m.ID}] = true
		}
	}
	for _, g := range cs.putGroups {
		if _, ok := o.refused.groups[g.ID]; ok {
			again[need{id: g.ID}] = true
		}
	}
	for _, fs := range [][]flow.Flow{cs.putFlows, cs.delFlows} {
		for _, f := range fs {
			if r, ok := o.refused.flows[f.Key()]; ok {
				if port, ok := guards(&r.Value); ok {
					again[need{port: true, id: port}] = true
				}
			}
		}
	}
	if len(again) == 0 {
		return
	}
	for id, r := range o.refused.groups {
		has := func(g flow.Group) bool { return g.ID == id }
		if again[r.need] && !slices.ContainsFunc(cs.putGroups, has) && !slices.ContainsFunc(cs.delGroups, has) {
			cs.putGroups = append(cs.putGroups, r.Value)
			again[need{id: id}] = true
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
			out = append(out, change{msg: flowMod(openflow.FlowDeleteStrict, *c.flow), gone: c.flow})
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

// guards reports whether a flow drops what a port must not send, and of which port that is. Without it the port would be let
// past what the rest of its flows never see.
func guards(f *flow.Flow) (port uint32, ok bool) {
	c, ours := pipeline.UnpackCookie(f.Cookie)
	return c.Key, ours && c.Key != 0 && c.Kind == pipeline.KindPort && drops(f) && (f.Table == entryTable || f.Table == uint8(pipeline.EgressACL))
}

// unguarded are the keys of the ports of which the switch refused a guard.
func (o *ofSession) unguarded() map[uint32]bool {
	ports := map[uint32]bool{}
	for _, r := range o.refused.flows {
		if port, ok := guards(&r.Value); ok {
			ports[port] = true
		}
	}
	return ports
}

// withhold lets no port in of which the switch refused a guard: what would be added to table 0 is put aside, and what is there
// goes. The cookies of the standard profile say whose a flow is; in classic there are no guards.
func (o *ofSession) withhold(b []change) []change {
	if o.refused.len() == 0 {
		return b
	}
	ports := o.unguarded()
	if len(ports) == 0 {
		return b
	}
	b = o.without(b, func(_ int, c change) (string, need) {
		if c.flow == nil || c.flow.Table != entryTable || drops(c.flow) {
			return "", need{}
		}
		k, ours := pipeline.UnpackCookie(c.flow.Cookie)
		if !ours || k.Kind != pipeline.KindPort || !ports[k.Key] {
			return "", need{}
		}
		n := need{port: true, id: k.Key}
		return "it needs " + n.String() + ", which was refused", n
	})
	var closing []change
	for _, port := range slices.Sorted(maps.Keys(ports)) {
		if !o.shut[port] {
			const whose = 0xffff<<48 | 0xffffffff // mark, kind and key
			closing = append(closing, change{msg: &openflow.FlowMod{Command: openflow.FlowDelete, Table: entryTable, CookieMask: whose,
				Cookie: pipeline.Cookie{Kind: pipeline.KindPort, Key: port}.Pack(), OutPort: openflow.PortAny, OutGroup: openflow.GroupAny}})
		}
	}
	return append(closing, b...)
}

// noteShut keeps which ports withhold has shut out, once the switch has done so. What was there of them is missing now, the drop
// at the end of each among it: the next comparison, asked for at once, finds what may be there.
func (o *ofSession) noteShut() {
	ports, more := o.unguarded(), false
	for port := range ports {
		if !o.shut[port] {
			o.log.Error("switch refuses a guard of a port; the port is not let in", "key", port)
			more = true
		}
	}
	o.shut = ports
	if !more {
		return
	}
	o.hub.mu.Lock()
	defer o.hub.mu.Unlock()
	if t := o.hub.nodes[o.node]; t != nil {
		t.ask("a port was shut out")
		t.poke()
	}
}
