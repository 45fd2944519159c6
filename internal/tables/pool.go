// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"strconv"

	"nagare/internal/model"
	"nagare/internal/store"
)

// Subnet pools and address scopes. The data plane reads neither.
var (
	SubnetPools   = store.Declare[model.SubnetPoolID, model.SubnetPool](Schema, "subnet-pools", store.Intent)
	AddressScopes = store.Declare[model.AddressScopeID, model.AddressScope](Schema, "address-scopes", store.Intent)
)

// Indices of subnet pools and address scopes.
var (
	SubnetPoolsByProject = store.DeclareIndex(Schema, SubnetPools, "project", func(p model.SubnetPool) []string { return []string{string(p.Project)} })
	SubnetPoolsByName    = store.DeclareIndex(Schema, SubnetPools, "name", func(p model.SubnetPool) []string { return []string{p.Name} })
	SubnetPoolsByScope   = store.DeclareIndex(Schema, SubnetPools, "scope", func(p model.SubnetPool) []string { return some(string(p.Scope)) })
	// DefaultSubnetPools finds the default pool of a family: "4" or "6".
	DefaultSubnetPools = store.DeclareIndex(Schema, SubnetPools, "default", func(p model.SubnetPool) []string {
		if !p.IsDefault {
			return nil
		}
		return []string{strconv.Itoa(p.IPVersion())}
	})
	SubnetsByPool = store.DeclareIndex(Schema, Subnets, "pool", func(s model.Subnet) []string { return some(string(s.Pool)) })
	// SubnetsByPoolProject finds what a project has of a pool: pool|project.
	SubnetsByPoolProject = store.DeclareIndex(Schema, Subnets, "pool-project", func(s model.Subnet) []string {
		if s.Pool == "" {
			return nil
		}
		return []string{string(s.Pool) + "|" + string(s.Project)}
	})
	AddressScopesByProject = store.DeclareIndex(Schema, AddressScopes, "project", func(a model.AddressScope) []string { return []string{string(a.Project)} })
	AddressScopesByName    = store.DeclareIndex(Schema, AddressScopes, "name", func(a model.AddressScope) []string { return []string{a.Name} })
)
