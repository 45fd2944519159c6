// SPDX-License-Identifier: Apache-2.0

package openflow

import (
	"context"
	"fmt"
	"sync"
)

// Handshake exchanges hellos and asks for the features. A peer without
// OpenFlow 1.3 is told so and gives a *VersionError; the session is over then,
// as after any other error but that of ctx.
func (c *Conn) Handshake(ctx context.Context) (*FeaturesReply, error) {
	if err := c.put(ctx, true, 0, &Hello{Versions: 1 << Version}); err != nil {
		return nil, c.cause(err)
	}
	var h *Hello
	select {
	case h = <-c.hello:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-c.stop:
		return nil, c.Err()
	}
	if !h.Speaks() {
		err := &VersionError{h.Header, h.Versions}
		text := &Error{Type: ErrTypeHelloFailed, Code: 0, Data: []byte("only OpenFlow 1.3 is spoken here")}
		if c.put(ctx, true, 0, text) == nil {
			c.out.drain(ctx, c.stop)
		}
		c.fail(err)
		return nil, err
	}
	m, err := c.Request(ctx, &FeaturesRequest{})
	if err != nil {
		return nil, err
	}
	f, ok := m.(*FeaturesReply)
	if !ok {
		return nil, unexpected(m)
	}
	return f, nil
}

// cause replaces ErrClosed by the reason for which the session ended.
func (c *Conn) cause(err error) error {
	if err == ErrClosed {
		return c.Err()
	}
	return err
}

func unexpected(m Message) error { return fmt.Errorf("%w: answered by %T", ErrProtocol, m) }

// Send queues messages and does not wait; an error of the switch goes to
// Handler.Error with the xid: the first message has the xid returned, the
// others follow.
func (c *Conn) Send(ctx context.Context, ms ...Message) (xid uint32, err error) {
	c.mu.Lock()
	err, xid = c.err, c.reserve(len(ms))
	c.mu.Unlock()
	for i, m := range ms {
		if err != nil {
			return xid, c.cause(err)
		}
		err = c.put(ctx, i == len(ms)-1, xid+uint32(i), m)
	}
	return xid, c.cause(err)
}

// Request sends a message that has an answer and returns it. The parts of a
// multipart answer come as one MultipartReply, bounded by Config.MaxReply. An
// error message comes back as *Error.
func (c *Conn) Request(ctx context.Context, m Message) (Message, error) {
	var (
		done  = make(chan struct{})
		reply Message
		fault error
		over  bool
		body  []byte
	)
	got := func(_ Header, m Message) {
		if over {
			return
		}
		switch m := m.(type) {
		case *Error:
			fault = m
		case *MultipartReply:
			if len(body)+len(m.Body) > c.cfg.MaxReply {
				fault = fmt.Errorf("openflow: answer above %d bytes: %w", c.cfg.MaxReply, ErrTooLarge)
				break
			}
			if m.More || body != nil {
				body = append(body, m.Body...)
				m.Body = body
			}
			if m.More {
				return
			}
			reply = m
		default:
			reply = m
		}
		over = true
		close(done)
	}
	cl, err := c.begin(1, got)
	if err != nil {
		return nil, err
	}
	defer c.end(cl)
	if err := c.put(ctx, true, cl.first, m); err != nil {
		return nil, c.cause(err)
	}
	if err := c.wait(ctx, done); err != nil {
		return nil, err
	}
	return reply, fault
}

// Barrier waits until the switch has processed everything sent before.
func (c *Conn) Barrier(ctx context.Context) error {
	_, err := c.Request(ctx, &BarrierRequest{})
	return err
}

// SetRole asks for a role in a generation; ErrRoleStale if that is old.
func (c *Conn) SetRole(ctx context.Context, r Role) (Role, error) {
	m, err := c.Request(ctx, &RoleRequest{r})
	if err != nil {
		return Role{}, err
	}
	if rep, ok := m.(*RoleReply); ok {
		return rep.Role, nil
	}
	return Role{}, unexpected(m)
}

func multipart[T any](ctx context.Context, c *Conn, req *MultipartRequest, decode func([]byte) (T, error)) (T, error) {
	var none T
	m, err := c.Request(ctx, req)
	if err != nil {
		return none, err
	}
	rep, ok := m.(*MultipartReply)
	if !ok || rep.Type != req.Type {
		return none, unexpected(m)
	}
	return decode(rep.Body)
}

// Desc asks what the switch is.
func (c *Conn) Desc(ctx context.Context) (Desc, error) {
	return multipart(ctx, c, &MultipartRequest{Type: MPDesc}, DecodeDesc)
}

// PortDesc asks for all ports.
func (c *Conn) PortDesc(ctx context.Context) ([]Port, error) {
	return multipart(ctx, c, &MultipartRequest{Type: MPPortDesc}, DecodePorts)
}

// PortStats asks for the counters of a port, or of all with PortAny.
func (c *Conn) PortStats(ctx context.Context, port uint32) ([]PortStats, error) {
	return multipart(ctx, c, idRequest(MPPortStats, port), DecodePortStats)
}

// Tables asks for the counters of the tables.
func (c *Conn) Tables(ctx context.Context) ([]TableStats, error) {
	return multipart(ctx, c, &MultipartRequest{Type: MPTable}, DecodeTableStats)
}

// Aggregate asks for the sum over some flows.
func (c *Conn) Aggregate(ctx context.Context, f FlowFilter) (Aggregate, error) {
	return multipart(ctx, c, FlowRequest(MPAggregate, f), DecodeAggregate)
}

// DumpGroups asks for all groups.
func (c *Conn) DumpGroups(ctx context.Context) ([]GroupDesc, error) {
	return multipart(ctx, c, &MultipartRequest{Type: MPGroupDesc}, DecodeGroupDescs)
}

// GroupStats asks for the counters of a group, or of all with GroupAll.
func (c *Conn) GroupStats(ctx context.Context, id uint32) ([]GroupStats, error) {
	return multipart(ctx, c, idRequest(MPGroup, id), DecodeGroupStats)
}

// GroupFeatures asks what groups the switch can hold.
func (c *Conn) GroupFeatures(ctx context.Context) (GroupFeatures, error) {
	return multipart(ctx, c, &MultipartRequest{Type: MPGroupFeatures}, DecodeGroupFeatures)
}

// DumpMeters asks for all meters.
func (c *Conn) DumpMeters(ctx context.Context) ([]MeterConfig, error) {
	return multipart(ctx, c, idRequest(MPMeterConfig, MeterAll), DecodeMeterConfigs)
}

// MeterStats asks for the counters of a meter, or of all with MeterAll.
func (c *Conn) MeterStats(ctx context.Context, id uint32) ([]MeterStatistics, error) {
	return multipart(ctx, c, idRequest(MPMeter, id), DecodeMeterStatistics)
}

// MeterFeatures asks what meters the switch can do.
func (c *Conn) MeterFeatures(ctx context.Context) (MeterFeatures, error) {
	return multipart(ctx, c, &MultipartRequest{Type: MPMeterFeatures}, DecodeMeterFeatures)
}

// TableFeatures returns the undecoded answer to a table-features request.
func (c *Conn) TableFeatures(ctx context.Context) ([]byte, error) {
	return multipart(ctx, c, &MultipartRequest{Type: MPTableFeatures}, func(b []byte) ([]byte, error) { return b, nil })
}

// StartMonitor asks for updates about flows, which go to Handler.FlowUpdate.
// The flows that are there already come back here if MonitorInitial is set.
func (c *Conn) StartMonitor(ctx context.Context, m *FlowMonitor) ([]FlowUpdate, error) {
	return multipart(ctx, c, m.Request(), DecodeFlowUpdates)
}

// DumpFlows calls fn for each flow that the filter selects, while the answer is
// still arriving: no more than some 200 KiB of it is held, however many flows
// there are. The FlowStats is valid during the call only. Until DumpFlows
// returns, the session reads nothing else while fn runs, so fn must not make
// requests on it. An error of fn ends the dump.
func (c *Conn) DumpFlows(ctx context.Context, f FlowFilter, fn func(*FlowStats) error) error {
	ctx, cancel := context.WithCancel(ctx)
	parts := make(chan Message, 1)
	cl, err := c.begin(1, func(_ Header, m Message) {
		select {
		case parts <- m:
		case <-ctx.Done():
		case <-c.stop:
		}
	})
	if err != nil {
		cancel()
		return err
	}
	defer c.end(cl)
	defer cancel() // first, so that the reader is not held up
	if err := c.put(ctx, true, cl.first, FlowRequest(MPFlow, f)); err != nil {
		return c.cause(err)
	}
	for {
		var m Message
		select {
		case m = <-parts:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-c.stop:
			select {
			case m = <-parts:
			default:
				return c.Err()
			}
		}
		switch m := m.(type) {
		case *Error:
			return m
		case *MultipartReply:
			if m.Type != MPFlow {
				return unexpected(m)
			}
			if err := ReadFlowStats(m.Body, fn); err != nil {
				return err
			}
			if !m.More {
				return nil
			}
		default:
			return unexpected(m)
		}
	}
}

// maxModErrors bounds what is remembered of a batch that the switch refuses.
const maxModErrors = 1000

// ModError is one refused message of a batch.
type ModError struct {
	Index int // in the arguments
	Err   *Error
}

// BatchError tells which messages of a batch the switch refused.
type BatchError struct {
	Failed []ModError // at most 1,000, in the order of the switch's answers
	Total  int
}

func (e *BatchError) Error() string {
	if len(e.Failed) == 0 {
		return "openflow: batch refused"
	}
	f := e.Failed[0]
	return fmt.Sprintf("message %d of the batch: %v (%d refused)", f.Index, f.Err, e.Total)
}

func (e *BatchError) Unwrap() error {
	if len(e.Failed) == 0 {
		return nil
	}
	return e.Failed[0].Err
}

// collector gathers the errors of a range of xids until a last answer comes.
type collector struct {
	mu     sync.Mutex
	failed []ModError
	total  int
}

func (k *collector) add(index int, e *Error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.total++
	if len(k.failed) < maxModErrors {
		e.Data = nil // a copy of our own message
		k.failed = append(k.failed, ModError{index, e})
	}
}

func (k *collector) result() *BatchError {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.total == 0 {
		return nil
	}
	return &BatchError{k.failed, k.total}
}

// Apply sends messages one by one, then a barrier, and waits for that. Messages
// the switch refuses are reported as *BatchError; the others took effect.
func (c *Conn) Apply(ctx context.Context, ms ...Message) error {
	var k collector
	done := make(chan struct{})
	var once sync.Once
	last := uint32(len(ms))
	var first uint32
	var ready = make(chan struct{})
	cl, err := c.begin(len(ms)+1, func(h Header, m Message) {
		<-ready
		i := h.XID - first
		if e, ok := m.(*Error); ok && i < last {
			k.add(int(i), e)
			return
		} else if ok {
			k.add(-1, e)
		}
		if i == last {
			once.Do(func() { close(done) })
		}
	})
	if err != nil {
		return err
	}
	first = cl.first
	close(ready)
	defer c.end(cl)
	for i, m := range ms {
		if err := c.put(ctx, false, first+uint32(i), m); err != nil {
			c.out.wake()
			return fmt.Errorf("message %d of the batch: %w", i, c.cause(err))
		}
	}
	if err := c.put(ctx, true, first+last, &BarrierRequest{}); err != nil {
		return c.cause(err)
	}
	if err := c.wait(ctx, done); err != nil {
		return err
	}
	if e := k.result(); e != nil {
		return e
	}
	return nil
}
