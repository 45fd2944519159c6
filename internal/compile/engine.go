// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"nagare/internal/flow"
	"nagare/internal/store"
)

// Engine holds the compiled state of a set of nodes. It belongs to one goroutine; only inside Update does it use several.
type Engine struct {
	book  *Rulebook
	check func(flow.Flow) error

	snap  *store.Snapshot
	nodes map[string]*node
	deps  *depIndex

	qmu     sync.RWMutex
	queries map[store.Dep]*unit

	stats     Stats
	queryRuns atomic.Uint64
}

// Stats counts work since the engine was made.
type Stats struct {
	Rounds   uint64
	UnitRuns uint64
	CutOffs  uint64 // reruns whose output was equal
	Queries  uint64 // evaluations of queries
}

// unit is a Unit's cached result. A query is kept as one with a nil node.
type unit struct {
	id      Unit
	node    *node
	flows   []flow.Flow
	reads   []*depNode
	rare    *rare
	refs    int32
	dirty   bool
	dropped bool
}

// rare holds what few units have.
type rare struct {
	shared []bool
	rows   []Row
	groups []flow.Group
	meters []flow.Meter
	needs  []Unit
	each   []subscription
	fault  string
	value  any // of a query
}

func (u *unit) object() string {
	id, _, _ := strings.Cut(u.id.Subject, "|")
	return id
}

func (u *unit) isShared(i int) bool { return u.rare != nil && u.rare.shared != nil && u.rare.shared[i] }

// node is one node's units and desired state.
type node struct {
	name   string
	units  map[Unit]*unit
	queue  []*unit
	zero   []*unit // lost their last reference this round
	flows  ledger[flow.Key, flow.Flow]
	rows   ledger[RowKey, Row]
	groups ledger[uint32, flow.Group]
	meters ledger[uint32, flow.Meter]
	faulty map[*unit]struct{}
	subs   map[store.Dep][]*unit // units with a subscription to a derived group
}

// New returns an engine for the rules. check, if not nil, is asked about every emitted flow; one that it refuses is dropped
// and its object is in fault.
func New(book *Rulebook, check func(flow.Flow) error) *Engine {
	return &Engine{book: book, check: check, nodes: map[string]*node{}, deps: newDepIndex(), queries: map[store.Dep]*unit{}}
}

// Stats returns the counters.
func (e *Engine) Stats() Stats {
	s := e.stats
	s.Queries = e.queryRuns.Load()
	return s
}

// Snapshot is the state that the desired state was compiled from; nil before the first Update.
func (e *Engine) Snapshot() *store.Snapshot { return e.snap }

// AddNode starts compiling a node with the next Update. It does nothing for a known one.
func (e *Engine) AddNode(name string) {
	if e.nodes[name] != nil {
		return
	}
	n := newNode(name)
	e.nodes[name] = n
	e.get(n, Unit{e.book.root, name})
}

func newNode(name string) *node {
	return &node{
		name: name, units: map[Unit]*unit{}, faulty: map[*unit]struct{}{}, subs: map[store.Dep][]*unit{},
		flows: newLedger[flow.Key, flow.Flow](), rows: newLedger[RowKey, Row](),
		groups: newLedger[uint32, flow.Group](), meters: newLedger[uint32, flow.Meter](),
	}
}

// RemoveNode forgets a node. Nothing is sent to it.
func (e *Engine) RemoveNode(name string) {
	n := e.nodes[name]
	if n == nil {
		return
	}
	for _, u := range n.units {
		for _, d := range u.reads {
			e.deps.remove(d, u)
		}
	}
	delete(e.nodes, name)
}

// Update compiles the snapshot and returns what changed for each node. ch must hold everything touched since the snapshot of
// the last Update; with ch.All everything is computed anew and compared.
func (e *Engine) Update(snap *store.Snapshot, ch *store.Changes) map[string]*Delta {
	e.stats.Rounds++
	var old map[string]*node
	if ch.All && e.snap != nil {
		old = e.nodes
		e.nodes, e.deps, e.queries = map[string]*node{}, newDepIndex(), map[store.Dep]*unit{}
		for name := range old {
			e.AddNode(name)
		}
	}
	e.snap = snap
	if old == nil {
		e.applyMembers(ch.Members)
		e.touch(ch.Deps)
	}
	busy := make([]*node, 0, len(e.nodes))
	for _, n := range e.nodes {
		if len(n.queue) > 0 || len(n.zero) > 0 {
			busy = append(busy, n)
		}
	}
	deltas := make([]*Delta, len(busy))
	e.parallel(len(busy), func(i int) Stats {
		st := e.runNode(busy[i])
		deltas[i] = busy[i].settle()
		return st
	})
	e.sweepQueries()
	out := map[string]*Delta{}
	for i, n := range busy {
		d := deltas[i]
		if old != nil {
			d = diffNodes(old[n.name], n)
		}
		if !d.Empty() {
			out[n.name] = d
		}
	}
	return out
}

func (e *Engine) parallel(n int, f func(i int) Stats) {
	workers := min(runtime.GOMAXPROCS(0), n)
	if workers <= 1 {
		for i := range n {
			e.stats.add(f(i))
		}
		return
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	next := 0
	for range workers {
		wg.Go(func() {
			var sum Stats
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= n {
					break
				}
				sum.add(f(i))
			}
			mu.Lock()
			e.stats.add(sum)
			mu.Unlock()
		})
	}
	wg.Wait()
}

func (s *Stats) add(o Stats) {
	s.UnitRuns += o.UnitRuns
	s.CutOffs += o.CutOffs
}

// applyMembers lets joins and leaves of derived groups add and remove the units that subscriptions ask for.
func (e *Engine) applyMembers(ms []store.MemberChange) {
	for _, m := range ms {
		var subscribers []*unit
		e.deps.readers(eachDep(m.Group), func(u *unit) { subscribers = append(subscribers, u) })
		for _, u := range subscribers {
			for _, s := range u.rare.each {
				if s.group != m.Group {
					continue
				}
				if m.Joined {
					e.get(u.node, Unit{s.rule, m.Name})
				} else {
					e.put(u.node, Unit{s.rule, m.Name})
				}
			}
		}
	}
}

// eachDep is the key under which subscriptions to a group are kept: a kind that no read uses.
func eachDep(group store.Dep) store.Dep {
	return store.Dep{Kind: eachKind | group.Kind, Key: group.Key}
}

const eachKind = 0x4000

// touch queues the units that read one of the deps; queries are evaluated first, and the units that asked them run only if
// their value changed.
func (e *Engine) touch(deps map[store.Dep]struct{}) {
	var queries []*unit
	mark := func(u *unit) {
		if u.dirty || u.dropped {
			return
		}
		u.dirty = true
		if u.node != nil {
			u.node.queue = append(u.node.queue, u)
		} else {
			queries = append(queries, u)
		}
	}
	for d := range deps {
		e.deps.readers(d, mark)
	}
	for _, u := range queries {
		was := u.rare.value
		e.evaluate(u)
		if u.rare.value != was {
			e.deps.readers(queryDep(u.id), mark)
		}
	}
}

func queryDep(id Unit) store.Dep {
	return store.Dep{Kind: queryKind + uint16(id.Rule), Key: id.Subject}
}

func (e *Engine) evaluate(u *unit) {
	u.dirty = false
	r := e.snap.Track()
	u.rare.value = e.book.queries[u.id.Rule].run(r, u.id.Subject)
	e.queryRuns.Add(1)
	e.setReads(u, r)
}

func (e *Engine) query(id int, key string) any {
	d := store.Dep{Kind: queryKind + uint16(id), Key: key}
	e.qmu.RLock()
	u := e.queries[d]
	e.qmu.RUnlock()
	if u != nil {
		return u.rare.value
	}
	// Computed under the lock: a query is small, and two nodes asking at once must not both enter their reads.
	e.qmu.Lock()
	defer e.qmu.Unlock()
	if u = e.queries[d]; u == nil {
		u = &unit{id: Unit{RuleID(id), key}, rare: &rare{}}
		e.evaluate(u)
		e.queries[d] = u
	}
	return u.rare.value
}

// sweepQueries drops queries that nobody depends on any more. It looks at a few per round, so its cost is bounded and the
// memory of dropped ones comes back over time.
func (e *Engine) sweepQueries() {
	budget := 64
	for d, u := range e.queries {
		if budget--; budget < 0 {
			return
		}
		if !e.deps.has(d) {
			for _, n := range u.reads {
				e.deps.remove(n, u)
			}
			delete(e.queries, d)
		}
	}
}

// get adds a reference to a unit of the node, making it if need be.
func (e *Engine) get(n *node, id Unit) {
	u := n.units[id]
	if u == nil {
		u = &unit{id: id, node: n, dirty: true}
		n.units[id] = u
		n.queue = append(n.queue, u)
	} else if u.refs == 0 && u.dirty {
		n.queue = append(n.queue, u) // it was skipped while nobody needed it
	}
	u.refs++
}

func (e *Engine) put(n *node, id Unit) {
	u := n.units[id]
	if u == nil {
		return
	}
	if u.refs--; u.refs == 0 {
		n.zero = append(n.zero, u)
	}
}

func (e *Engine) runNode(n *node) Stats {
	var st Stats
	r := e.snap.Track()
	for len(n.queue) > 0 || len(n.zero) > 0 {
		for len(n.queue) > 0 {
			u := n.queue[len(n.queue)-1]
			n.queue = n.queue[:len(n.queue)-1]
			if u.refs == 0 || u.dropped || !u.dirty {
				continue
			}
			u.dirty = false
			st.UnitRuns++
			if !e.runUnit(u, r) {
				st.CutOffs++
			}
		}
		zero := n.zero
		n.zero = nil
		for _, u := range zero {
			if u.refs == 0 && !u.dropped {
				e.drop(u)
			}
		}
	}
	return st
}

// runUnit runs a unit's rule and takes over its output. It reports whether the output changed.
func (e *Engine) runUnit(u *unit, r *store.Tracked) bool {
	r.Reset()
	c := &Context{Reader: r, Node: u.node.name, Subject: u.id.Subject, engine: e, tracked: r}
	e.call(c, u)
	for _, s := range c.out.each {
		r.Add(eachDep(s.group))
	}
	e.setReads(u, r)
	return e.replace(u, &c.out)
}

// call runs the rule; a panic quarantines the unit.
func (e *Engine) call(c *Context, u *unit) {
	defer func() {
		if p := recover(); p != nil {
			c.out = output{fault: fmt.Sprintf("rule %s panicked: %v\n%s", e.book.rules[u.id.Rule].Name, p, debug.Stack())}
		}
	}()
	e.book.rules[u.id.Rule].Run(c)
}

// setReads makes the index say what u read this time.
func (e *Engine) setReads(u *unit, r *store.Tracked) {
	old := make(map[store.Dep]*depNode, len(u.reads))
	for _, n := range u.reads {
		old[n.dep] = n
	}
	now := make([]*depNode, 0, len(u.reads))
	r.Reads(func(d store.Dep) {
		if n, ok := old[d]; ok {
			delete(old, d)
			now = append(now, n)
			return
		}
		now = append(now, e.deps.add(d, u))
	})
	for _, n := range old {
		e.deps.remove(n, u)
	}
	u.reads = now
}

// replace exchanges a unit's output and enters the difference into the ledgers and the tree of needs.
func (e *Engine) replace(u *unit, out *output) bool {
	n := u.node
	out.needs, out.each = dedupe(out.needs), dedupe(out.each)
	var was rare
	if u.rare != nil {
		was = *u.rare
	}
	changed := !slices.Equal(u.flows, out.flows) || !slices.Equal(was.shared, out.shared) ||
		!slices.Equal(was.rows, out.rows) || !slices.Equal(was.groups, out.groups) || !slices.Equal(was.meters, out.meters) ||
		was.fault != out.fault
	if changed {
		for _, f := range u.flows {
			n.flows.release(f.Key(), u)
		}
		for i, f := range out.flows {
			if !n.flows.claim(f.Key(), f, u, out.shared != nil && out.shared[i]) && out.fault == "" {
				out.fault = fmt.Sprintf("two different flows for one match: %v", f)
			}
		}
		exchange(&n.rows, u, was.rows, out.rows, Row.Key)
		exchange(&n.groups, u, was.groups, out.groups, func(g flow.Group) uint32 { return g.ID })
		exchange(&n.meters, u, was.meters, out.meters, func(m flow.Meter) uint32 { return m.ID })
		if out.fault != "" {
			n.faulty[u] = struct{}{}
		} else {
			delete(n.faulty, u)
		}
	}
	// References first, so that what is needed still is never dropped in between.
	for _, need := range out.needs {
		if !slices.Contains(was.needs, need) {
			e.get(n, need)
		}
	}
	for _, s := range out.each {
		if !slices.Contains(was.each, s) {
			for m := range s.derived.Members(e.snap, s.key) {
				e.get(n, Unit{s.rule, m})
			}
		}
	}
	for _, need := range was.needs {
		if !slices.Contains(out.needs, need) {
			e.put(n, need)
		}
	}
	for _, s := range was.each {
		if !slices.Contains(out.each, s) {
			for m := range s.derived.Members(e.snap, s.key) {
				e.put(n, Unit{s.rule, m})
			}
		}
	}
	u.flows = slices.Clip(out.flows)
	u.rare = nil
	if out.shared != nil || out.rows != nil || out.groups != nil || out.meters != nil || out.needs != nil || out.each != nil || out.fault != "" {
		u.rare = &rare{shared: out.shared, rows: out.rows, groups: out.groups, meters: out.meters,
			needs: out.needs, each: out.each, fault: out.fault}
	}
	return changed
}

func exchange[K comparable, V comparable](l *ledger[K, V], u *unit, was, now []V, key func(V) K) {
	for _, v := range was {
		l.release(key(v), u)
	}
	for _, v := range now {
		l.claim(key(v), v, u, false)
	}
}

// drop removes a unit that nobody needs.
func (e *Engine) drop(u *unit) {
	e.replace(u, &output{})
	for _, d := range u.reads {
		e.deps.remove(d, u)
	}
	u.reads, u.dropped = nil, true
	delete(u.node.faulty, u)
	delete(u.node.units, u.id)
}

func dedupe[T comparable](s []T) []T {
	if len(s) < 2 {
		return s
	}
	seen := make(map[T]struct{}, len(s))
	out := s[:0]
	for _, v := range s {
		if _, dup := seen[v]; !dup {
			seen[v] = struct{}{}
			out = append(out, v)
		}
	}
	return out
}
