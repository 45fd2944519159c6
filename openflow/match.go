// SPDX-License-Identifier: Apache-2.0

package openflow

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

var be = binary.BigEndian

// appendTLVHeader writes the OXM header (OpenFlow 1.3.5 section 7.2.3.2) for a
// body of n value bytes, plus as many mask bytes if masked.
func appendTLVHeader(dst []byte, id ID, n int, masked bool) []byte {
	var hm byte
	if masked {
		hm, n = 1, 2*n
	}
	if id.Class == ClassExperimenter {
		dst = append(dst, 0xff, 0xff, id.Num<<1|hm, byte(n+4))
		return be.AppendUint32(dst, id.Exp)
	}
	return append(dst, byte(id.Class>>8), byte(id.Class), id.Num<<1|hm, byte(n))
}

// AppendField appends one match TLV for f. A nil mask means an exact match.
// value and mask are big-endian and normally f.Bytes long; shorter ones are
// extended with zero bytes on the left, longer ones lose their left bytes.
// A field of variable length takes value as it is, up to 124 bytes.
// The switch wants prerequisites first; CanonicalMatch sorts.
func AppendField(dst []byte, f *Field, value, mask []byte) []byte {
	n := f.Bytes
	if n == 0 {
		n = min(len(value), 124)
	}
	dst = appendTLVHeader(dst, f.Wire(), n, mask != nil)
	dst = appendFit(dst, value, n)
	if mask != nil {
		dst = appendFit(dst, mask, n)
	}
	return dst
}

func appendFit(dst, b []byte, n int) []byte {
	for range n - len(b) {
		dst = append(dst, 0)
	}
	return append(dst, b[max(0, len(b)-n):]...)
}

// AppendUint appends an exact match of f with v in its lowest bits.
func AppendUint(dst []byte, f *Field, v uint64) []byte {
	dst = appendTLVHeader(dst, f.Wire(), uintLen(f), false)
	return appendUintN(dst, v, uintLen(f))
}

// AppendUintMask appends a masked match of f; bits of the field above the
// lowest 64 are not matched.
func AppendUintMask(dst []byte, f *Field, v, mask uint64) []byte {
	dst = appendTLVHeader(dst, f.Wire(), uintLen(f), true)
	dst = appendUintN(dst, v, uintLen(f))
	return appendUintN(dst, mask, uintLen(f))
}

func uintLen(f *Field) int {
	if f.Bytes == 0 {
		return 8
	}
	return f.Bytes
}

func appendUintN(dst []byte, v uint64, n int) []byte {
	for i := n - 1; i >= 0; i-- {
		var b byte
		if i < 8 {
			b = byte(v >> (8 * i))
		}
		dst = append(dst, b)
	}
	return dst
}

// AppendMAC appends an exact match of an Ethernet address.
func AppendMAC(dst []byte, f *Field, mac [6]byte) []byte {
	dst = appendTLVHeader(dst, f.Wire(), 6, false)
	return append(dst, mac[:]...)
}

// AppendAddr appends an exact match of an IPv4 or IPv6 address; f must be a
// field of that family.
func AppendAddr(dst []byte, f *Field, a netip.Addr) []byte {
	return AppendField(dst, f, addrBytes(a), nil)
}

// AppendPrefix appends a match of an address prefix: nothing for length 0, an
// exact match for a full-length prefix. Bits behind the prefix are cleared.
func AppendPrefix(dst []byte, f *Field, p netip.Prefix) []byte {
	if p.Bits() <= 0 {
		return dst
	}
	if p.IsSingleIP() {
		return AppendAddr(dst, f, p.Addr())
	}
	var m [16]byte
	for i := range p.Bits() {
		m[i/8] |= 0x80 >> (i % 8)
	}
	a := addrBytes(p.Masked().Addr())
	return AppendField(dst, f, a, m[:len(a)])
}

func addrBytes(a netip.Addr) []byte {
	if a.Is4In6() {
		a = a.Unmap()
	}
	return a.AsSlice()
}

// TLV is one field of a match. Its slices point into the decoded buffer.
type TLV struct {
	ID    ID
	Field *Field // nil if not in the registry
	Value []byte
	Mask  []byte // nil for an exact match
	Raw   []byte // the whole TLV
}

// Uint is the value as a number (its lowest 64 bits).
func (t TLV) Uint() uint64 { return beUint(t.Value) }

// MaskUint is the mask as a number; all ones for an exact match.
func (t TLV) MaskUint() uint64 {
	if t.Mask == nil {
		return ^uint64(0)
	}
	return beUint(t.Mask)
}

// Addr is the value as an address; invalid unless 4 or 16 bytes long.
func (t TLV) Addr() netip.Addr {
	a, _ := netip.AddrFromSlice(t.Value)
	return a
}

func beUint(b []byte) uint64 {
	var v uint64
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v
}

// NextTLV splits the first TLV off match bytes. A known field with a length
// that is not its own is an error; an unknown one is returned with Field nil.
func NextTLV(b []byte) (t TLV, rest []byte, err error) {
	if len(b) < 4 {
		return t, nil, formatErr("match field header", 0, ErrTruncated)
	}
	t.ID = ID{Class: be.Uint16(b), Num: b[2] >> 1}
	masked, n := b[2]&1 != 0, int(b[3])
	if len(b) < 4+n {
		return t, nil, formatErr(t.ID.String(), 0, ErrTruncated)
	}
	body := b[4 : 4+n : 4+n]
	if t.ID.Class == ClassExperimenter {
		if n < 4 {
			return t, nil, formatErr(t.ID.String(), 0, ErrLength)
		}
		t.ID.Exp = be.Uint32(body)
		body = body[4:]
	}
	t.Raw = b[: 4+n : 4+n]
	if masked {
		if len(body)%2 != 0 {
			return t, nil, formatErr(t.ID.String(), 0, ErrLength)
		}
		t.Value, t.Mask = body[:len(body)/2:len(body)/2], body[len(body)/2:]
	} else {
		t.Value = body
	}
	if t.Field = FieldByID(t.ID); t.Field != nil {
		want := t.Field.Bytes
		if len(t.Value) != want && (want != 0 || len(t.Value) == 0 || len(t.Value) > 124) {
			return t, nil, formatErr(t.Field.Name, 0, ErrLength)
		}
	}
	return t, b[4+n:], nil
}

func (id ID) String() string {
	if id.Exp != 0 {
		return fmt.Sprintf("match field %#06x/%d/%#x", id.Class, id.Num, id.Exp)
	}
	return fmt.Sprintf("match field %#06x/%d", id.Class, id.Num)
}

// TLVs iterates over the fields of a match. On malformed bytes it yields the
// error once and stops.
func TLVs(match []byte) func(yield func(TLV, error) bool) {
	return func(yield func(TLV, error) bool) {
		for b := match; len(b) > 0; {
			t, rest, err := NextTLV(b)
			if err != nil {
				err.(*FormatError).Offset = len(match) - len(b)
				yield(TLV{}, err)
				return
			}
			if !yield(t, nil) {
				return
			}
			b = rest
		}
	}
}
