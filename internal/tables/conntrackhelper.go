// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"nagare/internal/model"
	"nagare/internal/store"
)

// ConntrackHelpers are what routers' connection trackers read in control connections.
var ConntrackHelpers = store.Declare[model.ConntrackHelperID, model.ConntrackHelper](Schema, "conntrack-helpers", store.Intent).
	Plane(func(h model.ConntrackHelper) any { return h.HelperPlane })

// HelpersByRouter finds a router's conntrack helpers.
var HelpersByRouter = store.DeclareIndex(Schema, ConntrackHelpers, "router", func(h model.ConntrackHelper) []string { return []string{string(h.Router)} })
