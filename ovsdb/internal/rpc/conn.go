// SPDX-License-Identifier: Apache-2.0

// Package rpc carries JSON-RPC 1.0 messages (RFC 7047 section 4) over one net.Conn,
// for both ends: ovsdb.Session and the in-memory server of ovsdbtest.
//
// Invariants: one goroutine reads, in order; Send never waits for the network (a
// writer goroutine exists only while there is something to write), so a reader that
// answers at once is never held up by a peer that does not read; what waits to be
// written is bounded, as is what is read.
package rpc

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"nagare/ovsdb/internal/jsonscan"
)

// ErrBacklog is a peer that does not read what it is sent.
var ErrBacklog = errors.New("json-rpc peer does not read")

const (
	writeChunk = 16 << 10 // a deadline covers one chunk, so slow links still pass
	keepQueue  = 8 << 10  // larger write buffers are given back
)

// Options bound a Conn. All fields are needed.
type Options struct {
	Limits       jsonscan.Limits
	Queue        int           // bytes waiting to be written
	WriteTimeout time.Duration // for one chunk of 16 KiB
	OnRead       func()        // called after every read that brought bytes; may be nil
}

// Conn is one connection.
type Conn struct {
	nc     net.Conn
	framer *jsonscan.Framer
	opts   Options

	mu      sync.Mutex
	out     []byte
	spare   []byte
	writing bool
	err     error
	writers sync.WaitGroup
}

// New takes over nc.
func New(nc net.Conn, opts Options) *Conn {
	c := &Conn{nc: nc, opts: opts}
	c.framer = jsonscan.NewFramer(reader{c}, opts.Limits)
	return c
}

type reader struct{ c *Conn }

func (r reader) Read(p []byte) (int, error) {
	n, err := r.c.nc.Read(p)
	if n > 0 && r.c.opts.OnRead != nil {
		r.c.opts.OnRead()
	}
	return n, err
}

// SetLimit changes the bound of one incoming message.
func (c *Conn) SetLimit(n int) { c.framer.SetLimit(n) }

// Message is one incoming message. Its texts are valid until the next Read. ID,
// Params, Result and Error are JSON that is balanced but not yet checked.
type Message struct {
	Method string // "" for a response
	ID     []byte // nil for a notification
	Params []byte
	Result []byte
	Error  []byte // nil when there is none
}

// Read waits for the next message. Only one goroutine may call it.
func (c *Conn) Read() (Message, error) {
	text, err := c.framer.Next()
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.err != nil { // a failed write closed the connection: tell that
			err = c.err
		}
		return Message{}, err
	}
	return Parse(text)
}

// Parse takes one message apart.
func Parse(text []byte) (Message, error) {
	var (
		m                             Message
		hasMethod, hasResult, hasFail bool
	)
	s := jsonscan.New(text, 64)
	err := s.Object(func(key []byte) (err error) {
		switch string(key) {
		case "method":
			hasMethod = true
			var name []byte
			name, err = s.Bytes()
			m.Method = methodName(name)
		case "id":
			if s.Kind() == jsonscan.Null {
				return s.Null()
			}
			m.ID, err = s.Raw()
		case "params":
			m.Params, err = s.Span()
		case "result":
			hasResult = true
			m.Result, err = s.Span()
		case "error":
			if s.Kind() == jsonscan.Null {
				return s.Null()
			}
			hasFail = true
			m.Error, err = s.Span()
		default:
			err = s.Skip()
		}
		return err
	})
	switch {
	case err != nil:
		return m, err
	case hasMethod && (hasResult || hasFail), !hasMethod && !hasResult && !hasFail:
		return m, s.Errorf("message is neither request nor response")
	case hasMethod && (m.Method == "" || m.Params == nil):
		return m, s.Errorf("request without method or params")
	case !hasMethod && m.ID == nil:
		return m, s.Errorf("response without id")
	}
	return m, s.End()
}

// methodName spares an allocation for the messages that make up the traffic.
func methodName(b []byte) string {
	for _, name := range [...]string{"echo", "update3", "update2", "update", "transact"} {
		if string(b) == name {
			return name
		}
	}
	return string(b)
}

// Send queues one message, which build appends to its argument. It does not wait
// for the network. After an error of build nothing is sent.
func (c *Conn) Send(build func(b []byte) ([]byte, error)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	if len(c.out) > c.opts.Queue {
		return ErrBacklog
	}
	b, err := build(c.out)
	if err != nil {
		return err
	}
	c.out = b
	if !c.writing {
		c.writing = true
		c.writers.Add(1)
		go c.flush()
	}
	return nil
}

func (c *Conn) flush() {
	defer c.writers.Done()
	for {
		c.mu.Lock()
		buf := c.out
		if len(buf) == 0 || c.err != nil {
			c.writing = false
			c.mu.Unlock()
			return
		}
		c.out, c.spare = c.spare[:0], nil
		c.mu.Unlock()

		for rest := buf; len(rest) > 0; {
			n := min(len(rest), writeChunk)
			err := c.nc.SetWriteDeadline(time.Now().Add(c.opts.WriteTimeout))
			if err == nil {
				_, err = c.nc.Write(rest[:n])
			}
			if err != nil {
				c.Close(err)
				break
			}
			rest = rest[n:]
		}
		c.mu.Lock()
		if cap(buf) <= keepQueue {
			c.spare = buf[:0]
		}
		c.mu.Unlock()
	}
}

// Close closes the connection; Read and Send then give err (io.ErrClosedPipe for
// nil) unless an earlier error stands.
func (c *Conn) Close(err error) {
	if err == nil {
		err = io.ErrClosedPipe
	}
	c.mu.Lock()
	first := c.err == nil
	if first {
		c.err = err
	}
	c.mu.Unlock()
	if first {
		c.nc.Close()
	}
}

// Wait returns when no writer goroutine is left; call it after Close.
func (c *Conn) Wait() { c.writers.Wait() }
