// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"net/netip"

	"nagare/internal/model"
)

// DefaultPools are the allocation pools of a subnet that names none: all host addresses but the gateway's (zero: none), as
// one or two ranges. Network and broadcast addresses are left out (of IPv6 the subnet-router anycast address, RFC 4291
// section 2.6.1), except in prefixes of one or two addresses (RFC 3021, RFC 6164).
func DefaultPools(cidr netip.Prefix, gateway netip.Addr) []model.AddrRange {
	first, last := hosts(cidr)
	if !gateway.IsValid() || gateway.Compare(first) < 0 || gateway.Compare(last) > 0 {
		return []model.AddrRange{{Start: first, End: last}}
	}
	var pools []model.AddrRange
	if gateway != first {
		pools = append(pools, model.AddrRange{Start: first, End: gateway.Prev()})
	}
	if gateway != last {
		pools = append(pools, model.AddrRange{Start: gateway.Next(), End: last})
	}
	return pools
}

// hosts gives the lowest and the highest address of a prefix that a host may have.
func hosts(cidr netip.Prefix) (first, last netip.Addr) {
	cidr = cidr.Masked()
	first = cidr.Addr()
	b := first.AsSlice()
	for i := cidr.Bits(); i < first.BitLen(); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ = netip.AddrFromSlice(b)
	if first.BitLen()-cidr.Bits() > 1 {
		if first = first.Next(); first.Is4() {
			last = last.Prev()
		}
	}
	return first, last
}

// FirstHost is the lowest host address of a prefix, the default gateway of a subnet.
func FirstHost(cidr netip.Prefix) netip.Addr {
	first, _ := hosts(cidr)
	return first
}

// EUI64 is the address that a host with the MAC forms by itself in a /64 (RFC 4291 appendix A), as in SLAAC subnets.
func EUI64(cidr netip.Prefix, m model.MAC) netip.Addr {
	b := cidr.Masked().Addr().As16()
	copy(b[8:], []byte{m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
	return netip.AddrFrom16(b)
}
