// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"iter"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

var routers = new(Resource[model.Router])

func init() {
	declare(part{when: whereRouted, extensions: []extension{
		{"extraroute", "Neutron Extra Route", "Extra routes configuration for L3 router", "2013-02-01T10:00:00-00:00"},
		{"extraroute-atomic", "Atomically add/remove extra routes", "Edit extra routes of a router on server side by atomically adding/removing extra routes", "2019-07-10T00:00:00+00:00"},
		{"router", "Neutron L3 Router", "Router abstraction for basic L3 forwarding between L2 Neutron networks and access to external networks via a NAT gateway.", "2012-07-20T10:00:00-00:00"},
	}})
	routers.declare(Resource[model.Router]{
		name: "router", plural: "routers", path: "routers",
		when:  whereRouted,
		quota: atMost(10, tables.Routers, func(r *model.Router) string { return string(r.ID) }),
		id:    func(r *model.Router) string { return string(r.ID) },
		std:   func(r *model.Router) *model.Std { return &r.Std },
		get:   func(r store.Reader, id string) (model.Router, bool) { return tables.Routers.Get(r, model.RouterID(id)) },
		put:   func(tx *store.Txn, r model.Router) error { tables.Routers.Put(tx, r.ID, r); return nil },
		from: func(r store.Reader, id string) iter.Seq[model.Router] {
			return records(tables.Routers.From(r, model.RouterID(id)))
		},
		back: backwards(tables.Routers),
		gone: func(id string) *Error {
			return fail(http.StatusNotFound, "RouterNotFound", "Router %s could not be found", id)
		},
		lookups: []lookup[model.Router]{
			{attr: "id", by: one(tables.Routers)},
			{attr: "name", in: tables.RoutersByName},
			{attr: "project_id", in: tables.RoutersByProject},
			{attr: "tenant_id", in: tables.RoutersByProject},
		},
		scope: func(v *view) iter.Seq[model.Router] {
			return tables.RoutersByProject.By(v.r, string(v.who.ProjectID))
		},
		sees:   func(v *view, r *model.Router) bool { return v.mine(r.Project) },
		create: owner, change: owner, remove: owner,
		build: buildRouter, update: updateRouter, delete: deleteRouter,
		actions: map[string]func(*request, string) error{"add_router_interface": addInterface, "remove_router_interface": removeInterface,
			"add_extraroutes": addRoutes, "remove_extraroutes": removeRoutes},
		attrs: append(stdAttrs(func(r *model.Router) string { return string(r.ID) }, func(r *model.Router) *model.Std { return &r.Std }, true),
			[]Attr[model.Router]{
				{Name: "admin_state_up", Get: func(_ *view, r *model.Router) any { return r.AdminStateUp }, Parse: boolean, Default: true, Post: true, Put: true, Bool: true},
				// A router is active from its creation on, as Neutron's are; what its gateway lacks is told by the gateway port's status.
				{Name: "status", Get: func(*view, *model.Router) any { return model.StatusActive }},
				{Name: "external_gateway_info", Get: gatewayBody, Parse: parseGateway, Post: true, Put: true, NoFilter: true, NoSort: true,
					SetPost: adminOnly, SetPut: adminOnly, Parts: gatewayParts},
				{Name: "routes", Get: func(_ *view, r *model.Router) any { return routesText(r.Routes) }, Parse: hostRoutes, Put: true, NoFilter: true, NoSort: true},
				// What every router is here: routing is done where the instances are, and its gateway is on one node.
				{Name: "distributed", Get: func(*view, *model.Router) any { return true }, Parse: orNull(boolean), Post: true, Put: true, Bool: true,
					SetPost: adminOnly, SetPut: adminOnly, See: adminOnly},
				{Name: "ha", Get: func(*view, *model.Router) any { return false }, Parse: orNull(boolean), Post: true, Put: true, Bool: true,
					SetPost: adminOnly, SetPut: adminOnly, See: adminOnly},
			}...),
	})
}

func routesText(routes []model.Route) any {
	out := make([]any, 0, len(routes))
	for _, r := range routes {
		out = append(out, map[string]any{"destination": r.Destination.String(), "nexthop": r.NextHop.String()})
	}
	return out
}

// badRouter is Neutron's BadRequest of this resource.
func badRouter(format string, args ...any) *Error {
	e := fail(http.StatusBadRequest, "BadRequest", format, args...)
	e.Message = "Bad router request: " + e.Message + "."
	return e
}

func buildRouter(w *work, in *values) (model.Router, error) {
	r := model.Router{ID: model.RouterID(alloc.NewUUID()), Std: w.newStd(in, 1)}
	r.AdminStateUp, r.EnableSNAT = get[bool](in, "admin_state_up"), true
	if err := checkKind(in); err != nil {
		return r, err
	}
	var err error
	if r.Key, err = alloc.NextKey(w.tx, alloc.Router); err != nil {
		return r, err
	}
	tables.Routers.Put(w.tx, r.ID, r)
	if in.asked("external_gateway_info") {
		if err := w.setGateway(&r, get[*gatewayInfo](in, "external_gateway_info")); err != nil {
			return r, err
		}
	}
	return r, nil
}

// checkKind refuses kinds of routers that there are none of.
func checkKind(in *values) error {
	if d, given := in.m["distributed"].(bool); given && !d {
		return badRouter("routers are distributed here, a centralized one is not supported")
	}
	if get[bool](in, "ha") {
		return badRouter("ha routers are not supported")
	}
	return nil
}

func updateRouter(w *work, r model.Router, in *values) (model.Router, error) {
	if err := checkKind(in); err != nil {
		return r, err
	}
	takeStd(in, &r.Std)
	set(in, "admin_state_up", &r.AdminStateUp)
	if in.asked("external_gateway_info") {
		if err := w.setGateway(&r, get[*gatewayInfo](in, "external_gateway_info")); err != nil {
			return r, err
		}
	}
	if in.asked("routes") {
		return w.takeRoutes(r, get[[]model.Route](in, "routes"))
	}
	return r, nil
}

func deleteRouter(w *work, r model.Router) error {
	for p := range tables.RouterPorts.By(w.tx, string(r.ID)) {
		if p.IsRouterInterface() {
			return conflict("RouterInUse", "Router %s still has ports", r.ID)
		}
	}
	if err := w.setGateway(&r, nil); err != nil {
		return err
	}
	tables.Routers.Delete(w.tx, r.ID)
	return nil
}

// takeRoutes gives a router its extra routes. A next hop is on a subnet of the router, the gateway's included, and is not the
// router. A route whose subnet goes with the gateway stays and leads nowhere, as in Neutron; an interface that a route needs
// cannot go.
func (w *work) takeRoutes(r model.Router, routes []model.Route) (model.Router, error) {
	if most := w.api.cfg.Facts.MaxRoutes; len(routes) > most {
		return r, fail(http.StatusBadRequest, "RoutesExhausted", "Unable to complete operation for %s. The number of routes exceeds the maximum %d.", r.ID, most)
	}
	var on []netip.Prefix
	var own []netip.Addr
	for p := range tables.RouterPorts.By(w.tx, string(r.ID)) {
		for _, f := range p.FixedIPs {
			s, _ := tables.Subnets.Get(w.tx, f.Subnet)
			on, own = append(on, s.CIDR), append(own, f.Addr)
		}
	}
	for _, route := range routes {
		why := ""
		switch {
		case route.Destination.Addr().Is4() != route.NextHop.Is4():
			why = "the nexthop is of another ip version than the destination"
		case !slices.ContainsFunc(on, func(p netip.Prefix) bool { return p.Contains(route.NextHop) }):
			why = "the nexthop is not connected with router"
		case slices.Contains(own, route.NextHop):
			why = "the nexthop is used by router"
		}
		if why != "" {
			return r, fail(http.StatusBadRequest, "InvalidRoutes", "Invalid format for routes: [%s], %s", routeList(routes), why)
		}
	}
	r.Routes = routes
	return r, nil
}

func routeList(routes []model.Route) string {
	var out []string
	for _, r := range routes {
		out = append(out, "{'destination': '"+r.Destination.String()+"', 'nexthop': '"+r.NextHop.String()+"'}")
	}
	return show(strings.Join(out, ", "))
}

// addRoutes answers PUT /routers/{id}/add_extraroutes; routes that the router has already change nothing.
func addRoutes(rq *request, id string) error {
	return editRoutes(rq, id, func(have, asked []model.Route) []model.Route {
		out := slices.Clone(have)
		for _, r := range asked {
			if !slices.Contains(out, r) {
				out = append(out, r)
			}
		}
		return out
	})
}

// removeRoutes answers PUT /routers/{id}/remove_extraroutes; routes that the router has not are none to remove.
func removeRoutes(rq *request, id string) error {
	return editRoutes(rq, id, func(have, asked []model.Route) []model.Route {
		return slices.DeleteFunc(slices.Clone(have), func(r model.Route) bool { return slices.Contains(asked, r) })
	})
}

// editRoutes changes the routes of a router in one step, so that two callers do not undo each other's change. The body is
// {"router":{"routes":[...]}}, the answer the router.
func editRoutes(rq *request, id string, change func(have, asked []model.Route) []model.Route) error {
	body, err := rq.body()
	if err != nil {
		return err
	}
	m, ok := body["router"].(map[string]any)
	if !ok {
		return badRequest("Unable to find 'router' in request body")
	}
	if _, ok := m["routes"]; !ok || len(m) > 1 {
		return badRequest("Unable to find 'routes' alone in the router of the request body")
	}
	in, err := routers.parse(rq.view(rq.api.store.Snapshot()), m, put)
	if err != nil {
		return err
	}
	return routers.modify(rq, id, func(w *work, r model.Router) (model.Router, error) {
		now := change(r.Routes, get[[]model.Route](in, "routes"))
		if len(now) <= len(r.Routes) && !slices.ContainsFunc(now, func(n model.Route) bool { return !slices.Contains(r.Routes, n) }) {
			r.Routes = now // nothing new that could be wrong; what became unreachable can be taken away bit by bit
			return r, nil
		}
		return w.takeRoutes(r, now)
	}, func(v *view, r *model.Router) error { return rq.answer(http.StatusOK, routers.one(v, r, nil)) })
}
