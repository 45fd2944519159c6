// SPDX-License-Identifier: Apache-2.0

package ovsdb

import (
	"net"
	"syscall"
	"time"
)

// tcpUserTimeout is TCP_USER_TIMEOUT of tcp(7), RFC 5482: how long sent data may
// stay unacknowledged. Without it a peer that vanishes while we write is noticed
// only after some fifteen minutes of retransmission.
const tcpUserTimeout = 18

func setUserTimeout(c *net.TCPConn, d time.Duration) {
	raw, err := c.SyscallConn()
	if err != nil {
		return // closed already: the next read tells
	}
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(d.Milliseconds()))
	})
}
