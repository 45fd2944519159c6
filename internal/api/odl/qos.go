// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"cmp"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// policies are QoS policies with their rules, which have no collection of their own: a change of a rule comes as an update of the
// policy. Whoever names a policy that is not there is not limited until it comes.
var policies = &core[model.QosPolicy]{
	kind: "policy", plural: "policies",
	id:  policyID,
	std: policyStd,
	get: func(r store.Reader, id string) (model.QosPolicy, bool) {
		return tables.QosPolicies.Get(r, model.QosPolicyID(id))
	},
	from: func(r store.Reader, id string) iter.Seq[model.QosPolicy] {
		return records(tables.QosPolicies.From(r, model.QosPolicyID(id)))
	},
	lookups: []lookup[model.QosPolicy]{
		{"id", one(tables.QosPolicies)}, {"name", tables.QosPoliciesByName.By},
		{"tenant_id", tables.QosPoliciesByProject.By}, {"project_id", tables.QosPoliciesByProject.By},
	},
	read: func(in *input) model.QosPolicy {
		p := model.QosPolicy{ID: model.QosPolicyID(in.id), Std: in.std(), Default: in.boolean("is_default", false)}
		p.Rules = in.qosRules()
		return p
	},
	parts: func(in *input) []part {
		return []part{readShared(in, sharedPolicy, func(r store.Reader, id string) model.ProjectID {
			p, _ := tables.QosPolicies.Get(r, model.QosPolicyID(id))
			return p.Project
		})}
	},
	put: func(w *work, p, _ *model.QosPolicy) error {
		for i := range p.Rules {
			if r, _ := p.Rule(p.Rules[i].Kind, p.Rules[i].Direction); r.ID != p.Rules[i].ID {
				w.note("two rules of a QoS policy say the same", slog.String("policy", string(p.ID)), slog.String("rule", string(r.ID)), slog.String("other", string(p.Rules[i].ID)))
			}
		}
		tables.QosPolicies.Put(w.tx, p.ID, *p)
		return nil
	},
	drop: func(w *work, p *model.QosPolicy) error {
		tables.QosPolicies.Delete(w.tx, p.ID) // who names it is not limited any more
		w.unshare(sharedPolicy, string(p.ID), nil)
		return nil
	},
	attrs: append(stdAttrs(policyID, policyStd), append([]attr[model.QosPolicy]{
		sharedAttr(sharedPolicy, policyID),
		{name: "is_default", get: func(_ *env, p *model.QosPolicy) any { return p.Default }},
	}, ruleLists()...)...),
}

func policyID(p *model.QosPolicy) string      { return string(p.ID) }
func policyStd(p *model.QosPolicy) *model.Std { return &p.Std }

// qosKind is how the northbound writes a kind of rule.
type qosKind struct {
	kind         model.QosKind
	value, burst string // attributes; burst may be ""
	most         int    // the highest value
	directions   []model.Direction
	always       bool // its list is shown if it is empty: OpenDaylight has it
}

var qosKinds = func() []qosKind {
	ways := []model.Direction{model.Egress, model.Ingress}
	return []qosKind{
		{model.QosBandwidthLimit, "max_kbps", "max_burst_kbps", math.MaxInt32, ways, true},
		{model.QosDSCP, "dscp_mark", "", 63, nil, true},
		{model.QosMinBandwidth, "min_kbps", "", math.MaxInt32, ways, true},
		{model.QosPacketRateLimit, "max_kpps", "max_burst_kpps", math.MaxInt32, ways, false},
		{model.QosMinPacketRate, "min_kpps", "", math.MaxInt32, append(ways, model.QosAny), false},
	}
}()

// ofKinds is what a list's name has behind the kind of the rules in it.
const ofKinds = "_rules"

// qosRules reads a policy's rules: live changes list them by kind, a full sync in one list with their kinds. Either way the same is
// stored: in order of ids, each once. Rules of a kind that we do not know stay among what the model does not hold, by kind.
func (in *input) qosRules() (out []model.QosRule) {
	byKind := map[string][]any{}
	for _, v := range in.list("rules") {
		m, ok := v.(map[string]any)
		kind, _ := m["type"].(string)
		switch {
		case !ok:
			in.bad("rules", "'%s' is not an object", show(v))
		case kind == "" || len(kind) > maxText:
			in.bad("rules", "'%s' is not the type of a rule", show(m["type"]))
		default:
			byKind[kind] = append(byKind[kind], v)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(in.m)) {
		kind, ok := strings.CutSuffix(name, ofKinds)
		if _, list := in.m[name].([]any); ok && kind != "" && (list || slices.ContainsFunc(qosKinds, func(k qosKind) bool { return string(k.kind) == kind })) {
			byKind[kind] = append(byKind[kind], in.list(name)...)
		}
	}
	for _, k := range qosKinds {
		in.objectsOf(string(k.kind)+ofKinds, byKind[string(k.kind)], func(e *input) { out = append(out, k.read(e)) })
		delete(byKind, string(k.kind))
	}
	slices.SortStableFunc(out, func(a, b model.QosRule) int { return cmp.Compare(a.ID, b.ID) })
	out = slices.CompactFunc(out, func(a, b model.QosRule) bool { return a.ID == b.ID })
	for kind, l := range byKind {
		in.m[kind+ofKinds] = unheardRules(l)
	}
	return out
}

// read reads one rule of the kind.
func (k *qosKind) read(e *input) (r model.QosRule) {
	r.Kind, r.ID = k.kind, model.QosRuleID(e.uuid("id"))
	e.require("id", r.ID != "")
	v := e.integer(k.value, 0, k.most)
	if e.require(k.value, v != nil); v != nil {
		r.Value = *v
	}
	if k.burst != "" {
		if v := e.integer(k.burst, 0, k.most); v != nil {
			r.Burst = *v
		}
	}
	if k.directions == nil {
		return r
	}
	switch r.Direction = model.Direction(strings.ToLower(e.text("direction"))); {
	case r.Direction == "":
		r.Direction = model.Egress
	case !slices.Contains(k.directions, r.Direction):
		e.bad("direction", "'%s' is none of %v", show(r.Direction), k.directions)
	}
	return r
}

// unheardRules brings rules of an unknown kind into one form.
func unheardRules(l []any) []any {
	for _, v := range l {
		if m, ok := v.(map[string]any); ok {
			for _, name := range []string{"type", "qos_policy_id", "tenant_id", "project_id"} {
				delete(m, name)
			}
		}
	}
	id := func(v any) string { m, _ := v.(map[string]any); return fmt.Sprint(m["id"]) }
	slices.SortStableFunc(l, func(a, b any) int { return cmp.Compare(id(a), id(b)) })
	return l
}

// ruleLists are the attributes that list a policy's rules by kind.
func ruleLists() (attrs []attr[model.QosPolicy]) {
	for _, k := range qosKinds {
		attrs = append(attrs, attr[model.QosPolicy]{name: string(k.kind) + ofKinds, get: func(_ *env, p *model.QosPolicy) any {
			l := []any{}
			for _, r := range p.Rules {
				if r.Kind == k.kind {
					l = append(l, k.show(&r))
				}
			}
			if len(l) == 0 && !k.always {
				return nil
			}
			return l
		}})
	}
	return attrs
}

func (k *qosKind) show(r *model.QosRule) map[string]any {
	m := map[string]any{"id": string(r.ID), k.value: r.Value}
	if k.burst != "" {
		m[k.burst] = r.Burst
	}
	if k.directions != nil {
		m["direction"] = string(r.Direction)
	}
	return m
}
