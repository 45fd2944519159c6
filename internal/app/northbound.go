// SPDX-License-Identifier: Apache-2.0

package app

import (
	"nagare/internal/alloc"
	"nagare/internal/api/odl"
	"nagare/internal/api/restconf"
)

// Who owns the networks. One of the northbounds takes changes, the other refuses them: two masters would undo each other's work.
const (
	neutronMaster = "neutron"
	odlMaster     = "odl"
)

// What the northbound that is not master says.
const (
	neutronReadOnly = "this server runs with --northbound odl, so another Neutron owns the networks and sends them by networking-odl. " +
		"Make the change there; or start this server with --northbound neutron to have its own API own them."
	odlReadOnly = "this server runs with --northbound neutron, so its own Neutron API owns the networks. " +
		"Make the change there; or start this server with --northbound odl to have the Neutron that calls here own them"
)

// openNorthbound makes what stands in OpenDaylight's place. Both parts are served whoever is master: reading harms nobody.
func (s *Server) openNorthbound(a *alloc.Allocator, logs *logs) {
	if s.cfg.Northbound == odlMaster {
		s.log.Info("another Neutron owns the networks, by networking-odl; our own Neutron API refuses changes", "url", s.url(s.cfg.AdminPort)+odl.Base)
	}
	northbound := odl.Config{
		Store: s.store, Alloc: a, Auth: s.users.Authenticate, Writable: s.cfg.Northbound == odlMaster, Master: odlReadOnly, Strict: s.cfg.ODLStrict,
		Ready: s.loaded.Load, Down: s.api.Down, Profile: s.cfg.Profile, NativeDHCP: s.cfg.DHCP == nativeDHCP, Log: logs.logger("odl"),
	}
	s.odl = odl.New(northbound)
	s.rest = restconf.New(restconf.Config{
		Store: s.store, Objects: odl.NewObjects(northbound), Auth: s.users.Authenticate, Ready: s.loaded.Load, Profile: s.cfg.Profile, NativeDHCP: s.cfg.DHCP == nativeDHCP,
		PortStatus: s.cfg.Northbound == odlMaster && !s.cfg.ODLNoPortStatus, Online: s.hub.Connected, Switches: switches{s.hub}, Desired: wanted{s.hub}, Log: logs.logger("restconf"),
	})
}
