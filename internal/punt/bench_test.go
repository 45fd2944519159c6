// SPDX-License-Identifier: Apache-2.0

package punt

import "testing"

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
	i := 0
	for b.Loop() {
		if Answer(snap, packets[i%ports]) == nil {
			b.Fatal("no answer")
		}
		i++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "answers/s")
}
