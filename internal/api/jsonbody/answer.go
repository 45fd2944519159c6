// SPDX-License-Identifier: Apache-2.0

package jsonbody

import (
	"net/http"
	"strconv"
)

// Send answers a request with a status and a body of known length.
func Send(w http.ResponseWriter, code int, body []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	w.Write(body) //nolint:errcheck // the client is gone, nobody to tell
}

// NeutronError is the body by which Neutron, and what stands for OpenDaylight, refuse a request. kind is the name that clients know.
func NeutronError(kind, message string) []byte {
	b := AppendString([]byte(`{"NeutronError":{"type":`), kind)
	b = AppendString(append(b, `,"message":`...), message)
	return append(b, `,"detail":""}}`...)
}
