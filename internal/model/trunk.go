// SPDX-License-Identifier: Apache-2.0

package model

// TrunkID is the id of a Trunk.
type TrunkID string

// OwnerSubPort is the device owner of a port that a trunk carries.
const OwnerSubPort = "trunk:subport"

// Trunk lets an instance reach several networks by one interface: that of the parent port, whose frames are untagged, and of
// sub-ports, whose frames it tells apart by their VLAN tags. Which ports these are is said by the ports themselves
// (PortPlane.Parent), so that a trunk of thousands costs no more to change than one of two.
type Trunk struct {
	ID TrunkID `json:"id"`
	Std
	Port         PortID `json:"port_id"` // the parent
	AdminStateUp bool   `json:"admin_state_up"`
}

// IsSubPort reports whether a trunk carries the port.
func (p *PortPlane) IsSubPort() bool { return p.Parent != "" }

// Carrier is the port by whose interface the port's frames come and go: its own, or the parent's of its trunk.
func (p *Port) Carrier() PortID {
	if p.Parent != "" {
		return p.Parent
	}
	return p.ID
}
