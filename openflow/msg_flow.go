// SPDX-License-Identifier: Apache-2.0

package openflow

import "slices"

// FlowCommand is what a FlowMod does (section 7.3.4.1).
type FlowCommand uint8

const (
	FlowAdd          FlowCommand = 0
	FlowModify       FlowCommand = 1
	FlowModifyStrict FlowCommand = 2
	FlowDelete       FlowCommand = 3
	FlowDeleteStrict FlowCommand = 4
)

// Flags of a FlowMod.
const (
	FlowSendFlowRem  uint16 = 1 << 0
	FlowCheckOverlap uint16 = 1 << 1
	FlowResetCounts  uint16 = 1 << 2
	FlowNoPktCounts  uint16 = 1 << 3
	FlowNoBytCounts  uint16 = 1 << 4
)

// TableAll is every table, in a delete or in a statistics request.
const TableAll uint8 = 0xff

// GroupAll and GroupAny are the reserved groups (section 7.2.1).
const (
	GroupMax uint32 = 0xffffff00
	GroupAll uint32 = 0xfffffffc
	GroupAny uint32 = 0xffffffff
)

// FlowMod adds, changes or deletes flows. Match holds TLVs, Instructions their
// wire bytes. OutPort and OutGroup restrict a delete; 0 and PortAny/GroupAny
// mean no restriction. No packet buffer is ever named.
type FlowMod struct {
	Cookie, CookieMask       uint64
	Table                    uint8
	Command                  FlowCommand
	IdleTimeout, HardTimeout uint16 // seconds, 0 = never
	Priority                 uint16
	OutPort, OutGroup        uint32
	Flags                    uint16
	Match                    []byte
	Instructions             []byte
}

// AppendFlowMod appends the message; it allocates only what dst grows by.
func AppendFlowMod(dst []byte, xid uint32, m *FlowMod) []byte {
	port, group := m.OutPort, m.OutGroup
	if port == 0 {
		port = PortAny
	}
	if group == 0 {
		group = GroupAny
	}
	mlen := len(m.Match) + 4
	body := flowModLen + (mlen+7)&^7
	total := body + len(m.Instructions)
	start := len(dst)
	dst = slices.Grow(dst, total)[:start+total]
	h := dst[start : start+total]
	_ = h[flowModLen+7] // one bounds check for the fixed part
	be.PutUint64(h[0:], uint64(Version)<<56|uint64(TypeFlowMod)<<48|uint64(uint16(total))<<32|uint64(xid))
	be.PutUint64(h[8:], m.Cookie)
	be.PutUint64(h[16:], m.CookieMask)
	be.PutUint64(h[24:], uint64(m.Table)<<56|uint64(m.Command)<<48|uint64(m.IdleTimeout)<<32|uint64(m.HardTimeout)<<16|uint64(m.Priority))
	be.PutUint64(h[32:], noBuffer<<32|uint64(port))
	be.PutUint64(h[40:], uint64(group)<<32|uint64(m.Flags)<<16)
	be.PutUint64(h[48:], 1<<48|uint64(uint16(mlen))<<32) // OFPMT_OXM, with the four bytes behind it
	n := flowModLen + 4 + copy(h[flowModLen+4:], m.Match)
	clear(h[n:body])
	copy(h[body:], m.Instructions)
	return dst
}

// flowModLen is the part of a flow mod in front of the match.
const flowModLen = headerLen + 40

func (m *FlowMod) AppendMessage(dst []byte, xid uint32) []byte { return AppendFlowMod(dst, xid, m) }

func decodeFlowMod(r *reader) Message {
	const w = "flow mod"
	m := &FlowMod{Cookie: r.u64(w), CookieMask: r.u64(w), Table: r.u8(w), Command: FlowCommand(r.u8(w)),
		IdleTimeout: r.u16(w), HardTimeout: r.u16(w), Priority: r.u16(w)}
	r.skip(4, w)
	m.OutPort, m.OutGroup, m.Flags = r.u32(w), r.u32(w), r.u16(w)
	if m.OutPort == PortAny {
		m.OutPort = 0
	}
	if m.OutGroup == GroupAny {
		m.OutGroup = 0
	}
	r.skip(2, w)
	m.Match = r.match(w)
	m.Instructions = r.rest()
	return m
}

// FlowRemoved tells that a flow with FlowSendFlowRem ended (section 7.4.2).
type FlowRemoved struct {
	Cookie                   uint64
	Priority                 uint16
	Reason                   uint8 // 0 idle, 1 hard, 2 delete, 3 group delete
	Table                    uint8
	DurationSec, DurationNs  uint32
	IdleTimeout, HardTimeout uint16
	Packets, Bytes           uint64
	Match                    []byte
}

func (m *FlowRemoved) AppendMessage(dst []byte, xid uint32) []byte {
	dst, mark := OpenMessage(dst, TypeFlowRemoved, xid)
	dst = be.AppendUint16(be.AppendUint64(dst, m.Cookie), m.Priority)
	dst = append(dst, m.Reason, m.Table)
	dst = be.AppendUint32(be.AppendUint32(dst, m.DurationSec), m.DurationNs)
	dst = be.AppendUint16(be.AppendUint16(dst, m.IdleTimeout), m.HardTimeout)
	dst = be.AppendUint64(be.AppendUint64(dst, m.Packets), m.Bytes)
	return CloseMessage(appendMatch(dst, m.Match), mark)
}

func decodeFlowRemoved(r *reader) Message {
	const w = "flow removed"
	return &FlowRemoved{Cookie: r.u64(w), Priority: r.u16(w), Reason: r.u8(w), Table: r.u8(w),
		DurationSec: r.u32(w), DurationNs: r.u32(w), IdleTimeout: r.u16(w), HardTimeout: r.u16(w),
		Packets: r.u64(w), Bytes: r.u64(w), Match: r.match(w)}
}

// Group commands and types (section 7.3.4.2).
const (
	GroupAdd    uint16 = 0
	GroupModify uint16 = 1
	GroupDelete uint16 = 2
	// GroupAddOrModify is Open vSwitch's: it makes the group or replaces it (OpenFlow 1.1 and later, Open vSwitch 2.6).
	GroupAddOrModify uint16 = 0x8000

	GroupTypeAll      uint8 = 0
	GroupTypeSelect   uint8 = 1
	GroupTypeIndirect uint8 = 2
	GroupTypeFF       uint8 = 3
)

// Bucket is one set of actions of a group. Actions holds wire bytes. WatchPort
// and WatchGroup matter for fast failover; 0 means none (PortAny, GroupAny).
type Bucket struct {
	Weight                uint16
	WatchPort, WatchGroup uint32
	Actions               []byte
}

func (b *Bucket) append(dst []byte) []byte {
	port, group := b.WatchPort, b.WatchGroup
	if port == 0 {
		port = PortAny
	}
	if group == 0 {
		group = GroupAny
	}
	dst = be.AppendUint16(dst, uint16(16+len(b.Actions)))
	dst = be.AppendUint16(dst, b.Weight)
	dst = be.AppendUint32(be.AppendUint32(dst, port), group)
	return append(zeros(dst, 4), b.Actions...)
}

func decodeBuckets(r *reader) []Bucket {
	const w = "bucket"
	var out []Bucket
	for r.left() > 0 {
		n := int(r.u16(w))
		e := r.sub(n, 2, w)
		b := Bucket{Weight: e.u16(w), WatchPort: e.u32(w), WatchGroup: e.u32(w)}
		if b.WatchPort == PortAny {
			b.WatchPort = 0
		}
		if b.WatchGroup == GroupAny {
			b.WatchGroup = 0
		}
		e.skip(4, w)
		b.Actions = e.rest()
		if e.err != nil {
			r.fail(w, ErrLength)
			return nil
		}
		out = append(out, b)
	}
	return out
}

// GroupMod adds, changes or deletes a group. The whole message is limited to
// MaxMessage bytes, some 600 to 1,000 buckets.
type GroupMod struct {
	Command uint16
	Type    uint8
	ID      uint32 // GroupAll deletes every group
	Buckets []Bucket
}

func (m *GroupMod) AppendMessage(dst []byte, xid uint32) []byte {
	dst, mark := OpenMessage(dst, TypeGroupMod, xid)
	dst = be.AppendUint16(dst, m.Command)
	dst = be.AppendUint32(append(dst, m.Type, 0), m.ID)
	for i := range m.Buckets {
		dst = m.Buckets[i].append(dst)
	}
	return CloseMessage(dst, mark)
}

func decodeGroupMod(r *reader) Message {
	const w = "group mod"
	m := &GroupMod{Command: r.u16(w), Type: r.u8(w)}
	r.skip(1, w)
	m.ID = r.u32(w)
	m.Buckets = decodeBuckets(r)
	return m
}

// Meter commands, flags and ids (section 7.3.4.4).
const (
	MeterAdd    uint16 = 0
	MeterModify uint16 = 1
	MeterDelete uint16 = 2

	MeterKbps  uint16 = 1 << 0
	MeterPktps uint16 = 1 << 1
	MeterBurst uint16 = 1 << 2
	MeterStats uint16 = 1 << 3

	MeterMax        uint32 = 0xffff0000
	MeterSlowpath   uint32 = 0xfffffffd
	MeterController uint32 = 0xfffffffe
	MeterAll        uint32 = 0xffffffff

	BandDrop       uint16 = 1
	BandDSCPRemark uint16 = 2
)

// Band is what a meter does above a rate. Rate is in kbit/s or packets/s, Burst
// in kbit or packets.
type Band struct {
	Type       uint16
	Rate       uint32
	Burst      uint32
	Precedence uint8 // BandDSCPRemark only
}

// MeterMod adds, changes or deletes a meter. It cannot ride in a bundle.
type MeterMod struct {
	Command uint16
	Flags   uint16
	ID      uint32
	Bands   []Band
}

func appendBands(dst []byte, bands []Band) []byte {
	for _, b := range bands {
		dst = append(be.AppendUint16(dst, b.Type), 0, 16)
		dst = be.AppendUint32(be.AppendUint32(dst, b.Rate), b.Burst)
		dst = append(dst, b.Precedence, 0, 0, 0)
	}
	return dst
}

func decodeBands(r *reader) []Band {
	const w = "meter band"
	var out []Band
	for r.left() > 0 {
		typ, n := r.u16(w), int(r.u16(w))
		e := r.sub(n, 4, w)
		b := Band{Type: typ, Rate: e.u32(w), Burst: e.u32(w), Precedence: e.u8(w)}
		if e.err != nil {
			r.fail(w, ErrLength)
			return nil
		}
		if typ != BandDSCPRemark {
			b.Precedence = 0
		}
		out = append(out, b)
	}
	return out
}

func (m *MeterMod) AppendMessage(dst []byte, xid uint32) []byte {
	dst, mark := OpenMessage(dst, TypeMeterMod, xid)
	dst = be.AppendUint16(be.AppendUint16(dst, m.Command), m.Flags)
	return CloseMessage(appendBands(be.AppendUint32(dst, m.ID), m.Bands), mark)
}

func decodeMeterMod(r *reader) Message {
	const w = "meter mod"
	m := &MeterMod{Command: r.u16(w), Flags: r.u16(w), ID: r.u32(w)}
	m.Bands = decodeBands(r)
	return m
}
