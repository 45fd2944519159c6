// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
	"time"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Application credentials: a secret by which a program is a user on one project, with some of his roles there. They end with the user,
// the project, and the roles themselves: of those that the user has lost nothing is left.

// AppCredential is one of them. Its secret is shown once, when it is made.
type AppCredential struct {
	ID           string          `json:"id"`
	Name         string          `json:"name"`
	Description  string          `json:"description"`
	User         string          `json:"user"`
	Project      model.ProjectID `json:"project"`
	Roles        []string        `json:"roles"`                  // ids
	AccessRules  []string        `json:"access_rules,omitempty"` // ids; none: no restriction
	Unrestricted bool            `json:"unrestricted"`
	Expires      time.Time       `json:"expires,omitzero"`
	Hash         string          `json:"hash"` // of the secret, like a password's
}

var (
	appCredentials = store.Declare[string, AppCredential](tables.Schema, "identity-application-credentials", store.Intent)
	appCredsByUser = store.DeclareIndex(tables.Schema, appCredentials, "user", func(a AppCredential) []string { return []string{a.User} })
	appCredsByProj = store.DeclareIndex(tables.Schema, appCredentials, "project", func(a AppCredential) []string { return []string{string(a.Project)} })
)

// maxAppCredentials bounds those of a user.
const maxAppCredentials = 100

const appCredentialMethod = "application_credential"

func forgetAppCredentials(tx *store.Txn, ix *store.Index[string, AppCredential], key string) {
	for a := range ix.By(tx, key) {
		appCredentials.Delete(tx, a.ID)
	}
}

func (c *call) renderAppCredential(a *AppCredential) map[string]any {
	rs := []any{}
	for _, id := range a.Roles {
		if r, ok := roles.Get(c.snap, id); ok {
			rs = append(rs, map[string]any{"id": r.ID, "name": r.Name, "domain_id": nil})
		}
	}
	m := map[string]any{"id": a.ID, "name": a.Name, "description": a.Description, "project_id": string(a.Project), "user_id": a.User, "roles": rs,
		"unrestricted": a.Unrestricted, "expires_at": nil, "system": nil,
		"links": map[string]any{"self": c.cfg.PublicURL + "/users/" + a.User + "/application_credentials/" + a.ID}}
	if !a.Expires.IsZero() {
		m["expires_at"] = a.Expires.UTC().Format("2006-01-02T15:04:05.000000")
	}
	if rules := rulesOf(c.snap, a); rules != nil {
		m["access_rules"] = ruleBodies(rules)
	}
	return m
}

// ownAppCredentials lets a user at his own credentials and access rules; to read and delete, an administrator at everybody's.
func ownAppCredentials(makes bool, f func(*call) error) func(*call) error {
	return func(c *call) error {
		mine := c.r.PathValue("id") == c.ses.user.ID
		if !mine && (makes || !c.admin()) {
			return errForbidden
		}
		if c.r.Method != http.MethodGet && c.ses.claims.Credential != "" {
			// Else one that leaked could live on by making others.
			if a, ok := appCredentials.Get(c.snap, c.ses.claims.Credential); !ok || !a.Unrestricted {
				return errForbidden
			}
		}
		return f(c)
	}
}

func (c *call) listAppCredentials() error {
	q := c.r.URL.Query()
	out := []any{}
	for a := range appCredsByUser.By(c.snap, c.r.PathValue("id")) {
		if !q.Has("name") || q.Get("name") == a.Name {
			out = append(out, c.renderAppCredential(&a))
		}
	}
	return c.ok(200, map[string]any{"application_credentials": out, "links": c.links(strings.TrimPrefix(c.r.URL.Path, "/v3"))})
}

func (c *call) appCredential(r store.Reader) (AppCredential, error) {
	id := c.r.PathValue("credential")
	a, ok := appCredentials.Get(r, id)
	if !ok || a.User != c.r.PathValue("id") {
		return a, notFound("application credential", id)
	}
	return a, nil
}

func (c *call) showAppCredential() error {
	a, err := c.appCredential(c.snap)
	if err != nil {
		return err
	}
	return c.ok(200, map[string]any{"application_credential": c.renderAppCredential(&a)})
}

func (c *call) deleteAppCredential() error {
	err := c.commit(func(tx *store.Txn) error {
		a, err := c.appCredential(tx)
		if err == nil {
			appCredentials.Delete(tx, a.ID)
		}
		return err
	})
	if err != nil {
		return err
	}
	return c.none()
}

// createAppCredential makes one for the project of the caller's token, with the roles that are asked for, else all of it.
func (c *call) createAppCredential() error {
	in, err := c.body("application_credential")
	if err != nil {
		return err
	}
	if c.ses.proj == nil {
		return badRequest("An application credential is of a project; use a token that is scoped to one.")
	}
	a := AppCredential{ID: newID(), User: c.ses.user.ID, Project: c.ses.proj.ID}
	var secret string
	if err := firstErr(text(in, "name", &a.Name), text(in, "description", &a.Description), text(in, "secret", &secret), flag(in, "unrestricted", &a.Unrestricted)); err != nil {
		return err
	}
	if a.Name == "" || len(a.Name) > 255 || strings.ContainsRune(a.Name, 0) {
		return badRequest("Invalid input for field 'name': between 1 and 255 characters are wanted.")
	}
	rules, err := askedRules(in["access_rules"])
	if err != nil {
		return err
	}
	if a.Expires, err = expiry(in["expires_at"], c.cfg.Now()); err != nil {
		return err
	}
	if a.Roles, err = c.askedRoles(in["roles"]); err != nil {
		return err
	}
	if secret == "" {
		b := make([]byte, 32)
		rand.Read(b)
		secret = b64.EncodeToString(b)
	}
	if a.Hash, err = hashPassword(secret, c.cfg.PasswordCost); err != nil {
		return err
	}
	err = c.commit(func(tx *store.Txn) error {
		n := 0
		for x := range appCredsByUser.By(tx, a.User) {
			if n++; x.Name == a.Name {
				return conflict("Conflict occurred attempting to store application_credential - Duplicate entry found with name %s.", a.Name)
			}
		}
		if n >= maxAppCredentials {
			return &fault{http.StatusForbidden, "Unable to create additional application credentials, maximum of 100 already exceeded for user."}
		}
		if _, err := scope(tx, c.ses.claims); err != nil { // the user or his rights went meanwhile
			return errUnauthenticated
		}
		if a.AccessRules, err = takeRules(tx, a.User, rules); err != nil {
			return err
		}
		appCredentials.Put(tx, a.ID, a)
		return nil
	})
	if err != nil {
		return err
	}
	m := c.renderAppCredential(&a)
	m["secret"] = secret
	return c.ok(201, map[string]any{"application_credential": m})
}

// expiry reads an end in Keystone's form, with or without a fraction and Z.
func expiry(v any, now time.Time) (time.Time, error) {
	if v == nil {
		return time.Time{}, nil
	}
	s, _ := v.(string)
	t, err := time.Parse("2006-01-02T15:04:05", strings.TrimSuffix(s, "Z")) // takes a fraction too
	if err != nil || !t.After(now) {
		return t, badRequest("Invalid input for field 'expires_at': a time to come is wanted, as 2030-01-02T03:04:05.")
	}
	return t.UTC(), nil
}

// askedRoles are the ids of the roles of a body ([{"id"}] or [{"name"}]), which the caller's token must have; nothing stands for all
// that it has.
func (c *call) askedRoles(v any) ([]string, error) {
	var all, out []string
	for _, r := range c.ses.roles {
		all = append(all, r.ID)
	}
	l, ok := v.([]any)
	if v != nil && !ok {
		return nil, badRequest("Invalid input for field 'roles': a list of roles is wanted.")
	}
	if len(l) == 0 {
		return all, nil
	}
	for _, x := range l {
		m, _ := x.(map[string]any)
		at := slices.IndexFunc(c.ses.roles, func(r Role) bool {
			return str(m, "id") != "" && r.ID == str(m, "id") || str(m, "id") == "" && str(m, "name") != "" && r.Name == str(m, "name")
		})
		if at < 0 {
			return nil, badRequest("Invalid application credential: Could not find role assignment with role: %s%s.", str(m, "id"), str(m, "name"))
		}
		if id := c.ses.roles[at].ID; !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out, nil
}

// byAppCredential is the method of that name: {"id","secret"} or {"name","secret","user"}. Wrong secrets are counted like passwords.
func (c *call) byAppCredential(m map[string]any, cl *claims) (string, error) {
	secret, ok := m["secret"].(string)
	if !ok {
		return "", badRequest("Expecting to find secret in application_credential.")
	}
	var a AppCredential
	subject := str(m, "id")
	if subject != "" {
		a, _ = appCredentials.Get(c.snap, subject)
	} else {
		u := obj(m, "user")
		if str(m, "name") == "" || u == nil {
			return "", badRequest("Expecting to find id, or name and user, in application_credential.")
		}
		user, ok := users.Get(c.snap, str(u, "id"))
		if str(u, "id") == "" {
			user, ok = findUser(c.snap, str(u, "name"), domainID(c.snap, obj(u, "domain")))
		}
		subject = user.ID + "|" + str(m, "name")
		for x := range appCredsByUser.By(c.snap, user.ID) {
			if ok && x.Name == str(m, "name") {
				a = x
			}
		}
	}
	if len(subject) > maxCredential || len(secret) > maxCredential {
		return "", errUnauthenticated
	}
	at := c.guard.attempt("application credential "+subject, c.r.RemoteAddr)
	if err := c.guard.check(at, c.cfg.Now()); err != nil {
		return "", err
	}
	decoy := c.decoy() // takes a slot itself, once
	release, err := slot(c.r.Context())
	if err != nil {
		return "", err
	}
	defer release()
	now := c.cfg.Now()
	if err := c.guard.check(at, now); err != nil { // others may have guessed meanwhile
		return "", err
	}
	if !samePassword(a.Hash, secret, decoy) {
		c.guard.failed(at, now)
		return "", errUnauthenticated // whether or not there is such a credential
	}
	c.guard.passed(at, now)
	if !a.Expires.IsZero() {
		if !now.Before(a.Expires) {
			return "", errUnauthenticated
		}
		cl.Expires = min(cl.Expires, a.Expires.UnixMicro())
	}
	cl.Credential = a.ID
	return a.User, nil
}

// restrict leaves of a session that stems from an application credential what that gives: its project, and its roles as far as the user
// has them still.
func (s *session) restrict(r store.Reader) error {
	a, ok := appCredentials.Get(r, s.claims.Credential)
	if !ok || a.User != s.claims.User || s.claims.Target != projectTarget(a.Project) {
		return ErrUnauthorized
	}
	s.roles = slices.DeleteFunc(s.roles, func(x Role) bool { return !slices.Contains(a.Roles, x.ID) })
	if len(s.roles) == 0 {
		return ErrUnauthorized
	}
	s.rules = rulesOf(r, &a)
	return nil
}
