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

// Options are what an operator settles for the standard profile.
type Options struct {
	// NativeDHCP has the controller answer DHCP for networks whose DHCP port is on no node; without it DHCP ports are
	// interfaces of network nodes.
	NativeDHCP bool
	// FlowTunnels makes one tunnel port for each type of tunnel on a node, with the remote end chosen by the flow, in place of
	// one for each peer.
	FlowTunnels bool
	// PuntRate is how many packets per second a port may send to the controller, of each kind.
	PuntRate uint32
	// LogLimit bounds what security logs cost; zero: DefaultLogLimit.
	LogLimit LogLimit
}

// DefaultPuntRate is far above what a client needs and far below what the controller bears.
const DefaultPuntRate = 20

// Standard is the rulebook of the standard profile: an instance sends only as itself and receives only what its groups allow,
// and a node holds only what its own ports need.
func Standard(o Options) *compile.Rulebook {
	if o.PuntRate == 0 {
		o.PuntRate = DefaultPuntRate
	}
	b := &compile.Rulebook{Merge: mergeClauses}
	operator := declareOperator(b)
	l2 := newLayer2(b, o)
	l3 := declareStandardL3(b, l2)
	acl := declareStandardACL(b, o)
	locals := declareLocalIPs(b)
	b.Root(compile.Rule{Name: "bridge", Kind: "node", Doc: "the spine: each table to the next, drop at the end",
		Run: func(c *compile.Context) {
			for _, f := range pipeline.Spine(pipeline.Standard) {
				c.Flow(f)
			}
			for _, f := range pipeline.SubTables() {
				c.Flow(f)
			}
			operator(c)
			l2.root(c)
			l3(c)
			acl(c)
			locals(c)
		}})
	return b
}

// owned gives a flow its cookie: whose it is, and which of its table's flows.
func owned(kind pipeline.CookieKind, key model.Key, n uint8, f flow.Flow) flow.Flow {
	f.Cookie = pipeline.Cookie{Kind: kind, Template: pipeline.Template(pipeline.TableID(f.Table), n), Key: uint32(key)}.Pack()
	return f
}

// local is what the rules for a port of this node have in common.
type local struct {
	model.Port
	In   uint32 // OpenFlow port number
	Net  uint64 // the logical network, as in tun_id
	On   model.Network
	Slot model.Slot // the port's place on this node
	Away bool       // another node is its active host: it sends from here, and what is for it goes there
}

// localOf reads a port that is located on the context's node. ok is false as long as anything is missing that its flows need;
// then it has none, and passes nothing.
func localOf(c *compile.Context, id model.PortID) (l local, ok bool) {
	if l.Port, ok = tables.Ports.Get(c, id); !ok {
		return l, false
	}
	if l.In = ofport(c, l.Carrier()); l.In == 0 {
		return l, false
	}
	l.Away = string(l.Host) != c.Node
	if l.On, ok = tables.Networks.Get(c, l.Network); !ok || !l.On.AdminStateUp {
		return l, false
	}
	if l.Net, ok = logicalNetwork(&l.On); !ok {
		return l, false
	}
	l.Slot, ok = tables.SlotsByPort.First(c, model.PlugKey(model.NodeID(c.Node), id))
	return l, ok
}

// stateless reports whether no connections are tracked for a filtered port: it has groups, and all are stateless. Who asks
// depends on the port's groups. A group that is missing counts as stateful, which is the stricter.
func stateless(r store.Reader, p *model.PortPlane) bool {
	for _, id := range p.SecurityGroups {
		if g, ok := tables.SecurityGroups.Get(r, id); !ok || g.Stateful {
			return false
		}
	}
	return p.IsFiltered() && len(p.SecurityGroups) > 0
}

// logicalNetwork is a network's number in tun_id, unlike any other's on every node (decision 19).
func logicalNetwork(n *model.Network) (uint64, bool) {
	switch n.Type {
	case model.VXLAN:
		return uint64(n.SegmentationID), true
	case model.VLAN: // no wire carries the number of these, so the network's own key will do
		return pipeline.Tag(pipeline.TagVLAN, uint64(n.Key)), true
	case model.Flat:
		return pipeline.Tag(pipeline.TagFlat, uint64(n.Key)), true
	case model.GRE:
		return pipeline.Tag(pipeline.TagGRE, uint64(n.SegmentationID)), true
	case model.Geneve:
		return pipeline.Tag(pipeline.TagGeneve, uint64(n.SegmentationID)), true
	case model.Local:
		return pipeline.Tag(pipeline.TagLocal, uint64(n.Key)), true
	}
	return 0, false
}
