// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"encoding/json"
	"iter"
	"slices"
	"strconv"
	"strings"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

var rules = &core[model.SecurityGroupRule]{
	kind: "security_group_rule", plural: "security_group_rules",
	id:  ruleID,
	std: ruleStd,
	get: func(r store.Reader, id string) (model.SecurityGroupRule, bool) {
		return tables.Rules.Get(r, model.SecurityGroupRuleID(id))
	},
	from: func(r store.Reader, id string) iter.Seq[model.SecurityGroupRule] {
		return records(tables.Rules.From(r, model.SecurityGroupRuleID(id)))
	},
	lookups: []lookup[model.SecurityGroupRule]{
		{"id", one(tables.Rules)}, {"security_group_id", tables.RulesByGroup.By}, {"remote_group_id", tables.RulesByRemoteGroup.By},
		{"tenant_id", tables.RulesByProject.By}, {"project_id", tables.RulesByProject.By},
	},
	read: readRule,
	keep: func(now, old *model.SecurityGroupRule, in *input) {
		now.Key = old.Key
		if now.Group == "" && in.put {
			now.Group = old.Group
		}
	},
	put: func(w *work, r, old *model.SecurityGroupRule) (err error) {
		if old == nil {
			if r.Key, err = alloc.NextKey(w.tx, alloc.Rule); err != nil {
				return err
			}
		}
		tables.Rules.Put(w.tx, r.ID, *r)
		return nil
	},
	drop: func(w *work, r *model.SecurityGroupRule) error {
		tables.Rules.Delete(w.tx, r.ID)
		return nil
	},
	misses: func(w *work, r *model.SecurityGroupRule, _ *input) string {
		for _, id := range []model.SecurityGroupID{r.Group, r.RemoteGroup} {
			if _, ok := tables.SecurityGroups.Get(w.tx, id); id != "" && !ok {
				return "security group " + string(id)
			}
		}
		return ""
	},
	attrs: append(stdAttrs(ruleID, ruleStd), []attr[model.SecurityGroupRule]{
		{name: "security_group_id", get: func(_ *env, r *model.SecurityGroupRule) any { return string(r.Group) }},
		{name: "direction", get: func(_ *env, r *model.SecurityGroupRule) any { return string(r.Direction) }},
		{name: "ethertype", get: func(_ *env, r *model.SecurityGroupRule) any { return r.Ethertype }},
		{name: "protocol", get: func(_ *env, r *model.SecurityGroupRule) any { return optional(r.Protocol) }},
		{name: "port_range_min", get: func(_ *env, r *model.SecurityGroupRule) any { return pointed(r.PortMin) }},
		{name: "port_range_max", get: func(_ *env, r *model.SecurityGroupRule) any { return pointed(r.PortMax) }},
		{name: "remote_ip_prefix", get: func(_ *env, r *model.SecurityGroupRule) any {
			if !r.RemotePrefix.IsValid() {
				return nil
			}
			return r.RemotePrefix.String()
		}},
		{name: "remote_group_id", get: func(_ *env, r *model.SecurityGroupRule) any { return optional(string(r.RemoteGroup)) }},
		{name: "remote_address_group_id", get: func(_ *env, r *model.SecurityGroupRule) any { return optional(string(r.RemoteAddressGroup)) }},
	}...),
}

func ruleID(r *model.SecurityGroupRule) string      { return string(r.ID) }
func ruleStd(r *model.SecurityGroupRule) *model.Std { return &r.Std }

func pointed(n *int) any {
	if n == nil {
		return nil
	}
	return *n
}

func readRule(in *input) model.SecurityGroupRule {
	r := model.SecurityGroupRule{ID: model.SecurityGroupRuleID(in.id), Std: in.std()}
	r.Group = model.SecurityGroupID(in.uuid("security_group_id"))
	in.require("security_group_id", r.Group != "")
	switch r.Direction = model.Direction(strings.ToLower(in.text("direction"))); r.Direction {
	case model.Ingress, model.Egress:
	default:
		in.bad("direction", "'%s' is neither ingress nor egress", show(r.Direction))
	}
	switch ether := in.text("ethertype"); strings.ToLower(ether) {
	case "", "ipv4":
		r.Ethertype = model.EtherIPv4
	case "ipv6":
		r.Ethertype = model.EtherIPv6
	default:
		in.bad("ethertype", "'%s' is neither IPv4 nor IPv6", show(ether))
	}
	r.Protocol = in.protocol(r.Ethertype)
	r.PortMin, r.PortMax = in.integer("port_range_min", 0, 65535), in.integer("port_range_max", 0, 65535)
	v, _ := in.take("remote_ip_prefix")
	r.RemotePrefix = in.toPrefix("remote_ip_prefix", v)
	r.RemoteGroup, r.RemoteAddressGroup = model.SecurityGroupID(in.uuid("remote_group_id")), model.AddressGroupID(in.uuid("remote_address_group_id"))
	in.checkRule(&r.RulePlane)
	return r
}

// protocol reads a name or a number, which may be a number of JSON or the text of one.
func (in *input) protocol(ether string) string {
	v, ok := in.take("protocol")
	if !ok {
		return ""
	}
	var s string
	switch v := v.(type) {
	case string:
		s = strings.ToLower(v)
	case json.Number:
		s = v.String()
	default:
		in.bad("protocol", "Protocol %s is not supported", show(v))
		return ""
	}
	if n, err := strconv.Atoi(s); err == nil {
		s = strconv.Itoa(n) // "+6" and "006" are 6
	}
	if _, _, known := model.ProtocolNumber(s); !known {
		in.bad("protocol", "Protocol %s is not supported", show(s))
		return ""
	}
	if ether == model.EtherIPv6 && s == "icmp" { // older clients say so and mean that of the family
		s = "icmpv6"
	}
	return s
}

// portful are the protocols whose rules may name ports: tcp, udp, dccp, sctp, udplite.
var portful = []uint8{6, 17, 33, 132, 136}

// checkRule judges a rule's parts together. What no data plane could carry out is refused: taken as it is it would allow nothing, and
// nobody would know.
func (in *input) checkRule(r *model.RulePlane) {
	proto, any, _ := model.ProtocolNumber(r.Protocol)
	ranged := r.PortMin != nil || r.PortMax != nil
	switch {
	case in.err != nil:
	case r.RemotePrefix.IsValid() && r.RemotePrefix.Addr().Is4() != (r.Ethertype == model.EtherIPv4):
		in.bad("remote_ip_prefix", "%s is not of the ethertype %s", r.RemotePrefix, r.Ethertype)
	case r.Ethertype == model.EtherIPv4 && !any && proto == model.ProtoICMPv6:
		in.bad("protocol", "%s is not of the ethertype %s", r.Protocol, r.Ethertype)
	case !ranged:
	case any:
		in.bad("protocol", "a range of ports needs one")
	case proto == model.ProtoICMP || proto == model.ProtoICMPv6:
		switch {
		case r.PortMin == nil:
			in.bad("port_range_min", "an ICMP code needs a type")
		case *r.PortMin > 255 || r.PortMax != nil && *r.PortMax > 255:
			in.bad("port_range_min", "an ICMP type or code is at most 255")
		}
	case !slices.Contains(portful, proto):
		in.bad("port_range_min", "protocol %s has no ports", r.Protocol)
	case r.PortMin == nil || r.PortMax == nil || *r.PortMin > *r.PortMax:
		in.bad("port_range_min", "it and port_range_max are not the bounds of a range")
	case *r.PortMin <= 1 && *r.PortMax == 65535: // every port is no range
		in.form("port_range_min", *r.PortMin)
		in.form("port_range_max", *r.PortMax)
		r.PortMin, r.PortMax = nil, nil
	}
}
