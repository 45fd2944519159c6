// SPDX-License-Identifier: Apache-2.0

package ovsdbtest

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"nagare/ovsdb"
)

// Options of a Server. The zero value is a stand-alone database with one
// Open_vSwitch row and a light ovs-vswitchd.
type Options struct {
	// Schema defaults to Schema(); an older switch is a schema that lacks columns.
	Schema *ovsdb.Schema
	// Seed makes the UUIDs reproducible; 0 means random ones.
	Seed uint64
	// Root holds columns of the Open_vSwitch row, such as external_ids.
	Root ovsdb.Fields
	// NoVswitchd leaves out the part of ovs-vswitchd: after each commit it gives
	// new Interfaces an ofport in the order of their insertion (65534 to the
	// bridge's own), or -1 and an error, fills in Bridge.datapath_id and the
	// Interface states, and sets Controller.is_connected and cur_cfg.
	NoVswitchd bool
	// Connected tells whether a controller target is connected; nil means all are.
	Connected func(target string) bool
	// MonitorVersion is the newest monitor method offered: 1 monitor, 2
	// monitor_cond, 3 (and 0) monitor_cond_since.
	MonitorVersion int
	// History is how many transactions monitor_cond_since can go back. 0 is what a
	// stand-alone ovsdb-server does: it never finds the last transaction.
	History int
}

// Server is one database with its connections. Its methods may be called by any
// goroutine.
type Server struct {
	opts   Options
	schema *ovsdb.Schema

	mu       sync.Mutex
	db       *database
	conns    map[*conn]struct{}
	locks    map[string][]*conn // the first owns it
	waiting  []*pendingTxn
	ports    map[ovsdb.UUID]int64 // last ofport given, by bridge
	history  []commitRecord
	txnID    ovsdb.UUID
	closed   bool
	tasks    sync.WaitGroup
	listens  map[net.Listener]struct{}
	managers []func() // stop the Manage loops
}

type commitRecord struct {
	id     ovsdb.UUID
	deltas []*delta
}

// New makes a server that serves no connection yet.
func New(o Options) *Server {
	if o.Schema == nil {
		o.Schema = Schema()
	}
	if o.MonitorVersion == 0 {
		o.MonitorVersion = 3
	}
	if o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	s := &Server{
		opts: o, schema: o.Schema, db: newDatabase(o.Schema, o.Seed), conns: make(map[*conn]struct{}),
		locks: make(map[string][]*conn), ports: make(map[ovsdb.UUID]int64), listens: make(map[net.Listener]struct{}),
	}
	if o.Schema.Tables["Open_vSwitch"] != nil {
		if _, err := s.Transact(ovsdb.Op{Op: ovsdb.OpInsert, Table: "Open_vSwitch", Row: o.Root}); err != nil {
			panic("ovsdbtest: Options.Root: " + err.Error())
		}
	}
	return s
}

// DB is the name of the database.
func (s *Server) DB() string { return s.schema.Name }

// Root is the Open_vSwitch row's UUID.
func (s *Server) Root() ovsdb.UUID {
	for u := range s.Rows("Open_vSwitch") {
		return u
	}
	return ovsdb.UUID{}
}

// Rows copies a table.
func (s *Server) Rows(table string) map[ovsdb.UUID]*ovsdb.Row {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[ovsdb.UUID]*ovsdb.Row)
	if tb := s.db.tables[table]; tb != nil {
		for u, r := range tb.rows {
			f, _ := project(tb, r, tb.names)
			out[u] = ovsdb.NewRow(f)
		}
	}
	return out
}

// Find gives a row whose column equals v, the zero UUID and nil if there is none.
func (s *Server) Find(table, column string, v ovsdb.Value) (ovsdb.UUID, *ovsdb.Row) {
	for u, r := range s.Rows(table) {
		if ovsdb.Equal(r.Value(column), v) {
			return u, r
		}
	}
	return ovsdb.UUID{}, nil
}

// Transact runs a transaction as ovs-vsctl or ovs-vswitchd on the switch would. Its
// error is an *ovsdb.OpError. A wait that is not met counts as timed out.
func (s *Server) Transact(ops ...ovsdb.Op) ([]ovsdb.UUID, error) {
	list := make([]*ovsdb.Op, len(ops))
	for i := range ops {
		list[i] = &ops[i]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x, changed := s.db.run(list, func(string) bool { return false }, true)
	var inserted []ovsdb.UUID
	for i, a := range x.answers {
		if a.fault != nil {
			e := &ovsdb.OpError{Index: i, Op: "commit", Code: a.fault.code, Details: a.fault.details}
			if i < len(ops) {
				e.Op, e.Table = ops[i].Op, ops[i].Table
			}
			return nil, e
		}
		if a.insert {
			inserted = append(inserted, a.uuid)
		}
	}
	s.publish(changed)
	s.afterCommit()
	return inserted, nil
}

// Serve takes over a connection, accepted or dialled, and returns at once. The
// channel is closed when the connection has ended.
func (s *Server) Serve(nc net.Conn) (done <-chan struct{}) {
	ended := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		nc.Close()
		close(ended)
		return ended
	}
	c := newConn(s, nc)
	s.conns[c] = struct{}{}
	s.tasks.Add(1)
	go func() {
		defer s.tasks.Done()
		c.serve()
		close(ended)
	}()
	return ended
}

// Manage keeps a connection to a controller as a switch with a manager target does:
// it dials, serves until the connection ends, and after backoff dials again, until
// stop or Close.
func (s *Server) Manage(dial func(context.Context) (net.Conn, error), backoff time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		cancel()
		return cancel
	}
	s.managers = append(s.managers, cancel)
	s.tasks.Add(1)
	go func() {
		defer s.tasks.Done()
		for ctx.Err() == nil {
			if nc, err := dial(ctx); err == nil {
				done := s.Serve(nc)
				select {
				case <-done:
				case <-ctx.Done():
					nc.Close()
					<-done
				}
			}
			select {
			case <-time.After(backoff):
			case <-ctx.Done():
			}
		}
	}()
	return cancel
}

// Listen accepts connections (ptcp: and punix:) until Close.
func (s *Server) Listen(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listens[l] = struct{}{}
	s.tasks.Add(1)
	go func() {
		defer s.tasks.Done()
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			s.Serve(nc)
		}
	}()
}

// Dial connects to a controller once, as a switch does to its manager.
func (s *Server) Dial(network, address string) error {
	nc, err := net.Dial(network, address)
	if err != nil {
		return fmt.Errorf("manager %s: %w", address, err)
	}
	s.Serve(nc)
	return nil
}

// Conns is the number of connections.
func (s *Server) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Disconnect closes all connections; the database stays, as with a restarted
// ovsdb-server.
func (s *Server) Disconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.rpc.Close(nil)
	}
}

// Close closes everything and returns when no goroutine is left.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	for l := range s.listens {
		l.Close()
	}
	for _, stop := range s.managers {
		stop()
	}
	for c := range s.conns {
		c.rpc.Close(nil)
	}
	for _, p := range s.waiting {
		p.stop()
	}
	s.waiting = nil
	s.mu.Unlock()
	s.tasks.Wait()
}

// publish tells the monitors what changed; needs s.mu.
func (s *Server) publish(changed []*delta) {
	if len(changed) == 0 {
		return
	}
	if s.opts.History > 0 {
		s.txnID = s.db.uuid()
		if len(s.history) == s.opts.History {
			s.history = append(s.history[:0], s.history[1:]...)
		}
		s.history = append(s.history, commitRecord{s.txnID, changed})
	}
	for c := range s.conns {
		for _, m := range c.monitors {
			if text, some := m.updates(changed, false); some {
				c.notify(m, s.txnID, text)
			}
		}
	}
}

// afterCommit lets ovs-vswitchd react and waiting transactions try again; needs
// s.mu. It ends because ovs-vswitchd's own changes converge.
func (s *Server) afterCommit() {
	for {
		if !s.opts.NoVswitchd {
			s.vswitchd()
		}
		if !s.retry() {
			return
		}
	}
}

// since gives the changes after a transaction, oldest first, one delta per row.
func (s *Server) since(id ovsdb.UUID) (deltas []*delta, found bool) {
	at := -1
	for i, r := range s.history {
		if r.id == id {
			at = i
		}
	}
	if at < 0 {
		return nil, false
	}
	merged := make(map[ovsdb.UUID]*delta)
	for _, r := range s.history[at+1:] {
		for _, d := range r.deltas {
			if m := merged[d.uuid]; m != nil {
				m.after = d.after
				continue
			}
			c := *d
			merged[d.uuid] = &c
			deltas = append(deltas, &c)
		}
	}
	return deltas, true
}

// startMonitor answers a monitor request; needs s.mu.
func (s *Server) startMonitor(c *conn, version int, params []json.RawMessage) ([]byte, error) {
	if version > s.opts.MonitorVersion {
		return nil, faultf(ovsdb.UnknownMethod, "")
	}
	if len(params) < 3 {
		return nil, faultf(ovsdb.SyntaxFault, "monitor needs database, id and requests")
	}
	if err := s.wantDB(params[0]); err != nil {
		return nil, err
	}
	if c.monitors[string(params[1])] != nil {
		return nil, faultf(ovsdb.SyntaxFault, "duplicate monitor ID")
	}
	var requests map[string]json.RawMessage
	if err := json.Unmarshal(params[2], &requests); err != nil {
		return nil, faultf(ovsdb.SyntaxFault, "monitor requests: %v", err)
	}
	m, err := newMonitor(s.db, params[1], version, requests)
	if err != nil {
		return nil, err
	}
	c.monitors[string(params[1])] = m
	if version < 3 {
		return m.dump(s.db), nil
	}
	var last ovsdb.UUID
	if len(params) > 3 {
		_ = json.Unmarshal(params[3], &last) // anything else is a transaction not found
	}
	if deltas, found := s.since(last); found {
		text, _ := m.updates(deltas, false)
		return fmt.Appendf(nil, `[true,%q,%s]`, s.txnID, text), nil
	}
	return fmt.Appendf(nil, `[false,%q,%s]`, s.txnID, m.dump(s.db)), nil
}

func (s *Server) wantDB(param json.RawMessage) error {
	var name string
	if err := json.Unmarshal(param, &name); err != nil {
		return faultf(ovsdb.SyntaxFault, "database name: %v", err)
	}
	if name != s.schema.Name {
		return faultf(ovsdb.UnknownDatabase, "%s", name)
	}
	return nil
}
