// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"nagare/internal/flow"
	"nagare/internal/ovstest"
	"nagare/openflow"
	"nagare/test/bench/cloud"
	"nagare/test/bench/host"
)

// switchCPU is the limit under any controller: what Open vSwitch 3.1 spends on one flow-mod of the shapes of a Neutron port,
// however it is sent (measured on a comparable machine with flow-mods encoded beforehand).
const switchCPU = 4500 * time.Nanosecond

func mods(fs []flow.Flow) []openflow.Message {
	out := make([]openflow.Message, len(fs))
	for i, f := range fs {
		out[i] = &openflow.FlowMod{Table: f.Table, Priority: f.Priority, Cookie: f.Cookie, Match: []byte(f.Match), Instructions: []byte(f.Actions)}
	}
	return out
}

// encode times the encoder over the flows of a port.
func encode(*host.Host) []row {
	ms := mods(cloud.Shape{Nodes: 4, Networks: 40, Ports: 10, Standard: true}.NodeFlows(0))
	r := testing.Benchmark(func(b *testing.B) {
		buf := make([]byte, 0, 4096)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			buf = openflow.AppendFlowMod(buf[:0], uint32(i), ms[i%len(ms)].(*openflow.FlowMod))
		}
	})
	ns := float64(r.T.Nanoseconds()) / float64(r.N)
	return []row{
		{"encode a flow-mod", fmt.Sprintf("%.0f ns", ns), "4,500 ns (the switch's CPU for it)", ratio(ns, 4500), "AppendFlowMod over the flows of a node"},
		{"allocations per flow-mod", fmt.Sprint(r.AllocsPerOp()), "0", "", "same"},
	}
}

// load programs one switch with the flows of a node in several ways.
func load(h *host.Host) []row {
	const rounds = 5
	fs := cloud.Shape{Nodes: 100, Networks: 1000, Ports: 10}.NodeFlows(0)
	ms := mods(fs)
	file := filepath.Join(h.Dir(), "flows")
	h.Must(os.WriteFile(file, []byte(strings.Join(flow.Lines(fs), "\n")+"\n"), 0o600))
	sw := ovstest.Start(h)
	sw.AddBridge("br0")
	c := openflow.NewConn(sw.Dial("br0"), openflow.Config{})
	defer c.Close()
	_, err := c.Handshake(h.Context())
	h.Must(err)
	ways := []struct {
		name string
		load func() error
		wall []time.Duration
		cpu  time.Duration
	}{
		{name: "one bundle", load: func() error { return c.SendBundle(h.Context(), openflow.BundleAtomic|openflow.BundleOrdered, ms...) }},
		{name: "plain flow-mods", load: func() error { return c.Apply(h.Context(), ms...) }},
		{name: "ovs-ofctl --bundle", load: func() error { sw.Ofctl("--bundle", "add-flows", "br0", file); return nil }},
	}
	for round := range rounds + 1 { // the first one warms up
		for i := range ways {
			w := &ways[i]
			start, burnt := time.Now(), processorTime(h, sw.VswitchdPID())
			h.Must(w.load())
			took := time.Since(start)
			spent := processorTime(h, sw.VswitchdPID()) - burnt
			if a, err := c.Aggregate(h.Context(), openflow.AllFlows); err != nil || int(a.Flows) != len(fs) {
				h.Fatalf("%s: switch holds %d flows of %d, %v", w.name, a.Flows, len(fs), err)
			}
			h.Must(c.Apply(h.Context(), &openflow.FlowMod{Table: openflow.TableAll, Command: openflow.FlowDelete}))
			if round > 0 {
				w.wall, w.cpu = append(w.wall, took), w.cpu+spent
			}
		}
	}
	peer := float64(len(fs)) / median(ways[2].wall).Seconds()
	var rows []row
	for _, w := range ways[:2] {
		rate := float64(len(fs)) / median(w.wall).Seconds()
		rows = append(rows, row{"load a switch, " + w.name, count(rate) + " flows/s", count(peer) + " flows/s (ovs-ofctl --bundle)", ratio(rate, peer),
			fmt.Sprintf("%s flows of one node, median of %d rounds; higher is better", count(float64(len(fs))), rounds)})
	}
	for _, w := range ways {
		each := w.cpu / time.Duration(rounds*len(fs))
		rows = append(rows, row{"switch's CPU per flow, " + w.name, fmt.Sprintf("%.1f µs", each.Seconds()*1e6), "4.5 µs (limit)",
			ratio(each.Seconds(), switchCPU.Seconds()), "user and system time of ovs-vswitchd in the same rounds"})
	}
	return rows
}

// processorTime is what a process has used of the processors, from /proc.
func processorTime(h *host.Host, pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	h.Must(err)
	_, rest, _ := strings.Cut(string(b), ") ") // the name may hold anything
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		h.Fatalf("/proc/%d/stat: only %d fields", pid, len(fields))
	}
	var ticks int64
	for _, f := range fields[11:13] { // utime and stime, see proc(5)
		n, err := strconv.ParseInt(f, 10, 64)
		h.Must(err)
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100) // USER_HZ
}
