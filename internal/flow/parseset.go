// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"fmt"
	"strings"

	"nagare/openflow"
)

// parseSub reads NAME[], NAME[bit] or NAME[first..last]; NAME alone is all of it.
func parseSub(s string) (openflow.Subfield, error) {
	name, bits, brackets := strings.Cut(strings.TrimSpace(s), "[")
	if strings.EqualFold(name, "in_port") {
		name = "NXM_OF_IN_PORT" // what actions call so; matches mean the 32-bit one
	}
	f := openflow.FieldByName(name)
	if f == nil || f.Bytes == 0 {
		return Sub{}, fmt.Errorf("field %q is unknown", name)
	}
	if !brackets {
		return f.All(), nil
	}
	bits, ok := strings.CutSuffix(bits, "]")
	if !ok {
		return Sub{}, fmt.Errorf("field %q: bracket is not closed", s)
	}
	if bits == "" {
		return f.All(), nil
	}
	lo, hi, two := strings.Cut(bits, "..")
	if !two {
		hi = lo
	}
	l, err := parseUint(lo, 10)
	h, err2 := parseUint(hi, 10)
	if err != nil || err2 != nil || l > h || int(h) >= f.Bits {
		return Sub{}, fmt.Errorf("field %s has no bits %q", name, bits)
	}
	return f.Range(int(l), int(h-l+1)), nil
}

func parseLoad(arg string) (Act, error) {
	vs, ds, ok := strings.Cut(arg, "->")
	if !ok {
		return Act{}, fmt.Errorf("takes value->field")
	}
	dst, err := parseSub(ds)
	if err != nil {
		return Act{}, err
	}
	if !dst.Field.Write {
		return Act{}, fmt.Errorf("field %s cannot be set", dst.Field.Name)
	}
	if dst.Bits > 64 {
		return Act{}, fmt.Errorf("field %s is wider than 64 bits: name a part", dst.Field.Name)
	}
	v, err := parseUint(vs, int(dst.Bits))
	return Load(dst, v), err
}

func parseMove(arg string) (Act, error) {
	ss, ds, ok := strings.Cut(arg, "->")
	if !ok {
		return Act{}, fmt.Errorf("takes source->destination")
	}
	src, err := parseSub(ss)
	if err != nil {
		return Act{}, err
	}
	dst, err := parseSub(ds)
	switch {
	case err != nil:
		return Act{}, err
	case src.Bits != dst.Bits:
		return Act{}, fmt.Errorf("source has %d bits, destination %d", src.Bits, dst.Bits)
	case !dst.Field.Write:
		return Act{}, fmt.Errorf("field %s cannot be set", dst.Field.Name)
	}
	return Move(src, dst), nil
}

func (p *actParser) setField(arg string) (Act, error) {
	i := strings.LastIndex(arg, "->")
	if i < 0 {
		return Act{}, fmt.Errorf("takes value->field")
	}
	value, name := arg[:i], strings.TrimSpace(arg[i+2:])
	if name == "in_port" {
		name = "in_port_nxm" // the 16-bit one is what actions write
	}
	f, err := (&matchParser{proto: p.proto, has: p.proto != 0}).field(name)
	if err != nil {
		return Act{}, fmt.Errorf("field %s: %w", name, err)
	}
	if !f.Write {
		return Act{}, fmt.Errorf("field %s cannot be set", f.Name)
	}
	v, mask, err := parseFieldMask(f, strings.TrimSpace(value))
	if err != nil {
		return Act{}, err
	}
	if f == openflow.FieldIPTOS { // what Open vSwitch makes of it with OpenFlow 1.3
		return SetDSCP(v[0] >> 2), nil
	}
	if mask != nil && !allOnes(f, mask) {
		for i := range v {
			v[i] &= mask[i]
		}
		return Action(openflow.LoadMasked{Field: f, Value: v, Mask: mask}), nil
	}
	return set(f, v), nil
}
