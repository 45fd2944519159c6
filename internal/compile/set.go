// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"hash/maphash"
	"slices"
	"sync"
)

// set is a hash set of pointers to things that know their hash: open addressing, eight bytes a slot. Go's map takes 17 and
// more, and the engine's millions of units, flows and reads live in such sets. The zero value is empty.
type set[T hashed] struct {
	slots []T
	n     int
}

type hashed interface {
	comparable
	hashOf() uint32
}

// minSlots is the size up to which a set may be quite full.
const minSlots = 4

func (s *set[T]) home(h uint32) int { return int(uint64(h) * uint64(len(s.slots)) >> 32) }

func (s *set[T]) next(i int) int {
	if i++; i < len(s.slots) {
		return i
	}
	return 0
}

// find returns the member with the hash that is what is asked for, or nil.
func (s *set[T]) find(h uint32, is func(T) bool) (none T) {
	if len(s.slots) == 0 {
		return none
	}
	i := s.home(h)
	for range s.slots {
		x := s.slots[i]
		if x == none {
			return none
		}
		if x.hashOf() == h && is(x) {
			return x
		}
		i = s.next(i)
	}
	return none
}

// add enters what is not a member yet.
func (s *set[T]) add(x T) {
	if size := len(s.slots); s.n == size || size > minSlots && s.n >= size*4/5 {
		s.resize(max(1, size+(size+1)/2))
	}
	s.put(x)
	s.n++
}

func (s *set[T]) put(x T) {
	var none T
	i := s.home(x.hashOf())
	for s.slots[i] != none {
		i = s.next(i)
	}
	s.slots[i] = x
}

func (s *set[T]) resize(size int) {
	old, none := s.slots, *new(T)
	s.slots = slices.Grow([]T(nil), size)
	s.slots = s.slots[:cap(s.slots)] // all that the allocator gives
	for _, x := range old {
		if x != none {
			s.put(x)
		}
	}
}

// remove takes a member out.
func (s *set[T]) remove(x T) {
	if len(s.slots) == 0 {
		return
	}
	var none T
	i := s.home(x.hashOf())
	for range s.slots {
		switch s.slots[i] {
		case none:
			return
		case x:
			s.vacate(i)
			s.n--
			if size := len(s.slots); size > 8 && s.n < size/4 {
				s.resize(size / 2)
			}
			return
		}
		i = s.next(i)
	}
}

// vacate empties slot i and moves up what a search would no longer reach over the gap.
func (s *set[T]) vacate(i int) {
	var none T
	size := len(s.slots)
	s.slots[i] = none
	for j := s.next(i); j != i && s.slots[j] != none; j = s.next(j) {
		home := s.home(s.slots[j].hashOf())
		if (j-home+size)%size >= (j-i+size)%size { // its home is not behind the gap
			s.slots[i], s.slots[j] = s.slots[j], none
			i = j
		}
	}
}

// all iterates over the members. The set must not change meanwhile.
func (s *set[T]) all(yield func(T) bool) {
	var none T
	for _, x := range s.slots {
		if x != none && !yield(x) {
			return
		}
	}
}

// pool keeps one copy of each value that something refers to, so that a value takes eight bytes for each who has it, and two
// are equal if their pointers are. It may be used by several goroutines at once.
type pool[T comparable] struct {
	seed   maphash.Seed
	shards [64]struct {
		mu sync.Mutex
		s  set[*word[T]]
	}
}

// word is a value in a pool.
type word[T comparable] struct {
	val  T
	hash uint32
	refs int32 // guarded by the shard
}

func (w *word[T]) hashOf() uint32 { return w.hash }

func newPool[T comparable]() *pool[T] { return &pool[T]{seed: maphash.MakeSeed()} }

// get returns the word for a value and counts one reference more to it.
func (p *pool[T]) get(v T) *word[T] {
	h := uint32(maphash.Comparable(p.seed, v))
	s := &p.shards[h%uint32(len(p.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.s.find(h, func(w *word[T]) bool { return w.val == v })
	if w == nil {
		w = &word[T]{val: v, hash: h}
		s.s.add(w)
	}
	w.refs++
	return w
}

// look returns the word for a value if there is one. It counts nothing.
func (p *pool[T]) look(v T) *word[T] {
	h := uint32(maphash.Comparable(p.seed, v))
	s := &p.shards[h%uint32(len(p.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.s.find(h, func(w *word[T]) bool { return w.val == v })
}

// put gives a reference back.
func (p *pool[T]) put(w *word[T]) {
	s := &p.shards[w.hash%uint32(len(p.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.refs--; w.refs == 0 {
		s.s.remove(w)
	}
}

// len counts the words.
func (p *pool[T]) len() (n int) {
	for i := range p.shards {
		n += p.shards[i].s.n
	}
	return n
}
