// SPDX-License-Identifier: Apache-2.0

package yang

import (
	"fmt"
	"strconv"
	"strings"
)

// The subset of XPath 1.0 that conditions and leafrefs may use: location paths of names, "." and ".." with predicates, absolute ones,
// current(); or, and, = != < <= > >=; literals and numbers; not(), count(), string-length(), contains(), starts-with(), true(), false(),
// boolean(), derived-from() and derived-from-or-self() (RFC 7950 section 10.4). There are no axes, no wildcards, no arithmetic, no unions
// and no other functions: a module that uses one is refused when it is loaded.

// Expr is a compiled expression.
type Expr struct {
	text   string
	root   term
	schema *Schema
}

func (e *Expr) String() string { return e.text }

// Holds evaluates the expression as a condition at an instance, which need not exist (RFC 7950 section 7.21.5's dummy): it is then a
// Data that its parent does not list.
func (e *Expr) Holds(at *Data) bool { return truth(e.root.eval(&scope{e.schema, at, at})) }

// scope is where a term is evaluated: the node around, and the one that current() gives.
type scope struct {
	schema      *Schema
	at, current *Data
}

// term is a part of an expression. Its value is a []*Data, a string, a float64 or a bool.
type term interface {
	eval(s *scope) any
	// check follows the paths in the term through the schema.
	check(at, current *Node, s *Schema) error
}

type (
	literal struct{ value any }
	compare struct {
		op   string
		a, b term
	}
	logical struct {
		or   bool
		a, b term
	}
	function struct {
		name string
		args []term
	}
	location struct {
		from  start
		steps []step
		text  string
	}
	step struct {
		up, self   bool
		module     *Module
		name       string
		predicates []term
	}
	start uint8
)

const (
	fromHere start = iota
	fromTop
	fromCurrent
)

func (l literal) eval(*scope) any                   { return l.value }
func (l literal) check(_, _ *Node, _ *Schema) error { return nil }

func (c compare) eval(s *scope) any {
	a, b := c.a.eval(s), c.b.eval(s)
	// A set of nodes compares as any of its values does (XPath 1.0 section 3.4).
	for _, x := range values(a) {
		for _, y := range values(b) {
			if compareOne(c.op, x, y) {
				return true
			}
		}
	}
	return false
}

func (c compare) check(at, current *Node, s *Schema) error {
	if err := c.a.check(at, current, s); err != nil {
		return err
	}
	return c.b.check(at, current, s)
}

func values(v any) []any {
	nodes, ok := v.([]*Data)
	if !ok {
		return []any{v}
	}
	out := make([]any, len(nodes))
	for i, n := range nodes {
		out[i] = n.Value
	}
	return out
}

func compareOne(op string, a, b any) bool {
	if op == "=" || op == "!=" {
		var same bool
		_, numA := a.(float64)
		_, numB := b.(float64)
		_, boolA := a.(bool)
		_, boolB := b.(bool)
		switch {
		case boolA || boolB:
			same = truth(a) == truth(b)
		case numA || numB:
			x, okX := number(a)
			y, okY := number(b)
			same = okX && okY && x == y
		default:
			same = a == b
		}
		return same == (op == "=")
	}
	x, okX := number(a)
	y, okY := number(b)
	if !okX || !okY {
		return false
	}
	switch op {
	case "<":
		return x < y
	case "<=":
		return x <= y
	case ">":
		return x > y
	}
	return x >= y
}

func number(v any) (float64, bool) {
	switch x := v.(type) {
	case float64:
		return x, true
	case bool:
		if x {
			return 1, true
		}
		return 0, true
	case string:
		f, err := strconv.ParseFloat(strings.TrimSpace(x), 64)
		return f, err == nil
	}
	return 0, false
}

func truth(v any) bool {
	switch x := v.(type) {
	case bool:
		return x
	case float64:
		return x != 0
	case string:
		return x != ""
	case []*Data:
		return len(x) > 0
	}
	return false
}

// text is the string value: of a set of nodes, its first's.
func text(v any) string {
	switch x := v.(type) {
	case []*Data:
		if len(x) > 0 {
			return x[0].Value
		}
		return ""
	case string:
		return x
	}
	return fmt.Sprint(v)
}

func (l logical) eval(s *scope) any {
	if truth(l.a.eval(s)) == l.or {
		return l.or
	}
	return truth(l.b.eval(s))
}

func (l logical) check(at, current *Node, s *Schema) error {
	if err := l.a.check(at, current, s); err != nil {
		return err
	}
	return l.b.check(at, current, s)
}

// arity of the functions that are understood.
var arity = map[string]int{"not": 1, "count": 1, "string-length": 1, "contains": 2, "starts-with": 2, "true": 0, "false": 0, "boolean": 1,
	"derived-from": 2, "derived-from-or-self": 2}

func (f function) eval(s *scope) any {
	var args []any
	for _, a := range f.args {
		args = append(args, a.eval(s))
	}
	switch f.name {
	case "not":
		return !truth(args[0])
	case "boolean":
		return truth(args[0])
	case "true":
		return true
	case "count":
		nodes, _ := args[0].([]*Data)
		return float64(len(nodes))
	case "string-length":
		return float64(len([]rune(text(args[0]))))
	case "contains":
		return strings.Contains(text(args[0]), text(args[1]))
	case "starts-with":
		return strings.HasPrefix(text(args[0]), text(args[1]))
	case "derived-from", "derived-from-or-self":
		nodes, _ := args[0].([]*Data)
		for _, n := range nodes {
			if s.schema.DerivedFrom(n.Value, text(args[1]), f.name == "derived-from-or-self") {
				return true
			}
		}
	}
	return false
}

func (f function) check(at, current *Node, s *Schema) error {
	for _, a := range f.args {
		if err := a.check(at, current, s); err != nil {
			return err
		}
	}
	return nil
}

func (l location) eval(s *scope) any {
	set := []*Data{s.at}
	steps := l.steps
	switch l.from {
	case fromCurrent:
		set = []*Data{s.current}
	case fromTop:
		root := s.at.root()
		switch {
		case root.Node == s.schema.Top:
			set = []*Data{root}
		case root.Node.Parent == nil && steps[0].names(root.Node):
			set = steps[0].filter(s, []*Data{root})
			steps = steps[1:]
		default: // a part of the tree, from which the top is not seen
			return []*Data(nil)
		}
	}
	for _, st := range steps {
		var next []*Data
		for _, d := range set {
			next = append(next, st.from(d)...)
		}
		set = st.filter(s, next)
	}
	return set
}

func (st step) names(n *Node) bool { return n.Name == st.name && n.Module == st.module }

func (st step) from(d *Data) (out []*Data) {
	switch {
	case st.self:
		return []*Data{d}
	case st.up:
		if d.Parent != nil {
			out = append(out, d.Parent)
		}
		return out
	}
	for _, c := range d.Children {
		if st.names(c.Node) {
			out = append(out, c)
		}
	}
	// Defaults are there for conditions (RFC 7950 section 7.6.1).
	if len(out) == 0 {
		for _, n := range d.Node.byName[st.name] {
			if n.Module == st.module && n.Kind == Leaf && len(n.Default) > 0 {
				out = append(out, &Data{Node: n, Parent: d, Value: n.Default[0]})
			}
		}
	}
	return out
}

func (st step) filter(s *scope, set []*Data) []*Data {
	for _, p := range st.predicates {
		var kept []*Data
		for _, d := range set {
			if truth(p.eval(&scope{s.schema, d, s.current})) {
				kept = append(kept, d)
			}
		}
		set = kept
	}
	return set
}

// walk follows the path through the schema.
func (l location) walk(at, current *Node, s *Schema) (*Node, error) {
	n := at
	switch l.from {
	case fromCurrent:
		n = current
	case fromTop:
		n = nil
	}
	for i, st := range l.steps {
		var next *Node
		switch {
		case st.self:
			next = n
		case st.up:
			if n != nil {
				next = n.Parent
			}
		case n == nil && i == 0 && l.from == fromTop:
			next, _ = s.Root(st.module.Name + ":" + st.name)
		case n != nil:
			next, _ = n.Child(st.module.Name + ":" + st.name)
		}
		if next == nil {
			return nil, fmt.Errorf("%s leads nowhere in the schema", l.text)
		}
		for _, p := range st.predicates {
			if err := p.check(next, current, s); err != nil {
				return nil, err
			}
		}
		n = next
	}
	return n, nil
}

func (l location) check(at, current *Node, s *Schema) error {
	_, err := l.walk(at, current, s)
	return err
}

// target is the schema node to which the path of a leafref leads.
func (e *Expr) target(n *Node) (*Node, error) {
	l, ok := e.root.(location)
	if !ok {
		return nil, fmt.Errorf("want a path")
	}
	return l.walk(n, n, e.schema)
}
