// SPDX-License-Identifier: Apache-2.0

package ovsdbtest

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"nagare/ovsdb"
)

const localPort = 65534 // OFPP_LOCAL as Interface.ofport shows it

// vswitchd does what ovs-vswitchd would after a change; needs s.mu. A second call
// without a change in between does nothing.
func (s *Server) vswitchd() {
	t := s.db.begin()
	v := &switchDaemon{Server: s, txn: t}
	for _, bridge := range v.rows("Bridge") {
		v.bridge(bridge)
	}
	for _, c := range v.rows("Controller") {
		on := s.opts.Connected == nil || s.opts.Connected(text(v.col("Controller", c.uuid, "target")))
		v.set("Controller", c.uuid, "is_connected", ovsdb.Bool(on))
		role := ovsdb.Value(ovsdb.Set(nil))
		if on {
			role = ovsdb.String("other")
		}
		if ovsdb.IsEmpty(v.col("Controller", c.uuid, "role")) || !on {
			v.set("Controller", c.uuid, "role", role)
		}
	}
	for _, root := range v.rows("Open_vSwitch") {
		v.set("Open_vSwitch", root.uuid, "cur_cfg", v.col("Open_vSwitch", root.uuid, "next_cfg"))
	}
	changed, f := t.commit()
	if f != nil {
		panic("ovsdbtest: " + f.Error())
	}
	s.publish(changed)
}

// RestartVswitchd forgets all port numbers and gives new ones, as a restarted
// ovs-vswitchd does.
func (s *Server) RestartVswitchd() {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.db.begin()
	v := &switchDaemon{Server: s, txn: t}
	for _, i := range v.rows("Interface") {
		v.set("Interface", i.uuid, "ofport", ovsdb.Set(nil))
	}
	clear(s.ports)
	changed, _ := t.commit()
	s.publish(changed)
	s.afterCommit()
}

type switchDaemon struct {
	*Server
	*txn
}

func text(v ovsdb.Value) string {
	s, _ := v.(ovsdb.String)
	return string(s)
}

// rows gives a table's rows, oldest first.
func (v *switchDaemon) rows(name string) []*row {
	tb := v.Server.db.tables[name]
	if tb == nil {
		return nil
	}
	var out []*row
	_ = v.each(tb, func(r *row) *fault { out = append(out, r); return nil })
	return out
}

// col reads a column; nil if the schema lacks it or the row is gone.
func (v *switchDaemon) col(table string, u ovsdb.UUID, column string) ovsdb.Value {
	tb := v.Server.db.tables[table]
	r := v.get(tb, u)
	i, ok := tb.index[column]
	if r == nil || !ok {
		return nil
	}
	return r.values[i]
}

// set writes a column unless it has the value or the schema lacks it.
func (v *switchDaemon) set(table string, u ovsdb.UUID, column string, value ovsdb.Value) {
	tb := v.Server.db.tables[table]
	i, ok := tb.index[column]
	r := v.get(tb, u)
	if !ok || r == nil || ovsdb.Equal(r.values[i], value) {
		return
	}
	c := r.clone()
	c.values[i] = value
	v.put(tb, u, c)
}

func (v *switchDaemon) bridge(b *row) {
	name := text(v.col("Bridge", b.uuid, "name"))
	v.set("Bridge", b.uuid, "datapath_id", ovsdb.String(v.datapathID(b)))

	var ifaces []*row
	for _, p := range ovsdb.AsSet(v.col("Bridge", b.uuid, "ports")).UUIDs() {
		for _, i := range ovsdb.AsSet(v.col("Port", p, "interfaces")).UUIDs() {
			if r := v.get(v.Server.db.tables["Interface"], i); r != nil {
				ifaces = append(ifaces, r)
			}
		}
	}
	slices.SortFunc(ifaces, func(a, b *row) int { return cmp.Compare(a.seq, b.seq) })
	taken := make(map[int64]bool)
	tunnels := make(map[string]bool)
	for _, i := range ifaces {
		if n, ok := v.col("Interface", i.uuid, "ofport").(ovsdb.Int); ok && n > 0 {
			taken[int64(n)] = true
			tunnels[v.tunnelKey(i)] = true
		}
	}
	for _, i := range ifaces {
		if n, ok := v.col("Interface", i.uuid, "ofport").(ovsdb.Int); ok && n > 0 {
			continue
		}
		if why := v.refuses(i, tunnels); why != "" {
			v.set("Interface", i.uuid, "ofport", ovsdb.Int(-1))
			v.set("Interface", i.uuid, "error", ovsdb.String(why))
			continue
		}
		n := int64(localPort)
		if text(v.col("Interface", i.uuid, "name")) != name {
			n = v.portNumber(b.uuid, i, taken)
		}
		taken[n] = true
		tunnels[v.tunnelKey(i)] = true
		v.up(i, n)
	}
}

// datapathID is other_config:datapath-id if that is 16 digits, else made from the
// bridge's UUID.
func (v *switchDaemon) datapathID(b *row) string {
	if id, ok := ovsdb.AsMap(v.col("Bridge", b.uuid, "other_config")).Get("datapath-id"); ok {
		id = strings.TrimPrefix(id, "0x")
		if raw, err := hex.DecodeString(id); err == nil && len(raw) == 8 {
			return strings.ToLower(id)
		}
	}
	return fmt.Sprintf("0000%x", b.uuid[:6])
}

// portNumber honours ofport_request when it is free, and else counts on from the
// last number of the bridge.
func (v *switchDaemon) portNumber(bridge ovsdb.UUID, i *row, taken map[int64]bool) int64 {
	if n, ok := v.col("Interface", i.uuid, "ofport_request").(ovsdb.Int); ok && !taken[int64(n)] {
		return int64(n)
	}
	n := v.ports[bridge] + 1
	for taken[n] {
		n++
	}
	v.ports[bridge] = n
	return n
}

// tunnelKey is equal for two tunnels that ovs-vswitchd refuses to have together.
func (v *switchDaemon) tunnelKey(i *row) string {
	kind := text(v.col("Interface", i.uuid, "type"))
	options := ovsdb.AsMap(v.col("Interface", i.uuid, "options"))
	remote, ok := options.Get("remote_ip")
	if !ok {
		return ""
	}
	local, _ := options.Get("local_ip")
	key, _ := options.Get("key")
	port, _ := options.Get("dst_port")
	return strings.Join([]string{kind, remote, local, key, port}, "|")
}

func (v *switchDaemon) refuses(i *row, tunnels map[string]bool) string {
	name := text(v.col("Interface", i.uuid, "name"))
	options := ovsdb.AsMap(v.col("Interface", i.uuid, "options"))
	switch kind := text(v.col("Interface", i.uuid, "type")); kind {
	case "", "system", "internal", "tap", "dummy":
	case "vxlan", "geneve", "gre", "stt", "lisp":
		if _, ok := options.Get("remote_ip"); !ok {
			return fmt.Sprintf("%s: %s type requires valid 'remote_ip' argument", name, kind)
		}
		if tunnels[v.tunnelKey(i)] {
			return fmt.Sprintf("could not add network device %s to ofproto (File exists)", name)
		}
	case "patch":
		if _, ok := options.Get("peer"); !ok {
			return fmt.Sprintf("%s: patch type requires valid 'peer' argument", name)
		}
	default:
		return fmt.Sprintf("could not open network device %s (Address family not supported by protocol)", name)
	}
	return ""
}

func (v *switchDaemon) up(i *row, ofport int64) {
	u := i.uuid
	v.set("Interface", u, "ofport", ovsdb.Int(ofport))
	v.set("Interface", u, "error", ovsdb.Set(nil))
	v.set("Interface", u, "admin_state", ovsdb.String("up"))
	v.set("Interface", u, "link_state", ovsdb.String("up"))
	v.set("Interface", u, "mac_in_use", ovsdb.String(fmt.Sprintf("02:%02x:%02x:%02x:%02x:%02x", u[0], u[1], u[2], u[3], u[4])))
	if text(v.col("Interface", u, "type")) == "" || text(v.col("Interface", u, "type")) == "internal" {
		v.set("Interface", u, "mtu", ovsdb.Int(1500))
	}
}
