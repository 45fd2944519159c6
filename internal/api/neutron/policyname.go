// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"nagare/internal/policy"
)

// The names of policy rules follow Neutron's: create_network, create_network:shared, update_port:fixed_ips:ip_address,
// add_router_interface, get_port:tags. All follow from the declarations of the resources; nothing lists them.

// ruleSet is a resource, whatever its objects are.
type ruleSet interface {
	rules(yield func(policy.Default))
	ruledNames() (plural string)
}

var ruleSets []ruleSet

// basicRules are what the others refer to, as Neutron has them. regular_user is who may change anything at all.
var basicRules = []policy.Default{
	{Name: "context_is_admin", Check: "role:admin"},
	{Name: "context_is_advsvc", Check: "role:service"},
	{Name: "service_api", Check: "role:service"},
	{Name: "context_with_global_access", Check: "system_scope:all"},
	{Name: "regular_user", Check: "writer:True"},
	{Name: "admin_only", Check: "rule:context_is_admin"},
	{Name: "owner", Check: "project_id:%(project_id)s"},
	{Name: "admin_or_owner", Check: "rule:context_is_admin or rule:owner"},
	{Name: "network_owner", Check: "project_id:%(network:project_id)s"},
	{Name: "admin_or_network_owner", Check: "rule:context_is_admin or rule:network_owner"},
	{Name: "admin_owner_or_network_owner", Check: "rule:owner or rule:admin_or_network_owner"},
	{Name: "ext_parent_owner", Check: "project_id:%(ext_parent:project_id)s"},
	{Name: "admin_or_ext_parent_owner", Check: "rule:context_is_admin or rule:ext_parent_owner"},
	{Name: "sg_owner", Check: "project_id:%(security_group:project_id)s"},
	{Name: "admin_or_sg_owner", Check: "rule:context_is_admin or rule:sg_owner"},
	{Name: "admin_owner_or_sg_owner", Check: "rule:owner or rule:admin_or_sg_owner"},
	{Name: "shared", Check: "field:networks:shared=True"},
	{Name: "external", Check: "field:networks:router:external=True"},
	{Name: "shared_subnetpools", Check: "field:subnetpools:shared=True"},
	{Name: "shared_security_group", Check: "field:security_groups:shared=True"},
	{Name: "shared_address_scopes", Check: "field:address_scopes:shared=True"},
	{Name: "shared_address_groups", Check: "field:address_groups:shared=True"},
	{Name: "shared_qos_policy", Check: "field:policies:shared=True"},
	{Name: "network_device", Check: "field:port:device_owner=~^network:"},
	{Name: "restrict_wildcard", Check: "not field:rbac_policy:target_tenant=* or rule:admin_only"},
	{Name: "default", Check: "rule:admin_or_owner"},
}

// checks are the built-in rules as check strings.
var checks = map[Rule]string{anyone: "@", adminOnly: "rule:admin_only", adminOrService: "rule:admin_only or rule:context_is_advsvc",
	owner: "rule:admin_or_owner", ownerOrService: "rule:admin_or_owner or rule:context_is_advsvc",
	networkOwner: "rule:admin_or_network_owner", networkOwnerOrService: "rule:admin_or_network_owner or rule:context_is_advsvc",
	eitherOwner: "rule:admin_owner_or_network_owner", eitherOwnerOrService: "rule:admin_owner_or_network_owner or rule:context_is_advsvc",
	ownerManager: "rule:admin_only or role:manager and rule:owner"}

// nameRules gives the resource's and its attributes' rules their names.
func (rs *Resource[T]) nameRules() {
	name := rs.ruleName
	if name == "" {
		name = rs.name
	}
	rs.seeName, rs.createName, rs.changeName, rs.removeName = "get_"+name, "create_"+name, "update_"+name, "delete_"+name
	for i := range rs.attrs {
		a := &rs.attrs[i]
		a.seeName, a.postName, a.putName = rs.seeName+":"+a.Name, rs.createName+":"+a.Name, rs.changeName+":"+a.Name
	}
	rs.peer()
}

// belowName is the rule for reading what is below an object, "" if that is a resource with rules of its own.
func (rs *Resource[T]) belowName(name string) string {
	for _, other := range ruleSets {
		if other.ruledNames() == name {
			return ""
		}
	}
	if strings.HasPrefix(name, "get_") {
		return name
	}
	return "get_" + name
}

func (rs *Resource[T]) ruledNames() string { return rs.plural }

// rules yields the resource's rules with what they say as check strings. "@" at get_ means: whoever the built-in rules of visibility
// let see the object; with its attributes, that nobody else is asked.
func (rs *Resource[T]) rules(yield func(policy.Default)) {
	writes := func(there bool, name string, r Rule) {
		if there {
			yield(policy.Default{Name: name, Check: "rule:regular_user and (" + checks[r] + ")"})
		}
	}
	yield(policy.Default{Name: rs.seeName, Check: "@"})
	writes(rs.build != nil, rs.createName, rs.create)
	writes(rs.update != nil, rs.changeName, rs.change)
	writes(rs.delete != nil, rs.removeName, rs.remove)
	for _, name := range slices.Sorted(maps.Keys(rs.actions)) {
		writes(true, name, rs.change)
	}
	for _, name := range slices.Sorted(maps.Keys(rs.below)) {
		if name = rs.belowName(name); name != "" {
			yield(policy.Default{Name: name, Check: seeCheck(ruledBelow[name])})
		}
	}
	tagged := rs.byName["tags"] != nil
	if tagged {
		yield(policy.Default{Name: rs.seeName + ":tags", Check: "@"})
		for _, name := range []string{rs.createName, rs.changeName, rs.removeName} {
			writes(true, name+":tags", rs.change)
		}
	}
	for i := range rs.attrs {
		a := &rs.attrs[i]
		if tagged && a.Name == "tags" {
			continue
		}
		set := func(may bool, name string, r Rule) {
			if !may {
				return
			}
			yield(policy.Default{Name: name, Check: setCheck(a.whole(r), a.Except)})
			for _, p := range a.Parts {
				yield(policy.Default{Name: name + ":" + p.name, Check: setCheck(p.of(r), "")})
			}
		}
		set(a.Post && rs.build != nil, a.postName, a.SetPost)
		set(a.Put && rs.update != nil, a.putName, a.SetPut)
		if a.Get != nil && a.See != hidden {
			yield(policy.Default{Name: a.seeName, Check: seeCheck(a.See)})
		}
	}
}

// ruledBelow are the rules of what is below objects, by name, where not everybody who sees the object sees that.
var ruledBelow = map[string]Rule{}

// seeCheck is the check string for seeing something of an object that one sees; deny stands for: everybody.
func seeCheck(r Rule) string {
	if r == deny || r == anyone {
		return "@"
	}
	return checks[r] + " or rule:context_with_global_access"
}

// serveTagsRuled is serveTags under the names that the rules of tags have.
func (rs *Resource[T]) serveTagsRuled(rq *request, m, id string, rest []string) error {
	switch m {
	case http.MethodGet:
		if v := rq.view(rq.api.store.Snapshot()); !v.permits(rs.seeName+":tags", true, "") {
			return forbidden(rs.seeName+":tags", nil)
		}
	case http.MethodPost:
		rq.rule = rs.createName + ":tags"
	case http.MethodPut:
		rq.rule = rs.changeName + ":tags"
	case http.MethodDelete:
		rq.rule = rs.removeName + ":tags"
	}
	return rs.serveTags(rq, m, id, rest)
}

// seeName is the rule for reading a collection that is no Resource and says itself of no rule for that; else "".
func (c *collection) seeName() string {
	switch c.endpoint.(type) {
	case ruleSet, ruledFunc:
		return ""
	}
	if c.name == "" {
		return ""
	}
	return "get_" + c.name
}

// setCheck is the check string for setting an attribute; deny stands for: whoever may create or update the object.
func setCheck(r Rule, except string) string {
	switch {
	case r == deny:
		return "@"
	case except != "":
		return except + " or " + checks[r]
	}
	return checks[r]
}

// Rules are all policy rules, those that others refer to first, then by name, with what is built in as a check string.
func Rules() []policy.Default {
	seal.Do(sealAll)
	var out []policy.Default
	for _, rs := range ruleSets {
		rs.rules(func(d policy.Default) { out = append(out, d) })
	}
	for _, p := range parts {
		out = append(out, p.rules...)
		for _, c := range p.collections {
			if name := c.seeName(); name != "" {
				out = append(out, policy.Default{Name: name, Check: "@"})
			}
		}
	}
	slices.SortFunc(out, func(x, y policy.Default) int { return strings.Compare(x.Name, y.Name) })
	return append(slices.Clone(basicRules), out...)
}
