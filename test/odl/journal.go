// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"container/list"
	"time"
)

// State is where a journal row is on its way. A row that has been accepted is deleted.
type State string

// States of journal rows.
const (
	Pending    State = "pending"
	Processing State = "processing"
	Failed     State = "failed"
)

// Row is one change that the controller has to be told of.
type Row struct {
	Seq     int
	Kind    Kind
	ID      string
	Op      Op
	Body    Object // nil for a delete
	State   State
	Tries   int       // failed attempts so far
	Claimed time.Time // when a worker took it last
	Canary  bool

	waits []*Row        // rows that go first while they are pending or processing
	place *list.Element // in the queue, while pending
	gone  bool
	under []string // refs of what a delete takes a child from
}

// journal is the table of rows. Neutron's lock guards it.
type journal struct {
	seq        int
	queue      *list.List // pending rows, oldest attempt first
	processing map[*Row]bool
	failed     map[*Row]bool
	writes     map[string][]*Row // open creates and updates by ref
	takes      map[string][]*Row // open deletes by ref of a parent
}

func newJournal() journal {
	return journal{queue: list.New(), processing: map[*Row]bool{}, failed: map[*Row]bool{}, writes: map[string][]*Row{}, takes: map[string][]*Row{}}
}

func ref(k Kind, id string) string { return string(k) + " " + id }

// add queues a row. What it has to wait for is settled now: rows that come later never hold it up.
func (j *journal) add(k Kind, op Op, id string, body Object, whole Object) *Row {
	j.seq++
	r := &Row{Seq: j.seq, Kind: k, ID: id, Op: op, Body: body}
	switch op {
	case Delete:
		r.waits = append(r.waits, j.writes[ref(k, id)]...)
		r.waits = append(r.waits, j.takes[ref(k, id)]...)
		r.under = parentsOfDelete(k, whole)
		for _, p := range r.under {
			j.takes[p] = append(j.takes[p], r)
		}
	default:
		for _, p := range parentsOfWrite(k, whole) {
			r.waits = append(r.waits, j.writes[p]...)
		}
		if op == Update {
			r.waits = append(r.waits, j.writes[ref(k, id)]...)
		}
		j.writes[ref(k, id)] = append(j.writes[ref(k, id)], r)
	}
	j.enqueue(r)
	return r
}

// parentsOfWrite are the objects that have to be there before one is created or updated.
func parentsOfWrite(k Kind, o Object) []string {
	var out []string
	need := func(k Kind, ids ...string) {
		for _, id := range ids {
			if id != "" {
				out = append(out, ref(k, id))
			}
		}
	}
	switch k {
	case Subnet:
		need(Network, o.str("network_id"))
	case Port:
		need(Network, o.str("network_id"))
		for _, f := range o.list("fixed_ips") {
			need(Subnet, Object(f.(map[string]any)).str("subnet_id"))
		}
		need(Policy, o.str("qos_policy_id"))
	case Network:
		need(Policy, o.str("qos_policy_id"))
	case Rule:
		need(Group, o.str("security_group_id"))
	case Router:
		need(Port, o.str("gw_port_id"))
	case FloatingIP:
		need(Network, o.str("floating_network_id"))
		need(Port, o.str("port_id"))
		need(Router, o.str("router_id"))
	case Trunk:
		need(Port, o.str("port_id"))
		for _, s := range o.list("sub_ports") {
			need(Port, Object(s.(map[string]any)).str("port_id"))
		}
	}
	return out
}

// parentsOfDelete are the objects whose deletion waits until this one's is done.
func parentsOfDelete(k Kind, o Object) []string {
	switch k {
	case FloatingIP:
		var out []string
		if r := o.str("router_id"); r != "" {
			out = append(out, ref(Router, r))
		}
		return out
	case Port:
		out := parentsOfWrite(k, o)
		if o.str("device_owner") == ownerInterface || o.str("device_owner") == ownerGateway {
			out = append(out, ref(Router, o.str("device_id")))
		}
		return out
	case Router:
		if gw, ok := o["external_gateway_info"].(map[string]any); ok {
			return []string{ref(Network, Object(gw).str("network_id"))}
		}
		return nil
	}
	return parentsOfWrite(k, o)
}

// enqueue makes a row pending, behind all others.
func (j *journal) enqueue(r *Row) {
	delete(j.processing, r)
	delete(j.failed, r)
	r.State = Pending
	r.place = j.queue.PushBack(r)
}

// claim takes the first row that waits for none, for a worker.
func (j *journal) claim(now time.Time) *Row {
	for e := j.queue.Front(); e != nil; e = e.Next() {
		r := e.Value.(*Row)
		if r.blocked() {
			continue
		}
		j.queue.Remove(e)
		r.place, r.State, r.Claimed = nil, Processing, now
		j.processing[r] = true
		return r
	}
	return nil
}

func (r *Row) blocked() bool {
	open := r.waits[:0]
	for _, w := range r.waits {
		if !w.gone {
			open = append(open, w) // a failed one may become pending again
		}
	}
	r.waits = open
	for _, w := range open {
		if w.State != Failed {
			return true
		}
	}
	return false
}

// fail gives a row up until the next maintenance.
func (j *journal) fail(r *Row) {
	delete(j.processing, r)
	r.State = Failed
	j.failed[r] = true
}

// drop deletes a row.
func (j *journal) drop(r *Row) {
	if r.place != nil {
		j.queue.Remove(r.place)
		r.place = nil
	}
	delete(j.processing, r)
	delete(j.failed, r)
	r.gone = true
	if r.Op == Delete {
		for _, p := range r.under {
			remove(j.takes, p, r)
		}
		return
	}
	remove(j.writes, ref(r.Kind, r.ID), r)
}

func remove(m map[string][]*Row, key string, r *Row) {
	l := m[key]
	for i, x := range l {
		if x == r {
			l = append(l[:i:i], l[i+1:]...)
			break
		}
	}
	if len(l) == 0 {
		delete(m, key)
		return
	}
	m[key] = l
}

// open are all rows of a state, in order of their number.
func (j *journal) open(s State) []*Row {
	var out []*Row
	switch s {
	case Pending:
		for e := j.queue.Front(); e != nil; e = e.Next() {
			out = append(out, e.Value.(*Row))
		}
	case Processing:
		for r := range j.processing {
			out = append(out, r)
		}
	case Failed:
		for r := range j.failed {
			out = append(out, r)
		}
	}
	sortRows(out)
	return out
}
