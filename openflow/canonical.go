// SPDX-License-Identifier: Apache-2.0

package openflow

import (
	"bytes"
	"slices"
)

// entry is one field of a match on its way to canonical form.
type entry struct {
	order int
	id    ID
	field *Field
	value []byte
	mask  []byte
}

// unknownOrder sorts fields outside the registry behind all others.
const unknownOrder = 1 << 20

// CanonicalMatch returns the one form of a match that everything equal to it
// maps to: the bytes Open vSwitch would dump, sorted as the registry is.
// Aliases get their OpenFlow 1.3 number, xreg and xxreg are split into
// registers, vlan_tci into vlan_vid and vlan_pcp; value bits outside the mask
// are cleared, full masks dropped, fields that match everything removed.
// A field given twice is an error (ErrDuplicate), as it is to the switch.
func CanonicalMatch(match []byte) ([]byte, error) {
	return AppendCanonicalMatch(make([]byte, 0, len(match)), match)
}

// AppendCanonicalMatch is CanonicalMatch into a caller's buffer, which must not
// overlap match.
func AppendCanonicalMatch(dst, match []byte) ([]byte, error) {
	var buf [24]entry
	es := buf[:0]
	for b := match; len(b) > 0; {
		t, rest, err := NextTLV(b)
		if err != nil {
			err.(*FormatError).Offset = len(match) - len(b)
			return dst, err
		}
		es = expand(es, t)
		b = rest
	}
	slices.SortStableFunc(es, cmpEntry)
	for i, e := range es {
		if i > 0 && cmpEntry(es[i-1], e) == 0 {
			return dst, formatErr(e.id.String(), 0, ErrDuplicate)
		}
		dst = e.appendTo(dst)
	}
	return dst, nil
}

func cmpEntry(a, b entry) int {
	if a.order != b.order || a.order != unknownOrder {
		return a.order - b.order
	}
	if a.id.Class != b.id.Class {
		return int(a.id.Class) - int(b.id.Class)
	}
	if a.id.Num != b.id.Num {
		return int(a.id.Num) - int(b.id.Num)
	}
	switch {
	case a.id.Exp < b.id.Exp:
		return -1
	case a.id.Exp > b.id.Exp:
		return 1
	}
	return 0
}

// expand turns a TLV into entries of fields that Open vSwitch dumps.
func expand(es []entry, t TLV) []entry {
	f := t.Field
	if f == nil {
		return append(es, entry{unknownOrder, t.ID, nil, t.Value, t.Mask})
	}
	switch {
	case f == FieldPacketType && t.Mask == nil && t.Uint() == 0:
		return es // Ethernet, what a bridge assumes anyway
	case f == FieldInPort16 && fullMask(f, t.Mask):
		return add(es, FieldInPort, be.AppendUint32(nil, port32(be.Uint16(t.Value))), nil)
	case f == FieldIPTOS && fullMask(f, t.Mask):
		return add(es, FieldIPDSCP, []byte{t.Value[0] >> 2}, nil)
	case f == FieldVLANTCI:
		return expandTCI(es, t)
	}
	if n := regParts(f); n > 0 {
		base := 0
		if f.Bits == 64 {
			base = 2 * int(f.oxm.Num)
		} else {
			base = 4 * int(f.nxm.Num-111)
		}
		for i := range n {
			var m []byte
			if t.Mask != nil {
				m = t.Mask[4*i : 4*i+4]
			}
			es = add(es, Reg(base+i), t.Value[4*i:4*i+4], m)
		}
		return es
	}
	return add(es, f, t.Value, t.Mask)
}

// regParts is the number of 32-bit registers f consists of, 0 if it is none.
func regParts(f *Field) int {
	switch {
	case f.oxm.Class == ClassPacketReg:
		return 2
	case f.nxm.Class == ClassNXM1 && f.nxm.Num >= 111 && f.nxm.Num < 115:
		return 4
	}
	return 0
}

// expandTCI splits the Nicira vlan_tci (pcp 3, present 1, vid 12 bits). A mask
// of only some pcp bits has no OpenFlow 1.3 form: Open vSwitch then dumps the
// pcp as if matched in full, and so do we.
func expandTCI(es []entry, t TLV) []entry {
	v, m := be.Uint16(t.Value), uint16(0xffff)
	if t.Mask != nil {
		m = be.Uint16(t.Mask)
	}
	v &= m
	if m&0x1fff != 0 {
		es = add(es, FieldVLANVID, be.AppendUint16(nil, v&0x1fff), be.AppendUint16(nil, m&0x1fff))
	}
	if v&0x1fff != 0 && m>>13 != 0 {
		es = add(es, FieldVLANPCP, []byte{byte(v >> 13)}, nil)
	}
	return es
}

// port32 widens an OpenFlow 1.0 port number: reserved ones move to the top.
func port32(p uint16) uint32 {
	if p >= 0xff00 {
		return 0xffff0000 | uint32(p)
	}
	return uint32(p)
}

func add(es []entry, f *Field, value, mask []byte) []entry {
	if mask != nil {
		if fullMask(f, mask) {
			mask = nil
		} else if emptyMask(f, mask) {
			return es
		}
	}
	return append(es, entry{f.order, f.Wire(), f, value, mask})
}

// sigMask is the part of byte i of an n-byte field of bits significant bits
// that counts.
func sigMask(f *Field, i, n int) byte {
	top := 8 * (n - 1 - i) // number of the byte's lowest bit
	switch {
	case f.Bytes == 0 || f.Bits >= top+8:
		return 0xff
	case f.Bits <= top:
		return 0
	}
	return byte(1<<(f.Bits-top)) - 1
}

func fullMask(f *Field, m []byte) bool {
	for i, b := range m {
		if s := sigMask(f, i, len(m)); b&s != s {
			return false
		}
	}
	return true
}

func emptyMask(f *Field, m []byte) bool {
	for i, b := range m {
		if b&sigMask(f, i, len(m)) != 0 {
			return false
		}
	}
	return true
}

func (e entry) appendTo(dst []byte) []byte {
	dst = appendTLVHeader(dst, e.id, len(e.value), e.mask != nil)
	if e.mask == nil {
		return append(dst, e.value...)
	}
	sig := func(i int) byte {
		if e.field == nil {
			return 0xff
		}
		return sigMask(e.field, i, len(e.mask))
	}
	for i, b := range e.value {
		dst = append(dst, b&e.mask[i]&sig(i))
	}
	for i, b := range e.mask {
		dst = append(dst, b&sig(i))
	}
	return dst
}

// EqualMatch reports whether two matches select the same packets as far as the
// switch's own normal form tells. Malformed matches are equal only byte by byte.
func EqualMatch(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	ca, errA := CanonicalMatch(a)
	cb, errB := CanonicalMatch(b)
	return errA == nil && errB == nil && bytes.Equal(ca, cb)
}
