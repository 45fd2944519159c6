// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"iter"
	"net/http"
	"net/netip"
	"slices"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Limits of one subnet beside those of Facts.
const (
	maxPools    = 100
	maxServices = 20
)

var subnets = new(Resource[model.Subnet])

func init() {
	declare(part{extensions: []extension{
		{"subnet-external-network", "Subnet belongs to an external network", "Informs if the subnet belongs to an external network", "2024-02-05T18:00:00-00:00"},
		{"subnet-service-types", "Subnet service types", "Provides ability to set the subnet service_types field", "2016-03-15T18:00:00-00:00"},
	}})
	// Names are told by DHCP and shown; nobody resolves them, here or in an external service.
	declare(part{when: whereStored, extensions: []extension{
		{"dns-domain-ports", "dns_domain for ports", "Allows the DNS domain to be specified for a network port.", "2017-04-24T10:00:00-00:00"},
		{"dns-integration", "DNS Integration", "Provides integration with DNS.", "2015-08-15T18:00:00-00:00"},
		{"subnet-dns-publish-fixed-ip", "Subnet DNS publish fixed IP", "Support choosing to publish DNS records for IPs from a subnet", "2019-05-24T10:00:00-00:00"},
	}})
	subnets.declare(Resource[model.Subnet]{
		name: "subnet", plural: "subnets", path: "subnets",
		quota: atMost(100, tables.Subnets, func(s *model.Subnet) string { return string(s.ID) }),
		id:    func(s *model.Subnet) string { return string(s.ID) },
		std:   func(s *model.Subnet) *model.Std { return &s.Std },
		get:   func(r store.Reader, id string) (model.Subnet, bool) { return tables.Subnets.Get(r, model.SubnetID(id)) },
		put:   func(tx *store.Txn, s model.Subnet) error { tables.Subnets.Put(tx, s.ID, s); return nil },
		from: func(r store.Reader, id string) iter.Seq[model.Subnet] {
			return records(tables.Subnets.From(r, model.SubnetID(id)))
		},
		back: backwards(tables.Subnets),
		gone: subnetNotFound,
		lookups: []lookup[model.Subnet]{
			{attr: "id", by: one(tables.Subnets)},
			{attr: "network_id", in: tables.SubnetsByNetwork},
			{attr: "name", in: tables.SubnetsByName},
			{attr: "project_id", in: tables.SubnetsByProject},
			{attr: "tenant_id", in: tables.SubnetsByProject},
		},
		scope: func(v *view) iter.Seq[model.Subnet] {
			return both(tables.SubnetsByProject.By(v.r, string(v.who.ProjectID)), func(yield func(model.Subnet) bool) {
				for _, action := range []model.ShareAction{model.AsShared, model.AsExternal} {
					for id := range v.grants("network", action) {
						for s := range tables.SubnetsByNetwork.By(v.r, id) {
							if !yield(s) {
								return
							}
						}
					}
				}
			})
		},
		sees: seesSubnet,
		network: func(r store.Reader, s *model.Subnet) model.ProjectID {
			n, _ := tables.Networks.Get(r, s.Network)
			return n.Project
		},
		create: networkOwner, change: eitherOwner, remove: eitherOwner,
		parent: networkOf,
		build:  buildSubnet, update: updateSubnet, delete: deleteSubnet,
		attrs: append(stdAttrs(func(s *model.Subnet) string { return string(s.ID) }, func(s *model.Subnet) *model.Std { return &s.Std }, true),
			[]Attr[model.Subnet]{
				{Name: "network_id", Get: func(_ *view, s *model.Subnet) any { return string(s.Network) }, Parse: uuidText, Post: true, Required: true},
				{Name: "ip_version", Get: func(_ *view, s *model.Subnet) any { return s.IPVersion() }, Parse: ipVersion, Post: true, Required: true},
				{Name: "prefixlen", Parse: integer(0, 128), Post: true},
				{Name: "enable_dhcp", Get: func(_ *view, s *model.Subnet) any { return s.EnableDHCP }, Parse: boolean, Default: true, Post: true, Put: true, Bool: true},
				{Name: "ipv6_ra_mode", Get: func(_ *view, s *model.Subnet) any { return nullText(s.IPv6RAMode) }, Parse: orNull(oneOf(v6Modes...)), Post: true},
				{Name: "ipv6_address_mode", Get: func(_ *view, s *model.Subnet) any { return nullText(s.IPv6AddressMode) }, Parse: orNull(oneOf(v6Modes...)), Post: true},
				{Name: "gateway_ip", Get: func(_ *view, s *model.Subnet) any { return addrText(s.Gateway) }, Parse: orNull(ipAddress), Post: true, Put: true},
				{Name: "cidr", Get: func(_ *view, s *model.Subnet) any { return s.CIDR.String() }, Parse: orNull(cidr), Post: true},
				{Name: "allocation_pools", Get: func(_ *view, s *model.Subnet) any { return poolsBody(s.AllocationPools) }, Parse: pools, Post: true, Put: true, NoFilter: true, NoSort: true},
				{Name: "host_routes", Get: routesBody, Parse: hostRoutes, Post: true, Put: true, NoFilter: true, NoSort: true},
				{Name: "dns_nameservers", Get: func(_ *view, s *model.Subnet) any { return addrsText(s.DNSNameservers) }, Parse: list[netip.Addr](1000, ipAddress, true),
					Post: true, Put: true, NoSort: true},
				{Name: "service_types", Get: func(_ *view, s *model.Subnet) any { return tagList(s.ServiceTypes) }, Parse: list[string](maxServices, serviceType, true),
					Post: true, Put: true, NoSort: true},
				{Name: "router:external", Get: func(v *view, s *model.Subnet) any { n, _ := tables.Networks.Get(v.r, s.Network); return n.External }, Bool: true},
				{Name: "dns_publish_fixed_ip", Get: func(_ *view, s *model.Subnet) any { return s.PublishDNS }, Bool: true, Parse: boolean, Default: false, Post: true, Put: true,
					Take: func(w *work, s *model.Subnet, in *values) error {
						if s.PublishDNS = get[bool](in, "dns_publish_fixed_ip"); s.PublishDNS && !w.api.cfg.StoredOnly {
							return badRequest("Addresses of subnet %s cannot be published: there is no external DNS service here", s.ID)
						}
						return nil
					}},
			}...),
	})
}

var v6Modes = []string{"slaac", "dhcpv6-stateful", "dhcpv6-stateless"}

// autoAddress reports whether hosts of the subnet form their addresses by themselves (RFC 4862).
func autoAddress(s *model.Subnet) bool {
	auto := func(mode string) bool { return mode == "slaac" || mode == "dhcpv6-stateless" }
	return auto(s.IPv6AddressMode) || auto(s.IPv6RAMode)
}

// seesSubnet reports whether a subnet is there for the caller. Those of external networks are for who may have gateways there.
func seesSubnet(v *view, s *model.Subnet) bool {
	return usesSubnet(v, s) || v.granted("network", string(s.Network), model.AsExternal)
}

// usesSubnet reports whether the caller's ports get addresses of a subnet.
func usesSubnet(v *view, s *model.Subnet) bool {
	return v.mine(s.Project) || v.sharesNetwork(s.Network)
}

// networkOf is the project of the network that a body names, which the caller must see.
func networkOf(v *view, in *values) (model.ProjectID, error) {
	n, err := findNetwork(v, get[string](in, "network_id"))
	return n.Project, err
}

func ipVersion(v any) (any, error) {
	n, err := integer(-1<<31, 1<<31-1)(v)
	if err != nil {
		return nil, err
	}
	if n != 4 && n != 6 {
		return nil, because("'%s' is not in [4, 6]", show(v))
	}
	return n, nil
}

func serviceType(v any) (any, error) {
	s, err := text(255)(v)
	if err != nil {
		return nil, err
	}
	if t := s.(string); t == "" {
		return nil, because("'' is not a valid service type")
	}
	return s, nil
}

// pools takes [{"start","end"}]. null asks for the default.
func pools(v any) (any, error) {
	if v == nil {
		return nil, nil
	}
	l, ok := v.([]any)
	if !ok {
		return nil, because("Invalid data format for IP pool: '%s'", show(v))
	}
	if len(l) > maxPools {
		return nil, because("more than %d allocation pools", maxPools)
	}
	out := []model.AddrRange{}
	for _, e := range l {
		m, err := object(e, map[string]parser{"start": ipAddress, "end": ipAddress}, "start", "end")
		if err != nil {
			return nil, err
		}
		out = append(out, model.AddrRange{Start: m["start"].(netip.Addr), End: m["end"].(netip.Addr)})
	}
	return out, nil
}

// hostRoutes takes [{"destination","nexthop"}]. The count is checked by the builder, which knows the subnet's id.
func hostRoutes(v any) (any, error) {
	if v == nil {
		return []model.Route(nil), nil
	}
	l, ok := v.([]any)
	if !ok {
		return nil, because("Invalid data format for hostroute: '%s'", show(v))
	}
	var out []model.Route
	for _, e := range l {
		m, err := object(e, map[string]parser{"destination": cidr, "nexthop": ipAddress}, "destination", "nexthop")
		if err != nil {
			return nil, err
		}
		r := model.Route{Destination: m["destination"].(netip.Prefix), NextHop: m["nexthop"].(netip.Addr)}
		if slices.Contains(out, r) {
			return nil, because("Duplicate hostroute '%s'", show(e))
		}
		out = append(out, r)
	}
	return out, nil
}

func poolsBody(ps []model.AddrRange) any {
	out := make([]any, 0, len(ps))
	for _, p := range ps {
		out = append(out, map[string]any{"start": p.Start.String(), "end": p.End.String()})
	}
	return out
}

func routesBody(_ *view, s *model.Subnet) any {
	out := make([]any, 0, len(s.HostRoutes))
	for _, r := range s.HostRoutes {
		out = append(out, map[string]any{"destination": r.Destination.String(), "nexthop": r.NextHop.String()})
	}
	return out
}

func addrsText(as []netip.Addr) []string {
	out := make([]string, 0, len(as))
	for _, a := range as {
		out = append(out, a.String())
	}
	return out
}

func buildSubnet(w *work, in *values) (model.Subnet, error) {
	var s model.Subnet
	n, err := findNetwork(&w.view, get[string](in, "network_id"))
	if err != nil {
		return s, err
	}
	s.ID, s.Std = w.api.ids.Subnet(w.tx, get[string](in, "name")), w.newStd(in, 0)
	s.Network, s.EnableDHCP = n.ID, get[bool](in, "enable_dhcp")
	s.IPv6RAMode, s.IPv6AddressMode = get[string](in, "ipv6_ra_mode"), get[string](in, "ipv6_address_mode")
	if err := w.takeCIDR(&s, in); err != nil {
		return s, err
	}
	if err := checkCIDR(&s); err != nil {
		return s, err
	}
	for o := range tables.SubnetsByNetwork.By(w.tx, string(n.ID)) {
		if o.CIDR.Overlaps(s.CIDR) {
			return s, invalidInput("Requested subnet with cidr: %s for network: %s overlaps with another subnet", s.CIDR, n.ID)
		}
	}
	if !in.has("gateway_ip") {
		s.Gateway = defaultGateway(&s)
	}
	if err := w.newSubnetSegment(&s, in); err != nil {
		return s, err
	}
	if err := w.takeSubnet(&s, in, true); err != nil {
		return s, err
	}
	if s.Key, err = alloc.NextKey(w.tx, alloc.Subnet); err != nil {
		return s, err
	}
	w.joinPeers(&s)
	tables.Subnets.Put(w.tx, s.ID, s)
	w.touchNetwork(n.ID)
	if autoAddress(&s) {
		if err := w.addAutoAddresses(&s); err != nil {
			return s, err
		}
	}
	return s, w.syncDHCP(n.ID)
}

func defaultGateway(s *model.Subnet) netip.Addr {
	if autoAddress(s) || s.IPv6RAMode == "slaac" {
		return s.CIDR.Addr()
	}
	return alloc.FirstHost(s.CIDR)
}

// checkCIDR refuses prefixes on which nothing can work, and IPv6 modes that contradict each other or the prefix.
func checkCIDR(s *model.Subnet) error {
	bits, top := s.CIDR.Bits(), s.CIDR.Addr().BitLen()
	switch {
	case bits == 0:
		return invalidInput("0 is not allowed as CIDR prefix length")
	case s.EnableDHCP && bits > top-2:
		return invalidInput("Subnet has a prefix length that is incompatible with DHCP service enabled")
	case s.EnableDHCP && s.CIDR.Addr().IsMulticast():
		return invalidInput("Multicast IP subnet is not supported if enable_dhcp is True")
	case s.EnableDHCP && s.CIDR.Addr().IsLoopback():
		return invalidInput("Loopback IP subnet is not supported if enable_dhcp is True")
	}
	ra, mode := s.IPv6RAMode, s.IPv6AddressMode
	if ra == "" && mode == "" {
		return nil
	}
	switch {
	case s.IPVersion() == 4:
		return invalidInput("ipv6_ra_mode or ipv6_address_mode cannot be set when ip_version is not 6")
	case !s.EnableDHCP:
		return invalidInput("ipv6_ra_mode or ipv6_address_mode cannot be set when enable_dhcp is set to False")
	case ra != "" && mode != "" && ra != mode:
		return invalidInput("ipv6_ra_mode set to '%s' with ipv6_address_mode set to '%s' is not valid. If both attributes are set, they must be the same value", ra, mode)
	case (ra == "slaac" || ra == "dhcpv6-stateless" || autoAddress(s)) && bits != 64:
		return invalidInput("Invalid CIDR %s for IPv6 address mode. OpenStack uses the EUI-64 address format, which requires the prefix to be /64", s.CIDR)
	}
	return nil
}

// takeSubnet takes what create and update have in common and checks the whole.
func (w *work) takeSubnet(s *model.Subnet, in *values, fresh bool) error {
	takeStd(in, &s.Std)
	set(in, "enable_dhcp", &s.EnableDHCP)
	set(in, "service_types", &s.ServiceTypes)
	if err := checkCIDR(s); err != nil {
		return err
	}
	if in.has("gateway_ip") {
		s.Gateway = get[netip.Addr](in, "gateway_ip")
		if err := checkGateway(s); err != nil {
			return err
		}
	}
	switch given := get[[]model.AddrRange](in, "allocation_pools"); {
	case given != nil:
		if err := checkPools(s, given); err != nil {
			return err
		}
		s.AllocationPools = given
	case fresh:
		s.AllocationPools = alloc.DefaultPools(s.CIDR, s.Gateway)
	}
	for _, p := range s.AllocationPools {
		if s.Gateway.IsValid() && p.Contains(s.Gateway) {
			return conflict("GatewayConflictWithAllocationPools", "Gateway ip %s conflicts with allocation pool %s-%s.", s.Gateway, p.Start, p.End)
		}
	}
	if in.has("dns_nameservers") {
		servers := get[[]netip.Addr](in, "dns_nameservers")
		if most := w.api.cfg.Facts.MaxDNSServers; len(servers) > most {
			return fail(http.StatusBadRequest, "DNSNameServersExhausted", "Unable to complete operation for %s. The number of DNS nameservers exceeds the limit %d.", s.ID, most)
		}
		for _, a := range servers {
			if a.Is4() != s.CIDR.Addr().Is4() {
				return invalidInput("dns_nameserver '%s' does not match the ip_version '%d'", a, s.IPVersion())
			}
		}
		s.DNSNameservers = servers
	}
	if in.has("host_routes") {
		routes := get[[]model.Route](in, "host_routes")
		if most := w.api.cfg.Facts.MaxHostRoutes; len(routes) > most {
			return fail(http.StatusBadRequest, "HostRoutesExhausted", "Unable to complete operation for %s. The number of host routes exceeds the limit %d.", s.ID, most)
		}
		for _, r := range routes {
			if r.Destination.Addr().Is4() != s.CIDR.Addr().Is4() || r.NextHop.Is4() != s.CIDR.Addr().Is4() {
				return invalidInput("host route '%s via %s' does not match the ip_version '%d'", r.Destination, r.NextHop, s.IPVersion())
			}
		}
		s.HostRoutes = routes
	}
	return nil
}

// checkGateway: a gateway may lie outside the prefix, but inside it must be a host's address.
func checkGateway(s *model.Subnet) error {
	g := s.Gateway
	switch {
	case !g.IsValid():
		return nil
	case g.Is4() != s.CIDR.Addr().Is4():
		return invalidInput("gateway_ip '%s' does not match the ip_version '%d'", g, s.IPVersion())
	case g.IsUnspecified() || g.IsMulticast():
		return invalidInput("Gateway is not valid on subnet")
	case s.CIDR.Contains(g) && g.Is4() && s.CIDR.Bits() < 31 && (g == s.CIDR.Addr() || !s.CIDR.Contains(g.Next())):
		return invalidInput("Gateway is not valid on subnet")
	}
	return nil
}

func checkPools(s *model.Subnet, ps []model.AddrRange) error {
	text := func(p model.AddrRange) string { return fmt.Sprintf("%s-%s", p.Start, p.End) }
	sorted := slices.SortedFunc(slices.Values(ps), func(a, b model.AddrRange) int { return a.Start.Compare(b.Start) })
	whole := model.AddrRange{}
	if all := alloc.DefaultPools(s.CIDR, netip.Addr{}); len(all) == 1 {
		whole = all[0]
	}
	for i, p := range sorted {
		switch {
		case p.Start.Is4() != s.CIDR.Addr().Is4() || p.End.Is4() != p.Start.Is4() || p.End.Less(p.Start):
			return fail(http.StatusBadRequest, "InvalidAllocationPool", "The allocation pool %s is not valid.", text(p))
		case !whole.Contains(p.Start) || !whole.Contains(p.End):
			return fail(http.StatusBadRequest, "OutOfBoundsAllocationPool", "The allocation pool %s spans beyond the subnet cidr %s.", text(p), s.CIDR)
		case i > 0 && !sorted[i-1].End.Less(p.Start):
			return conflict("OverlappingAllocationPools", "Found overlapping allocation pools: %s %s for subnet %s.", text(sorted[i-1]), text(p), s.CIDR)
		}
	}
	return nil
}

func updateSubnet(w *work, s model.Subnet, in *values) (model.Subnet, error) {
	hadDHCP, hadGateway := s.EnableDHCP, s.Gateway
	if err := w.takeSubnet(&s, in, false); err != nil {
		return s, err
	}
	if s.Gateway != hadGateway && hadGateway.IsValid() {
		if p, ok := tables.PortsByAddress.First(w.tx, tables.AddressKey(s.Network, hadGateway)); ok && p.DeviceOwner == model.OwnerRouterInterface {
			return s, conflict("GatewayIpInUse", "Current gateway ip %s already in use by port %s. Unable to update.", hadGateway, p.ID)
		}
	}
	if err := w.changeSubnetSegment(&s, in); err != nil {
		return s, err
	}
	if s.Gateway != hadGateway {
		w.movePeers(&s, hadGateway)
	}
	w.touchNetwork(s.Network)
	if s.EnableDHCP != hadDHCP {
		tables.Subnets.Put(w.tx, s.ID, s)
		return s, w.syncDHCP(s.Network)
	}
	return s, nil
}

// touchNetwork counts a change of what a network has as one of it.
func (w *work) touchNetwork(id model.NetworkID) {
	if n, ok := tables.Networks.Get(w.tx, id); ok {
		w.touch(&n.Std)
		tables.Networks.Put(w.tx, id, n)
	}
}

func deleteSubnet(w *work, s model.Subnet) error {
	for p := range tables.PortsBySubnet.By(w.tx, string(s.ID)) {
		if !p.IsDHCP() && (!autoAddress(&s) || isRouterPort(&p.PortPlane)) {
			return conflict("SubnetInUse", "Unable to complete operation on subnet %s: One or more ports have an IP allocation from this subnet.", s.ID)
		}
	}
	for p := range tables.PortsBySubnet.By(w.tx, string(s.ID)) {
		p.FixedIPs = slices.DeleteFunc(slices.Clone(p.FixedIPs), func(f model.FixedIP) bool { return f.Subnet == s.ID })
		w.touch(&p.Std)
		if err := putPort(w.tx, p); err != nil {
			return err
		}
	}
	w.leavePeers(&s)
	w.dropSubnet(s)
	w.touchNetwork(s.Network)
	return w.syncDHCP(s.Network)
}

// dropSubnet removes a subnet that no port has an address of.
func (w *work) dropSubnet(s model.Subnet) {
	alloc.ForgetSubnet(w.tx, s.ID)
	if s.Pool != "" {
		alloc.ReleasePrefix(w.tx, s.Pool, s.CIDR)
	}
	tables.Subnets.Delete(w.tx, s.ID)
}

// addAutoAddresses gives the ports that the network has already their addresses of a new subnet.
func (w *work) addAutoAddresses(s *model.Subnet) error {
	for p := range tables.PortsByNetwork.By(w.tx, string(s.Network)) {
		if p.IsDHCP() || isRouterPort(&p.PortPlane) || p.DeviceOwner == model.OwnerFloatingIP || !suits(s, p.DeviceOwner) || s.Segment != "" && !w.onSegment(s.Network, s.Segment, p.Host) {
			continue
		}
		a := alloc.EUI64(s.CIDR, p.MAC)
		if _, used := tables.PortsByAddress.First(w.tx, tables.AddressKey(s.Network, a)); used {
			continue
		}
		p.FixedIPs = append(slices.Clone(p.FixedIPs), model.FixedIP{Subnet: s.ID, Addr: a})
		w.touch(&p.Std)
		if err := putPort(w.tx, p); err != nil {
			return err
		}
	}
	return nil
}
