// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"hash/maphash"
	"sync"

	"nagare/internal/store"
)

// depIndex maps what was read to who read it. It is sharded so that nodes can be compiled in parallel.
type depIndex struct {
	seed   maphash.Seed
	shards [64]depShard

	mu      sync.Mutex
	orphans []store.Dep // of queries: lost their last reader since somebody last looked
}

type depShard struct {
	mu sync.Mutex
	s  set[*depNode]
}

// depNode is one thing that was read and its readers. Most have few readers, some (a node's record) have thousands.
type depNode struct {
	dep     store.Dep
	readers set[*unit]
	hash    uint32
}

func (n *depNode) hashOf() uint32 { return n.hash }

func newDepIndex() *depIndex { return &depIndex{seed: maphash.MakeSeed()} }

func (x *depIndex) place(d store.Dep) (*depShard, uint32) {
	h := uint32(maphash.Comparable(x.seed, d))
	return x.shard(h), h
}

func (x *depIndex) shard(h uint32) *depShard { return &x.shards[h%uint32(len(x.shards))] }

func (s *depShard) find(d store.Dep, h uint32) *depNode {
	return s.s.find(h, func(n *depNode) bool { return n.dep == d })
}

// add makes u, which was none, a reader of d.
func (x *depIndex) add(d store.Dep, u *unit) *depNode {
	s, h := x.place(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.find(d, h)
	if n == nil {
		n = &depNode{dep: d, hash: h}
		s.s.add(n)
	}
	n.readers.add(u)
	return n
}

func (x *depIndex) remove(n *depNode, u *unit) {
	s := x.shard(n.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	n.readers.remove(u)
	if n.readers.n > 0 {
		return
	}
	s.s.remove(n)
	if n.dep.Kind >= queryKind {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.orphans = append(x.orphans, n.dep)
	}
}

// readers calls f for each unit that read d. It must not run beside add or remove.
func (x *depIndex) readers(d store.Dep, f func(*unit)) {
	s, h := x.place(d)
	if n := s.find(d, h); n != nil {
		for u := range n.readers.all {
			f(u)
		}
	}
}

func (x *depIndex) has(d store.Dep) bool {
	s, h := x.place(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(d, h) != nil
}
