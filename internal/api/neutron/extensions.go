// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"net/http"
	"slices"

	"nagare/internal/api/jsonbody"
)

// extension is one entry of the list by which clients learn what the API can do.
type extension struct{ alias, name, about, updated string }

// needFilters are the extensions that hold true only where the pipeline enforces groups (Config.filters).
var needFilters = []string{"address-group", "security-groups-remote-address-group", "stateful-security-group"}

// needRouters are the extensions that hold true only where there are routers (Config.Routers).
var needRouters = []string{"ext-gw-mode", "extraroute", "extraroute-atomic", "fip-port-details", "router"}

// held are the extensions that hold true in this configuration.
func (c *Config) held(alias string) bool {
	return (c.filters() || !slices.Contains(needFilters, alias)) && (c.Routers || !slices.Contains(needRouters, alias))
}

// extensions are those whose behaviour exists, each in full: clients change their calls, and Nova its ways, accordingly.
var extensions = []extension{
	{"aap-reject-multicast", "Allowed address pairs reject multicast extension", "Reject multicast addresses in Allowed Address Pairs", "2026-04-01T00:00:00-00:00"},
	{"address-group", "Address group", "Support address group", "2020-07-15T10:00:00-00:00"},
	{"allowed-address-pairs", "Allowed Address Pairs", "Provides allowed address pairs", "2013-07-23T10:00:00-00:00"},
	{"binding", "Port Binding", "Expose port bindings of a virtual port to external application", "2014-02-03T10:00:00-00:00"},
	{"empty-string-filtering", "Empty String Filtering Extension", "Allow filtering by attributes with empty string value", "2018-04-09T10:00:00-00:00"},
	{"ext-gw-mode", "Neutron L3 Configurable external gateway mode", "Extension of the router abstraction for specifying whether SNAT should occur on the external gateway", "2013-03-28T10:00:00-00:00"},
	{"external-net", "Neutron external network", "Adds external network attribute to network resource.", "2013-01-14T10:00:00-00:00"},
	{"extraroute", "Neutron Extra Route", "Extra routes configuration for L3 router", "2013-02-01T10:00:00-00:00"},
	{"extraroute-atomic", "Atomically add/remove extra routes", "Edit extra routes of a router on server side by atomically adding/removing extra routes", "2019-07-10T00:00:00+00:00"},
	{"filter-validation", "Filter parameters validation", "Provides validation on filter parameters.", "2018-03-21T10:00:00-00:00"},
	{"fip-port-details", "Floating IP Port Details Extension", "Add port_details attribute to Floating IP resource", "2018-04-09T10:00:00-00:00"},
	{"ip-substring-filtering", "IP address substring filtering", "Provides IP address substring filtering when listing ports", "2017-11-28T09:00:00-00:00"},
	{"net-mtu", "Network MTU", "Provides MTU attribute for a network resource.", "2015-03-25T10:00:00-00:00"},
	{"net-mtu-writable", "Network MTU (writable)", "Provides a writable MTU attribute for a network resource.", "2017-07-12T00:00:00-00:00"},
	{"pagination", "Pagination support", "Extension that indicates that pagination is enabled.", "2016-06-12T00:00:00-00:00"},
	{"port-security", "Port Security", "Provides port security", "2012-07-23T10:00:00-00:00"},
	{"project-id", "project_id field enabled", "Extension that indicates that project_id field is enabled.", "2016-09-09T09:09:09-09:09"},
	{"provider", "Provider Network", "Expose mapping of virtual networks to physical networks", "2012-09-07T10:00:00-00:00"},
	{"quota_details", "Quota details management support", "Expose functions for quotas usage statistics per project", "2017-02-10T10:00:00-00:00"},
	{"quotas", "Quota management support", "Expose functions for quotas management per project", "2012-07-29T10:00:00-00:00"},
	{"revision-if-match", "If-Match constraints based on revision_number", "Extension indicating that If-Match based on revision_number is supported.", "2016-12-11T00:00:00-00:00"},
	{"router", "Neutron L3 Router", "Router abstraction for basic L3 forwarding between L2 Neutron networks and access to external networks via a NAT gateway.", "2012-07-20T10:00:00-00:00"},
	{"security-group", "security-group", "The security groups extension.", "2012-10-05T10:00:00-00:00"},
	{"security-groups-remote-address-group", "Remote address group id field for security group rules", "Add new field of remote address group id in SG rules", "2020-08-25T10:00:00-00:00"},
	{"security-groups-normalized-cidr", "Normalized CIDR field for security group rules", "Add new field with normalized remote_ip_prefix cidr in SG rule", "2019-10-21T10:00:00-00:00"},
	{"sorting", "Sorting support", "Extension that indicates that sorting is enabled.", "2016-06-12T00:00:00-00:00"},
	{"standard-attr-description", "standard-attr-description", "Extension to add descriptions to standard attributes", "2016-02-10T10:00:00-00:00"},
	{"standard-attr-revisions", "Resource revision numbers", "This extension will display the revision number of neutron resources.", "2016-04-11T10:00:00-00:00"},
	{"standard-attr-tag", "Tag support for resources with standard attribute: network, subnet, port, security_group, router, floatingip", "Enables to set tag on resources with standard attribute.", "2017-01-01T00:00:00-00:00"},
	{"standard-attr-timestamp", "Resource timestamps", "Adds created_at and updated_at fields to all Neutron resources that have Neutron standard attributes.", "2016-09-12T10:00:00-00:00"},
	{"stateful-security-group", "Stateful security group", "Indicates if the security group is stateful or not", "2019-11-26T09:00:00-00:00"},
	{"subnet-service-types", "Subnet service types", "Provides ability to set the subnet service_types field", "2016-03-15T18:00:00-00:00"},
	{"tag-ports-during-bulk-creation", "Tag Ports During Bulk Creation", "Allow to tag ports during bulk creation", "2019-12-29T19:00:00-00:00"},
}

func (e *extension) body() map[string]any {
	return map[string]any{"alias": e.alias, "name": e.name, "description": e.about, "updated": e.updated, "links": []any{}}
}

func serveExtensions(rq *request, rest []string) error {
	if m := rq.r.Method; m != http.MethodGet && m != http.MethodHead {
		return methodNotAllowed(m)
	}
	switch len(rest) {
	case 0:
		all := make([]any, 0, len(extensions))
		for _, e := range extensions {
			if rq.api.cfg.held(e.alias) {
				all = append(all, e.body())
			}
		}
		return rq.answer(http.StatusOK, jsonbody.Append(nil, map[string]any{"extensions": all}))
	case 1:
		for _, e := range extensions {
			if e.alias == rest[0] && rq.api.cfg.held(e.alias) {
				return rq.answer(http.StatusOK, jsonbody.Append(nil, map[string]any{"extension": e.body()}))
			}
		}
		return fail(http.StatusNotFound, "ExtensionNotFound", "Extension with alias %s does not exist", show(rest[0]))
	}
	return notFoundPath()
}
