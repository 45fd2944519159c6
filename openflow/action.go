// SPDX-License-Identifier: Apache-2.0

package openflow

// Reserved ports (OpenFlow 1.3.5 section 7.2.1).
const (
	PortMax        uint32 = 0xffffff00
	PortInPort     uint32 = 0xfffffff8
	PortTable      uint32 = 0xfffffff9
	PortNormal     uint32 = 0xfffffffa
	PortFlood      uint32 = 0xfffffffb
	PortAll        uint32 = 0xfffffffc
	PortController uint32 = 0xfffffffd
	PortLocal      uint32 = 0xfffffffe
	PortAny        uint32 = 0xffffffff

	// Port16InPort is IN_PORT where a Nicira action has a 16-bit port.
	Port16InPort uint16 = 0xfff8
	// Port16None is NONE there.
	Port16None uint16 = 0xffff

	// MaxLenNoBuffer asks for the whole packet (OFPCML_NO_BUFFER).
	MaxLenNoBuffer uint16 = 0xffff
)

// Numbers of the standard actions (OpenFlow 1.3.5 section 7.2.5).
const (
	actOutput       uint16 = 0
	actPushVLAN     uint16 = 17
	actPopVLAN      uint16 = 18
	actPushMPLS     uint16 = 19
	actPopMPLS      uint16 = 20
	actSetQueue     uint16 = 21
	actGroup        uint16 = 22
	actSetTTL       uint16 = 23
	actDecTTL       uint16 = 24
	actSetField     uint16 = 25
	actExperimenter uint16 = 0xffff
)

// Subtypes of the Nicira actions (ovs-actions(7)).
const (
	nxMove           uint16 = 6
	nxLoad           uint16 = 7
	nxNote           uint16 = 8
	nxResubmitTable  uint16 = 14
	nxOutputReg      uint16 = 15
	nxLearn          uint16 = 16
	nxExit           uint16 = 17
	nxController     uint16 = 20
	nxPush           uint16 = 27
	nxPop            uint16 = 28
	nxSample         uint16 = 29
	nxLoad2          uint16 = 33
	nxConjunction    uint16 = 34
	nxCT             uint16 = 35
	nxNAT            uint16 = 36
	nxController2    uint16 = 37
	nxSample2        uint16 = 38
	nxSample3        uint16 = 41
	nxClone          uint16 = 42
	nxCTClear        uint16 = 43
	nxResubmitCT     uint16 = 44
	nxLearn2         uint16 = 45
	nxCheckPktLarger uint16 = 49
)

// Action is one OpenFlow action. Values are small structs; AppendTo appends the
// wire form, a multiple of 8 bytes, and never fails.
type Action interface {
	AppendTo(dst []byte) []byte
	action()
}

// AppendActions appends actions one after the other.
func AppendActions(dst []byte, as ...Action) []byte {
	for _, a := range as {
		dst = a.AppendTo(dst)
	}
	return dst
}

type (
	// Output sends the packet to a port. MaxLen counts only for
	// PortController: bytes of the packet to send, MaxLenNoBuffer for all.
	Output struct {
		Port   uint32
		MaxLen uint16
	}

	// Group hands the packet to a group.
	Group struct{ ID uint32 }

	// SetQueue selects the queue for later outputs.
	SetQueue struct{ Queue uint32 }

	// PushVLAN pushes a tag with this ethertype (0x8100).
	PushVLAN struct{ EtherType uint16 }

	// PopVLAN removes the outer tag.
	PopVLAN struct{}

	// PushMPLS and PopMPLS change the label stack.
	PushMPLS struct{ EtherType uint16 }
	PopMPLS  struct{ EtherType uint16 }

	// SetTTL sets, DecTTL decrements the IP TTL or hop limit. Open vSwitch
	// refuses the Nicira dec_ttl with OpenFlow 1.3; this is OFPAT_DEC_NW_TTL.
	SetTTL struct{ TTL uint8 }
	DecTTL struct{}

	// SetField sets a whole field; OpenFlow 1.3 has no masked set-field.
	// Value is big-endian, fitted to the field as AppendField does.
	SetField struct {
		Field *Field
		Value []byte
	}

	// Load writes a number into some bits of a field (Nicira reg_load). The
	// switch dumps it as load:..., not as set_field.
	Load struct {
		Dst   Subfield // at most 64 bits
		Value uint64
	}

	// LoadMasked is Nicira reg_load2: value and mask of the whole field.
	LoadMasked struct {
		Field       *Field
		Value, Mask []byte // nil mask: whole field
	}

	// Move copies Src.Bits bits of Src to Dst; Dst.Bits is not used.
	Move struct{ Src, Dst Subfield }

	// OutputReg sends the packet to the port whose number Src holds.
	OutputReg struct {
		Src    Subfield
		MaxLen uint16
	}

	// Push and Pop move bits of a field to and from the switch's stack.
	Push struct{ Sub Subfield }
	Pop  struct{ Sub Subfield }

	// Controller is the older Nicira punt with a controller id. Prefer
	// Controller2, or Output to PortController.
	Controller struct {
		MaxLen uint16
		ID     uint16
		Reason uint8
	}

	// Controller2 punts the packet with user data, through a meter.
	Controller2 struct {
		MaxLen   uint16 // 0 or 0xffff: whole packet
		ID       uint16 // 0: any controller
		Reason   uint8  // 0: ReasonAction
		Userdata []byte // at most 65,000 bytes; longer is cut
		Pause    bool
		MeterID  uint32 // 0: none
	}

	// Resubmit looks the packet up again as if it came in by InPort
	// (Port16InPort: unchanged) in Table (255: the present one). CT uses the
	// original tuple of the connection.
	Resubmit struct {
		InPort uint16
		Table  uint8
		CT     bool
	}

	// CT sends the packet through the connection tracker. The zone is Zone, or
	// the bits of ZoneFrom if that names a field. Table is where a copy with
	// ct fields goes on; CTNoTable for none.
	CT struct {
		Flags    uint16
		Zone     uint16
		ZoneFrom Subfield
		Table    uint8
		ALG      uint16 // 0, 21 (ftp), 69 (tftp)
		Actions  []Action
	}

	// CTClear forgets the packet's conntrack fields.
	CTClear struct{}

	// Clone runs Actions on a copy of the packet.
	Clone struct{ Actions []Action }

	// Conjunction makes the flow clause Clause (from 1) of Clauses of
	// conjunction ID. ovs-ofctl prints conjunction(ID,Clause/Clauses).
	Conjunction struct {
		ID              uint32
		Clause, Clauses uint8
	}

	// Note carries bytes that the switch ignores; padding with zeros up to the
	// next multiple of 8, less 2, belongs to what a dump gives back.
	Note struct{ Data []byte }

	// CheckPktLarger sets the one bit Dst to whether the packet is longer
	// than Len bytes.
	CheckPktLarger struct {
		Len uint16
		Dst Subfield
	}

	// Sample sends IPFIX samples. Form 1 has no port; forms 2 and 3 do, and 3
	// a direction (0 default, 1 ingress, 2 egress).
	Sample struct {
		Form         uint8 // 1, 2 or 3; 0 means 1
		Probability  uint16
		CollectorSet uint32
		ObsDomain    uint32
		ObsPoint     uint32
		SamplingPort uint16
		Direction    uint8
	}

	// Exit ends the processing of the packet.
	Exit struct{}

	// Raw is any action that has no type of its own, byte for byte.
	Raw []byte
)

// Reasons of a packet-in (OpenFlow 1.3.5 section 7.4.1 and later versions).
const (
	ReasonNoMatch      uint8 = 0
	ReasonAction       uint8 = 1
	ReasonInvalidTTL   uint8 = 2
	ReasonActionSet    uint8 = 3
	ReasonGroup        uint8 = 4
	ReasonPacketOut    uint8 = 5
	ReasonImplicitMiss uint8 = 6
)

// Flags of CT.
const (
	CTCommit uint16 = 1 << 0
	CTForce  uint16 = 1 << 1

	// CTNoTable: the packet is not recirculated.
	CTNoTable uint8 = 0xff
)

// SetUint sets a whole field to a number.
func SetUint(f *Field, v uint64) SetField {
	return SetField{f, appendUintN(nil, v, uintLen(f))}
}

// LoadUint loads a number into a whole field of up to 64 bits, or into the
// lowest 64 bits of a longer one.
func LoadUint(f *Field, v uint64) Load {
	return Load{f.Range(0, min(f.Bits, 64)), v}
}

// ResubmitTable continues in another table with in_port unchanged.
func ResubmitTable(table uint8) Resubmit { return Resubmit{InPort: Port16InPort, Table: table} }

func (Output) action()         {}
func (Group) action()          {}
func (SetQueue) action()       {}
func (PushVLAN) action()       {}
func (PopVLAN) action()        {}
func (PushMPLS) action()       {}
func (PopMPLS) action()        {}
func (SetTTL) action()         {}
func (DecTTL) action()         {}
func (SetField) action()       {}
func (Load) action()           {}
func (LoadMasked) action()     {}
func (Move) action()           {}
func (OutputReg) action()      {}
func (Push) action()           {}
func (Pop) action()            {}
func (Controller) action()     {}
func (Controller2) action()    {}
func (Resubmit) action()       {}
func (CT) action()             {}
func (CTClear) action()        {}
func (Clone) action()          {}
func (Conjunction) action()    {}
func (Note) action()           {}
func (CheckPktLarger) action() {}
func (Sample) action()         {}
func (Exit) action()           {}
func (Raw) action()            {}
func (NAT) action()            {}
func (Learn) action()          {}
