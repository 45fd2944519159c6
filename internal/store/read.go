// SPDX-License-Identifier: Apache-2.0

package store

import "time"

// Revision numbers commits that changed persistent state. The high 16 bits are an epoch that restoring a backup raises.
type Revision uint64

// Epoch is the revision's restore epoch.
func (r Revision) Epoch() uint16 { return uint16(r >> 48) }

// Origin says who asked for a commit.
type Origin struct {
	Request string `json:"request,omitempty"` // request id, e.g. req-<uuid>
	User    string `json:"user,omitempty"`
	Project string `json:"project,omitempty"`
	Action  string `json:"action,omitempty"` // e.g. "POST /v2.0/ports", "node compute: plug"

	// Idempotency is a key of the caller's choice. A commit with a key that the same user and project used lately does
	// nothing and gets the earlier commit's answer (Result.Repeated).
	Idempotency string `json:"idempotency,omitempty"`
}

// CommitInfo identifies a commit: its place, its author, its time.
type CommitInfo struct {
	Revision Revision  `json:"revision"`
	Time     time.Time `json:"time"`
	Origin
}

// Info is what the store keeps beside a value.
type Info struct {
	Created  Revision   `json:"created"`
	Modified Revision   `json:"modified"`
	Seq      uint64     `json:"-"`     // Seq of the state in which the plane last changed, in this process
	Plane    CommitInfo `json:"plane"` // the last commit that changed the data-plane part
}

// record is immutable once its transaction has ended.
type record struct {
	val               any
	created, modified Revision
	seq               uint64
	plane             *CommitInfo // shared by the records of a commit; nil in derived tables
	extra             string      // JSON object of fields that this version does not know, kept for the next write
}

func (r *record) info() Info {
	i := Info{Created: r.created, Modified: r.modified, Seq: r.seq}
	if r.plane != nil {
		i.Plane = *r.plane
	}
	return i
}

// Dep is something that can be read and touched: a record (kind, key), all records under an index key or in a derived group
// (kind, key), or a whole table (kind, allKey).
type Dep struct {
	Kind uint16
	Key  string
}

const allKey = "\xff*"

// dep is the Dep of one record of a table, or of one member of a derived group.
func (k *kind) dep(group, key string) Dep {
	if k.emit != nil {
		key = group + "\x00" + key
	}
	return Dep{k.id, key}
}

// groupDep is the Dep of an index key, of a derived group, or of a whole table.
func (k *kind) groupDep(group string) Dep {
	if k.table == nil && k.emit == nil {
		group = allKey
	}
	return Dep{k.id, group}
}

// Reader is a state that typed tables can be read from: *Snapshot, *Tracked or *Txn.
//
// Records are found by group and key (see tree); the group of a table's records is "".
type Reader interface {
	get(k *kind, group, key string) *record
	scan(k *kind, group, start string, f func(key string, rec *record) bool)
	back(k *kind, group, end string, f func(key string, rec *record) bool)
	length(k *kind) int
	untracked() Reader
}

// Snapshot is one immutable state. The zero value is not usable; ask a Store.
type Snapshot struct {
	rev   Revision
	seq   uint64
	roots []tree // by kind id
}

// Revision is that of the newest persistent commit in the snapshot.
func (s *Snapshot) Revision() Revision { return s.rev }

// Seq is the number of the published state, volatile changes included. It starts anew with each process.
func (s *Snapshot) Seq() uint64 { return s.seq }

func (s *Snapshot) get(k *kind, group, key string) *record { return s.roots[k.id].get(group, key) }

func (s *Snapshot) scan(k *kind, group, start string, f func(string, *record) bool) {
	s.roots[k.id].scan(group, start, f)
}

func (s *Snapshot) back(k *kind, group, end string, f func(string, *record) bool) {
	s.roots[k.id].back(group, end, f)
}

func (s *Snapshot) length(k *kind) int { return s.roots[k.id].size }
func (s *Snapshot) untracked() Reader  { return s }

// Tracked reads a snapshot and records each distinct read.
type Tracked struct {
	*Snapshot
	reads map[Dep]struct{}
}

// Track returns a reader that records what it reads.
func (s *Snapshot) Track() *Tracked { return &Tracked{s, map[Dep]struct{}{}} }

// Reset forgets the recorded reads, so that the reader can serve the next unit.
func (t *Tracked) Reset() { clear(t.reads) }

// Reads calls f for each distinct Dep read so far, in no order.
func (t *Tracked) Reads(f func(Dep)) {
	for d := range t.reads {
		f(d)
	}
}

// Add records a read that happened elsewhere, e.g. of a memoised query.
func (t *Tracked) Add(d Dep) { t.reads[d] = struct{}{} }

func (t *Tracked) get(k *kind, group, key string) *record {
	t.reads[k.dep(group, key)] = struct{}{}
	return t.Snapshot.get(k, group, key)
}

func (t *Tracked) scan(k *kind, group, start string, f func(string, *record) bool) {
	t.reads[k.groupDep(group)] = struct{}{}
	t.Snapshot.scan(k, group, start, f)
}

func (t *Tracked) back(k *kind, group, end string, f func(string, *record) bool) {
	t.reads[k.groupDep(group)] = struct{}{}
	t.Snapshot.back(k, group, end, f)
}

func (t *Tracked) length(k *kind) int {
	t.reads[Dep{k.id, allKey}] = struct{}{}
	return t.Snapshot.length(k)
}

func (t *Tracked) untracked() Reader { return t.Snapshot }
