// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"net/http"
	"strings"

	"nagare/internal/api/jsonbody"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// DefaultQuotas are the limits of a project unless configured; -1 is none.
var DefaultQuotas = map[string]int{"network": 100, "subnet": 100, "port": 500, "security_group": 10, "security_group_rule": 100,
	"router": 10, "floatingip": 50}

// counted are the resources that quota limits.
func (c *Config) counted() []string {
	all := []string{"network", "subnet", "port", "security_group", "security_group_rule"}
	if c.Routers {
		all = append(all, "router", "floatingip")
	}
	return all
}

// limits are a project's own quotas, set by an administrator.
type limits struct {
	Project model.ProjectID `json:"project"`
	Limits  map[string]int  `json:"limits"`
}

var quotaLimits = store.Declare[model.ProjectID, limits](tables.Schema, "quota-limits", store.Intent)

// usage counts the objects of a project: group = project, member = resource, count = how many. A subject is "resource|id".
var usage = func() *store.Derived {
	d := store.DeclareDerived(tables.Schema, "quota-usage", func(r store.Reader, subject string) []store.Member {
		kind, id, _ := strings.Cut(subject, "|")
		var p model.ProjectID
		var ok bool
		switch kind {
		case "network":
			var o model.Network
			o, ok = tables.Networks.Get(r, model.NetworkID(id))
			p = o.Project
		case "subnet":
			var o model.Subnet
			o, ok = tables.Subnets.Get(r, model.SubnetID(id))
			p = o.Project
		case "port":
			var o model.Port
			o, ok = tables.Ports.Get(r, model.PortID(id))
			p = o.Project
		case "security_group":
			var o model.SecurityGroup
			o, ok = tables.SecurityGroups.Get(r, model.SecurityGroupID(id))
			p = o.Project
		case "security_group_rule":
			var o model.SecurityGroupRule
			o, ok = tables.Rules.Get(r, model.SecurityGroupRuleID(id))
			p = o.Project
		case "router":
			var o model.Router
			o, ok = tables.Routers.Get(r, model.RouterID(id))
			p = o.Project
		case "floatingip":
			var o model.FloatingIP
			o, ok = tables.FloatingIPs.Get(r, model.FloatingIPID(id))
			p = o.Project
		}
		if !ok {
			return nil
		}
		return []store.Member{{Group: string(p), Name: kind}}
	})
	store.From(d, tables.Networks, func(_ store.Reader, o model.Network) []string { return []string{"network|" + string(o.ID)} })
	store.From(d, tables.Subnets, func(_ store.Reader, o model.Subnet) []string { return []string{"subnet|" + string(o.ID)} })
	store.From(d, tables.Ports, func(_ store.Reader, o model.Port) []string { return []string{"port|" + string(o.ID)} })
	store.From(d, tables.SecurityGroups, func(_ store.Reader, o model.SecurityGroup) []string {
		return []string{"security_group|" + string(o.ID)}
	})
	store.From(d, tables.Rules, func(_ store.Reader, o model.SecurityGroupRule) []string {
		return []string{"security_group_rule|" + string(o.ID)}
	})
	store.From(d, tables.Routers, func(_ store.Reader, o model.Router) []string { return []string{"router|" + string(o.ID)} })
	store.From(d, tables.FloatingIPs, func(_ store.Reader, o model.FloatingIP) []string { return []string{"floatingip|" + string(o.ID)} })
	return d
}()

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
		case !v.admin:
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
	if !v.mine(project) && !v.admin && !(read && v.service) {
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
		if !v.admin {
			return forbidden(map[string]string{http.MethodPut: "update_quota", http.MethodDelete: "delete_quota"}[m], nil)
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
