// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"sync"
	"time"

	"nagare/internal/alloc"
	"nagare/internal/compile"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/ovsdb"
)

// dbSession is a node's OVSDB session.
type dbSession struct {
	hub   *Hub
	s     *ovsdb.Session
	m     *ovsdb.Mirror
	log   *slog.Logger
	local string // our address as the node reached it
	peer  identity
	node  model.NodeID

	// made are the rows that were written as new ones and have not been seen yet, by name.
	made struct {
		sync.Mutex
		rows map[string]compile.Row
	}
}

func (d *dbSession) close(why error) {
	d.log.Debug("ovsdb session closed by us", "why", why)
	d.s.Close()
}

// ServeOVSDB serves one accepted (or dialled) OVSDB connection until it ends or ctx does. It returns why.
func (h *Hub) ServeOVSDB(ctx context.Context, nc net.Conn) error {
	peer, err := identify(ctx, nc, h.cfg.Timings.Request)
	if err != nil {
		return fmt.Errorf("ovsdb %w", err)
	}
	d := &dbSession{hub: h, local: host(nc.LocalAddr()), peer: peer,
		log: h.log.With("peer", nc.RemoteAddr().String())}
	d.s = ovsdb.NewSession(nc, ovsdb.Options{ProbeInterval: h.cfg.Timings.Probe})
	defer d.s.Close()
	d.m = ovsdb.NewMirror(database, mirrored)
	ask, cancel := context.WithTimeout(ctx, h.cfg.Timings.Request)
	err = d.s.Monitor(ask, d.m)
	cancel()
	if err != nil {
		return fmt.Errorf("ovsdb peer %s: monitor: %w", d.peer.source, err)
	}
	c, err := readClaim(d.m)
	if err != nil {
		return fmt.Errorf("ovsdb peer %s: %w", d.peer.source, err)
	}
	d.node = c.ID
	d.log = d.log.With("node", string(c.ID))
	t, err := h.admit(ctx, d, c)
	if err != nil {
		return err
	}
	defer h.detachDB(t, d)
	d.quicken(ctx, nc.LocalAddr())
	d.log.Info("node connected", "ovs", c.Version, "local_ip", c.LocalIP, "session", "ovsdb")
	err = d.follow(ctx, t)
	if ctx.Err() == nil {
		d.log.Warn("node disconnected", "session", "ovsdb", "error", err)
	}
	return err
}

// admit pins the node at first contact, refuses a second claimant, and makes d the node's session.
func (h *Hub) admit(ctx context.Context, d *dbSession, c claim) (*target, error) {
	if err := h.record(ctx, d, c); err != nil {
		return nil, err
	}
	t, err := h.awaitNode(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	for {
		h.mu.Lock()
		old := t.db
		if old == nil {
			t.db, t.since, t.complete, t.resync, t.inSync = d, time.Now(), progress{}, "ovsdb session began", false
			h.announce()
			h.mu.Unlock()
			return t, nil
		}
		h.mu.Unlock()
		// The old session may be half-open. It stays if it can prove that it lives.
		probe, cancel := context.WithTimeout(ctx, h.cfg.Timings.Takeover)
		err := old.s.Echo(probe)
		cancel()
		if err == nil {
			return nil, fmt.Errorf("node %s: refused a second ovsdb session from %s: one from %s is alive", c.ID, d.peer.source, old.peer.source)
		}
		old.close(errors.New("silent while another session claims the node"))
		h.mu.Lock()
		if t.db == old {
			t.db = nil
		}
		h.mu.Unlock()
	}
}

// record writes what the node says of itself, unless somebody else is pinned under its name.
func (h *Hub) record(ctx context.Context, d *dbSession, c claim) error {
	var before map[string]string
	_, err := h.cfg.Store.Commit(ctx, origin(c.ID, "report"), func(tx *store.Txn) error {
		if err := d.peer.may(c.ID); err != nil {
			return err
		}
		n, known := tables.Nodes.Get(tx, c.ID)
		if known && !d.peer.tls && n.OVSUUID != "" && (n.OVSUUID != c.OVSUUID || n.Source != d.peer.source) {
			return fmt.Errorf("node %s: refused a claim by switch %s from %s: the name is pinned to switch %s from %s; "+
				"if the node was reinstalled or moved, run `nagare node forget %s`", c.ID, c.OVSUUID, d.peer.source, n.OVSUUID, n.Source, c.ID)
		}
		if !known {
			key, err := alloc.NextKey(tx, "node")
			if err != nil {
				return err
			}
			n = model.Node{ID: c.ID, NodePlane: model.NodePlane{Key: key}, Approved: h.cfg.Enrol == EnrolAuto, FirstSeen: time.Now().UTC()}
		}
		n.OVSUUID, n.Source = c.OVSUUID, d.peer.source
		n.Hostname, n.SystemID, n.OVSVersion = c.Hostname, c.SystemID, c.Version
		n.LocalIP, n.DatapathType = c.LocalIP, c.DatapathType
		if !maps.Equal(n.Mappings, c.Mappings) {
			n.Mappings = c.Mappings
		}
		before = n.HostConfigs
		n.HostConfigs = c.HostConfigs
		tables.Nodes.Put(tx, c.ID, n)
		return nil
	})
	if err == nil {
		warnHostConfigs(d.log, before, c)
	}
	return err
}

func origin(node model.NodeID, action string) store.Origin {
	return store.Origin{User: "node " + string(node), Action: action}
}

// awaitNode waits until the node's loop runs, which follows its record.
func (h *Hub) awaitNode(ctx context.Context, id model.NodeID) (*target, error) {
	for {
		h.mu.Lock()
		t, moved := h.nodes[id], h.moved
		h.mu.Unlock()
		if t != nil {
			return t, nil
		}
		select {
		case <-moved:
		case <-h.stopped:
			return nil, errStopping
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (h *Hub) detachDB(t *target, d *dbSession) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.db == d {
		t.db, t.inSync, t.since = nil, false, time.Now()
		h.announce()
	}
}

// follow reports what the node has until the session ends.
func (d *dbSession) follow(ctx context.Context, t *target) error {
	o := newObserver(d.m, d.node)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-d.s.Done():
			return d.s.Err()
		case <-d.m.Ready():
		}
		b, ok := d.m.Take()
		if !ok {
			continue
		}
		seen := o.read(b)
		if seen.Claim {
			c, err := readClaim(d.m)
			if err == nil && c.ID != d.node {
				err = fmt.Errorf("node %s now calls itself %s; it must reconnect under one name", d.node, c.ID)
			}
			if err != nil {
				err = errors.Join(err, d.hub.withdraw(ctx, d.node))
			} else {
				err = d.hub.record(ctx, d, c)
			}
			if err != nil {
				return err
			}
		}
		at, err := d.report(ctx, seen, b.Initial)
		if err != nil {
			return err
		}
		if b.Initial {
			if err := d.hub.awaitProcessed(ctx, at.Seq); err != nil {
				return err
			}
			d.hub.mu.Lock()
			if t.db == d {
				t.complete = progress{at.Seq, at.Revision}
				if t.lost {
					t.lost = false
					snap := d.hub.cfg.Store.Snapshot()
					for _, what := range []*store.Derived{tables.LocalPorts, tables.NodeFloating, tables.NodeGateways} {
						for id := range what.Members(snap, string(d.node)) {
							d.hub.suspects[model.PortID(id)] = struct{}{}
						}
					}
				}
			}
			d.hub.mu.Unlock()
		}
		if why := d.rowsNews(b); why != "" {
			d.hub.mu.Lock()
			if t.db == d {
				t.ask(why)
			}
			d.hub.mu.Unlock()
		}
		// Also after changes that we did not record: the bridge may have gone, or lost its controller.
		t.poke()
	}
}

// report commits an observation. With initial, it is everything: what the store knows besides is gone.
func (d *dbSession) report(ctx context.Context, seen observation, initial bool) (store.Result, error) {
	if len(seen.Put) == 0 && len(seen.Gone) == 0 && !initial {
		s := d.hub.cfg.Store.Snapshot()
		return store.Result{Revision: s.Revision(), Seq: s.Seq()}, nil
	}
	return d.hub.cfg.Store.Commit(ctx, origin(d.node, "interfaces"), func(tx *store.Txn) error {
		ports := map[model.PortID]bool{}
		drop := func(i model.Interface) {
			tables.Interfaces.Delete(tx, model.InterfaceKey(d.node, i.Name))
			ports[i.IfaceID] = true
		}
		for _, name := range seen.Gone {
			if i, ok := tables.Interfaces.Get(tx, model.InterfaceKey(d.node, name)); ok {
				drop(i)
			}
		}
		if initial {
			markFound(tx, d.node) // here and not with what it says of itself: until now its loss may have been recorded
			there := map[string]bool{}
			for _, i := range seen.Put {
				there[i.Name] = true
			}
			for i := range tables.InterfacesByNode.By(tx, string(d.node)) {
				if !there[i.Name] {
					drop(i)
				}
			}
			for p := range tables.PlugsByNode.By(tx, string(d.node)) {
				ports[p.Port] = true
			}
		}
		for _, i := range seen.Put {
			if old, ok := tables.Interfaces.Get(tx, model.InterfaceKey(d.node, i.Name)); ok {
				ports[old.IfaceID] = true
			}
			tables.Interfaces.Put(tx, model.InterfaceKey(d.node, i.Name), i)
			ports[i.IfaceID] = true
		}
		delete(ports, "")
		for id := range ports {
			key := model.PlugKey(d.node, id)
			_, was := tables.Plugs.Get(tx, key)
			_, is := tables.InterfacesByIface.First(tx, key)
			switch {
			case is && !was:
				tables.Plugs.Put(tx, key, model.Plug{Node: d.node, Port: id, Since: time.Now().UTC()})
			case was && !is:
				tables.Plugs.Delete(tx, key)
			}
		}
		return nil
	})
}

// awaitProcessed waits until the engine has compiled the state.
func (h *Hub) awaitProcessed(ctx context.Context, seq uint64) error {
	for {
		h.mu.Lock()
		at, moved := h.processed, h.moved
		h.mu.Unlock()
		if at.Seq >= seq {
			return nil
		}
		select {
		case <-moved:
		case <-h.stopped:
			return errStopping
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (d *dbSession) commit(ctx context.Context, t *ovsdb.Txn) (*ovsdb.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, d.hub.cfg.Timings.Request)
	defer cancel()
	res, err := d.s.Commit(ctx, t)
	if err != nil && d.s.Err() != nil {
		return nil, fmt.Errorf("%w: %w", errGone, err)
	}
	return res, err
}

func host(a net.Addr) string {
	h, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return h
}
