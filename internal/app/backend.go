// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"nagare/internal/api/admin"
	"nagare/internal/model"
	"nagare/internal/nodedhcp/dhcpapi"
	"nagare/internal/punt"
	"nagare/internal/southbound"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// backend answers the admin API from the store and the hub.
type backend struct{ s *Server }

func (b backend) Status(ctx context.Context) (admin.Status, error) {
	nodes, err := b.s.hub.Nodes(ctx)
	if err != nil {
		return admin.Status{}, err
	}
	_, units, err := b.s.hub.EngineStats(ctx)
	if err != nil {
		return admin.Status{}, err
	}
	snap := b.s.store.Snapshot()
	st := admin.Status{Version: Version, Profile: b.s.cfg.Profile, Revision: uint64(snap.Revision()), Compiled: uint64(b.s.hub.Processed()),
		Nodes: len(nodes), Networks: tables.Networks.Len(snap), Ports: tables.Ports.Len(snap), Units: units, InSync: true,
		Uptime: time.Since(b.s.start).Round(time.Second).String(), Northbound: b.s.cfg.Northbound}
	st.Confirmed = st.Compiled
	for _, n := range nodes {
		st.Faults += len(n.Faults)
		if n.OVSDB && n.OpenFlow {
			st.LiveNodes++
			st.Confirmed = min(st.Confirmed, uint64(n.Confirmed))
			st.InSync = st.InSync && n.InSync
		}
	}
	if b.s.cfg.Profile == "classic" {
		st.Notice = "profile classic is no security boundary"
	}
	return st, nil
}

func (b backend) Nodes(ctx context.Context) ([]admin.Node, error) {
	infos, err := b.s.hub.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	snap := b.s.store.Snapshot()
	out := []admin.Node{}
	for _, i := range infos {
		n, ok := tables.Nodes.Get(snap, i.ID)
		if !ok {
			continue
		}
		v := admin.Node{ID: string(n.ID), Source: n.Source, OVSUUID: n.OVSUUID, OVSVersion: n.OVSVersion,
			DatapathID: fmt.Sprintf("%016x", n.DatapathID()), Mappings: n.Mappings, Approved: n.Approved,
			OVSDB: i.OVSDB, OpenFlow: i.OpenFlow, InSync: i.InSync, Confirmed: uint64(i.Confirmed), Waiting: i.Waiting, Problem: i.Problem,
			Since: i.Since, Flows: i.Flows, Ports: slices.Collect(tables.LocalPorts.Members(snap, string(n.ID))),
			Sent: admin.Sent{FlowMods: i.Sent.FlowMods, GroupMods: i.Sent.GroupMods, MeterMods: i.Sent.MeterMods, Rows: i.Sent.RowChanges,
				Bundles: i.Sent.Bundles, Audits: i.Sent.Audits, Drift: i.Sent.Drift}}
		if n.LocalIP.IsValid() {
			v.LocalIP = n.LocalIP.String()
		}
		for _, f := range i.Faults {
			v.Faults = append(v.Faults, admin.Fault{Kind: f.Kind, Object: f.Object, Rule: f.Rule, Reason: f.Reason})
		}
		for p := range tables.PlugsByNode.By(snap, string(n.ID)) {
			if port, ok := tables.Ports.Get(snap, p.Port); ok && !port.LivesOn(n.ID) {
				v.Conflicts = append(v.Conflicts, fmt.Sprintf("port %s is plugged here, but its host is %q", p.Port, port.Host))
			}
		}
		out = append(out, v)
	}
	return out, nil
}

func (b backend) Approve(ctx context.Context, node, user string) error {
	_, err := b.s.store.Commit(ctx, store.Origin{User: user, Action: "approve node " + node}, func(tx *store.Txn) error {
		n, ok := tables.Nodes.Get(tx, model.NodeID(node))
		if !ok {
			return fmt.Errorf("node %s: %w", node, admin.ErrNotFound)
		}
		n.Approved = true
		tables.Nodes.Put(tx, n.ID, n)
		return nil
	})
	if err == nil {
		b.s.hub.Poke(model.NodeID(node))
	}
	return err
}

// Forget unpins a node that is not connected, so that a reinstalled one may take its name.
func (b backend) Forget(ctx context.Context, node, user string) error {
	infos, err := b.s.hub.Nodes(ctx)
	if err != nil {
		return err
	}
	for _, i := range infos {
		if string(i.ID) == node && i.OVSDB {
			return fmt.Errorf("node %s is connected: stop its Open vSwitch or its manager first: %w", node, admin.ErrBadInput)
		}
	}
	_, err = b.s.store.Commit(ctx, store.Origin{User: user, Action: "forget node " + node}, func(tx *store.Txn) error {
		if !tables.ForgetNode(tx, model.NodeID(node)) {
			return fmt.Errorf("node %s: %w", node, admin.ErrNotFound)
		}
		return nil
	})
	return err
}

func (b backend) Topology(context.Context) (admin.Topology, error) {
	snap := b.s.store.Snapshot()
	t := admin.Topology{Nodes: []admin.TopologyNode{}, Links: []admin.TopologyLink{}, Networks: []admin.TopologyNetwork{}}
	for id, n := range tables.Nodes.All(snap) {
		v := admin.TopologyNode{ID: string(id), Ports: []admin.TopologyPort{}}
		if n.LocalIP.IsValid() {
			v.LocalIP = n.LocalIP.String()
		}
		for p := range tables.LocalPorts.Members(snap, string(id)) {
			port, _ := tables.Ports.Get(snap, model.PortID(p))
			status, _ := tables.Statuses.Get(snap, port.ID)
			i, _ := tables.InterfacesByIface.First(snap, model.PlugKey(id, port.Carrier()))
			tp := admin.TopologyPort{ID: p, Name: port.Name, Network: string(port.Network), MAC: port.MAC.String(), OFPort: i.OFPort, Status: status.Status}
			for _, f := range port.FixedIPs {
				tp.Addresses = append(tp.Addresses, f.Addr.String())
			}
			v.Ports = append(v.Ports, tp)
		}
		t.Nodes = append(t.Nodes, v)
	}
	for _, l := range b.s.hub.Links() {
		t.Links = append(t.Links, admin.TopologyLink{From: string(l.From.Node), FromPort: portName(snap, l.From),
			To: string(l.To.Node), ToPort: portName(snap, l.To), Seen: l.Seen})
	}
	for id, n := range tables.Networks.All(snap) {
		t.Networks = append(t.Networks, admin.TopologyNetwork{ID: string(id), Name: n.Name, Type: string(n.Type), Tag: n.SegmentationID,
			Nodes: slices.Collect(tables.NetworkNodes.Members(snap, string(id)))})
	}
	return t, nil
}

// portName is the name of the interface with an OpenFlow port number on a node, or the number.
func portName(r store.Reader, e southbound.LinkEnd) string {
	for i := range tables.InterfacesByNode.By(r, string(e.Node)) {
		if i.OFPort == e.OFPort {
			return i.Name
		}
	}
	return strconv.FormatUint(uint64(e.OFPort), 10)
}

func (b backend) ExplainPort(ctx context.Context, id string) (admin.PortReport, error) {
	snap := b.s.store.Snapshot()
	p, ok := tables.Ports.Get(snap, model.PortID(id))
	if !ok {
		if p, ok = tables.PortsByName.First(snap, id); !ok {
			return admin.PortReport{}, fmt.Errorf("port %s: %w; see `openstack port list`", id, admin.ErrNotFound)
		}
	}
	status, _ := tables.Statuses.Get(snap, p.ID)
	r := admin.PortReport{ID: string(p.ID), Name: p.Name, Network: string(p.Network), MAC: p.MAC.String(), Host: string(p.Host),
		Status: status.Status, Commit: commitOf(snap, "port", string(p.ID)), Flows: []admin.Explanation{}, Plugged: []string{}}
	for pl := range tables.PlugsByPort.By(snap, string(p.Carrier())) {
		r.Plugged = append(r.Plugged, string(pl.Node))
		if !p.LivesOn(pl.Node) {
			r.Problems = append(r.Problems, fmt.Sprintf("node %s reports an interface with this iface-id, but the port's host is %q", pl.Node, p.Host))
		}
	}
	_, unsent := punt.Extras(&p)
	for _, why := range unsent {
		r.Problems = append(r.Problems, fmt.Sprintf("extra DHCP option is not sent: %v", why))
	}
	_, located := tables.Located(snap, p.ID)
	switch {
	case p.Host == "":
		r.Advice = "the port is bound to no host: set binding:host_id"
	case !located && !p.AdminStateUp:
		r.Advice = "the port is administratively down"
	case !located:
		r.Advice = fmt.Sprintf("no interface with iface-id %s on node %s: plug it (external_ids:iface-id) or look at `nagare nodes`", p.Carrier(), p.Host)
	}
	nodes, err := b.s.hub.Nodes(ctx)
	if err != nil {
		return r, err
	}
	for _, n := range nodes {
		for _, f := range n.Faults {
			if f.Object == string(p.ID) || f.Object == string(p.Network) {
				r.Problems = append(r.Problems, fmt.Sprintf("node %s: %s %s: %s", n.ID, f.Kind, f.Object, f.Reason))
			}
		}
		owned, err := b.s.hub.OwnedBy(ctx, n.ID, string(p.ID))
		if err != nil {
			return r, err
		}
		for _, f := range owned {
			x, err := b.explain(ctx, n.ID, f.Key())
			if err == nil {
				r.Flows = append(r.Flows, x)
			}
		}
	}
	return r, nil
}

func (b backend) Wait(ctx context.Context, revision uint64) error {
	return b.s.hub.Wait(ctx, store.Revision(revision))
}

func (b backend) DHCP(ctx context.Context, node string, after uint64) (dhcpapi.Config, error) {
	if node == "" {
		return dhcpapi.Config{}, fmt.Errorf("node: say which one: %w", admin.ErrBadInput)
	}
	return b.s.dhcp.Config(ctx, node, after)
}

var _ admin.Backend = backend{}
