// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
)

// routerAttacks are SA-05: an instance that announces itself as router, in every disguise (RFC 7113).
func routerAttacks() []attack {
	// message is the advertisement; its sources are the attacker's own, so that nothing but the guard is in its way.
	message := func(c *cast, dst netip.Addr, t token) []byte {
		prefix := slices.Concat([]byte{3, 4, 64, 0xc0, 0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0, 0, 0}, netip.MustParseAddr("2001:db8:bad::").AsSlice())
		return icmp6(c.mallory.ll, dst, 134, 0, []byte{64, 0, 0xff, 0xff}, make([]byte, 8), prefix, llOption(1, c.mallory.mac), tokenOption([]byte(t)))
	}
	one := func(what string, wrap func(message []byte) (packets [][]byte, next byte)) attack {
		return attack{id: "SA-05", what: what, frames: func(c *cast, to *guest, t token) (out [][]byte) {
			for _, d := range []struct {
				mac net.HardwareAddr
				ip  netip.Addr
			}{{to.mac, to.ip6}, {to.mac, to.ll}, {multicast6(allNodes), allNodes}} {
				packets, next := wrap(message(c, d.ip, t))
				for _, p := range packets {
					out = append(out, frame(d.mac, c.mallory.mac, etherIP6, ip6(c.mallory.ll, d.ip, next, p)))
				}
			}
			return out
		}, legal: func(c *cast, to *guest, t token) [][]byte {
			m := icmp6(c.mallory.ll, to.ip6, 128, 0, make([]byte, 4), []byte(t))
			return [][]byte{frame(to.mac, c.mallory.mac, etherIP6, ip6(c.mallory.ll, to.ip6, protoICMP6, m))}
		}}
	}
	whole := func(b []byte, next byte) ([][]byte, byte) { return [][]byte{b}, next }
	return []attack{
		one("router advertisement", func(m []byte) ([][]byte, byte) { return whole(m, protoICMP6) }),
		one("advertisement behind a hop-by-hop header", func(m []byte) ([][]byte, byte) { return whole(ext6(protoICMP6, m), protoHopByHop) }),
		one("advertisement behind destination options", func(m []byte) ([][]byte, byte) { return whole(ext6(protoICMP6, m), protoDstOpts) }),
		one("advertisement behind a routing header", func(m []byte) ([][]byte, byte) {
			return whole(append([]byte{protoICMP6, 0, 4, 0, 0, 0, 0, 0}, m...), protoRouting)
		}),
		one("advertisement behind a chain of six headers", func(m []byte) ([][]byte, byte) {
			return whole(ext6(protoDstOpts, ext6(protoDstOpts, ext6(protoDstOpts, ext6(protoDstOpts, ext6(protoICMP6, m))))), protoHopByHop)
		}),
		one("advertisement in an atomic fragment", func(m []byte) ([][]byte, byte) { return whole(frag6(protoICMP6, 0, false, 7, m), protoFragment) }),
		one("advertisement cut in two after its header", func(m []byte) ([][]byte, byte) {
			// the token is in the last option, so in the second part
			return [][]byte{frag6(protoICMP6, 0, true, 8, m[:16]), frag6(protoICMP6, 16, false, 8, m[16:])}, protoFragment
		}),
		one("advertisement cut in its first eight octets' wake, options first", func(m []byte) ([][]byte, byte) {
			chain := ext6(protoICMP6, m)
			return [][]byte{frag6(protoDstOpts, 0, true, 9, chain[:8]), frag6(protoDstOpts, 8, false, 9, chain[8:])}, protoFragment
		}),
		one("advertisement in fragments, last one first", func(m []byte) ([][]byte, byte) {
			chain := ext6(protoDstOpts, ext6(protoICMP6, m))
			return [][]byte{frag6(protoDstOpts, 16, false, 10, chain[16:]), frag6(protoDstOpts, 0, true, 10, chain[:16])}, protoFragment
		}),
		one("advertisement with code 1", func(m []byte) ([][]byte, byte) {
			m = bytes.Clone(m)
			m[1] = 1 // the checksum is off by 1 in its low octet then
			if m[3]--; m[3] == 0xff {
				m[2]--
			}
			return whole(m, protoICMP6)
		}),
	}
}

// dhcpAttacks are SA-06 as far as it is about other instances: an instance that serves addresses.
func dhcpAttacks() []attack {
	const guarded = "61011 drops UDP from port 67 to port 68 of every port"
	vendor := func(t token) []byte { return append([]byte{60, byte(len(t))}, t...) }
	offer := func(c *cast, to *guest, kind byte, t token) []byte {
		return dhcp(2, kind, 7, to.mac, netip.Addr{}, append([]byte{54, 4}, c.mallory.ip.AsSlice()...), append([]byte{3, 4}, c.mallory.ip.AsSlice()...), vendor(t))
	}
	everybody := netip.MustParseAddr("255.255.255.255")
	serves := func(c *cast, to *guest, t token) (out [][]byte) {
		for _, kind := range []byte{dhcpOffer, dhcpAck} {
			for _, src := range []netip.Addr{c.mallory.ip, netip.MustParseAddr("10.11.12.2")} {
				out = append(out, frame(to.mac, c.mallory.mac, etherIP4, udp4(src, to.ip, 67, 68, offer(c, to, kind, t))),
					frame(broadcast, c.mallory.mac, etherIP4, udp4(src, everybody, 67, 68, offer(c, to, kind, t))))
			}
		}
		return out
	}
	return []attack{
		{id: "SA-06", what: "DHCP server's offer and acknowledgement", stopped: guarded, frames: serves, legal: own},
		{id: "SA-06", what: "DHCP server's answer with IP options", stopped: guarded, legal: own, frames: func(c *cast, to *guest, t token) [][]byte {
			p := ip4{src: c.mallory.ip, dst: everybody, proto: protoUDP, options: []byte{1, 1, 1, 0}, payload: udp(c.mallory.ip, everybody, 67, 68, offer(c, to, dhcpOffer, t))}
			return [][]byte{frame(broadcast, c.mallory.mac, etherIP4, p.bytes())}
		}},
		{id: "SA-06", what: "DHCP server's answer behind a VLAN tag", stopped: guarded, legal: own, frames: func(c *cast, to *guest, t token) [][]byte {
			return [][]byte{tagged(broadcast, c.mallory.mac, [][2]int{{etherVLAN, 0xe000}}, etherIP4, udp4(c.mallory.ip, everybody, 67, 68, offer(c, to, dhcpOffer, t)))}
		}},
		{id: "SA-06", what: "DHCP server's answer in fragments", legal: own, frames: func(c *cast, to *guest, t token) [][]byte {
			whole := udp(c.mallory.ip, to.ip, 67, 68, offer(c, to, dhcpOffer, t))
			first := ip4{src: c.mallory.ip, dst: to.ip, proto: protoUDP, id: 11, frag: moreFragments, payload: whole[:64]}
			second := ip4{src: c.mallory.ip, dst: to.ip, proto: protoUDP, id: 11, frag: 8, payload: whole[64:]}
			return [][]byte{frame(to.mac, c.mallory.mac, etherIP4, first.bytes()), frame(to.mac, c.mallory.mac, etherIP4, second.bytes())}
		}},
		{id: "SA-06", what: "DHCPv6 server's advertisement and reply", legal: own, frames: func(c *cast, to *guest, t token) (out [][]byte) {
			for _, kind := range []byte{2, 7, 13} { // ADVERTISE, REPLY, RELAY-REPL (RFC 8415, 7.3)
				body := slices.Concat([]byte{kind, 1, 2, 3, 0, 16, 0, 14, 0, 0, 0, 0, 0, 8}, []byte(t))
				out = append(out, frame(to.mac, c.mallory.mac, etherIP6, udp6(c.mallory.ll, to.ll, 547, 546, body)),
					frame(multicast6(allNodes), c.mallory.mac, etherIP6, udp6(c.mallory.ll, allNodes, 547, 546, body)))
			}
			return out
		}},
		{id: "SA-06", what: "DHCPv6 server's reply behind a hop-by-hop header", legal: own, frames: func(c *cast, to *guest, t token) [][]byte {
			u := udp(c.mallory.ll, allNodes, 547, 546, slices.Concat([]byte{7, 1, 2, 3}, []byte(t)))
			return [][]byte{frame(multicast6(allNodes), c.mallory.mac, etherIP6, ip6(c.mallory.ll, allNodes, protoHopByHop, ext6(protoUDP, u)))}
		}},
	}
}

// fragmentAttacks are SA-07: what hides from a filter by how it is cut or measured. Where it is about ports, only openPort
// is open.
func fragmentAttacks() []attack {
	type part struct {
		offset int // octets
		more   bool
		data   []byte
	}
	cut := func(what string, proto byte, parts func(c *cast, to *guest, t token) []part) attack {
		id := 100
		return attack{id: "SA-07", grouped: true, what: what, legal: own, frames: func(c *cast, to *guest, t token) (out [][]byte) {
			id++
			for _, p := range parts(c, to, t) {
				frag := p.offset / 8
				if p.more {
					frag |= moreFragments
				}
				out = append(out, frame(to.mac, c.mallory.mac, etherIP4, ip4{src: c.mallory.ip, dst: to.ip, proto: proto, id: id, frag: frag, payload: p.data}.bytes()))
			}
			return out
		}}
	}
	block := func(t token, n int) []byte { return bytes.Repeat([]byte(t), n) }
	shut := func(c *cast, to *guest, t token) []byte {
		return udp(c.mallory.ip, to.ip, 4998, closedPort, block(t, 6))
	}
	odd := func(what string, f func(p *ip4)) attack {
		return attack{id: "SA-07", grouped: true, what: what, legal: own, frames: func(c *cast, to *guest, t token) [][]byte {
			p := ip4{src: c.mallory.ip, dst: to.ip, proto: protoUDP, payload: shut(c, to, t)}
			f(&p)
			return [][]byte{frame(to.mac, c.mallory.mac, etherIP4, p.bytes())}
		}}
	}
	return []attack{
		{id: "SA-07", grouped: true, what: "whole datagram to a closed port", legal: own, frames: func(c *cast, to *guest, t token) [][]byte {
			return [][]byte{frame(to.mac, c.mallory.mac, etherIP4, udp4(c.mallory.ip, to.ip, 4998, closedPort, []byte(t))),
				frame(to.mac, c.mallory.mac, etherIP6, udp6(c.mallory.ip6, to.ip6, 4998, closedPort, []byte(t)))}
		}},
		cut("non-first fragment alone", protoUDP, func(c *cast, to *guest, t token) []part {
			return []part{{8, true, block(t, 4)}, {40, false, block(t, 2)}}
		}),
		cut("non-first fragment of TCP alone", protoTCP, func(c *cast, to *guest, t token) []part { return []part{{24, false, block(t, 4)}} }),
		cut("datagram to a closed port in two", protoUDP, func(c *cast, to *guest, t token) []part {
			u := shut(c, to, t)
			return []part{{0, true, u[:24]}, {24, false, u[24:]}}
		}),
		cut("ports in the first fragment only, eight octets", protoUDP, func(c *cast, to *guest, t token) []part {
			u := shut(c, to, t)
			return []part{{0, true, u[:8]}, {8, false, u[8:]}}
		}),
		cut("TCP cut in its header, flags in the second", protoTCP, func(c *cast, to *guest, t token) []part {
			u := tcp(c.mallory.ip, to.ip, 4998, closedPort, 1, 0, tcpSYN, block(t, 5))
			return []part{{0, true, u[:8]}, {8, false, u[8:]}}
		}),
		cut("last fragment first", protoUDP, func(c *cast, to *guest, t token) []part {
			u := shut(c, to, t)
			return []part{{24, false, u[24:]}, {0, true, u[:24]}}
		}),
		cut("overlap that writes a closed port over an open one", protoUDP, func(c *cast, to *guest, t token) []part {
			open := udp(c.mallory.ip, to.ip, 4998, openPort, bytes.Repeat([]byte{0}, 48))
			return []part{{0, true, open[:24]}, {0, true, shut(c, to, t)[:24]}, {24, false, shut(c, to, t)[24:]}}
		}),
		cut("overlap inside of the data", protoUDP, func(c *cast, to *guest, t token) []part {
			u := shut(c, to, t)
			return []part{{0, true, u[:32]}, {16, true, block(t, 2)}, {32, false, u[32:]}}
		}),
		cut("fragment beyond 65535 octets", protoUDP, func(c *cast, to *guest, t token) []part { return []part{{65528, false, block(t, 4)}} }),
		odd("IP length beyond the frame", func(p *ip4) { p.length = 1400 }),
		odd("IP length shorter than its header", func(p *ip4) { p.length = 12 }),
		odd("IP length that ends in the UDP header", func(p *ip4) { p.length = 24 }),
		odd("IP header length below five words", func(p *ip4) { p.words = 4 }),
		odd("IP header length beyond the packet", func(p *ip4) { p.words = 15; p.payload = p.payload[:16] }),
		odd("IP version 5", func(p *ip4) { p.words = 0x15 }),
		odd("IP length of the header alone, the rest is padding", func(p *ip4) { p.length = 20 }),
		{id: "SA-07", grouped: true, what: "long padding behind a datagram to a closed port", legal: own, frames: func(c *cast, to *guest, t token) (out [][]byte) {
			for _, pad := range []int{1, 255, 256, 300, 600} {
				p := udp4(c.mallory.ip, to.ip, 4998, closedPort, []byte(t))
				out = append(out, frame(to.mac, c.mallory.mac, etherIP4, append(p, block(t, (pad+7)/8)...)))
			}
			return out
		}},
		{id: "SA-07", grouped: true, what: "IPv6 fragments to a closed port", legal: own, frames: func(c *cast, to *guest, t token) [][]byte {
			u := udp(c.mallory.ip6, to.ip6, 4998, closedPort, block(t, 6))
			return [][]byte{
				frame(to.mac, c.mallory.mac, etherIP6, ip6(c.mallory.ip6, to.ip6, protoFragment, frag6(protoUDP, 0, true, 12, u[:8]))),
				frame(to.mac, c.mallory.mac, etherIP6, ip6(c.mallory.ip6, to.ip6, protoFragment, frag6(protoUDP, 8, false, 12, u[8:]))),
			}
		}},
		{id: "SA-07", grouped: true, what: "IPv6 non-first fragment alone", legal: own, frames: func(c *cast, to *guest, t token) [][]byte {
			return [][]byte{frame(to.mac, c.mallory.mac, etherIP6, ip6(c.mallory.ip6, to.ip6, protoFragment, frag6(protoUDP, 64, false, 13, block(t, 6))))}
		}},
	}
}
