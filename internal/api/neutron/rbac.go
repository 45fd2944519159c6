// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"iter"
	"net/http"
	"slices"
	"strings"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

var rbacPolicies = new(Resource[model.RBACPolicy])

func init() {
	declare(part{extensions: []extension{
		{"rbac-policies", "RBAC Policies", "Allows creation and modification of policies that control tenant access to resources.", "2015-06-17T12:15:12-00:00"},
		{"rbac-security-groups", "Add security_group type to network RBAC", "Add security_group type to network RBAC", "2018-05-07T00:00:00-00:00"},
		{"security-groups-shared-filtering", "Security group filtering on the shared field", "Support filtering security groups on the shared field", "2019-11-26T10:00:00-00:00"},
	}})
	declare(part{when: whereFiltered, extensions: []extension{
		{"rbac-address-group", "Add address_group type to RBAC", "Add address_group type to RBAC", "2020-08-25T10:00:00-00:00"},
	}})
	project := func(_ *view, p *model.RBACPolicy) any { return string(p.Project) }
	wildcard := func(v any) bool { return v == string(model.Everybody) }
	rbacPolicies.declare(Resource[model.RBACPolicy]{
		name: "rbac_policy", plural: "rbac_policies", path: "rbac-policies",
		quota: atMost(10, tables.RBACPolicies, func(p *model.RBACPolicy) string { return string(p.ID) }),
		id:    func(p *model.RBACPolicy) string { return string(p.ID) },
		std:   func(p *model.RBACPolicy) *model.Std { return &p.Std },
		get: func(r store.Reader, id string) (model.RBACPolicy, bool) {
			return tables.RBACPolicies.Get(r, model.RBACPolicyID(id))
		},
		put: func(tx *store.Txn, p model.RBACPolicy) error { tables.RBACPolicies.Put(tx, p.ID, p); return nil },
		from: func(r store.Reader, id string) iter.Seq[model.RBACPolicy] {
			return records(tables.RBACPolicies.From(r, model.RBACPolicyID(id)))
		},
		back: backwards(tables.RBACPolicies),
		gone: func(id string) *Error {
			return fail(http.StatusNotFound, "RbacPolicyNotFound", "RBAC policy of type unknown with ID %s not found", id)
		},
		lookups: []lookup[model.RBACPolicy]{
			{attr: "id", by: one(tables.RBACPolicies)},
			{attr: "project_id", in: tables.RBACPoliciesByProject},
			{attr: "tenant_id", in: tables.RBACPoliciesByProject},
		},
		scope: func(v *view) iter.Seq[model.RBACPolicy] {
			return tables.RBACPoliciesByProject.By(v.r, string(v.who.ProjectID))
		},
		sees:   func(v *view, p *model.RBACPolicy) bool { return v.mine(p.Project) },
		create: owner, change: owner, remove: owner,
		build: buildPolicy, update: updatePolicy, delete: deletePolicy,
		// It has neither a name nor a description, tags or times.
		attrs: []Attr[model.RBACPolicy]{
			{Name: "id", Get: func(_ *view, p *model.RBACPolicy) any { return string(p.ID) }},
			{Name: "tenant_id", Get: project, Parse: text(255), Post: true},
			{Name: "project_id", Get: project, Parse: text(255), Post: true},
			{Name: "object_type", Get: func(_ *view, p *model.RBACPolicy) any { return p.Kind }, Parse: sharedKind, Post: true, Required: true},
			{Name: "object_id", Get: func(_ *view, p *model.RBACPolicy) any { return p.Object }, Parse: uuidText, Post: true, Required: true},
			{Name: "action", Get: func(_ *view, p *model.RBACPolicy) any { return string(p.Action) }, Parse: text(255), Post: true, Required: true},
			{Name: "target_tenant", Get: func(_ *view, p *model.RBACPolicy) any { return string(p.Target) }, Parse: notEmptyText(255), Post: true, Put: true, Required: true,
				SetPost: adminOnly, SetPut: adminOnly, SetWhen: wildcard, Except: "not field:rbac_policy:target_tenant=*"},
		},
	})

	uses("port", tables.Ports, func(p *model.Port) model.PortID { return p.ID }, func(_ store.Reader, p *model.Port) (out []store.Member) {
		if p.IsDHCP() {
			return nil
		}
		out = used("network", string(p.Network), p.Project)
		for _, g := range p.SecurityGroups {
			out = append(out, used("security_group", string(g), p.Project)...)
		}
		return out
	})
	uses("rule", tables.Rules, func(r *model.SecurityGroupRule) model.SecurityGroupRuleID { return r.ID }, func(_ store.Reader, r *model.SecurityGroupRule) []store.Member {
		return append(used("security_group", string(r.RemoteGroup), r.Project), used("address_group", string(r.RemoteAddressGroup), r.Project)...)
	})
}

// notEmptyText takes strings of 1 to n bytes.
func notEmptyText(n int) parser {
	p := text(n)
	return func(v any) (any, error) {
		s, err := p(v)
		if err == nil && strings.TrimSpace(s.(string)) == "" {
			return nil, because("'%s' Blank strings are not permitted", show(v))
		}
		return s, err
	}
}

// sharedKind takes the name of a kind of objects, in any case. Whether this configuration has it, the builder knows.
func sharedKind(v any) (any, error) {
	s, ok := v.(string)
	kind := strings.ToLower(strings.TrimSpace(s))
	if _, known := shareables[kind]; !ok || !known {
		return nil, invalidInput("'%s' is not a valid RBAC object type", show(v))
	}
	return kind, nil
}

func buildPolicy(w *work, in *values) (model.RBACPolicy, error) {
	p := model.RBACPolicy{ID: model.RBACPolicyID(alloc.NewUUID()), Std: w.newStd(in, 0), Kind: get[string](in, "object_type"), Object: get[string](in, "object_id"),
		Action: model.ShareAction(get[string](in, "action")), Target: model.ProjectID(get[string](in, "target_tenant"))}
	s := shareables[p.Kind]
	if s.when != nil && !s.when(&w.api.cfg) {
		return p, invalidInput("'%s' is not a valid RBAC object type", p.Kind)
	}
	if !slices.Contains(s.actions, p.Action) {
		valid := make([]string, 0, len(s.actions))
		for _, a := range s.actions {
			valid = append(valid, "'"+string(a)+"'")
		}
		return p, invalidInput("Invalid action '%s' for object type '%s'. Valid actions: [%s]", show(string(p.Action)), p.Kind, strings.Join(valid, ", "))
	}
	if _, err := w.ownerOf(&p); err != nil {
		return p, err
	}
	if err := w.mayShare(&p, "create_rbac_policy"); err != nil {
		return p, err
	}
	if err := w.distinct(&p); err != nil {
		return p, err
	}
	if s.granted != nil {
		if err := s.granted(w, &p); err != nil {
			return p, err
		}
	}
	tables.RBACPolicies.Put(w.tx, p.ID, p)
	return p, nil
}

// ownerOf gives the project of a policy's object. Only that project and administrators share the object.
func (w *work) ownerOf(p *model.RBACPolicy) (model.ProjectID, error) {
	of, err := shareables[p.Kind].owner(&w.view, p.Object)
	if err != nil {
		return of, err
	}
	if !w.admin && !w.mine(of) {
		return of, invalidInput("Only admins can manipulate policies on %s objects they do not own", p.Kind)
	}
	return of, nil
}

// mayShare: what a network is to the cloud's outside is the administrators' business.
func (w *work) mayShare(p *model.RBACPolicy, action string) error {
	if p.Action == model.AsExternal && !w.admin {
		return forbidden(action, []string{"action"})
	}
	return nil
}

func (w *work) distinct(p *model.RBACPolicy) error {
	if w.grantedTo(p.Kind, p.Object, p.Action, p.Target) {
		return conflict("DuplicateRbacPolicy", "An RBAC policy already exists with those values.")
	}
	return nil
}

// policyInUse refuses to take a grant back on which something stands.
func policyInUse(p *model.RBACPolicy, details string) *Error {
	return conflict("RbacPolicyInUse", "RBAC policy on object %s cannot be removed because other objects depend on it.\nDetails: %s", p.Object, details)
}

// revoke refuses to end a policy that is in use; next is the target that it will have in its place.
func (w *work) revoke(p *model.RBACPolicy, next model.ProjectID) error {
	// The object is looked up as the service: who owns the policy may have lost sight of it.
	of, err := shareables[p.Kind].owner(&w.elevated().view, p.Object)
	if err != nil {
		return nil // nothing is left to share
	}
	if user, used := w.dependsOn(p, of, next); used {
		return policyInUse(p, "project "+string(user)+" is using the "+strings.ReplaceAll(p.Kind, "_", " "))
	}
	return nil
}

func updatePolicy(w *work, p model.RBACPolicy, in *values) (model.RBACPolicy, error) {
	next := model.ProjectID(get[string](in, "target_tenant"))
	if !in.asked("target_tenant") || next == p.Target {
		return p, nil
	}
	if err := w.mayShare(&p, "update_rbac_policy"); err != nil {
		return p, err
	}
	if err := w.revoke(&p, next); err != nil {
		return p, err
	}
	p.Target = next
	return p, w.distinct(&p)
}

func deletePolicy(w *work, p model.RBACPolicy) error {
	if err := w.mayShare(&p, "delete_rbac_policy"); err != nil {
		return err
	}
	if err := w.revoke(&p, ""); err != nil {
		return err
	}
	tables.RBACPolicies.Delete(w.tx, p.ID)
	if f := shareables[p.Kind].revoked; f != nil {
		return f(w, &p)
	}
	return nil
}
