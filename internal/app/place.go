// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"maps"
	"time"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// placeGateways gives routers' gateways a node when nodes come, change, go, stay away or come back. A node without either session
// for the grace time gives its gateways up. Quicker fail-over takes more than the loss of a session as evidence, since a node goes
// on forwarding without us.
func (s *Server) placeGateways(ctx context.Context) error {
	grace := s.cfg.GatewayGrace
	if grace <= 0 {
		grace = Defaults().GatewayGrace
	}
	look := time.NewTicker(max(time.Second, grace.Duration()/6))
	defer look.Stop()
	absent := map[model.NodeID]bool{}
	return onNodes(ctx, s.store, look.C, func() bool {
		now := s.hub.Absent(grace.Duration())
		changed := !maps.Equal(now, absent)
		absent = now
		return changed
	}, func() bool {
		err := s.api.PlaceGateways(ctx, absent)
		if err != nil && ctx.Err() == nil {
			s.log.Error("gateways not placed; it is tried again soon", "error", err)
		}
		return err == nil
	})
}

// placeDHCP gives DHCP ports a node when nodes come or change.
func (s *Server) placeDHCP(ctx context.Context) error {
	look := time.NewTicker(5 * time.Second)
	defer look.Stop()
	return onNodes(ctx, s.store, look.C, func() bool { return false }, func() bool {
		err := s.api.PlaceDHCPPorts(ctx)
		if err != nil && ctx.Err() == nil {
			s.log.Error("dhcp ports not placed; it is tried again soon", "error", err)
		}
		return err == nil
	})
}

// onNodes calls place at the start, when a node's record comes, changes or goes, and when due says so at a look; and at each look
// until it succeeds, after it has failed. It returns nil when ctx ends.
func onNodes(ctx context.Context, st *store.Store, look <-chan time.Time, due, place func() bool) error {
	w := st.Watch()
	defer w.Close()
	open := false // place is due
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-look:
			open = due() || open
		case <-w.C():
			_, ch, ok := w.Take()
			if !ok {
				continue
			}
			now := ch.All
			for _, r := range ch.Records {
				now = now || r.Table == tables.Nodes.Name() && r.PlaneChanged
			}
			if !now {
				continue // a failure waits for the next look: commits may come fast
			}
			open = true
		}
		if open {
			open = !place()
		}
	}
}
