// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"nagare/internal/ovstest"
	"nagare/openflow"
	"nagare/ovsdb"
	"nagare/test/bench/host"
)

// equalSwitch gives a switch of its own the ports, groups and meters of a node of the cloud and then its flows, encoded
// beforehand, over one connection with one barrier at the end: what is the least that a switch needs for them.
func equalSwitch(h *host.Host, c *cloud, like *node) (l limit) {
	ctx := h.Context()
	n := startNode(h, like.number, "")
	n.AddBridge(bridge)
	n.open()
	names, err := like.numbers(ctx)
	h.Must(err)
	var taps []string
	for name := range names {
		if name != bridge {
			taps = append(taps, name)
		}
	}
	slices.Sort(taps)
	start := processorTime(n.VswitchdPID())
	h.Must(parallel(plugging, len(taps), func(i int) error { return n.plugAt(taps[i], names[taps[i]]) }))
	h.Must(ovstest.Poll(time.Minute, func() error {
		have, err := n.numbers(ctx)
		if err == nil && len(have) < len(names) {
			err = fmt.Errorf("%d interfaces of %d", len(have), len(names))
		}
		return err
	}))
	l.plug = processorTime(n.VswitchdPID()) - start

	meters, err := like.of.DumpMeters(ctx)
	h.Must(err)
	for _, m := range meters {
		h.Must(n.of.Apply(ctx, &openflow.MeterMod{Flags: m.Flags, ID: m.ID, Bands: m.Bands}))
	}
	groups, err := like.of.DumpGroups(ctx)
	h.Must(err)
	for _, g := range groups {
		h.Must(n.of.Apply(ctx, &openflow.GroupMod{Type: g.Type, ID: g.ID, Buckets: g.Buckets}))
	}
	var mods []byte
	flows := 0
	h.Must(like.of.DumpFlows(ctx, openflow.AllFlows, func(f *openflow.FlowStats) error {
		flows++
		mods = openflow.AppendFlowMod(mods, 0, &openflow.FlowMod{Cookie: f.Cookie, Table: f.Table, Priority: f.Priority, Flags: f.Flags,
			Match: f.Match, Instructions: f.Instructions})
		return nil
	}))
	var walls, cpus []time.Duration
	for range 5 {
		h.Must(n.of.Apply(ctx, &openflow.FlowMod{Table: openflow.TableAll, Command: openflow.FlowDelete}))
		began, burnt := time.Now(), processorTime(n.VswitchdPID())
		h.Must(push(n.MgmtSocket(bridge), mods))
		walls, cpus = append(walls, time.Since(began)), append(cpus, processorTime(n.VswitchdPID())-burnt)
		if have, err := n.flows(ctx); err != nil || have != flows {
			h.Fatalf("equal switch: holds %d flows of %d (%v)", have, flows, err)
		}
	}
	l.perFlow = percentile(cpus, .5) / time.Duration(flows)
	l.rate = float64(flows) / percentile(walls, .5).Seconds()
	return l
}

// plugAt adds a simulated interface under a number.
func (n *node) plugAt(name string, number uint32) error {
	t := ovsdb.NewTxn("Open_vSwitch")
	i := t.Insert("Interface", ovsdb.Fields{"name": ovsdb.String(name), "type": ovsdb.String("dummy"), "ofport_request": ovsdb.Int(number)})
	p := t.Insert("Port", ovsdb.Fields{"name": ovsdb.String(name), "interfaces": i})
	t.Mutate("Bridge", ovsdb.ByUUID(n.bridge), ovsdb.Add("ports", p))
	_, err := n.db.Commit(n.h.Context(), t)
	return err
}

// push writes encoded messages over a session of its own and returns once the barrier after them was answered.
func push(socket string, mods []byte) error {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer c.Close()
	const barrier = 0x7fffffff
	var hello []byte
	hello, mark := openflow.OpenMessage(hello, 0, 1)
	hello = openflow.CloseMessage(hello, mark)
	var fault error
	var wg sync.WaitGroup
	wg.Go(func() { // reads while we write, so that neither side waits for the other
		r := bufio.NewReaderSize(c, 1<<16)
		for {
			m, err := openflow.ReadMessage(r, openflow.MaxMessage)
			if err != nil {
				fault = err
				return
			}
			switch {
			case m[1] == 1: // an error
				fault = fmt.Errorf("switch refuses: % x", m[:min(len(m), 40)])
				return
			case binary.BigEndian.Uint32(m[4:]) == barrier:
				return
			}
		}
	})
	_, err = c.Write(append(append(hello, mods...), (&openflow.BarrierRequest{}).AppendMessage(nil, barrier)...))
	wg.Wait()
	if err != nil {
		return err
	}
	return fault
}
