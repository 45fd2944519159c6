// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"
)

const (
	openPort   = 5000 // where a victim takes datagrams from everybody, by UDP and TCP
	closedPort = 9999 // where it takes none

	// fenceEvery is how many frames are sent before the test waits until a permitted one has arrived: so no queue runs over,
	// and what is counted as sent was judged.
	fenceEvery = 128
)

// cast is who takes part: mallory attacks from an instance of demo; alice on the same node and bob on the other are demo's
// too, in the same network; eve and ernie, on the two nodes, are another tenant's and have the addresses of alice and bob in
// a network of the same prefix. walter and wanda, on the two nodes, are demo's and admit everything that a group can admit:
// what the guards of the sender do not stop reaches them.
type cast struct {
	*site
	demo, admin *client
	standard    bool

	net, otherNet                   string
	open                            string // the group that all of demo's wear
	mallory, alice, bob, eve, ernie *guest
	walter, wanda                   *guest
	attacker                        *wire
	watch                           map[string]*watcher // by name: every place where nothing forbidden may arrive
	wide                            map[string]*watcher // walter and wanda
	gateway                         netip.Addr
	rounds                          int
	ends                            []net.HardwareAddr
}

// newCast brings them up in a laboratory.
func newCast(s *site, standard bool) *cast {
	s.t.Helper()
	c := &cast{site: s, demo: s.user("demo"), admin: s.user("admin"), standard: standard, watch: map[string]*watcher{}, wide: map[string]*watcher{}, gateway: netip.MustParseAddr("10.11.12.1")}
	// Each attack's frames are sent this many times to each victim: in classic as often as shows that they arrive.
	// NAGARE_ATTACK_ROUNDS asks for more, such as for a night.
	c.rounds = 5
	if standard {
		c.rounds = 100
	}
	if n, err := strconv.Atoi(os.Getenv("NAGARE_ATTACK_ROUNDS")); err == nil && n > 0 {
		c.rounds = n
	}
	c.net, _ = c.demo.network("net01", "10.11.12.0/24")
	c.demo.subnet(c.net, "fd00:11::/64", 6, nil)
	c.otherNet, _ = c.admin.network("net02", "10.11.12.0/24")
	c.admin.subnet(c.otherNet, "fd00:11::/64", 6, nil)
	rules := func(c *client) string {
		var rules []fields
		for _, ether := range []string{"IPv4", "IPv6"} {
			icmp := map[string]string{"IPv4": "icmp", "IPv6": "ipv6-icmp"}[ether]
			rules = append(rules, fields{"ethertype": ether, "protocol": icmp},
				fields{"ethertype": ether, "protocol": "udp", "port_range_min": openPort, "port_range_max": openPort},
				fields{"ethertype": ether, "protocol": "tcp", "port_range_min": openPort, "port_range_max": openPort})
		}
		return c.group("open", nil, rules...)
	}
	c.open = rules(c.demo)
	otherOpen := rules(c.admin)
	at := func(last int, group string) fields {
		return fields{"security_groups": []string{group}, "fixed_ips": []fields{
			{"ip_address": fmt.Sprintf("10.11.12.%d", last)}, {"ip_address": fmt.Sprintf("fd00:11::%d", last)}}}
	}
	c.mallory = s.newGuest(c.demo, c.admin, "mallory", c.net, compute, at(10, c.open))
	c.alice = s.newGuest(c.demo, c.admin, "alice", c.net, compute, at(20, c.open))
	c.bob = s.newGuest(c.demo, c.admin, "bob", c.net, controller, at(30, c.open))
	eve, ernie := at(20, otherOpen), at(30, otherOpen)
	if standard { // classic judges by MAC alone, in some tables without the network
		eve["mac_address"], ernie["mac_address"] = c.alice.port.MAC, c.bob.port.MAC
	}
	c.eve = s.newGuest(c.admin, c.admin, "eve", c.otherNet, compute, eve)
	c.ernie = s.newGuest(c.admin, c.admin, "ernie", c.otherNet, controller, ernie)
	wide := c.demo.group("wide", nil, fields{"ethertype": "IPv4"}, fields{"ethertype": "IPv6"})
	c.walter = s.newGuest(c.demo, c.admin, "walter", c.net, compute, at(40, wide))
	c.wanda = s.newGuest(c.demo, c.admin, "wanda", c.net, controller, at(50, wide))
	for _, g := range []*guest{c.walter, c.wanda} {
		c.wide[g.name] = s.watch(g.name, "eth0")
	}
	for _, g := range []*guest{c.alice, c.bob, c.eve, c.ernie} {
		c.watch[g.name] = s.watch(g.name, "eth0")
	}
	for _, node := range []string{controller, compute} {
		c.watch[node] = s.watch(node, "br-phy")
	}
	c.attacker = s.tap("mallory", "eth0")
	c.admin.confirmed()
	c.fence()
	return c
}

// with is the same cast seen by a part of the test.
func (c *cast) with(t *testing.T) *cast {
	d := *c
	d.site = c.site.with(t)
	w := *c.attacker
	w.t = t
	d.attacker = &w
	d.demo, d.admin = c.demo.with(d.site), c.admin.with(d.site)
	for _, g := range []**guest{&d.mallory, &d.alice, &d.bob, &d.eve, &d.ernie, &d.walter, &d.wanda} {
		*g = (*g).with(d.site)
	}
	return &d
}

// with is the same user seen by a part of the test.
func (c *client) with(s *site) *client {
	d := *c
	d.s = s
	return &d
}

// part runs one part of a test.
func (c *cast) part(name string, f func(*cast)) {
	c.t.Helper()
	c.t.Run(name, func(t *testing.T) { f(c.with(t)) })
}

// others is the victim that is not this one.
func (c *cast) other(g *guest) *guest {
	if g.name == c.alice.name || g.name == c.walter.name {
		return c.bob
	}
	return c.alice
}

// hello is a datagram that the attacker may send and the victim takes.
func (c *cast) hello(to *guest, t token) []byte {
	return frame(to.mac, c.mallory.mac, etherIP4, udp4(c.mallory.ip, to.ip, 4999, openPort, []byte(t)))
}

// fence returns when what the attacker has sent was judged: permitted frames sent after it have arrived at both nodes.
func (c *cast) fence() {
	c.t.Helper()
	for _, to := range []*guest{c.alice, c.bob} {
		t := newToken(permitted)
		err := poll(c.t.Context(), settleWithin, func() error {
			c.attacker.send(c.hello(to, t))
			if !c.watch[to.name].wait(t, 200*time.Millisecond) {
				return fmt.Errorf("a permitted datagram from mallory does not reach %s", to.name)
			}
			return nil
		})
		if err != nil {
			c.t.Fatal(err)
		}
	}
}

// shoot sends frames from the attacker a number of times, never more than the switch can judge.
func (c *cast) shoot(times int, frames ...[]byte) (sent int) {
	c.t.Helper()
	for range times {
		for _, f := range frames {
			c.attacker.send(f)
			if sent++; sent%fenceEvery == 0 {
				c.fence()
			}
		}
	}
	c.fence()
	return sent
}
