// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"slices"
	"strings"

	"nagare/internal/yang"
)

// index finds who subscribed to what a change is about, by walking down the change's own path: what that costs depends on how deep the
// change is and on how many it concerns, never on how many subscribe.
type index struct {
	root *branch
	tree *tree
}

// branch is what is subscribed at and below a place in the schema, with keys.
type branch struct {
	node   *yang.Node
	kids   map[step]*branch
	groups map[*group]bool
}

// step is one hop as a key. Keys of a list that are not given stand for all its entries.
type step struct {
	node *yang.Node
	keys string
	all  bool
}

func (h hop) step() step {
	return step{h.node, strings.Join(h.keys, keySep), h.node.Kind == yang.List && h.keys == nil}
}

func newIndex(t *tree) *index { return &index{root: &branch{}, tree: t} }

func (x *index) add(g *group) {
	for _, path := range g.paths {
		b := x.root
		for _, h := range path {
			next := b.kids[h.step()]
			if next == nil {
				if b.kids == nil {
					b.kids = map[step]*branch{}
				}
				next = &branch{node: h.node}
				b.kids[h.step()] = next
			}
			b = next
		}
		if b.groups == nil {
			b.groups = map[*group]bool{}
		}
		b.groups[g] = true
	}
}

func (x *index) remove(g *group) {
	for _, path := range g.paths {
		x.root.remove(path, g)
	}
}

func (b *branch) remove(path []hop, g *group) {
	if len(path) == 0 {
		delete(b.groups, g)
		return
	}
	s := path[0].step()
	next := b.kids[s]
	if next == nil {
		return
	}
	if next.remove(path[1:], g); len(next.kids) == 0 && len(next.groups) == 0 {
		delete(b.kids, s)
	}
}

// hit is a group that a place concerns: what it subscribed to is above the place or the place itself, or in the entry.
type hit struct {
	*group
	above  int   // levels from what is subscribed down to the place
	inside []hop // from the place down to what is subscribed
}

// find gives the groups that a change of a place itself concerns, and says whether there are any at sources below it.
func (x *index) find(p place) (hits []hit, below bool) {
	chain := x.tree.chain(p)
	at := []*branch{x.root}
	for i, h := range chain {
		var next []*branch
		for _, b := range at {
			exact := h.step()
			if k := b.kids[exact]; k != nil {
				next = append(next, k)
			}
			if h.node.Kind == yang.List {
				if k := b.kids[step{node: h.node, all: true}]; k != nil {
					next = append(next, k)
				}
			}
		}
		for _, b := range next {
			for g := range b.groups {
				hits = append(hits, hit{group: g, above: len(chain) - 1 - i})
			}
		}
		at = next
	}
	for _, b := range at {
		hits, below = x.inside(b, nil, hits, below)
	}
	return hits, below
}

// inside gathers the groups below a branch, as far as they are within the entry that it stands for.
func (x *index) inside(b *branch, path []hop, hits []hit, below bool) ([]hit, bool) {
	for s, k := range b.kids {
		if x.tree.sources[s.node] != nil || x.tree.holds[s.node] {
			below = true
			continue
		}
		h := hop{node: s.node, whole: s.all}
		if s.keys != "" {
			h.keys = strings.Split(s.keys, keySep)
		}
		to := append(slices.Clip(path), h)
		for g := range k.groups {
			hits = append(hits, hit{group: g, inside: to})
		}
		hits, below = x.inside(k, to, hits, below)
	}
	return hits, below
}

// chain gives the hops to a place.
func (t *tree) chain(p place) []hop {
	var nodes []*yang.Node
	for n := p.node; n != nil && n != t.schema.Top; n = n.Parent {
		nodes = append(nodes, n)
	}
	slices.Reverse(nodes)
	keys := p.split()
	out := make([]hop, len(nodes))
	for i, n := range nodes {
		out[i].node = n
		if n.Kind == yang.List {
			out[i].keys, keys = keys[:len(n.Keys):len(n.Keys)], keys[len(n.Keys):]
		}
	}
	return out
}

// relation is how what a group subscribed to stands to a place; ok is false if it does not. It says for one path what index.find says for
// all, and is for those who missed something and ask for what they did.
func relation(t *tree, path []hop, p place) (h hit, below, ok bool) {
	chain := t.chain(p)
	for i, own := range path[:min(len(path), len(chain))] {
		if own.node != chain[i].node || own.keys != nil && !slices.Equal(own.keys, chain[i].keys) {
			return h, false, false
		}
	}
	if len(path) <= len(chain) {
		h.above = len(chain) - len(path)
		return h, false, true
	}
	h.inside = path[len(chain):]
	for _, own := range h.inside {
		if t.sources[own.node] != nil || t.holds[own.node] {
			return hit{}, true, true
		}
	}
	return h, false, true
}

// location reads a path to data: an instance identifier (RFC 7951 section 6.11), of which the keys of lists may be left out where all
// entries are meant. Names may have their module's or not, and those in predicates too.
func (t *tree) location(text string) (out []hop, err error) {
	rest := strings.TrimSuffix(strings.TrimSpace(text), "/")
	at := t.schema.Top
	for rest != "" {
		if rest[0] != '/' {
			return nil, invalid("path %q: want / before each name", text)
		}
		n := strings.IndexAny(rest[1:], "/[") + 1
		if n == 0 {
			n = len(rest)
		}
		name := rest[1:n]
		rest = rest[n:]
		var node *yang.Node
		var ok bool
		if at == t.schema.Top {
			node, ok = t.schema.Root(name)
		} else {
			node, ok = at.Child(name)
		}
		if !ok {
			return nil, invalid("path %q: there is no %q; names at the top, and where the module changes, have their module's", text, name)
		}
		h := hop{node: node}
		if h.keys, rest, err = t.predicates(node, text, rest); err != nil {
			return nil, err
		}
		h.whole = h.keys == nil && (node.Kind == yang.List || node.Kind == yang.LeafList)
		out = append(out, h)
		at = node
	}
	if len(out) == 0 {
		return nil, invalid("path %q: want a path such as /neutron:neutron/networks", text)
	}
	return out, nil
}

// predicates reads [name='value']... behind a name.
func (t *tree) predicates(n *yang.Node, text, rest string) (keys []string, left string, err error) {
	given := map[string]string{}
	for strings.HasPrefix(rest, "[") {
		name, value, ok := strings.Cut(rest[1:], "=")
		value = strings.TrimLeft(value, " ")
		if !ok || value == "" || value[0] != '\'' && value[0] != '"' {
			return nil, "", invalid("path %q: want [name='value'] behind %s", text, n.Name)
		}
		quoted, after, ok := strings.Cut(value[1:], value[:1])
		after = strings.TrimLeft(after, " ")
		if !ok || !strings.HasPrefix(after, "]") {
			return nil, "", invalid("path %q: a predicate of %s has no end", text, n.Name)
		}
		_, local, qualified := strings.Cut(strings.TrimSpace(name), ":")
		if !qualified {
			local = strings.TrimSpace(name)
		}
		if _, twice := given[local]; twice {
			return nil, "", invalid("path %q: %s is said twice of %s", text, local, n.Name)
		}
		given[local], rest = quoted, after[1:]
	}
	want := []string{"."}
	types := []*yang.Type{n.Type}
	if n.Kind == yang.List {
		want, types = nil, nil
		for _, k := range n.Keys {
			want, types = append(want, k.Name), append(types, k.Type)
		}
	}
	switch {
	case len(given) == 0:
		return nil, rest, nil
	case n.Kind != yang.List && n.Kind != yang.LeafList:
		return nil, "", invalid("path %q: %s is no list, and has no keys", text, n.Name)
	case len(given) != len(want):
		return nil, "", invalid("path %q: want all keys of %s, %s, or none", text, n.Name, strings.Join(want, " and "))
	}
	for i, name := range want {
		v, ok := given[name]
		if !ok {
			return nil, "", invalid("path %q: %s has no key of another name than %s", text, n.Name, strings.Join(want, " and "))
		}
		if v, err = types[i].Parse(v, t.schema.ModuleNames); err != nil {
			return nil, "", invalid("path %q: key %s: %v", text, name, err)
		}
		keys = append(keys, v)
	}
	return keys, rest, nil
}

// pathText writes hops as an instance identifier. In the older form every name has its module's.
func pathText(path []hop, every bool) string {
	var b strings.Builder
	var module *yang.Module
	for _, h := range path {
		name, prefix := h.node.Name, ""
		if every || h.node.Module != module {
			prefix = h.node.Module.Name + ":"
		}
		module = h.node.Module
		b.WriteString("/" + prefix + name)
		if h.keys == nil {
			continue
		}
		keys := []string{"."}
		if h.node.Kind == yang.List {
			keys = nil
			for _, k := range h.node.Keys {
				if every {
					keys = append(keys, k.QName())
				} else {
					keys = append(keys, k.Name)
				}
			}
		}
		for i, k := range keys {
			quote := "'"
			if strings.Contains(h.keys[i], quote) {
				quote = `"`
			}
			b.WriteString("[" + k + "=" + quote + h.keys[i] + quote + "]")
		}
	}
	return b.String()
}

// subscribable holds a path against what events are told of, and that its end is clear: within an entry every list needs its keys.
func (t *tree) subscribable(path []hop, want content) error {
	inside := false
	for i, h := range path {
		if inside && h.whole && h.node.Kind == yang.List {
			return invalid("path %s: name the keys of %s, or subscribe to what is around it", pathText(path, false), h.node.Name)
		}
		if inside && h.whole {
			return invalid("path %s: name the value of %s as [.='value'], or subscribe to what is around it", pathText(path, false), h.node.Name)
		}
		if t.told[h.node] && !t.holds[h.node] {
			inside = true
		} else if t.told[h.node] && i+1 < len(path) && t.sources[path[i+1].node] == nil && !t.holds[path[i+1].node] {
			inside = true
		}
	}
	for n := range t.told {
		if !t.sources[n].fits(want) {
			continue
		}
		if meets(path, n) {
			return nil
		}
	}
	return invalid("path %s: no changes are told of it%s", pathText(path, false), [...]string{"", " as configuration", " as operational data"}[want])
}
