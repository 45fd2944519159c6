// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/pipeline"
	"nagare/internal/tables"
)

// Which of its table's flows a flow of a trunk is, for its cookie.
const (
	trunkReturn uint8 = iota + 1
	trunkOwn
	trunkTagged
)

// declareTrunk declares what a node with sub-ports has. Sub-ports are ports like any others: their own flows see to it that
// they have their own networks, addresses and groups, and only how frames come in and go out by the parent's interface is
// particular to them.
func (l *layer2) declareTrunk(b *compile.Rulebook) {
	l.tags = b.Add(compile.Rule{Name: "trunk/tags", Kind: "node", Run: noSecondTag,
		Doc: "a frame has one tag at most: what is tagged still, once its sub-port's tag is off, is from nobody and for nobody"})
}

// tagged are the matches of a frame that has a tag: the one that the switch shows, or further ones, which it takes for a
// packet of another type unless it is told to look deeper (Open_vSwitch other_config:vlan-limit).
func tagged() []flow.Term {
	return []flow.Term{flow.AnyVLAN(), flow.EthType(0x8100), flow.EthType(0x88a8)}
}

// noSecondTag keeps frames with two tags out of networks and from instances. With one taken off by a trunk, the other would be
// a tag on a physical network or, where the receiver is a trunk's parent, that of another network.
func noSecondTag(c *compile.Context) {
	for _, tag := range tagged() {
		c.Flow(owned(pipeline.KindTrunk, 0, trunkTagged, pipeline.Flow(pipeline.Responder, pipeline.PrioTwoTags, flow.M(tag, fromLocal), flow.Do())))
		c.Flow(owned(pipeline.KindTrunk, 0, trunkTagged, pipeline.Flow(pipeline.IngressACL, pipeline.PrioTwoTags, flow.M(tag), flow.Do())))
	}
}

// entrance is how a port's frames are known at its interface, and what is done first with them.
func (l *local) entrance() (prio uint16, tag flow.Term, acts []flow.Act) {
	if l.IsSubPort() {
		return pipeline.PrioTrunk, flow.VLANVID(l.VLAN), []flow.Act{flow.PopVLAN()}
	}
	return pipeline.PrioPort, flow.NoVLAN(), nil
}

// exit gives the actions that put a frame out by the port's interface, and emits what else a trunk needs for that. By one
// interface come and go the frames of many ports, of which one may be for another; but a port's own copy of its broadcast
// must not come back to it.
func (l *layer2) exit(c *compile.Context, p *local) []flow.Act {
	out := []flow.Act{flow.NoInPort(), flow.Output(p.In)}
	if !p.IsSubPort() {
		if _, parent := tables.SubPortsByParent.First(c, string(p.ID)); !parent {
			return []flow.Act{flow.Output(p.In)}
		}
	} else {
		c.Need(l.tags, c.Node)
		tag := []flow.Act{flow.PushVLAN(), flow.SetVLANVID(p.VLAN)}
		out = append(tag, out...)
		c.Flow(owned(pipeline.KindTrunk, p.Key, trunkReturn, pipeline.Flow(pipeline.ReturnToSender, pipeline.PrioSubPort,
			flow.M(flow.Reg(pipeline.RegSrcPort, uint32(p.Key))), flow.Do(append(tag[:2:2], flow.InPortAct())...))))
	}
	c.Flow(owned(pipeline.KindTrunk, p.Key, trunkOwn, pipeline.Flow(pipeline.L2Forward, pipeline.PrioOwnCopy,
		flow.M(fromLocal, flow.Reg(pipeline.RegSrcPort, uint32(p.Key)), flow.Reg(pipeline.RegDstPort, uint32(p.Key))), flow.Do())))
	return out
}
