// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// localPort emits how frames of a port of this node come in and how frames reach it. Only here and in table 110 is its
// OpenFlow number named; everything else goes by its key.
func (l *layer2) localPort(c *compile.Context) {
	p, ok := localOf(c, model.PortID(c.Subject))
	if !ok {
		return
	}
	prio, tag, enter := p.entrance()
	enter = append(enter, flow.SetTunID(p.Net), flow.LoadReg(pipeline.RegOrigin, pipeline.FromPort),
		flow.LoadReg(pipeline.RegSrcPort, uint32(p.Key)), flow.LoadReg(pipeline.RegSrcZone, uint32(p.Slot.Zone())))
	if p.IsFiltered() {
		enter = append(enter, flow.Load(flow.RegBits(pipeline.RegFlags, 1, 1), 1), flow.LoadReg(pipeline.RegSrcSet, uint32(p.GroupSet)))
	}
	q := qualityOf(c, &p)
	admit := q.admit(c, &p, enter)
	from := func(n uint8, source ...flow.Term) {
		c.Flow(owned(pipeline.KindPort, p.Key, n, entry(pipeline.Classifier, prio,
			flow.M(append(source, flow.InPort(p.In), tag)...), admit)))
	}
	switch {
	case p.IsFiltered():
		from(l2Own, flow.EthSrc(p.MAC))
		for _, m := range tables.ForeignMACs(&p.Port) {
			from(l2Pair, flow.EthSrc(m))
		}
	case p.IsDHCP():
		from(l2Own, flow.EthSrc(p.MAC))
	default: // port security is off: any source (decision 20)
		from(l2Own)
	}
	if !p.IsSubPort() { // else the parent of the trunk has it
		c.Flow(owned(pipeline.KindPort, p.Key, l2PortDrop, entry(pipeline.Classifier, pipeline.PrioPortDrop, flow.M(flow.InPort(p.In)), flow.Do())))
	}
	for _, f := range p.FixedIPs {
		if f.Addr.Is4() { // the owner's probe (RFC 5227) is for others to answer
			c.Flow(owned(pipeline.KindPort, p.Key, l2ARPExempt, entry(pipeline.Responder, pipeline.PrioResponderExempt,
				flow.M(flow.ARP(), flow.Reg(pipeline.RegSrcPort, uint32(p.Key)), flow.ARPTPA(f.Addr)), flow.Do(to(pipeline.Responder.Next())))))
		}
	}
	l.receive(c, &p)
	q.deliver(c, &p, l.exit(c, &p))
}

// receive emits for which frames the port is the destination: on its active host, for all that have its address. Elsewhere only
// for those that another node sent here because it took this node for the active host already, or still: while it changes, each
// frame is delivered once, in whatever order the nodes carry it out. What this node itself routed goes to the active host.
func (l *layer2) receive(c *compile.Context, p *local) {
	match := []flow.Term{flow.TunID(p.Net), flow.EthDst(p.MAC)}
	var d delivery
	if p.Away {
		match = append(match, flow.Reg(pipeline.RegOrigin, pipeline.FromTunnel), flow.RegMasked(pipeline.RegFlags, 0, pipeline.FlagRouted))
		d = deliveryOn(c, &p.Port, model.NodeID(c.Node))
	} else {
		d = compile.Ask(c, l.deliveries, c.Subject)
	}
	c.Flow(owned(pipeline.KindPort, p.Key, l2Destination, entry(pipeline.L2Rewrite, pipeline.PrioDestination,
		flow.M(match...), flow.Do(append(d.acts(), to(pipeline.IngressACL))...))))
}

// delivery is what tables from 90 on must know of the port that a frame is for. It does not name the port's OpenFlow number,
// so a switch that numbers its ports anew keeps its groups.
type delivery struct {
	Key   model.Key // 0: the port has no place on its node
	Zone  uint16
	Flags uint8 // FlagDstFiltered and FlagDstStateless, from bit 0 on
	Set   model.Key
}

func deliveryOf(r store.Reader, port string) (d delivery) {
	p, ok := tables.Ports.Get(r, model.PortID(port))
	if !ok {
		return d
	}
	return deliveryOn(r, &p, p.Host)
}

// deliveryOn is how a node that the port is bound to hands it a frame.
func deliveryOn(r store.Reader, p *model.Port, node model.NodeID) (d delivery) {
	s, ok := tables.SlotsByPort.First(r, model.PlugKey(node, p.ID))
	if !ok {
		return d
	}
	d = delivery{Key: p.Key, Zone: s.Zone()}
	if p.IsFiltered() {
		d.Flags, d.Set = uint8(pipeline.FlagDstFiltered>>4), p.GroupSet
		if stateless(r, &p.PortPlane) {
			d.Flags |= uint8(pipeline.FlagDstStateless >> 4)
		}
	}
	return d
}

// acts write all that there is of d, zeros too: a frame that comes from another port's delivery must bring nothing along.
func (d delivery) acts() []flow.Act {
	return []flow.Act{
		flow.LoadReg(pipeline.RegDstPort, uint32(d.Key)),
		flow.LoadReg(pipeline.RegDstZone, uint32(d.Zone)),
		flow.Load(flow.RegBits(pipeline.RegFlags, 4, 2), uint64(d.Flags)), // the other flags stay
		flow.LoadReg(pipeline.RegDstSet, uint32(d.Set)),
	}
}

// copies hands a copy of a frame to the port, past its ACL.
func (d delivery) copies() []flow.Act { return append(d.acts(), flow.Resubmit(pipeline.IngressACL)) }
