// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
)

// judged are the attributes that a controller has to know and to tell as Neutron has them, by kind. What it may forget (tags,
// time stamps), what it owns (status) and what is Neutron's own affair (zones, scopes) is not among them.
var judged = map[Kind][]string{
	Network: {"name", "description", "tenant_id", "admin_state_up", "shared", "router:external", "port_security_enabled", "mtu",
		"provider:network_type", "provider:physical_network", "provider:segmentation_id", "qos_policy_id"},
	Subnet: {"name", "tenant_id", "network_id", "ip_version", "cidr", "gateway_ip", "allocation_pools", "host_routes", "dns_nameservers",
		"enable_dhcp", "ipv6_ra_mode", "ipv6_address_mode"},
	Port: {"name", "tenant_id", "network_id", "mac_address", "admin_state_up", "fixed_ips", "device_id", "device_owner", "security_groups",
		"allowed_address_pairs", "extra_dhcp_opts", "port_security_enabled", "binding:host_id", "binding:vnic_type", "binding:vif_type",
		"binding:vif_details", "binding:profile", "qos_policy_id"},
	Router:     {"name", "tenant_id", "admin_state_up", "distributed", "gw_port_id", "external_gateway_info", "routes"},
	FloatingIP: {"tenant_id", "floating_network_id", "floating_ip_address", "port_id", "fixed_ip_address", "router_id"},
	Group:      {"name", "description", "tenant_id", "stateful"},
	Rule: {"tenant_id", "security_group_id", "direction", "ethertype", "protocol", "port_range_min", "port_range_max", "remote_ip_prefix",
		"remote_group_id"},
	Policy: {"name", "tenant_id", "shared", "is_default", "rules"},
	Trunk:  {"name", "tenant_id", "port_id", "admin_state_up", "sub_ports"},
}

// Judge reads every collection of the server and tells how it differs from what Neutron wants; nil if it does not.
func (n *Neutron) Judge(ctx context.Context) ([]string, error) {
	var diff []string
	for _, k := range SyncOrder {
		have, err := n.Collection(ctx, k)
		if err != nil {
			return nil, err
		}
		n.mu.Lock()
		for _, id := range sorted(n.objects[k]) {
			got, ok := have[id]
			if !ok {
				diff = append(diff, fmt.Sprintf("%s %s is missing", k, id))
				continue
			}
			delete(have, id)
			diff = append(diff, compare(k, n.objects[k][id], got)...)
		}
		n.mu.Unlock()
		if k == Network {
			delete(have, Canary)
		}
		for _, id := range sorted(have) {
			diff = append(diff, fmt.Sprintf("%s %s is there and nobody wants it", k, id))
		}
	}
	return diff, nil
}

// Collection reads all objects of a kind, by id.
func (n *Neutron) Collection(ctx context.Context, k Kind) (map[string]Object, error) {
	var body map[string][]Object
	code, err := n.Get(ctx, resources[k].path, &body)
	if err != nil || code != 200 {
		return nil, fmt.Errorf("GET %s: %d %w", resources[k].path, code, err)
	}
	list, ok := body[resources[k].many]
	if !ok {
		return nil, fmt.Errorf("GET %s: no %s in the answer", resources[k].path, resources[k].many)
	}
	out := map[string]Object{}
	for _, o := range list {
		if out[o.id()] != nil {
			return nil, fmt.Errorf("GET %s: %s is listed twice", resources[k].path, o.id())
		}
		out[o.id()] = o
	}
	return out, nil
}

// compare tells which judged attributes of an object differ in meaning.
func compare(k Kind, want, have Object) []string {
	var diff []string
	w, h := Object(plain(want).(map[string]any)), Object(plain(have).(map[string]any))
	for _, key := range judged[k] {
		if a, b := meaning(key, w), meaning(key, h); !reflect.DeepEqual(a, b) {
			diff = append(diff, fmt.Sprintf("%s %s: %s is %s, wanted is %s", k, want.id(), key, text(b), text(a)))
		}
	}
	return diff
}

func text(v any) string { b, _ := json.Marshal(v); return string(b) }

// meaning is an attribute in one form where the wire has several.
func meaning(key string, o Object) any {
	v := o[key]
	switch key {
	case "provider:segmentation_id", "protocol":
		if v == nil {
			return nil
		}
		s := strings.ToLower(fmt.Sprint(v))
		if n, ok := map[string]string{"tcp": "6", "udp": "17", "icmp": "1", "icmpv6": "58", "ipv6-icmp": "58", "sctp": "132", "vrrp": "112", "gre": "47"}[s]; ok && key == "protocol" {
			s = n
		}
		if s == "1" && key == "protocol" && o.str("ethertype") == "IPv6" {
			s = "58"
		}
		return s
	case "security_groups":
		var ids []string
		for _, g := range o.list(key) {
			switch g := g.(type) {
			case string:
				ids = append(ids, g)
			case map[string]any:
				ids = append(ids, Object(g).id())
			}
		}
		slices.Sort(ids)
		return ids
	case "binding:profile":
		if s, ok := v.(string); ok {
			v = nil
			_ = json.Unmarshal([]byte(s), &v)
		}
		return empty(v)
	case "remote_ip_prefix", "cidr":
		if p, err := netip.ParsePrefix(fmt.Sprint(v)); err == nil {
			return p.Masked().String()
		}
		return empty(v)
	case "fixed_ips", "allowed_address_pairs", "extra_dhcp_opts", "sub_ports":
		l := slices.Clone(o.list(key))
		slices.SortFunc(l, func(a, b any) int { return cmp.Compare(text(a), text(b)) })
		return empty(l)
	case "rules":
		return policyRules(o)
	case "external_gateway_info":
		if g, ok := v.(map[string]any); ok {
			return map[string]any{"network_id": g["network_id"], "enable_snat": g["enable_snat"], "external_fixed_ips": g["external_fixed_ips"]}
		}
	}
	return empty(v)
}

// empty makes one of null, absent, "" and lists and objects without members.
func empty(v any) any {
	switch x := v.(type) {
	case string:
		if x == "" {
			return nil
		}
	case []any:
		if len(x) == 0 {
			return nil
		}
	case map[string]any:
		if len(x) == 0 {
			return nil
		}
	}
	return v
}

// policyRules are the rules of a QoS policy by id, from one list or from one for each type.
func policyRules(o Object) any {
	out := map[string]any{}
	take := func(list, kind string) {
		for _, r := range o.list(list) {
			rule, ok := r.(map[string]any)
			if !ok {
				continue
			}
			of := kind
			if of == "" {
				of = Object(rule).str("type")
			}
			out[Object(rule).id()] = []any{of, rule["max_kbps"], rule["max_burst_kbps"], rule["direction"], rule["dscp_mark"]}
		}
	}
	take("rules", "")
	take("bandwidth_limit_rules", "bandwidth_limit")
	take("dscp_marking_rules", "dscp_marking")
	take("minimum_bandwidth_rules", "minimum_bandwidth")
	return out
}
