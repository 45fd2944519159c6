// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"sync/atomic"
	"time"

	"nagare/internal/netvirt"
	"nagare/internal/ovstest"
	"nagare/openflow"
	"nagare/ovsdb"
	"nagare/test/bench/host"
)

// node is a compute node: a private Open vSwitch with simulated devices, and our own sessions with it, as what plugs instances
// and what observes. The controller's sessions are its own affair.
type node struct {
	*ovstest.Switch
	h      *host.Host
	number int
	bridge ovsdb.UUID
	db     *ovsdb.Session
	of     *openflow.Conn
	watch  *openflow.Conn
	seen   atomic.Int64 // when the last change of a flow was told, in nanoseconds since 1970
	events atomic.Int64
}

// startNode starts a switch that names itself and its tunnel's address and calls the controller, nothing more.
func startNode(h *host.Host, number int, manager string) *node {
	n := &node{Switch: ovstest.Start(h), h: h, number: number}
	n.Vsctl("set", "Open_vSwitch", ".", "external_ids:hostname="+nodeName(number), "external_ids:system-id="+nodeName(number),
		"external_ids:ovn-bridge-datapath-type=dummy", "other_config:local_ip="+vtep(number).String())
	if manager != "" {
		n.Vsctl("set-manager", "tcp:"+manager)
	}
	return n
}

// open begins our sessions, once the bridge is there.
func (n *node) open() {
	c, err := ovsdb.Dial(n.h.Context(), n.DB(), nil)
	n.h.Must(err)
	n.db = ovsdb.NewSession(c, ovsdb.Options{ProbeInterval: -1})
	n.h.Cleanup(func() { n.db.Close() })
	t := ovsdb.NewTxn("Open_vSwitch")
	at := t.Select("Bridge", ovsdb.Where("name", ovsdb.String(netvirt.Bridge)), "_uuid")
	res, err := n.db.Commit(n.h.Context(), t)
	n.h.Must(err)
	if len(res.Rows(at)) != 1 {
		n.h.Fatalf("node %d: no %s", n.number, netvirt.Bridge)
	}
	n.bridge, _ = res.Rows(at)[0].UUID("_uuid")
	n.dial()
}

// dial begins our OpenFlow session anew.
func (n *node) dial() {
	if n.of != nil {
		n.of.Close()
	}
	n.of = n.connect(openflow.Config{ProbeInterval: -1})
}

func (n *node) connect(cfg openflow.Config) *openflow.Conn {
	var nc net.Conn
	n.h.Must(ovstest.Poll(time.Minute, func() (err error) {
		nc, err = net.Dial("unix", n.MgmtSocket(netvirt.Bridge))
		return err
	}))
	c := openflow.NewConn(nc, cfg)
	n.h.Cleanup(func() { c.Close() })
	_, err := c.Handshake(n.h.Context())
	n.h.Must(err)
	return c
}

// observe asks the switch to tell of every change of a flow. It costs the switch about as much again per changed flow, so it is
// for latency and not for bulk work.
func (n *node) observe() {
	n.watch = n.connect(openflow.Config{ProbeInterval: -1, EventBytes: 16 << 20, Handler: openflow.Handler{FlowUpdate: func(us []openflow.FlowUpdate) {
		n.seen.Store(time.Now().UnixNano())
		n.events.Add(int64(len(us)))
	}}})
	_, err := n.watch.StartMonitor(n.h.Context(), &openflow.FlowMonitor{ID: 1, Table: openflow.TableAll,
		Flags: openflow.MonitorAdd | openflow.MonitorDelete | openflow.MonitorModify})
	n.h.Must(err)
}

// flows counts what the switch holds, by table: unlike an aggregate that costs it nothing.
func (n *node) flows(ctx context.Context) (int, error) {
	ts, err := n.of.Tables(ctx)
	sum := 0
	for _, t := range ts {
		sum += int(t.Active)
	}
	return sum, err
}

// plug adds an interface with the port's id, as a hypervisor does, in one transaction.
func (n *node) plug(ctx context.Context, name, port, mac string) error {
	t := ovsdb.NewTxn("Open_vSwitch")
	i := t.Insert("Interface", ovsdb.Fields{"name": ovsdb.String(name), "type": ovsdb.String("dummy"),
		"external_ids": ovsdb.StringMap(map[string]string{"iface-id": port, "attached-mac": mac, "iface-status": "active", "vm-uuid": port})})
	p := t.Insert("Port", ovsdb.Fields{"name": ovsdb.String(name), "interfaces": i})
	t.Mutate("Bridge", ovsdb.ByUUID(n.bridge), ovsdb.Add("ports", p))
	_, err := n.db.Commit(ctx, t)
	return err
}

// numbers are the OpenFlow numbers of the node's interfaces, by name.
func (n *node) numbers(ctx context.Context) (map[string]uint32, error) {
	t := ovsdb.NewTxn("Open_vSwitch")
	at := t.Select("Interface", ovsdb.All(), "name", "ofport")
	res, err := n.db.Commit(ctx, t)
	if err != nil {
		return nil, err
	}
	out := map[string]uint32{}
	for _, r := range res.Rows(at) {
		if no, ok := r.Int("ofport"); ok && no > 0 {
			out[r.String("name")] = uint32(no)
		}
	}
	return out, nil
}

// awaitNumber waits until the switch has given an interface its number.
func (n *node) awaitNumber(ctx context.Context, name string) error {
	return ovstest.Poll(time.Minute, func() error {
		t := ovsdb.NewTxn("Open_vSwitch")
		at := t.Select("Interface", ovsdb.Where("name", ovsdb.String(name)), "ofport")
		res, err := n.db.Commit(ctx, t)
		if err != nil {
			return err
		}
		for _, r := range res.Rows(at) {
			if no, ok := r.Int("ofport"); ok && no > 0 {
				return nil
			}
		}
		return fmt.Errorf("%s has no OpenFlow number", name)
	})
}

var (
	setsNetwork = regexp.MustCompile(`(?:set_field:|load:)(0x[0-9a-f]+|\d+)->(?:tun_id|NXM_NX_TUN_ID\[\])`)
	outputs     = regexp.MustCompile(`\boutput:(\d+)\b`)
)

// trace follows a packet that enters and reports the ports that it leaves by, and the network that it is in by then. Wherever the
// pipeline asks for connection tracking, the packet is one of a new connection.
func (n *node) trace(packet string) (out []string, network, text string) {
	args := []string{"ofproto/trace", netvirt.Bridge, packet}
	for range 4 {
		args = append(args, "--ct-next", "trk,new")
	}
	text = n.Appctl(args...)
	for _, m := range outputs.FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	for _, m := range setsNetwork.FindAllStringSubmatch(text, -1) {
		network = m[1]
	}
	return out, network, text
}
