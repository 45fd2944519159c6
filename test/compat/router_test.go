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
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/floatingips"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/routers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"
)

// externalOpts is an external network in the words of the API: the library knows provider attributes by segments only.
type externalOpts struct{}

func (externalOpts) ToNetworkCreateMap() (map[string]any, error) {
	return map[string]any{"network": map[string]any{"name": "ext-net", "router:external": true,
		"provider:network_type": "flat", "provider:physical_network": "physnet1"}}, nil
}

// externalNetwork makes the operator's external network, flat on physnet1, and gives its id.
func externalNetwork(t *testing.T, c *cloud) string {
	t.Helper()
	ctx, admin := context.Background(), networkClient(t, c, "admin", "admin")
	net := must[*networks.Network](t)(networks.Create(ctx, admin, externalOpts{}).Extract())
	must[*subnets.Subnet](t)(subnets.Create(ctx, admin, subnets.CreateOpts{NetworkID: net.ID, CIDR: "172.16.1.0/24", IPVersion: gophercloud.IPv4}).Extract())
	return net.ID
}

func TestGophercloudRouters(t *testing.T) {
	ctx := context.Background()
	c := start(t, nil)
	ext := externalNetwork(t, c)
	demo, admin := networkClient(t, c, "demo", "demo"), networkClient(t, c, "admin", "admin")
	net := must[*networks.Network](t)(networks.Create(ctx, demo, networks.CreateOpts{Name: "net01"}).Extract())
	sub := must[*subnets.Subnet](t)(subnets.Create(ctx, demo, subnets.CreateOpts{NetworkID: net.ID, CIDR: "10.11.12.0/24", IPVersion: gophercloud.IPv4}).Extract())
	vm := must[*ports.Port](t)(ports.Create(ctx, demo, ports.CreateOpts{NetworkID: net.ID, Name: "vm01"}).Extract())
	r := must[*routers.Router](t)(routers.Create(ctx, demo, routers.CreateOpts{Name: "router1", GatewayInfo: &routers.GatewayInfo{NetworkID: ext}}).Extract())
	if r.Status != "ACTIVE" || r.GatewayInfo.NetworkID != ext || r.GatewayInfo.EnableSNAT == nil || !*r.GatewayInfo.EnableSNAT || len(r.GatewayInfo.ExternalFixedIPs) != 1 {
		t.Errorf("router %+v", r)
	}
	if _, err := floatingips.Create(ctx, demo, floatingips.CreateOpts{FloatingNetworkID: ext, PortID: vm.ID}).Extract(); !gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
		t.Errorf("a floating IP for a port that no router joins: %v", err)
	}
	iface := must[*routers.InterfaceInfo](t)(routers.AddInterface(ctx, demo, r.ID, routers.AddInterfaceOpts{SubnetID: sub.ID}).Extract())
	if iface.SubnetID != sub.ID || iface.PortID == "" || iface.TenantID == "" {
		t.Errorf("interface %+v", iface)
	}
	fip := must[*floatingips.FloatingIP](t)(floatingips.Create(ctx, demo, floatingips.CreateOpts{FloatingNetworkID: ext, PortID: vm.ID}).Extract())
	if fip.Status != "DOWN" || // there are no switches here that could confirm it
		fip.RouterID != r.ID || fip.FixedIP != "10.11.12.3" || fip.FloatingIP != "172.16.1.4" {
		t.Errorf("floating IP %+v", fip)
	}
	if err := routers.Delete(ctx, demo, r.ID).ExtractErr(); !gophercloud.ResponseCodeIs(err, http.StatusConflict) {
		t.Errorf("a router with interfaces deleted: %v", err)
	}
	if _, err := routers.Update(ctx, demo, r.ID, routers.UpdateOpts{Routes: &[]routers.Route{{DestinationCIDR: "192.168.0.0/24", NextHop: "10.99.0.1"}}}).Extract(); !gophercloud.ResponseCodeIs(err, http.StatusBadRequest) {
		t.Errorf("a route into nowhere: %v", err)
	}
	all := must[[]ports.Port](t)(portList(ctx, demo))
	if len(all) != 3 {
		t.Errorf("demo sees %d ports, want DHCP, vm01 and the router's interface: %+v", len(all), all)
	}
	if all = must[[]ports.Port](t)(portList(ctx, admin)); !slices.ContainsFunc(all, func(p ports.Port) bool { return p.DeviceOwner == "network:router_gateway" && p.DeviceID == r.ID }) {
		t.Error("the administrator sees no gateway port")
	}
	none := ""
	fip = must[*floatingips.FloatingIP](t)(floatingips.Update(ctx, demo, fip.ID, floatingips.UpdateOpts{PortID: &none}).Extract())
	if fip.Status != "DOWN" || fip.PortID != "" || fip.RouterID != "" {
		t.Errorf("disassociated %+v", fip)
	}
}

func portList(ctx context.Context, c *gophercloud.ServiceClient) ([]ports.Port, error) {
	pages, err := ports.List(c, ports.ListOpts{}).AllPages(ctx)
	if err != nil {
		return nil, err
	}
	return ports.ExtractPorts(pages)
}

// TestOpenStackRouters is step 3 of the walk-through as a user types it.
func TestOpenStackRouters(t *testing.T) {
	needClient(t)
	c := start(t, nil)
	admin, demo := &client{t, c, "admin", "admin"}, &client{t, c, "demo", "demo"}
	admin.show("network", "create", "ext-net", "--external", "--provider-network-type", "flat", "--provider-physical-network", "physnet1")
	admin.show("subnet", "create", "ext-subnet", "--network", "ext-net", "--subnet-range", "172.16.1.0/24")
	demo.show("network", "create", "net01")
	demo.show("subnet", "create", "net01-subnet", "--network", "net01", "--subnet-range", "10.11.12.0/24")
	demo.show("port", "create", "vm01", "--network", "net01")
	demo.want(demo.show("router", "create", "router1"), map[string]any{"name": "router1", "status": "ACTIVE"})
	demo.quiet("router", "add", "subnet", "router1", "net01-subnet")
	demo.quiet("router", "set", "router1", "--external-gateway", "ext-net")
	if m := fmt.Sprint(demo.show("router", "show", "router1")["external_gateway_info"]); !strings.Contains(m, "172.16.1.3") {
		t.Errorf("gateway %s", m)
	}
	demo.refused("disallowed by policy", "router", "set", "router1", "--external-gateway", "ext-net", "--disable-snat")
	admin.quiet("router", "set", "router1", "--external-gateway", "ext-net", "--disable-snat")
	admin.quiet("router", "set", "router1", "--external-gateway", "ext-net", "--enable-snat")
	demo.show("router", "add", "route", "router1", "--route", "destination=192.168.7.0/24,gateway=10.11.12.9")
	demo.refused("not connected with router", "router", "add", "route", "router1", "--route", "destination=192.168.8.0/24,gateway=10.99.0.1")
	demo.show("router", "remove", "route", "router1", "--route", "destination=192.168.7.0/24,gateway=10.11.12.9")

	f := demo.show("floating", "ip", "create", "ext-net")
	demo.want(f, map[string]any{"floating_ip_address": "172.16.1.4", "status": "DOWN"})
	demo.quiet("floating", "ip", "set", "172.16.1.4", "--port", "vm01")
	demo.want(demo.show("floating", "ip", "show", "172.16.1.4"), map[string]any{"status": "DOWN", "fixed_ip_address": "10.11.12.3"})
	demo.refused("required by one or more floating IPs", "router", "remove", "subnet", "router1", "net01-subnet")
	demo.refused("required by one or more floating IPs", "router", "unset", "router1", "--external-gateway")
	demo.quiet("floating", "ip", "unset", "172.16.1.4", "--port")
	demo.quiet("floating", "ip", "delete", "172.16.1.4")
	demo.quiet("router", "unset", "router1", "--external-gateway")
	demo.refused("still has ports", "router", "delete", "router1")
	demo.quiet("router", "remove", "subnet", "router1", "net01-subnet")
	demo.quiet("router", "delete", "router1")
}
