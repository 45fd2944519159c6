// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"iter"
	"strings"

	"nagare/internal/alloc"
	"nagare/internal/api/jsonbody"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

var groups = new(Resource[model.SecurityGroup])

// defaultName is the name of the group that every project has.
const defaultName = "default"

func init() {
	declare(part{extensions: []extension{
		{"security-group", "security-group", "The security groups extension.", "2012-10-05T10:00:00-00:00"},
	}})
	declare(part{when: whereFiltered, extensions: []extension{
		{"stateful-security-group", "Stateful security group", "Indicates if the security group is stateful or not", "2019-11-26T09:00:00-00:00"},
	}})
	groups.declare(Resource[model.SecurityGroup]{
		name: "security_group", plural: "security_groups", path: "security-groups",
		quota: atMost(10, tables.SecurityGroups, func(g *model.SecurityGroup) string { return string(g.ID) }),
		id:    func(g *model.SecurityGroup) string { return string(g.ID) },
		std:   func(g *model.SecurityGroup) *model.Std { return &g.Std },
		get: func(r store.Reader, id string) (model.SecurityGroup, bool) {
			return tables.SecurityGroups.Get(r, model.SecurityGroupID(id))
		},
		put: func(tx *store.Txn, g model.SecurityGroup) error { tables.SecurityGroups.Put(tx, g.ID, g); return nil },
		from: func(r store.Reader, id string) iter.Seq[model.SecurityGroup] {
			return records(tables.SecurityGroups.From(r, model.SecurityGroupID(id)))
		},
		back: backwards(tables.SecurityGroups),
		gone: groupNotFound,
		lookups: []lookup[model.SecurityGroup]{
			{attr: "id", by: one(tables.SecurityGroups)},
			{attr: "project_id", in: tables.GroupsByProject},
			{attr: "tenant_id", in: tables.GroupsByProject},
			{attr: "name", in: tables.GroupsByName},
		},
		scope: func(v *view) iter.Seq[model.SecurityGroup] {
			return tables.GroupsByProject.By(v.r, string(v.who.ProjectID))
		},
		sees:   func(v *view, g *model.SecurityGroup) bool { return v.mine(g.Project) },
		shares: "security_group",
		create: owner, change: owner, remove: owner,
		build: buildGroup, update: updateGroup, delete: deleteGroup,
		// Whoever looks finds his default group.
		missed: func(v *view) bool {
			_, ok := tables.DefaultGroups.First(v.r, string(v.who.ProjectID))
			return !ok && v.who.ProjectID != ""
		},
		before: func(w *work, v *view) error { _, err := w.defaultGroup(v.who.ProjectID); return err },
		attrs: append(stdAttrs(func(g *model.SecurityGroup) string { return string(g.ID) }, func(g *model.SecurityGroup) *model.Std { return &g.Std }, true),
			[]Attr[model.SecurityGroup]{
				{Name: "stateful", Get: func(_ *view, g *model.SecurityGroup) any { return g.Stateful }, Parse: boolean, Post: true, Put: true, Bool: true},
				sharedAttr(groups),
				{Name: "security_group_rules", Get: groupRules, NoFilter: true, NoSort: true},
			}...),
	})
}

// groupRules are the rules of a group, whole.
func groupRules(v *view, g *model.SecurityGroup) any {
	b := jsonbody.Raw{'['}
	attrs := rules.visible(v, nil)
	for r := range tables.RulesByGroup.By(v.r, string(g.ID)) {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = rules.append(b, v, &r, attrs)
	}
	return append(b, ']')
}

func buildGroup(w *work, in *values) (model.SecurityGroup, error) {
	g := model.SecurityGroup{Std: w.newStd(in, 1)}
	if strings.EqualFold(g.Name, defaultName) {
		return g, conflict("SecurityGroupDefaultAlreadyExists", "Default security group already exists.")
	}
	if _, err := w.defaultGroup(g.Project); err != nil {
		return g, err
	}
	g.ID, g.Stateful = model.SecurityGroupID(alloc.NewUUID()), w.statefulByDefault(g.Project)
	set(in, "stateful", &g.Stateful)
	tables.SecurityGroups.Put(w.tx, g.ID, g)
	return g, w.firstRules(&g)
}

func (w *work) addRule(g *model.SecurityGroup, plane model.RulePlane) error {
	plane.Group = g.ID
	r := model.SecurityGroupRule{ID: model.SecurityGroupRuleID(alloc.NewUUID()), RulePlane: plane,
		Std: model.Std{Project: g.Project, CreatedAt: w.now, UpdatedAt: w.now}}
	var err error
	if r.Key, err = alloc.NextKey(w.tx, alloc.Rule); err != nil {
		return err
	}
	tables.Rules.Put(w.tx, r.ID, r)
	return nil
}

// defaultGroup gives a project's default group, making it at first use.
func (w *work) defaultGroup(p model.ProjectID) (model.SecurityGroupID, error) {
	if g, ok := tables.DefaultGroups.First(w.tx, string(p)); ok {
		return g.ID, nil
	}
	g := model.SecurityGroup{ID: model.SecurityGroupID(alloc.NewUUID()), Default: true, SecurityGroupPlane: model.SecurityGroupPlane{Stateful: true},
		Std: model.Std{Project: p, Name: defaultName, Description: "Default security group", CreatedAt: w.now, UpdatedAt: w.now, RevisionNo: 1}}
	tables.SecurityGroups.Put(w.tx, g.ID, g)
	return g.ID, w.firstRules(&g)
}

func updateGroup(w *work, g model.SecurityGroup, in *values) (model.SecurityGroup, error) {
	name := g.Name
	takeStd(in, &g.Std)
	switch {
	case g.Default && g.Name != name:
		return g, conflict("SecurityGroupCannotUpdateDefault", "Updating default security group not allowed.")
	case !g.Default && g.Name != name && strings.EqualFold(g.Name, defaultName):
		return g, conflict("SecurityGroupDefaultAlreadyExists", "Default security group already exists.")
	}
	if stateful := g.Stateful; in.asked("stateful") {
		if set(in, "stateful", &g.Stateful); g.Stateful != stateful {
			if _, used := tables.PortsByGroup.First(w.tx, string(g.ID)); used {
				return g, conflict("SecurityGroupInUse", "Security Group %s in use.", g.ID)
			}
		}
	}
	return g, nil
}

func deleteGroup(w *work, g model.SecurityGroup) error {
	if _, used := tables.PortsByGroup.First(w.tx, string(g.ID)); used {
		return conflict("SecurityGroupInUse", "Security Group %s in use.", g.ID)
	}
	if g.Default && !w.admin {
		return conflict("SecurityGroupCannotRemoveDefault", "Insufficient rights for removing default security group.")
	}
	for r := range tables.RulesByGroup.By(w.tx, string(g.ID)) {
		tables.Rules.Delete(w.tx, r.ID)
	}
	for r := range tables.RulesByRemoteGroup.By(w.tx, string(g.ID)) {
		tables.Rules.Delete(w.tx, r.ID)
		w.touchGroup(r.Group)
	}
	tables.SecurityGroups.Delete(w.tx, g.ID)
	return nil
}

// touchGroup counts a change of a rule as one of its group.
func (w *work) touchGroup(id model.SecurityGroupID) {
	if g, ok := tables.SecurityGroups.Get(w.tx, id); ok {
		w.touch(&g.Std)
		tables.SecurityGroups.Put(w.tx, id, g)
	}
}
