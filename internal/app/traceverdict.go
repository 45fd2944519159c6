// SPDX-License-Identifier: Apache-2.0

package app

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"nagare/internal/alloc"
	"nagare/internal/api/admin"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/sim"
	"nagare/internal/tables"
	"nagare/openflow"
)

// verdict says what became of a leg's packet. What happened to the copy that counts comes first: the one that the target got.
func (f *fabric) verdict(l *leg) admin.TraceVerdict {
	got := l.receivers()
	var names []string
	v := admin.TraceVerdict{}
	for _, id := range got {
		v.Ports = append(v.Ports, string(id))
		names = append(names, f.portText(id))
	}
	list := strings.Join(names, ", ")
	if len(got) > 8 {
		list = fmt.Sprintf("%s and %d more", strings.Join(names[:8], ", "), len(got)-8)
	}
	toSelf := len(got) == 1 && got[0] == l.at.from.ID && len(l.out.Deliveries) == 1
	switch {
	case len(l.out.Errors) > 0:
		v.Result, v.Text = admin.TraceUnknown, "the simulator cannot tell: "+strings.Join(l.out.Errors, "; ")
	case toSelf && l.sent.target != got[0]:
		v.Result, v.Arrived, v.Text = admin.TraceAnswered, true, "answered by the switch of node "+l.turn()
	case len(got) > 0 && (l.sent.target == "" || slices.Contains(got, l.sent.target)):
		v.Result, v.Arrived, v.Text = admin.TraceDelivered, true, "delivered to "+list
	case len(got) > 0:
		v.Result, v.Text = admin.TraceDelivered, fmt.Sprintf("delivered to %s, not to %s", list, f.portText(l.sent.target))
	case len(l.left) > 0:
		v.Result, v.Arrived, v.Node = admin.TraceLeft, l.sent.target == "", string(l.last.at.id)
		v.Text = fmt.Sprintf("leaves node %s by physical network %s", l.last.at.id, l.left[len(l.left)-1])
	case len(answerable(l.out.Arrivals)) > 0:
		all := answerable(l.out.Arrivals)
		a := all[len(all)-1]
		v.Result, v.Node, v.Table = admin.TracePunted, a.Switch, pipeline.TableID(a.Table).String()
		v.Text = fmt.Sprintf("goes from table %s on node %s to the server%s", v.Table, a.Switch, puntText(a.Punt))
	default:
		f.dropped(l, &v)
	}
	if len(l.gone) > 0 {
		v.Text += fmt.Sprintf("; copies for %d more nodes were not followed", len(l.gone))
	}
	return v
}

// turn is the node that sent a packet back: the last that is not its sender's, if it came to others.
func (l *leg) turn() string {
	node := string(l.at.node)
	for _, v := range l.out.Visits {
		if v.Switch != string(l.at.node) {
			node = v.Switch
		}
	}
	return node
}

var puntWords = map[byte]string{
	pipeline.PuntDHCP:      ", a DHCP request that the server answers",
	pipeline.PuntTTL:       ", which tells the sender that its time to live is over",
	pipeline.PuntResolve:   ", which asks for the link address of the next hop; packets pass when it is known",
	pipeline.PuntNeighbour: ", which learns a link address from it",
}

// answerable are the arrivals but for copies for security logs.
func answerable(as []sim.Arrival) (out []sim.Arrival) {
	for _, a := range as {
		if kind, ours := pipeline.ParseUserdata(a.Userdata); !ours || !pipeline.IsLogged(kind) {
			out = append(out, a)
		}
	}
	return out
}

func puntText(k sim.Punt) string {
	if kind, ours := pipeline.ParseUserdata(k.Userdata); ours {
		return puntWords[kind]
	}
	if k.Reason == openflow.ReasonInvalidTTL {
		return puntWords[pipeline.PuntTTL]
	}
	return ""
}

// dropped finds where a packet ended of which no copy arrived.
func (f *fabric) dropped(l *leg, v *admin.TraceVerdict) {
	v.Result, v.Text = admin.TraceDropped, "dropped"
	if len(l.out.Lost) > 0 {
		v.Text = "lost: " + strings.Join(l.out.Lost, "; ")
		return
	}
	for i := len(l.out.Visits) - 1; i >= 0; i-- {
		visit := &l.out.Visits[i]
		if steps := visit.Result.Steps; len(visit.Result.Outputs) == 0 && len(steps) > 0 {
			s := &steps[len(steps)-1]
			if t := pipeline.TableID(s.Table); len(steps) > 1 && (t == pipeline.EgressDrop || t == pipeline.IngressDrop) {
				s = &steps[len(steps)-2] // which tells why
			}
			v.Node, v.Table = visit.Switch, pipeline.TableID(s.Table).String()
			why, remedy := f.why(l, visit.Switch, s)
			v.Text, v.Remedy = fmt.Sprintf("dropped in table %s on node %s: %s", v.Table, visit.Switch, why), remedy
			return
		}
	}
}

// why says why a lookup was a packet's last, and what would let it pass, where that is known.
func (f *fabric) why(l *leg, node string, s *sim.Step) (why, remedy string) {
	for _, d := range s.Deeds {
		if d.Note != "" {
			return "the output was " + d.Note, ""
		}
	}
	table := pipeline.TableID(s.Table)
	part := partOf(table, s)
	p := &s.Packet
	src, _ := alloc.PortsByKey.First(f.snap, alloc.KeyText(model.Key(p.Uint(openflow.Reg(pipeline.RegSrcPort)))))
	dst, _ := alloc.PortsByKey.First(f.snap, alloc.KeyText(model.Key(p.Uint(openflow.Reg(pipeline.RegDstPort)))))
	switch table {
	case pipeline.Classifier:
		return f.refused(node, p, l)
	case pipeline.EgressACL, pipeline.EgressSource:
		return spoofed(&src, p, part)
	case pipeline.EgressRules:
		return f.ungrouped(&src, model.Egress, p)
	case pipeline.IngressRules:
		return f.ungrouped(&dst, model.Ingress, p)
	case pipeline.EgressState, pipeline.IngressState:
		if p.Uint(openflow.FieldCTState)&uint64(flow.CTInv) != 0 {
			return "the connection tracker finds that it belongs to no connection and begins none", ""
		}
		return part, "a rule that allowed the connection is gone, or its port's groups changed"
	case pipeline.RouteLookup:
		if s.Miss || s.Flow.Priority == 0 {
			r, _ := alloc.RoutersByKey.First(f.snap, alloc.KeyText(model.Key(p.Uint(openflow.Reg(pipeline.RegRouter)))))
			return fmt.Sprintf("router %s has no route to %s", orID(r.Name, string(r.ID)), ipOf(p, false)), "add an interface on its subnet, an extra route, or an external gateway"
		}
	case pipeline.L2Forward:
		return f.unknown(l, p, part)
	}
	return part, ""
}

// partOf is what the flow that took the packet is for, in the declaration's words.
func partOf(t pipeline.TableID, s *sim.Step) string {
	if s.Miss || s.Flow.Priority == 0 {
		return "no flow of the table takes it"
	}
	profile := pipeline.Standard
	if s.Flow.Cookie == 0 {
		profile = pipeline.Classic
	}
	if d := pipeline.Lookup(t); d != nil {
		for _, x := range d.Prios {
			if prio := s.Flow.Priority; x.Profiles&profile != 0 && (x.Value == prio || x.Value <= prio && prio <= x.To) {
				return x.What
			}
		}
	}
	return "a flow drops it"
}

// refused says why table 0 takes a frame from nobody.
func (f *fabric) refused(node string, p *sim.Packet, l *leg) (why, remedy string) {
	s := f.nodes[node]
	i, known := s.names[p.InPort()]
	owner, located := f.portAt(model.NodeID(node), i.IfaceID)
	switch mac := macOf(p, openflow.FieldEthSrc); {
	case !known:
		return fmt.Sprintf("br-int of node %s has no port %d", node, p.InPort()), "see `nagare topology`"
	case i.IfaceID == "":
		lead := f.leadOf(s, p.InPort())
		if lead.wire != "" {
			return fmt.Sprintf("no network with a port on node %s has frames like this on physical network %s", node, lead.wire), ""
		}
		return fmt.Sprintf("interface %s belongs to no port, and no network shared with its other end has number %#x", i.Name, p.Uint(openflow.FieldTunID)), ""
	case !located:
		return fmt.Sprintf("interface %s has iface-id %s, but no such port is up on node %s", i.Name, i.IfaceID, node), fmt.Sprintf("see `nagare explain %s`", i.IfaceID)
	case p.Uint(openflow.FieldVLANVID) != 0:
		return fmt.Sprintf("port %s may send untagged frames only, and this one has a VLAN tag", called(&owner)), ""
	case mac != owner.MAC:
		return fmt.Sprintf("source MAC address %s is not that of port %s (%s), nor of one of its allowed address pairs", mac, called(&owner), owner.MAC),
			fmt.Sprintf("openstack port set --allowed-address ip-address=ADDRESS,mac-address=%s %s", mac, owner.ID)
	default:
		return fmt.Sprintf("node %s has no flow for port %s yet; something that it needs is missing", node, called(&owner)), fmt.Sprintf("see `nagare explain %s`", owner.ID)
	}
}

// spoofed says what a port may not send.
func spoofed(src *model.Port, p *sim.Packet, part string) (why, remedy string) {
	if src.ID == "" {
		return part, ""
	}
	a := ipOf(p, true)
	switch p.Uint(openflow.FieldEthType) {
	case flow.EthARP:
		a = p.Addr(openflow.FieldARPSPA)
	case flow.EthIPv4, flow.EthIPv6:
	default:
		return fmt.Sprintf("port %s may send IP and ARP only: %s", called(src), part), "turn port security off to let it send anything"
	}
	for _, own := range src.FixedIPs {
		if own.Addr == a {
			return part, ""
		}
	}
	return fmt.Sprintf("source address %s is not one of port %s (%s): %s", a, called(src), addresses(src), part),
		fmt.Sprintf("openstack port set --allowed-address ip-address=%s %s", a, src.ID)
}

// ungrouped says that no rule of a port's groups allows a packet, and which would.
func (f *fabric) ungrouped(port *model.Port, way model.Direction, p *sim.Packet) (why, remedy string) {
	var groups []string
	for _, g := range port.SecurityGroups {
		groups = append(groups, orID(nameOf(f.snap, "security-group", string(g)), string(g)))
	}
	side, prep, remote := "sender's", "to", ipOf(p, false)
	if way == model.Ingress {
		side, prep, remote = "receiver's", "from", ipOf(p, true)
	}
	what := trafficOf(p)
	if len(groups) == 0 {
		return fmt.Sprintf("port %s wears no security group, so nothing is allowed (%s %s %s)", called(port), what, prep, remote),
			fmt.Sprintf("openstack port set --security-group GROUP %s", port.ID)
	}
	ether, options := model.EtherIPv4, ""
	if p.Uint(openflow.FieldEthType) == flow.EthIPv6 {
		ether = model.EtherIPv6
	}
	switch n := p.Uint(openflow.FieldIPProto); n {
	case flow.ProtoTCP, flow.ProtoUDP, flow.ProtoSCTP:
		options = fmt.Sprintf("--protocol %s --dst-port %d", strings.SplitN(what, "/", 2)[0], p.Uint(openflow.FieldTCPDst))
	case flow.ProtoICMP:
		options = "--protocol icmp"
	case flow.ProtoICMPv6:
		options = "--protocol ipv6-icmp"
	default:
		options = fmt.Sprintf("--protocol %d", n)
	}
	return fmt.Sprintf("no rule of the %s groups (%s of port %s) allows %s %s %s", side, strings.Join(groups, ", "), called(port), what, prep, remote),
		fmt.Sprintf("openstack security group rule create --%s --ethertype %s %s --remote-ip %s %s", way, ether, options,
			netip.PrefixFrom(remote, remote.BitLen()), port.SecurityGroups[0]) // by id: people paste it, and names are tenants'
}

// unknown says why table 110 has no way for a frame.
func (f *fabric) unknown(l *leg, p *sim.Packet, part string) (why, remedy string) {
	mac := macOf(p, openflow.FieldEthDst)
	if mac == nobodysMAC && l.sent.nobody[0] != "" {
		return l.sent.nobody[0], l.sent.nobody[1]
	}
	net := l.at.from.Network
	if src, ok := alloc.PortsByKey.First(f.snap, alloc.KeyText(model.Key(p.Uint(openflow.Reg(pipeline.RegSrcPort))))); ok {
		net = src.Network
	}
	if l.sent.target != "" && p.Uint(openflow.Reg(pipeline.RegFlags))&uint64(pipeline.FlagRouted) != 0 {
		if t, ok := tables.Ports.Get(f.snap, l.sent.target); ok {
			net = t.Network
		}
	}
	switch owner, ok := tables.PortsByMAC.First(f.snap, string(net)+"|"+mac.String()); {
	case net == "":
		return fmt.Sprintf("nobody is known to have MAC address %s: %s", mac, part), ""
	case !ok:
		return fmt.Sprintf("no port of network %s has MAC address %s, and frames to unknown addresses are not flooded", networkName(f.snap, net), mac), ""
	default:
		_, there := tables.Located(f.snap, owner.ID)
		switch {
		case owner.IsRouterPort():
			return fmt.Sprintf("MAC address %s is that of a router's port on network %s, and no flow routes the packet: %s", mac, networkName(f.snap, net), part), ""
		case !there:
			return fmt.Sprintf("%s has MAC address %s, but it is down or not plugged anywhere", f.portText(owner.ID), mac), fmt.Sprintf("see `nagare explain %s`", owner.ID)
		}
		return fmt.Sprintf("%s has MAC address %s, but this node has no way to node %s: %s", f.portText(owner.ID), mac, owner.Host, part), fmt.Sprintf("see `nagare explain %s`", owner.ID)
	}
}

// ipOf is the source or the destination of an IP packet.
func ipOf(p *sim.Packet, source bool) netip.Addr {
	if source {
		return p.Addr(sourceOf(p))
	}
	if p.Uint(openflow.FieldEthType) == flow.EthIPv6 {
		return p.Addr(openflow.FieldIPv6Dst)
	}
	return p.Addr(openflow.FieldIPv4Dst)
}

func sourceOf(p *sim.Packet) *openflow.Field {
	if p.Uint(openflow.FieldEthType) == flow.EthIPv6 {
		return openflow.FieldIPv6Src
	}
	return openflow.FieldIPv4Src
}

// trafficOf is "tcp/22", "icmp type 8", "protocol 112".
func trafficOf(p *sim.Packet) string {
	switch n := p.Uint(openflow.FieldIPProto); n {
	case flow.ProtoTCP:
		return fmt.Sprintf("tcp/%d", p.Uint(openflow.FieldTCPDst))
	case flow.ProtoUDP:
		return fmt.Sprintf("udp/%d", p.Uint(openflow.FieldTCPDst))
	case flow.ProtoSCTP:
		return fmt.Sprintf("sctp/%d", p.Uint(openflow.FieldTCPDst))
	case flow.ProtoICMP:
		return fmt.Sprintf("icmp type %d", p.Uint(openflow.FieldICMPType))
	case flow.ProtoICMPv6:
		return fmt.Sprintf("icmp6 type %d", p.Uint(openflow.FieldICMPv6Type))
	default:
		return fmt.Sprintf("protocol %d", n)
	}
}

func orID(name, id string) string {
	if name != "" {
		return name
	}
	return id
}
