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
	m  map[store.Dep]*depNode
}

// depNode is one thing that was read and its readers. Most have few readers, some (a node's record) have thousands.
type depNode struct {
	dep  store.Dep
	few  []*unit
	many map[*unit]struct{}
}

const fewReaders = 12

func newDepIndex() *depIndex {
	x := &depIndex{seed: maphash.MakeSeed()}
	for i := range x.shards {
		x.shards[i].m = map[store.Dep]*depNode{}
	}
	return x
}

func (x *depIndex) shard(d store.Dep) *depShard {
	return &x.shards[maphash.Comparable(x.seed, d)%uint64(len(x.shards))]
}

func (x *depIndex) add(d store.Dep, u *unit) *depNode {
	s := x.shard(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.m[d]
	if n == nil {
		n = &depNode{dep: d}
		s.m[d] = n
	}
	switch {
	case n.many != nil:
		n.many[u] = struct{}{}
	case len(n.few) < fewReaders:
		n.few = append(n.few, u)
	default:
		n.many = make(map[*unit]struct{}, 2*fewReaders)
		for _, o := range n.few {
			n.many[o] = struct{}{}
		}
		n.many[u] = struct{}{}
		n.few = nil
	}
	return n
}

func (x *depIndex) remove(n *depNode, u *unit) {
	s := x.shard(n.dep)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n.many != nil {
		delete(n.many, u)
	} else {
		for i, o := range n.few {
			if o == u {
				n.few[i] = n.few[len(n.few)-1]
				n.few[len(n.few)-1] = nil
				n.few = n.few[:len(n.few)-1]
				break
			}
		}
	}
	if len(n.few) > 0 || len(n.many) > 0 {
		return
	}
	delete(s.m, n.dep)
	if n.dep.Kind >= queryKind {
		x.mu.Lock()
		x.orphans = append(x.orphans, n.dep)
		x.mu.Unlock()
	}
}

// readers calls f for each unit that read d. It must not run beside add or remove.
func (x *depIndex) readers(d store.Dep, f func(*unit)) {
	n := x.shard(d).m[d]
	if n == nil {
		return
	}
	for _, u := range n.few {
		f(u)
	}
	for u := range n.many {
		f(u)
	}
}

func (x *depIndex) has(d store.Dep) bool {
	s := x.shard(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[d] != nil
}
