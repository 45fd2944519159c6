// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Indices that only this package asks for.
var (
	// defaultNetworks finds the networks that are the default external one, under tables.All.
	defaultNetworks = store.DeclareIndex(tables.Schema, tables.Networks, "default", func(n model.Network) []string {
		if !n.IsDefault {
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
