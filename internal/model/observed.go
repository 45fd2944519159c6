// SPDX-License-Identifier: Apache-2.0

package model

import (
	"net/netip"
	"time"
)

// NodePlane is the data-plane part of a Node: what rules of this and of other nodes need to know of it.
type NodePlane struct {
	Key          Key               `json:"key"`                         // datapath id of br-int is derived from it
	LocalIP      netip.Addr        `json:"local_ip,omitzero"`           // tunnel address; zero: none reported yet
	Mappings     map[string]string `json:"provider_mappings,omitempty"` // physical network -> bridge
	DatapathType string            `json:"datapath_type,omitempty"`     // "netdev", or "" for the kernel's
}

// Node is a machine with an Open vSwitch that reported to us. It is persisted, so that a restart forgets no tunnel address.
type Node struct {
	ID NodeID `json:"id"`
	NodePlane
	OVSUUID    string    `json:"ovs_uuid"` // row uuid of its Open_vSwitch table, pinned at first contact
	Source     string    `json:"source"`   // address it came from, pinned at first contact
	Hostname   string    `json:"hostname,omitempty"`
	SystemID   string    `json:"system_id,omitempty"`
	OVSVersion string    `json:"ovs_version,omitempty"`
	Approved   bool      `json:"approved"`
	FirstSeen  time.Time `json:"first_seen"`
	// HostConfigs are what the node published for OpenStack's binding of ports: type, e.g. "ODL L2" -> configuration, verbatim.
	HostConfigs map[string]string `json:"host_configs,omitempty"`
	Lost        time.Time         `json:"lost,omitzero"` // since when it has counted as lost; zero: it does not
}

// DatapathID is the 64-bit OpenFlow datapath id that we give the node's br-int: it joins its OVSDB and OpenFlow sessions.
// The high bytes spell "na", the low four are the node's key.
func (n *NodePlane) DatapathID() uint64 { return 0x00006e61<<32 | uint64(n.Key) }

// Plug is the observed fact that an interface with a port's iface-id and an OpenFlow port number above 0 exists on a node.
// It is persisted. One per (node, port); a Plug on a node that the port is not bound to changes nothing and is reported.
type Plug struct {
	Node  NodeID    `json:"node"`
	Port  PortID    `json:"port"`
	Since time.Time `json:"since"`
}

// PlugKey is the store key of a Plug.
func PlugKey(n NodeID, p PortID) string { return string(n) + "|" + string(p) }

// Interface is what a node reports of one interface of its br-int. It is volatile: it is learned anew at each connection.
type Interface struct {
	Node      NodeID           `json:"node"`
	Name      string           `json:"name"`
	Type      string           `json:"type"`
	OFPort    uint32           `json:"ofport"`             // 0: none yet
	IfaceID   PortID           `json:"iface_id,omitempty"` // external_ids:iface-id
	MAC       string           `json:"mac_in_use,omitempty"`
	Attached  string           `json:"attached_mac,omitempty"`
	LinkState string           `json:"link_state,omitempty"`
	Error     string           `json:"error,omitempty"`
	Options   InterfaceOptions `json:"options,omitzero"`
}

// InterfaceOptions are those options of an Interface that say where it leads, as the node has them. There are others, secrets among them,
// which are not observed.
type InterfaceOptions struct {
	Key    string `json:"key,omitempty"`       // of a tunnel: "flow", or a number
	Local  string `json:"local_ip,omitempty"`  // of a tunnel
	Peer   string `json:"peer,omitempty"`      // of a patch port: the other end's name
	Remote string `json:"remote_ip,omitempty"` // of a tunnel: an address, or "flow"
}

// InterfaceKey is the store key of an Interface.
func InterfaceKey(n NodeID, name string) string { return string(n) + "|" + name }

// PortStatus is a port's observed status, persisted so that a restart neither forgets nor invents one.
type PortStatus struct {
	Port   PortID    `json:"port"`
	Status string    `json:"status"` // ACTIVE, DOWN, BUILD or ERROR
	Reason string    `json:"reason,omitempty"`
	Node   NodeID    `json:"node,omitempty"` // that serves it, of an ACTIVE gateway or floating IP
	Since  time.Time `json:"since"`
	// Ready are the hosts of inactive bindings on which the port is plugged and its flows are confirmed; in order.
	Ready []NodeID `json:"ready_hosts,omitempty"`
}

// Values of PortStatus.Status.
const (
	StatusActive = "ACTIVE"
	StatusDown   = "DOWN"
	StatusBuild  = "BUILD"
	StatusError  = "ERROR"
)
