// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"iter"
	"net/netip"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// floatingIPs have a port that holds their address, which comes and goes by itself. It is an update without port_id that takes
// a floating IP off its port.
var floatingIPs = &core[model.FloatingIP]{
	kind: "floatingip", plural: "floatingips",
	id:  floatingID,
	std: floatingStd,
	get: func(r store.Reader, id string) (model.FloatingIP, bool) {
		return tables.FloatingIPs.Get(r, model.FloatingIPID(id))
	},
	from: func(r store.Reader, id string) iter.Seq[model.FloatingIP] {
		return records(tables.FloatingIPs.From(r, model.FloatingIPID(id)))
	},
	lookups: []lookup[model.FloatingIP]{
		{"id", one(tables.FloatingIPs)}, {"port_id", tables.FloatingIPsByPort.By}, {"router_id", tables.FloatingIPsByRouter.By},
		{"floating_network_id", tables.FloatingIPsByNetwork.By},
		{"tenant_id", tables.FloatingIPsByProject.By}, {"project_id", tables.FloatingIPsByProject.By},
	},
	read: func(in *input) model.FloatingIP {
		f := model.FloatingIP{ID: model.FloatingIPID(in.id), Std: in.std()}
		f.Network, f.Addr = model.NetworkID(in.uuid("floating_network_id")), in.addr("floating_ip_address")
		in.require("floating_network_id", f.Network != "")
		f.Port, f.Fixed, f.Router = model.PortID(in.uuid("port_id")), in.addr("fixed_ip_address"), model.RouterID(in.uuid("router_id"))
		f.DNSName, f.DNSDomain = in.text("dns_name"), in.text("dns_domain")
		return f
	},
	keep: func(now, old *model.FloatingIP, _ *input) {
		now.Key, now.FloatPort = old.Key, old.FloatPort
		if now.Network == "" { // the client names both every time; without them there would be no floating IP
			now.Network = old.Network
		}
		if !now.Addr.IsValid() {
			now.Addr = old.Addr
		}
	},
	put: putFloatingIP,
	drop: func(w *work, f *model.FloatingIP) error {
		tables.FloatingIPs.Delete(w.tx, f.ID)
		tables.Statuses.Delete(w.tx, model.PortID(f.ID))
		return nil
	},
	owned: []string{"status"},
	attrs: append(stdAttrs(floatingID, floatingStd), []attr[model.FloatingIP]{
		{name: "floating_network_id", get: func(_ *env, f *model.FloatingIP) any { return optional(string(f.Network)) }},
		{name: "floating_ip_address", get: func(_ *env, f *model.FloatingIP) any { return addrText(f.Addr) }},
		{name: "port_id", get: func(_ *env, f *model.FloatingIP) any { return optional(string(f.Port)) }},
		{name: "fixed_ip_address", get: func(_ *env, f *model.FloatingIP) any { return addrText(f.Fixed) }},
		{name: "router_id", get: func(_ *env, f *model.FloatingIP) any { return optional(string(f.Router)) }},
		{name: "status", get: func(e *env, f *model.FloatingIP) any { return FloatingStatus(e.r, f) }},
		{name: "dns_name", get: func(_ *env, f *model.FloatingIP) any { return optional(f.DNSName) }},
		{name: "dns_domain", get: func(_ *env, f *model.FloatingIP) any { return optional(f.DNSDomain) }},
	}...),
}

func floatingID(f *model.FloatingIP) string      { return string(f.ID) }
func floatingStd(f *model.FloatingIP) *model.Std { return &f.Std }

func putFloatingIP(w *work, f, old *model.FloatingIP) (err error) {
	if old == nil {
		if f.Key, err = alloc.NextKey(w.tx, alloc.Floating); err != nil {
			return err
		}
	} else if old.Port != f.Port || old.Fixed != f.Fixed || old.Router != f.Router {
		w.down(model.PortID(f.ID), "association changed")
	}
	w.findHolder(f)
	tables.FloatingIPs.Put(w.tx, f.ID, *f)
	return nil
}

// findHolder finds the port that holds a floating IP's address: the one whose device it is, else, while the client has not said so
// yet, the one that has the address.
func (w *work) findHolder(f *model.FloatingIP) {
	for p := range tables.PortsByDevice.By(w.tx, string(f.ID)) {
		if p.DeviceOwner == model.OwnerFloatingIP {
			f.FloatPort = p.ID
			return
		}
	}
	f.FloatPort = ""
	if f.Addr == (netip.Addr{}) {
		return
	}
	for p := range tables.PortsByAddress.By(w.tx, tables.AddressKey(f.Network, f.Addr)) {
		if p.DeviceOwner == model.OwnerFloatingIP {
			f.FloatPort = p.ID
			return
		}
	}
}

// FloatingStatus is a floating IP's status: what the node that serves it has reported, and DOWN while none does.
func FloatingStatus(r store.Reader, f *model.FloatingIP) string {
	node, ok := tables.Serving(r, f)
	if _, known := tables.Nodes.Get(r, node); !ok || !known {
		return model.StatusDown
	}
	if s, ok := tables.Statuses.Get(r, model.PortID(f.ID)); ok {
		return s.Status
	}
	return model.StatusDown
}
