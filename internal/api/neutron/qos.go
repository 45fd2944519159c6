// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"iter"
	"net/http"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

var qosPolicies = new(Resource[model.QosPolicy])

// What a policy promises rather than limits (qos-bw-minimum-ingress, qos-pps-minimum, port-resource-request) is stored and not
// kept, since placement is not ours; those extensions are not told of. Of what a policy says floating IPs and gateways heed the bandwidth.
func init() {
	declare(part{when: whereFiltered, extensions: []extension{
		{"qos", "Quality of Service", "The Quality of Service extension.", "2015-06-08T10:00:00-00:00"},
		{"qos-bw-limit-direction", "Direction for QoS bandwidth limit rule", "Allow to configure QoS bandwidth limit rule with specific direction: ingress or egress", "2017-04-10T10:00:00-00:00"},
		{"qos-default", "QoS default policy", "Expose the QoS default policy per project", "2017-04-06T10:00:00-00:00"},
		{"qos-port-network-policy", "QoS port network policy", "Expose the policy of a port's network in the port", "2019-11-29T10:00:00-00:00"},
		{"qos-pps", "QoS packet rate limit rule", "Limit how many packets a port may send and receive", "2021-06-02T10:00:00-00:00"},
		{"qos-rule-type-details", "Details of QoS rule types", "Expose details about QoS rule types supported by loaded backend drivers", "2017-06-22T10:00:00-00:00"},
		{"qos-rule-type-filter", "QoS rule type filter", "List the supported rule types, or all", "2021-12-16T10:00:00-00:00"},
		{"qos-rules-alias", "Ability to manipulate QoS rules without parent policy ID", "API to enable GET, PUT and DELETE operations on QoS rules without specifying policy ID", "2018-10-07T10:00:00-00:00"},
	}})
	qosPolicies.declare(Resource[model.QosPolicy]{
		name: "policy", plural: "policies", path: "qos/policies", when: whereFiltered,
		id:  func(p *model.QosPolicy) string { return string(p.ID) },
		std: func(p *model.QosPolicy) *model.Std { return &p.Std },
		get: func(r store.Reader, id string) (model.QosPolicy, bool) {
			return tables.QosPolicies.Get(r, model.QosPolicyID(id))
		},
		put: func(tx *store.Txn, p model.QosPolicy) error { tables.QosPolicies.Put(tx, p.ID, p); return nil },
		from: func(r store.Reader, id string) iter.Seq[model.QosPolicy] {
			return records(tables.QosPolicies.From(r, model.QosPolicyID(id)))
		},
		back: backwards(tables.QosPolicies),
		gone: func(id string) *Error {
			return fail(http.StatusNotFound, "QosPolicyNotFound", "QoS policy %s could not be found.", id)
		},
		lookups: []lookup[model.QosPolicy]{
			{attr: "id", by: one(tables.QosPolicies)},
			{attr: "name", in: tables.QosPoliciesByName},
			{attr: "project_id", in: tables.QosPoliciesByProject},
			{attr: "tenant_id", in: tables.QosPoliciesByProject},
		},
		scope: func(v *view) iter.Seq[model.QosPolicy] {
			return tables.QosPoliciesByProject.By(v.r, string(v.who.ProjectID))
		},
		sees:   func(v *view, p *model.QosPolicy) bool { return v.mine(p.Project) },
		shares: "qos_policy",
		create: adminOnly, change: adminOnly, remove: adminOnly,
		build: buildQosPolicy, update: updateQosPolicy, delete: deleteQosPolicy,
		below: qosRulesBelow(),
		attrs: append(stdAttrs(func(p *model.QosPolicy) string { return string(p.ID) }, func(p *model.QosPolicy) *model.Std { return &p.Std }, true),
			[]Attr[model.QosPolicy]{
				sharedAttr(qosPolicies, post, put),
				{Name: "is_default", Get: func(_ *view, p *model.QosPolicy) any { return p.Default }, Parse: boolean, Default: false, Post: true, Put: true, Bool: true},
				{Name: "rules", Get: rulesOfPolicy, NoFilter: true, NoSort: true},
			}...),
	})
	uses("qos-network", tables.Networks, func(n *model.Network) model.NetworkID { return n.ID }, func(_ store.Reader, n *model.Network) []store.Member {
		return used("qos_policy", string(n.QosPolicy), n.Project)
	})
	uses("qos-floatingip", tables.FloatingIPs, func(f *model.FloatingIP) model.FloatingIPID { return f.ID }, func(_ store.Reader, f *model.FloatingIP) []store.Member {
		return used("qos_policy", string(f.QosPolicy), f.Project)
	})
	uses("qos-router", tables.Routers, func(r *model.Router) model.RouterID { return r.ID }, func(_ store.Reader, r *model.Router) []store.Member {
		return used("qos_policy", string(r.GatewayQos), r.Project)
	})
	uses("qos-port", tables.Ports, func(p *model.Port) model.PortID { return p.ID }, func(_ store.Reader, p *model.Port) []store.Member {
		return used("qos_policy", string(p.QosPolicy), p.Project)
	})
}

// qosOfNetwork, qosOfPort and networkQosOfPort are the attributes by which networks and ports name policies.
func qosOfNetwork() Attr[model.Network] {
	return Attr[model.Network]{Name: "qos_policy_id", Get: func(_ *view, n *model.Network) any { return nullText(string(n.QosPolicy)) },
		Parse: orNull(uuidText), Default: projectDefault(true), Post: true, Put: true, Take: takeNetworkPolicy}
}

func qosOfPort() Attr[model.Port] {
	return Attr[model.Port]{Name: "qos_policy_id", Get: func(_ *view, p *model.Port) any { return nullText(string(p.QosPolicy)) },
		Parse: orNull(uuidText), Post: true, Put: true, Take: takePortPolicy}
}

func networkQosOfPort() Attr[model.Port] {
	return Attr[model.Port]{Name: "qos_network_policy_id", Get: func(v *view, p *model.Port) any {
		n, _ := tables.Networks.Get(v.r, p.Network)
		return nullText(string(n.QosPolicy))
	}}
}

func buildQosPolicy(w *work, in *values) (model.QosPolicy, error) {
	p := model.QosPolicy{ID: model.QosPolicyID(alloc.NewUUID()), Std: w.newStd(in, 0), Default: get[bool](in, "is_default")}
	if err := w.checkDefaultPolicy(&p); err != nil {
		return p, err
	}
	tables.QosPolicies.Put(w.tx, p.ID, p)
	return p, nil
}

func updateQosPolicy(w *work, p model.QosPolicy, in *values) (model.QosPolicy, error) {
	takeStd(in, &p.Std)
	set(in, "is_default", &p.Default)
	return p, w.checkDefaultPolicy(&p)
}

// checkDefaultPolicy: a project has one default policy.
func (w *work) checkDefaultPolicy(p *model.QosPolicy) error {
	if !p.Default {
		return nil
	}
	if d, ok := tables.DefaultQosPolicies.First(w.tx, string(p.Project)); ok && d.ID != p.ID {
		return conflict("QoSPolicyDefaultAlreadyExists", "A default QoS policy exists for project %s: %s.", p.Project, d.ID)
	}
	return nil
}

func deleteQosPolicy(w *work, p model.QosPolicy) error {
	const used = "QoS Policy %s is used by %s %s."
	if n, ok := tables.NetworksByQosPolicy.First(w.tx, string(p.ID)); ok {
		return conflict("QosPolicyInUse", used, p.ID, "network", n.ID)
	}
	if q, ok := tables.PortsByQosPolicy.First(w.tx, string(p.ID)); ok {
		return conflict("QosPolicyInUse", used, p.ID, "port", q.ID)
	}
	if f, ok := tables.FloatingIPsByQosPolicy.First(w.tx, string(p.ID)); ok {
		return conflict("QosPolicyInUse", used, p.ID, "fip", f.ID)
	}
	if r, ok := tables.RoutersByQosPolicy.First(w.tx, string(p.ID)); ok {
		return conflict("QosPolicyInUse", used, p.ID, "router", r.ID)
	}
	tables.QosPolicies.Delete(w.tx, p.ID)
	return nil
}

// projectDefault stands for a policy that the body of a create does not name: the project's default, if it has one.
type projectDefault bool

func takeNetworkPolicy(w *work, n *model.Network, in *values) error {
	if in.m["qos_policy_id"] == any(projectDefault(true)) {
		d, _ := tables.DefaultQosPolicies.First(w.tx, string(n.Project))
		n.QosPolicy = d.ID
		return nil
	}
	p, err := w.changePolicy(n.QosPolicy, get[string](in, "qos_policy_id"))
	if err != nil {
		return err
	}
	if p.ID != n.QosPolicy {
		if kind, some := unkept(&p); some {
			for q := range tables.PortsByNetwork.By(w.tx, string(n.ID)) {
				if q.QosPolicy == "" && w.bound(&q) {
					return ruleNotSupported(kind, q.ID)
				}
			}
		}
	}
	n.QosPolicy = p.ID
	return w.metersOn(n)
}

func takePortPolicy(w *work, q *model.Port, in *values) error {
	p, err := w.changePolicy(q.QosPolicy, get[string](in, "qos_policy_id"))
	if err != nil {
		return err
	}
	if kind, some := unkept(&p); some && p.ID != q.QosPolicy && w.bound(q) {
		return ruleNotSupported(kind, q.ID)
	}
	q.QosPolicy = p.ID
	return nil
}

// changePolicy gives the policy that comes in place of another; "" is none. Who may not use the other may not take it away, so
// that an administrator's limits stay.
func (w *work) changePolicy(old model.QosPolicyID, id string) (p model.QosPolicy, err error) {
	if id != "" {
		if p, err = qosPolicies.find(&w.view, id); err != nil {
			return p, err
		}
	}
	if old == "" || old == p.ID {
		return p, nil
	}
	if _, err := qosPolicies.find(&w.view, string(old)); err != nil {
		return p, fail(http.StatusForbidden, "PolicyRemoveAuthorizationError", "Failed to remove provided policy %s because you are not authorized.", old)
	}
	return p, nil
}

// bound reports whether a port is where the rules of its policy must hold; Neutron checks them for no other.
func (w *work) bound(p *model.Port) bool { return vifType(&w.view, p) == "ovs" }

// unkept finds a rule of a kind that the data plane does not carry.
func unkept(p *model.QosPolicy) (model.QosKind, bool) {
	for _, r := range p.Rules {
		if s := specOf(r.Kind); !s.carried {
			return r.Kind, true
		}
	}
	return "", false
}

func ruleNotSupported(k model.QosKind, p model.PortID) error {
	return conflict("QosRuleNotSupported", "Rule %s is not supported by port %s", k, p)
}
