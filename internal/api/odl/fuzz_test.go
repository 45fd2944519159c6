// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"nagare/internal/compile"
	"nagare/internal/netvirt"
	"nagare/internal/pipeline"
	"nagare/internal/repro"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// fuzzWorld is a populated world, whose rules run after every change: what was taken must not hurt them. It is made anew when it has
// grown.
type fuzzWorld struct {
	*world
	engine *compile.Engine
	watch  *store.Watch
}

func (f *fuzzWorld) renew(t testing.TB) {
	if f.world != nil && tables.Ports.Len(f.st.Snapshot()) < 100 && tables.Foreign.Len(f.st.Snapshot()) < 300 {
		f.TB = t
		if _, ok := tables.Networks.Get(f.st.Snapshot(), netA); ok {
			return
		}
	}
	if f.world != nil {
		f.asFromScratch(f.engine, "many requests")
	}
	f.close()
	f.world = routed(t)
	f.do("POST", "/ports", portOn(gwPort, extNet, subExt, "fa:16:3e:00:01:01", "172.16.1.3", "network:router_gateway", routerA), 201)
	f.do("POST", "/routers", routerBody(gwPort, ""), 201)
	f.do("POST", "/ports", portOn(ifPort, netA, subA, "fa:16:3e:00:01:02", "10.0.0.1", "network:router_interface", routerA), 201)
	f.do("POST", "/ports", portOn(fipPort, extNet, subExt, "fa:16:3e:00:01:04", "172.16.1.4", "network:floatingip", floatA), 201)
	f.do("POST", "/floatingips", floatBody(portA, "10.0.0.5", routerA, "DOWN"), 201)
	f.do("POST", "/qos/policies", `{"policy":{"id":"`+netA+`","bandwidth_limit_rules":[{"id":"`+ruleN(1)+`","max_kbps":1000}]}}`, 201)
	f.do("PUT", "/networks/"+netA, netBody(netA, "1077", `,"qos_policy_id":"`+netA+`"`), 200)
	f.do("POST", "/trunks", trunkBody(netA, portA, portB), 201)
	f.do("POST", "/ports", portBody(portB, macB, "10.0.0.6", ""), 201)
	f.plug("compute", portB)
	f.engine = compile.New(netvirt.Standard(netvirt.Options{NativeDHCP: true}), pipeline.Check)
	f.engine.AddNode("controller")
	f.engine.AddNode("compute")
	f.watch = f.st.Watch()
	f.engine.Update(f.st.Snapshot(), &store.Changes{All: true})
}

func (f *fuzzWorld) close() {
	if f.watch != nil {
		f.watch.Close()
		f.watch = nil
	}
}

// ask sends a request and holds the invariants: no 5xx, nothing changed by what was refused, and rules that can bear what was not.
func (f *fuzzWorld) ask(t testing.TB, who, method, target string, body []byte) int {
	r, err := http.NewRequest(method, "http://x/", bytes.NewReader(body))
	if err != nil {
		return 0
	}
	path, query, _ := strings.Cut(target, "?")
	r.URL.Path, r.URL.RawQuery = Base+"/"+strings.TrimPrefix(path, "/"), query
	r.SetBasicAuth(who, who)
	before := f.st.Snapshot()
	rec := httptest.NewRecorder()
	f.h.ServeHTTP(rec, r)
	if rec.Code >= 500 {
		t.Fatalf("%s %s %s %q: %d %s", who, method, target, body, rec.Code, rec.Body)
	}
	if (rec.Code >= 400 || method == "GET") && f.st.Snapshot() != before {
		t.Fatalf("%s %s %s %q: %d, but the store changed", who, method, target, body, rec.Code)
	}
	if snap, ch, ok := f.watch.Take(); ok {
		f.engine.Update(snap, ch)
	}
	return rec.Code
}

func FuzzRequests(f *testing.F) {
	for _, s := range [][3]string{
		{"POST", "/networks", netBody(netB, `"7"`, "")}, {"PUT", "/networks/" + netA, netBody(netA, "4096", `,"segments":[{"provider:network_type":"gre"}]`)}, {"POST", "/networks", canaryBody},
		{"POST", "/subnets", subBody(subB, netA, "fd00::/64", `,"gateway_ip":null`)}, {"PUT", "/subnets/" + subA, `{"subnet":{"gateway_ip":"10.0.0.1","host_routes":[{"destination":"0.0.0.0/0","nexthop":"10.0.0.1"}]}}`},
		{"POST", "/ports", portBody(portB, macB, "10.0.0.6", bound)}, {"PUT", "/ports/" + portA, `{"port":{"binding:profile":"[1","security_groups":["` + groupA + `"]}}`},
		{"PUT", "/routers/" + routerA, routerBody(gwPort, `,"routes":[{"destination":"::/0","nexthop":"fd00::1"}]`)}, {"PUT", "/routers/" + routerA + "/add_router_interface", `{"a":1}`},
		{"PUT", "/floatingips/" + floatA, floatBody("", "", "", "DOWN")}, {"POST", "/security-group-rules", ruleBody(ruleN(2), groupA, `,"x":[]`)}, {"POST", "/security-groups", groupBody(groupB, rule(ruleN(3), groupB, ""))},
		{"POST", "/qos/policies", `{"policy":{"id":"` + netA + `","rules":[{"type":"x","id":"` + netB + `"}]}}`}, {"POST", "/trunks", trunkBody(netB, portB, portA, gwPort)},
		{"PUT", "/trunks/" + netA, trunkBody(netA, gwPort, portA)}, {"PUT", "/qos/policies/" + netA, `{"policy":{"dscp_marking_rules":[{"id":"` + netB + `","dscp_mark":8}]}}`}, {"POST", "/l2gateway-connections", `{"l2gateway_connections":[{"id":"` + netA + `","segmentation_id":""}]}`},
		{"GET", "/ports?limit=2&marker=" + portA + "&page_reverse=1&fields=id&name=%00", ""}, {"GET", "/lbaas/pools/" + netA + "/members", ""}, {"DELETE", "/ports/" + gwPort, ""},
	} {
		f.Add(uint8(0), s[0], s[1], []byte(s[2]))
		f.Add(uint8(1), s[0], s[1], []byte(s[2]))
	}
	var fuzzed fuzzWorld
	f.Cleanup(func() { fuzzed.close() })
	f.Fuzz(func(t *testing.T, who uint8, method, target string, body []byte) {
		fuzzed.renew(t)
		fuzzed.ask(t, []string{"neutron", "admin", "reader", "nobody"}[who%4], method, target, body)
	})
}

// attributes are those of the collections' bodies, and what a body needs to be taken at all.
var attributes = []struct {
	path, kind string
	base, of   []string
}{
	{"networks", "network", []string{`"provider:network_type":"vxlan"`, `"provider:segmentation_id":8`}, namesOf(networks)},
	{"subnets", "subnet", []string{`"network_id":"` + netA + `"`, `"cidr":"10.0.0.0/24"`}, namesOf(subnets)},
	{"ports", "port", []string{`"network_id":"` + netA + `"`, `"mac_address":"fa:16:3e:00:00:07"`, `"binding:host_id":"compute"`, `"device_owner":"compute:x"`}, namesOf(ports)},
	{"routers", "router", []string{`"gw_port_id":"` + gwPort + `"`}, namesOf(routers)},
	{"floatingips", "floatingip", []string{`"floating_network_id":"` + extNet + `"`, `"floating_ip_address":"172.16.1.9"`, `"port_id":"` + portA + `"`, `"router_id":"` + routerA + `"`, `"fixed_ip_address":"10.0.0.5"`}, namesOf(floatingIPs)},
	{"security-groups", "security_group", nil, namesOf(groups)},
	{"security-group-rules", "security_group_rule", []string{`"security_group_id":"` + groupA + `"`, `"direction":"ingress"`}, namesOf(rules)},
	{"qos/policies", "policy", []string{`"bandwidth_limit_rules":[{"id":"` + ruleN(1) + `","max_kbps":2000},{"id":"` + ruleN(2) + `","max_kbps":9,"direction":"ingress"}]`}, append(namesOf(policies), "rules", "x_rules")},
	{"trunks", "trunk", []string{`"port_id":"` + portA + `"`, `"sub_ports":[{"port_id":"` + portB + `","segmentation_id":9}]`}, namesOf(trunks)},
	{"bgpvpns", "bgpvpn", nil, []string{"type", "networks", "vni", "route_targets"}},
	{"lbaas/pools/" + netA + "/members", "member", nil, []string{"address", "protocol_port"}},
	{"sfc/portchains", "portchain", nil, []string{"port_pair_groups", "chain_parameters"}},
	{"l2-gateways", "l2_gateway", nil, []string{"devices"}},
}

func namesOf[T any](c *core[T]) []string {
	names := []string{"segments", "qos_policy_id", "unheard"}
	for _, a := range c.attrs {
		names = append(names, a.name)
	}
	return names
}

// TestRandomRequests is the fuzz target's complement: 10,000 requests whose bodies are nearly right, with attributes that have each
// kind of odd value, alone and together.
func TestRandomRequests(t *testing.T) {
	repro.Crypto(t)
	rnd := repro.Rand(1, 2)
	f := &fuzzWorld{}
	defer f.close()
	ids := []string{netA, netB, extNet, subA, subExt, portA, portB, gwPort, ifPort, fipPort, routerA, floatA, groupA, ruleN(1), ruleN(2), unknown}
	odd := []string{`null`, `true`, `"true"`, `0`, `-1`, `1.5`, `1e400`, `""`, `"x"`, `"\u0000"`, `[]`, `{}`, `[null]`, `[{}]`, `[[]]`, `{"a":null}`, `"10.0.0.0/24"`, `"10.0.0.9"`, `"::1"`, `"fd00::/64"`,
		`"0.0.0.0/0"`, `"fa:16:3e:00:00:01"`, `"FF:FF:FF:FF:FF:FF"`, `["` + strings.Repeat("x", 300) + `"]`, `"%s"`, `["%s"]`, `[{"id":"%s"}]`, `[{"port_id":"%s","segmentation_id":7}]`,
		`[{"subnet_id":"%s","ip_address":"10.0.0.50"}]`, `[{"subnet_id":"%s","ip_address":"fd00::50"}]`, `[{"ip_address":"0.0.0.0/0"}]`, `[{"ip_address":"10.0.0.7","mac_address":"fa:16:3e:00:00:09"}]`,
		`[{"start":"10.0.0.9","end":"10.0.0.2"}]`, `[{"destination":"10.0.0.0/8","nexthop":"10.0.0.1"}]`, `[{"destination":"::/0","nexthop":"fd00::1"}]`, `[{"opt_name":"x","opt_value":"y"}]`,
		`99999999999999999999`, `"💥"`, `4`, `6`, `22`, `4095`, `"tcp"`, `"icmp"`, `58`, `"vxlan"`, `"vlan"`, `"local"`, `"gre"`, `"egress"`, `"slaac"`, `"IPv6"`, `"network:dhcp"`,
		`"network:router_gateway"`, `"network:router_interface"`, `"network:floatingip"`, `"controller"`, `{"network_id":"%s","enable_snat":false}`, `[{"provider:network_type":"vlan","provider:segmentation_id":"9"}]`,
		`"{\"a\":[1e999]}"`, `[{"type":"dscp_marking","id":"%s","dscp_mark":"3"}]`, `[{"type":"x","id":"%s"}]`, `[{"id":"%s","max_kbps":7,"dscp_mark":8}]`, `[{"id":"%s","max_kpps":1,"min_kpps":2}]`, `["10.0.0.1","fd00::1"]`}
	codes := map[int]int{}
	for i := range 10000 {
		if f.renew(t); i%500 == 499 {
			f.asFromScratch(f.engine, fmt.Sprint(i, " requests"))
		}
		c := attributes[rnd.IntN(len(attributes))]
		attrs := map[string]string{"id": `"` + ids[rnd.IntN(len(ids))] + `"`}
		for _, b := range c.base {
			at := strings.Index(b, `":`)
			attrs[b[1:at]] = b[at+2:]
		}
		for range rnd.IntN(4) {
			v := odd[rnd.IntN(len(odd))]
			if strings.Contains(v, "%s") {
				v = fmt.Sprintf(v, ids[rnd.IntN(len(ids))])
			}
			attrs[c.of[rnd.IntN(len(c.of))]] = v
		}
		var parts []string
		for k, v := range attrs {
			parts = append(parts, fmt.Sprintf("%q:%s", k, v))
		}
		slices.Sort(parts)
		body := `{"` + c.kind + `":{` + strings.Join(parts, ",") + `}}`
		path, method := "/"+c.path, "POST"
		switch rnd.IntN(8) {
		case 0, 1, 2:
			method, path = "PUT", path+"/"+ids[rnd.IntN(len(ids))]
		case 3:
			method, path = "DELETE", path+"/"+ids[rnd.IntN(len(ids))]
		case 4:
			method, path = "GET", path+"?"+c.of[rnd.IntN(len(c.of))]+"="+ids[rnd.IntN(len(ids))]+"&limit=3"
		case 5: // broken somewhere
			at := rnd.IntN(len(body))
			body = body[:at] + string([]byte{byte(rnd.IntN(256))}) + body[at+1:]
		}
		who := "neutron"
		if rnd.IntN(20) == 0 {
			who = []string{"reader", "nobody", "member"}[rnd.IntN(3)]
		}
		codes[f.ask(t, who, method, path, []byte(body))]++
	}
	t.Logf("answers: %v", codes)
	for _, c := range []int{200, 201, 204, 400, 401, 403, 404} {
		if codes[c] < 50 {
			t.Errorf("only %d answers with %d: the requests no longer meet all that they should", codes[c], c)
		}
	}
}
