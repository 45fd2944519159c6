// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"time"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// DefaultDomain is the id of the domain "Default", as Keystone has it.
const DefaultDomain = "default"

// Names of the roles that Bootstrap makes.
const (
	RoleAdmin   = "admin"
	RoleManager = "manager"
	RoleMember  = "member"
	RoleReader  = "reader"
	RoleService = "service"
)

// Domain owns projects and users; their names are unique within it.
type Domain struct {
	ID          string         `json:"id"`
	Name        string         `json:"name"`
	Description string         `json:"description"`
	Enabled     bool           `json:"enabled"`
	Extra       map[string]any `json:"extra,omitempty"`
}

// Project is what objects belong to.
type Project struct {
	ID          model.ProjectID `json:"id"`
	Name        string          `json:"name"`
	Domain      string          `json:"domain_id"`
	Description string          `json:"description"`
	Enabled     bool            `json:"enabled"`
	Extra       map[string]any  `json:"extra,omitempty"`
}

// User may obtain tokens. NotBefore ends all tokens issued before it (a changed password).
type User struct {
	ID             string          `json:"id"`
	Name           string          `json:"name"`
	Domain         string          `json:"domain_id"`
	Description    string          `json:"description"`
	Enabled        bool            `json:"enabled"`
	DefaultProject model.ProjectID `json:"default_project_id,omitempty"`
	PasswordHash   string          `json:"password_hash,omitempty"`
	NotBefore      time.Time       `json:"tokens_not_before,omitzero"`
	Extra          map[string]any  `json:"extra,omitempty"`
}

// Role is a name that policy knows.
type Role struct {
	ID          string         `json:"id"`
	Name        string         `json:"name"`
	Domain      string         `json:"domain_id,omitempty"`
	Description string         `json:"description"`
	Extra       map[string]any `json:"extra,omitempty"`
}

// Assignment gives a user a role on a target: projectTarget(id), domainTarget(id) or systemTarget.
type Assignment struct {
	User   string `json:"user"`
	Role   string `json:"role"`
	Target string `json:"target"`
}

func (a Assignment) key() string { return a.User + "|" + a.Target + "|" + a.Role }

const systemTarget = "system"

func projectTarget(id model.ProjectID) string { return "project:" + string(id) }
func domainTarget(id string) string           { return "domain:" + id }

// signingKey is the secret that tokens are signed with; there is one, with id currentKey.
type signingKey struct {
	ID     string `json:"id"`
	Secret []byte `json:"secret"`
}

const currentKey = "current"

// revocation ends one token, or a token and those made from it.
type revocation struct {
	Audit   string    `json:"audit_id"`
	Expires time.Time `json:"expires"`
}

// Tables. Names are durable.
var (
	domains     = store.Declare[string, Domain](tables.Schema, "identity-domains", store.Intent)
	projects    = store.Declare[model.ProjectID, Project](tables.Schema, "identity-projects", store.Intent)
	users       = store.Declare[string, User](tables.Schema, "identity-users", store.Intent)
	roles       = store.Declare[string, Role](tables.Schema, "identity-roles", store.Intent)
	assignments = store.Declare[string, Assignment](tables.Schema, "identity-assignments", store.Intent)
	keys        = store.Declare[string, signingKey](tables.Schema, "identity-keys", store.Allocated)
	revocations = store.Declare[string, revocation](tables.Schema, "identity-revocations", store.Intent)

	domainsByName  = store.DeclareIndex(tables.Schema, domains, "name", func(d Domain) []string { return []string{d.Name} })
	projectsByName = store.DeclareIndex(tables.Schema, projects, "name", func(p Project) []string { return []string{p.Name} })
	projectsByDom  = store.DeclareIndex(tables.Schema, projects, "domain", func(p Project) []string { return []string{p.Domain} })
	usersByName    = store.DeclareIndex(tables.Schema, users, "name", func(u User) []string { return []string{u.Name} })
	usersByDomain  = store.DeclareIndex(tables.Schema, users, "domain", func(u User) []string { return []string{u.Domain} })
	rolesByName    = store.DeclareIndex(tables.Schema, roles, "name", func(r Role) []string { return []string{r.Name} })

	assignmentsByUser   = store.DeclareIndex(tables.Schema, assignments, "user", func(a Assignment) []string { return []string{a.User} })
	assignmentsByTarget = store.DeclareIndex(tables.Schema, assignments, "target", func(a Assignment) []string { return []string{a.Target} })
	assignmentsByRole   = store.DeclareIndex(tables.Schema, assignments, "role", func(a Assignment) []string { return []string{a.Role} })
	// grants finds the roles of a user on a target: user|target.
	grants = store.DeclareIndex(tables.Schema, assignments, "grant", func(a Assignment) []string { return []string{a.User + "|" + a.Target} })
)

// rolesOn gives the roles of a user on a target, ordered by id.
func rolesOn(r store.Reader, user, target string) []Role {
	var out []Role
	for a := range grants.By(r, user+"|"+target) {
		if role, ok := roles.Get(r, a.Role); ok && a.User == user && a.Target == target {
			out = append(out, role)
		}
	}
	return out
}

// FindProject gives the project with the name in the domain "Default".
func FindProject(r store.Reader, name string) (Project, bool) {
	for p := range projectsByName.By(r, name) {
		if p.Domain == DefaultDomain && p.Name == name {
			return p, true
		}
	}
	return Project{}, false
}
