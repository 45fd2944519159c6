// SPDX-License-Identifier: Apache-2.0

package model

// DefaultRuleID is the id of a DefaultRule.
type DefaultRuleID string

// ParentGroup stands in a DefaultRule's RemoteGroup for the group that gets the rule.
const ParentGroup SecurityGroupID = "PARENT"

// DefaultRule is a rule that new security groups begin with. Its Key and Group are empty, as it is no rule of a group itself.
type DefaultRule struct {
	ID DefaultRuleID `json:"id"`
	Std
	RulePlane
	InDefault bool `json:"used_in_default_sg"`     // projects' default groups get it
	InOthers  bool `json:"used_in_non_default_sg"` // all others do
	// Gone marks a rule that is built in and was deleted.
	Gone bool `json:"gone,omitempty"`
}

// StatefulnessID is the id of a Statefulness.
type StatefulnessID string

// Statefulness says what new security groups of a project are, or of all projects if it has none, where the request does not.
type Statefulness struct {
	ID StatefulnessID `json:"id"`
	Std
	Stateful bool `json:"stateful"`
}
