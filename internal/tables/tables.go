// SPDX-License-Identifier: Apache-2.0

// Package tables declares nagare's tables: which models are stored under which name, how they are indexed, and the derived
// tables that join them (who is plugged where, which node hosts which network).
//
// Invariants: names of persistent tables never change (they are keys in the durable log). Derived tables are joins that many
// rules need and that no rule may compute by walking ports. A port is *located* on a node when it is bound to that node, actively
// or not, an interface with its iface-id (for a sub-port, that of its trunk's parent) is plugged there, and it is
// administratively up; the same iface-id anywhere else changes nothing.
//
// Callers: API adapters and southbound sessions write through the tables, internal/netvirt reads them, internal/app creates
// the store from Schema.
package tables

import (
	"net/netip"
	"strconv"
	"strings"

	"nagare/internal/model"
	"nagare/internal/store"
)

// Schema holds every table of nagare.
var Schema = store.NewSchema()

// Intent.
var (
	Networks = store.Declare[model.NetworkID, model.Network](Schema, "networks", store.Intent).
			Plane(func(n model.Network) any { return n.NetworkPlane })
	Subnets = store.Declare[model.SubnetID, model.Subnet](Schema, "subnets", store.Intent).
		Plane(func(s model.Subnet) any { return s.SubnetPlane })
	Ports = store.Declare[model.PortID, model.Port](Schema, "ports", store.Intent).
		Plane(func(p model.Port) any { return p.PortPlane })
	SecurityGroups = store.Declare[model.SecurityGroupID, model.SecurityGroup](Schema, "security-groups", store.Intent).
			Plane(func(g model.SecurityGroup) any { return g.SecurityGroupPlane })
	Rules = store.Declare[model.SecurityGroupRuleID, model.SecurityGroupRule](Schema, "security-group-rules", store.Intent).
		Plane(func(r model.SecurityGroupRule) any { return r.RulePlane })
)

// More intent.
var (
	AddressGroups = store.Declare[model.AddressGroupID, model.AddressGroup](Schema, "address-groups", store.Intent).
		Plane(func(g model.AddressGroup) any { return g.AddressGroupPlane })
)

// Allocated. Only internal/alloc writes them.
var (
	// Slots are places of ports and of routers' gateways on nodes; key model.SlotKey.
	Slots = store.Declare[string, model.Slot](Schema, "slots", store.Allocated)
	// GroupSets are the sets of security groups that ports wear; key KeyText of the set's key.
	GroupSets = store.Declare[string, model.GroupSet](Schema, "group-sets", store.Allocated)
	// FormerSets are the sets that ports wore until lately.
	FormerSets = store.Declare[model.PortID, model.FormerSet](Schema, "former-group-sets", store.Allocated)
)

// Observed.
var (
	Nodes = store.Declare[model.NodeID, model.Node](Schema, "nodes", store.Observed).
		Plane(func(n model.Node) any { return n.NodePlane })
	Plugs    = store.Declare[string, model.Plug](Schema, "plugs", store.Observed).Plane(func(p model.Plug) any { return struct{}{} })
	Statuses = store.Declare[model.PortID, model.PortStatus](Schema, "port-statuses", store.Observed)

	Interfaces = store.Declare[string, model.Interface](Schema, "interfaces", store.Volatile)
)

// Indices. Keys composed of several values join them with "|".
var (
	NetworksByName    = store.DeclareIndex(Schema, Networks, "name", func(n model.Network) []string { return []string{n.Name} })
	NetworksByProject = store.DeclareIndex(Schema, Networks, "project", func(n model.Network) []string { return []string{string(n.Project)} })
	// NetworksBySegment finds who uses a segmentation id: type|physical network|id.
	NetworksBySegment = store.DeclareIndex(Schema, Networks, "segment", func(n model.Network) []string {
		return mapDistinct(n.Wires(), func(w model.Wire) string { return SegmentKey(w.Type, w.PhysicalNetwork, w.SegmentationID) })
	})

	SubnetsByNetwork = store.DeclareIndex(Schema, Subnets, "network", func(s model.Subnet) []string { return []string{string(s.Network)} })
	SubnetsByName    = store.DeclareIndex(Schema, Subnets, "name", func(s model.Subnet) []string { return []string{s.Name} })
	SubnetsByProject = store.DeclareIndex(Schema, Subnets, "project", func(s model.Subnet) []string { return []string{string(s.Project)} })

	PortsByNetwork = store.DeclareIndex(Schema, Ports, "network", func(p model.Port) []string { return []string{string(p.Network)} })
	PortsByName    = store.DeclareIndex(Schema, Ports, "name", func(p model.Port) []string { return []string{p.Name} })
	PortsByProject = store.DeclareIndex(Schema, Ports, "project", func(p model.Port) []string { return []string{string(p.Project)} })
	PortsByDevice  = store.DeclareIndex(Schema, Ports, "device", func(p model.Port) []string { return []string{p.DeviceID} })
	PortsByHost    = store.DeclareIndex(Schema, Ports, "host", func(p model.Port) []string { return []string{string(p.Host)} })
	// PortsByMAC finds the owner of an address on a network: network|mac.
	PortsByMAC = store.DeclareIndex(Schema, Ports, "mac", func(p model.Port) []string {
		return []string{string(p.Network) + "|" + p.MAC.String()}
	})
	// PortsByAddress finds the owner of an address on a network: network|address.
	PortsByAddress = store.DeclareIndex(Schema, Ports, "address", func(p model.Port) []string {
		return mapDistinct(p.FixedIPs, func(f model.FixedIP) string { return AddressKey(p.Network, f.Addr) })
	})
	PortsBySubnet = store.DeclareIndex(Schema, Ports, "subnet", func(p model.Port) []string {
		return mapDistinct(p.FixedIPs, func(f model.FixedIP) string { return string(f.Subnet) })
	})
	PortsByGroup = store.DeclareIndex(Schema, Ports, "security-group", func(p model.Port) []string {
		return mapDistinct(p.SecurityGroups, func(g model.SecurityGroupID) string { return string(g) })
	})
	// DHCPPortsByNetwork finds a network's DHCP ports.
	DHCPPortsByNetwork = store.DeclareIndex(Schema, Ports, "dhcp-network", func(p model.Port) []string {
		if !p.IsDHCP() {
			return nil
		}
		return []string{string(p.Network)}
	})
	// DHCPPortsBySubnet finds the DHCP ports with an address of a subnet.
	DHCPPortsBySubnet = store.DeclareIndex(Schema, Ports, "dhcp-subnet", func(p model.Port) []string {
		if !p.IsDHCP() {
			return nil
		}
		return mapDistinct(p.FixedIPs, func(f model.FixedIP) string { return string(f.Subnet) })
	})

	GroupsByProject = store.DeclareIndex(Schema, SecurityGroups, "project", func(g model.SecurityGroup) []string { return []string{string(g.Project)} })
	GroupsByName    = store.DeclareIndex(Schema, SecurityGroups, "name", func(g model.SecurityGroup) []string { return []string{g.Name} })
	// DefaultGroups finds a project's default group.
	DefaultGroups = store.DeclareIndex(Schema, SecurityGroups, "default", func(g model.SecurityGroup) []string {
		if !g.Default {
			return nil
		}
		return []string{string(g.Project)}
	})
	RulesByGroup       = store.DeclareIndex(Schema, Rules, "group", func(r model.SecurityGroupRule) []string { return []string{string(r.Group)} })
	RulesByRemoteGroup = store.DeclareIndex(Schema, Rules, "remote-group", func(r model.SecurityGroupRule) []string {
		if r.RemoteGroup == "" {
			return nil
		}
		return []string{string(r.RemoteGroup)}
	})
	// RulesByRemoteSet finds the rules that allow the addresses of a group or of an address group.
	RulesByRemoteSet = store.DeclareIndex(Schema, Rules, "remote-set", func(r model.SecurityGroupRule) []string {
		if r.RemoteSet() == "" {
			return nil
		}
		return []string{r.RemoteSet()}
	})
	AddressGroupsByProject = store.DeclareIndex(Schema, AddressGroups, "project", func(g model.AddressGroup) []string { return []string{string(g.Project)} })
	AddressGroupsByName    = store.DeclareIndex(Schema, AddressGroups, "name", func(g model.AddressGroup) []string { return []string{g.Name} })
	RulesByProject         = store.DeclareIndex(Schema, Rules, "project", func(r model.SecurityGroupRule) []string { return []string{string(r.Project)} })

	// PortsByGroupSet finds the ports that wear a set of groups: KeyText of its key.
	PortsByGroupSet = store.DeclareIndex(Schema, Ports, "group-set", func(p model.Port) []string {
		if p.GroupSet == 0 {
			return nil
		}
		return []string{KeyText(p.GroupSet)}
	})
	// FormerSetsBySet finds the ports that wore a set until lately: KeyText of its key.
	FormerSetsBySet = store.DeclareIndex(Schema, FormerSets, "set", func(f model.FormerSet) []string { return []string{KeyText(f.Set)} })
	// GroupSetsByGroups finds a set by its groups: GroupSetText.
	GroupSetsByGroups = store.DeclareIndex(Schema, GroupSets, "groups", func(s model.GroupSet) []string { return []string{GroupSetText(s.Groups)} })
	// SlotsByPort finds the slot that a port has on a node: model.PlugKey. A slot that it had is not found.
	SlotsByPort = store.DeclareIndex(Schema, Slots, "port", func(s model.Slot) []string {
		if !s.Used() || s.Port == "" {
			return nil
		}
		return []string{model.PlugKey(s.Node, s.Port)}
	})
	// SlotsByRouter finds the slot that a router has on its gateway node: RouterSlotKey.
	SlotsByRouter = store.DeclareIndex(Schema, Slots, "router", func(s model.Slot) []string {
		if !s.Used() || s.Router == "" {
			return nil
		}
		return []string{RouterSlotKey(s.Node, s.Router)}
	})
	// DirtySlots finds the slots of a node that wait for their zone to be flushed.
	DirtySlots = store.DeclareIndex(Schema, Slots, "dirty", func(s model.Slot) []string {
		if s.Used() {
			return nil
		}
		return []string{string(s.Node)}
	})

	NodesBySource = store.DeclareIndex(Schema, Nodes, "source", func(n model.Node) []string { return []string{n.Source} })
	NodesByOVS    = store.DeclareIndex(Schema, Nodes, "ovs", func(n model.Node) []string { return []string{n.OVSUUID} })

	PlugsByPort = store.DeclareIndex(Schema, Plugs, "port", func(p model.Plug) []string { return []string{string(p.Port)} })
	PlugsByNode = store.DeclareIndex(Schema, Plugs, "node", func(p model.Plug) []string { return []string{string(p.Node)} })

	InterfacesByNode = store.DeclareIndex(Schema, Interfaces, "node", func(i model.Interface) []string { return []string{string(i.Node)} })
	// InterfacesByIface finds a port's interface on a node: node|port.
	InterfacesByIface = store.DeclareIndex(Schema, Interfaces, "iface", func(i model.Interface) []string {
		if i.IfaceID == "" || i.OFPort == 0 {
			return nil
		}
		return []string{model.PlugKey(i.Node, i.IfaceID)}
	})
)

// KeyText is the text of a key where keys are records' or indices' keys.
func KeyText(k model.Key) string { return strconv.FormatUint(uint64(k), 36) }

// GroupSetText is the key of GroupSetsByGroups.
func GroupSetText(groups []model.SecurityGroupID) string {
	var b strings.Builder
	for _, g := range groups {
		b.WriteString(string(g))
		b.WriteByte(' ')
	}
	return b.String()
}

// RouterSlotKey is the key of SlotsByRouter.
func RouterSlotKey(n model.NodeID, id model.RouterID) string { return string(n) + "|" + string(id) }

// SegmentKey is the key of NetworksBySegment.
func SegmentKey(t model.NetworkType, physnet string, id uint32) string {
	return string(t) + "|" + physnet + "|" + itoa(id)
}

// AddressKey is the key of PortsByAddress.
func AddressKey(n model.NetworkID, a netip.Addr) string { return string(n) + "|" + a.String() }
