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

// ParseMatch reads a match in ovs-ofctl's syntax: comma-separated keywords and
// name[=value[/mask]] conditions, by any name that Open vSwitch 2.x or 3.x
// prints. An empty text matches everything.
func ParseMatch(s string) (Match, error) {
	var p matchParser
	for _, item := range splitList(s) {
		if err := p.add(item); err != nil {
			return "", err
		}
	}
	return p.match()
}

// matchParser collects the terms of one match; names that depend on the
// protocol (tp_src, nw_src, icmp_type) wait until it is known.
type matchParser struct {
	terms []Term
	eth   uint16
	proto int
	has   bool // proto is known
	late  []item
	raw   []byte

	protos []item // nw_proto, which is the operation if the match is of ARP
}

type item struct{ name, value string }

func (p *matchParser) add(text string) error {
	name, value, hasValue := strings.Cut(text, "=")
	name = strings.ToLower(strings.TrimSpace(name))
	value = strings.TrimSpace(value)
	if !hasValue {
		for _, w := range protocolWords {
			if w.word == name {
				if err := p.setEth(w.eth); err != nil {
					return err
				}
				if w.proto >= 0 {
					return p.setProto(uint8(w.proto))
				}
				return nil
			}
		}
		if raw, ok := strings.CutPrefix(name, "oxm:"); ok {
			b, err := hex.DecodeString(raw)
			if err != nil {
				return fmt.Errorf("match %q: %w", text, err)
			}
			p.raw = append(p.raw, b...)
			return nil
		}
		return fmt.Errorf("match keyword %q is unknown, or its value is missing", name)
	}
	switch name {
	case "dl_type", "eth_type":
		v, err := parseUint(value, 16)
		if err != nil {
			return fmt.Errorf("match %s: %w", name, err)
		}
		return p.setEth(uint16(v))
	case "nw_proto", "ip_proto":
		p.protos = append(p.protos, item{name, value})
		return nil
	}
	p.late = append(p.late, item{name, value})
	return nil
}

func (p *matchParser) setEth(t uint16) error {
	if p.eth != 0 && p.eth != t {
		return fmt.Errorf("match with two ethernet types %#04x and %#04x", p.eth, t)
	}
	p.eth = t
	return nil
}

func (p *matchParser) setProto(v uint8) error {
	if p.has && p.proto != int(v) {
		return fmt.Errorf("match with two IP protocols %d and %d", p.proto, v)
	}
	p.proto, p.has = int(v), true
	return nil
}

func (p *matchParser) match() (Match, error) {
	for _, it := range p.protos {
		if p.eth == EthARP || p.eth == 0x8035 {
			p.late = append(p.late, item{"arp_op", it.value})
			continue
		}
		v, err := parseUint(it.value, 8)
		if err == nil {
			err = p.setProto(uint8(v))
		}
		if err != nil {
			return "", fmt.Errorf("match %s: %w", it.name, err)
		}
	}
	if p.eth != 0 {
		p.terms = append(p.terms, EthType(p.eth))
	}
	if p.has {
		p.terms = append(p.terms, Term{proto: uint8(p.proto), hasProto: true})
	}
	for _, it := range p.late {
		if err := p.addField(it); err != nil {
			return "", fmt.Errorf("match %s=%s: %w", it.name, it.value, err)
		}
	}
	m, err := match(p.terms)
	if err != nil || len(p.raw) == 0 {
		return m, err
	}
	return Wire(append([]byte(m), p.raw...))
}

func (p *matchParser) addField(it item) error {
	switch it.name {
	case "dl_vlan":
		v, err := parseUint(it.value, 16)
		switch {
		case err != nil:
			return err
		case v == 0xffff: // OpenFlow 1.0: no tag
			p.terms = append(p.terms, NoVLAN())
		default:
			p.terms = append(p.terms, VLANVID(uint16(v)))
		}
		return nil
	case "dl_vlan_pcp", "vlan_pcp":
		v, err := parseUint(it.value, 3)
		if err != nil {
			return err
		}
		p.terms = append(p.terms, VLANPCP(uint8(v)))
		for _, o := range p.late {
			if o.name == "dl_vlan" || o.name == "vlan_vid" || o.name == "vlan_tci" {
				return nil
			}
		}
		p.terms = append(p.terms, AnyVLAN())
		return nil
	case "vlan_tci", "vlan_tci1":
		return p.addTCI(it.value)
	case "ip_frag", "nw_frag":
		for _, n := range fragNames {
			if n.name == it.value {
				p.terms = append(p.terms, IsMasked(openflow.FieldIPFrag, []byte{byte(n.value)}, []byte{byte(n.mask)}))
				return nil
			}
		}
		return fmt.Errorf("unknown kind of fragment")
	case "nw_tos", "ip_dscp":
		v, err := parseUint(it.value, 8)
		if err != nil {
			return err
		}
		if it.name == "nw_tos" {
			v >>= 2
		}
		p.terms = append(p.terms, IPDSCP(uint8(v)&0x3f))
		return nil
	}
	f, err := p.field(it.name)
	if err != nil {
		return err
	}
	val, mask, err := parseFieldMask(f, it.value)
	if err != nil {
		return err
	}
	p.terms = append(p.terms, expandRegs(f, val, mask)...)
	return nil
}

func (p *matchParser) addTCI(s string) error {
	vs, ms, masked := strings.Cut(s, "/")
	v, err := parseUint(vs, 16)
	if err != nil {
		return err
	}
	m := uint64(0xffff)
	if masked {
		if m, err = parseUint(ms, 16); err != nil {
			return err
		}
	}
	// Let the wire library's canonical form split it, so that there is one rule.
	b := openflow.AppendUintMask(nil, openflow.FieldVLANTCI, v, m)
	if !masked {
		b = openflow.AppendUint(nil, openflow.FieldVLANTCI, v)
	}
	c, err := openflow.CanonicalMatch(b)
	if err != nil {
		return err
	}
	for t := range Match(c).Fields() {
		term := Is(t.Field, t.Value)
		if t.Mask != nil {
			term = IsMasked(t.Field, t.Value, t.Mask)
		}
		p.terms = append(p.terms, term)
	}
	return nil
}

// field finds the field that a name means beside this match's protocol.
func (p *matchParser) field(name string) (*openflow.Field, error) {
	pick := func(fs map[int]*openflow.Field) (*openflow.Field, error) {
		if f := fs[p.proto]; p.has && f != nil {
			return f, nil
		}
		return nil, fmt.Errorf("needs a protocol that has this field")
	}
	switch name {
	case "tp_src":
		return pick(map[int]*openflow.Field{ProtoTCP: openflow.FieldTCPSrc, ProtoUDP: openflow.FieldUDPSrc, ProtoSCTP: openflow.FieldSCTPSrc,
			ProtoICMP: openflow.FieldICMPType, ProtoICMPv6: openflow.FieldICMPv6Type})
	case "tp_dst":
		return pick(map[int]*openflow.Field{ProtoTCP: openflow.FieldTCPDst, ProtoUDP: openflow.FieldUDPDst, ProtoSCTP: openflow.FieldSCTPDst,
			ProtoICMP: openflow.FieldICMPCode, ProtoICMPv6: openflow.FieldICMPv6Code})
	case "icmp_type":
		return pick(map[int]*openflow.Field{ProtoICMP: openflow.FieldICMPType, ProtoICMPv6: openflow.FieldICMPv6Type})
	case "icmp_code":
		return pick(map[int]*openflow.Field{ProtoICMP: openflow.FieldICMPCode, ProtoICMPv6: openflow.FieldICMPv6Code})
	case "nw_src", "nw_dst":
		if p.eth == EthARP || p.eth == 0x8035 {
			return map[string]*openflow.Field{"nw_src": openflow.FieldARPSPA, "nw_dst": openflow.FieldARPTPA}[name], nil
		}
	}
	f := openflow.FieldByName(name)
	if f == nil || f.Bytes == 0 || f.Bytes > 16 {
		return nil, fmt.Errorf("unknown field")
	}
	return f, nil
}

// expandRegs is the terms of a condition, one per 32-bit register for the wide
// ones, which have no number of their own in a dump.
func expandRegs(f *openflow.Field, val, mask []byte) []Term {
	i, reg := regFields[f]
	if !reg || f.Bytes == 4 {
		if mask == nil {
			return []Term{Is(f, val)}
		}
		return []Term{IsMasked(f, val, mask)}
	}
	n := f.Bytes / 4
	var out []Term
	for j := range n {
		r := openflow.Reg(i*n + j)
		if mask == nil {
			out = append(out, Is(r, val[4*j:4*j+4]))
		} else {
			out = append(out, IsMasked(r, val[4*j:4*j+4], mask[4*j:4*j+4]))
		}
	}
	return out
}

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
