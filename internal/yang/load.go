// SPDX-License-Identifier: Apache-2.0

package yang

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	goyang "github.com/openconfig/goyang/pkg/yang"
)

// Load compiles all modules (*.yang) of a directory. Its error names every statement that is wrong or not understood.
func Load(dir fs.FS) (*Schema, error) {
	files, err := fs.Glob(dir, "*.yang")
	if err != nil {
		return nil, err
	}
	all := goyang.NewModules()
	l := &loader{schema: &Schema{byName: map[string]*Module{}, bySpace: map[string]*Module{}, idents: map[identity]*identitySet{}}, all: all}
	sources := map[string]string{}
	for _, f := range files {
		text, err := fs.ReadFile(dir, f)
		if err != nil {
			return nil, err
		}
		if err := all.Parse(string(text), f); err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		name, _, _ := strings.Cut(strings.TrimSuffix(path.Base(f), ".yang"), "@")
		sources[name] = string(text)
	}
	if errs := all.Process(); len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	for key, m := range all.Modules {
		if key == m.Name { // modules are there once more as name@revision
			l.module(m, sources[m.Name])
		}
	}
	l.identities()
	s := l.schema
	slices.SortFunc(s.Modules, func(a, b *Module) int { return cmp.Compare(a.Name, b.Name) })
	for _, m := range s.Modules {
		entry, errs := all.GetModule(m.Name)
		l.errs = append(l.errs, errs...)
		if len(errs) == 0 {
			l.top(m, entry)
		}
	}
	s.Top = &Node{Module: &Module{}, Kind: Container, Config: true, Children: s.Roots}
	s.Top.index()
	l.link()
	if len(l.errs) > 0 {
		return nil, errors.Join(l.errs...)
	}
	return s, nil
}

type loader struct {
	schema *Schema
	all    *goyang.Modules
	errs   []error
	later  []func() // what needs the whole tree: paths of leafrefs, conditions
}

// refuse notes that a statement is wrong or not understood.
func (l *loader) refuse(n goyang.Node, format string, args ...any) {
	where := "?"
	if n != nil {
		where = goyang.Source(n)
	}
	l.errs = append(l.errs, fmt.Errorf("%s: %s", where, fmt.Sprintf(format, args...)))
}

func (l *loader) module(m *goyang.Module, text string) {
	out := &Module{Name: m.Name, Source: text}
	if m.Namespace != nil {
		out.Namespace = m.Namespace.Name
	}
	if m.Prefix != nil {
		out.Prefix = m.Prefix.Name
	}
	if m.Description != nil {
		out.Description = m.Description.Name
	}
	for _, r := range m.Revision {
		out.Revision = max(out.Revision, r.Name)
	}
	for _, i := range m.Import {
		out.Imports = append(out.Imports, i.Name)
	}
	out.Implement = len(m.Container)+len(m.List)+len(m.Leaf)+len(m.LeafList)+len(m.Choice)+len(m.RPC)+len(m.Notification)+len(m.Augment)+len(m.Uses) > 0
	for _, f := range m.Feature {
		l.refuse(f, "features are not understood here; leave %s out", f.Name)
	}
	for _, d := range m.Deviation {
		l.refuse(d, "deviations are not understood here")
	}
	for _, a := range m.Augment {
		if a.When != nil {
			l.refuse(a.When, "when on an augment is not understood here; put it on the nodes that are added")
		}
	}
	if other := l.schema.bySpace[out.Namespace]; other != nil {
		l.refuse(m, "namespace %s is module %s's already", out.Namespace, other.Name)
	}
	l.schema.Modules = append(l.schema.Modules, out)
	l.schema.byName[out.Name], l.schema.bySpace[out.Namespace] = out, out
}

// identities collects which identities are derived from which.
func (l *loader) identities() {
	name := func(i *goyang.Identity) identity {
		return identity(goyang.RootNode(i).Name + ":" + i.Name)
	}
	for _, m := range l.schema.Modules {
		for _, i := range l.all.Modules[m.Name].Identity {
			set := &identitySet{derived: map[identity]bool{}}
			for _, d := range i.Values { // goyang has the indirect ones here too
				set.derived[name(d)] = true
			}
			l.schema.idents[name(i)] = set
		}
	}
}

// top takes the data nodes and operations of one module.
func (l *loader) top(m *Module, e *goyang.Entry) {
	for _, c := range ordered(e) {
		switch {
		case c.RPC != nil:
			rpc := &RPC{Name: c.Name, Module: m}
			rpc.Input, rpc.Output = l.parameters(m, "input", c.RPC.Input), l.parameters(m, "output", c.RPC.Output)
			l.schema.RPCs = append(l.schema.RPCs, rpc)
		case c.Kind == goyang.NotificationEntry:
		default:
			l.schema.Roots = append(l.schema.Roots, l.data(nil, c, true, nil)...)
		}
	}
}

func (l *loader) parameters(m *Module, name string, e *goyang.Entry) *Node {
	n := &Node{Name: name, Module: m, Kind: Container, Config: true}
	if e != nil {
		l.below(n, e, true)
	}
	return n
}

// ordered gives the children of an entry by name, which goyang keeps in a map.
func ordered(e *goyang.Entry) []*goyang.Entry {
	out := make([]*goyang.Entry, 0, len(e.Dir))
	for _, c := range e.Dir {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *goyang.Entry) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// below fills in a node's children: keys first, as XML wants them (RFC 7950 section 7.8.5), then by name.
func (l *loader) below(n *Node, e *goyang.Entry, config bool) {
	for _, c := range ordered(e) {
		n.Children = append(n.Children, l.data(n, c, config, nil)...)
	}
	n.index()
	for key := range strings.FieldsSeq(e.Key) {
		k, ok := n.Child(key)
		if !ok || k.Kind != Leaf {
			l.refuse(e.Node, "key %s of list %s is none of its leaves", key, n.Name)
			continue
		}
		k.Mandatory = true
		n.Keys = append(n.Keys, k)
	}
	rank := func(c *Node) int {
		if i := slices.Index(n.Keys, c); i >= 0 {
			return i
		}
		return len(n.Keys)
	}
	slices.SortStableFunc(n.Children, func(a, b *Node) int { return cmp.Compare(rank(a), rank(b)) })
}

func (n *Node) index() {
	n.byName = map[string][]*Node{}
	for _, c := range n.Children {
		n.byName[c.Name] = append(n.byName[c.Name], c)
	}
}

// data makes the data nodes of an entry: one, or for a choice those of all its cases.
func (l *loader) data(parent *Node, e *goyang.Entry, config bool, cases []Case) []*Node {
	switch e.Config {
	case goyang.TSTrue:
		config = true
	case goyang.TSFalse:
		config = false
	}
	if kind := e.Node.Kind(); kind == "action" || kind == "notification" {
		l.refuse(e.Node, "%s %s in a data node is not understood here", e.Node.Kind(), e.Name)
		return nil
	}
	if e.IsChoice() {
		return l.choice(parent, e, config, cases)
	}
	n := &Node{Name: e.Name, Parent: parent, Config: config, Cases: cases, Description: e.Description, Default: slices.Clone(e.Default), Mandatory: e.Mandatory == goyang.TSTrue}
	module, err := e.InstantiatingModule()
	if err != nil {
		l.refuse(e.Node, "%v", err)
		return nil
	}
	n.Module = l.schema.byName[module]
	switch {
	case e.IsList():
		n.Kind = List
	case e.IsLeafList():
		n.Kind = LeafList
	case e.IsLeaf():
		n.Kind = Leaf
	case e.IsContainer():
		n.Kind = Container
		n.Presence = len(e.Extra["presence"]) > 0
	default:
		l.refuse(e.Node, "%s %s is not understood here", e.Node.Kind(), e.Name)
		return nil
	}
	if e.ListAttr != nil {
		n.Min, n.Max, n.UserOrdered = e.ListAttr.MinElements, e.ListAttr.MaxElements, e.ListAttr.OrderedByUser
	}
	if n.Kind == Leaf || n.Kind == LeafList {
		n.Type = l.typ(n, e, e.Type)
		if len(n.Default) == 0 && n.Kind == Leaf && !n.Mandatory && e.Type != nil && e.Type.HasDefault {
			n.Default = []string{e.Type.Default}
		}
	} else {
		l.below(n, e, config)
		if n.Kind == List && len(n.Keys) == 0 && config {
			l.refuse(e.Node, "list %s is configuration and has no key", n.Name)
		}
	}
	l.conditions(n, e)
	return []*Node{n}
}

func (l *loader) choice(parent *Node, e *goyang.Entry, config bool, cases []Case) (out []*Node) {
	c := &choice{name: e.Name}
	switch mandatory := e.Mandatory == goyang.TSTrue; {
	case mandatory && (parent == nil || len(cases) > 0):
		l.refuse(e.Node, "a mandatory choice at the top or in a case is not understood here")
	case mandatory:
		parent.mandatoryChoices = append(parent.mandatoryChoices, c)
	}
	if len(e.Default) > 0 {
		l.refuse(e.Node, "a default case of a choice is not understood here")
	}
	for _, alternative := range ordered(e) {
		within := append(slices.Clip(cases), Case{c, alternative.Name})
		if len(alternative.Extra["when"]) > 0 {
			l.refuse(alternative.Node, "when on a case is not understood here; put it on the nodes in it")
		}
		for _, x := range ordered(alternative) {
			out = append(out, l.data(parent, x, config, within)...)
		}
	}
	if len(e.Extra["when"]) > 0 {
		l.refuse(e.Node, "when on a choice is not understood here; put it on the nodes in it")
	}
	return out
}

// conditions takes must, when and unique; they are compiled once the whole tree is there.
func (l *loader) conditions(n *Node, e *goyang.Entry) {
	for _, x := range e.Extra["unique"] {
		v, ok := x.(*goyang.Value)
		if !ok {
			continue
		}
		var set [][]string
		for p := range strings.FieldsSeq(v.Name) {
			set = append(set, strings.Split(p, "/"))
		}
		n.Unique = append(n.Unique, set)
	}
	for _, x := range e.Extra["must"] {
		m, ok := x.(*goyang.Must)
		if !ok {
			continue
		}
		out := Must{Expr: l.compile(m, n, m.Name), Message: "must hold: " + m.Name}
		if m.ErrorMessage != nil {
			out.Message = m.ErrorMessage.Name
		}
		if out.Expr != nil {
			n.Musts = append(n.Musts, out)
		}
	}
	for _, x := range e.Extra["when"] {
		if v, ok := x.(*goyang.Value); ok {
			if expr := l.compile(v, n, v.Name); expr != nil {
				n.Whens = append(n.Whens, expr)
			}
		}
	}
}

// compile reads an expression whose prefixes are those of the module that the statement stands in.
func (l *loader) compile(at goyang.Node, n *Node, text string) *Expr {
	expr, err := parseXPath(text, func(prefix string) (*Module, bool) {
		if prefix == "" {
			return n.Module, true
		}
		m := goyang.FindModuleByPrefix(at, prefix)
		if m == nil {
			return nil, false
		}
		return l.schema.byName[m.Name], true
	})
	if err != nil {
		l.refuse(at, "%q: %v", text, err)
		return nil
	}
	expr.schema = l.schema
	return expr
}

// link does what needed the whole tree.
func (l *loader) link() {
	for _, f := range l.later {
		f()
	}
	for _, root := range l.schema.Roots {
		root.Walk(l.check)
	}
	for _, r := range l.schema.RPCs {
		r.Input.Walk(l.check)
		r.Output.Walk(l.check)
	}
}

// check holds what a module says of a node against its types.
func (l *loader) check(n *Node) {
	for i, d := range n.Default {
		v, err := n.Type.Parse(d, l.schema.ModuleNames)
		if err != nil {
			l.errs = append(l.errs, fmt.Errorf("%s: default %q: %w", n.Path(), d, err))
			continue
		}
		n.Default[i] = v
	}
	conditions := slices.Clone(n.Whens)
	for _, m := range n.Musts {
		conditions = append(conditions, m.Expr)
	}
	for _, e := range conditions {
		if err := e.root.check(n, n, l.schema); err != nil {
			l.errs = append(l.errs, fmt.Errorf("%s: %q: %w", n.Path(), e, err))
		}
	}
	for _, set := range n.Unique {
		for _, p := range set {
			at := n
			for _, name := range p {
				next, ok := at.Child(name[strings.LastIndex(name, ":")+1:])
				if !ok {
					l.errs = append(l.errs, fmt.Errorf("%s: unique names %s, which is not there", n.Path(), strings.Join(p, "/")))
					break
				}
				at = next
			}
		}
	}
}
