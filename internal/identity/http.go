// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"nagare/internal/api/jsonbody"
	"nagare/internal/store"
)

// fault is an error with an HTTP status.
type fault struct {
	code int
	msg  string
}

func (f *fault) Error() string { return f.msg }

func badRequest(format string, args ...any) error { return &fault{400, fmt.Sprintf(format, args...)} }
func conflict(format string, args ...any) error   { return &fault{409, fmt.Sprintf(format, args...)} }
func notFound(what, id string) error {
	return &fault{404, fmt.Sprintf("Could not find %s: %s.", what, id)}
}

var (
	errUnauthenticated = &fault{401, "The request you have made requires authentication."}
	errForbidden       = &fault{403, "You are not authorized to perform the requested action."}
)

// call is one request in the making.
type call struct {
	*Service
	w    http.ResponseWriter
	r    *http.Request
	ses  *session // nil on routes that need no token
	snap *store.Snapshot
	id   string // request id
}

func (c *call) admin() bool {
	if c.ses == nil {
		return false
	}
	p := c.ses.principal()
	return p.HasRole(RoleAdmin) // not of a domain: who could give roles would be administrator of all with one request
}

// who says which callers a route serves.
type who int

const (
	anyone who = iota
	loggedIn
	adminOnly
)

func (s *Service) route(pattern string, w who, f func(*call) error) {
	s.mux.HandleFunc(pattern, func(rw http.ResponseWriter, r *http.Request) {
		c := &call{Service: s, w: rw, r: r, snap: s.cfg.Store.Snapshot(), id: rw.Header().Get(requestIDHeader)}
		if err := c.serve(w, f); err != nil {
			c.fail(err)
		}
	})
}

func (c *call) serve(w who, f func(*call) error) error {
	if w != anyone {
		ses, err := resolve(c.snap, c.r.Header.Get("X-Auth-Token"), c.cfg.Now())
		if err != nil {
			return errUnauthenticated
		}
		if p := ses.principal(); !p.permitted("identity", c.r.Method, c.r.URL.Path) && !c.showsToken() {
			return errUnauthenticated
		}
		c.ses = ses
		if w == adminOnly && !c.admin() {
			return errForbidden
		}
	}
	return f(c)
}

// showsToken reports whether the request looks a token up, which every token may.
func (c *call) showsToken() bool {
	return (c.r.Method == http.MethodGet || c.r.Method == http.MethodHead) && c.r.URL.Path == "/v3/auth/tokens"
}

const requestIDHeader = "X-Openstack-Request-Id"

// Handler serves the API below /v3 and the version list at the root.
func (s *Service) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(requestIDHeader, "req-"+uuid.NewString())
		w.Header().Set("Vary", "X-Auth-Token")
		if p := r.URL.Path; len(p) > 1 && strings.HasSuffix(p, "/") {
			r = r.Clone(r.Context())
			r.URL.Path, r.URL.RawPath = strings.TrimRight(p, "/"), ""
			if r.URL.Path == "" {
				r.URL.Path = "/"
			}
		}
		h, pattern := s.mux.Handler(r)
		if pattern == "" {
			code := 404
			for _, m := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
				probe := r.Clone(r.Context())
				probe.Method = m
				if _, p := s.mux.Handler(probe); p != "" {
					code = 405
					break
				}
			}
			writeError(w, code, "")
			return
		}
		_ = h
		s.mux.ServeHTTP(w, r)
	})
}

func (c *call) fail(err error) {
	var f *fault
	var large *store.TooLargeError
	var locked *LockedError
	switch {
	case errors.As(err, &locked):
		writeError(c.w, Deny(c.w.Header(), err), "Too many wrong credentials; wait and try again.")
	case errors.As(err, &large):
		writeError(c.w, http.StatusRequestEntityTooLarge, fmt.Sprintf("The change of %d records is too large for one request.", large.Ops))
	case errors.As(err, &f):
		if f.code == 401 {
			c.w.Header().Set("WWW-Authenticate", `Keystone uri="`+c.cfg.PublicURL+`"`)
		}
		writeError(c.w, f.code, f.msg)
	default: // of the store: not available, or the client went away
		c.cfg.Log.Warn("identity request failed", "request", c.id, "path", c.r.URL.Path, "err", err)
		writeError(c.w, 503, "The service cannot store or read data at present; try again later.")
	}
}

func writeError(w http.ResponseWriter, code int, msg string) {
	title := http.StatusText(code)
	if msg == "" {
		msg = title
	}
	write(w, code, map[string]any{"error": map[string]any{"code": code, "title": title, "message": msg}})
}

func write(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	b := jsonbody.Append(nil, body)
	w.Header().Set("Content-Length", fmt.Sprint(len(b)))
	w.WriteHeader(code)
	w.Write(b) //nolint:errcheck // the client is gone, nobody to tell
}

func (c *call) ok(code int, body any) error {
	write(c.w, code, body)
	return nil
}

func (c *call) none() error {
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// body decodes the request's body and gives the object under the wrapper.
func (c *call) body(wrapper string) (map[string]any, error) {
	if enc := c.r.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return nil, badRequest("Content-Encoding %s is not understood; send the body as it is.", enc)
	}
	v, err := jsonbody.Decode(c.r.Body)
	if err != nil {
		return nil, badRequest("Expecting to find valid JSON in the request body: %s.", err)
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, badRequest("Expecting to find a JSON object in the request body.")
	}
	obj, ok := m[wrapper].(map[string]any)
	if !ok {
		return nil, badRequest("Expecting to find %s in the request body.", wrapper)
	}
	return obj, nil
}

func (c *call) commit(f func(*store.Txn) error) error {
	o := store.Origin{Request: c.id, Action: c.r.Method + " " + c.r.URL.Path}
	if c.ses != nil {
		o.User = c.ses.user.ID
		if c.ses.proj != nil {
			o.Project = string(c.ses.proj.ID)
		}
	}
	return c.commitAs(c.r.Context(), o, f)
}

func (c *call) commitAs(ctx context.Context, o store.Origin, f func(*store.Txn) error) error {
	r, err := c.cfg.Store.Commit(ctx, o, f)
	if err == nil {
		c.snap = r.Snapshot
	}
	return err
}

func (s *Service) routes() {
	s.mux = http.NewServeMux()
	s.route("GET /{$}", anyone, (*call).versions)
	s.route("GET /v3", anyone, (*call).version)

	s.route("POST /v3/auth/tokens", anyone, (*call).authenticate)
	s.route("GET /v3/auth/tokens", loggedIn, (*call).showToken) // HEAD too
	s.route("DELETE /v3/auth/tokens", loggedIn, (*call).revokeToken)
	s.route("GET /v3/auth/catalog", loggedIn, (*call).showCatalog)
	s.route("GET /v3/auth/projects", loggedIn, (*call).myProjects)
	s.route("GET /v3/auth/domains", loggedIn, (*call).myDomains)

	registerKind(s, domainKind)
	registerKind(s, projectKind)
	registerKind(s, userKind)
	registerKind(s, roleKind)
	s.route("POST /v3/users/{id}/password", loggedIn, (*call).changePassword)
	s.route("GET /v3/users/{id}/projects", loggedIn, (*call).userProjects)
	credentials := "/v3/users/{id}/application_credentials"
	s.route("GET "+credentials, loggedIn, ownAppCredentials(false, (*call).listAppCredentials))
	s.route("POST "+credentials, loggedIn, ownAppCredentials(true, (*call).createAppCredential))
	s.route("GET "+credentials+"/{credential}", loggedIn, ownAppCredentials(false, (*call).showAppCredential))
	s.route("DELETE "+credentials+"/{credential}", loggedIn, ownAppCredentials(false, (*call).deleteAppCredential))
	rules := "/v3/users/{id}/access_rules"
	s.route("GET "+rules, loggedIn, ownAppCredentials(false, (*call).listAccessRules))
	s.route("GET "+rules+"/{rule}", loggedIn, ownAppCredentials(false, (*call).showAccessRule))
	s.route("DELETE "+rules+"/{rule}", loggedIn, ownAppCredentials(false, (*call).deleteAccessRule))

	for _, target := range []string{"projects", "domains"} {
		base := "/v3/" + target + "/{target}/users/{user}/roles"
		s.route("GET "+base, adminOnly, assignmentCall(target, (*call).listGrants))
		s.route("GET "+base+"/{role}", adminOnly, assignmentCall(target, (*call).checkGrant))
		s.route("PUT "+base+"/{role}", adminOnly, assignmentCall(target, (*call).grant))
		s.route("DELETE "+base+"/{role}", adminOnly, assignmentCall(target, (*call).revoke))
	}
	s.route("GET /v3/system/users/{user}/roles", adminOnly, assignmentCall("system", (*call).listGrants))
	s.route("GET /v3/system/users/{user}/roles/{role}", adminOnly, assignmentCall("system", (*call).checkGrant))
	s.route("PUT /v3/system/users/{user}/roles/{role}", adminOnly, assignmentCall("system", (*call).grant))
	s.route("DELETE /v3/system/users/{user}/roles/{role}", adminOnly, assignmentCall("system", (*call).revoke))
	s.route("GET /v3/role_assignments", loggedIn, (*call).listAssignments)

	s.route("GET /v3/services", adminOnly, (*call).listServices)
	s.route("GET /v3/services/{id}", adminOnly, (*call).showService)
	s.route("GET /v3/endpoints", adminOnly, (*call).listEndpoints)
	s.route("GET /v3/regions", loggedIn, (*call).listRegions)
	s.route("GET /v3/regions/{id}", loggedIn, (*call).showRegion)
}
