// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"nagare/internal/model"
	"nagare/internal/store"
)

// ForeignStatus is a port's status as another Neutron, which owns it, is told: of router interfaces and of addresses that float, which
// are no node's to plug, ACTIVE with their port, and of DHCP ports that are on no node if the controller answers for them (native); of
// all others what was observed.
func ForeignStatus(r store.Reader, p *model.Port, native bool) string {
	s, observed := Statuses.Get(r, p.ID)
	switch {
	case observed && (p.Host != "" || p.Router != ""):
		return s.Status
	case !p.AdminStateUp:
	case p.IsDHCP() && p.Host == "" && native, p.IsRouterInterface(), p.DeviceOwner == model.OwnerFloatingIP:
		return model.StatusActive
	}
	return model.StatusDown
}
