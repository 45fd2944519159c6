// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"time"

	"nagare/internal/api/jsonbody"
	"nagare/internal/model"
	"nagare/internal/store"
)

// Resource declares a collection of objects of type T.
type Resource[T any] struct {
	name, plural, path string             // "security_group", "security_groups", "security-groups"
	when               func(*Config) bool // the configurations that have it; nil: all
	quota              *counter[T]        // how many a project may have; nil: any number
	attrs              []Attr[T]
	added              []Attr[T] // by other files, see extend
	byName             map[string]*Attr[T]

	id   func(*T) string
	std  func(*T) *model.Std
	get  func(r store.Reader, id string) (T, bool)
	put  func(tx *store.Txn, o T) error
	from func(r store.Reader, id string) iter.Seq[T] // in order of ids, from the first at or after id
	back func(r store.Reader, id string) iter.Seq[T] // backwards, from the last below id, "" being beyond all; nil: there is no such walk
	gone func(id string) *Error                      // what to answer for an id that does not exist

	// lookups are the filters that an index serves, best first.
	lookups []lookup[T]
	// scope yields at least all objects that a caller without privileges sees.
	scope func(v *view) iter.Seq[T]
	sees  func(v *view, o *T) bool
	there func(v *view, o *T) bool // whether the configuration has the object at all; nil: it has
	// network gives the project of the network that an object is on, if it is on one.
	network func(r store.Reader, o *T) model.ProjectID
	// cloudwide says that there are objects of no project: an administrator makes them with project_id null.
	cloudwide bool

	create, change, remove Rule
	ruleName               string // the resource's name in those of policy rules; empty: name
	// Names of the policy rules.
	seeName, createName, changeName, removeName string
	// parent finds, for a create, the project of the network that the body names, refusing one that the caller does not see.
	parent func(v *view, in *values) (model.ProjectID, error)
	// Without build, update or delete the method is not allowed.
	build  func(w *work, in *values) (T, error)        // makes the object and puts it
	update func(w *work, old T, in *values) (T, error) // gives the changed object, which the engine puts
	delete func(w *work, old T) error                  // removes what hangs on the object, and the object
	before func(w *work, v *view) error                // runs before a list, e.g. to make a default object
	missed func(v *view) bool                          // whether before would do something
	bulk   func(items []*values) error                 // checks the items of a bulk create against each other
	// actions answer PUT /{collection}/{id}/{action}.
	actions map[string]func(rq *request, id string) error
	// below answers what is below /{collection}/{id}/{name}, by name; see nest for collections there.
	below   map[string]func(rq *request, id string, rest []string) error
	beneath map[string]func(rq *request, id string, rest []string) error // the same by other files, see serveBelow
	dropped []func(w *work, o T) error                                   // by other files, see onDelete
	shares  string                                                       // kind under which RBAC policies share the objects; empty: they cannot be
	sharing func(*shareable)                                             // what is particular to that
}

// lookup serves the filter of one attribute from an index.
type lookup[T any] struct {
	attr string
	in   index[T]                                       // an index of the objects' own table
	by   func(r store.Reader, value string) iter.Seq[T] // in place of it, where what is asked is none
	keys func(values []string) []string                 // index keys of the filter's values, none: the index does not help; nil: the values
}

// index is a store.Index, whatever its primary keys.
type index[T any] interface {
	By(r store.Reader, value string) iter.Seq[T]
	From(r store.Reader, value, start string) iter.Seq[T]
	Before(r store.Reader, value, end string) iter.Seq[T]
}

// backwards is a Resource's back on a table.
func backwards[K ~string, T any](t *store.Table[K, T]) func(store.Reader, string) iter.Seq[T] {
	return func(r store.Reader, id string) iter.Seq[T] { return records(t.Before(r, K(id))) }
}

// work is a transaction in progress on behalf of a request.
type work struct {
	view
	tx   *store.Txn
	now  time.Time
	made map[string]int // objects that this transaction added, by usage key; see quota.go
}

// complete joins what the resource's file and others have declared; it panics if that is contradictory.
func (rs *Resource[T]) complete() {
	rs.attrs = append(rs.attrs, rs.added...)
	if rs.shares != "" {
		rs.share(rs.shares)
	}
	if rs.below == nil {
		rs.below = rs.beneath
	} else {
		maps.Copy(rs.below, rs.beneath)
	}
	rs.byName = make(map[string]*Attr[T], len(rs.attrs))
	for i := range rs.attrs {
		a := &rs.attrs[i]
		if rs.byName[a.Name] != nil {
			panic("neutron: " + rs.name + "." + a.Name + " declared twice")
		}
		if (a.Post || a.Put) && a.Parse == nil {
			panic("neutron: " + rs.name + "." + a.Name + " may be set but has no parser")
		}
		rs.byName[a.Name] = a
	}
	rs.nameRules()
	for what, open := range map[string]bool{"create": rs.build == nil || rs.create != deny, "change": rs.update == nil || rs.change != deny,
		"remove": rs.delete == nil || rs.remove != deny} {
		if !open {
			panic("neutron: " + rs.name + ": no rule for " + what)
		}
	}
	for i := range rs.lookups {
		l := &rs.lookups[i]
		if rs.byName[l.attr] == nil {
			panic("neutron: " + rs.name + ": lookup by unknown attribute " + l.attr)
		}
		if l.in != nil {
			l.by = l.in.By
		}
	}
}

// stdAttrs are the attributes that every object has. named says whether it has a name and tags.
func stdAttrs[T any](id func(*T) string, std func(*T) *model.Std, named bool) []Attr[T] {
	project := func(_ *view, o *T) any { return string(std(o).Project) }
	out := []Attr[T]{{Name: "id", Get: func(_ *view, o *T) any { return id(o) }}}
	if named {
		out = append(out, Attr[T]{Name: "name", Get: func(_ *view, o *T) any { return std(o).Name }, Parse: textOrNull(255), Default: "", Post: true, Put: true})
	}
	out = append(out,
		Attr[T]{Name: "tenant_id", Get: project, Parse: text(255), Post: true},
		Attr[T]{Name: "project_id", Get: project, Parse: text(255), Post: true},
		Attr[T]{Name: "description", Get: func(_ *view, o *T) any { return std(o).Description }, Parse: textOrNull(255), Default: "", Post: true, Put: true})
	if named {
		out = append(out, Attr[T]{Name: "tags", Get: func(_ *view, o *T) any { return tagList(std(o).Tags) }, NoSort: true,
			Match: func(_ *view, o *T, values []string) bool { return hasTags(std(o).Tags, values, true) }})
	}
	return append(out,
		Attr[T]{Name: "created_at", Get: func(_ *view, o *T) any { return stamp(std(o).CreatedAt) }},
		Attr[T]{Name: "updated_at", Get: func(_ *view, o *T) any { return stamp(std(o).UpdatedAt) }},
		Attr[T]{Name: "revision_number", Get: func(_ *view, o *T) any { return std(o).RevisionNo }})
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// newStd fills the standard attributes of a new object.
func (w *work) newStd(in *values, revision int) model.Std {
	return model.Std{Project: w.project(in), Name: get[string](in, "name"), Description: get[string](in, "description"),
		CreatedAt: w.now, UpdatedAt: w.now, RevisionNo: revision}
}

// project is the project of a new object.
func (w *work) project(in *values) model.ProjectID { return w.view.project(in) }

func (v *view) project(in *values) model.ProjectID {
	if v.under != nil {
		return v.under.project
	}
	if in.has(noProject) {
		return ""
	}
	if p := get[string](in, "project_id"); p != "" {
		return model.ProjectID(p)
	}
	return v.who.ProjectID
}

// touch marks a change of an object.
func (w *work) touch(s *model.Std) {
	s.RevisionNo++
	s.UpdatedAt = w.now
}

// visible are the attributes to show, in order: those that the caller may see and asked for.
func (rs *Resource[T]) visible(v *view, fields []string) []*Attr[T] {
	fields = slices.DeleteFunc(fields, func(s string) bool { return s == "" })
	out := make([]*Attr[T], 0, len(rs.attrs))
	for i := range rs.attrs {
		a := &rs.attrs[i]
		if a.Get != nil && v.mightSee(a.seeName, a.See) && (len(fields) == 0 || slices.Contains(fields, a.Name)) {
			out = append(out, a)
		}
	}
	return out
}

func (rs *Resource[T]) append(b []byte, v *view, o *T, attrs []*Attr[T]) []byte {
	b = append(b, '{')
	first := true
	for _, a := range attrs {
		if v.file != nil && v.file.Decides(a.seeName) && !rs.ruled(v, a.seeName, a.See, rs.targetOf(v, o), o, nil) {
			continue
		}
		val := a.Get(v, o)
		if val == omit {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = jsonbody.AppendString(b, a.Name)
		b = append(b, ':')
		b = jsonbody.Append(b, val)
	}
	return append(b, '}')
}

// omit is what Get returns for an attribute that the object does not have.
var omit any = omitted{}

type omitted struct{}

// shown reports whether the caller sees an object.
func (rs *Resource[T]) shown(v *view, o *T) bool {
	return (rs.there == nil || rs.there(v, o)) && (v.readsAll() || rs.sees(v, o)) &&
		(v.file == nil || !v.file.Decides(rs.seeName) || rs.ruled(v, rs.seeName, deny, rs.targetOf(v, o), o, nil))
}

// find gives the object that the caller sees.
func (rs *Resource[T]) find(v *view, id string) (T, error) {
	o, ok := rs.get(v.r, id)
	if !ok || !rs.shown(v, &o) || rs.foreign(v, &o) {
		var none T
		return none, rs.gone(show(id))
	}
	return o, nil
}

func (rs *Resource[T]) targetOf(v *view, o *T) target {
	t := target{project: rs.std(o).Project}
	if rs.network != nil {
		t.network = rs.network(v.r, o)
	}
	return t
}

// serve answers requests below the collection's path.
func (rs *Resource[T]) serve(rq *request, rest []string) error {
	m := rq.r.Method
	if m == http.MethodHead {
		m = http.MethodGet
	}
	switch {
	case len(rest) == 0 && m == http.MethodGet:
		return rs.serveList(rq)
	case len(rest) == 0 && m == http.MethodPost && rs.build != nil:
		return rs.serveCreate(rq)
	case len(rest) == 1 && m == http.MethodGet:
		return rs.serveShow(rq, rest[0])
	case len(rest) == 1 && m == http.MethodPut && rs.update != nil:
		return rs.serveUpdate(rq, rest[0])
	case len(rest) == 1 && m == http.MethodDelete && rs.delete != nil:
		return rs.serveDelete(rq, rest[0])
	case len(rest) <= 1:
		return methodNotAllowed(rq.r.Method)
	case rest[1] == "tags" && rs.byName["tags"] != nil && len(rest) <= 3:
		return rs.serveTagsRuled(rq, m, rest[0], rest[2:])
	case len(rest) == 2 && rs.actions[rest[1]] != nil:
		if m != http.MethodPut {
			return methodNotAllowed(rq.r.Method)
		}
		rq.rule = rest[1]
		return rs.actions[rest[1]](rq, rest[0])
	case rs.below[rest[1]] != nil:
		if name := rs.belowName(rest[1]); name != "" && m == http.MethodGet && !rq.view(rq.api.store.Snapshot()).permits(name, true, "") {
			return forbidden(name, nil)
		}
		return rs.below[rest[1]](rq, rest[0], rest[2:])
	}
	return notFoundPath()
}

func (rs *Resource[T]) serveShow(rq *request, id string) error {
	v := rq.view(rq.api.store.Snapshot())
	o, err := rs.find(v, id)
	if err != nil {
		return err
	}
	return rq.answer(http.StatusOK, rs.one(v, &o, rq.query["fields"]))
}

// one wraps an object as an answer.
func (rs *Resource[T]) one(v *view, o *T, fields []string) []byte {
	b := append([]byte(`{"`), rs.name...)
	b = append(b, `":`...)
	b = rs.append(b, v, o, rs.visible(v, fields))
	return append(b, '}')
}

func (rs *Resource[T]) serveCreate(rq *request) error {
	body, err := rq.body()
	if err != nil {
		return err
	}
	v := rq.view(rq.api.store.Snapshot())
	raw, isBulk, err := rs.items(body)
	if err != nil {
		return err
	}
	items := make([]*values, len(raw))
	for i, x := range raw {
		m, ok := x.(map[string]any)
		if !ok {
			return badRequest("Body contains invalid data")
		}
		if rq.under != nil {
			if _, given := m[rq.under.attr]; given {
				return badRequest("Unrecognized attribute(s) '%s'", rq.under.attr)
			}
			m[rq.under.attr] = rq.under.id
		}
		if items[i], err = rs.parse(v, m, post); err != nil {
			return err
		}
	}
	if rs.bulk != nil && isBulk {
		if err := rs.bulk(items); err != nil {
			return err
		}
	}
	var made []*T
	snap, err := rq.commit(func(w *work) error {
		made = made[:0]
		for _, in := range items {
			o, err := rs.createOne(w, in)
			if err != nil {
				return err
			}
			made = append(made, &o)
		}
		return nil
	})
	if err != nil {
		return err
	}
	v = rq.view(snap)
	if !isBulk {
		return rq.answer(http.StatusCreated, rs.one(v, made[0], nil))
	}
	return rq.answer(http.StatusCreated, append(rs.array(v, made, nil), '}'))
}

// items finds the objects in the body of a create: one under the singular name, or a list under the plural.
func (rs *Resource[T]) items(body map[string]any) (raw []any, bulk bool, err error) {
	if x, ok := body[rs.plural]; ok {
		l, ok := x.([]any)
		switch {
		case !ok && rs.plural == rs.name && x != nil:
			return []any{x}, false, nil
		case !ok:
			return nil, true, badRequest("Body contains invalid data")
		case len(l) == 0:
			return nil, true, badRequest("Resources required")
		case len(l) > maxBulk:
			return nil, true, badRequest("Bulk create of %d objects is beyond the limit of %d; send several requests", len(l), maxBulk)
		}
		return l, true, nil
	}
	x, ok := body[rs.name]
	if !ok || x == nil {
		return nil, false, badRequest("Unable to find '%s' in request body", rs.name)
	}
	return []any{x}, false, nil
}

// maxBulk bounds one transaction, so that nobody holds the writer for long.
const maxBulk = 1000

func (rs *Resource[T]) createOne(w *work, in *values) (T, error) {
	var none T
	if w.under != nil {
		if err := w.under.find(&w.view); err != nil {
			return none, err
		}
	}
	t := target{project: w.project(in)}
	if rs.parent != nil {
		var err error
		if t.network, err = rs.parent(&w.view, in); err != nil {
			return none, err
		}
	}
	if !rs.operation(&w.view, rs.createName, rs.create, t, nil, in) {
		return none, forbidden(rs.createName, nil)
	}
	if err := rs.checkAttrs(&w.view, nil, in, post, t); err != nil {
		return none, err
	}
	if err := w.charge(t.project, rs.name); err != nil {
		return none, err
	}
	o, err := rs.build(w, in)
	if err != nil {
		return none, err
	}
	err = rs.takeAdded(w, &o, in, true)
	return o, err
}

// takeAdded gives an object the values of attributes that say themselves how, and in a create puts it again if there are any.
func (rs *Resource[T]) takeAdded(w *work, o *T, in *values, again bool) error {
	taken := false
	for i := range rs.attrs {
		a := &rs.attrs[i]
		if a.Take != nil && in.has(a.Name) && (in.asked(a.Name) || !reflect.ValueOf(a.Default).IsZero()) {
			if err := a.Take(w, o, in); err != nil {
				return err
			}
			taken = true
		}
	}
	if !taken || !again {
		return nil
	}
	return rs.put(w.tx, *o)
}

func (rs *Resource[T]) serveUpdate(rq *request, id string) error {
	body, err := rq.body()
	if err != nil {
		return err
	}
	m, ok := body[rs.name].(map[string]any)
	if !ok {
		if body[rs.name] != nil {
			return badRequest("Body contains invalid data")
		}
		return badRequest("Unable to find '%s' in request body", rs.name)
	}
	in, err := rs.parse(rq.view(rq.api.store.Snapshot()), m, put)
	if err != nil {
		return err
	}
	return rs.modify(rq, id, func(w *work, old T) (T, error) {
		if err := rs.checkAttrs(&w.view, &old, in, put, rs.targetOf(&w.view, &old)); err != nil {
			return old, err
		}
		now, err := rs.update(w, old, in)
		if err != nil {
			return now, err
		}
		err = rs.takeAdded(w, &now, in, false)
		return now, err
	}, func(v *view, o *T) error { return rq.answer(http.StatusOK, rs.one(v, o, nil)) })
}

// modify is one transaction on an object that the caller may change. The changed object gets its next revision.
func (rs *Resource[T]) modify(rq *request, id string, f func(*work, T) (T, error), done func(*view, *T) error) error {
	var now T
	snap, err := rq.commit(func(w *work) error {
		old, err := rs.find(&w.view, id)
		if err != nil {
			return err
		}
		name := cmp.Or(rq.rule, rs.changeName)
		if !rs.operation(&w.view, name, rs.change, rs.targetOf(&w.view, &old), &old, nil) {
			return forbidden(name, nil)
		}
		if err := rq.ifMatch(rs.std(&old)); err != nil {
			return err
		}
		if now, err = f(w, old); err != nil {
			return err
		}
		w.touch(rs.std(&now))
		return rs.put(w.tx, now)
	})
	if err != nil {
		return err
	}
	return done(rq.view(snap), &now)
}

// takeStd takes name and description of an update.
func takeStd(in *values, s *model.Std) {
	set(in, "name", &s.Name)
	set(in, "description", &s.Description)
}

func (rs *Resource[T]) serveDelete(rq *request, id string) error {
	_, err := rq.commit(func(w *work) error {
		old, err := rs.find(&w.view, id)
		if err != nil {
			return err
		}
		if !rs.operation(&w.view, rs.removeName, rs.remove, rs.targetOf(&w.view, &old), &old, nil) {
			return forbidden(rs.removeName, nil)
		}
		if err := rq.ifMatch(rs.std(&old)); err != nil {
			return err
		}
		for _, f := range rs.dropped {
			if err := f(w, old); err != nil {
				return err
			}
		}
		return rs.delete(w, old)
	})
	if err != nil {
		return err
	}
	rq.w.WriteHeader(http.StatusNoContent)
	return nil
}

// array renders {"plural":[...] without the closing brace, so that links may follow.
func (rs *Resource[T]) array(v *view, objs []*T, fields []string) []byte {
	attrs := rs.visible(v, fields)
	b := make([]byte, 0, 64+len(objs)*len(attrs)*32)
	b = append(b, `{"`...)
	b = append(b, rs.plural...)
	b = append(b, `":[`...)
	for i, o := range objs {
		if i > 0 {
			b = append(b, ',')
		}
		b = rs.append(b, v, o, attrs)
	}
	return append(b, ']')
}

// compareValues orders what Get returns: null first, then by kind and value.
func compareValues(a, b any) int {
	switch x := a.(type) {
	case string:
		if y, ok := b.(string); ok {
			return cmp.Compare(x, y)
		}
	case int:
		if y, ok := b.(int); ok {
			return cmp.Compare(x, y)
		}
	case bool:
		if y, ok := b.(bool); ok {
			switch {
			case x == y:
				return 0
			case y:
				return -1
			}
			return 1
		}
	case nil:
		if b == nil {
			return 0
		}
		return -1
	}
	if b == nil {
		return 1
	}
	return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b))
}

// equalText reports whether a value as shown equals a filter's text.
func equalText(val any, want string) bool {
	switch x := val.(type) {
	case string:
		return x == want
	case int:
		return strconv.Itoa(x) == want
	case nil:
		return want == ""
	case []string:
		return slices.Contains(x, want)
	}
	return false
}
