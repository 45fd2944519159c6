// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"slices"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Packets of a network that takes larger ones than the network ahead. The switch cannot make fragments, so the controller tells
// the sender (RFC 1191, RFC 8201), whether it forbade them or not. Where no network of a router differs from another nothing is
// looked at, and no flow is for it.
//
// The size is looked at before anything is changed in the packet, so that the controller sees it as its sender knows it: of
// packets from outside that are translated, before translation.

// etherHeader is what check_pkt_larger counts besides the packet.
const etherHeader = 14

// span is how large packets the networks of a router take, in octets; 0: it has none, or it is not known.
type span struct {
	Least, Most int // of all, the external one among them
	Inner       int // the least of the interfaces' networks
}

func spanOf(r store.Reader, router string) (s span) {
	e := edgeOf(r, router)
	if !e.Up {
		return s
	}
	take := func(to *int, mtu int) {
		if mtu != 0 && (*to == 0 || mtu < *to) {
			*to = mtu
		}
	}
	for p := range tables.RouterPorts.By(r, router) {
		if f := faceOf(r, string(p.ID)); f.carried() {
			take(&s.Inner, f.MTU)
			s.Most = max(s.Most, f.MTU)
		}
	}
	s.Least = s.Inner
	take(&s.Least, e.MTU)
	s.Most = max(s.Most, e.MTU)
	return s
}

// flags are bits of RegFlags that a flow matches, and their mask.
type flags struct{ value, mask uint32 }

var anyFlags flags

// lookAt looks at the size of a packet that goes on to a network.
func lookAt(mtu int) flow.Actions {
	return flow.Do(flow.LoadReg(pipeline.RegMTU, uint32(mtu)), flow.CheckPktLarger(uint16(mtu+etherHeader), flow.RegBits(pipeline.RegFlags, 31, 1)),
		to(pipeline.PacketSize))
}

// sized emits the look at the size of packets that take a way to a network, for each network from which larger ones come. What
// comes from outside to a floating IP or a gateway's address was looked at already.
func (l *layer3) sized(c *compile.Context, e *edge, w *way, has flags, more ...flow.Term) {
	if w.mtu == 0 || compile.Ask(c, l.spans, string(e.ID)).Most <= w.mtu {
		return
	}
	v4, gateway := w.prefix.Addr().Is4(), e.hasGateway() && string(e.Node) == c.Node
	var nets []uint64
	for p := range tables.RouterPorts.By(c, string(e.ID)) {
		f := compile.Ask(c, l.faces, string(p.ID))
		f4, f6 := f.speaks()
		if !f.carried() || f.MTU <= w.mtu || v4 && !f4 || !v4 && !f6 || slices.Contains(nets, f.Tag) {
			continue
		}
		if gateway || tables.NodeNetworks.Has(c, c.Node, string(f.Net)) || compile.Ask(c, l.fed, string(p.ID)) { // else its packets do not come here
			nets = append(nets, f.Tag)
		}
	}
	if gateway && e.MTU > w.mtu && !(v4 && e.SNAT) {
		nets = append(nets, e.Tag)
	}
	for _, net := range nets {
		c.Need(l.sizes, c.Node)
		match := append([]flow.Term{flow.TunID(net), flow.RegMasked(pipeline.RegFlags, has.value, has.mask|pipeline.FlagSized)}, more...)
		c.Flow(ofRouter(e, l3Size, pipeline.Flow(pipeline.RouteLookup, pipeline.SizePriority(w.prefix.Bits(), w.connected),
			within(w.prefix, match...), lookAt(w.mtu))))
	}
}

// sized emits the same for packets from outside to an address that is translated.
func (s *speaker) sized(c *compile.Context, l *layer3, from, ahead int) {
	if ahead == 0 || from <= ahead {
		return
	}
	c.Need(l.sizes, c.Node)
	s.emit(c, l3Whole, pipeline.InboundNAT, pipeline.PrioSized, lookAt(ahead),
		flow.IP(), flow.TunID(s.net), flow.EthDst(s.mac), flow.IPDst(host(s.addr)), flow.RegMasked(pipeline.RegFlags, 0, pipeline.FlagSized))
}

// packetSizes emits what becomes of packets whose size was looked at. A local port's go through its own meter: see puntsOf.
func (l *layer3) packetSizes(c *compile.Context) {
	for _, ip := range []flow.Term{flow.IP(), flow.IPv6()} {
		c.Flow(owned(pipeline.KindBridge, 0, l3TooLarge,
			tooLarge(pipeline.PrioTooLargeEdge, model.EdgeMeter, ip, flow.Reg(pipeline.RegOrigin, pipeline.FromProvider))))
	}
	fits := func(routed uint32, back pipeline.TableID) {
		c.Flow(owned(pipeline.KindBridge, 0, l3Fits, pipeline.Flow(pipeline.PacketSize, pipeline.PrioFits,
			flow.M(flow.RegMasked(pipeline.RegFlags, routed, pipeline.FlagRouted|pipeline.FlagTooLarge)),
			flow.Do(flow.Load(flow.RegBits(pipeline.RegFlags, 3, 1), 1), flow.Resubmit(back)))))
	}
	fits(0, pipeline.InboundNAT)
	fits(pipeline.FlagRouted, pipeline.RouteLookup)
}

// tooLarge hands packets that are too large to the controller.
func tooLarge(priority uint16, meter uint32, more ...flow.Term) flow.Flow {
	return pipeline.Flow(pipeline.PacketSize, priority, flow.M(append(more, flagged(pipeline.FlagTooLarge))...),
		flow.Do(flow.Punt(pipeline.Userdata(pipeline.PuntTooLarge), meter)))
}
