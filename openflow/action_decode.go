// SPDX-License-Identifier: Apache-2.0

package openflow

import "bytes"

// maxDepth bounds actions inside actions (ct, clone). Deeper ones stay Raw.
const maxDepth = 16

// DecodeActions decodes a list of actions. What has no type here, or would not
// encode again to the same bytes, comes back as Raw, so AppendActions of the
// result always equals b. The result shares memory with b. An error means that
// the list itself is malformed (length not a multiple of 8, or too long).
func DecodeActions(b []byte) ([]Action, error) {
	as, err := decodeActions(b, 0, true)
	return as, err
}

func decodeActions(b []byte, depth int, strict bool) ([]Action, error) {
	var out []Action
	for ofs := 0; ofs < len(b); {
		raw, err := nextAction(b, ofs)
		if err != nil {
			return nil, err
		}
		ofs += len(raw)
		out = append(out, decodeAction(raw, depth, strict))
	}
	return out, nil
}

// nextAction cuts out the action at ofs by its length field.
func nextAction(b []byte, ofs int) ([]byte, error) {
	p := b[ofs:]
	if len(p) < 8 {
		return nil, formatErr("action header", ofs, ErrTruncated)
	}
	n := int(be.Uint16(p[2:]))
	switch {
	case n < 8 || n%8 != 0:
		return nil, formatErr("action", ofs, ErrLength)
	case n > len(p):
		return nil, formatErr("action", ofs, ErrTruncated)
	}
	return p[:n:n], nil
}

// decodeAction decodes one action; raw has the right length. With strict it
// returns a typed action only if that encodes to the same bytes; without, also
// if aliases and paddings differ, which canonical forms want.
func decodeAction(raw []byte, depth int, strict bool) Action {
	var a Action
	var ok bool
	if be.Uint16(raw) == actExperimenter {
		if be.Uint32(raw[4:]) != ExperimenterNicira || len(raw) < 16 {
			return Raw(raw)
		}
		a, ok = decodeNicira(raw, depth, strict)
	} else {
		a, ok = decodeStandard(raw)
	}
	if !ok {
		return Raw(raw)
	}
	if strict && !bytes.Equal(a.AppendTo(make([]byte, 0, len(raw))), raw) {
		return Raw(raw)
	}
	return a
}

func decodeStandard(b []byte) (Action, bool) {
	typ, arg := be.Uint16(b), be.Uint32(b[4:])
	switch typ {
	case actOutput:
		if len(b) != 16 {
			return nil, false
		}
		return Output{arg, be.Uint16(b[8:])}, true
	case actSetField:
		t, _, err := NextTLV(b[4:])
		if err != nil || t.Field == nil || t.Mask != nil {
			return nil, false
		}
		return SetField{t.Field, t.Value}, true
	}
	if len(b) != 8 {
		return nil, false
	}
	switch typ {
	case actGroup:
		return Group{arg}, true
	case actSetQueue:
		return SetQueue{arg}, true
	case actPushVLAN:
		return PushVLAN{uint16(arg >> 16)}, true
	case actPopVLAN:
		return PopVLAN{}, true
	case actPushMPLS:
		return PushMPLS{uint16(arg >> 16)}, true
	case actPopMPLS:
		return PopMPLS{uint16(arg >> 16)}, true
	case actSetTTL:
		return SetTTL{uint8(arg >> 24)}, true
	case actDecTTL:
		return DecTTL{}, true
	}
	return nil, false
}

// fieldHeader reads a field named by its OXM header; nil if unknown, masked or cut.
func fieldHeader(b []byte) (*Field, []byte) {
	if len(b) < 4 || b[2]&1 != 0 {
		return nil, b
	}
	id, n := ID{Class: be.Uint16(b), Num: b[2] >> 1}, 4
	if id.Class == ClassExperimenter {
		if len(b) < 8 {
			return nil, b
		}
		id.Exp, n = be.Uint32(b[4:]), 8
	}
	return FieldByID(id), b[n:]
}

func (s Subfield) ok() bool { return s.fits() }

func decodeNicira(b []byte, depth int, strict bool) (Action, bool) {
	// b has at least 16 bytes; arg is what follows the subtype.
	sub, arg := be.Uint16(b[8:]), b[10:]
	u16 := be.Uint16(arg)
	switch sub {
	case nxMove:
		m := Move{Src: Subfield{Ofs: be.Uint16(arg[2:]), Bits: u16}, Dst: Subfield{Ofs: be.Uint16(arg[4:]), Bits: u16}}
		var p []byte
		if m.Src.Field, p = fieldHeader(arg[6:]); m.Src.Field != nil {
			m.Dst.Field, p = fieldHeader(p)
		}
		return m, m.Src.ok() && m.Dst.ok() && len(p) < 8
	case nxLoad:
		if len(b) != 24 {
			return nil, false
		}
		f, _ := fieldHeader(arg[2:])
		l := Load{Subfield{f, u16 >> 6, u16&0x3f + 1}, be.Uint64(b[16:])}
		return l, l.Dst.ok()
	case nxLoad2:
		t, p, err := NextTLV(arg)
		if err != nil || t.Field == nil {
			return nil, false
		}
		return LoadMasked{t.Field, t.Value, t.Mask}, len(p) < 8
	case nxOutputReg:
		f, p := fieldHeader(arg[2:])
		if f == nil || len(b) != 24 || len(p) < 2 {
			return nil, false
		}
		o := OutputReg{Subfield{f, u16 >> 6, u16&0x3f + 1}, be.Uint16(p)}
		return o, o.Src.ok()
	case nxPush, nxPop:
		f, p := fieldHeader(arg[2:])
		if f == nil || len(b) != 24 || len(p) < 2 {
			return nil, false
		}
		s := Subfield{f, u16, be.Uint16(p)}
		if sub == nxPush {
			return Push{s}, s.ok()
		}
		return Pop{s}, s.ok()
	case nxCheckPktLarger:
		f, _ := fieldHeader(arg[4:])
		c := CheckPktLarger{u16, Subfield{f, be.Uint16(arg[2:]), 1}}
		return c, len(b) == 24 && c.Dst.ok()
	case nxResubmitTable, nxResubmitCT:
		return Resubmit{u16, arg[2], sub == nxResubmitCT}, len(b) == 16
	case nxController:
		return Controller{u16, be.Uint16(arg[2:]), arg[4]}, len(b) == 16
	case nxController2:
		return decodeController2(b[16:])
	case nxConjunction:
		return Conjunction{be.Uint32(arg[2:]), arg[0] + 1, arg[1]}, len(b) == 16
	case nxNote:
		return Note{arg}, true
	case nxExit:
		return Exit{}, len(b) == 16
	case nxCTClear:
		return CTClear{}, len(b) == 16
	case nxSample:
		if len(b) != 24 {
			return nil, false
		}
		return Sample{1, u16, be.Uint32(b[12:]), be.Uint32(b[16:]), be.Uint32(b[20:]), 0, 0}, true
	case nxSample2, nxSample3:
		if len(b) != 32 {
			return nil, false
		}
		form := uint8(2)
		if sub == nxSample3 {
			form = 3
		}
		return Sample{form, u16, be.Uint32(b[12:]), be.Uint32(b[16:]), be.Uint32(b[20:]), be.Uint16(b[24:]), b[26]}, true
	case nxNAT:
		return decodeNAT(b)
	case nxLearn, nxLearn2:
		return decodeLearn(b, sub == nxLearn2)
	case nxClone:
		if depth >= maxDepth {
			return nil, false
		}
		as, err := decodeActions(b[16:], depth+1, strict)
		return Clone{as}, err == nil
	case nxCT:
		return decodeCT(b, depth, strict)
	}
	return nil, false
}

func decodeCT(b []byte, depth int, strict bool) (Action, bool) {
	if len(b) < 24 || depth >= maxDepth {
		return nil, false
	}
	c := CT{Flags: be.Uint16(b[10:]), Table: b[18], ALG: be.Uint16(b[22:])}
	if z := be.Uint16(b[16:]); be.Uint32(b[12:]) == 0 {
		c.Zone = z
	} else {
		f, _ := fieldHeader(b[12:16])
		if c.ZoneFrom = (Subfield{f, z >> 6, z&0x3f + 1}); !c.ZoneFrom.ok() {
			return nil, false
		}
	}
	var err error
	c.Actions, err = decodeActions(b[24:], depth+1, strict)
	return c, err == nil
}

func decodeController2(p []byte) (Action, bool) {
	a := Controller2{MaxLen: MaxLenNoBuffer, Reason: ReasonAction}
	for len(p) > 0 {
		if len(p) < 8 {
			return nil, false
		}
		typ, n := be.Uint16(p), int(be.Uint16(p[2:]))
		padded := (n + 7) / 8 * 8
		if n < 4 || padded > len(p) {
			return nil, false
		}
		v := p[4:n:n]
		p = p[padded:]
		switch {
		case typ == 0 && len(v) >= 2:
			if a.MaxLen = be.Uint16(v); a.MaxLen == 0 {
				return nil, false // "none at all" has no form in the struct
			}
		case typ == 1 && len(v) >= 2:
			a.ID = be.Uint16(v)
		case typ == 2 && len(v) >= 1:
			if a.Reason = v[0]; a.Reason == 0 {
				return nil, false // nor has the reason "no match"
			}
		case typ == 3:
			a.Userdata = v
		case typ == 4:
			a.Pause = true
		case typ == 5 && len(v) >= 4:
			a.MeterID = be.Uint32(v)
		default:
			return nil, false
		}
	}
	return a, true
}
