// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"iter"
	"net/http"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/tables"
)

var statefulnesses = new(Resource[model.Statefulness])

func init() {
	const name = "security_groups_default_statefulness"
	declare(part{when: whereFiltered, extensions: []extension{
		{"security-groups-default-statefulness", "Security Groups Default Statefulness",
			"Allows configuring the default value of the 'stateful' attribute for new security groups, on a per-project or system-wide basis", "2026-04-13T00:00:00-00:00"},
	}})
	type state = model.Statefulness
	d := plain(tables.Statefulnesses, tables.StatefulnessesByProject, func(s *state) model.StatefulnessID { return s.ID }, func(s *state) *model.Std { return &s.Std })
	d.name, d.plural, d.path, d.when, d.cloudwide = name, name, "security-groups-default-statefulness", whereFiltered, true
	d.gone = func(id string) *Error {
		return fail(http.StatusNotFound, "SecurityGroupDefaultStatefulnessNotFound", "Security group default statefulness %s could not be found.", id)
	}
	d.create, d.change, d.remove = ownerManager, ownerManager, ownerManager
	d.scope = func(v *view) iter.Seq[state] {
		return tables.StatefulnessesByProject.By(v.r, string(v.who.ProjectID))
	}
	d.build = func(w *work, in *values) (state, error) {
		s := state{ID: model.StatefulnessID(alloc.NewUUID()), Std: w.newStd(in, 0), Stateful: get[bool](in, "stateful")}
		if _, dup := tables.StatefulnessesByProject.First(w.tx, string(s.Project)); dup {
			whose := string(s.Project)
			if whose == "" {
				whose = "system-wide"
			}
			return s, conflict("SecurityGroupDefaultStatefulnessAlreadyExists", "A security group default statefulness setting already exists for project '%s'.", whose)
		}
		tables.Statefulnesses.Put(w.tx, s.ID, s)
		return s, nil
	}
	d.update = func(_ *work, s state, in *values) (state, error) {
		set(in, "stateful", &s.Stateful)
		return s, nil
	}
	project := func(_ *view, s *state) any { return nullText(string(s.Project)) }
	d.attrs = []Attr[state]{
		{Name: "id", Get: func(_ *view, s *state) any { return string(s.ID) }},
		{Name: "tenant_id", Get: project, Parse: text(255), Post: true},
		{Name: "project_id", Get: project, Parse: text(255), Post: true},
		{Name: "stateful", Get: func(_ *view, s *state) any { return s.Stateful }, Parse: boolean, Default: true, Post: true, Put: true, Bool: true},
	}
	statefulnesses.declare(d)
}

// statefulByDefault is what a new group of a project is if its request does not say: as the project's setting has it, or that of all
// projects. Projects' default groups are stateful whatever it says, as Neutron's.
func (w *work) statefulByDefault(p model.ProjectID) bool {
	for _, whose := range []model.ProjectID{p, ""} {
		if s, ok := tables.StatefulnessesByProject.First(w.tx, string(whose)); ok {
			return s.Stateful
		}
	}
	return true
}
