// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Drive runs a Neutron's workers and maintenance one step after another, in an order that Rnd draws.
type Drive struct {
	N       *Neutron
	Workers []*Worker
	Rnd     *rand.Rand
}

// NewDrive makes a drive with several workers.
func NewDrive(n *Neutron, workers int, rnd *rand.Rand) *Drive {
	d := &Drive{N: n, Rnd: rnd}
	for range workers {
		d.Workers = append(d.Workers, n.Worker())
	}
	return d
}

// Step lets one worker claim a row or send the one that it has. Between the two others may do anything.
func (d *Drive) Step(ctx context.Context) {
	w := d.Workers[d.Rnd.IntN(len(d.Workers))]
	if w.Busy() {
		_ = w.Send(ctx) // the row waits: nothing else comes of it
		return
	}
	w.Claim()
}

// Die ends all workers in the middle of what they do.
func (d *Drive) Die() {
	for _, w := range d.Workers {
		w.Die()
	}
}

// Drain lets the workers work, and time pass, until no row is pending or the journal makes no more progress.
func (d *Drive) Drain(ctx context.Context) {
	for idle := 0; d.N.Rows(Pending) > 0 && idle < 20; {
		before := d.N.Sent
		for _, w := range d.Workers {
			if w.Busy() || w.Claim() {
				_ = w.Send(ctx)
			}
		}
		if idle++; d.N.Sent > before {
			idle = 0
			continue
		}
		d.Pass(ctx, longestPause)
	}
	d.Pass(ctx, 0)
}

// Pass lets time pass. No request takes as long as the maintenance waits before it thinks a worker dead: whoever holds a row
// sends it first.
func (d *Drive) Pass(ctx context.Context, t time.Duration) {
	for _, w := range d.Workers {
		if w.Busy() {
			_ = w.Send(ctx)
		}
	}
	d.N.Now = d.N.Now.Add(t)
}

// Settle lets everything come to rest: workers work, maintenance runs, until the journal is empty and maintenance finds nothing
// to do. The error tells what is left if that takes more rounds than healing can need.
func (d *Drive) Settle(ctx context.Context) error {
	var last error
	for range 12 {
		d.Drain(ctx)
		d.Pass(ctx, MaintenanceEvery)
		if last = d.N.Maintain(ctx); last == nil && d.N.Rows(Pending)+d.N.Rows(Processing)+d.N.Rows(Failed) == 0 {
			return nil
		}
	}
	left := fmt.Errorf("not at rest: %d rows pending, %d processing, %d failed", d.N.Rows(Pending), d.N.Rows(Processing), d.N.Rows(Failed))
	for _, s := range []State{Failed, Pending} {
		for i, r := range d.N.Open(s) {
			if i < 5 {
				left = fmt.Errorf("%w; %s: %s %s %s", left, s, r.Op, r.Kind, r.ID)
			}
		}
	}
	return errors.Join(left, last)
}

// Work drains the journal with several goroutines, each a worker with connections of its own, until no row is pending or being
// sent. After a connection that failed a worker calls pause, in place of the sleep, and goes on; an error of pause ends it all.
func (n *Neutron) Work(ctx context.Context, workers int, pause func(context.Context, time.Duration) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	moved := sync.NewCond(&n.mu)
	stop := context.AfterFunc(ctx, func() { n.mu.Lock(); moved.Broadcast(); n.mu.Unlock() })
	defer stop()
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			w := n.Worker()
			for w.await(ctx, moved) {
				err := w.Send(ctx)
				n.mu.Lock()
				moved.Broadcast()
				n.mu.Unlock()
				if err == nil {
					continue
				}
				w.wake = time.Time{}
				if err := pause(ctx, w.pause); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// await waits until there is a row for the worker; false: there will be none.
func (w *Worker) await(ctx context.Context, moved *sync.Cond) bool {
	n := w.n
	n.mu.Lock()
	defer n.mu.Unlock()
	for ctx.Err() == nil {
		if w.row = n.journal.claim(n.Now); w.row != nil {
			return true
		}
		if n.journal.queue.Len()+len(n.journal.processing) == 0 {
			return false
		}
		moved.Wait()
	}
	return false
}
