// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// Points at which a crash must do no harm.
const (
	pointBeforeAppend  = "before append"
	pointAfterAppend   = "after append"
	pointAfterPublish  = "after publish"
	pointAfterFence    = "after fence"
	pointBeforeTrim    = "before trim"
	firstRetry         = 50 * time.Millisecond
	lastRetry          = 2 * time.Second
	maintainEvery      = time.Minute
	maintainBytesShare = 8 // of Options.LogBytes
)

// flush appends and publishes one batch after another until none is left. While a batch is on its way the next one gathers.
// With until set it stops once that one is done, leaving the rest to a goroutine.
func (st *Store) flush(until *batch) {
	for {
		st.gather()
		st.mu.Lock()
		b := st.next
		if b == nil {
			st.flushing = false
			st.moved.Broadcast()
			st.mu.Unlock()
			return
		}
		st.next, st.flying = nil, b
		st.moved.Broadcast()
		st.mu.Unlock()
		if err := st.append(b); err != nil {
			if !st.recover(b, err) {
				return
			}
		} else {
			st.land(b)
			st.mu.Lock()
			st.flying = nil
			st.mu.Unlock()
			close(b.done)
		}
		st.maintain()
		if b == until {
			st.mu.Lock()
			more := st.next != nil
			if !more {
				st.flushing = false
				st.moved.Broadcast()
			}
			st.mu.Unlock()
			if more {
				go st.flush(nil)
			}
			return
		}
	}
}

// gather lets callers that stand in the queue join the next batch. Right after a batch has landed many stand there; a write
// to the log costs much more than the moment that they need.
func (st *Store) gather() {
	for range 8 {
		st.mu.Lock()
		in := 0
		if st.next != nil {
			in = len(st.next.items)
		}
		st.mu.Unlock()
		if in == 0 || int(st.waiting.Load()) <= in {
			return
		}
		runtime.Gosched()
	}
}

func (st *Store) append(b *batch) error {
	if !b.durable() {
		return nil
	}
	st.o.point(pointBeforeAppend)
	ctx, cancel := context.WithTimeout(context.Background(), st.o.Timeout)
	defer cancel()
	start := time.Now()
	err := st.log.Append(ctx, &b.Batch)
	st.stats.append(b, time.Since(start), err)
	st.o.point(pointAfterAppend)
	return err
}

// land makes a durable batch visible, transaction by transaction.
func (st *Store) land(b *batch) {
	for _, it := range b.items {
		st.publish(it.snap, it.changes)
		if !it.durable() {
			st.stats.volatile()
		}
	}
	st.o.point(pointAfterPublish)
}

// recover settles a batch whose fate is unknown: it answers everybody who waits on states not known to be durable, takes the
// log over again, so that nothing sent earlier can still land, and goes on from the head it finds there. Until that succeeds
// commits are refused. It reports whether the flusher should go on.
func (st *Store) recover(b *batch, cause error) bool {
	st.o.Logger.Warn("commit log did not confirm a batch; its commits are answered as unavailable", "revision", b.Head.Revision, "error", cause)
	st.drop(b, cause)
	st.writer <- struct{}{} // the transaction now running, if any, will find itself dropped
	held := true
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		err := st.resume(b, &held)
		if err == nil {
			return true
		}
		fenced := errors.Is(err, ErrFenced)
		st.mu.Lock()
		if !st.closed {
			st.down = fmt.Errorf("%w: commit log: %w", ErrUnavailable, err)
			if fenced {
				st.down = ErrFenced
			}
		}
		st.mu.Unlock()
		if held {
			<-st.writer
			held = false
		}
		retry := time.NewTimer(wait)
		select {
		case <-st.stop:
			fenced = true
		case <-retry.C:
		}
		retry.Stop()
		if fenced {
			st.mu.Lock()
			st.flying, st.flushing = nil, false
			st.moved.Broadcast()
			st.mu.Unlock()
			return false
		}
	}
}

// drop answers the waiters of all states under way with ErrUnavailable.
func (st *Store) drop(b *batch, cause error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.drops++
	for _, d := range []*batch{b, st.next} {
		if d == nil {
			continue
		}
		for _, it := range d.items {
			st.recent.forget(it.origin, it.snap.rev)
		}
		d.err = ErrUnavailable
		if d == b && errors.Is(cause, ErrFenced) {
			d.err = ErrFenced
		}
		close(d.done)
	}
	st.next = nil
	st.moved.Broadcast()
}

// resume takes the log over and goes on from its head. held says whether this goroutine has the writer's place.
func (st *Store) resume(b *batch, held *bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), st.o.Timeout)
	defer cancel()
	h, term, err := st.log.Fence(ctx)
	if err != nil {
		return err
	}
	st.o.point(pointAfterFence)
	var reread *Snapshot
	if h != b.Head && h != b.Prev {
		st.o.Logger.Warn("commit log was changed by somebody else; reading all of it again", "head", h.Revision, "expected", b.Prev.Revision)
		if reread, err = st.load(context.Background(), h, st.head.Load()); err != nil {
			return err
		}
	}
	if !*held {
		st.writer <- struct{}{}
	}
	landed := h == b.Head
	switch {
	case reread != nil:
		st.publish(reread, &Changes{All: true, Deps: map[Dep]struct{}{}})
	case landed:
		st.land(b)
	}
	st.term.Store(term)
	st.stats.recovered()
	if landed {
		st.stats.landed(len(b.Entries))
	}
	st.mu.Lock()
	st.spec, st.specHead, st.flying = st.head.Load(), h, nil
	if landed {
		for _, it := range b.items {
			if it.durable() {
				st.recent.put(it.origin, it.snap.rev)
			}
		}
	}
	if !st.closed {
		st.down = nil
	}
	st.mu.Unlock()
	<-st.writer
	*held = false
	st.o.Logger.Info("commit log answers again", "revision", h.Revision, "landed", landed, "term", term)
	return nil
}

// maintain trims the log now and then.
func (st *Store) maintain() {
	st.mu.Lock()
	offset := st.specHead.Offset
	st.mu.Unlock()
	now := st.o.Now()
	if offset-st.trimmed.offset < uint64(st.o.LogBytes)/maintainBytesShare && now.Sub(st.trimmed.at) < maintainEvery {
		return
	}
	st.trimmed.offset, st.trimmed.at = offset, now
	st.o.point(pointBeforeTrim)
	ctx, cancel := context.WithTimeout(context.Background(), st.o.Timeout)
	defer cancel()
	if err := st.trim(ctx, now); err != nil {
		st.o.Logger.Warn("commit log could not be trimmed", "error", err)
	}
}
