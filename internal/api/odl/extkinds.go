// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"slices"
	"strings"
)

// extensions are the collections that are kept and served, by path. bgpvpn associations have two: OpenDaylight serves one, and a
// full sync uses the other.
var extensions = func() map[string]*extension {
	ids := each(asUUID)
	list := each(asText)
	ports := asInt(0, 65535)
	networks := &extension{kind: "bgpvpn_network_association", plural: "bgpvpn_network_associations",
		check: []field{{"bgpvpn_id", asUUID, false}, {"network_id", asUUID, false}}}
	routers := &extension{kind: "bgpvpn_router_association", plural: "bgpvpn_router_associations",
		check: []field{{"bgpvpn_id", asUUID, false}, {"router_id", asUUID, false}}}
	return map[string]*extension{
		"sfc/flowclassifiers": {kind: "flowclassifier", plural: "flowclassifiers", fixed: []string{"tenant_id", "project_id"},
			check: []field{{"source_port_range_min", ports, false}, {"source_port_range_max", ports, false}, {"destination_port_range_min", ports, false},
				{"destination_port_range_max", ports, false}, {"source_ip_prefix", asPrefix, false}, {"destination_ip_prefix", asPrefix, false},
				{"logical_source_port", asUUID, false}, {"logical_destination_port", asUUID, false}}},
		"sfc/portpairs": {kind: "portpair", plural: "portpairs", fixed: []string{"tenant_id", "project_id"},
			check: []field{{"ingress", asUUID, false}, {"egress", asUUID, false}}},
		"sfc/portpairgroups": {kind: "portpairgroup", plural: "portpairgroups", fixed: []string{"tenant_id", "project_id"}, check: []field{{"port_pairs", ids, false}}},
		"sfc/portchains": {kind: "portchain", plural: "portchains", fixed: []string{"tenant_id", "project_id"},
			check: []field{{"port_pair_groups", ids, false}, {"flow_classifiers", ids, false}}},

		"bgpvpns": {kind: "bgpvpn", plural: "bgpvpns", fixed: []string{"tenant_id", "project_id"}, defaults: map[string]any{"type": "l3", "auto_aggregate": false},
			check: []field{{"type", oneOf("l2", "l3"), false}, {"route_targets", list, false}, {"import_targets", list, false}, {"export_targets", list, false},
				{"route_distinguishers", list, false}, {"networks", ids, false}, {"routers", ids, false}, {"ports", ids, false}, {"vni", asInt(0, 1<<24-1), false}}},
		"bgpvpn/networkassociations": networks, "bgpvpn-network-associations": networks,
		"bgpvpn/routerassociations": routers, "bgpvpn-router-associations": routers,

		"l2-gateways": {kind: "l2_gateway", plural: "l2_gateways",
			check: []field{{"devices", each(objectOf(field{"device_name", asText, false}, field{"interfaces", each(objectOf(field{"name", asText, false})), false})), false}}},
		"l2gateway-connections": {kind: "l2gateway_connection", plural: "l2gateway_connections", noPut: true,
			check: []field{{"gateway_id", asUUID, false}, {"l2_gateway_id", asUUID, false}, {"network_id", asUUID, false}, {"port_id", asUUID, false}, {"segmentation_id", asInt(0, 4095), false}}},

		"lbaas/loadbalancers": {kind: "loadbalancer", plural: "loadbalancers", check: []field{{"vip_subnet_id", asUUID, false}, {"vip_address", asAddr, false}}},
		"lbaas/listeners":     {kind: "listener", plural: "listeners", check: []field{{"protocol_port", ports, false}}},
		"lbaas/pools": {kind: "pool", plural: "pools", under: "members", sub: &extension{kind: "member", plural: "members",
			check: []field{{"address", asAddr, false}, {"protocol_port", ports, false}, {"subnet_id", asUUID, false}}}},
		"lbaas/healthmonitors": {kind: "healthmonitor", plural: "healthmonitors"},

		"fw/firewalls":         {kind: "firewall", plural: "firewalls"},
		"fw/firewall_policies": {kind: "firewall_policy", plural: "firewall_policies"},
		"fw/firewall_rules":    {kind: "firewall_rule", plural: "firewall_rules"},

		"vpn/ikepolicies":          {kind: "ikepolicy", plural: "ikepolicies"},
		"vpn/ipsecpolicies":        {kind: "ipsecpolicy", plural: "ipsecpolicies"},
		"vpn/ipsecsiteconnections": {kind: "ipsec_site_connection", plural: "ipsec_site_connections"},
		"vpn/vpnservices":          {kind: "vpnservice", plural: "vpnservices"},

		"metering/metering-labels":      {kind: "metering_label", plural: "metering_labels", noPut: true},
		"metering/metering-label-rules": {kind: "metering_label_rule", plural: "metering_label_rules", noPut: true},

		"tap/services": {kind: "tap_service", plural: "tap_services", check: []field{{"port_id", asUUID, false}, {"network_id", asUUID, false}}},
		"tap/flows": {kind: "tap_flow", plural: "tap_flows", wrapped: true, under: "flows", sub: &extension{kind: "tap_flow", plural: "tap_flows",
			check: []field{{"tap_service_id", asUUID, false}, {"source_port", asUUID, false}}}},
	}
}()

func asAddr(in *input, name string, v any)   { in.toAddr(name, v) }
func asPrefix(in *input, name string, v any) { in.toPrefix(name, v) }

func oneOf(values ...string) func(*input, string, any) {
	return func(in *input, name string, v any) {
		if s, _ := v.(string); !slices.Contains(values, s) {
			in.bad(name, "'%s' is none of %s", show(v), strings.Join(values, ", "))
		}
	}
}
