// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"encoding/json"
	"iter"
	"net/http"
	"slices"
	"strings"

	"nagare/internal/api/jsonbody"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// extension is a collection of which we have no model: its objects are kept whole, and served. What can be told to be malformed is
// refused; the rest is taken as it comes.
type extension struct {
	kind, plural string
	check        []field        // attributes of a known type
	defaults     map[string]any // of a new object
	fixed        []string       // attributes that an update does not change
	noPut        bool
	under        string // the segment that leads to objects inside one of another collection: "members"
	sub          *extension
	wrapped      bool // the path has the parent's id alone below it: tap/flows/{service}/flows
}

// field is an attribute whose values are checked.
type field struct {
	name string
	as   func(in *input, name string, v any)
	must bool // in a new object
}

func asUUID(in *input, name string, v any) { in.toUUID(name, v) }
func asText(in *input, name string, v any) { in.toText(name, v) }
func asBool(in *input, name string, v any) {
	if _, ok := toBool(v); !ok {
		in.bad(name, "'%s' is neither true nor false", show(v))
	}
}

// asInt takes a number or its text, "" included.
func asInt(lo, hi int) func(*input, string, any) {
	return func(in *input, name string, v any) { in.toInt(name, v, lo, hi) }
}

// each checks the elements of a list.
func each(as func(*input, string, any)) func(*input, string, any) {
	return func(in *input, name string, v any) {
		l, ok := v.([]any)
		if !ok {
			in.bad(name, "'%s' is not a list", show(v))
		}
		for _, e := range l {
			if e == nil {
				in.bad(name, "it has null as an element")
				return
			}
			as(in, name, e)
		}
	}
}

// objectOf checks an object's attributes; it may have more.
func objectOf(fields ...field) func(*input, string, any) {
	return func(in *input, name string, v any) {
		m, ok := v.(map[string]any)
		if !ok {
			in.bad(name, "'%s' is not an object", show(v))
			return
		}
		checkFields(in, m, fields, false)
	}
}

func checkFields(in *input, m map[string]any, fields []field, update bool) {
	for _, f := range fields {
		v := m[f.name]
		switch {
		case f.must && !update && (v == nil || v == ""):
			in.bad(f.name, "it is missing")
		case v != nil:
			f.as(in, f.name, v)
		}
	}
}

// always are the checks of every kind.
var always = []field{{"tenant_id", asText, false}, {"project_id", asText, false}, {"name", asText, false}, {"description", asText, false},
	{"admin_state_up", asBool, false}, {"shared", asBool, false}, {"tags", each(asText), false}}

func (x *extension) serve(rq *request, rest []string) error { return x.at(rq, "", rest) }

// at answers below an object of the parent collection, "" for none.
func (x *extension) at(rq *request, parent string, rest []string) error {
	m := rq.r.Method
	if m == http.MethodHead {
		m = http.MethodGet
	}
	if len(rest) >= 2 && x.sub != nil && rest[1] == x.under {
		id, ok := canonical(rest[0])
		if !ok {
			return notFound("There is nothing at %s", show(rq.r.URL.Path))
		}
		return x.sub.at(rq, id+"/", rest[2:])
	}
	if len(rest) > 1 || x.wrapped {
		return notFound("There is nothing at %s", show(rq.r.URL.Path))
	}
	if len(rest) == 0 {
		switch m {
		case http.MethodGet:
			return x.list(rq, parent)
		case http.MethodPost:
			return x.create(rq, parent)
		}
		return rq.allow("GET, POST")
	}
	id, ok := canonical(rest[0])
	switch {
	case m == http.MethodPut && x.noPut:
		return rq.allow("GET, DELETE")
	case m != http.MethodGet && m != http.MethodPut && m != http.MethodDelete:
		return rq.allow("GET, PUT, DELETE")
	case !ok:
		return x.gone(rest[0])
	}
	switch id = parent + id; m {
	case http.MethodGet:
		f, ok := tables.Foreign.Get(rq.Store.Snapshot(), model.ForeignKey(x.kind, id))
		if !ok {
			return x.gone(id)
		}
		return rq.answer(http.StatusOK, x.one(&f, rq.query["fields"]))
	case http.MethodPut:
		return x.update(rq, id)
	}
	return x.remove(rq, id)
}

func (x *extension) gone(id string) error {
	return fail(http.StatusNotFound, typeName(x.kind)+"NotFound", "%s %s does not exist.", typeName(x.kind), show(id))
}

// parse reads one object; of an update, id is the path's.
func (x *extension) parse(v any, parent, id string) (m map[string]any, in *input, err error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, nil, badRequest("'%s' is not an object", x.kind)
	}
	in = &input{m: m, put: id != "", id: id}
	if in.put {
		delete(m, "id")
	} else if in.id = in.uuid("id"); in.id == "" && in.err == nil {
		in.bad("id", "it is missing")
	} else {
		in.id = parent + in.id
	}
	if in.rev = in.integer("revision_number", 0, 1<<53); in.rev != nil {
		m["revision_number"] = *in.rev
	}
	checkFields(in, m, always, in.put)
	checkFields(in, m, x.check, in.put)
	for name, v := range m {
		if v == nil {
			delete(m, name)
		}
	}
	return m, in, in.err
}

// settle fills in what an object of a body lacks: of an update what it keeps, of a new one the defaults.
func (x *extension) settle(m map[string]any, in *input, old *model.Foreign) model.Foreign {
	out := make(map[string]any, len(m)+4)
	for k, v := range m {
		out[k] = v
	}
	if tenant, _ := out["tenant_id"].(string); tenant == "" {
		delete(out, "tenant_id")
		if p, _ := out["project_id"].(string); p != "" {
			out["tenant_id"] = p
		}
	}
	if p, _ := out["project_id"].(string); p == "" {
		delete(out, "project_id")
		if t, ok := out["tenant_id"]; ok {
			out["project_id"] = t
		}
	}
	f := model.Foreign{Kind: x.kind, ID: in.id}
	if old != nil {
		was := decodeForms(old.Attrs)
		keep := append([]string{"tenant_id", "project_id"}, x.fixed...)
		for _, name := range keep {
			_, has := out[name]
			if v, had := was[name]; had && (!has || in.put && slices.Contains(x.fixed, name)) {
				out[name] = jsonbody.Raw(v)
			}
		}
		f.RevisionNo = old.RevisionNo
	}
	for name, v := range x.defaults {
		if _, has := out[name]; !has {
			out[name] = v
		}
	}
	if in.rev != nil {
		f.RevisionNo = *in.rev
	}
	f.Attrs = string(jsonbody.Append(nil, out))
	return f
}

func (x *extension) create(rq *request, parent string) error {
	body, err := rq.body()
	if err != nil {
		return err
	}
	list, bulk, err := wrapped(body, x.kind, x.plural)
	if err != nil {
		return err
	}
	type one struct {
		m  map[string]any
		in *input
	}
	items := make([]one, len(list))
	for i, v := range list {
		if items[i].m, items[i].in, err = x.parse(v, parent, ""); err != nil {
			return err
		}
	}
	var made []model.Foreign
	_, err = rq.commit(func(w *work) error {
		made = made[:0]
		for _, it := range items {
			key := model.ForeignKey(x.kind, it.in.id)
			old, had := tables.Foreign.Get(w.tx, key)
			was := &old
			switch {
			case had && (w.Strict || it.in.rev != nil && *it.in.rev < old.RevisionNo):
				return fail(http.StatusConflict, typeName(x.kind)+"InUse", "%s %s exists, with revision %d.", x.kind, it.in.id, old.RevisionNo)
			case !had:
				was = nil
			}
			f := x.settle(it.m, it.in, was)
			tables.Foreign.Put(w.tx, key, f)
			made = append(made, f)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !bulk {
		return rq.answer(http.StatusCreated, x.one(&made[0], nil))
	}
	return rq.answer(http.StatusCreated, x.array(slices.Values(made), nil))
}

func (x *extension) update(rq *request, id string) error {
	body, err := rq.body()
	if err != nil {
		return err
	}
	v, err := single(body, x.kind, x.plural)
	if err != nil {
		return err
	}
	m, in, err := x.parse(v, "", id)
	if err != nil {
		return err
	}
	var now model.Foreign
	late := false
	_, err = rq.commit(func(w *work) error {
		key := model.ForeignKey(x.kind, id)
		old, had := tables.Foreign.Get(w.tx, key)
		if !had {
			return x.gone(id)
		}
		if late = in.rev != nil && *in.rev < old.RevisionNo; late {
			return nil
		}
		now = x.settle(m, in, &old)
		tables.Foreign.Put(w.tx, key, now)
		return nil
	})
	if err != nil {
		return err
	}
	if late {
		return rq.answer(http.StatusOK, nil)
	}
	return rq.answer(http.StatusOK, x.one(&now, nil))
}

func (x *extension) remove(rq *request, id string) error {
	_, err := rq.commit(func(w *work) error {
		if !tables.Foreign.Delete(w.tx, model.ForeignKey(x.kind, id)) {
			return x.gone(id)
		}
		return nil
	})
	if err != nil {
		return err
	}
	rq.w.Header().Del("Content-Type")
	rq.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (x *extension) list(rq *request, parent string) error {
	q, err := parseQuery(rq.query, false)
	if err != nil {
		return err
	}
	return rq.answer(http.StatusOK, x.array(x.matching(rq.Store.Snapshot(), parent, &q), rq.query["fields"]))
}

// matching are the objects of the collection that match, in order of ids.
func (x *extension) matching(r store.Reader, parent string, q *query) iter.Seq[model.Foreign] {
	return func(yield func(model.Foreign) bool) {
		for _, f := range q.filters {
			if f.name == "id" {
				for _, v := range f.values {
					id, _ := canonical(v)
					if o, ok := tables.Foreign.Get(r, model.ForeignKey(x.kind, parent+id)); ok && filtered(&o, q.filters) && !yield(o) {
						return
					}
				}
				return
			}
		}
		prefix := model.ForeignKey(x.kind, parent)
		for key, o := range tables.Foreign.From(r, prefix) {
			if !strings.HasPrefix(key, prefix) {
				return
			}
			if filtered(&o, q.filters) && !yield(o) {
				return
			}
		}
	}
}

// filtered reports whether an object passes filters; those that name none of its attributes are passed.
func filtered(f *model.Foreign, filters []filter) bool {
	if len(filters) == 0 {
		return true
	}
	attrs := decodeForms(f.Attrs)
	attrs["id"] = json.RawMessage(jsonbody.AppendString(nil, lastID(f.ID)))
	for _, want := range filters {
		v, ok := attrs[want.name]
		if ok && !slices.ContainsFunc(want.values, func(s string) bool { return equals(jsonbody.Raw(v), s) }) {
			return false
		}
	}
	return true
}

// lastID is an object's own id, without its parent's.
func lastID(id string) string { return id[strings.LastIndexByte(id, '/')+1:] }

func (x *extension) one(f *model.Foreign, fields []string) []byte {
	b := append([]byte(`{"`), x.kind...)
	return append(appendForeign(append(b, `":`...), f, wanted(fields)), '}')
}

func (x *extension) array(seq iter.Seq[model.Foreign], fields []string) []byte {
	b := append([]byte(`{"`), x.plural...)
	b = append(b, `":[`...)
	fields = wanted(fields)
	first := true
	for f := range seq {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendForeign(b, &f, fields)
	}
	return append(b, "]}"...)
}

func appendForeign(b []byte, f *model.Foreign, fields []string) []byte {
	b = append(b, '{')
	first := len(b)
	if len(fields) == 0 || slices.Contains(fields, "id") {
		b = pair(b, first, "id", lastID(f.ID))
	}
	return append(appendAttrs(b, first, f.Attrs, fields), '}')
}
