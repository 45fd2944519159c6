// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"context"
	"testing"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// TestDurable: what the API answers before and after a restart is the same, byte for byte.
func TestDurable(t *testing.T) {
	ctx := context.Background()
	mem := store.NewMemory(store.Limits{})
	open := func() *store.Store {
		st, err := store.Open(ctx, tables.Schema, store.Options{Log: mem.Log()})
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	w := newWorld(t)
	w.st = open()
	w.api.store = w.st
	w.node("controller", "netdev", map[string]string{"physnet1": "br-ex"})
	net := w.network("demo", `"name":"n","description":"d","dns_domain":"x.y."`)
	w.network("admin", `"provider:network_type":"vlan","provider:physical_network":"physnet1","provider:segmentation_id":7,"shared":true`)
	w.subnet("demo", net, "10.0.0.0/24", `,"dns_nameservers":["9.9.9.9"],"host_routes":[{"destination":"10.9.0.0/16","nexthop":"10.0.0.9"}],"gateway_ip":null`)
	w.subnet("demo", net, "fd00::/64", `,"ipv6_ra_mode":"slaac","ipv6_address_mode":"slaac","service_types":["compute:nova"]`)
	p := w.port("demo", net, `,"allowed_address_pairs":[{"ip_address":"10.0.0.0/25"}],"extra_dhcp_opts":[{"opt_name":"mtu","opt_value":"1400"}],"tags":["a"]`)
	w.port("demo", net, `,"fixed_ips":[],"port_security_enabled":false`)
	w.do("admin", "PUT", "/v2.0/ports/"+p, `{"port":{"binding:host_id":"controller","binding:profile":{"n":1,"f":1.5,"l":[12345678901234567890,null,{"x":true}]}}}`, 200)
	w.setStatus(model.PortID(p), model.StatusActive)
	w.make("demo", "security-group-rules", "security_group_rule", `"security_group_id":"`+w.names("demo", "security-groups", "id")[0]+
		`","direction":"ingress","protocol":"tcp","port_range_min":1,"port_range_max":9,"remote_ip_prefix":"10.0.0.1/8"`)
	w.do("admin", "PUT", "/v2.0/quotas/p-demo", `{"quota":{"port":4}}`, 200)
	read := func() map[string]string {
		out := map[string]string{}
		for _, who := range []string{"admin", "demo"} {
			for _, path := range []string{"networks", "subnets", "ports", "security-groups", "security-group-rules", "quotas/p-demo/details"} {
				out[who+" "+path] = w.send(who, "GET", "/v2.0/"+path, "").text
			}
		}
		return out
	}
	before := read()
	w.st = open()
	w.api.store = w.st
	for path, text := range read() {
		if text != before[path] {
			t.Errorf("%s\nbefore %s\nafter  %s", path, before[path], text)
		}
	}
	// Counters and quota go on where they were.
	w.refuse("demo", "POST", "/v2.0/ports", `{"ports":[{"network_id":"`+net+`"},{"network_id":"`+net+`"}]}`, 409, "OverQuota", "")
	w.port("demo", net, "")
	consistent(t, w)
}
