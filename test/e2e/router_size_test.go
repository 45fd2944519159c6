// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sizes: the outside takes larger packets than the tenants' networks. Who sends such is told, and knows of no address of inside;
// datagrams in many fragments pass both ways.
func sizes(x *world) {
	for _, g := range []*guest{x.a1, x.b2} { // on both nodes
		f := x.float(x.demo, g)
		x.pings(far, f.Address)
		for from, to := range map[string]string{upstream: f.Address, far: f.Address} {
			x.told(from, to, g.name, 1450)
		}
		out, _ := x.in(far, "ping", "-n", "-M", "do", "-s", "1472", "-c", "1", "-W", "2", f.Address)
		if strings.Contains(out, "10.1.0.") || strings.Contains(out, "10.2.0.") {
			x.t.Errorf("far hears of a fixed address: %s", out)
		}
		x.datagrams(far, g.name, f.Address, 8000)
		x.datagrams(g.name, far, farAddress, 8000)
		x.unfloat(x.demo, f)
	}
	for _, g := range []*guest{x.a1, x.a2, x.c1} { // by SNAT: what comes back is as large
		x.forgets(far, upstream)
		x.datagrams(g.name, far, farAddress, 8000)
		x.datagrams(g.name, upstream, upstreamAddress, 8000)
	}
	x.datagrams(x.a1.name, x.b2.name, x.b2.ip.String(), 8000)
	x.forgets(far, upstream)
	x.told(far, x.a1.ip6.String(), x.a1.name, 1450)
	x.told(far, x.b2.ip6.String(), x.b2.name, 1450)
}

// forgets has hosts forget what they learned of the ways to others.
func (x *world) forgets(hosts ...string) {
	x.t.Helper()
	for _, h := range hosts {
		x.batch(x.namespace(h), "route flush cache", "-6 route flush cache")
	}
}

// told holds that a host that forbids fragments learns how large packets to an address may be, by an error that its socket takes
// for one about its own packet, and that those of this size arrive.
func (x *world) told(from, address, at string, want int) {
	x.t.Helper()
	a := netip.MustParseAddr(address)
	level, discover, do, mtu, header := unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO, unix.IP_MTU, 28
	if a.Is6() {
		level, discover, do, mtu, header = unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO, unix.IPV6_MTU, 48
	}
	server := x.listenUDP(at)
	defer server.Close()
	var c *net.UDPConn
	err := within(x.namespace(from), func() (err error) {
		c, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, portOf(server))))
		return err
	})
	if err != nil {
		x.t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.SyscallConn()
	if err != nil {
		x.t.Fatal(err)
	}
	option := func(f func(fd int) error) {
		if e := raw.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil || err != nil {
			x.t.Fatalf("%v, %v", e, err)
		}
	}
	option(func(fd int) error { return unix.SetsockoptInt(fd, level, discover, do) })
	large := make([]byte, 1500-header)
	x.eventually(settleWithin, fmt.Sprintf("%s learns how large packets to %s may be", from, address), func() error {
		if _, err := c.Write(large); !errors.Is(err, syscall.EMSGSIZE) {
			return fmt.Errorf("sending %d octets: %v", len(large)+header, err)
		}
		return nil
	})
	have := 0
	option(func(fd int) (err error) { have, err = unix.GetsockoptInt(fd, level, mtu); return err })
	if have != want {
		x.t.Errorf("%s is told that packets to %s may have %d octets, want %d", from, address, have, want)
	}
	fits := counted(want - header)
	x.eventually(settleWithin, fmt.Sprintf("%d octets from %s arrive at %s", want, from, at), func() error {
		if _, err := c.Write(fits); err != nil {
			return err
		}
		return hears(server, fits)
	})
}

// datagrams holds that a large datagram to an address arrives at a host, and one of the same size comes back. Until those on the
// way have learned what fits, some are lost.
func (x *world) datagrams(from, to, address string, octets int) {
	x.t.Helper()
	server := x.listenUDP(to)
	defer server.Close()
	data := counted(octets)
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 1<<16)
		for {
			n, peer, err := server.ReadFromUDPAddrPort(b)
			if err != nil {
				if errors.Is(err, net.ErrClosed) {
					return
				}
				continue
			}
			_, _ = server.WriteToUDPAddrPort(b[:n], peer)
		}
	}()
	defer func() { server.Close(); <-done }()
	var c *net.UDPConn
	err := within(x.namespace(from), func() (err error) {
		c, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(address), portOf(server))))
		return err
	})
	if err != nil {
		x.t.Fatal(err)
	}
	defer c.Close()
	x.eventually(settleWithin, fmt.Sprintf("%d octets from %s to %s and back", octets, from, address), func() error {
		if _, err := c.Write(data); err != nil {
			return err
		}
		return hears(c, data)
	})
}

// counted is data in which no two places look alike.
func counted(n int) []byte {
	b := make([]byte, n)
	_, _ = (&counting{}).Read(b)
	return b
}

// hears waits for a datagram, which must be the one given.
func hears(c *net.UDPConn, want []byte) error {
	_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	b := make([]byte, 1<<16)
	for {
		n, _, err := c.ReadFromUDPAddrPort(b)
		if err != nil {
			return err
		}
		if bytes.Equal(b[:n], want) {
			return nil
		}
		if n == len(want) {
			return errors.New("what arrived is not what was sent")
		}
	}
}

func (x *world) listenUDP(where string) (c *net.UDPConn) {
	x.t.Helper()
	err := within(x.namespace(where), func() (err error) {
		c, err = net.ListenUDP("udp", &net.UDPAddr{})
		return err
	})
	if err != nil {
		x.t.Fatal(err)
	}
	return c
}

func portOf(c *net.UDPConn) uint16 { return netip.MustParseAddrPort(c.LocalAddr().String()).Port() }

// icmpErrors: a port where nobody listens is refused at once, whatever is translated on the way, and either way.
func icmpErrors(x *world) {
	f, second := x.float(x.demo, x.a1), x.float(x.demo, x.a3)
	defer x.unfloat(x.demo, f)
	defer x.unfloat(x.demo, second)
	for _, c := range []struct{ from, to string }{
		{x.a1.name, x.b2.ip.String()}, {x.a2.name, farAddress}, {x.c1.name, upstreamAddress}, // routed, by SNAT
		{x.a1.name, farAddress}, {x.a3.name, farAddress}, {far, f.Address}, {far, second.Address}, // by floating IPs
		{x.b1.name, f.Address}, {x.a1.name, x.b2.ip6.String()}, {x.b2.name, farAddress6}, {far, x.b2.ip6.String()},
	} {
		var conn net.Conn
		err := within(x.namespace(c.from), func() (err error) {
			conn, err = net.Dial("udp", net.JoinHostPort(c.to, strconv.Itoa(33333)))
			return err
		})
		if err != nil {
			x.t.Fatal(err)
		}
		x.eventually(settleWithin, c.from+" is refused by "+c.to, func() error {
			if _, err := conn.Write([]byte("anybody?")); portUnreachable(err) {
				return nil
			}
			_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
			if _, err := conn.Read(make([]byte, 10)); !portUnreachable(err) {
				return fmt.Errorf("not refused: %v", err)
			}
			return nil
		})
		conn.Close()
	}
}

// six: IPv6 is routed between networks and nodes, and to the outside as it is.
func six(x *world) {
	for _, c := range []struct {
		from, to *guest
		ttl      int
	}{{x.a1, x.a2, 64}, {x.a1, x.b1, 63}, {x.a1, x.b2, 63}, {x.b2, x.a1, 63}, {x.a3, x.b2, 63}} {
		address := c.to.ip6.String()
		if out := x.pings(c.from.name, address); !strings.Contains(out, fmt.Sprintf("ttl=%d ", c.ttl)) {
			x.t.Errorf("%s to %s: want ttl=%d: %s", c.from.name, c.to.name, c.ttl, out)
		}
		x.pings(c.from.name, address, "-s", "3000")
		j := x.join(c.from.name, c.to.name, address)
		if j.seenAs() != c.from.ip6.String() {
			x.t.Errorf("%s arrives at %s as %s", c.from.name, c.to.name, j.seenAs())
		}
		j.carry(x.t, 100_000)
	}
	for _, g := range []*guest{x.a1, x.a2, x.b2} {
		x.pings(g.name, "fd01::1")
		x.pings(g.name, farAddress6)
		x.pings(g.name, farAddress6, "-s", "3000")
		x.pings(far, g.ip6.String())
		for _, j := range []*joint{x.join(g.name, far, farAddress6), x.join(far, g.name, g.ip6.String())} {
			if want := map[string]string{g.name: g.ip6.String(), far: farAddress6}[j.from]; j.seenAs() != want {
				x.t.Errorf("%s arrives at %s as %s, not as itself", j.from, j.to, j.seenAs())
			}
			j.carry(x.t, 1<<20)
		}
	}
}
