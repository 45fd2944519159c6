// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"encoding/hex"
	"fmt"
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
