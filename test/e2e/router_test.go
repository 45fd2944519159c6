// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// bulk is what a connection has to carry each way.
const bulk = 20 << 20

// TestRouters: the external network is behind br-ex of the controller node, which carries all traffic with it.
func TestRouters(t *testing.T) {
	t.Parallel()
	routing(newWorld(newSite(t), wiring{physical: "external", nodes: []string{compute, controller, compute}}))
}

// TestRoutersOnThreeNodes: every node has the external network, so a floating IP is served where its instance is.
func TestRoutersOnThreeNodes(t *testing.T) {
	t.Parallel()
	routing(newWorld(newSite(t, "--nodes", "controller,compute,compute2", "--provider"), wiring{physical: "physnet1", nodes: []string{compute, controller, "compute2"}}))
}

func routing(x *world) {
	x.part("EastWest", eastWest)
	x.part("SNAT", snat)
	x.part("FloatingIP", floatingIP)
	x.part("Sizes", sizes)
	x.part("Errors", icmpErrors)
	x.part("IPv6", six)
	if len(x.nodes()) == 3 {
		x.part("OnWire", onWire)
	}
	x.part("Hairpin", hairpin)
	x.part("Overlap", overlapping)
	x.part("Traceroute", traceroute)
	x.part("ByRouters", byRouters)
	x.part("Bulk", carries)
	x.part("Disassociate", disassociate)
	x.part("Restart", serverGone)
	x.part("Delete", unrouting)
}

// eastWest: within a network and between networks, on one node and between nodes; each router takes one from the time to live.
func eastWest(x *world) {
	for _, c := range []struct {
		from, to *guest
		ttl      int
	}{{x.a1, x.a2, 64}, {x.a1, x.b1, 63}, {x.b1, x.a1, 63}, {x.a1, x.b2, 63}, {x.b2, x.a1, 63}, {x.a2, x.b1, 63}, {x.a3, x.b2, 63}} {
		out := x.pings(c.from.name, c.to.ip.String())
		if !strings.Contains(out, fmt.Sprintf("ttl=%d ", c.ttl)) {
			x.t.Errorf("%s to %s: want ttl=%d: %s", c.from.name, c.to.name, c.ttl, out)
		}
		x.pings(c.from.name, c.to.ip.String(), "-s", "3000") // in fragments
		if j := x.join(c.from.name, c.to.name, c.to.ip.String()); j.seenAs() != c.from.ip.String() {
			x.t.Errorf("%s arrives at %s as %s", c.from.name, c.to.name, j.seenAs())
		}
	}
	for _, from := range []*guest{x.a1, x.a2, x.a3, x.b1, x.b2} { // the router's own addresses, on every node
		for _, address := range []string{"10.1.0.1", "10.2.0.1"} {
			x.pings(from.name, address)
		}
	}
}

// snat: instances without a floating IP leave as their router, from every node, and are not reached from outside.
func snat(x *world) {
	for g, want := range map[*guest]string{x.a1: x.gw1, x.a2: x.gw1, x.b1: x.gw1, x.b2: x.gw1, x.c1: x.gw2} {
		for where, address := range map[string]string{upstream: upstreamAddress, far: farAddress} {
			x.pings(g.name, address)
			if j := x.join(g.name, where, address); j.seenAs() != want {
				x.t.Errorf("%s arrives at %s as %s, not %s", g.name, where, j.seenAs(), want)
			}
		}
		x.pings(g.name, farAddress, "-s", "3000")
	}
	x.batch(x.namespace(upstream), "route add 10.0.0.0/8 via "+x.gw1)
	x.silent(far, x.a1.ip.String())
	x.silent(far, x.b1.ip.String())
	x.batch(x.namespace(upstream), "route del 10.0.0.0/8 via "+x.gw1)
}

// floatingIP: in and out by a floating IP, for instances of every node.
func floatingIP(x *world) {
	for _, g := range []*guest{x.a1, x.b2, x.a3} {
		f := x.float(x.demo, g)
		defer x.unfloat(x.demo, f)
		for where, address := range map[string]string{upstream: upstreamAddress, far: farAddress} {
			x.pings(where, f.Address)
			x.pings(where, f.Address, "-s", "3000")
			if j := x.join(where, g.name, f.Address); j.seenAs() != address {
				x.t.Errorf("%s arrives at %s as %s, not %s", where, g.name, j.seenAs(), address)
			}
			if j := x.join(g.name, where, address); j.seenAs() != f.Address {
				x.t.Errorf("%s arrives at %s as %s, not its floating IP %s", g.name, where, j.seenAs(), f.Address)
			}
		}
	}
	if j := x.join(x.a2.name, far, farAddress); j.seenAs() != x.gw1 {
		x.t.Errorf("a2, which has no floating IP, arrives as %s", j.seenAs())
	}
}

// hairpin: a floating IP is reached from inside too: by the instance itself, from its network, from another network of its
// router, and from another tenant's router.
func hairpin(x *world) {
	f := x.float(x.demo, x.a1)
	second := x.float(x.demo, x.b2)
	defer x.unfloat(x.demo, second)
	for _, c := range []struct {
		from *guest
		to   *guest
		at   floating
		seen string
	}{
		{x.a1, x.a1, f, f.Address}, {x.a2, x.a1, f, x.gw1}, {x.b1, x.a1, f, x.gw1}, {x.c1, x.a1, f, x.gw2},
		{x.a1, x.b2, second, f.Address}, {x.b2, x.a1, f, second.Address},
	} {
		x.pings(c.from.name, c.at.Address)
		if j := x.join(c.from.name, c.to.name, c.at.Address); j.seenAs() != c.seen {
			x.t.Errorf("%s arrives at %s's floating IP as %s, not %s", c.from.name, c.to.name, j.seenAs(), c.seen)
		} else {
			j.carry(x.t, 100_000)
		}
	}
	// The address once more, of another floating IP with another MAC address: nobody holds on to the one before.
	x.unfloat(x.demo, f)
	again := x.float(x.demo, x.a1)
	defer x.unfloat(x.demo, again)
	if again.Address != f.Address {
		x.t.Errorf("the address is %s, not %s again", again.Address, f.Address)
	}
	for _, from := range []string{x.a1.name, x.a2.name, x.a3.name, x.b1.name, x.b2.name, x.c1.name, upstream, far} {
		x.join(from, x.a1.name, again.Address).carry(x.t, 1000)
	}
}

// overlapping: two tenants with the same addresses behind routers of their own do not meet.
func overlapping(x *world) {
	one, other := x.join(x.a1.name, far, farAddress), x.join(x.c1.name, far, farAddress)
	if one.seenAs() != x.gw1 || other.seenAs() != x.gw2 || x.a1.ip != x.c1.ip {
		x.t.Errorf("a1 is seen as %s, c1 as %s; their own addresses are %s and %s", one.seenAs(), other.seenAs(), x.a1.ip, x.c1.ip)
	}
	one.carry(x.t, 100_000)
	other.carry(x.t, 100_000)
	x.pings(x.c1.name, "10.1.0.1")
	for _, address := range []string{x.a2.ip.String(), x.b1.ip.String(), x.b2.ip.String()} {
		x.silent(x.c1.name, address)
	}
	f1, f2 := x.float(x.demo, x.a1), x.float(x.admin, x.c1)
	defer x.unfloat(x.demo, f1)
	defer x.unfloat(x.admin, f2)
	for g, f := range map[*guest]floating{x.a1: f1, x.c1: f2} {
		j := x.join(far, g.name, f.Address)
		j.carry(x.t, 100_000)
		if j := x.join(g.name, far, farAddress); j.seenAs() != f.Address {
			x.t.Errorf("%s is seen as %s, not %s", g.name, j.seenAs(), f.Address)
		}
	}
}

var traceLine = regexp.MustCompile(`(?m)^ *\d+ +(\S+)`)

// traceroute: each router on the way tells of itself, the cloud's too, and the errors of those outside find their way back through
// the translation.
func traceroute(x *world) {
	f := x.float(x.demo, x.a3)
	defer x.unfloat(x.demo, f)
	for _, c := range []struct {
		from, to string
		want     []string
	}{
		{"a1", x.b1.ip.String(), []string{"10.1.0.1", x.b1.ip.String()}},
		{"a1", x.b2.ip.String(), []string{"10.1.0.1", x.b2.ip.String()}},
		{"a1", farAddress, []string{"10.1.0.1", upstreamAddress, farAddress}},
		{"a2", farAddress, []string{"10.1.0.1", upstreamAddress, farAddress}},
		{"a3", farAddress, []string{"10.1.0.1", upstreamAddress, farAddress}},
		{far, f.Address, []string{farRouter, "", f.Address}}, // by which address the cloud's router tells of itself is its own choice
	} {
		for _, how := range [][]string{nil, {"-I"}} {
			argv := slices.Concat([]string{"busybox", "traceroute", "-n", "-w", "2", "-q", "1", "-m", "6"}, how, []string{c.to})
			x.eventually(settleWithin, strings.Join(argv, " ")+" from "+c.from, func() error {
				out, err := x.run(c.from, argv...)
				if err != nil {
					return err
				}
				var have []string
				for _, m := range traceLine.FindAllStringSubmatch(out, -1) {
					have = append(have, m[1])
				}
				good := len(have) == len(c.want)
				for i := range c.want {
					good = good && (have[i] == c.want[i] || c.want[i] == "" && have[i] != "*")
				}
				if !good {
					return fmt.Errorf("the hops are %v, want %v:\n%s", have, c.want, out)
				}
				return nil
			})
		}
	}
}

// carries: many octets each way, routed, with and without a floating IP.
func carries(x *world) {
	x.join(x.a1.name, x.b1.name, x.b1.ip.String()).carry(x.t, bulk)
	x.join(x.a1.name, x.b2.name, x.b2.ip.String()).carry(x.t, bulk)
	x.join(x.b1.name, far, farAddress).carry(x.t, bulk)
	f := x.float(x.demo, x.a1)
	defer x.unfloat(x.demo, f)
	x.join(far, x.a1.name, f.Address).carry(x.t, bulk)
	x.join(x.a1.name, far, farAddress).carry(x.t, bulk)
}

// disassociate: a floating IP that is taken away answers no more, and what ran through it is cut, both ways; given to another
// instance it leads there and the old sessions stay dead.
func disassociate(x *world) {
	f := x.float(x.demo, x.a1)
	defer x.unfloat(x.demo, f)
	inward, outward := x.join(far, x.a1.name, f.Address), x.join(x.a1.name, far, farAddress)
	inward.carry(x.t, 1000)
	outward.carry(x.t, 1000)
	kept := x.join(x.a2.name, far, farAddress) // by SNAT, in the same router
	x.associate(f, nil)
	x.wantFloating(x.demo, f.ID, "DOWN")
	x.eventually(settleWithin, f.Address+" stops answering", func() error {
		if out, err := x.in(far, "ping", "-n", "-c", "1", "-W", "1", f.Address); err == nil {
			return fmt.Errorf("it answers: %s", out)
		}
		return nil
	})
	inward.deaf(x.t, "disassociated")
	outward.deaf(x.t, "disassociated")
	kept.carry(x.t, 1000)
	if j := x.join(x.a1.name, far, farAddress); j.seenAs() != x.gw1 {
		x.t.Errorf("a1 is seen as %s after its floating IP is gone, not %s", j.seenAs(), x.gw1)
	}
	x.associate(f, x.b2)
	x.wantFloating(x.demo, f.ID, "ACTIVE")
	x.pings(far, f.Address)
	x.join(far, x.b2.name, f.Address).carry(x.t, 1000)
	inward.deaf(x.t, "associated with another")
	kept.carry(x.t, 1000)
	// From one to another in one request.
	through := x.join(far, x.b2.name, f.Address)
	x.associate(f, x.a1)
	x.wantFloating(x.demo, f.ID, "ACTIVE")
	x.join(far, x.a1.name, f.Address).carry(x.t, 1000)
	through.deaf(x.t, "moved to another")
}

// associate gives a floating IP to a guest, or to nobody.
func (x *world) associate(f floating, g *guest) {
	x.t.Helper()
	var port any
	if g != nil {
		port = g.port.ID
	}
	if err := x.demo.ask(200, "PUT", x.demo.neutron("/floatingips/"+f.ID), fields{"floatingip": fields{"port_id": port}}, nil); err != nil {
		x.t.Fatal(err)
	}
	x.admin.confirmed()
}

// serverGone: the server is killed and comes back. The switches are not written to, and what runs through routers and translation
// runs on, also while it is away.
func serverGone(x *world) {
	f := x.float(x.demo, x.a1)
	defer x.unfloat(x.demo, f)
	all := []*joint{
		x.join(x.a1.name, x.b2.name, x.b2.ip.String()), x.join(x.b1.name, far, farAddress),
		x.join(far, x.a1.name, f.Address), x.join(x.a1.name, far, farAddress), x.join(x.a2.name, x.a1.name, f.Address),
	}
	names := x.nodes()
	x.admin.confirmed()
	x.admin.settled(settleWithin, names...)
	routed, translated, in := x.ping(x.a1.name, x.b2.ip.String()), x.ping(x.b1.name, farAddress), x.ping(far, f.Address)
	pings := []*pinger{routed, translated, in}
	for _, p := range pings {
		x.eventually(settleWithin, p.from+" gets answers from "+p.to, func() error {
			if p.answered() < 10 {
				return fmt.Errorf("%d so far", p.answered())
			}
			return nil
		})
	}
	full := x.queuesFull()
	before := map[string]map[string]time.Duration{}
	for _, n := range names {
		before[n] = x.ages(n)
	}
	old := x.serverPID()
	x.kill("the server", old)
	for _, j := range all {
		j.carry(x.t, 1000) // nobody is there
	}
	x.mend()
	if x.serverPID() == old {
		x.t.Fatal("the server is the same")
	}
	for n, s := range x.admin.settled(settleWithin, names...) {
		if s.Sent.FlowMods+s.Sent.GroupMods+s.Sent.MeterMods+s.Sent.Drift != 0 {
			x.t.Errorf("%s: after a restart with unchanged intent was sent %+v", n, s.Sent)
		}
	}
	for _, n := range names {
		x.untouched(n, before[n])
	}
	for _, j := range all {
		j.carry(x.t, 100_000)
	}
	for _, p := range pings {
		x.noLoss(x.t, "ping "+p.from+" to "+p.to, len(p.rest(x.t)), full)
	}
}

// nodes are the lab's nodes, by the folders that they have.
func (s *site) nodes() []string {
	s.t.Helper()
	nodes, err := s.user("admin").nodes()
	if err != nil {
		s.t.Fatal(err)
	}
	var names []string
	for n := range nodes {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// unrouting: interfaces and gateway are taken away again, and with them what they led to; of the routers nothing is left.
func unrouting(x *world) {
	x.pings(x.a1.name, x.b1.ip.String())
	x.pings(x.a1.name, farAddress)
	if err := x.demo.ask(200, "PUT", x.demo.neutron("/routers/"+x.r1), fields{"router": fields{"external_gateway_info": fields{}}}, nil); err != nil {
		x.t.Fatal(err)
	}
	x.admin.confirmed()
	x.silent(x.a1.name, farAddress)
	x.pings(x.a1.name, x.b1.ip.String())
	for _, subnet := range []string{x.subA, x.subB, x.subA6, x.subB6} {
		if err := x.demo.ask(200, "PUT", x.demo.neutron("/routers/"+x.r1+"/remove_router_interface"), fields{"subnet_id": subnet}, nil); err != nil {
			x.t.Fatal(err)
		}
	}
	x.admin.confirmed()
	x.silent(x.a1.name, x.b1.ip.String())
	x.pings(x.a1.name, x.a2.ip.String())
	x.pings(x.c1.name, farAddress) // another's router is nobody's business
	if err := x.demo.ask(204, "DELETE", x.demo.neutron("/routers/"+x.r1), nil, nil); err != nil {
		x.t.Fatal(err)
	}
	if err := x.admin.ask(200, "PUT", x.admin.neutron("/routers/"+x.r2), fields{"router": fields{"external_gateway_info": fields{}}}, nil); err != nil {
		x.t.Fatal(err)
	}
	if err := x.admin.ask(200, "PUT", x.admin.neutron("/routers/"+x.r2+"/remove_router_interface"), fields{"subnet_id": x.subC}, nil); err != nil {
		x.t.Fatal(err)
	}
	if err := x.admin.ask(204, "DELETE", x.admin.neutron("/routers/"+x.r2), nil, nil); err != nil {
		x.t.Fatal(err)
	}
	x.admin.confirmed()
	for _, node := range x.nodes() {
		fs, err := x.dump(node)
		if err != nil {
			x.t.Fatal(err)
		}
		for _, f := range fs {
			// The second octet of a cookie is the kind of the object: of routers 5, of floating IPs 7.
			if kind := f.Cookie >> 48 & 0xff; kind == 5 || kind == 7 {
				x.t.Errorf("%s: of the routers is left: %s", node, f.String())
			}
		}
	}
}
