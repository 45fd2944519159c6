// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"fmt"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/tables"
)

// externalNetwork emits how a node speaks on an external network, whether it has ports of it or not. Its floods reach local
// ports only, by layer 2.
func (l *layer3) externalNetwork(c *compile.Context) {
	n, ok := networkOf(c, model.NetworkID(c.Subject))
	if !ok {
		return
	}
	if !n.physical() {
		c.Fault(fmt.Sprintf("an external network of type %s is not carried: use a flat or a vlan one", n.Type))
		return
	}
	c.Need(l.uplink, c.Subject)
	c.Each(tables.NetworkNeighbours, c.Subject, l.nextHop)
	for _, ip := range []flow.Term{flow.IP(), flow.IPv6()} {
		c.Flow(owned(pipeline.KindNetwork, n.Key, l3Resolve, resolve(pipeline.PrioResolve, n.Tag, model.EdgeMeter, ip)))
	}
	c.Need(l.onWire, c.Subject)
	w := l.wire(c, &n)
	if why := w.unmapped(n.PhysicalNetwork); why != "" {
		c.Fault(why)
	}
	if n.Type == model.VLAN && w.Port != 0 {
		c.Flow(owned(pipeline.KindNetwork, n.Key, l3Tagged, pipeline.Flow(pipeline.ReturnToSender, pipeline.PrioTagged,
			flow.M(flow.TunID(n.Tag), flow.Reg(pipeline.RegOrigin, pipeline.FromProvider)),
			flow.Do(flow.PushVLAN(), flow.SetVLANVID(uint16(n.SegmentationID)), flow.InPortAct()))))
	}
}

// nextHopOf emits the MAC address of a host on an external network, as a node observed it. Its subject is a NeighbourKey. The
// node's own addresses come before what anybody once observed of them.
func (l *layer3) nextHopOf(c *compile.Context) {
	o, ok := tables.Neighbours.Get(c, c.Subject)
	// What another node serves has the MAC address that the store says: the observation may be of the address's last owner.
	if own, known := tables.PortsByAddress.First(c, tables.AddressKey(o.Network, o.Addr)); ok && known {
		o.MAC = own.MAC
	}
	if !ok || o.MAC.IsZero() || o.MAC.IsMulticast() {
		return
	}
	n, ok := networkOf(c, o.Network)
	if !ok {
		return
	}
	c.Flow(owned(pipeline.KindNetwork, n.Key, l3Neighbour, hop(pipeline.PrioNextHop, n.Tag, o.Addr, o.MAC)))
}
