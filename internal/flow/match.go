// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"fmt"
	"iter"

	"nagare/openflow"
)

// maxTerms is the number of fields a match may hold; Open vSwitch has fewer.
const maxTerms = 64

// M is the match of all the terms together, in canonical form. Prerequisites
// that a term implies (the Ethernet type of an address, the protocol of a port)
// are added. Two terms on one field, or terms of two protocols, are a mistake
// in the caller and panic.
func M(terms ...Term) Match {
	m, err := match(terms)
	if err != nil {
		panic(err.Error())
	}
	return m
}

func match(terms []Term) (Match, error) {
	eth, proto, hasProto, err := protocol(terms)
	if err != nil {
		return "", err
	}
	var buf [24]Term // on the stack for every match of the pipeline
	out := buf[:0]
	if eth != 0 {
		out = append(out, onEthType.u16(eth))
	}
	if hasProto {
		out = append(out, onIPProto.u8(proto))
	}
	for i := range terms {
		t := terms[i]
		if t.kind != plain {
			if t, err = t.resolve(proto); err != nil {
				return "", err
			}
		}
		if t.field == nil || t.field == openflow.FieldEthType || t.field == openflow.FieldIPProto {
			continue // already there
		}
		if len(out) == maxTerms {
			return "", fmt.Errorf("match of more than %d fields", maxTerms)
		}
		at := len(out)
		for at > 0 && out[at-1].rank > t.rank {
			at--
		}
		if at > 0 && out[at-1].rank == t.rank {
			return "", fmt.Errorf("match with two terms on %s", t.field.Name)
		}
		out = append(out, Term{})
		copy(out[at+1:], out[at:])
		out[at] = t
	}
	var wire [256]byte
	b := wire[:0]
	for i := range out {
		b = out[i].appendTo(b)
	}
	return Match(b), nil
}

// protocol settles the Ethernet type and IP protocol that the terms ask for.
func protocol(terms []Term) (eth uint16, proto uint8, hasProto bool, err error) {
	var soft uint16
	for i := range terms {
		t := &terms[i]
		e, p, has := t.eth, t.proto, t.hasProto
		switch t.field {
		case openflow.FieldEthType:
			e = uint16(t.val[0])<<8 | uint16(t.val[1])
		case openflow.FieldIPProto:
			p, has = t.val[0], true
		}
		switch {
		case t.softEth:
			soft = e
		case e != 0 && eth != 0 && e != eth:
			return 0, 0, false, fmt.Errorf("match with two ethernet types %#04x and %#04x", eth, e)
		case e != 0:
			eth = e
		}
		if has {
			if hasProto && p != proto {
				return 0, 0, false, fmt.Errorf("match with two IP protocols %d and %d", proto, p)
			}
			proto, hasProto = p, true
		}
	}
	if eth == 0 {
		eth = soft
	}
	if hasProto && eth != EthIPv4 && eth != EthIPv6 {
		return 0, 0, false, fmt.Errorf("match on IP protocol %d without IPv4 or IPv6", proto)
	}
	return eth, proto, hasProto, nil
}

// resolve picks the field of a port or ICMP term by the match's protocol.
func (t Term) resolve(proto uint8) (Term, error) {
	var f *openflow.Field
	switch proto {
	case ProtoTCP:
		f = [...]*openflow.Field{tpSrc: openflow.FieldTCPSrc, tpDst: openflow.FieldTCPDst, icmpCode: nil}[t.kind]
	case ProtoUDP:
		f = [...]*openflow.Field{tpSrc: openflow.FieldUDPSrc, tpDst: openflow.FieldUDPDst, icmpCode: nil}[t.kind]
	case ProtoSCTP:
		f = [...]*openflow.Field{tpSrc: openflow.FieldSCTPSrc, tpDst: openflow.FieldSCTPDst, icmpCode: nil}[t.kind]
	case ProtoICMP:
		f = [...]*openflow.Field{icmpType: openflow.FieldICMPType, icmpCode: openflow.FieldICMPCode}[t.kind]
	case ProtoICMPv6:
		f = [...]*openflow.Field{icmpType: openflow.FieldICMPv6Type, icmpCode: openflow.FieldICMPv6Code}[t.kind]
	}
	if f == nil {
		return t, fmt.Errorf("match on %s without a protocol that has one", [...]string{
			tpSrc: "source port", tpDst: "destination port", icmpType: "ICMP type", icmpCode: "ICMP code"}[t.kind])
	}
	t.field, t.rank, t.kind = f, rank[f], plain
	return t, nil
}

// appendTo writes the term's TLV in canonical form: no bits outside the mask,
// no mask of all ones, nothing at all for a mask of zeros.
func (t *Term) appendTo(b []byte) []byte {
	n := t.field.Bytes
	if !t.masked {
		return openflow.AppendField(b, t.field, t.val[:n], nil)
	}
	full, empty := true, true
	for i := range n {
		sig := significant(t.field, i)
		t.mask[i] &= sig
		t.val[i] &= t.mask[i]
		full = full && t.mask[i] == sig
		empty = empty && t.mask[i] == 0
	}
	switch {
	case empty:
		return b
	case full:
		return openflow.AppendField(b, t.field, t.val[:n], nil)
	}
	return openflow.AppendField(b, t.field, t.val[:n], t.mask[:n])
}

// significant is the part of byte i of a field that counts.
func significant(f *openflow.Field, i int) byte {
	bits := f.Bits
	low := 8 * (f.Bytes - 1 - i)
	switch {
	case bits >= low+8:
		return 0xff
	case bits <= low:
		return 0
	}
	return byte(1)<<(bits-low) - 1
}

// Wire returns the canonical match of OXM TLVs as a switch dumps them.
// It fails on malformed bytes and on fields given twice.
func Wire(oxm []byte) (Match, error) {
	var buf [256]byte
	b, err := openflow.AppendCanonicalMatch(buf[:0], oxm)
	return Match(b), err
}

// Fields iterates over the fields of m in canonical order. The slices of a TLV
// are read-only. Bytes that are no match end the iteration.
func (m Match) Fields() iter.Seq[openflow.TLV] {
	return func(yield func(openflow.TLV) bool) {
		for b := []byte(m); len(b) > 0; {
			t, rest, err := openflow.NextTLV(b)
			if err != nil || !yield(t) {
				return
			}
			b = rest
		}
	}
}

// Find returns the condition on field f, and whether there is one.
func (m Match) Find(f *openflow.Field) (openflow.TLV, bool) {
	for t := range m.Fields() {
		if t.Field == f {
			return t, true
		}
	}
	return openflow.TLV{}, false
}
