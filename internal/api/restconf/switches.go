// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"context"
	"errors"
	"net/http"
	"time"

	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/store"
)

// Switches is what the southbound knows of switches, and what they answer when they are asked. Questions are bounded in time and in what
// they bring; their errors are ErrGone, or what Unavailable or TooMuch wraps.
type Switches interface {
	// NodeOf finds the node whose bridge has a datapath id.
	NodeOf(r store.Reader, dpid uint64) (model.Node, bool)
	Standing(model.NodeID) Standing
	Links() []Link
	Describe(context.Context, model.NodeID) (Description, error)
	// Ports, Groups and Meters are in order; of one alone, or with nil all.
	Ports(ctx context.Context, node model.NodeID, only *uint32) ([]SwitchPort, error)
	Groups(ctx context.Context, node model.NodeID, only *uint32) ([]SwitchGroup, error)
	Meters(ctx context.Context, node model.NodeID, only *uint32) ([]SwitchMeter, error)
	// Tables are those that have flows.
	Tables(context.Context, model.NodeID) ([]SwitchTable, error)
	// Flows gives the flows of a table in parts, each asked for when the one before was dealt with. An error of part ends it.
	Flows(ctx context.Context, node model.NodeID, table uint8, part func([]SwitchFlow) error) error
	Flow(ctx context.Context, node model.NodeID, key flow.Key) (SwitchFlow, bool, error)
}

// ErrGone says that a switch is not connected: operational data has nothing of it.
var ErrGone = errors.New("the switch is not connected")

// Unavailable says that a switch gave no answer, and why.
func Unavailable(err error) error {
	return &fault{http.StatusServiceUnavailable, "transport", "resource-denied", err.Error()}
}

// TooMuch says that an answer would be larger than it may be.
func TooMuch(err error) error {
	return &fault{http.StatusRequestEntityTooLarge, "application", "too-big", err.Error() + "; ask for single entries"}
}

// Standing is how far a node has come.
type Standing struct {
	Connected         bool   // it has an OpenFlow session
	Wanted, Confirmed uint64 // revisions of the intent: compiled, and confirmed by its switch
}

// Link is a direction of a link that a frame of ours crossed.
type Link struct {
	From, To         model.NodeID
	FromPort, ToPort uint32
}

// Description is what a switch says of itself (OpenFlow 1.3.5 section 7.3.5.1).
type Description struct{ Manufacturer, Hardware, Software, Serial, Datapath string }

// SwitchPort is a port with its counters.
type SwitchPort struct {
	No                        uint32
	Name, MAC                 string
	Speed                     uint32 // current, in kbit/s; 0: not told
	Down, Blocked, Live       bool
	RxPackets, TxPackets      uint64
	RxBytes, TxBytes          uint64
	RxDropped, TxDropped      uint64
	RxErrors, TxErrors        uint64
	RxFrame, RxOverrun, RxCRC uint64
	Collisions                uint64
}

// Count is what was counted of a flow, group or bucket.
type Count struct {
	Packets, Bytes uint64
	For            time.Duration // since it was installed
}

// SwitchTable is a table with its counters.
type SwitchTable struct {
	ID               uint8
	Flows            uint32
	Lookups, Matched uint64
}

// SwitchFlow is a flow with its counters, and who wants it: nobody, if Rule is empty.
type SwitchFlow struct {
	flow.Flow
	Count
	Idle, Hard         uint16 // seconds; 0: none
	Rule, Kind, Object string
}

// SwitchGroup is a group with its counters.
type SwitchGroup struct {
	flow.Group
	Count
	Users   uint32 // flows and groups that send to it
	Buckets []Count
}

// SwitchMeter is a meter with its counters.
type SwitchMeter struct {
	flow.Meter
	Count        // of what came to it
	Users uint32 // flows
	Bands []Count
}
