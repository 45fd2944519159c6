// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"
)

// load reads all persistent tables and builds the state they make, indices and derived tables included. Volatile tables are
// taken from former, if any.
func (st *Store) load(ctx context.Context, h Head, former *Snapshot) (*Snapshot, error) {
	snap := &Snapshot{rev: h.Revision, roots: make([]tree, len(st.schema.kinds))}
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

// loadTable decodes a table's records on all processors.
func (st *Store) loadTable(ctx context.Context, k *kind, dec *decoder) ([]entry, error) {
	var chunks [][]entry
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	err := st.log.Load(ctx, k.name, func(raw []Record) error {
		chunk := make([]entry, len(raw))
		chunks = append(chunks, chunk)
		g.Go(func() error {
			for i, r := range raw {
				rec, err := dec.record(k, r.Value)
				if err != nil {
					return &CorruptError{k.name, r.Key, err}
				}
				chunk[i] = entry{place{"", r.Key}, rec}
			}
			return nil
		})
		return nil
	})
	if derr := g.Wait(); err == nil {
		err = derr
	}
	return slices.Concat(chunks...), err
}

// buildTable makes the trees of a table and its indices, each by one goroutine.
func buildTable(k *kind, recs []entry, roots []tree) {
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, ix := range k.indices {
		g.Go(func() error {
			es := make([]entry, 0, len(recs))
			for _, r := range recs {
				for _, group := range ix.keys(r.rec.val) {
					es = append(es, entry{place{group, r.key}, r.rec})
				}
			}
			roots[ix.id] = buildTree(es)
			return nil
		})
	}
	g.Wait()
	roots[k.id] = buildTree(recs)
}
