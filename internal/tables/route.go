// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"net/netip"
	"slices"

	"nagare/internal/model"
	"nagare/internal/store"
)

// RoutersFrom are routers and those that their extra routes lead to, directly or through others, each once and in the order of
// discovery. It ends where routes go in circles; it costs a look-up for each next hop and network of each router that it finds.
func RoutersFrom(r store.Reader, starts ...model.RouterID) []model.RouterID {
	return closure(starts, func(id model.RouterID) []model.RouterID { return nextRouters(r, id) })
}

// routersTo are a router and those whose extra routes lead to it, the reverse of RoutersFrom.
func routersTo(r store.Reader, id model.RouterID) []model.RouterID {
	return closure([]model.RouterID{id}, func(id model.RouterID) (out []model.RouterID) {
		for p := range RouterPorts.By(r, string(id)) {
			out = append(out, RoutersBy(r, &p)...)
		}
		return out
	})
}

// closure are the starts and all that next leads to from them.
func closure(starts []model.RouterID, next func(model.RouterID) []model.RouterID) []model.RouterID {
	var out []model.RouterID
	seen := map[model.RouterID]bool{}
	for todo := starts; len(todo) > 0; todo = todo[1:] {
		if id := todo[0]; !seen[id] {
			seen[id] = true
			out = append(out, id)
			todo = append(slices.Clip(todo), next(id)...)
		}
	}
	return out
}

// nextRouters are the routers that a router's extra routes lead to at once.
func nextRouters(r store.Reader, id model.RouterID) (out []model.RouterID) {
	rt, ok := Routers.Get(r, id)
	if !ok || len(rt.Routes) == 0 {
		return nil
	}
	nets, tried := RouterNetworks(r, id), map[netip.Addr]bool{}
	for _, route := range rt.Routes {
		if tried[route.NextHop] {
			continue
		}
		tried[route.NextHop] = true
		for _, n := range nets {
			for p := range PortsByAddress.By(r, AddressKey(n, route.NextHop)) {
				if p.IsRouterInterface() && p.Router != id {
					out = append(out, p.Router)
				}
			}
		}
	}
	return out
}

// RoutersBy are the routers with an extra route whose next hop is an interface of another router. It looks at the routers of the
// interface's network.
func RoutersBy(r store.Reader, p *model.Port) (out []model.RouterID) {
	if !p.IsRouterInterface() {
		return nil
	}
	for q := range RouterPortsByNetwork.By(r, string(p.Network)) {
		if !q.IsRouterInterface() || q.Router == p.Router || slices.Contains(out, q.Router) {
			continue
		}
		rt, _ := Routers.Get(r, q.Router)
		if slices.ContainsFunc(rt.Routes, func(route model.Route) bool {
			return slices.ContainsFunc(p.FixedIPs, func(f model.FixedIP) bool { return f.Addr == route.NextHop })
		}) {
			out = append(out, q.Router)
		}
	}
	return out
}
