// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"runtime"
	"time"

	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/test/bench/cloud"
	"nagare/test/bench/host"
)

// compileAll compiles 10,000 ports on 100 nodes from nothing.
func compileAll(*host.Host) []row {
	s := cloud.Shape{Nodes: 100, Networks: 1000, Ports: 10}
	empty := heap()
	st := store.New(tables.Schema, nil)
	s.Build(st)
	stored := heap()
	e := s.NewEngine()
	start, burnt := time.Now(), cloud.ProcessorTime()
	e.Update(st.Snapshot(), &store.Changes{All: true})
	took, spent := time.Since(start), cloud.ProcessorTime()-burnt
	kept := float64(heap() - stored)
	flows := float64(s.Flows(e))
	ports := float64(s.Networks * s.Ports)
	runtime.KeepAlive(st)
	each := spent.Seconds() / flows
	how := fmt.Sprintf("10,000 ports, 1,000 networks, 100 nodes: %s flows, %s units", count(flows), count(float64(e.UnitCount())))
	return []row{
		{"full compile", fmt.Sprintf("%.1f s, %s flows/s", took.Seconds(), count(flows/took.Seconds())), "220,000 flows/s (one switch takes)", ratio(flows/took.Seconds(), 220000), how + "; higher is better"},
		{"our CPU per flow, full compile", fmt.Sprintf("%.1f µs", each*1e6), "4.5 µs (the switch's)", ratio(each, switchCPU.Seconds()), "garbage collection included"},
		{"bytes per flow", fmt.Sprintf("%.0f B", kept/flows), "150 B (aim)", ratio(kept/flows, 150), "heap of the engine, dependency records included"},
		{"bytes per port, store", count(float64(stored-empty)/ports) + " B", "", "", "records, indices and derived tables; the engine keeps " + count(kept/ports) + " B per port for all nodes"},
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// changes measures single changes at three sizes. Counts must be the same at each.
func changes(*host.Host) []row {
	const times = 200
	var rows []row
	var first time.Duration
	for _, networks := range []int{10, 100, 1000} {
		s := cloud.Shape{Nodes: 100, Networks: networks, Ports: 10}
		f := s.Follow()
		var took []time.Duration
		var c cloud.Cost
		for range times {
			c = f.Change(func(tx *store.Txn) { s.CreatePort(tx) })
			took = append(took, c.Compile)
			f.Change(func(tx *store.Txn) { s.DropPort(tx) })
		}
		ours := median(took)
		r := row{figure: fmt.Sprintf("port create, compile, at %s ports", count(float64(networks*s.Ports))),
			ours: fmt.Sprintf("%d units, %d flows, %s", c.Units, c.Flows, micros(ours)),
			how:  fmt.Sprintf("100 nodes, median of %d; classic sends every other node one flow", times)}
		if first == 0 {
			first = ours
		} else {
			r.limit, r.ratio = micros(first)+" (at 100 ports)", ratio(ours.Seconds(), first.Seconds())
		}
		rows = append(rows, r)
		if networks == 1000 {
			rename := f.Change(func(tx *store.Txn) { s.Rename(tx, 1) })
			rule := f.Change(func(tx *store.Txn) { s.OpenPort(tx, 22) })
			rows = append(rows,
				row{"rename of a network, at 10,000 ports", fmt.Sprintf("%d units, %d flows", rename.Units, rename.Flows), "0 units", "", "a change outside the data plane"},
				row{"rule in a group of 45 ports, at 10,000 ports", fmt.Sprintf("%d units, %d flows, %s", rule.Units, rule.Flows, micros(rule.Compile)),
					"45 units", ratio(float64(rule.Units), 45), "classic has a permit per port and rule"})
		}
	}
	return rows
}
