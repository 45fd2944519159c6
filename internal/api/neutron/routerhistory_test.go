// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"context"
	"fmt"
	"testing"

	"nagare/internal/model"
	"nagare/internal/repro"
	"nagare/internal/tables"
)

// TestRouterHistories asks for routers, interfaces, floating IPs, ports, subnets and networks at random, possible or not, as two
// tenants and an administrator, and holds what is left to consistent.
func TestRouterHistories(t *testing.T) {
	repro.Crypto(t)
	codes, bound := map[int]int{}, 0 // bound: associations of a floating IP with a port that were granted
	for seed := range uint64(4) {
		rnd := repro.Rand(seed, 21)
		f := &fuzzWorld{world: newWorld(t, func(c *Config) { c.Routers, c.Quotas = true, map[string]int{} })}
		w := f.world
		nodes := []string{"a", "b", "c"}
		w.node("a", "", map[string]string{"physnet1": "br-ex"})
		for i := range 2 {
			ext := w.network("admin", fmt.Sprintf(`"router:external":true,"provider:network_type":"vlan","provider:physical_network":"physnet1","provider:segmentation_id":%d`, 100+i))
			w.subnet("admin", ext, fmt.Sprintf("172.%d.0.0/27", 16+i), "")
		}
		// pick gives an object of a collection that exists, as an administrator sees them, or now and then one that does not.
		pick := func(collection string) string {
			ids := w.names("admin", collection, "id")
			if len(ids) == 0 || rnd.IntN(30) == 0 {
				return "00000000-0000-4000-8000-000000000000"
			}
			return ids[rnd.IntN(len(ids))]
		}
		exts := "networks?router:external=true"
		for range 1100 {
			who := []string{"demo", "demo", "demo", "other", "admin"}[rnd.IntN(5)]
			send := func(method, path, body string) (done bool) {
				code := f.ask(t, who, method, "/v2.0/"+path, []byte(body))
				codes[code]++
				return code < 300
			}
			edit := func(collection, name, attrs string) (done bool) {
				return send("PUT", collection+"/"+pick(collection), fmt.Sprintf(`{%q:{%s}}`, name, attrs))
			}
			gateway := func() string {
				switch rnd.IntN(8) {
				case 0:
					return `"external_gateway_info":null`
				case 1:
					return `"external_gateway_info":{"network_id":"` + pick("networks") + `","external_fixed_ips":[{"subnet_id":"` + pick("subnets") + `"},{"ip_address":"172.16.0.9"}]}`
				}
				return `"external_gateway_info":{"network_id":"` + pick(exts) + `"}`
			}
			switch rnd.IntN(24) {
			case 0:
				send("POST", "networks", `{"network":{}}`)
			case 1, 2:
				send("POST", "subnets", fmt.Sprintf(`{"subnet":{"network_id":%q,"cidr":"10.%d.%d.0/28","ip_version":4}}`, pick("networks"), rnd.IntN(3), rnd.IntN(4)))
			case 3:
				send("POST", "subnets", fmt.Sprintf(`{"subnet":{"network_id":%q,"cidr":"fd00:%d::/64","ip_version":6,"ipv6_address_mode":"slaac","ipv6_ra_mode":"slaac"}}`, pick("networks"), rnd.IntN(5)))
			case 4, 5, 6:
				send("POST", "ports", `{"port":{"network_id":"`+pick("networks")+`"}}`)
			case 7, 8:
				send("POST", "routers", `{"router":{`+gateway()+`}}`)
			case 9, 10, 11:
				send("PUT", "routers/"+pick("routers")+"/add_router_interface", `{"subnet_id":"`+pick("subnets")+`"}`)
			case 12:
				send("PUT", "routers/"+pick("routers")+"/add_router_interface", `{"port_id":"`+pick("ports")+`"}`)
			case 13:
				send("PUT", "routers/"+pick("routers")+"/remove_router_interface", `{"subnet_id":"`+pick("subnets")+`"}`)
			case 14:
				edit("routers", "router", gateway())
			case 15:
				edit("routers", "router", fmt.Sprintf(`"routes":[{"destination":"192.168.0.0/24","nexthop":"10.%d.%d.9"}]`, rnd.IntN(3), rnd.IntN(4)))
			case 16, 17:
				if send("POST", "floatingips", `{"floatingip":{"floating_network_id":"`+pick(exts)+`","port_id":"`+pick("ports")+`"}}`) {
					bound++
				}
			case 18:
				send("POST", "floatingips", `{"floatingip":{"floating_network_id":"`+pick(exts)+`"}}`)
			case 19:
				if edit("floatingips", "floatingip", `"port_id":"`+pick("ports")+`"`) {
					bound++
				}
			case 20:
				edit("floatingips", "floatingip", `"port_id":null`)
			case 21:
				edit("ports", "port", fmt.Sprintf(`"fixed_ips":[{"subnet_id":%q}]`, pick("subnets")))
			case 22:
				c := []string{"ports", "ports", "routers", "floatingips", "subnets", "networks"}[rnd.IntN(6)]
				send("DELETE", c+"/"+pick(c), "")
			case 23:
				if n := nodes[rnd.IntN(len(nodes))]; rnd.IntN(2) == 0 {
					w.forget(model.NodeID(n))
				} else if _, known := tables.Nodes.Get(w.st.Snapshot(), model.NodeID(n)); !known {
					w.node(n, "", map[string]string{"physnet1": "br-ex"})
				}
				if err := w.api.PlaceGateways(context.Background(), map[model.NodeID]bool{model.NodeID(nodes[rnd.IntN(len(nodes))]): true}); err != nil {
					t.Fatal(err)
				}
			}
		}
		consistent(t, w)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d floating IPs associated, %v", bound, codes)
	if bound < 3 || codes[201] < 400 || codes[200] < 100 || codes[204] < 20 || codes[409] < 50 {
		t.Errorf("the requests were too uniform to prove much: %d floating IPs associated, %v", bound, codes)
	}
}
