// SPDX-License-Identifier: Apache-2.0

package pipeline

import "nagare/openflow"

// Load balancing, routing, translation on the way out, output.
func declareForward() {
	declare(
		Table{
			ID: LoadBalancer, Name: "load-balancer", Profiles: both,
			Purpose: "Picks a member for a virtual address, and the port of this node that serves a local IP.",
			Match:   join(fIP, fL4, fCT[:1], tunID, reg(0, 1)), Kinds: Goto | Track | ToGroup | Set, Sets: one(openflow.FieldEthDst),
			Next: []TableID{LBMember, LocalNew, Routing}, Miss: missGoto(Routing),
			Prios: []Priority{
				{Value: PrioLocalOwn, Name: "local-own", Profiles: Standard, What: "to a local IP from the port that serves it: to who has the address"},
				{Value: PrioLocalIP, Name: "local-ip", Profiles: Standard, What: "to a local IP from a port of this node, and no answer to who has the address"},
				{Value: PrioLocalReply, Name: "local-reply", Profiles: Standard, What: "from a port that serves a local IP: the tracker knows what is an answer under it"},
				{Value: PrioVIP, Name: "vip", Profiles: Standard, What: "virtual address and port"},
			},
		},
		Table{
			ID: LBMember, Name: "lb-member", Profiles: Standard,
			Purpose: "Replies of members.", Match: join(fIP, fL4, fCT, tunID), Kinds: Goto | Track, Next: []TableID{Routing}, Miss: Miss{Kind: MissNone},
			Prios: []Priority{{Value: PrioVIP, Name: "member", Profiles: Standard, What: "reply of a member"}},
		},
		Table{
			ID: LocalNew, Name: "local-ip-new", Profiles: Standard,
			Purpose: "Translates new connections to local IPs; known ones were translated by ct().",
			Match:   join(fIP, fCT, tunID), Kinds: Goto | Track, Next: []TableID{Routing}, Miss: Miss{Kind: MissNone},
			Prios: []Priority{{Value: PrioLocalIP, Name: "local-ip", Profiles: Standard, What: "a new connection; one that was translated"}},
		},
		Table{
			ID: Routing, Name: "routing", Profiles: both,
			Purpose: "Tells which router, if any, a packet is addressed to (reg3).",
			Match:   join(fL2, fIP, tunID, reg(0, 1, 3, 7)), Kinds: Goto | Set | TTL,
			Sets: join(reg(3, 7), tunID, one(openflow.FieldEthSrc)), Next: []TableID{RouteLookup, L3Forward}, Miss: missGoto(L3Forward),
			Prios: []Priority{
				{Value: PrioPrefix, Name: "classic-route", Profiles: Classic, What: "packet between two subnets of a router"},
				{Value: PrioUnrouted, Name: "unrouted", Profiles: Standard, What: "sent as a local IP by a port that serves it: not routed"},
				{Value: PrioProxied, Name: "proxied", Profiles: Standard, What: "from outside to an address that the router speaks for there"},
				{Value: PrioUnproxied, Name: "unproxied", Profiles: Standard, What: "from outside to another address behind a router that speaks for some: dropped"},
				{Value: PrioFromFloating, Name: "from-floating", Profiles: Standard, What: "the same, from an address that has a floating IP on this node"},
				{Value: PrioRouter, Name: "router", Profiles: Standard, What: "router interface's MAC"},
				{Value: PrioRouteAgain, Name: "route-again", Profiles: Standard, What: "packet that inbound NAT sent to a router"},
			},
		},
		Table{
			ID: RouteLookup, Name: "route-lookup", Profiles: Standard,
			Purpose: "Longest prefix of the router; next hop to reg4 or xxreg2.",
			Match:   join(fIP, fields{openflow.FieldICMPType, openflow.FieldICMPCode, openflow.FieldICMPv6Type, openflow.FieldICMPv6Code, openflow.FieldIPTTL}, tunID, reg(0, 1, 3, 7)),
			Kinds:   Goto | Set | TTL | Punt | ToGroup | Out | CheckSize | Again,
			Sets: join(reg(4, 7, 8, 9, 10, 11, 15), fields{openflow.XXReg(2), openflow.FieldEthSrc, openflow.FieldEthDst, openflow.FieldIPv4Src, openflow.FieldIPv4Dst,
				openflow.FieldIPv6Src, openflow.FieldIPv6Dst, openflow.FieldIPTTL, openflow.FieldICMPType, openflow.FieldICMPCode, openflow.FieldICMPv6Type, openflow.FieldInPort16}, tunID),
			Next: []TableID{PacketSize, L3Forward, L2Rewrite, L2Forward, ReturnToSender}, Back: []TableID{RouteLookup, L3Forward}, Miss: Miss{Kind: MissDrop},
			Prios: []Priority{
				{Value: PrioRouterEcho, Name: "router-echo", Profiles: Standard, What: "the router's own address answers ping"},
				{Value: PrioEchoPassed, Name: "router-echo-passed", Profiles: Standard, What: "the same, of a packet that another router passed on: the answer takes the router's own routes"},
				{Value: PrioTTL, Name: "ttl", Profiles: Standard, What: "time exceeded"},
				{Value: PrioTTLEdge, Name: "ttl-edge", Profiles: Standard, What: "time exceeded of packets that no local port sent"},
				{Value: PrioUnroutable, Name: "unroutable", Profiles: Standard, What: "link-local and multicast addresses"},
				{Value: PrioPrefix, To: PrioPrefix + 4*128 + 3, Name: "prefix", Profiles: Standard, What: "2048 + 4 * length, + 2 if connected, + 1 to look first at the size of packets from a network of larger ones"},
			},
		},
		Table{
			ID: PacketSize, Name: "packet-size", Profiles: Standard,
			Purpose: "Packets larger than the MTU of the network ahead go to the controller, which tells the sender; others go back to where their size was looked at.",
			Match:   join(fIP[:2], reg(0, 1, 7)), Kinds: Set | Punt | Again, Sets: reg(7), Back: []TableID{InboundNAT, RouteLookup}, Miss: Miss{Kind: MissDrop},
			Prios: []Priority{
				{Value: PrioTooLarge, Name: "too-large", Profiles: Standard, What: "a local port's packet is too large"},
				{Value: PrioTooLargeEdge, Name: "too-large-edge", Profiles: Standard, What: "a packet from outside is too large"},
				{Value: PrioFits, Name: "fits", Profiles: Standard, What: "it is not: on with translation or routing"},
			},
		},
		Table{
			ID: L3Forward, Name: "l3-forward", Profiles: both,
			Purpose: "Next hop to MAC address, or to the routes of the router that it is.",
			Match:   join(fIP, fields{openflow.FieldICMPType, openflow.FieldICMPCode}, tunID, reg(1, 4, 7, 8, 9, 10, 11)), Kinds: Goto | Set | Punt | Out | Again,
			Sets: join(reg(3, 7), fields{openflow.FieldEthDst, openflow.FieldEthSrc, openflow.FieldIPv4Src, openflow.FieldIPv4Dst, openflow.FieldICMPType}),
			Next: []TableID{L2Rewrite}, Back: []TableID{RouteLookup}, Miss: missGoto(L2Rewrite),
			Prios: []Priority{
				{Value: PrioPrefix, To: PrioPrefix + 1, Name: "classic-echo", Profiles: Classic, What: "the router's own address answers ping"},
				{Value: PrioOwnHop, Name: "own-hop", Profiles: Standard, What: "floating or gateway address of this node; another router, to its routes"},
				{Value: PrioNextHop, Name: "next-hop", Profiles: both, What: "known neighbour"},
				{Value: PrioResolvePort, Name: "resolve-port", Profiles: Standard, What: "unknown neighbour of a local port's packet, to the controller"},
				{Value: PrioResolve, Name: "resolve", Profiles: Standard, What: "unknown neighbour, to the controller"},
				{Value: PrioUnresolved, Name: "unresolved", Profiles: Standard, What: "any other routed packet drops"},
			},
		},
		Table{
			ID: L2Rewrite, Name: "l2-rewrite", Profiles: both,
			Purpose: "Tells which local port, if any, a frame is for (reg2) and its conntrack zone (reg6).",
			Match:   join(fL2, tunID, reg(0, 7)), Kinds: Goto | Set | Punt, Sets: reg(2, 6, 7, 13), Next: []TableID{IngressACL}, Miss: missGoto(IngressACL),
			Prios: []Priority{{Value: PrioDestination, Name: "destination", Profiles: Standard, What: "MAC address of a local port; from a tunnel only, while the port is active on another node"}},
		},
		Table{
			ID: OutboundNAT, Name: "outbound-nat", Profiles: both,
			Purpose: "Undoes and makes source translation for packets to an external network.",
			Match:   join(fL2, fIP, fL4, tunID, reg(3)), Kinds: Goto | Track | Set | Out, Sets: join(reg(15), fields{openflow.FieldIPv4Src, openflow.FieldEthSrc, openflow.FieldEthDst}),
			Next: []TableID{OutboundNew, L2Forward}, Miss: missGoto(L2Forward),
			Prios: []Priority{
				{Value: PrioHelped, Name: "floating-helped", Profiles: Standard, What: "the same, from or to another port than FTP's own that a conntrack helper follows"},
				{Value: PrioFloating, Name: "floating", Profiles: both, What: "fixed address with a floating one"},
				{Value: PrioNATHelped, Name: "snat-helped", Profiles: Standard, What: "all else, from or to such a port"},
				{Value: PrioNAT, Name: "snat", Profiles: both, What: "all else behind the gateway's address"},
			},
		},
		Table{
			ID: OutboundNew, Name: "outbound-nat-new", Profiles: Standard,
			Purpose: "Translates new connections to outside.",
			Match:   join(fIP, fL4, fCT, reg(3)), Kinds: Goto | Track | Set | Limit, Sets: fields{openflow.FieldCTMark, openflow.FieldEthSrc}, Next: []TableID{Hairpin}, Miss: Miss{Kind: MissDrop},
			Prios: []Priority{
				{Value: PrioRelated, Name: "related", Profiles: Standard, What: "new connection to which one of a forwarding led that a conntrack helper follows: translated as that one"},
				{Value: PrioHelped, Name: "floating-helped", Profiles: Standard, What: "new connection of a fixed address with a floating one, that a conntrack helper follows"},
				{Value: PrioFloating, Name: "floating", Profiles: Standard, What: "new connection of a fixed address with a floating one"},
				{Value: PrioNATDone, Name: "done", Profiles: Standard, What: "translated to an address of this node, of the present association or forwarding"},
				{Value: PrioNATHelped, Name: "snat-helped", Profiles: Standard, What: "other new connection, that a conntrack helper follows"},
				{Value: PrioNAT, Name: "snat", Profiles: Standard, What: "other new connection; untranslated if the router does not translate"},
			},
		},
		Table{
			ID: Hairpin, Name: "hairpin", Profiles: Standard,
			Purpose: "Packets to a floating or gateway address of this node enter again as if from outside.",
			Match:   join(fIP, tunID), Kinds: Goto | Copy | Track | Set | Again, Sets: join(reg(0, 1, 3, 4, 7), one(openflow.FieldInPort), one(openflow.FieldInPort16)),
			Next: []TableID{L2Forward}, Back: []TableID{InboundNAT}, Miss: missGoto(L2Forward),
			Prios: []Priority{{Value: PrioFloating, Name: "floating", Profiles: Standard, What: "address of this node"}},
		},
		Table{
			ID: L2Forward, Name: "l2-forward", Profiles: both,
			Purpose: "Output: to a local port, through a tunnel, to a provider network, or to all of these. A frame from a tunnel never goes to a tunnel.",
			Match:   join(fL2, tunID, reg(0, 1, 2, 7), fields{openflow.FieldIPv4Src, openflow.FieldIPv6Src, openflow.FieldIPv4Dst, openflow.FieldIPv6Dst}), Kinds: Goto | Out | ToGroup | Set | VLAN | Limit | Copy | Again | SampleKind,
			Sets: join(tunID, reg(2, 6, 7, 13), fields{openflow.FieldTunDst, openflow.FieldTunIPv6Dst, openflow.FieldVLANVID, openflow.FieldInPort, openflow.FieldInPort16, openflow.FieldEthSrc}),
			Next: []TableID{IngressQoS}, Back: []TableID{IngressACL}, Miss: Miss{Kind: MissDrop},
			Prios: []Priority{
				{Value: PrioOwnCopy, Name: "own-copy", Profiles: Standard, What: "what a port of a trunk sent does not come back to it"},
				{Value: PrioLocalLimited, Name: "local-limited", Profiles: Standard, What: "local port, by reg2: frames for it alone, by meter"},
				{Value: PrioLocal, Name: "local", Profiles: Standard, What: "local port, by reg2"},
				{Value: PrioStays, Name: "stays", Profiles: Standard, What: "sent as a local IP by a port that serves it, for no port of this node"},
				{Value: PrioSplit, Name: "split-horizon", Profiles: Standard, What: "a frame from a tunnel for no port of this node; routed packets go on"},
				{Value: PrioUnicast, Name: "unicast", Profiles: both, What: "MAC address of a port"},
				{Value: PrioMulticast, Name: "multicast", Profiles: Standard, What: "joined multicast group"},
				{Value: PrioFloodTunnel, Name: "flood-tunnel", Profiles: both, What: "broadcast from a tunnel, to local ports"},
				{Value: PrioFloodLocal, Name: "flood-local", Profiles: both, What: "broadcast from a local port, everywhere"},
				{Value: PrioUnknown, Name: "unknown", Profiles: both, What: "unknown unicast; a provider network's goes to the wire"},
			},
		},
		Table{
			ID: IngressQoS, Name: "ingress-qos", Profiles: Standard,
			Purpose: "Output to a local port by a second meter.",
			Match:   reg(2), Kinds: Out | VLAN | Set | Limit, Sets: fields{openflow.FieldVLANVID, openflow.FieldInPort16}, Miss: Miss{Kind: MissNone},
			Prios: []Priority{{Value: PrioQos, Name: "limit", Profiles: Standard, What: "local port, by reg2"}},
		},
		Table{
			ID: ReturnToSender, Name: "return-to-sender", Profiles: Standard,
			Purpose: "Sends answers made in the switch back out of the port they came in by.",
			Match:   join(reg(0, 1), tunID), Kinds: Out | VLAN | Set, Sets: one(openflow.FieldVLANVID), Miss: Miss{Kind: MissInPort},
			Prios: []Priority{{Value: PrioSubPort, Name: "sub-port", Profiles: Standard, What: "with the tag of a trunk's sub-port"},
				{Value: PrioTagged, Name: "tagged", Profiles: Standard, What: "to a VLAN, with its tag"}},
		},
	)
}
