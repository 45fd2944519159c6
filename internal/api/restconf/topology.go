// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/internal/yang"
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

	topologyPath = "network-topology:network-topology/topology"
	nodePath     = topologyPath + "/node"
)

// addTopology adds the sources below network-topology:network-topology.
func (t *tree) addTopology() {
	topologies := func(v *view) []string {
		if v.Switches == nil {
			return []string{netvirtTopology, ovsdbTopology}
		}
		return []string{flowTopology, netvirtTopology, ovsdbTopology}
	}
	topology := func(id string) *yang.Data { return t.entry(topologyPath).Leaf("topology-id", id) }
	t.add(topologyPath, source{has: nonconfig,
		all: func(v *view, _ []string) iter.Seq[*yang.Data] {
			return func(yield func(*yang.Data) bool) {
				for _, id := range topologies(v) {
					if !yield(topology(id)) {
						return
					}
				}
			}
		},
		one: func(v *view, keys []string) *yang.Data {
			if !slices.Contains(topologies(v), keys[0]) {
				return nil
			}
			return topology(keys[0])
		}})
	t.add(nodePath, source{has: nonconfig,
		all: func(v *view, above []string) iter.Seq[*yang.Data] {
			return func(yield func(*yang.Data) bool) {
				if above[0] == flowTopology {
					t.flowNodes(v)(yield)
				}
				if above[0] != ovsdbTopology {
					return
				}
				for _, n := range tables.Nodes.All(v.r) {
					if v.connected(&n) && (!yield(t.managerEntry(&n)) || !yield(t.bridgeEntry(&n))) {
						return
					}
				}
			}
		},
		one: func(v *view, keys []string) *yang.Data {
			if keys[0] == flowTopology {
				return t.flowNode(v, keys[1])
			}
			n, bridge, ok := v.topologyNode(v.r, keys)
			switch {
			case !ok:
				return nil
			case bridge:
				return t.bridgeEntry(&n)
			}
			return t.managerEntry(&n)
		}})
	t.add(nodePath+"/termination-point", source{has: nonconfig,
		all: func(v *view, above []string) iter.Seq[*yang.Data] {
			return func(yield func(*yang.Data) bool) {
				if above[0] == flowTopology {
					t.flowPorts(v, above[1])(yield)
				}
				n, bridge, ok := v.topologyNode(v.r, above)
				if !ok || !bridge {
					return
				}
				for i := range tables.InterfacesByNode.By(v.r, string(n.ID)) {
					if !yield(t.portOfBridge(&i)) {
						return
					}
				}
			}
		},
		one: func(v *view, keys []string) *yang.Data {
			if keys[0] == flowTopology {
				return t.flowPort(v, keys[1], keys[2])
			}
			n, bridge, ok := v.topologyNode(v.r, keys)
			if !ok || !bridge {
				return nil
			}
			i, ok := tables.Interfaces.Get(v.r, model.InterfaceKey(n.ID, keys[2]))
			if !ok {
				return nil
			}
			return t.portOfBridge(&i)
		}})
	t.addLinks()
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
	return "/network-topology:network-topology/topology[topology-id='" + ovsdbTopology + "']/node[node-id='" + id + "']"
}

// managerEntry is the entry of a node's database. The address is the one it came from, which the old binding compares with the
// host's addresses.
func (t *tree) managerEntry(n *model.Node) *yang.Data {
	d := t.entry(nodePath).Leaf("node-id", managerID(n))
	if n.Source != "" {
		d.Put("ovsdb:connection-info").Leaf("remote-ip", n.Source)
	}
	d.Put("ovsdb:managed-node-entry").Leaf("bridge-ref", nodeRef(bridgeID(n)))
	d.Put("ovsdb:datapath-type-entry").Leaf("datapath-type", datapathType(n))
	for _, kind := range interfaceTypes {
		d.Put("ovsdb:interface-type-entry").Leaf("interface-type", kind)
	}
	if n.OVSVersion != "" {
		d.Leaf("ovsdb:ovs-version", n.OVSVersion)
	}
	for _, pair := range [][2]string{{"hostname", n.Hostname}, {"system-id", n.SystemID}} {
		if pair[1] != "" {
			d.Put("ovsdb:openvswitch-external-ids").Leaf("external-id-key", pair[0]).Leaf("external-id-value", pair[1])
		}
	}
	if n.LocalIP.IsValid() {
		d.Put("ovsdb:openvswitch-other-configs").Leaf("other-config-key", "local_ip").Leaf("other-config-value", n.LocalIP.String())
	}
	return d
}

func datapathType(n *model.Node) string {
	if n.DatapathType == "netdev" {
		return "ovsdb:datapath-type-netdev"
	}
	return "ovsdb:datapath-type-system"
}

// interfaceTypes are those that nodes use for us. None is of vhost-user, so that the old binding chooses plain Open vSwitch.
var interfaceTypes = []string{"ovsdb:interface-type-internal", "ovsdb:interface-type-patch", "ovsdb:interface-type-system", "ovsdb:interface-type-tap", "ovsdb:interface-type-vxlan"}

// bridgeEntry is the entry of a node's integration bridge, without its ports.
func (t *tree) bridgeEntry(n *model.Node) *yang.Data {
	d := t.entry(nodePath).Leaf("node-id", bridgeID(n)).Leaf("ovsdb:bridge-name", bridgeName).Leaf("ovsdb:datapath-id", colons(n.DatapathID())).
		Leaf("ovsdb:datapath-type", datapathType(n)).Leaf("ovsdb:fail-mode", "ovsdb:ovsdb-fail-mode-secure").Leaf("ovsdb:managed-by", nodeRef(managerID(n)))
	d.Put("ovsdb:protocol-entry").Leaf("protocol", "ovsdb:ovsdb-bridge-protocol-openflow-13")
	return d
}

func (t *tree) portOfBridge(i *model.Interface) *yang.Data {
	d := t.entry(nodePath+"/termination-point").Leaf("tp-id", i.Name).Leaf("ovsdb:name", i.Name)
	if i.OFPort > 0 {
		d.Leaf("ovsdb:ofport", strconv.Itoa(int(i.OFPort)))
	}
	if i.MAC != "" {
		d.Leaf("ovsdb:mac-in-use", i.MAC)
	}
	if kind := "ovsdb:interface-type-" + i.Type; i.Type != "" && t.schema.DerivedFrom(kind, "ovsdb:interface-type-base", false) {
		d.Leaf("ovsdb:interface-type", kind)
	}
	for _, o := range [][2]string{{"key", i.Options.Key}, {"local_ip", i.Options.Local}, {"peer", i.Options.Peer}, {"remote_ip", i.Options.Remote}} {
		if o[1] != "" {
			d.Put("ovsdb:options").Leaf("option", o[0]).Leaf("value", o[1])
		}
	}
	if i.IfaceID != "" {
		d.Put("ovsdb:interface-external-ids").Leaf("external-id-key", "iface-id").Leaf("external-id-value", string(i.IfaceID))
	}
	return d
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
