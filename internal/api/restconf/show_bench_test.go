// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"nagare/internal/alloc"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/store"
)

// drain takes an answer and keeps nothing of it.
type drain struct {
	header  http.Header
	code    int
	bytes   int
	largest int // of a write
	start   time.Time
	first   time.Duration
	each    func() // after every write
}

func newDrain() *drain { return &drain{header: http.Header{}, start: time.Now()} }

func (s *drain) Header() http.Header  { return s.header }
func (s *drain) WriteHeader(code int) { s.code = code }

func (s *drain) Write(b []byte) (int, error) {
	if s.bytes == 0 {
		s.first = time.Since(s.start)
	}
	s.bytes += len(b)
	if s.largest = max(s.largest, len(b)); s.each != nil {
		s.each()
	}
	return len(b), nil
}

// ask answers a GET into a drain.
func (w *world) ask(path string, s *drain) {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.SetBasicAuth("admin", "pw")
	w.srv.ServeHTTP(s, r)
	if s.code != 0 && s.code != 200 || s.bytes == 0 {
		w.t.Fatalf("GET %s: %d, %d bytes", path, s.code, s.bytes)
	}
}

// portsWorld has a cloud with n ports.
func portsWorld(t testing.TB, n int) *world {
	w := cloudWorld(t)
	w.commit(func(tx *store.Txn) {
		for i := range n {
			p := port(model.PortID(fmt.Sprintf("00000000-0000-4000-8000-%012x", i)))
			p.Network, p.MAC, p.Name, p.SecurityGroups = model.NetworkID(netID), model.MAC{0xfa, 0x16, 0x3e, byte(i >> 16), byte(i >> 8), byte(i)}, fmt.Sprintf("port %d", i), []model.SecurityGroupID{model.SecurityGroupID(groupID)}
			p.Project = project
			if err := alloc.PutPort(tx, p); err != nil {
				t.Fatal(err)
			}
		}
	})
	return w
}

// project is a project's id as Keystone writes it.
const project = "6f1c1b4e0c8f4f0d9a2b3c4d5e6f7081"

const portsURL = newConfig + "ports"

// BenchmarkGetPort is a GET of one port among few and many: it must cost the same.
func BenchmarkGetPort(b *testing.B) {
	for _, n := range []int{100, 10000} {
		b.Run(fmt.Sprintf("ports=%d", n), func(b *testing.B) {
			w := portsWorld(b, n)
			b.ReportAllocs()
			for b.Loop() {
				w.ask(portsURL+"/port=00000000-0000-4000-8000-000000000007", newDrain())
			}
		})
	}
}

// BenchmarkGetPorts is a GET of 10,000 ports: throughput, the first byte, and the allocations of each port.
func BenchmarkGetPorts(b *testing.B) {
	const n = 10000
	w := portsWorld(b, n)
	for _, accept := range []string{"", "?depth=3", "?content=nonconfig"} {
		b.Run("all"+accept, func(b *testing.B) {
			var first time.Duration
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for b.Loop() {
				s := newDrain()
				w.ask(portsURL+accept, s)
				b.SetBytes(int64(s.bytes))
				first += s.first
			}
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(first.Microseconds())/float64(b.N), "µs-to-first-byte")
			b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(b.N)/n, "allocs/port")
		})
	}
}

// BenchmarkGetFlow is a GET of one flow of a switch that holds many, without the switch's own work.
func BenchmarkGetFlow(b *testing.B) {
	w, _, id := switchWorld(b)
	b.ReportAllocs()
	for b.Loop() {
		w.ask(nodesURL+"/node="+id+"/flow-node-inventory:table=0/flow=priority%3D0", newDrain())
	}
}

// TestAnswersAreNotKept: however large an answer is, what is in memory for it is not.
func TestAnswersAreNotKept(t *testing.T) {
	live := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	held := func(w *world, path string) (bytes int, peak int64) {
		s := newDrain()
		before := live()
		writes := 0
		s.each = func() {
			if writes++; writes%8 == 0 {
				peak = max(peak, int64(live())-int64(before))
			}
		}
		w.ask(path, s)
		if s.largest > 2*chunk {
			t.Errorf("GET %s: %d bytes at once", path, s.largest)
		}
		return s.bytes, peak
	}
	ports := portsWorld(t, 10000)
	for _, path := range []string{portsURL, "/rests/data", "/restconf/config"} {
		if bytes, peak := held(ports, path); bytes < 4<<20 || peak > 1<<20 {
			t.Errorf("GET %s: %d bytes, and %d more in memory while they were written", path, bytes, peak)
		}
	}
	w, s, id := switchWorld(t)
	f := s.flows[2]
	for i := range 10000 {
		f.Match = flow.M(flow.IP(), flow.Reg(5, uint32(i)))
		s.flows = append(s.flows, f)
	}
	bytes, peak := held(w, nodesURL+"/node="+id+"/flow-node-inventory:table=17")
	if bytes < 4<<20 || peak > 1<<20 {
		t.Errorf("%d bytes of flows, and %d more in memory while they were written", bytes, peak)
	}
}
