// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"

	"nagare/internal/flow"
	"nagare/openflow"
)

// Tables that no rule of ours uses, now or later: they are the operator's, as UserHooks is. A packet comes there by a flow of the
// operator's only.
const (
	FirstOperatorTable TableID = 200
	LastOperatorTable  TableID = 253
)

// OperatorMay reports whether an operator's flows may stand in a table, or lead to it.
func (p Profile) OperatorMay(t TableID) bool {
	return byID[t] != nil && byID[t].Profiles&p != 0 || t >= FirstOperatorTable && t <= LastOperatorTable
}

// checkOperator is Check for a flow of an operator's. What it does is the operator's matter, but it stands in a table that there is, and
// leads to later ones.
func (p Profile) checkOperator(f flow.Flow) error {
	if !p.OperatorMay(TableID(f.Table)) {
		return fmt.Errorf("table %d: %w (profile %s)", f.Table, ErrUndeclared, p)
	}
	for _, i := range f.Actions.Instructions() {
		if g, ok := i.(openflow.GotoTable); ok && (g.Table <= f.Table || !p.OperatorMay(TableID(g.Table))) {
			return fmt.Errorf("table %d: goto %d: %w (profile %s)", f.Table, g.Table, ErrUndeclared, p)
		}
	}
	return nil
}
