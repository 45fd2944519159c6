// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"net/url"
	"strings"
)

// OperatorEntryID names what an operator wrote by the place where it stands in the configuration of switches, such as
// "openflow:121333988818945/table=3/flow=web" (OperatorFlowID and its siblings). It holds no "|".
type OperatorEntryID string

// The kinds of operators' entries.
const (
	OperatorFlow  = "flow"
	OperatorGroup = "group"
	OperatorMeter = "meter"
)

// OperatorEntryPlane is the data-plane part of an OperatorEntry.
type OperatorEntryPlane struct {
	ID       OperatorEntryID `json:"id"`
	Datapath uint64          `json:"datapath"` // the switch, NodePlane.DatapathID
	Kind     string          `json:"kind"`
	Key      Key             `json:"key"`  // in the cookies of flows
	Text     string          `json:"text"` // the flow, group or meter as ovs-ofctl writes it, with " actions=" behind a flow's match
	// Needs are the groups and meters that a flow names, of the same switch: OperatorGroupID and OperatorMeterID.
	Needs []OperatorEntryID `json:"needs,omitempty"`
}

// OperatorEntry is a flow, a group or a meter that an operator wants on a switch beside ours.
type OperatorEntry struct {
	OperatorEntryPlane
	Table  uint8  `json:"table,omitempty"` // of a flow
	Name   string `json:"name"`            // a flow's id within its table, or the number of a group or meter
	Config string `json:"config"`          // the entry as it was written, JSON by its YANG module
}

// SwitchID is the id of a switch in OpenDaylight's inventory.
func SwitchID(datapath uint64) string { return fmt.Sprintf("openflow:%d", datapath) }

// OperatorFlowID is the id of a flow with a name of its own in its table.
func OperatorFlowID(datapath uint64, table uint8, name string) OperatorEntryID {
	return OperatorEntryID(fmt.Sprintf("%s/table=%d/flow=%s", SwitchID(datapath), table, url.PathEscape(name)))
}

// OperatorGroupID is the id of a group.
func OperatorGroupID(datapath uint64, group uint32) OperatorEntryID {
	return OperatorEntryID(fmt.Sprintf("%s/group=%d", SwitchID(datapath), group))
}

// OperatorMeterID is the id of a meter.
func OperatorMeterID(datapath uint64, meter uint32) OperatorEntryID {
	return OperatorEntryID(fmt.Sprintf("%s/meter=%d", SwitchID(datapath), meter))
}

// The groups and meters that operators may have; none of ours has such a number. A group of ours has what it is for in its highest
// octet, and nothing of ours is for 0. Meters of ours end below.
const (
	MinOperatorGroup uint32 = 1
	MaxOperatorGroup uint32 = 1<<24 - 1
	MinOperatorMeter uint32 = 1<<18 - operatorMeters
	MaxOperatorMeter uint32 = 1<<18 - 1

	operatorMeters = 1 << 12
)

// IsOperatorEntry reports whether an object's id is one of an operator's entry.
func IsOperatorEntry(id OperatorEntryID) bool { return strings.HasPrefix(string(id), "openflow:") }
