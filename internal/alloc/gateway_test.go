// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"errors"
	"fmt"
	"testing"

	"nagare/internal/model"
	"nagare/internal/repro"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// gateways is a store with an external network on each of "phys1" and "phys2".
type gateways struct {
	t    *testing.T
	st   *store.Store
	down Down
}

func newGateways(t *testing.T) *gateways {
	g := &gateways{t: t, st: store.New(tables.Schema, nil)}
	g.commit(func(tx *store.Txn) {
		for _, n := range []string{"phys1", "phys2"} {
			tables.Networks.Put(tx, model.NetworkID(n), model.Network{ID: model.NetworkID(n),
				NetworkPlane: model.NetworkPlane{Type: model.Flat, PhysicalNetwork: n, External: true}})
		}
		tables.Networks.Put(tx, "overlay", model.Network{ID: "overlay", NetworkPlane: model.NetworkPlane{Type: model.VXLAN, External: true}})
	})
	return g
}

func (g *gateways) commit(f func(*store.Txn)) {
	g.t.Helper()
	commit(g.t, g.st, f)
}

func (g *gateways) node(id model.NodeID, physical ...string) {
	g.t.Helper()
	n := model.Node{ID: id, NodePlane: model.NodePlane{Mappings: map[string]string{}}}
	for _, p := range physical {
		n.Mappings[p] = "br-" + p
	}
	g.commit(func(tx *store.Txn) { tables.Nodes.Put(tx, id, n) })
}

func (g *gateways) forget(id model.NodeID) {
	g.commit(func(tx *store.Txn) { tables.Nodes.Delete(tx, id) })
}

// router gives a router a gateway on a network ("": none) and places it.
func (g *gateways) router(id model.RouterID, network model.NetworkID) {
	g.t.Helper()
	g.commit(func(tx *store.Txn) {
		r, _ := tables.Routers.Get(tx, id)
		r.ID, r.GatewayPort = id, ""
		DeletePort(tx, model.PortID("gw-"+id))
		if network != "" {
			r.GatewayPort = model.PortID("gw-" + id)
			p := model.Port{ID: r.GatewayPort, DeviceID: string(id), PortPlane: model.PortPlane{Network: network, DeviceOwner: model.OwnerRouterGateway}}
			if err := PutPort(tx, p); err != nil {
				g.t.Fatal(err)
			}
		}
		tables.Routers.Put(tx, id, r)
		if _, err := PlaceGateway(tx, id, g.down); err != nil {
			g.t.Fatal(err)
		}
	})
}

// choose makes an administrator's choice of a node ("": none) and places the router.
func (g *gateways) choose(id model.RouterID, node model.NodeID) {
	g.t.Helper()
	g.commit(func(tx *store.Txn) {
		r, _ := tables.Routers.Get(tx, id)
		r.GatewayNode, r.GatewayRemoved = node, ""
		tables.Routers.Put(tx, id, r)
		if _, err := PlaceGateway(tx, id, g.down); err != nil {
			g.t.Fatal(err)
		}
	})
}

// remove takes a router's gateway from its node.
func (g *gateways) remove(id model.RouterID) {
	g.t.Helper()
	at := g.at(id)
	g.commit(func(tx *store.Txn) {
		r, _ := tables.Routers.Get(tx, id)
		r.GatewayNode, r.GatewayRemoved = "", at
		tables.Routers.Put(tx, id, r)
		if _, err := PlaceGateway(tx, id, g.down); err != nil {
			g.t.Fatal(err)
		}
	})
	if now := g.at(id); at != "" && now == at {
		g.t.Fatalf("router %s is still on %s", id, at)
	}
}

// settle places what is misplaced and gives the number of moves.
func (g *gateways) settle() (moved int) {
	g.t.Helper()
	g.commit(func(tx *store.Txn) {
		var err error
		if moved, err = PlaceGateways(tx, g.down); err != nil {
			g.t.Fatal(err)
		}
	})
	if left := Misplaced(g.st.Snapshot(), g.down); len(left) > 0 {
		g.t.Errorf("misplaced after placing: %v", left)
	}
	g.check()
	return moved
}

// check holds places and slots to each other: a used slot per place, and no other of a router.
func (g *gateways) check() {
	g.t.Helper()
	r := g.st.Snapshot()
	used := 0
	for _, s := range tables.Slots.All(r) {
		if s.Router != "" && s.Used() {
			used++
		}
	}
	for id, gw := range tables.Gateways.All(r) {
		if s, ok := tables.SlotsByRouter.First(r, tables.RouterSlotKey(gw.Node, id)); !ok || s.Node != gw.Node {
			g.t.Errorf("router %s on %s: slot %+v, %v", id, gw.Node, s, ok)
		}
		if !maps(r, gw.Node, gw.Physical) {
			g.t.Errorf("router %s on %s, which does not map %s", id, gw.Node, gw.Physical)
		}
	}
	if n := tables.Gateways.Len(r); n != used {
		g.t.Errorf("%d places, %d slots of routers in use", n, used)
	}
}

func (g *gateways) at(id model.RouterID) model.NodeID {
	gw, _ := tables.Gateways.Get(g.st.Snapshot(), id)
	return gw.Node
}

func (g *gateways) spread() map[model.NodeID]int {
	out := map[model.NodeID]int{}
	for _, gw := range tables.Gateways.All(g.st.Snapshot()) {
		out[gw.Node]++
	}
	return out
}

func TestGatewayPlaces(t *testing.T) {
	g := newGateways(t)
	g.node("a")
	g.router("r", "phys1")
	g.router("over", "overlay")
	g.router("inside", "")
	if n := tables.Gateways.Len(g.st.Snapshot()); n != 0 {
		t.Fatalf("%d places without a candidate", n)
	}
	if moved := g.settle(); moved != 0 {
		t.Errorf("%d moves without a candidate", moved)
	}
	g.node("b", "phys1")
	g.node("c", "phys2")
	if moved := g.settle(); moved != 1 || g.at("r") != "b" {
		t.Errorf("a candidate came: %d moves, to %q", moved, g.at("r"))
	}
	first, _ := tables.SlotsByRouter.First(g.st.Snapshot(), tables.RouterSlotKey("b", "r"))
	if first.Port != "" || first.Zone() == first.NATZone() || first.Number == 0 {
		t.Errorf("slot %+v", first)
	}
	g.router("r", "phys2")
	if g.at("r") != "c" {
		t.Errorf("another external network: on %q, want c", g.at("r"))
	}
	if s, ok := tables.DirtySlots.First(g.st.Snapshot(), "b"); !ok || s.Number != first.Number || s.Router != "r" {
		t.Errorf("the place that was left: %+v, %v", s, ok)
	}
	g.check()
	g.node("c") // loses its mapping, and there is no other
	if moved := g.settle(); moved != 1 || g.at("r") != "" {
		t.Errorf("the last candidate went: %d moves, on %q", moved, g.at("r"))
	}
	g.node("c", "phys2")
	g.settle()
	g.forget("c")
	if moved := g.settle(); moved != 1 || g.at("r") != "" {
		t.Errorf("its node was forgotten: %d moves, on %q", moved, g.at("r"))
	}
	g.node("c", "phys2")
	g.settle()
	g.router("r", "")
	if g.at("r") != "" {
		t.Errorf("without a gateway it is on %q", g.at("r"))
	}
	g.check()
}

// TestGatewaysStay counts moves: a node that joins causes none, one that goes only those of its own routers.
func TestGatewaysStay(t *testing.T) {
	const routers = 600
	g := newGateways(t)
	g.node("n1", "phys1")
	g.node("n2", "phys1")
	g.node("n3", "phys1")
	for i := range routers {
		g.router(model.RouterID(fmt.Sprint("r", i)), "phys1")
	}
	for n, c := range g.spread() {
		if c < routers/3-60 || c > routers/3+60 {
			t.Errorf("%s has %d of %d routers", n, c, routers)
		}
	}
	g.node("n4", "phys1")
	if moved := g.settle(); moved != 0 {
		t.Errorf("a node joined: %d routers moved", moved)
	}
	for i := range routers {
		g.router(model.RouterID(fmt.Sprint("s", i)), "phys1")
	}
	if c := g.spread()["n4"]; c < routers/4-60 || c > routers/4+60 {
		t.Errorf("of %d routers that came later the new node has %d, want about a quarter", routers, c)
	}
	before, lost := g.spread(), g.spread()["n2"]
	g.forget("n2")
	if moved := g.settle(); moved != lost {
		t.Errorf("a node with %d routers went: %d moved", lost, moved)
	}
	for n, c := range g.spread() {
		if c < before[n] {
			t.Errorf("%s had %d routers and has %d", n, before[n], c)
		}
	}
	lost = g.spread()["n1"]
	g.down = Down{"n1": true}
	if moved := g.settle(); moved != lost || g.spread()["n1"] != 0 {
		t.Errorf("a node with %d routers is down: %d moved", lost, moved)
	}
	g.down = Down{"n3": true, "n4": true, "n1": true}
	if moved := g.settle(); moved != 0 {
		t.Errorf("all are down: %d moved for nothing", moved)
	}
	g.router("late", "phys1")
	g.down = Down{"n3": true, "n4": true}
	if moved := g.settle(); moved != 2*routers+1-g.spread()["n1"] && g.spread()["n1"] != 2*routers+1 {
		t.Errorf("one is back: %d moved, spread %v", moved, g.spread())
	}
}

// TestGatewayHistories: after any history everyone who can be placed is, on an up node if there is one, and what PlaceGateway
// did at each step leaves nothing that PlaceGateways would find but for what nodes did.
func TestGatewayHistories(t *testing.T) {
	for seed := range uint64(8) {
		rnd := repro.Rand(seed, 7)
		g := newGateways(t)
		nodes := []model.NodeID{"a", "b", "c", "d"}
		for range 150 {
			n := nodes[rnd.IntN(len(nodes))]
			switch rnd.IntN(6) {
			case 0:
				g.node(n, [][]string{{}, {"phys1"}, {"phys2"}, {"phys1", "phys2"}}[rnd.IntN(4)]...)
			case 1:
				g.forget(n)
			case 2:
				g.down = Down{n: true, nodes[rnd.IntN(len(nodes))]: rnd.IntN(2) == 0}
			case 3:
				if id := model.RouterID(fmt.Sprint("r", rnd.IntN(12))); g.knows(id) {
					if rnd.IntN(3) == 0 {
						g.remove(id)
					} else {
						g.choose(id, append(nodes, "")[rnd.IntN(5)])
					}
				}
				continue
			default:
				g.router(model.RouterID(fmt.Sprint("r", rnd.IntN(12))), []model.NetworkID{"", "phys1", "phys2", "overlay"}[rnd.IntN(4)])
				continue
			}
			g.settle()
			r := g.st.Snapshot()
			for id, router := range tables.Routers.All(r) {
				physical := gatewayPhysical(r, &router)
				at, placed := tables.Gateways.Get(r, id)
				_, up, any := candidate(r, id, router.GatewayNode, router.GatewayRemoved, physical, g.down)
				if placed != (physical != "" && any && (up || router.GatewayRemoved == "")) || placed && (at.Physical != physical || up && g.down[at.Node]) {
					t.Fatalf("seed %d: router %s (%+v) with gateway on %q is at %+v (%v); a candidate %v, one up %v, down %v", seed, id, router.RouterPlane, physical, at, placed, any, up, g.down)
				}
				if c := router.GatewayNode; placed && c != "" && !g.down[c] && maps(r, c, physical) && at.Node != c {
					t.Fatalf("seed %d: router %s is on %s, and %s, which was chosen, could have it", seed, id, at.Node, c)
				}
			}
		}
	}
}

func (g *gateways) knows(id model.RouterID) bool {
	_, ok := tables.Routers.Get(g.st.Snapshot(), id)
	return ok
}

// TestGatewayChosen: a chosen node has the gateway whenever it can, and what is chosen for one router moves no other.
func TestGatewayChosen(t *testing.T) {
	g := newGateways(t)
	for _, n := range []model.NodeID{"a", "b", "c"} {
		g.node(n, "phys1")
	}
	g.node("d", "phys2")
	for i := range 6 {
		g.router(model.RouterID(fmt.Sprint("r", i)), "phys1")
	}
	want := func(why string, node model.NodeID, moves int) {
		t.Helper()
		if moved := g.settle(); moved != moves || g.at("r0") != node {
			t.Errorf("%s: %d moves, r0 on %q; want %d and %q", why, moved, g.at("r0"), moves, node)
		}
	}
	others := func() (at []model.NodeID) {
		for i := 1; i < 6; i++ {
			at = append(at, g.at(model.RouterID(fmt.Sprint("r", i))))
		}
		return at
	}
	before := others()
	for _, n := range []model.NodeID{"a", "b", "c"} {
		g.choose("r0", n)
		want("chosen", n, 0)
	}
	g.choose("r0", "d")
	want("a node that does not map the network is chosen", "c", 0)
	g.choose("r0", "b")
	g.router("r0", "phys1")
	want("its gateway was set anew", "b", 0)
	g.router("r0", "phys2")
	want("on a network that the node does not map", "d", 0)
	g.router("r0", "phys1")
	want("and back", "b", 0)
	if now := others(); fmt.Sprint(now) != fmt.Sprint(before) {
		t.Errorf("other routers moved: %v, they were on %v", now, before)
	}
	carried := 0
	for _, n := range before {
		if n == "b" {
			carried++
		}
	}
	g.down = Down{"b": true}
	if moved := g.settle(); moved != 1+carried || g.at("r0") == "b" {
		t.Errorf("the chosen node is down: %d moves, r0 on %q", moved, g.at("r0"))
	}
	away := g.at("r0")
	want("it is down still", away, 0)
	g.down = nil
	want("it is back", "b", 1)
	g.node("b")
	if moved := g.settle(); moved != 1 || g.at("r0") == "b" {
		t.Errorf("it maps nothing any more: %d moves, r0 on %q", moved, g.at("r0"))
	}
	g.node("b", "phys1")
	want("it maps the network again", "b", 1)
	g.choose("r0", "")
	want("the choice is taken back", "b", 0)
	g.down = Down{"b": true}
	g.settle()
	away = g.at("r0")
	g.down = nil
	want("nobody chose the node that is back", away, 0)
}

// TestGatewayNoRoom: a chosen node without a free slot takes nothing, and what there was stays whole.
func TestGatewayNoRoom(t *testing.T) {
	g := newGateways(t)
	g.node("a", "phys1")
	g.router("r", "phys1")
	g.node("b", "phys1")
	g.commit(func(tx *store.Txn) {
		for i := range uint32(model.MaxSlot) {
			tables.Slots.Put(tx, model.SlotKey("b", i+1), model.Slot{Node: "b", Number: i + 1, Port: "somebody's"})
		}
		counters.Put(tx, Kind(slots+"b"), counter{Next: 1, Wrapped: true})
		r, _ := tables.Routers.Get(tx, "r")
		r.GatewayNode = "b"
		tables.Routers.Put(tx, "r", r)
		var full *ExhaustedError
		if _, err := PlaceGateway(tx, "r", nil); !errors.As(err, &full) {
			t.Errorf("a full node: %v", err)
		}
	})
	if g.at("r") != "a" {
		t.Errorf("the gateway is on %q", g.at("r"))
	}
	g.check()
}
