// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"runtime"
	"slices"

	iradix "github.com/hashicorp/go-immutable-radix/v2"
	"golang.org/x/sync/errgroup"
)

// load reads all persistent tables and builds the state they make, indices and derived tables included. Volatile tables are
// taken from former, if any.
func (st *Store) load(ctx context.Context, h Head, former *Snapshot) (*Snapshot, error) {
	snap := &Snapshot{rev: h.Revision, roots: emptyRoots(st.schema)}
	if former != nil {
		snap.seq = former.seq + 1
		for _, k := range st.schema.kinds {
			if k.emit == nil && !k.class.Persistent() {
				snap.roots[k.id] = former.roots[k.id]
			}
		}
	}
	dec := newDecoder()
	for _, k := range st.schema.tables {
		if !k.class.Persistent() {
			continue
		}
		recs, err := st.loadTable(ctx, k, dec)
		if err != nil {
			return nil, err
		}
		buildTable(k, recs, snap.roots)
	}
	st.deriveAll(snap)
	return snap, nil
}

type keyed struct {
	key string
	rec *record
}

// loadTable decodes a table's records on all processors, in key order.
func (st *Store) loadTable(ctx context.Context, k *kind, dec *decoder) ([]keyed, error) {
	var chunks [][]keyed
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	err := st.log.Load(ctx, k.name, func(raw []Record) error {
		chunk := make([]keyed, len(raw))
		chunks = append(chunks, chunk)
		g.Go(func() error {
			for i, r := range raw {
				rec, err := dec.record(k, r.Value)
				if err != nil {
					return &CorruptError{k.name, r.Key, err}
				}
				chunk[i] = keyed{r.Key, rec}
			}
			return nil
		})
		return nil
	})
	if derr := g.Wait(); err == nil {
		err = derr
	}
	if err != nil {
		return nil, err
	}
	var n int
	for _, c := range chunks {
		n += len(c)
	}
	recs := make([]keyed, 0, n)
	for _, c := range chunks {
		recs = append(recs, c...)
	}
	return recs, nil
}

// buildTable fills the trees of a table and its indices, each by one goroutine.
func buildTable(k *kind, recs []keyed, roots []*tree) {
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	fill := func(k *kind, insert func(t *iradix.Txn[*record], r keyed)) {
		g.Go(func() error {
			t := iradix.New[*record]().Txn()
			for _, r := range recs {
				insert(t, r)
			}
			roots[k.id] = t.CommitOnly()
			return nil
		})
	}
	fill(k, func(t *iradix.Txn[*record], r keyed) { t.Insert([]byte(r.key), r.rec) })
	for _, ix := range k.indices {
		fill(ix, func(t *iradix.Txn[*record], r keyed) {
			for _, n := range ix.keys(r.rec.val) {
				t.Insert(composed(n, r.key), r.rec)
			}
		})
	}
	g.Wait()
}

// deriveAll computes the derived tables of a state from scratch.
func (st *Store) deriveAll(snap *Snapshot) {
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	built := make([]*tree, len(snap.roots))
	for _, d := range st.schema.derived {
		g.Go(func() error {
			subjects := map[string]struct{}{}
			for _, src := range d.sources {
				snap.scan(src.table, "", func(_ string, rec *record) bool {
					for _, s := range src.subjects(snap, rec.val) {
						subjects[s] = struct{}{}
					}
					return true
				})
			}
			counts := map[Member]int{}
			for s := range subjects {
				ms := d.emit(snap, s)
				for i, m := range ms {
					if !slices.Contains(ms[:i], m) {
						counts[m]++
					}
				}
			}
			t := iradix.New[*record]().Txn()
			for m, n := range counts {
				t.Insert(composed(m.Group, m.Name), &record{val: n})
			}
			built[d.id] = t.CommitOnly()
			return nil
		})
	}
	g.Wait()
	for i, t := range built {
		if t != nil {
			snap.roots[i] = t
		}
	}
}
