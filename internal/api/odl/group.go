// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"iter"

	"nagare/internal/api/jsonbody"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// defaultName is the name of the group that every project has, and no other.
const defaultName = "default"

// groups are security groups. Their rules are objects by themselves. Those inside a new group are taken too, since the default
// ones come so first; those inside an update, or a create of a group that is there, are not: the list may be older than the removal of a rule, and would bring it back.
var groups = &core[model.SecurityGroup]{
	kind: "security_group", plural: "security_groups",
	id:  groupID,
	std: groupStd,
	get: func(r store.Reader, id string) (model.SecurityGroup, bool) {
		return tables.SecurityGroups.Get(r, model.SecurityGroupID(id))
	},
	from: func(r store.Reader, id string) iter.Seq[model.SecurityGroup] {
		return records(tables.SecurityGroups.From(r, model.SecurityGroupID(id)))
	},
	lookups: []lookup[model.SecurityGroup]{
		{"id", one(tables.SecurityGroups)}, {"name", tables.GroupsByName.By},
		{"tenant_id", tables.GroupsByProject.By}, {"project_id", tables.GroupsByProject.By},
	},
	read: func(in *input) model.SecurityGroup {
		g := model.SecurityGroup{ID: model.SecurityGroupID(in.id), Std: in.std()}
		g.Stateful = in.boolean("stateful", true)
		g.Default = g.Name == defaultName
		return g
	},
	put: func(w *work, g, _ *model.SecurityGroup) error {
		tables.SecurityGroups.Put(w.tx, g.ID, *g)
		return nil
	},
	drop: func(w *work, g *model.SecurityGroup) error {
		tables.SecurityGroups.Delete(w.tx, g.ID) // what rules it has left hold for nobody
		w.unshare(sharedGroup, string(g.ID), nil)
		return nil
	},
	parts: func(in *input) []part {
		return append(readRules(in), readShared(in, sharedGroup, func(r store.Reader, id string) model.ProjectID {
			g, _ := tables.SecurityGroups.Get(r, model.SecurityGroupID(id))
			return g.Project
		}))
	},
	attrs: append(stdAttrs(groupID, groupStd), []attr[model.SecurityGroup]{
		{name: "stateful", get: func(_ *env, g *model.SecurityGroup) any { return g.Stateful }},
		sharedAttr(sharedGroup, groupID),
		{name: "security_group_rules", get: groupRules},
	}...),
}

func groupID(g *model.SecurityGroup) string      { return string(g.ID) }
func groupStd(g *model.SecurityGroup) *model.Std { return &g.Std }

// groupRules are the rules of a group, whole.
func groupRules(e *env, g *model.SecurityGroup) any {
	b := jsonbody.Raw{'['}
	for r := range tables.RulesByGroup.By(e.r, string(g.ID)) {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = rules.append(b, e, &r, nil)
	}
	return append(b, ']')
}

// readRules reads the rules inside a group.
func readRules(in *input) []part {
	var out []part
	for _, v := range in.list("security_group_rules") {
		if m, ok := v.(map[string]any); ok && m["security_group_id"] == nil {
			m["security_group_id"] = in.id
		}
		it, err := rules.parse(v, "")
		if err != nil {
			if in.err == nil {
				in.err = err
			}
			return nil
		}
		if in.put {
			continue
		}
		out = append(out, func(w *work) error {
			if in.had {
				return nil
			}
			old, had := rules.get(w.tx, it.in.id)
			if had && it.in.rev != nil && *it.in.rev < old.RevisionNo {
				return nil
			}
			if !had {
				return rules.write(w, &it, nil)
			}
			return rules.write(w, &it, &old)
		})
	}
	return out
}
