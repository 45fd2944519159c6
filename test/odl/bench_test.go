// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"nagare/internal/store"
)

// prepared is a request whose body is written already, so that a benchmark counts the server's work alone.
type prepared struct{ method, path, body string }

func (p prepared) send(h http.Handler) int {
	r := httptest.NewRequest(p.method, "http://controller:8181"+basePath+p.path, strings.NewReader(p.body))
	r.SetBasicAuth("neutron", "secret")
	r.Header.Set("Content-Type", contentType)
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec.Code
}

func prepare(k Kind, o Object) prepared {
	text, err := json.MarshalIndent(map[string]Object{resources[k].one: o}, "", "  ")
	if err != nil {
		panic(err) // objects hold nothing that JSON cannot
	}
	return prepared{http.MethodPost, resources[k].path, string(text)}
}

// cloud is a Neutron with so many instances' ports, 250 on a network, and a group of two rules.
func cloud(ports int) *Neutron {
	n := New("", nil, "", "")
	g := n.Group(tenant, "default", Object{"remote_group_id": "self"}, Object{"protocol": "tcp", "port_range_min": 22, "port_range_max": 22})
	subnet := ""
	for i := range ports {
		if i%250 == 0 {
			net := n.Network(tenant, fmt.Sprint("net", i), Segment{"vxlan", "", 1000 + i}, false)
			subnet = n.Subnet(tenant, fmt.Sprint("sub", i), net, fmt.Sprintf("10.%d.%d.0/23", i/250/100, i/250%100*2), true, true)
		}
		n.Boot(tenant, fmt.Sprint("vm", i), subnet, "", []string{"a", "b"}[i%2], g)
	}
	return n
}

// requests are what a full synchronisation sends.
func (n *Neutron) requests() []prepared {
	var out []prepared
	for _, k := range SyncOrder {
		for _, id := range sorted(n.objects[k]) {
			out = append(out, prepare(k, syncBody(k, n.objects[k][id])))
		}
	}
	return append(out, prepare(Network, canaryBody()))
}

func onDisk(b *testing.B) func() store.Options {
	dir := b.TempDir()
	return func() store.Options { return store.Options{DataDir: dir} }
}

// BenchmarkCreate creates unbound ports, each by a request, eight at a time.
func BenchmarkCreate(b *testing.B) {
	for _, log := range []string{"memory", "disk"} {
		b.Run(log, func(b *testing.B) {
			open := inMemory()
			if log == "disk" {
				open = onDisk(b)
			}
			s := newServer(b, open)
			n := cloud(250)
			for _, p := range n.requests() {
				if code := p.send(s.handler); code != 201 {
					b.Fatal(code, p)
				}
			}
			var port Object
			for _, id := range n.find(Port, "device_owner", ownerCompute)[:1] {
				port = liveBody(Port, Create, n.Object(Port, id))
			}
			all := make([]prepared, b.N)
			for i := range all {
				o := port.clone()
				o["id"] = fmt.Sprintf("90000000-0000-4000-8000-%012x", i)
				o["mac_address"] = fmt.Sprintf("fa:17:%02x:%02x:%02x:%02x", i>>24&0xff, i>>16&0xff, i>>8&0xff, i&0xff)
				o["fixed_ips"] = []any{}
				all[i] = prepare(Port, o)
			}
			var next atomic.Int64
			b.ReportAllocs()
			b.SetParallelism(4)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if code := all[next.Add(1)-1].send(s.handler); code != 201 {
						b.Error(code)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "creates/s")
		})
	}
}

// BenchmarkFullSync sends everything of a cloud of 10,000 instances' ports as a full synchronisation does, one request after
// another: to a server that has lost all, and to one that has it.
func BenchmarkFullSync(b *testing.B) {
	n := cloud(10000)
	all := n.requests()
	send := func(b *testing.B, s *server) {
		for _, p := range all {
			if code := p.send(s.handler); code != 201 {
				b.Fatal(code, p)
			}
		}
	}
	report := func(b *testing.B) {
		b.ReportMetric(float64(len(all)*b.N)/b.Elapsed().Seconds(), "requests/s")
		b.ReportMetric(float64(len(all)), "requests")
	}
	b.Run("lost", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			b.StopTimer()
			s := newServer(b, inMemory())
			b.StartTimer()
			send(b, s)
		}
		report(b)
	})
	b.Run("held", func(b *testing.B) {
		s := newServer(b, inMemory())
		send(b, s)
		before := s.st.Snapshot().Revision()
		b.ReportAllocs()
		b.ResetTimer()
		for range b.N {
			send(b, s)
		}
		report(b)
		b.ReportMetric(float64(s.st.Snapshot().Revision()-before)/float64(b.N), "commits")
	})
	b.Run("model", func(b *testing.B) { // all of it: the model's journal, bodies and dependencies too
		s := newServer(b, inMemory())
		n.HTTP = &http.Client{Transport: s}
		n.URL = "http://controller:8181"
		d := NewDrive(n, 1, nil)
		b.ReportAllocs()
		for range b.N {
			b.StopTimer()
			n.journal = newJournal()
			if _, _, err := n.do(context.Background(), http.MethodDelete, "networks/"+Canary, nil); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			if err := d.Settle(context.Background()); err != nil {
				b.Fatal(err)
			}
		}
		report(b)
	})
}
