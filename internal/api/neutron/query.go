// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"nagare/internal/api/jsonbody"
)

func init() {
	declare(part{extensions: []extension{
		{"empty-string-filtering", "Empty String Filtering Extension", "Allow filtering by attributes with empty string value", "2018-04-09T10:00:00-00:00"},
		{"filter-validation", "Filter parameters validation", "Provides validation on filter parameters.", "2018-03-21T10:00:00-00:00"},
		{"pagination", "Pagination support", "Extension that indicates that pagination is enabled.", "2016-06-12T00:00:00-00:00"},
		{"sorting", "Sorting support", "Extension that indicates that sorting is enabled.", "2016-06-12T00:00:00-00:00"},
	}})
}

// filter is one attribute's condition: any of the values.
type filter[T any] struct {
	attr   *Attr[T]
	values []string
	truth  []bool // of a boolean attribute
}

// order is one sort key.
type order[T any] struct {
	attr *Attr[T]
	desc bool
}

// page is what part of a list is asked for. limit 0 means all.
type page struct {
	limit   int
	marker  string
	reverse bool
}

// query is a list request, checked.
type query[T any] struct {
	filters []filter[T]
	tags    []tagFilter
	sort    []order[T]
	page
}

// notFilters are the parameters of a list that are no filters.
var notFilters = []string{"fields", "limit", "marker", "page_reverse", "sort_key", "sort_dir"}

func (rs *Resource[T]) parseQuery(v *view, q url.Values) (*query[T], error) {
	out := &query[T]{}
	var unknown []string
	names := make([]string, 0, len(q))
	for name := range q {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if slices.Contains(notFilters, name) {
			continue
		}
		if tf, ok := tagFilterFor(name, q[name]); ok && rs.byName["tags"] != nil {
			out.tags = append(out.tags, tf)
			continue
		}
		a := rs.byName[name]
		if a == nil || a.Get == nil && a.Match == nil || a.NoFilter || !v.knows(a.seeName, a.See) {
			unknown = append(unknown, "'"+show(name)+"'")
			continue
		}
		f := filter[T]{attr: a, values: q[name]}
		if a.Bool {
			for _, s := range f.values {
				b, err := boolean(s)
				if err != nil {
					return nil, err
				}
				f.truth = append(f.truth, b.(bool))
			}
		}
		if a.CheckMatch != nil {
			if err := a.CheckMatch(f.values); err != nil {
				return nil, err
			}
		}
		out.filters = append(out.filters, f)
	}
	if len(unknown) > 0 {
		return nil, badRequest("[%s] is invalid attribute for filtering", strings.Join(unknown, ", "))
	}
	if err := rs.parseSort(v, q, out); err != nil {
		return nil, err
	}
	return out, parsePage(q, &out.page)
}

func (rs *Resource[T]) parseSort(v *view, q url.Values, out *query[T]) error {
	keys := slices.DeleteFunc(slices.Clone(q["sort_key"]), func(s string) bool { return s == "" })
	dirs := slices.DeleteFunc(slices.Clone(q["sort_dir"]), func(s string) bool { return s == "" })
	if len(keys) != len(dirs) {
		return badRequest("The number of sort_keys and sort_dirs must be same")
	}
	for i, name := range keys {
		a := rs.byName[name]
		if a == nil || a.Get == nil || a.NoSort || !v.knows(a.seeName, a.See) {
			return badRequest("['%s'] is invalid attribute for sort_keys", show(name))
		}
		if dirs[i] != "asc" && dirs[i] != "desc" {
			return badRequest("['%s'] is invalid value for sort_dirs, valid value is 'asc' and 'desc'", show(dirs[i]))
		}
		out.sort = append(out.sort, order[T]{a, dirs[i] == "desc"})
	}
	return nil
}

func parsePage(q url.Values, p *page) error {
	if s := q.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			return fail(http.StatusBadRequest, "BadRequest", "Bad limit request: Limit must be an integer 0 or greater and not '%s'.", show(s))
		}
		p.limit = n
	}
	p.marker = q.Get("marker")
	p.reverse = strings.EqualFold(q.Get("page_reverse"), "true")
	return nil
}

func (q *query[T]) matches(v *view, o *T) bool {
	for i := range q.filters {
		if !q.filters[i].matches(v, o) {
			return false
		}
	}
	return true
}

func (f *filter[T]) matches(v *view, o *T) bool {
	if f.attr.Match != nil {
		return f.attr.Match(v, o, f.values)
	}
	val := f.attr.Get(v, o)
	if f.attr.Bool {
		b, ok := val.(bool)
		return ok && slices.Contains(f.truth, b)
	}
	return slices.ContainsFunc(f.values, func(want string) bool { return equalText(val, want) })
}

// compare orders two objects as the query asks, by id last.
func (q *query[T]) compare(rs *Resource[T], v *view, a, b *T) int {
	for _, o := range q.sort {
		c := compareValues(o.attr.Get(v, a), o.attr.Get(v, b))
		if o.desc {
			c = -c
		}
		if c != 0 {
			return c
		}
	}
	return strings.Compare(rs.id(a), rs.id(b))
}

// lookup gives the best index among the filters, and its keys, without repetition. An index key cannot hold NUL, and no stored text does.
func (rs *Resource[T]) lookup(q *query[T]) (best *lookup[T], keys []string) {
	for i := range rs.lookups {
		l := &rs.lookups[i]
		for _, f := range q.filters {
			if f.attr.Name != l.attr {
				continue
			}
			if keys = f.values; l.keys != nil {
				if keys = l.keys(keys); len(keys) == 0 {
					continue
				}
			}
			keys = slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return strings.ContainsRune(key, 0) })
			slices.Sort(keys)
			return l, slices.Compact(keys)
		}
	}
	return nil, nil
}

// candidates yields a superset of the objects that match: by the best index among the filters, else those of the caller's
// project, else all. An object may come twice.
func (rs *Resource[T]) candidates(v *view, q *query[T]) (objs []*T) {
	add := func(seq iter.Seq[T]) {
		for o := range seq {
			if rs.matches(v, q, &o) {
				objs = append(objs, &o)
			}
		}
	}
	if l, keys := rs.lookup(q); l != nil {
		for _, key := range keys {
			add(l.by(v.r, key))
		}
		return objs
	}
	if !v.readsAll() {
		add(rs.scope(v))
		return objs
	}
	add(rs.from(v.r, ""))
	return objs
}

func (rs *Resource[T]) matches(v *view, q *query[T], o *T) bool {
	return rs.shown(v, o) && q.matches(v, o) && rs.tagsMatch(o, q.tags)
}

func (rs *Resource[T]) list(v *view, q *query[T]) ([]*T, error) {
	var after *T
	if q.marker != "" {
		m, err := rs.find(v, q.marker)
		if err != nil {
			return nil, err
		}
		after = &m
	}
	if objs, ok := rs.walkPage(v, q); ok {
		return objs, nil
	}
	objs := rs.candidates(v, q)
	order := func(a, b *T) int { return q.compare(rs, v, a, b) }
	if !slices.IsSortedFunc(objs, order) {
		slices.SortFunc(objs, order)
	}
	objs = slices.CompactFunc(objs, func(a, b *T) bool { return rs.id(a) == rs.id(b) })
	if after != nil {
		at, found := slices.BinarySearchFunc(objs, after, order)
		switch {
		case q.reverse:
			objs = objs[:at]
		case found:
			objs = objs[at+1:]
		default:
			objs = objs[at:]
		}
	}
	if q.limit > 0 && len(objs) > q.limit {
		if q.reverse {
			objs = objs[len(objs)-q.limit:]
		} else {
			objs = objs[:q.limit]
		}
	}
	return objs, nil
}

// byID reports whether the order is that of ids, and whether it is the falling one.
func (q *query[T]) byID() (ok, falling bool) {
	if len(q.sort) == 0 {
		return true, false
	}
	return q.sort[0].attr.Name == "id", q.sort[0].desc
}

// walkPage walks the table, or the index that serves a filter, from the marker until the page is full, so that paging through everything
// costs each page only once. It reports false if another way is better, or the only one: an order other than that of ids, a filter that is
// looked up in another way, or a project whose objects are so thinly spread that by half of their number of steps the page is not full.
func (rs *Resource[T]) walkPage(v *view, q *query[T]) ([]*T, bool) {
	ok, falling := q.byID()
	if q.limit == 0 || !ok || rs.from == nil {
		return nil, false
	}
	back := falling != q.reverse
	order := func(a, b *T) int { return strings.Compare(rs.id(a), rs.id(b)) }
	if back {
		order = func(a, b *T) int { return strings.Compare(rs.id(b), rs.id(a)) }
	}
	var objs []*T
	switch l, keys := rs.lookup(q); {
	case l != nil && l.in == nil:
		return nil, false
	case l != nil:
		walk := l.in.From
		if back {
			walk = l.in.Before
		}
		for _, key := range keys { // the page is among the first of each
			some, _ := rs.take(v, q, walk(v.r, key, q.marker), -1)
			objs = append(objs, some...)
		}
		if len(keys) > 1 {
			slices.SortFunc(objs, order)
			objs = slices.CompactFunc(objs, func(a, b *T) bool { return rs.id(a) == rs.id(b) })
			objs = objs[:min(len(objs), q.limit)]
		}
	default:
		walk, steps := rs.from, -1 // any number: the other way is to walk all of the table
		if back {
			if walk = rs.back; walk == nil {
				return nil, false
			}
		}
		if !v.readsAll() {
			steps = usage.Count(v.r, string(v.who.ProjectID), rs.name) / 2
		}
		if objs, ok = rs.take(v, q, walk(v.r, q.marker), steps); !ok {
			return nil, false
		}
	}
	if q.reverse { // a page is shown in the list's own order
		slices.Reverse(objs)
	}
	return objs, true
}

// take gives the first of a walk that match, as many as a page has, without the marker. It reports false if that took all the steps.
func (rs *Resource[T]) take(v *view, q *query[T], walk iter.Seq[T], steps int) ([]*T, bool) {
	objs := make([]*T, 0, min(q.limit, 1000))
	for o := range walk {
		if steps == 0 {
			return nil, false
		}
		steps--
		if rs.id(&o) == q.marker || !rs.matches(v, q, &o) {
			continue
		}
		if objs = append(objs, &o); len(objs) == q.limit {
			break
		}
	}
	return objs, true
}

func (rs *Resource[T]) serveList(rq *request) error {
	v := rq.view(rq.api.store.Snapshot())
	q, err := rs.parseQuery(v, rq.query)
	if err != nil {
		return err
	}
	if u := rq.under; u != nil { // a condition like a filter, so that an index may serve it
		q.filters = append(q.filters, filter[T]{attr: rs.byName[u.attr], values: []string{u.id}})
	}
	if q.marker != "" {
		if _, err := rs.find(v, q.marker); err != nil {
			return err
		}
	}
	if rs.before != nil && rq.api.cfg.ReadOnly == "" && rs.missed(v) {
		snap, err := rq.commit(func(w *work) error { return rs.before(w, v) })
		if err != nil {
			return err
		}
		v = rq.view(snap)
	}
	objs, err := rs.list(v, q)
	if err != nil {
		return err
	}
	b := rs.array(v, objs, rq.query["fields"])
	if q.limit > 0 {
		b = append(b, `,"`+rs.plural+`_links":`...)
		b = jsonbody.Append(b, rs.links(rq, q.page, objs))
	}
	return rq.answer(http.StatusOK, append(b, '}'))
}

// links point to the pages beside this one. A full page has a next one, and a page that is not empty a previous one, whether or
// not anything is there.
func (rs *Resource[T]) links(rq *request, p page, objs []*T) any {
	links := []any{}
	if len(objs) == 0 {
		return links
	}
	link := func(rel, marker string, reverse bool) {
		q := url.Values{}
		for k, vs := range rq.query {
			if k != "marker" && k != "page_reverse" {
				q[k] = vs
			}
		}
		q.Set("marker", marker)
		if reverse {
			q.Set("page_reverse", "True")
		}
		links = append(links, map[string]any{"rel": rel, "href": rq.base() + rq.r.URL.Path + "?" + q.Encode()})
	}
	full := len(objs) == p.limit
	if full || p.reverse {
		link("next", rs.id(objs[len(objs)-1]), false)
	}
	if full || !p.reverse {
		link("previous", rs.id(objs[0]), true)
	}
	return links
}
