// SPDX-License-Identifier: Apache-2.0

package oftest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"sync"

	of "nagare/openflow"
)

const (
	partSize   = 60000   // body bytes of one part of a multipart answer
	maxBundles = 16      // open ones of a session
	maxInside  = 1 << 20 // messages in a bundle
)

type session struct {
	s  *Switch
	nc net.Conn

	wmu sync.Mutex // one writer at a time

	// Guarded by Switch.mu.
	greeted  bool
	role     uint32
	extended bool // packet-ins as NXT_PACKET_IN2
	async    of.AsyncConfig
	dropped  bool

	// Session goroutine only.
	bundles map[uint32]*bundle
	parts   map[uint32][]byte // unfinished multipart requests by xid
}

type bundle struct {
	flags  uint16
	closed bool
	msgs   []bundled
}

type bundled struct {
	xid uint32
	msg of.Message
}

func (ss *session) write(b []byte) error {
	ss.wmu.Lock()
	defer ss.wmu.Unlock()
	_, err := ss.nc.Write(b)
	return err
}

// run reads messages until the connection ends. All messages of one read are
// handled, then their answers are written at once.
func (ss *session) run(ctx context.Context) error {
	if err := ss.write((&of.Hello{Versions: ss.s.opt.Versions}).AppendMessage(nil, 1)); err != nil {
		return err
	}
	var f of.Framer
	var out []byte
	for {
		n, err := ss.nc.Read(f.Space())
		f.Wrote(n)
		out = out[:0]
		for {
			b, ferr := f.Next()
			if ferr != nil {
				return ferr
			}
			if b == nil {
				break
			}
			if werr := ss.s.work(ctx, ss, b); werr != nil {
				return werr
			}
			var herr error
			if out, herr = ss.handle(out, b); herr != nil {
				ss.write(out)
				return herr
			}
		}
		if len(out) > 0 {
			if werr := ss.write(out); werr != nil {
				return werr
			}
		}
		ss.s.mu.Lock()
		ss.s.signalLocked()
		ss.s.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// handle handles one message and appends the answers to out.
func (ss *session) handle(out, raw []byte) ([]byte, error) {
	s := ss.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Messages++
	if s.silent {
		return out, nil
	}
	h, m, err := of.Decode(bytes.Clone(raw))
	if err != nil {
		return ss.refuse(out, h.XID, raw, fail(of.ErrTypeBadRequest, badLen)), nil
	}
	if !ss.greeted {
		hello, ok := m.(*of.Hello)
		if !ok {
			return out, fmt.Errorf("oftest: message type %d before hello", h.Type)
		}
		if s.opt.Versions&(1<<of.Version) == 0 || !hello.Speaks() {
			e := &of.Error{Type: of.ErrTypeHelloFailed, Data: []byte("no common version")}
			return e.AppendMessage(out, h.XID), &of.VersionError{Header: hello.Header, Versions: hello.Versions}
		}
		ss.greeted = true
		return out, nil
	}
	answer, e := ss.respond(h, m, &out)
	switch {
	case e != nil:
		out = ss.refuse(out, h.XID, raw, e)
	case answer != nil:
		out = answer.AppendMessage(out, h.XID)
	}
	return out, nil
}

// refuse appends an error with the first 64 bytes of the message (section 7.4.4).
func (ss *session) refuse(out []byte, xid uint32, raw []byte, e *of.Error) []byte {
	ss.s.counts.ErrorsSent++
	c := *e
	c.Data = raw[:min(len(raw), 64)]
	return c.AppendMessage(out, xid)
}

func (ss *session) respond(h of.Header, m of.Message, out *[]byte) (of.Message, *of.Error) {
	s := ss.s
	switch m := m.(type) {
	case *of.Hello, *of.EchoReply, *of.Error, *of.SetConfig:
		return nil, nil
	case *of.EchoRequest:
		s.counts.Echoes++
		return &of.EchoReply{Data: m.Data}, nil
	case *of.FeaturesRequest:
		return &of.FeaturesReply{DatapathID: s.opt.DatapathID, Tables: uint8(s.opt.Tables), Capabilities: 0x4f}, nil
	case *of.GetConfigRequest:
		return &of.GetConfigReply{MissSendLen: 128}, nil
	case *of.BarrierRequest:
		s.counts.Barriers++
		return &of.BarrierReply{}, nil
	case *of.RoleRequest:
		return ss.setRole(m.Role)
	case *of.SetAsync:
		ss.async = m.AsyncConfig
		return nil, nil
	case *of.GetAsyncRequest:
		return &of.GetAsyncReply{AsyncConfig: ss.async}, nil
	case *of.FlowMod, *of.GroupMod, *of.MeterMod, *of.PacketOut:
		x := &tx{t: s.t}
		if e := ss.change(x, m); e != nil {
			x.rollback()
			return nil, e
		}
		ss.notify(x, out)
		return nil, nil
	case *of.MultipartRequest:
		return ss.multipart(h, m, out)
	case *of.BundleControl:
		return ss.bundleControl(m, out)
	case *of.BundleAdd:
		return nil, ss.bundleAdd(h, m)
	case *of.SetPacketInFormat:
		ss.extended = m.Format == of.PacketInExtended
		return nil, nil
	case *of.SetControllerID:
		return nil, nil
	case *of.CTFlushZone:
		s.counts.CTFlushes++
		if s.opt.OnFlush != nil {
			s.opt.OnFlush(m.Zone)
		}
		return nil, nil
	case *of.CTFlush:
		s.counts.CTFlushes++
		return nil, nil
	case *of.Experimenter:
		if m.Experimenter != of.ExperimenterNicira && m.Experimenter != of.ExperimenterONF {
			return nil, fail(of.ErrTypeBadRequest, badVendor)
		}
		return nil, fail(of.ErrTypeBadRequest, badSubtype)
	}
	return nil, fail(of.ErrTypeBadRequest, badType)
}

// change applies one state-changing message, counted and subject to Refuse.
func (ss *session) change(x *tx, m of.Message) *of.Error {
	s := ss.s
	switch m := m.(type) {
	case *of.FlowMod:
		s.counts.FlowMods++
		switch m.Command {
		case of.FlowAdd:
			s.counts.FlowAdds++
		case of.FlowModify, of.FlowModifyStrict:
			s.counts.FlowModifies++
		default:
			s.counts.FlowDeletes++
		}
	case *of.GroupMod:
		s.counts.GroupMods++
	case *of.MeterMod:
		s.counts.MeterMods++
	case *of.PacketOut:
		s.counts.PacketOuts++
	}
	if ss.role == of.RoleSecondary {
		return fail(of.ErrTypeBadRequest, isSecondary)
	}
	if s.refuse != nil {
		if e := s.refuse(m); e != nil {
			return e
		}
	}
	if p, ok := m.(*of.PacketOut); ok {
		if s.opt.OnPacketOut != nil {
			s.opt.OnPacketOut(p)
		}
		return nil
	}
	return x.apply(m, s.opt.Tables)
}

func (x *tx) apply(m of.Message, tables int) *of.Error {
	switch m := m.(type) {
	case *of.FlowMod:
		return x.flowMod(m, tables)
	case *of.GroupMod:
		return x.groupMod(m)
	case *of.MeterMod:
		return x.meterMod(m)
	}
	return fail(of.ErrTypeBadRequest, badType)
}

func (ss *session) notify(x *tx, out *[]byte) {
	for _, r := range x.removed {
		*out = r.AppendMessage(*out, 0)
	}
}

func (ss *session) setRole(r of.Role) (of.Message, *of.Error) {
	s := ss.s
	switch r.Role {
	case of.RoleNoChange:
	case of.RoleEqual:
		ss.role = r.Role
	case of.RolePrimary, of.RoleSecondary:
		if s.genKnown && int64(r.GenerationID-s.gen) < 0 {
			return nil, fail(of.ErrTypeRoleRequest, staleRole)
		}
		s.gen, s.genKnown = r.GenerationID, true
		if r.Role == of.RolePrimary {
			for o := range s.sessions {
				if o.role == of.RolePrimary {
					o.role = of.RoleSecondary
				}
			}
		}
		ss.role = r.Role
	default:
		return nil, fail(of.ErrTypeRoleRequest, badRole)
	}
	gen := s.gen
	if !s.genKnown {
		gen = ^uint64(0)
	}
	return &of.RoleReply{Role: of.Role{Role: ss.role, GenerationID: gen}}, nil
}

func (ss *session) bundleControl(m *of.BundleControl, out *[]byte) (of.Message, *of.Error) {
	b := ss.bundles[m.ID]
	reply := &of.BundleControl{ID: m.ID, Type: m.Type + 1, Flags: m.Flags}
	if b == nil && m.Type != of.BundleOpenRequest {
		return nil, failONF(bundleBadID)
	}
	switch m.Type {
	case of.BundleOpenRequest:
		if b != nil {
			delete(ss.bundles, m.ID)
			return nil, failONF(bundleBadID)
		}
		if len(ss.bundles) >= maxBundles {
			return nil, failONF(bundleTooMany)
		}
		ss.bundles[m.ID] = &bundle{flags: m.Flags}
	case of.BundleCloseRequest:
		if b.closed {
			delete(ss.bundles, m.ID)
			return nil, failONF(bundleClosed)
		}
		b.closed = true
	case of.BundleDiscardRequest:
		delete(ss.bundles, m.ID)
	case of.BundleCommitRequest:
		delete(ss.bundles, m.ID)
		if b.flags != m.Flags {
			return nil, failONF(bundleBadFlags)
		}
		if !ss.commit(b, out) {
			ss.s.counts.BundlesRefused++
			return nil, failONF(bundleMsgFailed)
		}
		ss.s.counts.BundlesCommitted++
	default:
		return nil, failONF(bundleBadType)
	}
	return reply, nil
}

// commit applies all messages or none; the first that fails is told by its xid.
func (ss *session) commit(b *bundle, out *[]byte) bool {
	x := &tx{t: ss.s.t}
	defer func() { ss.s.counts.GroupsDeletedInUse += x.inUse }()
	for _, bm := range b.msgs {
		if e := ss.change(x, bm.msg); e != nil {
			x.rollback()
			*out = ss.refuse(*out, bm.xid, bm.msg.AppendMessage(nil, bm.xid), e)
			return false
		}
	}
	ss.notify(x, out)
	return true
}

func (ss *session) bundleAdd(h of.Header, m *of.BundleAdd) *of.Error {
	b := ss.bundles[m.ID]
	switch m.Inner.(type) {
	case *of.FlowMod, *of.GroupMod, *of.PacketOut:
	default:
		return failONF(bundleMsgUnsup)
	}
	if b == nil { // an add opens its bundle, says EXT-230
		if len(ss.bundles) >= maxBundles {
			return failONF(bundleTooMany)
		}
		b = &bundle{flags: m.Flags}
		ss.bundles[m.ID] = b
	}
	switch {
	case b.closed:
		return failONF(bundleClosed)
	case b.flags != m.Flags:
		return failONF(bundleBadFlags)
	case len(b.msgs) >= maxInside:
		return failONF(bundleMsgMany)
	}
	b.msgs = append(b.msgs, bundled{h.XID, m.Inner})
	return nil
}

// multipart answers a request, in as many parts as needed.
func (ss *session) multipart(h of.Header, m *of.MultipartRequest, out *[]byte) (of.Message, *of.Error) {
	if m.More || ss.parts[h.XID] != nil {
		all := append(ss.parts[h.XID], m.Body...)
		if len(all) > 1<<20 || len(ss.parts) > 16 {
			return nil, fail(of.ErrTypeBadRequest, badLen)
		}
		if m.More {
			ss.parts[h.XID] = all
			return nil, nil
		}
		delete(ss.parts, h.XID)
		m.Body = all
	}
	var body []byte
	var e *of.Error
	// part ends an element; it sends off what is full.
	part := func(element []byte) {
		if len(body)+len(element) > partSize {
			*out = (&of.MultipartReply{Type: m.Type, More: true, Body: body}).AppendMessage(*out, h.XID)
			body = body[:0]
		}
		body = append(body, element...)
	}
	if e = ss.elements(m, part); e != nil {
		return nil, e
	}
	return &of.MultipartReply{Type: m.Type, Body: body}, nil
}

func (ss *session) elements(m *of.MultipartRequest, part func([]byte)) *of.Error {
	s, t := ss.s, ss.s.t
	id := func() uint32 {
		if len(m.Body) < 4 {
			return 0
		}
		return uint32(m.Body[0])<<24 | uint32(m.Body[1])<<16 | uint32(m.Body[2])<<8 | uint32(m.Body[3])
	}
	switch m.Type {
	case of.MPDesc:
		part(s.opt.Desc.Append(nil))
	case of.MPFlow, of.MPAggregate:
		f, err := of.DecodeFlowFilter(m.Body)
		if err != nil {
			return fail(of.ErrTypeBadRequest, badLen)
		}
		match, err := of.CanonicalMatch(f.Match)
		if err != nil {
			return matchError(err)
		}
		want := parse(string(match))
		ks := t.sorted(func(k flowKey, fl flow) bool {
			return (f.Table == of.TableAll || f.Table == k.table) && (fl.cookie^f.Cookie)&f.CookieMask == 0 &&
				want.covers(k.match) && hasOutput(fl.instructions, f.OutPort, f.OutGroup)
		})
		if m.Type == of.MPAggregate {
			part((&of.Aggregate{Flows: uint32(len(ks))}).Append(nil))
			return nil
		}
		var buf []byte
		for _, k := range ks {
			st := stats(k, t.flows[k])
			buf = st.Append(buf[:0])
			part(buf)
		}
	case of.MPTable:
		active := make([]uint32, 256)
		for k := range t.flows {
			active[k.table]++
		}
		for i := range s.opt.Tables {
			part((&of.TableStats{Table: uint8(i), Active: active[i]}).Append(nil))
		}
	case of.MPPortDesc:
		for i := range s.ports {
			part(of.AppendPort(nil, &s.ports[i]))
		}
	case of.MPPortStats:
		for _, p := range s.ports {
			if n := id(); n == of.PortAny || n == p.No {
				part((&of.PortStats{Port: p.No}).Append(nil))
			}
		}
	case of.MPGroupDesc:
		for _, g := range t.sortedGroups() {
			part(g.Append(nil))
		}
	case of.MPGroup:
		for _, g := range t.sortedGroups() {
			if n := id(); n == of.GroupAll || n == g.ID {
				part((&of.GroupStats{ID: g.ID, Buckets: make([]of.BucketStats, len(g.Buckets))}).Append(nil))
			}
		}
	case of.MPGroupFeatures:
		part((&of.GroupFeatures{Types: 0xf, Capabilities: 7, MaxGroups: [4]uint32{of.GroupMax, of.GroupMax, of.GroupMax, of.GroupMax}}).Append(nil))
	case of.MPMeterConfig:
		for _, c := range t.sortedMeters() {
			if n := id(); n == of.MeterAll || n == c.ID {
				part(c.Append(nil))
			}
		}
	case of.MPMeter:
		for _, c := range t.sortedMeters() {
			if n := id(); n == of.MeterAll || n == c.ID {
				part((&of.MeterStatistics{ID: c.ID, Bands: make([]of.BucketStats, len(c.Bands))}).Append(nil))
			}
		}
	case of.MPMeterFeatures:
		part((&of.MeterFeatures{MaxMeter: 262144, BandTypes: 1 << of.BandDrop, Capabilities: 0xf, MaxBands: 8}).Append(nil))
	default:
		return fail(of.ErrTypeBadRequest, badMultipart)
	}
	return nil
}

func (t *tables) sortedGroups() []of.GroupDesc {
	out := make([]of.GroupDesc, 0, len(t.groups))
	for _, g := range t.groups {
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b of.GroupDesc) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

func (t *tables) sortedMeters() []of.MeterConfig {
	out := make([]of.MeterConfig, 0, len(t.meters))
	for _, m := range t.meters {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b of.MeterConfig) int { return cmp.Compare(a.ID, b.ID) })
	return out
}
