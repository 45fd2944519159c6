// SPDX-License-Identifier: Apache-2.0

package oftest

import (
	"errors"

	of "nagare/openflow"
)

// Codes of errors (OpenFlow 1.3.5 section 7.4.4) by their type.
const (
	badType           = 1 // bad request
	badMultipart      = 2
	badVendor         = 3
	badSubtype        = 4
	badLen            = 6
	badTableID        = 9
	isSecondary       = 10
	badActionLen      = 1 // bad action
	badOutPort        = 4
	badOutGroup       = 9
	matchInconsistent = 10
	badInstTable      = 2
	badInstLen        = 7 // bad instruction
	badMatchLen       = 1 // bad match
	badWildcards      = 5
	badField          = 6
	badPrereq         = 9
	dupField          = 10
	badTable          = 2 // flow mod
	overlap           = 3
	badFlowCommand    = 6
	groupExists       = 0 // group mod
	invalidGroup      = 1
	groupLoop         = 7
	unknownGroup      = 8
	badGroupType      = 10
	badGroupCommand   = 11
	meterExists       = 1 // meter mod
	invalidMeter      = 2
	unknownMeter      = 3
	badMeterCommand   = 4
	badBand           = 8
	staleRole         = 0 // role request
	badRole           = 2

	bundleBadID     = 2302 // ONF
	bundleClosed    = 2304
	bundleTooMany   = 2305
	bundleBadType   = 2306
	bundleBadFlags  = 2307
	bundleMsgUnsup  = 2310
	bundleMsgMany   = 2312
	bundleMsgFailed = 2313
)

func fail(typ, code uint16) *of.Error { return &of.Error{Type: typ, Code: code} }

func failONF(code uint16) *of.Error {
	return &of.Error{Type: of.ErrTypeExperimenter, Code: code, Experimenter: of.ExperimenterONF}
}

func matchError(err error) *of.Error {
	if errors.Is(err, of.ErrDuplicate) {
		return fail(of.ErrTypeBadMatch, dupField)
	}
	return fail(of.ErrTypeBadMatch, badMatchLen)
}

// facts is what a match says about the kind of packet.
type facts struct {
	eth, proto, vlan, icmp6 uint64
	tracked                 bool
}

// met reports whether a packet of that kind has the field.
func (p facts) met(pre of.Prereq) bool {
	ip := p.eth == 0x0800 || p.eth == 0x86dd
	switch pre {
	case of.PreVLAN:
		return p.vlan&0x1000 != 0
	case of.PreMPLS:
		return p.eth == 0x8847 || p.eth == 0x8848
	case of.PreARP:
		return p.eth == 0x0806 || p.eth == 0x8035
	case of.PreIPv4:
		return p.eth == 0x0800
	case of.PreIPv6:
		return p.eth == 0x86dd
	case of.PreIP:
		return ip
	case of.PreTCP:
		return ip && p.proto == 6
	case of.PreUDP:
		return ip && p.proto == 17
	case of.PreSCTP:
		return ip && p.proto == 132
	case of.PreICMPv4:
		return p.eth == 0x0800 && p.proto == 1
	case of.PreICMPv6:
		return p.eth == 0x86dd && p.proto == 58
	case of.PreND:
		return p.icmp6 == 135 || p.icmp6 == 136
	case of.PreNDSolicit:
		return p.icmp6 == 135
	case of.PreNDAdvert:
		return p.icmp6 == 136
	case of.PreCT:
		return p.tracked
	case of.PreNSH:
		return p.eth == 0x894f
	}
	return true
}

func (p *facts) learn(t of.TLV) {
	switch t.Field {
	case of.FieldEthType:
		p.eth = t.Uint()
	case of.FieldIPProto:
		p.proto = t.Uint()
	case of.FieldVLANVID, of.FieldVLANTCI:
		p.vlan = t.Uint()
	case of.FieldICMPv6Type:
		p.icmp6 = t.Uint()
	case of.FieldCTState:
		p.tracked = true
	}
}

// checkMatch checks the prerequisites in the order of the wire, as the switch
// does (OpenFlow 1.3.5 section 7.2.3.8).
func checkMatch(match []byte) (p facts, bad *of.Error) {
	for t, err := range of.TLVs(match) {
		if err != nil {
			return p, matchError(err)
		}
		if t.Field == nil {
			return p, fail(of.ErrTypeBadMatch, badField)
		}
		for i, m := range t.Mask {
			if t.Value[i]&^m != 0 {
				return p, fail(of.ErrTypeBadMatch, badWildcards)
			}
		}
		if !p.met(t.Field.Prereq) {
			return p, fail(of.ErrTypeBadMatch, badPrereq)
		}
		p.learn(t)
	}
	return p, nil
}

// checkInstructions checks what can be told from the message alone.
func checkInstructions(inst []byte, table uint8, p facts) *of.Error {
	is, err := of.DecodeInstructions(inst)
	if err != nil {
		return fail(of.ErrTypeBadInstruction, badInstLen)
	}
	var bad *of.Error
	eachAction(inst, func(a of.Action) {
		if e := checkAction(a, &p); e != nil && bad == nil {
			bad = e
		}
	})
	if bad != nil {
		return bad
	}
	for _, i := range is {
		if g, ok := i.(of.GotoTable); ok && table != of.TableAll && g.Table <= table {
			return fail(of.ErrTypeBadInstruction, badInstTable)
		}
	}
	return nil
}

// checkAction checks that the packets of the match have what the action needs;
// a nil p leaves that out, as the switch does for group buckets.
func checkAction(a of.Action, p *facts) *of.Error {
	need := func(fs ...*of.Field) *of.Error {
		for _, f := range fs {
			// push_vlan and pop_vlan before may have changed this one.
			if p != nil && f.Prereq != of.PreVLAN && !p.met(f.Prereq) {
				return fail(of.ErrTypeBadAction, matchInconsistent)
			}
		}
		return nil
	}
	switch a := a.(type) {
	case of.Output:
		if a.Port == 0 || a.Port > of.PortMax && a.Port < of.PortInPort || a.Port == of.PortAny {
			return fail(of.ErrTypeBadAction, badOutPort)
		}
	case of.CT, of.DecTTL, of.SetTTL:
		if p != nil && !p.met(of.PreIP) {
			return fail(of.ErrTypeBadAction, matchInconsistent)
		}
	case of.SetField:
		return need(a.Field)
	case of.Load:
		return need(a.Dst.Field)
	case of.LoadMasked:
		return need(a.Field)
	case of.Move:
		return need(a.Src.Field, a.Dst.Field)
	}
	return nil
}

// checkReferences checks that groups and meters exist. The switch does so only
// when a flow is really added or changed.
func (x *tx) checkReferences(inst []byte) *of.Error {
	is, err := of.DecodeInstructions(inst)
	if err != nil {
		return fail(of.ErrTypeBadInstruction, badInstLen)
	}
	for _, i := range is {
		if m, ok := i.(of.Meter); ok {
			if _, ok := x.t.meters[m.ID]; !ok {
				return fail(of.ErrTypeMeterModFailed, invalidMeter)
			}
		}
	}
	var bad *of.Error
	eachAction(inst, func(a of.Action) {
		if g, ok := a.(of.Group); ok && bad == nil {
			if _, ok := x.t.groups[g.ID]; !ok {
				bad = fail(of.ErrTypeBadAction, badOutGroup)
			}
		}
	})
	return bad
}

// fields is a parsed canonical match.
type fields []of.TLV

func parse(match string) fields {
	var out fields
	for t, err := range of.TLVs([]byte(match)) {
		if err != nil {
			return nil
		}
		out = append(out, t)
	}
	return out
}

func find(fs fields, id of.ID) *of.TLV {
	for i := range fs {
		if fs[i].ID == id {
			return &fs[i]
		}
	}
	return nil
}

func maskAt(t *of.TLV, i int) byte {
	if t.Mask == nil {
		return 0xff
	}
	return t.Mask[i]
}

// covers reports whether every packet of match also matches fs.
func (fs fields) covers(match string) bool {
	if len(fs) == 0 {
		return true
	}
	other := parse(match)
	for i := range fs {
		want := &fs[i]
		have := find(other, want.ID)
		if have == nil || len(have.Value) != len(want.Value) {
			return false
		}
		for j := range want.Value {
			m := maskAt(want, j)
			if maskAt(have, j)&m != m || (have.Value[j]^want.Value[j])&m != 0 {
				return false
			}
		}
	}
	return true
}

// overlaps reports whether a flow of the same table and priority can match a
// packet that k also matches.
func (t *tables) overlaps(k flowKey) bool {
	mine := parse(k.match)
	for o := range t.flows {
		if o.table == k.table && o.prio == k.prio && o.match != k.match && !disjoint(mine, parse(o.match)) {
			return true
		}
	}
	return false
}

func disjoint(a, b fields) bool {
	for i := range a {
		o := find(b, a[i].ID)
		if o == nil || len(o.Value) != len(a[i].Value) {
			continue
		}
		for j := range a[i].Value {
			if (a[i].Value[j]^o.Value[j])&maskAt(&a[i], j)&maskAt(o, j) != 0 {
				return true
			}
		}
	}
	return false
}
