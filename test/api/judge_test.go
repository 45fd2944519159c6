// SPDX-License-Identifier: Apache-2.0

package api

import (
	"slices"
	"strings"
	"testing"
)

// TestJudge: the judge accepts what happened, and notices each kind of answer that did not.
func TestJudge(t *testing.T) {
	s := start(t)
	base := s.st.Snapshot()
	var deeds []deed
	ask := func(want int, c call) answer {
		t.Helper()
		a, err := s.ask(c)
		if err != nil || a.code != want {
			t.Fatalf("%s: %v %d %s", c, err, a.code, a.text)
		}
		deeds = append(deeds, deed{c, a})
		return a
	}
	id := idInBody.FindStringSubmatch(ask(201, create("demo", "networks", "network", `"name":"n"`)).text)[1]
	ask(201, create("demo", "subnets", "subnet", `"network_id":%q,"ip_version":4,"cidr":"10.0.0.0/29"`, id))
	ask(200, call{"demo", "GET", "networks/" + id, ""})                                                      // 2
	ask(201, create("demo", "ports", "port", `"network_id":%q,"fixed_ips":[{"ip_address":"10.0.0.5"}]`, id)) // 3
	ask(409, create("demo", "ports", "port", `"network_id":%q,"fixed_ips":[{"ip_address":"10.0.0.5"}]`, id)) // 4
	ask(200, call{"demo", "GET", "ports", ""})                                                               // 5
	ask(200, call{"demo", "PUT", "networks/" + id, `{"network":{"name":"m"}}`})                              // 6
	ask(404, call{"demo", "DELETE", "ports/" + nobody, ""})                                                  // 7
	if j := s.weigh(base, deeds); len(j.faults) > 0 || j.committed != 4 || j.refused != 2 || j.read != 2 {
		t.Fatalf("what happened is refused: %d %d %d %v", j.committed, j.refused, j.read, j.faults)
	}
	for what, change := range map[string]func(ds []deed) []deed{
		"another body of a write":              func(ds []deed) []deed { ds[6].text = strings.Replace(ds[6].text, `"m"`, `"n"`, 1); return ds },
		"another address":                      func(ds []deed) []deed { ds[3].text = strings.Replace(ds[3].text, "10.0.0.5", "10.0.0.6", 1); return ds },
		"another status of a write":            func(ds []deed) []deed { ds[0].code = 200; return ds },
		"a refusal of what was done":           func(ds []deed) []deed { ds[6].code = 409; return ds },
		"a write that nobody asked for":        func(ds []deed) []deed { return slices.Delete(ds, 3, 4) },
		"a write after its answer":             func(ds []deed) []deed { ds[3].high = ds[3].low; return ds },
		"a write before its call":              func(ds []deed) []deed { ds[1].low = ds[6].high; ds[1].high = ds[6].high; return ds },
		"writes in another order than in time": func(ds []deed) []deed { ds[0].call.body, ds[6].call.body = ds[6].call.body, ds[0].call.body; return ds },
		"a refusal that was not due yet":       func(ds []deed) []deed { ds[4].low, ds[4].high = ds[1].high, ds[1].high; return ds },
		"a refusal for another reason":         func(ds []deed) []deed { ds[7].code = 403; return ds },
		"a stale read":                         func(ds []deed) []deed { ds[2].low, ds[2].high = ds[6].high, ds[6].high; return ds },
		"a read of what was not there yet":     func(ds []deed) []deed { ds[5].low, ds[5].high = ds[1].high, ds[1].high; return ds },
		"an idle change that would do something": func(ds []deed) []deed {
			return append(ds, deed{call{"demo", "DELETE", "networks/" + nobody, ""}, answer{code: 204, low: ds[6].high, high: ds[6].high}})
		},
	} {
		if j := s.weigh(base, change(slices.Clone(deeds))); len(j.faults) == 0 {
			t.Errorf("%s is not noticed", what)
		}
	}
}

// TestFaults: what does not hold together is found.
func TestFaults(t *testing.T) {
	s := start(t)
	s.node("compute", nil)
	net := s.make("demo", "networks", "network", `"name":"n"`)
	sub := s.make("demo", "subnets", "subnet", `"network_id":%q,"ip_version":4,"cidr":"10.0.0.0/24","enable_dhcp":false`, net)
	pool := s.make("demo", "subnetpools", "subnetpool", `"name":"p","prefixes":["10.8.0.0/20"],"default_prefixlen":24`)
	pooled := s.make("demo", "networks", "network", `"name":"p"`)
	s.make("demo", "subnets", "subnet", `"network_id":%q,"ip_version":4,"subnetpool_id":%q`, pooled, pool)
	port := s.make("admin", "ports", "port", `"network_id":%q,"binding:host_id":"compute"`, net)
	gone := s.make("demo", "ports", "port", `"network_id":%q`, net)
	last := s.make("demo", "ports", "port", `"network_id":%q`, net)
	s.do(call{"demo", "DELETE", "ports/" + gone, ""}, 204)
	s.make("demo", "rbac-policies", "rbac_policy", `"object_type":"network","object_id":%q,"action":"access_as_shared","target_tenant":"p-other"`, net)
	if f := s.records().faults(); len(f) > 0 {
		t.Fatalf("a sound state: %q", f)
	}
	for what, damage := range map[string]func(all records){
		"a port's network":        func(all records) { delete(all["networks"], net) },
		"a port's subnet":         func(all records) { delete(all["subnets"], sub) },
		"a port's set of groups":  func(all records) { clear(all["group-sets"]) },
		"a slot's port":           func(all records) { delete(all["ports"], port) },
		"a port's slot":           func(all records) { clear(all["slots"]) },
		"a hole":                  func(all records) { clear(all["alloc-address-holes"]) },
		"a port with its address": func(all records) { delete(all["ports"], last) },
		"a pool":                  func(all records) { delete(all["subnet-pools"], pool) },
		"keys twice":              func(all records) { all["networks"][net]["key"] = all["networks"][pooled]["key"] },
		"MAC addresses twice":     func(all records) { all["ports"][last]["mac_address"] = all["ports"][port]["mac_address"] },
		"addresses twice":         func(all records) { all["ports"][last]["fixed_ips"] = all["ports"][port]["fixed_ips"] },
		"a forwarding's floating IP": func(all records) {
			all["port-forwardings"] = map[string]map[string]any{"f": {"internal_port_id": port, "internal_ip_address": addr(all, port), "floatingip_id": gone}}
		},
		"a forwarding's address": func(all records) {
			all["floating-ips"] = map[string]map[string]any{"f": {}}
			all["port-forwardings"] = map[string]map[string]any{"f": {"internal_port_id": port, "internal_ip_address": "10.0.0.250", "floatingip_id": "f"}}
		},
		"a forwarding beside a port": func(all records) {
			all["floating-ips"] = map[string]map[string]any{"f": {"port_id": port, "fixed_ip_address": addr(all, port)}}
			all["port-forwardings"] = map[string]map[string]any{"f": {"internal_port_id": port, "internal_ip_address": addr(all, port), "floatingip_id": "f"}}
		},
		"a proxy's router": func(all records) {
			all["ndp-proxies"] = map[string]map[string]any{"p": {"port_id": port, "ip_address": addr(all, port), "router_id": gone}}
		},
		"a proxy's address": func(all records) {
			all["routers"] = map[string]map[string]any{"r": {}}
			all["ndp-proxies"] = map[string]map[string]any{"p": {"port_id": port, "ip_address": "fd00::1", "router_id": "r"}}
		},
		"a log's port":  func(all records) { all["security-logs"] = map[string]map[string]any{"l": {"target_id": gone}} },
		"a log's group": func(all records) { all["security-logs"] = map[string]map[string]any{"l": {"resource_id": gone}} },
		"a free prefix in use": func(all records) {
			for key, o := range all["subnets"] {
				if key != sub {
					o["cidr"] = "10.8.15.0/24"
				}
			}
		},
	} {
		all := s.records()
		if damage(all); len(all.faults()) == 0 {
			t.Errorf("%s: not noticed", what)
		}
	}
}

// addr is the first address of a port.
func addr(all records, port string) string {
	return texts(all["ports"][port], "fixed_ips.ip_address")[0]
}
