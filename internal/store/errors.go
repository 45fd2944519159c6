// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
)

// ErrUnavailable says that a commit's outcome is unknown or that none is possible now: the durable log did not answer, or it
// answered too late. The writes may or may not appear; a retry is right, with an idempotency key if it must not happen twice.
// ErrFenced and ErrClosed are kinds of it.
var ErrUnavailable = errors.New("store: not available now, try again")

// ErrFenced says that another process has taken over the durable log. This store will never commit again; the process should
// end.
var ErrFenced = fmt.Errorf("%w: another process has taken over the log", ErrUnavailable)

// ErrClosed says that the store was closed.
var ErrClosed = fmt.Errorf("%w: closed", ErrUnavailable)

// errConflict is Append's answer when the log's head is not the batch's Prev.
var errConflict = errors.New("log head is not where this process left it")

// TooLargeError says that one commit exceeds what the durable log takes in one transaction. Nothing changed; the caller
// splits the work.
type TooLargeError struct {
	Ops, MaxOps     int // records written, plus the log's own
	Bytes, MaxBytes int
}

func (e *TooLargeError) Error() string {
	if e.Ops > e.MaxOps {
		return fmt.Sprintf("commit of %d records: the log takes %d at once; split it", e.Ops, e.MaxOps)
	}
	return fmt.Sprintf("commit of %d bytes: the log takes %d at once; split it", e.Bytes, e.MaxBytes)
}

// CorruptError says that a stored record cannot be read. Opening fails rather than losing it.
type CorruptError struct {
	Table, Key string
	Err        error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("stored record %s/%s: %v; restore a backup or correct the record", e.Table, e.Key, e.Err)
}

func (e *CorruptError) Unwrap() error { return e.Err }
