// SPDX-License-Identifier: Apache-2.0

package ovsdb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"

	"nagare/ovsdb/internal/jsonscan"
	"nagare/ovsdb/internal/rpc"
)

// Session is one connection to an OVSDB server, whichever side opened it. Its
// methods may be called by any goroutine. It ends once, for a reason that Err
// tells, when Done is closed; it never reconnects.
//
// One goroutine reads: it answers echo, completes requests and applies updates to
// mirrors in the order of arrival, and never waits for a caller. So what a
// transaction changed is in the mirror when Transact returns (RFC 7047 section
// 4.1.6: the update precedes the reply).
type Session struct {
	conn  *rpc.Conn
	opts  Options
	slots chan struct{}
	done  chan struct{}
	ended chan struct{} // the reader is gone
	probe probe
	big   atomic.Bool

	mu       sync.Mutex
	err      error
	lastID   uint64
	calls    map[uint64]*call
	monitors map[string]*Mirror // by monitor id; nil once cancelled
	locks    map[string]bool    // by name: owned
	lockMove chan struct{}      // closed and replaced when locks changes
	schemas  map[string]*Schema
}

// call is a request in flight.
type call struct {
	method string
	handle func(*jsonscan.Scanner) error // reads the result, in the reader
	done   chan error                    // capacity 1
}

// NewSession takes over a connection and starts reading. A *tls.Conn shakes hands
// on its own; the peer that does not is cut off by the inactivity probe.
func NewSession(nc net.Conn, o Options) *Session {
	o = o.withDefaults()
	tune(nc, o)
	s := &Session{
		opts:     o,
		slots:    make(chan struct{}, o.MaxCalls),
		done:     make(chan struct{}),
		ended:    make(chan struct{}),
		calls:    make(map[uint64]*call),
		monitors: make(map[string]*Mirror),
		locks:    make(map[string]bool),
		lockMove: make(chan struct{}),
		schemas:  make(map[string]*Schema),
	}
	s.conn = rpc.New(nc, rpc.Options{Limits: o.limits(), Queue: o.MaxQueue, WriteTimeout: o.WriteTimeout, OnRead: s.probe.touch})
	s.probe.start(s)
	go s.read()
	return s
}

// Done is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err tells why the session ended: nil while it lives, ErrClosed after Close, else
// an error that wraps ErrInactive, ErrProtocol, ErrBacklog, a *SyntaxError or the
// transport's error (io.EOF when the peer closed).
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close ends the session and returns when its goroutines are gone.
func (s *Session) Close() error {
	s.fail(ErrClosed)
	<-s.ended
	s.conn.Wait()
	return nil
}

func (s *Session) fail(err error) {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	s.err = err
	s.mu.Unlock()
	s.probe.stop()
	s.conn.Close(err)
	close(s.done)
}

// raise admits large messages: we are about to ask for one.
func (s *Session) raise() {
	if s.big.CompareAndSwap(false, true) {
		s.conn.SetLimit(s.opts.MaxMessage)
	}
}

func (s *Session) read() {
	defer close(s.ended)
	for {
		m, err := s.conn.Read()
		if err == nil {
			err = s.handle(m)
		}
		if err != nil {
			if errors.Is(err, rpc.ErrBacklog) {
				err = ErrBacklog
			}
			s.fail(fmt.Errorf("ovsdb session: %w", err))
			return
		}
	}
}

func violation(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}

func (s *Session) handle(m rpc.Message) error {
	switch {
	case m.Method == "":
		return s.response(m)
	case m.Method == "echo" && m.ID != nil:
		if _, err := jsonscan.New(m.Params, maxDepth).Raw(); err != nil {
			return err
		}
		return s.conn.Send(func(b []byte) ([]byte, error) {
			return rpc.End(append(rpc.AppendReply(b, m.ID), m.Params...)), nil
		})
	case m.ID != nil:
		return s.conn.Send(func(b []byte) ([]byte, error) {
			return rpc.AppendFault(b, m.ID, string(UnknownMethod), ""), nil
		})
	}
	p := jsonscan.New(m.Params, maxDepth)
	var err error
	switch m.Method {
	case "update":
		err = s.update(p, 1)
	case "update2":
		err = s.update(p, 2)
	case "update3":
		err = s.update(p, 3)
	case "locked":
		err = s.lockNotice(p, true)
	case "stolen":
		err = s.lockNotice(p, false)
	case "monitor_canceled": // ovsdb-server(7): the database went away or was converted
		return fmt.Errorf("monitor canceled by the server: %w", Canceled)
	default:
		return violation("notification %.40q", m.Method)
	}
	if err == nil {
		err = p.End()
	}
	return err
}

func (s *Session) response(m rpc.Message) error {
	id, err := strconv.ParseUint(string(m.ID), 10, 64)
	s.mu.Lock()
	issued := err == nil && id > 0 && id <= s.lastID
	c := s.calls[id]
	delete(s.calls, id)
	s.mu.Unlock()
	if !issued {
		return violation("reply to no request, id %.40s", m.ID)
	}
	var fault *ServerError
	if m.Error != nil {
		if fault, err = scanFault(m.Error); err != nil {
			return err
		}
	}
	if c == nil { // its caller gave up
		return nil
	}
	if fault != nil {
		fault.Method = c.method
		c.done <- fault
		return nil
	}
	p := jsonscan.New(m.Result, maxDepth)
	if err = c.handle(p); err == nil {
		err = p.End()
	}
	var failed *OpError
	if err != nil && !errors.As(err, &failed) {
		err = fmt.Errorf("%s reply: %w", c.method, err)
		c.done <- err
		return err
	}
	c.done <- err
	return nil
}

// scanFault reads an error: the <error> object of RFC 7047 section 3.1, or the bare
// string that ovsdb-server sends for an unknown method.
func scanFault(text []byte) (*ServerError, error) {
	s := jsonscan.New(text, maxDepth)
	e := &ServerError{}
	var err error
	if s.Kind() == jsonscan.String {
		var code string
		code, err = s.Text()
		e.Code = Code(code)
		return e, err
	}
	err = s.Object(func(key []byte) (err error) {
		switch string(key) {
		case "error":
			var code string
			code, err = s.Text()
			e.Code = Code(code)
		case "details":
			e.Details, err = s.Text()
		default:
			err = s.Skip()
		}
		return err
	})
	return e, err
}

// call sends a request and waits for handle to have read its result. If ctx ends
// first, handle may still run, so a caller must not touch what it writes to.
func (s *Session) call(ctx context.Context, method string, params func([]byte) ([]byte, error), handle func(*jsonscan.Scanner) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return ctx.Err()
	case <-s.done:
		return s.Err()
	}
	c := &call{method: method, handle: handle, done: make(chan error, 1)}
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return s.err
	}
	s.lastID++
	id := s.lastID
	s.calls[id] = c
	s.mu.Unlock()

	text := strconv.AppendUint(nil, id, 10)
	err := s.conn.Send(func(b []byte) ([]byte, error) {
		b, err := params(rpc.AppendRequest(b, text, method))
		return rpc.End(b), err
	})
	if err != nil {
		s.forget(id)
		if errors.Is(err, rpc.ErrBacklog) {
			return fmt.Errorf("ovsdb %s: %w", method, ErrBacklog)
		}
		return fmt.Errorf("ovsdb %s: %w", method, err)
	}
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		if s.forget(id) && method == "transact" { // RFC 7047 section 4.1.4
			_ = s.notify("cancel", append(append([]byte("["), text...), ']'))
		}
		return ctx.Err()
	case <-s.done:
		select { // the reply may have come just before the end
		case err := <-c.done:
			return err
		default:
			return s.Err()
		}
	}
}

func (s *Session) forget(id uint64) (waiting bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, waiting = s.calls[id]
	delete(s.calls, id)
	return waiting
}

// post sends a request whose answer nobody waits for.
func (s *Session) post(method string, params func([]byte) ([]byte, error)) {
	s.mu.Lock()
	s.lastID++
	id := s.lastID
	s.mu.Unlock()
	_ = s.conn.Send(func(b []byte) ([]byte, error) { // a lost connection cancels as well
		b, err := params(rpc.AppendRequest(b, strconv.AppendUint(nil, id, 10), method))
		return rpc.End(b), err
	})
}

func (s *Session) notify(method string, params []byte) error {
	return s.conn.Send(func(b []byte) ([]byte, error) {
		return rpc.End(append(rpc.AppendRequest(b, nil, method), params...)), nil
	})
}

// waiting counts the requests in flight other than probes.
func (s *Session) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, c := range s.calls {
		if c.method != "echo" {
			n++
		}
	}
	return n
}

// ListDbs lists the databases (RFC 7047 section 4.1.1).
func (s *Session) ListDbs(ctx context.Context) ([]string, error) {
	var names []string
	err := s.call(ctx, "list_dbs", literal("[]"), func(p *jsonscan.Scanner) (err error) {
		names, err = scanNames(p)
		return err
	})
	if err != nil {
		return nil, err
	}
	return names, nil
}

func literal(params string) func([]byte) ([]byte, error) {
	return func(b []byte) ([]byte, error) { return append(b, params...), nil }
}

// GetSchema fetches a database's schema (RFC 7047 section 4.1.2), once per session.
func (s *Session) GetSchema(ctx context.Context, db string) (*Schema, error) {
	s.mu.Lock()
	have := s.schemas[db]
	s.mu.Unlock()
	if have != nil {
		return have, nil
	}
	var schema *Schema
	err := s.call(ctx, "get_schema", func(b []byte) ([]byte, error) {
		b, err := appendText(append(b, '['), db)
		return append(b, ']'), err
	}, func(p *jsonscan.Scanner) error {
		text, err := p.Span()
		if err == nil {
			schema, err = ParseSchema(text)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.schemas[db] = schema
	return schema, nil
}

// Transact runs operations as one transaction (RFC 7047 section 4.1.3). A
// transaction that failed gives an *OpError. If ctx ends first the server is asked
// to cancel, and whether the transaction took place is unknown; the same holds when
// the session ends.
func (s *Session) Transact(ctx context.Context, db string, ops ...Op) (*Result, error) {
	for i := range ops {
		if ops[i].Op == OpSelect {
			s.raise()
			break
		}
	}
	var res *Result
	err := s.call(ctx, "transact", func(b []byte) ([]byte, error) {
		return appendTransact(b, db, ops)
	}, func(p *jsonscan.Scanner) (err error) {
		res, err = scanResult(p, ops)
		return err
	})
	if err != nil {
		return nil, err
	}
	return res, nil
}

// Commit runs a Txn; see Transact. A Txn without operations is a success.
func (s *Session) Commit(ctx context.Context, t *Txn) (*Result, error) {
	if len(t.ops) == 0 {
		return &Result{}, nil
	}
	return s.Transact(ctx, t.DB, t.ops...)
}

// Echo asks the peer for a sign of life (RFC 7047 section 4.1.11).
func (s *Session) Echo(ctx context.Context) error {
	return s.call(ctx, "echo", literal("[]"), func(p *jsonscan.Scanner) error { return p.Skip() })
}
