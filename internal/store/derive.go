// SPDX-License-Identifier: Apache-2.0

package store

import (
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"
)

// deriveAll computes the derived tables of a state from scratch. Derived tables have most of their subjects in common and
// look at the same records for each, so they are computed subject by subject, with a memory of the last records.
func (st *Store) deriveAll(snap *Snapshot) {
	for some := range slices.Chunk(st.schema.derived, 64) {
		deriveSome(snap, some)
	}
}

// deriveSome computes up to 64 derived tables.
func deriveSome(snap *Snapshot, derived []*kind) {
	var subjects []string // in the order of the tables that name them
	wanted := map[string]uint64{}
	for i, d := range derived {
		for _, src := range d.sources {
			snap.scan(src.table, "", "", func(_ string, rec *record) bool {
				for _, s := range src.subjects(snap, rec.val) {
					set, seen := wanted[s]
					if !seen {
						subjects = append(subjects, s)
					}
					if set&(1<<i) == 0 {
						wanted[s] = set | 1<<i
					}
				}
				return true
			})
		}
	}
	type counts = map[place]int
	workers := runtime.GOMAXPROCS(0)
	found := make([][]counts, workers) // by worker and derived table
	var g errgroup.Group
	for w := range workers {
		found[w] = make([]counts, len(derived))
		for i := range derived {
			found[w][i] = counts{}
		}
		g.Go(func() error {
			r := &memo{Snapshot: snap}
			for _, s := range subjects[len(subjects)*w/workers : len(subjects)*(w+1)/workers] {
				for i, d := range derived {
					if wanted[s]&(1<<i) == 0 {
						continue
					}
					ms := d.emit(r, s)
					for j, m := range ms {
						if !slices.Contains(ms[:j], m) {
							found[w][i][place{m.Group, m.Name}]++
						}
					}
				}
			}
			return nil
		})
	}
	g.Wait()
	for i, d := range derived {
		sum := found[0][i]
		for _, more := range found[1:] {
			for p, n := range more[i] {
				sum[p] += n
			}
		}
		es := make([]entry, 0, len(sum))
		for p, n := range sum {
			es = append(es, entry{p, &record{val: n}})
		}
		snap.roots[d.id] = buildTree(es)
	}
}

// memo is a snapshot that remembers the records got last. It serves one goroutine.
type memo struct {
	*Snapshot
	last [4]struct {
		k *kind
		place
		rec *record
	}
	next int
}

func (m *memo) get(k *kind, group, key string) *record {
	p := place{group, key}
	for i := range m.last {
		if l := &m.last[i]; l.k == k && l.place == p {
			return l.rec
		}
	}
	l := &m.last[m.next]
	m.next = (m.next + 1) % len(m.last)
	l.k, l.place, l.rec = k, p, m.Snapshot.get(k, group, key)
	return l.rec
}
