// SPDX-License-Identifier: Apache-2.0

package flow

import "nagare/openflow"

// Act is one thing that a flow, a bucket or a ct() does. It holds wire bytes;
// it is built by the functions of acts.go and put together by Do.
type Act struct {
	at   stage
	n    uint8
	buf  [32]byte // the bytes, if they fit
	long []byte   // the bytes, if they do not
}

// stage is the instruction that an Act belongs to, in the order in which a
// switch lists and executes them (OpenFlow 1.3.5 section 5.10).
type stage uint8

const (
	stageMeter stage = iota
	stageApply
	stageClear
	stageWrite
	stageMetadata
	stageGoto
	stages
)

// wire keeps b, a complete action or instruction, as an Act.
func wire(at stage, b []byte) Act {
	a := Act{at: at}
	if len(b) <= len(a.buf) {
		a.n = uint8(copy(a.buf[:], b))
	} else {
		a.long = append([]byte(nil), b...)
	}
	return a
}

func (a *Act) bytes() []byte {
	if a.long != nil {
		return a.long
	}
	return a.buf[:a.n]
}

// Do is the instruction list that does acts: all plain actions, in order, as one
// apply-actions; then goto-table and the like. Do() drops the packet. Two
// acts for one of the single-valued instructions are a mistake in the caller
// and panic.
func Do(acts ...Act) Actions {
	var buf [256]byte
	b := buf[:0]
	for s := range stages {
		start, mark, n := len(b), 0, 0
		switch s {
		case stageApply:
			b, mark = openflow.OpenActions(b, openflow.InstApplyActions)
		case stageWrite:
			b, mark = openflow.OpenActions(b, openflow.InstWriteActions)
		}
		for i := range acts {
			if acts[i].at == s {
				b = append(b, acts[i].bytes()...)
				n++
			}
		}
		switch {
		case n == 0, s == stageWrite && len(b) == start+8:
			b = b[:start]
		case s == stageApply || s == stageWrite:
			if len(b)-start > 0xffff {
				panic("actions of more than 64 KiB")
			}
			b = openflow.CloseActions(b, mark)
		case n > 1:
			panic("actions with one instruction twice")
		}
	}
	return Actions(b)
}

// WireActions returns the canonical form of an instruction list as a switch
// dumps it. It fails on malformed bytes.
func WireActions(instructions []byte) (Actions, error) {
	var buf [512]byte
	b, err := openflow.AppendCanonicalInstructions(buf[:0], instructions)
	return Actions(b), err
}

// Instructions is a as typed values; nil for bytes that are no instructions.
func (a Actions) Instructions() []openflow.Instruction {
	is, _ := openflow.DecodeInstructions([]byte(a))
	return is
}

// Action is a as an Act, for actions that have no function of their own here.
func Action(a openflow.Action) Act { return wire(stageApply, a.AppendTo(nil)) }

// list is the wire bytes of plain actions inside another action or a bucket.
// Instructions have no place there.
func list(b []byte, acts []Act) []byte {
	for i := range acts {
		if acts[i].at != stageApply {
			panic("instruction inside an action")
		}
		b = append(b, acts[i].bytes()...)
	}
	return b
}
