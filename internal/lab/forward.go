// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"time"
)

// Forwarding relays TCP from the host into a namespace.
type Forwarding struct {
	Netns   string // path of the namespace that connections enter
	Listen  string // address here
	To      string // address there
	Ports   []int  // the same on both sides
	PIDFile string // entered once all ports are open; empty: none
	Log     *slog.Logger
}

// Forward runs until ctx ends, and then returns nil. The namespace is looked up
// anew for each connection, so it may be made anew meanwhile.
func Forward(ctx context.Context, f Forwarding) error {
	var listeners []net.Listener
	defer func() {
		for _, l := range listeners {
			l.Close()
		}
	}()
	for _, port := range f.Ports {
		l, err := net.Listen("tcp4", net.JoinHostPort(f.Listen, strconv.Itoa(port)))
		if err != nil {
			return err
		}
		listeners = append(listeners, l)
	}
	if f.PIDFile != "" {
		self, err := processOf(os.Getpid())
		if err != nil {
			return err
		}
		b, err := json.Marshal(self)
		if err != nil {
			return err
		}
		if err := writeFile(f.PIDFile, b, 0o600); err != nil {
			return fmt.Errorf("pid file: %w", err)
		}
	}
	dial := dialer(f.Netns)
	var wg sync.WaitGroup
	for i, l := range listeners {
		to := net.JoinHostPort(f.To, strconv.Itoa(f.Ports[i]))
		wg.Go(func() { f.accept(ctx, l, to, dial) })
	}
	<-ctx.Done()
	for _, l := range listeners {
		l.Close()
	}
	wg.Wait()
	return nil
}

func (f *Forwarding) accept(ctx context.Context, l net.Listener, to string, dial func(context.Context, string, string) (net.Conn, error)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		near, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			f.Log.Warn("accept", "error", err)
			select { // descriptors are short, most likely: let some connections end
			case <-ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		wg.Go(func() {
			defer near.Close()
			dialCtx, cancel := context.WithTimeout(ctx, 10*time.Second)
			far, err := dial(dialCtx, "tcp4", to)
			cancel()
			if err != nil {
				f.Log.Warn("server not reached", "to", to, "error", err)
				return
			}
			relay(ctx, near.(*net.TCPConn), far.(*net.TCPConn))
		})
	}
}

// relay copies both ways until both sides have ended or ctx ends. The end of one
// direction is passed on, the other goes on.
func relay(ctx context.Context, a, b *net.TCPConn) {
	stop := context.AfterFunc(ctx, func() { a.Close(); b.Close() })
	defer stop()
	defer b.Close()
	var wg sync.WaitGroup
	for _, pair := range [][2]*net.TCPConn{{a, b}, {b, a}} {
		wg.Go(func() {
			if _, err := io.Copy(pair[1], pair[0]); err != nil {
				a.Close() // a reset must not leave the other direction waiting
				b.Close()
				return
			}
			pair[1].CloseWrite()
		})
	}
	wg.Wait()
}

// forwarder returns the lab's forwarder if it runs.
func (l *Lab) forwarder() (Process, bool) {
	b, err := os.ReadFile(l.forwarderPath())
	if err != nil {
		return Process{}, false
	}
	var p Process
	if err := json.Unmarshal(b, &p); err != nil {
		return Process{}, false
	}
	return p, p.Alive()
}
