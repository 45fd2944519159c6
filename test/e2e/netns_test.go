// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// within runs f on a thread inside a network namespace. Sockets that f opens stay in it.
func within(namespace string, f func() error) error {
	target, err := netns.GetFromName(namespace)
	if err != nil {
		return fmt.Errorf("namespace %s: %w", namespace, err)
	}
	defer target.Close()
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	if err := netns.Set(target); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("namespace %s: %w", namespace, err)
	}
	result := f()
	// A thread that cannot return would run other work in the wrong namespace: nothing is right any more.
	if err := netns.Set(home); err != nil {
		panic(err)
	}
	runtime.UnlockOSThread()
	return result
}

// pinger sends an ICMP echo request every few milliseconds from an instance and notes which were answered.
type pinger struct {
	s        *site
	full     int // frames that the switches' queues had refused at the start
	from, to string
	conn     net.PacketConn
	id       uint16
	stop     chan struct{}
	sending  sync.WaitGroup
	done     sync.WaitGroup

	mu      sync.Mutex
	sent    []time.Time
	replied []time.Duration // 0: not yet
	open    int
}

const pingEvery = 10 * time.Millisecond

// ping begins; it ends with the test, or before by finish.
func (s *site) ping(from, to string) *pinger {
	s.t.Helper()
	p := &pinger{s: s, full: s.queuesFull(), from: from, to: to, stop: make(chan struct{})}
	err := within(s.namespace(from), func() (err error) {
		if p.conn, err = net.ListenPacket("ip4:icmp", "0.0.0.0"); err == nil {
			patient(p.conn.(*net.IPConn))
		}
		return err
	})
	if err != nil {
		s.t.Fatalf("ping from %s: %v", from, err)
	}
	p.id = uint16(sites.Add(1))<<8 | uint16(os.Getpid()&0xff)
	p.done.Go(p.receive)
	p.sending.Go(p.send)
	s.t.Cleanup(p.end)
	return p
}

func (p *pinger) end() {
	select {
	case <-p.stop:
	default:
		close(p.stop)
	}
	p.conn.Close()
	p.sending.Wait()
	p.done.Wait()
}

func (p *pinger) send() {
	target := &net.IPAddr{IP: net.ParseIP(p.to)}
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
		}
		p.mu.Lock()
		seq := len(p.sent)
		p.sent, p.replied, p.open = append(p.sent, time.Now()), append(p.replied, 0), p.open+1
		p.mu.Unlock()
		// The sequence number has 16 bits: the data carries the whole one.
		b := make([]byte, 16)
		b[0] = 8 // echo request, RFC 792
		binary.BigEndian.PutUint16(b[4:], p.id)
		binary.BigEndian.PutUint16(b[6:], uint16(seq))
		binary.BigEndian.PutUint64(b[8:], uint64(seq))
		binary.BigEndian.PutUint16(b[2:], checksum(b))
		p.conn.WriteTo(b, target) // one that cannot even be sent is lost
	}
}

func (p *pinger) receive() {
	b := make([]byte, 2048)
	for {
		n, from, err := p.conn.ReadFrom(b)
		if err != nil {
			return
		}
		if n < 16 || b[0] != 0 || binary.BigEndian.Uint16(b[4:]) != p.id || from.String() != p.to {
			continue
		}
		seq := binary.BigEndian.Uint64(b[8:])
		p.mu.Lock()
		if seq < uint64(len(p.sent)) && p.replied[seq] == 0 {
			p.replied[seq] = max(1, time.Since(p.sent[seq]))
			p.open--
		}
		p.mu.Unlock()
	}
}

// atRest waits until nothing is open, or nothing more comes: a busy machine may deliver after seconds.
func atRest(t *testing.T, open func() int) {
	t.Helper()
	for was := open(); was > 0; {
		if poll(t.Context(), 6*time.Second, func() error {
			if now := open(); now >= was {
				return fmt.Errorf("%d are open", now)
			}
			return nil
		}) != nil {
			return
		}
		was = open()
	}
}

// patient gives a socket a buffer of some megabytes, which holds what comes while the machine is busy elsewhere.
func patient(conn syscall.Conn) {
	if raw, err := conn.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20) })
	}
}

// checksum is that of RFC 1071.
func checksum(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// answered reports how many of the requests were answered so far.
func (p *pinger) answered() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.sent) - p.open
}

// finish stops sending, waits for the last answers and holds that every request had one.
func (p *pinger) finish(t *testing.T) {
	t.Helper()
	lost := p.rest(t)
	if len(lost) > 0 {
		t.Logf("ping %s to %s: lost are those sent at %s", p.from, p.to, strings.Join(lost[:min(len(lost), 20)], " "))
	}
	p.s.noLoss(t, "ping "+p.from+" to "+p.to, len(lost), p.full)
}

// rest stops sending, waits for the last answers and returns when the requests were sent that had none.
func (p *pinger) rest(t *testing.T) (lost []string) {
	t.Helper()
	close(p.stop)
	p.sending.Wait() // one that is sent after the last answer was counted would be lost by the test itself
	last := func() (open int) {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.open
	}
	atRest(t, last)
	p.end()
	p.mu.Lock()
	defer p.mu.Unlock()
	var slowest time.Duration
	for i, took := range p.replied {
		slowest = max(slowest, took)
		if took == 0 {
			lost = append(lost, p.sent[i].Format("15:04:05.000"))
		}
	}
	t.Logf("ping %s to %s: %d sent, %d lost, slowest answer after %v", p.from, p.to, len(p.sent), len(lost), slowest.Round(time.Microsecond))
	if len(p.sent) == 0 {
		t.Errorf("ping %s to %s: nothing was sent", p.from, p.to)
	}
	return lost
}

// lostOf is when those were sent, of a time, that were not answered.
func (p *pinger) lostOf(from, to time.Time) (at []time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, took := range p.replied {
		if sent := p.sent[i]; took == 0 && sent.After(from) && sent.Before(to) {
			at = append(at, sent)
		}
	}
	return at
}

// wire is a raw socket on a link: what is sent there goes out as it is, and whatever passes there is seen.
type wire struct {
	t    *testing.T
	f    *os.File
	fd   int
	link int
}

// tap opens the link of a node or an instance.
func (s *site) tap(where, link string) *wire {
	s.t.Helper()
	w := &wire{t: s.t}
	err := within(s.namespace(where), func() error {
		l, err := net.InterfaceByName(link)
		if err != nil {
			return err
		}
		all := binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL}) // in network order
		w.link = l.Index
		w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(all))
		if err != nil {
			return err
		}
		if err := unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20); err != nil {
			return err
		}
		return unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: l.Index})
	})
	if err != nil {
		s.t.Fatalf("link %s of %s: %v", link, where, err)
	}
	w.f = os.NewFile(uintptr(w.fd), link)
	s.t.Cleanup(func() { w.f.Close() })
	return w
}

func (w *wire) send(frames ...[]byte) {
	w.t.Helper()
	for _, f := range frames {
		if _, err := w.f.Write(f); err != nil {
			w.t.Fatalf("send on %s: %v", w.f.Name(), err)
		}
	}
}

// until reads frames up to the one that last names, which has to come, and returns those before it.
func (w *wire) until(within time.Duration, last func(frame []byte) bool) [][]byte {
	w.t.Helper()
	if err := w.f.SetReadDeadline(time.Now().Add(within)); err != nil {
		w.t.Fatal(err)
	}
	var seen [][]byte
	b := make([]byte, 4096)
	for {
		n, err := w.f.Read(b)
		if err != nil {
			w.t.Fatalf("link %s: the awaited frame did not come; %d others did: %v", w.f.Name(), len(seen), err)
		}
		f := append([]byte{}, b[:n]...)
		if last(f) {
			return seen
		}
		seen = append(seen, f)
	}
}
