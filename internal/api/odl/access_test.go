// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"nagare/internal/identity"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// TestAccess: checks A1 and A2 as far as they are this package's, and who may change what.
func TestAccess(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		who, method string
		want        int
		head        string
	}{
		{"nobody", "GET", 401, identity.Challenge}, {"nobody", "POST", 401, identity.Challenge},
		{"reader", "GET", 200, ""}, {"reader", "POST", 403, ""}, {"tenant", "GET", 403, ""}, {"tenant", "POST", 403, ""}, {"domain", "GET", 403, ""}, {"domain", "POST", 403, ""}, {"member", "GET", 403, ""}, {"member", "POST", 403, ""}, {"locked", "GET", 429, "2"}, {"broken", "GET", 503, "1"},
		{"neutron", "POST", 201, ""}, {"admin", "POST", 201, ""},
	} {
		out := w.ask(c.who, c.method, "/networks", canaryBody)
		if head := out.head.Get("WWW-Authenticate") + out.head.Get("Retry-After"); out.code != c.want || head != c.head {
			t.Errorf("%s %s: %d with %q, want %d with %q", c.method, c.who, out.code, head, c.want, c.head)
		}
	}
}

// TestMaster: where another owns the intent, this northbound only shows it, and says who does.
func TestMaster(t *testing.T) {
	for master, want := range map[string]string{"": "--northbound odl", "somebody else is": "somebody else is"} {
		w := newWorld(t, func(c *Config) { c.Writable, c.Master = false, master })
		w.do("GET", "/networks", "", 200)
		for _, m := range [][2]string{{"POST", "/networks"}, {"PUT", "/networks/" + netA}, {"DELETE", "/networks/" + netA}, {"POST", "/trunks"}, {"PUT", "/routers/" + netA + "/add_router_interface"}} {
			if out := w.do(m[0], m[1], canaryBody, 409); !strings.Contains(out.text, want) {
				t.Errorf("%s: %s", m, out.text)
			}
		}
	}
}

// TestReady: check A3.
func TestReady(t *testing.T) {
	ready := false
	w := newWorld(t, func(c *Config) { c.Ready = func() bool { return ready } })
	for _, path := range []string{"/networks/" + canary, "/networks", "/nothing"} {
		if out := w.do("GET", path, "", 503); out.head.Get("Retry-After") == "" {
			t.Errorf("A3: no Retry-After at %s", path)
		}
	}
	ready = true
	w.do("GET", "/networks/"+canary, "", 404)
}

// TestStrict: what OpenDaylight refuses.
func TestStrict(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Strict = true })
	w.do("POST", "/networks", netBody(netA, "5", `,"qos_policy_id":"`+unknown+`"`), 442)
	w.do("POST", "/networks", netBody(netA, "5", ""), 201)
	w.do("POST", "/networks", netBody(netA, "5", ""), 409)
	w.do("POST", "/security-group-rules", ruleBody(ruleN(1), groupA, ""), 442)
	w.do("POST", "/security-groups", groupBody(groupA, ""), 201)
	w.do("POST", "/security-group-rules", replaced(ruleBody(ruleN(1), groupA, ""), `"remote_group_id":null`, `"remote_group_id":"`+groupB+`"`), 442)
	w.do("POST", "/security-group-rules", ruleBody(ruleN(1), groupA, ""), 201)
	w.do("POST", "/trunks", `{"trunk":{"id":"`+netA+`","port_id":"`+portA+`"}}`, 201)
	w.do("POST", "/trunks", `{"trunk":{"id":"`+netA+`","port_id":"`+portA+`"}}`, 409)
	w.do("POST", "/qos/policies", `{"policy":{"id":"`+unknown+`"}}`, 201)
	w.do("POST", "/networks", netBody(netB, "6", `,"qos_policy_id":"`+unknown+`"`), 201)
}

// TestGone: a client that has gone changes nothing.
func TestGone(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequest("POST", Base+"/networks", strings.NewReader(canaryBody)).WithContext(ctx)
	r.SetBasicAuth("neutron", "neutron")
	w.h.ServeHTTP(httptest.NewRecorder(), r)
	w.do("GET", "/networks/"+canary, "", 404)
}

// TestDurable: what is answered before and after a restart is the same, byte for byte.
func TestDurable(t *testing.T) {
	mem := store.NewMemory(store.Limits{})
	open := func() *store.Store {
		st, err := store.Open(context.Background(), tables.Schema, store.Options{Log: mem.Log()})
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	w := newWorld(t, func(c *Config) { c.Store = open() })
	w.h.(*handler).Store.Snapshot()
	w.st = w.h.(*handler).Store
	w.do("POST", "/networks", netBody(netA, "5", `,"odd":"<&>","n":1.50`), 201)
	w.do("POST", "/ports", portBody(portA, macA, "10.0.0.5", bound), 201)
	w.do("PUT", "/ports/"+portA, `{"port":{"binding:profile":"{\"a\": [1, 2.50]}","binding:vif_details":{"a":[true,null]}}}`, 200)
	w.do("POST", "/security-groups", groupBody(groupA, rule(ruleN(1), groupA, "")), 201)
	w.do("POST", "/trunks", `{"trunk":{"id":"`+netA+`","port_id":"`+portA+`","x":"<"}}`, 201)
	read := func() string {
		out := ""
		for _, c := range []string{"networks", "ports", "security-groups", "trunks"} {
			out += w.do("GET", "/"+c, "", 200).text + "\n"
		}
		return out
	}
	before := read()
	w.st = open()
	w.h.(*handler).Store = w.st
	if after := read(); after != before {
		t.Errorf("before %s\nafter  %s", before, after)
	}
}
