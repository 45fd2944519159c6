// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"iter"
	"net/http"
	"net/netip"
	"slices"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// statusNone is the status that Neutron gives ports of floating IPs: nothing is plugged for them.
const statusNone = "N/A"

var floatingIPs = new(Resource[model.FloatingIP])

func init() {
	declare(part{when: whereRouted, extensions: []extension{
		{"fip-port-details", "Floating IP Port Details Extension", "Add port_details attribute to Floating IP resource", "2018-04-09T10:00:00-00:00"},
	}})
	floatingIPs.declare(Resource[model.FloatingIP]{
		name: "floatingip", plural: "floatingips", path: "floatingips",
		when:  whereRouted,
		quota: atMost(50, tables.FloatingIPs, func(f *model.FloatingIP) string { return string(f.ID) }),
		id:    func(f *model.FloatingIP) string { return string(f.ID) },
		std:   func(f *model.FloatingIP) *model.Std { return &f.Std },
		get: func(r store.Reader, id string) (model.FloatingIP, bool) {
			return tables.FloatingIPs.Get(r, model.FloatingIPID(id))
		},
		put: func(tx *store.Txn, f model.FloatingIP) error { tables.FloatingIPs.Put(tx, f.ID, f); return nil },
		from: func(r store.Reader, id string) iter.Seq[model.FloatingIP] {
			return records(tables.FloatingIPs.From(r, model.FloatingIPID(id)))
		},
		back: backwards(tables.FloatingIPs),
		gone: func(id string) *Error {
			return fail(http.StatusNotFound, "FloatingIPNotFound", "Floating IP %s could not be found", id)
		},
		lookups: []lookup[model.FloatingIP]{
			{attr: "id", by: one(tables.FloatingIPs)},
			{attr: "floating_ip_address", in: floatingByAddr},
			{attr: "port_id", in: tables.FloatingIPsByPort, keys: notEmpty},
			{attr: "router_id", in: tables.FloatingIPsByRouter, keys: notEmpty},
			{attr: "project_id", in: tables.FloatingIPsByProject},
			{attr: "tenant_id", in: tables.FloatingIPsByProject},
			{attr: "floating_network_id", in: tables.FloatingIPsByNetwork},
		},
		scope: func(v *view) iter.Seq[model.FloatingIP] {
			return tables.FloatingIPsByProject.By(v.r, string(v.who.ProjectID))
		},
		sees:   func(v *view, f *model.FloatingIP) bool { return v.mine(f.Project) },
		create: owner, change: owner, remove: owner,
		build: buildFloatingIP, update: updateFloatingIP, delete: deleteFloatingIP,
		attrs: append(floatingStd(),
			[]Attr[model.FloatingIP]{
				{Name: "floating_network_id", Get: func(_ *view, f *model.FloatingIP) any { return string(f.Network) }, Parse: uuidText, Post: true, Required: true},
				{Name: "floating_ip_address", Get: func(_ *view, f *model.FloatingIP) any { return addrText(f.Addr) }, Parse: orNull(ipAddress), Post: true, SetPost: adminOnly},
				{Name: "subnet_id", Parse: orNull(uuidText), Post: true},
				{Name: "port_id", Get: func(_ *view, f *model.FloatingIP) any { return nullText(string(f.Port)) }, Parse: orNone(uuidText), Post: true, Put: true},
				{Name: "fixed_ip_address", Get: func(_ *view, f *model.FloatingIP) any { return addrText(f.Fixed) }, Parse: orNone(ipAddress), Post: true, Put: true},
				{Name: "router_id", Get: func(_ *view, f *model.FloatingIP) any { return nullText(string(f.Router)) }},
				{Name: "status", Get: floatingStatus},
				{Name: "port_details", Get: portDetails, NoFilter: true, NoSort: true},
				{Name: "dns_name", Get: func(_ *view, f *model.FloatingIP) any { return f.DNSName }, Parse: dnsName, Default: "", Post: true},
				{Name: "dns_domain", Get: func(_ *view, f *model.FloatingIP) any { return f.DNSDomain }, Parse: dnsDomain, Default: "", Post: true},
				qosOfFloating(), networkQosOfFloating(),
			}...),
	})
}

// floatingStd are the standard attributes; a floating IP has tags and no name.
func floatingStd() []Attr[model.FloatingIP] {
	all := stdAttrs(func(f *model.FloatingIP) string { return string(f.ID) }, func(f *model.FloatingIP) *model.Std { return &f.Std }, true)
	return slices.DeleteFunc(all, func(a Attr[model.FloatingIP]) bool { return a.Name == "name" })
}

// orNone lets null and the empty string stand for nothing.
func orNone(p parser) parser {
	return func(v any) (any, error) {
		if v == nil || v == "" {
			return nil, nil
		}
		return p(v)
	}
}

// notEmpty lets an index serve a filter unless it asks for objects without the value, which the index does not have.
func notEmpty(values []string) []string {
	if slices.Contains(values, "") {
		return nil
	}
	return values
}

// floatingStatus: a floating IP is up when it stands for an address and a node serves it, and then what that node has reported, if
// it has.
func floatingStatus(v *view, f *model.FloatingIP) any {
	node, ok := tables.Serving(v.r, f)
	if _, known := tables.Nodes.Get(v.r, node); !ok || !known {
		return model.StatusDown
	}
	if s, ok := tables.Statuses.Get(v.r, model.PortID(f.ID)); ok {
		return s.Status
	}
	return model.StatusDown // no node has confirmed it yet
}

func portDetails(v *view, f *model.FloatingIP) any {
	p, ok := tables.Ports.Get(v.r, f.Port)
	if !ok || f.Port == "" {
		return nil
	}
	return map[string]any{"name": p.Name, "network_id": string(p.Network), "mac_address": p.MAC.String(), "admin_state_up": p.AdminStateUp,
		"status": portStatus(v, &p), "device_id": p.DeviceID, "device_owner": p.DeviceOwner}
}

// badFloating is Neutron's BadRequest of this resource.
func badFloating(format string, args ...any) *Error {
	e := fail(http.StatusBadRequest, "BadRequest", format, args...)
	e.Message = "Bad floatingip request: " + e.Message + "."
	return e
}

func buildFloatingIP(w *work, in *values) (model.FloatingIP, error) {
	f := model.FloatingIP{ID: model.FloatingIPID(alloc.NewUUID()), Std: w.newStd(in, 0)}
	f.DNSName, f.DNSDomain = get[string](in, "dns_name"), get[string](in, "dns_domain")
	n, err := findNetwork(&w.view, get[string](in, "floating_network_id"))
	if err != nil {
		return f, err
	}
	if !n.External {
		return f, badFloating("Network %s is not a valid external network", n.ID)
	}
	f.Network = n.ID
	p, err := w.floatPort(&n, &f, fixedIP{subnet: model.SubnetID(get[string](in, "subnet_id")), addr: get[netip.Addr](in, "floating_ip_address")})
	if err != nil {
		return f, err
	}
	f.FloatPort, f.Addr = p.ID, p.FixedIPs[0].Addr
	if err := w.associate(&f, in); err != nil {
		return f, err
	}
	if f.Key, err = alloc.NextKey(w.tx, alloc.Floating); err != nil {
		return f, err
	}
	if err := w.meterFor(&f, n.QosPolicy); err != nil {
		return f, err
	}
	tables.FloatingIPs.Put(w.tx, f.ID, f)
	return f, putPort(w.tx, p)
}

// floatPort is the port that holds a floating IP's address on the external network. It belongs to no project.
func (w *work) floatPort(n *model.Network, f *model.FloatingIP, want fixedIP) (model.Port, error) {
	p, err := w.devicePort(n, model.OwnerFloatingIP, string(f.ID), "")
	if err != nil {
		return p, err
	}
	none := fail(http.StatusBadRequest, "ExternalIpAddressExhausted", "Unable to find any IP address on external network %s.", n.ID)
	c := w.elevated().chooser(n, &p)
	var ip model.FixedIP
	if want == (fixedIP{}) {
		var ok bool
		if ip, ok, err = c.any(func(s *model.Subnet) bool { return s.CIDR.Addr().Is4() }); err == nil && !ok {
			err = none
		}
	} else if ip, err = c.choose(want); err == nil && !ip.Addr.Is4() {
		err = none
	}
	if err != nil {
		return p, err
	}
	if s, _ := tables.Subnets.Get(w.tx, ip.Subnet); s.Gateway == ip.Addr {
		return p, badFloating("%s is the gateway IP of subnet %s", ip.Addr, s.ID)
	}
	p.FixedIPs = []model.FixedIP{ip}
	return p, nil
}

func updateFloatingIP(w *work, f model.FloatingIP, in *values) (model.FloatingIP, error) {
	takeStd(in, &f.Std)
	return f, w.associate(&f, in)
}

// associate gives a floating IP the port, its address and the router that a body asks for; without port_id it stays as it is.
func (w *work) associate(f *model.FloatingIP, in *values) error {
	id, fixed := get[string](in, "port_id"), get[netip.Addr](in, "fixed_ip_address")
	switch {
	case id == "" && fixed.IsValid():
		return badFloating("fixed_ip_address cannot be specified without a port_id")
	case !in.asked("port_id"):
		return nil
	case id == "":
		if f.Port != "" { // else it stands for nothing, or for ports of instances
			w.unbind(f)
		}
		return nil
	}
	p, err := ports.find(&w.view, id)
	if err != nil {
		return err
	}
	if p.Project != f.Project && !w.admin {
		return badFloating("Cannot process floating IP association with Port %s, since that port is owned by a different tenant", p.ID)
	}
	if err := w.checkNoForwarding(f, &p); err != nil {
		return err
	}
	ip, err := fixedOf(f, &p, fixed)
	if err != nil {
		return err
	}
	router, ok := w.routerFor(&p, ip.Subnet, f.Network)
	if !ok {
		return fail(http.StatusNotFound, "ExternalGatewayForFloatingIPNotFound", "External network %s is not reachable from subnet %s.  Therefore, cannot associate Port %s with a Floating IP.",
			f.Network, ip.Subnet, p.ID)
	}
	for o := range tables.FloatingIPsByPort.By(w.tx, id) {
		if o.ID != f.ID && o.Network == f.Network && o.Fixed == ip.Addr {
			return conflict("FloatingIPPortAlreadyAssociated",
				"Cannot associate floating IP %s (%s) with port %s using fixed IP %s, as that fixed IP already has a floating IP on external network %s.",
				f.Addr, f.ID, p.ID, ip.Addr, f.Network)
		}
	}
	if f.Port != p.ID || f.Fixed != ip.Addr || f.Router != router {
		w.unbind(f)
		f.Port, f.Fixed, f.Router = p.ID, ip.Addr, router
	}
	return nil
}

// unbind makes a floating IP stand for nothing, and what its node reported void.
func (w *work) unbind(f *model.FloatingIP) {
	f.Port, f.Fixed, f.Router = "", netip.Addr{}, ""
	w.down(model.PortID(f.ID), "association changed")
}

// disassociate unbinds the floating IPs of a port whose addresses it no longer has, and removes what is forwarded to these.
func (w *work) disassociate(p *model.Port, has []model.FixedIP) {
	w.dropForwardings(p, has)
	for f := range tables.FloatingIPsByPort.By(w.tx, string(p.ID)) {
		if slices.ContainsFunc(has, func(x model.FixedIP) bool { return x.Addr == f.Fixed }) {
			continue
		}
		w.unbind(&f)
		w.touch(&f.Std)
		tables.FloatingIPs.Put(w.tx, f.ID, f)
	}
}

// fixedOf chooses the address of a port that a floating IP stands for: the one that was asked for, or the only one.
func fixedOf(f *model.FloatingIP, p *model.Port, asked netip.Addr) (ip model.FixedIP, err error) {
	if asked.IsValid() {
		if !asked.Is4() {
			return ip, badFloating("Floating IP %s is associated with non-IPv4 address %s and therefore cannot be bound", f.ID, asked)
		}
		at := slices.IndexFunc(p.FixedIPs, func(x model.FixedIP) bool { return x.Addr == asked })
		if at < 0 {
			return ip, badFloating("Port %s does not have fixed ip %s", p.ID, asked)
		}
		return p.FixedIPs[at], nil
	}
	n := 0
	for _, x := range p.FixedIPs {
		if x.Addr.Is4() {
			ip = x
			n++
		}
	}
	switch n {
	case 0:
		return ip, badFloating("Cannot add floating IP to port %s that has no fixed IPv4 addresses", p.ID)
	case 1:
		return ip, nil
	}
	return ip, badFloating("Port %s has multiple fixed IPv4 addresses.  Must provide a specific IPv4 address when assigning a floating IP", p.ID)
}

// routerFor finds the router between a port's subnet and an external network: the one that is the subnet's gateway, else the one
// whose interface has the lowest id.
func (w *work) routerFor(p *model.Port, subnet model.SubnetID, external model.NetworkID) (best model.RouterID, ok bool) {
	s, _ := tables.Subnets.Get(w.tx, subnet)
	for rp := range tables.RouterPortsByNetwork.By(w.tx, string(p.Network)) {
		at := slices.IndexFunc(rp.FixedIPs, func(f model.FixedIP) bool { return f.Subnet == subnet })
		if at < 0 || !rp.IsRouterInterface() {
			continue
		}
		router, _ := tables.Routers.Get(w.tx, rp.Router)
		if gw, there := tables.Ports.Get(w.tx, router.GatewayPort); !there || router.GatewayPort == "" || gw.Network != external {
			continue
		}
		if rp.FixedIPs[at].Addr == s.Gateway {
			return rp.Router, true
		}
		if !ok {
			best, ok = rp.Router, true
		}
	}
	return best, ok
}

func deleteFloatingIP(w *work, f model.FloatingIP) error {
	if _, used := tables.PortForwardingsByFloating.First(w.tx, string(f.ID)); used {
		return floatingInUse(f.ID)
	}
	if p, ok := tables.Ports.Get(w.tx, f.FloatPort); ok {
		w.dropPort(p)
	}
	tables.FloatingIPs.Delete(w.tx, f.ID)
	tables.Statuses.Delete(w.tx, model.PortID(f.ID))
	return nil
}
