// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/ovstest"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Frames of bytes, on a real switch, for what the simulator does not model: fragments and errors of ICMP.

func ether(src, dst model.MAC, typ uint16, payload []byte) []byte {
	b := append(dst[:len(dst):len(dst)], src[:]...)
	return append(binary.BigEndian.AppendUint16(b, typ), payload...)
}

func checksum(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum>>16 > 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// ipv4 is a packet, or a fragment of one, that begins at offset and is followed by more.
func ipv4(src, dst netip.Addr, proto uint8, offset int, more bool, payload []byte) []byte {
	h := make([]byte, 20)
	h[0], h[8], h[9] = 0x45, 64, proto
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(payload)))
	binary.BigEndian.PutUint16(h[4:], 0x1234+uint16(proto)+uint16(dst.As4()[3]))
	frag := uint16(offset / 8)
	if more {
		frag |= 0x2000
	}
	binary.BigEndian.PutUint16(h[6:], frag)
	copy(h[12:], src.AsSlice())
	copy(h[16:], dst.AsSlice())
	binary.BigEndian.PutUint16(h[10:], checksum(h))
	return append(h, payload...)
}

// ipv6 is the same of IPv6; a whole packet if id is 0.
func ipv6(src, dst netip.Addr, proto uint8, id uint32, offset int, more bool, payload []byte) []byte {
	h := make([]byte, 40)
	h[0], h[6], h[7] = 0x60, proto, 255
	copy(h[8:], src.AsSlice())
	copy(h[24:], dst.AsSlice())
	if id != 0 {
		f := []byte{proto, 0, byte(offset >> 8), byte(offset), 0, 0, 0, 0}
		if more {
			f[3] |= 1
		}
		binary.BigEndian.PutUint32(f[4:], id)
		h[6], payload = 44, append(f, payload...)
	}
	binary.BigEndian.PutUint16(h[4:], uint16(len(payload)))
	return append(h, payload...)
}

func udp(sport, dport uint16, n int) []byte {
	b := make([]byte, 8+n)
	binary.BigEndian.PutUint16(b, sport)
	binary.BigEndian.PutUint16(b[2:], dport)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	return b
}

func udp6(src, dst netip.Addr, sport, dport uint16, n int) []byte {
	b := udp(sport, dport, n)
	pseudo := append(append(src.AsSlice(), dst.AsSlice()...), 0, 0, byte(len(b)>>8), byte(len(b)), 0, 0, 0, model.ProtoUDP)
	binary.BigEndian.PutUint16(b[6:], checksum(append(pseudo, b...)))
	return b
}

// TestRealFragments sends packets in two fragments: those of allowed packets arrive, and those of others do not, whether or
// not the first fragment alone would.
func TestRealFragments(t *testing.T) {
	f := readGuarded(t)
	st := store.New(tables.Schema, nil)
	if _, err := st.Commit(t.Context(), store.Origin{}, func(tx *store.Txn) error {
		if err := f.put(tx); err != nil {
			return err
		}
		port := 9999
		for i, r := range []model.RulePlane{
			{Group: "shut", Direction: model.Ingress, Ethertype: model.EtherIPv4, Protocol: "udp", PortMin: &port, PortMax: &port},
			{Group: "shut", Direction: model.Ingress, Ethertype: model.EtherIPv6, Protocol: "udp", PortMin: &port, PortMax: &port},
			{Group: "loose", Direction: model.Ingress, Ethertype: model.EtherIPv4, Protocol: "udp", PortMin: &port, PortMax: &port},
		} {
			r.Key = model.Key(90 + i)
			id := model.SecurityGroupRuleID(fmt.Sprintf("fragment%d", i))
			tables.Rules.Put(tx, id, model.SecurityGroupRule{ID: id, RulePlane: r})
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	r := newReal(t, followStandard(t, st, Options{}, "a"), "a", len(f.Ports))
	const one, spy, shutPort, loose, free = 1, 3, 4, 5, 8
	mac := func(i int) model.MAC { return model.MAC{2, 0, 0, 0, 0, byte(i)} }
	v4 := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}) }
	v6 := func(i int) netip.Addr { return netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 15: byte(i)}) }
	id := uint32(0)
	halves4 := func(from, to int, proto uint8, whole []byte) [][]byte {
		return [][]byte{ether(mac(from), mac(to), flow.EthIPv4, ipv4(v4(from), v4(to), proto, 0, true, whole[:1400])),
			ether(mac(from), mac(to), flow.EthIPv4, ipv4(v4(from), v4(to), proto, 1400, false, whole[1400:]))}
	}
	halves6 := func(from, to int, proto uint8, whole []byte) [][]byte {
		id++
		return [][]byte{ether(mac(from), mac(to), flow.EthIPv6, ipv6(v6(from), v6(to), proto, id, 0, true, whole[:1400])),
			ether(mac(from), mac(to), flow.EthIPv6, ipv6(v6(from), v6(to), proto, id, 1400, false, whole[1400:]))}
	}
	advertise := func(from, to int) []byte { // a router's advertisement with a prefix's worth of junk
		b := make([]byte, 2000)
		b[0] = routerAdvert
		pseudo := append(append(v6(from).AsSlice(), v6(to).AsSlice()...), 0, 0, byte(len(b)>>8), byte(len(b)), 0, 0, 0, model.ProtoICMPv6)
		binary.BigEndian.PutUint16(b[2:], checksum(append(pseudo, b...)))
		return b
	}
	for _, c := range []struct {
		what     string
		from, to int
		frames   [][]byte
		arrive   int
	}{
		{"to an open port", one, shutPort, halves4(one, shutPort, model.ProtoUDP, udp(1000, 9999, 2000)), 2},
		{"to a closed port", one, shutPort, halves4(one, shutPort, model.ProtoUDP, udp(1000, 9998, 2000)), 0},
		{"to an open port, later fragment first", one, shutPort, reversed(halves4(one, shutPort, model.ProtoUDP, udp(1001, 9999, 2000))), 2},
		{"a later fragment alone", one, shutPort, halves4(one, shutPort, model.ProtoUDP, udp(1002, 9999, 2000))[1:], 0},
		{"to an open port, IPv6", one, shutPort, halves6(one, shutPort, model.ProtoUDP, udp6(v6(one), v6(shutPort), 1000, 9999, 2000)), 2},
		{"to a closed port, IPv6", one, shutPort, halves6(one, shutPort, model.ProtoUDP, udp6(v6(one), v6(shutPort), 1000, 9998, 2000)), 0},
		{"to a stateless port, open", free, loose, halves4(free, loose, model.ProtoUDP, udp(1000, 9999, 2000)), 2},
		{"to a stateless port, closed", free, loose, halves4(free, loose, model.ProtoUDP, udp(1000, 9998, 2000)), 0},
		{"from a stateful to a stateless port, open", one, loose, halves4(one, loose, model.ProtoUDP, udp(1000, 9999, 2000)), 2},
		{"a DHCP server's answer", one, spy, halves4(one, spy, model.ProtoUDP, udp(67, 68, 2000)), 0},
		{"its like", one, spy, halves4(one, spy, model.ProtoUDP, udp(67, 69, 2000)), 2},
		{"a DHCP server's answer, stateless", free, spy, halves4(free, spy, model.ProtoUDP, udp(67, 68, 2000)), 0},
		{"its like, stateless", free, spy, halves4(free, spy, model.ProtoUDP, udp(67, 69, 2000)), 2},
		{"a DHCPv6 server's answer", free, spy, halves6(free, spy, model.ProtoUDP, udp6(v6(free), v6(spy), 547, 546, 2000)), 0},
		{"its like, IPv6", free, spy, halves6(free, spy, model.ProtoUDP, udp6(v6(free), v6(spy), 547, 548, 2000)), 2},
		{"a router's advertisement", one, spy, halves6(one, spy, model.ProtoICMPv6, advertise(one, spy)), 0},
		{"a router's advertisement, stateless", free, spy, halves6(free, spy, model.ProtoICMPv6, advertise(free, spy)), 0},
	} {
		r.expect(c.what, c.from, c.to, c.frames, c.arrive)
	}
}

// TestRealFragmentsCut opens a connection, has it answered, and takes its rule away: its fragments stop with that, and bring it
// back with the rule. Six fragments make a packet of 8 KB.
func TestRealFragmentsCut(t *testing.T) {
	f := readGuarded(t)
	st := store.New(tables.Schema, nil)
	if _, err := st.Commit(t.Context(), store.Origin{}, f.put); err != nil {
		t.Fatal(err)
	}
	fol := followStandard(t, st, Options{}, "a")
	r := newReal(t, fol, "a", len(f.Ports))
	const spy, shutPort = 3, 4
	mac := func(i int) model.MAC { return model.MAC{2, 0, 0, 0, 0, byte(i)} }
	v4 := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}) }
	id := uint16(0)
	large := func(from, to int, sport, dport uint16) (frames [][]byte) {
		whole := udp(sport, dport, 8000)
		id++
		for at := 0; at < len(whole); at += 1400 {
			p := ipv4(v4(from), v4(to), model.ProtoUDP, at, at+1400 < len(whole), whole[at:min(at+1400, len(whole))])
			binary.BigEndian.PutUint16(p[4:], id)
			p[10], p[11] = 0, 0
			binary.BigEndian.PutUint16(p[10:], checksum(p[:20]))
			frames = append(frames, ether(mac(from), mac(to), flow.EthIPv4, p))
		}
		return frames
	}
	r.expect("an answer to nothing", spy, shutPort, large(spy, shutPort, 53, 1000), 0)
	r.expect("a request", shutPort, spy, large(shutPort, spy, 1000, 53), 6)
	r.expect("its answer", spy, shutPort, large(spy, shutPort, 53, 1000), 6)
	r.expect("another", shutPort, spy, large(shutPort, spy, 1000, 53), 6)
	rule := fol.e.OwnedBy("a", "s4")
	for _, v := range rule {
		r.Ofctl("--strict", "del-flows", "br0", fmt.Sprintf("table=%d,priority=%d,%s", v.Table, v.Priority, v.Match))
	}
	r.Appctl("revalidator/wait") // the datapath follows a little later
	r.expect("without the rule", shutPort, spy, large(shutPort, spy, 1000, 53), 0)
	whole := ipv4(v4(shutPort), v4(spy), model.ProtoUDP, 0, false, udp(1000, 53, 20))
	r.expect("without the rule, whole", shutPort, spy, [][]byte{ether(mac(shutPort), mac(spy), flow.EthIPv4, whole)}, 0)
	r.expect("an answer after that", spy, shutPort, large(spy, shutPort, 53, 1000), 0)
	for _, v := range rule {
		r.Ofctl("add-flow", "br0", v.String())
	}
	r.Appctl("revalidator/wait")
	r.expect("with the rule again", shutPort, spy, large(shutPort, spy, 1000, 53), 6)
	r.expect("and its answer", spy, shutPort, large(spy, shutPort, 53, 1000), 6)
}

func reversed(f [][]byte) [][]byte { slices.Reverse(f); return f }

// expect lets frames in by a port and waits until as many have left by another; none if arrive is 0, which a frame that
// must pass shows to be so, sent behind them.
func (r *real) expect(what string, from, to int, frames [][]byte, arrive int) {
	r.t.Helper()
	before := r.sent(to)
	for _, f := range frames {
		r.Receive(fmt.Sprintf("p%d", from), hex.EncodeToString(f))
	}
	marker := ether(model.MAC{2, 0, 0, 0, 0, byte(from)}, model.MAC{2, 0, 0, 0, 0, byte(to)}, flow.EthARP, arpReply(byte(from), byte(to)))
	r.Receive(fmt.Sprintf("p%d", from), hex.EncodeToString(marker))
	if err := ovstest.Poll(time.Minute, func() error {
		if n := r.sent(to) - before; n < arrive+1 {
			return fmt.Errorf("%d frames", n)
		}
		return nil
	}); err != nil {
		r.t.Errorf("%s: %v and the one behind them arrived, want %d", what, err, arrive)
	} else if n := r.sent(to) - before; n != arrive+1 {
		r.t.Errorf("%s: %d frames arrived, want %d", what, n-1, arrive)
	}
}

func arpReply(from, to byte) []byte {
	b := []byte{0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, from, 10, 0, 0, from, 2, 0, 0, 0, 0, to, 10, 0, 0, to}
	return append(b, make([]byte, 18)...)
}

// TestRealRelated sends errors of ICMP about packets that were sent, which arrive without a rule, and about others.
func TestRealRelated(t *testing.T) {
	f := readGuarded(t)
	st := store.New(tables.Schema, nil)
	if _, err := st.Commit(t.Context(), store.Origin{}, f.put); err != nil {
		t.Fatal(err)
	}
	r := newReal(t, followStandard(t, st, Options{}, "a"), "a", len(f.Ports))
	const spy, shutPort = 3, 4
	mac := func(i int) model.MAC { return model.MAC{2, 0, 0, 0, 0, byte(i)} }
	v4 := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}) }
	query := ipv4(v4(shutPort), v4(spy), model.ProtoUDP, 0, false, udp(1000, 53, 20))
	unreachable := func(about []byte) []byte {
		b := append([]byte{3, 3, 0, 0, 0, 0, 0, 0}, about[:28]...)
		binary.BigEndian.PutUint16(b[2:], checksum(b))
		return ether(mac(spy), mac(shutPort), flow.EthIPv4, ipv4(v4(spy), v4(shutPort), model.ProtoICMP, 0, false, b))
	}
	r.expect("an error about nothing", spy, shutPort, [][]byte{unreachable(query)}, 0)
	r.expect("a query", shutPort, spy, [][]byte{ether(mac(shutPort), mac(spy), flow.EthIPv4, query)}, 1)
	r.expect("an error about the query", spy, shutPort, [][]byte{unreachable(query)}, 1)
	other := ipv4(v4(shutPort), v4(spy), model.ProtoUDP, 0, false, udp(1001, 53, 20))
	r.expect("an error about another", spy, shutPort, [][]byte{unreachable(other)}, 0)
}
