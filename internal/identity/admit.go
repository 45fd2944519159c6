// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"net/http"
	"slices"
)

// Admit tells who makes a request of one of our services, which is of the type (network, identity) as the catalog has it. A token with
// access rules must have one for the request; else the token counts as bad, as it does with Keystone's own middleware.
func Admit(v Validator, service string, r *http.Request) (Principal, error) {
	p, err := v.Validate(r.Context(), r.Header.Get("X-Auth-Token"))
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
