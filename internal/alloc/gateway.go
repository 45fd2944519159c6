// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"time"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// A router's gateway is on one node: of those that map the external network's physical network, the candidates, the one with
// the highest hash of router and node (rendezvous hashing), so that routers spread evenly without anybody counting. A place is
// kept as long as its node is a candidate and not down: a node that joins moves nothing. A router without a candidate has no
// place, and is pending. A node that an administrator chose for a router comes first while it is a candidate and not down: the
// gateway leaves it when it fails and returns to it when it is back. A node that an administrator took a router from is no candidate
// until the router is on another, which must be up, or is given back.

// Down are nodes that cannot serve at present though their mappings say that they could. nil: none.
type Down = map[model.NodeID]bool

var (
	// nodesByPhysical finds the nodes that map a physical network.
	nodesByPhysical = store.DeclareIndex(tables.Schema, tables.Nodes, "physical-network", func(n model.Node) (names []string) {
		for name, bridge := range n.Mappings {
			if bridge != "" {
				names = append(names, name)
			}
		}
		return names
	})
	// gatewaysByPlace finds the gateways on a node for a physical network: place.
	gatewaysByPlace = store.DeclareIndex(tables.Schema, tables.Gateways, "place", func(g model.Gateway) []string {
		return []string{place(g.Node, g.Physical)}
	})
	// places are the nodes and physical networks that have gateways, under tables.All, as place.
	places = func() *store.Derived {
		d := store.DeclareDerived(tables.Schema, "gateway-places", func(r store.Reader, id string) []store.Member {
			g, ok := tables.Gateways.Get(r, model.RouterID(id))
			if !ok {
				return nil
			}
			return []store.Member{{Group: tables.All, Name: place(g.Node, g.Physical)}}
		})
		return store.From(d, tables.Gateways, func(_ store.Reader, g model.Gateway) []string { return []string{string(g.Router)} })
	}()
	// strayed are the routers whose gateway is on another node than the chosen one: by "@" and that node and the physical network as
	// place; and these places by tables.All.
	strayed = func() *store.Derived {
		d := store.DeclareDerived(tables.Schema, "strayed-gateways", func(r store.Reader, id string) []store.Member {
			router, _ := tables.Routers.Get(r, model.RouterID(id))
			g, placed := tables.Gateways.Get(r, router.ID)
			if !placed || router.GatewayNode == "" || router.GatewayNode == g.Node {
				return nil
			}
			wanted := place(router.GatewayNode, g.Physical)
			return []store.Member{{Group: tables.All, Name: wanted}, {Group: "@" + wanted, Name: id}}
		})
		store.From(d, tables.Routers, func(_ store.Reader, r model.Router) []string { return []string{string(r.ID)} })
		return store.From(d, tables.Gateways, func(_ store.Reader, g model.Gateway) []string { return []string{string(g.Router)} })
	}()
	// pending are the routers with a gateway that is on no node: by "@" and the node that it was taken from and the physical network
	// as place; and these places by tables.All.
	pending = func() *store.Derived {
		d := store.DeclareDerived(tables.Schema, "pending-gateways", func(r store.Reader, id string) []store.Member {
			if _, placed := tables.Gateways.Get(r, model.RouterID(id)); placed {
				return nil
			}
			router, _ := tables.Routers.Get(r, model.RouterID(id))
			physical := gatewayPhysical(r, &router)
			if physical == "" {
				return nil
			}
			wanted := place(router.GatewayRemoved, physical)
			return []store.Member{{Group: tables.All, Name: wanted}, {Group: "@" + wanted, Name: id}}
		})
		store.From(d, tables.Routers, func(_ store.Reader, r model.Router) []string { return []string{string(r.ID)} })
		store.From(d, tables.Ports, func(_ store.Reader, p model.Port) []string {
			if p.DeviceOwner != model.OwnerRouterGateway || p.Router == "" {
				return nil
			}
			return []string{string(p.Router)}
		})
		return store.From(d, tables.Gateways, func(_ store.Reader, g model.Gateway) []string { return []string{string(g.Router)} })
	}()
)

func place(n model.NodeID, physical string) string { return string(n) + "|" + physical }

// gatewayPhysical is the physical network of a router's external network; "": it has no gateway, or an external network of
// another kind, which no node reaches by a bridge.
func gatewayPhysical(r store.Reader, router *model.Router) string {
	p, ok := tables.Ports.Get(r, router.GatewayPort)
	if !ok || router.GatewayPort == "" {
		return ""
	}
	n, _ := tables.Networks.Get(r, p.Network)
	return n.PhysicalNetwork
}

// candidate chooses among the nodes that map a physical network: the chosen one if it is up, else the one with the highest hash of
// those that are up, else of those that are down; never the one that the router was removed from.
func candidate(r store.Reader, router model.RouterID, chosen, removed model.NodeID, physical string, down Down) (best model.NodeID, up, ok bool) {
	if chosen != "" && !down[chosen] && maps(r, chosen, physical) {
		return chosen, true, true
	}
	var highest [sha256.Size]byte
	for n := range nodesByPhysical.By(r, physical) {
		if n.ID == removed || up && down[n.ID] {
			continue
		}
		h := sha256.Sum256([]byte(string(router) + "|" + string(n.ID)))
		if better := !down[n.ID] && !up; better || !ok || bytes.Compare(h[:], highest[:]) > 0 {
			best, highest, ok, up = n.ID, h, true, !down[n.ID]
		}
	}
	return best, up, ok
}

// PlaceGateway puts a router's gateway on a node, or leaves it where it is if that node is still a candidate and not down, or no
// other is better. A router without a gateway port or without a candidate loses its place. Call it in the transaction that
// writes the router and its gateway port. It reports whether the place changed; the error is an *ExhaustedError if the node has
// no slot left.
func PlaceGateway(tx *store.Txn, id model.RouterID, down Down) (changed bool, err error) {
	router, _ := tables.Routers.Get(tx, id)
	physical := gatewayPhysical(tx, &router)
	if physical == "" {
		return DropGateway(tx, id), nil
	}
	best, up, ok := candidate(tx, id, router.GatewayNode, router.GatewayRemoved, physical, down)
	if !ok || router.GatewayRemoved != "" && !up {
		return DropGateway(tx, id), nil
	}
	old, had := tables.Gateways.Get(tx, id)
	calls := best == router.GatewayNode && up && old.Node != best
	if had && !calls && old.Node != router.GatewayRemoved && stays(tx, &old, physical, down, up) {
		return false, nil
	}
	if had && old.Node == best { // the external network is another: the connections are of the old one
		freeRouterSlot(tx, old.Node, id)
	}
	if err := newSlot(tx, model.Slot{Node: best, Router: id}); err != nil {
		return false, err
	}
	if had && old.Node != best {
		freeRouterSlot(tx, old.Node, id)
	}
	tables.Gateways.Put(tx, id, model.Gateway{Router: id, Node: best, Physical: physical, Since: time.Now().UTC()})
	if router.GatewayRemoved != "" {
		router.GatewayRemoved = ""
		tables.Routers.Put(tx, id, router)
	}
	return true, nil
}

// stays reports whether a place is kept: it is for the same physical network, its node maps that, and is up or no other is.
func stays(r store.Reader, g *model.Gateway, physical string, down Down, otherUp bool) bool {
	return g.Physical == physical && maps(r, g.Node, physical) && (!down[g.Node] || !otherUp)
}

func maps(r store.Reader, node model.NodeID, physical string) bool {
	n, _ := tables.Nodes.Get(r, node)
	return n.Mappings[physical] != ""
}

// DropGateway takes a router's gateway off its node. It reports whether it was on one.
func DropGateway(tx *store.Txn, id model.RouterID) bool {
	g, ok := tables.Gateways.Get(tx, id)
	if !ok {
		return false
	}
	freeRouterSlot(tx, g.Node, id)
	tables.Gateways.Delete(tx, id)
	return true
}

func freeRouterSlot(tx *store.Txn, node model.NodeID, id model.RouterID) {
	if s, ok := tables.SlotsByRouter.First(tx, tables.RouterSlotKey(node, id)); ok {
		dirtySlot(tx, s)
	}
}

// Misplaced are the routers whose gateway is on a node that is gone, no longer maps their physical network, or is down while
// another is not; those that are elsewhere though their chosen node could take them; and those that are pending though there is a
// candidate. Without any it costs a look-up per node and physical network that has gateways, or is chosen for some that it has not.
func Misplaced(r store.Reader, down Down) (ids []model.RouterID) {
	for at := range places.Members(r, tables.All) {
		g, ok := gatewaysByPlace.First(r, at)
		if !ok {
			continue
		}
		if _, up, _ := candidate(r, g.Router, "", "", g.Physical, down); stays(r, &g, g.Physical, down, up) {
			continue
		}
		for g := range gatewaysByPlace.By(r, at) {
			ids = append(ids, g.Router)
		}
	}
	for wanted := range strayed.Members(r, tables.All) {
		node, physical, _ := strings.Cut(wanted, "|")
		if down[model.NodeID(node)] || !maps(r, model.NodeID(node), physical) {
			continue
		}
		for id := range strayed.Members(r, "@"+wanted) {
			ids = append(ids, model.RouterID(id))
		}
	}
	for wanted := range pending.Members(r, tables.All) {
		removed, physical, _ := strings.Cut(wanted, "|")
		if _, up, ok := candidate(r, "", "", model.NodeID(removed), physical, down); !ok || removed != "" && !up {
			continue
		}
		for id := range pending.Members(r, "@"+wanted) {
			ids = append(ids, model.RouterID(id))
		}
	}
	return ids
}

// PlaceGateways places the gateways of Misplaced and gives the number of places that changed.
func PlaceGateways(tx *store.Txn, down Down) (moved int, err error) {
	for _, id := range Misplaced(tx, down) {
		changed, err := PlaceGateway(tx, id, down)
		if err != nil {
			return moved, err
		}
		if changed {
			moved++
		}
	}
	return moved, nil
}
