// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestOnboard: a network's subnets become those of a pool, which has their prefixes from then on.
func TestOnboard(t *testing.T) {
	w := newWorld(t)
	n := w.network("demo", "")
	a, b := w.subnet("demo", n, "10.1.0.0/24", ""), w.subnet("demo", n, "10.1.1.0/24", "")
	six := w.subnet("demo", n, "fd00::/64", "")
	pool := w.pool("demo", `"prefixes":["10.9.0.0/16"],"default_prefixlen":24,"min_prefixlen":16`)
	at := "/v2.0/subnetpools/" + pool
	body := func(n string) string { return `{"network_id":"` + n + `"}` }
	of := func(id string) any {
		return dig(w.do("demo", "GET", "/v2.0/subnets/"+id, "", 200), "subnet", "subnetpool_id")
	}
	prefixes := func(id string) string {
		return fmt.Sprint(dig(w.do("admin", "GET", "/v2.0/subnetpools/"+id, "", 200), "subnetpool", "prefixes"))
	}
	foreign := w.network("admin", `"shared":true`)
	hidden := w.network("admin", "")
	theirs := w.pool("admin", `"prefixes":["10.8.0.0/16"]`)
	missing := "00000000-0000-4000-8000-000000000000"
	for _, c := range []struct {
		who, path, body string
		status          int
		kind, message   string
	}{
		{"demo", at, `{}`, 400, "InvalidInput", "Invalid input for operation: network_id must be specified."},
		{"demo", at, `{"network_id":"x"}`, 400, "HTTPBadRequest", "Invalid input for network_id. Reason: 'x' is not a valid UUID."},
		{"demo", at, body(missing), 404, "NetworkNotFound", ""},
		{"demo", at, body(hidden), 404, "NetworkNotFound", ""},
		{"demo", at, body(foreign), 403, "NotAuthorized", "Not authorized."},
		{"demo", "/v2.0/subnetpools/" + theirs, body(n), 404, "SubnetPoolNotFound", ""},
		{"reader", at, body(n), 403, "PolicyNotAuthorized", "rule:onboard_network_subnets is disallowed by policy"},
	} {
		w.refuse(c.who, "PUT", c.path+"/onboard_network_subnets", c.body, c.status, c.kind, c.message)
	}
	got := w.send("demo", "PUT", at+"/onboard_network_subnets", body(n), "If-Match", "revision_number=9")
	if got.code != 412 {
		t.Errorf("at another revision: %d", got.code)
	}
	// The answer is a list, which no body of another request is.
	onboard := func(who, pool, n string) string {
		t.Helper()
		r := httptest.NewRequest("PUT", "/v2.0/subnetpools/"+pool+"/onboard_network_subnets", strings.NewReader(body(n)))
		r.Header.Set("X-Auth-Token", who)
		rec := httptest.NewRecorder()
		if w.api.ServeHTTP(rec, r); rec.Code != 200 {
			t.Fatalf("onboard: %d %s", rec.Code, rec.Body)
		}
		return rec.Body.String()
	}
	one := func(id, cidr string) string { return fmt.Sprintf(`{"cidr":%q,"id":%q}`, cidr, id) }
	if got := onboard("demo", pool, n); got != "["+one(a, "10.1.0.0/24")+","+one(b, "10.1.1.0/24")+"]" && got != "["+one(b, "10.1.1.0/24")+","+one(a, "10.1.0.0/24")+"]" {
		t.Errorf("onboarded %s", got)
	}
	if of(a) != pool || of(b) != pool || of(six) != nil || prefixes(pool) != "[10.1.0.0/23 10.9.0.0/16]" {
		t.Errorf("subnets of %v, %v, %v; prefixes %s", of(a), of(b), of(six), prefixes(pool))
	}
	w.refuse("demo", "PUT", at+"/onboard_network_subnets", body(n), 400, "IllegalSubnetPoolUpdate", "")
	// What was onboarded is allocated, and comes back to the pool with its subnet.
	other := w.network("demo", "")
	on := func(cidr string) string {
		return `{"subnet":{"network_id":"` + other + `","ip_version":4,"subnetpool_id":"` + pool + `","cidr":"` + cidr + `"}}`
	}
	w.refuse("demo", "POST", "/v2.0/subnets", on("10.1.0.0/24"), 409, "SubnetAllocationError", "")
	w.refuse("demo", "PUT", at+"/remove_prefixes", `{"prefixes":["10.1.0.0/24"]}`, 400, "IllegalSubnetPoolPrefixUpdate", "")
	w.do("demo", "DELETE", "/v2.0/subnets/"+a, "", 204)
	w.do("demo", "POST", "/v2.0/subnets", on("10.1.0.0/24"), 201)
	// A prefix that holds an allocated one, or lies within one, is in conflict.
	for _, cidr := range []string{"10.1.0.0/16", "10.1.1.128/25"} {
		wide := w.network("demo", "")
		s := w.subnet("demo", wide, cidr, "")
		w.refuse("demo", "PUT", at+"/onboard_network_subnets", body(wide), 400, "IllegalSubnetPoolUpdate",
			"Illegal subnetpool update : Onboarding subnet "+s+": "+cidr+" conflicts with allocated prefixes in subnet pool "+pool+".")
	}
	// Subnets leave the pool that they were of.
	second := w.pool("demo", `"prefixes":["10.7.0.0/16"]`)
	last := w.network("demo", "")
	s := w.make("demo", "subnets", "subnet", fmt.Sprintf(`"network_id":%q,"ip_version":4,"subnetpool_id":%q,"cidr":"10.7.4.0/24"`, last, second))
	onboard("admin", pool, last)
	if of(s) != pool {
		t.Errorf("of %v", of(s))
	}
	w.do("demo", "PUT", "/v2.0/subnetpools/"+second+"/remove_prefixes", `{"prefixes":["10.7.4.0/24"]}`, 200)
	// Within a scope prefixes are of one pool, and a network's subnets take their pool's scope.
	scope := w.make("demo", "address-scopes", "address_scope", `"name":"s","ip_version":4`)
	w.pool("demo", `"prefixes":["10.20.0.0/16"],"address_scope_id":"`+scope+`"`)
	scoped := w.pool("demo", `"prefixes":["10.21.0.0/16"],"address_scope_id":"`+scope+`"`)
	clash, fits := w.network("demo", ""), w.network("demo", "")
	w.subnet("demo", clash, "10.20.3.0/24", "")
	w.subnet("demo", fits, "10.22.3.0/24", "")
	w.refuse("demo", "PUT", "/v2.0/subnetpools/"+scoped+"/onboard_network_subnets", body(clash), 409, "AddressScopePrefixConflict", "")
	onboard("demo", scoped, fits)
	if got := dig(w.do("demo", "GET", "/v2.0/networks/"+fits, "", 200), "network", "ipv4_address_scope"); got != scope {
		t.Errorf("scope %v, want %s", got, scope)
	}
	shared := w.make("admin", "address-scopes", "address_scope", `"name":"t","ip_version":4,"shared":true`)
	in := w.pool("demo", `"prefixes":["10.30.0.0/16"],"address_scope_id":"`+shared+`"`)
	w.refuse("demo", "PUT", "/v2.0/subnetpools/"+in+"/onboard_network_subnets", body(clash), 400, "IllegalSubnetPoolUpdate", "")
}
