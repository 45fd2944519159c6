// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"nagare/internal/flow"
)

// golden reads a recorded flow table, such as "network-compute". The one of the controller node with instances was recorded in
// part; what it must be as a whole follows from the one before: the ways to both instances through the tunnel come to it.
func (s *site) golden(state, node string) []string {
	s.t.Helper()
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join("..", "..", "internal", "flow", "testdata", "golden", name+".txt"))
		if err != nil {
			s.t.Fatal(err)
		}
		return string(b)
	}
	normal := func(text string) []string {
		lines, err := flow.Normalise(text)
		if err != nil {
			s.t.Fatal(err)
		}
		return lines
	}
	lines := normal(read(state + "-" + node))
	if state != "instances" || node != controller {
		return lines
	}
	text := read("network-" + controller)
	for _, mac := range []string{"fa:16:3e:9e:f5:70", "fa:16:3e:53:88:56"} {
		text += fmt.Sprintf("\ntable=110,priority=32768,tun_id=0x435,dl_dst=%s actions=output:2", mac)
	}
	all := normal(text)
	for _, quoted := range lines {
		if !slices.Contains(all, quoted) {
			s.t.Fatalf("the inferred table lacks the quoted %s", quoted)
		}
	}
	return all
}

var portForm = regexp.MustCompile(`\b(in_port=|output:)([0-9]+)`)

// renumber replaces OpenFlow ports: those that an action list only outputs to may be dropped by giving "".
func renumber(lines []string, ports map[string]string) []string {
	var out []string
	for _, line := range lines {
		head, actions, _ := strings.Cut(line, " actions=")
		gone := false
		head = portForm.ReplaceAllStringFunc(head, func(m string) string {
			name, n, _ := strings.Cut(m, "=")
			gone = gone || ports[n] == ""
			return name + "=" + ports[n]
		})
		if list := strings.Split(actions, ","); strings.HasPrefix(actions, "output:") {
			var keep []string
			for _, a := range list {
				if p := ports[strings.TrimPrefix(a, "output:")]; p != "" {
					keep = append(keep, "output:"+p)
				}
			}
			gone = gone || len(keep) == 0
			actions = strings.Join(keep, ",")
		}
		if !gone {
			out = append(out, head+" actions="+actions)
		}
	}
	return out
}

// merge joins two tables of one state as one node would hold it: the same match outputs to what either outputs to.
func merge(a, b []string) ([]string, error) {
	acts := map[string]string{}
	var order []string
	for _, line := range append(slices.Clone(a), b...) {
		head, actions, _ := strings.Cut(line, " actions=")
		old, ok := acts[head]
		switch {
		case !ok:
			order = append(order, head)
			acts[head] = actions
		case old == actions:
		case strings.HasPrefix(old, "output:") && strings.HasPrefix(actions, "output:"):
			list := append(strings.Split(old, ","), strings.Split(actions, ",")...)
			slices.Sort(list)
			acts[head] = strings.Join(slices.Compact(list), ",")
		default:
			return nil, fmt.Errorf("%s: %s and %s cannot be joined", head, old, actions)
		}
	}
	for i, head := range order {
		order[i] = head + " actions=" + acts[head]
	}
	return flow.Normalise(strings.Join(order, "\n"))
}

// iface is a row of a node's table of interfaces.
type iface struct {
	Type    string
	OFPort  string
	Options map[string]string
	IDs     map[string]string // external_ids
}

// interfaces reads the interfaces of a node, all bridges together, by name.
func (s *site) interfaces(node string) (map[string]iface, error) {
	out, err := s.tryOVS(s.t.Context(), node, "ovs-vsctl", "--format=json", "--columns=name,type,ofport,options,external_ids", "list", "Interface")
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	var table struct{ Data [][5]any }
	if err := json.Unmarshal([]byte(out), &table); err != nil {
		return nil, err
	}
	pairs := func(v any) map[string]string { // ["map",[[k,v],...]], RFC 7047 section 5.1
		m := map[string]string{}
		if l, ok := v.([]any); ok && len(l) == 2 && l[0] == "map" {
			for _, kv := range l[1].([]any) {
				p := kv.([]any)
				m[fmt.Sprint(p[0])] = fmt.Sprint(p[1])
			}
		}
		return m
	}
	all := map[string]iface{}
	for _, r := range table.Data {
		all[fmt.Sprint(r[0])] = iface{Type: fmt.Sprint(r[1]), OFPort: fmt.Sprint(r[2]), Options: pairs(r[3]), IDs: pairs(r[4])}
	}
	return all, nil
}

// mustInterfaces reads them as they are now.
func (s *site) mustInterfaces(node string) map[string]iface {
	s.t.Helper()
	all, err := s.interfaces(node)
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// get reads one column of a node's database.
func (s *site) get(node, table, record, column string) string {
	s.t.Helper()
	return strings.TrimSpace(s.ovs(node, "ovs-vsctl", "get", table, record, column))
}
