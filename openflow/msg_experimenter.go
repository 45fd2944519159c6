// SPDX-License-Identifier: Apache-2.0

package openflow

import "net/netip"

// Subtypes of experimenter messages.
const (
	nxtSetPacketInFormat uint32 = 16
	nxtSetControllerID   uint32 = 20
	nxtResume            uint32 = 28
	nxtCTFlushZone       uint32 = 29
	nxtPacketIn2         uint32 = 30
	nxtCTFlush           uint32 = 32

	onfFlowMonitorCancel  uint32 = 1870
	onfFlowMonitorPaused  uint32 = 1871
	onfFlowMonitorResumed uint32 = 1872
	onfBundleControl      uint32 = 2300
	onfBundleAdd          uint32 = 2301
)

// Experimenter is an experimenter message without a type of its own.
type Experimenter struct {
	Experimenter, Type uint32
	Body               []byte
}

func (m *Experimenter) AppendMessage(dst []byte, xid uint32) []byte {
	dst, mark := openExperimenter(dst, xid, m.Experimenter, m.Type)
	return CloseMessage(append(dst, m.Body...), mark)
}

func decodeExperimenter(h Header, r *reader) Message {
	exp, typ := r.u32("experimenter"), r.u32("experimenter")
	switch {
	case r.err != nil:
		return nil
	case exp == ExperimenterONF && typ == onfBundleControl:
		return &BundleControl{ID: r.u32("bundle"), Type: BundleType(r.u16("bundle")), Flags: r.u16("bundle")}
	case exp == ExperimenterONF && typ == onfBundleAdd:
		return decodeBundleAdd(r)
	case exp == ExperimenterONF && typ == onfFlowMonitorCancel:
		return &FlowMonitorCancel{r.u32("flow monitor")}
	case exp == ExperimenterONF && (typ == onfFlowMonitorPaused || typ == onfFlowMonitorResumed):
		return &FlowMonitorState{typ == onfFlowMonitorPaused}
	case exp == ExperimenterNicira && typ == nxtPacketIn2:
		return decodePacketIn2(r)
	case exp == ExperimenterNicira && typ == nxtResume:
		return &Resume{decodePacketIn2(r)}
	case exp == ExperimenterNicira && typ == nxtSetPacketInFormat:
		return &SetPacketInFormat{r.u32("packet-in format")}
	case exp == ExperimenterNicira && typ == nxtSetControllerID:
		r.skip(6, "controller id")
		return &SetControllerID{r.u16("controller id")}
	case exp == ExperimenterNicira && typ == nxtCTFlushZone:
		r.skip(6, "flush zone")
		return &CTFlushZone{r.u16("flush zone")}
	case exp == ExperimenterNicira && typ == nxtCTFlush:
		return decodeCTFlush(r)
	}
	return &Experimenter{exp, typ, r.rest()}
}

// Packet-in formats for SetPacketInFormat.
const (
	PacketInStandard uint32 = 0
	PacketInNXM      uint32 = 1
	PacketInExtended uint32 = 2 // NXT_PACKET_IN2, with userdata
)

// SetPacketInFormat chooses the form of packet-ins on this connection.
type SetPacketInFormat struct{ Format uint32 }

func (m *SetPacketInFormat) AppendMessage(dst []byte, xid uint32) []byte {
	dst, mark := openExperimenter(dst, xid, ExperimenterNicira, nxtSetPacketInFormat)
	return CloseMessage(be.AppendUint32(dst, m.Format), mark)
}

// SetControllerID names this connection for Controller and Controller2 actions.
type SetControllerID struct{ ID uint16 }

func (m *SetControllerID) AppendMessage(dst []byte, xid uint32) []byte {
	dst, mark := openExperimenter(dst, xid, ExperimenterNicira, nxtSetControllerID)
	return CloseMessage(be.AppendUint16(zeros(dst, 6), m.ID), mark)
}

// CTFlushZone forgets every connection of a conntrack zone.
type CTFlushZone struct{ Zone uint16 }

func (m *CTFlushZone) AppendMessage(dst []byte, xid uint32) []byte {
	dst, mark := openExperimenter(dst, xid, ExperimenterNicira, nxtCTFlushZone)
	return CloseMessage(be.AppendUint16(zeros(dst, 6), m.Zone), mark)
}

// CTTuple is one direction of a connection; zero parts are not compared.
type CTTuple struct {
	Src, Dst         netip.Addr
	SrcPort, DstPort uint16
}

// CTFlush forgets the connections that match (Open vSwitch 3.1 and later).
type CTFlush struct {
	Proto       uint8 // 0: any
	Orig, Reply CTTuple
	Zone        uint16
	HasZone     bool
}

func (m *CTFlush) AppendMessage(dst []byte, xid uint32) []byte {
	dst, mark := openExperimenter(dst, xid, ExperimenterNicira, nxtCTFlush)
	dst = zeros(append(dst, m.Proto), 7)
	dst = m.Orig.append(dst, 0)
	dst = m.Reply.append(dst, 1)
	if m.HasZone {
		dst = appendProp(dst, 2, []byte{byte(m.Zone >> 8), byte(m.Zone), 0, 0})
	}
	return CloseMessage(dst, mark)
}

// append writes the tuple as a property of properties, addresses as 16 bytes.
func (t CTTuple) append(dst []byte, typ uint16) []byte {
	var in []byte
	if t.Src.IsValid() {
		a := t.Src.As16()
		in = appendProp(in, 0, a[:])
	}
	if t.Dst.IsValid() {
		a := t.Dst.As16()
		in = appendProp(in, 1, a[:])
	}
	if t.SrcPort != 0 {
		in = appendProp(in, 2, []byte{byte(t.SrcPort >> 8), byte(t.SrcPort), 0, 0})
	}
	if t.DstPort != 0 {
		in = appendProp(in, 3, []byte{byte(t.DstPort >> 8), byte(t.DstPort), 0, 0})
	}
	if in == nil {
		return dst
	}
	// A nested property starts on an 8-byte boundary inside its parent.
	return appendProp(dst, typ, append(make([]byte, 4, 4+len(in)), in...))
}

func decodeCTFlush(r *reader) Message {
	const w = "ct flush"
	m := &CTFlush{Proto: r.u8(w)}
	r.skip(7, w)
	for r.left() > 0 {
		typ, v := r.prop(w)
		switch {
		case typ == 0 && r.err == nil:
			m.Orig = decodeTuple(v, r)
		case typ == 1 && r.err == nil:
			m.Reply = decodeTuple(v, r)
		case typ == 2 && len(v) >= 2:
			m.Zone, m.HasZone = be.Uint16(v), true
		}
	}
	return m
}

func decodeTuple(b []byte, outer *reader) (t CTTuple) {
	r := &reader{b: b}
	r.skip(4, "ct tuple")
	for r.left() > 0 {
		typ, v := r.prop("ct tuple")
		switch {
		case typ == 0 && len(v) == 16:
			t.Src = netip.AddrFrom16([16]byte(v)).Unmap()
		case typ == 1 && len(v) == 16:
			t.Dst = netip.AddrFrom16([16]byte(v)).Unmap()
		case typ == 2 && len(v) >= 2:
			t.SrcPort = be.Uint16(v)
		case typ == 3 && len(v) >= 2:
			t.DstPort = be.Uint16(v)
		}
	}
	if r.err != nil {
		outer.fail("ct tuple", ErrLength)
	}
	return t
}

// BundleType is the step of a bundle (ONF EXT-230).
type BundleType uint16

const (
	BundleOpenRequest    BundleType = 0
	BundleOpenReply      BundleType = 1
	BundleCloseRequest   BundleType = 2
	BundleCloseReply     BundleType = 3
	BundleCommitRequest  BundleType = 4
	BundleCommitReply    BundleType = 5
	BundleDiscardRequest BundleType = 6
	BundleDiscardReply   BundleType = 7
)

// Flags of a bundle.
const (
	BundleAtomic  uint16 = 1 << 0
	BundleOrdered uint16 = 1 << 1
)

// BundleControl opens, closes, commits or discards a bundle.
type BundleControl struct {
	ID    uint32
	Type  BundleType
	Flags uint16
}

func (m *BundleControl) AppendMessage(dst []byte, xid uint32) []byte {
	dst, mark := openExperimenter(dst, xid, ExperimenterONF, onfBundleControl)
	dst = be.AppendUint16(be.AppendUint32(dst, m.ID), uint16(m.Type))
	return CloseMessage(be.AppendUint16(dst, m.Flags), mark)
}

// BundleAdd puts a message into a bundle. The inner one carries the same xid.
type BundleAdd struct {
	ID    uint32
	Flags uint16
	Inner Message
}

// OpenBundleAdd begins a bundle-add: append the inner message with the same
// xid, then call CloseMessage with mark.
func OpenBundleAdd(dst []byte, xid, id uint32, flags uint16) (out []byte, mark int) {
	dst, mark = openExperimenter(dst, xid, ExperimenterONF, onfBundleAdd)
	return be.AppendUint16(append(be.AppendUint32(dst, id), 0, 0), flags), mark
}

func (m *BundleAdd) AppendMessage(dst []byte, xid uint32) []byte {
	dst, mark := OpenBundleAdd(dst, xid, m.ID, m.Flags)
	return CloseMessage(m.Inner.AppendMessage(dst, xid), mark)
}

func decodeBundleAdd(r *reader) Message {
	const w = "bundle add"
	m := &BundleAdd{ID: r.u32(w)}
	r.skip(2, w)
	m.Flags = r.u16(w)
	b := r.rest()
	h, err := ParseHeader(b)
	if err != nil || int(h.Length) > len(b) {
		r.fail(w, ErrLength)
		return nil
	}
	// Only what changes state may ride in a bundle; nesting is thus impossible.
	switch h.Type {
	case TypeFlowMod, TypeGroupMod, TypePacketOut:
		if _, m.Inner, err = Decode(b[:h.Length:h.Length]); err != nil {
			r.err = err
			return nil
		}
	default:
		m.Inner = &RawMessage{h.Type, b[headerLen:h.Length:h.Length]}
	}
	return m
}
