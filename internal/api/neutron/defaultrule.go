// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"iter"
	"net/http"
	"slices"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

var defaultRules = new(Resource[model.DefaultRule])

// builtInRules are the rules that new groups begin with where nobody said otherwise, in order of their ids: instances may send anything, and
// the wearers of a project's default group may reach each other. A record with such an id marks the rule as deleted.
var builtInRules = []model.DefaultRule{
	builtIn("6e616761-7265-4000-8000-000000000001", model.Egress, model.EtherIPv4),
	builtIn("6e616761-7265-4000-8000-000000000002", model.Egress, model.EtherIPv6),
	builtIn("6e616761-7265-4000-8000-000000000003", model.Ingress, model.EtherIPv4),
	builtIn("6e616761-7265-4000-8000-000000000004", model.Ingress, model.EtherIPv6),
}

func builtIn(id model.DefaultRuleID, d model.Direction, ether string) model.DefaultRule {
	r := model.DefaultRule{ID: id, RulePlane: model.RulePlane{Direction: d, Ethertype: ether}, InDefault: true, InOthers: d == model.Egress}
	r.Description = "Built-in rule for " + string(d) + " traffic"
	if d == model.Ingress {
		r.RemoteGroup = model.ParentGroup
	}
	return r
}

// defaultRulesByUse finds the records for projects' default groups or for others, and by content those that say the same.
var (
	defaultRulesByUse = store.DeclareIndex(tables.Schema, tables.DefaultRules, "use", func(r model.DefaultRule) []string {
		return templates(&r, "")
	})
	defaultRulesByContent = store.DeclareIndex(tables.Schema, tables.DefaultRules, "content", func(r model.DefaultRule) []string {
		return templates(&r, ruleContent(&r.RulePlane))
	})
)

// templates are the sets of rules that a rule is in, each with a suffix.
func templates(r *model.DefaultRule, suffix string) (out []string) {
	if r.InDefault && !r.Gone {
		out = append(out, "default"+suffix)
	}
	if r.InOthers && !r.Gone {
		out = append(out, "others"+suffix)
	}
	return out
}

func init() {
	declare(part{extensions: []extension{
		{"security-groups-default-rules", "Default rules for security groups", "Configure set of security group rules used as default rules for every new security group", "2022-12-19T10:00:00-00:00"},
		{"security-groups-rules-belongs-to-default-sg", "Security group rule belongs to the project's default security group",
			"Flag to determine if the security group rule belongs to the project's default security group", "2023-05-23T10:00:00-00:00"},
	}})
	rules.extend(Attr[model.SecurityGroupRule]{Name: "belongs_to_default_sg", Bool: true, NoSort: true, Get: func(v *view, r *model.SecurityGroupRule) any {
		g, _ := tables.SecurityGroups.Get(v.r, r.Group)
		return g.Default
	}})
	type rule = model.DefaultRule
	defaultRules.declare(Resource[rule]{
		name: "default_security_group_rule", plural: "default_security_group_rules", path: "default-security-group-rules",
		id: func(r *rule) string { return string(r.ID) }, std: func(r *rule) *model.Std { return &r.Std },
		get:  getDefaultRule,
		put:  func(tx *store.Txn, r rule) error { tables.DefaultRules.Put(tx, r.ID, r); return nil },
		from: defaultRulesFrom,
		gone: func(id string) *Error {
			return fail(http.StatusNotFound, "DefaultSecurityGroupRuleNotFound", "Default Security Group rule %s does not exist", id)
		},
		lookups: []lookup[rule]{{attr: "id", by: func(r store.Reader, id string) iter.Seq[rule] {
			return func(yield func(rule) bool) {
				if o, ok := getDefaultRule(r, id); ok {
					yield(o)
				}
			}
		}}},
		scope:  func(v *view) iter.Seq[rule] { return defaultRulesFrom(v.r, "") },
		sees:   func(*view, *rule) bool { return true },
		create: adminOnly, remove: adminOnly,
		build: buildDefaultRule,
		delete: func(w *work, r rule) error {
			if slices.ContainsFunc(builtInRules, func(b rule) bool { return b.ID == r.ID }) {
				tables.DefaultRules.Put(w.tx, r.ID, rule{ID: r.ID, Gone: true})
				return nil
			}
			tables.DefaultRules.Delete(w.tx, r.ID)
			return nil
		},
		attrs: []Attr[rule]{
			{Name: "id", Get: func(_ *view, r *rule) any { return string(r.ID) }},
			// Taken and not kept, as clients send them with every object.
			{Name: "tenant_id", Parse: text(255), Post: true},
			{Name: "project_id", Parse: text(255), Post: true},
			{Name: "description", Get: func(_ *view, r *rule) any { return r.Description }, Parse: textOrNull(255), Default: "", Post: true},
			{Name: "ethertype", Get: func(_ *view, r *rule) any { return r.Ethertype }, Parse: ethertype, Default: model.EtherIPv4, Post: true},
			{Name: "direction", Get: func(_ *view, r *rule) any { return string(r.Direction) }, Parse: oneOf("ingress", "egress"), Post: true, Required: true},
			{Name: "protocol", Get: func(_ *view, r *rule) any { return nullText(r.Protocol) }, Parse: protocol, Post: true},
			{Name: "port_range_min", Get: func(_ *view, r *rule) any { return nullInt(r.PortMin) }, Parse: portValue, Post: true},
			{Name: "port_range_max", Get: func(_ *view, r *rule) any { return nullInt(r.PortMax) }, Parse: portValue, Post: true},
			{Name: "remote_ip_prefix", Get: func(_ *view, r *rule) any { return prefixOrNull(r.RemotePrefix) }, Parse: remotePrefix, Post: true},
			{Name: "remote_group_id", Get: func(_ *view, r *rule) any { return nullText(string(r.RemoteGroup)) }, Parse: orNull(parentOrUUID), Post: true},
			{Name: "remote_address_group_id", Get: func(_ *view, r *rule) any { return nullText(string(r.RemoteAddressGroup)) }, Parse: orNull(uuidText), Post: true},
			{Name: "used_in_default_sg", Get: func(_ *view, r *rule) any { return r.InDefault }, Parse: boolean, Post: true, Required: true, Bool: true},
			{Name: "used_in_non_default_sg", Get: func(_ *view, r *rule) any { return r.InOthers }, Parse: boolean, Post: true, Required: true, Bool: true},
		},
	})
}

func parentOrUUID(v any) (any, error) {
	if v == string(model.ParentGroup) {
		return v, nil
	}
	return uuidText(v)
}

func getDefaultRule(r store.Reader, id string) (model.DefaultRule, bool) {
	if o, ok := tables.DefaultRules.Get(r, model.DefaultRuleID(id)); ok {
		return o, !o.Gone
	}
	for _, b := range builtInRules {
		if string(b.ID) == id {
			return b, true
		}
	}
	return model.DefaultRule{}, false
}

// defaultRulesFrom yields records and built-in rules in order of ids.
func defaultRulesFrom(r store.Reader, id string) iter.Seq[model.DefaultRule] {
	return func(yield func(model.DefaultRule) bool) {
		rest := builtInRules
		for len(rest) > 0 && string(rest[0].ID) < id {
			rest = rest[1:]
		}
		for _, o := range tables.DefaultRules.From(r, model.DefaultRuleID(id)) {
			for ; len(rest) > 0 && rest[0].ID <= o.ID; rest = rest[1:] {
				if rest[0].ID < o.ID && !yield(rest[0]) {
					return
				}
			}
			if !o.Gone && !yield(o) {
				return
			}
		}
		for _, b := range rest {
			if !yield(b) {
				return
			}
		}
	}
}

// template yields the rules that a new group begins with, those that are built in first.
func template(r store.Reader, isDefault bool) iter.Seq[model.DefaultRule] {
	use := "others"
	if isDefault {
		use = "default"
	}
	return func(yield func(model.DefaultRule) bool) {
		for _, b := range builtInRules {
			if _, there := getDefaultRule(r, string(b.ID)); there && slices.Contains(templates(&b, ""), use) && !yield(b) {
				return
			}
		}
		for o := range defaultRulesByUse.By(r, use) {
			if !yield(o) {
				return
			}
		}
	}
}

func buildDefaultRule(w *work, in *values) (model.DefaultRule, error) {
	r := model.DefaultRule{Std: w.newStd(in, 0), InDefault: get[bool](in, "used_in_default_sg"), InOthers: get[bool](in, "used_in_non_default_sg")}
	r.Project = ""
	var err error
	if r.RulePlane, err = rulePlane(in); err != nil {
		return r, err
	}
	content := ruleContent(&r.RulePlane)
	for _, key := range templates(&r, content) {
		old, dup := defaultRulesByContent.First(w.tx, key)
		for _, b := range builtInRules {
			if _, there := getDefaultRule(w.tx, string(b.ID)); there && slices.Contains(templates(&b, ruleContent(&b.RulePlane)), key) {
				old, dup = b, true
			}
		}
		if dup {
			return r, conflict("DefaultSecurityGroupRuleExists", "Default Security group rule already exists. Rule id is %s.", old.ID)
		}
	}
	r.ID = model.DefaultRuleID(alloc.NewUUID())
	tables.DefaultRules.Put(w.tx, r.ID, r)
	return r, nil
}

// firstRules gives a new group the rules that it begins with. One about a group that is no longer there would allow nothing and is left out.
func (w *work) firstRules(g *model.SecurityGroup) error {
	for r := range template(w.tx, g.Default) {
		plane := r.RulePlane
		if plane.RemoteGroup == model.ParentGroup {
			plane.RemoteGroup = g.ID
		}
		if plane.RemoteGroup != "" {
			if _, ok := tables.SecurityGroups.Get(w.tx, plane.RemoteGroup); !ok {
				continue
			}
		}
		if plane.RemoteAddressGroup != "" {
			if _, ok := tables.AddressGroups.Get(w.tx, plane.RemoteAddressGroup); !ok {
				continue
			}
		}
		if err := w.addRule(g, plane); err != nil {
			return err
		}
	}
	return nil
}
