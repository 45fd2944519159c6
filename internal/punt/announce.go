// SPDX-License-Identifier: Apache-2.0

package punt

import (
	"net/netip"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Announce makes the frames by which the hosts of an external network, and the switches on the way, learn that an address is on a
// node: a floating IP's or, by its port, those of a router's gateway. Hosts differ in whether they heed a request or a reply for
// which they did not ask (RFC 5227 section 3), so there are both. None if the node does not serve it, or has no way there.
func Announce(r store.Reader, node model.NodeID, id model.PortID) (frames []Frame) {
	if f, ok := tables.FloatingIPs.Get(r, model.FloatingIPID(id)); ok {
		p, ok := tables.Ports.Get(r, f.FloatPort)
		at, served := tables.Serving(r, &f)
		if l, way := linkOf(r, node, f.Network); ok && served && way && at == node && f.Addr.Is4() {
			frames = l.announce(frames, speaker{f.Addr, p.MAC})
		}
		return frames
	}
	p, ok := tables.Ports.Get(r, id)
	if !ok || p.DeviceOwner != model.OwnerRouterGateway || !p.AdminStateUp {
		return nil
	}
	g, ok := tables.Gateways.Get(r, p.Router)
	l, way := linkOf(r, node, p.Network)
	if !ok || !way || g.Node != node {
		return nil
	}
	for _, f := range p.FixedIPs {
		frames = l.announce(frames, speaker{f.Addr, p.MAC})
	}
	// The gateway node has the router's addresses on physical networks of tenants, too.
	for rif := range tables.RouterPorts.By(r, string(p.Router)) {
		if !rif.IsRouterInterface() || !rif.AdminStateUp {
			continue
		}
		if l, ok := wireOf(r, node, rif.Network); ok {
			for _, f := range rif.FixedIPs {
				frames = l.announce(frames, speaker{f.Addr, rif.MAC})
			}
		}
	}
	return frames
}

func (l *link) announce(frames []Frame, s speaker) []Frame {
	if s.addr.Is4() {
		for op := byte(1); op <= 2; op++ {
			frames = append(frames, l.frame(appendARP(l.header(broadcast, s.mac, etherARP), op, s, model.MAC{}, s.addr)))
		}
		return frames
	}
	// RFC 4861 section 7.2.6: unsolicited, from a router, overriding.
	msg := append([]byte{136, 0, 0, 0, 0xa0, 0, 0, 0}, s.addr.AsSlice()...)
	msg = append(append(msg, 2, 1), s.mac[:]...)
	all := netip.IPv6LinkLocalAllNodes()
	return append(frames, l.frame(appendND(l.header(model.MAC{0x33, 0x33, 0, 0, 0, 1}, s.mac, etherIPv6), s.addr, all, msg)))
}
