// SPDX-License-Identifier: Apache-2.0

package model

// AutoTopology is the network that a project got without naming one, with the router that joins it to the outside.
type AutoTopology struct {
	Project ProjectID `json:"project_id"`
	Network NetworkID `json:"network_id"`
	Router  RouterID  `json:"router_id"` // which may be gone
}
