// SPDX-License-Identifier: Apache-2.0

// Package punt answers the packets that the flows of the standard profile send up to the controller, and makes the frames that
// the controller sends of its own accord: questions for link addresses on external networks, and announcements of our own.
//
// Answer is a function of a state of the store and a packet; it keeps nothing, so that answers to many packets can be made at the
// same time, and a restart forgets nothing. So is Logged, what security logs tell of one. Invariants: what a node says of a packet is believed only for ports that are bound
// to that node; an answer goes back to the port that asked and says only what concerns that port; the work for a packet grows
// with the network's subnets, never with its ports. Input is whatever an instance chose to send: what is malformed, foreign or
// not understood gets no answer, and nothing panics.
//
// When to ask and to announce is internal/edge's matter.
//
// Callers: internal/edge; internal/app hands Answer to the southbound sessions and shares Extras, HostName and Domain with the feed of DHCP
// processes on nodes, so that both kinds of server say the same.
package punt

import (
	"net/netip"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/store"
)

// Packet is a frame that a node sent up.
type Packet struct {
	Node model.NodeID // whose session it came by
	Kind byte         // as the flow's userdata says it: pipeline.PuntDHCP, ...
	Port model.Key    // the port that sent it, as the node says; 0: none of the node's
	Data []byte       // the Ethernet frame; not kept, not changed

	// What the node says besides, of packets that routers send up.
	InPort  uint32     // OpenFlow port that the frame came by
	Origin  uint32     // pipeline.FromPort, ...
	TunID   uint64     // the logical network that it is on
	NextHop netip.Addr // that its router has chosen; zero: none
	MTU     int        // of the network ahead, of a packet that is too large for it
	DstPort model.Key  // the port that it is for, of packets for security logs
	Rule    model.Key  // the rule that accepted it; 0: none

	Domain string // that DHCP tells clients of networks that name none; empty: DefaultDomain
}

// Answer makes the frames that go back to the port that sent the packet, mostly one or none.
func Answer(r store.Reader, p Packet) [][]byte {
	var answer []byte
	switch p.Kind {
	case pipeline.PuntDHCP:
		if port, ok := source(r, &p); ok {
			answer = dhcp(r, &port, p.Domain, p.Data)
		}
	case pipeline.PuntTTL:
		answer = trouble(r, &p, expired)
	case pipeline.PuntTooLarge:
		if why, ok := tooLarge(&p); ok {
			answer = trouble(r, &p, why)
		}
	}
	if answer == nil {
		return nil
	}
	return [][]byte{tagged(r, &p, answer)}
}

const (
	etherHeader = 14 // octets of an Ethernet header without a tag
	etherIPv4   = 0x0800
	etherIPv6   = 0x86dd
	etherARP    = 0x0806
	etherVLAN   = 0x8100
)

// source finds the port that sent the packet. The key comes from a register, so from the node: it counts only if the port is
// bound there (decision 24: a node that was broken into answers for its own ports). And the frame must be the port's own.
func source(r store.Reader, p *Packet) (model.Port, bool) {
	if len(p.Data) < etherHeader || p.Node == "" {
		return model.Port{}, false
	}
	port, ok := alloc.PortsByKey.First(r, alloc.KeyText(p.Port))
	if !ok || !port.LivesOn(p.Node) || !port.AdminStateUp || port.MAC != model.MAC(p.Data[6:12]) {
		return model.Port{}, false
	}
	return port, true
}
