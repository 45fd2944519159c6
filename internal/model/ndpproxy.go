// SPDX-License-Identifier: Apache-2.0

package model

import "net/netip"

// NDPProxyID is the id of an NDPProxy.
type NDPProxyID string

// NDPProxyPlane is the data-plane part of an NDPProxy.
type NDPProxyPlane struct {
	Router RouterID   `json:"router_id"`
	Port   PortID     `json:"port_id"`
	Addr   netip.Addr `json:"ip_address"` // one of the port's, IPv6
}

// NDPProxy has a router speak for an address of an instance on the external network, where nobody routes to it.
type NDPProxy struct {
	ID NDPProxyID `json:"id"`
	Std
	NDPProxyPlane
}
