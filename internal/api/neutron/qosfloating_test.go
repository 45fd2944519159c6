// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"testing"

	"nagare/internal/model"
	"nagare/internal/tables"
)

// TestQosOfExternalAddresses: floating IPs and gateways name policies, which then cannot go; a floating IP under any policy has a
// meter.
func TestQosOfExternalAddresses(t *testing.T) {
	w := newRouted(t)
	q := w.make("admin", "qos/policies", "policy", `"name":"q","shared":true`)
	mine := w.make("admin", "qos/policies", "policy", `"name":"admins"`)
	meter := func(id string) model.Key {
		f, _ := tables.FloatingIPs.Get(w.st.Snapshot(), model.FloatingIPID(id))
		return f.Meter
	}
	fip := w.make("demo", "floatingips", "floatingip", `"floating_network_id":"`+w.ext+`"`)
	second := w.make("demo", "floatingips", "floatingip", `"floating_network_id":"`+w.ext+`","qos_policy_id":"`+q+`"`)
	if meter(fip) != 0 || meter(second) == 0 {
		t.Errorf("meters %d and %d", meter(fip), meter(second))
	}
	w.do("demo", "DELETE", "/v2.0/floatingips/"+second, "", 204)
	w.refused("admin", "PUT", "/v2.0/floatingips/"+fip, `{"floatingip":{"qos_policy_id":"`+w.net+`"}}`, 404, "QosPolicyNotFound", "")
	m := w.do("demo", "PUT", "/v2.0/floatingips/"+fip, `{"floatingip":{"qos_policy_id":"`+q+`"}}`, 200)
	if dig(m, "floatingip", "qos_policy_id") != q || dig(m, "floatingip", "qos_network_policy_id") != nil || meter(fip) == 0 {
		t.Errorf("floating IP %v, meter %d", m, meter(fip))
	}
	w.refused("admin", "DELETE", "/v2.0/qos/policies/"+q, "", 409, "QosPolicyInUse", "QoS Policy "+q+" is used by fip "+fip)
	w.do("demo", "PUT", "/v2.0/floatingips/"+fip, `{"floatingip":{"qos_policy_id":null}}`, 200)
	w.do("admin", "PUT", "/v2.0/floatingips/"+fip, `{"floatingip":{"qos_policy_id":"`+mine+`"}}`, 200)
	w.refused("demo", "PUT", "/v2.0/floatingips/"+fip, `{"floatingip":{"qos_policy_id":null}}`, 403, "PolicyRemoveAuthorizationError", "")

	gate := func(more string) string {
		return `{"router":{"external_gateway_info":{"network_id":"` + w.ext + `"` + more + `}}}`
	}
	policy := func(m map[string]any) any { return dig(m, "router", "external_gateway_info", "qos_policy_id") }
	router := "/v2.0/routers/" + w.router
	if m := w.do("demo", "PUT", router, gate(`,"qos_policy_id":"`+q+`"`), 200); policy(m) != q {
		t.Errorf("gateway %v", m)
	}
	if m := w.do("demo", "PUT", router, gate(""), 200); policy(m) != q { // not named, and kept
		t.Errorf("gateway %v", m)
	}
	w.refused("admin", "DELETE", "/v2.0/qos/policies/"+q, "", 409, "QosPolicyInUse", "is used by router "+w.router)
	if m := w.do("demo", "PUT", router, gate(`,"qos_policy_id":null`), 200); policy(m) != nil {
		t.Errorf("gateway %v", m)
	}
	w.do("demo", "PUT", router, gate(`,"qos_policy_id":"`+q+`"`), 200)
	w.do("demo", "PUT", router, `{"router":{"external_gateway_info":{}}}`, 200)
	w.do("admin", "DELETE", "/v2.0/qos/policies/"+q, "", 204)

	third := w.make("demo", "floatingips", "floatingip", `"floating_network_id":"`+w.ext+`"`)
	w.do("admin", "PUT", "/v2.0/networks/"+w.ext, `{"network":{"qos_policy_id":"`+mine+`"}}`, 200)
	if m := w.do("demo", "GET", "/v2.0/floatingips/"+third, "", 200); dig(m, "floatingip", "qos_network_policy_id") != mine || meter(third) == 0 {
		t.Errorf("under its network's policy: %v, meter %d", m, meter(third))
	}
}
