// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// offers notes the DHCP answers that reach a link, by transaction.
type offers struct {
	mu   sync.Mutex
	at   map[uint32]time.Time
	your map[uint32]netip.Addr
}

// catchOffers has a watcher note them.
func catchOffers(w *watcher) *offers {
	o := &offers{at: map[uint32]time.Time{}, your: map[uint32]netip.Addr{}}
	w.each(func(f []byte) {
		// untagged IPv4 without options, UDP from 67 to 68, BOOTREPLY
		if len(f) < 14+20+8+236 || !bytes.Equal(f[12:15], []byte{8, 0, 0x45}) || f[23] != protoUDP || !bytes.Equal(f[34:38], []byte{0, 67, 0, 68}) || f[42] != 2 {
			return
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		x := binary.BigEndian.Uint32(f[46:])
		if _, again := o.at[x]; !again {
			o.at[x], o.your[x] = time.Now(), netip.AddrFrom4([4]byte(f[58:62]))
		}
	})
	return o
}

func (o *offers) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.at)
}

func (o *offers) answer(xid uint32) (time.Time, netip.Addr, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	at, ok := o.at[xid]
	return at, o.your[xid], ok
}

// discover is a client's first message.
func discover(src net.HardwareAddr, chaddr net.HardwareAddr, xid uint32, giaddr netip.Addr, options ...[]byte) []byte {
	everybody := netip.MustParseAddr("255.255.255.255")
	return frame(broadcast, src, etherIP4, udp4(anyIP4, everybody, 68, 67, dhcp(1, dhcpDiscover, xid, chaddr, giaddr, options...)))
}

// asks sends discovers at intervals until all are answered or the time is over, and returns how long each took.
func (c *cast) asks(g *guest, o *offers, n int, every time.Duration) (took []time.Duration) {
	c.t.Helper()
	w := c.tap(g.name, "eth0")
	sent := map[uint32]time.Time{}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for range n {
		xid := rand.Uint32()
		sent[xid] = time.Now()
		w.send(discover(g.mac, g.mac, xid, netip.Addr{}))
		<-tick.C
	}
	_ = poll(c.t.Context(), 20*time.Second, func() error {
		for xid := range sent {
			if _, _, ok := o.answer(xid); !ok {
				return errors.New("not all are answered")
			}
		}
		return nil
	})
	for xid, began := range sent {
		at, your, ok := o.answer(xid)
		if !ok {
			continue
		}
		if your != g.ip {
			c.t.Errorf("%s was offered %s, its address is %s", g.name, your, g.ip)
		}
		took = append(took, at.Sub(began))
	}
	slices.Sort(took)
	return took
}

// percentiles describes durations in ascending order.
func percentiles(d []time.Duration) string {
	if len(d) == 0 {
		return "none"
	}
	at := func(p int) time.Duration { return d[min(len(d)-1, len(d)*p/100)].Round(10 * time.Microsecond) }
	return fmt.Sprintf("p50 %v, p90 %v, p99 %v, max %v", at(50), at(90), at(99), d[len(d)-1].Round(10*time.Microsecond))
}

// dhcpGreed is SA-06 as far as it is about the server: an instance asks as somebody else, for somebody else, or at length.
func dhcpGreed(c *cast) {
	mine, alices := catchOffers(c.site.watch("mallory", "eth0")), catchOffers(c.watch["alice"])
	if took := c.asks(c.alice, alices, 5, 60*time.Millisecond); len(took) != 5 {
		c.t.Fatalf("alice gets %d answers to 5 requests", len(took))
	}
	if took := c.asks(c.mallory, mine, 3, 60*time.Millisecond); len(took) != 3 {
		c.t.Fatalf("mallory gets %d answers to 3 requests: nothing below would be seen", len(took))
	}
	before, others := mine.count(), alices.count()
	rng := rand.New(rand.NewPCG(6, 6))
	// Slowly, so that the server and not the meter is what refuses.
	tick := time.NewTicker(70 * time.Millisecond)
	defer tick.Stop()
	for i := range 30 {
		chaddr := net.HardwareAddr{0xfa, 0x16, 0x3e, byte(rng.IntN(256)), byte(rng.IntN(256)), byte(rng.IntN(256))}
		if i%3 == 0 {
			chaddr = c.alice.mac
		}
		c.attacker.send(discover(c.mallory.mac, chaddr, rng.Uint32(), netip.Addr{}))
		<-tick.C
	}
	for range 2000 { // exhaustion: as fast as it goes
		chaddr := net.HardwareAddr{0xfa, 0x16, 0x3e, byte(rng.IntN(256)), byte(rng.IntN(256)), byte(rng.IntN(256))}
		c.attacker.send(discover(c.mallory.mac, chaddr, rng.Uint32(), netip.Addr{}))
	}
	c.fence()
	if took := c.asks(c.alice, alices, 5, 60*time.Millisecond); len(took) != 5 {
		c.t.Errorf("after requests for many, alice gets %d answers to 5", len(took))
	}
	if n := mine.count() - before; n != 0 {
		c.t.Errorf("requests for others' hardware addresses were answered %d times", n)
	}
	// A relay's fields in a client's message lead no answer astray.
	relay := append([]byte{82, 6, 1, 4}, 1, 2, 3, 4)
	xids := []uint32{rng.Uint32(), rng.Uint32()}
	c.attacker.send(discover(c.mallory.mac, c.mallory.mac, xids[0], c.bob.ip, relay), discover(c.mallory.mac, c.mallory.mac, xids[1], netip.MustParseAddr("192.168.0.10"), relay))
	// Giant and malformed options: whether they are answered is the server's affair, whether it lives is not.
	var many []byte
	for i := range 150 {
		many = append(many, byte(224+i%30), 4, 1, 2, 3, 4)
	}
	for _, o := range [][]byte{many, {55, 255}, {12, 255}, {61, 0, 50, 1, 255, 82, 200}, bytes.Repeat([]byte{0}, 1100), {52, 1, 3}, {57, 2, 0, 1}} {
		c.attacker.send(discover(c.mallory.mac, c.mallory.mac, rng.Uint32(), netip.Addr{}, o))
		<-tick.C
	}
	if took := c.asks(c.alice, alices, 5, 60*time.Millisecond); len(took) != 5 {
		c.t.Errorf("after a relay's fields and giant options, alice gets %d answers to 5", len(took))
	}
	if got, want := alices.count(), others+10; got != want {
		c.t.Errorf("%d DHCP answers reached alice, who was owed %d", got, want)
	}
	for _, x := range xids {
		if _, _, ok := alices.answer(x); ok {
			c.t.Error("an answer for mallory's relay reached alice")
		}
	}
}

// puntFlood is SA-12: one port sends what goes to the controller as fast as it can. Its meter stops it; others are served, and
// the API answers.
func puntFlood(c *cast) {
	const seconds = 4
	mine, alices, bobs := catchOffers(c.site.watch("mallory", "eth0")), catchOffers(c.watch["alice"]), catchOffers(c.watch["bob"])
	x := newToken(permitted)
	base := c.asks(c.alice, alices, 10, 60*time.Millisecond)
	c.t.Logf("DHCP at rest: %s", percentiles(base))
	stop, sent := make(chan struct{}), 0
	var flood sync.WaitGroup
	began, cpu := time.Now(), c.cpu(c.serverPID())
	flood.Go(func() {
		list := make([][]byte, 512)
		for i := range list {
			list[i] = discover(c.mallory.mac, c.mallory.mac, rand.Uint32(), netip.Addr{}, append([]byte{60, 8}, x...))
		}
		for {
			for _, f := range list {
				if _, err := c.attacker.f.Write(f); err == nil {
					sent++
				}
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	var asking sync.WaitGroup
	var near, far, api []time.Duration
	const n = seconds * 1000 / 80
	asking.Go(func() { near = c.asks(c.alice, alices, n, 80*time.Millisecond) })
	asking.Go(func() { far = c.asks(c.bob, bobs, n, 80*time.Millisecond) })
	for time.Since(began) < seconds*time.Second {
		at := time.Now()
		if _, err := c.demo.ports("limit=1"); err != nil {
			c.t.Errorf("the API during the flood: %v", err)
		}
		api = append(api, time.Since(at))
	}
	asking.Wait()
	close(stop)
	flood.Wait()
	took := time.Since(began)
	slices.Sort(api)
	used := c.cpu(c.serverPID()) - cpu
	c.fence()
	punted := c.watch[controller].punted(x)
	answered := mine.count()
	c.t.Logf("flood: %d requests in %v (%.0f/s), %d reached the controller, %d were answered; the server used %v of CPU", sent, took.Round(time.Millisecond),
		float64(sent)/took.Seconds(), punted, answered, used)
	c.t.Logf("meanwhile DHCP on the same node: %d of %d, %s; on the other: %d of %d, %s; API: %d, %s", len(near), n, percentiles(near), len(far), n, percentiles(far), len(api), percentiles(api))
	if len(near) != n || len(far) != n {
		c.t.Errorf("others' requests were answered %d and %d times of %d", len(near), len(far), n)
	}
	if float64(sent)/took.Seconds() < 500 { // 25 times the rate
		c.t.Errorf("%d requests in %v are no flood", sent, took)
	}
	// The rate is 20 a second; a bucket of as many may be full at the start.
	if limit := int(20*took.Seconds()+20) * 3 / 2; punted > limit {
		c.t.Errorf("%d requests of the flood reached the controller in %v, want %d at most", punted, took, limit)
	}
	if punted == 0 {
		c.t.Error("not one request of the flood reached the controller: the test is blind")
	}
}

// cpu is the time that a process has used.
func (s *site) cpu(pid int) time.Duration {
	s.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		s.t.Fatal(err)
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100 on every Linux
}
