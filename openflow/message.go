// SPDX-License-Identifier: Apache-2.0

package openflow

// Version is the wire version of OpenFlow 1.3.
const Version uint8 = 4

// Message types (OpenFlow 1.3.5 section 7.1).
const (
	TypeHello            uint8 = 0
	TypeError            uint8 = 1
	TypeEchoRequest      uint8 = 2
	TypeEchoReply        uint8 = 3
	TypeExperimenter     uint8 = 4
	TypeFeaturesRequest  uint8 = 5
	TypeFeaturesReply    uint8 = 6
	TypeGetConfigRequest uint8 = 7
	TypeGetConfigReply   uint8 = 8
	TypeSetConfig        uint8 = 9
	TypePacketIn         uint8 = 10
	TypeFlowRemoved      uint8 = 11
	TypePortStatus       uint8 = 12
	TypePacketOut        uint8 = 13
	TypeFlowMod          uint8 = 14
	TypeGroupMod         uint8 = 15
	TypeMultipartRequest uint8 = 18
	TypeMultipartReply   uint8 = 19
	TypeBarrierRequest   uint8 = 20
	TypeBarrierReply     uint8 = 21
	TypeRoleRequest      uint8 = 24
	TypeRoleReply        uint8 = 25
	TypeGetAsyncRequest  uint8 = 26
	TypeGetAsyncReply    uint8 = 27
	TypeSetAsync         uint8 = 28
	TypeMeterMod         uint8 = 29
)

const (
	headerLen = 8
	// MaxMessage is the longest message the 16-bit length field allows.
	MaxMessage = 0xffff
	noBuffer   = 0xffffffff
)

// Message is one OpenFlow message. AppendMessage appends its wire form with the
// header; it never fails. A message that grows beyond MaxMessage has a wrong
// length field: senders check len before they send (Conn does).
type Message interface {
	AppendMessage(dst []byte, xid uint32) []byte
}

// Header is the common header.
type Header struct {
	Version, Type uint8
	Length        uint16
	XID           uint32
}

// ParseHeader reads the header of a message; b has at least 8 bytes.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < headerLen {
		return Header{}, formatErr("header", 0, ErrTruncated)
	}
	h := Header{b[0], b[1], be.Uint16(b[2:]), be.Uint32(b[4:])}
	if h.Length < headerLen {
		return h, formatErr("header", 2, ErrLength)
	}
	return h, nil
}

// OpenMessage begins a message; CloseMessage, given mark, writes its length.
func OpenMessage(dst []byte, typ uint8, xid uint32) (out []byte, mark int) {
	return append(dst, Version, typ, 0, headerLen, byte(xid>>24), byte(xid>>16), byte(xid>>8), byte(xid)), len(dst)
}

// CloseMessage completes what OpenMessage began.
func CloseMessage(dst []byte, mark int) []byte {
	be.PutUint16(dst[mark+2:], uint16(len(dst)-mark))
	return dst
}

func openExperimenter(dst []byte, xid, exp, typ uint32) ([]byte, int) {
	dst, mark := OpenMessage(dst, TypeExperimenter, xid)
	return be.AppendUint32(be.AppendUint32(dst, exp), typ), mark
}

// Decode decodes one whole message. What has no type here comes back as
// *RawMessage. The result shares memory with b. Errors are *FormatError.
func Decode(b []byte) (Header, Message, error) {
	h, err := ParseHeader(b)
	if err != nil {
		return h, nil, err
	}
	if int(h.Length) != len(b) {
		return h, nil, formatErr("header", 2, ErrLength)
	}
	if h.Version != Version && h.Type != TypeHello && h.Type != TypeError {
		return h, nil, formatErr("header version", 0, ErrValue)
	}
	r := &reader{b: b, ofs: headerLen}
	m := decodeBody(h, r)
	if r.err != nil {
		return h, nil, r.err
	}
	return h, m, nil
}

func decodeBody(h Header, r *reader) Message {
	switch h.Type {
	case TypeHello:
		return decodeHello(h.Version, r)
	case TypeError:
		return decodeError(r)
	case TypeEchoRequest:
		return &EchoRequest{r.rest()}
	case TypeEchoReply:
		return &EchoReply{r.rest()}
	case TypeFeaturesRequest:
		return &FeaturesRequest{}
	case TypeFeaturesReply:
		return decodeFeatures(r)
	case TypeGetConfigRequest:
		return &GetConfigRequest{}
	case TypeGetConfigReply:
		return &GetConfigReply{r.u16("config"), r.u16("config")}
	case TypeSetConfig:
		return &SetConfig{r.u16("config"), r.u16("config")}
	case TypePacketIn:
		return decodePacketIn(r)
	case TypeFlowRemoved:
		return decodeFlowRemoved(r)
	case TypePortStatus:
		return decodePortStatus(r)
	case TypePacketOut:
		return decodePacketOut(r)
	case TypeFlowMod:
		return decodeFlowMod(r)
	case TypeGroupMod:
		return decodeGroupMod(r)
	case TypeMeterMod:
		return decodeMeterMod(r)
	case TypeMultipartRequest:
		return decodeMultipartRequest(r)
	case TypeMultipartReply:
		return decodeMultipartReply(r)
	case TypeBarrierRequest:
		return &BarrierRequest{}
	case TypeBarrierReply:
		return &BarrierReply{}
	case TypeRoleRequest:
		return &RoleRequest{decodeRole(r)}
	case TypeRoleReply:
		return &RoleReply{decodeRole(r)}
	case TypeSetAsync:
		return &SetAsync{decodeAsync(r)}
	case TypeGetAsyncRequest:
		return &GetAsyncRequest{}
	case TypeGetAsyncReply:
		return &GetAsyncReply{decodeAsync(r)}
	case TypeExperimenter:
		return decodeExperimenter(h, r)
	}
	return &RawMessage{Type: h.Type, Body: r.rest()}
}

// RawMessage is a message without a type of its own. Body is what follows the
// header.
type RawMessage struct {
	Type uint8
	Body []byte
}

func (m *RawMessage) AppendMessage(dst []byte, xid uint32) []byte {
	dst, mark := OpenMessage(dst, m.Type, xid)
	return CloseMessage(append(dst, m.Body...), mark)
}

// reader walks through bytes; after the first fault it yields zeros.
type reader struct {
	b   []byte
	ofs int
	err error
}

func (r *reader) fail(what string, err error) {
	if r.err == nil {
		r.err = formatErr(what, r.ofs, err)
	}
}

// take cuts off n bytes; nil after a fault.
func (r *reader) take(n int, what string) []byte {
	if r.err != nil {
		return nil
	}
	if n < 0 || len(r.b)-r.ofs < n {
		r.fail(what, ErrTruncated)
		return nil
	}
	v := r.b[r.ofs : r.ofs+n : r.ofs+n]
	r.ofs += n
	return v
}

func (r *reader) left() int {
	if r.err != nil {
		return 0
	}
	return len(r.b) - r.ofs
}

func (r *reader) rest() []byte            { return r.take(r.left(), "rest") }
func (r *reader) skip(n int, what string) { r.take(n, what) }
func (r *reader) u8(what string) uint8    { return uint8(beUint(r.take(1, what))) }
func (r *reader) u16(what string) uint16  { return uint16(beUint(r.take(2, what))) }
func (r *reader) u32(what string) uint32  { return uint32(beUint(r.take(4, what))) }
func (r *reader) u64(what string) uint64  { return beUint(r.take(8, what)) }
func (r *reader) text(n int, w string) string {
	b := r.take(n, w)
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// sub cuts off an element whose total length, counted from back bytes before
// the current place, is n.
func (r *reader) sub(n, back int, what string) *reader {
	if n < back {
		r.fail(what, ErrLength)
		return &reader{err: r.err}
	}
	b := r.take(n-back, what)
	return &reader{b: b, err: r.err}
}

// match reads an ofp_match (section 7.2.3) with its padding and returns the TLVs.
func (r *reader) match(what string) []byte {
	typ, n := r.u16(what), int(r.u16(what))
	if r.err != nil {
		return nil
	}
	if typ != 1 || n < 4 {
		r.fail(what, ErrValue)
		return nil
	}
	b := r.take((n+7)/8*8-4, what)
	if b == nil {
		return nil
	}
	return b[: n-4 : n-4]
}

// appendMatch writes an ofp_match around TLVs.
func appendMatch(dst, match []byte) []byte {
	n := len(match) + 4
	dst = append(dst, 0, 1, byte(n>>8), byte(n))
	dst = append(dst, match...)
	return zeros(dst, (8-n%8)%8)
}

func appendText(dst []byte, s string, n int) []byte {
	s = s[:min(len(s), n-1)]
	return zeros(append(dst, s...), n-len(s))
}
