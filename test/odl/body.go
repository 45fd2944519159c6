// SPDX-License-Identifier: Apache-2.0

package odl

import "strings"

// Op is what a journal row asks for.
type Op string

// Operations of journal rows.
const (
	Create Op = "create"
	Update Op = "update"
	Delete Op = "delete"
)

// liveBody is what is sent of an object when it is created or updated. What is left out differs by kind and operation; what an
// update leaves out is either kept by the server (identity) or cleared by it (everything else).
func liveBody(k Kind, op Op, o Object) Object {
	var b Object
	switch k {
	case Network:
		b = o.without("status", "subnets")
		if op == Update {
			b = b.without("id", "tenant_id", "project_id", "is_default")
		}
		b.dropNull("qos_policy_id")
	case Subnet:
		b = o.clone()
		if op == Update {
			b = b.without("id", "network_id", "ip_version", "cidr", "tenant_id", "project_id")
		}
		b.dropNull("segment_id", "subnetpool_id")
	case Port:
		b = o.without("status")
		if op == Create {
			delete(b, "revision_number")
			if len(b.list("extra_dhcp_opts")) == 0 {
				delete(b, "extra_dhcp_opts")
			}
		} else {
			b = b.without("id", "network_id", "tenant_id", "project_id")
		}
		b.dropNull("qos_policy_id", "qos_network_policy_id")
	case Router:
		b = o.clone()
		if op == Update {
			b = b.without("id", "tenant_id", "project_id", "status")
		}
	case FloatingIP:
		b = o.clone()
		if op == Update {
			b.dropNull("port_id", "fixed_ip_address", "router_id")
		}
	case Rule:
		b = o.clone()
		b["protocol"] = ruleProtocol(o)
	case Policy:
		b = livePolicy(o)
	default:
		b = o.clone()
	}
	return b
}

// syncBody is what a full synchronisation and a recovery send: the object as a read of it gives it, filtered as for a create,
// with its revision.
func syncBody(k Kind, o Object) Object {
	if k == Policy {
		return o.clone() // its rules in one list, unlike live
	}
	b := liveBody(k, Create, o)
	if r, ok := o["revision_number"]; ok {
		b["revision_number"] = r
	}
	return b
}

// canaryBody is the canary network, which has no provider attributes.
func canaryBody() Object {
	return Object{"id": Canary, "tenant_id": Canary, "project_id": Canary, "name": "Sync Canary Network", "admin_state_up": false}
}

func (o Object) dropNull(keys ...string) {
	for _, k := range keys {
		if o[k] == nil {
			delete(o, k)
		}
	}
}

// ruleProtocol is a rule's protocol as it is sent alone: names other than the four become integers, and ICMP of IPv6 has one name.
// A number that a user gave stays text.
func ruleProtocol(o Object) any {
	name, ok := o["protocol"].(string)
	if !ok {
		return nil
	}
	numbers := map[string]int{"ah": 51, "dccp": 33, "esp": 50, "gre": 47, "igmp": 2, "ospf": 89, "sctp": 132, "udplite": 136, "vrrp": 112}
	if n, ok := numbers[name]; ok {
		return n
	}
	if o.str("ethertype") == "IPv6" && (name == "icmp" || strings.HasPrefix(name, "ipv6-icmp") || name == "icmpv6") {
		return "icmpv6"
	}
	return name
}

// livePolicy is a QoS policy as its converter gives it: a list for each type of rule, each with its last rule only.
func livePolicy(o Object) Object {
	b := o.without("rules")
	lists := map[string]string{"bandwidth_limit": "bandwidth_limit_rules", "dscp_marking": "dscp_marking_rules", "minimum_bandwidth": "minimum_bandwidth_rules"}
	for _, l := range lists {
		b[l] = []any{}
	}
	for _, r := range o.list("rules") {
		rule := Object(r.(map[string]any))
		one := rule.without("type", "qos_policy_id")
		one["tenant_id"] = o.str("tenant_id")
		b[lists[rule.str("type")]] = []any{map[string]any(one)}
	}
	return b
}
