// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"testing"
)

// TestPortHints: what is stored for Nova and shown to it, who may set it, and what is refused.
func TestPortHints(t *testing.T) {
	w := newWorld(t, withRouters)
	n := w.network("demo", "")
	p := w.port("demo", n, "")
	at := "/v2.0/ports/" + p
	show := func(who, attr string) string { return fmt.Sprint(dig(w.do(who, "GET", at, "", 200), "port", attr)) }

	w.do("admin", "PUT", at, `{"port":{"trusted":true,"binding:profile":{"a":"b"}}}`, 200)
	if got := show("admin", "trusted") + show("admin", "binding:profile"); got != "truemap[a:b trusted:true]" {
		t.Errorf("trusted: %s", got)
	}
	if got := show("demo", "trusted"); got != "<nil>" {
		t.Errorf("a member sees trusted: %s", got)
	}
	w.do("admin", "PUT", at, `{"port":{"trusted":null}}`, 200)
	if got := show("admin", "binding:profile"); got != "map[a:b]" {
		t.Errorf("no longer said to be trusted or not: %s", got)
	}
	w.refuse("demo", "PUT", at, `{"port":{"trusted":true}}`, 403, "PolicyNotAuthorized", "(rule:update_port and rule:update_port:trusted) is disallowed by policy")
	w.refuse("admin", "PUT", at, `{"port":{"trusted":"perhaps"}}`, 400, "InvalidInput", "Invalid input for operation: 'perhaps' cannot be converted to boolean.")

	w.do("demo", "PUT", at, `{"port":{"numa_affinity_policy":"socket"}}`, 200)
	if got := show("demo", "numa_affinity_policy"); got != "socket" {
		t.Errorf("numa_affinity_policy %s", got)
	}
	w.refuse("demo", "PUT", at, `{"port":{"numa_affinity_policy":"none"}}`, 400, "HTTPBadRequest",
		"Invalid input for numa_affinity_policy. Reason: 'none' is not in ['required', 'preferred', 'legacy', 'socket'].")

	w.do("admin", "PUT", at, `{"port":{"data_plane_status":"DOWN"}}`, 200)
	if got := show("demo", "data_plane_status"); got != "DOWN" {
		t.Errorf("data_plane_status %s", got)
	}
	w.refuse("demo", "PUT", at, `{"port":{"data_plane_status":"ACTIVE"}}`, 403, "PolicyNotAuthorized", "(rule:update_port and rule:update_port:data_plane_status) is disallowed by policy")

	w.refuse("demo", "POST", "/v2.0/ports", fmt.Sprintf(`{"port":{"network_id":%q,"device_profile":"fpga"}}`, n), 403, "PolicyNotAuthorized", "(rule:create_port and rule:create_port:device_profile) is disallowed by policy")
	m := w.do("admin", "POST", "/v2.0/ports", fmt.Sprintf(`{"port":{"network_id":%q,"device_profile":"fpga","trusted":false,"numa_affinity_policy":"legacy"}}`, n), 201)
	if got := fmt.Sprintln(dig(m, "port", "device_profile"), dig(m, "port", "trusted"), dig(m, "port", "numa_affinity_policy")); got != "fpga false legacy\n" {
		t.Errorf("created %s", got)
	}
}
