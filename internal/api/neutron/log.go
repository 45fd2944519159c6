// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"iter"
	"net/http"
	"slices"

	"nagare/internal/alloc"
	"nagare/internal/api/jsonbody"
	"nagare/internal/model"
	"nagare/internal/policy"
	"nagare/internal/tables"
)

var logs = new(Resource[model.Log])

// loggable is the one type of resource that logs are about.
const loggable = "security_group"

func init() {
	declare(part{when: whereFiltered, extensions: []extension{
		{"logging", "Logging API Extension", "Provides a logging API for resources such as security group and firewall.", "2017-01-01T10:00:00-00:00"},
	}, collections: []collection{{"loggable_resource", "loggable_resources", "log/loggable-resources", ruledFunc(serveLoggable)}},
		rules: []policy.Default{{Name: "get_loggable_resource", Check: "rule:admin_only"}}})
	std := func(l *model.Log) *model.Std { return &l.Std }
	d := plain(tables.Logs, tables.LogsByProject, func(l *model.Log) model.LogID { return l.ID }, std)
	d.name, d.plural, d.path, d.when = "log", "logs", "log/logs", whereFiltered
	d.gone = func(id string) *Error {
		return fail(http.StatusNotFound, "LogResourceNotFound", "Log resource %s could not be found.", id)
	}
	d.lookups = append(d.lookups, lookup[model.Log]{attr: "resource_id", in: tables.LogsByGroup},
		lookup[model.Log]{attr: "target_id", in: tables.LogsByPort}, lookup[model.Log]{attr: "name", in: tables.LogsByName})
	d.sees = func(*view, *model.Log) bool { return false } // an administrator's alone
	d.scope = func(*view) iter.Seq[model.Log] { return func(func(model.Log) bool) {} }
	d.create, d.change, d.remove = adminOnly, adminOnly, adminOnly
	d.build = buildLog
	d.update = func(_ *work, l model.Log, in *values) (model.Log, error) {
		takeStd(in, &l.Std)
		set(in, "enabled", &l.Enabled)
		return l, nil
	}
	// Neutron gives logs no tags.
	d.attrs = append(stdAttrs(func(l *model.Log) string { return string(l.ID) }, std, false),
		Attr[model.Log]{Name: "name", Get: func(_ *view, l *model.Log) any { return l.Name }, Parse: text(255), Default: "", Post: true, Put: true},
		Attr[model.Log]{Name: "resource_type", Get: func(*view, *model.Log) any { return loggable }, Parse: text(255), Post: true, Required: true},
		Attr[model.Log]{Name: "resource_id", Get: func(_ *view, l *model.Log) any { return nullText(string(l.Group)) }, Parse: orNull(uuidText), Post: true},
		Attr[model.Log]{Name: "target_id", Get: func(_ *view, l *model.Log) any { return nullText(string(l.Port)) }, Parse: orNull(uuidText), Post: true},
		Attr[model.Log]{Name: "event", Get: func(_ *view, l *model.Log) any { return string(l.Event) },
			Parse: oneOf(string(model.LogAccept), string(model.LogDrop), string(model.LogAll)), Default: string(model.LogAll), Post: true},
		Attr[model.Log]{Name: "enabled", Get: func(_ *view, l *model.Log) any { return l.Enabled }, Parse: boolean, Default: true, Post: true, Put: true, Bool: true})
	logs.declare(d)

	// A log goes with the group or the port that it names, disabled or not.
	groups.onDelete(func(w *work, g model.SecurityGroup) error {
		return dropLogs(w, tables.LogsByGroup.By(w.tx, string(g.ID)))
	})
	ports.onDelete(func(w *work, p model.Port) error { return dropLogs(w, tables.LogsByPort.By(w.tx, string(p.ID))) })
}

func dropLogs(w *work, gone iter.Seq[model.Log]) error {
	for _, l := range slices.Collect(gone) {
		tables.Logs.Delete(w.tx, l.ID)
	}
	return nil
}

// buildLog checks in Neutron's order: the type, the group, the port, and that the port wears the group.
func buildLog(w *work, in *values) (model.Log, error) {
	l := model.Log{ID: model.LogID(alloc.NewUUID()), Std: w.newStd(in, 0), LogPlane: model.LogPlane{
		Group: model.SecurityGroupID(get[string](in, "resource_id")), Port: model.PortID(get[string](in, "target_id")),
		Event: model.LogEvent(get[string](in, "event")), Enabled: get[bool](in, "enabled")}}
	if t := get[string](in, "resource_type"); t != loggable {
		return l, fail(http.StatusBadRequest, "InvalidLogResourceType", "Invalid log resource_type: %s.", show(t))
	}
	if l.Group != "" {
		if _, ok := tables.SecurityGroups.Get(w.tx, l.Group); !ok {
			return l, fail(http.StatusNotFound, "ResourceNotFound", "Resource %s could not be found.", l.Group)
		}
	}
	if l.Port != "" {
		p, ok := tables.Ports.Get(w.tx, l.Port)
		switch {
		case !ok:
			return l, fail(http.StatusNotFound, "TargetResourceNotFound", "Target resource %s could not be found.", l.Port)
		case p.VNICType != "normal" && p.VNICType != "": // no flow of ours sees its packets
			return l, conflict("LoggingTypeNotSupported", "Logging type %s is not supported on port %s.", loggable, l.Port)
		case l.Group != "" && !slices.Contains(p.SecurityGroups, l.Group):
			return l, fail(http.StatusBadRequest, "InvalidResourceConstraint",
				"Invalid resource constraint between resource (%s %s) and target resource (port %s).", loggable, l.Group, l.Port)
		}
	}
	tables.Logs.Put(w.tx, l.ID, l)
	return l, nil
}

// serveLoggable answers what logs may be about. It shows others than administrators nothing, as Neutron does.
func serveLoggable(rq *request, rest []string) error {
	if m := rq.r.Method; m != http.MethodGet && m != http.MethodHead {
		return methodNotAllowed(m)
	}
	if len(rest) > 0 {
		return notFoundPath()
	}
	v := rq.view(rq.api.store.Snapshot())
	out := []any{}
	if want := rq.query["type"]; v.permits("get_loggable_resource", v.admin, "") && (len(want) == 0 || slices.Contains(want, loggable)) {
		out = append(out, map[string]any{"type": loggable})
	}
	return rq.answer(http.StatusOK, jsonbody.Append(nil, map[string]any{"loggable_resources": out}))
}
