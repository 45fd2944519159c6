// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"

	"nagare/internal/flow"
	"nagare/openflow"
)

// Profile is a layout of the pipeline; a set of them is their or-ed bits.
type Profile uint8

const (
	Standard Profile = 1 << iota // sub-tables, conntrack, default deny
	Classic                      // the eleven spine tables, stateless, default allow

	both = Standard | Classic
)

func (p Profile) String() string {
	switch p {
	case Standard:
		return "standard"
	case Classic:
		return "classic"
	case both:
		return "standard, classic"
	}
	return fmt.Sprintf("profile %d", uint8(p))
}

// TableID is the number of a flow table.
type TableID uint8

// The spine: every packet passes these in order.
const (
	Classifier   TableID = 0
	Responder    TableID = 20
	InboundNAT   TableID = 30
	EgressACL    TableID = 40
	LoadBalancer TableID = 50
	Routing      TableID = 60
	L3Forward    TableID = 70
	L2Rewrite    TableID = 80
	IngressACL   TableID = 90
	OutboundNAT  TableID = 100
	L2Forward    TableID = 110
)

// Sub-tables of the standard profile.
const (
	UserHooks      TableID = 1
	EgressQoS      TableID = 2
	ResponderND    TableID = 22
	InboundNew     TableID = 31
	InboundDone    TableID = 32
	MetadataOut    TableID = 33
	MetadataBack   TableID = 34
	EgressState    TableID = 41
	EgressRules    TableID = 42
	EgressCommit   TableID = 43
	EgressSource   TableID = 44
	EgressDrop     TableID = 45
	LBMember       TableID = 51
	LocalNew       TableID = 52
	RouteLookup    TableID = 61
	PacketSize     TableID = 62
	IngressState   TableID = 91
	IngressRules   TableID = 92
	IngressCommit  TableID = 93
	IngressDrop    TableID = 94
	OutboundNew    TableID = 101
	Hairpin        TableID = 105
	IngressQoS     TableID = 111
	ReturnToSender TableID = 115
)

// Kind is a set of kinds of action.
type Kind uint32

const (
	Goto       Kind = 1 << iota // goto_table
	Out                         // output to a port or to the port it came in by
	Punt                        // to the controller
	Set                         // set_field, load and move, of the table's Sets
	Track                       // ct, ct_clear
	Again                       // resubmit
	ToGroup                     // group
	Conjoin                     // conjunction
	Limit                       // meter, set_queue
	VLAN                        // push_vlan, pop_vlan
	TTL                         // dec_ttl
	Copy                        // clone
	CheckSize                   // check_pkt_larger
	SampleKind                  // sample
)

var kindNames = []string{"goto", "output", "controller", "set", "ct", "resubmit", "group", "conjunction", "meter", "vlan", "dec_ttl", "clone", "check_pkt_larger", "sample"}

// Priority is a priority with a name, or a range of them.
type Priority struct {
	Value    uint16
	To       uint16 // the last of a range; 0 if Value stands alone
	Name     string
	Profiles Profile
	What     string
}

// Table is the declaration of one flow table. Tables are shared and must not be
// changed.
type Table struct {
	ID       TableID
	Name     string
	Purpose  string
	Profiles Profile
	Match    []*openflow.Field // legal in matches
	Kinds    Kind              // legal actions; dropping always is
	Sets     []*openflow.Field // what Set may write
	Next     []TableID         // legal targets of goto and ct
	Back     []TableID         // legal targets of resubmit
	Miss     Miss
	Prios    []Priority // priority 0 with an empty match is the miss and not listed

	match, sets map[*openflow.Field]bool
}

// Miss is what a table does with packets that no other flow takes.
type Miss struct {
	Goto   TableID
	Kind   MissKind
	Reason string
}

// MissKind tells misses apart.
type MissKind uint8

const (
	MissDrop   MissKind = iota // a flow that drops
	MissGoto                   // a flow that goes to Miss.Goto
	MissInPort                 // a flow that sends the packet back
	MissNone                   // no flow, so the switch drops (OpenFlow 1.3.5 section 5.4)
)

// Actions is the miss flow's actions; ok is false if there is no miss flow.
func (m Miss) Actions() (a flow.Actions, ok bool) {
	switch m.Kind {
	case MissGoto:
		return flow.Do(flow.Goto(m.Goto)), true
	case MissInPort:
		return flow.Do(flow.InPortAct()), true
	case MissNone:
		return "", false
	}
	return flow.Do(), true
}

func (m Miss) String() string {
	switch m.Kind {
	case MissGoto:
		return fmt.Sprintf("goto %d", m.Goto)
	case MissInPort:
		return "back to sender"
	case MissNone:
		return "drop (no flow)"
	}
	return "drop"
}

var byID [256]*Table

// Tables returns all declared tables of a profile, by number.
func Tables(p Profile) []*Table {
	var out []*Table
	for _, t := range byID {
		if t != nil && t.Profiles&p != 0 {
			out = append(out, t)
		}
	}
	return out
}

// Lookup finds a table by number; nil if it is not declared.
func Lookup(id TableID) *Table { return byID[id] }

// Name is the table's name, or its number if it is not declared.
func (id TableID) Name() string {
	if t := byID[id]; t != nil {
		return t.Name
	}
	return fmt.Sprintf("table %d", uint8(id))
}

func (id TableID) String() string { return fmt.Sprintf("%d (%s)", uint8(id), id.Name()) }

// Next is the table in which a packet goes on that nothing holds up: the target
// of the miss, or the next spine table. The last table is its own next.
func (id TableID) Next() TableID {
	if t := byID[id]; t != nil && t.Miss.Kind == MissGoto {
		return t.Miss.Goto
	}
	for _, s := range spine {
		if s > id {
			return s
		}
	}
	return id
}

var spine = []TableID{Classifier, Responder, InboundNAT, EgressACL, LoadBalancer, Routing, L3Forward, L2Rewrite, IngressACL, OutboundNAT, L2Forward}

// SpineTables are the eleven tables that both profiles have, in order.
func SpineTables() []TableID { return append([]TableID(nil), spine...) }

func fieldSet(fs []*openflow.Field) map[*openflow.Field]bool {
	m := make(map[*openflow.Field]bool, len(fs))
	for _, f := range fs {
		m[f] = true
	}
	return m
}
