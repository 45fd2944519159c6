// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
)

// Result is what a commit led to.
type Result struct {
	Revision Revision // of the commit, or of the state if it changed nothing durable
	Seq      uint64
	Snapshot *Snapshot // the state right after the commit
	Repeated bool      // an earlier commit had the idempotency key; Revision is that one's, Snapshot a state after it
}

func resultOf(s *Snapshot) Result { return Result{Revision: s.rev, Seq: s.seq, Snapshot: s} }

// Commit runs f against the newest state and, unless it returns an error, makes its writes durable and then visible. An error
// of f is returned as it is and leaves everything unchanged. Commits happen one after another, in the order in which their
// functions run.
//
// f runs on the caller's goroutine, may run on a state whose durability is not yet known, and sees it settled either way
// before Commit returns: should that state be lost, Commit returns ErrUnavailable whatever f said. f must not call Commit.
//
// Other errors: ErrUnavailable if the outcome is unknown, *TooLargeError, or ctx's if it ended before f ran.
func (st *Store) Commit(ctx context.Context, o Origin, f func(*Txn) error) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	if n := st.waiting.Add(1); int(n) > st.o.MaxQueue {
		st.waiting.Add(-1)
		return Result{}, fmt.Errorf("%w: %d commits are waiting", ErrUnavailable, n-1)
	}
	defer st.waiting.Add(-1)
	select {
	case st.writer <- struct{}{}:
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
	res, on, flush, err := st.transact(o, f)
	if flush {
		if st.inline {
			st.flush(on)
		} else {
			go st.flush(nil)
		}
	}
	if on == nil {
		return res, err
	}
	select {
	case <-on.done:
	case <-ctx.Done():
		return Result{}, fmt.Errorf("%w: outcome unknown: %w", ErrUnavailable, ctx.Err())
	}
	if on.err != nil {
		return Result{}, on.err
	}
	return res, err
}

// transact runs f and hands its writes over. on is the batch that must land before the answer counts, nil if it counts now;
// flush says that the caller must see to the flushing. The writer's place is given back.
func (st *Store) transact(o Origin, f func(*Txn) error) (res Result, on *batch, flush bool, err error) {
	defer func() { <-st.writer }()
	st.mu.Lock()
	base, before, drops, down := st.spec, st.specHead, st.drops, st.down
	repeated, isRepeat := st.recent.get(o)
	st.mu.Unlock()
	if down != nil {
		return Result{}, nil, false, down
	}
	if isRepeat {
		res = resultOf(base)
		res.Revision, res.Repeated = repeated, true
		on, err = st.settled(drops)
		return res, on, false, err
	}
	tx := newTxn(base)
	if ferr := f(tx); ferr != nil {
		if on, err = st.settled(drops); err == nil {
			err = ferr
		}
		return resultOf(base), on, false, err
	}
	at := &CommitInfo{Revision: base.rev + 1, Time: st.o.Now().UTC().Round(0), Origin: o}
	at.Idempotency = ""
	it := &item{origin: o, before: before, after: before}
	var durable []durableWrite
	it.snap, it.changes, durable = tx.finish(at, base.seq+1)
	if it.changes.Empty() {
		on, err = st.settled(drops)
		return resultOf(base), on, false, err
	}
	if len(durable) > 0 {
		if err := it.encode(at, durable); err != nil {
			return resultOf(base), nil, false, err
		}
		if l := st.limits; !it.fits(l) {
			st.stats.refused()
			return resultOf(base), nil, false, &TooLargeError{Ops: it.ops(), MaxOps: l.Ops, Bytes: it.bytes, MaxBytes: l.Bytes}
		}
	}
	res = resultOf(it.snap)
	on, flush, err = st.enqueue(it, drops)
	return res, on, flush, err
}

// settled says what an answer that only read the speculative state must wait for.
func (st *Store) settled(drops uint64) (*batch, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case st.drops != drops:
		return nil, ErrUnavailable
	case st.next != nil:
		return st.next, nil
	default:
		return st.flying, nil
	}
}

// enqueue puts an item behind all others, waiting for room. A volatile item with nobody before it is published at once.
func (st *Store) enqueue(it *item, drops uint64) (on *batch, flush bool, err error) {
	st.mu.Lock()
	for st.drops == drops && st.next != nil && !st.next.takes(it, st.limits) {
		st.moved.Wait()
	}
	if st.drops != drops {
		st.mu.Unlock()
		return nil, false, ErrUnavailable
	}
	st.spec, st.specHead = it.snap, it.after
	if !it.durable() && !st.flushing {
		st.mu.Unlock()
		st.stats.volatile()
		st.publish(it.snap, it.changes) // in order: we are the writer, and nothing is under way
		return nil, false, nil
	}
	if st.next == nil {
		st.next = newBatch(it.before)
	}
	st.next.add(it)
	if it.durable() {
		st.recent.put(it.origin, it.snap.rev)
	}
	on, flush = st.next, !st.flushing
	st.flushing = true
	st.mu.Unlock()
	return on, flush, nil
}
