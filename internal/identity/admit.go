// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"context"
	"net/http"
	"slices"
	"time"
)

// Outlasting is a Validator that tells also who a token stood for that ended by its time lately, at most ExpiredWindow ago. Whatever else
// ends a token ends it here too.
type Outlasting interface {
	ValidateExpired(ctx context.Context, token string) (Principal, error)
}

// ExpiredWindow is how long after its end a token is good still with a service token beside it, as Keystone has it.
const ExpiredWindow = 48 * time.Hour

// Admit tells who makes a request of one of our services, which is of the type (network, identity) as the catalog has it. A token with
// access rules must have one for the request; else the token counts as bad, as it does with Keystone's own middleware.
//
// X-Service-Token is what another service (Nova) sends beside its user's token, so that work that takes long ends well though the token
// has expired meanwhile. It must be good and have the role service, else the request counts as nobody's.
func Admit(v Validator, service string, r *http.Request) (Principal, error) {
	validate := v.Validate
	if _, open := v.(None); !open && r.Header.Get("X-Service-Token") != "" {
		s, err := v.Validate(r.Context(), r.Header.Get("X-Service-Token"))
		if err == nil && !s.IsService() {
			err = ErrUnauthorized
		}
		if err != nil {
			return Principal{}, err
		}
		if o, ok := v.(Outlasting); ok {
			validate = o.ValidateExpired
		}
	}
	p, err := validate(r.Context(), r.Header.Get("X-Auth-Token"))
	if err == nil && !p.permitted(service, r.Method, r.URL.Path) {
		err = ErrUnauthorized
	}
	if err != nil {
		return Principal{}, err
	}
	return p, nil
}

// permitted reports whether the token's access rules let the request pass.
func (p *Principal) permitted(service, method, path string) bool {
	return p.Only == nil || slices.ContainsFunc(p.Only, func(a AccessRule) bool { return a.Permits(service, method, path) })
}
