// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// LogRecord is what the log keeps of a commit: who, when, and each persistent record's value before and after.
type LogRecord struct {
	CommitInfo
	Keys []LogKey

	offset uint64
}

// LogKey is one record's change in a commit. Before and After are its JSON values; nil means absent.
type LogKey struct {
	Table    string          `json:"table"`
	Key      string          `json:"key"`
	Previous Revision        `json:"previous,omitempty"` // the commit that wrote Before; 0 if it was absent
	Before   json.RawMessage `json:"before,omitempty"`
	After    json.RawMessage `json:"after,omitempty"`
}

type storedEntry struct {
	V      int        `json:"v"`
	Offset uint64     `json:"offset"` // bytes of all earlier entries, trimmed ones included
	Commit CommitInfo `json:"commit"`
	Keys   []LogKey   `json:"keys"`
}

// entryKeys divides an entry's head from its keys.
const entryKeys = `,"keys":[`

func appendEntryHead(b, commit []byte, offset uint64) []byte {
	b = append(b, `{"v":1,"offset":`...)
	b = appendUint(b, offset)
	b = append(b, `,"commit":`...)
	b = append(b, commit...)
	return append(b, entryKeys...)
}

func appendEntryKey(b []byte, table, key string, prev Revision, before, after []byte) ([]byte, error) {
	quoted, err := json.Marshal(key)
	if err != nil {
		return nil, err
	}
	b = append(b, `{"table":"`...)
	b = append(b, table...)
	b = append(b, `","key":`...)
	b = append(b, quoted...)
	if before != nil {
		b = append(b, `,"previous":`...)
		b = appendUint(b, uint64(prev))
		b = append(b, `,"before":`...)
		b = append(b, before...)
	}
	if after != nil {
		b = append(b, `,"after":`...)
		b = append(b, after...)
	}
	return append(b, '}'), nil
}

func decodeEntry(e Entry) (LogRecord, error) {
	var s storedEntry
	if err := json.Unmarshal(e.Data, &s); err != nil {
		return LogRecord{}, &CorruptError{logDir, fmt.Sprint(e.Revision), err}
	}
	return LogRecord{CommitInfo: s.Commit, Keys: s.Keys, offset: s.Offset}, nil
}

// LogTail returns what the log keeps of the commits from the revision on, oldest first, at most limit.
func (st *Store) LogTail(ctx context.Context, from Revision, limit int) ([]LogRecord, error) {
	entries, err := st.log.Entries(ctx, from, limit)
	if err != nil {
		return nil, err
	}
	out := make([]LogRecord, len(entries))
	for i, e := range entries {
		if out[i], err = decodeEntry(e); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// History returns the commits that changed a record, newest first, at most limit, each with that record's change alone. It
// goes back to the record's creation or to the oldest commit that the log keeps. Of a record that is gone it finds the last
// life, by reading the log backwards.
func (st *Store) History(ctx context.Context, table, key string, limit int) ([]LogRecord, error) {
	k, ok := st.schema.byName[table]
	if !ok || k.table != nil || k.emit != nil || !k.class.Persistent() {
		return nil, fmt.Errorf("table %s: unknown, or not persistent", table)
	}
	snap := st.Snapshot()
	var at Revision
	if rec := snap.get(k, "", key); rec != nil {
		at = rec.modified
	} else {
		var err error
		if at, err = st.lastChange(ctx, snap.rev, table, key); err != nil {
			return nil, err
		}
	}
	var out []LogRecord
	for at != 0 && len(out) < limit {
		rs, err := st.LogTail(ctx, at, 1)
		if err != nil {
			return nil, err
		}
		if len(rs) == 0 || rs[0].Revision != at {
			break // trimmed
		}
		at = 0
		for _, c := range rs[0].Keys {
			if c.Table == table && c.Key == key {
				r := rs[0]
				r.Keys = []LogKey{c}
				out = append(out, r)
				at = c.Previous
			}
		}
	}
	return out, nil
}

// lastChange searches backwards for the newest commit, not after the given one, that changed a record; 0: none is kept.
func (st *Store) lastChange(ctx context.Context, newest Revision, table, key string) (Revision, error) {
	const page = 32
	for high := newest; high > 0; {
		low := Revision(1)
		if high > page {
			low = high - page + 1
		}
		rs, err := st.LogTail(ctx, low, int(high-low)+1)
		if err != nil || len(rs) == 0 || rs[0].Revision > high {
			return 0, err
		}
		for i := len(rs) - 1; i >= 0; i-- {
			for _, c := range rs[i].Keys {
				if c.Table == table && c.Key == key && rs[i].Revision <= high {
					return rs[i].Revision, nil
				}
			}
		}
		if rs[0].Revision > low {
			return 0, nil // the rest is trimmed
		}
		high = low - 1
	}
	return 0, nil
}

// loadRecent restores the idempotency keys of the last commits.
func (st *Store) loadRecent(ctx context.Context, h Head) error {
	const last, page = 512, 32 // entries may be large
	from := Revision(1)
	if h.Revision > last {
		from = h.Revision - last + 1
	}
	for from <= h.Revision {
		entries, err := st.log.Entries(ctx, from, page)
		if err != nil {
			return err
		}
		for _, e := range entries {
			var s struct{ Commit CommitInfo }
			head, _, _ := bytes.Cut(e.Data, []byte(entryKeys)) // no string in JSON can look like that
			if err := json.Unmarshal(append(slices.Clip(head), '}'), &s); err != nil {
				return &CorruptError{logDir, fmt.Sprint(e.Revision), err}
			}
			st.recent.put(s.Commit.Origin, e.Revision)
			from = e.Revision + 1
		}
		if len(entries) < page {
			return nil
		}
	}
	return nil
}

// trim deletes the entries beyond the bounds of age and bytes. Entries are in order of time and offset, so that the first
// one to keep is found by bisection; the newest is always kept.
func (st *Store) trim(ctx context.Context, now time.Time) error {
	newest := st.Snapshot().rev
	st.mu.Lock()
	offset := st.specHead.Offset
	st.mu.Unlock()
	entry := func(from Revision) (LogRecord, bool, error) {
		rs, err := st.LogTail(ctx, from, 1)
		if err != nil || len(rs) == 0 {
			return LogRecord{}, false, err
		}
		return rs[0], true, nil
	}
	old := func(r LogRecord) bool {
		return now.Sub(r.Time) > st.o.LogAge || offset-r.offset > uint64(st.o.LogBytes)
	}
	first, ok, err := entry(0)
	if err != nil || !ok {
		return err
	}
	low, high := first.Revision, newest // keep from somewhere in [low, high]
	if !old(first) {
		high = low
	}
	for low < high {
		mid := low + (high-low)/2
		r, ok, err := entry(mid)
		if err != nil {
			return err
		}
		if ok && old(r) {
			low = max(mid+1, min(r.Revision+1, high))
		} else {
			high = mid
		}
	}
	return st.log.Trim(ctx, low)
}
