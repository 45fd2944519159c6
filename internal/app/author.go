// SPDX-License-Identifier: Apache-2.0

package app

import (
	"cmp"
	"fmt"
	"strings"

	"nagare/internal/api/admin"
	"nagare/internal/identity"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// nameOf is the name that users gave an object, or what describes one that has none. Kinds are those of rules (compile.Rule).
func nameOf(r store.Reader, kind, id string) string {
	switch kind {
	case "network":
		v, _ := tables.Networks.Get(r, model.NetworkID(id))
		return v.Name
	case "subnet":
		v, _ := tables.Subnets.Get(r, model.SubnetID(id))
		return v.Name
	case "port":
		v, _ := tables.Ports.Get(r, model.PortID(id))
		return v.Name
	case "router":
		v, _ := tables.Routers.Get(r, model.RouterID(id))
		return v.Name
	case "floating-ip":
		if v, ok := tables.FloatingIPs.Get(r, model.FloatingIPID(id)); ok {
			return v.Addr.String()
		}
	case "port-forwarding":
		if v, ok := tables.PortForwardings.Get(r, model.PortForwardingID(id)); ok {
			return fmt.Sprintf("%s %s to %s %s", v.Protocol, v.External, v.Fixed, v.Internal)
		}
	case "local-ip":
		if v, ok := tables.LocalIPs.Get(r, model.LocalIPID(id)); ok {
			return cmp.Or(v.Name, v.Addr.String())
		}
	case "operator-entry":
		v, _ := tables.OperatorEntries.Get(r, model.OperatorEntryID(id))
		return v.Name
	case "log":
		v, _ := tables.Logs.Get(r, model.LogID(id))
		return v.Name
	case "security-group":
		v, _ := tables.SecurityGroups.Get(r, model.SecurityGroupID(id))
		return v.Name
	case "address-group":
		v, _ := tables.AddressGroups.Get(r, model.AddressGroupID(id))
		return v.Name
	case "security-group-rule":
		if v, ok := tables.Rules.Get(r, model.SecurityGroupRuleID(id)); ok {
			return describeRule(r, &v.RulePlane)
		}
	case "remote-set":
		return nameOf(r, remoteSetKind(r, id), id)
	case "group-set":
		v, _ := tables.GroupSets.Get(r, id)
		var names []string
		for _, g := range v.Groups {
			names = append(names, cmp.Or(nameOf(r, "security-group", string(g)), string(g)))
		}
		return strings.Join(names, ", ")
	}
	return ""
}

// remoteSetKind is the kind of what a rule names as remote: a group or an address group.
func remoteSetKind(r store.Reader, id string) string {
	if _, ok := tables.AddressGroups.Get(r, model.AddressGroupID(id)); ok {
		return "address-group"
	}
	return "security-group"
}

// describeRule is a rule as people say it: "ingress IPv4 tcp 22 from 0.0.0.0/0".
func describeRule(r store.Reader, u *model.RulePlane) string {
	proto := u.Protocol
	n, any, _ := model.ProtocolNumber(proto)
	if any {
		proto = "any protocol"
	}
	parts := []string{string(u.Direction), u.Ethertype, proto}
	icmp := !any && (n == model.ProtoICMP || n == model.ProtoICMPv6)
	switch lo, hi := u.PortMin, u.PortMax; {
	case icmp && lo != nil && hi != nil:
		parts = append(parts, fmt.Sprintf("type %d code %d", *lo, *hi))
	case icmp && lo != nil:
		parts = append(parts, fmt.Sprintf("type %d", *lo))
	case lo != nil && hi != nil && *lo != *hi:
		parts = append(parts, fmt.Sprintf("%d-%d", *lo, *hi))
	case lo != nil:
		parts = append(parts, fmt.Sprint(*lo))
	}
	remote := "0.0.0.0/0"
	if u.Ethertype == model.EtherIPv6 {
		remote = "::/0"
	}
	switch {
	case u.RemoteGroup != "":
		remote = "group " + cmp.Or(nameOf(r, "security-group", string(u.RemoteGroup)), string(u.RemoteGroup))
	case u.RemoteAddressGroup != "":
		remote = "address group " + cmp.Or(nameOf(r, "address-group", string(u.RemoteAddressGroup)), string(u.RemoteAddressGroup))
	case u.RemotePrefix.IsValid():
		remote = u.RemotePrefix.Masked().String()
	}
	way := "from"
	if u.Direction == model.Egress {
		way = "to"
	}
	return strings.Join(append(parts, way, remote), " ")
}

// commitOf is the last commit that changed an object's data-plane part; nil if the object is not stored. A node's is its
// enrolment, or what changed it since.
func commitOf(r store.Reader, kind, id string) *admin.Commit {
	var info store.Info
	ok := false
	switch kind {
	case "node", "peer":
		info, ok = tables.Nodes.Info(r, model.NodeID(id))
	case "network":
		info, ok = tables.Networks.Info(r, model.NetworkID(id))
	case "subnet":
		info, ok = tables.Subnets.Info(r, model.SubnetID(id))
	case "port":
		info, ok = tables.Ports.Info(r, model.PortID(id))
	case "router":
		info, ok = tables.Routers.Info(r, model.RouterID(id))
	case "floating-ip":
		info, ok = tables.FloatingIPs.Info(r, model.FloatingIPID(id))
	case "port-forwarding":
		info, ok = tables.PortForwardings.Info(r, model.PortForwardingID(id))
	case "local-ip":
		info, ok = tables.LocalIPs.Info(r, model.LocalIPID(id))
	case "operator-entry":
		info, ok = tables.OperatorEntries.Info(r, model.OperatorEntryID(id))
	case "log":
		info, ok = tables.Logs.Info(r, model.LogID(id))
	case "security-group":
		info, ok = tables.SecurityGroups.Info(r, model.SecurityGroupID(id))
	case "security-group-rule":
		info, ok = tables.Rules.Info(r, model.SecurityGroupRuleID(id))
	case "address-group":
		info, ok = tables.AddressGroups.Info(r, model.AddressGroupID(id))
	case "remote-set":
		return commitOf(r, remoteSetKind(r, id), id)
	case "group-set":
		info, ok = tables.GroupSets.Info(r, id)
	}
	if !ok {
		return nil
	}
	c := info.Plane
	return &admin.Commit{Revision: uint64(c.Revision), Request: c.Request, User: identity.UserName(r, c.User), Action: c.Action, Time: c.Time}
}
