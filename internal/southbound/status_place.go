// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"fmt"
	"time"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Gateway ports of routers and floating IPs are on nodes without being plugged there: a gateway is where it was placed, a
// floating IP where it is served. Their statuses are ACTIVE when that node has confirmed a state at or after the one that put
// them there, and name the node, so that a restart knows what the neighbours on the external network were told (decision 6).
// Routers' other ports are on every node that needs them, and have no status of their own.

// notePlaces marks the gateways and floating IPs that a change concerns, by its records.
func (b *statusBook) notePlaces(snap *store.Snapshot, ch *store.Changes) {
	if ch.All { // once, at start: what was left between a change and its status
		for id := range tables.FloatingIPs.All(snap) {
			b.fresh[model.PortID(id)] = struct{}{}
		}
		for id := range tables.Gateways.All(snap) {
			b.gatewayOf(snap, id)
		}
	}
	for _, r := range ch.Records {
		switch r.Table {
		case tables.FloatingIPs.Name():
			if r.PlaneChanged {
				b.fresh[model.PortID(r.Key)] = struct{}{}
			}
		case tables.Gateways.Name():
			b.gatewayOf(snap, model.RouterID(r.Key))
			for f := range tables.FloatingIPsByRouter.By(snap, r.Key) {
				b.fresh[model.PortID(f.ID)] = struct{}{}
			}
		case tables.Routers.Name():
			if r.PlaneChanged {
				b.gatewayOf(snap, model.RouterID(r.Key))
			}
		case tables.Ports.Name():
			if r.PlaneChanged {
				b.floatingOf(snap, model.PortID(r.Key))
			}
		case tables.Plugs.Name():
			for _, v := range []any{r.Before, r.After} {
				if p, ok := v.(model.Plug); ok {
					b.floatingOf(snap, p.Port)
				}
			}
		case tables.Nodes.Name():
			if r.PlaneChanged { // its mappings may have
				for p := range tables.PortsByHost.By(snap, r.Key) {
					b.floatingOf(snap, p.ID)
				}
			}
		}
	}
}

// noteNode marks all that a node's presence decides about.
func (b *statusBook) noteNode(r store.Reader, id model.NodeID) {
	for p := range tables.LocalPorts.Members(r, string(id)) {
		b.fresh[model.PortID(p)] = struct{}{}
	}
	for f := range tables.NodeFloating.Members(r, string(id)) {
		b.fresh[model.PortID(f)] = struct{}{}
	}
	for rt := range tables.NodeGateways.Members(r, string(id)) {
		b.gatewayOf(r, model.RouterID(rt))
	}
}

// gatewayOf marks the gateway port of a router.
func (b *statusBook) gatewayOf(r store.Reader, id model.RouterID) {
	if rt, ok := tables.Routers.Get(r, id); ok && rt.GatewayPort != "" {
		b.fresh[rt.GatewayPort] = struct{}{}
	}
}

// floatingOf marks the floating IPs of a port.
func (b *statusBook) floatingOf(r store.Reader, id model.PortID) {
	for f := range tables.FloatingIPsByPort.By(r, string(id)) {
		b.fresh[model.PortID(f.ID)] = struct{}{}
	}
}

// placed is where a gateway or a floating IP is.
type placed struct {
	node    model.NodeID
	seq     uint64 // of the state that put it there
	why     string // it is on no node
	objects []string
}

// placeOf finds it; ok is false if the id is neither's.
func placeOf(r store.Reader, id model.PortID) (at placed, ok bool) {
	if f, ok := tables.FloatingIPs.Get(r, model.FloatingIPID(id)); ok {
		at.objects = []string{string(id), string(f.Router)}
		if f.Router == "" {
			return at, true
		}
		if at.node, ok = tables.Serving(r, &f); !ok {
			at.why = "no node serves it: none that may maps the physical network of its external network"
			return at, true
		}
		own, _ := tables.FloatingIPs.Info(r, f.ID)
		port, _ := tables.Ports.Info(r, f.Port)
		plug, _ := tables.Plugs.Info(r, model.PlugKey(at.node, f.Port))
		at.seq = max(own.Seq, port.Seq, plug.Seq, gatewaySeq(r, f.Router))
		return at, true
	}
	p, ok := tables.Ports.Get(r, id)
	if !ok || p.DeviceOwner != model.OwnerRouterGateway {
		return at, false
	}
	at.objects = []string{string(id), string(p.Router)}
	g, ok := tables.Gateways.Get(r, p.Router)
	rt, _ := tables.Routers.Get(r, p.Router)
	switch {
	case !p.AdminStateUp || !rt.AdminStateUp:
		return at, true
	case !ok && rt.GatewayRemoved != "":
		at.why = fmt.Sprintf("no node carries it: an administrator removed it from the L3 agent of node %s, and no other node that is up maps the physical network of its external network", rt.GatewayRemoved)
		return at, true
	case !ok:
		at.why = "no node carries it: none maps the physical network of its external network"
		return at, true
	}
	port, _ := tables.Ports.Info(r, id)
	at.node, at.seq = g.Node, max(port.Seq, gatewaySeq(r, p.Router))
	return at, true
}

func gatewaySeq(r store.Reader, id model.RouterID) uint64 {
	router, _ := tables.Routers.Info(r, id)
	place, _ := tables.Gateways.Info(r, id)
	return max(router.Seq, place.Seq)
}

// judgePlaced tells the status of a gateway or a floating IP, or the node that must confirm before it can be told.
func (h *Hub) judgePlaced(at placed) (v verdict, waitFor model.NodeID) {
	if at.node == "" {
		return verdict{status: model.StatusDown, reason: at.why}, ""
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.nodes[at.node]
	if t == nil {
		return verdict{status: model.StatusDown, reason: fmt.Sprintf("node %s is not known", at.node)}, ""
	}
	if t.lost {
		return verdict{status: model.StatusDown, reason: t.lostReason()}, ""
	}
	if t.confirmedLocked().Seq < at.seq {
		return verdict{}, at.node
	}
	for _, o := range at.objects {
		if why, bad := t.refused[o]; bad {
			return verdict{status: model.StatusError, reason: why}, ""
		}
	}
	return verdict{status: model.StatusActive, seq: at.seq, node: at.node}, ""
}

// lostReason says since when. hub.mu is held.
func (t *target) lostReason() string {
	return fmt.Sprintf("node %s has not been heard of since %s", t.id, t.since.UTC().Format(time.RFC3339))
}
