// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"nagare/internal/model"
	"nagare/internal/store"
)

// ErrUnauthorized is returned for a token that is missing, malformed, expired, revoked, or whose user, scope or rights are
// gone. It says no more than that.
var ErrUnauthorized = errors.New("token is not valid; ask for a new one")

// Principal is who makes a request.
type Principal struct {
	UserID      string
	UserName    string
	UserDomain  string
	ProjectID   model.ProjectID // empty unless the token is scoped to a project
	ProjectName string
	DomainID    string       // scope is a domain, in which nothing of ours is
	System      bool         // scope is the whole system
	Roles       []string     // names
	Only        []AccessRule // one of which must permit the request, see Admit; nil: no restriction
	Expires     time.Time
}

// HasRole reports whether the principal holds the role on a project or on the system. Roles on a domain give no rights on what we
// serve: who administers a domain is no administrator of the cloud.
func (p *Principal) HasRole(name string) bool {
	return p.DomainID == "" && slices.Contains(p.Roles, name)
}

// IsAdmin reports whether policy treats the principal as an administrator.
func (p *Principal) IsAdmin() bool { return p.HasRole(RoleAdmin) }

// IsService reports whether the principal is another service of the cloud, e.g. Nova.
func (p *Principal) IsService() bool { return p.HasRole(RoleService) }

// ReadsAll reports whether the principal has a role on the whole system, so that it sees what every project has.
func (p *Principal) ReadsAll() bool { return p.System && len(p.Roles) > 0 }

// SeesEverything reports whether the principal may read where what is of all projects stands together.
func (p *Principal) SeesEverything() bool { return p.IsAdmin() || p.IsService() || p.ReadsAll() }

// CanWrite reports whether the principal may change anything: it has a role besides reader.
func (p *Principal) CanWrite() bool {
	return slices.ContainsFunc(p.Roles, func(r string) bool { return r != RoleReader })
}

// Validator tells who a token stands for. An error that is not ErrUnauthorized means that nobody can say at present.
type Validator interface {
	Validate(ctx context.Context, token string) (Principal, error)
}

// Config configures a Service. Store and PublicURL are needed.
type Config struct {
	Store         *store.Store
	PublicURL     string        // of this service, e.g. http://127.0.0.1:5000/v3
	NetworkURL    string        // of the network service, without /v2.0, e.g. http://127.0.0.1:9696
	Region        string        // default RegionOne
	TokenLifetime time.Duration // default one hour
	Now           func() time.Time
	Log           *slog.Logger
	// PasswordCost is bcrypt's; zero means the default. Tests lower it.
	PasswordCost int
}

// Service is the identity service. It is safe for concurrent use. What it holds besides the store spares work or delays who
// guesses, and may be lost.
type Service struct {
	cfg      Config
	mux      *http.ServeMux
	decoy    func() string // a hash of a secret nobody has
	guard    *guard
	verified *remembered
}

// New returns the service. The store must have been bootstrapped before anybody can log in.
func New(cfg Config) *Service {
	if cfg.Region == "" {
		cfg.Region = "RegionOne"
	}
	if cfg.TokenLifetime == 0 {
		cfg.TokenLifetime = time.Hour
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.PasswordCost == 0 {
		cfg.PasswordCost = bcryptCost
	}
	cfg.PublicURL = strings.TrimSuffix(cfg.PublicURL, "/")
	s := &Service{cfg: cfg, guard: newGuard(), verified: newRemembered()}
	s.decoy = sync.OnceValue(func() string {
		h, err := hashPassword(newAudit(), cfg.PasswordCost)
		if err != nil {
			cfg.Log.Error("decoy password hash", "err", err)
		}
		return h
	})
	s.routes()
	return s
}

// Validate tells who a token stands for.
func (s *Service) Validate(_ context.Context, token string) (Principal, error) {
	ses, err := resolve(s.cfg.Store.Snapshot(), token, s.cfg.Now())
	if err != nil {
		return Principal{}, err
	}
	return ses.principal(), nil
}

// ValidateExpired implements Outlasting.
func (s *Service) ValidateExpired(_ context.Context, token string) (Principal, error) {
	ses, err := resolveWithin(s.cfg.Store.Snapshot(), token, s.cfg.Now(), ExpiredWindow)
	if err != nil {
		return Principal{}, err
	}
	return ses.principal(), nil
}

func (s *session) principal() Principal {
	p := Principal{UserID: s.user.ID, UserName: s.user.Name, UserDomain: s.user.Domain, Expires: s.claims.expires()}
	if s.proj != nil {
		p.ProjectID, p.ProjectName = s.proj.ID, s.proj.Name
	}
	if s.dom != nil {
		p.DomainID = s.dom.ID
	}
	p.System = s.claims.Target == systemTarget
	for _, r := range s.roles {
		p.Roles = append(p.Roles, r.Name)
	}
	if s.rules != nil {
		p.Only = make([]AccessRule, len(s.rules))
	}
	for i := range s.rules {
		p.Only[i] = s.rules[i].AccessRule
	}
	return p
}

// None is the authentication of --auth none: every request is the administrator's, with or without a token, in the project
// admin. Listeners must be bound to trusted addresses.
type None struct{ Store *store.Store }

// Validate accepts everything.
func (n None) Validate(context.Context, string) (Principal, error) {
	p := Principal{UserID: "admin", UserName: "admin", UserDomain: DefaultDomain, ProjectName: "admin", Roles: []string{RoleAdmin, RoleMember, RoleReader}}
	p.ProjectID = model.ProjectID(strings.ReplaceAll(uuid.NewSHA1(uuid.NameSpaceDNS, []byte("admin.nagare")).String(), "-", ""))
	if n.Store != nil {
		if proj, ok := FindProject(n.Store.Snapshot(), "admin"); ok {
			p.ProjectID = proj.ID
		}
	}
	return p, nil
}

func findProject(r store.Reader, id string) (Project, bool) {
	return projects.Get(r, model.ProjectID(id))
}

// UserName is the name of a user by id, for people to read; the id itself if there is no such user.
func UserName(r store.Reader, id string) string {
	if u, ok := users.Get(r, id); ok {
		return u.Name
	}
	return id
}
