// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"

	"nagare/internal/api/jsonbody"
	"nagare/internal/identity"
)

// fault is an error with an HTTP status and what RFC 8040 section 7.1 wants to know of it.
type fault struct {
	status int
	kind   string // transport, rpc, protocol or application
	tag    string
	msg    string
}

func (f *fault) Error() string { return f.msg }

func unknown(what, name string) error {
	return &fault{http.StatusBadRequest, "protocol", "unknown-element", fmt.Sprintf("%s %q is not known here", what, name)}
}

func invalid(format string, args ...any) error {
	return &fault{http.StatusBadRequest, "protocol", "invalid-value", fmt.Sprintf(format, args...)}
}

func malformed(format string, args ...any) error {
	return &fault{http.StatusBadRequest, "protocol", "malformed-message", fmt.Sprintf(format, args...)}
}

func unsupported(format string, args ...any) error {
	return &fault{http.StatusNotImplemented, "application", "operation-not-supported", fmt.Sprintf(format, args...)}
}

var (
	errMissing   = &fault{http.StatusNotFound, "application", "data-missing", "Request could not be completed because the relevant data model content does not exist"}
	errForbidden = &fault{http.StatusForbidden, "protocol", "access-denied", "this is data of all projects: it is for administrators, services and readers of the whole system"}
	errNotReady  = &fault{http.StatusServiceUnavailable, "transport", "resource-denied", "the server is not ready yet; try again"}
	errBusy      = &fault{http.StatusServiceUnavailable, "transport", "resource-denied", "too many subscribers; close one, or try again"}
	errToken     = &fault{http.StatusUnauthorized, "protocol", "access-denied", "the stream's location has no valid token, or it has expired; get a new location at .../streams/stream/<name>"}
)

func (c *call) fail(err error) {
	var f *fault
	if !errors.As(err, &f) { // of Auth
		f = &fault{identity.Deny(c.w.Header(), err), "protocol", "access-denied", err.Error()}
		switch f.status {
		case http.StatusUnauthorized:
			f.msg = "authentication is required: send valid credentials"
		case http.StatusServiceUnavailable:
			c.cfg.Log.Warn("restconf request failed", "path", c.r.URL.Path, "error", err)
			f = &fault{f.status, "transport", "resource-denied", "nobody can tell at present who you are; try again"}
		}
	}
	switch {
	case f == errToken:
		c.w.Header().Set("WWW-Authenticate", identity.Challenge)
	case f.status == http.StatusServiceUnavailable:
		c.w.Header().Set("Retry-After", "1")
	}
	media, ok := c.accepted()
	if !ok {
		media = c.media[0]
	}
	c.w.Header().Set("Content-Type", media)
	if isXML(media) {
		c.send(f.status, f.xml())
		return
	}
	c.send(f.status, jsonbody.Append(nil, map[string]any{c.errors: map[string]any{"error": []any{map[string]any{
		"error-type": f.kind, "error-tag": f.tag, "error-message": f.msg}}}}))
}

// xml is an error as a document (RFC 8040 section 7.1).
func (f *fault) xml() []byte {
	b := append([]byte(`<errors xmlns="`), nsRESTCONF+`"><error><error-type>`+f.kind+"</error-type><error-tag>"+f.tag+"</error-tag><error-message>"...)
	var msg bytes.Buffer
	xml.EscapeText(&msg, []byte(f.msg)) //nolint:errcheck // a buffer takes everything
	return append(append(b, msg.Bytes()...), "</error-message></error></errors>"...)
}

// answer sends a value in the form that the client accepts.
func (c *call) answer(status int, body map[string]any) error {
	media, ok := c.accepted()
	if !ok {
		return &fault{http.StatusNotAcceptable, "protocol", "invalid-value", "answers are JSON; accept " + c.media[0]}
	}
	c.w.Header().Set("Content-Type", media)
	c.send(status, jsonbody.Append(nil, body))
	return nil
}

func (c *call) send(status int, body []byte) { jsonbody.Send(c.w, status, body) }
