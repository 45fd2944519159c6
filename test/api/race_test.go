// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"nagare/internal/api/jsonbody"
	"nagare/internal/api/neutron"
)

// each gives n calls.
func each(n int, f func(i int) call) (out []call) {
	for i := range n {
		out = append(out, f(i))
	}
	return out
}

// want compares counts of answers.
func (s *server) want(what string, as []answer, want map[string]int) {
	s.t.Helper()
	maps.DeleteFunc(want, func(_ string, n int) bool { return n == 0 })
	if got := tally(as); !maps.Equal(got, want) {
		s.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// distinct wants different values at a place of the bodies of those that were made, and gives them.
func (s *server) distinct(what string, as []answer, at func(m map[string]any) string) map[string]bool {
	s.t.Helper()
	seen := map[string]bool{}
	for _, a := range as {
		if a.code != 201 {
			continue
		}
		if v := at(a.body()); seen[v] {
			s.t.Errorf("%s: %s twice", what, v)
		} else {
			seen[v] = true
		}
	}
	return seen
}

func addressOf(m map[string]any) string {
	p := m["port"].(map[string]any)
	f := p["fixed_ips"].([]any)
	return f[0].(map[string]any)["ip_address"].(string)
}

func attr(kind, name string) func(map[string]any) string {
	return func(m map[string]any) string { return fmt.Sprint(m[kind].(map[string]any)[name]) }
}

// Whatever is handed out is handed out once, however many ask, and when there is no more the rest are told so.
func TestAllocationRaces(t *testing.T) {
	s := start(t)
	network := func(cidr string) (net, sub string) {
		net = s.make("demo", "networks", "network", `"name":"n"`)
		return net, s.make("demo", "subnets", "subnet", `"network_id":%q,"ip_version":4,"enable_dhcp":false,"cidr":%q`, net, cidr)
	}
	port := func(net, more string, args ...any) call {
		return create("demo", "ports", "port", `"network_id":%q`+more, append([]any{net}, args...)...)
	}

	net, _ := network("10.0.0.0/24")
	as := s.all(each(200, func(int) call { return port(net, "") }))
	s.want("ports", as, map[string]int{"201": 200})
	s.distinct("MAC addresses", as, attr("port", "mac_address"))
	if got := s.distinct("addresses", as, addressOf); !got["10.0.0.2"] || !got["10.0.0.201"] {
		t.Errorf("200 addresses of 10.0.0.0/24 are not the lowest ones: %v", got)
	}
	// 253 addresses beside the gateway's; 200 are taken.
	as = s.all(each(120, func(int) call { return port(net, "") }))
	s.want("ports near exhaustion", as, map[string]int{"201": 53, "409 IpAddressGenerationFailure": 67})
	s.distinct("last addresses", as, addressOf)

	// Deletes race creates in a full subnet: no address is lost and none given twice.
	ids := s.ids("demo", "ports?network_id="+net)
	as = s.all(append(each(100, func(i int) call { return call{"demo", "DELETE", "ports/" + ids[i], ""} }),
		each(100, func(int) call { return port(net, "") })...))
	made := tally(as)["201"]
	if got := tally(as); got["204"] != 100 || made+got["409 IpAddressGenerationFailure"] != 100 {
		t.Errorf("deletes beside creates: %v", got)
	}
	as = s.all(each(120, func(int) call { return port(net, "") }))
	s.want("what the deletes gave back", as, map[string]int{"201": 100 - made, "409 IpAddressGenerationFailure": 20 + made})

	net, sub := network("10.1.0.0/24")
	as = s.all(each(200, func(i int) call { return port(net, `,"fixed_ips":[{"ip_address":"10.1.0.%d"}]`, 10+i/2) }))
	s.want("explicit addresses, each twice", as, map[string]int{"201": 100, "409 IpAddressAlreadyAllocated": 100})
	as = s.all(each(100, func(i int) call { return port(net, `,"mac_address":"fa:16:3e:00:00:%02x"`, i/2) }))
	s.want("MAC addresses, each twice", as, map[string]int{"201": 50, "409 MacAddressInUse": 50})
	as = s.all(each(100, func(i int) call {
		if i%2 == 0 {
			return port(net, `,"fixed_ips":[{"subnet_id":%q}]`, sub)
		}
		return port(net, `,"fixed_ips":[{"ip_address":"10.1.0.%d"}]`, 150+i/2)
	}))
	if got := tally(as); got["201"]+got["409 IpAddressAlreadyAllocated"] != 100 || got["201"] < 53 {
		t.Errorf("explicit and any addresses: %v", got)
	}
	s.distinct("explicit and any", as, addressOf)

	as = s.all(each(100, func(i int) call {
		return create("admin", "networks", "network", `"provider:network_type":"vxlan","provider:segmentation_id":%d`, 7000+i/2)
	}))
	s.want("VNIs, each twice", as, map[string]int{"201": 50, "409 TunnelIdInUse": 50})
	as = s.all(each(100, func(int) call { return create("admin", "networks", "network", `"name":"n"`) }))
	s.want("networks", as, map[string]int{"201": 100})
	s.distinct("VNIs", as, attr("network", "provider:segmentation_id"))

	pool := s.make("demo", "subnetpools", "subnetpool", `"name":"p","prefixes":["10.64.0.0/18"],"default_prefixlen":24`)
	as = s.all(each(100, func(int) call {
		return create("demo", "subnets", "subnet", `"network_id":%q,"ip_version":4,"enable_dhcp":false,"subnetpool_id":%q`, net, pool)
	}))
	// The network has a subnet of no pool, so it takes none of one.
	s.want("subnets of a pool beside one of none", as, map[string]int{"400 NetworkSubnetPoolAffinityError": 100})
	pooled := s.make("demo", "networks", "network", `"name":"pooled"`)
	as = s.all(each(100, func(int) call {
		return create("demo", "subnets", "subnet", `"network_id":%q,"ip_version":4,"enable_dhcp":false,"subnetpool_id":%q`, pooled, pool)
	}))
	s.want("subnets of a pool of 64", as, map[string]int{"201": 64, "409 SubnetAllocationError": 36})
	s.distinct("prefixes of a pool", as, attr("subnet", "cidr"))
	as = s.all(each(40, func(int) call {
		return create("demo", "subnets", "subnet", `"network_id":%q,"ip_version":4,"enable_dhcp":false,"cidr":"10.2.0.0/24"`, net)
	}))
	s.want("one prefix, asked for 40 times", as, map[string]int{"201": 1, "400 InvalidInput": 39})

	ext := s.make("admin", "networks", "network", `"router:external":true`)
	s.make("admin", "subnets", "subnet", `"network_id":%q,"ip_version":4,"enable_dhcp":false,"cidr":"172.16.0.0/26"`, ext)
	as = s.all(each(90, func(int) call { return create("demo", "floatingips", "floatingip", `"floating_network_id":%q`, ext) }))
	s.want("floating IPs", as, map[string]int{"201": 61, "409 IpAddressGenerationFailure": 29})
	s.distinct("floating addresses", as, attr("floatingip", "floating_ip_address"))
	router := s.make("demo", "routers", "router", `"name":"r"`)
	as = s.all(each(20, func(int) call {
		return call{"demo", "PUT", "routers/" + router + "/add_router_interface", `{"subnet_id":"` + sub + `"}`}
	}))
	if got := tally(as); got["200"] != 1 {
		t.Errorf("one interface, asked for 20 times: %v", got)
	}
	s.whole()
}

// ids gives the ids of a list.
func (s *server) ids(who, path string) (out []string) {
	s.t.Helper()
	m := s.do(call{who, "GET", path, ""}, 200)
	coll, _, _ := strings.Cut(path, "?")
	for _, o := range m[strings.ReplaceAll(coll[strings.LastIndexByte(coll, '/')+1:], "-", "_")].([]any) {
		out = append(out, o.(map[string]any)["id"].(string))
	}
	return out
}

// A quota is never passed, and never is less given out than it allows.
func TestQuotaRaces(t *testing.T) {
	s := start(t, func(c *neutron.Config) {
		c.Quotas = map[string]int{"network": 10, "subnet": 10, "port": 20, "router": 10, "floatingip": 10, "security_group": 10, "security_group_rule": 30,
			"subnetpool": 10, "rbac_policy": 10, "trunk": 10}
	})
	ext := s.make("admin", "networks", "network", `"router:external":true`)
	s.make("admin", "subnets", "subnet", `"network_id":%q,"ip_version":4,"enable_dhcp":false,"cidr":"172.16.0.0/24"`, ext)
	net := s.make("demo", "networks", "network", `"name":"n"`)
	group := s.make("demo", "security-groups", "security_group", `"name":"g"`) // beside the default group, with six rules in all
	for _, c := range []struct {
		path, name, attrs string
		left              int
	}{
		{"networks", "network", `"name":"%d"`, 9}, {"subnets", "subnet", `"network_id":"` + net + `","ip_version":4,"enable_dhcp":false,"cidr":"10.%d.0.0/24"`, 10},
		{"ports", "port", `"network_id":"` + net + `","name":"%d"`, 20}, {"routers", "router", `"name":"%d"`, 10},
		{"floatingips", "floatingip", `"floating_network_id":"` + ext + `","description":"%d"`, 10},
		{"security-group-rules", "security_group_rule", `"security_group_id":"` + group + `","direction":"ingress","protocol":"tcp","port_range_min":1,"port_range_max":%d`, 24},
		{"security-groups", "security_group", `"name":"%d"`, 8}, {"subnetpools", "subnetpool", `"name":"%d","prefixes":["10.0.0.0/8"]`, 10},
	} {
		as := s.all(each(40, func(i int) call { return create("demo", c.path, c.name, c.attrs, i+1) }))
		if c.name == "security_group" { // each brings two rules, which have none left
			if got := tally(as); got["201"] > c.left {
				t.Errorf("%s: %v, want no more than %d", c.path, got, c.left)
			}
			continue
		}
		s.want(c.path, as, map[string]int{"201": c.left, "409 OverQuota": 40 - c.left})
	}
	// Places that deletes make free are taken by creates beside them, and never more than those.
	ids := s.ids("demo", "ports")
	as := s.all(append(each(20, func(i int) call { return call{"demo", "DELETE", "ports/" + ids[i], ""} }),
		each(60, func(int) call { return create("demo", "ports", "port", `"network_id":%q`, net) })...))
	if got := tally(as); got["204"] != 20 || got["201"]+got["409 OverQuota"] != 60 || got["201"] > 20 {
		t.Errorf("deletes beside creates: %v", got)
	}
	s.whole()
}

// endless is a body of one name that goes on for a gigabyte. It counts what was taken of it.
type endless struct{ sent atomic.Int64 }

func (e *endless) Read(p []byte) (int, error) {
	if e.sent.Load() > 1<<30 {
		return 0, io.EOF
	}
	n := copy(p, `{"network":{"name":"`)
	if e.sent.Load() > 0 {
		for n = range p {
			p[n] = 'x'
		}
	}
	e.sent.Add(int64(n))
	return n, nil
}

// An endless body is refused after as much of it as a body may have; the rest, but for what is on its way, is not taken.
func TestHugeBodies(t *testing.T) {
	s := start(t)
	body := new(endless)
	r, err := http.NewRequest("POST", s.url+"/v2.0/networks", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Auth-Token", "demo")
	// The server may close the connection while the client still sends; then there is no answer to be seen.
	if rs, err := s.client.Do(r); err == nil {
		if rs.Body.Close(); rs.StatusCode != http.StatusBadRequest {
			t.Errorf("an endless body: %s", rs.Status)
		}
	}
	if most := int64(jsonbody.MaxBytes + 16<<20); body.sent.Load() > most { // the sockets' buffers hold some
		t.Errorf("%d bytes of an endless body were taken, want at most %d", body.sent.Load(), most)
	}
	if got := s.ids("demo", "networks"); len(got) != 0 {
		t.Errorf("networks were made: %v", got)
	}
	s.make("demo", "networks", "network", `"name":"still serving"`)
}
