// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
)

// sentPort is the n-th port as networking-odl sends it, with all attributes that Neutron gives a port (Zed).
func sentPort(n int) string {
	return fmt.Sprintf(`{"port": {"id": "cccccccc-0000-4000-8000-%012d", "network_id": %q, "name": "", "tenant_id": %q, "project_id": %q, "mac_address": "fa:16:3e:%02x:%02x:%02x",
"admin_state_up": true, "device_id": "vm%d", "device_owner": "compute:nova", "standard_attr_id": %d, "tags": [], "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z", "revision_number": 1,
"fixed_ips": [{"subnet_id": %q, "ip_address": "10.%d.%d.%d"}], "security_groups": [{"id": %q}], "allowed_address_pairs": [], "port_security_enabled": true, "binding:host_id": "compute%d",
"binding:vnic_type": "normal", "binding:vif_type": "ovs", "binding:vif_details": {"port_filter": true, "bound_drivers": {"0": "opendaylight_v2"}}, "binding:profile": "{}", "resource_request": null,
"qos_network_policy_id": null, "description": ""}}`, n, netA, tenant, tenant, byte(n>>16), byte(n>>8), byte(n), n, n, subA, byte(n>>16), byte(n>>8), byte(n), groupA, n%100)
}

func (w *world) post(path, body string) {
	r := httptest.NewRequest("POST", Base+path, strings.NewReader(body))
	r.SetBasicAuth("neutron", "neutron")
	r.Header.Set("Content-Type", "application/json")
	rec := httptest.NewRecorder()
	if w.h.ServeHTTP(rec, r); rec.Code != 201 {
		w.Fatalf("%d %s", rec.Code, rec.Body)
	}
}

// BenchmarkPortCreate is one POST of a port, from the request's bytes to the answer's, on networks with that many ports: the figure must
// not grow with them.
func BenchmarkPortCreate(b *testing.B) {
	for _, size := range []int{100, 10000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			w := cloud(b)
			n := 0
			for ; n < size; n++ {
				w.post("/ports", sentPort(n+1))
			}
			b.ReportAllocs()
			for b.Loop() {
				n++
				w.post("/ports", sentPort(n))
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "creates/s")
		})
	}
}

// BenchmarkFullSync is 10,000 ports sent again, one by one, as networking-odl does when it finds its canary gone: all are there already.
func BenchmarkFullSync(b *testing.B) {
	const ports = 10000
	w := cloud(b)
	bodies := make([]string, ports)
	for i := range bodies {
		bodies[i] = sentPort(i + 1)
		w.post("/ports", bodies[i])
	}
	rev := w.st.Snapshot().Revision()
	b.ReportAllocs()
	for b.Loop() {
		for _, body := range bodies {
			w.post("/ports", body)
		}
	}
	if w.st.Snapshot().Revision() != rev {
		b.Error("a repetition changed the store")
	}
	b.ReportMetric(float64(b.N)*ports/b.Elapsed().Seconds(), "ports/s")
}

// TestCostOfAPort: a port costs the same among few and among many, and its repetition changes nothing.
func TestCostOfAPort(t *testing.T) {
	cost := func(size int) float64 {
		w := cloud(t)
		n := 0
		for ; n < size; n++ {
			w.post("/ports", sentPort(n+1))
		}
		return testing.AllocsPerRun(50, func() { n++; w.post("/ports", sentPort(n)) })
	}
	few, many := cost(20), cost(2000)
	if many > few*1.3 {
		t.Errorf("%.0f allocations among 20 ports, %.0f among 2,000", few, many)
	}
}
