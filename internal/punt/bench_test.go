// SPDX-License-Identifier: Apache-2.0

package punt

import (
	"syscall"
	"testing"
	"time"
)

// cpu is the processor time that the process has used, which a busy machine blurs less than the clock.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkAnswer is one DISCOVER answered by an OFFER, frame to frame, out of a store with 10,000 ports on one network, the
// ports in turn.
func BenchmarkAnswer(b *testing.B) {
	const ports = 10_000
	snap := cloud(b, ports).Snapshot()
	packets := make([]Packet, ports)
	for i := range packets {
		packets[i] = discover(i + 3)
	}
	b.ReportAllocs()
	i, used := 0, cpu(b)
	for b.Loop() {
		if Answer(snap, packets[i%ports]) == nil {
			b.Fatal("no answer")
		}
		i++
	}
	b.ReportMetric(float64(cpu(b)-used)/float64(time.Microsecond)/float64(b.N), "cpu-us/answer")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "answers/s")
}
