// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"cmp"
	"iter"
	"net/http"
	"slices"

	"nagare/internal/alloc"
	"nagare/internal/api/jsonbody"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

var trunks = new(Resource[model.Trunk])

func init() {
	declare(part{when: whereFiltered, extensions: []extension{
		{"trunk", "Trunk Extension", "Provides support for trunk ports", "2016-01-01T10:00:00-00:00"},
		{"trunk-details", "Trunk port details", "Expose trunk port details", "2016-01-01T10:00:00-00:00"},
	}})
	trunks.declare(Resource[model.Trunk]{
		name: "trunk", plural: "trunks", path: "trunks", when: whereFiltered,
		id:  func(t *model.Trunk) string { return string(t.ID) },
		std: func(t *model.Trunk) *model.Std { return &t.Std },
		get: func(r store.Reader, id string) (model.Trunk, bool) { return tables.Trunks.Get(r, model.TrunkID(id)) },
		put: func(tx *store.Txn, t model.Trunk) error { tables.Trunks.Put(tx, t.ID, t); return nil },
		from: func(r store.Reader, id string) iter.Seq[model.Trunk] {
			return records(tables.Trunks.From(r, model.TrunkID(id)))
		},
		back: backwards(tables.Trunks),
		gone: func(id string) *Error {
			return fail(http.StatusNotFound, "TrunkNotFound", "Trunk %s could not be found.", id)
		},
		lookups: []lookup[model.Trunk]{
			{attr: "id", by: one(tables.Trunks)},
			{attr: "port_id", in: tables.TrunksByPort},
			{attr: "name", in: tables.TrunksByName},
			{attr: "project_id", in: tables.TrunksByProject},
			{attr: "tenant_id", in: tables.TrunksByProject},
		},
		scope:  func(v *view) iter.Seq[model.Trunk] { return tables.TrunksByProject.By(v.r, string(v.who.ProjectID)) },
		sees:   func(v *view, t *model.Trunk) bool { return v.mine(t.Project) },
		create: owner, change: owner, remove: owner,
		build: buildTrunk, delete: deleteTrunk,
		update: func(_ *work, t model.Trunk, in *values) (model.Trunk, error) {
			takeStd(in, &t.Std)
			set(in, "admin_state_up", &t.AdminStateUp)
			return t, nil
		},
		actions: map[string]func(*request, string) error{"add_subports": addSubPorts, "remove_subports": removeSubPorts},
		below:   map[string]func(*request, string, []string) error{"get_subports": getSubPorts},
		attrs: append(stdAttrs(func(t *model.Trunk) string { return string(t.ID) }, func(t *model.Trunk) *model.Std { return &t.Std }, true),
			[]Attr[model.Trunk]{
				{Name: "port_id", Get: func(_ *view, t *model.Trunk) any { return string(t.Port) }, Parse: uuidText, Post: true, Required: true},
				{Name: "admin_state_up", Get: func(_ *view, t *model.Trunk) any { return t.AdminStateUp }, Parse: boolean, Default: true, Post: true, Put: true, Bool: true},
				{Name: "status", Get: func(v *view, t *model.Trunk) any { return trunkStatus(v, t) }},
				{Name: "sub_ports", Get: func(v *view, t *model.Trunk) any { return subPortsBody(v, t.Port, false) }, Parse: subPortList(true), Post: true, NoFilter: true, NoSort: true},
			}...),
	})
	ports.extend(Attr[model.Port]{Name: "trunk_details", NoFilter: true, NoSort: true, Get: func(v *view, p *model.Port) any {
		t, ok := tables.TrunksByPort.First(v.r, string(p.ID))
		if !ok {
			return omit
		}
		return map[string]any{"trunk_id": string(t.ID), "sub_ports": subPortsBody(v, p.ID, true)}
	}})
	ports.onDelete(func(w *work, p model.Port) error {
		if t, ok := tables.TrunksByPort.First(w.tx, string(p.ID)); ok {
			return conflict("PortInUseAsTrunkParent", "Port %s is currently a parent port for trunk %s.", p.ID, t.ID)
		}
		if p.IsSubPort() {
			t, _ := tables.TrunksByPort.First(w.tx, string(p.Parent))
			return conflict("PortInUseAsSubPort", "Port %s is currently a subport for trunk %s.", p.ID, t.ID)
		}
		return nil
	})
}

// Statuses of trunks beside those of ports.
const (
	statusBuild    = "BUILD"
	statusDegraded = "DEGRADED"
)

// trunkStatus follows from the ports': ACTIVE once the parent and all sub-ports are.
func trunkStatus(v *view, t *model.Trunk) string {
	parent, _ := tables.Ports.Get(v.r, t.Port)
	if s := portStatus(v, &parent); s != model.StatusActive {
		return s.(string)
	}
	status := model.StatusActive
	for p := range tables.SubPortsByParent.By(v.r, string(t.Port)) {
		switch portStatus(v, &p) {
		case model.StatusActive:
		case model.StatusError:
			return statusDegraded
		default:
			if p.AdminStateUp { // else it is down because it was told to be
				status = statusBuild
			}
		}
	}
	return status
}

// subPortsBody shows the sub-ports of a parent in order of their tags.
func subPortsBody(v *view, parent model.PortID, withMAC bool) any {
	subs := slices.SortedFunc(tables.SubPortsByParent.By(v.r, string(parent)), func(a, b model.Port) int { return cmp.Compare(a.VLAN, b.VLAN) })
	out := make([]any, 0, len(subs))
	for _, p := range subs {
		m := map[string]any{"port_id": string(p.ID), "segmentation_type": segmentVLAN, "segmentation_id": int(p.VLAN)}
		if withMAC {
			m["mac_address"] = p.MAC.String()
		}
		out = append(out, m)
	}
	return out
}

func buildTrunk(w *work, in *values) (model.Trunk, error) {
	t := model.Trunk{ID: model.TrunkID(alloc.NewUUID()), Std: w.newStd(in, 0), AdminStateUp: get[bool](in, "admin_state_up")}
	parent, err := w.trunkPort(get[string](in, "port_id"))
	if err != nil {
		return t, err
	}
	if parent.IsNetworkDevice() {
		return t, parentInUse(parent.ID)
	}
	t.Port = parent.ID
	tables.Trunks.Put(w.tx, t.ID, t)
	return t, w.addSubPorts(&t, get[[]subPort](in, "sub_ports"))
}

func parentInUse(id model.PortID) error {
	return conflict("ParentPortInUse", "Port %s is currently in use and is not eligible for use as a parent port.", id)
}

// trunkPort finds a port that is to be part of a trunk: the caller's own, and part of no trunk yet.
func (w *work) trunkPort(id string) (model.Port, error) {
	p, err := ports.find(&w.view, id)
	switch {
	case err != nil:
		return p, err
	case !w.privileged() && !w.mine(p.Project):
		return p, forbidden("create_trunk", []string{"port_id"})
	case p.IsSubPort():
		return p, conflict("TrunkPortInUse", "Port %s is in use by another trunk.", p.ID)
	}
	if _, parent := tables.TrunksByPort.First(w.tx, id); parent {
		return p, parentInUse(p.ID)
	}
	return p, nil
}

// manageable: a trunk that is administratively down can be switched on and renamed, no more.
func manageable(t *model.Trunk) error {
	if t.AdminStateUp {
		return nil
	}
	return conflict("TrunkDisabled", "Trunk %s is currently disabled.", t.ID)
}

// deleteTrunk takes a trunk apart. Not under an instance that uses it: its sub-ports are to be removed first.
func deleteTrunk(w *work, t model.Trunk) error {
	if err := manageable(&t); err != nil {
		return err
	}
	subs := slices.Collect(tables.SubPortsByParent.By(w.tx, string(t.Port)))
	if parent, _ := tables.Ports.Get(w.tx, t.Port); parent.Host != "" && len(subs) > 0 {
		return conflict("TrunkInUse", "Trunk %s is currently in use.", t.ID)
	}
	for _, p := range subs {
		if err := w.release(p); err != nil {
			return err
		}
	}
	tables.Trunks.Delete(w.tx, t.ID)
	return nil
}

// subPortsDown records that what was observed of a parent's sub-ports no longer holds, because its binding changed.
func (w *work) subPortsDown(parent model.PortID) {
	for p := range tables.SubPortsByParent.By(w.tx, string(parent)) {
		w.down(p.ID, "binding of the trunk's parent changed")
	}
}

// getSubPorts answers GET /trunks/{id}/get_subports.
func getSubPorts(rq *request, id string, rest []string) error {
	if m := rq.r.Method; m != http.MethodGet && m != http.MethodHead {
		return methodNotAllowed(m)
	}
	if len(rest) > 0 {
		return notFoundPath()
	}
	v := rq.view(rq.api.store.Snapshot())
	t, err := trunks.find(v, id)
	if err != nil {
		return err
	}
	return rq.answer(http.StatusOK, jsonbody.Append(nil, map[string]any{"sub_ports": subPortsBody(v, t.Port, false)}))
}
