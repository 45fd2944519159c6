// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"maps"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"nagare/internal/alloc"
	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
)

var (
	worldRouters  = []model.RouterID{"r1", "r2"}
	worldFloats   = []model.FloatingIPID{"f1", "f2", "f3"}
	worldForwards = []model.PortForwardingID{"pf1", "pf2", "pf3"}
	worldLocals   = []model.LocalIPID{"lip1", "lip2", "lip3"}
	worldHolders  = []model.PortID{"holder-1", "holder-2", "port-000001"}
	worldHelpers  = []model.ConntrackHelperID{"h1", "h2", "h3"}
	worldFaces    = []model.PortID{"if-1", "if-2", "if-3", "if-4", "gate-1", "gate-2", "float-1", "float-2", "float-3"}
)

// routerStep is one random operation on routers, beside those of step.
func routerStep(t *rapid.T, tx *store.Txn) {
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	router := rapid.SampledFrom(worldRouters).Draw(t, "router")
	net := rapid.SampledFrom(worldNets[:2]).Draw(t, "net")
	node := model.NodeID(rapid.SampledFrom(worldNodes).Draw(t, "node"))
	i := rapid.IntRange(0, 2).Draw(t, "which")
	switch rapid.IntRange(0, 13).Draw(t, "router op") {
	case 0, 1: // an interface
		n := rapid.IntRange(0, 3).Draw(t, "face")
		must(alloc.PutPort(tx, model.Port{ID: worldFaces[n], DeviceID: string(router), PortPlane: model.PortPlane{Key: model.Key(50 + n), Network: net, AdminStateUp: true,
			MAC: model.MAC{0xfa, 0x16, 0x3e, 1, 0, byte(n)}, DeviceOwner: model.OwnerRouterInterface, FixedIPs: []model.FixedIP{
				{Subnet: "s" + model.SubnetID(net), Addr: netip.AddrFrom4([4]byte{10, 0, byte(n), 1})}, {Subnet: "s6", Addr: netip.AddrFrom16([16]byte{0: 0xfd, 14: 1, 15: byte(n)})}}}}))
	case 2:
		alloc.DeletePort(tx, rapid.SampledFrom(worldFaces).Draw(t, "gone"))
	case 3, 4: // the router, with its gateway perhaps
		n := slices.Index(worldRouters, router)
		r := model.Router{ID: router, RouterPlane: model.RouterPlane{Key: model.Key(70 + n), AdminStateUp: rapid.IntRange(0, 4).Draw(t, "up") > 0, EnableSNAT: rapid.Bool().Draw(t, "snat")}}
		if rapid.IntRange(0, 3).Draw(t, "gateway") > 0 {
			r.GatewayPort = worldFaces[4+n]
			must(alloc.PutPort(tx, model.Port{ID: r.GatewayPort, DeviceID: string(router), PortPlane: model.PortPlane{Key: model.Key(60 + n), Network: "n3", AdminStateUp: true,
				MAC: model.MAC{0xfa, 0x16, 0x3e, 2, 0, byte(n)}, DeviceOwner: model.OwnerRouterGateway, FixedIPs: []model.FixedIP{
					{Subnet: "sn3", Addr: netip.AddrFrom4([4]byte{172, 16, 1, byte(10 + n)})}}}}))
		}
		if rapid.Bool().Draw(t, "routes") {
			r.Routes = []model.Route{{Destination: netip.MustParsePrefix("192.168.0.0/16"), NextHop: netip.AddrFrom4([4]byte{10, 0, 0, byte(rapid.IntRange(0, 4).Draw(t, "hop"))})},
				{Destination: netip.MustParsePrefix("10.7.0.0/16"), NextHop: netip.AddrFrom4([4]byte{10, 0, byte(rapid.IntRange(0, 3).Draw(t, "next router")), 1})},
				{Destination: netip.MustParsePrefix("0.0.0.0/0"), NextHop: netip.MustParseAddr("172.16.1.77")}}
		}
		tables.Routers.Put(tx, router, r)
		_, err := alloc.PlaceGateway(tx, router, nil)
		must(err)
	case 5:
		tables.Routers.Delete(tx, router)
		alloc.DropGateway(tx, router)
	case 6, 7: // a floating IP, for some port's address or for nobody's
		f := model.FloatingIP{ID: worldFloats[i], FloatingIPPlane: model.FloatingIPPlane{Key: model.Key(80 + i), Network: "n3",
			Addr: netip.AddrFrom4([4]byte{172, 16, 1, byte(20 + i)}), FloatPort: worldFaces[6+i]}}
		must(alloc.PutPort(tx, model.Port{ID: f.FloatPort, PortPlane: model.PortPlane{Key: model.Key(90 + i), Network: "n3", AdminStateUp: true,
			MAC: model.MAC{0xfa, 0x16, 0x3e, 3, 0, byte(i)}, DeviceOwner: model.OwnerFloatingIP}}))
		if p, ok := tables.Ports.Get(tx, rapid.SampledFrom(worldPorts).Draw(t, "port")); ok {
			f.Port, f.Fixed, f.Router = p.ID, p.FixedIPs[0].Addr, router
		}
		if rapid.IntRange(0, 2).Draw(t, "forwards") == 0 { // or for its ports
			f.Port, f.Fixed, f.Router = "", netip.Addr{}, router
		}
		tables.FloatingIPs.Put(tx, f.ID, f)
	case 8:
		tables.FloatingIPs.Delete(tx, worldFloats[i])
	case 11: // ports of a floating IP, which need not be there
		key := rapid.IntRange(1, 1000).Draw(t, "key")*4 + i // as new as the rest
		from, size := uint16(rapid.IntRange(1, 3).Draw(t, "from")*1000), uint16(rapid.IntRange(0, 5).Draw(t, "size"))
		f := model.PortForwarding{ID: worldForwards[i], ForwardingPlane: model.ForwardingPlane{Key: model.Key(key), Floating: rapid.SampledFrom(worldFloats).Draw(t, "floating"),
			Protocol: rapid.SampledFrom([]string{"tcp", "udp"}).Draw(t, "protocol"), External: model.PortRange{From: from, To: from + size}, Internal: model.PortRange{From: 1000, To: 1000}}}
		if rapid.Bool().Draw(t, "range") {
			f.Internal.To += size
		}
		if p, ok := tables.Ports.Get(tx, rapid.SampledFrom(worldPorts).Draw(t, "port")); ok {
			f.Port, f.Fixed = p.ID, p.FixedIPs[0].Addr
		}
		tables.PortForwardings.Put(tx, f.ID, f)
	case 12:
		tables.PortForwardings.Delete(tx, worldForwards[i])
	case 13: // a conntrack helper, of a router that need not be there
		h := model.ConntrackHelper{ID: worldHelpers[i], HelperPlane: model.HelperPlane{Router: router, Helper: rapid.SampledFrom([]string{"ftp", "ftp", "tftp"}).Draw(t, "helper"),
			Port: uint16(rapid.SampledFrom([]int{21, 69, 1000, 2000}).Draw(t, "helper's port"))}}
		h.Protocol = model.HelperProtocols[h.Helper]
		if rapid.IntRange(0, 4).Draw(t, "helps") > 0 {
			tables.ConntrackHelpers.Put(tx, h.ID, h)
		} else {
			tables.ConntrackHelpers.Delete(tx, h.ID)
		}
	case 10: // a network takes larger packets than others
		id := rapid.SampledFrom(worldNets).Draw(t, "network")
		if n, ok := tables.Networks.Get(tx, id); ok {
			n.MTU = rapid.SampledFrom([]int{0, 1400, 1500}).Draw(t, "mtu")
			tables.Networks.Put(tx, id, n)
		}
	case 9: // somebody outside is heard of, subnets come, the gateway moves
		a := netip.AddrFrom4([4]byte{172, 16, 1, byte(19 + i)})
		tables.Neighbours.Put(tx, model.NeighbourKey("n3", a), model.Neighbour{Network: "n3", Addr: a, MAC: model.MAC{2, 0, 0, 0, 0, byte(i)}})
		for _, s := range [][2]string{{"sn1", "10.0.0.0/16"}, {"sn2", "10.0.0.0/16"}, {"sn3", "172.16.1.0/24"}, {"s6", "fd00::/64"}} {
			id, p := model.SubnetID(s[0]), s[1]
			if rapid.IntRange(0, 5).Draw(t, "subnet") > 0 {
				tables.Subnets.Put(tx, id, model.Subnet{ID: id, SubnetPlane: model.SubnetPlane{Network: model.NetworkID(id[1:]), CIDR: netip.MustParsePrefix(p), Gateway: netip.MustParsePrefix(p).Addr().Next()}})
			} else {
				tables.Subnets.Delete(tx, id)
			}
		}
		_, err := alloc.PlaceGateway(tx, router, alloc.Down{node: true})
		must(err)
	}
}

// localStep is one random operation on local IPs.
func localStep(t *rapid.T, tx *store.Txn) {
	i := rapid.IntRange(0, 2).Draw(t, "which local")
	net := rapid.SampledFrom(worldNets[:2]).Draw(t, "net of local")
	switch rapid.IntRange(0, 2).Draw(t, "local op") {
	case 0: // a local IP of what nobody has, or of an instance
		if i < 2 {
			if err := alloc.PutPort(tx, model.Port{ID: worldHolders[i], PortPlane: model.PortPlane{Key: model.Key(40 + i), Network: net, AdminStateUp: true, MAC: model.MAC{0xfa, 0x16, 0x3e, 4, 0, byte(i)},
				DeviceOwner: model.OwnerLocalIP, FixedIPs: []model.FixedIP{{Subnet: "s" + model.SubnetID(net), Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(200 + i)})}}}}); err != nil {
				t.Fatal(err)
			}
		}
		p, ok := tables.Ports.Get(tx, rapid.SampledFrom(worldHolders).Draw(t, "holder"))
		if !ok || rapid.IntRange(0, 5).Draw(t, "deleted") == 0 {
			tables.LocalIPs.Delete(tx, worldLocals[i])
			return
		}
		tables.LocalIPs.Put(tx, worldLocals[i], model.LocalIP{ID: worldLocals[i], LocalIPPlane: model.LocalIPPlane{Key: model.Key(95 + i), Port: p.ID, Network: p.Network,
			Addr: p.FixedIPs[0].Addr, Mode: rapid.SampledFrom([]string{model.LocalIPTranslate, model.LocalIPPassthrough}).Draw(t, "mode")}})
	default: // a port serves it, or does not
		p, ok := tables.Ports.Get(tx, rapid.SampledFrom(worldPorts[:4]).Draw(t, "server"))
		if !ok {
			return
		}
		a := model.LocalIPAssociation{LocalIPAssociationPlane: model.LocalIPAssociationPlane{LocalIP: worldLocals[i], Port: p.ID, Fixed: rapid.SampledFrom(p.FixedIPs).Draw(t, "fixed").Addr}}
		if rapid.IntRange(0, 4).Draw(t, "no more") == 0 {
			tables.LocalIPAssociations.Delete(tx, a.ID())
			return
		}
		tables.LocalIPAssociations.Put(tx, a.ID(), a)
	}
}

// routerWorld is a cloud in which routers can do much at once.
func routerWorld(t *rapid.T, tx *store.Txn) {
	for i, n := range worldNodes {
		tables.Nodes.Put(tx, model.NodeID(n), model.Node{ID: model.NodeID(n), NodePlane: model.NodePlane{Key: model.Key(i + 1), LocalIP: tunnelAddr(i), Mappings: map[string]string{"ph": "br-ex"}}})
		of := uint32(10)
		names := []string{patchName("ph"), "vxlan-" + byFlow, "geneve-" + byFlow}
		for j := range worldNodes {
			names = append(names, tunnelName(model.VXLAN, tunnelAddr(j).String()), tunnelName(model.Geneve, tunnelAddr(j).String()))
		}
		for _, name := range names {
			of++
			tables.Interfaces.Put(tx, model.InterfaceKey(model.NodeID(n), name), model.Interface{Node: model.NodeID(n), Name: name, OFPort: of})
		}
	}
	for i, n := range worldNets {
		typ := []model.NetworkType{model.VXLAN, model.Geneve, model.Flat}[i]
		tables.Networks.Put(tx, n, model.Network{ID: n, NetworkPlane: model.NetworkPlane{Key: model.Key(i + 1), Type: typ, SegmentationID: uint32(100 + i), PhysicalNetwork: "ph", AdminStateUp: true}})
	}
	for i, id := range worldPorts[:4] {
		node := model.NodeID(rapid.SampledFrom(worldNodes).Draw(t, "node"))
		p := model.Port{ID: id, PortPlane: model.PortPlane{Key: model.Key(i + 1), Network: worldNets[i%2], Host: node, AdminStateUp: true, MAC: model.MAC{0xfa, 0x16, 0x3e, 0, 0, byte(i + 1)},
			PortSecurity: true, DeviceOwner: "compute:nova", FixedIPs: []model.FixedIP{{Subnet: "s" + model.SubnetID(worldNets[i%2]), Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 2)})}}}}
		if err := putPlugged(tx, p, uint32(30+i), true); err != nil {
			t.Fatal(err)
		}
	}
	for range 16 {
		routerStep(t, tx)
	}
	for range 8 {
		localStep(t, tx)
	}
}

// TestRouterHistories follows random histories with routers: at each step what is compiled incrementally is what is compiled from
// scratch, each flow has an owner, and once all is deleted every bridge is back at its initial flows.
func TestRouterHistories(t *testing.T) {
	for _, o := range []Options{{}, {FlowTunnels: true}} {
		counted := map[pipeline.CookieKind]int{}
		rapid.Check(t, func(t *rapid.T) { routerHistory(t, o, counted) })
		t.Logf("%+v: %v", o, counted)
		for _, k := range []pipeline.CookieKind{pipeline.KindRouter, pipeline.KindRouterInterface, pipeline.KindFloatingIP, pipeline.KindForwarding, pipeline.KindLocalIP} {
			if counted[k] == 0 {
				t.Errorf("no history had a flow of a %s", k)
			}
		}
	}
}

func routerHistory(t *rapid.T, o Options, counted map[pipeline.CookieKind]int) {
	w := newWorldOf(func() *compile.Rulebook { return Standard(o) }, pipeline.Standard)
	w.follow(t)
	initial := map[string]map[flow.Key]flow.Flow{}
	for _, n := range worldNodes {
		d, _ := compileBook(w.st, w.book(), w.of, n).Desired(n)
		initial[n] = d.Flows
	}
	mustCommitRapid(t, w.st, func(tx *store.Txn) { routerWorld(t, tx) })
	for range rapid.IntRange(1, 12).Draw(t, "commits") {
		mustCommitRapid(t, w.st, func(tx *store.Txn) {
			for range rapid.IntRange(1, 4).Draw(t, "operations") {
				if rapid.Bool().Draw(t, "of routers") {
					routerStep(t, tx)
				} else {
					step(t, tx)
				}
				if rapid.Bool().Draw(t, "of local IPs too") {
					localStep(t, tx)
				}
			}
		})
		if rapid.IntRange(0, 3).Draw(t, "lag") > 0 {
			w.follow(t)
			w.check(t)
			w.signed(t)
		}
	}
	w.follow(t)
	for _, n := range worldNodes {
		for _, f := range w.mirror[n] {
			c, _ := pipeline.UnpackCookie(f.Cookie)
			counted[c.Kind]++
		}
	}
	mustCommitRapid(t, w.st, func(tx *store.Txn) {
		for _, p := range slices.Concat(worldPorts, worldFaces, worldHolders) {
			alloc.DeletePort(tx, p)
		}
		for _, f := range worldFloats {
			tables.FloatingIPs.Delete(tx, f)
		}
		for _, f := range worldForwards {
			tables.PortForwardings.Delete(tx, f)
		}
		for _, h := range worldHelpers {
			tables.ConntrackHelpers.Delete(tx, h)
		}
		for _, r := range worldRouters {
			tables.Routers.Delete(tx, r)
			alloc.DropGateway(tx, r)
		}
		for _, n := range worldNets {
			tables.Networks.Delete(tx, n)
		}
	})
	w.follow(t)
	w.check(t)
	for _, n := range worldNodes {
		if got := w.mirror[n]; !maps.Equal(got, initial[n]) || len(w.groups[n]) > 0 || len(w.rows[n]) > 0 {
			t.Fatalf("%s: %d flows, %d groups and %d rows after deleting everything, want the %d initial flows:\n%v", n, len(got), len(w.groups[n]), len(w.rows[n]), len(initial[n]), flowLines(w.e, n))
		}
	}
}
