// SPDX-License-Identifier: Apache-2.0

package netvirt_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/test/bench/cloud"
)

// large is the cloud of the scoreboard: 10,000 ports on 100 nodes.
var large = cloud.Shape{Nodes: 100, Networks: 1000, Ports: 10}

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
		e := large.NewEngine()
		start, burnt := time.Now(), cloud.ProcessorTime()
		e.Update(st.Snapshot(), &store.Changes{All: true})
		took, spent = took+time.Since(start), spent+cloud.ProcessorTime()-burnt
		kept = int(heap() - before)
		flows, units = large.Flows(e), e.UnitCount()
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

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// bySize times one kind of change on clouds of 100, 1,000 and 10,000 ports on 100 nodes: ns/op is what the engine took for
// it, commit-ns what the store (in memory) took. After each change undo, if not nil, is compiled too, but not counted.
func bySize(b *testing.B, do func(tx *store.Txn, s cloud.Shape, i int), undo func(tx *store.Txn, s cloud.Shape)) {
	for _, networks := range []int{10, 100, 1000} {
		s := cloud.Shape{Nodes: 100, Networks: networks, Ports: 10}
		b.Run(fmt.Sprintf("ports=%d", s.Networks*s.Ports), func(b *testing.B) {
			f := s.Follow()
			var c, sum cloud.Cost
			for i := 0; b.Loop(); i++ {
				c = f.Change(func(tx *store.Txn) { do(tx, s, i) })
				sum.Commit, sum.Compile = sum.Commit+c.Commit, sum.Compile+c.Compile
				if undo != nil {
					f.Change(func(tx *store.Txn) { undo(tx, s) })
				}
			}
			b.ReportMetric(float64(sum.Compile.Nanoseconds())/float64(b.N), "ns/op")
			b.ReportMetric(float64(sum.Commit.Nanoseconds())/float64(b.N), "commit-ns/op")
			b.ReportMetric(float64(c.Units), "units/op")
			b.ReportMetric(float64(c.Flows), "flows/op")
		})
	}
}

// BenchmarkPortCreate binds and plugs one port more, on a node that has its network already. The classic profile sends every
// other node one flow for it.
func BenchmarkPortCreate(b *testing.B) {
	bySize(b, func(tx *store.Txn, s cloud.Shape, _ int) { s.CreatePort(tx) }, func(tx *store.Txn, s cloud.Shape) { s.DropPort(tx) })
}

// BenchmarkRename changes a network outside its data plane: the engine has nothing to do.
func BenchmarkRename(b *testing.B) {
	bySize(b, func(tx *store.Txn, s cloud.Shape, i int) { s.Rename(tx, i) }, nil)
}

// BenchmarkRuleChange moves the TCP port that a group of 45 instances lets in.
func BenchmarkRuleChange(b *testing.B) {
	bySize(b, func(tx *store.Txn, s cloud.Shape, i int) { s.OpenPort(tx, 22+i%2) }, nil)
}
