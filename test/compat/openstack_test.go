// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/model"
)

// seed are ids as a recording gives them.
var seed = &alloc.Recorded{
	Networks: []alloc.RecordedNetwork{{Name: "net01", ID: "c0b9a1a5-9b3e-4b80-8d7c-2d1f0e6b7a11", SegmentationID: 1077}},
	Ports: []alloc.RecordedPort{{DeviceOwner: "network:dhcp", Network: "net01", ID: "178a8b99-7027-4dfc-9a21-3a9f2d4b6c01",
		MAC: model.MustMAC("fa:16:3e:ef:85:07")}},
}

// client runs the openstack command as a user.
type client struct {
	t             *testing.T
	c             *cloud
	user, project string
}

func (o *client) env() map[string]string {
	return map[string]string{"OS_AUTH_URL": o.c.identityURL, "OS_USERNAME": o.user, "OS_PASSWORD": password, "OS_PROJECT_NAME": o.project,
		"OS_USER_DOMAIN_NAME": "Default", "OS_PROJECT_DOMAIN_NAME": "Default", "OS_IDENTITY_API_VERSION": "3", "OS_REGION_NAME": "RegionOne"}
}

func (o *client) run(args ...string) (stdout []byte, stderr string, err error) {
	a, err := ask(shellRequest{Env: o.env(), Args: args})
	if err == nil && a.Code != 0 {
		err = fmt.Errorf("exit status %d", a.Code)
	}
	return []byte(a.Out), a.Err, err
}

// show runs a command that prints one object.
func (o *client) show(args ...string) map[string]any {
	o.t.Helper()
	var m map[string]any
	o.json(&m, args...)
	return m
}

func (o *client) list(args ...string) []map[string]any {
	o.t.Helper()
	var l []map[string]any
	o.json(&l, args...)
	return l
}

func (o *client) json(to any, args ...string) {
	o.t.Helper()
	out, errs, err := o.run(append(args, "-f", "json")...)
	if err != nil {
		o.t.Fatalf("%s: openstack %s: %v: %s", o.user, strings.Join(args, " "), err, errs)
	}
	if err := json.Unmarshal(out, to); err != nil {
		o.t.Fatalf("%s: openstack %s: %v in %s", o.user, strings.Join(args, " "), err, out)
	}
}

// quiet runs a command that prints nothing.
func (o *client) quiet(args ...string) {
	o.t.Helper()
	if out, errs, err := o.run(args...); err != nil || len(out) > 0 {
		o.t.Fatalf("%s: openstack %s: %v: %s%s", o.user, strings.Join(args, " "), err, out, errs)
	}
}

// refused runs a command that must fail with the text in its message.
func (o *client) refused(want string, args ...string) {
	o.t.Helper()
	if _, errs, err := o.run(args...); err == nil || !strings.Contains(errs, want) {
		o.t.Errorf("%s: openstack %s: %v: got %q, want %q", o.user, strings.Join(args, " "), err, errs, want)
	}
}

func (o *client) want(m map[string]any, fields map[string]any) {
	o.t.Helper()
	for k, v := range fields {
		if fmt.Sprint(m[k]) != fmt.Sprint(v) {
			o.t.Errorf("%s: %s = %v, want %v", o.user, k, m[k], v)
		}
	}
}

func needClient(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("openstack"); err != nil {
		if os.Getenv("NAGARE_NO_OPENSTACK") == "1" {
			t.Skip("NAGARE_NO_OPENSTACK=1: the openstack command is absent, and that is known")
		}
		t.Fatal("the openstack command is missing: install python3-openstackclient, or set NAGARE_NO_OPENSTACK=1 to go without")
	}
}

// TestOpenStackClient performs steps 1 and 2 of the walk-through's API side, and what a user and an administrator do besides.
func TestOpenStackClient(t *testing.T) {
	needClient(t)
	c := start(t, seed)
	t.Run("as", func(t *testing.T) {
		t.Run("demo", func(t *testing.T) { t.Parallel(); asDemo(&client{t, c, "demo", "demo"}) })
		t.Run("admin", func(t *testing.T) { t.Parallel(); asAdmin(&client{t, c, "admin", "admin"}) })
	})
}

func asDemo(o *client) {
	t := o.t
	tok := o.show("token", "issue")
	if tok["id"] == "" || tok["project_id"] == nil || tok["expires"] == nil {
		t.Errorf("token %v", tok)
	}
	aliases := []string{}
	for _, e := range o.list("extension", "list", "--network") {
		aliases = append(aliases, fmt.Sprint(e["Alias"]))
	}
	if !slices.Contains(aliases, "security-group") || !slices.Contains(aliases, "provider") || !slices.Contains(aliases, "router") || slices.Contains(aliases, "dvr") {
		t.Errorf("extensions %v", aliases)
	}

	net := o.show("network", "create", "net01")
	o.want(net, map[string]any{"name": "net01", "id": seed.Networks[0].ID, "project_id": tok["project_id"], "admin_state_up": true, "status": "ACTIVE", "mtu": 1450,
		"port_security_enabled": true, "shared": false, "router:external": false, "revision_number": 1})
	if net["provider:segmentation_id"] != nil {
		t.Errorf("demo sees the segmentation id: %v", net)
	}
	sub := o.show("subnet", "create", "net01-subnet", "--network", "net01", "--subnet-range", "10.11.12.0/24", "--dns-nameserver", "9.9.9.9")
	o.want(sub, map[string]any{"name": "net01-subnet", "network_id": net["id"], "cidr": "10.11.12.0/24", "gateway_ip": "10.11.12.1", "enable_dhcp": true,
		"ip_version": 4, "dns_nameservers": "[9.9.9.9]", "allocation_pools": "[map[end:10.11.12.254 start:10.11.12.2]]"})

	ports := o.list("port", "list", "--long")
	if len(ports) != 1 || ports[0]["MAC Address"] != "fa:16:3e:ef:85:07" || ports[0]["ID"] != "178a8b99-7027-4dfc-9a21-3a9f2d4b6c01" {
		t.Errorf("ports after the subnet: %v", ports)
	}
	dhcp := o.show("port", "show", "178a8b99-7027-4dfc-9a21-3a9f2d4b6c01")
	o.want(dhcp, map[string]any{"device_owner": "network:dhcp", "device_id": "dhcpd3377d3c-a0d1-5d71-9947-f17125c357bb-" + string(seed.Networks[0].ID),
		"admin_state_up": true, "binding_vnic_type": "normal", "port_security_enabled": false, "security_group_ids": "[]", "allowed_address_pairs": "[]",
		"extra_dhcp_opts": "[]", "name": "", "dns_name": "", "project_id": tok["project_id"], "network_id": net["id"],
		"dns_assignment": "[map[fqdn:host-10-11-12-2.openstacklocal. hostname:host-10-11-12-2 ip_address:10.11.12.2]]",
		"fixed_ips":      fmt.Sprintf("[map[ip_address:10.11.12.2 subnet_id:%s]]", sub["id"])})

	vm := o.show("port", "create", "vm01", "--network", "net01", "--fixed-ip", "subnet=net01-subnet,ip-address=10.11.12.3")
	sgs, _ := vm["security_group_ids"].([]any)
	o.want(vm, map[string]any{"name": "vm01", "status": "DOWN", "port_security_enabled": true, "binding_vnic_type": "normal"})
	if len(sgs) != 1 || !strings.HasPrefix(fmt.Sprint(vm["mac_address"]), "fa:16:3e:") {
		t.Errorf("port %v", vm)
	}
	o.refused("IP address 10.11.12.3 already allocated in subnet", "port", "create", "dup", "--network", "net01", "--fixed-ip", "ip-address=10.11.12.3")
	o.refused("overlaps with another subnet", "subnet", "create", "x", "--network", "net01", "--subnet-range", "10.11.12.128/25")

	groups := o.list("security", "group", "list")
	if len(groups) != 1 || groups[0]["Name"] != "default" || groups[0]["ID"] != sgs[0] {
		t.Errorf("groups %v, want %v", groups, sgs)
	}
	rule := o.show("security", "group", "rule", "create", "default", "--protocol", "tcp", "--dst-port", "22", "--remote-ip", "10.0.0.0/8")
	o.want(rule, map[string]any{"direction": "ingress", "ether_type": "IPv4", "protocol": "tcp", "port_range_min": 22, "port_range_max": 22, "remote_ip_prefix": "10.0.0.0/8"})
	if n := len(o.list("security", "group", "rule", "list", "default")); n != 5 {
		t.Errorf("%d rules in the default group, want 5", n)
	}
	o.quiet("network", "set", "net01", "--description", "first", "--tag", "red")
	o.want(o.show("network", "show", "net01"), map[string]any{"description": "first", "tags": "[red]"})
	o.refused("ports still in use", "network", "delete", "net01")
	o.quiet("port", "delete", "vm01")
	o.quiet("network", "delete", "net01") // and its DHCP port
}

func asAdmin(o *client) {
	t := o.t
	net := o.show("network", "create", "tenant-net", "--provider-network-type", "vxlan", "--provider-segment", "4242")
	o.want(net, map[string]any{"provider:network_type": "vxlan", "provider:segmentation_id": 4242, "provider:physical_network": nil})
	o.refused("segmentation_id out of range", "network", "create", "bad", "--provider-network-type", "vxlan", "--provider-segment", "16777216")
	o.refused("The tunnel ID 4242 is in use", "network", "create", "bad", "--provider-network-type", "vxlan", "--provider-segment", "4242")
	ext := o.show("network", "create", "ext-net", "--external", "--provider-network-type", "flat", "--provider-physical-network", "physnet1")
	o.want(ext, map[string]any{"router:external": true, "mtu": 1500})
	o.show("subnet", "create", "tenant-subnet", "--network", "tenant-net", "--subnet-range", "10.9.0.0/24", "--no-dhcp")
	p := o.show("port", "create", "bound", "--network", "tenant-net", "--host", "compute", "--device", "11111111-2222-4333-8444-555555555555", "--device-owner", "compute:nova")
	o.want(p, map[string]any{"binding_host_id": "compute", "binding_vif_type": "ovs", "status": "DOWN",
		"binding_vif_details": "map[bridge_name:br-int connectivity:l2 datapath_type:netdev ovs_hybrid_plug:false port_filter:true]"})
	l := o.list("port", "list", "--network", "tenant-net", "--fixed-ip", "ip-address=10.9.0.2", "--device-owner", "compute:nova")
	if len(l) != 1 || l[0]["ID"] != p["id"] {
		t.Errorf("filtered ports %v", l)
	}
	if l := o.list("project", "list"); len(l) != 2 {
		t.Errorf("projects %v", l)
	}
	o.want(o.show("user", "create", "eve", "--project", "demo", "--password", "x"), map[string]any{"name": "eve", "enabled": true})
	o.quiet("role", "add", "--user", "eve", "--project", "demo", "reader")
}
