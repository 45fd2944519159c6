// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"encoding/hex"
	"net/netip"
	"strconv"

	"nagare/openflow"
)

func isMAC(f *openflow.Field) bool { return f.Bytes == 6 }

func isIPv4(f *openflow.Field) bool {
	switch f {
	case openflow.FieldIPv4Src, openflow.FieldIPv4Dst, openflow.FieldARPSPA, openflow.FieldARPTPA,
		openflow.FieldTunSrc, openflow.FieldTunDst, openflow.FieldCTNwSrc, openflow.FieldCTNwDst:
		return true
	}
	return false
}

func isIPv6(f *openflow.Field) bool {
	switch f {
	case openflow.FieldIPv6Src, openflow.FieldIPv6Dst, openflow.FieldNDTarget,
		openflow.FieldTunIPv6Src, openflow.FieldTunIPv6Dst, openflow.FieldCTIPv6Src, openflow.FieldCTIPv6Dst:
		return true
	}
	return false
}

// isHex tells the fields that are printed in hexadecimal even when exact.
func isHex(f *openflow.Field) bool {
	switch f {
	case openflow.FieldTunID, openflow.FieldMetadata, openflow.FieldCTMark, openflow.FieldCTLabel, openflow.FieldPktMark,
		openflow.FieldTunGBPFlags, openflow.FieldEthType, openflow.FieldTunFlags, openflow.FieldIPv6Label,
		openflow.FieldRecircID, openflow.FieldDPHash:
		return true
	}
	return isReg(f)
}

var regFields = func() map[*openflow.Field]int {
	m := map[*openflow.Field]int{}
	for i := range 32 {
		m[openflow.Reg(i)] = i
	}
	for i := range 16 {
		m[openflow.XReg(i)] = i
	}
	for i := range 4 {
		m[openflow.XXReg(i)] = i
	}
	return m
}()

func isReg(f *openflow.Field) bool { _, ok := regFields[f]; return ok }

// appendHex prints as C's %#x: zero has no prefix.
func appendHex(b []byte, v uint64) []byte {
	if v == 0 {
		return append(b, '0')
	}
	b = append(b, "0x"...)
	return strconv.AppendUint(b, v, 16)
}

func appendHexPad(b []byte, v uint64, width int) []byte {
	b = append(b, "0x"...)
	for i := width - 1; i > 0 && v>>(4*i) == 0; i-- {
		b = append(b, '0')
	}
	return strconv.AppendUint(b, v, 16)
}

// appendWide prints a 128-bit number and its mask in hexadecimal.
func appendWide(b, v, mask []byte) []byte {
	b = appendWideHex(b, v)
	if mask != nil {
		b = append(b, '/')
		b = appendWideHex(b, mask)
	}
	return b
}

func appendWideHex(b, v []byte) []byte {
	i := 0
	for i < len(v) && v[i] == 0 {
		i++
	}
	if i == len(v) {
		return append(b, '0')
	}
	b = append(b, "0x"...)
	b = strconv.AppendUint(b, uint64(v[i]), 16)
	return hex.AppendEncode(b, v[i+1:])
}

func appendMAC(b, m []byte) []byte {
	const digits = "0123456789abcdef"
	for i, c := range m {
		if i > 0 {
			b = append(b, ':')
		}
		b = append(b, digits[c>>4], digits[c&15])
	}
	return b
}

// appendAddrMask prints an address with a prefix length, or with a whole mask
// if it is no prefix.
func appendAddrMask(b, v, mask []byte) []byte {
	b = appendIP(b, v)
	if mask == nil {
		return b
	}
	b = append(b, '/')
	if n, ok := prefixLen(mask); ok {
		return strconv.AppendUint(b, uint64(n), 10)
	}
	return appendIP(b, mask)
}

// appendIP prints an address as inet_ntop does, which writes IPv6 addresses
// with 96 zero bits, or behind ::ffff, in dotted form.
func appendIP(b, v []byte) []byte {
	a, ok := netip.AddrFromSlice(v)
	if !ok {
		return append(b, '?')
	}
	if a.Is6() && !a.Is4In6() {
		low := 12
		for i, c := range v[:12] {
			if c != 0 {
				low = i
				break
			}
		}
		if low == 12 && (v[12] != 0 || v[13] != 0) {
			b = append(b, "::"...)
			a = netip.AddrFrom4([4]byte(v[12:]))
		}
	}
	return a.AppendTo(b)
}

func prefixLen(mask []byte) (int, bool) {
	n := 0
	for n < 8*len(mask) && mask[n/8]&(0x80>>(n%8)) != 0 {
		n++
	}
	for i := n; i < 8*len(mask); i++ {
		if mask[i/8]&(0x80>>(i%8)) != 0 {
			return 0, false
		}
	}
	return n, true
}

var (
	ctStateNames = []string{"new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"}
	tcpFlagNames = []string{"fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns", "[200]", "[400]", "[800]"}
	tunFlagNames = []string{"oam"}
)

// appendFlags prints a set of named bits: "a|b" when every bit counts, "+a-b"
// otherwise.
func appendFlags(b []byte, names []string, v, mask, all uint64) []byte {
	if mask == all {
		n := len(b)
		for i, name := range names {
			if v&(1<<i) != 0 {
				if len(b) > n {
					b = append(b, '|')
				}
				b = append(b, name...)
			}
		}
		if len(b) == n {
			b = append(b, '0')
		}
		return b
	}
	for i, name := range names {
		if mask&(1<<i) != 0 {
			sign := byte('-')
			if v&(1<<i) != 0 {
				sign = '+'
			}
			b = append(append(b, sign), name...)
		}
	}
	return b
}

// fragNames are the forms of ip_frag: bit 0 is "a fragment", bit 1 "not the first".
var fragNames = []struct {
	name        string
	value, mask uint64
}{{"no", 0, 3}, {"yes", 1, 1}, {"first", 1, 3}, {"later", 3, 3}, {"not_later", 0, 2}}

func fragName(v, mask uint64) string {
	for _, n := range fragNames {
		if n.value == v && n.mask == mask {
			return n.name
		}
	}
	return "0x" + strconv.FormatUint(v, 16) + "/0x" + strconv.FormatUint(mask, 16)
}
