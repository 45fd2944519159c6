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

// cost is what one change cost the engine.
type cost struct{ units, flows int }

func (f *follower) change(do func(*store.Txn)) cost {
	before := f.e.Stats().UnitRuns
	cloud.Commit(f.st, do)
	flows := f.update()
	return cost{int(f.e.Stats().UnitRuns - before), flows}
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

func bySize(b *testing.B, bench func(*testing.B, *follower)) {
	for _, s := range sizes {
		b.Run(fmt.Sprintf("ports=%d", s.Networks*s.Ports), func(b *testing.B) { bench(b, newFollower(s)) })
	}
}

// BenchmarkPortCreate binds and plugs one port more; removing it again is not counted. The classic profile sends every other
// node one flow for it.
func BenchmarkPortCreate(b *testing.B) {
	bySize(b, func(b *testing.B, f *follower) {
		var c cost
		p := f.shape.Ports
		for b.Loop() {
			c = f.change(func(tx *store.Txn) { f.shape.PutPort(tx, 3, p) })
			b.StopTimer()
			f.change(func(tx *store.Txn) { f.shape.DeletePort(tx, 3, p) })
			b.StartTimer()
		}
		c.report(b)
	})
}

func (c cost) report(b *testing.B) {
	b.ReportMetric(float64(c.units), "units/change")
	b.ReportMetric(float64(c.flows), "flows/change")
}

// BenchmarkRename changes a network outside its data plane: the engine has nothing to do.
func BenchmarkRename(b *testing.B) {
	bySize(b, func(b *testing.B, f *follower) {
		var c cost
		for i := 0; b.Loop(); i++ {
			c = f.change(func(tx *store.Txn) { rename(tx, i) })
		}
		c.report(b)
	})
}

func rename(tx *store.Txn, i int) {
	n, _ := tables.Networks.Get(tx, cloud.Network(3))
	n.Name = fmt.Sprint("name ", i)
	tables.Networks.Put(tx, n.ID, n)
}

// BenchmarkRuleChange opens and closes a TCP port in a group of 45 instances.
func BenchmarkRuleChange(b *testing.B) {
	bySize(b, func(b *testing.B, f *follower) {
		var c cost
		for i := 0; b.Loop(); i++ {
			c = f.change(func(tx *store.Txn) { f.shape.PutRule(tx, 0, 9, sshRule(22+i%2)) })
		}
		c.report(b)
	})
}

func sshRule(port int) model.RulePlane {
	return model.RulePlane{Direction: model.Ingress, Ethertype: model.EtherIPv4, Protocol: "tcp", PortMin: &port, PortMax: &port}
}

// BenchmarkCommitAndCompile sets the cost of a port's commit (in memory) beside that of its compilation.
func BenchmarkCommitAndCompile(b *testing.B) {
	bySize(b, func(b *testing.B, f *follower) {
		var commit, build time.Duration
		p := f.shape.Ports
		for b.Loop() {
			start := time.Now()
			cloud.Commit(f.st, func(tx *store.Txn) { f.shape.PutPort(tx, 3, p) })
			committed := time.Now()
			f.update()
			commit, build = commit+committed.Sub(start), build+time.Since(committed)
			b.StopTimer()
			f.change(func(tx *store.Txn) { f.shape.DeletePort(tx, 3, p) })
			b.StartTimer()
		}
		b.ReportMetric(float64(commit.Nanoseconds())/float64(b.N), "commit-ns")
		b.ReportMetric(float64(build.Nanoseconds())/float64(b.N), "compile-ns")
	})
}
