// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"net/http"

	"nagare/internal/api/jsonbody"
)

func init() {
	declare(part{when: whereFiltered, collections: []collection{{"rule_type", "rule_types", "qos/rule-types", endpointFunc(serveRuleTypes)}}})
}

// serveRuleTypes answers which kinds of rules there are: those that the data plane carries, or with all_rules=True all. One of
// them is shown to administrators, as in Neutron.
func serveRuleTypes(rq *request, rest []string) error {
	if m := rq.r.Method; m != http.MethodGet && m != http.MethodHead {
		return methodNotAllowed(m)
	}
	switch len(rest) {
	case 0:
		return listRuleTypes(rq)
	case 1:
		if !rq.who.IsAdmin() {
			return fail(http.StatusForbidden, "NotAuthorized", "Not authorized.")
		}
		for i := range qosStated {
			if s := &qosStated[i]; string(s.kind) == rest[0] {
				return rq.answer(http.StatusOK, jsonbody.Append(nil, map[string]any{"rule_type": s.details()}))
			}
		}
		return fail(http.StatusNotFound, "QosRuleTypeNotFound", "QoS rule type %s could not be found.", show(rest[0]))
	}
	return notFoundPath()
}

func listRuleTypes(rq *request) error {
	all := false
	wanted := rq.query["type"]
	for name, values := range rq.query {
		switch name {
		case "all_rules", "all_supported":
			b, err := boolean(values[0])
			if err != nil {
				return err
			}
			all = all || name == "all_rules" && b.(bool)
		case "type", "fields", "limit", "marker", "page_reverse", "sort_key", "sort_dir":
		default:
			return badRequest("['%s'] is invalid attribute for filtering", show(name))
		}
	}
	out := []any{}
	for _, s := range qosStated {
		if (s.carried || all) && (len(wanted) == 0 || equalText(wanted, string(s.kind))) {
			out = append(out, map[string]any{"type": string(s.kind)})
		}
	}
	return rq.answer(http.StatusOK, jsonbody.Append(nil, map[string]any{"rule_types": out}))
}

// details name the drivers that carry the kind, and what each takes.
func (s *qosSpec) details() map[string]any {
	drivers := []any{}
	if s.carried {
		number := func(name string) map[string]any {
			return map[string]any{"parameter_name": name, "parameter_type": "range", "parameter_values": map[string]any{"start": 0, "end": qosCosts}}
		}
		choice := func(name string, of any) map[string]any {
			return map[string]any{"parameter_name": name, "parameter_type": "choices", "parameter_values": of}
		}
		params := []any{}
		if s.marks != nil {
			marks := make([]any, 0, len(s.marks))
			for _, m := range s.marks {
				marks = append(marks, m)
			}
			params = append(params, choice(s.value, marks))
		} else {
			params = append(params, number(s.value))
		}
		if s.burst != "" {
			params = append(params, number(s.burst))
		}
		if s.directions != nil {
			params = append(params, choice("direction", s.directions))
		}
		drivers = append(drivers, map[string]any{"name": "openvswitch", "supported_parameters": params})
	}
	return map[string]any{"type": string(s.kind), "drivers": drivers}
}
