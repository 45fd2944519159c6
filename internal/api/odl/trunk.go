// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"iter"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// trunks carry ports. Which, the client says by the trunk's list, whole each time; the model says it by the ports (subport.go).
var trunks = &core[model.Trunk]{
	kind: "trunk", plural: "trunks",
	id:  trunkID,
	std: trunkStd,
	get: func(r store.Reader, id string) (model.Trunk, bool) { return tables.Trunks.Get(r, model.TrunkID(id)) },
	from: func(r store.Reader, id string) iter.Seq[model.Trunk] {
		return records(tables.Trunks.From(r, model.TrunkID(id)))
	},
	lookups: []lookup[model.Trunk]{
		{"id", one(tables.Trunks)}, {"port_id", tables.TrunksByPort.By}, {"name", tables.TrunksByName.By},
		{"tenant_id", tables.TrunksByProject.By}, {"project_id", tables.TrunksByProject.By},
	},
	read: func(in *input) model.Trunk {
		t := model.Trunk{ID: model.TrunkID(in.id), Std: in.std(), AdminStateUp: in.boolean("admin_state_up", true)}
		t.Port = model.PortID(in.uuid("port_id"))
		in.require("port_id", t.Port != "")
		return t
	},
	keep: func(now, old *model.Trunk, _ *input) {
		if now.Port == "" { // without it there would be no trunk
			now.Port = old.Port
		}
	},
	parts: func(in *input) []part {
		subs := in.subPorts()
		return []part{func(w *work) error { return w.setSubPorts(model.TrunkID(in.id), subs) }}
	},
	put: func(w *work, t, old *model.Trunk) error {
		tables.Trunks.Put(w.tx, t.ID, *t)
		if old != nil && old.Port != t.Port {
			if err := w.carryAll(carriedBy(w.tx, old.Port)); err != nil {
				return err
			}
			if err := w.carry(old.Port); err != nil {
				return err
			}
		}
		return w.carry(t.Port) // a parent is no sub-port
	},
	drop: func(w *work, t *model.Trunk) error {
		if err := w.setSubPorts(t.ID, nil); err != nil {
			return err
		}
		tables.Trunks.Delete(w.tx, t.ID)
		return w.carry(t.Port)
	},
	owned: []string{"status"},
	attrs: append(stdAttrs(trunkID, trunkStd), []attr[model.Trunk]{
		{name: "port_id", get: func(_ *env, t *model.Trunk) any { return optional(string(t.Port)) }},
		{name: "admin_state_up", get: func(_ *env, t *model.Trunk) any { return t.AdminStateUp }},
		{name: "status", get: func(e *env, t *model.Trunk) any { return TrunkStatus(e.r, t, e.NativeDHCP) }},
		{name: "sub_ports", get: subPorts},
	}...),
}

func trunkID(t *model.Trunk) string      { return string(t.ID) }
func trunkStd(t *model.Trunk) *model.Std { return &t.Std }

// Statuses of trunks beside those of ports.
const (
	statusBuild    = "BUILD"
	statusDegraded = "DEGRADED"
)

// TrunkStatus is a trunk's status: its parent's, until that is ACTIVE; then BUILD until all ports that it carries are, unless they
// are down because they were told to be.
func TrunkStatus(r store.Reader, t *model.Trunk, native bool) string {
	parent, _ := tables.Ports.Get(r, t.Port)
	if s := tables.ForeignStatus(r, &parent, native); s != model.StatusActive {
		return s
	}
	status := model.StatusActive
	for p := range tables.SubPortsByParent.By(r, string(t.Port)) {
		switch s := tables.ForeignStatus(r, &p, native); {
		case s == model.StatusError:
			return statusDegraded
		case s != model.StatusActive && p.AdminStateUp:
			status = statusBuild
		}
	}
	return status
}
