// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/tables"
)

// limits are the meters of an address on an external network; an id of 0 is none. What comes to it is limited before it is
// translated, what leaves by it when it is known to be its: all that a router's address and those of its forwarders send has one
// way up to there. Of a policy it is the bandwidth that counts, as with Neutron's agents.
type limits struct {
	in, out uint32
	meters  [2]flow.Meter
}

// emit emits the meters; one unit does, of all that use them.
func (l *limits) emit(c *compile.Context) {
	for _, m := range l.meters {
		if m.ID != 0 {
			c.Meter(m)
		}
	}
}

// limitsOf reads what a policy says of an address, on a network that takes packets of so many octets.
func limitsOf(c *compile.Context, id model.QosPolicyID, mtu int, meter func(model.Direction) uint32) (l limits) {
	if id == "" {
		return l
	}
	p, ok := tables.QosPolicies.Get(c, id)
	if !ok {
		return l
	}
	for i, d := range []model.Direction{model.Ingress, model.Egress} {
		r, ok := p.Rule(model.QosBandwidthLimit, d)
		if !ok || r.Value <= 0 {
			continue
		}
		m := flow.Meter{ID: meter(d), Rate: uint32(r.Value), Burst: burst(uint32(r.Value), uint32(r.Burst), frameKilobits(mtu))}
		l.meters[i] = m
		if d == model.Ingress {
			l.in = m.ID
		} else {
			l.out = m.ID
		}
	}
	return l
}

// limits are those of a floating IP.
func (f *float) limits(c *compile.Context, mtu int) limits {
	if f.Meter == 0 {
		return limits{}
	}
	return limitsOf(c, f.Qos, mtu, func(d model.Direction) uint32 { return model.FloatingMeter(f.Meter, d) })
}

// limits are those of a router's address, in its slot on its node.
func (e *edge) limits(c *compile.Context) limits {
	s, ok := tables.SlotsByRouter.First(c, tables.RouterSlotKey(model.NodeID(c.Node), e.ID))
	if !ok {
		return limits{}
	}
	return limitsOf(c, e.Qos, e.MTU, func(d model.Direction) uint32 {
		if d == model.Ingress {
			return s.QosMeter(model.QosIn)
		}
		return s.QosMeter(model.QosOut)
	})
}
