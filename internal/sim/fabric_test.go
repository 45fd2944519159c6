// SPDX-License-Identifier: Apache-2.0

package sim_test

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"nagare/internal/flow"
	"nagare/internal/sim"
	"nagare/openflow"
)

// recorded is the flows of one or more recorded dumps.
func recorded(t testing.TB, names ...string) (out []flow.Flow) {
	t.Helper()
	for _, name := range names {
		b, err := os.ReadFile("testdata/golden/" + name + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		ds, err := flow.ParseDump(string(b))
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range ds {
			out = append(out, d.Flow)
		}
	}
	return out
}

func mac(s string) [6]byte {
	p, err := sim.Parse("dl_src=" + s)
	if err != nil {
		panic(err)
	}
	var m [6]byte
	v := p.Uint(openflow.FieldEthSrc)
	for i := range m {
		m[i] = byte(v >> (40 - 8*i))
	}
	return m
}

var (
	vm01, vm02, dhcp = mac("fa:16:3e:9e:f5:70"), mac("fa:16:3e:53:88:56"), mac("fa:16:3e:ef:85:07")
	stranger         = mac("fa:16:3e:00:00:99")
	everyone         = mac("ff:ff:ff:ff:ff:ff")
	ip               = netip.MustParseAddr
	vni              = uint64(1077)
)

func cidr(s string) netip.Prefix { a := ip(s); return netip.PrefixFrom(a, a.BitLen()) }

// scenario is the recorded two-node state with both instances running. The part
// of the controller's dump that the record leaves out is that of the state before.
func scenario(t testing.TB) *sim.Fabric {
	t.Helper()
	f := sim.NewFabric()
	controller, compute := f.Switch("controller"), f.Switch("compute")
	if err := controller.Put(recorded(t, "network-controller", "instances-controller")...); err != nil {
		t.Fatal(err)
	}
	if err := compute.Put(recorded(t, "instances-compute")...); err != nil {
		t.Fatal(err)
	}
	f.Attach("dhcp", controller, 1)
	f.Attach("vm01", compute, 2)
	f.Attach("vm02", compute, 3)
	f.Tunnel(controller, 2, compute, 1)
	return f
}

// Who receives which frame, exactly, in the recorded scenario.
func TestRecordedScenarioDelivers(t *testing.T) {
	f := scenario(t)
	discover := []flow.Term{flow.UDP(), flow.IPSrc(cidr("0.0.0.0")), flow.IPDst(cidr("255.255.255.255")), flow.TPSrc(68), flow.TPDst(67)}
	offer := []flow.Term{flow.UDP(), flow.IPSrc(cidr("10.11.12.2")), flow.IPDst(cidr("10.11.12.3")), flow.TPSrc(67), flow.TPDst(68)}
	ping := []flow.Term{flow.ICMP(), flow.ICMPType(8), flow.IPSrc(cidr("10.11.12.3")), flow.IPDst(cidr("10.11.12.4"))}
	arp := []flow.Term{flow.ARPOp(1), flow.ARPSPA(ip("10.11.12.3")), flow.ARPTPA(ip("10.11.12.4"))}
	for _, c := range []struct {
		name     string
		from     string
		src, dst [6]byte
		rest     []flow.Term
		want     []string
	}{
		{"DHCP discover reaches the server over the tunnel, and the neighbour", "vm01", vm01, everyone, discover, []string{"dhcp", "vm02"}},
		{"DHCP offer comes back", "dhcp", dhcp, vm01, offer, []string{"vm01"}},
		{"ARP request floods, not back to its sender", "vm01", vm01, everyone, arp, []string{"dhcp", "vm02"}},
		{"ARP request from the other node floods", "dhcp", dhcp, everyone, arp, []string{"vm01", "vm02"}},
		{"ping on one node", "vm01", vm01, vm02, ping, []string{"vm02"}},
		{"ping over the tunnel", "vm02", vm02, dhcp, ping, []string{"dhcp"}},
		{"multicast floods", "vm02", vm02, mac("01:00:5e:00:00:05"), ping, []string{"dhcp", "vm01"}},
		{"spoofed MAC", "vm01", vm02, dhcp, ping, nil},
		{"stranger's MAC", "vm01", stranger, everyone, arp, nil},
		{"unknown destination", "vm01", vm01, stranger, ping, nil},
		{"instance that plays DHCP server", "vm01", vm01, vm02, offer, nil},
		{"to itself", "vm01", vm01, vm01, ping, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := sim.New(append(c.rest, flow.EthSrc(c.src), flow.EthDst(c.dst))...)
			o := f.Trace(c.from, p)
			if got := o.Receivers(); !slices.Equal(got, c.want) || len(o.Errors)+len(o.Lost)+len(o.Arrivals) > 0 {
				t.Errorf("received by %v, want %v; lost %v, errors %v, punts %d\n%s", got, c.want, o.Lost, o.Errors, len(o.Arrivals), strings.Join(o.Trace, "\n"))
			}
			for _, d := range o.Deliveries {
				if d.Frame != p.Frame() {
					t.Errorf("%s received %s", d.To, d.Frame)
				}
			}
		})
	}
}

// A frame of another network that comes in by the tunnel reaches nobody.
func TestWrongNetworkFromTunnelIsDropped(t *testing.T) {
	f := scenario(t)
	for id, want := range map[uint64][]string{vni: {"vm01", "vm02"}, vni + 1: {}} {
		var o sim.Outcome
		p := sim.New(flow.TunID(id), flow.ARPOp(1), flow.EthSrc(dhcp), flow.EthDst(everyone))
		f.Inject(&o, f.Switches()[1], 1, p, true)
		if got := o.Receivers(); !slices.Equal(got, want) {
			t.Errorf("tun_id %#x: received by %v, want %v\n%s", id, got, want, strings.Join(o.Trace, "\n"))
		}
	}
}

// LLDP from a managed port goes to the controller.
func TestLLDPIsPunted(t *testing.T) {
	f := scenario(t)
	o := f.Send("vm01", sim.New(flow.EthType(flow.EthLLDP), flow.EthSrc(stranger), flow.EthDst(mac("01:80:c2:00:00:0e"))))
	if len(o.Arrivals) != 1 || o.Arrivals[0].Switch != "compute" || o.Arrivals[0].MaxLen != 65535 || len(o.Deliveries) != 0 {
		t.Errorf("got %+v", o)
	}
}

// Segments carry frames between bridges and hosts; tunnels by flow find their end
// by tun_dst; what leaves by a port without anything is reported.
func TestFabricJoins(t *testing.T) {
	put := func(s *sim.Switch, lines ...string) {
		t.Helper()
		for _, l := range lines {
			fl, err := flow.ParseFlow(l)
			if err == nil {
				err = s.Put(fl)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	f := sim.NewFabric()
	a, b, c := f.Switch("a"), f.Switch("b"), f.Switch("c")
	f.Attach("one", a, 1)
	f.Attach("two", b, 1)
	f.Attach("three", c, 1)
	f.FlowTunnel(a, 9, ip("192.0.2.1"))
	f.FlowTunnel(b, 9, ip("192.0.2.2"))
	f.FlowTunnel(c, 9, ip("192.0.2.3"))
	f.Wire("physnet", a, 8)
	f.Wire("physnet", b, 8)
	f.Host("gateway", "physnet")
	put(a, "in_port=1,ip actions=set_field:7->tun_id,set_field:192.0.2.3->tun_dst,output:9",
		"in_port=1,arp actions=push_vlan:0x8100,set_field:4101->vlan_vid,output:8",
		"in_port=1,rarp actions=output:44", "in_port=8 actions=output:1")
	put(b, "in_port=8,dl_vlan=5 actions=pop_vlan,output:1")
	put(c, "tun_id=7,tun_src=192.0.2.1,in_port=9 actions=output:1")
	if o := f.Send("one", sim.New(flow.IP())); !slices.Equal(o.Receivers(), []string{"three"}) {
		t.Errorf("by tunnel: %+v", o.Receivers())
	}
	o := f.Send("one", sim.New(flow.ARP()))
	if !slices.Equal(o.Receivers(), []string{"gateway", "two"}) {
		t.Errorf("by wire: %+v", o.Receivers())
	}
	for _, d := range o.Deliveries {
		tagged := d.Frame.Uint(openflow.FieldVLANVID) == 4101
		if tagged != (d.To == "gateway") {
			t.Errorf("%s received %s", d.To, d.Frame)
		}
	}
	if o := f.Send("gateway", sim.New(flow.ARP())); !slices.Equal(o.Receivers(), []string{"one"}) {
		t.Errorf("from the wire: %+v", o.Receivers())
	}
	if o := f.Send("one", sim.New(flow.EthType(0x8035))); len(o.Lost) != 1 || len(o.Deliveries) != 0 {
		t.Errorf("into the void: %+v", o)
	}
	if o := f.Send("nobody", sim.New()); len(o.Errors) != 1 {
		t.Errorf("from nowhere: %+v", o)
	}
}

// Flows that send a frame round and round are told from delivery.
func TestLoopIsAnError(t *testing.T) {
	f := sim.NewFabric()
	a, b := f.Switch("a"), f.Switch("b")
	f.Attach("one", a, 1)
	f.Tunnel(a, 2, b, 2)
	f.Tunnel(a, 3, b, 3)
	for _, s := range f.Switches() {
		for _, l := range []string{"in_port=1 actions=output:2", "in_port=2 actions=output:3", "in_port=3 actions=output:2"} {
			fl, _ := flow.ParseFlow(l)
			if err := s.Put(fl); err != nil {
				t.Fatal(err)
			}
		}
	}
	if o := f.Send("one", sim.New()); len(o.Errors) != 1 || !strings.Contains(o.Errors[0], "loop") {
		t.Errorf("got %+v", o.Errors)
	}
}

func BenchmarkUnicast(b *testing.B) {
	f := scenario(b)
	p := sim.New(flow.ICMP(), flow.ICMPType(8), flow.EthSrc(vm01), flow.EthDst(dhcp))
	b.ReportAllocs()
	for b.Loop() {
		if o := f.Send("vm01", p); len(o.Deliveries) != 1 {
			b.Fatal(o)
		}
	}
}
