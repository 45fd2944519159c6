// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"
)

// What networking-odl is configured to by default.
const (
	attempts           = 6 // retry_count 5
	requestTimeout     = 10 * time.Second
	firstPause         = 100 * time.Millisecond
	longestPause       = time.Minute
	processingTimeout  = 100 * time.Second
	MaintenanceEvery   = 300 * time.Second // maintenance_interval
	contentType        = "application/json"
	basePath           = "/controller/nb/v2/neutron/"
	statusFirstFailure = 400
)

func sortRows(rows []*Row) { slices.SortFunc(rows, func(a, b *Row) int { return a.Seq - b.Seq }) }

// Worker is one journal thread: it claims a row, sends it, claims the next. Several work on one journal.
type Worker struct {
	n     *Neutron
	row   *Row
	pause time.Duration // after a connection that failed
	wake  time.Time
}

// Worker makes another journal thread.
func (n *Neutron) Worker() *Worker { return &Worker{n: n} }

// Busy reports whether the worker holds a row.
func (w *Worker) Busy() bool { return w.row != nil }

// Claim takes a row, if the worker does not sleep and one is free.
func (w *Worker) Claim() bool {
	w.n.mu.Lock()
	defer w.n.mu.Unlock()
	if w.row != nil || w.n.Now.Before(w.wake) {
		return w.row != nil
	}
	w.row = w.n.journal.claim(w.n.Now)
	return w.row != nil
}

// Die forgets what the worker was doing, as a killed process does. Its row stays processing until maintenance finds it.
func (w *Worker) Die() { w.row, w.pause, w.wake = nil, 0, time.Time{} }

// Send sends the claimed row once and does with it what the answer asks for. It returns the error of a connection that failed
// before an answer; the worker then sleeps, and the row waits without having lost an attempt.
func (w *Worker) Send(ctx context.Context) error {
	r := w.row
	code, text, err := w.n.send(ctx, r)
	n := w.n
	n.mu.Lock()
	defer n.mu.Unlock()
	w.row = nil
	n.Sent++
	if r.gone || r.State != Processing {
		return nil // maintenance thought the worker dead and took the row
	}
	var late net.Error
	slow := errors.As(err, &late) && late.Timeout()
	if err != nil && !slow {
		n.journal.enqueue(r)
		w.pause = min(max(2*w.pause, firstPause), longestPause)
		w.wake = n.Now.Add(w.pause)
		return err
	}
	if n.Told != nil {
		n.Told(r, code, text)
	}
	if err == nil && code < statusFirstFailure {
		w.pause = 0
		n.journal.drop(r)
		return nil
	}
	w.pause = 0
	r.Tries++
	n.Refused++
	if r.Tries >= attempts {
		n.journal.fail(r)
	} else {
		n.journal.enqueue(r)
	}
	return nil
}

// send makes a row's request.
func (n *Neutron) send(ctx context.Context, r *Row) (int, []byte, error) {
	res := resources[r.Kind]
	switch r.Op {
	case Create:
		return n.do(ctx, http.MethodPost, res.path, map[string]Object{res.one: r.Body})
	case Update:
		return n.do(ctx, http.MethodPut, res.path+"/"+r.ID, map[string]Object{res.one: r.Body})
	default:
		return n.do(ctx, http.MethodDelete, res.path+"/"+r.ID, nil)
	}
}

// do sends a request as the client's library does: credentials unasked, a body with two spaces' indent, a content type even
// where there is no body.
func (n *Neutron) do(ctx context.Context, method, path string, body any) (int, []byte, error) {
	var r io.Reader
	if body != nil {
		text, err := json.MarshalIndent(body, "", "  ")
		if err != nil {
			return 0, nil, err
		}
		r = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, n.URL+basePath+path, r)
	if err != nil {
		return 0, nil, err
	}
	req.GetBody = nil // a request of unknown outcome is sent again by the journal or not at all
	req.SetBasicAuth(n.User, n.Password)
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Accept", "*/*")
	req.Header.Set("User-Agent", "python-requests/2.28.1")
	resp, err := n.HTTP.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, err
	}
	return resp.StatusCode, answer, nil
}

// Get reads a path under the base and, if the status is 200, its JSON.
func (n *Neutron) Get(ctx context.Context, path string, into any) (int, error) {
	code, text, err := n.do(ctx, http.MethodGet, path, nil)
	if err != nil || code != http.StatusOK || into == nil {
		return code, err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return code, fmt.Errorf("GET %s: %w: %.200s", path, err, text)
	}
	return code, nil
}
