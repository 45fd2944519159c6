// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
)

// Fault is what goes wrong with a request on its way.
type Fault int

// Faults of the way.
const (
	None    Fault = iota
	Refused       // the connection fails before the request
	Cut           // the request is applied, and the connection fails before the answer
	Broken        // somebody on the way answers 502
	Slow          // the request is applied, but the client has stopped waiting
	Twice         // the client stops waiting, and the request is applied only after the client's next attempt of the same
	Late          // the client stops waiting, and the request arrives long after, from a connection that is closed
)

// Wire is a way to the server with faults. Choose decides each request's.
type Wire struct {
	Next   http.RoundTripper
	Choose func(*http.Request) Fault // nil: none

	mu   sync.Mutex
	kept []kept
}

// kept is a request that its sender has given up.
type kept struct {
	req   *http.Request
	body  string
	twice bool
}

var errCut = errors.New("connection reset by peer")

// timeoutError is a net.Error as a client's deadline makes it.
type timeoutError struct{}

func (timeoutError) Error() string   { return "read timed out" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

// RoundTrip sends a request or does what its fault is.
func (w *Wire) RoundTrip(req *http.Request) (*http.Response, error) {
	fault := None
	if w.Choose != nil {
		fault = w.Choose(req)
	}
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		req.Body.Close()
	}
	switch fault {
	case Refused:
		return nil, errCut
	case Broken:
		return &http.Response{StatusCode: http.StatusBadGateway, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("bad gateway")), Request: req}, nil
	case Twice, Late:
		w.mu.Lock()
		w.kept = append(w.kept, kept{req, string(body), fault == Twice})
		w.mu.Unlock()
		return nil, timeoutError{}
	}
	resp, err := w.Next.RoundTrip(again(req.Context(), req, body))
	if err != nil {
		return nil, err
	}
	for _, k := range w.same(req, body) {
		if err := w.arrive(context.Background(), k); err != nil {
			return nil, err
		}
	}
	switch fault {
	case Cut:
		resp.Body.Close()
		return nil, errCut
	case Slow:
		resp.Body.Close()
		return nil, timeoutError{}
	}
	return resp, nil
}

func again(ctx context.Context, req *http.Request, body []byte) *http.Request {
	out := req.Clone(ctx)
	out.Body, out.ContentLength = http.NoBody, int64(len(body))
	if len(body) > 0 {
		out.Body = io.NopCloser(bytes.NewReader(body))
	}
	return out
}

// same takes out what was kept of earlier attempts of a request.
func (w *Wire) same(req *http.Request, body []byte) []kept {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out, rest []kept
	for _, k := range w.kept {
		if k.twice && k.req.Method == req.Method && k.req.URL.Path == req.URL.Path && k.body == string(body) {
			out = append(out, k)
		} else {
			rest = append(rest, k)
		}
	}
	w.kept = rest
	return out
}

// Arrive lets everything that was given up reach the server. Its senders have closed their connections, as a server sees by the
// requests' contexts, but for those that harmless picks: their connections only look alive, through somebody in between. It
// returns how many there were.
func (w *Wire) Arrive(harmless func(method, path, body string) bool) (int, error) {
	w.mu.Lock()
	late := w.kept
	w.kept = nil
	w.mu.Unlock()
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	var err error
	for _, k := range late {
		ctx := gone
		if harmless(k.req.Method, k.req.URL.Path, k.body) {
			ctx = context.Background()
		}
		err = errors.Join(err, w.arrive(ctx, k))
	}
	return len(late), err
}

func (w *Wire) arrive(ctx context.Context, k kept) error {
	resp, err := w.Next.RoundTrip(again(ctx, k.req, []byte(k.body)))
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Local is a server in the same process, without a socket between: the request's context stands for its connection.
type Local struct{ Handler http.Handler }

// RoundTrip has the handler answer.
func (l Local) RoundTrip(req *http.Request) (*http.Response, error) {
	in := req.Clone(req.Context())
	in.RequestURI, in.RemoteAddr, in.Host = req.URL.RequestURI(), "192.0.2.1:40000", req.URL.Host
	if in.Body == nil {
		in.Body = http.NoBody
	}
	rec := httptest.NewRecorder()
	l.Handler.ServeHTTP(rec, in)
	in.Body.Close()
	return rec.Result(), nil
}
