// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"crypto/sha256"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
)

// Interfaces on physical networks. Every node routes for its own ports, there as elsewhere, so that an interface's MAC address
// would leave from several nodes, and the switches on the way would send what is for it now here and now there. So it is on the
// wire from the router's gateway node alone; other nodes send by an address of their own. By the wire, packets for the router come
// from nodes that leave them to the gateway node. Hosts there that are no ports of the cloud get no answer.

func (f *face) physical() bool { return f.Type == model.VLAN || f.Type == model.Flat }

// source is the MAC address by which a node sends what a router routes into the interface's network.
func (f *face) source(e *edge, node string) model.MAC {
	if !f.physical() || e.hasGateway() && string(e.Node) == node {
		return f.MAC
	}
	return wireMAC(node, f.MAC)
}

// wireMAC is a node's own MAC address in place of an interface's: locally administered, of one host (IEEE 802, section 8.2).
func wireMAC(node string, face model.MAC) (m model.MAC) {
	h := sha256.Sum256(append([]byte(node+"|"), face[:]...))
	copy(m[:], h[:])
	m[0] = m[0]&^1 | 2
	return m
}

// fromHere are the terms of a packet of a local port, where a wire might bring another with its addresses.
func (f *face) fromHere() []flow.Term {
	if f.physical() {
		return []flow.Term{flow.Reg(pipeline.RegOrigin, pipeline.FromPort)}
	}
	return nil
}

// origins are those of packets that a node routes: any on a network of its own, but of a wire, which brings each to all nodes,
// those that are for this one.
func (f *face) origins(e *edge, node string) (from [][]flow.Term) {
	from = [][]flow.Term{f.fromHere()}
	if f.physical() && e.hasGateway() && string(e.Node) == node {
		from = append(from, []flow.Term{flow.Reg(pipeline.RegOrigin, pipeline.FromProvider)})
	}
	return from
}

// outOnWire emits how what is routed into a physical network, or left to the gateway node there, gets on the wire.
func (l *layer3) outOnWire(c *compile.Context) {
	n, ok := networkOf(c, model.NetworkID(c.Subject))
	if !ok || !n.physical() {
		return
	}
	w := l.wire(c, &n)
	if w.Port == 0 {
		return // who needs it says so
	}
	// From another network of the same wire, too.
	c.Flow(owned(pipeline.KindNetwork, n.Key, l3Wire, entry(pipeline.L2Forward, pipeline.PrioUnknown,
		flow.M(flow.TunID(n.Tag), flagged(pipeline.FlagRouted)), flow.Do(append([]flow.Act{flow.NoInPort()}, n.leave(w.Port)...)...))))
}
