// SPDX-License-Identifier: Apache-2.0

package flowtree

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"

	"nagare/internal/flow"
	"nagare/internal/yang"
	"nagare/openflow"
)

// inOrder gives the entries of a list by the number in a key of theirs.
func inOrder(d *yang.Data, list, key string) []*yang.Data {
	entries := d.All(list)
	order := func(e *yang.Data) int64 {
		text, _ := e.Get(key)
		n, _ := strconv.ParseInt(text, 10, 64)
		return n
	}
	slices.SortStableFunc(entries, func(a, b *yang.Data) int { return cmp.Compare(order(a), order(b)) })
	return entries
}

// reader reads actions beside a match.
type reader struct {
	node  string
	proto uint64 // IP protocol of the match, 0 if it has none
	seen  *scene // what is known of the packets; nil in groups, of which a switch asks nothing
}

func (r reader) actions(d *yang.Data) (out []flow.Act, err error) {
	entries := inOrder(d, "action", "order")
	size := 0
	for _, e := range entries {
		if at(e, "drop-action") != nil {
			if len(entries) > 1 {
				return nil, invalid(e, "drop-action stands alone; without any action a packet is dropped too")
			}
			return nil, nil
		}
		a, err := r.action(e)
		if err != nil {
			return nil, err
		}
		if r.seen != nil {
			if why := r.seen.do(a); why != "" {
				return nil, invalid(e, "%s", why)
			}
		}
		if size += len(a.AppendTo(nil)); size > 30000 {
			return nil, invalid(e, "the actions up to here have more than 30000 bytes")
		}
		out = append(out, flow.Action(a))
	}
	return out, nil
}

// action reads an entry of the list of actions.
func (r reader) action(e *yang.Data) (openflow.Action, error) {
	for _, c := range e.Children {
		if c.Node.IsKey() {
			continue
		}
		if c.Node.Name == "ovs-action" {
			return r.text(c)
		}
		if f := actions[c.Node.Name]; f != nil {
			return f(r, c)
		}
	}
	return nil, invalid(e, "there is no action in it")
}

// text reads an action in the words of ovs-ofctl.
func (r reader) text(leaf *yang.Data) (openflow.Action, error) {
	proto := ""
	if r.proto != 0 {
		proto = "ip,nw_proto=" + strconv.FormatUint(r.proto, 10) + ","
	}
	f, err := flow.ParseFlow(proto + "actions=" + leaf.Value)
	if err != nil {
		return nil, invalid(leaf, "%v", err)
	}
	is := f.Actions.Instructions()
	if len(is) == 1 {
		if apply, ok := is[0].(openflow.ApplyActions); ok && len(apply.Actions) == 1 {
			return apply.Actions[0], nil
		}
	}
	return nil, invalid(leaf, "%q is not one action", leaf.Value)
}

// actions reads the containers of the choice.
var actions = map[string]func(r reader, d *yang.Data) (openflow.Action, error){
	"output-action": func(r reader, d *yang.Data) (openflow.Action, error) {
		leaf := at(d, "output-node-connector")
		if leaf == nil {
			return nil, missing(d, "output-node-connector")
		}
		p, err := parsePort(r.node, leaf.Value)
		if err != nil || p == flow.PortAny {
			return nil, invalid(leaf, "%q is no port to send to", leaf.Value)
		}
		if p == flow.PortController {
			return toController(d), nil
		}
		return openflow.Output{Port: p}, nil
	},
	"controller-action": func(_ reader, d *yang.Data) (openflow.Action, error) { return toController(d), nil },
	"group-action":      number32(func(_ *yang.Data, v uint64) openflow.Action { return openflow.Group{ID: uint32(v)} }, "group-id"),
	"set-queue-action":  number32(func(_ *yang.Data, v uint64) openflow.Action { return openflow.SetQueue{Queue: uint32(v)} }, "queue-id"),
	"push-vlan-action": func(_ reader, d *yang.Data) (openflow.Action, error) {
		eth, has := uintAt(d, "ethernet-type")
		if has && eth != 0x8100 && eth != 0x88a8 {
			return nil, invalid(at(d, "ethernet-type"), "%d is no type of a tag: want 33024 or 34984", eth)
		}
		return openflow.PushVLAN{EtherType: uint16(cmp.Or(eth, 0x8100))}, nil
	},
	"pop-vlan-action":   func(reader, *yang.Data) (openflow.Action, error) { return openflow.PopVLAN{}, nil },
	"strip-vlan-action": func(reader, *yang.Data) (openflow.Action, error) { return openflow.PopVLAN{}, nil },
	"push-mpls-action":  number32(func(_ *yang.Data, v uint64) openflow.Action { return openflow.PushMPLS{EtherType: uint16(v)} }, "ethernet-type"),
	"pop-mpls-action":   number32(func(_ *yang.Data, v uint64) openflow.Action { return openflow.PopMPLS{EtherType: uint16(v)} }, "ethernet-type"),
	"set-nw-ttl-action": number32(func(_ *yang.Data, v uint64) openflow.Action { return openflow.SetTTL{TTL: uint8(v)} }, "nw-ttl"),
	"dec-nw-ttl":        func(reader, *yang.Data) (openflow.Action, error) { return openflow.DecTTL{}, nil },
	"set-vlan-id-action": number32(func(_ *yang.Data, v uint64) openflow.Action {
		return openflow.SetUint(openflow.FieldVLANVID, v|vlanPresent)
	}, "vlan-id"),
	"set-vlan-pcp-action": number32(func(_ *yang.Data, v uint64) openflow.Action { return openflow.SetUint(openflow.FieldVLANPCP, v) }, "vlan-pcp"),
	"set-nw-tos-action":   number32(func(_ *yang.Data, v uint64) openflow.Action { return openflow.SetUint(openflow.FieldIPDSCP, v>>2) }, "tos"),
	"set-dl-src-action":   hardwareAction(openflow.FieldEthSrc),
	"set-dl-dst-action":   hardwareAction(openflow.FieldEthDst),
	"set-nw-src-action":   addressAction(openflow.FieldIPv4Src, openflow.FieldIPv6Src),
	"set-nw-dst-action":   addressAction(openflow.FieldIPv4Dst, openflow.FieldIPv6Dst),
	"set-tp-src-action":   portAction(openflow.FieldTCPSrc, openflow.FieldUDPSrc, openflow.FieldSCTPSrc),
	"set-tp-dst-action":   portAction(openflow.FieldTCPDst, openflow.FieldUDPDst, openflow.FieldSCTPDst),
	"set-field":           setField,
}

func toController(d *yang.Data) openflow.Action {
	n, has := uintAt(d, "max-length")
	if !has {
		n = uint64(openflow.MaxLenNoBuffer)
	}
	return openflow.Output{Port: flow.PortController, MaxLen: uint16(n)}
}

// number32 is an action of one number that must be there.
func number32(f func(*yang.Data, uint64) openflow.Action, leaf string) func(reader, *yang.Data) (openflow.Action, error) {
	return func(_ reader, d *yang.Data) (openflow.Action, error) {
		v, has := uintAt(d, leaf)
		if !has {
			return nil, missing(d, leaf)
		}
		return f(d, v), nil
	}
}

func hardwareAction(f *openflow.Field) func(reader, *yang.Data) (openflow.Action, error) {
	return func(_ reader, d *yang.Data) (openflow.Action, error) {
		leaf := at(d, "address")
		if leaf == nil {
			return nil, missing(d, "address")
		}
		mac, err := parseMAC(leaf.Value)
		if err != nil {
			return nil, invalid(leaf, "%v", err)
		}
		return openflow.SetField{Field: f, Value: mac}, nil
	}
}

func addressAction(v4, v6 *openflow.Field) func(reader, *yang.Data) (openflow.Action, error) {
	return func(_ reader, d *yang.Data) (openflow.Action, error) {
		leaf, f := at(d, "ipv4-address"), v4
		if leaf == nil {
			leaf, f = at(d, "ipv6-address"), v6
		}
		if leaf == nil {
			return nil, missing(d, "ipv4-address")
		}
		p, err := netip.ParsePrefix(leaf.Value)
		if err != nil || p.Addr().BitLen() != f.Bits || !p.IsSingleIP() {
			return nil, invalid(leaf, "want one address, with a prefix length of %d", f.Bits)
		}
		return openflow.SetField{Field: f, Value: p.Addr().AsSlice()}, nil
	}
}

// portAction sets a port, of the protocol that the action says, or else the match.
func portAction(tcp, udp, sctp *openflow.Field) func(reader, *yang.Data) (openflow.Action, error) {
	return func(r reader, d *yang.Data) (openflow.Action, error) {
		port, has := uintAt(d, "port")
		if !has {
			return nil, missing(d, "port")
		}
		proto, has := uintAt(d, "ip-protocol")
		if !has {
			proto = r.proto
		}
		f := map[uint64]*openflow.Field{flow.ProtoTCP: tcp, flow.ProtoUDP: udp, flow.ProtoSCTP: sctp}[proto]
		if f == nil {
			return nil, invalid(d, "a port needs ip-protocol 6, 17 or 132, here or in the match")
		}
		return openflow.SetUint(f, port), nil
	}
}

// setField sets what a match of one condition says.
func setField(r reader, d *yang.Data) (openflow.Action, error) {
	if c := at(d, "vlan-match/vlan-id"); c != nil && len(leaves(d)) <= 2 {
		id, has := uintAt(c, "vlan-id")
		if present, said := c.Get("vlan-id-present"); !has || said && present == "false" {
			return nil, invalid(c, "want a vlan-id, and vlan-id-present; pop-vlan-action takes a tag away")
		}
		return openflow.SetUint(openflow.FieldVLANVID, id|vlanPresent), nil
	}
	all, err := readConditions(d, r.node)
	if err != nil {
		return nil, err
	}
	if len(all) != 1 {
		return nil, invalid(d, "want one field, and there are %d", len(all))
	}
	one := all[0]
	switch {
	case one.mask != nil:
		return nil, invalid(one.from, "the whole of a field is set; for a part of it, use ovs-action")
	case !one.field.Write:
		return nil, invalid(one.from, "%s is not for writing", one.from.Node.Name)
	}
	return openflow.SetField{Field: one.field, Value: one.value}, nil
}

// leaves are all leaves below d.
func leaves(d *yang.Data) (out []*yang.Data) {
	for _, c := range d.Children {
		if c.Node.Type != nil {
			out = append(out, c)
		} else {
			out = append(out, leaves(c)...)
		}
	}
	return out
}
