// SPDX-License-Identifier: Apache-2.0

package ovsdb

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
)

// DefaultPort is the port of tcp: and ssl: connection methods without one.
const DefaultPort = "6640"

// Dial opens an active connection method of ovsdb(7): tcp:HOST[:PORT],
// ssl:HOST[:PORT] or unix:FILE. An IPv6 host is in brackets. ssl needs a
// configuration; without a ServerName in it, the host is what the certificate has
// to name.
func Dial(ctx context.Context, method string, config *tls.Config) (net.Conn, error) {
	kind, rest, _ := strings.Cut(method, ":")
	var d net.Dialer
	switch {
	case rest == "":
	case kind == "unix":
		return d.DialContext(ctx, "unix", rest)
	case kind == "tcp":
		return d.DialContext(ctx, "tcp", hostPort(rest))
	case kind == "ssl":
		if config == nil {
			return nil, fmt.Errorf("connection %q needs certificates", method)
		}
		t := tls.Dialer{Config: config}
		return t.DialContext(ctx, "tcp", hostPort(rest))
	}
	return nil, fmt.Errorf("connection %q unknown: want tcp:HOST:PORT, ssl:HOST:PORT or unix:FILE", method)
}

func hostPort(rest string) string {
	if _, _, err := net.SplitHostPort(rest); err == nil {
		return rest
	}
	return net.JoinHostPort(strings.Trim(rest, "[]"), DefaultPort)
}
