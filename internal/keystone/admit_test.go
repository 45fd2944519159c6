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
