// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"net/netip"
)

// PortForwardingID is the id of a port forwarding.
type PortForwardingID string

// PortRange is a range of ports of TCP or UDP, both ends included.
type PortRange struct {
	From uint16 `json:"from"`
	To   uint16 `json:"to"`
}

// Size is the number of ports.
func (r PortRange) Size() int { return int(r.To) - int(r.From) + 1 }

// Overlaps reports whether the ranges have a port in common.
func (r PortRange) Overlaps(o PortRange) bool { return r.From <= o.To && o.From <= r.To }

func (r PortRange) String() string { return fmt.Sprintf("%d:%d", r.From, r.To) }

// ForwardingPlane is the data-plane part of a PortForwarding. Its Key is another one after each change of the rest: connections
// carry it, so that those of a forwarding that is no more end.
type ForwardingPlane struct {
	Key      Key          `json:"key"`
	Floating FloatingIPID `json:"floatingip_id"`
	Protocol string       `json:"protocol"` // "tcp" or "udp"
	External PortRange    `json:"external"` // of the floating IP
	Internal PortRange    `json:"internal"` // one port, or as many as External has, each for the one at its place
	Port     PortID       `json:"internal_port_id"`
	Fixed    netip.Addr   `json:"internal_ip_address"` // one of the port's
}

// Kept reports whether packets keep the port that they were sent to.
func (f *ForwardingPlane) Kept() bool { return f.External == f.Internal }

// Leads tells to which port a packet to one of the floating IP's goes; 0 for the one that it was sent to.
func (f *ForwardingPlane) Leads(port uint16) uint16 {
	switch {
	case f.Kept():
		return 0
	case f.Internal.Size() == 1:
		return f.Internal.From
	}
	return f.Internal.From + (port - f.External.From)
}

// PortForwarding sends what comes to ports of a floating IP to ports of an instance. Its project is the floating IP's.
type PortForwarding struct {
	ID PortForwardingID `json:"id"`
	Std
	ForwardingPlane
}

// ForwardingMark is the mark of connections of a forwarding in the zone of its router, beside 0 for those of the gateway's
// address and the keys of ports for those of floating IPs that have one.
func ForwardingMark(k Key) Key { return 1<<31 | k }
