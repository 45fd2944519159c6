// SPDX-License-Identifier: Apache-2.0

package ovsdb_test

import (
	"fmt"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"nagare/ovsdb"
	"nagare/ovsdb/ovsdbtest"
)

// BenchmarkSessions holds 200 mirrored switches of 2 bridges and 52 ports over TCP.
// The process contains the servers too: the memory metrics leave them out, the CPU
// metrics do not. It reports the time and CPU until all dumps are in, memory and
// goroutines per session, and the time for one change at every switch.
func BenchmarkSessions(b *testing.B) {
	const nodes, ports = 200, 52
	for b.Loop() {
		servers := make([]*ovsdbtest.Server, nodes)
		for i := range servers {
			servers[i] = ovsdbtest.New(ovsdbtest.Options{})
			txn := ovsdb.NewTxn(db)
			var bridges ovsdb.Set
			for j := range 2 {
				name := fmt.Sprintf("br%d", j)
				set := ovsdb.Set{benchPort(txn, name, "internal")}
				for k := range ports/2 - 1 {
					set = append(set, benchPort(txn, fmt.Sprintf("tap%d-%d", j, k), ""))
				}
				bridges = append(bridges, txn.Insert("Bridge", ovsdb.Fields{"name": ovsdb.String(name), "ports": set}))
			}
			txn.Mutate("Open_vSwitch", ovsdb.All(), ovsdb.Add("bridges", bridges))
			if _, err := servers[i].Transact(txn.Ops()...); err != nil {
				b.Fatal(err)
			}
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		heap, goroutines, cpu, start := heapNow(), runtime.NumGoroutine(), cpuNow(), time.Now()
		sessions := make([]*ovsdb.Session, nodes)
		mirrors := make([]*ovsdb.Mirror, nodes)
		errs := make(chan error, nodes)
		go func() {
			for _, srv := range servers {
				if err := srv.Dial("tcp", l.Addr().String()); err != nil {
					errs <- err
				}
			}
		}()
		for i := range sessions {
			nc, err := l.Accept()
			if err != nil {
				b.Fatal(err)
			}
			s, m := ovsdb.NewSession(nc, ovsdb.Options{}), ovsdb.NewMirror(db, ovsdb.SwitchTables())
			sessions[i], mirrors[i] = s, m
			go func() { errs <- s.Monitor(b.Context(), m) }()
		}
		for range sessions {
			if err := <-errs; err != nil {
				b.Fatal(err)
			}
		}
		for _, m := range mirrors {
			if _, ok := m.Take(); !ok || m.Len("Interface") != ports {
				b.Fatalf("%d interfaces", m.Len("Interface"))
			}
		}
		b.ReportMetric(float64(time.Since(start).Milliseconds()), "dump-ms")
		b.ReportMetric(float64((cpuNow()-cpu).Microseconds())/nodes, "dump-cpu-us/node")
		b.ReportMetric(float64(runtime.NumGoroutine()-goroutines)/nodes, "goroutines/node")
		b.ReportMetric(float64(int64(heapNow()-heap))/nodes/1024, "KiB/node")

		cpu, start = cpuNow(), time.Now()
		for _, srv := range servers {
			if _, err := srv.Transact(ovsdb.Op{Op: "update", Table: "Open_vSwitch", Row: ovsdb.Fields{"external_ids": ovsdb.StringMap(map[string]string{"a": "b"})}}); err != nil {
				b.Fatal(err)
			}
		}
		for _, m := range mirrors {
			if _, err := m.Next(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(time.Since(start).Microseconds())/1000, "change-ms")
		b.ReportMetric(float64((cpuNow()-cpu).Microseconds())/nodes, "change-cpu-us/node")
		runtime.KeepAlive(mirrors)
		for i, s := range sessions {
			s.Close()
			servers[i].Close()
		}
		l.Close()
	}
}

// BenchmarkSessionsReal is the same with one real ovsdb-server that all sessions
// dial: the CPU is that of the client side alone.
func BenchmarkSessionsReal(b *testing.B) {
	const nodes, ports = 200, 52
	r := startReal(b)
	args := []string{"add-br", "br0"}
	for i := range ports - 1 {
		name := fmt.Sprintf("tap%d", i)
		args = append(args, "--", "add-port", "br0", name, "--", "set", "interface", name, "external_ids:iface-id=7adff632-ccf9-4d43-8f5d-7db454313f44-"+name,
			"external_ids:attached-mac=\"fa:16:3e:00:00:01\"", "external_ids:iface-status=active")
	}
	r.vsctl(args...)
	for b.Loop() {
		heap, cpu, start := heapNow(), cpuNow(), time.Now()
		sessions := make([]*ovsdb.Session, nodes)
		mirrors := make([]*ovsdb.Mirror, nodes)
		errs := make(chan error, nodes)
		for i := range sessions {
			nc, err := ovsdb.Dial(b.Context(), "unix:"+r.socket, nil)
			if err != nil {
				b.Fatal(err)
			}
			s, m := ovsdb.NewSession(nc, ovsdb.Options{}), ovsdb.NewMirror(db, ovsdb.SwitchTables())
			sessions[i], mirrors[i] = s, m
			if err := s.Echo(b.Context()); err != nil { // accepted: its queue is short
				b.Fatal(err)
			}
			go func() { errs <- s.Monitor(b.Context(), m) }()
		}
		for range sessions {
			if err := <-errs; err != nil {
				b.Fatal(err)
			}
		}
		for _, m := range mirrors {
			if _, ok := m.Take(); !ok || m.Len("Interface") != ports {
				b.Fatalf("%d interfaces", m.Len("Interface"))
			}
		}
		b.ReportMetric(float64(time.Since(start).Milliseconds()), "dump-ms")
		b.ReportMetric(float64((cpuNow()-cpu).Microseconds())/nodes, "dump-cpu-us/node")
		b.ReportMetric(float64(int64(heapNow()-heap))/nodes/1024, "KiB/node")
		runtime.KeepAlive(mirrors)
		for _, s := range sessions {
			s.Close()
		}
	}
}

func benchPort(txn *ovsdb.Txn, name, kind string) ovsdb.Ref {
	i := txn.Insert("Interface", ovsdb.Fields{"name": ovsdb.String(name), "type": ovsdb.String(kind), "external_ids": ovsdb.StringMap(map[string]string{
		"iface-id": "7adff632-ccf9-4d43-8f5d-7db454313f44-" + name, "attached-mac": "fa:16:3e:00:00:01", "iface-status": "active"})})
	return txn.Insert("Port", ovsdb.Fields{"name": ovsdb.String(name), "interfaces": i})
}

func heapNow() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

func cpuNow() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkUpdate is one update3 notice: one interface gets its ofport.
func BenchmarkUpdate(b *testing.B) {
	srv := ovsdbtest.New(ovsdbtest.Options{NoVswitchd: true})
	defer srv.Close()
	ours, theirs := net.Pipe()
	srv.Serve(theirs)
	s := ovsdb.NewSession(ours, ovsdb.Options{})
	defer s.Close()
	m := ovsdb.NewMirror(db, ovsdb.SwitchTables())
	if err := s.Monitor(b.Context(), m); err != nil {
		b.Fatal(err)
	}
	m.Take()
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		if _, err := srv.Transact(ovsdb.Op{Op: "update", Table: "Open_vSwitch", Row: ovsdb.Fields{"next_cfg": ovsdb.Int(n)}}); err != nil {
			b.Fatal(err)
		}
		if _, err := m.Next(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
