// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"context"
	"testing"

	"nagare/internal/identity"
)

// ruled is a Validator whose one token may list ports.
type ruled struct{ tokens }

func (r ruled) Validate(ctx context.Context, token string) (identity.Principal, error) {
	p, err := r.tokens.Validate(ctx, token)
	if token == "demo" {
		p.Only = []identity.AccessRule{{Service: "network", Method: "GET", Path: "/v2.0/ports"}}
	}
	return p, err
}

// ValidateExpired knows a token that has ended.
func (r ruled) ValidateExpired(ctx context.Context, token string) (identity.Principal, error) {
	if token == "demo of yesterday" {
		return people["demo"], nil
	}
	return r.Validate(ctx, token)
}

// TestAdmitted: access rules and service tokens count in the API; internal/identity tests them whole.
func TestAdmitted(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Auth = ruled{} })
	for _, c := range []struct {
		token, service, method, path string
		want                         int
	}{
		{"demo", "", "GET", "/v2.0/ports", 200}, {"demo", "", "GET", "/v2.0/networks", 401}, {"demo", "", "HEAD", "/v2.0/ports", 401},
		{"demo", "service", "GET", "/v2.0/networks", 401}, {"other", "", "GET", "/v2.0/networks", 200},
		{"demo of yesterday", "", "GET", "/v2.0/ports", 401}, {"demo of yesterday", "service", "GET", "/v2.0/ports", 200},
		{"demo of yesterday", "other", "GET", "/v2.0/ports", 401}, {"other", "rubbish", "GET", "/v2.0/ports", 401}, {"other", "admin", "GET", "/v2.0/ports", 401},
	} {
		if a := w.send(c.token, c.method, c.path, "", "X-Service-Token", c.service); a.code != c.want {
			t.Errorf("%v: %d %s", c, a.code, a.text)
		}
	}
}
