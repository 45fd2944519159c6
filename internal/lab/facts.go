// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// facts reads a node's Open vSwitch database as a list of facts in the words of
// golden/ovsdb.txt, for example "interface tap178a8b99-70 ofport" -> "1".
func (l *Lab) facts(ctx context.Context, node string) (map[string]string, error) {
	tables := map[string][]map[string]any{}
	for name, columns := range map[string]string{
		"Open_vSwitch": "_uuid",
		"Manager":      "target,is_connected",
		"Bridge":       "name,fail_mode,controller,ports",
		"Controller":   "_uuid,target,is_connected",
		"Port":         "_uuid,name,interfaces",
		"Interface":    "_uuid,name,type,ofport,options,external_ids",
	} {
		out, err := l.ovs(ctx, node, "ovs-vsctl", "--format=json", "--columns="+columns, "list", name)
		if err != nil {
			return nil, err
		}
		rows, err := parseRows(out)
		if err != nil {
			return nil, fmt.Errorf("node %s: table %s: %w", node, name, err)
		}
		tables[name] = rows
	}
	return factsOf(tables), nil
}

// parseRows reads the table form of ovs-vsctl --format=json. Values become
// string (strings, numbers, booleans, uuids), []string (sets) or
// map[string]string.
func parseRows(text string) ([]map[string]any, error) {
	var table struct {
		Headings []string
		Data     [][]any
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&table); err != nil {
		return nil, err
	}
	var rows []map[string]any
	for _, data := range table.Data {
		if len(data) != len(table.Headings) {
			return nil, fmt.Errorf("row of %d columns under %d headings", len(data), len(table.Headings))
		}
		row := map[string]any{}
		for i, v := range data {
			row[table.Headings[i]] = value(v)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// value reads one OVSDB value (RFC 7047 section 5.1).
func value(v any) any {
	pair, ok := v.([]any)
	if !ok || len(pair) != 2 {
		return fmt.Sprint(v)
	}
	items, isList := pair[1].([]any)
	switch {
	case pair[0] == "set" && isList:
		set := []string{}
		for _, i := range items {
			set = append(set, fmt.Sprint(value(i)))
		}
		return set
	case pair[0] == "map" && isList:
		m := map[string]string{}
		for _, i := range items {
			if kv, ok := i.([]any); ok && len(kv) == 2 {
				m[fmt.Sprint(value(kv[0]))] = fmt.Sprint(value(kv[1]))
			}
		}
		return m
	}
	return fmt.Sprint(pair[1]) // ["uuid", "..."]
}

func factsOf(tables map[string][]map[string]any) map[string]string {
	facts := map[string]string{}
	index := func(table string) map[string]map[string]any {
		m := map[string]map[string]any{}
		for _, row := range tables[table] {
			m[row["_uuid"].(string)] = row
		}
		return m
	}
	controllers, ports, interfaces := index("Controller"), index("Port"), index("Interface")
	for _, r := range tables["Open_vSwitch"] {
		facts["Open_vSwitch uuid"] = r["_uuid"].(string)
	}
	for _, m := range tables["Manager"] {
		facts[fmt.Sprintf("manager %v is_connected", m["target"])] = fmt.Sprint(m["is_connected"])
	}
	for _, b := range tables["Bridge"] {
		bridge := fmt.Sprintf("bridge %v", b["name"])
		facts[bridge+" fail_mode"] = "unset"
		if mode := strings.Join(set(b["fail_mode"]), ","); mode != "" {
			facts[bridge+" fail_mode"] = mode
		}
		facts[bridge+" controller"] = "none"
		for _, id := range set(b["controller"]) {
			c := controllers[id]
			facts[bridge+" controller"] = fmt.Sprint(c["target"])
			facts[fmt.Sprintf("%s controller %v is_connected", bridge, c["target"])] = fmt.Sprint(c["is_connected"])
		}
		for _, id := range set(b["ports"]) {
			for _, iid := range set(ports[id]["interfaces"]) {
				i := interfaces[iid]
				facts[fmt.Sprintf("%s port %v interface %v type", bridge, ports[id]["name"], i["name"])] = quoteEmpty(fmt.Sprint(i["type"]))
			}
		}
	}
	for _, i := range tables["Interface"] {
		name := fmt.Sprintf("interface %v", i["name"])
		facts[name+" ofport"] = strings.Join(set(i["ofport"]), ",")
		if options, ok := i["options"].(map[string]string); ok && len(options) > 0 {
			facts[name+" options"] = printMap(options)
		}
		ids, _ := i["external_ids"].(map[string]string)
		for k, v := range ids {
			facts[name+" external_ids:"+k] = v
		}
	}
	return facts
}

// set reads a column that holds any number of values: OVSDB writes a set of one
// as the value alone.
func set(v any) []string {
	switch v := v.(type) {
	case []string:
		return v
	case string:
		return []string{v}
	}
	return nil
}

func quoteEmpty(s string) string {
	if s == "" {
		return `""`
	}
	return s
}

var bareWord = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

// printMap writes a map as ovs-vsctl does: sorted, strings quoted unless they
// are plain words.
func printMap(m map[string]string) string {
	var items []string
	for k, v := range m {
		if !bareWord.MatchString(v) {
			v = strconv.Quote(v)
		}
		items = append(items, k+"="+v)
	}
	slices.Sort(items)
	return "{" + strings.Join(items, ", ") + "}"
}

// ofport returns the OpenFlow port of an interface, 0 when it has none.
func ofport(facts map[string]string, name string) int {
	n, err := strconv.Atoi(facts["interface "+name+" ofport"])
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// tunnels lists the interfaces of type vxlan.
func tunnels(facts map[string]string) []string {
	var out []string
	for k, v := range facts {
		if v == "vxlan" && strings.HasPrefix(k, "bridge ") && strings.HasSuffix(k, " type") {
			words := strings.Fields(k)
			out = append(out, words[len(words)-2])
		}
	}
	slices.Sort(out)
	return out
}
