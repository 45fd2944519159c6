// SPDX-License-Identifier: Apache-2.0

package flowtree

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"nagare/internal/yang"
	"nagare/openflow"
)

// form is how a field's value is written in a leaf.
type form uint8

const (
	number form = iota
	hardware
	prefix
	address
)

// condition is a field that the public modules have a leaf for. Paths are of names below the match.
type condition struct {
	field *openflow.Field
	path  string
	mask  string // "" if the leaf holds the mask itself, or there is none
	form  form
}

// conditions are all but the port and the VLAN id, which are words of their own.
var conditions = []condition{
	{openflow.FieldMetadata, "metadata/metadata", "metadata/metadata-mask", number},
	{openflow.FieldTunID, "tunnel/tunnel-id", "tunnel/tunnel-mask", number},
	{openflow.FieldEthSrc, "ethernet-match/ethernet-source/address", "ethernet-match/ethernet-source/mask", hardware},
	{openflow.FieldEthDst, "ethernet-match/ethernet-destination/address", "ethernet-match/ethernet-destination/mask", hardware},
	{openflow.FieldEthType, "ethernet-match/ethernet-type/type", "", number},
	{openflow.FieldVLANPCP, "vlan-match/vlan-pcp", "", number},
	{openflow.FieldMPLSLabel, "protocol-match-fields/mpls-label", "", number},
	{openflow.FieldMPLSTC, "protocol-match-fields/mpls-tc", "", number},
	{openflow.FieldMPLSBOS, "protocol-match-fields/mpls-bos", "", number},
	{openflow.FieldIPProto, "ip-match/ip-protocol", "", number},
	{openflow.FieldIPDSCP, "ip-match/ip-dscp", "", number},
	{openflow.FieldIPECN, "ip-match/ip-ecn", "", number},
	{openflow.FieldIPv4Src, "ipv4-source", "", prefix},
	{openflow.FieldIPv4Dst, "ipv4-destination", "", prefix},
	{openflow.FieldIPv6Src, "ipv6-source", "", prefix},
	{openflow.FieldIPv6Dst, "ipv6-destination", "", prefix},
	{openflow.FieldIPv6Label, "ipv6-label/ipv6-flabel", "ipv6-label/flabel-mask", number},
	{openflow.FieldNDTarget, "ipv6-nd-target", "", address},
	{openflow.FieldNDSLL, "ipv6-nd-sll", "", hardware},
	{openflow.FieldNDTLL, "ipv6-nd-tll", "", hardware},
	{openflow.FieldARPOp, "arp-op", "", number},
	{openflow.FieldARPSPA, "arp-source-transport-address", "", prefix},
	{openflow.FieldARPTPA, "arp-target-transport-address", "", prefix},
	{openflow.FieldARPSHA, "arp-source-hardware-address/address", "arp-source-hardware-address/mask", hardware},
	{openflow.FieldARPTHA, "arp-target-hardware-address/address", "arp-target-hardware-address/mask", hardware},
	{openflow.FieldTCPSrc, "tcp-source-port", "tcp-source-port-mask", number},
	{openflow.FieldTCPDst, "tcp-destination-port", "tcp-destination-port-mask", number},
	{openflow.FieldUDPSrc, "udp-source-port", "udp-source-port-mask", number},
	{openflow.FieldUDPDst, "udp-destination-port", "udp-destination-port-mask", number},
	{openflow.FieldSCTPSrc, "sctp-source-port", "sctp-source-port-mask", number},
	{openflow.FieldSCTPDst, "sctp-destination-port", "sctp-destination-port-mask", number},
	{openflow.FieldICMPType, "icmpv4-match/icmpv4-type", "", number},
	{openflow.FieldICMPCode, "icmpv4-match/icmpv4-code", "", number},
	{openflow.FieldICMPv6Type, "icmpv6-match/icmpv6-type", "", number},
	{openflow.FieldICMPv6Code, "icmpv6-match/icmpv6-code", "", number},
	{openflow.FieldTCPFlags, "tcp-flags-match/tcp-flags", "tcp-flags-match/tcp-flags-mask", number},
}

var conditionOf = func() map[*openflow.Field]*condition {
	m := map[*openflow.Field]*condition{}
	for i := range conditions {
		m[conditions[i].field] = &conditions[i]
	}
	return m
}()

// says reports whether the leaves can hold the condition t.
func (c *condition) says(t openflow.TLV) bool {
	if t.Mask == nil {
		return true
	}
	if c.form == prefix {
		_, ok := prefixLen(t.Mask)
		return ok
	}
	return c.mask != ""
}

// text is a value as the leaf holds it.
func (c *condition) text(value, mask []byte) string {
	switch c.form {
	case hardware:
		return macText(value)
	case address:
		a, _ := netip.AddrFromSlice(value)
		return a.String()
	case prefix:
		a, _ := netip.AddrFromSlice(value)
		bits := a.BitLen()
		if mask != nil {
			bits, _ = prefixLen(mask)
		}
		return fmt.Sprintf("%s/%d", a, bits)
	}
	return strconv.FormatUint(openflow.TLV{Value: value}.Uint(), 10)
}

// parse is the inverse of text; mask is nil unless the text holds one.
func (c *condition) parse(text string) (value, mask []byte, err error) {
	n := c.field.Bytes
	switch c.form {
	case hardware:
		value, err = parseMAC(text)
	case address:
		a, err := netip.ParseAddr(text)
		if err != nil || a.BitLen() != 8*n || a.Zone() != "" {
			return nil, nil, fmt.Errorf("%q is no address of %d bits", text, 8*n)
		}
		return a.AsSlice(), nil, nil
	case prefix:
		p, err := netip.ParsePrefix(text)
		if err != nil || p.Addr().BitLen() != 8*n {
			return nil, nil, fmt.Errorf("%q is no prefix of addresses of %d bits", text, 8*n)
		}
		mask = make([]byte, n)
		for i := range p.Bits() {
			mask[i/8] |= 0x80 >> (i % 8)
		}
		if p.Bits() == 8*n {
			mask = nil
		}
		return p.Addr().AsSlice(), mask, nil
	default:
		var v uint64
		v, err = strconv.ParseUint(text, 10, 64)
		if err == nil && c.field.Bits < 64 && v>>c.field.Bits != 0 {
			err = fmt.Errorf("%d does not fit in %d bits", v, c.field.Bits)
		}
		value = binary.BigEndian.AppendUint64(nil, v)[8-n:]
	}
	return value, nil, err
}

func macText(b []byte) string {
	out := make([]byte, 0, 17)
	for i, x := range b {
		if i > 0 {
			out = append(out, ':')
		}
		const hex = "0123456789abcdef"
		out = append(out, hex[x>>4], hex[x&15])
	}
	return string(out)
}

func parseMAC(s string) ([]byte, error) {
	parts := strings.Split(s, ":")
	if len(parts) != 6 {
		return nil, fmt.Errorf("%q is no hardware address", s)
	}
	out := make([]byte, 6)
	for i, p := range parts {
		v, err := strconv.ParseUint(p, 16, 8)
		if err != nil || len(p) != 2 {
			return nil, fmt.Errorf("%q is no hardware address", s)
		}
		out[i] = byte(v)
	}
	return out, nil
}

// prefixLen is the length of a mask of ones and then zeros.
func prefixLen(mask []byte) (n int, ok bool) {
	for i, m := range mask {
		for b := range 8 {
			switch set := m&(0x80>>b) != 0; {
			case set && n == 8*i+b:
				n++
			case set:
				return 0, false
			}
		}
	}
	return n, true
}

// at follows a path of names below d; nil where nothing is.
func at(d *yang.Data, path string) *yang.Data {
	for name := range strings.SplitSeq(path, "/") {
		n, ok := d.Node.Child(name)
		if !ok {
			return nil
		}
		if d = d.Child(n); d == nil {
			return nil
		}
	}
	return d
}

// put gives the leaf at a path below d a value, with the containers on the way.
func put(d *yang.Data, path, value string) {
	for {
		name, rest, more := strings.Cut(path, "/")
		if !more {
			d.Leaf(name, value)
			return
		}
		d, path = within(d, name), rest
	}
}

// within is the container of that name below d, made if it is not there.
func within(d *yang.Data, name string) *yang.Data {
	if c := at(d, name); c != nil {
		return c
	}
	return d.Put(name)
}

func invalid(d *yang.Data, format string, args ...any) error {
	return &yang.Fault{Tag: yang.TagInvalid, Path: d.Path(), Msg: fmt.Sprintf(format, args...)}
}

func missing(d *yang.Data, leaf string) error {
	return &yang.Fault{Tag: yang.TagMissing, Path: d.Path() + "/" + leaf, Msg: "it is mandatory here"}
}

// uintAt is the number in the leaf of that name; has is false if it is not there.
func uintAt(d *yang.Data, name string) (v uint64, has bool) {
	text, has := d.Get(name)
	v, _ = strconv.ParseUint(text, 10, 64) // the schema has checked it
	return v, has
}
