// SPDX-License-Identifier: Apache-2.0

package model

import (
	"net/netip"
	"time"
)

// Std are the attributes that every API object carries besides its own.
type Std struct {
	Project     ProjectID `json:"project_id"`
	Name        string    `json:"name"`
	Description string    `json:"description,omitempty"`
	Tags        []string  `json:"tags,omitempty"`
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
	RevisionNo  int       `json:"revision_number"`
}

// NetworkType says how a network's frames travel between nodes (Neutron's provider:network_type).
type NetworkType string

const (
	VXLAN  NetworkType = "vxlan"
	VLAN   NetworkType = "vlan"
	Flat   NetworkType = "flat"
	Geneve NetworkType = "geneve"
	GRE    NetworkType = "gre"
	Local  NetworkType = "local"
)

// Tunnelled reports whether frames of the type travel between nodes inside an overlay tunnel.
func (t NetworkType) Tunnelled() bool { return t == VXLAN || t == Geneve || t == GRE }

// NetworkPlane is the data-plane part of a Network.
type NetworkPlane struct {
	Key             Key         `json:"key"`
	Type            NetworkType `json:"network_type"`
	PhysicalNetwork string      `json:"physical_network,omitempty"`
	SegmentationID  uint32      `json:"segmentation_id,omitempty"`
	MTU             int         `json:"mtu"`
	AdminStateUp    bool        `json:"admin_state_up"`
	External        bool        `json:"router_external,omitempty"`
	QosPolicy       QosPolicyID `json:"qos_policy_id,omitempty"` // of its ports that name none and are no devices of the network
	Segments        []Wire      `json:"segments,omitempty"`      // all, in order, of a network that has several; the first is the one above
}

// Network is a layer-2 segment of a tenant.
type Network struct {
	ID NetworkID `json:"id"`
	Std
	NetworkPlane
	IsDefault           bool     `json:"is_default,omitempty"`
	PortSecurityEnabled bool     `json:"port_security_enabled"` // the default for new ports
	DNSDomain           string   `json:"dns_domain,omitempty"`
	AvailabilityHints   []string `json:"availability_zone_hints,omitempty"`
	DHCPNode            NodeID   `json:"dhcp_node,omitempty"` // that an administrator chose for its DHCP port; "": any
}

// Route is a destination prefix and its next hop.
type Route struct {
	Destination netip.Prefix `json:"destination"`
	NextHop     netip.Addr   `json:"nexthop"`
}

// AddrRange is a closed interval of addresses of one family.
type AddrRange struct {
	Start netip.Addr `json:"start"`
	End   netip.Addr `json:"end"`
}

// Contains reports whether a lies in the range.
func (r AddrRange) Contains(a netip.Addr) bool {
	return a.BitLen() == r.Start.BitLen() && r.Start.Compare(a) <= 0 && a.Compare(r.End) <= 0
}

// SubnetPlane is the data-plane part of a Subnet.
type SubnetPlane struct {
	Key             Key          `json:"key"`
	Network         NetworkID    `json:"network_id"`
	CIDR            netip.Prefix `json:"cidr"`
	Gateway         netip.Addr   `json:"gateway_ip,omitzero"` // zero: none
	EnableDHCP      bool         `json:"enable_dhcp"`
	DNSNameservers  []netip.Addr `json:"dns_nameservers,omitempty"`
	HostRoutes      []Route      `json:"host_routes,omitempty"`
	IPv6RAMode      string       `json:"ipv6_ra_mode,omitempty"`
	IPv6AddressMode string       `json:"ipv6_address_mode,omitempty"`
	Segment         SegmentID    `json:"segment_id,omitempty"` // of a routed network's: where its addresses work
}

// Subnet is a block of addresses of a Network.
type Subnet struct {
	ID SubnetID `json:"id"`
	Std
	SubnetPlane
	AllocationPools []AddrRange  `json:"allocation_pools"`
	ServiceTypes    []string     `json:"service_types,omitempty"`
	Pool            SubnetPoolID `json:"subnetpool_id,omitempty"` // that its prefix was taken from
	PublishDNS      bool         `json:"dns_publish_fixed_ip,omitempty"`
}

// IPVersion is 4 or 6.
func (s *SubnetPlane) IPVersion() int {
	if s.CIDR.Addr().Is4() {
		return 4
	}
	return 6
}

// Device owners that rules and services look at (Neutron's device_owner).
const (
	OwnerDHCP            = "network:dhcp"
	OwnerRouterInterface = "network:router_interface"
	OwnerRouterGateway   = "network:router_gateway"
	OwnerFloatingIP      = "network:floatingip"
	OwnerLocalIP         = "network:local_ip" // the port that holds the address of a LocalIP and is nowhere
	OwnerComputePrefix   = "compute:"
)

// FixedIP is one address of a Port on one Subnet.
type FixedIP struct {
	Subnet SubnetID   `json:"subnet_id"`
	Addr   netip.Addr `json:"ip_address"`
}

// AddressPair lets a port send as an address that is not its own. A zero MAC means the port's.
type AddressPair struct {
	MAC    MAC          `json:"mac_address,omitzero"`
	Prefix netip.Prefix `json:"ip_address"`
}

// PortPlane is the data-plane part of a Port.
type PortPlane struct {
	Key            Key               `json:"key"`
	Network        NetworkID         `json:"network_id"`
	MAC            MAC               `json:"mac_address"`
	FixedIPs       []FixedIP         `json:"fixed_ips"`
	AdminStateUp   bool              `json:"admin_state_up"`
	DeviceOwner    string            `json:"device_owner"`
	Router         RouterID          `json:"router_id,omitempty"`       // whose interface or gateway it is, from its device_id
	Host           NodeID            `json:"binding_host_id,omitempty"` // where the port lives; empty: nowhere yet
	Standby        []NodeID          `json:"standby_hosts,omitempty"`   // where it lives too, by its inactive bindings; in order
	PortSecurity   bool              `json:"port_security_enabled"`
	SecurityGroups []SecurityGroupID `json:"security_groups"`
	GroupSet       Key               `json:"group_set,omitempty"` // allocated: of SecurityGroups as a set; 0 for none
	AllowedPairs   []AddressPair     `json:"allowed_address_pairs,omitempty"`
	QosPolicy      QosPolicyID       `json:"qos_policy_id,omitempty"`   // its own; empty: its network's
	Parent         PortID            `json:"trunk_parent,omitempty"`    // of the trunk that carries it, whose interface is its own; its Host is the parent's
	VLAN           uint16            `json:"segmentation_id,omitempty"` // tag of its frames at the parent's interface, with Parent
}

// IsDHCP reports whether the port is a network's DHCP server.
func (p *PortPlane) IsDHCP() bool { return p.DeviceOwner == OwnerDHCP }

// IsFiltered reports whether anti-spoofing and security groups apply to the port. The network's own services are trusted.
func (p *PortPlane) IsFiltered() bool { return p.PortSecurity && !p.IsDHCP() }

// IsCompute reports whether an instance owns the port.
func (p *PortPlane) IsCompute() bool {
	return len(p.DeviceOwner) >= len(OwnerComputePrefix) && p.DeviceOwner[:len(OwnerComputePrefix)] == OwnerComputePrefix
}

// Port is a plug of a Network.
type Port struct {
	ID PortID `json:"id"`
	Std
	PortPlane
	DeviceID              string         `json:"device_id"`
	VNICType              string         `json:"binding_vnic_type"`
	Profile               map[string]any `json:"binding_profile,omitempty"`
	Bindings              []Binding      `json:"bindings,omitempty"` // the inactive ones; Standby follows from them
	DHCPOpts              []DHCPOpt      `json:"extra_dhcp_opts,omitempty"`
	DNSName               string         `json:"dns_name,omitempty"`
	DNSDomain             string         `json:"dns_domain,omitempty"`
	PropagateUplinkStatus bool           `json:"propagate_uplink_status,omitempty"`
	Unaddressed           bool           `json:"unaddressed,omitempty"` // it was created to have no addresses
	Trusted               *bool          `json:"trusted,omitempty"`     // this and the next three are for Nova alone
	NUMAPolicy            string         `json:"numa_affinity_policy,omitempty"`
	DeviceProfile         string         `json:"device_profile,omitempty"`
	DataPlaneStatus       string         `json:"data_plane_status,omitempty"`
	Deferred              bool           `json:"deferred,omitempty"`     // it gets addresses once its host is known
	RemovedFrom           NodeID         `json:"removed_from,omitempty"` // of a DHCP port on no node: where an administrator does not want it
}

// DHCPOpt is an extra DHCP option of a port; Version is 4 or 6.
type DHCPOpt struct {
	Name    string `json:"opt_name"`
	Value   string `json:"opt_value"`
	Version int    `json:"ip_version"`
}

// SecurityGroupPlane is the data-plane part of a SecurityGroup.
type SecurityGroupPlane struct {
	Stateful bool `json:"stateful"`
}

// SecurityGroup is a named set of rules that ports wear. A project's default group has Default set.
type SecurityGroup struct {
	ID SecurityGroupID `json:"id"`
	Std
	SecurityGroupPlane
	Default bool `json:"default,omitempty"`
}

// Direction of a rule, seen from the instance.
type Direction string

const (
	Ingress Direction = "ingress"
	Egress  Direction = "egress"
)

// Ethertypes of rules.
const (
	EtherIPv4 = "IPv4"
	EtherIPv6 = "IPv6"
)

// RulePlane is the data-plane part of a SecurityGroupRule. PortMin and PortMax are nil for any; for ICMP they are type and
// code. Protocol is as the API took it: a name, a number in text, or "" for any.
type RulePlane struct {
	Key                Key             `json:"key"`
	Group              SecurityGroupID `json:"security_group_id"`
	Direction          Direction       `json:"direction"`
	Ethertype          string          `json:"ethertype"`
	Protocol           string          `json:"protocol,omitempty"`
	PortMin            *int            `json:"port_range_min,omitempty"`
	PortMax            *int            `json:"port_range_max,omitempty"`
	RemotePrefix       netip.Prefix    `json:"remote_ip_prefix,omitzero"`
	RemoteGroup        SecurityGroupID `json:"remote_group_id,omitempty"`
	RemoteAddressGroup AddressGroupID  `json:"remote_address_group_id,omitempty"`
}

// RemoteSet is the id of the group or address group whose addresses the rule allows; "" if it names none.
func (r *RulePlane) RemoteSet() string {
	if r.RemoteGroup != "" {
		return string(r.RemoteGroup)
	}
	return string(r.RemoteAddressGroup)
}

// AddressGroupPlane is the data-plane part of an AddressGroup.
type AddressGroupPlane struct {
	Addresses []netip.Prefix `json:"addresses"` // of both families, masked, sorted, distinct
}

// AddressGroup is a named set of prefixes that rules may allow.
type AddressGroup struct {
	ID AddressGroupID `json:"id"`
	Std
	AddressGroupPlane
}

// SecurityGroupRule allows one kind of traffic for the wearers of its group.
type SecurityGroupRule struct {
	ID SecurityGroupRuleID `json:"id"`
	Std
	RulePlane
}
