// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"fmt"

	"nagare/internal/flow"
	"nagare/openflow"
)

// ErrUndeclared is what every refusal of Check wraps.
var ErrUndeclared = errors.New("not declared in the pipeline")

// Check tells which declaration f breaks, in whichever profile; nil if none.
// It is cheap enough for every emitted flow: the verdict depends on the shape
// of the flow only and is remembered by it.
func Check(f flow.Flow) error { return both.Check(f) }

// Check is the package's Check for the tables and priorities of p.
func (p Profile) Check(f flow.Flow) error {
	if c, ours := UnpackCookie(f.Cookie); ours && c.Kind == KindOperator {
		return p.checkOperator(f)
	}
	t := byID[f.Table]
	if t == nil || t.Profiles&p == 0 {
		return fmt.Errorf("table %d: %w (profile %s)", f.Table, ErrUndeclared, p)
	}
	if f.Priority == 0 && f.Match == "" {
		return t.checkMiss(f)
	}
	var buf [384]byte
	sig, ok := appendShape(append(buf[:0], byte(p), f.Table, byte(f.Priority>>8), byte(f.Priority)), f)
	if ok {
		if err, known := verdicts.get(sig); known {
			return err
		}
	}
	err := t.check(p, f)
	if ok {
		verdicts.put(sig, err)
	}
	return err
}

func (t *Table) checkMiss(f flow.Flow) error {
	want, ok := t.Miss.Actions()
	if !ok || f.Actions != want {
		return fmt.Errorf("table %s: miss %q where %q is declared: %w", t.ID, f.Actions, t.Miss, ErrUndeclared)
	}
	return nil
}

func (t *Table) check(p Profile, f flow.Flow) error {
	if !t.hasPriority(p, f.Priority) {
		return fmt.Errorf("table %s: priority %d: %w (profile %s)", t.ID, f.Priority, ErrUndeclared, p)
	}
	for tlv := range f.Match.Fields() {
		switch {
		case tlv.Field == nil:
			return fmt.Errorf("table %s: match on %s: %w", t.ID, tlv.ID, ErrUndeclared)
		case !t.match[tlv.Field]:
			return fmt.Errorf("table %s: match on %s: %w", t.ID, tlv.Field.Name, ErrUndeclared)
		}
	}
	for _, i := range f.Actions.Instructions() {
		var err error
		switch i := i.(type) {
		case openflow.GotoTable:
			err = t.checkGoto(p, TableID(i.Table))
		case openflow.Meter:
			err = t.need(Limit)
		case openflow.ApplyActions:
			err = t.checkActions(p, i.Actions)
		default:
			err = fmt.Errorf("instruction %T: %w", i, ErrUndeclared)
		}
		if err != nil {
			return fmt.Errorf("table %s: %w", t.ID, err)
		}
	}
	return nil
}

func (t *Table) hasPriority(p Profile, v uint16) bool {
	for _, n := range t.Prios {
		if n.Profiles&p != 0 && (v == n.Value || v > n.Value && v <= n.To) {
			return true
		}
	}
	return false
}

func (t *Table) checkGoto(p Profile, to TableID) error {
	if to <= t.ID {
		return fmt.Errorf("goto %s leads backward: %w", to, ErrUndeclared)
	}
	if err := t.need(Goto); err != nil {
		return err
	}
	return t.checkNext("goto", t.Next, p, to)
}

func (t *Table) checkNext(what string, legal []TableID, p Profile, to TableID) error {
	for _, n := range legal {
		if n == to && byID[n].Profiles&p != 0 {
			return nil
		}
	}
	return fmt.Errorf("%s %s: %w (profile %s)", what, to, ErrUndeclared, p)
}

func (t *Table) need(k Kind) error {
	if t.Kinds&k != 0 {
		return nil
	}
	for i, name := range kindNames {
		if k == 1<<i {
			return fmt.Errorf("action %s: %w", name, ErrUndeclared)
		}
	}
	return fmt.Errorf("action: %w", ErrUndeclared)
}

func (t *Table) checkActions(p Profile, as []openflow.Action) error {
	for _, a := range as {
		if err := t.checkAction(p, a); err != nil {
			return err
		}
	}
	return nil
}

func (t *Table) checkAction(p Profile, a openflow.Action) error {
	switch a := a.(type) {
	case openflow.Output:
		if a.Port == openflow.PortController {
			return t.need(Punt)
		}
		return t.need(Out)
	case openflow.OutputReg:
		return t.need(Out)
	case openflow.Controller, openflow.Controller2:
		return t.need(Punt)
	case openflow.Group:
		return t.need(ToGroup)
	case openflow.SetField:
		return t.writes(a.Field)
	case openflow.LoadMasked:
		return t.writes(a.Field)
	case openflow.Load:
		return t.writes(a.Dst.Field)
	case openflow.Move:
		return t.writes(a.Dst.Field)
	case openflow.PushVLAN, openflow.PopVLAN:
		return t.need(VLAN)
	case openflow.DecTTL:
		return t.need(TTL)
	case openflow.SetQueue:
		return t.need(Limit)
	case openflow.Conjunction:
		return t.need(Conjoin)
	case openflow.CTClear:
		return t.need(Track)
	case openflow.CheckPktLarger:
		if err := t.need(CheckSize); err != nil {
			return err
		}
		return t.writes(a.Dst.Field)
	case openflow.Sample:
		return t.need(SampleKind)
	case openflow.NAT:
		return nil // inside ct()
	case openflow.Resubmit:
		if err := t.need(Again); err != nil {
			return err
		}
		return t.checkNext("resubmit", t.Back, p, TableID(a.Table))
	case openflow.CT:
		if err := t.need(Track); err != nil {
			return err
		}
		if a.Table != openflow.CTNoTable {
			if err := t.checkNext("ct", t.Next, p, TableID(a.Table)); err != nil {
				return err
			}
		}
		return t.checkActions(p, a.Actions)
	case openflow.Clone:
		if err := t.need(Copy); err != nil {
			return err
		}
		return t.checkActions(p, a.Actions)
	}
	return fmt.Errorf("action %T: %w", a, ErrUndeclared)
}

func (t *Table) writes(f *openflow.Field) error {
	if t.Kinds&Set == 0 && t.Kinds&CheckSize == 0 || !t.sets[f] {
		return fmt.Errorf("write to %s: %w", f.Name, ErrUndeclared)
	}
	return nil
}
