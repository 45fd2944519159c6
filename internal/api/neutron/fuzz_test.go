// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/repro"
	"nagare/internal/tables"
)

// fuzzWorld is one populated world; its store is rebuilt when it has grown.
type fuzzWorld struct {
	more map[string]string // ids by what stands for them in fuzzColl.base
	*world
	net, sub, port, group, rule, addresses string
	ext, router, floating                  string
	pool, scope, policy, agent, private    string
}

func (f *fuzzWorld) renew(t testing.TB) {
	if f.world != nil && tables.Ports.Len(f.st.Snapshot()) < 200 {
		f.t = t
		if _, ok := tables.Networks.Get(f.st.Snapshot(), model.NetworkID(f.net)); ok {
			return
		}
	}
	f.world = newWorld(t, func(c *Config) {
		c.Routers, c.StoredOnly, c.Quotas = true, true, map[string]int{}
		c.IDs = &alloc.Recorded{Networks: []alloc.RecordedNetwork{{Name: "net", ID: "00000000-0000-4000-8000-000000000001", SegmentationID: 7}},
			Subnets: []alloc.RecordedSubnet{{Name: "sub", ID: "00000000-0000-4000-8000-000000000002"}},
			Ports:   []alloc.RecordedPort{{Name: "port", ID: "00000000-0000-4000-8000-000000000003"}}}
	})
	f.node("controller", "", map[string]string{"physnet1": "br-ex"})
	f.net = f.network("demo", `"name":"net"`)
	f.sub = f.subnet("demo", f.net, "10.0.0.0/24", `,"name":"sub"`)
	f.port = f.world.port("demo", f.net, `,"name":"port"`)
	f.group = f.names("demo", "security-groups", "id")[0]
	f.rule = f.names("demo", "security-group-rules", "id")[0]
	f.addresses = f.make("demo", "address-groups", "address_group", `"addresses":["10.0.0.0/24"]`)
	f.ext = f.network("admin", `"router:external":true,"provider:network_type":"flat","provider:physical_network":"physnet1"`)
	f.subnet("admin", f.ext, "172.16.0.0/16", "")
	f.router = f.make("demo", "routers", "router", `"external_gateway_info":{"network_id":"`+f.ext+`"}`)
	f.attach("demo", f.router, "subnet_id", f.sub)
	f.private = f.network("demo", "")
	f.scope = f.make("demo", "address-scopes", "address_scope", `"ip_version":4`)
	f.pool = f.world.pool("demo", `"prefixes":["10.64.0.0/10"],"default_prefixlen":24,"address_scope_id":"`+f.scope+`"`)
	f.policy = f.grant("demo", "network", f.net, "access_as_shared", "p-other")
	f.agent = f.names("admin", "agents", "id")[0]
	f.more = f.makeStored()
	f.floating = f.make("demo", "floatingips", "floatingip", `"floating_network_id":"`+f.ext+`","port_id":"`+f.port+`"`)
}

// ask sends a request and holds the invariants: no 5xx, and nothing changed by what was refused.
func (f *fuzzWorld) ask(t testing.TB, who, method, target string, body []byte) int {
	r, err := http.NewRequest(method, "http://x/", bytes.NewReader(body))
	if err != nil {
		return 0
	}
	path, query, _ := strings.Cut(target, "?")
	r.URL.Path, r.URL.RawQuery = "/"+strings.TrimPrefix(path, "/"), query
	r.Header.Set("X-Auth-Token", who)
	before := f.st.Snapshot().Revision()
	rec := httptest.NewRecorder()
	f.api.ServeHTTP(rec, r)
	if rec.Code >= 500 {
		t.Fatalf("%s %s %s %q: %d %s", who, method, target, body, rec.Code, rec.Body)
	}
	if rec.Code >= 400 && f.st.Snapshot().Revision() != before {
		t.Fatalf("%s %s %s %q: %d, but the store changed", who, method, target, body, rec.Code)
	}
	return rec.Code
}

var fuzzed fuzzWorld

func FuzzRequests(f *testing.F) {
	id := "00000000-0000-4000-8000-00000000000"
	for _, s := range [][3]string{
		{"POST", "/v2.0/networks", `{"network":{"name":"x","mtu":"1400","provider:network_type":"vlan","provider:segmentation_id":1e3}}`},
		{"POST", "/v2.0/networks", `{"networks":[{"tenant_id":null},{"tags":[]}]}`},
		{"PUT", "/v2.0/networks/" + id + "1", `{"network":{"shared":"yes","dns_domain":"a.b."}}`},
		{"POST", "/v2.0/subnets", `{"subnet":{"network_id":"` + id + `1","cidr":"fd00::/64","ip_version":"6","ipv6_ra_mode":"slaac","allocation_pools":[{"start":"fd00::1","end":"fd00::ff"}]}}`},
		{"PUT", "/v2.0/subnets/" + id + "2", `{"subnet":{"gateway_ip":null,"host_routes":[{"destination":"0.0.0.0/0","nexthop":"10.0.0.1"}],"dns_nameservers":["::1"]}}`},
		{"POST", "/v2.0/ports", `{"port":{"network_id":"` + id + `1","fixed_ips":[{"subnet_id":"` + id + `2"}],"allowed_address_pairs":[{"ip_address":"0.0.0.0/0"}],"extra_dhcp_opts":[{"opt_name":"a","opt_value":null}]}}`},
		{"PUT", "/v2.0/ports/" + id + "3", `{"port":{"fixed_ips":[{"ip_address":"10.0.0.9"}],"binding:profile":{"a":[1,{}]},"mac_address":"00-11-22-33-44-55"}}`},
		{"POST", "/v2.0/security-group-rules", `{"security_group_rule":{"security_group_id":"` + id + `4","direction":"ingress","protocol":58,"port_range_min":"1","remote_ip_prefix":"::/0","ethertype":"ipv6"}}`},
		{"GET", "/v2.0/ports?fixed_ips=ip_address%3D::&sort_key=status&sort_dir=desc&limit=2&marker=" + id + "3&page_reverse=true&fields=id&tags=a,b", ""},
		{"GET", "/v2.0/networks.json?name=%00&shared=1&limit=99999999999999999999", ""},
		{"PUT", "/v2.0/ports/" + id + "3/tags/x", ""},
		{"PUT", "/v2.0/quotas/p-demo", `{"quota":{"port":-1,"check_limit":"true"}}`},
		{"POST", "/v2.0/address-groups", `{"address_group":{"addresses":["10.0.0.1","fd00::/64","::ffff:1.2.3.4"]}}`},
		{"PUT", "/v2.0/address-groups/" + id + "5/add_addresses", `{"addresses":["10.0.0.0/8",null]}`},
		{"POST", "/v2.0/routers", `{"router":{"external_gateway_info":{"network_id":"` + id + `1","enable_snat":null,"external_fixed_ips":[{}]},"distributed":"x"}}`},
		{"PUT", "/v2.0/routers/" + id + "6/add_router_interface", `{"subnet_id":"` + id + `2","port_id":null}`},
		{"PUT", "/v2.0/routers/" + id + "6/add_extraroutes", `{"router":{"routes":[{"destination":"::/0","nexthop":"10.0.0.9"}]}}`},
		{"POST", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"` + id + `1","port_id":"` + id + `3","fixed_ip_address":"::ffff:10.0.0.2"}}`},
		{"POST", "/v2.0/subnetpools", `{"subnetpool":{"name":"p","prefixes":["10.0.0.0/8","11.0.0.0/8"],"min_prefixlen":"8","default_quota":0,"is_default":true}}`},
		{"POST", "/v2.0/subnets", `{"subnet":{"network_id":"` + id + `1","ip_version":4,"use_default_subnetpool":true,"prefixlen":33}}`},
		{"PUT", "/v2.0/subnetpools/" + id + "7/remove_prefixes", `{"prefixes":["::/0"]}`},
		{"POST", "/v2.0/rbac-policies", `{"rbac_policy":{"object_type":" Network ","object_id":"` + id + `1","action":"access_as_external","target_tenant":"*"}}`},
		{"GET", "/v2.0/network-ip-availabilities?ip_version=x&limit=1", ""},
		{"GET", "/v2.0/agents?host=%00&alive=1&sort_key=host&sort_dir=asc&limit=1&page_reverse=true", ""},
		{"DELETE", "/v2.0/subnets/" + id + "2", ""},
	} {
		f.Add(uint8(0), s[0], s[1], []byte(s[2]))
		f.Add(uint8(1), s[0], s[1], []byte(s[2]))
	}
	f.Fuzz(func(t *testing.T, who uint8, method, target string, body []byte) {
		fuzzed.renew(t)
		fuzzed.ask(t, []string{"demo", "admin", "other", "service"}[who%4], method, target, body)
	})
}

// TestRandomRequests is the fuzz target's complement: bodies that are nearly right, with each attribute given each kind of
// odd value, alone and together, as everybody.
func TestRandomRequests(t *testing.T) {
	repro.Crypto(t)
	rnd := repro.Rand(1, 2)
	f := &fuzzWorld{}
	f.renew(t)
	odd := []string{`{"network_id":"%s"}`, `{"network_id":"%s","external_fixed_ips":[{"ip_address":null}]}`, `[{"destination":"192.168.0.0/24","nexthop":"10.0.0.9"}]`, `null`, `true`, `"true"`, `0`, `-1`, `1.5`, `1e400`, `""`, `"x"`, `"\u0000"`, `[]`, `{}`, `[null]`, `[{}]`, `[[]]`, `{"a":null}`, `"10.0.0.0/24"`, `"10.0.0.9"`, `"::1"`,
		`"fd00::/64"`, `"fa:16:3e:00:00:01"`, `["` + strings.Repeat("x", 300) + `"]`, `"%s"`, `["%s"]`, `[{"subnet_id":"%s"}]`, `[{"ip_address":"10.0.0.50"}]`, `[{"start":"10.0.0.9","end":"10.0.0.2"}]`,
		`[{"destination":"10.0.0.0/8","nexthop":"x"}]`, `[{"opt_name":"x","opt_value":[]}]`, `99999999999999999999`, `"💥"`, `[1,2,3]`, `4`, `6`, `"tcp"`, `"vxlan"`, `"ingress"`, `"slaac"`}
	colls := []fuzzColl{
		{"networks", "network", nil, names(networks)}, {"subnets", "subnet", []string{`"network_id":"NET"`, `"ip_version":4`}, names(subnets)},
		{"ports", "port", []string{`"network_id":"NET"`}, names(ports)}, {"security-groups", "security_group", nil, names(groups)},
		{"security-group-rules", "security_group_rule", []string{`"security_group_id":"GROUP"`, `"direction":"ingress"`}, names(rules)},
		{"address-groups", "address_group", nil, names(addressGroups)},
		{"subnetpools", "subnetpool", []string{`"name":"p"`, `"prefixes":["10.0.0.0/9"]`}, names(subnetPools)},
		{"subnets", "subnet", []string{`"network_id":"PRIVATE"`, `"ip_version":4`, `"subnetpool_id":"POOL"`}, names(subnets)},
		{"address-scopes", "address_scope", []string{`"ip_version":4`}, names(addressScopes)},
		{"rbac-policies", "rbac_policy", []string{`"object_type":"network"`, `"object_id":"NET"`, `"action":"access_as_shared"`, `"target_tenant":"p-service"`}, names(rbacPolicies)},
		{"agents", "agent", nil, names(agents)}, {"network-ip-availabilities", "network_ip_availability", nil, names(ipAvailability)},
		{"routers", "router", nil, names(routers)}, {"floatingips", "floatingip", []string{`"floating_network_id":"EXT"`}, names(floatingIPs)},
	}
	colls = append(colls, storedColls()...)
	codes := map[int]int{}
	for range 9000 {
		f.renew(t)
		c := colls[rnd.IntN(len(colls))]
		id := []string{f.net, f.sub, f.port, f.group, f.rule, f.addresses, f.ext, f.router, f.floating, f.pool, f.scope, f.policy, f.agent, f.more["LABEL"]}[rnd.IntN(14)]
		attrs := map[string]string{}
		for _, b := range c.base {
			k, v, _ := strings.Cut(b, ":")
			attrs[strings.Trim(k, `"`)] = strings.NewReplacer("NET", f.net, "PRIVATE", f.private, "POOL", f.pool, "GROUP", f.group, "EXT", f.ext, "LABEL", f.more["LABEL"]).Replace(v)
		}
		for range 1 + rnd.IntN(3) {
			v := odd[rnd.IntN(len(odd))]
			if strings.Contains(v, "%s") {
				v = fmt.Sprintf(v, id)
			}
			attrs[c.attrs[rnd.IntN(len(c.attrs))]] = v
		}
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(attrs)) {
			parts = append(parts, fmt.Sprintf("%q:%s", k, attrs[k]))
		}
		body := fmt.Sprintf(`{%q:{%s}}`, c.name, strings.Join(parts, ","))
		who := []string{"demo", "admin", "other", "service", "reader"}[rnd.IntN(5)]
		switch rnd.IntN(8) {
		case 0, 1, 2, 3:
			codes[f.ask(t, who, "POST", "/v2.0/"+c.path, []byte(body))]++
		case 4, 5, 6:
			codes[f.ask(t, who, "PUT", "/v2.0/"+c.path+"/"+id, []byte(body))]++
		default:
			a := c.attrs[rnd.IntN(len(c.attrs))]
			codes[f.ask(t, who, "GET", fmt.Sprintf("/v2.0/%s?%s=%s&sort_key=%s&sort_dir=desc&limit=3", c.path, a, id, a), nil)]++
		}
	}
	if codes[201] < 20 || codes[200] < 20 || codes[400] < 1000 {
		t.Errorf("the requests were too uniform to prove much: %v", codes)
	}
	consistent(t, f.world)
}

// fuzzColl is a collection that the random requests are about; base are the attributes of every body.
type fuzzColl struct {
	path, name  string
	base, attrs []string
}

func names[T any](rs *Resource[T]) (out []string) {
	for _, a := range rs.attrs {
		out = append(out, a.Name)
	}
	return out
}

// consistent checks what must hold whatever was asked: no two owners of an address, MAC, key or segment, no reference into nothing.
func consistent(t *testing.T, w *world) {
	t.Helper()
	r := w.st.Snapshot()
	seen := map[string]string{}
	unique := func(what, owner string) {
		if other, dup := seen[what]; dup {
			t.Errorf("%s: both %s and %s", what, owner, other)
		}
		seen[what] = owner
	}
	for id, n := range tables.Networks.All(r) {
		unique(fmt.Sprintf("network key %d", n.Key), string(id))
		if n.Type != model.Local {
			unique(fmt.Sprintf("segment %s %s %d", n.Type, n.PhysicalNetwork, n.SegmentationID), string(id))
		}
	}
	for id, s := range tables.Subnets.All(r) {
		unique(fmt.Sprintf("subnet key %d", s.Key), string(id))
		if _, ok := tables.Networks.Get(r, s.Network); !ok {
			t.Errorf("subnet %s: no network", id)
		}
		if s.Pool == "" {
			continue
		}
		p, ok := tables.SubnetPools.Get(r, s.Pool)
		if !ok || !slices.ContainsFunc(p.Prefixes, func(x netip.Prefix) bool { return x.Bits() <= s.CIDR.Bits() && x.Contains(s.CIDR.Addr()) }) {
			t.Errorf("subnet %s: %s is not of pool %s, %v", id, s.CIDR, s.Pool, p.Prefixes)
		}
		for o := range tables.SubnetsByPool.By(r, string(s.Pool)) {
			if o.ID != id && o.CIDR.Overlaps(s.CIDR) {
				t.Errorf("subnets %s and %s: %s and %s of pool %s", id, o.ID, s.CIDR, o.CIDR, s.Pool)
			}
		}
	}
	for id, p := range tables.RBACPolicies.All(r) {
		unique("grant "+tables.RBACGrant(p.Kind, p.Object, p.Action, p.Target), string(id))
		who := &view{r: r, api: w.api, admin: true}
		if _, err := shareables[p.Kind].owner(who, p.Object); err != nil {
			t.Errorf("policy %s: %v", id, err)
		}
	}
	for id, p := range tables.SubnetPools.All(r) {
		if _, ok := tables.AddressScopes.Get(r, p.Scope); p.Scope != "" && !ok {
			t.Errorf("pool %s: no scope %s", id, p.Scope)
		}
	}
	for id, p := range tables.Ports.All(r) {
		unique(fmt.Sprintf("port key %d", p.Key), string(id))
		unique("mac "+string(p.Network)+p.MAC.String(), string(id))
		if _, ok := tables.Networks.Get(r, p.Network); !ok {
			t.Errorf("port %s: no network", id)
		}
		for _, f := range p.FixedIPs {
			unique("address "+tables.AddressKey(p.Network, f.Addr), string(id))
			if s, ok := tables.Subnets.Get(r, f.Subnet); !ok || s.Network != p.Network || !s.CIDR.Contains(f.Addr) {
				t.Errorf("port %s: address %s is not of its subnet", id, f.Addr)
			}
		}
		for _, g := range p.SecurityGroups {
			if _, ok := tables.SecurityGroups.Get(r, g); !ok {
				t.Errorf("port %s: no group %s", id, g)
			}
		}
		if p.Router != "" {
			if r, ok := tables.Routers.Get(r, p.Router); ok && !p.IsRouterInterface() && r.GatewayPort != id {
				t.Errorf("port %s: not the gateway of router %s, which is %s", id, r.ID, r.GatewayPort)
			}
		}
		if p.DeviceOwner == model.OwnerFloatingIP && p.Project == "" {
			if f, ok := tables.FloatingIPs.Get(r, model.FloatingIPID(p.DeviceID)); !ok || f.FloatPort != id {
				t.Errorf("port %s: of no floating IP", id)
			}
		}
		if !p.PortSecurity && (len(p.SecurityGroups) > 0 || len(p.AllowedPairs) > 0) {
			t.Errorf("port %s: groups or pairs without port security", id)
		}
	}
	for id, u := range tables.Rules.All(r) {
		unique(fmt.Sprintf("rule key %d", u.Key), string(id))
		if _, ok := tables.SecurityGroups.Get(r, u.Group); !ok {
			t.Errorf("rule %s: no group", id)
		}
		if _, ok := tables.AddressGroups.Get(r, u.RemoteAddressGroup); u.RemoteAddressGroup != "" && !ok {
			t.Errorf("rule %s: no address group %s", id, u.RemoteAddressGroup)
		}
	}
	routed := 0
	for id, o := range tables.Routers.All(r) {
		unique(fmt.Sprintf("router key %d", o.Key), string(id))
		var nets []netip.Prefix
		for p := range tables.RouterPorts.By(r, string(id)) {
			for _, f := range p.FixedIPs {
				s, _ := tables.Subnets.Get(r, f.Subnet)
				for _, other := range nets {
					// Of several addresses of a gateway on one subnet only the subnet is the same.
					if other.Overlaps(s.CIDR) && (p.IsRouterInterface() || other != s.CIDR) {
						t.Errorf("router %s: %s and %s", id, other, s.CIDR)
					}
				}
				nets = append(nets, s.CIDR)
			}
			if p.IsRouterInterface() && len(p.FixedIPs) == 0 || p.IsFiltered() || p.Host != "" {
				t.Errorf("router %s: port %+v", id, p.PortPlane)
			}
		}
		gw, ok := tables.Ports.Get(r, o.GatewayPort)
		if ok = ok && o.GatewayPort != ""; ok != (o.GatewayPort != "") || ok && (gw.Router != id || gw.DeviceOwner != model.OwnerRouterGateway) {
			t.Errorf("router %s: gateway port %s: %+v", id, o.GatewayPort, gw.PortPlane)
		}
		at, placed := tables.Gateways.Get(r, id)
		if _, slot := tables.SlotsByRouter.First(r, tables.RouterSlotKey(at.Node, id)); placed && (!ok || !slot) {
			t.Errorf("router %s: placed on %s, has a gateway %v, has a slot %v", id, at.Node, ok, slot)
		}
		if placed {
			routed++
		}
	}
	if n := tables.Gateways.Len(r); n != routed {
		t.Errorf("%d places of gateways, %d of routers that are there", n, routed)
	}
	for id, f := range tables.FloatingIPs.All(r) {
		unique(fmt.Sprintf("floating ip key %d", f.Key), string(id))
		if p, ok := tables.Ports.Get(r, f.FloatPort); !ok || p.Network != f.Network || len(p.FixedIPs) != 1 || p.FixedIPs[0].Addr != f.Addr || p.DeviceID != string(id) {
			t.Errorf("floating ip %s: port %+v", id, p)
		}
		if _, forwards := tables.PortForwardingsByFloating.First(r, string(id)); f.Port == "" {
			if (f.Router != "") != forwards || f.Fixed.IsValid() {
				t.Errorf("floating ip %s: stands for nothing, but %+v", id, f.FloatingIPPlane)
			}
			continue
		}
		unique(fmt.Sprintf("floating ip of %s %s on %s", f.Port, f.Fixed, f.Network), string(id))
		p, _ := tables.Ports.Get(r, f.Port)
		at := slices.IndexFunc(p.FixedIPs, func(x model.FixedIP) bool { return x.Addr == f.Fixed })
		if at < 0 || !f.Fixed.Is4() {
			t.Errorf("floating ip %s: its port has no address %s: %+v", id, f.Fixed, p.FixedIPs)
			continue
		}
		joins := false
		for rp := range tables.RouterPorts.By(r, string(f.Router)) {
			joins = joins || rp.IsRouterInterface() && slices.ContainsFunc(rp.FixedIPs, func(x model.FixedIP) bool { return x.Subnet == p.FixedIPs[at].Subnet })
		}
		router, _ := tables.Routers.Get(r, f.Router)
		if gw, _ := tables.Ports.Get(r, router.GatewayPort); !joins || gw.Network != f.Network {
			t.Errorf("floating ip %s: router %s does not join its port and network %s", id, f.Router, f.Network)
		}
	}
	has := func(port model.PortID, addr netip.Addr) bool {
		p, _ := tables.Ports.Get(r, port)
		return slices.ContainsFunc(p.FixedIPs, func(x model.FixedIP) bool { return x.Addr == addr })
	}
	for id, p := range tables.PortForwardings.All(r) {
		unique(fmt.Sprintf("forwarding key %d", p.Key), string(id))
		if f, ok := tables.FloatingIPs.Get(r, p.Floating); !ok || f.Port != "" || !has(p.Port, p.Fixed) {
			t.Errorf("forwarding %s: %+v, of %+v", id, p.ForwardingPlane, f.FloatingIPPlane)
		}
	}
	for id, p := range tables.NDPProxies.All(r) {
		unique("proxied address "+tables.NDPProxyKey(&p.NDPProxyPlane), string(id))
		if o, ok := tables.Routers.Get(r, p.Router); !ok || !o.NDPProxying || !has(p.Port, p.Addr) {
			t.Errorf("ndp proxy %s: %+v, of router %+v", id, p.NDPProxyPlane, o.RouterPlane)
		}
	}
	for id, l := range tables.Logs.All(r) {
		_, group := tables.SecurityGroups.Get(r, l.Group)
		_, port := tables.Ports.Get(r, l.Port)
		if l.Group != "" && !group || l.Port != "" && !port {
			t.Errorf("log %s: %+v", id, l.LogPlane)
		}
	}
}
