// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"encoding/hex"
	"fmt"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"

	"nagare/openflow"
)

// parseFieldMask reads value[/mask] of a field; both are f.Bytes long, mask nil
// for an exact value.
func parseFieldMask(f *openflow.Field, s string) (val, mask []byte, err error) {
	if names := flagNames(f); names != nil {
		if v, m, ok, err := parseFlags(names, s); ok || err != nil {
			val, mask = fixed(f, v), fixed(f, m)
			return val, mask, err
		}
	}
	vs, ms, masked := strings.Cut(s, "/")
	if val, err = parseField(f, vs); err != nil || !masked {
		return val, nil, err
	}
	if isIPv4(f) || isIPv6(f) {
		if n, err := strconv.Atoi(ms); err == nil {
			if n < 0 || n > f.Bits {
				return nil, nil, fmt.Errorf("prefix length %d is not within 0..%d", n, f.Bits)
			}
			mask = make([]byte, f.Bytes)
			for i := range n {
				mask[i/8] |= 0x80 >> (i % 8)
			}
			return val, mask, nil
		}
	}
	mask, err = parseField(f, ms)
	return val, mask, err
}

func flagNames(f *openflow.Field) []string {
	switch f {
	case openflow.FieldCTState:
		return ctStateNames
	case openflow.FieldTCPFlags:
		return tcpFlagNames
	case openflow.FieldTunFlags:
		return tunFlagNames
	}
	return nil
}

// fixed is v in the field's length.
func fixed(f *openflow.Field, v uint64) []byte {
	b := make([]byte, f.Bytes)
	for i := range b {
		if s := 8 * (f.Bytes - 1 - i); s < 64 {
			b[i] = byte(v >> s)
		}
	}
	return b
}

// parseField reads one value in the form its field is printed in, or as a number.
func parseField(f *openflow.Field, s string) ([]byte, error) {
	switch {
	case f == openflow.FieldInPort || f == openflow.FieldActsetOutput:
		p, err := parsePort(s)
		return fixed(f, uint64(p)), err
	case f == openflow.FieldInPort16:
		p, err := parsePort(s)
		if err == nil && port32(uint16(p)) != p {
			err = fmt.Errorf("port %d does not fit in 16 bits", p)
		}
		return fixed(f, uint64(uint16(p))), err
	case isMAC(f):
		if strings.Contains(s, ":") {
			m, err := parseMAC(s)
			return m[:], err
		}
	case isIPv4(f), isIPv6(f):
		if strings.ContainsAny(s, ".:") {
			a, err := netip.ParseAddr(s)
			if err != nil || a.Is4() != isIPv4(f) || a.Zone() != "" {
				return nil, fmt.Errorf("%q is not an address of this field's family", s)
			}
			return a.AsSlice(), nil
		}
	}
	if f.Bytes > 8 {
		return parseWide(f, s)
	}
	v, err := parseUint(s, f.Bits)
	return fixed(f, v), err
}

// parseWide reads a number of up to 128 bits, hexadecimal or small decimal.
func parseWide(f *openflow.Field, s string) ([]byte, error) {
	h, ok := strings.CutPrefix(strings.ToLower(s), "0x")
	if !ok {
		v, err := parseUint(s, 64)
		return fixed(f, v), err
	}
	if len(h)%2 != 0 {
		h = "0" + h
	}
	b, err := hex.DecodeString(h)
	if err != nil || len(b) == 0 || len(b) > f.Bytes {
		return nil, fmt.Errorf("%q is not a number of %d bits", s, f.Bits)
	}
	return append(make([]byte, f.Bytes-len(b)), b...), nil
}

func parseUint(s string, width int) (uint64, error) {
	v, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number", s)
	}
	if bits.Len64(v) > width {
		return 0, fmt.Errorf("%s does not fit in %d bits", s, width)
	}
	return v, nil
}

func parseMAC(s string) (m [6]byte, err error) {
	parts := strings.Split(s, ":")
	if len(parts) != 6 {
		return m, fmt.Errorf("%q is not a MAC address", s)
	}
	for i, p := range parts {
		v, err := strconv.ParseUint(p, 16, 8)
		if err != nil {
			return m, fmt.Errorf("%q is not a MAC address", s)
		}
		m[i] = byte(v)
	}
	return m, nil
}

// parseFlags reads "+a-b" (mask of the named bits) or "a|b" (every bit counts).
// ok is false if s has neither form.
func parseFlags(names []string, s string) (v, mask uint64, ok bool, err error) {
	bit := func(name string) (uint64, error) {
		for i, n := range names {
			if n == name {
				return 1 << i, nil
			}
		}
		return 0, fmt.Errorf("flag %q is unknown", name)
	}
	switch {
	case s == "" || s[0] >= '0' && s[0] <= '9':
		return 0, 0, false, nil
	case s[0] == '+' || s[0] == '-':
		for s != "" {
			sign := s[0]
			end := strings.IndexAny(s[1:], "+-") + 1
			if end == 0 {
				end = len(s)
			}
			b, err := bit(s[1:end])
			if err != nil {
				return 0, 0, false, err
			}
			if mask&b != 0 {
				return 0, 0, false, fmt.Errorf("flag %q is given twice", s[1:end])
			}
			mask |= b
			if sign == '+' {
				v |= b
			}
			s = s[end:]
		}
		return v, mask, true, nil
	}
	for _, n := range strings.Split(s, "|") {
		b, err := bit(n)
		if err != nil {
			return 0, 0, false, err
		}
		v |= b
	}
	return v, 1<<len(names) - 1, true, nil
}

// splitList splits at commas and white space that stand outside parentheses and
// brackets, dropping empty items.
func splitList(s string) []string {
	var out []string
	depth, start := 0, 0
	flush := func(end int) {
		if it := strings.TrimSpace(s[start:end]); it != "" {
			out = append(out, it)
		}
		start = end + 1
	}
	for i := range len(s) {
		switch s[i] {
		case '(', '[':
			depth++
		case ')', ']':
			depth--
		case ',', ' ', '\t', '\n':
			if depth <= 0 {
				flush(i)
			}
		}
	}
	flush(len(s))
	return out
}
