// SPDX-License-Identifier: Apache-2.0

package netvirt_test

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"nagare/internal/compile"
	"nagare/internal/model"
	"nagare/internal/netvirt"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/test/bench/cloud"
)

// large is the cloud of the scoreboard: 10,000 ports on 100 nodes.
var large = cloud.Shape{Nodes: 100, Networks: 1000, Ports: 10}

// follower is a store with an engine that follows it.
type follower struct {
	shape cloud.Shape
	st    *store.Store
	w     *store.Watch
	e     *compile.Engine
}

func newFollower(s cloud.Shape) *follower {
	st := store.New(tables.Schema, nil)
	s.Build(st)
	f := &follower{shape: s, st: st, w: st.Watch(), e: newEngine(s)}
	f.update()
	return f
}

func newEngine(s cloud.Shape) *compile.Engine {
	e := compile.New(netvirt.Classic(), pipeline.Check)
	for n := range s.Nodes {
		e.AddNode(string(cloud.Node(n)))
	}
	return e
}

// update compiles what was committed since the last call and counts the flows that it changed.
func (f *follower) update() (flows int) {
	snap, ch, ok := f.w.Take()
	if !ok {
		return 0
	}
	for _, d := range f.e.Update(snap, ch) {
		flows += len(d.Flows)
	}
	return flows
}

// cost is what one change cost: units that ran, flows that changed, time.
type cost struct {
	units, flows    int
	commit, compile time.Duration
}

func (f *follower) change(do func(*store.Txn)) (c cost) {
	before := f.e.Stats().UnitRuns
	start := time.Now()
	cloud.Commit(f.st, do)
	committed := time.Now()
	c.flows = f.update()
	c.commit, c.compile = committed.Sub(start), time.Since(committed)
	c.units = int(f.e.Stats().UnitRuns - before)
	return c
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// processorTime is what the process has used of the processors: unlike the time of day it does not count who else runs.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkFullCompile compiles 10,000 ports on 100 nodes from nothing. Bytes are what the engine keeps, dependency records
// included; the store's records are counted apart, per port.
func BenchmarkFullCompile(b *testing.B) {
	empty := heap()
	st := store.New(tables.Schema, nil)
	large.Build(st)
	stored := heap()
	var took, spent time.Duration
	var flows, units, kept int
	for b.Loop() {
		before := heap()
		e := newEngine(large)
		start, burnt := time.Now(), processorTime()
		e.Update(st.Snapshot(), &store.Changes{All: true})
		took, spent = took+time.Since(start), spent+processorTime()-burnt
		kept = int(heap() - before)
		flows, units = flowCount(e, large), e.UnitCount()
		runtime.KeepAlive(e)
	}
	ports := float64(large.Networks * large.Ports)
	seconds := took.Seconds() / float64(b.N)
	b.ReportMetric(0, "ns/op") // the loop measures memory too
	b.ReportMetric(seconds, "s/compile")
	b.ReportMetric(spent.Seconds()/float64(b.N), "cpu-s/compile")
	b.ReportMetric(float64(flows), "flows")
	b.ReportMetric(float64(units), "units")
	b.ReportMetric(float64(flows)/seconds, "flows/s")
	b.ReportMetric(float64(kept)/float64(flows), "B/flow")
	b.ReportMetric(float64(kept)/ports, "B/port")
	b.ReportMetric(float64(stored-empty)/ports, "store-B/port")
	runtime.KeepAlive(st)
}

func flowCount(e *compile.Engine, s cloud.Shape) (sum int) {
	for n := range s.Nodes {
		sum += e.FlowCount(string(cloud.Node(n)))
	}
	return sum
}

// sizes have 100, 1,000 and 10,000 ports on 100 nodes.
var sizes = []cloud.Shape{{Nodes: 100, Networks: 10, Ports: 10}, {Nodes: 100, Networks: 100, Ports: 10}, large}

// bySize times one kind of change on clouds of each size: ns/op is what the engine took for it, commit-ns what the store (in
// memory) took. After each change undo, if not nil, is compiled too, but not counted.
func bySize(b *testing.B, do func(tx *store.Txn, s cloud.Shape, i int), undo func(*store.Txn, cloud.Shape)) {
	for _, s := range sizes {
		b.Run(fmt.Sprintf("ports=%d", s.Networks*s.Ports), func(b *testing.B) {
			f := newFollower(s)
			var c, sum cost
			for i := 0; b.Loop(); i++ {
				c = f.change(func(tx *store.Txn) { do(tx, s, i) })
				sum.commit, sum.compile = sum.commit+c.commit, sum.compile+c.compile
				if undo != nil {
					f.change(func(tx *store.Txn) { undo(tx, s) })
				}
			}
			b.ReportMetric(float64(sum.compile.Nanoseconds())/float64(b.N), "ns/op")
			b.ReportMetric(float64(sum.commit.Nanoseconds())/float64(b.N), "commit-ns/op")
			b.ReportMetric(float64(c.units), "units/op")
			b.ReportMetric(float64(c.flows), "flows/op")
		})
	}
}

// BenchmarkPortCreate binds and plugs one port more, on a node that has its network already. The classic profile sends every
// other node one flow for it.
func BenchmarkPortCreate(b *testing.B) {
	bySize(b, func(tx *store.Txn, s cloud.Shape, _ int) { createPort(tx, s) }, deletePort)
}

// createPort makes one port more in network 3, on the node of its port 1.
func createPort(tx *store.Txn, s cloud.Shape) { s.PutPort(tx, 3, s.Nodes+1) }
func deletePort(tx *store.Txn, s cloud.Shape) { s.DeletePort(tx, 3, s.Nodes+1) }

// BenchmarkRename changes a network outside its data plane: the engine has nothing to do.
func BenchmarkRename(b *testing.B) {
	bySize(b, func(tx *store.Txn, _ cloud.Shape, i int) { rename(tx, i) }, nil)
}

func rename(tx *store.Txn, i int) {
	n, _ := tables.Networks.Get(tx, cloud.Network(3))
	n.Name = fmt.Sprint("name ", i)
	tables.Networks.Put(tx, n.ID, n)
}

// BenchmarkRuleChange moves the TCP port that a group of 45 instances on 42 nodes lets in.
func BenchmarkRuleChange(b *testing.B) {
	bySize(b, func(tx *store.Txn, s cloud.Shape, i int) { s.PutRule(tx, 0, 9, sshRule(22+i%2)) }, nil)
}

func sshRule(port int) model.RulePlane {
	return model.RulePlane{Direction: model.Ingress, Ethertype: model.EtherIPv4, Protocol: "tcp", PortMin: &port, PortMax: &port}
}
