// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"nagare/openflow"
)

// ParseActions reads an action list in ovs-ofctl's syntax, instructions such as
// goto_table included. "drop" and an empty text do nothing.
func ParseActions(s string) (Actions, error) { return parseActions(s, 0) }

// parseActions is ParseActions beside a match of IP protocol proto, which tells
// what tp_src means.
func parseActions(s string, proto int) (Actions, error) {
	p := actParser{proto: proto}
	acts, err := p.list(s)
	if err != nil {
		return "", err
	}
	seen := [stages]bool{}
	size := 0
	for i := range acts {
		at := acts[i].at
		if seen[at] && at != stageApply {
			return "", fmt.Errorf("actions %q: one instruction twice", s)
		}
		seen[at] = true
		if size += len(acts[i].bytes()); size > 60000 {
			return "", fmt.Errorf("actions of more than 60000 bytes")
		}
	}
	return Do(acts...), nil
}

type actParser struct {
	proto int
	depth int
}

// maxNesting bounds ct(exec(...)), clone(...) inside each other.
const maxNesting = 8

func (p *actParser) list(s string) ([]Act, error) {
	var out []Act
	for _, item := range splitList(s) {
		if item == "drop" {
			continue
		}
		a, err := p.one(item)
		if err != nil {
			return nil, fmt.Errorf("action %q: %w", item, err)
		}
		out = append(out, a)
	}
	return out, nil
}

// nested is a list inside another action, where instructions have no place.
func (p *actParser) nested(s string) ([]Act, error) {
	if p.depth++; p.depth > maxNesting {
		return nil, fmt.Errorf("nested more than %d deep", maxNesting)
	}
	defer func() { p.depth-- }()
	acts, err := p.list(s)
	for i := range acts {
		if acts[i].at != stageApply {
			return nil, fmt.Errorf("instruction inside an action")
		}
	}
	return acts, err
}

// one reads one action: name, name:arg or name(args)rest.
func (p *actParser) one(s string) (Act, error) {
	name, arg, paren := s, "", false
	if i := strings.IndexAny(s, ":("); i >= 0 {
		name, arg, paren = s[:i], s[i+1:], s[i] == '('
	}
	rest := ""
	if paren {
		end := closing(arg)
		if end < 0 {
			return Act{}, fmt.Errorf("parenthesis is not closed")
		}
		arg, rest = arg[:end], arg[end+1:]
		if rest != "" && name != "check_pkt_larger" {
			return Act{}, fmt.Errorf("%q behind the parenthesis", rest)
		}
	}
	switch lower := strings.ToLower(name); lower {
	case "controller":
		return parseController(arg, paren)
	case "output":
		return parseOutput(arg, paren)
	case "resubmit":
		return parseResubmit(arg, paren)
	case "set_field":
		return p.setField(arg)
	case "load":
		return parseLoad(arg)
	case "move":
		return parseMove(arg)
	case "ct":
		return p.ct(arg)
	case "conjunction":
		return parseConjunction(arg)
	case "clone", "write_actions":
		acts, err := p.nested(arg)
		if err != nil {
			return Act{}, err
		}
		if lower == "clone" {
			return Clone(acts...), nil
		}
		return WriteActions(acts...), nil
	case "check_pkt_larger":
		n, err := parseUint(arg, 16)
		if err != nil {
			return Act{}, err
		}
		dst, err := parseSub(strings.TrimPrefix(rest, "->"))
		if err == nil && dst.Bits != 1 {
			err = fmt.Errorf("result needs one bit")
		}
		if err != nil {
			return Act{}, err
		}
		return CheckPktLarger(uint16(n), dst), nil
	case "write_metadata":
		v, m, err := parsePair(arg)
		return WriteMetadata(v, m), err
	case "note":
		b, err := hex.DecodeString(strings.ReplaceAll(arg, ".", ""))
		return Action(openflow.Note{Data: pad(b, 6)}), err
	case "action": // bytes that have no text form here
		b, err := hex.DecodeString(arg)
		if err != nil {
			return Act{}, err
		}
		as, err := openflow.DecodeActions(b)
		if err != nil || len(as) != 1 {
			return Act{}, fmt.Errorf("not one action")
		}
		return Action(as[0]), nil
	case "push", "pop":
		s, err := parseSub(arg)
		switch {
		case err != nil:
			return Act{}, err
		case lower == "push":
			return Action(openflow.Push{Sub: s}), nil
		}
		return Action(openflow.Pop{Sub: s}), nil
	default:
		if f, width, ok := p.numeric(lower); ok {
			v, err := parseUint(arg, width)
			if err != nil {
				return Act{}, err
			}
			return f(v), nil
		}
		if f, ok := legacy[lower]; ok {
			return p.setField(arg + "->" + f)
		}
		if a, ok := plainActs[lower]; ok && arg == "" {
			return a(), nil
		}
	}
	if port, err := parsePort(s); err == nil {
		return Output(port), nil
	}
	return Act{}, fmt.Errorf("unknown action")
}

// plainActs are the actions without argument.
var plainActs = map[string]func() Act{
	"pop_vlan":      PopVLAN,
	"strip_vlan":    PopVLAN,
	"dec_ttl":       DecTTL,
	"ct_clear":      CTClear,
	"clear_actions": ClearActions,
	"exit":          func() Act { return Action(openflow.Exit{}) },
}

// legacy are the OpenFlow 1.0 names of set_field.
var legacy = map[string]string{
	"mod_dl_src": "eth_src", "mod_dl_dst": "eth_dst", "mod_nw_src": "ip_src", "mod_nw_dst": "ip_dst",
	"mod_tp_src": "tp_src", "mod_tp_dst": "tp_dst", "set_tunnel": "tun_id", "set_tunnel64": "tun_id",
}

// numeric finds the actions whose argument is one number, and its width in bits.
func (p *actParser) numeric(name string) (func(uint64) Act, int, bool) {
	switch name {
	case "goto_table":
		return func(v uint64) Act { return Goto(int(v)) }, 8, true
	case "meter":
		return func(v uint64) Act { return Metered(uint32(v)) }, 32, true
	case "group":
		return func(v uint64) Act { return ToGroup(uint32(v)) }, 32, true
	case "set_queue":
		return func(v uint64) Act { return SetQueue(uint32(v)) }, 32, true
	case "push_vlan":
		return func(v uint64) Act { return Action(openflow.PushVLAN{EtherType: uint16(v)}) }, 16, true
	case "push_mpls":
		return func(v uint64) Act { return Action(openflow.PushMPLS{EtherType: uint16(v)}) }, 16, true
	case "pop_mpls":
		return func(v uint64) Act { return Action(openflow.PopMPLS{EtherType: uint16(v)}) }, 16, true
	case "mod_nw_ttl":
		return func(v uint64) Act { return Action(openflow.SetTTL{TTL: uint8(v)}) }, 8, true
	case "mod_nw_tos":
		return func(v uint64) Act { return SetDSCP(uint8(v >> 2)) }, 8, true
	}
	return nil, 0, false
}

// closing is the index of the parenthesis that ends the text's first level; -1
// if there is none.
func closing(s string) int {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '(':
			depth++
		case ')':
			if depth == 0 {
				return i
			}
			depth--
		}
	}
	return -1
}

func pad(b []byte, unit int) []byte {
	for len(b) == 0 || (len(b)-unit)%8 != 0 {
		b = append(b, 0)
	}
	return b
}

func parsePair(s string) (v, m uint64, err error) {
	vs, ms, masked := strings.Cut(s, "/")
	if v, err = parseUint(vs, 64); err == nil && masked {
		m, err = parseUint(ms, 64)
	} else {
		m = ^uint64(0)
	}
	return v, m, err
}

func parseController(arg string, paren bool) (Act, error) {
	if !paren {
		if arg == "" {
			return ToController(65535), nil
		}
		n, err := parseUint(arg, 16)
		return ToController(uint16(n)), err
	}
	a := openflow.Controller2{MaxLen: openflow.MaxLenNoBuffer, Reason: openflow.ReasonAction}
	for _, item := range splitList(arg) {
		key, value, _ := strings.Cut(item, "=")
		var v uint64
		var err error
		switch key {
		case "max_len":
			v, err = parseUint(value, 16)
			a.MaxLen = uint16(v)
		case "id":
			v, err = parseUint(value, 16)
			a.ID = uint16(v)
		case "meter_id":
			v, err = parseUint(value, 32)
			a.MeterID = uint32(v)
		case "userdata":
			a.Userdata, err = hex.DecodeString(strings.ReplaceAll(value, ".", ""))
		case "pause":
			a.Pause = true
		case "reason":
			err = fmt.Errorf("unknown reason %q", value)
			for i, n := range reasonNames {
				if n == value {
					a.Reason, err = uint8(i), nil
				}
			}
		default:
			err = fmt.Errorf("unknown option %q", key)
		}
		if err != nil {
			return Act{}, err
		}
	}
	if len(a.Userdata) > 65000 {
		return Act{}, fmt.Errorf("userdata of more than 65000 bytes")
	}
	// Open vSwitch picks the oldest action that can say it; so must we, to
	// agree with what it dumps.
	switch {
	case len(a.Userdata) > 0 || a.Pause || a.MeterID != 0:
		return Action(a), nil
	case a.Reason != openflow.ReasonAction || a.ID != 0:
		return Action(openflow.Controller{MaxLen: a.MaxLen, ID: a.ID, Reason: a.Reason}), nil
	}
	return ToController(a.MaxLen), nil
}

func parseOutput(arg string, paren bool) (Act, error) {
	if paren {
		return Act{}, fmt.Errorf("output with options is not supported")
	}
	if strings.Contains(arg, "[") {
		s, err := parseSub(arg)
		if err != nil {
			return Act{}, err
		}
		return OutputReg(s), nil
	}
	p, err := parsePort(arg)
	if p == PortController {
		return ToController(0), err
	}
	return Output(p), err
}

func parseResubmit(arg string, paren bool) (Act, error) {
	a := openflow.Resubmit{InPort: openflow.Port16InPort, Table: 255}
	port := func(s string) error {
		p, err := parsePort(s)
		if err == nil && p > 0xffff && p < 0xffffff00 {
			err = fmt.Errorf("port %d does not fit in 16 bits", p)
		}
		a.InPort = uint16(p)
		return err
	}
	if !paren {
		err := port(arg)
		return Action(a), err
	}
	parts := strings.Split(arg, ",")
	if len(parts) > 3 || len(parts) == 3 && parts[2] != "ct" {
		return Act{}, fmt.Errorf("takes port, table and ct")
	}
	a.CT = len(parts) == 3
	if parts[0] != "" {
		if err := port(parts[0]); err != nil {
			return Act{}, err
		}
	}
	if len(parts) > 1 && parts[1] != "" {
		t, err := parseUint(parts[1], 8)
		if err != nil {
			return Act{}, err
		}
		a.Table = uint8(t)
	}
	return Action(a), nil
}

func parseConjunction(arg string) (Act, error) {
	id, clause, ok := strings.Cut(arg, ",")
	k, n, ok2 := strings.Cut(strings.TrimSpace(clause), "/")
	if !ok || !ok2 {
		return Act{}, fmt.Errorf("takes id, k/n")
	}
	i, err := parseUint(id, 32)
	if err != nil {
		return Act{}, err
	}
	kv, err := strconv.ParseUint(k, 10, 8)
	nv, err2 := strconv.ParseUint(n, 10, 8)
	if err != nil || err2 != nil || kv < 1 || kv > nv || nv < 2 || nv > 64 {
		return Act{}, fmt.Errorf("clause %s/%s is not k of n, 2 <= n <= 64", k, n)
	}
	return Conjunction(uint32(i), uint8(kv), uint8(nv)), nil
}
