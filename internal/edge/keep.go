// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"time"

	"nagare/internal/model"
	"nagare/internal/punt"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// keep writes what was heard and what is to be forgotten, once it has been gathered for a while, and only what differs.
func (e *Edge) keep(ctx context.Context, now time.Time) {
	e.mu.Lock()
	if e.write.IsZero() && len(e.heard)+len(e.gone) > 0 {
		e.write = now.Add(gather)
	}
	if e.write.IsZero() || e.write.After(now) {
		e.mu.Unlock()
		return
	}
	heard, gone := e.heard, e.gone
	e.heard, e.gone, e.write = map[punt.Hop]model.MAC{}, nil, time.Time{}
	e.mu.Unlock()
	snap := e.cfg.Store.Snapshot()
	for hop, mac := range heard {
		if t := e.agenda.names[name{what: resolve, hop: hop}]; t != nil && t.what == refresh {
			t.turn = 0
		}
		if n, ok := tables.Neighbours.Get(snap, hop.Key()); ok && n.MAC == mac {
			delete(heard, hop)
		}
	}
	if len(heard)+len(gone) == 0 {
		return
	}
	_, err := e.cfg.Store.Commit(ctx, store.Origin{User: "nagare", Action: "neighbours on external networks"}, func(tx *store.Txn) error {
		for hop, mac := range heard {
			if tables.OnLink(tx, hop.Network, hop.Addr) {
				tables.Neighbours.Put(tx, hop.Key(), model.Neighbour{Network: hop.Network, Addr: hop.Addr, MAC: mac, Since: now.UTC()})
			}
		}
		for _, was := range gone {
			key := model.NeighbourKey(was.Network, was.Addr)
			if n, ok := tables.Neighbours.Get(tx, key); ok && n.MAC == was.MAC && n.Since.Equal(was.Since) {
				tables.Neighbours.Delete(tx, key)
			}
		}
		return nil
	})
	if err == nil || ctx.Err() != nil {
		return
	}
	e.cfg.Log.Error("neighbours on external networks not written; it is tried again", "heard", len(heard), "gone", len(gone), "error", err)
	e.mu.Lock()
	defer e.mu.Unlock()
	for hop, mac := range heard {
		if _, newer := e.heard[hop]; !newer {
			e.heard[hop] = mac
		}
	}
	e.gone, e.write = append(e.gone, gone...), now.Add(againAfter)
}
