// SPDX-License-Identifier: Apache-2.0

package openflow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Reasons for which a Conn ends, besides those of the network.
var (
	ErrClosed   = errors.New("openflow: connection closed")
	ErrProbe    = errors.New("openflow: switch does not answer, echo request timed out")
	ErrOverrun  = errors.New("openflow: handlers too slow, event queue full")
	ErrProtocol = errors.New("openflow: protocol violation")
)

// Defaults of Config.
const (
	DefaultProbeInterval = 10 * time.Second
	DefaultBusyTimeout   = 60 * time.Second
	DefaultWriteTimeout  = 30 * time.Second
	DefaultMaxReply      = 16 << 20
	DefaultEventBytes    = 256 << 10
)

// Config adjusts a Conn; the zero value is usable.
type Config struct {
	// ProbeInterval is the silence after which an echo request is sent; after
	// as much silence again the connection ends with ErrProbe. Below 0: never.
	ProbeInterval time.Duration
	// BusyTimeout is how long the switch may be silent instead while it owes an
	// answer that was asked for before the echo request; busyPerMessage is added
	// for each message that the request is made of. Open vSwitch commits a bundle
	// without looking at its connections.
	BusyTimeout time.Duration
	// WriteTimeout bounds one write of at most some 128 KiB. A switch that owes
	// an answer has BusyTimeout for it, if that is longer.
	WriteTimeout time.Duration
	// MaxReply bounds the bytes of an answer that is collected in memory.
	MaxReply int
	// EventBytes bounds the queue in front of the handlers.
	EventBytes int
	// Handler gets what the switch sends unasked.
	Handler Handler
}

// busyPerMessage is far above what a switch needs for a flow (some 40 us when idle).
const busyPerMessage = 2 * time.Millisecond

// Handler has the callbacks for what the switch sends unasked; nil ones drop
// it. They run one after the other, in the order of arrival, on a goroutine of
// the Conn. They may send and request on the Conn, but must not Close it (see Abort).
// When they are too slow, packet-ins, flow updates and stray errors are dropped
// and counted; anything else that finds no room ends the connection with ErrOverrun, since
// the caller's picture of the switch would be wrong.
type Handler struct {
	PacketIn    func(*PacketIn)
	PortStatus  func(*PortStatus)
	FlowRemoved func(*FlowRemoved)
	FlowUpdate  func([]FlowUpdate) // nil: some were dropped, compare by dump
	MonitorHeld func(*FlowMonitorState)
	// Error is called for errors that answer no request in progress: those of
	// messages given to Send, by xid.
	Error func(xid uint32, err *Error)
	// Other is called for messages of unknown kind.
	Other func(Header, Message)
}

// Stats counts what a Conn did.
type Stats struct {
	MessagesIn, BytesIn, BytesOut uint64
	PacketInsDropped              uint64
	ErrorsDropped                 uint64
	FlowUpdatesDropped            uint64 // with a consumer that is behind: compare by dump
}

// Conn is one OpenFlow session with a switch. One goroutine reads, so messages
// are seen in the order in which the switch sent them; one writes what senders
// have gathered. All methods may be called from several goroutines. What a bad
// peer can make it hold is below 1 MiB, plus MaxReply for answers asked for.
type Conn struct {
	nc   net.Conn
	cfg  Config
	out  *outbox
	ev   *events
	wg   sync.WaitGroup
	stop chan struct{} // closed at the end

	mu     sync.Mutex
	err    error
	calls  []*call
	xid    uint32
	bundle uint32

	hello   chan *Hello
	greeted bool // reader only

	msgsIn, bytesIn, bytesOut, lostPackets, lostErrors, lostUpdates atomic.Uint64
	updatesMissed                                                   atomic.Bool // and the handler has yet to be told
}

// call is a request in progress: the xids from first on, n of them. got runs
// on the reader and owns the message.
type call struct {
	first, n uint32
	got      func(Header, Message)
	began    time.Time
}

// NewConn starts to drive nc and owns it from now on. Handshake comes next.
func NewConn(nc net.Conn, cfg Config) *Conn {
	if cfg.ProbeInterval == 0 {
		cfg.ProbeInterval = DefaultProbeInterval
	}
	if cfg.BusyTimeout <= 0 {
		cfg.BusyTimeout = DefaultBusyTimeout
	}
	if cfg.WriteTimeout <= 0 {
		cfg.WriteTimeout = DefaultWriteTimeout
	}
	if cfg.MaxReply <= 0 {
		cfg.MaxReply = DefaultMaxReply
	}
	if cfg.EventBytes <= 0 {
		cfg.EventBytes = DefaultEventBytes
	}
	c := &Conn{nc: nc, cfg: cfg, out: newOutbox(), stop: make(chan struct{}), hello: make(chan *Hello, 1),
		ev: &events{limit: cfg.EventBytes, kick: make(chan struct{}, 1)}}
	c.wg.Go(c.read)
	c.wg.Go(func() {
		if err := c.out.run(c.stop, c.write); err != nil {
			c.fail(err)
		}
	})
	c.wg.Go(func() { c.ev.run(c.stop, c.dispatch) })
	return c
}

// Close ends the session and waits for the goroutines. Requests in progress
// return ErrClosed.
func (c *Conn) Close() error {
	c.fail(ErrClosed)
	c.wg.Wait()
	return nil
}

// Abort ends the session for a reason and does not wait; unlike Close it may be
// called from a handler. Close is still needed to wait for the goroutines.
func (c *Conn) Abort(reason error) { c.fail(reason) }

// Done is closed when the session has ended; Err then tells why.
func (c *Conn) Done() <-chan struct{} { return c.stop }

// Err is why the session ended, nil while it runs.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// RemoteAddr is the address of the switch.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// Stats returns the counters.
func (c *Conn) Stats() Stats {
	return Stats{c.msgsIn.Load(), c.bytesIn.Load(), c.bytesOut.Load(), c.lostPackets.Load(), c.lostErrors.Load(), c.lostUpdates.Load()}
}

func (c *Conn) fail(err error) {
	c.mu.Lock()
	first := c.err == nil
	if first {
		c.err = err
	}
	c.mu.Unlock()
	if first {
		close(c.stop)
		c.nc.Close()
	}
}

func (c *Conn) write(b []byte) error {
	now := time.Now()
	c.nc.SetWriteDeadline(now.Add(max(c.cfg.WriteTimeout, c.patience(now))))
	n, err := c.nc.Write(b)
	c.bytesOut.Add(uint64(n))
	return err
}

// patience is how long the switch may leave us waiting for what was asked before
// then; 0 if nothing was. What is asked later says nothing of a peer that was
// silent already.
func (c *Conn) patience(then time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, busy := uint32(0), false
	for _, cl := range c.calls {
		if !cl.began.After(then) {
			n, busy = n+cl.n, true
		}
	}
	if !busy {
		return 0
	}
	return c.cfg.BusyTimeout + time.Duration(n)*busyPerMessage
}

// read is the reader goroutine.
func (c *Conn) read() {
	var (
		f     Framer
		echo  time.Time    // of the echo request that waits for a sign of life; zero: none does
		life  = time.Now() // the last sign of life
		wrote uint64       // bytes written until then
	)
	for {
		if c.cfg.ProbeInterval > 0 {
			c.nc.SetReadDeadline(time.Now().Add(c.cfg.ProbeInterval))
		}
		n, err := c.nc.Read(f.Space())
		if n > 0 {
			c.bytesIn.Add(uint64(n))
			f.Wrote(n)
			if e := c.consume(&f); e != nil {
				c.fail(e)
				return
			}
			echo, life, wrote = time.Time{}, time.Now(), c.bytesOut.Load()
		}
		switch {
		case err == nil:
		case !errors.Is(err, os.ErrDeadlineExceeded):
			c.fail(err)
			return
		case echo.IsZero():
			echo = time.Now()
			if c.probe() == ErrClosed {
				return
			}
		default:
			may := c.patience(echo)
			// A peer that takes much is alive; small writes prove nothing, the kernel keeps them for a dead one.
			if out := c.bytesOut.Load(); may > 0 && out-wrote >= flushSize {
				life, wrote = time.Now(), out
			}
			if time.Since(life) >= may {
				c.fail(ErrProbe)
				return
			}
		}
	}
}

// probe sends an echo request if there is room for it: a peer that takes nothing
// needs no other question, and the reader must not wait for it.
func (c *Conn) probe() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return c.put(ctx, true, 0, &EchoRequest{})
}

// consume handles every whole message that has arrived.
func (c *Conn) consume(f *Framer) error {
	for {
		b, err := f.Next()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrProtocol, err)
		}
		if b == nil {
			return nil
		}
		c.msgsIn.Add(1)
		if err := c.message(b); err != nil {
			return err
		}
	}
}

// message handles one message; b is overwritten after it returns.
func (c *Conn) message(b []byte) error {
	if b[1] == TypeEchoRequest && b[0] == Version { // answered at once, before any decoding
		return c.put(context.Background(), true, be.Uint32(b[4:]), &EchoReply{b[headerLen:]})
	}
	h, m, err := Decode(bytes.Clone(b))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	if !c.greeted {
		switch m := m.(type) {
		case *Hello:
			c.greeted = true
			c.hello <- m
			return nil
		case *Error: // the switch refuses our hello
			return m
		}
		return fmt.Errorf("%w: message type %d before hello", ErrProtocol, h.Type)
	}
	switch m := m.(type) {
	case *Hello, *EchoReply:
		return nil
	case *PacketIn, *PortStatus, *FlowRemoved, *FlowMonitorState:
		return c.event(h, m, len(b))
	case *Error:
		if cl := c.lookup(h.XID); cl != nil {
			cl.got(h, m)
			return nil
		}
		if m.Type == ErrTypeHelloFailed {
			return m
		}
		return c.event(h, m, len(b))
	default:
		if cl := c.lookup(h.XID); cl != nil {
			cl.got(h, m)
			return nil
		}
		return c.event(h, m, len(b))
	}
}

// event queues a message for the handlers, if there is one for it.
func (c *Conn) event(h Header, m Message, size int) error {
	hd := &c.cfg.Handler
	var lost *atomic.Uint64
	wanted := false
	switch m := m.(type) {
	case *PacketIn:
		wanted, lost = hd.PacketIn != nil, &c.lostPackets
	case *Error:
		wanted, lost = hd.Error != nil, &c.lostErrors
	case *PortStatus:
		wanted = hd.PortStatus != nil
	case *FlowRemoved:
		wanted = hd.FlowRemoved != nil
	case *FlowMonitorState:
		wanted = hd.MonitorHeld != nil
	case *MultipartReply:
		// Flow updates come by the thousand when somebody empties a table: the consumer is told that some are missing.
		wanted, lost = IsFlowUpdate(m) && hd.FlowUpdate != nil, &c.lostUpdates
	case *RawMessage, *Experimenter:
		wanted, lost = hd.Other != nil, &c.lostErrors
	default: // late answers to requests that were given up
	}
	if !wanted || c.ev.push(event{h, m, size}) {
		return nil
	}
	if lost == nil {
		return ErrOverrun
	}
	lost.Add(1)
	if lost == &c.lostUpdates {
		c.updatesMissed.Store(true) // the queue is full, so dispatch has yet to run
	}
	return nil
}

// dispatch runs on the handler goroutine.
func (c *Conn) dispatch(ev event) {
	hd := &c.cfg.Handler
	if c.updatesMissed.Swap(false) {
		hd.FlowUpdate(nil)
	}
	switch m := ev.msg.(type) {
	case *PacketIn:
		hd.PacketIn(m)
	case *PortStatus:
		hd.PortStatus(m)
	case *FlowRemoved:
		hd.FlowRemoved(m)
	case *FlowMonitorState:
		hd.MonitorHeld(m)
	case *Error:
		hd.Error(ev.head.XID, m)
	case *MultipartReply:
		us, err := DecodeFlowUpdates(m.Body)
		if err != nil {
			c.fail(fmt.Errorf("%w: %w", ErrProtocol, err))
			return
		}
		hd.FlowUpdate(us)
	default:
		hd.Other(ev.head, m)
	}
}

// lookup finds the call an xid belongs to.
func (c *Conn) lookup(xid uint32) *call {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cl := range c.calls {
		if xid-cl.first < cl.n {
			return cl
		}
	}
	return nil
}

// begin reserves n xids and registers got for what comes back on them.
func (c *Conn) begin(n int, got func(Header, Message)) (*call, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	cl := &call{first: c.reserve(n), n: uint32(n), got: got, began: time.Now()}
	c.calls = append(c.calls, cl)
	return cl, nil
}

// reserve hands out n consecutive xids; 0 is for the switch and for probes.
func (c *Conn) reserve(n int) uint32 {
	if c.xid+uint32(n) < c.xid {
		c.xid = 0
	}
	first := c.xid + 1
	c.xid += uint32(n)
	return first
}

func (c *Conn) end(cl *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, x := range c.calls {
		if x == cl {
			c.calls = append(c.calls[:i], c.calls[i+1:]...)
			return
		}
	}
}

// put queues one message.
func (c *Conn) put(ctx context.Context, flush bool, xid uint32, m Message) error {
	return c.out.put(ctx, c.stop, flush, func(dst []byte) ([]byte, error) {
		return appendChecked(dst, xid, m)
	})
}

// appendChecked appends a message and refuses one that is too long for its
// length field.
func appendChecked(dst []byte, xid uint32, m Message) ([]byte, error) {
	start := len(dst)
	dst = m.AppendMessage(dst, xid)
	if n := len(dst) - start; n > MaxMessage {
		return dst, fmt.Errorf("openflow: message of %d bytes: %w, limit %d", n, ErrTooLarge, MaxMessage)
	}
	return dst, nil
}

// wait blocks until done, the end of ctx or of the session.
func (c *Conn) wait(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	default:
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.stop:
		select {
		case <-done: // the answer came with the last bytes
			return nil
		default:
			return c.Err()
		}
	}
}
