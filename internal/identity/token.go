// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"nagare/internal/store"
)

// claims is what a token states. Times are microseconds since 1970, which is the precision the API prints.
type claims struct {
	User    string   `json:"u"`
	Target  string   `json:"t,omitempty"` // "" when unscoped
	Methods []string `json:"m"`
	Issued  int64    `json:"i"`
	Expires int64    `json:"e"`
	Audit   string   `json:"a"`
	Parent  string   `json:"p,omitempty"` // audit id of the first token of a chain made by the token method
	// Credential is the application credential that the token stems from, which limits it.
	Credential string `json:"c,omitempty"`
}

func (c *claims) issued() time.Time  { return time.UnixMicro(c.Issued).UTC() }
func (c *claims) expires() time.Time { return time.UnixMicro(c.Expires).UTC() }

// auditIDs as the API lists them: its own, then the chain's.
func (c *claims) auditIDs() []string {
	if c.Parent == "" {
		return []string{c.Audit}
	}
	return []string{c.Audit, c.Parent}
}

const (
	tokenPrefix = "nagare1."
	// maxToken bounds what is hashed for an unknown caller.
	maxToken = 4096
)

var b64 = base64.RawURLEncoding

func newAudit() string {
	var b [16]byte
	rand.Read(b[:])
	return b64.EncodeToString(b[:])
}

// sign gives the token's text: prefix, claims, HMAC-SHA256 (RFC 2104) over both.
func sign(key []byte, c *claims) string {
	body, err := json.Marshal(c)
	if err != nil {
		panic(err) // strings and integers always encode
	}
	text := tokenPrefix + b64.EncodeToString(body)
	return text + "." + b64.EncodeToString(mac(key, text))
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

var errBadToken = errors.New("token is malformed or was signed by another key")

func parseToken(key []byte, token string) (*claims, error) {
	dot := strings.LastIndexByte(token, '.')
	if len(key) == 0 || len(token) > maxToken || dot < len(tokenPrefix) || !strings.HasPrefix(token, tokenPrefix) {
		return nil, errBadToken
	}
	sum, err := b64.DecodeString(token[dot+1:])
	if err != nil || !hmac.Equal(sum, mac(key, token[:dot])) {
		return nil, errBadToken
	}
	body, err := b64.DecodeString(token[len(tokenPrefix):dot])
	if err != nil {
		return nil, errBadToken
	}
	c := new(claims)
	if json.Unmarshal(body, c) != nil {
		return nil, errBadToken
	}
	return c, nil
}

// session is a token resolved against a state of the store.
type session struct {
	claims *claims
	user   User
	domain Domain   // of the user
	proj   *Project // when scoped to a project
	dom    *Domain  // when scoped to a domain
	roles  []Role
	rules  []userRule // that the request must be permitted by; nil: everything is
}

// resolve checks a token against the state: signature, time, revocation, and that user, scope and rights still exist.
func resolve(r store.Reader, token string, now time.Time) (*session, error) {
	return resolveWithin(r, token, now, 0)
}

// resolveWithin is resolve for a token that may have ended by its time less than the window ago.
func resolveWithin(r store.Reader, token string, now time.Time, window time.Duration) (*session, error) {
	k, _ := keys.Get(r, currentKey)
	c, err := parseToken(k.Secret, token)
	if err != nil {
		return nil, ErrUnauthorized
	}
	if !now.Before(c.expires().Add(window)) {
		return nil, ErrUnauthorized
	}
	for _, a := range c.auditIDs() {
		if _, gone := revocations.Get(r, a); gone {
			return nil, ErrUnauthorized
		}
	}
	return scope(r, c)
}

// scope joins claims with the records that they name.
func scope(r store.Reader, c *claims) (*session, error) {
	s := &session{claims: c}
	var ok bool
	if s.user, ok = users.Get(r, c.User); !ok || !s.user.Enabled || c.issued().Before(s.user.NotBefore) {
		return nil, ErrUnauthorized
	}
	if s.domain, ok = domains.Get(r, s.user.Domain); !ok || !s.domain.Enabled {
		return nil, ErrUnauthorized
	}
	if c.Target == "" {
		if c.Credential != "" {
			return nil, ErrUnauthorized // it is of one project
		}
		return s, nil
	}
	s.roles = rolesOn(r, c.User, c.Target)
	if len(s.roles) == 0 {
		return nil, ErrUnauthorized
	}
	kind, id, _ := strings.Cut(c.Target, ":")
	switch kind {
	case "project":
		p, ok := findProject(r, id)
		if !ok || !p.Enabled {
			return nil, ErrUnauthorized
		}
		if d, ok := domains.Get(r, p.Domain); !ok || !d.Enabled {
			return nil, ErrUnauthorized
		}
		s.proj = &p
	case "domain":
		d, ok := domains.Get(r, id)
		if !ok || !d.Enabled {
			return nil, ErrUnauthorized
		}
		s.dom = &d
	}
	if c.Credential != "" {
		if err := s.restrict(r); err != nil {
			return nil, err
		}
	}
	return s, nil
}
