// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"nagare/internal/model"
	"nagare/internal/store"
)

// What new security groups begin with. The data plane reads neither: it sees the rules that groups got.
var (
	DefaultRules   = store.Declare[model.DefaultRuleID, model.DefaultRule](Schema, "default-security-group-rules", store.Intent)
	Statefulnesses = store.Declare[model.StatefulnessID, model.Statefulness](Schema, "default-statefulnesses", store.Intent)
)

// StatefulnessesByProject finds a project's, "" for that of all projects.
var StatefulnessesByProject = store.DeclareIndex(Schema, Statefulnesses, "project", func(s model.Statefulness) []string {
	return []string{string(s.Project)}
})
