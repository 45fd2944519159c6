// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"iter"
	"math/big"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"nagare/internal/api/jsonbody"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// addressesUsed counts the addresses that ports have: group = subnet, member = "". A subject is "port|address".
var addressesUsed = func() *store.Derived {
	d := store.DeclareDerived(tables.Schema, "addresses-used", func(r store.Reader, subject string) []store.Member {
		id, text, _ := strings.Cut(subject, "|")
		p, _ := tables.Ports.Get(r, model.PortID(id))
		for _, f := range p.FixedIPs {
			if f.Addr.String() == text {
				return []store.Member{{Group: string(f.Subnet)}}
			}
		}
		return nil
	})
	return store.From(d, tables.Ports, func(_ store.Reader, p model.Port) (out []string) {
		for _, f := range p.FixedIPs {
			out = append(out, string(p.ID)+"|"+f.Addr.String())
		}
		return out
	})
}()

var ipAvailability = new(Resource[model.Network])

func init() {
	declare(part{extensions: []extension{
		{"network-ip-availability", "Network IP Availability", "Provides IP availability data for each network and subnet.", "2015-09-24T00:00:00-00:00"},
	}})
	project := func(_ *view, n *model.Network) any { return string(n.Project) }
	ipAvailability.declare(Resource[model.Network]{
		name: "network_ip_availability", plural: "network_ip_availabilities", path: "network-ip-availabilities",
		id:  func(n *model.Network) string { return string(n.ID) },
		std: func(n *model.Network) *model.Std { return &n.Std },
		get: func(r store.Reader, id string) (model.Network, bool) {
			return tables.Networks.Get(r, model.NetworkID(id))
		},
		from: func(r store.Reader, id string) iter.Seq[model.Network] {
			return records(tables.Networks.From(r, model.NetworkID(id)))
		},
		back: backwards(tables.Networks),
		gone: networkNotFound,
		lookups: []lookup[model.Network]{
			{attr: "network_id", by: one(tables.Networks)},
			{attr: "network_name", in: tables.NetworksByName},
			{attr: "project_id", in: tables.NetworksByProject},
			{attr: "tenant_id", in: tables.NetworksByProject},
		},
		// Administrators count addresses.
		scope: func(*view) iter.Seq[model.Network] { return func(func(model.Network) bool) {} },
		sees:  func(*view, *model.Network) bool { return false },
		attrs: []Attr[model.Network]{
			{Name: "network_id", Get: func(_ *view, n *model.Network) any { return string(n.ID) }},
			{Name: "network_name", Get: func(_ *view, n *model.Network) any { return n.Name }},
			{Name: "tenant_id", Get: project},
			{Name: "project_id", Get: project},
			{Name: "total_ips", Get: func(v *view, n *model.Network) any { return v.countAddresses(n).total }, NoFilter: true, NoSort: true},
			{Name: "used_ips", Get: func(v *view, n *model.Network) any { return v.countAddresses(n).used }, NoFilter: true, NoSort: true},
			{Name: "subnet_ip_availability", Get: func(v *view, n *model.Network) any { return v.countAddresses(n).subnets }, NoFilter: true, NoSort: true},
			// A filter on subnets: networks without one that fits are left out, and the others are counted by those that do.
			{Name: "ip_version", Match: func(v *view, n *model.Network, values []string) bool {
				for s := range tables.SubnetsByNetwork.By(v.r, string(n.ID)) {
					if slices.Contains(values, strconv.Itoa(s.IPVersion())) {
						return true
					}
				}
				return false
			}},
		},
	})
}

// counted addresses of a network: of its pools and of its ports, whole and by subnet.
type countedAddresses struct {
	total, used jsonbody.Raw
	subnets     []any
}

func (v *view) countAddresses(n *model.Network) countedAddresses {
	total, used := new(big.Int), 0
	out := countedAddresses{subnets: []any{}}
	for s := range tables.SubnetsByNetwork.By(v.r, string(n.ID)) {
		if want := v.query["ip_version"]; len(want) > 0 && !slices.Contains(want, strconv.Itoa(s.IPVersion())) {
			continue
		}
		of, has := new(big.Int), addressesUsed.Count(v.r, string(s.ID), "")
		for _, p := range s.AllocationPools {
			of.Add(of, rangeSize(p.Start, p.End))
		}
		total.Add(total, of)
		used += has
		out.subnets = append(out.subnets, map[string]any{"subnet_id": string(s.ID), "subnet_name": s.Name, "cidr": s.CIDR.String(), "ip_version": s.IPVersion(),
			"total_ips": jsonbody.Raw(of.String()), "used_ips": has})
	}
	out.total, out.used = jsonbody.Raw(total.String()), jsonbody.Raw(strconv.Itoa(used))
	return out
}

// rangeSize is how many addresses there are from one to another, which of IPv6 may be more than any machine word holds.
func rangeSize(from, to netip.Addr) *big.Int {
	n := new(big.Int).SetBytes(to.AsSlice())
	n.Sub(n, new(big.Int).SetBytes(from.AsSlice()))
	return n.Add(n, big.NewInt(1))
}
