// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"nagare/internal/flow"
	"nagare/internal/store"
)

// runNode runs the node's queued units and what they ask for, and drops what nobody needs any more.
func (e *Engine) runNode(c *Context, n *node) {
	for len(n.queue) > 0 || len(n.zero) > 0 {
		for len(n.queue) > 0 {
			u := n.queue[len(n.queue)-1]
			n.queue = n.queue[:len(n.queue)-1]
			if u.refs == 0 || u.dropped || !u.dirty {
				continue
			}
			u.dirty = false
			c.stats.UnitRuns++
			if !e.runUnit(c, u) {
				c.stats.CutOffs++
			}
		}
		zero := n.zero
		n.zero = nil
		for _, u := range zero {
			if u.refs == 0 && !u.dropped {
				e.drop(u)
			}
		}
	}
	n.queue = nil
}

// runUnit runs a unit's rule and takes over its output. It reports whether the output changed.
func (e *Engine) runUnit(c *Context, u *unit) bool {
	e.call(c, u)
	for _, s := range c.out.each {
		c.tracked.Add(eachDep(s.group))
	}
	e.setReads(u, c.tracked)
	c.worn = len(u.reads()) > manyReads
	return e.replace(u, &c.out)
}

// call runs the rule in a context that may have served other units; a panic quarantines the unit.
func (e *Engine) call(c *Context, u *unit) {
	c.begin(u)
	defer func() {
		if p := recover(); p != nil {
			c.out = output{fault: fmt.Sprintf("rule %s panicked: %v%s", e.book.rules[u.rule].Name, p, whence())}
		}
	}()
	e.book.rules[u.rule].Run(c)
}

// whence tells where a panic that was just recovered came from, in terms that are equal for equal panics: the innermost lines
// of the rule or query.
func whence() string {
	var pcs [64]uintptr
	var s strings.Builder
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for lines := 0; lines < 4; {
		f, more := frames.Next()
		name, ours := strings.CutPrefix(f.Function, "nagare/internal/compile.")
		switch {
		case name == "(*Engine).call" || name == "queryDef.safely":
			return s.String()
		case !ours && !strings.HasPrefix(name, "runtime."):
			fmt.Fprintf(&s, "\n\t%s:%d", f.File, f.Line)
			lines++
		}
		if !more {
			break
		}
	}
	return s.String()
}

// setReads makes the index say what u read this time.
func (e *Engine) setReads(u *unit, r *store.Tracked) {
	old := u.reads()
	var some [8]bool
	kept := some[:min(len(old), len(some))]
	place := func(d store.Dep) int { return slices.IndexFunc(old, func(n *depNode) bool { return n.dep == d }) }
	if len(old) > len(some) {
		kept = make([]bool, len(old))
		places := make(map[store.Dep]int, len(old))
		for i, n := range old {
			places[n.dep] = i
		}
		place = func(d store.Dep) int {
			if i, ok := places[d]; ok {
				return i
			}
			return -1
		}
	}
	var buf [8]*depNode
	now, same := buf[:0], 0
	r.Reads(func(d store.Dep) {
		if i := place(d); i >= 0 {
			kept[i] = true
			same++
			now = append(now, old[i])
		} else {
			now = append(now, e.deps.add(d, u))
		}
	})
	if same == len(old) && same == len(now) {
		return
	}
	for i, n := range old {
		if !kept[i] {
			e.deps.remove(n, u)
		}
	}
	u.setReads(now)
}

// replace exchanges a unit's output and enters the difference into the ledgers and the tree of needs.
func (e *Engine) replace(u *unit, out *output) (changed bool) {
	n := u.node
	out.needs, out.each = dedupe(out.needs), dedupe(out.each)
	was := u.extra()
	flows := u.flows()
	same := 0 // so many flows at the start are as before, and claimed as before, and need not be exchanged
	for same < len(flows) && same < len(out.flows) && flows[same].is(out.flows[same]) && kindAt(was.claims, same) == kindAt(out.claims, same) {
		same++
	}
	changed = same < len(flows) || same < len(out.flows) || !slices.Equal(was.claims, out.claims) ||
		!slices.Equal(was.rows, out.rows) || !slices.Equal(was.groups, out.groups) || !slices.Equal(was.meters, out.meters) ||
		was.fault != out.fault
	if changed {
		for _, f := range flows[same:] {
			n.flows.release(f.key, u)
		}
		release(&n.rows, u, was.rows, Row.Key)
		release(&n.groups, u, was.groups, groupID)
		release(&n.meters, u, was.meters, meterID)
		n.waste = append(n.waste, flows[same:]...)
		flows = e.claimFlows(u, append(out.entries[:0], flows[:same]...), out)
		claim(&n.rows, u, out.rows, Row.Key)
		claim(&n.groups, u, out.groups, groupID)
		claim(&n.meters, u, out.meters, meterID)
		if out.fault != "" {
			n.faulty[u] = struct{}{}
		} else {
			delete(n.faulty, u)
		}
		out.entries = flows
	}
	if changed || !slices.Equal(was.needs, out.needs) || !slices.Equal(was.each, out.each) {
		u.setOutput(flows, out)
	}
	e.exchangeNeeds(n, was.needs, out.needs)
	e.exchangeEach(n, was.each, out.each)
	return changed
}

// kindAt is how the i-th flow is claimed.
func kindAt(claims []claimKind, i int) claimKind {
	if claims == nil {
		return exclusive
	}
	return claims[i]
}

// claimFlows enters u as an owner of its flows, of which it has the first ones already, and returns all. Of two flows for one
// match the first counts and the other is left out.
func (e *Engine) claimFlows(u *unit, flows []entry, out *output) []entry {
	for i := len(flows); i < len(out.flows); i++ {
		f := e.words.entry(out.flows[i])
		if !u.node.flows.claim(f.key, u) {
			if !slices.Contains(flows, f) && out.fault == "" {
				out.fault = fmt.Sprintf("two different flows for one match: %v", out.flows[i])
			}
			u.node.waste = append(u.node.waste, f)
			continue
		}
		if out.claims != nil {
			out.claims[len(flows)] = out.claims[i]
		}
		flows = append(flows, f)
	}
	if out.claims != nil {
		out.claims = out.claims[:len(flows)]
	}
	return flows
}

func groupID(g flow.Group) uint32 { return g.ID }
func meterID(m flow.Meter) uint32 { return m.ID }

func release[K comparable, V comparable](l *ledger[K, V], u *unit, vs []V, key func(V) K) {
	for _, v := range vs {
		l.release(key(v), u)
	}
}

func claim[K comparable, V comparable](l *ledger[K, V], u *unit, vs []V, key func(V) K) {
	for _, v := range vs {
		l.claim(key(v), u)
	}
}

// exchangeNeeds takes new references first, so that what is needed still is never dropped in between.
func (e *Engine) exchangeNeeds(n *node, was, now []Unit) {
	for _, need := range now {
		if !slices.Contains(was, need) {
			e.get(n, need.Rule, need.Subject)
		}
	}
	for _, need := range was {
		if !slices.Contains(now, need) {
			e.put(n, need.Rule, need.Subject)
		}
	}
}

// exchangeEach does the same for subscriptions. Those that stay have followed their groups already, see applyMembers.
func (e *Engine) exchangeEach(n *node, was, now []subscription) {
	for _, s := range now {
		if !slices.Contains(was, s) {
			for m := range s.derived.Members(e.snap, s.key) {
				e.get(n, s.rule, m)
			}
		}
	}
	for _, s := range was {
		if !slices.Contains(now, s) {
			for m := range s.derived.Members(e.snap, s.key) {
				e.put(n, s.rule, m)
			}
		}
	}
}

// drop removes a unit that nobody needs.
func (e *Engine) drop(u *unit) {
	e.replace(u, &output{})
	for _, d := range u.reads() {
		e.deps.remove(d, u)
	}
	u.setReads(nil)
	u.dropped = true
	delete(u.node.faulty, u)
	u.node.units.remove(u)
	e.words.subjects.put(u.subject)
}

func dedupe[T comparable](s []T) []T {
	if len(s) < 2 {
		return s
	}
	seen := make(map[T]struct{}, len(s))
	out := s[:0]
	for _, v := range s {
		if _, dup := seen[v]; !dup {
			seen[v] = struct{}{}
			out = append(out, v)
		}
	}
	return out
}
