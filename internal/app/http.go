// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"nagare/internal/api/admin"
	"nagare/internal/api/odl"
	"nagare/internal/api/restconf"
	"nagare/internal/identity"
)

// Limits of a request, whoever sends it. When its body was read whole its time no longer counts, so that long polls and web sockets
// take as long as they take.
const (
	headerWithin  = 10 * time.Second
	requestWithin = time.Minute // header and body
	idleWithin    = 2 * time.Minute
	headerMost    = 64 << 10
	drainWithin   = 5 * time.Second
)

// url is where clients reach one of the APIs.
func (s *Server) url(port int) string {
	scheme := "http"
	if s.secure != nil {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(s.cfg.PublicHost, fmt.Sprint(port))
}

// loadCertificate reads the certificate of the APIs, if they have one, and warns of what clients will refuse.
func (s *Server) loadCertificate() error {
	if s.cfg.TLSCert == "" {
		return nil
	}
	cert, err := tls.LoadX509KeyPair(s.cfg.TLSCert, s.cfg.TLSKey)
	if err != nil {
		return fmt.Errorf("tls-cert %s, tls-key %s: %w", s.cfg.TLSCert, s.cfg.TLSKey, err)
	}
	for _, why := range unfit(cert.Leaf, s.cfg.PublicHost, time.Now()) {
		s.log.Warn("clients will refuse the certificate of the APIs", "tls-cert", s.cfg.TLSCert, "why", why)
	}
	s.secure = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	return nil
}

// unfit says why clients that come to host would refuse a certificate.
func unfit(c *x509.Certificate, host string, now time.Time) (why []string) {
	if err := c.VerifyHostname(host); err != nil {
		why = append(why, err.Error()+"; it needs a subject alternative name for public-host")
	}
	if now.Before(c.NotBefore) || now.After(c.NotAfter) {
		why = append(why, fmt.Sprintf("it is valid from %s to %s", c.NotBefore.Format(time.DateTime), c.NotAfter.Format(time.DateTime)))
	}
	return why
}

// newServer returns a server with the limits. HTTP/2 is not offered: clients would gain nothing here, and web sockets need HTTP/1.1.
func newServer(h http.Handler, within time.Duration) *http.Server {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: min(headerWithin, within), ReadTimeout: within, IdleTimeout: idleWithin, MaxHeaderBytes: headerMost,
		Protocols: new(http.Protocols)}
	srv.Protocols.SetHTTP1(true)
	return srv
}

// serveHTTP adds to g the tasks of serving one listener until ctx ends.
func (s *Server) serveHTTP(ctx context.Context, g *errgroup.Group, l net.Listener, log *slog.Logger, name string, h http.Handler) {
	srv := newServer(h, requestWithin)
	srv.ErrorLog, srv.TLSConfig = slog.NewLogLogger(log.Handler(), slog.LevelDebug), s.secure.Clone()
	g.Go(func() error {
		serve := srv.Serve
		if s.secure != nil {
			serve = func(l net.Listener) error { return srv.ServeTLS(l, "", "") }
		}
		if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("%s listener %s: %w", name, l.Addr(), err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainWithin)
		defer cancel()
		if srv.Shutdown(drain) != nil {
			return srv.Close()
		}
		return nil
	})
}

// adminHandler serves everything on the admin port.
func (s *Server) adminHandler(ctx context.Context) http.Handler {
	m := http.NewServeMux()
	m.Handle("/nagare/v1/", admin.Handler(backend{s}, s.authorize))
	m.Handle("GET /metrics", s.metrics())
	m.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	m.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !s.ready.Load() || ctx.Err() != nil {
			http.Error(w, "not ready: the store is not compiled yet, or the server is stopping", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return s.withNorthbound(m)
}

// withNorthbound adds OpenDaylight's paths to those of h. They are judged as the client wrote them: a mux would clean them, and
// they may hold escaped slashes.
func (s *Server) withNorthbound(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case path == odl.Base || strings.HasPrefix(path, odl.Base+"/"):
			s.odl.ServeHTTP(w, r)
		case restconf.Serves(path):
			s.rest.ServeHTTP(w, r)
		default:
			h.ServeHTTP(w, r)
		}
	})
}

// authorize checks that a request comes from somebody with one of the roles.
func (s *Server) authorize(r *http.Request, roles ...string) (string, error) {
	p, err := s.users.Authenticate(r)
	var locked *identity.LockedError
	switch {
	case err == nil:
	case errors.As(err, &locked):
		return "", err
	case errors.Is(err, identity.ErrUnauthorized):
		return "", fmt.Errorf("%w: %w", admin.ErrUnauthorized, err)
	default:
		return "", fmt.Errorf("%w: %w", admin.ErrUnavailable, err)
	}
	for _, role := range roles {
		if p.HasRole(role) {
			return p.UserName, nil
		}
	}
	return "", fmt.Errorf("%w: user %s has none of the roles %s", admin.ErrForbidden, p.UserName, strings.Join(roles, ", "))
}
