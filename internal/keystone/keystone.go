// SPDX-License-Identifier: Apache-2.0

// Package keystone asks an existing Keystone who a token stands for, where a cloud has one in place of the built-in Identity.
//
// Invariants: a token is believed for a bounded time after Keystone confirmed it, never beyond its own end, so that a revoked one is
// refused at the latest when that time is over; while Keystone does not answer, tokens that it confirmed are believed for a
// further bounded time, and others get an error that is not "unauthorized", so that clients try again instead of giving up. Tokens
// are kept as hashes, and are in no log. Requests with the same unknown token ask once.
//
// Callers: internal/app, which hands it to the APIs in place of internal/identity's service.
package keystone

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"nagare/internal/identity"
	"nagare/internal/model"
)

// Config configures a Validator. AuthURL and the service user are needed: Keystone tells of other users' tokens only to one with
// the role admin or service.
type Config struct {
	AuthURL                string // with /v3
	User, UserDomain       string // of the service user; domain by name
	Password               string
	Project, ProjectDomain string
	HTTP                   *http.Client
	// Believe is how long a confirmed token needs no further question, default 5 minutes; Outage is how much longer while Keystone
	// does not answer, default 5 minutes. Doubt is how long a refused token stays refused unasked, default 10 seconds.
	Believe, Outage, Doubt time.Duration
	Log                    *slog.Logger
	Now                    func() time.Time
}

// maxKnown is how many tokens are remembered; each is about 1 KiB.
const maxKnown = 16384

// Validator is an identity.Validator that asks Keystone. It is safe for concurrent use.
type Validator struct {
	cfg    Config
	known  *lru.Cache[[sha256.Size]byte, verdict]
	asking singleflight.Group

	mu     sync.Mutex
	client *gophercloud.ProviderClient // nil until Keystone has let us in
}

// verdict is what Keystone said of a token, and when.
type verdict struct {
	who identity.Principal
	bad bool
	// expired: whether the token has ended does not matter.
	expired bool
	at      time.Time
}

// New makes a Validator. Keystone need not be there yet.
func New(cfg Config) *Validator {
	or := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	or(&cfg.Believe, 5*time.Minute)
	or(&cfg.Outage, 5*time.Minute)
	or(&cfg.Doubt, 10*time.Second)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	known, err := lru.New[[sha256.Size]byte, verdict](maxKnown)
	if err != nil {
		panic(err) // of a size that is not positive
	}
	return &Validator{cfg: cfg, known: known}
}

// Validate implements identity.Validator.
func (v *Validator) Validate(ctx context.Context, token string) (identity.Principal, error) {
	return v.validate(ctx, token, false)
}

// ValidateExpired implements identity.Outlasting. How long after its end a token is good is Keystone's to say.
func (v *Validator) ValidateExpired(ctx context.Context, token string) (identity.Principal, error) {
	if who, err := v.recall(sha256.Sum256([]byte(token))); err == nil {
		return who, nil // it has not ended, so there is nothing to ask
	}
	return v.validate(ctx, token, true)
}

// recall gives who a token stands for if that was asked lately and it has not ended.
func (v *Validator) recall(key [sha256.Size]byte) (identity.Principal, error) {
	if k, ok := v.known.Get(key); ok && v.fresh(k) {
		return k.answer(v.cfg.Now())
	}
	return identity.Principal{}, identity.ErrUnauthorized
}

func (v *Validator) validate(ctx context.Context, token string, expired bool) (identity.Principal, error) {
	if token == "" || len(token) > 16<<10 {
		return identity.Principal{}, identity.ErrUnauthorized
	}
	key := sha256.Sum256([]byte(token))
	if expired { // another question, with an answer of its own
		key = sha256.Sum256(append(key[:], "allow_expired"...))
	}
	if known, ok := v.known.Get(key); ok && v.fresh(known) {
		return known.answer(v.cfg.Now())
	}
	// Who gives up waiting must not take the question from the others.
	ch := v.asking.DoChan(string(key[:]), func() (any, error) { return v.judge(context.WithoutCancel(ctx), key, token, expired) })
	select {
	case <-ctx.Done():
		return identity.Principal{}, ctx.Err()
	case r := <-ch:
		if r.Err != nil {
			return identity.Principal{}, r.Err
		}
		return r.Val.(verdict).answer(v.cfg.Now())
	}
}

func (v *Validator) fresh(k verdict) bool {
	age := v.cfg.Now().Sub(k.at)
	if k.bad {
		return age < v.cfg.Doubt
	}
	return age < v.cfg.Believe
}

func (k verdict) answer(now time.Time) (identity.Principal, error) {
	if k.bad || !k.expired && !now.Before(k.who.Expires) {
		return identity.Principal{}, identity.ErrUnauthorized
	}
	return k.who, nil
}

// judge asks Keystone, and falls back on what it said before if it does not answer.
func (v *Validator) judge(ctx context.Context, key [sha256.Size]byte, token string, expired bool) (verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	who, err := v.ask(ctx, token, expired)
	now := v.cfg.Now()
	switch {
	case err == nil:
		k := verdict{who: who, at: now, expired: expired}
		v.known.Add(key, k)
		return k, nil
	case errors.Is(err, identity.ErrUnauthorized):
		k := verdict{bad: true, at: now}
		v.known.Add(key, k)
		return k, nil
	}
	if k, ok := v.known.Get(key); ok && !k.bad && now.Sub(k.at) < v.cfg.Believe+v.cfg.Outage {
		v.cfg.Log.Warn("Keystone does not answer; a token that it confirmed is still believed", "error", err, "user", k.who.UserName, "confirmed", k.at)
		return k, nil
	}
	return verdict{}, fmt.Errorf("a token is not judged while Keystone cannot be asked: %w", err)
}

// askWithin bounds one question, a login of ours included.
const askWithin = 10 * time.Second

// provider is our own session with Keystone.
func (v *Validator) provider(ctx context.Context) (*gophercloud.ProviderClient, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.client != nil {
		return v.client, nil
	}
	p, err := openstack.NewClient(v.cfg.AuthURL)
	if err != nil {
		return nil, err
	}
	if v.cfg.HTTP != nil {
		p.HTTPClient = *v.cfg.HTTP
	}
	p.UseTokenLock()
	err = openstack.Authenticate(ctx, p, gophercloud.AuthOptions{
		IdentityEndpoint: v.cfg.AuthURL, Username: v.cfg.User, DomainName: v.cfg.UserDomain, Password: v.cfg.Password, AllowReauth: true,
		Scope: &gophercloud.AuthScope{ProjectName: v.cfg.Project, DomainName: v.cfg.ProjectDomain},
	})
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", v.cfg.User, err)
	}
	v.client = p
	return p, nil
}

// subject is the answer to GET /v3/auth/tokens.
type subject struct {
	Token struct {
		Expires time.Time `json:"expires_at"`
		User    struct {
			ID, Name string
			Domain   struct{ ID string }
		}
		Project struct{ ID, Name string }
		Domain  struct{ ID string }
		System  struct{ All bool }
		Roles   []struct{ Name string }

		Credential struct {
			AccessRules []identity.AccessRule `json:"access_rules"`
		} `json:"application_credential"`
	}
}

// ask is one question. identity.ErrUnauthorized says that Keystone does not know the token, or no longer.
func (v *Validator) ask(ctx context.Context, token string, expired bool) (identity.Principal, error) {
	p, err := v.provider(ctx)
	if err != nil {
		return identity.Principal{}, err
	}
	u, err := url.JoinPath(v.cfg.AuthURL, "auth/tokens")
	if err != nil {
		return identity.Principal{}, err
	}
	u += "?nocatalog"
	if expired {
		u += "&allow_expired=1"
	}
	var s subject
	_, err = p.Request(ctx, http.MethodGet, u, &gophercloud.RequestOpts{JSONResponse: &s, OkCodes: []int{http.StatusOK},
		MoreHeaders: map[string]string{"X-Subject-Token": token, "OpenStack-Identity-Access-Rules": "1.0"}}) // APIs enforce them: identity.Admit
	if gophercloud.ResponseCodeIs(err, http.StatusNotFound) || gophercloud.ResponseCodeIs(err, http.StatusBadRequest) {
		return identity.Principal{}, identity.ErrUnauthorized
	}
	if err != nil {
		return identity.Principal{}, err
	}
	t := &s.Token
	if t.User.ID == "" || t.Expires.IsZero() {
		return identity.Principal{}, fmt.Errorf("%s: the answer names no user or no end", u)
	}
	who := identity.Principal{UserID: t.User.ID, UserName: t.User.Name, UserDomain: t.User.Domain.ID,
		ProjectID: model.ProjectID(t.Project.ID), ProjectName: t.Project.Name, DomainID: t.Domain.ID, System: t.System.All, Expires: t.Expires}
	for _, r := range t.Roles {
		who.Roles = append(who.Roles, r.Name)
	}
	who.Only = t.Credential.AccessRules
	return who, nil
}

// Authenticate implements identity.Users: X-Auth-Token, or Authorization with Bearer. Basic names no user of Keystone's that could be
// scoped, and is refused.
func (v *Validator) Authenticate(r *http.Request) (identity.Principal, error) {
	token := r.Header.Get("X-Auth-Token")
	if kind, t, ok := strings.Cut(r.Header.Get("Authorization"), " "); token == "" && ok && strings.EqualFold(kind, "Bearer") && len(r.Header["Authorization"]) == 1 {
		token = strings.TrimSpace(t)
	}
	who, err := v.Validate(r.Context(), token)
	if err == nil && who.Only != nil { // access rules name services, of which these APIs are none
		return identity.Principal{}, identity.ErrUnauthorized
	}
	return who, err
}
