// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"nagare/internal/compile"
	"nagare/internal/model"
	"nagare/internal/netvirt"
	"nagare/ovsdb"
)

// ownMark is the external_ids key of rows that are ours.
const ownMark = "nagare"

// actualRow is a port as the node has it.
type actualRow struct {
	compile.Row
	port, iface ovsdb.UUID
	ours        bool
	ext         map[string]string
}

// actual is what a node has: its bridges, and their ports by name, which is unique in a database.
type actual struct {
	bridges map[string]ovsdb.UUID
	ports   map[string]actualRow
}

func readActual(m *ovsdb.Mirror) actual {
	out := actual{bridges: map[string]ovsdb.UUID{}, ports: map[string]actualRow{}}
	for u, br := range m.Rows("Bridge") {
		bridge := br.String("name")
		out.bridges[bridge] = u
		for _, p := range br.UUIDs("ports") {
			row := m.Row("Port", p)
			for _, i := range row.UUIDs("interfaces") {
				ifc := m.Row("Interface", i)
				ext := ifc.Map("external_ids").Strings()
				_, ours := row.Map("external_ids").Get(ownMark)
				out.ports[row.String("name")] = actualRow{
					Row:  compile.Row{Bridge: bridge, Name: row.String("name"), Type: ifc.String("type"), MAC: ifc.String("mac")},
					port: p, iface: i, ours: ours, ext: ext,
				}
			}
		}
	}
	return out
}

// rowsNews says why the node's rows must be compared anew after a batch; "" if they need not.
func (d *dbSession) rowsNews(b ovsdb.Batch) string {
	switch {
	case b.Initial:
		return ""
	case d.rowsTouched(b):
		return "rows of ours changed"
	case bridgeAppeared(b):
		return "a bridge appeared"
	}
	return ""
}

// rowsTouched reports whether a port of ours went or its interface was changed in what we set. Somebody may have changed it before
// the news of our making it came, which then comes with theirs.
func (d *dbSession) rowsTouched(b ovsdb.Batch) bool {
	for _, c := range b.Changes {
		switch {
		case c.Before == nil:
			if c.Table == "Interface" && d.spoiled(c.After) {
				return true
			}
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

// spoiled reports whether an interface that has appeared is one that we made, and is not as we made it.
func (d *dbSession) spoiled(row *ovsdb.Row) bool {
	name := row.String("name")
	d.made.Lock()
	defer d.made.Unlock()
	w, ours := d.made.rows[name]
	delete(d.made.rows, name)
	return ours && (row.String("type") != w.Type || row.String("mac") != w.MAC || !maps.Equal(row.Map("options").Strings(), compile.ParsePairs(w.Options)))
}

// making notes rows that are about to be made; unmade forgets those that were not.
func (d *dbSession) making(w compile.Row) {
	d.made.Lock()
	defer d.made.Unlock()
	if d.made.rows == nil {
		d.made.rows = map[string]compile.Row{}
	}
	d.made.rows[w.Name] = w
}

func (d *dbSession) unmade(rows []compile.Row) {
	d.made.Lock()
	defer d.made.Unlock()
	for _, w := range rows {
		delete(d.made.rows, w.Name)
	}
}

// bridgeAppeared reports whether a bridge was made that rows may have waited for. Our own is no news.
func bridgeAppeared(b ovsdb.Batch) bool {
	for _, c := range b.Changes {
		if c.Table == "Bridge" && c.Before == nil && c.After.String("name") != netvirt.Bridge {
			return true
		}
	}
	return false
}

// addRows makes the wanted ports that are missing, differ or are on another bridge. A port of that name which is not ours is
// left alone: somebody else owns it. Rows for bridges that are not there wait: bridges other than the integration bridge are
// the operator's to make (decision 10). It returns how many rows it wrote.
func (d *dbSession) addRows(ctx context.Context, want []compile.Row) (n int, wait []compile.Row, err error) {
	if len(want) == 0 {
		return 0, nil, nil
	}
	have := readActual(d.m)
	t := ovsdb.NewTxn(database)
	for _, w := range want {
		bridge, ok := have.bridges[w.Bridge]
		switch {
		case !ok && w.Bridge == netvirt.Bridge:
			return 0, nil, fmt.Errorf("node %s: bridge %s is not there yet", d.node, w.Bridge)
		case !ok:
			wait = append(wait, w)
			continue
		}
		ext := compile.ParsePairs(w.ExternalIDs)
		fields := ovsdb.Fields{"type": ovsdb.String(w.Type), "options": ovsdb.StringMap(compile.ParsePairs(w.Options))}
		if w.MAC != "" {
			fields["mac"] = ovsdb.String(w.MAC)
		}
		a, there := have.ports[w.Name]
		if there && a.ours && a.Bridge != w.Bridge {
			t.Mutate("Bridge", ovsdb.ByUUID(have.bridges[a.Bridge]), ovsdb.Remove("ports", a.port))
			there = false
		}
		switch {
		case !there:
			fields["name"], fields["external_ids"] = ovsdb.String(w.Name), ovsdb.StringMap(ext)
			i := t.Insert("Interface", fields)
			p := t.Insert("Port", ovsdb.Fields{"name": ovsdb.String(w.Name), "interfaces": i,
				"external_ids": ovsdb.StringMap(map[string]string{ownMark: w.Name})})
			t.Mutate("Bridge", ovsdb.ByUUID(bridge), ovsdb.Add("ports", p))
			d.making(w)
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
		return 0, wait, nil
	}
	if _, err = d.commit(ctx, t); err != nil {
		d.unmade(want)
	}
	return n, wait, err
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

// removeRows removes ports of ours. One that is on another bridge by now is not meant.
func (d *dbSession) removeRows(ctx context.Context, keys []compile.RowKey) (int, error) {
	if len(keys) == 0 {
		return 0, nil
	}
	have := readActual(d.m)
	t, n := ovsdb.NewTxn(database), 0
	for _, k := range keys {
		if a, ok := have.ports[k.Name]; ok && a.ours && a.Bridge == k.Bridge {
			t.Mutate("Bridge", ovsdb.ByUUID(have.bridges[k.Bridge]), ovsdb.Remove("ports", a.port))
			n++
		}
	}
	if n == 0 {
		return 0, nil
	}
	_, err := d.commit(ctx, t)
	return n, err
}

// strays are our ports that are not wanted, on whichever bridge.
func (d *dbSession) strays(want map[compile.RowKey]compile.Row) []compile.RowKey {
	var out []compile.RowKey
	for _, a := range readActual(d.m).ports {
		if _, ok := want[a.Key()]; a.ours && !ok {
			out = append(out, a.Key())
		}
	}
	return out
}

// waitingRows says for people which bridges an operator has yet to make, "" if none.
func waitingRows(n model.Node, wait map[compile.RowKey]compile.Row) string {
	var out []string
	for k := range wait {
		why := fmt.Sprintf("bridge %s is not there: create it", k.Bridge)
		var nets []string
		for net, bridge := range n.Mappings {
			if bridge == k.Bridge {
				nets = append(nets, net)
			}
		}
		if len(nets) > 0 {
			slices.Sort(nets)
			why = fmt.Sprintf("bridge %s, which maps physical network %s, is not there: create it (ovs-vsctl add-br %s on node %s)",
				k.Bridge, strings.Join(nets, ", "), k.Bridge, n.ID)
		}
		if !slices.Contains(out, why) {
			out = append(out, why)
		}
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}
