// SPDX-License-Identifier: Apache-2.0

package openflow

// PacketIn is a packet that the switch sent to the controller, from the
// standard message (section 7.4.1) or from NXT_PACKET_IN2, which adds Userdata
// and Continuation. Match holds the pipeline fields as TLVs.
type PacketIn struct {
	TotalLen     uint16 // of the frame; Data may be shorter
	Reason       uint8
	Table        uint8
	Cookie       uint64
	Match        []byte
	Data         []byte // Ethernet frame
	Userdata     []byte // from Controller2
	Continuation []byte // for a paused packet
	Extended     bool   // came as, and is encoded as, NXT_PACKET_IN2
}

// Field returns a pipeline field of the packet: in_port, tun_id, registers,
// metadata, ct fields. Fields that are zero are left out by the switch: found
// is false then.
func (m *PacketIn) Field(f *Field) (value uint64, found bool) {
	for t, err := range TLVs(m.Match) {
		if err != nil {
			break
		}
		if t.Field == f {
			return t.Uint(), true
		}
	}
	return 0, false
}

// InPort is the port the packet came in by, 0 if the switch told none.
func (m *PacketIn) InPort() uint32 {
	v, _ := m.Field(FieldInPort)
	return uint32(v)
}

func (m *PacketIn) AppendMessage(dst []byte, xid uint32) []byte {
	if m.Extended {
		return m.appendProps(dst, xid, nxtPacketIn2)
	}
	dst, mark := OpenMessage(dst, TypePacketIn, xid)
	dst = be.AppendUint16(be.AppendUint32(dst, noBuffer), m.TotalLen)
	dst = be.AppendUint64(append(dst, m.Reason, m.Table), m.Cookie)
	dst = append(appendMatch(dst, m.Match), 0, 0)
	return CloseMessage(append(dst, m.Data...), mark)
}

func decodePacketIn(r *reader) Message {
	const w = "packet in"
	r.skip(4, w)
	m := &PacketIn{TotalLen: r.u16(w), Reason: r.u8(w), Table: r.u8(w), Cookie: r.u64(w), Match: r.match(w)}
	r.skip(2, w)
	m.Data = r.rest()
	return m
}

// Properties of NXT_PACKET_IN2.
const (
	pinPacket       = 0
	pinFullLen      = 1
	pinBufferID     = 2
	pinTable        = 3
	pinCookie       = 4
	pinReason       = 5
	pinMetadata     = 6
	pinUserdata     = 7
	pinContinuation = 8
)

// appendProp writes a property TLV: length without padding, content padded to 8.
func appendProp(dst []byte, typ uint16, v []byte) []byte {
	n := 4 + len(v)
	dst = be.AppendUint16(be.AppendUint16(dst, typ), uint16(n))
	return zeros(append(dst, v...), (8-n%8)%8)
}

// prop reads one property TLV.
func (r *reader) prop(what string) (typ uint16, v []byte) {
	typ, n := r.u16(what), int(r.u16(what))
	if r.err != nil {
		return 0, nil
	}
	if n < 4 {
		r.fail(what, ErrLength)
		return 0, nil
	}
	v = r.take(n-4, what)
	r.skip(min((8-n%8)%8, r.left()), what)
	return typ, v
}

// Resume lets a packet go on that a Controller2 with Pause had stopped: the
// packet-in as it came, with Data or Match changed if wanted.
type Resume struct{ Packet *PacketIn }

func (m *Resume) AppendMessage(dst []byte, xid uint32) []byte {
	return m.Packet.appendProps(dst, xid, nxtResume)
}

func (m *PacketIn) appendProps(dst []byte, xid, typ uint32) []byte {
	dst, mark := openExperimenter(dst, xid, ExperimenterNicira, typ)
	dst = appendProp(dst, pinPacket, m.Data)
	if int(m.TotalLen) > len(m.Data) {
		dst = appendProp(dst, pinFullLen, be.AppendUint32(nil, uint32(m.TotalLen)))
	}
	dst = appendProp(dst, pinTable, []byte{m.Table})
	dst = appendProp(dst, pinCookie, be.AppendUint64(make([]byte, 4, 12), m.Cookie))
	dst = appendProp(dst, pinReason, []byte{m.Reason})
	dst = appendProp(dst, pinMetadata, m.Match)
	if m.Userdata != nil {
		dst = appendProp(dst, pinUserdata, m.Userdata)
	}
	if m.Continuation != nil {
		dst = appendProp(dst, pinContinuation, m.Continuation)
	}
	return CloseMessage(dst, mark)
}

func decodePacketIn2(r *reader) *PacketIn {
	const w = "packet in 2"
	m := &PacketIn{Extended: true}
	full := 0
	for r.left() > 0 {
		typ, v := r.prop(w)
		need := func(n int) bool {
			if r.err == nil && len(v) < n {
				r.fail(w, ErrLength)
			}
			return r.err == nil
		}
		switch typ {
		case pinPacket:
			m.Data = v
		case pinFullLen:
			if need(4) {
				full = int(min(be.Uint32(v), MaxMessage))
			}
		case pinTable:
			if need(1) {
				m.Table = v[0]
			}
		case pinCookie:
			// The switch pads the content to 8 bytes from the property header.
			if need(8) {
				m.Cookie = be.Uint64(v[len(v)-8:])
			}
		case pinReason:
			if need(1) {
				m.Reason = v[0]
			}
		case pinMetadata:
			m.Match = v
		case pinUserdata:
			m.Userdata = v
		case pinContinuation:
			m.Continuation = v
		}
	}
	m.TotalLen = uint16(max(full, min(len(m.Data), MaxMessage)))
	return m
}

// PacketOut makes the switch process a packet. InPort is where it seems to
// come from: a port, PortController or PortAny. Actions holds wire bytes.
type PacketOut struct {
	InPort  uint32
	Actions []byte
	Data    []byte
}

func (m *PacketOut) AppendMessage(dst []byte, xid uint32) []byte {
	dst, mark := OpenMessage(dst, TypePacketOut, xid)
	dst = be.AppendUint32(be.AppendUint32(dst, noBuffer), m.InPort)
	dst = zeros(be.AppendUint16(dst, uint16(len(m.Actions))), 6)
	return CloseMessage(append(append(dst, m.Actions...), m.Data...), mark)
}

func decodePacketOut(r *reader) Message {
	const w = "packet out"
	r.skip(4, w)
	m := &PacketOut{InPort: r.u32(w)}
	n := int(r.u16(w))
	r.skip(6, w)
	m.Actions = r.take(n, w)
	m.Data = r.rest()
	return m
}

// Port states and configuration bits (section 7.2.1).
const (
	PortConfigDown  uint32 = 1 << 0
	PortStateDown   uint32 = 1 << 0
	PortStateLive   uint32 = 1 << 2
	PortReasonAdd   uint8  = 0
	PortReasonDel   uint8  = 1
	PortReasonMod   uint8  = 2
	portLen                = 64
	portNameLen            = 16
	portFeatureCols        = 6
)

// Port describes a port of the switch. Features are curr, advertised,
// supported, peer; then current and maximal speed in kbit/s.
type Port struct {
	No            uint32
	MAC           [6]byte
	Name          string // at most 15 bytes
	Config, State uint32
	Features      [portFeatureCols]uint32
}

func (p *Port) append(dst []byte) []byte {
	dst = zeros(be.AppendUint32(dst, p.No), 4)
	dst = zeros(append(dst, p.MAC[:]...), 2)
	dst = appendText(dst, p.Name, portNameLen)
	dst = be.AppendUint32(be.AppendUint32(dst, p.Config), p.State)
	for _, f := range p.Features {
		dst = be.AppendUint32(dst, f)
	}
	return dst
}

func (r *reader) port() (p Port) {
	const w = "port"
	p.No = r.u32(w)
	r.skip(4, w)
	copy(p.MAC[:], r.take(6, w))
	r.skip(2, w)
	p.Name = r.text(portNameLen, w)
	p.Config, p.State = r.u32(w), r.u32(w)
	for i := range p.Features {
		p.Features[i] = r.u32(w)
	}
	return p
}

// PortStatus tells that a port came, went or changed (section 7.4.3).
type PortStatus struct {
	Reason uint8
	Port   Port
}

func (m *PortStatus) AppendMessage(dst []byte, xid uint32) []byte {
	dst, mark := OpenMessage(dst, TypePortStatus, xid)
	dst = zeros(append(dst, m.Reason), 7)
	return CloseMessage(m.Port.append(dst), mark)
}

func decodePortStatus(r *reader) Message {
	m := &PortStatus{Reason: r.u8("port status")}
	r.skip(7, "port status")
	m.Port = r.port()
	return m
}
