// SPDX-License-Identifier: Apache-2.0

package model

// LogID is the id of a security log.
type LogID string

// LogEvent says what of a security group's verdicts a log tells.
type LogEvent string

// The events of logs.
const (
	LogAll    LogEvent = "ALL"
	LogAccept LogEvent = "ACCEPT"
	LogDrop   LogEvent = "DROP"
)

// Accepts reports whether accepted connections are told, Drops whether dropped packets are.
func (e LogEvent) Accepts() bool { return e != LogDrop }
func (e LogEvent) Drops() bool   { return e != LogAccept }

// LogPlane is the data-plane part of a Log. Its scope is the port, if it names one; else the ports that wear the group, if it
// names one; else the ports of its project.
type LogPlane struct {
	Group   SecurityGroupID `json:"resource_id,omitempty"` // accepted connections are told if a rule of this group did it
	Port    PortID          `json:"target_id,omitempty"`
	Event   LogEvent        `json:"event"`
	Enabled bool            `json:"enabled"`
}

// Log asks that what security groups do with packets of some ports be written down (Neutron's log, of resource type
// security_group).
type Log struct {
	ID LogID `json:"id"`
	Std
	LogPlane
}
