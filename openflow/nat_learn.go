// SPDX-License-Identifier: Apache-2.0

package openflow

import "net/netip"

// Flags of NAT.
const (
	NATSrc        uint16 = 1 << 0
	NATDst        uint16 = 1 << 1
	NATPersistent uint16 = 1 << 2
	NATProtoHash  uint16 = 1 << 3
	NATRandom     uint16 = 1 << 4
)

// NAT is the nat(...) inside CT. Without flags it undoes or repeats the
// translation of a known connection. A zero address or port is absent; ports
// need an address before them.
type NAT struct {
	Flags            uint16
	MinAddr, MaxAddr netip.Addr
	MinPort, MaxPort uint16
}

func (a NAT) AppendTo(dst []byte) []byte {
	start := len(dst)
	dst = be.AppendUint16(zeros(nicira(dst, nxNAT), 2), a.Flags)
	var present uint16
	at := len(dst)
	dst = zeros(dst, 2)
	addr := func(x netip.Addr, bit4, bit6 uint16) {
		switch x = x.Unmap(); {
		case x.Is4():
			b := x.As4()
			dst, present = append(dst, b[:]...), present|bit4
		case x.Is6():
			b := x.As16()
			dst, present = append(dst, b[:]...), present|bit6
		}
	}
	addr(a.MinAddr, 1<<0, 1<<2)
	addr(a.MaxAddr, 1<<1, 1<<3)
	if a.MinPort != 0 {
		dst, present = be.AppendUint16(dst, a.MinPort), present|1<<4
	}
	if a.MaxPort != 0 {
		dst, present = be.AppendUint16(dst, a.MaxPort), present|1<<5
	}
	be.PutUint16(dst[at:], present)
	return closeAction(dst, start)
}

func decodeNAT(b []byte) (Action, bool) {
	if len(b) < 16 {
		return nil, false
	}
	a := NAT{Flags: be.Uint16(b[12:])}
	present := be.Uint16(b[14:])
	p := b[16:]
	ok := present>>6 == 0
	take := func(bit uint16, n int) []byte {
		if present&bit == 0 {
			return nil
		}
		if len(p) < n {
			ok = false
			return nil
		}
		v := p[:n]
		p = p[n:]
		return v
	}
	addr := func(bit4, bit6 uint16) (x netip.Addr) {
		if v := take(bit4, 4); v != nil {
			x, _ = netip.AddrFromSlice(v)
		}
		if v := take(bit6, 16); v != nil {
			x, _ = netip.AddrFromSlice(v)
			ok = ok && !x.Is4In6()
		}
		return x
	}
	a.MinAddr = addr(1<<0, 1<<2)
	a.MaxAddr = addr(1<<1, 1<<3)
	if v := take(1<<4, 2); v != nil {
		a.MinPort = be.Uint16(v)
	}
	if v := take(1<<5, 2); v != nil {
		a.MaxPort = be.Uint16(v)
	}
	return a, ok && len(p) < 8
}

// Flags of Learn.
const (
	LearnSendFlowRem   uint16 = 1 << 0
	LearnDeleteLearned uint16 = 1 << 1
	LearnWriteResult   uint16 = 1 << 2
)

// LearnDst is what a LearnSpec writes to in the learned flow.
type LearnDst uint16

const (
	LearnMatch  LearnDst = 0 // a match on Dst
	LearnLoad   LearnDst = 1 // a load action into Dst
	LearnOutput LearnDst = 2 // an output to the port held by Src
)

// LearnSpec is one clause of learn(): Bits bits taken from Src, or from
// Immediate if Src names no field, put into the learned flow. Only the offset
// of Src and Dst counts; the length is Bits.
type LearnSpec struct {
	To        LearnDst
	Bits      uint16 // 1..1023
	Src       Subfield
	Immediate []byte // right-aligned, (Bits+15)/16*2 bytes
	Dst       Subfield
}

// Learn is the learn() action. A Limit or LearnWriteResult makes it the newer
// learn2 form; New forces that form.
type Learn struct {
	IdleTimeout, HardTimeout       uint16
	Priority                       uint16
	Cookie                         uint64
	Flags                          uint16
	Table                          uint8
	FinIdleTimeout, FinHardTimeout uint16
	New                            bool
	Limit                          uint32
	Result                         Subfield // one bit, with LearnWriteResult
	Specs                          []LearnSpec
}

func (a Learn) AppendTo(dst []byte) []byte {
	start, sub := len(dst), nxLearn
	second := a.New || a.Limit != 0 || a.Flags&LearnWriteResult != 0
	if second {
		sub = nxLearn2
	}
	dst = be.AppendUint16(nicira(dst, sub), a.IdleTimeout)
	dst = be.AppendUint16(dst, a.HardTimeout)
	dst = be.AppendUint16(dst, a.Priority)
	dst = be.AppendUint64(dst, a.Cookie)
	dst = be.AppendUint16(dst, a.Flags)
	dst = append(dst, a.Table, 0)
	dst = be.AppendUint16(dst, a.FinIdleTimeout)
	dst = be.AppendUint16(dst, a.FinHardTimeout)
	if second {
		dst = be.AppendUint32(dst, a.Limit)
		dst = zeros(be.AppendUint16(dst, a.Result.Ofs), 2)
		if a.Flags&LearnWriteResult != 0 && a.Result.Field != nil {
			dst = appendFieldHeader(dst, a.Result.Field)
		}
	}
	for _, s := range a.Specs {
		h := uint16(s.To)<<11 | s.Bits&0x3ff
		if s.Src.Field == nil {
			h |= 1 << 13
		}
		dst = be.AppendUint16(dst, h)
		if s.Src.Field == nil {
			dst = appendFit(dst, s.Immediate, immBytes(s.Bits))
		} else {
			dst = be.AppendUint16(appendFieldHeader(dst, s.Src.Field), s.Src.Ofs)
		}
		if s.To != LearnOutput && s.Dst.Field != nil {
			dst = be.AppendUint16(appendFieldHeader(dst, s.Dst.Field), s.Dst.Ofs)
		}
	}
	return closeAction(dst, start)
}

func immBytes(bits uint16) int { return (int(bits&0x3ff) + 15) / 16 * 2 }

func decodeLearn(b []byte, second bool) (Action, bool) {
	if len(b) < 32 || second && len(b) < 40 {
		return nil, false
	}
	a := Learn{IdleTimeout: be.Uint16(b[10:]), HardTimeout: be.Uint16(b[12:]), Priority: be.Uint16(b[14:]),
		Cookie: be.Uint64(b[16:]), Flags: be.Uint16(b[24:]), Table: b[26],
		FinIdleTimeout: be.Uint16(b[28:]), FinHardTimeout: be.Uint16(b[30:])}
	p := b[32:]
	if second {
		a.New, a.Limit, a.Result.Ofs, a.Result.Bits = true, be.Uint32(p), be.Uint16(p[4:]), 1
		p = p[8:]
		if a.Flags&LearnWriteResult != 0 {
			if a.Result.Field, p = fieldHeader(p); a.Result.Field == nil {
				return nil, false
			}
		}
	} else if a.Flags&LearnWriteResult != 0 {
		return nil, false
	}
	for len(p) >= 2 && be.Uint16(p) != 0 {
		h := be.Uint16(p)
		s := LearnSpec{To: LearnDst(h >> 11 & 3), Bits: h & 0x3ff}
		p = p[2:]
		if h>>14 != 0 || s.To > LearnOutput {
			return nil, false
		}
		var ok bool
		if h>>13&1 != 0 {
			n := immBytes(s.Bits)
			if len(p) < n || s.To == LearnOutput {
				return nil, false
			}
			s.Immediate, p = p[:n:n], p[n:]
		} else if s.Src, p, ok = learnField(p, s.Bits); !ok {
			return nil, false
		}
		if s.To != LearnOutput {
			if s.Dst, p, ok = learnField(p, s.Bits); !ok {
				return nil, false
			}
		}
		a.Specs = append(a.Specs, s)
	}
	return a, true
}

func learnField(p []byte, bits uint16) (Subfield, []byte, bool) {
	f, p := fieldHeader(p)
	if f == nil || len(p) < 2 {
		return Subfield{}, nil, false
	}
	return Subfield{f, be.Uint16(p), bits}, p[2:], true
}
