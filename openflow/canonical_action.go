// SPDX-License-Identifier: Apache-2.0

package openflow

// AppendCanonicalActions appends the canonical form of a list of actions: the
// content of an instruction or of a group bucket. dst must not overlap b.
func AppendCanonicalActions(dst, b []byte) ([]byte, error) {
	return appendCanonicalActions(dst, b, 0)
}

func appendCanonicalActions(dst, b []byte, depth int) ([]byte, error) {
	for ofs := 0; ofs < len(b); {
		raw, err := nextAction(b, ofs)
		if err != nil {
			return dst, err
		}
		ofs += len(raw)
		dst = appendCanonicalAction(dst, raw, depth)
	}
	return dst, nil
}

// appendCanonicalAction takes the short way, without decoding, for actions that
// are in canonical form as most are; it makes no garbage then.
func appendCanonicalAction(dst, raw []byte, depth int) []byte {
	if isCanonical(raw) {
		return append(dst, raw...)
	}
	start := len(dst)
	if head := nestedHeader(raw); head > 0 && depth < maxDepth {
		dst = append(dst, raw[:head]...)
		if zone := be.Uint32(raw[12:]); be.Uint16(raw[8:]) == nxCT && zone != 0 {
			if f, _ := fieldHeader(raw[12:16]); f != nil {
				h := appendFieldHeader(dst, f)[len(dst):] // in the spare room behind dst, or a copy
				copy(dst[start+12:start+16], h)
			}
		}
		if dst, err := appendCanonicalActions(dst, raw[head:], depth+1); err == nil {
			return closeAction(dst, start)
		}
		return append(dst[:start], raw...) // malformed inside: left alone
	}
	return decodeAction(raw, depth, false).AppendTo(dst[:start])
}

// nestedHeader is the length of what stands before the actions inside a ct or
// clone action; 0 for others.
func nestedHeader(raw []byte) int {
	if be.Uint16(raw) != actExperimenter || len(raw) < 16 || be.Uint32(raw[4:]) != ExperimenterNicira {
		return 0
	}
	switch be.Uint16(raw[8:]) {
	case nxCT:
		if len(raw) >= 24 {
			return 24
		}
	case nxClone:
		return 16
	}
	return 0
}

// isCanonical reports an action that has but one form, or whose field numbers
// are those the switch dumps.
func isCanonical(raw []byte) bool {
	switch be.Uint16(raw) {
	case actSetField:
		t, _, err := NextTLV(raw[4:])
		return err == nil && t.Field != nil && t.Mask == nil && t.ID == t.Field.Wire()
	case actExperimenter:
	default:
		return true
	}
	if len(raw) < 16 || be.Uint32(raw[4:]) != ExperimenterNicira {
		return true
	}
	named := func(b []byte) (rest []byte, ok bool) {
		f, rest := fieldHeader(b)
		return rest, f != nil && be.Uint16(b) == f.Header().Class
	}
	switch be.Uint16(raw[8:]) {
	case nxResubmitTable, nxResubmitCT, nxConjunction, nxCTClear, nxExit, nxNote, nxNAT, nxSample, nxSample2, nxSample3:
		return true
	case nxLoad:
		_, ok := named(raw[12:])
		return ok && len(raw) == 24
	case nxMove:
		rest, ok := named(raw[16:])
		if ok {
			_, ok = named(rest)
		}
		return ok
	}
	return false
}
