// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"slices"
	"strings"
)

// byRouters: a tenant's network behind a router of its own, which reaches r1's networks, and the outside through r1, by a network
// between the two routers that has no port. The routers tell of themselves on the way.
func byRouters(x *world) {
	between, subT := x.demo.network("transit", "10.9.0.0/24")
	netE, subE := x.demo.network("net-e", "10.5.0.0/24")
	r5 := x.demo.router("r5", "", subE)
	put := func(router, what string, body fields) {
		x.t.Helper()
		if err := x.demo.ask(200, "PUT", x.demo.neutron("/routers/"+router+what), body, nil); err != nil {
			x.t.Fatal(err)
		}
	}
	routes := func(router string, pairs ...string) {
		x.t.Helper()
		list := []fields{}
		for i := 0; i < len(pairs); i += 2 {
			list = append(list, fields{"destination": pairs[i], "nexthop": pairs[i+1]})
		}
		put(router, "", fields{"router": fields{"routes": list}})
	}
	put(x.r1, "/add_router_interface", fields{"subnet_id": subT}) // takes the subnet's gateway, 10.9.0.1
	var p struct{ Port struct{ ID string } }
	if err := x.demo.ask(201, "POST", x.demo.neutron("/ports"), fields{"port": fields{"network_id": between,
		"fixed_ips": []fields{{"subnet_id": subT, "ip_address": "10.9.0.250"}}}}, &p); err != nil {
		x.t.Fatal(err)
	}
	put(r5, "/add_router_interface", fields{"port_id": p.Port.ID})
	routes(r5, "0.0.0.0/0", "10.9.0.1")
	routes(x.r1, "10.5.0.0/24", "10.9.0.250")
	open := x.demo.group("open-e", nil, fields{"remote_ip_prefix": "0.0.0.0/0"})
	e := x.newGuest(x.demo, x.admin, "e1", netE, x.a1.node, fields{"security_groups": []string{open}})
	x.batch(x.namespace(e.name), "route add default via 10.5.0.1")
	x.admin.confirmed()
	for _, g := range []*guest{x.a1, x.a2, x.b2} { // on its node and on another
		for _, w := range [][2]*guest{{e, g}, {g, e}} {
			if out := x.pings(w[0].name, w[1].ip.String()); !strings.Contains(out, "ttl=62 ") {
				x.t.Errorf("%s to %s: want ttl=62: %s", w[0].name, w[1].name, out)
			}
		}
		if j := x.join(e.name, g.name, g.ip.String()); j.seenAs() != e.ip.String() {
			x.t.Errorf("%s arrives at %s as %s", e.name, g.name, j.seenAs())
		} else {
			j.carry(x.t, 100_000)
		}
	}
	for _, address := range []string{"10.9.0.1", "10.9.0.250", "10.1.0.1"} {
		x.pings(e.name, address)
	}
	// To outside by the gateway of the other router, and answers back.
	if j := x.join(e.name, far, farAddress); j.seenAs() != x.gw1 {
		x.t.Errorf("%s arrives at far as %s, not %s", e.name, j.seenAs(), x.gw1)
	} else {
		j.carry(x.t, 100_000)
	}
	for to, want := range map[string][]string{x.a2.ip.String(): {"10.5.0.1", "10.9.0.1", x.a2.ip.String()}, farAddress: {"10.5.0.1", "10.9.0.1", upstreamAddress, farAddress}} {
		x.eventually(settleWithin, "traceroute to "+to, func() error {
			out, err := x.run(e.name, "busybox", "traceroute", "-n", "-w", "2", "-q", "1", "-m", "6", to)
			if err != nil {
				return err
			}
			var have []string
			for _, m := range traceLine.FindAllStringSubmatch(out, -1) {
				have = append(have, m[1])
			}
			if !slices.Equal(have, want) {
				return fmt.Errorf("the hops are %v, want %v:\n%s", have, want, out)
			}
			return nil
		})
	}
	e.remove(x.admin)
	routes(x.r1)
	routes(r5)
	put(r5, "/remove_router_interface", fields{"port_id": p.Port.ID})
	put(r5, "/remove_router_interface", fields{"subnet_id": subE})
	put(x.r1, "/remove_router_interface", fields{"subnet_id": subT})
	for _, what := range []string{"/routers/" + r5, "/networks/" + netE, "/networks/" + between} {
		if err := x.demo.ask(204, "DELETE", x.demo.neutron(what), nil, nil); err != nil {
			x.t.Fatal(err)
		}
	}
	x.admin.confirmed()
}
