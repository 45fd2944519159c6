// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	streamRate = 1000 // datagrams a second
	// poke is how long a frame may take until it is sent again.
	poke = 200 * time.Millisecond
	// quiet is how long nothing may come before a stream counts as cut.
	quiet = 700 * time.Millisecond
)

// socket opens a UDP socket in a guest.
func (g *guest) socket(local, remote netip.AddrPort) *net.UDPConn {
	g.s.t.Helper()
	var conn *net.UDPConn
	err := within(g.s.namespace(g.name), func() (err error) {
		if remote.IsValid() {
			conn, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(local), net.UDPAddrFromAddrPort(remote))
		} else {
			conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(local))
		}
		return err
	})
	if err != nil {
		g.s.t.Fatalf("%s: %v", g.name, err)
	}
	patient(conn)
	g.s.t.Cleanup(func() { conn.Close() })
	return conn
}

// traffic is under test: something that either comes through or does not.
type traffic struct {
	what string
	s    *site
	full int // frames that the switches' queues had refused at the start
	stop chan struct{}
	send sync.WaitGroup // whoever sends
	done sync.WaitGroup // whoever receives
	end  func()

	mu   sync.Mutex
	sent int
	got  int
	last time.Time         // of the last arrival
	said time.Time         // when the newest was sent of those that arrived
	open map[int]time.Time // of a UDP stream: when those were sent that have not arrived
}

func (f *traffic) arrival(sent time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got, f.last = f.got+1, time.Now()
	if sent.After(f.said) {
		f.said = sent
	}
}

func (f *traffic) counts() (sent, got int, last time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent, f.got, f.last
}

// halt stops sending, and finish everything; both may be called again.
func (f *traffic) halt() {
	f.mu.Lock()
	select {
	case <-f.stop:
	default:
		close(f.stop)
	}
	f.mu.Unlock()
}

func (f *traffic) finish() {
	f.halt()
	f.end()
	f.send.Wait()
	f.done.Wait()
}

// udpStream sends datagrams from one guest to a port of another, at streamRate.
func udpStream(from, to *guest, port int, six bool) *traffic {
	from.s.t.Helper()
	src, dst := from.ip, to.ip
	if six {
		src, dst = from.ip6, to.ip6
	}
	f := &traffic{what: fmt.Sprintf("UDP from %s to %s port %d", from.name, to.name, port), s: from.s, full: from.s.queuesFull(), stop: make(chan struct{}), open: map[int]time.Time{}}
	sink := to.socket(netip.AddrPortFrom(dst, uint16(port)), netip.AddrPort{})
	source := from.socket(netip.AddrPortFrom(src, 0), netip.AddrPortFrom(dst, uint16(port)))
	f.end = func() { sink.Close(); source.Close() }
	f.done.Go(func() {
		b := make([]byte, 2048)
		for {
			n, _, err := sink.ReadFromUDPAddrPort(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil || n < 8 {
				continue
			}
			no := int(binary.BigEndian.Uint64(b))
			f.mu.Lock()
			sent := f.open[no]
			delete(f.open, no)
			f.mu.Unlock()
			f.arrival(sent)
		}
	})
	f.send.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		began := time.Now()
		for n := 0; ; {
			select {
			case <-f.stop:
				return
			case <-tick.C:
			}
			// Late ticks are made up for, in part: a burst is no stream.
			for due := min(int(time.Since(began)*streamRate/time.Second), n+20); n < due; n++ {
				f.mu.Lock()
				f.sent++
				f.open[n] = time.Now()
				f.mu.Unlock()
				if _, err := source.Write(binary.BigEndian.AppendUint64(make([]byte, 0, 64), uint64(n))); errors.Is(err, net.ErrClosed) {
					return
				}
			}
		}
	})
	from.s.t.Cleanup(f.finish)
	return f
}

// rest waits until what is under way has arrived, after the last was sent.
func (f *traffic) rest(t *testing.T) (sent, got int) {
	t.Helper()
	atRest(t, func() int { sent, got, _ := f.counts(); return sent - got })
	sent, got, _ = f.counts()
	return sent, got
}

// lostOf is when those were sent, of a time, that have not arrived.
func (f *traffic) lostOf(from, to time.Time) (at []time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, sent := range f.open {
		if sent.After(from) && sent.Before(to) {
			at = append(at, sent)
		}
	}
	return at
}

// lossless stops sending and holds that all has arrived.
func (f *traffic) lossless(t *testing.T) {
	t.Helper()
	f.halt()
	f.send.Wait()
	sent, got := f.rest(t)
	f.finish()
	t.Logf("%s: %d sent, %d lost", f.what, sent, sent-got)
	var lost []string
	for _, at := range f.open {
		lost = append(lost, at.Format("15:04:05.000"))
	}
	if slices.Sort(lost); len(lost) > 0 {
		t.Logf("%s: lost are those sent at %s", f.what, strings.Join(lost[:min(len(lost), 30)], " "))
	}
	if sent == 0 {
		t.Errorf("%s: nothing was sent", f.what)
	}
	f.s.noLoss(t, f.what, sent-got, f.full)
}

// flows waits until traffic comes through.
func (f *traffic) flows(t *testing.T) {
	t.Helper()
	_, before, _ := f.counts()
	err := poll(t.Context(), settleWithin, func() error {
		if sent, got, _ := f.counts(); got < before+20 {
			return fmt.Errorf("%d sent, %d arrived", sent, got-before)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%s: does not come through: %v", f.what, err)
	}
}

// isCut holds that of what was sent after a change nothing came through, but for what Open vSwitch let pass before it had looked at its
// cached flows again: about a second on a machine that has time for it. at is when the change was confirmed.
func (f *traffic) isCut(t *testing.T, at time.Time) {
	t.Helper()
	looked := f.s.revalidated()
	err := poll(t.Context(), settleWithin, func() error {
		if sent, got, last := f.counts(); time.Since(last) < quiet || time.Since(looked) < quiet {
			return fmt.Errorf("%d sent, %d arrived", sent, got)
		}
		return nil
	})
	f.mu.Lock()
	said := f.said
	f.mu.Unlock()
	switch {
	case err != nil:
		t.Errorf("%s: is not cut: %v", f.what, err)
	case said.After(looked):
		t.Errorf("%s: what was sent %v after the change was confirmed came through, though the switches had looked at their cached flows after %v",
			f.what, said.Sub(at).Round(time.Millisecond), looked.Sub(at).Round(time.Millisecond))
	default:
		t.Logf("%s: cut, the last that came through was sent %v after the change was confirmed", f.what, max(said.Sub(at), 0).Round(time.Millisecond))
	}
}

// revalidated waits until the switches have looked at all their cached flows since the call, and returns when that was so.
func (s *site) revalidated() time.Time {
	s.t.Helper()
	var nodes sync.WaitGroup
	for _, node := range []string{controller, compute} {
		nodes.Go(func() {
			// The first waits for the end of a round that may have begun before, the second for one that may not know of the change yet.
			for range 3 {
				if out, err := s.tryOVS(s.t.Context(), node, "ovs-appctl", "revalidator/wait"); err != nil {
					s.t.Errorf("%s: %v: %s", node, err, out)
				}
			}
		})
	}
	nodes.Wait()
	return time.Now()
}

// session is a TCP connection between two guests.
type session struct {
	*traffic
	client, server *net.TCPConn
}

// listenTCP accepts connections in a guest.
func (g *guest) listenTCP(address netip.Addr, port int) *net.TCPListener {
	g.s.t.Helper()
	var l *net.TCPListener
	err := within(g.s.namespace(g.name), func() (err error) {
		l, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(address, uint16(port))))
		return err
	})
	if err != nil {
		g.s.t.Fatalf("%s: %v", g.name, err)
	}
	g.s.t.Cleanup(func() { l.Close() })
	return l
}

// dialTCP connects from a guest.
func (g *guest) dialTCP(ctx context.Context, to netip.Addr, port int, patience time.Duration) (*net.TCPConn, error) {
	var conn net.Conn
	err := within(g.s.namespace(g.name), func() (err error) {
		d := net.Dialer{Timeout: patience, FallbackDelay: -1}
		conn, err = d.DialContext(ctx, "tcp", netip.AddrPortFrom(to, uint16(port)).String())
		return err
	})
	if err != nil {
		return nil, err
	}
	g.s.t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn), nil
}

// connect makes a session, which has to succeed.
func connect(from, to *guest, port int, six bool) *session {
	from.s.t.Helper()
	dst := to.ip
	if six {
		dst = to.ip6
	}
	l := to.listenTCP(dst, port)
	c := &session{traffic: &traffic{s: from.s, what: fmt.Sprintf("TCP from %s to %s port %d", from.name, to.name, port), stop: make(chan struct{})}}
	var err error
	if c.client, err = from.dialTCP(from.s.t.Context(), dst, port, settleWithin); err != nil {
		from.s.t.Fatal(err)
	}
	_ = l.SetDeadline(time.Now().Add(settleWithin))
	if c.server, err = l.AcceptTCP(); err != nil {
		from.s.t.Fatal(err)
	}
	l.Close()
	from.s.t.Cleanup(func() { c.server.Close() })
	c.end = func() { c.client.Close(); c.server.Close() }
	return c
}

// echo has the client send a little and wait for the answer, again and again.
func (c *session) echo() *session {
	c.done.Go(func() {
		b := make([]byte, 64)
		for {
			if _, err := io.ReadFull(c.server, b); err != nil {
				return
			}
			if _, err := c.server.Write(b); err != nil {
				return
			}
		}
	})
	c.done.Go(func() {
		out, in := make([]byte, 64), make([]byte, 64)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for n := uint64(0); ; n++ {
			select {
			case <-c.stop:
				return
			case <-tick.C:
			}
			binary.BigEndian.PutUint64(out, n)
			said := time.Now()
			if _, err := c.client.Write(out); err != nil {
				return
			}
			c.mu.Lock()
			c.sent++
			c.mu.Unlock()
			if _, err := io.ReadFull(c.client, in); err != nil || binary.BigEndian.Uint64(in) != n {
				return
			}
			c.arrival(said)
		}
	})
	return c
}

// retransmitted is how many segments the client has sent again because they were lost. Those that the other end had twice were sent
// again by a clock, on a machine that was busy elsewhere for longer than a round trip may take (RFC 2883).
func (c *session) retransmitted(t *testing.T) uint32 {
	t.Helper()
	raw, err := c.client.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var n uint32
	if err := raw.Control(func(fd uintptr) {
		var info *unix.TCPInfo
		if info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = info.Total_retrans - min(info.Dsack_dups, info.Total_retrans)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// query is one datagram to a port and perhaps one back, by a connected socket, so that errors by ICMP are seen.
func query(from, to *guest, port int, six bool, within time.Duration) error {
	src, dst := from.ip, to.ip
	if six {
		src, dst = from.ip6, to.ip6
	}
	conn := from.socket(netip.AddrPortFrom(src, 0), netip.AddrPortFrom(dst, uint16(port)))
	defer conn.Close()
	deadline := time.Now().Add(within)
	b := make([]byte, 16)
	for time.Now().Before(deadline) {
		if _, err := conn.Write([]byte("is it you?")); err != nil {
			return err
		}
		_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		if _, err := conn.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	return fmt.Errorf("no answer from %s port %d", to.name, port)
}

// portUnreachable tells whether an answer was ICMP's "port unreachable".
func portUnreachable(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
