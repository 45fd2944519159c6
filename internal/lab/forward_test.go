// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"nagare/internal/lab"
)

// TestForward relays between two loopback addresses of one namespace: the end of
// one direction is passed on while the other still carries data, a target that
// does not listen closes the connection, and stopping leaves no goroutine.
func TestForward(t *testing.T) {
	needLab(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	far, err := net.Listen("tcp4", "127.0.0.92:0")
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	go accept(func(c net.Conn) {
		all, _ := io.ReadAll(c) // to the end that the client signals
		c.Write(bytes.ToUpper(all))
	})(far)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	pidFile := filepath.Join(t.TempDir(), "pid")
	open, deaf := far.Addr().(*net.TCPAddr).Port, freePort(t)
	ended := make(chan error, 1)
	go func() {
		ended <- lab.Forward(ctx, lab.Forwarding{
			Netns: "/proc/self/ns/net", Listen: "127.0.0.93", To: "127.0.0.92", Ports: []int{open, deaf},
			PIDFile: pidFile, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		})
	}()
	if err := lab.Until(ctx, 10*time.Second, "the forwarder listens", func(context.Context) error {
		_, err := os.Stat(pidFile)
		return err
	}); err != nil {
		t.Fatal(err)
	}

	c := dial(t, open)
	message := bytes.Repeat([]byte("abc"), 1<<20)
	if _, err := c.Write(message); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	back, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(back, bytes.ToUpper(message)) {
		t.Errorf("%d octets came back, %v; want %d", len(back), err, len(message))
	}
	c.Close()

	if n, err := dial(t, deaf).Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection to nobody stays open: %d, %v", n, err)
	}
	idle := dial(t, open)
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("an idle connection keeps the forwarder from ending")
	}
	idle.Close()
}

func dial(t *testing.T, port int) *net.TCPConn {
	t.Helper()
	c, err := net.DialTCP("tcp4", nil, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 93), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.92:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
