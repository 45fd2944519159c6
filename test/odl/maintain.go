// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"context"
	"fmt"
	"net/http"
)

// Maintain is one run of the maintenance thread: it frees rows whose worker died, synchronises everything if the controller has
// forgotten the canary, and recovers rows that failed. Each part ends at its first error and is tried again in the next run.
// The error is for the test's log: the client only writes it down.
func (n *Neutron) Maintain(ctx context.Context) error {
	n.freeStuck()
	err := n.fullSync(ctx)
	if e := n.recover(ctx); err == nil {
		err = e
	}
	return err
}

// freeStuck makes rows pending that have been with a worker for too long. (Of completed rows none are kept.)
func (n *Neutron) freeStuck() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.journal.open(Processing) {
		if n.Now.Sub(r.Claimed) >= processingTimeout {
			n.journal.enqueue(r)
		}
	}
}

// fullSync queues a create of every object, and of the canary at last, if the controller answers and has no canary.
func (n *Neutron) fullSync(ctx context.Context) error {
	if n.canaryQueued() {
		return nil
	}
	code, err := n.Get(ctx, "networks", nil)
	if err != nil || code >= statusFirstFailure {
		return fmt.Errorf("full sync: list of networks: %d %w", code, err)
	}
	code, err = n.Get(ctx, "networks/"+Canary, nil)
	if err != nil || code >= statusFirstFailure && code != http.StatusNotFound {
		return fmt.Errorf("full sync: canary: %d %w", code, err)
	}
	if code != http.StatusNotFound {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	// A row that is being sent now may carry an older state than the one that follows, with the same revision number (both
	// changes of a binding have one). Whoever sends it after the synchronisation's makes the controller forget the newer for
	// good, and no server can know better: so the model waits until nothing is under way.
	if len(n.journal.processing) > 0 {
		return fmt.Errorf("full sync: %d rows are under way", len(n.journal.processing))
	}
	for _, r := range n.journal.open(Pending) {
		if r.Op != Delete {
			n.journal.drop(r)
		}
	}
	for _, k := range SyncOrder {
		for _, id := range sorted(n.objects[k]) {
			o := n.objects[k][id]
			n.journal.add(k, Create, id, syncBody(k, o), o)
		}
	}
	n.journal.add(Network, Create, Canary, canaryBody(), Object{}).Canary = true
	n.Syncs++
	return nil
}

func (n *Neutron) canaryQueued() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.journal.writes[ref(Network, Canary)] {
		if r.State != Failed {
			return true
		}
	}
	return false
}

// recover asks for the object of each failed row and makes of the row what is still to be done.
func (n *Neutron) recover(ctx context.Context) error {
	n.mu.Lock()
	rows := n.journal.open(Failed)
	n.mu.Unlock()
	for _, r := range rows {
		code, err := n.Get(ctx, resources[r.Kind].path+"/"+r.ID, nil)
		if err != nil || code >= statusFirstFailure && code != http.StatusNotFound {
			return fmt.Errorf("recovery of %s %s: %d %w", r.Kind, r.ID, code, err)
		}
		n.mu.Lock()
		n.settle(r, code != http.StatusNotFound)
		n.mu.Unlock()
	}
	return nil
}

// settle decides a failed row by whether the controller has the object.
func (n *Neutron) settle(r *Row, exists bool) {
	now, wanted := n.objects[r.Kind][r.ID]
	switch {
	case r.Canary && !exists:
		n.journal.drop(r) // the next full synchronisation queues another
	case exists && r.Op == Create, !exists && r.Op == Delete:
		n.journal.drop(r)
	case exists && r.Op == Delete:
		r.Tries = 0
		n.journal.enqueue(r)
	default:
		n.journal.drop(r)
		switch {
		case wanted && exists:
			n.journal.add(r.Kind, Update, r.ID, liveBody(r.Kind, Update, now), now)
		case wanted:
			n.journal.add(r.Kind, Create, r.ID, syncBody(r.Kind, now), now)
		case exists: // deleted in Neutron meanwhile, and whoever did it may not have been heard
			n.journal.add(r.Kind, Delete, r.ID, nil, Object{})
		}
	}
}
