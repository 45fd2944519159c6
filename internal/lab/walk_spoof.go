// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// checkSpoofing sends two frames that vm01 must not send, and looks for them in
// the counters of the flows that have to drop them.
func (w *walk) checkSpoofing(ctx context.Context, p walkPorts) error {
	vm := p.vm["vm01"]
	if vm == nil {
		return nil
	}
	facts, err := w.l.facts(ctx, w.host)
	if err != nil {
		return err
	}
	port := ofport(facts, tapName(vm.ID))
	mac, err := net.ParseMAC(vm.MAC)
	if err != nil {
		return err
	}
	foreign := net.HardwareAddr{0xfa, 0x16, 0x3e, 0x00, 0x00, 0x01}
	for _, c := range []struct {
		text, flow string
		frame      []byte
	}{
		{"a frame from vm01 with another source MAC is dropped in table 0",
			fmt.Sprintf("table=0,priority=8192,in_port=%d actions=drop", port), testFrame(foreign)},
		{"a DHCP server's answer from vm01 is dropped in table 40",
			fmt.Sprintf("table=40,priority=61011,udp,in_port=%d,tp_src=67,tp_dst=68 actions=drop", port), serverFrame(mac)},
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

// serverFrame is an empty UDP datagram from port 67 to port 68, broadcast.
func serverFrame(src net.HardwareAddr) []byte {
	f := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, src...)
	f = append(f, 0x08, 0x00)
	ip := []byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 11, 12, 3, 255, 255, 255, 255}
	var sum uint32
	for i := 0; i < len(ip); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum))
	f = append(f, ip...)
	f = append(f, 0, 67, 0, 68, 0, 8, 0, 0)
	return append(f, make([]byte, 60-len(f))...)
}
