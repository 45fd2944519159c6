// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/quotas"
)

// TestOpenStackSharing performs what the stock client has for address scopes, subnet pools, sharing, quotas, IP availability,
// agents and availability zones.
func TestOpenStackSharing(t *testing.T) {
	needClient(t)
	c := start(t, nil)
	t.Run("as", func(t *testing.T) {
		t.Run("demo", func(t *testing.T) { t.Parallel(); poolsAsDemo(&client{t, c, "demo", "demo"}) })
		t.Run("admin", func(t *testing.T) { t.Parallel(); sharingAsAdmin(&client{t, c, "admin", "admin"}) })
	})
}

// column gives one column of a list, in order.
func column(rows []map[string]any, name string) []string {
	out := []string{}
	for _, r := range rows {
		out = append(out, fmt.Sprint(r[name]))
	}
	slices.Sort(out)
	return out
}

func (o *client) columns(rows []map[string]any, name string, want ...string) {
	o.t.Helper()
	if got := column(rows, name); !slices.Equal(got, want) {
		o.t.Errorf("%s: %s %q, want %q", o.user, name, got, want)
	}
}

func poolsAsDemo(o *client) {
	t := o.t
	scope := o.show("address", "scope", "create", "home", "--ip-version", "4")
	o.want(scope, map[string]any{"name": "home", "ip_version": 4, "shared": false})
	o.quiet("address", "scope", "set", "home", "--name", "house")
	o.columns(o.list("address", "scope", "list", "--ip-version", "4", "--no-share"), "Name", "house")
	o.want(o.show("address", "scope", "show", "house"), map[string]any{"id": scope["id"], "project_id": scope["project_id"]})
	o.refused("403", "address", "scope", "create", "open", "--share")

	pool := o.show("subnet", "pool", "create", "p1", "--pool-prefix", "10.20.0.0/17", "--pool-prefix", "10.20.128.0/17", "--default-prefix-length", "24",
		"--min-prefix-length", "20", "--max-prefix-length", "28", "--address-scope", "house", "--default-quota", "1024", "--description", "d", "--tag", "blue")
	o.want(pool, map[string]any{"name": "p1", "prefixes": "[10.20.0.0/16]", "default_prefixlen": 24, "min_prefixlen": 20, "max_prefixlen": 28, "address_scope_id": scope["id"],
		"default_quota": 1024, "ip_version": 4, "is_default": false, "shared": false, "description": "d", "tags": "[blue]"})
	o.refused("Cannot mix IPv4 and IPv6", "subnet", "pool", "create", "mixed", "--pool-prefix", "10.0.0.0/8", "--pool-prefix", "fd00::/48")
	o.refused("Illegal prefix bounds", "subnet", "pool", "create", "upside-down", "--pool-prefix", "10.0.0.0/8", "--min-prefix-length", "30", "--max-prefix-length", "20")
	o.show("network", "create", "n1")
	o.want(o.show("subnet", "create", "s1", "--network", "n1", "--subnet-pool", "p1"), map[string]any{"cidr": "10.20.0.0/24", "gateway_ip": "10.20.0.1", "subnetpool_id": pool["id"]})
	o.want(o.show("subnet", "create", "s2", "--network", "n1", "--subnet-pool", "p1", "--prefix-length", "28"), map[string]any{"cidr": "10.20.1.0/28"})
	o.refused("minimum allowed prefix is 20", "subnet", "create", "s3", "--network", "n1", "--subnet-pool", "p1", "--prefix-length", "16")
	o.refused("quota exceeded", "subnet", "create", "s3", "--network", "n1", "--subnet-pool", "p1", "--prefix-length", "20")
	o.want(o.show("network", "show", "n1"), map[string]any{"ipv4_address_scope": scope["id"], "ipv6_address_scope": nil})
	o.quiet("subnet", "pool", "set", "p1", "--pool-prefix", "10.21.0.0/16", "--default-prefix-length", "26", "--no-address-scope", "--tag", "red")
	o.quiet("subnet", "pool", "unset", "p1", "--tag", "blue")
	o.want(o.show("subnet", "pool", "show", "p1"), map[string]any{"prefixes": "[10.20.0.0/15]", "default_prefixlen": 26, "address_scope_id": nil, "tags": "[red]"})
	o.columns(o.list("subnet", "pool", "list", "--name", "p1", "--long"), "Prefixes", "[10.20.0.0/15]")
	o.refused("existing allocations", "subnet", "pool", "delete", "p1")
	o.quiet("address", "scope", "delete", "house")

	n := o.show("network", "show", "n1")
	rule := o.show("network", "rbac", "create", "--type", "network", "--action", "access_as_shared", "--target-project", "admin", "n1")
	o.want(rule, map[string]any{"object_type": "network", "object_id": n["id"], "action": "access_as_shared"})
	o.refused("403", "network", "rbac", "create", "--type", "network", "--action", "access_as_shared", "--target-all-projects", "n1")
	o.columns(o.list("network", "rbac", "list", "--type", "network", "--action", "access_as_shared"), "Object ID", fmt.Sprint(n["id"]))
	id := fmt.Sprint(rule["id"])
	o.want(o.show("network", "rbac", "show", id), map[string]any{"target_project_id": rule["target_project_id"], "project_id": n["project_id"]})
	o.quiet("network", "rbac", "delete", id)
	if l := o.list("network", "agent", "list"); len(l) != 0 {
		t.Errorf("a member sees agents: %v", l)
	}
	o.quiet("network", "delete", "n1")
	o.quiet("subnet", "pool", "delete", "p1")
}

func sharingAsAdmin(o *client) {
	t := o.t
	o.show("subnet", "pool", "create", "all", "--pool-prefix", "10.99.0.0/16", "--default-prefix-length", "24", "--share", "--default")
	o.columns(o.list("subnet", "pool", "list", "--share", "--default"), "Name", "all")
	n := o.show("network", "create", "n", "--share", "--availability-zone-hint", "nova")
	o.want(n, map[string]any{"shared": true, "availability_zone_hints": "[nova]"})
	s := o.show("subnet", "create", "s", "--network", "n", "--use-default-subnet-pool")
	o.want(s, map[string]any{"cidr": "10.99.0.0/24"})
	rules := o.list("network", "rbac", "list", "--long", "--type", "network")
	o.columns(rules, "Action", "access_as_shared")
	o.quiet("network", "rbac", "set", fmt.Sprint(rules[0]["ID"]), "--target-project", "demo")
	o.want(o.show("network", "show", "n"), map[string]any{"shared": false})

	sg := o.show("security", "group", "create", "web")
	ag := o.show("address", "group", "create", "hosts", "--address", "10.0.0.1")
	for kind, object := range map[string]any{"security_group": sg["id"], "address_group": ag["id"], "subnetpool": "all"} {
		o.want(o.show("network", "rbac", "create", "--type", kind, "--action", "access_as_shared", "--target-project", "demo", fmt.Sprint(object)), map[string]any{"object_type": kind})
	}

	if got := column(o.list("ip", "availability", "list", "--ip-version", "4"), "Network Name"); !slices.Contains(got, "n") {
		t.Errorf("networks with addresses: %v", got)
	}
	av := o.show("ip", "availability", "show", "n")
	o.want(av, map[string]any{"network_name": "n", "network_id": n["id"], "total_ips": 253, "used_ips": 1})

	o.columns(o.list("network", "agent", "list"), "Agent Type", "DHCP agent", "L3 agent", "Open vSwitch agent", "Open vSwitch agent")
	l3 := o.list("network", "agent", "list", "--agent-type", "l3", "--host", "controller")
	if len(l3) != 1 || l3[0]["Alive"] != true || l3[0]["State"] != true || l3[0]["Availability Zone"] != "nova" || l3[0]["Binary"] != "neutron-l3-agent" {
		t.Errorf("the L3 agent: %v", l3)
	}
	o.columns(o.list("network", "agent", "list", "--network", "n"), "Host", "controller")
	ovs := o.list("network", "agent", "list", "--agent-type", "open-vswitch", "--host", "compute")
	id := fmt.Sprint(ovs[0]["ID"])
	o.quiet("network", "agent", "set", id, "--description", "rack 4")
	o.want(o.show("network", "agent", "show", id), map[string]any{"host": "compute", "binary": "neutron-openvswitch-agent", "description": "rack 4", "alive": true})
	o.columns(o.list("availability", "zone", "list", "--network"), "Zone Name", "nova", "nova")

	// The client's other quota commands ask Nova and Cinder too, whom this cloud has not.
	demo := fmt.Sprint(o.show("project", "show", "demo")["id"])
	seven, nine := 7, 9
	if _, err := quotas.Update(context.Background(), networkClient(t, o.c, "admin", "admin"), demo, quotas.UpdateOpts{Network: &seven, Port: &nine}).Extract(); err != nil {
		t.Fatal(err)
	}
	q := o.list("quota", "list", "--network")
	o.columns(q, "Ports", "9")
	o.columns(q, "Networks", "7")
}
