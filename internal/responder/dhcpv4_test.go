// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

var (
	serverMAC = mustMAC("fa:16:3e:ef:85:07")
	vm01      = mustMAC("fa:16:3e:9e:f5:70")
	stranger  = mustMAC("fa:16:3e:00:00:99")
)

func mustMAC(s string) MAC {
	m, err := ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

func net01() *Network {
	return &Network{
		MAC: serverMAC, MTU: 1450, Domain: "openstacklocal",
		Subnets: []Subnet{{
			Server:  netip.MustParseAddr("10.11.12.2"),
			Prefix:  netip.MustParsePrefix("10.11.12.0/24"),
			Gateway: netip.MustParseAddr("10.11.12.1"),
			DNS:     []netip.Addr{netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("9.9.9.9")},
			Lease:   time.Hour,
		}},
		Hosts: map[MAC][]Host{vm01: {{IP: netip.MustParseAddr("10.11.12.3"), Name: "host-10-11-12-3"}}},
	}
}

func request(t testing.TB, mac MAC, kind dhcpv4.MessageType, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	t.Helper()
	base := []dhcpv4.Modifier{dhcpv4.WithHwAddr(mac[:]), dhcpv4.WithMessageType(kind), dhcpv4.WithTransactionID(dhcpv4.TransactionID{1, 2, 3, 4})}
	m, err := dhcpv4.New(append(base, mods...)...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func requested(ip string) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.ParseIP(ip)))
}

func chosen(ip string) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.ParseIP(ip)))
}

func has(ip string) dhcpv4.Modifier { return dhcpv4.WithClientIP(net.ParseIP(ip)) }

func TestDHCPv4Exchange(t *testing.T) {
	const (
		none = dhcpv4.MessageTypeNone
		d    = dhcpv4.MessageTypeDiscover
		r    = dhcpv4.MessageTypeRequest
		ack  = dhcpv4.MessageTypeAck
		nak  = dhcpv4.MessageTypeNak
	)
	tests := []struct {
		name  string
		mac   MAC
		kind  dhcpv4.MessageType
		mods  []dhcpv4.Modifier
		want  dhcpv4.MessageType
		yours string
	}{
		{"discover", vm01, d, nil, dhcpv4.MessageTypeOffer, "10.11.12.3"},
		{"discover asking for a foreign address", vm01, d, []dhcpv4.Modifier{requested("10.11.12.77")}, dhcpv4.MessageTypeOffer, "10.11.12.3"},
		{"discover of a stranger", stranger, d, nil, none, ""},
		{"selecting us", vm01, r, []dhcpv4.Modifier{requested("10.11.12.3"), chosen("10.11.12.2")}, ack, "10.11.12.3"},
		{"selecting us, wrong address", vm01, r, []dhcpv4.Modifier{requested("10.11.12.9"), chosen("10.11.12.2")}, nak, "0.0.0.0"},
		{"selecting another server", vm01, r, []dhcpv4.Modifier{requested("10.11.12.3"), chosen("10.11.12.250")}, none, ""},
		{"init-reboot", vm01, r, []dhcpv4.Modifier{requested("10.11.12.3")}, ack, "10.11.12.3"},
		{"init-reboot on a new network", vm01, r, []dhcpv4.Modifier{requested("192.168.7.3")}, nak, "0.0.0.0"},
		{"init-reboot of a stranger", stranger, r, []dhcpv4.Modifier{requested("10.11.12.3")}, none, ""},
		{"renewing", vm01, r, []dhcpv4.Modifier{has("10.11.12.3")}, ack, "10.11.12.3"},
		{"renewing what is no longer ours", vm01, r, []dhcpv4.Modifier{has("10.11.12.4")}, nak, "0.0.0.0"},
		{"request for nothing", vm01, r, nil, none, ""},
		{"inform", vm01, dhcpv4.MessageTypeInform, []dhcpv4.Modifier{has("10.11.12.3")}, ack, "0.0.0.0"},
		{"inform without an address", vm01, dhcpv4.MessageTypeInform, nil, none, ""},
		{"inform from elsewhere", vm01, dhcpv4.MessageTypeInform, []dhcpv4.Modifier{has("10.99.0.1")}, none, ""},
		{"inform of a stranger", stranger, dhcpv4.MessageTypeInform, []dhcpv4.Modifier{has("10.11.12.3")}, none, ""},
		{"release", vm01, dhcpv4.MessageTypeRelease, []dhcpv4.Modifier{has("10.11.12.3"), chosen("10.11.12.2")}, none, ""},
		{"decline", vm01, dhcpv4.MessageTypeDecline, []dhcpv4.Modifier{requested("10.11.12.3"), chosen("10.11.12.2")}, none, ""},
		{"an offer", vm01, dhcpv4.MessageTypeOffer, nil, none, ""},
		{"no message type", vm01, none, nil, none, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := net01().DHCPv4(request(t, tt.mac, tt.kind, tt.mods...))
			if tt.want == none {
				if got != nil {
					t.Fatalf("answered: %s", got.Summary())
				}
				return
			}
			if got == nil {
				t.Fatal("no answer")
			}
			if got.MessageType() != tt.want || got.YourIPAddr.String() != tt.yours {
				t.Errorf("got %v for %v, want %v for %v", got.MessageType(), got.YourIPAddr, tt.want, tt.yours)
			}
			if !got.ServerIdentifier().Equal(net.IPv4(10, 11, 12, 2)) {
				t.Errorf("server identifier %v", got.ServerIdentifier())
			}
			if got.TransactionID != (dhcpv4.TransactionID{1, 2, 3, 4}) || MAC(got.ClientHWAddr) != tt.mac || got.OpCode != dhcpv4.OpcodeBootReply {
				t.Errorf("header: %s", got.Summary())
			}
		})
	}
}

func TestDHCPv4Options(t *testing.T) {
	n := net01()
	ack := n.DHCPv4(request(t, vm01, dhcpv4.MessageTypeRequest, requested("10.11.12.3"), chosen("10.11.12.2"),
		dhcpv4.WithOption(dhcpv4.OptClientIdentifier([]byte{1, 2, 3}))))
	if m, _ := ack.SubnetMask().Size(); m != 24 {
		t.Errorf("mask /%d", m)
	}
	if r := ack.Router(); len(r) != 1 || r[0].String() != "10.11.12.1" {
		t.Errorf("router %v", r)
	}
	if d := ack.DNS(); len(d) != 2 || d[0].String() != "8.8.8.8" || d[1].String() != "9.9.9.9" {
		t.Errorf("dns %v: want the two IPv4 servers", d)
	}
	if b := ack.GetOneOption(dhcpv4.OptionInterfaceMTU); !bytes.Equal(b, []byte{1450 >> 8, 1450 & 255}) {
		t.Errorf("mtu %v", b)
	}
	if ack.IPAddressLeaseTime(0) != time.Hour || ack.IPAddressRenewalTime(0) != 30*time.Minute || ack.IPAddressRebindingTime(0) != 3150*time.Second {
		t.Errorf("lease %v, renew %v, rebind %v", ack.IPAddressLeaseTime(0), ack.IPAddressRenewalTime(0), ack.IPAddressRebindingTime(0))
	}
	if ack.DomainName() != "openstacklocal" || ack.HostName() != "host-10-11-12-3" || ack.BroadcastAddress().String() != "10.11.12.255" {
		t.Errorf("domain %q, host %q, broadcast %v", ack.DomainName(), ack.HostName(), ack.BroadcastAddress())
	}
	if id := ack.GetOneOption(dhcpv4.OptionClientIdentifier); !bytes.Equal(id, []byte{1, 2, 3}) {
		t.Errorf("client identifier %v is not echoed", id)
	}
	if ack.ClasslessStaticRoute() != nil {
		t.Errorf("routes %v without any configured", ack.ClasslessStaticRoute())
	}
}

func TestDHCPv4Routes(t *testing.T) {
	n := net01()
	n.Subnets[0].Routes = []Route{{Destination: netip.MustParsePrefix("10.20.0.0/16"), NextHop: netip.MustParseAddr("10.11.12.9")}}
	offer := n.DHCPv4(request(t, vm01, dhcpv4.MessageTypeDiscover))
	want := []string{"route to 10.20.0.0/16 via 10.11.12.9", "route to 0.0.0.0/0 via 10.11.12.1"}
	got := offer.ClasslessStaticRoute()
	if len(got) != 2 || got[0].String() != want[0] || got[1].String() != want[1] {
		t.Errorf("routes %v, want %v", got, want)
	}
	if offer.GetOneOption(optionMSRoutes) != nil {
		t.Error("option 249 was sent unasked")
	}
	offer = n.DHCPv4(request(t, vm01, dhcpv4.MessageTypeDiscover, dhcpv4.WithRequestedOptions(optionMSRoutes)))
	if !bytes.Equal(offer.GetOneOption(optionMSRoutes), offer.GetOneOption(dhcpv4.OptionClasslessStaticRoute)) {
		t.Error("option 249 differs from option 121")
	}
}

func TestDHCPv4WithoutGateway(t *testing.T) {
	n := net01()
	n.Subnets[0].Gateway = netip.Addr{}
	offer := n.DHCPv4(request(t, vm01, dhcpv4.MessageTypeDiscover))
	if offer.GetOneOption(dhcpv4.OptionRouter) != nil {
		t.Error("a router was sent for a subnet that has none")
	}
}

func TestDHCPv4RelayFieldsAreIgnored(t *testing.T) {
	n := net01()
	plain := n.DHCPv4(request(t, vm01, dhcpv4.MessageTypeDiscover))
	relayed := n.DHCPv4(request(t, vm01, dhcpv4.MessageTypeDiscover, dhcpv4.WithRelay(net.IPv4(10, 11, 12, 4)),
		dhcpv4.WithOption(dhcpv4.OptRelayAgentInfo(dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(1), []byte("x"))))))
	if !bytes.Equal(plain.ToBytes(), relayed.ToBytes()) {
		t.Errorf("a relay address changed the answer:\n%s\n%s", plain.Summary(), relayed.Summary())
	}
}

func TestDHCPv4SecondAddress(t *testing.T) {
	n := net01()
	n.Subnets = append(n.Subnets, Subnet{Server: netip.MustParseAddr("10.50.0.2"), Prefix: netip.MustParsePrefix("10.50.0.0/20")})
	n.Hosts[vm01] = append(n.Hosts[vm01], Host{IP: netip.MustParseAddr("10.50.1.1")})
	offer := n.DHCPv4(request(t, vm01, dhcpv4.MessageTypeDiscover, requested("10.50.1.1")))
	if offer.YourIPAddr.String() != "10.50.1.1" || offer.ServerIdentifier().String() != "10.50.0.2" {
		t.Errorf("asked for the second address, got %v from %v", offer.YourIPAddr, offer.ServerIdentifier())
	}
	if ones, _ := offer.SubnetMask().Size(); ones != 20 {
		t.Errorf("mask /%d", ones)
	}
}

func TestDHCPv4NeverExceedsTheClientsLimit(t *testing.T) {
	n := net01()
	for i := range 100 {
		n.Subnets[0].Routes = append(n.Subnets[0].Routes, Route{
			Destination: netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, byte(i), 0}), 24), NextHop: netip.MustParseAddr("10.11.12.9")})
	}
	small := n.DHCPv4(request(t, vm01, dhcpv4.MessageTypeDiscover))
	if got := len(small.ToBytes()) + ipUDPHeader; got > 576 {
		t.Errorf("%d octets to a client that named no limit", got)
	}
	if small.YourIPAddr.String() != "10.11.12.3" || len(small.Router()) != 1 {
		t.Error("the short answer lost its essentials")
	}
	large := n.DHCPv4(request(t, vm01, dhcpv4.MessageTypeDiscover, dhcpv4.WithOption(dhcpv4.OptMaxMessageSize(1500))))
	if len(large.ClasslessStaticRoute()) != 101 {
		t.Errorf("%d routes within 1500 octets, want 101", len(large.ClasslessStaticRoute()))
	}
}
