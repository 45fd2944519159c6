// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"runtime"

	"nagare/internal/flow"
	"nagare/internal/store"
)

// Context is what a running rule sees: a reader that records, the node and subject it runs for, and the means to emit.
// It is valid only during Run.
type Context struct {
	store.Reader // records what is read
	Node         string
	Subject      string

	engine  *Engine
	tracked *store.Tracked
	worn    bool // the Tracked recorded much, and from then on would be slow to clear and to walk
	out     output
	trace   *[]Emission // set when explaining
	stats   Stats       // of the runs in this context
}

// Because names the object that asked for an emission, where it is not the unit's own subject.
type Because struct{ Kind, ID string }

// Emission is one emitted flow with the line of source that emitted it.
type Emission struct {
	Flow    flow.Flow
	File    string
	Line    int
	Because []Because
}

// output is what one run of a unit produced.
type output struct {
	flows   []flow.Flow // reused from run to run
	claims  []claimKind // parallel to flows; nil if all are exclusive
	entries []entry     // room to work in
	rows    []Row
	groups  []flow.Group
	meters  []flow.Meter
	needs   []Unit
	each    []subscription
	fault   string
}

type subscription struct {
	derived *store.Derived
	group   store.Dep
	key     string
	rule    RuleID
}

// manyReads is how many reads wear a Tracked out.
const manyReads = 32

// begin makes the context ready for the next unit.
func (c *Context) begin(u *unit) {
	if c.tracked == nil || c.worn {
		c.tracked, c.worn = c.engine.snap.Track(), false
		c.Reader = c.tracked
	} else {
		c.tracked.Reset()
	}
	c.Node, c.Subject = u.node.name, u.subject.val
	c.out = output{flows: c.out.flows[:0], entries: c.out.entries}
}

// claimKind says how a unit wants a match.
type claimKind uint8

const (
	exclusive claimKind = iota // it alone
	shared                     // others may emit the same flow
	merged                     // others may contribute to the flow
)

// Flow emits a flow that this unit alone owns.
func (c *Context) Flow(f flow.Flow, why ...Because) { c.emit(f, exclusive, why) }

// Shared emits a flow that other units may emit too, with equal content: a declared merge.
func (c *Context) Shared(f flow.Flow, why ...Because) { c.emit(f, shared, why) }

// Merge emits a contribution to a flow: if several units contribute to one match, the flow is what the Rulebook's Merge makes
// of all contributions; a single one is the flow itself.
func (c *Context) Merge(f flow.Flow, why ...Because) { c.emit(f, merged, why) }

func (c *Context) emit(f flow.Flow, kind claimKind, why []Because) {
	if check := c.engine.check; check != nil {
		if err := check(f); err != nil {
			c.Fault(fmt.Sprintf("flow %v breaks the pipeline: %v", f, err))
			return
		}
	}
	c.out.flows = append(c.out.flows, f)
	if kind != exclusive && c.out.claims == nil {
		c.out.claims = make([]claimKind, len(c.out.flows)-1)
	}
	if c.out.claims != nil {
		c.out.claims = append(c.out.claims, kind)
	}
	if c.trace != nil {
		_, file, line, _ := runtime.Caller(2)
		*c.trace = append(*c.trace, Emission{f, file, line, why})
	}
}

// Row emits a desired OVSDB port.
func (c *Context) Row(r Row) { c.out.rows = append(c.out.rows, r) }

// Group emits a desired group.
func (c *Context) Group(g flow.Group) { c.out.groups = append(c.out.groups, g) }

// Meter emits a desired meter.
func (c *Context) Meter(m flow.Meter) { c.out.meters = append(c.out.meters, m) }

// Need asks for another unit on this node for as long as this one asks.
func (c *Context) Need(rule RuleID, subject string) {
	c.out.needs = append(c.out.needs, Unit{rule, subject})
}

// Each asks for one unit of the rule for each member of a derived group, now and later: members that join or leave add or
// remove their unit without running this one again.
func (c *Context) Each(d *store.Derived, group string, rule RuleID) {
	c.out.each = append(c.out.each, subscription{d, d.GroupDep(group), group, rule})
}

// Fault marks the unit's object as faulty on this node, with the reason, in the object's own words.
func (c *Context) Fault(reason string) {
	if c.out.fault == "" {
		c.out.fault = reason
	}
}
