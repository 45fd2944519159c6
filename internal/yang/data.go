// SPDX-License-Identifier: Apache-2.0

package yang

import (
	"strings"
)

// Data is an instance of a schema node: a container, one entry of a list, a leaf, or one value of a leaf-list. Entries and values of
// one list are neighbours among their parent's Children.
type Data struct {
	Node     *Node
	Parent   *Data
	Value    string // canonical, of leaves and leaf-lists
	Children []*Data
}

// Add appends a new child and gives it.
func (d *Data) Add(n *Node, value string) *Data {
	c := &Data{Node: n, Parent: d, Value: value}
	d.Children = append(d.Children, c)
	return c
}

// Leaf adds a leaf by its name, and gives d. The value is canonical: this is for callers that make data from what the program knows. It
// panics if the schema has no such child.
func (d *Data) Leaf(name, value string) *Data {
	n, ok := d.Node.Child(name)
	if !ok || n.Type == nil {
		panic("yang: " + d.Node.Path() + " has no leaf " + name)
	}
	d.Add(n, value)
	return d
}

// Put adds a container or an entry of a list by its name, and gives it. It panics if the schema has no such child.
func (d *Data) Put(name string) *Data {
	n, ok := d.Node.Child(name)
	if !ok || n.Type != nil {
		panic("yang: " + d.Node.Path() + " has no container or list " + name)
	}
	return d.Add(n, "")
}

// Child gives the first instance of a child by its schema node, or nil.
func (d *Data) Child(n *Node) *Data {
	for _, c := range d.Children {
		if c.Node == n {
			return c
		}
	}
	return nil
}

// Get gives the value of a leaf by its name; ok is false if there is no instance, whatever the default is.
func (d *Data) Get(name string) (value string, ok bool) {
	n, known := d.Node.Child(name)
	if !known {
		return "", false
	}
	if c := d.Child(n); c != nil {
		return c.Value, true
	}
	return "", false
}

// OrDefault is Get, with the schema's default for a leaf that is not there.
func (d *Data) OrDefault(name string) string {
	if v, ok := d.Get(name); ok {
		return v
	}
	if n, ok := d.Node.Child(name); ok && len(n.Default) > 0 {
		return n.Default[0]
	}
	return ""
}

// All gives the instances of a child by its name, in order.
func (d *Data) All(name string) (out []*Data) {
	n, ok := d.Node.Child(name)
	for _, c := range d.Children {
		if ok && c.Node == n {
			out = append(out, c)
		}
	}
	return out
}

// Values gives the values of a leaf-list by its name, in order.
func (d *Data) Values(name string) (out []string) {
	for _, c := range d.All(name) {
		out = append(out, c.Value)
	}
	return out
}

// Key gives the values of a list entry's keys, and false if one is missing.
func (d *Data) Key() ([]string, bool) {
	out := make([]string, 0, len(d.Node.Keys))
	for _, k := range d.Node.Keys {
		c := d.Child(k)
		if c == nil {
			return nil, false
		}
		out = append(out, c.Value)
	}
	return out, true
}

// key is Key as one string, for maps.
func (d *Data) key() string {
	k, _ := d.Key()
	return strings.Join(k, "\x00")
}

// Path is the instance's path as RFC 7951 section 6.11 writes it, for errors.
func (d *Data) Path() string {
	above := ""
	if d.Node.Name == "" { // the whole
		return ""
	}
	if d.Parent != nil {
		above = d.Parent.Path()
	} else if d.Node.Parent != nil {
		above = "..."
	}
	name := d.Node.JSONName()
	switch d.Node.Kind {
	case List:
		for _, k := range d.Node.Keys {
			if c := d.Child(k); c != nil {
				name += "[" + k.Name + "='" + clip(c.Value) + "']"
			}
		}
	case LeafList:
		name += "[.='" + clip(d.Value) + "']"
	}
	return above + "/" + name
}

// root is the outermost instance.
func (d *Data) root() *Data {
	for d.Parent != nil {
		d = d.Parent
	}
	return d
}
