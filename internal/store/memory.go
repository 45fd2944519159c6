// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"maps"
	"slices"
	"sort"
	"sync"
)

// Memory is a durable log that lasts as long as the process: the same contract as etcd's, for tests and trials. Several
// stores may be opened on it, one after another; the newest fences out the others.
type Memory struct {
	limits Limits

	mu      sync.Mutex
	term    uint64
	head    Head
	tables  map[string]map[string][]byte
	entries []Entry
}

// NewMemory returns an empty log. Limits of zero mean none.
func NewMemory(l Limits) *Memory {
	const unlimited = 1 << 30
	if l.Ops == 0 {
		l.Ops = unlimited
	}
	if l.Bytes == 0 {
		l.Bytes = unlimited
	}
	return &Memory{limits: l, tables: map[string]map[string][]byte{}}
}

// Log returns a handle for one store.
func (m *Memory) Log() Log { return &memoryLog{Memory: m} }

type memoryLog struct {
	*Memory
	mine uint64 // the term in which this handle owns the log; 0 before the first Fence
}

func (l *memoryLog) Fence(context.Context) (Head, uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mine != 0 && l.mine != l.term {
		return Head{}, 0, ErrFenced
	}
	l.term++
	l.mine = l.term
	return l.head, l.term, nil
}

func (l *memoryLog) Load(_ context.Context, table string, f func([]Record) error) error {
	l.mu.Lock()
	var recs []Record
	for _, key := range slices.Sorted(maps.Keys(l.tables[table])) {
		recs = append(recs, Record{table, key, l.tables[table][key]})
	}
	l.mu.Unlock()
	return f(recs)
}

func (l *memoryLog) Append(_ context.Context, b *Batch) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mine != l.term {
		return ErrFenced
	}
	if l.head != b.Prev {
		return errConflict
	}
	for _, r := range b.Records {
		t := l.tables[r.Table]
		if t == nil {
			t = map[string][]byte{}
			l.tables[r.Table] = t
		}
		if r.Value == nil {
			delete(t, r.Key)
		} else {
			t[r.Key] = r.Value
		}
	}
	l.entries = append(l.entries, b.Entries...)
	l.head = b.Head
	return nil
}

func (l *memoryLog) Entries(_ context.Context, from Revision, limit int) ([]Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := sort.Search(len(l.entries), func(i int) bool { return l.entries[i].Revision >= from })
	return slices.Clone(l.entries[i:min(len(l.entries), i+limit)]), nil
}

func (l *memoryLog) Trim(_ context.Context, below Revision) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := sort.Search(len(l.entries), func(i int) bool { return l.entries[i].Revision >= below })
	l.entries = slices.Clone(l.entries[i:])
	return nil
}

func (l *memoryLog) Limits() Limits { return l.limits }
func (l *memoryLog) Close() error   { return nil }
