// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"net/netip"
	"slices"
	"strings"

	"nagare/internal/model"
	"nagare/internal/store"
)

// Routers and floating IPs.
var (
	Routers = store.Declare[model.RouterID, model.Router](Schema, "routers", store.Intent).
		Plane(func(r model.Router) any { return r.RouterPlane })
	FloatingIPs = store.Declare[model.FloatingIPID, model.FloatingIP](Schema, "floating-ips", store.Intent).
			Plane(func(f model.FloatingIP) any { return f.FloatingIPPlane })
	// Gateways are routers' places on nodes; only internal/alloc writes them.
	Gateways = store.Declare[model.RouterID, model.Gateway](Schema, "gateways", store.Allocated).
			Plane(func(g model.Gateway) any { return [2]string{string(g.Node), g.Physical} })
	// Neighbours are next hops on external networks; key model.NeighbourKey.
	Neighbours = store.Declare[string, model.Neighbour](Schema, "neighbours", store.Observed).
			Plane(func(n model.Neighbour) any { return n.MAC })
)

// Indices of routers and floating IPs.
var (
	RoutersByProject = store.DeclareIndex(Schema, Routers, "project", func(r model.Router) []string { return []string{string(r.Project)} })
	RoutersByName    = store.DeclareIndex(Schema, Routers, "name", func(r model.Router) []string { return []string{r.Name} })
	// RouterPorts finds a router's ports, interfaces and gateway.
	RouterPorts = store.DeclareIndex(Schema, Ports, "router", func(p model.Port) []string {
		if p.Router == "" {
			return nil
		}
		return []string{string(p.Router)}
	})
	// RouterPortsByNetwork finds the ports that routers have on a network.
	RouterPortsByNetwork = store.DeclareIndex(Schema, Ports, "router-network", func(p model.Port) []string {
		if p.Router == "" {
			return nil
		}
		return []string{string(p.Network)}
	})
	FloatingIPsByProject = store.DeclareIndex(Schema, FloatingIPs, "project", func(f model.FloatingIP) []string { return []string{string(f.Project)} })
	FloatingIPsByNetwork = store.DeclareIndex(Schema, FloatingIPs, "network", func(f model.FloatingIP) []string { return []string{string(f.Network)} })
	// FloatingIPsByAddress finds the floating IP with an address: AddressKey.
	FloatingIPsByAddress = store.DeclareIndex(Schema, FloatingIPs, "address", func(f model.FloatingIP) []string { return []string{AddressKey(f.Network, f.Addr)} })
	FloatingIPsByPort    = store.DeclareIndex(Schema, FloatingIPs, "port", func(f model.FloatingIP) []string { return some(string(f.Port)) })
	FloatingIPsByRouter  = store.DeclareIndex(Schema, FloatingIPs, "router", func(f model.FloatingIP) []string { return some(string(f.Router)) })
)

func some(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// Derived tables over what nodes need of routers. The subject is a located port, or gatewaySubject of a router, or a floating
// IP's id for what serves it.
var (
	// NodeRouters: node -> routers with an interface on a network of its ports, those whose gateway it is, and those that routes of
	// any of these lead to.
	NodeRouters = reaching("node-routers", func(node model.NodeID, router model.RouterID, _ []model.NetworkID) []store.Member {
		return []store.Member{{Group: string(node), Name: string(router)}}
	})
	// NodeReach: node -> networks that its ports reach through routers, their own among them, and those that routers whose
	// gateway it is reach. External networks are not among them.
	NodeReach = reaching("node-reach", func(node model.NodeID, _ model.RouterID, nets []model.NetworkID) (ms []store.Member) {
		for _, n := range nets {
			ms = append(ms, store.Member{Group: string(node), Name: string(n)})
		}
		return ms
	})
	// NetworkReachers: network -> NetNode of the network and each node that reaches it through a router.
	NetworkReachers = reaching("network-reachers", func(node model.NodeID, _ model.RouterID, nets []model.NetworkID) (ms []store.Member) {
		for _, n := range nets {
			ms = append(ms, store.Member{Group: string(n), Name: NetNode(n, node)})
		}
		return ms
	})
	// NodeFloating: node -> floating IPs that it serves: see Serving.
	NodeFloating = serving("node-floating", func(node model.NodeID, f *model.FloatingIP) store.Member {
		return store.Member{Group: string(node), Name: string(f.ID)}
	})
	// NodeExternals: node -> external networks on which it speaks, for floating IPs or as a router's gateway.
	NodeExternals = func() *store.Derived {
		d := serving("node-externals", func(node model.NodeID, f *model.FloatingIP) store.Member {
			return store.Member{Group: string(node), Name: string(f.Network)}
		})
		store.From(d, Ports, func(_ store.Reader, p model.Port) []string {
			if p.DeviceOwner != model.OwnerRouterGateway {
				return nil
			}
			return []string{gatewaySubject(p.Router)}
		})
		store.From(d, Routers, func(_ store.Reader, r model.Router) []string { return []string{gatewaySubject(r.ID)} })
		return store.From(d, Gateways, func(_ store.Reader, g model.Gateway) []string { return []string{gatewaySubject(g.Router)} })
	}()
	// NetworkNeighbours: external network -> model.NeighbourKey of its known next hops.
	NetworkNeighbours = func() *store.Derived {
		d := store.DeclareDerived(Schema, "network-neighbours", func(r store.Reader, key string) []store.Member {
			n, ok := Neighbours.Get(r, key)
			if !ok {
				return nil
			}
			return []store.Member{{Group: string(n.Network), Name: key}}
		})
		return store.From(d, Neighbours, func(_ store.Reader, n model.Neighbour) []string {
			return []string{model.NeighbourKey(n.Network, n.Addr)}
		})
	}()
	// NodeGateways: node -> routers whose gateway it is; the subject is a router.
	NodeGateways = func() *store.Derived {
		d := store.DeclareDerived(Schema, "node-gateways", func(r store.Reader, router string) []store.Member {
			g, ok := Gateways.Get(r, model.RouterID(router))
			if !ok {
				return nil
			}
			return []store.Member{{Group: string(g.Node), Name: router}}
		})
		return store.From(d, Gateways, func(_ store.Reader, g model.Gateway) []string { return []string{string(g.Router)} })
	}()
)

// gatewaySubject is the subject of what a router's gateway node needs.
func gatewaySubject(id model.RouterID) string { return "gateway|" + string(id) }

// RouterNetworks are the tenants' networks that a router joins, in order, each once.
func RouterNetworks(r store.Reader, id model.RouterID) []model.NetworkID {
	var out []model.NetworkID
	for p := range RouterPorts.By(r, string(id)) {
		if p.IsRouterInterface() && !slices.Contains(out, p.Network) {
			out = append(out, p.Network)
		}
	}
	slices.Sort(out)
	return out
}

// reaching declares a derived table over (node, router, networks of the router), of routers that a node's packets come to: those of its
// ports' networks, those whose gateway it is, and those that the routes of any of these lead to. A route to another router costs
// each port before it the walk to what is behind it; a change of one costs that of the ports from which packets come to it.
func reaching(name string, emit func(model.NodeID, model.RouterID, []model.NetworkID) []store.Member) *store.Derived {
	from := func(r store.Reader, node model.NodeID, starts []model.RouterID) (ms []store.Member) {
		for _, id := range RoutersFrom(r, starts...) {
			ms = append(ms, emit(node, id, RouterNetworks(r, id))...)
		}
		return ms
	}
	d := store.DeclareDerived(Schema, name, func(r store.Reader, subject string) (ms []store.Member) {
		if router, ok := strings.CutPrefix(subject, gatewaySubject("")); ok {
			g, ok := Gateways.Get(r, model.RouterID(router))
			if !ok {
				return nil
			}
			return from(r, g.Node, []model.RouterID{g.Router})
		}
		return places(r, model.PortID(subject), func(r store.Reader, p *model.Port) []store.Member {
			var starts []model.RouterID
			for rp := range RouterPortsByNetwork.By(r, string(p.Network)) {
				if rp.IsRouterInterface() {
					starts = append(starts, rp.Router)
				}
			}
			return from(r, p.Host, starts)
		})
	})
	// What changes of a router concerns all from which packets come to it.
	concerned := func(r store.Reader, id model.RouterID, nets []model.NetworkID) (ids []string) {
		for _, up := range routersTo(r, id) {
			ids = append(ids, gatewaySubject(up))
			nets = append(nets, RouterNetworks(r, up)...)
		}
		slices.Sort(nets)
		for _, n := range slices.Compact(nets) {
			for q := range PortsByNetwork.By(r, string(n)) {
				ids = append(ids, string(q.ID))
			}
		}
		return ids
	}
	store.From(d, Ports, func(r store.Reader, p model.Port) []string {
		if !p.IsRouterInterface() || p.Router == "" {
			return []string{string(p.ID)}
		}
		return concerned(r, p.Router, []model.NetworkID{p.Network})
	})
	store.From(d, Routers, func(r store.Reader, rt model.Router) []string {
		if len(nextRouters(r, rt.ID)) == 0 { // most routes lead to no router
			return nil
		}
		return concerned(r, rt.ID, nil)
	})
	store.From(d, Plugs, carriedBy)
	return store.From(d, Gateways, func(_ store.Reader, g model.Gateway) []string { return []string{gatewaySubject(g.Router)} })
}

// Serving says which node serves a floating IP: the node of its port if it has one and that reaches the external network itself,
// else the gateway node of its router; ok is false while none can.
func Serving(r store.Reader, f *model.FloatingIP) (model.NodeID, bool) {
	if f.Router == "" {
		return "", false
	}
	net, ok := Networks.Get(r, f.Network)
	if !ok {
		return "", false
	}
	if p, ok := Located(r, f.Port); ok && Maps(r, p.Host, &net) {
		return p.Host, true
	}
	g, ok := Gateways.Get(r, f.Router)
	return g.Node, ok
}

// Maps reports whether a node reaches a physical network by a bridge of its own.
func Maps(r store.Reader, node model.NodeID, n *model.Network) bool {
	if n.PhysicalNetwork == "" {
		return false
	}
	host, _ := Nodes.Get(r, node)
	return host.Mappings[n.PhysicalNetwork] != ""
}

// serving declares a derived table over floating IPs and the nodes that serve them.
func serving(name string, emit func(model.NodeID, *model.FloatingIP) store.Member) *store.Derived {
	d := store.DeclareDerived(Schema, name, func(r store.Reader, subject string) []store.Member {
		if router, ok := strings.CutPrefix(subject, gatewaySubject("")); ok { // of node-externals only
			g, ok := Gateways.Get(r, model.RouterID(router))
			rt, _ := Routers.Get(r, g.Router)
			p, there := Ports.Get(r, rt.GatewayPort)
			if !ok || !there {
				return nil
			}
			return []store.Member{emit(g.Node, &model.FloatingIP{FloatingIPPlane: model.FloatingIPPlane{Network: p.Network}})}
		}
		f, ok := FloatingIPs.Get(r, model.FloatingIPID(subject))
		if !ok {
			return nil
		}
		node, ok := Serving(r, &f)
		if !ok {
			return nil
		}
		return []store.Member{emit(node, &f)}
	})
	ofPort := func(r store.Reader, ids []string, p model.PortID) []string {
		for f := range FloatingIPsByPort.By(r, string(p)) {
			ids = append(ids, string(f.ID))
		}
		return ids
	}
	store.From(d, FloatingIPs, func(_ store.Reader, f model.FloatingIP) []string { return []string{string(f.ID)} })
	store.From(d, Ports, func(r store.Reader, p model.Port) []string { return ofPort(r, nil, p.ID) })
	store.From(d, Plugs, func(r store.Reader, p model.Plug) (ids []string) {
		for _, port := range carriedBy(r, p) {
			ids = ofPort(r, ids, model.PortID(port))
		}
		return ids
	})
	store.From(d, Networks, func(r store.Reader, n model.Network) (ids []string) {
		for f := range FloatingIPsByNetwork.By(r, string(n.ID)) {
			ids = append(ids, string(f.ID))
		}
		return ids
	})
	store.From(d, Nodes, func(r store.Reader, n model.Node) (ids []string) {
		for p := range PortsByHost.By(r, string(n.ID)) {
			ids = ofPort(r, ids, p.ID)
		}
		return ids
	})
	return store.From(d, Gateways, func(r store.Reader, g model.Gateway) (ids []string) {
		for f := range FloatingIPsByRouter.By(r, string(g.Router)) {
			ids = append(ids, string(f.ID))
		}
		return ids
	})
}

// OnLink reports whether an address is on one of a network's subnets.
func OnLink(r store.Reader, n model.NetworkID, a netip.Addr) bool {
	for s := range SubnetsByNetwork.By(r, string(n)) {
		if s.CIDR.Contains(a) {
			return true
		}
	}
	return false
}
