// SPDX-License-Identifier: Apache-2.0

// Package restconf serves what there is as data of OpenDaylight's models: Neutron's objects and their statuses, host configurations and
// features, topologies, what switches hold, and their changes over server-sent events and web sockets. Both dialects of RESTCONF are
// spoken: /restconf (draft-bierman-netconf-restconf-02) and /rests (RFC 8040), each with its names and error bodies.
//
// What there is is said by YANG modules (internal/yang) and one table of sources: where the entries of a list come from (schema.go). Paths,
// dialects, parameters and forms know no resource. Nothing is kept here but the subscribers: every answer comes from the store's newest
// snapshot, entry by entry, and events from its changes. What switches hold is asked of them while the answer is written (switches.go).
//
// Invariants: while not ready every path answers 503, never 400 or 404, which make clients give up for good. An event names what
// the store holds: a port's ACTIVE is sent after its status was committed, which is after its switch's barrier. A subscriber
// that does not read loses its own connection, or is told later and once what it missed, and delays nobody. A change costs those whom it
// concerns: it is made for them from the states before and after it (notifier.go), found by its path (index.go). What is
// written goes through the northbound's own transactions; nothing else here writes to the store.
//
// Callers: internal/app mounts the Handler and runs its loop.
package restconf

//go:generate go run ./gen ../../../docs/model.md

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"nagare/internal/identity"
	"nagare/internal/model"
	"nagare/internal/store"
)

// Config configures a Server. Store and Auth are needed.
type Config struct {
	Store *store.Store
	// Auth tells who makes a request. Its errors: identity.ErrUnauthorized (401), *identity.LockedError (429);
	// another means that nobody can say at present (503).
	Auth func(*http.Request) (identity.Principal, error)
	// May says whether a principal may read and subscribe. What is read is of all projects, so the default is administrators,
	// services, and readers of the whole system.
	May func(identity.Principal) bool
	// Ready says whether the store is loaded and the server serves; nil: always.
	Ready func() bool
	// Online says whether a node has a session, for the topology; nil: a node counts until it is lost.
	Online func(model.NodeID) bool
	// Switches are asked for what they hold; nil: there are none in the inventory, and no links.
	Switches Switches
	// Objects are Neutron's, as the northbound has them.
	Objects Objects
	// Desired tells who else wants what operators write; nil: nobody is asked.
	Desired Desired
	// Profile is "standard" or "classic": what a derived host configuration offers.
	Profile string
	// PortStatus announces the feature operational-port-status: Neutron then holds a port DOWN until an event says ACTIVE.
	PortStatus bool
	// NativeDHCP says that the controller answers DHCP for ports that are on no node.
	NativeDHCP bool
	Now        func() time.Time
	Log        *slog.Logger

	// Limits of subscribers. Zero values mean the defaults.
	MaxSubscribers int           // default 1024
	MaxPending     int           // bytes that may wait for one of them; default 4 MiB
	WriteTimeout   time.Duration // of one frame; default 10 s
	MaxStreams     int           // that clients created and that may be there at once; default 1024
	StreamLifetime time.Duration // of one that nobody uses; default 1 h
	TokenLifetime  time.Duration // between the answer that names a stream's location and the web socket's opening; default 1 min
}

// Server serves both dialects. Run must be running for events to be sent.
type Server struct {
	cfg     Config
	tree    *tree
	looks   chan struct{} // full while as many as may are asking switches
	streams *streams
	hub     *hub

	notifier *notifier
}

// New returns a server.
func New(cfg Config) *Server {
	if cfg.May == nil {
		cfg.May = func(p identity.Principal) bool { return p.SeesEverything() }
	}
	if cfg.Ready == nil {
		cfg.Ready = func() bool { return true }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxSubscribers == 0 {
		cfg.MaxSubscribers = 1024
	}
	if cfg.MaxPending == 0 {
		cfg.MaxPending = 4 << 20
	}
	if cfg.WriteTimeout == 0 {
		cfg.WriteTimeout = 10 * time.Second
	}
	if cfg.MaxStreams == 0 {
		cfg.MaxStreams = 1024
	}
	if cfg.StreamLifetime == 0 {
		cfg.StreamLifetime = time.Hour
	}
	if cfg.TokenLifetime == 0 {
		cfg.TokenLifetime = time.Minute
	}
	s := &Server{cfg: cfg, streams: newStreams(), hub: newHub(), looks: make(chan struct{}, maxLooks)}
	s.tree = newTree()
	s.tree.addNeutron()
	s.tree.addTopology()
	s.tree.addInventory()
	s.tree.addOperators()
	s.tree.addLibrary()
	s.tree.addMonitoring(s.tree.addStreams(oldestLogged))
	s.tree.addFeeds()
	s.notifier = newNotifier(s.tree, &s.cfg)
	return s
}

// Serves reports whether a path belongs to this server. Paths must reach it as the client wrote them: http.ServeMux, which cleans
// paths, would redirect keys with an escaped slash.
func Serves(path string) bool {
	for _, root := range []string{"/restconf", "/rests", "/" + streamPrefix} {
		if rest, ok := strings.CutPrefix(path, root); ok && (rest == "" || rest[0] == '/') {
			return true
		}
	}
	return path == hostMeta
}

// hostMeta is where RFC 8040 section 3.1 has clients look for the root.
const hostMeta = "/.well-known/host-meta"

// ServeHTTP serves every path for which Serves is true, and answers 404 to others.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{Server: s, w: w, r: r, dialect: dialectOf(r.URL.Path)}
	w.Header().Set("Cache-Control", "no-store")
	if err := c.serve(); err != nil {
		c.fail(err)
	}
}

// call is one request in the making.
type call struct {
	*Server
	w http.ResponseWriter
	r *http.Request
	*dialect
	who identity.Principal
}

func (c *call) serve() error {
	path, err := c.segments()
	switch {
	case !c.cfg.Ready():
		return errNotReady
	case err != nil:
		return err
	case c.r.URL.Path == hostMeta:
		return c.hostMeta()
	case path[0] == streamPrefix: // whoever has the location was authenticated when it was given out
		return c.socket(path)
	}
	if c.who, err = c.cfg.Auth(c.r); err != nil {
		return err
	}
	if !c.cfg.May(c.who) {
		return errForbidden
	}
	if len(path) == 1 {
		return c.root()
	}
	for _, route := range c.routes {
		if route.first == path[1] {
			if c.r.Method == http.MethodOptions {
				return c.options(route, path[2:])
			}
			if err := c.allow(route.methods...); err != nil {
				return err
			}
			return route.serve(c, path[2:])
		}
	}
	return unknown("resource", path[1])
}

// route is what stands behind the first name under a dialect's root.
type route struct {
	first   string
	methods []string
	writes  bool // which methods there are depends on the data
	serve   func(c *call, rest []string) error
}

func (c *call) allow(methods ...string) error {
	for _, m := range methods {
		if c.r.Method == m || c.r.Method == http.MethodHead && m == http.MethodGet {
			return nil
		}
	}
	return c.notOffered(offered(methods)...)
}

// root serves the paths of the dialects' roots themselves.
func (c *call) root() error {
	switch {
	case !c.prefixed:
		return unknown("resource", c.r.URL.Path)
	case c.r.Method == http.MethodOptions:
		return c.allowed(reading)
	}
	if err := c.allow(http.MethodGet); err != nil {
		return err
	}
	return c.api()
}

// hostMeta names the root of the RFC 8040 dialect.
func (c *call) hostMeta() error {
	if err := c.allow(http.MethodGet); err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "application/xrd+xml")
	c.send(http.StatusOK, []byte(`<XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'><Link rel='restconf' href='/rests'/></XRD>`))
	return nil
}
