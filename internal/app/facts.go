// SPDX-License-Identifier: Apache-2.0

package app

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"nagare/internal/alloc"
	"nagare/internal/api/neutron"
	"nagare/internal/model"
)

// facts are the settings that say what a deployment is, read: for the API and for its allocators.
type facts struct {
	api    neutron.Facts
	ranges alloc.Ranges
	quotas map[string]int
}

// smallest and largest MTU that can be configured: with the smallest, a network in any tunnel still has the 68 that IPv4 needs
// (RFC 791 section 3.2).
const (
	leastMTU = 68 + 58
	mostMTU  = 65535
)

// mostOf bounds the limits of routes and servers, which one answer of DHCP and one record of the store must hold.
const mostOf = 1000

// facts reads the settings and gives every fault of them.
func (c *Config) facts() (f facts, faults []error) {
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	check := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	check(c.vlans(&f))
	for _, t := range []struct {
		name string
		list []string
		most uint32
		to   *[]alloc.Range
	}{{"vni-ranges", c.VNIRanges, 1<<24 - 1, &f.ranges.VXLAN}, {"geneve-vni-ranges", c.GeneveRanges, 1<<24 - 1, &f.ranges.Geneve},
		{"gre-id-ranges", c.GRERanges, math.MaxUint32, &f.ranges.GRE}} {
		for _, s := range t.list {
			r, err := parseRange(s, t.most)
			if err != nil {
				bad("%s %q: %w", t.name, s, err)
				continue
			}
			*t.to = append(*t.to, r)
		}
	}
	if !slices.Contains(c.FlatNetworks, "*") {
		f.api.FlatNetworks = append([]string{}, c.FlatNetworks...)
		for _, name := range c.FlatNetworks {
			if !physicalName(name) {
				bad("flat-networks %q: want * or names of physical networks, without : and |", name)
			}
		}
	}
	for _, t := range c.TenantTypes {
		switch nt := model.NetworkType(t); {
		case nt != model.Local && nt != model.VLAN && !nt.Tunnelled():
			bad("tenant-network-types %q: want vxlan, vlan, geneve, gre or local; flat networks are made by administrators alone", t)
		case slices.Contains(f.api.TenantTypes, nt):
			bad("tenant-network-types: %s twice", t)
		case nt == model.VLAN && len(f.ranges.VLAN) == 0:
			bad("tenant-network-types vlan: network-vlan-ranges gives no range to take one from, like physnet1:100:199")
		default:
			f.api.TenantTypes = append(f.api.TenantTypes, nt)
		}
	}
	if len(c.TenantTypes) == 0 {
		bad("tenant-network-types: want one at least")
	}
	for name, n := range map[string]int{"global-physnet-mtu": c.GlobalMTU, "path-mtu": c.PathMTU} {
		if (n != 0 || name != "path-mtu") && (n < leastMTU || n > mostMTU) {
			bad("%s %d: want %d to %d", name, n, leastMTU, mostMTU)
		}
	}
	f.api.PathMTU = c.PathMTU
	check(c.physicalMTUs(&f))
	for name, l := range map[string]struct {
		n  int
		to *int
	}{"max-routes": {c.MaxRoutes, &f.api.MaxRoutes}, "max-subnet-host-routes": {c.MaxHostRoutes, &f.api.MaxHostRoutes},
		"max-dns-nameservers": {c.MaxDNSServers, &f.api.MaxDNSServers}} {
		if *l.to = l.n; l.n < 1 || l.n > mostOf {
			bad("%s %d: want 1 to %d", name, l.n, mostOf)
		}
	}
	if f.api.Zone = c.Zone; c.Zone == "" || len(c.Zone) > 255 || strings.TrimSpace(c.Zone) != c.Zone {
		bad("default-availability-zone %q: want a name", c.Zone)
	}
	if c.AddressOrder != "lowest" && c.AddressOrder != "random" {
		bad("ip-address-order %q: want lowest or random", c.AddressOrder)
	}
	if !neutron.IsDomain(c.DNSDomain) {
		bad("dns-domain %q: want a domain, like cloud.example", c.DNSDomain)
	}
	check(c.quotas(&f))
	return f, faults
}

// physicalName reports whether a physical network may have the name.
func physicalName(s string) bool { return s != "" && len(s) <= 64 && !strings.ContainsAny(s, ":|* ") }

// vlans reads physical networks with their ranges: "physnet1:100:199", or "physnet2" for one without.
func (c *Config) vlans(f *facts) error {
	var faults []error
	for _, s := range c.VLANRanges {
		name, ids, ranged := strings.Cut(s, ":")
		if !physicalName(name) {
			faults = append(faults, fmt.Errorf("network-vlan-ranges %q: want a physical network and its first and last id, like physnet1:100:199, or a physical network alone", s))
			continue
		}
		if !slices.Contains(f.api.VLANNetworks, name) {
			f.api.VLANNetworks = append(f.api.VLANNetworks, name)
		}
		if !ranged {
			continue
		}
		r, err := parseRange(ids, 4094)
		if err != nil {
			faults = append(faults, fmt.Errorf("network-vlan-ranges %q: %w", s, err))
			continue
		}
		if f.ranges.VLAN == nil {
			f.ranges.VLAN = map[string][]alloc.Range{}
		}
		f.ranges.VLAN[name] = append(f.ranges.VLAN[name], r)
	}
	return errors.Join(faults...)
}

// parseRange reads "100:199".
func parseRange(s string, most uint32) (alloc.Range, error) {
	first, last, ok := strings.Cut(s, ":")
	a, errA := strconv.ParseUint(strings.TrimSpace(first), 10, 32)
	b, errB := strconv.ParseUint(strings.TrimSpace(last), 10, 32)
	if !ok || errA != nil || errB != nil || a < 1 || a > b || b > uint64(most) {
		return alloc.Range{}, fmt.Errorf("want the first and the last id, like 100:199, of 1 to %d", most)
	}
	return alloc.Range{First: uint32(a), Last: uint32(b)}, nil
}

func (c *Config) physicalMTUs(f *facts) error {
	var faults []error
	f.api.PhysicalMTUs = map[string]int{}
	for _, s := range c.PhysicalMTUs {
		name, text, _ := strings.Cut(s, ":")
		n, err := strconv.Atoi(text)
		switch _, twice := f.api.PhysicalMTUs[name]; {
		case !physicalName(name) || err != nil || n < 68 || n > mostMTU:
			faults = append(faults, fmt.Errorf("physical-network-mtus %q: want a physical network and its MTU of 68 to %d, like physnet1:9000", s, mostMTU))
		case twice:
			faults = append(faults, fmt.Errorf("physical-network-mtus: %s twice", name))
		case n > c.GlobalMTU:
			faults = append(faults, fmt.Errorf("physical-network-mtus %s: more than global-physnet-mtu, %d, which bounds every network; raise that", s, c.GlobalMTU))
		}
		f.api.PhysicalMTUs[name] = n
	}
	return errors.Join(faults...)
}

func (c *Config) quotas(f *facts) error {
	var faults []error
	f.quotas = maps.Clone(neutron.DefaultQuotas)
	for _, s := range c.Quota {
		name, text, _ := strings.Cut(s, "=")
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || n < -1 {
			faults = append(faults, fmt.Errorf("quota %q: want a resource and the most that a project has of it, like port=500; -1 is no limit", s))
			continue
		}
		if _, ok := f.quotas[name]; !ok {
			faults = append(faults, fmt.Errorf("quota %q: no such resource; there are %s", s, strings.Join(slices.Sorted(maps.Keys(neutron.DefaultQuotas)), ", ")))
			continue
		}
		f.quotas[name] = int(n)
	}
	return errors.Join(faults...)
}
