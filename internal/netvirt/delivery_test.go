// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/sim"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// ---- The reference: who must receive what, told from the stored state alone. It knows no flow, no derived table and no rule.

// end is an interface of a bridge that is no tunnel. What is plugged there may send whatever it likes, whether or not the
// port is wanted there.
type end struct {
	name string // in the fabric
	node model.NodeID
	of   uint32
	port model.Port
	vni  uint64
	on   bool // the port takes part in its network here
}

// ghost is a node that is no more, though its record is still there: it has a name and perhaps a tunnel address, but no switch.
const ghost model.NodeID = "b-old"

// wire is a tunnel's interface: frames leave by it for the node that has the address, if that node has one back.
type wire struct {
	node, peer model.NodeID // peer is empty if no node has the address
	of, back   uint32       // back is the peer's number of its interface towards node; 0 while it has none
	known      bool         // both nodes have an address: the rules may use the wire
}

type reference struct {
	ends  []end
	wires []wire
	vnis  []uint64 // of all networks
}

func refer(r store.Reader) *reference {
	ref := &reference{}
	for _, n := range tables.Networks.All(r) {
		ref.vnis = append(ref.vnis, uint64(n.SegmentationID))
	}
	for _, i := range tables.Interfaces.All(r) {
		to, isTunnel := strings.CutPrefix(i.Name, "vxlan-")
		switch {
		case i.OFPort == 0:
		case isTunnel:
			w := wire{node: i.Node, of: i.OFPort}
			own, _ := tables.Nodes.Get(r, i.Node)
			for id, n := range tables.Nodes.All(r) {
				if id != i.Node && n.LocalIP.IsValid() && n.LocalIP.String() == to && (w.peer == "" || id != ghost) {
					w.peer, w.known = id, own.LocalIP.IsValid()
					back, _ := tables.Interfaces.Get(r, string(id)+"|vxlan-"+own.LocalIP.String())
					w.back = back.OFPort
				}
			}
			ref.wires = append(ref.wires, w)
		default:
			e := end{name: string(i.Node) + "/" + i.Name, node: i.Node, of: i.OFPort}
			p, there := tables.Ports.Get(r, i.IfaceID)
			n, carried := tables.Networks.Get(r, p.Network)
			e.port, e.vni = p, uint64(n.SegmentationID)
			e.on = there && p.Host == i.Node && p.AdminStateUp && carried && n.Type == model.VXLAN && n.AdminStateUp
			ref.ends = append(ref.ends, e)
		}
	}
	return ref
}

// joined tells whether a frame passes from one node to another, and may come in there.
func (ref *reference) joined(from, to model.NodeID) bool {
	return from == to || slices.ContainsFunc(ref.wires, func(w wire) bool {
		return w.node == from && w.peer == to && w.known && w.back != 0
	})
}

// frame is something to send. guarded is what port security forbids in classic: to answer as a DHCP server.
type frame struct {
	what     string
	src, dst model.MAC
	guarded  bool
	rest     []flow.Term
}

func (f frame) packet(more ...flow.Term) sim.Packet {
	return sim.New(slices.Concat(f.rest, more, []flow.Term{flow.EthSrc(f.src), flow.EthDst(f.dst)})...)
}

// receivers are the ends that must get a frame from an end, each once.
func (ref *reference) receivers(from *end, f frame) []string {
	out := []string{}
	if !from.on || f.src != from.port.MAC || f.guarded && from.port.PortSecurity && !from.port.IsDHCP() {
		return out
	}
	for _, to := range ref.ends {
		if to.name != from.name && to.on && to.port.Network == from.port.Network &&
			(f.dst.IsMulticast() || f.dst == to.port.MAC) && ref.joined(from.node, to.node) {
			out = append(out, to.name)
		}
	}
	slices.Sort(out)
	return out
}

// entering are the ends that must get a frame that comes out of a tunnel with a network's id. Table 0 of the recorded flows
// passes on what no flow of it takes, so only what is flooded needs the tunnel to be known.
func (ref *reference) entering(w *wire, vni uint64, f frame) []string {
	out := []string{}
	for _, to := range ref.ends {
		if to.on && to.node == w.node && to.vni == vni && (f.dst.IsMulticast() && w.known || f.dst == to.port.MAC) {
			out = append(out, to.name)
		}
	}
	slices.Sort(out)
	return out
}

// passed are those of some receivers that a frame out of a tunnel may reach by way of another.
func (ref *reference) passed(w *wire, vni uint64, f frame, some []string) []string {
	out := []string{}
	for _, to := range ref.ends {
		if to.on && to.node != w.node && to.node != w.peer && to.vni == vni && f.dst == to.port.MAC && slices.Contains(some, to.name) {
			out = append(out, to.name)
		}
	}
	return out
}

// ---- The judge: sends everything from everywhere through simulated switches and compares.

var (
	macs      = []model.MAC{{0xfa, 0x16, 0x3e, 0, 0, 1}, {0xfa, 0x16, 0x3e, 0, 0, 2}, {0xfa, 0x16, 0x3e, 0, 0, 3}, {0xfa, 0x16, 0x3e, 0, 0, 4}}
	stranger  = model.MAC{0xfa, 0x16, 0x3e, 0xff, 0, 9} // nobody's
	broadcast = model.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
)

// nobodysVNI is a segmentation id that no network of these tests has.
const nobodysVNI = 999

// frames is what an end with a MAC may try.
func frames(own model.MAC) []frame {
	host := func(a byte) netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, a}), 32) }
	everyone := netip.MustParsePrefix("255.255.255.255/32")
	arp := []flow.Term{flow.ARPOp(1)}
	ping := []flow.Term{flow.ICMP(), flow.ICMPType(8), flow.IPSrc(host(2)), flow.IPDst(host(3))}
	query := []flow.Term{flow.UDP(), flow.IPDst(everyone), flow.TPSrc(68), flow.TPDst(67)}
	offer := []flow.Term{flow.UDP(), flow.IPSrc(host(9)), flow.TPSrc(67), flow.TPDst(68)}
	out := []frame{
		{"broadcast", own, broadcast, false, arp},
		{"multicast", own, model.MAC{0x01, 0x00, 0x5e, 0, 0, 5}, false, []flow.Term{flow.UDP(), flow.TPDst(5000)}},
		{"IPv6 multicast", own, model.MAC{0x33, 0x33, 0, 0, 0, 1}, false, []flow.Term{flow.IPv6()}},
		{"DHCP request", own, broadcast, false, query},
		{"DHCP answer to all", own, broadcast, true, offer},
		{"broadcast by a stranger", stranger, broadcast, false, arp},
	}
	for _, m := range append([]model.MAC{stranger}, macs...) {
		out = append(out,
			frame{"unicast", own, m, false, ping},
			frame{"DHCP answer", own, m, true, offer})
		if m != own {
			out = append(out, frame{"broadcast by another", m, broadcast, false, arp})
		}
	}
	return out
}

// tally counts what a judge saw, so that a test can tell that it looked at something.
type tally struct{ sent, received, crossed int }

// judge tells where delivery by the flows differs from the reference, in words; nothing if nowhere.
func judge(r store.Reader, flows map[string]map[flow.Key]flow.Flow, seen *tally) (wrong []string) {
	ref := refer(r)
	fabric, switches := sim.NewFabric(), map[model.NodeID]*sim.Switch{}
	for _, node := range slices.Sorted(maps.Keys(flows)) {
		s := fabric.Switch(node)
		switches[model.NodeID(node)] = s
		for _, f := range flows[node] {
			if err := s.Put(f); err != nil {
				return []string{err.Error()}
			}
		}
	}
	halfOpen := map[string]bool{} // what may be sent into such a tunnel is lost on the way
	for _, w := range ref.wires {
		if w.back != 0 {
			fabric.Tunnel(switches[w.node], w.of, switches[w.peer], w.back)
		} else if w.peer != "" { // towards a ghost, too
			halfOpen[fmt.Sprintf("%s port %d leads nowhere", w.node, w.of)] = true
		}
	}
	for _, e := range ref.ends {
		fabric.Attach(e.name, switches[e.node], e.of)
	}
	compare := func(from string, f frame, p sim.Packet, o sim.Outcome, want []string) {
		got := o.Receivers()
		if seen.sent++; !slices.Equal(got, want) {
			wrong = append(wrong, fmt.Sprintf("%s (%s to %s) from %s: received by %v, want %v", f.what, f.src, f.dst, from, got, want))
		}
		for _, d := range o.Deliveries {
			seen.received++
			if !strings.HasPrefix(from, d.To[:strings.Index(d.To, "/")+1]) {
				seen.crossed++
			}
			if d.Frame != p.Frame() {
				wrong = append(wrong, fmt.Sprintf("%s from %s: %s received a changed frame: %s", f.what, from, d.To, d.Frame))
			}
		}
		for _, lost := range o.Lost {
			if !halfOpen[lost] {
				wrong = append(wrong, fmt.Sprintf("%s from %s: %s", f.what, from, lost))
			}
		}
		if len(o.Errors) > 0 || len(o.Arrivals) > 0 {
			wrong = append(wrong, fmt.Sprintf("%s from %s: errors %v, %d punts", f.what, from, o.Errors, len(o.Arrivals)))
		}
	}
	for i := range ref.ends {
		e := &ref.ends[i]
		if len(wrong) > 0 {
			return wrong // of one sender is enough
		}
		for _, f := range frames(e.port.MAC) {
			p := f.packet()
			compare(e.name, f, p, fabric.Send(e.name, p), ref.receivers(e, f))
		}
	}
	for i := range ref.wires {
		w := &ref.wires[i]
		at := fmt.Sprintf("%s port %d", w.node, w.of)
		for _, vni := range append([]uint64{nobodysVNI}, ref.vnis...) {
			for _, dst := range append([]model.MAC{broadcast, stranger}, macs...) {
				f := frame{fmt.Sprintf("frame of %d out of a tunnel", vni), stranger, dst, false, []flow.Term{flow.IP()}}
				want := ref.entering(w, vni, f)
				var o sim.Outcome
				p := f.packet(flow.TunID(vni))
				fabric.Inject(&o, switches[w.node], w.of, p, false)
				if len(want) == 0 && vni != nobodysVNI && !dst.IsMulticast() {
					// The recorded flows towards other nodes do not ask where a frame came from, so one for a third node's port
					// may be passed on to it. No node sends such a frame here.
					want = ref.passed(w, vni, f, o.Receivers())
				}
				compare(at, f, p, o, want)
			}
		}
	}
	return wrong
}
