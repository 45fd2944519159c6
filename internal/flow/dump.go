// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"nagare/openflow"
)

// Dumped is a flow with what a switch reports beside it.
type Dumped struct {
	Flow
	Packets, Bytes uint64
	Duration       time.Duration // since the flow was added
}

// ParseFlow reads one line of a dump of Open vSwitch 2.x or 3.x, or a flow as
// ovs-ofctl add-flow takes it. A missing table is 0, a missing priority 32768.
func ParseFlow(line string) (Flow, error) {
	d, err := parseDumped(line)
	return d.Flow, err
}

// ParseDump reads the output of ovs-ofctl dump-flows. Headers, blank lines and
// lines that begin with # are passed over.
func ParseDump(text string) ([]Dumped, error) {
	var out []Dumped
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || isHeader(line) {
			continue
		}
		d, err := parseDumped(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		out = append(out, d)
	}
	return out, nil
}

func isHeader(line string) bool {
	return (strings.HasPrefix(line, "OFPST_FLOW") || strings.HasPrefix(line, "NXST_FLOW")) && !strings.Contains(line, "actions=")
}

func parseDumped(line string) (Dumped, error) {
	head, actions, ok := strings.Cut(line, "actions=")
	if !ok {
		return Dumped{}, fmt.Errorf("flow %q has no actions", line)
	}
	d := Dumped{Flow: Flow{Priority: DefaultPriority}}
	var p matchParser
	for _, item := range splitList(head) {
		own, err := d.attribute(item)
		if err == nil && !own {
			err = p.add(item)
		}
		if err != nil {
			return Dumped{}, fmt.Errorf("flow %q: %w", line, err)
		}
	}
	m, err := p.match()
	if err != nil {
		return Dumped{}, fmt.Errorf("flow %q: %w", line, err)
	}
	proto := 0
	if p.has {
		proto = p.proto
	}
	d.Match = m
	if d.Actions, err = parseActions(actions, proto); err != nil {
		return Dumped{}, fmt.Errorf("flow %q: %w", line, err)
	}
	return d, nil
}

// attribute reads what stands in a flow's text beside match and actions; own is
// false if the item is none of that.
func (d *Dumped) attribute(item string) (own bool, err error) {
	key, value, hasValue := strings.Cut(item, "=")
	if !hasValue {
		switch key {
		case "send_flow_rem", "check_overlap", "reset_counts", "no_packet_counts", "no_byte_counts":
			return true, nil
		}
		return false, nil
	}
	var v uint64
	switch key {
	case "table":
		v, err = parseUint(value, 8)
		d.Table = uint8(v)
	case "priority":
		v, err = parseUint(value, 16)
		d.Priority = uint16(v)
	case "cookie":
		d.Cookie, err = parseUint(value, 64)
	case "n_packets":
		d.Packets, err = parseUint(value, 64)
	case "n_bytes":
		d.Bytes, err = parseUint(value, 64)
	case "duration":
		d.Duration, err = time.ParseDuration(value)
	case "idle_age", "hard_age", "idle_timeout", "hard_timeout", "importance":
	default:
		return false, nil
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", key, err)
	}
	return true, err
}

// Normalise brings a dump into the form in which two states are compared: one
// flow a line, in the order of Compare, without counters and cookies, and with
// the ports of an action list that only outputs in ascending order, since such
// a list is a set.
func Normalise(dump string) ([]string, error) {
	ds, err := ParseDump(dump)
	if err != nil {
		return nil, err
	}
	fs := make([]Flow, len(ds))
	for i, d := range ds {
		fs[i] = d.Flow
	}
	return Lines(fs), nil
}

// Lines is the normalised form of flows, as Normalise gives it for a dump.
func Lines(fs []Flow) []string {
	type keyed struct {
		Flow
		match string // text, made once and not at every comparison
	}
	ks := make([]keyed, len(fs))
	for i, f := range fs {
		f.Actions = sortOutputs(f.Actions)
		ks[i] = keyed{f, f.Match.String()}
	}
	slices.SortStableFunc(ks, func(a, b keyed) int { return compare(a.Flow, b.Flow, a.match, b.match) })
	out := make([]string, len(ks))
	for i, k := range ks {
		out[i] = k.String()
	}
	return out
}

// sortOutputs sorts the ports of a list of two or more outputs and nothing else.
func sortOutputs(a Actions) Actions {
	is := a.Instructions()
	if len(is) != 1 {
		return a
	}
	apply, ok := is[0].(openflow.ApplyActions)
	if !ok || len(apply.Actions) < 2 {
		return a
	}
	outs := make([]openflow.Output, len(apply.Actions))
	for i, x := range apply.Actions {
		if outs[i], ok = x.(openflow.Output); !ok {
			return a
		}
	}
	slices.SortStableFunc(outs, func(x, y openflow.Output) int { return int(int64(x.Port) - int64(y.Port)) })
	for i, o := range outs {
		apply.Actions[i] = o
	}
	return Actions(apply.AppendTo(nil))
}
