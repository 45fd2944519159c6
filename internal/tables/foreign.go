// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"nagare/internal/model"
	"nagare/internal/store"
)

// Foreign is what another Neutron said of its objects beyond what our models hold; key model.ForeignKey. No rule reads it.
var Foreign = store.Declare[string, model.Foreign](Schema, "foreign", store.Intent).
	Plane(func(model.Foreign) any { return struct{}{} })
