// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"nagare/internal/model"
	"nagare/internal/store"
)

// AutoTopologies are the networks that projects got without naming one. No rule of the data plane reads them.
var AutoTopologies = store.Declare[model.ProjectID, model.AutoTopology](Schema, "auto-topologies", store.Intent)

// AutoTopologiesByNetwork finds the topology of a network.
var AutoTopologiesByNetwork = store.DeclareIndex(Schema, AutoTopologies, "network", func(a model.AutoTopology) []string { return []string{string(a.Network)} })
