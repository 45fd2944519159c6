// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"context"
	"fmt"
	"maps"

	"nagare/internal/compile"
	"nagare/internal/netvirt"
	"nagare/ovsdb"
)

// ownMark is the external_ids key of rows that are ours.
const ownMark = "nagare"

// actualRow is a port of the integration bridge as the node has it.
type actualRow struct {
	compile.Row
	port, iface ovsdb.UUID
	ours        bool
	ext         map[string]string
}

// actualRows are the ports of a bridge by name.
func actualRows(m *ovsdb.Mirror, bridge string) map[string]actualRow {
	out := map[string]actualRow{}
	_, br := m.Find("Bridge", "name", ovsdb.String(bridge))
	for _, p := range br.UUIDs("ports") {
		row := m.Row("Port", p)
		for _, i := range row.UUIDs("interfaces") {
			ifc := m.Row("Interface", i)
			ext := ifc.Map("external_ids").Strings()
			_, ours := row.Map("external_ids").Get(ownMark)
			out[row.String("name")] = actualRow{
				Row:  compile.Row{Bridge: bridge, Name: row.String("name"), Type: ifc.String("type"), MAC: ifc.String("mac")},
				port: p, iface: i, ours: ours, ext: ext,
			}
		}
	}
	return out
}

// rowsTouched reports whether a port of ours went or its interface was changed in what we set.
func rowsTouched(b ovsdb.Batch) bool {
	for _, c := range b.Changes {
		switch {
		case c.Before == nil:
		case c.Table == "Port" && c.After == nil:
			if _, ours := c.Before.Map("external_ids").Get(ownMark); ours {
				return true
			}
		case c.Table == "Interface" && c.After != nil:
			for _, col := range c.Before.Changed(c.After) {
				if col == "type" || col == "options" || col == "mac" {
					return true
				}
			}
		}
	}
	return false
}

// addRows makes the wanted ports that are missing or differ. A port of that name which is not ours is left alone: somebody
// else owns it. It returns how many rows it wrote.
func (d *dbSession) addRows(ctx context.Context, want []compile.Row) (int, error) {
	if len(want) == 0 {
		return 0, nil
	}
	u, br := d.m.Find("Bridge", "name", ovsdb.String(netvirt.Bridge))
	if br == nil {
		return 0, fmt.Errorf("node %s: bridge %s is not there yet", d.node, netvirt.Bridge)
	}
	have := actualRows(d.m, netvirt.Bridge)
	t, n := ovsdb.NewTxn(database), 0
	for _, w := range want {
		ext := compile.ParsePairs(w.ExternalIDs)
		fields := ovsdb.Fields{"type": ovsdb.String(w.Type), "options": ovsdb.StringMap(compile.ParsePairs(w.Options))}
		if w.MAC != "" {
			fields["mac"] = ovsdb.String(w.MAC)
		}
		a, there := have[w.Name]
		switch {
		case !there:
			fields["name"], fields["external_ids"] = ovsdb.String(w.Name), ovsdb.StringMap(ext)
			i := t.Insert("Interface", fields)
			p := t.Insert("Port", ovsdb.Fields{"name": ovsdb.String(w.Name), "interfaces": i,
				"external_ids": ovsdb.StringMap(map[string]string{ownMark: w.Name})})
			t.Mutate("Bridge", ovsdb.ByUUID(u), ovsdb.Add("ports", p))
			n++
		case a.ours && !d.holds(a, w):
			t.Update("Interface", ovsdb.ByUUID(a.iface), fields)
			for k, v := range ext {
				t.Mutate("Interface", ovsdb.ByUUID(a.iface), ovsdb.Put("external_ids", k, v)...)
			}
			n++
		}
	}
	if n == 0 {
		return 0, nil
	}
	_, err := d.commit(ctx, t)
	return n, err
}

// holds reports whether the node's port is as wanted; external_ids may hold more than we ask for.
func (d *dbSession) holds(a actualRow, w compile.Row) bool {
	if a.Type != w.Type || a.MAC != w.MAC ||
		!maps.Equal(d.m.Row("Interface", a.iface).Map("options").Strings(), compile.ParsePairs(w.Options)) {
		return false
	}
	for k, v := range compile.ParsePairs(w.ExternalIDs) {
		if a.ext[k] != v {
			return false
		}
	}
	return true
}

// removeRows removes ports of ours by name.
func (d *dbSession) removeRows(ctx context.Context, names []string) (int, error) {
	if len(names) == 0 {
		return 0, nil
	}
	u, _ := d.m.Find("Bridge", "name", ovsdb.String(netvirt.Bridge))
	have := actualRows(d.m, netvirt.Bridge)
	t, n := ovsdb.NewTxn(database), 0
	for _, name := range names {
		if a, ok := have[name]; ok && a.ours {
			t.Mutate("Bridge", ovsdb.ByUUID(u), ovsdb.Remove("ports", a.port))
			n++
		}
	}
	if n == 0 {
		return 0, nil
	}
	_, err := d.commit(ctx, t)
	return n, err
}

// strays are the names of our ports that are not wanted.
func (d *dbSession) strays(want map[compile.RowKey]compile.Row) []string {
	var out []string
	for name, a := range actualRows(d.m, netvirt.Bridge) {
		if _, ok := want[a.Key()]; a.ours && !ok {
			out = append(out, name)
		}
	}
	return out
}
