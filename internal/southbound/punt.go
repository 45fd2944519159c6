// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"

	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/openflow"
)

// Punted is a packet that a flow of ours sent up to be answered. All but Node, which the session proved, is what the node
// says: who answers believes it only for ports that are bound to the node (decision 24).
type Punted struct {
	Node    model.NodeID
	InPort  uint32    // OpenFlow port; an answer leaves by it
	PortKey model.Key // register 1: the port that the frame came from; 0 if the node told none
	TunID   uint64    // the logical network
	Origin  uint32    // register 0: pipeline.FromPort, ...
	Router  model.Key // register 3: that has taken the packet; 0: none
	// NextHop is where the router sends the packet, as registers 4 and 8 to 11 say; zero: it has not said so.
	NextHop netip.Addr
	DstPort model.Key // register 2: the port that it is for; 0: not said
	Rule    model.Key // register 14: of a security group, that accepted it; 0: none
	MTU     int       // register 15: of the network ahead, of packets that are too large for it
	Kind    byte      // of the punt: pipeline.PuntDHCP, ...
	Cookie  uint64    // of the flow that sent it up
	Data    []byte    // the Ethernet frame; it must not be kept or changed
}

// Answer makes the frames that go back out of the port that a punted packet came in by; none is an answer too. It runs on many
// goroutines at once, beside the sessions' readers, and must neither block nor keep what it is given.
type Answer func(snap *store.Snapshot, p Punted) [][]byte

// Bounds of what a session holds of packets to be answered. A queue that is full loses the newest: its sender asks again.
const (
	maxPunts     = 256     // packets that wait
	maxPuntBytes = 1 << 18 // their frames
)

// puntCounters count a node's punts since it became known.
type puntCounters struct {
	answered, unanswered, dropped, failed atomic.Uint64
	unlogged                              atomic.Uint64 // copies for security logs that were lost
}

// punts is the queue between a session's handler, which must not wait, and its one worker.
type punts struct {
	mu    sync.Mutex
	queue []*openflow.PacketIn
	bytes int
	kick  chan struct{} // capacity 1
}

// push reports whether the packet found room. What nobody waits for leaves half of it to the others.
func (q *punts) push(m *openflow.PacketIn, waitedFor bool) bool {
	share := 1
	if !waitedFor {
		share = 2
	}
	q.mu.Lock()
	ok := len(q.queue) < maxPunts/share && q.bytes+len(m.Data) <= maxPuntBytes/share
	if ok {
		q.queue = append(q.queue, m)
		q.bytes += len(m.Data)
	}
	q.mu.Unlock()
	if ok {
		select {
		case q.kick <- struct{}{}:
		default:
		}
	}
	return ok
}

// take empties the queue into the room of the batch before.
func (q *punts) take(room []*openflow.PacketIn) []*openflow.PacketIn {
	clear(room)
	q.mu.Lock()
	defer q.mu.Unlock()
	out := q.queue
	q.queue, q.bytes = room[:0], 0
	return out
}

// answerer is a session's worker. What it works in is used again from batch to batch.
type answerer struct {
	o     *ofSession
	count *puntCounters
	outs  []openflow.PacketOut
	ms    []openflow.Message
	acts  []byte // the outs' actions, actionRoom bytes each
}

// actionRoom is the length of an output action on the wire.
const actionRoom = 16

// answerPunts answers until ctx or the session ends. Everything that waits is answered from one snapshot and sent at once.
func (o *ofSession) answerPunts(ctx context.Context, count *puntCounters) {
	a := answerer{o: o, count: count}
	var batch []*openflow.PacketIn
	for {
		select {
		case <-ctx.Done():
			return
		case <-o.c.Done():
			return
		case <-o.punts.kick:
		}
		batch = o.punts.take(batch)
		if len(batch) == 0 {
			continue
		}
		if err := a.batch(ctx, batch); err != nil && ctx.Err() == nil && o.c.Err() == nil {
			o.log.Debug("answers not sent", "error", err)
		}
		if len(batch) < maxPunts/8 {
			batch = nil // idle: thousands of sessions must stay small
		}
	}
}

func (a *answerer) batch(ctx context.Context, batch []*openflow.PacketIn) error {
	snap := a.o.hub.cfg.Store.Snapshot()
	a.outs, a.acts = a.outs[:0], a.acts[:0]
	for _, m := range batch {
		p, ok := readPunt(m)
		if !ok {
			continue
		}
		p.Node = a.o.node
		frames, ok := a.answer(snap, p)
		switch {
		case !ok:
			a.count.failed.Add(1)
		case pipeline.IsLogged(p.Kind):
		case len(frames) == 0:
			a.count.unanswered.Add(1)
		default:
			a.count.answered.Add(1)
		}
		for _, f := range frames {
			a.acts = openflow.Output{Port: p.InPort}.AppendTo(a.acts)
			a.outs = append(a.outs, openflow.PacketOut{InPort: openflow.PortController, Data: f})
		}
	}
	if len(a.outs) == 0 {
		return nil
	}
	a.ms = a.ms[:0]
	for i := range a.outs { // only now: acts and outs may have moved while they grew
		a.outs[i].Actions = a.acts[i*actionRoom : (i+1)*actionRoom]
		a.ms = append(a.ms, &a.outs[i])
	}
	_, err := a.o.c.Send(ctx, a.ms...)
	clear(a.outs) // keep no frames
	return err
}

// answer asks for an answer. A panic over one packet is that packet's alone.
func (a *answerer) answer(snap *store.Snapshot, p Punted) (frames [][]byte, ok bool) {
	defer func() {
		if why := recover(); why != nil {
			a.o.log.Error("no answer to a punted packet", "kind", p.Kind, "port", p.PortKey, "length", len(p.Data), "panic", fmt.Sprint(why))
			frames, ok = nil, false
		}
	}()
	return a.o.hub.cfg.Answer(snap, p), true
}

// readPunt reads what the switch says of a packet. ok is false if it came by no port or by no flow of ours.
func readPunt(m *openflow.PacketIn) (p Punted, ok bool) {
	if p.Kind, ok = pipeline.ParseUserdata(m.Userdata); !ok {
		return p, false
	}
	p.Cookie, p.Data = m.Cookie, m.Data
	var hop4 uint32
	var hop6 [16]byte
	for b := m.Match; len(b) > 0; {
		t, rest, err := openflow.NextTLV(b)
		if err != nil {
			return p, false
		}
		switch t.Field {
		case openflow.FieldInPort:
			p.InPort = uint32(t.Uint())
		case openflow.FieldTunID:
			p.TunID = t.Uint()
		case regPort:
			p.PortKey = model.Key(t.Uint())
		case regDstPort:
			p.DstPort = model.Key(t.Uint())
		case regRule:
			p.Rule = model.Key(t.Uint())
		case regOrigin:
			p.Origin = uint32(t.Uint())
		case regRouter:
			p.Router = model.Key(t.Uint())
		case regMTU:
			p.MTU = int(t.Uint())
		case regHop4:
			hop4 = uint32(t.Uint())
		default:
			for i, f := range regHop6 {
				if t.Field == f {
					binary.BigEndian.PutUint32(hop6[4*i:], uint32(t.Uint()))
				}
			}
		}
		b = rest
	}
	p.NextHop = nextHop(p.Data, hop4, hop6)
	return p, pipeline.IsLogged(p.Kind) || p.InPort != 0 && p.InPort <= openflow.PortMax // a copy for a log needs no way back
}

// nextHop is the one of a packet's family: the registers of the other are used for other things too.
func nextHop(frame []byte, hop4 uint32, hop6 [16]byte) (none netip.Addr) {
	if len(frame) < 14 {
		return none
	}
	switch kind := binary.BigEndian.Uint16(frame[12:]); {
	case kind == 0x0800 && hop4 != 0:
		return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, hop4)))
	case kind == 0x86dd && hop6 != [16]byte{}:
		return netip.AddrFrom16(hop6)
	}
	return none
}

// Where the pipeline keeps what Punted tells.
var (
	regPort    = openflow.Reg(pipeline.RegSrcPort)
	regOrigin  = openflow.Reg(pipeline.RegOrigin)
	regDstPort = openflow.Reg(pipeline.RegDstPort)
	regRule    = openflow.Reg(pipeline.RegRule)
	regRouter  = openflow.Reg(pipeline.RegRouter)
	regHop4    = openflow.Reg(pipeline.RegNextHop)
	regMTU     = openflow.Reg(pipeline.RegMTU)
	regHop6    = [4]*openflow.Field{openflow.Reg(pipeline.RegNextHop6), openflow.Reg(pipeline.RegNextHop6 + 1),
		openflow.Reg(pipeline.RegNextHop6 + 2), openflow.Reg(pipeline.RegNextHop6 + 3)}
)
