// SPDX-License-Identifier: Apache-2.0

package openflow

// Types of multipart messages (section 7.3.5).
const (
	MPDesc          uint16 = 0
	MPFlow          uint16 = 1
	MPAggregate     uint16 = 2
	MPTable         uint16 = 3
	MPPortStats     uint16 = 4
	MPQueue         uint16 = 5
	MPGroup         uint16 = 6
	MPGroupDesc     uint16 = 7
	MPGroupFeatures uint16 = 8
	MPMeter         uint16 = 9
	MPMeterConfig   uint16 = 10
	MPMeterFeatures uint16 = 11
	MPTableFeatures uint16 = 12
	MPPortDesc      uint16 = 13
	MPExperimenter  uint16 = 0xffff

	mpMore uint16 = 1
)

// MultipartRequest asks for statistics or descriptions. Body is the part behind
// the multipart header; the *Request helpers make it.
type MultipartRequest struct {
	Type uint16
	More bool
	Body []byte
}

// MultipartReply is one part of an answer; More tells that others follow.
type MultipartReply struct {
	Type uint16
	More bool
	Body []byte
}

func appendMultipart(dst []byte, typ uint8, xid uint32, mp uint16, more bool, body []byte) []byte {
	dst, mark := OpenMessage(dst, typ, xid)
	var flags uint16
	if more {
		flags = mpMore
	}
	dst = zeros(be.AppendUint16(be.AppendUint16(dst, mp), flags), 4)
	return CloseMessage(append(dst, body...), mark)
}

func (m *MultipartRequest) AppendMessage(dst []byte, xid uint32) []byte {
	return appendMultipart(dst, TypeMultipartRequest, xid, m.Type, m.More, m.Body)
}
func (m *MultipartReply) AppendMessage(dst []byte, xid uint32) []byte {
	return appendMultipart(dst, TypeMultipartReply, xid, m.Type, m.More, m.Body)
}

func decodeMultipartRequest(r *reader) Message {
	typ, flags := r.u16("multipart"), r.u16("multipart")
	r.skip(4, "multipart")
	return &MultipartRequest{typ, flags&mpMore != 0, r.rest()}
}

func decodeMultipartReply(r *reader) Message {
	typ, flags := r.u16("multipart"), r.u16("multipart")
	r.skip(4, "multipart")
	return &MultipartReply{typ, flags&mpMore != 0, r.rest()}
}

// FlowFilter selects flows for MPFlow and MPAggregate. The zero value with
// Table TableAll is everything. OutPort and OutGroup 0 mean any.
type FlowFilter struct {
	Table              uint8
	OutPort, OutGroup  uint32
	Cookie, CookieMask uint64
	Match              []byte
}

// AllFlows selects every flow of the switch.
var AllFlows = FlowFilter{Table: TableAll}

// FlowRequest makes the request for the flows (MPFlow) or their sum
// (MPAggregate).
func FlowRequest(typ uint16, f FlowFilter) *MultipartRequest {
	port, group := f.OutPort, f.OutGroup
	if port == 0 {
		port = PortAny
	}
	if group == 0 {
		group = GroupAny
	}
	b := append(make([]byte, 0, 40+len(f.Match)), f.Table, 0, 0, 0)
	b = zeros(be.AppendUint32(be.AppendUint32(b, port), group), 4)
	b = be.AppendUint64(be.AppendUint64(b, f.Cookie), f.CookieMask)
	return &MultipartRequest{Type: typ, Body: appendMatch(b, f.Match)}
}

// DecodeFlowFilter reads the body FlowRequest made.
func DecodeFlowFilter(b []byte) (FlowFilter, error) {
	const w = "flow request"
	r := &reader{b: b}
	f := FlowFilter{Table: r.u8(w)}
	r.skip(3, w)
	f.OutPort, f.OutGroup = r.u32(w), r.u32(w)
	r.skip(4, w)
	f.Cookie, f.CookieMask, f.Match = r.u64(w), r.u64(w), r.match(w)
	if f.OutPort == PortAny {
		f.OutPort = 0
	}
	if f.OutGroup == GroupAny {
		f.OutGroup = 0
	}
	return f, r.err
}

// idRequest is the body "number, padding" of port, group and meter requests.
func idRequest(typ uint16, id uint32) *MultipartRequest {
	return &MultipartRequest{Type: typ, Body: zeros(be.AppendUint32(nil, id), 4)}
}

// FlowStats is one flow as the switch holds it.
type FlowStats struct {
	Table                    uint8
	DurationSec, DurationNs  uint32
	Priority                 uint16
	IdleTimeout, HardTimeout uint16
	Flags                    uint16
	Cookie                   uint64
	Packets, Bytes           uint64
	Match                    []byte // TLVs, as dumped
	Instructions             []byte // wire bytes, as dumped
}

// Append appends the entry as in a reply.
func (s *FlowStats) Append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, s.Table, 0)
	dst = be.AppendUint32(be.AppendUint32(dst, s.DurationSec), s.DurationNs)
	dst = be.AppendUint16(be.AppendUint16(dst, s.Priority), s.IdleTimeout)
	dst = zeros(be.AppendUint16(be.AppendUint16(dst, s.HardTimeout), s.Flags), 4)
	dst = be.AppendUint64(be.AppendUint64(be.AppendUint64(dst, s.Cookie), s.Packets), s.Bytes)
	dst = append(appendMatch(dst, s.Match), s.Instructions...)
	be.PutUint16(dst[start:], uint16(len(dst)-start))
	return dst
}

// ReadFlowStats calls fn for each flow of a reply's body. The FlowStats and its
// slices are valid during the call only.
func ReadFlowStats(body []byte, fn func(*FlowStats) error) error {
	const w = "flow stats"
	r := reader{b: body}
	var s FlowStats
	var e reader
	for r.left() > 0 {
		n := int(r.u16(w))
		if n < 56 || n-2 > r.left() {
			r.fail(w, ErrLength)
			break
		}
		e = reader{b: r.b[: r.ofs+n-2 : r.ofs+n-2], ofs: r.ofs}
		r.ofs += n - 2
		s.Table = e.u8(w)
		e.skip(1, w)
		s.DurationSec, s.DurationNs = e.u32(w), e.u32(w)
		s.Priority, s.IdleTimeout, s.HardTimeout, s.Flags = e.u16(w), e.u16(w), e.u16(w), e.u16(w)
		e.skip(4, w)
		s.Cookie, s.Packets, s.Bytes = e.u64(w), e.u64(w), e.u64(w)
		s.Match = e.match(w)
		s.Instructions = e.rest()
		if e.err != nil {
			return e.err
		}
		if err := fn(&s); err != nil {
			return err
		}
	}
	return r.err
}

// Desc describes the switch.
type Desc struct {
	Manufacturer, Hardware, Software, Serial, Datapath string
}

// Append appends the body of the reply.
func (d *Desc) Append(dst []byte) []byte {
	dst = appendText(dst, d.Manufacturer, 256)
	dst = appendText(dst, d.Hardware, 256)
	dst = appendText(dst, d.Software, 256)
	dst = appendText(dst, d.Serial, 32)
	return appendText(dst, d.Datapath, 256)
}

// DecodeDesc reads the body of a MPDesc reply.
func DecodeDesc(b []byte) (Desc, error) {
	r := &reader{b: b}
	d := Desc{r.text(256, "desc"), r.text(256, "desc"), r.text(256, "desc"), r.text(32, "desc"), r.text(256, "desc")}
	return d, r.err
}

// Aggregate is the sum over the selected flows.
type Aggregate struct {
	Packets, Bytes uint64
	Flows          uint32
}

func (a *Aggregate) Append(dst []byte) []byte {
	dst = be.AppendUint64(be.AppendUint64(dst, a.Packets), a.Bytes)
	return zeros(be.AppendUint32(dst, a.Flows), 4)
}

func DecodeAggregate(b []byte) (Aggregate, error) {
	r := &reader{b: b}
	a := Aggregate{r.u64("aggregate"), r.u64("aggregate"), r.u32("aggregate")}
	return a, r.err
}

// TableStats counts the flows and lookups of a table.
type TableStats struct {
	Table           uint8
	Active          uint32
	Lookup, Matched uint64
}

func (t *TableStats) Append(dst []byte) []byte {
	dst = append(dst, t.Table, 0, 0, 0)
	return be.AppendUint64(be.AppendUint64(be.AppendUint32(dst, t.Active), t.Lookup), t.Matched)
}

func DecodeTableStats(b []byte) ([]TableStats, error) {
	const w = "table stats"
	r := &reader{b: b}
	var out []TableStats
	for r.left() > 0 {
		t := TableStats{Table: r.u8(w)}
		r.skip(3, w)
		t.Active, t.Lookup, t.Matched = r.u32(w), r.u64(w), r.u64(w)
		out = append(out, t)
	}
	return out, r.err
}

// DecodePorts reads the body of a MPPortDesc reply.
func DecodePorts(b []byte) ([]Port, error) {
	r := &reader{b: b}
	out := make([]Port, 0, len(b)/portLen)
	for r.left() > 0 {
		out = append(out, r.port())
	}
	return out, r.err
}

// AppendPort appends one port of a MPPortDesc reply.
func AppendPort(dst []byte, p *Port) []byte { return p.append(dst) }

// PortStats are the counters of a port.
type PortStats struct {
	Port                                    uint32
	RxPackets, TxPackets, RxBytes, TxBytes  uint64
	RxDropped, TxDropped, RxErrors, TxError uint64
	RxFrame, RxOver, RxCRC, Collisions      uint64
	DurationSec, DurationNs                 uint32
}

func (s *PortStats) cols() []*uint64 {
	return []*uint64{&s.RxPackets, &s.TxPackets, &s.RxBytes, &s.TxBytes, &s.RxDropped, &s.TxDropped,
		&s.RxErrors, &s.TxError, &s.RxFrame, &s.RxOver, &s.RxCRC, &s.Collisions}
}

func (s *PortStats) Append(dst []byte) []byte {
	dst = zeros(be.AppendUint32(dst, s.Port), 4)
	for _, c := range s.cols() {
		dst = be.AppendUint64(dst, *c)
	}
	return be.AppendUint32(be.AppendUint32(dst, s.DurationSec), s.DurationNs)
}

// DecodePortStats reads the body of a MPPortStats reply.
func DecodePortStats(b []byte) ([]PortStats, error) {
	const w = "port stats"
	r := &reader{b: b}
	var out []PortStats
	for r.left() > 0 {
		s := PortStats{Port: r.u32(w)}
		r.skip(4, w)
		for _, c := range s.cols() {
			*c = r.u64(w)
		}
		s.DurationSec, s.DurationNs = r.u32(w), r.u32(w)
		out = append(out, s)
	}
	return out, r.err
}
