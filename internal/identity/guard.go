// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"container/list"
	"fmt"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// LockedError refuses credentials unread, because too many wrong ones came before: for that user, or from that address. The
// right ones are refused as well, else guessing would go on.
type LockedError struct{ RetryAfter time.Duration }

func (e *LockedError) Error() string {
	return fmt.Sprintf("too many wrong credentials; wait %d s and try again", seconds(e.RetryAfter))
}

// seconds are whole ones, rounded up, as the header Retry-After has them (RFC 9110 section 10.2.3).
func seconds(d time.Duration) int { return max(1, int((d+time.Second-1)/time.Second)) }

// How many wrong credentials are free, and what the next ones cost: a second, doubled each time, up to lockMost.
const (
	freePerUser   = 10
	freePerSource = 50 // a source may be a whole host, or a translator of addresses
	freePerPair   = 20 // a client that was right before, e.g. a service whose password has just been changed
	lockFirst     = time.Second
	lockMost      = time.Minute
	// forgetAfter is without a failure.
	forgetAfter = 15 * time.Minute
	// knownFor is how long a source counts as known for a user after it was right.
	knownFor = time.Hour
	// tracked bounds each table; the entry that was touched longest ago goes first.
	tracked = 4096
)

// guard counts failures by user and by source, and delays whoever guesses. A source from which a user was right not long ago
// is counted by itself instead: so a stranger who guesses cannot lock a service out.
//
// Passwords wait for a slot before they are checked (see hashing); a guard is asked again inside it, so that guesses sent all
// at once gain nothing.
type guard struct {
	seed maphash.Seed
	mu   sync.Mutex
	bad  lru // of users and of sources
	good lru // of pairs that were right
}

// attempt is one use of credentials. It holds no text of the caller's, whatever the length of that.
type attempt struct{ user, source, pair uint64 }

type counter struct {
	key   uint64
	fails int
	last  time.Time // of the failures
	until time.Time // locked
	right time.Time // of a pair: when it was right last
}

func newGuard() *guard {
	g := &guard{seed: maphash.MakeSeed()}
	g.bad.m, g.good.m = map[uint64]*list.Element{}, map[uint64]*list.Element{}
	return g
}

// attempt names what is counted. user is an id, or whatever was given where there is no such user: these are counted alike,
// so that a lock tells nobody who exists.
func (g *guard) attempt(user, remote string) attempt {
	src := source(remote)
	return attempt{user: maphash.Comparable(g.seed, [2]string{"user", user}), source: maphash.Comparable(g.seed, src),
		pair: maphash.Comparable(g.seed, struct {
			user string
			src  netip.Prefix
		}{user, src})}
}

// source is who is counted for an address host:port: an IPv4 address, the /64 of an IPv6 one (anybody has the whole of it).
// What is no address, like a Unix socket's peer, is counted as one.
func source(remote string) netip.Prefix {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	a := ap.Addr().Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// check refuses an attempt that must wait.
func (g *guard) check(a attempt, now time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	var wait time.Duration
	for _, c := range g.counters(a, now) {
		if c != nil {
			wait = max(wait, c.until.Sub(now))
		}
	}
	if wait > 0 {
		return &LockedError{wait}
	}
	return nil
}

// counters gives those that an attempt falls under, nil where there is none yet.
func (g *guard) counters(a attempt, now time.Time) [2]*counter {
	if p := g.good.get(a.pair); p != nil && now.Sub(p.right) < knownFor {
		return [2]*counter{p}
	}
	return [2]*counter{g.bad.get(a.user), g.bad.get(a.source)}
}

// failed counts wrong credentials.
func (g *guard) failed(a attempt, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := g.good.get(a.pair); p != nil && now.Sub(p.right) < knownFor {
		p.fail(now, freePerPair)
		return
	}
	g.bad.touch(a.user).fail(now, freePerUser)
	g.bad.touch(a.source).fail(now, freePerSource)
}

// passed forgets the failures of the user. Those of the source stay: else somebody with an account of his own could guess at
// others for ever.
func (g *guard) passed(a attempt, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bad.drop(a.user)
	*g.good.touch(a.pair) = counter{key: a.pair, right: now}
}

func (c *counter) fail(now time.Time, free int) {
	if now.Sub(c.last) > forgetAfter && now.After(c.until) {
		c.fails = 0
	}
	c.last = now
	if c.fails++; c.fails > free {
		c.until = now.Add(min(lockMost, lockFirst<<min(c.fails-free-1, 16)))
	}
}

// lru is a bounded table of counters.
type lru struct {
	m     map[uint64]*list.Element
	order list.List // the newest in front
}

func (l *lru) get(key uint64) *counter {
	if e := l.m[key]; e != nil {
		return e.Value.(*counter)
	}
	return nil
}

// touch gives the counter of the key, made if need be, and makes it the newest.
func (l *lru) touch(key uint64) *counter {
	if e := l.m[key]; e != nil {
		l.order.MoveToFront(e)
		return e.Value.(*counter)
	}
	if len(l.m) >= tracked {
		oldest := l.order.Back()
		l.order.Remove(oldest)
		delete(l.m, oldest.Value.(*counter).key)
	}
	c := &counter{key: key}
	l.m[key] = l.order.PushFront(c)
	return c
}

func (l *lru) drop(key uint64) {
	if e := l.m[key]; e != nil {
		l.order.Remove(e)
		delete(l.m, key)
	}
}
