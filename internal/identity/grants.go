// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"slices"
	"strings"

	"nagare/internal/model"
	"nagare/internal/store"
)

// assignmentCall finds the target of a grant's path and hands it on.
func assignmentCall(kind string, f func(c *call, target string) error) func(*call) error {
	return func(c *call) error {
		id := c.r.PathValue("target")
		target := systemTarget
		switch kind {
		case "projects":
			if _, ok := findProject(c.snap, id); !ok {
				return notFound("project", id)
			}
			target = projectTarget(model.ProjectID(id))
		case "domains":
			if _, ok := domains.Get(c.snap, id); !ok {
				return notFound("domain", id)
			}
			target = domainTarget(id)
		}
		if _, ok := users.Get(c.snap, c.r.PathValue("user")); !ok {
			return notFound("user", c.r.PathValue("user"))
		}
		if role := c.r.PathValue("role"); role != "" {
			if _, ok := roles.Get(c.snap, role); !ok {
				return notFound("role", role)
			}
		}
		return f(c, target)
	}
}

func (c *call) listGrants(target string) error {
	out := []any{}
	for _, r := range rolesOn(c.snap, c.r.PathValue("user"), target) {
		out = append(out, roleKind.render(c, &r))
	}
	return c.ok(200, map[string]any{"roles": out, "links": c.links(strings.TrimPrefix(c.r.URL.Path, "/v3"))})
}

func (c *call) assignment(target string) Assignment {
	return Assignment{User: c.r.PathValue("user"), Role: c.r.PathValue("role"), Target: target}
}

func (c *call) checkGrant(target string) error {
	if _, ok := assignments.Get(c.snap, c.assignment(target).key()); !ok {
		return notFound("role assignment", c.r.PathValue("role"))
	}
	return c.none()
}

func (c *call) grant(target string) error {
	a := c.assignment(target)
	err := c.commit(func(tx *store.Txn) error {
		// Either end may have gone since it was looked up.
		if _, ok := users.Get(tx, a.User); !ok {
			return notFound("user", a.User)
		}
		if _, ok := roles.Get(tx, a.Role); !ok {
			return notFound("role", a.Role)
		}
		if id, isProject := strings.CutPrefix(target, "project:"); isProject {
			if _, ok := findProject(tx, id); !ok {
				return notFound("project", id)
			}
		}
		assignments.Put(tx, a.key(), a)
		return nil
	})
	if err != nil {
		return err
	}
	return c.none()
}

func (c *call) revoke(target string) error {
	a := c.assignment(target)
	err := c.commit(func(tx *store.Txn) error {
		if !assignments.Delete(tx, a.key()) {
			return notFound("role assignment", a.Role)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.none()
}

// listAssignments serves `openstack role assignment list`; somebody who is no administrator sees his own.
func (c *call) listAssignments() error {
	q := c.r.URL.Query()
	user := q.Get("user.id")
	if !c.admin() {
		if user != c.ses.user.ID {
			return errForbidden
		}
	}
	names := q.Has("include_names") && q.Get("include_names") != "0" && !strings.EqualFold(q.Get("include_names"), "false")
	out := []any{}
	add := func(a Assignment) {
		kind, id, _ := strings.Cut(a.Target, ":")
		if user != "" && a.User != user || q.Has("role.id") && q.Get("role.id") != a.Role ||
			q.Has("scope.project.id") && a.Target != projectTarget(model.ProjectID(q.Get("scope.project.id"))) ||
			q.Has("scope.domain.id") && a.Target != domainTarget(q.Get("scope.domain.id")) ||
			q.Has("scope.system") && a.Target != systemTarget {
			return
		}
		u := map[string]any{"id": a.User}
		r := map[string]any{"id": a.Role}
		s := map[string]any{"id": id}
		if names {
			if x, ok := users.Get(c.snap, a.User); ok {
				u["name"], u["domain"] = x.Name, c.domainRef(x.Domain)
			}
			if x, ok := roles.Get(c.snap, a.Role); ok {
				r["name"] = x.Name
			}
			if x, ok := findProject(c.snap, id); ok && kind == "project" {
				s["name"], s["domain"] = x.Name, c.domainRef(x.Domain)
			}
			if x, ok := domains.Get(c.snap, id); ok && kind == "domain" {
				s["name"] = x.Name
			}
		}
		scope := map[string]any{kind: s}
		if a.Target == systemTarget {
			scope = map[string]any{"system": map[string]any{"all": true}}
		}
		out = append(out, map[string]any{"user": u, "role": r, "scope": scope, "links": map[string]any{}})
	}
	if user != "" {
		for a := range assignmentsByUser.By(c.snap, user) {
			add(a)
		}
	} else {
		for _, a := range assignments.All(c.snap) {
			add(a)
		}
	}
	return c.ok(200, map[string]any{"role_assignments": out, "links": c.links("/role_assignments")})
}

func (c *call) domainRef(id string) map[string]any {
	d, _ := domains.Get(c.snap, id)
	return map[string]any{"id": id, "name": d.Name}
}

// projectsOf lists the enabled projects on which a user has a role.
func (c *call) projectsOf(user string) []any {
	out := []any{}
	var seen []string
	for a := range assignmentsByUser.By(c.snap, user) {
		id, isProject := strings.CutPrefix(a.Target, "project:")
		if !isProject || slices.Contains(seen, id) {
			continue
		}
		seen = append(seen, id)
		if p, ok := findProject(c.snap, id); ok && p.Enabled {
			out = append(out, projectKind.render(c, &p))
		}
	}
	return out
}

func (c *call) myProjects() error {
	return c.ok(200, map[string]any{"projects": c.projectsOf(c.ses.user.ID), "links": c.links("/auth/projects")})
}

func (c *call) userProjects() error {
	id := c.r.PathValue("id")
	if id != c.ses.user.ID && !c.admin() {
		return errForbidden
	}
	return c.ok(200, map[string]any{"projects": c.projectsOf(id), "links": c.links("/users/" + id + "/projects")})
}

func (c *call) myDomains() error {
	out := []any{}
	var seen []string
	for a := range assignmentsByUser.By(c.snap, c.ses.user.ID) {
		id, isDomain := strings.CutPrefix(a.Target, "domain:")
		if d, ok := domains.Get(c.snap, id); isDomain && ok && d.Enabled && !slices.Contains(seen, id) {
			seen = append(seen, id)
			out = append(out, domainKind.render(c, &d))
		}
	}
	return c.ok(200, map[string]any{"domains": out, "links": c.links("/auth/domains")})
}

// changePassword lets a user set his own password who knows the old one.
func (c *call) changePassword() error {
	in, err := c.body("user")
	if err != nil {
		return err
	}
	id := c.r.PathValue("id")
	if id != c.ses.user.ID {
		return errForbidden
	}
	old, _ := in["original_password"].(string)
	password, _ := in["password"].(string)
	if old == "" || password == "" {
		return badRequest("Expecting to find original_password and password in user.")
	}
	u := c.ses.user
	if err := c.login(&u, old); err != nil {
		return err
	}
	checked := u.PasswordHash
	if err := u.setPassword(c, password); err != nil {
		return err
	}
	err = c.commit(func(tx *store.Txn) error {
		now, ok := users.Get(tx, id)
		if !ok || now.PasswordHash != checked {
			return conflict("The password was changed meanwhile.")
		}
		now.PasswordHash, now.NotBefore = u.PasswordHash, u.NotBefore
		users.Put(tx, id, now)
		return nil
	})
	if err != nil {
		return err
	}
	return c.none()
}
