// SPDX-License-Identifier: Apache-2.0

package pipeline

import "nagare/internal/flow"

// Flow is a flow of table t. Rules emit through it so that what they read says
// table and priority by name.
func Flow(t TableID, prio uint16, m flow.Match, a flow.Actions) flow.Flow {
	return flow.Flow{Table: uint8(t), Priority: prio, Match: m, Actions: a}
}

// Spine is the flows that every managed bridge holds before anything else: the
// misses of the spine's eleven tables and, in classic, LLDP to the controller.
// In standard no tenant's port may punt unmetered, so LLDP is punted from tunnel
// and provider ports only, by the rules that make those.
func Spine(p Profile) []flow.Flow {
	var out []flow.Flow
	if p == Classic {
		out = append(out, Flow(Classifier, PrioLLDP, flow.M(flow.EthType(flow.EthLLDP)), flow.Do(flow.ToController(65535))))
	}
	for _, id := range spine {
		a, _ := byID[id].Miss.Actions()
		out = append(out, Flow(id, 0, "", a))
	}
	if p == Standard {
		for i := range out {
			out[i].Cookie = Cookie{Kind: KindBridge}.Pack()
		}
	}
	return out
}

// SubTables is the miss flows of the standard profile's sub-tables.
func SubTables() []flow.Flow {
	var out []flow.Flow
	for _, t := range Tables(Standard) {
		if t.Profiles&Classic != 0 {
			continue
		}
		if a, ok := t.Miss.Actions(); ok {
			f := Flow(t.ID, 0, "", a)
			f.Cookie = Cookie{Kind: KindBridge}.Pack()
			out = append(out, f)
		}
	}
	return out
}
