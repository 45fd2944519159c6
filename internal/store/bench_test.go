// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

func openBench(b testing.TB, dir string) *store.Store {
	st, err := store.Open(context.Background(), tables.Schema, store.Options{DataDir: dir})
	if err != nil {
		b.Fatal(err)
	}
	return st
}

var benchSubnet = func() model.Subnet {
	s := model.Subnet{ID: "5a64b6f0-5a0b-4e5c-9f0f-000000000001", SubnetPlane: model.SubnetPlane{
		Network: "5a64b6f0-5a0b-4e5c-9f0f-000000000000", CIDR: netip.MustParsePrefix("10.0.0.0/8"), Gateway: netip.MustParseAddr("10.0.0.1")}}
	s.AllocationPools = alloc.DefaultPools(s.CIDR, s.Gateway)
	return s
}()

// createPort does what a POST /v2.0/ports does to the store.
func createPort(tx *store.Txn, a *alloc.Allocator, host model.NodeID) (model.PortID, error) {
	key, err := alloc.NextKey(tx, alloc.Port)
	if err != nil {
		return "", err
	}
	addr, err := alloc.Address(tx, benchSubnet, netip.Addr{})
	if err != nil {
		return "", err
	}
	mac, err := a.MAC(tx, benchSubnet.Network, model.MAC{})
	if err != nil {
		return "", err
	}
	id := model.PortID(alloc.NewUUID())
	now := time.Now().UTC().Round(0)
	tables.Ports.Put(tx, id, model.Port{ID: id,
		Std: model.Std{Project: "8f6d3c52b0e04b7e9a5f", Name: "port of " + string(host), CreatedAt: now, UpdatedAt: now},
		PortPlane: model.PortPlane{Key: key, Network: benchSubnet.Network, MAC: mac, FixedIPs: []model.FixedIP{{Subnet: benchSubnet.ID, Addr: addr}},
			AdminStateUp: true, DeviceOwner: "compute:nova", Host: host, PortSecurity: true, SecurityGroups: []model.SecurityGroupID{"5a64b6f0-5a0b-4e5c-9f0f-000000000002"}},
		DeviceID: "5a64b6f0-5a0b-4e5c-9f0f-000000000003", VNICType: "normal"})
	return id, nil
}

// cpuTime is what the process has used so far. On a busy machine it says more than the clock.
func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkCommit creates ports, one a commit, durably, by 1 and by 64 writers.
func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			st := openBench(b, b.TempDir())
			defer st.Close()
			var a alloc.Allocator
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			b.ResetTimer()
			start, cpu := time.Now(), cpuTime()
			for range writers {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if _, err := st.Commit(context.Background(), store.Origin{Request: "req-5a64b6f0-5a0b-4e5c-9f0f-000000000003", User: "admin", Action: "POST /v2.0/ports"},
							func(tx *store.Txn) error { _, err := createPort(tx, &a, "compute"); return err }); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "commits/s")
			b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N), "cpu-µs/commit")
			s := st.Stats()
			b.ReportMetric(s.BatchCommits.Sum/float64(s.BatchCommits.Count), "commits/batch")
			b.ReportMetric(1e3*s.AppendSeconds.Sum/float64(s.AppendSeconds.Count), "ms/append")
		})
	}
}

// BenchmarkTransact creates ports in memory, where 20,000 exist: what a transaction costs without etcd.
func BenchmarkTransact(b *testing.B) {
	st := store.New(tables.Schema, nil)
	var a alloc.Allocator
	create := func(n int) {
		if _, err := st.Commit(context.Background(), store.Origin{Request: "req-5a64b6f0-5a0b-4e5c-9f0f-000000000003", User: "admin", Action: "POST /v2.0/ports"}, func(tx *store.Txn) error {
			for range n {
				if _, err := createPort(tx, &a, "compute"); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	create(20000)
	b.ReportAllocs()
	cpu := cpuTime()
	for b.Loop() {
		create(1)
	}
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N), "cpu-µs/commit")
}

// BenchmarkLoad opens a store of 100,000 records: 50,000 ports, plugged on 100 nodes, with their plugs.
func BenchmarkLoad(b *testing.B) {
	const ports, chunk = 50000, 500
	dir := b.TempDir()
	st := openBench(b, dir)
	var a alloc.Allocator
	for i := range ports / chunk {
		if _, err := st.Commit(context.Background(), store.Origin{}, func(tx *store.Txn) error {
			tables.Networks.Put(tx, benchSubnet.Network, model.Network{ID: benchSubnet.Network, NetworkPlane: model.NetworkPlane{Type: model.VXLAN}})
			host := model.NodeID(fmt.Sprint("compute", i%100))
			for range chunk {
				id, err := createPort(tx, &a, host)
				if err != nil {
					return err
				}
				tables.Plugs.Put(tx, model.PlugKey(host, id), model.Plug{Node: host, Port: id})
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	st.Close()
	st = nil
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		start, cpu := time.Now(), cpuTime()
		st := openBench(b, dir)
		took := time.Since(start)
		b.ReportMetric((cpuTime() - cpu).Seconds(), "cpu-s/open")
		runtime.GC()
		runtime.ReadMemStats(&after)
		if n := tables.Ports.Len(st.Snapshot()); n != ports {
			b.Fatalf("%d ports", n)
		}
		b.ReportMetric(took.Seconds(), "s/open")
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(2*ports), "bytes/record")
		st.Close()
	}
}
