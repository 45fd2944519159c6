// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"fmt"
	"net/netip"
	"strings"

	"nagare/internal/model"
	"nagare/internal/netvirt"
	"nagare/ovsdb"
)

// database is the one that every Open vSwitch has.
const database = "Open_vSwitch"

// mirrored are the tables and columns that we follow: no Manager and no statistics, which change at every probe.
var mirrored = ovsdb.Tables{
	"Open_vSwitch": {"bridges", "external_ids", "other_config", "ovs_version"},
	"Bridge":       {"name", "ports", "controller", "fail_mode", "datapath_type", "protocols", "other_config", "external_ids"},
	"Port":         {"name", "interfaces", "external_ids"},
	"Interface":    {"name", "type", "ofport", "external_ids", "options", "mac", "mac_in_use", "link_state", "error"},
	"Controller":   {"target", "is_connected", "inactivity_probe", "max_backoff"},
}

// claim is what a node says of itself in its Open_vSwitch row.
type claim struct {
	ID           model.NodeID
	OVSUUID      string
	Hostname     string
	SystemID     string
	Version      string
	LocalIP      netip.Addr
	Mappings     map[string]string
	DatapathType string
	HostConfigs  map[string]string
	refused      []string // keys of host configurations that were left out
	root         ovsdb.UUID
}

// readClaim reads the one row of the Open_vSwitch table. A node without any name cannot be served.
func readClaim(m *ovsdb.Mirror) (claim, error) {
	rows := m.Rows("Open_vSwitch")
	if len(rows) != 1 {
		return claim{}, fmt.Errorf("open_vswitch table: %d rows, want 1; run `ovs-vsctl --no-wait init` on the node", len(rows))
	}
	var c claim
	for u, row := range rows {
		ext, other := row.Map("external_ids").Strings(), row.Map("other_config").Strings()
		c = claim{root: u, OVSUUID: u.String(), Hostname: ext["hostname"], SystemID: ext["system-id"], Version: row.String("ovs_version"),
			DatapathType: ext["ovn-bridge-datapath-type"]}
		for _, name := range []string{ext["odl_os_hostconfig_hostid"], ext["hostname"], ext["system-id"]} {
			if name != "" {
				c.ID = model.NodeID(name)
				break
			}
		}
		if a, err := netip.ParseAddr(other["local_ip"]); err == nil {
			c.LocalIP = a.Unmap()
		}
		c.HostConfigs, c.refused = readHostConfigs(ext)
		c.Mappings = parseMappings(ext["ovn-bridge-mappings"], other["provider_mappings"])
	}
	if c.ID == "" {
		return c, fmt.Errorf("open_vswitch %s has no name; set external_ids:hostname or external_ids:system-id on the node", c.OVSUUID)
	}
	if strings.ContainsAny(string(c.ID), "|\x00= ") || len(c.ID) > 255 {
		return c, fmt.Errorf("node name %q: blanks, '|' and '=' are not allowed; correct external_ids:hostname on the node", c.ID)
	}
	return c, nil
}

// parseMappings reads "physnet:bridge,physnet:bridge" lists; later ones win.
func parseMappings(lists ...string) map[string]string {
	out := map[string]string{}
	for _, l := range lists {
		for _, pair := range strings.Split(l, ",") {
			if net, bridge, ok := strings.Cut(strings.TrimSpace(pair), ":"); ok && net != "" && bridge != "" {
				out[net] = bridge
			}
		}
	}
	return out
}

// observer follows a mirror and says which interfaces of the integration bridge changed. It keeps what it needs to map an
// interface to its bridge, so a batch costs the size of what it changed (and of the bridge's set of ports, which the protocol
// sends whole).
type observer struct {
	m      *ovsdb.Mirror
	node   model.NodeID
	bridge ovsdb.UUID
	owner  map[ovsdb.UUID]ovsdb.UUID // interface -> its port
	ports  map[ovsdb.UUID]bool       // ports of the bridge
	names  map[ovsdb.UUID]string     // reported interfaces -> the name under which they were
}

func newObserver(m *ovsdb.Mirror, node model.NodeID) *observer {
	return &observer{m: m, node: node, owner: map[ovsdb.UUID]ovsdb.UUID{}, ports: map[ovsdb.UUID]bool{}, names: map[ovsdb.UUID]string{}}
}

// observation is what a batch means: interfaces that are there (again), names that went, and whether the node's own row or
// the controller's changed.
type observation struct {
	Put   []model.Interface
	Gone  []string
	Claim bool
}

func (o *observer) read(b ovsdb.Batch) observation {
	var out observation
	affected := map[ovsdb.UUID]bool{}
	port := func(u ovsdb.UUID, row *ovsdb.Row, there bool) {
		for _, i := range row.UUIDs("interfaces") {
			affected[i] = true
			if there {
				o.owner[i] = u
			} else if o.owner[i] == u {
				delete(o.owner, i)
			}
		}
	}
	for _, c := range b.Changes {
		switch c.Table {
		case "Open_vSwitch":
			out.Claim = true
		case "Interface":
			affected[c.UUID] = true
		case "Port":
			port(c.UUID, c.Before, false)
			port(c.UUID, c.After, true)
		case "Bridge":
			if c.After.String("name") != netvirt.Bridge && c.Before.String("name") != netvirt.Bridge {
				continue
			}
			now := map[ovsdb.UUID]bool{}
			if c.After.String("name") == netvirt.Bridge {
				o.bridge = c.UUID
				for _, p := range c.After.UUIDs("ports") {
					now[p] = true
				}
			} else if o.bridge == c.UUID {
				o.bridge = ovsdb.UUID{}
			}
			for p := range o.ports {
				if !now[p] {
					o.affect(p, affected)
				}
			}
			for p := range now {
				if !o.ports[p] {
					o.affect(p, affected)
				}
			}
			o.ports = now
		}
	}
	for u := range affected {
		row := o.m.Row("Interface", u)
		old, reported := o.names[u]
		if row == nil || !o.ports[o.owner[u]] {
			if reported {
				out.Gone = append(out.Gone, old)
				delete(o.names, u)
			}
			continue
		}
		i := o.convert(row)
		if reported && old != i.Name {
			out.Gone = append(out.Gone, old)
		}
		o.names[u] = i.Name
		out.Put = append(out.Put, i)
	}
	return out
}

func (o *observer) affect(port ovsdb.UUID, affected map[ovsdb.UUID]bool) {
	for _, i := range o.m.Row("Port", port).UUIDs("interfaces") {
		affected[i] = true
	}
}

func (o *observer) convert(row *ovsdb.Row) model.Interface {
	ext, opt := row.Map("external_ids").Strings(), row.Map("options").Strings()
	i := model.Interface{Node: o.node, Name: row.String("name"), Type: row.String("type"), IfaceID: model.PortID(ext["iface-id"]),
		MAC: row.String("mac_in_use"), Attached: ext["attached-mac"], LinkState: row.String("link_state"), Error: row.String("error"),
		Options: model.InterfaceOptions{Key: opt["key"], Local: opt["local_ip"], Peer: opt["peer"], Remote: opt["remote_ip"]}}
	// 65534 is the bridge's own port; -1, 0 and nothing mean that there is no device yet.
	if n, ok := row.Int("ofport"); ok && n > 0 && n < 0xff00 {
		i.OFPort = uint32(n)
	}
	return i
}
