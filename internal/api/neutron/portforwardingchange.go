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

// maxForwardings bounds what a floating IP forwards, which is all compared with a new forwarding and carried by one node: each
// counts for one, but one that gives each port of a range another port counts for each.
const maxForwardings = 4096

func weight(f *model.ForwardingPlane) int {
	if f.Kept() {
		return 1
	}
	return f.Internal.Size()
}

func buildForwarding(w *work, in *values) (model.PortForwarding, error) {
	f := model.PortForwarding{ID: model.PortForwardingID(alloc.NewUUID()), Std: w.newStd(in, 0)}
	fip, err := floatingIPs.find(&w.view, get[string](in, "floatingip_id"))
	if err != nil {
		return f, err
	}
	f.Floating, f.Project = fip.ID, fip.Project
	f.Protocol, f.Port, f.Fixed = get[string](in, "protocol"), model.PortID(get[string](in, "internal_port_id")), get[netip.Addr](in, "internal_ip_address")
	if err := takeRanges(in, &f.ForwardingPlane); err != nil {
		return f, err
	}
	if err := w.checkCollisions(&f, &fip); err != nil {
		return f, err
	}
	if err := w.checkUnbound(&f, &fip); err != nil {
		return f, err
	}
	if fip.Port != "" {
		return f, conflict("FloatingIPPortAlreadyAssociated",
			"Cannot associate floating IP %s (%s) with port %s using fixed IP %s, as that fixed IP already has a floating IP on external network %s.",
			fip.Addr, fip.ID, f.Port, f.Fixed, fip.Network)
	}
	if err := w.reach(&f, &fip); err != nil {
		return f, err
	}
	if f.Key, err = alloc.NextKey(w.tx, alloc.Forwarding); err != nil {
		return f, err
	}
	tables.PortForwardings.Put(w.tx, f.ID, f)
	return f, w.revise(fip, f.Port)
}

// takeRanges takes the ports that a body names; a forwarding has them on both sides.
func takeRanges(in *values, f *model.ForwardingPlane) error {
	for side, to := range map[string]*model.PortRange{"internal": &f.Internal, "external": &f.External} {
		r, given, err := takeRange(in, side)
		switch {
		case err != nil:
			return err
		case given:
			*to = r
		case *to == model.PortRange{}:
			return badForwarding("either %s_port or %s_port_range must be specified", side, side)
		}
	}
	return nil
}

func updateForwarding(w *work, old model.PortForwarding, in *values) (model.PortForwarding, error) {
	f := old
	takeStd(in, &f.Std)
	set(in, "protocol", &f.Protocol)
	set(in, "internal_ip_address", &f.Fixed)
	fip, err := floatingIPs.find(&w.view, string(f.Floating))
	if err != nil {
		return f, err
	}
	if in.asked("internal_port_id") {
		f.Port = model.PortID(get[string](in, "internal_port_id"))
		if f.Port != old.Port && !in.asked("internal_ip_address") {
			f.Fixed = netip.Addr{} // the first of the other port
		}
		if err := w.checkUnbound(&f, &fip); err != nil {
			return f, err
		}
	}
	if f.Port != old.Port || f.Fixed != old.Fixed {
		if err := w.reach(&f, &fip); err != nil {
			return f, err
		}
	}
	if err := takeRanges(in, &f.ForwardingPlane); err != nil {
		return f, err
	}
	if f.ForwardingPlane != old.ForwardingPlane {
		if err := w.checkTwin(&f, &fip); err != nil {
			return f, err
		}
		if err := w.checkCollisions(&f, &fip); err != nil {
			return f, err
		}
		if f.Key, err = alloc.NextKey(w.tx, alloc.Forwarding); err != nil { // its connections end
			return f, err
		}
	}
	return f, w.revise(fip, f.Port)
}

// checkTwin refuses what a change makes equal to another forwarding of the floating IP.
func (w *work) checkTwin(f *model.PortForwarding, fip *model.FloatingIP) error {
	const twin = "Another port forwarding entry with the same attributes already exists, conflicting values are {%s}"
	for o := range tables.PortForwardingsByFloating.By(w.tx, string(f.Floating)) {
		switch {
		case o.ID == f.ID || o.Protocol != f.Protocol:
		case o.External == f.External:
			return badForwarding(twin, show("'floating_ip_address': '"+fip.Addr.String()+"', 'external_port': "+show(onePort(o.External))))
		case o.Port == f.Port && o.Fixed == f.Fixed && o.Internal == f.Internal:
			return badForwarding(twin, show("'internal_port_id': '"+string(o.Port)+"', 'internal_ip_address': '"+o.Fixed.String()+"', 'internal_port': "+show(onePort(o.Internal))))
		}
	}
	return nil
}

// checkCollisions refuses ranges that do not fit each other, and ports that are forwarded to, or from, already.
func (w *work) checkCollisions(f *model.PortForwarding, fip *model.FloatingIP) error {
	if n := f.Internal.Size(); n > 1 && n != f.External.Size() {
		return badForwarding("Invalid ranges of internal and/or external ports. The relation between internal and external ports must be N-N or 1-N")
	}
	const collision = "There is a port collision with the %s. The following ranges collide: %s and %s"
	for o := range tables.PortForwardingsByPort.By(w.tx, string(f.Port)) {
		if o.ID != f.ID && o.Protocol == f.Protocol && o.Fixed == f.Fixed && o.Internal.Overlaps(f.Internal) {
			return badForwarding(collision, "internal_port_range", o.Internal, f.Internal)
		}
	}
	all := weight(&f.ForwardingPlane)
	for o := range tables.PortForwardingsByFloating.By(w.tx, string(f.Floating)) {
		if o.ID == f.ID {
			continue
		}
		if o.Protocol == f.Protocol && o.External.Overlaps(f.External) {
			return badForwarding(collision, "external_port_range", o.External, f.External)
		}
		all += weight(&o.ForwardingPlane)
	}
	if all > maxForwardings {
		return conflict("OverQuota", "Floating IP %s would forward more than %d ports, as many as one may; use ranges of equal ports, or another floating IP.", fip.ID, maxForwardings)
	}
	return nil
}

// checkUnbound refuses a port that a floating IP stands for.
func (w *work) checkUnbound(f *model.PortForwarding, fip *model.FloatingIP) error {
	o, bound := tables.FloatingIPsByPort.First(w.tx, string(f.Port))
	if !bound {
		return nil
	}
	return conflict("PortHasBindingFloatingIP", "Cannot create port forwarding to floating IP %s (%s) with port %s using fixed IP %s, as that port already has a binding floating IP.",
		o.Addr, o.ID, f.Port, show(addrText(f.Fixed)))
}

// reach finds the address of the port that is forwarded to, the first unless one is named, and the router that leads there from the
// floating IP: one for all that it forwards.
func (w *work) reach(f *model.PortForwarding, fip *model.FloatingIP) error {
	p, err := ports.find(&w.view, string(f.Port))
	if err != nil {
		return err
	}
	v4 := slices.DeleteFunc(slices.Clone(p.FixedIPs), func(x model.FixedIP) bool { return !x.Addr.Is4() })
	if len(v4) == 0 {
		return badForwarding("Requested internal port %s must allocate an IPv4 address at least", p.ID)
	}
	at := 0
	if f.Fixed.IsValid() {
		if at = slices.IndexFunc(v4, func(x model.FixedIP) bool { return x.Addr == f.Fixed }); at < 0 {
			var have []any
			for _, x := range v4 {
				have = append(have, map[string]any{"subnet_id": string(x.Subnet), "ip_address": x.Addr.String()})
			}
			return badForwarding("Requested internal IP address %s is not suitable for internal neutron port %s, as its fixed_ips are %s", f.Fixed, p.ID, show(have))
		}
	}
	f.Fixed = v4[at].Addr
	router, ok := w.routerFor(&p, v4[at].Subnet, fip.Network)
	switch {
	case !ok:
		return badForwarding("External network %s is not reachable from subnet %s. Cannot set Port forwarding for port %s with Floating IP %s", fip.Network, v4[at].Subnet, p.ID, fip.ID)
	case fip.Router != "" && fip.Router != router:
		return badForwarding("The Floating IP %s had been set on router %s, the internal Neutron port %s can not reach it", fip.ID, fip.Router, p.ID)
	}
	fip.Router = router
	return nil
}

// revise stores a floating IP whose forwardings have changed, and counts the change as one of it and of the port, as Neutron does.
func (w *work) revise(fip model.FloatingIP, port model.PortID) error {
	w.reviseFloating(fip)
	p, ok := tables.Ports.Get(w.tx, port)
	if !ok {
		return nil
	}
	w.touch(&p.Std)
	return putPort(w.tx, p)
}

// reviseFloating stores the floating IP alone. Without forwardings it is on no router.
func (w *work) reviseFloating(fip model.FloatingIP) {
	if _, some := tables.PortForwardingsByFloating.First(w.tx, string(fip.ID)); !some {
		w.unbind(&fip)
	}
	w.touch(&fip.Std)
	tables.FloatingIPs.Put(w.tx, fip.ID, fip)
}

func deleteForwarding(w *work, f model.PortForwarding) error {
	tables.PortForwardings.Delete(w.tx, f.ID)
	fip, ok := tables.FloatingIPs.Get(w.tx, f.Floating)
	if !ok {
		return nil
	}
	return w.revise(fip, f.Port)
}

// dropForwardings removes what is forwarded to addresses that a port no longer has. The port is its caller's to store.
func (w *work) dropForwardings(p *model.Port, has []model.FixedIP) {
	for f := range tables.PortForwardingsByPort.By(w.tx, string(p.ID)) {
		if slices.ContainsFunc(has, func(x model.FixedIP) bool { return x.Addr == f.Fixed }) {
			continue
		}
		tables.PortForwardings.Delete(w.tx, f.ID)
		fip, ok := tables.FloatingIPs.Get(w.tx, f.Floating)
		if !ok {
			continue
		}
		w.reviseFloating(fip)
	}
}

// checkNoForwarding refuses to let a floating IP stand for a port while one of the two has forwardings: a router that is
// everywhere could not tell whose connections are whose.
func (w *work) checkNoForwarding(f *model.FloatingIP, p *model.Port) error {
	if _, some := tables.PortForwardingsByPort.First(w.tx, string(p.ID)); some {
		return fail(http.StatusBadRequest, "PortHasPortForwarding", "Cannot associate floating IP to port %s because it already has a Port Forwarding binding.", p.ID)
	}
	if _, some := tables.PortForwardingsByFloating.First(w.tx, string(f.ID)); some {
		return floatingInUse(f.ID)
	}
	return nil
}

func floatingInUse(id model.FloatingIPID) error {
	return conflict("FipInUseByPortForwarding", "Floating IP %s in use by Port Forwarding resources.", id)
}
