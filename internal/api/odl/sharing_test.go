// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"nagare/internal/api/neutron"
	"nagare/internal/identity"
	"nagare/internal/tables"
)

// stranger is a member of a project that owns nothing.
type stranger struct{}

func (stranger) Validate(context.Context, string) (identity.Principal, error) {
	return identity.Principal{UserID: "s", ProjectID: "strange", Roles: []string{"member"}}, nil
}

// seen are the ids of a collection that a stranger sees by our own API, which only reads.
func (w *world) seen(path string) []string {
	w.Helper()
	api := neutron.New(neutron.Config{Store: w.st, Auth: stranger{}, ReadOnly: "Another Neutron owns the networks."})
	rec := httptest.NewRecorder()
	before := w.st.Snapshot().Seq()
	api.ServeHTTP(rec, httptest.NewRequest("GET", "/v2.0/"+path, nil))
	var body map[string][]struct{ ID string }
	if err := json.Unmarshal(rec.Body.Bytes(), &body); rec.Code != 200 || err != nil {
		w.Fatalf("%s: %d %s", path, rec.Code, rec.Body)
	}
	if w.st.Snapshot().Seq() != before {
		w.Errorf("%s: the list changed the store", path)
	}
	ids := []string{}
	for _, l := range body {
		for _, o := range l {
			ids = append(ids, o.ID)
		}
	}
	return ids
}

// TestShared: what another Neutron shares with everybody, members of other projects see by our own API, for as long as it does.
func TestShared(t *testing.T) {
	w := newWorld(t)
	on := func(body string) string { return replaced(body, `"shared":false`, `"shared":true`) }
	policy := `{"policy":{"id":"` + netB + `","name":"p","tenant_id":"` + tenant + `","shared":false}}`
	external := replaced(netBody(extNet, "9", ""), `"router:external":false`, `"router:external":true`)
	for _, c := range []struct{ path, own, id, hidden, shown string }{
		{"networks", "networks", netA, netBody(netA, "7", ""), on(netBody(netA, "7", ""))},
		{"networks", "networks", extNet, netBody(extNet, "9", ""), external},
		{"security-groups", "security-groups", groupA, groupBody(groupA, ""), on(groupBody(groupA, ""))},
		{"qos/policies", "qos/policies", netB, policy, on(policy)},
	} {
		want := func(what string, seen bool) {
			t.Helper()
			if got := w.seen(c.own); slices.Contains(got, c.id) != seen {
				t.Errorf("%s: a stranger sees %v of %s, want %s there: %v", what, got, c.own, c.id, seen)
			}
			if o := w.show(c.path, c.id); (o["shared"] == true || o["router:external"] == true) != seen {
				t.Errorf("%s: %v", what, o)
			}
		}
		w.do("POST", "/"+c.path, c.hidden, 201)
		want("alone", false)
		w.do("PUT", "/"+c.path+"/"+c.id, c.shown, 200)
		want("shared", true)
		rev := w.st.Snapshot().Revision()
		w.do("POST", "/"+c.path, c.shown, 201)
		if w.st.Snapshot().Revision() != rev {
			t.Errorf("%s: a repetition changes something", c.path)
		}
		w.do("PUT", "/"+c.path+"/"+c.id, c.hidden, 200)
		want("no longer", false)
		w.do("PUT", "/"+c.path+"/"+c.id, replaced(c.hidden, `"shared":false`, `"unheard":1`), 200)
		want("not said", false)
		w.do("POST", "/"+c.path, c.shown, 201)
		want("again", true)
		w.do("DELETE", "/"+c.path+"/"+c.id, "", 204)
	}
	if n := tables.RBACPolicies.Len(w.st.Snapshot()); n != 0 {
		t.Errorf("%d policies of sharing are left of objects that are gone", n)
	}
}

// TestSharedSubnet: a subnet is shared as its network is, whichever comes first.
func TestSharedSubnet(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/subnets", replaced(subBody(subA, netA, "10.0.0.0/24", ""), `"shared":false`, `"shared":true`), 201)
	if w.show("subnets", subA)["shared"] != false {
		t.Error("shared without its network")
	}
	w.do("POST", "/networks", replaced(netBody(netA, "7", ""), `"shared":false`, `"shared":true`), 201)
	if w.show("subnets", subA)["shared"] != true {
		t.Error("not shared with its network")
	}
	if got := w.seen("subnets"); !slices.Equal(got, []string{subA}) {
		t.Errorf("a stranger sees the subnets %v", got)
	}
}

// TestSharedByUs: what our own API has shared is told as shared.
func TestSharedByUs(t *testing.T) {
	p := newPair(t, "standard")
	for path, body := range map[string]string{"networks": `{"network":{"shared":true}}`, "qos/policies": `{"policy":{"name":"p","shared":true}}`, "security-groups": `{"security_group":{"name":"g"}}`} {
		id := p.call("POST", path, body)
		if path == "security-groups" {
			p.call("POST", "rbac-policies", `{"rbac_policy":{"object_type":"security_group","object_id":"`+id+`","action":"access_as_shared","target_tenant":"*"}}`)
		}
		if o := (&world{TB: t, st: p.own.st, h: New(Config{Store: p.own.st, Auth: login})}).show(path, id); o["shared"] != true {
			t.Errorf("%s: %v", path, o)
		}
	}
}

// TestOwnRender: policies and trunks that our own API has made are told too.
func TestOwnRender(t *testing.T) {
	p := newPair(t, "standard")
	w := &world{TB: t, st: p.own.st, h: New(Config{Store: p.own.st, Auth: login, Writable: true})}
	net := p.call("POST", "networks", `{"network":{"name":"n"}}`)
	parent := p.instance(net, "vm")
	sub := p.call("POST", "ports", `{"port":{"network_id":"`+net+`"}}`)
	trunk := p.call("POST", "trunks", `{"trunk":{"port_id":"`+parent+`","sub_ports":[{"port_id":"`+sub+`","segmentation_type":"vlan","segmentation_id":7}]}}`)
	if text := w.do("GET", "/trunks/"+trunk, "", 200).text; !strings.Contains(text, `"sub_ports":[{"port_id":"`+sub+`","segmentation_id":7,"segmentation_type":"vlan"}]`) {
		t.Errorf("the trunk is %s", text)
	}
	policy := p.call("POST", "qos/policies", `{"policy":{"name":"p"}}`)
	p.call("POST", "qos/policies/"+policy+"/packet_rate_limit_rules", `{"packet_rate_limit_rule":{"max_kpps":5,"direction":"ingress"}}`)
	if text := w.do("GET", "/qos/policies/"+policy, "", 200).text; !strings.Contains(text, `"direction":"ingress","id":"`) || !strings.Contains(text, `"max_kpps":5`) {
		t.Errorf("the policy is %s", text)
	}
	// Should the other Neutron be master one day, it may change them like its own.
	w.do("PUT", "/trunks/"+trunk, trunkBody(trunk, parent), 200)
	if p := w.port(sub); p.IsSubPort() || p.Host != "" {
		t.Errorf("the trunk no longer lists the port, which is carried by %q on %q", p.Parent, p.Host)
	}
}

// TestNoDefaultGroup: by our own API, which only reads, lists of groups and rules make no default group.
func TestNoDefaultGroup(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"security-groups", "security-group-rules"} {
		if got := w.seen(path); len(got) != 0 {
			t.Errorf("%s: %v", path, got)
		}
	}
	if n := tables.SecurityGroups.Len(w.st.Snapshot()); n != 0 {
		t.Errorf("%d groups were made", n)
	}
}
