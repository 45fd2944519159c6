// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"nagare/internal/model"
	"nagare/internal/store"
)

// Metering labels and their rules. The data plane reads neither.
var (
	MeteringLabels = store.Declare[model.MeteringLabelID, model.MeteringLabel](Schema, "metering-labels", store.Intent)
	MeteringRules  = store.Declare[model.MeteringRuleID, model.MeteringRule](Schema, "metering-label-rules", store.Intent)
)

// Indices of metering labels and rules.
var (
	MeteringLabelsByProject = store.DeclareIndex(Schema, MeteringLabels, "project", func(l model.MeteringLabel) []string { return []string{string(l.Project)} })
	MeteringLabelsByName    = store.DeclareIndex(Schema, MeteringLabels, "name", func(l model.MeteringLabel) []string { return []string{l.Name} })
	MeteringRulesByProject  = store.DeclareIndex(Schema, MeteringRules, "project", func(u model.MeteringRule) []string { return []string{string(u.Project)} })
	MeteringRulesByLabel    = store.DeclareIndex(Schema, MeteringRules, "label", func(u model.MeteringRule) []string { return []string{string(u.Label)} })
)
