// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"strings"

	"nagare/internal/flow"
)

// RuleID is a rule's place in its Rulebook.
type RuleID uint16

// Rule computes what one subject demands of one node.
type Rule struct {
	Name string // unique, e.g. "l2/port"
	Kind string // what the subject is: "node", "network", "port", ...; a composed subject starts with the object's id and "|"
	Doc  string // one line, shown by explain
	Run  func(c *Context)
	// Yields makes the rule's units lose what others claim too, whatever the ids of their objects.
	Yields bool
}

// Rulebook is the set of rules of a profile. The root rule runs once for each node, with the node's name as subject.
type Rulebook struct {
	// Merge makes one flow of the contributions that several units gave for one match by Context.Merge, in the order of their
	// units. It must be pure and must keep table, priority and match.
	Merge func(contributions []flow.Flow) flow.Flow

	rules   []Rule
	queries []queryDef
	root    RuleID
}

// Root declares the root rule.
func (b *Rulebook) Root(r Rule) RuleID {
	b.root = b.Add(r)
	return b.root
}

// Add declares a rule and returns its id for Need and Each.
func (b *Rulebook) Add(r Rule) RuleID {
	for _, o := range b.rules {
		if o.Name == r.Name {
			panic("compile: rule " + r.Name + " declared twice")
		}
	}
	b.rules = append(b.rules, r)
	return RuleID(len(b.rules) - 1)
}

// Set fills in a rule that was reserved by Add with a nil Run: rules that need each other.
func (b *Rulebook) Set(id RuleID, run func(*Context)) { b.rules[id].Run = run }

// Rules lists the declared rules.
func (b *Rulebook) Rules() []Rule { return b.rules }

// Unit names one rule for one subject (on a node that the context gives).
type Unit struct {
	Rule    RuleID
	Subject string
}

// Row is a desired OVSDB port with its one interface. Options and ExternalIDs are canonical "key=value" lists, see Pairs.
// The session adds the mark of ownership.
type Row struct {
	Bridge      string
	Name        string
	Type        string // "" for a device that somebody else makes, else "internal", "vxlan", "patch", ...
	Options     string
	ExternalIDs string
	MAC         string
}

// RowKey identifies a Row on a node.
type RowKey struct{ Bridge, Name string }

// Key returns the row's identity.
func (r Row) Key() RowKey { return RowKey{r.Bridge, r.Name} }

// Pairs writes key, value, key, value ... as the canonical text of a map: sorted, "k=v" joined with commas.
func Pairs(kv ...string) string {
	if len(kv)%2 != 0 {
		panic(fmt.Sprintf("compile: odd number of words for pairs: %q", kv))
	}
	var b strings.Builder
	for i := 0; i < len(kv); i += 2 {
		if i > 0 {
			if kv[i] <= kv[i-2] {
				panic(fmt.Sprintf("compile: pairs out of order: %q", kv))
			}
			b.WriteByte(',')
		}
		b.WriteString(kv[i] + "=" + kv[i+1])
	}
	return b.String()
}

// ParsePairs is the inverse of Pairs.
func ParsePairs(s string) map[string]string {
	m := map[string]string{}
	for _, p := range strings.Split(s, ",") {
		if k, v, ok := strings.Cut(p, "="); ok {
			m[k] = v
		}
	}
	return m
}
