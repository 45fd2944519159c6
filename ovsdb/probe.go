// SPDX-License-Identifier: Apache-2.0

package ovsdb

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"nagare/ovsdb/internal/jsonscan"
	"nagare/ovsdb/internal/rpc"
)

// probe finds a peer that is gone without a word. Every byte that comes is a sign
// of life, even in the middle of a message, and a slow peer earns a longer wait:
// cutting off a busy peer makes it start over with a full dump, and so busier.
type probe struct {
	s    *Session
	last atomic.Int64 // time of the last byte, ns after base
	read atomic.Int64 // reads that brought bytes
	base time.Time

	mu      sync.Mutex
	cancel  func()
	stopped bool
	sent    time.Time     // when the unanswered echo went out; zero = none
	before  int64         // reads until then
	rtt     time.Duration // smoothed
}

func (p *probe) touch() {
	p.last.Store(int64(p.s.opts.Clock.Now().Sub(p.base)))
	p.read.Add(1)
}

func (p *probe) start(s *Session) {
	p.s = s
	p.base = s.opts.Clock.Now()
	if s.opts.ProbeInterval > 0 {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.arm(s.opts.ProbeInterval)
	}
}

// arm needs p.mu.
func (p *probe) arm(d time.Duration) {
	if !p.stopped {
		p.cancel = p.s.opts.Clock.AfterFunc(d, p.fire)
	}
}

func (p *probe) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	if p.cancel != nil {
		p.cancel()
	}
}

// fire runs when the peer has been silent for ProbeInterval, or its time to answer
// is up, as things stood when the timer was set.
func (p *probe) fire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return
	}
	now := p.s.opts.Clock.Now()
	read := p.read.Load()
	silent := now.Sub(p.base) - time.Duration(p.last.Load())
	if !p.sent.IsZero() && read != p.before {
		p.sent = time.Time{}
	}
	if p.sent.IsZero() {
		if wait := p.s.opts.ProbeInterval - silent; wait > 0 {
			p.arm(wait)
			return
		}
		p.sent, p.before = now, read
		p.arm(min(p.patience(), p.s.opts.ProbeInterval))
		go p.echo(now)
		return
	}
	// Look again every ProbeInterval, so that silence after an answer counts at once.
	if wait := p.patience() - now.Sub(p.sent); wait > 0 {
		p.arm(min(wait, p.s.opts.ProbeInterval))
		return
	}
	p.stopped = true
	go p.s.fail(fmt.Errorf("ovsdb session: %w for %s", ErrInactive, silent.Round(time.Millisecond)))
}

// patience is how long the peer may leave an echo unanswered; needs p.mu.
func (p *probe) patience() time.Duration {
	o := p.s.opts
	d := max(o.ProbeTimeout, min(8*p.rtt, o.BusyTimeout))
	if p.s.waiting() > 0 {
		d = max(d, o.BusyTimeout)
	}
	return d
}

// echo sends the probe past the request slots, which may all be taken.
func (p *probe) echo(sent time.Time) {
	s := p.s
	s.mu.Lock()
	s.lastID++
	id := s.lastID
	s.calls[id] = &call{method: "echo", done: make(chan error, 1), handle: func(in *jsonscan.Scanner) error {
		p.mu.Lock()
		p.rtt = (3*p.rtt + s.opts.Clock.Now().Sub(sent)) / 4
		p.mu.Unlock()
		return in.Skip()
	}}
	s.mu.Unlock()
	err := s.conn.Send(func(b []byte) ([]byte, error) {
		b = rpc.AppendRequest(b, fmt.Append(nil, id), "echo")
		return rpc.End(append(b, "[]"...)), nil
	})
	if err != nil {
		s.fail(fmt.Errorf("ovsdb session: %w", err))
	}
}
