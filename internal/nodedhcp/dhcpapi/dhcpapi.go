// SPDX-License-Identifier: Apache-2.0

// Package dhcpapi is the JSON that passes between the server's admin API and
// the DHCP process of a network node.
//
// It holds types only and imports nothing but the standard library, so that
// both sides can share it. The server writes a Config, internal/nodedhcp reads
// it. Addresses are text on the wire (netip values marshal to their usual
// form); a reader ignores fields that it does not know.
//
//	GET /nagare/v1/dhcp?node=NAME&after=REV
//
// The answer is the newest Config of the node. When its revision is not above
// REV the server holds the request until there is a newer one or about 30 s
// have passed, and then answers with what it has, or 504. Without "after" it answers at
// once.
package dhcpapi

import "net/netip"

// Path is where the server serves the configuration of a node.
const Path = "/nagare/v1/dhcp"

// Config is everything that one network node has to serve, as of Revision.
// It is complete: a port that is absent is no longer served.
type Config struct {
	Revision uint64 `json:"revision"`
	Ports    []Port `json:"ports"`
}

// Port is one DHCP port (device_owner network:dhcp) that lives on the node as
// an interface of br-int.
type Port struct {
	PortID    string    `json:"port_id"`
	NetworkID string    `json:"network_id"`
	Tap       string    `json:"tap"` // interface name, "tap" and the port id's first 11 characters
	MAC       string    `json:"mac"` // of the port, "fa:16:3e:ef:85:07"
	MTU       int       `json:"mtu"` // octets, sent as option 26; 0 leaves the option out
	Domain    string    `json:"domain"`
	Addresses []Address `json:"addresses"`
	Hosts     []Host    `json:"hosts"`
}

// Address is the server's own address in one subnet of the network, with what
// clients of that subnet are told.
type Address struct {
	IP           netip.Addr   `json:"ip"`
	SubnetID     string       `json:"subnet_id"`
	CIDR         netip.Prefix `json:"cidr"`
	Gateway      netip.Addr   `json:"gateway"` // the zero Addr ("" on the wire): no router
	DNS          []netip.Addr `json:"dns"`
	Routes       []Route      `json:"routes"`
	LeaseSeconds uint32       `json:"lease_seconds"`
}

// Route is a classless static route (option 121) besides the gateway's.
type Route struct {
	Destination netip.Prefix `json:"destination"`
	NextHop     netip.Addr   `json:"nexthop"`
}

// Host is one reservation: the interface with this MAC gets this address.
type Host struct {
	MAC      string     `json:"mac"`
	IP       netip.Addr `json:"ip"`
	Hostname string     `json:"hostname"`
	Options  []Option   `json:"options,omitempty"` // go over the network's own of the same code
}

// Option is a DHCPv4 option as it is on the wire. Code 255 is none: its data is the header's siaddr. A router (3) or routes (121,
// 249) without data say that the host gets none.
type Option struct {
	Code uint8  `json:"code"`
	Data []byte `json:"data,omitempty"`
}
