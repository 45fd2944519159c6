// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"nagare/internal/api/admin"
	"nagare/internal/compile"
	"nagare/internal/model"
	"nagare/internal/netvirt"
	"nagare/internal/pipeline"
	"nagare/internal/sim"
	"nagare/internal/southbound"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/openflow"
)

// maxTraced bounds the nodes that one trace builds: a broadcast of a large network would build them all.
const maxTraced = 24

// fabric is the cloud as a packet meets it. A node is built from its desired state when the first packet comes to it, since that
// is a copy of all its flows.
type fabric struct {
	ctx   context.Context
	hub   *southbound.Hub
	snap  *store.Snapshot
	sim   *sim.Fabric
	nodes map[string]*site
	byIP  map[netip.Addr]string // nodes by tunnel address, once somebody asks
	fault error                 // that ended the growth
	moved bool                  // a node was built from a later state than snap
	left  []string              // physical networks by which something left the nodes
	gone  []string              // nodes that a copy was for beyond maxTraced
	last  wireExit

	assumeNew bool // each tracked packet is new, as ofproto/trace has it
}

// wireExit is where a packet last left for a machine that is not ours: whoever answers answers to there.
type wireExit struct {
	at    *site
	port  uint32
	frame sim.Packet
}

// site is a node that was built.
type site struct {
	id    model.NodeID
	sw    *sim.Switch
	rows  map[compile.RowKey]compile.Row
	names map[uint32]model.Interface // by OpenFlow number
}

var errTooMany = errors.New("too many nodes")

// newFabric is a cloud of which nothing is built yet, at the state that the engine has compiled.
func newFabric(ctx context.Context, hub *southbound.Hub) (*fabric, error) {
	f := &fabric{ctx: ctx, hub: hub, sim: sim.NewFabric(), nodes: map[string]*site{}}
	f.sim.Beyond = f.beyond
	if err := hub.Do(ctx, func(e *compile.Engine) { f.snap = e.Snapshot() }); err != nil {
		return nil, err
	}
	if f.snap == nil {
		return nil, errors.New("nothing is compiled yet; see `nagare status`")
	}
	return f, nil
}

// site builds a node, once.
func (f *fabric) site(node model.NodeID) (*site, error) {
	if s := f.nodes[string(node)]; s != nil {
		return s, nil
	}
	if len(f.nodes) == maxTraced {
		return nil, errTooMany
	}
	var d compile.Desired
	known := false
	err := f.hub.Do(f.ctx, func(e *compile.Engine) {
		d, known = e.Desired(string(node))
		f.moved = f.moved || e.Snapshot() != f.snap
	})
	if err == nil && !known {
		err = noNode(string(node))
	}
	if err != nil {
		return nil, err
	}
	s := &site{id: node, sw: f.sim.Switch(string(node)), rows: d.Rows, names: map[uint32]model.Interface{}}
	s.sw.Tables = func(id uint8) string { return pipeline.TableID(id).Name() }
	s.sw.Track.AssumeNew = f.assumeNew
	if err := s.sw.Put(slices.Collect(maps.Values(d.Flows))...); err != nil {
		return nil, err
	}
	for _, g := range d.Groups {
		s.sw.PutGroup(g)
	}
	for i := range tables.InterfacesByNode.By(f.snap, string(node)) {
		if i.OFPort != 0 {
			s.names[i.OFPort] = i
		}
	}
	f.nodes[string(node)] = s
	return s, nil
}

// number is the OpenFlow number of an interface of a node; 0 if it has none.
func (f *fabric) number(node model.NodeID, name string) uint32 {
	i, _ := tables.Interfaces.Get(f.snap, model.InterfaceKey(node, name))
	return i.OFPort
}

// setAddr sets the field of the address's family.
func setAddr(p *sim.Packet, a netip.Addr, v4, v6 *openflow.Field) {
	if a.Is4() {
		p.SetBytes(v4, a.AsSlice())
	} else if a.IsValid() {
		p.SetBytes(v6, a.AsSlice())
	}
}

// enter lets a packet into a node by an interface. It says why if that cannot be.
func (f *fabric) enter(x *sim.Exit, node model.NodeID, port string, p sim.Packet) {
	s, err := f.site(node)
	switch n := f.number(node, port); {
	case errors.Is(err, errTooMany):
		f.gone = append(f.gone, string(node))
	case err != nil:
		f.fault = err
	case n == 0:
		x.Lost = fmt.Sprintf("node %s has no port %s yet; see `nagare nodes`", node, port)
	default:
		x.Into = append(x.Into, sim.Entrance{Switch: s.sw, Port: n, Packet: p})
	}
}

// ends of what a port of a node leads to.
type lead struct {
	port   model.PortID // an instance or another endpoint
	tunnel compile.Row
	wire   string // physical network
	name   string // of the interface
}

// leadOf says what a port of a node is.
func (f *fabric) leadOf(s *site, port uint32) (l lead) {
	i, ok := s.names[port]
	if !ok {
		return l
	}
	l.name = i.Name
	if p, ok := f.portAt(s.id, i.IfaceID); ok {
		l.port = p.ID
		return l
	}
	switch row := s.rows[compile.RowKey{Bridge: netvirt.Bridge, Name: i.Name}]; row.Type {
	case "patch":
		node, _ := tables.Nodes.Get(f.snap, s.id)
		other := s.rows[f.peerOf(s, row)]
		for _, physnet := range slices.Sorted(maps.Keys(node.Mappings)) {
			if node.Mappings[physnet] == other.Bridge && strings.HasSuffix(i.Name, "-"+physnet) {
				l.wire = physnet
			}
		}
	case "":
	default:
		if compile.ParsePairs(row.Options)["remote_ip"] != "" {
			l.tunnel = row
		}
	}
	return l
}

// portAt gives the port that an interface of a node has the iface-id of, if it is located there.
func (f *fabric) portAt(node model.NodeID, iface model.PortID) (model.Port, bool) {
	p, ok := tables.Ports.Get(f.snap, iface)
	return p, ok && tables.LocatedOn(f.snap, &p, node)
}

// peerOf finds the other end of a patch among the node's rows.
func (f *fabric) peerOf(s *site, row compile.Row) compile.RowKey {
	name := compile.ParsePairs(row.Options)["peer"]
	for k := range s.rows {
		if k.Name == name {
			return k
		}
	}
	return compile.RowKey{}
}

// beyond is where a port of a node leads.
func (f *fabric) beyond(from *sim.Switch, port uint32, p sim.Packet) (x sim.Exit) {
	s := f.nodes[from.Name]
	l := f.leadOf(s, port)
	switch {
	case l.port != "":
		if tci := p.Uint(openflow.FieldVLANVID); tci != 0 { // the port is the parent of a trunk
			if sub, ok := tables.SubPortsByVLAN.First(f.snap, tables.SubPortKey(l.port, uint16(tci&0xfff))); ok {
				l.port = sub.ID
			}
		}
		x.To = []string{string(l.port)}
	case l.tunnel.Name != "":
		f.tunnel(&x, s, l.tunnel, p)
	case l.wire != "":
		f.wire(&x, s, port, l.wire, p)
	case port == openflow.PortLocal:
		x.Lost = fmt.Sprintf("node %s takes it itself, by br-int's own port", s.id)
	case l.name != "":
		x.Lost = fmt.Sprintf("node %s port %d (%s) is nobody's that is known here", s.id, port, l.name)
	default:
		x.Lost = fmt.Sprintf("node %s has no port %d", s.id, port)
	}
	return x
}

// tunnel carries a packet to the other end of a tunnel: with its tun_id of 24 bits, and the addresses of both ends.
func (f *fabric) tunnel(x *sim.Exit, s *site, row compile.Row, p sim.Packet) {
	options := compile.ParsePairs(row.Options)
	remote, _ := netip.ParseAddr(options["remote_ip"])
	mode := remote.String()
	if options["remote_ip"] == "flow" {
		remote, mode = p.Addr(openflow.FieldTunDst), "flow"
	}
	local, _ := netip.ParseAddr(options["local_ip"])
	node, ok := f.nodeAt(remote)
	if !ok {
		x.Lost = fmt.Sprintf("node %s sends it by tunnel %s to %s, where no node is; see `nagare nodes`", s.id, row.Name, remote)
		return
	}
	frame := p.Frame()
	frame.SetUint(openflow.FieldTunID, p.Uint(openflow.FieldTunID)&0xffffff)
	setAddr(&frame, local, openflow.FieldTunSrc, openflow.FieldTunIPv6Src)
	setAddr(&frame, remote, openflow.FieldTunDst, openflow.FieldTunIPv6Dst)
	if mode != "flow" {
		mode = local.String()
	}
	f.enter(x, node, row.Type+"-"+mode, frame)
}

// nodeAt finds the node with a tunnel address. There is no index of these: the nodes are read once, when a packet meets a tunnel.
func (f *fabric) nodeAt(a netip.Addr) (model.NodeID, bool) {
	if f.byIP == nil {
		f.byIP = map[netip.Addr]string{}
		for id, n := range tables.Nodes.All(f.snap) {
			if n.LocalIP.IsValid() {
				f.byIP[n.LocalIP] = string(id)
			}
		}
	}
	id, ok := f.byIP[a]
	return model.NodeID(id), ok
}

// wire carries a frame over a physical network. Its switches have learned where addresses are: a frame to one of ours comes to
// that node alone, one to all comes to the nodes of its network, and what is nobody's leaves for other machines.
func (f *fabric) wire(x *sim.Exit, s *site, port uint32, physnet string, p sim.Packet) {
	frame := p.Frame()
	dst := macOf(&frame, openflow.FieldEthDst)
	net, known := f.networkOn(physnet, frame)
	owner, ours := model.NodeID(""), false
	if known {
		owner, ours = f.ownerOf(net, dst)
	}
	if ours && owner != s.id {
		f.enter(x, owner, "patch-"+physnet, frame)
		return
	}
	if known && dst.IsMulticast() {
		nodes := map[string]bool{}
		for n := range tables.NetworkNodes.Members(f.snap, string(net)) {
			nodes[n] = true
		}
		delete(nodes, string(s.id))
		for _, n := range slices.Sorted(maps.Keys(nodes)) {
			f.enter(x, model.NodeID(n), "patch-"+physnet, frame)
		}
	}
	f.left = append(f.left, physnet)
	f.last = wireExit{s, port, frame}
}

// networkOn finds the network whose frames on a physical network look so.
func (f *fabric) networkOn(physnet string, frame sim.Packet) (model.NetworkID, bool) {
	key := tables.SegmentKey(model.Flat, physnet, 0)
	if tci := frame.Uint(openflow.FieldVLANVID); tci != 0 {
		key = tables.SegmentKey(model.VLAN, physnet, uint32(tci&0xfff))
	}
	n, ok := tables.NetworksBySegment.First(f.snap, key)
	return n.ID, ok
}

// ownerOf finds the node that speaks for an address of a network on the wire: the port's own, or its router's or floating IP's.
func (f *fabric) ownerOf(net model.NetworkID, mac model.MAC) (model.NodeID, bool) {
	p, ok := tables.PortsByMAC.First(f.snap, string(net)+"|"+mac.String())
	if !ok {
		return "", false
	}
	if located, there := tables.Located(f.snap, p.ID); there {
		return located.Host, true
	}
	switch p.DeviceOwner {
	case model.OwnerRouterGateway:
		g, ok := tables.Gateways.Get(f.snap, p.Router)
		return g.Node, ok
	case model.OwnerFloatingIP:
		for _, a := range p.FixedIPs {
			if fip, ok := tables.FloatingIPsByAddress.First(f.snap, tables.AddressKey(net, a.Addr)); ok {
				return tables.Serving(f.snap, &fip)
			}
		}
	}
	return "", false
}

// portOf finds a port by id, or by a name that only one has.
func portOf(r store.Reader, text string) (model.Port, error) {
	if p, ok := tables.Ports.Get(r, model.PortID(text)); ok {
		return p, nil
	}
	var found []model.Port
	var ids []string
	if text != "" {
		for p := range tables.PortsByName.By(r, text) {
			if found, ids = append(found, p), append(ids, string(p.ID)); len(found) == 10 {
				break
			}
		}
	}
	switch len(found) {
	case 0:
		return model.Port{}, fmt.Errorf("port %s: %w; see `openstack port list`", text, admin.ErrNotFound)
	case 1:
		return found[0], nil
	}
	return model.Port{}, fmt.Errorf("port %s: %w: several have the name; give the id: %s", text, admin.ErrBadInput, strings.Join(ids, ", "))
}

// start is where a packet comes in.
type start struct {
	node model.NodeID
	port uint32
	from model.Port // the port that sends; no id if it is another interface
}

// startOf finds where a query's packet comes in.
func (f *fabric) startOf(q *admin.TraceQuery) (s start, err error) {
	if q.From != "" {
		if s.from, err = portOf(f.snap, q.From); err != nil {
			return s, err
		}
		return f.plugged(s.from)
	}
	if q.Node == "" || q.InPort == "" {
		return s, fmt.Errorf("where does the packet come in? Give a port, or a node and a port of its br-int: %w", admin.ErrBadInput)
	}
	if _, ok := tables.Nodes.Get(f.snap, model.NodeID(q.Node)); !ok {
		return s, noNode(q.Node)
	}
	s.node = model.NodeID(q.Node)
	if n, err := strconv.ParseUint(q.InPort, 10, 32); err == nil {
		s.port = uint32(n)
	} else if s.port = f.number(s.node, q.InPort); s.port == 0 {
		return s, fmt.Errorf("node %s has no interface %s on br-int: %w", q.Node, q.InPort, admin.ErrNotFound)
	}
	for i := range tables.InterfacesByNode.By(f.snap, q.Node) {
		if p, ok := f.portAt(s.node, i.IfaceID); ok && i.OFPort == s.port {
			s.from = p
		}
	}
	return s, nil
}

// plugged is where a port's packets come in; the error says why they come nowhere.
func (f *fabric) plugged(p model.Port) (s start, err error) {
	i, ok := tables.InterfacesByIface.First(f.snap, model.PlugKey(p.Host, p.Carrier()))
	switch {
	case p.Host == "" && p.IsRouterPort():
		err = fmt.Errorf("port %s is a router's and on no node: trace from a port of an instance", called(&p))
	case p.Host == "":
		err = fmt.Errorf("port %s is bound to no host, so it sends nothing: set binding:host_id", called(&p))
	case !ok:
		err = fmt.Errorf("port %s is not plugged on node %s, so it sends nothing; see `nagare explain %s`", called(&p), p.Host, p.ID)
	}
	if err != nil {
		return s, fmt.Errorf("%w: %w", err, admin.ErrBadInput)
	}
	return start{node: p.Host, port: i.OFPort, from: p}, nil
}

// called is a port as people call it.
func called(p *model.Port) string {
	if p.Name != "" {
		return p.Name
	}
	return string(p.ID)
}
