// SPDX-License-Identifier: Apache-2.0

package ovsdb

import (
	"errors"
	"fmt"
)

// Code is the "error" string of an <error> object (RFC 7047 section 3.1). Test for
// one with errors.Is(err, ovsdb.ConstraintViolation).
type Code string

// The codes of RFC 7047 sections 4.1 and 5.2 and of ovsdb-server(7).
const (
	ConstraintViolation  Code = "constraint violation"
	ReferentialIntegrity Code = "referential integrity violation"
	TimedOut             Code = "timed out" // a wait operation's condition was not met
	NotOwner             Code = "not owner" // assert: the session does not own the lock
	Aborted              Code = "aborted"
	Canceled             Code = "canceled"
	NotSupported         Code = "not supported"
	DuplicateUUIDName    Code = "duplicate uuid-name"
	DuplicateUUID        Code = "duplicate uuid"
	RangeError           Code = "range error"
	DomainError          Code = "domain error"
	ResourcesExhausted   Code = "resources exhausted"
	IOError              Code = "I/O error"
	PermissionError      Code = "permission error"
	NotAllowed           Code = "not allowed"
	SyntaxFault          Code = "syntax error"
	UnknownDatabase      Code = "unknown database"
	UnknownTable         Code = "unknown table"
	UnknownColumn        Code = "unknown column"
	UnknownMethod        Code = "unknown method"
)

func (c Code) Error() string { return string(c) }

// ServerError is an error that the server answered to a whole request.
type ServerError struct {
	Method  string
	Code    Code
	Details string
}

func (e *ServerError) Error() string {
	return withDetails(fmt.Sprintf("ovsdb %s: %s", e.Method, string(e.Code)), e.Details)
}

// Unwrap gives the Code.
func (e *ServerError) Unwrap() error { return e.Code }

// OpError is the error that made a transaction fail. Index counts its operations
// from 0; Index equal to their number means the commit itself (RFC 7047 section
// 4.1.3): an integrity or index check over the whole transaction.
type OpError struct {
	Index   int
	Op      string // "insert", ...; "commit" when Index is past the last
	Table   string
	Code    Code
	Details string
}

func (e *OpError) Error() string {
	at := fmt.Sprintf("ovsdb transaction, operation %d (%s", e.Index, e.Op)
	if e.Table != "" {
		at += " " + e.Table
	}
	return withDetails(at+"): "+string(e.Code), e.Details)
}

// Unwrap gives the Code.
func (e *OpError) Unwrap() error { return e.Code }

func withDetails(text, details string) string {
	if details == "" {
		return text
	}
	return text + ": " + details
}

// EncodeError is a value of ours that the protocol cannot carry.
type EncodeError struct {
	Column string
	Err    error
}

func (e *EncodeError) Error() string {
	return fmt.Sprintf("column %s: %v", e.Column, e.Err)
}

func (e *EncodeError) Unwrap() error { return e.Err }

// Why a session ended; Session.Err wraps one of these or the transport's error.
var (
	// ErrClosed: Close was called on our side.
	ErrClosed = errors.New("ovsdb session closed")
	// ErrInactive: the peer sent nothing, not even the answer to a probe.
	ErrInactive = errors.New("ovsdb peer silent")
	// ErrProtocol: the peer sent well-formed JSON that RFC 7047 does not allow.
	ErrProtocol = errors.New("ovsdb protocol violated by peer")
	// ErrBacklog: the peer does not read what it is sent.
	ErrBacklog = errors.New("ovsdb peer does not read")
)
