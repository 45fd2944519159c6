// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"nagare/internal/api/admin"
	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/sim"
	"nagare/openflow"
)

// traceTries is how often a trace begins anew because the state changed while it was under way.
const traceTries = 3

// Trace lets a packet go through the desired state of the nodes that it comes to, as the simulator knows Open vSwitch.
func (b backend) Trace(ctx context.Context, q admin.TraceQuery) (t admin.Trace, err error) {
	for range traceTries {
		f, err := newFabric(ctx, b.s.hub)
		if err != nil {
			return t, err
		}
		if t, err = f.trace(&q); err != nil || !f.moved {
			return t, err
		}
	}
	t.Notes = append(t.Notes, "the state changed while the packet was under way: nodes are shown at different revisions")
	return t, nil
}

// leg is a packet that was sent and what became of it.
type leg struct {
	at   start
	sent sent
	out  sim.Outcome
	left []string
	gone []string
	last wireExit
}

// send lets a packet come in.
func (f *fabric) send(at start, s sent) (l leg, err error) {
	l = leg{at: at, sent: s}
	f.left, f.gone, f.last = nil, nil, wireExit{}
	n, err := f.site(at.node)
	if err != nil {
		return l, err
	}
	f.sim.Inject(&l.out, n.sw, at.port, s.packet, true)
	l.left, l.gone, l.last = f.left, f.gone, f.last
	return l, f.fault
}

// trace answers a query at the fabric's state.
func (f *fabric) trace(q *admin.TraceQuery) (t admin.Trace, err error) {
	at, err := f.startOf(q)
	if err != nil {
		return t, err
	}
	s, err := packetOf(f.snap, q, &at.from)
	if err != nil {
		return t, err
	}
	l, err := f.send(at, s)
	if err != nil {
		return t, err
	}
	t = admin.Trace{Revision: uint64(f.snap.Revision()), State: q.State}
	if q.State != admin.TraceFirst {
		if l, err = f.converse(l, q.State, &t); err != nil {
			return t, err
		}
	}
	t.Node, t.Notes = string(l.at.node), append(l.sent.notes, t.Notes...)
	t.Packet, t.Verdict = arriving(l), f.verdict(&l)
	t.Way, err = f.way(&l)
	return t, err
}

// arriving is the packet as it comes in, for ofproto/trace.
func arriving(l leg) string {
	p := l.sent.packet
	p.SetUint(openflow.FieldInPort, uint64(l.at.port))
	return p.Traceable()
}

// converse plays the beginning of the connection and returns the leg that was asked for, or the one at which it ended.
func (f *fabric) converse(first leg, state string, t *admin.Trace) (leg, error) {
	before := func(what string, l *leg) {
		t.Before = append(t.Before, admin.TraceLeg{What: what, Packet: arriving(*l), Verdict: f.verdict(l)})
	}
	if !f.verdict(&first).Arrived {
		t.Notes = append(t.Notes, "this is the first packet: the connection does not begin, so nothing follows it")
		return first, nil
	}
	at, frame, why := f.answerer(&first)
	packet, answers := answerTo(frame)
	if why == "" && !answers {
		why = "the packet is none that is answered"
	}
	if why != "" {
		t.Notes = append(t.Notes, "this is the first packet: "+why)
		return first, nil
	}
	before("first packet", &first)
	answer, err := f.send(at, sent{packet: packet, target: first.at.from.ID, dst: first.sent.packet.Addr(sourceOf(&packet))})
	if err != nil || state == admin.TraceReply {
		return answer, err
	}
	if !f.verdict(&answer).Arrived {
		t.Notes = append(t.Notes, "this is the first answer: it does not arrive, so the connection is not established")
		return answer, nil
	}
	before("first answer", &answer)
	first.sent.packet = following(first.sent.packet)
	return f.send(first.at, first.sent)
}

// answerer is from where the packet is answered, and the frame as it came there; why says why nobody does.
func (f *fabric) answerer(l *leg) (at start, frame sim.Packet, why string) {
	for _, d := range l.out.Deliveries {
		if l.sent.target != "" && model.PortID(d.To) != l.sent.target {
			continue
		}
		p, err := portOf(f.snap, d.To)
		if err == nil {
			at, err = f.plugged(p)
		}
		if err != nil {
			return at, d.Frame, err.Error()
		}
		return at, d.Frame, ""
	}
	if l.last.at != nil {
		return start{node: l.last.at.id, port: l.last.port}, l.last.frame, ""
	}
	return at, frame, "nobody that could answer got it"
}

// way is the account of a leg: node by node, table by table, each flow with its authors.
func (f *fabric) way(l *leg) ([]admin.TraceVisit, error) {
	type at struct {
		node string
		key  flow.Key
	}
	owners := map[at][]compile.Owner{}
	err := f.hub.Do(f.ctx, func(e *compile.Engine) {
		for _, v := range l.out.Visits {
			for _, s := range v.Result.Steps {
				if k := (at{v.Switch, s.Flow.Key()}); !s.Miss && owners[k] == nil {
					owners[k] = e.FlowOwners(v.Switch, k.key)
				}
			}
		}
	})
	out := []admin.TraceVisit{}
	for _, v := range l.out.Visits {
		site := f.nodes[v.Switch]
		x := admin.TraceVisit{Node: v.Switch, InPort: v.Packet.InPort(), Name: site.names[v.Packet.InPort()].Name, Packet: v.Packet.Traceable(),
			Errors: v.Result.Errors, Steps: []admin.TraceStep{}}
		for _, s := range v.Result.Steps {
			y := admin.TraceStep{Depth: s.Depth, Table: pipeline.TableID(s.Table).String()}
			if t := pipeline.Lookup(pipeline.TableID(s.Table)); t != nil {
				y.Purpose = t.Purpose
			}
			if !s.Miss {
				y.Flow = s.Flow.String()
				y.Authors = authorsOf(f.snap, owners[at{v.Switch, s.Flow.Key()}])
			}
			var said []string
			for _, d := range s.Deeds {
				do := admin.TraceDo{Action: d.Action, Changes: f.changes(d.Before, d.After), Note: d.Note}
				switch {
				case slices.Equal(do.Changes, said): // of a list in an action before, which has said so
					do.Changes = nil
				case len(do.Changes) > 0:
					said = do.Changes
				}
				y.Did = append(y.Did, do)
			}
			x.Steps = append(x.Steps, y)
		}
		for _, o := range v.Result.Outputs {
			x.Out = append(x.Out, f.outOf(site, o.Port))
		}
		out = append(out, x)
	}
	return out, err
}

// outOf says where a port leads.
func (f *fabric) outOf(s *site, port uint32) admin.TraceOut {
	l := f.leadOf(s, port)
	out := admin.TraceOut{Port: port, Name: l.name, To: "nobody that is known here"}
	switch {
	case l.port != "":
		out.To = f.portText(l.port)
	case l.tunnel.Name != "":
		out.To = "tunnel to " + compile.ParsePairs(l.tunnel.Options)["remote_ip"]
		if strings.HasSuffix(out.To, " flow") {
			out.To = "tunnel to the node that the flow chose"
		}
	case l.wire != "":
		out.To = "physical network " + l.wire
	}
	return out
}

// portText is "port 178a8b99 (vm01)".
func (f *fabric) portText(id model.PortID) string {
	if name := nameOf(f.snap, "port", string(id)); name != "" && name != string(id) {
		return fmt.Sprintf("port %s (%s)", id, name)
	}
	return "port " + string(id)
}

// receivers are the ports that got a leg's packet, each once, without the sender of an answer that the switch made.
func (l *leg) receivers() []model.PortID {
	var out []model.PortID
	for _, r := range l.out.Receivers() {
		if id := model.PortID(r); !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}
