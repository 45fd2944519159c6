// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// item is a transaction on its way.
type item struct {
	origin        Origin
	snap          *Snapshot
	changes       *Changes
	before, after Head // of the log
	records       []Record
	entry         Entry
	bytes         int // of keys and values, entry included
}

func (it *item) durable() bool { return len(it.records) > 0 }

// ops counts the operations of an Append of the item alone: records, entry and head.
func (it *item) ops() int { return len(it.records) + 2 }

func (it *item) fits(l Limits) bool { return it.ops() <= l.Ops && it.bytes <= l.Bytes }

// encode gives the item its stored records and its log entry.
func (it *item) encode(at *CommitInfo, durable []durableWrite) error {
	plane, err := json.Marshal(at)
	if err != nil {
		return fmt.Errorf("commit %d: %w", at.Revision, err)
	}
	full := *at
	full.Idempotency = it.origin.Idempotency
	who, err := json.Marshal(full)
	if err != nil {
		return fmt.Errorf("commit %d: %w", at.Revision, err)
	}
	entry := appendEntryHead(nil, who, it.before.Offset)
	it.records = make([]Record, 0, len(durable))
	for i, w := range durable {
		var before, after []byte
		var prev Revision
		if w.before != nil {
			prev = w.before.modified
			if before, err = encodeValue(w.k, w.before); err != nil {
				return fmt.Errorf("%s %s: %w", w.k.name, w.key, err)
			}
		}
		rec := Record{Table: w.k.name, Key: w.key}
		if w.after != nil {
			if after, err = encodeValue(w.k, w.after); err != nil {
				return fmt.Errorf("%s %s: %w", w.k.name, w.key, err)
			}
			pl := plane
			if w.after.plane != at {
				if pl, err = json.Marshal(w.after.plane); err != nil {
					return fmt.Errorf("%s %s: %w", w.k.name, w.key, err)
				}
			}
			rec.Value = appendStored(make([]byte, 0, len(after)+len(pl)+96), w.after, pl, after)
		}
		it.records = append(it.records, rec)
		it.bytes += len(rec.Table) + len(rec.Key) + len(rec.Value) + opOverhead
		if i > 0 {
			entry = append(entry, ',')
		}
		if entry, err = appendEntryKey(entry, rec.Table, rec.Key, prev, before, after); err != nil {
			return fmt.Errorf("%s %s: %w", w.k.name, w.key, err)
		}
	}
	entry = append(entry, "]}"...)
	it.entry = Entry{at.Revision, entry}
	it.bytes += len(entry) + opOverhead
	it.after = Head{at.Revision, it.before.Offset + uint64(len(entry))}
	return nil
}

// batch is a run of transactions that land together.
type batch struct {
	Batch
	items []*item
	place map[recordID]int // in Records
	bytes int

	done chan struct{} // closed when the answer is known
	err  error         // the answer
}

type recordID struct{ table, key string }

// A batch stops gathering beyond these, so that nobody waits for a very large one.
const (
	gatherOps   = 1024
	gatherBytes = 1 << 20
)

func newBatch(h Head) *batch {
	return &batch{Batch: Batch{Prev: h, Head: h}, place: map[recordID]int{}, done: make(chan struct{})}
}

func (b *batch) takes(it *item, l Limits) bool {
	if len(b.Entries) == 0 || !it.durable() {
		return true
	}
	return len(b.Records)+len(b.Entries)+it.ops() <= min(l.Ops, gatherOps) && b.bytes+it.bytes <= min(l.Bytes, gatherBytes)
}

func (b *batch) add(it *item) {
	b.items = append(b.items, it)
	b.Head = it.after
	if !it.durable() {
		return
	}
	b.Entries = append(b.Entries, it.entry)
	b.bytes += it.bytes
	for _, r := range it.records {
		id := recordID{r.Table, r.Key}
		if i, again := b.place[id]; again {
			b.Records[i] = r
			continue
		}
		b.place[id] = len(b.Records)
		b.Records = append(b.Records, r)
	}
}

func (b *batch) durable() bool { return len(b.Entries) > 0 }

// recent remembers the idempotency keys of the last commits that had one.
type recent struct {
	revs  map[string]Revision
	order []string
}

const maxRecent = 4096

func (r *recent) init() { r.revs = map[string]Revision{} }

func recentKey(o Origin) string {
	return strings.Join([]string{o.User, o.Project, o.Idempotency}, "\x00")
}

func (r *recent) get(o Origin) (Revision, bool) {
	if o.Idempotency == "" {
		return 0, false
	}
	rev, ok := r.revs[recentKey(o)]
	return rev, ok
}

func (r *recent) put(o Origin, rev Revision) {
	if o.Idempotency == "" {
		return
	}
	key := recentKey(o)
	if _, again := r.revs[key]; !again {
		r.order = append(r.order, key)
	}
	r.revs[key] = rev
	if len(r.order) > maxRecent {
		delete(r.revs, r.order[0])
		r.order = r.order[1:]
	}
}

// forget takes back a put whose commit was dropped.
func (r *recent) forget(o Origin, rev Revision) {
	if key := recentKey(o); o.Idempotency != "" && r.revs[key] == rev {
		delete(r.revs, key)
		for i := len(r.order) - 1; i >= 0; i-- {
			if r.order[i] == key {
				r.order = append(r.order[:i:i], r.order[i+1:]...)
				break
			}
		}
	}
}

func appendUint(b []byte, n uint64) []byte { return strconv.AppendUint(b, n, 10) }
