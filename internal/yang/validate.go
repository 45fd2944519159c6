// SPDX-License-Identifier: Apache-2.0

package yang

import (
	"strings"
)

// Refer tells whether a leafref's value is there, when the data at hand does not reach to where it points. A nil Refer believes it.
type Refer func(leaf *Data) (bool, error)

// Validate holds an instance and all below it to everything its schema says beyond types: keys, what is mandatory, how many there
// may be, choices, unique, when, must and leafrefs (RFC 7950 sections 7 and 8). Operational data is not asked for: config says
// whether the instance is configuration, in which nothing else may be.
func (s *Schema) Validate(d *Data, config bool, refer Refer) error {
	v := &validator{config, refer}
	return v.node(d)
}

type validator struct {
	config bool
	refer  Refer
}

func (v *validator) node(d *Data) error {
	n := d.Node
	if v.config && !n.Config {
		return fault(TagInvalid, d.Path(), "this is operational data, which cannot be written")
	}
	for _, w := range n.Whens {
		if !w.Holds(d) {
			return fault(TagUnknown, d.Path(), "it may be there only when %s", w)
		}
	}
	if n.Type != nil {
		if err := v.leafref(d); err != nil {
			return err
		}
	} else if err := v.inner(d); err != nil {
		return err
	}
	for _, m := range n.Musts {
		if !m.Expr.Holds(d) {
			return fault(TagFailed, d.Path(), "%s", m.Message)
		}
	}
	return nil
}

func (v *validator) leafref(d *Data) error {
	t := d.Node.Type
	if t.Base != LeafRef {
		return nil
	}
	set, _ := t.path.root.eval(&scope{t.schema, d, d}).([]*Data)
	for _, x := range set {
		if x.Value == d.Value {
			return nil
		}
	}
	ok := v.refer == nil
	if !ok {
		var err error
		if ok, err = v.refer(d); err != nil {
			return err
		}
	}
	if !ok {
		return fault(TagMissing, d.Path(), "%q names no %s", clip(d.Value), t.Target.Path())
	}
	return nil
}

// inner checks what a container or an entry of a list holds.
func (v *validator) inner(d *Data) error {
	instances := map[*Node][]*Data{}
	for _, c := range d.Children {
		instances[c.Node] = append(instances[c.Node], c)
	}
	for _, key := range d.Node.Keys {
		if len(instances[key]) == 0 {
			return fault(TagMissing, d.Path(), "key %s is missing", key.Name)
		}
	}
	if err := v.choices(d, instances); err != nil {
		return err
	}
	for _, n := range d.Node.Children {
		if err := v.count(d, n, instances[n]); err != nil {
			return err
		}
	}
	for _, c := range d.Children {
		if err := v.node(c); err != nil {
			return err
		}
	}
	return nil
}

func (v *validator) count(d *Data, n *Node, got []*Data) error {
	if v.config && !n.Config {
		return nil
	}
	where := d.Path() + "/" + n.JSONName()
	if len(got) == 0 {
		if !v.wanted(d, n) {
			return nil
		}
		return fault(TagMissing, where, "it is mandatory")
	}
	switch n.Kind {
	case Container, Leaf:
		if len(got) > 1 {
			return fault(TagMalformed, where, "the node is there twice")
		}
		return nil
	}
	if n.Max > 0 && uint64(len(got)) > n.Max {
		return fault(TagInvalid, where, "there are %d, and may be %d", len(got), n.Max)
	}
	if uint64(len(got)) < n.Min {
		return fault(TagMissing, where, "there are %d; want at least %d", len(got), n.Min)
	}
	seen := map[string]bool{}
	for _, e := range got {
		id := e.Value
		if n.Kind == List {
			if len(n.Keys) == 0 {
				break
			}
			id = e.key()
		} else if !n.Config {
			break // values of operational leaf-lists may repeat (RFC 7950 section 7.7)
		}
		if seen[id] {
			return fault(TagConflict, e.Path(), "it is there twice")
		}
		seen[id] = true
	}
	return unique(n, got)
}

// wanted reports whether an instance of n has to be in d and is not: a mandatory leaf, a list with a least number of entries, a container
// in which something is, unless it is in a case of a choice of which another is chosen, or its conditions do not hold.
func (v *validator) wanted(d *Data, n *Node) bool {
	if n.IsKey() {
		return false // told before
	}
	chosen := func(c Case) bool {
		for _, x := range d.Children {
			for _, other := range x.Node.Cases {
				if other == c {
					return true
				}
			}
		}
		return false
	}
	if len(n.Cases) > 0 && !chosen(n.Cases[len(n.Cases)-1]) {
		return false
	}
	dummy := &Data{Node: n, Parent: d}
	for _, w := range n.Whens {
		if !w.Holds(dummy) {
			return false
		}
	}
	switch n.Kind {
	case Leaf:
		return n.Mandatory
	case List, LeafList:
		return n.Min > 0
	}
	if n.Presence {
		return false
	}
	for _, c := range n.Children {
		if (!v.config || c.Config) && v.wanted(dummy, c) {
			return true
		}
	}
	return len(n.mandatoryChoices) > 0
}

// choices holds that of no choice two cases are there, and of mandatory ones one is.
func (v *validator) choices(d *Data, instances map[*Node][]*Data) error {
	var chosen []*Node
	for _, a := range d.Node.Children {
		if len(a.Cases) == 0 || len(instances[a]) == 0 {
			continue
		}
		for _, b := range chosen {
			if name, ok := exclusive(a, b); ok {
				return fault(TagConflict, d.Path(), "%s and %s exclude each other: they are different cases of choice %s", b.JSONName(), a.JSONName(), name)
			}
		}
		chosen = append(chosen, a)
	}
next:
	for _, c := range d.Node.mandatoryChoices {
		for n := range instances {
			for _, in := range n.Cases {
				if in.choice == c {
					continue next
				}
			}
		}
		return fault(TagMissing, d.Path(), "one case of choice %s is mandatory", c.name)
	}
	return nil
}

// unique holds that no two entries agree in all leaves of a unique statement; entries that lack one of them do not count.
func unique(n *Node, entries []*Data) error {
	for _, set := range n.Unique {
		seen := map[string]bool{}
	entry:
		for _, e := range entries {
			var id strings.Builder
			for _, path := range set {
				at := []*Data{e}
				for _, name := range path {
					var next []*Data
					for _, x := range at {
						next = append(next, x.All(name[strings.LastIndex(name, ":")+1:])...)
					}
					at = next
				}
				if len(at) == 0 {
					continue entry
				}
				id.WriteString(at[0].Value)
				id.WriteByte(0)
			}
			if seen[id.String()] {
				var names []string
				for _, p := range set {
					names = append(names, strings.Join(p, "/"))
				}
				return fault(TagFailed, e.Path(), "another entry has the same %s, which must be unique", strings.Join(names, " and "))
			}
			seen[id.String()] = true
		}
	}
	return nil
}
