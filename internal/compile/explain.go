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
	won, ok := n.flows.one[key]
	if !ok {
		return nil
	}
	owners := []*unit{won.owner}
	for _, c := range n.flows.more[key] {
		if c.owner != won.owner {
			owners = append(owners, c.owner)
		}
	}
	var out []Reason
	for _, u := range owners {
		out = append(out, e.explainUnit(u, key, len(owners) > 1))
	}
	return out
}

func (e *Engine) explainUnit(u *unit, key flow.Key, shared bool) Reason {
	r := e.snap.Track()
	var trace []Emission
	e.call(&Context{Reader: r, Node: u.node.name, Subject: u.id.Subject, engine: e, tracked: r, trace: &trace}, u)
	rule := e.book.rules[u.id.Rule]
	why := Reason{Rule: rule.Name, Doc: rule.Doc, Kind: rule.Kind, Object: u.object(), Subject: u.id.Subject, Shared: shared}
	r.Reads(func(d store.Dep) { why.Reads = append(why.Reads, d) })
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
		r := e.book.rules[u.id.Rule]
		out = append(out, Fault{name, r.Kind, u.object(), r.Name, reason})
	}
	for u := range n.faulty {
		add(u, u.rare.fault)
	}
	n.flows.losers(func(k flow.Key, lost, won claim[flow.Flow]) {
		add(lost.owner, fmt.Sprintf("flow %v is already owned by %s %s (%s)", lost.val,
			e.book.rules[won.owner.id.Rule].Kind, won.owner.object(), e.book.rules[won.owner.id.Rule].Name))
	})
	slices.SortFunc(out, func(a, b Fault) int {
		return strings.Compare(a.Object+a.Rule+a.Reason, b.Object+b.Rule+b.Reason)
	})
	return out
}

// Owner names the unit that won a flow.
type Owner struct{ Rule, Kind, Object string }

// Owners returns the owner of each desired flow of a node.
func (e *Engine) Owners(name string) map[flow.Key]Owner {
	n := e.nodes[name]
	if n == nil {
		return nil
	}
	out := make(map[flow.Key]Owner, len(n.flows.one))
	for k, c := range n.flows.one {
		r := e.book.rules[c.owner.id.Rule]
		out[k] = Owner{r.Name, r.Kind, c.owner.object()}
	}
	return out
}

// Owner returns the owner of one desired flow.
func (e *Engine) Owner(name string, k flow.Key) (Owner, bool) {
	n := e.nodes[name]
	if n == nil {
		return Owner{}, false
	}
	c, ok := n.flows.one[k]
	if !ok {
		return Owner{}, false
	}
	r := e.book.rules[c.owner.id.Rule]
	return Owner{r.Name, r.Kind, c.owner.object()}, true
}

// OwnedBy returns the desired flows of a node that units of the object own.
func (e *Engine) OwnedBy(name, object string) []flow.Flow {
	n := e.nodes[name]
	if n == nil {
		return nil
	}
	var out []flow.Flow
	for id := range e.book.rules {
		if u := n.units[Unit{RuleID(id), object}]; u != nil {
			out = append(out, u.flows...)
		}
	}
	slices.SortFunc(out, flow.Compare)
	return out
}
