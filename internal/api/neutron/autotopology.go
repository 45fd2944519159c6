// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"nagare/internal/api/jsonbody"
	"nagare/internal/model"
	"nagare/internal/policy"
	"nagare/internal/tables"
)

func init() {
	declare(part{when: whereRouted,
		extensions: []extension{
			{"auto-allocated-topology", "Auto Allocated Topology Services", "Auto Allocated Topology Services.", "2016-01-01T00:00:00-00:00"},
		},
		collections: []collection{{"auto_allocated_topology", "auto_allocated_topologies", "auto-allocated-topology", ruledFunc(serveTopology)}},
		rules: []policy.Default{{Name: "get_auto_allocated_topology", Check: "rule:admin_or_owner"},
			{Name: "delete_auto_allocated_topology", Check: "rule:regular_user and rule:admin_or_owner"}},
	})
	networks.onDelete(func(w *work, n model.Network) error {
		if a, ok := tables.AutoTopologiesByNetwork.First(w.tx, string(n.ID)); ok {
			tables.AutoTopologies.Delete(w.tx, a.Project)
		}
		return nil
	})
}

// dryRun is the value of fields that asks whether there could be a topology, without making one.
const dryRun = "dry-run"

func noTopology(why string) *Error {
	return conflict("AutoAllocationFailure", "Deployment error: %s.", why)
}

// serveTopology answers GET and DELETE of /auto-allocated-topology/{project}. A project that has no topology gets one by asking.
func serveTopology(rq *request, rest []string) error {
	v := rq.view(rq.api.store.Snapshot())
	read := rq.r.Method == http.MethodGet || rq.r.Method == http.MethodHead
	switch {
	case len(rest) == 0 && read:
		return rq.listTopologies(v)
	case len(rest) == 0:
		return methodNotAllowed(rq.r.Method)
	case len(rest) > 1:
		return notFoundPath()
	}
	project := model.ProjectID(rest[0])
	if project == "None" { // what clients send that do not know their project
		project = v.who.ProjectID
	}
	if project == "" || len(project) > 255 || strings.ContainsRune(string(project), 0) {
		return notFoundPath()
	}
	switch {
	case read:
		if !v.permits("get_auto_allocated_topology", v.admin || v.mine(project), project) {
			return fail(http.StatusForbidden, "NotAuthorized", "Not authorized.")
		}
		return rq.getTopology(v, project)
	case rq.r.Method == http.MethodDelete:
		if !v.permits("delete_auto_allocated_topology", v.writes && (v.admin || v.mine(project)), project) {
			return fail(http.StatusForbidden, "NotAuthorized", "Not authorized.")
		}
		if _, err := rq.commit(func(w *work) error { return w.elevated().dropTopology(project) }); err != nil {
			return err
		}
		rq.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return methodNotAllowed(rq.r.Method)
}

func topologyBody(project model.ProjectID, id string) map[string]any {
	return map[string]any{"id": id, "project_id": string(project), "tenant_id": string(project)}
}

// listTopologies answers with the one that the caller's project has, without making it.
func (rq *request) listTopologies(v *view) error {
	have := []any{}
	if a, ok := tables.AutoTopologies.Get(v.r, v.who.ProjectID); ok && v.permits("get_auto_allocated_topology", true, a.Project) {
		have = append(have, topologyBody(a.Project, string(a.Network)))
	}
	return rq.answer(http.StatusOK, jsonbody.Append(nil, map[string]any{"auto_allocated_topologies": have}))
}

func (rq *request) getTopology(v *view, project model.ProjectID) error {
	answer := func(id string) error {
		return rq.answer(http.StatusOK, jsonbody.Append(nil, map[string]any{"auto_allocated_topology": topologyBody(project, id)}))
	}
	for _, f := range rq.query["fields"] {
		switch f {
		case dryRun:
			if _, err := v.outside(); err != nil {
				return err
			}
			if len(v.defaultPools()) == 0 {
				return noTopology("No default subnetpools defined")
			}
			return answer("dry-run=pass")
		case "id", "project_id", "tenant_id", "":
		default:
			return fail(http.StatusBadRequest, "BadRequest", "Bad auto_allocate request: Unrecognized field.")
		}
	}
	if a, ok := tables.AutoTopologies.Get(v.r, project); ok {
		return answer(string(a.Network))
	}
	if why := rq.api.cfg.ReadOnly; why != "" {
		return conflict("NorthboundReadOnly", "%s is refused: %s", rq.action(), why)
	}
	var id model.NetworkID
	if _, err := rq.commit(func(w *work) error {
		a, ok := tables.AutoTopologies.Get(w.tx, project) // by somebody who asked at the same time
		if !ok {
			var err error
			if a, err = w.elevated().makeTopology(project); err != nil {
				return err
			}
		}
		id = a.Network
		return nil
	}); err != nil {
		return err
	}
	return answer(string(id))
}

// outside is the network that topologies are joined to.
func (v *view) outside() (model.Network, error) {
	for n := range defaultNetworks.By(v.r, tables.All) {
		if n.External {
			return n, nil
		}
	}
	return model.Network{}, noTopology("No default router:external network")
}

// defaultPools are the pools that topologies have their subnets from, one of each family.
func (v *view) defaultPools() (pools []model.SubnetPool) {
	for _, version := range []int{4, 6} {
		if p, ok := tables.DefaultSubnetPools.First(v.r, strconv.Itoa(version)); ok {
			pools = append(pools, p)
		}
	}
	return pools
}

// makeTopology makes a network, a subnet of each default pool, and a router that joins them to the outside. They are the
// project's, and count against its quota.
func (w *work) makeTopology(project model.ProjectID) (a model.AutoTopology, err error) {
	a.Project = project
	outside, err := w.outside()
	if err != nil {
		return a, err
	}
	pools := w.defaultPools()
	if len(pools) == 0 {
		return a, noTopology("Unable to provide tenant private network")
	}
	n, err := createFor(w, networks, project, map[string]any{"name": "auto_allocated_network"})
	if err != nil {
		return a, unmet(err, "Unable to provide tenant private network")
	}
	var subs []model.Subnet
	for _, p := range pools {
		version := strconv.Itoa(p.IPVersion())
		s, err := createFor(w, subnets, project, map[string]any{"name": "auto_allocated_subnet_v" + version, "network_id": string(n.ID),
			"ip_version": json.Number(version), "subnetpool_id": string(p.ID)})
		if err != nil {
			return a, unmet(err, "Unable to provide tenant private network")
		}
		subs = append(subs, s)
	}
	r, err := createFor(w, routers, project, map[string]any{"name": "auto_allocated_router", "external_gateway_info": map[string]any{"network_id": string(outside.ID)}})
	if err != nil {
		return a, unmet(err, "Unable to provide external connectivity")
	}
	for _, s := range subs {
		if _, err := w.addBySubnet(&r, string(s.ID)); err != nil {
			return a, unmet(err, "Unable to provide external connectivity")
		}
	}
	a.Network, a.Router = n.ID, r.ID
	tables.AutoTopologies.Put(w.tx, project, a)
	return a, nil
}

// createFor makes an object as POST does with a body, for a project.
func createFor[T any](w *work, rs *Resource[T], project model.ProjectID, body map[string]any) (T, error) {
	body["project_id"] = string(project)
	in, err := rs.parse(&w.view, body, post)
	if err != nil {
		var none T
		return none, err
	}
	return rs.createOne(w, in)
}

// unmet is what a fault of a part is for the whole: the deployment does not have what is needed. Others (a quota) stay.
func unmet(err error, why string) error {
	var e *Error
	if errors.As(err, &e) && (e.Status == http.StatusBadRequest || e.Status == http.StatusNotFound || e.Type == "SubnetAllocationError") {
		return noTopology(why)
	}
	return err
}

// dropTopology removes a project's topology, whole or not at all.
func (w *work) dropTopology(project model.ProjectID) error {
	a, ok := tables.AutoTopologies.Get(w.tx, project)
	if !ok {
		return nil
	}
	if r, ok := tables.Routers.Get(w.tx, a.Router); ok {
		for p := range tables.RouterPorts.By(w.tx, string(r.ID)) {
			if !p.IsRouterInterface() || p.Network != a.Network {
				continue
			}
			for _, f := range p.FixedIPs {
				if err := w.checkUnused(&r, f.Subnet); err != nil {
					return err
				}
			}
			w.dropPort(p)
		}
		if err := drop(w, routers, r); err != nil {
			return err
		}
	}
	if n, ok := tables.Networks.Get(w.tx, a.Network); ok {
		if err := drop(w, networks, n); err != nil {
			return err
		}
	}
	tables.AutoTopologies.Delete(w.tx, project)
	return nil
}

// drop removes an object as DELETE does.
func drop[T any](w *work, rs *Resource[T], o T) error {
	for _, f := range rs.dropped {
		if err := f(w, o); err != nil {
			return err
		}
	}
	return rs.delete(w, o)
}
