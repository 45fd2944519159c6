// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"encoding/json"
	"iter"
	"net/http"
	"strings"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

var conntrackHelpers = new(Resource[model.ConntrackHelper])

func init() {
	declare(part{when: whereHelped, extensions: []extension{
		{"expose-l3-conntrack-helper", "Expose CT target rules for conntrack helper", "Expose allow adding CT target rules for conntrack helper", "2019-04-04T10:00:00-00:00"},
		{"l3-conntrack-helper", "L3 Conntrack helper", "Allow adding CT target rules for conntrack helper", "2019-04-04T10:00:00-00:00"},
	}})
	conntrackHelpers.declare(Resource[model.ConntrackHelper]{
		name: "conntrack_helper", plural: "conntrack_helpers", ruleName: "router_conntrack_helper", when: whereHelped,
		id:  func(h *model.ConntrackHelper) string { return string(h.ID) },
		std: func(h *model.ConntrackHelper) *model.Std { return &h.Std },
		get: func(r store.Reader, id string) (model.ConntrackHelper, bool) {
			return tables.ConntrackHelpers.Get(r, model.ConntrackHelperID(id))
		},
		put: func(tx *store.Txn, h model.ConntrackHelper) error {
			tables.ConntrackHelpers.Put(tx, h.ID, h)
			return nil
		},
		from: func(r store.Reader, id string) iter.Seq[model.ConntrackHelper] {
			return records(tables.ConntrackHelpers.From(r, model.ConntrackHelperID(id)))
		},
		back: backwards(tables.ConntrackHelpers),
		gone: func(id string) *Error {
			return fail(http.StatusNotFound, "ConntrackHelperNotFound", "Conntrack Helper %s could not be found.", id)
		},
		lookups: []lookup[model.ConntrackHelper]{
			{attr: "id", by: one(tables.ConntrackHelpers)},
			{attr: "router_id", in: tables.HelpersByRouter},
		},
		scope: func(*view) iter.Seq[model.ConntrackHelper] { return func(func(model.ConntrackHelper) bool) {} }, // lists are below a router
		sees: func(v *view, h *model.ConntrackHelper) bool {
			_, err := routers.find(v, string(h.Router))
			return err == nil
		},
		create: owner, change: owner, remove: owner,
		build: buildHelper,
		update: func(w *work, h model.ConntrackHelper, in *values) (model.ConntrackHelper, error) {
			old := h.HelperPlane
			err := w.takeHelper(&h, in)
			if err == nil && h.HelperPlane != old {
				w.reviseHelped(h.Router)
			}
			return h, err
		},
		delete: func(w *work, h model.ConntrackHelper) error {
			tables.ConntrackHelpers.Delete(w.tx, h.ID)
			w.reviseHelped(h.Router)
			return nil
		},
		attrs: []Attr[model.ConntrackHelper]{
			{Name: "id", Get: func(_ *view, h *model.ConntrackHelper) any { return string(h.ID) }},
			{Name: "tenant_id", Parse: text(255), Post: true},
			{Name: "project_id", Parse: text(255), Post: true},
			{Name: "router_id", Get: func(_ *view, h *model.ConntrackHelper) any { return string(h.Router) }, Parse: text(255), Post: true, See: hidden},
			{Name: "protocol", Get: func(_ *view, h *model.ConntrackHelper) any { return h.Protocol }, Parse: helpedProtocol, Post: true, Put: true, Required: true},
			{Name: "port", Get: func(_ *view, h *model.ConntrackHelper) any { return int(h.Port) }, Parse: integer(1, 65535), Post: true, Put: true, Required: true},
			{Name: "helper", Get: func(_ *view, h *model.ConntrackHelper) any { return h.Helper }, Parse: text(64), Post: true, Put: true, Required: true},
		},
	})
	below := nest(routers, conntrackHelpers, "router_id")
	routers.serveBelow("conntrack_helpers", func(rq *request, id string, rest []string) error {
		if !whereHelped(&rq.api.cfg) {
			return notFoundPath()
		}
		return below(rq, id, rest)
	})
	routers.extend(Attr[model.Router]{Name: "conntrack_helpers", Get: helpersOf, NoFilter: true, NoSort: true})
	routers.onDelete(func(w *work, r model.Router) error {
		for h := range tables.HelpersByRouter.By(w.tx, string(r.ID)) {
			tables.ConntrackHelpers.Delete(w.tx, h.ID)
		}
		return nil
	})
}

// whereHelped is the condition of conntrack helpers: classic tracks no connection.
func whereHelped(c *Config) bool { return c.Routers && c.filters() }

// maxHelpers bounds a router's: each costs flows at each of its addresses outside.
const maxHelpers = 32

// helpersOf shows a router's conntrack helpers, of each what the extension tells.
func helpersOf(v *view, r *model.Router) any {
	out := []any{}
	for h := range tables.HelpersByRouter.By(v.r, string(r.ID)) {
		out = append(out, map[string]any{"protocol": h.Protocol, "port": int(h.Port), "helper": h.Helper})
	}
	return out
}

// helpedProtocol takes the name or the number of a protocol; those with a helper are kept by name.
func helpedProtocol(v any) (any, error) {
	s, ok := v.(string)
	if n, isNumber := v.(json.Number); isNumber {
		s, ok = n.String(), true
	}
	s = strings.ToLower(s)
	n, any, known := model.ProtocolNumber(s)
	switch {
	case !ok || !known || any:
		return nil, because("'%s' is not the name or the number of a protocol", show(v))
	case n == model.ProtoTCP:
		return "tcp", nil
	case n == model.ProtoUDP:
		return "udp", nil
	}
	return s, nil
}

func buildHelper(w *work, in *values) (model.ConntrackHelper, error) {
	h := model.ConntrackHelper{ID: model.ConntrackHelperID(alloc.NewUUID()), Std: w.newStd(in, 0)}
	r, err := routers.find(&w.view, get[string](in, "router_id"))
	if err != nil {
		return h, err
	}
	h.Router = r.ID
	if err := w.takeHelper(&h, in); err != nil {
		return h, err
	}
	tables.ConntrackHelpers.Put(w.tx, h.ID, h)
	w.reviseHelped(h.Router)
	return h, nil
}

// takeHelper gives a helper what a body says, and judges the result.
func (w *work) takeHelper(h *model.ConntrackHelper, in *values) error {
	set(in, "protocol", &h.Protocol)
	set(in, "helper", &h.Helper)
	if in.asked("port") {
		h.Port = uint16(get[int](in, "port"))
	}
	proto, has := model.HelperProtocols[h.Helper]
	switch {
	case !has:
		return fail(http.StatusBadRequest, "ConntrackHelperNotAllowed", "Conntrack Helper %s is not allowed. Allowed are: ftp (tcp), tftp (udp).", show(h.Helper))
	case h.Protocol != proto:
		return fail(http.StatusBadRequest, "InvalidProtocolForHelper", "Conntrack Helper %s does not support: %s. Supported protocols are: %s", h.Helper, h.Protocol, proto)
	}
	others := 0
	for o := range tables.HelpersByRouter.By(w.tx, string(h.Router)) {
		if o.ID == h.ID {
			continue
		}
		others++
		if o.HelperPlane == h.HelperPlane {
			e := fail(http.StatusBadRequest, "BadRequest", "A duplicate conntrack helper entry with same attributes already exists, conflicting values are "+
				"{'router_id': '%s', 'protocol': '%s', 'port': %d, 'helper': '%s'}", h.Router, h.Protocol, h.Port, h.Helper)
			e.Message = "Bad conntrack_helper request: " + e.Message + "."
			return e
		}
	}
	if others >= maxHelpers {
		return conflict("OverQuota", "Router %s has %d conntrack helpers, as many as one may; delete one first.", h.Router, maxHelpers)
	}
	return nil
}

// reviseHelped counts a change of a router's helpers as one of the router, as Neutron does.
func (w *work) reviseHelped(id model.RouterID) {
	if r, ok := tables.Routers.Get(w.tx, id); ok {
		w.touch(&r.Std)
		tables.Routers.Put(w.tx, r.ID, r)
	}
}
