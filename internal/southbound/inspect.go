// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/openflow"
)

// Bounds of what one question to a switch may bring. A table with more flows is read in parts, which cookies tell apart.
const (
	partFlows = 8 << 10 // flows that a part should have
	maxPart   = 8       // times as many it may have, when many flows have one cookie
	maxParts  = 256
)

// Errors of questions to a switch.
var (
	ErrNoSession = errors.New("the switch is not connected")
	ErrBusy      = errors.New("the switch is answering others; try again")
	ErrTooMany   = errors.New("too many flows have cookies that cannot be told apart")
)

// CountedFlow is a flow as a switch holds it.
type CountedFlow struct {
	flow.Flow
	Packets, Bytes       uint64
	Seconds, Nanoseconds uint32 // since it was installed
	Idle, Hard           uint16 // timeouts in seconds; 0: none
}

// Standing is how far a node has come.
type Standing struct {
	OpenFlow          bool   // it has a session
	Wanted, Confirmed uint64 // revisions: compiled, and confirmed by its barrier
}

// Standing says how far a node has come; the zero Standing is that of a node that nobody knows.
func (h *Hub) Standing(id model.NodeID) Standing {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.nodes[id]
	if t == nil {
		return Standing{}
	}
	return Standing{OpenFlow: t.of != nil, Wanted: uint64(h.processed.Revision), Confirmed: uint64(t.confirmedLocked().Revision)}
}

// Inspect asks a node's switch something, in the time of one request. One question at a time is asked of a switch, so that its own work
// does not wait behind curiosity. It fails with ErrNoSession or ErrBusy, or as f does.
func (h *Hub) Inspect(ctx context.Context, id model.NodeID, f func(ctx context.Context, c *openflow.Conn) error) error {
	h.mu.Lock()
	var of *ofSession
	if t := h.nodes[id]; t != nil {
		of = t.of
	}
	h.mu.Unlock()
	if of == nil {
		return fmt.Errorf("node %s: %w", id, ErrNoSession)
	}
	ctx, cancel := context.WithTimeout(ctx, h.cfg.Timings.Request)
	defer cancel()
	select {
	case of.asked <- struct{}{}:
		defer func() { <-of.asked }()
	case <-of.c.Done():
		return fmt.Errorf("node %s: %w", id, ErrNoSession)
	case <-ctx.Done():
		return fmt.Errorf("node %s: %w", id, ErrBusy)
	}
	if err := f(ctx, of.c); err != nil {
		return fmt.Errorf("node %s: %w", id, err)
	}
	return nil
}

// SwitchFlows gives the flows that a table of a node's switch holds to part, in pieces of bounded size, each of which is asked for
// when the one before was dealt with. What changes meanwhile may be missing. An error of part ends it.
func (h *Hub) SwitchFlows(ctx context.Context, id model.NodeID, table uint8, part func([]CountedFlow) error) error {
	var sum openflow.Aggregate
	if err := h.Inspect(ctx, id, func(ctx context.Context, c *openflow.Conn) (err error) {
		sum, err = c.Aggregate(ctx, openflow.FlowFilter{Table: table})
		return err
	}); err != nil || sum.Flows == 0 {
		return err
	}
	parts := uint64(min(maxParts, 1<<bits.Len32((sum.Flows-1)/h.part)))
	for i := range parts {
		var flows []CountedFlow
		if err := h.Inspect(ctx, id, func(ctx context.Context, c *openflow.Conn) error {
			return c.DumpFlows(ctx, openflow.FlowFilter{Table: table, Cookie: i, CookieMask: parts - 1}, func(s *openflow.FlowStats) error {
				if len(flows) == maxPart*int(h.part) {
					return fmt.Errorf("table %d: %w", table, ErrTooMany)
				}
				f, err := counted(s)
				flows = append(flows, f)
				return err
			})
		}); err != nil {
			return err
		}
		if len(flows) == 0 {
			continue
		}
		if err := part(flows); err != nil {
			return err
		}
	}
	return nil
}

var errFound = errors.New("found")

// SwitchFlow gives one flow of a node's switch; ok is false if it does not hold it. A cookie that the flow is known to have narrows
// what the switch looks through; nil: none is known.
func (h *Hub) SwitchFlow(ctx context.Context, id model.NodeID, key flow.Key, cookie *uint64) (f CountedFlow, ok bool, err error) {
	filter := openflow.FlowFilter{Table: key.Table, Match: []byte(key.Match)}
	if cookie != nil {
		filter.Cookie, filter.CookieMask = *cookie, ^uint64(0)
	}
	err = h.Inspect(ctx, id, func(ctx context.Context, c *openflow.Conn) error {
		return c.DumpFlows(ctx, filter, func(s *openflow.FlowStats) error {
			if s.Priority != key.Priority {
				return nil
			}
			found, err := counted(s)
			if err == nil && found.Key() == key {
				f, err = found, errFound
			}
			return err
		})
	})
	if errors.Is(err, errFound) {
		return f, true, nil
	}
	return f, false, err
}

func counted(s *openflow.FlowStats) (f CountedFlow, err error) {
	f = CountedFlow{Packets: s.Packets, Bytes: s.Bytes, Seconds: s.DurationSec, Nanoseconds: s.DurationNs, Idle: s.IdleTimeout, Hard: s.HardTimeout}
	f.Table, f.Priority, f.Cookie = s.Table, s.Priority, s.Cookie
	if f.Match, err = flow.Wire(s.Match); err != nil {
		return f, fmt.Errorf("table %d: match that the switch dumped: %w", s.Table, err)
	}
	if f.Actions, err = flow.WireActions(s.Instructions); err != nil {
		return f, fmt.Errorf("table %d: actions that the switch dumped: %w", s.Table, err)
	}
	return f, nil
}

// CountedGroup is a group as a switch holds it.
type CountedGroup struct {
	flow.Group
	openflow.GroupStats
}

// SwitchGroups gives the groups of a node's switch in order; of one alone, or of all with openflow.GroupAll. A group of a form that
// is not understood here has no buckets.
func (h *Hub) SwitchGroups(ctx context.Context, id model.NodeID, group uint32) (out []CountedGroup, err error) {
	err = h.Inspect(ctx, id, func(ctx context.Context, c *openflow.Conn) error {
		descs, err := c.DumpGroups(ctx) // OpenFlow 1.3 cannot ask for one
		if err != nil {
			return err
		}
		stats, err := c.GroupStats(ctx, group)
		if err != nil {
			return err
		}
		counts := map[uint32]openflow.GroupStats{}
		for _, s := range stats {
			counts[s.ID] = s
		}
		for _, d := range descs {
			s, ok := counts[d.ID]
			if !ok {
				continue
			}
			g, err := flow.WireGroup(d)
			if err != nil {
				g = flow.Group{ID: d.ID, Type: flow.GroupType(d.Type)}
			}
			out = append(out, CountedGroup{g, s})
		}
		return nil
	})
	slices.SortFunc(out, func(a, b CountedGroup) int { return cmp.Compare(a.Group.ID, b.Group.ID) })
	return out, err
}

// CountedMeter is a meter as a switch holds it.
type CountedMeter struct {
	flow.Meter
	openflow.MeterStatistics
}

// SwitchMeters gives the meters of a node's switch in order; of one alone, or of all with openflow.MeterAll. Those that are not a
// single band that drops are left out: nagare makes no others, and removes them.
func (h *Hub) SwitchMeters(ctx context.Context, id model.NodeID, meter uint32) (out []CountedMeter, err error) {
	err = h.Inspect(ctx, id, func(ctx context.Context, c *openflow.Conn) error {
		configs, err := c.DumpMeters(ctx)
		if err != nil || len(configs) == 0 {
			return err
		}
		if meter != openflow.MeterAll && !slices.ContainsFunc(configs, func(m openflow.MeterConfig) bool { return m.ID == meter }) {
			return nil // asked for what is not there, a switch answers with an error
		}
		stats, err := c.MeterStats(ctx, meter)
		if err != nil {
			return err
		}
		counts := map[uint32]openflow.MeterStatistics{}
		for _, s := range stats {
			counts[s.ID] = s
		}
		for _, m := range configs {
			w, err := wireMeter(m)
			if s, ok := counts[m.ID]; ok && err == nil {
				out = append(out, CountedMeter{w, s})
			}
		}
		return nil
	})
	slices.SortFunc(out, func(a, b CountedMeter) int { return cmp.Compare(a.Meter.ID, b.Meter.ID) })
	return out, err
}
