// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"syscall"
	"time"

	"nagare/internal/netvirt"
	"nagare/internal/ovstest"
	"nagare/test/bench/host"
)

// bulkFigures are those of a cloud that is filled from nothing, ours or a peer's.
type bulkFigures struct {
	work
	took      filled
	perSecond float64       // ports
	cpu       time.Duration // of everything
	bill      bill          // by kind; ours only
	central   float64       // resident bytes of the central processes
	empty     float64       // of them, before there was a port; ours only
	perNode   float64       // resident bytes of the controller's processes on each node
	switchCPU time.Duration // of all ovs-vswitchd
	flows     float64       // of a node, on average
	base      float64       // of them, before there was a port
	traces    string
	load      string
}

// limit is what an equal switch does with the same ports and flows, pushed by somebody who has nothing to compute.
type limit struct {
	plug    time.Duration // CPU of ovs-vswitchd for adding the ports
	perFlow time.Duration // CPU of ovs-vswitchd for a flow
	rate    float64       // flows per second
}

// refillFigures are those of a switch that comes back empty.
type refillFigures struct {
	flows         int
	start, refill time.Duration // from the kill until the session is there, and from then until it is full
	cpu           time.Duration // of the new ovs-vswitchd
	mods          float64       // flow-mods sent per flow
	traces        traced
}

// bulk fills a cloud from nothing, and then kills one of its switches.
func bulk(h *host.Host, o *options, w work, withLimit bool) (b bulkFigures, l limit, r refillFigures) {
	c := raise(h, o, w, 0, 0)
	before, err := c.flows()
	h.Must(err)
	b = bulkFigures{work: w, load: load(), base: mean(before)}
	start := c.spent()
	b.took = c.fill(0, w.ports)
	b.bill = c.spent().minus(start)
	b.cpu, b.switchCPU = b.bill.total(), b.bill[vswitchd]
	b.perSecond = float64(w.ports) / b.took.done.Seconds()
	b.empty = c.empty
	b.central = resident(c.srv.cmd.Process.Pid)
	after, err := c.flows()
	h.Must(err)
	b.flows = mean(after)
	t := c.verify(w)
	b.traces = t.String()
	if t.lost > 0 {
		h.Log(t.fault)
	}
	b.load += " → " + load()
	if !withLimit {
		return b, l, r
	}
	l = equalSwitch(h, c, c.nodes[0])
	return b, l, refill(c)
}

// refill kills the ovs-vswitchd of node 0, with all it holds, and starts it again.
func refill(c *cloud) (r refillFigures) {
	n, ctx := c.nodes[0], c.h.Context()
	full, err := n.flows(ctx)
	c.h.Must(err)
	r.flows = full
	state := func() (s nodeState) {
		nodes, err := c.srv.nodes(ctx)
		c.h.Must(err)
		for _, s = range nodes {
			if s.ID == nodeName(0) {
				return s
			}
		}
		return s
	}
	sent := state().Sent.FlowMods
	began := time.Now()
	c.h.Must(syscall.Kill(n.VswitchdPID(), syscall.SIGKILL))
	n.StopVswitchd() // waits for it and takes its socket away
	n.StartVswitchd()
	n.dial()
	var last time.Time
	c.h.Must(ovstest.Poll(patience, func() error {
		have, err := n.flows(ctx)
		if err != nil {
			return err
		}
		if have != full {
			return fmt.Errorf("node 0 holds %d flows of %d", have, full)
		}
		last = time.Now()
		return nil
	}))
	c.h.Must(c.settled())
	s := state()
	r.start, r.refill = s.Since.Sub(began), last.Sub(s.Since)
	r.cpu = processorTime(n.VswitchdPID())
	r.mods = float64(s.Sent.FlowMods-sent) / float64(full)
	if have, err := n.flows(ctx); err != nil || have != full {
		c.h.Fatalf("node 0 holds %d flows of %d in the end (%v)", have, full, err)
	}
	r.traces = c.verify(c.work)
	return r
}

func mean(ns []int) float64 {
	sum := 0
	for _, n := range ns {
		sum += n
	}
	return float64(sum) / float64(len(ns))
}

// bridge is the one that all flows are in.
const bridge = netvirt.Bridge
