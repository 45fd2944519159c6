// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestGatewayMoves: the gateway's node loses its switch. After the grace time another node is the gateway, and stays it when the
// first comes back. At no look have two nodes that we speak with been the gateway at once.
func TestGatewayMoves(t *testing.T) {
	t.Parallel()
	s := nameSite(t)
	up := append(s.lab("up", "--host-ip", s.hostIP), "--nodes", "controller,compute,compute2", "--provider")
	if out, err := tryIn(t.Context(), []string{"NAGARE_GATEWAY_GRACE=2"}, up...); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// The controller node's switch carries the server's own traffic, so it must not be the one that goes.
	s.ovs(controller, "ovs-vsctl", "remove", "Open_vSwitch", ".", "other_config", "provider_mappings",
		"--", "remove", "Open_vSwitch", ".", "external_ids", "ovn-bridge-mappings")
	s.eventually(settleWithin, "the server knows that", func() error {
		var list struct {
			Nodes []struct {
				ID       string
				Mappings map[string]string `json:"provider_mappings"`
			}
		}
		admin := s.user("admin")
		if err := admin.ask(200, "GET", admin.admin("/nodes"), nil, &list); err != nil {
			return err
		}
		for _, n := range list.Nodes {
			if n.ID == controller && len(n.Mappings) > 0 {
				return fmt.Errorf("it maps %v", n.Mappings)
			}
		}
		return nil
	})
	x := newWorld(s, wiring{physical: "physnet1", nodes: []string{compute, controller, "compute2"}})
	at := map[string]*guest{compute: x.a1, controller: x.a2, "compute2": x.a3}
	nodes := x.nodes()
	first := x.owner(nodes)
	var from *guest
	for _, n := range nodes {
		if n != first {
			from = at[n]
		}
	}
	x.pings(from.name, farAddress)
	if j := x.join(from.name, far, farAddress); j.seenAs() != x.gw1 {
		t.Fatalf("%s is seen as %s, not %s", from.name, j.seenAs(), x.gw1)
	}
	// Both sessions end at once: a switch that dies cannot say so, and its silence would be noticed after some 15 s.
	x.ovs(first, "ovs-vsctl", "--no-wait", "del-manager")
	x.ovs(first, "ovs-vsctl", "del-controller", "br-int")
	for _, program := range []string{"ovs-vswitchd", "ovsdb-server"} {
		x.kill(first+"'s "+program, x.daemon(first, program))
	}
	left := slices.DeleteFunc(slices.Clone(nodes), func(n string) bool { return n == first })
	x.eventually(settleWithin, "the gateway is on another node than "+first, func() error {
		if x.owner(left) == "" {
			return fmt.Errorf("it is on none of %v", left)
		}
		return nil
	})
	second := x.owner(left)
	x.pings(from.name, farAddress)
	held := x.join(from.name, far, farAddress)
	if held.seenAs() != x.gw1 {
		t.Errorf("%s is seen as %s, not %s", from.name, held.seenAs(), x.gw1)
	}
	held.carry(t, 100_000)
	x.pings(upstream, x.gw1)
	x.mend()
	x.admin.settled(settleWithin, nodes...)
	x.admin.confirmed()
	x.pings(at[first].name, farAddress) // of the node that was away
	if now := x.owner(nodes); now != second {
		t.Errorf("the gateway was on %s, went to %s when that was gone, and is on %q now", first, second, now)
	}
	held.carry(t, 100_000) // the same session: it has not been elsewhere in between
	for _, g := range at {
		if j := x.join(g.name, far, farAddress); j.seenAs() != x.gw1 {
			t.Errorf("%s is seen as %s, not %s", g.name, j.seenAs(), x.gw1)
		}
	}
}

// owner is the node among some that is the first router's gateway by its flows; "" for none.
func (x *world) owner(nodes []string) (owner string) {
	x.t.Helper()
	ports, err := x.admin.ports("device_id=" + x.r1 + "&device_owner=network:router_gateway")
	if err != nil || len(ports) != 1 {
		x.t.Fatalf("gateway port: %+v, %v", ports, err)
	}
	for _, n := range nodes {
		out, err := x.tryOVS(context.WithoutCancel(x.t.Context()), n, append(dumpArgs(), "table=100,ip")...)
		if err != nil {
			x.t.Fatalf("%s: %v: %s", n, err, out)
		}
		if !strings.Contains(out, "priority=512") || !strings.Contains(out, ports[0].MAC) {
			continue
		}
		if owner != "" {
			x.t.Fatalf("both %s and %s are the gateway", owner, n)
		}
		owner = n
	}
	return owner
}
