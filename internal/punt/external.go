// SPDX-License-Identifier: Apache-2.0

package punt

import (
	"encoding/binary"
	"net/netip"

	"nagare/internal/model"
	"nagare/internal/netvirt"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Frame is a frame that the controller sends, with the tag that the wire wants, and the OpenFlow port of br-int that it leaves by.
type Frame struct {
	Port uint32
	Data []byte
}

// link is how a node reaches an external network on which it speaks.
type link struct {
	net  model.NetworkID
	port uint32 // of br-int
	vid  uint16 // of its frames on the wire; 0: no tag
}

// linkOf finds the way onto a network; ok is false if the node does not speak there, or cannot at present.
func linkOf(r store.Reader, node model.NodeID, id model.NetworkID) (l link, ok bool) {
	if !tables.NodeExternals.Has(r, string(node), string(id)) {
		return l, false
	}
	return wireOf(r, node, id)
}

// wireOf finds the way onto a physical network, whatever the node does there.
func wireOf(r store.Reader, node model.NodeID, id model.NetworkID) (l link, ok bool) {
	n, ok := tables.Networks.Get(r, id)
	if !ok || !n.AdminStateUp {
		return l, false
	}
	l = link{net: id, port: netvirt.Uplink(r, node, n.PhysicalNetwork)}
	if n.Type == model.VLAN {
		l.vid = uint16(n.SegmentationID)
	}
	return l, l.port != 0 && (n.Type == model.VLAN || n.Type == model.Flat)
}

// linkByTag finds the external network that a packet is on, of those on which its node speaks.
func linkByTag(r store.Reader, node model.NodeID, tag uint64) (l link, ok bool) {
	for id := range tables.NodeExternals.Members(r, string(node)) {
		n, _ := tables.Networks.Get(r, model.NetworkID(id))
		if t, carried := netvirt.LogicalNetwork(&n); carried && t == tag {
			return linkOf(r, node, n.ID)
		}
	}
	return l, false
}

// header begins a frame for the wire.
func (l *link) header(dst, src model.MAC, kind uint16) []byte {
	b := append(append(make([]byte, 0, 128), dst[:]...), src[:]...)
	if l.vid != 0 {
		b = binary.BigEndian.AppendUint16(b, etherVLAN)
		b = binary.BigEndian.AppendUint16(b, l.vid)
	}
	return binary.BigEndian.AppendUint16(b, kind)
}

// frame pads to Ethernet's minimum.
func (l *link) frame(b []byte) Frame {
	for len(b) < minFrame {
		b = append(b, 0)
	}
	return Frame{l.port, b}
}

const minFrame = 60 // without the check sequence

// speaker is an address by which a node speaks on an external network, and its MAC address.
type speaker struct {
	addr netip.Addr
	mac  model.MAC
}

// speakerOf finds one of a family: of a gateway if the node has one on the network, else of a floating IP.
func speakerOf(r store.Reader, node model.NodeID, id model.NetworkID, v4 bool) (s speaker, ok bool) {
	for router := range tables.NodeGateways.Members(r, string(node)) {
		if p, ok := gatewayPort(r, model.RouterID(router)); ok && p.Network == id {
			for _, f := range p.FixedIPs {
				if f.Addr.Is4() == v4 {
					return speaker{f.Addr, p.MAC}, true
				}
			}
		}
	}
	if !v4 {
		return s, false
	}
	for name := range tables.NodeFloating.Members(r, string(node)) {
		f, _ := tables.FloatingIPs.Get(r, model.FloatingIPID(name))
		if p, ok := tables.Ports.Get(r, f.FloatPort); ok && f.Network == id && f.Addr.Is4() {
			return speaker{f.Addr, p.MAC}, true
		}
	}
	return s, false
}

// gatewayPort is a router's, if both are up.
func gatewayPort(r store.Reader, id model.RouterID) (model.Port, bool) {
	rt, ok := tables.Routers.Get(r, id)
	if !ok || !rt.AdminStateUp {
		return model.Port{}, false
	}
	p, ok := tables.Ports.Get(r, rt.GatewayPort)
	return p, ok && p.AdminStateUp
}

// ours reports whether an address on an external network is a gateway's or a floating IP's, wherever that is.
func ours(r store.Reader, id model.NetworkID, a netip.Addr) bool {
	p, ok := tables.PortsByAddress.First(r, tables.AddressKey(id, a))
	return ok && (p.IsRouterPort() || p.DeviceOwner == model.OwnerFloatingIP)
}
