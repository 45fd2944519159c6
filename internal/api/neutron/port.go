// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"iter"
	"net/http"
	"slices"
	"strings"

	"nagare/internal/alloc"
	"nagare/internal/api/jsonbody"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

var ports = new(Resource[model.Port])

func init() {
	declare(part{extensions: []extension{
		{"port-mac-address-regenerate", "Neutron Port MAC address regenerate", "Network port MAC address regenerate", "2018-05-03T10:00:00-00:00"},
		{"port-security", "Port Security", "Provides port security", "2012-07-23T10:00:00-00:00"},
		{"tag-ports-during-bulk-creation", "Tag Ports During Bulk Creation", "Allow to tag ports during bulk creation", "2019-12-29T19:00:00-00:00"},
	}})
	ports.declare(Resource[model.Port]{
		name: "port", plural: "ports", path: "ports",
		quota: atMost(500, tables.Ports, func(p *model.Port) string { return string(p.ID) }),
		id:    func(p *model.Port) string { return string(p.ID) },
		std:   func(p *model.Port) *model.Std { return &p.Std },
		get:   func(r store.Reader, id string) (model.Port, bool) { return tables.Ports.Get(r, model.PortID(id)) },
		put:   putPort,
		from: func(r store.Reader, id string) iter.Seq[model.Port] {
			return records(tables.Ports.From(r, model.PortID(id)))
		},
		back: backwards(tables.Ports),
		gone: func(id string) *Error {
			return fail(http.StatusNotFound, "PortNotFound", "Port %s could not be found.", id)
		},
		lookups: []lookup[model.Port]{
			{attr: "id", by: one(tables.Ports)},
			{attr: "fixed_ips", in: tables.PortsBySubnet, keys: subnetsOfFilter},
			{attr: "device_id", in: tables.PortsByDevice},
			{attr: "name", in: tables.PortsByName},
			{attr: "network_id", in: tables.PortsByNetwork},
			{attr: "security_groups", in: tables.PortsByGroup},
			{attr: "binding:host_id", in: tables.PortsByHost},
			{attr: "project_id", in: tables.PortsByProject},
			{attr: "tenant_id", in: tables.PortsByProject},
		},
		scope: func(v *view) iter.Seq[model.Port] {
			return both(tables.PortsByProject.By(v.r, string(v.who.ProjectID)), func(yield func(model.Port) bool) {
				for n := range tables.NetworksByProject.By(v.r, string(v.who.ProjectID)) {
					for p := range tables.PortsByNetwork.By(v.r, string(n.ID)) {
						if p.Project != v.who.ProjectID && !yield(p) {
							return
						}
					}
				}
			})
		},
		sees: func(v *view, p *model.Port) bool {
			if v.mine(p.Project) {
				return true
			}
			n, ok := tables.Networks.Get(v.r, p.Network)
			return ok && v.mine(n.Project)
		},
		network: func(r store.Reader, p *model.Port) model.ProjectID {
			n, _ := tables.Networks.Get(r, p.Network)
			return n.Project
		},
		create: ownerOrService, change: ownerOrService, remove: eitherOwnerOrService,
		parent: networkOf,
		build:  buildPort, update: updatePort, delete: deletePort,
		attrs: append(portStd(),
			[]Attr[model.Port]{
				{Name: "network_id", Get: func(_ *view, p *model.Port) any { return string(p.Network) }, Parse: uuidText, Post: true, Required: true},
				{Name: "mac_address", Get: func(_ *view, p *model.Port) any { return p.MAC.String() }, Parse: orNull(macAddress), Post: true, Put: true,
					SetPost: networkOwnerOrService, SetPut: networkOwnerOrService, Match: matchMAC},
				{Name: "admin_state_up", Get: func(_ *view, p *model.Port) any { return p.AdminStateUp }, Parse: boolean, Default: true, Post: true, Put: true, Bool: true},
				{Name: "status", Get: portStatus},
				{Name: "device_id", Get: func(_ *view, p *model.Port) any { return p.DeviceID }, Parse: textOrNull(255), Default: "", Post: true, Put: true},
				{Name: "device_owner", Get: func(_ *view, p *model.Port) any { return p.DeviceOwner }, Parse: textOrNull(255), Default: "", Post: true, Put: true,
					SetPost: adminOrService, SetPut: adminOrService, SetWhen: isNetworkDevice, Except: "not rule:network_device"},
				{Name: "fixed_ips", Get: fixedIPsBody, Parse: fixedIPs, Post: true, Put: true, NoSort: true, Match: matchFixedIPs, CheckMatch: checkFixedIPs,
					SetPost: networkOwnerOrService, SetPut: networkOwnerOrService, Parts: []attrPart{{name: "ip_address", in: namesAddress}, {name: "subnet_id", in: namesSubnet, free: true}}},
				{Name: "port_security_enabled", Get: func(_ *view, p *model.Port) any { return p.PortSecurity }, Parse: boolean, Post: true, Put: true, Bool: true,
					SetPost: networkOwnerOrService, SetPut: networkOwnerOrService},
				{Name: "security_groups", Get: func(_ *view, p *model.Port) any { return groupIDs(p.SecurityGroups) }, Match: wearsGroup, Parse: list[string](200, uuidText, false), Post: true, Put: true, NoSort: true},
				{Name: "allowed_address_pairs", Get: pairsBody, Parse: addressPairs, Post: true, Put: true, NoFilter: true, NoSort: true, SetPost: networkOwnerOrService, SetPut: networkOwnerOrService,
					SetWhen: inPairs(func(model.AddressPair) bool { return true }),
					Parts:   []attrPart{{"ip_address", inPairs(func(model.AddressPair) bool { return true }), true}, {"mac_address", inPairs(func(p model.AddressPair) bool { return !p.MAC.IsZero() }), true}}},
				{Name: "extra_dhcp_opts", Get: dhcpOptsBody, Parse: dhcpOpts, Post: true, Put: true, NoFilter: true, NoSort: true},
				qosOfPort(),
				networkQosOfPort(),
				{Name: "propagate_uplink_status", Get: func(_ *view, p *model.Port) any { return p.PropagateUplinkStatus }, Parse: boolean, Default: false, Post: true, Bool: true},
				deviceProfile(),
				numaPolicy(),
				dataPlaneStatus(),
				{Name: "dns_name", Get: func(_ *view, p *model.Port) any { return p.DNSName }, Parse: dnsName, Default: "", Post: true, Put: true},
				{Name: "dns_domain", Get: func(_ *view, p *model.Port) any { return p.DNSDomain }, Parse: dnsDomain, Default: "", Post: true, Put: true},
				{Name: "dns_assignment", Get: dnsAssignment, NoFilter: true, NoSort: true},
				{Name: "ip_allocation", Get: func(_ *view, p *model.Port) any {
					switch {
					case p.Unaddressed:
						return "none"
					case p.Deferred:
						return "deferred"
					}
					return "immediate"
				}},
				{Name: "resource_request", Get: null[model.Port], See: adminOrService, NoFilter: true, NoSort: true},
				{Name: "binding:vnic_type", Get: func(_ *view, p *model.Port) any { return p.VNICType }, Parse: orNull(oneOf(vnicTypes...)), Default: "normal", Post: true, Put: true},
				{Name: "binding:host_id", Get: func(_ *view, p *model.Port) any { return string(p.Host) }, Parse: hostID, Default: "", Post: true, Put: true,
					SetPost: adminOrService, SetPut: adminOrService, See: adminOrService},
				{Name: "binding:profile", Get: profileBody, Parse: bindingProfile, Default: map[string]any{}, Post: true, Put: true,
					SetPost: adminOrService, SetPut: adminOrService, See: adminOrService, NoFilter: true, NoSort: true},
				{Name: "binding:vif_type", Get: func(v *view, p *model.Port) any { return vifType(v, p) }, See: adminOrService},
				{Name: "binding:vif_details", Get: vifDetails, See: adminOrService, NoFilter: true, NoSort: true},
			}...),
	})
}

// portStd are the standard attributes; of ports, tags may be given in a create.
func portStd() []Attr[model.Port] {
	out := stdAttrs(func(p *model.Port) string { return string(p.ID) }, func(p *model.Port) *model.Std { return &p.Std }, true)
	for i := range out {
		if out[i].Name == "tags" {
			out[i].Post, out[i].Parse = true, tagParser
		}
	}
	return out
}

func wearsGroup(_ *view, p *model.Port, values []string) bool {
	return slices.ContainsFunc(p.SecurityGroups, func(g model.SecurityGroupID) bool { return slices.Contains(values, string(g)) })
}

// inPairs reports whether one of allowed_address_pairs has something.
func inPairs(has func(model.AddressPair) bool) func(any) bool {
	return func(v any) bool { p, _ := v.([]model.AddressPair); return slices.ContainsFunc(p, has) }
}

func isNetworkDevice(v any) bool { s, _ := v.(string); return strings.HasPrefix(s, "network:") }

// isInterface reports whether a port is a router's on a tenant's network: it has the addresses that it is given, and no others.
func isInterface(p *model.PortPlane) bool {
	return isRouterPort(p) && p.DeviceOwner != model.OwnerRouterGateway
}

func isRouterPort(p *model.PortPlane) bool {
	return p.DeviceOwner == model.OwnerRouterInterface || p.DeviceOwner == model.OwnerRouterGateway || strings.HasPrefix(p.DeviceOwner, "network:router_")
}

func groupIDs(ids []model.SecurityGroupID) any {
	if len(ids) == 0 {
		return emptyArray
	}
	out := make([]string, 0, len(ids))
	for _, id := range ids {
		out = append(out, string(id))
	}
	return out
}

// portStatus is the observed status; a port that nothing was observed of is down.
func portStatus(v *view, p *model.Port) any {
	if v.servesNatively(p) {
		return model.StatusActive
	}
	if s, ok := tables.Statuses.Get(v.r, p.ID); ok && (p.Host != "" || p.Router != "") {
		return s.Status
	}
	switch {
	case p.DeviceOwner == model.OwnerFloatingIP, p.DeviceOwner == model.OwnerLocalIP:
		return statusNone
	case p.IsRouterInterface() && p.AdminStateUp && v.serves(p):
		return model.StatusActive // it is on every node that needs it, and nothing is plugged for it
	}
	return model.StatusDown // a gateway's too, until the node that has it has confirmed its flows
}

// down records that what was observed of a port no longer holds, because its binding changed.
func (w *work) down(id model.PortID, why string) {
	if s, ok := tables.Statuses.Get(w.tx, id); ok && s.Status != model.StatusDown {
		tables.Statuses.Put(w.tx, id, model.PortStatus{Port: id, Status: model.StatusDown, Reason: why, Since: w.now})
	}
}

func buildPort(w *work, in *values) (model.Port, error) {
	var p model.Port
	n, err := findNetwork(&w.view, get[string](in, "network_id"))
	if err != nil {
		return p, err
	}
	if !w.privileged() && !w.mine(n.Project) && !w.sharesNetwork(n.ID) {
		return p, fail(http.StatusForbidden, "HTTPForbidden", "Tenant %s not allowed to create port on this network", w.project(in))
	}
	name, dev := get[string](in, "name"), get[string](in, "device_owner")
	id, recorded := w.api.ids.Port(w.tx, n.Name, dev, name)
	p.ID, p.Std = id, w.newStd(in, 1)
	p.Tags = tagSet(get[[]string](in, "tags"))
	p.Network, p.DeviceOwner, p.DeviceID = n.ID, dev, get[string](in, "device_id")
	p.AdminStateUp, p.VNICType = get[bool](in, "admin_state_up"), get[string](in, "binding:vnic_type")
	if p.VNICType == "" {
		p.VNICType = "normal"
	}
	p.Host, p.Profile = model.NodeID(get[string](in, "binding:host_id")), get[map[string]any](in, "binding:profile")
	p.DNSName, p.DNSDomain = get[string](in, "dns_name"), get[string](in, "dns_domain")
	p.PropagateUplinkStatus = get[bool](in, "propagate_uplink_status")
	p.DHCPOpts = mergeDHCPOpts(nil, get[[]dhcpOpt](in, "extra_dhcp_opts"))
	if wanted := get[model.MAC](in, "mac_address"); !wanted.IsZero() {
		if p.MAC, err = w.wantedMAC(n.ID, wanted); err != nil {
			return p, err
		}
	} else if p.MAC, err = w.mac(n.ID, recorded); err != nil {
		return p, err
	}
	if p.FixedIPs, err = w.newAddresses(&n, &p, in); err != nil {
		return p, err
	}
	asked, listed := in.m["fixed_ips"].([]fixedIP)
	p.Unaddressed = listed && asked != nil && len(asked) == 0
	if p.PortSecurity = n.PortSecurityEnabled; in.has("port_security_enabled") {
		p.PortSecurity = get[bool](in, "port_security_enabled")
	}
	// The network's own services are trusted, whatever was asked (as Neutron's port security extension has it).
	p.PortSecurity = p.PortSecurity && !isNetworkDevice(dev)
	p.AllowedPairs = get[[]model.AddressPair](in, "allowed_address_pairs")
	if in.has("security_groups") {
		if p.SecurityGroups, err = w.groupsOf(get[[]string](in, "security_groups")); err != nil {
			return p, err
		}
	} else if p.PortSecurity {
		g, err := w.defaultGroup(p.Project)
		if err != nil {
			return p, err
		}
		p.SecurityGroups = []model.SecurityGroupID{g}
	}
	if err := w.checkSecurity(&p, in); err != nil {
		return p, err
	}
	if err := w.checkServed(&p); err != nil {
		return p, err
	}
	if p.Key, err = alloc.NextKey(w.tx, alloc.Port); err != nil {
		return p, err
	}
	return p, putPort(w.tx, p)
}

// groupsOf resolves the groups that a port is to wear. Nova may name one twice.
func (w *work) groupsOf(ids []string) ([]model.SecurityGroupID, error) {
	var out []model.SecurityGroupID
	stateful := map[bool]bool{}
	for _, id := range ids {
		g, err := groups.find(&w.view, id)
		if err != nil {
			return nil, err
		}
		stateful[g.Stateful] = true
		if !slices.Contains(out, g.ID) {
			out = append(out, g.ID)
		}
	}
	if len(stateful) > 1 {
		return nil, conflict("SecurityGroupConflict", "Error Cannot apply both stateful and stateless security groups on the same port at the same time while attempting the operation.")
	}
	return out, nil
}

// checkSecurity: groups and address pairs have a meaning only with port security.
func (w *work) checkSecurity(p *model.Port, in *values) error {
	if p.PortSecurity {
		if in.asked("allowed_address_pairs") {
			return w.checkPairs(p)
		}
		return nil
	}
	switch {
	case len(p.SecurityGroups) > 0 && in.asked("security_groups"):
		return fail(http.StatusBadRequest, "PortSecurityAndIPRequiredForSecurityGroups", "Port security must be enabled and port must have an IP address in order to use security groups.")
	case len(p.SecurityGroups) > 0:
		return conflict("PortSecurityPortHasSecurityGroup", "Port has security group associated. Cannot disable port security or IP address until security group is removed.")
	case len(p.AllowedPairs) > 0:
		return conflict("AddressPairAndPortSecurityRequired", "Port Security must be enabled in order to have allowed address pairs on a port.")
	}
	return nil
}

func updatePort(w *work, p model.Port, in *values) (model.Port, error) {
	if ownDHCP(&p) {
		for _, a := range []string{"device_id", "device_owner", "mac_address", "binding:host_id", "fixed_ips"} {
			if in.asked(a) && show(in.m[a]) != show(ports.byName[a].Get(&w.view, &p)) {
				return p, conflict("ServicePortInUse", "Port %s cannot be changed so via the port API: it is the network's DHCP server, %s is not settable", p.ID, a)
			}
		}
	}
	served := w.serves(&p)
	if served {
		if err := w.checkServedUpdate(&p, in); err != nil {
			return p, err
		}
	}
	takeStd(in, &p.Std)
	set(in, "admin_state_up", &p.AdminStateUp)
	set(in, "device_id", &p.DeviceID)
	set(in, "device_owner", &p.DeviceOwner)
	set(in, "dns_name", &p.DNSName)
	set(in, "dns_domain", &p.DNSDomain)
	set(in, "port_security_enabled", &p.PortSecurity)
	set(in, "allowed_address_pairs", &p.AllowedPairs)
	if in.asked("binding:vnic_type") {
		if p.VNICType = get[string](in, "binding:vnic_type"); p.VNICType == "" {
			p.VNICType = "normal"
		}
	}
	if in.asked("binding:profile") {
		p.Profile = get[map[string]any](in, "binding:profile")
	}
	if in.asked("extra_dhcp_opts") {
		p.DHCPOpts = mergeDHCPOpts(p.DHCPOpts, get[[]dhcpOpt](in, "extra_dhcp_opts"))
	}
	if in.asked("mac_address") {
		if err := w.changeMAC(&p, get[model.MAC](in, "mac_address")); err != nil {
			return p, err
		}
	}
	if in.asked("security_groups") {
		var err error
		if p.SecurityGroups, err = w.groupsOf(get[[]string](in, "security_groups")); err != nil {
			return p, err
		}
	}
	if in.asked("fixed_ips") {
		had := p.FixedIPs
		var err error
		to := p // where it will be
		set(in, "binding:host_id", (*string)(&to.Host))
		if p.FixedIPs, err = w.changeAddresses(&to, get[[]fixedIP](in, "fixed_ips")); err != nil {
			return p, err
		}
		p.Deferred = p.Deferred && len(p.FixedIPs) == 0
		if served {
			if err := w.checkNewAddresses(&p, had); err != nil {
				return p, err
			}
		}
		w.disassociate(&p, p.FixedIPs)
	}
	if in.asked("binding:host_id") {
		if host := model.NodeID(get[string](in, "binding:host_id")); host != p.Host {
			p.Host = host
			if !in.asked("fixed_ips") {
				if err := w.addressHere(&p); err != nil {
					return p, err
				}
			}
			w.down(p.ID, "binding changed")
			w.subPortsDown(p.ID)
		}
	}
	if !served {
		if err := w.checkServed(&p); err != nil {
			return p, err
		}
	}
	return p, w.checkSecurity(&p, in)
}

func (w *work) changeMAC(p *model.Port, m model.MAC) error {
	if m == p.MAC {
		return nil
	}
	if t := vifType(&w.view, p); t != "unbound" && t != "binding_failed" {
		return conflict("PortBound", "Unable to complete operation on port %s, port is already bound, port type: %s, old_mac %s, new_mac %s.", p.ID, t, p.MAC, m)
	}
	var err error
	if m.IsZero() { // null asks for another one
		p.MAC, err = w.mac(p.Network, model.MAC{})
	} else {
		p.MAC, err = w.wantedMAC(p.Network, m)
	}
	if err == nil {
		w.renewAuto(p)
	}
	return err
}

// putPort writes a port and what is allocated by where it is.
func putPort(tx *store.Txn, p model.Port) error {
	return exhausted(alloc.PutPort(tx, p), conflict("PortBindingError", "Binding failed for port %s: host %s has no room for another port.", p.ID, p.Host))
}

func deletePort(w *work, p model.Port) error {
	if ownDHCP(&p) {
		return conflict("ServicePortInUse", "Port %s cannot be deleted directly via the port API: it is the network's DHCP server; disable DHCP on its subnets instead.", p.ID)
	}
	if w.serves(&p) && len(p.FixedIPs) > 0 {
		return conflict("ServicePortInUse", "Port %s cannot be deleted directly via the port API: has device owner %s.", p.ID, p.DeviceOwner)
	}
	w.dropPort(p)
	return nil
}

// dropPort removes a port, gives its addresses back, frees its floating IPs and local IPs and forgets its status.
func (w *work) dropPort(p model.Port) {
	w.disassociate(&p, nil)
	w.dropLocalIPPorts(p.ID)
	for _, f := range p.FixedIPs {
		if s, ok := tables.Subnets.Get(w.tx, f.Subnet); ok {
			alloc.ReleaseAddress(w.tx, s, f.Addr)
		}
	}
	alloc.DeletePort(w.tx, p.ID)
	tables.Statuses.Delete(w.tx, p.ID)
}

// mac gives a port an address, the recorded one if it is free.
func (w *work) mac(n model.NetworkID, recorded model.MAC) (model.MAC, error) {
	if !recorded.IsZero() {
		if m, err := w.api.alloc.MAC(w.tx, n, recorded); err == nil {
			return m, nil
		}
	}
	m, err := w.api.alloc.MAC(w.tx, n, model.MAC{})
	return m, exhausted(err, conflict("MacAddressGenerationFailure", "Unable to generate unique mac on network %s.", n))
}

// wantedMAC gives a port the address that its creator named.
func (w *work) wantedMAC(n model.NetworkID, m model.MAC) (model.MAC, error) {
	if _, used := tables.PortsByMAC.First(w.tx, string(n)+"|"+m.String()); used {
		return m, conflict("MacAddressInUse", "Unable to complete operation for network %s. The mac address %s is in use.", n, m)
	}
	return w.api.alloc.MAC(w.tx, n, m)
}

func matchMAC(_ *view, p *model.Port, values []string) bool {
	return slices.ContainsFunc(values, func(s string) bool {
		m, err := model.ParseMAC(s)
		return err == nil && m == p.MAC
	})
}

// dnsName takes a host's name, or nothing.
func dnsName(v any) (any, error) {
	s, err := textOrNull(255)(v)
	if err != nil {
		return nil, err
	}
	name := s.(string)
	if name == "" {
		return name, nil
	}
	for _, label := range strings.Split(strings.TrimSuffix(name, "."), ".") {
		if !isLabel(label) {
			return nil, because("'%s' not a valid PQDN or FQDN. Reason: Name '%s' must be 1-63 characters long, each of which can only be alphanumeric or a hyphen", show(name), show(label))
		}
	}
	return name, nil
}

// dnsAssignment names each address: the port's name, else one made of the address, in the configured domain.
func dnsAssignment(v *view, p *model.Port) any {
	if len(p.FixedIPs) == 0 {
		return emptyArray
	}
	b := jsonbody.Raw{'['}
	for i, f := range inOrder(p.FixedIPs) {
		if i > 0 {
			b = append(b, ',')
		}
		addr := f.Addr.String()
		host := p.DNSName
		if host == "" {
			host = "host-" + dashes.Replace(addr)
		}
		fqdn := host
		if !strings.HasSuffix(fqdn, ".") {
			fqdn += "." + v.api.cfg.DNSDomain
		}
		b = pair(append(b, '{'), "fqdn", fqdn)
		b = pair(append(b, ','), "hostname", host)
		b = pair(append(b, ','), "ip_address", addr)
		b = append(b, '}')
	}
	return append(b, ']')
}

var dashes = strings.NewReplacer(".", "-", ":", "-")

// emptyArray is the JSON of a list without elements.
var emptyArray any = jsonbody.Raw("[]")

// pair appends "key":"value".
func pair(b []byte, key, value string) []byte {
	b = jsonbody.AppendString(b, key)
	return jsonbody.AppendString(append(b, ':'), value)
}
