// SPDX-License-Identifier: Apache-2.0

package app

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"nagare/internal/alloc"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/sim"
	"nagare/internal/tables"
	"nagare/openflow"
)

// changes tells in words what an action changed: "reg1: 0 -> 17, key of the source port: vm01".
func (f *fabric) changes(before, after sim.Packet) (out []string) {
	for _, d := range before.Differences(after) {
		text := fmt.Sprintf("%s: %s -> %s", fieldName(d.Field), valueText(d.Field, d.Before), valueText(d.Field, d.After))
		if use := useOf(d.Field); use != "" {
			text += ", " + use
		}
		if names := f.named(d.Field, number(d.After)); names != "" {
			text += ": " + names
		}
		out = append(out, text)
	}
	return out
}

// fieldName is a field's name as flows have it here.
func fieldName(f *openflow.Field) string {
	for _, n := range [][2]string{{"eth_", "dl_"}, {"ip_", "nw_"}} {
		if rest, ok := strings.CutPrefix(f.Name, n[0]); ok && slices.Contains(f.Alias, n[1]+rest) {
			return n[1] + rest
		}
	}
	return f.Name
}

// useOf is what a field carries between tables, in the declaration's words up to where it goes into details.
func useOf(f *openflow.Field) string {
	if strings.HasPrefix(f.Name, "ct_") { // of several uses at once
		return ""
	}
	for _, u := range pipeline.FieldUses {
		if u.Field == f.Name {
			use := u.Use
			for _, mark := range []string{"; ", ". ", ": "} {
				use, _, _ = strings.Cut(use, mark)
			}
			return use
		}
	}
	return ""
}

var origins = map[uint32]string{pipeline.FromPort: "local port", pipeline.FromTunnel: "tunnel", pipeline.FromProvider: "provider or external network", pipeline.FromController: "controller"}

var flagWords = []struct {
	bit  uint32
	name string
}{
	{pipeline.FlagRouted, "routed"}, {pipeline.FlagSrcFiltered, "source filtered"}, {pipeline.FlagFloating, "source has a floating IP here"},
	{pipeline.FlagDstFiltered, "destination filtered"}, {pipeline.FlagDstStateless, "destination stateless"}, {pipeline.FlagTracing, "tracing"}, {pipeline.FlagTooLarge, "larger than the MTU"},
}

// named is who or what a field's value stands for.
func (f *fabric) named(field *openflow.Field, wide uint64) string {
	v := uint32(wide)
	key := alloc.KeyText(model.Key(v))
	if wide == 0 {
		return ""
	}
	switch field {
	case openflow.Reg(pipeline.RegOrigin):
		return origins[v]
	case openflow.Reg(pipeline.RegSrcPort), openflow.Reg(pipeline.RegDstPort):
		if p, ok := alloc.PortsByKey.First(f.snap, key); ok {
			return called(&p)
		}
	case openflow.Reg(pipeline.RegRouter):
		if r, ok := alloc.RoutersByKey.First(f.snap, key); ok {
			return orID(r.Name, string(r.ID))
		}
	case openflow.Reg(pipeline.RegNextHop):
		return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}).String()
	case openflow.Reg(pipeline.RegFlags):
		var on []string
		for _, w := range flagWords {
			if v&w.bit != 0 {
				on = append(on, w.name)
			}
		}
		return strings.Join(on, ", ")
	case openflow.Reg(pipeline.RegSrcSet), openflow.Reg(pipeline.RegDstSet):
		return nameOf(f.snap, "group-set", key)
	case openflow.Reg(pipeline.RegRule):
		if r, ok := alloc.RulesByKey.First(f.snap, key); ok {
			return describeRule(f.snap, &r.RulePlane)
		}
	case openflow.FieldTunID:
		n, ok := tables.NetworksBySegment.First(f.snap, tables.SegmentKey(model.VXLAN, "", v))
		switch uint8(wide >> 40) {
		case pipeline.TagVLAN, pipeline.TagFlat, pipeline.TagLocal:
			n, ok = alloc.NetworksByKey.First(f.snap, key)
		case pipeline.TagGRE:
			n, ok = tables.NetworksBySegment.First(f.snap, tables.SegmentKey(model.GRE, "", v))
		case pipeline.TagGeneve:
			n, ok = tables.NetworksBySegment.First(f.snap, tables.SegmentKey(model.Geneve, "", v))
		}
		if ok {
			return networkName(f.snap, n.ID)
		}
	case openflow.FieldCTLabel:
		if r, ok := alloc.RulesByKey.First(f.snap, key); ok {
			return "the accepting rule is " + describeRule(f.snap, &r.RulePlane)
		}
	}
	return ""
}

func number(v []byte) (n uint64) {
	for _, c := range v {
		n = n<<8 | uint64(c)
	}
	return n
}

// valueText is a field's value as people write it.
func valueText(f *openflow.Field, v []byte) string {
	switch {
	case f == openflow.FieldCTState:
		return stateText(uint32(number(v)))
	case f == openflow.FieldInPort && number(v) >= uint64(openflow.PortMax):
		return "none"
	case f == openflow.FieldVLANVID:
		if number(v) == 0 {
			return "none"
		}
		return fmt.Sprint(number(v) & 0xfff)
	case f.Bytes == 6:
		return net.HardwareAddr(v).String()
	case f.Bytes == 4 && f.Bits == 32 && strings.Contains(f.Name, "_"), f.Bytes == 16 && f != openflow.FieldCTLabel:
		if a, ok := netip.AddrFromSlice(v); ok && f != openflow.FieldCTMark && f != openflow.FieldInPort {
			return a.String()
		}
	}
	if len(v) <= 8 {
		if n := number(v); n > 0xffff {
			return fmt.Sprintf("%#x", n)
		}
		return fmt.Sprint(number(v))
	}
	if digits := strings.TrimLeft(fmt.Sprintf("%x", v), "0"); digits != "" {
		return "0x" + digits
	}
	return "0"
}

var stateBits = []struct {
	bit  uint32
	name string
}{{flow.CTNew, "new"}, {flow.CTEst, "est"}, {flow.CTRel, "rel"}, {flow.CTRpl, "rpl"}, {flow.CTInv, "inv"}, {flow.CTTrk, "trk"}, {flow.CTSNAT, "snat"}, {flow.CTDNAT, "dnat"}}

// stateText is a connection's state as flows write it: "+new+trk".
func stateText(v uint32) string {
	var b strings.Builder
	for _, s := range stateBits {
		if v&s.bit != 0 {
			b.WriteString("+" + s.name)
		}
	}
	if b.Len() == 0 {
		return "untracked"
	}
	return b.String()
}
