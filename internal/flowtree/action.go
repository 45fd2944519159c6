// SPDX-License-Identifier: Apache-2.0

package flowtree

import (
	"strconv"

	"nagare/internal/flow"
	"nagare/internal/yang"
	"nagare/openflow"
)

// putActions writes a list of actions below d, an instruction or a bucket.
func putActions(d *yang.Data, as []openflow.Action) {
	for i, a := range as {
		e := d.Put("action").Leaf("order", strconv.Itoa(i))
		putAction(e, a)
	}
}

func putAction(e *yang.Data, a openflow.Action) {
	num := func(v uint64) string { return strconv.FormatUint(v, 10) }
	switch a := a.(type) {
	case openflow.Output:
		out := e.Put("output-action").Leaf("output-node-connector", Port(a.Port))
		if a.Port == flow.PortController {
			out.Leaf("max-length", num(uint64(a.MaxLen)))
		}
	case openflow.Group:
		e.Put("group-action").Leaf("group-id", num(uint64(a.ID)))
	case openflow.SetQueue:
		e.Put("set-queue-action").Leaf("queue-id", num(uint64(a.Queue)))
	case openflow.PushVLAN:
		e.Put("push-vlan-action").Leaf("ethernet-type", num(uint64(a.EtherType)))
	case openflow.PopVLAN:
		e.Put("pop-vlan-action")
	case openflow.PushMPLS:
		e.Put("push-mpls-action").Leaf("ethernet-type", num(uint64(a.EtherType)))
	case openflow.PopMPLS:
		e.Put("pop-mpls-action").Leaf("ethernet-type", num(uint64(a.EtherType)))
	case openflow.SetTTL:
		e.Put("set-nw-ttl-action").Leaf("nw-ttl", num(uint64(a.TTL)))
	case openflow.DecTTL:
		e.Put("dec-nw-ttl")
	case openflow.SetField:
		t := read{field: a.Field, value: a.Value}.tlv()
		switch c := conditionOf[a.Field]; {
		case c != nil:
			c.put(e.Put("set-field"), t)
		case a.Field == openflow.FieldVLANVID && t.Uint()&vlanPresent != 0:
			putVLAN(e.Put("set-field"), t)
		default:
			putText(e, a)
		}
	default:
		putText(e, a)
	}
}

// putText says an action in the words of ovs-ofctl.
func putText(e *yang.Data, a openflow.Action) {
	e.Leaf("nagare-inventory:ovs-action", flow.Do(flow.Action(a)).String())
}
