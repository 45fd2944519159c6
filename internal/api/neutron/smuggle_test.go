// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"nagare/internal/repro"
	"nagare/internal/store"
)

// foreigner is an object that no caller without privileges may change.
type foreigner struct {
	name, path, id string
	get            func(r store.Reader) any
}

func foreign[T any](rs *Resource[T], base, id string) foreigner {
	return foreigner{rs.name, base + "/" + id, id, func(r store.Reader) any {
		o, ok := rs.get(r, id)
		if !ok {
			return nil
		}
		return o
	}}
}

// foreigners are an administrator's objects, of every kind that a project can own.
func foreigners(w *world) []foreigner {
	net := w.network("admin", "")
	shared := w.network("admin", `"shared":true`)
	sub := w.subnet("admin", net, "10.5.0.0/24", "")
	pub := w.network("admin", `"router:external":true`)
	w.subnet("admin", pub, "172.17.0.0/24", "")
	g := w.make("admin", "security-groups", "security_group", `"name":"f"`)
	q := w.make("admin", "qos/policies", "policy", `"name":"f"`)
	out := []foreigner{
		foreign(networks, "networks", net), foreign(networks, "networks", shared), foreign(subnets, "subnets", sub), foreign(ports, "ports", w.port("admin", net, "")),
		foreign(ports, "ports", w.port("admin", shared, "")), foreign(groups, "security-groups", g),
		foreign(rules, "security-group-rules", w.make("admin", "security-group-rules", "security_group_rule", `"security_group_id":"`+g+`","direction":"ingress"`)),
		foreign(addressGroups, "address-groups", w.make("admin", "address-groups", "address_group", `"addresses":["10.0.0.1"]`)),
		foreign(addressScopes, "address-scopes", w.make("admin", "address-scopes", "address_scope", `"ip_version":4,"shared":true`)),
		foreign(subnetPools, "subnetpools", w.pool("admin", `"prefixes":["10.32.0.0/16"],"shared":true`)),
		foreign(routers, "routers", w.make("admin", "routers", "router", ``)),
		foreign(floatingIPs, "floatingips", w.make("admin", "floatingips", "floatingip", `"floating_network_id":"`+pub+`"`)),
		foreign(rbacPolicies, "rbac-policies", w.grant("admin", "network", net, "access_as_shared", "p-x")),
		foreign(trunks, "trunks", w.make("admin", "trunks", "trunk", `"port_id":"`+w.port("admin", net, "")+`"`)),
		foreign(qosPolicies, "qos/policies", q),
		foreign(localIPs, "local-ips", w.make("admin", "local-ips", "local_ip", `"network_id":"`+net+`"`)),
	}
	proxyCells(w, func(name, label, base, id, _, _ string, _ ...string) {
		if label == "foreign" {
			out = append(out, foreign(ndpProxies, base, id))
		}
	})
	logCells(w, func(name, label, base, id, _, _ string, _ ...string) {
		if label == "foreign" {
			out = append(out, foreign(logs, base, id))
		}
	})
	return append(out, foreignForwarding(w, pub))
}

// foreignForwarding is a port forwarding of an administrator's floating IP.
func foreignForwarding(w *world, ext string) foreigner {
	n := w.network("admin", "")
	s := w.subnet("admin", n, "10.7.0.0/24", "")
	w.attach("admin", w.make("admin", "routers", "router", `"external_gateway_info":{"network_id":"`+ext+`"}`), "subnet_id", s)
	p := w.port("admin", n, "")
	base := "floatingips/" + w.make("admin", "floatingips", "floatingip", `"floating_network_id":"`+ext+`"`) + "/port_forwardings"
	return foreign(portForwardings, base, w.make("admin", base, "port_forwarding",
		fmt.Sprintf(`"protocol":"tcp","internal_port_id":%q,"internal_ip_address":%q,"internal_port":22,"external_port":22`, p, w.addr(p))))
}

// attrNames gives the attributes of any resource.
func (rs *Resource[T]) attrNames() []string { return names(rs) }

func namesOf(name string) []string {
	for _, s := range ruleSets {
		if s.(interface{ shape() shape }).shape().name == name {
			return s.(interface{ attrNames() []string }).attrNames()
		}
	}
	return nil
}

// TestForeignObjectsStay sends 10,000 random requests, as three roles that have no privileges, to objects that are an administrator's, and to
// such a caller's own with theirs in the body: no 5xx, and none of theirs ever changes.
func TestForeignObjectsStay(t *testing.T) {
	repro.Crypto(t)
	rnd := repro.Rand(20, 21)
	w := newWorld(t, func(c *Config) { c.Routers, c.Quotas = true, map[string]int{} })
	w.node("controller", "", map[string]string{"physnet1": "br-ex"})
	theirs := foreigners(w)
	before := map[string]any{}
	for _, f := range theirs {
		before[f.path] = f.get(w.st.Snapshot())
	}
	own := map[string]string{"network": w.network("demo", "")}
	own["subnet"] = w.subnet("demo", own["network"], "10.6.0.0/24", "")
	own["port"] = w.port("demo", own["network"], "")
	own["router"] = w.make("demo", "routers", "router", "")
	own["security_group"] = w.names("demo", "security-groups", "id")[0]
	f := &fuzzWorld{world: w}
	actions := map[string][]string{}
	for _, s := range ruleSets {
		sh := s.(interface{ shape() shape }).shape()
		actions[sh.name] = append(slices.Clone(sh.actions), "tags", "tags/x")
		for _, b := range sh.below {
			actions[sh.name] = append(actions[sh.name], b, b+"/x")
		}
	}
	values := []string{`"p-demo"`, `"p-other"`, `null`, `true`, `false`, `[]`, `{}`, `"x"`, `""`, `"*"`, `7`, `"network:dhcp"`, `"compute:nova"`, `["%s"]`, `"%s"`, `[{"port_id":"%s","segmentation_type":"vlan","segmentation_id":9}]`,
		`{"network_id":"%s"}`, `[{"subnet_id":"%s"}]`, `[{"ip_address":"10.5.0.9"}]`, `["10.0.0.0/24"]`, `"access_as_shared"`, `"network"`, `"security_group"`, `"ingress"`, `"10.8.0.0/24"`, `4`}
	codes := map[int]int{}
	for i := range 10000 {
		target := theirs[rnd.IntN(len(theirs))]
		who := []string{"demo", "other", "reader"}[rnd.IntN(3)]
		attrs := namesOf(target.name)
		var parts []string
		for range rnd.IntN(4) {
			v := values[rnd.IntN(len(values))]
			if strings.Contains(v, "%s") {
				v = fmt.Sprintf(v, theirs[rnd.IntN(len(theirs))].id)
			}
			parts = append(parts, fmt.Sprintf("%q:%s", attrs[rnd.IntN(len(attrs))], v))
		}
		inner := strings.Join(parts, ",")
		body := fmt.Sprintf(`{%q:{%s}}`, target.name, inner)
		coll := target.path[:strings.LastIndexByte(target.path, '/')]
		path, method := target.path, []string{"GET", "PUT", "PUT", "DELETE", "POST"}[rnd.IntN(5)]
		switch rnd.IntN(6) {
		case 0:
			path, method = coll, "POST"
		case 1:
			a := actions[target.name]
			path += "/" + a[rnd.IntN(len(a))]
			if rnd.IntN(2) == 0 {
				body = "{" + inner + "}"
			}
		case 2: // one's own, with theirs
			if id := own[target.name]; id != "" {
				path = coll + "/" + id
				if method == "DELETE" {
					method = "PUT"
				}
			}
		case 3: // the own router with their subnets and ports
			path, method = "routers/"+own["router"]+"/"+[]string{"add_router_interface", "remove_router_interface"}[rnd.IntN(2)], "PUT"
			body = fmt.Sprintf(`{%q:%q}`, []string{"subnet_id", "port_id"}[rnd.IntN(2)], theirs[rnd.IntN(len(theirs))].id)
		}
		codes[f.ask(t, who, method, "/v2.0/"+path, []byte(body))]++
		now := w.st.Snapshot()
		for _, x := range theirs {
			if got := x.get(now); !reflect.DeepEqual(got, before[x.path]) {
				t.Fatalf("request %d, %s %s %s %s: %s is changed\n got %+v\nwant %+v", i, who, method, path, body, x.path, got, before[x.path])
			}
		}
	}
	if codes[404] < 1000 || codes[403] < 300 || codes[400] < 1000 || codes[200]+codes[201]+codes[204] < 100 {
		t.Errorf("the requests were too uniform to prove much: %v", codes)
	}
	consistent(t, w)
}

// TestReadOnlyAttributes gives every attribute that a body may not hold, in creates and updates of every resource, in its own spelling and others:
// 400, and nothing changes.
func TestReadOnlyAttributes(t *testing.T) {
	w, cells := matrixWorld(t)
	for _, s := range ruleSets {
		sh := s.(interface{ shape() shape }).shape()
		if len(cells[sh.name]) == 0 {
			continue // TestPolicyGrid complains
		}
		c := cells[sh.name][0]
		settable := s.(interface{ settable() map[string][2]bool }).settable()
		for name, may := range settable {
			for i, m := range []string{"POST", "PUT"} {
				path, there := c.base, sh.build && c.create != ""
				if m == "PUT" {
					path, there = c.base+"/"+c.id, sh.update
				}
				if !there {
					continue
				}
				given := c.change
				if m == "POST" {
					given = c.create
				}
				spelled := map[string]bool{strings.ToUpper(name): false, strings.ToUpper(name[:1]) + name[1:]: false, name + " ": false, name: may[i]}
				for as, ok := range spelled {
					if ok || strings.Contains(given, `"`+as+`"`) {
						continue
					}
					body := fmt.Sprintf(`{%q:{%s,%q:"x"}}`, sh.name, given, as)
					w.refuseAny("admin", m, "/v2.0/"+path, body, 400)
					w.refuseAny("demo", m, "/v2.0/"+path, body, 400, 403, 404)
				}
			}
		}
		if sh.build && c.create != "" {
			// Twice the same, one in disguise; and whose it is, by both names.
			w.refuseAny("admin", "POST", "/v2.0/"+c.base, fmt.Sprintf(`{%q:{%s},%q:{}}`, sh.name, c.create, sh.name), 400)
			w.refuseAny("admin", "POST", "/v2.0/"+c.base, fmt.Sprintf(`{%q:{%s,"tenant_id":"p-demo","tenant_\u0069d":"p-other"}}`, sh.name, c.create), 400)
			w.refuseAny("admin", "POST", "/v2.0/"+c.base, fmt.Sprintf(`{%q:{%s,"tenant_id":"p-demo","project_id":"p-other"}}`, sh.name, c.create), 400)
			for _, p := range []string{`"tenant_id":"p-other"`, `"project_id":"p-other"`, `"project_id":"p-other","tenant_id":"p-other"`, `"project_id":7`, `"project_id":["p-demo"]`, `"project_id":""`} {
				w.refuseAny("demo", "POST", "/v2.0/"+c.base, fmt.Sprintf(`{%q:{%s,%s}}`, sh.name, c.create, p), 400, 403)
				// One of a bulk spoils it.
				w.refuseAny("demo", "POST", "/v2.0/"+c.base, fmt.Sprintf(`{%q:[{%s},{%s,%s}]}`, sh.plural, c.create, c.create, p), 400, 403)
			}
		}
	}
}

// settable says of each attribute whether it may be in a create, in an update.
func (rs *Resource[T]) settable() map[string][2]bool {
	out := map[string][2]bool{"key": {}, "owner": {}, "__proto__": {}}
	for _, a := range rs.attrs {
		out[a.Name] = [2]bool{a.Post, a.Put}
	}
	return out
}

// refuseAny wants one of some statuses, and an unchanged store.
func (w *world) refuseAny(who, method, path, body string, codes ...int) {
	w.t.Helper()
	before := w.st.Snapshot().Revision()
	a := w.send(who, method, path, body)
	if !slices.Contains(codes, a.code) {
		w.t.Errorf("%s: %s %s %s: got %d %s, want %v", who, method, path, body, a.code, a.text, codes)
	}
	if w.st.Snapshot().Revision() != before {
		w.t.Errorf("%s: %s %s %s: %d, but the store changed", who, method, path, body, a.code)
	}
}
