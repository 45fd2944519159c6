// SPDX-License-Identifier: Apache-2.0

package openflow

// Flags of a FlowMonitor.
const (
	MonitorInitial uint16 = 1 << 0 // flows that are there now
	MonitorAdd     uint16 = 1 << 1
	MonitorDelete  uint16 = 1 << 2
	MonitorModify  uint16 = 1 << 3
	MonitorActions uint16 = 1 << 4 // tell instructions too
	MonitorOwn     uint16 = 1 << 5 // own changes in full, not abbreviated
)

// FlowMonitor asks to be told of changes to flows: the ONF extension for
// OpenFlow 1.3 (EXT-187). ID is the caller's number for FlowMonitorCancel.
type FlowMonitor struct {
	ID      uint32
	Flags   uint16
	Table   uint8
	OutPort uint32 // 0: any
	Match   []byte
}

// Request makes the multipart request.
func (m *FlowMonitor) Request() *MultipartRequest {
	port := m.OutPort
	if port == 0 {
		port = PortAny
	}
	b := be.AppendUint32(be.AppendUint32(nil, ExperimenterONF), onfFlowMonitorCancel)
	b = be.AppendUint16(be.AppendUint32(b, m.ID), m.Flags)
	b = be.AppendUint16(b, uint16(len(m.Match)+4))
	b = append(be.AppendUint32(b, port), m.Table, 0, 0, 0)
	return &MultipartRequest{Type: MPExperimenter, Body: appendMatch(b, m.Match)}
}

// FlowMonitorCancel ends a monitor.
type FlowMonitorCancel struct{ ID uint32 }

func (m *FlowMonitorCancel) AppendMessage(dst []byte, xid uint32) []byte {
	dst, mark := openExperimenter(dst, xid, ExperimenterONF, onfFlowMonitorCancel)
	return CloseMessage(be.AppendUint32(dst, m.ID), mark)
}

// FlowMonitorState tells that the switch stopped (Paused) sending updates
// because the connection is slow, or goes on.
type FlowMonitorState struct{ Paused bool }

func (m *FlowMonitorState) AppendMessage(dst []byte, xid uint32) []byte {
	typ := onfFlowMonitorResumed
	if m.Paused {
		typ = onfFlowMonitorPaused
	}
	dst, mark := openExperimenter(dst, xid, ExperimenterONF, typ)
	return CloseMessage(dst, mark)
}

// Events of a FlowUpdate.
const (
	UpdateAdded    uint16 = 0
	UpdateDeleted  uint16 = 1
	UpdateModified uint16 = 2
	UpdateAbbrev   uint16 = 3 // own change; only XID is set
)

// FlowUpdate is one change told by a monitor.
type FlowUpdate struct {
	Event                    uint16
	Reason                   uint16
	Priority                 uint16
	IdleTimeout, HardTimeout uint16
	Table                    uint8
	Cookie                   uint64
	Match                    []byte
	Instructions             []byte
	XID                      uint32
}

// IsFlowUpdate reports a multipart reply that carries flow updates.
func IsFlowUpdate(m *MultipartReply) bool {
	return m.Type == MPExperimenter && len(m.Body) >= 8 &&
		be.Uint32(m.Body) == ExperimenterONF && be.Uint32(m.Body[4:]) == onfFlowMonitorCancel
}

// DecodeFlowUpdates reads the body of a reply for which IsFlowUpdate holds.
func DecodeFlowUpdates(body []byte) ([]FlowUpdate, error) {
	const w = "flow update"
	r := &reader{b: body}
	r.skip(8, w)
	var out []FlowUpdate
	for r.left() > 0 {
		n, event := int(r.u16(w)), r.u16(w)
		e := r.sub(n, 4, w)
		u := FlowUpdate{Event: event}
		if event == UpdateAbbrev {
			u.XID = e.u32(w)
		} else {
			u.Reason, u.Priority, u.IdleTimeout, u.HardTimeout = e.u16(w), e.u16(w), e.u16(w), e.u16(w)
			e.skip(2, w)
			u.Table = e.u8(w)
			e.skip(1, w)
			u.Cookie, u.Match, u.Instructions = e.u64(w), e.match(w), e.rest()
		}
		if e.err != nil {
			return nil, e.err
		}
		out = append(out, u)
	}
	return out, r.err
}
