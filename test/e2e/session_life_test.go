// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

func mustAddr(text string) netip.Addr { return netip.MustParseAddr(text) }

// overlap: two tenants with the same prefix, the same addresses and the same MACs do not meet: each reaches its own.
func overlap(c *cast) {
	for _, p := range [][2]*guest{{c.alice, c.bob}, {c.eve, c.ernie}, {c.bob, c.alice}, {c.ernie, c.eve}} {
		full, ping := c.queuesFull(), c.ping(p[0].name, p[1].ip.String())
		c.eventually(settleWithin, p[0].name+" reaches "+p[1].name, func() error {
			if ping.answered() < 10 {
				return errors.New("no answers")
			}
			return nil
		})
		c.noLoss(c.t, "ping "+p[0].name+" to "+p[1].name, len(ping.rest(c.t)), full)
	}
	s := connect(c.alice, c.bob, openPort, false).echo()
	other := connect(c.eve, c.ernie, openPort, false).echo()
	s.flows(c.t)
	other.flows(c.t)
	if a, b := s.client.RemoteAddr().String(), other.client.RemoteAddr().String(); a != b {
		c.t.Errorf("the tenants' addresses differ: %s and %s", a, b)
	}
	s.finish()
	other.flows(c.t) // the end of one is nothing to the other
	other.finish()
	// One hears nothing of the other's broadcasts.
	for _, from := range []*guest{c.alice, c.eve} {
		t := newToken(forbidden)
		own, theirs := "bob", "ernie"
		if from.name == c.eve.name {
			own, theirs = theirs, own
		}
		w := c.tap(from.name, "eth0")
		c.eventually(settleWithin, "a broadcast of "+from.name+" reaches "+own, func() error {
			w.send(frame(broadcast, from.mac, etherARP, arp(1, from.mac, from.ip, noMAC, mustAddr("10.11.12.77"), []byte(t))))
			if !c.watch[own].wait(t, poke) {
				return errors.New("it does not")
			}
			return nil
		})
		c.watch[theirs].holdsNone(c.t, t, "a broadcast of "+from.name)
	}
}

// providers: a VLAN of the physical network joins instances of two nodes and a host outside; another VLAN with the same
// addresses is another world.
func providers(c *cast) {
	vlan := func(tag int) string {
		var n struct{ Network struct{ ID string } }
		err := c.admin.ask(201, "POST", c.admin.neutron("/networks"), fields{"network": fields{"name": fmt.Sprint("vlan", tag), "shared": true,
			"provider:network_type": "vlan", "provider:physical_network": "physnet1", "provider:segmentation_id": tag}}, &n)
		if err != nil {
			c.t.Fatal(err)
		}
		c.admin.subnet(n.Network.ID, "10.31.0.0/24", 4, nil)
		return n.Network.ID
	}
	first, second := vlan(101), vlan(102)
	at := func(last int) fields {
		return fields{"security_groups": []string{c.open}, "fixed_ips": []fields{{"ip_address": fmt.Sprint("10.31.0.", last)}}}
	}
	one := c.newGuest(c.admin, c.admin, "vlan-one", first, compute, at(11))
	two := c.newGuest(c.admin, c.admin, "vlan-two", first, controller, at(12))
	near := c.newGuest(c.admin, c.admin, "vlan-near", second, compute, at(12))
	defer func() {
		for _, g := range []*guest{one, two, near} {
			g.remove(c.admin)
		}
	}()
	s := connect(one, two, openPort, false).echo()
	s.flows(c.t)
	s.finish()
	u := udpStream(two, one, openPort, false)
	u.flows(c.t)
	u.lossless(c.t)
	heard := c.site.watch("vlan-near", "eth0")
	atTwo := c.site.watch("vlan-two", "eth0")
	outside := c.site.watch("underlay", "pv0") // the wire between the nodes, as a host outside sees it
	w, x, o := c.tap("vlan-one", "eth0"), newToken(forbidden), newToken(permitted)
	send := func(t token) {
		w.send(frame(near.mac, one.mac, etherIP4, udp4(one.ip, near.ip, 4998, openPort, []byte(t))),
			frame(broadcast, one.mac, etherIP4, udp4(one.ip, mustAddr("255.255.255.255"), 4998, openPort, []byte(t))),
			// a tag of the own is no way into another VLAN
			tagged(broadcast, one.mac, [][2]int{{etherVLAN, 102}}, etherIP4, udp4(one.ip, near.ip, 4998, openPort, []byte(x))),
			tagged(broadcast, one.mac, [][2]int{{etherVLAN, 101}, {etherVLAN, 102}}, etherIP4, udp4(one.ip, near.ip, 4998, openPort, []byte(x))))
	}
	c.eventually(settleWithin, "a broadcast reaches the other node and the host outside", func() error {
		send(o)
		if !atTwo.wait(o, poke) || !outside.wait(o, poke) {
			return errors.New("it does not")
		}
		return nil
	})
	if tag := outside.vlan(o); tag != 101 {
		c.t.Errorf("on the wire the VLAN's frames have the tag %d, want 101", tag)
	}
	if n := heard.arrived(o); n > 0 {
		c.t.Errorf("%d frames of one VLAN reached another on the same node", n)
	}
	for _, w := range []*watcher{heard, atTwo, outside} {
		w.holdsNone(c.t, x, "a tagged frame of an instance")
	}
	// What comes from the wire in a VLAN reaches that VLAN's instances only, and without a tag nobody's.
	out, stranger := c.tap("underlay", "pv0"), hwaddr("02:00:00:00:00:01")
	body := func(t token) []byte {
		return udp4(mustAddr("10.31.0.250"), mustAddr("255.255.255.255"), 4998, openPort, []byte(t))
	}
	from := newToken(permitted)
	c.eventually(settleWithin, "a frame from the wire reaches the VLAN", func() error {
		out.send(tagged(broadcast, stranger, [][2]int{{etherVLAN, 103}}, etherIP4, body(x)), frame(broadcast, stranger, etherIP4, body(x)),
			tagged(broadcast, stranger, [][2]int{{etherVLAN, 101}}, etherIP4, body(from)))
		if !atTwo.wait(from, poke) {
			return errors.New("it does not")
		}
		return nil
	})
	for _, w := range []*watcher{heard, atTwo} {
		w.holdsNone(c.t, x, "a frame from the wire with another tag or none")
	}
	if n := heard.arrived(from); n > 0 {
		c.t.Errorf("%d frames from the wire with tag 101 reached VLAN 102", n)
	}
}

// authored: every flow of every node names who asked for it, down to the change.
func authored(c *cast) {
	for _, node := range []string{controller, compute} {
		var body struct {
			Flows []struct {
				Text    string `json:"flow"`
				Rule    string `json:"rule"`
				Authors []struct {
					Rule   string `json:"rule"`
					Kind   string `json:"kind"`
					Object string `json:"object"`
					Commit *struct {
						Revision uint64 `json:"revision"`
						User     string `json:"user"`
						Request  string `json:"request_id"`
					} `json:"commit"`
				} `json:"authors"`
			} `json:"flows"`
		}
		if err := c.admin.ask(200, "GET", c.admin.admin("/nodes/"+node+"/flows?explain=1"), nil, &body); err != nil {
			c.t.Fatal(err)
		}
		listed := map[string]bool{}
		var orphans []string
		for _, f := range body.Flows {
			listed[f.Text] = true
			if len(f.Authors) == 0 {
				orphans = append(orphans, f.Text+" (no author)")
			}
			for _, a := range f.Authors {
				if a.Rule == "" || a.Object == "" || a.Commit == nil || a.Commit.Revision == 0 {
					orphans = append(orphans, fmt.Sprintf("%s (%+v)", f.Text, a))
				}
			}
		}
		if len(orphans) > 0 {
			c.t.Errorf("%s: %d of %d flows name no author, such as\n%s", node, len(orphans), len(body.Flows), strings.Join(orphans[:min(8, len(orphans))], "\n"))
		}
		have := c.mustFlows(node)
		missing := slices.DeleteFunc(have, func(f string) bool { return listed[f] })
		if len(missing) > 0 {
			c.t.Errorf("%s: %d flows of the switch are not in the list, such as\n%s", node, len(missing), strings.Join(missing[:min(8, len(missing))], "\n"))
		}
		c.t.Logf("%s: %d flows, all with their authors", node, len(body.Flows))
	}
}

// restart: the server is killed and returns; it sends the switches nothing, no flow is written anew, and sessions go on.
func restart(p *pair) {
	u, s := p.running()
	before := map[string][]string{}
	for _, node := range []string{controller, compute} {
		before[node] = p.mustFlows(node)
	}
	groups := func(node string) string {
		return p.ovs(node, "ovs-ofctl", "-O", "OpenFlow13", "dump-groups", "br-int") + p.ovs(node, "ovs-ofctl", "-O", "OpenFlow13", "dump-meters", "br-int")
	}
	rest := map[string]string{controller: sortedLines(groups(controller)), compute: sortedLines(groups(compute))}
	zones := map[string]string{controller: p.zones(controller), compute: p.zones(compute)}
	ages := p.ages(compute)
	p.kill("server", p.serverPID())
	s.flows(p.t)
	p.mend()
	after := p.sent(controller, compute)
	for _, node := range []string{controller, compute} {
		if n := after[node]; n.FlowMods != 0 || n.GroupMods != 0 || n.MeterMods != 0 {
			p.t.Errorf("%s: after the restart %+v was sent, want no flow, group or meter", node, n)
		}
		if err := equalLines(before[node], p.mustFlows(node)); err != nil {
			p.t.Errorf("%s: flows: %v", node, err)
		}
		if now := sortedLines(groups(node)); now != rest[node] {
			p.t.Errorf("%s: groups and meters were\n%sand are\n%s", node, rest[node], now)
		}
		if now := p.zones(node); now != zones[node] {
			p.t.Errorf("%s: the stream's zones were %s and are %s", node, zones[node], now)
		}
	}
	p.untouched(compute, ages)
	s.flows(p.t)
	s.finish()
	u.lossless(p.t)
}

// sentCounts is what a node was sent.
type sentCounts struct {
	FlowMods  uint64 `json:"flow_mods"`
	GroupMods uint64 `json:"group_mods"`
	MeterMods uint64 `json:"meter_mods"`
}

// sent waits until the nodes are in sync and returns what they were sent.
func (c *cast) sent(names ...string) map[string]sentCounts {
	c.t.Helper()
	c.admin.settled(settleWithin, names...)
	var body struct {
		Nodes []struct {
			ID   string     `json:"id"`
			Sent sentCounts `json:"sent"`
		}
	}
	if err := c.admin.ask(200, "GET", c.admin.admin("/nodes"), nil, &body); err != nil {
		c.t.Fatal(err)
	}
	out := map[string]sentCounts{}
	for _, n := range body.Nodes {
		out[n.ID] = n.Sent
	}
	return out
}

// zones are the zones of carol's and dave's session on a node.
func (p *pair) zones(node string) string {
	p.t.Helper()
	var out []string
	for line := range strings.Lines(p.ovs(node, "ovs-appctl", "dpctl/dump-conntrack")) {
		if _, rest, ok := strings.Cut(line, "zone="); ok && strings.HasPrefix(line, "tcp") && strings.Contains(line, p.carol.ip.String()+",") && strings.Contains(line, "ESTABLISHED") {
			zone, _, _ := strings.Cut(rest, ",")
			out = append(out, strings.TrimSpace(zone))
		}
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), " ")
}

func sortedLines(text string) string {
	lines := strings.SplitAfter(text, "\n")
	for i, l := range lines { // the header has a number of the exchange
		if strings.HasPrefix(l, "OFPST_") {
			lines[i] = ""
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}
