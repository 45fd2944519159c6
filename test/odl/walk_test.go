// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"nagare/internal/api/neutron"
	"nagare/internal/identity"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// own is our own Neutron API on a store, and its users.
type own struct {
	*server
	api *neutron.API
}

type ownTokens struct{}

func (ownTokens) Validate(_ context.Context, token string) (identity.Principal, error) {
	if token == "admin" {
		return identity.Principal{UserID: "u-admin", ProjectID: "p-admin", Roles: []string{identity.RoleAdmin}}, nil
	}
	return identity.Principal{UserID: "u-demo", ProjectID: tenant, Roles: []string{"member"}}, nil
}

func newOwn(t *testing.T) *own {
	o := &own{server: newServer(t, inMemory())}
	o.api = neutron.New(neutron.Config{Store: o.st, Auth: ownTokens{}, Routers: true, NativeDHCP: true, DHCPServerHost: "controller"})
	return o
}

// call asks the API for something and gives the object in the answer.
func (o *own) call(who, method, path, wrapper string, attrs Object) Object {
	o.t.Helper()
	body, err := json.Marshal(map[string]Object{wrapper: attrs})
	if wrapper == "" {
		body, err = json.Marshal(attrs)
	}
	if err != nil {
		o.t.Fatal(err)
	}
	r := httptest.NewRequest(method, "/v2.0/"+path, strings.NewReader(string(body)))
	r.Header.Set("X-Auth-Token", who)
	rec := httptest.NewRecorder()
	o.api.ServeHTTP(rec, r)
	if rec.Code >= 300 {
		o.t.Fatalf("%s %s: %d %s", method, path, rec.Code, rec.Body)
	}
	var answer map[string]Object
	if wrapper == "" {
		return nil
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil {
		o.t.Fatal(err)
	}
	return answer[wrapper]
}

// dump is what the nodes are to hold, as text.
func (s *server) dump() string {
	s.plug()
	desired := s.compile()
	var out []string
	for _, node := range sorted(desired) {
		d := desired[node]
		var lines []string
		for _, f := range d.Flows {
			lines = append(lines, fmt.Sprintf("%s flow cookie=0x%x %s", node, f.Cookie, f))
		}
		for _, id := range slices.Sorted(maps.Keys(d.Groups)) {
			lines = append(lines, fmt.Sprintf("%s group %v", node, d.Groups[id]))
		}
		for id, m := range d.Meters {
			lines = append(lines, fmt.Sprintf("%s meter %d %v", node, id, m))
		}
		for k, r := range d.Rows {
			lines = append(lines, fmt.Sprintf("%s row %v %v", node, k, r))
		}
		slices.Sort(lines)
		out = append(out, lines...)
	}
	return strings.Join(out, "\n")
}

// portOf finds a port by its owner and network.
func (o *own) portOf(owner string, net string) model.Port {
	o.t.Helper()
	for p := range tables.PortsByNetwork.By(o.st.Snapshot(), net) {
		if p.DeviceOwner == owner {
			return p
		}
	}
	o.t.Fatalf("no port of %s on %s", owner, net)
	return model.Port{}
}

// copyGroup makes a group of our own API in Neutron, with its ids, and its rules in the order of their keys.
func (n *Neutron) copyGroup(r *store.Snapshot, g model.SecurityGroup) {
	rules := slices.SortedFunc(tables.RulesByGroup.By(r, string(g.ID)), func(a, b model.SecurityGroupRule) int { return cmp.Compare(a.Key, b.Key) })
	var objects []Object
	var whole []any
	for _, x := range rules {
		o := n.rule(string(g.Project), string(g.ID), Object{"id": string(x.ID), "direction": string(x.Direction), "ethertype": x.Ethertype})
		if x.RemoteGroup != "" {
			o["remote_group_id"] = string(x.RemoteGroup)
		}
		objects, whole = append(objects, o), append(whole, map[string]any(o.clone()))
	}
	n.create(Group, string(g.Project), g.Name, Object{"id": string(g.ID), "stateful": true, "security_group_rules": whole, "revision_number": 1})
	for _, o := range objects {
		n.create(Rule, string(g.Project), "", o)
	}
}

// TestWalkthrough makes the scenario's steps 1 to 3 by our own API and by what networking-odl sends for the same, with the same
// ids and addresses: what the nodes are to hold is the same after each step, to the last octet.
func TestWalkthrough(t *testing.T) {
	a := newOwn(t)
	r, b := calm(t)
	n := r.N
	step := func(what string, flows int) {
		t.Helper()
		if err := r.judge(t.Context(), b); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		want, have := a.dump(), b.dump()
		if got := strings.Count(have, " flow "); got < flows {
			t.Errorf("%s: %d flows: too few to prove much", what, got)
		}
		if want == have {
			return
		}
		wanted := map[string]bool{}
		for l := range strings.Lines(want + "\n") {
			wanted[l] = true
		}
		var diff []string
		for l := range strings.Lines(have + "\n") {
			if !wanted[l] {
				diff = append(diff, "+ "+l)
			}
			delete(wanted, l)
		}
		for l := range wanted {
			diff = append(diff, "- "+l)
		}
		slices.SortFunc(diff, func(x, y string) int { return cmp.Compare(x[2:], y[2:]) })
		t.Fatalf("%s: '-' is our own API's, '+' is the northbound's:\n%s", what, strings.Join(diff[:min(len(diff), 30)], ""))
	}
	step("at first", 10)
	// The canary, which our own API does not have, took a network's key.
	a.call("admin", "DELETE", "networks/"+a.call("admin", "POST", "networks", "network", Object{"name": "canary"}).id(), "", nil)
	// groups are those that our own API has made by itself since the last call.
	groups := func() {
		r := a.st.Snapshot()
		for _, g := range tables.SecurityGroups.All(r) {
			if n.Object(Group, string(g.ID)) == nil {
				n.copyGroup(r, g)
			}
		}
	}

	net := a.call("demo", "POST", "networks", "network", Object{"name": "net01"})
	sub := a.call("demo", "POST", "subnets", "subnet", Object{"name": "net01-subnet", "network_id": net.id(), "ip_version": 4, "cidr": "10.11.12.0/24"})
	shown := a.call("admin", "GET", "networks/"+net.id(), "network", nil)
	dhcp := a.portOf(ownerDHCP, net.id())
	groups()
	n.Fix("net01", net.id(), "")
	n.Fix("net01-subnet", sub.id(), "")
	n.Fix("net01-subnet-dhcp", string(dhcp.ID), dhcp.MAC.String())
	n.Network(tenant, "net01", Segment{shown.str("provider:network_type"), "", int(shown["provider:segmentation_id"].(float64))}, false)
	n.Subnet(tenant, "net01-subnet", net.id(), "10.11.12.0/24", true, true)
	step("a network and a subnet", 10)

	var vms []string
	var group string
	for i, name := range []string{"vm01", "vm02"} {
		p := a.call("demo", "POST", "ports", "port", Object{"name": name, "network_id": net.id()})
		a.call("admin", "PUT", "ports/"+p.id(), "port", Object{"binding:host_id": []string{"a", "b"}[i], "device_owner": ownerCompute, "device_id": "instance-" + name})
		group = p.texts("security_groups")[0]
		groups()
		n.Fix(name, p.id(), p.str("mac_address"))
		vms = append(vms, n.Boot(tenant, name, sub.id(), "", []string{"a", "b"}[i], group))
	}
	step("two instances", 60)

	ext := a.call("admin", "POST", "networks", "network", Object{"name": "ext-net", "router:external": true, "provider:network_type": "flat", "provider:physical_network": "physnet1"})
	extSub := a.call("admin", "POST", "subnets", "subnet", Object{"name": "ext-subnet", "network_id": ext.id(), "ip_version": 4, "cidr": "172.16.1.0/24"})
	router := a.call("demo", "POST", "routers", "router", Object{"name": "router1"})
	a.call("demo", "PUT", "routers/"+router.id()+"/add_router_interface", "", Object{"subnet_id": sub.id()})
	a.call("demo", "PUT", "routers/"+router.id(), "router", Object{"external_gateway_info": Object{"network_id": ext.id()}})
	fip := a.call("demo", "POST", "floatingips", "floatingip", Object{"floating_network_id": ext.id(), "port_id": vms[0]})
	groups()
	for _, rule := range []Object{{"protocol": "icmp"}, {"protocol": "tcp", "port_range_min": 22, "port_range_max": 22}} {
		o := rule.clone()
		o["direction"], o["security_group_id"] = "ingress", group
		a.call("demo", "POST", "security-group-rules", "security_group_rule", o)
	}
	face, gw, float := a.portOf(ownerInterface, net.id()), a.portOf(ownerGateway, ext.id()), a.portOf(ownerFloating, ext.id())
	extDHCP := a.portOf(ownerDHCP, ext.id())
	n.Fix("ext-net", ext.id(), "")
	n.Fix("ext-subnet", extSub.id(), "")
	n.Fix("ext-subnet-dhcp", string(extDHCP.ID), extDHCP.MAC.String())
	n.Fix("router1", router.id(), "")
	n.Fix("router1-net01-subnet", string(face.ID), face.MAC.String())
	n.Fix("router1-gw", string(gw.ID), gw.MAC.String())
	n.Fix("fip", fip.id(), "")
	n.Fix("fip-port", string(float.ID), float.MAC.String())
	n.Network("p-admin", "ext-net", Segment{Type: "flat", Physical: "physnet1"}, true)
	n.Subnet("p-admin", "ext-subnet", ext.id(), "172.16.1.0/24", true, true)
	n.Router(tenant, "router1")
	n.AddInterface(router.id(), sub.id())
	n.SetGateway(router.id(), extSub.id(), "")
	n.Float(tenant, "fip", extSub.id(), "")
	n.Associate(fip.id(), vms[0], router.id())
	n.AddRule(group, Object{"protocol": "icmp"})
	n.AddRule(group, Object{"protocol": "tcp", "port_range_min": 22, "port_range_max": 22})
	step("an external network, a router, a floating IP", 150)

	a.call("demo", "PUT", "floatingips/"+fip.id(), "floatingip", Object{"port_id": nil})
	n.Disassociate(fip.id())
	step("disassociated", 100)
}
