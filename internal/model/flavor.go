// SPDX-License-Identifier: Apache-2.0

package model

// Ids of flavors and service profiles.
type (
	FlavorID         string
	ServiceProfileID string
)

// Flavor is a kind of a service (of routers: service type L3_ROUTER_NAT) that projects may ask for by name. Its profiles say who
// provides it. It belongs to no project.
type Flavor struct {
	ID FlavorID `json:"id"`
	Std
	ServiceType string             `json:"service_type"`
	Enabled     bool               `json:"enabled"`
	Profiles    []ServiceProfileID `json:"service_profiles,omitempty"` // in order of their association
}

// ServiceProfile names a driver, or tells one something.
type ServiceProfile struct {
	ID ServiceProfileID `json:"id"`
	Std
	Driver   string `json:"driver,omitempty"`
	Metainfo string `json:"metainfo,omitempty"`
	Enabled  bool   `json:"enabled"`
}
