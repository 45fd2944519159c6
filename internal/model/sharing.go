// SPDX-License-Identifier: Apache-2.0

package model

// RBACPolicyID is the id of an RBACPolicy.
type RBACPolicyID string

// ShareAction is what a policy lets its target do with an object.
type ShareAction string

const (
	AsShared   ShareAction = "access_as_shared"   // see it, and use it like one's own
	AsExternal ShareAction = "access_as_external" // of a network: see it, and have gateways and floating IPs there
)

// Everybody is the target of a policy for all projects, as the API writes it.
const Everybody ProjectID = "*"

// RBACPolicy shares an object of one project with another, or with all. It is the only source of what is shared: an object's
// attribute "shared" is derived from it, and a network is external while a policy says so.
type RBACPolicy struct {
	ID RBACPolicyID `json:"id"`
	Std
	Kind   string      `json:"object_type"` // singular name of the object's collection
	Object string      `json:"object_id"`
	Action ShareAction `json:"action"`
	Target ProjectID   `json:"target_tenant"`
}
