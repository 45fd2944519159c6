// SPDX-License-Identifier: Apache-2.0

package store

import "context"

// Fork returns a store in memory that goes on from a snapshot of st, derived tables and revisions included: what would come of
// a transaction can be seen there without anybody else seeing it. It shares what it does not change, so it costs nothing that
// grows with the state. It knows neither the commits before the snapshot nor their idempotency keys, and need not be closed.
func (st *Store) Fork(s *Snapshot) *Store {
	log := NewMemory(Limits{})
	log.head = Head{Revision: s.rev}
	o := Options{Log: log.Log(), Now: st.o.Now, Logger: st.o.Logger}.withDefaults()
	f := newStore(st.schema, o, o.Log)
	h, term, err := f.log.Fence(context.Background())
	if err != nil {
		panic("store: fresh memory log: " + err.Error()) // nobody else knows it
	}
	f.term.Store(term)
	f.head.Store(s)
	f.spec, f.specHead = s, h
	f.trimmed.at = o.Now()
	return f
}
