// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"context"
	"sync"
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
)

// BenchmarkFanOut is one change of a port's status, told to 100 web sockets that all have read it when the step ends.
func BenchmarkFanOut(b *testing.B) {
	w := newWorld(b)
	w.commit(func(tx *store.Txn) {
		for i := range 1000 {
			if err := alloc.PutPort(tx, port(model.PortID(rune('a'+i)))); err != nil {
				b.Fatal(err)
			}
		}
	})
	w.putPort(port("p1"))
	const sockets = 100
	var read sync.WaitGroup
	ctx, stop := context.WithCancel(b.Context())
	var gone sync.WaitGroup
	for range sockets {
		c := w.subscribe(portsPath, "JSON", "?odl-leaf-nodes-only=true")
		gone.Go(func() {
			for {
				if _, _, err := c.Read(ctx); err != nil {
					return
				}
				read.Done()
			}
		})
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		read.Add(sockets)
		w.setStatus("p1", [...]string{"ACTIVE", "DOWN"}[i%2])
		read.Wait()
	}
	b.ReportMetric(float64(b.N)*sockets/b.Elapsed().Seconds(), "frames/s")
	stop()
	gone.Wait()
}

// BenchmarkEvents is what the loop does for one status, without sockets: it must not depend on their number.
func BenchmarkEvents(b *testing.B) {
	for _, n := range []int{100, 10000} {
		b.Run(map[int]string{100: "ports=100", 10000: "ports=10000"}[n], func(b *testing.B) {
			w := newWorld(b)
			w.commit(func(tx *store.Txn) {
				for i := range n {
					if err := alloc.PutPort(tx, port(model.PortID("p"+string(rune(0x4e00+i))))); err != nil {
						b.Fatal(err)
					}
				}
			})
			watch := w.st.Watch()
			defer watch.Close()
			before, _, _ := watch.Take()
			w.setStatus("p"+model.PortID(rune(0x4e00)), "ACTIVE")
			now, ch, _ := watch.Take()
			b.ReportAllocs()
			for b.Loop() {
				if len(frames(w.srv.changes(before, now, ch), form{portsStream, true}, w.srv.cfg.Now())) != 1 {
					b.Fatal("no frame")
				}
			}
		})
	}
}
