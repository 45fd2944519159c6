// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// guest is an instance that the tests plug themselves, step by step, with addresses written by hand. It shows what a
// hypervisor's instance shows, and leaves each moment of its life to the test: the port may be there before the
// interface, the interface before the port, and its stack may send before either.
type guest struct {
	s    *site
	name string // of the namespace
	node string
	port port
	link string // the node's end of its cable, if it is not named as a hypervisor would
	mac  net.HardwareAddr
	ip   netip.Addr // IPv4
	ip6  netip.Addr // not valid in a network without IPv6
	ll   netip.Addr // link-local, of the MAC
}

func (g *guest) tap() string {
	if g.link != "" {
		return g.link
	}
	return "tap" + g.port.ID[:11]
}

// fields are attributes of an API object.
type fields map[string]any

// newGuest makes a port as its owner does, binds it as Nova does, plugs it, and waits until it is ACTIVE.
func (s *site) newGuest(owner, admin *client, name, network, node string, more fields) *guest {
	s.t.Helper()
	g := s.newPort(owner, admin, name, network, node, more)
	g.wire()
	g.plug()
	admin.wantStatus(g.port.ID, "ACTIVE")
	g.announce()
	return g
}

// announce tells the neighbours who has the address now, as hosts do that come up (RFC 5227 section 2.3): another guest may have had
// it a moment before.
func (g *guest) announce() {
	g.s.t.Helper()
	w := g.s.tap(g.name, "eth0")
	if g.ip.IsValid() {
		w.send(frame(broadcast, g.mac, etherARP, arp(1, g.mac, g.ip, noMAC, g.ip, nil)))
	}
	w.f.Close()
}

// newPort makes and binds the port of a guest that has no namespace yet.
func (s *site) newPort(owner, admin *client, name, network, node string, more fields) *guest {
	s.t.Helper()
	body := fields{"name": name, "network_id": network}
	for k, v := range more {
		body[k] = v
	}
	var made, bound struct{ Port port }
	err := owner.ask(201, "POST", owner.neutron("/ports"), fields{"port": body}, &made)
	if err == nil {
		err = admin.ask(200, "PUT", admin.neutron("/ports/"+made.Port.ID),
			fields{"port": fields{"device_owner": "compute:nova", "device_id": name, "binding:host_id": node}}, &bound)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	g := &guest{s: s, name: name, node: node, port: bound.Port, mac: mac(s, bound.Port.MAC)}
	for _, f := range bound.Port.FixedIPs {
		a := netip.MustParseAddr(f.IP)
		if a.Is4() {
			g.ip = a
		} else {
			g.ip6 = a
		}
	}
	g.ll = linkLocal(g.mac)
	return g
}

// linkLocal is the address that a host makes of its MAC (RFC 4291, appendix A).
func linkLocal(m net.HardwareAddr) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]})
}

// batch runs several commands of ip(8) at once.
func (s *site) batch(namespace string, lines ...string) {
	s.t.Helper()
	for _, l := range lines {
		argv := []string{"ip"}
		if namespace != "" {
			argv = append(argv, "-n", namespace)
		}
		s.must(append(argv, strings.Fields(l)...)...)
	}
}

// wire makes the namespace and its link to the node, without a word to Open vSwitch.
func (g *guest) wire() {
	s, ns := g.s, g.s.namespace(g.name)
	s.t.Helper()
	s.batch("", "netns add "+ns)
	s.t.Cleanup(func() { g.discard() })
	// What the kernel would do by itself with IPv6 waits for no answer: the addresses are given, so duplicate address
	// detection and router solicitations are off.
	s.must("ip", "netns", "exec", ns, "sh", "-c", "cd /proc/sys/net/ipv6/conf/default && echo 0 >accept_dad && echo 0 >router_solicitations && echo 0 >autoconf")
	s.batch(s.namespace(g.node), "link add "+g.tap()+" type veth peer name eth0 netns "+ns)
	s.batch(s.namespace(g.node), "link set "+g.tap()+" mtu 1450 up")
	s.batch(ns, "link set lo up", "link set eth0 address "+g.port.MAC+" mtu 1450")
	s.must("ip", "netns", "exec", ns, "ethtool", "-K", "eth0", "tx", "off")
	s.batch(ns, "link set eth0 up")
	if g.ip.IsValid() {
		s.batch(ns, "addr add "+g.ip.String()+"/24 dev eth0")
	}
	if g.ip6.IsValid() {
		s.batch(ns, "addr add "+g.ip6.String()+"/64 dev eth0 nodad")
	}
}

// plug joins the guest's interface to br-int, as a hypervisor does.
func (g *guest) plug() { g.s.t.Helper(); g.s.plug(g.node, g.tap(), g.port.ID, g.port.MAC) }

func (g *guest) unplug() {
	g.s.t.Helper()
	g.s.ovs(g.node, "ovs-vsctl", "--if-exists", "del-port", "br-int", g.tap())
}

// discard takes namespace and link away, if they are there.
func (g *guest) discard() {
	if _, err := g.s.try(bg, "ip", "netns", "del", g.s.namespace(g.name)); err != nil {
		return
	}
	_, _ = g.s.try(bg, "ip", "-n", g.s.namespace(g.node), "link", "del", g.tap()) // gone with its peer, or about to be
}

// remove deletes the guest altogether: interface, port, namespace, in the order of Nova.
func (g *guest) remove(admin *client) {
	g.s.t.Helper()
	g.unplug()
	if err := admin.ask(204, "DELETE", admin.neutron("/ports/"+g.port.ID), nil, nil); err != nil {
		g.s.t.Fatal(err)
	}
	g.discard()
}

// group makes a security group with the given rules besides the two for egress and returns its id.
func (c *client) group(name string, more fields, rules ...fields) string {
	c.s.t.Helper()
	body := fields{"name": name}
	for k, v := range more {
		body[k] = v
	}
	var made struct {
		SecurityGroup struct{ ID string } `json:"security_group"`
	}
	if err := c.ask(201, "POST", c.neutron("/security-groups"), fields{"security_group": body}, &made); err != nil {
		c.s.t.Fatal(err)
	}
	for _, r := range rules {
		c.rule(made.SecurityGroup.ID, r)
	}
	return made.SecurityGroup.ID
}

// rule adds a rule, ingress unless it says otherwise, and returns its id.
func (c *client) rule(group string, r fields) string {
	c.s.t.Helper()
	body := fields{"security_group_id": group, "direction": "ingress"}
	for k, v := range r {
		body[k] = v
	}
	var made struct {
		Rule struct{ ID string } `json:"security_group_rule"`
	}
	if err := c.ask(201, "POST", c.neutron("/security-group-rules"), fields{"security_group_rule": body}, &made); err != nil {
		c.s.t.Fatal(err)
	}
	return made.Rule.ID
}

func (c *client) unrule(id string) {
	c.s.t.Helper()
	if err := c.ask(204, "DELETE", c.neutron("/security-group-rules/"+id), nil, nil); err != nil {
		c.s.t.Fatal(err)
	}
}

// subnet adds a subnet to a network.
func (c *client) subnet(network, cidr string, version int, more fields) string {
	c.s.t.Helper()
	body := fields{"network_id": network, "cidr": cidr, "ip_version": version}
	for k, v := range more {
		body[k] = v
	}
	var made struct{ Subnet struct{ ID string } }
	if err := c.ask(201, "POST", c.neutron("/subnets"), fields{"subnet": body}, &made); err != nil {
		c.s.t.Fatal(err)
	}
	return made.Subnet.ID
}

// change alters a port.
func (c *client) change(id string, f fields) {
	c.s.t.Helper()
	if err := c.ask(200, "PUT", c.neutron("/ports/"+id), fields{"port": f}, nil); err != nil {
		c.s.t.Fatal(err)
	}
}

// confirmed waits until every live node has confirmed what is committed now.
func (c *client) confirmed() {
	c.s.t.Helper()
	revision, err := c.revision()
	if err == nil {
		err = c.ask(200, "GET", c.admin(fmt.Sprintf("/wait?timeout=20&revision=%d", revision)), nil, nil)
	}
	if err != nil {
		c.s.t.Fatal(err)
	}
}
