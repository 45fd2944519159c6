// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"nagare/internal/api/neutron"
	"nagare/internal/repro"
)

// A crowd is many clients who know the same objects, among them such as are gone or never were.
type crowd struct {
	s     *server
	mu    sync.Mutex
	known map[string][]string // ids by collection
	gone  [][2]string         // collections and ids of what was deleted lately
	deeds []deed
}

const nobody = "00000000-0000-4000-8000-000000000000"

func (c *crowd) learn(coll, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known[coll] = append(c.known[coll], id)
}

// forget drops what is gone, though not at once: others shall still ask for it.
func (c *crowd) forget(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := strings.LastIndexByte(path, '/')
	coll, id := path[:at], path[at+1:]
	c.gone = append(c.gone, [2]string{coll, id})
	if len(c.gone) < 6 {
		return
	}
	coll, id = c.gone[0][0], c.gone[0][1]
	c.gone = c.gone[1:]
	c.known[coll] = slices.DeleteFunc(c.known[coll], func(s string) bool { return s == id })
}

// some gives an id of a collection: mostly one of the newest, so that many want the same.
func (c *crowd) some(r *rand.Rand, coll string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := c.known[coll]
	if len(ids) == 0 || r.IntN(40) == 0 {
		return nobody
	}
	if r.IntN(4) > 0 {
		ids = ids[max(0, len(ids)-12):]
	}
	return ids[r.IntN(len(ids))]
}

var idInBody = regexp.MustCompile(`"id":"([0-9a-f-]{36})"`)

// ask makes a call, remembers it and learns from the answer.
func (c *crowd) ask(q call) {
	a, err := c.s.ask(q)
	if err != nil || a.code >= 500 {
		c.s.t.Errorf("%s: %v %d %s", q, err, a.code, a.text)
		return
	}
	c.mu.Lock()
	c.deeds = append(c.deeds, deed{q, a})
	c.mu.Unlock()
	switch {
	case a.code == 204 && q.method == "DELETE":
		c.forget(q.path)
	case a.code == 201 && !strings.Contains(q.path, "_rules") && !strings.Contains(q.path, "/tags/"):
		if m := idInBody.FindStringSubmatch(a.text); m != nil {
			c.learn(q.path, m[1])
		}
	case a.code == 200 && strings.HasSuffix(q.path, "/add_router_interface"):
		c.learn("ports", a.body()["port_id"].(string))
	}
}

// wish is one kind of call, made up by the dice.
type wish struct {
	often int
	make  func(c *crowd, r *rand.Rand) (method, path, body string)
}

// whoever may want something; most are of one project.
var whoever = []string{"demo", "demo", "demo", "demo", "demo", "demo", "demo", "demo", "demo", "demo", "other", "admin", "admin"}

func wishes() (all []wish) {
	add := func(often int, f func(c *crowd, r *rand.Rand) (string, string, string)) {
		all = append(all, wish{often, f})
	}
	post := func(often int, coll, name string, attrs func(c *crowd, r *rand.Rand) string) {
		add(often, func(c *crowd, r *rand.Rand) (string, string, string) {
			return "POST", coll, fmt.Sprintf(`{%q:{%s}}`, name, attrs(c, r))
		})
	}
	put := func(often int, coll, below, name string, attrs func(c *crowd, r *rand.Rand) string) {
		add(often, func(c *crowd, r *rand.Rand) (string, string, string) {
			body := "{" + attrs(c, r) + "}"
			if name != "" {
				body = fmt.Sprintf(`{%q:%s}`, name, body)
			}
			return "PUT", coll + "/" + c.some(r, coll) + below, body
		})
	}
	drop := func(often int, coll string) {
		add(often, func(c *crowd, r *rand.Rand) (string, string, string) {
			return "DELETE", coll + "/" + c.some(r, coll), ""
		})
	}
	str := fmt.Sprintf
	one := func(r *rand.Rand, of ...string) string { return of[r.IntN(len(of))] }
	named := func(_ *crowd, r *rand.Rand) string { return str(`"name":"n%d"`, r.IntN(20)) }

	post(8, "networks", "network", func(c *crowd, r *rand.Rand) string {
		return str(`"name":"n%d"`, r.IntN(9)) + one(r, "", "", "", "", str(`,"qos_policy_id":%q`, c.some(r, "qos/policies")), `,"port_security_enabled":false`)
	})
	put(3, "networks", "", "network", func(c *crowd, r *rand.Rand) string {
		return one(r, `"name":"x"`, `"mtu":1400`, str(`"qos_policy_id":%q`, c.some(r, "qos/policies")), `"qos_policy_id":null`, `"shared":true`)
	})
	drop(6, "networks")
	post(9, "subnets", "subnet", func(c *crowd, r *rand.Rand) string {
		b := str(`"network_id":%q,`, c.some(r, "networks"))
		switch r.IntN(5) {
		case 0:
			return b + str(`"ip_version":4,"subnetpool_id":%q`, c.some(r, "subnetpools"))
		case 1:
			return b + str(`"ip_version":6,"cidr":"fd00:%d::/64","ipv6_ra_mode":"slaac","ipv6_address_mode":"slaac"`, r.IntN(3))
		}
		return b + str(`"ip_version":4,"cidr":"10.%d.0.0/28","enable_dhcp":%v`, r.IntN(4), r.IntN(2) == 0)
	})
	put(3, "subnets", "", "subnet", func(_ *crowd, r *rand.Rand) string {
		return one(r, `"name":"s"`, `"gateway_ip":null`, `"enable_dhcp":true`, `"enable_dhcp":false`, `"dns_nameservers":["9.9.9.9"]`, `"allocation_pools":[]`)
	})
	drop(5, "subnets")
	ports := func(c *crowd, r *rand.Rand) string {
		b := str(`"network_id":%q`, c.some(r, "networks"))
		switch r.IntN(8) {
		case 0:
			b += str(`,"fixed_ips":[{"ip_address":"10.%d.0.%d"}]`, r.IntN(4), 2+r.IntN(8))
		case 1:
			b += str(`,"fixed_ips":[{"subnet_id":%q}]`, c.some(r, "subnets"))
		case 2:
			b += str(`,"security_groups":[%q,%q]`, c.some(r, "security-groups"), c.some(r, "security-groups"))
		case 3:
			b += str(`,"qos_policy_id":%q`, c.some(r, "qos/policies"))
		case 4:
			b += str(`,"mac_address":"fa:16:3e:ff:00:%02x"`, r.IntN(6))
		case 5:
			b += `,"device_owner":"compute:nova","binding:host_id":"compute"`
		}
		return b
	}
	post(22, "ports", "port", ports)
	add(3, func(c *crowd, r *rand.Rand) (string, string, string) {
		return "POST", "ports", str(`{"ports":[{%s},{%s},{%s}]}`, ports(c, r), ports(c, r), ports(c, r))
	})
	put(10, "ports", "", "port", func(c *crowd, r *rand.Rand) string {
		return one(r, `"name":"p"`, `"admin_state_up":false`, str(`"security_groups":[%q]`, c.some(r, "security-groups")), `"security_groups":[]`,
			str(`"fixed_ips":[{"ip_address":"10.%d.0.%d"}]`, r.IntN(4), 2+r.IntN(8)), `"fixed_ips":[]`, str(`"qos_policy_id":%q`, c.some(r, "qos/policies")),
			`"binding:host_id":"compute"`, `"binding:host_id":""`)
	})
	drop(14, "ports")
	post(4, "routers", "router", func(c *crowd, r *rand.Rand) string {
		return one(r, `"name":"r"`, str(`"external_gateway_info":{"network_id":%q}`, c.some(r, "external")))
	})
	put(8, "routers", "/add_router_interface", "", func(c *crowd, r *rand.Rand) string {
		return one(r, str(`"subnet_id":%q`, c.some(r, "subnets")), str(`"subnet_id":%q`, c.some(r, "subnets")), str(`"port_id":%q`, c.some(r, "ports")))
	})
	put(5, "routers", "/remove_router_interface", "", func(c *crowd, r *rand.Rand) string {
		return one(r, str(`"subnet_id":%q`, c.some(r, "subnets")), str(`"port_id":%q`, c.some(r, "ports")))
	})
	put(4, "routers", "", "router", func(c *crowd, r *rand.Rand) string {
		return one(r, `"external_gateway_info":null`, str(`"external_gateway_info":{"network_id":%q}`, c.some(r, "external")), `"name":"q"`,
			`"routes":[{"destination":"192.168.0.0/24","nexthop":"10.0.0.9"}]`)
	})
	drop(4, "routers")
	post(7, "floatingips", "floatingip", func(c *crowd, r *rand.Rand) string {
		return str(`"floating_network_id":%q`, c.some(r, "external")) + one(r, "", str(`,"port_id":%q`, c.some(r, "ports")))
	})
	put(5, "floatingips", "", "floatingip", func(c *crowd, r *rand.Rand) string {
		return one(r, `"port_id":null`, str(`"port_id":%q`, c.some(r, "ports")))
	})
	drop(4, "floatingips")
	post(4, "security-groups", "security_group", named)
	put(1, "security-groups", "", "security_group", named)
	drop(3, "security-groups")
	post(8, "security-group-rules", "security_group_rule", func(c *crowd, r *rand.Rand) string {
		return str(`"security_group_id":%q,"direction":"ingress","protocol":"tcp","port_range_min":1,"port_range_max":%d`, c.some(r, "security-groups"), 1+r.IntN(4)) +
			one(r, "", str(`,"remote_group_id":%q`, c.some(r, "security-groups")), str(`,"remote_address_group_id":%q`, c.some(r, "address-groups")))
	})
	drop(3, "security-group-rules")
	post(2, "address-groups", "address_group", func(_ *crowd, r *rand.Rand) string { return `"addresses":["10.0.0.0/24"]` })
	put(2, "address-groups", "/add_addresses", "", func(_ *crowd, r *rand.Rand) string { return str(`"addresses":["10.%d.0.0/16"]`, r.IntN(5)) })
	drop(2, "address-groups")
	post(2, "address-scopes", "address_scope", func(*crowd, *rand.Rand) string { return `"ip_version":4` })
	drop(1, "address-scopes")
	post(3, "subnetpools", "subnetpool", func(c *crowd, r *rand.Rand) string {
		return str(`"name":"p","prefixes":["10.%d.0.0/20"],"default_prefixlen":26`, 64+r.IntN(60)) + one(r, "", str(`,"address_scope_id":%q`, c.some(r, "address-scopes")))
	})
	put(1, "subnetpools", "/add_prefixes", "", func(_ *crowd, r *rand.Rand) string { return str(`"prefixes":["10.%d.0.0/20"]`, 64+r.IntN(60)) })
	drop(2, "subnetpools")
	post(5, "rbac-policies", "rbac_policy", func(c *crowd, r *rand.Rand) string {
		kind := one(r, "network", "network", "qos_policy", "security_group", "address_scope", "subnetpool", "address_group")
		coll := map[string]string{"network": "networks", "qos_policy": "qos/policies", "security_group": "security-groups", "address_scope": "address-scopes",
			"subnetpool": "subnetpools", "address_group": "address-groups"}[kind]
		return str(`"object_type":%q,"object_id":%q,"action":"access_as_shared","target_tenant":%q`, kind, c.some(r, coll), one(r, "p-other", "p-demo", "p-x"))
	})
	drop(4, "rbac-policies")
	post(9, "qos/policies", "policy", func(_ *crowd, r *rand.Rand) string {
		return one(r, `"name":"q"`, `"name":"q","shared":true`, `"name":"q","shared":true`, `"name":"q","is_default":true`)
	})
	add(9, func(c *crowd, r *rand.Rand) (string, string, string) {
		return "POST", "qos/policies/" + c.some(r, "qos/policies") + "/bandwidth_limit_rules", str(`{"bandwidth_limit_rule":{"max_kbps":%d,"direction":"egress"}}`, 1000+r.IntN(9))
	})
	drop(6, "qos/policies")
	post(4, "trunks", "trunk", func(c *crowd, r *rand.Rand) string { return str(`"port_id":%q`, c.some(r, "ports")) })
	put(4, "trunks", "/add_subports", "", func(c *crowd, r *rand.Rand) string {
		return str(`"sub_ports":[{"port_id":%q,"segmentation_type":"vlan","segmentation_id":%d}]`, c.some(r, "ports"), 1+r.IntN(5))
	})
	put(2, "trunks", "/remove_subports", "", func(c *crowd, r *rand.Rand) string { return str(`"sub_ports":[{"port_id":%q}]`, c.some(r, "ports")) })
	drop(2, "trunks")
	add(2, func(c *crowd, r *rand.Rand) (string, string, string) {
		coll := one(r, "networks", "ports", "routers")
		return one(r, "PUT", "DELETE"), coll + "/" + c.some(r, coll) + "/tags/" + one(r, "a", "b"), ""
	})
	add(1, func(_ *crowd, r *rand.Rand) (string, string, string) {
		return "PUT", "quotas/p-demo", str(`{"quota":{"port":%d,"network":%d}}`, 100+r.IntN(100), 30+r.IntN(60))
	})
	add(30, func(c *crowd, r *rand.Rand) (string, string, string) {
		coll := one(r, "networks", "subnets", "ports", "ports", "routers", "floatingips", "security-groups", "subnetpools", "rbac-policies", "qos/policies", "trunks",
			"address-groups", "address-scopes", "security-group-rules")
		return "GET", coll + one(r, "/"+c.some(r, coll), "/"+c.some(r, coll), "", "?limit=5", "?fields=id"), ""
	})
	add(3, func(c *crowd, r *rand.Rand) (string, string, string) {
		return "GET", one(r, "quotas/p-demo/details", "network-ip-availabilities", "ports?network_id="+c.some(r, "networks"), "ports?device_owner=network:router_interface"), ""
	})
	return all
}

// TestStorm has 500 clients make, change, read and delete everything at once. Nothing fails, nothing is left behind, and each
// answer is one that the requests one after another would have got.
func TestStorm(t *testing.T) {
	const clients, calls = 500, 7
	s := start(t, func(c *neutron.Config) { c.Quotas = map[string]int{"port": 150, "network": 60, "floatingip": 40} })
	s.node("compute", map[string]string{"physnet1": "br-ex"})
	c := &crowd{s: s, known: map[string][]string{}}
	ext := s.make("admin", "networks", "network", `"router:external":true,"provider:network_type":"flat","provider:physical_network":"physnet1"`)
	s.make("admin", "subnets", "subnet", `"network_id":%q,"ip_version":4,"cidr":"172.16.0.0/26"`, ext)
	c.learn("external", ext)
	for i := range 4 {
		net := s.make("demo", "networks", "network", `"name":"n%d"`, i)
		c.learn("networks", net)
		sub := s.make("demo", "subnets", "subnet", `"network_id":%q,"ip_version":4,"cidr":"10.%d.0.0/28"`, net, i)
		c.learn("subnets", sub)
		r := s.make("demo", "routers", "router", `"external_gateway_info":{"network_id":%q}`, ext)
		c.learn("routers", r)
		s.do(call{"demo", "PUT", "routers/" + r + "/add_router_interface", fmt.Sprintf(`{"subnet_id":%q}`, sub)}, 200)
		c.learn("qos/policies", s.make("admin", "qos/policies", "policy", `"name":"q","shared":true`))
		c.learn("subnetpools", s.make("demo", "subnetpools", "subnetpool", `"name":"p","prefixes":["10.%d.0.0/20"],"default_prefixlen":26`, 60+i))
		c.learn("address-groups", s.make("demo", "address-groups", "address_group", `"addresses":["10.0.0.0/24"]`))
		c.learn("security-groups", s.make("demo", "security-groups", "security_group", `"name":"g%d"`, i))
	}
	var urn []wish
	for _, w := range wishes() {
		for range w.often {
			urn = append(urn, w)
		}
	}
	base := s.st.Snapshot()
	var ready, done sync.WaitGroup
	ready.Add(clients)
	for i := range clients {
		done.Go(func() {
			r := repro.Rand(7, uint64(i))
			ready.Done()
			ready.Wait()
			for range calls {
				who := whoever[r.IntN(len(whoever))]
				method, path, body := urn[r.IntN(len(urn))].make(c, r)
				if method != "GET" && (strings.HasPrefix(path, "q") || strings.Contains(body, "binding:")) && r.IntN(9) > 0 {
					who = "admin" // whom members have to ask for policies, quotas and bindings
				}
				c.ask(call{who, method, path, body})
			}
		})
	}
	done.Wait()
	if t.Failed() {
		return
	}
	codes := map[int]int{}
	for _, d := range c.deeds {
		codes[d.code]++
	}
	j := s.weigh(base, c.deeds)
	t.Logf("answers %v; %d commits replayed, %d refusals, %d reads and %d idle changes explained by %d calls", codes, j.committed, j.refused, j.read, j.still, j.asked)
	for i, f := range j.faults {
		if t.Errorf("%s", f); i == 5 {
			t.Fatalf("and %d more", len(j.faults)-i)
		}
	}
	if codes[201] < 300 || codes[204] < 50 || codes[404] < 50 || codes[409] < 50 {
		t.Errorf("the calls were too uniform to prove much: %v", codes)
	}
	s.whole()
}
