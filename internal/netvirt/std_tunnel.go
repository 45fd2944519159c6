// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"fmt"
	"net/netip"
	"strings"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// byFlow stands for the remote end of a tunnel port whose flows choose it.
const byFlow = "flow"

// tunnelName is the name of the OVSDB port of a type of tunnel towards an address, or byFlow.
func tunnelName(t model.NetworkType, remote string) string { return string(t) + "-" + remote }

// vtep is a node as the other end of a tunnel.
type vtep struct {
	IP  netip.Addr
	Key model.Key
}

func vtepOf(r store.Reader, node string) vtep {
	n, _ := tables.Nodes.Get(r, model.NodeID(node))
	return vtep{n.LocalIP, n.Key}
}

// outKey is the key of layer2.outs and the subject of l2/tunnel: which node, by which type of tunnel, to where.
func (l *layer2) outKey(node string, t model.NetworkType, to netip.Addr) string {
	return node + "|" + string(t) + "|" + l.remote(to)
}

// outOf is the number of the tunnel port of an outKey; 0 while there is none.
func (l *layer2) outOf(r store.Reader, key string) uint32 {
	w := strings.SplitN(key, "|", 3)
	own, _ := tables.Nodes.Get(r, model.NodeID(w[0]))
	if !own.LocalIP.IsValid() {
		return 0
	}
	i, _ := tables.Interfaces.Get(r, model.InterfaceKey(own.ID, tunnelName(model.NetworkType(w[1]), w[2])))
	return i.OFPort
}

// remote is the remote end of the port that leads to an address.
func (l *layer2) remote(a netip.Addr) string {
	if l.FlowTunnels {
		return byFlow
	}
	return a.String()
}

// unreachable says why no tunnel leads from a node's address to another; "" if one can.
func (l *layer2) unreachable(own, remote netip.Addr) string {
	switch {
	case own == remote:
		return fmt.Sprintf("another node has this node's tunnel address %s: give each its own in other_config:local_ip", own)
	case own.Is4() != remote.Is4():
		return fmt.Sprintf("no tunnel leads from %s to %s: give all nodes tunnel addresses of one IP version", own, remote)
	case l.FlowTunnels && !own.Is4():
		return fmt.Sprintf("tunnel address %s: one tunnel port for all peers needs IPv4 addresses", own)
	}
	return ""
}

// into gives the actions that send a frame to the node of h, and the number of the port; 0 if no tunnel leads there.
func (l *layer2) into(c *compile.Context, h *half) (out uint32, acts []flow.Act) {
	if !h.VTEP.IsValid() || !h.Type.Tunnelled() {
		return 0, nil
	}
	if out = compile.Ask(c, l.outs, l.outKey(c.Node, h.Type, h.VTEP)); out == 0 {
		return 0, nil
	}
	if h.Type != model.VXLAN || h.Net != "" { // else its number and its tag are one
		acts = append(acts, flow.SetTunID(h.Wire))
	}
	if l.FlowTunnels {
		acts = append(acts, flow.SetTunDst(h.VTEP))
	}
	return out, append(acts, flow.Output(out))
}

// join asks for a tunnel to a node and gives its number; 0 while there is none.
func (l *layer2) join(c *compile.Context, t model.NetworkType, node string) (v vtep, in uint32) {
	v = compile.Ask(c, l.vteps, node)
	if !v.IP.IsValid() {
		return v, 0 // its own rules say so
	}
	if own := compile.Ask(c, l.vteps, c.Node).IP; own.IsValid() {
		if why := l.unreachable(own, v.IP); why != "" {
			c.Fault(why)
			return v, 0
		}
	}
	key := l.outKey(c.Node, t, v.IP)
	c.Need(l.tunnel, key)
	return v, compile.Ask(c, l.outs, key)
}

// networkPeer lets frames of a network in from a node that shares it or routes into it. Its subject is a NetNode.
func (l *layer2) networkPeer(c *compile.Context) {
	net, node, _ := strings.Cut(c.Subject, "|")
	n, ok := networkOf(c, model.NetworkID(net))
	if !ok || node == c.Node {
		return
	}
	if n.Site != 0 && n.Site.joins(compile.Ask(c, l.sites, c.Subject)) {
		return // its frames come by the wire
	}
	v, in := l.join(c, n.Tunnel, node)
	if in == 0 {
		return
	}
	match := []flow.Term{flow.TunID(n.Wire), flow.InPort(in)}
	if l.FlowTunnels {
		match = append(match, flow.TunSrc(v.IP))
	}
	var acts []flow.Act
	if n.Tag != n.Wire {
		acts = append(acts, flow.SetTunID(n.Tag))
	}
	acts = append(acts, flow.LoadReg(pipeline.RegOrigin, pipeline.FromTunnel), to(pipeline.Responder))
	c.Flow(owned(pipeline.KindPeer, v.Key, l2Tunnel, entry(pipeline.Classifier, pipeline.PrioTunnel, flow.M(match...), flow.Do(acts...))))
}

// tunnelPort emits a tunnel's OVSDB port and what is true of all its frames. Its subject is an outKey of this node.
func (l *layer2) tunnelPort(c *compile.Context) {
	w := strings.SplitN(c.Subject, "|", 3)
	own := compile.Ask(c, l.vteps, c.Node).IP
	if !own.IsValid() {
		c.Fault("the node has no tunnel address: set other_config:local_ip in its Open_vSwitch table")
		return
	}
	c.Row(compile.Row{Bridge: Bridge, Name: tunnelName(model.NetworkType(w[1]), w[2]), Type: w[1],
		Options: compile.Pairs("key", "flow", "local_ip", own.String(), "remote_ip", w[2])})
	if in := compile.Ask(c, l.outs, c.Subject); in != 0 {
		guardPort(c, in, l2TunnelDrop)
	}
}

// guardPort emits what is true of a port that leads to other machines: LLDP goes to the controller, by a meter that all of the
// node's share, and what no network takes is dropped.
func guardPort(c *compile.Context, in uint32, drop uint8) {
	c.Flow(owned(pipeline.KindBridge, 0, l2LLDP, entry(pipeline.Classifier, pipeline.PrioLLDPPort,
		flow.M(flow.InPort(in), flow.EthType(flow.EthLLDP)), flow.Do(flow.Punt(nil, model.LLDPMeter)))))
	c.Flow(owned(pipeline.KindBridge, 0, drop, entry(pipeline.Classifier, pipeline.PrioPortDrop, flow.M(flow.InPort(in)), flow.Do())))
}
