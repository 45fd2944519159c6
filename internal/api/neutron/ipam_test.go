// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"strings"
	"testing"

	"nagare/internal/alloc"
)

// addrs are a port's addresses, joined, and how they came.
func (w *world) addrs(id string) string {
	w.t.Helper()
	p := w.do("admin", "GET", "/v2.0/ports/"+id, "", 200)["port"].(map[string]any)
	var out []string
	for _, f := range p["fixed_ips"].([]any) {
		out = append(out, dig(f, "ip_address").(string))
	}
	return strings.Join(append(out, p["ip_allocation"].(string)), " ")
}

const (
	mac   = `,"mac_address":"fa:16:3e:01:02:03"`
	eui   = "f816:3eff:fe01:203"
	slaac = `,"ipv6_address_mode":"slaac","ipv6_ra_mode":"slaac"`
)

func TestAddressesByMode(t *testing.T) {
	for name, c := range map[string]struct{ cidr, mode, want, refused string }{
		"slaac":            {"fd01::/64", slaac, "fd01::" + eui, "fd01::5"},
		"stateless":        {"fd01::/64", `,"ipv6_address_mode":"dhcpv6-stateless","ipv6_ra_mode":"dhcpv6-stateless"`, "fd01::" + eui, "fd01::5"},
		"another's router": {"fd01::/64", `,"ipv6_address_mode":"slaac"`, "fd01::" + eui, "fd01::5"},
		"only our router":  {"fd01::/64", `,"ipv6_ra_mode":"slaac"`, "fd01::" + eui, "fd01::5"},
		"stateful":         {"fd01::/64", `,"enable_dhcp":true,"ipv6_address_mode":"dhcpv6-stateful","ipv6_ra_mode":"dhcpv6-stateful","allocation_pools":[{"start":"fd01::8","end":"fd01::9"}]`, "fd01::9", ""}, // ::8 is the DHCP port's,
		"no mode":          {"fd01::/64", `,"enable_dhcp":false`, "fd01::2", ""},
	} {
		w := newWorld(t)
		net := w.network("demo", "")
		sub := w.subnet("demo", net, c.cidr, c.mode)
		if got := w.addrs(w.port("demo", net, mac)); got != c.want+" immediate" {
			t.Errorf("%s: a port has %s, want %s", name, got, c.want)
		}
		if c.refused != "" {
			w.refuse("demo", "POST", "/v2.0/ports", fmt.Sprintf(`{"port":{"network_id":%q,"fixed_ips":[{"subnet_id":%q,"ip_address":%q}]}}`, net, sub, c.refused), 400, "InvalidInput",
				"Invalid input for operation: IPv6 address "+c.refused+" cannot be directly assigned to a port on subnet "+sub+" as the subnet is configured for automatic addresses.")
		}
	}
}

// TestAutomaticAddressesFollow: they come with the subnet and go with it, whatever a port asks for itself, and follow its MAC address.
func TestAutomaticAddressesFollow(t *testing.T) {
	w := newWorld(t)
	net := w.network("demo", "")
	v4 := w.subnet("demo", net, "10.0.0.0/24", `,"enable_dhcp":false`)
	p, bare := w.port("demo", net, mac), w.port("demo", net, `,"mac_address":"fa:16:3e:01:02:04","fixed_ips":[]`)
	served := w.port("demo", net, `,"mac_address":"fa:16:3e:01:02:05","device_owner":"compute:a"`)
	want := func(id, addrs string) {
		t.Helper()
		if got := w.addrs(id); got != addrs {
			t.Errorf("%s, want %s", got, addrs)
		}
	}
	want(p, "10.0.0.2 immediate")
	want(bare, "none")
	auto := w.subnet("demo", net, "fd01::/64", slaac)
	special := w.subnet("demo", net, "fd02::/64", slaac+`,"service_types":["compute:a"]`)
	want(p, "10.0.0.2 fd01::"+eui+" immediate")
	want(bare, "fd01::f816:3eff:fe01:204 none")
	want(served, "10.0.0.3 fd01::f816:3eff:fe01:205 fd02::f816:3eff:fe01:205 immediate")
	w.do("demo", "PUT", "/v2.0/ports/"+p, `{"port":{"fixed_ips":[{"subnet_id":"`+v4+`","ip_address":"10.0.0.77"}]}}`, 200)
	want(p, "10.0.0.77 fd01::"+eui+" immediate")
	w.do("demo", "PUT", "/v2.0/ports/"+p, `{"port":{"fixed_ips":[]}}`, 200)
	want(p, "fd01::"+eui+" immediate")
	w.do("demo", "PUT", "/v2.0/ports/"+p, `{"port":{"mac_address":"fa:16:3e:01:02:06"}}`, 200)
	want(p, "fd01::f816:3eff:fe01:206 immediate")
	w.do("demo", "DELETE", "/v2.0/subnets/"+special, "", 204)
	w.do("demo", "DELETE", "/v2.0/subnets/"+auto, "", 204)
	want(p, "immediate")
	want(bare, "none")
	want(served, "10.0.0.3 immediate")
	w.refuse("demo", "DELETE", "/v2.0/subnets/"+v4, "", 409, "SubnetInUse", "")
}

func TestMACRegenerate(t *testing.T) {
	w := newWorld(t)
	net := w.network("demo", "")
	w.subnet("demo", net, "fd01::/64", slaac)
	p := w.port("demo", net, mac)
	got := w.do("demo", "PUT", "/v2.0/ports/"+p, `{"port":{"mac_address":null}}`, 200)["port"].(map[string]any)
	m := got["mac_address"].(string)
	if m == "fa:16:3e:01:02:03" || !strings.HasPrefix(m, "fa:16:3e:") {
		t.Errorf("MAC address %s after null", m)
	}
	if a := w.addrs(p); strings.Contains(a, eui) || !strings.HasPrefix(a, "fd01::f816:3eff:fe") {
		t.Errorf("MAC address %s, addresses %s", m, a)
	}
	w.do("demo", "GET", "/v2.0/extensions/port-mac-address-regenerate", "", 200)
}

func TestServiceSubnets(t *testing.T) {
	w := newWorld(t)
	net := w.network("demo", "")
	sub := w.subnet("demo", net, "10.0.0.0/24", `,"enable_dhcp":false,"service_types":["compute:a","compute:b"]`)
	if got := w.addrs(w.port("demo", net, `,"device_owner":"compute:b"`)); got != "10.0.0.2 immediate" {
		t.Error(got)
	}
	body := func(more string) string {
		return `{"port":{"network_id":"` + net + `","device_owner":"compute:c"` + more + `}}`
	}
	none := "No valid service subnet for the given device owner, network " + net + ", service type compute:c."
	w.refuse("demo", "POST", "/v2.0/ports", body(""), 409, "IpAddressGenerationFailureNoMatchingSubnet", none)
	general := w.subnet("demo", net, "10.1.0.0/24", `,"enable_dhcp":false`)
	if got := w.addrs(w.port("demo", net, `,"device_owner":"compute:c"`)); got != "10.1.0.2 immediate" {
		t.Error(got)
	}
	if got := w.addrs(w.port("demo", net, `,"device_owner":"compute:a"`)); got != "10.0.0.3 immediate" {
		t.Error("the special subnet goes before the general one:", got)
	}
	w.refuse("demo", "POST", "/v2.0/ports", body(`,"fixed_ips":[{"subnet_id":"`+sub+`"}]`), 400, "InvalidInput",
		"Invalid input for operation: Failed to create port on network "+net+", because fixed_ips included invalid subnet "+sub+".")
	w.refuse("demo", "POST", "/v2.0/ports", body(`,"fixed_ips":[{"ip_address":"10.0.0.9"}]`), 400, "InvalidIpForNetwork", "")
	w.do("demo", "POST", "/v2.0/ports", body(`,"fixed_ips":[{"subnet_id":"`+general+`"}]`), 201)
}

// TestRandomAddresses: every address is given once, in another order than the lowest first, and a full pool is refused.
func TestRandomAddresses(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Alloc, c.Quotas = &alloc.Allocator{RandomAddresses: true}, map[string]int{} })
	net := w.network("demo", "")
	w.subnet("demo", net, "10.0.0.0/26", `,"enable_dhcp":false,"allocation_pools":[{"start":"10.0.0.2","end":"10.0.0.9"},{"start":"10.0.0.20","end":"10.0.0.51"}]`)
	seen, inOrder, last := map[string]string{}, true, ""
	for i := range 40 {
		p := w.port("demo", net, "")
		a := w.addrs(p)
		if seen[a] != "" {
			t.Fatalf("%s twice", a)
		}
		inOrder = inOrder && (i == 0 || len(a) > len(last) || a > last)
		seen[a], last = p, a
	}
	if inOrder {
		t.Error("40 random addresses in order")
	}
	full := func() {
		t.Helper()
		w.refuse("demo", "POST", "/v2.0/ports", `{"port":{"network_id":"`+net+`"}}`, 409, "IpAddressGenerationFailure", "")
	}
	full()
	w.do("demo", "DELETE", "/v2.0/ports/"+seen["10.0.0.33 immediate"], "", 204)
	if got := w.addrs(w.port("demo", net, "")); got != "10.0.0.33 immediate" {
		t.Errorf("the one that is free is 10.0.0.33, a port has %s", got)
	}
	full()
	big := w.network("demo", "")
	w.subnet("demo", big, "fd01::/48", `,"enable_dhcp":false`)
	a, b := w.addrs(w.port("demo", big, "")), w.addrs(w.port("demo", big, ""))
	if a == b || !strings.HasPrefix(a, "fd01:0:0:") && !strings.HasPrefix(a, "fd01::") || len(a) < len("fd01::1:2:3 immediate") {
		t.Errorf("random addresses of a /48: %s, %s", a, b)
	}
}
