// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"iter"
	"strings"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// shareable is what policies of sharing need to know of a kind of objects.
type shareable struct {
	when    func(*Config) bool
	actions []model.ShareAction
	// owner finds the object's project, as the caller sees the object.
	owner func(v *view, id string) (model.ProjectID, error)
	// granted and revoked follow a policy's begin and end, or refuse it; nil: nothing follows.
	granted func(w *work, p *model.RBACPolicy) error
	revoked func(w *work, p *model.RBACPolicy) error
}

// shareables are the kinds of objects that can be shared, by the name that policies give them.
var shareables = map[string]shareable{}

// share makes the resource's objects shareable: who holds a grant sees them like his own, and their policies go with them.
func (rs *Resource[T]) share(kind string) {
	s := shareable{when: rs.when, actions: []model.ShareAction{model.AsShared}, owner: func(v *view, id string) (model.ProjectID, error) {
		o, err := rs.find(v, id)
		return rs.std(&o).Project, err
	}}
	if rs.sharing != nil {
		rs.sharing(&s)
	}
	shareables[kind] = s
	sees, scope := rs.sees, rs.scope
	rs.sees = func(v *view, o *T) bool {
		if sees(v, o) {
			return true
		}
		for _, a := range s.actions {
			if v.granted(kind, rs.id(o), a) {
				return true
			}
		}
		return false
	}
	rs.scope = func(v *view) iter.Seq[T] {
		return both(scope(v), func(yield func(T) bool) {
			for _, a := range s.actions {
				for id := range v.grants(kind, a) {
					if o, ok := rs.get(v.r, id); ok && !yield(o) {
						return
					}
				}
			}
		})
	}
	rs.dropped = append(rs.dropped, func(w *work, o T) error {
		for p := range tables.RBACPoliciesByObject.By(w.tx, kind+"|"+rs.id(&o)) {
			tables.RBACPolicies.Delete(w.tx, p.ID)
		}
		return nil
	})
}

// sharedAttr is the attribute that tells whether an object is shared with the caller. settable says in which bodies it stands
// for a policy for everybody, which only an administrator may make or end; "" for none.
func sharedAttr[T any](rs *Resource[T], settable ...method) Attr[T] {
	a := Attr[T]{Name: "shared", Bool: true, Get: func(v *view, o *T) any { return v.granted(rs.shares, rs.id(o), model.AsShared) }}
	for _, m := range settable {
		a.Post, a.Put = a.Post || m == post, a.Put || m == put
	}
	if a.Post || a.Put {
		a.Parse, a.Default, a.SetPost, a.SetPut = boolean, false, adminOnly, adminOnly
		a.Take = func(w *work, o *T, in *values) error {
			return w.setEverybody(rs.shares, rs.id(o), rs.std(o).Project, model.AsShared, get[bool](in, "shared"))
		}
	}
	return a
}

// granted reports whether a policy gives the caller's project, or everybody, the object.
func (v *view) granted(kind, id string, a model.ShareAction) bool {
	return v.grantedTo(kind, id, a, model.Everybody) || v.who.ProjectID != "" && v.grantedTo(kind, id, a, v.who.ProjectID)
}

func (v *view) grantedTo(kind, id string, a model.ShareAction, target model.ProjectID) bool {
	_, ok := tables.RBACPoliciesByGrant.First(v.r, tables.RBACGrant(kind, id, a, target))
	return ok
}

// grants yields the ids of the objects of a kind that are shared with the caller's project or with everybody, some twice.
func (v *view) grants(kind string, a model.ShareAction) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, target := range []model.ProjectID{model.Everybody, v.who.ProjectID} {
			if target == "" {
				continue
			}
			for p := range tables.RBACPoliciesByTarget.By(v.r, kind+"|"+string(a)+"|"+string(target)) {
				if !yield(p.Object) {
					return
				}
			}
		}
	}
}

// setEverybody makes or ends the policy that shares an object with all projects.
func (w *work) setEverybody(kind, id string, owner model.ProjectID, a model.ShareAction, on bool) error {
	p, had := tables.RBACPoliciesByGrant.First(w.tx, tables.RBACGrant(kind, id, a, model.Everybody))
	switch {
	case on && !had:
		p = model.RBACPolicy{ID: model.RBACPolicyID(alloc.NewUUID()), Std: model.Std{Project: owner, CreatedAt: w.now, UpdatedAt: w.now},
			Kind: kind, Object: id, Action: a, Target: model.Everybody}
		tables.RBACPolicies.Put(w.tx, p.ID, p)
	case !on && had:
		if user, used := w.dependsOn(&p, owner, ""); used {
			return conflict("InvalidSharedSetting", "Unable to reconfigure sharing settings for %s %s. Project %s is using it.", strings.ReplaceAll(kind, "_", " "), id, user)
		}
		tables.RBACPolicies.Delete(w.tx, p.ID)
	}
	return nil
}

// dependsOn reports whether a project uses an object by this policy alone. next is the target that the policy is about to have.
func (w *work) dependsOn(p *model.RBACPolicy, owner, next model.ProjectID) (model.ProjectID, bool) {
	if next == model.Everybody || p.Target != model.Everybody && w.grantedTo(p.Kind, p.Object, p.Action, model.Everybody) {
		return "", false
	}
	group := userGroup(p.Kind, p.Object, p.Action)
	if p.Target != model.Everybody {
		return p.Target, p.Target != owner && p.Target != next && users.Has(w.tx, group, string(p.Target))
	}
	for name := range users.Members(w.tx, group) {
		user := model.ProjectID(name)
		if user != owner && user != next && !w.grantedTo(p.Kind, p.Object, p.Action, user) {
			return user, true
		}
	}
	return "", false
}

// users are the projects whose objects use an object of some kind: group = userGroup, member = project. A subject is "table|id".
var users = store.DeclareDerived(tables.Schema, "sharing-users", func(r store.Reader, subject string) []store.Member {
	table, id, _ := strings.Cut(subject, "|")
	return usages[table](r, id)
})

var usages = map[string]func(r store.Reader, id string) []store.Member{}

// uses declares that objects of a table use objects that can be shared: f gives the projects, by userGroup. A table is declared
// once under each name.
func uses[K ~string, T any](name string, t *store.Table[K, T], id func(*T) K, f func(r store.Reader, o *T) []store.Member) {
	usages[name] = func(r store.Reader, id string) []store.Member {
		o, ok := t.Get(r, K(id))
		if !ok {
			return nil
		}
		return f(r, &o)
	}
	store.From(users, t, func(_ store.Reader, o T) []string { return []string{name + "|" + string(id(&o))} })
}

func userGroup(kind, object string, a model.ShareAction) string {
	return kind + "|" + object + "|" + string(a)
}

// used says that a project uses an object as shared, unless there is none of either.
func used(kind, object string, by model.ProjectID) []store.Member {
	if object == "" || by == "" {
		return nil
	}
	return []store.Member{{Group: userGroup(kind, object, model.AsShared), Name: string(by)}}
}
