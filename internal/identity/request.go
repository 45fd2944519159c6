// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"nagare/internal/store"
)

// Users tells who makes a request. Service and None are the two.
type Users interface {
	Validator
	// Authenticate takes what a request carries: X-Auth-Token, or Authorization with Bearer and a token or with Basic
	// (RFC 7617). Errors: ErrUnauthorized, *LockedError; another means that nobody can say at present. See Deny.
	Authenticate(*http.Request) (Principal, error)
}

// Challenge is WWW-Authenticate of a 401 of the APIs that take Basic (RFC 7617 section 2).
const Challenge = `Basic realm="nagare", charset="UTF-8"`

// Deny gives the status that answers an error of Authenticate, and sets the headers that go with it: 401 with
// WWW-Authenticate, 429 with Retry-After, 503.
func Deny(h http.Header, err error) int {
	var locked *LockedError
	switch {
	case errors.As(err, &locked):
		h.Set("Retry-After", strconv.Itoa(seconds(locked.RetryAfter)))
		return http.StatusTooManyRequests
	case errors.Is(err, ErrUnauthorized):
		h.Set("WWW-Authenticate", Challenge)
		return http.StatusUnauthorized
	}
	return http.StatusServiceUnavailable
}

// Authenticate tells who makes a request of an API other than Identity.
//
// A token counts as at Validate, unless it has access rules, which name services and these APIs are none; X-Auth-Token goes before Authorization. With Basic the user is one of the domain Default, and
// its scope is the first of: its default project, if it has a role there; the first project, by id, on which it is
// administrator; the first on which it has any role; the whole system. A user without a role has a Principal without roles,
// which policy refuses. Cookies are ignored.
//
// A password that was right is remembered for a minute, as a keyed digest, until the user's record changes; rights are looked
// up at every request.
func (s *Service) Authenticate(r *http.Request) (Principal, error) {
	if t := r.Header.Get("X-Auth-Token"); t != "" {
		return s.elsewhere(r, t)
	}
	if len(r.Header["Authorization"]) != 1 { // with several, what is checked may not be what another reader believes
		return Principal{}, ErrUnauthorized
	}
	if name, password, ok := r.BasicAuth(); ok {
		return s.basic(r.Context(), name, password, r.RemoteAddr)
	}
	if kind, t, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(kind, "Bearer") {
		return s.elsewhere(r, strings.TrimSpace(t))
	}
	return Principal{}, ErrUnauthorized
}

// elsewhere is Validate for APIs that are no services of the catalog, and so not for tokens with access rules.
func (s *Service) elsewhere(r *http.Request, token string) (Principal, error) {
	p, err := s.Validate(r.Context(), token)
	if err == nil && p.Only != nil {
		return Principal{}, ErrUnauthorized
	}
	return p, err
}

// maxCredential bounds what is hashed for an unknown caller.
const maxCredential = 1024

func (s *Service) basic(ctx context.Context, name, password, remote string) (Principal, error) {
	if name == "" || len(name) > maxCredential || len(password) > maxCredential {
		return Principal{}, ErrUnauthorized
	}
	snap := s.cfg.Store.Snapshot()
	u, known := findUser(snap, name, DefaultDomain)
	if !known {
		u = User{ID: name}
	}
	if err := s.checkLogin(ctx, snap, &u, password, remote); err != nil {
		return Principal{}, err
	}
	return basicScope(snap, &u)
}

// checkLogin tells whether a password is the user's, and counts. A user that does not exist has the name that was given as
// its id, and no hash.
func (s *Service) checkLogin(ctx context.Context, snap *store.Snapshot, u *User, password, remote string) error {
	a := s.guard.attempt(u.ID, remote)
	if err := s.guard.check(a, s.cfg.Now()); err != nil {
		return err
	}
	info, _ := users.Info(snap, u.ID)
	sum := s.verified.digest(u.ID, info.Modified, password)
	if u.PasswordHash != "" && s.verified.has(sum, s.cfg.Now()) {
		return enabled(u)
	}
	decoy := s.decoy() // takes a slot itself, once
	release, err := slot(ctx)
	if err != nil {
		return err
	}
	defer release()
	// Meanwhile another request may have found out: that the password is right, or that this is guessing.
	now := s.cfg.Now()
	if u.PasswordHash != "" && s.verified.has(sum, now) {
		return enabled(u)
	}
	if err := s.guard.check(a, now); err != nil {
		return err
	}
	if !samePassword(u.PasswordHash, password, decoy) {
		s.guard.failed(a, now)
		return ErrUnauthorized
	}
	s.guard.passed(a, now)
	s.verified.add(sum, now)
	return enabled(u)
}

func enabled(u *User) error {
	if !u.Enabled {
		return ErrUnauthorized
	}
	return nil
}

// basicScope finds a user's rights as Authenticate says.
func basicScope(r store.Reader, u *User) (Principal, error) {
	try := func(target string) (*session, bool) {
		ses, err := scope(r, &claims{User: u.ID, Target: target, Issued: anytime(u)})
		return ses, err == nil
	}
	if u.DefaultProject != "" {
		if ses, ok := try(projectTarget(u.DefaultProject)); ok {
			return ses.timeless(), nil
		}
	}
	var best *session
	for a := range assignmentsByUser.By(r, u.ID) { // by target
		ses, ok := try(a.Target)
		if !ok || ses.dom != nil {
			continue
		}
		p := ses.principal()
		if p.IsAdmin() && ses.proj != nil {
			return ses.timeless(), nil
		}
		if best == nil {
			best = ses
		}
	}
	if best == nil {
		var ok bool
		if best, ok = try(""); !ok {
			return Principal{}, ErrUnauthorized
		}
	}
	return best.timeless(), nil
}

// anytime is an instant at which issued tokens of the user are valid still: unlike them, a password has none of its own.
func anytime(u *User) int64 { return u.NotBefore.UnixMicro() + 1 }

// timeless is the principal of credentials that do not end by themselves.
func (s *session) timeless() Principal {
	p := s.principal()
	p.Expires = time.Time{}
	return p
}

// Authenticate accepts everything.
func (n None) Authenticate(r *http.Request) (Principal, error) { return n.Validate(r.Context(), "") }

// rememberFor is how long a right password need not be hashed again; most bounds how many are remembered.
const (
	rememberFor    = time.Minute
	rememberedMost = 1024
)

// remembered is the set of passwords that were right lately, as digests under a key that only this process has. The digest
// covers the revision of the user's record, so a change of that leaves what was remembered behind.
type remembered struct {
	macs sync.Pool
	mu   sync.RWMutex
	ends map[[sha256.Size]byte]time.Time
}

func newRemembered() *remembered {
	key := make([]byte, sha256.Size)
	rand.Read(key)
	m := &remembered{ends: map[[sha256.Size]byte]time.Time{}}
	m.macs.New = func() any { return &macState{Hash: hmac.New(sha256.New, key)} }
	return m
}

// macState spares an allocation for each request.
type macState struct {
	hash.Hash
	buf []byte
	sum [sha256.Size]byte
}

func (m *remembered) digest(user string, rev store.Revision, password string) [sha256.Size]byte {
	h := m.macs.Get().(*macState)
	defer m.macs.Put(h)
	h.Reset()
	h.buf = binary.BigEndian.AppendUint64(h.buf[:0], uint64(rev))
	h.buf = binary.BigEndian.AppendUint32(h.buf, uint32(len(user)))
	h.buf = append(append(h.buf, user...), password...)
	h.Write(h.buf)
	clear(h.buf)
	h.Sum(h.sum[:0])
	return h.sum
}

// has looks a digest up. A map does not compare in constant time, but nobody without the key can choose a digest.
func (m *remembered) has(sum [sha256.Size]byte, now time.Time) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	end, ok := m.ends[sum]
	return ok && now.Before(end)
}

func (m *remembered) add(sum [sha256.Size]byte, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.ends) >= rememberedMost { // each cost a hash, so this is rare
		maps.DeleteFunc(m.ends, func(_ [sha256.Size]byte, end time.Time) bool { return !now.Before(end) })
		if len(m.ends) >= rememberedMost {
			clear(m.ends)
		}
	}
	m.ends[sum] = now.Add(rememberFor)
}
