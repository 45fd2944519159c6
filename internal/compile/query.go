// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"sync"
	"sync/atomic"

	"nagare/internal/store"
)

// Query is a memoised, node-independent computation that many units share. Its reads are recorded like a unit's; units that
// asked for it run again only if its value changed. V must be comparable by ==.
type Query[V comparable] struct {
	id int
}

type queryDef struct {
	name string
	run  func(r store.Reader, key string) any
}

// queryKind is where Dep.Kind numbers of queries start, above any table's.
const queryKind = 0x8000

// DeclareQuery adds a query. It reads tables only: queries do not ask queries.
func DeclareQuery[V comparable](b *Rulebook, name string, run func(r store.Reader, key string) V) *Query[V] {
	b.queries = append(b.queries, queryDef{name, func(r store.Reader, key string) any { return run(r, key) }})
	return &Query[V]{len(b.queries) - 1}
}

// Ask returns the query's value for the key and records that the unit depends on it. If the query panicked, so does Ask, and
// the unit is quarantined until the query is well again.
func Ask[V comparable](c *Context, q *Query[V], key string) V {
	d := store.Dep{Kind: queryKind + uint16(q.id), Key: key}
	c.tracked.Add(d)
	u := c.engine.query(d)
	if u.rare.fault != "" {
		panic(u.rare.fault)
	}
	return u.rare.value.(V)
}

// queries are the evaluated queries of an engine.
type queries struct {
	mu   sync.RWMutex
	m    map[store.Dep]*unit
	runs atomic.Uint64
}

func (d queryDef) safely(r store.Reader, key string) (v any, fault string) {
	defer func() {
		if p := recover(); p != nil {
			v, fault = nil, fmt.Sprintf("query %s panicked: %v%s", d.name, p, whence())
		}
	}()
	return d.run(r, key), ""
}

// evaluate runs a query and reports whether its value changed.
func (e *Engine) evaluate(u *unit) (changed bool) {
	u.dirty = false
	r := e.snap.Track()
	was := u.extra()
	v, fault := e.book.queries[u.rule].safely(r, u.subject.val)
	e.queries.runs.Add(1)
	e.setReads(u, r)
	now := u.extra()
	now.value, now.fault = v, fault
	u.rare = &now
	return v != was.value || fault != was.fault
}

// query returns an evaluated query.
func (e *Engine) query(d store.Dep) *unit {
	q := &e.queries
	q.mu.RLock()
	u := q.m[d]
	q.mu.RUnlock()
	if u != nil {
		return u
	}
	// Computed under the lock: a query is small, and two nodes asking at once must not both enter their reads.
	q.mu.Lock()
	defer q.mu.Unlock()
	if u = q.m[d]; u == nil {
		u = &unit{subject: e.words.subjects.get(d.Key), rule: RuleID(d.Kind - queryKind)}
		u.hash = mix(u.subject.hash, uint32(d.Kind), 0)
		e.evaluate(u)
		q.m[d] = u
	}
	return u
}

func (u *unit) queryDep() store.Dep {
	return store.Dep{Kind: queryKind + uint16(u.rule), Key: u.subject.val}
}

// sweepQueries drops the queries that nobody depends on any more.
func (e *Engine) sweepQueries() {
	for _, d := range e.deps.orphans {
		u := e.queries.m[d]
		if u == nil || e.deps.has(d) {
			continue
		}
		for _, n := range u.reads() {
			e.deps.remove(n, u)
		}
		e.words.subjects.put(u.subject)
		delete(e.queries.m, d)
	}
	e.deps.orphans = e.deps.orphans[:0]
}
