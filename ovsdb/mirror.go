// SPDX-License-Identifier: Apache-2.0

package ovsdb

import (
	"context"
	"slices"
	"sync"
)

// Tables chooses what to mirror: by table the columns; nil means all columns but
// the noisy ones (statistics, status, ...), which change at every probe or second.
// Tables and columns that the server lacks are left out.
type Tables map[string][]string

// noisy columns are mirrored only when named. Manager changes at every probe, and
// so does what refers to it.
var noisy = map[string]bool{
	"statistics": true, "status": true, "rstp_status": true, "rstp_statistics": true, "bfd_status": true,
	"manager_options": true, "link_resets": true, "lacp_current": true,
	"cfm_fault": true, "cfm_fault_status": true, "cfm_flap_count": true, "cfm_health": true,
	"cfm_remote_mpids": true, "cfm_remote_opstate": true,
}

// SwitchTables is what a network controller needs of the Open_vSwitch database.
// Manager is not in it on purpose.
func SwitchTables() Tables {
	return Tables{
		"Open_vSwitch": nil, "Bridge": nil, "Port": nil, "Mirror": nil, "QoS": nil, "Queue": nil,
		"Interface": {"name", "type", "options", "external_ids", "other_config", "ofport", "ofport_request",
			"admin_state", "link_state", "mac_in_use", "mac", "mtu", "mtu_request", "error", "ifindex",
			"ingress_policing_rate", "ingress_policing_burst", "bfd"},
		"Controller": {"target", "is_connected", "role", "connection_mode", "inactivity_probe", "max_backoff", "external_ids"},
	}
}

// Change is one row that came (Before nil), went (After nil) or differs.
type Change struct {
	Table         string
	UUID          UUID
	Before, After *Row
}

// Batch is what changed since the last batch, at most one Change per row: whole
// transactions, several of them when the consumer was slow.
type Batch struct {
	// Initial is set when a full dump is in the batch: the first batch, and the
	// first one of each new session, where Changes are the differences from what
	// was delivered before and may be empty.
	Initial bool
	Changes []Change
}

// Mirror holds the content of chosen tables of one database, across sessions. Any
// goroutine may read it; exactly one takes the batches.
type Mirror struct {
	db   string
	want Tables

	mu      sync.RWMutex
	owner   *Session // whose updates count
	tables  map[string]*mirrorTable
	txn     string // last transaction of a clustered server, or ""
	pending []Change
	index   map[rowKey]int // into pending; nil until something is to be merged
	initial bool
	synced  bool
	ready   chan struct{}
}

type mirrorTable struct {
	columns *columns
	rows    map[UUID]*Row
}

type rowKey struct {
	table string
	uuid  UUID
}

// NewMirror makes an empty mirror. Session.Monitor fills it and keeps it so.
func NewMirror(db string, tables Tables) *Mirror {
	return &Mirror{db: db, want: tables, tables: make(map[string]*mirrorTable), ready: make(chan struct{}, 1)}
}

// DB is the name of the mirrored database.
func (m *Mirror) DB() string { return m.db }

// Row gives a row as it is now, nil if there is none. It may be newer than the last
// batch taken, never older.
func (m *Mirror) Row(table string, u UUID) *Row {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if t := m.tables[table]; t != nil {
		return t.rows[u]
	}
	return nil
}

// Len is the number of rows of a table.
func (m *Mirror) Len(table string) int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if t := m.tables[table]; t != nil {
		return len(t.rows)
	}
	return 0
}

// Rows copies the index of a table: the rows as they are now, by UUID.
func (m *Mirror) Rows(table string) map[UUID]*Row {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := make(map[UUID]*Row)
	if t := m.tables[table]; t != nil {
		for u, r := range t.rows {
			out[u] = r
		}
	}
	return out
}

// Find gives a row whose column equals v, such as the Bridge of a name.
func (m *Mirror) Find(table, column string, v Value) (UUID, *Row) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if t := m.tables[table]; t != nil {
		for u, r := range t.rows {
			if Equal(r.Value(column), v) {
				return u, r
			}
		}
	}
	return UUID{}, nil
}

// Synced tells whether a dump has arrived from the session that feeds the mirror
// now or fed it last.
func (m *Mirror) Synced() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.synced
}

// Ready is signalled when a batch waits; then call Take.
func (m *Mirror) Ready() <-chan struct{} { return m.ready }

// Take gives the waiting batch without blocking; ok is false when there is none.
func (m *Mirror) Take() (b Batch, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b = Batch{Initial: m.initial, Changes: m.pending}
	if m.index != nil { // merged changes may have cancelled out
		b.Changes = slices.DeleteFunc(b.Changes, func(c Change) bool { return c.Before.Equal(c.After) })
	}
	m.pending, m.index, m.initial = nil, nil, false
	return b, b.Initial || len(b.Changes) > 0
}

// Next waits for a batch.
func (m *Mirror) Next(ctx context.Context) (Batch, error) {
	for {
		if b, ok := m.Take(); ok {
			return b, nil
		}
		select {
		case <-m.ready:
		case <-ctx.Done():
			return Batch{}, ctx.Err()
		}
	}
}

// Rebase replaces the content by a full dump, rows by table and UUID, and queues
// only the differences, as an Initial batch; tables that the dump lacks become
// empty. Session.Monitor does the same with the server's dump. Rebase is for content
// from elsewhere (what was known before a restart, say) and ends the feeding by a
// session.
func (m *Mirror) Rebase(dump map[string]map[UUID]*Row) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.owner, m.txn = nil, ""
	tables := make(map[string]*mirrorTable, len(dump))
	for name, rows := range dump {
		tables[name] = &mirrorTable{columns: &columns{table: name}, rows: rows}
	}
	m.rebase(tables)
}

// rebase needs m.mu.
func (m *Mirror) rebase(tables map[string]*mirrorTable) {
	var changes []Change
	for _, name := range sortedNames(m.tables) {
		fresh := tables[name]
		for u, before := range m.tables[name].rows {
			if fresh == nil || fresh.rows[u] == nil {
				changes = append(changes, Change{name, u, before, nil})
			}
		}
	}
	for _, name := range sortedNames(tables) {
		var old map[UUID]*Row
		if t := m.tables[name]; t != nil {
			old = t.rows
		}
		for u, after := range tables[name].rows {
			before := old[u]
			if before == nil || !before.Equal(after) {
				changes = append(changes, Change{name, u, before, after})
			}
		}
	}
	m.tables = tables
	m.synced = true
	m.queue(changes, true)
}

// queue adds changes, at most one per row, merging them with those not yet taken
// so that a slow consumer costs no more than the rows; needs m.mu.
func (m *Mirror) queue(changes []Change, initial bool) {
	if len(changes) == 0 && !initial {
		return
	}
	m.initial = m.initial || initial
	if len(m.pending) == 0 {
		m.pending = changes
	} else {
		if m.index == nil {
			m.index = make(map[rowKey]int, len(m.pending))
			for i, c := range m.pending {
				m.index[rowKey{c.Table, c.UUID}] = i
			}
		}
		for _, c := range changes {
			k := rowKey{c.Table, c.UUID}
			if i, ok := m.index[k]; ok {
				m.pending[i].After = c.After
				continue
			}
			m.index[k] = len(m.pending)
			m.pending = append(m.pending, c)
		}
	}
	select {
	case m.ready <- struct{}{}:
	default:
	}
}
