// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/internal/yang"
)

// position is where a subscriber is: the store's revision, and the number of the step in this process, which also counts what is not in
// the log, such as interfaces of switches and sessions. Its text goes into events, and back as Last-Event-ID.
type position struct {
	rev  store.Revision
	run  uint32 // of which process the step is; 0: the revision alone is known
	step uint64
}

func (p position) String() string {
	return fmt.Sprintf("%d.%08x.%d", p.rev, p.run, p.step)
}

// parsePosition reads a position, or a revision alone.
func parsePosition(text string) (p position, ok bool) {
	rev, rest, more := strings.Cut(text, ".")
	n, err := strconv.ParseUint(rev, 10, 64)
	if err != nil {
		return p, false
	}
	p.rev = store.Revision(n)
	if !more {
		return p, true
	}
	run, step, _ := strings.Cut(rest, ".")
	r, err := strconv.ParseUint(run, 16, 32)
	if err != nil {
		return p, false
	}
	p.run = uint32(r)
	p.step, err = strconv.ParseUint(step, 10, 64)
	return p, err == nil
}

// group is what is subscribed, by all who did so alike. They share the bytes of each message.
type group struct {
	id      string
	paths   [][]hop
	store   content
	scope   scope
	leaves  bool // each leaf is an event of its own
	shape   shape
	members map[*listener]struct{}
}

// mark is a place that was touched in a step.
type mark struct {
	place
	step uint64
}

// maxMarks bounds what is remembered of the latest steps, for those who come back. Who was away longer goes by the store's log.
const maxMarks = 1 << 15

// notifier tells subscribers of what changes in any data that has a source and feeds. Nothing is kept of the data: what an entry was and is
// comes from two states of the store.
type notifier struct {
	tree *tree
	cfg  *Config

	mu      sync.Mutex
	open    bool
	at      *store.Snapshot
	online  map[model.NodeID]bool // who has a session; nil if nobody can say
	pos     position
	marks   []mark
	since   uint64 // marks are of all steps after this one
	index   *index
	groups  map[string]*group
	members int
	frames  uint64 // messages handed to subscribers
	lagged  uint64 // how often one of them was too slow and had to catch up
	made    uint64 // entries that were made from the store to be told of
}

func newNotifier(t *tree, cfg *Config) *notifier {
	return &notifier{tree: t, cfg: cfg, index: newIndex(t), groups: map[string]*group{}, pos: position{run: 1 + rand.Uint32N(1<<32-2)}}
}

// begin starts at a state.
func (n *notifier) begin(snap *store.Snapshot) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open, n.at = true, snap
	n.pos.rev = snap.Revision()
	n.forget()
	if n.cfg.Online != nil {
		n.online = map[model.NodeID]bool{}
		for id := range tables.Nodes.All(snap) {
			n.online[id] = n.cfg.Online(id)
		}
	}
}

// forget makes everybody who comes from before this step read anew or go by the log.
func (n *notifier) forget() {
	n.pos.step++
	n.marks, n.since = nil, n.pos.step
}

// end closes the notifier and ends every subscription.
func (n *notifier) end(why string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open = false
	for _, g := range n.groups {
		for l := range g.members {
			l.end(why)
		}
	}
}

// lose tells everybody that more has changed than can be told.
func (n *notifier) lose(now *store.Snapshot) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.at, n.pos.rev = now, now.Revision()
	n.forget()
	for _, g := range n.groups {
		for l := range g.members {
			l.lag(true)
		}
	}
}

// step tells of what was written between two states.
func (n *notifier) step(now *store.Snapshot, ch *store.Changes) {
	n.mu.Lock()
	defer n.mu.Unlock()
	before := n.at
	n.at, n.pos.rev = now, now.Revision()
	n.pos.step++
	was := n.online
	n.online = n.look(ch)
	if places := n.tree.touched(before, now, ch); len(places) > 0 {
		n.tell(before, was, places)
	}
}

// look gives who has a session, after some of the nodes' records were written.
func (n *notifier) look(ch *store.Changes) map[model.NodeID]bool {
	out, own := n.online, false
	for i := range ch.Records {
		id := model.NodeID(ch.Records[i].Key)
		if n.online == nil || ch.Records[i].Table != tables.Nodes.Name() {
			continue
		}
		is := n.cfg.Online(id)
		if out[id] == is {
			continue
		}
		if !own {
			out, own = maps.Clone(out), true
		}
		out[id] = is
	}
	return out
}

// sessions tells of sessions that came or went, of which the store says nothing. It looks at each node, now and then.
func (n *notifier) sessions() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.online == nil || !n.open {
		return
	}
	was := maps.Clone(n.online)
	var places []place
	fs := n.tree.feeds[tables.Nodes.Name()]
	for id, node := range tables.Nodes.All(n.at) {
		is := n.cfg.Online(id)
		if n.online[id] == is {
			continue
		}
		n.online[id] = is
		for _, f := range fs.list {
			for _, k := range f.keys(n.at, node) {
				places = append(places, at(f.node, k))
			}
		}
	}
	if len(places) > 0 {
		n.pos.step++
		n.tell(n.at, was, places)
	}
}

// view is a state as a reader of a store would see it.
func (n *notifier) view(r store.Reader, online map[model.NodeID]bool, want content) *view {
	cfg := *n.cfg
	if online != nil {
		cfg.Online = func(id model.NodeID) bool { return online[id] }
	}
	return &view{Config: &cfg, r: r, want: want}
}

// states are views of before and after, made when somebody wants them.
type states struct {
	n      *notifier
	before store.Reader
	was    map[model.NodeID]bool
	views  [3][2]*view
}

func (s *states) of(want content) (before, after *view) {
	v := &s.views[want]
	if v[0] == nil {
		v[0], v[1] = s.n.view(s.before, s.was, want), s.n.view(s.n.at, s.n.online, want)
	}
	return v[0], v[1]
}

// make gives the entry of a place as a view has it.
func (t *tree) make(v *view, p place) *yang.Data {
	src := t.sources[p.node]
	if !src.fits(v.want) {
		return nil
	}
	d := src.one(v, p.split())
	if d != nil {
		d = choice{want: v.want}.reduce(d)
	}
	return d
}

// below are the places in lists with sources below an entry, as a view has them.
func (t *tree) below(v *view, p place) (out []place) {
	var walk func(n *yang.Node, keys []string)
	walk = func(n *yang.Node, keys []string) {
		for _, x := range n.Children {
			src := t.sources[x]
			switch {
			case src == nil && t.holds[x] && x.Kind == yang.Container:
				walk(x, keys)
			case src == nil || !t.told[x] || !src.fits(v.want):
			case x.Kind == yang.Container:
				out = append(out, at(x, keys))
			default:
				for d := range src.all(v, keys) {
					own, _ := d.Key()
					to := append(slices.Clip(keys), own...)
					out = append(out, at(x, to))
					if t.holds[x] {
						walk(x, to)
					}
				}
			}
		}
	}
	if t.holds[p.node] {
		walk(p.node, p.split())
	}
	return out
}

// tell makes the events of places that were touched and hands them to those whom they concern. n.mu is held.
func (n *notifier) tell(before store.Reader, was map[model.NodeID]bool, places []place) {
	// What is above comes first.
	slices.SortStableFunc(places, func(a, b place) int { return strings.Count(a.keys, keySep) - strings.Count(b.keys, keySep) })
	n.remember(places)
	if n.members == 0 {
		return
	}
	s := &states{n: n, before: before, was: was}
	told := map[*group][]notice{}
	var order []*group
	done := map[place]bool{}
	var tell func(p place)
	tell = func(p place) {
		if done[p] {
			return
		}
		done[p] = true
		hits, below := n.index.find(p)
		if len(hits) == 0 && !below {
			return
		}
		var deltas [3]*delta
		get := func(want content) *delta {
			if deltas[want] == nil {
				v, w := s.of(want)
				deltas[want] = &delta{chain: n.tree.chain(p), store: want, before: n.tree.make(v, p), after: n.tree.make(w, p)}
				n.made++
			}
			return deltas[want]
		}
		var less, more []place // what goes or comes with the entry
		if n.tree.holds[p.node] {
			if d := get(all); d.before != nil && d.after == nil {
				v, _ := s.of(all)
				less = n.tree.below(v, p)
			} else if d.before == nil && d.after != nil {
				_, v := s.of(all)
				more = n.tree.below(v, p)
			}
		}
		for _, q := range less {
			tell(q)
		}
		for _, h := range hits {
			for _, x := range get(h.store).notices(h) {
				if told[h.group] == nil {
					order = append(order, h.group)
				}
				told[h.group] = append(told[h.group], x)
			}
		}
		for _, q := range more {
			tell(q)
		}
	}
	for _, p := range places {
		tell(p)
	}
	now := n.cfg.Now()
	for _, g := range order {
		msgs := framed(told[g], g.shape, now, n.pos.String())
		for l := range g.members {
			for i, m := range msgs {
				n.frames++
				if !l.offer(m, n.pos, i == len(msgs)-1) {
					n.lagged++
					break
				}
			}
		}
	}
}

// remember notes places for those who come back.
func (n *notifier) remember(places []place) {
	for _, p := range places {
		n.marks = append(n.marks, mark{p, n.pos.step})
	}
	if over := len(n.marks) - maxMarks; over > 0 {
		n.since = n.marks[over-1].step
		for over < len(n.marks) && n.marks[over].step == n.since {
			over++
		}
		n.marks = slices.Clone(n.marks[over:])
	}
}

// join adds a subscriber to what is subscribed. It begins at a position, or, if that is nil, now.
func (n *notifier) join(want *group, from *position, others int) (*listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case !n.open:
		return nil, errNotReady
	case n.members+others >= n.cfg.MaxSubscribers:
		return nil, errBusy
	}
	g := n.groups[want.id]
	if g == nil {
		g = want
		g.members = map[*listener]struct{}{}
		n.groups[g.id] = g
		n.index.add(g)
	}
	l := &listener{group: g, limit: n.cfg.MaxPending, wake: make(chan struct{}, 1), pos: n.pos}
	if from != nil {
		l.pos, l.behind = *from, true
	}
	g.members[l] = struct{}{}
	n.members++
	return l, nil
}

// leave removes a subscriber.
func (n *notifier) leave(l *listener) {
	n.mu.Lock()
	defer n.mu.Unlock()
	g := l.group
	delete(g.members, l)
	n.members--
	if len(g.members) == 0 {
		n.index.remove(g)
		delete(n.groups, g.id)
	}
}

// reached is the newest position of which everybody was told.
func (n *notifier) reached() position {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.pos
}

// size is how many subscribe.
func (n *notifier) size() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.members
}
