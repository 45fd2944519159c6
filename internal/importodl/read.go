// SPDX-License-Identifier: Apache-2.0

// Package importodl reads what an OpenDaylight held, as its RESTCONF gave it out, and says what it would become here: Neutron's objects, the
// nodes that carry them, and the flows that each node would get, compiled in this process.
//
// Invariants: whatever is read is read whole: what the modules have no place for is told by its path and left out, never an error. An object
// becomes what a PUT of it by RESTCONF makes of it, since a server in memory is asked exactly that; so what is reported is what
// Apply does. The old controller's own flows are counted and not taken: nagare makes its own.
//
// Callers: internal/cli (nagare import odl).
package importodl

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"nagare/internal/api/jsonbody"
	"nagare/internal/yang"
)

// Limits of what is read.
const (
	MaxBytes = 512 << 20
	maxDepth = 64
)

// lists are the lists of Neutron's objects, below neutron:neutron, in the order in which they are written: what is referred to first.
var lists = []string{
	"qos-policies/qos-policy", "networks/network", "subnets/subnet", "security-groups/security-group", "security-rules/security-rule",
	"ports/port", "routers/router", "floatingips/floatingip", "trunks/trunk",
}

// Unknown is a part of the tree that was left out.
type Unknown struct {
	Path  string `json:"path"` // of the schema, without keys
	Why   string `json:"why"`
	Count int    `json:"count"` // how often
}

// Tree is what was read, of one answer or several.
type Tree struct {
	schema  *yang.Schema
	top     *yang.Data
	unknown map[[2]string]int
	bad     map[*yang.Data][]string // entries with values that are not understood
}

// NewTree returns an empty tree.
func NewTree() *Tree {
	s := yang.Served()
	return &Tree{schema: s, top: &yang.Data{Node: s.Top}, unknown: map[[2]string]int{}, bad: map[*yang.Data][]string{}}
}

// containers are the parts of a tree that mean something here, with what else an answer may begin with: what is in neutron:neutron can be
// asked for by itself.
var containers = []string{"neutron:neutron", "network-topology:network-topology", "opendaylight-inventory:nodes"}

// Add reads an answer in JSON, of either dialect. The error tells why it is none.
func (t *Tree) Add(text []byte) error {
	v, err := jsonbody.DecodeWithin(bytes.NewReader(text), MaxBytes, maxDepth)
	if err != nil {
		return fmt.Errorf("no JSON that could be an answer of RESTCONF: %w", err)
	}
	obj, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("no answer of RESTCONF: want a JSON object with a member such as neutron")
	}
	if len(obj) == 1 && (obj["errors"] != nil || obj["ietf-restconf:errors"] != nil) {
		return fmt.Errorf("this is an error of RESTCONF, not data")
	}
	known := 0
	for _, name := range slices.Sorted(maps.Keys(obj)) {
		if at := t.place(name); at != nil {
			known++
			t.member(at, name, obj[name])
			continue
		}
		t.skip("/"+name, "not part of what nagare takes")
	}
	if known == 0 {
		return fmt.Errorf("nothing in it is of neutron, network-topology or opendaylight-inventory; its members are %s", strings.Join(slices.Sorted(maps.Keys(obj)), ", "))
	}
	return nil
}

// place gives the instance to which a member at the top of an answer belongs, nil if it is none that is taken.
func (t *Tree) place(name string) *yang.Data {
	for _, c := range containers {
		_, local, _ := strings.Cut(c, ":")
		if name == c || name == local {
			return t.top
		}
	}
	neutron, _ := t.schema.Root("neutron:neutron")
	if n, ok := neutron.Child(name); ok && n.Type == nil {
		return t.container(t.top, neutron)
	}
	return nil
}

// container gives the one instance of a container, made if it is not there.
func (t *Tree) container(d *yang.Data, n *yang.Node) *yang.Data {
	if c := d.Child(n); c != nil {
		return c
	}
	return d.Add(n, "")
}

func (t *Tree) skip(path, why string) { t.unknown[[2]string{path, why}]++ }

// child finds a node by a name with or without its module's.
func (t *Tree) child(d *yang.Data, name string) (*yang.Node, bool) {
	if d.Node != t.schema.Top {
		return d.Node.Child(name)
	}
	for _, c := range containers {
		if _, local, _ := strings.Cut(c, ":"); name == local {
			name = c
		}
	}
	return t.schema.Root(name)
}

// member reads one member of an object.
func (t *Tree) member(d *yang.Data, name string, v any) {
	n, ok := t.child(d, name)
	if !ok {
		above := ""
		if d.Node != t.schema.Top {
			above = d.Node.Path()
		}
		t.skip(above+"/"+name, "the modules have no such node")
		return
	}
	path := n.Path()
	switch n.Kind {
	case yang.Container:
		obj, ok := v.(map[string]any)
		if !ok {
			t.skip(path, "it is no object")
			return
		}
		t.object(t.container(d, n), obj)
	case yang.List:
		entries, ok := v.([]any)
		if _, one := v.(map[string]any); one {
			entries, ok = []any{v}, true
		}
		if !ok {
			t.skip(path, "it is no list")
			return
		}
		for _, x := range entries {
			t.entry(d, n, x)
		}
	case yang.LeafList:
		values, ok := v.([]any)
		if !ok {
			values = []any{v}
		}
		for _, x := range values {
			t.leaf(d, n, x)
		}
	default:
		t.leaf(d, n, v)
	}
}

func (t *Tree) object(d *yang.Data, obj map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(obj)) {
		t.member(d, name, obj[name])
	}
}

func (t *Tree) entry(d *yang.Data, n *yang.Node, v any) {
	path := n.Path()
	obj, ok := v.(map[string]any)
	if !ok {
		t.skip(path, "an entry is no object")
		return
	}
	e := &yang.Data{Node: n, Parent: d}
	t.object(e, obj)
	key, ok := e.Key()
	if !ok {
		t.skip(path, "an entry lacks a key")
		return
	}
	for _, other := range d.Children { // of several answers, or of both stores: one adds to the other
		if own, _ := other.Key(); other.Node == n && n.Parent.Parent != nil && slices.Equal(own, key) && t.few(d, n) {
			lay(other, e)
			return
		}
	}
	d.Children = append(d.Children, e)
}

// few reports whether entries are of the topology, in which configuration and operational data say different things of the same.
func (t *Tree) few(_ *yang.Data, n *yang.Node) bool {
	return strings.HasPrefix(n.Path(), "/network-topology:")
}

// lay lays an instance over another: leaves that are there stay.
func lay(d, over *yang.Data) {
	for _, x := range over.Children {
		var old *yang.Data
		for _, c := range d.Children {
			if c.Node != x.Node {
				continue
			}
			a, _ := c.Key()
			b, _ := x.Key()
			if x.Node.Kind == yang.LeafList && c.Value != x.Value || !slices.Equal(a, b) {
				continue
			}
			old = c
			break
		}
		switch {
		case old == nil:
			x.Parent = d
			d.Children = append(d.Children, x)
		case x.Node.Type == nil:
			lay(old, x)
		}
	}
}

// leaf reads a value. Of an object of Neutron one that is not understood counts for the whole: without its address, say, a port would be
// another.
func (t *Tree) leaf(d *yang.Data, n *yang.Node, v any) {
	if v == nil {
		return
	}
	c := &yang.Data{Node: n, Parent: d}
	err := t.schema.ReadValue(c, v, yang.Draft02)
	if text, ok := v.(string); err != nil && ok { // upper case in ids and addresses, and ids without dashes, mean the same
		if t.schema.ReadValue(c, dashed(strings.ToLower(text)), yang.Draft02) == nil {
			err = nil
		}
	}
	if err == nil {
		d.Children = append(d.Children, c)
		return
	}
	for x := d; x != nil; x = x.Parent {
		if strings.HasPrefix(x.Node.Path(), "/neutron:neutron/") && x.Node.Kind == yang.List && x.Parent != nil && x.Parent.Node.Kind == yang.Container &&
			x.Parent.Parent != nil && x.Parent.Parent.Parent == t.top {
			t.bad[x] = append(t.bad[x], err.Error())
			return
		}
	}
	t.skip(n.Path(), "a value that the modules do not allow")
}

// dashed is an id of 32 digits as ids are written.
func dashed(s string) string {
	if len(s) != 32 || strings.Trim(s, "0123456789abcdef") != "" {
		return s
	}
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// Unknown is what was left out, by path.
func (t *Tree) Unknown() (out []Unknown) {
	for k, n := range t.unknown {
		out = append(out, Unknown{k[0], k[1], n})
	}
	slices.SortFunc(out, func(a, b Unknown) int { return strings.Compare(a.Path+a.Why, b.Path+b.Why) })
	return out
}

// under gives the entries of a list by its path, as far as it goes through containers.
func (t *Tree) under(path string) (out []*yang.Data) {
	d := t.top
	parts := strings.Split(path, "/")
	for _, name := range parts[:len(parts)-1] {
		n, ok := t.child(d, name)
		if !ok {
			return nil
		}
		if d = d.Child(n); d == nil {
			return nil
		}
	}
	return d.All(parts[len(parts)-1])
}

// Object is one object of Neutron.
type Object struct {
	List string // below neutron:neutron, such as networks/network
	ID   string
	Data *yang.Data // what of it is configuration
	Bad  string     // why it is not taken: values that are not understood; "" if it may be
}

// Path is where RESTCONF has it, below the root of the older dialect.
func (o *Object) Path() string { return "/restconf/config/neutron:neutron/" + o.List + "/" + o.ID }

// Body is what a PUT of it carries.
func (o *Object) Body() []byte {
	b := append(jsonbody.AppendString([]byte("{"), o.Data.Node.Name), ":["...)
	return append(o.Data.AppendJSON(b), "]}"...)
}

// Objects are all objects of Neutron, in the order in which they are written; each id once.
func (t *Tree) Objects() (out []Object) {
	for _, list := range lists {
		seen := map[string]bool{}
		for _, d := range t.under("neutron:neutron/" + list) {
			key, _ := d.Key()
			if seen[key[0]] {
				t.skip("/neutron:neutron/"+list, "an entry is there twice; the first counts")
				continue
			}
			seen[key[0]] = true
			out = append(out, Object{List: list, ID: key[0], Data: owned(configOnly(d)), Bad: strings.Join(t.bad[d], "; ")})
		}
	}
	return out
}

// owned settles whose an object is. The old controller kept the project's id as it was told, if it is new enough, and the same as
// tenant-id, with dashes, which Keystone's ids do not have.
func owned(d *yang.Data) *yang.Data {
	tenant, ok := d.Get("tenant-id")
	if !ok {
		return d
	}
	if _, ok := d.Get("project-id"); !ok {
		d.Leaf("project-id", strings.ReplaceAll(tenant, "-", ""))
	}
	d.Children = slices.DeleteFunc(d.Children, func(c *yang.Data) bool { return c.Node.Name == "tenant-id" })
	return d
}

// configOnly leaves out what is operational.
func configOnly(d *yang.Data) *yang.Data {
	out := &yang.Data{Node: d.Node, Value: d.Value}
	for _, c := range d.Children {
		if c.Node.Config {
			x := configOnly(c)
			x.Parent = out
			out.Children = append(out.Children, x)
		}
	}
	return out
}
