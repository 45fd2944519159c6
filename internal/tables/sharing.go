// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"nagare/internal/model"
	"nagare/internal/store"
)

// RBACPolicies are what projects share with each other. No rule of the data plane reads them.
var RBACPolicies = store.Declare[model.RBACPolicyID, model.RBACPolicy](Schema, "rbac-policies", store.Intent)

// Indices of policies.
var (
	RBACPoliciesByProject = store.DeclareIndex(Schema, RBACPolicies, "project", func(p model.RBACPolicy) []string { return []string{string(p.Project)} })
	// RBACPoliciesByObject finds an object's policies: kind|id.
	RBACPoliciesByObject = store.DeclareIndex(Schema, RBACPolicies, "object", func(p model.RBACPolicy) []string { return []string{p.Kind + "|" + p.Object} })
	// RBACPoliciesByTarget finds what of a kind is shared with a project or with everybody: kind|action|target.
	RBACPoliciesByTarget = store.DeclareIndex(Schema, RBACPolicies, "target", func(p model.RBACPolicy) []string {
		return []string{p.Kind + "|" + string(p.Action) + "|" + string(p.Target)}
	})
	// RBACPoliciesByGrant finds the one policy that says just that: RBACGrant.
	RBACPoliciesByGrant = store.DeclareIndex(Schema, RBACPolicies, "grant", func(p model.RBACPolicy) []string {
		return []string{RBACGrant(p.Kind, p.Object, p.Action, p.Target)}
	})
)

// RBACGrant is the key of RBACPoliciesByGrant. A project's id comes last, because it may hold anything.
func RBACGrant(kind, object string, action model.ShareAction, target model.ProjectID) string {
	return kind + "|" + object + "|" + string(action) + "|" + string(target)
}
