// SPDX-License-Identifier: Apache-2.0

package app

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/identity"
	"nagare/internal/store"
	"nagare/internal/tables"
)

const (
	netID  = "11111111-1111-4111-8111-111111111111"
	canary = "bd8db3a8-2b30-4083-a8b3-b3fd46401142"
	basic  = "admin:" + password
)

func networkBody(id, name string) string {
	return fmt.Sprintf(`{"network":{"id":%q,"tenant_id":"t","name":%q,"admin_state_up":true,"provider:network_type":"vxlan","provider:segmentation_id":77}}`, id, name)
}

func count(t *testing.T, list string) int {
	t.Helper()
	var m map[string][]any
	if err := json.Unmarshal([]byte(list), &m); err != nil {
		t.Fatalf("%v in %s", err, list)
	}
	n := 0
	for _, v := range m {
		n += len(v)
	}
	return n
}

// With --northbound odl another Neutron owns the networks: its northbound takes changes, our own API refuses them and says why;
// a restart keeps all that.
func TestODLIsMaster(t *testing.T) {
	cfg := testConfig(t)
	cfg.Northbound = odlMaster
	for run := range 2 {
		r := startServer(t, cfg, nil)
		token := r.login("admin", password)
		if run == 0 {
			r.want(201, "POST", r.nbi("networks"), networkBody(netID, "theirs"), "basic", basic)
			r.want(201, "POST", r.nbi("subnets"), `{"subnet":{"id":"22222222-2222-4222-8222-222222222222","network_id":"`+netID+`","tenant_id":"t","ip_version":4,
				"cidr":"10.0.0.0/24","enable_dhcp":true,"allocation_pools":[{"start":"10.0.0.2","end":"10.0.0.254"}]}}`, "basic", basic)
		}
		// A DHCP agent's port there stays where the other Neutron put it, although this server answers DHCP itself.
		const agent = `"device_owner":"network:dhcp","device_id":"dhcpd3377d3c-a0d1-5d71-9947-f17125c357bb-` + netID + `"`
		if run == 0 {
			r.want(201, "POST", r.nbi("ports"), `{"port":{"id":"33333333-3333-4333-8333-333333333333","network_id":"`+netID+`","tenant_id":"t","admin_state_up":true,
				"mac_address":"fa:16:3e:00:00:01","binding:host_id":"network-node","fixed_ips":[],`+agent+`}}`, "basic", basic)
		}
		if b := r.want(200, "GET", r.neutron("ports"), "", "X-Auth-Token", token); !strings.Contains(b, `"binding:host_id":"network-node"`) || count(t, b) != 1 {
			t.Errorf("run %d: ports %s", run, b)
		}
		if b := r.want(200, "GET", r.neutron("networks/"+netID), "", "X-Auth-Token", token); !strings.Contains(b, `"theirs"`) {
			t.Errorf("run %d: network %s", run, b)
		}
		before := r.want(200, "GET", r.nbi("networks"), "", "basic", basic)
		for _, c := range [][3]string{{"POST", "networks", `{"network":{"name":"ours"}}`}, {"PUT", "networks/" + netID, `{"network":{"name":"ours"}}`},
			{"DELETE", "networks/" + netID, ""}, {"POST", "ports", `{"port":{"network_id":"` + netID + `"}}`},
			{"PUT", "networks/" + netID + "/tags/x", ""}, {"PUT", "quotas/t", `{"quota":{"port":1}}`}, {"POST", "security-groups", `{"security_group":{"name":"g"}}`}} {
			b := r.want(409, c[0], r.neutron(c[1]), c[2], "X-Auth-Token", token)
			if !strings.Contains(b, `"NorthboundReadOnly"`) || !strings.Contains(b, "another Neutron owns the networks") || !strings.Contains(b, "--northbound neutron") {
				t.Errorf("%s %s: %s", c[0], c[1], b)
			}
		}
		// No object comes of itself: no DHCP port by a subnet, as seen above, and no default group by a list.
		if b := r.want(200, "GET", r.neutron("security-groups"), "", "X-Auth-Token", token); count(t, b) != 0 {
			t.Errorf("run %d: groups that nobody sent: %s", run, b)
		}
		if after := r.want(200, "GET", r.nbi("networks"), "", "basic", basic); after != before {
			t.Errorf("run %d: refused changes changed\n%s\ninto\n%s", run, before, after)
		}
		if b := r.want(200, "GET", r.url(cfg.AdminPort)+"/nagare/v1/status", "", "basic", basic); !strings.Contains(b, `"northbound":"odl"`) {
			t.Errorf("status %s", b)
		}
		r.want(200, "GET", r.url(cfg.AdminPort)+"/restconf/operational/neutron:neutron/neutron:features/", "", "basic", basic)
		r.want(404, "GET", r.nbi("networks/"+canary), "", "basic", basic)
		r.stop()
	}
}

// With --northbound neutron, the default, it is the other way round.
func TestNeutronIsMaster(t *testing.T) {
	cfg := testConfig(t)
	cfg.Profile = classic // with which dhcp is port: the task that places them runs
	r := startServer(t, cfg, nil)
	token := r.login("demo", password)
	var made struct{ Network struct{ ID string } }
	if err := json.Unmarshal([]byte(r.want(201, "POST", r.neutron("networks"), `{"network":{"name":"ours"}}`, "X-Auth-Token", token)), &made); err != nil {
		t.Fatal(err)
	}
	id := made.Network.ID
	before := r.want(200, "GET", r.neutron("networks"), "", "X-Auth-Token", token)
	for _, c := range [][3]string{{"POST", "networks", networkBody(netID, "theirs")}, {"PUT", "networks/" + id, `{"network":{"name":"theirs"}}`},
		{"DELETE", "networks/" + id, ""}, {"POST", "qos/policies", `{"policy":{"id":"` + netID + `"}}`}} {
		b := r.want(409, c[0], r.nbi(c[1]), c[2], "basic", basic)
		if !strings.Contains(b, "its own Neutron API owns the networks") || !strings.Contains(b, "--northbound odl") {
			t.Errorf("%s %s: %s", c[0], c[1], b)
		}
	}
	if after := r.want(200, "GET", r.neutron("networks"), "", "X-Auth-Token", token); after != before {
		t.Errorf("refused changes changed\n%s\ninto\n%s", before, after)
	}
	if b := r.want(200, "GET", r.nbi("networks"), "", "basic", basic); count(t, b) != 1 {
		t.Errorf("the northbound shows %s", b)
	}
	r.want(404, "GET", r.url(cfg.AdminPort)+"/restconf/operational/neutron:neutron/neutron:features/", "", "basic", basic)
}

// Checks A1, A2 and W6 of the northbound's contract, on every kind of path of the admin port.
func TestWhoMayUseTheNorthbound(t *testing.T) {
	cfg := testConfig(t)
	cfg.Northbound = odlMaster
	r := startServer(t, cfg, nil)
	admin := r.login("admin", password)
	base := r.url(cfg.AdminPort)
	rpc := `{"input":{"path":"/neutron:neutron/neutron:ports","sal-remote-augment:datastore":"OPERATIONAL","sal-remote-augment:scope":"SUBTREE",
		"sal-remote-augment:notification-output-type":"JSON"}}`
	calls := [][3]string{
		{"GET", r.nbi("networks"), ""}, {"GET", r.nbi("networks/" + canary), ""}, {"POST", r.nbi("networks"), networkBody(netID, "x")},
		{"PUT", r.nbi("networks/" + netID), networkBody(netID, "x")}, {"DELETE", r.nbi("networks/" + netID), ""}, {"GET", r.nbi("no-such-thing"), ""},
		{"GET", base + "/restconf/operational/neutron:neutron/hostconfigs/", ""}, {"GET", base + "/rests/data/neutron:neutron/hostconfigs", ""},
		{"GET", base + "/restconf/operational/network-topology:network-topology/", ""},
		{"POST", base + "/restconf/operations/sal-remote:create-data-change-event-subscription", rpc},
		{"GET", base + "/restconf/streams/stream/data-change-event-subscription/neutron:neutron/neutron:ports/datastore=OPERATIONAL/scope=SUBTREE", ""},
	}
	for _, c := range calls {
		for name, header := range map[string][]string{
			"no credentials": nil, "wrong password": {"basic", "admin:wrong"}, "old default": {"basic", "admin:admin"}, "unknown user": {"basic", "nobody:" + password},
			"malformed": {"Authorization", "Basic ???"}, "bad token": {"X-Auth-Token", admin + "x"},
			"cookie": {"Cookie", "JSESSIONID=1"},
		} {
			if strings.HasPrefix(c[1], base+"/rest") && header != nil && header[0] == "basic" && header[1] != "admin:wrong" {
				continue // hashes take their time
			}
			// Guessing is delayed: those who come too soon hear so, and nothing else.
			code, h, b := r.try(c[0], c[1], c[2], header...)
			if code == 429 && h.Get("Retry-After") != "" {
				continue
			}
			if code != 401 || !strings.HasPrefix(h.Get("WWW-Authenticate"), "Basic ") {
				t.Errorf("%s: %s %s: %d %v %s", name, c[0], c[1], code, h, b)
			}
		}
	}
	if b := r.want(200, "GET", r.nbi("networks"), "", "X-Auth-Token", admin); count(t, b) != 0 {
		t.Errorf("something was made: %s", b)
	}
	// A web socket without a stream's token.
	handshake := []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}
	for _, path := range []string{"/data-change-event-subscription/neutron:neutron/neutron:ports/datastore=OPERATIONAL/scope=SUBTREE",
		"/data-change-event-subscription/neutron:neutron/neutron:ports/datastore=OPERATIONAL/scope=SUBTREE/JSON?token=guess"} {
		if code, _, b := r.try("GET", base+path, "", handshake...); code != 401 && code != 403 {
			t.Errorf("web socket %s: %d %s", path, code, b)
		}
	}
	// A reader may look and not touch.
	identityURL := r.url(cfg.IdentityPort) + "/v3/"
	id := func(path, body, kind string) string {
		var m map[string]json.RawMessage
		var v struct{ ID string }
		if err := json.Unmarshal([]byte(r.want(201, "POST", identityURL+path, body, "X-Auth-Token", admin)), &m); err != nil || json.Unmarshal(m[kind], &v) != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return v.ID
	}
	user := id("users", `{"user":{"name":"watcher","password":"watching"}}`, "user")
	project := id("projects", `{"project":{"name":"watched"}}`, "project")
	var roles struct{ Roles []struct{ ID, Name string } }
	if err := json.Unmarshal([]byte(r.want(200, "GET", identityURL+"roles", "", "X-Auth-Token", admin)), &roles); err != nil {
		t.Fatal(err)
	}
	for _, role := range roles.Roles {
		if role.Name == identity.RoleReader {
			r.want(204, "PUT", identityURL+"projects/"+project+"/users/"+user+"/roles/"+role.ID, "", "X-Auth-Token", admin)
			r.want(204, "PUT", identityURL+"system/users/"+user+"/roles/"+role.ID, "", "X-Auth-Token", admin)
		}
		if role.Name == identity.RoleReader || role.Name == identity.RoleAdmin {
			r.want(204, "PUT", identityURL+"domains/default/users/"+user+"/roles/"+role.ID, "", "X-Auth-Token", admin)
		}
	}
	// Nor may who administers a domain: nothing of the cloud is in it.
	domain := r.login2("watcher", "watching", `"domain":{"id":"default"}`)
	for _, url := range []string{r.nbi("networks"), base + "/restconf/operational/neutron:neutron/hostconfigs/", base + "/nagare/v1/status",
		r.url(cfg.NeutronPort) + "/v2.0/networks"} {
		r.want(403, "GET", url, "", "X-Auth-Token", domain)
	}
	r.want(403, "POST", identityURL+"projects", `{"project":{"name":"mine"}}`, "X-Auth-Token", domain)
	for _, role := range roles.Roles {
		r.want(403, "PUT", identityURL+"system/users/"+user+"/roles/"+role.ID, "", "X-Auth-Token", domain)
	}
	// One of a project may not even look, for what is here is of all projects.
	watcher := r.login2("watcher", "watching", `"project":{"name":"watched","domain":{"id":"default"}}`)
	r.want(403, "GET", r.nbi("networks"), "", "X-Auth-Token", watcher)
	system := r.login2("watcher", "watching", `"system":{"all":true}`)
	r.want(200, "GET", r.nbi("networks"), "", "X-Auth-Token", system)
	for _, c := range calls[2:5] {
		r.want(403, c[0], c[1], c[2], "X-Auth-Token", watcher)
		r.want(403, c[0], c[1], c[2], "X-Auth-Token", system)
	}
	if b := r.want(200, "GET", r.nbi("networks"), "", "X-Auth-Token", admin); count(t, b) != 0 {
		t.Errorf("a reader made something: %s", b)
	}
	for _, secret := range []string{password, "watching", admin, watcher, system} {
		if strings.Contains(r.log(), secret) {
			t.Error("the log has a secret")
		}
	}
}

// login2 gives a token for a scope.
func (r *running) login2(user, password, scope string) string {
	r.t.Helper()
	body, _, _ := strings.Cut(loginBody(user, password), `"project":`)
	body += scope + "}}}"
	code, head, b := r.try("POST", r.url(r.cfg.IdentityPort)+"/v3/auth/tokens", body)
	if code != 201 {
		r.t.Fatalf("token for %s: %d %s", user, code, b)
	}
	return head.Get("X-Subject-Token")
}

// Check A3: what is not loaded is never said not to be there, which would make the client send everything again.
func TestNorthboundBeforeTheStoreIsLoaded(t *testing.T) {
	s := &Server{cfg: Defaults(), log: slog.New(slog.DiscardHandler), store: store.New(tables.Schema, nil), users: identity.None{}}
	s.cfg.Northbound = odlMaster
	s.openNorthbound(&alloc.Allocator{}, &logs{handler: slog.DiscardHandler})
	h := s.withNorthbound(http.NotFoundHandler())
	paths := []string{"/controller/nb/v2/neutron/networks/" + canary, "/controller/nb/v2/neutron/networks",
		"/restconf/operational/neutron:neutron/neutron:features/", "/restconf/operational/neutron:neutron/hostconfigs/"}
	for _, loaded := range []bool{false, true} {
		s.loaded.Store(loaded)
		for _, p := range paths {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest("GET", p, nil))
			if (rec.Code == 503) == loaded {
				t.Errorf("loaded %v: GET %s: %d", loaded, p, rec.Code)
			}
		}
	}
}
