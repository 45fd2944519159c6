// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"slices"
	"sync"
	"testing"
)

func TestAutoTopology(t *testing.T) {
	w := newWorld(t, withRouters)
	const at = "/v2.0/auto-allocated-topology/"
	const dry = "?fields=dry-run"
	w.refuse("demo", "GET", at+"p-demo"+dry, "", 409, "AutoAllocationFailure", "Deployment error: No default router:external network.")
	w.refuse("demo", "GET", at+"p-demo", "", 409, "AutoAllocationFailure", "Deployment error: No default router:external network.")
	ext := w.network("admin", `"router:external":true,"is_default":true`)
	w.subnet("admin", ext, "172.16.0.0/24", `,"enable_dhcp":false`)
	w.refuse("demo", "GET", at+"p-demo"+dry, "", 409, "AutoAllocationFailure", "Deployment error: No default subnetpools defined.")
	w.refuse("demo", "GET", at+"p-demo", "", 409, "AutoAllocationFailure", "Deployment error: Unable to provide tenant private network.")
	w.pool("admin", `"prefixes":["10.64.0.0/10"],"default_prefixlen":24,"is_default":true,"shared":true`)
	w.pool("admin", `"prefixes":["fd00::/48"],"default_prefixlen":64,"is_default":true,"shared":true`)

	before := w.st.Snapshot().Revision()
	if got := w.do("demo", "GET", at+"p-demo"+dry, "", 200)["auto_allocated_topology"]; fmt.Sprint(got) != "map[id:dry-run=pass project_id:p-demo tenant_id:p-demo]" {
		t.Errorf("dry run %v", got)
	}
	if w.st.Snapshot().Revision() != before {
		t.Error("a dry run changed the store")
	}
	for path, kind := range map[string]string{"p-other": "NotAuthorized", "p-demo?fields=x": "BadRequest"} {
		w.refuse("demo", "GET", at+path, "", map[string]int{"NotAuthorized": 403, "BadRequest": 400}[kind], kind, "")
	}
	w.refuse("demo", "POST", at+"p-demo", `{}`, 405, "HTTPMethodNotAllowed", "")
	// Of what fails nothing is left.
	w.do("admin", "PUT", "/v2.0/quotas/p-demo", `{"quota":{"router":0}}`, 200)
	before = w.st.Snapshot().Revision()
	w.refuse("demo", "GET", at+"p-demo", "", 409, "OverQuota", "")
	if w.st.Snapshot().Revision() != before {
		t.Error("a topology that could not be made changed the store")
	}
	w.do("admin", "DELETE", "/v2.0/quotas/p-demo", "", 204)
	get := func(who, project string) string {
		return dig(w.do(who, "GET", at+project, "", 200), "auto_allocated_topology", "id").(string)
	}
	// Who asks at the same time gets the same.
	ids := make([]string, 8)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() { ids[i] = get("demo", "p-demo") })
	}
	wg.Wait()
	id := ids[0]
	if slices.ContainsFunc(ids, func(s string) bool { return s != id }) || len(w.names("demo", "networks?name=auto_allocated_network", "id")) != 1 {
		t.Errorf("topologies %v", ids)
	}
	if got := fmt.Sprint(dig(w.do("demo", "GET", "/v2.0/auto-allocated-topology", "", 200), "auto_allocated_topologies", 0, "id")); got != id {
		t.Errorf("listed %s, want %s", got, id)
	}
	if again := get("demo", "None"); again != id {
		t.Errorf("second call gives %s, want %s", again, id)
	}
	n := w.do("demo", "GET", "/v2.0/networks/"+id, "", 200)["network"]
	if dig(n, "name") != "auto_allocated_network" || dig(n, "project_id") != "p-demo" || dig(n, "admin_state_up") != true || len(dig(n, "subnets").([]any)) != 2 {
		t.Errorf("network %v", n)
	}
	if got := fmt.Sprint(w.names("demo", "subnets?network_id="+id+"&sort_key=name&sort_dir=asc", "name")); got != "[auto_allocated_subnet_v4 auto_allocated_subnet_v6]" {
		t.Errorf("subnets %s", got)
	}
	r := w.names("demo", "routers?name=auto_allocated_router", "id")
	gateway := dig(w.do("demo", "GET", "/v2.0/routers/"+r[0], "", 200), "router", "external_gateway_info", "network_id")
	if len(r) != 1 || gateway != ext || len(w.names("demo", "ports?device_id="+r[0]+"&network_id="+id, "id")) != 2 {
		t.Errorf("routers %v, gateway on %v", r, gateway)
	}
	if other := get("admin", "p-other"); other == id {
		t.Error("two projects share a topology")
	}
	w.refuse("reader", "DELETE", at+"p-demo", "", 403, "NotAuthorized", "")
	w.refuse("other", "DELETE", at+"p-demo", "", 403, "NotAuthorized", "")
	// What is used is not taken apart, not in part either.
	p := w.port("demo", id, "")
	w.refuse("demo", "DELETE", at+"p-demo", "", 409, "NetworkInUse", "")
	w.do("demo", "DELETE", "/v2.0/ports/"+p, "", 204)
	w.do("demo", "DELETE", at+"p-demo", "", 204)
	for _, path := range []string{"networks/" + id, "routers/" + r[0]} {
		if a := w.send("demo", "GET", "/v2.0/"+path, ""); a.code != 404 {
			t.Errorf("%s is left: %s", path, a.text)
		}
	}
	w.do("demo", "DELETE", at+"p-demo", "", 204) // nothing to do
	if fresh := get("demo", "p-demo"); fresh == id {
		t.Error("the same topology again")
	}
	// A topology that its owner took apart is made anew.
	fresh := get("demo", "p-demo")
	r = w.names("demo", "routers?name=auto_allocated_router", "id")
	for _, s := range w.names("demo", "subnets?network_id="+fresh, "id") {
		w.detach("demo", r[0], "subnet_id", s)
	}
	w.do("demo", "DELETE", "/v2.0/networks/"+fresh, "", 204)
	if again := get("demo", "p-demo"); again == fresh {
		t.Error("a topology without a network")
	}
	consistent(t, w)
}
