// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"nagare/test/odl"
)

const odlTenant = "0f0e0d0c0b0a09080706050403020100"

// TestOpenDaylight has a Neutron with networking-odl own the networks: the scenario with real packets, events, a full
// synchronisation, and the server killed in the middle of its requests.
func TestOpenDaylight(t *testing.T) {
	t.Parallel()
	c := newCloud(nameSite(t), "--external", "172.16.1.1/24")
	n, ctx := c.n, t.Context()
	var hosts map[string]odl.Host
	c.eventually(settleWithin, "both hosts are in the list of host configurations", func() (err error) {
		if hosts, err = n.Hosts(ctx); err == nil && len(hosts) != 2 {
			err = fmt.Errorf("they are %v", hosts)
		}
		return err
	})
	for _, node := range []string{controller, compute} {
		if vif, err := hosts[node].Bindable("vxlan"); err != nil || vif != "ovs" {
			t.Errorf("a port binds to %s as %q: %v", node, vif, err)
		}
	}
	features, err := n.Features(ctx)
	if err != nil || !slices.Contains(features, "operational-port-status") {
		t.Errorf("features are %v, %v", features, err)
	}
	if err := n.Maintain(ctx); err != nil || n.Syncs != 1 {
		t.Fatalf("the first maintenance: %d full synchronisations, %v", n.Syncs, err)
	}

	group := n.Group(odlTenant, "default", odl.Object{"remote_group_id": "self"}, odl.Object{"protocol": "icmp"})
	net := n.Network(odlTenant, "net01", odl.Segment{Type: "vxlan", ID: 1077}, false)
	sub := n.Subnet(odlTenant, "net01-subnet", net, "10.11.12.0/24", true, true, "9.9.9.9")
	vm01 := n.Boot(odlTenant, "vm01", sub, "", compute, group)
	vm02 := n.Boot(odlTenant, "vm02", sub, "", controller, group)
	c.sent()
	c.judged()

	socket, err := n.Subscribe(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	for _, id := range []string{vm01, vm02} {
		if s, err := n.PortStatus(ctx, id); err != nil || s != "DOWN" {
			t.Errorf("before it is plugged, a port is %q: %v", s, err)
		}
	}
	g1, g2 := c.guest("vm01", vm01, compute), c.guest("vm02", vm02, controller)
	g1.plug()
	g2.plug()
	heard := map[string]bool{}
	for !heard[vm01] || !heard[vm02] { // others may be told as well: OpenDaylight's port for DHCP has no interface to wait for
		list, err := socket.Next(settleWithin)
		if err != nil {
			t.Fatalf("ACTIVE are %v, and no more is heard: %v", heard, err)
		}
		for _, s := range list {
			if s.Status == "ACTIVE" {
				heard[s.Port] = true
			}
		}
	}
	for _, id := range []string{vm01, vm02} {
		if s, err := n.PortStatus(ctx, id); err != nil || s != "ACTIVE" {
			t.Errorf("plugged, a port is %q: %v", s, err)
		}
	}
	for _, g := range []*guest{g1, g2} {
		if server := c.lease(g); server != "10.11.12.2" {
			t.Errorf("%s has its address from %s; OpenDaylight's port for DHCP has 10.11.12.2", g.name, server)
		}
	}
	if g1.ip.String() != "10.11.12.3" || g2.ip.String() != "10.11.12.4" {
		t.Errorf("the instances have %v and %v", g1.ip, g2.ip)
	}
	c.pings("vm01", "10.11.12.4")
	c.pings("vm02", "10.11.12.3")

	ext := n.Network("p-admin", "ext-net", odl.Segment{Type: "flat", Physical: "external"}, true)
	extSub := n.Subnet("p-admin", "ext-subnet", ext, "172.16.1.0/24", true, false)
	router := n.Router(odlTenant, "router1")
	n.SetGateway(router, extSub, "")
	n.AddInterface(router, sub)
	fip := n.Float(odlTenant, "fip", extSub, "")
	n.Associate(fip, vm01, router)
	c.sent()
	address := n.Object(odl.FloatingIP, fip)["floating_ip_address"].(string)
	c.pings(controller, address)
	c.pings("vm02", "172.16.1.1") // by the router's address
	n.Disassociate(fip)
	c.sent()
	c.eventually(settleWithin, address+" is nobody's", func() error {
		if _, err := c.in(controller, "ping", "-c", "1", "-W", "1", address); err == nil {
			return fmt.Errorf("it answers")
		}
		return nil
	})
	n.Associate(fip, vm01, router)
	c.sent()
	c.pings(controller, address)

	// An instance of the laboratory for a port of the other Neutron, which outlives it.
	vm03 := n.Boot(odlTenant, "vm03", sub, "", controller, group)
	c.sent()
	c.must(c.lab("instance", "add", "vm03", "--port", vm03)...)
	c.pings("vm01", c.leased("vm03"))
	c.must(c.lab("instance", "rm", "vm03")...)
	c.judged()

	c.part("FullSync", func(s *site) { c.with(s).fullSync() })
	c.part("Killed", func(s *site) { c.with(s).killed() })
	c.part("Strangers", func(s *site) { c.with(s).strangers() })
}

// with is the same cloud seen by a part of the test.
func (c *cloud) with(s *site) *cloud {
	admin := *c.admin
	admin.s = s
	return &cloud{site: s, n: c.n, admin: &admin}
}

// fullSync: the canary is gone, everything comes again, and no switch hears of it.
func (c *cloud) fullSync() {
	ctx := c.t.Context()
	c.admin.settled(settleWithin, controller, compute)
	ages := map[string]map[string]time.Duration{controller: c.ages(controller), compute: c.ages(compute)}
	if code := c.ask(http.MethodDelete, "networks/"+odl.Canary, "admin", c.n.Password, ""); code != 204 {
		c.t.Fatalf("the canary's end: %d", code)
	}
	before, syncs := c.n.Sent, c.n.Syncs
	if err := c.n.Maintain(ctx); err != nil || c.n.Syncs != syncs+1 {
		c.t.Fatalf("%d full synchronisations, %v", c.n.Syncs-syncs, err)
	}
	c.sent()
	if c.n.Sent < before+15 {
		c.t.Errorf("%d requests are no full synchronisation", c.n.Sent-before)
	}
	c.judged()
	c.admin.confirmed()
	for _, node := range []string{controller, compute} {
		c.untouched(node, ages[node])
	}
}

// killed: the server dies while a burst of ports comes; the journal drains into its successor, nothing is lost, and no switch is
// told anything anew.
func (c *cloud) killed() {
	ctx, n := c.t.Context(), c.n
	ages := map[string]map[string]time.Duration{controller: c.ages(controller), compute: c.ages(compute)}
	net := n.Network(odlTenant, "burst", odl.Segment{Type: "vxlan", ID: 2000}, false)
	sub := n.Subnet(odlTenant, "burst-subnet", net, "10.20.0.0/22", true, true)
	for i := range 200 {
		n.Boot(odlTenant, fmt.Sprint("burst", i), sub, "", compute)
	}
	var answers atomic.Int32
	down, up := make(chan struct{}), make(chan struct{})
	n.Told = func(*odl.Row, int, []byte) {
		if answers.Add(1) == 150 {
			close(down)
		}
	}
	defer func() { n.Told = nil }()
	pid := c.serverPID()
	go func() {
		defer close(up)
		select {
		case <-down:
		case <-ctx.Done():
			return
		}
		c.kill("server", pid)
		c.mend()
	}()
	err := n.Work(ctx, 4, func(ctx context.Context, _ time.Duration) error {
		select {
		case <-up:
		case <-ctx.Done():
		}
		return ctx.Err()
	})
	<-up
	if err != nil || n.Rows(odl.Pending)+n.Rows(odl.Failed)+n.Rows(odl.Processing) > 0 {
		c.t.Fatalf("%v; %d rows are pending, %d failed", err, n.Rows(odl.Pending), n.Rows(odl.Failed))
	}
	if c.serverPID() == pid {
		c.t.Fatal("the server was not killed")
	}
	c.judged()
	nodes := c.admin.settled(settleWithin, controller, compute)
	c.admin.confirmed()
	for _, node := range []string{controller, compute} {
		if s := nodes[node].Sent; s.FlowMods+s.GroupMods+s.MeterMods != 0 {
			c.t.Errorf("%s: after the restart %d flow mods, %d group mods and %d meter mods were sent", node, s.FlowMods, s.GroupMods, s.MeterMods)
		}
		c.untouched(node, ages[node])
	}
	c.pings("vm01", "10.11.12.4")
}

// ask sends a request with credentials; raw is a whole Authorization header in their place. Refusals have to name Basic.
func (c *cloud) ask(method, path, user, password, raw string) int {
	c.t.Helper()
	if !strings.HasPrefix(path, "/") {
		path = "/controller/nb/v2/neutron/" + path
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.n.URL+path, strings.NewReader(`{"network":{"id":"99999999-0000-4000-8000-000000000001","name":"stranger"}}`))
	if err != nil {
		c.t.Fatal(err)
	}
	switch {
	case raw != "":
		req.Header.Set("Authorization", raw)
	case user != "":
		req.SetBasicAuth(user, password)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.n.HTTP.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusUnauthorized && !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Basic realm=") {
		c.t.Errorf("%s %s: 401 with WWW-Authenticate %q", method, path, resp.Header.Get("WWW-Authenticate"))
	}
	return resp.StatusCode
}

// strangers: without the right credentials nothing is told and nothing is changed (check A1).
func (c *cloud) strangers() {
	for _, to := range [][2]string{
		{"GET", "networks"}, {"POST", "networks"}, {"GET", "/restconf/operational/neutron:neutron/hostconfigs/"},
		{"POST", "/restconf/operations/sal-remote:create-data-change-event-subscription"},
		{"GET", "/restconf/streams/stream/data-change-event-subscription/neutron:neutron/neutron:ports/datastore=OPERATIONAL/scope=SUBTREE"},
	} {
		for _, as := range [][3]string{{}, {"admin", "wrong"}, {"nobody", c.n.Password}, {"", "", "Basic not base 64"}, {"", "", "Basic"}} {
			if code := c.ask(to[0], to[1], as[0], as[1], as[2]); code != http.StatusUnauthorized {
				c.t.Errorf("%s %s as %q: %d", to[0], to[1], as, code)
			}
		}
	}
	c.judged()
}
