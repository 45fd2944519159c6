// SPDX-License-Identifier: Apache-2.0

package openflow

import "fmt"

// Hello opens a session. Versions is a bitmap of wire versions (bit 4 is
// OpenFlow 1.3); 0 means that only the header version was given.
type Hello struct {
	Header   uint8 // version in the header: the highest one; 0 means Version
	Versions uint32
}

// Speaks reports whether the sender of the hello can talk OpenFlow 1.3.
func (m *Hello) Speaks() bool {
	if m.Versions != 0 {
		return m.Versions&(1<<Version) != 0
	}
	return m.Header >= Version
}

func (m *Hello) AppendMessage(dst []byte, xid uint32) []byte {
	dst, mark := OpenMessage(dst, TypeHello, xid)
	if m.Header != 0 {
		dst[mark] = m.Header
	}
	if m.Versions != 0 {
		dst = append(dst, 0, 1, 0, 8)
		dst = be.AppendUint32(dst, m.Versions)
	}
	return CloseMessage(dst, mark)
}

func decodeHello(version uint8, r *reader) Message {
	m := &Hello{Header: version}
	for r.left() >= 4 { // shorter rests are not elements; old versions send anything
		typ, n := r.u16("hello"), int(r.u16("hello"))
		if n < 4 || r.left() < n-4 {
			r.fail("hello element", ErrLength)
			return nil
		}
		body := r.take(n-4, "hello element")
		if typ == 1 && len(body) >= 4 {
			m.Versions = be.Uint32(body)
		}
		r.skip(min((8-n%8)%8, r.left()), "hello element")
	}
	return m
}

// VersionError: the peer cannot speak OpenFlow 1.3.
type VersionError struct {
	Header   uint8
	Versions uint32
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("switch speaks no OpenFlow 1.3 (hello version %d, bitmap %#x): add OpenFlow13 to the bridge's protocols", e.Header, e.Versions)
}

func (e *Error) AppendMessage(dst []byte, xid uint32) []byte {
	dst, mark := OpenMessage(dst, TypeError, xid)
	dst = be.AppendUint16(be.AppendUint16(dst, e.Type), e.Code)
	if e.Type == ErrTypeExperimenter {
		dst = be.AppendUint32(dst, e.Experimenter)
	}
	return CloseMessage(append(dst, e.Data...), mark)
}

func decodeError(r *reader) Message {
	e := &Error{Type: r.u16("error"), Code: r.u16("error")}
	if e.Type == ErrTypeExperimenter {
		e.Experimenter = r.u32("error")
	}
	e.Data = r.rest()
	return e
}

type (
	// EchoRequest and EchoReply keep a session alive.
	EchoRequest struct{ Data []byte }
	EchoReply   struct{ Data []byte }
	// FeaturesRequest asks who the switch is.
	FeaturesRequest struct{}
	// GetConfigRequest asks for the switch configuration.
	GetConfigRequest struct{}
	// BarrierRequest is answered when everything before it was processed.
	BarrierRequest struct{}
	BarrierReply   struct{}
	// GetAsyncRequest asks which asynchronous messages are sent.
	GetAsyncRequest struct{}
)

func simple(dst []byte, typ uint8, xid uint32, body []byte) []byte {
	dst, mark := OpenMessage(dst, typ, xid)
	return CloseMessage(append(dst, body...), mark)
}

func (m *EchoRequest) AppendMessage(dst []byte, xid uint32) []byte {
	return simple(dst, TypeEchoRequest, xid, m.Data)
}
func (m *EchoReply) AppendMessage(dst []byte, xid uint32) []byte {
	return simple(dst, TypeEchoReply, xid, m.Data)
}
func (m *FeaturesRequest) AppendMessage(dst []byte, xid uint32) []byte {
	return simple(dst, TypeFeaturesRequest, xid, nil)
}
func (m *GetConfigRequest) AppendMessage(dst []byte, xid uint32) []byte {
	return simple(dst, TypeGetConfigRequest, xid, nil)
}
func (m *BarrierRequest) AppendMessage(dst []byte, xid uint32) []byte {
	return simple(dst, TypeBarrierRequest, xid, nil)
}
func (m *BarrierReply) AppendMessage(dst []byte, xid uint32) []byte {
	return simple(dst, TypeBarrierReply, xid, nil)
}
func (m *GetAsyncRequest) AppendMessage(dst []byte, xid uint32) []byte {
	return simple(dst, TypeGetAsyncRequest, xid, nil)
}

// FeaturesReply names the datapath (section 7.3.1).
type FeaturesReply struct {
	DatapathID   uint64
	Buffers      uint32
	Tables       uint8
	AuxID        uint8
	Capabilities uint32
}

func (m *FeaturesReply) AppendMessage(dst []byte, xid uint32) []byte {
	dst, mark := OpenMessage(dst, TypeFeaturesReply, xid)
	dst = be.AppendUint32(be.AppendUint64(dst, m.DatapathID), m.Buffers)
	dst = append(dst, m.Tables, m.AuxID, 0, 0)
	dst = be.AppendUint32(dst, m.Capabilities)
	return CloseMessage(zeros(dst, 4), mark)
}

func decodeFeatures(r *reader) Message {
	m := &FeaturesReply{DatapathID: r.u64("features"), Buffers: r.u32("features"), Tables: r.u8("features"), AuxID: r.u8("features")}
	r.skip(2, "features")
	m.Capabilities = r.u32("features")
	r.skip(4, "features")
	return m
}

type (
	// SetConfig sets fragment handling and how much of a packet a miss sends.
	SetConfig struct{ Flags, MissSendLen uint16 }
	// GetConfigReply has the same content.
	GetConfigReply struct{ Flags, MissSendLen uint16 }
)

func appendConfig(dst []byte, typ uint8, xid uint32, flags, miss uint16) []byte {
	dst, mark := OpenMessage(dst, typ, xid)
	return CloseMessage(be.AppendUint16(be.AppendUint16(dst, flags), miss), mark)
}

func (m *SetConfig) AppendMessage(dst []byte, xid uint32) []byte {
	return appendConfig(dst, TypeSetConfig, xid, m.Flags, m.MissSendLen)
}
func (m *GetConfigReply) AppendMessage(dst []byte, xid uint32) []byte {
	return appendConfig(dst, TypeGetConfigReply, xid, m.Flags, m.MissSendLen)
}

// Roles of a controller (section 7.3.9).
const (
	RoleNoChange  uint32 = 0
	RoleEqual     uint32 = 1
	RolePrimary   uint32 = 2
	RoleSecondary uint32 = 3
)

// Role is a controller's role at a switch and the generation it was given in.
type Role struct {
	Role         uint32
	GenerationID uint64
}

type (
	// RoleRequest asks for a role; a stale generation gives ErrRoleStale.
	RoleRequest struct{ Role }
	RoleReply   struct{ Role }
)

func (m Role) append(dst []byte, typ uint8, xid uint32) []byte {
	dst, mark := OpenMessage(dst, typ, xid)
	dst = zeros(be.AppendUint32(dst, m.Role), 4)
	return CloseMessage(be.AppendUint64(dst, m.GenerationID), mark)
}

func (m *RoleRequest) AppendMessage(dst []byte, xid uint32) []byte {
	return m.append(dst, TypeRoleRequest, xid)
}
func (m *RoleReply) AppendMessage(dst []byte, xid uint32) []byte {
	return m.append(dst, TypeRoleReply, xid)
}

func decodeRole(r *reader) Role {
	role := r.u32("role")
	r.skip(4, "role")
	return Role{role, r.u64("role")}
}

// AsyncConfig has bitmaps of reasons for which a message is sent; index 0 is
// for the roles equal and primary, 1 for secondary (section 7.3.10).
type AsyncConfig struct {
	PacketIn, PortStatus, FlowRemoved [2]uint32
}

type (
	SetAsync      struct{ AsyncConfig }
	GetAsyncReply struct{ AsyncConfig }
)

func (a AsyncConfig) append(dst []byte, typ uint8, xid uint32) []byte {
	dst, mark := OpenMessage(dst, typ, xid)
	for _, p := range [][2]uint32{a.PacketIn, a.PortStatus, a.FlowRemoved} {
		dst = be.AppendUint32(be.AppendUint32(dst, p[0]), p[1])
	}
	return CloseMessage(dst, mark)
}

func (m *SetAsync) AppendMessage(dst []byte, xid uint32) []byte {
	return m.append(dst, TypeSetAsync, xid)
}
func (m *GetAsyncReply) AppendMessage(dst []byte, xid uint32) []byte {
	return m.append(dst, TypeGetAsyncReply, xid)
}

func decodeAsync(r *reader) (a AsyncConfig) {
	for _, p := range []*[2]uint32{&a.PacketIn, &a.PortStatus, &a.FlowRemoved} {
		p[0], p[1] = r.u32("async config"), r.u32("async config")
	}
	return a
}
