// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// checkSpoofing sends frames that vm01 must not send, and listens for them at vm02. What classic lets pass is stated too: it
// is no security boundary, and the run shows that it would see the frame.
func (w *walk) checkSpoofing(ctx context.Context, p walkPorts) error {
	vm, other := p.vm["vm01"], p.vm["vm02"]
	if vm == nil || other == nil {
		return nil
	}
	mac, err := net.ParseMAC(vm.MAC)
	if err != nil {
		return err
	}
	otherMAC, err := net.ParseMAC(other.MAC)
	if err != nil {
		return err
	}
	own, its := net.ParseIP(walkAddresses["vm01"]), net.ParseIP(walkAddresses["vm02"])
	const discard = 9 // the port of that service, RFC 863
	for _, c := range []struct {
		text    string
		classic bool // drops it too
		frame   []byte
	}{
		{"a frame from vm01 with another source MAC", true,
			datagramFrame(otherMAC, net.HardwareAddr{0xfa, 0x16, 0x3e, 0, 0, 1}, own, its, discard, discard, "another MAC")},
		{"a DHCP server's answer from vm01", true, datagramFrame(broadcastMAC, mac, own, net.IPv4bcast, 67, 68, "an answer")},
		{"a packet from vm01 with another source address", false,
			datagramFrame(otherMAC, mac, net.ParseIP("10.11.12.99"), its, discard, discard, "another address")},
		{"an ARP answer by which vm01 claims the gateway's address", false, arpFrame(2, mac, net.ParseIP("10.11.12.1"))},
	} {
		last := datagramFrame(otherMAC, mac, own, its, discard, discard, c.text)
		arrived, err := w.l.arrives(ctx, "vm01", "vm02", c.frame, last)
		switch drops := !w.classic || c.classic; {
		case drops && err == nil && arrived:
			err = errors.New("it reached vm02")
			fallthrough
		case drops:
			w.hold(err, "%s is dropped", c.text)
		case err == nil && !arrived:
			err = errors.New("it did not reach vm02")
			fallthrough
		default:
			w.hold(err, "%s is delivered: classic does not guard against it", c.text)
		}
	}
	if w.classic {
		return w.checkDropCounters(ctx, vm, mac)
	}
	return nil
}

// checkDropCounters holds that classic drops the two frames in the tables of the recording.
func (w *walk) checkDropCounters(ctx context.Context, vm *apiPort, mac net.HardwareAddr) error {
	facts, err := w.l.facts(ctx, w.host)
	if err != nil {
		return err
	}
	port := ofport(facts, tapName(vm.ID))
	own := net.ParseIP(walkAddresses["vm01"])
	for _, c := range []struct {
		text, flow string
		frame      []byte
	}{
		{"table 0 drops the one with another source MAC", fmt.Sprintf("table=0,priority=8192,in_port=%d actions=drop", port),
			testFrame(net.HardwareAddr{0xfa, 0x16, 0x3e, 0, 0, 1})},
		{"table 40 drops the DHCP server's answer", fmt.Sprintf("table=40,priority=61011,udp,in_port=%d,tp_src=67,tp_dst=68 actions=drop", port),
			datagramFrame(broadcastMAC, mac, own, net.IPv4bcast, 67, 68, "")},
	} {
		before, err := w.packets(ctx, w.host, c.flow)
		if err == nil {
			err = w.l.sendFrame("vm01", c.frame)
		}
		if err == nil {
			err = until(ctx, 5*time.Second, "the flow counts it", func(ctx context.Context) error {
				now, err := w.packets(ctx, w.host, c.flow)
				if err == nil && now <= before {
					err = fmt.Errorf("%s counts %d packets, as before", c.flow, now)
				}
				return err
			})
		}
		w.hold(err, "%s", c.text)
	}
	return nil
}

var packetCount = regexp.MustCompile(`\bn_packets=(\d+)`)

// packets reads the packet counter of one flow of br-int.
func (w *walk) packets(ctx context.Context, node, flow string) (int, error) {
	dump, err := w.l.ovs(ctx, node, "ovs-ofctl", "dump-flows", "br-int", "-O", "OpenFlow13")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(dump) {
		canonical, err := canonicalFlows(line)
		if err != nil || len(canonical) != 1 || canonical[0] != flow {
			continue
		}
		if m := packetCount.FindStringSubmatch(line); m != nil {
			return strconv.Atoi(m[1])
		}
	}
	return 0, fmt.Errorf("node %s has no flow %s", node, flow)
}

// sendFrame puts a frame on an instance's eth0 as it is.
func (l *Lab) sendFrame(instance string, frame []byte) error {
	return within(l.namespace(instance), func() error {
		link, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: link.Index})
	})
}

// testFrame is a broadcast of the type reserved for experiments (IEEE 802,
// 0x88b5) with the given source.
func testFrame(src net.HardwareAddr) []byte {
	f := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, src...)
	f = append(f, 0x88, 0xb5)
	return append(f, make([]byte, 46)...)
}
