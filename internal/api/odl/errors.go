// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// statusDependency is OpenDaylight's own status for an object whose parent is missing.
const statusDependency = 442

// Error is an answer that refuses a request. Type is the name that clients know.
type Error struct {
	Status  int
	Type    string
	Message string
	retry   time.Duration // when to come back; zero: does not help
}

func (e *Error) Error() string { return e.Type + ": " + e.Message }

func fail(status int, kind, format string, args ...any) *Error {
	return &Error{Status: status, Type: kind, Message: fmt.Sprintf(format, args...)}
}

func badRequest(format string, args ...any) *Error {
	return fail(http.StatusBadRequest, "HTTPBadRequest", format, args...)
}

func notFound(format string, args ...any) *Error {
	return fail(http.StatusNotFound, "HTTPNotFound", format, args...)
}

// maxShown bounds what an error repeats of a request.
const maxShown = 100

// show gives a value of a request as an error repeats it.
func show(v any) string {
	s := strings.ToValidUTF8(fmt.Sprint(v), "?")
	if len(s) > maxShown {
		s = strings.ToValidUTF8(s[:maxShown], "") + "..."
	}
	return s
}
