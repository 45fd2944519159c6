// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"context"
	"maps"
	"slices"
	"time"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// sessionsEvery is how often it is asked who has a session, of which the store is not told.
const sessionsEvery = time.Second

// Run sends events to the subscribers until ctx ends. Web sockets open while it runs and close when it ends. It returns nil.
//
// It follows the store, so an event's order is that of commits; commits that come faster than they are told are told together.
func (s *Server) Run(ctx context.Context) error {
	w := s.cfg.Store.Watch()
	defer w.Close()
	before, _, err := w.Next(ctx) // the present state is no event
	if err != nil {
		return nil //nolint:nilerr // it is ctx's
	}
	s.hub.begin(before, s.cfg.Now())
	s.notifier.begin(before)
	defer s.hub.end("the server stops")
	defer s.notifier.end("the server stops")
	sessions := time.NewTicker(sessionsEvery)
	defer sessions.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-sessions.C:
			s.notifier.sessions()
			continue
		case <-w.C():
		}
		now, ch, ok := w.Take()
		if !ok {
			continue
		}
		if ch.All {
			s.hub.endAll("more has changed than can be told; read anew")
			s.notifier.lose(now)
		} else {
			if changes := s.changes(before, now, ch); len(changes) > 0 {
				s.hub.tell(changes, s.cfg.Now())
			}
			s.notifier.step(now, ch)
		}
		s.hub.reached(now.Seq())
		before = now
	}
}

// changes are those between two states that somebody may have subscribed to, by the records that were written between them.
func (s *Server) changes(before, now *store.Snapshot, ch *store.Changes) (out []change) {
	ports := map[model.PortID]int{} // -> how often its status was written otherwise than it is now
	var order []model.PortID
	note := func(id model.PortID) {
		if _, ok := ports[id]; !ok {
			ports[id] = 0
			order = append(order, id)
		}
	}
	for _, r := range ch.Records {
		switch r.Table {
		case tables.Nodes.Name():
			out = append(out, s.hostChanges(r)...)
		case tables.Ports.Name():
			note(model.PortID(r.Key))
		case tables.Statuses.Name():
			id := model.PortID(r.Key)
			note(id)
			after, _ := r.After.(model.PortStatus)
			if end, _ := tables.Statuses.Get(now, id); end.Status != after.Status {
				ports[id]++
			}
		}
	}
	for _, id := range order { // floating IPs have statuses too, and are no ports
		old, was := s.cfg.portStatus(before, id)
		status, is := s.cfg.portStatus(now, id)
		c := change{path: portsStream.path, list: "port", keys: []leaf{{"uuid", string(id)}}, leaves: []leaf{{"status", status}}}
		switch {
		case is && !was:
			c.op = created
		case was && !is:
			c.op, c.leaves = deleted, []leaf{{"status", old}}
		case is && (old != status || ports[id] > 0): // back where it was: a binding that began anew waits for its ACTIVE
			c.op = updated
		default:
			continue
		}
		out = append(out, c)
	}
	return out
}

// hostChanges are the host configurations that a node's record brought, changed or took.
func (s *Server) hostChanges(r store.RecordChange) (out []change) {
	configs := func(v any) map[string]string {
		n, ok := v.(model.Node)
		if !ok {
			return nil
		}
		return hostConfigs(s.cfg.Profile, &n)
	}
	before, after := configs(r.Before), configs(r.After)
	kinds := slices.AppendSeq(slices.Collect(maps.Keys(before)), maps.Keys(after))
	slices.Sort(kinds)
	for _, kind := range slices.Compact(kinds) {
		old, was := before[kind]
		config, is := after[kind]
		c := change{path: "/neutron:neutron/neutron:hostconfigs", list: "hostconfig",
			keys: []leaf{{"host-id", r.Key}, {"host-type", kind}}, leaves: []leaf{{"config", config}}}
		switch {
		case is && !was:
			c.op = created
		case was && !is:
			c.op, c.leaves = deleted, []leaf{{"config", old}}
		case old != config:
			c.op = updated
		default:
			continue
		}
		out = append(out, c)
	}
	return out
}
