// SPDX-License-Identifier: Apache-2.0

package netvirt_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/openflow"
	"nagare/test/bench/cloud"
)

// large is the cloud of the scoreboard: 10,000 ports on 100 nodes, in the standard profile with 100 groups.
var (
	large         = cloud.Shape{Nodes: 100, Networks: 1000, Ports: 10}
	largeStandard = cloud.Shape{Nodes: 100, Networks: 1000, Ports: 11, GroupNetworks: 10, Standard: true} // a DHCP port costs no node anything
)

// BenchmarkFullCompile compiles 10,000 ports on 100 nodes from nothing. Bytes are what the engine keeps, dependency records
// included; the store's records are counted apart, per port.
func BenchmarkFullCompile(b *testing.B) {
	b.Run("classic", func(b *testing.B) { fullCompile(b, large) })
	b.Run("standard", func(b *testing.B) { fullCompile(b, largeStandard) })
	same := largeStandard
	same.SameAddresses = true // a hundred groups share each member's flow
	b.Run("standard-same-addresses", func(b *testing.B) { fullCompile(b, same) })
}

func fullCompile(b *testing.B, large cloud.Shape) {
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
	b.ReportMetric(spent.Seconds()/float64(b.N)/float64(flows)*1e9, "cpu-ns/flow")
	b.ReportMetric(float64(flows), "flows")
	b.ReportMetric(float64(units), "units")
	b.ReportMetric(float64(flows)/seconds, "flows/s")
	b.ReportMetric(float64(kept)/float64(flows), "B/flow")
	b.ReportMetric(float64(kept)/float64(units), "B/unit")
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

// BenchmarkShare counts what one port, one rule and one member more add: flows and bytes on the wire (flow-mods as they
// are sent), on the port's own node and on each other node that has to know. It measures no time.
func BenchmarkShare(b *testing.B) {
	s := cloud.Shape{Nodes: 4, Networks: 20, Ports: 51, Standard: true}
	f := s.Follow()
	home := string(cloud.Node(s.Host(3, 1)))
	other := string(cloud.Node((s.Host(3, 1) + 1) % s.Nodes))
	weigh := func(node string) (flows, bytes float64) {
		d, _ := f.Engine.Desired(node)
		for _, v := range d.Flows {
			bytes += float64(len(openflow.AppendFlowMod(nil, 0, &openflow.FlowMod{Table: v.Table, Priority: v.Priority, Cookie: v.Cookie,
				Match: []byte(v.Match), Instructions: []byte(v.Actions)})))
		}
		return float64(len(d.Flows)), bytes
	}
	member := s.NewPort(0, s.Ports)
	for _, c := range []struct {
		what     string
		do, undo func(tx *store.Txn)
	}{
		{"port", s.CreatePort, s.DropPort},
		{"rule", func(tx *store.Txn) { s.OpenPort(tx, 8000) }, s.ClosePort},
		{"member", func(tx *store.Txn) { putBenchPort(b, tx, member) }, func(tx *store.Txn) { alloc.DeletePort(tx, member.ID) }},
	} {
		b.Run(c.what, func(b *testing.B) {
			for b.Loop() {
				for _, at := range []struct{ where, node string }{{"home", home}, {"other", other}} {
					flows, bytes := weigh(at.node)
					f.Change(c.do)
					moreFlows, moreBytes := weigh(at.node)
					f.Change(c.undo)
					b.ReportMetric(moreFlows-flows, "flows@"+at.where)
					b.ReportMetric(moreBytes-bytes, "B@"+at.where)
				}
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func putBenchPort(b *testing.B, tx *store.Txn, p model.Port) {
	if err := alloc.PutPort(tx, p); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkGroupChange adds and takes away one member, rule or port where a group has 10, 100 and 2,000 members on fifty nodes.
// What is taken away is not counted.
func BenchmarkGroupChange(b *testing.B) {
	for _, members := range []int{10, 100, 2000} {
		f := groupOf(members).Follow()
		s := f.Shape
		member := s.NewPort(0, s.Ports)
		for _, c := range []struct {
			what     string
			do, undo func(tx *store.Txn)
		}{
			{"member", func(tx *store.Txn) { putBenchPort(b, tx, member) }, func(tx *store.Txn) { alloc.DeletePort(tx, member.ID) }},
			{"rule", func(tx *store.Txn) { s.OpenPort(tx, 8000) }, s.ClosePort},
			{"port", func(tx *store.Txn) { s.PutPort(tx, 0, s.Ports) }, func(tx *store.Txn) { s.DeletePort(tx, 0, s.Ports) }},
		} {
			b.Run(fmt.Sprintf("%s/members=%d", c.what, members), func(b *testing.B) {
				var sum time.Duration
				var cost cloud.Cost
				var mallocs uint64
				var before, after runtime.MemStats
				for b.Loop() {
					cloud.Commit(f.Store, c.do)
					runtime.ReadMemStats(&before)
					cost = f.Update()
					runtime.ReadMemStats(&after)
					sum, mallocs = sum+cost.Compile, mallocs+after.Mallocs-before.Mallocs
					f.Change(c.undo)
				}
				b.ReportMetric(float64(sum.Nanoseconds())/float64(b.N), "ns/op")
				b.ReportMetric(float64(mallocs)/float64(b.N), "compile-allocs/op")
				b.ReportMetric(float64(cost.Units), "units/op")
				b.ReportMetric(float64(cost.Flows), "flows/op")
				b.ReportMetric(float64(cost.Groups), "groups/op")
				b.ReportMetric(float64(cost.Most()), "flows@most")
				b.ReportMetric(float64(len(cost.PerNode)), "nodes")
			})
		}
	}
}

// BenchmarkRouterShare counts what a router, its interfaces, its gateway and a floating IP add: flows on a node that hosts an
// instance of its networks, on the node that translates, and on all others together, which is nothing. It measures no time.
func BenchmarkRouterShare(b *testing.B) {
	for _, instances := range []int{5, 10, 20} {
		s := cloud.Shape{Nodes: 40, Networks: 40, Ports: instances + 1, Standard: true}
		for _, legs := range []int{1, 2} {
			f := s.Follow()
			home, gateway := string(cloud.Node(s.Host(0, 1))), string(cloud.Node(0))
			concerned := map[string]bool{gateway: true}
			for n := range legs {
				for p := range instances {
					concerned[string(cloud.Node(s.Host(n, p+1)))] = true
				}
			}
			f.Change(func(tx *store.Txn) {
				s.PutExternal(tx, 0)
				s.PutFloatingIP(tx, 0)
				if legs > 1 {
					s.PutRouter(tx, 0)
					s.Join(tx, 0, 0)
				}
			})
			for _, c := range []struct {
				what string
				do   func(tx *store.Txn)
			}{
				{"router", func(tx *store.Txn) { s.PutRouter(tx, 0) }},
				{"interface", func(tx *store.Txn) { s.Join(tx, 0, legs-1) }},
				{"gateway", func(tx *store.Txn) { s.SetGateway(tx, 0) }},
				{"floating-ip", func(tx *store.Txn) { s.Associate(tx, 0, 0, 0, 1) }},
			} {
				if legs > 1 && c.what == "router" {
					continue
				}
				cost := f.Change(c.do) // each is on top of those before
				b.Run(fmt.Sprintf("%s/networks=%d/instances=%d", c.what, legs, instances), func(b *testing.B) {
					for b.Loop() {
						continue
					}
					others := 0
					for node, n := range cost.PerNode {
						if !concerned[node] {
							others += n
						}
					}
					b.ReportMetric(0, "ns/op")
					b.ReportMetric(float64(cost.PerNode[home]), "flows@home")
					b.ReportMetric(float64(cost.PerNode[gateway]), "flows@gateway")
					b.ReportMetric(float64(others), "flows@others")
					b.ReportMetric(float64(cost.Units), "units")
				})
			}
		}
	}
}

// BenchmarkFloatingIP associates a floating IP where 10 and where 10,000 are present. Taking it back is not counted.
func BenchmarkFloatingIP(b *testing.B) {
	for _, s := range floatedShapes {
		f := s.Follow()
		f.Floated()
		b.Run(fmt.Sprintf("present=%d", s.Instances()), func(b *testing.B) {
			var sum, commit time.Duration
			var c cloud.Cost
			for b.Loop() {
				c = f.Change(func(tx *store.Txn) { s.Associate(tx, 0, 0, 0, 1) })
				sum, commit = sum+c.Compile, commit+c.Commit
				f.Change(func(tx *store.Txn) { s.Disassociate(tx, 0) })
			}
			b.ReportMetric(float64(sum.Nanoseconds())/float64(b.N), "ns/op")
			b.ReportMetric(float64(commit.Nanoseconds())/float64(b.N), "commit-ns/op")
			b.ReportMetric(float64(c.Units), "units/op")
			b.ReportMetric(float64(c.Flows), "flows/op")
		})
	}
}
