// SPDX-License-Identifier: Apache-2.0

package ovsdb

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"nagare/ovsdb/internal/jsonscan"
)

const zeroTxn = "00000000-0000-0000-0000-000000000000"

// Monitor feeds a mirror from this session until the session ends or Unmonitor. It
// tries monitor_cond_since, monitor_cond and monitor in turn (ovsdb-server(7)
// sections 4.1.12 to 4.1.15, RFC 7047 section 4.1.5), and returns once the dump is in the mirror. A
// mirror that has content from an earlier session is brought up to date, and its
// consumer gets the differences only. A mirror is fed by the session that monitored
// last; what an older one still delivers is dropped.
func (s *Session) Monitor(ctx context.Context, m *Mirror) error {
	schema, err := s.GetSchema(ctx, m.db)
	if err != nil {
		return err
	}
	layout := m.layout(schema)
	if len(layout) == 0 {
		return fmt.Errorf("database %s has none of the tables to mirror", m.db)
	}
	m.mu.Lock()
	m.owner = s
	m.mu.Unlock()
	s.raise()
	s.mu.Lock()
	id := fmt.Sprintf("nagare-%d", len(s.monitors)+1)
	s.monitors[id] = m
	s.mu.Unlock()

	for version := 3; version >= 1; version-- {
		err = s.monitor(ctx, m, id, version, layout)
		if !errors.Is(err, UnknownMethod) {
			break
		}
	}
	if err != nil {
		s.drop(id)
		if ctx.Err() != nil {
			s.post("monitor_cancel", nameParam(id))
		}
	}
	return err
}

var monitorMethods = [...]string{1: "monitor", 2: "monitor_cond", 3: "monitor_cond_since"}

// layout is the columns to ask for, by table.
func (m *Mirror) layout(schema *Schema) map[string]*columns {
	out := make(map[string]*columns)
	for table, names := range m.want {
		t := schema.Tables[table]
		if t == nil {
			continue
		}
		c := &columns{table: table}
		if names == nil {
			for name := range t.Columns {
				if !noisy[name] {
					c.names = append(c.names, name)
				}
			}
		} else {
			for _, name := range names {
				if t.Columns[name] != nil {
					c.names = append(c.names, name)
				}
			}
		}
		slices.Sort(c.names)
		c.names = slices.Compact(c.names)
		for _, name := range c.names {
			col := t.Columns[name]
			c.multi = append(c.multi, col.Max > 1)
			c.zero = append(c.zero, Canon(col.Default()))
		}
		out[table] = sharedColumns(c)
	}
	return out
}

func (s *Session) monitor(ctx context.Context, m *Mirror, id string, version int, layout map[string]*columns) error {
	since := m.since(layout)
	params := func(b []byte) ([]byte, error) {
		b, err := appendText(append(b, '['), m.db)
		b = jsonscan.AppendString(append(b, ','), id)
		b = append(b, ",{"...)
		for i, table := range sortedNames(layout) {
			if i > 0 {
				b = append(b, ',')
			}
			b = jsonscan.AppendString(b, table)
			b = append(b, `:[{"columns":`...)
			b = append(appendNames(b, layout[table].names), "}]"...)
		}
		b = append(b, '}')
		if version == 3 {
			b = jsonscan.AppendString(append(b, ','), since)
		}
		return append(b, ']'), err
	}
	return s.call(ctx, monitorMethods[version], params, func(p *jsonscan.Scanner) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if version < 3 {
			return m.dump(s, p, layout, version)
		}
		return m.sinceReply(s, p, layout)
	})
}

// since is the last transaction that the content is known to include: the server
// may have kept what came after. Content with other columns cannot be continued.
func (m *Mirror) since(layout map[string]*columns) string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.txn == "" || len(m.tables) != len(layout) {
		return zeroTxn
	}
	for table, c := range layout {
		if t := m.tables[table]; t == nil || t.columns != c {
			return zeroTxn
		}
	}
	return m.txn
}

// sinceReply reads [found, last-txn-id, updates]; needs m.mu.
func (m *Mirror) sinceReply(s *Session, p *jsonscan.Scanner, layout map[string]*columns) error {
	var txn string
	found, n := false, 0
	err := p.Array(func(i int) (err error) {
		n++
		switch i {
		case 0:
			found, err = p.Bool()
		case 1:
			txn, err = p.Text()
		case 2:
			switch {
			case m.owner != s:
				err = p.Skip()
			case found:
				err = m.updates(p, 3, true)
			default:
				err = m.dump(s, p, layout, 3)
			}
			if err == nil && m.owner == s {
				m.setTxn(txn)
			}
		default:
			err = p.Errorf("monitor reply with a fourth element")
		}
		return err
	})
	if err == nil && n != 3 {
		err = p.Errorf("monitor reply with %d elements", n)
	}
	return err
}

func (m *Mirror) setTxn(txn string) {
	if m.txn = txn; txn == zeroTxn {
		m.txn = ""
	}
}

// updates reads changes and makes them; needs m.mu.
func (m *Mirror) updates(p *jsonscan.Scanner, version int, initial bool) error {
	changes, err := m.scanUpdates(p, m.tables, version)
	if err != nil {
		return err
	}
	for _, c := range changes {
		if c.After == nil {
			delete(m.tables[c.Table].rows, c.UUID)
		} else {
			m.tables[c.Table].rows[c.UUID] = c.After
		}
	}
	m.synced = m.synced || initial
	m.queue(changes, initial)
	return nil
}

// dump reads a full <table-updates> and rebases on it; needs m.mu.
func (m *Mirror) dump(s *Session, p *jsonscan.Scanner, layout map[string]*columns, version int) error {
	if m.owner != s {
		return p.Skip()
	}
	tables := make(map[string]*mirrorTable, len(layout))
	for table, c := range layout {
		tables[table] = &mirrorTable{columns: c, rows: make(map[UUID]*Row)}
	}
	changes, err := m.scanUpdates(p, tables, version)
	if err != nil {
		return err
	}
	for _, c := range changes {
		if c.Before != nil || c.After == nil {
			return p.Errorf("dump of %s with a change of row %s", c.Table, c.UUID)
		}
		tables[c.Table].rows[c.UUID] = c.After
	}
	m.rebase(tables)
	return nil
}

// update handles update, update2 and update3 notices: [id, updates], or with
// version 3 [id, txn, updates].
func (s *Session) update(p *jsonscan.Scanner, version int) error {
	var (
		m   *Mirror
		txn string
		n   int
	)
	last := 1
	if version == 3 {
		last = 2
	}
	err := p.Array(func(i int) (err error) {
		n++
		switch i {
		case 0:
			m, err = s.monitorOf(p)
		case last:
			if m == nil {
				return p.Skip()
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.owner != s {
				return p.Skip()
			}
			if err = m.updates(p, version, false); err == nil && version == 3 {
				m.setTxn(txn)
			}
		case 1:
			txn, err = p.Text()
		default:
			err = p.Errorf("update with too many elements")
		}
		return err
	})
	if err == nil && n != last+1 {
		err = p.Errorf("update with %d elements", n)
	}
	return err
}

// monitorOf reads a monitor id: nil for one that was cancelled.
func (s *Session) monitorOf(p *jsonscan.Scanner) (*Mirror, error) {
	id, err := p.Bytes()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m, known := s.monitors[string(id)]
	if !known {
		return nil, violation("update of unknown monitor %.40q", id)
	}
	return m, nil
}

// Unmonitor stops the feeding of a mirror; its content stays.
func (s *Session) Unmonitor(ctx context.Context, m *Mirror) error {
	s.mu.Lock()
	var id string
	for k, v := range s.monitors {
		if v == m {
			id = k
		}
	}
	s.mu.Unlock()
	if id == "" {
		return nil
	}
	s.drop(id)
	return s.call(ctx, "monitor_cancel", nameParam(id), func(p *jsonscan.Scanner) error { return p.Skip() })
}

// drop makes the session ignore what still comes for a monitor.
func (s *Session) drop(id string) {
	s.mu.Lock()
	m := s.monitors[id]
	s.monitors[id] = nil
	s.mu.Unlock()
	if m != nil {
		m.mu.Lock()
		if m.owner == s {
			m.owner = nil
		}
		m.mu.Unlock()
	}
}
