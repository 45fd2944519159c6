// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"net/http"
	"slices"

	"nagare/internal/api/jsonbody"
	"nagare/internal/model"
	"nagare/internal/tables"
)

func init() {
	declare(part{
		collections: []collection{{"availability_zone", "availability_zones", "availability_zones", endpointFunc(serveZones)}},
		extensions: []extension{
			{"availability_zone", "Availability Zone", "Availability zone support.", "2015-01-01T10:00:00-00:00"},
			{"availability_zone_filter", "Availability Zone Filter Extension", "Add filter parameters to AvailabilityZone resource", "2018-06-22T10:00:00-00:00"},
			{"network_availability_zone", "Network Availability Zone", "Availability zone support for network.", "2015-01-01T10:00:00-00:00"},
		},
	})
	declare(part{when: whereRouted, extensions: []extension{
		{"router_availability_zone", "Router Availability Zone", "Availability zone support for router.", "2015-01-01T10:00:00-00:00"},
	}})
	networks.extend(
		Attr[model.Network]{Name: "availability_zone_hints", Get: func(_ *view, n *model.Network) any { return tagList(n.AvailabilityHints) }, Parse: zoneHints, Post: true, NoSort: true,
			Take: func(w *work, n *model.Network, in *values) error {
				n.AvailabilityHints = get[[]string](in, "availability_zone_hints")
				return w.checkHints("network", n.AvailabilityHints)
			}},
		// A network is where it is served: where its DHCP port is, or everywhere if the controller serves it.
		Attr[model.Network]{Name: "availability_zones", NoSort: true, Get: func(v *view, n *model.Network) any {
			p, ok := tables.DHCPPortsByNetwork.First(v.r, string(n.ID))
			return v.zonesIf(ok && (p.Host != "" || v.api.cfg.NativeDHCP))
		}})
	routers.extend(
		Attr[model.Router]{Name: "availability_zone_hints", Get: func(_ *view, r *model.Router) any { return tagList(r.AvailabilityHints) }, Parse: zoneHints, Post: true, NoSort: true,
			Take: func(w *work, r *model.Router, in *values) error {
				r.AvailabilityHints = get[[]string](in, "availability_zone_hints")
				return w.checkHints("router", r.AvailabilityHints)
			}},
		Attr[model.Router]{Name: "availability_zones", NoSort: true, Get: func(v *view, r *model.Router) any {
			_, placed := tables.Gateways.Get(v.r, r.ID)
			return v.zonesIf(placed)
		}})
}

// zonesIf names the one availability zone that there is, if the object is there.
func (v *view) zonesIf(there bool) any {
	if !there {
		return emptyArray
	}
	return []string{v.api.cfg.Facts.Zone}
}

var zoneHints = list[string](10, notEmptyText(255), true)

// zones are the availability zones by resource ("network", "router"), and whether a node that is alive makes them available.
func (v *view) zones() map[string]bool {
	out := map[string]bool{}
	for _, n := range tables.Nodes.All(v.r) {
		for i := range agentKinds {
			if k := &agentKinds[i]; k.zone != "" && k.on(&v.api.cfg, &n) {
				out[k.zone] = out[k.zone] || n.Lost.IsZero()
			}
		}
		if len(out) == 2 && out["network"] && out["router"] {
			break // all is known
		}
	}
	return out
}

// checkHints refuses zones that there are not.
func (w *work) checkHints(resource string, hints []string) error {
	for _, h := range hints {
		if _, ok := w.zones()[resource]; h != w.api.cfg.Facts.Zone || !ok {
			return fail(http.StatusNotFound, "AvailabilityZoneNotFound", "AvailabilityZone %s could not be found.", show(h))
		}
	}
	return nil
}

// serveZones answers GET /availability_zones.
func serveZones(rq *request, rest []string) error {
	if len(rest) > 0 {
		return notFoundPath()
	}
	if m := rq.r.Method; m != http.MethodGet && m != http.MethodHead {
		return methodNotAllowed(m)
	}
	var unknown []string
	for name := range rq.query {
		if !slices.Contains([]string{"name", "resource", "state"}, name) && !slices.Contains(notFilters, name) {
			unknown = append(unknown, show(name))
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return badRequest("%s is invalid attribute for filtering", show(toAny(unknown)))
	}
	v := rq.view(rq.api.store.Snapshot())
	zones := v.zones()
	out := []any{}
	for _, resource := range []string{"network", "router"} {
		alive, ok := zones[resource]
		if !ok {
			continue
		}
		z := map[string]any{"name": v.api.cfg.Facts.Zone, "resource": resource, "state": "unavailable"}
		if alive {
			z["state"] = "available"
		}
		matches := true
		for name, val := range z {
			if want := rq.query[name]; len(want) > 0 && !slices.Contains(want, val.(string)) {
				matches = false
			}
		}
		if matches {
			out = append(out, z)
		}
	}
	return rq.answer(http.StatusOK, jsonbody.Append(nil, map[string]any{"availability_zones": out}))
}

func toAny(s []string) []any {
	out := make([]any, len(s))
	for i, x := range s {
		out[i] = x
	}
	return out
}
