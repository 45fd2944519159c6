// SPDX-License-Identifier: Apache-2.0

package store

import (
	"slices"
	"sync"
	"time"
)

// Stats are counters since the store was opened, and gauges of the present, for metrics.
type Stats struct {
	Revision Revision
	Term     uint64
	Waiting  int // callers of Commit without an answer
	Watches  int
	Down     error // why commits are refused; nil if they are not

	Commits    uint64 // durable
	Volatile   uint64 // commits that only changed volatile tables
	TooLarge   uint64 // commits refused for their size
	Failures   uint64 // appends without a confirmation
	Recoveries uint64 // failures settled
	Landed     uint64 // of those, where the append had happened after all

	BatchCommits  Histogram // commits per batch
	BatchBytes    Histogram // bytes per batch
	AppendSeconds Histogram // time of an append
	LogOffset     uint64    // bytes of entries ever written
}

// Histogram counts observations by upper bound, cumulatively read by summing; the last count is of those above all bounds.
type Histogram struct {
	Bounds []float64
	Counts []uint64
	Count  uint64
	Sum    float64
	Max    float64
}

func newHistogram(first, factor float64, n int) Histogram {
	h := Histogram{Counts: make([]uint64, n+1)}
	for range n {
		h.Bounds = append(h.Bounds, first)
		first *= factor
	}
	return h
}

func (h *Histogram) observe(v float64) {
	i, _ := slices.BinarySearch(h.Bounds, v)
	h.Counts[i]++
	h.Count++
	h.Sum += v
	h.Max = max(h.Max, v)
}

func (h Histogram) clone() Histogram {
	h.Counts = slices.Clone(h.Counts)
	return h
}

type statistics struct {
	mu sync.Mutex
	s  Stats
}

func (s *statistics) init() {
	s.s.BatchCommits = newHistogram(1, 2, 11)
	s.s.BatchBytes = newHistogram(1024, 4, 8)
	s.s.AppendSeconds = newHistogram(0.0001, 2, 16)
}

func (s *statistics) append(b *batch, took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.s.AppendSeconds.observe(took.Seconds())
	if err != nil {
		s.s.Failures++
		return
	}
	s.s.Commits += uint64(len(b.Entries))
	s.s.BatchCommits.observe(float64(len(b.Entries)))
	s.s.BatchBytes.observe(float64(b.bytes))
}

func (s *statistics) add(n *uint64) {
	s.mu.Lock()
	*n++
	s.mu.Unlock()
}

func (s *statistics) volatile()  { s.add(&s.s.Volatile) }
func (s *statistics) refused()   { s.add(&s.s.TooLarge) }
func (s *statistics) recovered() { s.add(&s.s.Recoveries) }
func (s *statistics) landed(n int) {
	s.mu.Lock()
	s.s.Landed++
	s.s.Commits += uint64(n)
	s.mu.Unlock()
}

// Stats returns the store's counters and gauges.
func (st *Store) Stats() Stats {
	st.stats.mu.Lock()
	s := st.stats.s
	s.BatchCommits, s.BatchBytes, s.AppendSeconds = s.BatchCommits.clone(), s.BatchBytes.clone(), s.AppendSeconds.clone()
	st.stats.mu.Unlock()
	s.Revision, s.Term, s.Waiting = st.Snapshot().Revision(), st.Term(), int(st.waiting.Load())
	st.mu.Lock()
	s.Down, s.LogOffset = st.down, st.specHead.Offset
	st.mu.Unlock()
	st.watch.Lock()
	s.Watches = len(st.subs)
	st.watch.Unlock()
	return s
}
