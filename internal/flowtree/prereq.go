// SPDX-License-Identifier: Apache-2.0

package flowtree

import (
	"fmt"

	"nagare/internal/flow"
	"nagare/openflow"
)

// do holds an action against what is known of the packets that it gets, as a switch does when it takes a flow, and notes what it
// changes. It gives what is missing, or "".
func (s *scene) do(a openflow.Action) string {
	field := func(f *openflow.Field) string {
		if f == nil || s.has(f.Prereq) {
			return ""
		}
		return fmt.Sprintf("%s needs %s in the match", f.Name, needs[f.Prereq])
	}
	first := func(texts ...string) string {
		for _, t := range texts {
			if t != "" {
				return t
			}
		}
		return ""
	}
	switch a := a.(type) {
	case openflow.SetField:
		if a.Field == openflow.FieldVLANVID && s.tags == 0 {
			return "a VLAN id is set on tagged packets: match vlan-id with vlan-id-present, or push-vlan-action before"
		}
		return field(a.Field)
	case openflow.Load:
		return field(a.Dst.Field)
	case openflow.LoadMasked:
		return field(a.Field)
	case openflow.Move:
		return first(field(a.Src.Field), field(a.Dst.Field))
	case openflow.SetTTL, openflow.DecTTL:
		return first(field(openflow.FieldIPTTL))
	case openflow.PushVLAN:
		if s.tags == maxTags {
			return "a packet has no more than two tags"
		}
		s.tags++
	case openflow.PopVLAN:
		if s.tags == 0 {
			return "a tag is taken from tagged packets: match vlan-id with vlan-id-present, or push-vlan-action before"
		}
		s.tags--
	case openflow.PushMPLS:
		s.eth, s.proto = int(a.EtherType)+1, 0
	case openflow.PopMPLS:
		if !s.has(openflow.PreMPLS) {
			return "a label is taken from packets that have one: needs " + needs[openflow.PreMPLS] + ", or push-mpls-action before"
		}
		s.eth, s.proto = int(a.EtherType)+1, 0
	case openflow.CT:
		if !s.has(openflow.PreIP) {
			return "connections are tracked of IP: needs " + needs[openflow.PreIP]
		}
		s.tracked = true
		return s.all(a.Actions)
	case openflow.Clone:
		inner := *s // a copy of the packet is changed
		return inner.all(a.Actions)
	}
	return ""
}

func (s *scene) all(as []openflow.Action) string {
	for _, a := range as {
		if raw, ok := a.(openflow.Raw); ok {
			more, err := openflow.DecodeActions(raw)
			if err != nil {
				return err.Error()
			}
			if len(more) == 1 {
				if _, still := more[0].(openflow.Raw); still {
					continue
				}
			}
			if why := s.all(more); why != "" {
				return why
			}
			continue
		}
		if why := s.do(a); why != "" {
			return why
		}
	}
	return ""
}

// maxTags is how many VLAN tags of a packet Open vSwitch knows.
const maxTags = 2

// sceneOf is what a match says.
func sceneOf(m flow.Match) *scene {
	s := &scene{}
	for t := range m.Fields() {
		s.note(t)
	}
	return s
}
