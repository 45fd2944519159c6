// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"encoding/binary"
	"net"
	"slices"
	"strings"
	"testing"

	"nagare/internal/flow"
)

func TestOptionsOfProfileAndDHCP(t *testing.T) {
	for _, tt := range []struct {
		profile, dhcp string
		want          string // DHCP, or part of the error
		ok            bool
	}{
		{"", "", "native", true}, {"standard", "", "native", true}, {"standard", "port", "port", true},
		{"classic", "", "port", true}, {"classic", "port", "port", true},
		{"classic", "native", "--dhcp port", false}, {"", "relay", "use native or port", false}, {"baroque", "", "use standard or classic", false},
	} {
		c, err := UpOptions{Profile: tt.profile, DHCP: tt.dhcp}.config()
		switch {
		case tt.ok && (err != nil || c.DHCP != tt.want):
			t.Errorf("profile %q, dhcp %q: %q, %v, want %s", tt.profile, tt.dhcp, c.DHCP, err, tt.want)
		case !tt.ok && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("profile %q, dhcp %q: %v, want an error with %q", tt.profile, tt.dhcp, err, tt.want)
		}
	}
}

func TestOptionsAgainstALabThatIsUp(t *testing.T) {
	have, err := UpOptions{Profile: "standard"}.config()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		o      UpOptions
		differ string // "" if it agrees
	}{
		{UpOptions{}, ""}, {UpOptions{Profile: "standard", DHCP: "native"}, ""},
		{UpOptions{Northbound: "neutron"}, ""}, {UpOptions{Northbound: "odl"}, "northbound"},
		{UpOptions{Profile: "classic"}, "profile"}, {UpOptions{DHCP: "port"}, "DHCP"}, {UpOptions{Provider: true}, "physical networks"},
	} {
		want, err := tt.o.config()
		if err != nil {
			t.Fatal(err)
		}
		err = tt.o.agrees("x", have, want)
		if tt.differ == "" && err != nil || tt.differ != "" && (err == nil || !strings.Contains(err.Error(), "other "+tt.differ)) {
			t.Errorf("%+v: %v, want %q", tt.o, err, tt.differ)
		}
	}
}

// TestDHCPNodes: the server may put a DHCP port on whatever node knows a physical network, so each of them needs the process.
func TestDHCPNodes(t *testing.T) {
	for _, tt := range []struct {
		o    UpOptions
		want []string
	}{
		{UpOptions{}, nil}, {UpOptions{DHCP: "port"}, []string{"controller"}}, {UpOptions{Profile: "classic"}, []string{"controller"}},
		{UpOptions{DHCP: "port", Provider: true}, []string{"controller", "compute"}}, {UpOptions{DHCP: "port", Bare: true}, nil},
	} {
		c, err := tt.o.config()
		if err != nil {
			t.Fatal(err)
		}
		if got := c.dhcpNodes(); !slices.Equal(got, tt.want) {
			t.Errorf("%+v: %v, want %v", tt.o, got, tt.want)
		}
	}
}

// TestFrames holds that the frames of the spoofing test are what they should be: one with a wrong checksum would be dropped for
// that.
func TestFrames(t *testing.T) {
	a, b := net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 2}
	f := datagramFrame(b, a, net.IPv4(10, 0, 0, 1), net.IPv4(10, 0, 0, 2), 9, 7, "hello")
	if len(f) != 60 || !bytes.Equal(f[:14], []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0}) {
		t.Errorf("% x", f)
	}
	var sum uint32
	for i := 14; i < 34; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(f[i:]))
	}
	if sum>>16+sum&0xffff != 0xffff {
		t.Errorf("header checksum of % x", f[14:34])
	}
	if total, length := binary.BigEndian.Uint16(f[16:]), binary.BigEndian.Uint16(f[38:]); total != 33 || length != 13 || string(f[42:47]) != "hello" {
		t.Errorf("lengths %d and %d, payload %q", total, length, f[42:47])
	}
	arp := arpFrame(2, a, net.IPv4(10, 0, 0, 1))
	want := append(append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, a...), 8, 6, 0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1)
	if !bytes.Equal(arp[:42], want) || len(arp) != 60 {
		t.Errorf("% x", arp)
	}
}

func TestView(t *testing.T) {
	const drop = "table=110,priority=0 actions=drop"
	have, err := flow.Normalise(drop)
	if err != nil {
		t.Fatal(err)
	}
	good := view{have: have, want: []wantedFlow{{Text: drop, Rule: "bridge", Kind: "node", Object: "compute"}}, marked: 1, groups: []string{"7"}, named: []string{"7"}}
	for what, err := range map[string]error{"agrees": good.agrees(), "marks": good.marks(), "groups": good.groupsNamed(), "others": good.others()} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	bad := view{have: have, want: []wantedFlow{{Text: "table=110,priority=1 actions=drop", Kind: "port", Object: "p"}}, named: []string{"7"}}
	for what, err := range map[string]error{"agrees": bad.agrees(), "marks": bad.marks(), "groups": bad.groupsNamed(), "others": bad.others()} {
		if err == nil {
			t.Errorf("%s: found nothing", what)
		}
	}
	if got := matches(groupNamed, "actions=group:12\nactions=load:1,group:3"); !slices.Equal(got, []string{"12", "3"}) {
		t.Errorf("groups %v", got)
	}
}

func TestAuthor(t *testing.T) {
	var none, own, because reason
	own.Commit = &commit{User: "demo", Request: "req-1"}
	because.Commit = &commit{}
	because.Because = append(because.Because, struct {
		Commit *commit `json:"commit"`
	}{&commit{User: "admin"}})
	for want, r := range map[string]reason{"": none, "demo req-1": own, "admin": because} {
		if got := r.author(); got != want {
			t.Errorf("author %q, want %q", got, want)
		}
	}
}

func TestNorthbound(t *testing.T) {
	for _, tt := range []struct {
		o    UpOptions
		want string
		ok   bool
	}{
		{UpOptions{}, "neutron", true}, {UpOptions{Northbound: "neutron"}, "neutron", true}, {UpOptions{Northbound: "odl"}, "odl", true},
		{UpOptions{Northbound: "odl", Profile: "classic"}, "odl", true}, {UpOptions{Northbound: "onos"}, "use neutron or odl", false},
		{UpOptions{Northbound: "odl", Bare: true}, "without server", false}, {UpOptions{Northbound: "odl", IDs: "recorded"}, "chooses ids", false},
	} {
		c, err := tt.o.config()
		if tt.ok && (err != nil || c.Northbound != tt.want) || !tt.ok && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%+v: %q, %v; want %q", tt.o, c.Northbound, err, tt.want)
		}
	}
}

// What a node publishes is what Neutron's driver binds by: it wants every one of these names.
func TestHostConfig(t *testing.T) {
	text, err := hostConfig(Node{Name: "compute", Address: "192.168.0.11"}, "u-u-i-d", profileStandard, "physnet1:br-ex,physnet2:br-prov")
	if err != nil {
		t.Fatal(err)
	}
	want := `{"allowed_network_types":["local","flat","vlan","vxlan","gre"],"bridge_mappings":{"physnet1":"br-ex","physnet2":"br-prov"},"datapath_type":"netdev",` +
		`"supported_vnic_types":[{"vif_details":{"has_datapath_type_netdev":false,"host_addresses":["192.168.0.11"],"support_vhost_user":false,"uuid":"u-u-i-d"},` +
		`"vif_type":"ovs","vnic_type":"normal"}]}`
	if text != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	if text, _ = hostConfig(Node{}, "", profileClassic, ""); !strings.Contains(text, `"allowed_network_types":["vxlan"],"bridge_mappings":{}`) {
		t.Errorf("classic: %s", text)
	}
}
