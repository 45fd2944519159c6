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

// plant is a random cloud whose nodes carried out what layer 2 wants of them, with its fabric. The reference reads its nets and
// ports alone, and knows no flow.
type plant struct {
	nets     []model.Network
	ports    []model.Port // all plugged on their hosts
	mapped   map[model.NodeID]bool
	fabric   *sim.Fabric
	switches map[model.NodeID]*sim.Switch
	tunnels  []tunnelEnd
}

type tunnelEnd struct {
	node, peer model.NodeID
	kind       model.NetworkType
	of         uint32
	head       []flow.Term // of the tunnel's header
}

// outside is a host on the physical network, which is a hub.
const outside = "outside"

// shared is an address that allowed address pairs give to ports.
var shared = model.MAC{0, 0, 0x5e, 0, 1, 7}

func plantOf(t *rapid.T, o Options) *plant {
	p := &plant{mapped: map[model.NodeID]bool{}, fabric: sim.NewFabric(), switches: map[model.NodeID]*sim.Switch{}}
	types := []model.NetworkType{model.VXLAN, model.Geneve, model.GRE, model.VLAN, model.Flat, model.Local}
	if o.FlowTunnels { // a fabric's address has one end
		types = []model.NetworkType{model.VXLAN, model.VXLAN, model.VLAN}
	}
	st := store.New(tables.Schema, nil)
	next := map[model.NodeID]uint32{}
	mustCommitRapid(t, st, func(tx *store.Txn) {
		for i, n := range worldNodes {
			node := model.Node{ID: model.NodeID(n), NodePlane: model.NodePlane{Key: model.Key(i + 1), LocalIP: tunnelAddr(i)}}
			if p.mapped[node.ID] = !seldom(t, "unmapped"); p.mapped[node.ID] {
				node.Mappings = map[string]string{"ph": "br-ex"}
			}
			tables.Nodes.Put(tx, node.ID, node)
		}
		flat := false
		for i := range 3 {
			n := model.Network{ID: model.NetworkID(fmt.Sprintf("n%d", i)), NetworkPlane: model.NetworkPlane{Key: model.Key(i + 1),
				Type: one(t, types, "type"), SegmentationID: uint32(5 + i), PhysicalNetwork: "ph", AdminStateUp: true}}
			if n.Type == model.Flat && flat {
				n.Type = model.Local // a physical network carries one flat network
			}
			flat = flat || n.Type == model.Flat
			if n.Type.Tunnelled() && uniform(t, 3, "segments") == 0 { // and a wire, before it or behind
				wires := []model.Wire{{Type: n.Type, SegmentationID: n.SegmentationID}, {Type: model.VLAN, PhysicalNetwork: "ph", SegmentationID: uint32(40 + i)}}
				if seldom(t, "one elsewhere") {
					wires = append([]model.Wire{{Type: model.VLAN, PhysicalNetwork: "unheard of", SegmentationID: 7}}, wires...)
				}
				if uniform(t, 2, "first") == 0 {
					slices.Reverse(wires)
				}
				n.SetWires(wires)
			}
			p.nets = append(p.nets, n)
			tables.Networks.Put(tx, n.ID, n)
		}
		for i := range 4 + uniform(t, 5, "ports") {
			id := model.PortID(fmt.Sprintf("port-%06d", i))
			q := model.Port{ID: id, PortPlane: model.PortPlane{Key: model.Key(0x11 + i), Network: one(t, p.nets, "net").ID,
				Host: model.NodeID(one(t, worldNodes, "node")), MAC: model.MAC{0xfa, 0x16, 0x3e, 0, 0, byte(i)}, AdminStateUp: true, PortSecurity: true,
				FixedIPs: []model.FixedIP{{Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})}, {Addr: netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(i + 1)})}}}}
			switch uniform(t, 4, "sort") {
			case 0:
				q.PortSecurity = false
			case 1:
				q.AllowedPairs = []model.AddressPair{{MAC: shared, Prefix: netip.MustParsePrefix("10.0.0.99/32")}}
				if i > 0 && seldom(t, "another's") {
					q.AllowedPairs[0].MAC = p.ports[0].MAC
				}
			}
			if seldom(t, "dhcp") {
				q.DeviceOwner = model.OwnerDHCP
			}
			p.ports = append(p.ports, q)
			if err := alloc.PutPort(tx, q); err != nil {
				t.Fatal(err)
			}
			next[q.Host]++
			report(tx, model.Interface{Node: q.Host, Name: id.TapName(), OFPort: next[q.Host], IfaceID: id})
		}
	})
	rows := compileBook(st, layer2Alone(o), pipeline.Standard, worldNodes...)
	numbers := map[string]uint32{}
	mustCommitRapid(t, st, func(tx *store.Txn) {
		for _, n := range worldNodes {
			for _, l := range rowLines(rows, n) {
				if w := strings.Fields(l); w[0] == Bridge {
					next[model.NodeID(n)]++
					numbers[n+"|"+w[1]] = next[model.NodeID(n)]
					report(tx, model.Interface{Node: model.NodeID(n), Name: w[1], Type: w[2], OFPort: next[model.NodeID(n)]})
				}
			}
		}
	})
	p.build(t, compileBook(st, layer2Alone(o), pipeline.Standard, worldNodes...), numbers)
	return p
}

func (p *plant) build(t *rapid.T, e *compile.Engine, numbers map[string]uint32) {
	ofs := map[string]uint32{}
	for _, n := range worldNodes {
		s := p.fabric.Switch(n)
		p.switches[model.NodeID(n)] = s
		if err := s.Put(flowsOf(e, n)...); err != nil {
			t.Fatal(err)
		}
		d, _ := e.Desired(n)
		for _, g := range d.Groups {
			s.PutGroup(g)
		}
		for _, q := range p.ports {
			if string(q.Host) == n {
				ofs[n]++
				p.fabric.Attach(string(q.ID), s, ofs[n])
			}
		}
	}
	p.fabric.Host(outside, "ph")
	for i, n := range worldNodes {
		a := p.switches[model.NodeID(n)]
		if of := numbers[n+"|"+patchName("ph")]; of != 0 {
			p.fabric.Wire("ph", a, of)
		}
		if of := numbers[n+"|vxlan-flow"]; of != 0 {
			p.fabric.FlowTunnel(a, of, tunnelAddr(i))
			for j, m := range worldNodes {
				if j != i {
					p.tunnels = append(p.tunnels, tunnelEnd{model.NodeID(n), model.NodeID(m), model.VXLAN, of, []flow.Term{flow.TunSrc(tunnelAddr(j))}})
				}
			}
		}
		for j, m := range worldNodes {
			for _, kind := range []model.NetworkType{model.VXLAN, model.Geneve, model.GRE} {
				out, back := numbers[n+"|"+tunnelName(kind, tunnelAddr(j).String())], numbers[m+"|"+tunnelName(kind, tunnelAddr(i).String())]
				if out != 0 && back != 0 {
					p.fabric.Tunnel(a, out, p.switches[model.NodeID(m)], back)
					p.tunnels = append(p.tunnels, tunnelEnd{model.NodeID(n), model.NodeID(m), kind, out, nil})
				}
			}
		}
	}
}

func (p *plant) net(id model.NetworkID) *model.Network {
	return &p.nets[slices.IndexFunc(p.nets, func(n model.Network) bool { return n.ID == id })]
}

// carried tells whether a network's frames pass from a node to another.
func (p *plant) carried(n *model.Network, from, to model.NodeID) bool {
	_, wired := wireOf(n)
	_, tunnelled := n.Tunnel()
	return from == to || tunnelled || wired && p.mapped[from] && p.mapped[to]
}

// wireOf is the network's segment on the physical network, if it has one.
func wireOf(n *model.Network) (model.Wire, bool) {
	for _, w := range n.Wires() {
		if w.PhysicalNetwork == "ph" && w.Physical() {
			return w, true
		}
	}
	return model.Wire{}, false
}

func hasPair(q *model.Port, m model.MAC) bool {
	return len(q.AllowedPairs) > 0 && q.AllowedPairs[0].MAC == m
}

// mayBe tells whether frames to a MAC address are for a port.
func (p *plant) mayBe(q *model.Port, dst model.MAC) bool {
	if dst.IsMulticast() || dst == q.MAC {
		return true
	}
	// What is a port's own there is for nobody else.
	return hasPair(q, dst) && !slices.ContainsFunc(p.ports, func(o model.Port) bool { return o.Network == q.Network && o.MAC == dst })
}

// admitted tells whether a port may send from a MAC address.
func admitted(q *model.Port, src model.MAC) bool {
	return src == q.MAC || q.IsFiltered() && hasPair(q, src) || !q.PortSecurity && !q.IsDHCP()
}

// receivers are who must get a frame that a port sends, and is no question that the switch answers.
func (p *plant) receivers(from *model.Port, src, dst model.MAC) []string {
	out := []string{}
	if !admitted(from, src) {
		return out
	}
	n, here := p.net(from.Network), dst == from.MAC // or where the wire does not lead
	for i := range p.ports {
		q := &p.ports[i]
		if q.ID == from.ID || q.Network != from.Network || !p.mayBe(q, dst) {
			continue
		}
		here = here || dst == q.MAC && (q.Host == from.Host || len(n.Segments) > 0 && !p.mapped[q.Host])
		if p.carried(n, from.Host, q.Host) {
			out = append(out, string(q.ID))
		}
	}
	if _, wired := wireOf(n); wired && p.mapped[from.Host] && !here { // all that is for no port of the node leaves by the wire
		out = append(out, outside)
	}
	slices.Sort(out)
	return out
}

// entering are the ports that must get a frame that comes from outside or from another node.
func (p *plant) entering(n *model.Network, at func(model.NodeID) bool, dst model.MAC) []string {
	out := []string{}
	for i := range p.ports {
		if q := &p.ports[i]; q.Network == n.ID && at(q.Host) && p.mayBe(q, dst) {
			out = append(out, string(q.ID))
		}
	}
	return out
}

func (p *plant) hosts(n *model.Network, node model.NodeID) bool {
	return slices.ContainsFunc(p.ports, func(q model.Port) bool { return q.Network == n.ID && q.Host == node })
}

// TestStandardDelivery is who receives what by layer 2 of the standard profile, exactly: ports of the own network, once each,
// past split horizon, tags and tunnels, and the switch's own answers.
func TestStandardDelivery(t *testing.T) {
	for name, o := range map[string]Options{"tunnels": {}, "flow tunnels": {FlowTunnels: true}} {
		t.Run(name, func(t *testing.T) {
			var seen struct{ sent, received, wired, answered, injected int }
			rapid.Check(t, func(t *rapid.T) {
				p := plantOf(t, o)
				judge := func(what, from string, got sim.Outcome, want []string, as ...flow.Term) {
					t.Helper()
					for _, d := range got.Deliveries { // as it was sent, and without a tag
						if f := sim.New(append(as, flow.NoVLAN())...); d.To != outside && d.Frame != f.Frame() {
							t.Fatalf("%s from %s: %s received %s, want %s", what, from, d.To, d.Frame, f)
						}
					}
					seen.sent++
					seen.received += len(want)
					if r := got.Receivers(); !slices.Equal(r, want) || len(got.Lost)+len(got.Errors)+len(got.Arrivals) > 0 {
						t.Fatalf("%s from %s: received by %v, want %v; lost %v, errors %v, %d punts\nnets %+v\nports %+v", what, from, r, want, got.Lost, got.Errors, len(got.Arrivals), p.nets, p.ports)
					}
				}
				for i := range p.ports {
					q := &p.ports[i]
					dsts := []model.MAC{broadcast, {0x01, 0, 0x5e, 0, 0, 5}, shared, stranger}
					for _, to := range p.ports {
						dsts = append(dsts, to.MAC)
						p.ask(t, q, &to, &seen.answered)
					}
					for _, dst := range dsts {
						for _, src := range []model.MAC{q.MAC, shared, p.ports[0].MAC, stranger} {
							terms := []flow.Term{flow.EthSrc(src), flow.EthDst(dst), flow.IP()}
							f := sim.New(terms...)
							want := p.receivers(q, src, dst)
							judge(fmt.Sprintf("%s to %s", src, dst), string(q.ID), p.fabric.Send(string(q.ID), f), want, terms...)
							if slices.Contains(want, outside) {
								seen.wired++
							}
						}
						judge("tagged frame", string(q.ID), p.fabric.Send(string(q.ID), sim.New(flow.EthSrc(q.MAC), flow.EthDst(dst), flow.VLANVID(5))), []string{})
					}
				}
				for i := range p.nets {
					n := &p.nets[i]
					for _, dst := range []model.MAC{broadcast, shared, stranger, p.ports[0].MAC, p.ports[1].MAC} {
						terms := []flow.Term{flow.EthSrc(stranger), flow.EthDst(dst), flow.IP()}
						if wire, ok := wireOf(n); ok {
							tag := flow.NoVLAN()
							if wire.Type == model.VLAN {
								tag = flow.VLANVID(uint16(wire.SegmentationID))
							}
							judge("from outside to "+dst.String(), outside, p.fabric.Send(outside, sim.New(append(terms, tag)...)),
								p.entering(n, func(h model.NodeID) bool { return p.mapped[h] }, dst), terms...)
						}
						for _, node := range worldNodes { // a left-over tunnel that we know nothing of
							var got sim.Outcome
							tag, _ := logicalNetwork(n)
							p.fabric.Inject(&got, p.switches[model.NodeID(node)], 99, sim.New(append(terms, flow.TunID(tag))...), false)
							judge("frame of "+string(n.ID)+" to "+dst.String(), node+" port 99", got, []string{})
						}
						for _, w := range p.tunnels { // frames that a faulty node sends: to the ports of this node at most, and of shared networks only
							want := []string{}
							through, _ := n.Tunnel()
							joined := len(n.Segments) > 0 && p.mapped[w.node] && p.mapped[w.peer] // by the wire
							if through.Type == w.kind && p.hosts(n, w.peer) && !joined {
								want = p.entering(n, func(h model.NodeID) bool { return h == w.node }, dst)
							}
							var got sim.Outcome
							p.fabric.Inject(&got, p.switches[w.node], w.of, sim.New(slices.Concat(terms, w.head, []flow.Term{flow.TunID(uint64(through.SegmentationID))})...), false)
							judge(fmt.Sprintf("%s frame of %s to %s", w.kind, n.ID, dst), string(w.node)+" tunnel", got, want, terms...)
							seen.injected++
						}
					}
					judge("unknown tag", outside, p.fabric.Send(outside, sim.New(flow.EthDst(broadcast), flow.VLANVID(99))), []string{})
				}
			})
			t.Logf("%+v", seen)
			if seen.received == 0 || seen.wired == 0 || seen.answered == 0 || seen.injected == 0 {
				t.Errorf("the test saw too little: %+v", seen)
			}
		})
	}
}

// ask sends ARP requests and neighbour solicitations for a port's addresses. The switch answers them for ports of the network
// wherever they are, but not the owner's own nor duplicate address detection.
func (p *plant) ask(t *rapid.T, q, to *model.Port, answered *int) {
	v4, v6 := to.FixedIPs[0].Addr, to.FixedIPs[1].Addr
	own := netip.PrefixFrom(q.FixedIPs[1].Addr, 128)
	nd := []flow.Term{flow.ICMPv6(), flow.ICMPType(135), flow.ICMPCode(0), flow.NDTarget(v6), flow.EthSrc(q.MAC), flow.EthDst(model.MAC{0x33, 0x33, 0xff, 0, 0, 1})}
	arp := sim.New(flow.ARPOp(1), flow.ARPTPA(v4), flow.ARPSPA(q.FixedIPs[0].Addr), flow.ARPSHA(q.MAC), flow.EthSrc(q.MAC), flow.EthDst(broadcast))
	for _, question := range []struct {
		what   string
		frame  sim.Packet
		answer []flow.Term
		exempt bool
	}{
		{"ARP", arp, []flow.Term{flow.ARPOp(2), flow.ARPSPA(v4), flow.ARPSHA(to.MAC), flow.ARPTPA(q.FixedIPs[0].Addr), flow.ARPTHA(q.MAC)}, to.ID == q.ID},
		{"ND", sim.New(append(nd, flow.IPSrc(own))...), []flow.Term{flow.ICMPv6(), flow.ICMPType(136), flow.ICMPCode(0), flow.NDTarget(v6), flow.NDTLL(to.MAC),
			flow.IPSrc(netip.PrefixFrom(v6, 128)), flow.IPDst(own), flow.NDReserved(ndFlags), flow.NDOptionsType(2)}, false},
		{"duplicate address detection", sim.New(append(nd, flow.IPSrc(unspecified6))...), nil, true},
	} {
		got := p.fabric.Send(string(q.ID), question.frame)
		if question.exempt || to.Network != q.Network {
			if want := p.receivers(q, q.MAC, broadcast); !slices.Equal(got.Receivers(), want) {
				t.Fatalf("%s of %s for %s: received by %v, want %v", question.what, q.ID, to.ID, got.Receivers(), want)
			}
			continue
		}
		*answered++
		want := sim.New(append(question.answer, flow.EthSrc(to.MAC), flow.EthDst(q.MAC))...)
		if r := got.Receivers(); !slices.Equal(r, []string{string(q.ID)}) {
			t.Fatalf("%s of %s for %s: received by %v, want the asker alone; %v", question.what, q.ID, to.ID, r, got.Errors)
		} else if got.Deliveries[0].Frame != want.Frame() {
			t.Fatalf("%s of %s for %s: answer %s, want %s", question.what, q.ID, to.ID, got.Deliveries[0].Frame, want.Frame())
		}
	}
}
