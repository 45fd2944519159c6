// SPDX-License-Identifier: Apache-2.0

package keystone

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"nagare/internal/identity"
)

// post sends a body to Identity and gives the answer's, and the token that it may carry.
func (w *world) post(token, path, body string) (m map[string]any, subject string) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.front.URL+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("X-Auth-Token", token)
	answer, err := w.front.Client().Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&m); err != nil || answer.StatusCode != http.StatusCreated {
		w.t.Fatalf("POST %s: %s, %v, %v", path, answer.Status, m, err)
	}
	return m, answer.Header.Get("X-Subject-Token")
}

// admit puts a request of the network service to the Validator.
func (w *world) admit(method, path, token, service string) (identity.Principal, error) {
	r := httptest.NewRequestWithContext(w.t.Context(), method, path, nil)
	r.Header.Set("X-Auth-Token", token)
	if service != "" {
		r.Header.Set("X-Service-Token", service)
	}
	return identity.Admit(w.v, "network", r)
}

// TestAccessRules: Keystone tells us of a token with access rules because we say that we enforce them, and we do.
func TestAccessRules(t *testing.T) {
	w := newWorld(t)
	who, err := w.v.Validate(t.Context(), w.login())
	if err != nil || who.Only != nil {
		t.Fatalf("a token without rules: %+v, %v", who, err)
	}
	m, _ := w.post(w.login(), "/v3/users/"+who.UserID+"/application_credentials",
		`{"application_credential":{"name":"ruled","access_rules":[{"service":"network","method":"GET","path":"/v2.0/ports/{id}"}]}}`)
	c := m["application_credential"].(map[string]any)
	_, token := w.post("", "/v3/auth/tokens", fmt.Sprintf(
		`{"auth":{"identity":{"methods":["application_credential"],"application_credential":{"id":%q,"secret":%q}}}}`, c["id"], c["secret"]))
	for range 2 { // asked, and remembered
		if _, err := w.admit("GET", "/v2.0/ports/x", token, ""); err != nil {
			t.Errorf("what the rule permits: %v", err)
		}
		for _, request := range []string{"GET /v2.0/ports", "DELETE /v2.0/ports/x", "GET /v2.0/ports/x/y"} {
			method, path, _ := strings.Cut(request, " ")
			if _, err := w.admit(method, path, token, ""); !errors.Is(err, identity.ErrUnauthorized) {
				t.Errorf("%s, which no rule permits: %v", request, err)
			}
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/v2.0/ports/x", nil)
	r.Header.Set("X-Auth-Token", token)
	if _, err := w.v.Authenticate(r); !errors.Is(err, identity.ErrUnauthorized) {
		t.Errorf("the admin API, of which rules know nothing: %v", err)
	}
}

// service gives the administrator the role service, and a token of his.
func (w *world) service() string {
	w.t.Helper()
	body := `{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"admin","domain":{"id":"default"},"password":"admin secret"}}},
		"scope":{"project":{"name":"admin","domain":{"id":"default"}}}}}`
	m, token := w.post("", "/v3/auth/tokens", body)
	t := m["token"].(map[string]any)
	do := func(method, path string, into any) {
		w.t.Helper()
		r, err := http.NewRequestWithContext(w.t.Context(), method, w.front.URL+path, nil)
		if err != nil {
			w.t.Fatal(err)
		}
		r.Header.Set("X-Auth-Token", token)
		answer, err := w.front.Client().Do(r)
		if err != nil {
			w.t.Fatal(err)
		}
		defer answer.Body.Close()
		if answer.StatusCode >= 300 {
			w.t.Fatal(answer.Status)
		}
		if into != nil {
			if err := json.NewDecoder(answer.Body).Decode(into); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	var found struct{ Roles []struct{ ID string } }
	do(http.MethodGet, "/v3/roles?name=service", &found)
	do(http.MethodPut, fmt.Sprintf("/v3/projects/%s/users/%s/roles/%s", t["project"].(map[string]any)["id"], t["user"].(map[string]any)["id"], found.Roles[0].ID), nil)
	return token
}

// TestServiceToken: with a service's token beside it Keystone is asked whether one that has ended is good still, and both answers are kept.
func TestServiceToken(t *testing.T) {
	w := newWorld(t)
	expect := func(what, token, service string, want bool, asked int32) {
		t.Helper()
		before := w.asked.Load()
		who, err := w.admit("GET", "/v2.0/ports", token, service)
		if (err == nil) != want || err != nil && !errors.Is(err, identity.ErrUnauthorized) || want && who.UserName != "demo" {
			t.Errorf("%s: %+v, %v", what, who, err)
		}
		if n := w.asked.Load() - before; n != asked {
			t.Errorf("%s: asked %d times, want %d", what, n, asked)
		}
	}
	user, nova := w.login(), w.service()
	expect("a good token", user, "", true, 1)
	expect("with a service's, not known", user, nova, true, 1)
	expect("a good token that is known", user, nova, true, 0)
	expect("with rubbish", user, "rubbish", false, 1)
	expect("with a user's", user, user, false, 0)
	w.pass(2 * time.Hour)
	nova = w.service()
	expect("an ended token", user, "", false, 2) // our own has ended too: the question is put again with a new one
	expect("an ended token with a service's", user, nova, true, 2)
	expect("once more", user, nova, true, 0)
	expect("and without", user, "", false, 0)
	w.pass(identity.ExpiredWindow)
	expect("beyond Keystone's window", user, w.service(), false, 3)
	expect("nothing", "", w.service(), false, 1)
}
