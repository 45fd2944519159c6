// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"strings"
	"testing"

	"nagare/internal/model"
)

// TestEveryProtocol: each name and number is taken, and means to the data plane what it means to the API.
func TestEveryProtocol(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Quotas = map[string]int{} })
	group := w.make("demo", "security-groups", "security_group", `"name":"g"`)
	try := func(proto, ether, more string) answer {
		return w.send("demo", "POST", "/v2.0/security-group-rules",
			`{"security_group_rule":{"security_group_id":"`+group+`","direction":"ingress","ethertype":"`+ether+`","protocol":"`+proto+`"`+more+`}}`)
	}
	names := make([]string, 0, 256+len(protocols))
	for name := range protocols {
		names = append(names, name)
	}
	for n := range 256 {
		names = append(names, fmt.Sprint(n))
	}
	v6only := map[int]bool{}
	for _, n := range ipv6Only {
		v6only[n] = true
	}
	for _, name := range names {
		n := protocolNumber(name)
		if got, any, ok := model.ProtocolNumber(name); !ok || !any && int(got) != n || any && n != 0 {
			t.Errorf("protocol %s is %d here, and %d (any: %v, known: %v) to the data plane", name, n, got, any, ok)
		}
		for _, ether := range []string{"IPv4", "IPv6"} {
			a := try(name, ether, "")
			switch {
			case ether == "IPv4" && v6only[n]:
				if a.code != 400 || dig(a.body, "NeutronError", "type") != "SecurityGroupEthertypeConflictWithProtocol" {
					t.Errorf("%s %s: %d %s", ether, name, a.code, a.text)
				}
			case a.code != 201 && !(a.code == 409 && strings.Contains(a.text, "SecurityGroupRuleExists")): // the name after the number
				t.Errorf("%s %s: %d %s", ether, name, a.code, a.text)
			}
			with := try(name, ether, `,"port_range_min":300,"port_range_max":301`)
			want := "SecurityGroupInvalidProtocolForPort"
			switch {
			case ether == "IPv4" && v6only[n]:
				want = "SecurityGroupEthertypeConflictWithProtocol"
			case n == 1 || n == 58:
				want = "SecurityGroupInvalidIcmpValue"
			case n == 6 || n == 17 || n == 33 || n == 132 || n == 136:
				want = ""
			}
			if kind, _ := dig(with.body, "NeutronError", "type").(string); kind != want && kind != "SecurityGroupRuleExists" {
				t.Errorf("%s %s with ports: %s, want %s", ether, name, with.text, want)
			}
		}
	}
	for _, bad := range []string{"256", "-1", "1.5", "tcpp", "", " tcp"} {
		if a := try(bad, "IPv4", ""); bad != "" && (a.code != 400 || dig(a.body, "NeutronError", "type") != "SecurityGroupRuleInvalidProtocol") {
			t.Errorf("protocol %q: %d %s", bad, a.code, a.text)
		}
	}
}

func TestRuleForms(t *testing.T) {
	w := newWorld(t)
	a := w.make("demo", "security-groups", "security_group", `"name":"a"`)
	b := w.make("demo", "security-groups", "security_group", `"name":"b"`)
	rule := func(attrs string) string {
		return `{"security_group_id":"` + a + `","direction":"ingress",` + attrs + `}`
	}
	for attrs, want := range map[string]string{
		`"protocol":"udp","port_range_min":1,"port_range_max":65535`: "udp <nil> <nil>",
		`"protocol":"tcp","port_range_min":1,"port_range_max":65534`: "tcp 1 65534",
		`"ethertype":"IPv6","protocol":1,"port_range_min":128`:       "58 128 <nil>",
		`"ethertype":"IPv6","protocol":"icmpv6","port_range_min":1`:  "ipv6-icmp 1 <nil>",
	} {
		m := w.do("demo", "POST", "/v2.0/security-group-rules", `{"security_group_rule":`+rule(attrs)+`}`, 201)
		r := dig(m, "security_group_rule").(map[string]any)
		if got := fmt.Sprint(r["protocol"], " ", r["port_range_min"], " ", r["port_range_max"]); got != want {
			t.Errorf("%s: got %s, want %s", attrs, got, want)
		}
	}
	for _, c := range []struct{ attrs, kind, message string }{
		{`"protocol":"tcp","port_range_min":0,"port_range_max":5`, "SecurityGroupInvalidPortValue", "Invalid value for port 0"},
		{`"protocol":"tcp","port_range_min":9,"port_range_max":5`, "SecurityGroupInvalidPortRange", ""},
		{`"protocol":"tcp","port_range_max":5`, "SecurityGroupInvalidPortRange", ""},
		{`"protocol":"esp","port_range_min":5`, "SecurityGroupInvalidProtocolForPort", "Ports cannot be specified for protocol 50. Ports are only supported for DCCP, SCTP, TCP, UDP, UDPLITE."},
		{`"protocol":"icmp","port_range_min":8,"port_range_max":256`, "SecurityGroupInvalidIcmpValue", "Invalid value for ICMP code (port_range_max) 256. It must be 0 to 255."},
		{`"ethertype":"IPv5"`, "SecurityGroupRuleInvalidEtherType", "Security group rule for ethertype 'IPv5' not supported. Allowed values are ['IPv4', 'IPv6']."},
		{`"ethertype":"IPv6","remote_ip_prefix":"10.0.0.0/8"`, "SecurityGroupRuleParameterConflict", "Conflicting value ethertype IPv6 for CIDR 10.0.0.0/8"},
		{`"protocol":"icmpv6"`, "SecurityGroupEthertypeConflictWithProtocol", "Invalid ethertype IPv4 for protocol icmpv6."},
		{`"protocol":"43"`, "SecurityGroupEthertypeConflictWithProtocol", "Invalid ethertype IPv4 for protocol 43."},
	} {
		w.refuse("demo", "POST", "/v2.0/security-group-rules", `{"security_group_rule":`+rule(c.attrs)+`}`, 400, c.kind, c.message)
	}
	bulk := func(second string) string {
		return `{"security_group_rules":[` + rule(`"protocol":"ah"`) + `,` + second + `]}`
	}
	w.refuse("demo", "POST", "/v2.0/security-group-rules", bulk(`{"security_group_id":"`+b+`","direction":"ingress"}`), 400, "SecurityGroupNotSingleGroupRules",
		"Only allowed to update rules for one security profile at a time")
	w.refuse("admin", "POST", "/v2.0/security-group-rules", bulk(rule(`"protocol":"esp","project_id":"p-other"`)), 400, "SecurityGroupRulesNotSingleTenant", "")
	w.refuse("demo", "POST", "/v2.0/security-group-rules", bulk(rule(`"protocol":51`)), 409, "DuplicateSecurityGroupRuleInPost", "")
	for _, name := range []string{"default", "Default", "DEFAULT"} {
		w.refuse("demo", "POST", "/v2.0/security-groups", `{"security_group":{"name":"`+name+`"}}`, 409, "SecurityGroupDefaultAlreadyExists", "Default security group already exists.")
		w.refuse("demo", "PUT", "/v2.0/security-groups/"+a, `{"security_group":{"name":"`+name+`"}}`, 409, "SecurityGroupDefaultAlreadyExists", "")
	}
}

// TestStateless: a port's groups are of one kind, and a group does not change its kind under its wearers.
func TestStateless(t *testing.T) {
	const mixed = "Error Cannot apply both stateful and stateless security groups on the same port at the same time while attempting the operation."
	w := newWorld(t)
	with := w.names("demo", "security-groups", "id")[0]
	without := w.make("demo", "security-groups", "security_group", `"name":"s","stateful":false`)
	if m := w.do("demo", "GET", "/v2.0/security-groups/"+without, "", 200); dig(m, "security_group", "stateful") != false {
		t.Errorf("group %v", m)
	}
	net := w.network("demo", "")
	w.refuse("demo", "POST", "/v2.0/ports", `{"port":{"network_id":"`+net+`","security_groups":["`+with+`","`+without+`"]}}`, 409, "SecurityGroupConflict", mixed)
	p := w.port("demo", net, `,"security_groups":["`+without+`"]`)
	w.refuse("demo", "PUT", "/v2.0/ports/"+p, `{"port":{"security_groups":["`+without+`","`+with+`"]}}`, 409, "SecurityGroupConflict", mixed)
	w.refuse("demo", "PUT", "/v2.0/security-groups/"+without, `{"security_group":{"stateful":true}}`, 409, "SecurityGroupInUse", "Security Group "+without+" in use.")
	w.do("demo", "PUT", "/v2.0/security-groups/"+without, `{"security_group":{"stateful":false,"description":"d"}}`, 200)
	w.do("demo", "PUT", "/v2.0/ports/"+p, `{"port":{"security_groups":["`+with+`"]}}`, 200)
	w.do("demo", "PUT", "/v2.0/security-groups/"+without, `{"security_group":{"stateful":true}}`, 200)
	w.do("demo", "PUT", "/v2.0/ports/"+p, `{"port":{"security_groups":["`+without+`","`+with+`"]}}`, 200)
}

func TestAddressPairs(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxAddressPairs = 3 })
	net := w.network("demo", "")
	w.subnet("demo", net, "10.0.0.0/24", "")
	p := w.port("demo", net, `,"mac_address":"fa:16:3e:00:00:01","fixed_ips":[{"ip_address":"10.0.0.9"}]`)
	pairs := func(l string) string { return `{"port":{"allowed_address_pairs":[` + l + `]}}` }
	for l, want := range map[string]string{
		`{"ip_address":"10.0.0.9"}`:                                                             "[map[ip_address:10.0.0.9 mac_address:fa:16:3e:00:00:01]]", // the port's own: of no use, and no harm
		`{"ip_address":"0.0.0.0/0"},{"ip_address":"::/0"}`:                                      "[map[ip_address:0.0.0.0/0 mac_address:fa:16:3e:00:00:01] map[ip_address:::/0 mac_address:fa:16:3e:00:00:01]]",
		`{"ip_address":"fd00::1/64","mac_address":"00:00:5E:00:01:01"}`:                         "[map[ip_address:fd00::/64 mac_address:00:00:5e:00:01:01]]",
		`{"ip_address":"10.0.0.9","mac_address":null}`:                                          "[map[ip_address:10.0.0.9 mac_address:fa:16:3e:00:00:01]]",
		`{"ip_address":"10.0.0.9"},{"ip_address":"10.0.0.9","mac_address":"fa:16:3e:00:00:02"}`: "[map[ip_address:10.0.0.9 mac_address:fa:16:3e:00:00:01] map[ip_address:10.0.0.9 mac_address:fa:16:3e:00:00:02]]",
	} {
		m := w.do("demo", "PUT", "/v2.0/ports/"+p, pairs(l), 200)
		if got := fmt.Sprint(dig(m, "port", "allowed_address_pairs")); got != want {
			t.Errorf("%s: got %s, want %s", l, got, want)
		}
	}
	four := `{"ip_address":"10.0.1.1"},{"ip_address":"10.0.1.2"},{"ip_address":"10.0.1.3"},{"ip_address":"10.0.1.4"}`
	const full = "The number of allowed address pair exceeds the maximum 3."
	for _, c := range []struct {
		pairs         string
		kind, message string
	}{
		{four, "AllowedAddressPairExhausted", full},
		{strings.Repeat(`{"ip_address":"10.0.1.1"},`, 9999) + `{"ip_address":"10.0.1.1"}`, "AllowedAddressPairExhausted", ""},
		{`{"mac_address":"fa:16:3e:00:00:01"}`, "AllowedAddressPairsMissingIP", "AllowedAddressPair must contain ip_address"},
		{`{"ip_address":"10.0.1.1","mac_address":"01:00:5e:00:00:01"}`, "HTTPBadRequest", "MAC address 01:00:5e:00:00:01 is a multicast address, which is not supported."},
		{`{"ip_address":"10.0.1.1","mac_address":"ff:ff:ff:ff:ff:ff"}`, "HTTPBadRequest", ""},
		{`{"ip_address":"10.0.1.1","mac_address":"00:00:00:00:00:00"}`, "HTTPBadRequest", "Invalid input for allowed_address_pairs. Reason: '00:00:00:00:00:00' is not a valid MAC address."},
		{`{"ip_address":"224.0.0.18"}`, "HTTPBadRequest", "IP 224.0.0.18 is a multicast address, which is not supported."},
		{`{"ip_address":"128.0.0.0/1"}`, "HTTPBadRequest", "Subnet 128.0.0.0/1 overlaps with multicast range 224.0.0.0/4, which is not supported."},
		{`{"ip_address":"ff02::/16"}`, "HTTPBadRequest", "Subnet ff02::/16 overlaps with multicast range ff00::/8, which is not supported."},
		{`{"ip_address":"10.0.1.1"},{"ip_address":"10.0.1.1"}`, "DuplicateAddressPairInRequest", "Request contains duplicate address pair: mac_address None ip_address 10.0.1.1."},
		{`{"ip_address":"10.0.1.1"},{"ip_address":"10.0.1.1","mac_address":"fa:16:3e:00:00:01"}`, "DuplicateAddressPairInRequest",
			"Request contains duplicate address pair: mac_address fa:16:3e:00:00:01 ip_address 10.0.1.1."},
	} {
		w.refuse("demo", "PUT", "/v2.0/ports/"+p, pairs(c.pairs), 400, c.kind, c.message)
	}
	w.refuse("demo", "POST", "/v2.0/ports", `{"port":{"network_id":"`+net+`","allowed_address_pairs":[`+four+`]}}`, 400, "AllowedAddressPairExhausted", full)
	// Pairs and groups want port security, and the network's setting is the default.
	open := w.network("demo", `"port_security_enabled":false`)
	w.refuse("demo", "POST", "/v2.0/ports", `{"port":{"network_id":"`+open+`","allowed_address_pairs":[{"ip_address":"10.0.0.1"}]}}`, 409, "AddressPairAndPortSecurityRequired", "")
	if m := w.do("demo", "POST", "/v2.0/ports", `{"port":{"network_id":"`+open+`"}}`, 201); dig(m, "port", "port_security_enabled") != false || len(dig(m, "port", "security_groups").([]any)) != 0 {
		t.Errorf("port on an open network %v", m)
	}
	w.refuse("demo", "PUT", "/v2.0/ports/"+p, `{"port":{"port_security_enabled":false,"security_groups":[]}}`, 409, "AddressPairAndPortSecurityRequired", "")
	w.refuse("demo", "PUT", "/v2.0/ports/"+p, `{"port":{"port_security_enabled":false,"allowed_address_pairs":[]}}`, 409, "PortSecurityPortHasSecurityGroup", "")
	w.do("demo", "PUT", "/v2.0/ports/"+p, `{"port":{"port_security_enabled":false,"allowed_address_pairs":[],"security_groups":[]}}`, 200)
}

// TestOwnerEscape: a member cannot make a port one of the network's own, which are trusted, neither at its birth nor in the
// moment after (CVE-2015-5240), nor by a detour.
func TestOwnerEscape(t *testing.T) {
	w := newWorld(t)
	net := w.network("demo", "")
	w.subnet("demo", net, "10.0.0.0/24", "")
	for _, owner := range []string{"network:dhcp", "network:router_interface", "network:router_gateway", "network:floatingip", "network:", "network:x"} {
		attr := fmt.Sprintf(`"device_owner":%q`, owner)
		w.refuse("demo", "POST", "/v2.0/ports", `{"port":{"network_id":"`+net+`",`+attr+`}}`, 403, "PolicyNotAuthorized", "(rule:create_port and rule:create_port:device_owner) is disallowed by policy")
		w.refuse("demo", "POST", "/v2.0/ports", `{"ports":[{"network_id":"`+net+`"},{"network_id":"`+net+`",`+attr+`}]}`, 403, "PolicyNotAuthorized", "")
		p := w.port("demo", net, "")
		w.refuse("demo", "PUT", "/v2.0/ports/"+p, `{"port":{`+attr+`}}`, 403, "PolicyNotAuthorized", "")
		w.do("demo", "PUT", "/v2.0/ports/"+p, `{"port":{"device_owner":"compute:nova","device_id":"vm"}}`, 200)
		w.refuse("demo", "PUT", "/v2.0/ports/"+p, `{"port":{"name":"x",`+attr+`}}`, 403, "PolicyNotAuthorized", "")
		m := w.do("demo", "GET", "/v2.0/ports/"+p, "", 200)
		if dig(m, "port", "port_security_enabled") != true || dig(m, "port", "device_owner") != "compute:nova" {
			t.Errorf("owner %s: port %v", owner, m)
		}
		w.do("demo", "DELETE", "/v2.0/ports/"+p, "", 204)
	}
	// What only looks like one of them is filtered like any other.
	for _, owner := range []string{"Network:dhcp", " network:dhcp", "network"} {
		m := w.do("demo", "POST", "/v2.0/ports", fmt.Sprintf(`{"port":{"network_id":%q,"device_owner":%q}}`, net, owner), 201)
		if dig(m, "port", "port_security_enabled") != true {
			t.Errorf("owner %q: no port security", owner)
		}
	}
}
