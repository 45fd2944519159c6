// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"errors"
	"math"
	"net/http"
	"net/netip"
	"strconv"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/tables"
)

// badSubnet is Neutron's BadRequest of this resource.
func badSubnet(format string, args ...any) *Error {
	e := fail(http.StatusBadRequest, "BadRequest", format, args...)
	e.Message = "Bad subnets request: " + e.Message + "."
	return e
}

// takeCIDR gives a new subnet its prefix: the one that is asked for, or one of a pool's.
func (w *work) takeCIDR(s *model.Subnet, in *values) error {
	s.CIDR = get[netip.Prefix](in, "cidr")
	version := get[int](in, "ip_version")
	if s.CIDR.IsValid() && in.has("prefixlen") {
		return badSubnet("cidr and prefixlen must not be supplied together")
	}
	if s.CIDR.IsValid() && version != s.IPVersion() {
		return invalidInput("cidr '%s' does not match the ip_version '%d'", s.CIDR, version)
	}
	p, pooled, err := w.poolOf(in, version)
	switch {
	case err != nil:
		return err
	case pooled:
		if err := w.fromPool(s, &p, in, version); err != nil {
			return err
		}
	case !s.CIDR.IsValid():
		return badSubnet("a subnetpool must be specified in the absence of a cidr")
	}
	for o := range tables.SubnetsByNetwork.By(w.tx, string(s.Network)) {
		if o.IPVersion() == version && o.Pool != s.Pool {
			return fail(http.StatusBadRequest, "NetworkSubnetPoolAffinityError", "Subnets hosted on the same network must be allocated from the same subnet pool.")
		}
	}
	return nil
}

// poolOf finds the pool that a body names, or the default one if it asks for that.
func (w *work) poolOf(in *values, version int) (p model.SubnetPool, pooled bool, err error) {
	id, byDefault := get[string](in, "subnetpool_id"), get[bool](in, "use_default_subnetpool")
	switch {
	case id != "" && byDefault:
		return p, false, badSubnet("subnetpool_id and use_default_subnetpool cannot both be specified")
	case id != "":
		p, err = subnetPools.find(&w.view, id)
		return p, true, err
	case !byDefault:
		return p, false, nil
	}
	p, ok := tables.DefaultSubnetPools.First(w.tx, strconv.Itoa(version))
	if !ok || !w.privileged() && !subnetPools.sees(&w.view, &p) {
		return p, false, badSubnet("No default subnetpool found for IPv%d", version)
	}
	return p, true, nil
}

func (w *work) fromPool(s *model.Subnet, p *model.SubnetPool, in *values, version int) error {
	if p.IPVersion() != version {
		return badSubnet("Cannot allocate IPv%d subnet from IPv%d subnet pool", version, p.IPVersion())
	}
	bits := p.DefaultLength
	if s.CIDR.IsValid() {
		bits = s.CIDR.Bits()
	} else {
		if get[[]model.AddrRange](in, "allocation_pools") != nil {
			e := badSubnet("allocation_pools allowed only for specific subnet requests")
			e.Message = "Bad pools request: allocation_pools allowed only for specific subnet requests."
			return e
		}
		set(in, "prefixlen", &bits)
	}
	switch {
	case bits > p.MaxLength:
		return fail(http.StatusBadRequest, "MaxPrefixSubnetAllocationError", "Unable to allocate subnet with prefix length %d, maximum allowed prefix is %d.", bits, p.MaxLength)
	case bits < p.MinLength:
		return fail(http.StatusBadRequest, "MinPrefixSubnetAllocationError", "Unable to allocate subnet with prefix length %d, minimum allowed prefix is %d.", bits, p.MinLength)
	}
	if p.Quota != nil && *p.Quota > 0 {
		used := units(version, bits)
		for o := range tables.SubnetsByPoolProject.By(w.tx, string(p.ID)+"|"+string(s.Project)) {
			used += units(version, o.CIDR.Bits())
		}
		if used > float64(*p.Quota) {
			return conflict("SubnetPoolQuotaExceeded", "Per-tenant subnet pool prefix quota exceeded.")
		}
	}
	s.Pool = p.ID
	if s.CIDR.IsValid() {
		var con *alloc.ConflictError
		err := alloc.WantedPrefix(w.tx, p.ID, s.CIDR)
		if errors.As(err, &con) {
			return conflict("SubnetAllocationError", "Failed to allocate subnet: Cannot allocate requested subnet from the available set of prefixes.")
		}
		return err
	}
	var err error
	s.CIDR, err = alloc.Prefix(w.tx, p.ID, bits)
	return exhausted(err, conflict("SubnetAllocationError", "Failed to allocate subnet: Insufficient prefix space to allocate subnet size /%d.", bits))
}

// units is what a prefix counts against a pool's quota: in addresses, and of IPv6 in prefixes of length 64. Sums of powers of two
// are exact.
func units(version, bits int) float64 {
	if version == 4 {
		return math.Ldexp(1, 32-bits)
	}
	return math.Ldexp(1, 64-bits)
}
