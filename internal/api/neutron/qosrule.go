// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"iter"
	"math"
	"net/http"
	"slices"
	"strconv"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// qosSpec is what the API says of a kind of rule.
type qosSpec struct {
	kind         model.QosKind
	value, burst string // attributes; burst may be ""
	marks        []int  // legal values; nil: any number
	directions   []string
	carried      bool // by the data plane
}

// dscpMarks are the code points that Neutron lets a rule set.
var dscpMarks = []int{0, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 46, 48, 56}

var (
	twoWays   = []string{string(model.Egress), string(model.Ingress)}
	qosCosts  = math.MaxInt32
	qosStated = []qosSpec{
		{model.QosBandwidthLimit, "max_kbps", "max_burst_kbps", nil, twoWays, true},
		{model.QosDSCP, "dscp_mark", "", dscpMarks, nil, true},
		{model.QosMinBandwidth, "min_kbps", "", nil, twoWays, false},
		{model.QosMinPacketRate, "min_kpps", "", nil, []string{string(model.Egress), string(model.Ingress), string(model.QosAny)}, false},
		{model.QosPacketRateLimit, "max_kpps", "max_burst_kpps", nil, twoWays, true},
	}
)

func specOf(k model.QosKind) *qosSpec {
	return &qosStated[slices.IndexFunc(qosStated, func(s qosSpec) bool { return s.kind == k })]
}

// qosRule is a rule with the policy that holds it. It has no record of its own: std is the policy's.
type qosRule struct {
	model.QosRule
	Policy model.QosPolicyID
	std    model.Std
}

// hidden is the rule of attributes that nobody is shown: the path says them.
const hidden Rule = math.MaxUint8

// qosRulesBelow declares the rules of each kind below their policies, and their other paths, by their own ids alone.
func qosRulesBelow() map[string]func(*request, string, []string) error {
	below := map[string]func(*request, string, []string) error{}
	for i := range qosStated {
		s := &qosStated[i]
		name := string(s.kind) + "_rule"
		rs, alias := new(Resource[qosRule]), new(Resource[qosRule])
		d := s.resource(name)
		d.ruleName = "policy_" + name
		rs.declare(d)
		d = s.resource("alias_" + name)
		d.build = nil
		alias.declare(d)
		below[name+"s"] = nest(qosPolicies, rs, "qos_policy_id")
		for _, path := range []string{"qos/alias_" + name + "s", "qos/alias-" + dashed(name) + "s"} {
			declare(part{when: whereFiltered, collections: []collection{{path: path, endpoint: endpointFunc(func(rq *request, rest []string) error {
				if len(rest) != 1 {
					return notFoundPath()
				}
				return alias.serve(rq, rest)
			})}}})
		}
	}
	return below
}

func dashed(name string) string {
	b := []byte(name)
	for i := range b {
		if b[i] == '_' {
			b[i] = '-'
		}
	}
	return string(b)
}

// resource declares the rules of a kind under a name.
func (s *qosSpec) resource(name string) Resource[qosRule] {
	nothing := func(func(qosRule) bool) {}
	attrs := []Attr[qosRule]{
		{Name: "id", Get: func(_ *view, r *qosRule) any { return string(r.ID) }},
		{Name: "tenant_id", Parse: text(255), Post: true},
		{Name: "project_id", Parse: text(255), Post: true},
		{Name: "qos_policy_id", Get: func(_ *view, r *qosRule) any { return string(r.Policy) }, Parse: text(255), Post: true, See: hidden},
		{Name: s.value, Get: func(_ *view, r *qosRule) any { return r.Value }, Parse: s.parse(), Post: true, Put: true, Required: true},
	}
	if s.burst != "" {
		attrs = append(attrs, Attr[qosRule]{Name: s.burst, Get: func(_ *view, r *qosRule) any { return r.Burst },
			Parse: integer(0, qosCosts), Default: 0, Post: true, Put: true})
	}
	if s.directions != nil {
		attrs = append(attrs, Attr[qosRule]{Name: "direction", Get: func(_ *view, r *qosRule) any { return string(r.Direction) },
			Parse: oneOf(s.directions...), Default: string(model.Egress), Post: true, Put: true})
	}
	return Resource[qosRule]{
		name: name, plural: name + "s",
		id:  func(r *qosRule) string { return string(r.ID) },
		std: func(r *qosRule) *model.Std { return &r.std },
		get: s.get,
		put: func(*store.Txn, qosRule) error { return nil }, // build and update have changed the policy
		// Lists are below a policy, so the lookups serve them.
		from:  func(store.Reader, string) iter.Seq[qosRule] { return nothing },
		scope: func(*view) iter.Seq[qosRule] { return nothing },
		gone: func(id string) *Error {
			return fail(http.StatusNotFound, "QosRuleNotFound", "QoS rule %s could not be found.", id)
		},
		lookups: []lookup[qosRule]{{attr: "qos_policy_id", by: s.of}},
		sees: func(v *view, r *qosRule) bool {
			_, err := qosPolicies.find(v, string(r.Policy))
			return err == nil
		},
		create: adminOnly, change: adminOnly, remove: adminOnly,
		build: s.build, update: s.update, delete: deleteQosRule,
		attrs: attrs,
	}
}

func (s *qosSpec) parse() parser {
	number := integer(0, qosCosts)
	if s.marks == nil {
		return number
	}
	return func(v any) (any, error) {
		n, err := number(v)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(s.marks, n.(int)) {
			return nil, because("'%d' is not in %s", n, marksText())
		}
		return n, nil
	}
}

func marksText() string {
	b := []byte{'['}
	for i, m := range dscpMarks {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = strconv.AppendInt(b, int64(m), 10)
	}
	return string(append(b, ']'))
}

func (s *qosSpec) get(r store.Reader, id string) (qosRule, bool) {
	p, ok := tables.QosPoliciesByRule.First(r, id)
	if !ok {
		return qosRule{}, false
	}
	i := ruleAt(&p, model.QosRuleID(id))
	return qosRule{p.Rules[i], p.ID, p.Std}, p.Rules[i].Kind == s.kind
}

func ruleAt(p *model.QosPolicy, id model.QosRuleID) int {
	return slices.IndexFunc(p.Rules, func(r model.QosRule) bool { return r.ID == id })
}

func (s *qosSpec) of(r store.Reader, policy string) iter.Seq[qosRule] {
	return func(yield func(qosRule) bool) {
		p, _ := tables.QosPolicies.Get(r, model.QosPolicyID(policy))
		for _, x := range p.Rules {
			if x.Kind == s.kind && !yield(qosRule{x, p.ID, p.Std}) {
				return
			}
		}
	}
}

func (s *qosSpec) build(w *work, in *values) (qosRule, error) {
	p, err := qosPolicies.find(&w.view, get[string](in, "qos_policy_id"))
	if err != nil {
		return qosRule{}, err
	}
	r := model.QosRule{ID: model.QosRuleID(alloc.NewUUID()), Kind: s.kind, Value: get[int](in, s.value), Direction: model.Direction(get[string](in, "direction"))}
	if s.burst != "" {
		r.Burst = get[int](in, s.burst)
	}
	if err := checkQosRule(&p, &r); err != nil {
		return qosRule{}, err
	}
	if !s.carried {
		if err := w.checkUnkept(&p, s.kind); err != nil {
			return qosRule{}, err
		}
	}
	p.Rules = append(slices.Clone(p.Rules), r)
	return w.putQosRule(p, r), nil
}

func (s *qosSpec) update(w *work, old qosRule, in *values) (qosRule, error) {
	p, _ := tables.QosPolicies.Get(w.tx, old.Policy)
	r := old.QosRule
	set(in, s.value, &r.Value)
	if s.burst != "" {
		set(in, s.burst, &r.Burst)
	}
	if in.has("direction") {
		r.Direction = model.Direction(get[string](in, "direction"))
	}
	if err := checkQosRule(&p, &r); err != nil {
		return old, err
	}
	p.Rules = slices.Clone(p.Rules)
	p.Rules[ruleAt(&p, r.ID)] = r
	return w.putQosRule(p, r), nil
}

// putQosRule stores the policy whose rule has changed.
func (w *work) putQosRule(p model.QosPolicy, r model.QosRule) qosRule {
	w.touch(&p.Std)
	tables.QosPolicies.Put(w.tx, p.ID, p)
	return qosRule{r, p.ID, p.Std}
}

func deleteQosRule(w *work, r qosRule) error {
	p, _ := tables.QosPolicies.Get(w.tx, r.Policy)
	p.Rules = slices.DeleteFunc(slices.Clone(p.Rules), func(x model.QosRule) bool { return x.ID == r.ID })
	w.putQosRule(p, r.QosRule)
	return nil
}

// checkQosRule refuses a rule that says the same as another, or contradicts it.
func checkQosRule(p *model.QosPolicy, r *model.QosRule) error {
	for _, x := range p.Rules {
		if x.ID == r.ID {
			continue
		}
		both := x.Direction == model.QosAny || r.Direction == model.QosAny
		switch {
		case x.Kind == r.Kind && (x.Direction == r.Direction || both):
			return conflict("QoSRulesConflict", "Rule %s conflicts with rule %s which already exists in QoS Policy %s.", r.Kind, x.ID, p.ID)
		case x.Direction != r.Direction:
		case x.Kind == model.QosMinBandwidth && r.Kind == model.QosBandwidthLimit && x.Value > r.Value,
			x.Kind == model.QosBandwidthLimit && r.Kind == model.QosMinBandwidth && x.Value < r.Value,
			x.Kind == model.QosMinPacketRate && r.Kind == model.QosPacketRateLimit && x.Value > r.Value,
			x.Kind == model.QosPacketRateLimit && r.Kind == model.QosMinPacketRate && x.Value < r.Value:
			return conflict("QoSRuleParameterConflict", "Unable to add the rule with value %d to the policy %s as the existing rule of type %s has value %d.",
				r.Value, p.ID, x.Kind, x.Value)
		}
	}
	return nil
}

// checkUnkept refuses a rule that the data plane does not carry in a policy of bound ports, as Neutron does where a port's
// driver does not.
func (w *work) checkUnkept(p *model.QosPolicy, k model.QosKind) error {
	for q := range tables.PortsByQosPolicy.By(w.tx, string(p.ID)) {
		if w.bound(&q) {
			return ruleNotSupported(k, q.ID)
		}
	}
	for n := range tables.NetworksByQosPolicy.By(w.tx, string(p.ID)) {
		for q := range tables.PortsByNetwork.By(w.tx, string(n.ID)) {
			if q.QosPolicy == "" && w.bound(&q) {
				return ruleNotSupported(k, q.ID)
			}
		}
	}
	return nil
}

// rulesOfPolicy shows a policy's rules, of all kinds.
func rulesOfPolicy(_ *view, p *model.QosPolicy) any {
	out := make([]any, 0, len(p.Rules))
	for _, r := range p.Rules {
		s := specOf(r.Kind)
		m := map[string]any{"id": string(r.ID), "type": string(r.Kind), "qos_policy_id": string(p.ID), s.value: r.Value}
		if s.burst != "" {
			m[s.burst] = r.Burst
		}
		if s.directions != nil {
			m["direction"] = string(r.Direction)
		}
		out = append(out, m)
	}
	return out
}
