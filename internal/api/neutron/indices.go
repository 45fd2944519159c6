// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Indices that only this package asks for.
var (
	// openNetworks finds the networks that projects other than their own see, under tables.All.
	openNetworks = store.DeclareIndex(tables.Schema, tables.Networks, "open", func(n model.Network) []string {
		if n.Shared || n.External {
			return []string{tables.All}
		}
		return nil
	})
	// sharedAddressGroups finds the address groups that every project may use, under tables.All.
	sharedAddressGroups = store.DeclareIndex(tables.Schema, tables.AddressGroups, "shared", func(g model.AddressGroup) []string {
		if !g.Shared {
			return nil
		}
		return []string{tables.All}
	})
	// dhcpPortsByHost finds DHCP ports by where they are placed, "" for nowhere.
	dhcpPortsByHost = store.DeclareIndex(tables.Schema, tables.Ports, "dhcp-host", func(p model.Port) []string {
		if !p.IsDHCP() {
			return nil
		}
		return []string{string(p.Host)}
	})
	// floatingByAddr finds floating IPs by their address's text, on whatever network.
	floatingByAddr = store.DeclareIndex(tables.Schema, tables.FloatingIPs, "addr", func(f model.FloatingIP) []string { return []string{f.Addr.String()} })
	// rulesByContent finds a rule equal to another: see ruleContent.
	rulesByContent = store.DeclareIndex(tables.Schema, tables.Rules, "content", func(r model.SecurityGroupRule) []string {
		return []string{ruleContent(&r.RulePlane)}
	})
)
