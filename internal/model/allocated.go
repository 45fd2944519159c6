// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"time"
)

// Slot is a place that a port, or a router at its gateway, has on a node: a small number, from which its conntrack zones and
// its meters there follow.
//
// It is taken in the transaction that binds the port (decision 14) and its number is not given to another port before the
// zones were flushed: used (Freed is zero), dirty (Freed is set), free (no record).
type Slot struct {
	Node   NodeID    `json:"node"`
	Number uint32    `json:"number"` // 1 to MaxSlot
	Port   PortID    `json:"port,omitempty"`
	Router RouterID  `json:"router,omitempty"` // in place of Port: the router whose gateway the node is
	Freed  time.Time `json:"freed,omitzero"`
}

// MaxSlot is the highest slot of a node, and so the highest number of ports and gateways on it: the meters of all slots have
// numbers below 200,000, which is what Linux' datapath takes. Zones have room for more, half as many again: each slot has two, and a third
// in that room; the low 4,096 are kept for services of the node and some at the top for what is to come.
const MaxSlot = 19998

const (
	zoneSlots   = 30000
	zoneBase    = 4095
	natZoneBase = zoneBase + zoneSlots
)

// Zone is the conntrack zone of the slot's security groups, 4096 to 34095.
func (s Slot) Zone() uint16 { return uint16(zoneBase + s.Number) }

// NATZone is the conntrack zone in which addresses of the slot's port or router are translated, 34096 to 64095.
func (s Slot) NATZone() uint16 { return uint16(natZoneBase + s.Number) }

// LocalZone is the conntrack zone in which packets to local IPs get the address of the slot's port, 24094 to 34095 and 54094 to
// 64089: the room above MaxSlot in the ranges of the other two. 0 if it has none, because its number is beyond MaxSlot.
func (s Slot) LocalZone() uint16 {
	const below = zoneSlots - MaxSlot // as many as fit above the first range
	switch {
	case s.Number > MaxSlot:
		return 0
	case s.Number <= below:
		return uint16(zoneBase + MaxSlot + s.Number)
	}
	return uint16(natZoneBase + MaxSlot + s.Number - below)
}

// Zones are all zones of the slot; they are flushed together.
func (s Slot) Zones() []uint16 {
	zones := []uint16{s.Zone(), s.NATZone()}
	if local := s.LocalZone(); local != 0 {
		zones = append(zones, local)
	}
	return zones
}

// Used reports whether the port or the router has the slot still.
func (s Slot) Used() bool { return s.Freed.IsZero() }

// SlotKey is the store key of a Slot.
func SlotKey(n NodeID, number uint32) string { return fmt.Sprintf("%s|%05d", n, number) }

// PuntKind is a kind of packet that ports may send to the controller, each with a meter of its own per port (decision 15).
type PuntKind uint8

// The kinds of punted packets. LLDP is a node's, from tunnels and provider networks; the others are ports'.
const (
	PuntDHCP PuntKind = iota
	PuntRouterSolicit
	PuntMetadata
	PuntOther
	puntKinds
)

// LLDPMeter is the id of the meter that all LLDP of a node passes.
const LLDPMeter uint32 = 1

// EdgeMeter is the id of the meter that packets pass which routers of a node send to the controller and no local port sent.
const EdgeMeter uint32 = 2

// Meter is the id of the slot's meter for a kind, from 4 up.
func (s Slot) Meter(k PuntKind) uint32 { return s.Number*uint32(puntKinds) + uint32(k) }

// QosMeter is a meter that a port has for its policy of quality of service.
type QosMeter uint8

// The meters of a policy, by what they limit. Out is what the instance sends.
const (
	QosOut QosMeter = iota
	QosOutPackets
	QosIn
	QosInPackets
	qosMeters
)

// qosMeterBase is above the meters for punts of as many slots as have zones.
const qosMeterBase = (zoneSlots + 1) * uint32(puntKinds)

// QosMeter is the id of the slot's meter for a limit.
func (s Slot) QosMeter(m QosMeter) uint32 {
	return qosMeterBase + s.Number*uint32(qosMeters) + uint32(m)
}

// LogMeter is a meter that a port has for its security logs, so that a flood of what is dropped hides nothing that is accepted.
type LogMeter uint8

// The meters of security logs.
const (
	LogMeterAccept LogMeter = iota
	LogMeterDrop
	logMeters
)

// logMeterBase is above the meters for punts of all slots, in the room that those beyond MaxSlot would have.
const logMeterBase = (MaxSlot + 1) * uint32(puntKinds)

// LogMeter is the id of the slot's meter for a security log, from 79,998 up; 0 if it has none, because its number is beyond MaxSlot.
func (s Slot) LogMeter(m LogMeter) uint32 {
	if s.Number > MaxSlot {
		return 0
	}
	return logMeterBase + s.Number*uint32(logMeters) + uint32(m)
}

// IsLogMeter reports whether a meter is one of security logs.
func IsLogMeter(id uint32) bool { return id >= logMeterBase && id < qosMeterBase }

// MaxFloatingMeter is the highest place among the meters of floating IPs, which are above those of slots and below those of operators.
const MaxFloatingMeter Key = (Key(MinOperatorMeter)-Key(floatingMeterBase))/2 - 1

const floatingMeterBase = qosMeterBase + (zoneSlots+1)*uint32(qosMeters)

// FloatingMeter is the id of the meter that limits a floating IP: what is sent by it, or to it.
func FloatingMeter(place Key, d Direction) uint32 {
	id := floatingMeterBase + 2*uint32(place)
	if d == Ingress {
		id++
	}
	return id
}

// FormerSet is the set of groups that a port wore before its present one. Its flows stay on the port's node until packets that
// a switch has already taken for it are through, so that a change of groups loses none.
type FormerSet struct {
	Port   PortID            `json:"port"`
	Set    Key               `json:"set"`
	Groups []SecurityGroupID `json:"groups"`
}

// GroupSet is a set of security groups that some port wears. Ports that wear the same groups share it, so that a rule costs a
// flow per set and not per port.
type GroupSet struct {
	Key    Key               `json:"key"`
	Groups []SecurityGroupID `json:"groups"` // sorted, distinct
}
