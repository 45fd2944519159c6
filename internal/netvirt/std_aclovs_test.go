// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/ovstest"
	"nagare/internal/sim"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/openflow"
)

// real is a switch of Open vSwitch with what a node wants, and dummy ports that record what leaves by them.
type real struct {
	*ovstest.Switch
	t   *testing.T
	dir string
}

func newReal(t *testing.T, f *follower, node string, ports int) *real {
	t.Helper()
	r := &real{ovstest.Start(t), t, t.TempDir()}
	r.AddBridge("br0")
	for i := 1; i <= ports; i++ {
		name := fmt.Sprintf("p%d", i)
		r.AddPort("br0", name, i)
		r.Vsctl("set", "interface", name, "options:tx_pcap="+r.capture(i))
	}
	d, _ := f.e.Desired(node)
	for _, m := range d.Meters {
		r.Ofctl("add-meter", "br0", m.String())
	}
	// A group may name another that comes later.
	for id := range d.Groups {
		r.Ofctl("add-group", "br0", fmt.Sprintf("group_id=%d,type=all", id))
	}
	for _, g := range d.Groups {
		r.Ofctl("mod-group", "br0", g.String())
	}
	var text []string
	for _, v := range f.flows(node) {
		text = append(text, fmt.Sprintf("cookie=%#x,%s", v.Cookie, v))
	}
	file := filepath.Join(r.dir, "flows")
	if err := os.WriteFile(file, []byte(strings.Join(text, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	r.Ofctl("add-flows", "br0", file)
	return r
}

func (r *real) capture(port int) string { return filepath.Join(r.dir, fmt.Sprintf("p%d.pcap", port)) }

// sent is how many frames left by a port so far.
func (r *real) sent(port int) (n int) {
	b, err := os.ReadFile(r.capture(port))
	if err != nil || len(b) < 24 {
		return 0
	}
	for b = b[24:]; len(b) >= 16; n++ { // pcap's records: time, time, length, length
		b = b[min(len(b), 16+int(binary.LittleEndian.Uint32(b[8:]))):]
	}
	return n
}

// TestRealSwitchTakesAllFlows loads what a node wants and compares it with what the switch then holds.
func TestRealSwitchTakesAllFlows(t *testing.T) {
	st := store.New(tables.Schema, nil)
	f := readGuarded(t)
	if _, err := st.Commit(t.Context(), store.Origin{}, func(tx *store.Txn) error {
		putLog(tx, "l", model.LogPlane{Event: model.LogAll}) // of all ports
		return f.put(tx)
	}); err != nil {
		t.Fatal(err)
	}
	fol := followStandard(t, st, Options{NativeDHCP: true}, "a")
	r := newReal(t, fol, "a", len(f.Ports))
	dump, err := flow.ParseDump(r.Ofctl("dump-flows", "br0"))
	if err != nil {
		t.Fatal(err)
	}
	var got []flow.Flow
	for _, d := range dump {
		got = append(got, d.Flow)
	}
	slices.SortFunc(got, flow.Compare)
	want := fol.flows("a")
	if len(got) != len(want) {
		t.Errorf("the switch holds %d flows of %d", len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("the switch holds %#x %s\nwanted is    %#x %s", got[i].Cookie, got[i], want[i].Cookie, want[i])
		}
	}
}

var (
	realVisit      = regexp.MustCompile(`^\s*(\d+)\. .*?priority (\d+)`)
	simulatedVisit = regexp.MustCompile(`^\s*(\d+): priority (\d+)`)
)

// TestRealSwitchAgrees traces packets over rules whose clauses overlap, on a real switch and in the simulator: the same
// flows must take them.
func TestRealSwitchAgrees(t *testing.T) {
	s := newStreets(t, "a")
	s.change(func(tx *store.Txn) error {
		for _, g := range streetGroups {
			putGroup(tx, g, g[0] != 's')
		}
		num := func(v int) *int { return &v }
		addr := netip.MustParsePrefix
		tables.AddressGroups.Put(tx, "addresses", model.AddressGroup{ID: "addresses", AddressGroupPlane: model.AddressGroupPlane{
			Addresses: []netip.Prefix{addr("0.0.0.0/0"), addr("10.0.0.2/31"), addr("2001::/64")}}})
		for i, r := range []model.RulePlane{
			{Group: "g1", Direction: model.Egress, Ethertype: model.EtherIPv4, Protocol: "tcp", PortMin: num(50), PortMax: num(70)},
			{Group: "g1", Direction: model.Egress, Ethertype: model.EtherIPv4, Protocol: "tcp", PortMin: num(53), PortMax: num(53), RemotePrefix: addr("10.0.0.0/30")},
			{Group: "g1", Direction: model.Egress, Ethertype: model.EtherIPv4, Protocol: "tcp", RemotePrefix: addr("10.0.0.2/32")},
			{Group: "g1", Direction: model.Egress, Ethertype: model.EtherIPv4, Protocol: "udp", RemoteGroup: "g2"},
			{Group: "g1", Direction: model.Egress, Ethertype: model.EtherIPv6, RemoteGroup: "g1"},
			{Group: "g2", Direction: model.Egress, Ethertype: model.EtherIPv4, Protocol: "udp", RemoteAddressGroup: "addresses"},
			{Group: "g2", Direction: model.Egress, Ethertype: model.EtherIPv4, RemoteAddressGroup: "addresses", Protocol: "icmp", PortMin: num(8)},
			{Group: "g2", Direction: model.Egress, Ethertype: model.EtherIPv4},
			{Group: "g2", Direction: model.Ingress, Ethertype: model.EtherIPv4, Protocol: "tcp", RemoteGroup: "g1"},
			{Group: "g1", Direction: model.Ingress, Ethertype: model.EtherIPv4, Protocol: "udp", PortMin: num(0), PortMax: num(60)},
			{Group: "g1", Direction: model.Ingress, Ethertype: model.EtherIPv6, Protocol: "udp", RemoteAddressGroup: "addresses"},
			{Group: "g3", Direction: model.Ingress, Ethertype: model.EtherIPv4, RemoteAddressGroup: "addresses"},
			{Group: "s1", Direction: model.Egress, Ethertype: model.EtherIPv4, RemoteAddressGroup: "addresses"},
			{Group: "s1", Direction: model.Ingress, Ethertype: model.EtherIPv4, Protocol: "tcp"},
		} {
			r.Key = model.Key(i + 1)
			id := model.SecurityGroupRuleID(fmt.Sprintf("r%02d", i))
			tables.Rules.Put(tx, id, model.SecurityGroupRule{ID: id, RulePlane: r})
		}
		putLog(tx, "all", model.LogPlane{Group: "g1", Event: model.LogAll})
		putLog(tx, "dropped", model.LogPlane{Group: "g3", Event: model.LogDrop})
		putLog(tx, "stateless", model.LogPlane{Group: "s1", Event: model.LogAccept})
		wear := [][]model.SecurityGroupID{{"g1"}, {"g1", "g2"}, {"g2"}, {"g3"}, {"s1"}, nil}
		for i, groups := range wear {
			p := crowdPort(i+1, 1)
			p.Network, p.Host, p.SecurityGroups, p.PortSecurity = "n1", "a", groups, groups != nil
			if i == 1 {
				p.AllowedPairs = []model.AddressPair{{Prefix: addr("0.0.0.0/0")}}
			}
			s.must(putPlugged(tx, p, uint32(i+1), true))
		}
		return nil
	})
	sw := s.switches["a"]
	sw.Track.AssumeNew = true
	sw.Ports = []uint32{1, 2, 3, 4, 5, 6}
	r := newReal(t, s.follower, "a", 6)
	seen, delivered, packets := map[string]bool{}, 0, 0
	for from := range 6 {
		for to := range 6 {
			if from == to {
				continue
			}
			a, b := crowdPort(from+1, 1), crowdPort(to+1, 1)
			for i, proto := range []uint8{model.ProtoTCP, model.ProtoTCP, model.ProtoUDP, model.ProtoUDP, model.ProtoICMP, model.ProtoUDP, 112} {
				v := 0
				if i == 5 {
					v = 1
				}
				k := packet{srcMAC: a.MAC, dstMAC: b.MAC, src: a.FixedIPs[v].Addr, dst: b.FixedIPs[v].Addr, proto: proto,
					sport: 8, dport: []uint16{53, 80, 53, 60, 0, 53, 0}[i], opening: true}
				frame := k.frame()
				frame.SetUint(openflow.FieldInPort, uint64(from+1))
				res := sw.Trace(frame)
				text := r.Appctl("ofproto/trace", "br0", traceText(frame))
				want, got := visits(strings.Split(text, "\n"), realVisit), visits(res.Trace, simulatedVisit)
				if packets++; len(res.Outputs) > 0 {
					delivered++
				}
				if !slices.Equal(got, want) || len(res.Errors) > 0 {
					t.Errorf("%+v\nsimulated: %v %v\nreal:      %v\n%s", k, got, res.Errors, want, text)
				}
				for _, v := range got {
					seen[v] = true
				}
			}
		}
	}
	t.Logf("%d packets agree, %d of them delivered, %d kinds of flow met", packets, delivered, len(seen))
	if delivered < packets/4 || delivered > packets*3/4 {
		t.Errorf("%d of %d packets were delivered: the test shows little", delivered, packets)
	}
}

// visits lists which flows a trace met, as "table priority", sorted.
func visits(lines []string, line *regexp.Regexp) (out []string) {
	for _, l := range lines {
		if m := line.FindStringSubmatch(l); m != nil {
			out = append(out, m[1]+" "+m[2])
		}
	}
	slices.Sort(out)
	return out
}

// traceText is a packet as ofproto/trace reads it, which knows the fields by their own names only.
func traceText(p sim.Packet) string {
	s := "," + p.String()
	proto := map[uint64]string{flow.ProtoTCP: "tcp", flow.ProtoUDP: "udp", flow.ProtoSCTP: "sctp"}[p.Uint(openflow.FieldIPProto)]
	for _, d := range []string{"src", "dst"} {
		s = strings.Replace(s, ",tp_"+d+"=", ","+proto+"_"+d+"=", 1)
	}
	if p.Uint(openflow.FieldIPProto) == flow.ProtoICMPv6 {
		s = strings.Replace(strings.Replace(s, ",icmp_type=", ",icmpv6_type=", 1), ",icmp_code=", ",icmpv6_code=", 1)
	}
	return strings.TrimPrefix(s, ",")
}
