// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"nagare/internal/api/jsonbody"
	"nagare/internal/model"
	"nagare/internal/tables"
)

// query is what a list is asked for.
type query struct {
	filters []filter
	limit   int // 0: no paging
	marker  string
	reverse bool
}

// filter is a condition on one attribute: any of the values.
type filter struct {
	name   string
	values []string
}

// unfiltered are attributes whose filters OpenDaylight takes and does not apply.
var unfiltered = []string{"provider:network_type", "provider:physical_network", "provider:segmentation_id"}

// colons are the names with a colon, which filters write with "_".
var colons = func() map[string]string {
	m := map[string]string{}
	for _, name := range append([]string{"router:external", "binding:host_id", "binding:vnic_type", "binding:vif_type", "binding:profile", "binding:vif_details"}, unfiltered...) {
		m[strings.ReplaceAll(name, ":", "_")] = name
	}
	return m
}()

// parseQuery reads the parameters of a list. Parameters that name no attribute are ignored, as OpenDaylight does.
func parseQuery(q url.Values, paged bool) (out query, err error) {
	for name, values := range q {
		switch name {
		case "fields":
			continue
		case "limit", "marker", "page_reverse":
			continue
		}
		if full, ok := colons[name]; ok {
			name = full
		}
		if !slices.Contains(unfiltered, name) {
			out.filters = append(out.filters, filter{name, values})
		}
	}
	slices.SortFunc(out.filters, func(a, b filter) int { return strings.Compare(a.name, b.name) })
	if !paged {
		return out, nil
	}
	if s := q.Get("limit"); s != "" {
		if out.limit, err = strconv.Atoi(s); err != nil || out.limit < 0 {
			return out, badRequest("Invalid limit '%s': want a number from 0", show(s))
		}
	}
	if s := q.Get("marker"); s != "" {
		var ok bool
		if out.marker, ok = canonical(s); !ok {
			return out, notFound("Marker %s does not exist.", show(s))
		}
	}
	if s := q.Get("page_reverse"); s != "" {
		var ok bool
		if out.reverse, ok = toBool(s); !ok {
			return out, badRequest("Invalid page_reverse '%s': want true or false", show(s))
		}
	}
	return out, nil
}

func (c *core[T]) serveList(rq *request) error {
	q, err := parseQuery(rq.query, c.paged)
	if err != nil {
		return err
	}
	e := &env{rq.handler, rq.Store.Snapshot()}
	if q.marker != "" {
		if _, ok := c.get(e.r, q.marker); !ok {
			return notFound("Marker %s does not exist.", show(q.marker))
		}
	}
	objs, before, after := c.page(e, &q)
	b := c.array(e, objs, rq.query["fields"])
	if q.limit > 0 {
		b = append(b, `,"`+c.plural+`_links":`...)
		b = jsonbody.Append(b, c.links(rq, objs, before, after))
	}
	return rq.answer(http.StatusOK, append(b, '}'))
}

// page gives the objects of a page in order of ids, and whether there are more before and after it.
func (c *core[T]) page(e *env, q *query) (objs []*T, before, after bool) {
	if q.reverse {
		all := c.matching(e, q, "", 0)
		if q.marker != "" {
			at := slices.IndexFunc(all, func(o *T) bool { return c.id(o) >= q.marker })
			if at >= 0 {
				all, after = all[:at], true
			}
		}
		if q.limit > 0 && len(all) > q.limit {
			all, before = all[len(all)-q.limit:], true
		}
		return all, before, after
	}
	most := 0
	if q.limit > 0 {
		most = q.limit + 1
	}
	objs = c.matching(e, q, q.marker, most)
	if q.limit > 0 && len(objs) > q.limit {
		objs, after = objs[:q.limit], true
	}
	return objs, q.marker != "", after
}

// matching gives the objects after a marker that match, at most so many (0: all), in order of ids. It asks an index if one serves
// a filter.
func (c *core[T]) matching(e *env, q *query, marker string, most int) []*T {
	objs := []*T{}
	seen := map[string]bool{} // several values of a filter may find the same object
	add := func(seq iter.Seq[T], unique bool) {
		for o := range seq {
			id := c.id(&o)
			if id <= marker || !unique && seen[id] || !c.matches(e, &o, q.filters) {
				continue
			}
			if !unique {
				seen[id] = true
			}
			objs = append(objs, &o)
			if unique && most > 0 && len(objs) == most {
				return
			}
		}
	}
	for _, l := range c.lookups {
		for _, f := range q.filters {
			if f.name != l.attr {
				continue
			}
			for _, v := range f.values {
				if id, ok := canonical(v); ok && (l.attr == "id" || strings.HasSuffix(l.attr, "_id") && l.attr != "tenant_id" && l.attr != "project_id" && l.attr != "device_id") {
					v = id
				}
				if !strings.ContainsRune(v, 0) { // an index key cannot hold NUL, and no stored text does
					add(l.by(e.r, v), false)
				}
			}
			slices.SortFunc(objs, func(a, b *T) int { return strings.Compare(c.id(a), c.id(b)) })
			if most > 0 && len(objs) > most {
				objs = objs[:most]
			}
			return objs
		}
	}
	add(c.from(e.r, marker), true)
	return objs
}

func (c *core[T]) matches(e *env, o *T, filters []filter) bool {
	if len(filters) == 0 {
		return true
	}
	f, _ := tables.Foreign.Get(e.r, model.ForeignKey(c.kind, c.id(o)))
	forms, attrs := decodeForms(f.Forms), map[string]json.RawMessage(nil)
	for _, want := range filters {
		at := slices.IndexFunc(c.attrs, func(a attr[T]) bool { return a.name == want.name })
		var v any
		if at >= 0 {
			v = c.attrs[at].value(e, o, forms)
		} else {
			if attrs == nil {
				attrs = decodeForms(f.Attrs)
			}
			raw, ok := attrs[want.name]
			if !ok {
				if !knownFilters[want.name] {
					continue // names nothing, and so does not filter
				}
			} else {
				v = jsonbody.Raw(raw)
			}
		}
		if !slices.ContainsFunc(want.values, func(s string) bool { return equals(v, s) }) {
			return false
		}
	}
	return true
}

// knownFilters are attributes that the model does not hold and that filter nevertheless: who lacks them does not match.
var knownFilters = map[string]bool{"qos_policy_id": true, "binding:vif_type": true, "distributed": true, "ha": true, "segment_id": true, "subnetpool_id": true}

// equals compares a value as shown with a filter's text.
func equals(v any, want string) bool {
	if raw, ok := v.(jsonbody.Raw); ok {
		var s string
		if json.Unmarshal(raw, &s) == nil {
			v = s
		} else {
			v = string(raw)
		}
	}
	switch v := v.(type) {
	case nil:
		return want == ""
	case string:
		if v == want {
			return true
		}
		id, ok := canonical(want)
		return ok && v == id
	case bool:
		b, ok := toBool(want)
		return ok && b == v
	case int:
		return strconv.Itoa(v) == want
	}
	return fmt.Sprint(v) == want
}

// links point to the pages beside this one.
func (c *core[T]) links(rq *request, objs []*T, before, after bool) any {
	out := []any{}
	if len(objs) == 0 {
		return out
	}
	link := func(ref string, marker *T, reverse bool) {
		q := url.Values{}
		for k, v := range rq.query {
			q[k] = v
		}
		q.Set("marker", c.id(marker))
		q.Del("page_reverse")
		if reverse {
			q.Set("page_reverse", "true")
		}
		scheme := "http"
		if rq.r.TLS != nil {
			scheme = "https"
		}
		out = append(out, map[string]any{"ref": ref, "href": scheme + "://" + rq.r.Host + strings.TrimSuffix(rq.r.URL.Path, "/") + "?" + q.Encode()})
	}
	if after {
		link("next", objs[len(objs)-1], false)
	}
	if before {
		link("previous", objs[0], true)
	}
	return out
}
