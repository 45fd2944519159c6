// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"nagare/internal/responder/dhcpopt"
)

// with gives vm01 options of its own, as pairs of name and value.
func with(t testing.TB, n *Network, pairs ...string) *Network {
	t.Helper()
	h := &n.Hosts[vm01][0]
	for i := 0; i < len(pairs); i += 2 {
		o, err := dhcpopt.Encode(pairs[i], pairs[i+1])
		if err != nil {
			t.Fatal(err)
		}
		h.Options = append(h.Options, o)
	}
	return n
}

func TestHostOptions(t *testing.T) {
	n := with(t, net01(), "bootfile-name", "pxelinux.0", "tftp-server", "tftp.example", "server-ip-address", "192.0.2.9", "router", "10.11.12.254",
		"mtu", "1400", "lease-time", "10m", "ntp-server", "10.11.12.5")
	offer := n.DHCPv4(request(t, vm01, dhcpv4.MessageTypeDiscover))
	if offer.BootFileName != "pxelinux.0" || offer.BootFileNameOption() != "pxelinux.0" || offer.ServerHostName != "tftp.example" ||
		offer.TFTPServerName() != "tftp.example" || offer.ServerIPAddr.String() != "192.0.2.9" {
		t.Errorf("boot: %s", offer.Summary())
	}
	if r := offer.Router(); len(r) != 1 || r[0].String() != "10.11.12.254" {
		t.Errorf("router %v, want the port's own", r)
	}
	if b := offer.GetOneOption(dhcpv4.OptionInterfaceMTU); !bytes.Equal(b, []byte{1400 >> 8, 1400 & 255}) {
		t.Errorf("mtu %v, want the port's own", b)
	}
	if offer.IPAddressLeaseTime(0) != 10*time.Minute || offer.IPAddressRenewalTime(0) != 5*time.Minute {
		t.Errorf("lease %v, renewal %v", offer.IPAddressLeaseTime(0), offer.IPAddressRenewalTime(0))
	}
	if ntp := offer.NTPServers(); len(ntp) != 1 {
		t.Errorf("ntp %v", ntp)
	}
	// The server is still identified by its own address.
	if offer.ServerIdentifier().String() != "10.11.12.2" {
		t.Errorf("server identifier %v", offer.ServerIdentifier())
	}
	ack := n.DHCPv4(request(t, vm01, dhcpv4.MessageTypeInform, has("10.11.12.77")))
	if ack.IPAddressLeaseTime(0) != 0 || ack.BootFileNameOption() != "pxelinux.0" {
		t.Errorf("inform: %s", ack.Summary())
	}
	nak := n.DHCPv4(request(t, vm01, dhcpv4.MessageTypeRequest, requested("10.9.9.9")))
	if nak.BootFileNameOption() != "" || nak.BootFileName != "" {
		t.Errorf("a NAK carries options: %s", nak.Summary())
	}
}

func TestHostOptionsTakeBack(t *testing.T) {
	n := net01()
	n.Subnets[0].Routes = []Route{{Destination: netip.MustParsePrefix("10.20.0.0/16"), NextHop: netip.MustParseAddr("10.11.12.9")}}
	offer := with(t, n, "router", "", "classless-static-route", "").DHCPv4(request(t, vm01, dhcpv4.MessageTypeDiscover, dhcpv4.WithRequestedOptions(optionMSRoutes)))
	if offer.Router() != nil || offer.ClasslessStaticRoute() != nil || offer.GetOneOption(optionMSRoutes) != nil {
		t.Errorf("a router or routes were sent: %s", offer.Summary())
	}
	offer = with(t, net01(), "classless-static-route", "10.0.0.0/8,10.11.12.7").DHCPv4(request(t, vm01, dhcpv4.MessageTypeDiscover, dhcpv4.WithRequestedOptions(optionMSRoutes)))
	if r := offer.ClasslessStaticRoute(); len(r) != 1 || !bytes.Equal(offer.GetOneOption(optionMSRoutes), offer.GetOneOption(dhcpv4.OptionClasslessStaticRoute)) {
		t.Errorf("routes %v: want the port's own, in both options", r)
	}
}

// What the protocol needs cannot be replaced, whatever a configuration says.
func TestHostOptionsReserved(t *testing.T) {
	n := net01()
	for code := range 256 {
		if dhcpopt.Reserved(uint8(code)) {
			n.Hosts[vm01][0].Options = append(n.Hosts[vm01][0].Options, dhcpopt.Option{Code: uint8(code), Data: []byte("\x07")})
		}
	}
	if got, want := n.DHCPv4(request(t, vm01, dhcpv4.MessageTypeDiscover)), net01().DHCPv4(request(t, vm01, dhcpv4.MessageTypeDiscover)); !bytes.Equal(got.ToBytes(), want.ToBytes()) {
		t.Errorf("changed the answer:\n%s\n%s", got.Summary(), want.Summary())
	}
}

// Options without end leave an answer that every client takes, with what it cannot do without.
func TestHostOptionsNeverExceedTheLimit(t *testing.T) {
	n := with(t, net01(), "bootfile-name", "first", "server-ip-address", "192.0.2.9")
	for i := range 62 {
		n = with(t, n, fmt.Sprint(151+i), strings.Repeat("x", 255))
	}
	n = with(t, n, "netmask", "255.255.0.0", "lease-time", "1h")
	offer := n.DHCPv4(request(t, vm01, dhcpv4.MessageTypeDiscover))
	if got := len(offer.ToBytes()) + ipUDPHeader; got > 576 {
		t.Errorf("%d octets to a client that named no limit", got)
	}
	if offer.YourIPAddr.String() != "10.11.12.3" || len(offer.Router()) != 1 || offer.SubnetMask() == nil || offer.IPAddressLeaseTime(0) == 0 {
		t.Errorf("the answer lost its essentials: %s", offer.Summary())
	}
	if offer.BootFileNameOption() != "first" {
		t.Error("the first option went before the last ones")
	}
	large := n.DHCPv4(request(t, vm01, dhcpv4.MessageTypeDiscover, dhcpv4.WithOption(dhcpv4.OptMaxMessageSize(65535))))
	if got := len(large.ToBytes()) + ipUDPHeader; got > 1500 {
		t.Errorf("%d octets, more than a frame", got)
	}
}

// The size that fit reckons with is the one on the wire.
func TestSize(t *testing.T) {
	for _, n := range []int{0, 1, 254, 255, 256, 510, 511, 1020} {
		m := &dhcpv4.DHCPv4{Options: dhcpv4.Options{1: make([]byte, 300), 200: make([]byte, n)}}
		if got := len(m.ToBytes()); got != size(m.Options) {
			t.Errorf("option of %d octets: message of %d, reckoned %d", n, got, size(m.Options))
		}
	}
}
