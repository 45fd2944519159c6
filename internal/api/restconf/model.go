// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"nagare/internal/tables"
	"nagare/internal/yang"
)

// origins say where the data of each source comes from, by the source's path in the schema.
var origins = map[string]string{
	"/neutron:neutron/networks/network":                                  records(tables.Networks, tables.Foreign),
	"/neutron:neutron/subnets/subnet":                                    records(tables.Subnets, tables.Foreign),
	"/neutron:neutron/ports/port":                                        records(tables.Ports, tables.Foreign) + "; operational: " + records(tables.Statuses),
	"/neutron:neutron/routers/router":                                    records(tables.Routers, tables.Foreign),
	"/neutron:neutron/floatingips/floatingip":                            records(tables.FloatingIPs, tables.Foreign),
	"/neutron:neutron/security-groups/security-group":                    records(tables.SecurityGroups, tables.Foreign),
	"/neutron:neutron/security-rules/security-rule":                      records(tables.Rules, tables.Foreign),
	"/neutron:neutron/qos-policies/qos-policy":                           records(tables.QosPolicies, tables.Foreign),
	"/neutron:neutron/trunks/trunk":                                      records(tables.Trunks, tables.Foreign),
	"/neutron:neutron/hostconfigs/hostconfig":                            records(tables.Nodes) + ", what the node published or what follows from it",
	"/neutron:neutron/features/feature":                                  "the configuration of the server",
	"/network-topology:network-topology/topology":                        "fixed: flow:1, netvirt:1, ovsdb:1",
	"/network-topology:network-topology/topology/node":                   records(tables.Nodes) + ", of nodes that are connected",
	"/network-topology:network-topology/topology/node/termination-point": records(tables.Interfaces),
	"/network-topology:network-topology/topology/link":                   "links that LLDP crossed within three periods",
	"/opendaylight-inventory:nodes/node":                                 "config: " + records(tables.OperatorEntries) + "; operational: " + records(tables.Nodes) + ", of connected switches; progress of the southbound; the switch (description)",
	"/opendaylight-inventory:nodes/node/node-connector":                  "the switch (port descriptions, port counters)",
	"/opendaylight-inventory:nodes/node/flow-node-inventory:table":       "config: " + records(tables.OperatorEntries) + "; operational: the switch (table counters)",
	"/opendaylight-inventory:nodes/node/flow-node-inventory:table/flow":  "config: " + records(tables.OperatorEntries) + "; operational: the switch (flow counters), owners from the compile engine",
	"/opendaylight-inventory:nodes/node/flow-node-inventory:group":       "config: " + records(tables.OperatorEntries) + "; operational: the switch (group descriptions, group counters)",
	"/opendaylight-inventory:nodes/node/nagare-inventory:fault":          "the compile engine and the switches: operators' entries that are not carried out",
	"/opendaylight-inventory:nodes/node/flow-node-inventory:meter":       "config: " + records(tables.OperatorEntries) + "; operational: the switch (meter configurations, meter counters)",
	"/ietf-yang-library:yang-library":                                    "the modules",
	"/ietf-yang-library:modules-state":                                   "the modules",
	"/ietf-restconf-monitoring:restconf-state/capabilities":              "what is built",
	"/ietf-restconf-monitoring:restconf-state/streams/stream":            "the streams that are there",
}

// records names tables of the store.
func records(of ...interface{ Name() string }) string {
	var out []string
	for _, t := range of {
		out = append(out, "`"+t.Name()+"`")
	}
	return "store: " + strings.Join(out, ", ")
}

// Markdown is the reference of the model: modules, where data comes from, and trees.
func Markdown() string {
	t := newServed()
	var b strings.Builder
	b.WriteString(`# The model

Generated from the modules in ` + "`internal/yang/modules`" + ` and the sources in ` + "`internal/api/restconf`" + ` by ` + "`go generate ./internal/api/restconf`" + `; do not edit.

Data is served by RESTCONF at ` + "`/rests`" + ` (RFC 8040) and ` + "`/restconf`" + ` (its draft 02), in JSON and XML. Nothing is kept for it: an answer is made, while it is written, from one snapshot of the store, and
what switches hold is asked of them. The modules' texts are at ` + "`/rests/yang/NAME`" + `.

## Modules

Names, namespaces and trees are the public ones as far as there is something behind them; the texts are this program's, those of the modules of the IETF after the trees and types of the RFCs that they name.

| module | revision | namespace | holds | about |
|---|---|---|---|---|
`)
	for _, m := range t.schema.Modules {
		holds := "types"
		if m.Implement {
			holds = "data"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", m.Name, m.Revision, m.Namespace, holds, firstSentence(m.Description))
	}
	b.WriteString(`
## Where data comes from

What stands below an entry comes with it, unless it has a row of its own. Config is what is wanted, and operational what is. Tables of the store are named as its log names them.

| data | config | operational | written | from |
|---|---|---|---|---|
`)
	for _, n := range t.sorted() {
		s := t.sources[n]
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", n.Path(), tick(s.has != nonconfig), tick(s.has != config), tick(s.edit != nil), origins[n.Path()])
	}
	b.WriteString("\n## Operations\n\n")
	for _, r := range t.schema.RPCs {
		fmt.Fprintf(&b, "- `%s:%s`\n", r.Module.Name, r.Name)
	}
	b.WriteString(`
## Trees

Signs as in RFC 8340: ` + "`rw`" + ` configuration, ` + "`ro`" + ` operational data, ` + "`?`" + ` optional, ` + "`!`" + ` a container that means something by being there, ` + "`*`" + ` a list or leaf-list, with its keys in brackets. What
belongs to a case of a choice is marked with both. Conditions of packets and lists of actions are written out where they first stand.
`)
	for _, root := range t.schema.Roots {
		fmt.Fprintf(&b, "\n### %s\n\n```\n", root.QName())
		w := treeWriter{b: &b, seen: map[string]string{}}
		w.node(root, "", "  ", true)
		b.WriteString("```\n")
	}
	return b.String()
}

// newServed is the tree with all its sources, and no server behind it.
func newServed() *tree { return New(Config{}).tree }

// sorted are the nodes that have sources, by their paths.
func (t *tree) sorted() []*yang.Node {
	return slices.SortedFunc(maps.Keys(t.sources), func(a, b *yang.Node) int { return cmp.Compare(a.Path(), b.Path()) })
}

func tick(yes bool) string {
	if yes {
		return "x"
	}
	return ""
}

// firstSentence is a description's beginning, in one line.
func firstSentence(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if i := strings.Index(text, ". "); i >= 0 {
		text = text[:i+1]
	}
	return strings.ReplaceAll(text, "|", "\\|")
}

// treeWriter draws one tree.
type treeWriter struct {
	b    *strings.Builder
	seen map[string]string // what was written out already, by what it looks like -> where
}

// repeated is how many lines a part has that is not written out again.
const repeated = 12

func (w treeWriter) node(n *yang.Node, before, indent string, last bool) {
	access := "rw"
	if !n.Config {
		access = "ro"
	}
	name := n.JSONName()
	if n.Parent == nil {
		name = n.Name
	}
	switch {
	case n.Kind == yang.List:
		var keys []string
		for _, k := range n.Keys {
			keys = append(keys, k.Name)
		}
		name += "* [" + strings.Join(keys, " ") + "]"
	case n.Kind == yang.LeafList:
		name += "*"
	case n.Kind == yang.Container && n.Presence:
		name += "!"
	case n.Kind == yang.Leaf && !n.Mandatory:
		name += "?"
	}
	line := before + indent + "+--" + access + " " + name
	if n.Type != nil {
		line = fmt.Sprintf("%-*s %s", max(len(line)+1, 60), line, n.Type.Name)
	}
	for _, c := range n.Cases {
		line += "   (" + c.Choice() + ":" + c.Name + ")"
	}
	below := before + indent + "|  "
	if last {
		below = before + indent + "   "
	}
	var inner strings.Builder
	sub := treeWriter{&inner, map[string]string{}}
	for i, c := range n.Children {
		sub.node(c, "", "", i == len(n.Children)-1)
	}
	shape := n.Name + "\n" + inner.String()
	if at, ok := w.seen[shape]; ok && strings.Count(shape, "\n") > repeated {
		w.b.WriteString(line + "   as in " + at + "\n")
		return
	}
	w.seen[shape] = n.Path()
	w.b.WriteString(line + "\n")
	for i, c := range n.Children {
		w.node(c, below, "", i == len(n.Children)-1)
	}
}
