// SPDX-License-Identifier: Apache-2.0

package dhcpopt

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// kind is the type of an option's value.
type kind uint8

const (
	guess     kind = iota // by what the value looks like, as dnsmasq does
	address               // one IPv4 address
	addresses             // one or more
	pairs                 // pairs of addresses
	number1               // unsigned, of 1, 2 or 4 octets
	number2
	number4
	mtu     // two octets, at least 68 (RFC 2132 section 5.1)
	flag    // one octet, 0 or 1
	seconds // four octets; also 30m, 12h, infinite
	text
	octets // hexadecimal with colons, else text
	routes // prefix,gateway,... (RFC 3442)
	search // domain names (RFC 3397, without compression)
	sip    // addresses or domain names (RFC 3361)
	empty  // the option is its presence
)

// encode gives the octets of a value.
func (k kind) encode(s string) ([]byte, error) {
	if len(s) > maxValue || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return nil, fmt.Errorf("the value is longer than %d octets, or has control characters", maxValue)
	}
	if k == empty {
		if s != "" {
			return nil, errors.New("it takes no value")
		}
		return []byte{}, nil
	}
	if s == "" {
		return nil, errors.New("it needs a value")
	}
	switch k {
	case address, addresses, pairs:
		b, err := addressList(s)
		switch {
		case err != nil:
			return nil, err
		case k == address && len(b) != 4:
			return nil, errors.New("want one address")
		case k == pairs && len(b)%8 != 0:
			return nil, errors.New("want pairs of addresses, as in destination,gateway")
		}
		return b, nil
	case number1:
		return number(s, 1)
	case number2:
		return number(s, 2)
	case number4:
		return number(s, 4)
	case mtu:
		b, err := number(s, 2)
		if err == nil && binary.BigEndian.Uint16(b) < 68 {
			err = fmt.Errorf("%q: want 68 to 65535", s)
		}
		return b, err
	case flag:
		b, err := number(s, 1)
		if err == nil && b[0] > 1 {
			err = fmt.Errorf("%q: want 0 or 1", s)
		}
		return b, err
	case seconds:
		return duration(s)
	case text:
		return unquote(s)
	case octets:
		if b, ok := hexOctets(s); ok {
			return b, nil
		}
		return unquote(s)
	case routes:
		return routeList(s)
	case search:
		return nameList(s)
	case sip:
		if b, err := addressList(s); err == nil {
			return append([]byte{1}, b...), nil
		}
		b, err := nameList(s)
		return append([]byte{0}, b...), err
	}
	return guessed(s)
}

// guessed encodes the value of an option without a known type: addresses, a number in as few octets as hold it,
// hexadecimal octets, or text.
func guessed(s string) ([]byte, error) {
	if b, err := addressList(s); err == nil {
		return b, nil
	}
	if n, err := strconv.ParseUint(s, 10, 32); err == nil {
		switch b := binary.BigEndian.AppendUint32(nil, uint32(n)); {
		case n < 1<<8:
			return b[3:], nil
		case n < 1<<16:
			return b[2:], nil
		default:
			return b, nil
		}
	}
	if b, ok := hexOctets(s); ok {
		return b, nil
	}
	return unquote(s)
}

func split(s string) []string {
	parts := strings.Split(s, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

func parse4(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return a, fmt.Errorf("%q: want an IPv4 address", s)
	}
	return a, nil
}

func addressList(s string) ([]byte, error) {
	var out []byte
	for _, w := range split(s) {
		a, err := parse4(w)
		if err != nil {
			return nil, err
		}
		out = append(out, a.AsSlice()...)
	}
	return out, nil
}

func number(s string, octets int) ([]byte, error) {
	n, err := strconv.ParseUint(s, 0, 8*octets)
	if err != nil {
		return nil, fmt.Errorf("%q: want a number below %d", s, uint64(1)<<(8*octets))
	}
	return binary.BigEndian.AppendUint64(nil, n)[8-octets:], nil
}

// duration reads "3600", "90s", "30m", "12h", "7d", "2w" and "infinite".
func duration(s string) ([]byte, error) {
	if s == "infinite" {
		return []byte{255, 255, 255, 255}, nil
	}
	unit := uint64(1)
	digits := s
	if at := strings.IndexByte("smhdw", s[len(s)-1]); at >= 0 {
		unit, digits = []uint64{1, 60, 3600, 86400, 7 * 86400}[at], s[:len(s)-1]
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n == 0 || n*unit >= 1<<32 {
		return nil, fmt.Errorf("%q: want seconds, a time such as 12h, or infinite", s)
	}
	return binary.BigEndian.AppendUint32(nil, uint32(n*unit)), nil
}

// unquote takes off the quotation marks that dnsmasq's files need around commas.
func unquote(s string) ([]byte, error) {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		s = s[1 : len(s)-1]
	}
	if s == "" {
		return nil, errors.New("it needs a value")
	}
	return []byte(s), nil
}

// hexOctets reads "01:02:fa". One octet alone is not enough to tell hexadecimal from text.
func hexOctets(s string) ([]byte, bool) {
	parts := strings.Split(s, ":")
	if len(parts) < 2 {
		return nil, false
	}
	out := make([]byte, 0, len(parts))
	for _, p := range parts {
		if len(p) == 1 {
			p = "0" + p
		}
		b, err := hex.DecodeString(p)
		if err != nil || len(b) != 1 {
			return nil, false
		}
		out = append(out, b[0])
	}
	return out, true
}

// routeList reads "10.0.0.0/8,10.1.1.1,0.0.0.0/0,10.1.1.2". A destination without a length is one address.
func routeList(s string) ([]byte, error) {
	words := split(s)
	if len(words)%2 != 0 {
		return nil, errors.New("want pairs, as in destination,gateway")
	}
	var out []byte
	for i := 0; i < len(words); i += 2 {
		dst, err := netip.ParsePrefix(words[i])
		if err != nil {
			var a netip.Addr
			if a, err = parse4(words[i]); err == nil {
				dst = netip.PrefixFrom(a, 32)
			}
		}
		if err != nil || !dst.Addr().Is4() {
			return nil, fmt.Errorf("%q: want an IPv4 prefix", words[i])
		}
		via, err := parse4(words[i+1])
		if err != nil {
			return nil, err
		}
		out = AppendRoute(out, dst, via)
	}
	return out, nil
}

// AppendRoute appends one route in the form of RFC 3442: the prefix length, as many octets of the destination as it covers, the
// gateway. Both must be IPv4.
func AppendRoute(out []byte, dst netip.Prefix, via netip.Addr) []byte {
	out = append(out, byte(dst.Bits()))
	out = append(out, dst.Masked().Addr().AsSlice()[:(dst.Bits()+7)/8]...)
	return append(out, via.AsSlice()...)
}

// nameList encodes domain names (RFC 1035 section 3.1).
func nameList(s string) ([]byte, error) {
	var out []byte
	for _, name := range split(s) {
		name = strings.TrimSuffix(name, ".")
		if len(name) > 253 {
			return nil, fmt.Errorf("%q: a domain name has up to 253 characters", name)
		}
		for label := range strings.SplitSeq(name, ".") {
			if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(c rune) bool { return c <= ' ' || c > '~' }) {
				return nil, fmt.Errorf("%q: not a domain name", name)
			}
			out = append(append(out, byte(len(label))), label...)
		}
		out = append(out, 0)
	}
	return out, nil
}
