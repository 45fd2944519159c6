// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"io"
	"net"
	"time"
)

// talk is a TCP connection between two instances, whose far end sends back what it gets.
type talk struct {
	from, to string
	conn     net.Conn
}

// connect opens a connection to an instance's address; it ends with the test.
func (s *site) connect(from, to, address string) *talk {
	s.t.Helper()
	const port = "7" // echo, RFC 862
	var l net.Listener
	err := within(s.namespace(to), func() (err error) {
		l, err = (&net.ListenConfig{}).Listen(s.t.Context(), "tcp4", net.JoinHostPort(address, port))
		return err
	})
	if err != nil {
		s.t.Fatalf("%s: %v", to, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		far, err := l.Accept()
		if err != nil {
			return
		}
		defer far.Close()
		_, _ = io.Copy(far, far)
	}()
	x := &talk{from: from, to: to}
	s.t.Cleanup(func() {
		l.Close()
		if x.conn != nil {
			x.conn.Close()
		}
		<-done
	})
	err = within(s.namespace(from), func() (err error) {
		ctx, cancel := context.WithTimeout(s.t.Context(), settleWithin)
		defer cancel()
		x.conn, err = (&net.Dialer{FallbackDelay: -1}).DialContext(ctx, "tcp4", net.JoinHostPort(address, port))
		return err
	})
	if err != nil {
		s.t.Fatalf("TCP from %s to %s: %v", from, to, err)
	}
	x.echo(s, "at its beginning")
	return x
}

// echo holds that the connection still works.
func (x *talk) echo(s *site, when string) {
	s.t.Helper()
	said := []byte(when)
	heard := make([]byte, len(said))
	err := x.conn.SetDeadline(time.Now().Add(settleWithin))
	if err == nil {
		_, err = x.conn.Write(said)
	}
	if err == nil {
		_, err = io.ReadFull(x.conn, heard)
	}
	if err != nil || string(heard) != when {
		s.t.Fatalf("TCP from %s to %s, %s: %v, %q", x.from, x.to, when, err, heard)
	}
}
