// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"math"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/tables"
)

// Which of its table's flows a flow of quality of service is, for its cookie.
const (
	qosPass uint8 = iota + 1
	qosMark
	qosDeliver
)

// quality is what a policy makes of one port's traffic. A meter of 0 is none.
//
// A flow holds one meter, so a second one for the same direction is in a table of its own, and so is what must know that a
// packet is IP. What an instance sends is limited before anything else looks at it. What is sent to it is limited on output, but
// for group addresses: a switch that drops a copy in a meter drops the copies for the ports after it too, so that one slow
// receiver would take broadcasts from all others of the network.
type quality struct {
	out, outPackets, in, inPackets uint32 // meters
	mark                           bool
	dscp                           uint8
}

// qualityOf reads what the port's policy says, and emits the meters that it needs.
func qualityOf(c *compile.Context, l *local) (q quality) {
	id := tables.EffectiveQos(&l.Port, &l.On)
	if id == "" {
		return q
	}
	p, ok := tables.QosPolicies.Get(c, id)
	if !ok {
		return q
	}
	meter := func(kind model.QosKind, d model.Direction, which model.QosMeter) uint32 {
		r, ok := p.Rule(kind, d)
		if !ok || r.Value <= 0 {
			return 0
		}
		m := flow.Meter{ID: l.Slot.QosMeter(which)}
		if kind == model.QosPacketRateLimit {
			m.Packets, m.Rate, m.Burst = true, thousands(r.Value), burst(thousands(r.Value), thousands(r.Burst), 1)
		} else {
			m.Rate, m.Burst = uint32(r.Value), burst(uint32(r.Value), uint32(r.Burst), frameKilobits(l.On.MTU))
		}
		c.Meter(m)
		return m.ID
	}
	q.out = meter(model.QosBandwidthLimit, model.Egress, model.QosOut)
	q.outPackets = meter(model.QosPacketRateLimit, model.Egress, model.QosOutPackets)
	q.in = meter(model.QosBandwidthLimit, model.Ingress, model.QosIn)
	q.inPackets = meter(model.QosPacketRateLimit, model.Ingress, model.QosInPackets)
	if r, ok := p.Rule(model.QosDSCP, ""); ok {
		q.mark, q.dscp = true, uint8(r.Value)
	}
	return q
}

func thousands(n int) uint32 { return uint32(min(uint64(n)*1000, math.MaxUint32)) }

// burst is what a meter holds: what the rule says, or eight tenths of a second's rate as Neutron's agents have it, and never less
// than what one frame needs, since a meter passes no frame that is larger than what it holds.
func burst(rate, asked, least uint32) uint32 {
	if asked == 0 {
		asked = uint32(uint64(rate) * 8 / 10)
	}
	return max(asked, least)
}

// frameKilobits is the size of a network's largest frame, with its tag, rounded up.
func frameKilobits(mtu int) uint32 {
	if mtu <= 0 {
		mtu = 1500
	}
	return uint32((mtu+18)*8/1000 + 1)
}

func metered(id uint32, acts []flow.Act) flow.Actions {
	if id != 0 {
		acts = append([]flow.Act{flow.Metered(id)}, acts...)
	}
	return flow.Do(acts...)
}

// admit ends the actions by which a port's frame enters, and emits what more its policy does with it.
func (q *quality) admit(c *compile.Context, l *local, enter []flow.Act) flow.Actions {
	if q.outPackets == 0 && !q.mark {
		return metered(q.out, append(enter, to(pipeline.Responder)))
	}
	const t = pipeline.EgressQoS
	key := flow.Reg(pipeline.RegSrcPort, uint32(l.Key))
	emit := func(n uint8, prio uint16, acts []flow.Act, terms ...flow.Term) {
		c.Flow(owned(pipeline.KindQoS, l.Key, n, pipeline.Flow(t, prio, flow.M(append(terms, key)...), metered(q.outPackets, acts))))
	}
	if q.mark {
		for _, ip := range []flow.Term{flow.IP(), flow.IPv6()} {
			emit(qosMark, pipeline.PrioQosMark, []flow.Act{flow.SetDSCP(q.dscp), to(t.Next())}, ip)
		}
	}
	if q.outPackets != 0 {
		emit(qosPass, pipeline.PrioQos, []flow.Act{to(t.Next())})
	}
	return metered(q.out, append(enter, to(t)))
}

// deliver emits the output of frames for the port by the actions given, and how they are limited.
func (q *quality) deliver(c *compile.Context, l *local, out []flow.Act) {
	key := flow.Reg(pipeline.RegDstPort, uint32(l.Key))
	c.Flow(owned(pipeline.KindPort, l.Key, l2Local, entry(pipeline.L2Forward, pipeline.PrioLocal, flow.M(key), flow.Do(out...))))
	if q.in == 0 && q.inPackets == 0 {
		return
	}
	first, then := q.in, out
	switch {
	case q.in == 0:
		first = q.inPackets
	case q.inPackets != 0:
		then = []flow.Act{to(pipeline.IngressQoS)}
		c.Flow(owned(pipeline.KindQoS, l.Key, qosDeliver, pipeline.Flow(pipeline.IngressQoS, pipeline.PrioQos, flow.M(key), metered(q.inPackets, out))))
	}
	c.Flow(owned(pipeline.KindQoS, l.Key, qosDeliver, pipeline.Flow(pipeline.L2Forward, pipeline.PrioLocalLimited,
		flow.M(key, flow.EthDstMasked([6]byte{}, [6]byte{1})), metered(first, then))))
}
