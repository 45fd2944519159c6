// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"
)

// pair are two instances with real stacks: carol opens sessions from one node, dave takes them on the other. carol's group
// has no rule for ingress; dave's is what the parts change.
type pair struct {
	*cast
	carol, dave         *guest
	carolGroup          string
	daveGroup           string
	fromCarol, fromDave *wire
	atCarol, atDave     *watcher
	rules               *ruleIDs
}

// ruleIDs are the two rules of dave's group; a part that has to write them anew enters them here.
type ruleIDs struct{ tcp, udp string }

// Ports of dave's that its group opens, for IPv4 and IPv6.
const (
	sessionPort = 6000
	secondPort  = 6001
)

func newPair(c *cast) *pair {
	c.t.Helper()
	p := &pair{cast: c}
	p.carolGroup = c.demo.group("carol", nil)
	p.daveGroup = c.demo.group("dave", nil)
	p.rules = &ruleIDs{}
	p.rules.tcp = c.demo.rule(p.daveGroup, fields{"protocol": "tcp", "port_range_min": sessionPort, "port_range_max": secondPort})
	p.rules.udp = c.demo.rule(p.daveGroup, fields{"protocol": "udp", "port_range_min": sessionPort, "port_range_max": secondPort})
	p.carol = c.newGuest(c.demo, c.admin, "carol", c.net, compute, fields{"security_groups": []string{p.carolGroup}})
	p.dave = c.newGuest(c.demo, c.admin, "dave", c.net, controller, fields{"security_groups": []string{p.daveGroup}})
	p.fromCarol, p.fromDave = c.tap("carol", "eth0"), c.tap("dave", "eth0")
	p.atCarol, p.atDave = c.site.watch("carol", "eth0"), c.site.watch("dave", "eth0")
	c.admin.confirmed()
	return p
}

// step runs a part with the pair.
func (p *pair) step(name string, f func(*pair)) {
	p.t.Helper()
	p.part(name, func(c *cast) {
		q := *p
		q.cast = c
		q.carol, q.dave = p.carol.with(c.site), p.dave.with(c.site)
		f(&q)
	})
}

// with is the same guest seen by a part of the test.
func (g *guest) with(s *site) *guest {
	d := *g
	d.s = s
	return &d
}

// notAnswered holds that a connection does not come about.
func (p *pair) notAnswered(from, to *guest, address netip.Addr, port int) {
	p.t.Helper()
	l := to.listenTCP(address, port)
	defer l.Close()
	if conn, err := from.dialTCP(p.t.Context(), address, port, 400*time.Millisecond); err == nil {
		conn.Close()
		p.t.Errorf("%s connects to %s port %d", from.name, to.name, port)
	}
}

// established: who may ask gets answers, over IPv4 and IPv6, and nothing else.
func (p *pair) established() {
	s := connect(p.carol, p.dave, sessionPort, false).echo()
	s.flows(p.t)
	s.finish()
	serve := p.dave.socket(netip.AddrPortFrom(p.dave.ip, sessionPort), netip.AddrPort{})
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
	if err := query(p.carol, p.dave, sessionPort, false, settleWithin); err != nil {
		p.t.Errorf("UDP: %v", err)
	}
	serve.Close()
	p.notAnswered(p.carol, p.dave, p.dave.ip, 6002)
	p.notAnswered(p.dave, p.carol, p.carol.ip, sessionPort)
	p.notAnswered(p.carol, p.dave, p.dave.ip6, sessionPort) // the rules are for IPv4
}

// six: the same over IPv6, with addresses from the API, and ping.
func (p *pair) six() {
	tcp6 := p.demo.rule(p.daveGroup, fields{"ethertype": "IPv6", "protocol": "tcp", "port_range_min": sessionPort, "port_range_max": sessionPort})
	ping6 := p.demo.rule(p.daveGroup, fields{"ethertype": "IPv6", "protocol": "ipv6-icmp"})
	p.admin.confirmed()
	p.eventually(settleWithin, "carol pings dave over IPv6", func() error {
		out, err := p.in("carol", "ping", "-6", "-c", "3", "-i", "0.1", "-W", "1", p.dave.ip6.String())
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	s := connect(p.carol, p.dave, sessionPort, true).echo()
	s.flows(p.t)
	p.notAnswered(p.carol, p.dave, p.dave.ip6, secondPort)
	p.demo.unrule(tcp6)
	p.admin.confirmed()
	s.isCut(p.t, time.Now())
	s.finish()
	p.demo.unrule(ping6)
	p.admin.confirmed()
	p.eventually(settleWithin, "carol's ping over IPv6 is refused again", func() error {
		if _, err := p.in("carol", "ping", "-6", "-c", "1", "-W", "1", p.dave.ip6.String()); err == nil {
			return errors.New("it is answered")
		}
		return nil
	})
}

// related: ICMP's errors about a session reach who opened it; those about none do not.
func (p *pair) related() {
	p.eventually(settleWithin, "port unreachable comes back to carol", func() error {
		if err := query(p.carol, p.dave, secondPort, false, time.Second); !portUnreachable(err) {
			return fmt.Errorf("the answer is %w", err)
		}
		return nil
	})
	// An error that the network would send: fragmentation needed, about a session that is there, and about one that is not.
	conn := p.carol.socket(netip.AddrPortFrom(p.carol.ip, 6100), netip.AddrPortFrom(p.dave.ip, sessionPort))
	defer conn.Close()
	sink := p.dave.socket(netip.AddrPortFrom(p.dave.ip, sessionPort), netip.AddrPort{})
	defer sink.Close()
	if _, err := conn.Write([]byte("begin")); err != nil {
		p.t.Fatal(err)
	}
	_ = sink.SetReadDeadline(time.Now().Add(settleWithin))
	if _, err := sink.Read(make([]byte, 16)); err != nil {
		p.t.Fatal(err)
	}
	tooBig := func(port int, t token) []byte {
		quoted := udp4(p.carol.ip, p.dave.ip, port, sessionPort, []byte(t))
		m := slices.Concat([]byte{3, 4, 0, 0, 0, 0, 5, 0}, quoted)
		sum := checksum(append(m, make([]byte, len(m)%2)...))
		m[2], m[3] = byte(sum>>8), byte(sum)
		return frame(p.carol.mac, p.dave.mac, etherIP4, ip4{src: p.dave.ip, dst: p.carol.ip, proto: protoICMP, payload: m}.bytes())
	}
	x, o := newToken(forbidden), newToken(permitted)
	p.eventually(settleWithin, "an error about a session reaches carol", func() error {
		p.fromDave.send(tooBig(6101, x), tooBig(6100, o))
		if !p.atCarol.wait(o, 200*time.Millisecond) {
			return errors.New("it does not")
		}
		return nil
	})
	p.atCarol.holdsNone(p.t, x, "an ICMP error about no session")
}

// invalid: what belongs to no session and begins none is dropped, although the ports are open.
func (p *pair) invalid() {
	s := connect(p.carol, p.dave, sessionPort, false).echo()
	defer s.finish()
	s.flows(p.t)
	client := s.client.LocalAddr().(interface{ AddrPort() netip.AddrPort }).AddrPort()
	seg := func(t token, from, to *guest, sport, dport int, seq, ack uint32, flags byte) []byte {
		return frame(to.mac, from.mac, etherIP4, ip4{src: from.ip, dst: to.ip, proto: protoTCP, payload: tcp(from.ip, to.ip, sport, dport, seq, ack, flags, []byte(t))}.bytes())
	}
	toDave, toCarol := newToken(forbidden), newToken(forbidden)
	for i := range uint32(50) {
		p.fromCarol.send(
			seg(toDave, p.carol, p.dave, 6200, sessionPort, 1, 1, tcpSYN|tcpACK),
			seg(toDave, p.carol, p.dave, 6201, sessionPort, 1, 1, tcpSYN|tcpRST),
			seg(toDave, p.carol, p.dave, 6202, sessionPort, 1, 1, 0),
			seg(toDave, p.carol, p.dave, 6203, sessionPort, 1, 1, tcpFIN|tcpPSH|0x20),
			seg(toDave, p.carol, p.dave, int(client.Port()), sessionPort, i<<27|1<<26, i<<27, tcpACK|tcpPSH),
		)
		p.fromDave.send(
			seg(toCarol, p.dave, p.carol, sessionPort, int(client.Port()), i<<27|1<<26, i<<27, tcpACK|tcpPSH),
			seg(toCarol, p.dave, p.carol, sessionPort, int(client.Port()), i<<27|1<<26, i<<27, tcpRST),
			seg(toCarol, p.dave, p.carol, sessionPort, 6204, 1, 1, tcpSYN|tcpACK),
			seg(toCarol, p.dave, p.carol, sessionPort, 6205, 1, 1, tcpACK),
		)
	}
	s.flows(p.t) // what came later has arrived, and the session stands
	p.atDave.holdsNone(p.t, toDave, "TCP out of any session or window, to an open port")
	p.atCarol.holdsNone(p.t, toCarol, "TCP out of any session or window, as answer")
}

// fragments: datagrams of 8 KB cross whole where they may, in both directions of a session; not one fragment crosses where not.
func (p *pair) fragments() {
	serve := p.dave.socket(netip.AddrPortFrom(p.dave.ip, sessionPort), netip.AddrPort{})
	closed := p.dave.socket(netip.AddrPortFrom(p.dave.ip, 6002), netip.AddrPort{})
	defer serve.Close()
	defer closed.Close()
	go func() {
		b := make([]byte, 16<<10)
		for {
			n, from, err := serve.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = serve.WriteToUDPAddrPort(b[:n], from)
		}
	}()
	conn := p.carol.socket(netip.AddrPortFrom(p.carol.ip, 0), netip.AddrPortFrom(p.dave.ip, sessionPort))
	away := p.carol.socket(netip.AddrPortFrom(p.carol.ip, 0), netip.AddrPortFrom(p.dave.ip, 6002))
	defer conn.Close()
	defer away.Close()
	x, o := newToken(forbidden), newToken(permitted)
	big := func(t token) []byte {
		b := make([]byte, 8192)
		for i := 0; i < len(b); i += 64 { // so that each fragment has it
			copy(b[i:], t)
		}
		return b
	}
	back := make([]byte, 16<<10)
	const n = 50
	answered := 0
	for range n {
		if _, err := away.Write(big(x)); err != nil && !portUnreachable(err) {
			p.t.Fatal(err)
		}
		if _, err := conn.Write(big(o)); err != nil {
			p.t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(3 * time.Second))
		size, err := conn.Read(back)
		if err != nil || !slices.Equal(back[:size], big(o)) {
			break
		}
		answered++
	}
	if answered != n {
		p.t.Errorf("%d of %d datagrams of 8192 octets came back whole", answered, n)
	}
	p.atDave.holdsNone(p.t, x, "fragments of a datagram to a closed port")
}

// halfClosed: after the client has nothing more to say, the server may go on for long.
func (p *pair) halfClosed() {
	s := connect(p.carol, p.dave, sessionPort, false)
	defer s.finish()
	if _, err := s.client.Write([]byte("give me all")); err != nil {
		p.t.Fatal(err)
	}
	if err := s.client.CloseWrite(); err != nil {
		p.t.Fatal(err)
	}
	if b, err := io.ReadAll(s.server); err != nil || string(b) != "give me all" {
		p.t.Fatalf("dave got %q, %v", b, err)
	}
	const chunk, chunks = 64 << 10, 40
	s.done.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for range chunks {
			if _, err := s.server.Write(make([]byte, chunk)); err != nil {
				return
			}
			<-tick.C
		}
		s.server.Close()
	})
	_ = s.client.SetReadDeadline(time.Now().Add(settleWithin))
	if n, err := io.Copy(io.Discard, s.client); err != nil || n != chunk*chunks {
		p.t.Errorf("carol got %d of %d octets after she had closed her side: %v", n, chunk*chunks, err)
	}
}

// portRange: the first and the last port of a range that no mask covers at once are open, their neighbours are closed.
func (p *pair) portRange() {
	r := p.demo.rule(p.daveGroup, fields{"protocol": "tcp", "port_range_min": 7001, "port_range_max": 7130})
	p.admin.confirmed()
	for _, port := range []int{7001, 7002, 7064, 7128, 7130} {
		s := connect(p.carol, p.dave, port, false)
		s.finish()
	}
	for _, port := range []int{7000, 7131} {
		p.notAnswered(p.carol, p.dave, p.dave.ip, port)
	}
	p.demo.unrule(r)
	p.admin.confirmed()
}

// icmpTypes: a rule for one type and code lets nothing else of ICMP in.
func (p *pair) icmpTypes() {
	r := p.demo.rule(p.daveGroup, fields{"protocol": "icmp", "port_range_min": 8, "port_range_max": 0})
	p.admin.confirmed()
	echo := func(kind, code byte, t token) []byte {
		m := append([]byte{kind, code, 0, 0, 0, 1, 0, 1}, t...)
		sum := checksum(m)
		m[2], m[3] = byte(sum>>8), byte(sum)
		return frame(p.dave.mac, p.carol.mac, etherIP4, ip4{src: p.carol.ip, dst: p.dave.ip, proto: protoICMP, payload: m}.bytes())
	}
	x, o := newToken(forbidden), newToken(permitted)
	p.eventually(settleWithin, "echo requests reach dave", func() error {
		p.fromCarol.send(echo(13, 0, x), echo(8, 1, x), echo(17, 0, x), echo(0, 0, x), echo(8, 0, o))
		if !p.atDave.wait(o, 200*time.Millisecond) {
			return errors.New("they do not")
		}
		return nil
	})
	p.atDave.holdsNone(p.t, x, "ICMP of another type or code than the rule's")
	if out, err := p.in("carol", "ping", "-c", "2", "-i", "0.1", "-W", "1", p.dave.ip.String()); err != nil {
		p.t.Errorf("ping: %v\n%s", err, out)
	}
	p.demo.unrule(r)
	p.admin.confirmed()
}
