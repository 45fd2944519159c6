// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"iter"

	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/tables"
	"nagare/internal/yang"
)

// The topology flow:1: connected switches, their ports, and the links that LLDP has crossed lately, each direction by itself and named
// after both ends, since behind one port there may be several. The ids are those of the inventory.
const (
	flowTopology = "flow:1"
	linkPath     = topologyPath + "/link"
)

func (t *tree) addLinks() {
	t.add(linkPath, source{has: nonconfig,
		all: func(v *view, above []string) iter.Seq[*yang.Data] { return t.links(v, above[0]) },
		one: func(v *view, keys []string) *yang.Data {
			for d := range t.links(v, keys[0]) {
				if id, _ := d.Get("link-id"); id == keys[1] {
					return d
				}
			}
			return nil
		}})
}

func inventoryRef(n *model.Node) string {
	return "/opendaylight-inventory:nodes/node[id='" + switchID(n) + "']"
}

func (t *tree) flowNodeEntry(n *model.Node) *yang.Data {
	return t.entry(nodePath).Leaf("node-id", switchID(n)).Leaf("opendaylight-topology-inventory:inventory-node-ref", inventoryRef(n))
}

func (t *tree) flowNodes(v *view) iter.Seq[*yang.Data] {
	return func(yield func(*yang.Data) bool) {
		for _, n := range tables.Nodes.All(v.r) {
			if v.hasSwitch(&n) && !yield(t.flowNodeEntry(&n)) {
				return
			}
		}
	}
}

func (t *tree) flowNode(v *view, id string) *yang.Data {
	if n, ok := v.switchOf(id); ok {
		return t.flowNodeEntry(&n)
	}
	return nil
}

func (t *tree) flowPortEntry(n *model.Node, port uint32) *yang.Data {
	id := connectorID(n, port)
	return t.entry(nodePath+"/termination-point").Leaf("tp-id", id).
		Leaf("opendaylight-topology-inventory:inventory-node-connector-ref", inventoryRef(n)+"/node-connector[id='"+id+"']")
}

// flowPorts are a bridge's own port and those of its interfaces.
func (t *tree) flowPorts(v *view, id string) iter.Seq[*yang.Data] {
	return func(yield func(*yang.Data) bool) {
		n, ok := v.switchOf(id)
		if !ok || !yield(t.flowPortEntry(&n, flow.PortLocal)) {
			return
		}
		for i := range tables.InterfacesByNode.By(v.r, string(n.ID)) {
			if i.OFPort > 0 && !yield(t.flowPortEntry(&n, i.OFPort)) {
				return
			}
		}
	}
}

func (t *tree) flowPort(v *view, node, id string) *yang.Data {
	for d := range t.flowPorts(v, node) {
		if own, _ := d.Get("tp-id"); own == id {
			return d
		}
	}
	return nil
}

func (t *tree) links(v *view, topology string) iter.Seq[*yang.Data] {
	return func(yield func(*yang.Data) bool) {
		if topology != flowTopology || v.Switches == nil {
			return
		}
		for _, l := range v.Switches.Links() {
			from, ok := tables.Nodes.Get(v.r, l.From)
			to, known := tables.Nodes.Get(v.r, l.To)
			if !ok || !known || !v.hasSwitch(&from) || !v.hasSwitch(&to) {
				continue
			}
			out, in := connectorID(&from, l.FromPort), connectorID(&to, l.ToPort)
			d := t.entry(linkPath).Leaf("link-id", out+"/"+in)
			d.Put("source").Leaf("source-node", switchID(&from)).Leaf("source-tp", out)
			d.Put("destination").Leaf("dest-node", switchID(&to)).Leaf("dest-tp", in)
			if !yield(d) {
				return
			}
		}
	}
}
