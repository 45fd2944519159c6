// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"math/rand/v2"
	"net"
	"net/netip"
)

const byMAC = "table 0 admits the port's own MAC only"

// greet is a datagram to an open port of the victim, with any source.
func greet(src net.HardwareAddr, from netip.Addr, to *guest, t token) []byte {
	if from.Is4() {
		return frame(to.mac, src, etherIP4, udp4(from, to.ip, 4998, openPort, []byte(t)))
	}
	return frame(to.mac, src, etherIP6, udp6(from, to.ip6, 4998, openPort, []byte(t)))
}

// greetAll is the same to everybody.
func greetAll(src net.HardwareAddr, from netip.Addr, t token) []byte {
	return frame(broadcast, src, etherIP4, udp4(from, netip.MustParseAddr("255.255.255.255"), 4998, openPort, []byte(t)))
}

// own is a frame that the attacker may send: the control of whatever differs in the source only.
func own(c *cast, to *guest, t token) [][]byte {
	return [][]byte{greet(c.mallory.mac, c.mallory.ip, to, t), greet(c.mallory.mac, c.mallory.ip6, to, t)}
}

// macAttacks are SA-01: a frame from another MAC than the port's.
func macAttacks() []attack {
	from := func(what string, src func(c *cast, to *guest) []net.HardwareAddr) attack {
		return attack{id: "SA-01", what: what, stopped: byMAC, legal: own, frames: func(c *cast, to *guest, t token) (out [][]byte) {
			for _, m := range src(c, to) {
				out = append(out, greet(m, c.mallory.ip, to, t), greet(m, c.mallory.ip6, to, t), greetAll(m, c.mallory.ip, t),
					frame(to.mac, m, marker, []byte(t)), frame(broadcast, m, etherARP, arp(1, m, c.mallory.ip, noMAC, to.ip, []byte(t))))
			}
			return out
		}}
	}
	return []attack{
		from("source MAC of nobody", func(*cast, *guest) []net.HardwareAddr { return []net.HardwareAddr{hwaddr("fa:16:3e:00:00:01")} }),
		from("source MAC of the victim itself", func(_ *cast, to *guest) []net.HardwareAddr { return []net.HardwareAddr{to.mac} }),
		from("source MAC of another victim", func(c *cast, to *guest) []net.HardwareAddr { return []net.HardwareAddr{c.other(to).mac} }),
		from("source MAC is broadcast or multicast or zero", func(*cast, *guest) []net.HardwareAddr {
			return []net.HardwareAddr{broadcast, hwaddr("01:00:5e:00:00:01"), hwaddr("33:33:00:00:00:01"), noMAC}
		}),
		from("source MAC is the own one but for a bit", func(c *cast, _ *guest) (out []net.HardwareAddr) {
			for i := range 48 {
				m := bytes.Clone(c.mallory.mac)
				m[i/8] ^= 1 << (i % 8)
				out = append(out, m)
			}
			return out
		}),
		from("flapping over 64 MACs, victims' among them", func(c *cast, to *guest) []net.HardwareAddr {
			out := []net.HardwareAddr{c.alice.mac, c.bob.mac}
			rng := rand.New(rand.NewPCG(1, 2))
			for len(out) < 64 {
				out = append(out, net.HardwareAddr{0xfa, 0x16, 0x3e, byte(rng.IntN(256)), byte(rng.IntN(256)), byte(rng.IntN(256))})
			}
			return out
		}),
	}
}

// addressAttacks are SA-02: the own MAC, and a source address that is not the port's; and copies behind VLAN tags.
func addressAttacks() []attack {
	from := func(what string, src func(c *cast, to *guest) []netip.Addr) attack {
		return attack{id: "SA-02", what: what, legal: own, frames: func(c *cast, to *guest, t token) (out [][]byte) {
			for _, a := range src(c, to) {
				out = append(out, greet(c.mallory.mac, a, to, t))
				if a.Is4() {
					out = append(out, greetAll(c.mallory.mac, a, t))
				}
			}
			return out
		}}
	}
	list := func(texts ...string) func(*cast, *guest) []netip.Addr {
		var out []netip.Addr
		for _, s := range texts {
			out = append(out, netip.MustParseAddr(s))
		}
		return func(*cast, *guest) []netip.Addr { return out }
	}
	behind := func(what string, tags [][2]int, src func(*cast, *guest) netip.Addr) attack {
		return attack{id: "SA-02", what: what, legal: own, frames: func(c *cast, to *guest, t token) [][]byte {
			a, six := src(c, to), c.mallory.ip6
			return [][]byte{
				tagged(to.mac, c.mallory.mac, tags, etherIP4, udp4(a, to.ip, 4998, openPort, []byte(t))),
				tagged(broadcast, c.mallory.mac, tags, etherIP4, udp4(a, netip.MustParseAddr("255.255.255.255"), 4998, openPort, []byte(t))),
				tagged(to.mac, c.mallory.mac, tags, etherIP6, udp6(six, to.ip6, 4998, openPort, []byte(t))),
				tagged(broadcast, c.mallory.mac, tags, etherARP, arp(1, c.mallory.mac, a, noMAC, to.ip, []byte(t))),
			}
		}}
	}
	victim := func(c *cast, to *guest) netip.Addr { return c.other(to).ip }
	me := func(c *cast, _ *guest) netip.Addr { return c.mallory.ip }
	return []attack{
		from("IPv4 source of another victim", func(c *cast, to *guest) []netip.Addr { return []netip.Addr{c.other(to).ip} }),
		from("IPv4 source of the victim itself", func(_ *cast, to *guest) []netip.Addr { return []netip.Addr{to.ip} }),
		from("IPv4 source of nobody, near and far", list("10.11.12.99", "10.11.12.1", "10.11.13.10", "8.8.8.8", "192.168.0.10")),
		from("IPv4 source 0.0.0.0, loopback, multicast, broadcast", list("0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "10.11.12.255")),
		from("IPv6 source of another victim", func(c *cast, to *guest) []netip.Addr { return []netip.Addr{c.other(to).ip6, c.other(to).ll} }),
		from("IPv6 source of nobody, near and far", list("fd00:11::99", "fd00:12::10", "2001:db8::1", "fe80::1")),
		from("IPv6 source ::, loopback, multicast, mapped", list("::1", "ff02::1")),
		{id: "SA-02", what: "IPv6 source :: with a datagram", frames: func(c *cast, to *guest, t token) [][]byte {
			return [][]byte{frame(to.mac, c.mallory.mac, etherIP6, udp6(anyIP6, to.ip6, 4998, openPort, []byte(t)))}
		}},
		{id: "SA-02", what: "IPv4 source 0.0.0.0 from port 68 to others than DHCP servers", frames: func(c *cast, to *guest, t token) [][]byte {
			return [][]byte{frame(to.mac, c.mallory.mac, etherIP4, udp4(anyIP4, to.ip, 68, openPort, []byte(t)))}
		}},
		behind("VLAN-tagged copy with another's source", [][2]int{{etherVLAN, 0x064}}, victim),
		behind("VLAN-tagged copy with the own source", [][2]int{{etherVLAN, 0x064}}, me),
		behind("priority-tagged copy with another's source", [][2]int{{etherVLAN, 0xe000}}, victim),
		behind("priority-tagged copy with the own source", [][2]int{{etherVLAN, 0xe000}}, me),
		behind("QinQ copy with another's source", [][2]int{{etherQinQ, 0x064}, {etherVLAN, 0x065}}, victim),
		behind("QinQ copy with the own source", [][2]int{{etherQinQ, 0x064}, {etherVLAN, 0x065}}, me),
		behind("two 802.1Q tags with another's source", [][2]int{{etherVLAN, 0x064}, {etherVLAN, 0x065}}, victim),
	}
}

// arpAttacks are SA-03: what poisons the neighbours' caches.
func arpAttacks() []attack {
	one := func(what string, f func(c *cast, to *guest, t token) [][]byte) attack {
		return attack{id: "SA-03", what: what, frames: f, legal: func(c *cast, to *guest, t token) [][]byte {
			// What it may say: it has its own address, and asks nobody's in particular.
			return [][]byte{frame(to.mac, c.mallory.mac, etherARP, arp(2, c.mallory.mac, c.mallory.ip, to.mac, to.ip, []byte(t)))}
		}}
	}
	both := func(c *cast, to *guest, body []byte) [][]byte {
		return [][]byte{frame(to.mac, c.mallory.mac, etherARP, body), frame(broadcast, c.mallory.mac, etherARP, body)}
	}
	return []attack{
		one("reply that claims another victim's address", func(c *cast, to *guest, t token) [][]byte {
			return both(c, to, arp(2, c.mallory.mac, c.other(to).ip, to.mac, to.ip, []byte(t)))
		}),
		one("reply that claims the gateway's address", func(c *cast, to *guest, t token) [][]byte {
			return both(c, to, arp(2, c.mallory.mac, c.gateway, to.mac, to.ip, []byte(t)))
		}),
		one("request from another victim's address", func(c *cast, to *guest, t token) [][]byte {
			return both(c, to, arp(1, c.mallory.mac, c.other(to).ip, noMAC, netip.MustParseAddr("10.11.12.77"), []byte(t)))
		}),
		one("request from the gateway's address, for the victim", func(c *cast, to *guest, t token) [][]byte {
			return both(c, to, arp(1, c.mallory.mac, c.gateway, noMAC, to.ip, []byte(t)))
		}),
		one("gratuitous, of the gateway and another victim", func(c *cast, to *guest, t token) (out [][]byte) {
			for _, a := range []netip.Addr{c.gateway, c.other(to).ip, to.ip} {
				out = append(out, both(c, to, arp(1, c.mallory.mac, a, noMAC, a, []byte(t)))...)
				out = append(out, both(c, to, arp(2, c.mallory.mac, a, broadcast, a, []byte(t)))...)
			}
			return out
		}),
		one("sender's MAC is not the frame's: another victim's", func(c *cast, to *guest, t token) (out [][]byte) {
			o := c.other(to)
			for _, spa := range []netip.Addr{c.mallory.ip, o.ip} {
				out = append(out, both(c, to, arp(2, o.mac, spa, to.mac, to.ip, []byte(t)))...)
				out = append(out, both(c, to, arp(1, o.mac, spa, noMAC, netip.MustParseAddr("10.11.12.77"), []byte(t)))...)
			}
			return out
		}),
		one("sender's MAC is broadcast, multicast, zero", func(c *cast, to *guest, t token) (out [][]byte) {
			for _, m := range []net.HardwareAddr{broadcast, noMAC, hwaddr("01:00:5e:00:00:01")} {
				out = append(out, both(c, to, arp(2, m, c.mallory.ip, to.mac, to.ip, []byte(t)))...)
			}
			return out
		}),
		one("denial of a probe for the victim's address", func(c *cast, to *guest, t token) (out [][]byte) {
			out = both(c, to, arp(2, c.mallory.mac, to.ip, to.mac, anyIP4, []byte(t)))
			return append(out, both(c, to, arp(2, c.mallory.mac, to.ip, to.mac, to.ip, []byte(t)))...)
		}),
		one("reply from 0.0.0.0", func(c *cast, to *guest, t token) [][]byte {
			return both(c, to, arp(2, c.mallory.mac, netip.MustParseAddr("10.11.13.1"), to.mac, to.ip, []byte(t)))
		}),
		one("reverse ARP and odd operations from another's address", func(c *cast, to *guest, t token) (out [][]byte) {
			for _, op := range []int{3, 4, 8, 9, 255, 256, 513} {
				body := arp(op, c.mallory.mac, c.other(to).ip, to.mac, to.ip, []byte(t))
				out = append(out, both(c, to, body)...)
				out = append(out, frame(broadcast, c.mallory.mac, etherRARP, body))
			}
			return out
		}),
		one("other hardware, protocol and lengths, another's address", func(c *cast, to *guest, t token) (out [][]byte) {
			for at, v := range map[int]byte{1: 6, 3: 1, 4: 8, 5: 16} {
				body := arp(2, c.mallory.mac, c.other(to).ip, to.mac, to.ip, []byte(t))
				body[at] = v
				out = append(out, both(c, to, body)...)
			}
			return out
		}),
	}
}

// ndAttacks are SA-04: the same with IPv6.
func ndAttacks() []attack {
	advert := func(c *cast, to *guest, src, target netip.Addr, tll net.HardwareAddr, t token) [][]byte {
		body := func(dst netip.Addr) []byte {
			m := icmp6(src, dst, 136, 0, []byte{0x20, 0, 0, 0}, target.AsSlice(), llOption(2, tll), tokenOption([]byte(t)))
			return ip6(src, dst, protoICMP6, m)
		}
		return [][]byte{
			frame(to.mac, c.mallory.mac, etherIP6, body(to.ip6)),
			frame(multicast6(allNodes), c.mallory.mac, etherIP6, body(allNodes)),
		}
	}
	solicit := func(c *cast, to *guest, src, target netip.Addr, sll net.HardwareAddr, t token) [][]byte {
		options := tokenOption([]byte(t))
		if sll != nil {
			options = append(llOption(1, sll), options...)
		}
		body := func(dst netip.Addr) []byte {
			return ip6(src, dst, protoICMP6, icmp6(src, dst, 135, 0, make([]byte, 4), target.AsSlice(), options))
		}
		t16 := target.As16()
		node := netip.AddrFrom16([16]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff, 13: t16[13], 14: t16[14], 15: t16[15]})
		return [][]byte{
			frame(to.mac, c.mallory.mac, etherIP6, body(to.ip6)),
			frame(multicast6(node), c.mallory.mac, etherIP6, body(node)),
			frame(multicast6(allNodes), c.mallory.mac, etherIP6, body(allNodes)),
		}
	}
	one := func(what string, f func(c *cast, to *guest, t token) [][]byte) attack {
		return attack{id: "SA-04", what: what, frames: f, legal: func(c *cast, to *guest, t token) [][]byte {
			return advert(c, to, c.mallory.ip6, c.mallory.ip6, c.mallory.mac, t)
		}}
	}
	// A target that no responder answers for, so that what is legal of the solicitation would arrive.
	nobody := netip.MustParseAddr("fd00:11::77")
	return []attack{
		one("advertisement of another victim's address", func(c *cast, to *guest, t token) [][]byte {
			return append(advert(c, to, c.mallory.ip6, c.other(to).ip6, c.mallory.mac, t), advert(c, to, c.mallory.ll, c.other(to).ll, c.mallory.mac, t)...)
		}),
		one("advertisement of the gateway's address", func(c *cast, to *guest, t token) [][]byte {
			return advert(c, to, c.mallory.ll, netip.MustParseAddr("fd00:11::1"), c.mallory.mac, t)
		}),
		one("advertisement from another victim's address", func(c *cast, to *guest, t token) [][]byte {
			return append(advert(c, to, c.other(to).ip6, c.mallory.ip6, c.mallory.mac, t), advert(c, to, c.other(to).ip6, c.other(to).ip6, c.mallory.mac, t)...)
		}),
		one("advertisement of the own address at another's MAC", func(c *cast, to *guest, t token) [][]byte {
			return advert(c, to, c.mallory.ip6, c.mallory.ip6, c.other(to).mac, t)
		}),
		one("denial of duplicate address detection by advertisement", func(c *cast, to *guest, t token) [][]byte {
			return append(advert(c, to, c.mallory.ip6, to.ip6, c.mallory.mac, t), advert(c, to, c.mallory.ll, to.ll, c.mallory.mac, t)...)
		}),
		one("denial of duplicate address detection by probe", func(c *cast, to *guest, t token) [][]byte {
			return append(solicit(c, to, anyIP6, to.ip6, nil, t), solicit(c, to, anyIP6, to.ll, nil, t)...)
		}),
		one("solicitation from another victim's address", func(c *cast, to *guest, t token) [][]byte {
			return append(solicit(c, to, c.other(to).ip6, nobody, c.mallory.mac, t), solicit(c, to, c.other(to).ll, nobody, c.mallory.mac, t)...)
		}),
		one("solicitation with another's MAC in its option", func(c *cast, to *guest, t token) [][]byte {
			return solicit(c, to, c.mallory.ip6, nobody, c.other(to).mac, t)
		}),
		one("redirect from the gateway's address", func(c *cast, to *guest, t token) [][]byte {
			router := netip.MustParseAddr("fe80::1")
			m := icmp6(router, to.ip6, 137, 0, make([]byte, 4), c.mallory.ll.AsSlice(), c.other(to).ip6.AsSlice(), llOption(2, c.mallory.mac), tokenOption([]byte(t)))
			return [][]byte{frame(to.mac, c.mallory.mac, etherIP6, ip6(router, to.ip6, protoICMP6, m))}
		}),
		one("solicitation for a router with another's address or MAC", func(c *cast, to *guest, t token) (out [][]byte) {
			for src, sll := range map[netip.Addr]net.HardwareAddr{c.other(to).ll: c.mallory.mac, c.mallory.ll: c.other(to).mac} {
				m := icmp6(src, allRouters, 133, 0, make([]byte, 4), llOption(1, sll), tokenOption([]byte(t)))
				out = append(out, frame(multicast6(allRouters), c.mallory.mac, etherIP6, ip6(src, allRouters, protoICMP6, m)),
					frame(to.mac, c.mallory.mac, etherIP6, ip6(src, allRouters, protoICMP6, m)))
			}
			return out
		}),
	}
}
