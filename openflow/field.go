// SPDX-License-Identifier: Apache-2.0

package openflow

import (
	"fmt"
	"strings"
)

// OXM classes (OpenFlow 1.3.5 section 7.2.3.2; the Nicira ones in ovs-fields(7)).
const (
	ClassNXM0         uint16 = 0x0000 // NXM_OF_*
	ClassNXM1         uint16 = 0x0001 // NXM_NX_*
	ClassEricsson     uint16 = 0x1000 // ERICOXM_OF_*
	ClassBasic        uint16 = 0x8000 // OXM_OF_*
	ClassPacketReg    uint16 = 0x8001 // OXM_OF_PKT_REG*
	ClassExperimenter uint16 = 0xffff
)

// Experimenter ids.
const (
	ExperimenterNicira uint32 = 0x00002320
	ExperimenterONF    uint32 = 0x4f4e4600
	ExperimenterNSH    uint32 = 0x005ad650
)

// Prereq names what a match must hold before a field may be used.
type Prereq uint8

const (
	PreNone Prereq = iota
	PreVLAN
	PreMPLS
	PreARP
	PreIPv4
	PreIPv6
	PreIP // IPv4 or IPv6
	PreTCP
	PreUDP
	PreSCTP
	PreICMPv4
	PreICMPv6
	PreND        // ICMPv6 type 135 or 136, code 0
	PreNDSolicit // type 135
	PreNDAdvert  // type 136
	PreNSH
	PreCT // ct_state with +trk
)

// ID is the number of a field on the wire: class, field number and, for class
// 0xffff, the experimenter.
type ID struct {
	Class uint16
	Num   uint8
	Exp   uint32
}

// valid reports an id that was assigned. The zero ID is NXM_OF_IN_PORT, a real
// field, hence a separate "none".
func (id ID) valid() bool { return id != noID }

var noID = ID{Class: 0xfffe}

// Field describes one match field. Fields are shared and must not be changed.
type Field struct {
	Name   string   // as ovs-ofctl prints it: "reg0", "eth_src"
	Alias  []string // other accepted names: "dl_src"
	OXM    string   // OXM symbol, empty if the field has none in OpenFlow 1.3
	NXM    string   // NXM symbol, empty if none
	Bits   int      // significant bits
	Bytes  int      // length of the value on the wire; 0 = variable (tun_metadata)
	Mask   bool     // arbitrary bitwise masks allowed
	Write  bool     // may be set by set_field, load, move
	Prereq Prereq

	oxm, nxm ID
	order    int // place in a canonical match; also index in the registry
}

// Wire is the id Open vSwitch uses for the field in matches and in set-field
// with OpenFlow 1.3: the OXM one, or NXM where no OXM exists.
func (f *Field) Wire() ID {
	if f.oxm.valid() {
		return f.oxm
	}
	return f.nxm
}

// Header is the id Open vSwitch uses where a Nicira action names a field
// (load, move, push, learn, ct zone, ...): the NXM one, else OXM.
func (f *Field) Header() ID {
	if f.nxm.valid() {
		return f.nxm
	}
	return f.oxm
}

func (f *Field) String() string { return f.Name }

// All is the whole field as a subfield.
func (f *Field) All() Subfield { return Subfield{Field: f, Bits: uint16(f.Bits)} }

// Range is n bits of the field from bit ofs on (bit 0 is the least significant).
func (f *Field) Range(ofs, n int) Subfield {
	return Subfield{Field: f, Ofs: uint16(ofs), Bits: uint16(n)}
}

// Subfield is a run of bits of a field.
type Subfield struct {
	Field     *Field
	Ofs, Bits uint16
}

func (s Subfield) String() string {
	if s.Field == nil {
		return "?"
	}
	return fmt.Sprintf("%s[%d..%d]", s.Field.Name, s.Ofs, int(s.Ofs)+int(s.Bits)-1)
}

// fits reports whether the bits lie inside the field.
func (s Subfield) fits() bool {
	if s.Field == nil || s.Bits == 0 {
		return false
	}
	n := s.Field.Bytes * 8
	return n == 0 || int(s.Ofs)+int(s.Bits) <= n
}

// Fields returns every known field in canonical order. The slice is shared.
func Fields() []*Field { return fieldList }

// FieldByName finds a field by its Open vSwitch name, an alias, or its OXM/NXM
// symbol, in any case; nil if unknown. "in_port" is the 32-bit OpenFlow 1.3 one.
func FieldByName(name string) *Field { return fieldsByName[strings.ToLower(name)] }

// FieldByID finds a field by any of its ids; nil if unknown.
func FieldByID(id ID) *Field {
	if id.Exp == 0 {
		switch id.Class {
		case ClassBasic:
			return basicFields[id.Num]
		case ClassNXM1:
			return nxm1Fields[id.Num]
		}
	}
	return fieldsByID[id]
}

var (
	fieldList    []*Field
	fieldsByName map[string]*Field
	fieldsByID   map[ID]*Field
	basicFields  [256]*Field // the two classes nearly every TLV has, without hashing
	nxm1Fields   [256]*Field
)

// def adds a field to the registry. It runs only while package variables are
// initialised, in the order of the declarations in fields.go, which is the
// canonical order. A clash is a broken table of ours, found by any test.
func def(f Field) *Field {
	if fieldsByName == nil {
		fieldsByName, fieldsByID = map[string]*Field{}, map[ID]*Field{}
	}
	p := &f
	p.order = len(fieldList)
	fieldList = append(fieldList, p)
	names := append([]string{f.Name, f.OXM, f.NXM}, f.Alias...)
	for _, n := range names {
		n = strings.ToLower(n)
		if n == "" {
			continue
		}
		if fieldsByName[n] != nil {
			panic("openflow: field name " + n + " defined twice")
		}
		fieldsByName[n] = p
	}
	for _, id := range []ID{f.oxm, f.nxm} {
		addID(p, id)
	}
	return p
}

func addID(f *Field, id ID) {
	if !id.valid() {
		return
	}
	if fieldsByID[id] != nil {
		panic(fmt.Sprintf("openflow: field id %v defined twice", id))
	}
	fieldsByID[id] = f
	switch {
	case id.Class == ClassBasic:
		basicFields[id.Num] = f
	case id.Class == ClassNXM1:
		nxm1Fields[id.Num] = f
	}
}
