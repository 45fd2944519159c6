// SPDX-License-Identifier: Apache-2.0

package nodedhcp

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// exchange sends one DHCP message as a broadcast out of the interface and
// returns the first answer to it that comes back within the time.
func exchange(ifname string, m *dhcpv4.DHCPv4, within time.Duration) (*dhcpv4.DHCPv4, error) {
	link, err := netlink.LinkByName(ifname)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_IP)))
	if err != nil {
		return nil, err
	}
	socket := os.NewFile(uintptr(fd), ifname)
	defer socket.Close()
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_IP), Ifindex: link.Attrs().Index}); err != nil {
		return nil, err
	}
	if _, err := socket.Write(broadcastFrame(m)); err != nil {
		return nil, err
	}
	if err := socket.SetReadDeadline(time.Now().Add(within)); err != nil {
		return nil, err
	}
	buf := make([]byte, 2048)
	for {
		n, err := socket.Read(buf)
		if err != nil {
			return nil, err
		}
		const udpEnd = 14 + 20 + 8
		if n < udpEnd || buf[23] != 17 || binary.BigEndian.Uint16(buf[36:]) != 68 {
			continue
		}
		reply, err := dhcpv4.FromBytes(buf[udpEnd:n])
		if err == nil && reply.OpCode == dhcpv4.OpcodeBootReply && reply.TransactionID == m.TransactionID {
			return reply, nil
		}
	}
}

func broadcastFrame(m *dhcpv4.DHCPv4) []byte {
	body := m.ToBytes()
	f := append([]byte{255, 255, 255, 255, 255, 255}, m.ClientHWAddr...)
	f = append(f, 8, 0, 0x45, 0)
	f = binary.BigEndian.AppendUint16(f, uint16(28+len(body)))
	f = append(f, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255)
	var sum uint32
	for i := 14; i < 34; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(f[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(f[24:], ^uint16(sum))
	f = append(f, 0, 68, 0, 67)
	f = binary.BigEndian.AppendUint16(f, uint16(8+len(body)))
	return append(append(f, 0, 0), body...)
}

// obtain goes through DISCOVER, OFFER, REQUEST, ACK.
func obtain(ifname string, within time.Duration) (*dhcpv4.DHCPv4, error) {
	mac, err := net.ParseMAC("fa:16:3e:9e:f5:70")
	if err != nil {
		return nil, err
	}
	discover, err := dhcpv4.NewDiscovery(mac)
	if err != nil {
		return nil, err
	}
	offer, err := exchange(ifname, discover, within)
	if err != nil {
		return nil, err
	}
	req, err := dhcpv4.NewRequestFromOffer(offer)
	if err != nil {
		return nil, err
	}
	ack, err := exchange(ifname, req, within)
	if err != nil {
		return nil, err
	}
	if ack.MessageType() != dhcpv4.MessageTypeAck {
		return nil, errors.New("not acknowledged: " + ack.Summary())
	}
	return ack, nil
}

// lease asks on the interface until a lease of the wanted address comes.
func lease(t *testing.T, ifname, want string) *dhcpv4.DHCPv4 {
	t.Helper()
	var last error
	within := 100 * time.Millisecond // longer each time: a busy machine may need it
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); within = min(2*within, 2*time.Second) {
		ack, err := obtain(ifname, within)
		if err == nil && ack.YourIPAddr.String() == want {
			return ack
		}
		last = err
	}
	t.Fatalf("%s got no lease of %s: %v", ifname, want, last)
	return nil
}
