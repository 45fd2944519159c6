// SPDX-License-Identifier: Apache-2.0

package app

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/compile"
	"nagare/internal/model"
	"nagare/internal/netvirt"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// keyed is the next key of a kind.
func keyed(t *testing.T, tx *store.Txn, k alloc.Kind) model.Key {
	t.Helper()
	key, err := alloc.NextKey(tx, k)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// routed is the cloud of traced with a second network, net02 (a port far on the controller, near on the compute node), a router r1
// that joins it with net01 and has its gateway on the compute node, and floating IPs: 172.16.1.4 of net01-compute, 172.16.1.5 of far.
func routed(t *testing.T) backend {
	t.Helper()
	b := traced(t, netvirt.Options{})
	ip := netip.MustParseAddr
	settle(t, b, func(tx *store.Txn) {
		n, _ := tables.Nodes.Get(tx, "compute")
		n.Mappings = map[string]string{"physnet1": "br-prov", "physnet2": "br-ex"}
		tables.Nodes.Put(tx, n.ID, n)
		tables.Interfaces.Put(tx, model.InterfaceKey("compute", "patch-physnet2"), model.Interface{Node: "compute", Name: "patch-physnet2", Type: "patch", OFPort: 22})
		tables.Networks.Put(tx, "net02", model.Network{ID: "net02", Std: model.Std{Name: "net02"}, NetworkPlane: model.NetworkPlane{Key: keyed(t, tx, alloc.Network), Type: model.VXLAN, SegmentationID: 1078, MTU: 1450, AdminStateUp: true}})
		tables.Networks.Put(tx, "ext", model.Network{ID: "ext", Std: model.Std{Name: "ext-net"}, NetworkPlane: model.NetworkPlane{Key: keyed(t, tx, alloc.Network), Type: model.Flat, PhysicalNetwork: "physnet2", MTU: 1500, AdminStateUp: true, External: true}})
		for id, cidr := range map[model.NetworkID]string{"net02": "10.2.0.0/24", "ext": "172.16.1.0/24"} {
			p := netip.MustParsePrefix(cidr)
			tables.Subnets.Put(tx, model.SubnetID("sub-"+id), model.Subnet{ID: model.SubnetID("sub-" + id), SubnetPlane: model.SubnetPlane{Key: keyed(t, tx, alloc.Subnet), Network: id, CIDR: p, Gateway: p.Addr().Next()}})
		}
		sub, _ := tables.Subnets.Get(tx, "sub-net01")
		sub.Gateway = ip("10.0.0.1")
		tables.Subnets.Put(tx, sub.ID, sub)
		groups := []model.SecurityGroupID{"db", "web"}
		for i, host := range []model.NodeID{"controller", "compute"} {
			id := []model.PortID{"far", "near"}[i]
			plug(t, tx, model.Port{ID: id, Std: model.Std{Name: string(id)}, PortPlane: model.PortPlane{Network: "net02", MAC: model.MAC{0xfa, 0x16, 0x3e, 2, 0, byte(3 + i)}, AdminStateUp: true,
				DeviceOwner: "compute:nova", Host: host, PortSecurity: true, SecurityGroups: groups,
				FixedIPs: []model.FixedIP{{Subnet: "sub-net02", Addr: netip.AddrFrom4([4]byte{10, 2, 0, byte(3 + i)})}}}}, uint32(11+i))
		}
		router := func(id model.PortID, net model.NetworkID, addr, owner string, last byte) {
			p := model.Port{ID: id, PortPlane: model.PortPlane{Key: keyed(t, tx, alloc.Port), Network: net, MAC: model.MAC{0xfa, 0x16, 0x3e, 9, 0, last}, AdminStateUp: true, DeviceOwner: owner, Router: "r1",
				FixedIPs: []model.FixedIP{{Subnet: model.SubnetID("sub-" + net), Addr: ip(addr)}}}, DeviceID: "r1"}
			if owner == model.OwnerFloatingIP {
				p.Router = ""
			}
			if err := alloc.PutPort(tx, p); err != nil {
				t.Fatal(err)
			}
		}
		router("r1-net01", "net01", "10.0.0.1", model.OwnerRouterInterface, 1)
		router("r1-net02", "net02", "10.2.0.1", model.OwnerRouterInterface, 2)
		router("r1-gw", "ext", "172.16.1.9", model.OwnerRouterGateway, 3)
		router("fip4", "ext", "172.16.1.4", model.OwnerFloatingIP, 4)
		router("fip5", "ext", "172.16.1.5", model.OwnerFloatingIP, 5)
		tables.Routers.Put(tx, "r1", model.Router{ID: "r1", Std: model.Std{Name: "router1"}, RouterPlane: model.RouterPlane{Key: keyed(t, tx, alloc.Router), AdminStateUp: true, GatewayPort: "r1-gw", EnableSNAT: true}})
		if _, err := alloc.PlaceGateway(tx, "r1", nil); err != nil {
			t.Fatal(err)
		}
		for id, f := range map[model.FloatingIPID]model.FloatingIPPlane{
			"f4": {Addr: ip("172.16.1.4"), FloatPort: "fip4", Port: "net01-compute", Fixed: ip("10.0.0.4")},
			"f5": {Addr: ip("172.16.1.5"), FloatPort: "fip5", Port: "far", Fixed: ip("10.2.0.3")},
		} {
			f.Key, f.Network, f.Router = keyed(t, tx, alloc.Floating), "ext", "r1"
			tables.FloatingIPs.Put(tx, id, model.FloatingIP{ID: id, FloatingIPPlane: f})
		}
		router("fip6", "ext", "172.16.1.6", model.OwnerFloatingIP, 6)
		tables.FloatingIPs.Put(tx, "f6", model.FloatingIP{ID: "f6", FloatingIPPlane: model.FloatingIPPlane{Key: keyed(t, tx, alloc.Floating), Network: "ext", Router: "r1", Addr: ip("172.16.1.6"), FloatPort: "fip6"}})
		for id, f := range map[model.PortForwardingID]model.ForwardingPlane{
			"pf1": {Protocol: "tcp", External: model.PortRange{From: 2201, To: 2201}, Internal: model.PortRange{From: 8080, To: 8080}, Port: "far", Fixed: ip("10.2.0.3")},
			"pf2": {Protocol: "tcp", External: model.PortRange{From: 8080, To: 8081}, Internal: model.PortRange{From: 8080, To: 8081}, Port: "net01-compute", Fixed: ip("10.0.0.4")},
			"pf3": {Protocol: "tcp", External: model.PortRange{From: 9000, To: 9001}, Internal: model.PortRange{From: 8079, To: 8080}, Port: "near", Fixed: ip("10.2.0.4")},
			"pf4": {Protocol: "udp", External: model.PortRange{From: 8082, To: 8082}, Internal: model.PortRange{From: 8080, To: 8080}, Port: "far", Fixed: ip("10.2.0.3")},
		} {
			f.Key, f.Floating = keyed(t, tx, alloc.Forwarding), "f6"
			tables.PortForwardings.Put(tx, id, model.PortForwarding{ID: id, ForwardingPlane: f})
		}
		next := model.Neighbour{Network: "ext", Addr: ip("172.16.1.1"), MAC: model.MAC{0x52, 0x54, 0, 0, 0, 1}}
		tables.Neighbours.Put(tx, model.NeighbourKey("ext", next.Addr), next)
	})
	return b
}

func TestTraceRouted(t *testing.T) {
	b := routed(t)
	for _, c := range []struct{ ask, verdict, way string }{
		{"net01-compute tcp/8080 to far", "delivered to port far", "compute controller"},
		{"net01-compute tcp/8080 to far -- reply", "delivered to port net01-compute", "controller compute"},
		{"net01-compute tcp/8080 to near -- established", "delivered to port near", "compute"},
		{"net01-compute icmp to 10.0.0.1", "answered by the switch of node compute", "compute"},
		{"net01-controller icmp to 172.16.1.9", "answered by the switch of node compute", "controller compute controller"},
		{"net01-compute tcp/80 to 198.51.100.1", "leaves node compute by physical network physnet2", "compute"},
		{"net01-compute tcp/80 to 198.51.100.1 -- reply", "delivered to port net01-compute", "compute"},
		{"net01-controller tcp/80 to 198.51.100.1", "leaves node compute by physical network physnet2", "controller compute"},
		{"net01-controller tcp/80 to 198.51.100.1 -- established", "leaves node compute by physical network physnet2", "controller compute"},
		{"net01-controller tcp/80 to 198.51.100.1 -- reply", "delivered to port net01-controller", "compute controller"},
		{"net01-controller tcp/8080 to 172.16.1.4", "delivered to port net01-compute", "controller compute"},
		{"net01-controller tcp/8080 to 172.16.1.4 -- reply", "delivered to port net01-controller", "compute controller"},
		{"compute#22 flow tcp,dl_src=52:54:00:00:00:01,dl_dst=fa:16:3e:09:00:04,nw_src=198.51.100.1,nw_dst=172.16.1.4,tp_dst=8080", "delivered to port net01-compute", "compute"},
		{"compute#22 flow tcp,dl_src=52:54:00:00:00:01,dl_dst=fa:16:3e:09:00:05,nw_src=198.51.100.1,nw_dst=172.16.1.5,tp_dst=8080", "delivered to port far", "compute controller"},
		{"compute#22 flow tcp,dl_src=52:54:00:00:00:01,dl_dst=fa:16:3e:09:00:04,nw_src=198.51.100.1,nw_dst=172.16.1.4,tp_dst=22", "no rule of the receiver's groups (db, web of port net01-compute) allows tcp/22 from 198.51.100.1", "compute"},
		{"net01-controller tcp/2201 to 172.16.1.6", "delivered to port far", "controller compute controller"},
		{"net01-controller tcp/2201 to 172.16.1.6 -- reply", "delivered to port net01-controller", "controller compute controller"},
		{"near tcp/8080 to 172.16.1.6", "delivered to port net01-compute", "compute"},
		{"net01-controller tcp/9001 to 172.16.1.6 -- established", "delivered to port near", "controller compute"},
		{"net01-controller tcp/8082 to 172.16.1.6", "dropped in table 31", "controller compute"},
		{"compute#22 flow tcp,dl_src=52:54:00:00:00:01,dl_dst=fa:16:3e:09:00:06,nw_src=198.51.100.1,nw_dst=172.16.1.6,tp_dst=9001", "delivered to port near", "compute"},
		{"net01-compute tcp/80 to 172.16.1.77", "goes from table 70 (l3-forward) on node compute to the server, which asks for the link address", "compute"},
		{"net01-compute flow tcp,nw_ttl=1,nw_dst=10.2.0.4", "time to live is over", "compute"},
	} {
		tr, err := b.Trace(t.Context(), ask(c.ask))
		var way []string
		for _, v := range tr.Way {
			way = append(way, v.Node)
		}
		if err != nil || !strings.Contains(tr.Verdict.Text, c.verdict) || strings.Join(way, " ") != c.way {
			t.Errorf("%s: %+v by %q, %v\nnotes %q before %+v", c.ask, tr.Verdict, way, err, tr.Notes, tr.Before)
		}
	}
}

// TestTraceKnowsWhom: behind a floating IP is the port that it stands for, or to which it forwards the port of the packet.
func TestTraceKnowsWhom(t *testing.T) {
	b := routed(t)
	settle(t, b, func(tx *store.Txn) { // an instance on the external network itself
		plug(t, tx, model.Port{ID: "outer", Std: model.Std{Name: "outer"}, PortPlane: model.PortPlane{Network: "ext", MAC: model.MAC{0xfa, 0x16, 0x3e, 2, 0, 9}, AdminStateUp: true,
			DeviceOwner: "compute:nova", Host: "compute", FixedIPs: []model.FixedIP{{Subnet: "sub-ext", Addr: netip.MustParseAddr("172.16.1.20")}}}}, 19)
	})
	for _, c := range []struct {
		ask, note string
		arrived   bool
	}{
		{"net01-controller tcp/8080 to 172.16.1.4", "172.16.1.4 is a floating IP of port net01-compute (10.0.0.4)", true},
		{"net01-controller tcp/2201 to 172.16.1.6", "tcp port 2201 of 172.16.1.6 is forwarded to port 8080 of port far (10.2.0.3)", true},
		{"net01-controller tcp/8080 to 172.16.1.6", "tcp port 8080 of 172.16.1.6 is forwarded to port 8080 of port net01-compute (10.0.0.4)", true},
		{"net01-controller tcp/9001 to 172.16.1.6", "tcp port 9001 of 172.16.1.6 is forwarded to port 8080 of port near (10.2.0.4)", true},
		{"net01-controller tcp/8082 to 172.16.1.6", "172.16.1.6 is a floating IP of no port, and forwards nothing that such a packet is for", false},
		{"outer tcp/8080 to 172.16.1.4", "172.16.1.4 is a floating IP of port net01-compute (10.0.0.4)", true},
		{"outer tcp/2201 to 172.16.1.6", "tcp port 2201 of 172.16.1.6 is forwarded to port 8080 of port far (10.2.0.3)", true},
	} {
		tr, err := b.Trace(t.Context(), ask(c.ask))
		if err != nil || !slices.Contains(tr.Notes, c.note) || tr.Verdict.Arrived != c.arrived || strings.Contains(tr.Verdict.Text, "not to") {
			t.Errorf("%s: %+v, %v\nnotes %q", c.ask, tr.Verdict, err, tr.Notes)
		}
	}
}

// TestRoutedFlowsAreExplained: flows of routers, their interfaces and floating IPs have authors with the change behind them, and
// their cookies name the object.
func TestRoutedFlowsAreExplained(t *testing.T) {
	b := routed(t)
	kinds := map[string]int{}
	flows, err := b.Flows(t.Context(), "compute", true)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range flows {
		if !f.Authored() {
			t.Errorf("nobody answers for %s: %+v", f.Text, f.Authors)
		}
		for _, a := range f.Authors {
			kinds[a.Kind]++
		}
	}
	if kinds["router"] == 0 || kinds["floating-ip"] == 0 {
		t.Errorf("authors are %v", kinds)
	}
	var cookies []uint64
	if err := b.s.hub.Do(t.Context(), func(e *compile.Engine) {
		d, _ := e.Desired("compute")
		for _, f := range d.Flows {
			cookies = append(cookies, f.Cookie)
		}
	}); err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, v := range cookies {
		if c, ours := pipeline.UnpackCookie(v); ours && (c.Kind == pipeline.KindRouter || c.Kind == pipeline.KindRouterInterface || c.Kind == pipeline.KindFloatingIP) {
			x, err := b.ExplainCookie(t.Context(), "compute", v)
			if err != nil || x.Object == "" || x.Commit == nil {
				t.Errorf("cookie %#x: %+v, %v", v, x, err)
			}
			named[x.Kind+" "+x.Object] = true
		}
	}
	for _, want := range []string{"router r1", "port r1-net01", "floating-ip f4"} {
		if !named[want] {
			t.Errorf("no cookie names %s: %v", want, named)
		}
	}
}

// What leaves is translated: the account says to what.
func TestTraceTranslation(t *testing.T) {
	b := routed(t)
	for ask1, want := range map[string]string{
		"net01-compute tcp/80 to 198.51.100.1":    "nw_src: 10.0.0.4 -> 172.16.1.4",
		"net01-controller tcp/80 to 198.51.100.1": "nw_src: 10.0.0.3 -> 172.16.1.9",
		"net01-controller tcp/8080 to 172.16.1.4": "nw_dst: 172.16.1.4 -> 10.0.0.4",
	} {
		tr, err := b.Trace(t.Context(), ask(ask1))
		var said []string
		for _, v := range tr.Way {
			for _, s := range v.Steps {
				for _, d := range s.Did {
					said = append(said, d.Changes...)
				}
			}
		}
		if text := strings.Join(said, "\n"); err != nil || !strings.Contains(text, want) || !strings.Contains(text, "key of the router: router1") {
			t.Errorf("%s: want %q in\n%s\n%+v %v", ask1, want, text, tr.Verdict, err)
		}
	}
}
