// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"net/http"
	"slices"
	"strings"

	"nagare/internal/api/jsonbody"
	"nagare/internal/model"
	"nagare/internal/policy"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// DefaultQuotas are the limits of a project unless configured; -1 is none. Declarations of resources fill it.
var DefaultQuotas = map[string]int{}

// counter makes a resource's objects count against a project's quota.
type counter[T any] struct {
	limit int // the default; -1: none
	feed  func(subject func(o *T) string)
	id    func(o *T) string
}

// atMost limits the objects of a table per project, unless configured otherwise; -1 is no limit.
func atMost[K ~string, T any](limit int, t *store.Table[K, T], id func(o *T) string) *counter[T] {
	return &counter[T]{limit: limit, id: id, feed: func(subject func(o *T) string) {
		store.From(usage, t, func(_ store.Reader, o T) []string { return []string{subject(&o)} })
	}}
}

// tracked is what usage knows of a counted resource.
type tracked struct {
	name    string
	when    func(*Config) bool
	project func(r store.Reader, id string) (model.ProjectID, bool)
}

var counters = map[string]tracked{}

// count declares the resource as counted.
func (c *counter[T]) count(name string, when func(*Config) bool, project func(store.Reader, string) (model.ProjectID, bool)) {
	DefaultQuotas[name] = c.limit
	counters[name] = tracked{name, when, project}
	c.feed(func(o *T) string { return name + "|" + c.id(o) })
}

// counted are the resources that quota limits, in order of their names.
func (c *Config) counted() (all []string) {
	for name, t := range counters {
		if t.when == nil || t.when(c) {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

func init() {
	declare(part{
		collections: []collection{{"quota", "quotas", "quotas", ruledFunc(serveQuotas)}},
		rules: []policy.Default{{Name: "get_quota", Check: "rule:admin_or_owner or rule:context_is_advsvc or rule:context_with_global_access"},
			{Name: "update_quota", Check: "rule:admin_only"}, {Name: "delete_quota", Check: "rule:admin_only"}},
		extensions: []extension{
			{"quota-check-limit", "Quota engine limit check", "Support for checking the resource usage before applying a new quota limit", "2019-08-13T00:00:00-00:00"},
			{"quota_details", "Quota details management support", "Expose functions for quotas usage statistics per project", "2017-02-10T10:00:00-00:00"},
			{"quotas", "Quota management support", "Expose functions for quotas management per project", "2012-07-29T10:00:00-00:00"},
		},
	})
}

// limits are a project's own quotas, set by an administrator.
type limits struct {
	Project model.ProjectID `json:"project"`
	Limits  map[string]int  `json:"limits"`
}

var quotaLimits = store.Declare[model.ProjectID, limits](tables.Schema, "quota-limits", store.Intent)

// usage counts the objects of a project: group = project, member = resource, count = how many. A subject is "resource|id".
var usage = store.DeclareDerived(tables.Schema, "quota-usage", func(r store.Reader, subject string) []store.Member {
	name, id, _ := strings.Cut(subject, "|")
	p, ok := counters[name].project(r, id)
	if !ok {
		return nil
	}
	return []store.Member{{Group: string(p), Name: name}}
})

// limit is a project's quota of a resource; -1 is none.
func (v *view) limit(p model.ProjectID, resource string) int {
	if own, ok := quotaLimits.Get(v.r, p); ok {
		if n, ok := own.Limits[resource]; ok {
			return n
		}
	}
	if n, ok := v.api.cfg.Quotas[resource]; ok {
		return n
	}
	return -1
}

// charge refuses one more object beyond the quota. Transactions run one after another, so the count is exact; what this
// transaction made is not in the derived table yet and is counted beside it.
func (w *work) charge(p model.ProjectID, resource string) error {
	lim := w.limit(p, resource)
	if lim < 0 {
		return nil
	}
	key := resource + "|" + string(p)
	if usage.Count(w.tx, string(p), resource)+w.made[key] >= lim {
		return conflict("OverQuota", "Quota exceeded for resources: ['%s'].", resource)
	}
	w.made[key]++
	return nil
}

// serveQuotas answers /quotas, /quotas/{project}, /quotas/{project}/default and /quotas/{project}/details.
func serveQuotas(rq *request, rest []string) error {
	v := rq.view(rq.api.store.Snapshot())
	m := rq.r.Method
	read := m == http.MethodGet || m == http.MethodHead
	if len(rest) == 0 {
		switch {
		case !read:
			return methodNotAllowed(m)
		case !v.permits("get_quota", v.admin || v.global, ""):
			return forbidden("get_quota", nil)
		}
		all := []any{}
		for p := range quotaLimits.All(v.r) {
			q := v.quota(p, v.limit)
			q["project_id"], q["tenant_id"] = string(p), string(p)
			all = append(all, q)
		}
		return rq.answer(http.StatusOK, jsonbody.Append(nil, map[string]any{"quotas": all}))
	}
	project := model.ProjectID(rest[0])
	if rest[0] == "tenant" || rest[0] == "project" { // whose quota a token's holder may ask for
		project = v.who.ProjectID
		return rq.answer(http.StatusOK, jsonbody.Append(nil, map[string]any{"tenant": map[string]any{"tenant_id": string(project)}}))
	}
	if len(project) > 255 || strings.ContainsRune(string(project), 0) {
		return notFoundPath()
	}
	if read && !v.permits("get_quota", v.mine(project) || v.readsAll(), project) {
		return forbidden("get_quota", nil)
	}
	switch {
	case len(rest) == 1 && read:
		return rq.quotaAnswer(v.quota(project, v.limit))
	case len(rest) == 2 && read && rest[1] == "default":
		return rq.quotaAnswer(v.quota(project, func(_ model.ProjectID, res string) int {
			return (&view{r: v.r, api: v.api}).limit("", res)
		}))
	case len(rest) == 2 && read && (rest[1] == "details" || rest[1] == "details.json"):
		out := map[string]any{}
		for _, res := range v.api.cfg.counted() {
			out[res] = map[string]any{"limit": v.limit(project, res), "used": usage.Count(v.r, string(project), res), "reserved": 0}
		}
		return rq.quotaAnswer(out)
	case len(rest) == 1 && (m == http.MethodPut || m == http.MethodDelete):
		if name := map[string]string{http.MethodPut: "update_quota", http.MethodDelete: "delete_quota"}[m]; !v.permits(name, v.admin, project) {
			return forbidden(name, nil)
		}
		return rq.changeQuota(project)
	case len(rest) == 1:
		return methodNotAllowed(m)
	}
	return notFoundPath()
}

func (v *view) quota(p model.ProjectID, limit func(model.ProjectID, string) int) map[string]any {
	out := map[string]any{}
	for _, res := range v.api.cfg.counted() {
		out[res] = limit(p, res)
	}
	return out
}

func (rq *request) quotaAnswer(q map[string]any) error {
	return rq.answer(http.StatusOK, jsonbody.Append(nil, map[string]any{"quota": q}))
}

func (rq *request) changeQuota(p model.ProjectID) error {
	if rq.r.Method == http.MethodDelete {
		if _, err := rq.commit(func(w *work) error {
			quotaLimits.Delete(w.tx, p)
			return nil
		}); err != nil {
			return err
		}
		rq.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	body, err := rq.body()
	if err != nil {
		return err
	}
	in, ok := body["quota"].(map[string]any)
	if !ok {
		return badRequest("Unable to find 'quota' in request body")
	}
	fresh := map[string]int{}
	for name, raw := range in {
		known := false
		for _, res := range rq.api.cfg.counted() {
			known = known || res == name
		}
		if name == "tenant_id" || name == "project_id" || name == "check_limit" || name == "force" {
			continue
		}
		if !known {
			return badRequest("Unrecognized attribute(s) '%s'", show(name))
		}
		n, err := integer(-1, 1<<31-1)(raw)
		if r, ok := err.(reason); ok {
			return badRequest("Invalid input for %s. Reason: %s.", name, r)
		}
		if err != nil {
			return err
		}
		fresh[name] = n.(int)
	}
	check, err := boolean(orFalse(in["check_limit"]))
	if err != nil {
		return err
	}
	snap, err := rq.commit(func(w *work) error {
		l, _ := quotaLimits.Get(w.tx, p)
		merged := map[string]int{}
		for k, n := range l.Limits {
			merged[k] = n
		}
		for k, n := range fresh {
			if used := usage.Count(w.tx, string(p), k); check.(bool) && n >= 0 && used > n {
				return badRequest("Quota limit %d of %s is below the %d in use", n, k, used)
			}
			merged[k] = n
		}
		quotaLimits.Put(w.tx, p, limits{Project: p, Limits: merged})
		return nil
	})
	if err != nil {
		return err
	}
	v := rq.view(snap)
	return rq.quotaAnswer(v.quota(p, v.limit))
}

func orFalse(v any) any {
	if v == nil {
		return false
	}
	return v
}
