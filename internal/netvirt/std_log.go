// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/tables"
)

// LogLimit is how many packets of a port are copied to the controller for security logs, of those accepted and of those dropped
// each: so many a second, and so many at once.
type LogLimit struct{ Rate, Burst uint32 }

// DefaultLogLimit is Neutron's.
var DefaultLogLimit = LogLimit{Rate: 100, Burst: 25}

// logHead is how many octets of a packet are copied: its headers, whatever of them a record tells.
const logHead = 128

// declareLogs declares the rule of security logs and returns it, for who finds that a port has some.
func declareLogs(b *compile.Rulebook, o Options) compile.RuleID {
	limit := o.LogLimit
	if limit.Rate == 0 {
		limit = DefaultLogLimit
	}
	return b.Add(compile.Rule{Name: "acl/log", Kind: "port", Run: portLog(limit),
		Doc: "copies of what a port's security logs tell go to the controller, so many a second"})
}

// portLog emits the copies of a port's packets that its security logs want. A packet goes the way that it would go without; what a
// meter takes away is the copy alone. Of a connection the first packet is told, which the connection's label then says, so that
// neither packets sent again nor those that nobody answers are told again. Where no connections are tracked, each packet is.
func portLog(limit LogLimit) func(*compile.Context) {
	return func(c *compile.Context) {
		l, ok := localOf(c, model.PortID(c.Subject))
		if !ok {
			return
		}
		var accepts, drops []compile.Because
		for _, g := range tables.LogsOf(c, &l.Port) {
			why := compile.Because{Kind: "log", ID: string(g.ID)}
			if g.Event.Accepts() {
				accepts = append(accepts, why)
			}
			if g.Event.Drops() {
				drops = append(drops, why)
			}
		}
		meter := func(m model.LogMeter, wanted []compile.Because) uint32 {
			id := l.Slot.LogMeter(m)
			switch {
			case len(wanted) == 0:
				return 0
			case id == 0:
				c.Fault("it has no meter for its security logs, since its slot on the node is one of an older version: bind it again")
				return 0
			}
			c.Meter(flow.Meter{ID: id, Packets: true, Rate: limit.Rate, Burst: limit.Burst})
			return id
		}
		if id := meter(model.LogMeterDrop, drops); id != 0 {
			for _, s := range []aclSide{sending, receiving} {
				c.Flow(owned(pipeline.KindLog, l.Key, 1, pipeline.Flow(s.drop, pipeline.PrioDropTold, flow.M(flow.Reg(s.port, uint32(l.Key))),
					flow.Do(flow.PuntHead(pipeline.Userdata(s.dropped), id, logHead)))), drops...)
			}
		}
		id := meter(model.LogMeterAccept, accepts)
		if id == 0 {
			return
		}
		untracked := stateless(c, &l.PortPlane)
		for _, s := range []aclSide{sending, receiving} {
			told := flow.PuntHead(pipeline.Userdata(s.accepted), id, logHead)
			for _, ip := range []flow.Term{flow.IP(), flow.IPv6()} {
				match := []flow.Term{ip, flow.Reg(s.port, uint32(l.Key))}
				acts := flow.Do(told, to(s.next))
				if untracked {
					match = append(match, flow.CTState(0, flow.CTTrk))
				} else {
					match = append(match, flow.CTState(flow.CTTrk|flow.CTNew, flow.CTTrk|flow.CTNew), flow.CTLabelBit(pipeline.LabelTold, false))
					acts = flow.Do(s.accept(flow.SetCTLabelBit(pipeline.LabelTold)), told, to(s.next))
				}
				c.Flow(owned(pipeline.KindLog, l.Key, 1, pipeline.Flow(s.commit, pipeline.PrioNewTold, flow.M(match...), acts)), accepts...)
			}
		}
	}
}

// accept commits an accepted connection to the port's zone, labelled with the rule that accepted it, and does more to it.
func (s aclSide) accept(more ...flow.Act) flow.Act {
	return flow.CT(flow.Track{Commit: true, ZoneFrom: flow.RegBits(s.zone, 0, 16),
		Exec: append([]flow.Act{flow.SetCTMarkBits(0, 1, 0), flow.LabelRule(pipeline.RegRule)}, more...)})
}
