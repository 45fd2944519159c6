// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strings"
)

// onWire: a tenant's network on a physical network behind the router. It is routed on every node, and the MAC address of the router
// is on the wire from its gateway node alone.
func onWire(x *world) {
	var n struct{ Network struct{ ID string } }
	if err := x.admin.ask(201, "POST", x.admin.neutron("/networks"), fields{"network": fields{"name": "net-d", "shared": true, "mtu": 1450,
		"provider:network_type": "vlan", "provider:physical_network": "physnet1", "provider:segmentation_id": 100}}, &n); err != nil {
		x.t.Fatal(err)
	}
	subnet := x.admin.subnet(n.Network.ID, "10.4.0.0/24", 4, nil)
	interfaces := func(what string) {
		x.t.Helper()
		if err := x.admin.ask(200, "PUT", x.admin.neutron("/routers/"+x.r1+"/"+what+"_router_interface"), fields{"subnet_id": subnet}, nil); err != nil {
			x.t.Fatal(err)
		}
	}
	interfaces("add")
	open := x.demo.group("open-d", nil, fields{"remote_ip_prefix": "0.0.0.0/0"})
	var ds []*guest
	for _, node := range []string{compute, controller, "compute2"} {
		g := x.newGuest(x.demo, x.admin, "d-"+node, n.Network.ID, node, fields{"security_groups": []string{open}})
		x.batch(x.namespace(g.name), "route add default via 10.4.0.1")
		ds = append(ds, g)
	}
	x.admin.confirmed()
	for i, d := range ds {
		for _, g := range []*guest{x.a1, x.a2, x.a3, x.b1} {
			out := x.pings(g.name, d.ip.String())
			if !strings.Contains(out, "ttl=63 ") {
				x.t.Errorf("%s to %s: want ttl=63: %s", g.name, d.name, out)
			}
		}
		x.pings(d.name, ds[(i+1)%len(ds)].ip.String())
		if j := x.join(d.name, far, farAddress); j.seenAs() != x.gw1 {
			x.t.Errorf("%s arrives at far as %s, not %s", d.name, j.seenAs(), x.gw1)
		} else {
			j.carry(x.t, 1<<20)
		}
		x.join(x.b2.name, d.name, d.ip.String()).carry(x.t, 1<<20)
	}
	f := x.float(x.demo, ds[0])
	x.join(far, ds[0].name, f.Address).carry(x.t, 100_000)
	if j := x.join(ds[0].name, far, farAddress); j.seenAs() != f.Address {
		x.t.Errorf("%s arrives at far as %s, not its floating IP %s", ds[0].name, j.seenAs(), f.Address)
	}
	x.unfloat(x.demo, f)
	// The wire's bridge has learned where each MAC address is: the router's has not moved.
	ports, err := x.admin.ports("device_id=" + x.r1 + "&network_id=" + n.Network.ID)
	if err != nil || len(ports) != 1 {
		x.t.Fatalf("interface: %+v, %v", ports, err)
	}
	from := map[string]bool{}
	ctx := x.t.Context()
	for _, g := range []*guest{x.a1, x.a2, x.a3} {
		for _, d := range ds {
			x.pings(g.name, d.ip.String())
			x.pings(d.name, farAddress)
			out, err := x.try(ctx, "ip", "netns", "exec", x.namespace("underlay"), "bridge", "fdb", "show")
			if err != nil {
				x.t.Fatal(err)
			}
			for _, l := range strings.Split(out, "\n") {
				if w := strings.Fields(l); len(w) > 2 && w[0] == ports[0].MAC {
					from[w[2]] = true
				}
			}
		}
	}
	if len(from) != 1 {
		x.t.Errorf("the router's MAC address %s is on the wire from %v, want one node", ports[0].MAC, from)
	}
	for _, d := range ds {
		d.remove(x.admin)
	}
	interfaces("remove")
	if err := x.admin.ask(204, "DELETE", x.admin.neutron("/networks/"+n.Network.ID), nil, nil); err != nil {
		x.t.Fatal(fmt.Errorf("network: %w", err))
	}
}
