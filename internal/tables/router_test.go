// SPDX-License-Identifier: Apache-2.0

package tables_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/repro"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// TestReach follows random histories of routers, ports, nodes and floating IPs, and compares what the derived tables say of
// each node with what a plain walk over everything finds.
func TestReach(t *testing.T) {
	rng := repro.Rand(1, 2)
	st := store.New(tables.Schema, nil)
	nodes, nets := []model.NodeID{"a", "b", "c"}, []model.NetworkID{"n1", "n2", "n3", "ext"}
	pick := func(n int) int { return rng.IntN(n) }
	step := func(tx *store.Txn) error {
		node := nodes[pick(len(nodes))]
		switch pick(8) {
		case 0:
			n := model.Node{ID: node}
			if pick(2) == 0 {
				n.Mappings = map[string]string{"physnet": "br-ex"}
			}
			tables.Nodes.Put(tx, node, n)
		case 1, 2:
			id := model.PortID("p" + string(rune('0'+pick(6))))
			if pick(4) == 0 {
				alloc.DeletePort(tx, id)
				return nil
			}
			return alloc.PutPort(tx, model.Port{ID: id, PortPlane: model.PortPlane{Network: nets[pick(3)], Host: node, AdminStateUp: pick(5) > 0}})
		case 3:
			id, key := model.PortID("p"+string(rune('0'+pick(6)))), ""
			if key = model.PlugKey(node, id); pick(3) == 0 {
				tables.Plugs.Delete(tx, key)
				return nil
			}
			tables.Plugs.Put(tx, key, model.Plug{Node: node, Port: id})
		case 4:
			id := model.PortID("i" + string(rune('0'+pick(7))))
			if pick(3) == 0 {
				alloc.DeletePort(tx, id)
				return nil
			}
			return alloc.PutPort(tx, model.Port{ID: id, DeviceID: "r" + string(rune('1'+pick(4))), PortPlane: model.PortPlane{Network: nets[pick(3)],
				DeviceOwner: model.OwnerRouterInterface, FixedIPs: []model.FixedIP{{Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(pick(5))})}}}})
		case 5:
			r := model.RouterID("r" + string(rune('1'+pick(2))))
			if pick(3) == 0 {
				tables.Gateways.Delete(tx, r)
			} else {
				tables.Gateways.Put(tx, r, model.Gateway{Router: r, Node: node})
			}
		case 6:
			r := model.RouterID("r" + string(rune('1'+pick(4))))
			gw := model.PortID("g" + string(r))
			if pick(3) == 0 {
				alloc.DeletePort(tx, gw)
				gw = ""
			} else if err := alloc.PutPort(tx, model.Port{ID: gw, DeviceID: string(r), PortPlane: model.PortPlane{Network: "ext", DeviceOwner: model.OwnerRouterGateway}}); err != nil {
				return err
			}
			rt := model.Router{ID: r, RouterPlane: model.RouterPlane{GatewayPort: gw}}
			for range pick(4) {
				rt.Routes = append(rt.Routes, model.Route{NextHop: netip.AddrFrom4([4]byte{10, 0, 0, byte(pick(5))})})
			}
			tables.Routers.Put(tx, r, rt)
		case 7:
			id := model.FloatingIPID("f" + string(rune('0'+pick(3))))
			if pick(4) == 0 {
				tables.FloatingIPs.Delete(tx, id)
				return nil
			}
			tables.FloatingIPs.Put(tx, id, model.FloatingIP{ID: id, FloatingIPPlane: model.FloatingIPPlane{Network: "ext", Addr: netip.MustParseAddr("172.16.1.4"),
				Port: []model.PortID{"p0", "p1", "p2", "p3", "p4", "p5", ""}[pick(7)], Router: model.RouterID("r" + string(rune('1'+pick(2))))}})
		}
		return nil
	}
	if _, err := st.Commit(context.Background(), store.Origin{}, func(tx *store.Txn) error {
		for _, n := range nets {
			tables.Networks.Put(tx, n, model.Network{ID: n, NetworkPlane: model.NetworkPlane{PhysicalNetwork: map[bool]string{true: "physnet"}[n == "ext"]}})
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 3000 {
		if _, err := st.Commit(context.Background(), store.Origin{}, step); err != nil {
			t.Fatal(err)
		}
		r := st.Snapshot()
		for _, node := range nodes {
			want := walk(r, node)
			for what, d := range map[string]*store.Derived{"routers": tables.NodeRouters, "reach": tables.NodeReach, "floating": tables.NodeFloating,
				"externals": tables.NodeExternals, "gateways": tables.NodeGateways} {
				if got := slices.Collect(d.Members(r, string(node))); !slices.Equal(got, want[what]) {
					t.Fatalf("%s of node %s: %v, want %v", what, node, got, want[what])
				}
				if len(want[what]) > 0 {
					seen[what] = true
				}
			}
			for _, n := range nets {
				if got, want := tables.NetworkReachers.Has(r, string(n), tables.NetNode(n, node)), slices.Contains(want["reach"], string(n)); got != want {
					t.Fatalf("network %s reached from %s: %v, want %v", n, node, got, want)
				}
			}
		}
	}
	if len(seen) != 5 {
		t.Errorf("the histories never had any of some table: only %v", seen)
	}
}

// walk finds by plain loops what a node needs.
func walk(r store.Reader, node model.NodeID) map[string][]string {
	out := map[string][]string{}
	add := func(what, name string) {
		if !slices.Contains(out[what], name) {
			out[what] = append(out[what], name)
			slices.Sort(out[what])
		}
	}
	asked := map[model.RouterID]bool{}
	var needs func(router model.RouterID)
	needs = func(router model.RouterID) {
		if asked[router] {
			return
		}
		asked[router] = true
		add("routers", string(router))
		rt, _ := tables.Routers.Get(r, router)
		for _, route := range rt.Routes { // to another router
			for _, own := range tables.Ports.All(r) {
				for _, p := range tables.Ports.All(r) {
					if own.DeviceOwner == model.OwnerRouterInterface && own.DeviceID == string(router) && p.Network == own.Network &&
						p.DeviceOwner == model.OwnerRouterInterface && p.DeviceID != string(router) && len(p.FixedIPs) > 0 && p.FixedIPs[0].Addr == route.NextHop {
						needs(model.RouterID(p.DeviceID))
					}
				}
			}
		}
		for _, p := range tables.Ports.All(r) {
			if p.DeviceOwner == model.OwnerRouterInterface && p.DeviceID == string(router) {
				add("reach", string(p.Network))
			}
		}
	}
	located := func(id model.PortID) (model.Port, bool) {
		p, ok := tables.Ports.Get(r, id)
		_, plugged := tables.Plugs.Get(r, model.PlugKey(p.Host, id))
		return p, ok && plugged && p.AdminStateUp
	}
	for id, p := range tables.Ports.All(r) {
		if q, ok := located(id); !ok || q.Host != node {
			continue
		}
		for _, i := range tables.Ports.All(r) {
			if i.DeviceOwner == model.OwnerRouterInterface && i.Network == p.Network {
				needs(model.RouterID(i.DeviceID))
			}
		}
	}
	for id, g := range tables.Gateways.All(r) {
		if g.Node != node {
			continue
		}
		add("gateways", string(id))
		needs(id)
		if rt, ok := tables.Routers.Get(r, id); ok {
			if p, ok := tables.Ports.Get(r, rt.GatewayPort); ok {
				add("externals", string(p.Network))
			}
		}
	}
	for id, f := range tables.FloatingIPs.All(r) {
		server := ""
		if g, ok := tables.Gateways.Get(r, f.Router); ok {
			server = string(g.Node)
		}
		if p, ok := located(f.Port); ok {
			if n, _ := tables.Nodes.Get(r, p.Host); strings.Contains(n.Mappings["physnet"], "br") {
				server = string(p.Host)
			}
		}
		if server == string(node) {
			add("floating", string(id))
			add("externals", string(f.Network))
		}
	}
	return out
}
