// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// listen opens a socket that sees every frame on an instance's eth0.
func (l *Lab) listen(instance string) (*os.File, error) {
	var f *os.File
	err := within(l.namespace(instance), func() error {
		link, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		all := binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL}) // in network order
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(all))
		if err != nil {
			return err
		}
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: link.Index}); err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		f = os.NewFile(uintptr(fd), instance)
		return nil
	})
	return f, err
}

// arrives sends a frame from one instance several times, and after it one that has to reach the other. It reports whether the
// first did: on one path frames keep their order, so when the last is there the others would be.
func (l *Lab) arrives(ctx context.Context, from, to string, frame, last []byte) (bool, error) {
	in, err := l.listen(to)
	if err != nil {
		return false, err
	}
	defer in.Close()
	stop := context.AfterFunc(ctx, func() { in.Close() })
	defer stop()
	for range 5 {
		if err := l.sendFrame(from, frame); err != nil {
			return false, err
		}
	}
	buf := make([]byte, 2048)
	arrived := false
	for end := time.Now().Add(settleWithin); time.Now().Before(end); {
		if err := l.sendFrame(from, last); err != nil {
			return false, err
		}
		if err := in.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
			return false, err
		}
		for {
			n, err := in.Read(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return false, err
			}
			switch got := buf[:n]; {
			case bytes.Equal(got, frame):
				arrived = true
			case bytes.Equal(got, last):
				return arrived, nil
			}
		}
	}
	return false, fmt.Errorf("%s does not receive what %s may send", to, from)
}

var broadcastMAC = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// datagramFrame is an Ethernet frame with a UDP datagram without checksum (RFC 791, 768).
func datagramFrame(dst, src net.HardwareAddr, from, to net.IP, fromPort, toPort uint16, data string) []byte {
	udp := binary.BigEndian.AppendUint16(nil, fromPort)
	udp = binary.BigEndian.AppendUint16(udp, toPort)
	udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(data)))
	udp = append(append(udp, 0, 0), data...)
	ip := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0}
	ip = append(append(ip, from.To4()...), to.To4()...)
	binary.BigEndian.PutUint16(ip[2:], uint16(20+len(udp)))
	var sum uint32
	for i := 0; i < len(ip); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum))
	f := append(append([]byte{}, dst...), src...)
	f = append(append(append(f, 0x08, 0x00), ip...), udp...)
	return append(f, make([]byte, max(0, 60-len(f)))...)
}

// arpFrame is a broadcast ARP packet (RFC 826) by which mac claims an address.
func arpFrame(op byte, mac net.HardwareAddr, a net.IP) []byte {
	f := append(append([]byte{}, broadcastMAC...), mac...)
	f = append(f, 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, op)
	f = append(append(f, mac...), a.To4()...)
	f = append(append(f, 0, 0, 0, 0, 0, 0), a.To4()...)
	return append(f, make([]byte, 60-len(f))...)
}
