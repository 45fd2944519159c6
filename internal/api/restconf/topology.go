// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"fmt"
	"strings"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// The topology of switches as OpenDaylight's OVSDB plug-in shows it: for each connected node one entry for its database and one
// for the bridge that is ours, with that bridge's ports. DevStack waits for netvirt:1 to be there; the binding of ports of networking-odl
// before Ocata reads ovsdb:1. Module names and leaves are of network-topology (2013-10-21) and ovsdb.
const (
	ovsdbTopology   = "ovsdb:1"
	netvirtTopology = "netvirt:1"
	nodePrefix      = "ovsdb://uuid/"
	bridgeInfix     = "/bridge/"
	bridgeName      = "br-int"
)

func topologyList(cfg *Config) *node {
	nodes := nodeList(cfg)
	topology := func(r store.Reader, id string) map[string]any {
		out := map[string]any{"topology-id": id}
		if all := nodes.all(r, []string{id}); len(all) > 0 {
			out["node"] = all
		}
		return out
	}
	return &node{module: "network-topology", name: "topology", keys: []string{"topology-id"}, children: []*node{nodes},
		all: func(r store.Reader, _ []string) []any {
			return []any{topology(r, netvirtTopology), topology(r, ovsdbTopology)}
		},
		one: func(r store.Reader, keys []string) (map[string]any, bool) {
			if keys[0] != netvirtTopology && keys[0] != ovsdbTopology {
				return nil, false
			}
			return topology(r, keys[0]), true
		}}
}

func nodeList(cfg *Config) *node {
	ports := portsOfBridge(cfg)
	return &node{module: "network-topology", name: "node", keys: []string{"node-id"}, children: []*node{ports},
		all: func(r store.Reader, above []string) (out []any) {
			if above[0] != ovsdbTopology {
				return nil
			}
			for _, n := range tables.Nodes.All(r) {
				if cfg.connected(&n) {
					out = append(out, managerEntry(&n), bridgeEntry(r, &n))
				}
			}
			return out
		},
		one: func(r store.Reader, keys []string) (map[string]any, bool) {
			n, bridge, ok := cfg.topologyNode(r, keys)
			switch {
			case !ok:
				return nil, false
			case bridge:
				return bridgeEntry(r, &n), true
			}
			return managerEntry(&n), true
		}}
}

// connected reports whether the topology has a node: OpenDaylight's shows whoever has a session.
func (cfg *Config) connected(n *model.Node) bool {
	if !n.Approved || n.OVSUUID == "" {
		return false
	}
	if cfg.Online == nil {
		return n.Lost.IsZero()
	}
	return cfg.Online(n.ID)
}

// topologyNode finds whom a node-id of a topology names.
func (cfg *Config) topologyNode(r store.Reader, keys []string) (n model.Node, bridge, ok bool) {
	uuid, named := strings.CutPrefix(keys[1], nodePrefix)
	if keys[0] != ovsdbTopology || !named {
		return n, false, false
	}
	if uuid, name, is := strings.Cut(uuid, bridgeInfix); is {
		n, ok = tables.NodesByOVS.First(r, uuid)
		return n, true, ok && name == bridgeName && cfg.connected(&n)
	}
	n, ok = tables.NodesByOVS.First(r, uuid)
	return n, false, ok && uuid != "" && cfg.connected(&n)
}

func managerID(n *model.Node) string { return nodePrefix + n.OVSUUID }
func bridgeID(n *model.Node) string  { return managerID(n) + bridgeInfix + bridgeName }

// nodeRef is an instance identifier of an entry of ovsdb:1, as leaves that refer to one hold it.
func nodeRef(id string) string {
	return "/network-topology:network-topology/network-topology:topology[network-topology:topology-id='" + ovsdbTopology +
		"']/network-topology:node[network-topology:node-id='" + id + "']"
}

// managerEntry is the entry of a node's database. The address is the one it came from, which the old binding compares with the
// host's addresses.
func managerEntry(n *model.Node) map[string]any {
	ids := []map[string]any{}
	for _, pair := range [][2]string{{"hostname", n.Hostname}, {"system-id", n.SystemID}} {
		if pair[1] != "" {
			ids = append(ids, map[string]any{"external-id-key": pair[0], "external-id-value": pair[1]})
		}
	}
	configs := []map[string]any{}
	if n.LocalIP.IsValid() {
		configs = append(configs, map[string]any{"other-config-key": "local_ip", "other-config-value": n.LocalIP.String()})
	}
	out := map[string]any{
		"node-id":                    managerID(n),
		"ovsdb:connection-info":      map[string]any{"remote-ip": n.Source},
		"ovsdb:managed-node-entry":   []map[string]any{{"bridge-ref": nodeRef(bridgeID(n))}},
		"ovsdb:datapath-type-entry":  []map[string]any{{"datapath-type": datapathType(n)}},
		"ovsdb:interface-type-entry": interfaceTypes(),
	}
	if n.OVSVersion != "" {
		out["ovsdb:ovs-version"] = n.OVSVersion
	}
	if len(ids) > 0 {
		out["ovsdb:openvswitch-external-ids"] = ids
	}
	if len(configs) > 0 {
		out["ovsdb:openvswitch-other-configs"] = configs
	}
	return out
}

func datapathType(n *model.Node) string {
	if n.DatapathType == "netdev" {
		return "ovsdb:datapath-type-netdev"
	}
	return "ovsdb:datapath-type-system"
}

// interfaceTypes are those that nodes use for us. None is of vhost-user, so that the old binding chooses plain Open vSwitch.
func interfaceTypes() []map[string]any {
	out := []map[string]any{}
	for _, t := range []string{"internal", "patch", "system", "tap", "vxlan"} {
		out = append(out, map[string]any{"interface-type": "ovsdb:interface-type-" + t})
	}
	return out
}

// bridgeEntry is the entry of a node's integration bridge.
func bridgeEntry(r store.Reader, n *model.Node) map[string]any {
	out := map[string]any{
		"node-id":              bridgeID(n),
		"ovsdb:bridge-name":    bridgeName,
		"ovsdb:datapath-id":    colons(n.DatapathID()),
		"ovsdb:datapath-type":  datapathType(n),
		"ovsdb:fail-mode":      "ovsdb:ovsdb-fail-mode-secure",
		"ovsdb:managed-by":     nodeRef(managerID(n)),
		"ovsdb:protocol-entry": []map[string]any{{"protocol": "ovsdb:ovsdb-bridge-protocol-openflow-13"}},
	}
	var ports []any
	for i := range tables.InterfacesByNode.By(r, string(n.ID)) {
		ports = append(ports, portOfBridge(&i))
	}
	if len(ports) > 0 {
		out["termination-point"] = ports
	}
	return out
}

func portsOfBridge(cfg *Config) *node {
	return &node{module: "network-topology", name: "termination-point", keys: []string{"tp-id"},
		all: func(r store.Reader, above []string) (out []any) {
			if n, bridge, ok := cfg.topologyNode(r, above); ok && bridge {
				for i := range tables.InterfacesByNode.By(r, string(n.ID)) {
					out = append(out, portOfBridge(&i))
				}
			}
			return out
		},
		one: func(r store.Reader, keys []string) (map[string]any, bool) {
			n, bridge, ok := cfg.topologyNode(r, keys)
			if !ok || !bridge {
				return nil, false
			}
			i, ok := tables.Interfaces.Get(r, model.InterfaceKey(n.ID, keys[2]))
			return portOfBridge(&i), ok
		}}
}

func portOfBridge(i *model.Interface) map[string]any {
	out := map[string]any{"tp-id": i.Name, "ovsdb:name": i.Name}
	if i.OFPort > 0 {
		out["ovsdb:ofport"] = int(i.OFPort)
	}
	if i.MAC != "" {
		out["ovsdb:mac-in-use"] = i.MAC
	}
	if i.Type != "" {
		out["ovsdb:interface-type"] = "ovsdb:interface-type-" + i.Type
	}
	if i.IfaceID != "" {
		out["ovsdb:interface-external-ids"] = []map[string]any{{"external-id-key": "iface-id", "external-id-value": string(i.IfaceID)}}
	}
	return out
}

// colons is a datapath id as eight octets in hexadecimal.
func colons(id uint64) string {
	h := fmt.Sprintf("%016x", id)
	var out []string
	for i := 0; i < len(h); i += 2 {
		out = append(out, h[i:i+2])
	}
	return strings.Join(out, ":")
}
