// SPDX-License-Identifier: Apache-2.0

package store

import "context"

// Watch follows the store for one reader. Steps coalesce: a slow reader gets one merged step, never a queue.
type Watch struct {
	st      *Store
	wake    chan struct{} // capacity 1
	snap    *Snapshot
	pending *Changes
}

// maxPending bounds what a watch remembers for a slow reader; beyond it a step says All.
const maxPending = 1 << 20

// Watch starts following. The first step holds the present state with Changes.All set.
func (st *Store) Watch() *Watch {
	w := &Watch{st: st, wake: make(chan struct{}, 1), pending: &Changes{All: true, Deps: map[Dep]struct{}{}}}
	st.watch.Lock()
	w.snap = st.head.Load()
	st.subs[w] = struct{}{}
	st.watch.Unlock()
	w.wake <- struct{}{}
	return w
}

// Close ends the watch. A reader blocked in Next stays blocked until its context ends.
func (w *Watch) Close() {
	w.st.watch.Lock()
	delete(w.st.subs, w)
	w.st.watch.Unlock()
}

// Next waits for a state newer than the last one returned and gives it with all that was touched in between.
func (w *Watch) Next(ctx context.Context) (*Snapshot, *Changes, error) {
	for {
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-w.wake:
		}
		w.st.watch.Lock()
		snap, ch := w.snap, w.pending
		w.pending = nil
		w.st.watch.Unlock()
		if ch != nil {
			return snap, ch, nil
		}
	}
}

// C is readable when Next would not block, for use in a select.
func (w *Watch) C() <-chan struct{} { return w.wake }

// Take returns what Next would, without waiting; ok is false when there is nothing new. Use it after reading from C.
func (w *Watch) Take() (snap *Snapshot, ch *Changes, ok bool) {
	w.st.watch.Lock()
	defer w.st.watch.Unlock()
	snap, ch = w.snap, w.pending
	w.pending = nil
	return snap, ch, ch != nil
}

// publish makes a state the committed head and tells the watches. Its callers come one after another, in order of states.
func (st *Store) publish(snap *Snapshot, ch *Changes) {
	st.watch.Lock()
	defer st.watch.Unlock()
	st.head.Store(snap)
	for w := range st.subs {
		w.snap = snap
		switch {
		case w.pending == nil:
			w.pending = &Changes{Deps: make(map[Dep]struct{}, len(ch.Deps))}
			fallthrough
		case !w.pending.All && len(w.pending.Deps) < maxPending:
			w.pending.merge(ch)
		default:
			w.pending = &Changes{All: true, Deps: map[Dep]struct{}{}}
		}
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}
