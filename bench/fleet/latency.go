// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"nagare/internal/netvirt"
	"nagare/test/bench/host"
)

// latencyFigures are those of single changes on top of a filled cloud, ours or a peer's.
type latencyFigures struct {
	work              // what is there before
	n                 int
	up, done          []time.Duration // one port: until ACTIVE at its node, until every node's flows are there
	up50, up99        time.Duration
	done50, done99    time.Duration
	cpu               time.Duration // per port, of everything
	bill              bill
	plugBill          bill // of it, for the interface, before the request
	ruleWall, ruleCPU time.Duration
	ruleBill          bill
	ruleFlows         float64 // changes of flows per rule and node
	idle              float64 // of a core
	flows             float64 // of a node
	traces            string
	load              string
}

// calm is how long no switch may have told of a change for a change to count as over.
const calm = 60 * time.Millisecond

// latency measures one more port, n times, and one more rule, on top of w.
func latency(h *host.Host, o *options, w work, n int) (l latencyFigures) {
	all := w
	all.ports += n
	c := raise(h, o, all, w.ports, n)
	if w.ports > 0 {
		c.fill(0, w.ports)
	}
	for _, node := range c.nodes {
		node.observe()
	}
	h.Must(c.settled())
	l = latencyFigures{work: w, n: n, load: load()}
	start := c.spent()
	l.plugBill = bill{}
	for i := range n {
		up, done := c.onePort(w.ports+i, l.plugBill)
		l.up, l.done = append(l.up, up), append(l.done, done)
	}
	l.bill = c.spent().minus(start)
	for k := range l.bill {
		l.bill[k] /= time.Duration(n)
		l.plugBill[k] /= time.Duration(n)
	}
	l.cpu = l.bill.total()
	l.up50, l.up99 = percentile(l.up, .5), percentile(l.up, .99)
	l.done50, l.done99 = percentile(l.done, .5), percentile(l.done, .99)
	l.load += " → " + load()
	t := c.verify(all)
	l.traces = t.String()
	if t.lost > 0 {
		h.Log(t.fault)
	}
	c.rules(&l)
	flows, err := c.flows()
	h.Must(err)
	l.flows = mean(flows)
	rest := time.Now()
	start = c.spent()
	timer := time.NewTimer(5 * time.Second)
	<-timer.C
	l.idle = c.spent().minus(start).total().Seconds() / time.Since(rest).Seconds()
	return l
}

// onePort creates a port whose interface is plugged already. The clock starts with the request. What plugging costs is added to
// a bill: most of it is the simulated datapath's, which looks at all of its ports.
func (c *cloud) onePort(p int, plugging bill) (up, done time.Duration) {
	ctx := c.h.Context()
	home := c.nodes[c.nodeOf(p)]
	before := c.spent()
	c.h.Must(home.plug(ctx, c.tap(p), c.id(p), c.mac(p)))
	c.h.Must(home.awaitNumber(ctx, c.tap(p)))
	c.calm(time.Now())
	for k, d := range c.spent().minus(before) {
		plugging[k] += d
	}
	start := time.Now()
	id, err := c.post(ctx, p)
	c.h.Must(err)
	if id != c.id(p) {
		c.h.Fatalf("port %d got the id %s instead of the recorded one", p, id)
	}
	c.ports[p] = id
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for { // each question costs the server some 100 µs, so not without rest
		ok, err := c.srv.active(ctx, id)
		c.h.Must(err)
		if ok {
			break
		}
		if time.Since(start) > time.Minute {
			c.h.Fatalf("port %d is not ACTIVE after a minute", p)
		}
		<-tick.C
	}
	up = time.Since(start)
	last := c.calm(start)
	if last.IsZero() {
		c.h.Fatalf("port %d is ACTIVE, and no switch has changed a flow", p)
	}
	return up, max(up, last.Sub(start))
}

// calm waits until no switch has told of a change for a while and returns when the last one did; zero if none did since.
func (c *cloud) calm(since time.Time) (last time.Time) {
	for {
		last = since
		for _, n := range c.nodes {
			if t := time.Unix(0, n.seen.Load()); t.After(last) {
				last = t
			}
		}
		left := calm - time.Since(last)
		if left <= 0 {
			break
		}
		timer := time.NewTimer(left)
		<-timer.C
	}
	if last.Equal(since) {
		return time.Time{}
	}
	return last
}

// rules adds rules to the first tenant's group, one by one. That they work is tried with a packet from an address that no
// group has: it gets in after the rule and not before.
func (c *cloud) rules(l *latencyFigures) {
	const rounds = 5
	ctx := context.WithoutCancel(c.h.Context())
	var walls []time.Duration
	start, events := c.spent(), int64(0)
	for _, n := range c.nodes {
		events -= n.events.Load()
	}
	for i := range rounds {
		port := 8000 + i
		began := time.Now()
		_, err := c.srv.create(ctx, "security_group_rule", object{"security_group_id": c.groups[0], "project_id": project(0), "direction": "ingress",
			"ethertype": "IPv4", "protocol": "tcp", "port_range_min": port, "port_range_max": port})
		c.h.Must(err)
		c.h.Must(c.poll(time.Minute, func() error { // a calm may come before the storm, too
			if c.calm(began).IsZero() {
				return errors.New("no switch has changed a flow for a rule")
			}
			return c.srv.inSync(ctx, c.work.nodes)
		}))
		walls = append(walls, c.calm(began).Sub(began))
	}
	l.ruleBill = c.spent().minus(start)
	for k := range l.ruleBill {
		l.ruleBill[k] /= rounds
	}
	for _, n := range c.nodes {
		events += n.events.Load()
	}
	l.ruleFlows = float64(events) / rounds / float64(len(c.nodes))
	l.ruleWall, l.ruleCPU = percentile(walls, .5), l.ruleBill.total()
	for port, want := range map[int]bool{8000: true, 8000 + rounds - 1: true, 9000: false} {
		if got := c.letsIn(port); got != want && c.o.profile != "classic" {
			c.h.Fatalf("TCP/%d from a stranger gets in: %v, want %v", port, got, want)
		}
	}
}

// letsIn reports whether TCP to port 0 of the workload from an address without a group gets in from another node.
func (c *cloud) letsIn(tcp int) bool {
	home := c.nodeOf(0)
	from := (home + 1) % len(c.nodes)
	n := c.nodes[home]
	numbers, err := n.numbers(c.h.Context())
	c.h.Must(err)
	// The network's number on the wire is what the other way round sets.
	_, network, _ := n.trace(fmt.Sprintf("in_port=%d,tcp,dl_src=%s,dl_dst=%s,nw_src=%s,nw_dst=%s,nw_ttl=64,tcp_src=4000,tcp_dst=22",
		numbers[c.tap(0)], c.mac(0), "fa:16:3e:ff:ff:fe", c.ip(0), c.stranger(0)))
	out, _, _ := n.trace(fmt.Sprintf("in_port=%d,tun_id=%s,tcp,dl_src=fa:16:3e:ff:ff:fe,dl_dst=%s,nw_src=%s,nw_dst=%s,nw_ttl=64,tcp_src=4000,tcp_dst=%d",
		numbers[netvirt.TunnelName(vtep(from))], network, c.mac(0), c.stranger(0), c.ip(0), tcp))
	return slices.Contains(out, strconv.Itoa(int(numbers[c.tap(0)])))
}
