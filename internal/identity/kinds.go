// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"nagare/internal/api/jsonbody"
	"nagare/internal/model"
	"nagare/internal/store"
)

// kind declares one collection (domains, projects, users, roles) as data; the handlers below are the same for all.
type kind[K ~string, T any] struct {
	name, plural string
	table        *store.Table[K, T]
	byName       *store.Index[K, T]
	// known are the attributes with a meaning; others are kept in extra.
	known []string
	id    func(*T) K
	label func(*T) (name, domain string)
	extra func(*T) *map[string]any
	body  func(*T) map[string]any
	// apply takes attributes of a request into the record; fresh says that it is a new one.
	apply func(c *call, o *T, in map[string]any, fresh bool) error
	check func(r store.Reader, o *T) error // of references, inside the transaction
	// forget removes what hangs on the record.
	forget func(tx *store.Txn, o *T) error
	// mine reports whether somebody who is no administrator may see it.
	mine func(c *call, o *T) bool
}

func registerKind[K ~string, T any](s *Service, k *kind[K, T]) {
	base := "/v3/" + k.plural
	s.route("GET "+base, loggedIn, k.list)
	s.route("POST "+base, adminOnly, k.create)
	s.route("GET "+base+"/{id}", loggedIn, k.show)
	s.route("PATCH "+base+"/{id}", adminOnly, k.update)
	s.route("DELETE "+base+"/{id}", adminOnly, k.delete)
}

func (c *call) links(path string) map[string]any {
	return map[string]any{"self": c.cfg.PublicURL + path, "previous": nil, "next": nil}
}

func (k *kind[K, T]) render(c *call, o *T) map[string]any {
	m := maps.Clone(*k.extra(o))
	if m == nil {
		m = map[string]any{}
	}
	maps.Copy(m, k.body(o))
	m["links"] = map[string]any{"self": c.cfg.PublicURL + "/" + k.plural + "/" + string(k.id(o))}
	return m
}

func (k *kind[K, T]) list(c *call) error {
	if !c.admin() && k.name != "role" {
		return errForbidden
	}
	q := c.r.URL.Query()
	out := []any{}
	add := func(o T) bool {
		m := k.render(c, &o)
		for _, f := range []string{"name", "domain_id", "enabled", "parent_id", "id"} {
			if !q.Has(f) {
				continue
			}
			switch v := m[f].(type) {
			case bool:
				if v == slices.Contains([]string{"0", "false", "no"}, strings.ToLower(q.Get(f))) {
					return true
				}
			case string:
				if v != q.Get(f) {
					return true
				}
			default:
				if q.Get(f) != "" {
					return true
				}
			}
		}
		out = append(out, m)
		return true
	}
	if q.Has("name") {
		for o := range k.byName.By(c.snap, q.Get("name")) {
			add(o)
		}
	} else {
		for _, o := range k.table.All(c.snap) {
			add(o)
		}
	}
	return c.ok(200, map[string]any{k.plural: out, "links": c.links("/" + k.plural)})
}

func (k *kind[K, T]) show(c *call) error {
	id := c.r.PathValue("id")
	o, ok := k.table.Get(c.snap, K(id))
	switch {
	case !c.admin() && (!ok || !k.mine(c, &o)):
		return errForbidden // and not 404, which would tell who exists
	case !ok:
		return notFound(k.name, id)
	}
	return c.ok(200, map[string]any{k.name: k.render(c, &o)})
}

// unique refuses a second record with the name and domain.
func (k *kind[K, T]) unique(r store.Reader, o *T) error {
	name, dom := k.label(o)
	for x := range k.byName.By(r, name) {
		if n, d := k.label(&x); n == name && d == dom && k.id(&x) != k.id(o) {
			return conflict("Conflict occurred attempting to store %s - Duplicate entry found with name %s.", k.name, name)
		}
	}
	return nil
}

func (k *kind[K, T]) take(c *call, o *T, in map[string]any, fresh bool) error {
	if err := k.apply(c, o, in, fresh); err != nil {
		return err
	}
	if name, _ := k.label(o); name == "" || len(name) > 255 || strings.ContainsRune(name, 0) {
		return badRequest("Invalid input for field 'name': between 1 and 255 characters are wanted.")
	}
	extra := maps.Clone(*k.extra(o))
	for key, v := range in {
		if slices.Contains(k.known, key) {
			continue
		}
		if extra == nil {
			extra = map[string]any{}
		}
		plain, ok := jsonbody.Plain(v)
		if !ok {
			return badRequest("Invalid input for field '%s': a number is too large.", key)
		}
		extra[key] = plain
	}
	if len(extra) > 64 {
		return badRequest("Invalid input: more than 64 attributes.")
	}
	*k.extra(o) = extra
	return nil
}

func (k *kind[K, T]) create(c *call) error {
	in, err := c.body(k.name)
	if err != nil {
		return err
	}
	var o T
	if err := k.take(c, &o, in, true); err != nil {
		return err
	}
	err = c.commit(func(tx *store.Txn) error {
		if err := k.check(tx, &o); err != nil {
			return err
		}
		if err := k.unique(tx, &o); err != nil {
			return err
		}
		k.table.Put(tx, k.id(&o), o)
		return nil
	})
	if err != nil {
		return err
	}
	return c.ok(201, map[string]any{k.name: k.render(c, &o)})
}

func (k *kind[K, T]) update(c *call) error {
	in, err := c.body(k.name)
	if err != nil {
		return err
	}
	id := K(c.r.PathValue("id"))
	// Attributes are taken outside the transaction, because a password's hash takes long; if the record changed meanwhile,
	// once more.
	for range 8 {
		o, ok := k.table.Get(c.snap, id)
		if !ok {
			return notFound(k.name, string(id))
		}
		seen, _ := k.table.Info(c.snap, id)
		if err := k.take(c, &o, in, false); err != nil {
			return err
		}
		err = c.commit(func(tx *store.Txn) error {
			if now, ok := k.table.Info(tx, id); !ok || now.Modified != seen.Modified {
				return errChanged
			}
			if err := firstErr(k.check(tx, &o), k.unique(tx, &o)); err != nil {
				return err
			}
			k.table.Put(tx, id, o)
			return nil
		})
		if err == nil {
			return c.ok(200, map[string]any{k.name: k.render(c, &o)})
		}
		if !errors.Is(err, errChanged) {
			return err
		}
		c.snap = c.cfg.Store.Snapshot()
	}
	return conflict("The %s %s is being changed by others; try again.", k.name, id)
}

var errChanged = errors.New("record changed meanwhile")

func (k *kind[K, T]) delete(c *call) error {
	id := K(c.r.PathValue("id"))
	err := c.commit(func(tx *store.Txn) error {
		o, ok := k.table.Get(tx, id)
		if !ok {
			return notFound(k.name, string(id))
		}
		if err := k.forget(tx, &o); err != nil {
			return err
		}
		k.table.Delete(tx, id)
		return nil
	})
	if err != nil {
		return err
	}
	return c.none()
}

// text, flag: read an attribute if it is there, refusing other types.
func text(in map[string]any, key string, to *string) error {
	v, ok := in[key]
	if !ok {
		return nil
	}
	s, ok := v.(string)
	if v != nil && !ok {
		return badRequest("Invalid input for field '%s': a string is wanted.", key)
	}
	*to = s
	return nil
}

func flag(in map[string]any, key string, to *bool) error {
	v, ok := in[key]
	if !ok {
		return nil
	}
	b, ok := v.(bool)
	if !ok {
		return badRequest("Invalid input for field '%s': true or false is wanted.", key)
	}
	*to = b
	return nil
}

func firstErr(errs ...error) error {
	for _, e := range errs {
		if e != nil {
			return e
		}
	}
	return nil
}

func forgetAssignments(tx *store.Txn, ix *store.Index[string, Assignment], key string) {
	for a := range ix.By(tx, key) {
		assignments.Delete(tx, a.key())
	}
}

func wantDomain(r store.Reader, id string) error {
	if _, ok := domains.Get(r, id); !ok {
		return notFound("domain", id)
	}
	return nil
}

// home is the domain of a new record: as asked, else the caller's.
func home(c *call, in map[string]any, to *string) error {
	if err := text(in, "domain_id", to); err != nil {
		return err
	}
	if *to == "" {
		if *to = c.ses.user.Domain; c.ses.proj != nil {
			*to = c.ses.proj.Domain
		}
	}
	return nil
}

var domainKind = &kind[string, Domain]{
	name: "domain", plural: "domains", table: domains, byName: domainsByName,
	known: []string{"id", "name", "description", "enabled", "links", "options"},
	id:    func(d *Domain) string { return d.ID },
	label: func(d *Domain) (string, string) { return d.Name, "" },
	extra: func(d *Domain) *map[string]any { return &d.Extra },
	body: func(d *Domain) map[string]any {
		return map[string]any{"id": d.ID, "name": d.Name, "description": d.Description, "enabled": d.Enabled, "options": map[string]any{}}
	},
	apply: func(_ *call, d *Domain, in map[string]any, fresh bool) error {
		if fresh {
			d.ID, d.Enabled = newID(), true
		}
		return firstErr(text(in, "name", &d.Name), text(in, "description", &d.Description), flag(in, "enabled", &d.Enabled))
	},
	check: func(store.Reader, *Domain) error { return nil },
	forget: func(tx *store.Txn, d *Domain) error {
		if d.Enabled {
			return &fault{http.StatusForbidden, "Cannot delete a domain that is enabled, please disable it first."}
		}
		for p := range projectsByDom.By(tx, d.ID) {
			forgetAssignments(tx, assignmentsByTarget, projectTarget(p.ID))
			forgetAppCredentials(tx, appCredsByProj, string(p.ID))
			projects.Delete(tx, p.ID)
		}
		for u := range usersByDomain.By(tx, d.ID) {
			forgetAssignments(tx, assignmentsByUser, u.ID)
			forgetAppCredentials(tx, appCredsByUser, u.ID)
			forgetAccessRules(tx, u.ID)
			users.Delete(tx, u.ID)
		}
		forgetAssignments(tx, assignmentsByTarget, domainTarget(d.ID))
		return nil
	},
	mine: func(c *call, d *Domain) bool { return d.ID == c.ses.user.Domain },
}

var projectKind = &kind[model.ProjectID, Project]{
	name: "project", plural: "projects", table: projects, byName: projectsByName,
	known: []string{"id", "name", "domain_id", "description", "enabled", "parent_id", "is_domain", "links", "options", "tags"},
	id:    func(p *Project) model.ProjectID { return p.ID },
	label: func(p *Project) (string, string) { return p.Name, p.Domain },
	extra: func(p *Project) *map[string]any { return &p.Extra },
	body: func(p *Project) map[string]any {
		return map[string]any{"id": string(p.ID), "name": p.Name, "domain_id": p.Domain, "description": p.Description, "enabled": p.Enabled,
			"parent_id": p.Domain, "is_domain": false, "tags": []any{}, "options": map[string]any{}}
	},
	apply: func(c *call, p *Project, in map[string]any, fresh bool) error {
		if fresh {
			p.ID, p.Enabled = model.ProjectID(newID()), true
			if err := home(c, in, &p.Domain); err != nil {
				return err
			}
		}
		return firstErr(text(in, "name", &p.Name), text(in, "description", &p.Description), flag(in, "enabled", &p.Enabled))
	},
	check: func(r store.Reader, p *Project) error { return wantDomain(r, p.Domain) },
	forget: func(tx *store.Txn, p *Project) error {
		forgetAssignments(tx, assignmentsByTarget, projectTarget(p.ID))
		forgetAppCredentials(tx, appCredsByProj, string(p.ID))
		return nil
	},
	mine: func(c *call, p *Project) bool { return len(rolesOn(c.snap, c.ses.user.ID, projectTarget(p.ID))) > 0 },
}

var userKind = &kind[string, User]{
	name: "user", plural: "users", table: users, byName: usersByName,
	known: []string{"id", "name", "domain_id", "description", "enabled", "password", "original_password", "default_project_id",
		"password_expires_at", "links", "options"},
	id:    func(u *User) string { return u.ID },
	label: func(u *User) (string, string) { return u.Name, u.Domain },
	extra: func(u *User) *map[string]any { return &u.Extra },
	body: func(u *User) map[string]any {
		m := map[string]any{"id": u.ID, "name": u.Name, "domain_id": u.Domain, "enabled": u.Enabled, "password_expires_at": nil, "options": map[string]any{}}
		if u.Description != "" {
			m["description"] = u.Description
		}
		if u.DefaultProject != "" {
			m["default_project_id"] = string(u.DefaultProject)
		}
		return m
	},
	apply: func(c *call, u *User, in map[string]any, fresh bool) error {
		if fresh {
			u.ID, u.Enabled = newID(), true
			if err := home(c, in, &u.Domain); err != nil {
				return err
			}
		}
		var password string
		project := string(u.DefaultProject)
		err := firstErr(text(in, "name", &u.Name), text(in, "description", &u.Description), flag(in, "enabled", &u.Enabled),
			text(in, "default_project_id", &project), text(in, "password", &password))
		if err != nil {
			return err
		}
		u.DefaultProject = model.ProjectID(project)
		if password == "" {
			return nil
		}
		return u.setPassword(c, password)
	},
	check: func(r store.Reader, u *User) error { return wantDomain(r, u.Domain) },
	forget: func(tx *store.Txn, u *User) error {
		forgetAssignments(tx, assignmentsByUser, u.ID)
		forgetAppCredentials(tx, appCredsByUser, u.ID)
		forgetAccessRules(tx, u.ID)
		return nil
	},
	mine: func(c *call, u *User) bool { return u.ID == c.ses.user.ID },
}

// setPassword ends the user's tokens, those of this very microsecond included.
func (u *User) setPassword(c *call, password string) error {
	h, err := hashPassword(password, c.cfg.PasswordCost)
	if err != nil {
		return err
	}
	fresh := u.PasswordHash == ""
	u.PasswordHash = h
	if !fresh {
		u.NotBefore = c.cfg.Now().UTC().Truncate(time.Microsecond).Add(time.Microsecond)
	}
	return nil
}

var roleKind = &kind[string, Role]{
	name: "role", plural: "roles", table: roles, byName: rolesByName,
	known: []string{"id", "name", "domain_id", "description", "links", "options"},
	id:    func(r *Role) string { return r.ID },
	label: func(r *Role) (string, string) { return r.Name, r.Domain },
	extra: func(r *Role) *map[string]any { return &r.Extra },
	body: func(r *Role) map[string]any {
		m := map[string]any{"id": r.ID, "name": r.Name, "domain_id": nil, "description": r.Description, "options": map[string]any{}}
		if r.Domain != "" {
			m["domain_id"] = r.Domain
		}
		return m
	},
	apply: func(_ *call, r *Role, in map[string]any, fresh bool) error {
		if fresh {
			r.ID = newID()
			if err := text(in, "domain_id", &r.Domain); err != nil {
				return err
			}
		}
		return firstErr(text(in, "name", &r.Name), text(in, "description", &r.Description))
	},
	check: func(r store.Reader, x *Role) error {
		if x.Domain == "" {
			return nil
		}
		return wantDomain(r, x.Domain)
	},
	forget: func(tx *store.Txn, r *Role) error {
		forgetAssignments(tx, assignmentsByRole, r.ID)
		return nil
	},
	mine: func(*call, *Role) bool { return true },
}
