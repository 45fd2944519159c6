// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"nagare/internal/model"
	"nagare/internal/nova"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// compute is Nova as the network service meets it: the calls that it makes for a user (with the user's token) and for itself (as a
// service), and the events that it is sent. The sequences are those that Nova 26 was seen to make.
type compute struct {
	t             *testing.T
	c             *cloud
	user, service string // tokens

	mu     sync.Mutex
	events []string
	news   chan struct{}
}

// Send implements nova.Client.
func (n *compute) Send(_ context.Context, es []nova.Event) ([]nova.Answer, error) {
	n.mu.Lock()
	for _, e := range es {
		n.events = append(n.events, strings.TrimSpace(strings.Join([]string{e.Name, e.Server, e.Tag, e.Status}, " ")))
	}
	n.mu.Unlock()
	n.news <- struct{}{}
	return nil, nil
}

// told waits until Nova has been sent an event, and forgets those before it. changed says whether news of data may come before it.
func (n *compute) told(name, server, port, status string) {
	n.t.Helper()
	want := strings.TrimSpace(strings.Join([]string{name, server, port, status}, " "))
	deadline := time.After(20 * time.Second)
	for {
		n.mu.Lock()
		for len(n.events) > 0 {
			e := n.events[0]
			n.events = n.events[1:]
			if e == want {
				n.mu.Unlock()
				return
			}
			if !strings.HasPrefix(e, nova.Changed) {
				n.t.Errorf("Nova is told %q, want %q next", e, want)
			}
		}
		n.mu.Unlock()
		select {
		case <-n.news:
		case <-deadline:
			n.t.Fatalf("Nova is not told %q", want)
		}
	}
}

func (n *compute) call(token, method, path string, body any, want int) map[string]any {
	n.t.Helper()
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			n.t.Fatal(err)
		}
		in = bytes.NewReader(b)
	}
	base := n.c.networkURL
	if strings.HasPrefix(path, "/v3") {
		base = strings.TrimSuffix(n.c.identityURL, "/v3")
	}
	r, err := http.NewRequestWithContext(n.t.Context(), method, base+path, in)
	if err != nil {
		n.t.Fatal(err)
	}
	r.Header.Set("X-Auth-Token", token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	if resp.StatusCode != want {
		n.t.Fatalf("%s %s: %d %s, want %d", method, path, resp.StatusCode, b, want)
	}
	var out map[string]any
	if len(b) > 0 {
		if err := json.Unmarshal(b, &out); err != nil {
			n.t.Fatalf("%s %s: %v in %s", method, path, err, b)
		}
	}
	if t := resp.Header.Get("X-Subject-Token"); t != "" {
		return map[string]any{"token": t}
	}
	return out
}

func (n *compute) login(name, project string) string {
	return n.call("", "POST", "/v3/auth/tokens", map[string]any{"auth": map[string]any{
		"identity": map[string]any{"methods": []string{"password"}, "password": map[string]any{"user": map[string]any{"name": name, "domain": map[string]any{"id": "default"}, "password": password}}},
		"scope":    map[string]any{"project": map[string]any{"name": project, "domain": map[string]any{"id": "default"}}}}}, 201)["token"].(string)
}

// serviceUser makes the user that Nova acts as: it has the role service and no other.
func (n *compute) serviceUser() {
	admin := n.login("admin", "admin")
	id := func(kind, name string) string {
		l := n.call(admin, "GET", "/v3/"+kind+"s?name="+name, nil, 200)[kind+"s"].([]any)
		return l[0].(map[string]any)["id"].(string)
	}
	p := n.call(admin, "POST", "/v3/projects", map[string]any{"project": map[string]any{"name": "services"}}, 201)["project"].(map[string]any)["id"].(string)
	u := n.call(admin, "POST", "/v3/users", map[string]any{"user": map[string]any{"name": "nova", "password": password}}, 201)["user"].(map[string]any)["id"].(string)
	n.call(admin, "PUT", fmt.Sprintf("/v3/projects/%s/users/%s/roles/%s", p, u, id("role", "service")), nil, 204)
	n.service = n.login("nova", "services")
}

// observe writes what a node would have confirmed.
func (n *compute) observe(port, status string) {
	n.t.Helper()
	_, err := n.c.st.Commit(n.t.Context(), store.Origin{User: "node compute"}, func(tx *store.Txn) error {
		id := model.PortID(port)
		tables.Statuses.Put(tx, id, model.PortStatus{Port: id, Status: status, Since: time.Now()})
		return nil
	})
	if err != nil {
		n.t.Fatal(err)
	}
}

// ready writes that a node to which an instance migrates has confirmed its port.
func (n *compute) ready(port string, hosts ...model.NodeID) {
	n.t.Helper()
	_, err := n.c.st.Commit(n.t.Context(), store.Origin{User: "node controller"}, func(tx *store.Txn) error {
		s, _ := tables.Statuses.Get(tx, model.PortID(port))
		s.Ready = hosts
		tables.Statuses.Put(tx, s.Port, s)
		return nil
	})
	if err != nil {
		n.t.Fatal(err)
	}
}

// TestNova leads an instance through what Nova does with it.
func TestNova(t *testing.T) {
	n := &compute{t: t, c: start(t, nil), news: make(chan struct{}, 100)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- nova.New(nova.Config{Store: n.c.st, Client: n, Status: true, Data: true}).Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	n.serviceUser()
	n.user = n.login("demo", "demo")
	one := func(m map[string]any, kind string) map[string]any { return m[kind].(map[string]any) }
	list := func(m map[string]any, kind string) []any { return m[kind].([]any) }
	network := one(n.call(n.user, "POST", "/v2.0/networks", map[string]any{"network": map[string]any{"name": "net01"}}, 201), "network")
	net := network["id"].(string)
	project := network["project_id"].(string)
	subnet := one(n.call(n.user, "POST", "/v2.0/subnets", map[string]any{"subnet": map[string]any{"network_id": net, "cidr": "10.11.12.0/24", "ip_version": 4}}, 201), "subnet")["id"].(string)
	instance := uuid.NewString()

	refresh := func() { // of Nova's view of the instance's network
		t.Helper()
		l := list(n.call(n.service, "GET", "/v2.0/ports?tenant_id="+project+"&device_id="+instance, nil, 200), "ports")
		for _, p := range l {
			for _, f := range p.(map[string]any)["fixed_ips"].([]any) {
				fixed := f.(map[string]any)
				n.call(n.service, "GET", fmt.Sprintf("/v2.0/floatingips?fixed_ip_address=%s&port_id=%s", fixed["ip_address"], p.(map[string]any)["id"]), nil, 200)
				if s := list(n.call(n.service, "GET", fmt.Sprintf("/v2.0/subnets?id=%s", fixed["subnet_id"]), nil, 200), "subnets"); len(s) != 1 {
					t.Errorf("subnets of one id: %v", s)
				}
			}
		}
		if d := list(n.call(n.service, "GET", "/v2.0/ports?network_id="+net+"&device_owner=network:dhcp", nil, 200), "ports"); len(d) != 1 {
			t.Errorf("%d DHCP ports", len(d))
		}
		facts := one(n.call(n.service, "GET", "/v2.0/networks/"+net+"?fields=provider:physical_network&fields=provider:network_type", nil, 200), "network")
		if len(facts) != 2 || facts["provider:network_type"] != "vxlan" {
			t.Errorf("a network's provider facts: %v", facts)
		}
		if s := one(n.call(n.service, "GET", "/v2.0/networks/"+net+"?fields=segments", nil, 200), "network"); s["segments"] != nil {
			t.Errorf("segments of a network with one: %v", s)
		}
	}

	// Boot.
	n.call(n.user, "GET", "/v2.0/networks/"+net, nil, 200)
	if l := list(n.call(n.user, "GET", "/v2.0/networks?id="+net+"&id="+uuid.NewString(), nil, 200), "networks"); len(l) != 1 {
		t.Errorf("two ids, one of a network: %v", l)
	}
	if q := one(n.call(n.user, "GET", "/v2.0/quotas/"+project, nil, 200), "quota"); q["port"] == nil {
		t.Errorf("quotas %v", q)
	}
	n.call(n.user, "GET", "/v2.0/extensions", nil, 200)
	if l := list(n.call(n.user, "GET", "/v2.0/ports?device_id="+instance, nil, 200), "ports"); len(l) != 0 {
		t.Errorf("ports before the boot: %v", l)
	}
	made := one(n.call(n.user, "POST", "/v2.0/ports", map[string]any{"port": map[string]any{"device_id": instance, "network_id": net, "admin_state_up": true, "tenant_id": project}}, 201), "port")
	port := made["id"].(string)
	if made["status"] != "DOWN" || len(list(made, "security_groups")) != 1 || len(list(made, "fixed_ips")) != 1 || made["binding:host_id"] != nil {
		t.Errorf("port %v", made)
	}
	bound := one(n.call(n.service, "PUT", "/v2.0/ports/"+port, map[string]any{"port": map[string]any{"device_id": instance, "device_owner": "compute:nova", "binding:host_id": "compute"}}, 200), "port")
	details := one(bound, "binding:vif_details")
	if bound["binding:vif_type"] != "ovs" || bound["status"] != "DOWN" || details["bridge_name"] != "br-int" || details["port_filter"] != true ||
		details["ovs_hybrid_plug"] != false || details["datapath_type"] != "netdev" || details["connectivity"] != "l2" {
		t.Errorf("binding %v of port %v", details, bound)
	}
	refresh()
	n.observe(port, model.StatusDown)
	n.observe(port, model.StatusActive)
	n.told(nova.Plugged, instance, port, "completed")
	refresh()

	// A hard reboot takes the tap away and brings it back.
	n.observe(port, model.StatusDown)
	n.told(nova.Unplugged, instance, port, "completed")
	n.observe(port, model.StatusActive)
	n.told(nova.Plugged, instance, port, "completed")

	// server add security group: the list may hold a group twice.
	group := one(n.call(n.user, "POST", "/v2.0/security-groups", map[string]any{"security_group": map[string]any{"name": "web"}}, 201), "security_group")["id"].(string)
	n.call(n.user, "GET", "/v2.0/security-groups?tenant_id="+project, nil, 200)
	if g := list(n.call(n.user, "GET", "/v2.0/security-groups?id="+group+"&fields=id&fields=name", nil, 200), "security_groups"); len(g) != 1 || len(g[0].(map[string]any)) != 2 {
		t.Errorf("names of groups: %v", g)
	}
	have := list(made, "security_groups")[0].(string)
	worn := list(one(n.call(n.user, "PUT", "/v2.0/ports/"+port, map[string]any{"port": map[string]any{"security_groups": []string{have, group, have}}}, 200), "port"), "security_groups")
	if len(worn) != 2 || !slices.Contains(worn, any(group)) {
		t.Errorf("groups %v", worn)
	}
	n.told(nova.Changed, instance, port, "")

	// server add port, with a port of the user's own; then it is taken off again and must be unbound.
	own := one(n.call(n.user, "POST", "/v2.0/ports", map[string]any{"port": map[string]any{"network_id": net, "fixed_ips": []any{map[string]any{"subnet_id": subnet, "ip_address": "10.11.12.77"}}}}, 201), "port")["id"].(string)
	n.call(n.service, "GET", "/v2.0/ports/"+own+"?fields=binding:vnic_type&fields=binding:profile&fields=network_id&fields=resource_request&fields=numa_affinity_policy&fields=device_profile", nil, 200)
	n.call(n.service, "PUT", "/v2.0/ports/"+own, map[string]any{"port": map[string]any{"device_id": instance, "device_owner": "compute:nova", "binding:host_id": "compute", "binding:profile": map[string]any{}}}, 200)
	n.observe(own, model.StatusActive)
	n.told(nova.Plugged, instance, own, "completed")
	n.call(n.service, "GET", "/v2.0/ports/"+own+"?fields=binding:profile&fields=network_id", nil, 200)
	n.call(n.service, "GET", "/v2.0/networks/"+net+"?fields=dns_domain", nil, 200)
	loose := one(n.call(n.service, "PUT", "/v2.0/ports/"+own, map[string]any{"port": map[string]any{"device_id": "", "device_owner": "", "binding:host_id": nil, "binding:profile": map[string]any{}}}, 200), "port")
	if loose["status"] != "DOWN" || loose["binding:vif_type"] != "unbound" || loose["device_id"] != "" {
		t.Errorf("the port that was taken off: %v", loose)
	}

	// A live migration: Nova makes a second binding, is told when the port is plugged there, activates it when the instance runs there,
	// and deletes the first. Nothing says that the port is down.
	ext := fmt.Sprint(n.call(n.service, "GET", "/v2.0/extensions", nil, 200))
	if !strings.Contains(ext, "alias:binding-extended") {
		t.Error("Nova would not use several bindings: the alias binding-extended is not listed")
	}
	at := "/v2.0/ports/" + port + "/bindings"
	there := one(n.call(n.service, "POST", at, map[string]any{"binding": map[string]any{"host": "controller", "vnic_type": "normal", "profile": map[string]any{"os_vif_delegation": true}}}, 201), "binding")
	if there["status"] != "INACTIVE" || there["vif_type"] != "ovs" || one(there, "vif_details")["bridge_name"] != "br-int" {
		t.Errorf("a second binding: %v", there)
	}
	n.ready(port, "controller")
	n.told(nova.Plugged, instance, port, "completed")
	if b := one(n.call(n.service, "GET", at+"/controller", nil, 200), "binding"); b["status"] != "INACTIVE" {
		t.Errorf("binding %v", b)
	}
	n.call(n.service, "PUT", at+"/controller/activate", nil, 200)
	n.call(n.service, "PUT", at+"/controller/activate", nil, 409) // by the event of the hypervisor and at the end: Nova takes it
	if p := one(n.call(n.service, "GET", "/v2.0/ports/"+port, nil, 200), "port"); p["binding:host_id"] != "controller" || p["status"] != "ACTIVE" {
		t.Errorf("the port of the migrated instance: %v", p)
	}
	refresh()
	n.call(n.service, "DELETE", at+"/compute", nil, 204)
	n.call(n.service, "DELETE", at+"/compute", nil, 404)
	if l := list(n.call(n.service, "GET", at, nil, 200), "bindings"); len(l) != 1 {
		t.Errorf("bindings after the migration: %v", l)
	}

	// The periodic task, then delete.
	n.call(n.service, "GET", "/v2.0/ports?device_id="+instance+"&fields=binding:host_id&fields=binding:vif_type", nil, 200)
	refresh()
	n.call(n.service, "DELETE", "/v2.0/ports/"+port, nil, 204)
	n.call(n.service, "DELETE", "/v2.0/ports/"+port, nil, 404)
	n.told(nova.Deleted, instance, port, "completed")
	if one(n.call(n.user, "GET", "/v2.0/ports/"+own, nil, 200), "port")["device_id"] != "" {
		t.Error("the user's port went with the instance")
	}
	// A host that nobody knows: the build must fail at once.
	lost := one(n.call(n.user, "POST", "/v2.0/ports", map[string]any{"port": map[string]any{"network_id": net}}, 201), "port")["id"].(string)
	failed := one(n.call(n.service, "PUT", "/v2.0/ports/"+lost, map[string]any{"port": map[string]any{"device_id": uuid.NewString(), "device_owner": "compute:nova", "binding:host_id": "nowhere"}}, 200), "port")
	if failed["binding:vif_type"] != "binding_failed" {
		t.Errorf("bound to a host that is not there: %v", failed)
	}
}
