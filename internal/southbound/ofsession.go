// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"nagare/internal/alloc"
	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/openflow"
)

// ofSession is a node's OpenFlow session.
type ofSession struct {
	hub  *Hub
	c    *openflow.Conn
	log  *slog.Logger
	node model.NodeID
	peer identity
	dpid uint64
	// refused is what the switch would not take, so that it is not sent over and over; held are the groups and meters that it
	// has. They belong to the node's loop.
	refused refusals
	held    holdings
	shut    map[uint32]bool   // keys of ports that are not let in, see withhold; the same's
	foreign chan struct{}     // capacity 1: the switch told of a change that is not ours
	asked   chan struct{}     // capacity 1: who has it may ask the switch something, see Inspect
	watched bool              // its flows are monitored; belongs to the node's loop
	spared  map[uint32]uint64 // packets that meters of security logs kept back, when last asked; the same's

	punts  punts                               // to be answered
	count  *puntCounters                       // of the node; set at admission
	fabric atomic.Pointer[map[uint32]struct{}] // ports that LLDP was last sent by
}

func (o *ofSession) close(why error) {
	o.log.Debug("openflow session closed by us", "why", why)
	o.c.Close()
}

// ServeOpenFlow serves one accepted OpenFlow connection until it ends or ctx does. It returns why.
func (h *Hub) ServeOpenFlow(ctx context.Context, nc net.Conn) error {
	peer, err := identify(ctx, nc, h.cfg.Timings.Request)
	if err != nil {
		return fmt.Errorf("openflow %w", err)
	}
	o := &ofSession{hub: h, peer: peer, log: h.log.With("peer", nc.RemoteAddr().String()), refused: newRefusals(),
		foreign: make(chan struct{}, 1), asked: make(chan struct{}, 1), punts: punts{kick: make(chan struct{}, 1)}}
	ready := make(chan struct{}) // closed once o.node is known, which the handler waits for
	o.c = openflow.NewConn(nc, openflow.Config{ProbeInterval: h.cfg.Timings.Probe, Handler: openflow.Handler{
		PacketIn: func(m *openflow.PacketIn) {
			select {
			case <-ready:
				o.packetIn(m)
			default: // before admission nothing is believed
			}
		},
		FlowUpdate: func(us []openflow.FlowUpdate) {
			// Own changes come abbreviated; anything else is somebody else's hand on the switch, and what was missed may be.
			if len(us) == 0 || slices.ContainsFunc(us, func(u openflow.FlowUpdate) bool { return u.Event != openflow.UpdateAbbrev }) {
				select {
				case o.foreign <- struct{}{}:
				default:
				}
			}
		},
	}})
	defer o.c.Close()
	ask, cancel := context.WithTimeout(ctx, h.cfg.Timings.Request)
	features, err := o.c.Handshake(ask)
	cancel()
	if err != nil {
		return fmt.Errorf("openflow peer %s: handshake: %w", o.peer.source, err)
	}
	o.dpid = features.DatapathID
	// Packet-ins shall say what their flow says of them. A switch that cannot stays with the plain form, and nothing is answered.
	if _, err := o.c.Send(ctx, &openflow.SetPacketInFormat{Format: openflow.PacketInExtended}); err != nil {
		return fmt.Errorf("openflow peer %s: %w", o.peer.source, err)
	}
	n, ok := nodeByDatapath(h.cfg.Store.Snapshot(), o.dpid)
	switch {
	case !ok:
		return fmt.Errorf("openflow peer %s: no node has datapath id %016x; its ovsdb session must come first (ovs-vsctl set-manager)", o.peer.source, o.dpid)
	case !peer.tls && n.Source != o.peer.source:
		return fmt.Errorf("openflow peer %s: refused: it claims to be node %s, which is pinned to %s", o.peer.source, n.ID, n.Source)
	}
	if err := peer.may(n.ID); err != nil {
		return err
	}
	o.node = n.ID
	o.log = o.log.With("node", string(n.ID))
	t, err := h.admitOF(ctx, o)
	if err != nil {
		return err
	}
	o.count = &t.punts
	close(ready)
	o.log.Info("node connected", "session", "openflow", "dpid", fmt.Sprintf("%016x", o.dpid))
	defer h.detachOF(t, o)
	t.poke()
	if h.cfg.Answer != nil {
		work, stop := context.WithCancel(ctx)
		var worker sync.WaitGroup
		worker.Go(func() { o.answerPunts(work, &t.punts) })
		defer worker.Wait()
		defer stop()
	}
	lldp := time.NewTicker(h.cfg.Timings.LLDP)
	defer lldp.Stop()
	settle := time.NewTimer(time.Hour) // lets a foreign writer finish before its work is undone
	defer settle.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-o.c.Done():
			o.log.Warn("node disconnected", "session", "openflow", "error", o.c.Err())
			return o.c.Err()
		case <-o.foreign:
			settle.Reset(foreignSettle)
		case <-settle.C:
			h.Audit(o.node)
		case <-lldp.C:
			if err := o.sendLLDP(ctx); err != nil && ctx.Err() == nil {
				o.log.Debug("lldp not sent", "error", err)
			}
		}
	}
}

// foreignSettle is how long a switch must be left alone by others before it is put right. A writer who never rests is
// answered by the periodic audit alone, so that two controllers do not fight at full speed.
const foreignSettle = 300 * time.Millisecond

// watchFlows asks the switch to tell of changes that others make to its flows (ONF extension 187, flow monitors). A switch
// that cannot is audited by dump from time to time, as every switch is.
//
// It begins after the first comparison: a switch being filled need not tell of it.
func (o *ofSession) watchFlows(ctx context.Context) {
	if o.watched {
		return
	}
	o.watched = true
	ctx, cancel := context.WithTimeout(ctx, o.hub.cfg.Timings.Request)
	defer cancel()
	_, err := o.c.StartMonitor(ctx, &openflow.FlowMonitor{ID: 1, Table: openflow.TableAll,
		Flags: openflow.MonitorAdd | openflow.MonitorDelete | openflow.MonitorModify})
	if err != nil {
		o.log.Debug("flows are not monitored", "error", err)
	}
}

// nodeByDatapath finds the node that we gave a datapath id to.
func nodeByDatapath(r store.Reader, dpid uint64) (model.Node, bool) {
	n, ok := alloc.NodesByKey.First(r, alloc.KeyText(model.Key(uint32(dpid))))
	return n, ok && n.DatapathID() == dpid
}

// admitOF makes o the node's session, unless another is alive.
func (h *Hub) admitOF(ctx context.Context, o *ofSession) (*target, error) {
	t, err := h.awaitNode(ctx, o.node)
	if err != nil {
		return nil, err
	}
	for {
		h.mu.Lock()
		old := t.of
		if old == nil {
			t.of, t.since, t.resync, t.inSync = o, time.Now(), "openflow session began", false
			h.announce()
			h.mu.Unlock()
			return t, nil
		}
		h.mu.Unlock()
		probe, cancel := context.WithTimeout(ctx, h.cfg.Timings.Takeover)
		err := old.c.Barrier(probe)
		cancel()
		if err == nil {
			return nil, fmt.Errorf("node %s: refused a second openflow session from %s: one from %s is alive", o.node, o.peer.source, old.peer.source)
		}
		old.close(errors.New("silent while another session claims the node"))
		h.mu.Lock()
		if t.of == old {
			t.of = nil
		}
		h.mu.Unlock()
	}
}

func (h *Hub) detachOF(t *target, o *ofSession) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.of == o {
		t.of, t.inSync, t.since = nil, false, time.Now()
		t.punts.dropped.Add(o.c.Stats().PacketInsDropped)
		h.announce()
	}
}

// dump reads what the switch holds. Flows that we cannot represent exactly count as foreign and are removed by their own key.
func (o *ofSession) dump(ctx context.Context) (compile.Desired, error) {
	d := compile.Desired{Flows: map[flow.Key]flow.Flow{}, Groups: map[uint32]flow.Group{}, Meters: map[uint32]flow.Meter{}}
	ctx, cancel := context.WithTimeout(ctx, 4*o.hub.cfg.Timings.Request)
	defer cancel()
	err := o.c.DumpFlows(ctx, openflow.AllFlows, func(s *openflow.FlowStats) error {
		m, err := flow.Wire(s.Match)
		if err != nil {
			return fmt.Errorf("table %d: match that the switch dumped: %w", s.Table, err)
		}
		a, err := flow.WireActions(s.Instructions)
		if err != nil {
			a = flow.Actions(s.Instructions) // not ours, whatever it is
		}
		f := flow.Flow{Table: s.Table, Priority: s.Priority, Cookie: s.Cookie, Match: m, Actions: a}
		d.Flows[f.Key()] = f
		return nil
	})
	if err != nil {
		return d, fmt.Errorf("dump of flows: %w", err)
	}
	groups, err := o.c.DumpGroups(ctx)
	if err != nil {
		return d, fmt.Errorf("dump of groups: %w", err)
	}
	for _, g := range groups {
		w, err := flow.WireGroup(g)
		if err != nil {
			w = flow.Group{ID: g.ID, Type: flow.GroupType(g.Type)}
		}
		d.Groups[g.ID] = w
	}
	meters, err := o.c.DumpMeters(ctx)
	if err != nil {
		return d, fmt.Errorf("dump of meters: %w", err)
	}
	for _, m := range meters {
		w, err := wireMeter(m)
		if err != nil {
			w = flow.Meter{ID: m.ID}
		}
		d.Meters[m.ID] = w
	}
	o.held = holdings{map[uint32]struct{}{}, map[uint32]struct{}{}}
	for id := range d.Groups {
		o.held.groups[id] = struct{}{}
	}
	for id := range d.Meters {
		o.held.meters[id] = struct{}{}
	}
	o.refused.fill(d)
	return d, o.countUnlogged(ctx)
}

// countUnlogged counts what the meters of security logs kept back since it was last asked. What they did before the session counts
// for nobody: it was counted then, or the server was not there.
func (o *ofSession) countUnlogged(ctx context.Context) error {
	first := o.spared == nil
	if first {
		o.spared = map[uint32]uint64{}
	}
	has := false
	for id := range o.held.meters {
		has = has || model.IsLogMeter(id)
	}
	if !has {
		clear(o.spared)
		return nil
	}
	stats, err := o.c.MeterStats(ctx, openflow.MeterAll)
	if err != nil {
		return fmt.Errorf("counters of meters: %w", err)
	}
	now := map[uint32]uint64{}
	for _, s := range stats {
		if !model.IsLogMeter(s.ID) || len(s.Bands) == 0 {
			continue
		}
		n := s.Bands[0].Packets
		now[s.ID] = n
		if was := o.spared[s.ID]; !first && n >= was {
			o.count.unlogged.Add(n - was)
		}
	}
	o.spared = now
	return nil
}

// packetIn handles what the switch sends up: packets to be answered go to the session's worker, since nobody may hold up what
// comes after them; the rest is LLDP.
func (o *ofSession) packetIn(m *openflow.PacketIn) {
	if len(m.Userdata) > 0 {
		kind, ours := pipeline.ParseUserdata(m.Userdata)
		logged := pipeline.IsLogged(kind)
		switch {
		case !ours || o.hub.cfg.Answer == nil || o.punts.push(m, !logged):
		case logged:
			o.count.unlogged.Add(1)
		default:
			o.count.dropped.Add(1)
		}
		return
	}
	if o.hub.cfg.FabricLLDP {
		ports := o.fabric.Load()
		if ports == nil {
			return
		}
		if _, ok := (*ports)[m.InPort()]; !ok {
			return
		}
	}
	dpid, port, ok := o.hub.parseLLDP(m.Data)
	if !ok {
		return
	}
	from, ok := nodeByDatapath(o.hub.cfg.Store.Snapshot(), dpid)
	if !ok {
		return
	}
	o.hub.mu.Lock()
	defer o.hub.mu.Unlock()
	o.hub.links.saw(LinkEnd{from.ID, port}, LinkEnd{o.node, m.InPort()}, time.Now())
}

// sendLLDP sends a frame out of every port of the bridge that has LLDP.
func (o *ofSession) sendLLDP(ctx context.Context) error {
	var ms []openflow.Message
	ports := map[uint32]struct{}{}
	defer func() { o.fabric.Store(&ports) }()
	for i := range tables.InterfacesByNode.By(o.hub.cfg.Store.Snapshot(), string(o.node)) {
		if i.OFPort == 0 || o.hub.cfg.FabricLLDP && !fabric(&i) {
			continue
		}
		ports[i.OFPort] = struct{}{}
		ms = append(ms, &openflow.PacketOut{InPort: openflow.PortController,
			Actions: openflow.AppendActions(nil, openflow.Output{Port: i.OFPort}),
			Data:    o.hub.lldpFrame(o.dpid, i.OFPort, 3*o.hub.cfg.Timings.LLDP)})
	}
	if len(ms) == 0 {
		return nil
	}
	_, err := o.c.Send(ctx, ms...)
	return err
}

// fabric reports whether an interface leads to other nodes and never to an instance: a tunnel, or the patch to a provider bridge.
func fabric(i *model.Interface) bool {
	switch i.Type {
	case "vxlan", "gre", "geneve", "patch":
		return true
	}
	return false
}
