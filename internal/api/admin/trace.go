// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"errors"
	"net/http"
	"strconv"
)

// TraceQuery says which packet is to be traced: that a port sends, or that comes in by a port of a node's br-int.
type TraceQuery struct {
	From   string // port that sends: id or name; "" if Node and InPort say where the packet comes in
	Node   string
	InPort string   // OpenFlow number or interface name
	Words  []string // "icmp to vm02": what is sent, if Flow does not say
	Flow   string   // fields of the packet, as ovs-ofctl has them in a match; what it leaves out is filled in
	State  string   // TraceFirst, TraceEstablished or TraceReply
}

// Values of TraceQuery.State: the first packet of a connection, one that follows when the other side has answered, or the first
// answer of the other side.
const (
	TraceFirst       = ""
	TraceEstablished = "established"
	TraceReply       = "reply"
)

// Trace is what became of a packet, and its way.
type Trace struct {
	Revision uint64       `json:"revision"` // whose desired state it is
	State    string       `json:"state,omitempty"`
	Packet   string       `json:"packet"` // as it was sent, in the form that ofproto/trace takes
	Node     string       `json:"node"`   // where it came in
	Verdict  TraceVerdict `json:"verdict"`
	Notes    []string     `json:"notes,omitempty"`  // what was filled in or taken for granted
	Before   []TraceLeg   `json:"before,omitempty"` // packets that went before it, to begin the connection
	Way      []TraceVisit `json:"way"`
}

// TraceLeg is a packet that went before the traced one.
type TraceLeg struct {
	What    string       `json:"what"`
	Packet  string       `json:"packet"`
	Verdict TraceVerdict `json:"verdict"`
}

// Values of TraceVerdict.Result.
const (
	TraceDelivered = "delivered" // to Ports
	TraceLeft      = "left"      // by a physical network, for a machine that is not ours
	TraceAnswered  = "answered"  // by the switch itself, to the sender
	TracePunted    = "punted"    // to the server
	TraceDropped   = "dropped"
	TraceUnknown   = "unknown" // the simulator cannot tell
)

// TraceVerdict is what became of a packet.
type TraceVerdict struct {
	Result  string   `json:"result"`
	Arrived bool     `json:"arrived"` // it got where it was to get
	Text    string   `json:"text"`
	Ports   []string `json:"ports,omitempty"` // ids of ports that got it
	Node    string   `json:"node,omitempty"`  // where it was dropped or punted
	Table   string   `json:"table,omitempty"`
	Remedy  string   `json:"remedy,omitempty"`
}

// TraceVisit is the way through one node.
type TraceVisit struct {
	Node   string      `json:"node"`
	InPort uint32      `json:"in_port"`
	Name   string      `json:"in_name,omitempty"` // of the interface
	Packet string      `json:"packet"`
	Steps  []TraceStep `json:"steps"`
	Out    []TraceOut  `json:"out,omitempty"`
	Errors []string    `json:"errors,omitempty"`
}

// TraceStep is one lookup.
type TraceStep struct {
	Depth   int       `json:"depth"`
	Table   string    `json:"table"`
	Purpose string    `json:"purpose"`
	Flow    string    `json:"flow,omitempty"` // that took the packet; empty: none, which drops
	Authors []Author  `json:"authors,omitempty"`
	Did     []TraceDo `json:"did,omitempty"`
}

// TraceDo is an action and what it changed.
type TraceDo struct {
	Action  string   `json:"action"`
	Changes []string `json:"changes,omitempty"`
	Note    string   `json:"note,omitempty"`
}

// TraceOut is a port by which the packet left a node, and where that leads.
type TraceOut struct {
	Port uint32 `json:"port"`
	Name string `json:"name,omitempty"`
	To   string `json:"to"`
}

// traceQuery reads the query of GET /trace.
func traceQuery(r *http.Request) (TraceQuery, error) {
	v := r.URL.Query()
	q := TraceQuery{From: v.Get("from"), Node: v.Get("node"), InPort: v.Get("in_port"), Words: v["word"], Flow: v.Get("flow"), State: v.Get("state")}
	switch q.State {
	case TraceFirst, TraceEstablished, TraceReply:
	default:
		return q, errors.Join(ErrBadInput, errors.New("state "+strconv.Quote(q.State)+": want established, reply or none"))
	}
	return q, nil
}
