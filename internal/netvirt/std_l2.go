// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"strings"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// layer2 is what the rules of layer 2 share: the options, the queries and the rules that ask for each other.
type layer2 struct {
	Options
	halves     *compile.Query[half]     // port -> what all nodes need to know of it
	deliveries *compile.Query[delivery] // port -> how its own node hands it a frame
	vteps      *compile.Query[vtep]     // node -> its tunnel address
	outs       *compile.Query[uint32]   // outKey -> number of that tunnel port
	patches    *compile.Query[patch]    // patchKey -> the way to a physical network
	sites      *compile.Query[site]     // NetNode -> where a node is on a network with several segments

	port, network, member, way, pair, local, flood, peer, tunnel, provider, uplink, server, tags compile.RuleID
}

// Which of its table's flows a flow of layer 2 is, for its cookie.
const (
	// Table 0.
	l2Own uint8 = iota + 1
	l2Pair
	l2PortDrop
	l2Tunnel
	l2TunnelDrop
	l2Provider
	l2ProviderDrop
	l2LLDP
	l2Stranger

	// Tables 20 and 22.
	l2ARP         uint8 = 1
	l2ARPExempt   uint8 = 2
	l2ND          uint8 = 3
	l2NDExempt    uint8 = 4
	l2Server      uint8 = 5
	l2Destination uint8 = 1 // table 80

	// Table 110.
	l2Local       uint8 = 1
	l2Split       uint8 = 2
	l2Unicast     uint8 = 3
	l2FloodTunnel uint8 = 4
	l2FloodWire   uint8 = 5
	l2FloodLocal  uint8 = 6
	l2Unknown     uint8 = 7
	l2PairLocal   uint8 = 8
	l2PairTunnel  uint8 = 9
	l2PairWire    uint8 = 10

	l2UnicastRouted uint8 = 11
)

// lldpRate is how many LLDP frames per second a node may send to the controller; neighbours send one in 30 s.
const lldpRate = 100

// declareStandardL2 declares the rules of layer 2 and returns what the root asks for.
func declareStandardL2(b *compile.Rulebook, o Options) func(*compile.Context) {
	return newLayer2(b, o).root
}

// newLayer2 declares the rules of layer 2.
func newLayer2(b *compile.Rulebook, o Options) *layer2 {
	l := &layer2{Options: o}
	l.halves = compile.DeclareQuery(b, "l2/half", halfOf)
	l.deliveries = compile.DeclareQuery(b, "l2/delivery", deliveryOf)
	l.vteps = compile.DeclareQuery(b, "l2/vtep", vtepOf)
	l.outs = compile.DeclareQuery(b, "l2/out", l.outOf)
	l.patches = compile.DeclareQuery(b, "l2/patch", patchOf)
	l.sites = compile.DeclareQuery(b, "l2/site", siteOf)
	l.port = b.Add(compile.Rule{Name: "l2/port", Kind: "port", Run: l.localPort,
		Doc: "a plugged port: admitted untagged and with its own addresses only, and reached by its key"})
	l.network = b.Add(compile.Rule{Name: "l2/network", Kind: "network", Run: l.presentNetwork,
		Doc: "a network that is present here: its floods, its unknown unicast, its way to the wire"})
	l.member = b.Add(compile.Rule{Name: "l2/member", Kind: "port", Run: l.networkMember,
		Doc: "a port of a network that is present here, wherever it is: answers for its addresses"})
	l.way = b.Add(compile.Rule{Name: "l2/way", Kind: "port", Run: l.wayTo,
		Doc: "the way to a port of another node, on a network that is present here or reached through a router"})
	l.pair = b.Add(compile.Rule{Name: "l2/pair-mac", Kind: "network", Run: l.pairMAC,
		Doc: "a MAC address of allowed address pairs: frames to it reach the ports that may have it"})
	l.local = b.Add(compile.Rule{Name: "l2/local-group", Kind: "network", Run: l.localGroup,
		Doc: "the group that gives each local port of a network a copy, past the port's own ACL"})
	l.flood = b.Add(compile.Rule{Name: "l2/flood-group", Kind: "network", Run: l.floodGroup,
		Doc: "the group that gives a copy to the local ports, to each peer and to the wire"})
	l.peer = b.Add(compile.Rule{Name: "l2/peer", Kind: "network", Run: l.networkPeer,
		Doc: "frames of a network enter from the tunnels of the nodes that share it or route into it"})
	l.tunnel = b.Add(compile.Rule{Name: "l2/tunnel", Kind: "node", Run: l.tunnelPort,
		Doc: "a tunnel port, as long as a network is shared with its other end"})
	l.provider = b.Add(compile.Rule{Name: "l2/provider", Kind: "node", Run: l.providerPatch,
		Doc: "the pair of patch ports to the bridge of a physical network"})
	l.uplink = b.Add(compile.Rule{Name: "l2/uplink", Kind: "network", Run: l.fromWire,
		Doc: "frames of a network enter from the wire of its physical network"})
	l.server = b.Add(compile.Rule{Name: "l2/dhcp-server", Kind: "port", Run: l.dhcpServer,
		Doc: "answers ARP for a DHCP server that is on no node, since the controller is it"})
	l.declareTrunk(b)
	return l
}

// root is what a node has whatever is on it.
func (l *layer2) root(c *compile.Context) {
	c.Meter(flow.Meter{ID: model.LLDPMeter, Packets: true, Rate: lldpRate})
	// A port that we know nothing of, a left-over tunnel above all, must not get a frame with a network's tun_id in.
	c.Flow(owned(pipeline.KindBridge, 0, l2Stranger, entry(pipeline.Classifier, pipeline.PrioPortDrop, flow.M(), flow.Do())))
	// Duplicate address detection (RFC 4862 section 5.4) asks whether anybody else has the address: not us.
	c.Flow(owned(pipeline.KindBridge, 0, l2NDExempt, entry(pipeline.Responder, pipeline.PrioResponderExempt,
		flow.M(append(solicitation(fromLocal), flow.IPSrc(unspecified6))...), flow.Do(to(pipeline.Responder.Next())))))
	c.Flow(owned(pipeline.KindBridge, 0, l2Split, entry(pipeline.L2Forward, pipeline.PrioSplit,
		flow.M(flow.Reg(pipeline.RegOrigin, pipeline.FromTunnel), flow.RegMasked(pipeline.RegFlags, 0, pipeline.FlagRouted),
			flow.EthDstMasked([6]byte{}, [6]byte{1})), flow.Do())))
	c.Each(tables.LocalPorts, c.Node, l.port)
	c.Each(tables.NodeNetworks, c.Node, l.network)
}

// present is a network with what its flows need of it. Of one with several segments, type, physical network and segmentation id
// are those of the segment that the node is on.
type present struct {
	model.Network
	Tag    uint64            // in tun_id on a node
	Tunnel model.NetworkType // by which it goes between nodes that share no wire; "": by none
	Wire   uint64            // in that tunnel's header
	Site   site              // the node's, of a network with several segments
}

// site is the segment by which a node is on a network with several, counted from 1 in their order; 0: it reaches none of their
// physical networks. Nodes with the same are joined by a wire.
type site int

func (s site) joins(other site) bool { return s != 0 && s == other }

func siteOn(n *model.Network, mappings map[string]string) site {
	if i, ok := n.Reach(mappings); ok {
		return site(i + 1)
	}
	return 0
}

// siteOf reads where a node is on a network with several segments. Its key is a NetNode.
func siteOf(r store.Reader, key string) site {
	net, node, _ := strings.Cut(key, "|")
	n, _ := tables.Networks.Get(r, model.NetworkID(net))
	host, _ := tables.Nodes.Get(r, model.NodeID(node))
	return siteOn(&n, host.Mappings)
}

// networkOf reads a network; ok is false while there is none to carry.
func networkOf(c *compile.Context, id model.NetworkID) (p present, ok bool) {
	if p.Network, ok = tables.Networks.Get(c, id); !ok || !p.AdminStateUp {
		return p, false
	}
	p.Tag, ok = logicalNetwork(&p.Network)
	if len(p.Segments) == 0 {
		if p.Type.Tunnelled() {
			p.Tunnel, p.Wire = p.Type, uint64(p.SegmentationID)
		}
		return p, ok
	}
	own := p.Wires()[0]
	if through, any := p.Network.Tunnel(); any {
		own, p.Tunnel, p.Wire = through, through.Type, uint64(through.SegmentationID)
	}
	node, _ := tables.Nodes.Get(c, model.NodeID(c.Node))
	if p.Site = siteOn(&p.Network, node.Mappings); p.Site != 0 {
		own = p.Segments[p.Site-1]
	}
	p.Type, p.PhysicalNetwork, p.SegmentationID = own.Type, own.PhysicalNetwork, own.SegmentationID
	return p, ok
}

// tunnelled reports whether the network goes through tunnels to some nodes.
func (p *present) tunnelled() bool { return p.Tunnel != "" }

// mixed reports whether the node has the network on a wire, and others have it through tunnels.
func (p *present) mixed() bool { return p.Site != 0 && p.tunnelled() }

// physical reports whether the network's frames travel on a physical network.
func (p *present) physical() bool { return p.Type == model.VLAN || p.Type == model.Flat }
