// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"net/netip"
	"strings"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/tables"
)

// unrouted matches frames that are for no port yet. Copies that a group made for a port carry its key; were the port gone
// from table 110, they must not meet the flood again.
func unrouted(origin uint32, n *present, more ...flow.Term) flow.Match {
	return flow.M(append(more, flow.Reg(pipeline.RegOrigin, origin), flow.Reg(pipeline.RegDstPort, 0), flow.TunID(n.Tag))...)
}

// presentNetwork emits what a network with a port here has, however many ports and peers it has.
func (l *layer2) presentNetwork(c *compile.Context) {
	n, ok := networkOf(c, model.NetworkID(c.Subject))
	if !ok {
		return
	}
	emit := func(v uint8, priority uint16, m flow.Match, acts ...flow.Act) {
		c.Flow(owned(pipeline.KindNetwork, n.Key, v, entry(pipeline.L2Forward, priority, m, flow.Do(acts...))))
	}
	c.Need(l.local, c.Subject)
	c.Need(l.flood, c.Subject)
	c.Each(tables.NetworkMembers, c.Subject, l.member)
	c.Each(tables.NetworkMembers, c.Subject, l.way)
	c.Each(tables.NetworkPairMACs, c.Subject, l.pair)
	if l.NativeDHCP {
		for p := range tables.DHCPPortsByNetwork.By(c, c.Subject) {
			if p.Host == "" {
				c.Need(l.server, string(p.ID))
			}
		}
	}
	emit(l2FloodLocal, pipeline.PrioFloodLocal, unrouted(pipeline.FromPort, &n, flow.Multicast()), flow.ToGroup(floodID(n.Key)))
	if n.tunnelled() {
		c.Each(tables.NetworkPeers, c.Subject, l.peer)
		c.Each(tables.NetworkReachers, c.Subject, l.peer)
		emit(l2FloodTunnel, pipeline.PrioFloodTunnel, unrouted(pipeline.FromTunnel, &n, flow.Multicast()), flow.ToGroup(localID(n.Key)))
	}
	if n.physical() {
		emit(l2FloodWire, pipeline.PrioFloodTunnel, unrouted(pipeline.FromProvider, &n, flow.Multicast()), flow.ToGroup(localID(n.Key)))
		w := l.wire(c, &n)
		if why := w.unmapped(n.PhysicalNetwork); why != "" {
			c.Fault(why)
		}
		if w.Port != 0 {
			c.Need(l.uplink, c.Subject)
			emit(l2Unknown, pipeline.PrioUnknown, unrouted(pipeline.FromPort, &n), n.leave(w.Port)...)
			return
		}
	}
	emit(l2Unknown, pipeline.PrioUnknown, flow.M(flow.TunID(n.Tag)))
}

// manyOwners is from how many ports on that a frame to a shared MAC address simply goes to all ports of the network.
const manyOwners = 200

// pairMAC emits where frames go that are sent to an address which pairs allow: to those that may have it now and nobody else.
// Its subject is a PairMAC.
func (l *layer2) pairMAC(c *compile.Context) {
	net, text, _ := strings.Cut(c.Subject, "|")
	n, ok := networkOf(c, model.NetworkID(net))
	mac, err := model.ParseMAC(text)
	if !ok || err != nil {
		return
	}
	if p, taken := tables.PortsByMAC.First(c, c.Subject); taken {
		if _, there := tables.Located(c, p.ID); there || p.Router != "" {
			return // a port whose own address it is comes first, and a router's is on every node
		}
	}
	var here, away []flow.Act
	owners, hosts := 0, map[netip.Addr]bool{}
	for id := range tables.PairPorts.Members(c, c.Subject) {
		owners++
		h := compile.Ask(c, l.halves, id)
		if string(h.Host) != c.Node {
			if n.Site.joins(h.Site) {
				continue // by the wire
			}
			if out, acts := l.into(c, &h); out != 0 && !hosts[h.VTEP] {
				hosts[h.VTEP] = true
				away = append(away, acts...)
			}
		} else if d := compile.Ask(c, l.deliveries, id); d.Key != 0 {
			here = append(here, flow.Clone(d.copies()...))
		}
		if owners > manyOwners {
			break
		}
	}
	everywhere := append(here[:len(here):len(here)], away...)
	switch {
	case owners > manyOwners:
		here, everywhere = []flow.Act{flow.ToGroup(localID(n.Key))}, []flow.Act{flow.ToGroup(floodID(n.Key))}
	case n.physical():
		if w := l.wire(c, &n); w.Port != 0 {
			everywhere = append(everywhere, n.leave(w.Port)...)
		}
	}
	emit := func(v uint8, priority uint16, origin uint32, acts []flow.Act) {
		if len(acts) > 0 {
			c.Flow(owned(pipeline.KindNetwork, n.Key, v, entry(pipeline.L2Forward, priority, unrouted(origin, &n, flow.EthDst(mac)), flow.Do(acts...))))
		}
	}
	emit(l2PairLocal, pipeline.PrioUnicast, pipeline.FromPort, everywhere)
	if n.tunnelled() {
		emit(l2PairTunnel, pipeline.PrioLocal, pipeline.FromTunnel, here) // above the split horizon
	}
	if n.physical() {
		emit(l2PairWire, pipeline.PrioUnicast, pipeline.FromProvider, here)
	}
}
