// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"slices"
)

// ledger keeps who owns what on one node, for one kind of emission. It holds units only; the value that a unit claims for a
// key is in the unit itself. Nearly every key has one claimant.
type ledger[K comparable, V comparable] struct {
	held func(u *unit, k K) (v V, kind claimKind, ok bool) // what a unit claims for a key
	one  map[K]*unit                                       // the winner of each key
	more map[K][]*unit                                     // all claimants, the winner first, where there are several
	join *joiner[K, V]                                     // makes one value of several contributions; nil if the kind has none
	// during a round: what the switch was told before it, for each key that a rerun touched; nil means nothing
	before map[K]*V
	fresh  bool // nothing was told yet, so before is not kept
}

func newLedger[K comparable, V comparable](held func(*unit, K) (V, claimKind, bool)) ledger[K, V] {
	return ledger[K, V]{held: held, one: map[K]*unit{}, fresh: true}
}

// joiner joins contributions, and remembers what it made of them until one of them changes.
type joiner[K comparable, V comparable] struct {
	make func(k K, contributions []V) V
	drop func(V) // a value that was made is no longer remembered
	made map[K]V
}

func (j *joiner[K, V]) forget(k K) {
	if j == nil {
		return
	}
	if v, ok := j.made[k]; ok {
		delete(j.made, k)
		j.drop(v)
	}
}

// value is the desired value of a key: the winning claim, or what the contributions make together.
func (l *ledger[K, V]) value(k K) (v V, ok bool) {
	u := l.one[k]
	if u == nil {
		return v, false
	}
	v, kind, ok := l.held(u, k)
	if kind != merged || l.join == nil {
		return v, ok
	}
	us := l.more[k]
	if us == nil {
		return v, ok
	}
	if v, ok := l.join.made[k]; ok {
		return v, true
	}
	parts := make([]V, 0, len(us))
	for _, u := range us {
		if v, kind, _ := l.held(u, k); kind == merged {
			parts = append(parts, v)
		}
	}
	v = l.join.make(k, parts)
	l.join.made[k] = v
	return v, true
}

func (l *ledger[K, V]) touch(k K) {
	if l.fresh {
		return
	}
	if _, seen := l.before[k]; seen {
		return
	}
	if l.before == nil {
		l.before = map[K]*V{}
	}
	if v, ok := l.value(k); ok {
		l.before[k] = &v
	} else {
		l.before[k] = nil
	}
}

// release ends u's claim of k, if it has one. u must still hold it.
func (l *ledger[K, V]) release(k K, u *unit) {
	l.touch(k)
	l.join.forget(k)
	us := l.more[k]
	if us == nil {
		if l.one[k] == u {
			delete(l.one, k)
		}
		return
	}
	if i, ok := slices.BinarySearchFunc(us, u, compareUnits); ok {
		us = slices.Delete(us, i, i+1)
	}
	l.one[k] = us[0]
	if len(us) == 1 {
		delete(l.more, k)
	} else {
		l.more[k] = us
	}
}

// claim enters u as an owner of k. It returns false if u is one already.
func (l *ledger[K, V]) claim(k K, u *unit) bool {
	l.touch(k)
	l.join.forget(k)
	first, taken := l.one[k]
	if !taken {
		l.one[k] = u
		return true
	}
	us := l.more[k]
	if us == nil {
		if first == u {
			return false
		}
		us = []*unit{first}
	}
	i, ok := slices.BinarySearchFunc(us, u, compareUnits)
	if ok {
		return false
	}
	us = slices.Insert(us, i, u)
	if l.more == nil {
		l.more = map[K][]*unit{}
	}
	l.more[k], l.one[k] = us, us[0]
	return true
}

// owners are all claimants of a key, the winner first.
func (l *ledger[K, V]) owners(k K) []*unit {
	if us := l.more[k]; us != nil {
		return us
	}
	if u := l.one[k]; u != nil {
		return []*unit{u}
	}
	return nil
}

// touched is how many keys the round has touched so far.
func (l *ledger[K, V]) touched() int {
	if l.fresh {
		return len(l.one)
	}
	return len(l.before)
}

// settle ends a round: changed reports each key whose winning value differs from before the round.
func (l *ledger[K, V]) settle(changed func(k K, before, after *V)) {
	if l.fresh {
		for k := range l.one {
			v, _ := l.value(k)
			changed(k, nil, &v)
		}
	}
	for k, was := range l.before {
		now, ok := l.value(k)
		switch {
		case was == nil && ok:
			changed(k, nil, &now)
		case was != nil && !ok:
			changed(k, was, nil)
		case was != nil && *was != now:
			changed(k, was, &now)
		}
	}
	l.before, l.fresh = nil, false
}

// differ reports each key whose winning value is not the same in two ledgers.
func differ[K comparable, V comparable](was, now *ledger[K, V], changed func(k K, before, after *V)) {
	for k := range was.one {
		before, _ := was.value(k)
		if after, ok := now.value(k); !ok {
			changed(k, &before, nil)
		} else if after != before {
			changed(k, &before, &after)
		}
	}
	for k := range now.one {
		if _, ok := was.one[k]; !ok {
			after, _ := now.value(k)
			changed(k, nil, &after)
		}
	}
}

// losers calls f for each claim that lost its key to a different owner and is no declared merge.
func (l *ledger[K, V]) losers(f func(k K, v V, lost, won *unit)) {
	for k, us := range l.more {
		w, first, _ := l.held(us[0], k)
		for _, u := range us[1:] {
			v, kind, _ := l.held(u, k)
			if kind == first && (kind == merged || kind == shared && v == w) {
				continue
			}
			f(k, v, u, us[0])
		}
	}
}
