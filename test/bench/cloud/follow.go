// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"fmt"
	"syscall"
	"time"

	"nagare/internal/compile"
	"nagare/internal/model"
	"nagare/internal/netvirt"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Follower is a cloud in a store in memory, with an engine that compiles all its nodes.
type Follower struct {
	Shape
	Store  *store.Store
	Engine *compile.Engine
	watch  *store.Watch
}

// Follow builds the cloud and compiles it.
func (s Shape) Follow() *Follower {
	st := store.New(tables.Schema, nil)
	s.Build(st)
	f := &Follower{Shape: s, Store: st, watch: st.Watch(), Engine: s.NewEngine()}
	f.Update()
	return f
}

// NewEngine returns an engine of the classic profile for all nodes of the cloud, which has compiled nothing yet.
func (s Shape) NewEngine() *compile.Engine {
	e := compile.New(netvirt.Classic(), pipeline.Check)
	for n := range s.Nodes {
		e.AddNode(string(Node(n)))
	}
	return e
}

// Update compiles what was committed since the last call and counts the flows that it changed.
func (f *Follower) Update() (flows int) {
	snap, ch, ok := f.watch.Take()
	if !ok {
		return 0
	}
	for _, d := range f.Engine.Update(snap, ch) {
		flows += len(d.Flows)
	}
	return flows
}

// Flows counts the flows of all nodes.
func (s Shape) Flows(e *compile.Engine) (sum int) {
	for n := range s.Nodes {
		sum += e.FlowCount(string(Node(n)))
	}
	return sum
}

// Cost is what one change cost: units that ran, flows that changed, time to commit and to compile.
type Cost struct {
	Units, Flows    int
	Commit, Compile time.Duration
}

// Change commits and compiles.
func (f *Follower) Change(do func(*store.Txn)) (c Cost) {
	before := f.Engine.Stats().UnitRuns
	start := time.Now()
	Commit(f.Store, do)
	committed := time.Now()
	c.Flows = f.Update()
	c.Commit, c.Compile = committed.Sub(start), time.Since(committed)
	c.Units = int(f.Engine.Stats().UnitRuns - before)
	return c
}

// CreatePort makes one port more in network 3, on the node of its port 1: a node that has the network already.
func (s Shape) CreatePort(tx *store.Txn) { s.PutPort(tx, 3, s.Nodes+1) }

// DropPort takes back what CreatePort did.
func (s Shape) DropPort(tx *store.Txn) { s.DeletePort(tx, 3, s.Nodes+1) }

// Rename gives network 3 its i-th name, which no flow depends on.
func (s Shape) Rename(tx *store.Txn, i int) {
	n, _ := tables.Networks.Get(tx, Network(3))
	n.Name = fmt.Sprint("name ", i)
	tables.Networks.Put(tx, n.ID, n)
}

// OpenPort makes the group of the first tenant let a TCP port in, in place of the one that an earlier call opened.
func (s Shape) OpenPort(tx *store.Txn, port int) {
	s.PutRule(tx, 0, 9, model.RulePlane{Direction: model.Ingress, Ethertype: model.EtherIPv4, Protocol: "tcp", PortMin: &port, PortMax: &port})
}

// ProcessorTime is what the process has used of the processors: unlike the time of day it does not count who else runs.
func ProcessorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(fmt.Sprintf("cloud: getrusage: %v", err))
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
