// SPDX-License-Identifier: Apache-2.0

package openflow

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrCommitUnknown: the session or the context ended after the commit was sent
// and before its answer. The caller must dump to know what the switch holds.
var ErrCommitUnknown = errors.New("openflow: outcome of the bundle commit unknown")

// BundleError tells why a bundle was not committed; the switch is unchanged
// (with BundleAtomic). Failed names the messages it refused, by index.
type BundleError struct {
	BatchError
	Step BundleType // open, close (messages were refused on the way in) or commit
	Err  *Error     // the answer to the step itself, if that was an error
}

func (e *BundleError) Error() string {
	if len(e.Failed) > 0 {
		return "bundle: " + e.BatchError.Error()
	}
	return fmt.Sprintf("bundle: %v", e.Err)
}

func (e *BundleError) Unwrap() error {
	if len(e.Failed) > 0 {
		return e.Failed[0].Err
	}
	if e.Err == nil {
		return nil
	}
	return e.Err
}

// bundleRun is one bundle in progress: xid first opens, the messages follow,
// then close, commit and discard.
type bundleRun struct {
	collector
	first uint32
	n     uint32
	lock  sync.Mutex // guards step
	step  map[uint32]*bundleStep
}

type bundleStep struct {
	done chan struct{}
	err  *Error
}

func (b *bundleRun) got(h Header, m Message) {
	i := h.XID - b.first
	e, isErr := m.(*Error)
	if isErr && i >= 1 && i <= b.n {
		b.add(int(i-1), e)
		return
	}
	b.lock.Lock()
	defer b.lock.Unlock()
	s := b.step[i]
	if s == nil {
		return
	}
	s.err = e
	delete(b.step, i)
	close(s.done)
}

func (b *bundleRun) expect(i uint32) *bundleStep {
	s := &bundleStep{done: make(chan struct{})}
	b.lock.Lock()
	defer b.lock.Unlock()
	b.step[i] = s
	return s
}

// SendBundle sends messages (flow mods, group mods, packet-outs) as one bundle
// and commits it. The messages are checked by the switch before the commit is
// sent: if one is refused on the way in, or on commit, nothing took effect and
// a *BundleError names it. Flags are normally BundleAtomic|BundleOrdered.
//
// A bundle that deletes a group must first delete or change the flows that use
// it: Open vSwitch 3.1 aborts when it rolls back a bundle in which the deletion
// of a group took its flows along.
func (c *Conn) SendBundle(ctx context.Context, flags uint16, ms ...Message) error {
	n := uint32(len(ms))
	b := &bundleRun{n: n, step: map[uint32]*bundleStep{}}
	closeIdx, commitIdx, discardIdx := n+1, n+2, n+3
	open, closed, committed := b.expect(0), b.expect(closeIdx), b.expect(commitIdx)
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return c.Err()
	}
	b.first = c.reserve(int(n) + 4)
	c.bundle++
	id := c.bundle
	cl := &call{b.first, n + 4, b.got, time.Now()}
	c.calls = append(c.calls, cl)
	c.mu.Unlock()
	defer c.end(cl)

	control := func(ctx context.Context, i uint32, typ BundleType, flush bool) error {
		return c.put(ctx, flush, b.first+i, &BundleControl{id, typ, flags})
	}
	discard := func() {
		// The answer does not matter; the session may be gone. No waiting on a
		// full buffer either: an abandoned bundle times out in the switch.
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		control(ctx, discardIdx, BundleDiscardRequest, true)
	}
	if err := control(ctx, 0, BundleOpenRequest, false); err != nil {
		return c.cause(err)
	}
	for i, m := range ms {
		xid := b.first + 1 + uint32(i)
		err := c.out.put(ctx, c.stop, false, func(dst []byte) ([]byte, error) {
			start := len(dst)
			dst, mark := OpenBundleAdd(dst, xid, id, flags)
			dst = CloseMessage(m.AppendMessage(dst, xid), mark)
			if size := len(dst) - start; size > MaxMessage {
				return dst, fmt.Errorf("openflow: message of %d bytes in a bundle: %w, limit %d", size, ErrTooLarge, MaxMessage)
			}
			return dst, nil
		})
		if err != nil {
			discard()
			return fmt.Errorf("message %d of the bundle: %w", i, c.cause(err))
		}
	}
	if err := control(ctx, closeIdx, BundleCloseRequest, true); err != nil {
		discard()
		return c.cause(err)
	}
	if err := c.wait(ctx, closed.done); err != nil {
		discard()
		return err
	}
	// The switch answers in order, so the answer to open is here as well.
	if open.err != nil || closed.err != nil || b.result() != nil {
		discard()
		return b.failure(BundleCloseRequest, open.err, closed.err)
	}
	if err := control(ctx, commitIdx, BundleCommitRequest, true); err != nil {
		discard()
		return c.cause(err)
	}
	if err := c.wait(ctx, committed.done); err != nil {
		return fmt.Errorf("%w: %w", ErrCommitUnknown, err)
	}
	if committed.err != nil || b.result() != nil {
		return b.failure(BundleCommitRequest, committed.err)
	}
	return nil
}

func (b *bundleRun) failure(step BundleType, errs ...*Error) error {
	e := &BundleError{Step: step}
	if r := b.result(); r != nil {
		e.BatchError = *r
	}
	for _, x := range errs {
		if x != nil && e.Err == nil {
			e.Err = x
		}
	}
	return e
}
