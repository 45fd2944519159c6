// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"encoding/binary"
	"net/netip"

	"nagare/openflow"
)

// Sub is a run of bits of a field: RegBits(5, 0, 16) is NXM_NX_REG5[0..15].
type Sub = openflow.Subfield

// RegBits is n bits of register reg from bit ofs on.
func RegBits(reg, ofs, n int) Sub { return openflow.Reg(reg).Range(ofs, n) }

// Output sends the packet to each port, in order.
func Output(ports ...uint32) Act {
	var buf [160]byte
	b := buf[:0]
	for _, p := range ports {
		b = openflow.Output{Port: p}.AppendTo(b)
	}
	return wire(stageApply, b)
}

// InPortAct sends the packet back out of the port it came in by.
func InPortAct() Act { return Output(PortInPort) }

// ToController sends the first maxLen bytes of the packet to the controller,
// all of it for 65535.
func ToController(maxLen uint16) Act {
	var buf [16]byte
	return wire(stageApply, openflow.Output{Port: PortController, MaxLen: maxLen}.AppendTo(buf[:0]))
}

// Punt sends the whole packet to the controller, with userdata that comes back
// in the packet-in, through a meter; 0 is no meter.
func Punt(userdata []byte, meter uint32) Act {
	return Action(openflow.Controller2{MaxLen: openflow.MaxLenNoBuffer, Reason: openflow.ReasonAction, Userdata: userdata, MeterID: meter})
}

// PuntHead is Punt of no more than the first n octets of the packet.
func PuntHead(userdata []byte, meter uint32, n uint16) Act {
	return Action(openflow.Controller2{MaxLen: n, Reason: openflow.ReasonAction, Userdata: userdata, MeterID: meter})
}

// OutputReg sends the packet to the port whose number src holds.
func OutputReg(src Sub) Act {
	return Action(openflow.OutputReg{Src: src, MaxLen: openflow.MaxLenNoBuffer})
}

// ToGroup hands the packet to a group.
func ToGroup(id uint32) Act {
	var buf [8]byte
	return wire(stageApply, openflow.Group{ID: id}.AppendTo(buf[:0]))
}

// SetQueue selects the queue for later outputs.
func SetQueue(q uint32) Act { return Action(openflow.SetQueue{Queue: q}) }

// table is a table number, of a named type or as a plain constant.
type table interface{ ~uint8 | ~int }

// Goto continues in a later table after all actions.
func Goto[T table](t T) Act {
	var buf [8]byte
	return wire(stageGoto, openflow.GotoTable{Table: uint8(t)}.AppendTo(buf[:0]))
}

// Metered passes the packet through a meter before anything else.
func Metered(id uint32) Act {
	var buf [8]byte
	return wire(stageMeter, openflow.Meter{ID: id}.AppendTo(buf[:0]))
}

// WriteMetadata sets the bits of the metadata field that mask names.
func WriteMetadata(v, mask uint64) Act {
	return wire(stageMetadata, openflow.WriteMetadata{Value: v, Mask: mask}.AppendTo(nil))
}

// ClearActions empties the action set.
func ClearActions() Act { return wire(stageClear, openflow.ClearActions{}.AppendTo(nil)) }

// WriteActions adds acts to the action set.
func WriteActions(acts ...Act) Act { return wire(stageWrite, list(nil, acts)) }

// Resubmit looks the packet up in a table, earlier or later, as part of the
// actions.
func Resubmit[T table](t T) Act {
	var buf [16]byte
	return wire(stageApply, openflow.ResubmitTable(uint8(t)).AppendTo(buf[:0]))
}

// Clone runs acts on a copy of the packet.
func Clone(acts ...Act) Act {
	return Action(openflow.Clone{Actions: []openflow.Action{openflow.Raw(list(nil, acts))}})
}

// set is the OpenFlow set-field action; it prints as set_field.
func set(f *openflow.Field, v []byte) Act {
	var buf [32]byte
	return wire(stageApply, openflow.SetField{Field: f, Value: v}.AppendTo(buf[:0]))
}

func setUint(f *openflow.Field, v uint64) Act {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], v)
	return set(f, b[:])
}

// SetField sets a whole field to wire bytes, right-aligned.
func SetField(f *openflow.Field, v []byte) Act { return set(f, v) }

// SetTunID sets the logical network id.
func SetTunID(id uint64) Act { return setUint(openflow.FieldTunID, id) }

// SetTunDst sets the remote tunnel address, for ports with remote_ip=flow.
func SetTunDst(a netip.Addr) Act {
	if a = a.Unmap(); a.Is4() {
		return set(openflow.FieldTunDst, a.AsSlice())
	}
	return set(openflow.FieldTunIPv6Dst, a.AsSlice())
}

// SetEthSrc sets the source MAC address.
func SetEthSrc(m [6]byte) Act { return set(openflow.FieldEthSrc, m[:]) }

// SetEthDst sets the destination MAC address.
func SetEthDst(m [6]byte) Act { return set(openflow.FieldEthDst, m[:]) }

// SetIPSrc sets the IPv4 or IPv6 source address, by the family of a.
func SetIPSrc(a netip.Addr) Act {
	if a = a.Unmap(); a.Is4() {
		return set(openflow.FieldIPv4Src, a.AsSlice())
	}
	return set(openflow.FieldIPv6Src, a.AsSlice())
}

// SetIPDst sets the IPv4 or IPv6 destination address, by the family of a.
func SetIPDst(a netip.Addr) Act {
	if a = a.Unmap(); a.Is4() {
		return set(openflow.FieldIPv4Dst, a.AsSlice())
	}
	return set(openflow.FieldIPv6Dst, a.AsSlice())
}

// SetIPTTL sets the TTL or hop limit.
func SetIPTTL(ttl uint8) Act { return setUint(openflow.FieldIPTTL, uint64(ttl)) }

// SetDSCP sets the differentiated services code point, 0..63.
func SetDSCP(v uint8) Act { return setUint(openflow.FieldIPDSCP, uint64(v&0x3f)) }

// DecTTL decrements the TTL or hop limit; a packet at 1 goes to the controller.
func DecTTL() Act { return Action(openflow.DecTTL{}) }

// SetICMPType sets the ICMP type; SetICMPv6Type the ICMPv6 type.
func SetICMPType(v uint8) Act   { return setUint(openflow.FieldICMPType, uint64(v)) }
func SetICMPv6Type(v uint8) Act { return setUint(openflow.FieldICMPv6Type, uint64(v)) }

// SetARPOp sets the ARP operation: 1 request, 2 reply.
func SetARPOp(op uint16) Act { return setUint(openflow.FieldARPOp, uint64(op)) }

// SetARPSHA sets the ARP sender's hardware address.
func SetARPSHA(m [6]byte) Act { return set(openflow.FieldARPSHA, m[:]) }

// SetARPTHA sets the ARP target's hardware address.
func SetARPTHA(m [6]byte) Act { return set(openflow.FieldARPTHA, m[:]) }

// SetARPSPA sets the ARP sender's protocol address.
func SetARPSPA(a netip.Addr) Act { return set(openflow.FieldARPSPA, a.Unmap().AsSlice()) }

// SetARPTPA sets the ARP target's protocol address.
func SetARPTPA(a netip.Addr) Act { return set(openflow.FieldARPTPA, a.Unmap().AsSlice()) }

// SetNDTLL sets the target link-layer option of a neighbour advertisement.
func SetNDTLL(m [6]byte) Act { return set(openflow.FieldNDTLL, m[:]) }

// SetNDReserved sets the flags word of a neighbour discovery message.
func SetNDReserved(v uint32) Act { return setUint(openflow.FieldNDReserved, uint64(v)) }

// SetNDOptionsType sets the type of the first neighbour discovery option.
func SetNDOptionsType(v uint8) Act { return setUint(openflow.FieldNDOptionsType, uint64(v)) }

// SetVLANVID sets the VLAN id, 0..4095, of a tagged frame.
func SetVLANVID(vid uint16) Act { return setUint(openflow.FieldVLANVID, uint64(vid&0xfff|0x1000)) }

// PushVLAN pushes an 802.1Q tag; SetVLANVID fills it.
func PushVLAN() Act { return Action(openflow.PushVLAN{EtherType: 0x8100}) }

// PopVLAN removes the outer tag.
func PopVLAN() Act { return Action(openflow.PopVLAN{}) }

// LoadReg loads a whole register with the Nicira reg_load action; it prints as
// load:0x1->NXM_NX_REG0[].
func LoadReg(n int, v uint32) Act { return Load(openflow.Reg(n).All(), uint64(v)) }

// Load loads bits of a field with the Nicira reg_load action.
func Load(dst Sub, v uint64) Act {
	var buf [32]byte
	return wire(stageApply, openflow.Load{Dst: dst, Value: v}.AppendTo(buf[:0]))
}

// Move copies src to dst, bits that are as many.
func Move(src, dst Sub) Act {
	var buf [32]byte
	return wire(stageApply, openflow.Move{Src: src, Dst: dst}.AppendTo(buf[:0]))
}

// MoveField copies one whole field to another of the same length.
func MoveField(src, dst *openflow.Field) Act { return Move(src.All(), dst.All()) }

// IPv4DstTo copies the IPv4 destination address to register n, IPv6DstTo that of IPv6 to xxreg n.
func IPv4DstTo(n int) Act { return MoveField(openflow.FieldIPv4Dst, openflow.Reg(n)) }

func IPv6DstTo(n int) Act { return MoveField(openflow.FieldIPv6Dst, openflow.XXReg(n)) }

// TCPDstTo copies the destination port of TCP to the low bits of register n.
func TCPDstTo(n int) Act { return Move(openflow.FieldTCPDst.All(), RegBits(n, 0, 16)) }

// NoInPort forgets the port by which the packet came in, since a switch sends nothing out of that but by InPortAct.
func NoInPort() Act { return Load(openflow.FieldInPort16.All(), 0xffff) }

// Conjunction makes the flow clause k, from 1, of n of conjunction id. It may
// stand only beside other conjunctions.
func Conjunction(id uint32, k, n uint8) Act {
	var buf [16]byte
	return wire(stageApply, openflow.Conjunction{ID: id, Clause: k, Clauses: n}.AppendTo(buf[:0]))
}

// CheckPktLarger sets the one bit dst to whether the packet is longer than n bytes.
func CheckPktLarger(n uint16, dst Sub) Act {
	return Action(openflow.CheckPktLarger{Len: n, Dst: dst})
}

// Track says what ct() does.
type Track struct {
	Commit, Force bool
	Zone          uint16        // the zone, unless ZoneFrom names bits that hold it
	ZoneFrom      Sub           // RegBits(5, 0, 16)
	Next          uint8         // table in which the tracked packet goes on; 0 = none
	NAT           *openflow.NAT // nil = no translation
	Exec          []Act         // changes of ct_mark and ct_label, with Commit
	ALG           uint16        // the helper that follows the connection: 21 for FTP, 69 for TFTP; 0 = none
}

// CT sends the packet through the connection tracker. The match of such a flow
// needs IP() or IPv6().
func CT(t Track) Act {
	a := openflow.CT{Zone: t.Zone, ZoneFrom: t.ZoneFrom, Table: openflow.CTNoTable, ALG: t.ALG}
	if t.Commit {
		a.Flags |= openflow.CTCommit
	}
	if t.Force {
		a.Flags |= openflow.CTCommit | openflow.CTForce
	}
	if t.Next != 0 {
		a.Table = t.Next
	}
	if t.NAT != nil {
		a.Actions = append(a.Actions, *t.NAT)
	}
	if len(t.Exec) > 0 {
		a.Actions = append(a.Actions, openflow.Raw(list(nil, t.Exec)))
	}
	return Action(a)
}

// CTClear forgets the packet's connection.
func CTClear() Act { return Action(openflow.CTClear{}) }

// UnNAT translates packets of known connections only.
func UnNAT() *openflow.NAT { return &openflow.NAT{} }

// SNAT translates the source to a.
func SNAT(a netip.Addr) *openflow.NAT {
	return &openflow.NAT{Flags: openflow.NATSrc, MinAddr: a}
}

// DNAT translates the destination to a, and to port unless that is 0.
func DNAT(a netip.Addr, port uint16) *openflow.NAT {
	return &openflow.NAT{Flags: openflow.NATDst, MinAddr: a, MinPort: port}
}

// SetCTMarkBits sets bits of the connection's mark, inside Track.Exec.
func SetCTMarkBits(ofs, n int, v uint64) Act { return Load(openflow.FieldCTMark.Range(ofs, n), v) }

// LabelRule copies a register to the low 32 bits of the connection's label, inside Track.Exec.
func LabelRule(reg int) Act {
	return Move(openflow.Reg(reg).All(), openflow.FieldCTLabel.Range(0, 32))
}

// SetCTLabelBit sets one bit of the connection's label, inside Track.Exec.
func SetCTLabelBit(n int) Act { return Load(openflow.FieldCTLabel.Range(n, 1), 1) }
