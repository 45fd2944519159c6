// SPDX-License-Identifier: Apache-2.0

// Package responder answers packets that the network itself has to answer.
//
// It is pure: a Network (what the server knows about one tenant network) and a
// frame go in, at most one frame comes out. It holds no state between packets,
// reads no clock and does no I/O, so the same answers can be given from a raw
// socket on a node (internal/nodedhcp) or from a packet-in. Input is whatever a
// guest chose to send: anything malformed, foreign or not understood gets no
// answer, and nothing panics.
//
// Answered are DHCPv4 (RFC 2131, 2132, 3442, 6842) from static reservations,
// ARP for the server's addresses (RFC 826) and ICMP echo to them (RFC 792).
package responder

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"nagare/internal/responder/dhcpopt"
)

// MAC is an Ethernet address as a comparable value.
type MAC [6]byte

// Broadcast is the Ethernet broadcast address.
var Broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// ParseMAC reads "fa:16:3e:ef:85:07".
func ParseMAC(s string) (MAC, error) {
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != 6 {
		return MAC{}, fmt.Errorf("mac %q: not an Ethernet address", s)
	}
	return MAC(hw), nil
}

func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// Network is one tenant network as its DHCP port sees it. It must not be
// changed once it answers packets.
type Network struct {
	MAC     MAC    // of the server
	MTU     uint16 // octets, sent as option 26; 0 leaves the option out
	Domain  string // option 15; empty leaves it out
	Subnets []Subnet
	Hosts   map[MAC][]Host // reservations; a MAC may hold several addresses
}

// Subnet is one IPv4 subnet in which the server has an address.
type Subnet struct {
	Server  netip.Addr // the server's own address: server identifier, ARP, ICMP
	Prefix  netip.Prefix
	Gateway netip.Addr // invalid: clients get no router
	DNS     []netip.Addr
	Routes  []Route // further routes; with any of them option 121 is sent
	Lease   time.Duration
}

// Route is a classless static route (RFC 3442).
type Route struct {
	Destination netip.Prefix
	NextHop     netip.Addr
}

// Host is a reservation.
type Host struct {
	IP   netip.Addr
	Name string // option 12; empty leaves it out
	// Options go over the network's own of the same code. Reserved ones are left out.
	Options []dhcpopt.Option
}

// serves reports whether ip is an address of the server.
func (n *Network) serves(ip netip.Addr) bool {
	for i := range n.Subnets {
		if n.Subnets[i].Server == ip {
			return true
		}
	}
	return false
}

// subnetOf returns the subnet that contains ip, or nil.
func (n *Network) subnetOf(ip netip.Addr) *Subnet {
	for i := range n.Subnets {
		if n.Subnets[i].Prefix.Contains(ip) {
			return &n.Subnets[i]
		}
	}
	return nil
}

// leases returns the host's addresses that lie in a served subnet.
func (n *Network) leases(mac MAC) []lease {
	var out []lease
	for _, h := range n.Hosts[mac] {
		if s := n.subnetOf(h.IP); s != nil && h.IP.Is4() && s.Server.Is4() {
			out = append(out, lease{host: h, subnet: s})
		}
	}
	return out
}

// lease is a reservation together with the subnet that it lies in.
type lease struct {
	host   Host
	subnet *Subnet
}
