// SPDX-License-Identifier: Apache-2.0

package compile

import "nagare/internal/flow"

// FlowOwners returns the owners of one desired flow, the winner first: several if it was shared or merged.
func (e *Engine) FlowOwners(name string, k flow.Key) []Owner {
	n := e.nodes[name]
	if n == nil {
		return nil
	}
	return e.ownersOf(n.flows.owners(e.words.keys.look(k)))
}

// GroupOwners returns the owners of one desired group, the winner first.
func (e *Engine) GroupOwners(name string, id uint32) []Owner {
	n := e.nodes[name]
	if n == nil {
		return nil
	}
	return e.ownersOf(n.groups.owners(id))
}

// MeterOwners returns the owners of one desired meter, the winner first.
func (e *Engine) MeterOwners(name string, id uint32) []Owner {
	n := e.nodes[name]
	if n == nil {
		return nil
	}
	return e.ownersOf(n.meters.owners(id))
}

func (e *Engine) ownersOf(us []*unit) []Owner {
	out := make([]Owner, len(us))
	for i, u := range us {
		out[i] = e.owner(u)
	}
	return out
}
