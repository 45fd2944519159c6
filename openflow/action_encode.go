// SPDX-License-Identifier: Apache-2.0

package openflow

// closeAction pads dst to a multiple of 8 since start and writes the length.
func closeAction(dst []byte, start int) []byte {
	for (len(dst)-start)%8 != 0 {
		dst = append(dst, 0)
	}
	be.PutUint16(dst[start+2:], uint16(len(dst)-start))
	return dst
}

// std appends a standard action of 8 bytes with a 32-bit argument.
func std(dst []byte, typ uint16, arg uint32) []byte {
	return append(dst, byte(typ>>8), byte(typ), 0, 8, byte(arg>>24), byte(arg>>16), byte(arg>>8), byte(arg))
}

// nicira opens a Nicira action; the argument follows at offset 10. The caller
// closes it with closeAction.
func nicira(dst []byte, subtype uint16) []byte {
	return append(dst, 0xff, 0xff, 0, 0, 0, 0, 0x23, 0x20, byte(subtype>>8), byte(subtype))
}

func zeros(dst []byte, n int) []byte {
	for range n {
		dst = append(dst, 0)
	}
	return dst
}

// appendFieldHeader appends the OXM header, without value, by which Nicira
// actions name a field: 4 bytes, or 8 for an experimenter field.
func appendFieldHeader(dst []byte, f *Field) []byte {
	n := f.Bytes
	if n == 0 {
		n = 124
	}
	return appendTLVHeader(dst, f.Header(), n, false)
}

func ofsBits(s Subfield) uint16 { return s.Ofs<<6 | (s.Bits-1)&0x3f }

func (a Output) AppendTo(dst []byte) []byte {
	p := a.Port
	return append(dst, 0, 0, 0, 16, byte(p>>24), byte(p>>16), byte(p>>8), byte(p),
		byte(a.MaxLen>>8), byte(a.MaxLen), 0, 0, 0, 0, 0, 0)
}

func (a Group) AppendTo(dst []byte) []byte    { return std(dst, actGroup, a.ID) }
func (a SetQueue) AppendTo(dst []byte) []byte { return std(dst, actSetQueue, a.Queue) }
func (a PushVLAN) AppendTo(dst []byte) []byte {
	return std(dst, actPushVLAN, uint32(a.EtherType)<<16)
}
func (a PopVLAN) AppendTo(dst []byte) []byte { return std(dst, actPopVLAN, 0) }
func (a PushMPLS) AppendTo(dst []byte) []byte {
	return std(dst, actPushMPLS, uint32(a.EtherType)<<16)
}
func (a PopMPLS) AppendTo(dst []byte) []byte { return std(dst, actPopMPLS, uint32(a.EtherType)<<16) }
func (a SetTTL) AppendTo(dst []byte) []byte  { return std(dst, actSetTTL, uint32(a.TTL)<<24) }
func (a DecTTL) AppendTo(dst []byte) []byte  { return std(dst, actDecTTL, 0) }

func (a SetField) AppendTo(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, byte(actSetField>>8), byte(actSetField), 0, 0)
	dst = AppendField(dst, a.Field, a.Value, nil)
	return closeAction(dst, start)
}

func (a Load) AppendTo(dst []byte) []byte {
	f := a.Dst.Field
	if f.Header().Class == ClassExperimenter { // has no place for an 8-byte header
		n := uintLen(f)
		mask := (uint64(1)<<(a.Dst.Bits&63) - 1)
		if a.Dst.Bits >= 64 {
			mask = ^uint64(0)
		}
		return LoadMasked{f, appendUintN(nil, a.Value<<a.Dst.Ofs, n), appendUintN(nil, mask<<a.Dst.Ofs, n)}.AppendTo(dst)
	}
	start := len(dst)
	dst = nicira(dst, nxLoad)
	dst = be.AppendUint16(dst, ofsBits(a.Dst))
	dst = appendFieldHeader(dst, f)
	dst = be.AppendUint64(dst, a.Value)
	return closeAction(dst, start)
}

func (a LoadMasked) AppendTo(dst []byte) []byte {
	start := len(dst)
	dst = nicira(dst, nxLoad2) // the TLV follows at once, without padding
	n := a.Field.Bytes
	if n == 0 {
		n = min(len(a.Value), 124)
	}
	dst = appendTLVHeader(dst, a.Field.Header(), n, a.Mask != nil)
	dst = appendFit(dst, a.Value, n)
	if a.Mask != nil {
		dst = appendFit(dst, a.Mask, n)
	}
	return closeAction(dst, start)
}

func (a Move) AppendTo(dst []byte) []byte {
	start := len(dst)
	dst = nicira(dst, nxMove)
	dst = be.AppendUint16(dst, a.Src.Bits)
	dst = be.AppendUint16(dst, a.Src.Ofs)
	dst = be.AppendUint16(dst, a.Dst.Ofs)
	dst = appendFieldHeader(dst, a.Src.Field)
	dst = appendFieldHeader(dst, a.Dst.Field)
	return closeAction(dst, start)
}

func (a OutputReg) AppendTo(dst []byte) []byte {
	start := len(dst)
	dst = nicira(dst, nxOutputReg)
	dst = be.AppendUint16(dst, ofsBits(a.Src))
	dst = appendFieldHeader(dst, a.Src.Field)
	dst = be.AppendUint16(dst, a.MaxLen)
	return closeAction(zeros(dst, 6), start)
}

func (a Push) AppendTo(dst []byte) []byte { return appendStack(dst, nxPush, a.Sub) }
func (a Pop) AppendTo(dst []byte) []byte  { return appendStack(dst, nxPop, a.Sub) }

func appendStack(dst []byte, subtype uint16, s Subfield) []byte {
	start := len(dst)
	dst = nicira(dst, subtype)
	dst = be.AppendUint16(dst, s.Ofs)
	dst = appendFieldHeader(dst, s.Field)
	dst = be.AppendUint16(dst, s.Bits)
	return closeAction(zeros(dst, 24-(len(dst)-start)), start)
}

func (a Controller) AppendTo(dst []byte) []byte {
	start := len(dst)
	dst = nicira(dst, nxController)
	dst = be.AppendUint16(dst, a.MaxLen)
	dst = be.AppendUint16(dst, a.ID)
	return closeAction(append(dst, a.Reason, 0), start)
}

func (a Controller2) AppendTo(dst []byte) []byte {
	start := len(dst)
	dst = zeros(nicira(dst, nxController2), 6)
	prop := func(typ, n uint16) { dst = append(dst, byte(typ>>8), byte(typ), byte((4+n)>>8), byte(4+n)) }
	if a.MaxLen != 0 && a.MaxLen != MaxLenNoBuffer {
		prop(0, 4)
		dst = append(dst, byte(a.MaxLen>>8), byte(a.MaxLen), 0, 0)
	}
	if a.ID != 0 {
		prop(1, 4)
		dst = append(dst, byte(a.ID>>8), byte(a.ID), 0, 0)
	}
	if a.Reason != 0 && a.Reason != ReasonAction {
		prop(2, 1)
		dst = append(dst, a.Reason, 0, 0, 0)
	}
	if n := min(len(a.Userdata), 65000); n > 0 {
		prop(3, uint16(n))
		dst = append(dst, a.Userdata[:n]...)
		dst = zeros(dst, (8-(4+n)%8)%8)
	}
	if a.Pause {
		prop(4, 0)
		dst = zeros(dst, 4)
	}
	if a.MeterID != 0 {
		prop(5, 4)
		dst = be.AppendUint32(dst, a.MeterID)
	}
	return closeAction(dst, start)
}

func (a Resubmit) AppendTo(dst []byte) []byte {
	start, sub := len(dst), nxResubmitTable
	if a.CT {
		sub = nxResubmitCT
	}
	dst = be.AppendUint16(nicira(dst, sub), a.InPort)
	return closeAction(append(dst, a.Table, 0, 0, 0), start)
}

func (a CT) AppendTo(dst []byte) []byte {
	start := len(dst)
	dst = be.AppendUint16(nicira(dst, nxCT), a.Flags)
	if a.ZoneFrom.Field != nil {
		// The header must fit 4 bytes; no experimenter field is a zone source.
		h := appendFieldHeader(make([]byte, 0, 8), a.ZoneFrom.Field)
		dst = append(dst, h[:4]...)
		dst = be.AppendUint16(dst, ofsBits(a.ZoneFrom))
	} else {
		dst = be.AppendUint16(zeros(dst, 4), a.Zone)
	}
	dst = append(dst, a.Table, 0, 0, 0, byte(a.ALG>>8), byte(a.ALG))
	return closeAction(AppendActions(dst, a.Actions...), start)
}

func (CTClear) AppendTo(dst []byte) []byte {
	return closeAction(zeros(nicira(dst, nxCTClear), 6), len(dst))
}

func (Exit) AppendTo(dst []byte) []byte {
	return closeAction(zeros(nicira(dst, nxExit), 6), len(dst))
}

func (a Clone) AppendTo(dst []byte) []byte {
	start := len(dst)
	dst = zeros(nicira(dst, nxClone), 6)
	return closeAction(AppendActions(dst, a.Actions...), start)
}

func (a Conjunction) AppendTo(dst []byte) []byte {
	start := len(dst)
	dst = append(nicira(dst, nxConjunction), a.Clause-1, a.Clauses)
	return closeAction(be.AppendUint32(dst, a.ID), start)
}

func (a Note) AppendTo(dst []byte) []byte {
	start := len(dst)
	return closeAction(append(nicira(dst, nxNote), a.Data[:min(len(a.Data), 65000)]...), start)
}

func (a CheckPktLarger) AppendTo(dst []byte) []byte {
	start := len(dst)
	dst = be.AppendUint16(nicira(dst, nxCheckPktLarger), a.Len)
	dst = be.AppendUint16(dst, a.Dst.Ofs)
	dst = appendFieldHeader(dst, a.Dst.Field)
	return closeAction(zeros(dst, 24-(len(dst)-start)), start)
}

func (a Sample) AppendTo(dst []byte) []byte {
	start, sub := len(dst), nxSample
	switch a.Form {
	case 2:
		sub = nxSample2
	case 3:
		sub = nxSample3
	}
	dst = be.AppendUint16(nicira(dst, sub), a.Probability)
	dst = be.AppendUint32(dst, a.CollectorSet)
	dst = be.AppendUint32(dst, a.ObsDomain)
	dst = be.AppendUint32(dst, a.ObsPoint)
	if sub != nxSample {
		dst = be.AppendUint16(dst, a.SamplingPort)
		dst = zeros(append(dst, a.Direction), 5)
	}
	return closeAction(dst, start)
}

func (a Raw) AppendTo(dst []byte) []byte { return append(dst, a...) }
