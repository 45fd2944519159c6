// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"nagare/internal/identity"
	"nagare/internal/tables"
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
	w.rawAs(b, "bench", method, path, body, want)
}

func (w *world) rawAs(b *testing.B, who, method, path, body string, want int) {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("X-Auth-Token", who)
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

// BenchmarkPortList lists the ports of one project: whole, and by pages of 100, from the start and from the middle. What a page
// costs must not grow with what is not on it.
func BenchmarkPortList(b *testing.B) {
	for _, size := range []int{1000, 10000} {
		w, net := benchWorld(b, size)
		var middle string
		i := 0
		for id := range tables.Ports.All(w.st.Snapshot()) {
			if i++; i == size/2 {
				middle = string(id)
			}
		}
		for _, who := range []string{"bench", "admin"} {
			for _, c := range []struct{ name, query string }{{"all", ""}, {"ids", "?fields=id"}, {"page", "?limit=100"}, {"middle", "?limit=100&marker=" + middle},
				{"network", "?limit=100&network_id=" + net}, {"sorted", "?limit=100&sort_key=name&sort_dir=asc"},
				{"network50", "?limit=50&network_id=" + net + "&marker=" + middle}, {"backward", "?limit=50&page_reverse=true&network_id=" + net + "&marker=" + middle}} {
				b.Run(fmt.Sprintf("%d/%s/%s", size, map[string]string{"bench": "member", "admin": "admin"}[who], c.name), func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						w.rawAs(b, who, "GET", "/v2.0/ports"+c.query, "", 200)
					}
				})
			}
		}
	}
}

// BenchmarkShow is one GET of one object, at 1,000 ports.
func BenchmarkShow(b *testing.B) {
	w, net := benchWorld(b, 1000)
	w.t = b
	for _, path := range []string{"networks/" + net, "subnets/" + w.names("bench", "subnets", "id")[0], "ports/" + w.names("bench", "ports?limit=1", "id")[0]} {
		b.Run(path[:strings.Index(path, "/")], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w.raw(b, "GET", "/v2.0/"+path, "", 200)
			}
		})
	}
}
