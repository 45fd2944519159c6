// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/tables"
)

// Bridge is the integration bridge that we program on every node.
const Bridge = "br-int"

// Classic is the rulebook of the classic profile: the eleven tables of the recorded scenario, flow for flow. It is no
// security boundary: tables 40 and 90 let pass what no flow drops.
func Classic() *compile.Rulebook {
	b := &compile.Rulebook{}
	peers, numbers := declarePeers(b), declareTunnelNumbers(b)
	tunnel := b.Add(compile.Rule{Name: "tunnel/port", Kind: "node", Run: tunnelPort,
		Doc: "a VXLAN port towards each peer, once any port of a tunnelled network is plugged anywhere"})
	tunnels := b.Add(compile.Rule{Name: "tunnel/mesh", Kind: "node", Run: mesh(peers, tunnel),
		Doc: "full mesh: asks for a tunnel port per peer"})
	port := b.Add(compile.Rule{Name: "l2/port", Kind: "port", Run: localPort,
		Doc: "a plugged port: admitted with its own MAC only, and reached by it"})
	remote := b.Add(compile.Rule{Name: "l2/remote-port", Kind: "port", Run: remotePort(declareRemoteHalf(b)),
		Doc: "the way to a port of another node, through its tunnel"})
	entry := b.Add(compile.Rule{Name: "l2/tunnel-entry", Kind: "network", Run: tunnelEntry(numbers),
		Doc: "frames of a network that is present here enter from every tunnel"})
	flood := b.Add(compile.Rule{Name: "l2/flood", Kind: "network", Run: flood(numbers),
		Doc: "broadcast and multicast to the network's ports here and, from here, into every tunnel; the rest is dropped"})
	acl := b.Add(compile.Rule{Name: "acl/port", Kind: "port", Run: classicACL,
		Doc: "stateless permits of the port's groups, address check, DHCP server guard"})
	reply := b.Add(compile.Rule{Name: "acl/dhcp-reply", Kind: "subnet", Run: dhcpReply,
		Doc: "answers of the subnet's DHCP server reach the instances of this node"})
	tap := b.Add(compile.Rule{Name: "dhcp/tap", Kind: "port", Run: dhcpTap,
		Doc: "the interface of a DHCP port that lives on this node"})

	operator := declareOperator(b)

	b.Root(compile.Rule{Name: "bridge", Kind: "node", Doc: "the spine: LLDP to the controller, each table to the next, drop at the end",
		Run: func(c *compile.Context) {
			for _, f := range pipeline.Spine(pipeline.Classic) {
				c.Flow(f)
			}
			c.Need(tunnels, c.Node)
			c.Each(tables.DHCPTaps, c.Node, tap)
			c.Each(tables.LocalPorts, c.Node, port)
			c.Each(tables.LocalPorts, c.Node, acl)
			c.Each(tables.NodeNetworks, c.Node, entry)
			c.Each(tables.NodeNetworks, c.Node, flood)
			c.Each(tables.ComputeSubnets, c.Node, reply)
			c.Each(tables.TunnelledPorts, tables.All, remote)
			operator(c)
		}})
	return b
}

// ofport is the OpenFlow port number of a port on the context's node; 0 while it has none.
func ofport(c *compile.Context, id model.PortID) uint32 {
	i, _ := tables.InterfacesByIface.First(c, model.PlugKey(model.NodeID(c.Node), id))
	return i.OFPort
}

// entry is a flow of a declared table. Classic leaves cookies at 0.
func entry(t pipeline.TableID, priority uint16, m flow.Match, a flow.Actions) flow.Flow {
	return flow.Flow{Table: uint8(t), Priority: priority, Match: m, Actions: a}
}

// to goes on in a table.
func to(t pipeline.TableID) flow.Act { return flow.Goto(uint8(t)) }
