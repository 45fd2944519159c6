// SPDX-License-Identifier: Apache-2.0

package openflow

import (
	"bytes"
	"slices"
)

// Numbers of the instructions (OpenFlow 1.3.5 section 7.2.4).
const (
	InstGotoTable     uint16 = 1
	InstWriteMetadata uint16 = 2
	InstWriteActions  uint16 = 3
	InstApplyActions  uint16 = 4
	InstClearActions  uint16 = 5
	InstMeter         uint16 = 6
)

// Instruction is one OpenFlow instruction.
type Instruction interface {
	AppendTo(dst []byte) []byte
	instruction()
}

type (
	// GotoTable continues in a later table.
	GotoTable struct{ Table uint8 }
	// WriteMetadata sets the bits of Mask in the metadata register.
	WriteMetadata struct{ Value, Mask uint64 }
	// WriteActions merges actions into the action set.
	WriteActions struct{ Actions []Action }
	// ApplyActions runs actions at once, in order.
	ApplyActions struct{ Actions []Action }
	// ClearActions empties the action set.
	ClearActions struct{}
	// Meter sends the packet through a meter first.
	Meter struct{ ID uint32 }
	// RawInstruction is any other instruction, byte for byte.
	RawInstruction []byte
)

func (GotoTable) instruction()      {}
func (WriteMetadata) instruction()  {}
func (WriteActions) instruction()   {}
func (ApplyActions) instruction()   {}
func (ClearActions) instruction()   {}
func (Meter) instruction()          {}
func (RawInstruction) instruction() {}

func (i GotoTable) AppendTo(dst []byte) []byte {
	return append(dst, 0, byte(InstGotoTable), 0, 8, i.Table, 0, 0, 0)
}

func (i WriteMetadata) AppendTo(dst []byte) []byte {
	dst = append(dst, 0, byte(InstWriteMetadata), 0, 24, 0, 0, 0, 0)
	dst = be.AppendUint64(dst, i.Value)
	return be.AppendUint64(dst, i.Mask)
}

func (i WriteActions) AppendTo(dst []byte) []byte {
	dst, at := OpenActions(dst, InstWriteActions)
	return CloseActions(AppendActions(dst, i.Actions...), at)
}

func (i ApplyActions) AppendTo(dst []byte) []byte {
	dst, at := OpenActions(dst, InstApplyActions)
	return CloseActions(AppendActions(dst, i.Actions...), at)
}

func (i ClearActions) AppendTo(dst []byte) []byte {
	return append(dst, 0, byte(InstClearActions), 0, 8, 0, 0, 0, 0)
}

func (i Meter) AppendTo(dst []byte) []byte { return std(dst, InstMeter, i.ID) }

func (i RawInstruction) AppendTo(dst []byte) []byte { return append(dst, i...) }

// OpenActions begins an apply, write or clear instruction; actions are appended
// behind it and CloseActions, given mark, completes it. No memory is allocated
// beyond dst, whereas ApplyActions boxes each action.
func OpenActions(dst []byte, typ uint16) (out []byte, mark int) {
	return append(dst, byte(typ>>8), byte(typ), 0, 0, 0, 0, 0, 0), len(dst)
}

// CloseActions completes what OpenActions began.
func CloseActions(dst []byte, mark int) []byte {
	be.PutUint16(dst[mark+2:], uint16(len(dst)-mark))
	return dst
}

// AppendInstructions appends instructions one after the other.
func AppendInstructions(dst []byte, is ...Instruction) []byte {
	for _, i := range is {
		dst = i.AppendTo(dst)
	}
	return dst
}

// DecodeInstructions decodes a list of instructions. Like DecodeActions it
// keeps what it does not know, so encoding the result gives b again.
func DecodeInstructions(b []byte) ([]Instruction, error) {
	var out []Instruction
	for ofs := 0; ofs < len(b); {
		raw, err := nextInstruction(b, ofs)
		if err != nil {
			return nil, err
		}
		i, err := decodeInstruction(raw)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(i.AppendTo(make([]byte, 0, len(raw))), raw) {
			i = RawInstruction(raw)
		}
		out = append(out, i)
		ofs += len(raw)
	}
	return out, nil
}

func nextInstruction(b []byte, ofs int) ([]byte, error) {
	p := b[ofs:]
	if len(p) < 4 {
		return nil, formatErr("instruction header", ofs, ErrTruncated)
	}
	n := int(be.Uint16(p[2:]))
	switch {
	case n < 8 || n%8 != 0:
		return nil, formatErr("instruction", ofs, ErrLength)
	case n > len(p):
		return nil, formatErr("instruction", ofs, ErrTruncated)
	}
	return p[:n:n], nil
}

func decodeInstruction(raw []byte) (Instruction, error) {
	switch typ := be.Uint16(raw); {
	case typ == InstGotoTable && len(raw) == 8:
		return GotoTable{raw[4]}, nil
	case typ == InstWriteMetadata && len(raw) == 24:
		return WriteMetadata{be.Uint64(raw[8:]), be.Uint64(raw[16:])}, nil
	case typ == InstApplyActions || typ == InstWriteActions:
		as, err := DecodeActions(raw[8:])
		if typ == InstApplyActions {
			return ApplyActions{as}, err
		}
		return WriteActions{as}, err
	case typ == InstClearActions && len(raw) == 8:
		return ClearActions{}, nil
	case typ == InstMeter && len(raw) == 8:
		return Meter{be.Uint32(raw[4:])}, nil
	}
	return RawInstruction(raw), nil
}

// instOrder is the order in which a switch executes and dumps instructions
// (OpenFlow 1.3.5 section 5.9).
func instOrder(typ uint16) int {
	switch typ {
	case InstMeter:
		return 0
	case InstApplyActions:
		return 1
	case InstClearActions:
		return 2
	case InstWriteActions:
		return 3
	case InstWriteMetadata:
		return 4
	case InstGotoTable:
		return 5
	}
	return 6 + int(typ)
}

// CanonicalInstructions returns the form in which Open vSwitch dumps the
// instructions: in the order of execution, without an empty apply-actions, each
// action with the field numbers the switch would use. Whether a value was set
// by set-field or by load is kept, as the switch keeps it. Two standard
// instructions of one type are an error (ErrDuplicate).
func CanonicalInstructions(b []byte) ([]byte, error) {
	return AppendCanonicalInstructions(make([]byte, 0, len(b)), b)
}

// AppendCanonicalInstructions is CanonicalInstructions into a caller's buffer,
// which must not overlap b.
func AppendCanonicalInstructions(dst, b []byte) ([]byte, error) {
	var buf [8][]byte
	list := buf[:0]
	for ofs := 0; ofs < len(b); {
		raw, err := nextInstruction(b, ofs)
		if err != nil {
			return dst, err
		}
		list = append(list, raw)
		ofs += len(raw)
	}
	slices.SortStableFunc(list, func(x, y []byte) int {
		return instOrder(be.Uint16(x)) - instOrder(be.Uint16(y))
	})
	for i, raw := range list {
		typ := be.Uint16(raw)
		if i > 0 && typ <= InstMeter && be.Uint16(list[i-1]) == typ {
			return dst, formatErr("instruction", 0, ErrDuplicate)
		}
		if typ != InstApplyActions && typ != InstWriteActions {
			dst = append(dst, raw...)
			continue
		}
		if typ == InstApplyActions && len(raw) == 8 {
			continue
		}
		var mark int
		dst, mark = OpenActions(dst, typ)
		var err error
		if dst, err = AppendCanonicalActions(dst, raw[8:]); err != nil {
			return dst, err
		}
		dst = CloseActions(dst, mark)
	}
	return dst, nil
}
