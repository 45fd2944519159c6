// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// declareDHCP declares who answers the DHCP requests of instances and returns what the root asks for. A DHCP port that is on a
// node answers by itself. For one that is on no node the controller does, if it may.
func declareDHCP(b *compile.Rulebook, o Options) func(*compile.Context) {
	reply := b.Add(compile.Rule{Name: "acl/dhcp-reply", Kind: "network", Run: networkDHCPReply,
		Doc: "answers of a network's DHCP servers reach its instances without a rule"})
	if !o.NativeDHCP {
		tap := b.Add(compile.Rule{Name: "dhcp/tap", Kind: "port", Run: dhcpTap,
			Doc: "the interface of a DHCP port that lives on this node"})
		return func(c *compile.Context) {
			c.Each(tables.NodeNetworks, c.Node, reply)
			c.Each(tables.DHCPTaps, c.Node, tap)
		}
	}
	native := compile.DeclareQuery(b, "native-dhcp", func(r store.Reader, network string) (ours bool) {
		for p := range tables.DHCPPortsByNetwork.By(r, network) {
			if p.Host != "" { // one that is on a node answers for all
				return false
			}
			ours = ours || len(p.FixedIPs) > 0
		}
		return ours
	})
	punt := b.Add(compile.Rule{Name: "dhcp/punt", Kind: "port", Run: dhcpPunt(native, o.PuntRate),
		Doc: "the controller answers the port's DHCP requests, so many a second"})
	return func(c *compile.Context) {
		c.Each(tables.NodeNetworks, c.Node, reply)
		c.Each(tables.LocalPorts, c.Node, punt)
	}
}

// networkDHCPReply lets the answers of a network's DHCP ports in. They belong to no connection, since the request was a
// broadcast.
func networkDHCPReply(c *compile.Context) {
	net, ok := tables.Networks.Get(c, model.NetworkID(c.Subject))
	if !ok {
		return
	}
	tun, ok := logicalNetwork(&net)
	if !ok {
		return
	}
	pass := flow.Do(to(pipeline.IngressACL.Next()))
	for p := range tables.DHCPPortsByNetwork.By(c, c.Subject) {
		if p.Host == "" {
			continue
		}
		for i, m := range []flow.Match{
			flow.M(flow.UDP(), flow.TunID(tun), flow.EthSrc(p.MAC), flow.TPSrc(67), flow.TPDst(68)),
			flow.M(flow.UDP6(), flow.TunID(tun), flow.EthSrc(p.MAC), flow.TPSrc(547), flow.TPDst(546)),
		} {
			c.Flow(owned(pipeline.KindPort, p.Key, uint8(10+i), pipeline.Flow(pipeline.IngressACL, pipeline.PrioDHCPReply, m, pass)),
				compile.Because{Kind: "port", ID: string(p.ID)})
		}
	}
}

// dhcpPunt hands a port's DHCP requests to the controller, through a meter of the port's own: who floods starves itself alone.
func dhcpPunt(native *compile.Query[bool], rate uint32) func(*compile.Context) {
	return func(c *compile.Context) {
		l, ok := localOf(c, model.PortID(c.Subject))
		if !ok || l.IsDHCP() || !compile.Ask(c, native, string(l.Network)) {
			return
		}
		meter := l.Slot.Meter(model.PuntDHCP)
		c.Meter(flow.Meter{ID: meter, Packets: true, Rate: rate, Burst: rate})
		c.Flow(owned(pipeline.KindPort, l.Key, 10, pipeline.Flow(pipeline.Responder, pipeline.PrioDHCPPunt,
			flow.M(flow.UDP(), flow.Reg(pipeline.RegOrigin, pipeline.FromPort), flow.Reg(pipeline.RegSrcPort, uint32(l.Key)), flow.TPSrc(68), flow.TPDst(67)),
			flow.Do(flow.Punt(pipeline.Userdata(pipeline.PuntDHCP), meter)))))
	}
}
