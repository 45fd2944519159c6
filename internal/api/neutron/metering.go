// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"iter"
	"net/http"
	"net/netip"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

var (
	meteringLabels = new(Resource[model.MeteringLabel])
	meteringRules  = new(Resource[model.MeteringRule])
)

// sharedLabels are those that every project sees, under tables.All. Their rules are seen with them.
var sharedLabels = store.DeclareIndex(tables.Schema, tables.MeteringLabels, "shared", func(l model.MeteringLabel) []string {
	if !l.Shared {
		return nil
	}
	return []string{tables.All}
})

// maxMeteringRules bounds the rules of a label, which are all compared with a new one.
const maxMeteringRules = 1000

func init() {
	declare(part{when: whereStored, extensions: []extension{
		{"metering", "Neutron Metering", "Neutron Metering extension.", "2013-06-12T10:00:00-00:00"},
		{"metering_source_and_destination_fields", "Neutron Metering with source and destination filtering",
			"Neutron Metering extension that enables the use of source and destination IP prefixes to create metering label rules.", "2020-08-21T08:12:00-00:00"},
	}})
	labelID := func(l *model.MeteringLabel) string { return string(l.ID) }
	labelStd := func(l *model.MeteringLabel) *model.Std { return &l.Std }
	d := plain(tables.MeteringLabels, tables.MeteringLabelsByProject, func(l *model.MeteringLabel) model.MeteringLabelID { return l.ID }, labelStd)
	d.name, d.plural, d.path, d.when = "metering_label", "metering_labels", "metering/metering-labels", whereStored
	d.gone = func(id string) *Error {
		return fail(http.StatusNotFound, "MeteringLabelNotFound", "Metering label '%s' does not exist.", id)
	}
	d.lookups = append(d.lookups, lookup[model.MeteringLabel]{attr: "name", in: tables.MeteringLabelsByName})
	d.sees = func(v *view, l *model.MeteringLabel) bool { return l.Shared || v.mine(l.Project) }
	d.scope = func(v *view) iter.Seq[model.MeteringLabel] {
		return both(tables.MeteringLabelsByProject.By(v.r, string(v.who.ProjectID)), sharedLabels.By(v.r, tables.All))
	}
	d.create, d.remove = adminOnly, adminOnly
	d.build = func(w *work, in *values) (model.MeteringLabel, error) {
		l := model.MeteringLabel{ID: model.MeteringLabelID(alloc.NewUUID()), Std: w.newStd(in, 0), Shared: get[bool](in, "shared")}
		tables.MeteringLabels.Put(w.tx, l.ID, l)
		return l, nil
	}
	d.delete = func(w *work, l model.MeteringLabel) error {
		for u := range tables.MeteringRulesByLabel.By(w.tx, string(l.ID)) {
			tables.MeteringRules.Delete(w.tx, u.ID)
		}
		tables.MeteringLabels.Delete(w.tx, l.ID)
		return nil
	}
	d.attrs = append(bareAttrs(labelID, labelStd, true, false),
		Attr[model.MeteringLabel]{Name: "shared", Get: func(_ *view, l *model.MeteringLabel) any { return l.Shared }, Parse: boolean, Default: false, Post: true, Bool: true})
	meteringLabels.declare(d)
	declareMeteringRules()
}

func declareMeteringRules() {
	d := plain(tables.MeteringRules, tables.MeteringRulesByProject, func(u *model.MeteringRule) model.MeteringRuleID { return u.ID },
		func(u *model.MeteringRule) *model.Std { return &u.Std })
	d.name, d.plural, d.path, d.when = "metering_label_rule", "metering_label_rules", "metering/metering-label-rules", whereStored
	d.gone = func(id string) *Error {
		return fail(http.StatusNotFound, "MeteringLabelRuleNotFound", "Metering label rule '%s' does not exist.", id)
	}
	d.lookups = []lookup[model.MeteringRule]{d.lookups[0], {attr: "metering_label_id", in: tables.MeteringRulesByLabel}}
	d.sees = func(v *view, u *model.MeteringRule) bool {
		l, ok := tables.MeteringLabels.Get(v.r, u.Label)
		return v.mine(u.Project) || ok && l.Shared
	}
	d.scope = func(v *view) iter.Seq[model.MeteringRule] {
		return both(tables.MeteringRulesByProject.By(v.r, string(v.who.ProjectID)), func(yield func(model.MeteringRule) bool) {
			for l := range sharedLabels.By(v.r, tables.All) {
				for u := range tables.MeteringRulesByLabel.By(v.r, string(l.ID)) {
					if !yield(u) {
						return
					}
				}
			}
		})
	}
	d.create, d.remove, d.build = adminOnly, adminOnly, buildMeteringRule
	prefix := func(name string, of func(*model.MeteringRule) netip.Prefix) Attr[model.MeteringRule] {
		return Attr[model.MeteringRule]{Name: name, Get: func(_ *view, u *model.MeteringRule) any { return prefixOrNull(of(u)) }, Parse: meteredPrefix(name), Post: true}
	}
	d.attrs = []Attr[model.MeteringRule]{
		{Name: "id", Get: func(_ *view, u *model.MeteringRule) any { return string(u.ID) }},
		{Name: "metering_label_id", Get: func(_ *view, u *model.MeteringRule) any { return string(u.Label) }, Parse: uuidText, Post: true, Required: true},
		{Name: "direction", Get: func(_ *view, u *model.MeteringRule) any { return string(u.Direction) }, Parse: oneOf("ingress", "egress"), Post: true, Required: true},
		{Name: "excluded", Get: func(_ *view, u *model.MeteringRule) any { return u.Excluded }, Parse: boolean, Default: false, Post: true, Bool: true},
		prefix("remote_ip_prefix", func(u *model.MeteringRule) netip.Prefix { return u.Remote }),
		prefix("source_ip_prefix", func(u *model.MeteringRule) netip.Prefix { return u.Source }),
		prefix("destination_ip_prefix", func(u *model.MeteringRule) netip.Prefix { return u.Destination }),
		// Neutron shows a rule's project nowhere: it is its label's.
		{Name: "tenant_id", Parse: text(255), Post: true},
		{Name: "project_id", Parse: text(255), Post: true},
	}
	meteringRules.declare(d)
}

// meteredPrefix takes an address or a prefix, with host bits as given; null and "" are any.
func meteredPrefix(name string) parser {
	return func(v any) (any, error) {
		if v == nil || v == "" {
			return netip.Prefix{}, nil
		}
		p, err := remotePrefix(v)
		if err != nil {
			return nil, fail(http.StatusBadRequest, "Invalid", "%s: %s is invalid ['%s' does not appear to be an IPv4 or IPv6 interface].", name, show(v), show(v))
		}
		return p, nil
	}
}

func buildMeteringRule(w *work, in *values) (model.MeteringRule, error) {
	u := model.MeteringRule{ID: model.MeteringRuleID(alloc.NewUUID()), Std: w.newStd(in, 0), Direction: model.Direction(get[string](in, "direction")),
		Excluded: get[bool](in, "excluded"), Remote: get[netip.Prefix](in, "remote_ip_prefix"),
		Source: get[netip.Prefix](in, "source_ip_prefix"), Destination: get[netip.Prefix](in, "destination_ip_prefix")}
	invalid := func(message string) error { return fail(http.StatusBadRequest, "Invalid", "%s", message) }
	switch {
	case u.Remote.IsValid() && (u.Source.IsValid() || u.Destination.IsValid()):
		return u, invalid("Cannot use 'remote-ip-prefix' in conjunction with 'source-ip-prefix' or 'destination-ip-prefix'.")
	case !u.Remote.IsValid() && !u.Source.IsValid() && !u.Destination.IsValid():
		return u, invalid("You must define at least one of the following parameters 'remote_ip_prefix', or 'source_ip_prefix' or 'destination_ip_prefix'.")
	}
	l, err := meteringLabels.find(&w.view, get[string](in, "metering_label_id"))
	if err != nil {
		return u, err
	}
	u.Label, u.Project = l.ID, l.Project
	n := 0
	for o := range tables.MeteringRulesByLabel.By(w.tx, string(l.ID)) {
		if n++; n >= maxMeteringRules {
			return u, conflict("OverQuota", "Metering label %s has %d rules, as many as a label may have.", l.ID, n)
		}
		if o.Direction == u.Direction && o.Excluded == u.Excluded && o.Remote.IsValid() && u.Remote.IsValid() && o.Remote.Masked().Overlaps(u.Remote.Masked()) {
			return u, conflict("MeteringLabelRuleOverlaps", "Metering label rule with remote_ip_prefix '%s' overlaps another.", u.Remote)
		}
	}
	tables.MeteringRules.Put(w.tx, u.ID, u)
	return u, nil
}
