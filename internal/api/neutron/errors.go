// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"errors"
	"fmt"
	"net/http"

	"nagare/internal/alloc"
)

// Error is an answer that refuses a request. Type is the name that clients know.
type Error struct {
	Status  int
	Type    string
	Message string
}

func (e *Error) Error() string { return e.Type + ": " + e.Message }

func fail(status int, kind, format string, args ...any) *Error {
	return &Error{status, kind, fmt.Sprintf(format, args...)}
}

func badRequest(format string, args ...any) *Error {
	return fail(http.StatusBadRequest, "HTTPBadRequest", format, args...)
}

func invalidInput(format string, args ...any) *Error {
	return fail(http.StatusBadRequest, "InvalidInput", "Invalid input for operation: "+format+".", args...)
}

func conflict(kind, format string, args ...any) *Error {
	return fail(http.StatusConflict, kind, format, args...)
}

func notFoundPath() *Error {
	return fail(http.StatusNotFound, "HTTPNotFound", "The resource could not be found.")
}

func methodNotAllowed(method string) *Error {
	return fail(http.StatusMethodNotAllowed, "HTTPMethodNotAllowed", "The method %s is not allowed for this resource.", method)
}

func networkNotFound(id string) *Error {
	return fail(http.StatusNotFound, "NetworkNotFound", "Network %s could not be found.", id)
}

func subnetNotFound(id string) *Error {
	return fail(http.StatusNotFound, "SubnetNotFound", "Subnet %s could not be found.", id)
}

func groupNotFound(id string) *Error {
	return fail(http.StatusNotFound, "SecurityGroupNotFound", "Security group %s does not exist", id)
}

// reason is what a parser says of a value; the engine adds the attribute's name.
type reason string

func (r reason) Error() string { return string(r) }

func because(format string, args ...any) error { return reason(fmt.Sprintf(format, args...)) }

// exhausted turns an allocator's "none is free" into the API's error, and passes anything else on.
func exhausted(err error, as *Error) error {
	var e *alloc.ExhaustedError
	if errors.As(err, &e) {
		return as
	}
	return err
}

// fromAlloc covers what allocators say where no better words are known.
func fromAlloc(err error) error {
	var inv *alloc.InvalidError
	var con *alloc.ConflictError
	var exh *alloc.ExhaustedError
	switch {
	case errors.As(err, &inv):
		return invalidInput("%s", inv.Error())
	case errors.As(err, &con):
		return conflict("Conflict", "%s", con.Error())
	case errors.As(err, &exh):
		return conflict("ResourceExhausted", "%s", exh.Error())
	}
	return err
}
