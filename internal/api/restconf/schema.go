// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"context"
	"iter"
	"net/url"
	"slices"
	"strings"

	"nagare/internal/store"
	"nagare/internal/yang"
)

// content says which data is asked for (RFC 8040 section 4.8.1).
type content uint8

const (
	all content = iota
	config
	nonconfig
)

// view is what entries are made from.
type view struct {
	*Config
	ctx  context.Context
	r    store.Reader
	want content
	base string // where the client reached us, such as https://host:8181; empty if it did not say
	// err is why a source could not give all that there is; what asks others than the store sets it.
	err error
}

// source says where the entries of a list come from, or a container. What is below an entry is in it, but for lists and containers that
// have sources of their own. Keys are those of all lists on the way, outermost first.
type source struct {
	has  content                                            // config: configuration alone; nonconfig: operational data alone; all: both, and the view says which
	all  func(v *view, above []string) iter.Seq[*yang.Data] // of a list
	one  func(v *view, keys []string) *yang.Data            // nil: there is none
	laid bool                                               // of has all: an entry of both is one laid over the other
	// edit changes an entry; nil: nobody does. What is edited is the entry as configuration.
	edit editor
}

// tree is the data that is served: the schema, and the sources of its lists.
type tree struct {
	schema  *yang.Schema
	sources map[*yang.Node]*source
	holds   map[*yang.Node]bool // containers and lists in which there are others with sources
	feeds   map[string]*feeds   // what changes with the records of a table, by its name
	told    map[*yang.Node]bool // sources of whose changes subscribers are told
}

func newTree() *tree {
	t := &tree{schema: yang.Served(), sources: map[*yang.Node]*source{}, holds: map[*yang.Node]bool{},
		feeds: map[string]*feeds{}, told: map[*yang.Node]bool{}}
	t.holds[t.schema.Top] = true
	return t
}

// add names the source of a list or container by its path in the schema. It panics if there is none.
func (t *tree) add(path string, s source) {
	n := t.node(path)
	t.sources[n] = &s
	for p := n.Parent; p != nil; p = p.Parent {
		t.holds[p] = true
	}
}

// node finds a schema node by its path, of which the program knows that it is there.
func (t *tree) node(path string) *yang.Node {
	n := t.schema.Top
	for part := range strings.SplitSeq(path, "/") {
		next, ok := n.Child(part)
		if !ok {
			panic("restconf: the schema has no " + path)
		}
		n = next
	}
	return n
}

// entry makes an instance of a list's entry, to be filled in.
func (t *tree) entry(path string) *yang.Data { return &yang.Data{Node: t.node(path)} }

// fits reports whether the source has data of the kind that is asked for.
func (s *source) fits(want content) bool { return s.has == all || want == all || s.has == want }

// hop is one step of a path: a node, and of a list or leaf-list the keys of one entry.
type hop struct {
	node  *yang.Node
	keys  []string
	whole bool // all entries of the list, or all values of the leaf-list
}

// hops reads a path by the schema alone. What the schema lacks is an error.
func (c *call) hops(path []string) (out []hop, err error) {
	at := c.tree.schema.Top
	for len(path) > 0 {
		name, own, err := c.step(path[0])
		if err != nil {
			return nil, err
		}
		n, ok := at.Child(name)
		if at == c.tree.schema.Top {
			n, ok = c.tree.schema.Root(name)
		}
		if !ok {
			return nil, unknown("element", path[0])
		}
		h := hop{node: n}
		path = path[1:]
		switch {
		case n.Kind == yang.List || n.Kind == yang.LeafList:
			want := max(1, len(n.Keys))
			if c.inline {
				own = path[:min(len(path), want)]
				path = path[len(own):]
			}
			switch {
			case len(own) == 0 && len(path) == 0:
				h.whole = true
			case len(own) != want:
				return nil, invalid("list %s: want its keys, %s", n.Name, names(n.Keys))
			default:
				if h.keys, err = c.keys(n, own); err != nil {
					return nil, err
				}
			}
		case len(own) > 0:
			return nil, invalid("%s is no list, and has no keys", n.Name)
		}
		out = append(out, h)
		at = n
	}
	return out, nil
}

// target is what a path leads to: a container or a list above entries, all entries of a list, one of them, or what is in one.
type target struct {
	node  *yang.Node
	keys  []string     // of all lists with sources on the way
	whole bool         // all entries of the list, or all values of the leaf-list
	data  []*yang.Data // within an entry: the instances; nil above
	entry *yang.Data   // that has the data
}

// find follows a path. What is not there is errMissing.
func (c *call) find(v *view, path []string) (*target, error) {
	hops, err := c.hops(path)
	if err != nil {
		return nil, err
	}
	t := &target{}
	for i, h := range hops {
		inside := t.entry != nil
		if !inside && i > 0 && c.tree.sources[t.node] != nil && c.tree.sources[h.node] == nil && !c.tree.holds[h.node] {
			if t.entry, err = c.tree.one(v, t); err != nil {
				return nil, err
			}
			t.data, inside = []*yang.Data{t.entry}, true
		}
		t.node, t.whole = h.node, h.whole
		if !inside {
			t.keys = append(t.keys, h.keys...)
			continue
		}
		if t.data = within(t.data[0], h); len(t.data) == 0 {
			return nil, errMissing
		}
	}
	if t.entry == nil && c.tree.sources[t.node] != nil && !t.whole {
		if t.entry, err = c.tree.one(v, t); err != nil {
			return nil, err
		}
		t.data = []*yang.Data{t.entry}
	}
	return t, nil
}

// one gives the entry that a target has reached.
func (t *tree) one(v *view, at *target) (*yang.Data, error) {
	if src := t.sources[at.node]; src.fits(v.want) {
		if d := src.one(v, at.keys); d != nil {
			return d, nil
		}
	}
	if v.err != nil {
		return nil, v.err
	}
	return nil, errMissing
}

// within gives the instances of a child that a hop leads to.
func within(d *yang.Data, h hop) (out []*yang.Data) {
	for _, x := range d.Children {
		if x.Node == h.node && h.matches(x) {
			out = append(out, x)
		}
	}
	return out
}

// matches reports whether an instance of the hop's node is the one that its keys name.
func (h hop) matches(d *yang.Data) bool {
	switch {
	case h.keys == nil:
		return true
	case d.Node.Kind == yang.List:
		own, _ := d.Key()
		return slices.Equal(own, h.keys)
	}
	return d.Value == h.keys[0]
}

// keys reads the keys of an entry, or a value of a leaf-list, as a path has them.
func (c *call) keys(n *yang.Node, own []string) (out []string, err error) {
	types := []*yang.Type{n.Type}
	if n.Kind == yang.List {
		types = types[:0]
		for _, k := range n.Keys {
			types = append(types, k.Type)
		}
	}
	for i, text := range own {
		value, err := types[i].Parse(text, c.tree.schema.ModuleNames)
		if err != nil {
			return nil, invalid("key of %s: %v", n.Name, err)
		}
		out = append(out, value)
	}
	return out, nil
}

func names(nodes []*yang.Node) string {
	var out []string
	for _, n := range nodes {
		out = append(out, n.Name)
	}
	return strings.Join(out, " and ")
}

// step reads one segment: a name, and in RFC 8040 the keys of an entry.
func (c *call) step(segment string) (name string, keys []string, err error) {
	if c.inline {
		return segment, nil, nil
	}
	name, list, ok := strings.Cut(segment, "=")
	if name, err = url.PathUnescape(name); err != nil {
		return "", nil, malformed("path segment %q: %v", segment, err)
	}
	if !ok {
		return name, nil, nil
	}
	for k := range strings.SplitSeq(list, ",") {
		if k, err = url.PathUnescape(k); err != nil {
			return "", nil, malformed("path segment %q: %v", segment, err)
		}
		keys = append(keys, k)
	}
	return name, keys, nil
}
