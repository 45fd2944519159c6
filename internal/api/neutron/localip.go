// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"net/http"
	"net/netip"
	"slices"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/tables"
)

var localIPs = new(Resource[model.LocalIP])

func init() {
	declare(part{when: whereFiltered, extensions: []extension{
		{"local_ip", "Local IP", "Support Node Local Virtual IP", "2021-07-26T10:00:00-00:00"},
	}})
	std := func(l *model.LocalIP) *model.Std { return &l.Std }
	d := plain(tables.LocalIPs, tables.LocalIPsByProject, func(l *model.LocalIP) model.LocalIPID { return l.ID }, std)
	d.name, d.plural, d.path, d.when = "local_ip", "local_ips", "local-ips", whereFiltered
	d.gone = func(id string) *Error {
		return fail(http.StatusNotFound, "LocalIPNotFound", "Local IP %s could not be found.", id)
	}
	d.lookups = append(d.lookups, lookup[model.LocalIP]{attr: "local_port_id", in: tables.LocalIPsByPort},
		lookup[model.LocalIP]{attr: "name", in: tables.LocalIPsByName}, lookup[model.LocalIP]{attr: "network_id", in: tables.LocalIPsByNetwork})
	d.create, d.change, d.remove = owner, owner, owner
	d.build, d.delete = buildLocalIP, deleteLocalIP
	d.update = func(_ *work, l model.LocalIP, in *values) (model.LocalIP, error) {
		takeStd(in, &l.Std)
		return l, nil
	}
	for _, a := range stdAttrs(func(l *model.LocalIP) string { return string(l.ID) }, std, true) {
		if a.Name != "tags" { // Neutron's have none
			d.attrs = append(d.attrs, a)
		}
	}
	d.attrs = append(d.attrs, []Attr[model.LocalIP]{
		{Name: "local_port_id", Get: func(_ *view, l *model.LocalIP) any { return string(l.Port) }, Parse: uuidText, Post: true},
		{Name: "network_id", Get: func(_ *view, l *model.LocalIP) any { return string(l.Network) }, Parse: uuidText, Post: true},
		{Name: "local_ip_address", Get: func(_ *view, l *model.LocalIP) any { return l.Addr.String() }, Parse: orNull(ipAddress), Post: true},
		{Name: "ip_mode", Get: func(_ *view, l *model.LocalIP) any { return l.Mode }, Parse: oneOf(model.LocalIPTranslate, model.LocalIPPassthrough),
			Default: model.LocalIPTranslate, Post: true},
	}...)
	localIPs.declare(d)
	// Neutron's path of the associations has an underscore, and clients take it for both.
	declare(part{when: whereFiltered, collections: []collection{{path: "local_ips", endpoint: localIPs}}})
	ports.onDelete(func(w *work, p model.Port) error {
		if _, used := tables.LocalIPsByPort.First(w.tx, string(p.ID)); used {
			return conflict("ServicePortInUse", "Port %s cannot be deleted directly via the port API: still referenced by Local IPs.", p.ID)
		}
		return nil
	})
}

// badLocalIP is Neutron's BadRequest of a resource of local IPs.
func badLocalIP(resource, format string, args ...any) *Error {
	e := fail(http.StatusBadRequest, "BadRequest", format, args...)
	e.Message = "Bad " + resource + " request: " + e.Message + "."
	return e
}

// addressOf chooses one of a port's addresses: the one that is asked for, or the only one.
func addressOf(p *model.Port, asked netip.Addr) (netip.Addr, error) {
	switch {
	case len(p.FixedIPs) == 0:
		return asked, fail(http.StatusBadRequest, "LocalIPNoIP", "Specified Port %s has no fixed IPs configured.", p.ID)
	case asked.IsValid() && !tables.HasAddress(&p.PortPlane, asked):
		return asked, fail(http.StatusBadRequest, "LocalIPRequestedIPNotFound", "Specified Port %s does not have requested IP address: %s.", p.ID, asked)
	case !asked.IsValid() && len(p.FixedIPs) > 1:
		return asked, fail(http.StatusBadRequest, "LocalIPNoRequestedIP", "Specified Port %s has several IPs, should specify exact IP address to use for Local IP.", p.ID)
	case !asked.IsValid():
		return p.FixedIPs[0].Addr, nil
	}
	return asked, nil
}

func buildLocalIP(w *work, in *values) (model.LocalIP, error) {
	l := model.LocalIP{ID: model.LocalIPID(alloc.NewUUID()), Std: w.newStd(in, 0)}
	l.Mode, l.Addr = get[string](in, "ip_mode"), get[netip.Addr](in, "local_ip_address")
	switch port, network := get[string](in, "local_port_id"), get[string](in, "network_id"); {
	case port != "":
		p, err := ports.find(&w.view, port)
		if err != nil {
			return l, badLocalIP("local_ip", "Port %s not found", port)
		}
		if l.Addr, err = addressOf(&p, l.Addr); err != nil {
			return l, err
		}
		l.Port, l.Network = p.ID, p.Network
	case network != "":
		p, err := w.holderPort(&l, network)
		if err != nil {
			return l, err
		}
		l.Port, l.Network, l.Addr = p.ID, p.Network, p.FixedIPs[0].Addr
		if err := putPort(w.tx, p); err != nil {
			return l, err
		}
	default:
		return l, fail(http.StatusBadRequest, "LocalIPPortOrNetworkRequired", "Either Port ID or Network ID must be specified for Local IP create.")
	}
	var err error
	if l.Key, err = alloc.NextKey(w.tx, alloc.LocalIP); err != nil {
		return l, err
	}
	tables.LocalIPs.Put(w.tx, l.ID, l)
	return l, nil
}

// holderPort makes the port that holds the address of a local IP on a network. It is nowhere, and goes with the local IP.
func (w *work) holderPort(l *model.LocalIP, network string) (model.Port, error) {
	n, err := findNetwork(&w.view, network)
	if err != nil {
		return model.Port{}, err
	}
	v4 := func(s *model.Subnet) bool { return s.CIDR.Addr().Is4() }
	if !slices.ContainsFunc(slices.Collect(tables.SubnetsByNetwork.By(w.tx, network)), func(s model.Subnet) bool { return v4(&s) }) {
		return model.Port{}, badLocalIP("local_ip", "Network %s does not contain any IPv4 subnet", network)
	}
	p, err := w.devicePort(&n, model.OwnerLocalIP, string(l.ID), l.Project)
	if err != nil {
		return p, err
	}
	c := w.elevated().chooser(&n, &p)
	var ip model.FixedIP
	ok := true
	if l.Addr.IsValid() {
		ip, err = c.choose(fixedIP{addr: l.Addr})
	} else {
		ip, ok, err = c.any(v4)
	}
	if err == nil && !ok { // all are for other kinds of devices
		err = conflict("IpAddressGenerationFailureNoMatchingSubnet", "No valid service subnet for the given device owner, network %s, service type %s.", n.ID, p.DeviceOwner)
	}
	p.FixedIPs = []model.FixedIP{ip}
	return p, err
}

func deleteLocalIP(w *work, l model.LocalIP) error {
	if _, used := tables.LocalIPAssociationsByLocalIP.First(w.tx, string(l.ID)); used {
		return conflict("LocalIPInUse", "Local IP %s is still associated with one or more ports.", l.ID)
	}
	tables.LocalIPs.Delete(w.tx, l.ID)
	p, ok := tables.Ports.Get(w.tx, l.Port)
	if ok && p.DeviceOwner == model.OwnerLocalIP && p.DeviceID == string(l.ID) {
		if other, used := tables.LocalIPsByPort.First(w.tx, string(p.ID)); used {
			return conflict("ServicePortInUse", "Port %s of Local IP %s is still referenced by Local IP %s.", p.ID, l.ID, other.ID)
		}
		w.dropPort(p)
	}
	return nil
}
