// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"nagare/internal/netvirt"
	"nagare/internal/ovstest"
	"nagare/internal/pipeline"
	"nagare/internal/southbound"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/test/bench/cloud"
	"nagare/test/bench/host"
)

// refill restarts the ovs-vswitchd of one real node of a cloud of fifty: it comes back empty, and is full again once the hub
// has compared and its barrier has answered. Only then is the clock stopped; it starts when the switch's session does.
func refill(h *host.Host) []row {
	const rounds = 3
	s := cloud.Shape{Nodes: 50, Networks: 500, Ports: 10}
	st := store.New(tables.Schema, nil)
	hub, ovsdb := startHub(h, st)
	sw := ovstest.Start(h)
	sw.Vsctl("set", "Open_vSwitch", ".", "external_ids:hostname="+string(cloud.Node(0)), "external_ids:system-id="+string(cloud.Node(0)),
		"external_ids:ovn-bridge-datapath-type=dummy", "other_config:local_ip="+cloud.VTEP(0).String())
	sw.Vsctl("set-manager", "tcp:"+ovsdb)
	await := func(what string, ok func(southbound.NodeInfo) bool) (n southbound.NodeInfo) {
		h.Must(ovstest.Poll(time.Minute, func() error {
			var err error
			if n, err = node(h.Context(), hub); err != nil {
				return err
			}
			if !ok(n) {
				return fmt.Errorf("%s: not %s after a minute: %+v", n.ID, what, n)
			}
			return nil
		}))
		return n
	}
	synced := func(n southbound.NodeInfo) bool { return n.InSync && n.Confirmed >= st.Snapshot().Revision() }
	await("enrolled", synced)
	s.Build(st, 0)
	await("in sync with the cloud", synced)

	var plugs []string
	ports := 0
	for n := range s.Networks {
		for p := range s.Ports {
			if s.Host(n, p) != 0 {
				continue
			}
			ports++
			if p == 0 {
				continue // a DHCP port: the hub makes its tap
			}
			name := fmt.Sprint("port", ports)
			plugs = append(plugs, "--", "add-port", "br-int", name, "--", "set", "Interface", name, "type=dummy",
				"external_ids:iface-id="+string(cloud.Port(n, p)))
		}
	}
	sw.Vsctl(plugs[1:]...)
	plugged := func() (n int) {
		for range tables.PlugsByNode.By(st.Snapshot(), string(cloud.Node(0))) {
			n++
		}
		return n
	}
	numbered := func() (n int) {
		for i := range tables.InterfacesByNode.By(st.Snapshot(), string(cloud.Node(0))) {
			if i.OFPort > 0 {
				n++
			}
		}
		return n
	}
	full := await("plugged", func(n southbound.NodeInfo) bool {
		return synced(n) && plugged() == ports && numbered() == ports+s.Nodes-1
	}).Flows

	var walls []time.Duration
	var cpu time.Duration
	sent, broken := 0, 0
	for range rounds {
		before, err := node(h.Context(), hub)
		h.Must(err)
		sw.StopVswitchd()
		await("gone", func(n southbound.NodeInfo) bool { return !n.OpenFlow })
		sw.StartVswitchd()
		pid := sw.VswitchdPID()
		burnt := processorTime(h, pid)
		tick := time.NewTicker(time.Millisecond)
		var began time.Time
		for { // until the session begins, what the switch burns is its own start
			n, err := node(h.Context(), hub)
			h.Must(err)
			if n.OpenFlow {
				began = n.Since
				break
			}
			burnt = processorTime(h, pid)
			<-tick.C
		}
		start := time.Now()
		compiled := false // in an earlier look, so that being in sync now means with all of it
		after := await("full", func(n southbound.NodeInfo) bool {
			was := compiled
			compiled = n.Flows == full
			return was && compiled && synced(n)
		})
		tick.Stop()
		walls, cpu = append(walls, time.Since(start)), cpu+processorTime(h, pid)-burnt
		sent += int(after.Sent.FlowMods - before.Sent.FlowMods)
		if !after.Since.Equal(began) {
			broken++
		}
	}
	wall, each := median(walls), cpu/time.Duration(rounds*full)
	bound := time.Duration(full) * switchCPU
	how := fmt.Sprintf("%s flows of a node with %d ports, ovs-vswitchd restarted, %d rounds", count(float64(full)), ports, rounds)
	return []row{
		{"refill an emptied switch", fmt.Sprintf("%.0f ms", wall.Seconds()*1e3), fmt.Sprintf("%.0f ms (limit)", bound.Seconds()*1e3),
			ratio(wall.Seconds(), bound.Seconds()), how + "; from session to confirmation"},
		{"flow-mods per flow, refill", fmt.Sprintf("%.3f", float64(sent)/float64(rounds*full)), "1", "", "as confirmed; what a broken session had sent is not counted"},
		{"broken sessions, refill", fmt.Sprint(broken), "0", "", fmt.Sprintf("in %d rounds", rounds)},
		{"switch's CPU per flow, refill", fmt.Sprintf("%.1f µs", each.Seconds()*1e6), "4.5 µs (limit)", ratio(each.Seconds(), switchCPU.Seconds()), "and all else that the switch does meanwhile"},
	}
}

// node is the state of the one real node.
func node(ctx context.Context, hub *southbound.Hub) (southbound.NodeInfo, error) {
	ns, err := hub.Nodes(ctx)
	if err != nil {
		return southbound.NodeInfo{}, err
	}
	for _, n := range ns {
		if n.ID == cloud.Node(0) {
			return n, nil
		}
	}
	return southbound.NodeInfo{}, errors.New("the node did not enrol")
}

// startHub runs a hub with its listeners until the section ends and returns the address of OVSDB's.
func startHub(h *host.Host, st *store.Store) (*southbound.Hub, string) {
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		h.Must(err)
		return l
	}
	ovsdb, of := listen(), listen()
	hub := southbound.New(southbound.Config{Store: st, Rules: netvirt.Classic(), Check: pipeline.Check,
		ControllerPort: of.Addr().(*net.TCPAddr).Port, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, f := range []func() error{
		func() error { return hub.Run(ctx) },
		func() error { return hub.Serve(ctx, ovsdb, hub.ServeOVSDB) },
		func() error { return hub.Serve(ctx, of, hub.ServeOpenFlow) },
	} {
		running.Go(func() {
			if err := f(); err != nil && ctx.Err() == nil {
				h.Log("bench: hub:", err)
			}
		})
	}
	h.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return hub, ovsdb.Addr().String()
}
