// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nagare/internal/identity"
	"nagare/internal/store"
)

// shape is what the matrix has to know of a resource.
type shape struct {
	name, plural, path    string
	build, update, remove bool
	tagged                bool
	actions, below        []string
}

func (rs *Resource[T]) shape() shape {
	return shape{rs.name, rs.plural, rs.path, rs.build != nil, rs.update != nil, rs.delete != nil, rs.byName["tags"] != nil,
		slices.Sorted(maps.Keys(rs.actions)), slices.Sorted(maps.Keys(rs.below))}
}

// cell is an object of some ownership, and what is asked of it.
type cell struct {
	label, base, id string
	create, change  string            // attributes; create is made beside the object, e.g. on the same network
	bodies          map[string]string // of actions; "POST members": of what else is asked below the object
}

// matrixWorld has objects of every resource: the own of project p-demo, an administrator's, what he shares with p-demo by policies of
// RBAC, and what is on external networks. Each resource that is declared must be here: what nobody has thought of fails.
func matrixWorld(t *testing.T) (*world, map[string][]cell) {
	w := newWorld(t, withStored)
	w.node("controller", "", map[string]string{"physnet1": "br-ex"})
	w.node("compute", "", nil)
	w.node("third", "", nil)
	own := w.network("demo", `"name":"own"`)
	foreign := w.network("admin", `"name":"foreign"`)
	shared := w.network("admin", `"name":"shared"`)
	ext := w.network("admin", `"name":"ext","router:external":true`)
	labels := []string{"own", "foreign", "shared", "external"}
	nets := []string{own, foreign, shared, ext}
	w.grant("admin", "network", shared, "access_as_shared", "p-demo")
	cells := map[string][]cell{}
	add := func(name, label, base, id, create, change string, bodies ...string) {
		c := cell{label: label, base: base, id: id, create: create, change: change, bodies: map[string]string{}}
		for i := 0; i+1 < len(bodies); i += 2 {
			c.bodies[bodies[i]] = bodies[i+1]
		}
		cells[name] = append(cells[name], c)
	}
	owners := []string{"demo", "admin", "admin", "admin"}
	subs := make([]string, 4)
	for i, n := range nets {
		subs[i] = w.subnet(owners[i], n, fmt.Sprintf("10.%d.0.0/24", i), "")
		create := ""
		if i == 0 {
			create = `"name":"x"`
		}
		add("network", labels[i], "networks", n, create, `"description":"x"`)
		add("subnet", labels[i], "subnets", subs[i], fmt.Sprintf(`"network_id":%q,"cidr":"10.77.0.0/24","ip_version":4`, n), `"description":"x"`)
		add("network_ip_availability", labels[i], "network-ip-availabilities", n, "", "")
	}
	// Networks without ports, so that a deletion tells who may.
	for i, who := range []string{"demo", "admin"} {
		add("network", labels[i]+", empty", "networks", w.network(who, ""), "", `"shared":true`)
	}
	for i, n := range nets {
		add("port", labels[i], "ports", w.port(owners[i], n, ""), fmt.Sprintf(`"network_id":%q`, n), `"description":"x"`)
	}
	add("port", "own on shared", "ports", w.port("demo", shared, ""), `"network_id":"`+shared+`","mac_address":"fa:16:3e:00:00:99"`, `"binding:host_id":"compute"`)
	add("port", "foreign on own", "ports", w.port("admin", own, ""), `"network_id":"`+own+`","binding:host_id":"compute"`, `"description":"x"`)

	pub := w.network("admin", `"name":"pub","router:external":true`)
	w.subnet("admin", pub, "172.16.0.0/24", "")
	for i, who := range []string{"demo", "admin"} {
		inside := w.network(who, "")
		leg, free := w.subnet(who, inside, fmt.Sprintf("10.%d.0.0/24", 20+i), ""), w.subnet(who, inside, fmt.Sprintf("10.%d.0.0/24", 30+i), "")
		r := w.make(who, "routers", "router", `"external_gateway_info":{"network_id":"`+pub+`"}`)
		w.attach(who, r, "subnet_id", leg)
		add("router", labels[i], "routers", r, []string{`"name":"x"`, `"external_gateway_info":{"network_id":"` + foreign + `"}`}[i], `"description":"x"`,
			"add_router_interface", `{"subnet_id":"`+free+`"}`, "remove_router_interface", `{"subnet_id":"`+leg+`"}`,
			"add_extraroutes", `{"router":{"routes":[]}}`, "remove_extraroutes", `{"router":{"routes":[]}}`)
		base := "routers/" + r + "/conntrack_helpers"
		add("conntrack_helper", labels[i], base, w.make(who, base, "conntrack_helper", `"protocol":"udp","port":69,"helper":"tftp"`), `"protocol":"tcp","port":21,"helper":"ftp"`, `"port":6969`)
		add("floatingip", labels[i], "floatingips", w.make(who, "floatingips", "floatingip", `"floating_network_id":"`+pub+`"`),
			[]string{`"floating_network_id":"` + pub + `"`, `"floating_network_id":"` + pub + `","port_id":"` + cells["port"][1].id + `"`}[i], `"description":"x"`)
		kept := w.subnet(who, inside, fmt.Sprintf("10.%d.0.0/24", 40+i), "")
		w.attach(who, r, "subnet_id", kept)
		to := w.port(who, inside, `,"fixed_ips":[{"subnet_id":"`+kept+`"}]`)
		base = "floatingips/" + w.make(who, "floatingips", "floatingip", `"floating_network_id":"`+pub+`"`) + "/port_forwardings"
		forward := func(port int) string {
			return fmt.Sprintf(`"protocol":"tcp","internal_port_id":%q,"internal_ip_address":%q,"internal_port":%d,"external_port":%d`, to, w.addr(to), port, port)
		}
		add("port_forwarding", labels[i], base, w.make(who, base, "port_forwarding", forward(22)), forward(23), `"description":"x"`)
	}
	add("router", "own, its mode", "routers", cells["router"][0].id, `"distributed":true`, `"external_gateway_info":{"network_id":"`+pub+`","enable_snat":false}`)
	for i, who := range []string{"demo", "admin", "admin"} {
		lend := func(kind, id string) string {
			if labels[i] == "shared" {
				w.grant("admin", kind, id, "access_as_shared", "p-demo")
			}
			return id
		}
		first := func(s string) string { // creates that hang on nothing are asked once
			if i > 0 {
				return ""
			}
			return s
		}
		g := lend("security_group", w.make(who, "security-groups", "security_group", `"name":"g"`))
		add("security_group", labels[i], "security-groups", g, first(`"name":"x"`), `"description":"x"`)
		add("security_group_rule", labels[i], "security-group-rules", w.make(who, "security-group-rules", "security_group_rule", `"security_group_id":"`+g+`","direction":"ingress"`),
			`"security_group_id":"`+g+`","direction":"ingress","protocol":"tcp"`, `"description":"x"`)
		a := lend("address_group", w.make(who, "address-groups", "address_group", `"addresses":["10.0.0.1"]`))
		add("address_group", labels[i], "address-groups", a, first(`"name":"x"`), `"description":"x"`,
			"add_addresses", `{"addresses":["10.0.0.2"]}`, "remove_addresses", `{"addresses":["10.0.0.1"]}`)
		s := lend("address_scope", w.make(who, "address-scopes", "address_scope", `"ip_version":4`))
		add("address_scope", labels[i], "address-scopes", s, first(`"ip_version":4`), `"name":"x"`)
		p := lend("subnetpool", w.pool(who, fmt.Sprintf(`"prefixes":["10.%d.0.0/16"],"default_prefixlen":24`, 64+i)))
		add("subnetpool", labels[i], "subnetpools", p, first(`"name":"x","prefixes":["10.192.0.0/10"]`), `"description":"x"`,
			"add_prefixes", `{"prefixes":["10.200.0.0/16"]}`, "remove_prefixes", fmt.Sprintf(`{"prefixes":["10.%d.0.0/16"]}`, 64+i),
			"onboard_network_subnets", `{"network_id":"`+own+`"}`)
		add("subnet", labels[i]+" pool", "subnets", "", `"network_id":"`+cells["network"][4].id+`","ip_version":4,"subnetpool_id":"`+p+`"`, "")
		q := lend("qos_policy", w.make("admin", "qos/policies", "policy", fmt.Sprintf(`"name":"q","project_id":%q`, people[who].ProjectID)))
		add("policy", labels[i], "qos/policies", q, first(`"name":"x"`), `"description":"x"`)
		for kind, body := range map[string]string{"bandwidth_limit": `"max_kbps":1000`, "dscp_marking": `"dscp_mark":8`, "minimum_bandwidth": `"min_kbps":1000`,
			"minimum_packet_rate": `"min_kpps":1000`, "packet_rate_limit": `"max_kpps":1000`} {
			name := kind + "_rule"
			base := "qos/policies/" + q + "/" + name + "s"
			id := w.make("admin", base, name, body)
			add(name, labels[i], base, id, strings.ReplaceAll(body, "8", "10"), body)
			add("alias_"+name, labels[i], "qos/alias_"+name+"s", id, "", body)
			if i == 1 { // below a policy that is not its own
				add(name, "foreign below own", "qos/policies/"+cells["policy"][0].id+"/"+name+"s", id, "", body)
			}
		}
		shared := []string{"false", "false", "true"}[i]
		l := w.make("admin", "metering/metering-labels", "metering_label", fmt.Sprintf(`"name":"l","project_id":%q,"shared":%s`, people[who].ProjectID, shared))
		add("metering_label", labels[i], "metering/metering-labels", l, first(`"name":"x"`), "")
		u := w.make("admin", "metering/metering-label-rules", "metering_label_rule", `"metering_label_id":"`+l+`","direction":"ingress","remote_ip_prefix":"10.0.0.0/24"`)
		add("metering_label_rule", labels[i], "metering/metering-label-rules", u, `"metering_label_id":"`+l+`","direction":"ingress","remote_ip_prefix":"10.9.0.0/24"`, "")
		// What instances and trunks use.
		if i == 2 {
			continue
		}
		vm := w.port(who, nets[i], `,"device_owner":"compute:nova","device_id":"vm"`)
		w.do("admin", "PUT", "/v2.0/ports/"+vm, `{"port":{"binding:host_id":"controller"}}`, 200)
		w.do("admin", "POST", "/v2.0/ports/"+vm+"/bindings", `{"binding":{"host":"compute"}}`, 201)
		add("binding", labels[i], "ports/"+vm+"/bindings", "compute", `"host":"third"`, `"profile":{"a":1}`, "activate", "")
		sub := w.port(who, nets[i], "")
		carried := w.port(who, nets[i], "")
		tr := w.make(who, "trunks", "trunk", `"port_id":"`+w.port(who, nets[i], "")+`","sub_ports":[{"port_id":"`+carried+`","segmentation_type":"vlan","segmentation_id":7}]`)
		add("trunk", labels[i], "trunks", tr, `"port_id":"`+w.port(who, nets[i], "")+`"`, `"description":"x"`,
			"add_subports", `{"sub_ports":[{"port_id":"`+sub+`","segmentation_type":"vlan","segmentation_id":8}]}`, "remove_subports", `{"sub_ports":[{"port_id":"`+carried+`"}]}`)
	}
	grant := func(who, object, target string) string {
		return w.grant(who, "network", object, "access_as_shared", target)
	}
	body := func(object, action, target string) string {
		return fmt.Sprintf(`"object_type":"network","object_id":%q,"action":%q,"target_tenant":%q`, object, action, target)
	}
	add("rbac_policy", "own", "rbac-policies", grant("demo", own, "p-x"), body(own, "access_as_shared", "p-y"), `"target_tenant":"p-z"`)
	add("rbac_policy", "foreign", "rbac-policies", grant("admin", foreign, "p-x"), body(foreign, "access_as_shared", "p-y"), `"target_tenant":"p-z"`)
	add("rbac_policy", "shared", "rbac-policies", "", body(shared, "access_as_shared", "p-y"), "")
	add("rbac_policy", "for everybody", "rbac-policies", cells["rbac_policy"][0].id, body(own, "access_as_shared", "*"), `"target_tenant":"*"`)
	add("rbac_policy", "as external", "rbac-policies", "", body(own, "access_as_external", "p-y"), "")
	dhcp, l3 := agentKinds[0].id("controller"), agentKinds[1].id("controller")
	free, hosted := w.make("demo", "routers", "router", ""), w.make("demo", "routers", "router", "")
	w.do("admin", "POST", "/v2.0/agents/"+l3+"/l3-routers", `{"router_id":"`+hosted+`"}`, 201)
	add("agent", "DHCP", "agents", dhcp, "", `"description":"x"`, "POST dhcp-networks", `{"network_id":"`+w.network("admin", "")+`"}`, "DELETE dhcp-networks/"+own, "")
	add("agent", "L3", "agents", l3, "", `"description":"x"`, "POST l3-routers", `{"router_id":"`+free+`"}`, "DELETE l3-routers/"+hosted, "")
	segmentCells(w, add)
	cloudCells(w, add)
	groupCells(w, add)
	proxyCells(w, add)
	logCells(w, add)
	localCells(w, add)
	return w, cells
}

// matrixRoles are the callers, in order of the golden files' columns.
var matrixRoles = []struct {
	name string
	who  identity.Principal
}{
	{"admin", identity.Principal{UserID: "u", ProjectID: "p-admin", Roles: []string{"admin", "manager", "member", "reader"}}},
	{"manager", identity.Principal{UserID: "u", ProjectID: "p-demo", Roles: []string{"manager"}}},
	{"member", identity.Principal{UserID: "u", ProjectID: "p-demo", Roles: []string{"member", "reader"}}},
	{"reader", identity.Principal{UserID: "u", ProjectID: "p-demo", Roles: []string{"reader"}}},
	{"service", identity.Principal{UserID: "u", ProjectID: "p-service", Roles: []string{"service"}}},
	{"sysreader", identity.Principal{UserID: "u", System: true, Roles: []string{"reader"}}},
	{"other", identity.Principal{UserID: "u", ProjectID: "p-other", Roles: []string{"member"}}},
	{"domain", identity.Principal{UserID: "u", DomainID: "default", Roles: []string{"admin"}}},
	{"none", identity.Principal{UserID: "u", ProjectID: "p-demo"}},
	{"no token", identity.Principal{}},
}

// TestPolicyGrid asks every declared resource, by every method and action, as every role, of objects of every ownership, over HTTP, each
// time from the same state. Of the answers there are golden files that people have read.
func TestPolicyGrid(t *testing.T) {
	for _, r := range matrixRoles[:len(matrixRoles)-1] {
		people["grid "+r.name] = r.who
		t.Cleanup(func() { delete(people, "grid "+r.name) })
	}
	w, cells := matrixWorld(t)
	base := w.st.Snapshot()
	var api *API // of this question
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { api.ServeHTTP(rw, r) }))
	defer srv.Close()
	ask := func(role, method, path, body string) (int, string) {
		cfg := w.api.cfg
		cfg.Store = w.st.Fork(base)
		api = New(cfg)
		rq, err := http.NewRequest(method, srv.URL+"/v2.0/"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if role != "no token" {
			rq.Header.Set("X-Auth-Token", "grid "+role)
		}
		res, err := srv.Client().Do(rq)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var b strings.Builder
		buf := make([]byte, 1<<16)
		for {
			n, err := res.Body.Read(buf)
			b.Write(buf[:n])
			if err != nil {
				break
			}
		}
		if res.StatusCode >= 400 && changed(base, cfg.Store.Snapshot()) {
			t.Errorf("%s: %s %s %s: %d, but the store changed", role, method, path, body, res.StatusCode)
		}
		return res.StatusCode, b.String()
	}
	declared := map[string]bool{}
	asked := 0
	for _, any := range ruleSets {
		s := any.(interface{ shape() shape }).shape()
		declared[s.name] = true
		if len(cells[s.name]) == 0 {
			t.Errorf("%s: nothing in the matrix; add objects of every ownership to matrixWorld", s.name)
			continue
		}
		var b strings.Builder
		fmt.Fprintf(&b, "# %s: status by role. go test ./internal/api/neutron -run PolicyGrid -update, and read the difference.\n%-44s", s.name, "")
		for _, r := range matrixRoles {
			fmt.Fprintf(&b, " %-9s", r.name)
		}
		b.WriteString("\n")
		row := func(label, method, path, body string) {
			fmt.Fprintf(&b, "%-44s", label)
			for _, r := range matrixRoles {
				code, _ := ask(r.name, method, path, body)
				if code >= 500 {
					t.Errorf("%s: %s %s %s: %d", r.name, method, path, body, code)
				}
				fmt.Fprintf(&b, " %-9d", code)
				asked++
			}
			b.WriteString("\n")
		}
		lists := map[string]bool{}
		for _, c := range cells[s.name] {
			one := c.base + "/" + c.id
			if !lists[c.base] && !strings.HasPrefix(s.name, "alias_") {
				lists[c.base] = true
				b.WriteString("list " + c.label + "\n")
				for _, r := range matrixRoles {
					code, body := ask(r.name, "GET", c.base, "")
					var seen []string
					for _, x := range cells[s.name] {
						if x.base == c.base && x.id != "" && strings.Contains(body, `"`+x.id+`"`) {
							seen = append(seen, x.label)
						}
					}
					fmt.Fprintf(&b, "  %-9s %d %s\n", r.name, code, strings.Join(seen, "; "))
				}
			}
			wrap := func(attrs string) string { return fmt.Sprintf(`{%q:{%s}}`, s.name, attrs) }
			if s.build && c.create != "" {
				row("create "+c.label, "POST", c.base, wrap(c.create))
			}
			if c.id == "" {
				continue
			}
			row("show "+c.label, "GET", one, "")
			if s.update && c.change != "" {
				row("update "+c.label, "PUT", one, wrap(c.change))
			}
			if s.tagged {
				row("tags "+c.label, "PUT", one+"/tags", `{"tags":["x"]}`)
				row("tag "+c.label, "PUT", one+"/tags/x", "")
				row("untag "+c.label, "DELETE", one+"/tags", "")
			}
			for _, a := range s.actions {
				body, there := c.bodies[a]
				if !there {
					if len(c.bodies) == 0 && strings.Contains(c.label, ",") {
						continue
					}
					t.Errorf("%s %s: action %s has no body in the matrix", s.name, c.label, a)
				}
				row(a+" "+c.label, "PUT", one+"/"+a, body)
			}
			for _, ask := range slices.Sorted(maps.Keys(c.bodies)) {
				if method, below, ok := strings.Cut(ask, " "); ok {
					row(method+" "+below[:strings.IndexByte(below+"/", '/')]+" "+c.label, method, one+"/"+below, c.bodies[ask])
				}
			}
			for _, name := range s.below {
				row(name+" "+c.label, "GET", one+"/"+name, "")
			}
			if s.remove {
				row("delete "+c.label, "DELETE", one, "")
			}
		}
		golden(t, filepath.Join("testdata", "policy", s.name+".golden"), b.String())
	}
	var b strings.Builder
	b.WriteString("# What is no declared resource.\n")
	for _, path := range slices.Sorted(maps.Keys(w.api.collections)) {
		if _, is := w.api.collections[path].endpoint.(ruleSet); is || strings.HasPrefix(path, "qos/alias") {
			continue
		}
		questions := []string{"GET " + path}
		if path == "quotas" {
			questions = append(questions, "GET quotas/p-demo", "GET quotas/p-demo/default", "GET quotas/p-demo/details", "PUT quotas/p-demo", "DELETE quotas/p-demo", "GET quotas/tenant")
		}
		if path == "auto-allocated-topology" {
			questions = append(questions, "GET auto-allocated-topology/p-demo?fields=dry-run", "DELETE auto-allocated-topology/p-demo")
		}
		for _, q := range questions {
			method, path, _ := strings.Cut(q, " ")
			fmt.Fprintf(&b, "%-44s", q)
			for _, r := range matrixRoles {
				code, _ := ask(r.name, method, path, map[string]string{"PUT": `{"quota":{"port":7}}`}[method])
				fmt.Fprintf(&b, " %s %d", r.name, code)
				asked++
			}
			b.WriteString("\n")
		}
	}
	golden(t, filepath.Join("testdata", "policy", "endpoints.golden"), b.String())
	for name := range cells {
		if !declared[name] {
			t.Errorf("%s: in the matrix and not declared", name)
		}
	}
	t.Logf("%d questions", asked)
}

// changed reports whether a fork has gone on from its snapshot.
func changed(base, now *store.Snapshot) bool { return base.Revision() != now.Revision() }

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Error(err)
		return
	}
	gl, wl := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range max(len(gl), len(wl)) {
		if i >= len(gl) || i >= len(wl) || gl[i] != wl[i] {
			t.Errorf("%s: line %d differs\n got %q\nwant %q", file, i+1, gl[min(i, len(gl)-1)], wl[min(i, len(wl)-1)])
			return
		}
	}
}
