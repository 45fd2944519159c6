// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"iter"
	"net/http"
	"net/netip"
	"strings"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

var localIPPorts = new(Resource[model.LocalIPAssociation])

func init() {
	localIPPorts.declare(Resource[model.LocalIPAssociation]{
		name: "port_association", plural: "port_associations", ruleName: "local_ip_port_association", when: whereFiltered,
		id:  func(a *model.LocalIPAssociation) string { return a.ID() },
		std: func(a *model.LocalIPAssociation) *model.Std { return &a.Std },
		get: tables.LocalIPAssociations.Get,
		put: func(tx *store.Txn, a model.LocalIPAssociation) error {
			tables.LocalIPAssociations.Put(tx, a.ID(), a)
			return nil
		},
		from: func(r store.Reader, id string) iter.Seq[model.LocalIPAssociation] {
			return records(tables.LocalIPAssociations.From(r, id))
		},
		back:    backwards(tables.LocalIPAssociations),
		gone:    localIPPortGone,
		lookups: []lookup[model.LocalIPAssociation]{{attr: "local_ip_id", in: tables.LocalIPAssociationsByLocalIP}, {attr: "fixed_port_id", in: tables.LocalIPAssociationsByPort}},
		scope:   func(*view) iter.Seq[model.LocalIPAssociation] { return func(func(model.LocalIPAssociation) bool) {} }, // lists are below a local IP
		sees: func(v *view, a *model.LocalIPAssociation) bool {
			_, err := localIPs.find(v, string(a.LocalIP))
			return err == nil
		},
		create: owner, remove: owner,
		build: associateLocalIP,
		delete: func(w *work, a model.LocalIPAssociation) error {
			tables.LocalIPAssociations.Delete(w.tx, a.ID())
			return nil
		},
		attrs: []Attr[model.LocalIPAssociation]{
			{Name: "tenant_id", Parse: text(255), Post: true},
			{Name: "project_id", Parse: text(255), Post: true},
			{Name: "local_ip_id", Get: func(_ *view, a *model.LocalIPAssociation) any { return string(a.LocalIP) }, Parse: text(255), Post: true, See: hidden},
			{Name: "local_ip_address", Get: func(v *view, a *model.LocalIPAssociation) any {
				l, _ := tables.LocalIPs.Get(v.r, a.LocalIP)
				return addrText(l.Addr)
			}},
			{Name: "fixed_port_id", Get: func(_ *view, a *model.LocalIPAssociation) any { return string(a.Port) }, Parse: uuidText, Post: true, Required: true},
			{Name: "fixed_ip", Get: func(_ *view, a *model.LocalIPAssociation) any { return a.Fixed.String() }, Parse: orNull(ipAddress), Post: true},
			{Name: "host", Get: func(v *view, a *model.LocalIPAssociation) any {
				p, _ := tables.Ports.Get(v.r, a.Port)
				return string(p.Host)
			}},
		},
	})
	localIPs.serveBelow("port_associations", serveLocalIPPorts)
}

// serveLocalIPPorts answers below /local_ips/{id}/port_associations, where an association's id is its port's.
func serveLocalIPPorts(rq *request, id string, rest []string) error {
	if len(rest) > 0 {
		rest = append([]string{model.LocalIPAssociationID(model.LocalIPID(id), model.PortID(rest[0]))}, rest[1:]...)
	}
	return nest(localIPs, localIPPorts, "local_ip_id")(rq, id, rest)
}

func localIPPortGone(id string) *Error {
	ip, port, _ := strings.Cut(id, "_")
	return fail(http.StatusNotFound, "LocalIPAssociationNotFound", "Local IP %s association with port %s could not be found.", ip, port)
}

func associateLocalIP(w *work, in *values) (model.LocalIPAssociation, error) {
	const resource = "local_ip_port_association"
	a := model.LocalIPAssociation{Std: w.newStd(in, 0)}
	l, err := localIPs.find(&w.view, get[string](in, "local_ip_id"))
	if err != nil {
		return a, err
	}
	port := get[string](in, "fixed_port_id")
	p, err := ports.find(&w.view, port)
	if err != nil {
		return a, badLocalIP(resource, "Port %s not found", port)
	}
	a.LocalIP, a.Port, a.Project = l.ID, p.ID, l.Project
	if a.Fixed, err = addressOf(&p, get[netip.Addr](in, "fixed_ip")); err != nil {
		return a, err
	}
	switch {
	case p.Network != l.Network: // else an address of one network would be taken from whoever has it on another
		return a, badLocalIP(resource, "Port %s is on network %s, Local IP %s on network %s; use a port of the latter", p.ID, p.Network, l.ID, l.Network)
	case a.Fixed.Is4() != l.Addr.Is4():
		return a, badLocalIP(resource, "Fixed IP %s of port %s and address %s of Local IP %s are of different versions", a.Fixed, p.ID, l.Addr, l.ID)
	}
	if _, dup := tables.LocalIPAssociations.Get(w.tx, a.ID()); dup {
		return a, conflict("NeutronDbObjectDuplicateEntry", "Failed to create a duplicate LocalIPAssociation: for attribute(s) ['fixed_port_id', 'local_ip_id'] with value(s) %s-%s.", p.ID, l.ID)
	}
	tables.LocalIPAssociations.Put(w.tx, a.ID(), a)
	return a, nil
}

// dropLocalIPPorts removes what a port that goes serves.
func (w *work) dropLocalIPPorts(p model.PortID) {
	for a := range tables.LocalIPAssociationsByPort.By(w.tx, string(p)) {
		tables.LocalIPAssociations.Delete(w.tx, a.ID())
	}
}
