// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package ovsdb

import (
	"net"
	"time"
)

func setUserTimeout(*net.TCPConn, time.Duration) {}
