// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"fmt"
	"slices"
	"strings"

	"nagare/internal/flow"
	"nagare/openflow"
)

// Switch is one bridge. It is not safe for use by several goroutines.
type Switch struct {
	Name   string
	Ports  []uint32           // ports that exist; nil = any number does
	Track  *Conntrack         // shared by the bridges of a node
	Tables func(uint8) string // names tables in traces; nil for numbers only

	tables [256]*table
	groups map[uint32]flow.Group
}

// NewSwitch is a switch without flows and with a connection tracker of its own.
func NewSwitch(name string) *Switch {
	return &Switch{Name: name, Track: NewConntrack(), groups: map[uint32]flow.Group{}}
}

// Put adds flows; one with the key of another replaces it. It fails on flows
// that the simulator does not model.
func (s *Switch) Put(fs ...flow.Flow) error {
	for _, f := range fs {
		if s.tables[f.Table] == nil {
			s.tables[f.Table] = newTable()
		}
		if err := s.tables[f.Table].put(f); err != nil {
			return fmt.Errorf("switch %s: flow %s: %w", s.Name, f, err)
		}
	}
	return nil
}

// Delete removes flows by key and reports whether all were there.
func (s *Switch) Delete(keys ...flow.Key) bool {
	all := true
	for _, k := range keys {
		all = s.tables[k.Table] != nil && s.tables[k.Table].delete(k) && all
	}
	return all
}

// PutGroup adds or replaces groups.
func (s *Switch) PutGroup(gs ...flow.Group) {
	for _, g := range gs {
		s.groups[g.ID] = g
	}
}

// DeleteGroup removes groups.
func (s *Switch) DeleteGroup(ids ...uint32) {
	for _, id := range ids {
		delete(s.groups, id)
	}
}

// Clear removes all flows and groups; tracked connections stay.
func (s *Switch) Clear() {
	s.tables = [256]*table{}
	s.groups = map[uint32]flow.Group{}
}

// Flows returns all flows in the order of flow.Compare.
func (s *Switch) Flows() []flow.Flow {
	var out []flow.Flow
	for _, t := range s.tables {
		if t == nil {
			continue
		}
		for _, sp := range t.spaces {
			for _, es := range sp.flows {
				for _, e := range es {
					out = append(out, e.flow)
				}
			}
		}
	}
	slices.SortFunc(out, flow.Compare)
	return out
}

// Output is a packet that left by a port.
type Output struct {
	Port   uint32
	Packet Packet // with the metadata it had then; Frame() is what is on the wire
}

// Punt is a packet that went to the controller.
type Punt struct {
	Table    uint8
	Cookie   uint64
	Reason   uint8
	MaxLen   uint16
	Userdata []byte
	Packet   Packet
}

// Result is what became of a packet.
type Result struct {
	Outputs []Output
	Punts   []Punt
	Errors  []string // what went wrong or is not modelled
	Trace   []string // of Trace only: indented lines
	Steps   []Step   // of Trace only: the same for programs
}

// Dropped reports that the packet went nowhere, without error.
func (r Result) Dropped() bool {
	return len(r.Outputs) == 0 && len(r.Punts) == 0 && len(r.Errors) == 0
}

// OutPorts are the ports the packet left by, ascending.
func (r Result) OutPorts() []uint32 {
	out := make([]uint32, len(r.Outputs))
	for i, o := range r.Outputs {
		out[i] = o.Port
	}
	slices.Sort(out)
	return out
}

// String is the trace and the verdict.
func (r Result) String() string {
	var b strings.Builder
	for _, l := range r.Trace {
		b.WriteString(l + "\n")
	}
	fmt.Fprintf(&b, "verdict: %s\n", r.Verdict())
	return b.String()
}

// Verdict is one line: where the packet went.
func (r Result) Verdict() string {
	var parts []string
	for _, o := range r.Outputs {
		parts = append(parts, fmt.Sprintf("output %d", o.Port))
	}
	for _, p := range r.Punts {
		parts = append(parts, fmt.Sprintf("controller from table %d", p.Table))
	}
	for _, e := range r.Errors {
		parts = append(parts, "error: "+e)
	}
	if len(parts) == 0 {
		return "drop"
	}
	return strings.Join(parts, ", ")
}

// Run sends p, with its in_port, through the switch from table 0.
func (s *Switch) Run(p Packet) Result { return s.run(p, false) }

// Trace is Run with an account of every step.
func (s *Switch) Trace(p Packet) Result { return s.run(p, true) }

func (s *Switch) run(p Packet, trace bool) Result {
	w := &walk{s: s, trace: trace, step: -1, deed: -1}
	if trace {
		w.say("switch %s: %s", s.Name, p)
	}
	w.table(&p, 0)
	w.actionSet(&p)
	return w.r
}

// Limits of the switch (ofproto-dpif): deeper or longer walks are loops.
const (
	maxDepth = 64
	maxSteps = 4096
)

// walk is one packet's way through a switch.
type walk struct {
	s     *Switch
	r     Result
	trace bool
	depth int
	steps int
	exit  bool
	set   []openflow.Action // action set
	stack [][]byte

	cur        *entry // the flow whose actions run, for punts
	step, deed int    // of r.Steps that is under way, and its deed; -1 for none
}

func (w *walk) say(format string, args ...any) {
	if w.trace {
		w.r.Trace = append(w.r.Trace, strings.Repeat("    ", w.depth)+fmt.Sprintf(format, args...))
	}
}

func (w *walk) fail(format string, args ...any) {
	msg := fmt.Sprintf(format, args...)
	w.r.Errors = append(w.r.Errors, msg)
	w.say("error: %s", msg)
}

// table runs p from table id on, through goto-table.
func (w *walk) table(p *Packet, id int) {
	for id >= 0 && !w.exit {
		if w.steps++; w.steps > maxSteps {
			w.fail("more than %d lookups", maxSteps)
			return
		}
		e := w.lookup(p, id)
		if w.trace {
			w.r.Steps = append(w.r.Steps, Step{Depth: w.depth, Table: uint8(id), Miss: e == nil, Packet: *p})
		}
		if e == nil {
			w.say("%3d%s: no flow, drop", id, w.name(id))
			return
		}
		if w.trace {
			m := e.flow.Match.String()
			if m != "" {
				m = " " + m
			}
			w.say("%3d%s: priority %d%s", id, w.name(id), e.flow.Priority, m)
		}
		outer, outerStep := w.cur, w.step
		w.cur = e
		if w.trace {
			w.step = len(w.r.Steps) - 1
			w.r.Steps[w.step].Flow = e.flow
		}
		if e.clear {
			w.set = nil
		}
		ok := w.actions(p, e.acts)
		w.set = append(w.set, e.write...)
		if m := e.meta; m != nil {
			p.SetUint(openflow.FieldMetadata, p.Uint(openflow.FieldMetadata)&^m.Mask|m.Value&m.Mask)
		}
		w.cur, w.step = outer, outerStep
		if !ok {
			return
		}
		if id = e.next; id < 0 && w.trace && len(e.acts) == 0 {
			w.say("    drop")
		}
	}
}

func (w *walk) name(id int) string {
	if w.s.Tables == nil {
		return ""
	}
	return " " + w.s.Tables(uint8(id))
}

func (w *walk) lookup(p *Packet, id int) *entry {
	if t := w.s.tables[id]; t != nil {
		return t.lookup(p)
	}
	return nil
}

// actionSet runs what write-actions gathered, in the order of OpenFlow 1.3.5
// section 5.10: changes first, then the group or the output.
func (w *walk) actionSet(p *Packet) {
	var changes, last []openflow.Action
	for _, a := range w.set {
		switch a.(type) {
		case openflow.Output, openflow.OutputReg:
			if len(last) == 0 || !isGroup(last[0]) {
				last = []openflow.Action{a}
			}
		case openflow.Group:
			last = []openflow.Action{a}
		default:
			changes = append(changes, a)
		}
	}
	w.set = nil
	if len(last) > 0 && w.actions(p, changes) {
		w.actions(p, last)
	}
}

func isGroup(a openflow.Action) bool { _, ok := a.(openflow.Group); return ok }
