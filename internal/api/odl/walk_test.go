// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/api/neutron"
	"nagare/internal/identity"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// somebody is who calls our own Neutron API in the tests.
type somebody struct{}

func (somebody) Validate(context.Context, string) (identity.Principal, error) {
	return identity.Principal{UserID: "u", ProjectID: tenant, Roles: []string{"admin"}}, nil
}

// recording gives the walk-through's objects their ids.
const recording = `
networks: [{name: net01, id: f8209267-5cf1-4073-9af5-bbbf7fe500cd, segmentation_id: 1077}]
subnets: [{name: net01-subnet, id: 8d373fbd-6134-47d1-aff6-86ee1ae7c8d1}]
ports:
  - {device_owner: "network:dhcp", network: net01, id: 178a8b99-700f-4d2f-be35-f34d420f66a3, mac: "fa:16:3e:ef:85:07"}
  - {device_owner: "network:router_interface", network: net01, id: f72c630e-7389-4b91-bbda-5c27e768ad7b, mac: "fa:16:3e:bb:4f:57"}
  - {name: vm01, id: 7adff632-ccf9-4d43-8f5d-7db454313f44, mac: "fa:16:3e:9e:f5:70"}
  - {name: vm02, id: 2756a09c-125a-4fe8-9a26-2bde05857062, mac: "fa:16:3e:53:88:56"}
`

// pairOf is one cloud twice: made by our own Neutron API, and by another Neutron that tells us of it.
type pairOf struct {
	*world                    // the second
	own     *world            // the first; only its store is used by the helpers
	api     *neutron.API      // of the first
	sent    map[string]string // by kind and id: the body that the second was told last
	order   []string          // of sent
	routers bool              // our own API has them
}

func newPair(t testing.TB, profile string) *pairOf {
	ids, err := alloc.ParseRecorded([]byte(recording))
	if err != nil {
		t.Fatal(err)
	}
	p := &pairOf{world: newWorld(t, func(c *Config) { c.Profile, c.NativeDHCP = profile, profile == "standard" }),
		own: &world{TB: t, st: store.New(tables.Schema, nil)}, sent: map[string]string{}, routers: profile == "standard"}
	p.api = neutron.New(neutron.Config{Store: p.own.st, Auth: somebody{}, IDs: ids, Profile: profile, Routers: profile == "standard",
		NativeDHCP: profile == "standard", DHCPServerHost: "controller"})
	p.nodes()
	p.own.nodes()
	return p
}

// call asks our own Neutron API and gives the id of what it answers.
func (p *pairOf) call(method, path, body string) string {
	p.Helper()
	rec := httptest.NewRecorder()
	p.api.ServeHTTP(rec, httptest.NewRequest(method, "/v2.0/"+path, strings.NewReader(body)))
	var out map[string]json.RawMessage
	if rec.Code >= 300 || rec.Code != 204 && json.Unmarshal(rec.Body.Bytes(), &out) != nil {
		p.Fatalf("%s %s: %d %s", method, path, rec.Code, rec.Body)
	}
	for _, v := range out {
		var o struct{ ID string }
		if json.Unmarshal(v, &o) == nil && o.ID != "" {
			return o.ID
		}
	}
	return ""
}

// keyed are the objects of the first cloud as its API shows them, in the order in which they were made.
func (p *pairOf) keyed(path, kind string) (out []map[string]any) {
	p.Helper()
	rec := httptest.NewRecorder()
	p.api.ServeHTTP(rec, httptest.NewRequest("GET", "/v2.0/"+path, nil))
	var body map[string][]map[string]any
	dec := json.NewDecoder(rec.Body)
	dec.UseNumber()
	if err := dec.Decode(&body); err != nil {
		p.Fatal(err)
	}
	r := p.own.st.Snapshot()
	key := func(o map[string]any) model.Key {
		id, _ := o["id"].(string)
		switch kind {
		case "network":
			n, _ := tables.Networks.Get(r, model.NetworkID(id))
			return n.Key
		case "subnet":
			s, _ := tables.Subnets.Get(r, model.SubnetID(id))
			return s.Key
		case "port":
			p, _ := tables.Ports.Get(r, model.PortID(id))
			return p.Key
		case "security_group_rule":
			s, _ := tables.Rules.Get(r, model.SecurityGroupRuleID(id))
			return s.Key
		}
		return 0
	}
	out = body[strings.ReplaceAll(path[strings.Index(path, "/")+1:], "-", "_")]
	slices.SortStableFunc(out, func(a, b map[string]any) int { return cmp.Compare(key(a), key(b)) })
	return out
}

// tell has the other Neutron tell us what has changed since it told us last, in the form that networking-odl gives it.
func (p *pairOf) tell() {
	p.Helper()
	left := map[string]bool{}
	for _, c := range [][2]string{{"qos/policies", "policy"}, {"networks", "network"}, {"subnets", "subnet"}, {"security-groups", "security_group"}, {"security-group-rules", "security_group_rule"},
		{"ports", "port"}, {"trunks", "trunk"}, {"routers", "router"}, {"floatingips", "floatingip"}} {
		path, kind := c[0], c[1]
		if slices.Contains([]string{"policy", "trunk", "router", "floatingip"}, kind) && !p.routers {
			continue
		}
		for _, o := range p.keyed(path, kind) {
			id := o["id"].(string)
			delete(o, "status")
			drop := []string{"id", "tenant_id", "project_id"}
			switch kind {
			case "network":
				delete(o, "subnets")
			case "subnet":
				drop = append(drop, "network_id", "ip_version", "cidr")
			case "port":
				drop = append(drop, "network_id")
				var groups []any
				for _, g := range o["security_groups"].([]any) {
					groups = append(groups, map[string]any{"id": g})
				}
				o["security_groups"] = groups
				o["binding:profile"] = "{}"
				if len(o["extra_dhcp_opts"].([]any)) == 0 {
					delete(o, "extra_dhcp_opts")
				}
			case "router":
				r, _ := tables.Routers.Get(p.own.st.Snapshot(), model.RouterID(id))
				if o["gw_port_id"] = string(r.GatewayPort); r.GatewayPort == "" {
					o["gw_port_id"] = nil
				}
			case "security_group":
				r := p.own.st.Snapshot()
				key := func(v any) model.Key {
					rule, _ := tables.Rules.Get(r, model.SecurityGroupRuleID(v.(map[string]any)["id"].(string)))
					return rule.Key
				}
				slices.SortFunc(o["security_group_rules"].([]any), func(a, b any) int { return cmp.Compare(key(a), key(b)) })
			case "security_group_rule":
				if o["protocol"] == "ipv6-icmp" {
					o["protocol"] = "icmpv6"
				}
			case "floatingip", "trunk":
				drop = nil
			case "policy":
				drop = nil
				if _, told := p.sent[path+"/"+id]; told { // live changes list rules by type
					for _, r := range o["rules"].([]any) {
						list := r.(map[string]any)["type"].(string) + "_rules"
						l, _ := o[list].([]any)
						o[list] = append(l, r)
					}
					delete(o, "rules")
				}
			}
			key := path + "/" + id
			left[key] = true
			b, _ := json.Marshal(map[string]any{kind: o})
			was, told := p.sent[key]
			p.sent[key] = string(b)
			switch {
			case !told:
				p.order = append(p.order, key)
				p.do("POST", "/"+path, string(b), 201)
			case was != string(b):
				for _, name := range drop {
					delete(o, name)
				}
				b, _ = json.Marshal(map[string]any{kind: o})
				p.do("PUT", "/"+key, string(b), 200)
			}
		}
	}
	for _, key := range slices.Backward(slices.Clone(p.order)) {
		if !left[key] {
			p.do("DELETE", "/"+key, "", 204)
			delete(p.sent, key)
			p.order = slices.DeleteFunc(p.order, func(k string) bool { return k == key })
		}
	}
}

// plugs has a port's interface appear in both clouds.
func (p *pairOf) plugs(node model.NodeID, id string) {
	p.plug(node, model.PortID(id))
	p.own.plug(node, model.PortID(id))
}

// same holds that both clouds want the same of every node.
func (p *pairOf) same(step, profile string, atLeast int) {
	p.Helper()
	p.tell()
	sum := 0
	for _, node := range []string{"controller", "compute"} {
		want, got := flows(p, p.own.st, profile, node), flows(p, p.st, profile, node)
		sum += len(want)
		if slices.Equal(want, got) {
			continue
		}
		for _, l := range want {
			if !slices.Contains(got, l) {
				p.Errorf("%s, %s: missing %s", step, node, l)
			}
		}
		for _, l := range got {
			if !slices.Contains(want, l) {
				p.Errorf("%s, %s: too much: %s", step, node, l)
			}
		}
	}
	if sum < atLeast {
		p.Errorf("%s: only %d flows, groups, meters and rows in all, which shows little", step, sum)
	}
}

// TestWalkthrough: the steps of the walk-through give the same by another Neutron as by our own, byte for byte, cookies included.
func TestWalkthrough(t *testing.T) {
	for _, profile := range []string{"classic", "standard"} {
		t.Run(profile, func(t *testing.T) {
			p := newPair(t, profile)
			p.same("fresh", profile, 20)
			net := p.call("POST", "networks", `{"network":{"name":"net01"}}`)
			sub := p.call("POST", "subnets", `{"subnet":{"name":"net01-subnet","network_id":"`+net+`","ip_version":4,"cidr":"10.11.12.0/24"}}`)
			if profile == "classic" {
				p.plugs("controller", "178a8b99-700f-4d2f-be35-f34d420f66a3")
			}
			p.same("network", profile, 20)
			vm := func(name string) string {
				return p.call("POST", "ports", `{"port":{"name":"`+name+`","network_id":"`+net+`","device_owner":"compute:nova","device_id":"`+name+`","binding:host_id":"compute"}}`)
			}
			vm01, vm02 := vm("vm01"), vm("vm02")
			p.same("bound", profile, 20)
			p.plugs("compute", vm01)
			p.plugs("compute", vm02)
			p.same("instances", profile, 50)
			group := p.port(vm01).SecurityGroups[0]
			for _, more := range []string{`"protocol":"icmp"`, `"protocol":"tcp","port_range_min":22,"port_range_max":23`, `"protocol":"ipv6-icmp","ethertype":"IPv6"`, `"protocol":"sctp"`} {
				p.call("POST", "security-group-rules", fmt.Sprintf(`{"security_group_rule":{"security_group_id":%q,"direction":"ingress",%s}}`, group, more))
				p.same("rules", profile, 50)
			}
			p.call("PUT", "ports/"+vm02, `{"port":{"allowed_address_pairs":[{"ip_address":"10.11.12.99"}],"security_groups":[]}}`)
			p.same("pairs", profile, 50)
			if profile == "standard" {
				walkRouter(p, net, sub, vm01)
			}
			p.call("DELETE", "ports/"+vm02, "")
			p.same("deleted", profile, 40)
		})
	}
}

// walkRouter is the third step: an external network, a router, a floating IP.
func walkRouter(p *pairOf, net, sub, vm01 string) {
	ext := p.call("POST", "networks", `{"network":{"name":"ext-net","router:external":true,"provider:network_type":"flat","provider:physical_network":"physnet1"}}`)
	p.call("POST", "subnets", `{"subnet":{"name":"ext-subnet","network_id":"`+ext+`","ip_version":4,"cidr":"172.16.1.0/24"}}`)
	p.same("external", "standard", 60)
	router := p.call("POST", "routers", `{"router":{"name":"router1"}}`)
	p.same("router", "standard", 60)
	p.call("PUT", "routers/"+router, `{"router":{"external_gateway_info":{"network_id":"`+ext+`"}}}`)
	p.same("gateway", "standard", 60)
	p.call("PUT", "routers/"+router+"/add_router_interface", `{"subnet_id":"`+sub+`"}`)
	p.same("interface", "standard", 100)
	float := p.call("POST", "floatingips", `{"floatingip":{"floating_network_id":"`+ext+`"}}`)
	p.same("floating IP", "standard", 100)
	p.call("PUT", "floatingips/"+float, `{"floatingip":{"port_id":"`+vm01+`"}}`)
	p.same("associated", "standard", 100)
	p.call("PUT", "routers/"+router, `{"router":{"routes":[{"destination":"192.168.99.0/24","nexthop":"10.11.12.3"}]}}`)
	p.same("routes", "standard", 100)
	p.call("PUT", "routers/"+router, `{"router":{"routes":[]}}`)
	p.call("PUT", "floatingips/"+float, `{"floatingip":{"port_id":null}}`)
	p.same("disassociated", "standard", 100)
	p.call("DELETE", "floatingips/"+float, "")
	p.call("PUT", "routers/"+router+"/remove_router_interface", `{"subnet_id":"`+sub+`"}`)
	p.call("PUT", "routers/"+router, `{"router":{"external_gateway_info":{}}}`)
	p.call("DELETE", "routers/"+router, "")
	p.same("unrouted", "standard", 60)
}
