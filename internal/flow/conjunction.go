// SPDX-License-Identifier: Apache-2.0

package flow

import "nagare/openflow"

// Clause says that a flow is clause Number, from 1, of the Of clauses of a conjunction (ovs-actions(7)).
type Clause struct {
	ID         uint32
	Number, Of uint8
}

// Act is the clause as an action.
func (c Clause) Act() Act { return Conjunction(c.ID, c.Number, c.Of) }

// Clauses are the conjunction clauses among the actions, in their order.
func (a Actions) Clauses() []Clause {
	var out []Clause
	for _, i := range a.Instructions() {
		apply, ok := i.(openflow.ApplyActions)
		if !ok {
			continue
		}
		for _, act := range apply.Actions {
			if c, ok := act.(openflow.Conjunction); ok {
				out = append(out, Clause{c.ID, c.Clause, c.Clauses})
			}
		}
	}
	return out
}
