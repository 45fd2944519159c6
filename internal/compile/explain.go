// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"slices"
	"strings"

	"nagare/internal/flow"
	"nagare/internal/store"
)

// Reason says why a flow is desired: the rule, the object it was run for, the line that emitted it.
type Reason struct {
	Rule    string
	Doc     string
	Kind    string // of the object
	Object  string
	Subject string
	File    string
	Line    int
	Because []Because   // objects that asked for it besides
	Reads   []store.Dep // everything the answer depended on
	Shared  bool        // several units own it; each has its Reason
}

// Explain returns the reasons of a desired flow, the winning owner first; none if the flow is not desired. It runs the
// owners again, which is safe because rules are pure.
func (e *Engine) Explain(name string, key flow.Key) []Reason {
	n := e.nodes[name]
	if n == nil || e.snap == nil {
		return nil
	}
	owners := n.flows.owners(e.words.keys.look(key))
	var out []Reason
	for _, u := range owners {
		out = append(out, e.explainUnit(u, key, len(owners) > 1))
	}
	return out
}

func (e *Engine) explainUnit(u *unit, key flow.Key, shared bool) Reason {
	var trace []Emission
	c := &Context{engine: e, trace: &trace}
	e.call(c, u)
	rule := e.book.rules[u.rule]
	why := Reason{Rule: rule.Name, Doc: rule.Doc, Kind: rule.Kind, Object: u.object(), Subject: u.subject.val, Shared: shared}
	c.tracked.Reads(func(d store.Dep) { why.Reads = append(why.Reads, d) })
	slices.SortFunc(why.Reads, func(a, b store.Dep) int {
		if a.Kind != b.Kind {
			return int(a.Kind) - int(b.Kind)
		}
		return strings.Compare(a.Key, b.Key)
	})
	for _, m := range trace {
		if m.Flow.Key() == key {
			why.File, why.Line, why.Because = m.File, m.Line, m.Because
			break
		}
	}
	return why
}

// Fault is something wrong with an object on a node.
type Fault struct {
	Node, Kind, Object, Rule, Reason string
}

// Faults lists the objects in fault on a node: rules that complained or panicked, and claims that lost their match.
func (e *Engine) Faults(name string) []Fault {
	n := e.nodes[name]
	if n == nil {
		return nil
	}
	var out []Fault
	add := func(u *unit, reason string) {
		r := e.book.rules[u.rule]
		out = append(out, Fault{name, r.Kind, u.object(), r.Name, reason})
	}
	for u := range n.faulty {
		add(u, u.rare.fault)
	}
	n.flows.losers(func(_ flowKey, f entry, lost, won *unit) {
		o := e.owner(won)
		add(lost, fmt.Sprintf("flow %v is already owned by %s %s (%s)", f.expand(), o.Kind, o.Object, o.Rule))
	})
	slices.SortFunc(out, func(a, b Fault) int {
		return strings.Compare(a.Object+a.Rule+a.Reason, b.Object+b.Rule+b.Reason)
	})
	return out
}

// Owner names the unit that won a flow.
type Owner struct{ Rule, Kind, Object string }

func (e *Engine) owner(u *unit) Owner {
	r := e.book.rules[u.rule]
	return Owner{r.Name, r.Kind, u.object()}
}

// Owners returns the owner of each desired flow of a node.
func (e *Engine) Owners(name string) map[flow.Key]Owner {
	n := e.nodes[name]
	if n == nil {
		return nil
	}
	out := make(map[flow.Key]Owner, len(n.flows.one))
	for k, u := range n.flows.one {
		out[k.val] = e.owner(u)
	}
	return out
}

// Owner returns the owner of one desired flow.
func (e *Engine) Owner(name string, k flow.Key) (Owner, bool) {
	n := e.nodes[name]
	if n == nil {
		return Owner{}, false
	}
	u := n.flows.one[e.words.keys.look(k)]
	if u == nil {
		return Owner{}, false
	}
	return e.owner(u), true
}

// Flow returns one desired flow of a node.
func (e *Engine) Flow(name string, k flow.Key) (flow.Flow, bool) {
	n := e.nodes[name]
	if n == nil {
		return flow.Flow{}, false
	}
	f, ok := n.flows.value(e.words.keys.look(k))
	if !ok {
		return flow.Flow{}, false
	}
	return f.expand(), true
}

// Authors returns, for each desired flow of a node, everybody who asked for it as it is: its owner, and those who share it or
// contributed to it. It runs no rule again.
func (e *Engine) Authors(name string) map[flow.Key][]Owner {
	n := e.nodes[name]
	if n == nil {
		return nil
	}
	type claim struct {
		u    *unit
		f    entry
		kind claimKind
	}
	out := make(map[flow.Key][]Owner, len(n.flows.one))
	several := map[flowKey][]claim{}
	for u := range n.units.all {
		for i, f := range u.flows() {
			if n.flows.more[f.key] == nil {
				out[f.key.val] = []Owner{e.owner(u)}
				continue
			}
			c := claim{u, f, exclusive}
			if u.rare != nil && u.rare.claims != nil {
				c.kind = u.rare.claims[i]
			}
			several[f.key] = append(several[f.key], c)
		}
	}
	for k, claims := range several {
		slices.SortFunc(claims, func(a, b claim) int { return compareUnits(a.u, b.u) })
		won := claims[0]
		for _, c := range claims {
			if c.u == won.u || c.kind == won.kind && (c.kind == merged || c.kind == shared && c.f == won.f) {
				out[k.val] = append(out[k.val], e.owner(c.u))
			}
		}
	}
	return out
}

// OwnedBy returns the desired flows of a node that units of the object own.
func (e *Engine) OwnedBy(name, object string) []flow.Flow {
	n := e.nodes[name]
	if n == nil {
		return nil
	}
	var out []flow.Flow
	for id := range e.book.rules {
		if u := n.find(RuleID(id), e.words.subjects.look(object)); u != nil {
			for _, f := range u.flows() {
				if v, ok := n.flows.value(f.key); ok { // as it is on the switch, with the contributions of others
					f = v
				}
				out = append(out, f.expand())
			}
		}
	}
	slices.SortFunc(out, flow.Compare)
	return out
}
