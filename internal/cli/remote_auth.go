// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// The request body of POST /v3/auth/tokens (Identity API v3, password authentication with project scope).
type (
	identityDomain struct {
		ID   string `json:"id,omitempty"`
		Name string `json:"name,omitempty"`
	}
	identityUser struct {
		Name     string         `json:"name"`
		Domain   identityDomain `json:"domain"`
		Password string         `json:"password"`
	}
	identityProject struct {
		ID     string          `json:"id,omitempty"`
		Name   string          `json:"name,omitempty"`
		Domain *identityDomain `json:"domain,omitempty"`
	}
	identityRequest struct {
		Auth struct {
			Identity struct {
				Methods  []string `json:"methods"`
				Password struct {
					User identityUser `json:"user"`
				} `json:"password"`
			} `json:"identity"`
			Scope *identityScope `json:"scope,omitempty"`
		} `json:"auth"`
	}
	identityScope struct {
		Project identityProject `json:"project"`
	}
)

// authenticate asks the Identity of OS_AUTH_URL for a token by the variables that the openstack client reads.
func (r *remote) authenticate(ctx context.Context) (string, error) {
	target, err := tokensURL(r.getenv("OS_AUTH_URL"))
	if err != nil {
		return "", err
	}
	body, err := r.credentials()
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(body)
	if err != nil {
		return "", fmt.Errorf("identity request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(payload))
	if err != nil {
		return "", fmt.Errorf("identity %s: %w", target, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	where := "identity " + strings.TrimSuffix(target, "/auth/tokens")
	status, header, answer, err := exchange(r.http, req)
	if err != nil {
		if ctx.Err() != nil {
			return "", fmt.Errorf("%s: %w", where, ctx.Err())
		}
		return "", fmt.Errorf("%s: %w; is OS_AUTH_URL right, and `nagare serve` running there?", where, err)
	}
	token := header.Get("X-Subject-Token")
	switch {
	case status == http.StatusCreated && token != "":
		return token, nil
	case status == http.StatusUnauthorized:
		return "", fmt.Errorf("%s: user %s, project %s: %s; check OS_USERNAME, OS_PASSWORD, OS_PROJECT_NAME and OS_USER_DOMAIN_NAME, or: %s",
			where, body.Auth.Identity.Password.User.Name, projectText(body), orText(errorMessage(answer), "refused"), adminHint)
	}
	return "", fmt.Errorf("%s: answered %d %s; OS_AUTH_URL must name an Identity v3, like http://127.0.0.1:5000/v3",
		where, status, orText(errorMessage(answer), http.StatusText(status)))
}

// tokensURL is where tokens are asked for. OS_AUTH_URL may leave out /v3, as with the openstack client.
func tokensURL(authURL string) (string, error) {
	u, err := url.Parse(authURL)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("OS_AUTH_URL %q: not an http URL; name an Identity v3, like http://127.0.0.1:5000/v3", authURL)
	}
	base := u.Scheme + "://" + u.Host + strings.TrimRight(u.EscapedPath(), "/")
	if !strings.HasSuffix(base, "/v3") {
		base += "/v3"
	}
	return base + "/auth/tokens", nil
}

// credentials is the token request that the variables describe.
func (r *remote) credentials() (*identityRequest, error) {
	first := func(names ...string) string {
		for _, n := range names {
			if v := r.getenv(n); v != "" {
				return v
			}
		}
		return ""
	}
	domain := func(what string) identityDomain {
		if id := r.getenv("OS_" + what + "_DOMAIN_ID"); id != "" {
			return identityDomain{ID: id}
		}
		return identityDomain{Name: orText(first("OS_"+what+"_DOMAIN_NAME", "OS_DEFAULT_DOMAIN"), "Default")}
	}
	for _, needed := range []string{"OS_USERNAME", "OS_PASSWORD"} {
		if r.getenv(needed) == "" {
			return nil, fmt.Errorf("%s: not set, but OS_AUTH_URL is and server %s asks who you are: %s", needed, r.server, adminHint)
		}
	}
	q := &identityRequest{}
	q.Auth.Identity.Methods = []string{"password"}
	q.Auth.Identity.Password.User = identityUser{Name: r.getenv("OS_USERNAME"), Password: r.getenv("OS_PASSWORD"), Domain: domain("USER")}
	if id := r.getenv("OS_PROJECT_ID"); id != "" {
		q.Auth.Scope = &identityScope{identityProject{ID: id}}
	} else if name := first("OS_PROJECT_NAME", "OS_TENANT_NAME"); name != "" {
		d := domain("PROJECT")
		q.Auth.Scope = &identityScope{identityProject{Name: name, Domain: &d}}
	}
	return q, nil
}

func projectText(q *identityRequest) string {
	if q.Auth.Scope == nil {
		return "of default"
	}
	return orText(q.Auth.Scope.Project.Name, q.Auth.Scope.Project.ID)
}

// orText is s, or other if s is empty.
func orText(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
