// SPDX-License-Identifier: Apache-2.0

package model

import (
	"net/netip"
	"slices"
	"time"
)

// RouterPlane is the data-plane part of a Router. Its interfaces and its gateway are ports (PortPlane.Router names it).
type RouterPlane struct {
	Key          Key         `json:"key"`
	AdminStateUp bool        `json:"admin_state_up"`
	GatewayPort  PortID      `json:"gateway_port,omitempty"` // its port on an external network; "": none
	EnableSNAT   bool        `json:"enable_snat"`
	Routes       []Route     `json:"routes,omitempty"`
	NDPProxying  bool        `json:"enable_ndp_proxy,omitempty"`      // it may speak for addresses of instances on the external network
	GatewayQos   QosPolicyID `json:"gateway_qos_policy_id,omitempty"` // of the gateway's address
	GatewayNode  NodeID      `json:"gateway_node,omitempty"`          // that an administrator chose for the gateway; "": any

	GatewayRemoved NodeID `json:"gateway_removed,omitempty"` // of a gateway on no node: where an administrator does not want it
}

// Router joins networks of a tenant, and these with an external one.
type Router struct {
	ID RouterID `json:"id"`
	Std
	RouterPlane
	AvailabilityHints []string `json:"availability_zone_hints,omitempty"`
	Flavor            FlavorID `json:"flavor_id,omitempty"`
}

// FloatingIPPlane is the data-plane part of a FloatingIP.
type FloatingIPPlane struct {
	Key       Key         `json:"key"`
	Network   NetworkID   `json:"floating_network_id"`
	Addr      netip.Addr  `json:"floating_ip_address"`
	FloatPort PortID      `json:"floating_port"`             // holds the address on the external network
	Port      PortID      `json:"port_id,omitempty"`         // whose address it stands for; "": nobody's
	Fixed     netip.Addr  `json:"fixed_ip_address,omitzero"` // which of them
	Router    RouterID    `json:"router_id,omitempty"`
	QosPolicy QosPolicyID `json:"qos_policy_id,omitempty"`
	Meter     Key         `json:"meter,omitempty"` // its place among the meters of floating IPs, if a policy holds for it
}

// FloatingIP is an external address that stands for a fixed one.
type FloatingIP struct {
	ID FloatingIPID `json:"id"`
	Std
	FloatingIPPlane
	DNSName   string `json:"dns_name,omitempty"`
	DNSDomain string `json:"dns_domain,omitempty"`
}

// Gateway says which node carries a router's traffic with its external network: one at every instant.
type Gateway struct {
	Router   RouterID  `json:"router"`
	Node     NodeID    `json:"node"`
	Physical string    `json:"physical_network"` // for which the node was a candidate
	Since    time.Time `json:"since"`
}

// Neighbour is the link address of a next hop on an external network, as a gateway node observed it. It is persisted: flows
// depend on it.
type Neighbour struct {
	Network NetworkID  `json:"network"`
	Addr    netip.Addr `json:"addr"`
	MAC     MAC        `json:"mac"`
	Since   time.Time  `json:"since"`
}

// NeighbourKey is the store key of a Neighbour.
func NeighbourKey(n NetworkID, a netip.Addr) string { return string(n) + "|" + a.String() }

// routerOwners are the device owners of routers' ports (Neutron's DEVICE_OWNER_ROUTER_*).
var routerOwners = []string{OwnerRouterInterface, OwnerRouterGateway, "network:router_interface_distributed", "network:ha_router_replicated_interface"}

// IsRouterPort reports whether the port is an interface or the gateway of a router.
func (p *PortPlane) IsRouterPort() bool { return slices.Contains(routerOwners, p.DeviceOwner) }

// IsRouterInterface reports whether the port joins a tenant's network to a router.
func (p *PortPlane) IsRouterInterface() bool {
	return p.IsRouterPort() && p.DeviceOwner != OwnerRouterGateway
}
