// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"nagare/internal/store"
)

// admit puts a request of the network service to a Validator.
func admit(v Validator, token, service string) (Principal, error) {
	r := httptest.NewRequest("GET", "/v2.0/ports", nil)
	r.Header.Set("X-Auth-Token", token)
	if service != "" {
		r.Header.Set("X-Service-Token", service)
	}
	return Admit(v, "network", r)
}

func TestServiceTokens(t *testing.T) {
	w := newWorld(t)
	w.addUser("nova", "nova's secret", RoleService, "demo")
	user, revoked := w.login("demo", "demo secret", projectScope("demo")), w.login("demo", "demo secret", projectScope("demo"))
	w.do(revoked, "DELETE", "/v3/auth/tokens", "", 204, "X-Subject-Token", revoked)
	w.now = w.now.Add(30 * time.Minute)
	late := w.login("demo", "demo secret", projectScope("demo"))
	expect := func(what, token, service string, want bool) {
		t.Helper()
		p, err := admit(w.svc, token, service)
		if (err == nil) != want || err != nil && !errors.Is(err, ErrUnauthorized) || want && (p.UserName != "demo" || p.IsService()) || !want && p.UserID != "" {
			t.Errorf("%s: %+v, %v", what, p, err)
		}
	}
	nova := func() string { return w.login("nova", "nova's secret", projectScope("demo")) }
	admin := func() string { return w.login("admin", secret, projectScope("admin")) }
	expect("a good token with a service's", user, nova(), true)
	expect("a good token with rubbish", user, "rubbish", false)
	expect("a good token with a user's", user, late, false)
	expect("a good token with an administrator's", user, admin(), false)
	expect("no token with a service's", "", nova(), false)
	expect("a revoked token", revoked, nova(), false)

	w.now = w.now.Add(31 * time.Minute)
	expect("an ended token", user, "", false)
	expect("an ended token with a service's", user, nova(), true)
	expect("an ended token with a user's", user, late, false)
	expect("an ended token with itself", user, user, false)
	expect("a revoked token that has ended", revoked, nova(), false)
	if _, err := admit(w.svc, user, user); err == nil {
		t.Error("an ended token is a service's")
	}
	// Other parts of Identity know nothing of it.
	w.do(user, "GET", "/v3/auth/projects", "", 401, "X-Service-Token", nova())
	// Validation over the API.
	for _, by := range []string{nova(), admin()} {
		w.do(by, "GET", "/v3/auth/tokens", "", 404, "X-Subject-Token", user)
		w.do(by, "GET", "/v3/auth/tokens?allow_expired=0", "", 404, "X-Subject-Token", user)
		w.do(by, "GET", "/v3/auth/tokens?allow_expired=1", "", 404, "X-Subject-Token", revoked)
		m, _ := w.do(by, "GET", "/v3/auth/tokens?allow_expired=1", "", 200, "X-Subject-Token", user)
		if dig(m, "token", "expires_at") != "2025-11-22T09:00:00.123456Z" {
			t.Errorf("token %v", m)
		}
	}
	w.do(late, "GET", "/v3/auth/tokens?allow_expired=1", "", 404, "X-Subject-Token", user)

	// A revocation outlasts what others revoke meanwhile.
	w.now = w.now.Add(47 * time.Hour)
	again := w.login("demo", "demo secret", projectScope("demo"))
	w.do(again, "DELETE", "/v3/auth/tokens", "", 204, "X-Subject-Token", again)
	expect("an ended token near the window's end", user, nova(), true)
	expect("a revoked token near the window's end", revoked, nova(), false)
	w.now = w.now.Add(59 * time.Minute)
	expect("an ended token beyond the window", user, nova(), false)
	w.do(admin(), "GET", "/v3/auth/tokens?allow_expired=1", "", 404, "X-Subject-Token", user)

	// What ends a token otherwise ends it here too.
	last := w.login("demo", "demo secret", projectScope("demo"))
	w.now = w.now.Add(2 * time.Hour)
	expect("an ended token", last, nova(), true)
	demo, _ := findUser(w.st.Snapshot(), "demo", DefaultDomain)
	w.do(admin(), "PATCH", "/v3/users/"+demo.ID, `{"user":{"password":"another secret"}}`, 200)
	expect("an ended token of a user with another password", last, nova(), false)

	// Without authentication nothing is judged.
	if p, err := admit(None{w.st}, "", "rubbish"); err != nil || !p.IsAdmin() {
		t.Errorf("without authentication: %+v, %v", p, err)
	}
}

// TestRevocationsEnd: those of no use any more go, a few with each new one, so that what is kept and what one costs stay small.
func TestRevocationsEnd(t *testing.T) {
	w := newWorld(t)
	keep := w.now.Add(-time.Hour) // of use for two days more
	if _, err := w.st.Commit(t.Context(), store.Origin{}, func(tx *store.Txn) error {
		for i := range 100 {
			id := fmt.Sprintf("~%03d", i) // after every audit id
			revocations.Put(tx, id, revocation{id, w.now.Add(-ExpiredWindow - time.Duration(i%2)*time.Nanosecond)})
		}
		revocations.Put(tx, "~000", revocation{"~000", keep})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	token := w.login("demo", "demo secret", projectScope("demo"))
	w.do(token, "DELETE", "/v3/auth/tokens", "", 204, "X-Subject-Token", token)
	if n := revocations.Len(w.st.Snapshot()); n != 100-7+1 { // eight are looked at, one of which is of use
		t.Errorf("%d revocations", n)
	}
	if _, ok := revocations.Get(w.st.Snapshot(), "~000"); !ok {
		t.Error("one that is of use went too")
	}
}
