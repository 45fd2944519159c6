// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"container/heap"
	"time"

	"nagare/internal/model"
	"nagare/internal/punt"
)

// kind is what a task is about.
type kind uint8

const (
	announce kind = iota // a floating IP or a gateway, by its port, from a node
	gateway              // ask for a subnet's gateway, as long as the node needs it
	hasten               // ask for a subnet's gateway again, as long as nobody has heard of it
	resolve              // ask for a next hop that a packet lacked, and from then on refresh
	refresh              // ask for a next hop that is known
	expire               // believe no answer about a next hop any more
)

// task is something to be done at a time.
type task struct {
	what kind
	node model.NodeID
	id   model.PortID // announce
	hop  punt.Hop     // else
	turn int          // how often it was done
	at   time.Time

	place int // in the heap
}

// name is what of a task there can be one of only: a next hop that is no gateway is one task, whoever needs it.
type name struct {
	what kind
	node model.NodeID
	id   model.PortID
	hop  punt.Hop
}

func (t *task) name() name {
	switch t.what {
	case resolve, refresh:
		return name{what: resolve, hop: t.hop}
	case announce: // elsewhere is in place of here
		return name{what: announce, id: t.id}
	}
	return name{what: t.what, node: t.node, hop: t.hop}
}

// agenda has tasks by the time when they are due.
type agenda struct {
	queue queue
	names map[name]*task
}

func newAgenda() agenda { return agenda{names: map[name]*task{}} }

// put enters a task in place of one of the same name.
func (a *agenda) put(t *task) {
	n := t.name()
	if old := a.names[n]; old != nil {
		heap.Remove(&a.queue, old.place)
	}
	a.names[n] = t
	heap.Push(&a.queue, t)
}

// due takes a task out that is due; nil: none is.
func (a *agenda) due(now time.Time) *task {
	if len(a.queue) == 0 || a.queue[0].at.After(now) {
		return nil
	}
	t := heap.Pop(&a.queue).(*task)
	delete(a.names, t.name())
	return t
}

// next is when the next task is due; zero: there is none.
func (a *agenda) next() (at time.Time) {
	if len(a.queue) > 0 {
		at = a.queue[0].at
	}
	return at
}

// queue implements heap.Interface.
type queue []*task

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

func (q *queue) Push(x any) {
	t := x.(*task)
	t.place = len(*q)
	*q = append(*q, t)
}

func (q *queue) Pop() any {
	old := *q
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return t
}
