// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// rawStream sends a frame every millisecond and counts how often its token arrives at a watcher. One is like another: the third to
// arrive was sent as the third or later.
func rawStream(c *cast, what string, from *wire, f []byte, at *watcher, t token) *traffic {
	s := &traffic{s: c.site, what: what, stop: make(chan struct{})}
	s.end = func() {}
	var times []time.Time
	at.each(func(f []byte) {
		if bytes.Contains(f, []byte(t)) {
			s.mu.Lock()
			sent := times[min(s.got, len(times)-1)]
			s.mu.Unlock()
			s.arrival(sent)
		}
	})
	s.send.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-s.stop:
				return
			case <-tick.C:
				s.mu.Lock()
				s.sent++
				times = append(times, time.Now())
				s.mu.Unlock()
				_, _ = from.f.Write(f) // one that cannot be sent does not arrive
			}
		}
	})
	c.t.Cleanup(s.finish)
	return s
}

// pairs is SA-18: a port speaks with another's address only while its pairs say so.
func pairs(c *cast) {
	pat := c.newGuest(c.demo, c.admin, "pat", c.net, compute, fields{"security_groups": []string{c.open}})
	defer pat.remove(c.admin)
	w := c.tap("pat", "eth0")
	strange := hwaddr("fa:16:3e:0a:0b:0c")
	for _, k := range []struct {
		what string
		pair fields
		f    func(t token) []byte
	}{
		{"another port's address", fields{"ip_address": c.bob.ip.String()}, func(t token) []byte { return greet(pat.mac, c.bob.ip, c.alice, t) }},
		{"an address of a prefix", fields{"ip_address": "10.11.12.192/27"}, func(t token) []byte { return greet(pat.mac, netip.MustParseAddr("10.11.12.200"), c.alice, t) }},
		{"an IPv6 address", fields{"ip_address": "fd00:11::200"}, func(t token) []byte { return greet(pat.mac, netip.MustParseAddr("fd00:11::200"), c.alice, t) }},
		{"an address with a MAC of its own", fields{"ip_address": "10.11.12.201", "mac_address": strange.String()}, func(t token) []byte {
			return greet(strange, netip.MustParseAddr("10.11.12.201"), c.alice, t)
		}},
		{"ARP for the pair's address", fields{"ip_address": "10.11.12.202"}, func(t token) []byte {
			return frame(c.alice.mac, pat.mac, etherARP, arp(2, pat.mac, netip.MustParseAddr("10.11.12.202"), c.alice.mac, c.alice.ip, []byte(t)))
		}},
	} {
		c.part(strings.ReplaceAll(k.what, " ", "_"), func(c *cast) {
			x, o := newToken(forbidden), newToken(permitted)
			for range 200 {
				if _, err := w.f.Write(k.f(x)); err != nil {
					c.t.Fatal(err)
				}
			}
			c.fence()
			c.watch["alice"].holdsNone(c.t, x, k.what+" without a pair")
			c.admin.change(pat.port.ID, fields{"allowed_address_pairs": []fields{k.pair}})
			s := rawStream(c, k.what, w, k.f(o), c.watch["alice"], o)
			s.flows(c.t)
			c.admin.change(pat.port.ID, fields{"allowed_address_pairs": []fields{}})
			c.admin.confirmed()
			s.isCut(c.t, time.Now())
			s.finish()
		})
	}
	var eleven []fields
	for i := range 11 {
		eleven = append(eleven, fields{"ip_address": fmt.Sprintf("10.11.12.%d", 100+i)})
	}
	for what, list := range map[string][]fields{
		"a multicast MAC":              {{"ip_address": "10.11.12.203", "mac_address": "01:00:5e:00:00:12"}},
		"the broadcast MAC":            {{"ip_address": "10.11.12.203", "mac_address": "ff:ff:ff:ff:ff:ff"}},
		"eleven pairs":                 eleven,
		"the same pair twice":          {{"ip_address": "10.11.12.203"}, {"ip_address": "10.11.12.203"}},
		"something that is no address": {{"ip_address": "10.11.12.203;drop"}},
	} {
		code, answer, err := c.admin.do(c.t.Context(), "PUT", c.admin.neutron("/ports/"+pat.port.ID), fields{"port": fields{"allowed_address_pairs": list}})
		if err != nil {
			c.t.Fatal(err)
		}
		if err := refusal(code, answer, 400, "", ""); err != nil {
			c.t.Errorf("%s: %v", what, err)
		}
	}
}

// owners: who a port is for lifts guards, so only the network's owner and services may say so, however soon after the port's
// creation (CVE-2015-5240).
func owners(c *cast) {
	var n struct{ Network struct{ ID string } }
	if err := c.admin.ask(201, "POST", c.admin.neutron("/networks"), fields{"network": fields{"name": "shared", "shared": true}}, &n); err != nil {
		c.t.Fatal(err)
	}
	c.admin.subnet(n.Network.ID, "10.41.0.0/24", 4, nil)
	g := c.newPort(c.demo, c.admin, "guest-of-admin", n.Network.ID, compute, nil)
	for _, f := range []fields{{"device_owner": "network:dhcp"}, {"device_owner": "network:router_interface"}, {"port_security_enabled": false},
		{"mac_address": "fa:16:3e:00:00:02"}, {"allowed_address_pairs": []fields{{"ip_address": "10.41.0.1"}}}, {"binding:host_id": controller}} {
		code, answer, err := c.demo.do(c.t.Context(), "PUT", c.demo.neutron("/ports/"+g.port.ID), fields{"port": f})
		if err != nil {
			c.t.Fatal(err)
		}
		if err := refusal(code, answer, 403, "PolicyNotAuthorized", ""); err != nil {
			c.t.Errorf("%v on another's network: %v", f, err)
		}
	}
	for _, f := range []fields{{"device_owner": "network:dhcp"}, {"port_security_enabled": false}} {
		f["network_id"] = n.Network.ID
		code, answer, err := c.demo.do(c.t.Context(), "POST", c.demo.neutron("/ports"), fields{"port": f})
		if err != nil {
			c.t.Fatal(err)
		}
		if err := refusal(code, answer, 403, "PolicyNotAuthorized", ""); err != nil {
			c.t.Errorf("a new port with %v on another's network: %v", f, err)
		}
	}
	if err := c.admin.ask(204, "DELETE", c.admin.neutron("/ports/"+g.port.ID), nil, nil); err != nil {
		c.t.Error(err)
	}
}

// zoneReuse is the second half of SA-17: what was established for a port is nothing to the next one on the node, even with the
// same address.
func zoneReuse(p *pair) {
	const at = "10.11.12.60"
	more := fields{"security_groups": []string{p.carolGroup}, "fixed_ips": []fields{{"ip_address": at}}}
	for round := range 3 {
		g := p.newGuest(p.demo, p.admin, fmt.Sprintf("reuse-%d", round), p.net, compute, more)
		from, seen := p.tap(g.name, "eth0"), p.site.watch(g.name, "eth0")
		ask := func(g *guest, w *wire, port int) {
			w.send(frame(p.dave.mac, g.mac, etherIP4, udp4(g.ip, p.dave.ip, port, sessionPort, []byte("hello"))))
		}
		reply := func(g *guest, port int, t token) []byte {
			return frame(g.mac, p.dave.mac, etherIP4, udp4(p.dave.ip, g.ip, sessionPort, port, []byte(t)))
		}
		o, x := newToken(permitted), newToken(forbidden)
		answered := func(g *guest, w *wire, seen *watcher, port int, t token) {
			p.eventually(settleWithin, g.name+" gets an answer", func() error {
				ask(g, w, port)
				p.fromDave.send(reply(g, port, t))
				if !seen.wait(t, 200*time.Millisecond) {
					return fmt.Errorf("none")
				}
				return nil
			})
		}
		answered(g, from, seen, 6400, o)
		g.remove(p.admin)
		next := p.newGuest(p.demo, p.admin, fmt.Sprintf("next-%d", round), p.net, compute, more)
		w, watch := p.tap(next.name, "eth0"), p.site.watch(next.name, "eth0")
		for range 100 {
			p.fromDave.send(reply(next, 6400, x))
		}
		answered(next, w, watch, 6401, newToken(permitted))
		watch.holdsNone(p.t, x, "an answer to the port before, of the same address")
		next.remove(p.admin)
	}
	p.eventually(settleWithin, "the connections of ports that are gone are forgotten", func() error {
		out, err := p.tryOVS(p.t.Context(), compute, "ovs-appctl", "dpctl/dump-conntrack")
		if err != nil {
			return err
		}
		for line := range strings.Lines(out) {
			if strings.Contains(line, "="+at+",") {
				return fmt.Errorf("there is still %s", line)
			}
		}
		return nil
	})
}
