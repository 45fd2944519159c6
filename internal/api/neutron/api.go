// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"nagare/internal/alloc"
	"nagare/internal/api/jsonbody"
	"nagare/internal/identity"
	"nagare/internal/model"
	"nagare/internal/policy"
	"nagare/internal/store"
)

// Config configures an API. Store and Auth are needed.
type Config struct {
	Store *store.Store
	Auth  identity.Validator
	IDs   alloc.IDs // default alloc.Random
	Alloc *alloc.Allocator
	// PublicURL is where clients reach the API, without /v2.0, for links; empty: as the request names it.
	PublicURL string
	// IdentityURL is told to callers without a token.
	IdentityURL string
	// Quotas are the limits of a project by resource ("port": 500); -1 is none. nil means DefaultQuotas; a resource that a
	// non-nil map leaves out has no limit.
	Quotas map[string]int
	// Profile is the pipeline's: "standard" (also if empty) or "classic". It decides which extensions hold true and are advertised.
	Profile string
	// MaxAddressPairs is how many allowed address pairs a port may have, DefaultAddressPairs if zero.
	MaxAddressPairs int
	// UnderlayMTU is that of the physical networks, 1500 if zero; tunnelled networks get what is left of it.
	UnderlayMTU int
	// DNSDomain is the suffix of ports' names, default "openstacklocal.".
	DNSDomain string
	// Facts are what the operator says of the deployment.
	Facts Facts
	// NativeDHCP says that the controller serves DHCP: our DHCP ports are on no node, and ACTIVE. DHCPServerHost is then needed.
	NativeDHCP bool
	// Routers says that the data plane routes: without it there are no routers and floating IPs in the API.
	Routers bool
	// StoredOnly adds resources that are stored and shown and change no packet; see whereStored.
	StoredOnly bool
	// ReadOnly refuses every change, and the objects that lists would make, with these words: who owns the networks instead, and
	// what to do. Empty: changes are taken.
	ReadOnly string
	// DHCPServerHost is the host that DHCP ports' device ids name; empty: the node that the port is placed on.
	DHCPServerHost string
	Log            *slog.Logger
	Now            func() time.Time
}

// filters reports whether the pipeline enforces groups and port security.
func (c *Config) filters() bool { return c.Profile != "classic" }

// API is the Networking API. It is an http.Handler, safe for concurrent use.
type API struct {
	cfg         Config
	store       *store.Store
	ids         alloc.IDs
	alloc       *alloc.Allocator
	collections map[string]collection      // by path
	extensions  []extension                // in order of their aliases
	down        atomic.Pointer[alloc.Down] // see PlaceGateways
	policy      atomic.Pointer[policy.Set] // see SetPolicy
}

// endpoint answers requests below one collection's path.
type endpoint interface {
	serve(rq *request, rest []string) error
}

type endpointFunc func(rq *request, rest []string) error

func (f endpointFunc) serve(rq *request, rest []string) error { return f(rq, rest) }

// ruledFunc is an endpointFunc that asks for policy rules of its own.
type ruledFunc func(rq *request, rest []string) error

func (f ruledFunc) serve(rq *request, rest []string) error { return f(rq, rest) }

// New returns the API.
func New(cfg Config) *API {
	if cfg.IDs == nil {
		cfg.IDs = alloc.Random{}
	}
	if cfg.Alloc == nil {
		cfg.Alloc = &alloc.Allocator{}
	}
	if cfg.Quotas == nil {
		cfg.Quotas = DefaultQuotas
	}
	if cfg.UnderlayMTU == 0 {
		cfg.UnderlayMTU = 1500
	}
	cfg.Facts.complete()
	if cfg.MaxAddressPairs == 0 {
		cfg.MaxAddressPairs = DefaultAddressPairs
	}
	if cfg.DNSDomain == "" {
		cfg.DNSDomain = "openstacklocal."
	}
	if !strings.HasSuffix(cfg.DNSDomain, ".") {
		cfg.DNSDomain += "."
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.PublicURL = strings.TrimSuffix(cfg.PublicURL, "/")
	a := &API{cfg: cfg, store: cfg.Store, ids: cfg.IDs, alloc: cfg.Alloc}
	a.register()
	return a
}

// request is one call in the making.
type request struct {
	api   *API
	w     http.ResponseWriter
	r     *http.Request
	id    string
	who   identity.Principal
	query url.Values
	under *under // the object below whose path it is; see nest
	rule  string // of an action; empty: an update
}

func (rq *request) view(r store.Reader) *view {
	v := &view{r: r, api: rq.api, who: rq.who, under: rq.under, query: rq.query}
	v.rights(rq.api.policy.Load())
	return v
}

const requestIDHeader = "X-Openstack-Request-Id"

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rq := &request{api: a, w: w, r: r, id: "req-" + uuid.NewString()}
	w.Header().Set(requestIDHeader, rq.id)
	w.Header().Set("Content-Type", "application/json")
	if err := rq.serve(); err != nil {
		rq.refuse(err)
	}
}

func (rq *request) serve() error {
	path := rq.r.URL.Path
	if path == "/" || path == "" {
		return rq.versions()
	}
	var err error
	if rq.who, err = identity.Admit(rq.api.cfg.Auth, "network", rq.r); err != nil {
		if errors.Is(err, identity.ErrUnauthorized) {
			return errUnauthorized
		}
		return err
	}
	if len(rq.who.Roles) == 0 || rq.who.DomainID != "" {
		return fail(http.StatusForbidden, "PolicyNotAuthorized", "The token gives no role here; ask for one that is scoped to a project")
	}
	if rq.query, err = url.ParseQuery(rq.r.URL.RawQuery); err != nil {
		return badRequest("The query string is malformed")
	}
	rest, ok := strings.CutPrefix(path, "/v2.0/")
	if !ok {
		return notFoundPath()
	}
	if rest == "" || rest == ".json" {
		return rq.resources()
	}
	seg := strings.Split(strings.TrimSuffix(rest, ".json"), "/")
	c, n := rq.api.collection(seg)
	if n == 0 || slices.Contains(seg, "") {
		return notFoundPath()
	}
	if m := rq.r.Method; rq.api.cfg.ReadOnly != "" && m != http.MethodGet && m != http.MethodHead {
		return conflict("NorthboundReadOnly", "%s is refused: %s", rq.action(), rq.api.cfg.ReadOnly)
	}
	if name := c.seeName(); name != "" && !rq.view(rq.api.store.Snapshot()).permits(name, true, "") {
		return forbidden(name, nil)
	}
	return c.endpoint.serve(rq, seg[n:])
}

var errUnauthorized = errors.New("no valid token")

func (rq *request) refuse(err error) {
	var e *Error
	switch {
	case errors.Is(err, errUnauthorized):
		rq.w.Header().Set("WWW-Authenticate", `Keystone uri="`+rq.api.cfg.IdentityURL+`"`)
		rq.send(http.StatusUnauthorized, jsonbody.Append(nil, map[string]any{"error": map[string]any{"code": 401, "title": "Unauthorized",
			"message": "The request you have made requires authentication."}}))
		return
	case errors.As(err, &e):
	default:
		if rq.r.Context().Err() == nil {
			rq.api.cfg.Log.Error("request not served", "request", rq.id, "action", rq.action(), "err", err)
		}
		e = fail(http.StatusServiceUnavailable, "ServiceUnavailable", "The service cannot store or read data at present; try again later. (Request-ID: %s)", rq.id)
	}
	rq.send(e.Status, jsonbody.NeutronError(e.Type, e.Message))
}

func (rq *request) send(code int, body []byte) { jsonbody.Send(rq.w, code, body) }

func (rq *request) answer(code int, body []byte) error {
	rq.send(code, body)
	return nil
}

func (rq *request) action() string { return rq.r.Method + " " + rq.r.URL.Path }

// base is the URL that links begin with.
func (rq *request) base() string {
	if u := rq.api.cfg.PublicURL; u != "" {
		return u
	}
	if rq.r.TLS != nil {
		return "https://" + rq.r.Host
	}
	return "http://" + rq.r.Host
}

// body decodes the request's body.
func (rq *request) body() (map[string]any, error) {
	if enc := rq.r.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return nil, badRequest("Content-Encoding %s is not understood; send the body as it is", show(enc))
	}
	v, err := jsonbody.Decode(rq.r.Body)
	var dup *jsonbody.DuplicateKeyError
	switch {
	case errors.Is(err, jsonbody.ErrEmpty):
		return nil, badRequest("Resource body required")
	case errors.As(err, &dup):
		return nil, badRequest("Body contains invalid data: key '%s' occurs twice", show(dup.Key))
	case errors.Is(err, jsonbody.ErrTooLarge), errors.Is(err, jsonbody.ErrTooDeep):
		return nil, badRequest("Body contains invalid data: %s", err)
	case err != nil:
		return nil, badRequest("Body contains invalid data")
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, badRequest("Body contains invalid data")
	}
	return m, nil
}

// commit runs f as the request's one transaction and gives the state after it. f may run more than once.
func (rq *request) commit(f func(*work) error) (store.Reader, error) {
	now := rq.api.cfg.Now().UTC().Truncate(time.Second)
	o := store.Origin{Request: rq.id, User: rq.who.UserID, Project: string(rq.who.ProjectID), Action: rq.action()}
	res, err := rq.api.store.Commit(rq.r.Context(), o, func(tx *store.Txn) error {
		return f(&work{view: *rq.view(tx), tx: tx, now: now, made: map[string]int{}})
	})
	var large *store.TooLargeError
	if errors.As(err, &large) {
		return nil, fail(http.StatusRequestEntityTooLarge, "HTTPRequestEntityTooLarge", "The change of %d records and %d bytes is too large; split it", large.Ops, large.Bytes)
	}
	if err != nil {
		return nil, fromAlloc(err)
	}
	return res.Snapshot, nil
}

// ifMatch refuses a change of an object that has moved on since the caller read it.
func (rq *request) ifMatch(s *model.Std) error {
	for _, h := range rq.r.Header.Values("If-Match") {
		want, ok := strings.CutPrefix(strings.TrimSpace(h), "revision_number=")
		n, err := strconv.Atoi(want)
		if !ok || err != nil || n == s.RevisionNo {
			continue
		}
		return fail(http.StatusPreconditionFailed, "RevisionNumberConstraintFailed",
			"Constrained to %d, but current revision is %d", n, s.RevisionNo)
	}
	return nil
}

// versions answers the root, for which no token is needed.
func (rq *request) versions() error {
	if rq.r.Method != http.MethodGet && rq.r.Method != http.MethodHead {
		return methodNotAllowed(rq.r.Method)
	}
	return rq.answer(http.StatusOK, jsonbody.Append(nil, map[string]any{"versions": []any{map[string]any{"id": "v2.0", "status": "CURRENT",
		"links": []any{map[string]any{"rel": "self", "href": rq.base() + "/v2.0/"}}}}}))
}

// resources lists the collections.
func (rq *request) resources() error {
	if rq.r.Method != http.MethodGet && rq.r.Method != http.MethodHead {
		return methodNotAllowed(rq.r.Method)
	}
	out := []any{}
	for _, path := range slices.Sorted(maps.Keys(rq.api.collections)) {
		if c := rq.api.collections[path]; c.name != "" {
			out = append(out, map[string]any{"name": c.name, "collection": c.plural,
				"links": []any{map[string]any{"rel": "self", "href": rq.base() + "/v2.0/" + path}}})
		}
	}
	return rq.answer(http.StatusOK, jsonbody.Append(nil, map[string]any{"resources": out}))
}
