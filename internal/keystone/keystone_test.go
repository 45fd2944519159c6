// SPDX-License-Identifier: Apache-2.0

package keystone

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"

	"nagare/internal/identity"
	"nagare/internal/store"
	"nagare/internal/tables"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a Keystone (the built-in Identity, which serves the same API) with faults to order, and a Validator that asks it.
type world struct {
	t     *testing.T
	st    *store.Store
	front *httptest.Server
	v     *Validator
	asked atomic.Int32  // questions about tokens
	fault atomic.Int32  // answer to everything; 0: none
	hold  chan struct{} // not nil: the one question waits for it
	there chan struct{} // and closes this before

	mu  sync.Mutex
	now time.Time
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, st: store.New(tables.Schema, nil), now: time.Now().UTC()}
	if err := identity.Bootstrap(t.Context(), w.st, "admin secret", identity.WithDemoPassword("demo secret"), identity.WithPasswordCost(bcrypt.MinCost)); err != nil {
		t.Fatal(err)
	}
	var h http.Handler
	w.front = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.URL.Path == "/v3/auth/tokens" {
			w.asked.Add(1)
			if w.hold != nil {
				close(w.there)
				<-w.hold
			}
		}
		if f := w.fault.Load(); f != 0 {
			rw.WriteHeader(int(f))
			return
		}
		h.ServeHTTP(rw, r)
	}))
	t.Cleanup(w.front.Close)
	h = identity.New(identity.Config{Store: w.st, PublicURL: w.front.URL + "/v3", NetworkURL: "http://127.0.0.1:9", Now: w.clock, PasswordCost: bcrypt.MinCost}).Handler()
	w.v = New(Config{AuthURL: w.front.URL + "/v3", User: "admin", UserDomain: "Default", Password: "admin secret", Project: "admin", ProjectDomain: "Default",
		HTTP: w.front.Client(), Now: w.clock})
	return w
}

func (w *world) login() string {
	w.t.Helper()
	r, err := w.front.Client().Post(w.front.URL+"/v3/auth/tokens", "application/json", strings.NewReader(
		`{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"demo","domain":{"id":"default"},"password":"demo secret"}}},
		"scope":{"project":{"name":"demo","domain":{"id":"default"}}}}}`))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusCreated {
		w.t.Fatal(r.Status)
	}
	return r.Header.Get("X-Subject-Token")
}

func (w *world) revoke(token string) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodDelete, w.front.URL+"/v3/auth/tokens", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("X-Auth-Token", token)
	r.Header.Set("X-Subject-Token", token)
	answer, err := w.front.Client().Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusNoContent {
		w.t.Fatal(answer.Status)
	}
}

// expect asks the Validator and holds what it says: "ok", "unauthorized" or "nobody can say"; and how often Keystone was asked so far.
func (w *world) expect(token, want string, asked int) {
	w.t.Helper()
	who, err := w.v.Validate(w.t.Context(), token)
	got := "nobody can say"
	switch {
	case err == nil:
		got = "ok"
		if who.UserName != "demo" || who.ProjectName != "demo" || who.ProjectID == "" || who.UserDomain != "default" || !slices.Contains(who.Roles, "member") || who.IsAdmin() {
			w.t.Errorf("the token stands for %+v", who)
		}
	case errors.Is(err, identity.ErrUnauthorized):
		got = "unauthorized"
	}
	if got != want || int(w.asked.Load()) != asked {
		w.t.Errorf("%s (%v) after %d questions, want %s after %d", got, err, w.asked.Load(), want, asked)
	}
}

func TestValidate(t *testing.T) {
	w := newWorld(t)
	token := w.login()
	w.expect(token, "ok", 1)
	w.expect(token, "ok", 1) // believed
	w.expect("nonsense", "unauthorized", 2)
	w.expect("nonsense", "unauthorized", 2)
	w.expect("", "unauthorized", 2)
	w.expect(strings.Repeat("x", 1<<20), "unauthorized", 2)
	w.pass(11 * time.Second)
	w.expect("nonsense", "unauthorized", 3) // asked again
	w.revoke(token)
	w.expect(token, "ok", 3) // for a while
	w.pass(5 * time.Minute)
	w.expect(token, "unauthorized", 4)
}

func TestEndOfToken(t *testing.T) {
	w := newWorld(t)
	token := w.login()
	w.pass(58 * time.Minute)
	w.expect(token, "ok", 1)
	w.pass(3 * time.Minute) // still believed by age, but over
	w.expect(token, "unauthorized", 1)
}

// TestOutage: while Keystone is ill, tokens that it confirmed lately go on, and of others nobody says that they are wrong.
func TestOutage(t *testing.T) {
	w := newWorld(t)
	token, fresh := w.login(), w.login()
	w.expect(token, "ok", 1)
	for i, fault := range []int32{http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusForbidden, http.StatusUnauthorized} {
		w.fault.Store(fault)
		before := int(w.asked.Load())
		w.expect(token, "ok", before)
		if _, err := w.v.Validate(t.Context(), fmt.Sprint(fresh, i)); err == nil || errors.Is(err, identity.ErrUnauthorized) {
			t.Errorf("answer %d: %v, want an error that does not blame the token", fault, err)
		}
	}
	w.pass(6 * time.Minute)
	if _, err := w.v.Validate(t.Context(), token); err != nil {
		t.Errorf("six minutes after Keystone confirmed it: %v", err)
	}
	w.pass(5 * time.Minute)
	if _, err := w.v.Validate(t.Context(), token); err == nil || errors.Is(err, identity.ErrUnauthorized) {
		t.Errorf("eleven minutes after: %v, want an error that does not blame the token", err)
	}
	w.fault.Store(0)
	if _, err := w.v.Validate(t.Context(), fresh); err != nil {
		t.Errorf("when Keystone is well again: %v", err)
	}
}

// TestOneQuestion: many requests with one token ask once, and one of them giving up does not spoil it for the others.
func TestOneQuestion(t *testing.T) {
	w := newWorld(t)
	w.hold, w.there = make(chan struct{}), make(chan struct{})
	token := w.login()
	var all sync.WaitGroup
	hasty, giveUp := context.WithCancel(t.Context())
	all.Go(func() {
		if _, err := w.v.Validate(hasty, token); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, of one who gave up", err)
		}
	})
	<-w.there
	giveUp()
	for range 50 {
		all.Go(func() {
			if _, err := w.v.Validate(t.Context(), token); err != nil {
				t.Error(err)
			}
		})
	}
	close(w.hold)
	all.Wait()
	if n := w.asked.Load(); n != 1 {
		t.Errorf("Keystone was asked %d times", n)
	}
}

// TestAuthenticate: where a token may stand in a request.
func TestAuthenticate(t *testing.T) {
	w := newWorld(t)
	token := w.login()
	for name, c := range map[string]struct {
		header, value string
		ok            bool
	}{
		"token": {"X-Auth-Token", token, true}, "bearer": {"Authorization", "bearer " + token, true}, "basic": {"Authorization", "Basic ZGVtbzpkZW1v", false},
		"nothing": {"Cookie", token, false}, "half": {"Authorization", "Bearer", false},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set(c.header, c.value)
		who, err := w.v.Authenticate(r)
		if c.ok && (err != nil || who.UserName != "demo") || !c.ok && !errors.Is(err, identity.ErrUnauthorized) {
			t.Errorf("%s: %+v, %v", name, who, err)
		}
	}
}
