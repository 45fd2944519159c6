// SPDX-License-Identifier: Apache-2.0

package model

import "net/netip"

// Ids of subnet pools and address scopes.
type (
	SubnetPoolID   string
	AddressScopeID string
)

// SubnetPool is address space of one family from which subnets get their prefixes, no two the same.
type SubnetPool struct {
	ID SubnetPoolID `json:"id"`
	Std
	Prefixes      []netip.Prefix `json:"prefixes"` // merged, in order; at least one
	DefaultLength int            `json:"default_prefixlen"`
	MinLength     int            `json:"min_prefixlen"`
	MaxLength     int            `json:"max_prefixlen"`
	Quota         *int           `json:"default_quota,omitempty"` // of a project, in addresses (IPv6: in /64); nil or 0: none
	IsDefault     bool           `json:"is_default,omitempty"`
	Scope         AddressScopeID `json:"address_scope_id,omitempty"`
}

// IPVersion is 4 or 6.
func (p *SubnetPool) IPVersion() int {
	if p.Prefixes[0].Addr().Is4() {
		return 4
	}
	return 6
}

// AddressScope is a realm in which addresses of one family are unique: the pools in it do not overlap.
type AddressScope struct {
	ID AddressScopeID `json:"id"`
	Std
	Version int `json:"ip_version"`
}
