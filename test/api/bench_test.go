// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nagare/test/bench/cloud"
)

// parallel makes b.N calls by some clients and reports requests per second, the median and the 99th percentile of their times,
// and the processor time of each, the client's included, as both are one process.
func (s *server) parallel(b *testing.B, clients, want int, next func(i int) call) {
	took := make([]time.Duration, b.N)
	var at atomic.Int64
	var done sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	burnt := cloud.ProcessorTime()
	for range clients {
		done.Go(func() {
			for {
				i := int(at.Add(1)) - 1
				if i >= b.N {
					return
				}
				c := next(i)
				start := time.Now()
				a, err := s.ask(c)
				if took[i] = time.Since(start); err != nil || a.code != want {
					b.Errorf("%s: %v %d %s", c, err, a.code, a.text)
					return
				}
			}
		})
	}
	done.Wait()
	b.StopTimer()
	burnt = cloud.ProcessorTime() - burnt
	slices.Sort(took)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
	b.ReportMetric(float64(took[b.N/2].Microseconds())/1e3, "p50-ms")
	b.ReportMetric(float64(took[b.N*99/100].Microseconds())/1e3, "p99-ms")
	b.ReportMetric(float64(burnt.Microseconds())/1e3/float64(b.N), "cpu-ms/op")
}

// BenchmarkHTTP is each kind of request on networks, subnets and ports, over HTTP, durable when it is answered, by 1 and by 8
// clients. Lists are of 50 objects. There are 20 networks and 1,000 ports beside.
func BenchmarkHTTP(b *testing.B) {
	s := start(b)
	var nets []string
	for i := range 20 {
		nets = append(nets, s.make("demo", "networks", "network", `"name":"n%d"`, i))
		s.make("demo", "subnets", "subnet", `"network_id":%q,"ip_version":4,"cidr":"10.%d.0.0/16"`, nets[i], i)
		s.do(call{"demo", "POST", "ports", `{"ports":[` + strings.TrimSuffix(strings.Repeat(`{"network_id":"`+nets[i]+`"},`, 50), ",") + `]}`}, http.StatusCreated)
	}
	var serial atomic.Int64
	for _, kind := range []struct {
		path, name string
		attrs      func(i int64) string
		list       string
	}{
		{"networks", "network", func(i int64) string { return fmt.Sprintf(`"name":"b%d"`, i) }, "networks?limit=50"},
		{"subnets", "subnet", func(i int64) string {
			return fmt.Sprintf(`"network_id":%q,"ip_version":4,"cidr":"11.%d.%d.0/24","enable_dhcp":false`, nets[i%20], i/256%256, i%256)
		}, "subnets?limit=50"},
		{"ports", "port", func(i int64) string { return fmt.Sprintf(`"network_id":%q,"name":"b%d"`, nets[i%20], i) }, "ports?network_id=" + nets[0]},
	} {
		one := func() string { return s.make("demo", kind.path, kind.name, "%s", kind.attrs(serial.Add(1))) }
		known := make([]string, 50)
		for i := range known {
			known[i] = one()
		}
		for _, clients := range []int{1, 8} {
			bench := func(what string, want int, setup func(b *testing.B) func(i int) call, after func()) {
				b.Run(fmt.Sprintf("%s/%s/%d", kind.path, what, clients), func(b *testing.B) {
					s.parallel(b, clients, want, setup(b))
					if after != nil {
						after()
					}
				})
			}
			drop := func() { // what was made
				for _, id := range s.ids("demo", kind.path+"?fields=id&description=made") {
					s.do(call{"demo", "DELETE", kind.path + "/" + id, ""}, 204)
				}
			}
			bench("create", 201, func(*testing.B) func(int) call {
				return func(int) call {
					return create("demo", kind.path, kind.name, `"description":"made",%s`, kind.attrs(serial.Add(1)))
				}
			}, drop)
			bench("show", 200, func(*testing.B) func(int) call {
				return func(i int) call { return call{"demo", "GET", kind.path + "/" + known[i%50], ""} }
			}, nil)
			bench("update", 200, func(*testing.B) func(int) call {
				return func(i int) call {
					return call{"demo", "PUT", kind.path + "/" + known[i%50], fmt.Sprintf(`{%q:{"name":"u%d"}}`, kind.name, i)}
				}
			}, nil)
			bench("list", 200, func(*testing.B) func(int) call {
				return func(int) call { return call{"demo", "GET", kind.list, ""} }
			}, nil)
			bench("delete", 204, func(b *testing.B) func(int) call {
				as := s.all(each(b.N, func(int) call { return create("demo", kind.path, kind.name, "%s", kind.attrs(serial.Add(1))) }))
				return func(i int) call {
					return call{"demo", "DELETE", kind.path + "/" + idInBody.FindStringSubmatch(as[i].text)[1], ""}
				}
			}, nil)
		}
	}
}
