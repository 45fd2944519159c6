// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"net/netip"
	"slices"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Origins of a frame, in reg0.
const (
	fromPort   = 1
	fromTunnel = 2
)

// tunnelID is a network's id in the tunnel, which classic uses bare; ok is false for what classic does not carry.
func tunnelID(c *compile.Context, id model.NetworkID) (uint64, bool) {
	n, ok := tables.Networks.Get(c, id)
	if !ok {
		return 0, false
	}
	if n.Type != model.VXLAN {
		c.Fault("network type " + string(n.Type) + " is not carried by the classic profile, only vxlan")
		return 0, false
	}
	return uint64(n.SegmentationID), n.AdminStateUp
}

func localPort(c *compile.Context) {
	p, ok := tables.Ports.Get(c, model.PortID(c.Subject))
	if !ok {
		return
	}
	in := ofport(c, p.ID)
	vni, ok := tunnelID(c, p.Network)
	if in == 0 || !ok {
		return
	}
	c.Flow(entry(pipeline.Classifier, pipeline.PrioPort,
		flow.M(flow.InPort(in), flow.EthSrc(p.MAC)),
		flow.Do(flow.SetTunID(vni), flow.LoadReg(0, fromPort), to(pipeline.Responder))))
	c.Flow(entry(pipeline.Classifier, pipeline.PrioPortDrop, flow.M(flow.InPort(in)), flow.Do()))
	if string(p.Host) != c.Node { // its active host is another: it sends from here, and receives there
		return
	}
	c.Flow(entry(pipeline.L2Forward, pipeline.PrioUnicast,
		flow.M(flow.TunID(vni), flow.EthDst(p.MAC)), flow.Do(flow.Output(in))))
}

// remoteHalf is what all other nodes need to know of a port, compiled once.
type remoteHalf struct {
	Host model.NodeID
	VTEP netip.Addr
	VNI  uint64
	MAC  model.MAC
}

func declareRemoteHalf(b *compile.Rulebook) *compile.Query[remoteHalf] {
	return compile.DeclareQuery(b, "remote-half", func(r store.Reader, key string) (h remoteHalf) {
		p, ok := tables.Ports.Get(r, model.PortID(key))
		if !ok {
			return h
		}
		net, ok := tables.Networks.Get(r, p.Network)
		if !ok || net.Type != model.VXLAN || !net.AdminStateUp {
			return h
		}
		host, ok := tables.Nodes.Get(r, p.Host)
		if !ok || !host.LocalIP.IsValid() {
			return h
		}
		return remoteHalf{p.Host, host.LocalIP, uint64(net.SegmentationID), p.MAC}
	})
}

func remotePort(half *compile.Query[remoteHalf]) func(*compile.Context) {
	return func(c *compile.Context) {
		h := compile.Ask(c, half, c.Subject)
		if h.Host == "" || string(h.Host) == c.Node {
			return
		}
		if out := tunnelNumber(c, model.NodeID(c.Node), h.VTEP); out != 0 {
			c.Flow(entry(pipeline.L2Forward, pipeline.PrioUnicast,
				flow.M(flow.TunID(h.VNI), flow.EthDst(h.MAC)), flow.Do(flow.Output(out))))
		}
	}
}

func tunnelEntry(tunnels *compile.Query[numberList]) func(*compile.Context) {
	return func(c *compile.Context) {
		vni, ok := tunnelID(c, model.NetworkID(c.Subject))
		if !ok {
			return
		}
		for _, in := range compile.Ask(c, tunnels, c.Node).all() {
			c.Flow(entry(pipeline.Classifier, pipeline.PrioTunnel,
				flow.M(flow.TunID(vni), flow.InPort(in)),
				flow.Do(flow.LoadReg(0, fromTunnel), to(pipeline.Responder))))
		}
	}
}

func flood(tunnels *compile.Query[numberList]) func(*compile.Context) {
	groupBit := model.MAC{0x01}
	return func(c *compile.Context) {
		net := model.NetworkID(c.Subject)
		vni, ok := tunnelID(c, net)
		if !ok {
			return
		}
		var local []uint32
		for id := range tables.NetworkPorts.Members(c, tables.NetNode(net, model.NodeID(c.Node))) {
			if p := ofport(c, model.PortID(id)); p != 0 {
				local = append(local, p)
			}
		}
		if len(local) == 0 {
			return
		}
		slices.Sort(local)
		everywhere := append(slices.Clone(local), compile.Ask(c, tunnels, c.Node).all()...)
		slices.Sort(everywhere)
		multicast := flow.EthDstMasked(groupBit, groupBit)
		c.Flow(entry(pipeline.L2Forward, pipeline.PrioFloodTunnel,
			flow.M(flow.Reg(0, fromTunnel), flow.TunID(vni), multicast), flow.Do(flow.Output(local...))))
		c.Flow(entry(pipeline.L2Forward, pipeline.PrioFloodLocal,
			flow.M(flow.Reg(0, fromPort), flow.TunID(vni), multicast), flow.Do(flow.Output(everywhere...))))
		c.Flow(entry(pipeline.L2Forward, pipeline.PrioUnknown, flow.M(flow.TunID(vni)), flow.Do()))
	}
}
