// SPDX-License-Identifier: Apache-2.0

package rpc

import "nagare/ovsdb/internal/jsonscan"

// AppendRequest appends a request up to its params, which the caller appends (a
// JSON array) before End. A nil id makes a notification.
func AppendRequest(b []byte, id []byte, method string) []byte {
	b = append(b, `{"id":`...)
	b = appendID(b, id)
	b = append(b, `,"method":`...)
	b = jsonscan.AppendString(b, method)
	return append(b, `,"params":`...)
}

// AppendReply appends a response up to its result, which the caller appends.
func AppendReply(b []byte, id []byte) []byte {
	b = append(b, `{"id":`...)
	b = appendID(b, id)
	return append(b, `,"error":null,"result":`...)
}

// AppendFault appends a whole error response. details may be empty.
func AppendFault(b []byte, id []byte, code, details string) []byte {
	b = append(b, `{"id":`...)
	b = appendID(b, id)
	b = append(b, `,"result":null,"error":`...)
	if details == "" {
		b = jsonscan.AppendString(b, code)
		return End(b)
	}
	b = append(b, `{"error":`...)
	b = jsonscan.AppendString(b, code)
	b = append(b, `,"details":`...)
	b = jsonscan.AppendString(b, details)
	return append(b, "}}"...)
}

// End closes what AppendRequest or AppendReply began.
func End(b []byte) []byte { return append(b, '}') }

func appendID(b, id []byte) []byte {
	if id == nil {
		return append(b, "null"...)
	}
	return append(b, id...)
}
