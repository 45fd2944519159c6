// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/addressgroups"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/groups"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/rules"
)

// TestOpenStackSecurity does with the openstack command what users do to say who may send what.
func TestOpenStackSecurity(t *testing.T) {
	needClient(t)
	c := start(t, nil)
	t.Run("as", func(t *testing.T) {
		t.Run("addresses", func(t *testing.T) { t.Parallel(); addressGroups(&client{t, c, "demo", "demo"}) })
		t.Run("rules", func(t *testing.T) { t.Parallel(); groupRules(&client{t, c, "demo", "demo"}) })
		t.Run("ports", func(t *testing.T) { t.Parallel(); portSecurity(&client{t, c, "demo", "demo"}) })
		t.Run("providers", func(t *testing.T) { t.Parallel(); providers(&client{t, c, "admin", "admin"}) })
	})
}

func addressGroups(o *client) {
	t := o.t
	g := o.show("address", "group", "create", "offices", "--description", "d", "--address", "10.0.0.5", "--address", "192.0.2.0/24")
	o.want(g, map[string]any{"name": "offices", "description": "d", "addresses": "[10.0.0.5/32 192.0.2.0/24]"})
	o.quiet("address", "group", "set", "offices", "--name", "sites", "--address", "fd00::/64")
	o.want(o.show("address", "group", "show", "sites"), map[string]any{"id": g["id"], "addresses": "[10.0.0.5/32 192.0.2.0/24 fd00::/64]"})
	o.quiet("address", "group", "unset", "sites", "--address", "10.0.0.5")
	o.want(o.show("address", "group", "show", fmt.Sprint(g["id"])), map[string]any{"addresses": "[192.0.2.0/24 fd00::/64]"})
	o.refused("already exist in the address group", "address", "group", "set", "sites", "--address", "192.0.2.0/24")
	if l := o.list("address", "group", "list", "--name", "sites"); len(l) != 1 || l[0]["ID"] != g["id"] || fmt.Sprint(l[0]["Addresses"]) != "[192.0.2.0/24 fd00::/64]" {
		t.Errorf("listed %v", l)
	}
	o.show("security", "group", "create", "from-sites")
	r := o.show("security", "group", "rule", "create", "from-sites", "--protocol", "tcp", "--dst-port", "22", "--remote-address-group", "sites")
	o.want(r, map[string]any{"remote_address_group_id": g["id"], "remote_group_id": nil, "remote_ip_prefix": nil, "protocol": "tcp"})
	if l := o.list("security", "group", "rule", "list", "from-sites", "--ingress"); len(l) != 1 || l[0]["Remote Address Group"] != g["id"] {
		t.Errorf("rules %v", l)
	}
	o.refused("is in use on one or more security group rules", "address", "group", "delete", "sites")
	o.quiet("security", "group", "rule", "delete", fmt.Sprint(r["id"]))
	o.quiet("address", "group", "delete", "sites")
	if l := o.list("address", "group", "list"); len(l) != 0 {
		t.Errorf("left: %v", l)
	}
}

func groupRules(o *client) {
	g := o.show("security", "group", "create", "plain", "--stateless", "--description", "d", "--tag", "blue")
	o.want(g, map[string]any{"stateful": false, "description": "d"})
	o.want(o.show("security", "group", "create", "web", "--stateful"), map[string]any{"stateful": true})
	o.quiet("security", "group", "set", "web", "--name", "www", "--stateless")
	o.quiet("security", "group", "set", "www", "--stateful")
	o.want(o.show("security", "group", "show", "www"), map[string]any{"stateful": true, "name": "www"})
	for _, c := range []struct {
		args string
		want map[string]any
	}{
		{"--protocol udplite --dst-port 5000:5010 --remote-ip 192.0.2.7", map[string]any{"protocol": "udplite", "port_range_min": 5000, "port_range_max": 5010, "remote_ip_prefix": "192.0.2.7/32", "direction": "ingress"}},
		{"--protocol 132 --dst-port 7 --egress", map[string]any{"protocol": "132", "port_range_min": 7, "direction": "egress"}},
		{"--protocol 89", map[string]any{"protocol": "89", "port_range_min": nil}},
		{"--protocol icmp --icmp-type 8 --icmp-code 0", map[string]any{"protocol": "icmp", "port_range_min": 8, "port_range_max": 0}},
		{"--protocol ipv6-icmp --icmp-type 128 --ethertype IPv6 --remote-ip fd00::/64", map[string]any{"protocol": "ipv6-icmp", "ether_type": "IPv6", "port_range_min": 128, "port_range_max": nil}},
		{"--protocol icmp --ethertype IPv6", map[string]any{"protocol": "ipv6-icmp"}},
		{"--protocol any --description all", map[string]any{"protocol": nil, "description": "all"}},
		{"--protocol tcp --remote-group plain", map[string]any{"protocol": "tcp", "remote_group_id": g["id"]}},
		{"--protocol vrrp --ethertype IPv4", map[string]any{"protocol": "vrrp"}},
	} {
		o.want(o.show(append([]string{"security", "group", "rule", "create", "www"}, strings.Fields(c.args)...)...), c.want)
	}
	for args, want := range map[string]string{
		"--protocol 89":                              "Security group rule already exists",
		"--protocol 256":                             "protocol 256 not supported",
		"--protocol ipv6-frag --ethertype IPv4":      "Invalid ethertype IPv4 for protocol ipv6-frag",
		"--protocol icmp --icmp-type 300":            "It must be 0 to 255",
		"--ethertype IPv6 --remote-ip 10.0.0.0/8":    "Conflicting value ethertype IPv6 for CIDR 10.0.0.0/8",
		"--protocol esp --dst-port 9":                "Ports cannot be specified for protocol 50",
		"--protocol tcp --remote-address-group none": "none",
	} {
		o.refused(want, append([]string{"security", "group", "rule", "create", "www"}, strings.Fields(args)...)...)
	}
	o.quiet("security", "group", "delete", "plain") // and with it the rule that names it
	o.quiet("security", "group", "delete", "www")
}

func portSecurity(o *client) {
	t := o.t
	o.show("network", "create", "secured")
	o.show("subnet", "create", "secured-subnet", "--network", "secured", "--subnet-range", "10.20.0.0/24")
	p := o.show("port", "create", "p1", "--network", "secured", "--allowed-address", "ip-address=10.20.0.200", "--mac-address", "fa:16:3e:00:00:01")
	o.want(p, map[string]any{"allowed_address_pairs": "[map[ip_address:10.20.0.200 mac_address:fa:16:3e:00:00:01]]"})
	o.quiet("port", "set", "p1", "--allowed-address", "ip-address=10.30.0.0/16,mac-address=00:00:5e:00:01:01")
	if pairs, _ := o.show("port", "show", "p1")["allowed_address_pairs"].([]any); len(pairs) != 2 {
		t.Errorf("pairs %v", pairs)
	}
	o.refused("multicast", "port", "set", "p1", "--allowed-address", "ip-address=10.30.0.1,mac-address=01:00:5e:00:00:12")
	o.refused("Port Security must be enabled", "port", "set", "p1", "--disable-port-security", "--no-security-group")
	o.refused("Port has security group associated", "port", "set", "p1", "--disable-port-security", "--no-allowed-address")
	o.quiet("port", "set", "p1", "--disable-port-security", "--no-security-group", "--no-allowed-address")
	o.want(o.show("port", "show", "p1"), map[string]any{"port_security_enabled": false, "security_group_ids": "[]", "allowed_address_pairs": "[]"})
	o.quiet("port", "set", "p1", "--enable-port-security", "--security-group", "default")
	o.refused("disallowed by policy", "port", "set", "p1", "--device-owner", "network:dhcp")
	o.refused("disallowed by policy", "port", "create", "p2", "--network", "secured", "--device-owner", "network:router_interface")
	o.show("security", "group", "create", "loose", "--stateless")
	o.refused("Cannot apply both stateful and stateless security groups", "port", "set", "p1", "--security-group", "loose")
	o.quiet("port", "set", "p1", "--no-security-group", "--security-group", "loose")
	o.refused("in use", "security", "group", "set", "loose", "--stateful")
	o.want(o.show("network", "create", "open", "--disable-port-security"), map[string]any{"port_security_enabled": false})
	o.want(o.show("port", "create", "p3", "--network", "open"), map[string]any{"port_security_enabled": false, "security_group_ids": "[]"})
}

func providers(o *client) {
	for _, c := range []struct {
		kind, physical, segment string
		want                    map[string]any
	}{
		{"vlan", "physnet1", "101", map[string]any{"provider:network_type": "vlan", "provider:physical_network": "physnet1", "provider:segmentation_id": 101, "mtu": 1500}},
		{"flat", "physnet2", "", map[string]any{"provider:network_type": "flat", "provider:segmentation_id": nil, "mtu": 1500}},
		{"geneve", "", "77", map[string]any{"provider:network_type": "geneve", "provider:segmentation_id": 77, "mtu": 1442}},
		{"gre", "", "4026531840", map[string]any{"provider:network_type": "gre", "provider:segmentation_id": 4026531840, "mtu": 1458}},
		{"vxlan", "", "", map[string]any{"provider:network_type": "vxlan", "mtu": 1450}},
		{"local", "", "", map[string]any{"provider:network_type": "local", "provider:segmentation_id": nil}},
	} {
		args := []string{"network", "create", "p-" + c.kind, "--provider-network-type", c.kind}
		if c.physical != "" {
			args = append(args, "--provider-physical-network", c.physical)
		}
		if c.segment != "" {
			args = append(args, "--provider-segment", c.segment)
		}
		m := o.show(args...)
		for k, want := range c.want {
			got := m[k]
			if f, ok := got.(float64); ok {
				got = int(f)
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				o.t.Errorf("%s: %s = %v, want %v", c.kind, k, got, want)
			}
		}
	}
	for args, want := range map[string]string{
		"--provider-network-type vlan --provider-physical-network physnet1 --provider-segment 101":  "The VLAN 101 on physical network physnet1 is in use",
		"--provider-network-type flat --provider-physical-network physnet2":                         "Physical network physnet2 is in use",
		"--provider-network-type vlan --provider-segment 5":                                         "physical_network required",
		"--provider-network-type geneve --provider-physical-network physnet1":                       "specified for geneve network",
		"--provider-network-type local --provider-segment 5":                                        "specified for local network",
		"--provider-network-type vlan --provider-physical-network physnet1 --provider-segment 4095": "out of range",
	} {
		o.refused(want, append([]string{"network", "create", "bad"}, strings.Fields(args)...)...)
	}
	demo := &client{o.t, o.c, "demo", "demo"}
	demo.refused("disallowed by policy", "network", "create", "bad", "--provider-network-type", "vlan", "--provider-physical-network", "physnet1")
	mine := demo.show("network", "create", "of-demo")
	o.want(o.show("network", "show", fmt.Sprint(mine["id"])), map[string]any{"provider:network_type": "vxlan"})
}

func TestGophercloudAddressGroups(t *testing.T) {
	ctx := context.Background()
	c := start(t, nil)
	demo, other := networkClient(t, c, "demo", "demo"), networkClient(t, c, "admin", "admin")
	ag := must[*addressgroups.AddressGroup](t)(addressgroups.Create(ctx, demo, addressgroups.CreateOpts{Name: "ag", Addresses: []string{"10.0.0.5", "fd00::/64"}}).Extract())
	if !slices.Equal(ag.Addresses, []string{"10.0.0.5/32", "fd00::/64"}) || ag.ProjectID == "" {
		t.Errorf("address group %+v", ag)
	}
	ag = must[*addressgroups.AddressGroup](t)(addressgroups.AddAddresses(ctx, demo, ag.ID, addressgroups.UpdateAddressesOpts{Addresses: []string{"192.0.2.0/24"}}).Extract())
	ag = must[*addressgroups.AddressGroup](t)(addressgroups.RemoveAddresses(ctx, demo, ag.ID, addressgroups.UpdateAddressesOpts{Addresses: []string{"10.0.0.5"}}).Extract())
	if !slices.Equal(ag.Addresses, []string{"192.0.2.0/24", "fd00::/64"}) {
		t.Errorf("addresses %v", ag.Addresses)
	}
	if _, err := addressgroups.RemoveAddresses(ctx, demo, ag.ID, addressgroups.UpdateAddressesOpts{Addresses: []string{"10.0.0.5"}}).Extract(); !gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
		t.Errorf("an address that is not there: %v", err)
	}
	sg := must[*groups.SecGroup](t)(groups.Create(ctx, demo, groups.CreateOpts{Name: "web"}).Extract())
	r := must[*rules.SecGroupRule](t)(rules.Create(ctx, demo, rules.CreateOpts{SecGroupID: sg.ID, Direction: rules.DirIngress, EtherType: rules.EtherType6, RemoteAddressGroupID: ag.ID}).Extract())
	if r.RemoteAddressGroupID != ag.ID {
		t.Errorf("rule %+v", r)
	}
	if err := addressgroups.Delete(ctx, demo, ag.ID).ExtractErr(); !gophercloud.ResponseCodeIs(err, http.StatusConflict) {
		t.Errorf("deleted while in use: %v", err)
	}
	if _, err := addressgroups.Get(ctx, other, ag.ID).Extract(); err != nil {
		t.Errorf("the administrator does not see it: %v", err)
	}
	if err := rules.Delete(ctx, demo, r.ID).ExtractErr(); err != nil {
		t.Error(err)
	}
	if err := addressgroups.Delete(ctx, demo, ag.ID).ExtractErr(); err != nil {
		t.Error(err)
	}
}
