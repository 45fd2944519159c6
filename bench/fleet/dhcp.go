// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"errors"
	"time"

	"nagare/openflow"
	"nagare/test/bench/host"
)

// dhcpFigures are those of discoveries answered by the controller, by how many were unanswered at once.
type dhcpFigures struct {
	outstanding   int
	perSecond     float64
	central, node time.Duration // CPU per offer: controller, ovs-vswitchd
	lost          int
}

// dhcpWindows are the numbers of discoveries outstanding, as for the peer.
var dhcpWindows = []int{1, 16, 64}

var errNoOffer = errors.New("no offer for a discovery: does the profile answer DHCP itself?")

// dhcp injects discoveries as if a port of the switch had sent them and counts the offers that leave by that port. The loop is
// closed: a discovery is sent for every offer counted. The injector and the counter are those of the peer's runner; asking for
// the port's counters is in the switch's CPU for both.
func dhcp(h *host.Host, o *options, each time.Duration) (out []dhcpFigures) {
	w := work{nets: 1, ports: 4, nodes: 1}
	c := raise(h, o, w, 0, 0, o.unmetered()...)
	c.fill(0, w.ports)
	ctx := h.Context()
	n := c.nodes[0]
	numbers, err := n.numbers(ctx)
	h.Must(err)
	port := numbers[c.tap(0)]
	answered := func() int {
		st, err := n.of.PortStats(ctx, port)
		h.Must(err)
		if len(st) != 1 {
			h.Fatalf("port %d has no counters", port)
		}
		return int(st[0].TxPackets)
	}
	xid := uint32(0)
	send := func(k int) {
		ms := make([]openflow.Message, k)
		for i := range ms {
			xid++
			ms[i] = &openflow.PacketOut{InPort: port, Actions: openflow.AppendActions(nil, openflow.Output{Port: openflow.PortTable}), Data: discover(c.mac(0), xid)}
		}
		_, err := n.of.Send(ctx, ms...)
		h.Must(err)
	}
	began := answered()
	send(1)
	h.Must(c.poll(5*time.Second, func() error {
		if answered() == began {
			return errNoOffer
		}
		return nil
	}))
	for _, window := range dhcpWindows {
		f := dhcpFigures{outstanding: window}
		before, base := c.spent(), answered()
		sent, got, progress := 0, 0, time.Now()
		start := time.Now()
		for time.Since(start) < each {
			if k := window - (sent - got - f.lost); k > 0 {
				send(k)
				sent += k
			}
			now := answered() - base
			switch {
			case now > got:
				got, progress = now, time.Now()
			case time.Since(progress) > time.Second: // they do not come any more
				f.lost, progress = sent-got, time.Now()
			}
		}
		used := c.spent().minus(before)
		f.perSecond = float64(got) / time.Since(start).Seconds()
		f.central, f.node = used[controller]/time.Duration(max(got, 1)), used[vswitchd]/time.Duration(max(got, 1))
		out = append(out, f)
	}
	return out
}

// discover is a DHCPDISCOVER (RFC 2131 section 4.4.1) in a broadcast frame.
func discover(mac string, xid uint32) []byte {
	src := parseMAC(mac)
	bootp := make([]byte, 236, 300)
	bootp[0], bootp[1], bootp[2] = 1, 1, 6 // request, Ethernet
	binary.BigEndian.PutUint32(bootp[4:], xid)
	copy(bootp[28:], src)
	bootp = append(bootp, 0x63, 0x82, 0x53, 0x63, // RFC 1497
		53, 1, 1, // discover
		55, 6, 1, 3, 6, 28, 26, 121, // mask, router, DNS, broadcast, MTU, classless routes
		255)
	bootp = append(bootp, make([]byte, 300-len(bootp))...) // BOOTP's least (RFC 1542 section 2.1)
	udp := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, 68), 67)
	udp = append(binary.BigEndian.AppendUint16(udp, uint16(8+len(bootp))), 0, 0) // no checksum
	ip := []byte{0x45, 0, 0, 0, 0, 1, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255}
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)+len(udp)+len(bootp)))
	sum := uint32(0)
	for i := 0; i < len(ip); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum>>16+sum))
	frame := append([]byte{255, 255, 255, 255, 255, 255}, src...)
	frame = append(append(frame, 8, 0), ip...)
	return append(append(frame, udp...), bootp...)
}
