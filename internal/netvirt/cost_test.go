// SPDX-License-Identifier: Apache-2.0

package netvirt_test

import (
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/test/bench/cloud"
)

// TestCostIsFlat holds the counts that a slow machine cannot blur: what a change makes the engine do depends on the change,
// not on the size of the cloud.
func TestCostIsFlat(t *testing.T) {
	small := cloud.Shape{Nodes: 20, Networks: 10, Ports: 10}.Follow()
	large := cloud.Shape{Nodes: 20, Networks: 200, Ports: 10}.Follow()
	nodes := small.Nodes
	for _, c := range []struct {
		what         string
		do           func(tx *store.Txn, s cloud.Shape)
		units, flows int
	}{
		// Its remote half on every node, itself, its permits, its network's flood and its DHCP answers there.
		// Flows: one on every other node; at home 3 of layer 2, 4 of the permits, and the flood's two lists.
		{"port create", func(tx *store.Txn, s cloud.Shape) { s.CreatePort(tx) }, nodes + 3, nodes - 1 + 3 + 4 + 2},
		// Its units go without running; the flood runs.
		{"port delete", func(tx *store.Txn, s cloud.Shape) { s.DropPort(tx) }, 1, nodes - 1 + 3 + 4 + 2},
		{"rename", func(tx *store.Txn, s cloud.Shape) { s.Rename(tx, 1) }, 0, 0},
		{"rule", func(tx *store.Txn, s cloud.Shape) { s.OpenPort(tx, 22) }, 45, 45},
		{"rule again", func(tx *store.Txn, s cloud.Shape) { s.OpenPort(tx, 22) }, 0, 0},
	} {
		at100 := small.Change(func(tx *store.Txn) { c.do(tx, small.Shape) })
		at2000 := large.Change(func(tx *store.Txn) { c.do(tx, large.Shape) })
		if at100.Units != at2000.Units || at100.Flows != at2000.Flows {
			t.Errorf("%s: %d units and %d flows at 100 ports, %d and %d at 2,000", c.what, at100.Units, at100.Flows, at2000.Units, at2000.Flows)
		}
		if at100.Units != c.units || at100.Flows != c.flows {
			t.Errorf("%s: %d units ran and %d flows changed, want %d and %d", c.what, at100.Units, at100.Flows, c.units, c.flows)
		}
	}
}

// groupOf is a cloud of the standard profile with one group of so many members, on fifty nodes; all of them from 100 on.
func groupOf(members int) cloud.Shape {
	return cloud.Shape{Nodes: 50, Networks: members / 10, Ports: 11, GroupNetworks: 200, Standard: true}
}

// TestMemberCostIsFlat adds a member to a group: a handful of flows to each node that wears the group, however many members
// there are.
func TestMemberCostIsFlat(t *testing.T) {
	var at100 cloud.Cost
	var perNode float64
	for _, members := range []int{10, 100, 2000} {
		f := groupOf(members).Follow()
		if f.Members() != members {
			t.Fatalf("%d members, want %d", f.Members(), members)
		}
		hosts := len(hostsOfGroup(f, 0))
		// It is bound nowhere, so that nothing but the member is new to the nodes.
		got := f.Change(func(tx *store.Txn) {
			if err := alloc.PutPort(tx, f.NewPort(0, f.Ports)); err != nil {
				t.Fatal(err)
			}
		})
		if got.Most() > 4 || got.Groups > 0 {
			t.Errorf("%d members: one more changes %d flows on a node, want at most 4, and %d groups", members, got.Most(), got.Groups)
		}
		if len(got.PerNode) != hosts {
			t.Errorf("%d members: one more changes flows on %d nodes; %d wear the group", members, len(got.PerNode), hosts)
		}
		each := float64(got.Flows) / float64(hosts)
		switch members {
		case 10:
			perNode = each
		case 100:
			at100 = got
		default:
			if got.Units != at100.Units || got.Flows != at100.Flows {
				t.Errorf("one more member runs %d units and changes %d flows at 100 members, %d and %d at %d",
					at100.Units, at100.Flows, got.Units, got.Flows, members)
			}
		}
		if each != perNode {
			t.Errorf("one more member changes %v flows per node at 10 members, %v at %d", perNode, each, members)
		}
	}
}

// TestRuleCostIsFlat adds a rule to a group of 250 ports on 4 nodes: flows for the rule, not for its ports or those of others.
func TestRuleCostIsFlat(t *testing.T) {
	var at cloud.Cost
	for _, networks := range []int{5, 20} { // 250 ports and 1,000
		f := cloud.Shape{Nodes: 4, Networks: networks, Ports: 51, Standard: true}.Follow()
		if f.Members() != 250 {
			t.Fatalf("%d members", f.Members())
		}
		got := f.Change(func(tx *store.Txn) { f.OpenPort(tx, 8000) })
		if got.Most() > 6 || got.Flows == 0 || got.Groups != 0 {
			t.Errorf("%d networks: a rule changes up to %d flows on a node, %d in all, and %d groups; want at most 6, some, 0", networks, got.Most(), got.Flows, got.Groups)
		}
		if networks == 5 {
			at = got
		} else if got.Units != at.Units || got.Flows != at.Flows {
			t.Errorf("a rule runs %d units and changes %d flows at 250 ports, %d and %d at 1,000", at.Units, at.Flows, got.Units, got.Flows)
		}
	}
}

// TestPortCostIsLocal adds a port: nodes without its network that do not wear its group hear nothing of it, and the others
// something that depends on neither the number of ports nor that of networks.
func TestPortCostIsLocal(t *testing.T) {
	// Networks of 5 instances on 40 nodes.
	shape := func(networks int) cloud.Shape {
		return cloud.Shape{Nodes: 40, Networks: networks, Ports: 6, GroupNetworks: 1, Standard: true}
	}
	var at cloud.Cost
	for _, networks := range []int{10, 200} {
		f := shape(networks).Follow()
		hosts := map[string]bool{}
		for p := 1; p < f.Ports; p++ {
			hosts[string(cloud.Node(f.Host(3, p)))] = true
		}
		if len(hosts) != 5 {
			t.Fatalf("network 3 is on %d nodes, want 5", len(hosts))
		}
		got := f.Change(func(tx *store.Txn) { f.CreatePort(tx) })
		for node, n := range got.PerNode {
			if !hosts[node] && n > 0 {
				t.Errorf("%d networks: %d flows changed on %s, which has nothing of the network", networks, n, node)
			}
		}
		home := got.PerNode[string(cloud.Node(f.Host(3, 1)))]
		if home == 0 || len(got.PerNode) != len(hosts) {
			t.Errorf("%d networks: a port changes %d flows at home and something on %d nodes of %d", networks, home, len(got.PerNode), len(hosts))
		}
		if networks == 10 {
			at = got
		} else if got.Units != at.Units || got.Flows != at.Flows || got.Groups != at.Groups {
			t.Errorf("a port runs %d units and changes %d flows, %d groups at 50 ports; %d, %d, %d at 1,000",
				at.Units, at.Flows, at.Groups, got.Units, got.Flows, got.Groups)
		}
		if gone := f.Change(func(tx *store.Txn) { f.DropPort(tx) }); gone.Flows != got.Flows {
			t.Errorf("%d networks: a port that goes changes %d flows, it had brought %d", networks, gone.Flows, got.Flows)
		}
		if c := f.Change(func(tx *store.Txn) { f.Rename(tx, 1) }); c.Units != 0 {
			t.Errorf("%d networks: a rename runs %d units", networks, c.Units)
		}
	}
}

// hostsOfGroup are the nodes on which a filtered port wears a tenant's group.
func hostsOfGroup(f *cloud.Follower, tenant int) map[string]bool {
	hosts := map[string]bool{}
	for p := range tables.PortsByGroup.By(f.Store.Snapshot(), string(cloud.Group(tenant))) {
		if _, ok := tables.Located(f.Store.Snapshot(), p.ID); ok {
			hosts[string(p.Host)] = true
		}
	}
	return hosts
}

// TestRouterCostIsLocal builds a router up: only nodes with an instance of a network that it joins hear of it, and its gateway's
// node. What they hear is a number of flows for the router, some for each instance of its networks, and nothing for the cloud.
func TestRouterCostIsLocal(t *testing.T) {
	var at [3]cloud.Cost
	var second []int // flows of the second interface on a node that had nothing of its network, at 5, 10 and 20 instances
	for _, shape := range []cloud.Shape{{Networks: 40, Ports: 6}, {Networks: 240, Ports: 6}, {Networks: 40, Ports: 11}, {Networks: 40, Ports: 21}} {
		shape.Nodes, shape.Standard = 40, true // each has a tunnel to each for some network
		f := shape.Follow()
		hosts := map[string]bool{}
		counted := func(what string, c cloud.Cost, want int) {
			t.Helper()
			if len(c.PerNode) != want {
				t.Errorf("%+v: %s changes flows on %d nodes, want %d", shape, what, len(c.PerNode), want)
			}
			for node, n := range c.PerNode {
				if !hosts[node] {
					t.Errorf("%+v: %s changes %d flows on %s, which has nothing to do with it", shape, what, n, node)
				}
			}
		}
		instances := shape.Ports - 1
		home := string(cloud.Node(f.Host(0, 1)))
		f.Change(func(tx *store.Txn) { f.PutExternal(tx, 0) })
		counted("a router without interfaces", f.Change(func(tx *store.Txn) { f.PutRouter(tx, 0) }), 0)
		var costs [3]cloud.Cost
		for n := range 2 {
			for p := range instances {
				hosts[string(cloud.Node(f.Host(n, p+1)))] = true
			}
			costs[n] = f.Change(func(tx *store.Txn) { f.Join(tx, 0, n) })
			counted("an interface", costs[n], len(hosts))
		}
		if got := costs[0].PerNode[home]; got > 18+instances {
			t.Errorf("%+v: the first interface brings %d flows to a node, want at most 18 and 1 for each of %d instances", shape, got, instances)
		}
		second = append(second, costs[1].PerNode[home])
		if got := costs[1].PerNode[home]; got > 2+5*instances {
			t.Errorf("%+v: a second interface brings %d flows to a node, want at most 2 and 5 for each of %d instances that it can reach now", shape, got, instances)
		}
		hosts[string(cloud.Node(0))] = true
		costs[2] = f.Change(func(tx *store.Txn) { f.SetGateway(tx, 0) })
		counted("a gateway", costs[2], len(hosts))
		if got := costs[2].PerNode[home]; got > 6 {
			t.Errorf("%+v: a gateway brings %d flows to a node that is not its own, want at most 6", shape, got)
		}
		if gone := f.Change(func(tx *store.Txn) { f.Leave(tx, 0, 1) }); gone.PerNode[home] < costs[1].PerNode[home] {
			t.Errorf("%+v: an interface that goes takes %d flows from a node, it had brought %d", shape, gone.PerNode[home], costs[1].PerNode[home])
		}
		if shape.Networks == 240 {
			for i, c := range costs {
				if c.Units != at[i].Units || c.Flows != at[i].Flows || c.Groups != at[i].Groups {
					t.Errorf("step %d runs %d units, changes %d flows, %d groups at 40 networks; %d, %d, %d at 240",
						i, at[i].Units, at[i].Flows, at[i].Groups, c.Units, c.Flows, c.Groups)
				}
			}
		} else if shape.Ports == 6 {
			at = costs
		}
	}
	if five, ten := second[2]-second[0], second[3]-second[2]; ten != 2*five {
		t.Errorf("5 instances more cost %d flows on a node, then 10 more %d: want twice that", five, ten)
	}
}

// TestFloatingIPCostIsFlat associates a floating IP where 10 are present and where 10,000 are, all but it in use: the same units
// run and the same flows change, on the node that translates alone.
func TestFloatingIPCostIsFlat(t *testing.T) {
	var at [2]cloud.Cost
	for _, s := range floatedShapes {
		f := s.Follow()
		f.Floated()
		had := f.Flows(f.Engine)
		costs := [2]cloud.Cost{f.Change(func(tx *store.Txn) { f.Associate(tx, 0, 0, 0, 1) }), f.Change(func(tx *store.Txn) { f.Disassociate(tx, 0) })}
		for i, c := range costs {
			what := []string{"association", "disassociation"}[i]
			if c.Flows == 0 || c.Flows > 11 || c.Units > 2 || c.Groups != 0 {
				t.Errorf("%d floating IPs: %s runs %d units and changes %d flows, %d groups; want at most 2 and 11, none", f.Instances(), what, c.Units, c.Flows, c.Groups)
			}
			if gw := string(cloud.Node(0)); len(c.PerNode) != 1 || c.PerNode[gw] != c.Flows {
				t.Errorf("%d floating IPs: %s changes flows on %v, want %s alone", f.Instances(), what, c.PerNode, gw)
			}
			if at[i].Units == 0 {
				at[i] = c
			} else if c.Units != at[i].Units || c.Flows != at[i].Flows {
				t.Errorf("%s runs %d units and changes %d flows at 10 floating IPs, %d and %d at %d", what, at[i].Units, at[i].Flows, c.Units, c.Flows, f.Instances())
			}
		}
		if has := f.Flows(f.Engine); has != had {
			t.Errorf("%d floating IPs: %d flows before, %d after", f.Instances(), had, has)
		}
	}
}

// floatedShapes are clouds of 10 and of 10,000 instances, for Floated. One of their three nodes maps the external network.
var floatedShapes = []cloud.Shape{{Nodes: 3, Networks: 10, Ports: 2, Standard: true}, {Nodes: 3, Networks: 10, Ports: 1001, Standard: true}}
