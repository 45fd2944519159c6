// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
)

// BenchmarkSubscribers has 100 clients of server-sent events on sockets while ports change 1,000 times a second, one commit each: all of them watching all
// ports, each watching one of a hundred, and each watching one that does not change. What counts is the processor's time for a change, the commit
// and 100 clients in this process included, and how many entries are made and messages handed out for it; changes/s says whether the pace was kept.
func BenchmarkSubscribers(b *testing.B) {
	const clients, pace = 100, time.Millisecond
	ports := make([]model.PortID, 2*clients)
	for i := range ports {
		ports[i] = model.PortID(testID("port" + string(rune('0'+i))))
	}
	for _, bench := range []struct {
		name  string
		watch func(i int) string
	}{
		{"nobody", nil},
		{"other", func(i int) string { return "/neutron:neutron/ports/port[uuid='" + string(ports[clients+i]) + "']" }},
		{"own", func(i int) string { return "/neutron:neutron/ports/port[uuid='" + string(ports[i]) + "']" }},
		{"all", func(int) string { return "/neutron:neutron/ports" }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			w := cloudWorld(b)
			w.commit(func(tx *store.Txn) {
				for i, id := range ports {
					p := port(id)
					p.MAC = model.MAC{0xfa, 0x16, 0x3e, 0, 1, byte(i)}
					if err := alloc.PutPort(tx, p); err != nil {
						b.Fatal(err)
					}
				}
			})
			w.settle()
			var read atomic.Int64
			var gone sync.WaitGroup
			tr := &http.Transport{}
			var bodies []io.Closer
			for i := range clients {
				if bench.watch == nil {
					break
				}
				r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, w.http.URL+"/rests/streams/operational-changes/json?filter="+url.QueryEscape(bench.watch(i)), nil)
				if err != nil {
					b.Fatal(err)
				}
				r.SetBasicAuth("admin", "pw")
				res, err := tr.RoundTrip(r)
				if err != nil || res.StatusCode != http.StatusOK {
					b.Fatal(res, err)
				}
				bodies = append(bodies, res.Body)
				gone.Go(func() {
					buf := make([]byte, 64<<10)
					for {
						n, err := res.Body.Read(buf)
						read.Add(int64(n))
						if err != nil {
							return
						}
					}
				})
			}
			n := w.srv.notifier
			made, frames := n.made, w.srv.Stats().Frames
			before := processor()
			next := time.Now()
			for i := 0; b.Loop(); i++ {
				w.setStatus(ports[i%clients], [...]string{"ACTIVE", "DOWN"}[i/clients%2])
				if next = next.Add(pace); time.Until(next) > 0 {
					time.Sleep(time.Until(next))
				}
			}
			w.settle()
			w.poll("all was written", func() bool {
				n.mu.Lock()
				defer n.mu.Unlock()
				for _, g := range n.groups {
					for l := range g.members {
						l.mu.Lock()
						waits := l.pending > 0 || l.behind
						l.mu.Unlock()
						if waits {
							return false
						}
					}
				}
				return true
			})
			count := float64(b.N)
			b.ReportMetric(count/b.Elapsed().Seconds(), "changes/s")
			b.ReportMetric(float64((processor()-before).Microseconds())/count, "cpu-us/change")
			b.ReportMetric(float64(n.made-made)/count, "made/change")
			b.ReportMetric(float64(w.srv.Stats().Frames-frames)/count, "messages/change")
			b.ReportMetric(float64(read.Load())/count, "bytes/change")
			b.ReportMetric(float64(w.srv.Stats().Lagged), "lagged")
			for _, body := range bodies {
				body.Close()
			}
			gone.Wait()
			tr.CloseIdleConnections()
		})
	}
}

// processor is the time that this process has had of processors.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
