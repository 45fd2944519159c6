// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/netip"
	"time"
)

// running starts a stream and a session that dave's rules allow.
func (p *pair) running() (*traffic, *session) {
	p.t.Helper()
	u := udpStream(p.carol, p.dave, sessionPort, false)
	c := connect(p.carol, p.dave, sessionPort, false).echo()
	u.flows(p.t)
	c.flows(p.t)
	return u, c
}

// cut holds that a change ends both; what undoes it is run after.
func (p *pair) cut(change, undo func()) {
	p.t.Helper()
	u, c := p.running()
	defer u.finish()
	defer c.finish()
	change()
	p.admin.confirmed()
	at := time.Now()
	u.isCut(p.t, at)
	c.isCut(p.t, at)
	if undo != nil {
		undo()
		p.admin.confirmed()
	}
}

// ruleRemoved: the rules under a running stream go, and with them the stream; what another rule allows goes on.
func (p *pair) ruleRemoved() {
	other := p.demo.rule(p.daveGroup, fields{"protocol": "udp", "port_range_min": 6300, "port_range_max": 6300, "remote_ip_prefix": "10.11.12.0/24"})
	p.admin.confirmed()
	untouched := udpStream(p.carol, p.dave, 6300, false)
	untouched.flows(p.t)
	p.cut(func() { p.demo.unrule(p.rules.tcp); p.demo.unrule(p.rules.udp) }, p.restoreRules)
	untouched.lossless(p.t)
	p.demo.unrule(other)
}

// memberLeaves: dave's group admits a group's members; carol takes hers off.
func (p *pair) memberLeaves() {
	g := p.demo.group("members", nil)
	r4 := p.demo.rule(p.daveGroup, fields{"protocol": "tcp", "remote_group_id": g})
	u4 := p.demo.rule(p.daveGroup, fields{"protocol": "udp", "remote_group_id": g})
	p.replaceRules(func() {
		p.demo.change(p.carol.port.ID, fields{"security_groups": []string{p.carolGroup, g}})
		p.admin.confirmed()
		p.cut(func() { p.demo.change(p.carol.port.ID, fields{"security_groups": []string{p.carolGroup}}) }, nil)
	})
	p.demo.unrule(r4)
	p.demo.unrule(u4)
}

// replaceRules has dave's own two rules away while f runs.
func (p *pair) replaceRules(f func()) {
	p.t.Helper()
	p.demo.unrule(p.rules.tcp)
	p.demo.unrule(p.rules.udp)
	defer p.restoreRules()
	f()
}

// restoreRules gives dave's group its own two rules again.
func (p *pair) restoreRules() {
	p.t.Helper()
	p.rules.tcp = p.demo.rule(p.daveGroup, fields{"protocol": "tcp", "port_range_min": sessionPort, "port_range_max": secondPort})
	p.rules.udp = p.demo.rule(p.daveGroup, fields{"protocol": "udp", "port_range_min": sessionPort, "port_range_max": secondPort})
	p.admin.confirmed()
}

// addressGroup: dave's group admits an address group; carol's address enters and leaves it.
func (p *pair) addressGroup() {
	var made struct {
		Group struct{ ID string } `json:"address_group"`
	}
	if err := p.demo.ask(201, "POST", p.demo.neutron("/address-groups"), fields{"address_group": fields{"name": "friends", "addresses": []string{"10.99.0.0/16"}}}, &made); err != nil {
		p.t.Fatal(err)
	}
	tcpRule := p.demo.rule(p.daveGroup, fields{"protocol": "tcp", "remote_address_group_id": made.Group.ID})
	udpRule := p.demo.rule(p.daveGroup, fields{"protocol": "udp", "remote_address_group_id": made.Group.ID})
	alter := func(how string) {
		body := fields{"addresses": []string{p.carol.ip.String() + "/32"}}
		if err := p.demo.ask(200, "PUT", p.demo.neutron("/address-groups/"+made.Group.ID+"/"+how), body, nil); err != nil {
			p.t.Fatal(err)
		}
	}
	p.replaceRules(func() {
		p.admin.confirmed()
		p.notAnswered(p.carol, p.dave, p.dave.ip, sessionPort)
		alter("add_addresses")
		p.admin.confirmed()
		p.cut(func() { alter("remove_addresses") }, nil)
	})
	p.demo.unrule(tcpRule)
	p.demo.unrule(udpRule)
	if err := p.demo.ask(204, "DELETE", p.demo.neutron("/address-groups/"+made.Group.ID), nil, nil); err != nil {
		p.t.Error(err)
	}
}

// groupTakenOff: the group that allows the stream is taken off dave's port.
func (p *pair) groupTakenOff() {
	p.cut(func() { p.demo.change(p.dave.port.ID, fields{"security_groups": []string{p.carolGroup}}) },
		func() { p.demo.change(p.dave.port.ID, fields{"security_groups": []string{p.daveGroup}}) })
}

// egressRemoved: carol's group loses what lets her speak; what she may hear does not help.
func (p *pair) egressRemoved() {
	mute := p.demo.group("mute", nil)
	var body struct {
		Group struct {
			Rules []struct{ ID string } `json:"security_group_rules"`
		} `json:"security_group"`
	}
	if err := p.demo.ask(200, "GET", p.demo.neutron("/security-groups/"+mute), nil, &body); err != nil {
		p.t.Fatal(err)
	}
	for _, r := range body.Group.Rules {
		p.demo.unrule(r.ID)
	}
	p.cut(func() { p.demo.change(p.carol.port.ID, fields{"security_groups": []string{mute}}) },
		func() { p.demo.change(p.carol.port.ID, fields{"security_groups": []string{p.carolGroup}}) })
}

// portDown: a port that is switched off neither sends nor receives, and does again when it is switched on.
func (p *pair) portDown() {
	p.cut(func() { p.demo.change(p.carol.port.ID, fields{"admin_state_up": false}) },
		func() { p.demo.change(p.carol.port.ID, fields{"admin_state_up": true}) })
	p.admin.wantStatus(p.carol.port.ID, "ACTIVE")
}

// portDeleted: the API deletes dave's port under the stream, while the instance is plugged and runs on.
func (p *pair) portDeleted() {
	frank := p.newGuest(p.demo, p.admin, "frank", p.net, controller, fields{"security_groups": []string{p.daveGroup}})
	u := udpStream(p.carol, frank, sessionPort, false)
	back := udpStream(frank, p.dave, secondPort, false)
	u.flows(p.t)
	back.flows(p.t)
	if err := p.admin.ask(204, "DELETE", p.admin.neutron("/ports/"+frank.port.ID), nil, nil); err != nil {
		p.t.Fatal(err)
	}
	p.admin.confirmed()
	at := time.Now()
	u.isCut(p.t, at)
	back.isCut(p.t, at)
	u.finish()
	back.finish()
	frank.unplug()
	frank.discard()
}

// noBlink: whatever rules and members are added and go, running streams lose nothing and sessions repeat nothing.
func (p *pair) noBlink() {
	// They are plugged before: Open vSwitch itself may drop some frames of others while it takes in a new interface.
	near := p.newGuest(p.demo, p.admin, "grace", p.net, compute, fields{"security_groups": []string{}})
	far := p.newGuest(p.demo, p.admin, "heidi", p.net, controller, fields{"security_groups": []string{}})
	u, c := p.running()
	quietly := c.retransmitted(p.t)
	// Each step is confirmed before the next, so that a loss is known by its time.
	done := func(what string) {
		p.t.Helper()
		p.admin.confirmed()
		p.t.Logf("%s %s", time.Now().Format("15:04:05.000"), what)
	}
	g := p.demo.group("blink", nil)
	wear := func(groups ...string) {
		for _, x := range []*guest{near, far} {
			p.demo.change(x.port.ID, fields{"security_groups": append([]string{}, groups...)})
		}
	}
	for range 3 {
		var rules []string
		for i := range 10 {
			rules = append(rules, p.demo.rule(p.daveGroup, fields{"protocol": "tcp", "port_range_min": 8000 + 3*i, "port_range_max": 8001 + 3*i}))
		}
		done("rules for other ports are added")
		rules = append(rules, p.demo.rule(p.daveGroup, fields{"remote_group_id": g}), p.demo.rule(p.daveGroup, fields{"ethertype": "IPv6", "protocol": "udp"}))
		done("a rule with a remote group and one for IPv6 are added")
		rules = append(rules, p.demo.rule(p.carolGroup, fields{"protocol": "udp", "port_range_min": 1, "port_range_max": 65535}),
			p.demo.rule(p.daveGroup, fields{"protocol": "udp", "port_range_min": sessionPort, "port_range_max": sessionPort, "remote_ip_prefix": p.carol.ip.String() + "/32"}))
		done("rules that fit the stream too are added")
		wear(g)
		done("there are two members in the remote group")
		wear(g, p.daveGroup, p.carolGroup)
		done("others wear what the stream's ends wear")
		wear()
		done("they wear nothing")
		for _, r := range rules { // none of which is what the stream stands on alone
			p.demo.unrule(r)
		}
		done("the rules are removed again")
		p.demo.change(p.dave.port.ID, fields{"name": "dave the second", "extra_dhcp_opts": []fields{{"opt_name": "26", "opt_value": "1400"}}})
		done("the receiver's name and options are changed")
	}
	c.flows(p.t)
	u.lossless(p.t)
	p.noLoss(p.t, c.what+", segments sent again", max(0, int(c.retransmitted(p.t))-int(quietly)), u.full)
	c.finish()
	near.remove(p.admin)
	far.remove(p.admin)
}

// ownGroups: an end of a running stream gets a group more and loses it again, and nothing is lost. Frames that Open vSwitch has
// tracked by the flows before the change and judges by those after it still find the set of groups that the port has left.
func (p *pair) ownGroups() {
	const changes = 10
	g := p.demo.group("more", nil)
	u, c := p.running()
	for i := range changes {
		carols, daves := []string{p.carolGroup}, []string{p.daveGroup}
		if i%2 == 0 {
			carols, daves = append(carols, g), append(daves, g)
		}
		p.demo.change(p.carol.port.ID, fields{"security_groups": carols})
		p.demo.change(p.dave.port.ID, fields{"security_groups": daves})
		p.admin.confirmed()
		u.flows(p.t)
		c.flows(p.t)
	}
	u.lossless(p.t)
	c.finish()
}

// stateless: a stateless group judges each packet by itself, so an answer needs a rule of its own.
func (p *pair) stateless() {
	g := p.demo.group("stateless", fields{"stateful": false}, fields{"protocol": "udp", "port_range_min": sessionPort, "port_range_max": sessionPort})
	ivan := p.newGuest(p.demo, p.admin, "ivan", p.net, compute, fields{"security_groups": []string{g}})
	defer ivan.remove(p.admin)
	p.admin.confirmed()
	u := udpStream(p.carol, ivan, sessionPort, false)
	u.flows(p.t)
	u.lossless(p.t)
	// What ivan asks is answered by dave, and the answer is dropped: no rule of ivan's allows it.
	serve := p.dave.socket(netip.AddrPortFrom(p.dave.ip, sessionPort), netip.AddrPort{})
	defer serve.Close()
	go func() {
		b := make([]byte, 64)
		for {
			n, from, err := serve.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = serve.WriteToUDPAddrPort(b[:n], from)
		}
	}()
	if err := query(ivan, p.dave, sessionPort, false, 600*time.Millisecond); err == nil || portUnreachable(err) {
		p.t.Errorf("an answer reaches the stateless port without a rule: %v", err)
	}
	r := p.demo.rule(g, fields{"protocol": "udp", "port_range_min": 1024, "port_range_max": 65535})
	p.admin.confirmed()
	if err := query(ivan, p.dave, sessionPort, false, settleWithin); err != nil {
		p.t.Errorf("with a rule for answers: %v", err)
	}
	p.notAnswered(ivan, p.dave, p.dave.ip, sessionPort) // no rule admits TCP's answers
	p.demo.unrule(r)
}
