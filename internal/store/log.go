// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
)

// Log makes commits durable: the records of all persistent tables, an entry per commit, and the head (the newest revision).
// One owner at a time appends; taking the log over (Fence) locks out whoever had it before, requests still under way
// included. Implementations are etcd, embedded or not, and memory.
//
// A store calls Fence, then Load, then Append for one batch after another. Entries may be read at any time.
type Log interface {
	// Fence makes the caller the owner and returns the head and the new term, which is above every earlier one. The first
	// call takes the log from whoever has it; a later one, made when an Append's outcome is unknown, returns ErrFenced if
	// somebody else took it meanwhile.
	Fence(ctx context.Context) (Head, uint64, error)
	// Load calls f with batches of the records of a table, in key order; f keeps the slice.
	Load(ctx context.Context, table string, f func([]Record) error) error
	// Append applies the batch whole or not at all. nil: applied. ErrFenced: not applied, never again. Any other error
	// leaves open whether it was or will be; Fence settles it.
	Append(ctx context.Context, b *Batch) error
	// Entries returns entries in order of revision, from the lowest not below from, at most limit.
	Entries(ctx context.Context, from Revision, limit int) ([]Entry, error)
	// Trim deletes entries below the revision, and gives their space back.
	Trim(ctx context.Context, below Revision) error
	// Limits says how much one Append takes.
	Limits() Limits
	// Close ends the use of the log.
	Close() error
}

// Head is the log's newest state. Offset counts the bytes of all entries ever appended.
type Head struct {
	Revision Revision
	Offset   uint64
}

func (h Head) String() string { return fmt.Sprintf("%d %d", h.Revision, h.Offset) }

func parseHead(s string) (h Head, err error) {
	if _, err = fmt.Sscanf(s, "%d %d", &h.Revision, &h.Offset); err != nil {
		return Head{}, fmt.Errorf("log head %q: %w", s, err)
	}
	return h, nil
}

// Record is the stored form of a record. A nil Value deletes.
type Record struct {
	Table, Key string
	Value      []byte
}

// Entry is the stored form of a commit's log entry.
type Entry struct {
	Revision Revision
	Data     []byte
}

// Batch is what one Append applies: consecutive commits. No record occurs twice.
type Batch struct {
	Prev, Head Head
	Records    []Record
	Entries    []Entry
}

// Limits bounds a batch: operations (records and entries) and the bytes of keys and values.
type Limits struct{ Ops, Bytes int }
