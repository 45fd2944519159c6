// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"iter"
	"log/slog"
	"slices"
	"strings"

	"nagare/internal/alloc"
	"nagare/internal/api/jsonbody"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

var ports = &core[model.Port]{
	kind: "port", plural: "ports", paged: true,
	id:  portID,
	std: portStd,
	get: func(r store.Reader, id string) (model.Port, bool) { return tables.Ports.Get(r, model.PortID(id)) },
	from: func(r store.Reader, id string) iter.Seq[model.Port] {
		return records(tables.Ports.From(r, model.PortID(id)))
	},
	lookups: []lookup[model.Port]{
		{"id", one(tables.Ports)}, {"device_id", tables.PortsByDevice.By}, {"name", tables.PortsByName.By},
		{"network_id", tables.PortsByNetwork.By}, {"binding:host_id", tables.PortsByHost.By},
		{"qos_policy_id", tables.PortsByQosPolicy.By}, {"tenant_id", tables.PortsByProject.By}, {"project_id", tables.PortsByProject.By},
	},
	read: readPort,
	keep: func(now, old *model.Port, in *input) {
		now.Key, now.GroupSet, now.Router = old.Key, old.GroupSet, old.Router // what alloc.PutPort finds out again
		if now.Parent, now.VLAN = old.Parent, old.VLAN; old.IsSubPort() {     // it is where its parent is
			now.Host, now.Standby = old.Host, old.Standby
		}
		if !in.has("network_id") {
			now.Network = old.Network
		}
		if !in.has("mac_address") {
			now.MAC = old.MAC
		}
		if !in.has("fixed_ips") && in.put {
			now.FixedIPs = old.FixedIPs
		}
	},
	put: putPort,
	parts: func(in *input) []part {
		return []part{func(w *work) error {
			p, _ := tables.Ports.Get(w.tx, model.PortID(in.id))
			if p.IsSubPort() {
				w.sayHost(&p, in.host)
				return nil
			}
			return w.carry(p.ID) // a trunk may have been waiting for it
		}}
	},
	drop: func(w *work, p *model.Port) error {
		w.release(p, nil)
		alloc.DeletePort(w.tx, p.ID)
		tables.Statuses.Delete(w.tx, p.ID)
		tables.Foreign.Delete(w.tx, model.ForeignKey(kindSubPort, string(p.ID)))
		if err := w.followParent(p.ID, false); err != nil {
			return err
		}
		return w.served(p, nil)
	},
	owned: []string{"status"},
	attrs: append(stdAttrs(portID, portStd), []attr[model.Port]{
		{name: "network_id", get: func(_ *env, p *model.Port) any { return optional(string(p.Network)) }},
		{name: "mac_address", get: func(_ *env, p *model.Port) any { return p.MAC.String() }},
		{name: "admin_state_up", get: func(_ *env, p *model.Port) any { return p.AdminStateUp }},
		{name: "status", get: func(e *env, p *model.Port) any { return tables.ForeignStatus(e.r, p, e.NativeDHCP) }},
		{name: "device_id", get: func(_ *env, p *model.Port) any { return p.DeviceID }},
		{name: "device_owner", get: func(_ *env, p *model.Port) any { return p.DeviceOwner }},
		{name: "fixed_ips", get: fixedIPs},
		{name: "port_security_enabled", get: func(_ *env, p *model.Port) any { return p.PortSecurity }},
		{name: "security_groups", get: func(_ *env, p *model.Port) any {
			out := make([]any, 0, len(p.SecurityGroups))
			for _, g := range p.SecurityGroups {
				out = append(out, map[string]any{"id": string(g)})
			}
			return out
		}},
		{name: "allowed_address_pairs", get: addressPairs},
		{name: "extra_dhcp_opts", get: func(_ *env, p *model.Port) any {
			out := make([]any, 0, len(p.DHCPOpts))
			for _, o := range p.DHCPOpts {
				out = append(out, map[string]any{"opt_name": o.Name, "opt_value": o.Value, "ip_version": o.Version})
			}
			return out
		}},
		{name: "qos_policy_id", get: func(_ *env, p *model.Port) any { return optional(string(p.QosPolicy)) }},
		{name: "dns_name", get: func(_ *env, p *model.Port) any { return optional(p.DNSName) }},
		{name: "dns_domain", get: func(_ *env, p *model.Port) any { return optional(p.DNSDomain) }},
		{name: "propagate_uplink_status", get: func(_ *env, p *model.Port) any { return p.PropagateUplinkStatus }},
		{name: "binding:host_id", get: func(e *env, p *model.Port) any { return string(saidHost(e.r, p)) }},
		{name: "binding:vnic_type", get: func(_ *env, p *model.Port) any { return p.VNICType }},
		{name: "binding:profile", get: func(_ *env, p *model.Port) any { return profileText(p.Profile) }},
	}...),
}

func portID(p *model.Port) string      { return string(p.ID) }
func portStd(p *model.Port) *model.Std { return &p.Std }

func fixedIPs(_ *env, p *model.Port) any {
	b := append(make(jsonbody.Raw, 0, 96*len(p.FixedIPs)+2), '[')
	for i, f := range p.FixedIPs {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"subnet_id":"`...)
		b = append(b, f.Subnet...)
		b = append(b, `","ip_address":"`...)
		b = append(f.Addr.AppendTo(b), `"}`...)
	}
	return append(b, ']')
}

func addressPairs(_ *env, p *model.Port) any {
	out := make([]any, 0, len(p.AllowedPairs))
	for _, a := range p.AllowedPairs {
		mac, ip := a.MAC, a.Prefix.String()
		if mac.IsZero() {
			mac = p.MAC
		}
		if a.Prefix.IsSingleIP() {
			ip = a.Prefix.Addr().String()
		}
		out = append(out, map[string]any{"ip_address": ip, "mac_address": mac.String()})
	}
	return out
}

// profileText is a binding's profile as networking-odl writes it: JSON in a text.
func profileText(m map[string]any) string {
	if m == nil {
		m = map[string]any{}
	}
	return string(jsonbody.Append(nil, m))
}

func readPort(in *input) model.Port {
	p := model.Port{ID: model.PortID(in.id), Std: in.std()}
	p.Network = model.NetworkID(in.uuid("network_id"))
	in.require("network_id", p.Network != "")
	p.MAC = in.mac("mac_address")
	p.AdminStateUp = in.boolean("admin_state_up", true)
	p.DeviceID, p.DeviceOwner = in.text("device_id"), in.text("device_owner")
	if p.IsRouterPort() || p.DeviceOwner == model.OwnerFloatingIP { // then it is an id, which must be found as such
		if id, ok := canonical(p.DeviceID); ok {
			p.DeviceID = id
		}
	}
	in.objects("fixed_ips", func(e *input) {
		f := model.FixedIP{Subnet: model.SubnetID(e.uuid("subnet_id")), Addr: e.addr("ip_address")}
		if f.Subnet == "" || !f.Addr.IsValid() {
			e.bad("fixed_ips", "subnet_id or ip_address is missing")
		}
		if !slices.Contains(p.FixedIPs, f) {
			p.FixedIPs = append(p.FixedIPs, f)
		}
	})
	secure := in.boolean("port_security_enabled", true)
	// The network's own services are trusted, whatever was asked (as Neutron's port security has it).
	if p.PortSecurity = secure && !strings.HasPrefix(p.DeviceOwner, "network:"); p.PortSecurity != secure {
		in.form("port_security_enabled", secure)
	}
	for _, v := range in.list("security_groups") {
		if m, ok := v.(map[string]any); ok { // the first driver sends whole groups
			v = m["id"]
		}
		g := model.SecurityGroupID(in.toUUID("security_groups", v))
		if g == "" {
			in.bad("security_groups", "a group has no id")
		}
		if !slices.Contains(p.SecurityGroups, g) {
			p.SecurityGroups = append(p.SecurityGroups, g)
		}
	}
	in.objects("allowed_address_pairs", func(e *input) {
		v, _ := e.take("ip_address")
		a := model.AddressPair{Prefix: e.toPrefix("ip_address", v), MAC: e.mac("mac_address")}
		if !a.Prefix.IsValid() {
			e.bad("ip_address", "it is missing")
		}
		if !slices.Contains(p.AllowedPairs, a) {
			p.AllowedPairs = append(p.AllowedPairs, a)
		}
	})
	in.dhcpOpts(&p)
	p.DNSName, p.DNSDomain = in.text("dns_name"), in.text("dns_domain")
	p.PropagateUplinkStatus = in.boolean("propagate_uplink_status", false)
	p.QosPolicy = model.QosPolicyID(in.uuid("qos_policy_id"))
	p.Host, p.VNICType = model.NodeID(in.part("binding:host_id")), in.text("binding:vnic_type")
	in.host = p.Host
	if p.VNICType == "" {
		p.VNICType = "normal"
	}
	in.profile(&p)
	return p
}

// mac reads an address that a port may own.
func (in *input) mac(name string) model.MAC {
	s := in.text(name)
	if s == "" {
		return model.MAC{}
	}
	m, err := model.ParseMAC(s)
	switch {
	case err != nil:
		in.bad(name, "%s", show(err))
	case m.IsMulticast():
		in.bad(name, "%s is a multicast address", m)
	case m.IsZero():
		in.bad(name, "%s is nobody's address", m)
	}
	return m
}

// dhcpOpts reads [{"opt_name","opt_value","ip_version"}]. Values end up in packets, so control characters are refused.
func (in *input) dhcpOpts(p *model.Port) {
	in.objects("extra_dhcp_opts", func(e *input) {
		o := model.DHCPOpt{Name: e.text("opt_name"), Value: e.text("opt_value"), Version: 4}
		if v := e.integer("ip_version", 4, 6); v != nil {
			o.Version = *v
		}
		if o.Name == "" || o.Version == 5 || strings.ContainsFunc(o.Name+o.Value, func(c rune) bool { return c < 0x20 || c == 0x7f }) {
			e.bad("opt_name", "'%s' is not an option of version 4 or 6 with a name and without control characters", show(o.Name))
		}
		if e.has("opt_value") { // null takes the option away
			p.DHCPOpts = append(p.DHCPOpts, o)
		}
	})
}

// profile reads a binding's profile: an object, or the text of one. A text that is none is kept as it is and says nothing.
func (in *input) profile(p *model.Port) {
	v, ok := in.take("binding:profile")
	if !ok {
		return
	}
	m, object := v.(map[string]any)
	if s, isText := v.(string); isText {
		if parsed, err := jsonbody.DecodeWithin(strings.NewReader(s), MaxBody, MaxDepth); err == nil {
			m, _ = parsed.(map[string]any)
		}
	} else if !object {
		in.bad("binding:profile", "'%s' is neither an object nor the text of one", show(v))
		return
	}
	plain, fits := jsonbody.Plain(m)
	if !fits {
		in.bad("binding:profile", "it has a number that is too large")
		return
	}
	if m, _ := plain.(map[string]any); len(m) > 0 {
		p.Profile = m
	}
	if v != profileText(p.Profile) {
		in.form("binding:profile", v)
	}
}

func putPort(w *work, p, old *model.Port) (err error) {
	if p.MAC.IsZero() {
		if p.MAC, err = w.Alloc.MAC(w.tx, p.Network, p.MAC); err != nil {
			return err
		}
	}
	if old == nil {
		if p.Key, err = alloc.NextKey(w.tx, alloc.Port); err != nil {
			return err
		}
	} else {
		w.release(old, p)
		if old.Host != p.Host {
			w.down(p.ID, "binding changed")
		}
	}
	w.noteDoubles(p)
	if err := alloc.PutPort(w.tx, *p); err != nil {
		return err
	}
	if old == nil || old.Host != p.Host {
		if err := w.followParent(p.ID, old != nil); err != nil {
			return err
		}
	}
	return w.served(old, p)
}

// release gives back the addresses that a port no longer has; now is nil if it goes.
func (w *work) release(old, now *model.Port) {
	for _, f := range old.FixedIPs {
		if now != nil && now.Network == old.Network && slices.Contains(now.FixedIPs, f) {
			continue
		}
		if s, ok := tables.Subnets.Get(w.tx, f.Subnet); ok {
			alloc.ReleaseAddress(w.tx, s, f.Addr)
		}
	}
}

// down records that what was observed of a port, or of a floating IP, no longer holds.
func (w *work) down(id model.PortID, why string) {
	if s, ok := tables.Statuses.Get(w.tx, id); ok && s.Status != model.StatusDown {
		tables.Statuses.Put(w.tx, id, model.PortStatus{Port: id, Status: model.StatusDown, Reason: why, Since: w.now})
	}
}

// noteDoubles notes that another port of the network has an address of this one already. Who may have which is the client's
// decision; of two flows for one address the lower port's holds, and the other port is at fault.
func (w *work) noteDoubles(p *model.Port) {
	tell := func(what, value string, o *model.Port) {
		w.note("two ports have one address", slog.String("port", string(p.ID)), slog.String("other", string(o.ID)), slog.String(what, value))
	}
	for o := range tables.PortsByMAC.By(w.tx, string(p.Network)+"|"+p.MAC.String()) {
		if o.ID != p.ID {
			tell("mac", p.MAC.String(), &o)
			break
		}
	}
	for _, f := range p.FixedIPs {
		for o := range tables.PortsByAddress.By(w.tx, tables.AddressKey(p.Network, f.Addr)) {
			if o.ID != p.ID {
				tell("address", f.Addr.String(), &o)
				break
			}
		}
	}
}

// served brings the router or the floating IP that a port serves, or served, up to date: a gateway is placed by its port, and a
// floating IP knows the port that holds its address. nil: the port is new, or gone.
func (w *work) served(old, now *model.Port) error {
	for _, p := range []*model.Port{old, now} {
		switch {
		case p == nil:
		case p.DeviceOwner == model.OwnerRouterGateway:
			if _, err := alloc.PlaceGateway(w.tx, model.RouterID(p.DeviceID), w.Down()); err != nil {
				return err
			}
		case p.DeviceOwner == model.OwnerFloatingIP:
			if f, ok := tables.FloatingIPs.Get(w.tx, model.FloatingIPID(p.DeviceID)); ok {
				w.findHolder(&f)
				tables.FloatingIPs.Put(w.tx, f.ID, f)
			}
		}
	}
	return nil
}
