// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"encoding/json"
	"strings"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/internal/yang"
)

// place is an entry of a list with a source, or a container with one: where a change is. Keys are those of all lists on the way, outermost first.
type place struct {
	node *yang.Node
	keys string // joined by keySep, so that places can be compared
}

const keySep = "\x00"

func at(n *yang.Node, keys []string) place { return place{n, strings.Join(keys, keySep)} }

func (p place) split() []string {
	if p.keys == "" {
		return nil
	}
	return strings.Split(p.keys, keySep)
}

// feed says which places of a source a record of a table has a part in.
type feed struct {
	node *yang.Node
	keys func(r store.Reader, v any) [][]string
}

// feeds are those of one table.
type feeds struct {
	decode   func(json.RawMessage) (any, bool) // a value as the log keeps it
	volatile bool                              // the log has nothing of it
	list     []feed
}

// feedFrom names the entries of the source at path in which a record of a table has a part. It is asked for the record as it was and
// as it is, each with the state of that time. What it forgets is not told of, which TestEverythingIsTold would show.
func feedFrom[K ~string, T any](t *tree, table *store.Table[K, T], path string, keys func(r store.Reader, v T) [][]string) {
	fs := t.feeds[table.Name()]
	if fs == nil {
		fs = &feeds{decode: func(raw json.RawMessage) (any, bool) {
			var v T
			err := json.Unmarshal(raw, &v)
			return v, err == nil
		}}
		t.feeds[table.Name()] = fs
	}
	n := t.node(path)
	t.told[n] = true
	fs.list = append(fs.list, feed{n, func(r store.Reader, v any) [][]string {
		x, ok := v.(T)
		if !ok {
			return nil
		}
		return keys(r, x)
	}})
}

// key is one place, or none for "".
func key[S ~string](ids ...S) (out [][]string) {
	for _, id := range ids {
		if id != "" {
			out = append(out, []string{string(id)})
		}
	}
	return out
}

// addFeeds says what changes with what, for the sources that the store has the data of.
func (t *tree) addFeeds() {
	t.feedObjects()
	t.feedTopology()
}

// Kinds of model.Foreign whose records are shown in an entry of a list.
var foreignLists = map[string]string{
	"network": "networks/network", "subnet": "subnets/subnet", "port": "ports/port", "sub_port": "ports/port", "router": "routers/router",
	"floatingip": "floatingips/floatingip", "security_group": "security-groups/security-group", "security_group_rule": "security-rules/security-rule",
	"policy": "qos-policies/qos-policy", "trunk": "trunks/trunk", "trunk_sub_ports": "trunks/trunk",
}

// Kinds of model.RBACPolicy that are shown as "shared".
var sharedLists = map[string]string{"network": "networks/network", "qos_policy": "qos-policies/qos-policy"}

func (t *tree) feedObjects() {
	const root = "neutron:neutron/"
	feedFrom(t, tables.Networks, root+"networks/network", func(_ store.Reader, n model.Network) [][]string { return key(n.ID) })
	feedFrom(t, tables.Subnets, root+"subnets/subnet", func(_ store.Reader, s model.Subnet) [][]string { return key(s.ID) })
	feedFrom(t, tables.SecurityGroups, root+"security-groups/security-group", func(_ store.Reader, g model.SecurityGroup) [][]string { return key(g.ID) })
	feedFrom(t, tables.Rules, root+"security-rules/security-rule", func(_ store.Reader, r model.SecurityGroupRule) [][]string { return key(r.ID) })
	feedFrom(t, tables.QosPolicies, root+"qos-policies/qos-policy", func(_ store.Reader, q model.QosPolicy) [][]string { return key(q.ID) })
	for kind, list := range foreignLists {
		feedFrom(t, tables.Foreign, root+list, func(_ store.Reader, f model.Foreign) [][]string {
			if f.Kind != kind {
				return nil
			}
			id, _, _ := strings.Cut(f.ID, "/") // claims of ports have their trunk's behind it
			return key(id)
		})
	}
	for kind, list := range sharedLists {
		feedFrom(t, tables.RBACPolicies, root+list, func(_ store.Reader, p model.RBACPolicy) [][]string {
			if p.Kind != kind {
				return nil
			}
			return key(p.Object)
		})
	}

	const ports, routers, floats, trunks = root + "ports/port", root + "routers/router", root + "floatingips/floatingip", root + "trunks/trunk"
	feedFrom(t, tables.Ports, ports, func(_ store.Reader, p model.Port) [][]string { return key(p.ID) })
	feedFrom(t, tables.Statuses, ports, func(r store.Reader, s model.PortStatus) [][]string { return key(s.Port) })

	feedFrom(t, tables.Routers, routers, func(_ store.Reader, r model.Router) [][]string { return key(r.ID) })
	feedFrom(t, tables.Ports, routers, func(_ store.Reader, p model.Port) [][]string { return key(p.Router) }) // a gateway's addresses are its port's

	feedFrom(t, tables.FloatingIPs, floats, func(_ store.Reader, f model.FloatingIP) [][]string { return key(f.ID) })
	feedFrom(t, tables.Statuses, floats, func(r store.Reader, s model.PortStatus) [][]string { // those of floating IPs are there too
		if _, ok := tables.FloatingIPs.Get(r, model.FloatingIPID(s.Port)); !ok {
			return nil
		}
		return key(s.Port)
	})
	floating := func(r store.Reader, x *store.Index[model.FloatingIPID, model.FloatingIP], k string) (out [][]string) {
		for f := range x.By(r, k) {
			out = append(out, []string{string(f.ID)})
		}
		return out
	}
	feedFrom(t, tables.Ports, floats, func(r store.Reader, p model.Port) [][]string {
		return floating(r, tables.FloatingIPsByPort, string(p.ID))
	})
	feedFrom(t, tables.Plugs, floats, func(r store.Reader, p model.Plug) [][]string {
		return floating(r, tables.FloatingIPsByPort, string(p.Port))
	})
	feedFrom(t, tables.Gateways, floats, func(r store.Reader, g model.Gateway) [][]string {
		return floating(r, tables.FloatingIPsByRouter, string(g.Router))
	})

	feedFrom(t, tables.Trunks, trunks, func(_ store.Reader, k model.Trunk) [][]string { return key(k.ID) })
	of := func(r store.Reader, ports ...model.PortID) (out [][]string) {
		for _, p := range ports {
			if p == "" {
				continue
			}
			for k := range tables.TrunksByPort.By(r, string(p)) {
				out = append(out, []string{string(k.ID)})
			}
		}
		return out
	}
	feedFrom(t, tables.Ports, trunks, func(r store.Reader, p model.Port) [][]string { return of(r, p.ID, p.Parent) })
	feedFrom(t, tables.Statuses, trunks, func(r store.Reader, s model.PortStatus) [][]string {
		p, _ := tables.Ports.Get(r, s.Port)
		return of(r, s.Port, p.Parent)
	})
}

func (t *tree) feedTopology() {
	feedFrom(t, tables.Nodes, "neutron:neutron/hostconfigs/hostconfig", func(_ store.Reader, n model.Node) (out [][]string) {
		out = append(out, []string{string(n.ID), kindL2})
		for kind := range n.HostConfigs {
			if kind != kindL2 {
				out = append(out, []string{string(n.ID), kind})
			}
		}
		return out
	})
	feedFrom(t, tables.Nodes, nodePath, func(_ store.Reader, n model.Node) [][]string {
		if n.OVSUUID == "" {
			return nil
		}
		return [][]string{{ovsdbTopology, managerID(&n)}, {ovsdbTopology, bridgeID(&n)}}
	})
	feedFrom(t, tables.Interfaces, nodePath+"/termination-point", func(r store.Reader, i model.Interface) [][]string {
		n, ok := tables.Nodes.Get(r, i.Node)
		if !ok {
			return nil
		}
		return [][]string{{ovsdbTopology, bridgeID(&n), i.Name}}
	})
	t.feeds[tables.Interfaces.Name()].volatile = true
}

// touched are the places that the records written between two states have a part in, each once, in order.
func (t *tree) touched(before, now store.Reader, ch *store.Changes) (out []place) {
	seen := map[place]bool{}
	for i := range ch.Records {
		rec := &ch.Records[i]
		fs := t.feeds[rec.Table]
		if fs == nil {
			continue
		}
		for _, f := range fs.list {
			for j, v := range [2]any{rec.Before, rec.After} {
				if v == nil {
					continue
				}
				for _, k := range f.keys([2]store.Reader{before, now}[j], v) {
					if p := at(f.node, k); !seen[p] {
						seen[p] = true
						out = append(out, p)
					}
				}
			}
		}
	}
	return out
}
