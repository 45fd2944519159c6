// SPDX-License-Identifier: Apache-2.0

package openflow

import (
	"errors"
	"fmt"
)

// Reasons inside a FormatError; test with errors.Is.
var (
	ErrTruncated = errors.New("truncated")
	ErrLength    = errors.New("wrong length")
	ErrDuplicate = errors.New("appears twice")
	ErrDepth     = errors.New("nested too deep")
	ErrValue     = errors.New("bad value")
	ErrTooLarge  = errors.New("too large")
)

// FormatError tells that bytes from the peer are not well-formed OpenFlow.
type FormatError struct {
	What   string // the object: "match field 0x8000/5", "flow stats"
	Offset int    // bytes from the start of the part being decoded
	Err    error  // one of the sentinels above
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("openflow: %s at byte %d: %v", e.What, e.Offset, e.Err)
}

func (e *FormatError) Unwrap() error { return e.Err }

func formatErr(what string, ofs int, err error) error {
	return &FormatError{What: what, Offset: ofs, Err: err}
}
