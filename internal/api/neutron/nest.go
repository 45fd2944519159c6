// SPDX-License-Identifier: Apache-2.0

package neutron

import "nagare/internal/model"

// under is the object below whose path a request is.
type under struct {
	child   any    // the *Resource that answers
	attr    string // of the child: the parent's id
	id      string
	project model.ProjectID // of the parent
	find    func(v *view) error
}

// nest serves the objects of child below those of parent: /{parents}/{id}/{name} and one path segment more, as an element of the
// parent's below. The child's attribute attr is the parent's id; it comes from the path and is no part of bodies. Children below
// a parent that the caller does not see, or below another than their own, are not found, and who may write a child is
// judged by the parent's project, whatever the caller's. The child need not have a path of its own.
func nest[P, C any](parent *Resource[P], child *Resource[C], attr string) func(rq *request, id string, rest []string) error {
	return func(rq *request, id string, rest []string) error {
		v := rq.view(rq.api.store.Snapshot())
		o, err := parent.find(v, id)
		if err != nil {
			return err
		}
		rq.under = &under{child: child, attr: attr, id: id, project: parent.std(&o).Project, find: func(v *view) error {
			_, err := parent.find(v, id)
			return err
		}}
		return child.serve(rq, rest)
	}
}

// foreign reports whether a request below a parent's path is about an object of another parent.
func (rs *Resource[T]) foreign(v *view, o *T) bool {
	u := v.under
	return u != nil && u.child == any(rs) && !equalText(rs.byName[u.attr].Get(v, o), u.id)
}
