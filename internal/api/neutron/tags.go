// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"net/http"
	"slices"
	"strings"

	"nagare/internal/api/jsonbody"
)

func init() {
	declare(part{extensions: []extension{
		{"standard-attr-tag", "Tag support for resources with standard attribute: network, subnet, port, security_group, router, floatingip", "Enables to set tag on resources with standard attribute.", "2017-01-01T00:00:00-00:00"},
		{"tag-creation", "Tag creation extension", "Allow to create multiple tags for a resource", "2024-07-23T10:00:00-00:00"},
	}})
}

const (
	maxTags   = 50
	maxTagLen = 60
)

func tagList(tags []string) []string {
	if tags == nil {
		return []string{}
	}
	return tags
}

var tagParser = list[string](maxTags, tagText, false)

func tagText(v any) (any, error) {
	s, err := text(maxTagLen)(v)
	if err != nil {
		return nil, err
	}
	if t := s.(string); t == "" || strings.ContainsAny(t, ",/") {
		return nil, because("'%s' is not a valid tag: it is empty or has a comma or a slash", show(t))
	}
	return s, nil
}

// tagSet orders tags and drops repeated ones.
func tagSet(tags []string) []string {
	tags = slices.Clone(tags)
	slices.Sort(tags)
	return slices.Compact(tags)
}

// tagFilter is a condition on the tags of an object: with all or any of the names, or its opposite.
type tagFilter struct {
	names    []string
	all, not bool
}

func tagFilterFor(param string, values []string) (tagFilter, bool) {
	var names []string
	for _, v := range values {
		names = append(names, strings.Split(v, ",")...)
	}
	f := tagFilter{names: names}
	switch param {
	case "tags":
		f.all = true
	case "tags-any":
	case "not-tags":
		f.all, f.not = true, true
	case "not-tags-any":
		f.not = true
	default:
		return f, false
	}
	return f, true
}

func hasTags(tags, want []string, all bool) bool {
	has := func(t string) bool { return slices.Contains(tags, t) }
	if all {
		return !slices.ContainsFunc(want, func(t string) bool { return !has(t) })
	}
	return slices.ContainsFunc(want, has)
}

func (rs *Resource[T]) tagsMatch(o *T, filters []tagFilter) bool {
	for _, f := range filters {
		if hasTags(rs.std(o).Tags, f.names, f.all) == f.not {
			return false
		}
	}
	return true
}

// serveTags answers /{collection}/{id}/tags and /{collection}/{id}/tags/{tag}.
func (rs *Resource[T]) serveTags(rq *request, m, id string, rest []string) error {
	single := len(rest) == 1
	gone := func() *Error {
		return fail(http.StatusNotFound, "TagNotFound", "Tag %s could not be found.", show(rest[0]))
	}
	body := func(tags []string) []byte {
		return append(jsonbody.Append([]byte(`{"tags":`), tagList(tags)), '}')
	}
	edit := func(f func([]string) ([]string, error), code int, out bool) error {
		return rs.modify(rq, id, func(w *work, o T) (T, error) {
			tags, err := f(slices.Clone(rs.std(&o).Tags))
			if err != nil {
				return o, err
			}
			if len(tags) > maxTags {
				return o, badRequest("Invalid input for tags. Reason: more than %d tags.", maxTags)
			}
			rs.std(&o).Tags = tagSet(tags)
			return o, nil
		}, func(_ *view, o *T) error {
			if out {
				return rq.answer(code, body(rs.std(o).Tags))
			}
			rq.w.WriteHeader(code)
			return nil
		})
	}
	switch {
	case m == http.MethodGet:
		o, err := rs.find(rq.view(rq.api.store.Snapshot()), id)
		if err != nil {
			return err
		}
		if !single {
			return rq.answer(http.StatusOK, body(rs.std(&o).Tags))
		}
		if !slices.Contains(rs.std(&o).Tags, rest[0]) {
			return gone()
		}
		rq.w.WriteHeader(http.StatusNoContent)
		return nil
	case !single && (m == http.MethodPut || m == http.MethodPost):
		in, err := rq.body()
		if err != nil {
			return err
		}
		raw, ok := in["tags"]
		if !ok || raw == nil || len(in) > 1 {
			return badRequest("Invalid tags body")
		}
		tags, err := tagParser(raw)
		if err != nil {
			return badRequest("Invalid input for tags. Reason: %s.", err)
		}
		if m == http.MethodPost { // adds to what is there
			return edit(func(old []string) ([]string, error) { return append(old, tags.([]string)...), nil }, http.StatusCreated, true)
		}
		return edit(func([]string) ([]string, error) { return tags.([]string), nil }, http.StatusOK, true)
	case m == http.MethodPut:
		if _, err := tagText(rest[0]); err != nil {
			return badRequest("Invalid input for tags. Reason: %s.", err)
		}
		return edit(func(old []string) ([]string, error) { return append(old, rest[0]), nil }, http.StatusCreated, false)
	case m == http.MethodDelete && !single:
		return edit(func([]string) ([]string, error) { return nil, nil }, http.StatusNoContent, false)
	case m == http.MethodDelete:
		return edit(func(old []string) ([]string, error) {
			at := slices.Index(old, rest[0])
			if at < 0 {
				return nil, gone()
			}
			return slices.Delete(old, at, at+1), nil
		}, http.StatusNoContent, false)
	}
	return methodNotAllowed(rq.r.Method)
}
