// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"iter"
	"log/slog"
	"net/netip"
	"slices"

	"github.com/google/uuid"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

var networks = &core[model.Network]{
	kind: "network", plural: "networks", paged: true,
	id:  networkID,
	std: networkStd,
	get: func(r store.Reader, id string) (model.Network, bool) {
		return tables.Networks.Get(r, model.NetworkID(id))
	},
	from: func(r store.Reader, id string) iter.Seq[model.Network] {
		return records(tables.Networks.From(r, model.NetworkID(id)))
	},
	lookups: []lookup[model.Network]{
		{"id", one(tables.Networks)}, {"name", tables.NetworksByName.By},
		{"qos_policy_id", tables.NetworksByQosPolicy.By}, {"tenant_id", tables.NetworksByProject.By}, {"project_id", tables.NetworksByProject.By},
	},
	read: readNetwork,
	keep: func(now, old *model.Network, in *input) {
		now.Key = old.Key
		if in.put {
			now.Project = old.Project
		}
	},
	put:  putNetwork,
	drop: dropNetwork,
	misses: func(w *work, n *model.Network, _ *input) string {
		if _, ok := tables.QosPolicies.Get(w.tx, n.QosPolicy); n.QosPolicy != "" && !ok {
			return "QoS policy " + string(n.QosPolicy)
		}
		return ""
	},
	parts: func(in *input) []part {
		return []part{readShared(in, sharedNetwork, func(r store.Reader, id string) model.ProjectID {
			n, _ := tables.Networks.Get(r, model.NetworkID(id))
			return n.Project
		}), func(w *work) error {
			n, _ := tables.Networks.Get(w.tx, model.NetworkID(in.id))
			w.setExternal(&n)
			return nil
		}}
	},
	owned: []string{"status", "subnets"},
	attrs: append(stdAttrs(networkID, networkStd), []attr[model.Network]{
		{name: "admin_state_up", get: func(_ *env, n *model.Network) any { return n.AdminStateUp }},
		{name: "status", get: func(*env, *model.Network) any { return model.StatusActive }},
		sharedAttr(sharedNetwork, networkID),
		{name: "router:external", get: func(_ *env, n *model.Network) any { return n.External }},
		{name: "is_default", get: func(_ *env, n *model.Network) any {
			if !n.IsDefault {
				return nil
			}
			return true
		}},
		{name: "port_security_enabled", get: func(_ *env, n *model.Network) any { return n.PortSecurityEnabled }},
		{name: "mtu", get: func(_ *env, n *model.Network) any { return number(n.MTU) }},
		{name: "dns_domain", get: func(_ *env, n *model.Network) any { return n.DNSDomain }},
		{name: "qos_policy_id", get: func(_ *env, n *model.Network) any { return optional(string(n.QosPolicy)) }},
		{name: "provider:network_type", get: func(_ *env, n *model.Network) any { return optional(string(n.Type)) }},
		{name: "provider:physical_network", get: func(_ *env, n *model.Network) any { return optional(n.PhysicalNetwork) }},
		{name: "provider:segmentation_id", get: func(_ *env, n *model.Network) any { return number(int(n.SegmentationID)) }},
	}...),
}

func networkID(n *model.Network) string      { return string(n.ID) }
func networkStd(n *model.Network) *model.Std { return &n.Std }

// number is nil for 0.
func number(n int) any {
	if n == 0 {
		return nil
	}
	return n
}

func readNetwork(in *input) model.Network {
	n := model.Network{ID: model.NetworkID(in.id), Std: in.std()}
	n.AdminStateUp, n.External = in.boolean("admin_state_up", true), in.boolean("router:external", false)
	n.IsDefault, n.PortSecurityEnabled = in.boolean("is_default", false), in.boolean("port_security_enabled", true)
	n.DNSDomain, n.QosPolicy = in.text("dns_domain"), model.QosPolicyID(in.uuid("qos_policy_id"))
	if mtu := in.integer("mtu", 0, 65535); mtu != nil {
		n.MTU = *mtu
	}
	segments := in.segments()
	one := in.segment()
	if len(segments) == 0 {
		n.Type, n.PhysicalNetwork, n.SegmentationID = one.settle(in)
		return n
	}
	// The data plane carries all that lack nothing, the one through tunnels first, because a router's packets are handed to its gateway
	// node by the first. All are shown as they came, and the provider attributes, which would say less, are not.
	var wires []model.Wire
	for _, s := range segments {
		t, physical, id := s.settle(nil)
		wire := model.Wire{Type: t, PhysicalNetwork: physical, SegmentationID: id}
		switch {
		case t == "" || slices.Contains(wires, wire):
		case t.Tunnelled() && (len(wires) == 0 || !wires[0].Type.Tunnelled()):
			wires = slices.Insert(wires, 0, wire)
		default:
			wires = append(wires, wire)
		}
	}
	n.SetWires(wires)
	for _, name := range unfiltered {
		in.form(name, nil)
	}
	return n
}

// segment is how a network travels on one stretch.
type segment struct {
	Type     model.NetworkType
	Physical string
	ID       uint32
}

// limits are the highest segmentation ids of network types that have one.
var limits = map[model.NetworkType]int{model.VXLAN: 1<<24 - 1, model.Geneve: 1<<24 - 1, model.GRE: 1<<32 - 1, model.VLAN: 4094, model.Flat: 0, model.Local: 0}

// segment reads the provider attributes.
func (in *input) segment() (s segment) {
	s.Type, s.Physical = model.NetworkType(in.text("provider:network_type")), in.part("provider:physical_network")
	id := in.integer("provider:segmentation_id", 0, 1<<32-1)
	limit, known := limits[s.Type]
	switch {
	case s.Type != "" && !known:
		in.bad("provider:network_type", "'%s' is none of vxlan, vlan, flat, gre, geneve and local", show(s.Type))
	case id != nil && *id > limit && limit > 0:
		in.bad("provider:segmentation_id", "%d is beyond %d, the highest of a %s network", *id, limit, s.Type)
	case id != nil && limit > 0:
		s.ID = uint32(*id)
	}
	return s
}

// segments reads the segments of a network that has several; they stay among what the model does not hold.
func (in *input) segments() (out []segment) {
	list, ok := in.m["segments"].([]any)
	if in.m["segments"] != nil && !ok {
		in.bad("segments", "it is not a list")
	}
	for _, v := range list {
		m, ok := v.(map[string]any)
		if !ok {
			in.bad("segments", "'%s' is not an object", show(v))
			return nil
		}
		copied := make(map[string]any, len(m))
		for k, v := range m {
			copied[k] = v
		}
		e := &input{m: copied}
		out = append(out, e.segment())
		if e.err != nil && in.err == nil {
			in.err = e.err
		}
	}
	return out
}

// settle gives what the model holds of a segment. One that lacks the number or the wire that it needs has no data plane: as what
// it is would be shown, it would meet other networks that lack theirs.
func (s segment) settle(in *input) (model.NetworkType, string, uint32) {
	switch {
	case limits[s.Type] > 0 && s.ID == 0, (s.Type == model.VLAN || s.Type == model.Flat) && s.Physical == "":
		if in != nil {
			in.form("provider:network_type", string(s.Type))
		}
		return "", s.Physical, s.ID
	}
	return s.Type, s.Physical, s.ID
}

func putNetwork(w *work, n, old *model.Network) error {
	if old == nil {
		var err error
		if n.Key, err = alloc.NextKey(w.tx, alloc.Network); err != nil {
			return err
		}
	}
	tables.Networks.Put(w.tx, n.ID, *n)
	for _, wire := range n.Wires() {
		if wire.SegmentationID == 0 && wire.Type != model.Flat {
			continue
		}
		for o := range tables.NetworksBySegment.By(w.tx, tables.SegmentKey(wire.Type, wire.PhysicalNetwork, wire.SegmentationID)) {
			if o.ID != n.ID {
				w.note("two networks have one segment", slog.String("network", string(n.ID)), slog.String("other", string(o.ID)),
					slog.String("type", string(wire.Type)), slog.Uint64("id", uint64(wire.SegmentationID)))
				break
			}
		}
	}
	nameSegments(w, n)
	if old == nil || old.PhysicalNetwork != n.PhysicalNetwork {
		return w.placeGateways(n.ID)
	}
	return nil
}

// nameSegments keeps the records that the Networking API lists. Their ids follow from what they name, since the other Neutron does not
// tell its own.
func nameSegments(w *work, n *model.Network) {
	wires, named := n.Wires(), map[model.Wire]model.Segment{}
	for s := range tables.SegmentsByNetwork.By(w.tx, string(n.ID)) {
		if named[s.Wire] = s; !slices.Contains(wires, s.Wire) {
			tables.Segments.Delete(w.tx, s.ID)
		}
	}
	for i, wire := range wires {
		s, known := named[wire]
		if !known {
			key := string(n.ID) + "|" + tables.SegmentKey(wire.Type, wire.PhysicalNetwork, wire.SegmentationID)
			s = model.Segment{ID: model.SegmentID(uuid.NewSHA1(uuid.NameSpaceURL, []byte("nagare:segment:"+key)).String()),
				Std: model.Std{CreatedAt: n.CreatedAt, UpdatedAt: n.CreatedAt}, Wire: wire, Network: n.ID}
		}
		if !known || s.Index != i {
			s.Index = i
			tables.Segments.Put(w.tx, s.ID, s)
		}
	}
}

func dropNetwork(w *work, n *model.Network) error {
	for s := range tables.SegmentsByNetwork.By(w.tx, string(n.ID)) {
		tables.Segments.Delete(w.tx, s.ID)
	}
	tables.Networks.Delete(w.tx, n.ID)
	w.unshare(sharedNetwork, string(n.ID), nil)
	return w.placeGateways(n.ID)
}

// placeGateways places the gateways that routers have on a network.
func (w *work) placeGateways(id model.NetworkID) error {
	for p := range tables.RouterPortsByNetwork.By(w.tx, string(id)) {
		if p.DeviceOwner == model.OwnerRouterGateway {
			if _, err := alloc.PlaceGateway(w.tx, p.Router, w.Down()); err != nil {
				return err
			}
		}
	}
	return nil
}

var subnets = &core[model.Subnet]{
	kind: "subnet", plural: "subnets", paged: true,
	id:  subnetID,
	std: subnetStd,
	get: func(r store.Reader, id string) (model.Subnet, bool) { return tables.Subnets.Get(r, model.SubnetID(id)) },
	from: func(r store.Reader, id string) iter.Seq[model.Subnet] {
		return records(tables.Subnets.From(r, model.SubnetID(id)))
	},
	lookups: []lookup[model.Subnet]{
		{"id", one(tables.Subnets)}, {"network_id", tables.SubnetsByNetwork.By}, {"name", tables.SubnetsByName.By},
		{"tenant_id", tables.SubnetsByProject.By}, {"project_id", tables.SubnetsByProject.By},
	},
	read: readSubnet,
	keep: func(now, old *model.Subnet, in *input) {
		now.Key = old.Key
		if in.put {
			now.Network, now.Project, now.CIDR = old.Network, old.Project, old.CIDR
		}
	},
	put: putSubnet,
	drop: func(w *work, s *model.Subnet) error {
		alloc.ForgetSubnet(w.tx, s.ID)
		tables.Subnets.Delete(w.tx, s.ID)
		return nil
	},
	owned: []string{"shared"}, // as its network is
	attrs: append(stdAttrs(subnetID, subnetStd), []attr[model.Subnet]{
		{name: "network_id", get: func(_ *env, s *model.Subnet) any { return optional(string(s.Network)) }},
		sharedAttr(sharedNetwork, func(s *model.Subnet) string { return string(s.Network) }),
		{name: "ip_version", get: func(_ *env, s *model.Subnet) any { return s.IPVersion() }},
		{name: "cidr", get: func(_ *env, s *model.Subnet) any { return s.CIDR.String() }},
		{name: "gateway_ip", get: func(_ *env, s *model.Subnet) any { return addrText(s.Gateway) }},
		{name: "allocation_pools", get: func(_ *env, s *model.Subnet) any {
			out := make([]any, 0, len(s.AllocationPools))
			for _, p := range s.AllocationPools {
				out = append(out, map[string]any{"start": p.Start.String(), "end": p.End.String()})
			}
			return out
		}},
		{name: "host_routes", get: func(_ *env, s *model.Subnet) any { return routesText(s.HostRoutes) }},
		{name: "dns_nameservers", get: func(_ *env, s *model.Subnet) any {
			out := make([]string, 0, len(s.DNSNameservers))
			for _, a := range s.DNSNameservers {
				out = append(out, a.String())
			}
			return out
		}},
		{name: "enable_dhcp", get: func(_ *env, s *model.Subnet) any { return s.EnableDHCP }},
		{name: "ipv6_ra_mode", get: func(_ *env, s *model.Subnet) any { return optional(s.IPv6RAMode) }},
		{name: "ipv6_address_mode", get: func(_ *env, s *model.Subnet) any { return optional(s.IPv6AddressMode) }},
		{name: "service_types", get: func(_ *env, s *model.Subnet) any { return notNil(s.ServiceTypes) }},
	}...),
}

func subnetID(s *model.Subnet) string      { return string(s.ID) }
func subnetStd(s *model.Subnet) *model.Std { return &s.Std }

func addrText(a netip.Addr) any {
	if !a.IsValid() {
		return nil
	}
	return a.String()
}

func routesText(routes []model.Route) any {
	out := make([]any, 0, len(routes))
	for _, r := range routes {
		out = append(out, map[string]any{"destination": r.Destination.String(), "nexthop": r.NextHop.String()})
	}
	return out
}

func readSubnet(in *input) model.Subnet {
	s := model.Subnet{ID: model.SubnetID(in.id), Std: in.std()}
	s.Network = model.NetworkID(in.uuid("network_id"))
	in.require("network_id", s.Network != "")
	v, _ := in.take("cidr")
	s.CIDR = in.toPrefix("cidr", v).Masked()
	in.require("cidr", s.CIDR.IsValid())
	version := in.integer("ip_version", 4, 6)
	switch {
	case version != nil && *version == 5:
		in.bad("ip_version", "5 is neither 4 nor 6")
	case version != nil && !in.put && s.CIDR.IsValid() && *version != s.IPVersion():
		in.bad("cidr", "%s is not of ip version %d", s.CIDR, *version)
	}
	_, told := in.m["gateway_ip"] // null says that there is none
	s.Gateway = in.addr("gateway_ip")
	if !told && !in.put && s.CIDR.IsValid() {
		s.Gateway = alloc.FirstHost(s.CIDR)
	}
	if s.Gateway.IsValid() && s.CIDR.IsValid() && !in.put && s.Gateway.Is4() != s.CIDR.Addr().Is4() {
		in.bad("gateway_ip", "%s is of another ip version than %s", s.Gateway, s.CIDR)
	}
	in.objects("allocation_pools", func(e *input) {
		r := model.AddrRange{Start: e.addr("start"), End: e.addr("end")}
		if !r.Start.IsValid() || !r.End.IsValid() || r.Start.BitLen() != r.End.BitLen() || r.Start.Compare(r.End) > 0 {
			e.bad("pool", "start and end are not the bounds of a range")
		}
		s.AllocationPools = append(s.AllocationPools, r)
	})
	s.HostRoutes = in.routes("host_routes")
	for _, v := range in.list("dns_nameservers") {
		if a := in.toAddr("dns_nameservers", v); a.IsValid() {
			s.DNSNameservers = append(s.DNSNameservers, a)
		}
	}
	s.EnableDHCP, s.ServiceTypes = in.boolean("enable_dhcp", true), in.texts("service_types")
	for name, to := range map[string]*string{"ipv6_ra_mode": &s.IPv6RAMode, "ipv6_address_mode": &s.IPv6AddressMode} {
		switch *to = in.text(name); *to {
		case "", "slaac", "dhcpv6-stateful", "dhcpv6-stateless":
		default:
			in.bad(name, "'%s' is none of slaac, dhcpv6-stateful and dhcpv6-stateless", show(*to))
		}
	}
	return s
}

func putSubnet(w *work, s, old *model.Subnet) error {
	if s.Gateway.IsValid() && s.Gateway.Is4() != s.CIDR.Addr().Is4() { // of an update, which does not name the prefix
		return badRequest("Invalid input for gateway_ip: %s is of another ip version than %s", s.Gateway, s.CIDR)
	}
	if len(s.AllocationPools) == 0 {
		s.AllocationPools = alloc.DefaultPools(s.CIDR, s.Gateway)
	}
	if old == nil {
		var err error
		if s.Key, err = alloc.NextKey(w.tx, alloc.Subnet); err != nil {
			return err
		}
	}
	tables.Subnets.Put(w.tx, s.ID, *s)
	return nil
}
