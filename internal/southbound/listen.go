// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// maxSessions bounds the connections of one listener, so that strangers cannot use up the descriptors that nodes need.
const maxSessions = 8192

// Serve accepts connections until ctx ends and serves each in a goroutine of its own. A session that fails ends alone.
func (h *Hub) Serve(ctx context.Context, l net.Listener, serve func(context.Context, net.Conn) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var sessions sync.WaitGroup
	defer sessions.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	slots := make(chan struct{}, maxSessions)
	for {
		nc, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			h.log.Warn("accept", "listener", l.Addr().String(), "error", err)
			select {
			case <-time.After(100 * time.Millisecond): // out of descriptors, most likely
			case <-ctx.Done():
			}
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			h.log.Warn("too many sessions; connection refused", "peer", nc.RemoteAddr().String(), "limit", maxSessions)
			nc.Close()
			continue
		}
		sessions.Go(func() {
			defer func() { <-slots }()
			defer nc.Close()
			if err := h.guard(ctx, nc, serve); err != nil && ctx.Err() == nil {
				h.log.Warn("session ended", "peer", nc.RemoteAddr().String(), "error", err)
			}
		})
	}
}

// guard keeps a panic of one session from the others.
func (h *Hub) guard(ctx context.Context, nc net.Conn, serve func(context.Context, net.Conn) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("session with %s panicked: %v", nc.RemoteAddr(), p)
		}
	}()
	return serve(ctx, nc)
}

// Dial keeps an OVSDB session with a node that listens (manager ptcp:), until ctx ends. The bridge is told to call us by the
// address that we have on that connection.
func (h *Hub) Dial(ctx context.Context, addr string) error {
	const first, most = 250 * time.Millisecond, 15 * time.Second
	pause := first
	for ctx.Err() == nil {
		var d net.Dialer
		ask, cancel := context.WithTimeout(ctx, h.cfg.Timings.Request)
		nc, err := d.DialContext(ask, "tcp", addr)
		cancel()
		if err == nil {
			began := time.Now()
			err = h.guard(ctx, nc, h.ServeOVSDB)
			nc.Close()
			if time.Since(began) > most {
				pause = first
			}
		}
		if ctx.Err() != nil {
			break
		}
		h.log.Warn("dialled node", "address", addr, "error", err, "retry", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, most)
	}
	return nil
}
