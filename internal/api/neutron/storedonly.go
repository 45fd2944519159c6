// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"iter"

	"nagare/internal/model"
	"nagare/internal/store"
)

// whereStored is the condition of parts that are only stored: no packet is treated otherwise because of them. A client that finds
// their extensions would rely on them, so they are there only where somebody asked for that, to test clients.
func whereStored(c *Config) bool { return c.StoredOnly }

// plain fills in what the resources of this kind have in common: objects of one table, seen by their project. The rest is added
// by the caller.
func plain[K ~string, T any](t *store.Table[K, T], byProject *store.Index[K, T], id func(*T) K, std func(*T) *model.Std) Resource[T] {
	return Resource[T]{
		id:   func(o *T) string { return string(id(o)) },
		std:  std,
		get:  func(r store.Reader, id string) (T, bool) { return t.Get(r, K(id)) },
		put:  func(tx *store.Txn, o T) error { t.Put(tx, id(&o), o); return nil },
		from: func(r store.Reader, id string) iter.Seq[T] { return records(t.From(r, K(id))) },
		back: backwards(t),
		sees: func(v *view, o *T) bool { return v.mine(std(o).Project) },
		scope: func(v *view) iter.Seq[T] {
			return byProject.By(v.r, string(v.who.ProjectID))
		},
		delete:  func(w *work, o T) error { t.Delete(w.tx, id(&o)); return nil },
		lookups: []lookup[T]{{attr: "id", by: one(t)}, {attr: "project_id", in: byProject}, {attr: "tenant_id", in: byProject}},
	}
}

// bareAttrs are the attributes of objects without the standard ones: id and project; named adds name and description, which
// an update may change if the resource has one.
func bareAttrs[T any](id func(*T) string, std func(*T) *model.Std, named, changed bool) []Attr[T] {
	project := func(_ *view, o *T) any { return string(std(o).Project) }
	out := []Attr[T]{{Name: "id", Get: func(_ *view, o *T) any { return id(o) }}}
	if named {
		out = append(out,
			Attr[T]{Name: "name", Get: func(_ *view, o *T) any { return std(o).Name }, Parse: text(255), Default: "", Post: true, Put: changed},
			Attr[T]{Name: "description", Get: func(_ *view, o *T) any { return std(o).Description }, Parse: textOrNull(1024), Default: "", Post: true, Put: changed})
	}
	return append(out,
		Attr[T]{Name: "tenant_id", Get: project, Parse: text(255), Post: true},
		Attr[T]{Name: "project_id", Get: project, Parse: text(255), Post: true})
}
