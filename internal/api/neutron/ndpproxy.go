// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"net/http"
	"net/netip"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/tables"
)

var ndpProxies = new(Resource[model.NDPProxy])

func init() {
	declare(part{when: whereProxied, extensions: []extension{
		{"l3-ext-ndp-proxy", "Router support to enable NDP proxy", "Router extension to enable ndp proxy", "2020-08-25T00:00:00-00:00"},
		{"l3-ndp-proxy", "L3 NDP Proxy", "Router support for L3 NDP proxy.", "2021-06-29T10:00:00-00:00"},
	}})
	std := func(p *model.NDPProxy) *model.Std { return &p.Std }
	d := plain(tables.NDPProxies, tables.NDPProxiesByProject, func(p *model.NDPProxy) model.NDPProxyID { return p.ID }, std)
	d.name, d.plural, d.path, d.when = "ndp_proxy", "ndp_proxies", "ndp_proxies", whereProxied
	d.gone = func(id string) *Error {
		return fail(http.StatusNotFound, "NDPProxyNotFound", "NDP proxy %s could not be found.", id)
	}
	d.lookups = append(d.lookups, lookup[model.NDPProxy]{attr: "router_id", in: tables.NDPProxiesByRouter},
		lookup[model.NDPProxy]{attr: "port_id", in: tables.NDPProxiesByPort}, lookup[model.NDPProxy]{attr: "name", in: tables.NDPProxiesByName})
	d.create, d.change, d.remove = owner, owner, owner
	d.build = buildNDPProxy
	d.update = func(_ *work, p model.NDPProxy, in *values) (model.NDPProxy, error) {
		takeStd(in, &p.Std)
		return p, nil
	}
	for _, a := range stdAttrs(func(p *model.NDPProxy) string { return string(p.ID) }, std, true) {
		if a.Name != "tags" { // Neutron's have none
			d.attrs = append(d.attrs, a)
		}
	}
	d.attrs = append(d.attrs, []Attr[model.NDPProxy]{
		{Name: "router_id", Get: func(_ *view, p *model.NDPProxy) any { return string(p.Router) }, Parse: uuidText, Post: true, Required: true},
		{Name: "port_id", Get: func(_ *view, p *model.NDPProxy) any { return string(p.Port) }, Parse: uuidText, Post: true, Required: true},
		{Name: "ip_address", Get: func(_ *view, p *model.NDPProxy) any { return p.Addr.String() }, Parse: orNull(ipAddress), Post: true},
	}...)
	ndpProxies.declare(d)
	routers.extend(Attr[model.Router]{Name: "enable_ndp_proxy", Bool: true, Parse: orNull(boolean), Post: true, Put: true, Take: takeNDPProxying,
		Get: func(_ *view, r *model.Router) any { return r.NDPProxying }})
	ports.onDelete(func(w *work, p model.Port) error {
		return dropProxies(w, tables.NDPProxiesByPort.By(w.tx, string(p.ID)))
	})
	routers.onDelete(func(w *work, r model.Router) error {
		return dropProxies(w, tables.NDPProxiesByRouter.By(w.tx, string(r.ID)))
	})
}

// whereProxied is the condition of NDP proxies: classic has no routes of IPv6 to the outside.
func whereProxied(c *Config) bool { return c.Routers && c.filters() }

func dropProxies(w *work, proxies func(func(model.NDPProxy) bool)) error {
	for p := range proxies {
		tables.NDPProxies.Delete(w.tx, p.ID)
	}
	return nil
}

// notProxying is Neutron's refusal to let a router be a proxy.
func notProxying(r *model.Router, format string, args ...any) *Error {
	e := conflict("RouterGatewayNotValid", format, args...)
	e.Message = "Can not enable ndp proxy no router " + string(r.ID) + ", " + e.Message + "."
	return e
}

// takeNDPProxying lets a router be a proxy, or not. It can be one where its gateway has an IPv6 address, on a network that says by its
// address scope whose addresses it routes.
func takeNDPProxying(w *work, r *model.Router, in *values) error {
	on, given := in.m["enable_ndp_proxy"].(bool)
	if !given {
		return nil
	}
	r.NDPProxying = on
	if !on {
		return nil
	}
	gw, has := tables.Ports.Get(w.tx, r.GatewayPort)
	switch {
	case !has && in.creates:
		return notProxying(r, "The request body not contain external gateway information")
	case !has && in.asked("external_gateway_info"):
		return notProxying(r, "The router's external gateway will be unset")
	case in.creates && !w.proxiable(gw.Network):
		return notProxying(r, "The external network %s don't support IPv6 ndp proxy, the network has no IPv6 subnets or has no IPv6 address scope", gw.Network)
	case !has || !hasIPv6(&gw) || !w.proxiable(gw.Network):
		return notProxying(r, "The router has no external gateway or the external gateway port has no IPv6 address or IPv6 address scope")
	}
	return nil
}

// proxiable reports whether routers may be proxies on an external network.
func (v *view) proxiable(n model.NetworkID) bool {
	if scopeOf(v, n, 6) == nil {
		return false
	}
	for s := range tables.SubnetsByNetwork.By(v.r, string(n)) {
		if s.IPVersion() == 6 {
			return true
		}
	}
	return false
}

func hasIPv6(p *model.Port) bool {
	for _, f := range p.FixedIPs {
		if f.Addr.Is6() {
			return true
		}
	}
	return false
}

// checkProxyingGateway refuses to take from a router the gateway (info is nil, or names another network), or its IPv6 addresses, by which it
// is a proxy.
func (w *work) checkProxyingGateway(r *model.Router, goes bool, info *gatewayInfo) error {
	if goes {
		if _, used := tables.NDPProxiesByRouter.First(w.tx, string(r.ID)); used {
			return conflict("RouterGatewayInUseByNDPProxy", "Unable to unset external gateway of router %s, There are one or more ndp proxies still in use on the router.", r.ID)
		}
		r.NDPProxying = false
		return nil
	}
	if !r.NDPProxying || info == nil || len(info.ips) == 0 {
		return nil
	}
	for _, f := range info.ips {
		if s, ok := tables.Subnets.Get(w.tx, f.subnet); f.addr.Is6() || ok && s.IPVersion() == 6 {
			return nil
		}
	}
	return conflict("RouterIPv6GatewayInUse", "Can't remove the IPv6 subnet from external gateway of router %s, the IPv6 subnet in use by the router's ndp proxy.", r.ID)
}

// checkUnproxied refuses to take a subnet from a router that speaks for addresses on it.
func (w *work) checkUnproxied(r *model.Router, s model.SubnetID) error {
	for proxy := range tables.NDPProxiesByRouter.By(w.tx, string(r.ID)) {
		p, _ := tables.Ports.Get(w.tx, proxy.Port)
		for _, f := range p.FixedIPs {
			if f.Addr == proxy.Addr && f.Subnet == s {
				return conflict("RouterInterfaceInUseByNDPProxy", "Unable to remove subnet %s from router %s, There are one or more ndp proxies still in use on the subnet.", s, r.ID)
			}
		}
	}
	return nil
}

func buildNDPProxy(w *work, in *values) (model.NDPProxy, error) {
	p := model.NDPProxy{Std: w.newStd(in, 0), NDPProxyPlane: model.NDPProxyPlane{Addr: get[netip.Addr](in, "ip_address")}}
	port, err := ports.find(&w.view, get[string](in, "port_id"))
	if err != nil {
		return p, err
	}
	router := get[string](in, "router_id")
	reached := map[model.SubnetID]bool{}
	joined := false
	for rp := range tables.RouterPorts.By(w.tx, router) {
		if rp.Network != port.Network {
			continue
		}
		joined = true
		for _, f := range rp.FixedIPs {
			reached[f.Subnet] = reached[f.Subnet] || f.Addr.Is6()
		}
	}
	unreachable := conflict("PortUnreachableRouter", "The port %s cannot reach the router %s by IPv6 subnet.", port.ID, router)
	if !joined {
		return p, unreachable
	}
	r, err := routers.find(&w.view, router)
	if err != nil {
		return p, err
	}
	if !r.NDPProxying {
		return p, conflict("RouterNDPProxyNotEnable", "The enable_ndp_proxy parameter of router %s must be set as True while create ndp proxy entry on it.", r.ID)
	}
	p.Router, p.Port = r.ID, port.ID
	if err := chooseProxied(&p, &port, reached, unreachable); err != nil {
		return p, err
	}
	gw, _ := tables.Ports.Get(w.tx, r.GatewayPort)
	if outside, inside := scopeOf(&w.view, gw.Network, 6), scopeOf(&w.view, port.Network, 6); outside != inside {
		return p, conflict("AddressScopeConflict", "The IPv6 address scope %s of external network conflict with internal network's IPv6 address scope %s.", show(outside), show(inside))
	}
	if _, dup := tables.NDPProxiesByAddress.First(w.tx, tables.NDPProxyKey(&p.NDPProxyPlane)); dup {
		return p, conflict("NeutronDbObjectDuplicateEntry", "Failed to create a duplicate NDPProxy: for attribute(s) ['ip_address', 'router_id'] with value(s) %s-%s.", r.ID, p.Addr)
	}
	p.ID = model.NDPProxyID(alloc.NewUUID())
	tables.NDPProxies.Put(w.tx, p.ID, p)
	return p, nil
}

// chooseProxied checks the address that is asked for, or takes the first that the router reaches.
func chooseProxied(p *model.NDPProxy, port *model.Port, reached map[model.SubnetID]bool, unreachable error) error {
	if !hasIPv6(port) {
		return fail(http.StatusBadRequest, "BadRequest", "Bad ndp_proxy request: Requested port %s must allocate one IPv6 address at least.", port.ID)
	}
	invalid := func(why string) error {
		return fail(http.StatusBadRequest, "InvalidAddress", "The address %s is invalid, reason: %s.", p.Addr, why)
	}
	for _, f := range port.FixedIPs {
		switch {
		case !f.Addr.Is6():
		case !p.Addr.IsValid() && reached[f.Subnet]:
			p.Addr = f.Addr
			return nil
		case p.Addr == f.Addr && reached[f.Subnet]:
			return nil
		case p.Addr == f.Addr:
			return invalid("This address cannot reach the router " + string(p.Router))
		}
	}
	if !p.Addr.IsValid() {
		return unreachable
	}
	return invalid("This address not belong to the port " + string(port.ID))
}
