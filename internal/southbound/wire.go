// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"errors"

	"nagare/internal/flow"
	"nagare/openflow"
)

func flowMod(cmd openflow.FlowCommand, f flow.Flow) *openflow.FlowMod {
	m := &openflow.FlowMod{Command: cmd, Table: f.Table, Priority: f.Priority, Cookie: f.Cookie, Match: []byte(f.Match),
		OutPort: openflow.PortAny, OutGroup: openflow.GroupAny}
	if cmd == openflow.FlowAdd {
		m.Instructions = []byte(f.Actions)
	} else {
		m.Cookie = 0
	}
	return m
}

func groupMod(cmd uint16, g flow.Group) *openflow.GroupMod {
	m := &openflow.GroupMod{Command: cmd, Type: uint8(g.Type), ID: g.ID}
	if cmd != openflow.GroupDelete {
		m.Buckets = g.Decoded()
	}
	return m
}

func meterMod(cmd uint16, m flow.Meter) *openflow.MeterMod {
	w := &openflow.MeterMod{Command: cmd, ID: m.ID, Flags: openflow.MeterKbps}
	if m.Packets {
		w.Flags = openflow.MeterPktps
	}
	if m.Burst != 0 {
		w.Flags |= openflow.MeterBurst
	}
	if cmd != openflow.MeterDelete {
		w.Bands = []openflow.Band{{Type: openflow.BandDrop, Rate: m.Rate, Burst: m.Burst}}
	}
	return w
}

// wireMeter is a meter as the switch dumped it; an error if it is of a kind that we never make.
func wireMeter(c openflow.MeterConfig) (flow.Meter, error) {
	if len(c.Bands) != 1 || c.Bands[0].Type != openflow.BandDrop {
		return flow.Meter{}, errors.New("not a single drop band")
	}
	m := flow.Meter{ID: c.ID, Packets: c.Flags&openflow.MeterPktps != 0, Rate: c.Bands[0].Rate}
	if c.Flags&openflow.MeterBurst != 0 { // without it the switch tells a burst of its own choice
		m.Burst = c.Bands[0].Burst
	}
	return m, nil
}
