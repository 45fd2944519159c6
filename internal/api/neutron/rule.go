// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

var rules = new(Resource[model.SecurityGroupRule])

func init() {
	declare(part{extensions: []extension{
		{"security-groups-normalized-cidr", "Normalized CIDR field for security group rules", "Add new field with normalized remote_ip_prefix cidr in SG rule", "2019-10-21T10:00:00-00:00"},
	}})
	declare(part{when: whereFiltered, extensions: []extension{
		{"security-groups-remote-address-group", "Remote address group id field for security group rules", "Add new field of remote address group id in SG rules", "2020-08-25T10:00:00-00:00"},
	}})
	rules.declare(Resource[model.SecurityGroupRule]{
		name: "security_group_rule", plural: "security_group_rules", path: "security-group-rules",
		quota: atMost(100, tables.Rules, func(r *model.SecurityGroupRule) string { return string(r.ID) }),
		id:    func(r *model.SecurityGroupRule) string { return string(r.ID) },
		std:   func(r *model.SecurityGroupRule) *model.Std { return &r.Std },
		get: func(r store.Reader, id string) (model.SecurityGroupRule, bool) {
			return tables.Rules.Get(r, model.SecurityGroupRuleID(id))
		},
		put: func(tx *store.Txn, r model.SecurityGroupRule) error { tables.Rules.Put(tx, r.ID, r); return nil },
		from: func(r store.Reader, id string) iter.Seq[model.SecurityGroupRule] {
			return records(tables.Rules.From(r, model.SecurityGroupRuleID(id)))
		},
		back: backwards(tables.Rules),
		gone: func(id string) *Error {
			return fail(http.StatusNotFound, "SecurityGroupRuleNotFound", "Security group rule %s does not exist", id)
		},
		lookups: []lookup[model.SecurityGroupRule]{
			{attr: "id", by: one(tables.Rules)},
			{attr: "security_group_id", in: tables.RulesByGroup},
			{attr: "remote_group_id", in: tables.RulesByRemoteGroup},
			{attr: "remote_address_group_id", in: tables.RulesByRemoteSet},
			{attr: "project_id", in: tables.RulesByProject},
			{attr: "tenant_id", in: tables.RulesByProject},
		},
		scope: func(v *view) iter.Seq[model.SecurityGroupRule] {
			return both(tables.RulesByProject.By(v.r, string(v.who.ProjectID)), func(yield func(model.SecurityGroupRule) bool) {
				for g := range tables.GroupsByProject.By(v.r, string(v.who.ProjectID)) {
					for r := range tables.RulesByGroup.By(v.r, string(g.ID)) {
						if r.Project != v.who.ProjectID && !yield(r) {
							return
						}
					}
				}
				for id := range v.grants("security_group", model.AsShared) {
					for r := range tables.RulesByGroup.By(v.r, id) {
						if !yield(r) {
							return
						}
					}
				}
			})
		},
		sees: func(v *view, r *model.SecurityGroupRule) bool {
			g, ok := tables.SecurityGroups.Get(v.r, r.Group)
			return v.mine(r.Project) || ok && groups.sees(v, &g)
		},
		create: owner, change: owner, remove: owner,
		missed: func(v *view) bool { return groups.missed(v) },
		before: func(w *work, v *view) error { return groups.before(w, v) },
		build:  buildRule, delete: deleteRule,
		update: func(_ *work, r model.SecurityGroupRule, in *values) (model.SecurityGroupRule, error) {
			set(in, "description", &r.Description)
			return r, nil
		},
		attrs: append(stdAttrs(func(r *model.SecurityGroupRule) string { return string(r.ID) }, func(r *model.SecurityGroupRule) *model.Std { return &r.Std }, false),
			[]Attr[model.SecurityGroupRule]{
				{Name: "security_group_id", Get: func(_ *view, r *model.SecurityGroupRule) any { return string(r.Group) }, Parse: uuidText, Post: true, Required: true},
				{Name: "ethertype", Get: func(_ *view, r *model.SecurityGroupRule) any { return r.Ethertype }, Parse: ethertype, Default: model.EtherIPv4, Post: true},
				{Name: "direction", Get: func(_ *view, r *model.SecurityGroupRule) any { return string(r.Direction) }, Parse: oneOf("ingress", "egress"), Post: true, Required: true},
				{Name: "protocol", Get: func(_ *view, r *model.SecurityGroupRule) any { return nullText(r.Protocol) }, Parse: protocol, Post: true},
				{Name: "port_range_min", Get: func(_ *view, r *model.SecurityGroupRule) any { return nullInt(r.PortMin) }, Parse: portValue, Post: true},
				{Name: "port_range_max", Get: func(_ *view, r *model.SecurityGroupRule) any { return nullInt(r.PortMax) }, Parse: portValue, Post: true},
				{Name: "remote_ip_prefix", Get: func(_ *view, r *model.SecurityGroupRule) any { return prefixOrNull(r.RemotePrefix) }, Parse: remotePrefix, Post: true},
				{Name: "normalized_cidr", Get: func(_ *view, r *model.SecurityGroupRule) any { return prefixOrNull(r.RemotePrefix.Masked()) }},
				{Name: "remote_group_id", Get: func(_ *view, r *model.SecurityGroupRule) any { return nullText(string(r.RemoteGroup)) }, Parse: orNull(uuidText), Post: true},
				{Name: "remote_address_group_id", Get: func(_ *view, r *model.SecurityGroupRule) any { return nullText(string(r.RemoteAddressGroup)) }, Parse: orNull(uuidText), Post: true},
			}...),
		bulk: checkRuleBulk,
	})
}

func nullInt(n *int) any {
	if n == nil {
		return nil
	}
	return *n
}

func prefixOrNull(p netip.Prefix) any {
	if !p.IsValid() {
		return nil
	}
	return p.String()
}

func ethertype(v any) (any, error) {
	s, _ := v.(string)
	for _, e := range []string{model.EtherIPv4, model.EtherIPv6} {
		if strings.EqualFold(s, e) {
			return e, nil
		}
	}
	return nil, fail(http.StatusBadRequest, "SecurityGroupRuleInvalidEtherType", "Security group rule for ethertype '%s' not supported. Allowed values are ['IPv4', 'IPv6'].", show(v))
}

// protocols are the names that rules may use, with their numbers (IANA protocol numbers).
var protocols = map[string]int{
	"ah": 51, "dccp": 33, "egp": 8, "esp": 50, "gre": 47, "hopopt": 0, "icmp": 1, "icmpv6": 58, "igmp": 2, "ip": 0, "ipip": 4,
	"ipv6-encap": 41, "ipv6-frag": 44, "ipv6-icmp": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "ipv6-route": 43, "ospf": 89, "pgm": 113,
	"rsvp": 46, "sctp": 132, "tcp": 6, "udp": 17, "udplite": 136, "vrrp": 112,
}

// protocol takes a name or a number from 0 to 255, and keeps it as text; null and "any" are none.
func protocol(v any) (any, error) {
	var s string
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		s = strings.ToLower(v)
	case json.Number:
		s = v.String()
	}
	if s == "any" {
		return "", nil
	}
	if _, ok := protocols[s]; ok {
		return s, nil
	}
	if n, err := strconv.Atoi(s); err == nil && n >= 0 && n <= 255 {
		return strconv.Itoa(n), nil
	}
	names := make([]string, 0, len(protocols))
	for n := range protocols {
		names = append(names, n)
	}
	slices.Sort(names)
	return nil, fail(http.StatusBadRequest, "SecurityGroupRuleInvalidProtocol",
		"Security group rule protocol %s not supported. Only protocol values [%s] and integer representations [0 to 255] are supported.", show(v), strings.Join(names, ", "))
}

// protocolNumber is -1 for none.
func protocolNumber(p string) int {
	if p == "" {
		return -1
	}
	if n, ok := protocols[p]; ok {
		return n
	}
	n, err := strconv.Atoi(p)
	if err != nil {
		return -1
	}
	return n
}

func portValue(v any) (any, error) {
	if v == nil {
		return nil, nil
	}
	s := show(v)
	if _, isBool := v.(bool); !isBool {
		if n, err := strconv.Atoi(s); err == nil && n >= 0 && n <= 65535 {
			return n, nil
		}
	}
	return nil, fail(http.StatusBadRequest, "SecurityGroupInvalidPortValue", "Invalid value for port %s", s)
}

// remotePrefix takes an address or a prefix; host bits are kept as given, as Neutron shows them, and ignored.
func remotePrefix(v any) (any, error) {
	if v == nil {
		return nil, nil
	}
	s, _ := v.(string)
	if p, err := netip.ParsePrefix(s); err == nil && !p.Addr().Is4In6() {
		return p, nil
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" && !a.Is4In6() {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return nil, fail(http.StatusBadRequest, "InvalidCIDR", "Invalid CIDR %s given as IP prefix.", show(v))
}

// rulePlane makes the rule that a body describes and checks that its parts fit each other.
func rulePlane(in *values) (model.RulePlane, error) {
	r := model.RulePlane{Group: model.SecurityGroupID(get[string](in, "security_group_id")), Direction: model.Direction(get[string](in, "direction")),
		Ethertype: get[string](in, "ethertype"), Protocol: get[string](in, "protocol"),
		RemotePrefix: get[netip.Prefix](in, "remote_ip_prefix"), RemoteGroup: model.SecurityGroupID(get[string](in, "remote_group_id")),
		RemoteAddressGroup: model.AddressGroupID(get[string](in, "remote_address_group_id"))}
	for name, to := range map[string]**int{"port_range_min": &r.PortMin, "port_range_max": &r.PortMax} {
		if n, ok := in.m[name].(int); ok {
			*to = &n
		}
	}
	if err := checkProtocol(&r); err != nil {
		return r, err
	}
	if r.RemotePrefix.IsValid() && r.RemotePrefix.Addr().Is4() != (r.Ethertype == model.EtherIPv4) {
		return r, fail(http.StatusBadRequest, "SecurityGroupRuleParameterConflict", "Conflicting value ethertype %s for CIDR %s", r.Ethertype, r.RemotePrefix)
	}
	remotes := 0
	for _, given := range []bool{r.RemotePrefix.IsValid(), r.RemoteGroup != "", r.RemoteAddressGroup != ""} {
		if given {
			remotes++
		}
	}
	if remotes > 1 {
		return r, fail(http.StatusBadRequest, "SecurityGroupMultipleRemoteEntites", "Only one of remote_ip_prefix or remote_group_id or remote_address_group_id may be provided.")
	}
	return r, nil
}

// portful are the protocols whose rules may name ports: tcp, udp, dccp, sctp, udplite.
var portful = []int{6, 17, 33, 132, 136}

// ipv6Only are the protocols that exist in IPv6 alone: encapsulation, routing header, fragment header, ICMPv6, no next header,
// destination options.
var ipv6Only = []int{41, 43, 44, 58, 59, 60}

// checkProtocol judges protocol, ethertype and ports together, and writes them in the one way that Neutron keeps.
func checkProtocol(r *model.RulePlane) error {
	bad := func(kind, format string, args ...any) error {
		return fail(http.StatusBadRequest, kind, format, args...)
	}
	if r.Ethertype == model.EtherIPv6 { // older clients say ICMP and mean that of the family
		switch r.Protocol {
		case "icmp", "icmpv6":
			r.Protocol = "ipv6-icmp"
		case "1":
			r.Protocol = "58"
		}
	}
	n := protocolNumber(r.Protocol)
	if r.Ethertype == model.EtherIPv4 && slices.Contains(ipv6Only, n) {
		return bad("SecurityGroupEthertypeConflictWithProtocol", "Invalid ethertype %s for protocol %s.", r.Ethertype, r.Protocol)
	}
	switch {
	case r.PortMin == nil && r.PortMax == nil:
		return nil
	case n < 0:
		return bad("SecurityGroupProtocolRequiredWithPorts", "Must also specify protocol if port range is given.")
	case n == model.ProtoICMP || n == model.ProtoICMPv6:
		for _, part := range []struct {
			field, attr string
			value       *int
		}{{"type", "port_range_min", r.PortMin}, {"code", "port_range_max", r.PortMax}} {
			if part.value != nil && *part.value > 255 {
				return bad("SecurityGroupInvalidIcmpValue", "Invalid value for ICMP %s (%s) %d. It must be 0 to 255.", part.field, part.attr, *part.value)
			}
		}
		if r.PortMin == nil {
			return bad("SecurityGroupMissingIcmpType", "ICMP code (port-range-max) %d is provided but ICMP type (port-range-min) is missing.", *r.PortMax)
		}
	case !slices.Contains(portful, n):
		return bad("SecurityGroupInvalidProtocolForPort", "Ports cannot be specified for protocol %d. Ports are only supported for DCCP, SCTP, TCP, UDP, UDPLITE.", n)
	case r.PortMin != nil && *r.PortMin == 0 || r.PortMax != nil && *r.PortMax == 0:
		return bad("SecurityGroupInvalidPortValue", "Invalid value for port 0")
	case r.PortMin == nil || r.PortMax == nil || *r.PortMin > *r.PortMax:
		return bad("SecurityGroupInvalidPortRange", "For TCP/UDP protocols, port_range_min must be <= port_range_max")
	case *r.PortMin == 1 && *r.PortMax == 65535:
		r.PortMin, r.PortMax = nil, nil // every port is no range
	}
	return nil
}

// ruleContent is equal for rules that allow the same, whatever they are called. A protocol's name and number are the same.
func ruleContent(r *model.RulePlane) string {
	num := func(n *int) string {
		if n == nil {
			return ""
		}
		return strconv.Itoa(*n)
	}
	prefix := ""
	if r.RemotePrefix.IsValid() && r.RemotePrefix.Bits() > 0 { // a prefix of length 0 is any
		prefix = r.RemotePrefix.Masked().String()
	}
	return fmt.Sprintf("%s|%s|%s|%d|%s|%s|%s|%s", r.Group, r.Direction, r.Ethertype, protocolNumber(r.Protocol), num(r.PortMin), num(r.PortMax), prefix, r.RemoteSet())
}

// checkRuleBulk refuses rules that occur twice in one request, and requests about several groups or projects.
func checkRuleBulk(items []*values) error {
	seen := map[string]bool{}
	for _, in := range items {
		if get[string](in, "security_group_id") != get[string](items[0], "security_group_id") {
			return fail(http.StatusBadRequest, "SecurityGroupNotSingleGroupRules", "Only allowed to update rules for one security profile at a time")
		}
		if get[string](in, "project_id") != get[string](items[0], "project_id") {
			return fail(http.StatusBadRequest, "SecurityGroupRulesNotSingleTenant", "Multiple tenant_ids in bulk security group rule create not allowed")
		}
		r, err := rulePlane(in)
		if err != nil {
			return err
		}
		c := ruleContent(&r)
		if seen[c] {
			return conflict("DuplicateSecurityGroupRuleInPost", "Duplicate Security Group Rule in POST.")
		}
		seen[c] = true
	}
	return nil
}

func buildRule(w *work, in *values) (model.SecurityGroupRule, error) {
	r := model.SecurityGroupRule{Std: w.newStd(in, 0)}
	var err error
	if r.RulePlane, err = rulePlane(in); err != nil {
		return r, err
	}
	g, err := groups.find(&w.view, string(r.Group))
	if err != nil {
		return r, err
	}
	if !w.privileged() && !w.mine(g.Project) { // shared with the caller, not his
		return r, forbidden("create_security_group_rule", nil)
	}
	if !in.asked("project_id") {
		r.Project = g.Project // also when an administrator adds it
	}
	if r.RemoteGroup != "" {
		if _, err := groups.find(&w.view, string(r.RemoteGroup)); err != nil {
			return r, err
		}
	}
	if r.RemoteAddressGroup != "" {
		if _, err := addressGroups.find(&w.view, string(r.RemoteAddressGroup)); err != nil {
			return r, err
		}
	}
	if old, dup := rulesByContent.First(w.tx, ruleContent(&r.RulePlane)); dup {
		return r, conflict("SecurityGroupRuleExists", "Security group rule already exists. Rule id is %s.", old.ID)
	}
	r.ID = model.SecurityGroupRuleID(alloc.NewUUID())
	if r.Key, err = alloc.NextKey(w.tx, alloc.Rule); err != nil {
		return r, err
	}
	tables.Rules.Put(w.tx, r.ID, r)
	w.touchGroup(r.Group)
	return r, nil
}

func deleteRule(w *work, r model.SecurityGroupRule) error {
	tables.Rules.Delete(w.tx, r.ID)
	w.touchGroup(r.Group)
	return nil
}
