// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/api/neutron"
	nbi "nagare/internal/api/odl"
	"nagare/internal/api/restconf"
	"nagare/internal/identity"
)

// doors is a server with the three ways to its objects: OpenStack's API, the northbound and RESTCONF.
type doors struct {
	t                *testing.T
	api, north, rest http.Handler
}

// somebody is an administrator of OpenStack.
type somebody struct{}

func (somebody) Validate(context.Context, string) (identity.Principal, error) { return allow(nil) }

func newDoors(t *testing.T) *doors {
	s := newServer(t, inMemory())
	cfg := nbi.Config{Store: s.st, Auth: allow, Writable: true, NativeDHCP: true}
	return &doors{t: t, north: s.handler,
		api:  neutron.New(neutron.Config{Store: s.st, Auth: somebody{}, Alloc: &alloc.Allocator{}, Profile: "standard", Routers: true, NativeDHCP: true}),
		rest: restconf.New(restconf.Config{Store: s.st, Objects: nbi.NewObjects(cfg), Auth: allow, Profile: "standard", NativeDHCP: true})}
}

// do asks one of the doors and gives the answer, without its wrapper if there is one.
func (d *doors) do(h http.Handler, method, path, body string, want int) map[string]any {
	d.t.Helper()
	rec := httptest.NewRecorder()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	h.ServeHTTP(rec, r)
	if rec.Code != want {
		d.t.Fatalf("%s %s %s: %d %s, want %d", method, path, body, rec.Code, rec.Body, want)
	}
	var out map[string]any
	if rec.Body.Len() > 0 {
		if err := json.Unmarshal(rec.Body.Bytes(), &out); err != nil {
			d.t.Fatal(err)
		}
	}
	for _, v := range out {
		if o, ok := v.(map[string]any); ok && len(out) == 1 {
			return o
		}
	}
	return out
}

// sameKinds are the objects that are compared: their collections by each door, and the name of one.
var sameKinds = []struct{ plural, nbi, list, entry, one string }{
	{"networks", "networks", "networks", "network", "network"},
	{"subnets", "subnets", "subnets", "subnet", "subnet"},
	{"security-groups", "security-groups", "security-groups", "security-group", "security_group"},
	{"security-group-rules", "security-group-rules", "security-rules", "security-rule", "security_group_rule"},
	{"ports", "ports", "ports", "port", "port"},
	{"routers", "routers", "routers", "router", "router"},
}

const treeTop = "/restconf/config/neutron:neutron/"

// bare takes off what is of a cloud and not of an object, what follows from the rest, and what networking-odl spells as a text.
func bare(v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, name := range []string{"created_at", "updated_at", "revision_number", "revision-number", "belongs_to_default_sg", "normalized_cidr", "binding:profile"} {
			delete(v, name)
		}
		for _, x := range v {
			bare(x)
		}
	case []any:
		for _, x := range v {
			bare(x)
		}
	}
}

// TestSameObject: an object that came by one door is the same object by all three. One cloud is made by OpenStack's API, one by the
// northbound from what the first shows, one by RESTCONF from what the second shows. Descriptions have no place in the modules, so no object here has one.
func TestSameObject(t *testing.T) {
	first, second, third := newDoors(t), newDoors(t), newDoors(t)
	id := func(o map[string]any) string { return o["id"].(string) }
	ask := func(path, body string) string { return id(first.do(first.api, "POST", "/v2.0/"+path, body, 201)) }
	net := ask("networks", `{"network":{"name":"net01","port_security_enabled":true}}`)
	sub := ask("subnets", `{"subnet":{"name":"sub","network_id":"`+net+`","ip_version":4,"cidr":"10.0.0.0/24","dns_nameservers":["9.9.9.9"],"enable_dhcp":false,
		"host_routes":[{"destination":"10.9.0.0/16","nexthop":"10.0.0.9"}],"allocation_pools":[{"start":"10.0.0.10","end":"10.0.0.99"}]}}`)
	group := ask("security-groups", `{"security_group":{"name":"web"}}`)
	ask("security-group-rules", `{"security_group_rule":{"security_group_id":"`+group+`","direction":"ingress","ethertype":"IPv4","protocol":"tcp","port_range_min":80,"port_range_max":88,"remote_ip_prefix":"10.1.0.0/16"}}`)
	port := ask("ports", `{"port":{"name":"vm01","network_id":"`+net+`","security_groups":["`+group+`"],"binding:host_id":"a","device_id":"i","device_owner":"compute:nova",
		"allowed_address_pairs":[{"ip_address":"10.0.0.200"}],"fixed_ips":[{"subnet_id":"`+sub+`","ip_address":"10.0.0.42"}]}}`)
	router := ask("routers", `{"router":{"name":"r"}}`)
	var rules []string
	for _, r := range first.do(first.api, "GET", "/v2.0/security-groups/"+group, "", 200)["security_group_rules"].([]any) {
		rules = append(rules, id(r.(map[string]any)))
	}
	objects := [][]string{{net}, {sub}, {group}, rules, {port}, {router}}
	for i, k := range sameKinds {
		for _, id := range objects[i] {
			o := first.do(first.api, "GET", "/v2.0/"+k.plural+"/"+id, "", 200)
			b, err := json.Marshal(map[string]any{k.one: o})
			if err != nil {
				t.Fatal(err)
			}
			second.do(second.north, "POST", "/controller/nb/v2/neutron/"+k.nbi, string(b), 201)
			entry := treeTop + k.list + "/" + k.entry + "/" + id
			b, err = json.Marshal(second.do(second.rest, "GET", entry, "", 200))
			if err != nil {
				t.Fatal(err)
			}
			third.do(third.rest, "PUT", entry, string(b), 201)
		}
	}
	for i, k := range sameKinds {
		for _, id := range objects[i] {
			for _, path := range []string{"/v2.0/" + k.plural + "/" + id, "/controller/nb/v2/neutron/" + k.nbi + "/" + id, treeTop + k.list + "/" + k.entry + "/" + id} {
				look := func(d *doors) map[string]any {
					h := d.rest
					switch {
					case strings.HasPrefix(path, "/v2.0"):
						h = d.api
					case strings.HasPrefix(path, "/controller"):
						h = d.north
					}
					o := d.do(h, "GET", path, "", 200)
					if l, ok := o[k.entry].([]any); ok && len(l) == 1 {
						o = l[0].(map[string]any) // as RESTCONF has it
					}
					bare(o)
					return o
				}
				one, two, three := look(first), look(second), look(third)
				for name, other := range map[string]map[string]any{"the northbound": two, "RESTCONF": three} {
					for attr := range one {
						if !reflect.DeepEqual(one[attr], other[attr]) {
							t.Errorf("%s: made by %s, its %s is %v; by our own API %v", path, name, attr, other[attr], one[attr])
						}
					}
					for attr := range other {
						// The northbound, and with it RESTCONF, gives back what it was told of an object, also what follows from the rest.
						if _, ok := one[attr]; !ok && strings.HasPrefix(path, "/v2.0") {
							t.Errorf("%s: made by %s, it has %s: %v besides", path, name, attr, other[attr])
						}
					}
				}
			}
		}
	}
}
