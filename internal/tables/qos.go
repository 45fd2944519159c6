// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"nagare/internal/model"
	"nagare/internal/store"
)

// QosPolicies are the policies of quality of service, with their rules.
var QosPolicies = store.Declare[model.QosPolicyID, model.QosPolicy](Schema, "qos-policies", store.Intent).
	Plane(func(p model.QosPolicy) any { return p.QosPolicyPlane })

// Indices of policies and of those who name them.
var (
	QosPoliciesByProject = store.DeclareIndex(Schema, QosPolicies, "project", func(p model.QosPolicy) []string { return []string{string(p.Project)} })
	QosPoliciesByName    = store.DeclareIndex(Schema, QosPolicies, "name", func(p model.QosPolicy) []string { return []string{p.Name} })
	// QosPoliciesByRule finds the policy that has a rule.
	QosPoliciesByRule = store.DeclareIndex(Schema, QosPolicies, "rule", func(p model.QosPolicy) (ids []string) {
		for _, r := range p.Rules {
			ids = append(ids, string(r.ID))
		}
		return ids
	})
	// DefaultQosPolicies finds a project's default policy.
	DefaultQosPolicies = store.DeclareIndex(Schema, QosPolicies, "default", func(p model.QosPolicy) []string {
		if !p.Default {
			return nil
		}
		return []string{string(p.Project)}
	})
	PortsByQosPolicy       = store.DeclareIndex(Schema, Ports, "qos-policy", func(p model.Port) []string { return some(string(p.QosPolicy)) })
	FloatingIPsByQosPolicy = store.DeclareIndex(Schema, FloatingIPs, "qos-policy", func(f model.FloatingIP) []string { return some(string(f.QosPolicy)) })
	RoutersByQosPolicy     = store.DeclareIndex(Schema, Routers, "qos-policy", func(r model.Router) []string { return some(string(r.GatewayQos)) })
	NetworksByQosPolicy    = store.DeclareIndex(Schema, Networks, "qos-policy", func(n model.Network) []string { return some(string(n.QosPolicy)) })
)

// EffectiveQos is the policy that holds for a port on its network: its own, or the network's unless the port is a device of
// the network itself; "" for none.
func EffectiveQos(p *model.Port, n *model.Network) model.QosPolicyID {
	if p.QosPolicy != "" || p.IsNetworkDevice() {
		return p.QosPolicy
	}
	return n.QosPolicy
}

// ExternalQos is the policy that holds for an address on an external network, a floating IP's or a router's: its own, or the
// network's; "" for none.
func ExternalQos(own model.QosPolicyID, n *model.Network) model.QosPolicyID {
	if own != "" {
		return own
	}
	return n.QosPolicy
}
