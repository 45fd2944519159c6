// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/yang"
	"nagare/openflow"
)

// What operators write is checked when they do, so that nothing is kept that a switch could not hold, or that would take part in what is
// ours: reserved numbers, conjunctions, packets to the controller without limit.

func refuse(d *yang.Data, format string, args ...any) error {
	return &yang.Fault{Tag: yang.TagInvalid, Path: d.Path(), Msg: fmt.Sprintf(format, args...)}
}

// leafOf finds a leaf below d by its name and value; d if there is none.
func leafOf(d *yang.Data, name, value string) *yang.Data {
	if x := leafWhere(d, func(x *yang.Data) bool { return x.Node.Name == name && (value == "" || x.Value == value) }); x != nil {
		return x
	}
	return d
}

func leafWhere(d *yang.Data, is func(*yang.Data) bool) *yang.Data {
	for _, c := range d.Children {
		if c.Node.Type != nil && is(c) {
			return c
		}
		if x := leafWhere(c, is); x != nil {
			return x
		}
	}
	return nil
}

// leafNaming finds the leaf in which an entry names another, a group or a meter; nil if there is none.
func leafNaming(d *yang.Data, name, id string) *yang.Data {
	_, number, _ := strings.Cut(id[strings.LastIndexByte(id, '/')+1:], "=")
	isGroup := strings.Contains(id, "/group=")
	return leafWhere(d, func(x *yang.Data) bool {
		switch {
		case x.Node.Name != name:
			return false
		case name == "ovs-action":
			return strings.Contains(x.Value, number)
		}
		return x.Value == number && (name == "group-id") == isGroup
	})
}

func (w *operatorWrite) profile() pipeline.Profile {
	if w.cfg.Profile == "classic" {
		return pipeline.Classic
	}
	return pipeline.Standard
}

func (w *operatorWrite) checkFlow(d *yang.Data, f flow.Flow) error {
	for _, name := range []string{"idle-timeout", "hard-timeout"} {
		if v, ok := d.Get(name); ok && v != "0" {
			return refuse(leafOf(d, name, v), "what is in the configuration stays until it is removed; leave the timeout out")
		}
	}
	flags, _ := d.Get("flags")
	for flag := range strings.FieldsSeq(flags) {
		if flag != "RESET_COUNTS" && flag != "CHECK_OVERLAP" { // which say how to add the flow, and not what it is
			return refuse(leafOf(d, "flags", ""), "%s is not supported", flag)
		}
	}
	if id, _ := d.Get("id"); id != "" { // as what switches hold is called that nobody wrote here
		if k, says := parseFlowID(num(f.Table), id); says && k != f.Key() {
			return refuse(leafOf(d, "id", id), "this names the flow with this priority and match, which is another; choose another id")
		}
	}
	p := w.profile()
	if !p.OperatorMay(pipeline.TableID(f.Table)) {
		return refuse(d, "there is no table %d in profile %s; see docs/pipeline.md, and %d to %d for tables of your own", f.Table, p, pipeline.FirstOperatorTable, pipeline.LastOperatorTable)
	}
	if t, ok := f.Match.Find(openflow.FieldInPort); ok {
		if port := uint32(t.Uint()); port == 0 || port >= flow.PortMax && port != flow.PortLocal && port != flow.PortController {
			return refuse(leafOf(d, "in-port", ""), "no packet comes in by this port")
		}
	}
	for _, reserved := range []*openflow.Field{openflow.FieldConjID, openflow.FieldRecircID, openflow.FieldDPHash, openflow.FieldPacketType} {
		if _, ok := f.Match.Find(reserved); ok {
			return refuse(leafOf(d, "name", reserved.Name), "%s is not for operators", reserved.Name)
		}
	}
	for t := range f.Match.Fields() {
		if t.Field == nil {
			return refuse(d, "the match has a field that is not known here")
		}
	}
	limited := false
	for _, i := range f.Actions.Instructions() {
		if _, ok := i.(openflow.Meter); ok || p == pipeline.Classic {
			limited = true
		}
	}
	for _, i := range f.Actions.Instructions() {
		var err error
		switch i := i.(type) {
		case openflow.GotoTable:
			err = w.checkNext(leafOf(below(d, "go-to-table"), "table_id", ""), f.Table, i.Table)
		case openflow.ApplyActions:
			err = w.checkActions(d, f.Table, i.Actions, limited)
		case openflow.WriteActions:
			err = w.checkActions(d, f.Table, i.Actions, limited)
			if err == nil && slices.ContainsFunc(i.Actions, func(a openflow.Action) bool { return !settable(a) }) {
				err = refuse(below(d, "write-actions"), "an action set takes outputs, groups, fields, tags, labels and times to live; apply the others")
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// below is the container of that name anywhere below d; d if there is none.
func below(d *yang.Data, name string) *yang.Data {
	for _, c := range d.Children {
		if c.Node.Name == name {
			return c
		}
		if x := below(c, name); x != c {
			return x
		}
	}
	return d
}

// settable reports whether an action may be in an action set (OpenFlow 1.3.5 section 5.10; Open vSwitch's choice of its own).
func settable(a openflow.Action) bool {
	switch a.(type) {
	case openflow.Output, openflow.Group, openflow.SetField, openflow.Load, openflow.LoadMasked, openflow.Move, openflow.SetTTL, openflow.DecTTL,
		openflow.PushVLAN, openflow.PopVLAN, openflow.PushMPLS, openflow.PopMPLS, openflow.SetQueue:
		return true
	}
	return false
}

// checkNext refuses to lead to a table that is not there, or is not a later one.
func (w *operatorWrite) checkNext(d *yang.Data, from, to uint8) error {
	switch {
	case to <= from:
		return refuse(d, "table %d is not behind table %d", to, from)
	case !w.profile().OperatorMay(pipeline.TableID(to)):
		return refuse(d, "there is no table %d in profile %s", to, w.profile())
	}
	return nil
}

func (w *operatorWrite) checkActions(d *yang.Data, table uint8, as []openflow.Action, limited bool) error {
	text := leafOf(d, "ovs-action", "")
	unlimited := "packets for the controller need a meter among the instructions of the flow, as a limit"
	for _, a := range as {
		switch a := a.(type) {
		case openflow.Output:
			leaf := leafWhere(d, func(x *yang.Data) bool {
				return x.Node.Name == "output-node-connector" && strings.EqualFold(x.Value[strings.LastIndexByte(x.Value, ':')+1:], portText(a.Port))
			})
			if leaf == nil {
				leaf = text
			}
			switch {
			case a.Port == 0, a.Port == flow.PortTable, a.Port == flow.PortAny, a.Port >= flow.PortMax && portText(a.Port) == "":
				return refuse(leaf, "this is no port to send to")
			case a.Port == flow.PortController && !limited:
				return refuse(leaf, "%s", unlimited)
			}
		case openflow.Controller:
			if !limited {
				return refuse(text, "%s", unlimited)
			}
		case openflow.Controller2:
			if len(a.Userdata) > 0 || a.Pause || a.MeterID != 0 {
				return refuse(text, "userdata, pause and meter_id are not for operators; a meter among the instructions limits the flow")
			}
			if !limited {
				return refuse(text, "%s", unlimited)
			}
		case openflow.Resubmit:
			if err := w.checkNext(text, table, a.Table); err != nil {
				return err
			}
		case openflow.CT:
			if a.Table != openflow.CTNoTable {
				if err := w.checkNext(text, table, a.Table); err != nil {
					return err
				}
			}
			if err := w.checkActions(d, table, a.Actions, limited); err != nil {
				return err
			}
		case openflow.Clone:
			if err := w.checkActions(d, table, a.Actions, limited); err != nil {
				return err
			}
		case openflow.Raw:
			more, err := openflow.DecodeActions(a)
			if err != nil || len(more) == 1 && isRaw(more[0]) {
				return refuse(text, "an action that is not known here")
			}
			if err := w.checkActions(d, table, more, limited); err != nil {
				return err
			}
		case openflow.Conjunction, openflow.Sample, openflow.Learn:
			return refuse(text, "this action is not for operators")
		}
	}
	return nil
}

func isRaw(a openflow.Action) bool {
	_, raw := a.(openflow.Raw)
	return raw
}

// portText is how a port is written in an output; "" for a reserved one that has no name.
func portText(p uint32) string {
	text := flow.Do(flow.Output(p)).String()
	if rest, ok := strings.CutPrefix(text, "output:"); ok {
		if p >= flow.PortMax {
			return ""
		}
		return rest
	}
	name, _, _ := strings.Cut(text, ":")
	return strings.ReplaceAll(name, "IN_PORT", "INPORT")
}

// needs are the groups and meters that a flow names.
func (w *operatorWrite) needs(f flow.Flow) (out []model.OperatorEntryID) {
	var walk func(as []openflow.Action)
	walk = func(as []openflow.Action) {
		for _, a := range as {
			switch a := a.(type) {
			case openflow.Group:
				out = append(out, model.OperatorGroupID(w.datapath, a.ID))
			case openflow.Clone:
				walk(a.Actions)
			case openflow.CT:
				walk(a.Actions)
			case openflow.Raw:
				if more, err := openflow.DecodeActions(a); err == nil && !(len(more) == 1 && isRaw(more[0])) {
					walk(more)
				}
			}
		}
	}
	for _, i := range f.Actions.Instructions() {
		switch i := i.(type) {
		case openflow.Meter:
			out = append(out, model.OperatorMeterID(w.datapath, i.ID))
		case openflow.ApplyActions:
			walk(i.Actions)
		case openflow.WriteActions:
			walk(i.Actions)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (w *operatorWrite) checkGroup(d *yang.Data, g flow.Group) error {
	if g.ID < model.MinOperatorGroup || g.ID > model.MaxOperatorGroup {
		return refuse(leafOf(d, "group-id", ""), "groups of operators have the numbers %d to %d", model.MinOperatorGroup, model.MaxOperatorGroup)
	}
	for _, b := range g.Decoded() {
		if b.WatchGroup != 0 {
			return refuse(leafOf(d, "watch_group", ""), "a group of operators watches ports")
		}
		as, err := openflow.DecodeActions(b.Actions)
		if err != nil {
			return refuse(d, "%v", err)
		}
		for _, a := range as {
			if _, ok := a.(openflow.Group); ok {
				return refuse(below(d, "group-action"), "a group of operators names no other group")
			}
		}
		// A group is reached from any table, so nothing says which tables are behind it.
		if err := w.checkActions(d, 255, as, w.profile() == pipeline.Classic); err != nil {
			return err
		}
	}
	return nil
}

func (w *operatorWrite) checkMeter(d *yang.Data, m flow.Meter) error {
	if m.ID < model.MinOperatorMeter || m.ID > model.MaxOperatorMeter {
		return refuse(leafOf(d, "meter-id", strconv.FormatUint(uint64(m.ID), 10)), "meters of operators have the numbers %d to %d", model.MinOperatorMeter, model.MaxOperatorMeter)
	}
	if m.Rate == 0 {
		return refuse(leafOf(d, "band-rate", ""), "want a rate above 0; a flow that drops needs no meter")
	}
	return nil
}

// checkText refuses what would not be read from the store as it was written.
func (w *operatorWrite) checkText(d *yang.Data, e *model.OperatorEntry) error {
	again := ""
	switch e.Kind {
	case model.OperatorFlow:
		if f, err := flow.ParseFlow(e.Text); err == nil {
			again = f.String()
		}
	case model.OperatorGroup:
		if g, err := flow.ParseGroup(e.Text); err == nil {
			again = g.String()
		}
	default:
		if m, err := flow.ParseMeter(e.Text); err == nil {
			again = m.String()
		}
	}
	if again != e.Text {
		return refuse(d, "this cannot be written as ovs-ofctl writes it: %s", e.Text)
	}
	return nil
}
