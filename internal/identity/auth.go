// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"nagare/internal/model"
	"nagare/internal/store"
)

// obj digs for an object in a decoded body; absent and wrong types give nil, on which further digging is safe.
func obj(m map[string]any, path ...string) map[string]any {
	for _, p := range path {
		m, _ = m[p].(map[string]any)
	}
	return m
}

func str(m map[string]any, key string) string {
	s, _ := m[key].(string)
	return s
}

// authenticate is POST /v3/auth/tokens: credentials in, a signed token out. Whatever is wrong with the credentials, the answer
// is the same 401.
func (c *call) authenticate() error {
	auth, err := c.body("auth")
	if err != nil {
		return err
	}
	ident := obj(auth, "identity")
	list, _ := ident["methods"].([]any)
	if len(list) == 0 {
		return badRequest("Expecting to find auth.identity.methods in the request body.")
	}
	now := c.cfg.Now()
	cl := &claims{Audit: newAudit(), Issued: now.UnixMicro(), Expires: now.Add(c.cfg.TokenLifetime).UnixMicro()}
	for _, m := range list {
		var user string
		switch m {
		case "password":
			user, err = c.byPassword(obj(ident, "password", "user"))
		case "token":
			user, err = c.byToken(str(obj(ident, "token"), "id"), cl)
		case appCredentialMethod:
			user, err = c.byAppCredential(obj(ident, appCredentialMethod), cl)
		default:
			return errUnauthenticated
		}
		if err != nil {
			return err
		}
		if cl.User != "" && cl.User != user {
			return errUnauthenticated
		}
		cl.User = user
		if method := m.(string); !slices.Contains(cl.Methods, method) {
			cl.Methods = append(cl.Methods, method)
		}
	}
	if err := c.chooseScope(auth, cl); err != nil {
		return err
	}
	ses, err := scope(c.snap, cl)
	if err != nil {
		return errUnauthenticated
	}
	key, _ := keys.Get(c.snap, currentKey)
	c.w.Header().Set("X-Subject-Token", sign(key.Secret, cl))
	return c.ok(201, map[string]any{"token": c.tokenBody(ses)})
}

func (c *call) byPassword(u map[string]any) (string, error) {
	if u == nil {
		return "", badRequest("Expecting to find auth.identity.password.user in the request body.")
	}
	password, ok := u["password"].(string)
	if !ok {
		return "", badRequest("Expecting to find password in user.")
	}
	var user User
	var known bool
	if id := str(u, "id"); id != "" {
		if user, known = users.Get(c.snap, id); !known {
			user.ID = id
		}
	} else if name := str(u, "name"); name != "" {
		d := obj(u, "domain")
		if d == nil {
			return "", badRequest("Expecting to find domain in user.")
		}
		if user, known = findUser(c.snap, name, domainID(c.snap, d)); !known {
			user.ID = name
		}
	} else {
		return "", badRequest("Expecting to find id or name in user.")
	}
	return user.ID, c.login(&user, password)
}

// login checks a password; see checkLogin.
func (c *call) login(u *User, password string) error {
	if err := c.checkLogin(c.r.Context(), c.snap, u, password, c.r.RemoteAddr); !errors.Is(err, ErrUnauthorized) {
		return err
	}
	return errUnauthenticated
}

// byToken makes a token from a token. The new one ends no later than the old and belongs to its chain.
func (c *call) byToken(token string, cl *claims) (string, error) {
	old, err := resolve(c.snap, token, c.cfg.Now())
	if err != nil {
		return "", errUnauthenticated
	}
	cl.Expires, cl.Credential = min(cl.Expires, old.claims.Expires), old.claims.Credential
	if cl.Parent = old.claims.Parent; cl.Parent == "" {
		cl.Parent = old.claims.Audit
	}
	for _, m := range old.claims.Methods {
		if !slices.Contains(cl.Methods, m) {
			cl.Methods = append(cl.Methods, m)
		}
	}
	return old.user.ID, nil
}

func domainID(r store.Reader, d map[string]any) string {
	if id := str(d, "id"); id != "" {
		return id
	}
	name := str(d, "name")
	for x := range domainsByName.By(r, name) {
		if x.Name == name {
			return x.ID
		}
	}
	return ""
}

// chooseScope sets the target of the claims from the request, or from the user's default project.
func (c *call) chooseScope(auth map[string]any, cl *claims) error {
	s, given := auth["scope"]
	if s == "unscoped" {
		return nil
	}
	want, _ := s.(map[string]any)
	switch {
	case obj(want, "project") != nil:
		p := obj(want, "project")
		if id := str(p, "id"); id != "" {
			cl.Target = projectTarget(model.ProjectID(id))
			return nil
		}
		name, dom := str(p, "name"), domainID(c.snap, obj(p, "domain"))
		for x := range projectsByName.By(c.snap, name) {
			if x.Name == name && x.Domain == dom {
				cl.Target = projectTarget(x.ID)
				return nil
			}
		}
		return errUnauthenticated
	case obj(want, "domain") != nil:
		id := domainID(c.snap, obj(want, "domain"))
		if id == "" {
			return errUnauthenticated
		}
		cl.Target = domainTarget(id)
	case obj(want, "system") != nil:
		cl.Target = systemTarget
	case given && s != nil:
		return badRequest("Expecting to find project, domain or system in auth.scope.")
	case cl.Credential != "":
		if a, ok := appCredentials.Get(c.snap, cl.Credential); ok {
			cl.Target = projectTarget(a.Project)
		}
	default:
		// A default project that is gone or that the user lost gives an unscoped token, not an error.
		if u, ok := users.Get(c.snap, cl.User); ok && u.DefaultProject != "" {
			try := *cl
			try.Target = projectTarget(u.DefaultProject)
			if _, err := scope(c.snap, &try); err == nil {
				cl.Target = try.Target
			}
		}
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

func (c *call) tokenBody(s *session) map[string]any {
	t := map[string]any{
		"methods":    s.claims.Methods,
		"audit_ids":  s.claims.auditIDs(),
		"expires_at": stamp(s.claims.expires()),
		"issued_at":  stamp(s.claims.issued()),
		"user": map[string]any{"id": s.user.ID, "name": s.user.Name, "password_expires_at": nil,
			"domain": map[string]any{"id": s.domain.ID, "name": s.domain.Name}},
	}
	if a, ok := appCredentials.Get(c.snap, s.claims.Credential); ok {
		m := map[string]any{"id": a.ID, "name": a.Name, "restricted": !a.Unrestricted}
		if s.rules != nil {
			m["access_rules"] = ruleBodies(s.rules)
		}
		t["application_credential"] = m
	}
	if s.claims.Target == "" {
		return t
	}
	var rs []any
	for _, r := range s.roles {
		rs = append(rs, map[string]any{"id": r.ID, "name": r.Name})
	}
	t["roles"] = rs
	switch {
	case s.proj != nil:
		d, _ := domains.Get(c.snap, s.proj.Domain)
		t["project"] = map[string]any{"id": string(s.proj.ID), "name": s.proj.Name, "domain": map[string]any{"id": d.ID, "name": d.Name}}
		t["is_domain"] = false
	case s.dom != nil:
		t["domain"] = map[string]any{"id": s.dom.ID, "name": s.dom.Name}
	default:
		t["system"] = map[string]any{"all": true}
	}
	if !c.r.URL.Query().Has("nocatalog") {
		t["catalog"] = c.catalog()
	}
	return t
}

// subject resolves X-Subject-Token for its owner, a service or an administrator; these two are told of one that ended within the window.
func (c *call) subject(window time.Duration) (*session, error) {
	all := c.admin() || slices.ContainsFunc(c.ses.roles, func(r Role) bool { return r.Name == RoleService })
	if !all {
		window = 0
	}
	s, err := resolveWithin(c.snap, c.r.Header.Get("X-Subject-Token"), c.cfg.Now(), window)
	if err != nil {
		return nil, &fault{404, "Could not find token."}
	}
	if s.user.ID != c.ses.user.ID && !all {
		return nil, errForbidden
	}
	return s, nil
}

// accessRulesHeader says that who asks for a token enforces access rules, as the number of their version.
const accessRulesHeader = "OpenStack-Identity-Access-Rules"

func knowsRules(version string) bool {
	n, err := strconv.ParseFloat(version, 64)
	return err == nil && n >= 1
}

func (c *call) showToken() error {
	var window time.Duration
	if q := strings.ToLower(c.r.URL.Query().Get("allow_expired")); slices.Contains([]string{"1", "t", "true", "on", "y", "yes"}, q) {
		window = ExpiredWindow
	}
	s, err := c.subject(window)
	if err != nil {
		return err
	}
	if s.rules != nil && !knowsRules(c.r.Header.Get(accessRulesHeader)) {
		return &fault{404, "Could not find token. It has access rules, which who asks does not say to enforce (" + accessRulesHeader + ")."}
	}
	c.w.Header().Set("X-Subject-Token", c.r.Header.Get("X-Subject-Token"))
	return c.ok(200, map[string]any{"token": c.tokenBody(s)})
}

// revokeToken ends a token, and remembers that until it would have ended by itself, whoever used it.
func (c *call) revokeToken() error {
	s, err := c.subject(0)
	if err != nil {
		return err
	}
	if s.user.ID != c.ses.user.ID && !c.admin() {
		return errForbidden
	}
	now := c.cfg.Now()
	err = c.commit(func(tx *store.Txn) error {
		// Of those that are of no use any more the ones next to the new one go. Ids are random, so that all get their turn, and few are
		// looked at each time.
		looked := 0
		for id, r := range revocations.From(tx, s.claims.Audit) {
			if !now.Before(r.Expires.Add(ExpiredWindow)) {
				revocations.Delete(tx, id)
			}
			if looked++; looked == 8 {
				break
			}
		}
		revocations.Put(tx, s.claims.Audit, revocation{Audit: s.claims.Audit, Expires: s.claims.expires()})
		return nil
	})
	if err != nil {
		return err
	}
	return c.none()
}
