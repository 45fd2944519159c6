// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"nagare/internal/alloc"
	"nagare/internal/api/jsonbody"
	"nagare/internal/identity"
	"nagare/internal/store"
)

// Base is the path under which the northbound is served.
const Base = "/controller/nb/v2/neutron"

// Limits of one body.
const (
	MaxBody  = 10 << 20
	MaxDepth = 64
)

// Config configures the northbound. Store and Auth are needed.
type Config struct {
	Store *store.Store
	Alloc *alloc.Allocator // for ports without a MAC address
	// Auth tells who calls; identity.Deny says how its errors are answered.
	Auth func(*http.Request) (identity.Principal, error)
	// Writable says that the intent is the client's. Otherwise every write is refused with the words of Master, who says whose it is.
	Writable bool
	Master   string
	// Strict answers as OpenDaylight does where we are kinder: 409 to a repeated POST, 442 to an object whose parent is missing.
	Strict bool
	// Ready says that the store is loaded and this server may answer; nil: it always is.
	Ready func() bool
	// Down are the nodes that cannot serve as gateways at present; nil: all can.
	Down func() alloc.Down
	// Profile is the pipeline's: "standard" (also if empty) or "classic".
	Profile string
	// NativeDHCP says that the controller answers DHCP for ports that are on no node.
	NativeDHCP bool
	Log        *slog.Logger
	Now        func() time.Time
}

// handler is the northbound. It is safe for concurrent use.
type handler struct {
	Config
}

// New returns the northbound.
func New(cfg Config) http.Handler { return newHandler(cfg) }

func newHandler(cfg Config) *handler {
	if cfg.Alloc == nil {
		cfg.Alloc = &alloc.Allocator{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Ready == nil {
		cfg.Ready = func() bool { return true }
	}
	if cfg.Down == nil {
		cfg.Down = func() alloc.Down { return nil }
	}
	if cfg.Master == "" {
		cfg.Master = "this server's own Neutron API owns the networks; start it with --northbound odl to have them owned by the Neutron that calls here"
	}
	return &handler{cfg}
}

// collection answers requests below a collection's path; rest is what follows it.
type collection interface {
	serve(rq *request, rest []string) error
}

// request is one call in the making.
type request struct {
	*handler
	w     http.ResponseWriter
	r     *http.Request
	id    string
	who   identity.Principal
	query url.Values
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rq := &request{handler: h, w: w, r: r, id: "req-" + uuid.NewString()}
	w.Header().Set("X-Openstack-Request-Id", rq.id)
	w.Header().Set("Content-Type", "application/json")
	if err := rq.serve(); err != nil {
		rq.refuse(err)
	}
}

func (rq *request) serve() error {
	if !rq.Ready() {
		return &Error{Status: http.StatusServiceUnavailable, Type: "ServiceUnavailable", Message: "The store is not loaded yet; try again.", retry: time.Second}
	}
	var err error
	if rq.who, err = rq.Auth(rq.r); err != nil {
		return rq.unauthorized(err)
	}
	path, ok := strings.CutPrefix(rq.r.URL.Path, Base+"/")
	if !ok {
		return notFound("There is nothing at %s", show(rq.r.URL.Path))
	}
	c, rest := find(strings.TrimSuffix(path, "/"))
	if c == nil {
		return notFound("There is no collection at %s", show(rq.r.URL.Path))
	}
	if rq.query, err = url.ParseQuery(rq.r.URL.RawQuery); err != nil {
		return badRequest("The query string is malformed")
	}
	if !rq.who.SeesEverything() {
		return fail(http.StatusForbidden, "PolicyNotAuthorized", "%s is disallowed: what is here is of all projects, and user %s has neither the role %s nor %s, nor a role on the whole system.",
			rq.action(), show(rq.who.UserName), identity.RoleAdmin, identity.RoleService)
	}
	if m := rq.r.Method; m != http.MethodGet && m != http.MethodHead {
		if err := rq.mayWrite(); err != nil {
			return err
		}
	}
	return c.serve(rq, rest)
}

// unauthorized is the answer to a failed authentication.
func (rq *request) unauthorized(err error) error {
	switch code := identity.Deny(rq.w.Header(), err); code {
	case http.StatusTooManyRequests:
		return fail(code, "TooManyRequests", "Too many failed logins; try again later.")
	case http.StatusUnauthorized:
		return fail(code, "Unauthorized", "This request needs the name and password of a user of nagare, by HTTP Basic authentication.")
	}
	return err
}

// mayWrite refuses a change that the caller may not make, or nobody here.
func (rq *request) mayWrite() error {
	if !rq.who.CanWrite() || !rq.who.IsAdmin() && !rq.who.IsService() {
		return fail(http.StatusForbidden, "PolicyNotAuthorized", "%s is disallowed: changes need the role %s or %s, and user %s has neither.",
			rq.action(), identity.RoleAdmin, identity.RoleService, show(rq.who.UserName))
	}
	if !rq.Writable {
		return fail(http.StatusConflict, "NorthboundNotWritable", "%s is refused: %s.", rq.action(), strings.TrimSuffix(rq.Master, "."))
	}
	return nil
}

func (rq *request) action() string { return rq.r.Method + " " + rq.r.URL.Path }

func (rq *request) refuse(err error) {
	var e *Error
	if !errors.As(err, &e) {
		if rq.r.Context().Err() == nil {
			rq.Log.Error("request not served", "request", rq.id, "action", rq.action(), "err", err)
		}
		e = &Error{Status: http.StatusServiceUnavailable, Type: "ServiceUnavailable", retry: time.Second,
			Message: "The service cannot store or read data at present; try again later. (Request-ID: " + rq.id + ")"}
	}
	if e.retry > 0 {
		rq.w.Header().Set("Retry-After", strconv.Itoa(int((e.retry+time.Second-1)/time.Second)))
	}
	rq.send(e.Status, jsonbody.NeutronError(e.Type, e.Message))
}

func (rq *request) send(code int, body []byte) { jsonbody.Send(rq.w, code, body) }

func (rq *request) answer(code int, body []byte) error {
	rq.send(code, body)
	return nil
}

// allow refuses a method that a path does not offer.
func (rq *request) allow(methods string) error {
	rq.w.Header().Set("Allow", methods)
	return fail(http.StatusMethodNotAllowed, "HTTPMethodNotAllowed", "The method %s is not allowed for this resource; it offers %s.", show(rq.r.Method), methods)
}

// commit runs f as the request's one transaction and gives the state after it. f may run more than once. What it notes is logged if
// it took place.
func (rq *request) commit(f func(*work) error) (store.Reader, error) {
	now := rq.Now().UTC().Truncate(time.Second)
	o := store.Origin{Request: rq.id, User: rq.who.UserID, Project: string(rq.who.ProjectID), Action: rq.action()}
	var done *work
	res, err := rq.Store.Commit(rq.r.Context(), o, func(tx *store.Txn) error {
		done = &work{handler: rq.handler, tx: tx, now: now}
		return f(done)
	})
	var large *store.TooLargeError
	var exh *alloc.ExhaustedError
	switch {
	case errors.As(err, &large):
		return nil, fail(http.StatusRequestEntityTooLarge, "HTTPRequestEntityTooLarge", "The change of %d records and %d bytes is too large; split it", large.Ops, large.Bytes)
	case errors.As(err, &exh):
		return nil, fail(http.StatusConflict, "ResourceExhausted", "%s.", exh)
	case err != nil:
		return nil, err
	}
	for _, n := range done.notes {
		rq.Log.LogAttrs(context.Background(), slog.LevelWarn, n.text, append(n.attrs, slog.String("request", rq.id))...)
	}
	return res.Snapshot, nil
}

// work is a transaction in progress on behalf of a request.
type work struct {
	*handler
	tx    *store.Txn
	now   time.Time
	notes []note
}

type note struct {
	text  string
	attrs []slog.Attr
}

// note remembers something odd that the client wants and gets.
func (w *work) note(text string, attrs ...slog.Attr) { w.notes = append(w.notes, note{text, attrs}) }
