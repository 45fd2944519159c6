// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"fmt"
	"strings"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// The two ends of the patch to a physical network: on br-int, and on the bridge that the node maps it to.
func patchName(physnet string) string    { return "patch-" + physnet }
func physicalName(physnet string) string { return "phy-" + physnet }

// patchKey is the key of layer2.patches and the subject of l2/provider.
func patchKey(node, physnet string) string { return node + "|" + physnet }

// patch is a node's way to a physical network.
type patch struct {
	Bridge string // that the node maps it to; "": none
	Port   uint32 // number on br-int; 0: none yet
}

func patchOf(r store.Reader, key string) patch {
	node, physnet, _ := strings.Cut(key, "|")
	n, _ := tables.Nodes.Get(r, model.NodeID(node))
	p := patch{Bridge: n.Mappings[physnet]}
	if p.Bridge != "" && p.Bridge != Bridge {
		i, _ := tables.Interfaces.Get(r, model.InterfaceKey(n.ID, patchName(physnet)))
		p.Port = i.OFPort
	}
	return p
}

// unmapped says why a physical network cannot be reached by a patch; "" if it can.
func (p patch) unmapped(physnet string) string {
	switch p.Bridge {
	case "":
		return fmt.Sprintf("physical network %q has no bridge on this node: add %s:BRIDGE to other_config:provider_mappings of its Open_vSwitch table", physnet, physnet)
	case Bridge:
		return fmt.Sprintf("physical network %q is mapped to %s itself: name the bridge of the physical interface in other_config:provider_mappings", physnet, Bridge)
	}
	return ""
}

// wire asks for the patch to the network's physical network.
func (l *layer2) wire(c *compile.Context, n *present) patch {
	key := patchKey(c.Node, n.PhysicalNetwork)
	c.Need(l.provider, key)
	return compile.Ask(c, l.patches, key)
}

// vlan matches the network's frames on the wire.
func (p *present) vlan() flow.Term {
	if p.Type == model.VLAN {
		return flow.VLANVID(uint16(p.SegmentationID))
	}
	return flow.NoVLAN()
}

// enter takes a frame from the wire; its tag stays there.
func (p *present) enter() []flow.Act {
	acts := []flow.Act{flow.SetTunID(p.Tag), flow.LoadReg(pipeline.RegOrigin, pipeline.FromProvider), to(pipeline.Responder)}
	if p.Type == model.VLAN {
		return append([]flow.Act{flow.PopVLAN()}, acts...)
	}
	return acts
}

// leave sends a frame to the wire.
func (p *present) leave(port uint32) []flow.Act {
	if p.Type == model.VLAN {
		return []flow.Act{flow.PushVLAN(), flow.SetVLANVID(uint16(p.SegmentationID)), flow.Output(port)}
	}
	return []flow.Act{flow.Output(port)}
}

// fromWire lets the frames of a network in from the wire.
func (l *layer2) fromWire(c *compile.Context) {
	n, ok := networkOf(c, model.NetworkID(c.Subject))
	if !ok || !n.physical() {
		return
	}
	if w := l.wire(c, &n); w.Port != 0 {
		c.Flow(owned(pipeline.KindNetwork, n.Key, l2Provider, entry(pipeline.Classifier, pipeline.PrioProvider,
			flow.M(flow.InPort(w.Port), n.vlan()), flow.Do(n.enter()...))))
	}
}

// providerPatch emits both ends of the patch to a physical network. Its subject is a patchKey of this node.
func (l *layer2) providerPatch(c *compile.Context) {
	_, physnet, _ := strings.Cut(c.Subject, "|")
	p := compile.Ask(c, l.patches, c.Subject)
	if p.unmapped(physnet) != "" {
		return // its networks say so
	}
	c.Row(compile.Row{Bridge: Bridge, Name: patchName(physnet), Type: "patch", Options: compile.Pairs("peer", physicalName(physnet))})
	c.Row(compile.Row{Bridge: p.Bridge, Name: physicalName(physnet), Type: "patch", Options: compile.Pairs("peer", patchName(physnet))})
	if p.Port != 0 {
		guardPort(c, p.Port, l2ProviderDrop)
	}
}
