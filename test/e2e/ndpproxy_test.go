// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"testing"
)

// TestNDPProxy: an instance's IPv6 address, to which nobody outside has a route, is reached from outside where the router speaks for it
// on the external network, whichever node the instance is on; another's is not, and neither is this one after that.
func TestNDPProxy(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	x := &world{site: s, demo: s.user("demo"), admin: s.user("admin")}
	x.wireOutside("external")
	var made struct {
		Scope struct{ ID string } `json:"address_scope"`
		Pool  struct{ ID string } `json:"subnetpool"`
		Proxy struct{ ID string } `json:"ndp_proxy"`
	}
	ask := func(c *client, want int, method, path string, body fields) {
		t.Helper()
		if err := c.ask(want, method, c.neutron(path), body, &made); err != nil {
			t.Fatal(err)
		}
	}
	ask(x.admin, 201, "POST", "/address-scopes", fields{"address_scope": fields{"name": "six", "ip_version": 6, "shared": true}})
	ask(x.admin, 201, "POST", "/subnetpools", fields{"subnetpool": fields{"name": "six", "prefixes": []string{"fd16::/64", "fd20::/64"}, "default_prefixlen": 64,
		"shared": true, "address_scope_id": made.Scope.ID}})
	six := fields{"enable_dhcp": false, "subnetpool_id": made.Pool.ID}
	ext := x.admin.external("ext-net", "external", "172.16.1.0/24")
	x.admin.subnet(ext, "fd16::/64", 6, six)
	net, sub := x.demo.network("net-six", "10.3.0.0/24")
	sub6 := x.demo.subnet(net, "fd20::/64", 6, six)
	router := x.demo.router("r", ext, sub, sub6)
	s.batch(s.namespace(upstream), "-6 route add fd20::/64 dev eth0") // as if the hosts were on the external network
	group := x.demo.group("open", nil, fields{"remote_ip_prefix": "0.0.0.0/0"}, fields{"remote_ip_prefix": "::/0", "ethertype": "IPv6"})
	guests := map[string]*guest{}
	for name, node := range map[string]string{"near": controller, "away": compute, "other": compute} {
		last := map[string]string{"near": "11", "away": "12", "other": "13"}[name]
		guests[name] = s.newGuest(x.demo, x.admin, name, net, node, fields{"security_groups": []string{group},
			"fixed_ips": []fields{{"subnet_id": sub, "ip_address": "10.3.0." + last}, {"subnet_id": sub6, "ip_address": "fd20::" + last}}})
		s.batch(s.namespace(name), "-6 route add default via fd20::1")
	}
	ask(x.demo, 200, "PUT", "/routers/"+router, fields{"router": fields{"enable_ndp_proxy": true}})
	x.admin.confirmed()
	x.silent(far, "fd20::11")
	proxies := map[string]string{}
	for _, name := range []string{"near", "away"} {
		ask(x.demo, 201, "POST", "/ndp_proxies", fields{"ndp_proxy": fields{"router_id": router, "port_id": guests[name].port.ID}})
		proxies[name] = made.Proxy.ID
	}
	x.admin.confirmed()
	for _, name := range []string{"near", "away"} {
		x.pings(upstream, guests[name].ip6.String())
		x.pings(far, guests[name].ip6.String())
		x.pings(name, farAddress6)
	}
	x.silent(far, "fd20::13")
	x.silent("other", farAddress6) // nobody finds the way back
	if err := x.demo.ask(204, "DELETE", x.demo.neutron("/ndp_proxies/"+proxies["away"]), nil, nil); err != nil {
		t.Fatal(err)
	}
	x.admin.confirmed()
	x.eventually(settleWithin, "nothing comes in to an address that nobody speaks for any more", func() error { // a barrier is not the datapath
		if _, err := x.in(far, "ping", "-n", "-c", "1", "-W", "1", "fd20::12"); err == nil {
			return errors.New("it still answers")
		}
		return nil
	})
	x.silent(far, "fd20::12")
	x.pings(far, "fd20::11")
}
