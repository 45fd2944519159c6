// SPDX-License-Identifier: Apache-2.0

package alloc

import "fmt"

// ConflictError says that a wanted value belongs to somebody else.
type ConflictError struct {
	What  string // "mac address", "ip address", "vxlan segment", "flat network"
	Value string
	Where string // the network or physical network in which it must be unique; may be empty
	Owner string // id of the object that has it
}

func (e *ConflictError) Error() string {
	s := e.What + " " + e.Value
	if e.Where != "" {
		s += " on " + e.Where
	}
	return s + ": in use by " + e.Owner
}

// ExhaustedError says that nothing is free.
type ExhaustedError struct {
	What  string // "key", "mac address", "ip address", "vxlan segment"
	Where string
}

func (e *ExhaustedError) Error() string {
	return fmt.Sprintf("%s of %s: none is free", e.What, e.Where)
}

// InvalidError says that a wanted value can never be given.
type InvalidError struct {
	What   string
	Value  string
	Reason string
}

func (e *InvalidError) Error() string { return fmt.Sprintf("%s %s: %s", e.What, e.Value, e.Reason) }
