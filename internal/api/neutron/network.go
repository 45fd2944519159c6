// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

var networks = new(Resource[model.Network])

func init() {
	declare(part{extensions: []extension{
		{"external-net", "Neutron external network", "Adds external network attribute to network resource.", "2013-01-14T10:00:00-00:00"},
		{"net-mtu", "Network MTU", "Provides MTU attribute for a network resource.", "2015-03-25T10:00:00-00:00"},
		{"net-mtu-writable", "Network MTU (writable)", "Provides a writable MTU attribute for a network resource.", "2017-07-12T00:00:00-00:00"},
		{"provider", "Provider Network", "Expose mapping of virtual networks to physical networks", "2012-09-07T10:00:00-00:00"},
	}})
	networks.declare(Resource[model.Network]{
		name: "network", plural: "networks", path: "networks",
		quota: atMost(100, tables.Networks, func(n *model.Network) string { return string(n.ID) }),
		id:    func(n *model.Network) string { return string(n.ID) },
		std:   func(n *model.Network) *model.Std { return &n.Std },
		get: func(r store.Reader, id string) (model.Network, bool) {
			return tables.Networks.Get(r, model.NetworkID(id))
		},
		put: func(tx *store.Txn, n model.Network) error { tables.Networks.Put(tx, n.ID, n); return nil },
		from: func(r store.Reader, id string) iter.Seq[model.Network] {
			return records(tables.Networks.From(r, model.NetworkID(id)))
		},
		back: backwards(tables.Networks),
		gone: networkNotFound,
		lookups: []lookup[model.Network]{
			{attr: "id", by: one(tables.Networks)},
			{attr: "name", in: tables.NetworksByName},
			{attr: "project_id", in: tables.NetworksByProject},
			{attr: "tenant_id", in: tables.NetworksByProject},
		},
		scope: func(v *view) iter.Seq[model.Network] {
			return tables.NetworksByProject.By(v.r, string(v.who.ProjectID))
		},
		sees:   func(v *view, n *model.Network) bool { return v.mine(n.Project) },
		shares: "network", sharing: shareNetwork,
		create: owner, change: owner, remove: owner,
		build: buildNetwork, update: updateNetwork, delete: deleteNetwork,
		attrs: append(stdAttrs(func(n *model.Network) string { return string(n.ID) }, func(n *model.Network) *model.Std { return &n.Std }, true),
			[]Attr[model.Network]{
				{Name: "admin_state_up", Get: func(_ *view, n *model.Network) any { return n.AdminStateUp }, Parse: boolean, Default: true, Post: true, Put: true, Bool: true},
				{Name: "status", Get: func(*view, *model.Network) any { return model.StatusActive }},
				{Name: "subnets", Get: subnetIDs, NoFilter: true, NoSort: true},
				sharedAttr(networks, post, put),
				{Name: "mtu", Get: func(_ *view, n *model.Network) any { return n.MTU }, Parse: integer(0, 65535), Post: true, Put: true},
				{Name: "port_security_enabled", Get: func(_ *view, n *model.Network) any { return n.PortSecurityEnabled }, Parse: boolean, Default: true,
					Post: true, Put: true, Bool: true},
				{Name: "router:external", Get: func(_ *view, n *model.Network) any { return n.External }, Parse: boolean, Default: false, Post: true, Put: true,
					Bool: true, SetPost: adminOnly, SetPut: adminOnly},
				{Name: "is_default", Get: func(_ *view, n *model.Network) any {
					if !n.External && !n.IsDefault {
						return omit
					}
					return n.IsDefault
				}, Parse: boolean, Default: false, Post: true, Put: true, Bool: true, SetPost: adminOnly, SetPut: adminOnly},
				{Name: "dns_domain", Get: func(_ *view, n *model.Network) any { return n.DNSDomain }, Parse: dnsDomain, Default: "", Post: true, Put: true},
				{Name: "l2_adjacency", Get: func(v *view, n *model.Network) any { return !isRouted(v.r, n.ID) }, Bool: true},
				qosOfNetwork(),
				{Name: "provider:network_type", Get: ofOne(func(n *model.Network) any { return nullText(string(n.Type)) }),
					Parse: orNull(oneOf("vxlan", "vlan", "flat", "geneve", "gre", "local")), Post: true, Put: true, SetPost: adminOnly, SetPut: adminOnly, See: adminOrService},
				{Name: "provider:physical_network", Get: ofOne(func(n *model.Network) any { return nullText(n.PhysicalNetwork) }),
					Parse: orNull(text(64)), Post: true, Put: true, SetPost: adminOnly, SetPut: adminOnly, See: adminOrService},
				{Name: "provider:segmentation_id", Get: ofOne(func(n *model.Network) any { return idOrNull(n.SegmentationID) }), Parse: orNull(integer(-1<<31, 1<<32-1)), Post: true, Put: true, SetPost: adminOnly, SetPut: adminOnly, See: adminOrService},
			}...),
	})
}

func null[T any](*view, *T) any { return nil }

func nullText(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// records drops the keys of a walk over a table.
func records[K, V any](seq iter.Seq2[K, V]) iter.Seq[V] {
	return func(yield func(V) bool) {
		for _, v := range seq {
			if !yield(v) {
				return
			}
		}
	}
}

// one is the lookup by primary key.
func one[K ~string, V any](t *store.Table[K, V]) func(store.Reader, string) iter.Seq[V] {
	return func(r store.Reader, id string) iter.Seq[V] {
		return func(yield func(V) bool) {
			if v, ok := t.Get(r, K(id)); ok {
				yield(v)
			}
		}
	}
}

func both[V any](a, b iter.Seq[V]) iter.Seq[V] {
	return func(yield func(V) bool) {
		for v := range a {
			if !yield(v) {
				return
			}
		}
		for v := range b {
			if !yield(v) {
				return
			}
		}
	}
}

// subnetIDs are of all subnets, also of those that the caller may not see, as an external network's: a floating IP may be asked
// for from one of them.
func subnetIDs(v *view, n *model.Network) any {
	ids := []string{}
	for s := range tables.SubnetsByNetwork.By(v.r, string(n.ID)) {
		ids = append(ids, string(s.ID))
	}
	return ids
}

// dnsDomain takes a domain name that ends in a dot, or nothing.
func dnsDomain(v any) (any, error) {
	s, err := textOrNull(255)(v)
	if err != nil {
		return nil, err
	}
	d := s.(string)
	if d == "" {
		return d, nil
	}
	if !strings.HasSuffix(d, ".") {
		return nil, because("'%s' is not a FQDN", show(d))
	}
	for _, label := range strings.Split(strings.TrimSuffix(d, "."), ".") {
		if !isLabel(label) {
			return nil, because("'%s' not a valid PQDN or FQDN. Reason: Name '%s' must be 1-63 characters long, each of which can only be alphanumeric or a hyphen", show(d), show(label))
		}
	}
	return d, nil
}

// IsDomain reports whether s is a domain name, with or without the dot at its end.
func IsDomain(s string) bool {
	labels := strings.Split(strings.TrimSuffix(s, "."), ".")
	return len(s) <= 255 && !slices.ContainsFunc(labels, func(l string) bool { return !isLabel(l) })
}

// isLabel reports whether s is a host name's label (RFC 1123 section 2.1).
func isLabel(s string) bool {
	if len(s) == 0 || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}

func buildNetwork(w *work, in *values) (model.Network, error) {
	var n model.Network
	id, wanted := w.api.ids.Network(w.tx, get[string](in, "name"))
	n.ID, n.Std = id, w.newStd(in, 1)
	n.AdminStateUp, n.External = get[bool](in, "admin_state_up"), get[bool](in, "router:external")
	n.PortSecurityEnabled, n.IsDefault, n.DNSDomain = get[bool](in, "port_security_enabled"), get[bool](in, "is_default"), get[string](in, "dns_domain")
	if err := w.takeWires(&n, in, wanted); err != nil {
		return n, err
	}
	if err := w.takeMTU(&n, in); err != nil {
		return n, err
	}
	if err := w.checkDefault(&n); err != nil {
		return n, err
	}
	var err error
	if n.Key, err = alloc.NextKey(w.tx, alloc.Network); err != nil {
		return n, err
	}
	tables.Networks.Put(w.tx, n.ID, n)
	w.putSegments(&n)
	return n, w.setEverybody("network", string(n.ID), n.Project, model.AsExternal, n.External)
}

func (w *work) takeMTU(n *model.Network, in *values) error {
	top := w.api.maxMTU(n.Type, n.PhysicalNetwork)
	for _, wire := range n.Segments {
		top = min(top, w.api.maxMTU(wire.Type, wire.PhysicalNetwork))
	}
	mtu := get[int](in, "mtu")
	switch {
	case mtu == 0:
		mtu = top
	case mtu > top:
		return invalidInput("Requested MTU is too big, maximum is %d", top)
	case mtu < 68:
		return invalidInput("Requested MTU is too small, minimum is 68")
	}
	n.MTU = mtu
	return nil
}

// checkDefault: only one external network may be the default one.
func (w *work) checkDefault(n *model.Network) error {
	if !n.IsDefault {
		return nil
	}
	for other := range defaultNetworks.By(w.tx, tables.All) {
		if other.ID != n.ID {
			return conflict("DefaultExternalNetworkExists", "A default external network already exists: %s.", other.ID)
		}
	}
	return nil
}

func updateNetwork(w *work, n model.Network, in *values) (model.Network, error) {
	// What the network travels on cannot change under its ports, but for the id of its VLAN; naming what it has already is no change.
	for _, a := range []string{providerType, providerPhysical, providerID} {
		if !in.asked(a) || fmt.Sprint(in.m[a]) == fmt.Sprint(networks.byName[a].Get(&w.view, &n)) {
			continue
		}
		if a != providerID {
			return n, invalidInput("Plugin does not support updating the following provider network attributes: %s", a)
		}
		if err := w.renumber(&n, in); err != nil {
			return n, err
		}
	}
	if err := checkSameWires(&n, in); err != nil {
		return n, err
	}
	takeStd(in, &n.Std)
	set(in, "admin_state_up", &n.AdminStateUp)
	set(in, "port_security_enabled", &n.PortSecurityEnabled)
	set(in, "dns_domain", &n.DNSDomain)
	set(in, "is_default", &n.IsDefault)
	if in.asked("mtu") {
		if err := w.takeMTU(&n, in); err != nil {
			return n, err
		}
	}
	if in.asked("router:external") {
		if err := w.setExternal(&n, get[bool](in, "router:external")); err != nil {
			return n, err
		}
	}
	return n, w.checkDefault(&n)
}

func deleteNetwork(w *work, n model.Network) error {
	for f := range tables.FloatingIPsByNetwork.By(w.tx, string(n.ID)) { // those that stand for nothing go with their network
		if f.Port == "" {
			if err := deleteFloatingIP(w, f); err != nil {
				return err
			}
		}
	}
	var inUse []string
	for p := range tables.PortsByNetwork.By(w.tx, string(n.ID)) {
		if !p.IsDHCP() {
			if inUse = append(inUse, string(p.ID)); len(inUse) == 20 {
				break // enough to act on
			}
		}
	}
	if len(inUse) > 0 {
		return conflict("NetworkInUse", "Unable to complete operation on network %s. There are one or more ports still in use on the network, id for these ports is %s.",
			n.ID, strings.Join(inUse, ","))
	}
	for p := range tables.DHCPPortsByNetwork.By(w.tx, string(n.ID)) {
		w.dropPort(p)
	}
	for s := range tables.SubnetsByNetwork.By(w.tx, string(n.ID)) {
		w.dropSubnet(s)
	}
	for _, wire := range n.Wires() {
		alloc.ReleaseVNI(w.tx, wire)
	}
	for s := range tables.SegmentsByNetwork.By(w.tx, string(n.ID)) {
		tables.Segments.Delete(w.tx, s.ID)
	}
	tables.Networks.Delete(w.tx, n.ID)
	return nil
}

// findNetwork gives the network that a body names, if the caller sees it.
func findNetwork(v *view, id string) (model.Network, error) { return networks.find(v, id) }

// addrText gives an address as the API shows it.
func addrText(a netip.Addr) any {
	if !a.IsValid() {
		return nil
	}
	return a.String()
}
