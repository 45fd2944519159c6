// SPDX-License-Identifier: Apache-2.0

package yang

import (
	"maps"
	"slices"
)

// Form is how names and numbers are written in JSON: RFC 7951's way, or that of the older dialect of RESTCONF, which has no prefix at
// the top of a message and takes numbers for strings and the other way round.
type Form uint8

const (
	RFC7951 Form = iota
	Draft02
)

// ReadJSON fills in an instance from what jsonbody.Decode gave for it: the members of an object are its children.
func (s *Schema) ReadJSON(d *Data, v any, form Form) error {
	obj, ok := v.(map[string]any)
	if !ok {
		return fault(TagMalformed, d.Path(), "%s: want an object", describe(v))
	}
	seen := map[*Node]bool{}
	for _, name := range slices.Sorted(maps.Keys(obj)) {
		n, ok := d.Node.child(name, form == Draft02)
		if !ok {
			return fault(TagUnknown, d.Path()+"/"+clip(name), "there is no such node")
		}
		if seen[n] {
			return fault(TagMalformed, d.Path()+"/"+clip(name), "the node is there twice, with its module's name and without")
		}
		seen[n] = true
		if err := s.member(d, n, obj[name], form); err != nil {
			return err
		}
	}
	d.arrange()
	return nil
}

// arrange puts the children in the order of the schema, so that keys come first. Entries keep theirs.
func (d *Data) arrange() {
	rank := make(map[*Node]int, len(d.Node.Children))
	for i, n := range d.Node.Children {
		rank[n] = i
	}
	slices.SortStableFunc(d.Children, func(a, b *Data) int { return rank[a.Node] - rank[b.Node] })
}

func (s *Schema) member(d *Data, n *Node, v any, form Form) error {
	switch n.Kind {
	case Container:
		return s.ReadJSON(d.Add(n, ""), v, form)
	case Leaf:
		return s.leaf(d, n, v, form)
	}
	list, ok := v.([]any)
	if !ok {
		if _, one := v.(map[string]any); one && form == Draft02 && n.Kind == List { // a single entry by itself
			list = []any{v}
		} else {
			return fault(TagMalformed, d.Path()+"/"+n.JSONName(), "%s: want a list", describe(v))
		}
	}
	for _, x := range list {
		var err error
		if n.Kind == List {
			err = s.ReadJSON(d.Add(n, ""), x, form)
		} else {
			err = s.leaf(d, n, x, form)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ReadValue reads the value of a leaf, or one of a leaf-list.
func (s *Schema) ReadValue(d *Data, v any, form Form) error {
	value, err := d.Node.Type.FromJSON(v, s.namesFor(d.Node), form == Draft02)
	if err != nil {
		return fault(TagInvalid, d.Path(), "%v", err)
	}
	d.Value = value
	return nil
}

func (s *Schema) leaf(d *Data, n *Node, v any, form Form) error {
	return s.ReadValue(d.Add(n, ""), v, form)
}

// namesFor reads prefixes of values in JSON: names of modules, none meaning the leaf's own (RFC 7951 section 6.8).
func (s *Schema) namesFor(n *Node) Names {
	return func(prefix string) (*Module, bool) {
		if prefix == "" {
			return n.Module, true
		}
		return s.Module(prefix)
	}
}

// AppendJSON writes the children of an instance as an object.
func (d *Data) AppendJSON(b []byte) []byte {
	b = append(b, '{')
	var done map[*Node]bool // lists that were written, whole at their first entry
	for i, c := range d.Children {
		if done[c.Node] {
			continue
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(c.appendName(b), ':')
		if c.Node.Kind == Container || c.Node.Kind == Leaf {
			b = c.AppendValue(b)
			continue
		}
		if done == nil {
			done = map[*Node]bool{}
		}
		done[c.Node] = true
		b = append(b, '[')
		first := true
		for _, e := range d.Children[i:] {
			if e.Node != c.Node {
				continue
			}
			if !first {
				b = append(b, ',')
			}
			first = false
			b = e.AppendValue(b)
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

// appendName writes the instance's name among its parent's, as JSON. Names in YANG have nothing to escape (RFC 7950 section 6.2).
func (d *Data) appendName(b []byte) []byte {
	b = append(b, '"')
	if n := d.Node; n.Parent == nil || n.Parent.Module != n.Module {
		b = append(append(b, n.Module.Name...), ':')
	}
	return append(append(b, d.Node.Name...), '"')
}

// AppendValue writes an instance without its name: an object, or a value.
func (d *Data) AppendValue(b []byte) []byte {
	if d.Node.Type != nil {
		return d.Node.Type.AppendJSON(b, d.Value)
	}
	return d.AppendJSON(b)
}
