// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"iter"
	"net/http"
	"reflect"
	"strings"

	"nagare/internal/api/jsonbody"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// core is a collection of objects of the model.
type core[T any] struct {
	kind, plural string // "security_group", "security_groups": the keys that wrap objects
	paged        bool   // answers limit and marker
	attrs        []attr[T]

	id   func(*T) string
	std  func(*T) *model.Std
	get  func(r store.Reader, id string) (T, bool)
	from func(r store.Reader, id string) iter.Seq[T] // in order of ids, from the first at or after id
	// lookups are the filters that an index serves, best first.
	lookups []lookup[T]

	read    func(in *input) T                     // the object that a body describes; of an update, as far as it says
	keep    func(now, old *T, in *input)          // gives an object what the body of a change leaves out; nil: nothing
	put     func(w *work, now *T, old *T) error   // allocates what the object needs and writes it; old is nil for a new one
	drop    func(w *work, old *T) error           // removes it
	misses  func(w *work, o *T, in *input) string // the parent that OpenDaylight would miss; "": none
	parts   func(in *input) []part                // objects inside the object that are stored with it; nil: none
	owned   []string                              // attributes that are ours to tell, whatever the client says
	actions []string                              // PUT /{id}/{action}, answered by what was sent
}

// attr is an attribute that the model holds. Get gives nil if the object does not have it.
type attr[T any] struct {
	name     string
	get      func(e *env, o *T) any
	fallback bool // what the client said counts only while we know nothing ourselves
}

// lookup serves the filter of an attribute from an index.
type lookup[T any] struct {
	attr string
	by   func(r store.Reader, value string) iter.Seq[T]
}

// env is what an answer is made from.
type env struct {
	*handler
	r store.Reader
}

// stdAttrs are the attributes that every object has.
func stdAttrs[T any](id func(*T) string, std func(*T) *model.Std) []attr[T] {
	return []attr[T]{
		{name: "id", get: func(_ *env, o *T) any { return id(o) }},
		{name: "name", get: func(_ *env, o *T) any { return std(o).Name }},
		{name: "description", get: func(_ *env, o *T) any { return std(o).Description }},
		{name: "tenant_id", get: func(_ *env, o *T) any { return string(std(o).Project) }},
		{name: "project_id", get: func(_ *env, o *T) any { return string(std(o).Project) }},
		{name: "tags", get: func(_ *env, o *T) any { return notNil(std(o).Tags) }},
		{name: "created_at", get: func(_ *env, o *T) any { return std(o).CreatedAt.UTC().Format("2006-01-02T15:04:05Z") }},
		{name: "updated_at", get: func(_ *env, o *T) any { return std(o).UpdatedAt.UTC().Format("2006-01-02T15:04:05Z") }},
		{name: "revision_number", get: func(_ *env, o *T) any { return std(o).RevisionNo }},
	}
}

func notNil(l []string) any {
	if l == nil {
		return []string{}
	}
	return l
}

// optional is nil for "".
func optional(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (c *core[T]) serve(rq *request, rest []string) error {
	m := rq.r.Method
	if m == http.MethodHead {
		m = http.MethodGet
	}
	switch {
	case len(rest) == 0:
		switch m {
		case http.MethodGet:
			return c.serveList(rq)
		case http.MethodPost:
			return c.serveCreate(rq)
		}
		return rq.allow("GET, POST")
	case len(rest) == 1:
		id, ok := canonical(rest[0])
		switch {
		case m != http.MethodGet && m != http.MethodPut && m != http.MethodDelete:
			return rq.allow("GET, PUT, DELETE")
		case !ok:
			return c.gone(rest[0])
		case m == http.MethodGet:
			return c.serveShow(rq, id)
		case m == http.MethodPut:
			return c.serveUpdate(rq, id)
		}
		return c.serveDelete(rq, id)
	case len(rest) == 2:
		for _, a := range c.actions {
			if a != rest[1] {
				continue
			}
			if m != http.MethodPut {
				return rq.allow("PUT")
			}
			body, err := rq.body()
			if err != nil {
				return err
			}
			return rq.answer(http.StatusOK, jsonbody.Append(nil, body))
		}
	}
	return notFound("There is nothing at %s", show(rq.r.URL.Path))
}

func (c *core[T]) gone(id string) error {
	name := strings.ToUpper(c.kind[:1]) + strings.ReplaceAll(c.kind[1:], "_", " ")
	return fail(http.StatusNotFound, typeName(c.kind)+"NotFound", "%s %s does not exist.", name, show(id))
}

// typeName is "SecurityGroup" for "security_group".
func typeName(kind string) string {
	var b strings.Builder
	for _, w := range strings.Split(kind, "_") {
		b.WriteString(strings.ToUpper(w[:1]) + w[1:])
	}
	return b.String()
}

// part stores an object that came inside another.
type part func(w *work) error

// item is one object of a body.
type item[T any] struct {
	o       T
	in      *input
	foreign model.Foreign
	has     bool // foreign is there
	parts   []part
}

// parse reads one object. Of an update, id is the path's.
func (c *core[T]) parse(v any, id string) (it item[T], err error) {
	m, ok := v.(map[string]any)
	if !ok {
		return it, badRequest("'%s' is not an object", c.kind)
	}
	in := &input{m: m, put: id != "", id: id}
	if in.put {
		delete(m, "id")
	} else if in.id = in.uuid("id"); in.id == "" && in.err == nil {
		in.bad("id", "it is missing")
	}
	for _, name := range c.owned {
		delete(m, name)
	}
	it.in = in
	it.o = c.read(in)
	if c.parts != nil {
		it.parts = c.parts(in)
	}
	it.foreign, it.has = in.foreign(c.kind)
	return it, in.err
}

// wrapped finds the objects in a body: one under the singular key, or a list under either.
func wrapped(body map[string]any, kind, plural string) (items []any, bulk bool, err error) {
	v, ok := body[kind]
	if !ok {
		if v, ok = body[plural]; !ok {
			return nil, false, badRequest("The body has neither '%s' nor '%s'", kind, plural)
		}
		if _, ok := v.([]any); !ok {
			return nil, false, badRequest("'%s' is not a list", plural)
		}
	}
	if l, ok := v.([]any); ok {
		return l, true, nil
	}
	return []any{v}, false, nil
}

// single finds the object in the body of an update.
func single(body map[string]any, kind, plural string) (any, error) {
	v, ok := body[kind]
	if _, isMap := v.(map[string]any); isMap {
		return v, nil
	}
	if _, list := body[plural]; list || ok {
		return nil, badRequest("Only singleton edit supported: one object under '%s'", kind)
	}
	return nil, badRequest("The body has no '%s'", kind)
}

func (c *core[T]) serveCreate(rq *request) error {
	body, err := rq.body()
	if err != nil {
		return err
	}
	raw, bulk, err := wrapped(body, c.kind, c.plural)
	if err != nil {
		return err
	}
	items := make([]item[T], len(raw))
	for i, v := range raw {
		if items[i], err = c.parse(v, ""); err != nil {
			return err
		}
	}
	snap, err := rq.commit(func(w *work) error {
		for i := range items {
			if err := c.create(w, &items[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	e := &env{rq.handler, snap}
	if !bulk {
		return rq.answer(http.StatusCreated, c.one(e, items[0].in.id, nil))
	}
	objs := make([]*T, 0, len(items))
	for _, it := range items {
		if o, ok := c.get(snap, it.in.id); ok {
			objs = append(objs, &o)
		}
	}
	return rq.answer(http.StatusCreated, append(c.array(e, objs, nil), '}'))
}

// create adds an object, or puts it in the place of the one that has its id, unless that is newer.
func (c *core[T]) create(w *work, it *item[T]) error {
	old, had := c.get(w.tx, it.in.id)
	if had && (w.Strict || it.in.rev != nil && *it.in.rev < c.std(&old).RevisionNo) {
		return fail(http.StatusConflict, typeName(c.kind)+"InUse", "%s %s exists, with revision %d.", c.kind, it.in.id, c.std(&old).RevisionNo)
	}
	if had && c.overtaken(it, &old) {
		return nil
	}
	if w.Strict && c.misses != nil {
		if what := c.misses(w, &it.o, it.in); what != "" {
			return fail(statusDependency, "DependencyMissing", "%s %s needs %s, which does not exist.", c.kind, it.in.id, what)
		}
	}
	if !had {
		return c.write(w, it, nil)
	}
	return c.write(w, it, &old)
}

// overtaken reports whether a create is the one that the object began with, on its way for so long that changes came before it: it
// has no revision, which only the creates of living objects lack, where the object has one, and tells a time that is no later.
func (c *core[T]) overtaken(it *item[T], old *T) bool {
	told, was := c.std(&it.o).UpdatedAt, c.std(old)
	return it.in.rev == nil && was.RevisionNo > 0 && !told.IsZero() && !told.After(was.UpdatedAt)
}

// write stores an object and what the model does not hold of it. A repetition only reads: a full sync sends everything again.
func (c *core[T]) write(w *work, it *item[T], old *T) error {
	now := it.o
	it.in.had = old != nil
	if old == nil || !c.settle(w, it, &now, old) {
		s := c.std(&now)
		if s.CreatedAt.IsZero() {
			s.CreatedAt = w.now
		}
		if s.UpdatedAt.IsZero() {
			s.UpdatedAt = s.CreatedAt
		}
		if err := c.put(w, &now, old); err != nil {
			return err
		}
	}
	w.putForeign(it.foreign, it.has)
	for _, put := range it.parts {
		if err := put(w); err != nil {
			return err
		}
	}
	return nil
}

// settle gives an object what the body of a change leaves out, and reports whether it is the old one then.
func (c *core[T]) settle(w *work, it *item[T], now, old *T) (same bool) {
	s, was := c.std(now), c.std(old)
	if c.keep != nil {
		c.keep(now, old, it.in)
	}
	if s.Project == "" {
		s.Project = was.Project
	}
	if it.in.rev == nil {
		s.RevisionNo = was.RevisionNo
	}
	if s.CreatedAt.IsZero() {
		s.CreatedAt = was.CreatedAt
	}
	told := !s.UpdatedAt.IsZero()
	if !told { // a repetition changes nothing, not even the time
		s.UpdatedAt = was.UpdatedAt
	}
	if reflect.DeepEqual(now, old) {
		return true
	}
	if !told {
		s.UpdatedAt = w.now
	}
	return false
}

// putForeign writes a record of what the model does not hold, or removes it.
func (w *work) putForeign(f model.Foreign, has bool) {
	key := model.ForeignKey(f.Kind, f.ID)
	switch was, had := tables.Foreign.Get(w.tx, key); {
	case !has && had:
		tables.Foreign.Delete(w.tx, key)
	case has && (!had || was != f):
		tables.Foreign.Put(w.tx, key, f)
	}
}

func (c *core[T]) serveUpdate(rq *request, id string) error {
	body, err := rq.body()
	if err != nil {
		return err
	}
	v, err := single(body, c.kind, c.plural)
	if err != nil {
		return err
	}
	it, err := c.parse(v, id)
	if err != nil {
		return err
	}
	late := false
	snap, err := rq.commit(func(w *work) error {
		old, had := c.get(w.tx, id)
		if !had {
			return c.gone(id)
		}
		if late = it.in.rev != nil && *it.in.rev < c.std(&old).RevisionNo; late {
			return nil
		}
		return c.write(w, &it, &old)
	})
	if err != nil {
		return err
	}
	if late {
		return rq.answer(http.StatusOK, nil)
	}
	return rq.answer(http.StatusOK, c.one(&env{rq.handler, snap}, id, nil))
}

func (c *core[T]) serveDelete(rq *request, id string) error {
	_, err := rq.commit(func(w *work) error {
		old, had := c.get(w.tx, id)
		if !had {
			return c.gone(id)
		}
		return c.discard(w, id, &old)
	})
	if err != nil {
		return err
	}
	rq.w.Header().Del("Content-Type")
	rq.w.WriteHeader(http.StatusNoContent)
	return nil
}

// discard removes an object and what the model does not hold of it.
func (c *core[T]) discard(w *work, id string, old *T) error {
	tables.Foreign.Delete(w.tx, model.ForeignKey(c.kind, id))
	return c.drop(w, old)
}

func (c *core[T]) serveShow(rq *request, id string) error {
	e := &env{rq.handler, rq.Store.Snapshot()}
	if _, ok := c.get(e.r, id); !ok {
		return c.gone(id)
	}
	return rq.answer(http.StatusOK, c.one(e, id, rq.query["fields"]))
}
