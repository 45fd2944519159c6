// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"strings"
	"testing"

	"nagare/internal/api/jsonbody"
	"nagare/internal/yang"
)

// TestFaces: an object in the northbound's JSON, in the tree, and back.
func TestFaces(t *testing.T) {
	const a, b, c = "aaaaaaaa-0000-4000-8000-00000000000a", "aaaaaaaa-0000-4000-8000-00000000000b", "aaaaaaaa-0000-4000-8000-00000000000c"
	for _, x := range []struct{ path, json, tree, back string }{
		{"networks/network", `{"id":"` + a + `","name":"net01","tenant_id":"9d2c","project_id":"9d2c","admin_state_up":true,"shared":false,"router:external":true,"mtu":1450,"revision_number":3,
			"provider:network_type":"vxlan","provider:physical_network":null,"provider:segmentation_id":1077,"tags":["x"]}`,
			`{"uuid":"` + a + `","admin-state-up":true,"neutron-L3-ext:external":true,"neutron-mtu-ext:mtu":1450,"name":"net01",
			"neutron-provider-ext:network-type":"neutron-networks:network-type-vxlan","project-id":"9d2c","revision-number":"3","neutron-provider-ext:segmentation-id":"1077","shared":false}`,
			`{"id":"` + a + `","name":"net01","project_id":"9d2c","admin_state_up":true,"shared":false,"router:external":true,"mtu":1450,"revision_number":3,"provider:network_type":"vxlan","provider:segmentation_id":"1077"}`},
		{"networks/network", `{"id":"` + a + `","segments":[{"provider:network_type":"vlan","provider:physical_network":"physnet1","provider:segmentation_id":7},{"provider:network_type":"vxlan","provider:segmentation_id":8}]}`,
			`{"uuid":"` + a + `","neutron-provider-ext:segments":[{"segmentation-index":0,"network-type":"neutron-networks:network-type-vlan","physical-network":"physnet1","segmentation-id":"7"},
			{"segmentation-index":1,"network-type":"neutron-networks:network-type-vxlan","segmentation-id":"8"}]}`,
			`{"id":"` + a + `","segments":[{"provider:network_type":"vlan","provider:physical_network":"physnet1","provider:segmentation_id":"7"},{"provider:network_type":"vxlan","provider:segmentation_id":"8"}]}`},
		{"subnets/subnet", `{"id":"` + a + `","network_id":"` + b + `","ip_version":6,"cidr":"fd00::/64","gateway_ip":null,"ipv6_ra_mode":"slaac","ipv6_address_mode":"dhcpv6-stateful","enable_dhcp":true,
			"allocation_pools":[{"start":"fd00::2","end":"fd00::9"}],"host_routes":[{"destination":"fd01::/64","nexthop":"fd00::1"}],"dns_nameservers":["fd00::5","fd00::4"]}`,
			`{"uuid":"` + a + `","allocation-pools":[{"start":"fd00::2","end":"fd00::9"}],"cidr":"fd00::/64","dns-nameservers":["fd00::5","fd00::4"],"enable-dhcp":true,"host-routes":[{"destination":"fd01::/64","nexthop":"fd00::1"}],
			"ip-version":"neutron-constants:ip-version-v6","ipv6-address-mode":"neutron-constants:dhcpv6-stateful","ipv6-ra-mode":"neutron-constants:dhcpv6-slaac","network-id":"` + b + `"}`,
			`{"id":"` + a + `","network_id":"` + b + `","ip_version":6,"cidr":"fd00::/64","ipv6_ra_mode":"slaac","ipv6_address_mode":"dhcpv6-stateful","enable_dhcp":true,
			"allocation_pools":[{"start":"fd00::2","end":"fd00::9"}],"host_routes":[{"destination":"fd01::/64","nexthop":"fd00::1"}],"dns_nameservers":["fd00::5","fd00::4"]}`},
		{"ports/port", `{"id":"` + a + `","network_id":"` + b + `","mac_address":"fa:16:3e:00:00:01","device_owner":"compute:nova","fixed_ips":[{"subnet_id":"` + c + `","ip_address":"10.0.0.3"}],
			"allowed_address_pairs":[{"ip_address":"10.0.0.0/24"},{"ip_address":"10.0.1.1","mac_address":"fa:16:3e:00:00:02"}],"extra_dhcp_opts":[{"opt_name":"mtu","opt_value":"1400"}],
			"security_groups":["` + c + `"],"binding:host_id":"compute1","binding:vif_details":{"port_filter":true,"n":{"0":"x"}},"binding:profile":"{}","binding:vnic_type":"normal","port_security_enabled":true,"tenant_id":"` + b + `"}`,
			`{"uuid":"` + a + `","allowed-address-pairs":[{"mac-address":"fa:16:3e:00:00:01","ip-address":"10.0.0.0/24"},{"mac-address":"fa:16:3e:00:00:02","ip-address":"10.0.1.1"}],"device-owner":"compute:nova",
			"extra-dhcp-opts":[{"opt-name":"mtu","ip-version":"neutron-constants:ip-version-v4","opt-value":"1400"}],"fixed-ips":[{"subnet-id":"` + c + `","ip-address":"10.0.0.3"}],
			"neutron-binding:host-id":"compute1","mac-address":"fa:16:3e:00:00:01","network-id":"` + b + `","neutron-portsecurity:port-security-enabled":true,"neutron-binding:profile":"{}","security-groups":["` + c + `"],"tenant-id":"` + b + `",
			"neutron-binding:vif-details":[{"details-key":"n","value":"{\"0\":\"x\"}"},{"details-key":"port_filter","value":"true"}],"neutron-binding:vnic-type":"normal"}`, ""},
		{"routers/router", `{"id":"` + a + `","distributed":true,"gw_port_id":"` + b + `","external_gateway_info":{"network_id":"` + c + `","enable_snat":true,"external_fixed_ips":[{"subnet_id":"` + a + `","ip_address":"172.16.1.3"}]},"routes":[{"destination":"10.9.0.0/16","nexthop":"10.0.0.9"}]}`,
			`{"uuid":"` + a + `","distributed":true,"external_gateway_info":{"enable-snat":true,"external-fixed-ips":[{"subnet-id":"` + a + `","ip-address":"172.16.1.3"}],"external-network-id":"` + c + `"},"gateway-port-id":"` + b + `","routes":[{"destination":"10.9.0.0/16","nexthop":"10.0.0.9"}]}`, "same"},
		{"security-rules/security-rule", `{"id":"` + a + `","security_group_id":"` + b + `","direction":"ingress","ethertype":"IPv6","protocol":"icmpv6","port_range_min":128}`,
			`{"uuid":"` + a + `","direction":"neutron-constants:direction-ingress","ethertype":"neutron-constants:ethertype-v6","port-range-min":128,"protocol":"neutron-constants:protocol-icmp-v6","security-group-id":"` + b + `"}`, "same"},
		{"security-rules/security-rule", `{"id":"` + a + `","security_group_id":"` + b + `","protocol":"132"}`, `{"uuid":"` + a + `","protocol":132,"security-group-id":"` + b + `"}`, `{"id":"` + a + `","security_group_id":"` + b + `","protocol":132}`},
		{"qos-policies/qos-policy", `{"id":"` + a + `","bandwidth_limit_rules":[{"id":"` + b + `","max_kbps":1000,"direction":"egress"}],"dscp_marking_rules":[{"id":"` + c + `","dscp_mark":26}]}`,
			`{"uuid":"` + a + `","bandwidth-limit-rules":[{"uuid":"` + b + `","direction":"neutron-constants:direction-egress","max-kbps":"1000"}],"dscpmarking-rules":[{"uuid":"` + c + `","dscp-mark":26}]}`, "same"},
		{"trunks/trunk", `{"id":"` + a + `","port_id":"` + b + `","sub_ports":[{"port_id":"` + c + `","segmentation_type":"vlan","segmentation_id":7}]}`,
			`{"uuid":"` + a + `","port-id":"` + b + `","sub-ports":[{"port-id":"` + c + `","segmentation-id":7,"segmentation-type":"neutron-networks:network-type-vlan"}]}`, "same"},
	} {
		n := yang.Served().Top
		for part := range strings.SplitSeq("neutron:neutron/"+x.path, "/") {
			n, _ = n.Child(part)
		}
		plain := func(s string) string { return strings.NewReplacer("\n", "", "\t", "").Replace(s) }
		object := func(s string) map[string]any {
			v, err := jsonbody.Decode(strings.NewReader(s))
			if err != nil {
				t.Fatal(err)
			}
			return v.(map[string]any)
		}
		d := &yang.Data{Node: n}
		fromNeutron(d, object(x.json))
		if got := string(d.AppendJSON(nil)); got != plain(x.tree) {
			t.Errorf("%s is in the tree\n%s, want\n%s", x.path, got, plain(x.tree))
		}
		if err := yang.Served().Validate(d, true, nil); err != nil {
			t.Errorf("%s: %v", x.path, err)
		}
		if x.back == "" {
			continue
		}
		if x.back == "same" {
			x.back = x.json
		}
		if got, want := string(jsonbody.Append(nil, toNeutron(d))), string(jsonbody.Append(nil, object(x.back))); got != want {
			t.Errorf("%s comes back as\n%s, want\n%s", x.path, got, want)
		}
	}
}
