// SPDX-License-Identifier: Apache-2.0

package model

import "net/netip"

// LocalIPID is the id of a LocalIP.
type LocalIPID string

// Ways of a LocalIP to the port that serves it.
const (
	LocalIPTranslate   = "translate"   // packets get the port's fixed address
	LocalIPPassthrough = "passthrough" // packets stay as they are: the guest has the address
)

// LocalIPPlane is the data-plane part of a LocalIP.
type LocalIPPlane struct {
	Key     Key        `json:"key"`
	Port    PortID     `json:"local_port_id"` // whose address it is
	Network NetworkID  `json:"network_id"`    // the port's
	Addr    netip.Addr `json:"local_ip_address"`
	Mode    string     `json:"ip_mode"`
}

// LocalIP is an address that on each node belongs to a port of that node, where one is associated with it, and else to the port
// that has it (Neutron's local_ip).
type LocalIP struct {
	ID LocalIPID `json:"id"`
	Std
	LocalIPPlane
}

// LocalIPAssociation has a port serve a LocalIP on the port's node. Its project is the LocalIP's.
type LocalIPAssociation struct {
	Std
	LocalIPAssociationPlane
}

// LocalIPAssociationPlane is the data-plane part of a LocalIPAssociation.
type LocalIPAssociationPlane struct {
	LocalIP LocalIPID  `json:"local_ip_id"`
	Port    PortID     `json:"fixed_port_id"`
	Fixed   netip.Addr `json:"fixed_ip"` // one of the port's
}

// ID names an association: an address and a port have one at most.
func (a *LocalIPAssociationPlane) ID() string { return LocalIPAssociationID(a.LocalIP, a.Port) }

// LocalIPAssociationID is the ID of a port's association with a LocalIP.
func LocalIPAssociationID(ip LocalIPID, port PortID) string { return string(ip) + "_" + string(port) }
