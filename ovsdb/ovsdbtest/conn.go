// SPDX-License-Identifier: Apache-2.0

package ovsdbtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"nagare/ovsdb"
	"nagare/ovsdb/internal/jsonscan"
	"nagare/ovsdb/internal/rpc"
)

// conn is one client connection.
type conn struct {
	srv      *Server
	rpc      *rpc.Conn
	monitors map[string]*monitor // guarded by srv.mu
}

func newConn(s *Server, nc net.Conn) *conn {
	return &conn{srv: s, monitors: make(map[string]*monitor), rpc: rpc.New(nc, rpc.Options{
		Limits: jsonscan.Limits{Message: 64 << 20, Text: 1 << 20, Depth: 64},
		Queue:  256 << 20, WriteTimeout: time.Minute,
	})}
}

// pendingTxn is a transaction whose wait operation is not met yet.
type pendingTxn struct {
	conn  *conn
	id    []byte
	ops   []*ovsdb.Op
	timer *time.Timer
}

func (p *pendingTxn) stop() {
	if p.timer != nil {
		p.timer.Stop()
	}
}

func (c *conn) serve() {
	for {
		m, err := c.rpc.Read()
		if err == nil {
			err = c.handle(m)
		}
		if err != nil {
			c.rpc.Close(err)
			break
		}
	}
	s := c.srv
	s.mu.Lock()
	delete(s.conns, c)
	s.waiting = slices.DeleteFunc(s.waiting, func(p *pendingTxn) bool {
		if p.conn == c {
			p.stop()
		}
		return p.conn == c
	})
	for name := range s.locks {
		c.unlock(name)
	}
	s.mu.Unlock()
	c.rpc.Wait()
}

// handle answers one message; an error ends the connection.
func (c *conn) handle(m rpc.Message) error {
	switch {
	case m.Method == "": // the answer to an echo of ours
		return nil
	case m.Method == "echo":
		return c.reply(m.ID, m.Params)
	}
	var params []json.RawMessage
	if err := json.Unmarshal(m.Params, &params); err != nil {
		return fmt.Errorf("%s: params: %w", m.Method, err)
	}
	s := c.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.ID == nil {
		if m.Method == "cancel" && len(params) == 1 {
			c.cancel(params[0])
		}
		return nil
	}
	if m.Method == "transact" {
		return c.transact(m.ID, params)
	}
	result, err := c.answer(m.Method, params)
	if err != nil {
		return c.refuse(m.ID, err)
	}
	return c.reply(m.ID, result)
}

func (c *conn) reply(id, result []byte) error {
	return c.rpc.Send(func(b []byte) ([]byte, error) {
		return rpc.End(append(rpc.AppendReply(b, id), result...)), nil
	})
}

func (c *conn) refuse(id []byte, err error) error {
	var f *fault
	if !errors.As(err, &f) {
		f = faultf(ovsdb.SyntaxFault, "%v", err)
	}
	return c.rpc.Send(func(b []byte) ([]byte, error) {
		return rpc.AppendFault(b, id, string(f.code), f.details), nil
	})
}

// notify sends an update; needs srv.mu. A client that does not read is cut off by
// the connection's queue limit.
func (c *conn) notify(m *monitor, txn ovsdb.UUID, updates []byte) {
	method := [...]string{1: "update", 2: "update2", 3: "update3"}[m.version]
	err := c.rpc.Send(func(b []byte) ([]byte, error) {
		b = append(rpc.AppendRequest(b, nil, method), '[')
		b = append(append(b, m.id...), ',')
		if m.version == 3 {
			b = fmt.Appendf(b, "%q,", txn)
		}
		return rpc.End(append(append(b, updates...), ']')), nil
	})
	if err != nil {
		c.rpc.Close(err)
	}
}

// answer handles the methods other than echo, cancel and transact; needs srv.mu.
func (c *conn) answer(method string, params []json.RawMessage) ([]byte, error) {
	s := c.srv
	switch method {
	case "list_dbs":
		return fmt.Appendf(nil, "[%q]", s.schema.Name), nil
	case "get_schema":
		if len(params) != 1 {
			return nil, faultf(ovsdb.SyntaxFault, "get_schema needs a database")
		}
		if err := s.wantDB(params[0]); err != nil {
			return nil, err
		}
		return schemaJSON(s.schema), nil
	case "monitor":
		return s.startMonitor(c, 1, params)
	case "monitor_cond":
		return s.startMonitor(c, 2, params)
	case "monitor_cond_since":
		return s.startMonitor(c, 3, params)
	case "monitor_cancel":
		if len(params) != 1 || c.monitors[string(params[0])] == nil {
			return nil, faultf("unknown monitor", "")
		}
		delete(c.monitors, string(params[0]))
		return []byte("{}"), nil
	case "lock", "steal", "unlock":
		var name string
		if len(params) != 1 || json.Unmarshal(params[0], &name) != nil {
			return nil, faultf(ovsdb.SyntaxFault, "%s needs a lock name", method)
		}
		switch method {
		case "lock":
			return c.lock(name)
		case "steal":
			return c.steal(name)
		}
		if !slices.Contains(s.locks[name], c) {
			return nil, faultf(ovsdb.SyntaxFault, "%s lock not held nor waited for", name)
		}
		c.unlock(name)
		return []byte("{}"), nil
	case "set_db_change_aware":
		return []byte("{}"), nil
	case "get_server_id":
		return fmt.Appendf(nil, "%q", ovsdb.UUID{1}), nil
	}
	return nil, faultf(ovsdb.UnknownMethod, "")
}

var schemaTexts sync.Map // *ovsdb.Schema to []byte

func schemaJSON(schema *ovsdb.Schema) []byte {
	if have, ok := schemaTexts.Load(schema); ok {
		return have.([]byte)
	}
	have, _ := schemaTexts.LoadOrStore(schema, schema.AppendJSON(nil))
	return have.([]byte)
}

func (c *conn) owns(name string) bool {
	q := c.srv.locks[name]
	return len(q) > 0 && q[0] == c
}

func (c *conn) lock(name string) ([]byte, error) {
	s := c.srv
	if slices.Contains(s.locks[name], c) {
		return nil, faultf(ovsdb.SyntaxFault, "lock %s asked for twice", name)
	}
	s.locks[name] = append(s.locks[name], c)
	return fmt.Appendf(nil, `{"locked":%t}`, c.owns(name)), nil
}

func (c *conn) steal(name string) ([]byte, error) {
	s := c.srv
	q := s.locks[name]
	if len(q) > 0 && q[0] != c {
		q[0].lockNotice("stolen", name)
	}
	q = slices.DeleteFunc(q, func(o *conn) bool { return o == c })
	s.locks[name] = slices.Insert(q, 0, c)
	return []byte(`{"locked":true}`), nil
}

func (c *conn) unlock(name string) {
	s := c.srv
	q := s.locks[name]
	owned := c.owns(name)
	q = slices.DeleteFunc(q, func(o *conn) bool { return o == c })
	if len(q) == 0 {
		delete(s.locks, name)
		return
	}
	s.locks[name] = q
	if owned {
		q[0].lockNotice("locked", name)
	}
}

func (c *conn) lockNotice(method, name string) {
	err := c.rpc.Send(func(b []byte) ([]byte, error) {
		return rpc.End(fmt.Appendf(rpc.AppendRequest(b, nil, method), "[%q]", name)), nil
	})
	if err != nil {
		c.rpc.Close(err)
	}
}

// transact runs a transaction or puts it aside until its wait is met.
func (c *conn) transact(id []byte, params []json.RawMessage) error {
	if len(params) == 0 {
		return c.refuse(id, faultf(ovsdb.SyntaxFault, "transact needs a database"))
	}
	if err := c.srv.wantDB(params[0]); err != nil {
		return c.refuse(id, err)
	}
	ops := make([]*ovsdb.Op, 0, len(params)-1)
	for _, text := range params[1:] {
		op, err := ovsdb.ParseOp(text)
		if err != nil {
			return c.refuse(id, err)
		}
		ops = append(ops, op)
	}
	x, changed := c.srv.db.run(ops, c.owns, false)
	if x.wait == nil {
		return c.finish(id, ops, x, changed)
	}
	p := &pendingTxn{conn: c, id: slices.Clone(id), ops: ops}
	if ms := x.wait.Timeout; ms != nil {
		if *ms == 0 {
			x, changed = c.srv.db.run(ops, c.owns, true)
			return c.finish(id, ops, x, changed)
		}
		p.timer = time.AfterFunc(time.Duration(*ms)*time.Millisecond, func() { c.srv.expire(p) })
	}
	c.srv.waiting = append(c.srv.waiting, p)
	return nil
}

// finish tells the monitors, then the client, then lets others react.
func (c *conn) finish(id []byte, ops []*ovsdb.Op, x *execution, changed []*delta) error {
	c.srv.publish(changed)
	err := c.reply(id, x.result(ops))
	if len(changed) > 0 {
		c.srv.afterCommit()
	}
	return err
}

// result gives the result array: null for operations that were not executed.
func (x *execution) result(ops []*ovsdb.Op) []byte {
	b := []byte{'['}
	for i := range max(len(ops), len(x.answers)) {
		if i > 0 {
			b = append(b, ',')
		}
		if i >= len(x.answers) {
			b = append(b, "null"...)
			continue
		}
		switch a := x.answers[i]; {
		case a.fault != nil:
			b = append(b, `{"error":`...)
			b = jsonscan.AppendString(b, string(a.fault.code))
			b = append(b, `,"details":`...)
			b = append(jsonscan.AppendString(b, a.fault.details), '}')
		case a.insert:
			b = fmt.Appendf(b, `{"uuid":["uuid",%q]}`, a.uuid)
		case a.counts:
			b = fmt.Appendf(b, `{"count":%d}`, a.count)
		case a.rows != nil:
			tb := x.db.tables[ops[i].Table]
			b = append(b, `{"rows":[`...)
			for j, f := range a.rows {
				if j > 0 {
					b = append(b, ',')
				}
				b = appendSelected(b, tb, f)
			}
			b = append(b, "]}"...)
		default:
			b = append(b, "{}"...)
		}
	}
	return append(b, ']')
}

func appendSelected(b []byte, tb *table, f ovsdb.Fields) []byte {
	b = append(b, '{')
	first := true
	for name, v := range f {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = fmt.Appendf(b, "%q:", name)
		if i, ok := tb.index[name]; ok {
			b = appendTyped(b, v, tb.types[i])
		} else {
			b, _ = ovsdb.AppendValue(b, v)
		}
	}
	return append(b, '}')
}

// cancel ends a waiting transaction (RFC 7047 section 4.1.4); needs srv.mu.
func (c *conn) cancel(id []byte) {
	s := c.srv
	s.waiting = slices.DeleteFunc(s.waiting, func(p *pendingTxn) bool {
		if p.conn != c || string(p.id) != string(id) {
			return false
		}
		p.stop()
		_ = c.refuse(p.id, faultf(ovsdb.Canceled, "")) // a lost connection needs no answer
		return true
	})
}

// retry runs waiting transactions again; it tells whether one of them changed
// something. Needs s.mu.
func (s *Server) retry() (changedSome bool) {
	for _, p := range slices.Clone(s.waiting) {
		x, changed := s.db.run(p.ops, p.conn.owns, false)
		if x.wait != nil {
			continue
		}
		s.forget(p)
		s.publish(changed)
		_ = p.conn.reply(p.id, x.result(p.ops))
		changedSome = changedSome || len(changed) > 0
	}
	return changedSome
}

func (s *Server) forget(p *pendingTxn) (was bool) {
	p.stop()
	n := len(s.waiting)
	s.waiting = slices.DeleteFunc(s.waiting, func(q *pendingTxn) bool { return q == p })
	return len(s.waiting) < n
}

func (s *Server) expire(p *pendingTxn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.forget(p) {
		return
	}
	x, changed := s.db.run(p.ops, p.conn.owns, true)
	_ = p.conn.finish(p.id, p.ops, x, changed) // a lost connection needs no answer
}
