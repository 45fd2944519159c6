// SPDX-License-Identifier: Apache-2.0

package model

import (
	"slices"
	"strings"
)

// Ids of policies of quality of service and of their rules.
type (
	QosPolicyID string
	QosRuleID   string
)

// QosKind is a kind of rule (Neutron's type of a QoS rule).
type QosKind string

// The kinds of rules. Those with a minimum are promises that the placement of instances keeps, not the data plane.
const (
	QosBandwidthLimit  QosKind = "bandwidth_limit"
	QosDSCP            QosKind = "dscp_marking"
	QosMinBandwidth    QosKind = "minimum_bandwidth"
	QosMinPacketRate   QosKind = "minimum_packet_rate"
	QosPacketRateLimit QosKind = "packet_rate_limit"
)

// QosAny is the direction of a minimum packet rate that holds for both together.
const QosAny Direction = "any"

// QosRule is one rule of a policy. Value is what its kind limits, promises or marks: kilobits per second, thousands of packets
// per second, or a code point. Burst is what may come at once beyond a limit, in the unit of Value without the second; 0 leaves
// it to us. Direction is seen from the instance; a marking has none.
type QosRule struct {
	ID        QosRuleID `json:"id"`
	Kind      QosKind   `json:"kind"`
	Direction Direction `json:"direction,omitempty"`
	Value     int       `json:"value"`
	Burst     int       `json:"burst,omitempty"`
}

// QosPolicyPlane is the data-plane part of a QosPolicy. A policy has at most one rule of a kind and direction, so its rules are
// few.
type QosPolicyPlane struct {
	Rules []QosRule `json:"rules,omitempty"` // in the order in which they were made
}

// Rule finds the rule of a kind and direction.
func (p *QosPolicyPlane) Rule(k QosKind, d Direction) (QosRule, bool) {
	i := slices.IndexFunc(p.Rules, func(r QosRule) bool { return r.Kind == k && r.Direction == d })
	if i < 0 {
		return QosRule{}, false
	}
	return p.Rules[i], true
}

// IsNetworkDevice reports whether the port is a device of the network itself, which the network's policy leaves alone.
func (p *PortPlane) IsNetworkDevice() bool {
	return strings.HasPrefix(p.DeviceOwner, "network:") || strings.HasPrefix(p.DeviceOwner, "neutron:")
}

// QosPolicy is a named set of rules for the traffic of ports: of those that name it, and of those on a network that names it.
type QosPolicy struct {
	ID QosPolicyID `json:"id"`
	Std
	QosPolicyPlane
	Default bool `json:"is_default,omitempty"` // new networks of the project get it
}
