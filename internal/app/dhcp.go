// SPDX-License-Identifier: Apache-2.0

package app

import (
	"cmp"
	"context"
	"reflect"
	"slices"
	"strings"
	"sync"

	"nagare/internal/model"
	"nagare/internal/nodedhcp/dhcpapi"
	"nagare/internal/punt"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// dhcpFeed keeps the DHCP configuration of each node that asks for one, up to date by what it read.
type dhcpFeed struct {
	st     *store.Store
	domain string // of networks that name none

	mu    sync.Mutex
	nodes map[string]*nodeDHCP
	moved chan struct{}
}

type nodeDHCP struct {
	cfg      dhcpapi.Config
	reads    map[store.Dep]struct{}
	networks map[model.NetworkID]struct{} // that it serves
	seq      uint64                       // of the state it was computed from
}

func newDHCPFeed(st *store.Store, domain string) *dhcpFeed {
	return &dhcpFeed{st: st, domain: domain, nodes: map[string]*nodeDHCP{}, moved: make(chan struct{})}
}

// run recomputes what a change touches.
func (f *dhcpFeed) run(ctx context.Context) error {
	w := f.st.Watch()
	defer w.Close()
	for {
		snap, ch, err := w.Next(ctx)
		if err != nil {
			return nil
		}
		f.mu.Lock()
		moved := false
		for name, n := range f.nodes {
			if n.seq < snap.Seq() && (touched(ch, n.reads) || n.retold(ch)) {
				moved = f.compute(name, n, snap) || moved
			}
		}
		if moved {
			close(f.moved)
			f.moved = make(chan struct{})
		}
		f.mu.Unlock()
	}
}

func touched(ch *store.Changes, reads map[store.Dep]struct{}) bool {
	if ch.All {
		return true
	}
	for d := range ch.Deps {
		if _, ok := reads[d]; ok {
			return true
		}
	}
	return false
}

// retold reports whether the node's clients are to be told something else that no flow depends on, and that therefore is no
// part of what a change is said to have touched: a port's name and options, a network's domain.
func (n *nodeDHCP) retold(ch *store.Changes) bool {
	for _, r := range ch.Records {
		var network model.NetworkID
		switch was := r.Before.(type) {
		case model.Port:
			if is, ok := r.After.(model.Port); ok && (was.DNSName != is.DNSName || !slices.Equal(was.DHCPOpts, is.DHCPOpts)) {
				network = is.Network
			}
		case model.Network:
			if is, ok := r.After.(model.Network); ok && was.DNSDomain != is.DNSDomain {
				network = is.ID
			}
		}
		if _, ok := n.networks[network]; ok {
			return true
		}
	}
	return false
}

// compute reports whether the configuration changed. f.mu is held.
func (f *dhcpFeed) compute(name string, n *nodeDHCP, snap *store.Snapshot) bool {
	r := snap.Track()
	ports := dhcpPorts(r, name, f.domain)
	n.reads, n.networks, n.seq = map[store.Dep]struct{}{}, map[model.NetworkID]struct{}{}, snap.Seq()
	for i := range ports {
		n.networks[model.NetworkID(ports[i].NetworkID)] = struct{}{}
	}
	r.Reads(func(d store.Dep) { n.reads[d] = struct{}{} })
	if n.cfg.Revision != 0 && reflect.DeepEqual(ports, n.cfg.Ports) {
		return false
	}
	n.cfg = dhcpapi.Config{Revision: uint64(snap.Revision()), Ports: ports}
	return true
}

// Config returns the node's configuration once it is newer than after, or as it is when ctx ends.
func (f *dhcpFeed) Config(ctx context.Context, node string, after uint64) (dhcpapi.Config, error) {
	for {
		f.mu.Lock()
		n := f.nodes[node]
		if n == nil {
			n = &nodeDHCP{}
			f.compute(node, n, f.st.Snapshot())
			f.nodes[node] = n
		}
		cfg, moved := n.cfg, f.moved
		f.mu.Unlock()
		if cfg.Revision > after {
			return cfg, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return cfg, nil
		}
	}
}

// dhcpPorts is what the DHCP process of a node serves.
func dhcpPorts(r store.Reader, node, domain string) []dhcpapi.Port {
	out := []dhcpapi.Port{}
	for id := range tables.DHCPTaps.Members(r, node) {
		p, ok := tables.Ports.Get(r, model.PortID(id))
		if !ok {
			continue
		}
		net, ok := tables.Networks.Get(r, p.Network)
		if !ok {
			continue
		}
		port := dhcpapi.Port{PortID: id, NetworkID: string(p.Network), Tap: p.ID.TapName(), MAC: p.MAC.String(), MTU: net.MTU,
			Domain: punt.Domain(&net, domain)}
		served := map[model.SubnetID]bool{}
		for _, f := range p.FixedIPs {
			s, ok := tables.Subnets.Get(r, f.Subnet)
			if !ok || !s.EnableDHCP || !f.Addr.Is4() {
				continue
			}
			served[s.ID] = true
			a := dhcpapi.Address{IP: f.Addr, SubnetID: string(s.ID), CIDR: s.CIDR, Gateway: s.Gateway, DNS: s.DNSNameservers, LeaseSeconds: punt.LeaseSeconds}
			for _, rt := range s.HostRoutes {
				a.Routes = append(a.Routes, dhcpapi.Route{Destination: rt.Destination, NextHop: rt.NextHop})
			}
			port.Addresses = append(port.Addresses, a)
		}
		for q := range tables.PortsByNetwork.By(r, string(p.Network)) {
			if q.ID == p.ID {
				continue
			}
			extras, _ := punt.Extras(&q)
			var options []dhcpapi.Option
			for _, o := range extras {
				options = append(options, dhcpapi.Option(o))
			}
			for _, f := range q.FixedIPs {
				if served[f.Subnet] {
					port.Hosts = append(port.Hosts, dhcpapi.Host{MAC: q.MAC.String(), IP: f.Addr, Hostname: punt.HostName(&q, f.Addr), Options: options})
				}
			}
		}
		slices.SortFunc(port.Hosts, func(a, b dhcpapi.Host) int {
			return cmp.Or(strings.Compare(a.MAC, b.MAC), a.IP.Compare(b.IP))
		})
		out = append(out, port)
	}
	return out
}
