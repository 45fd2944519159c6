// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"context"
	"time"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// When a port changes its groups, the flows of the set that it wore stay for a while. A barrier is not the datapath (decision
// 13): what the switch has taken in by its cached flows still carries the old set, meets the tables of rules behind the
// connection tracker, and would be lost if the old set's clauses had gone with the change. Nothing new carries it.

// formerSets are the former sets that may soon be forgotten, by port. They belong to the hub's goroutine.
type formerSets struct {
	due     map[model.PortID]model.Key
	waiting bool // a goroutine will come for them
}

// forgetFormer lets go of a port's former set some time after its node has confirmed the change, or at once if no node has it.
func (h *Hub) forgetFormer(ctx context.Context, snap *store.Snapshot, id model.PortID) {
	f, ok := tables.FormerSets.Get(snap, id)
	if !ok {
		return
	}
	if h.former.due == nil {
		h.former.due = map[model.PortID]model.Key{}
	}
	h.former.due[id] = f.Set
	if h.former.waiting {
		return
	}
	h.former.waiting = true
	h.running.Go(func() {
		wait := time.NewTimer(h.cfg.Timings.Flush)
		defer wait.Stop()
		for {
			select {
			case <-wait.C:
			case <-ctx.Done():
				return
			}
			var due map[model.PortID]model.Key
			if h.do(ctx, func() { due, h.former.due, h.former.waiting = h.former.due, nil, false }) != nil {
				return
			}
			if err := h.dropFormer(ctx, due); err == nil || ctx.Err() != nil {
				return
			}
			// They stay, which harms nothing but costs flows; with the next try they go.
			again := false
			if h.do(ctx, func() {
				if again = !h.former.waiting; again {
					h.former.due, h.former.waiting = due, true
					return
				}
				for id, set := range due {
					if _, newer := h.former.due[id]; !newer {
						h.former.due[id] = set
					}
				}
			}) != nil || !again {
				return
			}
			wait.Reset(h.cfg.Timings.Flush)
		}
	})
}

// formerBatch is how many former sets one transaction forgets.
const formerBatch = 500

func (h *Hub) dropFormer(ctx context.Context, due map[model.PortID]model.Key) error {
	ids := make([]model.PortID, 0, len(due))
	for id := range due {
		ids = append(ids, id)
	}
	for len(ids) > 0 {
		n := min(len(ids), formerBatch)
		_, err := h.cfg.Store.Commit(ctx, store.Origin{User: "nagare", Action: "forget former groups"}, func(tx *store.Txn) error {
			for _, id := range ids[:n] {
				alloc.ForgetFormerSet(tx, id, due[id])
			}
			return nil
		})
		if err != nil {
			h.log.Error("former groups of ports not forgotten; it will be tried again", "ports", len(ids), "error", err)
			return err
		}
		ids = ids[n:]
	}
	return nil
}
