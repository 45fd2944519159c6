// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"strconv"

	"nagare/internal/model"
	"nagare/internal/policy"
	"nagare/internal/store"
)

// SetPolicy has policy files decide what they name, in place of the built-in rules, from the next request on; of a rule in several files
// the last counts. Without any text the built-in rules hold alone. Errors name the file, the line and the rule; what was in force stays.
func (a *API) SetPolicy(files ...policy.File) error {
	set, err := policy.LoadAll(files, Rules())
	if err != nil {
		return err
	}
	for _, d := range Rules() {
		if set.Decides(d.Name) {
			a.policy.Store(set)
			return nil
		}
	}
	a.policy.Store(nil)
	return nil
}

// rights fills in what the caller is by role and scope, as the policy file has it if it says something about that.
func (v *view) rights(file *policy.Set) {
	v.admin, v.service, v.global, v.writes = v.who.IsAdmin(), v.who.IsService(), v.who.ReadsAll(), v.who.CanWrite()
	if file == nil {
		return
	}
	v.file = file
	v.creds = &policy.Creds{UserID: v.who.UserID, UserDomain: v.who.UserDomain, ProjectID: string(v.who.ProjectID), Roles: v.who.Roles,
		System: v.who.System, Admin: v.admin, Writer: v.writes}
	for _, x := range []struct {
		name string
		to   *bool
	}{{"context_is_admin", &v.admin}, {"context_is_advsvc", &v.service}, {"context_with_global_access", &v.global}, {"regular_user", &v.writes}} {
		if may, decided := file.May(x.name, policy.Nothing{}, v.creds); decided {
			*x.to = may
		}
	}
	v.creds.Admin = v.admin
}

// permits decides an operation that is about no object of a Resource, at most about a project.
func (v *view) permits(name string, builtin bool, project model.ProjectID) bool {
	if v.file != nil {
		if may, decided := v.file.May(name, projectTarget(project), v.creds); decided {
			return may
		}
	}
	return builtin
}

// ruled decides a rule about an object: the policy file, if it says something about the name, else the built-in rule, and for operations
// also whether the caller may write at all. o may be nil (it is being made), and in (nothing is set).
func (rs *Resource[T]) ruled(v *view, name string, r Rule, t target, o *T, in *values) bool {
	if v.file != nil {
		if may, decided := v.file.May(name, &asked[T]{v, rs, t, o, in}, v.creds); decided {
			return may
		}
	}
	return v.may(r, t)
}

// operation is ruled for what changes something.
func (rs *Resource[T]) operation(v *view, name string, r Rule, t target, o *T, in *values) bool {
	if v.file != nil && v.file.Decides(name) {
		return rs.ruled(v, name, r, t, o, in)
	}
	return v.writes && v.may(r, t)
}

// seesAttr decides whether the caller sees the attribute of some objects at least; with a policy file, append asks again for each.
func (v *view) mightSee(name string, r Rule) bool {
	if v.file != nil && v.file.Decides(name) {
		return r != hidden
	}
	return v.seesRule(r)
}

// knows decides whether the caller may filter and sort by an attribute: only if he sees it whatever the object.
func (v *view) knows(name string, r Rule) bool {
	if v.file != nil && r != hidden {
		if may, decided := v.file.May(name, policy.Nothing{}, v.creds); decided {
			return may
		}
	}
	return v.seesRule(r)
}

// projectTarget is a target of which only the project is known.
type projectTarget model.ProjectID

// Value implements policy.Target.
func (p projectTarget) Value(name string) (string, bool) {
	return string(p), p != "" && (name == "project_id" || name == "tenant_id")
}

// Field implements policy.Target.
func (projectTarget) Field(string, string) (string, bool) { return "", false }

// asked is the object that a rule is about: as it is to be, so that what a body sets comes before what the object has.
type asked[T any] struct {
	v  *view
	rs *Resource[T]
	t  target
	o  *T
	in *values
}

// Value implements policy.Target.
func (a *asked[T]) Value(name string) (string, bool) {
	switch name {
	case "project_id", "tenant_id":
		return string(a.t.project), a.t.project != ""
	case "network:project_id", "network:tenant_id":
		return string(a.t.network), a.t.network != ""
	case "ext_parent:project_id", "ext_parent:tenant_id":
		if a.v.under == nil {
			return "", false
		}
		return string(a.v.under.project), a.v.under.project != ""
	}
	for suffix := range map[string]bool{":project_id": true, ":tenant_id": true} {
		if n := len(name) - len(suffix); n > 0 && name[n:] == suffix {
			if p, ok := peers[name[:n]]; ok {
				id, _ := a.own(p.name + "_id")
				project, ok := p.project(a.v.r, id)
				return string(project), ok && project != ""
			}
		}
	}
	return a.own(name)
}

// own is an attribute of the object itself.
func (a *asked[T]) own(name string) (string, bool) {
	if a.in != nil && a.in.has(name) {
		return policyText(a.in.m[name])
	}
	attr := a.rs.byName[name]
	if a.o == nil || attr == nil || attr.Get == nil {
		return "", false
	}
	return policyText(attr.Get(a.v, a.o))
}

// Field implements policy.Target.
func (a *asked[T]) Field(collection, name string) (string, bool) {
	if collection == a.rs.name || collection == a.rs.plural {
		return a.own(name)
	}
	p, ok := peers[collection]
	if !ok {
		return "", false
	}
	id, _ := a.own(p.name + "_id")
	return p.field(a.v, id, name)
}

// policyText is a value as check strings write it.
func policyText(val any) (string, bool) {
	switch x := val.(type) {
	case string:
		return x, true
	case bool:
		if x {
			return "True", true
		}
		return "False", true
	case int:
		return strconv.Itoa(x), true
	case nil:
		return "None", true
	case fmt.Stringer:
		return x.String(), true
	}
	return "", false
}

// peer is how rules look at objects that others belong to: by name ("network") and plural ("networks").
type peer struct {
	name    string
	project func(r store.Reader, id string) (model.ProjectID, bool)
	field   func(v *view, id, attr string) (string, bool)
}

var peers = map[string]peer{}

// peer makes the resource's objects known to rules about what belongs to them.
func (rs *Resource[T]) peer() {
	p := peer{name: rs.name, project: func(r store.Reader, id string) (model.ProjectID, bool) {
		o, ok := rs.get(r, id)
		return rs.std(&o).Project, ok
	}, field: func(v *view, id, attr string) (string, bool) {
		o, ok := rs.get(v.r, id)
		if !ok {
			return "", false
		}
		return (&asked[T]{v, rs, rs.targetOf(v, &o), &o, nil}).Value(attr)
	}}
	peers[rs.name], peers[rs.plural] = p, p
}
