// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/attributestags"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/portsbinding"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/provider"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/quotas"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/groups"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/rules"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"
	"github.com/gophercloud/gophercloud/v2/pagination"
)

func networkClient(t *testing.T, c *cloud, user, project string) *gophercloud.ServiceClient {
	t.Helper()
	p, err := openstack.AuthenticatedClient(context.Background(), gophercloud.AuthOptions{IdentityEndpoint: c.identityURL, Username: user, Password: password,
		DomainName: "Default", TenantName: project, AllowReauth: true})
	if err != nil {
		t.Fatal(err)
	}
	n, err := openstack.NewNetworkV2(p, gophercloud.EndpointOpts{Region: "RegionOne"})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestGophercloud(t *testing.T) {
	ctx := context.Background()
	c := start(t, nil)
	demo, admin := networkClient(t, c, "demo", "demo"), networkClient(t, c, "admin", "admin")
	up := true
	net := must[*networks.Network](t)(networks.Create(ctx, demo, networks.CreateOpts{Name: "n1", AdminStateUp: &up, Description: "d"}).Extract())
	if net.Name != "n1" || net.Status != "ACTIVE" || net.RevisionNumber != 1 || net.CreatedAt.IsZero() {
		t.Errorf("network %+v", net)
	}
	var withProvider struct {
		networks.Network
		provider.NetworkProviderExt
	}
	if err := networks.Get(ctx, admin, net.ID).ExtractInto(&withProvider); err != nil || withProvider.NetworkType != "vxlan" || withProvider.SegmentationID == "" {
		t.Errorf("provider view %+v, %v", withProvider.NetworkProviderExt, err)
	}
	gw := "10.0.0.1"
	sub := must[*subnets.Subnet](t)(subnets.Create(ctx, demo, subnets.CreateOpts{NetworkID: net.ID, CIDR: "10.0.0.0/24", IPVersion: gophercloud.IPv4, GatewayIP: &gw,
		AllocationPools: []subnets.AllocationPool{{Start: "10.0.0.10", End: "10.0.0.100"}}, HostRoutes: []subnets.HostRoute{{DestinationCIDR: "10.5.0.0/16", NextHop: "10.0.0.2"}}}).Extract())
	if sub.CIDR != "10.0.0.0/24" || len(sub.HostRoutes) != 1 || sub.AllocationPools[0].Start != "10.0.0.10" {
		t.Errorf("subnet %+v", sub)
	}
	var ids []string
	for i := range 5 {
		p := must[*ports.Port](t)(ports.Create(ctx, demo, ports.CreateOpts{NetworkID: net.ID, Name: fmt.Sprintf("p%d", i)}).Extract())
		if p.FixedIPs[0].IPAddress != fmt.Sprintf("10.0.0.%d", 11+i) || len(p.SecurityGroups) != 1 {
			t.Errorf("port %+v", p)
		}
		ids = append(ids, p.ID)
	}

	// Pages of two over six ports (one is the DHCP server's), in order and whole.
	var paged []string
	pages := 0
	err := ports.List(demo, ports.ListOpts{Limit: 2, SortKey: "name", SortDir: "asc"}).EachPage(ctx, func(_ context.Context, page pagination.Page) (bool, error) {
		l, err := ports.ExtractPorts(page)
		pages++
		for _, p := range l {
			paged = append(paged, p.Name)
		}
		return true, err
	})
	if err != nil || !slices.Equal(paged, []string{"", "p0", "p1", "p2", "p3", "p4"}) || pages < 3 {
		t.Errorf("paged %q in %d pages, %v", paged, pages, err)
	}

	var bound struct {
		ports.Port
		portsbinding.PortsBindingExt
	}
	upd := portsbinding.UpdateOptsExt{UpdateOptsBuilder: ports.UpdateOpts{DeviceID: new("11111111-2222-4333-8444-555555555555"), DeviceOwner: new("compute:nova")}, HostID: new("compute")}
	if err := ports.Update(ctx, admin, ids[0], upd).ExtractInto(&bound); err != nil || bound.VIFType != "ovs" || bound.HostID != "compute" || bound.VIFDetails["bridge_name"] != "br-int" {
		t.Errorf("binding %+v, %v", bound.PortsBindingExt, err)
	}
	if _, err := ports.Update(ctx, demo, ids[1], upd).Extract(); !gophercloud.ResponseCodeIs(err, http.StatusForbidden) {
		t.Errorf("demo binds a port: %v", err)
	}

	sg := must[*groups.SecGroup](t)(groups.Create(ctx, demo, groups.CreateOpts{Name: "web"}).Extract())
	if len(sg.Rules) != 2 {
		t.Errorf("group %+v", sg)
	}
	rule := rules.CreateOpts{SecGroupID: sg.ID, Direction: rules.DirIngress, EtherType: rules.EtherType4, Protocol: rules.ProtocolTCP, PortRangeMin: 80, PortRangeMax: 80}
	made := must[*rules.SecGroupRule](t)(rules.Create(ctx, demo, rule).Extract())
	if _, err := rules.Create(ctx, demo, rule).Extract(); !gophercloud.ResponseCodeIs(err, http.StatusConflict) {
		t.Errorf("same rule again: %v", err)
	}
	if err := rules.Delete(ctx, demo, made.ID).ExtractErr(); err != nil {
		t.Error(err)
	}
	all := must[pagination.Page](t)(groups.List(demo, groups.ListOpts{}).AllPages(ctx))
	if l := must[[]groups.SecGroup](t)(groups.ExtractGroups(all)); len(l) != 2 {
		t.Errorf("groups %+v", l)
	}

	if _, err := attributestags.ReplaceAll(ctx, demo, "networks", net.ID, attributestags.ReplaceAllOpts{Tags: []string{"a", "b"}}).Extract(); err != nil {
		t.Error(err)
	}
	if ok, err := attributestags.Confirm(ctx, demo, "networks", net.ID, "a").Extract(); !ok || err != nil {
		t.Errorf("tag: %v, %v", ok, err)
	}
	if q := must[*quotas.Quota](t)(quotas.Get(ctx, demo, net.ProjectID).Extract()); q.Port != 500 {
		t.Errorf("quota %+v", q)
	}

	err = networks.Delete(ctx, demo, net.ID).ExtractErr()
	var unexpected gophercloud.ErrUnexpectedResponseCode
	if !errors.As(err, &unexpected) || unexpected.Actual != http.StatusConflict || !strings.Contains(string(unexpected.Body), "There are one or more ports still in use on the network") {
		t.Errorf("delete a network in use: %v", err)
	}
	for _, id := range ids {
		if err := ports.Delete(ctx, demo, id).ExtractErr(); err != nil {
			t.Error(err)
		}
	}
	if err := subnets.Delete(ctx, demo, sub.ID).ExtractErr(); err != nil {
		t.Error(err)
	}
	if err := networks.Delete(ctx, demo, net.ID).ExtractErr(); err != nil {
		t.Error(err)
	}
	if _, err := networks.Get(ctx, demo, net.ID).Extract(); !gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
		t.Errorf("after delete: %v", err)
	}
}
