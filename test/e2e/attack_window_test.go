// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// assault sends forbidden frames without pause until it is stopped, whatever happens to the way.
type assault struct {
	c       *cast
	x       token
	from    string
	stop    chan struct{}
	done    sync.WaitGroup
	mu      sync.Mutex
	sent    int
	stopped bool
}

// assaults begins one from an instance: spoofed in each layer, to open ports, and honest to closed ones.
func (c *cast) assaults(g *guest, w *wire) *assault {
	c.t.Helper()
	a := &assault{c: c, x: newToken(forbidden), from: g.name, stop: make(chan struct{})}
	var list [][]byte
	for _, to := range []*guest{c.alice, c.bob} {
		o := c.other(to)
		list = append(list,
			greet(g.mac, o.ip, to, a.x), greet(o.mac, o.ip, to, a.x), greetAll(g.mac, o.ip, a.x), greet(g.mac, o.ip6, to, a.x),
			frame(broadcast, g.mac, etherARP, arp(2, g.mac, o.ip, to.mac, to.ip, []byte(a.x))),
			frame(to.mac, g.mac, etherIP4, udp4(g.ip, to.ip, 4998, closedPort, []byte(a.x))),
			frame(to.mac, g.mac, marker, []byte(a.x)),
			frame(to.mac, g.mac, etherIP4, udp4(g.ip, to.ip, 67, 68, []byte(a.x))))
	}
	a.done.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			for _, f := range list {
				if _, err := w.f.Write(f); err == nil {
					a.mu.Lock()
					a.sent++
					a.mu.Unlock()
				}
			}
			select {
			case <-a.stop:
				return
			case <-tick.C:
			}
		}
	})
	c.t.Cleanup(a.end)
	return a
}

func (a *assault) end() {
	a.mu.Lock()
	if !a.stopped {
		a.stopped = true
		close(a.stop)
	}
	a.mu.Unlock()
	a.done.Wait()
}

// inVain ends it and holds that nothing of it arrived.
func (a *assault) inVain(c *cast, what string) {
	c.t.Helper()
	a.end()
	c.fence()
	for _, w := range c.watch {
		w.holdsNone(c.t, a.x, what)
	}
	c.t.Logf("%s: %d forbidden frames sent by %s", what, a.sent, a.from)
	if a.sent < 100 {
		c.t.Errorf("%s: only %d frames were sent", what, a.sent)
	}
}

// windowPlug is SA-16 at the birth and the death of a port: the instance sends before the port exists and after it is gone,
// and nothing forbidden passes at any moment. What is allowed passes from ACTIVE on, and not before the port is bound.
func windowPlug(c *cast) {
	for round := range 3 {
		const text = "fa:16:3e:0e:0e:0e"
		g := &guest{s: c.site, name: fmt.Sprintf("early-%d", round), node: compute, link: fmt.Sprintf("early%d", round), mac: mac(c.site, text)}
		g.port.MAC = text
		g.ip, g.ip6, g.ll = c.mallory.ip.Next().Next(), c.mallory.ip6.Next().Next(), linkLocal(g.mac) // .12
		g.wire()
		w := c.tap(g.name, "eth0")
		a := c.assaults(g, w)
		tooEarly, late, good := newToken(forbidden), newToken(forbidden), newToken(permitted)
		for range 50 {
			w.send(greet(g.mac, g.ip, c.alice, tooEarly))
		}
		var made struct{ Port port }
		err := c.admin.ask(201, "POST", c.admin.neutron("/ports"), fields{"port": fields{"network_id": c.net, "mac_address": text, "name": g.name,
			"security_groups": []string{c.open}, "fixed_ips": []fields{{"ip_address": g.ip.String()}, {"ip_address": g.ip6.String()}}}}, &made)
		if err != nil {
			c.t.Fatal(err)
		}
		g.port = made.Port
		g.plug() // before it is bound to this node
		for range 50 {
			w.send(greet(g.mac, g.ip, c.alice, tooEarly))
		}
		c.fence()
		c.watch["alice"].holdsNone(c.t, tooEarly, "a legal datagram before the port is bound")
		c.admin.change(g.port.ID, fields{"device_owner": "compute:nova", "binding:host_id": compute})
		c.admin.wantStatus(g.port.ID, "ACTIVE")
		c.eventually(settleWithin, "what is allowed arrives", func() error {
			w.send(greet(g.mac, g.ip, c.alice, good))
			if !c.watch["alice"].wait(good, 100*time.Millisecond) {
				return errors.New("it does not")
			}
			return nil
		})
		for i := range 6 { // updates under fire
			group := []string{c.open}
			if i%2 == 0 {
				group = nil
			}
			c.admin.change(g.port.ID, fields{"security_groups": append([]string{}, group...), "name": fmt.Sprint("update ", i)})
		}
		c.admin.change(c.alice.port.ID, fields{"security_groups": []string{}})
		c.admin.change(c.alice.port.ID, fields{"security_groups": []string{c.open}})
		c.admin.confirmed()
		if err := c.admin.ask(204, "DELETE", c.admin.neutron("/ports/"+g.port.ID), nil, nil); err != nil {
			c.t.Fatal(err)
		}
		c.admin.confirmed()
		c.eventually(settleWithin, "nothing of a deleted port passes", func() error {
			x := newToken(forbidden)
			w.send(greet(g.mac, g.ip, c.alice, x))
			c.fence()
			if c.watch["alice"].arrived(x) > 0 {
				return errors.New("a legal datagram did")
			}
			return nil
		})
		for range 50 {
			w.send(greet(g.mac, g.ip, c.alice, late))
		}
		c.fence()
		c.watch["alice"].holdsNone(c.t, late, "a legal datagram after the port is deleted")
		g.unplug()
		a.inVain(c, "plug, bind, update, delete")
		g.discard()
	}
}

// windowSwitch is SA-16 at the death and return of ovs-vswitchd: with the server there, and without it.
func windowSwitch(c *cast) {
	a := c.assaults(c.mallory, c.attacker)
	for _, node := range []string{compute, controller, compute} {
		c.kill("ovs-vswitchd of "+node, c.daemon(node, "ovs-vswitchd"))
		c.mend()
		c.admin.settled(settleWithin, controller, compute)
		c.fence()
	}
	// The server hears nothing while the switch returns: its tables are empty, and empty tables pass nothing, not even what
	// is allowed.
	server := c.serverPID()
	if err := syscall.Kill(server, syscall.SIGSTOP); err != nil {
		c.t.Fatal(err)
	}
	resume := func() { _ = syscall.Kill(server, syscall.SIGCONT) }
	defer resume()
	c.kill("ovs-vswitchd of compute", c.daemon(compute, "ovs-vswitchd"))
	c.startSwitch(compute)
	x := newToken(forbidden)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 200 { // a second, in which it might get ideas
		c.attacker.send(c.hello(c.alice, x))
		<-tick.C
	}
	c.watch["alice"].holdsNone(c.t, x, "a legal datagram through a switch without flows")
	resume()
	c.admin.settled(settleWithin, controller, compute)
	a.inVain(c, "restarts of ovs-vswitchd")
	c.mend()
}

// startSwitch starts a node's ovs-vswitchd as the node's service manager would.
func (s *site) startSwitch(node string) {
	s.t.Helper()
	dir := filepath.Join(s.dir(), "nodes", node)
	s.ovs(node, "ip", "netns", "exec", s.namespace(node), "ovs-vswitchd", "-vconsole:off", "unix:"+dir+"/run/db.sock",
		"--log-file="+dir+"/log/ovs-vswitchd.log", "--pidfile="+dir+"/run/ovs-vswitchd.pid", "--detach", "--no-chdir")
	s.eventually(settleWithin, "the switch of "+node+" has its ports again", func() error {
		out, err := s.tryOVS(s.t.Context(), node, "ovs-ofctl", "-O", "OpenFlow13", "show", "br-int")
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

// windowServer is SA-16 at the death and return of the server.
func windowServer(c *cast) {
	a := c.assaults(c.mallory, c.attacker)
	full, ping := c.queuesFull(), c.ping("alice", c.bob.ip.String())
	for range 2 {
		c.kill("server", c.serverPID())
		c.fence()
		c.mend()
		c.admin.settled(settleWithin, controller, compute)
	}
	c.noLoss(c.t, "ping alice to bob", len(ping.rest(c.t)), full)
	a.inVain(c, "restarts of the server")
}

// windowMove is SA-16 at a migration, of the attacker and under its fire: rogue moves to the other node and back.
func windowMove(c *cast) {
	address := c.boot("rogue", "net01", compute)
	i := c.instance("rogue")
	rogue, err := c.admin.port(i.PortID)
	if err != nil {
		c.t.Fatal(err)
	}
	g := &guest{s: c.site, name: "rogue", port: rogue, mac: mac(c.site, rogue.MAC), node: compute}
	g.ip, g.ll = c.mallory.ip, linkLocal(g.mac)
	for _, f := range rogue.FixedIPs {
		if f.IP == address {
			g.ip = mustAddr(f.IP)
		}
	}
	reaches := func() {
		c.t.Helper()
		for _, to := range []*guest{c.alice, c.bob} {
			c.eventually(settleWithin, "rogue reaches "+to.name, func() error {
				out, err := c.in("rogue", "ping", "-c", "1", "-W", "1", to.ip.String())
				if err != nil {
					return fmt.Errorf("%w: %s", err, out)
				}
				return nil
			})
		}
	}
	reaches()
	session := connect(g, c.bob, openPort, false).echo()
	session.flows(c.t)
	a := c.assaults(g, c.tap("rogue", "eth0"))
	for _, to := range []string{controller, compute, controller} {
		c.must(c.lab("instance", "move", "rogue", "--to", to)...)
		c.admin.wantStatus(i.PortID, "ACTIVE")
		reaches()
		session.flows(c.t)
	}
	session.finish()
	a.inVain(c, "migration")
	c.must(c.lab("instance", "rm", "rogue")...)
}
