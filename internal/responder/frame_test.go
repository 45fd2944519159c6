// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// udpFrame is a client's frame to 255.255.255.255:67 or another address.
func udpFrame(src, dst MAC, from, to string, m *dhcpv4.DHCPv4) []byte {
	body := m.ToBytes()
	udp := binary.BigEndian.AppendUint16(nil, 68)
	udp = binary.BigEndian.AppendUint16(udp, 67)
	udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(body)))
	udp = append(append(udp, 0, 0), body...)
	return ipFrame(src, dst, from, to, protoUDP, udp)
}

func ipFrame(src, dst MAC, from, to string, proto byte, payload []byte) []byte {
	n := &Network{MAC: src}
	return n.packet(dst, netip.MustParseAddr(from), netip.MustParseAddr(to), proto, payload)
}

func TestFrameDHCP(t *testing.T) {
	n := net01()
	out := n.Frame(udpFrame(vm01, Broadcast, "0.0.0.0", "255.255.255.255", request(t, vm01, dhcpv4.MessageTypeDiscover)))
	if out == nil {
		t.Fatal("no answer")
	}
	if MAC(out[0:6]) != vm01 || MAC(out[6:12]) != serverMAC {
		t.Errorf("from %x to %x", out[6:12], out[0:6])
	}
	ip := out[14:]
	if checksum(0, ip[:20]) != 0 {
		t.Error("wrong IP header checksum")
	}
	if got := netip.AddrFrom4([4]byte(ip[16:20])).String(); got != "10.11.12.3" {
		t.Errorf("sent to %s", got)
	}
	udp := ip[20:]
	if !bytes.Equal(udp[:4], []byte{0, 67, 0, 68}) {
		t.Errorf("ports %v", udp[:4])
	}
	if got := udpChecksum(netip.MustParseAddr("10.11.12.2"), netip.MustParseAddr("10.11.12.3"), udp); got != 0xffff {
		t.Errorf("UDP checksum leaves %#x", got)
	}
	offer, err := dhcpv4.FromBytes(udp[8:])
	if err != nil || offer.MessageType() != dhcpv4.MessageTypeOffer {
		t.Errorf("%v, %v", offer, err)
	}
}

func TestFrameDHCPBroadcast(t *testing.T) {
	n := net01()
	for _, m := range []*dhcpv4.DHCPv4{
		request(t, vm01, dhcpv4.MessageTypeDiscover, dhcpv4.WithBroadcast(true)),
		request(t, vm01, dhcpv4.MessageTypeRequest, requested("10.11.12.200")), // a NAK
	} {
		out := n.Frame(udpFrame(vm01, Broadcast, "0.0.0.0", "255.255.255.255", m))
		if out == nil || MAC(out[0:6]) != Broadcast || !bytes.Equal(out[30:34], []byte{255, 255, 255, 255}) {
			t.Errorf("%v was not answered by broadcast", m.MessageType())
		}
	}
}

func TestFrameARP(t *testing.T) {
	n := net01()
	ask := func(sender, target string) []byte {
		b := append(append([]byte{}, Broadcast[:]...), vm01[:]...)
		b = append(b, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1)
		b = append(append(b, vm01[:]...), netip.MustParseAddr(sender).AsSlice()...)
		return append(append(b, make([]byte, 6)...), netip.MustParseAddr(target).AsSlice()...)
	}
	const want = "fa163e9ef570fa163eef85070806" + "0001080006040002" + "fa163eef85070a0b0c02" + "fa163e9ef5700a0b0c03" +
		"000000000000000000000000000000000000"
	if got := hex.EncodeToString(n.Frame(ask("10.11.12.3", "10.11.12.2"))); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if n.Frame(ask("0.0.0.0", "10.11.12.2")) == nil {
		t.Error("a probe for the server's address (RFC 5227) was not defended")
	}
	for _, target := range []string{"10.11.12.1", "10.11.12.3", "192.168.0.10"} {
		if out := n.Frame(ask("10.11.12.3", target)); out != nil {
			t.Errorf("answered for %s", target)
		}
	}
}

func TestFrameEcho(t *testing.T) {
	n := net01()
	ping := []byte{8, 0, 0, 0, 0x12, 0x34, 0, 1, 'a', 'b', 'c'}
	binary.BigEndian.PutUint16(ping[2:], checksum(0, ping))
	frame := ipFrame(vm01, serverMAC, "10.11.12.3", "10.11.12.2", protoICMP, ping)
	out := n.Frame(frame)
	if out == nil {
		t.Fatal("no answer")
	}
	reply := out[34 : 34+len(ping)]
	if reply[0] != 0 || checksum(0, reply) != 0 || !bytes.Equal(reply[4:], ping[4:]) {
		t.Errorf("reply %x", reply)
	}
	bad := bytes.Clone(frame)
	bad[34+8] ^= 1
	if n.Frame(bad) != nil {
		t.Error("answered a wrong ICMP checksum")
	}
	if n.Frame(ipFrame(vm01, serverMAC, "10.11.12.3", "192.168.0.10", protoICMP, ping)) != nil {
		t.Error("answered for an address of the node")
	}
	if n.Frame(ipFrame(vm01, Broadcast, "10.11.12.3", "10.11.12.2", protoICMP, ping)) != nil {
		t.Error("answered a broadcast echo")
	}
}

func TestFrameRefusals(t *testing.T) {
	n := net01()
	good := func() []byte {
		return udpFrame(vm01, Broadcast, "0.0.0.0", "255.255.255.255", request(t, vm01, dhcpv4.MessageTypeDiscover))
	}
	fixIP := func(f []byte) []byte {
		f[24], f[25] = 0, 0
		binary.BigEndian.PutUint16(f[24:], checksum(0, f[14:34]))
		return f
	}
	tests := map[string]func(f []byte) []byte{
		"source differs from chaddr": func(f []byte) []byte { copy(f[6:12], stranger[:]); return f },
		"multicast source":           func(f []byte) []byte { f[6] |= 1; return f },
		"other destination":          func(f []byte) []byte { copy(f[0:6], stranger[:]); return f },
		"from ourselves":             func(f []byte) []byte { copy(f[6:12], serverMAC[:]); return f },
		"vlan tag":                   func(f []byte) []byte { f[12], f[13] = 0x81, 0; return f },
		"wrong header checksum":      func(f []byte) []byte { f[24] ^= 1; return f },
		"fragment":                   func(f []byte) []byte { f[20] = 0x20; return fixIP(f) },
		"total length beyond frame":  func(f []byte) []byte { f[16] = 0xff; return fixIP(f) },
		"udp length beyond packet":   func(f []byte) []byte { f[38] = 0xff; return f },
		"server port":                func(f []byte) []byte { f[35] = 67; return f },
		"no magic cookie":            func(f []byte) []byte { f[42+236] = 0; return f },
		"truncated":                  func(f []byte) []byte { return f[:60] },
		"empty":                      func([]byte) []byte { return nil },
		"other subnet's server":      func(f []byte) []byte { f[30], f[31], f[32], f[33] = 10, 11, 12, 250; return fixIP(f) },
	}
	if n.Frame(good()) == nil {
		t.Fatal("the frame that the cases spoil is not answered itself")
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			if out := n.Frame(spoil(good())); out != nil {
				t.Errorf("answered %x", out)
			}
		})
	}
}

// FuzzFrame holds that no input panics, and that every answer is addressed to
// the sender or to all, comes from the server, and has right checksums.
func FuzzFrame(f *testing.F) {
	n := net01()
	f.Add(udpFrame(vm01, Broadcast, "0.0.0.0", "255.255.255.255", request(f, vm01, dhcpv4.MessageTypeDiscover)))
	f.Add(udpFrame(vm01, serverMAC, "10.11.12.3", "10.11.12.2", request(f, vm01, dhcpv4.MessageTypeRequest, has("10.11.12.3"))))
	ping := []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0}
	f.Add(ipFrame(vm01, serverMAC, "10.11.12.3", "10.11.12.2", protoICMP, ping))
	f.Fuzz(func(t *testing.T, in []byte) {
		before := bytes.Clone(in)
		out := n.Frame(in)
		if !bytes.Equal(in, before) {
			t.Fatal("the input was changed")
		}
		if out == nil {
			return
		}
		if len(out) < minFrame || MAC(out[6:12]) != serverMAC {
			t.Fatalf("bad frame %x", out)
		}
		if dst := MAC(out[0:6]); dst != Broadcast && dst != MAC(in[6:12]) {
			t.Fatalf("answer to %v, asked by %x", dst, in[6:12])
		}
		if binary.BigEndian.Uint16(out[12:14]) == etherIPv4 && checksum(0, out[14:34]) != 0 {
			t.Fatal("wrong header checksum")
		}
	})
}
