// SPDX-License-Identifier: Apache-2.0

package yang

import (
	"fmt"
	"slices"
	"strings"
)

// Schema is a set of modules that belong together.
type Schema struct {
	Modules []*Module // by name
	Roots   []*Node   // data nodes at the top, by module and name
	RPCs    []*RPC    // by module and name
	Top     *Node     // a container of the roots, itself no data: what a whole data store is an instance of
	byName  map[string]*Module
	bySpace map[string]*Module
	idents  map[identity]*identitySet
}

// Module is one module.
type Module struct {
	Name        string
	Revision    string // YYYY-MM-DD, the newest
	Namespace   string
	Prefix      string
	Source      string // its text
	Imports     []string
	Description string
	Implement   bool // it has data nodes, rpcs, notifications or augments; others only lend types and groupings
}

// Kind is what a data node is.
type Kind uint8

const (
	Container Kind = iota + 1
	List
	Leaf
	LeafList
)

func (k Kind) String() string {
	return [...]string{"", "container", "list", "leaf", "leaf-list"}[k]
}

// Node is one data node of the schema. Choices and cases are no nodes: what is below them is a child of the node around, and says
// by Cases to which alternatives it belongs.
type Node struct {
	Name        string
	Module      *Module // whose name prefixes it
	Kind        Kind
	Parent      *Node // nil at the top
	Config      bool  // false: operational data, which nobody writes
	Children    []*Node
	Keys        []*Node // of a list, in order
	Presence    bool    // of a container that means something by being there
	Mandatory   bool    // of a leaf
	Default     []string
	Type        *Type // of a leaf or leaf-list
	Min, Max    uint64
	UserOrdered bool
	Unique      [][][]string // each a set of paths of names
	Musts       []Must
	Whens       []*Expr // all must hold; each is evaluated at the context that RFC 7950 section 7.21.5 gives
	Cases       []Case  // outermost first
	Description string

	mandatoryChoices []*choice
	byName           map[string][]*Node
}

// Case is one alternative of a choice.
type Case struct {
	choice *choice
	Name   string
}

type choice struct{ name string }

// Choice is the name of the choice that a case belongs to.
func (c Case) Choice() string { return c.choice.name }

// Must is a condition on a node, in XPath.
type Must struct {
	Expr    *Expr
	Message string
}

// RPC is an operation.
type RPC struct {
	Name          string
	Module        *Module
	Input, Output *Node // containers; their Children are the parameters
}

// Module finds a module by its name.
func (s *Schema) Module(name string) (*Module, bool) {
	m, ok := s.byName[name]
	return m, ok
}

// Root finds a data node at the top, where names always have their module's (RFC 8040 section 3.5.3).
func (s *Schema) Root(name string) (*Node, bool) {
	return s.Top.child(name, false)
}

// RPC finds an operation by "module:name".
func (s *Schema) RPC(name string) (*RPC, bool) {
	i := slices.IndexFunc(s.RPCs, func(r *RPC) bool { return r.Module.Name+":"+r.Name == name })
	if i < 0 {
		return nil, false
	}
	return s.RPCs[i], true
}

// Child finds a child by its name. The module may be left out when it is the node's own, or when no other child has the name, which
// the older dialect of RESTCONF allows.
func (n *Node) Child(name string) (*Node, bool) {
	return n.child(name, true)
}

func (n *Node) child(name string, lax bool) (*Node, bool) {
	module, local, qualified := strings.Cut(name, ":")
	if !qualified {
		module, local = n.Module.Name, name
	}
	among := n.byName[local]
	for _, c := range among {
		if c.Module.Name == module {
			return c, true
		}
	}
	if lax && !qualified && len(among) == 1 {
		return among[0], true
	}
	return nil, false
}

// QName is the node's name with its module's.
func (n *Node) QName() string { return n.Module.Name + ":" + n.Name }

// IsKey reports whether the node is a key of the list it is in.
func (n *Node) IsKey() bool { return n.Parent != nil && slices.Contains(n.Parent.Keys, n) }

// Path is the node's place in the schema, with module names where they change (RFC 8040 section 1.1.1's schema path).
func (n *Node) Path() string {
	if n.Parent == nil {
		return "/" + n.QName()
	}
	return n.Parent.Path() + "/" + n.JSONName()
}

// JSONName is the node's name as it stands in its parent's instances in JSON.
func (n *Node) JSONName() string {
	if n.Parent != nil && n.Parent.Module == n.Module {
		return n.Name
	}
	return n.QName()
}

// Walk calls f for a node and all below it, parents first.
func (n *Node) Walk(f func(*Node)) {
	f(n)
	for _, c := range n.Children {
		c.Walk(f)
	}
}

// exclusive reports whether two nodes of one parent cannot be there at once, being in different cases of a choice.
func exclusive(a, b *Node) (choice string, ok bool) {
	for i := 0; i < len(a.Cases) && i < len(b.Cases) && a.Cases[i].choice == b.Cases[i].choice; i++ {
		if a.Cases[i].Name != b.Cases[i].Name {
			return a.Cases[i].choice.name, true
		}
	}
	return "", false
}

// Fault is data or a module that is not as it has to be. Tag is an error-tag of RFC 8040 section 7, Path an instance or schema path.
type Fault struct {
	Tag  string
	Path string
	Msg  string
}

func (f *Fault) Error() string {
	if f.Path == "" {
		return f.Msg
	}
	return f.Path + ": " + f.Msg
}

// Tags of faults.
const (
	TagInvalid   = "invalid-value"
	TagMissing   = "missing-element"
	TagUnknown   = "unknown-element"
	TagMalformed = "malformed-message"
	TagConflict  = "bad-element"
	TagFailed    = "operation-failed"
)

func fault(tag, path, format string, args ...any) *Fault {
	return &Fault{Tag: tag, Path: path, Msg: fmt.Sprintf(format, args...)}
}
