// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"fmt"
	"net/netip"
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/compile"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// crowd is ports of one group, spread over nodes, a network for each node; the group lets itself in, as Neutron's default does.
func crowd(t *testing.T, ports, nodes int) *follower {
	t.Helper()
	st := store.New(tables.Schema, nil)
	var names []string
	if _, err := st.Commit(t.Context(), store.Origin{}, func(tx *store.Txn) error {
		putGroup(tx, "g", true)
		for i, r := range []model.RulePlane{{Direction: model.Egress, Ethertype: model.EtherIPv4}, {Direction: model.Egress, Ethertype: model.EtherIPv6},
			{Direction: model.Ingress, Ethertype: model.EtherIPv4, RemoteGroup: "g"}, {Direction: model.Ingress, Ethertype: model.EtherIPv6, RemoteGroup: "g"}} {
			r.Group, r.Key = "g", model.Key(i+1)
			id := model.SecurityGroupRuleID(fmt.Sprintf("r%d", i))
			tables.Rules.Put(tx, id, model.SecurityGroupRule{ID: id, RulePlane: r})
		}
		for i := range nodes {
			names = append(names, fmt.Sprintf("node%02d", i))
			id := model.NetworkID(fmt.Sprintf("n%d", i))
			tables.Networks.Put(tx, id, model.Network{ID: id, NetworkPlane: model.NetworkPlane{Key: model.Key(i + 1), Type: model.VXLAN,
				SegmentationID: uint32(i + 1), AdminStateUp: true}})
		}
		for i := range ports {
			if err := putPlugged(tx, crowdPort(i, nodes), uint32(i/nodes+1), true); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return followStandard(t, st, Options{}, names...)
}

func crowdPort(i, nodes int) model.Port {
	return model.Port{ID: model.PortID(fmt.Sprintf("p%07d-0000", i)), PortPlane: model.PortPlane{Key: model.Key(i + 1), AdminStateUp: true,
		Network: model.NetworkID(fmt.Sprintf("n%d", i%nodes)), Host: model.NodeID(fmt.Sprintf("node%02d", i%nodes)), DeviceOwner: "compute:nova",
		MAC: model.MAC{2, 0, 0, byte(i >> 16), byte(i >> 8), byte(i)}, PortSecurity: true, SecurityGroups: []model.SecurityGroupID{"g"},
		FixedIPs: []model.FixedIP{{Addr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})},
			{Addr: netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 14: byte(i >> 8), 15: byte(i)})}}}}
}

// changed counts the flows of ours in a round, over all nodes and on the node with most.
func changed(ds map[string]*compile.Delta) (sum, most int) {
	for _, d := range ds {
		n := 0
		for _, c := range d.Flows {
			if c.After != nil && ours(*c.After) || c.Before != nil && ours(*c.Before) {
				n++
			}
		}
		sum, most = sum+n, max(most, n)
	}
	return sum, most
}

// TestRuleCost adds a rule to a group of 250 ports on 4 nodes: flows of the rule on each node, whatever the ports.
func TestRuleCost(t *testing.T) {
	for _, ports := range []int{4, 250} {
		f := crowd(t, ports, 4)
		port := 443
		d, s := f.commit(func(tx *store.Txn) error {
			tables.Rules.Put(tx, "r9", model.SecurityGroupRule{ID: "r9", RulePlane: model.RulePlane{Key: 9, Group: "g", Direction: model.Ingress,
				Ethertype: model.EtherIPv4, Protocol: "tcp", PortMin: &port, PortMax: &port}})
			return nil
		})
		flows, most := changed(d)
		t.Logf("rule in a group of %d ports on 4 nodes: %d flows, %d units run, %d queries", ports, flows, s.UnitRuns, s.Queries)
		// The set's clause, the rule's, the same for fragments, what follows; the set's unit and the rule's.
		if most > 4 || flows > 16 || s.UnitRuns > 8 {
			t.Errorf("%d ports: %d flows, %d on one node, %d units: want 4 flows and 2 units for each node", ports, flows, most, s.UnitRuns)
		}
	}
}

// TestMemberCost adds a member to groups of several sizes on 50 nodes: at most four flows on each node whose rules name the
// group, and units in proportion to these.
func TestMemberCost(t *testing.T) {
	const nodes = 50
	for _, ports := range []int{100, 2000} {
		f := crowd(t, ports, nodes)
		add := func(tx *store.Txn) error { return alloc.PutPort(tx, crowdPort(ports, nodes)) } // not plugged yet: a member and no more
		d, s := f.commit(add)
		flows, most := changed(d)
		t.Logf("member of a group of %d on %d nodes: %d flows, %d units run, %d queries", ports, nodes, flows, s.UnitRuns, s.Queries)
		if len(d) != nodes || most > 4 || flows > 4*nodes || s.UnitRuns > 2*nodes {
			t.Errorf("%d ports: %d nodes, %d flows, %d on one node, %d units: want 2 flows and 2 units for each of %d nodes", ports, len(d), flows, most, s.UnitRuns, nodes)
		}
		d, s = f.commit(func(tx *store.Txn) error { alloc.DeletePort(tx, crowdPort(ports, nodes).ID); return nil })
		if flows, most = changed(d); most > 4 || flows > 4*nodes || s.UnitRuns > 0 {
			t.Errorf("%d ports: a member that goes costs %d flows, %d on one node, %d units", ports, flows, most, s.UnitRuns)
		}
		// The last wearer on a node takes the node's flows with it; a port that changes nothing that groups see costs nothing.
		d, s = f.commit(func(tx *store.Txn) error {
			p, _ := tables.Ports.Get(tx, crowdPort(0, nodes).ID)
			p.DeviceOwner = "compute:other"
			return alloc.PutPort(tx, p)
		})
		if flows, _ = changed(d); flows != 0 || s.UnitRuns > 20 {
			t.Errorf("%d ports: another owner of a port changed %d flows and ran %d units", ports, flows, s.UnitRuns)
		}
	}
}

// TestACLHistory compiles a cloud of groups step by step and from nothing; both must want the same.
func TestACLHistory(t *testing.T) {
	f := crowd(t, 12, 3)
	check := func(what string) {
		t.Helper()
		fresh := followStandard(t, f.st, Options{}, f.nodes...)
		for _, n := range f.nodes {
			f.accounted(n)
			a, b := fresh.flows(n), f.flows(n)
			if len(a) != len(b) {
				t.Fatalf("%s: %s has %d flows, %d if compiled anew", what, n, len(b), len(a))
			}
			for i := range a {
				if a[i] != b[i] {
					t.Fatalf("%s: %s has %s, and anew %s", what, n, b[i], a[i])
				}
			}
		}
		if a, b := fresh.e.UnitCount(), f.e.UnitCount(); a != b {
			t.Fatalf("%s: %d units, %d anew", what, b, a)
		}
	}
	check("at first")
	port := func(i int, change func(*model.Port)) func(*store.Txn) error {
		return func(tx *store.Txn) error {
			p := crowdPort(i, 3)
			change(&p)
			return alloc.PutPort(tx, p)
		}
	}
	for _, step := range []struct {
		what string
		do   func(*store.Txn) error
	}{
		{"other groups", port(0, func(p *model.Port) { p.SecurityGroups = []model.SecurityGroupID{"g", "h"} })},
		{"a stateless group", func(tx *store.Txn) error { putGroup(tx, "h", false); return nil }},
		{"a rule that shares clauses", func(tx *store.Txn) error {
			tables.Rules.Put(tx, "r7", model.SecurityGroupRule{ID: "r7", RulePlane: model.RulePlane{Key: 7, Group: "h", Direction: model.Ingress, Ethertype: model.EtherIPv4, RemoteGroup: "g"}})
			return nil
		}},
		{"stateless alone", port(0, func(p *model.Port) { p.SecurityGroups = []model.SecurityGroupID{"h"} })},
		{"a rule goes", func(tx *store.Txn) error { tables.Rules.Delete(tx, "r2"); return nil }},
		{"all of a pair", port(1, func(p *model.Port) {
			p.AllowedPairs = []model.AddressPair{{Prefix: netip.MustParsePrefix("0.0.0.0/0")}}
		})},
		{"port security off", port(1, func(p *model.Port) { p.PortSecurity, p.SecurityGroups = false, nil })},
		{"a port goes", func(tx *store.Txn) error { alloc.DeletePort(tx, crowdPort(2, 3).ID); return nil }},
		{"the group goes from all but one", func(tx *store.Txn) error {
			for i := 3; i < 12; i++ {
				if err := port(i, func(p *model.Port) { p.SecurityGroups = nil })(tx); err != nil {
					return err
				}
			}
			return nil
		}},
	} {
		f.commit(step.do)
		check(step.what)
	}
}
