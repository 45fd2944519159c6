// SPDX-License-Identifier: Apache-2.0

package ovstest

import (
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"testing"
)

// Ports gives n TCP ports of 127.0.0.1 on which nobody listens, for a server that is told its ports or listens on them again after
// a restart. They are below those that the kernel gives to connections (net.ipv4.ip_local_port_range, from 32768): a port that the
// kernel chose, once closed, may be the near end of any connection of the machine a moment later, even of one to that very port.
func Ports(t testing.TB, n int) []int {
	t.Helper()
	var out []int
	for tries := 0; len(out) < n && tries < portsTo-portsFrom; tries++ {
		// Test programs that run at the same time have process ids that are close together.
		port := portsFrom + (os.Getpid()*512+int(portsGiven.Add(1)))%(portsTo-portsFrom)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		l.Close()
		out = append(out, port)
	}
	if len(out) < n {
		t.Fatalf("127.0.0.1 has no %d free ports between %d and %d", n, portsFrom, portsTo)
	}
	return out
}

const portsFrom, portsTo = 11000, 32000

var portsGiven atomic.Int64
