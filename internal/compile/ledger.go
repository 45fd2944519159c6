// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"slices"
	"strings"
)

// ledger keeps who owns what on one node, for one kind of emission: key -> claimants. Nearly every key has one claimant, so
// that one sits in the map itself.
type ledger[K comparable, V comparable] struct {
	one  map[K]claim[V]
	more map[K][]claim[V] // all claimants, where there are several
	// during a round: what the switch was told before it, for each key that a rerun touched
	before map[K]claim[V]
}

type claim[V comparable] struct {
	val    V
	owner  *unit // nil: nobody
	shared bool
}

func newLedger[K comparable, V comparable]() ledger[K, V] {
	return ledger[K, V]{one: map[K]claim[V]{}}
}

func (l *ledger[K, V]) touch(k K) {
	if l.before == nil {
		l.before = map[K]claim[V]{}
	}
	if _, seen := l.before[k]; !seen {
		l.before[k] = l.one[k]
	}
}

func (l *ledger[K, V]) release(k K, u *unit) {
	l.touch(k)
	if cs, ok := l.more[k]; ok {
		cs = slices.DeleteFunc(cs, func(c claim[V]) bool { return c.owner == u })
		if len(cs) > 1 {
			l.more[k] = cs
			l.one[k] = winner(cs)
			return
		}
		delete(l.more, k)
		if len(cs) == 1 {
			l.one[k] = cs[0]
			return
		}
	} else if l.one[k].owner != u {
		return
	}
	delete(l.one, k)
}

// claim enters u as an owner of k. It returns false, and keeps the first value, if u itself claimed k with another value
// since its last release.
func (l *ledger[K, V]) claim(k K, v V, u *unit, shared bool) bool {
	l.touch(k)
	c := claim[V]{v, u, shared}
	old, taken := l.one[k]
	if !taken {
		l.one[k] = c
		return true
	}
	cs := l.more[k]
	if cs == nil {
		cs = []claim[V]{old}
	}
	for _, o := range cs {
		if o.owner == u {
			return o.val == v
		}
	}
	if l.more == nil {
		l.more = map[K][]claim[V]{}
	}
	cs = append(cs, c)
	l.more[k] = cs
	l.one[k] = winner(cs)
	return true
}

// winner is the claim of the lowest object id; among claims of one object, of the lowest rule and subject.
func winner[V comparable](cs []claim[V]) claim[V] {
	return slices.MinFunc(cs, func(a, b claim[V]) int { return compareUnits(a.owner, b.owner) })
}

func compareUnits(a, b *unit) int {
	return cmp.Or(strings.Compare(a.object(), b.object()), cmp.Compare(a.id.Rule, b.id.Rule),
		strings.Compare(a.id.Subject, b.id.Subject))
}

// settle ends a round: changed reports each key whose winning value differs from before the round.
func (l *ledger[K, V]) settle(changed func(k K, before, after *V)) {
	for k, was := range l.before {
		now, ok := l.one[k]
		switch {
		case was.owner == nil && !ok:
		case was.owner == nil:
			changed(k, nil, &now.val)
		case !ok:
			changed(k, &was.val, nil)
		case was.val != now.val:
			changed(k, &was.val, &now.val)
		}
	}
	l.before = nil
}

// losers calls f for each claim that lost its key to a different owner and is no declared merge of equal values.
func (l *ledger[K, V]) losers(f func(k K, lost, won claim[V])) {
	for k, cs := range l.more {
		w := l.one[k]
		for _, c := range cs {
			if c.owner != w.owner && !(c.shared && w.shared && c.val == w.val) {
				f(k, c, w)
			}
		}
	}
}
