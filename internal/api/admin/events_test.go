// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"nagare/internal/identity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// history is a log of ten commits, of which the first two are lost; then it waits for more that do not come.
func history(ctx context.Context, after uint64, f func([]Event, bool) error) error {
	lost := after < 2
	for rev := max(after, 2) + 1; rev <= 10; rev++ {
		kind := "ports"
		if rev%2 == 0 {
			kind = "networks"
		}
		if err := f([]Event{{Commit: Commit{Revision: rev}, Changes: []Change{{Kind: kind, ID: "x", Change: "updated"}}}}, lost); err != nil {
			return err
		}
		lost = false
	}
	<-ctx.Done()
	return ctx.Err()
}

func streaming(t *testing.T, events Events, beat time.Duration) *httptest.Server {
	t.Helper()
	s := &stream{events: events, beat: beat, newest: func(context.Context) (uint64, error) { return 8, nil }}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.serve(w, r); err != nil {
			fail(w, err)
		}
	}))
	t.Cleanup(srv.Close)
	return srv
}

// read opens a stream and returns its status and its first n lines that are not empty.
func read(t *testing.T, url, last string, n int) (int, []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out []string
	for lines := bufio.NewScanner(resp.Body); len(out) < n && lines.Scan(); {
		if lines.Text() != "" {
			out = append(out, lines.Text())
		}
	}
	return resp.StatusCode, out
}

func TestEvents(t *testing.T) {
	srv := streaming(t, history, time.Hour)
	for name, c := range map[string]struct {
		query, last string
		want        string // first characters of the lines after the greeting
	}{
		"from now on":            {"", "", "id: 9|data: |id: 10|data: "},
		"since":                  {"?since=7", "", "id: 8|data: |id: 9|data: |id: 10|data: "},
		"taken up again":         {"?since=0", "9", "id: 10|data: "},
		"some are lost":          {"?since=0", "", "event: lost|data: {}|id: 3|data: |id: 4|data: "},
		"one kind":               {"?since=6&kind=ports", "", "id: 7|data: |id: 9|data: "},
		"two kinds, one unknown": {"?since=6&kind=ports,shoes", "", "id: 7|data: |id: 9|data: "},
	} {
		want := strings.Split(": nagare|"+c.want, "|")
		code, got := read(t, srv.URL+c.query, c.last, len(want))
		if code != http.StatusOK || len(got) != len(want) {
			t.Errorf("%s: %d, %q", name, code, got)
			continue
		}
		for i := range want {
			if !strings.HasPrefix(got[i], want[i]) {
				t.Errorf("%s: line %d is %q, want %q", name, i, got[i], want[i])
			}
		}
	}
	for _, bad := range []struct{ query, last string }{{"?since=yesterday", ""}, {"", "x"}, {"?since=-1", ""}} {
		if code, _ := read(t, srv.URL+bad.query, bad.last, 1); code != http.StatusBadRequest {
			t.Errorf("%v: %d, want 400", bad, code)
		}
	}
}

// TestEventsBeat: a stream without events shows that it lives.
func TestEventsBeat(t *testing.T) {
	quiet := func(ctx context.Context, _ uint64, _ func([]Event, bool) error) error { <-ctx.Done(); return ctx.Err() }
	if code, got := read(t, streaming(t, quiet, time.Millisecond).URL, "", 4); code != http.StatusOK || len(got) != 4 || got[3] != ": " {
		t.Errorf("%d, %q", code, got)
	}
}

// TestEventsAreBounded: more streams than are allowed are refused, and one that ends makes room.
func TestEventsAreBounded(t *testing.T) {
	s := &stream{}
	for range maxStreams {
		if err := s.take(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.take(); !errors.Is(err, errBusy) {
		t.Errorf("%v, want that it is refused", err)
	}
	s.release()
	if err := s.take(); err != nil {
		t.Error(err)
	}
}

// TestFaults: what each kind of error is answered with.
func TestFaults(t *testing.T) {
	for err, want := range map[error]int{
		ErrNotFound: 404, ErrBadInput: 400, ErrUnauthorized: 401, ErrForbidden: 403, ErrUnavailable: 503, errBusy: 503, errors.New("a bug"): 500,
		&identity.LockedError{RetryAfter: 3 * time.Second}: 429,
	} {
		w := httptest.NewRecorder()
		fail(w, err)
		if w.Code != want || want == 429 && w.Header().Get("Retry-After") != "3" {
			t.Errorf("%v: %d, %v; want %d", err, w.Code, w.Header(), want)
		}
	}
}
