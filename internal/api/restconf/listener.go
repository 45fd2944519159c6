// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"context"
	"slices"
	"sync"
	"time"

	"nagare/internal/store"
	"nagare/internal/yang"
)

// listener is one subscriber of the notifier. Messages wait in it, bounded by their bytes. If they become too many they are dropped, and
// its own goroutine catches up from where it is: it is told what has changed since, as it is now, once.
type listener struct {
	group *group
	limit int
	wake  chan struct{} // capacity 1

	mu      sync.Mutex
	queue   []parcel
	pending int      // bytes in the queue and in what is being written
	pos     position // up to which everything was written
	behind  bool     // it has to catch up from there
	lost    bool     // it cannot
	closed  string   // why nothing more is sent
}

// parcel is a message; last says that with it all up to its position was told.
type parcel struct {
	msg  []byte
	pos  position
	last bool
}

// offer queues a message; it is false if the listener fell behind by it.
func (l *listener) offer(msg []byte, pos position, last bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed != "" || l.behind || l.lost {
		return true // it comes to this when it catches up
	}
	if l.pending > 0 && l.pending+len(msg) > l.limit {
		if l.group.leaves { // what was left out of an entry cannot be told again leaf by leaf
			l.closed = slow
		}
		l.behind, l.queue = true, nil
		l.poke()
		return false
	}
	l.queue = append(l.queue, parcel{msg, pos, last})
	l.pending += len(msg)
	l.poke()
	return true
}

const slow = "it does not read: more waits for it than may"

// lag has the listener catch up, or say that it cannot.
func (l *listener) lag(lost bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.behind, l.lost, l.queue = true, l.lost || lost, nil
	l.poke()
}

func (l *listener) end(why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed == "" {
		l.closed, l.queue = why, nil
	}
	l.poke()
}

func (l *listener) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// take gives what waits. written is what of the last was sent.
func (l *listener) take(written []parcel) (queue []parcel, behind bool, closed string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range written {
		l.pending -= len(p.msg)
		if p.last {
			l.pos = p.pos
		}
	}
	if l.closed != "" || l.behind {
		l.pending = 0 // nothing waits, and nothing is being written
		return nil, l.behind, l.closed
	}
	queue, l.queue = l.queue, nil
	return queue, false, ""
}

// sink is where a listener's messages go.
type sink interface {
	message(msg []byte, pos string) error // pos is empty where more of the same step follows
	lost(pos string) error                // what was before cannot be told: the client has to read anew
	beat(pos string) error                // nothing has come for some time
}

// pump writes to a sink until ctx ends, writing fails, or the server or a deadline ends it, and says why. Check is asked now and then
// whether the subscriber may still be told; nil: always.
func (n *notifier) pump(ctx context.Context, l *listener, out sink, beat time.Duration, check func() error) string {
	ticks := time.NewTicker(beat)
	defer ticks.Stop()
	var written []parcel
	for {
		queue, behind, closed := l.take(written)
		written = written[:0]
		if closed != "" {
			return closed
		}
		if behind {
			if err := n.catchUp(ctx, l, out); err != nil {
				return err.Error()
			}
			continue
		}
		for _, p := range queue {
			pos := ""
			if p.last {
				pos = p.pos.String()
			}
			if err := out.message(p.msg, pos); err != nil {
				return err.Error()
			}
			written = append(written, p)
		}
		if len(queue) > 0 {
			continue
		}
		select {
		case <-l.wake:
		case <-ctx.Done():
			return "the client closed, or the end that it asked for has come"
		case <-ticks.C:
			if check != nil {
				if err := check(); err != nil {
					return err.Error()
				}
			}
			// First the position, then the look at what waits: what is not there any more was written.
			pos := n.reached()
			if !l.idle(pos) {
				continue
			}
			if err := out.beat(pos.String()); err != nil {
				return err.Error()
			}
		}
	}
}

// idle notes that everything up to a position was written, if nothing waits.
func (l *listener) idle(pos position) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) > 0 || l.behind || l.closed != "" {
		return false
	}
	l.pos = pos
	return true
}

// maxCatchUp bounds how many commits the log is read for, for one who comes back.
const maxCatchUp = 50000

// catchUp tells a listener what has changed since its position, each place once, as it is now.
func (n *notifier) catchUp(ctx context.Context, l *listener, out sink) error {
	n.mu.Lock()
	l.mu.Lock()
	from, lost := l.pos, l.lost
	l.behind, l.lost, l.queue = false, false, nil // what comes from now on is queued again
	l.mu.Unlock()
	to, snap := n.pos, n.at
	v := n.view(snap, n.online, l.group.store)
	var places []place
	covered := from.run == to.run && from.step >= n.since && from.step <= to.step
	if covered {
		i, _ := slices.BinarySearchFunc(n.marks, from.step+1, func(m mark, step uint64) int {
			if m.step < step {
				return -1
			}
			return 1
		})
		for _, m := range n.marks[i:] {
			places = append(places, m.place)
		}
	}
	n.mu.Unlock()
	if !covered && !lost {
		var err error
		if places, lost, err = n.fromLog(ctx, l.group, snap, from.rev); err != nil {
			return err
		}
	}
	if lost {
		if err := out.lost(to.String()); err != nil {
			return err
		}
	} else {
		msgs := framed(n.again(l.group, v, places), l.group.shape, n.cfg.Now(), to.String())
		for i, m := range msgs {
			pos := ""
			if i == len(msgs)-1 {
				pos = to.String()
			}
			if err := out.message(m, pos); err != nil {
				return err
			}
		}
	}
	l.mu.Lock()
	l.pos = to
	l.mu.Unlock()
	return nil
}

// again makes the events of places for one who may have missed what became of them. An entry below which others are told is told as gone
// first, so that no part of it stays that went meanwhile.
func (n *notifier) again(g *group, v *view, places []place) (out []notice) {
	seen := map[place]bool{}
	slices.Reverse(places) // each where it was touched last
	places = slices.DeleteFunc(places, func(p place) bool { was := seen[p]; seen[p] = true; return was })
	slices.Reverse(places)
	for _, p := range places {
		out = n.retell(g, v, p, out)
	}
	return out
}

func (n *notifier) retell(g *group, v *view, p place, out []notice) []notice {
	if !n.tree.sources[p.node].fits(g.store) {
		return out
	}
	for _, path := range g.paths {
		h, below, ok := relation(n.tree, path, p)
		if !ok {
			continue
		}
		h.group = g
		chain := n.tree.chain(p)
		now := n.tree.make(v, p)
		if !below {
			to := append(slices.Clip(chain), h.inside...)
			x := descend(now, h.inside)
			switch {
			case g.scope != subtree && h.above > int(g.scope):
				continue
			case x == nil:
				out = append(out, notice{path: to, store: g.store, op: deleted})
				continue
			case n.tree.holds[p.node] && h.inside == nil:
				out = append(out, notice{path: to, store: g.store, op: deleted}, notice{path: to, store: g.store, op: created, data: x})
			default:
				out = append(out, notice{path: to, store: g.store, op: updated, data: x})
				continue
			}
		} else {
			out = append(out, notice{path: path, store: g.store, op: deleted})
		}
		if now == nil {
			continue
		}
		for _, q := range n.tree.below(v, p) {
			out = n.retell(&group{paths: [][]hop{path}, store: g.store, scope: g.scope}, v, q, out)
		}
	}
	return out
}

// fromLog reads which places were touched after a revision. lost says that it cannot be known: the log does not go back so far, or what is
// subscribed is not all in it.
func (n *notifier) fromLog(ctx context.Context, g *group, snap *store.Snapshot, after store.Revision) (places []place, lost bool, err error) {
	if after > snap.Revision() || n.volatile(g) {
		return nil, true, nil
	}
	for read := 0; after < snap.Revision(); read += 32 {
		rs, err := n.cfg.Store.LogTail(ctx, after+1, 32)
		if err != nil {
			return nil, false, err
		}
		if len(rs) == 0 || rs[0].Revision != after+1 || read > maxCatchUp {
			return nil, true, nil
		}
		for _, r := range rs {
			if r.Revision > snap.Revision() {
				break
			}
			for _, k := range r.Keys {
				fs := n.tree.feeds[k.Table]
				if fs == nil {
					continue
				}
				for _, raw := range [][]byte{k.Before, k.After} {
					if raw == nil {
						continue
					}
					v, ok := fs.decode(raw)
					if !ok {
						return nil, true, nil
					}
					for _, f := range fs.list {
						for _, keys := range f.keys(snap, v) {
							places = append(places, at(f.node, keys))
						}
					}
				}
			}
			after = r.Revision
		}
		if after >= snap.Revision() {
			break
		}
	}
	return places, false, nil
}

// volatile reports whether a part of what is subscribed comes from what the log does not have.
func (n *notifier) volatile(g *group) bool {
	for _, fs := range n.tree.feeds {
		if !fs.volatile {
			continue
		}
		for _, f := range fs.list {
			if !n.tree.sources[f.node].fits(g.store) {
				continue
			}
			for _, path := range g.paths {
				if meets(path, f.node) {
					return true
				}
			}
		}
	}
	return false
}

// meets reports whether a node of the schema is at, above or below a path.
func meets(path []hop, n *yang.Node) bool {
	last := path[len(path)-1].node
	for x := n; x != nil; x = x.Parent {
		if x == last {
			return true
		}
	}
	for x := last; x != nil; x = x.Parent {
		if x == n {
			return true
		}
	}
	return false
}
