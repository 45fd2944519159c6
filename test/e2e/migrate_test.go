// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// machine is a guest as a hypervisor migrates it: its network card is joined to a tap on one of two nodes, and the moment of the
// change is one instruction.
type machine struct {
	*guest
	card  *wire
	taps  map[string]*wire // of its cable to each node, by node
	live  atomic.Pointer[wire]
	heard map[string]*atomic.Int64 // frames for it that came to each node's tap while the other one was live
}

// hypervisor is the namespace of the other end of the machine's card.
func (m *machine) hypervisor() string { return m.name + "-hv" }

// newMachine makes a machine that runs on a node. It is plugged nowhere.
func newMachine(g *guest) *machine {
	s, hv := g.s, g.s.namespace(g.name+"-hv")
	s.t.Helper()
	m := &machine{guest: g, taps: map[string]*wire{}, heard: map[string]*atomic.Int64{}}
	ns := s.namespace(g.name)
	s.t.Cleanup(func() {
		for _, n := range []string{ns, hv} {
			_, _ = s.try(bg, "ip", "netns", "del", n)
		}
	})
	s.batch("", "netns add "+ns, "netns add "+hv)
	s.must("ip", "netns", "exec", hv, "sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6")
	s.batch(ns, "link add eth0 type veth peer name card netns "+hv, "link set lo up", "link set eth0 address "+g.port.MAC+" mtu 1450")
	s.must("ip", "netns", "exec", ns, "ethtool", "-K", "eth0", "tx", "off")
	s.batch(ns, "link set eth0 up", "addr add "+g.ip.String()+"/24 dev eth0")
	s.batch(hv, "link set card mtu 1450 up")
	m.card = s.tap(m.hypervisor(), "card")
	for _, node := range []string{compute, controller} {
		s.batch(s.namespace(node), "link add "+g.tap()+" type veth peer name to-"+node+" netns "+hv, "link set "+g.tap()+" mtu 1450 up")
		s.batch(hv, "link set to-"+node+" mtu 1450 up")
		m.taps[node], m.heard[node] = s.tap(m.hypervisor(), "to-"+node), new(atomic.Int64)
	}
	m.live.Store(m.taps[g.node])
	var relays sync.WaitGroup
	relays.Go(func() {
		m.card.relay(func(f []byte) {
			if bytes.Equal(f[6:12], m.mac) {
				_, _ = m.live.Load().f.Write(f)
			}
		})
	})
	for node, w := range m.taps {
		relays.Go(func() {
			w.relay(func(f []byte) {
				switch {
				case bytes.Equal(f[6:12], m.mac): // its own, on the way out
				case m.live.Load() == w:
					_, _ = m.card.f.Write(f)
				default:
					m.heard[node].Add(1)
				}
			})
		})
	}
	s.t.Cleanup(func() {
		for _, w := range []*wire{m.card, m.taps[compute], m.taps[controller]} {
			w.f.Close()
		}
		relays.Wait()
	})
	return m
}

// relay hands every frame that passes the link to f, until the link is closed.
func (w *wire) relay(f func([]byte)) {
	b := make([]byte, 4096)
	for {
		n, err := w.f.Read(b)
		switch {
		case errors.Is(err, os.ErrClosed):
			return
		case err == nil && n >= 14:
			f(b[:n])
		}
	}
}

// wantOn waits until a node has flows for the machine, or none.
func (m *machine) wantOn(node string, want bool) {
	m.s.t.Helper()
	m.s.eventually(settleWithin, fmt.Sprintf("%s has flows for the port: %v", node, want), func() error {
		fs, err := m.s.flows(node)
		if has := strings.Contains(strings.Join(fs, "\n"), "dl_src="+m.port.MAC+" "); err == nil && has != want {
			err = fmt.Errorf("it is %v", has)
		}
		return err
	})
}

// TestMigration moves a running machine by two bindings of its port, as Nova does: made, plugged there, resumed there, activated,
// unplugged here, deleted. Not a packet is lost on the way to it, and afterwards none; what is lost is what was sent to the old place
// after the machine had left it and before the nodes knew. The port is ACTIVE all the while.
//
// Open vSwitch itself (3.1, userspace datapath) now and then drops some milliseconds of any traffic, on bridges without a controller
// too, while it takes in an interface. So the interface is on the bridge before traffic is counted, belonging to nobody; it is plugged
// when it gets the port's id, and unplugged when it loses it.
//
// It counts single packets at 1 kHz, so that it does not run beside others.
func TestMigration(t *testing.T) {
	s := newSite(t, "--dhcp", "native")
	admin := s.user("admin")
	network, _ := admin.network("net", "10.71.0.0/24")
	group := admin.group("anything", nil, fields{"direction": "ingress", "ethertype": "IPv4"})
	open := fields{"security_groups": []string{group}}
	near := s.newGuest(admin, admin, "near", network, compute, open)
	far := s.newGuest(admin, admin, "far", network, controller, open)
	m := newMachine(s.newPort(admin, admin, "moving", network, compute, open))
	m.plug()
	admin.wantStatus(m.port.ID, "ACTIVE")
	m.announce()
	bindings := admin.neutron("/ports/" + m.port.ID + "/bindings")
	ask := func(want int, method, path string, body any) {
		t.Helper()
		if err := admin.ask(want, method, bindings+path, body, nil); err != nil {
			t.Fatal(err)
		}
	}
	active := func(when string) {
		t.Helper()
		if p, err := admin.port(m.port.ID); err != nil || p.Status != "ACTIVE" {
			t.Errorf("%s the port is %s %v", when, p.Status, err)
		}
	}
	s.ovs(controller, "ovs-vsctl", "add-port", "br-int", m.tap())
	s.pings(near.name, m.ip)
	s.pings(far.name, m.ip)
	full := s.queuesFull()
	sessions := []*session{connect(near, m.guest, openPort, false).echo(), connect(far, m.guest, openPort+1, false).echo()}
	streams := []*traffic{udpStream(near, m.guest, openPort, false), udpStream(far, m.guest, openPort+1, false),
		udpStream(m.guest, near, openPort, false), udpStream(m.guest, far, openPort+1, false)}
	pings := []*pinger{s.ping(near.name, m.ip.String()), s.ping(far.name, m.ip.String())}
	going := func() {
		t.Helper()
		for _, x := range sessions {
			x.flows(t)
		}
		for _, x := range streams {
			x.flows(t)
		}
	}
	going()

	ask(201, "POST", "", fields{"binding": fields{"host": controller}})
	s.plug(controller, m.tap(), m.port.ID, m.port.MAC)
	m.wantOn(controller, true)
	admin.confirmed()
	going()
	active("prepared,")
	if n := m.heard[controller].Load(); n != 0 {
		t.Errorf("%d frames came to the new place before the activation", n)
	}

	// Of all that was sent until here nothing is under way when the machine leaves.
	prepared := time.Now()
	for _, f := range streams {
		atRest(t, func() int { return len(f.lostOf(time.Time{}, prepared)) })
	}
	for _, p := range pings {
		atRest(t, func() int { return len(p.lostOf(time.Time{}, prepared)) })
	}

	left := time.Now()
	m.live.Store(m.taps[controller])
	m.announce()
	ask(200, "PUT", "/"+controller+"/activate", nil)
	active("activated,")
	admin.confirmed()
	knew := time.Now()
	there := s.revalidated()
	going()
	s.ovs(compute, "ovs-vsctl", "remove", "Interface", m.tap(), "external_ids", "iface-id")
	active("unplugged at the old place,")
	ask(204, "DELETE", "/"+compute, nil)
	m.wantOn(compute, false)
	admin.confirmed()
	active("at its end,")
	going()

	t.Logf("the nodes knew %v after the machine had left", knew.Sub(left).Round(time.Millisecond))
	stray := func(what string, lostOf func(from, to time.Time) []time.Time) {
		before, after := lostOf(time.Time{}, prepared), lostOf(there, time.Now())
		for _, at := range slices.Concat(before, after) {
			const form = "15:04:05.000"
			t.Logf("%s: one sent at %s is lost; the machine left at %s and the nodes knew at %s", what, at.Format(form), left.Format(form), there.Format(form))
		}
		s.noLoss(t, what, len(before)+len(after), full)
	}
	var ends sync.WaitGroup // each waits a while for what will not come
	for _, p := range pings {
		ends.Go(func() {
			p.rest(t)
			stray("ping "+p.from+" to "+p.to, p.lostOf)
		})
	}
	for _, f := range streams {
		ends.Go(func() {
			f.halt()
			f.send.Wait()
			sent, got := f.rest(t)
			f.finish()
			t.Logf("%s: %d sent, %d lost", f.what, sent, sent-got)
			stray(f.what, f.lostOf)
		})
	}
	ends.Wait()
	for _, x := range sessions {
		x.finish()
	}
	s.ovs(compute, "ovs-vsctl", "del-port", "br-int", m.tap())
	admin.settled(settleWithin, controller, compute)
	active("its old interface gone,")
	t.Logf("%d frames came to the old place after the machine had left", m.heard[compute].Load())
}
