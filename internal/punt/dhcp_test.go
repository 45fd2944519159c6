// SPDX-License-Identifier: Apache-2.0

package punt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"go.uber.org/goleak"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	node  = model.NodeID("compute")
	netID = model.NetworkID("net")
)

var (
	serverMAC = model.MustMAC("fa:16:3e:ef:85:07")
	stranger  = model.MustMAC("fa:16:3e:00:ff:99")
)

// vm is the n-th instance's port: key, MAC and address follow from n.
func vm(n int) model.Port {
	return model.Port{ID: model.PortID(fmt.Sprintf("vm%05d", n)), PortPlane: model.PortPlane{Key: model.Key(n), Network: netID, AdminStateUp: true,
		MAC: model.MAC{0xfa, 0x16, 0x3e, 0, byte(n >> 8), byte(n)}, Host: node, PortSecurity: true,
		FixedIPs: []model.FixedIP{{Subnet: "sub", Addr: netip.AddrFrom4([4]byte{10, 11, byte(n >> 8), byte(n)})}}}}
}

// dhcpPort is the network's native server.
func dhcpPort() model.Port {
	return model.Port{ID: "dhcp", PortPlane: model.PortPlane{Key: 1 << 20, Network: netID, MAC: serverMAC, AdminStateUp: true, DeviceOwner: model.OwnerDHCP,
		FixedIPs: []model.FixedIP{{Subnet: "sub", Addr: netip.MustParseAddr("10.11.255.2")}, {Subnet: "v6", Addr: netip.MustParseAddr("2001:db8::2")}}}}
}

// cloud is a network with a native server and n instances. Changes may follow.
func cloud(t testing.TB, n int, changes ...func(*store.Txn)) *store.Store {
	t.Helper()
	st := store.New(tables.Schema, nil)
	commit(t, st, func(tx *store.Txn) {
		tables.Networks.Put(tx, netID, model.Network{ID: netID, NetworkPlane: model.NetworkPlane{Key: 1, Type: model.VXLAN, SegmentationID: 7, MTU: 1450, AdminStateUp: true}})
		tables.Subnets.Put(tx, "sub", model.Subnet{ID: "sub", SubnetPlane: model.SubnetPlane{Network: netID, EnableDHCP: true,
			CIDR: netip.MustParsePrefix("10.11.0.0/16"), Gateway: netip.MustParseAddr("10.11.0.1"), DNSNameservers: []netip.Addr{netip.MustParseAddr("8.8.8.8")},
			HostRoutes: []model.Route{{Destination: netip.MustParsePrefix("10.20.0.0/16"), NextHop: netip.MustParseAddr("10.11.0.9")}}}})
		tables.Subnets.Put(tx, "v6", model.Subnet{ID: "v6", SubnetPlane: model.SubnetPlane{Network: netID, EnableDHCP: true, CIDR: netip.MustParsePrefix("2001:db8::/64")}})
		put(tx, dhcpPort())
		for i := range n {
			put(tx, vm(i+3))
		}
	})
	for _, f := range changes {
		commit(t, st, f)
	}
	return st
}

func commit(t testing.TB, st *store.Store, f func(*store.Txn)) {
	t.Helper()
	if _, err := st.Commit(t.Context(), store.Origin{}, func(tx *store.Txn) error { f(tx); return nil }); err != nil {
		t.Fatal(err)
	}
}

func put(tx *store.Txn, p model.Port) {
	if err := alloc.PutPort(tx, p); err != nil {
		panic(err)
	}
}

// frame is a client's broadcast.
func frame(src, chaddr model.MAC, kind dhcpv4.MessageType, mods ...dhcpv4.Modifier) []byte {
	m, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(chaddr[:]), dhcpv4.WithMessageType(kind)}, mods...)...)
	if err != nil {
		panic(err)
	}
	body := m.ToBytes()
	out := append(bytes.Repeat([]byte{0xff}, 6), src[:]...)
	out = append(out, 8, 0, 0x45, 0)
	out = binary.BigEndian.AppendUint16(out, uint16(28+len(body)))
	out = append(out, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255)
	var sum uint32
	for i := 14; i < 34; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(out[i:]))
	}
	binary.BigEndian.PutUint16(out[24:], ^uint16(sum>>16+sum&0xffff))
	out = append(out, 0, 68, 0, 67)
	out = binary.BigEndian.AppendUint16(out, uint16(8+len(body)))
	return append(append(out, 0, 0), body...)
}

func discover(n int) Packet {
	m := vm(n).MAC
	return Packet{Node: node, Kind: pipeline.PuntDHCP, Port: model.Key(n), Data: frame(m, m, dhcpv4.MessageTypeDiscover)}
}

func message(t *testing.T, frames [][]byte) *dhcpv4.DHCPv4 {
	t.Helper()
	if len(frames) != 1 {
		t.Fatalf("%d answers, want one", len(frames))
	}
	m, err := dhcpv4.FromBytes(frames[0][42:])
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAnswer(t *testing.T) {
	st := cloud(t, 3, func(tx *store.Txn) {
		p := vm(4)
		p.DNSName = "web.example.org."
		p.DHCPOpts = []model.DHCPOpt{{Name: "mtu", Value: "1400", Version: 4}, {Name: "bootfile-name", Value: "x", Version: 6},
			{Name: "no-such", Value: "x", Version: 4}, {Name: "tftp-server", Value: "192.0.2.1", Version: 4}}
		put(tx, p)
		n, _ := tables.Networks.Get(tx, netID)
		n.DNSDomain = "example.org."
		tables.Networks.Put(tx, netID, n)
	})
	p := discover(3)
	before := bytes.Clone(p.Data)
	out := Answer(st.Snapshot(), p)
	offer := message(t, out)
	if !bytes.Equal(before, p.Data) {
		t.Error("the packet was changed")
	}
	if model.MAC(out[0][0:6]) != vm(3).MAC || model.MAC(out[0][6:12]) != serverMAC {
		t.Errorf("from %x to %x", out[0][6:12], out[0][0:6])
	}
	mask, _ := offer.SubnetMask().Size()
	got := fmt.Sprint(offer.MessageType(), offer.YourIPAddr, offer.ServerIdentifier(), mask, offer.Router(), offer.DNS(), offer.GetOneOption(dhcpv4.OptionInterfaceMTU),
		offer.IPAddressLeaseTime(0), offer.DomainName(), offer.HostName(), offer.ClasslessStaticRoute())
	const want = "OFFER 10.11.0.3 10.11.255.2 16 [10.11.0.1] [8.8.8.8] [5 170] 24h0m0sexample.orghost-10-11-0-3" +
		"[route to 10.20.0.0/16 via 10.11.0.9 route to 0.0.0.0/0 via 10.11.0.1]"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	own := message(t, Answer(st.Snapshot(), discover(4)))
	if own.HostName() != "web" || !bytes.Equal(own.GetOneOption(dhcpv4.OptionInterfaceMTU), []byte{1400 >> 8, 1400 & 255}) || own.TFTPServerName() != "192.0.2.1" ||
		own.BootFileNameOption() != "" {
		t.Errorf("a port's own options: %s", own.Summary())
	}
	if _, faults := Extras(new(portOf(t, st, 4))); len(faults) != 1 {
		t.Errorf("reasons %v, want one for the unknown option", faults)
	}
	// Another address than the reserved one is refused, authoritatively.
	p.Data = frame(vm(3).MAC, vm(3).MAC, dhcpv4.MessageTypeRequest, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress([]byte{10, 11, 0, 4})))
	if nak := message(t, Answer(st.Snapshot(), p)); nak.MessageType() != dhcpv4.MessageTypeNak {
		t.Errorf("asked for a neighbour's address, got %s", nak.Summary())
	}
}

func portOf(t *testing.T, st *store.Store, n int) model.Port {
	t.Helper()
	p, ok := tables.Ports.Get(st.Snapshot(), vm(n).ID)
	if !ok {
		t.Fatal("no such port")
	}
	return p
}

// TestNoAnswer: what must get none. Each case spoils the packet or the cloud of one that is answered.
func TestNoAnswer(t *testing.T) {
	change := func(id model.PortID, f func(*model.Port)) func(*store.Txn) {
		return func(tx *store.Txn) {
			p, _ := tables.Ports.Get(tx, id)
			f(&p)
			put(tx, p)
		}
	}
	me := vm(3)
	for name, c := range map[string]struct {
		packet func(*Packet)
		cloud  func(*store.Txn)
	}{
		"another node says so":          {packet: func(p *Packet) { p.Node = "elsewhere" }},
		"no node":                       {packet: func(p *Packet) { p.Node = "" }},
		"no key":                        {packet: func(p *Packet) { p.Port = 0 }},
		"unknown key":                   {packet: func(p *Packet) { p.Port = 4711 }},
		"a neighbour's key":             {packet: func(p *Packet) { p.Port = 4 }},
		"another kind":                  {packet: func(p *Packet) { p.Kind = 99 }},
		"foreign source":                {packet: func(p *Packet) { p.Data = frame(stranger, me.MAC, dhcpv4.MessageTypeDiscover) }},
		"foreign chaddr":                {packet: func(p *Packet) { p.Data = frame(me.MAC, stranger, dhcpv4.MessageTypeDiscover) }},
		"a neighbour's chaddr":          {packet: func(p *Packet) { p.Data = frame(me.MAC, vm(4).MAC, dhcpv4.MessageTypeDiscover) }},
		"empty":                         {packet: func(p *Packet) { p.Data = nil }},
		"short":                         {packet: func(p *Packet) { p.Data = p.Data[:13] }},
		"truncated":                     {packet: func(p *Packet) { p.Data = p.Data[:100] }},
		"vlan tag":                      {packet: func(p *Packet) { p.Data[12], p.Data[13] = 0x81, 0 }},
		"unbound, said by no node":      {packet: func(p *Packet) { p.Node = "" }, cloud: change(me.ID, func(p *model.Port) { p.Host = "" })},
		"arp":                           {packet: func(p *Packet) { p.Data = arpFor("10.11.255.2") }},
		"port down":                     {cloud: change(me.ID, func(p *model.Port) { p.AdminStateUp = false })},
		"port unbound":                  {cloud: change(me.ID, func(p *model.Port) { p.Host = "" })},
		"port bound elsewhere":          {cloud: change(me.ID, func(p *model.Port) { p.Host = "elsewhere" })},
		"port without address":          {cloud: change(me.ID, func(p *model.Port) { p.FixedIPs = nil })},
		"port has another MAC":          {cloud: change(me.ID, func(p *model.Port) { p.MAC = stranger })},
		"server down":                   {cloud: change("dhcp", func(p *model.Port) { p.AdminStateUp = false })},
		"server on a node":              {cloud: change("dhcp", func(p *model.Port) { p.Host = "controller" })},
		"server gone":                   {cloud: func(tx *store.Txn) { alloc.DeletePort(tx, "dhcp") }},
		"server without an address":     {cloud: change("dhcp", func(p *model.Port) { p.FixedIPs = nil })},
		"another server holds an iface": {cloud: func(tx *store.Txn) { p := dhcpPort(); p.ID, p.Key, p.Host = "zzz", 1<<20+1, "agent"; put(tx, p) }},
		"network down": {cloud: func(tx *store.Txn) {
			n, _ := tables.Networks.Get(tx, netID)
			n.AdminStateUp = false
			tables.Networks.Put(tx, netID, n)
		}},
		"network gone": {cloud: func(tx *store.Txn) { tables.Networks.Delete(tx, netID) }},
		"dhcp off": {cloud: func(tx *store.Txn) {
			s, _ := tables.Subnets.Get(tx, "sub")
			s.EnableDHCP = false
			tables.Subnets.Put(tx, "sub", s)
		}},
		"subnet gone": {cloud: func(tx *store.Txn) { tables.Subnets.Delete(tx, "sub") }},
	} {
		t.Run(name, func(t *testing.T) {
			st := cloud(t, 2)
			p := discover(3)
			if len(Answer(st.Snapshot(), p)) != 1 {
				t.Fatal("what the case spoils is not answered itself")
			}
			if c.packet != nil {
				c.packet(&p)
			}
			if c.cloud != nil {
				commit(t, st, c.cloud)
			}
			if out := Answer(st.Snapshot(), p); out != nil {
				t.Errorf("answered %x", out)
			}
		})
	}
}

// arpFor is the third instance's question for an address.
func arpFor(target string) []byte {
	me := vm(3)
	out := append(bytes.Repeat([]byte{0xff}, 6), me.MAC[:]...)
	out = append(out, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1)
	out = append(append(out, me.MAC[:]...), me.FixedIPs[0].Addr.AsSlice()...)
	return append(append(out, make([]byte, 6)...), netip.MustParseAddr(target).AsSlice()...)
}

// An allowed pair lets a port send as another MAC, but nothing is reserved for that.
func TestAllowedPairHasNoReservation(t *testing.T) {
	st := cloud(t, 1, func(tx *store.Txn) {
		p := vm(3)
		p.AllowedPairs = []model.AddressPair{{MAC: stranger, Prefix: netip.MustParsePrefix("10.11.0.77/32")}}
		put(tx, p)
	})
	p := discover(3)
	p.Data = frame(stranger, stranger, dhcpv4.MessageTypeDiscover)
	if out := Answer(st.Snapshot(), p); out != nil {
		t.Errorf("answered %x", out)
	}
}

// TestServerOfEachSubnet: with a DHCP port for each subnet, a client is answered by that of its own; a port that Neutron keeps between
// two agents is nobody's server.
func TestServerOfEachSubnet(t *testing.T) {
	second := dhcpPort()
	second.ID, second.Key, second.MAC, second.DeviceID = "aaa", 1<<20+1, model.MustMAC("fa:16:3e:ef:85:08"), "OpenDaylight-sub2"
	second.FixedIPs = []model.FixedIP{{Subnet: "sub2", Addr: netip.MustParseAddr("10.12.0.2")}}
	st := cloud(t, 2, func(tx *store.Txn) {
		tables.Subnets.Put(tx, "sub2", model.Subnet{ID: "sub2", SubnetPlane: model.SubnetPlane{Network: netID, EnableDHCP: true, CIDR: netip.MustParsePrefix("10.12.0.0/16")}})
		put(tx, second)
		p := vm(4)
		p.FixedIPs = []model.FixedIP{{Subnet: "sub2", Addr: netip.MustParseAddr("10.12.0.4")}}
		put(tx, p)
	})
	for n, want := range map[int]string{3: "10.11.255.2", 4: "10.12.0.2"} {
		if got := message(t, Answer(st.Snapshot(), discover(n))).ServerIdentifier().String(); got != want {
			t.Errorf("port %d is answered by %s, want %s", n, got, want)
		}
	}
	commit(t, st, func(tx *store.Txn) { second.DeviceID = reserved; put(tx, second) })
	if out := Answer(st.Snapshot(), discover(4)); out != nil {
		t.Errorf("a reserved port answers: %x", out)
	}
}

// TestCostIsTheNetworksSubnets: what is read for an answer is the same with ten ports and with a thousand.
func TestCostIsTheNetworksSubnets(t *testing.T) {
	reads := func(n int) int {
		r := cloud(t, n).Snapshot().Track()
		if len(Answer(r, discover(3))) != 1 {
			t.Fatal("no answer")
		}
		count := 0
		r.Reads(func(store.Dep) { count++ })
		return count
	}
	// A frame that is not the port's own costs no more than finding that out.
	r := cloud(t, 3).Snapshot().Track()
	p := discover(3)
	copy(p.Data[6:12], stranger[:])
	Answer(r, p)
	count := 0
	r.Reads(func(store.Dep) { count++ })
	if count > 2 {
		t.Errorf("%d reads for a foreign frame", count)
	}
	if few, many := reads(10), reads(1000); few != many || few > 10 {
		t.Errorf("%d reads among 10 ports, %d among 1000", few, many)
	}
}
