// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"hash/maphash"
	"runtime"
	"sync"
	"sync/atomic"

	"nagare/internal/flow"
	"nagare/internal/store"
)

// Engine holds the compiled state of a set of nodes. It belongs to one goroutine; only inside Update does it use several.
type Engine struct {
	book  *Rulebook
	check func(flow.Flow) error

	snap    *store.Snapshot
	nodes   map[string]*node
	busy    []*node // have something to do in the next round
	deps    *depIndex
	queries queries
	words   words
	stats   Stats
}

// Stats counts work since the engine was made.
type Stats struct {
	Rounds   uint64
	UnitRuns uint64
	CutOffs  uint64 // reruns whose output was equal
	Queries  uint64 // evaluations of queries
}

// node is one node's units and desired state.
type node struct {
	name   string
	hash   uint32
	units  set[*unit]
	queue  []*unit
	zero   []*unit // lost their last reference this round
	listed bool    // in Engine.busy
	waste  []entry // were given up this round; their words are freed at its end, so that a match that moves keeps its word
	flows  ledger[flowKey, entry]
	rows   ledger[RowKey, Row]
	groups ledger[uint32, flow.Group]
	meters ledger[uint32, flow.Meter]
	faulty map[*unit]struct{}
}

// New returns an engine for the rules. check, if not nil, is asked about every emitted flow; one that it refuses is dropped
// and its object is in fault.
func New(book *Rulebook, check func(flow.Flow) error) *Engine {
	e := &Engine{book: book, check: check, words: newWords()}
	e.reset()
	return e
}

func (e *Engine) reset() {
	for _, u := range e.queries.m {
		e.words.subjects.put(u.subject)
	}
	e.nodes, e.busy, e.deps, e.queries.m = map[string]*node{}, nil, newDepIndex(), map[store.Dep]*unit{}
}

// Stats returns the counters.
func (e *Engine) Stats() Stats {
	s := e.stats
	s.Queries = e.queries.runs.Load()
	return s
}

// Snapshot is the state that the desired state was compiled from; nil before the first Update.
func (e *Engine) Snapshot() *store.Snapshot { return e.snap }

// AddNode starts compiling a node with the next Update. It does nothing for a known one.
func (e *Engine) AddNode(name string) {
	if e.nodes[name] != nil {
		return
	}
	n := &node{
		name: name, hash: uint32(maphash.String(e.deps.seed, name)), faulty: map[*unit]struct{}{},
		flows: newLedger(heldFlow), rows: newLedger(heldRow), groups: newLedger(heldGroup), meters: newLedger(heldMeter),
	}
	if e.book.Merge != nil {
		n.flows.join = &joiner[flowKey, entry]{make: e.merge, drop: func(f entry) { n.waste = append(n.waste, f) }, made: map[flowKey]entry{}}
	}
	e.nodes[name] = n
	e.get(n, e.book.root, name)
}

// RemoveNode forgets a node. Nothing is sent to it.
func (e *Engine) RemoveNode(name string) {
	n := e.nodes[name]
	if n == nil {
		return
	}
	for u := range n.units.all {
		for _, d := range u.reads() {
			e.deps.remove(d, u)
		}
	}
	delete(e.nodes, name)
	e.forget(n)
}

// merge makes one flow of several contributions.
func (e *Engine) merge(_ flowKey, parts []entry) entry {
	fs := make([]flow.Flow, len(parts))
	for i, p := range parts {
		fs[i] = p.expand()
	}
	return e.words.entry(e.book.Merge(fs))
}

// forget frees the words of a node that is no longer compiled.
func (e *Engine) forget(n *node) {
	for u := range n.units.all {
		e.words.free(u.flows())
		e.words.subjects.put(u.subject)
	}
	if n.flows.join != nil {
		for _, f := range n.flows.join.made {
			n.waste = append(n.waste, f)
		}
	}
	e.words.free(n.waste)
}

// Update compiles the snapshot and returns what changed for each node. ch must hold everything touched since the snapshot of
// the last Update; with ch.All everything is computed anew and compared.
func (e *Engine) Update(snap *store.Snapshot, ch *store.Changes) map[string]*Delta {
	e.stats.Rounds++
	var old map[string]*node
	if ch.All && e.snap != nil {
		old = e.nodes
		e.reset()
		for name := range old {
			e.AddNode(name)
		}
	}
	e.snap = snap
	if old == nil {
		e.applyMembers(ch.Members)
		e.touch(ch.Deps)
	}
	busy := e.busy
	deltas := make([]*Delta, len(busy))
	e.parallel(len(busy), func(c *Context, i int) {
		n := busy[i]
		if e.nodes[n.name] != n { // removed after it was queued
			return
		}
		e.runNode(c, n)
		if old == nil {
			deltas[i] = n.settle()
		} else {
			deltas[i] = n.replaced(old[n.name])
			e.forget(old[n.name])
		}
		e.words.free(n.waste)
		n.waste = nil
	})
	e.sweepQueries()
	out := map[string]*Delta{}
	for i, n := range busy {
		n.listed, busy[i] = false, nil
		if d := deltas[i]; !d.Empty() {
			out[n.name] = d
		}
	}
	e.busy = busy[:0]
	return out
}

// parallel calls f for 0 to n-1 on as many goroutines as there are processors, each with a context of its own.
func (e *Engine) parallel(n int, f func(c *Context, i int)) {
	var next atomic.Int64
	var mu sync.Mutex
	worker := func() {
		c := &Context{engine: e}
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			f(c, i)
		}
		mu.Lock()
		defer mu.Unlock()
		e.stats.UnitRuns += c.stats.UnitRuns
		e.stats.CutOffs += c.stats.CutOffs
	}
	workers := min(runtime.GOMAXPROCS(0), n)
	if workers <= 1 {
		worker()
		return
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(worker)
	}
	wg.Wait()
}

// applyMembers lets joins and leaves of derived groups add and remove the units that subscriptions ask for.
func (e *Engine) applyMembers(ms []store.MemberChange) {
	for _, m := range ms {
		e.deps.readers(eachDep(m.Group), func(u *unit) {
			for _, s := range u.rare.each {
				switch {
				case s.group != m.Group:
				case m.Joined:
					e.get(u.node, s.rule, m.Name)
				default:
					e.put(u.node, s.rule, m.Name)
				}
			}
		})
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
			e.queue(u)
		} else {
			queries = append(queries, u)
		}
	}
	for d := range deps {
		e.deps.readers(d, mark)
	}
	for _, u := range queries {
		if e.evaluate(u) {
			e.deps.readers(u.queryDep(), mark)
		}
	}
}

// queue makes a unit run in this round, or in the next if none is under way. A worker queues units of its own node only, and
// that is listed already.
func (e *Engine) queue(u *unit) {
	u.node.queue = append(u.node.queue, u)
	e.list(u.node)
}

func (e *Engine) list(n *node) {
	if !n.listed {
		n.listed = true
		e.busy = append(e.busy, n)
	}
}

// find returns the node's unit of a rule for a subject, nil if there is none.
func (n *node) find(rule RuleID, subject *word[string]) *unit {
	if subject == nil {
		return nil
	}
	return n.units.find(mix(subject.hash, uint32(rule), n.hash), func(u *unit) bool { return u.rule == rule && u.subject == subject })
}

func mix(subject, rule, node uint32) uint32 {
	h := uint64(subject^node)*0x9e3779b97f4a7c15 + uint64(rule+1)*0xc2b2ae3d27d4eb4f
	return uint32(h >> 32)
}

// get adds a reference to a unit of the node, making it if need be.
func (e *Engine) get(n *node, rule RuleID, subject string) {
	w := e.words.subjects.get(subject)
	u := n.find(rule, w)
	if u == nil {
		u = &unit{rule: rule, subject: w, node: n, hash: mix(w.hash, uint32(rule), n.hash), dirty: true, yields: e.book.rules[rule].Yields}
		n.units.add(u)
		e.queue(u)
	} else {
		e.words.subjects.put(w) // u has it already
		if u.refs == 0 && u.dirty {
			e.queue(u) // it was skipped while nobody needed it
		}
	}
	u.refs++
}

// put takes a reference away.
func (e *Engine) put(n *node, rule RuleID, subject string) {
	u := n.find(rule, e.words.subjects.look(subject))
	if u == nil {
		return
	}
	if u.refs--; u.refs == 0 {
		n.zero = append(n.zero, u)
		e.list(n)
	}
}
