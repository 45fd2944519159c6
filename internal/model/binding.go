// SPDX-License-Identifier: Apache-2.0

package model

import "slices"

// Binding is what makes a port live on one more host, where it will be once the binding is activated (Neutron's
// binding-extended). The binding that is active is the port's own: Host, VNICType and Profile.
type Binding struct {
	Host     NodeID         `json:"host"`
	VNICType string         `json:"vnic_type"`
	Profile  map[string]any `json:"profile,omitempty"`
	// Former is set in a binding that was active until another one was activated: the instance has left that host.
	Former bool `json:"former,omitempty"`
}

// LivesOn reports whether the port is bound to a node, actively or not.
func (p *PortPlane) LivesOn(n NodeID) bool {
	return n != "" && (p.Host == n || slices.Contains(p.Standby, n))
}

// Hosts are the nodes that the port is bound to, the active one first.
func (p *PortPlane) Hosts(yield func(NodeID) bool) {
	if p.Host != "" && !yield(p.Host) {
		return
	}
	for _, n := range p.Standby {
		if !yield(n) {
			return
		}
	}
}

// Binding gives the inactive binding to a host.
func (p *Port) Binding(host NodeID) (Binding, bool) {
	i := slices.IndexFunc(p.Bindings, func(b Binding) bool { return b.Host == host })
	if i < 0 {
		return Binding{}, false
	}
	return p.Bindings[i], true
}
