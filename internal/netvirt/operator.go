// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/tables"
)

// operatorFlow is the number of operators' flows among those of their tables, for their cookies.
const operatorFlow uint8 = 1

// declareOperator declares what operators wrote, as it is: it was checked when they did. Where a flow of ours came to want the same
// place later, ours holds and the entry is in fault.
func declareOperator(b *compile.Rulebook) func(c *compile.Context) {
	entry := b.Add(compile.Rule{Name: "operator/entry", Kind: "operator-entry", Yields: true, Run: operatorEntry,
		Doc: "what an operator wrote into the configuration of the switch"})
	return func(c *compile.Context) { c.Each(tables.NodeOperatorEntries, c.Node, entry) }
}

func operatorEntry(c *compile.Context) {
	e, ok := tables.OperatorEntries.Get(c, model.OperatorEntryID(c.Subject))
	if !ok {
		return
	}
	var err error
	switch e.Kind {
	case model.OperatorFlow:
		var f flow.Flow
		if f, err = flow.ParseFlow(e.Text); err == nil {
			c.Flow(owned(pipeline.KindOperator, e.Key, operatorFlow, f))
		}
	case model.OperatorGroup:
		var g flow.Group
		if g, err = flow.ParseGroup(e.Text); err == nil {
			c.Group(g)
		}
	case model.OperatorMeter:
		var m flow.Meter
		if m, err = flow.ParseMeter(e.Text); err == nil {
			c.Meter(m)
		}
	}
	if err != nil {
		c.Fault(err.Error())
	}
}
