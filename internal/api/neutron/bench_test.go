// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"nagare/internal/identity"
)

// benchWorld has one network of each size that is asked for, and no quota.
func benchWorld(b *testing.B, ports int) (*world, string) {
	people["bench"] = identity.Principal{UserID: "u", ProjectID: "p-bench", Roles: []string{"member"}}
	w := newWorld(b, func(c *Config) { c.Quotas = map[string]int{} })
	net := w.network("bench", "")
	w.subnet("bench", net, "10.0.0.0/8", "")
	body := `{"port":{"network_id":"` + net + `"}}`
	for range ports {
		w.do("bench", "POST", "/v2.0/ports", body, 201)
	}
	return w, net
}

func (w *world) raw(b *testing.B, method, path, body string, want int) {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("X-Auth-Token", "bench")
	rec := httptest.NewRecorder()
	w.api.ServeHTTP(rec, r)
	if rec.Code != want {
		b.Fatalf("%d %s", rec.Code, rec.Body)
	}
}

// BenchmarkPortCreate is one POST /v2.0/ports, from the request's bytes to the answer's, on networks with that many ports: the
// figure must not grow with them.
func BenchmarkPortCreate(b *testing.B) {
	for _, size := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			w, net := benchWorld(b, size)
			body := `{"port":{"network_id":"` + net + `","name":"vm","device_id":"d"}}`
			b.ReportAllocs()
			for b.Loop() {
				w.raw(b, "POST", "/v2.0/ports", body, 201)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ports/s")
		})
	}
}

// BenchmarkPortByDevice is what Nova asks most, at 10,000 ports.
func BenchmarkPortByDevice(b *testing.B) {
	w, net := benchWorld(b, 10000)
	w.raw(b, "POST", "/v2.0/ports", `{"port":{"network_id":"`+net+`","device_id":"the-one"}}`, 201)
	b.ReportAllocs()
	for b.Loop() {
		w.raw(b, "GET", "/v2.0/ports?device_id=the-one", "", 200)
	}
}

func BenchmarkPortList1000(b *testing.B) {
	w, _ := benchWorld(b, 1000)
	b.ReportAllocs()
	for b.Loop() {
		w.raw(b, "GET", "/v2.0/ports", "", 200)
	}
}
