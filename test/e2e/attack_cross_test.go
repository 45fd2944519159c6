// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
)

// crossAttacks are SA-08: into another tenant's network, and out of all networks.
func crossAttacks() []attack {
	const byNetwork = "table 110 delivers inside of the network only"
	stranger := func(c *cast, to *guest) *guest { // who has the victim's addresses elsewhere
		if to.name == c.alice.name {
			return c.eve
		}
		return c.ernie
	}
	// Nodes have one card for all of the underlay.
	underlay := []netip.Addr{netip.MustParseAddr("192.168.0.10"), netip.MustParseAddr("192.168.0.11")}
	return []attack{
		{id: "SA-08", grouped: true, what: "another tenant's MAC and address, guessed", stopped: byNetwork, legal: own, frames: func(c *cast, to *guest, t token) (out [][]byte) {
			e := stranger(c, to)
			if bytes.Equal(e.mac, to.mac) {
				// The victim here has all that the stranger there has: what reaches it must be closed for both.
				return [][]byte{frame(e.mac, c.mallory.mac, etherIP4, udp4(c.mallory.ip, e.ip, 4998, closedPort, []byte(t)))}
			}
			return [][]byte{frame(e.mac, c.mallory.mac, etherIP4, udp4(c.mallory.ip, e.ip, 4998, openPort, []byte(t))),
				frame(e.mac, c.mallory.mac, etherIP6, udp6(c.mallory.ip6, e.ip6, 4998, openPort, []byte(t))),
				frame(e.mac, c.mallory.mac, marker, []byte(t))}
		}},
		{id: "SA-08", grouped: true, what: "the nodes' addresses and MACs", stopped: byNetwork, legal: own, frames: func(c *cast, to *guest, t token) (out [][]byte) {
			for _, a := range underlay {
				for _, m := range append(c.nodeMACs(), broadcastUnknown) {
					for _, port := range []int{4789, 6081, 6640, 6653, 8181, 9696} {
						out = append(out, frame(m, c.mallory.mac, etherIP4, udp4(c.mallory.ip, a, 4998, port, []byte(t))),
							frame(m, c.mallory.mac, etherIP4, ip4{src: c.mallory.ip, dst: a, proto: protoTCP,
								payload: tcp(c.mallory.ip, a, 4998, port, 1, 0, tcpSYN, []byte(t))}.bytes()))
					}
				}
			}
			return out
		}},
		{id: "SA-08", grouped: true, what: "VXLAN in UDP to the tunnel's end, with an inner frame", stopped: byNetwork, legal: own, frames: func(c *cast, to *guest, t token) (out [][]byte) {
			for vni := 1000; vni < 1040; vni += 13 { // the inner frame is for whoever has it
				inner := frame(to.mac, c.other(to).mac, etherIP4, udp4(c.other(to).ip, to.ip, 4998, openPort, []byte(t)))
				vx := slices.Concat([]byte{8, 0, 0, 0}, be32(vni<<8), inner)
				for i, a := range underlay {
					out = append(out, frame(c.nodeMACs()[i], c.mallory.mac, etherIP4, udp4(c.mallory.ip, a, 4998, 4789, vx)))
				}
			}
			return out
		}},
		{id: "SA-08", grouped: true, what: "closed port of a victim, so that nothing is open by network", legal: own, frames: func(c *cast, to *guest, t token) [][]byte {
			return [][]byte{frame(to.mac, c.mallory.mac, etherIP4, udp4(c.mallory.ip, to.ip, 4998, 53, []byte(t))),
				frame(to.mac, c.mallory.mac, etherIP4, ip4{src: c.mallory.ip, dst: to.ip, proto: protoTCP, payload: tcp(c.mallory.ip, to.ip, 4998, 22, 1, 0, tcpSYN, []byte(t))}.bytes()),
				frame(to.mac, c.mallory.mac, etherIP4, ip4{src: c.mallory.ip, dst: to.ip, proto: 47, payload: []byte(t)}.bytes()),
				frame(to.mac, c.mallory.mac, etherIP4, ip4{src: c.mallory.ip, dst: to.ip, proto: protoTCP, payload: tcp(c.mallory.ip, to.ip, openPort, 40000, 1, 1, tcpSYN|tcpACK, []byte(t))}.bytes())}
		}},
	}
}

// broadcastUnknown is a MAC that no port has: unknown unicast.
var broadcastUnknown = net.HardwareAddr{0xfa, 0x16, 0x3e, 0xff, 0xff, 0xfe}

// nodeMACs are those of the two ends of the tunnels.
func (c *cast) nodeMACs() (out []net.HardwareAddr) {
	c.t.Helper()
	if len(c.ends) > 0 {
		return c.ends
	}
	for _, node := range []string{controller, compute} {
		err := within(c.namespace(node), func() error {
			l, err := net.InterfaceByName("br-phy")
			if err == nil {
				out = append(out, l.HardwareAddr)
			}
			return err
		})
		if err != nil {
			c.t.Fatal(err)
		}
	}
	c.ends = out
	return out
}

// protocolAttacks are SA-11: protocols of the network itself, which an instance has no part in.
func protocolAttacks() []attack {
	type proto struct {
		dst  net.HardwareAddr
		kind uint16
		head []byte
	}
	frames := func(what string, stopped string, list ...proto) attack {
		return attack{id: "SA-11", what: what, stopped: stopped, legal: own, frames: func(c *cast, to *guest, t token) (out [][]byte) {
			for _, p := range list {
				for _, dst := range []net.HardwareAddr{p.dst, broadcast, to.mac} {
					out = append(out, frame(dst, c.mallory.mac, p.kind, append(bytes.Clone(p.head), t...)))
				}
			}
			return out
		}}
	}
	datagrams := func(what string, number byte, group string, payload func(src, dst netip.Addr, t token) []byte) attack {
		return attack{id: "SA-11", what: what, grouped: true, legal: own, frames: func(c *cast, to *guest, t token) (out [][]byte) {
			g := netip.MustParseAddr(group)
			b := g.As4()
			m := net.HardwareAddr{1, 0, 0x5e, b[1] & 0x7f, b[2], b[3]}
			out = append(out, frame(m, c.mallory.mac, etherIP4, ip4{src: c.mallory.ip, dst: g, proto: number, payload: payload(c.mallory.ip, g, t)}.bytes()))
			return append(out, frame(to.mac, c.mallory.mac, etherIP4, ip4{src: c.mallory.ip, dst: to.ip, proto: number, payload: payload(c.mallory.ip, to.ip, t)}.bytes()))
		}}
	}
	plain := func(head ...byte) func(src, dst netip.Addr, t token) []byte {
		return func(_, _ netip.Addr, t token) []byte { return append(bytes.Clone(head), t...) }
	}
	lldp := func(a attack) attack { a.punted = true; return a }
	return []attack{
		lldp(frames("LLDP", "table 0 sends LLDP to the controller, not on", proto{hwaddr("01:80:c2:00:00:0e"), etherLLDP, []byte{2, 7, 4, 1, 2, 3, 4, 5, 6, 4, 3, 5, '1', '2', 6, 2, 0, 120, 10, 8}})),
		frames("spanning tree", "", proto{hwaddr("01:80:c2:00:00:00"), 0x26, []byte{0x42, 0x42, 3, 0, 0, 0, 0, 0}}, proto{hwaddr("01:00:0c:cc:cc:cd"), 0x32, []byte{0xaa, 0xaa, 3, 0, 0, 0x0c, 1, 0x0b}}),
		frames("LACP and other slow protocols", "", proto{hwaddr("01:80:c2:00:00:02"), 0x8809, []byte{1, 1, 1, 20}}),
		frames("CFM", "", proto{hwaddr("01:80:c2:00:00:30"), 0x8902, []byte{0x60, 1, 0, 70}}),
		frames("802.1X, MVRP, CDP, pause", "", proto{hwaddr("01:80:c2:00:00:03"), 0x888e, []byte{1, 1, 0, 0}}, proto{hwaddr("01:80:c2:00:00:21"), 0x88f5, []byte{0}},
			proto{hwaddr("01:00:0c:cc:cc:cc"), 0x32, []byte{0xaa, 0xaa, 3, 0, 0, 0x0c, 0x20, 0}}, proto{hwaddr("01:80:c2:00:00:01"), 0x8808, []byte{0, 1, 0xff, 0xff}}),
		frames("MPLS, PPPoE, IPX, loopback, experimental", "", proto{broadcast, 0x8847, []byte{0, 1, 1, 64}}, proto{broadcast, 0x8863, []byte{0x11, 9, 0, 0}},
			proto{broadcast, 0x8137, []byte{0xff, 0xff}}, proto{broadcast, 0x9000, []byte{0, 0}}, proto{broadcast, marker, nil}, proto{broadcast, 0xffff, nil}),
		frames("NSH, TRILL, MACsec, PTP", "", proto{broadcast, 0x894f, []byte{0, 0}}, proto{broadcast, 0x22f3, []byte{0, 0}}, proto{broadcast, 0x88e5, []byte{0, 0}},
			proto{hwaddr("01:1b:19:00:00:00"), 0x88f7, []byte{0, 2}}),
		datagrams("BFD", protoUDP, "224.0.0.184", func(src, dst netip.Addr, t token) []byte {
			return udp(src, dst, 49152, 3784, append([]byte{0x20, 0x40, 3, 24, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0xf, 0x42, 0x40, 0, 0xf, 0x42, 0x40, 0, 0, 0, 0}, t...))
		}),
		datagrams("VRRP", 112, "224.0.0.18", plain(0x21, 1, 255, 1, 0, 1, 0, 0)),
		datagrams("OSPF", 89, "224.0.0.5", plain(2, 1, 0, 44, 10, 11, 12, 10)),
		datagrams("PIM and IGMP query", 103, "224.0.0.13", plain(0x20, 0, 0, 0)),
		datagrams("HSRP and RIP", protoUDP, "224.0.0.2", func(src, dst netip.Addr, t token) []byte { return udp(src, dst, 1985, 1985, []byte(t)) }),
	}
}
