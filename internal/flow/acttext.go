// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"encoding/hex"
	"net/netip"
	"strconv"

	"nagare/openflow"
)

// String is the action list as ovs-ofctl --no-names prints it, "drop" for none.
func (a Actions) String() string { return string(a.appendText(nil)) }

// String is the flow in the line form of a normalised dump:
// "table=0,priority=8192,in_port=2 actions=drop". The cookie is not part of it.
func (f Flow) String() string { return string(f.appendText(nil)) }

func (f Flow) appendText(b []byte) []byte {
	b = append(b, "table="...)
	b = strconv.AppendUint(b, uint64(f.Table), 10)
	b = append(b, ",priority="...)
	b = strconv.AppendUint(b, uint64(f.Priority), 10)
	if f.Match != "" {
		b = append(b, ',')
		b = f.Match.appendText(b)
	}
	b = append(b, " actions="...)
	return f.Actions.appendText(b)
}

func (a Actions) appendText(b []byte) []byte {
	start := len(b)
	for _, i := range a.Instructions() {
		b = appendSep(b, len(b)-start)
		switch i := i.(type) {
		case openflow.Meter:
			b = strconv.AppendUint(append(b, "meter:"...), uint64(i.ID), 10)
		case openflow.ApplyActions:
			b = appendActs(b, i.Actions)
		case openflow.ClearActions:
			b = append(b, "clear_actions"...)
		case openflow.WriteActions:
			b = append(b, "write_actions("...)
			if len(i.Actions) == 0 {
				b = append(b, "drop"...)
			}
			b = append(appendActs(b, i.Actions), ')')
		case openflow.WriteMetadata:
			b = appendHex(append(b, "write_metadata:"...), i.Value)
			if i.Mask != ^uint64(0) {
				b = appendHex(append(b, '/'), i.Mask)
			}
		case openflow.GotoTable:
			b = strconv.AppendUint(append(b, "goto_table:"...), uint64(i.Table), 10)
		case openflow.RawInstruction:
			b = hex.AppendEncode(append(b, "instruction:"...), i)
		}
	}
	if len(b) == start {
		b = append(b, "drop"...)
	}
	return b
}

func appendActs(b []byte, as []openflow.Action) []byte {
	for i, a := range as {
		b = appendAct(appendSep(b, i), a)
	}
	return b
}

func appendAct(b []byte, a openflow.Action) []byte {
	switch a := a.(type) {
	case openflow.Output:
		return appendOutput(b, a)
	case openflow.Group:
		return appendNamed(b, "group:", uint64(a.ID))
	case openflow.SetQueue:
		return appendNamed(b, "set_queue:", uint64(a.Queue))
	case openflow.PushVLAN:
		return appendHexPad(append(b, "push_vlan:"...), uint64(a.EtherType), 4)
	case openflow.PopVLAN:
		return append(b, "pop_vlan"...)
	case openflow.PushMPLS:
		return appendHexPad(append(b, "push_mpls:"...), uint64(a.EtherType), 4)
	case openflow.PopMPLS:
		return appendHexPad(append(b, "pop_mpls:"...), uint64(a.EtherType), 4)
	case openflow.SetTTL:
		return appendNamed(b, "mod_nw_ttl:", uint64(a.TTL))
	case openflow.DecTTL:
		return append(b, "dec_ttl"...)
	case openflow.SetField:
		return appendSetField(b, a.Field, a.Value, nil)
	case openflow.LoadMasked:
		return appendSetField(b, a.Field, a.Value, a.Mask)
	case openflow.Load:
		b = appendHex(append(b, "load:"...), a.Value)
		return appendSub(append(b, "->"...), a.Dst)
	case openflow.Move:
		dst := a.Dst
		dst.Bits = a.Src.Bits
		b = appendSub(append(b, "move:"...), a.Src)
		return appendSub(append(b, "->"...), dst)
	case openflow.OutputReg:
		return appendSub(append(b, "output:"...), a.Src)
	case openflow.Push:
		return appendSub(append(b, "push:"...), a.Sub)
	case openflow.Pop:
		return appendSub(append(b, "pop:"...), a.Sub)
	case openflow.Controller:
		return appendController(b, openflow.Controller2{MaxLen: a.MaxLen, ID: a.ID, Reason: a.Reason})
	case openflow.Controller2:
		return appendController(b, a)
	case openflow.Resubmit:
		return appendResubmit(b, a)
	case openflow.CT:
		return appendCT(b, a)
	case openflow.CTClear:
		return append(b, "ct_clear"...)
	case openflow.Clone:
		return append(appendActs(append(b, "clone("...), a.Actions), ')')
	case openflow.Conjunction:
		b = appendNamed(b, "conjunction(", uint64(a.ID))
		b = appendNamed(b, ",", uint64(a.Clause))
		return append(appendNamed(b, "/", uint64(a.Clauses)), ')')
	case openflow.CheckPktLarger:
		b = appendNamed(b, "check_pkt_larger(", uint64(a.Len))
		return appendSub(append(b, ")->"...), a.Dst)
	case openflow.Note:
		b = append(b, "note:"...)
		return appendDotted(b, a.Data)
	case openflow.Exit:
		return append(b, "exit"...)
	case openflow.NAT:
		return appendNAT(b, a)
	}
	// What is not written by this project is shown, and read back, byte for byte.
	return hex.AppendEncode(append(b, "action:"...), a.AppendTo(nil))
}

func appendNamed(b []byte, name string, v uint64) []byte {
	return strconv.AppendUint(append(b, name...), v, 10)
}

func appendOutput(b []byte, a openflow.Output) []byte {
	switch a.Port {
	case openflow.PortController:
		return appendNamed(b, "CONTROLLER:", uint64(a.MaxLen))
	case openflow.PortInPort, openflow.PortTable, openflow.PortNormal, openflow.PortFlood, openflow.PortAll, openflow.PortLocal:
		return appendPort(b, a.Port)
	}
	return appendPort(append(b, "output:"...), a.Port)
}

// appendSetField prints set_field:value[/mask]->field in the field's own form.
func appendSetField(b []byte, f *openflow.Field, v, mask []byte) []byte {
	b = append(b, "set_field:"...)
	b = appendValue(b, f, v)
	if mask != nil && !allOnes(f, mask) {
		b = append(b, '/')
		if n, ok := prefixLen(mask); ok && (isIPv4(f) || isIPv6(f)) {
			b = strconv.AppendUint(b, uint64(n), 10)
		} else if isMAC(f) || isIPv4(f) || isIPv6(f) {
			b = appendValue(b, f, mask)
		} else {
			b = appendWideHex(b, mask)
		}
	}
	b = append(b, "->"...)
	if f == openflow.FieldInPort16 {
		return append(b, "in_port"...)
	}
	return append(b, f.Name...)
}

func allOnes(f *openflow.Field, mask []byte) bool {
	for i, m := range mask {
		if s := significant(f, i); m&s != s {
			return false
		}
	}
	return true
}

// appendValue prints a field's value as a set_field shows it.
func appendValue(b []byte, f *openflow.Field, v []byte) []byte {
	switch {
	case f == openflow.FieldInPort || f == openflow.FieldActsetOutput:
		return appendPort(b, uint32(openflow.TLV{Value: v}.Uint()))
	case f == openflow.FieldInPort16:
		return appendPort(b, port32(uint16(openflow.TLV{Value: v}.Uint())))
	case isMAC(f):
		return appendMAC(b, v)
	case isIPv4(f), isIPv6(f):
		return appendIP(b, v)
	case isHex(f) || len(v) > 8:
		return appendWideHex(b, v)
	}
	return strconv.AppendUint(b, openflow.TLV{Value: v}.Uint(), 10)
}

// appendSub prints a subfield by its Nicira or OXM symbol: NXM_NX_REG0[0..15].
func appendSub(b []byte, s openflow.Subfield) []byte {
	name := s.Field.NXM
	if name == "" {
		name = s.Field.OXM
	}
	b = append(b, name...)
	b = append(b, '[')
	switch {
	case s.Ofs == 0 && int(s.Bits) == s.Field.Bits:
	case s.Bits == 1:
		b = strconv.AppendUint(b, uint64(s.Ofs), 10)
	default:
		b = strconv.AppendUint(b, uint64(s.Ofs), 10)
		b = append(b, ".."...)
		b = strconv.AppendUint(b, uint64(s.Ofs)+uint64(s.Bits)-1, 10)
	}
	return append(b, ']')
}

var reasonNames = []string{"no_match", "action", "invalid_ttl", "action_set", "group", "packet_out"}

func appendController(b []byte, a openflow.Controller2) []byte {
	if a.Reason == openflow.ReasonAction && a.ID == 0 && len(a.Userdata) == 0 && !a.Pause && a.MeterID == 0 {
		return appendNamed(b, "CONTROLLER:", uint64(a.MaxLen))
	}
	b = append(b, "controller("...)
	start := len(b)
	put := func(name string, v uint64) {
		b = appendNamed(appendSep(b, len(b)-start), name, v)
	}
	if a.Reason != openflow.ReasonAction {
		b = append(b, "reason="...)
		if int(a.Reason) < len(reasonNames) {
			b = append(b, reasonNames[a.Reason]...)
		} else {
			b = strconv.AppendUint(b, uint64(a.Reason), 10)
		}
	}
	if a.MaxLen != 0 && a.MaxLen != openflow.MaxLenNoBuffer {
		put("max_len=", uint64(a.MaxLen))
	}
	if a.ID != 0 {
		put("id=", uint64(a.ID))
	}
	if len(a.Userdata) > 0 {
		b = append(appendSep(b, len(b)-start), "userdata="...)
		b = appendDotted(b, a.Userdata)
	}
	if a.Pause {
		b = append(appendSep(b, len(b)-start), "pause"...)
	}
	if a.MeterID != 0 {
		put("meter_id=", uint64(a.MeterID))
	}
	return append(b, ')')
}

func appendDotted(b, v []byte) []byte {
	for i, c := range v {
		if i > 0 {
			b = append(b, '.')
		}
		b = hex.AppendEncode(b, []byte{c})
	}
	return b
}

func appendResubmit(b []byte, a openflow.Resubmit) []byte {
	if a.Table == 255 && !a.CT && a.InPort != openflow.Port16InPort {
		return appendPort(append(b, "resubmit:"...), port32(a.InPort))
	}
	b = append(b, "resubmit("...)
	if a.InPort != openflow.Port16InPort {
		b = appendPort(b, port32(a.InPort))
	}
	b = append(b, ',')
	if a.Table != 255 {
		b = strconv.AppendUint(b, uint64(a.Table), 10)
	}
	if a.CT {
		b = append(b, ",ct"...)
	}
	return append(b, ')')
}

// port32 widens a 16-bit port number.
func port32(p uint16) uint32 {
	if p >= 0xff00 {
		return 0xffff0000 | uint32(p)
	}
	return uint32(p)
}

func appendCT(b []byte, a openflow.CT) []byte {
	b = append(b, "ct("...)
	start := len(b)
	sep := func() { b = appendSep(b, len(b)-start) }
	if a.Flags&openflow.CTCommit != 0 {
		b = append(b, "commit"...)
	}
	if a.Flags&openflow.CTForce != 0 {
		sep()
		b = append(b, "force"...)
	}
	if a.Table != openflow.CTNoTable {
		sep()
		b = appendNamed(b, "table=", uint64(a.Table))
	}
	if a.ZoneFrom.Field != nil {
		sep()
		b = appendSub(append(b, "zone="...), a.ZoneFrom)
	} else if a.Zone != 0 {
		sep()
		b = appendNamed(b, "zone=", uint64(a.Zone))
	}
	rest := a.Actions
	if len(rest) > 0 {
		if nat, ok := rest[0].(openflow.NAT); ok {
			sep()
			b = appendNAT(b, nat)
			rest = rest[1:]
		}
	}
	if len(rest) > 0 {
		sep()
		b = append(appendActs(append(b, "exec("...), rest), ')')
	}
	if a.ALG != 0 {
		sep()
		switch a.ALG {
		case 21:
			b = append(b, "alg=ftp"...)
		case 69:
			b = append(b, "alg=tftp"...)
		default:
			b = appendNamed(b, "alg=", uint64(a.ALG))
		}
	}
	return append(b, ')')
}

func appendNAT(b []byte, a openflow.NAT) []byte {
	b = append(b, "nat"...)
	if a.Flags&(openflow.NATSrc|openflow.NATDst) == 0 {
		return b
	}
	b = append(b, '(')
	if a.Flags&openflow.NATSrc != 0 {
		b = append(b, "src"...)
	} else {
		b = append(b, "dst"...)
	}
	if a.MinAddr.IsValid() {
		brackets := a.MinAddr.Is6() && a.MinPort != 0
		one := func(x netip.Addr) {
			if brackets {
				b = append(b, '[')
			}
			b = x.AppendTo(b)
			if brackets {
				b = append(b, ']')
			}
		}
		b = append(b, '=')
		one(a.MinAddr)
		if a.MaxAddr.IsValid() && a.MaxAddr != a.MinAddr {
			b = append(b, '-')
			one(a.MaxAddr)
		}
		if a.MinPort != 0 {
			b = appendNamed(b, ":", uint64(a.MinPort))
			if a.MaxPort != 0 && a.MaxPort != a.MinPort {
				b = appendNamed(b, "-", uint64(a.MaxPort))
			}
		}
	}
	if a.Flags&openflow.NATPersistent != 0 {
		b = append(b, ",persistent"...)
	}
	if a.Flags&openflow.NATProtoHash != 0 {
		b = append(b, ",hash"...)
	}
	if a.Flags&openflow.NATRandom != 0 {
		b = append(b, ",random"...)
	}
	return append(b, ')')
}

// ActionText is one action as ovs-ofctl prints it.
func ActionText(a openflow.Action) string { return string(appendAct(nil, a)) }
