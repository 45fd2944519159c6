// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/ovstest"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/openflow"
)

// help gives routers a conntrack helper each.
func (c *campus) help(helper string, port uint16, routers ...model.RouterID) {
	c.do(func(tx *store.Txn) {
		for _, r := range routers {
			id := model.ConntrackHelperID(fmt.Sprint(r, helper, port))
			tables.ConntrackHelpers.Put(tx, id, model.ConntrackHelper{ID: id, HelperPlane: model.HelperPlane{Router: r, Protocol: model.HelperProtocols[helper], Port: port, Helper: helper}})
		}
	})
}

// tftp is a transfer by TFTP: the question arrives, and an answer from another port finds back, and the next
// question finds that port, several times.
func (c *campus) tftp(from, fixed, seen string, mac model.MAC, to model.PortID) {
	c.t.Helper()
	sport := uint16(2000 + c.key)
	c.key++
	f := c.got("question of "+from, from, c.sent(model.PortID(from), "8.8.8.8", ports4(sport, 69)...), outside)
	c.is("question of "+from, f, mac, neighbour, seen, "8.8.8.8", 63)
	back := uint16(f.Uint(openflow.FieldUDPSrc))
	for range 2 {
		f = c.got("answer to "+from, outside, c.fromOutside(mac, "8.8.8.8", seen, ports4(4000, back)...), string(to))
		c.is("answer to "+from, f, c.door(to), c.port(to).MAC, "8.8.8.8", fixed, 63)
		c.dstPort("answer to "+from, f, 4000, sport)
		f = c.got("acknowledgement of "+from, from, c.sent(model.PortID(from), "8.8.8.8", ports4(sport, 4000)...), outside)
		c.is("acknowledgement of "+from, f, mac, neighbour, seen, "8.8.8.8", 63)
		c.dstPort("acknowledgement of "+from, f, back, 4000)
	}
	if mac != c.port("gw1").MAC {
		return // all that comes to a floating IP is the instance's
	}
	c.got("from elsewhere", outside, c.fromOutside(mac, "8.8.4.4", seen, ports4(4000, back)...), "")
	c.got("to another port", outside, c.fromOutside(mac, "8.8.8.8", seen, ports4(4000, back+1)...), "")
}

// TestHelpers leads TFTP through a router that has a helper for it, behind the gateway's address and behind a floating IP, and
// through none that has not.
func TestHelpers(t *testing.T) {
	external(t, func(t *testing.T, c *campus) {
		any := model.RulePlane{Direction: model.Ingress, Ethertype: model.EtherIPv4, Protocol: "udp", Key: 99, Group: "g"} // what is related must be allowed
		c.do(func(tx *store.Txn) {
			c.float(tx, "f", "172.16.1.21", "far2-000000", "r1")
			tables.Rules.Put(tx, "all-udp", model.SecurityGroupRule{ID: "all-udp", RulePlane: any})
		})
		gw := c.port("gw1").MAC
		without := func(what, from, seen string, mac model.MAC) {
			f := c.got(what, from, c.sent(model.PortID(from), "8.8.8.8", ports4(1999, 69)...), outside)
			c.got(what, outside, c.fromOutside(mac, "8.8.8.8", seen, ports4(4000, uint16(f.Uint(openflow.FieldUDPSrc)))...), "")
		}
		without("without a helper", "near1-00000", "172.16.1.11", gw)
		c.help("tftp", 6969, "r1")
		without("without a helper for the port", "near1-00000", "172.16.1.11", gw)
		c.help("tftp", 69, "r1")
		for _, from := range []model.PortID{"near1-00000", "near2-00000", "far1-000000", "gw1-0000000"} {
			c.tftp(string(from), c.port(from).FixedIPs[0].Addr.String(), "172.16.1.11", gw, from)
		}
		c.tftp("far2-000000", "10.2.0.20", "172.16.1.21", c.port("f-f").MAC, "far2-000000")
		without("another's router", "other-00000", "172.16.1.13", c.port("gw3").MAC)
		// Without the rule that allows it, what is related is no more than any packet.
		c.do(func(tx *store.Txn) { tables.Rules.Delete(tx, "all-udp") })
		f := c.got("question", "near1-00000", c.sent("near1-00000", "8.8.8.8", ports4(3999, 69)...), outside)
		c.got("answer that no rule allows", outside, c.fromOutside(gw, "8.8.8.8", "172.16.1.11", ports4(4000, uint16(f.Uint(openflow.FieldUDPSrc)))...), "")
	})
}

// TestHelpedForwarding asks a server whose port 69 alone is forwarded: its answer comes from another port, and leaves by the address
// that was asked; it ends with the forwarding.
func TestHelpedForwarding(t *testing.T) {
	for _, snat := range []bool{true, false} {
		c := forwarding(t, model.Flat)
		c.do(func(tx *store.Txn) {
			r, _ := tables.Routers.Get(tx, "r1")
			r.EnableSNAT = snat
			tables.Routers.Put(tx, "r1", r)
			c.forward(tx, "ff", forwarded, "r1", forwards{"tftp", "udp", ports(69, 70), "near1-00000", ports(22, 23)},
				forwards{"tcp69", "tcp", ports(60, 80), "far1-000000", ports(60, 80)})
		})
		c.help("tftp", 69, "r1")
		mac := c.port("f-ff").MAC
		f := c.got("question", outside, c.fromOutside(mac, "8.8.8.8", forwarded, ports4(1000, 69)...), "near1-00000")
		c.dstPort("question", f, 1000, 22)
		for range 2 {
			f = c.got("answer", "near1-00000", c.sent("near1-00000", "8.8.8.8", ports4(9000, 1000)...), outside)
			c.is("answer", f, mac, neighbour, forwarded, "8.8.8.8", 63)
			c.dstPort("answer", f, 9000, 1000)
			f = c.got("acknowledgement", outside, c.fromOutside(mac, "8.8.8.8", forwarded, ports4(1000, 9000)...), "near1-00000")
			c.is("acknowledgement", f, c.port("if1").MAC, c.port("near1-00000").MAC, "8.8.8.8", "10.1.0.10", 63)
			c.dstPort("acknowledgement", f, 1000, 9000)
		}
		c.got("nobody's port", outside, c.fromOutside(mac, "8.8.8.8", forwarded, ports4(1001, 9000)...), "")
		c.do(func(tx *store.Txn) { tables.PortForwardings.Delete(tx, "tftp") })
		c.got("after the forwarding", outside, c.fromOutside(mac, "8.8.8.8", forwarded, ports4(1000, 9000)...), "")
		for _, d := range c.fabric.Send("near1-00000", c.sent("near1-00000", "8.8.8.8", ports4(9000, 1000)...)).Deliveries {
			t.Errorf("after the forwarding: %s", d.Frame)
		}
	}
}

// TestHelperFlows holds what a helper costs, and that no node but those with an address of the router pays.
func TestHelperFlows(t *testing.T) {
	c := forwarding(t, model.Flat)
	c.do(func(tx *store.Txn) {
		c.float(tx, "f", "172.16.1.21", "far2-000000", "r1")
		c.forward(tx, "ff", forwarded, "r1", forwards{"ftp", "tcp", ports(20, 21), "near1-00000", ports(120, 121)}, forwards{"one", "tcp", ports(2121, 2121), "near1-00000", ports(9, 9)})
	})
	was := map[string][]flow.Flow{}
	for _, n := range campusNodes {
		was[n] = c.f.flows(n)
	}
	added := func(node string) (out []string) {
		for _, f := range c.f.flows(node) {
			if !slices.Contains(was[node], f) {
				out = append(out, strings.TrimSpace(f.String()))
			}
		}
		slices.Sort(out)
		return out
	}
	c.help("ftp", 21, "r1")
	want := map[string][]string{"near": nil, "far": {
		"table=31,priority=1025,ct_state=+new+trk-snat-dnat,ct_zone=$Z,tcp,reg3=0x$R,nw_dst=172.16.1.21,tp_dst=21 actions=ct(commit,table=32,zone=$Z,nat(dst=10.2.0.20),exec(load:0x$P->NXM_NX_CT_MARK[]),alg=ftp)",
		"table=101,priority=1025,ct_state=+new+trk-snat-dnat,ct_zone=$Z,tcp,reg3=0x$R,nw_src=10.2.0.20,tp_dst=21 actions=ct(commit,table=105,zone=$Z,nat(src=172.16.1.21),exec(load:0x$P->NXM_NX_CT_MARK[]),alg=ftp)",
	}, "gw": {
		"table=31,priority=1026,ct_state=+new+rel-inv+trk-snat-dnat,ct_zone=$Z,ct_mark=0,ip,reg3=0x$R,nw_dst=172.16.1.11 actions=ct(commit,table=32,zone=$Z,nat,exec(load:0->NXM_NX_CT_MARK[]))",
		"table=31,priority=256,ct_state=+rel-rpl-inv+trk+dnat,ct_zone=$Z,ct_mark=0,ip,reg3=0x$R actions=goto_table:40",
		"table=101,priority=513,ct_state=+new+trk-snat-dnat,ct_zone=$Z,tcp,reg3=0x$R,tp_dst=21 actions=ct(commit,table=105,zone=$Z,nat(src=172.16.1.11),exec(load:0->NXM_NX_CT_MARK[]),alg=ftp)",
		"table=31,priority=1025,ct_state=+new+trk-snat-dnat,ct_zone=$Z,tcp,reg3=0x$R,nw_dst=172.16.1.31,tp_dst=21 actions=ct(commit,table=32,zone=$Z,nat(dst=10.1.0.10:121),exec(load:0x$M->NXM_NX_CT_MARK[]),alg=ftp)",
		"table=31,priority=1026,ct_state=+new+rel-inv+trk-snat-dnat,ct_zone=$Z,ct_mark=0x$M,ip,reg3=0x$R,nw_dst=172.16.1.31 actions=ct(commit,table=32,zone=$Z,nat,exec(load:0x$M->NXM_NX_CT_MARK[]))",
		"table=101,priority=1026,ct_state=+new+rel-inv+trk-snat-dnat,ct_zone=$Z,ct_mark=0x$M,ip,reg3=0x$R actions=set_field:$F->eth_src,ct(commit,table=105,zone=$Z,nat,exec(load:0x$M->NXM_NX_CT_MARK[]))",
	}}
	snap := c.st.Snapshot()
	r, _ := tables.Routers.Get(snap, "r1")
	pf, _ := tables.PortForwardings.Get(snap, "ftp")
	for _, n := range campusNodes {
		zone := uint16(0)
		if s, ok := tables.SlotsByRouter.First(snap, tables.RouterSlotKey(model.NodeID(n), "r1")); ok {
			zone = s.NATZone()
		}
		if s, ok := tables.SlotsByPort.First(snap, model.PlugKey(model.NodeID(n), "far2-000000")); ok {
			zone = s.NATZone()
		}
		words := strings.NewReplacer("$Z", fmt.Sprint(zone), "$R", fmt.Sprintf("%x", r.Key), "$P", fmt.Sprintf("%x", c.port("far2-000000").Key),
			"$M", fmt.Sprintf("%x", model.ForwardingMark(pf.Key)), "$F", c.port("f-ff").MAC.String())
		var lines []string
		for _, l := range want[n] {
			lines = append(lines, words.Replace(l))
		}
		slices.Sort(lines)
		if got := added(n); !slices.Equal(got, lines) {
			t.Errorf("%s: a helper adds\n%s\nwant\n%s", n, strings.Join(got, "\n"), strings.Join(lines, "\n"))
		}
	}
	for _, n := range campusNodes {
		was[n] = c.f.flows(n)
	}
	// Another port than FTP's is told to the tracker with each packet, both ways: four flows for each address, and one less for a
	// forwarder, which nobody leaves by on his own.
	c.help("ftp", 2121, "r1")
	for n, want := range map[string]int{"near": 0, "far": 2 + 4, "gw": 1 + 4 + 3 + 2} {
		if got := added(n); len(got) != want {
			t.Errorf("%s: a helper of another port adds %d flows, want %d:\n%s", n, len(got), want, strings.Join(got, "\n"))
		}
	}
	// One that no switch has does nothing.
	for _, n := range campusNodes {
		was[n] = c.f.flows(n)
	}
	c.do(func(tx *store.Txn) {
		tables.ConntrackHelpers.Put(tx, "sip", model.ConntrackHelper{ID: "sip", HelperPlane: model.HelperPlane{Router: "r1", Protocol: "udp", Port: 5060, Helper: "sip"}})
		tables.ConntrackHelpers.Put(tx, "odd", model.ConntrackHelper{ID: "odd", HelperPlane: model.HelperPlane{Router: "r1", Protocol: "udp", Port: 21, Helper: "ftp"}})
	})
	for _, n := range campusNodes {
		if got := added(n); len(got) > 0 {
			t.Errorf("%s: %v", n, got)
		}
	}
}

// TestForwardedFragments shows on a real switch why a session with a forwarded port cannot begin with fragments: behind the tracker the
// later ones have no port, so they do not come to the ct() of the first, which waits for them. It is the switch that this test
// is about: where it no longer holds, table 31 could do better.
func TestForwardedFragments(t *testing.T) {
	c := forwarding(t, model.Flat)
	s := ovstest.Start(t)
	push(t, s, "br0", c.f.e, "gw")
	wire, mac := fmt.Sprintf("br0-p%d", c.numbers["gw|"+patchName("ph")]), c.port("f-ff").MAC
	from, to := netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr(forwarded)
	send := func(sport uint16, size int) {
		whole := udp(sport, 22, size)
		for at := 0; at < len(whole); at += 1400 {
			p := ipv4(from, to, model.ProtoUDP, at, at+1400 < len(whole), whole[at:min(at+1400, len(whole))])
			s.Receive(wire, hex.EncodeToString(ether(neighbour, mac, flow.EthIPv4, p)))
		}
	}
	send(1000, 2000)
	send(1001, 100)
	known := func(sport int) bool {
		for _, l := range strings.Split(s.Appctl("dpctl/dump-conntrack"), "\n") {
			if strings.Contains(l, fmt.Sprintf("src=8.8.8.8,dst=%s,sport=%d,dport=22", forwarded, sport)) {
				return true
			}
		}
		return false
	}
	if err := ovstest.Poll(time.Minute, func() error {
		if !known(1001) {
			return fmt.Errorf("no connection yet")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if known(1000) {
		t.Error("the switch begins sessions with fragments: table 31 can, too")
	}
}
