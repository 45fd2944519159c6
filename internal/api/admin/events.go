// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Event is a commit that changed objects: who asked, when, and what became of which.
type Event struct {
	Commit
	Project string   `json:"project,omitempty"`
	Changes []Change `json:"changes"`
}

// Change is one object in an Event. Values are not told; who is to see them asks the API that shows them.
type Change struct {
	Kind   string `json:"kind"` // e.g. "ports", "port-statuses", "nodes": the table's name
	ID     string `json:"id"`
	Change string `json:"change"` // created, updated or deleted
}

// Events hands over the events after a revision, oldest first, then as they come, until ctx ends or f fails. lost: the log no
// longer holds all that came before these, which may be none.
type Events func(ctx context.Context, after uint64, f func(es []Event, lost bool) error) error

// maxStreams bounds the streams of events that are open at once.
const maxStreams = 256

// beat is how often a stream without events shows that it lives.
const beat = 15 * time.Second

// stream serves GET /events as server-sent events (the HTML standard, section 9.2). An event's id is its revision: a client that
// was cut off goes on with Last-Event-ID, or ?since=REVISION; without either it gets what comes from now on. ?kind=ports,networks
// leaves out other kinds. An event named "lost" says that some before it are no longer in the log.
type stream struct {
	events Events
	newest func(context.Context) (uint64, error)
	beat   time.Duration

	mu   sync.Mutex
	open int
}

func (s *stream) take() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open >= maxStreams {
		return fmt.Errorf("%w: %d streams of events are open already; close one", errBusy, s.open)
	}
	s.open++
	return nil
}

func (s *stream) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
}

// errBusy is answered with 503.
var errBusy = errors.New("too many")

func (s *stream) serve(w http.ResponseWriter, r *http.Request) error {
	since, err := s.since(r)
	if err != nil {
		return err
	}
	kinds := strings.FieldsFunc(r.URL.Query().Get("kind"), func(c rune) bool { return c == ',' })
	if err := s.take(); err != nil {
		return err
	}
	defer s.release()
	out := &lines{w: w, rc: http.NewResponseController(w)}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	if out.write(": nagare\n\n") != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(r.Context())
	var beating sync.WaitGroup
	beating.Go(func() {
		t := time.NewTicker(s.beat)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				if out.write(": \n\n") != nil {
					cancel() // nobody reads
					return
				}
			}
		}
	})
	defer beating.Wait()
	defer cancel()
	// Its end is the client's, or the server's; either way nobody is there to be told of it.
	_ = s.events(ctx, since, func(es []Event, lost bool) error {
		if lost {
			if err := out.write("event: lost\ndata: {}\n\n"); err != nil {
				return err
			}
		}
		for _, e := range es {
			if len(kinds) > 0 {
				e.Changes = slices.DeleteFunc(slices.Clone(e.Changes), func(c Change) bool { return !slices.Contains(kinds, c.Kind) })
			}
			if len(e.Changes) == 0 {
				continue
			}
			b, err := json.Marshal(e)
			if err != nil {
				return err
			}
			if err := out.write(fmt.Sprintf("id: %d\ndata: %s\n\n", e.Revision, b)); err != nil {
				return err
			}
		}
		return nil
	})
	return nil
}

// since is the revision that the client knows already.
func (s *stream) since(r *http.Request) (uint64, error) {
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		n, err := strconv.ParseUint(id, 10, 64)
		if err != nil {
			return 0, errors.Join(ErrBadInput, fmt.Errorf("Last-Event-ID %q: want the id of an event", id))
		}
		return n, nil
	}
	if r.URL.Query().Has("since") {
		return number(r, "since")
	}
	return s.newest(r.Context())
}

// lines writes to a client that may be slow or gone; events and beats take turns.
type lines struct {
	mu sync.Mutex
	w  http.ResponseWriter
	rc *http.ResponseController
}

// stall is how long a client may leave unread what was sent to it.
const stall = 30 * time.Second

func (l *lines) write(s string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.rc.SetWriteDeadline(time.Now().Add(stall)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := l.w.Write([]byte(s)); err != nil {
		return err
	}
	return l.rc.Flush()
}
