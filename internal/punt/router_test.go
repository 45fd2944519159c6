// SPDX-License-Identifier: Apache-2.0

package punt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/netvirt"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
)

const (
	edgeNode = model.NodeID("edge")
	ext      = model.NetworkID("ext")
	uplink   = 9 // number of the patch to br-ex
	vid      = 42
)

var (
	rifMAC, gwMAC, floatMAC = model.MustMAC("fa:16:3e:00:01:01"), model.MustMAC("fa:16:3e:00:01:02"), model.MustMAC("fa:16:3e:00:01:03")
	outsider                = model.MustMAC("00:50:56:00:00:01")
	gateway4, float4        = netip.MustParseAddr("172.16.1.2"), netip.MustParseAddr("172.16.1.4")
	gateway6                = netip.MustParseAddr("fd16::2")
	next4, next6            = netip.MustParseAddr("172.16.1.1"), netip.MustParseAddr("fd16::1")
)

// site is cloud with a router whose gateway is on a node of its own, and a floating IP for the first instance.
func site(t testing.TB, external model.NetworkType, changes ...func(*store.Txn)) *store.Snapshot {
	st := cloud(t, 3, func(tx *store.Txn) {
		tables.Nodes.Put(tx, edgeNode, model.Node{ID: edgeNode, NodePlane: model.NodePlane{Key: 1, Mappings: map[string]string{"ph": "br-ex"}}})
		tables.Nodes.Put(tx, node, model.Node{ID: node, NodePlane: model.NodePlane{Key: 2}})
		for _, n := range []model.NodeID{edgeNode, node} {
			tables.Interfaces.Put(tx, model.InterfaceKey(n, "patch-ph"), model.Interface{Node: n, Name: "patch-ph", OFPort: uplink})
		}
		tables.Networks.Put(tx, ext, model.Network{ID: ext, NetworkPlane: model.NetworkPlane{Key: 20, Type: external, SegmentationID: vid, PhysicalNetwork: "ph",
			AdminStateUp: true, External: true}})
		tables.Subnets.Put(tx, "ext4", model.Subnet{ID: "ext4", SubnetPlane: model.SubnetPlane{Network: ext, CIDR: netip.MustParsePrefix("172.16.1.0/24"), Gateway: next4}})
		tables.Subnets.Put(tx, "ext6", model.Subnet{ID: "ext6", SubnetPlane: model.SubnetPlane{Network: ext, CIDR: netip.MustParsePrefix("fd16::/64"), Gateway: next6}})
		put(tx, model.Port{ID: "rif", DeviceID: "r", PortPlane: model.PortPlane{Key: 101, Network: netID, MAC: rifMAC, AdminStateUp: true, DeviceOwner: model.OwnerRouterInterface,
			FixedIPs: []model.FixedIP{{Subnet: "sub", Addr: netip.MustParseAddr("10.11.0.1")}, {Subnet: "v6", Addr: netip.MustParseAddr("2001:db8::1")}}}})
		put(tx, model.Port{ID: "gw", DeviceID: "r", PortPlane: model.PortPlane{Key: 102, Network: ext, MAC: gwMAC, AdminStateUp: true, DeviceOwner: model.OwnerRouterGateway,
			FixedIPs: []model.FixedIP{{Subnet: "ext4", Addr: gateway4}, {Subnet: "ext6", Addr: gateway6}}}})
		put(tx, model.Port{ID: "floating", DeviceID: "fip", PortPlane: model.PortPlane{Key: 103, Network: ext, MAC: floatMAC, DeviceOwner: model.OwnerFloatingIP,
			FixedIPs: []model.FixedIP{{Subnet: "ext4", Addr: float4}}}})
		tables.Routers.Put(tx, "r", model.Router{ID: "r", RouterPlane: model.RouterPlane{Key: 7, AdminStateUp: true, GatewayPort: "gw", EnableSNAT: true}})
		tables.FloatingIPs.Put(tx, "fip", model.FloatingIP{ID: "fip", FloatingIPPlane: model.FloatingIPPlane{Key: 1, Network: ext, Addr: float4, FloatPort: "floating",
			Port: vm(3).ID, Fixed: vm(3).FixedIPs[0].Addr, Router: "r"}})
		if _, err := alloc.PlaceGateway(tx, "r", nil); err != nil {
			panic(err)
		}
	})
	for _, f := range changes {
		commit(t, st, f)
	}
	return st.Snapshot()
}

func tagOf(r store.Reader, id model.NetworkID) uint64 {
	n, _ := tables.Networks.Get(r, id)
	tag, _ := netvirt.LogicalNetwork(&n)
	return tag
}

// udp is a UDP packet in Ethernet. Its time to live is 1.
func udp(dst, src model.MAC, from, to netip.Addr, size int) []byte {
	l := link{}
	data := make([]byte, 8+size)
	binary.BigEndian.PutUint16(data, 33000)
	binary.BigEndian.PutUint16(data[2:], 33434)
	binary.BigEndian.PutUint16(data[4:], uint16(len(data)))
	if from.Is6() {
		b := append(l.header(dst, src, etherIPv6), 0x60, 0, 0, 0)
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(data))), protoUDP, 1)
		return append(append(append(b, from.AsSlice()...), to.AsSlice()...), data...)
	}
	binary.BigEndian.PutUint16(data[6:], sum16(pseudo(from, to, len(data)), data))
	b := appendIPv4(l.header(dst, src, etherIPv4), from, to, data)
	b[etherHeader+8], b[etherHeader+9] = 1, protoUDP
	return again(b)
}

func pseudo(from, to netip.Addr, n int) (s uint32) {
	s = uint32(n) + protoUDP
	for _, a := range []netip.Addr{from, to} {
		for b := a.AsSlice(); len(b) > 0; b = b[2:] {
			s += uint32(binary.BigEndian.Uint16(b))
		}
	}
	return s
}

// again gives a frame's IPv4 header a right checksum.
func again(b []byte) []byte {
	h := b[etherHeader : etherHeader+20]
	h[10], h[11] = 0, 0
	binary.BigEndian.PutUint16(h[10:], sum16(0, h))
	return b
}

func with(b []byte, at int, v ...byte) []byte {
	out := slices.Clone(b)
	copy(out[at:], v)
	return out
}

// TestExpired shows who is told that a packet's time to live has ended, by what address, and who is not.
func TestExpired(t *testing.T) {
	snap := site(t, model.Flat)
	mine := vm(3)
	src, dst := mine.FixedIPs[0].Addr, netip.MustParseAddr("9.9.9.9")
	good := udp(rifMAC, mine.MAC, src, dst, 4)
	v6 := udp(rifMAC, mine.MAC, netip.MustParseAddr("2001:db8::77"), netip.MustParseAddr("2001:db9::1"), 1400)
	ask := func(change func(*Packet)) [][]byte {
		p := Packet{Node: node, Kind: pipeline.PuntTTL, Port: mine.Key, Origin: pipeline.FromPort, InPort: 4, TunID: tagOf(snap, netID), Data: good}
		if change != nil {
			change(&p)
		}
		return Answer(snap, p)
	}
	out := ask(nil)
	if len(out) != 1 {
		t.Fatalf("%d answers", len(out))
	}
	f, ip := out[0], out[0][etherHeader:]
	if model.MAC(f[:6]) != mine.MAC || model.MAC(f[6:12]) != rifMAC || sum16(0, ip[:20]) != 0 || ip[8] != 64 ||
		!bytes.Equal(ip[12:20], append(netip.MustParseAddr("10.11.0.1").AsSlice(), src.AsSlice()...)) {
		t.Errorf("header % x", f[:34])
	}
	if n := int(binary.BigEndian.Uint16(ip[2:])); sum16(0, ip[20:n]) != 0 || ip[20] != 11 || ip[21] != 0 || !bytes.Equal(ip[28:n], good[etherHeader:]) {
		t.Errorf("message % x", ip[20:n])
	}
	if out = ask(func(p *Packet) { p.Data = v6 }); len(out) != 1 {
		t.Fatalf("IPv6: %d answers", len(out))
	}
	ip = out[0][etherHeader:]
	if from, to := netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40])); len(ip) != maxError6 || from != netip.MustParseAddr("2001:db8::1") ||
		ip[40] != 3 || icmp6Sum(from, to, ip[40:]) != 0 || !bytes.Equal(ip[48:], v6[etherHeader:etherHeader+maxError6-48]) {
		t.Errorf("IPv6: %d octets, from %v to %v, % x", len(ip), from, to, ip[40:48])
	}
	if out = ask(func(p *Packet) { p.Data = udp(rifMAC, mine.MAC, src, dst, 3000) }); len(out) != 1 || len(out[0]) != etherHeader+maxError4 {
		t.Errorf("a large packet is quoted whole")
	}
	icmp := func(kind byte) []byte { return again(with(with(good, etherHeader+9, protoICMP), etherHeader+20, kind)) }
	if ask(func(p *Packet) { p.Data = icmp(8) }) == nil {
		t.Error("an echo request gets no answer")
	}
	for what, change := range map[string]func(*Packet){
		"port of another node":       func(p *Packet) { p.Node = edgeNode },
		"no such port":               func(p *Packet) { p.Port = 99999 },
		"another network":            func(p *Packet) { p.TunID++ },
		"from a tunnel":              func(p *Packet) { p.Origin = pipeline.FromTunnel },
		"not to the router":          func(p *Packet) { p.Data = with(good, 0, stranger[:]...) },
		"to all":                     func(p *Packet) { p.Data = with(good, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff) },
		"ICMP error":                 func(p *Packet) { p.Data = icmp(3) },
		"time exceeded":              func(p *Packet) { p.Data = icmp(11) },
		"later fragment":             func(p *Packet) { p.Data = again(with(good, etherHeader+6, 0, 9)) },
		"wrong checksum":             func(p *Packet) { p.Data = with(good, etherHeader+10, 1, 2) },
		"from nobody":                func(p *Packet) { p.Data = udp(rifMAC, mine.MAC, netip.IPv4Unspecified(), dst, 4) },
		"from a group":               func(p *Packet) { p.Data = udp(rifMAC, mine.MAC, netip.MustParseAddr("224.0.0.1"), dst, 4) },
		"from the router":            func(p *Packet) { p.Data = udp(rifMAC, mine.MAC, netip.MustParseAddr("10.11.0.1"), dst, 4) },
		"to a group":                 func(p *Packet) { p.Data = udp(rifMAC, mine.MAC, src, netip.MustParseAddr("224.0.0.5"), 4) },
		"IPv6 from nobody":           func(p *Packet) { p.Data = with(v6, etherHeader+8, make([]byte, 16)...) },
		"IPv6 behind a header":       func(p *Packet) { p.Data = with(v6, etherHeader+6, 0) },
		"IPv6 error":                 func(p *Packet) { p.Data = with(with(v6, etherHeader+6, protoICMPv6), etherHeader+40, 1) },
		"ARP":                        func(p *Packet) { p.Data = with(good, 12, 8, 6) },
		"cut":                        func(p *Packet) { p.Data = good[:30] },
		"of the wire, by a port":     func(p *Packet) { p.Origin = pipeline.FromProvider },
		"no kind that is known here": func(p *Packet) { p.Kind = 77 },
	} {
		if out := ask(change); out != nil {
			t.Errorf("%s: % x", what, out)
		}
	}
	down := site(t, model.Flat, func(tx *store.Txn) {
		rt, _ := tables.Routers.Get(tx, "r")
		rt.AdminStateUp = false
		tables.Routers.Put(tx, "r", rt)
	})
	if Answer(down, Packet{Node: node, Kind: pipeline.PuntTTL, Port: mine.Key, Origin: pipeline.FromPort, InPort: 4, TunID: tagOf(down, netID), Data: good}) != nil {
		t.Error("a router that is down speaks")
	}
}

// TestExpiredOnTheWay shows who is told by a router that another passed a packet on to, by a frame from the router next to it.
func TestExpiredOnTheWay(t *testing.T) {
	far, farOwn, before := model.MustMAC("fa:16:3e:00:02:02"), model.MustMAC("fa:16:3e:00:02:03"), model.MustMAC("fa:16:3e:00:02:01")
	snap := site(t, model.Flat, func(tx *store.Txn) {
		tables.Networks.Put(tx, "transit", model.Network{ID: "transit", NetworkPlane: model.NetworkPlane{Key: 30, Type: model.VXLAN, SegmentationID: 300, AdminStateUp: true}})
		face := func(id model.PortID, router string, key model.Key, n model.NetworkID, mac model.MAC, addr string) {
			put(tx, model.Port{ID: id, DeviceID: router, PortPlane: model.PortPlane{Key: key, Network: n, MAC: mac, AdminStateUp: true, DeviceOwner: model.OwnerRouterInterface,
				FixedIPs: []model.FixedIP{{Addr: netip.MustParseAddr(addr)}}}})
		}
		face("t-1", "r", 201, "transit", before, "10.91.0.1")
		face("t-2", "r2", 202, "transit", far, "10.91.0.2")
		face("n-2", "r2", 203, netID, farOwn, "10.11.0.2")
		face("t-3", "r3", 204, "transit", stranger, "10.91.0.3") // no route leads there
		for id, hop := range map[model.RouterID]string{"r": "10.91.0.2", "r2": "10.91.0.1", "r3": "10.91.0.1"} {
			rt, _ := tables.Routers.Get(tx, id)
			rt.ID, rt.AdminStateUp, rt.Routes = id, true, []model.Route{{Destination: netip.MustParsePrefix("9.0.0.0/8"), NextHop: netip.MustParseAddr(hop)}}
			tables.Routers.Put(tx, id, rt)
		}
	})
	mine := vm(3)
	src, dst := mine.FixedIPs[0].Addr, netip.MustParseAddr("9.9.9.9")
	for _, w := range []struct {
		what     string
		net      model.NetworkID
		dst, src model.MAC
		answers  string // "": nobody
	}{
		{"on the network between", "transit", far, before, "10.91.0.2"}, {"back on its own", netID, farOwn, rifMAC, "10.11.0.2"},
		{"no route leads there", "transit", stranger, before, ""}, {"another network", ext, far, before, ""}, {"nobody", "transit", outsider, before, ""},
	} {
		out := Answer(snap, Packet{Node: node, Kind: pipeline.PuntTTL, Port: mine.Key, Origin: pipeline.FromPort, InPort: 4, TunID: tagOf(snap, w.net), Data: udp(w.dst, w.src, src, dst, 4)})
		if len(out) == 0 || w.answers == "" {
			if len(out) > 0 || w.answers != "" {
				t.Errorf("%s: %d answers", w.what, len(out))
			}
			continue
		}
		f := out[0]
		from := netip.AddrFrom4([4]byte(f[etherHeader+12 : etherHeader+16]))
		if model.MAC(f[:6]) != mine.MAC || model.MAC(f[6:12]) != rifMAC && w.net == "transit" || from.String() != w.answers {
			t.Errorf("%s: to %v by %v from %v", w.what, model.MAC(f[:6]), model.MAC(f[6:12]), from)
		}
	}
}

// TestExpiredFromWire shows that a host outside sees the floating IP in what comes back, not the address behind it.
func TestExpiredFromWire(t *testing.T) {
	for _, typ := range []model.NetworkType{model.Flat, model.VLAN} {
		snap := site(t, typ)
		src, fixed := netip.MustParseAddr("9.9.9.9"), vm(3).FixedIPs[0].Addr
		sent := udp(floatMAC, outsider, src, float4, 4)
		seen := slices.Clone(sent) // after translation
		if !untranslate(seen[etherHeader:], float4, fixed) || sum16(pseudo(src, fixed, 12), seen[etherHeader+20:]) != 0 || sum16(0, seen[etherHeader:etherHeader+20]) != 0 {
			t.Fatal("translation and its opposite differ")
		}
		ask := func(change func(*Packet)) [][]byte {
			p := Packet{Node: edgeNode, Kind: pipeline.PuntTTL, Origin: pipeline.FromProvider, InPort: uplink, TunID: tagOf(snap, ext), Data: seen}
			if change != nil {
				change(&p)
			}
			return Answer(snap, p)
		}
		out := ask(nil)
		if len(out) != 1 {
			t.Fatalf("%s: %d answers", typ, len(out))
		}
		f := out[0]
		if typ == model.VLAN {
			if !bytes.Equal(f[12:16], []byte{0x81, 0, 0, vid}) {
				t.Errorf("tag % x", f[12:16])
			}
			f = append(slices.Clone(f[:12]), f[16:]...)
		}
		ip := f[etherHeader:]
		if n := int(binary.BigEndian.Uint16(ip[2:])); model.MAC(f[:6]) != outsider || model.MAC(f[6:12]) != floatMAC ||
			!bytes.Equal(ip[12:20], append(gateway4.AsSlice(), src.AsSlice()...)) || !bytes.Equal(ip[28:n], sent[etherHeader:]) {
			t.Errorf("%s: % x", typ, f)
		}
		for what, change := range map[string]func(*Packet){
			"another node":           func(p *Packet) { p.Node = node },
			"another port":           func(p *Packet) { p.InPort = 4 },
			"another network":        func(p *Packet) { p.TunID = tagOf(snap, netID) },
			"to a stranger":          func(p *Packet) { p.Data = with(seen, 0, stranger[:]...) },
			"not its own address":    func(p *Packet) { p.Data = udp(floatMAC, outsider, src, vm(4).FixedIPs[0].Addr, 4) },
			"an answer, translated":  func(p *Packet) { p.Data = udp(gwMAC, outsider, src, fixed, 4) },
			"to the router's inside": func(p *Packet) { p.Data = udp(rifMAC, outsider, src, fixed, 4) },
		} {
			if out := ask(change); out != nil {
				t.Errorf("%s, %s: % x", typ, what, out)
			}
		}
		if ask(func(p *Packet) {
			p.Data = udp(gwMAC, outsider, netip.MustParseAddr("fd99::1"), netip.MustParseAddr("2001:db8::77"), 4)
		}) == nil {
			t.Errorf("%s: nothing of a routed IPv6 packet", typ)
		}
	}
}

// TestTooLarge shows who is told what the network ahead takes: the port that sent the packet, or the host outside, that knows of
// no address but the floating IP and the gateway.
func TestTooLarge(t *testing.T) {
	mine, far := vm(3), netip.MustParseAddr("9.9.9.9")
	for _, typ := range []model.NetworkType{model.Flat, model.VLAN} {
		snap := site(t, typ)
		inside := Packet{Node: node, Kind: pipeline.PuntTooLarge, Port: mine.Key, Origin: pipeline.FromPort, InPort: 4, TunID: tagOf(snap, netID), MTU: 1400}
		wire := Packet{Node: edgeNode, Kind: pipeline.PuntTooLarge, Origin: pipeline.FromProvider, InPort: uplink, TunID: tagOf(snap, ext), MTU: 1400}
		six, out6 := netip.MustParseAddr("2001:db8::77"), netip.MustParseAddr("fd99::1")
		for _, c := range []struct {
			what     string
			p        Packet
			sent     []byte
			from, to netip.Addr
		}{
			{"from a port", inside, udp(rifMAC, mine.MAC, mine.FixedIPs[0].Addr, far, 1400), netip.MustParseAddr("10.11.0.1"), mine.FixedIPs[0].Addr},
			{"from a port, IPv6", inside, udp(rifMAC, mine.MAC, six, out6, 1400), netip.MustParseAddr("2001:db8::1"), six},
			{"to a floating IP", wire, udp(floatMAC, outsider, far, float4, 1400), gateway4, far},
			{"an answer to the gateway", wire, udp(gwMAC, outsider, far, gateway4, 1400), gateway4, far},
			{"to inside, IPv6", wire, udp(gwMAC, outsider, out6, six, 1400), gateway6, out6},
		} {
			c.p.Data = c.sent
			got := Answer(snap, c.p)
			if len(got) != 1 {
				t.Fatalf("%s %s: %d answers", typ, c.what, len(got))
			}
			f := got[0]
			if model.MAC(f[:6]) != model.MAC(c.sent[6:12]) || model.MAC(f[6:12]) != model.MAC(c.sent[:6]) {
				t.Errorf("%s: frame % x", c.what, f[:14])
			}
			if f[12] == 0x81 {
				f = append(slices.Clone(f[:12]), f[16:]...)
			}
			ip, quoted := f[etherHeader:], c.sent[etherHeader:]
			if c.from.Is4() {
				n := int(binary.BigEndian.Uint16(ip[2:]))
				if !bytes.Equal(ip[12:20], append(c.from.AsSlice(), c.to.AsSlice()...)) || sum16(0, ip[20:n]) != 0 || !bytes.Equal(ip[20:22], []byte{3, 4}) ||
					!bytes.Equal(ip[24:28], []byte{0, 0, 1400 >> 8, 1400 & 255}) || !bytes.Equal(ip[28:n], quoted[:n-28]) {
					t.Errorf("%s: % x", c.what, ip[:60])
				}
			} else if !bytes.Equal(ip[8:40], append(c.from.AsSlice(), c.to.AsSlice()...)) || icmp6Sum(c.from, c.to, ip[40:]) != 0 || !bytes.Equal(ip[40:42], []byte{2, 0}) ||
				!bytes.Equal(ip[44:48], []byte{0, 0, 1400 >> 8, 1400 & 255}) || !bytes.Equal(ip[48:], quoted[:maxError6-48]) {
				t.Errorf("%s: % x", c.what, ip[:88])
			}
		}
		fragment := append(slices.Clone(udp(rifMAC, mine.MAC, six, out6, 1400)[:etherHeader+40]), protoUDP, 0, 0, 1, 0, 0, 0, 7)
		fragment = append(fragment, make([]byte, 1400)...)
		fragment[etherHeader+6] = protoFragment
		binary.BigEndian.PutUint16(fragment[etherHeader+4:], 1408)
		inside.Data = fragment
		if Answer(snap, inside) == nil {
			t.Error("nothing of a first fragment of IPv6")
		}
		inside.Data, wire.Data = udp(rifMAC, mine.MAC, mine.FixedIPs[0].Addr, far, 1400), udp(floatMAC, outsider, far, float4, 1400)
		for what, p := range map[string]Packet{
			"later fragment of IPv6":     changed(inside, func(p *Packet) { p.Data = with(fragment, etherHeader+42, 0, 9) }),
			"error in a fragment":        changed(inside, func(p *Packet) { p.Data = with(fragment, etherHeader+40, protoICMPv6) }),
			"it fits":                    changed(inside, func(p *Packet) { p.MTU = 1428 }),
			"no network takes so little": changed(inside, func(p *Packet) { p.MTU = 67 }),
			"none":                       changed(inside, func(p *Packet) { p.MTU = 0 }),
			"no network of IPv6":         changed(inside, func(p *Packet) { p.Data, p.MTU = udp(rifMAC, mine.MAC, six, out6, 1400), 1279 }),
			"by a tunnel":                changed(inside, func(p *Packet) { p.Origin = pipeline.FromTunnel }),
			"from another node":          changed(wire, func(p *Packet) { p.Node = node }),
			"to the address behind it":   changed(wire, func(p *Packet) { p.Data = udp(floatMAC, outsider, far, mine.FixedIPs[0].Addr, 1400) }),
			"past the gateway":           changed(wire, func(p *Packet) { p.Data = udp(gwMAC, outsider, far, mine.FixedIPs[0].Addr, 1400) }),
		} {
			if out := Answer(snap, p); out != nil {
				t.Errorf("%s: % x", what, out[0][:60])
			}
		}
	}
}

func changed(p Packet, f func(*Packet)) Packet { f(&p); return p }

// arp is an ARP frame.
func arp(dst, src model.MAC, op byte, sender netip.Addr, target netip.Addr) []byte {
	l := link{}
	return l.frame(appendARP(l.header(dst, src, etherARP), op, speaker{sender, src}, dst, target)).Data
}

// TestNeighbours follows a next hop from what needs it, by the question, to the answer, and shows what is not believed.
func TestNeighbours(t *testing.T) {
	snap := site(t, model.VLAN)
	if got := fmt.Sprint(Gateways(snap, edgeNode), Gateways(snap, node)); got != "[{ext 172.16.1.1} {ext fd16::1}] []" {
		t.Errorf("gateways %s", got)
	}
	f, ok := Ask(snap, edgeNode, Hop{ext, next4})
	want := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, gwMAC[:]...)
	want = append(want, 0x81, 0, 0, vid, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1)
	want = append(append(want, gwMAC[:]...), 172, 16, 1, 2, 0, 0, 0, 0, 0, 0, 172, 16, 1, 1)
	if !ok || f.Port != uplink || len(f.Data) != minFrame || !bytes.Equal(f.Data[:len(want)], want) {
		t.Errorf("question % x by %d %v", f.Data, f.Port, ok)
	}
	f, ok = Ask(snap, edgeNode, Hop{ext, next6})
	if b := f.Data[18:]; !ok || icmp6Sum(gateway6, netip.AddrFrom16([16]byte(b[24:40])), b[40:]) != 0 || b[40] != 135 || !bytes.Equal(b[48:64], next6.AsSlice()) {
		t.Errorf("solicitation % x %v", f.Data, ok)
	}
	if _, ok := Ask(snap, node, Hop{ext, next4}); ok {
		t.Error("a node that does not speak there asks")
	}

	resolve := Packet{Node: edgeNode, Kind: pipeline.PuntResolve, TunID: tagOf(snap, ext), NextHop: netip.MustParseAddr("172.16.1.77")}
	if h, ok := Wanted(snap, &resolve); !ok || h.Addr != resolve.NextHop || h.Network != ext {
		t.Errorf("wanted %v %v", h, ok)
	}
	elsewhere := resolve // an address of ours that another node serves is asked for like any other
	elsewhere.NextHop = float4
	if h, ok := Wanted(snap, &elsewhere); !ok || h.Addr != float4 {
		t.Errorf("wanted, our own on another node: %v %v", h, ok)
	}
	for what, change := range map[string]func(*Packet){
		"off link":         func(p *Packet) { p.NextHop = netip.MustParseAddr("172.16.2.1") },
		"broadcast":        func(p *Packet) { p.NextHop = netip.MustParseAddr("172.16.1.255") },
		"network":          func(p *Packet) { p.NextHop = netip.MustParseAddr("172.16.1.0") },
		"none":             func(p *Packet) { p.NextHop = netip.Addr{} },
		"another node":     func(p *Packet) { p.Node = node },
		"tenant's network": func(p *Packet) { p.TunID = tagOf(snap, netID) },
	} {
		p := resolve
		change(&p)
		if h, ok := Wanted(snap, &p); ok {
			t.Errorf("wanted, %s: %v", what, h)
		}
	}

	heard := Packet{Node: edgeNode, Kind: pipeline.PuntNeighbour, Origin: pipeline.FromProvider, InPort: uplink, TunID: tagOf(snap, ext),
		Data: arp(gwMAC, outsider, 2, next4, gateway4)}
	if h, mac, ok := Learned(snap, &heard); !ok || h != (Hop{ext, next4}) || mac != outsider {
		t.Errorf("learned %v %v %v", h, mac, ok)
	}
	own := heard
	own.Data = arp(gwMAC, floatMAC, 2, float4, gateway4)
	if h, mac, ok := Learned(snap, &own); !ok || h != (Hop{ext, float4}) || mac != floatMAC {
		t.Errorf("learned, our own by the MAC that it has: %v %v %v", h, mac, ok)
	}
	l := link{}
	msg := append(append([]byte{136, 0, 0, 0, 0x60, 0, 0, 0}, next6.AsSlice()...), append([]byte{2, 1}, outsider[:]...)...)
	advert := appendND(l.header(gwMAC, outsider, etherIPv6), next6, gateway6, msg)
	six := heard
	six.Data = advert
	if h, mac, ok := Learned(snap, &six); !ok || h != (Hop{ext, next6}) || mac != outsider {
		t.Errorf("learned %v %v %v", h, mac, ok)
	}
	for what, change := range map[string]func(*Packet){
		"another node":       func(p *Packet) { p.Node = node },
		"not from the wire":  func(p *Packet) { p.Origin = pipeline.FromPort },
		"from another port":  func(p *Packet) { p.InPort = 4 },
		"tenant's network":   func(p *Packet) { p.TunID = tagOf(snap, netID) },
		"our own address":    func(p *Packet) { p.Data = arp(gwMAC, outsider, 2, float4, gateway4) },
		"off link":           func(p *Packet) { p.Data = arp(gwMAC, outsider, 2, netip.MustParseAddr("10.0.0.1"), gateway4) },
		"a question":         func(p *Packet) { p.Data = arp(gwMAC, outsider, 1, next4, gateway4) },
		"a group's address":  func(p *Packet) { p.Data = arp(gwMAC, model.MAC{1}, 2, next4, gateway4) },
		"no address":         func(p *Packet) { p.Data = arp(gwMAC, model.MAC{}, 2, next4, gateway4) },
		"advert: hop limit":  func(p *Packet) { p.Data = with(advert, etherHeader+7, 64) },
		"advert: checksum":   func(p *Packet) { p.Data = with(advert, etherHeader+42, 1, 1) },
		"advert: empty":      func(p *Packet) { p.Data = with(advert, len(advert)-7, 0) },
		"advert: cut":        func(p *Packet) { p.Data = advert[:len(advert)-3] },
		"cut":                func(p *Packet) { p.Data = p.Data[:30] },
		"advert: of a group": func(p *Packet) { p.Data = with(advert, etherHeader+48, 0xff, 2) },
	} {
		p := heard
		change(&p)
		if h, mac, ok := Learned(snap, &p); ok {
			t.Errorf("learned, %s: %v %v", what, h, mac)
		}
	}
}

// TestFloatingAlone shows that a node that has but a floating IP asks by that, and that an instance on the external network is
// what its port says.
func TestFloatingAlone(t *testing.T) {
	snap := site(t, model.Flat, func(tx *store.Txn) {
		n, _ := tables.Nodes.Get(tx, node)
		n.Mappings = map[string]string{"ph": "br-ex"}
		tables.Nodes.Put(tx, node, n)
		tables.Plugs.Put(tx, model.PlugKey(node, vm(3).ID), model.Plug{Node: node, Port: vm(3).ID})
		put(tx, model.Port{ID: "inst", PortPlane: model.PortPlane{Key: 200, Network: ext, MAC: stranger, AdminStateUp: true, DeviceOwner: "compute:nova", Host: node,
			FixedIPs: []model.FixedIP{{Subnet: "ext4", Addr: netip.MustParseAddr("172.16.1.50")}}}})
	})
	f, ok := Ask(snap, node, Hop{ext, next4})
	if !ok || model.MAC(f.Data[6:12]) != floatMAC || !bytes.Equal(f.Data[28:32], float4.AsSlice()) {
		t.Errorf("question % x %v", f.Data, ok)
	}
	if got := len(Announce(snap, node, "fip")); got != 2 {
		t.Errorf("%d announcements where it is served", got)
	}
	if Announce(snap, edgeNode, "fip") != nil {
		t.Error("announced elsewhere")
	}
	for mac, want := range map[model.MAC]bool{stranger: true, outsider: false} {
		p := Packet{Node: node, Kind: pipeline.PuntNeighbour, Origin: pipeline.FromProvider, InPort: uplink, TunID: tagOf(snap, ext),
			Data: arp(floatMAC, mac, 2, netip.MustParseAddr("172.16.1.50"), float4)}
		if _, _, ok := Learned(snap, &p); ok != want {
			t.Errorf("an instance's address with %v: believed %v", mac, ok)
		}
	}
}

// TestAnnounce shows both forms of an announcement, and that only the place announces.
func TestAnnounce(t *testing.T) {
	snap := site(t, model.Flat)
	frames := Announce(snap, edgeNode, "fip")
	if len(frames) != 2 {
		t.Fatalf("%d frames", len(frames))
	}
	for i, f := range frames {
		want := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, floatMAC[:]...)
		want = append(want, 8, 6, 0, 1, 8, 0, 6, 4, 0, byte(1+i))
		want = append(append(want, floatMAC[:]...), 172, 16, 1, 4, 0, 0, 0, 0, 0, 0, 172, 16, 1, 4)
		if f.Port != uplink || !bytes.Equal(f.Data[:len(want)], want) {
			t.Errorf("frame %d by %d: % x", i, f.Port, f.Data)
		}
	}
	if frames = Announce(snap, edgeNode, "gw"); len(frames) != 3 {
		t.Fatalf("%d frames of the gateway, want two of IPv4 and one of IPv6", len(frames))
	}
	if b := frames[2].Data[etherHeader:]; icmp6Sum(gateway6, netip.IPv6LinkLocalAllNodes(), b[40:]) != 0 || b[40] != 136 {
		t.Errorf("advertisement % x", b)
	}
	wired := site(t, model.Flat, func(tx *store.Txn) { // the router's address on a wire of a tenant comes along
		n, _ := tables.Networks.Get(tx, netID)
		n.Type, n.PhysicalNetwork, n.SegmentationID = model.VLAN, "ph", vid
		tables.Networks.Put(tx, netID, n)
	})
	if frames = Announce(wired, edgeNode, "gw"); len(frames) != 6 || model.MAC(frames[3].Data[6:12]) != rifMAC || !bytes.Equal(frames[3].Data[12:18], []byte{0x81, 0, 0, vid, 8, 6}) {
		t.Errorf("%d frames of the gateway and an interface on a wire", len(frames))
	}
	for what, got := range map[string][]Frame{"gateway elsewhere": Announce(snap, node, "gw"), "floating IP elsewhere": Announce(snap, node, "fip"),
		"an interface": Announce(snap, edgeNode, "rif"), "nothing": Announce(snap, edgeNode, "none")} {
		if got != nil {
			t.Errorf("%s: %d frames", what, len(got))
		}
	}
}

// FuzzRouted has nodes send up anything as anything: what comes back is a whole frame, and what is learned is on the network.
func FuzzRouted(f *testing.F) {
	snap := site(f, model.VLAN)
	nets := []uint64{tagOf(snap, ext), tagOf(snap, netID)}
	mine := vm(3)
	for _, b := range [][]byte{
		udp(rifMAC, mine.MAC, mine.FixedIPs[0].Addr, next4, 4), udp(floatMAC, outsider, next4, mine.FixedIPs[0].Addr, 4),
		udp(gwMAC, outsider, next6, netip.MustParseAddr("2001:db8::77"), 4), arp(gwMAC, outsider, 2, next4, gateway4),
	} {
		for kind := byte(1); kind <= 5; kind++ {
			f.Add(b, kind, uint8(1), true)
			f.Add(b, kind, uint8(3), false)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, kind, origin uint8, outside bool) {
		p := Packet{Node: node, Kind: kind, Port: mine.Key, Origin: uint32(origin), InPort: 4, TunID: nets[1], Data: data}
		if outside {
			p.Node, p.InPort, p.TunID = edgeNode, uplink, nets[0]
		}
		if len(data) >= 4 {
			p.MTU = int(binary.BigEndian.Uint16(data))
			p.NextHop = netip.AddrFrom4([4]byte(data[:4]))
		}
		was := bytes.Clone(data)
		for _, out := range Answer(snap, p) {
			if len(out) < minFrame || len(out) > etherHeader+4+1500 {
				t.Errorf("answer of %d octets", len(out))
			}
		}
		if h, mac, ok := Learned(snap, &p); ok && (!tables.OnLink(snap, h.Network, h.Addr) || mac.IsZero() || mac.IsMulticast()) {
			t.Errorf("learned %v %v", h, mac)
		}
		if h, ok := Wanted(snap, &p); ok && !tables.OnLink(snap, h.Network, h.Addr) {
			t.Errorf("wanted %v", h)
		}
		if !bytes.Equal(was, data) {
			t.Error("the frame was changed")
		}
	})
}
