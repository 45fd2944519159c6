// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"

	"github.com/google/uuid"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

func init() {
	declare(part{when: whereRouted, extensions: []extension{
		{"ext-gw-mode", "Neutron L3 Configurable external gateway mode", "Extension of the router abstraction for specifying whether SNAT should occur on the external gateway", "2013-03-28T10:00:00-00:00"},
	}})
}

// gatewayInfo is external_gateway_info of a body; nil takes the gateway away.
type gatewayInfo struct {
	network model.NetworkID
	snat    *bool // nil: not said, which means yes
	ips     []fixedIP
	hasIPs  bool
	qos     model.QosPolicyID // with hasQos; "": none
	hasQos  bool
}

// parseGateway takes {"network_id","enable_snat","external_fixed_ips"}; null and {} are none.
func parseGateway(v any) (any, error) {
	if m, ok := v.(map[string]any); v == nil || ok && len(m) == 0 {
		return (*gatewayInfo)(nil), nil
	}
	m, err := object(v, map[string]parser{"network_id": uuidText, "enable_snat": boolean, "external_fixed_ips": fixedIPs,
		"qos_policy_id": orNull(uuidText)}, "network_id")
	if err != nil {
		return nil, err
	}
	g := &gatewayInfo{network: model.NetworkID(m["network_id"].(string))}
	if snat, ok := m["enable_snat"].(bool); ok {
		g.snat = &snat
	}
	g.ips, g.hasIPs = m["external_fixed_ips"].([]fixedIP)
	var qos any
	if qos, g.hasQos = m["qos_policy_id"]; qos != nil {
		g.qos = model.QosPolicyID(qos.(string))
	}
	return g, nil
}

// gatewayParts: whoever owns a router may give it a gateway, but only an administrator says how (ext-gw-mode's policy).
var gatewayParts = []attrPart{
	{name: "network_id", in: inGateway(func(*gatewayInfo) bool { return true }), free: true},
	{name: "enable_snat", in: inGateway(func(g *gatewayInfo) bool { return g.snat != nil })},
	{name: "external_fixed_ips", in: inGateway(func(g *gatewayInfo) bool { return g.hasIPs })},
}

func inGateway(has func(*gatewayInfo) bool) func(any) bool {
	return func(v any) bool { g, _ := v.(*gatewayInfo); return g != nil && has(g) }
}

func gatewayBody(v *view, r *model.Router) any {
	p, ok := tables.Ports.Get(v.r, r.GatewayPort)
	if !ok || r.GatewayPort == "" {
		return nil
	}
	ips := make([]any, 0, len(p.FixedIPs))
	for _, f := range p.FixedIPs {
		ips = append(ips, map[string]any{"subnet_id": string(f.Subnet), "ip_address": f.Addr.String()})
	}
	m := map[string]any{"network_id": string(p.Network), "enable_snat": r.EnableSNAT, "external_fixed_ips": ips}
	if n, _ := tables.Networks.Get(v.r, p.Network); r.GatewayQos != "" || n.QosPolicy != "" { // as Neutron shows it
		m["qos_policy_id"] = nullText(string(r.GatewayQos))
	}
	return m
}

// elevated is the work as the service itself: gateways and floating IPs use subnets that their owners do not see.
func (w *work) elevated() *work {
	e := *w
	e.admin, e.writes, e.file = true, true, nil
	return &e
}

// devicePort is a new port of a router or a floating IP, without addresses and not yet stored. It is trusted, like all of the
// network's own services.
func (w *work) devicePort(n *model.Network, deviceOwner, device string, project model.ProjectID) (model.Port, error) {
	id, recorded := w.api.ids.Port(w.tx, n.Name, deviceOwner, "")
	p := model.Port{ID: id, Std: model.Std{Project: project, CreatedAt: w.now, UpdatedAt: w.now, RevisionNo: 1}, DeviceID: device, VNICType: "normal"}
	p.PortPlane = model.PortPlane{Network: n.ID, AdminStateUp: true, DeviceOwner: deviceOwner}
	var err error
	if p.MAC, err = w.mac(n.ID, recorded); err != nil {
		return p, err
	}
	p.Key, err = alloc.NextKey(w.tx, alloc.Port)
	return p, err
}

// setGateway gives a router the gateway that is asked for, nil for none, stores it and places it on a node.
func (w *work) setGateway(r *model.Router, info *gatewayInfo) error {
	old, had := tables.Ports.Get(w.tx, r.GatewayPort)
	r.EnableSNAT = info == nil || info.snat == nil || *info.snat
	if info == nil {
		r.GatewayQos = ""
	} else if info.hasQos {
		q, err := w.changePolicy(r.GatewayQos, string(info.qos))
		if err != nil {
			return err
		}
		r.GatewayQos = q.ID
	}
	var n model.Network
	if info != nil {
		var err error
		if n, err = findNetwork(&w.view, string(info.network)); err != nil {
			return err
		}
		if err := w.checkGatewayInfo(&n, info); err != nil {
			return err
		}
	}
	goes := had && (info == nil || old.Network != n.ID)
	if err := w.checkProxyingGateway(r, goes, info); err != nil {
		return err
	}
	if goes {
		if _, used := tables.FloatingIPsByRouter.First(w.tx, string(r.ID)); used {
			return conflict("RouterExternalGatewayInUseByFloatingIp", "Gateway cannot be updated for router %s, since a gateway to external network %s is required by one or more floating IPs.",
				r.ID, old.Network)
		}
		w.dropPort(old)
		r.GatewayPort, had = "", false
	}
	var err error
	switch {
	case info == nil:
	case !had:
		err = w.newGateway(r, &n, info)
	case len(info.ips) > 0:
		if old.FixedIPs, err = w.elevated().changeAddresses(&old, info.ips); err == nil {
			w.touch(&old.Std)
			err = putPort(w.tx, old)
		}
	}
	if err != nil {
		return err
	}
	tables.Routers.Put(w.tx, r.ID, *r)
	_, err = alloc.PlaceGateway(w.tx, r.ID, w.api.Down())
	return exhausted(err, conflict("RouterGatewayNotPlaced", "The node that would be the gateway of router %s has no room for another.", r.ID))
}

// checkGatewayInfo refuses networks that are not external, and the address of the router outside.
func (w *work) checkGatewayInfo(n *model.Network, info *gatewayInfo) error {
	if !n.External {
		return badRouter("Network %s is not an external network", n.ID)
	}
	for s := range tables.SubnetsByNetwork.By(w.tx, string(n.ID)) {
		for _, f := range info.ips {
			if f.addr.IsValid() && f.addr == s.Gateway {
				return badRouter("External IP %s is the same as the gateway IP", f.addr)
			}
		}
	}
	return nil
}

// newGateway makes the port of a gateway. It belongs to no project, so its owner does not see it. On a network without subnets it
// has no address.
func (w *work) newGateway(r *model.Router, n *model.Network, info *gatewayInfo) error {
	for s := range tables.SubnetsByNetwork.By(w.tx, string(n.ID)) {
		if err := w.checkOverlap(r, &s); err != nil {
			return err
		}
	}
	p, err := w.devicePort(n, model.OwnerRouterGateway, string(r.ID), "")
	if err != nil {
		return err
	}
	in := &values{m: map[string]any{}}
	if len(info.ips) > 0 {
		in.m["fixed_ips"], in.given = info.ips, []string{"fixed_ips"}
	}
	if p.FixedIPs, err = w.elevated().newAddresses(n, &p, in); err != nil {
		return err
	}
	r.GatewayPort = p.ID
	return putPort(w.tx, p)
}

// checkOverlap refuses a subnet that a router is on already, or that overlaps with one of those.
func (w *work) checkOverlap(r *model.Router, s *model.Subnet) error {
	for p := range tables.RouterPorts.By(w.tx, string(r.ID)) {
		for _, f := range p.FixedIPs {
			o, _ := tables.Subnets.Get(w.tx, f.Subnet)
			switch {
			case o.ID == s.ID:
				return badRouter("Router already has a port on subnet %s", s.ID)
			case o.CIDR.Overlaps(s.CIDR):
				return badRouter("Cidr %s of subnet %s overlaps with cidr %s of subnet %s", s.CIDR, s.ID, o.CIDR, o.ID)
			}
		}
	}
	return nil
}

// Down are the nodes that cannot serve as gateways at present: those that PlaceGateways was told of last.
func (a *API) Down() alloc.Down {
	if d := a.down.Load(); d != nil {
		return *d
	}
	return nil
}

// PlaceGateways puts the gateways of routers that no node serves onto one: those that are pending, and those whose node is gone,
// no longer maps their physical network, or is down while another is not. All others stay. down is kept for gateways that are
// set later. Call it when nodes appear, change, go, fail or come back; without anything to do it costs a look-up per node and
// physical network with gateways.
func (a *API) PlaceGateways(ctx context.Context, down map[model.NodeID]bool) error {
	a.down.Store(&down)
	return a.placeGateways(ctx, alloc.Misplaced(a.store.Snapshot(), down))
}

// placeGateways places routers in one transaction, or in several if the store takes no more at once.
func (a *API) placeGateways(ctx context.Context, ids []model.RouterID) error {
	if len(ids) == 0 {
		return nil
	}
	o := store.Origin{Request: "req-" + uuid.NewString(), User: "nagare", Action: "place gateways"}
	_, err := a.store.Commit(ctx, o, func(tx *store.Txn) error {
		for _, id := range ids {
			_, err := alloc.PlaceGateway(tx, id, a.Down())
			var full *alloc.ExhaustedError
			if errors.As(err, &full) {
				a.cfg.Log.Error("gateway not placed: its node has no room", "router", id, "err", err)
			} else if err != nil {
				return err
			}
		}
		return nil
	})
	var large *store.TooLargeError
	if half := len(ids) / 2; errors.As(err, &large) && half > 0 {
		if err := a.placeGateways(ctx, ids[:half]); err != nil {
			return err
		}
		return a.placeGateways(ctx, ids[half:])
	}
	return err
}

// serves reports whether a port is one that a router, a floating IP or a local IP uses, so that it is not changed or removed as a port.
func (v *view) serves(p *model.Port) bool {
	ok := false
	switch {
	case p.DeviceOwner == model.OwnerFloatingIP:
		_, ok = tables.FloatingIPs.Get(v.r, model.FloatingIPID(p.DeviceID))
	case p.DeviceOwner == model.OwnerLocalIP:
		_, ok = tables.LocalIPs.Get(v.r, model.LocalIPID(p.DeviceID))
	case isRouterPort(&p.PortPlane):
		_, ok = tables.Routers.Get(v.r, model.RouterID(p.DeviceID))
	}
	return ok
}

// servedAttrs are what the port API does not change of such a port.
var servedAttrs = []string{"device_id", "device_owner", "binding:host_id", "port_security_enabled", "security_groups", "allowed_address_pairs"}

// checkServed refuses to make a port a router's, a floating IP's or a local IP's by hand: it would be there unchecked.
func (w *work) checkServed(p *model.Port) error {
	if w.serves(p) {
		return fail(http.StatusBadRequest, "BadRequest", "Bad port request: device %s is a router, a floating IP or a local IP; attach the port to it by add_router_interface or its own attributes.", p.DeviceID)
	}
	return nil
}

// checkServedUpdate refuses changes of such a port that its router or floating IP would not know of. An interface may get another
// address on its subnets.
func (w *work) checkServedUpdate(p *model.Port, in *values) error {
	attrs := servedAttrs
	if !isRouterPort(&p.PortPlane) || p.DeviceOwner == model.OwnerRouterGateway {
		attrs = append([]string{"fixed_ips"}, attrs...)
	}
	for _, a := range attrs {
		if !in.asked(a) {
			continue
		}
		was, now := ports.byName[a].Get(&w.view, p), in.m[a]
		switch now := now.(type) {
		case string:
			if now == was {
				continue
			}
		case bool:
			if now == was {
				continue
			}
		case []string:
			if len(now) == 0 { // no groups, and it has none
				continue
			}
		case []model.AddressPair:
			if len(now) == 0 {
				continue
			}
		}
		return conflict("ServicePortInUse", "Port %s cannot be changed so via the port API: it has device owner %s, and %s is set by its router, floating IP or local IP.", p.ID, p.DeviceOwner, a)
	}
	return nil
}

// checkNewAddresses holds an interface to its subnets, and to its router's routes, when it gets other addresses as a port.
func (w *work) checkNewAddresses(p *model.Port, had []model.FixedIP) error {
	if !sameSubnets(had, p.FixedIPs) {
		return conflict("ServicePortInUse", "Port %s cannot be changed so via the port API: it is an interface of router %s; add and remove subnets there.", p.ID, p.DeviceID)
	}
	r, _ := tables.Routers.Get(w.tx, model.RouterID(p.DeviceID))
	if usedByRoute(&r, func(a netip.Addr) bool {
		return slices.ContainsFunc(p.FixedIPs, func(f model.FixedIP) bool { return f.Addr == a })
	}) {
		return conflict("RouterInterfaceInUseByRoute", "The address of port %s cannot be changed so: it would be the next hop of a route of router %s itself.", p.ID, r.ID)
	}
	return nil
}

// sameSubnets reports whether two lists of addresses are on the same subnets.
func sameSubnets(a, b []model.FixedIP) bool {
	count := map[model.SubnetID]int{}
	for _, f := range a {
		count[f.Subnet]++
	}
	for _, f := range b {
		count[f.Subnet]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

// usedByRoute reports whether a route's next hop is one that fits.
func usedByRoute(r *model.Router, fits func(netip.Addr) bool) bool {
	for _, route := range r.Routes {
		if fits(route.NextHop) {
			return true
		}
	}
	return false
}
