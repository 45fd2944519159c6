// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"iter"

	"nagare/internal/alloc"
	"nagare/internal/api/jsonbody"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// routers have their interfaces and their gateway as ports, which come by themselves; add_router_interface and its opposite, which
// only the first driver sends, add nothing to that.
var routers = &core[model.Router]{
	kind: "router", plural: "routers",
	id:  routerID,
	std: routerStd,
	get: func(r store.Reader, id string) (model.Router, bool) { return tables.Routers.Get(r, model.RouterID(id)) },
	from: func(r store.Reader, id string) iter.Seq[model.Router] {
		return records(tables.Routers.From(r, model.RouterID(id)))
	},
	lookups: []lookup[model.Router]{
		{"id", one(tables.Routers)}, {"name", tables.RoutersByName.By},
		{"tenant_id", tables.RoutersByProject.By}, {"project_id", tables.RoutersByProject.By},
	},
	read: readRouter,
	keep: func(now, old *model.Router, in *input) {
		now.Key, now.AvailabilityHints = old.Key, old.AvailabilityHints
		if in.put {
			now.Project = old.Project
		}
	},
	put: putRouter,
	drop: func(w *work, r *model.Router) error {
		alloc.DropGateway(w.tx, r.ID)
		tables.Routers.Delete(w.tx, r.ID)
		return nil
	},
	owned:   []string{"status"},
	actions: []string{"add_router_interface", "remove_router_interface"},
	attrs: append(stdAttrs(routerID, routerStd), []attr[model.Router]{
		{name: "admin_state_up", get: func(_ *env, r *model.Router) any { return r.AdminStateUp }},
		{name: "status", get: func(*env, *model.Router) any { return model.StatusActive }},
		{name: "gw_port_id", get: func(_ *env, r *model.Router) any { return optional(string(r.GatewayPort)) }},
		{name: "external_gateway_info", get: gatewayInfo, fallback: true},
		{name: "routes", get: func(_ *env, r *model.Router) any { return routesText(r.Routes) }},
	}...),
}

func routerID(r *model.Router) string      { return string(r.ID) }
func routerStd(r *model.Router) *model.Std { return &r.Std }

// gatewayInfo tells of a router's gateway by its port.
func gatewayInfo(e *env, r *model.Router) any {
	p, ok := tables.Ports.Get(e.r, r.GatewayPort)
	if !ok || r.GatewayPort == "" {
		return nil
	}
	return map[string]any{"network_id": string(p.Network), "enable_snat": r.EnableSNAT, "external_fixed_ips": fixedIPs(e, &p)}
}

func readRouter(in *input) model.Router {
	r := model.Router{ID: model.RouterID(in.id), Std: in.std()}
	r.AdminStateUp, r.EnableSNAT = in.boolean("admin_state_up", true), true
	r.GatewayPort = model.PortID(in.uuid("gw_port_id"))
	if v, ok := in.take("external_gateway_info"); ok {
		m, object := v.(map[string]any)
		if !object {
			in.bad("external_gateway_info", "'%s' is not an object", show(v))
			return r
		}
		if len(m) > 0 { // until the port is there, which knows it better
			in.form("external_gateway_info", jsonbody.Raw(jsonbody.Append(nil, m)))
		}
		e := &input{m: m}
		r.EnableSNAT = e.boolean("enable_snat", true)
		e.uuid("network_id")
		e.objects("external_fixed_ips", func(f *input) { f.uuid("subnet_id"); f.addr("ip_address") })
		if e.err != nil && in.err == nil {
			in.err = e.err
		}
	}
	r.Routes = in.routes("routes")
	return r
}

func putRouter(w *work, r, old *model.Router) (err error) {
	if old == nil {
		if r.Key, err = alloc.NextKey(w.tx, alloc.Router); err != nil {
			return err
		}
	}
	tables.Routers.Put(w.tx, r.ID, *r)
	_, err = alloc.PlaceGateway(w.tx, r.ID, w.Down())
	return err
}
