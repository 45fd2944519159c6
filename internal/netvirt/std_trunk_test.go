// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"nagare/internal/alloc"
	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/sim"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// trunkPort is a port of the trunk tests: unfiltered, so that only trunks decide who gets what.
func trunkPort(n int, net, host string) model.Port {
	return model.Port{ID: model.PortID(fmt.Sprintf("port-%06d", n)), PortPlane: model.PortPlane{Key: model.Key(0x11 + n), Network: model.NetworkID(net),
		MAC: model.MAC{2, 0, 0, 0, 0, byte(n)}, AdminStateUp: true, DeviceOwner: "compute:nova", Host: model.NodeID(host)}}
}

// TestTrunkDelivery sends frames by the interface of a trunk's parent, in the simulator: each tag is a port of its own.
func TestTrunkDelivery(t *testing.T) {
	s := newStreets(t, "a", "b")
	parent, plain, other, far := trunkPort(1, "n1", "a"), trunkPort(2, "n1", "a"), trunkPort(3, "n2", "a"), trunkPort(4, "n2", "b")
	sub, same := trunkPort(5, "n2", ""), trunkPort(6, "n1", "")
	sub.Parent, sub.VLAN, same.Parent, same.VLAN = parent.ID, 10, parent.ID, 20
	plugged := map[model.PortID]uint32{parent.ID: 1, plain.ID: 2, other.ID: 3, far.ID: 1}
	s.change(func(tx *store.Txn) error {
		for _, p := range []model.Port{parent, plain, other, far, sub, same} {
			s.must(putPlugged(tx, p, plugged[p.ID], plugged[p.ID] != 0))
		}
		return nil
	})
	for id, of := range plugged {
		p, _ := tables.Ports.Get(s.st.Snapshot(), id)
		s.fabric.Attach(string(id), s.switches[string(p.Host)], of)
	}
	tag := func(vid uint16) []flow.Term {
		if vid == 0 {
			return []flow.Term{flow.NoVLAN()}
		}
		return []flow.Term{flow.VLANVID(vid)}
	}
	for _, c := range []struct {
		what     string
		from     model.Port
		vid      uint16 // as it is sent
		src, dst model.MAC
		want     map[model.PortID][]uint16 // receivers, with the tags of their copies
	}{
		{"untagged broadcast", parent, 0, parent.MAC, broadcast, map[model.PortID][]uint16{plain.ID: {0}, parent.ID: {20}}},
		{"a sub-port's broadcast", parent, 10, sub.MAC, broadcast, map[model.PortID][]uint16{other.ID: {0}, far.ID: {0}}},
		{"broadcast of a sub-port on the parent's network", parent, 20, same.MAC, broadcast, map[model.PortID][]uint16{plain.ID: {0}, parent.ID: {0}}},
		{"a tag that is no sub-port's", parent, 30, sub.MAC, broadcast, nil},
		{"a sub-port's frame to a port of the parent's network", parent, 10, sub.MAC, plain.MAC, nil},
		{"to the other node", parent, 10, sub.MAC, far.MAC, map[model.PortID][]uint16{far.ID: {0}}},
		{"from the other node", far, 0, far.MAC, sub.MAC, map[model.PortID][]uint16{parent.ID: {10}}},
		{"to a sub-port by broadcast", other, 0, other.MAC, broadcast, map[model.PortID][]uint16{parent.ID: {10}, far.ID: {0}}},
		{"to the parent and its sub-port", plain, 0, plain.MAC, broadcast, map[model.PortID][]uint16{parent.ID: {0, 20}}},
		{"from the parent to its own sub-port", parent, 0, parent.MAC, same.MAC, map[model.PortID][]uint16{parent.ID: {20}}},
		{"and back", parent, 20, same.MAC, parent.MAC, map[model.PortID][]uint16{parent.ID: {0}}},
		{"a tag from a port without a trunk", plain, 10, plain.MAC, broadcast, nil},
	} {
		f := sim.New(append(tag(c.vid), flow.EthSrc(c.src), flow.EthDst(c.dst), flow.EthType(0x0800))...)
		out := s.fabric.Send(string(c.from.ID), f)
		got := map[model.PortID][]uint16{}
		for _, d := range out.Deliveries {
			text := d.Frame.String()
			vid := uint16(0)
			if _, rest, found := strings.Cut(text, "dl_vlan="); found {
				fmt.Sscanf(rest, "%d", &vid)
			}
			got[model.PortID(d.To)] = append(got[model.PortID(d.To)], vid)
		}
		for _, tags := range got {
			slices.Sort(tags)
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) || len(out.Errors) > 0 {
			t.Errorf("%s: received %v, want %v; errors %v", c.what, got, c.want, out.Errors)
		}
	}
	// What the switch answers itself goes back with the tag.
	addressed := sub
	addressed.FixedIPs = []model.FixedIP{{Addr: netip.MustParseAddr("10.0.0.5")}}
	target := other
	target.FixedIPs = []model.FixedIP{{Addr: netip.MustParseAddr("10.0.0.3")}}
	s.change(func(tx *store.Txn) error {
		s.must(alloc.PutPort(tx, addressed))
		return alloc.PutPort(tx, target)
	})
	out := s.fabric.Send(string(parent.ID), sim.New(flow.VLANVID(10), flow.EthSrc(sub.MAC), flow.EthDst(broadcast), flow.ARPOp(1),
		flow.ARPSPA(addressed.FixedIPs[0].Addr), flow.ARPTPA(target.FixedIPs[0].Addr), flow.ARPSHA(sub.MAC)))
	if len(out.Deliveries) != 1 || out.Deliveries[0].To != string(parent.ID) || !strings.Contains(out.Deliveries[0].Frame.String(), "dl_vlan=10") {
		t.Errorf("answer to a sub-port's ARP request: %+v", out.Deliveries)
	}
}

// TestTrunkQoSHistory changes trunks, policies and plugs at random; the engine that followed wants what one from nothing wants,
// and of what is gone nothing stays.
func TestTrunkQoSHistory(t *testing.T) {
	const ports, policies = 5, 3
	policy := func(i int) model.QosPolicyID { return model.QosPolicyID([]string{"", "p1", "p2"}[i]) }
	rapid.Check(t, func(rt *rapid.T) {
		st := store.New(tables.Schema, nil)
		nodes := []string{"a", "b"}
		mustCommitRapid(rt, st, func(tx *store.Txn) {
			for i, n := range nodes {
				tables.Nodes.Put(tx, model.NodeID(n), model.Node{ID: model.NodeID(n), NodePlane: model.NodePlane{Key: model.Key(i + 1), LocalIP: tunnelAddr(i)}})
			}
			for i := range 2 {
				putTrunkNetwork(tx, i, "")
			}
		})
		w := st.Watch()
		defer w.Close()
		e := compile.New(Standard(Options{}), pipeline.Standard.Check)
		for _, n := range nodes {
			e.AddNode(n)
		}
		follow := func() {
			if snap, ch, ok := w.Take(); ok {
				e.Update(snap, ch)
			}
		}
		follow()
		id := func(i int) model.PortID { return trunkPort(i, "", "").ID }
		for range 25 {
			mustCommitRapid(rt, st, func(tx *store.Txn) {
				i := uniform(rt, ports, "port")
				p, there := tables.Ports.Get(tx, id(i))
				switch uniform(rt, 9, "change") {
				case 0, 1:
					if there {
						break
					}
					p = trunkPort(i, one(rt, []string{"n0", "n1"}, "network"), one(rt, nodes, "host"))
					p.PortSecurity = rapid.Bool().Draw(rt, "secure")
					if err := alloc.PutPort(tx, p); err != nil {
						rt.Fatal(err)
					}
				case 2: // port 0 is the parent of all trunks
					if there && i > 0 {
						if p.Parent, p.VLAN = id(0), uint16(10+i); rapid.Bool().Draw(rt, "release") {
							p.Parent, p.VLAN, p.Host = "", 0, ""
						}
						if err := alloc.PutPort(tx, p); err != nil {
							rt.Fatal(err)
						}
					}
				case 3:
					if there {
						p.Host, p.AdminStateUp = model.NodeID(one(rt, nodes, "host")), !seldom(rt, "down")
						if err := alloc.PutPort(tx, p); err != nil {
							rt.Fatal(err)
						}
					}
				case 4:
					if there {
						p.QosPolicy = policy(uniform(rt, policies, "policy"))
						if err := alloc.PutPort(tx, p); err != nil {
							rt.Fatal(err)
						}
					}
				case 5:
					q := model.QosPolicy{ID: policy(1 + uniform(rt, policies-1, "policy"))}
					for _, k := range []model.QosKind{model.QosBandwidthLimit, model.QosPacketRateLimit} {
						for _, d := range []model.Direction{model.Egress, model.Ingress} {
							if rapid.Bool().Draw(rt, "limit") {
								q.Rules = append(q.Rules, model.QosRule{Kind: k, Direction: d, Value: uniform(rt, 5, "value")})
							}
						}
					}
					if rapid.Bool().Draw(rt, "mark") {
						q.Rules = append(q.Rules, model.QosRule{Kind: model.QosDSCP, Value: 26})
					}
					tables.QosPolicies.Put(tx, q.ID, q)
				case 6:
					putTrunkNetwork(tx, uniform(rt, 2, "network"), policy(uniform(rt, policies, "policy")))
				case 7: // no two interfaces of a bridge have one number: 1 to 5, 6 to 10
					plug := model.Interface{Node: model.NodeID(one(rt, nodes, "node")), Name: id(i).TapName(), IfaceID: id(i)}
					if n := uniform(rt, 3, "plugged"); n > 0 {
						plug.OFPort = uint32((n-1)*ports + i + 1)
					}
					report(tx, plug)
				case 8:
					if there && i > 0 {
						alloc.DeletePort(tx, id(i))
					}
				}
			})
			follow()
			fresh := compileBook(st, Standard(Options{}), pipeline.Standard, nodes...)
			for _, n := range nodes {
				for what, lines := range map[string]func(*compile.Engine, string) []string{"flows": flowLines, "groups": groupLines, "meters": meterLines, "faults": faultLines} {
					if got, want := lines(e, n), lines(fresh, n); !slices.Equal(got, want) {
						rt.Fatalf("%s: %s\n followed: %s\nfrom nothing: %s", n, what, strings.Join(got, "\n"), strings.Join(want, "\n"))
					}
				}
				if faults := faultLines(e, n); len(faults) > 0 {
					rt.Fatalf("%s: %v", n, faults)
				}
			}
		}
	})
}

func putTrunkNetwork(tx *store.Txn, i int, policy model.QosPolicyID) {
	id := model.NetworkID(fmt.Sprintf("n%d", i))
	tables.Networks.Put(tx, id, model.Network{ID: id, NetworkPlane: model.NetworkPlane{Key: model.Key(i + 1), Type: model.VXLAN,
		SegmentationID: uint32(100 + i), MTU: 1450, AdminStateUp: true, QosPolicy: policy}})
}

// TestTrunkQoSCost: a sub-port more costs what a port costs, however many the trunk has; a policy, what its own ports need.
func TestTrunkQoSCost(t *testing.T) {
	var flows, units, meters []int
	for _, subs := range []int{1, 200} {
		s := newStreets(t, "a", "b")
		parent := trunkPort(1, "n1", "a")
		s.change(func(tx *store.Txn) error {
			s.must(putPlugged(tx, parent, 1, true))
			for i := range subs {
				p := trunkPort(2+i, "n2", "")
				p.Parent, p.VLAN, p.MAC = parent.ID, uint16(i+1), model.MAC{2, 0, 0, 1, byte(i >> 8), byte(i)}
				s.must(alloc.PutPort(tx, p))
			}
			return nil
		})
		d, stats := s.commit(func(tx *store.Txn) error {
			p := trunkPort(1000, "n2", "")
			p.Parent, p.VLAN, p.MAC = parent.ID, 4000, model.MAC{2, 0, 0, 2}
			return alloc.PutPort(tx, p)
		})
		flows, units = append(flows, len(d["a"].Flows)), append(units, int(stats.UnitRuns))
		s.commit(func(tx *store.Txn) error {
			tables.QosPolicies.Put(tx, "p", model.QosPolicy{ID: "p", QosPolicyPlane: model.QosPolicyPlane{Rules: []model.QosRule{{Kind: model.QosBandwidthLimit, Direction: model.Egress, Value: 1}}}})
			p, _ := tables.Ports.Get(tx, parent.ID)
			p.QosPolicy = "p"
			return alloc.PutPort(tx, p)
		})
		d, stats = s.commit(func(tx *store.Txn) error {
			tables.QosPolicies.Put(tx, "p", model.QosPolicy{ID: "p", QosPolicyPlane: model.QosPolicyPlane{Rules: []model.QosRule{{Kind: model.QosBandwidthLimit, Direction: model.Egress, Value: 2}}}})
			return nil
		})
		meters = append(meters, int(stats.UnitRuns))
		if len(d["a"].Flows) != 0 || len(d["a"].Meters) != 1 {
			t.Errorf("another rate of one port changes %d flows and %d meters, want its meter alone", len(d["a"].Flows), len(d["a"].Meters))
		}
	}
	t.Logf("a sub-port beside 1 and 200 others: %v flows, %v units; another rate: %v units", flows, units, meters)
	if flows[0] != flows[1] || units[0] != units[1] || meters[0] != 1 || meters[1] != 1 {
		t.Errorf("the cost grows with the trunk: %v flows, %v units; %v units for a rate", flows, units, meters)
	}
}
