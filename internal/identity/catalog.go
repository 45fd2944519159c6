// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"strings"

	"github.com/google/uuid"
)

// service is one entry of the catalog. Its ids follow from its name, so that they survive restarts.
type service struct{ kind, name, url string }

func (s *Service) services() []service {
	out := []service{{"identity", "keystone", s.cfg.PublicURL}}
	if s.cfg.NetworkURL != "" {
		out = append(out, service{"network", "neutron", strings.TrimSuffix(s.cfg.NetworkURL, "/")})
	}
	return out
}

func stableID(parts ...string) string {
	u := uuid.NewSHA1(uuid.NameSpaceDNS, []byte(strings.Join(parts, ".")+".nagare"))
	return strings.ReplaceAll(u.String(), "-", "")
}

var interfaces = []string{"public", "internal", "admin"}

func (s *Service) endpoints(sv service) []any {
	var out []any
	for _, i := range interfaces {
		out = append(out, map[string]any{"id": stableID(i, sv.kind), "interface": i, "region": s.cfg.Region, "region_id": s.cfg.Region, "url": sv.url})
	}
	return out
}

func (s *Service) catalog() []any {
	var out []any
	for _, sv := range s.services() {
		out = append(out, map[string]any{"id": stableID(sv.kind), "type": sv.kind, "name": sv.name, "endpoints": s.endpoints(sv)})
	}
	return out
}

func (c *call) showCatalog() error {
	if c.ses.claims.Target == "" {
		return errForbidden
	}
	return c.ok(200, map[string]any{"catalog": c.catalog(), "links": c.links("/auth/catalog")})
}

func (s *Service) serviceBody(sv service) map[string]any {
	return map[string]any{"id": stableID(sv.kind), "type": sv.kind, "name": sv.name, "enabled": true, "description": "",
		"links": map[string]any{"self": s.cfg.PublicURL + "/services/" + stableID(sv.kind)}}
}

func (c *call) listServices() error {
	out := []any{}
	q := c.r.URL.Query()
	for _, sv := range c.services() {
		if (!q.Has("name") || q.Get("name") == sv.name) && (!q.Has("type") || q.Get("type") == sv.kind) {
			out = append(out, c.serviceBody(sv))
		}
	}
	return c.ok(200, map[string]any{"services": out, "links": c.links("/services")})
}

func (c *call) showService() error {
	for _, sv := range c.services() {
		if stableID(sv.kind) == c.r.PathValue("id") {
			return c.ok(200, map[string]any{"service": c.serviceBody(sv)})
		}
	}
	return notFound("service", c.r.PathValue("id"))
}

func (c *call) listEndpoints() error {
	out := []any{}
	q := c.r.URL.Query()
	for _, sv := range c.services() {
		for _, e := range c.endpoints(sv) {
			m := e.(map[string]any)
			m["service_id"], m["enabled"] = stableID(sv.kind), true
			m["links"] = map[string]any{"self": c.cfg.PublicURL + "/endpoints/" + m["id"].(string)}
			if (!q.Has("interface") || q.Get("interface") == m["interface"]) && (!q.Has("service_id") || q.Get("service_id") == m["service_id"]) &&
				(!q.Has("region_id") || q.Get("region_id") == m["region_id"]) {
				out = append(out, m)
			}
		}
	}
	return c.ok(200, map[string]any{"endpoints": out, "links": c.links("/endpoints")})
}

func (s *Service) regionBody() map[string]any {
	return map[string]any{"id": s.cfg.Region, "description": "", "parent_region_id": nil,
		"links": map[string]any{"self": s.cfg.PublicURL + "/regions/" + s.cfg.Region}}
}

func (c *call) listRegions() error {
	return c.ok(200, map[string]any{"regions": []any{c.regionBody()}, "links": c.links("/regions")})
}

func (c *call) showRegion() error {
	if c.r.PathValue("id") != c.cfg.Region {
		return notFound("region", c.r.PathValue("id"))
	}
	return c.ok(200, map[string]any{"region": c.regionBody()})
}

func (s *Service) versionBody() map[string]any {
	return map[string]any{"id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z",
		"links":       []any{map[string]any{"rel": "self", "href": s.cfg.PublicURL + "/"}},
		"media-types": []any{map[string]any{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}}}
}

func (c *call) version() error { return c.ok(200, map[string]any{"version": c.versionBody()}) }

// versions answers the root; 300 (Multiple Choices) is what clients of Keystone know.
func (c *call) versions() error {
	return c.ok(300, map[string]any{"versions": map[string]any{"values": []any{c.versionBody()}}})
}
