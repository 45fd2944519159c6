// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"slices"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Kinds of objects that can be shared, as policies of sharing name them.
const (
	sharedNetwork = "network"
	sharedPolicy  = "qos_policy"
	sharedGroup   = "security_group"
)

// everybodys reports whether an object is there for all projects. The policy that says so is the only source of it: the other
// Neutron's "shared" and "router:external" become such policies, so that members of other projects see the object by our own API.
func everybodys(r store.Reader, kind, id string, a model.ShareAction) bool {
	_, ok := tables.RBACPoliciesByGrant.First(r, tables.RBACGrant(kind, id, a, model.Everybody))
	return ok
}

// sharedAttr tells whether an object is shared with all projects.
func sharedAttr[T any](kind string, id func(*T) string) attr[T] {
	return attr[T]{name: "shared", get: func(e *env, o *T) any { return everybodys(e.r, kind, id(o), model.AsShared) }}
}

// readShared reads whether an object is shared with all projects, and gives the part that has it so.
func readShared(in *input, kind string, owner func(store.Reader, string) model.ProjectID) part {
	shared := in.boolean("shared", false)
	return func(w *work) error {
		w.setEverybody(kind, in.id, owner(w.tx, in.id), model.AsShared, shared)
		return nil
	}
}

// setEverybody makes or ends the policy that shares an object with all projects.
func (w *work) setEverybody(kind, id string, owner model.ProjectID, a model.ShareAction, on bool) {
	p, had := tables.RBACPoliciesByGrant.First(w.tx, tables.RBACGrant(kind, id, a, model.Everybody))
	switch {
	case on && !had:
		p = model.RBACPolicy{ID: model.RBACPolicyID(alloc.NewUUID()), Std: model.Std{Project: owner, CreatedAt: w.now, UpdatedAt: w.now},
			Kind: kind, Object: id, Action: a, Target: model.Everybody}
		tables.RBACPolicies.Put(w.tx, p.ID, p)
	case !on && had:
		tables.RBACPolicies.Delete(w.tx, p.ID)
	}
}

// setExternal makes a network external for everybody, or for nobody: one that is not external has no policy that says it is.
func (w *work) setExternal(n *model.Network) {
	if n.External {
		w.setEverybody(sharedNetwork, string(n.ID), n.Project, model.AsExternal, true)
		return
	}
	w.unshare(sharedNetwork, string(n.ID), func(p *model.RBACPolicy) bool { return p.Action == model.AsExternal })
}

// unshare ends policies of an object; nil: all.
func (w *work) unshare(kind, id string, which func(*model.RBACPolicy) bool) {
	for _, p := range slices.Collect(tables.RBACPoliciesByObject.By(w.tx, kind+"|"+id)) {
		if which == nil || which(&p) {
			tables.RBACPolicies.Delete(w.tx, p.ID)
		}
	}
}
