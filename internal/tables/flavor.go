// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"nagare/internal/model"
	"nagare/internal/store"
)

// Flavors and service profiles. The data plane reads neither.
var (
	Flavors         = store.Declare[model.FlavorID, model.Flavor](Schema, "flavors", store.Intent)
	ServiceProfiles = store.Declare[model.ServiceProfileID, model.ServiceProfile](Schema, "service-profiles", store.Intent)
)

// Indices of flavors and of those who name them.
var (
	FlavorsByName    = store.DeclareIndex(Schema, Flavors, "name", func(f model.Flavor) []string { return []string{f.Name} })
	FlavorsByProfile = store.DeclareIndex(Schema, Flavors, "profile", func(f model.Flavor) []string {
		return mapDistinct(f.Profiles, func(p model.ServiceProfileID) string { return string(p) })
	})
	ServiceProfilesByDriver = store.DeclareIndex(Schema, ServiceProfiles, "driver", func(p model.ServiceProfile) []string { return []string{p.Driver} })
	RoutersByFlavor         = store.DeclareIndex(Schema, Routers, "flavor", func(r model.Router) []string { return some(string(r.Flavor)) })
)
