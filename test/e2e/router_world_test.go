// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// world is a cloud with an outside: two tenants' routers on an external network, an upstream router that is nobody's of the cloud,
// and a machine far behind it.
//
//	far 198.51.100.10 -- 198.51.100.1 upstream 172.16.1.1 -- external network 172.16.1.0/24 --+-- r1 --+-- net a 10.1.0.0/24: a1, a2, a3
//	                                                                                          |        +-- net b 10.2.0.0/24: b1, b2
//	                                                                                          +-- r2 ----- net c 10.1.0.0/24: c1
//
// a and b are demo's, c is another tenant's and has the addresses of a. The networks of r1 and the outside have IPv6 too: fd01::/64,
// fd02::/64, fd16::/64 and fd98::/64, with the same ends. The tenants' networks take packets of 1450 octets, the outside of 1500.
type world struct {
	*site
	demo, admin        *client
	ext                string
	netA, netB, netC   string
	subA, subB, subC   string
	subA6, subB6       string
	r1, r2             string
	gw1, gw2           string // addresses of the routers on the external network
	a1, a2, a3, b1, b2 *guest
	c1                 *guest
}

const (
	upstream        = "upstream"
	upstreamAddress = "172.16.1.1"
	far             = "far"
	farAddress      = "198.51.100.10"
	farRouter       = "198.51.100.1"
	farAddress6     = "fd98::10"
)

// wiring is where the external network is on the nodes, and which nodes there are.
type wiring struct {
	physical string   // network of the external subnet
	nodes    []string // of a1 and b1; of a2 and b2; of a3 and c1
}

// newWorld builds it all.
func newWorld(s *site, w wiring) *world {
	s.t.Helper()
	x := &world{site: s, demo: s.user("demo"), admin: s.user("admin")}
	x.wireOutside(w.physical)
	x.ext = x.admin.external("ext-net", w.physical, "172.16.1.0/24", "fd16::/64")
	x.netA, x.subA = x.demo.network("net-a", "10.1.0.0/24")
	x.netB, x.subB = x.demo.network("net-b", "10.2.0.0/24")
	x.netC, x.subC = x.admin.network("net-c", "10.1.0.0/24")
	six := fields{"enable_dhcp": false}
	x.subA6, x.subB6 = x.demo.subnet(x.netA, "fd01::/64", 6, six), x.demo.subnet(x.netB, "fd02::/64", 6, six)
	x.r1 = x.demo.router("r1", x.ext, x.subA, x.subB, x.subA6, x.subB6)
	x.r2 = x.admin.router("r2", x.ext, x.subC)
	x.gw1, x.gw2 = x.admin.gatewayOf(x.r1), x.admin.gatewayOf(x.r2)
	gw6 := x.admin.gatewaysOf(x.r1)[1]
	s.batch(s.namespace(upstream), "-6 route add fd01::/64 via "+gw6, "-6 route add fd02::/64 via "+gw6)
	any4, any6 := fields{"remote_ip_prefix": "0.0.0.0/0"}, fields{"remote_ip_prefix": "::/0", "ethertype": "IPv6"}
	open, other := x.demo.group("open", nil, any4, any6), x.admin.group("open", nil, any4)
	sixth := map[string]string{x.netA: x.subA6, x.netB: x.subB6}
	at := func(owner *client, name, network, subnet, node, address, group string) *guest {
		ips := []fields{{"subnet_id": subnet, "ip_address": address}}
		routes := []string{"route add default via " + address[:strings.LastIndex(address, ".")] + ".1"}
		if sub6 := sixth[network]; sub6 != "" {
			b := netip.MustParseAddr(address).As4()
			ips = append(ips, fields{"subnet_id": sub6, "ip_address": fmt.Sprintf("fd%02d::%d", b[1], b[3])})
			routes = append(routes, fmt.Sprintf("-6 route add default via fd%02d::1", b[1]))
		}
		g := s.newGuest(owner, x.admin, name, network, node, fields{"fixed_ips": ips, "security_groups": []string{group}})
		s.batch(s.namespace(name), routes...)
		return g
	}
	x.a1 = at(x.demo, "a1", x.netA, x.subA, w.nodes[0], "10.1.0.11", open)
	x.a2 = at(x.demo, "a2", x.netA, x.subA, w.nodes[1], "10.1.0.12", open)
	x.a3 = at(x.demo, "a3", x.netA, x.subA, w.nodes[2], "10.1.0.13", open)
	x.b1 = at(x.demo, "b1", x.netB, x.subB, w.nodes[0], "10.2.0.11", open)
	x.b2 = at(x.demo, "b2", x.netB, x.subB, w.nodes[1], "10.2.0.12", open)
	x.c1 = at(x.admin, "c1", x.netC, x.subC, w.nodes[2], "10.1.0.11", other) // a1's address
	x.admin.confirmed()
	return x
}

// part runs a part of the test: the same world seen by a part of the test.
func (x *world) part(name string, f func(*world)) {
	x.t.Helper()
	x.t.Run(name, func(t *testing.T) {
		c := *x
		c.site = x.with(t)
		demo, admin := *x.demo, *x.admin
		demo.s, admin.s = c.site, c.site
		c.demo, c.admin = &demo, &admin
		f(&c)
	})
}

// wireOutside makes the upstream router and the machine behind it.
func (x *world) wireOutside(physical string) {
	x.t.Helper()
	up, away := x.namespace(upstream), x.namespace(far)
	for _, ns := range []string{up, away} {
		x.batch("", "netns add "+ns)
		x.must("ip", "netns", "exec", ns, "sh", "-c", "echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad && echo 0 >/proc/sys/net/ipv6/conf/default/router_solicitations")
		x.t.Cleanup(func() { _, _ = x.try(bg, "ip", "netns", "del", ns) })
		x.batch(ns, "link set lo up")
	}
	where := x.namespace(controller)
	if physical != "external" {
		where = x.namespace("underlay")
	}
	x.batch(where, "link add outside type veth peer name eth0 netns "+up, "link set outside up")
	if physical == "external" {
		x.ovs(controller, "ovs-vsctl", "add-port", "br-ex", "outside")
	} else {
		x.batch(where, "link set outside master pv0")
	}
	x.batch(up, "link add eth1 type veth peer name eth0 netns "+away, "link set eth0 up", "link set eth1 up",
		"addr add "+upstreamAddress+"/24 dev eth0", "addr add "+farRouter+"/24 dev eth1", "addr add fd16::1/64 dev eth0", "addr add fd98::1/64 dev eth1")
	x.batch(away, "link set eth0 up", "addr add "+farAddress+"/24 dev eth0", "route add default via "+farRouter,
		"addr add "+farAddress6+"/64 dev eth0", "-6 route add default via fd98::1")
	x.must("ip", "netns", "exec", up, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward && echo 1 >/proc/sys/net/ipv6/conf/all/forwarding")
	for ns, links := range map[string][]string{up: {"eth0", "eth1"}, away: {"eth0"}} {
		for _, link := range links {
			x.must("ip", "netns", "exec", ns, "ethtool", "-K", link, "tx", "off")
		}
	}
}

// external makes an external network of subnets without DHCP.
func (c *client) external(name, physical string, cidrs ...string) string {
	c.s.t.Helper()
	var n struct{ Network struct{ ID string } }
	body := fields{"name": name, "router:external": true, "provider:network_type": "flat", "provider:physical_network": physical}
	if err := c.ask(201, "POST", c.neutron("/networks"), fields{"network": body}, &n); err != nil {
		c.s.t.Fatal(err)
	}
	for _, cidr := range cidrs {
		version := 4
		if strings.Contains(cidr, ":") {
			version = 6
		}
		c.subnet(n.Network.ID, cidr, version, fields{"enable_dhcp": false})
	}
	return n.Network.ID
}

// router makes a router with a gateway, unless external is "", and interfaces.
func (c *client) router(name, external string, subnets ...string) string {
	c.s.t.Helper()
	var made struct{ Router struct{ ID string } }
	body := fields{"name": name}
	if external != "" {
		body["external_gateway_info"] = fields{"network_id": external}
	}
	err := c.ask(201, "POST", c.neutron("/routers"), fields{"router": body}, &made)
	for _, s := range subnets {
		if err == nil {
			err = c.ask(200, "PUT", c.neutron("/routers/"+made.Router.ID+"/add_router_interface"), fields{"subnet_id": s}, nil)
		}
	}
	if err != nil {
		c.s.t.Fatal(err)
	}
	return made.Router.ID
}

// gatewayOf is a router's IPv4 address on its external network.
func (c *client) gatewayOf(router string) string { return c.gatewaysOf(router)[0] }

// gatewaysOf are its addresses, that of IPv4 first.
func (c *client) gatewaysOf(router string) (ips []string) {
	c.s.t.Helper()
	ports, err := c.ports("device_id=" + router + "&device_owner=network:router_gateway")
	if err != nil || len(ports) != 1 || len(ports[0].FixedIPs) != 2 {
		c.s.t.Fatalf("gateway port of router %s: %+v, %v", router, ports, err)
	}
	for _, f := range ports[0].FixedIPs {
		if strings.Contains(f.IP, ":") {
			ips = append(ips, f.IP)
		} else {
			ips = append([]string{f.IP}, ips...)
		}
	}
	return ips
}

// floating is a floating IP.
type floating struct {
	ID      string  `json:"id"`
	Address string  `json:"floating_ip_address"`
	Status  string  `json:"status"`
	Fixed   *string `json:"fixed_ip_address"`
}

// float makes a floating IP of a guest and waits until its flows are there.
func (x *world) float(owner *client, g *guest) floating {
	x.t.Helper()
	var made struct {
		F floating `json:"floatingip"`
	}
	if err := owner.ask(201, "POST", owner.neutron("/floatingips"), fields{"floatingip": fields{"floating_network_id": x.ext, "port_id": g.port.ID}}, &made); err != nil {
		x.t.Fatal(err)
	}
	x.wantFloating(owner, made.F.ID, "ACTIVE")
	return made.F
}

// unfloat deletes a floating IP and waits until its flows are gone.
func (x *world) unfloat(owner *client, f floating) {
	x.t.Helper()
	if err := owner.ask(204, "DELETE", owner.neutron("/floatingips/"+f.ID), nil, nil); err != nil {
		x.t.Error(err)
	}
	x.admin.confirmed()
}

func (x *world) wantFloating(owner *client, id, status string) {
	x.t.Helper()
	x.eventually(settleWithin, "floating IP "+id+" is "+status, func() error {
		var f struct {
			F floating `json:"floatingip"`
		}
		err := owner.ask(200, "GET", owner.neutron("/floatingips/"+id), nil, &f)
		if err == nil && f.F.Status != status {
			err = fmt.Errorf("it is %s", f.F.Status)
		}
		return err
	})
	x.admin.confirmed()
}

// joint is a TCP connection, of which the test holds both ends.
type joint struct {
	from, to  string
	near, end net.Conn
}

// join opens a connection to an address behind which another namespace listens on every address of its own.
func (x *world) join(from, to, address string) *joint {
	x.t.Helper()
	var l net.Listener
	err := within(x.namespace(to), func() (err error) {
		l, err = (&net.ListenConfig{}).Listen(x.t.Context(), "tcp", ":0")
		return err
	})
	if err != nil {
		x.t.Fatalf("%s: %v", to, err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	j := &joint{from: from, to: to}
	ctx, cancel := context.WithTimeout(x.t.Context(), settleWithin)
	defer cancel()
	err = within(x.namespace(from), func() (err error) {
		j.near, err = (&net.Dialer{FallbackDelay: -1}).DialContext(ctx, "tcp", net.JoinHostPort(address, port))
		return err
	})
	if err == nil {
		x.t.Cleanup(func() { j.near.Close() })
		err = l.(*net.TCPListener).SetDeadline(time.Now().Add(settleWithin))
	}
	if err == nil {
		j.end, err = l.Accept()
	}
	if err != nil {
		x.t.Fatalf("TCP from %s to %s (%s): %v", from, address, to, err)
	}
	x.t.Cleanup(func() { j.end.Close() })
	return j
}

// seenAs is the address that the other end sees.
func (j *joint) seenAs() string {
	return netip.MustParseAddrPort(j.end.RemoteAddr().String()).Addr().Unmap().String()
}

// carry sends octets each way, one way after the other, and holds that they arrive as they were sent.
func (j *joint) carry(t *testing.T, n int64) {
	t.Helper()
	for _, way := range []struct {
		name    string
		out, in net.Conn
	}{{j.from + " to " + j.to, j.near, j.end}, {j.to + " to " + j.from, j.end, j.near}} {
		deadline := time.Now().Add(4 * settleWithin)
		if err := way.out.SetDeadline(deadline); err != nil {
			t.Fatal(err)
		}
		if err := way.in.SetDeadline(deadline); err != nil {
			t.Fatal(err)
		}
		began, sent, failed := time.Now(), crc32.NewIEEE(), make(chan error, 1)
		go func() {
			_, err := io.CopyN(io.MultiWriter(way.out, sent), &counting{}, n)
			failed <- err
		}()
		got := crc32.NewIEEE()
		arrived, err := io.CopyN(got, way.in, n)
		if sendErr := <-failed; err != nil || sendErr != nil {
			t.Fatalf("%s: %d of %d octets arrived: %v, %v", way.name, arrived, n, err, sendErr)
		}
		if sent.Sum32() != got.Sum32() {
			t.Fatalf("%s: what arrived is not what was sent", way.name)
		}
		if n > 1<<20 {
			t.Logf("%s: %d MB in %v", way.name, n>>20, time.Since(began).Round(time.Millisecond))
		}
	}
}

// counting is data in which no two places look alike.
type counting struct{ at uint32 }

func (c *counting) Read(b []byte) (int, error) {
	for i := range b {
		c.at = c.at*1664525 + 1013904223
		b[i] = byte(c.at >> 24)
	}
	return len(b), nil
}

// deaf holds that nothing passes any more: what is said on one end is not heard on the other, or the connection has ended.
func (j *joint) deaf(t *testing.T, why string) {
	t.Helper()
	for _, way := range []struct{ out, in net.Conn }{{j.near, j.end}, {j.end, j.near}} {
		if _, err := way.out.Write([]byte("still there?")); err != nil {
			continue
		}
		if err := way.in.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 64)
		if n, err := way.in.Read(b); n > 0 {
			t.Errorf("%s: the connection from %s to %s still carries %q (%v)", why, j.from, j.to, b[:n], err)
		}
	}
}

// pings waits until an address answers, and returns what ping says of the answer.
func (x *world) pings(from, address string, more ...string) string {
	x.t.Helper()
	var out string
	x.eventually(settleWithin, from+" reaches "+address, func() (err error) {
		out, err = x.run(from, append([]string{"ping", "-n", "-c", "1", "-W", "1"}, append(more, address)...)...)
		return err
	})
	return out
}

// silent holds that an address does not answer.
func (x *world) silent(from, address string) {
	x.t.Helper()
	if out, err := x.in(from, "ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", address); err == nil {
		x.t.Errorf("%s reaches %s, and must not:\n%s", from, address, out)
	}
}

// run runs a command in a namespace; its output is part of the error.
func (x *world) run(where string, argv ...string) (string, error) {
	out, err := x.in(where, argv...)
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return out, err
}
