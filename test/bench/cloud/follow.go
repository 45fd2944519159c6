// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"fmt"
	"maps"
	"slices"
	"syscall"
	"time"

	"nagare/internal/compile"
	"nagare/internal/flow"
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

// NewEngine returns an engine of the shape's profile for all nodes of the cloud, which has compiled nothing yet.
func (s Shape) NewEngine() *compile.Engine {
	e := s.engine()
	for n := range s.Nodes {
		e.AddNode(string(Node(n)))
	}
	return e
}

func (s Shape) engine() *compile.Engine {
	if s.Standard {
		return compile.New(netvirt.Standard(netvirt.Options{NativeDHCP: true}), pipeline.Standard.Check)
	}
	return compile.New(netvirt.Classic(), pipeline.Classic.Check)
}

// NodeFlows are the flows of one node of the cloud, in the order of flow.Compare.
func (s Shape) NodeFlows(n int) []flow.Flow {
	st := store.New(tables.Schema, nil)
	s.Build(st)
	e := s.engine()
	e.AddNode(string(Node(n)))
	e.Update(st.Snapshot(), &store.Changes{All: true})
	d, _ := e.Desired(string(Node(n)))
	return slices.SortedFunc(maps.Values(d.Flows), flow.Compare)
}

// Update compiles what was committed since the last call and counts what it changed.
func (f *Follower) Update() (c Cost) {
	before := f.Engine.Stats().UnitRuns
	snap, ch, ok := f.watch.Take()
	if !ok {
		return c
	}
	start := time.Now()
	deltas := f.Engine.Update(snap, ch)
	c.Compile, c.Units = time.Since(start), int(f.Engine.Stats().UnitRuns-before)
	c.PerNode = map[string]int{}
	for node, d := range deltas {
		c.Flows += len(d.Flows)
		c.Groups += len(d.Groups)
		c.PerNode[node] = len(d.Flows)
	}
	return c
}

// Flows counts the flows of all nodes.
func (s Shape) Flows(e *compile.Engine) (sum int) {
	for n := range s.Nodes {
		sum += e.FlowCount(string(Node(n)))
	}
	return sum
}

// Cost is what one change cost: units that ran, flows (of all nodes, and of each) and groups that changed, time to commit and
// to compile.
type Cost struct {
	Units, Flows, Groups int
	PerNode              map[string]int
	Commit, Compile      time.Duration
}

// Most is the number of flows that changed on the node where most did.
func (c Cost) Most() (most int) {
	for _, n := range c.PerNode {
		most = max(most, n)
	}
	return most
}

// Change commits and compiles.
func (f *Follower) Change(do func(*store.Txn)) Cost {
	start := time.Now()
	Commit(f.Store, do)
	committed := time.Since(start)
	c := f.Update()
	c.Commit = committed
	return c
}

// fresh is the number of a port of a network that Build leaves free, on the node of its port 1.
func (s Shape) fresh() int { return 1 + max(1, (s.Ports+s.Nodes-2)/s.Nodes)*s.Nodes }

// CreatePort makes one port more in network 3, on a node that has the network already.
func (s Shape) CreatePort(tx *store.Txn) { s.PutPort(tx, 3, s.fresh()) }

// DropPort takes back what CreatePort did.
func (s Shape) DropPort(tx *store.Txn) { s.DeletePort(tx, 3, s.fresh()) }

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

// ClosePort takes back what OpenPort did.
func (s Shape) ClosePort(tx *store.Txn) {
	tables.Rules.Delete(tx, model.SecurityGroupRuleID(id(5, 0, 9)))
}

// ProcessorTime is what the process has used of the processors: unlike the time of day it does not count who else runs.
func ProcessorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(fmt.Sprintf("cloud: getrusage: %v", err))
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
