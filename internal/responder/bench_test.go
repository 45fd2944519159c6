// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// BenchmarkFrameDHCP is one DISCOVER answered by an OFFER, frame to frame.
func BenchmarkFrameDHCP(b *testing.B) {
	n := net01()
	in := udpFrame(vm01, Broadcast, "0.0.0.0", "255.255.255.255", request(b, vm01, dhcpv4.MessageTypeDiscover))
	b.ReportAllocs()
	for b.Loop() {
		if n.Frame(in) == nil {
			b.Fatal("no answer")
		}
	}
}
