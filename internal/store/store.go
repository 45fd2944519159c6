// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	iradix "github.com/hashicorp/go-immutable-radix/v2"
)

// Store holds the state of a schema.
type Store struct {
	schema *Schema
	now    func() time.Time

	mu   sync.Mutex // held by the one writer
	head atomic.Pointer[Snapshot]

	watch sync.Mutex
	subs  map[*Watch]struct{}
}

// New returns an empty store in memory. now gives commit times; nil means time.Now.
func New(s *Schema, now func() time.Time) *Store {
	if now == nil {
		now = time.Now
	}
	st := &Store{schema: s, now: now, subs: map[*Watch]struct{}{}}
	roots := make([]*tree, len(s.kinds))
	for i := range roots {
		roots[i] = iradix.New[*record]()
	}
	st.head.Store(&Snapshot{roots: roots})
	return st
}

// Snapshot returns the newest committed state.
func (st *Store) Snapshot() *Snapshot { return st.head.Load() }

// Result is what a commit led to.
type Result struct {
	Revision Revision // of the commit, or of the state if it changed nothing durable
	Seq      uint64
	Snapshot *Snapshot // the state right after the commit
}

// Commit runs f against the newest state and, unless it returns an error, makes its writes durable and then visible. An error
// of f is returned as it is and leaves everything unchanged.
func (st *Store) Commit(ctx context.Context, o Origin, f func(*Txn) error) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	base := st.head.Load()
	tx := newTxn(base)
	if err := f(tx); err != nil {
		return Result{Revision: base.rev, Seq: base.seq, Snapshot: base}, err
	}
	at := CommitInfo{Revision: base.rev + 1, Time: st.now().UTC(), Origin: o}
	snap, ch, _ := tx.finish(at, base.seq+1)
	if ch.Empty() {
		return Result{Revision: base.rev, Seq: base.seq, Snapshot: base}, nil
	}
	st.head.Store(snap)
	st.publish(snap, ch)
	return Result{Revision: snap.rev, Seq: snap.seq, Snapshot: snap}, nil
}

func equalWhole(a, b any) bool { return reflect.DeepEqual(a, b) }
